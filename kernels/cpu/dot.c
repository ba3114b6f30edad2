/*
** dot.c -- products of matrices: plain loops, register blocks (gemm.h), or BLAS on blocks.
**
** Which of them never depends on the number of threads, nor do the bits.
*/
#include <limits.h>
#include <string.h>

#include "cpu/dot.h"

/* ---- plain loops: strips of a row of z kept in registers, or, where y is transposed, products of rows */

#define ADD(a, b) ((a) + (b))
#define MUL(a, b) ((a) * (b))
#define OR(a, b) ((a) | (b))
#define AND(a, b) ((a) & (b))

#define STRIP(T, width, PLUS, TIMES)                                                        \
  do {                                                                                      \
    T acc[width] = {0};                                                                     \
    for (int64_t p = 0; p < g->k; p++) {                                                    \
      const T v = x[p * g->xp], *restrict row = y + p * g->yp + j;                          \
      for (int l = 0; l < width; l++) acc[l] = (T)PLUS(acc[l], TIMES(v, row[l]));           \
    }                                                                                       \
    memcpy(z + j, acc, sizeof acc);                                                         \
  } while (0)

#define LOOPS(name, T, PLUS, TIMES)                                                                        \
  static void name(void *z0, const void *x0, const void *y0, const bdl_k_matmul *g) {                      \
    for (int64_t i = 0; i < g->m; i++) {                                                                   \
      T *restrict z = (T *)z0 + i * g->ldz;                                                                \
      const T *restrict x = (const T *)x0 + i * g->xi, *restrict y = y0;                                   \
      if (g->yj == 1 || g->n == 1) {                                                                       \
        int64_t j = 0;                                                                                     \
        for (; j + 16 <= g->n; j += 16) STRIP(T, 16, PLUS, TIMES);                                         \
        for (; j + 4 <= g->n; j += 4) STRIP(T, 4, PLUS, TIMES);                                            \
        for (; j < g->n; j++) STRIP(T, 1, PLUS, TIMES);                                                    \
      } else {                                                                                             \
        for (int64_t j = 0; j < g->n; j++) {                                                               \
          T part[8] = {0}; /* eight interleaved sums: they vectorise */                                    \
          int64_t p = 0;                                                                                   \
          const T *restrict col = y + j * g->yj;                                                           \
          for (; g->xp == 1 && p + 8 <= g->k; p += 8)                                                      \
            for (int l = 0; l < 8; l++) part[l] = (T)PLUS(part[l], TIMES(x[p + l], col[p + l]));           \
          for (; p < g->k; p++) part[p & 7] = (T)PLUS(part[p & 7], TIMES(x[p * g->xp], col[p * g->yp]));   \
          for (int l = 4; l > 0; l /= 2)                                                                   \
            for (int q = 0; q < l; q++) part[q] = (T)PLUS(part[q], part[q + l]);                           \
          z[j] = part[0];                                                                                  \
        }                                                                                                  \
      }                                                                                                    \
    }                                                                                                      \
  }
#define ROW(d, s, T, W) LOOPS(loops_##s, W, ADD, MUL)
BDL_K_NUMBERS(ROW)
#undef ROW
LOOPS(loops_bool, uint8_t, OR, AND)

typedef void (*loops_fn)(void *z, const void *x, const void *y, const bdl_k_matmul *g);
static const loops_fn loops[BDL_DTYPE_COUNT] = {
#define ROW(d, s, T, W) [d] = loops_##s,
    BDL_K_NUMBERS(ROW)
#undef ROW
    [BDL_BOOL] = loops_bool};

/* ---- the library */

/* Leading dimension and transposition of a matrix with strides (row, col), one of which is 1. */
static int leading(int64_t row, int64_t col, int64_t rows, int64_t cols, int *trans) {
  bool t = col != 1 && cols > 1; /* then row is 1 */
  *trans = t ? BDL_BLAS_TRANS : BDL_BLAS_NO_TRANS;
  return (int)BDL_MAX(t ? col : row, t ? rows : cols);
}

/* A row times a matrix and a matrix times a column go to gemv, which is several times faster there. */
#define PRODUCT(s, T)                                                                                                   \
  static void product_##s(bdl_blas *b, void *z, const void *x, const void *y, const bdl_k_matmul *g) {                  \
    int tx, ty;                                                                                                         \
    const int m = (int)g->m, n = (int)g->n, k = (int)g->k;                                                              \
    const int ldx = leading(g->xi, g->xp, g->m, g->k, &tx), ldy = leading(g->yp, g->yj, g->k, g->n, &ty);               \
    const int threads = bdl_blas_alone(b);                                                                              \
    if (m == 1) {                                                                                                       \
      const bool t = ty == BDL_BLAS_TRANS; /* stored [n, k] */                                                          \
      b->s.gemv(BDL_BLAS_ROW_MAJOR, t ? BDL_BLAS_NO_TRANS : BDL_BLAS_TRANS, t ? n : k, t ? k : n, 1, y, ldy, x,         \
                k > 1 ? (int)g->xp : 1, 0, z, 1);                                                                       \
    } else if (n == 1) {                                                                                                \
      const bool t = tx == BDL_BLAS_TRANS; /* stored [k, m] */                                                          \
      b->s.gemv(BDL_BLAS_ROW_MAJOR, tx, t ? k : m, t ? m : k, 1, x, ldx, y, k > 1 ? (int)g->yp : 1, 0, z, (int)g->ldz);  \
    } else {                                                                                                            \
      b->s.gemm(BDL_BLAS_ROW_MAJOR, tx, ty, m, n, k, 1, x, ldx, y, ldy, 0, z, (int)g->ldz);                             \
    }                                                                                                                   \
    bdl_blas_restore(b, threads);                                                                                       \
  }
PRODUCT(f32, float)
PRODUCT(f64, double)

/* ---- few rows, one after the other */

enum { SHORT = 64 }; /* columns of y up to this length are gathered; longer ones are for the library */

bool bdl_k_is_few(const bdl_k_matmul *g, bdl_dtype d) {
  return bdl_dtype_is_float(d) && g->m <= 3 && g->n > 1 && (g->yj == 1 || (g->yp == 1 && g->k <= SHORT));
}

bdl_k_row bdl_k_row_of(void *z, const void *x, const void *y, const bdl_k_matmul *g, size_t size, int64_t i) {
  return (bdl_k_row){.z = (char *)z + (size_t)(i * g->ldz) * size, .x = (const char *)x + (size_t)(i * g->xi) * size, .y = y,
                     .n = g->n, .k = g->k, .xp = g->xp, .yp = g->yp, .yj = g->yj};
}

static void few_rows(void *z, const void *x, const void *y, const bdl_k_matmul *g, bdl_dtype d, const bdl_k_table *k) {
  for (int64_t i = 0; i < g->m; i++) {
    const bdl_k_row r = bdl_k_row_of(z, x, y, g, bdl_dtype_size(d), i);
    k->row[d](&r);
  }
}

/* ---- which of them.  Measured: make bench ONLY=W9 */

typedef enum way { PLAIN, ROWS, GEMM, LIBRARY } way;

static double work_of(const bdl_k_matmul *g) { return (double)g->m * (double)g->n * (double)g->k; }

/* Do the extents fit the library's int? */
static bool fits_library(const bdl_k_matmul *g) {
  const int64_t big = INT_MAX;
  return g->m <= big && g->n <= big && g->k <= big && g->ldz <= big && g->xi <= big && g->xp <= big && g->yp <= big &&
         g->yj <= big;
}

/* Mostly zeros, by 512 elements of x here and there? */
static bool looks_sparse(const void *x, const bdl_k_matmul *g, bdl_dtype d) {
  int others = 0;
  for (int64_t e = 0; e < 512; e++) {
    const int64_t at = e * 7919 % g->m * g->xi + e * 104729 % g->k * g->xp;
    others += d == BDL_F32 ? ((const float *)x)[at] != 0 : ((const double *)x)[at] != 0;
  }
  return others < 128;
}

static way choose(const void *x, const bdl_k_matmul *g, bdl_dtype d, bdl_blas *blas) {
  const double work = work_of(g);
  if (!bdl_dtype_is_float(d) || g->k == 0) return PLAIN;
  if (bdl_k_is_few(g, d)) return ROWS;
  if (g->m == 1 || g->n == 1) return work > 4096 && fits_library(g) && blas && bdl_blas_ready(blas) ? LIBRARY : PLAIN;
  if (work <= 512) return PLAIN;
  const bool large = g->m >= 512 && g->n >= 512 && g->k >= 512;
  return large && fits_library(g) && blas && bdl_blas_ready(blas) && !looks_sparse(x, g, d) ? LIBRARY : GEMM;
}

bdl_dot_order bdl_k_dot_order(const bdl_k_matmul *g, bdl_dtype d) {
  const way w = choose(NULL, g, d, NULL);
  if (w == GEMM) return BDL_DOT_FUSED;
  return w == PLAIN && g->yj != 1 && g->n != 1 ? BDL_DOT_BY_8 : BDL_DOT_ROUNDED;
}

typedef struct dot_job {
  char *z;
  const char *x, *y;
  const bdl_k_matmul *g;
  bdl_dtype d;
  way way;
  const bdl_k_table *k;
  bdl_blas *blas;
  int64_t rows, cols, nr, nc; /* of a block, and how many blocks */
} dot_job;

/* The library's bits may depend on the extents of a call: its blocks are the same for any number of threads.  Those of our own
** loops do not. */
static void cut(dot_job *j, bdl_pool *pool) {
  const bdl_k_matmul *g = j->g;
  const int64_t many = 4 * (int64_t)bdl_pool_size(pool);
  j->rows = g->m, j->cols = g->n;
  if (j->way == LIBRARY && work_of(g) >= 262144) {
    j->rows = g->n == 1 ? 512 : 256;
    j->cols = 1024;
  } else if (j->way != LIBRARY && pool) {
    for (j->rows = 132; j->cols > 64 && g->batch * ((g->m + 131) / 132) * ((g->n + j->cols - 1) / j->cols) < many;)
      j->cols = (j->cols / 2 + 31) / 32 * 32;
  }
  j->nr = (g->m + j->rows - 1) / j->rows, j->nc = (g->n + j->cols - 1) / j->cols;
}

static void dot_blocks(void *job, int64_t first, int64_t last, int thread) {
  const dot_job *j = job;
  const bdl_k_matmul *g = j->g;
  const int64_t size = (int64_t)bdl_dtype_size(j->d);
  (void)thread;
  for (int64_t c = first; c < last; c++) {
    const int64_t b = c / (j->nr * j->nc), row = c / j->nc % j->nr * j->rows, col = c % j->nc * j->cols;
    bdl_k_matmul part = *g;
    part.m = BDL_MIN(j->rows, g->m - row), part.n = BDL_MIN(j->cols, g->n - col);
    if (g->packed) part.packed = (const char *)g->packed + col * g->k * size; /* cut between slivers */
    if (g->add) part.add = (const char *)g->add + (b * g->ab + row * g->ai + col) * size;
    void *z = j->z + (b * g->zb + row * g->ldz + col) * size;
    const void *x = j->x + (b * g->xb + row * g->xi) * size, *y = j->y + (b * g->yb + col * g->yj) * size;
    switch (j->way) {
      case PLAIN: loops[j->d](z, x, y, &part); break;
      case ROWS: few_rows(z, x, y, &part, j->d, j->k); break;
      case GEMM: j->k->gemm[j->d](z, x, y, &part); break;
      case LIBRARY: (j->d == BDL_F32 ? product_f32 : product_f64)(j->blas, z, x, y, &part); break;
    }
  }
}

void bdl_k_dot(void *z, const void *x, const void *y, const bdl_k_matmul *g, bdl_dtype d, const bdl_k_table *k, bdl_blas *blas,
               bdl_pool *pool) {
  if (g->batch == 0 || g->m == 0 || g->n == 0) return;
  dot_job j = {.z = z, .x = x, .y = y, .g = g, .d = d, .way = choose(x, g, d, blas), .k = k, .blas = blas};
  if ((double)g->batch * work_of(g) < 1 << 18) pool = NULL;
  cut(&j, pool);
  bdl_pool_run(pool, g->batch * j.nr * j.nc, dot_blocks, &j);
}

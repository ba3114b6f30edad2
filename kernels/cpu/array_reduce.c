/*
** array_reduce.c -- reductions, arg-reductions and running reductions along one axis.
*/
#include <math.h>
#include <string.h>

#include "cpu/array.h"

bdl_scalar bdl_k_identity(bdl_reduce_op op, bdl_dtype d) {
  static const double value[BDL_RED_COUNT] = {[BDL_RED_SUM] = 0, [BDL_RED_PROD] = 1,          [BDL_RED_MAX] = -INFINITY,
                                              [BDL_RED_MIN] = INFINITY, [BDL_RED_AND] = 1, [BDL_RED_OR] = 0};
  if (d == BDL_BOOL) return (bdl_scalar){.b = op == BDL_RED_AND || op == BDL_RED_MIN};
  return bdl_scalar_from_f64(d, value[op]); /* infinities saturate to the ends of integers */
}

#define ADD(a, b) ((a) + (b))
#define MUL(a, b) ((a) * (b))
#define LESSER(a, b) ((b) < (a) || (b) != (b) ? (b) : (a))
#define GREATER(a, b) ((b) > (a) || (b) != (b) ? (b) : (a))
#define AND(a, b) ((a) & (b))
#define OR(a, b) ((a) | (b))

enum { CHUNK = 256, BLOCK = 64 }; /* columns at a time, rows a block */

/* acc[i] = op over rows of x[k, i], i < n: blocks of rows first, so that f32 sums stay accurate. */
#define COLUMNS(name, T, OP)                                                                          \
  static void name(void *z, const void *x0, int64_t rows, int64_t stride, int64_t n) {                \
    T total[CHUNK], part[CHUNK];                                                                      \
    for (int64_t k0 = 0; k0 < rows; k0 += BLOCK) {                                                    \
      T *acc = k0 == 0 ? total : part;                                                                \
      const T *x = (const T *)x0 + k0 * stride;                                                       \
      memcpy(acc, x, (size_t)n * sizeof(T));                                                          \
      for (int64_t k = 1; k < BDL_MIN(BLOCK, rows - k0); k++)                                         \
        for (int64_t i = 0; i < n; i++) acc[i] = (T)OP(acc[i], x[k * stride + i]);                    \
      if (k0 > 0)                                                                                     \
        for (int64_t i = 0; i < n; i++) total[i] = (T)OP(total[i], part[i]);                          \
    }                                                                                                 \
    memcpy(z, total, (size_t)n * sizeof(T));                                                          \
  }
#define ALL_COLUMNS(d, s, T, W)      \
  COLUMNS(columns_sum_##s, W, ADD)   \
  COLUMNS(columns_prod_##s, W, MUL)  \
  COLUMNS(columns_max_##s, T, GREATER) \
  COLUMNS(columns_min_##s, T, LESSER)
BDL_K_NUMBERS(ALL_COLUMNS)
COLUMNS(columns_and, uint8_t, AND)
COLUMNS(columns_or, uint8_t, OR)

typedef void (*columns_fn)(void *z, const void *x, int64_t rows, int64_t stride, int64_t n);
static const columns_fn columns[BDL_RED_COUNT][BDL_DTYPE_COUNT] = {
#define ROWS(d, s, T, W)                     \
  [BDL_RED_SUM][d] = columns_sum_##s,        \
  [BDL_RED_PROD][d] = columns_prod_##s,      \
  [BDL_RED_MAX][d] = columns_max_##s,        \
  [BDL_RED_MIN][d] = columns_min_##s,
    BDL_K_NUMBERS(ROWS)
#undef ROWS
    [BDL_RED_MAX][BDL_BOOL] = columns_or,
    [BDL_RED_MIN][BDL_BOOL] = columns_and,
    [BDL_RED_AND][BDL_BOOL] = columns_and,
    [BDL_RED_OR][BDL_BOOL] = columns_or,
};

/* One row, as the fused reductions do it: a partial result a tile, combined in order. */
static void reduce_row(char *z, const char *x, int64_t n, size_t size, bdl_k_reduce tile, bdl_k_combine combine) {
  uint64_t pair[2]; /* two elements of any dtype */
  tile(z, x, BDL_MIN(n, BDL_TILE));
  for (int64_t i = BDL_TILE; i < n; i += BDL_TILE) {
    memcpy(pair, z, size);
    tile((char *)pair + size, x + i * (int64_t)size, BDL_MIN(n - i, BDL_TILE));
    combine(z, pair, 2);
  }
}

/* A reduction along one axis, shared out by rows, or by chunks of columns. */
typedef struct reduce_job {
  char *z;
  const char *x;
  int64_t n, inner, chunks;
  bdl_reduce_op op;
  bdl_dtype d;
  const bdl_k_table *t;
} reduce_job;

static void reduce_rows(void *job, int64_t first, int64_t last, int thread) {
  const reduce_job *j = job;
  const int64_t bytes = (int64_t)bdl_dtype_size(j->d);
  (void)thread;
  for (int64_t o = first; o < last; o++)
    reduce_row(j->z + o * bytes, j->x + o * j->n * bytes, j->n, (size_t)bytes, j->t->reduce[j->op][j->d],
               j->t->combine[j->op][j->d]);
}

static void reduce_columns(void *job, int64_t first, int64_t last, int thread) {
  const reduce_job *j = job;
  const int64_t bytes = (int64_t)bdl_dtype_size(j->d);
  (void)thread;
  for (int64_t c = first; c < last; c++) {
    const int64_t o = c / j->chunks, i = c % j->chunks * CHUNK;
    columns[j->op][j->d](j->z + (o * j->inner + i) * bytes, j->x + (o * j->n * j->inner + i) * bytes, j->n, j->inner,
                         BDL_MIN(j->inner - i, CHUNK));
  }
}

void bdl_k_reduce_axis(void *z, const void *x, int64_t outer, int64_t n, int64_t inner, bdl_reduce_op op, bdl_dtype d,
                       const bdl_k_table *t, bdl_pool *pool) {
  const int64_t chunks = (inner + CHUNK - 1) / CHUNK;
  if (n == 0) {
    bdl_scalar v = bdl_k_identity(op, d);
    bdl_k_fill(z, &v, outer * inner, bdl_dtype_size(d));
    return;
  }
  if (d == BDL_BOOL && op == BDL_RED_MAX) op = BDL_RED_OR;
  if (d == BDL_BOOL && op == BDL_RED_MIN) op = BDL_RED_AND;
  reduce_job job = {.z = z, .x = x, .n = n, .inner = inner, .chunks = chunks, .op = op, .d = d, .t = t};
  bdl_pool_run(pool, outer * chunks, inner == 1 ? reduce_rows : reduce_columns, &job);
}

/* ---- arg-reductions */

/* NaN beats everything but an earlier NaN. */
#define BEATS_MAX(b, a) ((b) > (a) || ((b) != (b) && (a) == (a)))
#define BEATS_MIN(b, a) ((b) < (a) || ((b) != (b) && (a) == (a)))
#define ARG_COLUMNS(name, T, BEATS)                                                        \
  static void name(int32_t *z, const void *x0, int64_t rows, int64_t stride, int64_t n) {  \
    const T *x = x0;                                                                       \
    T best[CHUNK];                                                                         \
    memcpy(best, x, (size_t)n * sizeof(T));                                                \
    memset(z, 0, (size_t)n * sizeof *z);                                                   \
    for (int64_t k = 1; k < rows; k++)                                                     \
      for (int64_t i = 0; i < n; i++)                                                      \
        if (BEATS(x[k * stride + i], best[i])) best[i] = x[k * stride + i], z[i] = (int32_t)k; \
  }
#define ARG_BOTH(d, s, T, W)                  \
  ARG_COLUMNS(argmax_##s, T, BEATS_MAX)       \
  ARG_COLUMNS(argmin_##s, T, BEATS_MIN)
BDL_K_NUMBERS(ARG_BOTH)
ARG_BOTH(BDL_BOOL, bool, uint8_t, uint8_t)

typedef struct arg_job {
  void (*columns)(int32_t *, const void *, int64_t, int64_t, int64_t);
  int32_t *z;
  const char *x;
  int64_t n, inner, chunks, bytes;
} arg_job;

static void arg_columns(void *job, int64_t first, int64_t last, int thread) {
  const arg_job *j = job;
  (void)thread;
  for (int64_t c = first; c < last; c++) {
    const int64_t o = c / j->chunks, i = c % j->chunks * CHUNK;
    j->columns(j->z + o * j->inner + i, j->x + (o * j->n * j->inner + i) * j->bytes, j->n, j->inner,
               BDL_MIN(j->inner - i, CHUNK));
  }
}

void bdl_k_arg_reduce(int32_t *z, const void *x, int64_t outer, int64_t n, int64_t inner, bool largest, bdl_dtype d,
                      bdl_pool *pool) {
  typedef void (*arg_fn)(int32_t *, const void *, int64_t, int64_t, int64_t);
  static const arg_fn table[2][BDL_DTYPE_COUNT] = {
#define ROWS(d, s, T, W) [0][d] = argmin_##s, [1][d] = argmax_##s,
      BDL_K_NUMBERS(ROWS) ROWS(BDL_BOOL, bool, , )
#undef ROWS
  };
  const int64_t chunks = (inner + CHUNK - 1) / CHUNK;
  arg_job job = {.columns = table[largest][d], .z = z, .x = x, .n = n, .inner = inner, .chunks = chunks,
                 .bytes = (int64_t)bdl_dtype_size(d)};
  bdl_pool_run(pool, outer * chunks, arg_columns, &job);
}

/* ---- running reductions: one block [n, inner] a call */

#define CUMULATE(name, T, OP)                                                                     \
  static void name(void *dst, const void *src, int64_t n, int64_t inner, bool reverse) {          \
    T *z = dst;                                                                                   \
    const T *x = src;                                                                             \
    const int64_t step = reverse ? -inner : inner, first = reverse ? (n - 1) * inner : 0;         \
    memcpy(z + first, x + first, (size_t)inner * sizeof(T));                                      \
    for (int64_t k = 1, at = first + step; k < n; k++, at += step)                                \
      for (int64_t i = 0; i < inner; i++) z[at + i] = (T)OP(z[at - step + i], x[at + i]);         \
  }
#define ALL_CUMULATE(d, s, T, W)      \
  CUMULATE(cumsum_##s, W, ADD)        \
  CUMULATE(cumprod_##s, W, MUL)       \
  CUMULATE(cummax_##s, T, GREATER)    \
  CUMULATE(cummin_##s, T, LESSER)
BDL_K_NUMBERS(ALL_CUMULATE)

typedef struct cumulate_job {
  void (*block)(void *, const void *, int64_t, int64_t, bool);
  char *z;
  const char *x;
  int64_t step, n, inner;
  bool reverse;
} cumulate_job;

static void cumulate_blocks(void *job, int64_t first, int64_t last, int thread) {
  const cumulate_job *j = job;
  (void)thread;
  for (int64_t o = first; o < last; o++) j->block(j->z + o * j->step, j->x + o * j->step, j->n, j->inner, j->reverse);
}

void bdl_k_cumulate(void *z, const void *x, int64_t outer, int64_t n, int64_t inner, bdl_reduce_op op, bool reverse,
                    bdl_dtype d, bdl_pool *pool) {
  typedef void (*cumulate_fn)(void *, const void *, int64_t, int64_t, bool);
  static const cumulate_fn table[BDL_RED_MIN + 1][BDL_DTYPE_COUNT] = {
#define ROWS(d, s, T, W)                                                                                     \
  [BDL_RED_SUM][d] = cumsum_##s, [BDL_RED_PROD][d] = cumprod_##s, [BDL_RED_MAX][d] = cummax_##s, [BDL_RED_MIN][d] = cummin_##s,
      BDL_K_NUMBERS(ROWS)
#undef ROWS
  };
  const int64_t step = n * inner * (int64_t)bdl_dtype_size(d);
  if (step == 0) return;
  cumulate_job job = {.block = table[op][d], .z = z, .x = x, .step = step, .n = n, .inner = inner, .reverse = reverse};
  bdl_pool_run(pool, outer, cumulate_blocks, &job);
}

/*
** event.c -- products with dense and sparse matrices.
*/
#include <stdatomic.h>
#include <string.h>

#include "cpu/event.h"

/* ---- which elements are active */

#define ACTIVE(d, s, T, W)                                                                                \
  static void active_##s(uint8_t *mask, const void *s0, int64_t n) {                                      \
    const T *x = s0;                                                                                      \
    for (int64_t i = 0; i < n; i++) mask[i] = x[i] > 0;                                                   \
  }                                                                                                       \
  static int64_t ids_##s(int32_t *ids, const void *s0, int64_t n) {                                       \
    const T *x = s0;                                                                                      \
    int64_t count = 0;                                                                                    \
    for (int64_t i = 0; i < n; i++) ids[count] = (int32_t)i, count += x[i] > 0; /* room: count <= i */    \
    return count;                                                                                         \
  }
BDL_K_NUMBERS(ACTIVE)
ACTIVE(BDL_BOOL, bool, uint8_t, uint8_t)

void bdl_k_active(uint8_t *mask, const void *s, bdl_dtype d, int64_t n) {
  static void (*const table[BDL_DTYPE_COUNT])(uint8_t *, const void *, int64_t) = {
#define ROW(d, s, T, W) [d] = active_##s,
      BDL_K_NUMBERS(ROW) ROW(BDL_BOOL, bool, , )};
#undef ROW
  table[d](mask, s, n);
}

int64_t bdl_k_active_ids(int32_t *ids, const void *s, bdl_dtype d, int64_t n) {
  static int64_t (*const table[BDL_DTYPE_COUNT])(int32_t *, const void *, int64_t) = {
#define ROW(d, s, T, W) [d] = ids_##s,
      BDL_K_NUMBERS(ROW) ROW(BDL_BOOL, bool, , )};
#undef ROW
  return table[d](ids, s, n);
}

/* ---- dense */

enum { COLUMNS = 2048 }; /* of a result that one thread keeps in cache while it adds rows */

#define DENSE(d, s, T, W)                                                                                          \
  static void rows_##s(void *y0, const int32_t *ids, int64_t count, const void *w0, int64_t n, int64_t from, int64_t to) { \
    W *restrict y = (W *)y0 + from;                                                                                \
    const int64_t m = to - from;                                                                                   \
    memset(y, 0, (size_t)m * sizeof *y);                                                                           \
    int64_t k = 0;                                                                                                 \
    for (; k + 4 <= count; k += 4) { /* four rows a pass over y */                                                 \
      const W *restrict a = (const W *)w0 + ids[k] * n + from, *restrict b = (const W *)w0 + ids[k + 1] * n + from; \
      const W *restrict c = (const W *)w0 + ids[k + 2] * n + from, *restrict e = (const W *)w0 + ids[k + 3] * n + from; \
      for (int64_t j = 0; j < m; j++) y[j] = (((y[j] + a[j]) + b[j]) + c[j]) + e[j];                               \
    }                                                                                                              \
    for (; k < count; k++) {                                                                                       \
      const W *restrict a = (const W *)w0 + ids[k] * n + from;                                                     \
      for (int64_t j = 0; j < m; j++) y[j] += a[j];                                                                \
    }                                                                                                              \
  }                                                                                                                \
  static void cols_##s(void *y0, const int32_t *ids, int64_t count, const void *w0, int64_t n, int64_t i) {        \
    const W *restrict w = (const W *)w0 + i * n;                                                                   \
    W part[4] = {0};                                                                                               \
    int64_t k = 0;                                                                                                 \
    for (; k + 4 <= count; k += 4)                                                                                 \
      for (int l = 0; l < 4; l++) part[l] += w[ids[k + l]];                                                        \
    for (; k < count; k++) part[k & 3] += w[ids[k]];                                                               \
    ((W *)y0)[i] = (part[0] + part[1]) + (part[2] + part[3]);                                                      \
  }
BDL_K_NUMBERS(DENSE)

typedef struct dense_job {
  void *y;
  const int32_t *ids;
  int64_t count;
  const void *w;
  int64_t n;
  void (*rows)(void *, const int32_t *, int64_t, const void *, int64_t, int64_t, int64_t);
  void (*cols)(void *, const int32_t *, int64_t, const void *, int64_t, int64_t);
} dense_job;

static void strips(void *job, int64_t first, int64_t last, int thread) {
  const dense_job *j = job;
  (void)thread;
  for (int64_t k = first; k < last; k++)
    j->rows(j->y, j->ids, j->count, j->w, j->n, k * COLUMNS, BDL_MIN((k + 1) * COLUMNS, j->n));
}

static void rows_of_w(void *job, int64_t first, int64_t last, int thread) {
  const dense_job *j = job;
  (void)thread;
  for (int64_t i = first; i < last; i++) j->cols(j->y, j->ids, j->count, j->w, j->n, i);
}

void bdl_k_event_rows(void *y, const int32_t *ids, int64_t count, const void *w, int64_t n, bdl_dtype d, bdl_pool *pool) {
  static void (*const table[BDL_DTYPE_COUNT])(void *, const int32_t *, int64_t, const void *, int64_t, int64_t, int64_t) = {
#define ROW(d, s, T, W) [d] = rows_##s,
      BDL_K_NUMBERS(ROW)};
#undef ROW
  dense_job job = {.y = y, .ids = ids, .count = count, .w = w, .n = n, .rows = table[d]};
  bdl_pool_run(count > 16 ? pool : NULL, (n + COLUMNS - 1) / COLUMNS, strips, &job);
}

void bdl_k_event_cols(void *y, const int32_t *ids, int64_t count, const void *w, int64_t m, int64_t n, bdl_dtype d, bdl_pool *pool) {
  static void (*const table[BDL_DTYPE_COUNT])(void *, const int32_t *, int64_t, const void *, int64_t, int64_t) = {
#define ROW(d, s, T, W) [d] = cols_##s,
      BDL_K_NUMBERS(ROW)};
#undef ROW
  dense_job job = {.y = y, .ids = ids, .count = count, .w = w, .n = n, .cols = table[d]};
  bdl_pool_run(m * count > 16384 ? pool : NULL, m, rows_of_w, &job);
}

/* ---- sparse */

/* Entries of row i.  False: the pointers do not ascend within nnz. */
static inline bool row_of(const bdl_k_csr *a, int64_t i, int64_t *lo, int64_t *hi) {
  if (!a->indptr)
    *lo = i * a->fan, *hi = *lo + a->fan;
  else if (a->wide)
    *lo = ((const int64_t *)a->indptr)[i], *hi = ((const int64_t *)a->indptr)[i + 1];
  else
    *lo = ((const int32_t *)a->indptr)[i], *hi = ((const int32_t *)a->indptr)[i + 1];
  return *lo >= 0 && *lo <= *hi && *hi <= a->nnz;
}

static bdl_csr_error bad_pointer(const bdl_k_csr *a, int64_t i, int64_t lo, int64_t hi) {
  return (bdl_csr_error){BDL_CSR_POINTER, i, lo < 0 ? lo : hi, a->nnz};
}

/* The first column of a row that is out of range. */
static bdl_csr_error bad_column(const bdl_k_csr *a, int64_t lo, int64_t hi) {
  int64_t k = bdl_k_index_outside(a->indices + lo, false, hi - lo, a->cols);
  return (bdl_csr_error){BDL_CSR_COLUMN, lo + k, a->indices[lo + k], a->cols};
}

#define FINE ((bdl_csr_error){BDL_CSR_FINE, 0, 0, 0})

/* y[index[k]] += value of entry k; columns out of range end the row. */
#define ADD_ROW(W, VALUE)                                          \
  for (int64_t k = lo; k < hi; k++) {                              \
    const uint32_t j = (uint32_t)index[k];                         \
    if (__builtin_expect(j >= cols, 0)) return bad_column(a, lo, hi); \
    y[j] += VALUE;                                                 \
  }

#define SPARSE(d, s, T, W)                                                                                    \
  static bdl_csr_error scatter_##s(void *y0, const int32_t *ids, int64_t count, const bdl_k_csr *a) {         \
    W *restrict y = y0;                                                                                       \
    const W *restrict w = a->data;                                                                            \
    const int32_t *restrict index = a->indices;                                                               \
    const uint32_t cols = (uint32_t)a->cols;                                                                  \
    const W same = a->same ? w[0] : 0;                                                                        \
    for (int64_t r = 0; r < count; r++) {                                                                     \
      int64_t lo, hi;                                                                                         \
      if (ids[r] < 0 || ids[r] >= a->rows) return (bdl_csr_error){BDL_CSR_ROW, r, ids[r], a->rows};           \
      if (!row_of(a, ids[r], &lo, &hi)) return bad_pointer(a, ids[r], lo, hi);                                \
      if (a->same) {                                                                                          \
        ADD_ROW(W, same)                                                                                      \
      } else {                                                                                                \
        ADD_ROW(W, w[k])                                                                                      \
      }                                                                                                       \
    }                                                                                                         \
    return FINE;                                                                                              \
  }                                                                                                           \
  static bdl_csr_error left_##s(void *y0, const void *v0, const bdl_k_csr *a) {                               \
    W *restrict y = y0;                                                                                       \
    const W *restrict w = a->data, *restrict v = v0;                                                          \
    const int32_t *restrict index = a->indices;                                                               \
    const uint32_t cols = (uint32_t)a->cols;                                                                  \
    memset(y, 0, (size_t)a->cols * sizeof *y);                                                                \
    for (int64_t i = 0; i < a->rows; i++) {                                                                   \
      int64_t lo, hi;                                                                                         \
      if (!row_of(a, i, &lo, &hi)) return bad_pointer(a, i, lo, hi);                                          \
      if (a->same) {                                                                                          \
        const W same = w[0] * v[i];                                                                           \
        ADD_ROW(W, same)                                                                                      \
      } else {                                                                                                \
        ADD_ROW(W, w[k] * v[i])                                                                               \
      }                                                                                                       \
    }                                                                                                         \
    return FINE;                                                                                              \
  }                                                                                                           \
  /* one row of A v: two interleaved sums */                                                                  \
  static bdl_csr_error right_##s(void *y0, const void *v0, const uint8_t *mask, const bdl_k_csr *a, int64_t i) { \
    const W *restrict w = a->data, *restrict v = v0;                                                          \
    const uint32_t cols = (uint32_t)a->cols;                                                                  \
    W part[2] = {0, 0};                                                                                       \
    int64_t lo, hi;                                                                                           \
    if (!row_of(a, i, &lo, &hi)) return bad_pointer(a, i, lo, hi);                                            \
    for (int64_t k = lo; k < hi; k++) {                                                                       \
      const uint32_t j = (uint32_t)a->indices[k];                                                             \
      if (__builtin_expect(j >= cols, 0)) return bad_column(a, lo, hi);                                       \
      const W value = a->same ? w[0] : w[k];                                                                  \
      part[k & 1] += !mask ? value * v[j] : mask[j] ? value : 0;                                              \
    }                                                                                                         \
    ((W *)y0)[i] = part[0] + part[1];                                                                         \
    return FINE;                                                                                              \
  }                                                                                                           \
  static bdl_csr_error outer_##s(void *z0, const void *x0, const uint8_t *mask, const void *y0, const bdl_k_csr *a, int64_t i) { \
    W *restrict z = z0;                                                                                       \
    const W *restrict y = y0;                                                                                 \
    const uint32_t cols = (uint32_t)a->cols;                                                                  \
    int64_t lo, hi;                                                                                           \
    if (!row_of(a, i, &lo, &hi)) return bad_pointer(a, i, lo, hi);                                            \
    if (mask && !mask[i]) return FINE;                                                                        \
    const W x = mask ? 1 : ((const W *)x0)[i];                                                                \
    for (int64_t k = lo; k < hi; k++) {                                                                       \
      const uint32_t j = (uint32_t)a->indices[k];                                                             \
      if (__builtin_expect(j >= cols, 0)) return bad_column(a, lo, hi);                                       \
      z[k] += x * y[j];                                                                                       \
    }                                                                                                         \
    return FINE;                                                                                              \
  }
BDL_K_NUMBERS(SPARSE)

bdl_csr_error bdl_k_csr_scatter(void *y, const int32_t *ids, int64_t count, const bdl_k_csr *a, bdl_dtype d) {
  static bdl_csr_error (*const table[BDL_DTYPE_COUNT])(void *, const int32_t *, int64_t, const bdl_k_csr *) = {
#define ROW(d, s, T, W) [d] = scatter_##s,
      BDL_K_NUMBERS(ROW)};
#undef ROW
  return table[d](y, ids, count, a);
}

bdl_csr_error bdl_k_csr_left(void *y, const void *v, const bdl_k_csr *a, bdl_dtype d) {
  static bdl_csr_error (*const table[BDL_DTYPE_COUNT])(void *, const void *, const bdl_k_csr *) = {
#define ROW(d, s, T, W) [d] = left_##s,
      BDL_K_NUMBERS(ROW)};
#undef ROW
  return table[d](y, v, a);
}

enum { ROWS = 256 }; /* rows a thread takes at a time */

/* A kernel of one row over all of them. */
typedef struct row_job {
  void *z;
  const void *x;
  const uint8_t *mask;
  const void *y;
  const bdl_k_csr *a;
  bdl_csr_error (*right)(void *, const void *, const uint8_t *, const bdl_k_csr *, int64_t);
  bdl_csr_error (*outer)(void *, const void *, const uint8_t *, const void *, const bdl_k_csr *, int64_t);
  atomic_llong bad; /* the first row with a fault, or the number of rows */
} row_job;

static bdl_csr_error one_row(const row_job *j, int64_t i) {
  return j->right ? j->right(j->z, j->x, j->mask, j->a, i) : j->outer(j->z, j->x, j->mask, j->y, j->a, i);
}

static void row_blocks(void *job, int64_t first, int64_t last, int thread) {
  row_job *j = job;
  (void)thread;
  for (int64_t i = first * ROWS; i < BDL_MIN(last * ROWS, j->a->rows); i++) {
    if (one_row(j, i).fault == BDL_CSR_FINE) continue;
    long long least = atomic_load(&j->bad);
    while (i < least && !atomic_compare_exchange_weak(&j->bad, &least, i)) continue;
    break;
  }
}

static bdl_csr_error each_row(row_job *j, bdl_pool *pool) {
  atomic_init(&j->bad, j->a->rows);
  bdl_pool_run(pool, (j->a->rows + ROWS - 1) / ROWS, row_blocks, j);
  const int64_t bad = atomic_load(&j->bad);
  return bad < j->a->rows ? one_row(j, bad) : FINE;
}

bdl_csr_error bdl_k_csr_right(void *y, const void *v, const uint8_t *mask, const bdl_k_csr *a, bdl_dtype d, bdl_pool *pool) {
  static bdl_csr_error (*const table[BDL_DTYPE_COUNT])(void *, const void *, const uint8_t *, const bdl_k_csr *, int64_t) = {
#define ROW(d, s, T, W) [d] = right_##s,
      BDL_K_NUMBERS(ROW)};
#undef ROW
  row_job job = {.z = y, .x = v, .mask = mask, .a = a, .right = table[d]};
  return each_row(&job, pool);
}

bdl_csr_error bdl_k_csr_outer(void *z, const void *x, const uint8_t *mask, const void *y, const bdl_k_csr *a, bdl_dtype d,
                              bdl_pool *pool) {
  static bdl_csr_error (*const table[BDL_DTYPE_COUNT])(void *, const void *, const uint8_t *, const void *, const bdl_k_csr *,
                                                       int64_t) = {
#define ROW(d, s, T, W) [d] = outer_##s,
      BDL_K_NUMBERS(ROW)};
#undef ROW
  row_job job = {.z = z, .x = x, .mask = mask, .y = y, .a = a, .outer = table[d]};
  return each_row(&job, pool);
}

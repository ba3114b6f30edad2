/*
** event.h -- products of event vectors with dense, sparse and regenerated matrices.
** An element is active when true or > 0.  Work is proportional to the synapses of active rows where rows can be skipped.
** Rows are taken in ascending order, whatever the number of threads of `pool` (NULL: the caller alone): results repeat.
*/
#ifndef BDL_K_EVENT_H
#define BDL_K_EVENT_H

#include "cpu/array.h"

/* mask[i] = 1 where s[i] is active, else 0 */
void bdl_k_active(uint8_t *mask, const void *s, bdl_dtype d, int64_t n);
/* Indices of active elements, ascending; returns how many. */
int64_t bdl_k_active_ids(int32_t *ids, const void *s, bdl_dtype d, int64_t n);

/* y[n] = sum of rows ids[0..count) of w[m, n] */
void bdl_k_event_rows(void *y, const int32_t *ids, int64_t count, const void *w, int64_t n, bdl_dtype d, bdl_pool *pool);
/* y[i] = sum of w[i, ids[..]], w[m, n] */
void bdl_k_event_cols(void *y, const int32_t *ids, int64_t count, const void *w, int64_t m, int64_t n, bdl_dtype d, bdl_pool *pool);

/* A sparse matrix by rows.  Row i holds entries indptr[i] .. indptr[i + 1], or i*fan .. (i + 1)*fan without indptr. */
typedef struct bdl_k_csr {
  int64_t rows, cols, nnz;
  const int32_t *indices; /* [nnz] columns */
  const void *indptr;     /* [rows + 1]; NULL: rows of `fan` entries */
  bool wide;              /* indptr is i64, else i32 */
  int64_t fan;
  const void *data;       /* [nnz], or one entry when `same` */
  bool same;
} bdl_k_csr;

/* What is wrong with the rows or columns: where, the value and what it must stay below. */
typedef enum bdl_csr_fault { BDL_CSR_FINE, BDL_CSR_ROW, BDL_CSR_POINTER, BDL_CSR_COLUMN } bdl_csr_fault;
typedef struct bdl_csr_error {
  bdl_csr_fault fault;
  int64_t at, value, limit;
} bdl_csr_error;

/* y[cols] += rows ids[0..count).  Faults are found before anything outside y is touched; y is then half written. */
bdl_csr_error bdl_k_csr_scatter(void *y, const int32_t *ids, int64_t count, const bdl_k_csr *a, bdl_dtype d);
/* y[cols] = v A, v[rows] of the weights' dtype */
bdl_csr_error bdl_k_csr_left(void *y, const void *v, const bdl_k_csr *a, bdl_dtype d);
/* y[rows] = A v, v[cols] of the weights' dtype, or the mask of an event vector */
bdl_csr_error bdl_k_csr_right(void *y, const void *v, const uint8_t *mask, const bdl_k_csr *a, bdl_dtype d, bdl_pool *pool);
/* z[nnz] += a[i] b[j] at every stored (i, j); mask of rows instead of a where not NULL. */
bdl_csr_error bdl_k_csr_outer(void *z, const void *x, const uint8_t *mask, const void *y, const bdl_k_csr *a, bdl_dtype d,
                              bdl_pool *pool);

/* ---- just-in-time connectivity.
** Row i is read off hashes of counters (i, c) under the key (high, low word of seed), Threefry-2x32.  Synapse t of the row
** lies floor(ln((u + 1) / 2^32) / ln(1 - prob)) columns after the one that follows synapse t - 1; u is word t mod 2 of
** counter (i, t div 2).  Its weight is, with v and w the words of counter (i, 2^31 + t div 2),
**   scalar   p0
**   uniform  p0 + (p1 - p0) v / 2^32, w for odd t
**   normal   p0 + p1 sqrt(-2 ln((v + 1) / 2^32)) cos(2 pi w / 2^32), sin for odd t (Box & Muller 1958)
** A row costs as many hashes as it has synapses, half of that when scalar. */
typedef enum bdl_jitc_law { BDL_JITC_SCALAR, BDL_JITC_UNIFORM, BDL_JITC_NORMAL } bdl_jitc_law;
typedef struct bdl_k_jitc {
  int64_t rows, cols;
  uint64_t seed;
  double prob;
  bdl_jitc_law law;
  double p0, p1;
} bdl_k_jitc;

/* The next columns of a row, ascending; fewer than BDL_JITC_BATCH at its end.  *t starts as 0, *column as -1. */
enum { BDL_JITC_BATCH = 16 };
int bdl_k_jitc_columns(int32_t cols[BDL_JITC_BATCH], const bdl_k_jitc *g, int64_t row, uint32_t *t, int64_t *column);

/* y[cols] = v M (transpose: y[rows] = M v); mask instead of v where not NULL.  d is f32 or f64. */
void bdl_k_jitc_dot(void *y, const void *v, const uint8_t *mask, const bdl_k_jitc *g, bool transpose, bdl_dtype d, bdl_pool *pool);

#endif

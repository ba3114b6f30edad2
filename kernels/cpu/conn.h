/*
** conn.h -- building connectivity: which columns each row of a matrix has.
** Row i draws from counters (i, 0), (i, 1), .. under a key alone, so nothing depends on threads or on other rows.
** `alone`: row i leaves out column i.  Two passes: count, then fill what was allocated to measure.
*/
#ifndef BDL_K_CONN_H
#define BDL_K_CONN_H

#include <signal.h>

#include "cpu/event.h"

/* Builders end early, what they make unfinished, once *stop is not 0. */
typedef const volatile sig_atomic_t bdl_k_stop;

/* indices[rows * k]: k columns a row, uniform.
**   seen   bdl_pool_size(pool) * bdl_k_conn_words(cols) words, zero before and after; NULL: columns may repeat */
static inline int64_t bdl_k_conn_words(int64_t cols) { return (cols + 63) / 64; }
void bdl_k_conn_fixed(int32_t *indices, uint64_t seed, int64_t rows, int64_t cols, int64_t k, bool alone, uint64_t *seen,
                      bdl_pool *pool, bdl_k_stop *stop);

/* Where rows and columns lie: an entry at distance r is kept with probability exp(-r^2 / 2 scale^2), exp(-r / scale) or 1, and
** never beyond `most`. */
typedef enum bdl_conn_law { BDL_CONN_GAUSSIAN, BDL_CONN_EXPONENTIAL, BDL_CONN_DISC } bdl_conn_law;
typedef struct bdl_k_space {
  bdl_conn_law law;
  double scale, most;
  int ndim;
  const double *pre, *post; /* [rows, ndim], [cols, ndim] */
  const double *period;     /* [ndim], entries 0: not periodic; NULL: none is */
} bdl_k_space;
/* indices NULL: indptr[rows + 1] of the matrix that g regenerates, thinned by distance when s is not NULL.  Then its columns,
** ascending.  Work: that of g. */
void bdl_k_conn_sparse(int64_t *indptr, int32_t *indices, const bdl_k_jitc *g, const bdl_k_space *s, bool alone, bdl_pool *pool,
                       bdl_k_stop *stop);

/* Entries (row[e], ..) by row: indptr[rows + 1] and order[n], the entries of row 0, of row 1, ..; each in their old order. */
void bdl_k_conn_group(int64_t *indptr, int32_t *order, const int32_t *row, int64_t n, int64_t rows, bdl_k_stop *stop);

/* A scale-free graph: node i >= m is joined to m nodes chosen by their degree, the first one of them to all before it.
**   pre, post   i32[2 m (n - m)], both directions of every edge; n > m >= 1
** Source: Barabasi & Albert 1999. */
void bdl_k_conn_scale_free(int32_t *pre, int32_t *post, uint64_t seed, int64_t n, int64_t m, bdl_k_stop *stop);

#endif

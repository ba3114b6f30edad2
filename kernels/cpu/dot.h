/*
** dot.h -- products of matrices.
*/
#ifndef BDL_K_DOT_H
#define BDL_K_DOT_H

#include "cpu/array.h"
#include "cpu/blas.h"
#include "cpu/row.h"

/* z[b, i, j] = sum over p of x[b, i, p] y[b, p, j], z with rows `ldz` apart (n when contiguous).  Strides count elements;
** of each pair (xi, xp) and (yp, yj) one is 1, or both belong to axes of extent 1. */
typedef struct bdl_k_matmul {
  int64_t batch, m, n, k;
  int64_t xb, xi, xp;
  int64_t yb, yp, yj;
  int64_t zb, ldz;
} bdl_k_matmul;

/* Large float products go to the library in blocks with fixed boundaries, the others to loops of our own; blas may be
** NULL or without a library.  bool: or of ands.  k 0 gives zeros. */
void bdl_k_dot(void *z, const void *x, const void *y, const bdl_k_matmul *g, bdl_dtype d, bdl_blas *blas, bdl_pool *pool);

/* Products of few rows are those rows, one after the other; row i. */
bool bdl_k_is_few(const bdl_k_matmul *g, bdl_dtype d);
bdl_k_row bdl_k_row_of(void *z, const void *x, const void *y, const bdl_k_matmul *g, size_t size, int64_t i);

#endif

/*
** linalg.h -- factorisations and solutions of systems through LAPACK.  One row-major matrix a call; blas is open.
** T is float for _f32, double for _f64.
*/
#ifndef BDL_K_LINALG_H
#define BDL_K_LINALG_H

#include "cpu/blas.h"

#define BDL_K_LINALG(s, T)                                                                                                 \
  /* z = lower L with L L' = (x + x') / 2; all NaN when that is not positive definite.  x, z [n, n] */                     \
  void bdl_k_cholesky_##s(const bdl_blas *b, T *z, const T *x, int n);                                                     \
  /* op(a) z = z in place; a [n, n] triangular, z [n, k]; only the named triangle of a is read */                          \
  void bdl_k_triangular_solve_##s(const bdl_blas *b, T *z, const T *a, int n, int k, bool lower, bool trans, bool unit);   \
  /* z packs L (unit) and U of the rows of x exchanged: row i with row pivot[i] >= i, ascending.  scratch T[n, n] */       \
  void bdl_k_lu_##s(const bdl_blas *b, T *z, int32_t *pivot, const T *x, int n, T *scratch);                               \
  /* a z = y; NaN when a is singular.  y, z [n, k]; scratch T[n, n + k], pivot [n] */                                      \
  void bdl_k_solve_##s(const bdl_blas *b, T *z, const T *a, const T *y, int n, int k, T *scratch, int32_t *pivot);
BDL_K_LINALG(f32, float)
BDL_K_LINALG(f64, double)
#undef BDL_K_LINALG

/* p [n]: 0 .. n-1 with entry i and entry pivot[i] exchanged, ascending.  False: a pivot is not one of them. */
bool bdl_k_lu_permutation(int32_t *p, const int32_t *pivot, int n);

#endif

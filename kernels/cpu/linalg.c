/*
** linalg.c -- LAPACK counts columns first: a row-major matrix is the transpose of what it reads.
*/
#include <math.h>
#include <string.h>

#include "cpu/linalg.h"

/* z [cols, rows] = x' of x [rows, cols], in blocks of one cache line */
#define TRANSPOSED(s, T)                                                                     \
  static void transposed_##s(T *z, const T *x, int64_t rows, int64_t cols) {                 \
    enum { block = 64 / sizeof(T) };                                                         \
    for (int64_t i0 = 0; i0 < rows; i0 += block)                                             \
      for (int64_t j0 = 0; j0 < cols; j0 += block)                                           \
        for (int64_t i = i0; i < BDL_MIN(i0 + block, rows); i++)                             \
          for (int64_t j = j0; j < BDL_MIN(j0 + block, cols); j++) z[j * rows + i] = x[i * cols + j]; \
  }

#define LINALG(s, T)                                                                                                      \
  TRANSPOSED(s, T)                                                                                                        \
  static void all_nan_##s(T *z, int64_t n) {                                                                              \
    for (int64_t i = 0; i < n; i++) z[i] = (T)NAN;                                                                        \
  }                                                                                                                       \
                                                                                                                          \
  void bdl_k_cholesky_##s(const bdl_blas *b, T *z, const T *x, int n) {                                                   \
    int info = 0;                                                                                                         \
    for (int64_t i = 0; i < n; i++) /* the lower triangle is the upper one for LAPACK */                                  \
      for (int64_t j = 0; j < n; j++) z[i * n + j] = j > i ? 0 : x[i * n + j] / 2 + x[j * n + i] / 2;                     \
    if (n == 0) return;                                                                                                   \
    b->s.potrf("U", &n, z, &n, &info);                                                                                    \
    if (info != 0) all_nan_##s(z, (int64_t)n * n);                                                                        \
  }                                                                                                                       \
                                                                                                                          \
  void bdl_k_triangular_solve_##s(const bdl_blas *b, T *z, const T *a, int n, int k, bool lower, bool trans, bool unit) { \
    if (n == 0 || k == 0) return;                                                                                         \
    b->s.trsm(BDL_BLAS_ROW_MAJOR, BDL_BLAS_LEFT, lower ? BDL_BLAS_LOWER : BDL_BLAS_UPPER,                                 \
              trans ? BDL_BLAS_TRANS : BDL_BLAS_NO_TRANS, unit ? BDL_BLAS_UNIT : BDL_BLAS_NON_UNIT, n, k, 1, a, n, z, k); \
  }                                                                                                                       \
                                                                                                                          \
  void bdl_k_lu_##s(const bdl_blas *b, T *z, int32_t *pivot, const T *x, int n, T *scratch) {                             \
    int info = 0;                                                                                                         \
    if (n == 0) return;                                                                                                   \
    transposed_##s(scratch, x, n, n);                                                                                     \
    b->s.getrf(&n, &n, scratch, &n, pivot, &info);                                                                        \
    transposed_##s(z, scratch, n, n);                                                                                     \
    for (int i = 0; i < n; i++) pivot[i]--;                                                                               \
  }                                                                                                                       \
                                                                                                                          \
  void bdl_k_solve_##s(const bdl_blas *b, T *z, const T *a, const T *y, int n, int k, T *scratch, int32_t *pivot) {       \
    int info = 0;                                                                                                         \
    if (n == 0 || k == 0) return;                                                                                         \
    T *columns = scratch + (int64_t)n * n;                                                                                \
    transposed_##s(scratch, a, n, n);                                                                                     \
    transposed_##s(columns, y, n, k);                                                                                     \
    b->s.gesv(&n, &k, scratch, &n, pivot, columns, &n, &info);                                                            \
    if (info == 0)                                                                                                        \
      transposed_##s(z, columns, k, n);                                                                                   \
    else                                                                                                                  \
      all_nan_##s(z, (int64_t)n * k);                                                                                     \
  }
LINALG(f32, float)
LINALG(f64, double)

bool bdl_k_lu_permutation(int32_t *p, const int32_t *pivot, int n) {
  for (int i = 0; i < n; i++) p[i] = i;
  for (int i = 0; i < n; i++) {
    const int32_t j = pivot[i], t = p[i];
    if (j < 0 || j >= n) return false;
    p[i] = p[j], p[j] = t;
  }
  return true;
}

/*
** blas.h -- OpenBLAS, loaded when a kernel first needs it, so that programs without large products never wait for it.
*/
#ifndef BDL_K_BLAS_H
#define BDL_K_BLAS_H

#include "base/base.h"

/* Values of the C interface. */
enum { BDL_BLAS_ROW_MAJOR = 101, BDL_BLAS_NO_TRANS = 111, BDL_BLAS_TRANS = 112 };
enum { BDL_BLAS_UPPER = 121, BDL_BLAS_LOWER = 122, BDL_BLAS_NON_UNIT = 131, BDL_BLAS_UNIT = 132, BDL_BLAS_LEFT = 141 };

/* Functions of one float type, with the arguments of cblas_?gemm, .. and of LAPACK's ?potrf_, .. */
#define BDL_BLAS_FUNCTIONS(X, T)                                                                                        \
  X(gemm, cblas_, gemm, void, (int order, int ta, int tb, int m, int n, int k, T alpha, const T *a, int lda, const T *b, \
                               int ldb, T beta, T *c, int ldc))                                                         \
  X(gemv, cblas_, gemv, void, (int order, int ta, int m, int n, T alpha, const T *a, int lda, const T *x, int incx,      \
                               T beta, T *y, int incy))                                                                 \
  X(trsm, cblas_, trsm, void, (int order, int side, int uplo, int trans, int diag, int m, int n, T alpha, const T *a,    \
                               int lda, T *b, int ldb))                                                                 \
  X(potrf, , potrf_, void, (const char *uplo, const int *n, T *a, const int *lda, int *info))                           \
  X(getrf, , getrf_, void, (const int *m, const int *n, T *a, const int *lda, int *pivot, int *info))                   \
  X(gesv, , gesv_, void, (const int *n, const int *k, T *a, const int *lda, int *pivot, T *b, const int *ldb, int *info))

#define BDL_BLAS_FIELD(name, pre, post, R, args) R(*name) args;
typedef struct bdl_blas {
  void *library; /* NULL: not opened */
  bool missing;  /* opening failed: do not try again */
  int (*omp_get)(void); /* of an OpenMP build, else NULL: threads that a call from this thread would use */
  void (*omp_set)(int);
  struct {
    BDL_BLAS_FUNCTIONS(BDL_BLAS_FIELD, float)
  } f32;
  struct {
    BDL_BLAS_FUNCTIONS(BDL_BLAS_FIELD, double)
  } f64;
} bdl_blas;

/* Is it there?  Opens it on the first call: $BDL_BLAS, libopenblas, or the system's libblas and liblapack. */
bool bdl_blas_ready(bdl_blas *b);
/* The same, with an error.  Errors: BDL_ENOTSUP naming the package. */
bdl_status bdl_blas_open(bdl_blas *b, bdl_context *c);
void bdl_blas_close(bdl_blas *b);

/* Calls between these run on the calling thread alone, whatever the host program has set for OpenMP. */
static inline int bdl_blas_alone(const bdl_blas *b) {
  const int n = b->omp_get ? b->omp_get() : 1;
  if (n > 1) b->omp_set(1);
  return n;
}
static inline void bdl_blas_restore(const bdl_blas *b, int n) {
  if (n > 1) b->omp_set(n);
}

#endif

/*
** cublas.c -- products by loops, queued on a stream of the fake driver.  Scalars are read on the host, at the call.
*/
#include "product.h"

struct cublasContext {
  CUstream stream;
};

#define ENTER_CUBLAS(function)                                      \
  if (fake_fails(#function)) return CUBLAS_STATUS_EXECUTION_FAILED; \
  if (!h) return CUBLAS_STATUS_NOT_INITIALIZED

static cublasStatus_t multiply(cublasHandle_t h, const product *p) {
  const int rows_a = p->ta ? p->k : p->m, rows_b = p->tb ? p->n : p->k;
  if (p->m < 0 || p->n < 0 || p->k < 0 || p->batch < 0) return CUBLAS_STATUS_INVALID_VALUE;
  if (p->lda < (rows_a ? rows_a : 1) || p->ldb < (rows_b ? rows_b : 1) || p->ldc < (p->m ? p->m : 1))
    return CUBLAS_STATUS_INVALID_VALUE;
  if (p->stride_a < 0 || p->stride_b < 0 || p->stride_c < 0) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (!p->m || !p->n || !p->batch) return CUBLAS_STATUS_SUCCESS;
  if (!fits(p, p->a, rows_a, p->ta ? p->m : p->k, p->lda, p->stride_a) ||
      !fits(p, p->b, rows_b, p->tb ? p->k : p->n, p->ldb, p->stride_b) ||
      !fits(p, p->c, p->m, p->n, p->ldc, p->stride_c)) {
    fprintf(stderr, "fake cuBLAS: a matrix does not lie in an allocation of the device\n");
    return CUBLAS_STATUS_EXECUTION_FAILED;
  }
  return fake_queue(h->stream, do_product, p, sizeof *p, NULL) ? CUBLAS_STATUS_EXECUTION_FAILED : CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t h, int ta, int tb, int m, int n, int k, const void *alpha,
                                          const void *a, int atype, int lda, long long stride_a, const void *b,
                                          int btype, int ldb, long long stride_b, const void *beta, void *c, int ctype,
                                          int ldc, long long stride_c, int batch, int compute, int algorithm) {
  ENTER_CUBLAS(cublasGemmStridedBatchedEx);
  const bool single = atype == CUDA_R_32F;
  const bool mode = single ? compute == CUBLAS_COMPUTE_32F || compute == CUBLAS_COMPUTE_32F_PEDANTIC ||
                                 compute == CUBLAS_COMPUTE_32F_FAST_TF32
                           : compute == CUBLAS_COMPUTE_64F || compute == CUBLAS_COMPUTE_64F_PEDANTIC;
  (void)algorithm;
  if ((!single && atype != CUDA_R_64F) || btype != atype || ctype != atype || !mode) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (ta < 0 || ta > 2 || tb < 0 || tb > 2 || !alpha || !beta) return CUBLAS_STATUS_INVALID_VALUE;
  const product p = {single, ta, tb, m, n, k, lda, ldb, ldc, batch, stride_a, stride_b, stride_c,
                     scalar(alpha, single), scalar(beta, single), a, b, NULL, c};
  return multiply(h, &p);
}

cublasStatus_t cublasSgemm_v2(cublasHandle_t h, int ta, int tb, int m, int n, int k, const float *alpha, const float *a,
                              int lda, const float *b, int ldb, const float *beta, float *c, int ldc) {
  ENTER_CUBLAS(cublasSgemm);
  return cublasGemmStridedBatchedEx(h, ta, tb, m, n, k, alpha, a, CUDA_R_32F, lda, 0, b, CUDA_R_32F, ldb, 0, beta, c,
                                    CUDA_R_32F, ldc, 0, 1, CUBLAS_COMPUTE_32F, -1);
}

cublasStatus_t cublasDgemm_v2(cublasHandle_t h, int ta, int tb, int m, int n, int k, const double *alpha,
                              const double *a, int lda, const double *b, int ldb, const double *beta, double *c,
                              int ldc) {
  ENTER_CUBLAS(cublasDgemm);
  return cublasGemmStridedBatchedEx(h, ta, tb, m, n, k, alpha, a, CUDA_R_64F, lda, 0, b, CUDA_R_64F, ldb, 0, beta, c,
                                    CUDA_R_64F, ldc, 0, 1, CUBLAS_COMPUTE_64F, -1);
}

/* ---- handles ----------------------------------------------------------------------------------------------------- */

cublasStatus_t cublasCreate_v2(cublasHandle_t *h) {
  CUcontext c;
  if (fake_fails("cublasCreate") || cuCtxGetCurrent(&c) || !c) return CUBLAS_STATUS_NOT_INITIALIZED;
  *h = calloc(1, sizeof **h);
  return *h ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
}

cublasStatus_t cublasDestroy_v2(cublasHandle_t h) {
  ENTER_CUBLAS(cublasDestroy);
  free(h);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetVersion_v2(cublasHandle_t h, int *version) {
  (void)h; /* may be NULL */
  *version = 120400;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream_v2(cublasHandle_t h, CUstream s) {
  ENTER_CUBLAS(cublasSetStream);
  h->stream = s;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t h, void *p, size_t n) {
  ENTER_CUBLAS(cublasSetWorkspace);
  if ((uintptr_t)p % 256) return CUBLAS_STATUS_INVALID_VALUE;
  return !n || fake_on_device((CUdeviceptr)(uintptr_t)p, n) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

/* default, pedantic, TF32; with the flag that forbids reductions in reduced precision.  All sum in the type of the
** result. */
cublasStatus_t cublasSetMathMode(cublasHandle_t h, int mode) {
  ENTER_CUBLAS(cublasSetMathMode);
  return (mode & ~16) >= 0 && (mode & ~16) <= 3 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasSetPointerMode_v2(cublasHandle_t h, int mode) {
  ENTER_CUBLAS(cublasSetPointerMode);
  return mode == 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED; /* scalars on the host */
}

const char *cublasGetStatusString(cublasStatus_t e) {
  switch (e) {
  case CUBLAS_STATUS_SUCCESS: return "CUBLAS_STATUS_SUCCESS";
  case CUBLAS_STATUS_NOT_INITIALIZED: return "CUBLAS_STATUS_NOT_INITIALIZED";
  case CUBLAS_STATUS_ALLOC_FAILED: return "CUBLAS_STATUS_ALLOC_FAILED";
  case CUBLAS_STATUS_INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
  case CUBLAS_STATUS_EXECUTION_FAILED: return "CUBLAS_STATUS_EXECUTION_FAILED";
  case CUBLAS_STATUS_NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "unknown status";
}

/*
** cublaslt.c -- products by cuBLASLt: descriptors, a choice of algorithm (there is one, which wants a workspace), the product with a bias.
*/
#include "product.h"

typedef struct cublasLtContext *cublasLtHandle_t;
typedef struct desc *cublasLtMatmulDesc_t;
typedef struct layout *cublasLtMatrixLayout_t;
typedef struct preference *cublasLtMatmulPreference_t;
typedef struct {
  uint64_t data[8];
} cublasLtMatmulAlgo_t;
typedef struct {
  cublasLtMatmulAlgo_t algo;
  size_t workspaceSize;
  cublasStatus_t state;
  float wavesCount;
  int reserved[4];
} cublasLtMatmulHeuristicResult_t;

struct cublasLtContext {
  int unused;
};
struct desc {
  int compute, scale;
  int32_t ta, tb;
  uint32_t epilogue;
  const void *bias;
};
struct layout {
  int type;
  uint64_t rows, cols;
  int64_t ld;
};
struct preference {
  uint64_t workspace;
  uint32_t aligned[4];
};
enum { WORKSPACE = 1 << 12, ALGORITHM = 0xB1A5, EPILOGUE_NONE = 1, EPILOGUE_BIAS = 4 };

API cublasStatus_t cublasLtCreate(cublasLtHandle_t *h);
API cublasStatus_t cublasLtDestroy(cublasLtHandle_t h);
API cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *p, int compute, int scale);
API cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t p);
API cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t p, int attribute, const void *v, size_t size);
API cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *p, int type, uint64_t rows, uint64_t cols, int64_t ld);
API cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t p);
API cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *p);
API cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p);
API cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p, int attribute, const void *v,
                                                        size_t size);
API cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t h, cublasLtMatmulDesc_t p, cublasLtMatrixLayout_t a,
                                                  cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                                  cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference,
                                                  int most, cublasLtMatmulHeuristicResult_t *found, int *n);
API cublasStatus_t cublasLtMatmul(cublasLtHandle_t h, cublasLtMatmulDesc_t p, const void *alpha, const void *a,
                                  cublasLtMatrixLayout_t la, const void *b, cublasLtMatrixLayout_t lb, const void *beta,
                                  const void *c, cublasLtMatrixLayout_t lc, void *d, cublasLtMatrixLayout_t ld,
                                  const cublasLtMatmulAlgo_t *algo, void *workspace, size_t size, CUstream stream);

#define ENTER_LT(function) \
  if (fake_fails(#function)) return CUBLAS_STATUS_EXECUTION_FAILED
#define NEW(p)                                        \
  (*(p) = calloc(1, sizeof **(p)));                   \
  if (!*(p)) return CUBLAS_STATUS_ALLOC_FAILED

cublasStatus_t cublasLtCreate(cublasLtHandle_t *h) {
  CUcontext c;
  ENTER_LT(cublasLtCreate);
  if (cuCtxGetCurrent(&c) || !c) return CUBLAS_STATUS_NOT_INITIALIZED;
  NEW(h);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t h) {
  free(h);
  return CUBLAS_STATUS_SUCCESS;
}

/* ---- descriptors ------------------------------------------------------------------------------------------------- */

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *p, int compute, int scale) {
  ENTER_LT(cublasLtMatmulDescCreate);
  NEW(p);
  **p = (struct desc){.compute = compute, .scale = scale, .epilogue = EPILOGUE_NONE};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t p) {
  free(p);
  return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t set(void *to, size_t expected, const void *v, size_t size) {
  if (size != expected) return CUBLAS_STATUS_INVALID_VALUE;
  memcpy(to, v, size);
  return CUBLAS_STATUS_SUCCESS;
}

/* cublasLtMatmulDescAttributes_t */
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t p, int attribute, const void *v, size_t size) {
  ENTER_LT(cublasLtMatmulDescSetAttribute);
  switch (attribute) {
  case 3: return set(&p->ta, sizeof p->ta, v, size);
  case 4: return set(&p->tb, sizeof p->tb, v, size);
  case 7: return set(&p->epilogue, sizeof p->epilogue, v, size);
  case 8: return set(&p->bias, sizeof p->bias, v, size);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *p, int type, uint64_t rows, uint64_t cols, int64_t ld) {
  ENTER_LT(cublasLtMatrixLayoutCreate);
  if (ld < (int64_t)rows) return CUBLAS_STATUS_INVALID_VALUE;
  NEW(p);
  **p = (struct layout){type, rows, cols, ld};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t p) {
  free(p);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *p) {
  ENTER_LT(cublasLtMatmulPreferenceCreate);
  NEW(p);
  **p = (struct preference){.aligned = {256, 256, 256, 256}};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) {
  free(p);
  return CUBLAS_STATUS_SUCCESS;
}

/* cublasLtMatmulPreferenceAttributes_t */
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p, int attribute, const void *v, size_t size) {
  ENTER_LT(cublasLtMatmulPreferenceSetAttribute);
  if (attribute == 1) return set(&p->workspace, sizeof p->workspace, v, size);
  if (attribute >= 5 && attribute <= 8) return set(&p->aligned[attribute - 5], sizeof p->aligned[0], v, size);
  return CUBLAS_STATUS_INVALID_VALUE;
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

/* Do the layouts fit one another, and what is to be done with them? */
static bool fit(const struct desc *p, const struct layout *a, const struct layout *b, const struct layout *c, const struct layout *d) {
  const uint64_t m = p->ta ? a->cols : a->rows, k = p->ta ? a->rows : a->cols, n = p->tb ? b->rows : b->cols;
  const bool single = a->type == CUDA_R_32F;
  const bool sums = single ? p->compute == CUBLAS_COMPUTE_32F || p->compute == CUBLAS_COMPUTE_32F_FAST_TF32
                           : p->compute == CUBLAS_COMPUTE_64F;
  return (single || a->type == CUDA_R_64F) && sums && p->scale == a->type && b->type == a->type && c->type == a->type &&
         d->type == a->type && (p->tb ? b->cols : b->rows) == k && c->rows == m && c->cols == n && d->rows == m && d->cols == n;
}

static size_t alignment(const void *p) { return (size_t)((uintptr_t)p & -(uintptr_t)p); }

/* What was found for operands aligned so, it notes. */
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t h, cublasLtMatmulDesc_t p, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int most,
                                              cublasLtMatmulHeuristicResult_t *found, int *n) {
  ENTER_LT(cublasLtMatmulAlgoGetHeuristic);
  *n = 0;
  if (fake_env("FAKE_CUDA_NO_EPILOGUE", 0)) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (!h || most < 1 || !fit(p, a, b, c, d)) return CUBLAS_STATUS_INVALID_VALUE;
  if (preference->workspace < WORKSPACE || (p->epilogue != EPILOGUE_NONE && p->epilogue != EPILOGUE_BIAS)) return CUBLAS_STATUS_NOT_SUPPORTED;
  *found = (cublasLtMatmulHeuristicResult_t){.workspaceSize = WORKSPACE};
  found->algo.data[0] = ALGORITHM;
  for (int i = 0; i < 4; i++) found->algo.data[1 + i] = preference->aligned[i];
  found->algo.data[5] = alignment(p->bias);
  *n = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t h, cublasLtMatmulDesc_t p, const void *alpha, const void *a,
                              cublasLtMatrixLayout_t la, const void *b, cublasLtMatrixLayout_t lb, const void *beta,
                              const void *c, cublasLtMatrixLayout_t lc, void *d, cublasLtMatrixLayout_t ld,
                              const cublasLtMatmulAlgo_t *algo, void *workspace, size_t size, CUstream stream) {
  ENTER_LT(cublasLtMatmul);
  const bool single = la->type == CUDA_R_32F, biased = p->epilogue == EPILOGUE_BIAS;
  const void *const operands[] = {a, b, c, d, p->bias};
  if (!h || !fit(p, la, lb, lc, ld) || c != d || lc->ld != ld->ld || algo->data[0] != ALGORITHM) return CUBLAS_STATUS_INVALID_VALUE;
  for (int i = 0; i < (biased ? 5 : 4); i++)
    if (alignment(operands[i]) < algo->data[1 + i]) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (size < WORKSPACE || alignment(workspace) < 256 || !fake_on_device((CUdeviceptr)(uintptr_t)workspace, size)) return CUBLAS_STATUS_INVALID_VALUE;
  const product q = {single, p->ta, p->tb, (int)ld->rows, (int)ld->cols, (int)(p->ta ? la->rows : la->cols), (int)la->ld, (int)lb->ld,
                     (int)ld->ld, 1, 0, 0, 0, scalar(alpha, single), scalar(beta, single), a, b, biased ? p->bias : NULL, d};
  if (!fits(&q, a, (int)la->rows, (int)la->cols, q.lda, 0) || !fits(&q, b, (int)lb->rows, (int)lb->cols, q.ldb, 0) ||
      !fits(&q, d, q.m, q.n, q.ldc, 0) || (biased && !fits(&q, p->bias, q.m, 1, q.m, 0))) {
    fprintf(stderr, "fake cuBLASLt: a matrix does not lie in an allocation of the device\n");
    return CUBLAS_STATUS_EXECUTION_FAILED;
  }
  return fake_queue(stream, do_product, &q, sizeof q, NULL) ? CUBLAS_STATUS_EXECUTION_FAILED : CUBLAS_STATUS_SUCCESS;
}

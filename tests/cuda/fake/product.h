/*
** product.h -- products by loops, of the fake cuBLAS and cuBLASLt.
*/
#ifndef BDL_TESTS_FAKE_PRODUCT_H
#define BDL_TESTS_FAKE_PRODUCT_H

#include "fake.h"

/* c[m, n] = alpha op(a)[m, k] op(b)[k, n] + beta c + bias[m], column-major; `batch` of them */
typedef struct {
  bool single, ta, tb;
  int m, n, k, lda, ldb, ldc, batch;
  long long stride_a, stride_b, stride_c;
  double alpha, beta;
  const void *a, *b, *bias; /* bias: NULL: none */
  void *c;
} product;

/* beta = 0: c is not read. */
#define PRODUCT(name, T)                                                                                          \
  static inline void name(const product *p, int i) {                                                              \
    const T *a = (const T *)p->a + i * p->stride_a, *b = (const T *)p->b + i * p->stride_b;                       \
    T *c = (T *)p->c + i * p->stride_c;                                                                           \
    for (int64_t col = 0; col < p->n; col++)                                                                      \
      for (int64_t row = 0; row < p->m; row++) {                                                                  \
        T sum = 0;                                                                                                \
        for (int64_t l = 0; l < p->k; l++)                                                                        \
          sum += a[p->ta ? l + row * p->lda : row + l * p->lda] * b[p->tb ? col + l * p->ldb : l + col * p->ldb]; \
        T *z = &c[row + col * p->ldc];                                                                            \
        *z = (T)p->alpha * sum + (p->beta != 0 ? (T)p->beta * *z : 0);                                            \
        if (p->bias) *z += ((const T *)p->bias)[row];                                                             \
      }                                                                                                           \
  }
PRODUCT(product_f32, float)
PRODUCT(product_f64, double)

static inline CUresult do_product(void *args) {
  const product *p = args;
  for (int i = 0; i < p->batch; i++) (p->single ? product_f32 : product_f64)(p, i);
  return CUDA_SUCCESS;
}

/* Do `batch` matrices of rows x columns lie on the device? */
static inline bool fits(const product *p, const void *x, int rows, int columns, int ld, long long stride) {
  const size_t bytes = p->single ? sizeof(float) : sizeof(double);
  if (!rows || !columns) return true;
  const long long last = (p->batch - 1) * stride + (long long)(columns - 1) * ld + rows;
  return fake_on_device((CUdeviceptr)(uintptr_t)x, (size_t)last * bytes);
}

static inline double scalar(const void *x, bool single) { return single ? (double)*(const float *)x : *(const double *)x; }

#endif

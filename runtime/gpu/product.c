/*
** product.c -- large products of floats by cuBLAS, between launches, and cuBLASLt where a row is added to them.  Their order of additions
** is their own.
**
** A kernel's tiles have the bits of the CPU and need no host; the library is several times as fast where a product takes longer
** than a launch does.  Inside a loop of the host each step pays for launches around it, too, so there a product must be larger.
*/
#include "gpu/resident.h"

#include <limits.h>

#include "base/context.h"
#include "exec/lower_linalg.h"

/* Values of cuBLAS's interface. */
enum {
  NO_TRANS = 0, TRANS = 1, F32 = 0, F64 = 1, SUM_F32 = 68, SUM_TF32 = 77, SUM_F64 = 70, ANY_ALGORITHM = -1, NO_MEMORY = 3, NOT_SUPPORTED = 15,
  DESC_TRANS_A = 3, DESC_TRANS_B = 4, DESC_EPILOGUE = 7, DESC_BIAS = 8, EPILOGUE_BIAS = 4, PREFERRED_WORKSPACE = 1, PREFERRED_ALIGNMENT = 5
};

enum { LARGE = 27, LARGE_IN_LOOP = 30, LEAST_ROWS = 16 }; /* 2^: operations; fewer rows wait for memory, here as there */

static bool is_product(bdl_prim_id p) {
  return p == BDL_P_dot || p == BDL_P_dot_add || p == BDL_P_packed_dot || p == BDL_P_sparse_dot;
}

bool bdl_gpu_is_large(const bdl_inst *i, bool looped) {
  if (i->kind != BDL_I_KERNEL || !is_product(i->prim) || !bdl_dtype_is_float(i->kernel.out_aval[0].dtype)) return false;
  bdl_packing pack[2];
  const bdl_k_matmul g = bdl_lower_matmul(i->kernel.params, i->kernel.in_aval, pack);
  const double operations = 2.0 * (double)g.batch * (double)g.m * (double)g.n * (double)g.k;
  return !pack[0].needed && !pack[1].needed && BDL_MIN(g.m, g.n) >= LEAST_ROWS && g.batch <= INT_MAX &&
         operations >= (double)(INT64_C(1) << (looped ? LARGE_IN_LOOP : LARGE));
}

bool bdl_gpu_adds_row(const bdl_inst *i) { return i->prim == BDL_P_dot_add && i->kernel.in_aval[2].ndim == 1; }

static bdl_status check(bdl_cuda *g, int code) {
  bdl_context *c = g->device.ctx;
  if (code == 0) return BDL_OK;
  if (code == NO_MEMORY) return bdl_fail(c, BDL_ENOMEM, "GPU: out of memory: cuBLAS (%zu bytes of %zu are in use)", g->used, g->total);
  return bdl_fail(c, BDL_EIO, "GPU: cuBLAS failed (%d)", code);
}

static bdl_status library(bdl_cuda *g) {
  if (g->blas) return BDL_OK;
  TRY(check(g, g->api.cublasCreate_v2(&g->blas)));
  const bdl_status s = check(g, g->api.cublasSetStream_v2(g->blas, g->stream));
  if (s == BDL_OK) return BDL_OK;
  g->api.cublasDestroy_v2(g->blas);
  g->blas = NULL;
  return s;
}

/* A matrix that cuBLAS reads by columns of `rows` elements: its leading dimension, or that of its transpose. */
static int leading(int64_t row, int64_t column, int64_t rows, int64_t columns, int *trans) {
  const bool turned = row != 1 && rows > 1;
  *trans = turned ? TRANS : NO_TRANS;
  return (int)(turned ? BDL_MAX(row, columns) : BDL_MAX(column, rows));
}

/* By columns z is z': z' = y' x'. */
typedef struct gemm {
  bdl_k_matmul p;
  int type, sum, tx, ty, lx, ly;
  const void *one, *zero;
} gemm;

static gemm gemm_of(const bdl_cuda *g, const bdl_inst *i) {
  static const float f32[] = {0, 1};
  static const double f64[] = {0, 1};
  const bool single = i->kernel.out_aval[0].dtype == BDL_F32;
  bdl_packing pack[2];
  gemm m = {.p = bdl_lower_matmul(i->kernel.params, i->kernel.in_aval, pack)};
  m.type = single ? F32 : F64;
  m.sum = !single ? SUM_F64 : g->device.ctx->tf32 ? SUM_TF32 : SUM_F32;
  m.zero = single ? (const void *)&f32[0] : &f64[0];
  m.one = single ? (const void *)&f32[1] : &f64[1];
  m.ly = leading(m.p.yj, m.p.yp, m.p.n, m.p.k, &m.ty);
  m.lx = leading(m.p.xp, m.p.xi, m.p.k, m.p.m, &m.tx);
  return m;
}

bdl_status bdl_gpu_product(bdl_cuda *g, const bdl_inst *i, bdl_cuda_ptr z, bdl_cuda_ptr x, bdl_cuda_ptr y, bool onto) {
  const gemm m = gemm_of(g, i);
  TRY(library(g));
  return check(g, g->api.cublasGemmStridedBatchedEx(g->blas, m.ty, m.tx, (int)m.p.n, (int)m.p.m, (int)m.p.k, m.one, (const void *)(uintptr_t)y,
                                                    m.type, m.ly, m.p.yb, (const void *)(uintptr_t)x, m.type, m.lx, m.p.xb, onto ? m.one : m.zero,
                                                    (void *)(uintptr_t)z, m.type, (int)m.p.ldz, m.p.zb, (int)m.p.batch, m.sum, ANY_ALGORITHM));
}

/* ---- with a row added to each of z: as z' has one element of it a row, what cuBLASLt calls a bias ------------------------ */

enum { ALIGNED = 16 }; /* bytes, of all operands: algorithms are chosen once, for whatever comes */

void bdl_gpu_epilogue_drop(bdl_cuda *g, bdl_gpu_epilogue *e) {
  if (e->what) g->api.cublasLtMatmulDescDestroy(e->what);
  if (e->x) g->api.cublasLtMatrixLayoutDestroy(e->x);
  if (e->y) g->api.cublasLtMatrixLayoutDestroy(e->y);
  if (e->z) g->api.cublasLtMatrixLayoutDestroy(e->z);
  *e = (bdl_gpu_epilogue){0};
}

static int describe(bdl_cuda *g, bdl_gpu_epilogue *e, const gemm *m) {
  const bdl_cuda_api *a = &g->api;
  const int32_t ty = m->ty, tx = m->tx;
  const uint32_t bias = EPILOGUE_BIAS;
  const uint64_t rows_y = (uint64_t)(ty ? m->p.k : m->p.n), rows_x = (uint64_t)(tx ? m->p.m : m->p.k);
  const void *anywhere = (const void *)(uintptr_t)ALIGNED; /* is not read, only how it is aligned */
  int s = a->cublasLtMatmulDescCreate(&e->what, m->sum, m->type);
  if (!s) s = a->cublasLtMatmulDescSetAttribute(e->what, DESC_TRANS_A, &ty, sizeof ty);
  if (!s) s = a->cublasLtMatmulDescSetAttribute(e->what, DESC_TRANS_B, &tx, sizeof tx);
  if (!s) s = a->cublasLtMatmulDescSetAttribute(e->what, DESC_EPILOGUE, &bias, sizeof bias);
  if (!s) s = a->cublasLtMatmulDescSetAttribute(e->what, DESC_BIAS, &anywhere, sizeof anywhere);
  if (!s) s = a->cublasLtMatrixLayoutCreate(&e->y, m->type, rows_y, (uint64_t)(ty ? m->p.n : m->p.k), m->ly);
  if (!s) s = a->cublasLtMatrixLayoutCreate(&e->x, m->type, rows_x, (uint64_t)(tx ? m->p.k : m->p.m), m->lx);
  if (!s) s = a->cublasLtMatrixLayoutCreate(&e->z, m->type, (uint64_t)m->p.n, (uint64_t)m->p.m, m->p.ldz);
  return s;
}

/* How to do it; e->none where the library does not know. */
static int choose(bdl_cuda *g, bdl_gpu_epilogue *e) {
  const bdl_cuda_api *a = &g->api;
  const uint64_t workspace = g->major >= 9 ? UINT64_C(32) << 20 : UINT64_C(4) << 20; /* as cuBLAS has */
  const uint32_t aligned = ALIGNED;
  bdl_cuda_any preference = NULL;
  int n = 0, s = a->cublasLtMatmulPreferenceCreate(&preference);
  if (s) return s;
  s = a->cublasLtMatmulPreferenceSetAttribute(preference, PREFERRED_WORKSPACE, &workspace, sizeof workspace);
  for (int k = 0; k < 4 && !s; k++) s = a->cublasLtMatmulPreferenceSetAttribute(preference, PREFERRED_ALIGNMENT + k, &aligned, sizeof aligned);
  if (!s) s = a->cublasLtMatmulAlgoGetHeuristic(g->blas_lt, e->what, e->y, e->x, e->z, e->z, preference, 1, &e->how, &n);
  a->cublasLtMatmulPreferenceDestroy(preference);
  e->none = s == NOT_SUPPORTED || (!s && (n == 0 || e->how.status != 0));
  return s == NOT_SUPPORTED ? 0 : s;
}

static bdl_status room_for(bdl_cuda *g, size_t size) {
  bdl_device *d = &g->device;
  void *p;
  if (size <= g->workspace_size) return BDL_OK;
  TRY(d->ops->alloc(d, size, &p));
  if (g->workspace) d->ops->free(d, g->workspace, g->workspace_size);
  g->workspace = p;
  g->workspace_size = size;
  return BDL_OK;
}

static bdl_status prepare(bdl_cuda *g, bdl_gpu_epilogue *e, const gemm *m) {
  bdl_gpu_epilogue_drop(g, e);
  if (!g->blas_lt) TRY(check(g, g->api.cublasLtCreate(&g->blas_lt)));
  int s = describe(g, e, m);
  if (!s) s = choose(g, e);
  e->sum = s ? 0 : m->sum;
  return check(g, s);
}

bdl_status bdl_gpu_product_row(bdl_gpu_plan *q, const bdl_gpu_step *s, bdl_cuda_ptr z, bdl_cuda_ptr x, bdl_cuda_ptr y, bdl_cuda_ptr row, bool *done) {
  bdl_cuda *g = q->g;
  bdl_gpu_epilogue *e = &q->epilogue[s->kernel];
  const gemm m = gemm_of(g, s->inst);
  const void *bias = (const void *)(uintptr_t)row;
  *done = false;
  if (!g->api.blas_lt.handle || m.p.batch != 1 || (z | x | y | row) % ALIGNED != 0) return BDL_OK;
  if (e->sum != m.sum) TRY(prepare(g, e, &m));
  if (e->none) return BDL_OK;
  const bdl_status room = room_for(g, e->how.workspace);
  if (room == BDL_ENOMEM) bdl_clear_error(g->device.ctx); /* cuBLAS has its own */
  if (room != BDL_OK) return room == BDL_ENOMEM ? BDL_OK : room;
  TRY(check(g, g->api.cublasLtMatmulDescSetAttribute(e->what, DESC_BIAS, &bias, sizeof bias)));
  TRY(check(g, g->api.cublasLtMatmul(g->blas_lt, e->what, m.one, (const void *)(uintptr_t)y, e->y, (const void *)(uintptr_t)x, e->x, m.zero,
                                     (const void *)(uintptr_t)z, e->z, (void *)(uintptr_t)z, e->z, e->how.algorithm, g->workspace,
                                     g->workspace_size, g->stream)));
  *done = true;
  return BDL_OK;
}

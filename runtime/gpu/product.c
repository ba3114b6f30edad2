/*
** product.c -- large products of floats by cuBLAS, between launches.  Its order of additions is its own.
**
** A kernel's tiles have the bits of the CPU and need no host; the library is several times as fast where a product takes longer
** than a launch does.  Inside a loop of the host each step pays for launches around it, too, so there a product must be larger.
*/
#include "gpu/program.h"

#include <limits.h>

#include "base/context.h"
#include "exec/lower_linalg.h"

/* Values of cuBLAS's interface. */
enum { NO_TRANS = 0, TRANS = 1, F32 = 0, F64 = 1, SUM_F32 = 68, SUM_TF32 = 77, SUM_F64 = 70, ANY_ALGORITHM = -1, NO_MEMORY = 3 };

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
bdl_status bdl_gpu_product(bdl_cuda *g, const bdl_inst *i, bdl_cuda_ptr z, bdl_cuda_ptr x, bdl_cuda_ptr y, bool onto) {
  static const float one_f32 = 1, zero_f32 = 0;
  static const double one_f64 = 1, zero_f64 = 0;
  bdl_packing pack[2];
  const bdl_k_matmul p = bdl_lower_matmul(i->kernel.params, i->kernel.in_aval, pack);
  const bool single = i->kernel.out_aval[0].dtype == BDL_F32;
  const int type = single ? F32 : F64, sum = !single ? SUM_F64 : g->device.ctx->tf32 ? SUM_TF32 : SUM_F32;
  const void *one = single ? (const void *)&one_f32 : &one_f64, *zero = single ? (const void *)&zero_f32 : &zero_f64;
  int tx, ty;
  const int ly = leading(p.yj, p.yp, p.n, p.k, &ty), lx = leading(p.xp, p.xi, p.k, p.m, &tx);
  TRY(library(g));
  return check(g, g->api.cublasGemmStridedBatchedEx(g->blas, ty, tx, (int)p.n, (int)p.m, (int)p.k, one, (const void *)(uintptr_t)y, type, ly, p.yb,
                                                    (const void *)(uintptr_t)x, type, lx, p.xb, onto ? one : zero, (void *)(uintptr_t)z, type,
                                                    (int)p.ldz, p.zb, (int)p.batch, sum, ANY_ALGORITHM));
}

/*
** kernel.c -- kernels whose text for a GPU is another than for C99 (export/kernel.c), and how many threads have work in one.
*/
#include "exec/emit_ops.h"
#include "exec/lower_linalg.h"
#include "gpu/program.h"
#include "prim/prim.h"

#define ADD BDL_ADD

enum { TILE_THREADS = 256, TILE_ROWS = 32, TILE_COLUMNS = 8, FEW_ROWS = 4 }; /* the smallest tiles of cuda/dot.inc */

/* ---- products ----------------------------------------------------------------------------------------------------------- */

static int64_t work_of_product(const bdl_inst *i) {
  bdl_packing pack[2];
  const bdl_k_matmul g = bdl_lower_matmul(i->kernel.params, i->kernel.in_aval, pack);
  const int64_t rows = BDL_MIN(g.m, g.n) <= FEW_ROWS ? BDL_MIN(g.m, g.n) : g.m, columns = rows == g.m ? g.n : g.m;
  int64_t n = g.batch * ((rows + TILE_ROWS - 1) / TILE_ROWS) * ((columns + TILE_COLUMNS - 1) / TILE_COLUMNS) * TILE_THREADS;
  for (int k = 0; k < 2; k++)
    if (pack[k].needed) n = BDL_MAX(n, bdl_aval_numel(&i->kernel.in_aval[k]));
  return n;
}

/* ---- factorisations: linalg.inc, linalg_grid.inc ------------------------------------------------------------------------------------ */

static int64_t order_of(const bdl_aval *a) { return a->shape[a->ndim - 1]; }

static int64_t stack_of(const bdl_aval *a) {
  int64_t n = 1;
  for (int k = 0; k < a->ndim - 2; k++) n *= a->shape[k];
  return n;
}

/* Blocks of threads that have something to do, where a block has a matrix, or 32 columns of a right side. */
static int64_t blocks_of(const bdl_inst *i) {
  const int64_t columns = i->prim == BDL_P_triangular_solve ? (order_of(&i->kernel.in_aval[1]) + 31) / 32 : 1;
  return stack_of(&i->kernel.in_aval[0]) * columns;
}

/* Has the grid one matrix after the other?  Each 32 columns of one take a few barriers. */
static bool by_grid(const bdl_inst *i) {
  enum { LARGE = 256, ROWS_A_BLOCK = 64 };
  const int64_t n = order_of(&i->kernel.in_aval[0]);
  return n >= LARGE && blocks_of(i) * ROWS_A_BLOCK <= n;
}

static int64_t work_of_factor(const bdl_inst *i) {
  const int64_t n = order_of(&i->kernel.in_aval[0]);
  return by_grid(i) ? n * n / 4 : BDL_MAX(1, blocks_of(i) * TILE_THREADS);
}

static bdl_status factor(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *a = &i->kernel.in_aval[0];
  const bdl_param *p = i->kernel.params;
  const bool solves = i->prim == BDL_P_triangular_solve || i->prim == BDL_P_solve, grid = by_grid(i);
  const int64_t n = order_of(a), count = stack_of(a);
  ADD("%*s%s_%s%s(", indent, "", bdl_prims[i->prim].name, grid ? "grid_" : "", bdl_emit_code(a->dtype));
  for (int32_t k = 0; k < i->kernel.n_out; k++) {
    TRY(bdl_export_place(m, i->kernel.out[k]));
    ADD(", ");
  }
  for (int32_t k = 0; k < i->kernel.n_in; k++) {
    TRY(bdl_export_place(m, i->kernel.in[k]));
    ADD(", ");
  }
  ADD("%" PRId64, n);
  if (solves) ADD(", %" PRId64, order_of(&i->kernel.in_aval[1]));
  ADD(", %" PRId64, count);
  if (i->prim == BDL_P_triangular_solve) ADD(", %d, %d, %d", p[0].i != 0, p[1].i != 0, p[2].i != 0);
  if (i->prim == BDL_P_solve || (i->prim == BDL_P_lu && grid)) {
    const char *type = i->prim == BDL_P_solve ? bdl_export_ctype(a->dtype) : "int32_t";
    ADD(", (%s *)F[%" PRId32 "]", type, m->plan->n_in + m->plan->n_out + BDL_GPU_ROOM);
    m->room = BDL_MAX(m->room, (int64_t)bdl_aval_bytes(a) + 4 * (n + 1));
  }
  ADD(");\n");
  return BDL_OK;
}

static bdl_status exchanges(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *a = &i->kernel.in_aval[0];
  const int64_t n = order_of(a), count = n ? bdl_aval_numel(a) / n : 0;
  ADD("%*sif (exchanged_rows(flag, ", indent, "");
  TRY(bdl_export_place(m, i->kernel.out[0]));
  ADD(", ");
  TRY(bdl_export_place(m, i->kernel.in[0]));
  ADD(", %" PRId64 ", %" PRId64 ")", n, count);
  return bdl_export_fails(m, i, BDL_EINDEX, "lu_permutation: a row exchange is not one of the rows");
}

/* ---- which of them ------------------------------------------------------------------------------------------------------ */

int64_t bdl_gpu_work(const bdl_inst *i) {
  int64_t n = 1;
  switch (i->prim) {
    case BDL_P_dot: case BDL_P_dot_add: case BDL_P_packed_dot: case BDL_P_sparse_dot: return work_of_product(i);
    case BDL_P_dot_pack: return 1;
    case BDL_P_etrace_step: case BDL_P_etrace_grad: case BDL_P_etrace_learn: return bdl_gpu_work_of_trace(i);
    case BDL_P_cholesky: case BDL_P_lu: case BDL_P_solve: case BDL_P_triangular_solve: return work_of_factor(i);
    case BDL_P_event_dot: case BDL_P_csr_dot: case BDL_P_jitc_dot: n = bdl_gpu_work_of_sparse(i); break;
    case BDL_P_reduce_sum: case BDL_P_reduce_prod: case BDL_P_reduce_max: case BDL_P_reduce_min: case BDL_P_reduce_and:
    case BDL_P_reduce_or: /* half a warp takes a tile, or a thread a block of a column */
      return BDL_MAX(bdl_aval_numel(&i->kernel.in_aval[0]) / 16, bdl_aval_numel(&i->kernel.out_aval[0]));
    default: break;
  }
  for (int32_t k = 0; k < i->kernel.n_in; k++) n = BDL_MAX(n, bdl_aval_numel(&i->kernel.in_aval[k]));
  for (int32_t k = 0; k < i->kernel.n_out; k++) n = BDL_MAX(n, bdl_aval_numel(&i->kernel.out_aval[k]));
  return n;
}

bdl_status bdl_gpu_kernel(bdl_exporter *m, const bdl_inst *i, int indent) {
  switch (i->prim) {
    case BDL_P_dot_pack: return BDL_OK; /* products read their operands as they lie */
    case BDL_P_etrace_step: case BDL_P_etrace_grad: case BDL_P_etrace_learn: return bdl_gpu_trace(m, i, indent);
    case BDL_P_cholesky: case BDL_P_lu: case BDL_P_solve: case BDL_P_triangular_solve: return factor(m, i, indent);
    case BDL_P_lu_permutation: return exchanges(m, i, indent);
    case BDL_P_scatter: case BDL_P_scatter_along: case BDL_P_sort: case BDL_P_top_k:
    case BDL_P_reduce_sum: case BDL_P_reduce_prod: case BDL_P_reduce_max: case BDL_P_reduce_min: case BDL_P_reduce_and:
    case BDL_P_reduce_or: case BDL_P_argmax: case BDL_P_argmin:
    case BDL_P_cumsum: case BDL_P_cumprod: case BDL_P_cummax: case BDL_P_cummin:
      return bdl_gpu_array(m, i, indent);
    default: return bdl_gpu_runs_sparse(m->plan, i) ? bdl_gpu_sparse(m, i, indent) : bdl_export_kernel(m, i, indent);
  }
}

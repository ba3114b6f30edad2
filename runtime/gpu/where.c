/*
** where.c -- which instructions a GPU runs by itself, and how many threads have something to do in them.
*/
#include "gpu/program.h"

bool bdl_gpu_runs(const bdl_plan *plan, const bdl_inst *i) {
  switch (i->prim) {
    case BDL_P_pad: case BDL_P_concatenate: case BDL_P_dynamic_slice: case BDL_P_dynamic_update_slice:
    case BDL_P_gather: case BDL_P_gather_along: case BDL_P_scatter: case BDL_P_scatter_along: case BDL_P_error_if:
    case BDL_P_sort: case BDL_P_top_k: case BDL_P_argmax: case BDL_P_argmin:
    case BDL_P_reduce_sum: case BDL_P_reduce_prod: case BDL_P_reduce_max: case BDL_P_reduce_min: case BDL_P_reduce_and:
    case BDL_P_reduce_or: case BDL_P_cumsum: case BDL_P_cumprod: case BDL_P_cummax: case BDL_P_cummin:
    case BDL_P_random_split: case BDL_P_random_fold_in: case BDL_P_random_int:
    case BDL_P_etrace_step: case BDL_P_etrace_grad: case BDL_P_etrace_learn: case BDL_P_conv:
    case BDL_P_cholesky: case BDL_P_lu: case BDL_P_lu_permutation: case BDL_P_solve: case BDL_P_triangular_solve:
    case BDL_P_dot: case BDL_P_dot_add: case BDL_P_dot_pack: case BDL_P_packed_dot: case BDL_P_sparse_dot:
      return true;
    default: return bdl_gpu_runs_sparse(plan, i);
  }
}

static bool all_whole(const bdl_plan *plan, const bdl_block *b, bool looped);

bool bdl_gpu_whole(const bdl_plan *plan, const bdl_inst *i, bool looped) {
  switch (i->kind) {
    case BDL_I_GROUP: case BDL_I_COPY: case BDL_I_ROW: return true;
    case BDL_I_KERNEL: return bdl_gpu_runs(plan, i) && !bdl_gpu_is_large(i, looped);
    case BDL_I_SCAN: return all_whole(plan, &i->scan.body, true);
    case BDL_I_WHILE: return all_whole(plan, &i->loop.cond, true) && all_whole(plan, &i->loop.body, true);
    case BDL_I_COND: break;
  }
  for (int32_t k = 0; k < i->cond.n; k++)
    if (!all_whole(plan, &i->cond.branches[k], looped)) return false;
  return true;
}

static bool all_whole(const bdl_plan *plan, const bdl_block *b, bool looped) {
  for (int32_t k = 0; k < b->n; k++)
    if (!bdl_gpu_whole(plan, &b->v[k], looped)) return false;
  return true;
}

/* ---- how many threads have something to do ---------------------------------------------------------------------------- */

static int64_t work_in(const bdl_block *b) {
  int64_t n = 1;
  for (int32_t k = 0; k < b->n; k++) n = BDL_MAX(n, bdl_gpu_work_of(&b->v[k]));
  return n;
}

int64_t bdl_gpu_work_of(const bdl_inst *i) {
  int64_t n = 1;
  switch (i->kind) {
    case BDL_I_GROUP:
      for (int32_t k = 0; k < i->group->n_insts; k++)
        if (i->group->insts[k].kind == BDL_T_REDUCE) return i->group->n / 32 + 32;
      return i->group->n < BDL_GPU_MANY ? i->group->n : i->group->n / 4;
    case BDL_I_COPY: return (int64_t)i->copy.bytes / 16;
    case BDL_I_ROW: break;
    case BDL_I_KERNEL: return bdl_gpu_work(i);
    case BDL_I_SCAN: return work_in(&i->scan.body);
    case BDL_I_WHILE: return BDL_MAX(work_in(&i->loop.cond), work_in(&i->loop.body));
    case BDL_I_COND:
      for (int32_t k = 0; k < i->cond.n; k++) n = BDL_MAX(n, work_in(&i->cond.branches[k]));
      return n;
  }
  return n;
}

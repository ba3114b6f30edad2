/*
** collective.c -- what goes between the lanes of pmap, between launches: by NCCL from GPU to GPU, in the order of the stream; where
** there is no NCCL between the processes, by the host.
*/
#include "device/nccl.h"
#include "exec/lower_collective.h"
#include "gpu/program.h"

bool bdl_gpu_is_collective(const bdl_inst *i) {
  if (i->kind != BDL_I_KERNEL) return false;
  return i->prim == BDL_P_psum || i->prim == BDL_P_all_gather || i->prim == BDL_P_own_lane || i->prim == BDL_P_ppermute;
}

static bdl_status copy(bdl_cuda *g, bdl_cuda_ptr z, bdl_cuda_ptr x, size_t bytes) {
  return g->device.ops->copy(&g->device, NULL, (void *)(uintptr_t)z, (void *)(uintptr_t)x, bytes);
}

bdl_status bdl_gpu_collective(bdl_cuda *g, const bdl_inst *i, bdl_cuda_ptr z, bdl_cuda_ptr x, bool *done) {
  const bdl_aval *in = &i->kernel.in_aval[0];
  const size_t bytes = bdl_aval_bytes(in), own = bdl_aval_bytes(&i->kernel.out_aval[0]);
  int to, from;
  bdl_world *w;
  bdl_nccl *n;
  TRY(bdl_lower_world(g->device.ctx, i->prim, i->kernel.params, &w));
  *done = true;
  if (i->prim == BDL_P_own_lane) return copy(g, z, x + (size_t)w->rank * own, own);
  *done = false;
  if (!w->ops) return BDL_OK; /* one process */
  TRY(bdl_nccl_get(g, w, &n));
  if (!n) return BDL_OK;
  *done = true;
  if (i->prim == BDL_P_psum) return bdl_nccl_sum(n, in->dtype, x, z, (size_t)bdl_aval_numel(in));
  if (i->prim == BDL_P_all_gather) return bdl_nccl_gather(n, x, z, bytes);
  bdl_lower_partners(w, i->kernel.params, &to, &from);
  return from == w->rank ? copy(g, z, x, bytes) : bdl_nccl_exchange(n, x, to, z, from, bytes);
}

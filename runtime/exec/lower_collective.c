/*
** lower_collective.c -- adapters of the primitives between lanes, over the processes that run the program together.
*/
#include <string.h>

#include "device/world.h"
#include "exec/lower_util.h"

/* size: lanes that the program was made for; 0: any. */
static bdl_status world_of(const bdl_kcall *k, const char *prim, int64_t size, bdl_world **w) {
  TRY(bdl_world_get(k->ctx, w));
  if (k->params[0].i != 0)
    return bdl_fail(k->ctx, BDL_EVALUE, "%s: nothing is mapped over axis %" PRId64, prim, k->params[0].i);
  if (size > 0 && size != (*w)->size)
    return bdl_fail(k->ctx, BDL_EVALUE, "%s: made for %" PRId64 " processes, there are %d", prim, size, (*w)->size);
  return BDL_OK;
}

bdl_status bdl_lower_psum(const bdl_kcall *k) {
  bdl_world *w;
  TRY(world_of(k, "psum", 0, &w));
  return bdl_world_sum(w, k->in_aval[0].dtype, k->in[0], k->out[0], (size_t)bdl_aval_numel(&k->in_aval[0]));
}

/* params: axis size */
bdl_status bdl_lower_all_gather(const bdl_kcall *k) {
  bdl_world *w;
  TRY(world_of(k, "all_gather", k->params[1].i, &w));
  return bdl_world_gather(w, k->in[0], k->out[0], bdl_aval_bytes(&k->in_aval[0]));
}

/* params: axis size */
bdl_status bdl_lower_own_lane(const bdl_kcall *k) {
  const size_t bytes = bdl_aval_bytes(&k->out_aval[0]);
  bdl_world *w;
  TRY(world_of(k, "own_lane", k->params[1].i, &w));
  memcpy(k->out[0], (const char *)k->in[0] + (size_t)w->rank * bytes, bytes);
  return BDL_OK;
}

/* params: axis source */
bdl_status bdl_lower_ppermute(const bdl_kcall *k) {
  const bdl_param *source = &k->params[1];
  int to = -1;
  bdl_world *w;
  TRY(world_of(k, "ppermute", source->n, &w));
  for (int i = 0; i < source->n; i++)
    if (source->ints[i] == w->rank) to = i;
  return bdl_world_exchange(w, k->in[0], to, k->out[0], (int)source->ints[w->rank], bdl_aval_bytes(&k->in_aval[0]));
}

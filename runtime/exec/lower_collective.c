/*
** lower_collective.c -- adapters of the primitives between lanes, over the processes that run the program together.
*/
#include "exec/lower_collective.h"

#include <inttypes.h>
#include <string.h>

/* Lanes that the program was made for; 0: any. */
static int64_t lanes(bdl_prim_id prim, const bdl_param *params) {
  return prim == BDL_P_psum ? 0 : prim == BDL_P_ppermute ? params[1].n : params[1].i;
}

bdl_status bdl_lower_world(bdl_context *c, bdl_prim_id prim, const bdl_param *params, bdl_world **w) {
  const char *name = bdl_prims[prim].name;
  const int64_t size = lanes(prim, params);
  TRY(bdl_world_get(c, w));
  if (params[0].i != 0) return bdl_fail(c, BDL_EVALUE, "%s: nothing is mapped over axis %" PRId64, name, params[0].i);
  if (size > 0 && size != (*w)->size)
    return bdl_fail(c, BDL_EVALUE, "%s: made for %" PRId64 " processes, there are %d", name, size, (*w)->size);
  return BDL_OK;
}

/* params: axis source */
void bdl_lower_partners(const bdl_world *w, const bdl_param *params, int *to, int *from) {
  const bdl_param *source = &params[1];
  *to = -1;
  for (int i = 0; i < source->n; i++)
    if (source->ints[i] == w->rank) *to = i;
  *from = (int)source->ints[w->rank];
}

bdl_status bdl_lower_psum(const bdl_kcall *k) {
  bdl_world *w;
  TRY(bdl_lower_world(k->ctx, BDL_P_psum, k->params, &w));
  return bdl_world_sum(w, k->in_aval[0].dtype, k->in[0], k->out[0], (size_t)bdl_aval_numel(&k->in_aval[0]));
}

/* params: axis size */
bdl_status bdl_lower_all_gather(const bdl_kcall *k) {
  bdl_world *w;
  TRY(bdl_lower_world(k->ctx, BDL_P_all_gather, k->params, &w));
  return bdl_world_gather(w, k->in[0], k->out[0], bdl_aval_bytes(&k->in_aval[0]));
}

/* params: axis size */
bdl_status bdl_lower_own_lane(const bdl_kcall *k) {
  const size_t bytes = bdl_aval_bytes(&k->out_aval[0]);
  bdl_world *w;
  TRY(bdl_lower_world(k->ctx, BDL_P_own_lane, k->params, &w));
  memcpy(k->out[0], (const char *)k->in[0] + (size_t)w->rank * bytes, bytes);
  return BDL_OK;
}

bdl_status bdl_lower_ppermute(const bdl_kcall *k) {
  int to, from;
  bdl_world *w;
  TRY(bdl_lower_world(k->ctx, BDL_P_ppermute, k->params, &w));
  bdl_lower_partners(w, k->params, &to, &from);
  return bdl_world_exchange(w, k->in[0], to, k->out[0], from, bdl_aval_bytes(&k->in_aval[0]));
}

/*
** lower_collective.c -- values between the processes of one mpirun.
*/
#include <string.h>

#include "device/ranks.h"
#include "exec/lower_util.h"

/* params: op n from */
bdl_status bdl_lower_collective(const bdl_kcall *k) {
  int rank = 0, size = 1;
  const char *op = k->params[0].s;
  const bdl_aval *a = &k->in_aval[0], *z = &k->out_aval[0];
  TRY(bdl_ranks(k->ctx, &rank, &size));
  if (size != k->params[1].i) return bdl_fail(k->ctx, BDL_EVALUE, "%s over %" PRId64 " lanes, outside of their vmap or pmap", op, k->params[1].i);
  if (!strcmp(op, "gather")) return bdl_ranks_gather(k->ctx, k->in[0], k->out[0], bdl_aval_bytes(a));
  if (!strcmp(op, "permute")) return bdl_ranks_permute(k->ctx, k->params[2].ints, k->in[0], k->out[0], bdl_aval_bytes(a));
  if (!strcmp(op, "scatter")) {
    TRY(bdl_ranks_reduce(k->ctx, BDL_RANKS_SUM, a->dtype, k->in[0], k->scratch, bdl_aval_numel(a)));
    memcpy(k->out[0], (const char *)k->scratch + (size_t)rank * bdl_aval_bytes(z), bdl_aval_bytes(z));
    return BDL_OK;
  }
  const bdl_rank_op what = !strcmp(op, "max") ? BDL_RANKS_MAX : !strcmp(op, "min") ? BDL_RANKS_MIN : BDL_RANKS_SUM;
  return bdl_ranks_reduce(k->ctx, what, a->dtype, k->in[0], k->out[0], bdl_aval_numel(a));
}

/* The sum, of which a lane takes its part. */
size_t bdl_scratch_collective(const bdl_param *params, const bdl_aval *in, int n_in, const bdl_aval *out) {
  (void)n_in, (void)out;
  return strcmp(params[0].s, "scatter") != 0 ? 0 : bdl_aval_bytes(&in[0]);
}

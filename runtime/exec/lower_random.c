/*
** lower_random.c -- adapters of keys and bounded integers.
*/
#include "cpu/random.h"
#include "exec/lower_util.h"

bdl_status bdl_lower_random_split(const bdl_kcall *k) {
  bdl_k_random_split(k->out[0], k->in[0], k->params[0].i);
  return BDL_OK;
}

bdl_status bdl_lower_random_fold_in(const bdl_kcall *k) {
  uint32_t *z = k->out[0];
  bdl_k_threefry(k->in[0], 0, *(const uint32_t *)k->in[1], &z[0], &z[1]);
  return BDL_OK;
}

bdl_status bdl_lower_random_int(const bdl_kcall *k) {
  const int64_t n = bdl_aval_numel(&k->out_aval[0]);
  const int threads = bdl_lower_threads(k, 32 * n);
  if (k->out_aval[0].dtype == BDL_I32)
    bdl_k_random_int_i32(k->out[0], k->in[0], *(const int32_t *)k->in[1], *(const int32_t *)k->in[2], n, threads);
  else
    bdl_k_random_int_i64(k->out[0], k->in[0], *(const int64_t *)k->in[1], *(const int64_t *)k->in[2], n, threads);
  return BDL_OK;
}

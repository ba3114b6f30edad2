/*
** lower_random.c -- adapters of keys and bounded integers.
*/
#include "cpu/random.h"
#include "exec/lower_util.h"

/* The operands are lists, one entry a key. */
static int64_t keys_of(const bdl_kcall *k) { return bdl_aval_numel(&k->in_aval[0]) / 2; }

bdl_status bdl_lower_random_split(const bdl_kcall *k) {
  const int64_t n = k->params[0].i;
  for (int64_t i = 0; i < keys_of(k); i++)
    bdl_k_random_split((uint32_t *)k->out[0] + 2 * n * i, (const uint32_t *)k->in[0] + 2 * i, n);
  return BDL_OK;
}

bdl_status bdl_lower_random_fold_in(const bdl_kcall *k) {
  uint32_t *z = k->out[0];
  const uint32_t *key = k->in[0], *x = k->in[1];
  for (int64_t i = 0; i < keys_of(k); i++) bdl_k_threefry(key + 2 * i, 0, x[i], &z[2 * i], &z[2 * i + 1]);
  return BDL_OK;
}

bdl_status bdl_lower_random_int(const bdl_kcall *k) {
  const int64_t keys = keys_of(k), n = keys ? bdl_aval_numel(&k->out_aval[0]) / keys : 0;
  bdl_pool *pool = bdl_lower_pool(k, 32 * n);
  for (int64_t i = 0; i < keys; i++) {
    const uint32_t *key = (const uint32_t *)k->in[0] + 2 * i;
    if (k->out_aval[0].dtype == BDL_I32)
      bdl_k_random_int_i32((int32_t *)k->out[0] + n * i, key, ((const int32_t *)k->in[1])[i], ((const int32_t *)k->in[2])[i], n, pool);
    else
      bdl_k_random_int_i64((int64_t *)k->out[0] + n * i, key, ((const int64_t *)k->in[1])[i], ((const int64_t *)k->in[2])[i], n, pool);
  }
  return BDL_OK;
}

/*
** random.c -- rules of primitives without tensor operands: indices, keys and random words.
** Keys are u32[2], or many of them: each draws what it would alone.  Source: Salmon et al. 2011 (Threefry-2x32); derivation and layout as in JAX, partitionable.
*/
#include "prim/check.h"
#include "prim/rules.h"

/* u32[.., 2] */
static bdl_status check_key(bdl_context *c, const bdl_aval *key) {
  if (key->dtype == BDL_U32 && key->ndim >= 1 && key->shape[key->ndim - 1] == 2) return BDL_OK;
  return bdl_fail(c, BDL_ETYPE, "a key is u32[2], not %s", BDL_TEXT(key));
}

/* One value a key: the leading axes of the keys. */
static bdl_status check_a_key(bdl_context *c, const char *what, const bdl_aval *x, const bdl_aval *key, bdl_dtype d) {
  const bdl_aval want = bdl_aval_make(d, key->ndim - 1, key->shape);
  if (bdl_aval_eq(x, &want)) return BDL_OK;
  return bdl_fail(c, BDL_ETYPE, "%s is %s, not %s", what, BDL_TEXT(x), BDL_TEXT(&want));
}

/* A result of this shape for every key. */
static bdl_status for_each_key(bdl_context *c, const bdl_aval *key, const bdl_param *shape, bdl_dtype d, bdl_aval *out) {
  TRY(bdl_check_ndim(c, (int64_t)key->ndim - 1 + shape->n));
  *out = bdl_aval_make(d, key->ndim - 1, key->shape);
  for (int i = 0; i < shape->n; i++) out->shape[out->ndim++] = shape->ints[i];
  return bdl_aval_check(c, out);
}

/* params: shape axis dtype */
bdl_status bdl_type_iota(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)in, (void)n_in;
  if (p[2].i == BDL_BOOL) return bdl_fail(c, BDL_ETYPE, "dtype %s is not numeric", "bool");
  TRY(bdl_check_shape(c, &p[0], (bdl_dtype)p[2].i, out));
  return bdl_check_axis(c, p[1].i, out);
}

/* params: shape dtype */
bdl_status bdl_type_random_bits(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  TRY(check_key(c, &in[0]));
  if (p[1].i != BDL_U32 && p[1].i != BDL_I64)
    return bdl_fail(c, BDL_ETYPE, "words are u32 or i64, not %s", bdl_dtype_name((bdl_dtype)p[1].i));
  return for_each_key(c, &in[0], &p[0], (bdl_dtype)p[1].i, out);
}

/* params: n */
bdl_status bdl_type_random_split(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  TRY(check_key(c, &in[0]));
  if (p[0].i < 1) return bdl_fail(c, BDL_EVALUE, "n is %" PRId64 ", at least 1 is needed", p[0].i);
  const bdl_param keys = bdl_pints((int64_t[]){p[0].i, 2}, 2);
  return for_each_key(c, &in[0], &keys, BDL_U32, out);
}

bdl_status bdl_type_random_fold_in(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)p, (void)n_in;
  TRY(check_key(c, &in[0]));
  TRY(check_a_key(c, "x", &in[1], &in[0], BDL_U32));
  *out = in[0];
  return BDL_OK;
}

/* params: shape */
bdl_status bdl_type_random_int(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  TRY(check_key(c, &in[0]));
  if (in[1].dtype != BDL_I32 && in[1].dtype != BDL_I64)
    return bdl_fail(c, BDL_ETYPE, "bounds are i32 or i64, not %s", BDL_TEXT(&in[1]));
  TRY(check_a_key(c, "lo", &in[1], &in[0], in[1].dtype));
  TRY(check_a_key(c, "hi", &in[2], &in[0], in[1].dtype));
  return for_each_key(c, &in[0], &p[0], in[1].dtype, out);
}

/* Each lane has a key of its own: what all share is repeated. */
BDL_BATCH(keys) {
  bdl_atom in[3];
  (void)out_batched;
  for (int i = 0; i < e->n_in; i++) TRY(bdl_rule_lanes(b, x[i], batched[i], size, &in[i]));
  return bdl_bind(b, e->prim, e->params, in, e->n_in, z);
}

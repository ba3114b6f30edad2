/*
** random.c -- rules of primitives without tensor operands: indices, keys and random words.
** Keys are u32[2].  Source: Salmon et al. 2011 (Threefry-2x32); derivation and layout as in JAX, partitionable.
*/
#include "prim/check.h"
#include "prim/rules.h"

static bdl_status check_key(bdl_context *c, const bdl_aval *key) {
  if (key->dtype == BDL_U32 && key->ndim == 1 && key->shape[0] == 2) return BDL_OK;
  return bdl_fail(c, BDL_ETYPE, "a key is u32[2], not %s", BDL_TEXT(key));
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
  return bdl_check_shape(c, &p[0], (bdl_dtype)p[1].i, out);
}

/* params: n */
bdl_status bdl_type_random_split(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  TRY(check_key(c, &in[0]));
  if (p[0].i < 1) return bdl_fail(c, BDL_EVALUE, "n is %" PRId64 ", at least 1 is needed", p[0].i);
  *out = bdl_aval_make(BDL_U32, 2, (int64_t[]){p[0].i, 2});
  return bdl_aval_check(c, out);
}

bdl_status bdl_type_random_fold_in(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)p, (void)n_in;
  TRY(check_key(c, &in[0]));
  TRY(bdl_check_scalar(c, "x", &in[1], BDL_U32));
  *out = in[0];
  return BDL_OK;
}

/* params: shape */
bdl_status bdl_type_random_int(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  TRY(check_key(c, &in[0]));
  if (in[1].dtype != BDL_I32 && in[1].dtype != BDL_I64)
    return bdl_fail(c, BDL_ETYPE, "bounds are i32 or i64, not %s", BDL_TEXT(&in[1]));
  TRY(bdl_check_scalar(c, "lo", &in[1], in[1].dtype));
  TRY(bdl_check_scalar(c, "hi", &in[2], in[1].dtype));
  return bdl_check_shape(c, &p[0], in[1].dtype, out);
}

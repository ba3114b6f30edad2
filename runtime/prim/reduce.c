/*
** reduce.c -- rules of reductions, arg-reductions and running reductions.
*/
#include "prim/check.h"
#include "prim/rules.h"

/* params: axes */
static bdl_status type_reduce(bdl_context *c, const bdl_param *p, const bdl_aval *x, bdl_aval *out) {
  bool drop[BDL_MAX_NDIM] = {false};
  TRY(bdl_check_axes(c, &p[0], x, drop));
  *out = bdl_aval_drop(x, drop);
  return BDL_OK;
}

bdl_status bdl_type_reduce_any(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  return type_reduce(c, p, &in[0], out);
}

bdl_status bdl_type_reduce_num(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  if (in[0].dtype == BDL_BOOL) return bdl_fail(c, BDL_ETYPE, "numbers are needed, not %s", BDL_TEXT(&in[0]));
  return type_reduce(c, p, &in[0], out);
}

bdl_status bdl_type_reduce_bool(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  if (in[0].dtype != BDL_BOOL) return bdl_fail(c, BDL_ETYPE, "bool is needed, not %s", BDL_TEXT(&in[0]));
  return type_reduce(c, p, &in[0], out);
}

/* params: axis */
bdl_status bdl_type_arg_reduce(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  TRY(bdl_check_axis(c, p[0].i, &in[0]));
  int64_t n = in[0].shape[p[0].i];
  if (n < 1 || n > INT32_MAX)
    return bdl_fail(c, BDL_ESHAPE, "no i32 index into axis %" PRId64 " of %s", p[0].i, BDL_TEXT(&in[0]));
  bool drop[BDL_MAX_NDIM] = {false};
  drop[p[0].i] = true;
  *out = bdl_aval_drop(&in[0], drop);
  out->dtype = BDL_I32;
  return BDL_OK;
}

/* params: axis reverse */
bdl_status bdl_type_cumulative(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  TRY(bdl_check_axis(c, p[0].i, &in[0]));
  if (in[0].dtype == BDL_BOOL) return bdl_fail(c, BDL_ETYPE, "numbers are needed, not %s", BDL_TEXT(&in[0]));
  *out = in[0];
  return BDL_OK;
}

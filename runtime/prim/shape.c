/*
** shape.c -- rules of primitives that move elements: views, joins, gather and scatter, sort.
*/
#include <string.h>

#include "prim/check.h"
#include "prim/rules.h"

/* ---- types ------------------------------------------------------------------------------------ */

/* params: shape */
bdl_status bdl_type_reshape(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  TRY(bdl_check_shape(c, &p[0], in[0].dtype, out));
  if (bdl_aval_numel(out) == bdl_aval_numel(&in[0])) return BDL_OK;
  return bdl_fail(c, BDL_ESHAPE, "%s has %" PRId64 " elements, %s has %" PRId64, BDL_TEXT(&in[0]), bdl_aval_numel(&in[0]),
                  BDL_TEXT(out), bdl_aval_numel(out));
}

/* params: shape dims; dims ascend */
bdl_status bdl_type_broadcast_in_dim(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  const bdl_aval *x = &in[0];
  TRY(bdl_check_shape(c, &p[0], x->dtype, out));
  TRY(bdl_check_length(c, "dims", &p[1], x->ndim));
  for (int i = 0; i < x->ndim; i++) {
    int64_t d = p[1].ints[i];
    TRY(bdl_check_axis(c, d, out));
    if (i > 0 && d <= p[1].ints[i - 1])
      return bdl_fail(c, BDL_EVALUE, "dims must ascend: %" PRId64 " follows %" PRId64, d, p[1].ints[i - 1]);
    if (x->shape[i] != out->shape[d] && x->shape[i] != 1)
      return bdl_fail(c, BDL_ESHAPE, "axis %d of %s does not fit axis %" PRId64 " of %s", i, BDL_TEXT(x), d, BDL_TEXT(out));
  }
  return BDL_OK;
}

/* params: axes */
bdl_status bdl_type_permute(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  bool used[BDL_MAX_NDIM] = {false};
  TRY(bdl_check_length(c, "axes", &p[0], in[0].ndim));
  TRY(bdl_check_axes(c, &p[0], &in[0], used));
  *out = in[0];
  for (int i = 0; i < in[0].ndim; i++) out->shape[i] = in[0].shape[p[0].ints[i]];
  return BDL_OK;
}

/* params: start stop step */
bdl_status bdl_type_slice(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  const char *name[3] = {"start", "stop", "step"};
  for (int k = 0; k < 3; k++) TRY(bdl_check_length(c, name[k], &p[k], in[0].ndim));
  *out = in[0];
  for (int i = 0; i < in[0].ndim; i++) {
    int64_t start = p[0].ints[i], stop = p[1].ints[i], step = p[2].ints[i];
    if (start < 0 || stop < start || stop > in[0].shape[i] || step < 1)
      return bdl_fail(c, BDL_EVALUE, "%" PRId64 ":%" PRId64 ":%" PRId64 " is not a slice of axis %d of %s", start, stop,
                      step, i, BDL_TEXT(&in[0]));
    out->shape[i] = (stop - start) / step + ((stop - start) % step != 0);
  }
  return BDL_OK;
}

/* params: axes */
bdl_status bdl_type_reverse(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  bool used[BDL_MAX_NDIM] = {false};
  TRY(bdl_check_axes(c, &p[0], &in[0], used));
  *out = in[0];
  return BDL_OK;
}

/* params: lo hi inner */
bdl_status bdl_type_pad(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  const char *name[3] = {"lo", "hi", "inner"};
  for (int k = 0; k < 3; k++) TRY(bdl_check_length(c, name[k], &p[k], in[0].ndim));
  TRY(bdl_check_scalar(c, "the value", &in[1], in[0].dtype));
  *out = in[0];
  for (int i = 0; i < in[0].ndim; i++) {
    int64_t lo = p[0].ints[i], hi = p[1].ints[i], inner = p[2].ints[i], gaps = BDL_MAX(in[0].shape[i] - 1, 0), n = -1;
    bool sane = lo >= -BDL_MAX_EXTENT && lo <= BDL_MAX_EXTENT && hi >= -BDL_MAX_EXTENT && hi <= BDL_MAX_EXTENT &&
                inner >= 0 && (gaps == 0 || inner <= BDL_MAX_EXTENT / gaps);
    if (sane) n = lo + in[0].shape[i] + gaps * inner + hi;
    if (n < 0)
      return bdl_fail(c, BDL_EVALUE, "axis %d of %s cannot be padded by lo %" PRId64 ", hi %" PRId64 ", inner %" PRId64, i,
                      BDL_TEXT(&in[0]), lo, hi, inner);
    out->shape[i] = n;
  }
  return bdl_aval_check(c, out);
}

/* params: axis */
bdl_status bdl_type_concatenate(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  if (n_in < 1) return bdl_fail(c, BDL_EVALUE, "%d operands, at least 1 is needed", n_in);
  TRY(bdl_check_axis(c, p[0].i, &in[0]));
  *out = in[0];
  for (int k = 1; k < n_in; k++) {
    TRY(bdl_check_same_dtype(c, &in[0], &in[k]));
    bdl_aval like = in[k];
    if (like.ndim == in[0].ndim) like.shape[p[0].i] = in[0].shape[p[0].i];
    if (!bdl_shape_eq(&like, &in[0]))
      return bdl_fail(c, BDL_ESHAPE, "%s and %s differ in more than axis %" PRId64, BDL_TEXT(&in[0]), BDL_TEXT(&in[k]),
                      p[0].i);
    out->shape[p[0].i] += in[k].shape[p[0].i];
    TRY(bdl_aval_check(c, out));
  }
  return BDL_OK;
}

/* One i32 scalar an axis of x. */
static bdl_status check_starts(bdl_context *c, const bdl_aval *x, const bdl_aval *start, int n) {
  if (n != x->ndim) return bdl_fail(c, BDL_EVALUE, "%d starts for the %d axes of %s", BDL_MAX(n, 0), x->ndim, BDL_TEXT(x));
  for (int i = 0; i < n; i++) TRY(bdl_check_scalar(c, "a start", &start[i], BDL_I32));
  return BDL_OK;
}

static bdl_status check_fits(bdl_context *c, const bdl_aval *part, const bdl_aval *x) {
  for (int i = 0; i < x->ndim; i++)
    if (part->shape[i] > x->shape[i])
      return bdl_fail(c, BDL_ESHAPE, "%s does not fit into %s", BDL_TEXT(part), BDL_TEXT(x));
  return BDL_OK;
}

/* params: sizes */
bdl_status bdl_type_dynamic_slice(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  if (n_in < 1) return bdl_fail(c, BDL_EVALUE, "%d operands, at least 1 is needed", n_in);
  TRY(check_starts(c, &in[0], in + 1, n_in - 1));
  TRY(bdl_check_length(c, "sizes", &p[0], in[0].ndim));
  TRY(bdl_check_shape(c, &p[0], in[0].dtype, out));
  return check_fits(c, out, &in[0]);
}

bdl_status bdl_type_dynamic_update_slice(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)p;
  if (n_in < 2) return bdl_fail(c, BDL_EVALUE, "%d operands, at least 2 are needed", n_in);
  TRY(check_starts(c, &in[0], in + 2, n_in - 2));
  TRY(bdl_check_same_dtype(c, &in[0], &in[1]));
  if (in[1].ndim != in[0].ndim)
    return bdl_fail(c, BDL_ESHAPE, "%s and %s differ in rank", BDL_TEXT(&in[0]), BDL_TEXT(&in[1]));
  TRY(check_fits(c, &in[1], &in[0]));
  *out = in[0];
  return BDL_OK;
}

static bdl_status check_indices(bdl_context *c, const bdl_aval *i) {
  if (i->dtype == BDL_I32 || i->dtype == BDL_I64) return BDL_OK;
  return bdl_fail(c, BDL_ETYPE, "indices are i32 or i64, not %s", BDL_TEXT(i));
}

/* x with the axes of i in the place of axis. */
static bdl_status gathered(bdl_context *c, int64_t axis, const bdl_aval *x, const bdl_aval *i, bdl_aval *z) {
  TRY(bdl_check_axis(c, axis, x));
  TRY(check_indices(c, i));
  TRY(bdl_check_ndim(c, (int64_t)x->ndim + i->ndim - 1));
  *z = bdl_aval_make(x->dtype, (int32_t)axis, x->shape);
  for (int k = 0; k < i->ndim; k++) z->shape[z->ndim++] = i->shape[k];
  for (int k = (int)axis + 1; k < x->ndim; k++) z->shape[z->ndim++] = x->shape[k];
  return bdl_aval_check(c, z);
}

/* The shape of i, which is that of x but for axis. */
static bdl_status gathered_along(bdl_context *c, int64_t axis, const bdl_aval *x, const bdl_aval *i, bdl_aval *z) {
  TRY(bdl_check_axis(c, axis, x));
  TRY(check_indices(c, i));
  *z = *i;
  z->dtype = x->dtype;
  bdl_aval like = *i;
  if (i->ndim == x->ndim) like.shape[axis] = x->shape[axis];
  if (bdl_shape_eq(&like, x)) return BDL_OK;
  return bdl_fail(c, BDL_ESHAPE, "%s and indices %s differ in more than axis %" PRId64, BDL_TEXT(x), BDL_TEXT(i), axis);
}

/* params: axis */
bdl_status bdl_type_gather(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  return gathered(c, p[0].i, &in[0], &in[1], out);
}

bdl_status bdl_type_gather_along(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  return gathered_along(c, p[0].i, &in[0], &in[1], out);
}

/* params: axis op; want: the type of the updates */
static bdl_status type_scatter(bdl_context *c, const bdl_param *p, const bdl_aval *in, const bdl_aval *want,
                               bdl_aval *out) {
  static const char *const ops[] = {"set", "min", "max", "add", "mul"};
  int op = 0;
  while (op < BDL_LEN(ops) && strcmp(p[1].s, ops[op]) != 0) op++;
  if (op == BDL_LEN(ops)) return bdl_fail(c, BDL_EVALUE, "op '%s' is none of set, add, mul, min, max", p[1].s);
  if (op >= 3 && in[0].dtype == BDL_BOOL)
    return bdl_fail(c, BDL_ETYPE, "op '%s' needs numbers, not %s", p[1].s, BDL_TEXT(&in[0]));
  if (!bdl_aval_eq(&in[2], want))
    return bdl_fail(c, in[2].dtype == want->dtype ? BDL_ESHAPE : BDL_ETYPE, "updates of %s at %s are %s, not %s",
                    BDL_TEXT(&in[0]), BDL_TEXT(&in[1]), BDL_TEXT(want), BDL_TEXT(&in[2]));
  *out = in[0];
  return BDL_OK;
}

bdl_status bdl_type_scatter(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  bdl_aval want;
  TRY(gathered(c, p[0].i, &in[0], &in[1], &want));
  return type_scatter(c, p, in, &want, out);
}

bdl_status bdl_type_scatter_along(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  bdl_aval want;
  TRY(gathered_along(c, p[0].i, &in[0], &in[1], &want));
  return type_scatter(c, p, in, &want, out);
}

/* params: axis keys descending */
bdl_status bdl_type_sort(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  if (n_in < 1 || p[1].i < 1 || p[1].i > n_in)
    return bdl_fail(c, BDL_EVALUE, "%" PRId64 " keys among %d operands", p[1].i, n_in);
  TRY(bdl_check_axis(c, p[0].i, &in[0]));
  for (int k = 0; k < n_in; k++) {
    if (!bdl_shape_eq(&in[0], &in[k]))
      return bdl_fail(c, BDL_ESHAPE, "shapes of %s and %s differ", BDL_TEXT(&in[0]), BDL_TEXT(&in[k]));
    out[k] = in[k];
  }
  if (in[0].shape[p[0].i] > INT32_MAX)
    return bdl_fail(c, BDL_ESHAPE, "axis %" PRId64 " of %s is too long", p[0].i, BDL_TEXT(&in[0]));
  return BDL_OK;
}

/* params: k */
bdl_status bdl_type_top_k(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  const bdl_aval *x = &in[0];
  TRY(bdl_check_axis(c, x->ndim - 1, x));
  if (p[0].i < 0 || p[0].i > x->shape[x->ndim - 1] || x->shape[x->ndim - 1] > INT32_MAX)
    return bdl_fail(c, BDL_EVALUE, "k is %" PRId64 " for the last axis of %s", p[0].i, BDL_TEXT(x));
  out[0] = *x;
  out[0].shape[x->ndim - 1] = p[0].i;
  out[1] = out[0];
  out[1].dtype = BDL_I32;
  return BDL_OK;
}

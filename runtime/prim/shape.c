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

/* The shape of x but for axis, which is that of i.  Extents 1 of i repeat; after the axis all of them or none. */
static bdl_status gathered_along(bdl_context *c, int64_t axis, const bdl_aval *x, const bdl_aval *i, bdl_aval *z) {
  TRY(bdl_check_axis(c, axis, x));
  TRY(check_indices(c, i));
  *z = *x;
  bool fits = i->ndim == x->ndim, same = true, one = true;
  for (int k = 0; fits && k < x->ndim; k++) {
    if (k == axis) continue;
    fits = i->shape[k] == x->shape[k] || i->shape[k] == 1;
    if (k > axis) same &= i->shape[k] == x->shape[k], one &= i->shape[k] == 1;
  }
  if (fits) z->shape[axis] = i->shape[axis];
  if (fits && (same || one)) return BDL_OK;
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

/* ---- derivatives: each is the primitive itself on tangents ------------------------------------- */

BDL_JVP(linear) {
  (void)x, (void)z;
  return bdl_bind(b, e->prim, e->params, dx, 1, dz);
}

/* The primitive on tangents of its first `linear` operands, which are zeros where there are none, and on the others. */
static bdl_status on_tangents(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, const bdl_atom *dx, int linear,
                              bdl_atom *dz) {
  bdl_atom *in = bdl_arena_alloc(&b->arena, (size_t)e->n_in * sizeof *in);
  if (!in) return BDL_ENOMEM;
  for (int i = 0; i < e->n_in; i++)
    if (i < linear)
      TRY(bdl_rule_or_zeros(b, dx[i], x[i], &in[i]));
    else
      in[i] = x[i];
  return bdl_bind(b, e->prim, e->params, in, e->n_in, dz);
}

BDL_JVP(pad) {
  (void)z;
  return on_tangents(b, e, x, dx, 2, dz);
}

BDL_JVP(concatenate) {
  (void)z;
  return on_tangents(b, e, x, dx, e->n_in, dz);
}

BDL_JVP(dynamic_slice) {
  (void)z;
  return on_tangents(b, e, x, dx, 1, dz);
}

BDL_JVP(dynamic_update_slice) {
  (void)z;
  return on_tangents(b, e, x, dx, 2, dz);
}

BDL_JVP(gather) {
  (void)z;
  return on_tangents(b, e, x, dx, 1, dz);
}

/* A scatter or gather of e's kind and axis. */
static bdl_status scatter_as(bdl_prog *b, const bdl_eqn *e, const char *op, bdl_atom x, bdl_atom i, bdl_atom u, bdl_atom *z) {
  return bdl_bind(b, e->prim, (bdl_param[]){e->params[0], bdl_pstr(op)}, (bdl_atom[]){x, i, u}, 3, z);
}
static bdl_status gather_as(bdl_prog *b, const bdl_eqn *e, bdl_atom x, bdl_atom i, bdl_atom *z) {
  return bdl_bind(b, e->prim == BDL_P_scatter ? BDL_P_gather : BDL_P_gather_along, e->params, (bdl_atom[]){x, i}, 2, z);
}

/* z = the largest (smallest) of x and the updates u: the mean tangent of those that are z. */
static bdl_status jvp_scatter_extremum(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, bdl_atom dx, bdl_atom du, bdl_atom z,
                                       bdl_atom *dz) {
  const bdl_dtype d = bdl_aval_of(b, z)->dtype;
  bdl_atom kept, won, count;
  TRY(bdl_bind2(b, BDL_P_eq, x[0], z, &kept));
  TRY(bdl_ir_cast(b, kept, d, &kept));
  TRY(gather_as(b, e, z, x[1], &won));
  TRY(bdl_bind2(b, BDL_P_eq, x[2], won, &won));
  TRY(bdl_ir_cast(b, won, d, &won));
  TRY(scatter_as(b, e, "add", kept, x[1], won, &count));
  TRY(bdl_bind2(b, BDL_P_mul, dx, kept, &dx));
  TRY(bdl_bind2(b, BDL_P_mul, du, won, &du));
  TRY(scatter_as(b, e, "add", dx, x[1], du, dz));
  return bdl_bind2(b, BDL_P_div, *dz, count, dz);
}

/* z = x times the updates u at each place: dz = dx (product of u) + sum of du x (product of the other u).  The product of
** the others is that of those that are not 0, over u, unless another one is 0. */
static bdl_status jvp_scatter_mul(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, bdl_atom dx, bdl_atom du, bdl_atom *dz) {
  const bdl_aval a = *bdl_aval_of(b, x[0]);
  bdl_atom ones, zeros, one, zero, product, naught, safe, others, count, f;
  TRY(bdl_ir_full(b, &a, 1, &ones));
  TRY(bdl_ir_full(b, &a, 0, &zeros));
  TRY(bdl_ir_scalar(b, a.dtype, 1, &one));
  TRY(bdl_ir_scalar(b, a.dtype, 0, &zero));
  TRY(scatter_as(b, e, "mul", ones, x[1], x[2], &product));
  TRY(bdl_bind2(b, BDL_P_mul, dx, product, &dx));
  TRY(bdl_bind2(b, BDL_P_eq, x[2], zero, &naught));
  TRY(bdl_bind3(b, BDL_P_select, naught, one, x[2], &safe));
  TRY(scatter_as(b, e, "mul", x[0], x[1], safe, &others));
  TRY(gather_as(b, e, others, x[1], &others));
  TRY(bdl_bind2(b, BDL_P_div, others, safe, &others));
  TRY(bdl_ir_cast(b, naught, a.dtype, &f));
  TRY(scatter_as(b, e, "add", zeros, x[1], f, &count));
  TRY(gather_as(b, e, count, x[1], &count));
  TRY(bdl_bind2(b, BDL_P_eq, count, f, &naught)); /* is no other update 0? */
  TRY(bdl_bind3(b, BDL_P_select, naught, others, zero, &f));
  TRY(bdl_bind2(b, BDL_P_mul, du, f, &du));
  return scatter_as(b, e, "add", dx, x[1], du, dz);
}

BDL_JVP(scatter) {
  const char *op = e->params[1].s;
  bdl_atom t, u;
  TRY(bdl_rule_or_zeros(b, dx[0], x[0], &t));
  TRY(bdl_rule_or_zeros(b, dx[2], x[2], &u));
  if (strcmp(op, "mul") == 0) return jvp_scatter_mul(b, e, x, t, u, dz);
  if (strcmp(op, "min") == 0 || strcmp(op, "max") == 0) return jvp_scatter_extremum(b, e, x, t, u, z[0], dz);
  return scatter_as(b, e, op, t, x[1], u, dz);
}

/* An index sorted by the keys tells where each element came from. */
BDL_JVP(sort) {
  const bdl_aval a = *bdl_aval_of(b, x[0]);
  const int keys = (int)e->params[1].i;
  bdl_atom *in = bdl_arena_alloc(&b->arena, 2 * (size_t)(keys + 1) * sizeof *in), *out = in + keys + 1;
  (void)z;
  if (!in) return BDL_ENOMEM;
  for (int i = 0; i < keys; i++) in[i] = x[i];
  TRY(bdl_bind(b, BDL_P_iota, (bdl_param[]){bdl_pints(a.shape, a.ndim), e->params[0], bdl_pdtype(BDL_I32)}, NULL, 0, &in[keys]));
  TRY(bdl_bind(b, BDL_P_sort, e->params, in, keys + 1, out));
  for (int i = 0; i < e->n_in; i++) {
    dz[i] = BDL_ZERO;
    if (!bdl_is_zero(dx[i])) TRY(bdl_bind(b, BDL_P_gather_along, e->params, (bdl_atom[]){dx[i], out[keys]}, 2, &dz[i]));
  }
  return BDL_OK;
}

BDL_JVP(top_k) {
  (void)e;
  const int last = bdl_aval_of(b, x[0])->ndim - 1;
  dz[1] = BDL_ZERO;
  return bdl_bind(b, BDL_P_gather_along, (bdl_param[]){bdl_pint(last)}, (bdl_atom[]){dx[0], z[1]}, 2, dz);
}

/* ---- transposes ------------------------------------------------------------------------------- */

BDL_TRANSPOSE(reshape) {
  const bdl_aval a = *bdl_aval_of(b, x[0]);
  (void)e, (void)is_linear;
  return bdl_ir_reshape(b, ct[0], a.ndim, a.shape, ct_in);
}

/* The sum over the axes that the broadcast made or repeated. */
BDL_TRANSPOSE(broadcast) {
  const bdl_aval a = *bdl_aval_of(b, x[0]), z = *bdl_aval_of(b, ct[0]);
  bool kept[BDL_MAX_NDIM] = {false};
  int64_t axes[BDL_MAX_NDIM];
  int n = 0;
  (void)is_linear;
  for (int i = 0; i < a.ndim; i++) kept[e->params[1].ints[i]] = a.shape[i] == z.shape[e->params[1].ints[i]];
  for (int i = 0; i < z.ndim; i++)
    if (!kept[i]) axes[n++] = i;
  ct_in[0] = ct[0];
  if (n > 0) TRY(bdl_rule_axes(b, BDL_P_reduce_sum, ct[0], axes, n, ct_in));
  return bdl_ir_reshape(b, ct_in[0], a.ndim, a.shape, ct_in);
}

BDL_TRANSPOSE(permute) {
  int64_t inverse[BDL_MAX_NDIM];
  (void)x, (void)is_linear;
  for (int i = 0; i < e->params[0].n; i++) inverse[e->params[0].ints[i]] = i;
  return bdl_rule_axes(b, BDL_P_permute, ct[0], inverse, e->params[0].n, ct_in);
}

BDL_TRANSPOSE(reverse) {
  (void)x, (void)is_linear;
  return bdl_bind(b, BDL_P_reverse, e->params, ct, 1, ct_in);
}

/* Padding with zeros puts a slice back. */
BDL_TRANSPOSE(slice) {
  const bdl_aval a = *bdl_aval_of(b, x[0]), z = *bdl_aval_of(b, ct[0]);
  int64_t hi[BDL_MAX_NDIM], inner[BDL_MAX_NDIM];
  bdl_atom in[2] = {ct[0], BDL_ZERO};
  (void)is_linear;
  for (int i = 0; i < a.ndim; i++) {
    const int64_t start = e->params[0].ints[i], step = e->params[2].ints[i], n = z.shape[i];
    hi[i] = a.shape[i] - start - (n > 0 ? (n - 1) * step + 1 : 0);
    inner[i] = step - 1;
  }
  TRY(bdl_ir_scalar(b, a.dtype, 0, &in[1]));
  return bdl_bind(b, BDL_P_pad, (bdl_param[]){e->params[0], bdl_pints(hi, a.ndim), bdl_pints(inner, a.ndim)}, in, 2, ct_in);
}

/* Cropping what was added, then every (inner + 1)-th element; the value gets the rest of the sum. */
BDL_TRANSPOSE(pad) {
  const bdl_aval a = *bdl_aval_of(b, x[0]), z = *bdl_aval_of(b, ct[0]);
  int64_t lo[BDL_MAX_NDIM], hi[BDL_MAX_NDIM], none[BDL_MAX_NDIM] = {0}, stop[BDL_MAX_NDIM], step[BDL_MAX_NDIM],
                                              all[BDL_MAX_NDIM];
  bdl_atom in[2] = {ct[0], BDL_ZERO}, back, sum, part;
  for (int i = 0; i < a.ndim; i++) {
    lo[i] = -e->params[0].ints[i], hi[i] = -e->params[1].ints[i];
    step[i] = e->params[2].ints[i] + 1;
    stop[i] = z.shape[i] + lo[i] + hi[i]; /* the extent of x with its gaps */
    all[i] = i;
  }
  TRY(bdl_ir_scalar(b, a.dtype, 0, &in[1]));
  TRY(bdl_bind(b, BDL_P_pad, (bdl_param[]){bdl_pints(lo, a.ndim), bdl_pints(hi, a.ndim), bdl_pints(none, a.ndim)}, in, 2,
               &back));
  TRY(bdl_bind(b, BDL_P_slice, (bdl_param[]){bdl_pints(none, a.ndim), bdl_pints(stop, a.ndim), bdl_pints(step, a.ndim)},
               &back, 1, &back));
  if (is_linear[0]) ct_in[0] = back;
  if (!is_linear[1]) return BDL_OK;
  TRY(bdl_rule_axes(b, BDL_P_reduce_sum, ct[0], all, a.ndim, &sum));
  TRY(bdl_rule_axes(b, BDL_P_reduce_sum, back, all, a.ndim, &part));
  return bdl_bind2(b, BDL_P_sub, sum, part, &ct_in[1]);
}

BDL_TRANSPOSE(concatenate) {
  const bdl_aval z = *bdl_aval_of(b, ct[0]);
  const int64_t axis = e->params[0].i;
  int64_t start[BDL_MAX_NDIM] = {0}, stop[BDL_MAX_NDIM], step[BDL_MAX_NDIM];
  for (int i = 0; i < z.ndim; i++) stop[i] = z.shape[i], step[i] = 1;
  stop[axis] = 0;
  for (int k = 0; k < e->n_in; k++) {
    start[axis] = stop[axis];
    stop[axis] += bdl_aval_of(b, x[k])->shape[axis];
    if (is_linear[k])
      TRY(bdl_bind(b, BDL_P_slice,
                   (bdl_param[]){bdl_pints(start, z.ndim), bdl_pints(stop, z.ndim), bdl_pints(step, z.ndim)}, ct, 1,
                   &ct_in[k]));
  }
  return BDL_OK;
}

BDL_TRANSPOSE(dynamic_slice) {
  bdl_atom in[BDL_MAX_NDIM + 2];
  (void)is_linear;
  TRY(bdl_rule_or_zeros(b, BDL_ZERO, x[0], &in[0]));
  in[1] = ct[0];
  for (int i = 1; i < e->n_in; i++) in[i + 1] = x[i];
  return bdl_bind(b, BDL_P_dynamic_update_slice, NULL, in, e->n_in + 1, ct_in);
}

BDL_TRANSPOSE(dynamic_update_slice) {
  const bdl_aval u = *bdl_aval_of(b, x[1]);
  bdl_atom in[BDL_MAX_NDIM + 2] = {ct[0], BDL_ZERO};
  for (int i = 2; i < e->n_in; i++) in[i] = x[i];
  if (is_linear[0]) {
    TRY(bdl_ir_full(b, &u, 0, &in[1]));
    TRY(bdl_bind(b, BDL_P_dynamic_update_slice, NULL, in, e->n_in, &ct_in[0]));
  }
  if (!is_linear[1]) return BDL_OK;
  in[1] = ct[0];
  return bdl_bind(b, BDL_P_dynamic_slice, (bdl_param[]){bdl_pints(u.shape, u.ndim)}, in + 1, e->n_in - 1, &ct_in[1]);
}

static bdl_status add_back(bdl_prog *b, bdl_prim_id scatter, const bdl_eqn *e, const bdl_atom *x, bdl_atom ct,
                           bdl_atom *ct_in) {
  bdl_atom in[3] = {BDL_ZERO, x[1], ct};
  TRY(bdl_rule_or_zeros(b, BDL_ZERO, x[0], &in[0]));
  return bdl_bind(b, scatter, (bdl_param[]){e->params[0], bdl_pstr("add")}, in, 3, ct_in);
}

BDL_TRANSPOSE(gather) {
  (void)is_linear;
  return add_back(b, BDL_P_scatter, e, x, ct[0], ct_in);
}

BDL_TRANSPOSE(gather_along) {
  (void)is_linear;
  return add_back(b, BDL_P_scatter_along, e, x, ct[0], ct_in);
}

/* op set: an element that was written has no cotangent, nor has an update that a later one wrote over. */
static bdl_status set_back(bdl_prog *b, bdl_prim_id gather, const bdl_eqn *e, const bdl_atom *x, const bool *is_linear,
                           bdl_atom ct, bdl_atom *ct_in) {
  bdl_aval a = *bdl_aval_of(b, x[0]), u = *bdl_aval_of(b, x[2]);
  bdl_atom zeros, at[3] = {BDL_ZERO, x[1], BDL_ZERO}, last, won;
  TRY(bdl_ir_full(b, &u, 0, &zeros));
  if (is_linear[0]) TRY(bdl_bind(b, e->prim, e->params, (bdl_atom[]){ct, x[1], zeros}, 3, &ct_in[0]));
  if (!is_linear[2]) return BDL_OK;
  a.dtype = BDL_I64;
  TRY(bdl_ir_full(b, &a, 0, &at[0]));
  const int64_t n = bdl_aval_numel(&u);
  TRY(bdl_bind(b, BDL_P_iota, (bdl_param[]){bdl_pints(&n, 1), bdl_pint(0), bdl_pdtype(BDL_I64)}, NULL, 0, &at[2]));
  TRY(bdl_ir_reshape(b, at[2], u.ndim, u.shape, &at[2]));
  TRY(bdl_bind(b, e->prim, e->params, at, 3, &last));
  TRY(bdl_bind(b, gather, e->params, (bdl_atom[]){last, x[1]}, 2, &last));
  TRY(bdl_bind2(b, BDL_P_eq, last, at[2], &won));
  TRY(bdl_bind(b, gather, e->params, (bdl_atom[]){ct, x[1]}, 2, &ct_in[2]));
  return bdl_bind3(b, BDL_P_select, won, ct_in[2], zeros, &ct_in[2]);
}

static bdl_status scatter_back(bdl_prog *b, bdl_prim_id gather, const bdl_eqn *e, const bdl_atom *x, const bool *is_linear,
                               bdl_atom ct, bdl_atom *ct_in) {
  if (strcmp(e->params[1].s, "set") == 0) return set_back(b, gather, e, x, is_linear, ct, ct_in);
  if (is_linear[0]) ct_in[0] = ct;
  if (is_linear[2]) return bdl_bind(b, gather, e->params, (bdl_atom[]){ct, x[1]}, 2, &ct_in[2]);
  return BDL_OK;
}

BDL_TRANSPOSE(scatter) {
  return scatter_back(b, BDL_P_gather, e, x, is_linear, ct[0], ct_in);
}
BDL_TRANSPOSE(scatter_along) {
  return scatter_back(b, BDL_P_gather_along, e, x, is_linear, ct[0], ct_in);
}

/*
** reduce.c -- rules of reductions, arg-reductions and running reductions.
*/
#include <string.h>

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

/* params: op */
bdl_status bdl_type_across(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  const bool max = !strcmp(p[0].s, "max");
  if (!max && strcmp(p[0].s, "any") != 0 && strcmp(p[0].s, "all") != 0) return bdl_fail(c, BDL_EVALUE, "op is any, all or max, not %s", p[0].s);
  if (!max && in[0].dtype != BDL_BOOL) return bdl_fail(c, BDL_ETYPE, "bool is needed, not %s", BDL_TEXT(&in[0]));
  *out = (bdl_aval){.dtype = in[0].dtype};
  return BDL_OK;
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

/* ---- derivatives ------------------------------------------------------------------------------ */

/* Spreads z, x reduced over params axes, over x's shape again. */
static bdl_status spread(bdl_prog *b, const bdl_param *axes, bdl_atom z, bdl_atom x, bdl_atom *out) {
  const bdl_aval a = *bdl_aval_of(b, x);
  bool drop[BDL_MAX_NDIM] = {false};
  int64_t dims[BDL_MAX_NDIM];
  int n = 0;
  for (int i = 0; i < axes->n; i++) drop[axes->ints[i]] = true;
  for (int i = 0; i < a.ndim; i++)
    if (!drop[i]) dims[n++] = i;
  return bdl_bind(b, BDL_P_broadcast, (bdl_param[]){bdl_pints(a.shape, a.ndim), bdl_pints(dims, n)}, &z, 1, out);
}

BDL_JVP(reduce_sum) {
  (void)x, (void)z;
  return bdl_bind(b, BDL_P_reduce_sum, e->params, dx, 1, dz);
}

BDL_TRANSPOSE(reduce_sum) {
  (void)is_linear;
  return spread(b, &e->params[0], ct[0], x[0], ct_in);
}

/* The mean tangent of the elements that are the largest (smallest); of no elements it is a constant. */
static bdl_status jvp_extremum(bdl_prog *b, const bdl_eqn *e, bdl_atom x, bdl_atom dx, bdl_atom z, bdl_atom *dz) {
  const bdl_dtype d = bdl_aval_of(b, x)->dtype;
  bdl_atom y, at, zero, sum, count;
  *dz = BDL_ZERO;
  if (bdl_aval_numel(bdl_aval_of(b, x)) == 0) return BDL_OK;
  TRY(spread(b, &e->params[0], z, x, &y));
  TRY(bdl_bind2(b, BDL_P_eq, x, y, &at));
  TRY(bdl_ir_scalar(b, d, 0, &zero));
  TRY(bdl_bind3(b, BDL_P_select, at, dx, zero, &sum));
  TRY(bdl_bind(b, BDL_P_reduce_sum, e->params, &sum, 1, &sum));
  TRY(bdl_ir_cast(b, at, d, &count));
  TRY(bdl_bind(b, BDL_P_reduce_sum, e->params, &count, 1, &count));
  return bdl_bind2(b, BDL_P_div, sum, count, dz);
}

BDL_JVP(reduce_max) {
  return jvp_extremum(b, e, x[0], dx[0], z[0], dz);
}
BDL_JVP(reduce_min) {
  return jvp_extremum(b, e, x[0], dx[0], z[0], dz);
}

/* x moved by `by` places along an axis (backward when negative); `fill` comes in. */
static bdl_status shifted(bdl_prog *b, bdl_atom x, int64_t axis, int64_t by, double fill, bdl_atom *z) {
  const bdl_aval a = *bdl_aval_of(b, x);
  int64_t lo[BDL_MAX_NDIM] = {0}, hi[BDL_MAX_NDIM] = {0}, inner[BDL_MAX_NDIM] = {0};
  bdl_atom in[2] = {x, BDL_ZERO};
  lo[axis] = by, hi[axis] = -by;
  TRY(bdl_ir_scalar(b, a.dtype, fill, &in[1]));
  return bdl_bind(b, BDL_P_pad, (bdl_param[]){bdl_pints(lo, a.ndim), bdl_pints(hi, a.ndim), bdl_pints(inner, a.ndim)}, in,
                  2, z);
}

/* z, dz of the running product, right where factors are zero: products of neighbours, of pairs of neighbours, ..
** (u, du)(v, dv) = (u v, du v + u dv) is associative.  Source: Hillis & Steele 1986. */
static bdl_status running_product(bdl_prog *b, int64_t axis, bool reverse, bdl_atom *z, bdl_atom *dz) {
  const int64_t n = bdl_aval_of(b, *z)->shape[axis];
  for (int64_t by = 1; by < n; by *= 2) {
    bdl_atom u, du, left, right;
    TRY(shifted(b, *z, axis, reverse ? -by : by, 1, &u));
    TRY(shifted(b, *dz, axis, reverse ? -by : by, 0, &du));
    TRY(bdl_bind2(b, BDL_P_mul, du, *z, &left));
    TRY(bdl_bind2(b, BDL_P_mul, *dz, u, &right));
    TRY(bdl_bind2(b, BDL_P_add, left, right, dz));
    TRY(bdl_bind2(b, BDL_P_mul, u, *z, z));
  }
  return BDL_OK;
}

BDL_JVP(cumprod) {
  bdl_atom product = x[0];
  (void)z;
  dz[0] = dx[0];
  return running_product(b, e->params[0].i, e->params[1].i != 0, &product, dz);
}

/* The last entry of a running product over all reduced axes as one. */
BDL_JVP(reduce_prod) {
  const bdl_aval a = *bdl_aval_of(b, x[0]), out = *bdl_aval_of(b, z[0]);
  bool reduced[BDL_MAX_NDIM] = {false};
  int64_t order[BDL_MAX_NDIM], start[BDL_MAX_NDIM] = {0}, step[BDL_MAX_NDIM], n = 1;
  int at = 0;
  for (int i = 0; i < e->params[0].n; i++) reduced[e->params[0].ints[i]] = true;
  for (int side = 0; side < 2; side++)
    for (int i = 0; i < a.ndim; i++)
      if (reduced[i] == (side == 1)) order[at++] = i;
  for (int i = 0; i < a.ndim; i++)
    if (reduced[i]) n *= a.shape[i];
  if (n == 0) {
    dz[0] = BDL_ZERO;
    return BDL_OK;
  }
  bdl_aval flat = out;
  flat.shape[flat.ndim++] = n;
  bdl_atom y[2] = {x[0], dx[0]};
  for (int i = 0; i < 2; i++) {
    TRY(bdl_rule_axes(b, BDL_P_permute, y[i], order, a.ndim, &y[i]));
    TRY(bdl_ir_reshape(b, y[i], flat.ndim, flat.shape, &y[i]));
  }
  TRY(running_product(b, out.ndim, false, &y[0], &y[1]));
  for (int i = 0; i < flat.ndim; i++) step[i] = 1;
  start[out.ndim] = n - 1;
  TRY(bdl_bind(b, BDL_P_slice,
               (bdl_param[]){bdl_pints(start, flat.ndim), bdl_pints(flat.shape, flat.ndim), bdl_pints(step, flat.ndim)},
               &y[1], 1, dz));
  return bdl_ir_reshape(b, dz[0], out.ndim, out.shape, dz);
}

/* Each element has the tangent of the last one that is equal to it. */
static bdl_status jvp_running_extremum(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, const bdl_atom *dx, const bdl_atom *z,
                                       bdl_atom *dz) {
  const bdl_aval a = *bdl_aval_of(b, x[0]);
  const int64_t axis = e->params[0].i;
  const bool reverse = e->params[1].i != 0;
  bdl_atom here, at, first;
  TRY(bdl_bind2(b, BDL_P_eq, x[0], z[0], &here));
  TRY(bdl_bind(b, BDL_P_iota, (bdl_param[]){bdl_pints(a.shape, a.ndim), e->params[0], bdl_pdtype(BDL_I64)}, NULL, 0, &at));
  TRY(bdl_ir_scalar(b, BDL_I64, reverse ? (double)(a.shape[axis] - 1) : 0, &first));
  TRY(bdl_bind3(b, BDL_P_select, here, at, first, &at));
  TRY(bdl_bind(b, reverse ? BDL_P_cummin : BDL_P_cummax, e->params, &at, 1, &at));
  return bdl_bind(b, BDL_P_gather_along, e->params, (bdl_atom[]){dx[0], at}, 2, dz);
}

BDL_JVP(cummax) {
  return jvp_running_extremum(b, e, x, dx, z, dz);
}
BDL_JVP(cummin) {
  return jvp_running_extremum(b, e, x, dx, z, dz);
}

BDL_JVP(cumsum) {
  (void)x, (void)z;
  return bdl_bind(b, BDL_P_cumsum, e->params, dx, 1, dz);
}

BDL_TRANSPOSE(cumsum) {
  (void)x, (void)is_linear;
  return bdl_bind(b, BDL_P_cumsum, (bdl_param[]){e->params[0], bdl_pint(!e->params[1].i)}, ct, 1, ct_in);
}

/* ---- lanes ------------------------------------------------------------------------------------ */

BDL_BATCH(reduce) {
  int64_t axes[BDL_MAX_NDIM];
  (void)batched, (void)size, (void)out_batched;
  return bdl_bind(b, e->prim, (bdl_param[]){bdl_rule_behind_lanes(&e->params[0], axes)}, x, 1, z);
}

bdl_prim_id bdl_rule_across(const bdl_eqn *e) {
  const char *op = e->params[0].s;
  return !strcmp(op, "any") ? BDL_P_reduce_or : !strcmp(op, "all") ? BDL_P_reduce_and : BDL_P_reduce_max;
}

/* All lanes get one result, which lanes around may go over again. */
BDL_BATCH(across) {
  const bdl_prim_id reduce = bdl_rule_across(e);
  const int64_t lanes = 0;
  (void)batched, (void)size;
  out_batched[0] = false;
  TRY(bdl_rule_axes(b, reduce, x[0], &lanes, 1, z));
  return bdl_bind(b, e->prim, e->params, z, 1, z);
}

/* Primitives of one axis, their first parameter, over operands of one shape. */
BDL_BATCH(axis) {
  bdl_atom *in = bdl_arena_alloc(&b->arena, (size_t)e->n_in * sizeof *in);
  bdl_param params[3];
  (void)out_batched;
  if (!in) return BDL_ENOMEM;
  for (int i = 0; i < e->n_in; i++) TRY(bdl_rule_lanes(b, x[i], batched[i], size, &in[i]));
  for (int i = 0; i < e->n_params; i++) params[i] = e->params[i];
  params[0] = bdl_pint(e->params[0].i + 1);
  return bdl_bind(b, e->prim, params, in, e->n_in, z);
}

/* Primitives that work on the last axes, or on all elements alike. */
BDL_BATCH(leading) {
  (void)batched, (void)size, (void)out_batched;
  return bdl_bind(b, e->prim, e->params, x, e->n_in, z);
}

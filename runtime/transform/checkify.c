/*
** checkify.c -- checks that give a value in place of an error.
**
** Every place that may go wrong, a check, sets one i32 to its number if no check before it has; what its message shows
** goes along:
**
**     error = error = 0 & wrong ? number : error          in a loop: carried, with what the messages show
**
** A loop or a branch whose bodies have checks gives their error as a further result.  Values are computed on as if
** nothing were wrong; an index out of range is moved into it.  Source: jax.experimental.checkify.
*/
#include <math.h>
#include <string.h>

#include "transform/checkify_walk.h"

enum { NUMBERS = BDL_CHECK_NAN | BDL_CHECK_INF };

static bdl_status all_axes(bdl_prog *b, bdl_prim_id reduce, bdl_atom x, bdl_atom *z) {
  int64_t axes[BDL_MAX_NDIM];
  const int n = bdl_aval_of(b, x)->ndim;
  for (int k = 0; k < n; k++) axes[k] = k;
  const bdl_param p = bdl_pints(axes, n);
  *z = x;
  return n ? bdl_bind(b, reduce, &p, &x, 1, z) : BDL_OK;
}

bdl_status bdl_checkify_merge(bdl_prog *b, bdl_atom *error, bdl_atom other) {
  bdl_atom zero, none;
  if (bdl_is_zero(*error)) {
    *error = other;
    return BDL_OK;
  }
  TRY(bdl_ir_scalar(b, BDL_I32, 0, &zero));
  TRY(bdl_bind2(b, BDL_P_eq, *error, zero, &none));
  return bdl_bind3(b, BDL_P_select, none, other, *error, error);
}

/* A check of equation e (NULL: an input): wrong is a bool[]. */
static bdl_status add_check(bdl_check_walk *w, unsigned kind, const bdl_eqn *e, const char *text, bdl_atom wrong,
                            const bdl_atom *shown, int n) {
  bdl_prog *b = w->r.q;
  bdl_check k = {.kind = kind, .text = text ? bdl_intern(b->ctx, text) : NULL, .n_shown = n};
  bdl_atom number, zero, mine;
  if (text && !k.text) return BDL_ENOMEM;
  if (e) {
    k.prim = bdl_prims[e->prim].name;
    k.src = e->src;
  }
  if (!BDL_PUSH(b->ctx, w->list->v, k)) return BDL_ENOMEM;
  for (int i = 0; i < n; i++)
    if (!BDL_PUSH(b->ctx, w->shown, shown[i])) return BDL_ENOMEM;
  TRY(bdl_ir_scalar(b, BDL_I32, (double)w->list->v.n, &number));
  TRY(bdl_ir_scalar(b, BDL_I32, 0, &zero));
  TRY(bdl_bind3(b, BDL_P_select, wrong, number, zero, &mine));
  return bdl_checkify_merge(b, &w->error, mine);
}

/* ---- what may go wrong ------------------------------------------------------------------------------ */

/* Gives out what it is given: a NaN of its is none of its own. */
static bool moves(bdl_prim_id p) {
  switch (p) {
    case BDL_P_copy: case BDL_P_stop_gradient: case BDL_P_cast: case BDL_P_neg: case BDL_P_abs: case BDL_P_reshape:
    case BDL_P_broadcast: case BDL_P_permute: case BDL_P_slice: case BDL_P_reverse: case BDL_P_pad:
    case BDL_P_concatenate: case BDL_P_dynamic_slice: case BDL_P_dynamic_update_slice: case BDL_P_gather:
    case BDL_P_gather_along: case BDL_P_select: case BDL_P_max: case BDL_P_min: case BDL_P_barrier: case BDL_P_sort:
    case BDL_P_reduce_max: case BDL_P_reduce_min: case BDL_P_to_lanes: case BDL_P_from_lanes: return true;
    default: return false;
  }
}

/* What is no number to the check: NaN, or infinite too. */
static bdl_status is_bad(const bdl_check_walk *w, bdl_atom x, bdl_atom *z) {
  if (!(w->kinds & BDL_CHECK_INF)) return bdl_bind1(w->r.q, BDL_P_is_nan, x, z);
  TRY(bdl_bind1(w->r.q, BDL_P_is_finite, x, z));
  return bdl_bind1(w->r.q, BDL_P_not, *z, z);
}

static bdl_status any_bad(bdl_check_walk *w, bdl_atom x, bdl_atom *z) {
  uint64_t known;
  if (bdl_map_get(&w->bad, (uint64_t)x, &known)) {
    *z = (bdl_atom)known;
    return BDL_OK;
  }
  TRY(is_bad(w, x, z));
  TRY(all_axes(w->r.q, BDL_P_reduce_or, *z, z));
  return bdl_map_put(&w->bad, (uint64_t)x, (uint64_t)*z);
}

static bdl_status count(bdl_prog *b, bdl_atom flags, bdl_atom *z) {
  TRY(bdl_ir_cast(b, flags, BDL_I32, z));
  return all_axes(b, BDL_P_reduce_sum, *z, z);
}

/* What BDL_CHECK_COUNT shows of x. */
static bdl_status counts(bdl_check_walk *w, bdl_atom x, bdl_atom shown[4]) {
  bdl_prog *b = w->r.q;
  const bdl_dtype d = bdl_aval_of(b, x)->dtype;
  bdl_atom nan, finite, other, bound;
  TRY(bdl_bind1(b, BDL_P_is_nan, x, &nan));
  TRY(bdl_bind1(b, BDL_P_is_finite, x, &finite));
  TRY(count(b, nan, &shown[0]));
  TRY(bdl_bind2(b, BDL_P_or, nan, finite, &other));
  TRY(bdl_bind1(b, BDL_P_not, other, &other));
  TRY(count(b, other, &shown[1]));
  for (int k = 0; k < 2; k++) {
    TRY(bdl_ir_scalar(b, d, k ? -INFINITY : INFINITY, &bound));
    TRY(bdl_bind3(b, BDL_P_select, finite, x, bound, &shown[2 + k]));
    TRY(all_axes(b, k ? BDL_P_reduce_max : BDL_P_reduce_min, shown[2 + k], &shown[2 + k]));
  }
  return BDL_OK;
}

static bdl_status add_number_check(bdl_check_walk *w, const bdl_eqn *e, const char *text, bdl_atom x, bdl_atom wrong) {
  bdl_atom shown[4];
  const bool all = (w->kinds & BDL_CHECK_COUNT) != 0;
  if (all) TRY(counts(w, x, shown));
  return add_check(w, w->kinds & BDL_CHECK_INF ? BDL_CHECK_INF : BDL_CHECK_NAN, e, text, wrong, shown, all ? 4 : 0);
}

/* NaN in a result and in no operand. */
static bdl_status check_numbers(bdl_check_walk *w, const bdl_eqn *e, const bdl_atom *x) {
  bdl_prog *b = w->r.q;
  bdl_atom before = BDL_ZERO, wrong, one;
  if (moves(e->prim)) return BDL_OK;
  for (int k = 0; k < e->n_in; k++) {
    if (!bdl_transform_is_float(b, x[k]) || b->vars.v[x[k]].kind == BDL_V_LITERAL) continue;
    TRY(any_bad(w, x[k], &one));
    if (bdl_is_zero(before)) before = one;
    else TRY(bdl_bind2(b, BDL_P_or, before, one, &before));
  }
  if (!bdl_is_zero(before)) TRY(bdl_bind1(b, BDL_P_not, before, &before));
  for (int k = 0; k < e->n_out; k++) {
    const bdl_atom z = w->r.map[e->out[k]];
    if (!bdl_transform_is_float(b, z)) continue;
    TRY(any_bad(w, z, &wrong));
    if (!bdl_is_zero(before)) TRY(bdl_bind2(b, BDL_P_and, wrong, before, &wrong));
    TRY(add_number_check(w, e, NULL, z, wrong));
  }
  return BDL_OK;
}

static bdl_status check_divisor(bdl_check_walk *w, const bdl_eqn *e, bdl_atom y) {
  bdl_prog *b = w->r.q;
  bdl_atom zero, wrong;
  TRY(bdl_ir_scalar(b, bdl_aval_of(b, y)->dtype, 0, &zero));
  TRY(bdl_bind2(b, BDL_P_eq, y, zero, &wrong));
  TRY(all_axes(b, BDL_P_reduce_or, wrong, &wrong));
  return add_check(w, BDL_CHECK_DIV, e, NULL, wrong, NULL, 0);
}

/* Indices *x, of which 0..top are right: the largest that is wrong is shown, all are moved into the range. */
static bdl_status check_range(bdl_check_walk *w, const bdl_eqn *e, bdl_atom *x, int64_t top) {
  bdl_prog *b = w->r.q;
  const bdl_dtype d = bdl_aval_of(b, *x)->dtype;
  bdl_atom zero, last, low, high, wrong, any, shown;
  if (top < 0) return BDL_OK; /* nothing is right: the equation says so */
  TRY(bdl_ir_scalar(b, d, 0, &zero));
  TRY(bdl_ir_scalar(b, d, (double)top, &last));
  TRY(bdl_bind2(b, BDL_P_lt, *x, zero, &low));
  TRY(bdl_bind2(b, BDL_P_gt, *x, last, &high));
  TRY(bdl_bind2(b, BDL_P_or, low, high, &wrong));
  TRY(all_axes(b, BDL_P_reduce_or, wrong, &any));
  TRY(bdl_ir_scalar(b, d, d == BDL_U32 ? 0 : d == BDL_I32 ? INT32_MIN : -9223372036854775808.0, &shown));
  TRY(bdl_bind3(b, BDL_P_select, wrong, *x, shown, &shown));
  TRY(all_axes(b, BDL_P_reduce_max, shown, &shown));
  TRY(add_check(w, BDL_CHECK_INDEX, e, NULL, any, &shown, 1));
  w->list->v.v[w->list->v.n - 1].size = top + 1;
  return bdl_bind3(b, BDL_P_clamp, zero, *x, last, x);
}

static bdl_status check_indices(bdl_check_walk *w, const bdl_eqn *e, bdl_atom *x) {
  const bdl_aval *a = bdl_aval_of(w->r.p, e->in[0]);
  switch (e->prim) {
    case BDL_P_gather: case BDL_P_gather_along: case BDL_P_scatter: case BDL_P_scatter_along:
      return check_range(w, e, &x[1], a->shape[e->params[0].i] - 1);
    case BDL_P_dynamic_slice:
      for (int k = 0; k < a->ndim; k++) TRY(check_range(w, e, &x[1 + k], a->shape[k] - e->params[0].ints[k]));
      return BDL_OK;
    case BDL_P_dynamic_update_slice: {
      const bdl_aval *u = bdl_aval_of(w->r.p, e->in[1]);
      for (int k = 0; k < a->ndim; k++) TRY(check_range(w, e, &x[2 + k], a->shape[k] - u->shape[k]));
      return BDL_OK;
    }
    default: return BDL_OK;
  }
}

static bool divides(bdl_prim_id p) { return p == BDL_P_div || p == BDL_P_floordiv || p == BDL_P_rem || p == BDL_P_mod; }

static bdl_status plain(bdl_check_walk *w, const bdl_eqn *e, bdl_atom *x) {
  bdl_atom *z, wrong;
  if (e->prim == BDL_P_error_if && (w->kinds & BDL_CHECK_USER)) {
    TRY(all_axes(w->r.q, BDL_P_reduce_or, x[0], &wrong));
    return add_check(w, BDL_CHECK_USER, e, e->params[0].s, wrong, x + 1, e->n_in - 1);
  }
  if ((w->kinds & BDL_CHECK_DIV) && divides(e->prim)) TRY(check_divisor(w, e, x[1]));
  if (w->kinds & BDL_CHECK_INDEX) TRY(check_indices(w, e, x));
  if (!BDL_ARRAY(&w->r.scratch, z, e->n_out)) return BDL_ENOMEM;
  TRY(bdl_bind(w->r.q, e->prim, e->params, x, e->n_in, z));
  TRY(bdl_ir_rw_set_all(&w->r, e, z));
  return w->kinds & NUMBERS ? check_numbers(w, e, x) : BDL_OK;
}

/* ---- programs ------------------------------------------------------------------------------------------- */

static bdl_status equation(bdl_check_walk *w, const bdl_eqn *e) {
  bdl_atom *x = bdl_ir_rw_operands(&w->r, e);
  if (!x) return BDL_ENOMEM;
  w->r.q->src = e->src;
  switch (e->prim) {
    case BDL_P_scan: return bdl_checkify_scan(w, e, x);
    case BDL_P_while: return bdl_checkify_while(w, e, x);
    case BDL_P_cond: return bdl_checkify_cond(w, e, x);
    case BDL_P_checkpoint: return bdl_checkify_checkpoint(w, e, x);
    default: return plain(w, e, x); /* of a function whose derivative is given, only the results are looked at */
  }
}

static bdl_status walk_program(bdl_check_walk *w, bool inputs) {
  const bdl_prog *p = w->r.p;
  bdl_prog *b = w->r.q;
  bdl_atom *out;
  for (int64_t i = 0; inputs && (w->kinds & NUMBERS) && i < p->inputs.n; i++) {
    bdl_atom wrong;
    if (!bdl_transform_is_float(p, p->inputs.v[i])) continue;
    TRY(any_bad(w, b->inputs.v[i], &wrong));
    TRY(add_number_check(w, NULL, p->vars.v[p->inputs.v[i]].name, b->inputs.v[i], wrong));
    w->list->v.v[w->list->v.n - 1].size = i;
  }
  for (int64_t i = 0; i < p->eqns.n; i++) TRY(equation(w, &p->eqns.v[i]));
  if (!BDL_ARRAY(&w->r.scratch, out, p->n_outputs + 1 + w->shown.n)) return BDL_ENOMEM;
  for (int i = 0; i < p->n_outputs; i++) TRY(bdl_ir_rw_atom(&w->r, p->outputs[i], &out[i]));
  if (bdl_is_zero(w->error) && inputs) TRY(bdl_ir_scalar(b, BDL_I32, 0, &w->error)); /* a whole program always says */
  if (bdl_is_zero(w->error)) return bdl_prog_set_outputs(b, out, p->n_outputs);
  out[p->n_outputs] = w->error;
  if (w->shown.n) memcpy(out + p->n_outputs + 1, w->shown.v, (size_t)w->shown.n * sizeof *out);
  return bdl_prog_set_outputs(b, out, p->n_outputs + 1 + (int)w->shown.n);
}

static bdl_status check_program(const bdl_prog *p, unsigned kinds, bool inputs, bdl_checks *list, bdl_prog **q) {
  bdl_check_walk w = {.kinds = kinds, .list = list, .error = BDL_ZERO};
  bdl_map_init(&w.bad, p->ctx);
  bdl_status s = bdl_ir_rw_begin(&w.r, p);
  if (s == BDL_OK) s = walk_program(&w, inputs);
  if (s == BDL_OK) *q = w.r.q;
  else bdl_prog_unref(w.r.q);
  bdl_ir_rw_fini(&w.r);
  BDL_VEC_FREE(p->ctx, w.shown);
  bdl_map_fini(&w.bad);
  return s;
}

bdl_status bdl_checkify_body(const bdl_check_walk *w, const bdl_prog *p, bdl_prog **q) {
  return check_program(p, w->kinds, false, w->list, q);
}

bdl_status bdl_transform_checkify(const bdl_prog *p, unsigned kinds, bdl_checks *list, bdl_prog **q) {
  bdl_prog *flat;
  TRY(bdl_ir_inline_plain(p, &flat));
  const bdl_status s = check_program(flat, kinds, true, list, q);
  bdl_prog_unref(flat);
  return s;
}

void bdl_checks_fini(bdl_context *c, bdl_checks *list) { BDL_VEC_FREE(c, list->v); }

/*
** simplify.c -- exact algebra: every rule gives the same bits, for NaN, infinities and -0 too, and shrinks the program or
** the work.  Above each rule stands its pattern; = is a literal, or a broadcast of one.
*/
#include <math.h>
#include <string.h>

#include "ir/rewrite.h"

/* One equation under the rules: operands are atoms of q. */
typedef struct site {
  bdl_rewrite *r;
  bdl_prog *q;
  const bdl_eqn *e;
  const bdl_atom *in;
  bdl_aval type; /* of result 0 */
  bdl_atom z;    /* what stands for result 0; BDL_ZERO: no rule has matched */
} site;

typedef bdl_status (*rule)(site *S);

static bdl_dtype dtype_of(const site *S, bdl_atom x) { return bdl_aval_of(S->q, x)->dtype; }
static bool literal(const site *S, int k, double v) { return bdl_ir_is_literal(S->q, S->in[k], v); }

static const bdl_eqn *made_by(const site *S, bdl_atom x, bdl_prim_id prim) {
  const bdl_eqn *e = bdl_ir_maker(S->q, x);
  return e && e->prim == prim ? e : NULL;
}

/* x is the result, if it has its type. */
static bdl_status is(site *S, bdl_atom x) {
  if (bdl_aval_eq(bdl_aval_of(S->q, x), &S->type)) S->z = x;
  return BDL_OK;
}

/* ---- one operand ---------------------------------------------------------------------------------- */

/* copy x -> x */
static bdl_status same_value(site *S) { return is(S, S->in[0]); }

/* neg neg x, not not x -> x */
static bdl_status twice(site *S) {
  const bdl_eqn *e = made_by(S, S->in[0], S->e->prim);
  return e ? is(S, e->in[0]) : BDL_OK;
}

static bool holds_all(bdl_dtype wide, bdl_dtype d) {
  switch (d) {
    case BDL_BOOL: return true;
    case BDL_I32: return wide == BDL_I64 || wide == BDL_F64 || wide == BDL_I32;
    case BDL_U32: return wide == BDL_I64 || wide == BDL_F64 || wide == BDL_U32;
    case BDL_F32: return wide == BDL_F64 || wide == BDL_F32;
    default: return wide == d;
  }
}

/* cast cast x -> cast x, where the first cast loses nothing.  Integers wrap, but floats saturate: over a float the result
** must hold the integer. */
static bdl_status cast(site *S) {
  const bdl_eqn *e = made_by(S, S->in[0], BDL_P_cast);
  if (!e) return BDL_OK;
  const bdl_dtype from = dtype_of(S, e->in[0]), over = dtype_of(S, S->in[0]), to = S->type.dtype;
  if (!holds_all(over, from)) return BDL_OK;
  if (bdl_dtype_is_int(from) && bdl_dtype_is_float(over) && bdl_dtype_is_int(to) && !holds_all(to, from)) return BDL_OK;
  return bdl_ir_cast(S->q, e->in[0], to, &S->z);
}

/* bitcast bitcast x -> bitcast x, or x */
static bdl_status bitcast(site *S) {
  const bdl_eqn *e = made_by(S, S->in[0], BDL_P_bitcast);
  const bdl_atom x = e ? e->in[0] : S->in[0];
  if (dtype_of(S, x) == S->type.dtype) return is(S, x);
  return e ? bdl_bind(S->q, BDL_P_bitcast, S->e->params, &x, 1, &S->z) : BDL_OK;
}

/* x^1 -> x, x^2 -> x * x */
static bdl_status integer_pow(site *S) {
  if (S->e->params[0].i == 1) return is(S, S->in[0]);
  return S->e->params[0].i == 2 ? bdl_bind2(S->q, BDL_P_mul, S->in[0], S->in[0], &S->z) : BDL_OK;
}

/* ---- two operands --------------------------------------------------------------------------------- */

/* x + -1*y -> x - y */
static bdl_status minus(site *S) {
  for (int k = 1; k >= 0 && S->z == BDL_ZERO; k--) {
    const bdl_eqn *e = made_by(S, S->in[k], BDL_P_mul);
    if (!e) continue;
    for (int i = 0; i < 2; i++)
      if (bdl_ir_is_literal(S->q, e->in[i], -1)) return bdl_bind2(S->q, BDL_P_sub, S->in[1 - k], e->in[1 - i], &S->z);
  }
  return BDL_OK;
}

/* x + -0.0, -0.0 + x -> x; integers: x + 0 */
static bdl_status add(site *S) {
  const double zero = bdl_dtype_is_float(S->type.dtype) ? -0.0 : 0;
  if (literal(S, 1, zero)) TRY(is(S, S->in[0]));
  if (S->z == BDL_ZERO && literal(S, 0, zero)) TRY(is(S, S->in[1]));
  return S->z == BDL_ZERO ? minus(S) : BDL_OK;
}

/* x - 0, x << 0, x >> 0, x xor 0 -> x */
static bdl_status zero_on_the_right(site *S) { return literal(S, 1, 0) ? is(S, S->in[0]) : BDL_OK; }

/* x * 1, 1 * x -> x */
static bdl_status mul(site *S) {
  if (literal(S, 1, 1)) TRY(is(S, S->in[0]));
  return S->z == BDL_ZERO && literal(S, 0, 1) ? is(S, S->in[1]) : BDL_OK;
}

/* The value of a float literal, or of a broadcast of one; NaN: it is none. */
static double value_of(const site *S, bdl_atom x) {
  const bdl_eqn *e = made_by(S, x, BDL_P_broadcast);
  const bdl_var *v = &S->q->vars.v[e ? e->in[0] : x];
  if (v->kind != BDL_V_LITERAL || !bdl_dtype_is_float(v->aval.dtype)) return NAN;
  return bdl_scalar_to_f64(v->aval.dtype, v->literal);
}

/* x / 1 -> x;  x / 2^k -> x * 2^-k, both normal: one rounding of the same real number */
static bdl_status divide(site *S) {
  const double d = value_of(S, S->in[1]);
  const int most = S->type.dtype == BDL_F32 ? 126 : 1022;
  bdl_atom inverse = BDL_ZERO;
  int k = 0;
  if (literal(S, 1, 1)) return is(S, S->in[0]);
  if (!isfinite(d) || fabs(frexp(d, &k)) != 0.5 || k - 1 > most || k - 1 < -most) return BDL_OK;
  if (!bdl_shape_eq(bdl_aval_of(S->q, S->in[0]), &S->type)) return BDL_OK;
  TRY(bdl_ir_scalar(S->q, S->type.dtype, 1 / d, &inverse));
  return bdl_bind2(S->q, BDL_P_mul, S->in[0], inverse, &S->z);
}

/* max(x, x), min(x, x), x and x, x or x -> x;  p and true, p or false -> p */
static bdl_status idempotent(site *S) {
  if (S->in[0] == S->in[1]) return is(S, S->in[0]);
  if (S->type.dtype != BDL_BOOL || (S->e->prim != BDL_P_and && S->e->prim != BDL_P_or)) return BDL_OK;
  for (int k = 0; k < 2 && S->z == BDL_ZERO; k++)
    if (literal(S, k, S->e->prim == BDL_P_and)) TRY(is(S, S->in[1 - k]));
  return BDL_OK;
}

/* p == true, p != false -> p */
static bdl_status compare_truth(site *S) {
  for (int k = 0; k < 2 && S->z == BDL_ZERO; k++)
    if (dtype_of(S, S->in[k]) == BDL_BOOL && literal(S, k, S->e->prim == BDL_P_eq)) TRY(is(S, S->in[1 - k]));
  return BDL_OK;
}

/* select = x y -> x or y;  select p x x -> x;  select (not p) x y -> select p y x;  select p true false -> p */
static bdl_status select_one(site *S) {
  const bdl_eqn *not = made_by(S, S->in[0], BDL_P_not);
  const bdl_aval type = S->type;
  for (int truth = 0; truth < 2; truth++)
    if (literal(S, 0, truth)) return bdl_ir_broadcast_to(S->q, S->in[truth ? 1 : 2], &type, &S->z);
  if (S->in[1] == S->in[2]) return bdl_ir_broadcast_to(S->q, S->in[1], &type, &S->z);
  if (type.dtype == BDL_BOOL && literal(S, 1, 1) && literal(S, 2, 0)) return is(S, S->in[0]);
  return not ? bdl_bind3(S->q, BDL_P_select, not->in[0], S->in[2], S->in[1], &S->z) : BDL_OK;
}

/* op (broadcast x) .. -> op x .. where the other operands still spread it;  op of broadcasts only -> broadcast (op ..) */
static bdl_status before_broadcast(site *S) {
  const bdl_aval type = S->type;
  bdl_aval small = {.ndim = 0};
  bdl_atom in[3];
  bool any = false;
  for (int k = 0; k < S->e->n_in; k++) {
    const bdl_eqn *e = made_by(S, S->in[k], BDL_P_broadcast);
    bool trailing = e != NULL; /* as NumPy would spread it */
    for (int i = 0; trailing && i < e->params[1].n; i++)
      trailing = e->params[1].ints[i] == e->params[0].n - e->params[1].n + i;
    in[k] = trailing ? e->in[0] : S->in[k];
    any |= trailing;
    TRY(bdl_broadcast(S->q->ctx, &small, bdl_aval_of(S->q, in[k]), &small));
  }
  if (!any) return BDL_OK;
  TRY(bdl_bind(S->q, S->e->prim, S->e->params, in, S->e->n_in, &S->z));
  return bdl_ir_broadcast_to(S->q, S->z, &type, &S->z);
}

/* ---- shapes --------------------------------------------------------------------------------------- */

/* reshape reshape x -> reshape x */
static bdl_status reshape(site *S) {
  const bdl_eqn *e = made_by(S, S->in[0], BDL_P_reshape);
  return e ? bdl_ir_reshape(S->q, e->in[0], S->e->params[0].n, S->e->params[0].ints, &S->z) : BDL_OK;
}

/* broadcast broadcast x -> broadcast x, through both lists of axes */
static bdl_status broadcast(site *S) {
  const bdl_eqn *e = made_by(S, S->in[0], BDL_P_broadcast);
  int64_t dims[BDL_MAX_NDIM];
  if (!e) return BDL_OK;
  const bdl_atom x = e->in[0];
  for (int i = 0; i < e->params[1].n; i++) dims[i] = S->e->params[1].ints[e->params[1].ints[i]];
  return bdl_bind(S->q, BDL_P_broadcast, (bdl_param[]){S->e->params[0], bdl_pints(dims, e->params[1].n)}, &x, 1, &S->z);
}

/* permute permute x -> permute x;  permute of nothing -> x */
static bdl_status permute(site *S) {
  const bdl_eqn *e = made_by(S, S->in[0], BDL_P_permute);
  const bdl_atom x = e ? e->in[0] : S->in[0];
  const int n = S->e->params[0].n;
  int64_t axes[BDL_MAX_NDIM];
  bool none = true;
  for (int i = 0; i < n; i++) {
    axes[i] = S->e->params[0].ints[i];
    if (e) axes[i] = e->params[0].ints[axes[i]];
    none &= axes[i] == i;
  }
  if (none) return is(S, x);
  return e ? bdl_bind(S->q, BDL_P_permute, (bdl_param[]){bdl_pints(axes, n)}, &x, 1, &S->z) : BDL_OK;
}

/* reverse reverse x -> x, over the same axes;  reverse along axes of one element -> x */
static bdl_status reverse(site *S) {
  const bdl_eqn *e = made_by(S, S->in[0], BDL_P_reverse);
  bool none = true;
  for (int i = 0; i < S->e->params[0].n; i++) none &= S->type.shape[S->e->params[0].ints[i]] <= 1;
  if (none) return is(S, S->in[0]);
  return e && bdl_param_eq(&e->params[0], &S->e->params[0]) ? is(S, e->in[0]) : BDL_OK;
}

/* slice of everything, join of one -> x: the shape is that of x only then */
static bdl_status whole(site *S) { return S->e->n_in == 1 ? is(S, S->in[0]) : BDL_OK; }

/* pad by nothing -> x */
static bdl_status pad(site *S) {
  for (int k = 0; k < 3; k++)
    for (int i = 0; i < S->e->params[k].n; i++)
      if (S->e->params[k].ints[i] != 0) return BDL_OK;
  return is(S, S->in[0]);
}

/* reduce over no axes -> x */
static bdl_status reduce(site *S) { return S->e->params[0].n == 0 ? is(S, S->in[0]) : BDL_OK; }

/* ---- the table of rules ---------------------------------------------------------------------------- */

static rule rule_of(bdl_prim_id p) {
  switch (p) {
    case BDL_P_copy: return same_value;
    case BDL_P_neg:
    case BDL_P_not: return twice;
    case BDL_P_cast: return cast;
    case BDL_P_bitcast: return bitcast;
    case BDL_P_integer_pow: return integer_pow;
    case BDL_P_add: return add;
    case BDL_P_sub:
    case BDL_P_xor:
    case BDL_P_shl:
    case BDL_P_shr:
    case BDL_P_sar: return zero_on_the_right;
    case BDL_P_mul: return mul;
    case BDL_P_div: return divide;
    case BDL_P_max:
    case BDL_P_min:
    case BDL_P_and:
    case BDL_P_or: return idempotent;
    case BDL_P_eq:
    case BDL_P_ne: return compare_truth;
    case BDL_P_select: return select_one;
    case BDL_P_reshape: return reshape;
    case BDL_P_broadcast: return broadcast;
    case BDL_P_permute: return permute;
    case BDL_P_reverse: return reverse;
    case BDL_P_slice:
    case BDL_P_concatenate: return whole;
    case BDL_P_pad: return pad;
    case BDL_P_reduce_sum:
    case BDL_P_reduce_prod:
    case BDL_P_reduce_max:
    case BDL_P_reduce_min:
    case BDL_P_reduce_and:
    case BDL_P_reduce_or: return reduce;
    default: return NULL;
  }
}

/* ---- control flow ---------------------------------------------------------------------------------- */

static bdl_status set_results(bdl_rewrite *r, const bdl_eqn *e, const bdl_atom *z) {
  r->changed = true;
  return bdl_ir_rw_set_all(r, e, z);
}

/* cond = x .. -> the equations of that branch */
static bdl_status take_branch(bdl_rewrite *r, const bdl_eqn *e, const bdl_atom *in) {
  const int64_t i = r->q->vars.v[in[0]].literal.i32, last = e->params[0].n - 1;
  bdl_atom *z = bdl_arena_alloc(&r->scratch, (size_t)e->n_out * sizeof *z);
  if (!z) return BDL_ENOMEM;
  TRY(bdl_ir_inline(r->q, e->params[0].progs[BDL_MAX(0, BDL_MIN(i, last))], in + 1, z));
  return set_results(r, e, z);
}

/* scan of length 0 -> what is carried, and empty rows */
static bdl_status skip_loop(bdl_rewrite *r, const bdl_eqn *e, const bdl_atom *in) {
  const int64_t consts = e->params[0].i, carry = e->params[1].i;
  bdl_atom *z = bdl_arena_alloc(&r->scratch, (size_t)e->n_out * sizeof *z);
  if (!z) return BDL_ENOMEM;
  for (int k = 0; k < e->n_out; k++)
    if (k < carry) z[k] = in[consts + k];
    else TRY(bdl_ir_full(r->q, bdl_aval_of(r->p, e->out[k]), 0, &z[k]));
  return set_results(r, e, z);
}

/* ---- the walk --------------------------------------------------------------------------------------- */

static bdl_status pass_body(void *ud, const bdl_prog *p, bdl_prog **q) {
  (void)ud;
  return bdl_pass_simplify(p, q);
}

static bdl_status simplify_eqn(bdl_rewrite *r, const bdl_eqn *e) {
  const bdl_atom *in = bdl_ir_rw_operands(r, e);
  if (!in) return BDL_ENOMEM;
  if (e->prim == BDL_P_cond && r->q->vars.v[in[0]].kind == BDL_V_LITERAL) return take_branch(r, e, in);
  if (e->prim == BDL_P_scan && e->params[2].i == 0) return skip_loop(r, e, in);
  if (bdl_ir_has_bodies(e)) return bdl_ir_rw_copy_bodies(r, e, pass_body, NULL);
  const rule f = rule_of(e->prim);
  site S = {.r = r, .q = r->q, .e = e, .in = in, .z = BDL_ZERO};
  if (e->n_out > 0) S.type = *bdl_aval_of(r->p, e->out[0]);
  r->q->src = e->src;
  if (f) TRY(f(&S));
  if (S.z == BDL_ZERO && (bdl_prims[e->prim].flags & BDL_F_ELEMENTWISE)) TRY(before_broadcast(&S));
  return S.z == BDL_ZERO ? bdl_ir_rw_copy(r, e) : set_results(r, e, &S.z);
}

bdl_status bdl_pass_simplify(const bdl_prog *p, bdl_prog **q) {
  bdl_rewrite r;
  bdl_status s = bdl_ir_rw_begin(&r, p);
  for (int64_t i = 0; s == BDL_OK && i < p->eqns.n; i++) s = simplify_eqn(&r, &p->eqns.v[i]);
  if (s == BDL_OK) r.q->src = p->src;
  return bdl_ir_rw_end(&r, s, q);
}

/*
** elementwise.c -- rules of primitives that work one element at a time.
**
** Types: operands of one dtype, broadcast together as NumPy does.
** Derivatives: the tangent of z has z's shape; integers and booleans have no tangent.  A jvp rule writes the factor
** from x (or z, where that is cheaper) and one product with dx, so that only that product is linear.
*/
#include "prim/check.h"
#include "prim/rules.h"

/* ---- types ------------------------------------------------------------------------------------ */

#define FLOATS (1u << BDL_F32 | 1u << BDL_F64)
#define INTS (1u << BDL_I32 | 1u << BDL_I64 | 1u << BDL_U32)
#define BOOL (1u << BDL_BOOL)

/* All operands of one dtype out of a set; out: their common shape. */
static bdl_status same_dtype(bdl_context *c, unsigned dtypes, const bdl_aval *in, int n_in, bdl_aval *out) {
  char s[BDL_AVAL_TEXT], t[BDL_AVAL_TEXT];
  bdl_aval z = in[0];
  for (int i = 1; i < n_in; i++) {
    if (in[i].dtype != z.dtype)
      return bdl_fail(c, BDL_ETYPE, "dtypes differ, %s and %s", bdl_aval_text(&in[0], false, s), bdl_aval_text(&in[i], false, t));
    TRY(bdl_broadcast(c, &z, &in[i], &z));
  }
  if (!(dtypes >> z.dtype & 1)) {
    bdl_fail(c, BDL_ETYPE, "not defined on %s, only on", bdl_aval_text(&in[0], false, s));
    for (int d = 0, n = 0; d < BDL_DTYPE_COUNT; d++)
      if (dtypes >> d & 1) bdl_fail(c, BDL_ETYPE, "%s%s%s", c->error.message, n++ ? ", " : " ", bdl_dtype_name((bdl_dtype)d));
    return BDL_ETYPE;
  }
  *out = z;
  return BDL_OK;
}

#define TYPE_RULE(name, dtypes)                                                                                         \
  bdl_status bdl_type_##name(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {         \
    (void)p;                                                                                                            \
    return same_dtype(c, dtypes, in, n_in, out);                                                                        \
  }

TYPE_RULE(same, FLOATS | INTS | BOOL)
TYPE_RULE(same_num, FLOATS | INTS)
TYPE_RULE(same_float, FLOATS)
TYPE_RULE(same_int, INTS)
TYPE_RULE(same_bits, INTS | BOOL)
TYPE_RULE(broadcast_any, FLOATS | INTS | BOOL)
TYPE_RULE(broadcast_num, FLOATS | INTS)
TYPE_RULE(broadcast_float, FLOATS)
TYPE_RULE(broadcast_int, INTS)
TYPE_RULE(broadcast_bits, INTS | BOOL)
TYPE_RULE(clamp, FLOATS | INTS)

bdl_status bdl_type_to_bool_float(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  TRY(bdl_type_same_float(c, p, in, n_in, out));
  out->dtype = BDL_BOOL;
  return BDL_OK;
}

bdl_status bdl_type_compare(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  TRY(bdl_type_broadcast_any(c, p, in, n_in, out));
  out->dtype = BDL_BOOL;
  return BDL_OK;
}

/* params: dtype */
bdl_status bdl_type_cast(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)c, (void)n_in;
  *out = in[0];
  out->dtype = (bdl_dtype)p[0].i;
  return BDL_OK;
}

bdl_status bdl_type_bitcast(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  TRY(bdl_type_cast(c, p, in, n_in, out));
  if (bdl_dtype_size(in[0].dtype) == bdl_dtype_size(out->dtype)) return BDL_OK;
  return BDL_FAIL_PRIM(c, BDL_ETYPE, "bitcast", "%s and %s have elements of different sizes", BDL_TEXT(&in[0]), BDL_TEXT(out));
}

/* params: y */
bdl_status bdl_type_integer_pow(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  if (p[0].i < 0 && bdl_dtype_is_int(in[0].dtype))
    return BDL_FAIL_PRIM(c, BDL_EVALUE, "integer_pow", "%s has no power %" PRId64, BDL_TEXT(&in[0]), p[0].i);
  return bdl_type_same_num(c, p, in, n_in, out);
}

/* params: n */
bdl_status bdl_type_polygamma(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  if (p[0].i < 0 || p[0].i > 1000)
    return BDL_FAIL_PRIM(c, BDL_EVALUE, "polygamma", "n is %" PRId64 ", not one of 0 .. 1000", p[0].i);
  return bdl_type_same_float(c, p, in, n_in, out);
}

bdl_status bdl_type_select(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  bdl_aval z;
  if (in[0].dtype != BDL_BOOL) return BDL_FAIL_PRIM(c, BDL_ETYPE, "select", "the predicate is %s, not bool", BDL_TEXT(&in[0]));
  TRY(bdl_type_broadcast_any(c, p, in + 1, n_in - 1, &z));
  const bdl_dtype d = z.dtype;
  TRY(bdl_broadcast(c, &in[0], &z, out));
  out->dtype = d;
  return BDL_OK;
}

/* ---- what derivative rules share ---------------------------------------------------------------- */

bdl_status bdl_rule_add(bdl_prog *b, bdl_atom x, bdl_atom y, bdl_atom *z) {
  if (bdl_is_zero(x) || bdl_is_zero(y)) {
    *z = bdl_is_zero(x) ? y : x;
    return BDL_OK;
  }
  return bdl_bind2(b, BDL_P_add, x, y, z);
}

bdl_status bdl_rule_unbroadcast(bdl_prog *b, bdl_atom ct, const bdl_aval *to, bdl_atom *z) {
  const bdl_aval from = *bdl_aval_of(b, ct), want = *to; /* either may lie in b, which grows */
  const int before = from.ndim - want.ndim;
  int64_t axes[BDL_MAX_NDIM];
  int n = 0;
  for (int i = 0; i < from.ndim; i++)
    if (i < before || (want.shape[i - before] == 1 && from.shape[i] != 1)) axes[n++] = i;
  if (n > 0) TRY(bdl_bind(b, BDL_P_reduce_sum, (bdl_param[]){bdl_pints(axes, n)}, &ct, 1, &ct));
  return bdl_ir_reshape(b, ct, want.ndim, want.shape, z);
}

static bool is_float(const bdl_prog *b, bdl_atom x) { return bdl_dtype_is_float(bdl_aval_of(b, x)->dtype); }

/* A scalar of x's dtype. */
static bdl_status number(bdl_prog *b, bdl_atom x, double v, bdl_atom *z) {
  return bdl_ir_scalar(b, bdl_aval_of(b, x)->dtype, v, z);
}

/* z = op(x, v) and z = op(v, x), v a number */
static bdl_status op_number(bdl_prog *b, bdl_prim_id op, bdl_atom x, double v, bdl_atom *z) {
  bdl_atom y = BDL_ZERO;
  TRY(number(b, x, v, &y));
  return bdl_bind2(b, op, x, y, z);
}

static bdl_status number_op(bdl_prog *b, bdl_prim_id op, double v, bdl_atom x, bdl_atom *z) {
  bdl_atom y = BDL_ZERO;
  TRY(number(b, x, v, &y));
  return bdl_bind2(b, op, y, x, z);
}

/* dx in the shape of z. */
static bdl_status spread(bdl_prog *b, bdl_atom dx, bdl_atom z, bdl_atom *dz) {
  const bdl_aval a = *bdl_aval_of(b, z);
  return bdl_ir_broadcast_to(b, dx, &a, dz);
}

/* dz += f dx, f in z's shape or one that broadcasts to it */
static bdl_status add_term(bdl_prog *b, bdl_atom f, bdl_atom dx, bdl_atom z, bdl_atom *dz) {
  bdl_atom t = BDL_ZERO;
  TRY(bdl_bind2(b, BDL_P_mul, dx, f, &t));
  TRY(spread(b, t, z, &t));
  return bdl_rule_add(b, *dz, t, dz);
}

/* ---- jvp: one operand --------------------------------------------------------------------------- */

#define JVP(name)                                                                                                    \
  bdl_status bdl_jvp_##name(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, const bdl_atom *dx, const bdl_atom *z, \
                            bdl_atom *dz)
#define UNUSED (void)b, (void)e, (void)x, (void)dx, (void)z, (void)dz

/* Piecewise constant, or made without reals. */
JVP(zero) {
  UNUSED;
  for (int i = 0; i < e->n_out; i++) dz[i] = BDL_ZERO;
  return BDL_OK;
}

JVP(identity) {
  UNUSED;
  dz[0] = dx[0];
  return BDL_OK;
}

JVP(neg) {
  UNUSED;
  return bdl_bind1(b, BDL_P_neg, dx[0], dz);
}

JVP(cast) {
  UNUSED;
  dz[0] = BDL_ZERO;
  return is_float(b, z[0]) ? bdl_ir_cast(b, dx[0], (bdl_dtype)e->params[0].i, dz) : BDL_OK;
}

/* A rule `dz = dx op f`: the body makes f from x = x[0] and y = f(x). */
#define JVP_FACTOR(name, op, ...)                                                                           \
  static bdl_status factor_##name(bdl_prog *b, const bdl_eqn *e, bdl_atom x, bdl_atom y, bdl_atom *f) {     \
    (void)b, (void)e, (void)x, (void)y;                                                                     \
    __VA_ARGS__                                                                                             \
    return BDL_OK;                                                                                          \
  }                                                                                                         \
  JVP(name) {                                                                                               \
    bdl_atom f = BDL_ZERO;                                                                                  \
    TRY(factor_##name(b, e, x[0], z[0], &f));                                                               \
    return bdl_bind2(b, op, dx[0], f, dz);                                                                  \
  }
/* f = v op x, x op v, op(x), x op y in a factor */
#define NUM_OP(v, op, x) TRY(number_op(b, BDL_P_##op, v, x, f))
#define OP_NUM(op, x, v) TRY(op_number(b, BDL_P_##op, x, v, f))
#define OP1(op, x) TRY(bdl_bind1(b, BDL_P_##op, x, f))
#define OP2(op, x, y) TRY(bdl_bind2(b, BDL_P_##op, x, y, f))
#define TIMES BDL_P_mul
#define OVER BDL_P_div

/* 1 at 0, as in JAX */
JVP_FACTOR(abs, TIMES, {
  bdl_atom up = BDL_ZERO, one = BDL_ZERO, minus = BDL_ZERO;
  TRY(number(b, x, 1, &one));
  TRY(number(b, x, -1, &minus));
  TRY(op_number(b, BDL_P_ge, x, 0, &up));
  TRY(bdl_bind3(b, BDL_P_select, up, one, minus, f));
})
JVP_FACTOR(exp, TIMES, *f = y;)
JVP_FACTOR(exp2, TIMES, OP_NUM(mul, y, 0.693147180559945309417);)
JVP_FACTOR(expm1, TIMES, OP_NUM(add, y, 1);)
JVP_FACTOR(log, OVER, *f = x;)
JVP_FACTOR(log2, OVER, OP_NUM(mul, x, 0.693147180559945309417);)
JVP_FACTOR(log10, OVER, OP_NUM(mul, x, 2.30258509299404568402);)
JVP_FACTOR(log1p, OVER, OP_NUM(add, x, 1);)
JVP_FACTOR(sin, TIMES, OP1(cos, x);)
JVP_FACTOR(cos, TIMES, OP1(sin, x); OP1(neg, *f);)
JVP_FACTOR(tan, TIMES, OP2(mul, y, y); OP_NUM(add, *f, 1);)                          /* 1 + tan^2 */
JVP_FACTOR(asin, TIMES, OP2(mul, x, x); NUM_OP(1, sub, *f); OP1(rsqrt, *f);)         /* 1/sqrt(1 - x^2) */
JVP_FACTOR(acos, TIMES, OP2(mul, x, x); NUM_OP(1, sub, *f); OP1(rsqrt, *f); OP1(neg, *f);)
JVP_FACTOR(atan, OVER, OP2(mul, x, x); OP_NUM(add, *f, 1);)
JVP_FACTOR(sinh, TIMES, OP1(cosh, x);)
JVP_FACTOR(cosh, TIMES, OP1(sinh, x);)
JVP_FACTOR(tanh, TIMES, OP2(mul, y, y); NUM_OP(1, sub, *f);)                         /* 1 - tanh^2 */
JVP_FACTOR(asinh, TIMES, OP2(mul, x, x); OP_NUM(add, *f, 1); OP1(rsqrt, *f);)        /* 1/sqrt(x^2 + 1) */
JVP_FACTOR(acosh, TIMES, OP2(mul, x, x); OP_NUM(sub, *f, 1); OP1(rsqrt, *f);)
JVP_FACTOR(atanh, OVER, OP2(mul, x, x); NUM_OP(1, sub, *f);)
/* 2/sqrt(pi) e^-x^2 */
JVP_FACTOR(erf, TIMES, OP2(mul, x, x); OP1(neg, *f); OP1(exp, *f); OP_NUM(mul, *f, 1.12837916709551257390);)
JVP_FACTOR(erfc, TIMES, OP2(mul, x, x); OP1(neg, *f); OP1(exp, *f); OP_NUM(mul, *f, -1.12837916709551257390);)
JVP_FACTOR(erfinv, TIMES, OP2(mul, y, y); OP1(exp, *f); OP_NUM(mul, *f, 0.886226925452758013649);) /* sqrt(pi)/2 e^y^2 */
JVP_FACTOR(lgamma, TIMES, OP1(digamma, x);)
JVP_FACTOR(digamma, TIMES, TRY(bdl_bind(b, BDL_P_polygamma, (bdl_param[]){bdl_pint(1)}, &x, 1, f));)
JVP_FACTOR(polygamma, TIMES, TRY(bdl_bind(b, e->prim, (bdl_param[]){bdl_pint(e->params[0].i + 1)}, &x, 1, f));)
JVP_FACTOR(sqrt, OVER, OP_NUM(mul, y, 2);)
JVP_FACTOR(rsqrt, TIMES, OP2(div, y, x); OP_NUM(mul, *f, -0.5);)                     /* -y/(2x) */
JVP_FACTOR(cbrt, OVER, OP2(mul, y, y); OP_NUM(mul, *f, 3);)
JVP_FACTOR(sigmoid, TIMES, bdl_atom r = BDL_ZERO; TRY(number_op(b, BDL_P_sub, 1, y, &r)); OP2(mul, y, r);)
JVP_FACTOR(softplus, TIMES, OP1(sigmoid, x);)

/* y' = (e^x - y)/x loses its digits near 0; there y' = sum of (k + 1)/(k + 2)! x^k, and nothing is divided by 0, so that
** reverse mode may pass. */
JVP_FACTOR(exprel, TIMES, {
  bdl_atom far = BDL_ZERO, near = BDL_ZERO, size = BDL_ZERO, small = BDL_ZERO, over = BDL_ZERO;
  const double series[] = {1.0 / 45360, 1.0 / 5760, 1.0 / 840, 1.0 / 144, 1.0 / 30, 1.0 / 8, 1.0 / 3, 1.0 / 2};
  TRY(bdl_bind1(b, BDL_P_abs, x, &size));
  TRY(op_number(b, BDL_P_lt, size, 0.1, &small));
  TRY(number(b, x, 1, &over));
  TRY(bdl_bind3(b, BDL_P_select, small, over, x, &over));
  TRY(bdl_bind1(b, BDL_P_exp, x, &far));
  TRY(bdl_bind2(b, BDL_P_sub, far, y, &far));
  TRY(bdl_bind2(b, BDL_P_div, far, over, &far));
  TRY(op_number(b, BDL_P_mul, x, series[0], &near));
  for (int i = 1; i < BDL_LEN(series); i++) {
    TRY(op_number(b, BDL_P_add, near, series[i], &near));
    if (i + 1 < BDL_LEN(series)) TRY(bdl_bind2(b, BDL_P_mul, near, x, &near));
  }
  TRY(bdl_bind3(b, BDL_P_select, small, near, far, f));
})

/* d x^n = n x^(n-1) */
JVP_FACTOR(integer_pow, TIMES, {
  const int64_t n = e->params[0].i;
  if (n == 0) return number(b, x, 0, f);
  TRY(bdl_bind(b, BDL_P_integer_pow, (bdl_param[]){bdl_pint(n == INT64_MIN ? n : n - 1)}, &x, 1, f));
  OP_NUM(mul, *f, (double)n);
})

/* ---- jvp: several operands ------------------------------------------------------------------------ */

JVP(add) {
  UNUSED;
  dz[0] = BDL_ZERO;
  for (int i = 0; i < 2; i++) {
    bdl_atom t = BDL_ZERO;
    if (bdl_is_zero(dx[i])) continue;
    TRY(spread(b, dx[i], z[0], &t));
    TRY(bdl_rule_add(b, dz[0], t, dz));
  }
  return BDL_OK;
}

JVP(sub) {
  UNUSED;
  if (bdl_is_zero(dx[1])) return spread(b, dx[0], z[0], dz);
  if (!bdl_is_zero(dx[0])) return bdl_bind2(b, BDL_P_sub, dx[0], dx[1], dz);
  TRY(bdl_bind1(b, BDL_P_neg, dx[1], dz));
  return spread(b, dz[0], z[0], dz);
}

/* d(xy) = dx y + x dy */
JVP(mul) {
  UNUSED;
  dz[0] = BDL_ZERO;
  for (int i = 0; i < 2; i++)
    if (!bdl_is_zero(dx[i])) TRY(add_term(b, x[1 - i], dx[i], z[0], dz));
  return BDL_OK;
}

/* d(x/y) = dx/y - (z/y) dy */
JVP(div) {
  UNUSED;
  bdl_atom f = BDL_ZERO;
  dz[0] = BDL_ZERO;
  if (!bdl_is_zero(dx[0])) TRY(bdl_bind2(b, BDL_P_div, dx[0], x[1], dz));
  if (bdl_is_zero(dx[1])) return BDL_OK;
  TRY(bdl_bind2(b, BDL_P_div, z[0], x[1], &f));
  TRY(bdl_bind1(b, BDL_P_neg, f, &f));
  return add_term(b, f, dx[1], z[0], dz);
}

/* z = x - q y with the whole number q = round_to(x/y): dz = dx - q dy */
static bdl_status jvp_remainder(bdl_prog *b, bdl_prim_id round_to, const bdl_atom *x, const bdl_atom *dx,
                                const bdl_atom *z, bdl_atom *dz) {
  bdl_atom q = BDL_ZERO;
  dz[0] = BDL_ZERO;
  if (!bdl_is_zero(dx[0])) TRY(spread(b, dx[0], z[0], dz));
  if (bdl_is_zero(dx[1])) return BDL_OK;
  TRY(bdl_bind2(b, BDL_P_div, x[0], x[1], &q));
  TRY(bdl_bind1(b, round_to, q, &q));
  TRY(bdl_bind1(b, BDL_P_neg, q, &q));
  return add_term(b, q, dx[1], z[0], dz);
}

JVP(rem) {
  UNUSED;
  return jvp_remainder(b, BDL_P_trunc, x, dx, z, dz);
}

JVP(mod) {
  UNUSED;
  return jvp_remainder(b, BDL_P_floor, x, dx, z, dz);
}

/* d x^y = y x^(y-1) dx + log(x) x^y dy; the first factor is 0 where both are 0, the second where x is 0. */
JVP(pow) {
  UNUSED;
  bdl_atom f = BDL_ZERO, zero = BDL_ZERO, flag = BDL_ZERO, one = BDL_ZERO, nought = BDL_ZERO;
  dz[0] = BDL_ZERO;
  TRY(number(b, z[0], 0, &zero));
  TRY(bdl_bind2(b, BDL_P_eq, x[0], zero, &nought));
  if (!bdl_is_zero(dx[0])) {
    TRY(op_number(b, BDL_P_sub, x[1], 1, &f));
    TRY(bdl_bind2(b, BDL_P_pow, x[0], f, &f));
    TRY(bdl_bind2(b, BDL_P_mul, f, x[1], &f));
    TRY(bdl_bind2(b, BDL_P_eq, x[1], zero, &flag));
    TRY(bdl_bind3(b, BDL_P_select, nought, zero, f, &zero));
    TRY(bdl_bind3(b, BDL_P_select, flag, zero, f, &f)); /* a literal y: f alone */
    TRY(add_term(b, f, dx[0], z[0], dz));
  }
  if (bdl_is_zero(dx[1])) return BDL_OK;
  TRY(number(b, z[0], 1, &one));
  TRY(bdl_bind3(b, BDL_P_select, nought, one, x[0], &f));
  TRY(bdl_bind1(b, BDL_P_log, f, &f));
  TRY(bdl_bind2(b, BDL_P_mul, f, z[0], &f));
  return add_term(b, f, dx[1], z[0], dz);
}

/* d atan2(y, x) = (x dy - y dx)/(x^2 + y^2); operands y, x */
JVP(atan2) {
  UNUSED;
  bdl_atom rr = BDL_ZERO, yy = BDL_ZERO, f = BDL_ZERO;
  dz[0] = BDL_ZERO;
  TRY(bdl_bind2(b, BDL_P_mul, x[0], x[0], &yy));
  TRY(bdl_bind2(b, BDL_P_mul, x[1], x[1], &rr));
  TRY(bdl_bind2(b, BDL_P_add, rr, yy, &rr));
  for (int i = 0; i < 2; i++) {
    if (bdl_is_zero(dx[i])) continue;
    TRY(bdl_bind2(b, BDL_P_div, x[1 - i], rr, &f));
    if (i == 1) TRY(bdl_bind1(b, BDL_P_neg, f, &f));
    TRY(add_term(b, f, dx[i], z[0], dz));
  }
  return BDL_OK;
}

/* Where the operands are equal each gets half. */
static bdl_status jvp_extremum(bdl_prog *b, bdl_prim_id better, const bdl_atom *x, const bdl_atom *dx,
                               const bdl_atom *z, bdl_atom *dz) {
  bdl_atom tie = BDL_ZERO, half = BDL_ZERO, zero = BDL_ZERO, one = BDL_ZERO;
  dz[0] = BDL_ZERO;
  TRY(bdl_bind2(b, BDL_P_eq, x[0], x[1], &tie));
  TRY(number(b, z[0], 0.5, &half));
  TRY(number(b, z[0], 0, &zero));
  TRY(number(b, z[0], 1, &one));
  for (int i = 0; i < 2; i++) {
    bdl_atom f = BDL_ZERO;
    if (bdl_is_zero(dx[i])) continue;
    TRY(bdl_bind2(b, better, x[i], x[1 - i], &f));
    TRY(bdl_bind3(b, BDL_P_select, f, one, zero, &f));
    TRY(bdl_bind3(b, BDL_P_select, tie, half, f, &f));
    TRY(add_term(b, f, dx[i], z[0], dz));
  }
  return BDL_OK;
}

JVP(max) {
  UNUSED;
  return jvp_extremum(b, BDL_P_gt, x, dx, z, dz);
}

JVP(min) {
  UNUSED;
  return jvp_extremum(b, BDL_P_lt, x, dx, z, dz);
}

/* dx or zeros, so that a linear select can take it */
static bdl_status or_zero(bdl_prog *b, bdl_atom dx, bdl_atom like, bdl_atom *z) {
  *z = dx;
  return bdl_is_zero(dx) ? number(b, like, 0, z) : BDL_OK;
}

JVP(select) {
  UNUSED;
  bdl_atom t = BDL_ZERO, u = BDL_ZERO;
  dz[0] = BDL_ZERO;
  if (bdl_is_zero(dx[1]) && bdl_is_zero(dx[2])) return BDL_OK;
  TRY(or_zero(b, dx[1], z[0], &t));
  TRY(or_zero(b, dx[2], z[0], &u));
  TRY(bdl_bind3(b, BDL_P_select, x[0], t, u, dz));
  return spread(b, dz[0], z[0], dz);
}

/* z = min(max(x, lo), hi), operands lo x hi: the tangent of the operand that z is; none where two are equal, as in JAX. */
JVP(clamp) {
  UNUSED;
  const bdl_atom lo = x[0], hi = x[2];
  dz[0] = BDL_ZERO;
  for (int i = 0; i < 3; i++) {
    bdl_atom chosen = BDL_ZERO, other = BDL_ZERO, zero = BDL_ZERO, t = BDL_ZERO;
    if (bdl_is_zero(dx[i])) continue;
    if (i == 2) {
      TRY(bdl_bind2(b, BDL_P_max, x[1], lo, &other));
      TRY(bdl_bind2(b, BDL_P_lt, hi, other, &chosen));
    } else { /* x between its bounds, lo between x and hi */
      TRY(bdl_bind2(b, BDL_P_lt, x[1 - i], x[i], &chosen));
      TRY(bdl_bind2(b, BDL_P_lt, x[i], hi, &other));
      TRY(bdl_bind2(b, BDL_P_and, chosen, other, &chosen));
    }
    TRY(number(b, z[0], 0, &zero));
    TRY(bdl_bind3(b, BDL_P_select, chosen, dx[i], zero, &t));
    TRY(spread(b, t, z[0], &t));
    TRY(bdl_rule_add(b, dz[0], t, dz));
  }
  return BDL_OK;
}

/* ---- transpose ------------------------------------------------------------------------------------ */

#define TRANSPOSE(name)                                                                                              \
  bdl_status bdl_transpose_##name(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, const bool *is_linear,           \
                                  const bdl_atom *ct, bdl_atom *ct_in)

/* The cotangent of operand i, whose shape may be smaller. */
static bdl_status give(bdl_prog *b, const bdl_atom *x, int i, bdl_atom ct, bdl_atom *ct_in) {
  return bdl_rule_unbroadcast(b, ct, bdl_aval_of(b, x[i]), &ct_in[i]);
}

TRANSPOSE(identity) {
  (void)b, (void)e, (void)x, (void)is_linear;
  ct_in[0] = ct[0];
  return BDL_OK;
}

TRANSPOSE(neg) {
  (void)e, (void)x, (void)is_linear;
  return bdl_bind1(b, BDL_P_neg, ct[0], ct_in);
}

TRANSPOSE(cast) {
  (void)e, (void)is_linear;
  return bdl_ir_cast(b, ct[0], bdl_aval_of(b, x[0])->dtype, ct_in);
}

TRANSPOSE(add) {
  (void)e;
  for (int i = 0; i < 2; i++)
    if (is_linear[i]) TRY(give(b, x, i, ct[0], ct_in));
  return BDL_OK;
}

TRANSPOSE(sub) {
  (void)e;
  if (is_linear[0]) TRY(give(b, x, 0, ct[0], ct_in));
  if (!is_linear[1]) return BDL_OK;
  TRY(give(b, x, 1, ct[0], ct_in));
  return bdl_bind1(b, BDL_P_neg, ct_in[1], &ct_in[1]);
}

TRANSPOSE(mul) {
  (void)e;
  const int i = is_linear[0] ? 0 : 1;
  bdl_atom t = BDL_ZERO;
  TRY(bdl_bind2(b, BDL_P_mul, ct[0], x[1 - i], &t));
  return give(b, x, i, t, ct_in);
}

/* Linear in the dividend. */
TRANSPOSE(div) {
  (void)e, (void)is_linear;
  bdl_atom t = BDL_ZERO;
  TRY(bdl_bind2(b, BDL_P_div, ct[0], x[1], &t));
  return give(b, x, 0, t, ct_in);
}

TRANSPOSE(select) {
  (void)e;
  bdl_atom zero = BDL_ZERO, t = BDL_ZERO;
  TRY(number(b, ct[0], 0, &zero));
  for (int i = 1; i < 3; i++) {
    if (!is_linear[i]) continue;
    TRY(bdl_bind3(b, BDL_P_select, x[0], i == 1 ? ct[0] : zero, i == 1 ? zero : ct[0], &t));
    TRY(give(b, x, i, t, ct_in));
  }
  return BDL_OK;
}

/* ---- lanes -------------------------------------------------------------------------------------- */

bdl_status bdl_rule_lanes(bdl_prog *b, bdl_atom x, bool batched, int64_t size, bdl_atom *z) {
  const bdl_aval a = *bdl_aval_of(b, x);
  int64_t shape[BDL_MAX_NDIM + 1], dims[BDL_MAX_NDIM];
  *z = x;
  if (batched) return BDL_OK;
  for (int i = 0; i < a.ndim; i++) dims[i] = i + 1;
  const bdl_param own = bdl_pints(a.shape, a.ndim);
  return bdl_bind(b, BDL_P_broadcast, (bdl_param[]){bdl_rule_with_lanes(&own, size, shape), bdl_pints(dims, a.ndim)}, &x, 1, z);
}

/* Operands broadcast from the last axis on, so those with lanes need one rank. */
BDL_BATCH(elementwise) {
  bdl_atom in[3];
  int rank = 0;
  (void)out_batched;
  for (int i = 0; i < e->n_in; i++) rank = BDL_MAX(rank, bdl_aval_of(b, x[i])->ndim - batched[i]);
  for (int i = 0; i < e->n_in; i++) {
    const bdl_aval a = *bdl_aval_of(b, x[i]);
    int64_t shape[BDL_MAX_NDIM + 1] = {size};
    in[i] = x[i];
    if (!batched[i] || a.ndim == rank + 1) continue;
    for (int k = 1; k <= rank; k++) shape[k] = k < rank + 2 - a.ndim ? 1 : a.shape[k - (rank + 1 - a.ndim)];
    TRY(bdl_ir_reshape(b, x[i], rank + 1, shape, &in[i]));
  }
  return bdl_bind(b, e->prim, e->params, in, e->n_in, z);
}

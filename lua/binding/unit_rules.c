/*
** unit_rules.c -- what each operation does to units: one row a primitive, one row a function of the array library.
**
** A row says what its operands must be, one letter an operand ('*' repeats the letter before it):
**   a   share one unit; the first decides it, or the one written A.  With `zero` a plain 0 goes with any unit
**   b   a second unit of its own
**   p   a plain number: a dimensionless unit is converted, any other is an error
**   e   an exponent: p with its own error
**   .   anything; its unit is ignored
** and what the result has.  Operands beyond the letters are p.
** Which operations are errors, and of which kind, follows brainunit (saiunit 0.5.2): golden/units/errors.lua.
*/
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "binding/unit.h"
#include "prim/prim.h"

typedef enum result {
  PLAIN,   /* plain numbers */
  UNIT,    /* a */
  FIRST,   /* the first result a, the others plain */
  EACH,    /* result i the unit of operand i */
  PRODUCT, /* a b */
  OVER,    /* a / b */
  UNDER,   /* b / a */
  POWER,   /* a^power */
  NUMBER,  /* a^number of the call */
  RATIO    /* floor(a / b): needs both in one unit */
} result;

typedef struct rule {
  const char *operands;
  result result;
  bool zero;
  bdl_status mixed; /* when a plain number meets a unit; BDL_OK: BDL_EUNIT */
  double power;
  const char *verb;  /* "cannot <verb> x and y"; NULL: the name is used */
  const char *label; /* the name users know, when it is another */
} rule;

#define KEEP {.operands = "a", .result = UNIT}
#define DROP {.operands = ".*", .result = PLAIN}
#define NEEDS_PLAIN {.operands = "p*", .result = PLAIN}
#define NEEDS_PLAIN_AS(name) {.operands = "p*", .result = PLAIN, .label = name}
#define SUM(v) {.operands = "aa", .result = UNIT, .zero = true, .verb = v}
#define COMPARE {.operands = "aa", .result = PLAIN, .zero = true, .verb = "compare"}
#define CHOOSE(ops, name) {.operands = ops, .result = UNIT, .mixed = BDL_ETYPE, .label = name}
#define JOIN(v) {.operands = "a*", .result = UNIT, .verb = v}
#define WRITE(ops, v) {.operands = ops, .result = UNIT, .zero = true, .verb = v}
#define PRODUCT_OF(ops) {.operands = ops, .result = PRODUCT}
#define TO_THE(x) {.operands = "a", .result = POWER, .power = x}

static const rule prim_rules[BDL_P_COUNT] = {
  [BDL_P_neg] = KEEP,
  [BDL_P_sign] = DROP,
  [BDL_P_abs] = KEEP,
  [BDL_P_floor] = KEEP,
  [BDL_P_ceil] = KEEP,
  [BDL_P_round] = KEEP,
  [BDL_P_trunc] = KEEP,
  [BDL_P_exp] = NEEDS_PLAIN,
  [BDL_P_exp2] = NEEDS_PLAIN,
  [BDL_P_expm1] = NEEDS_PLAIN,
  [BDL_P_exprel] = NEEDS_PLAIN,
  [BDL_P_log] = NEEDS_PLAIN,
  [BDL_P_log2] = NEEDS_PLAIN,
  [BDL_P_log10] = NEEDS_PLAIN,
  [BDL_P_log1p] = NEEDS_PLAIN,
  [BDL_P_sin] = NEEDS_PLAIN,
  [BDL_P_cos] = NEEDS_PLAIN,
  [BDL_P_tan] = NEEDS_PLAIN,
  [BDL_P_asin] = NEEDS_PLAIN,
  [BDL_P_acos] = NEEDS_PLAIN,
  [BDL_P_atan] = NEEDS_PLAIN,
  [BDL_P_sinh] = NEEDS_PLAIN,
  [BDL_P_cosh] = NEEDS_PLAIN,
  [BDL_P_tanh] = NEEDS_PLAIN,
  [BDL_P_asinh] = NEEDS_PLAIN,
  [BDL_P_acosh] = NEEDS_PLAIN,
  [BDL_P_atanh] = NEEDS_PLAIN,
  [BDL_P_erf] = NEEDS_PLAIN,
  [BDL_P_erfc] = NEEDS_PLAIN,
  [BDL_P_erfinv] = NEEDS_PLAIN,
  [BDL_P_draw_erfinv] = NEEDS_PLAIN,
  [BDL_P_lgamma] = NEEDS_PLAIN,
  [BDL_P_digamma] = NEEDS_PLAIN,
  [BDL_P_polygamma] = NEEDS_PLAIN,
  [BDL_P_sqrt] = TO_THE(0.5),
  [BDL_P_rsqrt] = TO_THE(-0.5),
  [BDL_P_cbrt] = TO_THE(1.0 / 3),
  [BDL_P_sigmoid] = NEEDS_PLAIN,
  [BDL_P_softplus] = NEEDS_PLAIN,
  [BDL_P_is_finite] = DROP,
  [BDL_P_is_nan] = DROP,
  [BDL_P_not] = NEEDS_PLAIN,
  [BDL_P_popcount] = NEEDS_PLAIN,
  [BDL_P_copy] = KEEP,
  [BDL_P_stop_gradient] = KEEP,
  [BDL_P_cast] = KEEP,
  [BDL_P_bitcast] = NEEDS_PLAIN,
  [BDL_P_integer_pow] = {.operands = "a", .result = NUMBER, .label = "pow"},

  [BDL_P_add] = SUM("add"),
  [BDL_P_sub] = SUM("subtract"),
  [BDL_P_mul] = PRODUCT_OF("ab"),
  [BDL_P_div] = {.operands = "ab", .result = OVER},
  [BDL_P_rem] = SUM("take the remainder of"),
  [BDL_P_floordiv] = {.operands = "ab", .result = RATIO},
  [BDL_P_mod] = SUM("take the remainder of"),
  [BDL_P_pow] = {.operands = "ae", .result = NUMBER},
  [BDL_P_atan2] = NEEDS_PLAIN,
  [BDL_P_nextafter] = CHOOSE("aa", NULL),
  [BDL_P_max] = CHOOSE("aa", "maximum"),
  [BDL_P_min] = CHOOSE("aa", "minimum"),
  [BDL_P_and] = NEEDS_PLAIN,
  [BDL_P_or] = NEEDS_PLAIN,
  [BDL_P_xor] = NEEDS_PLAIN,
  [BDL_P_shl] = NEEDS_PLAIN,
  [BDL_P_shr] = NEEDS_PLAIN,
  [BDL_P_sar] = NEEDS_PLAIN,
  [BDL_P_eq] = COMPARE,
  [BDL_P_ne] = COMPARE,
  [BDL_P_lt] = COMPARE,
  [BDL_P_le] = COMPARE,
  [BDL_P_gt] = COMPARE,
  [BDL_P_ge] = COMPARE,
  [BDL_P_select] = CHOOSE("paa", "where"),
  [BDL_P_clamp] = {.operands = "aAa", .result = UNIT, .label = "clip"},

  [BDL_P_iota] = NEEDS_PLAIN,
  [BDL_P_random_bits] = NEEDS_PLAIN,
  [BDL_P_random_split] = NEEDS_PLAIN,
  [BDL_P_random_fold_in] = NEEDS_PLAIN,
  [BDL_P_random_int] = NEEDS_PLAIN,

  [BDL_P_reduce_sum] = KEEP,
  [BDL_P_reduce_prod] = {.operands = "a", .result = NUMBER, .label = "prod"},
  [BDL_P_reduce_max] = KEEP,
  [BDL_P_across] = KEEP,
  [BDL_P_reduce_min] = KEEP,
  [BDL_P_reduce_and] = NEEDS_PLAIN_AS("all"),
  [BDL_P_reduce_or] = NEEDS_PLAIN_AS("any"),
  [BDL_P_argmax] = DROP,
  [BDL_P_argmin] = DROP,
  [BDL_P_cumsum] = KEEP,
  [BDL_P_cumprod] = NEEDS_PLAIN,
  [BDL_P_cummax] = KEEP,
  [BDL_P_cummin] = KEEP,

  [BDL_P_reshape] = KEEP,
  [BDL_P_broadcast] = KEEP,
  [BDL_P_permute] = KEEP,
  [BDL_P_slice] = KEEP,
  [BDL_P_reverse] = KEEP,
  [BDL_P_pad] = WRITE("aa", "pad"),
  [BDL_P_concatenate] = JOIN("concatenate"),
  [BDL_P_dynamic_slice] = KEEP,
  [BDL_P_dynamic_update_slice] = WRITE("aa", "write"),
  [BDL_P_gather] = KEEP,
  [BDL_P_gather_along] = KEEP,
  [BDL_P_scatter] = WRITE("apa", "write"),
  [BDL_P_scatter_along] = WRITE("apa", "write"),
  [BDL_P_sort] = {.operands = ".*", .result = EACH},
  [BDL_P_top_k] = {.operands = "a", .result = FIRST},

  [BDL_P_dot] = PRODUCT_OF("ab"),
  [BDL_P_dot_add] = NEEDS_PLAIN,
  [BDL_P_dot_pack] = KEEP,
  [BDL_P_packed_dot] = PRODUCT_OF("abp"),
  [BDL_P_sparse_dot] = PRODUCT_OF("abp"),
  [BDL_P_conv] = PRODUCT_OF("ab"),
  [BDL_P_cholesky] = TO_THE(0.5),
  [BDL_P_triangular_solve] = {.operands = "ab", .result = UNDER},
  [BDL_P_lu] = {.operands = "a", .result = FIRST},
  [BDL_P_lu_permutation] = NEEDS_PLAIN,
  [BDL_P_solve] = {.operands = "ab", .result = UNDER},

  [BDL_P_event_ids] = DROP,
  [BDL_P_event_dot] = PRODUCT_OF("ab"),
  [BDL_P_csr_dot] = PRODUCT_OF("ab"),
  [BDL_P_csr_scatter] = WRITE("appapp", "add"),
  [BDL_P_csr_outer] = PRODUCT_OF("ab"),
  [BDL_P_event_learn] = NEEDS_PLAIN,
  [BDL_P_csr_learn] = NEEDS_PLAIN,
  [BDL_P_jitc_dot] = {.operands = "abbp", .result = PRODUCT, .zero = true},

  [BDL_P_etrace_step] = NEEDS_PLAIN,
  [BDL_P_etrace_grad] = NEEDS_PLAIN,
  [BDL_P_etrace_learn] = NEEDS_PLAIN,

  /* bodies carry their own units; operands and results pass as plain numbers and get them back from the binding */
  [BDL_P_scan] = DROP,
  [BDL_P_while] = DROP,
  [BDL_P_cond] = DROP,
  [BDL_P_call] = DROP,
  [BDL_P_etrace_op] = DROP,
  [BDL_P_barrier] = {.operands = "ap", .result = FIRST},
  [BDL_P_checkpoint] = DROP,
  [BDL_P_custom_jvp] = DROP,
  [BDL_P_custom_vjp] = DROP,
  [BDL_P_transposed] = DROP,

  [BDL_P_psum] = KEEP,
  [BDL_P_to_lanes] = KEEP,
  [BDL_P_from_lanes] = KEEP,
  [BDL_P_all_gather] = KEEP,
  [BDL_P_own_lane] = KEEP,
  [BDL_P_ppermute] = KEEP,

  [BDL_P_print] = DROP,
  [BDL_P_error_if] = DROP,
  [BDL_P_host_call] = NEEDS_PLAIN,
};

static const char *const prim_names[BDL_P_COUNT] = {
#define PRIM(name, ...) #name,
#include "prim/prims.def"
#undef PRIM
};

/* Functions made of primitives whose units are checked at their own name; the others get theirs from their primitives. */
static const struct {
  const char *name;
  rule rule;
} functions[] = {
  {"all", NEEDS_PLAIN},
  {"allclose", {.operands = "aa", .result = PLAIN, .mixed = BDL_ETYPE}},
  {"any", NEEDS_PLAIN},
  {"append", JOIN("append")},
  {"arange", JOIN("count from")},
  {"array_equal", {.operands = "aa", .result = PLAIN, .mixed = BDL_ETYPE}},
  {"average", KEEP},
  {"bincount", NEEDS_PLAIN},
  {"block", JOIN("join")},
  {"celu", NEEDS_PLAIN},
  {"clip", {.operands = "Aaa", .result = UNIT}},
  {"column_stack", JOIN("stack")},
  {"convolve", PRODUCT_OF("ab")},
  {"copysign", {.operands = "a.", .result = UNIT}},
  {"count_nonzero", DROP},
  {"cross", PRODUCT_OF("ab")},
  {"deg2rad", NEEDS_PLAIN},
  {"diff", KEEP},
  {"digitize", {.operands = "aa", .result = PLAIN}},
  {"divide", {.operands = "ab", .result = OVER}},
  {"dstack", JOIN("stack")},
  {"einsum", PRODUCT_OF("ab")},
  {"elu", NEEDS_PLAIN},
  {"equal", COMPARE},
  {"float_power", {.operands = "ae", .result = NUMBER}},
  {"floor_divide", {.operands = "ab", .result = RATIO}},
  {"fmax", CHOOSE("aa", NULL)},
  {"fmin", CHOOSE("aa", NULL)},
  {"fmod", SUM("take the remainder of")},
  {"full_like", {.operands = ".a", .result = UNIT}},
  {"gelu", NEEDS_PLAIN},
  {"greater", COMPARE},
  {"greater_equal", COMPARE},
  {"heaviside", {.operands = ".p", .result = PLAIN}},
  {"histogram", {.operands = "aa", .result = PLAIN}},
  {"hstack", JOIN("stack")},
  {"hypot", NEEDS_PLAIN},
  {"inner", PRODUCT_OF("ab")},
  {"inv", TO_THE(-1)},
  {"isclose", {.operands = "aa", .result = PLAIN, .mixed = BDL_ETYPE}},
  {"isfinite", DROP},
  {"isinf", DROP},
  {"isnan", DROP},
  {"kron", PRODUCT_OF("ab")},
  {"less", COMPARE},
  {"less_equal", COMPARE},
  {"linspace", JOIN("count from")},
  {"log_softmax", NEEDS_PLAIN},
  {"logaddexp", NEEDS_PLAIN},
  {"logical_and", NEEDS_PLAIN},
  {"logical_not", NEEDS_PLAIN},
  {"logical_or", NEEDS_PLAIN},
  {"logical_xor", NEEDS_PLAIN},
  {"logit", NEEDS_PLAIN},
  {"logsumexp", NEEDS_PLAIN},
  {"matmul", PRODUCT_OF("ab")},
  {"maximum", CHOOSE("aa", NULL)},
  {"mean", KEEP},
  {"median", KEEP},
  {"minimum", CHOOSE("aa", NULL)},
  {"multiply", PRODUCT_OF("ab")},
  {"nan_to_num", KEEP},
  {"norm", KEEP},
  {"not_equal", COMPARE},
  {"ones_like", KEEP},
  {"outer", PRODUCT_OF("ab")},
  {"percentile", KEEP},
  {"power", {.operands = "ae", .result = NUMBER}},
  {"prod", {.operands = "a", .result = NUMBER}},
  {"ptp", KEEP},
  {"quantile", KEEP},
  {"rad2deg", NEEDS_PLAIN},
  {"reciprocal", TO_THE(-1)},
  {"relu", KEEP},
  {"scatter_mul", KEEP},
  {"searchsorted", {.operands = "aa", .result = PLAIN}},
  {"selu", NEEDS_PLAIN},
  {"signbit", DROP},
  {"silu", NEEDS_PLAIN},
  {"sinc", NEEDS_PLAIN},
  {"softmax", NEEDS_PLAIN},
  {"square", TO_THE(2)},
  {"stack", JOIN("stack")},
  {"std", KEEP},
  {"subtract", SUM("subtract")},
  {"sum", KEEP},
  {"tensordot", PRODUCT_OF("ab")},
  {"trace", KEEP},
  {"trapezoid", PRODUCT_OF("ab")},
  {"true_divide", {.operands = "ab", .result = OVER}},
  {"var", TO_THE(2)},
  {"vdot", PRODUCT_OF("ab")},
  {"vstack", JOIN("stack")},
  {"where", CHOOSE("paa", NULL)},
  {"zeros_like", KEEP},
};

int bdl_unit_rule_find(const char *name) {
  for (int i = 0; i < BDL_P_COUNT; i++)
    if (strcmp(prim_names[i], name) == 0) return prim_rules[i].operands ? i : -1;
  for (int i = 0; i < BDL_LEN(functions); i++)
    if (strcmp(functions[i].name, name) == 0) return BDL_P_COUNT + i;
  return -1;
}

/* ---- checking ---------------------------------------------------------------------------- */

/* One call of bdl_unit_rule. */
typedef struct check {
  bdl_units *reg;
  bdl_context *ctx;
  const rule *rule;
  const char *name;
  const bdl_unit_call *call;
} check;

enum { TEXT = 160 };

static char letter_of(const rule *r, int i) {
  const char *s = r->operands;
  const int n = (int)strlen(s);
  if (n > 0 && s[n - 1] == '*') return s[BDL_MIN(i, n - 2)];
  return i < n ? s[i] : 'p';
}

static const char *value_text(const check *k, int i, char buf[TEXT]) {
  const bdl_unit *u = k->call->arg[i].unit;
  if (k->call->value) return k->call->value(k->call->ud, i, buf, TEXT);
  if (u) snprintf(buf, TEXT, "a value in %s", bdl_unit_text(u));
  else snprintf(buf, TEXT, "a plain number");
  return buf;
}

/* How Lua code writes a unit: u.mV, u["mV / ms"]. */
static const char *lua_text(const bdl_unit *u, char buf[TEXT]) {
  const char *s = bdl_unit_text(u);
  bool word = isalpha((unsigned char)s[0]);
  for (const char *t = s; *t; t++) word = word && (isalnum((unsigned char)*t) || *t == '_');
  snprintf(buf, TEXT, word ? "u.%s" : "u[\"%s\"]", s);
  return buf;
}

/* Operands i < k of one group differ in dimension. */
static bdl_status mismatch(const check *c, int i, int k) {
  char x[TEXT], y[TEXT], w[TEXT];
  const bdl_unit *a = c->call->arg[i].unit, *b = c->call->arg[k].unit;
  const bool plain = !a || !b;
  bdl_status st = plain && c->rule->mixed ? c->rule->mixed : BDL_EUNIT;
  if (c->rule->verb)
    bdl_fail(c->ctx, st, "cannot %s %s and %s: units do not match (%s, %s)", c->rule->verb, value_text(c, i, x),
             value_text(c, k, y), bdl_unit_text(a), bdl_unit_text(b));
  else
    bdl_fail(c->ctx, st, "%s: units of %s and %s do not match (%s, %s)", c->name, value_text(c, i, x),
             value_text(c, k, y), bdl_unit_text(a), bdl_unit_text(b));
  if (plain) bdl_hint(c->ctx, "give the plain number a unit: x * %s", lua_text(a ? a : b, w));
  return st;
}

static bdl_status make_plain(const check *c, int i, bool exponent, double *in) {
  char x[TEXT], w[TEXT];
  const bdl_unit *u = c->call->arg[i].unit;
  *in = bdl_unit_magnitude(u);
  if (bdl_unit_is_dimensionless(u)) return BDL_OK;
  if (exponent) {
    bdl_fail(c->ctx, BDL_EVALUE, "%s: the exponent has to be dimensionless, got %s (unit %s)", c->name,
             value_text(c, i, x), bdl_unit_text(u));
    bdl_hint(c->ctx, "divide the exponent by %s", lua_text(u, w));
    return BDL_EVALUE;
  }
  bdl_fail(c->ctx, BDL_ETYPE, "%s needs a dimensionless number, got %s (unit %s, dimension %s)", c->name,
           value_text(c, i, x), bdl_unit_text(u), bdl_unit_dim_text(u));
  bdl_hint(c->ctx, "divide by a unit first: x / %s", lua_text(u, w));
  return BDL_ETYPE;
}

/* Bring the operands of one letter to one unit. */
static bdl_status match(const check *c, char letter, double *in, const bdl_unit **unit) {
  const bdl_unit_call *call = c->call;
  int ref = -1;
  *unit = NULL;
  for (int i = 0; i < call->n; i++) {
    const char x = letter_of(c->rule, i);
    if (tolower((unsigned char)x) != letter) continue;
    if (ref < 0 || x != letter) ref = i;
  }
  if (ref < 0) return BDL_OK;
  for (int i = 0; c->rule->zero && !call->arg[ref].unit && call->arg[ref].zero && i < call->n; i++)
    if (tolower((unsigned char)letter_of(c->rule, i)) == letter && call->arg[i].unit) ref = i;
  *unit = call->arg[ref].unit;
  for (int i = 0; i < call->n; i++) {
    const bdl_unit_arg *x = &call->arg[i];
    if (i == ref || tolower((unsigned char)letter_of(c->rule, i)) != letter) continue;
    if (c->rule->zero && !x->unit && x->zero) continue;
    if (!bdl_unit_same_dim(x->unit, *unit)) return mismatch(c, BDL_MIN(i, ref), BDL_MAX(i, ref));
    in[i] = bdl_unit_ratio(x->unit, *unit);
  }
  return BDL_OK;
}

/* A dimensionless result is a plain number. */
static void make_number(const bdl_unit **u, double *post) {
  if (!bdl_unit_is_dimensionless(*u)) return;
  *post = bdl_unit_magnitude(*u);
  *u = NULL;
}

static bdl_status power(const check *c, const bdl_unit *a, double *in, const bdl_unit **u) {
  char x[TEXT];
  double e = c->rule->power;
  if (bdl_unit_is_dimensionless(a)) {
    in[0] = bdl_unit_magnitude(a);
    return BDL_OK;
  }
  if (c->rule->result == NUMBER) {
    if (!c->call->has_number) {
      bdl_fail(c->ctx, BDL_ETYPE, "%s: %s needs an exponent that is known while tracing: its unit depends on it",
               c->name, value_text(c, 0, x));
      bdl_hint(c->ctx, "use a Lua number as exponent, or divide by a unit first");
      return BDL_ETYPE;
    }
    e = c->call->number * (c->call->n > 1 ? in[1] : 1);
  }
  return bdl_unit_pow(c->reg, a, e, u);
}

/* floor(x / y) is not linear: both in one unit, or, of different dimension, both in SI units. */
static bdl_status ratio(const check *c, const bdl_unit *a, const bdl_unit *b, double *in, const bdl_unit **u) {
  if (bdl_unit_same_dim(a, b)) {
    in[1] = bdl_unit_ratio(b, a);
    return BDL_OK;
  }
  in[0] = bdl_unit_magnitude(a);
  in[1] = bdl_unit_magnitude(b);
  TRY(bdl_unit_div(c->reg, a, b, u));
  return bdl_unit_si(c->reg, *u, u);
}

bdl_status bdl_unit_rule(bdl_units *reg, int rule, const bdl_unit_call *call, double *in, const bdl_unit **out,
                         double *post) {
  const bool is_prim = rule < BDL_P_COUNT;
  check c = {.reg = reg, .ctx = bdl_units_context(reg), .call = call};
  const bdl_unit *a = NULL, *b = NULL, *u = NULL;
  c.rule = is_prim ? &prim_rules[rule] : &functions[rule - BDL_P_COUNT].rule;
  c.name = c.rule->label ? c.rule->label : is_prim ? prim_names[rule] : functions[rule - BDL_P_COUNT].name;
  *post = 1;
  for (int i = 0; i < call->n; i++) in[i] = 1;
  for (int i = 0; i < call->n; i++) {
    const char x = letter_of(c.rule, i);
    if (x == 'p' || x == 'e') TRY(make_plain(&c, i, x == 'e', &in[i]));
  }
  TRY(match(&c, 'a', in, &a));
  TRY(match(&c, 'b', in, &b));
  switch (c.rule->result) {
    case PLAIN: case EACH: break;
    case UNIT: case FIRST: u = a; break;
    case PRODUCT: TRY(bdl_unit_mul(reg, a, b, &u)); make_number(&u, post); break;
    case OVER: TRY(bdl_unit_div(reg, a, b, &u)); make_number(&u, post); break;
    case UNDER: TRY(bdl_unit_div(reg, b, a, &u)); make_number(&u, post); break;
    case POWER: case NUMBER: TRY(power(&c, a, in, &u)); break;
    case RATIO: TRY(ratio(&c, a, b, in, &u)); break;
  }
  for (int i = 0; i < call->n_out; i++) {
    if (c.rule->result == EACH) out[i] = i < call->n ? call->arg[i].unit : NULL;
    else out[i] = i > 0 && c.rule->result == FIRST ? NULL : u;
  }
  return BDL_OK;
}

bdl_status bdl_unit_convert(bdl_units *reg, const bdl_unit *from, const bdl_unit *to, double *factor) {
  *factor = bdl_unit_ratio(from, to);
  if (bdl_unit_same_dim(from, to)) return BDL_OK;
  return bdl_fail(bdl_units_context(reg), BDL_EUNIT, "cannot convert %s to %s: dimensions differ (%s, %s)",
                  bdl_unit_text(from), bdl_unit_text(to), bdl_unit_dim_text(from), bdl_unit_dim_text(to));
}

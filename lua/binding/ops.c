/*
** ops.c -- primitives on Lua values: units, dtype promotion, then run at once or append to the trace; operators.
*/
#include <math.h>
#include <string.h>

#include "base/context.h"
#include "binding/lbdl.h"
#include "exec/exec.h"

enum { MOST = 64 }; /* operands of one primitive */

/* ---- run or record ------------------------------------------------------------------------------ */

static int record(lua_State *L, bdl_trace *t, bdl_prim_id prim, const bdl_param *params, int base, int n) {
  bdl_atom in[MOST], out[MOST];
  for (int i = 0; i < n; i++) in[i] = lbdl_atom(L, t, lbdl_test_tensor(L, base + i));
  int n_out = bdl_ir_n_out(prim, params, n);
  if (n_out > MOST) return lbdl_error(L, BDL_ENOTSUP, "%s: more than %d results", bdl_prims[prim].name, MOST);
  t->prog->src = lbdl_where(L);
  bdl_status s = bdl_bind(t->prog, prim, params, in, n, out);
  if (s == BDL_ESHAPE) lbdl_name_origins(L, base, n);
  lbdl_check(L, s);
  lua_settop(L, base - 1);
  luaL_checkstack(L, n_out, "results");
  for (int i = 0; i < n_out; i++) lbdl_push_traced(L, t, out[i], NULL);
  return n_out;
}

static int run(lua_State *L, bdl_prim_id prim, const bdl_param *params, int base, int n) {
  bdl_tensor in[MOST], out[MOST];
  for (int i = 0; i < n; i++) in[i] = lbdl_test_tensor(L, base + i)->t;
  int n_out = bdl_ir_n_out(prim, params, n);
  if (n_out > MOST) return lbdl_error(L, BDL_ENOTSUP, "%s: more than %d results", bdl_prims[prim].name, MOST);
  luaL_checkstack(L, n_out, "results");
  for (int i = 0; i < n_out; i++) lbdl_new_tensor(L); /* owners first: nothing is lost when Lua runs out of memory */
  lbdl_collect(L);
  bdl_status s = bdl_exec_prim(lbdl_ctx(L), prim, params, in, n, out);
  if (s == BDL_ENOMEM) { /* garbage may hold the memory */
    lua_gc(L, LUA_GCCOLLECT, 0);
    s = bdl_exec_prim(lbdl_ctx(L), prim, params, in, n, out);
  }
  if (s == BDL_ESHAPE) lbdl_name_origins(L, base, n);
  lbdl_check(L, s);
  lbdl_made(L, out, n_out);
  for (int i = 0; i < n_out; i++) lbdl_test_tensor(L, base + n + i)->t = out[i];
  for (int i = 0; i < n; i++) lua_remove(L, base);
  return n_out;
}

/* One number seen everywhere: the program being traced will make it (lbdl_atom), if it needs it at all. */
static int spread(lua_State *L, const bdl_param *params, int base) {
  const lbdl_tensor *x = lbdl_test_tensor(L, base);
  bdl_aval a;
  lbdl_check(L, bdl_prim_check(lbdl_ctx(L), BDL_P_broadcast, params, 1));
  lbdl_check(L, bdl_prim_type(lbdl_ctx(L), BDL_P_broadcast, params, &x->t.aval, 1, &a));
  lbdl_tensor *z = lbdl_new_tensor(L);
  z->t = bdl_tensor_ref(&x->t);
  z->t.aval = a;
  memset(z->t.stride, 0, sizeof z->t.stride);
  lua_remove(L, base);
  return 1;
}

int lbdl_bind_raw(lua_State *L, bdl_prim_id prim, const bdl_param *params, int n) {
  int base = lua_gettop(L) - n + 1;
  if (n > MOST) return lbdl_error(L, BDL_ENOTSUP, "%s: more than %d operands", bdl_prims[prim].name, MOST);
  bdl_trace *t = bdl_trace_current(lbdl_ctx(L));
  bool traced = t && (bdl_prims[prim].flags & (BDL_F_EFFECT | BDL_F_LANES));
  for (int i = 0; i < n && !traced; i++) {
    const lbdl_tensor *x = lbdl_test_tensor(L, base + i);
    traced = lbdl_traced(x);
    if (traced && !t) lbdl_escaped(L, x);
  }
  if (!traced) {
    const bool one = t && prim == BDL_P_broadcast && bdl_aval_numel(&lbdl_test_tensor(L, base)->t.aval) == 1;
    return one ? spread(L, params, base) : run(L, prim, params, base, n);
  }
  return record(L, t, prim, params, base, n);
}

/* ---- dtypes ----------------------------------------------------------------------------------------- */

/* bool < int32 < uint32 < int64 < float32 < float64; int32 with uint32 is int64. */
static bdl_dtype wider(bdl_dtype a, bdl_dtype b) {
  static const int rank[BDL_DTYPE_COUNT] = {[BDL_BOOL] = 0, [BDL_I32] = 1, [BDL_U32] = 2, [BDL_I64] = 3, [BDL_F32] = 4, [BDL_F64] = 5};
  if ((a == BDL_I32 && b == BDL_U32) || (a == BDL_U32 && b == BDL_I32)) return BDL_I64;
  return rank[a] >= rank[b] ? a : b;
}

static int kind_of(bdl_dtype d) { return d == BDL_BOOL ? 0 : bdl_dtype_is_int(d) ? 1 : 2; }

/* One dtype for operands first..last: strong ones decide; a weak one only lifts the kind (integer to float). */
static bdl_dtype promoted(lua_State *L, int first, int n) {
  bdl_dtype strong = BDL_BOOL, weak = BDL_BOOL;
  bool any_strong = false;
  for (int i = 0; i < n; i++) {
    lbdl_tensor *x = lbdl_test_tensor(L, first + i);
    if (x->weak) weak = wider(weak, x->t.aval.dtype);
    else strong = any_strong ? wider(strong, x->t.aval.dtype) : x->t.aval.dtype, any_strong = true;
  }
  if (!any_strong) return weak;
  return kind_of(weak) > kind_of(strong) ? weak : strong;
}

void lbdl_cast(lua_State *L, int arg, bdl_dtype d) {
  lbdl_tensor *x = lbdl_test_tensor(L, arg);
  if (x->t.aval.dtype == d) return;
  arg = lua_absindex(L, arg);
  const bdl_unit *unit = x->unit;
  bool weak = x->weak;
  bdl_param to = bdl_pdtype(d);
  lua_pushvalue(L, arg);
  if (!lbdl_traced(x) && x->t.aval.ndim == 0) { /* the commonest case needs no plan */
    bdl_scalar v = lbdl_first(L, x);
    bdl_dtype from = x->t.aval.dtype;
    if (from != BDL_I64 && d != BDL_I64 && bdl_dtype_is_float(d)) {
      lbdl_tensor *y = lbdl_new_tensor(L);
      const double value = x->weak && x->is_number ? x->number : bdl_scalar_to_f64(from, v);
      lbdl_check(L, bdl_tensor_scalar(bdl_device_cpu(lbdl_ctx(L)), d, bdl_scalar_from_f64(d, value), &y->t));
      lua_remove(L, -2);
    } else lbdl_bind_raw(L, BDL_P_cast, &to, 1);
  } else lbdl_bind_raw(L, BDL_P_cast, &to, 1);
  lbdl_tensor *y = lbdl_test_tensor(L, -1);
  y->unit = unit;
  y->weak = weak;
  lua_replace(L, arg);
}

/* Which operands share a dtype: the first and how many; and what it must be. */
typedef enum want { ANY, NUMBER, REAL, BITS } want;

static want wanted(bdl_prim_id p, int n, int *first, int *count) {
  *first = 0;
  *count = n;
  switch (p) {
    case BDL_P_exp: case BDL_P_exp2: case BDL_P_expm1: case BDL_P_exprel: case BDL_P_log: case BDL_P_log2: case BDL_P_log10:
    case BDL_P_log1p: case BDL_P_sin: case BDL_P_cos: case BDL_P_tan: case BDL_P_asin: case BDL_P_acos: case BDL_P_atan:
    case BDL_P_sinh: case BDL_P_cosh: case BDL_P_tanh: case BDL_P_asinh: case BDL_P_acosh: case BDL_P_atanh: case BDL_P_erf:
    case BDL_P_erfc: case BDL_P_erfinv: case BDL_P_draw_erfinv: case BDL_P_lgamma: case BDL_P_digamma: case BDL_P_polygamma: case BDL_P_sqrt: case BDL_P_rsqrt: case BDL_P_cbrt:
    case BDL_P_sigmoid: case BDL_P_softplus: case BDL_P_is_finite: case BDL_P_is_nan: case BDL_P_pow: case BDL_P_atan2:
    case BDL_P_nextafter: case BDL_P_conv: case BDL_P_cholesky: case BDL_P_triangular_solve: case BDL_P_lu: case BDL_P_solve:
      return REAL;
    case BDL_P_add: case BDL_P_sub: case BDL_P_mul: case BDL_P_div: case BDL_P_rem: case BDL_P_floordiv: case BDL_P_mod:
    case BDL_P_neg: case BDL_P_abs: case BDL_P_sign: case BDL_P_integer_pow: case BDL_P_dot: case BDL_P_reduce_sum: case BDL_P_reduce_prod:
    case BDL_P_cumsum: case BDL_P_cumprod:
      return NUMBER;
    case BDL_P_floor: case BDL_P_ceil: case BDL_P_round: case BDL_P_trunc: return REAL;
    case BDL_P_max: case BDL_P_min: case BDL_P_eq: case BDL_P_ne: case BDL_P_lt: case BDL_P_le: case BDL_P_gt: case BDL_P_ge:
    case BDL_P_clamp: case BDL_P_concatenate: case BDL_P_pad: case BDL_P_and: case BDL_P_or: case BDL_P_xor: case BDL_P_shl: case BDL_P_shr:
    case BDL_P_sar:
      return ANY;
    case BDL_P_select: *first = 1, *count = 2; return ANY;
    case BDL_P_dynamic_update_slice: *count = 2; return ANY;
    default: *count = 0; return ANY;
  }
}

/* Casts the operands that share a dtype; returns whether the result is weak. */
static bool promote(lua_State *L, bdl_prim_id prim, int base, int n) {
  int first, count;
  want w = wanted(prim, n, &first, &count);
  if (count == 0) return false;
  bdl_dtype d = promoted(L, base + first, count);
  lbdl *b = lbdl_of(L);
  if (w == NUMBER && d == BDL_BOOL) d = b->integer;
  if (w == REAL && !bdl_dtype_is_float(d)) d = b->real;
  bool weak = true;
  for (int i = 0; i < count; i++) {
    weak &= lbdl_test_tensor(L, base + first + i)->weak;
    lbdl_cast(L, base + first + i, d);
  }
  return weak;
}

/* ---- units -------------------------------------------------------------------------------------------- */

typedef struct operand_text {
  lua_State *L;
  int base;
} operand_text;

static const char *text_of(void *ud, int i, char *buf, size_t size) {
  operand_text *o = ud;
  lbdl_tensor *x = lbdl_test_tensor(o->L, o->base + i);
  if (lbdl_traced(x) || bdl_aval_numel(&x->t.aval) > 4) {
    char a[BDL_AVAL_TEXT];
    snprintf(buf, size, "%s %s", bdl_aval_text(&x->t.aval, true, a), bdl_unit_text(x->unit));
    return buf;
  }
  lbdl_push_text(o->L, x);
  snprintf(buf, size, "%s", lua_tostring(o->L, -1));
  lua_pop(o->L, 1);
  return buf;
}

/* Multiply the tensor at arg by a plain number. */
static void scale(lua_State *L, int arg, double by) {
  if (by == 1) return;
  arg = lua_absindex(L, arg);
  lbdl_tensor *x = lbdl_test_tensor(L, arg);
  const bdl_unit *unit = x->unit;
  bool weak = x->weak;
  if (!bdl_dtype_is_float(x->t.aval.dtype)) lbdl_cast(L, arg, lbdl_of(L)->real);
  lua_pushvalue(L, arg);
  lua_pushnumber(L, by);
  lbdl_to_tensor(L, -1);
  lbdl_cast(L, -1, lbdl_test_tensor(L, arg)->t.aval.dtype);
  lbdl_bind_raw(L, BDL_P_mul, NULL, 2);
  lbdl_tensor *y = lbdl_test_tensor(L, -1);
  y->unit = unit;
  y->weak = weak;
  lua_replace(L, arg);
}

void lbdl_convert_unit(lua_State *L, int arg, const bdl_unit *unit) {
  lbdl_tensor *x = lbdl_test_tensor(L, arg);
  double factor;
  arg = lua_absindex(L, arg);
  if (x->unit == unit) return;
  lbdl_check(L, bdl_unit_convert(lbdl_of(L)->units, x->unit, unit, &factor));
  scale(L, arg, factor);
  x = lbdl_test_tensor(L, arg);
  lbdl_tensor *y = lbdl_new_tensor(L);
  *y = *x;
  if (y->t.buf) bdl_buffer_ref(y->t.buf);
  y->unit = unit;
  lua_replace(L, arg);
}

static bool is_zero(lua_State *L, const lbdl_tensor *x) {
  return !x->unit && !lbdl_traced(x) && bdl_aval_numel(&x->t.aval) == 1 &&
         bdl_scalar_to_f64(x->t.aval.dtype, lbdl_first(L, x)) == 0;
}

/* The number of elements that reduce_prod multiplies; the exponent of a power. */
static bool rule_number(lua_State *L, bdl_prim_id prim, const bdl_param *params, int base, double *number) {
  lbdl_tensor *x = lbdl_test_tensor(L, base);
  if (prim == BDL_P_integer_pow) *number = (double)params[0].i;
  else if (prim == BDL_P_reduce_prod) {
    *number = 1;
    for (int i = 0; i < params[0].n; i++) *number *= (double)x->t.aval.shape[params[0].ints[i]];
  } else if (prim == BDL_P_pow) {
    lbdl_tensor *y = lbdl_test_tensor(L, base + 1);
    if (lbdl_traced(y) || bdl_aval_numel(&y->t.aval) != 1) return false;
    *number = bdl_scalar_to_f64(y->t.aval.dtype, lbdl_first(L, y));
  } else return false;
  return true;
}

/* Checks the units by `rule`, scales operands; false: all are plain. */
static bool check_units(lua_State *L, int rule, bool has_number, double number, int base, int n, int n_out, const bdl_unit **out, double *post) {
  bool plain = true;
  bdl_unit_arg arg[MOST];
  double factor[MOST];
  for (int i = 0; i < n; i++) {
    lbdl_tensor *x = lbdl_test_tensor(L, base + i);
    arg[i] = (bdl_unit_arg){x->unit, false};
    plain &= x->unit == NULL;
  }
  *post = 1;
  if (plain) return false;
  for (int i = 0; i < n; i++) arg[i].zero = is_zero(L, lbdl_test_tensor(L, base + i));
  operand_text o = {L, base};
  bdl_unit_call call = {.arg = arg, .n = n, .n_out = n_out, .has_number = has_number, .number = number, .value = text_of, .ud = &o};
  lbdl_check(L, bdl_unit_rule(lbdl_of(L)->units, rule, &call, factor, out, post));
  for (int i = 0; i < n; i++) scale(L, base + i, factor[i]);
  return true;
}

int lbdl_bind(lua_State *L, bdl_prim_id prim, const bdl_param *params, int n) {
  int base = lua_gettop(L) - n + 1;
  if (n > MOST) return lbdl_error(L, BDL_ENOTSUP, "%s: more than %d operands", bdl_prims[prim].name, MOST);
  for (int i = 0; i < n; i++) lbdl_to_tensor(L, base + i);
  const bdl_unit *unit[MOST] = {NULL};
  double post, number = 0;
  int n_out = bdl_ir_n_out(prim, params, n);
  bool has_number = rule_number(L, prim, params, base, &number);
  bool with_units = check_units(L, (int)prim, has_number, number, base, n, n_out, unit, &post);
  bool weak = promote(L, prim, base, n);
  n_out = lbdl_bind_raw(L, prim, params, n);
  for (int i = 0; i < n_out; i++) {
    lbdl_tensor *z = lbdl_test_tensor(L, base + i);
    z->weak = weak && z->t.aval.dtype != BDL_BOOL;
    if (!with_units) continue;
    z->unit = unit[i];
    if (post != 1) scale(L, base + i, post);
  }
  return n_out;
}

/* ---- parameters from a Lua table --------------------------------------------------------------------------- */

static bdl_param param_of(lua_State *L, bdl_prim_id prim, int i) {
  char name[32];
  bdl_prim_param_name(prim, i, name);
  int type = lua_type(L, -1);
  if (type == LUA_TNIL) lbdl_error(L, BDL_EVALUE, "%s: parameter '%s' is missing", bdl_prims[prim].name, name);
  switch (bdl_prim_param_kind(prim, i)) {
    case BDL_PK_INT:
      if (type == LUA_TBOOLEAN) return bdl_pint(lua_toboolean(L, -1));
      if (!lua_isinteger(L, -1)) break;
      return bdl_pint(lua_tointeger(L, -1));
    case BDL_PK_FLOAT: return bdl_pfloat(luaL_checknumber(L, -1));
    case BDL_PK_STR: return bdl_pstr(luaL_checkstring(L, -1)); /* alive: it stays in the table */
    case BDL_PK_DTYPE: {
      bdl_dtype d;
      if (type != LUA_TSTRING || !bdl_dtype_parse(lua_tostring(L, -1), &d)) break;
      return bdl_pdtype(d);
    }
    case BDL_PK_INTS: {
      if (type != LUA_TTABLE) break;
      int n = (int)lua_rawlen(L, -1);
      int64_t *v = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *v, 0); /* kept below the operands */
      lua_insert(L, -2);
      for (int k = 0; k < n; k++) {
        lua_rawgeti(L, -1, k + 1);
        int is_int;
        v[k] = lua_tointegerx(L, -1, &is_int);
        if (!is_int) lbdl_error(L, BDL_ETYPE, "%s: '%s' is a list of integers", bdl_prims[prim].name, name);
        lua_pop(L, 1);
      }
      return bdl_pints(v, n);
    }
    default: break;
  }
  lbdl_error(L, BDL_ETYPE, "%s: parameter '%s' may not be a %s", bdl_prims[prim].name, name, lua_typename(L, type));
  return bdl_pint(0);
}

/* core.bind(prim, params, x, ...) */
static int l_bind(lua_State *L) {
  int prim = bdl_prim_find(luaL_checkstring(L, 1));
  int n = lua_gettop(L) - 2;
  if (prim < 0 || (bdl_prims[prim].flags & BDL_F_CONTROL)) return lbdl_error(L, BDL_EVALUE, "no primitive '%s'", lua_tostring(L, 1));
  if (bdl_prims[prim].n_in >= 0 && n != bdl_prims[prim].n_in)
    return lbdl_error(L, BDL_EVALUE, "%s takes %d operands, not %d", bdl_prims[prim].name, bdl_prims[prim].n_in, n);
  bdl_param params[8];
  int n_params = bdl_prim_n_params((bdl_prim_id)prim);
  int top = lua_gettop(L);
  for (int i = 0; i < n_params; i++) {
    char name[32];
    lua_getfield(L, 2, bdl_prim_param_name((bdl_prim_id)prim, i, name));
    params[i] = param_of(L, (bdl_prim_id)prim, i);
  }
  luaL_checkstack(L, n + 8, "operands");
  (void)top;
  for (int i = 0; i < n; i++) lua_pushvalue(L, 3 + i);
  return lbdl_bind(L, (bdl_prim_id)prim, params, n);
}

/* core.units_rule(name, number or nil, x, ...): checks composite functions; returns the operands scaled, then the unit of
** the result (nil: plain) and the factor for it */
static int l_units_rule(lua_State *L) {
  int rule = bdl_unit_rule_find(luaL_checkstring(L, 1)), n = lua_gettop(L) - 2;
  if (rule < 0) return lbdl_error(L, BDL_EINTERNAL, "no unit rule '%s'", lua_tostring(L, 1));
  const bdl_unit *out[MOST] = {NULL};
  double post;
  for (int i = 0; i < n; i++) lbdl_to_tensor(L, 3 + i);
  check_units(L, rule, !lua_isnil(L, 2), lua_tonumber(L, 2), 3, n, 1, out, &post);
  lbdl_push_unit(L, out[0]);
  lua_pushnumber(L, post);
  return n + 2;
}

static int l_cast(lua_State *L) {
  bdl_dtype d;
  lbdl_to_tensor(L, 1);
  if (!bdl_dtype_parse(luaL_checkstring(L, 2), &d)) {
    bdl_hint(lbdl_ctx(L), "one of bool, int32, int64, uint32, float32, float64");
    return lbdl_error(L, BDL_EVALUE, "no dtype '%s'", lua_tostring(L, 2));
  }
  lua_settop(L, 1);
  lbdl_cast(L, 1, d);
  lbdl_tensor *x = lbdl_test_tensor(L, 1), *y = lbdl_new_tensor(L);
  *y = *x;
  if (y->t.buf) bdl_buffer_ref(y->t.buf);
  y->weak = false;
  return 1;
}

/* core.convert(x, unit): the same quantity in another unit */
static int l_convert(lua_State *L) {
  lua_settop(L, 2);
  lbdl_to_tensor(L, 1);
  lbdl_convert_unit(L, 1, lbdl_check_unit(L, 2));
  lua_settop(L, 1);
  return 1;
}

/* core.tf32(on): may large products on a GPU round their factors? */
static int l_tf32(lua_State *L) {
  lbdl_of(L)->ctx->tf32 = lua_toboolean(L, 1);
  return 0;
}

/* core.precision(bits): the dtypes of numbers made from now on */
static int l_precision(lua_State *L) {
  lbdl *b = lbdl_of(L);
  if (!lua_isnoneornil(L, 1)) {
    bool wide = luaL_checkinteger(L, 1) == 64;
    b->real = wide ? BDL_F64 : BDL_F32;
    b->integer = wide ? BDL_I64 : BDL_I32;
  }
  lua_pushstring(L, bdl_dtype_long_name(b->real));
  lua_pushstring(L, bdl_dtype_long_name(b->integer));
  return 2;
}

/* ---- operators ------------------------------------------------------------------------------------------------ */

static int binary(lua_State *L, bdl_prim_id prim) {
  lua_settop(L, 2);
  return lbdl_bind(L, prim, NULL, 2);
}

/* An object on the right that has the operator itself, as initialisers and inputs have, takes it: 2*u.mV + init. */
static bool taken_by_object(lua_State *L, const char *event) {
  lua_settop(L, 2);
  if (!lua_istable(L, 2) || luaL_getmetafield(L, 2, event) == LUA_TNIL) return false;
  lua_insert(L, 1);
  lua_call(L, 2, 1);
  return true;
}

static int op_add(lua_State *L) { return taken_by_object(L, "__add") ? 1 : binary(L, BDL_P_add); }
static int op_sub(lua_State *L) { return taken_by_object(L, "__sub") ? 1 : binary(L, BDL_P_sub); }
static int op_mul(lua_State *L) {
  return taken_by_object(L, "__mul") || lbdl_unit_operand(L, false) ? 1 : binary(L, BDL_P_mul);
}
static int op_mod(lua_State *L) { return binary(L, BDL_P_mod); }
static int op_idiv(lua_State *L) { return binary(L, BDL_P_floordiv); }
static int op_band(lua_State *L) { return binary(L, BDL_P_and); }
static int op_bor(lua_State *L) { return binary(L, BDL_P_or); }
static int op_bxor(lua_State *L) { return binary(L, BDL_P_xor); }
static int op_shl(lua_State *L) { return binary(L, BDL_P_shl); }

/* Division of integers gives floats, as in Lua and NumPy. */
static int op_div(lua_State *L) {
  if (taken_by_object(L, "__div") || lbdl_unit_operand(L, true)) return 1;
  lbdl *b = lbdl_of(L);
  for (int i = 1; i <= 2; i++) {
    lbdl_tensor *x = lbdl_to_tensor(L, i);
    if (!bdl_dtype_is_float(x->t.aval.dtype)) lbdl_cast(L, i, b->real);
  }
  return lbdl_bind(L, BDL_P_div, NULL, 2);
}

/* An integer exponent known now is repeated squaring; others go through pow. */
static int op_pow(lua_State *L) {
  lua_settop(L, 2);
  lbdl_to_tensor(L, 1);
  lbdl_tensor *y = lbdl_to_tensor(L, 2), *x = lbdl_test_tensor(L, 1);
  const bool number = y->weak || !bdl_dtype_is_float(x->t.aval.dtype); /* a tensor counts as one that is not known, as in traces */
  if (number && !lbdl_traced(y) && !y->unit && y->t.aval.ndim == 0) {
    double e = bdl_scalar_to_f64(y->t.aval.dtype, lbdl_first(L, y));
    bool integer_base = !bdl_dtype_is_float(x->t.aval.dtype);
    if (e == 0.5 && !integer_base) {
      lua_settop(L, 1);
      return lbdl_bind(L, BDL_P_sqrt, NULL, 1);
    }
    if (e == floor(e) && fabs(e) <= 1024 && (!integer_base || (e >= 0 && !bdl_dtype_is_float(y->t.aval.dtype)))) {
      bdl_param p = bdl_pint((int64_t)e);
      lua_settop(L, 1);
      return lbdl_bind(L, BDL_P_integer_pow, &p, 1);
    }
  }
  return lbdl_bind(L, BDL_P_pow, NULL, 2);
}

static int op_unm(lua_State *L) {
  lua_settop(L, 1);
  return lbdl_bind(L, BDL_P_neg, NULL, 1);
}

static int op_bnot(lua_State *L) {
  lua_settop(L, 1);
  return lbdl_bind(L, BDL_P_not, NULL, 1);
}

/* x >> layer pipes; x >> n shifts. */
static int op_shr(lua_State *L) {
  lua_settop(L, 2);
  if (lua_isfunction(L, 2) || luaL_getmetafield(L, 2, "__call") != LUA_TNIL) {
    lua_settop(L, 2);
    lua_insert(L, 1);
    lua_call(L, 1, LUA_MULTRET);
    return lua_gettop(L);
  }
  return binary(L, BDL_P_sar);
}

static int op_concat(lua_State *L) {
  for (int i = 1; i <= 2; i++) {
    lbdl_tensor *x = lbdl_test_tensor(L, i);
    if (!x) continue;
    if (lbdl_traced(x)) {
      bdl_hint(lbdl_ctx(L), "use bdl.debug.print(\"x = {x}\", {x = x})");
      return lbdl_error(L, BDL_ETRACE, "a traced tensor has no text yet");
    }
    lbdl_push_text(L, x);
    lua_replace(L, i);
  }
  for (int i = 1; i <= 2; i++)
    if (lua_type(L, i) != LUA_TSTRING && lua_type(L, i) != LUA_TNUMBER) luaL_tolstring(L, i, NULL), lua_replace(L, i);
  lua_concat(L, 2);
  return 1;
}

/* Two concrete scalars compare to one boolean of Lua. */
static int compare(lua_State *L, bdl_prim_id prim, const char *op, const char *method) {
  lua_settop(L, 2);
  bool scalars = true;
  for (int i = 1; i <= 2; i++) {
    lbdl_tensor *x = lbdl_to_tensor(L, i);
    scalars &= !lbdl_traced(x) && bdl_aval_numel(&x->t.aval) == 1;
  }
  if (!scalars) {
    bdl_hint(lbdl_ctx(L), "write x:%s(y) for an elementwise result", method);
    return lbdl_error(L, BDL_ETYPE, "comparing tensors with '%s' gives one Lua boolean", op);
  }
  lbdl_bind(L, prim, NULL, 2);
  lua_pushboolean(L, lbdl_item(L, lbdl_test_tensor(L, -1)) != 0);
  return 1;
}

static int op_lt(lua_State *L) { return compare(L, BDL_P_lt, "<", "lt"); }
static int op_le(lua_State *L) { return compare(L, BDL_P_le, "<=", "le"); }
static int op_eq(lua_State *L) { return lua_rawequal(L, 1, 2) ? (lua_pushboolean(L, 1), 1) : compare(L, BDL_P_eq, "==", "eq"); }

void lbdl_open_ops(lua_State *L) {
  static const luaL_Reg operators[] = {
    {"__add", op_add}, {"__sub", op_sub}, {"__mul", op_mul}, {"__div", op_div}, {"__mod", op_mod}, {"__pow", op_pow},
    {"__idiv", op_idiv}, {"__unm", op_unm}, {"__band", op_band}, {"__bor", op_bor}, {"__bxor", op_bxor}, {"__bnot", op_bnot},
    {"__shl", op_shl}, {"__shr", op_shr}, {"__concat", op_concat}, {"__lt", op_lt}, {"__le", op_le}, {"__eq", op_eq}, {NULL, NULL},
  };
  luaL_getmetatable(L, LBDL_TENSOR);
  luaL_setfuncs(L, operators, 0);
  lua_pop(L, 1);
  static const luaL_Reg functions[] = {
    {"bind", l_bind}, {"units_rule", l_units_rule}, {"cast", l_cast}, {"convert", l_convert}, {"precision", l_precision}, {"tf32", l_tf32}, {"div", op_div},
    {"pow", op_pow}, {NULL, NULL},
  };
  luaL_setfuncs(L, functions, 0);
}

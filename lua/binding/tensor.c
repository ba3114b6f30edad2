/*
** tensor.c -- the tensor userdata: construction from Lua values, fields, conversion.
*/
#include <math.h>
#include <string.h>

#include "base/context.h"
#include "binding/lbdl.h"

#define MAGIC UINT64_C(0x62646c2054656e73)

lbdl_tensor *lbdl_new_tensor(lua_State *L) {
  lbdl_tensor *x = lua_newuserdatauv(L, sizeof *x, 0);
  memset(x, 0, sizeof *x);
  x->magic = MAGIC;
  lua_rawgeti(L, LUA_REGISTRYINDEX, lbdl_of(L)->tensor_meta);
  lua_setmetatable(L, -2);
  return x;
}

lbdl_tensor *lbdl_test_tensor(lua_State *L, int arg) {
  lbdl_tensor *x = lua_touserdata(L, arg);
  return x && lua_rawlen(L, arg) == sizeof *x && x->magic == MAGIC ? x : NULL;
}

void lbdl_collect(lua_State *L) {
  lbdl *b = lbdl_of(L);
  const size_t floor = (size_t)32 << 20;
  if (b->fresh < floor || b->fresh < b->ctx->mem_used / 2) return;
  b->fresh = 0;
  lua_gc(L, LUA_GCCOLLECT, 0);
}

void lbdl_made(lua_State *L, const bdl_tensor *t, int n) {
  for (int i = 0; i < n; i++) lbdl_of(L)->fresh += bdl_aval_bytes(&t[i].aval);
}

lbdl_tensor *lbdl_push_concrete(lua_State *L, bdl_tensor t, const bdl_unit *unit) {
  lbdl_drop_unowned(lbdl_of(L));
  lbdl_of(L)->unowned = t.buf;
  lbdl_tensor *x = lbdl_new_tensor(L);
  lbdl_of(L)->unowned = NULL;
  x->t = t;
  x->unit = unit;
  return x;
}

lbdl_tensor *lbdl_push_traced(lua_State *L, bdl_trace *t, bdl_atom a, const bdl_unit *unit) {
  lbdl_tensor *x = lbdl_new_tensor(L);
  x->t.aval = *bdl_aval_of(t->prog, a);
  x->trace = t->id;
  x->atom = a;
  x->unit = unit;
  return x;
}

static lbdl_tensor *push_scalar(lua_State *L, bdl_dtype d, bdl_scalar v, bool weak) {
  lbdl_tensor *x = lbdl_new_tensor(L);
  lbdl_check(L, bdl_tensor_scalar(bdl_device_cpu(lbdl_ctx(L)), d, v, &x->t));
  x->weak = weak;
  return x;
}

/* A number or boolean of Lua as a tensor; integers that do not fit the precision's integer become int64. */
static lbdl_tensor *push_number(lua_State *L, int arg) {
  lbdl *b = lbdl_of(L);
  if (lua_isboolean(L, arg)) return push_scalar(L, BDL_BOOL, (bdl_scalar){.b = lua_toboolean(L, arg)}, false);
  if (lua_isinteger(L, arg)) {
    lua_Integer v = lua_tointeger(L, arg);
    bdl_dtype d = b->integer == BDL_I32 && (v < INT32_MIN || v > INT32_MAX) ? BDL_I64 : b->integer;
    return push_scalar(L, d, bdl_scalar_from_i64(d, v), true);
  }
  const double v = lua_tonumber(L, arg);
  lbdl_tensor *x = push_scalar(L, b->real, bdl_scalar_from_f64(b->real, v), true);
  x->is_number = true;
  x->number = v;
  return x;
}

lbdl_tensor *lbdl_to_tensor(lua_State *L, int arg) {
  lbdl_tensor *x = lbdl_test_tensor(L, arg);
  if (x) return x;
  arg = lua_absindex(L, arg);
  int type = lua_type(L, arg);
  if (type == LUA_TNUMBER || type == LUA_TBOOLEAN) {
    x = push_number(L, arg);
    lua_replace(L, arg);
    return x;
  }
  if (luaL_testudata(L, arg, LBDL_UNIT)) { /* a unit alone is one of it */
    const bdl_unit *u = lbdl_check_unit(L, arg);
    lua_pushnumber(L, 1.0);
    lua_replace(L, arg);
    x = lbdl_to_tensor(L, arg);
    x->unit = u;
    return x;
  }
  if (type == LUA_TTABLE && luaL_getmetafield(L, arg, "__name") == LUA_TSTRING) {
    const char *name = lua_tostring(L, -1);
    if (strstr(name, "State")) {
      bdl_hint(lbdl_ctx(L), "use s.value");
      lbdl_error(L, BDL_ETYPE, "a State is not a tensor");
    }
  }
  lbdl_error(L, BDL_ETYPE, "a tensor or a number was expected, not a %s", luaL_typename(L, arg));
  return NULL;
}

void lbdl_escaped(lua_State *L, const lbdl_tensor *x) {
  if (x->trace == LBDL_LENT) {
    bdl_hint(lbdl_ctx(L), "keep x + 0, or write it to a State");
    lbdl_error(L, BDL_EVALUE, "an array of the host is used after the call that it was lent for");
  }
  bdl_hint(lbdl_ctx(L), "return it from the traced function instead of keeping it in a variable or field");
  lbdl_error(L, BDL_ETRACE, "a traced value is used after the function that made it was traced");
}

void lbdl_need_concrete(lua_State *L, const lbdl_tensor *x, const char *what) {
  if (!lbdl_traced(x)) return;
  char text[BDL_AVAL_TEXT];
  if (x->trace == LBDL_LENT) lbdl_escaped(L, x);
  bdl_fail(lbdl_ctx(L), BDL_ETRACE, "%s needs a number, but this %s has no value yet: the function is being traced", what,
           bdl_aval_text(&x->t.aval, true, text));
  bdl_hint(lbdl_ctx(L), "use bdl.where or bdl.cond to choose, bdl.debug.print to look, or bdl.disable_jit(true)");
  lbdl_raise(L);
}

void *lbdl_push_uninitialised(lua_State *L, const bdl_aval *a) {
  lbdl_collect(L);
  lbdl_tensor *x = lbdl_new_tensor(L);
  lbdl_check(L, bdl_tensor_new(bdl_device_cpu(lbdl_ctx(L)), a, &x->t));
  lbdl_made(L, &x->t, 1);
  return bdl_tensor_data(&x->t);
}

const bdl_tensor *lbdl_packed(lua_State *L, int arg, const char *what) {
  lbdl_tensor *x = lbdl_to_tensor(L, arg);
  lbdl_need_concrete(L, x, what);
  lbdl_tensor *y = lbdl_new_tensor(L);
  lbdl_check(L, bdl_tensor_pack(&x->t, &y->t));
  lua_replace(L, arg);
  return &y->t;
}

double lbdl_item(lua_State *L, const lbdl_tensor *x) {
  lbdl_need_concrete(L, x, "item");
  if (bdl_aval_numel(&x->t.aval) != 1) {
    char text[BDL_AVAL_TEXT];
    lbdl_error(L, BDL_EVALUE, "item: one element is needed, not %s", bdl_aval_text(&x->t.aval, true, text));
  }
  return bdl_scalar_to_f64(x->t.aval.dtype, lbdl_first(L, x));
}

bdl_scalar lbdl_first(lua_State *L, const lbdl_tensor *x) {
  lbdl_check(L, bdl_tensor_fetch(&x->t));
  return bdl_tensor_at(&x->t, 0);
}

/* Is it large, and of one value?  Programs then make it rather than keep it. */
static bool is_filled(const bdl_tensor *x) {
  enum { LARGE = 4096 };
  const size_t size = bdl_dtype_size(x->aval.dtype), bytes = bdl_aval_bytes(&x->aval);
  const char *data = bdl_tensor_data(x);
  bool spread = true;
  if (bytes <= LARGE * size) return false;
  for (int k = 0; k < x->aval.ndim; k++) spread = spread && x->stride[k] == 0;
  return spread || (bdl_tensor_contiguous(x) && memcmp(data, data + size, bytes - size) == 0);
}

bdl_atom lbdl_atom(lua_State *L, bdl_trace *t, const lbdl_tensor *x) {
  bdl_atom a = BDL_ZERO;
  if (!lbdl_traced(x)) {
    lbdl_check(L, bdl_tensor_fetch(&x->t));
    const bool filled = is_filled(&x->t), scalar = x->t.aval.ndim == 0 || filled;
    if (filled) t->prog->src = lbdl_where(L);
    lbdl_check(L, scalar ? bdl_ir_literal(t->prog, x->t.aval.dtype, bdl_tensor_at(&x->t, 0), &a) : bdl_ir_const(t->prog, &x->t, &a));
    if (filled) lbdl_check(L, bdl_ir_broadcast_to(t->prog, a, &x->t.aval, &a));
    return a;
  }
  bdl_trace *owner = bdl_trace_find(t->ctx, x->trace);
  if (!owner) lbdl_escaped(L, x);
  lbdl_check(L, bdl_trace_lift(t, owner, x->atom, &a));
  return a;
}

/* ---- from nested lists ------------------------------------------------------------------------ */

typedef struct filler {
  bdl_aval aval;
  bool real, boolean; /* some number was a float; all were booleans */
  int64_t at;
} filler;

/* A list has positions alone.  Names stand behind them in Lua's own order. */
static void check_no_names(lua_State *L, int arg, int64_t n) {
  if (n > 0) lua_pushinteger(L, n);
  else lua_pushnil(L);
  while (lua_next(L, arg)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) != LUA_TSTRING) continue;
    bdl_hint(lbdl_ctx(L), "options come in a table of their own, behind the values");
    lbdl_error(L, BDL_ETYPE, "a list of numbers was expected, but this table has the name '%s'", lua_tostring(L, -1));
  }
}

static void measure(lua_State *L, int arg, int depth, filler *f) {
  luaL_checkstack(L, 4, "nested lists");
  if (lua_istable(L, arg)) {
    int64_t n = (int64_t)lua_rawlen(L, arg);
    check_no_names(L, arg, n);
    if (depth == BDL_MAX_NDIM) lbdl_error(L, BDL_EVALUE, "lists nested deeper than %d", BDL_MAX_NDIM);
    if (depth == f->aval.ndim && f->at) lbdl_error(L, BDL_ESHAPE, "ragged lists: a list where a number was expected");
    if (depth == f->aval.ndim) f->aval.shape[f->aval.ndim++] = n;
    else if (f->aval.shape[depth] != n)
      lbdl_error(L, BDL_ESHAPE, "ragged lists: %lld entries here, %lld before", (long long)n, (long long)f->aval.shape[depth]);
    for (int64_t i = 1; i <= n; i++) {
      lua_rawgeti(L, arg, i);
      measure(L, lua_gettop(L), depth + 1, f);
      lua_pop(L, 1);
    }
    if (n == 0) f->at = 1;
    return;
  }
  if (depth != f->aval.ndim) lbdl_error(L, BDL_ESHAPE, "ragged lists: a number where a list was expected");
  f->at = 1; /* the rank is known now */
  if (lua_isboolean(L, arg)) return;
  f->boolean = false;
  if (lua_type(L, arg) != LUA_TNUMBER) lbdl_error(L, BDL_ETYPE, "a tensor is made of numbers, not of a %s", luaL_typename(L, arg));
  f->real |= !lua_isinteger(L, arg);
}

static void fill(lua_State *L, int arg, filler *f, char *data, size_t size) {
  if (lua_istable(L, arg)) {
    int64_t n = (int64_t)lua_rawlen(L, arg);
    for (int64_t i = 1; i <= n; i++) {
      lua_rawgeti(L, arg, i);
      fill(L, lua_gettop(L), f, data, size);
      lua_pop(L, 1);
    }
    return;
  }
  bdl_scalar v;
  if (lua_isboolean(L, arg)) v = bdl_scalar_from_i64(f->aval.dtype, lua_toboolean(L, arg));
  else if (lua_isinteger(L, arg)) v = bdl_scalar_from_i64(f->aval.dtype, lua_tointeger(L, arg));
  else v = bdl_scalar_from_f64(f->aval.dtype, lua_tonumber(L, arg));
  memcpy(data + (size_t)f->at++ * size, &v, size);
}

static bool opt_dtype(lua_State *L, int arg, bdl_dtype *d) {
  if (lua_isnoneornil(L, arg)) return false;
  const char *s = luaL_checkstring(L, arg);
  if (!bdl_dtype_parse(s, d)) {
    bdl_hint(lbdl_ctx(L), "one of bool, int32, int64, uint32, float32, float64");
    lbdl_error(L, BDL_EVALUE, "no dtype '%s'", s);
  }
  return true;
}

/* core.tensor(value, dtype) */
static int l_tensor(lua_State *L) {
  lbdl *b = lbdl_of(L);
  bdl_dtype d = BDL_F32;
  bool given = opt_dtype(L, 2, &d);
  lua_settop(L, 1);
  if (!lua_istable(L, 1) || lua_getmetatable(L, 1)) {
    lua_settop(L, 1);
    lbdl_to_tensor(L, 1);
    if (given) lbdl_cast(L, 1, d);
    lbdl_tensor *x = lbdl_test_tensor(L, 1);
    if (x->weak) {
      lbdl_push_concrete(L, bdl_tensor_ref(&x->t), x->unit);
      lua_replace(L, 1);
    }
    return 1;
  }
  filler f = {.boolean = true};
  measure(L, 1, 0, &f);
  bool empty = bdl_aval_numel(&f.aval) == 0;
  f.aval.dtype = given ? d : f.real || empty ? b->real : f.boolean ? BDL_BOOL : b->integer;
  lbdl_tensor *x = lbdl_new_tensor(L);
  lbdl_check(L, bdl_tensor_new(bdl_device_cpu(b->ctx), &f.aval, &x->t));
  f.at = 0;
  fill(L, 1, &f, bdl_tensor_data(&x->t), bdl_dtype_size(f.aval.dtype));
  return 1;
}

/* ---- to Lua ------------------------------------------------------------------------------------- */

static void push_element(lua_State *L, bdl_dtype d, bdl_scalar v) {
  if (d == BDL_BOOL) lua_pushboolean(L, v.b);
  else if (d == BDL_I32) lua_pushinteger(L, v.i32);
  else if (d == BDL_U32) lua_pushinteger(L, v.u32);
  else if (d == BDL_I64) lua_pushinteger(L, v.i64);
  else lua_pushnumber(L, d == BDL_F32 ? (double)v.f32 : v.f64);
}

static void push_nested(lua_State *L, const bdl_tensor *t, int axis, int64_t *at) {
  if (axis == t->aval.ndim) {
    push_element(L, t->aval.dtype, bdl_tensor_at(t, (*at)++));
    return;
  }
  luaL_checkstack(L, 4, "nested lists");
  lua_createtable(L, (int)t->aval.shape[axis], 0);
  for (int64_t i = 1; i <= t->aval.shape[axis]; i++) {
    push_nested(L, t, axis + 1, at);
    lua_rawseti(L, -2, i);
  }
}

static lbdl_tensor *concrete_arg(lua_State *L, const char *what) {
  lbdl_tensor *x = lbdl_to_tensor(L, 1);
  lbdl_need_concrete(L, x, what);
  return x;
}

static int l_totable(lua_State *L) {
  lbdl_tensor *x = concrete_arg(L, "totable");
  int64_t at = 0;
  lbdl_check(L, bdl_tensor_fetch(&x->t));
  push_nested(L, &x->t, 0, &at);
  return 1;
}

static int l_item(lua_State *L) {
  lbdl_tensor *x = lbdl_to_tensor(L, 1);
  (void)lbdl_item(L, x);
  push_element(L, x->t.aval.dtype, bdl_tensor_at(&x->t, 0));
  return 1;
}

static int l_text(lua_State *L) {
  lbdl_push_text(L, lbdl_to_tensor(L, 1));
  return 1;
}

/* ---- fields --------------------------------------------------------------------------------------- */

static void push_shape(lua_State *L, const bdl_aval *a) {
  lua_createtable(L, a->ndim, 0);
  for (int k = 0; k < a->ndim; k++) {
    lua_pushinteger(L, a->shape[k]);
    lua_rawseti(L, -2, k + 1);
  }
  luaL_setmetatable(L, "bdl.Shape");
}

static int shape_index(lua_State *L) {
  lua_Integer i, n = (lua_Integer)lua_rawlen(L, 1);
  int is_int;
  i = lua_tointegerx(L, 2, &is_int);
  if (!is_int) return 0;
  if (i == 0) return lbdl_error(L, BDL_EINDEX, "axis 0: positions start at 1 in bdl (Python's axis 0 is axis 1)");
  if (i < 0 && i >= -n) lua_rawgeti(L, 1, n + 1 + i);
  else lua_pushnil(L);
  return 1;
}

static int shape_tostring(lua_State *L) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  luaL_addchar(&b, '{');
  for (lua_Integer i = 1, n = (lua_Integer)lua_rawlen(L, 1); i <= n; i++) {
    if (i > 1) luaL_addstring(&b, ", ");
    lua_rawgeti(L, 1, i);
    luaL_addvalue(&b);
  }
  luaL_addchar(&b, '}');
  luaL_pushresult(&b);
  return 1;
}

static int shape_eq(lua_State *L) {
  lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
  bool same = n == (lua_Integer)lua_rawlen(L, 2);
  for (lua_Integer i = 1; same && i <= n; i++) {
    lua_rawgeti(L, 1, i);
    lua_rawgeti(L, 2, i);
    same = lua_compare(L, -1, -2, LUA_OPEQ);
    lua_pop(L, 2);
  }
  lua_pushboolean(L, same);
  return 1;
}

static int l_mantissa(lua_State *L) {
  lbdl_tensor *x = lbdl_to_tensor(L, 1);
  if (!x->unit) {
    lua_settop(L, 1);
    return 1;
  }
  lbdl_tensor *y = lbdl_new_tensor(L);
  *y = *x;
  if (y->t.buf) bdl_buffer_ref(y->t.buf);
  y->unit = NULL;
  return 1;
}

static int l_with_unit(lua_State *L) {
  lua_settop(L, 2);
  lbdl_tensor *x = lbdl_to_tensor(L, 1), *y = lbdl_new_tensor(L);
  *y = *x;
  if (y->t.buf) bdl_buffer_ref(y->t.buf);
  y->unit = lbdl_check_unit(L, 2);
  return 1;
}

/* The same value, no longer weak: a number that a caller keeps. */
static int l_strong(lua_State *L) {
  lbdl_tensor *x = lbdl_to_tensor(L, 1), *y = lbdl_new_tensor(L);
  *y = *x;
  if (y->t.buf) bdl_buffer_ref(y->t.buf);
  y->weak = false;
  return 1;
}

static int l_unit_of(lua_State *L) {
  lbdl_tensor *x = lbdl_test_tensor(L, 1);
  if (luaL_testudata(L, 1, LBDL_UNIT)) {
    lua_settop(L, 1);
    return 1;
  }
  if (!x || !x->unit) return 0;
  lbdl_push_unit(L, x->unit);
  return 1;
}

static int tensor_index(lua_State *L) {
  lbdl_tensor *x = lbdl_test_tensor(L, 1);
  if (lua_type(L, 2) == LUA_TSTRING) {
    const char *k = lua_tostring(L, 2);
    if (!strcmp(k, "shape")) return push_shape(L, &x->t.aval), 1;
    if (!strcmp(k, "dtype")) return lua_pushstring(L, bdl_dtype_long_name(x->t.aval.dtype)), 1;
    if (!strcmp(k, "ndim")) return lua_pushinteger(L, x->t.aval.ndim), 1;
    if (!strcmp(k, "size")) return lua_pushinteger(L, bdl_aval_numel(&x->t.aval)), 1;
    if (!strcmp(k, "unit")) return lua_remove(L, 2), l_unit_of(L);
    if (!strcmp(k, "mantissa")) return lua_remove(L, 2), l_mantissa(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, lbdl_of(L)->methods);
    lua_pushvalue(L, 2);
    lua_rawget(L, -2);
    if (!lua_isnil(L, -1)) return 1;
    lua_getfield(L, -2, "__missing"); /* explains, with a suggestion */
    lua_insert(L, 1);
    lua_settop(L, 3);
    lua_call(L, 2, 1);
    return 1;
  }
  lua_rawgeti(L, LUA_REGISTRYINDEX, lbdl_of(L)->methods);
  lua_getfield(L, -1, "__index");
  lua_insert(L, 1);
  lua_settop(L, 3);
  lua_call(L, 2, 1);
  return 1;
}

static int tensor_newindex(lua_State *L) {
  bdl_hint(lbdl_ctx(L), "write s.value = s.value:set(i, v)");
  return lbdl_error(L, BDL_ETYPE, "tensors do not change");
}

static int tensor_len(lua_State *L) {
  lbdl_tensor *x = lbdl_test_tensor(L, 1);
  if (x->t.aval.ndim == 0) return lbdl_error(L, BDL_ETYPE, "#x: a scalar has no first axis");
  lua_pushinteger(L, x->t.aval.shape[0]);
  return 1;
}

static int tensor_gc(lua_State *L) {
  lbdl_tensor *x = lbdl_test_tensor(L, 1);
  bdl_tensor_unref(&x->t);
  return 0;
}

static int tensor_pairs(lua_State *L) {
  bdl_hint(lbdl_ctx(L), "write `for i = 1, #x do local xi = x[i] ... end`, or bdl.for_loop over its first axis");
  return lbdl_error(L, BDL_ETYPE, "pairs and ipairs do not walk tensors");
}

static int l_is_tensor(lua_State *L) {
  lua_pushboolean(L, lbdl_test_tensor(L, 1) != NULL);
  return 1;
}

static int l_is_traced(lua_State *L) {
  lbdl_tensor *x = lbdl_test_tensor(L, 1);
  lua_pushboolean(L, x && lbdl_traced(x));
  return 1;
}

static int l_is_weak(lua_State *L) {
  lbdl_tensor *x = lbdl_test_tensor(L, 1);
  lua_pushboolean(L, x ? x->weak : lua_type(L, 1) == LUA_TNUMBER);
  return 1;
}

void lbdl_open_tensor(lua_State *L) {
  static const luaL_Reg meta[] = {
    {"__index", tensor_index}, {"__newindex", tensor_newindex}, {"__len", tensor_len}, {"__gc", tensor_gc}, {"__close", tensor_gc},
    {"__tostring", l_text}, {"__pairs", tensor_pairs}, {NULL, NULL},
  };
  luaL_newmetatable(L, LBDL_TENSOR);
  luaL_setfuncs(L, meta, 0);
  lbdl_of(L)->tensor_meta = luaL_ref(L, LUA_REGISTRYINDEX);
  static const luaL_Reg shape[] = {{"__index", shape_index}, {"__tostring", shape_tostring}, {"__eq", shape_eq}, {NULL, NULL}};
  luaL_newmetatable(L, "bdl.Shape");
  luaL_setfuncs(L, shape, 0);
  lua_pop(L, 1);
  static const luaL_Reg functions[] = {
    {"tensor", l_tensor}, {"totable", l_totable}, {"item", l_item}, {"text", l_text}, {"mantissa", l_mantissa}, {"with_unit", l_with_unit},
    {"unit_of", l_unit_of}, {"is_tensor", l_is_tensor}, {"is_traced", l_is_traced}, {"is_weak", l_is_weak}, {"strong", l_strong}, {NULL, NULL},
  };
  luaL_setfuncs(L, functions, 0);
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lbdl_of(L)->methods = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_setfield(L, -2, "methods");
}

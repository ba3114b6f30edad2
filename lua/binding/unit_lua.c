/*
** unit_lua.c -- units as Lua values: u.mV * u.nS, 5 * u.ms, u.ms^2.
*/
#include <string.h>

#include "base/context.h"
#include "binding/lbdl.h"

void lbdl_push_unit(lua_State *L, const bdl_unit *u) {
  if (!u) {
    lua_pushnil(L);
    return;
  }
  const bdl_unit **p = lua_newuserdatauv(L, sizeof *p, 0);
  *p = u;
  luaL_setmetatable(L, LBDL_UNIT);
}

const bdl_unit *lbdl_check_unit(lua_State *L, int arg) {
  const bdl_unit **u = luaL_testudata(L, arg, LBDL_UNIT);
  if (u) return *u;
  if (lua_isnoneornil(L, arg)) return NULL;
  lbdl_tensor *x = lbdl_test_tensor(L, arg); /* 1 * u.mV stands for u.mV */
  if (x && x->unit && !lbdl_traced(x) && bdl_aval_numel(&x->t.aval) == 1 && lbdl_item(L, x) == 1) return x->unit;
  lbdl_error(L, BDL_ETYPE, "a unit was expected, not a %s", luaL_typename(L, arg));
  return NULL;
}

static int is_unit(lua_State *L, int arg) { return luaL_testudata(L, arg, LBDL_UNIT) != NULL; }

/* The unit 1 (u.UNITLESS) is a value of its own in Lua. */
static void push_product(lua_State *L, const bdl_unit *u) {
  const bdl_unit **p = lua_newuserdatauv(L, sizeof *p, 0);
  *p = u;
  luaL_setmetatable(L, LBDL_UNIT);
}

/* tensor or number `x` times or over a unit: the same numbers under another unit; a quotient that is a plain number scales. */
static int attach(lua_State *L, int x_arg, const bdl_unit *u, bool divide) {
  lbdl *b = lbdl_of(L);
  lbdl_tensor *x = lbdl_to_tensor(L, x_arg);
  const bdl_unit *unit;
  lbdl_check(L, divide ? bdl_unit_div(b->units, x->unit, u, &unit) : bdl_unit_mul(b->units, x->unit, u, &unit));
  lua_settop(L, 2);
  lua_pushvalue(L, x_arg);
  if (unit && bdl_unit_is_dimensionless(unit) && bdl_unit_magnitude(unit) != 1) {
    double by = bdl_unit_magnitude(unit);
    lbdl_tensor *plain = lbdl_new_tensor(L);
    *plain = *x;
    if (plain->t.buf) bdl_buffer_ref(plain->t.buf);
    plain->unit = NULL;
    lua_pushnumber(L, by);
    return lbdl_bind(L, BDL_P_mul, NULL, 2);
  }
  lbdl_tensor *y = lbdl_new_tensor(L);
  *y = *x;
  if (y->t.buf) bdl_buffer_ref(y->t.buf);
  y->unit = unit && bdl_unit_is_dimensionless(unit) ? NULL : unit;
  return 1;
}

static int unit_mul(lua_State *L) {
  lua_settop(L, 2);
  if (is_unit(L, 1) && is_unit(L, 2)) {
    const bdl_unit *u;
    lbdl_check(L, bdl_unit_mul(lbdl_of(L)->units, lbdl_check_unit(L, 1), lbdl_check_unit(L, 2), &u));
    push_product(L, u);
    return 1;
  }
  return is_unit(L, 2) ? attach(L, 1, lbdl_check_unit(L, 2), false) : attach(L, 2, lbdl_check_unit(L, 1), false);
}

static int unit_div(lua_State *L) {
  lua_settop(L, 2);
  if (is_unit(L, 1) && is_unit(L, 2)) {
    const bdl_unit *u;
    lbdl_check(L, bdl_unit_div(lbdl_of(L)->units, lbdl_check_unit(L, 1), lbdl_check_unit(L, 2), &u));
    push_product(L, u);
    return 1;
  }
  if (is_unit(L, 2)) {
    if (lua_type(L, 1) == LUA_TNUMBER && lua_tonumber(L, 1) == 1) { /* 1 / u.ms is a unit: it multiplies and shows as one */
      const bdl_unit *u;
      lbdl_check(L, bdl_unit_div(lbdl_of(L)->units, NULL, lbdl_check_unit(L, 2), &u));
      push_product(L, u);
      return 1;
    }
    return attach(L, 1, lbdl_check_unit(L, 2), true);
  }
  lbdl_to_tensor(L, 1);
  lua_getfield(L, lua_upvalueindex(1), "div");
  lua_insert(L, 1);
  lua_call(L, 2, 1);
  return 1;
}

static int unit_pow(lua_State *L) {
  const bdl_unit *u;
  lbdl_check(L, bdl_unit_pow(lbdl_of(L)->units, lbdl_check_unit(L, 1), luaL_checknumber(L, 2), &u));
  push_product(L, u);
  return 1;
}

static int unit_eq(lua_State *L) {
  lua_pushboolean(L, bdl_unit_eq(lbdl_check_unit(L, 1), lbdl_check_unit(L, 2)));
  return 1;
}

static int unit_tostring(lua_State *L) {
  lua_pushstring(L, bdl_unit_text(lbdl_check_unit(L, 1)));
  return 1;
}

/* u.mV + x and the like: one of it */
static int unit_arith(lua_State *L) {
  lbdl_to_tensor(L, 1);
  lbdl_to_tensor(L, 2);
  lua_arith(L, (int)lua_tointeger(L, lua_upvalueindex(1)));
  return 1;
}

static int l_unit(lua_State *L) {
  const bdl_unit *u;
  lbdl_check(L, bdl_unit_named(lbdl_of(L)->units, luaL_checkstring(L, 1), &u));
  push_product(L, u);
  return 1;
}

static int unit_index(lua_State *L) {
  const bdl_unit *u = lbdl_check_unit(L, 1);
  const char *k = luaL_checkstring(L, 2);
  if (!strcmp(k, "magnitude")) lua_pushnumber(L, bdl_unit_magnitude(u));
  else if (!strcmp(k, "name")) lua_pushstring(L, bdl_unit_text(u));
  else if (!strcmp(k, "dim")) lua_pushstring(L, bdl_unit_dim_text(u));
  else if (!strcmp(k, "is_unitless")) lua_pushboolean(L, bdl_unit_is_dimensionless(u));
  else return lbdl_error(L, BDL_EKEY, "a unit has no field '%s' (magnitude, name, dim, is_unitless)", k);
  return 1;
}

/* core.unit_name_at(i) -> the i-th known name, from 0 */
static int l_unit_name_at(lua_State *L) {
  char buf[BDL_UNIT_NAME];
  if (!bdl_unit_name_at((int)luaL_checkinteger(L, 1), buf)) return 0;
  lua_pushstring(L, buf);
  return 1;
}

static int l_dim_text(lua_State *L) {
  lua_pushstring(L, bdl_unit_dim_text(lbdl_check_unit(L, 1)));
  return 1;
}

static int l_same_dim(lua_State *L) {
  lua_pushboolean(L, bdl_unit_same_dim(lbdl_check_unit(L, 1), lbdl_check_unit(L, 2)));
  return 1;
}

void lbdl_open_units(lua_State *L) {
  static const luaL_Reg meta[] = {{"__mul", unit_mul}, {"__pow", unit_pow}, {"__eq", unit_eq}, {"__tostring", unit_tostring},
                                  {"__index", unit_index}, {NULL, NULL}};
  static const struct {
    const char *name;
    int op;
  } arith[] = {{"__add", LUA_OPADD}, {"__sub", LUA_OPSUB}, {"__mod", LUA_OPMOD}, {"__idiv", LUA_OPIDIV}};
  luaL_newmetatable(L, LBDL_UNIT);
  luaL_setfuncs(L, meta, 0);
  for (int i = 0; i < BDL_LEN(arith); i++) {
    lua_pushinteger(L, arith[i].op);
    lua_pushcclosure(L, unit_arith, 1);
    lua_setfield(L, -2, arith[i].name);
  }
  lua_pushvalue(L, -2); /* core */
  lua_pushcclosure(L, unit_div, 1);
  lua_setfield(L, -2, "__div");
  lua_pop(L, 1);
  static const luaL_Reg functions[] = {
    {"unit", l_unit}, {"unit_name_at", l_unit_name_at}, {"dim_text", l_dim_text}, {"same_dim", l_same_dim}, {NULL, NULL},
  };
  luaL_setfuncs(L, functions, 0);
}

int lbdl_unit_operand(lua_State *L, bool divide) {
  if (!is_unit(L, 2)) return 0;
  return attach(L, 1, lbdl_check_unit(L, 2), divide);
}

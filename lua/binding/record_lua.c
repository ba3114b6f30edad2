/*
** record_lua.c -- records of monitors, for lua/bdl/monitor.lua, which checks what it passes.
*/
#include "exec/record.h"

#include "base/context.h"
#include "binding/state_lua.h"

#define LBDL_RECORD "bdl.Record"

static bdl_record *check_record(lua_State *L, int arg) { return luaL_checkudata(L, arg, LBDL_RECORD); }

static int record_gc(lua_State *L) {
  bdl_record_fini(check_record(L, 1));
  return 0;
}

/* core.record(like) -> an empty record of rows of the type of the tensor */
static int l_new(lua_State *L) {
  const lbdl_tensor *x = lbdl_to_tensor(L, 1);
  if (x->t.aval.ndim == BDL_MAX_NDIM)
    return lbdl_error(L, BDL_ESHAPE, "a value of %d axes cannot be recorded", BDL_MAX_NDIM);
  bdl_record *r = lua_newuserdatauv(L, sizeof *r, 0);
  *r = bdl_record_make(bdl_device_cpu(lbdl_ctx(L)), &x->t.aval);
  luaL_setmetatable(L, LBDL_RECORD);
  return 1;
}

/* core.record_reserve(record, n): room for n rows in all */
static int l_reserve(lua_State *L) {
  lbdl_check(L, bdl_record_reserve(check_record(L, 1), luaL_checkinteger(L, 2)));
  return 0;
}

/* Rows of the State's value, or of the tensor.  No reference to a State's stays behind: loops write it in place. */
static bdl_tensor rows(lua_State *L, int arg) {
  bdl_state **s = luaL_testudata(L, arg, LBDL_STATE);
  const bdl_tensor *x = s ? &(*s)->leaf[0].value : &lbdl_test_tensor(L, arg)->t;
  if (bdl_tensor_contiguous(x)) return *x;
  lbdl_tensor *packed = lbdl_new_tensor(L);
  lbdl_check(L, bdl_tensor_pack(x, &packed->t));
  return packed->t;
}

/* core.record_append(record, State's handle or tensor, n): its first n rows */
static int l_append(lua_State *L) {
  const bdl_tensor x = rows(L, 2);
  bdl_record *r = check_record(L, 1);
  const lua_Integer n = luaL_checkinteger(L, 3);
  bool same = x.aval.dtype == r->row.dtype && x.aval.ndim == r->row.ndim + 1 && n >= 0 && n <= x.aval.shape[0];
  for (int k = 0; same && k < r->row.ndim; k++) same = x.aval.shape[k + 1] == r->row.shape[k];
  if (!same) return lbdl_error(L, BDL_EINTERNAL, "record_append: rows of another type");
  lbdl_check(L, bdl_record_append(r, &x, n));
  return 0;
}

/* core.record_events(steps, ids, State's handle or tensor, n, first, most): see bdl_record_events */
static int l_events(lua_State *L) {
  const bdl_tensor x = rows(L, 3);
  if (x.aval.dtype != BDL_BOOL || x.aval.ndim == 0 || luaL_checkinteger(L, 4) > x.aval.shape[0])
    return lbdl_error(L, BDL_EINTERNAL, "record_events: no rows of booleans");
  lbdl_check(L, bdl_record_events(check_record(L, 1), check_record(L, 2), &x, luaL_checkinteger(L, 4),
                                  luaL_checkinteger(L, 5), luaL_checkinteger(L, 6)));
  return 0;
}

/* core.record_tensor(record) -> [n, row..] */
static int l_tensor(lua_State *L) {
  lbdl_check(L, bdl_record_view(check_record(L, 1), &lbdl_new_tensor(L)->t));
  return 1;
}

/* core.record_size(record) -> rows */
static int l_size(lua_State *L) {
  lua_pushinteger(L, check_record(L, 1)->n);
  return 1;
}

void lbdl_open_record(lua_State *L) {
  luaL_newmetatable(L, LBDL_RECORD);
  lua_pushcfunction(L, record_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  static const luaL_Reg functions[] = {
    {"record", l_new}, {"record_reserve", l_reserve}, {"record_append", l_append}, {"record_events", l_events},
    {"record_tensor", l_tensor}, {"record_size", l_size}, {NULL, NULL},
  };
  luaL_setfuncs(L, functions, 0);
}

/*
** replay_lua.c -- recordings of runs (exec/replay.h), for lua/bdl/replay.lua.
*/
#include "binding/lbdl.h"
#include "exec/replay.h"

static bdl_exec_context *exec_of(lua_State *L) {
  bdl_exec_context *x;
  lbdl_check(L, bdl_exec_get(lbdl_ctx(L), &x));
  return x;
}

/* core.replay_record(path, header): what runs from now on is recorded */
static int l_record(lua_State *L) {
  size_t n;
  const char *path = luaL_checkstring(L, 1), *header = luaL_checklstring(L, 2, &n);
  lbdl_check(L, bdl_replay_record(exec_of(L), path, header, n));
  return 0;
}

/* core.replay_check(path): what runs from now on is compared */
static int l_check(lua_State *L) {
  lbdl_check(L, bdl_replay_check(exec_of(L), luaL_checkstring(L, 1)));
  return 0;
}

/* core.replay_end() -> number of results */
static int l_end(lua_State *L) {
  int64_t n;
  lbdl_check(L, bdl_replay_end(exec_of(L), &n));
  lua_pushinteger(L, (lua_Integer)n);
  return 1;
}

void lbdl_open_replay(lua_State *L) {
  static const luaL_Reg functions[] = {{"replay_record", l_record}, {"replay_check", l_check}, {"replay_end", l_end}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}

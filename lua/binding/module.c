/*
** module.c -- bdl for a Lua that is there already: `require "bdl"` in the program lua5.4.
** The context is freed with the Lua state, after all that was made of it: its anchor is the first object with a finalizer.
*/
#include "binding/host.h"

BDL_API int luaopen_bdl(lua_State *L);

static int anchor_gc(lua_State *L) {
  bdl **b = lua_touserdata(L, 1);
  if (*b) lbdl_fini(*b);
  *b = NULL;
  return 0;
}

int luaopen_bdl(lua_State *L) {
  luaL_checkversion(L);
  bdl **anchor = lua_newuserdatauv(L, sizeof *anchor, 0);
  *anchor = NULL;
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, anchor_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  luaL_ref(L, LUA_REGISTRYINDEX);
  const bdl_options o = bdl_defaults();
  *anchor = lbdl_new(&o);
  if (!*anchor) return luaL_error(L, "bdl: not enough memory");
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  lbdl_adopt(*anchor, L);
  lbdl_adopt(*anchor, lua_tothread(L, -1)); /* of which coroutines made later take it */
  lbdl_open_modules(L);
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "searchers");
  lua_rawgeti(L, -1, 2); /* the one of the built-in modules */
  lua_pushliteral(L, "bdl");
  lua_call(L, 1, 1);
  lua_pushliteral(L, "bdl");
  lua_call(L, 1, 1);
  return 1;
}

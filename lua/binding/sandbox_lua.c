/*
** sandbox_lua.c -- models of strangers: no files, no programs, no native code, and a budget; for lua/bdl/sandbox.lua, which chooses the
** names that they see.
*/
#include "base/context.h"
#include "binding/lbdl.h"
#include "exec/exec_context.h"

enum { INSTRUCTIONS = 1000 }; /* of Lua, that are a step */

static void watch(lua_State *L, lua_Debug *ar) {
  bdl_context *c = lbdl_ctx(L);
  (void)ar;
  bdl_spend(c);
  if (!c->budget.spent || !lbdl_where(L).file) return; /* without a model on the stack it is bdl that tells of it */
  lua_sethook(L, watch, LUA_MASKCOUNT, 1); /* nothing goes on that catches the error */
  bdl_budget_fail(c);
  lbdl_raise(L);
}

void lbdl_budget_hook(lua_State *L) {
  const bool on = lbdl_ctx(L)->budget.on;
  lua_sethook(L, on ? watch : NULL, on ? LUA_MASKCOUNT : 0, on ? INSTRUCTIONS : 0);
}

/* core.sandbox{steps =, seconds =, memory =}: from now on, for good; a limit that is nil or 0 is none */
static int l_sandbox(lua_State *L) {
  bdl_context *c = lbdl_ctx(L);
  bdl_exec_context *x;
  lbdl_check(L, bdl_exec_get(c, &x));
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_getfield(L, 1, "steps");
  lua_getfield(L, 1, "seconds");
  lua_getfield(L, 1, "memory");
  const lua_Integer memory = luaL_optinteger(L, 4, 0);
  if (x->elsewhere) return lbdl_error(L, BDL_ENOTSUP, "a sandbox runs on the CPU alone, not on gpu");
  if (memory > 0) c->mem_limit = (size_t)memory;
  x->native.tier = BDL_TIER_INTERP;
  c->sandboxed = true;
  bdl_budget_set(c, luaL_optinteger(L, 2, 0), luaL_optnumber(L, 3, 0));
  lbdl_budget_hook(L);
  return 0;
}

/* core.need_files(what): an error in a sandbox */
static int l_need_files(lua_State *L) {
  lbdl_check(L, bdl_need_files(lbdl_ctx(L), luaL_checkstring(L, 1)));
  return 0;
}

/* core.need_finalizers(): an error in a sandbox, for Lua watches nothing while one runs */
static int l_need_finalizers(lua_State *L) {
  if (lbdl_ctx(L)->sandboxed) return lbdl_error(L, BDL_ENOTSUP, "__gc: a sandboxed model has no finalizers; __close ends a block");
  return 0;
}

void lbdl_open_sandbox(lua_State *L) {
  static const luaL_Reg functions[] = {{"sandbox", l_sandbox}, {"need_files", l_need_files}, {"need_finalizers", l_need_finalizers}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}

/*
** error.c -- statuses to Lua errors.  An error is a table {kind, message, file, line, hint}; tostring gives
** "file:line: [Kind: ]message\n    hint".
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/context.h"
#include "binding/lbdl.h"

/* bdl's own Lua code is loaded under names that begin so. */
static bool is_own(const lua_Debug *ar) { return strncmp(ar->source, "@[bdl]", 6) == 0 || ar->what[0] == 'C'; }

bdl_src lbdl_where(lua_State *L) {
  lua_Debug ar;
  for (int level = 0; lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "Sl", &ar);
    if (is_own(&ar) || ar.currentline < 0) continue;
    const char *name = ar.source[0] == '@' || ar.source[0] == '=' ? ar.source + 1 : ar.short_src;
    const char *file = bdl_intern(lbdl_ctx(L), name);
    return (bdl_src){file, ar.currentline};
  }
  return (bdl_src){0};
}

void lbdl_push_error_object(lua_State *L, const char *kind, const char *message, bdl_src where, const char *hint) {
  lua_createtable(L, 0, 5);
  lua_pushstring(L, kind);
  lua_setfield(L, -2, "kind");
  lua_pushstring(L, message);
  lua_setfield(L, -2, "message");
  if (where.file) {
    lua_pushstring(L, where.file);
    lua_setfield(L, -2, "file");
    lua_pushinteger(L, where.line);
    lua_setfield(L, -2, "line");
  }
  if (hint && *hint) {
    lua_pushstring(L, hint);
    lua_setfield(L, -2, "hint");
  }
  luaL_setmetatable(L, "bdl.Error");
}

int lbdl_raise(lua_State *L) {
  bdl_error *e = bdl_last_error(lbdl_ctx(L));
  bdl_src where = e->where.file ? e->where : lbdl_where(L);
  lbdl_push_error_object(L, bdl_status_kind(e->status), e->message, where, e->hint);
  bdl_clear_error(lbdl_ctx(L));
  lua_error(L);
  __builtin_unreachable(); /* lua_error does not say that it never returns */
}

/* A hint given before the error (nothing is recorded yet) stays with it. */
int lbdl_error(lua_State *L, bdl_status s, const char *fmt, ...) {
  bdl_error *e = bdl_last_error(lbdl_ctx(L));
  char hint[sizeof e->hint] = "";
  if (e->status == BDL_OK) memcpy(hint, e->hint, sizeof hint);
  va_list ap;
  va_start(ap, fmt);
  bdl_failv(lbdl_ctx(L), s, fmt, ap);
  va_end(ap);
  memcpy(e->hint, hint, sizeof hint);
  return lbdl_raise(L);
}

static const char *field(lua_State *L, const char *name) {
  lua_getfield(L, 1, name);
  return lua_tostring(L, -1); /* stays on the stack: alive until the function returns */
}

static int error_tostring(lua_State *L) {
  const char *file = field(L, "file"), *kind = field(L, "kind"), *message = field(L, "message"), *hint = field(L, "hint");
  luaL_Buffer b;
  lua_getfield(L, 1, "line");
  lua_Integer line = lua_tointeger(L, -1);
  luaL_buffinit(L, &b);
  if (file) {
    luaL_addstring(&b, file);
    lua_pushfstring(L, ":%I: ", line);
    luaL_addvalue(&b);
  }
  if (kind && strcmp(kind, "SyntaxError") != 0) {
    luaL_addstring(&b, kind);
    luaL_addstring(&b, ": ");
  }
  luaL_addstring(&b, message ? message : "?");
  if (hint) {
    luaL_addstring(&b, "\n    ");
    luaL_addstring(&b, hint);
  }
  luaL_pushresult(&b);
  return 1;
}

/* core.fail(kind, level, format, ...): raise at the user's line; core.hint(text) before it adds a hint */
static int l_fail(lua_State *L) {
  bdl_error *e = bdl_last_error(lbdl_ctx(L));
  const char *kind = luaL_checkstring(L, 1);
  int n = lua_gettop(L);
  lua_getglobal(L, "string");
  lua_getfield(L, -1, "format");
  lua_replace(L, 2);
  lua_pop(L, 1);
  lua_pushvalue(L, 1);
  lua_remove(L, 1);
  lua_insert(L, 1); /* kind, format, arguments */
  lua_call(L, n - 2, 1);
  lbdl_push_error_object(L, kind, lua_tostring(L, -1), lbdl_where(L), e->hint);
  e->hint[0] = 0;
  return lua_error(L);
}

/* core.fail_at(kind, file, line, message): the same, hint included, at a place of which there is no stack frame */
static int l_fail_at(lua_State *L) {
  const char *file = bdl_intern(lbdl_ctx(L), luaL_checkstring(L, 2));
  if (!file) return lbdl_raise(L);
  bdl_src where = {file, (int32_t)luaL_checkinteger(L, 3)};
  lbdl_push_error_object(L, luaL_checkstring(L, 1), luaL_checkstring(L, 4), where, bdl_last_error(lbdl_ctx(L))->hint);
  bdl_clear_error(lbdl_ctx(L));
  return lua_error(L);
}

static int l_hint(lua_State *L) {
  bdl_error *e = bdl_last_error(lbdl_ctx(L));
  snprintf(e->hint, sizeof e->hint, "%s", luaL_checkstring(L, 1));
  return 0;
}

/* "models/net.lua:12: in method 'update'" */
static void push_frame(lua_State *L, lua_Debug *ar) {
  lua_getinfo(L, "n", ar);
  if (ar->currentline < 0) lua_pushliteral(L, "[C]: in ");
  else lua_pushfstring(L, "%s:%d: in ", ar->source[0] == '@' || ar->source[0] == '=' ? ar->source + 1 : ar->short_src, ar->currentline);
  if (ar->what[0] == 'm') lua_pushliteral(L, "main chunk");
  else if (ar->name) lua_pushfstring(L, "%s '%s'", *ar->namewhat ? ar->namewhat : "function", ar->name);
  else lua_pushfstring(L, "function <line %d>", ar->linedefined);
  lua_concat(L, 2);
}

/* The stack is kept where the error was raised; passing it on through protected calls must not lose it. */
int lbdl_traceback(lua_State *L) {
  lua_settop(L, 1);
  lua_getfield(L, LUA_REGISTRYINDEX, "bdl.failed");
  if (lua_rawequal(L, 1, 2)) return lua_settop(L, 1), 1;
  lua_newtable(L);
  lua_Debug ar;
  lua_Integer n = 0;
  for (int level = 1; n < 50 && lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "Sl", &ar);
    if (is_own(&ar) && !lbdl_of(L)->full_traceback) continue;
    push_frame(L, &ar);
    lua_rawseti(L, 3, ++n);
  }
  lua_setfield(L, LUA_REGISTRYINDEX, "bdl.frames");
  lua_pushvalue(L, 1);
  lua_setfield(L, LUA_REGISTRYINDEX, "bdl.failed");
  lua_settop(L, 1);
  return 1;
}

/* core.frames(e) -> list of text, innermost first, of the stack that raised e; nil: it was not seen.  Forgets it. */
static int l_frames(lua_State *L) {
  lua_settop(L, 1);
  lua_getfield(L, LUA_REGISTRYINDEX, "bdl.failed");
  if (lua_isnil(L, 1) || !lua_rawequal(L, 1, 2)) return 0;
  lua_pushnil(L);
  lua_setfield(L, LUA_REGISTRYINDEX, "bdl.failed");
  lua_getfield(L, LUA_REGISTRYINDEX, "bdl.frames");
  return 1;
}

/* core.where() -> file, line of the user's code; nil when there is none */
static int l_where(lua_State *L) {
  bdl_src w = lbdl_where(L);
  if (!w.file) return 0;
  lua_pushstring(L, w.file);
  lua_pushinteger(L, w.line);
  return 2;
}

void lbdl_open_errors(lua_State *L) {
  luaL_newmetatable(L, "bdl.Error");
  lua_pushcfunction(L, error_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushliteral(L, "Error");
  lua_setfield(L, -2, "__name");
  lua_pop(L, 1);
  const char *full = getenv("BDL_TRACEBACK");
  lbdl_of(L)->full_traceback = full && strcmp(full, "full") == 0;
  static const luaL_Reg functions[] = {
    {"fail", l_fail}, {"fail_at", l_fail_at}, {"hint", l_hint}, {"where", l_where}, {"traceback", lbdl_traceback},
    {"frames", l_frames}, {NULL, NULL},
  };
  luaL_setfuncs(L, functions, 0);
}

/*
** origin.c -- where a value came from, for messages: " (from line 40)", " (State 'w', line 9)".  What is not known is not said.
*/
#include <string.h>

#include "base/context.h"
#include "binding/lbdl.h"
#include "binding/state_lua.h"

/* The State that holds the concrete tensor x now; NULL: none. */
static const bdl_state *holder(lua_State *L, const lbdl_tensor *x) {
  const bdl_state *found = NULL;
  const int top = lua_gettop(L);
  luaL_checkstack(L, 6, "States");
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, "bdl.state") == LUA_TTABLE && lua_getfield(L, -1, "of_id") == LUA_TTABLE)
    for (lua_pushnil(L); !found && lua_next(L, top + 3); lua_settop(L, top + 4)) {
      lua_pushliteral(L, "_handle");
      lua_rawget(L, -2);
      bdl_state **h = luaL_testudata(L, -1, LBDL_STATE);
      for (int32_t i = 0; h && *h && i < (*h)->n && !found; i++)
        if ((*h)->leaf[i].value.buf == x->t.buf) found = *h;
    }
  lua_settop(L, top);
  return found;
}

/* The line of the equation that made the traced x, or the State that it was read from. */
static const bdl_state *traced_from(lua_State *L, const lbdl_tensor *x, bdl_src *line) {
  const bdl_trace *t = bdl_trace_find(lbdl_ctx(L), x->trace);
  for (bdl_atom a = x->atom; t; t = t->parent) {
    const bdl_var *v = &t->prog->vars.v[a];
    if (v->kind == BDL_V_EQN) *line = t->prog->eqns.v[v->index].src;
    if (v->kind != BDL_V_INPUT || v->index >= t->sources.n) break;
    const bdl_source from = t->sources.v[v->index];
    if (from.kind == BDL_FROM_STATE) return t->states.v[from.index].state;
    if (from.kind != BDL_FROM_CAPTURE) break;
    a = from.outer;
  }
  return NULL;
}

/* "line 9", with the file where the error is in another one */
static void push_line(lua_State *L, bdl_src here, bdl_src at) {
  if (at.file == here.file) lua_pushfstring(L, "line %d", (int)at.line);
  else lua_pushfstring(L, "%s:%d", at.file, (int)at.line);
}

/* The name of s, or its path in a model; pushes one value. */
static const char *push_name(lua_State *L, const bdl_state *s) {
  if (*s->name) return lua_pushstring(L, s->name);
  const int top = lua_gettop(L);
  const bdl_error kept = *bdl_last_error(lbdl_ctx(L)); /* the search must not replace it */
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, "bdl.state") == LUA_TTABLE && lua_getfield(L, -1, "place") == LUA_TFUNCTION) {
    lua_pushinteger(L, (lua_Integer)s->id);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK) lua_pushnil(L);
  }
  *bdl_last_error(lbdl_ctx(L)) = kept;
  lua_replace(L, top + 1);
  lua_settop(L, top + 1);
  return lua_tostring(L, -1);
}

void lbdl_push_state_origin(lua_State *L, const bdl_state *s) {
  const int top = lua_gettop(L);
  const char *name = push_name(L, s);
  name = name ? lua_pushfstring(L, "State '%s'", name) : lua_pushliteral(L, "State");
  if (s->src.file) {
    push_line(L, lbdl_where(L), s->src);
    lua_pushfstring(L, "%s, %s", name, lua_tostring(L, -1));
  }
  lua_replace(L, top + 1);
  lua_settop(L, top + 1);
}

const char *lbdl_push_origin(lua_State *L, const lbdl_tensor *x) {
  bdl_src line = {0}, here = lbdl_where(L);
  const bdl_state *s = lbdl_traced(x) ? traced_from(L, x, &line) : holder(L, x);
  if (s) {
    lbdl_push_state_origin(L, s);
    lua_pushfstring(L, " (%s)", lua_tostring(L, -1));
    lua_remove(L, -2);
  } else if (line.file && (line.file != here.file || line.line != here.line)) {
    push_line(L, here, line);
    lua_pushfstring(L, " (from %s)", lua_tostring(L, -1));
    lua_remove(L, -2);
  } else lua_pushliteral(L, "");
  return lua_tostring(L, -1);
}

void lbdl_name_origins(lua_State *L, int first, int n) {
  bdl_error *e = bdl_last_error(lbdl_ctx(L));
  char *at = e->message, text[BDL_AVAL_TEXT];
  luaL_checkstack(L, 8, "origins");
  for (int i = 0; i < n; i++) {
    const lbdl_tensor *x = lbdl_test_tensor(L, first + i);
    char *found = strstr(at, bdl_aval_text(&x->t.aval, true, text));
    if (!found) found = strstr(at, bdl_aval_text(&x->t.aval, false, text));
    if (!found) continue;
    const char *origin = lbdl_push_origin(L, x);
    const size_t len = strlen(origin);
    at = found + strlen(text);
    if (strlen(e->message) + len < sizeof e->message) {
      memmove(at + len, at, strlen(at) + 1);
      memcpy(at, origin, len);
      at += len;
    }
    lua_pop(L, 1);
  }
}

/* core.origin(x) -> text to put behind x in a message */
static int l_origin(lua_State *L) {
  const lbdl_tensor *x = lbdl_test_tensor(L, 1);
  if (x) lbdl_push_origin(L, x);
  else lua_pushliteral(L, "");
  return 1;
}

void lbdl_open_origins(lua_State *L) {
  static const luaL_Reg functions[] = {{"origin", l_origin}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}

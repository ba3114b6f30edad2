/*
** tree.c -- nested tables to leaves and a treedef, and back.
**
** treedef: `*` a leaf, `[*,*]` a list, `{a:*,"b c":[*]}` a table with sorted keys (numbers first), `~` bdl.none,
** `@Kind{..}` an object that core.tree_object takes apart (ordered maps); core.tree_kinds[Kind](keys, values) makes it again.
*/
#include <stdlib.h>
#include <string.h>

#include "base/context.h"
#include "binding/lbdl.h"

static const char KINDS; /* its address: registry key of core.tree_kinds */

/* ---- flatten ------------------------------------------------------------------------------------ */

typedef struct flattener {
  int leaves, pieces; /* stack positions of the tables that collect */
  lua_Integer n_leaves, n_pieces;
  int depth;
} flattener;

static void piece(lua_State *L, flattener *f, const char *s) {
  lua_pushstring(L, s);
  lua_rawseti(L, f->pieces, ++f->n_pieces);
}

static bool plain_key(const char *s) {
  if (!*s || (*s >= '0' && *s <= '9')) return false;
  for (; *s; s++)
    if (!(*s == '_' || (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9'))) return false;
  return true;
}

static void key_piece(lua_State *L, flattener *f, int arg) {
  if (lua_isinteger(L, arg)) lua_pushfstring(L, "%I:", lua_tointeger(L, arg));
  else if (plain_key(lua_tostring(L, arg))) lua_pushfstring(L, "%s:", lua_tostring(L, arg));
  else {
    luaL_Buffer b;
    const char *s = lua_tostring(L, arg);
    luaL_buffinit(L, &b);
    luaL_addchar(&b, '"');
    for (; *s; s++) {
      if (*s == '"' || *s == '\\') luaL_addchar(&b, '\\');
      luaL_addchar(&b, *s);
    }
    luaL_addstring(&b, "\":");
    luaL_pushresult(&b);
  }
  lua_rawseti(L, f->pieces, ++f->n_pieces);
}

static int order_keys(lua_State *L) { /* numbers before strings */
  bool a = lua_type(L, 1) == LUA_TNUMBER, b = lua_type(L, 2) == LUA_TNUMBER;
  lua_pushboolean(L, a != b ? a : lua_compare(L, 1, 2, LUA_OPLT));
  return 1;
}

static void flatten(lua_State *L, int arg, flattener *f);

/* kind, keys, values of an object are the top three values */
static void flatten_object(lua_State *L, flattener *f) {
  int kind = lua_gettop(L) - 2;
  piece(L, f, "@");
  piece(L, f, lua_tostring(L, kind));
  piece(L, f, "{");
  lua_Integer n = (lua_Integer)lua_rawlen(L, kind + 1);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, kind + 1, i);
    key_piece(L, f, lua_gettop(L));
    lua_rawgeti(L, kind + 2, i);
    flatten(L, lua_gettop(L), f);
    piece(L, f, i < n ? "," : "");
    lua_pop(L, 2);
  }
  piece(L, f, "}");
}

static bool is_none(lua_State *L, int arg) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &KINDS);
  lua_getfield(L, -1, "none");
  bool same = lua_rawequal(L, -1, arg);
  lua_pop(L, 2);
  return same;
}

static bool is_shape(lua_State *L, int arg) {
  lua_getmetatable(L, arg);
  luaL_getmetatable(L, "bdl.Shape");
  bool same = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return same;
}

/* Pushes kind, keys, values of an object that core.tree_object knows; else an error. */
static void take_apart(lua_State *L, int arg) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &KINDS);
  lua_getfield(L, -1, "object");
  lua_remove(L, -2);
  if (lua_isfunction(L, -1)) {
    lua_pushvalue(L, arg);
    lua_call(L, 1, 3);
    if (lua_type(L, -3) == LUA_TSTRING) return;
    lua_pop(L, 2);
  }
  lua_pop(L, 1);
  bool named = luaL_getmetafield(L, arg, "__name") == LUA_TSTRING;
  bdl_hint(lbdl_ctx(L), "pass s.value, or let the function refer to the object");
  lbdl_error(L, BDL_EVALUE, "a %s is not a value: values are tensors, numbers and tables of these", named ? lua_tostring(L, -1) : "object");
}

static void flatten_table(lua_State *L, int arg, flattener *f) {
  lua_Integer n = (lua_Integer)lua_rawlen(L, arg), count = 0;
  lua_newtable(L);
  int keys = lua_gettop(L);
  bool list = true;
  lua_pushnil(L);
  while (lua_next(L, arg)) {
    lua_pop(L, 1);
    bool position = lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 1 && lua_tointeger(L, -1) <= n;
    list &= position;
    if (!lua_isinteger(L, -1) && lua_type(L, -1) != LUA_TSTRING)
      lbdl_error(L, BDL_ETYPE, "keys of a tree are strings and positions, not a %s", luaL_typename(L, -1));
    lua_pushvalue(L, -1);
    lua_rawseti(L, keys, ++count);
  }
  list &= count == n && n > 0;
  piece(L, f, list ? "[" : "{");
  if (!list && count > 1) {
    lua_getglobal(L, "table");
    lua_getfield(L, -1, "sort");
    lua_pushvalue(L, keys);
    lua_pushcfunction(L, order_keys);
    lua_call(L, 2, 0);
    lua_pop(L, 1);
  }
  for (lua_Integer i = 1; i <= count; i++) {
    if (list) lua_pushinteger(L, i);
    else {
      lua_rawgeti(L, keys, i);
      key_piece(L, f, lua_gettop(L));
    }
    lua_rawget(L, arg);
    flatten(L, lua_gettop(L), f);
    piece(L, f, i < count ? "," : "");
    lua_pop(L, 1);
  }
  piece(L, f, list ? "]" : "}");
  lua_pop(L, 1);
}

static void flatten(lua_State *L, int arg, flattener *f) {
  luaL_checkstack(L, 12, "nested values");
  if (++f->depth > 64) lbdl_error(L, BDL_EVALUE, "values nested deeper than 64 levels; a cycle?");
  if (lua_istable(L, arg)) {
    if (is_none(L, arg)) piece(L, f, "~");
    else if (lua_getmetatable(L, arg) && (lua_pop(L, 1), !is_shape(L, arg))) {
      take_apart(L, arg);
      flatten_object(L, f);
      lua_pop(L, 3);
    } else flatten_table(L, arg, f);
  } else {
    lua_pushvalue(L, arg);
    lbdl_to_tensor(L, -1);
    lua_rawseti(L, f->leaves, ++f->n_leaves);
    piece(L, f, "*");
  }
  f->depth--;
}

int lbdl_flatten(lua_State *L, int arg) {
  arg = lua_absindex(L, arg);
  if (lbdl_test_tensor(L, arg)) { /* one tensor: no tables needed */
    lua_pushvalue(L, arg);
    lua_pushliteral(L, "*");
    return 1;
  }
  lua_newtable(L);
  lua_newtable(L);
  flattener f = {.leaves = lua_gettop(L) - 1, .pieces = lua_gettop(L)};
  flatten(L, arg, &f);
  luaL_Buffer b;
  int leaves = f.leaves;
  luaL_checkstack(L, (int)f.n_leaves + 8, "leaves");
  luaL_buffinit(L, &b);
  for (lua_Integer i = 1; i <= f.n_pieces; i++) {
    lua_rawgeti(L, f.pieces, i);
    luaL_addvalue(&b);
  }
  luaL_pushresult(&b);
  lua_replace(L, f.pieces); /* leaves table, treedef */
  for (lua_Integer i = 1; i <= f.n_leaves; i++) lua_rawgeti(L, leaves, i);
  lua_pushvalue(L, f.pieces);
  lua_remove(L, f.pieces);
  lua_remove(L, leaves);
  return (int)f.n_leaves;
}

/* ---- unflatten ------------------------------------------------------------------------------------- */

typedef struct builder {
  const char *s;
  int next; /* stack position of the next leaf */
} builder;

static void push_key(lua_State *L, builder *b) {
  if (*b->s == '"') {
    luaL_Buffer k;
    luaL_buffinit(L, &k);
    for (b->s++; *b->s && *b->s != '"'; b->s++) {
      if (*b->s == '\\') b->s++;
      luaL_addchar(&k, *b->s);
    }
    b->s++;
    luaL_pushresult(&k);
  } else {
    size_t n = strcspn(b->s, ":");
    lua_pushlstring(L, b->s, n);
    if ((*b->s >= '0' && *b->s <= '9') || *b->s == '-') {
      lua_pushinteger(L, (lua_Integer)strtoll(b->s, NULL, 10));
      lua_remove(L, -2);
    }
    b->s += n;
  }
  b->s++; /* ':' */
}

static void build(lua_State *L, builder *b) {
  luaL_checkstack(L, 8, "nested values");
  char c = *b->s++;
  if (c == '*') lua_pushvalue(L, b->next++);
  else if (c == '~') {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &KINDS);
    lua_getfield(L, -1, "none");
    lua_remove(L, -2);
  }
  else if (c == '[') {
    lua_newtable(L);
    for (lua_Integer i = 1; *b->s != ']'; i++) {
      build(L, b);
      lua_rawseti(L, -2, i);
      if (*b->s == ',') b->s++;
    }
    b->s++;
  } else if (c == '@') {
    size_t n = strcspn(b->s, "{");
    lua_rawgetp(L, LUA_REGISTRYINDEX, &KINDS);
    lua_pushlstring(L, b->s, n);
    lua_rawget(L, -2);
    lua_remove(L, -2);
    b->s += n + 1;
    lua_newtable(L);
    lua_newtable(L);
    for (lua_Integer i = 1; *b->s != '}'; i++) {
      push_key(L, b);
      lua_rawseti(L, -3, i);
      build(L, b);
      lua_rawseti(L, -2, i);
      if (*b->s == ',') b->s++;
    }
    b->s++;
    lua_call(L, 2, 1);
  } else {
    lua_newtable(L);
    while (*b->s != '}') {
      push_key(L, b);
      build(L, b);
      lua_rawset(L, -3);
      if (*b->s == ',') b->s++;
    }
    b->s++;
  }
}

void lbdl_unflatten(lua_State *L, const char *treedef, int n) {
  if (n == 1 && treedef[0] == '*') return;
  int first = lua_gettop(L) - n + 1;
  builder b = {treedef, first};
  build(L, &b);
  if (n == 0) return;
  lua_replace(L, first);
  lua_settop(L, first);
}

/* core.flatten(value) -> leaves, treedef */
static int l_flatten(lua_State *L) {
  luaL_checkany(L, 1);
  lua_settop(L, 1);
  int n = lbdl_flatten(L, 1);
  lua_createtable(L, n, 0);
  lua_insert(L, 2);
  lua_insert(L, 3); /* value, table, treedef, leaves */
  for (int i = n; i >= 1; i--) lua_rawseti(L, 2, i);
  return 2;
}

/* core.unflatten(treedef, leaves) -> value */
static int l_unflatten(lua_State *L) {
  const char *treedef = luaL_checkstring(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  int n = (int)lua_rawlen(L, 2), need = 0;
  bool quoted = false;
  for (const char *s = treedef; *s; s++) {
    if (*s == '\\' && quoted) s++;
    else if (*s == '"') quoted = !quoted;
    else if (*s == '*' && !quoted) need++;
  }
  if (need != n) return lbdl_error(L, BDL_EVALUE, "%d leaves do not fill the structure %s", n, treedef);
  luaL_checkstack(L, n + 8, "leaves");
  for (int i = 1; i <= n; i++) lua_rawgeti(L, 2, i);
  lbdl_unflatten(L, treedef, n);
  return 1;
}

void lbdl_open_tree(lua_State *L) {
  static const luaL_Reg functions[] = {{"flatten", l_flatten}, {"unflatten", l_unflatten}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
  lua_newtable(L); /* none, object, and a function a kind */
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &KINDS);
  lua_setfield(L, -2, "tree_kinds");
}

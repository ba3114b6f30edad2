/*
** state_lua.c -- handles of States.
*/
#include <string.h>

#include "base/context.h"
#include "binding/lbdl.h"
#include "binding/state_lua.h"

bdl_state *lbdl_check_state(lua_State *L, int arg) { return *(bdl_state **)luaL_checkudata(L, arg, LBDL_STATE); }

void lbdl_push_state(lua_State *L, bdl_state *s) {
  bdl_state **h = lua_newuserdatauv(L, sizeof *h, 0);
  *h = NULL;
  luaL_setmetatable(L, LBDL_STATE);
  bdl_state_ref(s);
  *h = s;
}

static int state_gc(lua_State *L) {
  bdl_state **h = luaL_checkudata(L, 1, LBDL_STATE);
  if (*h) bdl_state_unref(*h);
  *h = NULL;
  return 0;
}

/* The atoms of the top n values, in an array that Lua owns (pushed). */
static bdl_atom *atoms_of(lua_State *L, bdl_trace *t, int first, int n) {
  bdl_atom *a = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *a, 0);
  for (int i = 0; i < n; i++) a[i] = lbdl_atom(L, t, lbdl_test_tensor(L, first + i));
  return a;
}

/* New concrete leaves: references of their own, so that later writes in place cannot reach the caller's tensors. */
static void assign(lua_State *L, bdl_state *s, int first) {
  bdl_tensor *v = lua_newuserdatauv(L, (size_t)(s->n + 1) * sizeof *v, 0);
  for (int i = 0; i < s->n; i++) {
    lbdl_tensor *x = lbdl_test_tensor(L, first + i);
    if (lbdl_traced(x)) lbdl_error(L, BDL_ETRACE, "a traced value would outlive its trace in a State");
  }
  for (int i = 0; i < s->n; i++) v[i] = bdl_tensor_ref(&lbdl_test_tensor(L, first + i)->t);
  lbdl_check(L, bdl_state_assign(s, v));
}

/* core.state_new(value, {name =}) -> handle */
static int l_new(lua_State *L) {
  const char *name = NULL;
  bdl_context *c = lbdl_ctx(L);
  if (lua_istable(L, 2)) {
    lua_getfield(L, 2, "name");
    name = lua_tostring(L, -1);
  }
  int first = lua_gettop(L) + 1, n = lbdl_flatten(L, 1);
  const char *treedef = lua_tostring(L, -1);
  bdl_aval *avals = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *avals, 0);
  for (int i = 0; i < n; i++) avals[i] = lbdl_test_tensor(L, first + i)->t.aval;
  bdl_state **h = lua_newuserdatauv(L, sizeof *h, 0);
  *h = NULL;
  luaL_setmetatable(L, LBDL_STATE);
  lbdl_check(L, bdl_state_new(c, name, treedef, n, avals, h));
  bdl_state *s = *h;
  s->src = lbdl_where(L);
  for (int i = 0; i < n; i++) s->leaf[i].unit = lbdl_test_tensor(L, first + i)->unit;
  bdl_trace *t = bdl_trace_current(c);
  if (t) {
    lbdl_check(L, bdl_trace_create(t, s, atoms_of(L, t, first, n)));
    lua_pop(L, 1);
  } else {
    assign(L, s, first);
    lua_pop(L, 1);
    lbdl_of(L)->states_made++;
  }
  lua_pushvalue(L, first + n + 2);
  return 1;
}

void lbdl_push_state_value(lua_State *L, bdl_state *s) {
  lbdl_check(L, bdl_state_check_alive(s));
  bdl_trace *t = bdl_trace_current(s->ctx);
  const bdl_atom *now = NULL;
  if (t) lbdl_check(L, bdl_trace_read(t, s, &now));
  luaL_checkstack(L, s->n + 4, "leaves of a State");
  for (int i = 0; i < s->n; i++)
    if (t) lbdl_push_traced(L, t, now[i], s->leaf[i].unit);
    else lbdl_push_concrete(L, bdl_tensor_ref(&s->leaf[i].value), s->leaf[i].unit);
  lbdl_unflatten(L, s->treedef, s->n);
}

static int l_get(lua_State *L) {
  lbdl_push_state_value(L, lbdl_check_state(L, 1));
  return 1;
}

static const char *what(const bdl_unit *u) { return u ? bdl_unit_text(u) : "a plain number"; }

/* The leaves of the value at 2 in the State's units and, where they are numbers of Lua, its dtypes; their stack position. */
static int conform(lua_State *L, bdl_state *s) {
  int first = lua_gettop(L) + 1, n = lbdl_flatten(L, 2);
  const char *treedef = lua_tostring(L, -1);
  char text[BDL_STATE_TEXT];
  if (strcmp(treedef, s->treedef) != 0) {
    bdl_hint(s->ctx, "the structure of a State's value is fixed when it is made");
    lbdl_error(L, BDL_EVALUE, "%s has the structure %s; %s was given", bdl_state_text(s, text), s->treedef, treedef);
  }
  lua_pop(L, 1);
  for (int i = 0; i < n; i++) {
    lbdl_tensor *x = lbdl_test_tensor(L, first + i);
    if (x->unit != s->leaf[i].unit) {
      if (!bdl_unit_same_dim(x->unit, s->leaf[i].unit))
        lbdl_error(L, BDL_EUNIT, "%s holds %s; %s was given", bdl_state_text(s, text), what(s->leaf[i].unit), what(x->unit));
      lbdl_convert_unit(L, first + i, s->leaf[i].unit);
      x = lbdl_test_tensor(L, first + i);
    }
    bdl_dtype want = bdl_state_aval(bdl_trace_current(s->ctx), s, i)->dtype;
    bool same_kind = bdl_dtype_is_float(want) || !bdl_dtype_is_float(x->t.aval.dtype);
    if (x->weak && x->t.aval.dtype != want && same_kind && want != BDL_BOOL) lbdl_cast(L, first + i, want);
  }
  return first;
}

static int write(lua_State *L, bdl_status (*into_trace)(bdl_trace *, bdl_state *, const bdl_atom *)) {
  bdl_state *s = lbdl_check_state(L, 1);
  lua_settop(L, 2);
  bdl_trace *t = bdl_trace_current(s->ctx);
  int first = conform(L, s);
  if (t) {
    t->prog->src = lbdl_where(L);
    lbdl_check(L, into_trace(t, s, atoms_of(L, t, first, s->n)));
  } else assign(L, s, first);
  return 0;
}

static int l_set(lua_State *L) { return write(L, bdl_trace_write); }
static int l_restore(lua_State *L) { return write(L, bdl_trace_restore); }

/*
** core.state_give(h, leaves): new values, of any shapes, as they come out of a transformation.  A State of a finished trace
** lives on in the trace around, or outside.
*/
static int l_give(lua_State *L) {
  bdl_state *s = lbdl_check_state(L, 1);
  bdl_trace *t = bdl_trace_current(s->ctx);
  bool alive = s->trace == 0 || bdl_trace_find(s->ctx, s->trace);
  lua_settop(L, 2);
  luaL_checkstack(L, s->n + 8, "leaves of a State");
  for (int i = 1; i <= s->n; i++) lua_rawgeti(L, 2, i);
  if (t) lbdl_check(L, (alive ? bdl_trace_grow : bdl_trace_create)(t, s, atoms_of(L, t, 3, s->n)));
  else assign(L, s, 3);
  return 0;
}

static int l_treedef(lua_State *L) {
  lua_pushstring(L, lbdl_check_state(L, 1)->treedef);
  return 1;
}

/* core.state_leaves(h) -> list of {dtype =, shape =, unit =} */
static int l_leaves(lua_State *L) {
  bdl_state *s = lbdl_check_state(L, 1);
  bdl_trace *t = s->trace && !bdl_trace_find(s->ctx, s->trace) ? NULL : bdl_trace_current(s->ctx);
  lua_createtable(L, s->n, 0);
  for (int i = 0; i < s->n; i++) {
    const bdl_aval *a = bdl_state_aval(t, s, i);
    lua_createtable(L, 0, 3);
    lua_pushstring(L, bdl_dtype_long_name(a->dtype));
    lua_setfield(L, -2, "dtype");
    lua_createtable(L, a->ndim, 0);
    for (int k = 0; k < a->ndim; k++) {
      lua_pushinteger(L, a->shape[k]);
      lua_rawseti(L, -2, k + 1);
    }
    luaL_setmetatable(L, "bdl.Shape");
    lua_setfield(L, -2, "shape");
    lbdl_push_unit(L, s->leaf[i].unit);
    lua_setfield(L, -2, "unit");
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

static int l_id(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)lbdl_check_state(L, 1)->id);
  return 1;
}

/* core.state_where(h) -> file, line of its creation */
static int l_made_at(lua_State *L) {
  bdl_state *s = lbdl_check_state(L, 1);
  if (!s->src.file) return 0;
  lua_pushstring(L, s->src.file);
  lua_pushinteger(L, s->src.line);
  return 2;
}

static int l_rename(lua_State *L) {
  bdl_state *s = lbdl_check_state(L, 1);
  const char *name = bdl_intern(s->ctx, luaL_checkstring(L, 2));
  if (!name) return lbdl_raise(L);
  s->name = name;
  return 0;
}

void lbdl_open_state(lua_State *L) {
  luaL_newmetatable(L, LBDL_STATE);
  lua_pushcfunction(L, state_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  static const luaL_Reg functions[] = {
    {"state_new", l_new}, {"state_get", l_get}, {"state_set", l_set}, {"state_restore", l_restore}, {"state_give", l_give}, {"state_treedef", l_treedef},
    {"state_leaves", l_leaves}, {"state_id", l_id}, {"state_where", l_made_at}, {"state_rename", l_rename}, {NULL, NULL},
  };
  luaL_setfuncs(L, functions, 0);
}

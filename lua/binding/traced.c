/*
** traced.c -- tracing a Lua function.
*/
#include <string.h>

#include "base/context.h"
#include "binding/traced.h"

static int traced_gc(lua_State *L) {
  lbdl_traced_fn *fn = luaL_checkudata(L, 1, LBDL_TRACED);
  bdl_context *c = lbdl_ctx(L);
  if (fn->t) bdl_trace_free(fn->t);
  fn->t = NULL;
  BDL_VEC_FREE(c, fn->out);
  BDL_VEC_FREE(c, fn->results);
  return 0;
}

typedef struct request {
  lbdl_traced_fn *fn;
  int n_values, n_plain;
  const char *const *treedef;
  const int *count;
  const lbdl_example *ex;
} request;

/* Runs inside the trace, protected: (request, function, plain arguments...) */
static int body(lua_State *L) {
  request *r = lua_touserdata(L, 1);
  bdl_context *c = lbdl_ctx(L);
  bdl_trace *t = r->fn->t;
  int32_t leaf = 0;
  lua_remove(L, 1);
  for (int v = 0; v < r->n_values; v++) {
    luaL_checkstack(L, r->count[v] + 8, "arguments");
    for (int i = 0; i < r->count[v]; i++, leaf++) {
      bdl_atom x;
      lbdl_check(L, bdl_trace_argument(t, leaf, &r->ex[leaf].aval, &x));
      lbdl_push_traced(L, t, x, r->ex[leaf].unit)->weak = r->ex[leaf].weak;
    }
    lbdl_unflatten(L, r->treedef[v], r->count[v]);
    lua_insert(L, 2 + v); /* in front of the plain arguments */
  }
  lua_call(L, r->n_values + r->n_plain, LUA_MULTRET);
  int n = lua_gettop(L);
  luaL_checkstack(L, 8, "results");
  for (int v = 1; v <= n; v++) {
    if (lua_isnil(L, v)) {
      if (v == n) break;
      lbdl_error(L, BDL_EVALUE, "result %d of a traced function is nil", v);
    }
    int first = lua_gettop(L) + 1, leaves = lbdl_flatten(L, v);
    lbdl_result res = {bdl_intern(c, lua_tostring(L, -1)), (int32_t)r->fn->out.n, leaves};
    if (!res.treedef || !BDL_PUSH(c, r->fn->results, res)) lbdl_raise(L);
    for (int i = 0; i < leaves; i++) {
      lbdl_tensor *x = lbdl_test_tensor(L, first + i);
      lbdl_trace_out o = {lbdl_atom(L, t, x), x->unit, x->weak};
      if (!BDL_PUSH(c, r->fn->out, o)) lbdl_raise(L);
    }
    lua_settop(L, first - 1);
  }
  return 0;
}

static lbdl_traced_fn *trace(lua_State *L, int f, const char *name, int n_values, const char *const *treedef, const int *count,
                             const lbdl_example *ex, int plain, int n_plain, const lbdl_views *views) {
  lbdl_traced_fn *fn = lua_newuserdatauv(L, sizeof *fn, 0);
  memset(fn, 0, sizeof *fn);
  luaL_setmetatable(L, LBDL_TRACED);
  request r = {fn, n_values, n_plain, treedef, count, ex};
  luaL_checkstack(L, n_plain + 8, "arguments");
  lua_pushcfunction(L, lbdl_traceback);
  int handler = lua_gettop(L);
  lua_pushcfunction(L, body);
  lua_pushlightuserdata(L, &r);
  lua_pushvalue(L, f);
  for (int i = 0; i < n_plain; i++) lua_pushvalue(L, plain + i);
  bdl_trace *t;
  lbdl_check(L, bdl_trace_push(lbdl_ctx(L), name, &t));
  t->prog->src = lbdl_where(L);
  fn->t = t;
  const bdl_aval *a = views->aval;
  bdl_status seen = BDL_OK;
  for (int i = 0; i < views->n && seen == BDL_OK; a += views->state[i++]->n) seen = bdl_trace_view(t, views->state[i], a);
  int status = seen == BDL_OK ? lua_pcall(L, 2 + n_plain, 0, handler) : LUA_OK;
  bdl_trace_pop(t);
  lbdl_check(L, seen);
  if (status != LUA_OK) {
    fn->t = NULL;
    bdl_trace_free(t);
    lua_error(L);
  }
  lua_remove(L, handler);
  return fn;
}

lbdl_traced_fn *lbdl_trace(lua_State *L, int f, const char *name, int n_values, const char *const *treedef, const int *count,
                           const lbdl_example *ex, int plain, int n_plain) {
  return trace(L, f, name, n_values, treedef, count, ex, plain, n_plain, &(lbdl_views){0});
}

lbdl_traced_fn *lbdl_trace_lane(lua_State *L, int f, const char *name, int n_values, const char *const *treedef, const int *count,
                                const lbdl_example *ex, const lbdl_views *views) {
  return trace(L, f, name, n_values, treedef, count, ex, 0, 0, views);
}

void lbdl_arrange(lua_State *L, lbdl_traced_fn *fn, const int32_t *order, int n) {
  bdl_prog *p = fn->t->prog;
  bdl_atom *in = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *in, 0);
  for (int i = 0; i < n; i++) in[i] = p->inputs.v[order[i]];
  if (n > 0) memcpy(p->inputs.v, in, (size_t)n * sizeof *in); /* without inputs there is no list */
  p->inputs.n = n;
  for (int i = 0; i < n; i++) p->vars.v[in[i]].index = i;
  lua_pop(L, 1);
}

static int l_tracing(lua_State *L) {
  lua_pushboolean(L, bdl_trace_current(lbdl_ctx(L)) != NULL);
  return 1;
}

void lbdl_open_trace(lua_State *L) {
  luaL_newmetatable(L, LBDL_TRACED);
  lua_pushcfunction(L, traced_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  static const luaL_Reg functions[] = {{"tracing", l_tracing}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}

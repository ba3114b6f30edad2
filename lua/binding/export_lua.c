/*
** export_lua.c -- compiled functions and their States written as C (runtime/export); names and notes come from Lua.
*/
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/context.h"
#include "binding/jit.h"
#include "cpu/array.h"
#include "export/export.h"

/* core.entry_states(entry) -> a list of {id, name, number of leaves} of the States that it touches */
static int l_states(lua_State *L) {
  const lbdl_entry *e = lbdl_test_entry(L, 1);
  luaL_argcheck(L, e, 1, "a program");
  lua_createtable(L, e->n_states, 0);
  for (int32_t i = 0; i < e->n_states; i++) {
    const bdl_state *s = e->states[i].state;
    lua_createtable(L, 3, 0);
    lua_pushinteger(L, (lua_Integer)s->id);
    lua_rawseti(L, -2, 1);
    lua_pushstring(L, s->name);
    lua_rawseti(L, -2, 2);
    lua_pushinteger(L, s->n);
    lua_rawseti(L, -2, 3);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/* Memory that lives as long as the call. */
static void *room(lua_State *L, size_t n, size_t size) {
  luaL_checkstack(L, 4, "export");
  void *p = lua_newuserdatauv(L, (n + 1) * size, 0);
  memset(p, 0, (n + 1) * size);
  return p;
}

/* The text of field k of the table on top. */
static const char *text_at(lua_State *L, int k) {
  lua_rawgeti(L, -1, k);
  const char *s = lua_tostring(L, -1);
  lua_pop(L, 1); /* it stays in the table */
  return s ? s : "";
}

/* {name, note} number k of the list on top. */
static bdl_export_value value_at(lua_State *L, int k, const bdl_aval *a) {
  bdl_export_value v = {.aval = *a};
  lua_rawgeti(L, -1, k);
  luaL_argcheck(L, lua_istable(L, -1), 5, "a name is missing");
  v.name = text_at(L, 1);
  v.note = text_at(L, 2);
  lua_pop(L, 1);
  return v;
}

typedef struct job {
  bdl_export x;
  bdl_export_fn *fns;
  bdl_export_leaf *leaves;
  const bdl_state **owner; /* by leaf */
  int32_t *part;           /* by leaf: which of its owner's */
} job;

/* The number of leaf k of s; new ones get their names from the table of States at stack position `states`. */
static int32_t leaf_of(lua_State *L, job *j, int states, const bdl_state *s, int32_t k) {
  for (int32_t i = 0; i < j->x.n_leaves; i++)
    if (j->owner[i] == s && j->part[i] == k) return i;
  const int32_t at = j->x.n_leaves++;
  const bdl_tensor *t = &s->leaf[k].value;
  j->owner[at] = s;
  j->part[at] = k;
  lua_rawgeti(L, states, (lua_Integer)s->id);
  luaL_argcheck(L, lua_istable(L, -1), states, "a State without names");
  j->leaves[at].value = value_at(L, k + 1, &s->aval[k]);
  lua_pop(L, 1);
  if (!t->buf) return lbdl_error(L, BDL_EVALUE, "export: the State '%s' has no value yet", j->leaves[at].value.name);
  lbdl_check(L, bdl_tensor_fetch(t));
  j->leaves[at].data = bdl_tensor_data(t);
  if (!bdl_tensor_contiguous(t)) {
    void *copy = room(L, bdl_aval_bytes(&t->aval), 1);
    bdl_k_strided_copy(copy, bdl_tensor_data(t), t->stride, t->aval.ndim, t->aval.shape, bdl_dtype_size(t->aval.dtype));
    j->leaves[at].data = copy;
  }
  return at;
}

/* {name, entry, argument names, result names} on top of the stack; the entries are kept by the caller's table. */
static void function(lua_State *L, job *j, int states, bdl_export_fn *fn) {
  const int table = lua_gettop(L);
  fn->name = text_at(L, 1);
  lua_rawgeti(L, table, 2);
  const lbdl_entry *e = lbdl_test_entry(L, -1);
  luaL_argcheck(L, e, 4, "a program is missing");
  fn->plan = e->plan;
  fn->n_args = e->n_args;
  fn->n_results = e->n_out;
  bdl_export_value *args = room(L, (size_t)e->n_args, sizeof *args), *results = room(L, (size_t)e->n_out, sizeof *results);
  int32_t *in = room(L, (size_t)e->plan->n_in, sizeof *in), *out = room(L, (size_t)e->plan->n_out, sizeof *out);
  const bdl_prog *p = e->plan->prog;
  lua_rawgeti(L, table, 3);
  for (int32_t k = 0; k < e->n_args; k++) args[k] = value_at(L, k + 1, &e->ex[k].aval);
  lua_rawgeti(L, table, 4);
  for (int32_t k = 0; k < e->n_out; k++) results[k] = value_at(L, k + 1, bdl_aval_of(p, p->outputs[k]));
  int32_t at = 0, to = 0;
  for (; at < e->n_used; at++) in[at] = e->used[at];
  for (; to < e->n_out; to++) out[to] = to;
  for (int32_t i = 0; i < e->n_states; i++) {
    const struct lbdl_touched *s = &e->states[i];
    for (int32_t k = 0; s->in && k < s->state->n; k++) in[at++] = ~leaf_of(L, j, states, s->state, k);
    for (int32_t k = 0; s->out && k < s->state->n; k++) {
      const int32_t leaf = leaf_of(L, j, states, s->state, k);
      if (!bdl_aval_eq(bdl_aval_of(p, p->outputs[to]), &j->leaves[leaf].value.aval))
        lbdl_error(L, BDL_ENOTSUP, "export: '%s' changes the type of the State '%s'", fn->name, j->leaves[leaf].value.name);
      j->leaves[leaf].written = true;
      out[to++] = ~leaf;
    }
  }
  fn->args = args, fn->results = results, fn->in = in, fn->out = out;
}

static void push_result(lua_State *L, const bdl_exported *x) {
  lua_createtable(L, 0, 6);
  lua_pushlstring(L, x->source.s, (size_t)x->source.n);
  lua_setfield(L, -2, "source");
  lua_pushlstring(L, x->header.s, (size_t)x->header.n);
  lua_setfield(L, -2, "header");
  lua_pushinteger(L, (lua_Integer)x->state_bytes);
  lua_setfield(L, -2, "state");
  lua_pushinteger(L, (lua_Integer)x->scratch_bytes);
  lua_setfield(L, -2, "scratch");
  lua_pushinteger(L, (lua_Integer)x->constant_bytes);
  lua_setfield(L, -2, "constants");
  lua_createtable(L, (int)x->parts.n, 0);
  for (int64_t k = 0; k < x->parts.n; k++) {
    lua_createtable(L, 2, 0);
    lua_pushstring(L, x->parts.v[k].what);
    lua_rawseti(L, -2, 1);
    lua_pushinteger(L, (lua_Integer)x->parts.v[k].bytes);
    lua_rawseti(L, -2, 2);
    lua_rawseti(L, -2, (lua_Integer)k + 1);
  }
  lua_setfield(L, -2, "parts");
}

static int exported_gc(lua_State *L) {
  bdl_exported_free(lbdl_ctx(L), lua_touserdata(L, 1));
  return 0;
}

/* core.export(name, model, {own_math =, ram_limit =}, functions, states) -> {source, header, state, scratch, constants, parts};
** functions: {name, entry, {{name, note}, ..} of the leaves of arguments, the same of results}; states: id -> {{name, note}, ..} */
static int l_export(lua_State *L) {
  bdl_context *c = lbdl_ctx(L);
  lua_settop(L, 5);
  job j = {.x = {.name = luaL_checkstring(L, 1), .model = luaL_checkstring(L, 2)}};
  lua_getfield(L, 3, "own_math");
  j.x.own_math = lua_toboolean(L, -1);
  lua_getfield(L, 3, "ram_limit");
  j.x.ram_limit = (int64_t)lua_tointeger(L, -1);
  j.x.n_fns = (int32_t)lua_rawlen(L, 4);
  int32_t most = 0;
  for (int32_t k = 0; k < j.x.n_fns; k++) {
    lua_rawgeti(L, 4, k + 1);
    lua_rawgeti(L, -1, 2);
    const lbdl_entry *e = lbdl_test_entry(L, -1);
    if (e) most += e->n_leaves;
    lua_pop(L, 2);
  }
  j.fns = room(L, (size_t)j.x.n_fns, sizeof *j.fns);
  j.leaves = room(L, (size_t)most, sizeof *j.leaves);
  j.owner = room(L, (size_t)most, sizeof *j.owner);
  j.part = room(L, (size_t)most, sizeof *j.part);
  for (int32_t k = 0; k < j.x.n_fns; k++) {
    luaL_checkstack(L, 2 * most + 64, "export");
    lua_rawgeti(L, 4, k + 1);
    function(L, &j, 5, &j.fns[k]);
  }
  j.x.fns = j.fns, j.x.leaves = j.leaves;
  bdl_exported *out = lua_newuserdatauv(L, sizeof *out, 0);
  lbdl_check(L, bdl_export_write(c, &j.x, out));
  luaL_setmetatable(L, "bdl.Exported");
  push_result(L, out);
  return 1;
}

/* core.export_refusal(primitive) -> why it is not exported, or nil */
static int l_refusal(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  for (int p = 0; p < BDL_P_COUNT; p++)
    if (strcmp(bdl_prims[p].name, name) == 0) {
      lua_pushstring(L, bdl_export_refusal((bdl_prim_id)p));
      return 1;
    }
  return lbdl_error(L, BDL_EVALUE, "export_refusal: no primitive '%s'", name);
}

/* core.make_folder(path): with those on the way, where they are not there; nil, why: it cannot be made */
static int l_make_folder(lua_State *L) {
  size_t n;
  const char *path = luaL_checklstring(L, 1, &n);
  if (lbdl_ctx(L)->sandboxed) return lbdl_error(L, BDL_ENOTSUP, "make_folder: a sandboxed model writes no files");
  char *part = room(L, n, 1);
  for (size_t k = 1; k <= n; k++) {
    part[k - 1] = path[k - 1];
    if ((path[k] == '/' || k == n) && mkdir(part, 0777) != 0 && errno != EEXIST) {
      lua_pushnil(L);
      lua_pushfstring(L, "%s: %s", part, strerror(errno));
      return 2;
    }
  }
  lua_pushboolean(L, true);
  return 1;
}

void lbdl_open_export(lua_State *L) {
  luaL_newmetatable(L, "bdl.Exported");
  lua_pushcfunction(L, exported_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  static const luaL_Reg functions[] = {
    {"entry_states", l_states}, {"export", l_export}, {"export_refusal", l_refusal}, {"make_folder", l_make_folder}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}

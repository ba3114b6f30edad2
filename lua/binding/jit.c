/*
** jit.c -- compiled functions: trace, optimise, plan, keep; then calls without Lua in between.
**
** A kept program is found by the structure, dtypes, shapes, units and weakness of the arguments and by static values; it
** holds as long as the States that it touches keep their shapes and what it read of the environment is unchanged.
*/
#include <string.h>

#include "base/context.h"
#include "binding/jit.h"
#include "binding/state_lua.h"
#include "exec/emit.h"
#include "gpu/program.h"
#include "exec/exec.h"

#define LBDL_JIT "bdl.Jit"

enum { CACHE = 128, UV_MISS = 1, UV_GUARDS = 2 };

typedef lbdl_entry entry;

typedef struct jit {
  entry *first;
  int32_t n;
  bool slow; /* has static arguments: Lua sorts them out at every call */
  bool busy; /* being traced */
  bool preparing; /* make the program, do not run it */
} jit;

static void entry_free(bdl_context *c, entry *e) {
  if (e->plan) bdl_plan_free(e->plan);
  if (e->source) bdl_prog_unref(e->source);
  for (int32_t i = 0; i < e->n_states; i++)
    if (e->states[i].state) bdl_state_unref(e->states[i].state);
  bdl_free(c, e->states, (size_t)(e->n_states + 1) * sizeof *e->states);
  bdl_free(c, e->state_aval, (size_t)(e->n_leaves + 1) * sizeof *e->state_aval);
  bdl_free(c, e->used, (size_t)(e->n_args + 1) * sizeof *e->used);
  bdl_free(c, e->ex, (size_t)(e->n_args + 1) * sizeof *e->ex);
  bdl_free(c, e->treedef, (size_t)(e->n_values + 1) * sizeof *e->treedef);
  bdl_free(c, e->results, (size_t)(e->n_results + 1) * sizeof *e->results);
  bdl_free(c, e->out, (size_t)(e->n_out + 1) * sizeof *e->out);
  bdl_free(c, e, sizeof *e);
}

static void clear(bdl_context *c, jit *j) {
  for (entry *e = j->first, *next; e; e = next) {
    next = e->next;
    entry_free(c, e);
  }
  j->first = NULL;
  j->n = 0;
}

static int jit_gc(lua_State *L) {
  clear(lbdl_ctx(L), luaL_checkudata(L, 1, LBDL_JIT));
  return 0;
}

/* ---- making an entry ------------------------------------------------------------------------------ */

static void *take(lua_State *L, size_t size) {
  void *p = bdl_calloc(lbdl_ctx(L), size);
  if (!p) lbdl_raise(L);
  return p;
}

/* A Lua function at a stack position: f(stage) at a stage of compilation; where it gives true, f(stage, text) with the text of
** the program or plan. */
typedef struct watcher {
  lua_State *L;
  int f;
} watcher;

/* f(what is above it on the stack) -> bool */
static bdl_status tell(lua_State *L, int n, bool *yes) {
  if (lua_pcall(L, n, 1, 0) != LUA_OK) return bdl_fail(lbdl_ctx(L), BDL_EHOST, "%s", luaL_tolstring(L, -1, NULL));
  *yes = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return BDL_OK;
}

/* The plan, its explanation, what it becomes on a GPU, or what native code makes of it: nothing where there is nothing to gain. */
static bdl_status plan_text(bdl_plan *plan, const char *stage, bdl_str *out) {
  if (strcmp(stage, "cuda") == 0) return bdl_gpu_describe(plan, out);
  if (strcmp(stage, "explain") == 0) return bdl_plan_explain(plan, out);
  if (strcmp(stage, "c") != 0) return bdl_plan_print(plan, out);
  bdl_emitted e;
  TRY(bdl_emit_plan(plan, &e));
  if (e.functions > 0) bdl_str_add(out, e.text.s, e.text.n);
  bdl_emit_free(&e, plan->ctx);
  return out->failed ? BDL_ENOMEM : BDL_OK;
}

static bdl_status show(const watcher *w, const char *stage, const bdl_prog *p, bdl_plan *plan) {
  lua_State *L = w->L;
  bool wanted;
  lua_pushvalue(L, w->f);
  lua_pushstring(L, stage);
  bdl_status s = tell(L, 1, &wanted);
  if (s != BDL_OK || !wanted) return s;
  bdl_str text;
  bdl_str_init(&text, lbdl_ctx(L));
  s = plan ? plan_text(plan, stage, &text) : bdl_ir_print(p, &text);
  if (s == BDL_OK) {
    lua_pushvalue(L, w->f);
    lua_pushstring(L, stage);
    lua_pushlstring(L, text.s ? text.s : "", (size_t)text.n);
  }
  bdl_str_fini(&text);
  return s == BDL_OK ? tell(L, 2, &wanted) : s;
}

static bdl_status observe(void *ud, const char *pass, const bdl_prog *p) { return show(ud, pass, p, NULL); }

/* Inputs: used arguments, then States; outputs: results, then written States. */
static void fill(lua_State *L, entry *e, lbdl_traced_fn *fn) {
  bdl_context *c = lbdl_ctx(L);
  bdl_trace *t = fn->t;
  int32_t n_states = 0, n_leaves = 0;
  for (int64_t k = 0; k < t->states.n; k++) {
    bdl_touched *s = &t->states.v[k];
    if (s->local || (!s->input && !s->written)) continue;
    n_states++;
    n_leaves += s->state->n;
  }
  e->states = take(L, (size_t)(n_states + 1) * sizeof *e->states);
  e->n_states = n_states; /* none is there yet */
  e->state_aval = take(L, (size_t)(n_leaves + 1) * sizeof *e->state_aval);
  e->n_leaves = n_leaves;
  int32_t *order = lua_newuserdatauv(L, (size_t)(t->sources.n + n_leaves + 1) * sizeof *order, 0);
  int32_t *pair = lua_newuserdatauv(L, (size_t)(fn->out.n + n_leaves + 1) * sizeof *pair, 0);
  bdl_atom *outs = lua_newuserdatauv(L, (size_t)(fn->out.n + n_leaves + 1) * sizeof *outs, 0);
  int n = 0, n_out = 0, at = 0, touched = 0;
  for (int32_t i = 0; i < t->sources.n; i++)
    if (t->sources.v[i].kind == BDL_FROM_ARGUMENT) {
      e->used[e->n_used++] = t->sources.v[i].index;
      order[n++] = i;
    }
  for (int64_t i = 0; i < fn->out.n; i++) {
    outs[n_out] = fn->out.v[i].atom;
    pair[n_out++] = -1;
  }
  for (int64_t k = 0; k < t->states.n; k++) {
    bdl_touched *s = &t->states.v[k];
    if (s->local || (!s->input && !s->written)) continue;
    e->states[touched++] = (struct lbdl_touched){s->state, s->input != NULL, s->written};
    bdl_state_ref(s->state);
    memcpy(e->state_aval + at, s->state->aval, (size_t)s->state->n * sizeof *e->state_aval);
    at += s->state->n;
    int first = n;
    for (int32_t i = 0; s->input && i < s->state->n; i++)
      for (int32_t j = 0; j < t->sources.n; j++)
        if (t->prog->inputs.v[j] == s->input[i]) order[n++] = j;
    for (int32_t i = 0; s->written && i < s->state->n; i++) {
      const bool same = s->input && bdl_aval_eq(bdl_aval_of(t->prog, s->input[i]), bdl_aval_of(t->prog, s->now[i]));
      outs[n_out] = s->now[i];
      pair[n_out++] = same ? first + i : -1;
    }
  }
  e->n_in = n;
  lbdl_arrange(L, fn, order, n);
  lbdl_check(L, bdl_prog_set_outputs(t->prog, outs, n_out));
  e->results = take(L, (size_t)(fn->results.n + 1) * sizeof *e->results);
  e->n_results = (int32_t)fn->results.n;
  if (e->n_results) memcpy(e->results, fn->results.v, (size_t)e->n_results * sizeof *e->results);
  e->out = take(L, (size_t)(fn->out.n + 1) * sizeof *e->out);
  e->n_out = (int32_t)fn->out.n;
  if (e->n_out) memcpy(e->out, fn->out.v, (size_t)e->n_out * sizeof *e->out);
  bdl_prog *q;
  bdl_prog_ref(t->prog);
  e->source = t->prog;
  lbdl *b = lbdl_of(L);
  b->programs_hash = b->programs_hash * 31 + bdl_ir_hash(t->prog);
  b->programs++;
  lua_getfield(L, LUA_REGISTRYINDEX, "bdl.on_compile");
  watcher w = {L, lua_gettop(L)};
  bool watched = lua_isfunction(L, -1);
  if (watched) lbdl_check(L, show(&w, "trace", t->prog, NULL));
  lbdl_check(L, bdl_optimise(t->prog, bdl_exec_eval_eqn, watched ? observe : NULL, &w, &q));
  bdl_status s = bdl_plan_new(c, q, pair, &e->plan);
  bdl_prog_unref(q);
  if (s == BDL_OK && watched) s = show(&w, "plan", NULL, e->plan);
  if (s == BDL_OK && watched) s = show(&w, "explain", NULL, e->plan);
  if (s == BDL_OK && watched) s = show(&w, "c", NULL, e->plan);
  if (s == BDL_OK && watched) s = show(&w, "cuda", NULL, e->plan);
  lbdl_check(L, s);
}

/* ---- running -------------------------------------------------------------------------------------------- */

enum { FEW = 32 };

/* The values of the call, of its leaves at stack positions first.. */
static int push_results(lua_State *L, const entry *e, int first) {
  int values = lua_gettop(L);
  for (int32_t r = 0; r < e->n_results; r++) {
    luaL_checkstack(L, e->results[r].n + 8, "results");
    for (int32_t i = 0; i < e->results[r].n; i++) lua_pushvalue(L, first + e->results[r].first + i);
    lbdl_unflatten(L, e->results[r].treedef, e->results[r].n);
  }
  return lua_gettop(L) - values;
}

/* Zeros of the type of result k: one number, seen everywhere. */
static void zeros(lua_State *L, const entry *e, int k, bdl_tensor *z) {
  const bdl_prog *p = e->plan->prog;
  const bdl_aval *a = bdl_aval_of(p, p->outputs[k]);
  lbdl_check(L, bdl_tensor_scalar(bdl_device_cpu(lbdl_ctx(L)), a->dtype, (bdl_scalar){0}, z));
  z->aval = *a;
  memset(z->stride, 0, sizeof z->stride);
}

/* In place of running, when only types are asked for.  A State keeps its value unless the program changes its type. */
static int pretend(lua_State *L, const entry *e) {
  int base = lua_gettop(L), at = e->n_out;
  luaL_checkstack(L, e->n_out + e->n_results + 8, "results");
  for (int32_t i = 0; i < e->n_out; i++) {
    lbdl_tensor *x = lbdl_new_tensor(L);
    x->unit = e->out[i].unit;
    zeros(L, e, i, &x->t);
  }
  for (int32_t i = 0; i < e->n_states; i++)
    for (int32_t k = 0; e->states[i].out && k < e->states[i].state->n; k++, at++) {
      bdl_state *s = e->states[i].state;
      if (bdl_aval_eq(&s->aval[k], bdl_aval_of(e->plan->prog, e->plan->prog->outputs[at]))) continue;
      bdl_tensor z;
      zeros(L, e, at, &z);
      bdl_tensor_unref(&s->leaf[k].value);
      s->leaf[k].value = z;
      s->aval[k] = z.aval;
    }
  return push_results(L, e, base + 1);
}

/* Run over the argument leaves at stack positions first.. ; pushes the results. */
static int run(lua_State *L, entry *e, int first) {
  if (lbdl_of(L)->check) return pretend(L, e);
  bdl_context *c = lbdl_ctx(L);
  bdl_plan *plan = e->plan;
  bdl_tensor few[FEW], *in = few;
  if (plan->n_in + plan->n_out > FEW) in = lua_newuserdatauv(L, (size_t)(plan->n_in + plan->n_out) * sizeof *in, 0);
  bdl_tensor *out = in + plan->n_in;
  int at = 0;
  for (int32_t i = 0; i < e->n_used; i++) {
    const lbdl_tensor *x = lbdl_test_tensor(L, first + e->used[i]);
    if (lbdl_traced(x)) lbdl_escaped(L, x);
    in[at++] = x->t;
  }
  for (int32_t i = 0; i < e->n_states; i++)
    for (int32_t k = 0; e->states[i].in && k < e->states[i].state->n; k++) in[at++] = e->states[i].state->leaf[k].value;
  luaL_checkstack(L, e->n_out + e->n_results + 8, "results");
  int base = lua_gettop(L);
  for (int32_t i = 0; i < e->n_out; i++) { /* owners first */
    lbdl_tensor *x = lbdl_new_tensor(L);
    x->unit = e->out[i].unit;
    out[i].buf = NULL;
  }
  at = e->n_out;
  for (int32_t i = 0; i < e->n_states; i++) {
    bdl_state *s = e->states[i].state;
    for (int32_t k = 0; e->states[i].out && k < s->n; k++, at++) {
      bdl_tensor *v = &s->leaf[k].value;
      bool mine = plan->inplace[at] && v->buf && v->buf->refs == 1 && bdl_tensor_contiguous(v);
      if (mine) out[at] = bdl_tensor_ref(v);
      else out[at].buf = NULL;
    }
  }
  lbdl_collect(L);
  bdl_status status = bdl_exec_run(plan, in, out);
  if (status == BDL_OK) lbdl_made(L, out, plan->n_out);
  if (status != BDL_OK && !(status == BDL_EINTERRUPT && plan->loop_only)) return lbdl_raise(L);
  for (int32_t i = 0; i < e->n_out; i++) lbdl_test_tensor(L, base + 1 + i)->t = out[i];
  at = e->n_out;
  for (int32_t i = 0; i < e->n_states; i++) {
    bdl_state *s = e->states[i].state;
    if (!e->states[i].out) continue;
    lbdl_check(L, bdl_state_assign(s, out + at));
    at += s->n;
  }
  if (status != BDL_OK) return lbdl_raise(L);
  (void)c;
  if (e->n_results == 1) {
    lbdl_unflatten(L, e->results[0].treedef, e->results[0].n);
    return 1;
  }
  return push_results(L, e, base + 1);
}

/* ---- finding an entry ----------------------------------------------------------------------------------- */

static bool same_example(const lbdl_example *e, const lbdl_tensor *x) {
  return e->unit == x->unit && e->weak == x->weak && bdl_aval_eq(&e->aval, &x->t.aval);
}

static bool same_states(const entry *e) {
  const bdl_aval *a = e->state_aval;
  for (int32_t i = 0; i < e->n_states; i++) {
    const bdl_state *s = e->states[i].state;
    for (int32_t k = 0; k < s->n; k++, a++)
      if (!bdl_aval_eq(a, &s->aval[k])) return false;
  }
  return true;
}

/* Has the environ the values that the trace read, and do the objects hold the States that it touched?  Asks Lua only after
** a setting changed or a State was made. */
static bool same_world(lua_State *L, int self, entry *e) {
  lbdl *b = lbdl_of(L);
  if (!e->guard || (e->environ_version == b->environ_version && e->states_made == b->states_made)) return true;
  lua_getiuservalue(L, self, UV_GUARDS);
  lua_rawgeti(L, -1, e->guard);
  lua_call(L, 0, 1);
  bool same = lua_toboolean(L, -1);
  lua_pop(L, 2);
  if (same) e->environ_version = b->environ_version, e->states_made = b->states_made;
  return same;
}

static bool same_statics(const entry *e, const char *statics) {
  return e->statics && statics ? strcmp(e->statics, statics) == 0 : e->statics == statics;
}

static uint64_t key_of(lua_State *L, int first, int n) {
  uint64_t h = (uint64_t)n;
  for (int i = 0; i < n; i++) {
    const bdl_aval *a = &lbdl_test_tensor(L, first + i)->t.aval;
    h = (h ^ (uint64_t)a->dtype) * 0x9E3779B97F4A7C15u + (uint64_t)a->ndim;
    for (int k = 0; k < a->ndim; k++) h = (h ^ (uint64_t)a->shape[k]) * 0x9E3779B97F4A7C15u;
  }
  return h;
}

static entry *find(lua_State *L, int self, jit *j, const char *const *def, int n_values, int first, int n, const char *statics) {
  uint64_t key = key_of(L, first, n);
  entry *before = NULL;
  for (entry *e = j->first; e; before = e, e = e->next) {
    if (e->key != key || e->n_args != n || e->n_values != n_values) continue;
    bool same = true;
    for (int i = 0; i < n && same; i++) same = same_example(&e->ex[i], lbdl_test_tensor(L, first + i));
    for (int v = 0; v < n_values && same; v++) same = e->treedef[v] == def[v] || strcmp(e->treedef[v], def[v]) == 0;
    if (!same || !same_statics(e, statics) || !same_states(e) || !same_world(L, self, e)) continue;
    if (before) {
      before->next = e->next;
      e->next = j->first;
      j->first = e;
    }
    return e;
  }
  return NULL;
}

/* ---- calls -------------------------------------------------------------------------------------------------- */

/* Arguments first..top flattened: treedefs, then leaves, on top of the stack. */
enum { FEW_ARGS = 16 };

typedef struct room { /* for the few arguments that a call has */
  int count[FEW_ARGS];
  const char *def[FEW_ARGS];
} room;

typedef struct flat {
  int n_values, first, n;
  int *count;
  const char **def;
} flat;

static const char LEAF[] = "*";

static flat flatten_arguments(lua_State *L, int args, room *few) {
  flat a = {.n_values = lua_gettop(L) - args + 1, .count = few->count, .def = few->def};
  luaL_checkstack(L, 2 * a.n_values + 16, "arguments");
  if (a.n_values > FEW_ARGS) {
    a.count = lua_newuserdatauv(L, (size_t)a.n_values * sizeof *a.count, 0);
    a.def = lua_newuserdatauv(L, (size_t)a.n_values * sizeof *a.def, 0);
  }
  int anchors = lua_gettop(L) + 1;
  for (int v = 0; v < a.n_values; v++) lua_pushnil(L); /* treedefs that are text of their own stay here */
  a.first = lua_gettop(L) + 1;
  for (int v = 0; v < a.n_values; v++) {
    a.def[v] = LEAF;
    a.count[v] = 1;
    if (lbdl_test_tensor(L, args + v)) lua_pushvalue(L, args + v);
    else {
      if (lua_isnil(L, args + v)) lbdl_error(L, BDL_EVALUE, "argument %d of a compiled function is nil", v + 1);
      a.count[v] = lbdl_flatten(L, args + v);
      a.def[v] = lua_tostring(L, -1);
      lua_replace(L, anchors + v);
    }
    a.n += a.count[v];
  }
  return a;
}

static int answer(lua_State *L, const jit *j, entry *e, int first) { return j->preparing ? 0 : run(L, e, first); }

static int jit_call(lua_State *L) {
  jit *j = lua_touserdata(L, 1);
  lbdl *b = lbdl_of(L);
  int n = lua_gettop(L) - 1;
  if (!j->slow && !b->eager && j->first && !bdl_trace_current(b->ctx)) {
    room few;
    flat a = flatten_arguments(L, 2, &few);
    entry *e = find(L, 1, j, a.def, a.n_values, a.first, a.n, NULL);
    if (e) return answer(L, j, e, a.first);
    lua_settop(L, n + 1);
  }
  lua_getiuservalue(L, 1, UV_MISS);
  lua_insert(L, 1);
  lua_call(L, n + 1, LUA_MULTRET);
  return lua_gettop(L);
}

/* core.jit_run(self, statics or nil, arguments...) -> true, results... of a kept program; false: there is none */
static int l_run(lua_State *L) {
  jit *j = luaL_checkudata(L, 1, LBDL_JIT);
  room few;
  flat a = flatten_arguments(L, 3, &few);
  entry *e = find(L, 1, j, a.def, a.n_values, a.first, a.n, lua_tostring(L, 2));
  lua_pushboolean(L, e != NULL);
  return e ? 1 + answer(L, j, e, a.first) : 1;
}

static int unlinked_gc(lua_State *L) {
  entry **e = lua_touserdata(L, 1);
  if (*e) entry_free(lbdl_ctx(L), *e);
  *e = NULL;
  return 0;
}

/* Trace f over the flattened arguments; pushes the owner of the entry. */
static entry **make(lua_State *L, const flat *a, int f, const char *statics, int plain, int n_plain) {
  bdl_context *c = lbdl_ctx(L);
  entry **owner = lua_newuserdatauv(L, sizeof *owner, 0);
  *owner = NULL;
  luaL_setmetatable(L, "bdl.JitEntry");
  int self = lua_gettop(L);
  entry *e = *owner = take(L, sizeof *e);
  e->n_args = a->n;
  e->n_values = a->n_values;
  e->ex = take(L, (size_t)(a->n + 1) * sizeof *e->ex);
  e->used = take(L, (size_t)(a->n + 1) * sizeof *e->used);
  e->treedef = take(L, (size_t)(a->n_values + 1) * sizeof *e->treedef);
  for (int i = 0; i < a->n; i++) {
    lbdl_tensor *x = lbdl_test_tensor(L, a->first + i);
    e->ex[i] = (lbdl_example){x->t.aval, x->unit, x->weak};
  }
  for (int v = 0; v < a->n_values; v++)
    if (!(e->treedef[v] = bdl_intern(c, a->def[v]))) lbdl_raise(L);
  if (statics && !(e->statics = bdl_intern(c, statics))) lbdl_raise(L);
  fill(L, e, lbdl_trace(L, f, "jit", a->n_values, e->treedef, a->count, e->ex, plain, n_plain));
  e->environ_version = lbdl_of(L)->environ_version;
  e->states_made = lbdl_of(L)->states_made;
  e->key = key_of(L, a->first, a->n);
  lua_settop(L, self);
  return owner;
}

/* core.jit_make(self, f, statics or nil, guard, arguments...) -> results.  guard(ids of the States touched) is called after the
** trace and returns the function that tells whether the world is as it was, or nil. */
static int l_make(lua_State *L) {
  jit *j = luaL_checkudata(L, 1, LBDL_JIT);
  bdl_context *c = lbdl_ctx(L);
  room few;
  if (j->busy) return lbdl_error(L, BDL_ENOTSUP, "a compiled function may not call itself while it is traced");
  flat a = flatten_arguments(L, 5, &few);
  entry **owner = make(L, &a, 2, lua_tostring(L, 3), 0, 0), *e = *owner;
  lua_getiuservalue(L, 1, UV_GUARDS);
  lua_pushvalue(L, 4);
  lua_createtable(L, 0, e->n_states);
  for (int32_t i = 0; i < e->n_states; i++) {
    lua_pushboolean(L, true);
    lua_rawseti(L, -2, (lua_Integer)e->states[i].state->id);
  }
  lua_call(L, 1, 1);
  if (lua_isnil(L, -1)) lua_pop(L, 1);
  else e->guard = luaL_ref(L, -2);
  e->next = j->first;
  j->first = e;
  j->n++;
  *owner = NULL;
  if (j->n > CACHE) { /* the least recently used goes */
    entry *last = e;
    while (last->next->next) last = last->next;
    entry_free(c, last->next);
    last->next = NULL;
    j->n--;
  }
  return answer(L, j, e, a.first);
}

/* core.jit_prepare(self, arguments...): make the program that self(arguments...) will run */
static int l_prepare(lua_State *L) {
  jit *j = luaL_checkudata(L, 1, LBDL_JIT);
  lua_pushcfunction(L, jit_call);
  lua_insert(L, 1);
  j->preparing = true;
  int failed = lua_pcall(L, lua_gettop(L) - 1, 0, 0);
  j->preparing = false;
  return failed ? lua_error(L) : 0;
}

lbdl_entry *lbdl_test_entry(lua_State *L, int arg) {
  entry **owner = luaL_testudata(L, arg, "bdl.JitEntry");
  return owner ? *owner : NULL;
}

/* core.jit_entry(f, arguments...) -> the program of f for these arguments, not run; its results, as zeros */
static int l_entry(lua_State *L) {
  room few;
  flat a = flatten_arguments(L, 2, &few);
  entry *e = *make(L, &a, 1, NULL, 0, 0);
  const int owner = lua_gettop(L);
  luaL_checkstack(L, e->n_out + e->n_results + 8, "results");
  for (int32_t i = 0; i < e->n_out; i++) {
    lbdl_tensor *x = lbdl_new_tensor(L);
    x->unit = e->out[i].unit;
    zeros(L, e, i, &x->t);
  }
  lua_pushvalue(L, owner);
  return 1 + push_results(L, e, owner + 1);
}

/* core.run_once(f, ...) -> results: f(...) traced with its arguments as they are, run, forgotten */
static int l_run_once(lua_State *L) {
  int n_plain = lua_gettop(L) - 1;
  flat a = {.first = 1};
  entry **owner = make(L, &a, 1, NULL, 2, n_plain);
  int n = run(L, *owner, 1);
  return n;
}

/* core.jit_new(miss, slow) */
static int l_new(lua_State *L) {
  lua_settop(L, 2);
  jit *j = lua_newuserdatauv(L, sizeof *j, 2);
  memset(j, 0, sizeof *j);
  j->slow = lua_toboolean(L, 2);
  luaL_setmetatable(L, LBDL_JIT);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, 3, UV_MISS);
  lua_newtable(L);
  lua_setiuservalue(L, 3, UV_GUARDS);
  return 1;
}

static int l_clear(lua_State *L) {
  clear(lbdl_ctx(L), luaL_checkudata(L, 1, LBDL_JIT));
  return 0;
}

lbdl_entry *lbdl_jit_entry(lua_State *L, int arg) { return ((jit *)luaL_checkudata(L, arg, LBDL_JIT))->first; }

bool lbdl_jit_holds(lua_State *L, int arg) {
  entry *e = lbdl_jit_entry(L, arg);
  return same_states(e) && same_world(L, lua_absindex(L, arg), e);
}

static int l_cached(lua_State *L) {
  lua_pushinteger(L, ((jit *)luaL_checkudata(L, 1, LBDL_JIT))->n);
  return 1;
}

/* core.on_compile(f or nil): f("trace") for each program that is compiled, then f(pass) after each pass, last f("plan"), f("explain"), f("c"), f("cuda"); where
** that gives true, f(.., text) as well */
static int l_on_compile(lua_State *L) {
  lua_settop(L, 1);
  lua_setfield(L, LUA_REGISTRYINDEX, "bdl.on_compile");
  return 0;
}

/* core.programs() -> number of programs that were compiled, hash of what they say as text */
static int l_programs(lua_State *L) {
  char text[17];
  snprintf(text, sizeof text, "%016llx", (unsigned long long)lbdl_of(L)->programs_hash);
  lua_pushinteger(L, (lua_Integer)lbdl_of(L)->programs);
  lua_pushstring(L, text);
  return 2;
}

/* core.make_ir(f, observer or nil, plan, arguments...) -> text of the program traced; an observer is called after each pass
** as that of on_compile; plan: the text of the plan instead */
static int l_make_ir(lua_State *L) {
  room few;
  bdl_context *c = lbdl_ctx(L);
  flat a = flatten_arguments(L, 4, &few);
  entry *e = *make(L, &a, 1, NULL, 0, 0);
  bdl_str text;
  bdl_status s = BDL_OK;
  if (lua_isfunction(L, 2)) {
    bdl_prog *q;
    watcher w = {L, 2};
    lbdl_check(L, bdl_optimise(e->source, bdl_exec_eval_eqn, observe, &w, &q));
    bdl_prog_unref(q);
  }
  bdl_str_init(&text, c);
  s = lua_toboolean(L, 3) ? bdl_plan_print(e->plan, &text) : bdl_ir_print_short(e->source, 16, &text);
  lua_pushlstring(L, text.s ? text.s : "", (size_t)text.n);
  bdl_str_fini(&text);
  lbdl_check(L, s);
  return 1;
}

static int l_eager(lua_State *L) {
  if (lua_gettop(L) > 0) lbdl_of(L)->eager = lua_toboolean(L, 1);
  lua_pushboolean(L, lbdl_of(L)->eager);
  return 1;
}

static int l_environ_version(lua_State *L) {
  lbdl_of(L)->environ_version = (int64_t)luaL_checkinteger(L, 1);
  return 0;
}

void lbdl_open_jit(lua_State *L) {
  luaL_newmetatable(L, "bdl.JitEntry");
  lua_pushcfunction(L, unlinked_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  luaL_newmetatable(L, LBDL_JIT);
  lua_pushcfunction(L, jit_gc);
  lua_setfield(L, -2, "__gc");
  lua_pushcfunction(L, jit_call);
  lua_setfield(L, -2, "__call");
  lua_newtable(L); /* methods of compiled functions */
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "__index");
  lua_setfield(L, -3, "jit_methods");
  lua_pop(L, 1);
  static const luaL_Reg functions[] = {
    {"jit_new", l_new}, {"jit_entry", l_entry}, {"jit_run", l_run}, {"jit_make", l_make}, {"jit_prepare", l_prepare}, {"jit_clear", l_clear},
    {"jit_cached", l_cached}, {"run_once", l_run_once}, {"make_ir", l_make_ir}, {"programs", l_programs}, {"on_compile", l_on_compile}, {"eager", l_eager}, {"environ_version", l_environ_version}, {NULL, NULL},
  };
  luaL_setfuncs(L, functions, 0);
}

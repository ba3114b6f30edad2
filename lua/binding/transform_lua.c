/*
** transform_lua.c -- derivatives of functions of Lua: trace, transform, then append the result to the trace around.
*/
#include <string.h>

#include "base/context.h"
#include "binding/state_lua.h"
#include "binding/traced.h"
#include "exec/exec.h"
#include "ir/edit.h"
#include "transform/checkify.h"
#include "transform/transform.h"

#define LBDL_PROGRAM "bdl.Program"
#define LBDL_CHECKS "bdl.Checks"

bdl_prog **lbdl_new_program(lua_State *L) {
  bdl_prog **p = lua_newuserdatauv(L, sizeof *p, 0);
  *p = NULL;
  luaL_setmetatable(L, LBDL_PROGRAM);
  return p;
}

bdl_prog *lbdl_check_program(lua_State *L, int arg) { return *(bdl_prog **)luaL_checkudata(L, arg, LBDL_PROGRAM); }

static int program_gc(lua_State *L) {
  bdl_prog **p = luaL_checkudata(L, 1, LBDL_PROGRAM);
  if (*p) bdl_prog_unref(*p);
  *p = NULL;
  return 0;
}

/* What a program takes from outside, as tensors at the time of tracing: captured values, and States as they are now. */
static void push_input(lua_State *L, const bdl_trace *t, bdl_trace *p, bdl_source s, int first) {
  if (s.kind == BDL_FROM_ARGUMENT) lua_pushvalue(L, first + s.index);
  else if (s.kind == BDL_FROM_CAPTURE) lbdl_push_traced(L, p, s.outer, NULL);
  else {
    bdl_state *state = t->states.v[s.index].state;
    const bdl_leaf *leaf = &state->leaf[s.leaf];
    const bdl_atom *now;
    if (p) {
      lbdl_check(L, bdl_trace_read(p, state, &now));
      lbdl_push_traced(L, p, now[s.leaf], leaf->unit);
    } else lbdl_push_concrete(L, bdl_tensor_ref(&leaf->value), leaf->unit);
  }
}

static void set_int(lua_State *L, const char *key, lua_Integer v) {
  lua_pushinteger(L, v);
  lua_setfield(L, -2, key);
}

static void set_flag(lua_State *L, const char *key, bool v) {
  lua_pushboolean(L, v);
  lua_setfield(L, -2, key);
}

void lbdl_push_type(lua_State *L, const bdl_aval *a) {
  lua_createtable(L, 0, 2);
  lua_pushstring(L, bdl_dtype_long_name(a->dtype));
  lua_setfield(L, -2, "dtype");
  lua_createtable(L, a->ndim, 0);
  for (int k = 0; k < a->ndim; k++) {
    lua_pushinteger(L, a->shape[k]);
    lua_rawseti(L, -2, k + 1);
  }
  lua_setfield(L, -2, "shape");
}

/* {handle =, id =, n =, read =, written =, made =, first = its first output when written or made, file =, line = of the write} */
static void push_touched(lua_State *L, const bdl_touched *s, bool read, int first) {
  lua_createtable(L, 0, 9);
  lbdl_push_state(L, s->state);
  lua_setfield(L, -2, "handle");
  set_int(L, "id", (lua_Integer)s->state->id);
  set_int(L, "n", s->state->n);
  set_int(L, "first", first);
  set_flag(L, "read", read);
  set_flag(L, "written", s->written && !s->local);
  set_flag(L, "made", s->local);
  if (!s->wrote.file) return;
  lua_pushstring(L, s->wrote.file);
  lua_setfield(L, -2, "file");
  set_int(L, "line", s->wrote.line);
}

typedef struct arguments {
  int n_values, n, first; /* leaves stand at stack positions first.. */
  const char **defs;
  int *counts;
  lbdl_example *ex;
} arguments;

static arguments flatten_list(lua_State *L, int list) {
  arguments a = {.n_values = (int)lua_rawlen(L, list)};
  a.defs = lua_newuserdatauv(L, (size_t)(a.n_values + 1) * sizeof *a.defs, 0);
  a.counts = lua_newuserdatauv(L, (size_t)(a.n_values + 1) * sizeof *a.counts, 0);
  a.first = lua_gettop(L) + 1;
  for (int v = 0; v < a.n_values; v++) {
    lua_rawgeti(L, list, v + 1);
    int at = lua_gettop(L);
    a.counts[v] = lbdl_flatten(L, at);
    if (!(a.defs[v] = bdl_intern(lbdl_ctx(L), lua_tostring(L, -1)))) lbdl_raise(L);
    lua_pop(L, 1);
    lua_remove(L, at);
    a.n += a.counts[v];
  }
  a.ex = lua_newuserdatauv(L, (size_t)(a.n + 1) * sizeof *a.ex, 0);
  for (int i = 0; i < a.n; i++) {
    lbdl_tensor *x = lbdl_test_tensor(L, a.first + i);
    a.ex[i] = (lbdl_example){x->t.aval, x->unit, x->weak};
  }
  return a;
}

static bdl_aval without_axis(const bdl_aval *a, int axis) {
  bdl_aval b = *a;
  memmove(b.shape + axis, b.shape + axis + 1, (size_t)(a->ndim - axis - 1) * sizeof *b.shape);
  b.ndim--;
  return b;
}

/* Arguments and States as one lane sees them.  lanes: an axis a leaf, false: all of it; views: {{handle, axis of each leaf..}, ..} */
static lbdl_views lane(lua_State *L, int lanes, int views, const arguments *a) {
  for (int i = 0; lua_istable(L, lanes) && i < a->n; i++) {
    if (lua_rawgeti(L, lanes, i + 1) == LUA_TNUMBER) {
      a->ex[i].aval = without_axis(&a->ex[i].aval, (int)lua_tointeger(L, -1));
      a->ex[i].weak = false;
    }
    lua_pop(L, 1);
  }
  lbdl_views w = {.n = lua_istable(L, views) ? (int)lua_rawlen(L, views) : 0};
  const bdl_trace *t = bdl_trace_current(lbdl_ctx(L));
  w.state = lua_newuserdatauv(L, (size_t)(w.n + 1) * sizeof(bdl_state *), 0);
  int n = 0;
  for (int k = 0; k < w.n; k++) {
    lua_rawgeti(L, views, k + 1);
    lua_rawgeti(L, -1, 1);
    w.state[k] = lbdl_check_state(L, -1);
    n += w.state[k]->n;
    lua_pop(L, 2);
  }
  bdl_aval *avals = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *avals, 0), *at = avals;
  for (int k = 0; k < w.n; k++) {
    lua_rawgeti(L, views, k + 1);
    for (int i = 0; i < w.state[k]->n; i++, lua_pop(L, 1)) {
      lua_rawgeti(L, -1, 2 + i);
      *at++ = without_axis(bdl_state_aval(t, w.state[k], i), (int)lua_tointeger(L, -1));
    }
    lua_pop(L, 1);
  }
  w.aval = avals;
  return w;
}

/*
** core.trace_function(who, f, {argument..}, lanes?, views?) -> the program of f(argument..):
**   program            inputs -> results of f, States written, States made
**   inputs             tensors: leaves of arguments, captured values, States as they are now
**   argument, state    of each input: the argument or the entry of `states` that it is a leaf of; 0: none
**   leaf               the number of that leaf, from 1
**   states             what was touched, see push_touched
**   defs, units        structures of the results, units of their leaves (false: plain)
**   types              {dtype =, shape =} of every output
** lanes, views: f is traced for one lane of its arguments and States, see lane.
*/
static int l_trace_function(lua_State *L) {
  const char *who = luaL_checkstring(L, 1);
  bdl_trace *p = bdl_trace_current(lbdl_ctx(L));
  lua_settop(L, 5);
  arguments a = flatten_list(L, 3);
  lbdl_views views = lane(L, 4, 5, &a);
  luaL_checkstack(L, 16, "a traced function");
  lbdl_traced_fn *fn = lbdl_trace_lane(L, 2, who, a.n_values, a.defs, a.counts, a.ex, &views);
  bdl_trace *t = fn->t;
  int64_t n_out = fn->out.n, at = n_out;
  for (int64_t k = 0; k < t->states.n; k++) n_out += t->states.v[k].state->n;
  bdl_atom *out = lua_newuserdatauv(L, (size_t)(n_out + 1) * sizeof *out, 0);
  for (int64_t i = 0; i < fn->out.n; i++) out[i] = fn->out.v[i].atom;
  lua_createtable(L, 0, 8);
  lua_createtable(L, (int)t->states.n, 0);
  for (int64_t k = 0; k < t->states.n; k++) {
    const bdl_touched *s = &t->states.v[k];
    push_touched(L, s, s->input != NULL, (int)at + 1);
    lua_rawseti(L, -2, k + 1);
    for (int32_t i = 0; (s->written || s->local) && i < s->state->n; i++) out[at++] = s->now[i];
  }
  lua_setfield(L, -2, "states");
  lbdl_check(L, bdl_prog_set_outputs(t->prog, out, (int)at));
  bdl_prog **program = lbdl_new_program(L);
  bdl_prog_ref(*program = t->prog);
  lua_setfield(L, -2, "program");
  static const char *const lists[] = {"inputs", "argument", "state", "leaf"};
  int top = lua_gettop(L);
  for (int k = 0; k < 4; k++) lua_createtable(L, (int)t->sources.n, 0);
  for (int32_t i = 0; i < t->sources.n; i++) {
    const bdl_source s = t->sources.v[i];
    int argument = 0, leaf = s.index;
    if (s.kind == BDL_FROM_ARGUMENT)
      for (; leaf >= a.counts[argument]; argument++) leaf -= a.counts[argument];
    const lua_Integer of[] = {s.kind == BDL_FROM_ARGUMENT ? argument + 1 : 0, s.kind == BDL_FROM_STATE ? s.index + 1 : 0,
                              (s.kind == BDL_FROM_ARGUMENT ? leaf : s.leaf) + 1};
    push_input(L, t, p, s, a.first);
    lua_rawseti(L, top + 1, i + 1);
    for (int k = 0; k < 3; k++) {
      lua_pushinteger(L, of[k]);
      lua_rawseti(L, top + 2 + k, i + 1);
    }
  }
  for (int k = 3; k >= 0; k--) lua_setfield(L, top, lists[k]);
  lua_createtable(L, (int)fn->results.n, 0);
  for (int64_t r = 0; r < fn->results.n; r++) {
    lua_pushstring(L, fn->results.v[r].treedef);
    lua_rawseti(L, -2, r + 1);
  }
  lua_setfield(L, top, "defs");
  lua_createtable(L, (int)fn->out.n, 0);
  for (int64_t i = 0; i < fn->out.n; i++) {
    if (fn->out.v[i].unit) lbdl_push_unit(L, fn->out.v[i].unit);
    else lua_pushboolean(L, 0);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, top, "units");
  lua_createtable(L, (int)at, 0);
  for (int64_t i = 0; i < at; i++) {
    lbdl_push_type(L, bdl_aval_of(t->prog, out[i]));
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, top, "types");
  return 1;
}

static bool flag_at(lua_State *L, int list, int64_t i) {
  lua_rawgeti(L, list, i + 1);
  bool on = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return on;
}

/* q: p with those float outputs behind a stop_gradient that are not wanted: no cotangent of theirs goes anywhere. */
static void detach(lua_State *L, const bdl_prog *p, int wanted, bdl_prog **q) {
  lbdl_check(L, bdl_prog_new(p->ctx, p->name, q));
  bdl_atom *in = lua_newuserdatauv(L, (size_t)(p->inputs.n + p->n_outputs + 1) * sizeof *in, 0), *out = in + p->inputs.n;
  for (int64_t i = 0; i < p->inputs.n; i++) {
    lbdl_check(L, bdl_ir_input(*q, bdl_aval_of(p, p->inputs.v[i]), &in[i]));
    (*q)->vars.v[in[i]].name = p->vars.v[p->inputs.v[i]].name;
  }
  lbdl_check(L, bdl_ir_inline(*q, p, in, out));
  for (int i = 0; i < p->n_outputs; i++)
    if (!flag_at(L, wanted, i) && bdl_dtype_is_float(bdl_aval_of(p, p->outputs[i])->dtype))
      lbdl_check(L, bdl_bind1(*q, BDL_P_stop_gradient, out[i], &out[i]));
  lbdl_check(L, bdl_prog_set_outputs(*q, out, p->n_outputs));
}

/* Outputs that are not wanted come from in front of their stop_gradient: who differentiates q again looks through. */
static void attach(lua_State *L, bdl_prog *q, int wanted, int n) {
  bdl_atom *out = lua_newuserdatauv(L, (size_t)(q->n_outputs + 1) * sizeof *out, 0);
  for (int i = 0; i < q->n_outputs; i++) {
    const bdl_eqn *e = i < n && !flag_at(L, wanted, i) ? bdl_ir_maker(q, q->outputs[i]) : NULL;
    out[i] = e && e->prim == BDL_P_stop_gradient ? e->in[0] : q->outputs[i];
  }
  lbdl_check(L, bdl_prog_set_outputs(q, out, q->n_outputs));
}

/* core.derive(program, "jvp" | "vjp", {active flag an input}, {wanted flag an output} or nil) -> program, as
** runtime/transform/transform.h says; outputs that are not wanted have cotangents that go nowhere. */
static int l_derive(lua_State *L) {
  bdl_prog *p = lbdl_check_program(L, 1);
  bool reverse = !strcmp(luaL_checkstring(L, 2), "vjp"), some = lua_istable(L, 4);
  bool *active = lua_newuserdatauv(L, (size_t)p->inputs.n + 1, 0);
  for (int64_t i = 0; i < p->inputs.n; i++) active[i] = flag_at(L, 3, i);
  bdl_prog **detached = lbdl_new_program(L), **q = lbdl_new_program(L);
  const int result = lua_gettop(L);
  if (some) {
    detach(L, p, 4, detached);
    p = *detached;
  }
  lbdl_check(L, reverse ? bdl_transform_vjp(p, active, q) : bdl_transform_jvp(p, active, q));
  if (some) attach(L, *q, 4, p->n_outputs);
  lua_settop(L, result);
  return 1;
}

/* core.batch(program, {flag an input: has lanes in front}, size, axis?) -> program, {flag an output}
** axis: that of the primitives between lanes (psum, ..) which are over these lanes */
static int l_batch(lua_State *L) {
  lua_settop(L, 4);
  bdl_prog *p = lbdl_check_program(L, 1);
  bool *in = lua_newuserdatauv(L, (size_t)p->inputs.n + (size_t)p->n_outputs + 1, 0), *out = in + p->inputs.n;
  for (int64_t i = 0; i < p->inputs.n; i++) in[i] = flag_at(L, 2, i);
  bdl_prog **over = lbdl_new_program(L), **q = lbdl_new_program(L);
  if (!lua_isnil(L, 4)) {
    lbdl_check(L, bdl_transform_over(p, luaL_checkinteger(L, 4), over));
    p = *over;
  }
  lbdl_check(L, bdl_transform_batch(p, in, luaL_checkinteger(L, 3), q, out));
  lua_createtable(L, p->n_outputs, 0);
  for (int i = 0; i < p->n_outputs; i++) {
    lua_pushboolean(L, out[i]);
    lua_rawseti(L, -2, i + 1);
  }
  return 2;
}

/* core.checkify(program, kinds) -> program, {check..}: see runtime/transform/checkify.h.  A check is
** {kind =, prim =, text =, file =, line =, shown = number of values that go along, size =} */
static int l_checkify(lua_State *L) {
  const bdl_prog *p = lbdl_check_program(L, 1);
  const unsigned kinds = (unsigned)luaL_checkinteger(L, 2);
  bdl_prog **q = lbdl_new_program(L);
  bdl_checks *list = lua_newuserdatauv(L, sizeof *list, 0);
  *list = (bdl_checks){0};
  luaL_setmetatable(L, LBDL_CHECKS);
  lbdl_check(L, bdl_transform_checkify(p, kinds, list, q));
  const int64_t n = list->v.n;
  const bdl_check *v = list->v.v;
  lua_createtable(L, (int)n, 0);
  for (int64_t i = 0; i < n; i++) {
    lua_createtable(L, 0, 7);
    set_int(L, "kind", v[i].kind);
    set_int(L, "shown", v[i].n_shown);
    set_int(L, "size", v[i].size);
    lua_pushstring(L, v[i].prim), lua_setfield(L, -2, "prim");
    lua_pushstring(L, v[i].text), lua_setfield(L, -2, "text");
    lua_pushstring(L, v[i].src.file), lua_setfield(L, -2, "file");
    set_int(L, "line", v[i].src.line);
    lua_rawseti(L, -2, i + 1);
  }
  lua_remove(L, -2);
  return 2;
}

static int checks_gc(lua_State *L) {
  bdl_checks_fini(lbdl_ctx(L), luaL_checkudata(L, 1, LBDL_CHECKS));
  return 0;
}

/* ---- a program in two steps */

typedef struct half {
  bdl_prog *q;
  bdl_atom *of; /* atom of q for each variable of the whole; BDL_ZERO: none yet */
} half;

static half half_new(lua_State *L, const bdl_prog *p) {
  half h = {.of = lua_newuserdatauv(L, (size_t)(p->vars.n + 1) * sizeof(bdl_atom), 0)};
  memset(h.of, 0xff, (size_t)p->vars.n * sizeof(bdl_atom)); /* BDL_ZERO */
  bdl_prog **q = lbdl_new_program(L);
  lbdl_check(L, bdl_prog_new(p->ctx, p->name, q));
  h.q = *q;
  return h;
}

static void half_input(lua_State *L, const bdl_prog *p, half *h, bdl_atom x) {
  lbdl_check(L, bdl_ir_input(h->q, bdl_aval_of(p, x), &h->of[x]));
  h->q->vars.v[h->of[x]].name = p->vars.v[x].name;
}

static bdl_atom half_atom(lua_State *L, const bdl_prog *p, half *h, bdl_atom x) {
  const bdl_var *v = &p->vars.v[x];
  if (!bdl_is_zero(h->of[x])) return h->of[x];
  if (v->kind == BDL_V_LITERAL) lbdl_check(L, bdl_ir_literal(h->q, v->aval.dtype, v->literal, &h->of[x]));
  else if (v->kind == BDL_V_CONST) lbdl_check(L, bdl_ir_const(h->q, &p->consts.v[v->index], &h->of[x]));
  else lbdl_error(L, BDL_EINTERNAL, "split: a value of the second part is used in the first");
  return h->of[x];
}

static void half_eqn(lua_State *L, const bdl_prog *p, half *h, const bdl_eqn *e, bdl_atom *room) {
  bdl_atom *out = room + e->n_in;
  for (int k = 0; k < e->n_in; k++) room[k] = half_atom(L, p, h, e->in[k]);
  h->q->src = e->src;
  lbdl_check(L, bdl_bind(h->q, e->prim, e->params, room, e->n_in, out));
  for (int k = 0; k < e->n_out; k++) h->of[e->out[k]] = out[k];
}

static bool reads(const bdl_eqn *e, const bool *late) {
  bool any = false;
  for (int k = 0; k < e->n_in; k++) any |= late[e->in[k]];
  return any;
}

/*
** core.split(program, {late flag an input}, n) -> early, late
**   early(inputs that are not late) = the first n outputs, residuals;  late(residuals, late inputs) = the other outputs
** The first n outputs may not depend on late inputs.
*/
static int l_split(lua_State *L) {
  const bdl_prog *p = lbdl_check_program(L, 1);
  int n = (int)luaL_checkinteger(L, 3), widest = 0;
  bool *late = lua_newuserdatauv(L, (size_t)p->vars.n * 2 + 1, 0), *kept = late + p->vars.n;
  memset(late, 0, (size_t)p->vars.n * 2);
  for (int64_t i = 0; i < p->inputs.n; i++) late[p->inputs.v[i]] = flag_at(L, 2, i);
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    const bool any = reads(e, late);
    for (int k = 0; k < e->n_out; k++) late[e->out[k]] = any;
    for (int k = 0; any && k < e->n_in; k++) kept[e->in[k]] = true;
    if (e->n_in + e->n_out > widest) widest = e->n_in + e->n_out;
  }
  for (int i = n; i < p->n_outputs; i++) kept[p->outputs[i]] = true;
  bdl_atom *room = lua_newuserdatauv(L, (size_t)(widest + p->vars.n + p->n_outputs + 1) * sizeof *room, 0), *out = room + widest;
  int n_out = 0;
  half early = half_new(L, p), then = half_new(L, p);
  for (int64_t i = 0; i < p->inputs.n; i++)
    if (!late[p->inputs.v[i]]) half_input(L, p, &early, p->inputs.v[i]);
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    if (!reads(e, late)) half_eqn(L, p, &early, e, room);
  }
  for (int i = 0; i < n; i++) out[n_out++] = half_atom(L, p, &early, p->outputs[i]);
  for (bdl_atom x = 0; x < p->vars.n; x++) {
    if (!kept[x] || late[x] || p->vars.v[x].kind == BDL_V_LITERAL || p->vars.v[x].kind == BDL_V_CONST) continue;
    out[n_out++] = half_atom(L, p, &early, x);
    half_input(L, p, &then, x);
  }
  lbdl_check(L, bdl_prog_set_outputs(early.q, out, n_out));
  for (int64_t i = 0; i < p->inputs.n; i++)
    if (late[p->inputs.v[i]]) half_input(L, p, &then, p->inputs.v[i]);
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    if (reads(e, late)) half_eqn(L, p, &then, e, room);
  }
  for (int i = n; i < p->n_outputs; i++) out[i - n] = half_atom(L, p, &then, p->outputs[i]);
  lbdl_check(L, bdl_prog_set_outputs(then.q, out, p->n_outputs - n));
  lua_pushvalue(L, -3); /* then, its list, early */
  lua_insert(L, -2);
  return 2;
}

/*
** core.rewire(program, {tensor like each new input}, {new input for each old one}, n, {new inputs..}, {tensors..}) -> a program
** over other inputs that gives the first n outputs, then some of its inputs as they are, then zeros like the tensors.
*/
static int l_rewire(lua_State *L) {
  const bdl_prog *p = lbdl_check_program(L, 1);
  int n = (int)lua_rawlen(L, 2), n_out = (int)luaL_checkinteger(L, 4), n_passed = (int)lua_rawlen(L, 5), n_zeros = (int)lua_rawlen(L, 6);
  bdl_atom *in = lua_newuserdatauv(L, (size_t)(n + p->inputs.n + p->n_outputs + n_passed + n_zeros + 1) * sizeof *in, 0);
  bdl_atom *old = in + n, *out = old + p->inputs.n, *more = out + n_out;
  bdl_prog **q = lbdl_new_program(L);
  lbdl_check(L, bdl_prog_new(p->ctx, p->name, q));
  for (int i = 0; i < n; i++, lua_pop(L, 1)) {
    lua_rawgeti(L, 2, i + 1);
    lbdl_check(L, bdl_ir_input(*q, &lbdl_test_tensor(L, -1)->t.aval, &in[i]));
  }
  for (int i = 0; i < p->inputs.n; i++, lua_pop(L, 1)) {
    lua_rawgeti(L, 3, i + 1);
    old[i] = in[lua_tointeger(L, -1) - 1];
  }
  lbdl_check(L, bdl_ir_inline(*q, p, old, out));
  for (int i = 0; i < n_passed; i++, lua_pop(L, 1)) {
    lua_rawgeti(L, 5, i + 1);
    more[i] = in[lua_tointeger(L, -1) - 1];
  }
  for (int i = 0; i < n_zeros; i++, lua_pop(L, 1)) {
    lua_rawgeti(L, 6, i + 1);
    lbdl_check(L, bdl_ir_full(*q, &lbdl_test_tensor(L, -1)->t.aval, 0, &more[n_passed + i]));
  }
  lbdl_check(L, bdl_prog_set_outputs(*q, out, n_out + n_passed + n_zeros));
  return 1;
}

/* core.bind_programs(primitive, {program..}, {operand..}, integer..) -> list of results, in the current trace.  For primitives of
** which programs are the first parameter and integers the others. */
static int l_bind_programs(lua_State *L) {
  bdl_trace *t = bdl_trace_current(lbdl_ctx(L));
  lua_settop(L, 5);
  int prim = bdl_prim_find(luaL_checkstring(L, 1)), n_progs = (int)lua_rawlen(L, 2), n = (int)lua_rawlen(L, 3);
  if (!t || prim < 0) return lbdl_error(L, BDL_EINTERNAL, "bind_programs: no trace or no such primitive");
  bdl_prog **progs = lua_newuserdatauv(L, (size_t)(n_progs + 1) * sizeof *progs, 0);
  bdl_atom *in = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *in, 0);
  for (int i = 0; i < n_progs; i++, lua_pop(L, 1)) {
    lua_rawgeti(L, 2, i + 1);
    progs[i] = lbdl_check_program(L, -1);
  }
  for (int i = 0; i < n; i++, lua_pop(L, 1)) {
    lua_rawgeti(L, 3, i + 1);
    in[i] = lbdl_atom(L, t, lbdl_test_tensor(L, -1));
  }
  bdl_param params[3] = {bdl_pprogs(progs, n_progs)};
  for (int i = 1; i < BDL_LEN(params); i++) params[i] = bdl_pint(luaL_optinteger(L, 3 + i, 0));
  const int n_out = bdl_ir_n_out((bdl_prim_id)prim, params, n);
  bdl_atom *out = lua_newuserdatauv(L, (size_t)(n_out + 1) * sizeof *out, 0);
  t->prog->src = lbdl_where(L);
  lbdl_check(L, bdl_bind(t->prog, (bdl_prim_id)prim, params, in, n, out));
  lua_createtable(L, n_out, 0);
  for (int i = 0; i < n_out; i++) {
    lbdl_push_traced(L, t, out[i], NULL);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/* Operand i of the list at 2 on top: a tensor of type `want`, or a number. */
static bool is_number_operand(lua_State *L, int i, const bdl_aval *want) {
  char a[BDL_AVAL_TEXT], b[BDL_AVAL_TEXT];
  if (lua_rawgeti(L, 2, i + 1) == LUA_TNUMBER) return true;
  lbdl_tensor *x = lbdl_to_tensor(L, -1);
  if (x->weak && bdl_shape_eq(&x->t.aval, want)) lbdl_cast(L, -1, want->dtype);
  x = lbdl_test_tensor(L, -1);
  if (!bdl_aval_eq(&x->t.aval, want))
    lbdl_error(L, BDL_ESHAPE, "a tangent or cotangent must be %s like its value, not %s", bdl_aval_text(want, true, a),
               bdl_aval_text(&x->t.aval, true, b));
  return false;
}

/* At once, as under disable_jit. */
static int apply_now(lua_State *L, bdl_prog *q) {
  const int n = (int)q->inputs.n;
  bdl_tensor *in = lua_newuserdatauv(L, (size_t)(n + q->n_outputs + 1) * sizeof *in, 0), *out = in + n;
  luaL_checkstack(L, n + q->n_outputs + 8, "operands");
  for (int i = 0; i < n; i++) { /* the stack holds them until the program has run */
    const bdl_aval *want = bdl_aval_of(q, q->inputs.v[i]);
    if (is_number_operand(L, i, want)) {
      bdl_tensor x;
      lbdl_check(L, bdl_tensor_scalar(bdl_device_cpu(q->ctx), want->dtype, bdl_scalar_from_f64(want->dtype, lua_tonumber(L, -1)), &x));
      x.aval = *want; /* strides 0: every element is the one */
      lbdl_push_concrete(L, x, NULL);
      lua_replace(L, -2);
    }
    lbdl_need_concrete(L, lbdl_test_tensor(L, -1), "an operand");
    in[i] = lbdl_test_tensor(L, -1)->t;
  }
  lbdl_check(L, bdl_exec_prog(q->ctx, q, in, out));
  lua_createtable(L, q->n_outputs, 0);
  for (int i = 0; i < q->n_outputs; i++) {
    lbdl_push_concrete(L, out[i], NULL);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/* core.apply(program, {tensor or number..}) -> list of results, appended to the current trace, or at once where there is none.
** A number fills a tensor.  Units are the caller's. */
static int l_apply(lua_State *L) {
  bdl_prog *q = lbdl_check_program(L, 1);
  bdl_trace *t = bdl_trace_current(q->ctx);
  int n = (int)lua_rawlen(L, 2);
  if (n != q->inputs.n) return lbdl_error(L, BDL_EINTERNAL, "apply: %d operands for %d inputs", n, (int)q->inputs.n);
  if (!t) return apply_now(L, q);
  bdl_atom *in = lua_newuserdatauv(L, (size_t)(n + q->n_outputs + 1) * sizeof *in, 0), *out = in + n;
  for (int i = 0; i < n; i++) {
    const bdl_aval *want = bdl_aval_of(q, q->inputs.v[i]);
    if (is_number_operand(L, i, want)) lbdl_check(L, bdl_ir_full(t->prog, want, lua_tonumber(L, -1), &in[i]));
    else in[i] = lbdl_atom(L, t, lbdl_test_tensor(L, -1));
    lua_pop(L, 1);
  }
  lbdl_check(L, bdl_ir_inline(t->prog, q, in, out));
  lua_createtable(L, q->n_outputs, 0);
  for (int i = 0; i < q->n_outputs; i++) {
    lbdl_push_traced(L, t, out[i], NULL);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

void lbdl_open_transform(lua_State *L) {
  luaL_newmetatable(L, LBDL_PROGRAM);
  lua_pushcfunction(L, program_gc);
  lua_setfield(L, -2, "__gc");
  luaL_newmetatable(L, LBDL_CHECKS);
  lua_pushcfunction(L, checks_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 2);
  static const luaL_Reg functions[] = {{"trace_function", l_trace_function}, {"derive", l_derive}, {"batch", l_batch}, {"checkify", l_checkify}, {"split", l_split}, {"rewire", l_rewire}, {"bind_programs", l_bind_programs}, {"apply", l_apply}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}

/*
** transform_lua.c -- derivatives of functions of Lua: trace, transform, then append the result to the trace around.
*/
#include <string.h>

#include "base/context.h"
#include "binding/state_lua.h"
#include "binding/traced.h"
#include "transform/transform.h"

#define LBDL_PROGRAM "bdl.Program"

static bdl_prog **new_program(lua_State *L) {
  bdl_prog **p = lua_newuserdatauv(L, sizeof *p, 0);
  *p = NULL;
  luaL_setmetatable(L, LBDL_PROGRAM);
  return p;
}

static int program_gc(lua_State *L) {
  bdl_prog **p = luaL_checkudata(L, 1, LBDL_PROGRAM);
  if (*p) bdl_prog_unref(*p);
  *p = NULL;
  return 0;
}

/* What a program takes from outside, as tensors at the time of tracing: captured values, and States as they are now. */
static void push_inputs(lua_State *L, bdl_trace *t, bdl_trace *p, int first) {
  lua_createtable(L, (int)t->sources.n, 0);
  for (int32_t i = 0; i < t->sources.n; i++) {
    bdl_source s = t->sources.v[i];
    if (s.kind == BDL_FROM_ARGUMENT) lua_pushvalue(L, first + s.index);
    else if (s.kind == BDL_FROM_CAPTURE) lbdl_push_traced(L, p, s.outer, NULL);
    else {
      bdl_state *state = t->states.v[s.index].state;
      const bdl_atom *now;
      if (p) {
        lbdl_check(L, bdl_trace_read(p, state, &now));
        lbdl_push_traced(L, p, now[s.leaf], NULL);
      } else lbdl_push_concrete(L, bdl_tensor_ref(&state->leaf[s.leaf].value), NULL);
    }
    lua_rawseti(L, -2, i + 1);
  }
}

/*
** core.trace_function(who, f, {argument..}) -> program of f(argument..), its inputs (list of tensors), the argument that
** each input is a leaf of (list; 0: none), structures of the results, units of their leaves (list; false: plain).
** Errors: NotSupportedError f writes a State.
*/
static int l_trace_function(lua_State *L) {
  const char *who = luaL_checkstring(L, 1);
  bdl_context *c = lbdl_ctx(L);
  bdl_trace *p = bdl_trace_current(c);
  int n_values = (int)lua_rawlen(L, 3), n = 0, first;
  const char **defs = lua_newuserdatauv(L, (size_t)(n_values + 1) * sizeof *defs, 0);
  int *counts = lua_newuserdatauv(L, (size_t)(n_values + 1) * sizeof *counts, 0);
  first = lua_gettop(L) + 1;
  for (int v = 0; v < n_values; v++) {
    lua_rawgeti(L, 3, v + 1);
    int at = lua_gettop(L);
    counts[v] = lbdl_flatten(L, at);
    if (!(defs[v] = bdl_intern(c, lua_tostring(L, -1)))) return lbdl_raise(L);
    lua_pop(L, 1);
    lua_remove(L, at);
    n += counts[v];
  }
  lbdl_example *ex = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *ex, 0);
  for (int i = 0; i < n; i++) {
    lbdl_tensor *x = lbdl_test_tensor(L, first + i);
    ex[i] = (lbdl_example){x->t.aval, x->unit, x->weak};
  }
  luaL_checkstack(L, 16, "derivatives");
  lbdl_traced_fn *fn = lbdl_trace(L, 2, who, n_values, defs, counts, ex, 0, 0);
  bdl_trace *t = fn->t;
  for (int64_t k = 0; k < t->states.n; k++) {
    bdl_touched *s = &t->states.v[k];
    if (!s->written || s->local) continue;
    bdl_hint(c, "return the new value, or stop before the write");
    return lbdl_error(L, BDL_ENOTSUP, "%s: the function writes the State '%s' (made at %s:%d), only functions that read can be differentiated",
                      who, s->state->name, s->state->src.file ? s->state->src.file : "?", (int)s->state->src.line);
  }
  bdl_atom *out = lua_newuserdatauv(L, (size_t)(fn->out.n + 1) * sizeof *out, 0);
  for (int64_t i = 0; i < fn->out.n; i++) out[i] = fn->out.v[i].atom;
  lbdl_check(L, bdl_prog_set_outputs(t->prog, out, (int)fn->out.n));
  bdl_prog **program = new_program(L);
  bdl_prog_ref(*program = t->prog);
  push_inputs(L, t, p, first);
  lua_createtable(L, (int)t->sources.n, 0);
  for (int32_t i = 0; i < t->sources.n; i++) {
    int argument = 0;
    if (t->sources.v[i].kind == BDL_FROM_ARGUMENT)
      for (int leaf = t->sources.v[i].index; leaf >= 0; argument++) leaf -= counts[argument];
    lua_pushinteger(L, argument);
    lua_rawseti(L, -2, i + 1);
  }
  lua_createtable(L, (int)fn->results.n, 0);
  for (int64_t r = 0; r < fn->results.n; r++) {
    lua_pushstring(L, fn->results.v[r].treedef);
    lua_rawseti(L, -2, r + 1);
  }
  lua_createtable(L, (int)fn->out.n, 0);
  for (int64_t i = 0; i < fn->out.n; i++) {
    if (fn->out.v[i].unit) lbdl_push_unit(L, fn->out.v[i].unit);
    else lua_pushboolean(L, 0);
    lua_rawseti(L, -2, i + 1);
  }
  return 5;
}

/* core.derive(program, "jvp" | "vjp", {active flag an input}) -> program, as runtime/transform/transform.h says */
static int l_derive(lua_State *L) {
  bdl_prog **p = luaL_checkudata(L, 1, LBDL_PROGRAM);
  bool reverse = !strcmp(luaL_checkstring(L, 2), "vjp");
  bool *active = lua_newuserdatauv(L, (size_t)(*p)->inputs.n + 1, 0);
  for (int64_t i = 0; i < (*p)->inputs.n; i++) {
    lua_rawgeti(L, 3, i + 1);
    active[i] = lua_toboolean(L, -1);
    lua_pop(L, 1);
  }
  bdl_prog **q = new_program(L);
  lbdl_check(L, reverse ? bdl_transform_vjp(*p, active, q) : bdl_transform_jvp(*p, active, q));
  return 1;
}

/* core.apply(program, {tensor or number..}) -> list of results, appended to the current trace.  A number fills a tensor.
** Units are the caller's. */
static int l_apply(lua_State *L) {
  bdl_prog *q = *(bdl_prog **)luaL_checkudata(L, 1, LBDL_PROGRAM);
  bdl_trace *t = bdl_trace_current(q->ctx);
  int n = (int)lua_rawlen(L, 2);
  if (!t) return lbdl_error(L, BDL_EINTERNAL, "apply outside of a trace");
  if (n != q->inputs.n) return lbdl_error(L, BDL_EINTERNAL, "apply: %d operands for %d inputs", n, (int)q->inputs.n);
  bdl_atom *in = lua_newuserdatauv(L, (size_t)(n + q->n_outputs + 1) * sizeof *in, 0), *out = in + n;
  for (int i = 0; i < n; i++) {
    char a[BDL_AVAL_TEXT], b[BDL_AVAL_TEXT];
    const bdl_aval *want = bdl_aval_of(q, q->inputs.v[i]);
    if (lua_rawgeti(L, 2, i + 1) == LUA_TNUMBER) {
      lbdl_check(L, bdl_ir_full(t->prog, want, lua_tonumber(L, -1), &in[i]));
      lua_pop(L, 1);
      continue;
    }
    lbdl_tensor *x = lbdl_to_tensor(L, -1);
    if (x->weak && bdl_shape_eq(&x->t.aval, want)) lbdl_cast(L, -1, want->dtype);
    x = lbdl_test_tensor(L, -1);
    if (!bdl_aval_eq(&x->t.aval, want))
      return lbdl_error(L, BDL_ESHAPE, "a tangent or cotangent must be %s like its value, not %s", bdl_aval_text(want, true, a),
                        bdl_aval_text(&x->t.aval, true, b));
    in[i] = lbdl_atom(L, t, x);
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
  lua_pop(L, 1);
  static const luaL_Reg functions[] = {{"trace_function", l_trace_function}, {"derive", l_derive}, {"apply", l_apply}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}

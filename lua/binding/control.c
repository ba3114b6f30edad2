/*
** control.c -- scan, while and cond over Lua functions, appended to the trace around them.
**
** The body is traced on its own; what it captured and the States it read become constants of the loop, the States it
** wrote become carry, so that a loop changes exactly what it would change run step by step.
*/
#include <stdio.h>
#include <string.h>

#include "base/context.h"
#include "binding/traced.h"

static bdl_trace *outer(lua_State *L) {
  bdl_trace *t = bdl_trace_current(lbdl_ctx(L));
  if (!t) lbdl_error(L, BDL_EINTERNAL, "control flow outside of a trace");
  return t;
}

static void *room(lua_State *L, size_t n, size_t size) { return lua_newuserdatauv(L, (n + 1) * size, 0); }

/* ---- what a traced body needs from outside ------------------------------------------------------ */

typedef struct wiring {
  int32_t *order;  /* inputs of the body, by position of their source */
  bdl_atom *in;    /* and the atoms outside */
  int n;
} wiring;

static void add(wiring *w, int32_t source, bdl_atom outside) {
  w->order[w->n] = source;
  w->in[w->n++] = outside;
}

static wiring wiring_new(lua_State *L, size_t most) {
  return (wiring){.order = room(L, most, sizeof(int32_t)), .in = room(L, most, sizeof(bdl_atom))};
}

/* Captured values, and States that are in the body but not in `carried`. */
static void wire_constants(lua_State *L, wiring *w, bdl_trace *p, bdl_trace *t, bool (*carried)(void *ud, const bdl_state *s), void *ud) {
  for (int32_t i = 0; i < t->sources.n; i++) {
    bdl_source s = t->sources.v[i];
    if (s.kind == BDL_FROM_CAPTURE) add(w, i, s.outer);
    if (s.kind != BDL_FROM_STATE || carried(ud, t->states.v[s.index].state)) continue;
    const bdl_atom *now;
    lbdl_check(L, bdl_trace_read(p, t->states.v[s.index].state, &now));
    add(w, i, now[s.leaf]);
  }
}

static void wire_arguments(wiring *w, bdl_trace *t, int32_t first, int32_t n, const bdl_atom *outside) {
  for (int32_t i = 0; i < t->sources.n; i++) {
    bdl_source s = t->sources.v[i];
    if (s.kind == BDL_FROM_ARGUMENT && s.index >= first && s.index < first + n) add(w, i, outside[s.index - first]);
  }
}

static int32_t source_of(const bdl_trace *t, bdl_atom input) {
  for (int32_t i = 0; i < t->sources.n; i++)
    if (t->prog->inputs.v[i] == input) return i;
  return -1;
}

static bool writes(void *ud, const bdl_state *s) {
  bdl_trace *t = ud;
  uint64_t k;
  return bdl_map_get(&t->by_state, s->id, &k) && t->states.v[k].written && !t->states.v[k].local;
}

/* The States that `writer` writes enter t too, as carry. */
static void wire_written(lua_State *L, wiring *w, bdl_trace *p, bdl_trace *t, bdl_trace *writer) {
  for (int64_t k = 0; k < writer->states.n; k++) {
    bdl_state *s = writer->states.v[k].state;
    if (!writes(writer, s)) continue;
    uint64_t mine;
    const bdl_atom *now, *in;
    if (!bdl_map_get(&t->by_state, s->id, &mine)) { /* t does not touch it: an input that it ignores */
      lbdl_check(L, bdl_trace_read(p, s, &now));
      for (int32_t i = 0; i < s->n; i++) {
        bdl_atom x;
        lbdl_check(L, bdl_trace_argument(t, -1, bdl_aval_of(p->prog, now[i]), &x));
      }
      for (int32_t i = 0; i < s->n; i++) add(w, (int32_t)t->sources.n - s->n + i, now[i]);
      continue;
    }
    lbdl_check(L, bdl_trace_entry(t, (int32_t)mine, &in));
    lbdl_check(L, bdl_trace_read(p, s, &now));
    for (int32_t i = 0; i < s->n; i++) add(w, source_of(t, in[i]), now[i]);
  }
}

static int n_written_leaves(bdl_trace *t) {
  int n = 0;
  for (int64_t k = 0; k < t->states.n; k++)
    if (writes(t, t->states.v[k].state)) n += t->states.v[k].state->n;
  return n;
}

static int n_state_leaves(bdl_trace *t) {
  int n = 0;
  for (int64_t k = 0; k < t->states.n; k++) n += t->states.v[k].state->n;
  return n;
}

/* out: atoms of p for the leaves of the States that t wrote, in order. */
static void write_back(lua_State *L, bdl_trace *p, bdl_trace *t, const bdl_atom *out) {
  for (int64_t k = 0; k < t->states.n; k++) {
    bdl_state *s = t->states.v[k].state;
    if (!writes(t, s)) continue;
    lbdl_check(L, bdl_trace_write(p, s, out));
    out += s->n;
  }
}

/* ---- values ---------------------------------------------------------------------------------------- */

typedef struct tree {
  const char *treedef;
  int n, first; /* leaves on the stack */
} tree;

static tree open_tree(lua_State *L, int arg) {
  tree t = {.first = lua_gettop(L) + 1};
  t.n = lbdl_flatten(L, arg);
  t.treedef = bdl_intern(lbdl_ctx(L), lua_tostring(L, -1));
  if (!t.treedef) lbdl_raise(L);
  lua_pop(L, 1);
  return t;
}

static lbdl_example example(const lbdl_tensor *x, bool slice) {
  lbdl_example e = {x->t.aval, x->unit, x->weak};
  if (slice) {
    e.aval.ndim--;
    memmove(e.aval.shape, e.aval.shape + 1, (size_t)e.aval.ndim * sizeof *e.aval.shape);
    e.weak = false;
  }
  return e;
}

static void push_result(lua_State *L, bdl_trace *p, const lbdl_result *r, const lbdl_trace_out *out, const bdl_atom *atoms, bool strong) {
  luaL_checkstack(L, r->n + 8, "results");
  for (int i = 0; i < r->n; i++)
    lbdl_push_traced(L, p, atoms[r->first + i], out[r->first + i].unit)->weak = !strong && out[r->first + i].weak;
  lbdl_unflatten(L, r->treedef, r->n);
}

static const char *leaf_text(const bdl_aval *a, const bdl_unit *u, char *buf, size_t n) {
  char t[BDL_AVAL_TEXT];
  snprintf(buf, n, "%s%s%s", bdl_aval_text(a, true, t), u ? " " : "", u ? bdl_unit_text(u) : "");
  return buf;
}

/*
** The carry that a body returns must be of the type it got.  Weak numbers give way: `*again` asks for another trace with
** the leaf at stack position first + i cast.  Units of one dimension are converted inside the body.
*/
static void check_carry(lua_State *L, const char *who, lbdl_traced_fn *fn, tree carry, bool *again) {
  bdl_trace *t = fn->t;
  *again = false;
  if (fn->results.n == 0 || strcmp(fn->results.v[0].treedef, carry.treedef) != 0)
    lbdl_error(L, BDL_ETYPE, "%s: the carry has the structure %s; the body returned %s", who, carry.treedef,
               fn->results.n ? fn->results.v[0].treedef : "nothing");
  for (int i = 0; i < carry.n; i++) {
    lbdl_tensor *x = lbdl_test_tensor(L, carry.first + i);
    lbdl_trace_out *o = &fn->out.v[i];
    const bdl_aval *a = bdl_aval_of(t->prog, o->atom);
    char was[256], is[256];
    bool same_unit = x->unit == o->unit || bdl_unit_eq(x->unit, o->unit);
    if (bdl_aval_eq(a, &x->t.aval) && same_unit) {
      o->unit = x->unit;
      continue;
    }
    if (bdl_shape_eq(a, &x->t.aval) && same_unit && x->weak && (bdl_dtype_is_float(a->dtype) || !bdl_dtype_is_float(x->t.aval.dtype))) {
      lbdl_cast(L, carry.first + i, a->dtype);
      *again = true;
      continue;
    }
    if (bdl_shape_eq(a, &x->t.aval) && same_unit && o->weak && !(bdl_dtype_is_float(a->dtype) && !bdl_dtype_is_float(x->t.aval.dtype))) {
      lbdl_check(L, bdl_ir_cast(t->prog, o->atom, x->t.aval.dtype, &o->atom));
      continue;
    }
    if (bdl_shape_eq(a, &x->t.aval) && a->dtype == x->t.aval.dtype && bdl_unit_same_dim(x->unit, o->unit)) {
      bdl_atom by;
      lbdl_check(L, bdl_ir_scalar(t->prog, a->dtype, bdl_unit_ratio(o->unit, x->unit), &by));
      lbdl_check(L, bdl_bind2(t->prog, BDL_P_mul, o->atom, by, &o->atom));
      o->unit = x->unit;
      continue;
    }
    lbdl_error(L, BDL_ETYPE, "%s: the carry is %s but the body returned %s", who, leaf_text(&x->t.aval, x->unit, was, sizeof was),
               leaf_text(a, o->unit, is, sizeof is));
  }
}

/* A State that changes its type in a round has no place to be carried in. */
static void check_written(lua_State *L, const char *who, const bdl_trace *t) {
  for (int64_t k = 0; k < t->states.n; k++) {
    const bdl_touched *s = &t->states.v[k];
    for (int32_t i = 0; s->input && s->written && i < s->state->n; i++) {
      char was[BDL_AVAL_TEXT], is[BDL_AVAL_TEXT];
      const bdl_aval *a = bdl_aval_of(t->prog, s->input[i]), *b = bdl_aval_of(t->prog, s->now[i]);
      if (bdl_aval_eq(a, b)) continue;
      lbdl_error(L, BDL_ESHAPE, "%s: %s is %s before a round and %s after it", who, bdl_state_text(s->state, (char[BDL_STATE_TEXT]){0}),
                 bdl_aval_text(a, true, was), bdl_aval_text(b, true, is));
    }
  }
}

static void set_outputs(lua_State *L, lbdl_traced_fn *fn, const lbdl_trace_out *out, int first, int n, bdl_atom *all, int *at) {
  (void)L;
  (void)fn;
  for (int i = 0; i < n; i++) all[(*at)++] = out[first + i].atom;
}

static void written_outputs(bdl_trace *t, bdl_atom *all, int *at) {
  for (int64_t k = 0; k < t->states.n; k++) {
    const bdl_touched *s = &t->states.v[k];
    if (!writes(t, s->state)) continue;
    for (int32_t i = 0; i < s->state->n; i++) all[(*at)++] = s->now[i];
  }
}

/* ---- scan -------------------------------------------------------------------------------------------- */

/* core.scan(who, f, has_carry, carry, xs (a list of trees), length or nil, reverse) -> carry, stacked results... */
static int l_scan(lua_State *L) {
  const char *who = luaL_checkstring(L, 1);
  bool has_carry = lua_toboolean(L, 3), reverse = lua_toboolean(L, 7);
  int64_t length = lua_isnil(L, 6) ? -1 : (int64_t)luaL_checkinteger(L, 6);
  bdl_trace *p = outer(L);
  bdl_context *c = p->ctx;
  int n_xs = (int)lua_rawlen(L, 5), n_values = n_xs + has_carry;
  tree *trees = room(L, (size_t)n_values, sizeof *trees);
  int n_leaves = 0;
  if (has_carry) {
    trees[0] = open_tree(L, 4);
    n_leaves += trees[0].n;
  }
  for (int v = 0; v < n_xs; v++) {
    lua_rawgeti(L, 5, v + 1);
    tree t = open_tree(L, lua_gettop(L));
    trees[has_carry + v] = t;
    n_leaves += t.n;
    for (int i = 0; i < t.n; i++) {
      const bdl_aval *a = &lbdl_test_tensor(L, t.first + i)->t.aval;
      if (a->ndim == 0) return lbdl_error(L, BDL_EVALUE, "%s: a scalar has no axis to loop over", who);
      if (length >= 0 && a->shape[0] != length)
        return lbdl_error(L, BDL_EVALUE, "%s: sequences differ in length: %lld and %lld", who, (long long)length, (long long)a->shape[0]);
      length = a->shape[0];
    }
  }
  if (length < 0) {
    bdl_hint(c, "give a sequence, bdl.arange(n), or the option length");
    return lbdl_error(L, BDL_EVALUE, "%s: no sequence and no length", who);
  }
  const char **defs = room(L, (size_t)n_values, sizeof *defs);
  int *counts = room(L, (size_t)n_values, sizeof *counts);
  lbdl_example *ex = room(L, (size_t)n_leaves, sizeof *ex);
  tree carry = has_carry ? trees[0] : (tree){"", 0, 0};
  lbdl_traced_fn *fn = NULL;
  bool again = true;
  for (int tries = 0; again; tries++) {
    int at = 0;
    for (int v = 0; v < n_values; v++) {
      defs[v] = trees[v].treedef;
      counts[v] = trees[v].n;
      for (int i = 0; i < trees[v].n; i++) ex[at++] = example(lbdl_test_tensor(L, trees[v].first + i), v >= has_carry);
    }
    fn = lbdl_trace(L, 2, who, n_values, defs, counts, ex, 0, 0);
    again = false;
    if (has_carry) check_carry(L, who, fn, carry, &again);
    if (again && tries == 3) return lbdl_error(L, BDL_ETYPE, "%s: the type of the carry does not settle", who);
  }
  bdl_trace *t = fn->t;
  int most = (int)t->sources.n + n_state_leaves(t) + n_leaves;
  wiring w = wiring_new(L, (size_t)most);
  bdl_atom *args = room(L, (size_t)n_leaves, sizeof *args);
  for (int v = 0, at = 0; v < n_values; v++)
    for (int i = 0; i < trees[v].n; i++) args[at++] = lbdl_atom(L, p, lbdl_test_tensor(L, trees[v].first + i));
  wire_constants(L, &w, p, t, writes, t);
  int n_consts = w.n;
  wire_arguments(&w, t, 0, carry.n, args);
  wire_written(L, &w, p, t, t);
  check_written(L, who, t);
  int n_carry = w.n - n_consts;
  wire_arguments(&w, t, carry.n, n_leaves - carry.n, args + carry.n);
  int n_out = (int)fn->out.n + n_written_leaves(t), at = 0;
  bdl_atom *outs = room(L, (size_t)n_out, sizeof *outs), *results = room(L, (size_t)n_out, sizeof *results);
  set_outputs(L, fn, fn->out.v, 0, carry.n, outs, &at);
  written_outputs(t, outs, &at);
  set_outputs(L, fn, fn->out.v, carry.n, (int)fn->out.n - carry.n, outs, &at);
  lbdl_arrange(L, fn, w.order, w.n);
  lbdl_check(L, bdl_prog_set_outputs(t->prog, outs, at));
  bdl_param params[5] = {bdl_pint(n_consts), bdl_pint(n_carry), bdl_pint(length), bdl_pint(reverse), bdl_pprogs(&t->prog, 1)};
  p->prog->src = lbdl_where(L);
  lbdl_check(L, bdl_bind(p->prog, BDL_P_scan, params, w.in, w.n, results));
  write_back(L, p, t, results + carry.n);
  /* results: carry, written States, stacked; fn->out: carry, then what is stacked */
  bdl_atom *stacked = results + n_carry - carry.n;
  int first = lua_gettop(L) + 1;
  for (int64_t r = 0; r < fn->results.n; r++)
    push_result(L, p, &fn->results.v[r], fn->out.v, r == 0 && has_carry ? results : stacked, r > 0 || !has_carry);
  return lua_gettop(L) - first + 1;
}

/* ---- while --------------------------------------------------------------------------------------------- */

/* core.while_loop(cond, body, carry) -> carry */
static int l_while(lua_State *L) {
  bdl_trace *p = outer(L);
  lua_settop(L, 3);
  tree carry = open_tree(L, 3);
  lbdl_example *ex = room(L, (size_t)carry.n, sizeof *ex);
  lbdl_traced_fn *body = NULL;
  bool again = true;
  for (int tries = 0; again; tries++) {
    for (int i = 0; i < carry.n; i++) ex[i] = example(lbdl_test_tensor(L, carry.first + i), false);
    body = lbdl_trace(L, 2, "while_loop", 1, &carry.treedef, &carry.n, ex, 0, 0);
    check_carry(L, "while_loop", body, carry, &again);
    if (again && tries == 3) return lbdl_error(L, BDL_ETYPE, "while_loop: the type of the carry does not settle");
  }
  lbdl_traced_fn *cond = lbdl_trace(L, 1, "while_loop condition", 1, &carry.treedef, &carry.n, ex, 0, 0);
  bdl_trace *t = body->t, *u = cond->t;
  if (n_written_leaves(u) > 0) return lbdl_error(L, BDL_EVALUE, "while_loop: cond_fun should not have any write states");
  const bdl_aval *pred = cond->out.n == 1 ? bdl_aval_of(u->prog, cond->out.v[0].atom) : NULL;
  char text[BDL_AVAL_TEXT];
  if (!pred || bdl_aval_numel(pred) != 1 || pred->dtype != BDL_BOOL)
    return lbdl_error(L, BDL_ETYPE, "while_loop: the condition must be one boolean, not %s", pred ? bdl_aval_text(pred, true, text) : "nothing");
  if (pred->ndim) lbdl_check(L, bdl_ir_reshape(u->prog, cond->out.v[0].atom, 0, NULL, &cond->out.v[0].atom));
  int most = (int)(t->sources.n + u->sources.n) + 2 * (n_state_leaves(t) + n_state_leaves(u)) + 2 * carry.n;
  wiring all = wiring_new(L, (size_t)most), wb = wiring_new(L, (size_t)most), wc = wiring_new(L, (size_t)most);
  bdl_atom *args = room(L, (size_t)carry.n, sizeof *args);
  for (int i = 0; i < carry.n; i++) args[i] = lbdl_atom(L, p, lbdl_test_tensor(L, carry.first + i));
  wire_constants(L, &wc, p, u, writes, t);
  int n_cond = wc.n;
  wire_arguments(&wc, u, 0, carry.n, args);
  wire_written(L, &wc, p, u, t);
  wire_constants(L, &wb, p, t, writes, t);
  int n_body = wb.n;
  wire_arguments(&wb, t, 0, carry.n, args);
  wire_written(L, &wb, p, t, t);
  check_written(L, "while_loop", t);
  for (int i = 0; i < n_cond; i++) add(&all, 0, wc.in[i]);
  for (int i = 0; i < wb.n; i++) add(&all, 0, wb.in[i]);
  int n_out = carry.n + n_written_leaves(t), at = 0;
  bdl_atom *outs = room(L, (size_t)n_out, sizeof *outs), *results = room(L, (size_t)n_out, sizeof *results);
  set_outputs(L, body, body->out.v, 0, carry.n, outs, &at);
  written_outputs(t, outs, &at);
  lbdl_arrange(L, cond, wc.order, wc.n);
  lbdl_arrange(L, body, wb.order, wb.n);
  lbdl_check(L, bdl_prog_set_outputs(u->prog, &cond->out.v[0].atom, 1));
  lbdl_check(L, bdl_prog_set_outputs(t->prog, outs, at));
  bdl_prog *progs[2] = {u->prog, t->prog};
  bdl_param params[3] = {bdl_pint(n_cond), bdl_pint(n_body), bdl_pprogs(progs, 2)};
  p->prog->src = lbdl_where(L);
  lbdl_check(L, bdl_bind(p->prog, BDL_P_while, params, all.in, all.n, results));
  write_back(L, p, t, results + carry.n);
  push_result(L, p, &body->results.v[0], body->out.v, results, false);
  return 1;
}

/* ---- cond ------------------------------------------------------------------------------------------------ */

/* Branches must return the same tree of the same types: weak numbers give way, units of one dimension are converted. */
static void agree(lua_State *L, lbdl_traced_fn *a, lbdl_traced_fn *b, int which, bool two_way) {
  char ta[256], tb[24], ty[256];
  const char *na = two_way ? "the false branch" : "branch 1", *nb = two_way ? "the true branch" : tb;
  snprintf(tb, sizeof tb, "branch %d", which);
  if (a->results.n != b->results.n)
    lbdl_error(L, BDL_ETYPE, "cond: %s returns %d values, %s returns %d", na, (int)a->results.n, nb, (int)b->results.n);
  for (int64_t r = 0; r < a->results.n; r++)
    if (strcmp(a->results.v[r].treedef, b->results.v[r].treedef) != 0)
      lbdl_error(L, BDL_ETYPE, "cond: %s returns the structure %s, %s returns %s", na, a->results.v[r].treedef, nb,
                 b->results.v[r].treedef);
  for (int64_t i = 0; i < a->out.n; i++) {
    lbdl_trace_out *x = &a->out.v[i], *y = &b->out.v[i];
    bdl_aval ax = *bdl_aval_of(a->t->prog, x->atom), ay = *bdl_aval_of(b->t->prog, y->atom);
    if (bdl_shape_eq(&ax, &ay) && ax.dtype != ay.dtype && (x->weak || y->weak)) {
      bool to_y = x->weak && !(y->weak && bdl_dtype_is_float(ax.dtype));
      if (to_y) lbdl_check(L, bdl_ir_cast(a->t->prog, x->atom, ay.dtype, &x->atom));
      else lbdl_check(L, bdl_ir_cast(b->t->prog, y->atom, ax.dtype, &y->atom));
      ax = *bdl_aval_of(a->t->prog, x->atom), ay = *bdl_aval_of(b->t->prog, y->atom);
    }
    if (x->unit != y->unit && bdl_unit_same_dim(x->unit, y->unit)) {
      double by = bdl_unit_ratio(y->unit, x->unit);
      bdl_atom k;
      if (by != 1) {
        lbdl_check(L, bdl_ir_scalar(b->t->prog, ay.dtype, by, &k));
        lbdl_check(L, bdl_bind2(b->t->prog, BDL_P_mul, y->atom, k, &y->atom));
      }
      y->unit = x->unit;
    }
    if (!bdl_aval_eq(&ax, &ay) || x->unit != y->unit)
      lbdl_error(L, BDL_ETYPE, "cond: %s returns %s, %s returns %s", na, leaf_text(&ax, x->unit, ta, sizeof ta), nb,
                 leaf_text(&ay, y->unit, ty, sizeof ty));
    x->weak &= y->weak;
  }
}

typedef struct branches {
  int n;
  lbdl_traced_fn **fn;
} branches;

static bool some_writes(const branches *b, bdl_state *s) {
  for (int k = 0; k < b->n; k++)
    if (writes(b->fn[k]->t, s)) return true;
  return false;
}

/* core.cond(index, list of functions, operands...) -> results */
static int l_cond(lua_State *L) {
  bdl_trace *p = outer(L);
  bdl_context *c = p->ctx;
  int n_ops = lua_gettop(L) - 2, base;
  branches b = {.n = (int)lua_rawlen(L, 2)};
  bool two_way = lua_getfield(L, 2, "two_way") != LUA_TNIL; /* for messages: {false, true} */
  lua_pop(L, 1);
  lbdl_to_tensor(L, 1);
  lbdl_cast(L, 1, BDL_I32);
  bdl_atom index = lbdl_atom(L, p, lbdl_test_tensor(L, 1));
  if (bdl_aval_of(p->prog, index)->ndim) lbdl_check(L, bdl_ir_reshape(p->prog, index, 0, NULL, &index));
  luaL_checkstack(L, b.n * 2 + 16, "branches");
  b.fn = room(L, (size_t)b.n, sizeof *b.fn);
  for (int k = 0; k < b.n; k++) {
    lua_rawgeti(L, 2, k + 1);
    b.fn[k] = lbdl_trace(L, lua_gettop(L), "branch", 0, NULL, NULL, NULL, 3, n_ops);
    if (k > 0) agree(L, b.fn[0], b.fn[k], k + 1, two_way);
  }
  for (int k = 1; k < b.n - 1; k++) agree(L, b.fn[0], b.fn[k], k + 1, two_way); /* what a later branch changed in the first */
  /* one list of operands for all: captured atoms, then States in order of first touch */
  int most = 1;
  for (int k = 0; k < b.n; k++) most += (int)b.fn[k]->t->sources.n + n_state_leaves(b.fn[k]->t);
  bdl_atom *in = room(L, (size_t)most, sizeof *in);
  bdl_state **states = room(L, (size_t)most, sizeof *states);
  int n_in = 1, n_states = 0, n_captured;
  in[0] = index;
  for (int k = 0; k < b.n; k++) {
    bdl_trace *t = b.fn[k]->t;
    for (int64_t i = 0; i < t->sources.n; i++) {
      bool known = t->sources.v[i].kind != BDL_FROM_CAPTURE;
      for (int j = 1; j < n_in && !known; j++) known = in[j] == t->sources.v[i].outer;
      if (!known) in[n_in++] = t->sources.v[i].outer;
    }
  }
  n_captured = n_in;
  for (int k = 0; k < b.n; k++) {
    bdl_trace *t = b.fn[k]->t;
    for (int64_t i = 0; i < t->states.n; i++) {
      bdl_state *s = t->states.v[i].state;
      bool known = t->states.v[i].local || (!t->states.v[i].input && !t->states.v[i].written);
      for (int j = 0; j < n_states && !known; j++) known = states[j] == s;
      if (known) continue;
      const bdl_atom *now;
      lbdl_check(L, bdl_trace_read(p, s, &now));
      states[n_states++] = s;
      for (int32_t j = 0; j < s->n; j++) in[n_in++] = now[j];
    }
  }
  int n_out = (int)b.fn[0]->out.n;
  for (int j = 0; j < n_states; j++) n_out += some_writes(&b, states[j]) ? states[j]->n : 0;
  bdl_atom *outs = room(L, (size_t)n_out, sizeof *outs), *results = room(L, (size_t)n_out, sizeof *results);
  bdl_prog **progs = room(L, (size_t)b.n, sizeof *progs);
  int32_t *order = room(L, (size_t)n_in, sizeof *order);
  base = lua_gettop(L);
  for (int k = 0; k < b.n; k++) {
    bdl_trace *t = b.fn[k]->t;
    int n = 0, at = 0;
    for (int j = 1; j < n_captured; j++) {
      int32_t source = -1;
      for (int32_t i = 0; i < t->sources.n; i++)
        if (t->sources.v[i].kind == BDL_FROM_CAPTURE && t->sources.v[i].outer == in[j]) source = i;
      if (source < 0) {
        bdl_atom x;
        bdl_aval a = *bdl_aval_of(p->prog, in[j]);
        lbdl_check(L, bdl_trace_argument(t, -1, &a, &x));
        source = (int32_t)t->sources.n - 1;
      }
      order[n++] = source;
    }
    for (int j = 0; j < n_states; j++) { /* a branch that does not touch a State takes it and hands it on */
      const bdl_atom *entry, *now;
      uint64_t mine;
      if (!bdl_map_get(&t->by_state, states[j]->id, &mine)) {
        bdl_status st = BDL_OK;
        t->parent = p;
        st = bdl_trace_read(t, states[j], &now);
        lbdl_check(L, st);
        (void)bdl_map_get(&t->by_state, states[j]->id, &mine);
      }
      lbdl_check(L, bdl_trace_entry(t, (int32_t)mine, &entry));
      for (int32_t i = 0; i < states[j]->n; i++) order[n++] = source_of(t, entry[i]);
    }
    set_outputs(L, b.fn[k], b.fn[k]->out.v, 0, (int)b.fn[0]->out.n, outs, &at);
    for (int j = 0; j < n_states; j++) {
      uint64_t mine;
      if (!some_writes(&b, states[j])) continue;
      (void)bdl_map_get(&t->by_state, states[j]->id, &mine);
      for (int32_t i = 0; i < states[j]->n; i++) outs[at++] = t->states.v[mine].now[i];
    }
    lbdl_arrange(L, b.fn[k], order, n);
    lbdl_check(L, bdl_prog_set_outputs(t->prog, outs, at));
    progs[k] = t->prog;
  }
  bdl_param params[1] = {bdl_pprogs(progs, b.n)};
  p->prog->src = lbdl_where(L);
  lbdl_check(L, bdl_bind(p->prog, BDL_P_cond, params, in, n_in, results));
  bdl_atom *at = results + b.fn[0]->out.n;
  for (int j = 0; j < n_states; j++)
    if (some_writes(&b, states[j])) {
      lbdl_check(L, bdl_trace_write(p, states[j], at));
      at += states[j]->n;
    }
  (void)c;
  for (int64_t r = 0; r < b.fn[0]->results.n; r++) push_result(L, p, &b.fn[0]->results.v[r], b.fn[0]->out.v, results, false);
  return lua_gettop(L) - base;
}

void lbdl_open_control(lua_State *L) {
  static const luaL_Reg functions[] = {{"scan", l_scan}, {"while_loop", l_while}, {"cond", l_cond}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}

/*
** state.c -- States and the trace stack.
*/
#include <stdio.h>
#include <string.h>

#include "base/context.h"
#include "state/state.h"

typedef struct state_context {
  bdl_trace *current;
  uint64_t next_state, next_trace;
} state_context;

static void fini(bdl_context *c, void *p) { bdl_free(c, p, sizeof(state_context)); }

static state_context *get(bdl_context *c) {
  if (!c->slot[BDL_SLOT_STATE].p) {
    c->slot[BDL_SLOT_STATE].p = bdl_calloc(c, sizeof(state_context));
    c->slot[BDL_SLOT_STATE].fini = fini;
  }
  return c->slot[BDL_SLOT_STATE].p;
}

/* ---- traces ------------------------------------------------------------------------------------- */

bdl_status bdl_trace_push(bdl_context *c, const char *name, bdl_trace **out) {
  state_context *x = get(c);
  bdl_trace *t = x ? bdl_calloc(c, sizeof *t) : NULL;
  if (!t) return BDL_ENOMEM;
  bdl_status s = bdl_prog_new(c, name, &t->prog);
  if (s != BDL_OK) {
    bdl_free(c, t, sizeof *t);
    return s;
  }
  t->ctx = c;
  t->parent = x->current;
  t->id = ++x->next_trace;
  bdl_map_init(&t->captured, c);
  bdl_map_init(&t->by_state, c);
  x->current = t;
  *out = t;
  return BDL_OK;
}

void bdl_trace_pop(bdl_trace *t) {
  state_context *x = get(t->ctx);
  BDL_ASSERT(x->current == t, "trace %d popped out of order", (int)t->id);
  x->current = t->parent;
}

void bdl_trace_free(bdl_trace *t) {
  bdl_context *c = t->ctx;
  for (int64_t k = 0; k < t->states.n; k++) {
    bdl_touched *s = &t->states.v[k];
    bdl_free(c, s->now, (size_t)(s->state->n + 1) * sizeof *s->now);
    bdl_free(c, s->input, (size_t)(s->state->n + 1) * sizeof *s->input);
    bdl_state_unref(s->state);
  }
  for (int64_t k = 0; k < t->views.n; k++) bdl_free(c, t->views.v[k].aval, (size_t)(t->views.v[k].n + 1) * sizeof(bdl_aval));
  BDL_VEC_FREE(c, t->states);
  BDL_VEC_FREE(c, t->views);
  BDL_VEC_FREE(c, t->sources);
  bdl_map_fini(&t->captured);
  bdl_map_fini(&t->by_state);
  if (t->prog) bdl_prog_unref(t->prog);
  bdl_free(c, t, sizeof *t);
}

bdl_trace *bdl_trace_current(bdl_context *c) {
  state_context *x = c->slot[BDL_SLOT_STATE].p;
  return x ? x->current : NULL;
}

bdl_trace *bdl_trace_find(bdl_context *c, uint64_t id) {
  bdl_trace *t = bdl_trace_current(c);
  while (t && t->id != id) t = t->parent;
  return t;
}

static bdl_status input(bdl_trace *t, const bdl_aval *a, bdl_source from, bdl_atom *x) {
  if (!BDL_RESERVE(t->ctx, t->sources, t->sources.n + 1)) return BDL_ENOMEM;
  TRY(bdl_ir_input(t->prog, a, x));
  t->sources.v[t->sources.n++] = from;
  return BDL_OK;
}

bdl_status bdl_trace_argument(bdl_trace *t, int32_t index, const bdl_aval *a, bdl_atom *x) {
  return input(t, a, (bdl_source){.kind = BDL_FROM_ARGUMENT, .index = index}, x);
}

bdl_status bdl_trace_lift(bdl_trace *t, bdl_trace *owner, bdl_atom x, bdl_atom *y) {
  *y = x;
  if (t == owner) return BDL_OK;
  bdl_atom outer;
  TRY(bdl_trace_lift(t->parent, owner, x, &outer));
  uint64_t known;
  if (bdl_map_get(&t->captured, (uint64_t)outer, &known)) {
    *y = (bdl_atom)known;
    return BDL_OK;
  }
  const bdl_var *v = &t->parent->prog->vars.v[outer];
  if (v->kind == BDL_V_LITERAL) return bdl_ir_literal(t->prog, v->aval.dtype, v->literal, y);
  if (v->kind == BDL_V_CONST) return bdl_ir_const(t->prog, &t->parent->prog->consts.v[v->index], y);
  bdl_aval a = v->aval;
  TRY(input(t, &a, (bdl_source){.kind = BDL_FROM_CAPTURE, .outer = outer}, y));
  return bdl_map_put(&t->captured, (uint64_t)outer, (uint64_t)*y);
}

/* ---- States ---------------------------------------------------------------------------------------- */

bdl_status bdl_state_new(bdl_context *c, const char *name, const char *treedef, int32_t n, const bdl_aval *avals, bdl_state **out) {
  state_context *x = get(c);
  bdl_state *s = x ? bdl_calloc(c, sizeof *s) : NULL;
  if (!s) return BDL_ENOMEM;
  s->ctx = c;
  s->refs = 1;
  s->n = n;
  s->name = bdl_intern(c, name ? name : "");
  s->treedef = bdl_intern(c, treedef);
  s->leaf = bdl_calloc(c, (size_t)(n + 1) * sizeof *s->leaf);
  s->aval = bdl_calloc(c, (size_t)(n + 1) * sizeof *s->aval);
  if (!s->name || !s->treedef || !s->leaf || !s->aval) {
    bdl_state_unref(s);
    return BDL_ENOMEM;
  }
  if (n) memcpy(s->aval, avals, (size_t)n * sizeof *avals);
  s->id = ++x->next_state;
  s->trace = x->current ? x->current->id : 0;
  *out = s;
  return BDL_OK;
}

void bdl_state_ref(bdl_state *s) { s->refs++; }

void bdl_state_unref(bdl_state *s) {
  if (--s->refs > 0) return;
  bdl_context *c = s->ctx;
  for (int32_t i = 0; s->leaf && i < s->n; i++) bdl_tensor_unref(&s->leaf[i].value);
  bdl_free(c, s->leaf, (size_t)(s->n + 1) * sizeof *s->leaf);
  bdl_free(c, s->aval, (size_t)(s->n + 1) * sizeof *s->aval);
  bdl_free(c, s, sizeof *s);
}

const char *bdl_state_text(const bdl_state *s, char buf[BDL_STATE_TEXT]) {
  int n = snprintf(buf, BDL_STATE_TEXT, s->name[0] ? "State '%.100s'" : "State", s->name);
  if (s->src.file) snprintf(buf + n, (size_t)(BDL_STATE_TEXT - n), " (made at %.180s:%d)", s->src.file, s->src.line);
  return buf;
}

bdl_status bdl_state_check_alive(bdl_state *s) {
  if (s->trace == 0 || bdl_trace_find(s->ctx, s->trace)) return BDL_OK;
  bdl_fail(s->ctx, BDL_ETRACE, "the value of %s belongs to a finished trace", bdl_state_text(s, (char[BDL_STATE_TEXT]){0}));
  bdl_hint(s->ctx, "return the value from the traced function, or make the State outside of it");
  return BDL_ETRACE;
}

bdl_status bdl_state_assign(bdl_state *s, const bdl_tensor *values) {
  for (int32_t i = 0; i < s->n; i++) {
    bdl_tensor_unref(&s->leaf[i].value);
    s->leaf[i].value = values[i];
    s->aval[i] = values[i].aval;
  }
  s->trace = 0;
  return BDL_OK;
}

/* ---- States in traces ---------------------------------------------------------------------------------- */

static bdl_status touched_new(bdl_trace *t, bdl_state *s, bdl_touched **out) {
  bdl_context *c = t->ctx;
  if (!BDL_RESERVE(c, t->states, t->states.n + 1)) return BDL_ENOMEM;
  bdl_atom *now = bdl_alloc(c, (size_t)(s->n + 1) * sizeof *now);
  if (!now) return BDL_ENOMEM;
  bdl_status st = bdl_map_put(&t->by_state, s->id, (uint64_t)t->states.n);
  if (st != BDL_OK) {
    bdl_free(c, now, (size_t)(s->n + 1) * sizeof *now);
    return st;
  }
  bdl_state_ref(s);
  t->states.v[t->states.n] = (bdl_touched){.state = s, .now = now};
  *out = &t->states.v[t->states.n++];
  return BDL_OK;
}

static bdl_touched *find(const bdl_trace *t, const bdl_state *s) {
  uint64_t k;
  return bdl_map_get(&t->by_state, s->id, &k) ? &t->states.v[k] : NULL;
}

bdl_status bdl_trace_view(bdl_trace *t, bdl_state *s, const bdl_aval *avals) {
  bdl_view v = {s->id, bdl_alloc(t->ctx, (size_t)(s->n + 1) * sizeof *avals), s->n};
  if (!v.aval) return BDL_ENOMEM;
  if (s->n) memcpy(v.aval, avals, (size_t)s->n * sizeof *avals);
  if (BDL_PUSH(t->ctx, t->views, v)) return BDL_OK;
  bdl_free(t->ctx, v.aval, (size_t)(s->n + 1) * sizeof *avals);
  return BDL_ENOMEM;
}

/* The type of leaf i where t begins. */
static const bdl_aval *entry_aval(const bdl_trace *t, const bdl_state *s, int32_t i) {
  for (int64_t k = 0; k < t->views.n; k++)
    if (t->views.v[k].state == s->id) return &t->views.v[k].aval[i];
  return bdl_state_aval(t->parent, s, i);
}

const bdl_aval *bdl_state_aval(const bdl_trace *t, const bdl_state *s, int32_t i) {
  if (!t) return &s->aval[i];
  const bdl_touched *e = find(t, s);
  return e ? bdl_aval_of(t->prog, e->now[i]) : entry_aval(t, s, i);
}

/* The State's value where t begins must be known to the traces around it. */
static bdl_status enter(bdl_trace *t, bdl_state *s) {
  const bdl_atom *outer;
  if (t->parent && t->id != s->trace) return bdl_trace_read(t->parent, s, &outer);
  return BDL_OK;
}

bdl_status bdl_trace_entry(bdl_trace *t, int32_t k, const bdl_atom **out) {
  bdl_touched *e = &t->states.v[k];
  if (!e->input) {
    TRY(enter(t, e->state));
    bdl_atom *in = bdl_alloc(t->ctx, (size_t)(e->state->n + 1) * sizeof *in);
    if (!in) return BDL_ENOMEM;
    e->input = in;
    for (int32_t i = 0; i < e->state->n; i++) {
      TRY(input(t, entry_aval(t, e->state, i), (bdl_source){.kind = BDL_FROM_STATE, .index = k, .leaf = i}, &in[i]));
      t->prog->vars.v[in[i]].name = e->state->name[0] ? e->state->name : NULL;
    }
  }
  *out = e->input;
  return BDL_OK;
}

bdl_status bdl_trace_read(bdl_trace *t, bdl_state *s, const bdl_atom **now) {
  TRY(bdl_state_check_alive(s));
  bdl_touched *e = find(t, s);
  if (!e) {
    TRY(enter(t, s));
    TRY(touched_new(t, s, &e));
    const bdl_atom *in;
    TRY(bdl_trace_entry(t, (int32_t)(e - t->states.v), &in));
    e = find(t, s);
    memcpy(e->now, in, (size_t)s->n * sizeof *in);
    e->read = true;
  }
  *now = e->now;
  return BDL_OK;
}

static bdl_status check_value(bdl_trace *t, bdl_state *s, const bdl_atom *value) {
  for (int32_t i = 0; i < s->n; i++) {
    const bdl_aval *new = bdl_aval_of(t->prog, value[i]), *old = bdl_state_aval(t, s, i);
    if (bdl_aval_eq(new, old)) continue;
    char a[BDL_AVAL_TEXT], b[BDL_AVAL_TEXT];
    bdl_fail(t->ctx, bdl_shape_eq(new, old) ? BDL_ETYPE : BDL_ESHAPE, "%s holds %s and may not become %s inside a compiled function",
             bdl_state_text(s, (char[BDL_STATE_TEXT]){0}), bdl_aval_text(old, true, a), bdl_aval_text(new, true, b));
    bdl_hint(t->ctx, "make the State with the shape and dtype that it will have");
    return bdl_last_error(t->ctx)->status;
  }
  return BDL_OK;
}

enum { WRITE = 1, GROW = 2 };

static bdl_status put(bdl_trace *t, bdl_state *s, const bdl_atom *value, int how) {
  const bool written = how & WRITE;
  TRY(bdl_state_check_alive(s));
  bdl_touched *e = find(t, s);
  if (!(how & GROW) && (!e || !e->local)) TRY(check_value(t, s, value));
  if (!e) {
    TRY(enter(t, s));
    TRY(touched_new(t, s, &e));
  }
  memcpy(e->now, value, (size_t)s->n * sizeof *value);
  if (e->local)
    for (int32_t i = 0; i < s->n; i++) s->aval[i] = *bdl_aval_of(t->prog, value[i]);
  e->written |= written;
  e->read |= !written;
  if (written) e->wrote = t->prog->src;
  return BDL_OK;
}

bdl_status bdl_trace_write(bdl_trace *t, bdl_state *s, const bdl_atom *value) { return put(t, s, value, WRITE); }
bdl_status bdl_trace_grow(bdl_trace *t, bdl_state *s, const bdl_atom *value) { return put(t, s, value, WRITE | GROW); }
bdl_status bdl_trace_restore(bdl_trace *t, bdl_state *s, const bdl_atom *value) { return put(t, s, value, 0); }

bdl_status bdl_trace_create(bdl_trace *t, bdl_state *s, const bdl_atom *value) {
  bdl_touched *e;
  TRY(touched_new(t, s, &e));
  e->local = true;
  memcpy(e->now, value, (size_t)s->n * sizeof *value);
  for (int32_t i = 0; i < s->n; i++) s->aval[i] = *bdl_aval_of(t->prog, value[i]);
  s->trace = t->id;
  return BDL_OK;
}

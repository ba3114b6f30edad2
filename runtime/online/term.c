/*
** term.c -- the weight of an interaction, found in the body of its etrace_op.
**
**   w --prefix--> w' --core--> z --suffix--> y
**
** The prefix is element-wise, the suffix too but for permutations of axes.  What can be the core stands in core.c.
*/
#include "online/core.h"

#include <string.h>

enum { NONE, PREFIX, SUFFIX };

static bool is(const bdl_interaction *w, const bdl_eqn *e, int which) {
  for (int k = 0; k < e->n_in; k++)
    if (w->of[e->in[k]] == which) return true;
  return false;
}

static bdl_status refuse(bdl_interaction *w, const char *why) {
  if (!w->t->unsupported) w->t->unsupported = why;
  return BDL_OK;
}

static bdl_status flows(bdl_interaction *w, const bdl_eqn *e, int which, bool *elementwise) {
  bool *in = bdl_arena_alloc(w->a, (size_t)e->n_in + 1), *out = bdl_arena_alloc(w->a, (size_t)e->n_out + 1);
  if (!in || !out) return BDL_ENOMEM;
  for (int k = 0; k < e->n_in; k++) in[k] = w->of[e->in[k]] == which;
  *elementwise = true;
  return bdl_online_flow(w->a, w->body, e, in, out, false, elementwise);
}

static void set(bdl_interaction *w, const bdl_eqn *e, int which) {
  for (int k = 0; k < e->n_out; k++) w->of[e->out[k]] = which;
}

/* One equation on the way from the weight to y. */
static bdl_status step(bdl_interaction *w, const bdl_eqn *e) {
  const bool before = is(w, e, PREFIX), behind = is(w, e, SUFFIX);
  bool elementwise;
  if (!before && !behind) return BDL_OK;
  if (before && behind) return refuse(w, "the weight is used twice");
  TRY(flows(w, e, before ? PREFIX : SUFFIX, &elementwise));
  if (elementwise) return set(w, e, before ? PREFIX : SUFFIX), BDL_OK;
  if (behind && e->prim == BDL_P_permute) return set(w, e, SUFFIX), w->permuted = true, BDL_OK;
  if (behind && e->prim == BDL_P_dot && w->core && w->core->prim == BDL_P_dot && !w->second && !is(w, e, PREFIX)) {
    w->second = e;
    return set(w, e, SUFFIX), BDL_OK;
  }
  if (behind) return refuse(w, "what follows the interaction is not element-wise");
  if (w->core) return refuse(w, "the weight is used twice");
  w->core = e;
  for (int k = 0; k < e->n_in; k++)
    if (w->of[e->in[k]] == PREFIX) w->at = k;
  return set(w, e, SUFFIX), BDL_OK;
}

/* The operand of e on the way from the core. */
static int behind_operand(const bdl_interaction *w, const bdl_eqn *e) {
  int at = -1;
  for (int k = 0; k < e->n_in; k++)
    if (w->of[e->in[k]] == SUFFIX) at = at < 0 ? k : at;
  return at;
}

/* x, of y's positions, at those of the core's result (or of the second product's). */
static bdl_status unwind(bdl_interaction *w, bdl_prog *q, bdl_atom x, bdl_atom *z) {
  bdl_atom y = w->body->outputs[0];
  const bdl_eqn *end = w->second ? w->second : w->core;
  for (const bdl_eqn *e; (e = bdl_ir_maker(w->body, y)) && e != end;) {
    const int at = behind_operand(w, e);
    if (at < 0) break; /* no core: y is the prefix */
    const bdl_aval *from = bdl_aval_of(w->body, e->in[at]);
    if (e->prim == BDL_P_permute) {
      int64_t back[BDL_MAX_NDIM];
      for (int k = 0; k < from->ndim; k++) back[e->params[0].ints[k]] = k;
      TRY(bdl_bind(q, BDL_P_permute, (bdl_param[]){bdl_pints(back, from->ndim)}, &x, 1, &x));
    } else {
      TRY(bdl_ir_reshape(q, x, from->ndim, from->shape, &x));
    }
    y = e->in[at];
  }
  *z = x;
  return BDL_OK;
}

static bdl_status make_spread(bdl_interaction *w) {
  bdl_atom x, z;
  TRY(bdl_prog_new(w->body->ctx, "spread", &w->t->spread));
  TRY(bdl_ir_input(w->t->spread, bdl_aval_of(w->body, w->body->outputs[0]), &x));
  TRY(unwind(w, w->t->spread, x, &z));
  TRY(bdl_online_core_rows(w, w->t->spread, z, &z));
  return bdl_prog_set_outputs(w->t->spread, &z, 1);
}

static bdl_status make_fold(bdl_interaction *w) {
  bdl_prog *q;
  bdl_term *t = w->t;
  bdl_aval g = *bdl_aval_of(w->body, w->body->inputs.v[w->weight]);
  bdl_atom x, *in, z;
  g.ndim = 3;
  g.shape[0] = t->q, g.shape[1] = t->i, g.shape[2] = t->k;
  TRY(bdl_prog_new(w->body->ctx, "fold", &t->fold));
  q = t->fold;
  if (!BDL_ARRAY(w->a, in, w->body->inputs.n)) return BDL_ENOMEM;
  TRY(bdl_ir_input(q, &g, &x));
  for (int64_t i = 0; i < w->body->inputs.n; i++) TRY(bdl_ir_input(q, bdl_aval_of(w->body, w->body->inputs.v[i]), &in[i]));
  TRY(bdl_online_core_weight(w, q, x, in, &z));
  const bdl_aval *weight = bdl_aval_of(w->body, w->body->inputs.v[w->weight]);
  TRY(bdl_ir_reshape(q, z, weight->ndim, weight->shape, &z));
  return bdl_prog_set_outputs(q, &z, 1);
}

/* Values of the body beside tangents of ones: of the weight up to the core, of the core's result up to y. */
static bdl_status make_lift(bdl_interaction *w) {
  const bdl_prog *b = w->body;
  bdl_term *t = w->t;
  bdl_rewrite r;
  bdl_atom *head, *tail, out[3], z;
  int n = 0;
  const bool plain = w->kind == BDL_CORE_PLAIN;
  if (!BDL_ARRAY(w->a, head, b->vars.n) || !BDL_ARRAY(w->a, tail, b->vars.n)) return BDL_ENOMEM;
  memset(head, 0xff, (size_t)b->vars.n * sizeof *head); /* BDL_ZERO */
  memset(tail, 0xff, (size_t)b->vars.n * sizeof *tail);
  bdl_status s = bdl_ir_rw_begin(&r, b);
  const bdl_atom weight = b->inputs.v[w->weight];
  if (s == BDL_OK) s = bdl_ir_full(r.q, bdl_aval_of(b, weight), 1, &head[weight]);
  for (int64_t i = 0; s == BDL_OK && i < b->eqns.n; i++) {
    const bdl_eqn *e = &b->eqns.v[i];
    const bool ends = e == (w->second ? w->second : w->core) && !plain;
    s = bdl_ir_rw_copy(&r, e);
    if (s == BDL_OK && !ends && (plain || is(w, e, PREFIX)) && e != w->core) s = bdl_transform_push(&r, e, BDL_FORWARD, head);
    if (s == BDL_OK && plain && e == w->core) s = bdl_transform_push(&r, e, BDL_FORWARD, head);
    if (s == BDL_OK && ends) s = bdl_ir_full(r.q, bdl_aval_of(b, e->out[0]), 1, &tail[e->out[0]]);
    else if (s == BDL_OK && is(w, e, SUFFIX)) s = bdl_transform_push(&r, e, BDL_FORWARD, tail);
  }
  if (s == BDL_OK) s = bdl_online_core_input(w, &r, &z);
  if (s == BDL_OK && (t->has_x = !bdl_is_zero(z))) out[n++] = z;
  const bdl_atom phi = plain ? head[b->outputs[0]] : tail[b->outputs[0]];
  if (s == BDL_OK && bdl_is_zero(phi)) t->unsupported = "it does not change with the weight";
  if (s == BDL_OK && !bdl_is_zero(phi) && (t->has_phi = !bdl_ir_is_literal(r.q, phi, 1))) out[n++] = phi;
  if (s == BDL_OK && !plain) {
    bdl_atom psi = head[w->core->in[w->at]];
    if (bdl_is_zero(psi)) t->unsupported = "it does not change with the weight";
    else if ((t->has_psi = !bdl_ir_is_literal(r.q, psi, 1))) {
      s = bdl_online_core_canonical(w, r.q, psi, &psi);
      out[n++] = psi;
    }
  }
  if (s == BDL_OK) s = bdl_prog_set_outputs(r.q, out, n);
  if (s == BDL_OK) bdl_prog_ref(t->lift = r.q);
  if (r.q) bdl_prog_unref(r.q);
  if (r.map) bdl_ir_rw_fini(&r);
  return s;
}

static bdl_status find(bdl_interaction *w) {
  const bdl_prog *b = w->body;
  if (!BDL_ARRAY(w->a, w->of, b->vars.n)) return BDL_ENOMEM;
  w->of[b->inputs.v[w->weight]] = PREFIX;
  for (int64_t i = 0; i < b->eqns.n && !w->t->unsupported; i++) TRY(step(w, &b->eqns.v[i]));
  if (w->t->unsupported) return BDL_OK;
  if (w->of[b->outputs[0]] == NONE) return refuse(w, "it does not depend on the weight");
  if (w->core && w->of[b->outputs[0]] == PREFIX) return refuse(w, "it does not depend on the weight");
  return bdl_online_core_find(w);
}

bdl_status bdl_online_term(const bdl_prog *p, const bdl_eqn *op, int weight, bdl_term *t) {
  bdl_arena a;
  bdl_prog *body = NULL;
  *t = (bdl_term){.q = 1};
  bdl_arena_init(&a, p->ctx);
  bdl_status s = bdl_ir_inline_wrappers(op->params[0].progs[0], &body);
  if (s == BDL_OK) {
    bdl_interaction w = {.a = &a, .t = t, .body = body, .weight = weight};
    s = find(&w);
    if (s == BDL_OK && !t->unsupported) s = make_lift(&w);
    if (s == BDL_OK && !t->unsupported) s = make_spread(&w);
    if (s == BDL_OK && !t->unsupported) s = make_fold(&w);
    bdl_prog_unref(body);
  }
  bdl_arena_fini(&a);
  return s;
}

void bdl_online_term_fini(bdl_term *t) {
  bdl_prog *const all[] = {t->lift, t->spread, t->fold};
  for (int k = 0; k < BDL_LEN(all); k++)
    if (all[k]) bdl_prog_unref(all[k]);
  *t = (bdl_term){0};
}

/*
** legalise.c -- the last rewriting before a plan: operands of kernels and loops become contiguous, event products
** become a compaction of the events and a scatter of the active rows.
*/
#include <string.h>

#include "exec/lower.h"
#include "plan/legalise.h"
#include "plan/view.h"

typedef struct legaliser {
  const bdl_prog *p;
  bdl_prog *q;
  bdl_atom *map;       /* p's atoms -> q's */
  BDL_VEC(bdl_view) view; /* of q's variables */
} legaliser;

static bdl_status track(legaliser *l) {
  bdl_context *c = l->q->ctx;
  while (l->view.n < l->q->vars.n) {
    bdl_view self = bdl_view_self(l->q, (bdl_atom)l->view.n);
    if (!BDL_PUSH(c, l->view, self)) return BDL_ENOMEM;
  }
  return BDL_OK;
}

static bdl_status contiguous(legaliser *l, bdl_atom *x) {
  TRY(track(l));
  if (l->view.v[*x].contiguous) return BDL_OK;
  TRY(bdl_bind1(l->q, BDL_P_copy, *x, x));
  return track(l);
}

/* csr_dot[event=1, transpose=0] of one vector: y = scatter(zeros, event_ids(v), rows). */
static bdl_status event_scatter(legaliser *l, const bdl_eqn *e, const bdl_atom *in, bdl_atom *out, bool *done) {
  *done = e->prim == BDL_P_csr_dot && !e->params[2].i && e->params[3].i && bdl_aval_of(l->q, in[0])->ndim == 1;
  if (!*done) return BDL_OK;
  bdl_atom ids[2], zero, s[6];
  TRY(bdl_bind(l->q, BDL_P_event_ids, NULL, in, 1, ids));
  TRY(bdl_ir_full(l->q, bdl_aval_of(l->p, e->out[0]), 0, &zero));
  TRY(bdl_bind1(l->q, BDL_P_copy, zero, &zero));
  s[0] = zero, s[1] = ids[0], s[2] = ids[1], s[3] = in[1], s[4] = in[2], s[5] = in[3];
  bdl_param shape[2] = {e->params[0], e->params[1]};
  return bdl_bind(l->q, BDL_P_csr_scatter, shape, s, 6, out);
}

static bdl_status equation(legaliser *l, const bdl_eqn *e) {
  bdl_context *c = l->q->ctx;
  bdl_lower_kind kind = bdl_lowering_of(e->prim)->kind;
  bdl_atom *in = bdl_arena_alloc(&l->q->arena, (size_t)(e->n_in + e->n_out + 1) * sizeof *in), *out = in + e->n_in;
  if (!in) return BDL_ENOMEM;
  l->q->src = e->src;
  for (int i = 0; i < e->n_in; i++) in[i] = l->map[e->in[i]];
  bool done = false;
  bool dense = kind == BDL_LOWER_KERNEL || kind == BDL_LOWER_UPDATE || kind == BDL_LOWER_CONTROL || e->prim == BDL_P_random_bits ||
               (kind == BDL_LOWER_REDUCE && e->params[0].n != bdl_aval_of(l->p, e->in[0])->ndim);
  if (dense)
    for (int i = 0; i < e->n_in; i++) TRY(contiguous(l, &in[i]));
  TRY(event_scatter(l, e, in, out, &done));
  if (!done && e->prim == BDL_P_reshape && !l->view.v[in[0]].contiguous) TRY(contiguous(l, &in[0]));
  if (!done) {
    bdl_param params[8];
    for (int i = 0; i < e->n_params; i++) {
      params[i] = e->params[i];
      if (params[i].kind != BDL_PK_PROGS) continue;
      bdl_prog **bodies = bdl_arena_alloc(&l->q->arena, (size_t)params[i].n * sizeof *bodies);
      if (!bodies) return BDL_ENOMEM;
      params[i].progs = bodies;
      bdl_status s = BDL_OK;
      int made = 0;
      for (; made < params[i].n && s == BDL_OK; made++) s = bdl_plan_legalise(e->params[i].progs[made], &bodies[made]);
      if (s == BDL_OK) s = bdl_bind(l->q, e->prim, params, in, e->n_in, out), made++;
      for (int k = 0; k < made - 1; k++) bdl_prog_unref(bodies[k]);
      if (s != BDL_OK) return s;
      done = true;
    }
    if (!done) TRY(bdl_bind(l->q, e->prim, params, in, e->n_in, out));
  }
  TRY(track(l));
  for (int i = 0; i < e->n_out; i++) l->map[e->out[i]] = out[i];
  bdl_eqn *last = &l->q->eqns.v[l->q->eqns.n - 1];
  bdl_view v;
  if (e->n_out == 1 && last->n_out == 1 && last->out[0] == out[0] && last->n_in > 0 &&
      bdl_view_of_eqn(l->q, last, &l->view.v[last->in[0]], &v))
    l->view.v[out[0]] = v;
  (void)c;
  return BDL_OK;
}

static bdl_status rewrite(legaliser *l) {
  const bdl_prog *p = l->p;
  for (int64_t v = 0; v < p->vars.n; v++) {
    const bdl_var *var = &p->vars.v[v];
    if (var->kind == BDL_V_LITERAL) TRY(bdl_ir_literal(l->q, var->aval.dtype, var->literal, &l->map[v]));
    if (var->kind == BDL_V_CONST) {
      bdl_tensor t;
      TRY(bdl_tensor_pack(&p->consts.v[var->index], &t));
      bdl_status s = bdl_ir_const(l->q, &t, &l->map[v]);
      bdl_tensor_unref(&t);
      TRY(s);
    }
  }
  for (int64_t i = 0; i < p->inputs.n; i++) {
    bdl_atom x = p->inputs.v[i];
    TRY(bdl_ir_input(l->q, bdl_aval_of(p, x), &l->map[x]));
    l->q->vars.v[l->map[x]].name = p->vars.v[x].name;
  }
  TRY(track(l));
  for (int64_t i = 0; i < p->eqns.n; i++) TRY(equation(l, &p->eqns.v[i]));
  bdl_atom *out = bdl_arena_alloc(&l->q->arena, (size_t)(p->n_outputs + 1) * sizeof *out);
  if (!out) return BDL_ENOMEM;
  for (int i = 0; i < p->n_outputs; i++) {
    out[i] = l->map[p->outputs[i]];
    TRY(contiguous(l, &out[i]));
  }
  return bdl_prog_set_outputs(l->q, out, p->n_outputs);
}

bdl_status bdl_plan_legalise(const bdl_prog *p, bdl_prog **out) {
  bdl_context *c = p->ctx;
  legaliser l = {.p = p};
  TRY(bdl_prog_new(c, p->name, &l.q));
  size_t bytes = (size_t)(p->vars.n + 1) * sizeof *l.map;
  l.map = bdl_alloc(c, bytes);
  bdl_status s = l.map ? rewrite(&l) : BDL_ENOMEM;
  bdl_free(c, l.map, bytes);
  BDL_VEC_FREE(c, l.view);
  if (s != BDL_OK) bdl_prog_unref(l.q);
  else *out = l.q;
  return s;
}

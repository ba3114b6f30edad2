/*
** checkify_control.c -- loops and branches whose bodies have checks: their error is a further result.
*/
#include <string.h>

#include "transform/checkify_walk.h"

/* A body with its checks: outputs, then its error and what is shown.  Without checks it has neither. */
typedef struct body {
  bdl_prog *q;
  int n_out, n_more;    /* outputs of the body; 0, or the error and what is shown */
} body;

static bdl_status make_body(bdl_check_walk *w, const bdl_prog *p, body *out) {
  *out = (body){.n_out = p->n_outputs};
  TRY(bdl_checkify_body(w, p, &out->q));
  out->n_more = out->q->n_outputs - p->n_outputs;
  return BDL_OK;
}

/* The further results of an equation are the error of its body and what that shows. */
static bdl_status take_more(bdl_check_walk *w, const bdl_atom *more, int n) {
  if (n == 0) return BDL_OK;
  for (int k = 1; k < n; k++)
    if (!BDL_PUSH(w->r.q->ctx, w->shown, more[k])) return BDL_ENOMEM;
  return bdl_checkify_merge(w->r.q, &w->error, more[0]);
}

/* value = before = 0 ? value : old, for each of n. */
static bdl_status unless(bdl_prog *b, bdl_atom before, const bdl_atom *old, bdl_atom *value, int n) {
  bdl_atom zero, none;
  if (n == 0) return BDL_OK;
  TRY(bdl_ir_scalar(b, BDL_I32, 0, &zero));
  TRY(bdl_bind2(b, BDL_P_eq, before, zero, &none));
  for (int k = 0; k < n; k++) TRY(bdl_bind3(b, BDL_P_select, none, value[k], old[k], &value[k]));
  return BDL_OK;
}

/* Inputs of the stage for the n further values of a body, that start as zeros. */
static bdl_status start_more(const body *b, bdl_stage *s, bdl_atom *in) {
  for (int k = 0; k < b->n_more; k++) {
    const bdl_aval *a = bdl_aval_of(b->q, b->q->outputs[b->n_out + k]);
    bdl_atom zeros;
    TRY(bdl_ir_full(s->outer, a, 0, &zeros));
    TRY(bdl_stage_input(s, zeros, a, &in[k]));
  }
  return BDL_OK;
}

static bdl_status scan_stage(const bdl_eqn *e, const body *b, const bdl_atom *x, bdl_stage *s, bdl_arena *a,
                             bdl_atom *z) {
  const int n_before = (int)(e->params[0].i + e->params[1].i), n_carry = (int)e->params[1].i;
  bdl_atom *in, *more, *out, *res;
  if (!BDL_ARRAY(a, in, e->n_in) || !BDL_ARRAY(a, more, b->n_more) || !BDL_ARRAY(a, out, b->n_out + b->n_more) ||
      !BDL_ARRAY(a, res, b->n_out + b->n_more))
    return BDL_ENOMEM;
  for (int k = 0; k < n_before; k++) TRY(bdl_stage_input(s, x[k], bdl_aval_of(b->q, b->q->inputs.v[k]), &in[k]));
  TRY(start_more(b, s, more));
  for (int k = n_before; k < e->n_in; k++) TRY(bdl_stage_input(s, x[k], bdl_aval_of(b->q, b->q->inputs.v[k]), &in[k]));
  TRY(bdl_ir_inline(s->body, b->q, in, res));
  TRY(unless(s->body, more[0], more, res + b->n_out, b->n_more));
  memcpy(out, res, (size_t)n_carry * sizeof *out);
  memcpy(out + n_carry, res + b->n_out, (size_t)b->n_more * sizeof *out);
  memcpy(out + n_carry + b->n_more, res + n_carry, (size_t)(b->n_out - n_carry) * sizeof *out);
  TRY(bdl_prog_set_outputs(s->body, out, b->n_out + b->n_more));
  const bdl_param p[] = {e->params[0], bdl_pint(n_carry + b->n_more), e->params[2], e->params[3],
                         bdl_pprogs(&s->body, 1)};
  TRY(bdl_bind(s->outer, BDL_P_scan, p, s->operand, s->n, out));
  memcpy(z, out, (size_t)n_carry * sizeof *z);
  memcpy(z + b->n_out, out + n_carry, (size_t)b->n_more * sizeof *z);
  memcpy(z + n_carry, out + n_carry + b->n_more, (size_t)(b->n_out - n_carry) * sizeof *z);
  return BDL_OK;
}

/* z: the equation's results, then the further ones. */
bdl_status bdl_checkify_scan(bdl_check_walk *w, const bdl_eqn *e, const bdl_atom *x) {
  body b;
  bdl_stage s = {0};
  bdl_atom *z;
  TRY(make_body(w, e->params[4].progs[0], &b));
  bdl_status status = BDL_ARRAY(&w->r.scratch, z, b.n_out + b.n_more) ? BDL_OK : BDL_ENOMEM;
  if (status == BDL_OK && b.n_more == 0) status = bdl_bind(w->r.q, e->prim, e->params, x, e->n_in, z);
  else if (status == BDL_OK) {
    status = bdl_stage_new(&s, w->r.q, b.q->name, &w->r.scratch);
    if (status == BDL_OK) status = scan_stage(e, &b, x, &s, &w->r.scratch, z);
    bdl_stage_fini(&s);
  }
  bdl_prog_unref(b.q);
  TRY(status);
  TRY(bdl_ir_rw_set_all(&w->r, e, z));
  return take_more(w, z + e->n_out, b.n_more);
}

/* Inputs of the stage for constants and carry: x, with the types of the body's inputs. */
static bdl_status stage_inputs(bdl_stage *s, const bdl_prog *body, const bdl_atom *x, int from, int n, bdl_atom *in) {
  for (int k = 0; k < n; k++) TRY(bdl_stage_input(s, x[k], bdl_aval_of(body, body->inputs.v[from + k]), &in[from + k]));
  return BDL_OK;
}

/* A loop of unknown length.  The condition is checked before the first round, and behind each on what it carries on. */
typedef struct while_loop {
  const bdl_eqn *e;
  body cond, body;
  int n_cond, n_body, n_carry, n_shown[2]; /* shown of the condition, of the body */
  bdl_stage sc, sb;
} while_loop;

/* Further values that are carried: the error, what the condition shows, what the body shows. */
static bdl_status start_while(while_loop *l, bdl_prog *q, const bdl_atom *x, bdl_atom *more, bdl_arena *a) {
  bdl_atom *in, *first;
  if (!BDL_ARRAY(a, in, l->n_cond + l->n_carry) || !BDL_ARRAY(a, first, 2 + l->n_shown[0])) return BDL_ENOMEM;
  TRY(bdl_ir_scalar(q, BDL_I32, 0, &more[0]));
  if (l->cond.n_more) {
    memcpy(in, x, (size_t)l->n_cond * sizeof *in);
    memcpy(in + l->n_cond, x + l->n_cond + l->n_body, (size_t)l->n_carry * sizeof *in);
    TRY(bdl_ir_inline(q, l->cond.q, in, first));
    memcpy(more, first + 1, (size_t)(1 + l->n_shown[0]) * sizeof *more);
  }
  const bdl_atom *shown = l->body.q->outputs + l->body.n_out + 1;
  for (int k = 0; k < l->n_shown[1]; k++)
    TRY(bdl_ir_full(q, bdl_aval_of(l->body.q, shown[k]), 0, &more[1 + l->n_shown[0] + k]));
  return BDL_OK;
}

static bdl_status while_cond(while_loop *l, bdl_prog *q, const bdl_atom *x, const bdl_atom *more, int n_more,
                             bdl_arena *a) {
  bdl_atom *in, *res, ignored;
  if (!BDL_ARRAY(a, in, l->n_cond + l->n_carry) || !BDL_ARRAY(a, res, l->cond.q->n_outputs)) return BDL_ENOMEM;
  TRY(stage_inputs(&l->sc, l->cond.q, x, 0, l->n_cond, in));
  TRY(stage_inputs(&l->sc, l->cond.q, x + l->n_cond + l->n_body, l->n_cond, l->n_carry, in));
  for (int k = 0; k < n_more; k++) TRY(bdl_stage_input(&l->sc, more[k], bdl_aval_of(q, more[k]), &ignored));
  TRY(bdl_ir_inline(l->sc.body, l->cond.q, in, res));
  return bdl_prog_set_outputs(l->sc.body, res, 1);
}

static bdl_status while_body(while_loop *l, bdl_prog *q, const bdl_atom *x, const bdl_atom *more, int n_more,
                             bdl_arena *a) {
  bdl_prog *b = l->sb.body;
  bdl_atom *in, *again, *old, *res, *out, *then, error;
  const int n_res = l->body.q->n_outputs;
  if (!BDL_ARRAY(a, in, l->n_body + l->n_carry) || !BDL_ARRAY(a, again, l->n_cond + l->n_carry) ||
      !BDL_ARRAY(a, old, n_more) || !BDL_ARRAY(a, res, n_res) || !BDL_ARRAY(a, out, l->n_carry + n_more) ||
      !BDL_ARRAY(a, then, l->cond.q->n_outputs))
    return BDL_ENOMEM;
  TRY(stage_inputs(&l->sb, l->cond.q, x, 0, l->n_cond, again));
  TRY(stage_inputs(&l->sb, l->body.q, x + l->n_cond, 0, l->n_body + l->n_carry, in));
  for (int k = 0; k < n_more; k++) TRY(bdl_stage_input(&l->sb, more[k], bdl_aval_of(q, more[k]), &old[k]));
  TRY(bdl_ir_inline(b, l->body.q, in, res));
  memcpy(out, res, (size_t)l->n_carry * sizeof *out);
  memcpy(again + l->n_cond, res, (size_t)l->n_carry * sizeof *again);
  memcpy(out + l->n_carry, old, (size_t)n_more * sizeof *out);
  error = old[0];
  if (l->body.n_more) {
    bdl_atom *shown = res + l->n_carry + 1;
    TRY(unless(b, error, old + 1 + l->n_shown[0], shown, l->n_shown[1]));
    memcpy(out + l->n_carry + 1 + l->n_shown[0], shown, (size_t)l->n_shown[1] * sizeof *out);
    TRY(bdl_checkify_merge(b, &error, res[l->n_carry]));
  }
  if (l->cond.n_more) {
    TRY(bdl_ir_inline(b, l->cond.q, again, then));
    TRY(unless(b, error, old + 1, then + 2, l->n_shown[0]));
    memcpy(out + l->n_carry + 1, then + 2, (size_t)l->n_shown[0] * sizeof *out);
    TRY(bdl_checkify_merge(b, &error, then[1]));
  }
  out[l->n_carry] = error;
  return bdl_prog_set_outputs(b, out, l->n_carry + n_more);
}

static bdl_status bind_while(while_loop *l, bdl_prog *q, const bdl_atom *x, int n_more, bdl_arena *a, bdl_atom *z) {
  bdl_atom *more, *in;
  if (!BDL_ARRAY(a, more, n_more) || !BDL_ARRAY(a, in, l->e->n_in + l->n_cond + n_more)) return BDL_ENOMEM;
  TRY(bdl_stage_new(&l->sc, q, l->cond.q->name, a));
  TRY(bdl_stage_new(&l->sb, q, l->body.q->name, a));
  TRY(start_while(l, q, x, more, a));
  TRY(while_cond(l, q, x, more, n_more, a));
  TRY(while_body(l, q, x, more, n_more, a));
  memcpy(in, x, (size_t)l->n_cond * sizeof *in);
  memcpy(in + l->n_cond, l->sb.operand, (size_t)l->sb.n * sizeof *in); /* constants of both: it checks the condition */
  bdl_prog *progs[] = {l->sc.body, l->sb.body};
  const bdl_param p[] = {bdl_pint(l->n_cond), bdl_pint(l->n_cond + l->n_body), bdl_pprogs(progs, 2)};
  return bdl_bind(q, BDL_P_while, p, in, l->n_cond + l->sb.n, z);
}

bdl_status bdl_checkify_while(bdl_check_walk *w, const bdl_eqn *e, const bdl_atom *x) {
  while_loop l = {.e = e, .n_cond = (int)e->params[0].i, .n_body = (int)e->params[1].i};
  bdl_atom *z = NULL;
  l.n_carry = e->n_in - l.n_cond - l.n_body;
  bdl_status s = make_body(w, e->params[2].progs[0], &l.cond);
  if (s == BDL_OK) s = make_body(w, e->params[2].progs[1], &l.body);
  l.n_shown[0] = BDL_MAX(l.cond.n_more - 1, 0);
  l.n_shown[1] = BDL_MAX(l.body.n_more - 1, 0);
  const int n_more = l.cond.n_more + l.body.n_more ? 1 + l.n_shown[0] + l.n_shown[1] : 0;
  if (s == BDL_OK && !BDL_ARRAY(&w->r.scratch, z, e->n_out + n_more)) s = BDL_ENOMEM;
  if (s == BDL_OK && n_more == 0) s = bdl_bind(w->r.q, e->prim, e->params, x, e->n_in, z);
  else if (s == BDL_OK) s = bind_while(&l, w->r.q, x, n_more, &w->r.scratch, z);
  bdl_stage_fini(&l.sc);
  bdl_stage_fini(&l.sb);
  if (l.cond.q) bdl_prog_unref(l.cond.q);
  if (l.body.q) bdl_prog_unref(l.body.q);
  TRY(s);
  TRY(bdl_ir_rw_set_all(&w->r, e, z));
  return take_more(w, z + e->n_out, n_more);
}

/* Every branch gives an error, and what the messages of all branches show: zeros for those of the others. */
static bdl_status branch(const body *all, int n, int mine, bdl_prog *q) {
  const body *b = &all[mine];
  int n_shown = 0, at = b->n_out + 1;
  bdl_atom *in, *res, *out;
  for (int k = 0; k < n; k++) n_shown += BDL_MAX(all[k].n_more - 1, 0);
  if (!BDL_ARRAY(&q->arena, in, b->q->inputs.n) || !BDL_ARRAY(&q->arena, res, b->n_out + b->n_more) ||
      !BDL_ARRAY(&q->arena, out, b->n_out + 1 + n_shown))
    return BDL_ENOMEM;
  for (int64_t i = 0; i < b->q->inputs.n; i++) TRY(bdl_ir_input(q, bdl_aval_of(b->q, b->q->inputs.v[i]), &in[i]));
  TRY(bdl_ir_inline(q, b->q, in, res));
  memcpy(out, res, (size_t)b->n_out * sizeof *out);
  out[b->n_out] = res[b->n_out];
  if (b->n_more == 0) TRY(bdl_ir_scalar(q, BDL_I32, 0, &out[b->n_out]));
  for (int k = 0; k < n; k++)
    for (int j = 1; j < all[k].n_more; j++, at++) {
      if (k == mine) out[at] = res[b->n_out + j];
      else TRY(bdl_ir_full(q, bdl_aval_of(all[k].q, all[k].q->outputs[all[k].n_out + j]), 0, &out[at]));
    }
  return bdl_prog_set_outputs(q, out, at);
}

bdl_status bdl_checkify_cond(bdl_check_walk *w, const bdl_eqn *e, const bdl_atom *x) {
  const int n = e->params[0].n;
  body *all;
  bdl_prog **progs;
  bdl_atom *z = NULL;
  int n_more = 0;
  bdl_status s = BDL_OK;
  if (!BDL_ARRAY(&w->r.scratch, all, n) || !BDL_ARRAY(&w->r.scratch, progs, n)) return BDL_ENOMEM;
  for (int k = 0; k < n && s == BDL_OK; k++) {
    s = make_body(w, e->params[0].progs[k], &all[k]);
    if (s == BDL_OK && all[k].n_more) n_more = BDL_MAX(n_more, 1) + all[k].n_more - 1;
  }
  if (s == BDL_OK && !BDL_ARRAY(&w->r.scratch, z, e->n_out + n_more)) s = BDL_ENOMEM;
  if (s == BDL_OK && n_more == 0) s = bdl_bind(w->r.q, e->prim, e->params, x, e->n_in, z);
  else if (s == BDL_OK) {
    for (int k = 0; k < n && s == BDL_OK; k++) {
      s = bdl_prog_new(w->r.q->ctx, all[k].q->name, &progs[k]);
      if (s == BDL_OK) s = branch(all, n, k, progs[k]);
    }
    const bdl_param p = bdl_pprogs(progs, n);
    if (s == BDL_OK) s = bdl_bind(w->r.q, e->prim, &p, x, e->n_in, z);
  }
  for (int k = 0; k < n; k++) {
    if (all[k].q) bdl_prog_unref(all[k].q);
    if (progs[k]) bdl_prog_unref(progs[k]);
  }
  TRY(s);
  TRY(bdl_ir_rw_set_all(&w->r, e, z));
  return take_more(w, z + e->n_out, n_more);
}

bdl_status bdl_checkify_checkpoint(bdl_check_walk *w, const bdl_eqn *e, const bdl_atom *x) {
  body b;
  bdl_atom *z;
  TRY(make_body(w, e->params[0].progs[0], &b));
  const bdl_param p = bdl_pprogs(&b.q, 1);
  bdl_status s = BDL_ARRAY(&w->r.scratch, z, b.n_out + b.n_more) ? BDL_OK : BDL_ENOMEM;
  if (s == BDL_OK) s = bdl_bind(w->r.q, e->prim, &p, x, e->n_in, z);
  bdl_prog_unref(b.q);
  TRY(s);
  TRY(bdl_ir_rw_set_all(&w->r, e, z));
  return take_more(w, z + e->n_out, b.n_more);
}


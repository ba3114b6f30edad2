/*
** while.c -- tangents of loops of unknown length: carried beside the values.  There is no way back through them.
*/
#include <string.h>

#include "transform/linear.h"

typedef struct parts {
  const bdl_prog *cond, *body;
  int64_t n_cond, n_body, n_carry;
} parts;

static const bdl_aval *in_aval(const bdl_prog *p, int64_t i) { return bdl_aval_of(p, p->inputs.v[i]); }

/* Operands in their order: consts of the condition | consts of the body, their tangents | values carried, their tangents. */
static bdl_status body(bdl_control *c, const parts *w, const bool *active, const bdl_linearised *l, bdl_stage *s, int64_t *n_consts,
                       bdl_atom *out) {
  bdl_atom *in, *res;
  int64_t next = l->n_in;
  if (!BDL_ARRAY(c->a, in, l->b->inputs.n) || !BDL_ARRAY(c->a, res, l->b->n_outputs)) return BDL_ENOMEM;
  for (int carried = 0; carried < 2; carried++) {
    const int64_t from = carried ? w->n_body : 0, to = carried ? l->n_in : w->n_body;
    for (int64_t i = from; i < to; i++) TRY(bdl_stage_input(s, c->x[w->n_cond + i], in_aval(w->body, i), &in[i]));
    for (int64_t i = from; i < to; i++) {
      bdl_atom dx;
      if (!active[i]) continue;
      TRY(bdl_or_zeros(c->b, c->dx[w->n_cond + i], in_aval(w->body, i), &dx));
      TRY(bdl_stage_input(s, dx, in_aval(w->body, i), &in[next++]));
    }
    if (!carried) *n_consts = s->n;
  }
  TRY(bdl_ir_inline(s->body, l->b, in, res));
  memcpy(out, res, (size_t)l->b->n_outputs * sizeof *out);
  return bdl_prog_set_outputs(s->body, out, l->b->n_outputs);
}

/* The condition reads the values alone. */
static bdl_status condition(const parts *w, const bool *active, bdl_arena *a, bdl_prog **cond) {
  bdl_atom *in, out, unused;
  if (!BDL_ARRAY(a, in, w->cond->inputs.n)) return BDL_ENOMEM;
  TRY(bdl_prog_new(w->cond->ctx, w->cond->name, cond));
  for (int64_t i = 0; i < w->cond->inputs.n; i++) TRY(bdl_ir_input(*cond, in_aval(w->cond, i), &in[i]));
  for (int64_t i = 0; i < w->n_carry; i++)
    if (active[w->n_body + i]) TRY(bdl_ir_input(*cond, in_aval(w->body, w->n_body + i), &unused));
  TRY(bdl_ir_inline(*cond, w->cond, in, &out));
  return bdl_prog_set_outputs(*cond, &out, 1);
}

static bdl_status loop(bdl_control *c, const parts *w, const bool *active, const bdl_linearised *l, bdl_stage *s, bdl_prog **cond) {
  bdl_atom *operands, *out, *z;
  int64_t n_consts = 0;
  const int n_out = l->b->n_outputs;
  if (!BDL_ARRAY(c->a, out, n_out) || !BDL_ARRAY(c->a, z, n_out)) return BDL_ENOMEM;
  TRY(body(c, w, active, l, s, &n_consts, out));
  TRY(condition(w, active, c->a, cond));
  if (!BDL_ARRAY(c->a, operands, w->n_cond + s->n)) return BDL_ENOMEM;
  memcpy(operands, c->x, (size_t)w->n_cond * sizeof *operands);
  memcpy(operands + w->n_cond, s->operand, (size_t)s->n * sizeof *operands);
  const bdl_param p[] = {bdl_pint(w->n_cond), bdl_pint(n_consts), bdl_pprogs((bdl_prog *[]){*cond, s->body}, 2)};
  TRY(bdl_bind(c->b, BDL_P_while, p, operands, (int)w->n_cond + s->n, z));
  memcpy(c->z, z, (size_t)l->n_out * sizeof *z);
  for (int k = 0, next = l->n_out; k < l->n_out; k++)
    if (!bdl_is_zero(l->tangent[k])) c->dz[k] = z[next++];
  return BDL_OK;
}

bdl_status bdl_linearise_while(bdl_control *c) {
  const parts w = {c->e->params[2].progs[0], c->e->params[2].progs[1], c->e->params[0].i, c->e->params[1].i, c->e->n_out};
  bdl_linearised l = {0};
  bdl_stage s = {0};
  bdl_prog *cond = NULL;
  bool *active, *want;
  if (!BDL_ARRAY(c->a, active, c->e->n_in) || !BDL_ARRAY(c->a, want, c->e->n_out)) return BDL_ENOMEM;
  for (int k = 0; k < w.body->inputs.n; k++) active[k] = !bdl_is_zero(c->dx[w.n_cond + k]);
  bdl_status status = bdl_transform_linearise_loop(w.body, active, w.n_body, w.n_carry, BDL_FORWARD, &l);
  memcpy(want, active + w.n_body, (size_t)w.n_carry);
  if (status == BDL_OK) status = bdl_transform_linearised_end(&l, want);
  if (status == BDL_OK) status = bdl_stage_new(&s, c->b, w.body->name, c->a);
  if (status == BDL_OK) status = loop(c, &w, active, &l, &s, &cond);
  bdl_stage_fini(&s);
  if (cond) bdl_prog_unref(cond);
  /* values that others read must not hang on the tangents */
  if (status == BDL_OK && c->mode == BDL_REVERSE) status = bdl_bind(c->b, BDL_P_while, c->e->params, c->x, c->e->n_in, c->z);
  bdl_transform_linearised_fini(&l);
  return status;
}

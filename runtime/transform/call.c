/*
** call.c -- derivatives of bodies that say themselves how they are differentiated: checkpoints and custom derivatives.
*/
#include <string.h>

#include "transform/linear.h"

static bdl_status floats(bdl_control *c, bdl_atom *out, int *n) {
  for (int i = 0; i < c->e->n_in; i++) {
    if (!bdl_transform_is_float(c->b, c->x[i])) continue;
    TRY(bdl_or_zeros(c->b, c->dx[i], bdl_aval_of(c->b, c->x[i]), &out[(*n)++]));
  }
  return BDL_OK;
}

/* Results to the tangents of the float results, in order. */
static void set_tangents(bdl_control *c, const bdl_atom *tangents) {
  for (int k = 0; k < c->e->n_out; k++)
    if (bdl_transform_is_float(c->b, c->z[k])) c->dz[k] = *tangents++;
}

/* ---- checkpoint: the tangents are one equation that reads the operands alone */

static bdl_status recompute(bdl_control *c, bdl_linearised *l, bdl_stage *s) {
  bdl_atom *in, *wanted, *res, *z;
  int n = 0;
  if (!BDL_ARRAY(c->a, in, l->b->inputs.n) || !BDL_ARRAY(c->a, wanted, l->n_out) || !BDL_ARRAY(c->a, res, l->n_out) ||
      !BDL_ARRAY(c->a, z, l->n_out))
    return BDL_ENOMEM;
  for (int64_t i = 0, next = 0; i < l->b->inputs.n; i++) {
    while (i >= l->n_in && bdl_is_zero(c->dx[next])) next++;
    TRY(bdl_stage_input(s, i < l->n_in ? c->x[i] : c->dx[next++], bdl_aval_of(l->b, l->b->inputs.v[i]), &in[i]));
  }
  for (int k = 0; k < l->n_out; k++)
    if (!bdl_is_zero(l->tangent[k])) wanted[n++] = l->tangent[k];
  TRY(bdl_transform_extract(l->b, l->b->inputs.v, in, (int)l->b->inputs.n, wanted, n, false, s->body, res));
  TRY(bdl_prog_set_outputs(s->body, res, n));
  TRY(bdl_bind(c->b, BDL_P_checkpoint, (bdl_param[]){bdl_pprogs(&s->body, 1)}, s->operand, s->n, z));
  for (int k = 0; k < l->n_out; k++)
    if (!bdl_is_zero(l->tangent[k])) c->dz[k] = *z++;
  return BDL_OK;
}

static bdl_status beside(bdl_control *c, bdl_linearised *l) {
  bdl_atom *in, *out;
  int n = (int)l->n_in;
  if (!BDL_ARRAY(c->a, in, l->b->inputs.n) || !BDL_ARRAY(c->a, out, l->b->n_outputs)) return BDL_ENOMEM;
  memcpy(in, c->x, (size_t)n * sizeof *in);
  for (int i = 0; i < c->e->n_in; i++)
    if (!bdl_is_zero(c->dx[i])) in[n++] = c->dx[i];
  TRY(bdl_ir_inline(c->b, l->b, in, out));
  memcpy(c->z, out, (size_t)l->n_out * sizeof *out);
  for (int k = 0, next = l->n_out; k < l->n_out; k++)
    if (!bdl_is_zero(l->tangent[k])) c->dz[k] = out[next++];
  return BDL_OK;
}

static bdl_status checkpoint(bdl_control *c) {
  bdl_linearised l = {0};
  bdl_stage s = {0};
  bool *active, any = false;
  if (!BDL_ARRAY(c->a, active, c->e->n_in)) return BDL_ENOMEM;
  for (int i = 0; i < c->e->n_in; i++) active[i] = !bdl_is_zero(c->dx[i]);
  bdl_status status = bdl_transform_linearise(c->e->params[0].progs[0], active, c->mode, &l);
  if (status == BDL_OK) status = bdl_transform_linearised_end(&l, NULL);
  for (int k = 0; status == BDL_OK && k < l.n_out; k++) any |= !bdl_is_zero(l.tangent[k]);
  if (status == BDL_OK && c->mode == BDL_FORWARD) {
    status = beside(c, &l);
  } else if (status == BDL_OK) {
    status = bdl_ir_inline(c->b, c->e->params[0].progs[0], c->x, c->z);
    if (status == BDL_OK && any) status = bdl_stage_new(&s, c->b, c->e->params[0].progs[0]->name, c->a);
    if (status == BDL_OK && any) status = recompute(c, &l, &s);
    bdl_stage_fini(&s);
  }
  bdl_transform_linearised_fini(&l);
  return status;
}

/* The body is made again from operands that are there only when the cotangents are. */
bdl_status bdl_transpose_checkpoint(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, const bool *is_linear, const bdl_atom *ct,
                                    bdl_atom *ct_in) {
  bdl_arena a;
  bdl_prog *t = NULL;
  bool *there, *found;
  bdl_atom *in, *out, first = BDL_ZERO;
  bdl_arena_init(&a, b->ctx);
  bdl_status s = BDL_ENOMEM;
  if (BDL_ARRAY(&a, there, e->n_out) && BDL_ARRAY(&a, found, e->n_in) && BDL_ARRAY(&a, in, e->n_in + e->n_out) &&
      BDL_ARRAY(&a, out, e->n_in)) {
    for (int k = e->n_out - 1; k >= 0; k--) {
      there[k] = !bdl_is_zero(ct[k]);
      if (there[k]) first = ct[k];
    }
    s = bdl_transform_transpose(e->params[0].progs[0], is_linear, 0, there, &t, found);
  }
  if (s == BDL_OK) {
    int n = 0;
    for (int i = 0; s == BDL_OK && i < e->n_in; i++)
      if (!is_linear[i]) s = bdl_bind2(b, BDL_P_barrier, x[i], first, &in[n++]);
    for (int k = 0; k < e->n_out; k++)
      if (there[k]) in[n++] = ct[k];
    if (s == BDL_OK) s = bdl_ir_inline(b, t, in, out);
    for (int i = 0; s == BDL_OK && i < e->n_in; i++)
      if (found[i]) ct_in[i] = *out++;
    bdl_prog_unref(t);
  }
  bdl_arena_fini(&a);
  return s;
}

/* ---- custom derivatives */

/* The rule, whose loops may mix values and tangents: it is linear in the tangents, hence its own derivative along them. */
static bdl_status apply_rule(bdl_control *c, const bdl_prog *rule, const bdl_atom *in, bdl_atom *out) {
  bdl_linearised l = {0};
  bool *active, *want;
  bdl_atom *all, *res;
  int n = c->e->n_in, m = 0;
  if (!BDL_ARRAY(c->a, active, rule->inputs.n) || !BDL_ARRAY(c->a, want, rule->n_outputs) || !BDL_ARRAY(c->a, all, 2 * rule->inputs.n))
    return BDL_ENOMEM;
  for (int64_t i = n; i < rule->inputs.n; i++) active[i] = true;
  memset(want, true, (size_t)rule->n_outputs);
  memcpy(all, in, (size_t)n * sizeof *all);
  m = n;
  bdl_status s = bdl_transform_linearise(rule, active, c->mode, &l);
  if (s == BDL_OK) s = bdl_transform_linearised_end(&l, want);
  if (s == BDL_OK && !BDL_ARRAY(c->a, res, l.b->n_outputs)) s = BDL_ENOMEM;
  for (int64_t i = n; s == BDL_OK && i < rule->inputs.n; i++) s = bdl_ir_full(c->b, bdl_aval_of(rule, rule->inputs.v[i]), 0, &all[m++]);
  for (int64_t i = n; s == BDL_OK && i < rule->inputs.n; i++) all[m++] = in[i];
  if (s == BDL_OK) s = bdl_ir_inline(c->b, l.b, all, res);
  if (s == BDL_OK) memcpy(out, res + rule->n_outputs, (size_t)rule->n_outputs * sizeof *out);
  bdl_transform_linearised_fini(&l);
  return s;
}

static bool has_bodies(const bdl_prog *p) {
  bool any = false;
  for (int64_t i = 0; i < p->eqns.n; i++) any |= bdl_ir_has_bodies(&p->eqns.v[i]);
  return any;
}

/* The values stay those of the same equation, so that its rule holds for derivatives of the derivative too. */
static bdl_status custom_jvp(bdl_control *c) {
  const bdl_prog *rule = c->e->params[0].progs[1];
  bdl_atom *in, *dz;
  int n = c->e->n_in;
  if (!BDL_ARRAY(c->a, in, rule->inputs.n) || !BDL_ARRAY(c->a, dz, rule->n_outputs)) return BDL_ENOMEM;
  TRY(bdl_bind(c->b, BDL_P_custom_jvp, c->e->params, c->x, n, c->z));
  memcpy(in, c->x, (size_t)n * sizeof *in);
  TRY(floats(c, in, &n));
  TRY(has_bodies(rule) ? apply_rule(c, rule, in, dz) : bdl_ir_inline(c->b, rule, in, dz));
  set_tangents(c, dz);
  return BDL_OK;
}

static bdl_status custom_vjp(bdl_control *c) {
  const bdl_prog *forward = c->e->params[0].progs[1], *backward = c->e->params[0].progs[2];
  const int residuals = forward->n_outputs - c->e->n_out;
  bdl_atom *out, *in, *dz;
  int n = residuals;
  if (c->mode == BDL_FORWARD) {
    bdl_fail(c->b->ctx, BDL_ENOTSUP, "forward differentiation of a custom_vjp function is not supported");
    bdl_hint(c->b->ctx, "custom_jvp gives both modes");
    return BDL_ENOTSUP;
  }
  if (!BDL_ARRAY(c->a, out, forward->n_outputs) || !BDL_ARRAY(c->a, in, residuals + c->e->n_in) || !BDL_ARRAY(c->a, dz, c->e->n_out))
    return BDL_ENOMEM;
  TRY(bdl_ir_inline(c->b, forward, c->x, out));
  memcpy(c->z, out, (size_t)c->e->n_out * sizeof *out);
  memcpy(in, out + c->e->n_out, (size_t)residuals * sizeof *in);
  TRY(floats(c, in, &n));
  const bdl_param p[] = {bdl_pint(residuals), bdl_pprogs((bdl_prog *[]){(bdl_prog *)backward}, 1)};
  TRY(bdl_bind(c->b, BDL_P_transposed, p, in, n, dz));
  set_tangents(c, dz);
  return BDL_OK;
}

bdl_status bdl_transpose_transposed(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, const bool *is_linear, const bdl_atom *ct,
                                    bdl_atom *ct_in) {
  const bdl_prog *body = e->params[1].progs[0];
  const int64_t residuals = e->params[0].i;
  bdl_arena a;
  bdl_atom *in, *out;
  bdl_arena_init(&a, b->ctx);
  bdl_status s = BDL_ENOMEM;
  if (BDL_ARRAY(&a, in, body->inputs.n) && BDL_ARRAY(&a, out, body->n_outputs)) {
    s = BDL_OK;
    memcpy(in, x, (size_t)residuals * sizeof *in);
    for (int k = 0; s == BDL_OK && k < e->n_out; k++) s = bdl_or_zeros(b, ct[k], bdl_aval_of(b, e->out[k]), &in[residuals + k]);
    if (s == BDL_OK) s = bdl_ir_inline(b, body, in, out);
    for (int i = 0; s == BDL_OK && i < body->n_outputs; i++)
      if (is_linear[residuals + i]) ct_in[residuals + i] = out[i];
  }
  bdl_arena_fini(&a);
  return s;
}

bdl_status bdl_linearise_call(bdl_control *c) {
  switch (c->e->prim) {
    case BDL_P_checkpoint: return checkpoint(c);
    case BDL_P_custom_jvp: return custom_jvp(c);
    case BDL_P_custom_vjp: return custom_vjp(c);
    default: return bdl_transform_no_rule(c->b, c->e, "forward differentiation");
  }
}

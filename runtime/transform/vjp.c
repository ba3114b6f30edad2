/*
** vjp.c -- reverse mode: the tangent program, whose linear equations are transposed from the last to the first.
**
**     b(x, dx)  = z, dz          appended to by the transposes: ct of dz  ->  ct of dx
**     q(x, ct)  = z, ct of dx    b without the tangents: nothing that is left reads them
*/
#include <string.h>

#include "ir/edit.h"
#include "prim/rules.h"
#include "transform/linear.h"

/* linear[x]: does x depend on a tangent? */
static void mark_linear(const bdl_prog *p, const bdl_prog *b, bool *linear) {
  for (int64_t i = p->inputs.n; i < b->inputs.n; i++) linear[b->inputs.v[i]] = true;
  for (int64_t i = 0; i < b->eqns.n; i++) {
    const bdl_eqn *e = &b->eqns.v[i];
    bool any = false;
    for (int k = 0; k < e->n_in; k++) any |= linear[e->in[k]];
    for (int k = 0; k < e->n_out; k++) linear[e->out[k]] = any;
  }
}

/* ct[x]: the cotangent so far of each variable that was there before the transposes. */
static bdl_status pull_eqn(bdl_prog *b, int64_t i, const bool *linear, bdl_atom *ct, bdl_arena *scratch) {
  const bdl_eqn e = b->eqns.v[i]; /* its lists stay where they are; the equations may move */
  bool any = false;
  for (int k = 0; k < e.n_out; k++) any |= linear[e.out[k]] && !bdl_is_zero(ct[e.out[k]]);
  if (!any) return BDL_OK;
  if (!bdl_prims[e.prim].transpose) return bdl_transform_no_rule(b, &e, "reverse differentiation");
  bool *is_linear = bdl_arena_alloc(scratch, (size_t)e.n_in);
  bdl_atom *ct_in = bdl_arena_alloc(scratch, (size_t)e.n_in * sizeof *ct_in);
  bdl_atom *ct_out = bdl_arena_alloc(scratch, (size_t)e.n_out * sizeof *ct_out);
  if (!is_linear || !ct_in || !ct_out) return BDL_ENOMEM;
  for (int k = 0; k < e.n_out; k++) {
    ct_out[k] = ct[e.out[k]];
    if (bdl_is_zero(ct_out[k])) TRY(bdl_ir_full(b, bdl_aval_of(b, e.out[k]), 0, &ct_out[k]));
  }
  for (int k = 0; k < e.n_in; k++) {
    is_linear[k] = linear[e.in[k]];
    ct_in[k] = BDL_ZERO;
  }
  b->src = e.src;
  const bdl_status s = bdl_prims[e.prim].transpose(b, &e, e.in, is_linear, ct_out, ct_in);
  if (s != BDL_OK) bdl_where(b->ctx, e.src);
  TRY(s);
  for (int k = 0; k < e.n_in; k++)
    if (is_linear[k]) TRY(bdl_rule_add(b, ct[e.in[k]], ct_in[k], &ct[e.in[k]]));
  return BDL_OK;
}

/* b: the linearised program with its cotangents appended to the inputs; out: outputs, cotangents of the active inputs */
static bdl_status pull(const bdl_prog *p, bdl_linearised *l, bdl_atom *out, int *n_out) {
  bdl_prog *b = l->b;
  const int64_t n_vars = b->vars.n, n_eqns = b->eqns.n, n_inputs = b->inputs.n;
  bool *linear = bdl_arena_alloc(&l->scratch, (size_t)n_vars);
  bdl_atom *ct = bdl_arena_alloc(&l->scratch, (size_t)n_vars * sizeof *ct);
  if (!linear || !ct) return BDL_ENOMEM;
  memset(ct, 0xff, (size_t)n_vars * sizeof *ct); /* BDL_ZERO */
  mark_linear(p, b, linear);
  for (int i = 0; i < p->n_outputs; i++) {
    bdl_atom x = BDL_ZERO;
    if (!bdl_transform_is_float(b, l->out[i])) continue;
    TRY(bdl_ir_input(b, bdl_aval_of(b, l->out[i]), &x));
    if (!bdl_is_zero(l->tangent[i])) TRY(bdl_rule_add(b, ct[l->tangent[i]], x, &ct[l->tangent[i]]));
  }
  for (int64_t i = n_eqns - 1; i >= 0; i--) TRY(pull_eqn(b, i, linear, ct, &l->scratch));
  memcpy(out, l->out, (size_t)p->n_outputs * sizeof *out);
  *n_out = p->n_outputs;
  for (int64_t i = p->inputs.n; i < n_inputs; i++) {
    const bdl_atom x = b->inputs.v[i];
    if (bdl_is_zero(ct[x])) TRY(bdl_ir_full(b, bdl_aval_of(b, x), 0, &ct[x]));
    out[(*n_out)++] = ct[x];
  }
  return BDL_OK;
}

/* b without its inputs from..to, which nothing needs any more. */
static bdl_status without_tangents(const bdl_prog *b, int64_t from, int64_t to, bdl_prog **q) {
  bool *keep = bdl_alloc(b->ctx, (size_t)b->inputs.n);
  if (!keep) return BDL_ENOMEM;
  for (int64_t i = 0; i < b->inputs.n; i++) keep[i] = i < from || i >= to;
  const bdl_status s = bdl_ir_dce_inputs(b, keep, q);
  bdl_free(b->ctx, keep, (size_t)b->inputs.n);
  return s;
}

static bdl_status transpose(const bdl_prog *p, bdl_linearised *l, bdl_prog **q) {
  const int64_t n_inputs = l->b->inputs.n;
  bdl_atom *out = bdl_arena_alloc(&l->scratch, (size_t)(p->n_outputs + n_inputs) * sizeof *out);
  int n = 0;
  if (!out) return BDL_ENOMEM;
  TRY(pull(p, l, out, &n));
  TRY(bdl_prog_set_outputs(l->b, out, n));
  return without_tangents(l->b, p->inputs.n, n_inputs, q);
}

bdl_status bdl_transform_vjp(const bdl_prog *p, const bool *active, bdl_prog **q) {
  bdl_linearised l;
  bdl_status s = bdl_transform_linearise(p, active, &l);
  if (s == BDL_OK) s = transpose(p, &l, q);
  bdl_transform_linearised_fini(&l);
  return s;
}

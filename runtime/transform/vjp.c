/*
** vjp.c -- reverse mode: the tangent program, whose linear equations are transposed from the last to the first.
**
**     b(x, dx)  = z, dz          appended to by the transposes: ct of dz  ->  ct of dx
**     q(x, ct)  = z, ct of dx    b without the tangents: nothing that is left reads them
*/
#include <string.h>

#include "prim/rules.h"
#include "transform/linear.h"

/* linear[x]: does x depend on a linear input? */
static void mark_linear(const bdl_prog *b, bool *linear) {
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
  bool any = false, *is_linear;
  bdl_atom *ct_in, *ct_out;
  for (int k = 0; k < e.n_out; k++) any |= linear[e.out[k]] && !bdl_is_zero(ct[e.out[k]]);
  if (!any) return BDL_OK;
  if (!bdl_prims[e.prim].transpose) {
    bdl_transform_no_rule(b, &e, "reverse differentiation");
    if (e.prim == BDL_P_while) bdl_hint(b->ctx, "a loop of a bounded number of rounds can: bounded_while_loop, for_loop, scan");
    return BDL_ENOTSUP;
  }
  if (!BDL_ARRAY(scratch, is_linear, e.n_in) || !BDL_ARRAY(scratch, ct_in, e.n_in) || !BDL_ARRAY(scratch, ct_out, e.n_out))
    return BDL_ENOMEM;
  b->src = e.src;
  for (int k = 0; k < e.n_out; k++) {
    ct_out[k] = ct[e.out[k]];
    if (!bdl_ir_has_bodies(&e)) TRY(bdl_or_zeros(b, ct_out[k], bdl_aval_of(b, e.out[k]), &ct_out[k]));
  }
  for (int k = 0; k < e.n_in; k++) {
    is_linear[k] = linear[e.in[k]];
    ct_in[k] = BDL_ZERO;
  }
  const bdl_status s = bdl_prims[e.prim].transpose(b, &e, e.in, is_linear, ct_out, ct_in);
  if (s != BDL_OK) bdl_where(b->ctx, e.src);
  TRY(s);
  for (int k = 0; k < e.n_in; k++)
    if (is_linear[k]) TRY(bdl_rule_add(b, ct[e.in[k]], ct_in[k], &ct[e.in[k]]));
  return BDL_OK;
}

/* b: a copy, with the cotangents appended to its inputs */
static bdl_status pull(bdl_prog *b, const bool *linear_in, int n_keep, const bool *there, bool *found, bdl_arena *a) {
  const int64_t n_vars = b->vars.n, n_eqns = b->eqns.n, n_in = b->inputs.n;
  const int n_outputs = b->n_outputs;
  int n = n_keep;
  bool *linear;
  bdl_atom *ct, *out;
  if (!BDL_ARRAY(a, linear, n_vars) || !BDL_ARRAY(a, ct, n_vars) || !BDL_ARRAY(a, out, n_keep + n_in)) return BDL_ENOMEM;
  memset(ct, 0xff, (size_t)n_vars * sizeof *ct); /* BDL_ZERO */
  for (int64_t i = 0; i < n_in; i++) linear[b->inputs.v[i]] = linear_in[i];
  mark_linear(b, linear);
  for (int i = n_keep; i < n_outputs; i++) {
    const bdl_atom z = b->outputs[i];
    bdl_atom x = BDL_ZERO;
    if (there && !there[i - n_keep]) continue;
    TRY(bdl_ir_input(b, bdl_aval_of(b, z), &x));
    if (linear[z]) TRY(bdl_rule_add(b, ct[z], x, &ct[z]));
  }
  for (int64_t i = n_eqns - 1; i >= 0; i--) TRY(pull_eqn(b, i, linear, ct, a));
  memcpy(out, b->outputs, (size_t)n_keep * sizeof *out);
  for (int64_t i = 0; i < n_in; i++) {
    const bdl_atom x = b->inputs.v[i];
    found[i] = linear_in[i] && !bdl_is_zero(ct[x]);
    if (found[i]) out[n++] = ct[x];
  }
  return bdl_prog_set_outputs(b, out, n);
}

static bdl_status copy_of(const bdl_prog *p, bdl_prog **q) {
  bdl_rewrite r;
  bdl_status s = bdl_ir_rw_begin(&r, p);
  for (int64_t i = 0; s == BDL_OK && i < p->eqns.n; i++) s = bdl_ir_rw_copy(&r, &p->eqns.v[i]);
  r.changed = true;
  return bdl_ir_rw_end(&r, s, q);
}

bdl_status bdl_transform_transpose(const bdl_prog *b, const bool *linear, int n_keep, const bool *there, bdl_prog **q, bool *found) {
  bdl_prog *copy = NULL;
  bdl_arena a;
  bool *keep = NULL;
  bdl_arena_init(&a, b->ctx);
  bdl_status s = copy_of(b, &copy);
  if (s == BDL_OK) {
    s = pull(copy, linear, n_keep, there, found, &a);
    if (s == BDL_OK && !BDL_ARRAY(&a, keep, copy->inputs.n)) s = BDL_ENOMEM;
    for (int64_t i = 0; s == BDL_OK && i < copy->inputs.n; i++) keep[i] = i >= b->inputs.n || !linear[i];
    if (s == BDL_OK) s = bdl_ir_dce_inputs(copy, keep, q);
    bdl_prog_unref(copy);
  }
  bdl_arena_fini(&a);
  return s;
}

/* Cotangents of the active inputs that nothing leads to are zeros. */
static bdl_status fill(bdl_prog **q, const bdl_linearised *l, const bool *linear, const bool *found) {
  bdl_prog *p = NULL;
  bdl_arena a;
  bdl_atom *in, *out, *all;
  bdl_status s = BDL_ENOMEM;
  bdl_arena_init(&a, l->b->ctx);
  if (BDL_ARRAY(&a, in, (*q)->inputs.n) && BDL_ARRAY(&a, out, (*q)->n_outputs) && BDL_ARRAY(&a, all, l->n_out + l->b->inputs.n))
    s = bdl_prog_new(l->b->ctx, l->b->name, &p);
  for (int64_t i = 0; s == BDL_OK && i < (*q)->inputs.n; i++) s = bdl_ir_input(p, bdl_aval_of(*q, (*q)->inputs.v[i]), &in[i]);
  if (s == BDL_OK) s = bdl_ir_inline(p, *q, in, out);
  int n = l->n_out, next = l->n_out;
  if (s == BDL_OK) memcpy(all, out, (size_t)n * sizeof *all);
  for (int64_t i = l->n_in; s == BDL_OK && i < l->b->inputs.n; i++)
    if (linear[i]) s = bdl_or_zeros(p, found[i] ? out[next++] : BDL_ZERO, bdl_aval_of(l->b, l->b->inputs.v[i]), &all[n++]);
  if (s == BDL_OK) s = bdl_prog_set_outputs(p, all, n);
  if (s == BDL_OK) {
    bdl_prog_unref(*q);
    *q = p;
  } else if (p) {
    bdl_prog_unref(p);
  }
  bdl_arena_fini(&a);
  return s;
}

static bdl_status transpose_all(bdl_linearised *l, bdl_prog **q) {
  bool *want, *linear, *found, all = true;
  if (!BDL_ARRAY(&l->scratch, want, l->n_out) || !BDL_ARRAY(&l->scratch, linear, l->b->inputs.n) ||
      !BDL_ARRAY(&l->scratch, found, l->b->inputs.n))
    return BDL_ENOMEM;
  memset(want, true, (size_t)l->n_out);
  TRY(bdl_transform_linearised_end(l, want));
  for (int64_t i = l->n_in; i < l->b->inputs.n; i++) linear[i] = true;
  TRY(bdl_transform_transpose(l->b, linear, l->n_out, NULL, q, found));
  for (int64_t i = l->n_in; i < l->b->inputs.n; i++) all &= found[i];
  const bdl_status s = all ? BDL_OK : fill(q, l, linear, found);
  if (s != BDL_OK) bdl_prog_unref(*q);
  return s;
}

bdl_status bdl_transform_vjp(const bdl_prog *p, const bool *active, bdl_prog **q) {
  bdl_linearised l;
  bdl_status s = bdl_transform_linearise(p, active, BDL_REVERSE, &l);
  if (s == BDL_OK) s = transpose_all(&l, q);
  bdl_transform_linearised_fini(&l);
  return s;
}

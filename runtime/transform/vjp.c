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

/* A part among zeros, as the transpose of a slice leaves it: start and end of the part on each axis. */
static const bdl_eqn *part_of(const bdl_prog *b, bdl_atom x) {
  const bdl_eqn *e = bdl_ir_maker(b, x);
  if (!e || e->prim != BDL_P_pad || !bdl_ir_is_literal(b, e->in[1], 0)) return NULL;
  for (int k = 0; k < e->params[2].n; k++)
    if (e->params[2].ints[k] != 0 || e->params[0].ints[k] < 0 || e->params[1].ints[k] < 0) return NULL;
  return e;
}

/* The axis on which y begins where x ends, all others being the same; -1: none. */
static int follows(const bdl_prog *b, const bdl_eqn *x, const bdl_eqn *y) {
  int axis = -1;
  for (int k = 0; k < x->params[0].n; k++) {
    const int64_t x_lo = x->params[0].ints[k], y_lo = y->params[0].ints[k];
    if (x_lo == y_lo && x->params[1].ints[k] == y->params[1].ints[k]) continue;
    if (axis >= 0 || x_lo + bdl_aval_of(b, x->in[0])->shape[k] != y_lo) return -1;
    axis = k;
  }
  return axis;
}

/* x, or what it was joined from. */
static const bdl_atom *pieces(const bdl_prog *b, const bdl_atom *x, int axis, int *n) {
  const bdl_eqn *e = bdl_ir_maker(b, *x);
  const bool joined = e && e->prim == BDL_P_concatenate && e->params[0].i == axis;
  *n = joined ? e->n_in : 1;
  return joined ? e->in : x;
}

/* Two parts that lie side by side are joined, not added: the cotangents of a value that was cut up. */
static bdl_status join(bdl_prog *b, const bdl_eqn *x, const bdl_eqn *y, int axis, bdl_arena *a, bdl_atom *z) {
  const int n = x->params[0].n;
  int64_t hi[BDL_MAX_NDIM];
  int n_x, n_y;
  const bdl_atom *of_x = pieces(b, &x->in[0], axis, &n_x), *of_y = pieces(b, &y->in[0], axis, &n_y);
  bdl_atom *all;
  bool rest = false;
  if (!BDL_ARRAY(a, all, n_x + n_y)) return BDL_ENOMEM;
  memcpy(all, of_x, (size_t)n_x * sizeof *all);
  memcpy(all + n_x, of_y, (size_t)n_y * sizeof *all);
  const bdl_atom zero = x->in[1];
  const bdl_param lo = x->params[0], inner = x->params[2];
  for (int k = 0; k < n; k++) {
    hi[k] = k == axis ? y->params[1].ints[k] : x->params[1].ints[k];
    rest |= lo.ints[k] != 0 || hi[k] != 0;
  }
  TRY(bdl_bind(b, BDL_P_concatenate, (bdl_param[]){bdl_pint(axis)}, all, n_x + n_y, z));
  if (!rest) return BDL_OK;
  return bdl_bind(b, BDL_P_pad, (bdl_param[]){lo, bdl_pints(hi, n), inner}, (bdl_atom[]){*z, zero}, 2, z);
}

static bdl_status add_cotangent(bdl_prog *b, bdl_atom x, bdl_atom y, bdl_arena *a, bdl_atom *z) {
  const bdl_eqn *p = bdl_is_zero(x) ? NULL : part_of(b, x), *q = bdl_is_zero(y) ? NULL : part_of(b, y);
  if (p && q) {
    const int before = follows(b, p, q), after = follows(b, q, p);
    if (before >= 0) return join(b, p, q, before, a, z);
    if (after >= 0) return join(b, q, p, after, a, z);
  }
  return bdl_rule_add(b, x, y, z);
}

/* Do equations from `first` on read linear variables?  Then the one they transpose is not linear: a product of tangents. */
static bool reads_tangents(const bdl_prog *b, int64_t first, const bool *linear, int64_t n_vars) {
  for (int64_t i = first; i < b->eqns.n; i++)
    for (int k = 0; k < b->eqns.v[i].n_in; k++)
      if (b->eqns.v[i].in[k] < n_vars && linear[b->eqns.v[i].in[k]]) return true;
  return false;
}

/* ct[x]: the cotangent so far of each variable that was there before the transposes, n_vars of them. */
static bdl_status pull_eqn(bdl_prog *b, int64_t i, const bool *linear, int64_t n_vars, bdl_atom *ct, bdl_arena *scratch) {
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
  const int64_t first = b->eqns.n;
  bdl_status s = bdl_prims[e.prim].transpose(b, &e, e.in, is_linear, ct_out, ct_in);
  if (s == BDL_OK && reads_tangents(b, first, linear, n_vars))
    s = bdl_fail(b->ctx, BDL_ENOTSUP, "%s: a derivative rule must be linear in its tangents", bdl_prims[e.prim].name);
  if (s != BDL_OK) bdl_where(b->ctx, e.src);
  TRY(s);
  for (int k = 0; k < e.n_in; k++)
    if (is_linear[k]) TRY(add_cotangent(b, ct[e.in[k]], ct_in[k], scratch, &ct[e.in[k]]));
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
  for (int64_t i = n_eqns - 1; i >= 0; i--) TRY(pull_eqn(b, i, linear, n_vars, ct, a));
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

/*
** fold.c -- equations over constants are run once, here.  Small results become literals and constants; anything larger than
** LIMIT elements is left, and so are broadcasts and index ramps, which cost less to make than to keep.
*/
#include <string.h>

#include "ir/rewrite.h"

#define LIMIT 4096

static bdl_status fold_body(void *ud, const bdl_prog *p, bdl_prog **q) { return bdl_pass_fold(p, *(bdl_eval_eqn *)ud, q); }

static bool is_constant(const bdl_prog *q, bdl_atom x) {
  return q->vars.v[x].kind == BDL_V_LITERAL || q->vars.v[x].kind == BDL_V_CONST;
}

static bool can_fold(const bdl_rewrite *r, const bdl_eqn *e, const bdl_atom *in) {
  if (e->n_out == 0 || e->n_in == 0 || e->prim == BDL_P_broadcast || bdl_ir_has_bodies(e) || bdl_ir_has_effect(e)) return false;
  if (bdl_prims[e->prim].flags & BDL_F_LANES) return false;
  for (int k = 0; k < e->n_in; k++)
    if (!is_constant(r->q, in[k]) || bdl_aval_numel(bdl_aval_of(r->q, in[k])) > LIMIT) return false;
  for (int k = 0; k < e->n_out; k++)
    if (bdl_aval_numel(bdl_aval_of(r->p, e->out[k])) > LIMIT) return false;
  return true;
}

static bdl_status operand(bdl_device *cpu, const bdl_prog *q, bdl_atom x, bdl_tensor *t) {
  const bdl_var *v = &q->vars.v[x];
  if (v->kind == BDL_V_LITERAL) return bdl_tensor_scalar(cpu, v->aval.dtype, v->literal, t);
  *t = bdl_tensor_ref(&q->consts.v[v->index]);
  return BDL_OK;
}

static bdl_status take_result(bdl_rewrite *r, bdl_atom x, const bdl_tensor *t) {
  bdl_atom z = BDL_ZERO;
  if (t->aval.ndim == 0) TRY(bdl_ir_literal(r->q, t->aval.dtype, bdl_tensor_at(t, 0), &z));
  else TRY(bdl_ir_const(r->q, t, &z));
  r->changed = true;
  return bdl_ir_rw_set(r, x, z);
}

/* t: room for operands, then results.  An equation that fails now is left to fail when the program runs. */
static bdl_status fold_eqn(bdl_rewrite *r, const bdl_eqn *e, const bdl_atom *in, bdl_eval_eqn eval, bdl_tensor *t) {
  bdl_device *cpu = bdl_device_cpu(r->p->ctx);
  if (!cpu) return BDL_ENOMEM;
  for (int k = 0; k < e->n_in; k++) TRY(operand(cpu, r->q, in[k], &t[k]));
  const bdl_status s = eval(r->p->ctx, r->p, e, t, t + e->n_in);
  if (s == BDL_ENOMEM || s == BDL_EINTERRUPT) return s;
  if (s != BDL_OK) {
    bdl_clear_error(r->p->ctx);
    return bdl_ir_rw_copy(r, e);
  }
  for (int k = 0; k < e->n_out; k++) TRY(take_result(r, e->out[k], &t[e->n_in + k]));
  return BDL_OK;
}

static bdl_status walk(bdl_rewrite *r, bdl_eval_eqn eval) {
  for (int64_t i = 0; i < r->p->eqns.n; i++) {
    const bdl_eqn *e = &r->p->eqns.v[i];
    const bdl_atom *in = bdl_ir_rw_operands(r, e);
    if (!in) return BDL_ENOMEM;
    if (!can_fold(r, e, in)) {
      TRY(bdl_ir_rw_copy_bodies(r, e, fold_body, &eval));
      continue;
    }
    bdl_tensor *t = bdl_arena_alloc(&r->scratch, (size_t)(e->n_in + e->n_out) * sizeof *t);
    if (!t) return BDL_ENOMEM;
    const bdl_status s = fold_eqn(r, e, in, eval, t);
    for (int k = 0; k < e->n_in + e->n_out; k++)
      if (t[k].buf) bdl_tensor_unref(&t[k]);
    TRY(s);
  }
  return BDL_OK;
}

/* Is there anything to look at? */
static bool worth_a_walk(const bdl_prog *p) {
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    bool all = e->n_in > 0 && e->prim != BDL_P_broadcast;
    for (int k = 0; k < e->n_in; k++) all = all && is_constant(p, e->in[k]);
    if (all || bdl_ir_has_bodies(e)) return true;
  }
  return false;
}

bdl_status bdl_pass_fold(const bdl_prog *p, bdl_eval_eqn eval, bdl_prog **q) {
  bdl_rewrite r;
  if (!eval || !worth_a_walk(p)) return bdl_prog_ref(*q = (bdl_prog *)p), BDL_OK;
  bdl_status s = bdl_ir_rw_begin(&r, p);
  if (s == BDL_OK) s = walk(&r, eval);
  return bdl_ir_rw_end(&r, s, q);
}

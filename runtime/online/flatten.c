/*
** flatten.c -- a step in which every etrace_op stands at the top.
*/
#include "online/online.h"

#include "ir/rewrite.h"

enum { LONGEST = 64 }; /* rounds of a loop that is written out */

static bool holds_op(const bdl_prog *p) {
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    if (e->prim == BDL_P_etrace_op) return true;
    for (int k = 0; k < e->n_params; k++)
      for (int b = 0; e->params[k].kind == BDL_PK_PROGS && b < e->params[k].n; b++)
        if (holds_op(e->params[k].progs[b])) return true;
  }
  return false;
}

static bdl_status walk(bdl_rewrite *r);

/* q's equations in the same program; out: its outputs. */
static bdl_status inlined(bdl_rewrite *r, const bdl_prog *q, const bdl_atom *in, bdl_atom *out) {
  bdl_rewrite inner;
  bdl_status s = bdl_ir_rw_begin_in(&inner, q, r->q, in);
  if (s == BDL_OK) s = walk(&inner);
  for (int k = 0; s == BDL_OK && k < q->n_outputs; k++) s = bdl_ir_rw_atom(&inner, q->outputs[k], &out[k]);
  bdl_ir_rw_fini(&inner);
  return s;
}

/* Both branches, then a choice; the index is clamped as cond does it. */
static bdl_status branches(bdl_rewrite *r, const bdl_eqn *e, const bdl_atom *in) {
  bdl_prog *q = r->q;
  const int n = e->params[0].n;
  bdl_atom *out = bdl_arena_alloc(&r->scratch, ((size_t)n * (size_t)e->n_out + 1) * sizeof *out);
  if (!out) return BDL_ENOMEM;
  for (int b = 0; b < n; b++) TRY(inlined(r, e->params[0].progs[b], in + 1, out + b * e->n_out));
  for (int k = 0; k < e->n_out; k++) {
    bdl_atom z = out[(n - 1) * e->n_out + k];
    for (int b = n - 2; b >= 0; b--) {
      bdl_atom at, here;
      TRY(bdl_ir_scalar(q, bdl_aval_of(q, in[0])->dtype, b, &at));
      TRY(bdl_bind2(q, BDL_P_le, in[0], at, &here));
      TRY(bdl_bind3(q, BDL_P_select, here, out[b * e->n_out + k], z, &z));
    }
    TRY(bdl_ir_rw_set(r, e->out[k], z));
  }
  return BDL_OK;
}

static bdl_status row(bdl_prog *q, bdl_atom xs, int64_t i, bdl_atom *x) {
  const bdl_aval *a = bdl_aval_of(q, xs);
  int64_t start[BDL_MAX_NDIM] = {i}, stop[BDL_MAX_NDIM] = {i + 1}, step[BDL_MAX_NDIM] = {1}, shape[BDL_MAX_NDIM];
  const int n = a->ndim;
  for (int k = 1; k < n; k++) start[k] = 0, stop[k] = shape[k - 1] = a->shape[k], step[k] = 1;
  TRY(bdl_bind(q, BDL_P_slice, (bdl_param[]){bdl_pints(start, n), bdl_pints(stop, n), bdl_pints(step, n)}, &xs, 1, x));
  return bdl_ir_reshape(q, *x, n - 1, shape, x);
}

static bdl_status unrolled(bdl_rewrite *r, const bdl_eqn *e, const bdl_atom *in) {
  bdl_prog *q = r->q;
  const bdl_prog *body = e->params[4].progs[0];
  const int64_t consts = e->params[0].i, carry = e->params[1].i, length = e->params[2].i, n_xs = e->n_in - consts - carry;
  const int n_ys = e->n_out - (int)carry;
  bdl_atom *now = bdl_arena_alloc(&r->scratch, ((size_t)e->n_in + 1) * sizeof *now);
  bdl_atom *out = bdl_arena_alloc(&r->scratch, ((size_t)e->n_out + 1) * sizeof *out);
  bdl_atom *ys = bdl_arena_alloc(&r->scratch, ((size_t)n_ys * (size_t)length + 1) * sizeof *ys);
  if (!now || !out || !ys) return BDL_ENOMEM;
  for (int64_t k = 0; k < consts + carry; k++) now[k] = in[k];
  for (int64_t t = 0; t < length; t++) {
    const int64_t i = e->params[3].i ? length - 1 - t : t;
    for (int64_t k = 0; k < n_xs; k++) TRY(row(q, in[consts + carry + k], i, &now[consts + carry + k]));
    TRY(inlined(r, body, now, out));
    for (int64_t k = 0; k < carry; k++) now[consts + k] = out[k];
    for (int k = 0; k < n_ys; k++) {
      const bdl_aval *a = bdl_aval_of(q, out[carry + k]);
      int64_t shape[BDL_MAX_NDIM] = {1};
      for (int d = 0; d < a->ndim; d++) shape[d + 1] = a->shape[d];
      TRY(bdl_ir_reshape(q, out[carry + k], a->ndim + 1, shape, &ys[k * length + i]));
    }
  }
  for (int64_t k = 0; k < carry; k++) TRY(bdl_ir_rw_set(r, e->out[k], now[consts + k]));
  for (int k = 0; k < n_ys; k++) {
    bdl_atom z;
    TRY(bdl_bind(q, BDL_P_concatenate, (bdl_param[]){bdl_pint(0)}, ys + k * length, (int)length, &z));
    TRY(bdl_ir_rw_set(r, e->out[carry + k], z));
  }
  return BDL_OK;
}

/* May all branches run where one was meant to?  They have no effect and cannot fail. */
static bool harmless(const bdl_eqn *e) {
  for (int b = 0; b < e->params[0].n; b++) {
    const bdl_prog *p = e->params[0].progs[b];
    for (int64_t i = 0; i < p->eqns.n; i++)
      if (bdl_ir_has_effect(&p->eqns.v[i]) || bdl_ir_can_fail(&p->eqns.v[i])) return false;
  }
  return true;
}

static bdl_status equation(bdl_rewrite *r, const bdl_eqn *e) {
  bool op = false;
  for (int b = 0; e->n_params && e->params[e->n_params - 1].kind == BDL_PK_PROGS && b < e->params[e->n_params - 1].n; b++)
    op |= holds_op(e->params[e->n_params - 1].progs[b]);
  const bool shown = (e->prim == BDL_P_cond && harmless(e)) || (e->prim == BDL_P_scan && e->params[2].i > 0 && e->params[2].i <= LONGEST);
  if (!op || !shown) return bdl_ir_rw_copy(r, e);
  bdl_atom *in = bdl_ir_rw_operands(r, e);
  if (!in) return BDL_ENOMEM;
  r->changed = true;
  return e->prim == BDL_P_cond ? branches(r, e, in) : unrolled(r, e, in);
}

static bdl_status walk(bdl_rewrite *r) {
  for (int64_t i = 0; i < r->p->eqns.n; i++) TRY(equation(r, &r->p->eqns.v[i]));
  return BDL_OK;
}

bdl_status bdl_online_flatten(const bdl_prog *p, bdl_prog **q) {
  bdl_prog *plain = NULL;
  bdl_rewrite r;
  TRY(bdl_ir_inline_wrappers(p, &plain));
  bdl_status s = bdl_ir_rw_begin(&r, plain);
  if (s == BDL_OK) s = walk(&r);
  s = bdl_ir_rw_end(&r, s, q);
  bdl_prog_unref(plain);
  return s;
}

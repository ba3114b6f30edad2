/*
** inline.c -- equations that run as their first body become its equations; what only derivatives see goes with them.
*/
#include "ir/rewrite.h"
#include "prim/rules.h"

bool bdl_ir_is_call(bdl_prim_id p) {
  return p == BDL_P_call || p == BDL_P_etrace_op || p == BDL_P_checkpoint || p == BDL_P_custom_jvp || p == BDL_P_custom_vjp;
}

bool bdl_ir_is_inlined(bdl_prim_id p) { return bdl_ir_is_call(p) || p == BDL_P_across; }

static bool is_plain_call(bdl_prim_id p) { return p == BDL_P_call || p == BDL_P_etrace_op; }
static bool is_wrapper(bdl_prim_id p) { return p == BDL_P_call || p == BDL_P_checkpoint; }

typedef bool (*choice)(bdl_prim_id p);

static bdl_status inline_calls(const bdl_prog *p, choice which, bdl_prog **q);

static bdl_status pass_body(void *ud, const bdl_prog *p, bdl_prog **q) { return inline_calls(p, *(choice *)ud, q); }

static bdl_status walk(bdl_rewrite *r, choice which);

/* A walk of its own over the body, into the same program. */
static bdl_status inline_call(bdl_rewrite *r, const bdl_eqn *e, choice which) {
  const bdl_prog *body = e->params[0].progs[0];
  bdl_rewrite inner;
  bdl_atom *in = bdl_ir_rw_operands(r, e), z = BDL_ZERO;
  if (!in) return BDL_ENOMEM;
  bdl_status s = bdl_ir_rw_begin_in(&inner, body, r->q, in);
  if (s == BDL_OK) s = walk(&inner, which);
  for (int k = 0; s == BDL_OK && k < e->n_out; k++) {
    s = bdl_ir_rw_atom(&inner, body->outputs[k], &z);
    if (s == BDL_OK) s = bdl_ir_rw_set(r, e->out[k], z);
  }
  bdl_ir_rw_fini(&inner);
  r->changed = true;
  return s;
}

/* stop_gradient x -> x, across x -> reduction over all axes.  No earlier: a program may be differentiated or batched again. */
static bdl_status pass_value(bdl_rewrite *r, const bdl_eqn *e) {
  static const int64_t axes[BDL_MAX_NDIM] = {0, 1, 2, 3, 4, 5, 6, 7};
  _Static_assert(BDL_MAX_NDIM == 8, "axes lists all");
  bdl_atom x;
  TRY(bdl_ir_rw_atom(r, e->in[0], &x));
  r->changed = true;
  if (e->prim == BDL_P_across) {
    const bdl_param all = bdl_pints(axes, bdl_aval_of(r->q, x)->ndim);
    r->q->src = e->src;
    TRY(bdl_bind(r->q, bdl_rule_across(e), &all, &x, 1, &x));
  }
  return bdl_ir_rw_set(r, e->out[0], x);
}

static bool is_marker(const bdl_eqn *e, choice which) {
  return (e->prim == BDL_P_stop_gradient || e->prim == BDL_P_across) && which == bdl_ir_is_call;
}

static bdl_status walk(bdl_rewrite *r, choice which) {
  for (int64_t i = 0; i < r->p->eqns.n; i++) {
    const bdl_eqn *e = &r->p->eqns.v[i];
    if (is_marker(e, which)) TRY(pass_value(r, e));
    else TRY(which(e->prim) ? inline_call(r, e, which) : bdl_ir_rw_copy_bodies(r, e, pass_body, &which));
  }
  return BDL_OK;
}

static bdl_status inline_calls(const bdl_prog *p, choice which, bdl_prog **q) {
  bdl_rewrite r;
  bdl_status s = BDL_OK;
  bool any = false;
  for (int64_t i = 0; i < p->eqns.n; i++) any |= bdl_ir_has_bodies(&p->eqns.v[i]) || is_marker(&p->eqns.v[i], which);
  if (!any) return bdl_prog_ref(*q = (bdl_prog *)p), BDL_OK;
  s = bdl_ir_rw_begin(&r, p);
  if (s == BDL_OK) s = walk(&r, which);
  return bdl_ir_rw_end(&r, s, q);
}

bdl_status bdl_pass_inline(const bdl_prog *p, bdl_prog **q) { return inline_calls(p, bdl_ir_is_call, q); }
bdl_status bdl_ir_inline_plain(const bdl_prog *p, bdl_prog **q) { return inline_calls(p, is_plain_call, q); }
bdl_status bdl_ir_inline_wrappers(const bdl_prog *p, bdl_prog **q) { return inline_calls(p, is_wrapper, q); }

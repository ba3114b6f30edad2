/*
** inline.c -- `call` equations become the equations of their bodies.
*/
#include "ir/rewrite.h"

static bdl_status pass_body(void *ud, const bdl_prog *p, bdl_prog **q) {
  (void)ud;
  return bdl_pass_inline(p, q);
}

static bdl_status walk(bdl_rewrite *r);

/* A walk of its own over the body, into the same program. */
static bdl_status inline_call(bdl_rewrite *r, const bdl_eqn *e) {
  const bdl_prog *body = e->params[0].progs[0];
  bdl_rewrite inner;
  bdl_atom *in = bdl_ir_rw_operands(r, e), z = BDL_ZERO;
  if (!in) return BDL_ENOMEM;
  bdl_status s = bdl_ir_rw_begin_in(&inner, body, r->q, in);
  if (s == BDL_OK) s = walk(&inner);
  for (int k = 0; s == BDL_OK && k < e->n_out; k++) {
    s = bdl_ir_rw_atom(&inner, body->outputs[k], &z);
    if (s == BDL_OK) s = bdl_ir_rw_set(r, e->out[k], z);
  }
  bdl_ir_rw_fini(&inner);
  r->changed = true;
  return s;
}

static bdl_status walk(bdl_rewrite *r) {
  for (int64_t i = 0; i < r->p->eqns.n; i++) {
    const bdl_eqn *e = &r->p->eqns.v[i];
    TRY(e->prim == BDL_P_call ? inline_call(r, e) : bdl_ir_rw_copy_bodies(r, e, pass_body, NULL));
  }
  return BDL_OK;
}

bdl_status bdl_pass_inline(const bdl_prog *p, bdl_prog **q) {
  bdl_rewrite r;
  bdl_status s = BDL_OK;
  bool any = false;
  for (int64_t i = 0; i < p->eqns.n; i++) any |= bdl_ir_has_bodies(&p->eqns.v[i]);
  if (!any) return bdl_prog_ref(*q = (bdl_prog *)p), BDL_OK;
  s = bdl_ir_rw_begin(&r, p);
  if (s == BDL_OK) s = walk(&r);
  return bdl_ir_rw_end(&r, s, q);
}

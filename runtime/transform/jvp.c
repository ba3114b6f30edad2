/*
** jvp.c -- forward mode.  An equation none of whose operands has a tangent is only copied.
*/
#include <string.h>

#include "ir/rewrite.h"
#include "transform/linear.h"

bdl_status bdl_transform_no_rule(const bdl_prog *p, const bdl_eqn *e, const char *what) {
  bdl_fail(p->ctx, BDL_ENOTSUP, "%s: %s is not supported", bdl_prims[e->prim].name, what);
  bdl_where(p->ctx, e->src);
  return BDL_ENOTSUP;
}

/* dx: of each variable of p.  The tangents of an equation's results, after the equation itself. */
static bdl_status push_eqn(bdl_rewrite *r, const bdl_eqn *e, bdl_atom *dx) {
  bdl_prog *b = r->q;
  bool any = false;
  for (int k = 0; k < e->n_in; k++) any |= !bdl_is_zero(dx[e->in[k]]);
  TRY(bdl_ir_rw_copy(r, e));
  if (!any) return BDL_OK;
  if (!bdl_prims[e->prim].jvp) {
    bool floats = false;
    for (int k = 0; k < e->n_out; k++) floats |= bdl_transform_is_float(b, r->map[e->out[k]]);
    return floats || bdl_ir_has_bodies(e) ? bdl_transform_no_rule(r->p, e, "forward differentiation") : BDL_OK;
  }
  bdl_atom *x = bdl_ir_rw_operands(r, e);
  bdl_atom *t = bdl_arena_alloc(&r->scratch, (size_t)e->n_in * sizeof *t);
  bdl_atom *z = bdl_arena_alloc(&r->scratch, (size_t)e->n_out * sizeof *z);
  bdl_atom *dz = bdl_arena_alloc(&r->scratch, (size_t)e->n_out * sizeof *dz);
  if (!x || !t || !z || !dz) return BDL_ENOMEM;
  for (int k = 0; k < e->n_in; k++) t[k] = dx[e->in[k]];
  for (int k = 0; k < e->n_out; k++) {
    z[k] = r->map[e->out[k]];
    dz[k] = BDL_ZERO;
  }
  b->src = e->src;
  const bdl_status s = bdl_prims[e->prim].jvp(b, e, x, t, z, dz);
  if (s != BDL_OK) bdl_where(b->ctx, e->src);
  TRY(s);
  for (int k = 0; k < e->n_out; k++) {
    dx[e->out[k]] = bdl_transform_is_float(b, z[k]) ? dz[k] : BDL_ZERO;
    BDL_ASSERT(bdl_is_zero(dx[e->out[k]]) || bdl_aval_eq(bdl_aval_of(b, z[k]), bdl_aval_of(b, dz[k])),
               "the tangent of %s has another type", bdl_prims[e->prim].name);
  }
  return BDL_OK;
}

/* p: without calls */
static bdl_status push(const bdl_prog *p, const bool *active, bdl_rewrite *r, bdl_linearised *l) {
  bdl_atom *dx = bdl_arena_alloc(&l->scratch, (size_t)p->vars.n * sizeof *dx);
  l->out = bdl_arena_alloc(&l->scratch, (size_t)p->n_outputs * sizeof *l->out);
  l->tangent = bdl_arena_alloc(&l->scratch, (size_t)p->n_outputs * sizeof *l->tangent);
  if (!dx || !l->out || !l->tangent) return BDL_ENOMEM;
  memset(dx, 0xff, (size_t)p->vars.n * sizeof *dx); /* BDL_ZERO */
  for (int64_t i = 0; i < p->inputs.n; i++)
    if (bdl_transform_is_active(p, active, i)) TRY(bdl_ir_input(r->q, bdl_aval_of(p, p->inputs.v[i]), &dx[p->inputs.v[i]]));
  for (int64_t i = 0; i < p->eqns.n; i++) TRY(push_eqn(r, &p->eqns.v[i], dx));
  for (int i = 0; i < p->n_outputs; i++) {
    TRY(bdl_ir_rw_atom(r, p->outputs[i], &l->out[i]));
    l->tangent[i] = dx[p->outputs[i]];
  }
  return BDL_OK;
}

bdl_status bdl_transform_linearise(const bdl_prog *p, const bool *active, bdl_linearised *l) {
  bdl_rewrite r;
  bdl_prog *flat = NULL;
  *l = (bdl_linearised){.b = NULL};
  bdl_arena_init(&l->scratch, p->ctx);
  TRY(bdl_pass_inline(p, &flat));
  bdl_status s = bdl_ir_rw_begin(&r, flat);
  if (s == BDL_OK) s = push(flat, active, &r, l);
  if (s == BDL_OK) l->b = r.q;
  else bdl_prog_unref(r.q);
  bdl_ir_rw_fini(&r);
  bdl_prog_unref(flat);
  return s;
}

void bdl_transform_linearised_fini(bdl_linearised *l) {
  bdl_prog_unref(l->b);
  bdl_arena_fini(&l->scratch);
}

static bdl_status finish(const bdl_prog *p, bdl_linearised *l, bdl_prog **q) {
  bdl_atom *out = bdl_arena_alloc(&l->scratch, (size_t)p->n_outputs * 2 * sizeof *out);
  int n = p->n_outputs;
  if (!out) return BDL_ENOMEM;
  for (int i = 0; i < p->n_outputs; i++) {
    out[i] = l->out[i];
    if (!bdl_transform_is_float(l->b, out[i])) continue;
    out[n] = l->tangent[i];
    if (bdl_is_zero(out[n])) TRY(bdl_ir_full(l->b, bdl_aval_of(l->b, out[i]), 0, &out[n]));
    n++;
  }
  TRY(bdl_prog_set_outputs(l->b, out, n));
  return bdl_pass_dce(l->b, q);
}

bdl_status bdl_transform_jvp(const bdl_prog *p, const bool *active, bdl_prog **q) {
  bdl_linearised l;
  bdl_status s = bdl_transform_linearise(p, active, &l);
  if (s == BDL_OK) s = finish(p, &l, q);
  bdl_transform_linearised_fini(&l);
  return s;
}

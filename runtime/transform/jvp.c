/*
** jvp.c -- forward mode.  An equation none of whose operands has a tangent is only copied.
*/
#include <string.h>

#include "transform/linear.h"

bdl_status bdl_transform_no_rule(const bdl_prog *p, const bdl_eqn *e, const char *what) {
  bdl_fail(p->ctx, BDL_ENOTSUP, "%s: %s is not supported", bdl_prims[e->prim].name, what);
  bdl_where(p->ctx, e->src);
  return BDL_ENOTSUP;
}

static bdl_status control(bdl_control *c) {
  switch (c->e->prim) {
    case BDL_P_scan: return bdl_linearise_scan(c);
    case BDL_P_while: return bdl_linearise_while(c);
    case BDL_P_cond: return bdl_linearise_cond(c);
    default: return bdl_linearise_call(c);
  }
}

static bdl_status set_results(bdl_rewrite *r, const bdl_eqn *e, const bdl_atom *z, const bdl_atom *dz, bdl_atom *dx) {
  for (int k = 0; k < e->n_out; k++) {
    if (bdl_is_zero(r->map[e->out[k]])) TRY(bdl_ir_rw_set(r, e->out[k], z[k]));
    dx[e->out[k]] = bdl_transform_is_float(r->q, z[k]) ? dz[k] : BDL_ZERO;
    BDL_ASSERT(bdl_is_zero(dx[e->out[k]]) || bdl_aval_eq(bdl_aval_of(r->q, z[k]), bdl_aval_of(r->q, dz[k])),
               "the tangent of %s has another type", bdl_prims[e->prim].name);
  }
  return BDL_OK;
}

static bdl_status copy_once(bdl_rewrite *r, const bdl_eqn *e) {
  return e->n_out && !bdl_is_zero(r->map[e->out[0]]) ? BDL_OK : bdl_ir_rw_copy(r, e);
}

bdl_status bdl_transform_push(bdl_rewrite *r, const bdl_eqn *e, bdl_mode mode, bdl_atom *dx) {
  bdl_prog *b = r->q;
  bdl_atom *t, *z, *dz;
  bool any = false;
  for (int k = 0; k < e->n_in; k++) any |= !bdl_is_zero(dx[e->in[k]]);
  if (!any) return copy_once(r, e);
  bdl_atom *x = bdl_ir_rw_operands(r, e);
  if (!x || !BDL_ARRAY(&r->scratch, t, e->n_in) || !BDL_ARRAY(&r->scratch, z, e->n_out) || !BDL_ARRAY(&r->scratch, dz, e->n_out))
    return BDL_ENOMEM;
  for (int k = 0; k < e->n_in; k++) t[k] = dx[e->in[k]];
  for (int k = 0; k < e->n_out; k++) dz[k] = BDL_ZERO;
  b->src = e->src;
  bdl_status s = BDL_OK;
  if (bdl_ir_has_bodies(e)) {
    s = control(&(bdl_control){b, e, x, t, z, dz, mode, &r->scratch});
  } else {
    TRY(copy_once(r, e));
    bool floats = false;
    for (int k = 0; k < e->n_out; k++) {
      z[k] = r->map[e->out[k]];
      floats |= bdl_transform_is_float(b, z[k]);
    }
    if (bdl_prims[e->prim].jvp) s = bdl_prims[e->prim].jvp(b, e, x, t, z, dz);
    else if (floats) return bdl_transform_no_rule(r->p, e, "forward differentiation");
  }
  if (s != BDL_OK) bdl_where(b->ctx, e->src);
  TRY(s);
  return set_results(r, e, z, dz, dx);
}

/* p: without calls */
static bdl_status push(const bdl_prog *p, const bool *active, bdl_mode mode, bdl_rewrite *r, bdl_linearised *l) {
  bdl_atom *dx;
  if (!BDL_ARRAY(&l->scratch, dx, p->vars.n) || !BDL_ARRAY(&l->scratch, l->out, p->n_outputs) ||
      !BDL_ARRAY(&l->scratch, l->tangent, p->n_outputs))
    return BDL_ENOMEM;
  memset(dx, 0xff, (size_t)p->vars.n * sizeof *dx); /* BDL_ZERO */
  for (int64_t i = 0; i < p->inputs.n; i++)
    if (bdl_transform_is_active(p, active, i)) TRY(bdl_ir_input(r->q, bdl_aval_of(p, p->inputs.v[i]), &dx[p->inputs.v[i]]));
  for (int64_t i = 0; i < p->eqns.n; i++) TRY(bdl_transform_push(r, &p->eqns.v[i], mode, dx));
  for (int i = 0; i < p->n_outputs; i++) {
    TRY(bdl_ir_rw_atom(r, p->outputs[i], &l->out[i]));
    l->tangent[i] = dx[p->outputs[i]];
  }
  return BDL_OK;
}

bdl_status bdl_transform_linearise(const bdl_prog *p, const bool *active, bdl_mode mode, bdl_linearised *l) {
  bdl_rewrite r;
  bdl_prog *flat = NULL;
  *l = (bdl_linearised){.n_in = p->inputs.n, .n_out = p->n_outputs};
  bdl_arena_init(&l->scratch, p->ctx);
  TRY(bdl_ir_inline_plain(p, &flat));
  bdl_status s = bdl_ir_rw_begin(&r, flat);
  if (s == BDL_OK) s = push(flat, active, mode, &r, l);
  if (s == BDL_OK) l->b = r.q;
  else bdl_prog_unref(r.q);
  bdl_ir_rw_fini(&r);
  bdl_prog_unref(flat);
  return s;
}

static bdl_status simplified(bdl_prog **p) {
  static const bdl_pass passes[] = {bdl_pass_simplify, bdl_pass_cse, bdl_pass_dce};
  for (int i = 0; i < BDL_LEN(passes); i++) {
    bdl_prog *q = NULL;
    TRY(passes[i](*p, &q));
    bdl_prog_unref(*p);
    *p = q;
  }
  return BDL_OK;
}

bdl_status bdl_transform_linearised_end(bdl_linearised *l, const bool *want) {
  bdl_atom *all;
  int n = l->n_out;
  if (!BDL_ARRAY(&l->scratch, all, 2 * l->n_out)) return BDL_ENOMEM;
  for (int i = 0; i < l->n_out; i++) {
    all[i] = l->out[i];
    if (want && want[i] && bdl_transform_is_float(l->b, all[i]))
      TRY(bdl_or_zeros(l->b, l->tangent[i], bdl_aval_of(l->b, all[i]), &l->tangent[i]));
    if (!bdl_is_zero(l->tangent[i])) all[n++] = l->tangent[i];
  }
  TRY(bdl_prog_set_outputs(l->b, all, n));
  TRY(simplified(&l->b));
  memcpy(l->out, l->b->outputs, (size_t)l->n_out * sizeof *l->out);
  for (int i = 0, k = l->n_out; i < l->n_out; i++)
    if (!bdl_is_zero(l->tangent[i])) l->tangent[i] = l->b->outputs[k++];
  return BDL_OK;
}

void bdl_transform_linearised_fini(bdl_linearised *l) {
  if (l->b) bdl_prog_unref(l->b);
  bdl_arena_fini(&l->scratch);
  l->b = NULL;
}

bdl_status bdl_transform_linearise_loop(const bdl_prog *body, bool *active, int64_t carry, int64_t n_carry, bdl_mode mode,
                                        bdl_linearised *l) {
  for (;;) {
    bool grew = false;
    TRY(bdl_transform_linearise(body, active, mode, l));
    for (int64_t i = 0; i < n_carry; i++) {
      if (active[carry + i] || bdl_is_zero(l->tangent[i])) continue;
      grew = active[carry + i] = true;
    }
    if (!grew) return BDL_OK;
    bdl_transform_linearised_fini(l);
  }
}

bdl_status bdl_transform_jvp(const bdl_prog *p, const bool *active, bdl_prog **q) {
  bdl_linearised l;
  bool *want = NULL;
  bdl_status s = bdl_transform_linearise(p, active, BDL_FORWARD, &l);
  if (s == BDL_OK && !BDL_ARRAY(&l.scratch, want, l.n_out)) s = BDL_ENOMEM;
  if (s == BDL_OK) {
    memset(want, true, (size_t)l.n_out);
    s = bdl_transform_linearised_end(&l, want);
  }
  if (s == BDL_OK) bdl_prog_ref(*q = l.b);
  bdl_transform_linearised_fini(&l);
  return s;
}

/*
** accumulate.c -- what is added into zeros, to be added to a value, is added to the value.
**
**     z = scatter[op=add] 0 i u, add y z            ->  scatter[op=add] y i u
**     z = dynamic_update_slice 0 u at, add y z      ->  dynamic_update_slice y (u + dynamic_slice y at) at
**
** Gradients of what a loop picks with an index: a round then costs what it picks, not all that there is.  Sums are rounded in another
** order where an index comes twice.
*/
#include <string.h>

#include "ir/rewrite.h"

/* The equation that adds into zeros, for the sum e of that and *other, and for nobody else; NULL: none. */
static const bdl_eqn *part_of(const bdl_prog *p, const int32_t *uses, const bdl_eqn *e, bdl_atom *other) {
  for (int k = 0; e->prim == BDL_P_add && k < 2; k++) {
    const bdl_eqn *d = bdl_ir_maker(p, e->in[k]);
    *other = e->in[1 - k];
    if (!d || uses[e->in[k]] != 1 || !bdl_aval_eq(bdl_aval_of(p, *other), bdl_aval_of(p, e->in[k]))) continue;
    if (!bdl_aval_eq(bdl_aval_of(p, *other), bdl_aval_of(p, e->out[0]))) continue;
    const bool scatter = d->prim == BDL_P_scatter || d->prim == BDL_P_scatter_along;
    if (scatter ? strcmp(d->params[1].s, "add") != 0 : d->prim != BDL_P_dynamic_update_slice) continue;
    if (bdl_ir_is_literal(p, d->in[0], 0)) return d;
  }
  return NULL;
}

static bdl_status add_at_once(bdl_rewrite *r, const bdl_eqn *d, const bdl_eqn *e, bdl_atom other) {
  bdl_atom *in = bdl_ir_rw_operands(r, d), part, z;
  if (!in) return BDL_ENOMEM;
  r->q->src = d->src;
  TRY(bdl_ir_rw_atom(r, other, &in[0]));
  if (d->prim == BDL_P_dynamic_update_slice) {
    const bdl_aval u = *bdl_aval_of(r->q, in[1]);
    bdl_atom *from = bdl_arena_alloc(&r->scratch, (size_t)d->n_in * sizeof *from);
    if (!from) return BDL_ENOMEM;
    from[0] = in[0];
    memcpy(from + 1, in + 2, (size_t)(d->n_in - 2) * sizeof *from);
    TRY(bdl_bind(r->q, BDL_P_dynamic_slice, (bdl_param[]){bdl_pints(u.shape, u.ndim)}, from, d->n_in - 1, &part));
    TRY(bdl_bind2(r->q, BDL_P_add, part, in[1], &in[1]));
  }
  TRY(bdl_bind(r->q, d->prim, d->params, in, d->n_in, &z));
  r->changed = true;
  return bdl_ir_rw_set(r, e->out[0], z);
}

static bdl_status of_body(void *ud, const bdl_prog *p, bdl_prog **q) {
  (void)ud;
  return bdl_pass_accumulate(p, q);
}

static bdl_status walk(bdl_rewrite *r) {
  const bdl_prog *p = r->p;
  const int32_t *uses = bdl_ir_uses(p, &r->scratch);
  bdl_atom other;
  if (!uses) return BDL_ENOMEM;
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i], *d = part_of(p, uses, e, &other);
    TRY(d ? add_at_once(r, d, e, other) : bdl_ir_rw_copy_bodies(r, e, of_body, NULL));
  }
  return BDL_OK;
}

bdl_status bdl_pass_accumulate(const bdl_prog *p, bdl_prog **q) {
  bdl_rewrite r;
  bdl_status s = bdl_ir_rw_begin(&r, p);
  if (s == BDL_OK) s = walk(&r);
  if (s == BDL_OK) r.q->src = p->src;
  return bdl_ir_rw_end(&r, s, q);
}

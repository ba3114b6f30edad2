/*
** epilogue.c -- what is added to a product is added while its elements are in registers: a pass over memory less.
**
**     y = dot x w, z = add y b     ->  z = dot_add[onto=0] x w b     b: a number a column; no group reads z
**     y = dot x w, t = add s y     ->  t = dot_add[onto=1] x w s     a loop carries s, and t in its place
**
** Where the product is one pass of register blocks: elements that meet memory in between would have no place but s.
*/
#include <string.h>

#include "exec/lower.h"
#include "ir/rewrite.h"
#include "plan/build.h"

typedef struct finder {
  const bdl_prog *p;
  int64_t first, carry; /* the first carried input, and how many */
  int32_t *uses;        /* by variable: operands and results */
} finder;

/* Is z read one element at a time, or reduced to one, so that a group reads it that the sum is part of? */
static bool joins_a_group(const bdl_prog *p, bdl_atom z) {
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    for (int k = 0; k < e->n_in; k++) {
      if (e->in[k] != z) continue;
      if (bdl_lowering_of(e->prim)->kind == BDL_LOWER_TILE || bdl_schedule_is_root(p, e)) return true;
      if (e->prim == BDL_P_reshape && joins_a_group(p, e->out[0])) return true;
    }
  }
  return false;
}

/* Does the loop carry s, and z in its place, and does nobody else read either? */
static bool is_carried(const finder *f, bdl_atom s, bdl_atom z) {
  const bdl_var *v = &f->p->vars.v[s];
  const int64_t k = v->index - f->first;
  return v->kind == BDL_V_INPUT && k >= 0 && k < f->carry && f->p->outputs[k] == z && f->uses[s] == 1 && f->uses[z] == 1;
}

/* The product that goes with the sum e; *other: what is added to it; NULL: none. */
static const bdl_eqn *product_of(const finder *f, const bdl_eqn *e, bdl_atom *other, bool *onto) {
  const bdl_prog *p = f->p;
  const bdl_aval *z = bdl_aval_of(p, e->out[0]);
  for (int k = 0; e->prim == BDL_P_add && k < 2; k++) {
    const bdl_eqn *d = bdl_ir_maker(p, e->in[k]);
    const bdl_atom y = e->in[k], s = e->in[1 - k];
    if (!d || d->prim != BDL_P_dot || f->uses[y] != 1 || !bdl_aval_eq(bdl_aval_of(p, y), z)) continue;
    *other = s;
    *onto = is_carried(f, s, e->out[0]);
    const bdl_aval *c = bdl_aval_of(p, s);
    const bool row = c->ndim == 1 && z->ndim > 1 && c->shape[0] == z->shape[z->ndim - 1];
    if (!*onto && (!row || joins_a_group(p, e->out[0]))) continue;
    const bdl_aval in[] = {*bdl_aval_of(p, d->in[0]), *bdl_aval_of(p, d->in[1]), *c};
    if (bdl_lower_adds(d->params, in)) return d;
  }
  return NULL;
}

static bdl_status with_sum(bdl_rewrite *r, const bdl_eqn *d, const bdl_eqn *e, bdl_atom other, bool onto) {
  const bdl_param params[] = {d->params[0], d->params[1], d->params[2], d->params[3], bdl_pint(onto)};
  bdl_atom in[3], z;
  TRY(bdl_ir_rw_atom(r, d->in[0], &in[0]));
  TRY(bdl_ir_rw_atom(r, d->in[1], &in[1]));
  TRY(bdl_ir_rw_atom(r, other, &in[2]));
  r->q->src = d->src;
  TRY(bdl_bind(r->q, BDL_P_dot_add, params, in, 3, &z));
  r->changed = true;
  return bdl_ir_rw_set(r, e->out[0], z);
}

static bdl_status walk(finder *f, bdl_prog **q);

static bdl_status of_body(void *ud, const bdl_prog *p, bdl_prog **q) {
  const bdl_eqn *loop = ud;
  finder f = {.p = p};
  if (loop->prim == BDL_P_scan) f.first = loop->params[0].i, f.carry = loop->params[1].i;
  return walk(&f, q);
}

static bdl_status rewrite(bdl_rewrite *r, finder *f) {
  const bdl_prog *p = f->p;
  bool *gone = bdl_arena_alloc(&r->scratch, (size_t)p->eqns.n + 1);
  f->uses = bdl_ir_uses(p, &r->scratch);
  if (!gone || !f->uses) return BDL_ENOMEM;
  memset(gone, 0, (size_t)p->eqns.n);
  bdl_atom other = BDL_ZERO;
  bool onto = false;
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *d = product_of(f, &p->eqns.v[i], &other, &onto);
    if (d) gone[d - p->eqns.v] = true;
  }
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i], *d = product_of(f, e, &other, &onto);
    if (d) TRY(with_sum(r, d, e, other, onto));
    else if (!gone[i]) TRY(bdl_ir_rw_copy_bodies(r, e, of_body, (void *)e));
  }
  return BDL_OK;
}

static bdl_status walk(finder *f, bdl_prog **q) {
  bdl_rewrite r;
  bdl_status s = bdl_ir_rw_begin(&r, f->p);
  if (s == BDL_OK) s = rewrite(&r, f);
  return bdl_ir_rw_end(&r, s, q);
}

bdl_status bdl_plan_add_to_products(const bdl_prog *p, bdl_prog **q) {
  finder f = {.p = p};
  return walk(&f, q);
}

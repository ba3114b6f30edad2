/*
** fixed.c -- weights: in loops, products with a matrix that stays the same.  The bits stay; what comes of the
** matrix alone is moved in front by the pass over invariants.
**
** Of few rows, which may be spikes, a product passes over the zeros.  Zero times infinity is not a number, so a
** glance at the matrix goes first.  Of more rows, packing the matrix at each call would cost 4 (128 rows) to 50 %
** (4 rows) of the product.
**
**     y = dot x w            ->  f = reduce_and (is_finite w)
**                                y = sparse_dot x w f
**
**     y = dot x w            ->  p = dot_pack w
**                                y = packed_dot x w p
*/
#include "cpu/gemm.h"
#include "exec/lower.h"
#include "ir/rewrite.h"
#include "plan/build.h"

enum { LEAST_LENGTH = 32, LEAST_WORK = 4096, MOST_STEPS = 64 };

typedef struct loop {
  const bdl_prog *body;
  int64_t consts, carry;
  int steps; /* left, on the way back to where values come from */
} loop;

static bool is_zero_literal(const loop *L, bdl_atom x) {
  const bdl_eqn *e = bdl_ir_maker(L->body, x);
  return e && e->prim == BDL_P_broadcast ? is_zero_literal(L, e->in[0]) : bdl_ir_is_literal(L->body, x, 0);
}

/* Could x be mostly zeros?  Spikes, inputs from outside, what was rectified; what is made of such in part, or is a multiple. */
static bool may_be_sparse(loop *L, bdl_atom x) {
  const bdl_var *v = &L->body->vars.v[x];
  if (L->steps-- <= 0) return false;
  if (v->kind == BDL_V_INPUT) {
    const int64_t k = v->index - L->consts;
    return k >= L->carry || (k >= 0 && L->body->outputs[k] != x && may_be_sparse(L, L->body->outputs[k]));
  }
  if (v->kind != BDL_V_EQN) return false;
  const bdl_eqn *e = &L->body->eqns.v[v->index];
  switch (e->prim) {
    case BDL_P_cast: return !bdl_dtype_is_float(bdl_aval_of(L->body, e->in[0])->dtype);
    case BDL_P_max: return is_zero_literal(L, e->in[0]) || is_zero_literal(L, e->in[1]);
    case BDL_P_select: return is_zero_literal(L, e->in[1]) || is_zero_literal(L, e->in[2]);
    case BDL_P_copy: case BDL_P_stop_gradient: case BDL_P_reshape: case BDL_P_broadcast: case BDL_P_permute:
    case BDL_P_slice: case BDL_P_reverse: case BDL_P_dynamic_slice: case BDL_P_neg: case BDL_P_div:
      return may_be_sparse(L, e->in[0]);
    case BDL_P_mul: case BDL_P_concatenate:
      for (int k = 0; k < e->n_in; k++)
        if (may_be_sparse(L, e->in[k])) return true;
      return false;
    default: return false;
  }
}

static bool is_fixed(const loop *L, bdl_atom x) {
  const bdl_var *v = &L->body->vars.v[x];
  return v->kind == BDL_V_CONST || (v->kind == BDL_V_INPUT && v->index < L->consts);
}

typedef enum way { AS_IT_IS, SPARSE, PACKED } way;

static way way_of(loop *L, const bdl_eqn *e) {
  const bdl_prog *p = L->body;
  L->steps = MOST_STEPS;
  if (e->prim != BDL_P_dot || !is_fixed(L, e->in[1])) return AS_IT_IS;
  const bdl_aval in[] = {*bdl_aval_of(p, e->in[0]), *bdl_aval_of(p, e->in[1])};
  if (bdl_lower_packs(e->params, in)) return PACKED;
  const bool rows = bdl_aval_numel(&in[1]) >= LEAST_WORK && bdl_lower_is_rows(e->params, in);
  return rows && may_be_sparse(L, e->in[0]) ? SPARSE : AS_IT_IS;
}

static bdl_status packed(bdl_rewrite *r, const bdl_eqn *e) {
  const bdl_atom *in = bdl_ir_rw_operands(r, e);
  const bdl_k_packer *packer = bdl_k_select(r->p->ctx->isa)->packer[bdl_aval_of(r->p, e->in[1])->dtype];
  bdl_atom slivers = BDL_ZERO, z = BDL_ZERO;
  if (!in) return BDL_ENOMEM;
  r->q->src = e->src;
  const bdl_param pack[] = {bdl_pint(e->params[1].ints[0]), bdl_pint(packer->columns)};
  TRY(bdl_bind(r->q, BDL_P_dot_pack, pack, &in[1], 1, &slivers));
  TRY(bdl_bind(r->q, BDL_P_packed_dot, e->params, (bdl_atom[]){in[0], in[1], slivers}, 3, &z));
  r->changed = true;
  return bdl_ir_rw_set(r, e->out[0], z);
}

static bdl_status sparse(bdl_rewrite *r, const bdl_eqn *e) {
  const bdl_atom *in = bdl_ir_rw_operands(r, e);
  const bdl_aval *w = bdl_aval_of(r->p, e->in[1]);
  int64_t axes[BDL_MAX_NDIM];
  bdl_atom finite = BDL_ZERO, z = BDL_ZERO;
  if (!in) return BDL_ENOMEM;
  for (int k = 0; k < w->ndim; k++) axes[k] = k;
  r->q->src = e->src;
  TRY(bdl_bind1(r->q, BDL_P_is_finite, in[1], &finite));
  TRY(bdl_bind(r->q, BDL_P_reduce_and, (bdl_param[]){bdl_pints(axes, w->ndim)}, &finite, 1, &finite));
  TRY(bdl_bind(r->q, BDL_P_sparse_dot, e->params, (bdl_atom[]){in[0], in[1], finite}, 3, &z));
  r->changed = true;
  return bdl_ir_rw_set(r, e->out[0], z);
}

static bdl_status walk(const bdl_prog *p, loop *L, bdl_prog **q);

static bdl_status of_body(void *ud, const bdl_prog *p, bdl_prog **q) {
  loop L = {.body = p};
  if (!ud) return walk(p, NULL, q);
  L.consts = ((const bdl_eqn *)ud)->params[0].i, L.carry = ((const bdl_eqn *)ud)->params[1].i;
  return walk(p, &L, q);
}

/* L: the long loop whose body p is; NULL: p is none. */
static bdl_status walk(const bdl_prog *p, loop *L, bdl_prog **q) {
  bdl_rewrite r;
  bdl_status s = bdl_ir_rw_begin(&r, p);
  for (int64_t i = 0; s == BDL_OK && i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    const bool long_loop = e->prim == BDL_P_scan && e->params[2].i >= LEAST_LENGTH;
    switch (L ? way_of(L, e) : AS_IT_IS) {
      case PACKED: s = packed(&r, e); break;
      case SPARSE: s = sparse(&r, e); break;
      case AS_IT_IS: s = bdl_ir_rw_copy_bodies(&r, e, of_body, long_loop ? (void *)e : NULL); break;
    }
  }
  return bdl_ir_rw_end(&r, s, q);
}

bdl_status bdl_plan_fixed_factors(const bdl_prog *p, bdl_prog **q) {
  bdl_prog *with = NULL;
  TRY(walk(p, NULL, &with));
  if (with == p) return *q = with, BDL_OK;
  const bdl_status s = bdl_pass_hoist(with, q);
  bdl_prog_unref(with);
  return s;
}

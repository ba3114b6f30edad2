/*
** cse.c -- equations that compute the same value become one.  Equal: primitive, parameters and operands, after the
** operands' own equations were merged; bodies are compared by identity.  Equations with effects stay.  Random primitives
** are functions of their keys.
*/
#include <string.h>

#include "ir/rewrite.h"

static bdl_status pass_body(void *ud, const bdl_prog *p, bdl_prog **q) {
  (void)ud;
  return bdl_pass_cse(p, q);
}

static uint64_t hash_param(const bdl_param *x, uint64_t h) {
  switch (x->kind) {
    case BDL_PK_INTS: return bdl_hash(x->ints, (size_t)x->n * sizeof *x->ints, h);
    case BDL_PK_PROGS: return bdl_hash(x->progs, (size_t)x->n * sizeof *x->progs, h);
    case BDL_PK_STR: return bdl_hash(x->s, strlen(x->s), h);
    case BDL_PK_HOST: return bdl_hash(&x->host, sizeof(bdl_host *), h);
    default: return bdl_hash(&x->i, sizeof x->i, h);
  }
}

static uint64_t hash_eqn(const bdl_eqn *e, const bdl_atom *in) {
  uint64_t h = bdl_hash(in, (size_t)e->n_in * sizeof *in, (uint64_t)e->prim);
  for (int i = 0; i < e->n_params; i++) h = hash_param(&e->params[i], h);
  return h;
}

static bool equal(const bdl_eqn *a, const bdl_atom *a_in, const bdl_eqn *b, const bdl_atom *b_in) {
  if (a->prim != b->prim || a->n_in != b->n_in || a->n_out != b->n_out) return false;
  if (a->n_in > 0 && memcmp(a_in, b_in, (size_t)a->n_in * sizeof *a_in) != 0) return false;
  for (int i = 0; i < a->n_params; i++)
    if (!bdl_param_eq(&a->params[i], &b->params[i])) return false;
  return true;
}

/* same[x]: the first variable with the value of x.  Operands of commutative equations are sorted, but not those of floats:
** of two NaNs the first wins, so their order shows. */
static bdl_status find_same(const bdl_prog *p, bdl_arena *scratch, bdl_map *seen, bdl_atom *same, bool *any) {
  bdl_atom **ins = bdl_arena_alloc(scratch, (size_t)p->eqns.n * sizeof *ins);
  if (!ins) return BDL_ENOMEM;
  for (bdl_atom x = 0; x < p->vars.n; x++) same[x] = x;
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    uint64_t first = 0;
    if (bdl_ir_has_effect(e) || (bdl_prims[e->prim].flags & BDL_F_LANES)) continue;
    bdl_atom *in = ins[i] = bdl_arena_alloc(scratch, (size_t)e->n_in * sizeof *in);
    if (!in) return BDL_ENOMEM;
    for (int k = 0; k < e->n_in; k++) in[k] = same[e->in[k]];
    if ((bdl_prims[e->prim].flags & BDL_F_COMMUTATIVE) && !bdl_dtype_is_float(bdl_aval_of(p, e->in[0])->dtype) && in[0] > in[1]) {
      const bdl_atom x = in[0];
      in[0] = in[1];
      in[1] = x;
    }
    const uint64_t key = hash_eqn(e, in);
    if (!bdl_map_get(seen, key, &first)) {
      TRY(bdl_map_put(seen, key, (uint64_t)i));
    } else if (equal(&p->eqns.v[first], ins[first], e, in)) {
      for (int k = 0; k < e->n_out; k++) same[e->out[k]] = p->eqns.v[first].out[k];
      *any |= e->n_out > 0;
    }
  }
  return BDL_OK;
}

static bdl_status walk(bdl_rewrite *r, const bdl_atom *same) {
  for (int64_t i = 0; i < r->p->eqns.n; i++) {
    const bdl_eqn *e = &r->p->eqns.v[i];
    if (e->n_out > 0 && same[e->out[0]] != e->out[0]) {
      for (int k = 0; k < e->n_out; k++) TRY(bdl_ir_rw_set(r, e->out[k], r->map[same[e->out[k]]]));
      r->changed = true;
    } else {
      TRY(bdl_ir_rw_copy_bodies(r, e, pass_body, NULL));
    }
  }
  return BDL_OK;
}

bdl_status bdl_pass_cse(const bdl_prog *p, bdl_prog **q) {
  bdl_arena scratch;
  bdl_map seen;
  bdl_rewrite r;
  bool any = false;
  bdl_arena_init(&scratch, p->ctx);
  bdl_map_init(&seen, p->ctx);
  bdl_atom *same = bdl_arena_alloc(&scratch, (size_t)p->vars.n * sizeof *same);
  bdl_status s = same ? find_same(p, &scratch, &seen, same, &any) : BDL_ENOMEM;
  for (int64_t i = 0; i < p->eqns.n; i++) any |= bdl_ir_has_bodies(&p->eqns.v[i]);
  if (s == BDL_OK && any) {
    s = bdl_ir_rw_begin(&r, p);
    if (s == BDL_OK) s = walk(&r, same);
    s = bdl_ir_rw_end(&r, s, q);
  } else if (s == BDL_OK) {
    bdl_prog_ref(*q = (bdl_prog *)p);
  }
  bdl_map_fini(&seen);
  bdl_arena_fini(&scratch);
  return s;
}

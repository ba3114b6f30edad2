/*
** hash.c -- what a program says, as 64 bits: types, primitives, parameters, who reads what.  Numbers of constants, names and lines
** are no part of it, and nothing in it depends on the process.
*/
#include <string.h>

#include "ir/ir.h"
#include "prim/prim.h"

static uint64_t hash_prog(const bdl_prog *p, uint64_t h);

static uint64_t hash_aval(const bdl_aval *a, uint64_t h) {
  return bdl_hash(a->shape, (size_t)a->ndim * sizeof *a->shape, h * 31 + (uint64_t)a->dtype);
}

static uint64_t hash_param(const bdl_param *x, uint64_t h) {
  switch (x->kind) {
    case BDL_PK_INTS: return bdl_hash(x->ints, (size_t)x->n * sizeof *x->ints, h);
    case BDL_PK_STR: return bdl_hash(x->s, strlen(x->s), h);
    case BDL_PK_HOST: return h;
    case BDL_PK_PROGS:
      for (int k = 0; k < x->n; k++) h = hash_prog(x->progs[k], h);
      return h;
    default: return bdl_hash(&x->i, sizeof x->i, h);
  }
}

static uint64_t hash_prog(const bdl_prog *p, uint64_t h) {
  for (int64_t k = 0; k < p->vars.n; k++) {
    const bdl_var *v = &p->vars.v[k];
    h = hash_aval(&v->aval, h * 31 + (uint64_t)v->kind);
    if (v->kind == BDL_V_LITERAL) h = bdl_hash(&v->literal.bits, bdl_dtype_size(v->aval.dtype), h);
  }
  for (int64_t k = 0; k < p->eqns.n; k++) {
    const bdl_eqn *e = &p->eqns.v[k];
    const char *name = bdl_prims[e->prim].name; /* another bdl numbers its primitives otherwise */
    h = bdl_hash(e->in, (size_t)e->n_in * sizeof *e->in, bdl_hash(name, strlen(name), h));
    h = bdl_hash(e->out, (size_t)e->n_out * sizeof *e->out, h);
    for (int j = 0; j < e->n_params; j++) h = hash_param(&e->params[j], h);
  }
  return bdl_hash(p->outputs, (size_t)p->n_outputs * sizeof *p->outputs, h);
}

uint64_t bdl_ir_hash(const bdl_prog *p) { return hash_prog(p, 0); }

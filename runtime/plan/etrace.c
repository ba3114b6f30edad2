/*
** etrace.c -- a step of a trace and its gradient, once the learning signals are known, as one equation: the trace is
** read and written once.
**
**     e' = etrace_step e ..
**     g  = etrace_grad e' l ..             e', g  = etrace_learn e ..      nobody reads e' in between
**     s' = add s (reshape g)               e', s' = etrace_learn e s ..    nor g anywhere else
*/
#include <string.h>

#include "ir/rewrite.h"
#include "plan/build.h"

/* What happens at an equation. */
typedef struct place {
  bool gone;         /* nothing: it is part of another one */
  int32_t step, grad; /* the equations that become one here; -1: none */
  bdl_atom sum;      /* what the gradient is added to; BDL_ZERO: nothing */
} place;

typedef struct finder {
  const bdl_prog *p;
  int32_t *uses; /* by variable: operands and results */
  place *at;     /* by equation */
} finder;

/* The first equation behind i that reads x; -1: none. */
static int64_t reader(const bdl_prog *p, bdl_atom x, int64_t i) {
  for (i++; i < p->eqns.n; i++)
    for (int k = 0; k < p->eqns.v[i].n_in; k++)
      if (p->eqns.v[i].in[k] == x) return i;
  return -1;
}

/* The sum that alone reads z, or a reshape of z, and is free; *other: its other operand.  -1: none. */
static int64_t sum_of(const finder *f, bdl_atom z, int64_t i, bdl_atom *other) {
  const bdl_prog *p = f->p;
  for (;;) {
    i = f->uses[z] == 1 ? reader(p, z, i) : -1;
    if (i < 0) return -1;
    const bdl_eqn *e = &p->eqns.v[i];
    if (e->prim == BDL_P_add) {
      *other = e->in[e->in[0] == z];
      const bdl_aval *a = bdl_aval_of(p, z);
      return f->at[i].step < 0 && bdl_aval_eq(a, bdl_aval_of(p, *other)) ? i : -1;
    }
    if (e->prim != BDL_P_reshape) return -1;
    z = e->out[0];
  }
}

static void find(finder *f, int32_t i) {
  const bdl_prog *p = f->p;
  const bdl_atom e = p->eqns.v[i].out[0];
  const int64_t grad = reader(p, e, i);
  bdl_atom sum = BDL_ZERO;
  if (grad < 0 || p->eqns.v[grad].prim != BDL_P_etrace_grad || p->eqns.v[grad].in[0] != e) return;
  const int64_t next = reader(p, e, grad), add = sum_of(f, p->eqns.v[grad].out[0], grad, &sum);
  const bool summed = add >= 0 && (next < 0 || next > add);
  f->at[i].gone = true;
  for (int64_t k = grad; summed && k < add; k = reader(p, p->eqns.v[k].out[0], k)) f->at[k].gone = true;
  f->at[summed ? add : grad] = (place){.step = i, .grad = (int32_t)grad, .sum = summed ? sum : BDL_ZERO};
}

static bdl_status learn(bdl_rewrite *r, const place *at, const bdl_eqn *last) {
  const bdl_eqn *step = &r->p->eqns.v[at->step], *grad = &r->p->eqns.v[at->grad];
  const bool summed = at->sum != BDL_ZERO;
  bdl_atom *in = bdl_arena_alloc(&r->scratch, (size_t)(step->n_in + grad->n_in) * sizeof *in), out[2];
  int n = 0;
  if (!in) return BDL_ENOMEM;
  TRY(bdl_ir_rw_atom(r, step->in[0], &in[n++]));
  if (summed) TRY(bdl_ir_rw_atom(r, at->sum, &in[n++]));
  for (int k = 1; k < step->n_in; k++) TRY(bdl_ir_rw_atom(r, step->in[k], &in[n++]));
  for (int k = 1; k < grad->n_in; k++) TRY(bdl_ir_rw_atom(r, grad->in[k], &in[n++]));
  const bdl_param params[] = {step->params[0], step->params[1], step->params[2], grad->params[0], grad->params[1],
                              bdl_pint(summed)};
  r->q->src = grad->src;
  TRY(bdl_bind(r->q, BDL_P_etrace_learn, params, in, n, out));
  TRY(bdl_ir_rw_set(r, step->out[0], out[0]));
  r->changed = true;
  return bdl_ir_rw_set(r, last->out[0], out[1]);
}

static bdl_status of_body(void *ud, const bdl_prog *p, bdl_prog **q) {
  (void)ud;
  return bdl_plan_fuse_traces(p, q);
}

static bdl_status rewrite(bdl_rewrite *r, finder *f) {
  const bdl_prog *p = r->p;
  f->uses = bdl_ir_uses(p, &r->scratch);
  f->at = bdl_arena_alloc(&r->scratch, (size_t)(p->eqns.n + 1) * sizeof *f->at);
  if (!f->uses || !f->at) return BDL_ENOMEM;
  for (int64_t i = 0; i < p->eqns.n; i++) f->at[i] = (place){.step = -1};
  for (int64_t i = 0; i < p->eqns.n; i++)
    if (p->eqns.v[i].prim == BDL_P_etrace_step) find(f, (int32_t)i);
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    if (f->at[i].gone) continue;
    if (f->at[i].step >= 0) TRY(learn(r, &f->at[i], e));
    else TRY(bdl_ir_rw_copy_bodies(r, e, of_body, NULL));
  }
  return BDL_OK;
}

bdl_status bdl_plan_fuse_traces(const bdl_prog *p, bdl_prog **q) {
  finder f = {.p = p};
  bdl_rewrite r;
  bdl_status s = bdl_ir_rw_begin(&r, p);
  if (s == BDL_OK) s = rewrite(&r, &f);
  return bdl_ir_rw_end(&r, s, q);
}

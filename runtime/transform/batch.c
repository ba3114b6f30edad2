/*
** batch.c -- batching: an equation that reads a value with lanes becomes the equations of its batch rule, the others stay.
*/
#include "transform/batch.h"

#include <string.h>

#include "prim/check.h"
#include "prim/rules.h"
#include "transform/linear.h"

static bdl_status with_lanes(bdl_context *c, const bdl_aval *a, int64_t size, bdl_aval *z) {
  TRY(bdl_check_ndim(c, a->ndim + 1));
  *z = (bdl_aval){.dtype = a->dtype, .ndim = a->ndim + 1, .shape = {size}};
  memcpy(z->shape + 1, a->shape, (size_t)a->ndim * sizeof *a->shape);
  return bdl_aval_check(c, z);
}

/* Of no lanes there is nothing to compute. */
static bdl_status empty(bdl_rewrite *r, const bdl_eqn *e, bdl_atom *z) {
  for (int k = 0; k < e->n_out; k++) {
    bdl_aval a;
    TRY(with_lanes(r->q->ctx, bdl_aval_of(r->p, e->out[k]), 0, &a));
    TRY(bdl_ir_full(r->q, &a, 0, &z[k]));
  }
  return BDL_OK;
}

static bdl_status equation(bdl_rewrite *r, const bdl_eqn *e, int64_t size, bool *flag) {
  bdl_prog *b = r->q;
  bool *in = bdl_arena_alloc(&r->scratch, (size_t)(e->n_in + e->n_out) + 1), *out = in + e->n_in, any = false;
  if (!in) return BDL_ENOMEM;
  for (int k = 0; k < e->n_in; k++) any |= in[k] = flag[e->in[k]];
  if (!any && !bdl_batch_between(e)) return bdl_ir_rw_copy(r, e);
  if (!bdl_prims[e->prim].batch) return bdl_transform_no_rule(r->p, e, "batching");
  bdl_atom *x = bdl_ir_rw_operands(r, e), *z = bdl_arena_alloc(&r->scratch, (size_t)(e->n_out + 1) * sizeof *z);
  if (!x || !z) return BDL_ENOMEM;
  memset(out, true, (size_t)e->n_out);
  b->src = e->src;
  const bool none = size == 0 && e->prim != BDL_P_across && !bdl_batch_between(e); /* which say something of no lanes, too */
  const bdl_status s = none ? empty(r, e, z) : bdl_prims[e->prim].batch(b, e, x, in, size, z, out);
  if (s != BDL_OK) bdl_where(b->ctx, e->src);
  TRY(s);
  for (int k = 0; k < e->n_out; k++) {
    BDL_ASSERT(bdl_aval_of(b, z[k])->ndim == bdl_aval_of(r->p, e->out[k])->ndim + out[k],
               "result %d of %s over lanes has another rank", k, bdl_prims[e->prim].name);
    flag[e->out[k]] = out[k];
    TRY(bdl_ir_rw_set(r, e->out[k], z[k]));
  }
  return BDL_OK;
}

static bdl_status output(bdl_rewrite *r, bdl_atom x, bool flag, bool want, int64_t size, bdl_atom *z) {
  TRY(bdl_ir_rw_atom(r, x, z));
  if (want) return bdl_rule_lanes(r->q, *z, flag, size, z);
  const int64_t lanes = 0;
  return flag ? bdl_rule_axes(r->q, BDL_P_reduce_sum, *z, &lanes, 1, z) : BDL_OK;
}

static bdl_status batch(bdl_rewrite *r, const bool *want, int64_t size, bool *flag) {
  const bdl_prog *p = r->p;
  bdl_atom *out = bdl_arena_alloc(&r->scratch, (size_t)(p->n_outputs + 1) * sizeof *out);
  if (!out) return BDL_ENOMEM;
  for (int64_t i = 0; i < p->eqns.n; i++) TRY(equation(r, &p->eqns.v[i], size, flag));
  for (int i = 0; i < p->n_outputs; i++)
    TRY(output(r, p->outputs[i], flag[p->outputs[i]], want ? want[i] : flag[p->outputs[i]], size, &out[i]));
  return bdl_prog_set_outputs(r->q, out, p->n_outputs);
}

/* b's inputs, those of p. */
static bdl_status inputs(bdl_prog *b, const bdl_prog *p, const bool *in, int64_t size, bdl_atom *x) {
  for (int64_t i = 0; i < p->inputs.n; i++) {
    bdl_aval a = *bdl_aval_of(p, p->inputs.v[i]);
    if (in[i]) TRY(with_lanes(p->ctx, bdl_aval_of(p, p->inputs.v[i]), size, &a));
    TRY(bdl_ir_input(b, &a, &x[i]));
  }
  return BDL_OK;
}

/* want as in bdl_batch_body; out (may be NULL): which outputs came with lanes. */
static bdl_status over_lanes(const bdl_prog *p, const bool *in, const bool *want, int64_t size, bdl_prog **q, bool *out) {
  bdl_rewrite r;
  bdl_prog *b = NULL;
  TRY(bdl_prog_new(p->ctx, p->name, &b));
  b->src = p->src;
  bdl_atom *x = bdl_arena_alloc(&b->arena, (size_t)(p->inputs.n + 1) * sizeof *x);
  bool *flag = bdl_arena_alloc(&b->arena, (size_t)p->vars.n + 1);
  bdl_status s = x && flag ? inputs(b, p, in, size, x) : BDL_ENOMEM;
  if (s == BDL_OK) {
    memset(flag, false, (size_t)p->vars.n + 1);
    s = bdl_ir_rw_begin_in(&r, p, b, x);
    for (int64_t i = 0; s == BDL_OK && i < p->inputs.n; i++) {
      flag[p->inputs.v[i]] = in[i];
      s = bdl_ir_rw_set(&r, p->inputs.v[i], x[i]);
    }
    if (s == BDL_OK) s = batch(&r, want, size, flag);
    bdl_ir_rw_fini(&r);
  }
  for (int i = 0; s == BDL_OK && out && i < p->n_outputs; i++) out[i] = flag[p->outputs[i]];
  if (s == BDL_OK) *q = b;
  else bdl_prog_unref(b);
  return s;
}

bdl_status bdl_batch_body(const bdl_prog *p, const bool *in, const bool *want, int64_t size, bdl_prog **q) {
  return over_lanes(p, in, want, size, q, NULL);
}

static bdl_status over_axis(void *ud, const bdl_prog *p, bdl_prog **q) {
  const int64_t axis = *(const int64_t *)ud;
  bdl_rewrite r;
  bdl_status s = bdl_ir_rw_begin(&r, p);
  for (int64_t i = 0; s == BDL_OK && i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    if (!(bdl_prims[e->prim].flags & BDL_F_LANES) || e->params[0].i != axis) {
      s = bdl_ir_rw_copy_bodies(&r, e, over_axis, ud);
      continue;
    }
    bdl_param params[] = {bdl_pint(BDL_LANES), e->n_params > 1 ? e->params[1] : bdl_pint(0)};
    s = bdl_ir_rw_copy_with(&r, e, params);
    r.changed = true;
  }
  return bdl_ir_rw_end(&r, s, q);
}

bdl_status bdl_transform_over(const bdl_prog *p, int64_t axis, bdl_prog **q) { return over_axis(&axis, p, q); }

bdl_status bdl_transform_batch(const bdl_prog *p, const bool *batched, int64_t size, bdl_prog **q, bool *out_batched) {
  bdl_prog *b = NULL;
  TRY(over_lanes(p, batched, NULL, size, &b, out_batched));
  const bdl_status s = bdl_pass_dce(b, q);
  bdl_prog_unref(b);
  return s;
}

/*
** flow.c -- which equations map position to position: the value of a position depends on operands at that position alone.
** A position is an index into the elements in row-major order; where axes are added in front (`grow`), position p of the larger
** value depends on p mod n of the n there were.
*/
#include "online/online.h"

#include "prim/prim.h"

static int64_t elements(const bdl_prog *p, bdl_atom x) { return bdl_aval_numel(bdl_aval_of(p, x)); }

/* Do axes of extent 1 alone move? */
static bool keeps_order(const bdl_aval *x, const bdl_param *axes) {
  int64_t last = -1;
  for (int k = 0; k < axes->n; k++) {
    if (x->shape[axes->ints[k]] == 1) continue;
    if (axes->ints[k] < last) return false;
    last = axes->ints[k];
  }
  return true;
}

/* Is z made of x by axes in front?  dims: where the axes of x stand in z; NULL: they are the last. */
static bool in_front(const bdl_aval *x, const bdl_aval *z, const int64_t *dims) {
  int first = 0;
  while (first < x->ndim && x->shape[first] == 1) first++;
  for (int k = first; k < x->ndim; k++) {
    const int to = z->ndim - x->ndim + k;
    if ((dims && dims[k] != to) || z->shape[to] != x->shape[k]) return false;
  }
  return true;
}

/* May a position of z be that of x? */
static bool fits(const bdl_prog *p, bdl_atom x, bdl_atom z, const int64_t *dims, bool grow) {
  return elements(p, x) == elements(p, z) || (grow && in_front(bdl_aval_of(p, x), bdl_aval_of(p, z), dims));
}

static bool any(const bool *flag, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if (flag[i]) return true;
  return false;
}

static bdl_status through(bdl_arena *a, const bdl_prog *p, const bool *in, bool *out, bool grow, bool *elementwise) {
  bool *depends = bdl_arena_alloc(a, (size_t)p->vars.n + 1);
  if (!depends) return BDL_ENOMEM;
  for (int64_t i = 0; i < p->inputs.n; i++) depends[p->inputs.v[i]] = in[i];
  for (int64_t i = 0; i < p->eqns.n && *elementwise; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    bool *x = bdl_arena_alloc(a, (size_t)e->n_in + 1), *z = bdl_arena_alloc(a, (size_t)e->n_out + 1);
    if (!x || !z) return BDL_ENOMEM;
    for (int k = 0; k < e->n_in; k++) x[k] = depends[e->in[k]];
    TRY(bdl_online_flow(a, p, e, x, z, grow, elementwise));
    for (int k = 0; k < e->n_out; k++) depends[e->out[k]] = z[k];
  }
  for (int i = 0; i < p->n_outputs; i++) out[i] |= depends[p->outputs[i]];
  return BDL_OK;
}

/* Carried values that depend on it after a round do so before one.  Sequences are not position by position. */
static bdl_status loop(bdl_arena *a, const bdl_prog *body, bool *in, int64_t consts, int64_t carry, bool *out, bool grow,
                       bool *elementwise) {
  for (bool grew = true; grew && *elementwise;) {
    grew = false;
    TRY(through(a, body, in, out, grow, elementwise));
    for (int64_t i = 0; i < carry; i++) {
      grew |= out[i] && !in[consts + i];
      in[consts + i] |= out[i];
    }
  }
  return BDL_OK;
}

static bdl_status control(bdl_arena *a, const bdl_eqn *e, const bool *in, bool *out, bool grow, bool *elementwise) {
  const bdl_param *p = e->params;
  bool *copy = bdl_arena_alloc(a, (size_t)e->n_in + 1);
  if (!copy) return BDL_ENOMEM;
  for (int k = 0; k < e->n_in; k++) copy[k] = in[k];
  switch (e->prim) {
    case BDL_P_cond:
      for (int k = 0; k < p[0].n; k++) TRY(through(a, p[0].progs[k], in + 1, out, grow, elementwise));
      return BDL_OK;
    case BDL_P_scan:
      TRY(loop(a, p[4].progs[0], copy, p[0].i, p[1].i, out, grow, elementwise));
      *elementwise &= !any(copy + p[0].i + p[1].i, e->n_in - p[0].i - p[1].i) && !any(out + p[1].i, e->n_out - p[1].i);
      return BDL_OK;
    case BDL_P_while:
      return loop(a, p[2].progs[1], copy + p[0].i, p[1].i, e->n_out, out, grow, elementwise);
    case BDL_P_etrace_op:
    case BDL_P_transposed: *elementwise = false; return BDL_OK;
    default: return through(a, p[0].progs[0], in, out, grow, elementwise); /* calls, checkpoints, custom derivatives */
  }
}

bdl_status bdl_online_flow(bdl_arena *a, const bdl_prog *p, const bdl_eqn *e, const bool *in, bool *out, bool grow,
                           bool *elementwise) {
  for (int k = 0; k < e->n_out; k++) out[k] = false;
  if (!any(in, e->n_in)) return BDL_OK;
  if (bdl_prims[e->prim].flags & BDL_F_CONTROL) return control(a, e, in, out, grow, elementwise);
  if (e->prim == BDL_P_stop_gradient) return BDL_OK;
  for (int k = 0; k < e->n_out; k++) out[k] = true;
  switch (e->prim) {
    case BDL_P_reshape: return BDL_OK;
    case BDL_P_broadcast: *elementwise &= fits(p, e->in[0], e->out[0], e->params[1].ints, grow); return BDL_OK;
    case BDL_P_permute: *elementwise &= keeps_order(bdl_aval_of(p, e->in[0]), &e->params[0]); return BDL_OK;
    case BDL_P_barrier: return BDL_OK;
    default: break;
  }
  *elementwise &= (bdl_prims[e->prim].flags & BDL_F_ELEMENTWISE) != 0;
  for (int k = 0; k < e->n_in && *elementwise; k++)
    *elementwise &= !in[k] || fits(p, e->in[k], e->out[0], NULL, grow);
  return BDL_OK;
}

/*
** event_batch.c -- lanes of products with events and sparse matrices.  While the lanes share the matrix they are further
** vectors; a matrix that differs by lane has an axis of lanes, and so have its vectors.
*/
#include "prim/check.h"
#include "prim/rules.h"

/* Active elements first, in order; what follows is open, here the extent. */
BDL_BATCH(event_ids) {
  const bdl_aval s = *bdl_aval_of(b, x[0]);
  const int64_t last = 1;
  bdl_atom at, none, on = x[0];
  (void)batched, (void)size, (void)out_batched, (void)e;
  if (s.dtype != BDL_BOOL) {
    TRY(bdl_ir_scalar(b, s.dtype, 0, &none));
    TRY(bdl_bind2(b, BDL_P_gt, on, none, &on));
  }
  TRY(bdl_bind(b, BDL_P_iota, (bdl_param[]){bdl_pints(s.shape + 1, 1), bdl_pint(0), bdl_pdtype(BDL_I32)}, NULL, 0, &at));
  TRY(bdl_ir_scalar(b, BDL_I32, (double)s.shape[1], &none));
  TRY(bdl_bind3(b, BDL_P_select, on, at, none, &at));
  TRY(bdl_bind(b, BDL_P_sort, (bdl_param[]){bdl_pint(1), bdl_pint(1), bdl_pint(0)}, &at, 1, &z[0]));
  TRY(bdl_ir_cast(b, on, BDL_I32, &on));
  return bdl_rule_axes(b, BDL_P_reduce_sum, on, &last, 1, &z[1]);
}

static bdl_status exchange(bdl_prog *b, bdl_atom x, bdl_atom *z) {
  const int64_t axes[BDL_MAX_NDIM] = {1, 0, 2, 3, 4, 5, 6, 7};
  return bdl_rule_axes(b, BDL_P_permute, x, axes, bdl_aval_of(b, x)->ndim, z);
}

/* The product of vectors with a matrix that all lanes share: v [lanes, n] or [lanes, b, n]; with lanes of its own in front of
** b, [lanes, own, (b,) n]. */
static bdl_status shared_matrix(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, bool own, int64_t size, bdl_atom *z) {
  bdl_atom in[4], v = x[0];
  int64_t rows = -1;
  for (int i = 1; i < e->n_in; i++) in[i] = x[i];
  if (own) TRY(exchange(b, v, &v));
  if (bdl_aval_of(b, v)->ndim == 3 + own) {
    rows = bdl_aval_of(b, v)->shape[1 + own];
    TRY(bdl_rule_join(b, v, own, &v));
  }
  in[0] = v;
  TRY(bdl_bind(b, e->prim, e->params, in, e->n_in, z));
  if (rows >= 0) TRY(bdl_rule_split(b, *z, own, size, rows, z));
  return own ? exchange(b, *z, z) : BDL_OK;
}

/* Operands first.. of rank `rank`, those before of any: lanes of the equation, own >= 0, and the new ones are taken as one.
** Operands of the matrix that have neither stay shared. */
static bdl_status each_lane_its_own(bdl_prog *b, const bdl_atom *x, const bool *batched, int n, int first, int rank, int64_t own,
                                    int64_t size, bdl_atom *in) {
  for (int i = 0; i < n; i++) {
    const bool has_own = own >= 0 && (i < first || bdl_aval_of(b, x[i])->ndim - batched[i] > rank);
    in[i] = x[i];
    if (i >= first && !batched[i] && !has_own) continue;
    TRY(bdl_rule_lanes(b, x[i], batched[i], size, &in[i]));
    if (own < 0) continue;
    if (!has_own) { /* [lanes, ..] -> [lanes, own, ..] */
      const bdl_aval a = *bdl_aval_of(b, in[i]);
      int64_t shape[BDL_MAX_NDIM + 1] = {size, own}, dims[BDL_MAX_NDIM] = {0};
      for (int k = 1; k < a.ndim; k++) shape[k + 1] = a.shape[k], dims[k] = k + 1;
      TRY(bdl_bind(b, BDL_P_broadcast, (bdl_param[]){bdl_pints(shape, a.ndim + 1), bdl_pints(dims, a.ndim)}, &in[i], 1, &in[i]));
    }
    TRY(bdl_rule_join(b, in[i], 0, &in[i]));
  }
  return BDL_OK;
}

/* The lanes that operands first.. of a rank have in the equation itself; -1: none. */
static int64_t own_lanes(const bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, const bool *batched, int first, int rank) {
  for (int i = first; i < e->n_in; i++)
    if (bdl_aval_of(b, x[i])->ndim - batched[i] > rank) return bdl_aval_of(b, x[i])->shape[batched[i]];
  return -1;
}

/* v, then the operands of the matrix, of one rank */
static bdl_status product(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, const bool *batched, int rank, int64_t size, bdl_atom *z) {
  const int64_t own = own_lanes(b, e, x, batched, 1, rank);
  bdl_atom in[4];
  bool matrix = false;
  for (int i = 1; i < e->n_in; i++) matrix |= batched[i];
  if (!matrix) return shared_matrix(b, e, x, own >= 0, size, z);
  TRY(each_lane_its_own(b, x, batched, e->n_in, 1, rank, own, size, in));
  TRY(bdl_bind(b, e->prim, e->params, in, e->n_in, z));
  return own >= 0 ? bdl_rule_split(b, *z, 0, size, own, z) : BDL_OK;
}

BDL_BATCH(event_dot) {
  (void)out_batched;
  return product(b, e, x, batched, 2, size, z);
}

BDL_BATCH(csr_dot) {
  (void)out_batched;
  return product(b, e, x, batched, 1, size, z);
}

BDL_BATCH(jitc_dot) {
  (void)out_batched;
  return product(b, e, x, batched, 0, size, z);
}

/* Lanes are not summed: vectors [lanes, rows, n]. */
BDL_BATCH(csr_outer) {
  const bdl_aval a = *bdl_aval_of(b, x[0]);
  const int rank = a.ndim - batched[0];
  const int64_t own = rank == 3 ? a.shape[batched[0]] : -1;
  bdl_atom in[4];
  (void)out_batched;
  TRY(each_lane_its_own(b, x, batched, e->n_in, 2, 1, own, size, in));
  for (int i = 0; i < 2 && rank == 1; i++) TRY(bdl_rule_split(b, in[i], 0, size, 1, &in[i]));
  TRY(bdl_bind(b, e->prim, e->params, in, e->n_in, z));
  return own >= 0 ? bdl_rule_split(b, *z, 0, size, own, z) : BDL_OK;
}

/* Every lane has weights and events of its own. */
BDL_BATCH(learn) {
  const int rank = e->prim == BDL_P_csr_learn ? 1 : 2;
  const bdl_aval w = *bdl_aval_of(b, x[0]);
  const int64_t own = w.ndim - batched[0] > rank ? w.shape[batched[0]] : -1;
  bdl_atom in[10];
  (void)out_batched;
  TRY(each_lane_its_own(b, x, batched, e->n_in, 7, 1, own, size, in));
  TRY(bdl_bind(b, e->prim, e->params, in, e->n_in, z));
  return own >= 0 ? bdl_rule_split(b, *z, 0, size, own, z) : BDL_OK;
}

/*
** lower_event.c -- adapters of products with events.
*/
#include <stdlib.h>
#include <string.h>

#include "cpu/event.h"
#include "exec/lower_util.h"
#include "exec/matrix.h"

/* v is [n] or [batch, n], behind an axis of lanes where another operand has one: how many of these stand in one lane. */
static int64_t batch_of(const bdl_aval *v, int64_t lanes) {
  int64_t n = 1;
  for (int i = 0; i < v->ndim - 1; i++) n *= v->shape[i];
  return lanes ? n / lanes : 0;
}

/* The axis of lanes that operands first.. of that rank may have in front; 1: none has. */
static int64_t lanes_of(const bdl_kcall *k, int first, int rank) {
  for (int i = first; i < k->n_in; i++)
    if (k->in_aval[i].ndim > rank) return k->in_aval[i].shape[0];
  return 1;
}

/* Operand i in a lane: of that rank, if it has lanes. */
static const void *in_lane(const bdl_kcall *k, int i, int rank, int64_t lane) {
  const bdl_aval *a = &k->in_aval[i];
  if (a->ndim == rank || lane == 0) return k->in[i];
  return (const char *)k->in[i] + (size_t)lane * (bdl_aval_bytes(a) / (size_t)a->shape[0]);
}

static int64_t last_of(const bdl_aval *a) { return a->shape[a->ndim - 1]; }

/* Address of vector b of an operand or result. */
static char *vector(const void *base, const bdl_aval *v, int64_t b) {
  return (char *)base + (size_t)(b * v->shape[v->ndim - 1]) * bdl_dtype_size(v->dtype);
}

size_t bdl_scratch_event_dot(const bdl_param *params, const bdl_aval *in, int n_in, const bdl_aval *out) {
  (void)params, (void)n_in, (void)out;
  return bdl_k_events_bytes(last_of(&in[0]), false);
}

/* The active elements of vector b of operand 0, in the scratch. */
static bdl_k_events events_of(const bdl_kcall *k, int64_t b, bool bits) {
  const bdl_aval *s = &k->in_aval[0];
  return bdl_k_events_of(k->scratch, vector(k->in[0], s, b), s->dtype, last_of(s), bits, k->k);
}

/* params: transpose */
bdl_status bdl_lower_event_dot(const bdl_kcall *k) {
  const bdl_aval *s = &k->in_aval[0], *w = &k->in_aval[1], *z = &k->out_aval[0];
  const int64_t lanes = lanes_of(k, 1, 2), batch = batch_of(s, lanes), rows = w->shape[w->ndim - 2];
  for (int64_t b = 0; b < lanes * batch; b++) {
    const bdl_k_events e = events_of(k, b, false);
    const void *weights = in_lane(k, 1, 2, b / batch);
    void *y = vector(k->out[0], z, b);
    if (k->params[0].i)
      bdl_k_event_cols(y, &e, weights, rows, last_of(w), w->dtype, k->pool);
    else
      bdl_k_event_rows(y, &e, weights, last_of(w), w->dtype, k->pool);
  }
  return BDL_OK;
}

/* The matrix of operands data, indices, indptr in a lane; without data at < 0.  Errors: BDL_EINDEX rows of equal length that
** are not all there. */
static bdl_status csr_of(const bdl_kcall *k, const char *prim, int data, int indices, int64_t lane, bdl_k_csr *a) {
  const bdl_aval *ptr = &k->in_aval[indices + 1];
  if (k->prepared) {
    *a = ((const bdl_matrix *)k->prepared)->a;
  } else {
    *a = (bdl_k_csr){.rows = k->params[0].i,
                     .cols = k->params[1].i,
                     .nnz = last_of(&k->in_aval[indices]),
                     .indices = in_lane(k, indices, 1, lane),
                     .indptr = in_lane(k, indices + 1, 1, lane),
                     .wide = ptr->dtype == BDL_I64};
  }
  if (data >= 0) {
    a->data = in_lane(k, data, 1, lane);
    a->same = last_of(&k->in_aval[data]) == 1;
  }
  if (k->prepared || last_of(ptr) == a->rows + 1) return BDL_OK;
  a->fan = bdl_k_index_at(a->indptr, a->wide, 1) - bdl_k_index_at(a->indptr, a->wide, 0);
  a->indptr = NULL;
  if (a->fan >= 0 && (a->rows == 0 ? a->nnz == 0 : a->fan == a->nnz / a->rows && a->nnz % a->rows == 0)) return BDL_OK;
  return bdl_fail(k->ctx, BDL_EINDEX, "%s: %" PRId64 " rows of %" PRId64 " entries are not the %" PRId64 " entries stored",
                  prim, a->rows, a->fan, a->nnz);
}

/* A matrix without lanes, of known indices and indptr.  Its faults are found again by who runs into them. */
static bdl_status prepare(const bdl_kcall *k, int indices, bool shuffled, bdl_prepared **made) {
  bdl_k_csr a;
  if (!k->in[indices] || !k->in[indices + 1] || k->in_aval[indices].ndim > 1 || k->in_aval[indices + 1].ndim > 1) return BDL_OK;
  if (csr_of(k, "", -1, indices, 0, &a) != BDL_OK) return BDL_OK;
  return bdl_matrix_get(k->ctx, &a, shuffled, made);
}

/* Where all entries of a row add the same number, each to its own place, their order is free. */
bdl_status bdl_prepare_csr_dot(const bdl_kcall *k, bdl_prepared **made) {
  const bool event = k->params[3].i != 0;
  return prepare(k, 2, event && last_of(&k->in_aval[1]) == 1, made);
}
bdl_status bdl_prepare_csr_scatter(const bdl_kcall *k, bdl_prepared **made) {
  return prepare(k, 4, last_of(&k->in_aval[3]) == 1, made);
}
bdl_status bdl_prepare_csr_outer(const bdl_kcall *k, bdl_prepared **made) { return prepare(k, 2, false, made); }

static bdl_status csr_status(const bdl_kcall *k, const char *prim, bdl_csr_error e) {
  static const char *const what[] = {
      [BDL_CSR_ROW] = "row", [BDL_CSR_POINTER] = "row pointer", [BDL_CSR_COLUMN] = "column index"};
  if (e.fault == BDL_CSR_FINE) return BDL_OK;
  return bdl_fail(k->ctx, BDL_EINDEX,
                  "%s: %s %" PRId64 " at position %" PRId64 " is out of range for size %" PRId64
                  " (counted from 0), or does not ascend",
                  prim, what[e.fault], e.value, e.at, e.limit);
}

/* For the entries of so many rows: one addition costs as much as many elements of other loops. */
static bdl_pool *pool_for(const bdl_kcall *k, int64_t count, const bdl_k_csr *a) {
  return count == 0 ? NULL : bdl_lower_pool(k, 4 * count * (a->nnz / BDL_MAX(a->rows, 1)));
}

size_t bdl_scratch_csr_dot(const bdl_param *params, const bdl_aval *in, int n_in, const bdl_aval *out) {
  (void)n_in, (void)out;
  return params[3].i ? bdl_k_events_bytes(last_of(&in[0]), params[2].i != 0) : 0;
}

/* params: rows cols transpose event; in: v, data, indices, indptr */
bdl_status bdl_lower_csr_dot(const bdl_kcall *k) {
  const bdl_aval *v = &k->in_aval[0], *z = &k->out_aval[0];
  const int64_t lanes = lanes_of(k, 1, 1), batch = batch_of(v, lanes);
  const bool transpose = k->params[2].i != 0, event = k->params[3].i != 0;
  bdl_k_csr a;
  for (int64_t b = 0; b < lanes * batch; b++) {
    const void *x = vector(k->in[0], v, b);
    void *y = vector(k->out[0], z, b);
    bdl_k_events s = {0};
    bdl_csr_error e;
    if (b % batch == 0) TRY(csr_of(k, "csr_dot", 1, 2, b / batch, &a));
    if (event) s = events_of(k, b, transpose);
    if (event && !transpose) memset(y, 0, (size_t)a.cols * bdl_dtype_size(z->dtype));
    bdl_pool *pool = bdl_lower_pool(k, a.nnz);
    if (event)
      e = transpose ? bdl_k_csr_gather(y, &s, &a, z->dtype, pool)
                    : bdl_k_csr_scatter(y, s.ids, s.count, &a, z->dtype, pool_for(k, s.count, &a));
    else
      e = transpose ? bdl_k_csr_right(y, x, &a, z->dtype, pool) : bdl_k_csr_left(y, x, &a, z->dtype, pool);
    TRY(csr_status(k, "csr_dot", e));
  }
  return BDL_OK;
}

/* params: rows cols; in: y, ids, count, data, indices, indptr */
bdl_status bdl_lower_csr_scatter(const bdl_kcall *k) {
  const int64_t count = *(const int32_t *)k->in[2], room = k->in_aval[1].shape[0];
  bdl_k_csr a;
  TRY(csr_of(k, "csr_scatter", 3, 4, 0, &a));
  if (count < 0 || count > room)
    return bdl_fail(k->ctx, BDL_EINDEX, "csr_scatter: %" PRId64 " of %" PRId64 " ids", count, room);
  return csr_status(k, "csr_scatter", bdl_k_csr_scatter(k->out[0], k->in[1], count, &a, k->out_aval[0].dtype, pool_for(k, count, &a)));
}

size_t bdl_scratch_csr_outer(const bdl_param *params, const bdl_aval *in, int n_in, const bdl_aval *out) {
  (void)n_in, (void)out;
  return params[2].i ? bdl_k_events_bytes(last_of(&in[0]), false) : 0;
}

/* params: rows cols event; in: a, b, indices, indptr */
bdl_status bdl_lower_csr_outer(const bdl_kcall *k) {
  const bdl_aval *x = &k->in_aval[0], *y = &k->in_aval[1];
  const int64_t lanes = x->ndim == 3 ? x->shape[0] : 1, batch = batch_of(x, lanes);
  const bool event = k->params[2].i != 0;
  bdl_k_csr a;
  memset(k->out[0], 0, bdl_aval_bytes(&k->out_aval[0]));
  for (int64_t b = 0; b < lanes * batch; b++) {
    bdl_k_events s = {0};
    if (b % batch == 0) TRY(csr_of(k, "csr_outer", -1, 2, b / batch, &a));
    if (event) s = events_of(k, b, false);
    TRY(csr_status(k, "csr_outer",
                   bdl_k_csr_outer(vector(k->out[0], &k->out_aval[0], b / batch), event ? NULL : vector(k->in[0], x, b), &s,
                                   vector(k->in[1], y, b), &a, y->dtype, bdl_lower_pool(k, a.nnz))));
  }
  return BDL_OK;
}

size_t bdl_scratch_jitc_dot(const bdl_param *params, const bdl_aval *in, int n_in, const bdl_aval *out) {
  (void)n_in, (void)out;
  return params[3].i ? bdl_k_events_bytes(last_of(&in[0]), true) : 0;
}

static double number_in_lane(const bdl_kcall *k, int i, int64_t lane) {
  const void *x = in_lane(k, i, 0, lane);
  return k->in_aval[i].dtype == BDL_F32 ? *(const float *)x : *(const double *)x;
}

/* params: rows cols transpose event kind; in: v, p0, p1, seed */
bdl_status bdl_lower_jitc_dot(const bdl_kcall *k) {
  const bdl_aval *v = &k->in_aval[0], *z = &k->out_aval[0];
  const char *kind = k->params[4].s;
  const int64_t lanes = lanes_of(k, 1, 0), batch = batch_of(v, lanes);
  const bool event = k->params[3].i != 0;
  bdl_k_jitc g = {.rows = k->params[0].i,
                  .cols = k->params[1].i,
                  .prob = strtod(strchr(kind, ':') + 1, NULL),
                  .law = kind[0] == 's'   ? BDL_JITC_SCALAR
                         : kind[0] == 'u' ? BDL_JITC_UNIFORM
                                          : BDL_JITC_NORMAL};
  for (int64_t b = 0; b < lanes * batch; b++) {
    const void *x = vector(k->in[0], v, b);
    g.p0 = number_in_lane(k, 1, b / batch);
    g.p1 = number_in_lane(k, 2, b / batch);
    g.seed = *(const uint64_t *)in_lane(k, 3, 0, b / batch);
    const bdl_k_events s = event ? events_of(k, b, true) : (bdl_k_events){0};
    bdl_k_jitc_dot(vector(k->out[0], z, b), x, event ? &s : NULL, &g, k->params[2].i != 0, z->dtype, k->pool);
  }
  return BDL_OK;
}

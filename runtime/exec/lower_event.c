/*
** lower_event.c -- adapters of products with events.
*/
#include <stdlib.h>
#include <string.h>

#include "cpu/event.h"
#include "exec/lower_util.h"

/* v is [n] or [batch, n]. */
static int64_t batch_of(const bdl_aval *v) {
  return v->ndim == 2 ? v->shape[0] : 1;
}

/* Ids or a mask of one event vector: the larger of both. */
static size_t marks_for(const bdl_aval *v) {
  return (size_t)v->shape[v->ndim - 1] * sizeof(int32_t);
}

/* Address of vector b of an operand or result. */
static char *vector(const void *base, const bdl_aval *v, int64_t b) {
  return (char *)base + (size_t)(b * v->shape[v->ndim - 1]) * bdl_dtype_size(v->dtype);
}

size_t bdl_scratch_event_dot(const bdl_param *params, const bdl_aval *in, int n_in, const bdl_aval *out) {
  (void)params, (void)n_in, (void)out;
  return marks_for(&in[0]);
}

/* params: transpose */
bdl_status bdl_lower_event_dot(const bdl_kcall *k) {
  const bdl_aval *s = &k->in_aval[0], *w = &k->in_aval[1], *z = &k->out_aval[0];
  int32_t *ids = k->scratch;
  for (int64_t b = 0; b < batch_of(s); b++) {
    const int64_t count = bdl_k_active_ids(ids, vector(k->in[0], s, b), s->dtype, s->shape[s->ndim - 1]);
    void *y = vector(k->out[0], z, b);
    if (k->params[0].i)
      bdl_k_event_cols(y, ids, count, k->in[1], w->shape[0], w->shape[1], w->dtype, k->threads);
    else
      bdl_k_event_rows(y, ids, count, k->in[1], w->shape[1], w->dtype, k->threads);
  }
  return BDL_OK;
}

/* The matrix of operands data, indices, indptr from `at` on; without data at < 0.  Errors: BDL_EINDEX rows of equal length
** that are not all there. */
static bdl_status csr_of(const bdl_kcall *k, const char *prim, int data, int indices, bdl_k_csr *a) {
  const bdl_aval *ptr = &k->in_aval[indices + 1];
  *a = (bdl_k_csr){.rows = k->params[0].i,
                   .cols = k->params[1].i,
                   .nnz = k->in_aval[indices].shape[0],
                   .indices = k->in[indices],
                   .indptr = k->in[indices + 1],
                   .wide = ptr->dtype == BDL_I64};
  if (data >= 0) {
    a->data = k->in[data];
    a->same = k->in_aval[data].shape[0] == 1;
  }
  if (ptr->shape[0] == a->rows + 1) return BDL_OK;
  a->fan = bdl_k_index_at(a->indptr, a->wide, 1) - bdl_k_index_at(a->indptr, a->wide, 0);
  a->indptr = NULL;
  if (a->fan >= 0 && (a->rows == 0 ? a->nnz == 0 : a->fan == a->nnz / a->rows && a->nnz % a->rows == 0)) return BDL_OK;
  return bdl_fail(k->ctx, BDL_EINDEX, "%s: %" PRId64 " rows of %" PRId64 " entries are not the %" PRId64 " entries stored",
                  prim, a->rows, a->fan, a->nnz);
}

static bdl_status csr_status(const bdl_kcall *k, const char *prim, bdl_csr_error e) {
  static const char *const what[] = {
      [BDL_CSR_ROW] = "row", [BDL_CSR_POINTER] = "row pointer", [BDL_CSR_COLUMN] = "column index"};
  if (e.fault == BDL_CSR_FINE) return BDL_OK;
  return bdl_fail(k->ctx, BDL_EINDEX,
                  "%s: %s %" PRId64 " at position %" PRId64 " is out of range for size %" PRId64
                  " (counted from 0), or does not ascend",
                  prim, what[e.fault], e.value, e.at, e.limit);
}

size_t bdl_scratch_csr_dot(const bdl_param *params, const bdl_aval *in, int n_in, const bdl_aval *out) {
  (void)n_in, (void)out;
  return params[3].i ? marks_for(&in[0]) : 0;
}

/* params: rows cols transpose event; in: v, data, indices, indptr */
bdl_status bdl_lower_csr_dot(const bdl_kcall *k) {
  const bdl_aval *v = &k->in_aval[0], *z = &k->out_aval[0];
  const int64_t n = v->shape[v->ndim - 1];
  const bool transpose = k->params[2].i != 0, event = k->params[3].i != 0;
  bdl_k_csr a;
  TRY(csr_of(k, "csr_dot", 1, 2, &a));
  const int threads = bdl_lower_threads(k, a.nnz);
  for (int64_t b = 0; b < batch_of(v); b++) {
    const void *x = vector(k->in[0], v, b);
    void *y = vector(k->out[0], z, b);
    bdl_csr_error e;
    if (transpose) {
      if (event) bdl_k_active(k->scratch, x, v->dtype, n);
      e = bdl_k_csr_right(y, event ? NULL : x, event ? k->scratch : NULL, &a, z->dtype, threads);
    } else if (event) {
      memset(y, 0, (size_t)a.cols * bdl_dtype_size(z->dtype));
      e = bdl_k_csr_scatter(y, k->scratch, bdl_k_active_ids(k->scratch, x, v->dtype, n), &a, z->dtype);
    } else {
      e = bdl_k_csr_left(y, x, &a, z->dtype);
    }
    TRY(csr_status(k, "csr_dot", e));
  }
  return BDL_OK;
}

/* params: rows cols; in: y, ids, count, data, indices, indptr */
bdl_status bdl_lower_csr_scatter(const bdl_kcall *k) {
  const int64_t count = *(const int32_t *)k->in[2], room = k->in_aval[1].shape[0];
  bdl_k_csr a;
  TRY(csr_of(k, "csr_scatter", 3, 4, &a));
  if (count < 0 || count > room)
    return bdl_fail(k->ctx, BDL_EINDEX, "csr_scatter: %" PRId64 " of %" PRId64 " ids", count, room);
  return csr_status(k, "csr_scatter", bdl_k_csr_scatter(k->out[0], k->in[1], count, &a, k->out_aval[0].dtype));
}

size_t bdl_scratch_csr_outer(const bdl_param *params, const bdl_aval *in, int n_in, const bdl_aval *out) {
  (void)n_in, (void)out;
  return params[2].i ? marks_for(&in[0]) : 0;
}

/* params: rows cols event; in: a, b, indices, indptr */
bdl_status bdl_lower_csr_outer(const bdl_kcall *k) {
  const bdl_aval *x = &k->in_aval[0], *y = &k->in_aval[1];
  const bool event = k->params[2].i != 0;
  bdl_k_csr a;
  TRY(csr_of(k, "csr_outer", -1, 2, &a));
  memset(k->out[0], 0, bdl_aval_bytes(&k->out_aval[0]));
  for (int64_t b = 0; b < batch_of(x); b++) {
    const void *xb = vector(k->in[0], x, b);
    if (event) bdl_k_active(k->scratch, xb, x->dtype, x->shape[x->ndim - 1]);
    TRY(csr_status(k, "csr_outer",
                   bdl_k_csr_outer(k->out[0], event ? NULL : xb, event ? k->scratch : NULL, vector(k->in[1], y, b), &a,
                                   y->dtype, bdl_lower_threads(k, a.nnz))));
  }
  return BDL_OK;
}

size_t bdl_scratch_jitc_dot(const bdl_param *params, const bdl_aval *in, int n_in, const bdl_aval *out) {
  (void)n_in, (void)out;
  return params[3].i ? marks_for(&in[0]) : 0;
}

/* params: rows cols transpose event kind; in: v, p0, p1, seed */
bdl_status bdl_lower_jitc_dot(const bdl_kcall *k) {
  const bdl_aval *v = &k->in_aval[0], *z = &k->out_aval[0];
  const char *kind = k->params[4].s;
  const bool f32 = z->dtype == BDL_F32, event = k->params[3].i != 0;
  const bdl_k_jitc g = {.rows = k->params[0].i,
                        .cols = k->params[1].i,
                        .seed = *(const uint64_t *)k->in[3],
                        .prob = strtod(strchr(kind, ':') + 1, NULL),
                        .law = kind[0] == 's'   ? BDL_JITC_SCALAR
                               : kind[0] == 'u' ? BDL_JITC_UNIFORM
                                                : BDL_JITC_NORMAL,
                        .p0 = f32 ? *(const float *)k->in[1] : *(const double *)k->in[1],
                        .p1 = f32 ? *(const float *)k->in[2] : *(const double *)k->in[2]};
  for (int64_t b = 0; b < batch_of(v); b++) {
    const void *x = vector(k->in[0], v, b);
    if (event) bdl_k_active(k->scratch, x, v->dtype, v->shape[v->ndim - 1]);
    bdl_k_jitc_dot(vector(k->out[0], z, b), x, event ? k->scratch : NULL, &g, k->params[2].i != 0, z->dtype, k->threads);
  }
  return BDL_OK;
}

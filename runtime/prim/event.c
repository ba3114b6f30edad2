/*
** event.c -- rules of products with events and with sparse or regenerated matrices.
** An element of a vector is active when true or > 0.  With respect to the events a product is differentiated as the
** ordinary product; with respect to the weights on the stored pattern.
*/
#include <stdlib.h>
#include <string.h>

#include "prim/check.h"
#include "prim/rules.h"

/* ---- types ------------------------------------------------------------------------------------ */

bdl_status bdl_type_event_ids(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)p, (void)n_in;
  if (in[0].ndim != 1 || in[0].shape[0] > INT32_MAX)
    return bdl_fail(c, BDL_ESHAPE, "events are a vector, not %s", BDL_TEXT(&in[0]));
  out[0] = bdl_aval_make(BDL_I32, 1, in[0].shape);
  out[1] = bdl_aval_scalar(BDL_I32);
  return BDL_OK;
}

/* v is [n] or [b, n]; z: the same with m in the place of n. */
static bdl_status type_product(bdl_context *c, const bdl_aval *v, int64_t n, int64_t m, bdl_dtype d, bdl_aval *z) {
  if ((v->ndim != 1 && v->ndim != 2) || v->shape[v->ndim - 1] != n)
    return bdl_fail(c, BDL_ESHAPE, "the vector is %s, not [%" PRId64 "] or [b,%" PRId64 "]", BDL_TEXT(v), n, n);
  *z = *v;
  z->dtype = d;
  z->shape[z->ndim - 1] = m;
  return bdl_aval_check(c, z);
}

static bdl_status check_numeric(bdl_context *c, const bdl_aval *x) {
  if (x->dtype != BDL_BOOL) return BDL_OK;
  return bdl_fail(c, BDL_ETYPE, "weights are numbers, not %s", BDL_TEXT(x));
}

/* rows and cols of a matrix that no operand gives. */
static bdl_status check_extents(bdl_context *c, int64_t rows, int64_t cols) {
  if (rows >= 0 && rows <= INT32_MAX && cols >= 0 && cols <= INT32_MAX) return BDL_OK;
  return bdl_fail(c, BDL_EVALUE, "a matrix of %" PRId64 " rows and %" PRId64 " columns is not possible", rows, cols);
}

/* params: transpose */
bdl_status bdl_type_event_dot(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  const bdl_aval *w = &in[1];
  if (w->ndim != 2) return bdl_fail(c, BDL_ESHAPE, "weights are a matrix, not %s", BDL_TEXT(w));
  TRY(check_numeric(c, w));
  int t = p[0].i != 0;
  return type_product(c, &in[0], w->shape[t], w->shape[1 - t], w->dtype, out);
}

/* indices i32[nnz], indptr [rows + 1], or [2] for rows of equal length */
static bdl_status check_csr(bdl_context *c, int64_t rows, int64_t cols, const bdl_aval *indices, const bdl_aval *indptr) {
  TRY(check_extents(c, rows, cols));
  if (indices->ndim != 1 || indices->dtype != BDL_I32)
    return bdl_fail(c, BDL_ETYPE, "indices are i32[nnz], not %s", BDL_TEXT(indices));
  bool integer = indptr->dtype == BDL_I32 || indptr->dtype == BDL_I64;
  if (indptr->ndim != 1 || !integer || (indptr->shape[0] != rows + 1 && indptr->shape[0] != 2))
    return bdl_fail(c, BDL_ETYPE, "indptr is %s, not i32 or i64 of [%" PRId64 "] or [2]", BDL_TEXT(indptr), rows + 1);
  return BDL_OK;
}

static bdl_status check_data(bdl_context *c, const bdl_aval *data, const bdl_aval *indices) {
  TRY(check_numeric(c, data));
  if (data->ndim == 1 && (data->shape[0] == 1 || data->shape[0] == indices->shape[0])) return BDL_OK;
  return bdl_fail(c, BDL_ESHAPE, "data are %s, not [1] or [%" PRId64 "]", BDL_TEXT(data), indices->shape[0]);
}

/* params: rows cols transpose event */
bdl_status bdl_type_csr_dot(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  TRY(check_csr(c, p[0].i, p[1].i, &in[2], &in[3]));
  TRY(check_data(c, &in[1], &in[2]));
  if (!p[3].i) TRY(bdl_check_same_dtype(c, &in[0], &in[1]));
  bool t = p[2].i != 0;
  return type_product(c, &in[0], p[t ? 1 : 0].i, p[t ? 0 : 1].i, in[1].dtype, out);
}

/* params: rows cols */
bdl_status bdl_type_csr_scatter(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  const bdl_aval *y = &in[0], *ids = &in[1];
  TRY(check_csr(c, p[0].i, p[1].i, &in[4], &in[5]));
  TRY(check_data(c, &in[3], &in[4]));
  TRY(bdl_check_same_dtype(c, y, &in[3]));
  if (ids->ndim != 1 || ids->dtype != BDL_I32) return bdl_fail(c, BDL_ETYPE, "ids are i32[n], not %s", BDL_TEXT(ids));
  TRY(bdl_check_scalar(c, "the count", &in[2], BDL_I32));
  if (y->ndim != 1 || y->shape[0] != p[1].i)
    return bdl_fail(c, BDL_ESHAPE, "y is %s, not [%" PRId64 "]", BDL_TEXT(y), p[1].i);
  *out = *y;
  return BDL_OK;
}

/* params: rows cols event */
bdl_status bdl_type_csr_outer(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  const bdl_aval *a = &in[0], *b = &in[1];
  bdl_aval across;
  TRY(check_csr(c, p[0].i, p[1].i, &in[2], &in[3]));
  TRY(check_numeric(c, b));
  if (!p[2].i) TRY(bdl_check_same_dtype(c, a, b));
  TRY(type_product(c, a, p[0].i, p[1].i, b->dtype, &across));
  if (!bdl_aval_eq(&across, b))
    return bdl_fail(c, BDL_ESHAPE, "vectors are %s and %s, the second is not %s", BDL_TEXT(a), BDL_TEXT(b),
                    BDL_TEXT(&across));
  *out = bdl_aval_make(b->dtype, 1, in[2].shape);
  return BDL_OK;
}

/* "scalar:0.02": the probability ends the text.  The executor reads the same. */
static bool kind_is_valid(const char *kind) {
  static const char *const laws[] = {"scalar:", "uniform:", "normal:"};
  for (int i = 0; i < BDL_LEN(laws); i++)
    if (strncmp(kind, laws[i], strlen(laws[i])) == 0) {
      char *end;
      const char *text = kind + strlen(laws[i]);
      double prob = strtod(text, &end);
      return end != text && *end == '\0' && prob >= 0 && prob <= 1;
    }
  return false;
}

/* params: rows cols transpose event kind */
bdl_status bdl_type_jitc_dot(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  const bdl_aval *p0 = &in[1];
  TRY(check_extents(c, p[0].i, p[1].i));
  if (!kind_is_valid(p[4].s))
    return bdl_fail(c, BDL_EVALUE, "kind '%s' is not scalar, uniform or normal with a probability, as in scalar:0.02",
                    p[4].s);
  if (!bdl_dtype_is_float(p0->dtype)) return bdl_fail(c, BDL_ETYPE, "weights are floats, not %s", BDL_TEXT(p0));
  TRY(bdl_check_scalar(c, "p0", p0, p0->dtype));
  TRY(bdl_check_scalar(c, "p1", &in[2], p0->dtype));
  TRY(bdl_check_scalar(c, "the seed", &in[3], BDL_I64));
  if (!p[3].i) TRY(bdl_check_same_dtype(c, &in[0], p0));
  bool t = p[2].i != 0;
  return type_product(c, &in[0], p[t ? 1 : 0].i, p[t ? 0 : 1].i, p0->dtype, out);
}

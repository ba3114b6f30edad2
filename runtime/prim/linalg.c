/*
** linalg.c -- rules of products, convolutions and factorisations.
** Derivatives of factorisations: Giles 2008, "Collected matrix derivative results"; Murray 2016 (Cholesky).
*/
#include "prim/check.h"
#include "prim/rules.h"

/* ---- types ------------------------------------------------------------------------------------ */

/* The axes of pairs a of x and b of y: equally many, used once, equal extents. */
static bdl_status check_pairs(bdl_context *c, const bdl_aval *in, const bdl_param *a, const bdl_param *b,
                              bool used[2][BDL_MAX_NDIM]) {
  if (a->n != b->n)
    return bdl_fail(c, BDL_EVALUE, "%d axes of %s are paired with %d of %s", a->n, BDL_TEXT(&in[0]), b->n,
                    BDL_TEXT(&in[1]));
  TRY(bdl_check_axes(c, a, &in[0], used[0]));
  TRY(bdl_check_axes(c, b, &in[1], used[1]));
  for (int i = 0; i < a->n; i++)
    if (in[0].shape[a->ints[i]] != in[1].shape[b->ints[i]])
      return bdl_fail(c, BDL_ESHAPE, "axis %" PRId64 " of %s and axis %" PRId64 " of %s differ", a->ints[i],
                      BDL_TEXT(&in[0]), b->ints[i], BDL_TEXT(&in[1]));
  return BDL_OK;
}

/* params: lhs_contract rhs_contract lhs_batch rhs_batch */
bdl_status bdl_type_dot(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  bool used[2][BDL_MAX_NDIM] = {{false}};
  TRY(bdl_check_same_dtype(c, &in[0], &in[1]));
  TRY(check_pairs(c, in, &p[2], &p[3], used));
  TRY(check_pairs(c, in, &p[0], &p[1], used));
  TRY(bdl_check_ndim(c, (int64_t)in[0].ndim + in[1].ndim - 2 * p[0].n - p[2].n));
  *out = (bdl_aval){.dtype = in[0].dtype};
  for (int i = 0; i < p[2].n; i++) out->shape[out->ndim++] = in[0].shape[p[2].ints[i]];
  for (int s = 0; s < 2; s++)
    for (int i = 0; i < in[s].ndim; i++)
      if (!used[s][i]) out->shape[out->ndim++] = in[s].shape[i];
  return bdl_aval_check(c, out);
}

/* params: strides pad_lo pad_hi lhs_dilation rhs_dilation groups */
bdl_status bdl_type_conv(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  static const char *const name[5] = {"strides", "pad_lo", "pad_hi", "lhs_dilation", "rhs_dilation"};
  const bdl_aval *x = &in[0], *f = &in[1];
  int nd = x->ndim - 2;
  TRY(bdl_check_same_dtype(c, x, f));
  if (!bdl_dtype_is_float(x->dtype)) return bdl_fail(c, BDL_ETYPE, "floats are needed, not %s", BDL_TEXT(x));
  if (nd < 1 || nd > 3 || f->ndim != x->ndim)
    return bdl_fail(c, BDL_ESHAPE, "input %s and filter %s do not have 1 to 3 axes of space each", BDL_TEXT(x),
                    BDL_TEXT(f));
  int64_t groups = p[5].i, c_in = x->shape[nd + 1], c_out = f->shape[nd + 1];
  if (groups < 1 || c_in % groups != 0 || c_out % groups != 0 || f->shape[nd] != c_in / groups)
    return bdl_fail(c, BDL_ESHAPE, "channels of input %s and filter %s do not fit %" PRId64 " groups", BDL_TEXT(x),
                    BDL_TEXT(f), groups);
  for (int k = 0; k < 5; k++) TRY(bdl_check_length(c, name[k], &p[k], nd));
  *out = *x;
  out->shape[nd + 1] = c_out;
  for (int i = 0; i < nd; i++) {
    int64_t n = x->shape[i + 1], k = f->shape[i], stride = p[0].ints[i], lo = p[1].ints[i], hi = p[2].ints[i];
    int64_t dx = p[3].ints[i], df = p[4].ints[i];
    if (stride < 1 || dx < 1 || df < 1 || dx > BDL_MAX_EXTENT / BDL_MAX(n, 1) || df > BDL_MAX_EXTENT / BDL_MAX(k, 1) ||
        lo < -BDL_MAX_EXTENT || lo > BDL_MAX_EXTENT || hi < -BDL_MAX_EXTENT || hi > BDL_MAX_EXTENT)
      return bdl_fail(c, BDL_EVALUE,
                      "stride %" PRId64 ", padding %" PRId64 " and %" PRId64 ", dilations %" PRId64 " and %" PRId64
                      " are not possible on axis %d of %s",
                      stride, lo, hi, dx, df, i + 1, BDL_TEXT(x));
    int64_t span = (n > 0 ? (n - 1) * dx + 1 : 0) + lo + hi - (k > 0 ? (k - 1) * df + 1 : 1);
    out->shape[i + 1] = span < 0 ? 0 : span / stride + 1;
  }
  return bdl_aval_check(c, out);
}

static bdl_status check_square(bdl_context *c, const bdl_aval *x) {
  if (!bdl_dtype_is_float(x->dtype)) return bdl_fail(c, BDL_ETYPE, "floats are needed, not %s", BDL_TEXT(x));
  if (x->ndim >= 2 && x->shape[x->ndim - 1] == x->shape[x->ndim - 2] && x->shape[x->ndim - 1] <= INT32_MAX) return BDL_OK;
  return bdl_fail(c, BDL_ESHAPE, "%s is not made of square matrices", BDL_TEXT(x));
}

bdl_status bdl_type_square_float(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)p, (void)n_in;
  TRY(check_square(c, &in[0]));
  *out = in[0];
  return BDL_OK;
}

/* a [.., n, n], b [.., n, k] */
bdl_status bdl_type_solve(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)p, (void)n_in;
  const bdl_aval *a = &in[0], *b = &in[1];
  TRY(check_square(c, a));
  TRY(bdl_check_same_dtype(c, a, b));
  bool fits = b->ndim == a->ndim && b->shape[b->ndim - 1] <= INT32_MAX;
  for (int i = 0; fits && i < a->ndim - 1; i++) fits = a->shape[i] == b->shape[i];
  if (!fits) return bdl_fail(c, BDL_ESHAPE, "matrix %s and right side %s do not fit", BDL_TEXT(a), BDL_TEXT(b));
  *out = *b;
  return BDL_OK;
}

bdl_status bdl_type_lu(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)p, (void)n_in;
  TRY(check_square(c, &in[0]));
  out[0] = in[0];
  out[1] = bdl_aval_make(BDL_I32, in[0].ndim - 1, in[0].shape);
  return BDL_OK;
}

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

/* v is [n] or [b, n], behind an axis of lanes >= 0; z: the same with m in the place of n. */
static bdl_status type_product(bdl_context *c, const bdl_aval *v, int64_t lanes, int64_t n, int64_t m, bdl_dtype d, bdl_aval *z) {
  const int rank = v->ndim - (lanes >= 0);
  if ((rank != 1 && rank != 2) || v->shape[v->ndim - 1] != n)
    return bdl_fail(c, BDL_ESHAPE, "the vector is %s, not [%" PRId64 "] or [b,%" PRId64 "]%s", BDL_TEXT(v), n, n,
                    lanes >= 0 ? " behind an axis of lanes" : "");
  if (lanes >= 0 && v->shape[0] != lanes)
    return bdl_fail(c, BDL_ESHAPE, "the vector is %s, but the matrix has %" PRId64 " lanes", BDL_TEXT(v), lanes);
  *z = *v;
  z->dtype = d;
  z->shape[z->ndim - 1] = m;
  return bdl_aval_check(c, z);
}

/* x, of that rank, without the axis of lanes that may stand in front; *lanes, -1 at first: as many as others have. */
static bdl_status without_lanes(bdl_context *c, const bdl_aval *x, int rank, bdl_aval *z, int64_t *lanes) {
  *z = *x;
  if (x->ndim != rank + 1) return BDL_OK;
  *z = bdl_aval_make(x->dtype, rank, x->shape + 1);
  if (*lanes >= 0 && *lanes != x->shape[0])
    return bdl_fail(c, BDL_ESHAPE, "%s has not the %" PRId64 " lanes of the others", BDL_TEXT(x), *lanes);
  *lanes = x->shape[0];
  return BDL_OK;
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
  bdl_aval w;
  int64_t lanes = -1;
  TRY(without_lanes(c, &in[1], 2, &w, &lanes));
  if (w.ndim != 2) return bdl_fail(c, BDL_ESHAPE, "weights are a matrix, not %s", BDL_TEXT(&in[1]));
  TRY(check_numeric(c, &w));
  int t = p[0].i != 0;
  return type_product(c, &in[0], lanes, w.shape[t], w.shape[1 - t], w.dtype, out);
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
  bdl_aval a[3]; /* data, indices, indptr */
  int64_t lanes = -1;
  for (int k = 0; k < 3; k++) TRY(without_lanes(c, &in[k + 1], 1, &a[k], &lanes));
  TRY(check_csr(c, p[0].i, p[1].i, &a[1], &a[2]));
  TRY(check_data(c, &a[0], &a[1]));
  if (!p[3].i) TRY(bdl_check_same_dtype(c, &in[0], &in[1]));
  bool t = p[2].i != 0;
  return type_product(c, &in[0], lanes, p[t ? 1 : 0].i, p[t ? 0 : 1].i, in[1].dtype, out);
}

/* params: rows cols transpose */
bdl_status bdl_type_csr_scatter(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  const bdl_aval *y = &in[0], *ids = &in[1];
  TRY(check_csr(c, p[0].i, p[1].i, &in[4], &in[5]));
  TRY(check_data(c, &in[3], &in[4]));
  TRY(bdl_check_same_dtype(c, y, &in[3]));
  if (ids->ndim != 1 || ids->dtype != BDL_I32) return bdl_fail(c, BDL_ETYPE, "ids are i32[n], not %s", BDL_TEXT(ids));
  TRY(bdl_check_scalar(c, "the count", &in[2], BDL_I32));
  const int64_t n = p[p[2].i ? 0 : 1].i;
  if (y->ndim != 1 || y->shape[0] != n) return bdl_fail(c, BDL_ESHAPE, "y is %s, not [%" PRId64 "]", BDL_TEXT(y), n);
  *out = *y;
  return BDL_OK;
}

/* params: rows cols event */
bdl_status bdl_type_csr_outer(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  const bdl_aval *a = &in[0], *b = &in[1];
  bdl_aval across, m[2]; /* indices, indptr */
  int64_t lanes = a->ndim == 3 ? a->shape[0] : -1;
  for (int k = 0; k < 2; k++) TRY(without_lanes(c, &in[k + 2], 1, &m[k], &lanes));
  if (lanes >= 0 && a->ndim != 3) return bdl_fail(c, BDL_ESHAPE, "vectors with lanes are [lanes,b,n], not %s", BDL_TEXT(a));
  TRY(check_csr(c, p[0].i, p[1].i, &m[0], &m[1]));
  TRY(check_numeric(c, b));
  if (!p[2].i) TRY(bdl_check_same_dtype(c, a, b));
  TRY(type_product(c, a, lanes, p[0].i, p[1].i, b->dtype, &across));
  if (!bdl_aval_eq(&across, b))
    return bdl_fail(c, BDL_ESHAPE, "vectors are %s and %s, the second is not %s", BDL_TEXT(a), BDL_TEXT(b),
                    BDL_TEXT(&across));
  *out = lanes < 0 ? bdl_aval_make(b->dtype, 1, m[0].shape) : bdl_aval_make(b->dtype, 2, (int64_t[]){lanes, m[0].shape[0]});
  return bdl_aval_check(c, out);
}

/* ids, count, x [others], gain [spiking] or [1], low, high of weights w; operands 1 to 6 without lanes in a */
static bdl_status check_learn(bdl_context *c, const bdl_aval *w, const bdl_aval *a, int64_t spiking, int64_t others) {
  static const char *const names[] = {"", "ids", "the count", "x", "gain", "low", "high"};
  TRY(check_numeric(c, w));
  if (a[1].ndim != 1 || a[1].dtype != BDL_I32) return bdl_fail(c, BDL_ETYPE, "ids are i32[n], not %s", BDL_TEXT(&a[1]));
  TRY(bdl_check_scalar(c, names[2], &a[2], BDL_I32));
  for (int k = 3; k < 7; k++) {
    const int64_t n = k == 3 ? others : spiking;
    if (k > 4) {
      TRY(bdl_check_scalar(c, names[k], &a[k], w->dtype));
    } else if (a[k].dtype != w->dtype || a[k].ndim != 1 || (a[k].shape[0] != n && (k == 3 || a[k].shape[0] != 1))) {
      return bdl_fail(c, BDL_ESHAPE, "%s is %s, not %s[%" PRId64 "]", names[k], BDL_TEXT(&a[k]), bdl_dtype_name(w->dtype), n);
    }
  }
  return BDL_OK;
}

enum { LEARN_OPERANDS = 7, MOST_OPERANDS = 10 };
static const int learn_ranks[MOST_OPERANDS] = {0, 1, 0, 1, 1, 0, 0, 1, 1, 1}; /* but w's */

/* Operands without lanes: all have some, or only those of a pattern have none. */
static bdl_status learn_operands(bdl_context *c, const bdl_aval *in, int n_in, int rank, bdl_aval *a) {
  int64_t lanes = -1;
  for (int k = 0; k < n_in; k++) {
    TRY(without_lanes(c, &in[k], k ? learn_ranks[k] : rank, &a[k], &lanes));
    if (k > 0 && k < LEARN_OPERANDS && (in[0].ndim > rank) != (in[k].ndim > learn_ranks[k]))
      return bdl_fail(c, BDL_ESHAPE, "weights are %s, operand %d is %s: of all or of none the lanes", BDL_TEXT(&in[0]), k + 1,
                      BDL_TEXT(&in[k]));
  }
  return BDL_OK;
}

/* params: transpose */
bdl_status bdl_type_event_learn(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  bdl_aval a[MOST_OPERANDS];
  const int t = p[0].i != 0;
  TRY(learn_operands(c, in, n_in, 2, a));
  if (a[0].ndim != 2) return bdl_fail(c, BDL_ESHAPE, "weights are a matrix, not %s", BDL_TEXT(&in[0]));
  TRY(check_learn(c, &a[0], a, a[0].shape[t], a[0].shape[1 - t]));
  *out = in[0];
  return BDL_OK;
}

/* params: rows cols */
bdl_status bdl_type_csr_learn(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  bdl_aval a[MOST_OPERANDS];
  if (n_in != MOST_OPERANDS && n_in != MOST_OPERANDS - 1)
    return bdl_fail(c, BDL_EVALUE, "%d operands where %d or %d are needed", n_in, MOST_OPERANDS - 1, MOST_OPERANDS);
  TRY(learn_operands(c, in, n_in, 1, a));
  TRY(check_csr(c, p[0].i, p[1].i, &a[7], &a[8]));
  for (int k = 0; k < n_in; k += 9)
    if (a[k].ndim != 1 || a[k].shape[0] != a[7].shape[0])
      return bdl_fail(c, BDL_ESHAPE, "%s are %s, not [%" PRId64 "]", k ? "places" : "weights", BDL_TEXT(&a[k]), a[7].shape[0]);
  if (n_in == MOST_OPERANDS && a[9].dtype != BDL_I32) return bdl_fail(c, BDL_ETYPE, "places are i32[nnz], not %s", BDL_TEXT(&a[9]));
  TRY(check_learn(c, &a[0], a, p[0].i, p[1].i));
  *out = in[0];
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
  bdl_aval w[3]; /* p0, p1, seed */
  const bdl_aval *p0 = &w[0];
  int64_t lanes = -1;
  for (int k = 0; k < 3; k++) TRY(without_lanes(c, &in[k + 1], 0, &w[k], &lanes));
  TRY(check_extents(c, p[0].i, p[1].i));
  if (!kind_is_valid(p[4].s))
    return bdl_fail(c, BDL_EVALUE, "kind '%s' is not scalar, uniform or normal with a probability, as in scalar:0.02",
                    p[4].s);
  if (!bdl_dtype_is_float(p0->dtype)) return bdl_fail(c, BDL_ETYPE, "weights are floats, not %s", BDL_TEXT(p0));
  TRY(bdl_check_scalar(c, "p0", p0, p0->dtype));
  TRY(bdl_check_scalar(c, "p1", &w[1], p0->dtype));
  TRY(bdl_check_scalar(c, "the seed", &w[2], BDL_I64));
  if (!p[3].i) TRY(bdl_check_same_dtype(c, &in[0], p0));
  bool t = p[2].i != 0;
  return type_product(c, &in[0], lanes, p[t ? 1 : 0].i, p[t ? 0 : 1].i, p0->dtype, out);
}

/* ---- derivatives ------------------------------------------------------------------------------ */

/* Vectors v, behind any axes, times the matrix w over its axis `over`; w may have lanes, which v then has too. */
static bdl_status dense_dot(bdl_prog *b, bdl_atom v, bdl_atom w, int64_t over, bdl_atom *z) {
  const int lanes = bdl_aval_of(b, w)->ndim - 2;
  const int64_t last = bdl_aval_of(b, v)->ndim - 1, first = 0, axis = over + lanes;
  const bdl_param batch = bdl_pints(&first, lanes);
  return bdl_bind(b, BDL_P_dot, (bdl_param[]){bdl_pints(&last, 1), bdl_pints(&axis, 1), batch, batch}, (bdl_atom[]){v, w}, 2, z);
}

/* x[i] y[j], a lane, summed over the axis between lanes and vectors */
static bdl_status dense_outer(bdl_prog *b, bdl_atom x, bdl_atom y, int lanes, bdl_atom *z) {
  const int64_t first = 0, axis = lanes;
  const bdl_param over = bdl_pints(&axis, bdl_aval_of(b, x)->ndim - 1 - lanes), batch = bdl_pints(&first, lanes);
  return bdl_bind(b, BDL_P_dot, (bdl_param[]){over, over, batch, batch}, (bdl_atom[]){x, y}, 2, z);
}

/* 1 where s is active, else 0, as dtype d */
static bdl_status active(bdl_prog *b, bdl_atom s, bdl_dtype d, bdl_atom *z) {
  const bdl_dtype from = bdl_aval_of(b, s)->dtype;
  if (from != BDL_BOOL) {
    bdl_atom zero;
    TRY(bdl_ir_scalar(b, from, 0, &zero));
    TRY(bdl_bind2(b, BDL_P_gt, s, zero, &s));
  }
  return bdl_ir_cast(b, s, d, z);
}

BDL_JVP(event_dot) {
  bdl_atom by_s = BDL_ZERO, by_w = BDL_ZERO;
  (void)z;
  if (!bdl_is_zero(dx[0])) {
    TRY(bdl_ir_cast(b, dx[0], bdl_aval_of(b, x[1])->dtype, &by_s));
    TRY(dense_dot(b, by_s, x[1], e->params[0].i ? 1 : 0, &by_s));
  }
  if (!bdl_is_zero(dx[1])) TRY(bdl_bind(b, e->prim, e->params, (bdl_atom[]){x[0], dx[1]}, 2, &by_w));
  return bdl_rule_add(b, by_s, by_w, dz);
}

BDL_TRANSPOSE(event_dot) {
  bdl_atom s;
  (void)is_linear;
  TRY(active(b, x[0], bdl_aval_of(b, x[1])->dtype, &s));
  const int lanes = bdl_aval_of(b, x[1])->ndim - 2;
  return e->params[0].i ? dense_outer(b, ct[0], s, lanes, &ct_in[1]) : dense_outer(b, s, ct[0], lanes, &ct_in[1]);
}

/* The vector's tangent meets the weights in an ordinary product. */
BDL_JVP(csr_dot) {
  bdl_atom by_v = BDL_ZERO, by_data = BDL_ZERO;
  (void)z;
  if (!bdl_is_zero(dx[0])) {
    TRY(bdl_ir_cast(b, dx[0], bdl_aval_of(b, x[1])->dtype, &by_v));
    TRY(bdl_bind(b, e->prim, (bdl_param[]){e->params[0], e->params[1], e->params[2], bdl_pint(0)},
                 (bdl_atom[]){by_v, x[1], x[2], x[3]}, 4, &by_v));
  }
  if (!bdl_is_zero(dx[1])) TRY(bdl_bind(b, e->prim, e->params, (bdl_atom[]){x[0], dx[1], x[2], x[3]}, 4, &by_data));
  return bdl_rule_add(b, by_v, by_data, dz);
}

/* The sum of all of x times y, or of each lane of `like`, in its shape */
static bdl_status inner_product(bdl_prog *b, bdl_atom x, bdl_atom y, const bdl_aval *like, int lanes, bdl_atom *z) {
  const int n = bdl_aval_of(b, x)->ndim;
  const int64_t axes[3] = {0, 1, 2};
  TRY(bdl_bind2(b, BDL_P_mul, x, y, z));
  TRY(bdl_rule_axes(b, BDL_P_reduce_sum, *z, axes + lanes, n - lanes, z));
  return bdl_ir_reshape(b, *z, like->ndim, like->shape, z);
}

/* [lanes, n] -> [lanes, 1, n] */
static bdl_status with_rows(bdl_prog *b, bdl_atom v, bdl_atom *z) {
  const bdl_aval a = *bdl_aval_of(b, v);
  *z = v;
  return a.ndim == 3 ? BDL_OK : bdl_ir_reshape(b, v, 3, (int64_t[]){a.shape[0], 1, a.shape[1]}, z);
}

/* Cotangent of v: ct times the transpose.  Of the data: the outer product of v and ct on the pattern; a weight that all
** share: <ct, product with weight 1>. */
BDL_TRANSPOSE(csr_dot) {
  const bdl_param *p = e->params;
  const bdl_aval data = *bdl_aval_of(b, x[1]);
  const bool transpose = p[2].i != 0, event = p[3].i != 0, own = data.ndim == 2; /* each lane has weights of its own */
  const bool lanes = own || bdl_aval_of(b, x[2])->ndim == 2 || bdl_aval_of(b, x[3])->ndim == 2;
  if (is_linear[0])
    TRY(bdl_bind(b, e->prim, (bdl_param[]){p[0], p[1], bdl_pint(!transpose), bdl_pint(0)},
                 (bdl_atom[]){ct[0], x[1], x[2], x[3]}, 4, &ct_in[0]));
  if (!is_linear[1]) return BDL_OK;
  if (data.shape[data.ndim - 1] == 1) {
    bdl_atom y;
    TRY(bdl_ir_full(b, &data, 1, &y));
    TRY(bdl_bind(b, e->prim, p, (bdl_atom[]){x[0], y, x[2], x[3]}, 4, &y));
    return inner_product(b, ct[0], y, &data, own, &ct_in[1]);
  }
  bdl_atom side[2] = {x[0], ct[0]};
  const int64_t first = 0;
  if (event && transpose) TRY(active(b, x[0], data.dtype, &side[0]));
  for (int i = 0; lanes && i < 2; i++) TRY(with_rows(b, side[i], &side[i]));
  TRY(bdl_bind(b, BDL_P_csr_outer, (bdl_param[]){p[0], p[1], bdl_pint(event && !transpose)},
               (bdl_atom[]){side[transpose], side[!transpose], x[2], x[3]}, 4, &ct_in[1]));
  return lanes && !own ? bdl_rule_axes(b, BDL_P_reduce_sum, ct_in[1], &first, 1, &ct_in[1]) : BDL_OK;
}

BDL_JVP(csr_outer) {
  bdl_atom left = BDL_ZERO, right = BDL_ZERO;
  (void)z;
  if (!bdl_is_zero(dx[0])) {
    TRY(bdl_ir_cast(b, dx[0], bdl_aval_of(b, x[1])->dtype, &left));
    TRY(bdl_bind(b, e->prim, (bdl_param[]){e->params[0], e->params[1], bdl_pint(0)}, (bdl_atom[]){left, x[1], x[2], x[3]},
                 4, &left));
  }
  if (!bdl_is_zero(dx[1])) TRY(bdl_bind(b, e->prim, e->params, (bdl_atom[]){x[0], dx[1], x[2], x[3]}, 4, &right));
  return bdl_rule_add(b, left, right, dz);
}

/* Products with the matrix that holds ct on the pattern. */
BDL_TRANSPOSE(csr_outer) {
  const bdl_param *p = e->params;
  if (is_linear[0])
    TRY(bdl_bind(b, BDL_P_csr_dot, (bdl_param[]){p[0], p[1], bdl_pint(1), bdl_pint(0)},
                 (bdl_atom[]){x[1], ct[0], x[2], x[3]}, 4, &ct_in[0]));
  if (is_linear[1])
    TRY(bdl_bind(b, BDL_P_csr_dot, (bdl_param[]){p[0], p[1], bdl_pint(0), p[2]}, (bdl_atom[]){x[0], ct[0], x[2], x[3]}, 4,
                 &ct_in[1]));
  return BDL_OK;
}

/* The matrix is linear in (p0, p1) together. */
BDL_JVP(jitc_dot) {
  bdl_atom by_v = BDL_ZERO, by_p = BDL_ZERO;
  (void)z;
  if (!bdl_is_zero(dx[0])) {
    TRY(bdl_ir_cast(b, dx[0], bdl_aval_of(b, x[1])->dtype, &by_v));
    TRY(bdl_bind(b, e->prim, (bdl_param[]){e->params[0], e->params[1], e->params[2], bdl_pint(0), e->params[4]},
                 (bdl_atom[]){by_v, x[1], x[2], x[3]}, 4, &by_v));
  }
  if (!bdl_is_zero(dx[1]) || !bdl_is_zero(dx[2])) {
    bdl_atom in[4] = {x[0], BDL_ZERO, BDL_ZERO, x[3]};
    for (int i = 1; i <= 2; i++) TRY(bdl_rule_or_zeros(b, dx[i], x[i], &in[i]));
    TRY(bdl_bind(b, e->prim, e->params, in, 4, &by_p));
  }
  return bdl_rule_add(b, by_v, by_p, dz);
}

BDL_TRANSPOSE(jitc_dot) {
  const bdl_param *p = e->params;
  if (is_linear[0])
    TRY(bdl_bind(b, e->prim, (bdl_param[]){p[0], p[1], bdl_pint(!p[2].i), bdl_pint(0), p[4]},
                 (bdl_atom[]){ct[0], x[1], x[2], x[3]}, 4, &ct_in[0]));
  for (int i = 1; i <= 2; i++) {
    bdl_atom in[4] = {x[0], BDL_ZERO, BDL_ZERO, x[3]}, y;
    const bdl_aval a[2] = {*bdl_aval_of(b, x[1]), *bdl_aval_of(b, x[2])};
    if (!is_linear[i]) continue;
    for (int k = 0; k < 2; k++) TRY(bdl_ir_full(b, &a[k], i == k + 1, &in[k + 1]));
    TRY(bdl_bind(b, e->prim, p, in, 4, &y));
    TRY(inner_product(b, ct[0], y, &a[i - 1], a[i - 1].ndim, &ct_in[i]));
  }
  return BDL_OK;
}

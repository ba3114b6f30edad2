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

/* params: as of dot, onto */
bdl_status bdl_type_dot_add(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  if (!bdl_dtype_is_float(in[0].dtype)) return bdl_fail(c, BDL_ETYPE, "floats are needed, not %s", BDL_TEXT(&in[0]));
  TRY(bdl_type_dot(c, p, in, n_in, out));
  const bool column = in[2].ndim == 1 && out->ndim > 0 && in[2].shape[0] == out->shape[out->ndim - 1];
  if (in[2].dtype != out->dtype || !(p[4].i ? bdl_aval_eq(&in[2], out) : column))
    return bdl_fail(c, BDL_ESHAPE, "%s cannot be added to a product %s%s", BDL_TEXT(&in[2]), BDL_TEXT(out), p[4].i ? " in its place" : "");
  return BDL_OK;
}

/* params: contract columns */
bdl_status bdl_type_dot_pack(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  const int64_t axis = p[0].i, columns = p[1].i;
  if (!bdl_dtype_is_float(in[0].dtype)) return bdl_fail(c, BDL_ETYPE, "floats are needed, not %s", BDL_TEXT(&in[0]));
  if (in[0].ndim != 2 || axis < 0 || axis > 1 || columns < 1 || columns > BDL_MAX_EXTENT)
    return bdl_fail(c, BDL_ESHAPE, "axis %" PRId64 " of %s in slivers of %" PRId64 " columns", axis, BDL_TEXT(&in[0]), columns);
  *out = (bdl_aval){.dtype = in[0].dtype, .ndim = 3, .shape = {(in[0].shape[1 - axis] + columns - 1) / columns, in[0].shape[axis], columns}};
  return bdl_aval_check(c, out);
}

/* params: as of dot */
bdl_status bdl_type_packed_dot(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  bdl_aval want;
  TRY(bdl_type_dot(c, p, in, n_in, out));
  TRY(bdl_type_dot_pack(c, (bdl_param[]){bdl_pint(p[1].n == 1 ? p[1].ints[0] : -1), bdl_pint(in[2].ndim == 3 ? in[2].shape[2] : 0)},
                        &in[1], 1, &want));
  if (!bdl_aval_eq(&want, &in[2]))
    return bdl_fail(c, BDL_ESHAPE, "%s are not the slivers of %s", BDL_TEXT(&in[2]), BDL_TEXT(&in[1]));
  return BDL_OK;
}

/* params: as of dot */
bdl_status bdl_type_sparse_dot(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  if (!bdl_dtype_is_float(in[0].dtype)) return bdl_fail(c, BDL_ETYPE, "floats are needed, not %s", BDL_TEXT(&in[0]));
  TRY(bdl_check_scalar(c, "whether y is finite", &in[2], BDL_BOOL));
  return bdl_type_dot(c, p, in, n_in, out);
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

bdl_status bdl_type_lu_permutation(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)p, (void)n_in;
  if (in[0].dtype != BDL_I32 || in[0].ndim < 1 || in[0].shape[in[0].ndim - 1] > INT32_MAX)
    return bdl_fail(c, BDL_ETYPE, "row exchanges are i32[.., n], not %s", BDL_TEXT(&in[0]));
  *out = in[0];
  return BDL_OK;
}

/* ---- dot -------------------------------------------------------------------------------------- */

BDL_JVP(dot) {
  bdl_atom left = BDL_ZERO, right = BDL_ZERO;
  (void)z;
  if (!bdl_is_zero(dx[0])) TRY(bdl_bind(b, e->prim, e->params, (bdl_atom[]){dx[0], x[1]}, 2, &left));
  if (!bdl_is_zero(dx[1])) TRY(bdl_bind(b, e->prim, e->params, (bdl_atom[]){x[0], dx[1]}, 2, &right));
  return bdl_rule_add(b, left, right, dz);
}

/* Axes of a that are in neither list, ascending. */
static int rest_of(const bdl_aval *a, const bdl_param *p, const bdl_param *q, int64_t *axes) {
  int n = 0;
  for (int i = 0; i < a->ndim; i++) {
    bool used = false;
    for (int k = 0; k < p->n; k++) used = used || p->ints[k] == i;
    for (int k = 0; k < q->n; k++) used = used || q->ints[k] == i;
    if (!used) axes[n++] = i;
  }
  return n;
}

/* Cotangent of operand w: ct and the other operand y, over y's free axes.  ct y has the axes batch, free axes of operand w,
** contracted axes in y's order; y ct has the contracted ones in front.  A permutation puts them where operand w has them;
** of matrices the product that needs none is taken. */
static bdl_status dot_back(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, int w, bdl_atom ct, bdl_atom *out) {
  const bdl_param *contract = &e->params[0], *batch = &e->params[2];
  const bdl_aval mine = *bdl_aval_of(b, x[w]), other = *bdl_aval_of(b, x[1 - w]);
  int64_t free_mine[BDL_MAX_NDIM], free_other[BDL_MAX_NDIM], in_ct[BDL_MAX_NDIM], leading[BDL_MAX_NDIM], to[BDL_MAX_NDIM];
  const int n_batch = batch[w].n, n_mine = rest_of(&mine, &contract[w], &batch[w], free_mine);
  const int n_other = rest_of(&other, &contract[1 - w], &batch[1 - w], free_other);
  const bool other_first = contract[w].n > 0 && n_mine > 0 && contract[w].ints[0] < free_mine[0];
  int at = 0;
  for (int i = 0; i < n_other; i++) in_ct[i] = n_batch + (w == 0 ? n_mine : 0) + i;
  for (int i = 0; i < n_batch; i++) leading[i] = i, to[batch[w].ints[i]] = at++;
  for (int i = 0; !other_first && i < n_mine; i++) to[free_mine[i]] = at++;
  for (int axis = 0; axis < other.ndim; axis++)
    for (int i = 0; i < contract[1 - w].n; i++)
      if (contract[1 - w].ints[i] == axis) to[contract[w].ints[i]] = at++;
  for (int i = 0; other_first && i < n_mine; i++) to[free_mine[i]] = at++;
  const bdl_param over_ct = bdl_pints(in_ct, n_other), over_other = bdl_pints(free_other, n_other);
  const bdl_param of_ct = bdl_pints(leading, n_batch), of_other = batch[1 - w];
  if (other_first)
    TRY(bdl_bind(b, BDL_P_dot, (bdl_param[]){over_other, over_ct, of_other, of_ct}, (bdl_atom[]){x[1 - w], ct}, 2, out));
  else
    TRY(bdl_bind(b, BDL_P_dot, (bdl_param[]){over_ct, over_other, of_ct, of_other}, (bdl_atom[]){ct, x[1 - w]}, 2, out));
  for (int i = 0; i < mine.ndim; i++)
    if (to[i] != i) return bdl_rule_axes(b, BDL_P_permute, *out, to, mine.ndim, out);
  return BDL_OK;
}

BDL_TRANSPOSE(dot) {
  for (int w = 0; w < 2; w++)
    if (is_linear[w]) TRY(dot_back(b, e, x, w, ct[0], &ct_in[w]));
  return BDL_OK;
}

/* ---- conv: both cotangents are convolutions again ---------------------------------------------- */

BDL_JVP(conv) {
  return bdl_jvp_dot(b, e, x, dx, z, dz);
}

/* Extent of n elements with gaps. */
static int64_t spread(int64_t n, int64_t dilation) {
  return n > 0 ? (n - 1) * dilation + 1 : 0;
}

/* x with one axis split into (groups, rest), permuted, and two neighbouring axes joined: what moves channels between the
** groups of input and output. */
static bdl_status regrouped(bdl_prog *b, bdl_atom x, int split, int64_t groups, const int64_t *order, int join,
                            bdl_atom *z) {
  bdl_aval a = *bdl_aval_of(b, x);
  for (int i = a.ndim; i > split; i--) a.shape[i] = a.shape[i - 1];
  a.shape[split] = groups;
  a.shape[split + 1] /= groups;
  a.ndim++;
  TRY(bdl_ir_reshape(b, x, a.ndim, a.shape, &x));
  TRY(bdl_rule_axes(b, BDL_P_permute, x, order, a.ndim, &x));
  a = *bdl_aval_of(b, x);
  a.shape[join] *= a.shape[join + 1];
  for (int i = join + 1; i < a.ndim - 1; i++) a.shape[i] = a.shape[i + 1];
  a.ndim--;
  return bdl_ir_reshape(b, x, a.ndim, a.shape, z);
}

BDL_TRANSPOSE(conv) {
  const bdl_aval xa = *bdl_aval_of(b, x[0]), fa = *bdl_aval_of(b, x[1]), za = *bdl_aval_of(b, ct[0]);
  const bdl_param *p = e->params;
  const int nd = xa.ndim - 2;
  const int64_t groups = p[5].i;
  int64_t lo[3], hi[3], order[BDL_MAX_NDIM], flip[3];
  if (bdl_aval_numel(&za) == 0 || bdl_aval_numel(&xa) == 0 || bdl_aval_numel(&fa) == 0) {
    for (int w = 0; w < 2; w++)
      if (is_linear[w]) TRY(bdl_rule_or_zeros(b, BDL_ZERO, x[w], &ct_in[w]));
    return BDL_OK;
  }
  if (is_linear[0]) { /* ct with strides as gaps, the filter flipped, its channels exchanged */
    bdl_atom f;
    for (int i = 0; i < nd; i++) {
      const int64_t taps = spread(fa.shape[i], p[4].ints[i]);
      lo[i] = taps - 1 - p[1].ints[i];
      hi[i] = spread(xa.shape[i + 1], p[3].ints[i]) + taps - 1 - spread(za.shape[i + 1], p[0].ints[i]) - lo[i];
      flip[i] = order[i] = i;
    }
    /* [k.., c_in/g, (g, c_out/g)] -> [k.., c_out/g, (g, c_in/g)] */
    order[nd] = nd + 2, order[nd + 1] = nd + 1, order[nd + 2] = nd;
    TRY(regrouped(b, x[1], nd + 1, groups, order, nd + 1, &f));
    TRY(bdl_rule_axes(b, BDL_P_reverse, f, flip, nd, &f));
    TRY(bdl_bind(b, BDL_P_conv, (bdl_param[]){p[3], bdl_pints(lo, nd), bdl_pints(hi, nd), p[0], p[4], p[5]},
                 (bdl_atom[]){ct[0], f}, 2, &ct_in[0]));
  }
  if (is_linear[1]) { /* x and ct with batch and channels exchanged; strides and dilations of the filter exchanged */
    bdl_atom left, right;
    for (int i = 0; i < nd; i++) {
      lo[i] = p[1].ints[i];
      hi[i] = spread(fa.shape[i], p[4].ints[i]) - 1 + spread(za.shape[i + 1], p[0].ints[i]) -
              spread(xa.shape[i + 1], p[3].ints[i]) - lo[i];
    }
    /* x [n, space.., (g, c_in/g)] -> [c_in/g, space.., (g, n)] */
    order[0] = nd + 2;
    for (int i = 1; i <= nd; i++) order[i] = i;
    order[nd + 1] = nd + 1, order[nd + 2] = 0;
    TRY(regrouped(b, x[0], nd + 1, groups, order, nd + 1, &left));
    /* ct [n, space.., c_out] -> [space.., n, c_out] */
    for (int i = 0; i < nd; i++) order[i] = i + 1;
    order[nd] = 0, order[nd + 1] = nd + 1;
    TRY(bdl_rule_axes(b, BDL_P_permute, ct[0], order, nd + 2, &right));
    TRY(bdl_bind(b, BDL_P_conv, (bdl_param[]){p[4], bdl_pints(lo, nd), bdl_pints(hi, nd), p[3], p[0], p[5]},
                 (bdl_atom[]){left, right}, 2, &left));
    /* [c_in/g, k.., c_out] -> [k.., c_in/g, c_out]: the same exchange */
    return bdl_rule_axes(b, BDL_P_permute, left, order, nd + 2, &ct_in[1]);
  }
  return BDL_OK;
}

/* ---- factorisations --------------------------------------------------------------------------- */

/* The last two axes exchanged. */
static bdl_status matrix_t(bdl_prog *b, bdl_atom x, bdl_atom *z) {
  const int n = bdl_aval_of(b, x)->ndim;
  int64_t axes[BDL_MAX_NDIM];
  for (int i = 0; i < n; i++) axes[i] = i;
  axes[n - 2] = n - 1, axes[n - 1] = n - 2;
  return bdl_rule_axes(b, BDL_P_permute, x, axes, n, z);
}

/* x y, or x' y, over the leading axes */
static bdl_status matrix_mul(bdl_prog *b, bdl_atom x, bool trans, bdl_atom y, bdl_atom *z) {
  const int n = bdl_aval_of(b, x)->ndim;
  const int64_t left = trans ? n - 2 : n - 1, right = n - 2;
  int64_t lead[BDL_MAX_NDIM];
  for (int i = 0; i < n - 2; i++) lead[i] = i;
  const bdl_param leading = bdl_pints(lead, n - 2);
  return bdl_bind(b, BDL_P_dot, (bdl_param[]){bdl_pints(&left, 1), bdl_pints(&right, 1), leading, leading},
                  (bdl_atom[]){x, y}, 2, z);
}

/* x times `below`, `diagonal`, `above` by the place of each element. */
static bdl_status weigh_triangles(bdl_prog *b, bdl_atom x, double below, double diagonal, double above, bdl_atom *z) {
  const bdl_aval a = *bdl_aval_of(b, x);
  const bdl_aval square = bdl_aval_make(BDL_I32, 2, a.shape + a.ndim - 2);
  bdl_atom row, col, on, under, w[3];
  const double value[3] = {below, diagonal, above};
  const bdl_param shape = bdl_pints(square.shape, 2), i32 = bdl_pdtype(BDL_I32);
  TRY(bdl_bind(b, BDL_P_iota, (bdl_param[]){shape, bdl_pint(0), i32}, NULL, 0, &row));
  TRY(bdl_bind(b, BDL_P_iota, (bdl_param[]){shape, bdl_pint(1), i32}, NULL, 0, &col));
  TRY(bdl_bind2(b, BDL_P_eq, row, col, &on));
  TRY(bdl_bind2(b, BDL_P_gt, row, col, &under));
  for (int i = 0; i < 3; i++) TRY(bdl_ir_scalar(b, a.dtype, value[i], &w[i]));
  TRY(bdl_bind3(b, BDL_P_select, on, w[1], w[2], &w[1]));
  TRY(bdl_bind3(b, BDL_P_select, under, w[0], w[1], &w[0]));
  return bdl_bind2(b, BDL_P_mul, x, w[0], z);
}

static bdl_status solve_triangular(bdl_prog *b, bdl_atom a, bdl_atom y, bool trans, bdl_atom *z) {
  return bdl_bind(b, BDL_P_triangular_solve, (bdl_param[]){bdl_pint(1), bdl_pint(trans), bdl_pint(0)}, (bdl_atom[]){a, y},
                  2, z);
}

/* dL = L phi(L^-1 dS L^-T), dS = (dx + dx')/2, phi: the lower triangle with half the diagonal. */
BDL_JVP(cholesky) {
  const bdl_dtype d = bdl_aval_of(b, x[0])->dtype;
  bdl_atom t, half;
  (void)e;
  TRY(matrix_t(b, dx[0], &t));
  TRY(bdl_bind2(b, BDL_P_add, dx[0], t, &t));
  TRY(bdl_ir_scalar(b, d, 0.5, &half));
  TRY(bdl_bind2(b, BDL_P_mul, t, half, &t));
  TRY(solve_triangular(b, z[0], t, false, &t)); /* L^-1 dS */
  TRY(matrix_t(b, t, &t));
  TRY(solve_triangular(b, z[0], t, false, &t)); /* its transpose: L^-1 dS L^-T is symmetric */
  TRY(weigh_triangles(b, t, 1, 0.5, 0, &t));
  return matrix_mul(b, z[0], false, t, dz);
}

/* op(a) dz = db - op(da) z, da within the triangle */
BDL_JVP(triangular_solve) {
  const bool lower = e->params[0].i != 0, trans = e->params[1].i != 0, unit = e->params[2].i != 0;
  bdl_atom right = dx[1];
  if (!bdl_is_zero(dx[0])) {
    bdl_atom t;
    TRY(weigh_triangles(b, dx[0], lower, !unit, !lower, &t));
    TRY(matrix_mul(b, t, trans, z[0], &t));
    TRY(bdl_bind1(b, BDL_P_neg, t, &t));
    TRY(bdl_rule_add(b, right, t, &right));
  }
  return bdl_bind(b, e->prim, e->params, (bdl_atom[]){x[0], right}, 2, dz);
}

BDL_TRANSPOSE(triangular_solve) {
  (void)is_linear;
  return bdl_bind(b, e->prim, (bdl_param[]){e->params[0], bdl_pint(!e->params[1].i), e->params[2]},
                  (bdl_atom[]){x[0], ct[0]}, 2, &ct_in[1]);
}

/* a dz = db - da z */
BDL_JVP(solve) {
  bdl_atom right = dx[1];
  if (!bdl_is_zero(dx[0])) {
    bdl_atom t;
    TRY(matrix_mul(b, dx[0], false, z[0], &t));
    TRY(bdl_bind1(b, BDL_P_neg, t, &t));
    TRY(bdl_rule_add(b, right, t, &right));
  }
  return bdl_bind2(b, e->prim, x[0], right, dz);
}

BDL_TRANSPOSE(solve) {
  bdl_atom t;
  (void)is_linear;
  TRY(matrix_t(b, x[0], &t));
  return bdl_bind2(b, e->prim, t, ct[0], &ct_in[1]);
}

/* x U^-1 of packed factors: U' z' = x' */
static bdl_status over_upper(bdl_prog *b, bdl_atom lu, bdl_atom x, bdl_atom *z) {
  TRY(matrix_t(b, x, z));
  TRY(bdl_bind(b, BDL_P_triangular_solve, (bdl_param[]){bdl_pint(0), bdl_pint(1), bdl_pint(0)}, (bdl_atom[]){lu, *z}, 2, z));
  return matrix_t(b, *z, z);
}

/* t = L^-1 P dx U^-1; dL = L low(t), dU = upp(t) U, low without the diagonal. */
BDL_JVP(lu) {
  bdl_aval column = *bdl_aval_of(b, x[0]);
  bdl_atom p, t, low, upp, l, u;
  (void)e;
  dz[1] = BDL_ZERO;
  column.shape[column.ndim - 1] = 1;
  TRY(bdl_bind1(b, BDL_P_lu_permutation, z[1], &p));
  TRY(bdl_ir_reshape(b, p, column.ndim, column.shape, &p));
  TRY(bdl_bind(b, BDL_P_gather_along, (bdl_param[]){bdl_pint(column.ndim - 2)}, (bdl_atom[]){dx[0], p}, 2, &t));
  TRY(bdl_bind(b, BDL_P_triangular_solve, (bdl_param[]){bdl_pint(1), bdl_pint(0), bdl_pint(1)}, (bdl_atom[]){z[0], t}, 2, &t));
  TRY(over_upper(b, z[0], t, &t));
  TRY(weigh_triangles(b, t, 1, 0, 0, &low));
  TRY(weigh_triangles(b, t, 0, 1, 1, &upp));
  TRY(weigh_triangles(b, z[0], 1, 0, 0, &l)); /* L - 1 */
  TRY(weigh_triangles(b, z[0], 0, 1, 1, &u));
  TRY(matrix_mul(b, l, false, low, &l));
  TRY(matrix_mul(b, upp, false, u, &u));
  TRY(bdl_bind2(b, BDL_P_add, l, low, &l));
  return bdl_bind2(b, BDL_P_add, l, u, &dz[0]);
}

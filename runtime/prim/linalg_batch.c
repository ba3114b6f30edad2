/*
** linalg_batch.c -- lanes of products, convolutions and solvers.  An operand that all lanes share stays as it is: the lanes
** of the other become rows, channels or columns of one larger product.
*/
#include <string.h>

#include "prim/check.h"
#include "prim/rules.h"

/* ---- dot */

/* params: lhs_contract rhs_contract lhs_batch rhs_batch */
BDL_BATCH(dot) {
  const bdl_param *p = e->params;
  int64_t axes[4][BDL_MAX_NDIM + 1], order[BDL_MAX_NDIM];
  bdl_param q[4];
  (void)size, (void)out_batched;
  for (int k = 0; k < 4; k++) q[k] = batched[k % 2] ? bdl_rule_behind_lanes(&p[k], axes[k]) : p[k];
  if (batched[0] && batched[1]) {
    int64_t lead[2][BDL_MAX_NDIM + 1];
    for (int k = 2; k < 4; k++) q[k] = bdl_rule_with_lanes(&q[k], 0, lead[k - 2]);
    return bdl_bind(b, e->prim, q, x, 2, z);
  }
  const int n_batch = p[2].n, rest = bdl_aval_of(b, x[1])->ndim - batched[1] - p[1].n - n_batch;
  const int left = bdl_aval_of(b, x[0])->ndim - batched[0] - p[0].n - n_batch;
  /* x A' with the lanes as rows of x: no axis has to move */
  if (batched[1] && rest == 0 && n_batch == 0)
    return bdl_bind(b, e->prim, (bdl_param[]){q[1], q[0], q[3], q[2]}, (bdl_atom[]){x[1], x[0]}, 2, z);
  TRY(bdl_bind(b, e->prim, q, x, 2, z));
  const int at = n_batch + (batched[0] ? 0 : left), n = bdl_aval_of(b, *z)->ndim;
  order[0] = at;
  for (int i = 0, k = 1; i < n; i++)
    if (i != at) order[k++] = i;
  return at == 0 ? BDL_OK : bdl_rule_axes(b, BDL_P_permute, *z, order, n, z);
}

/* ---- conv */

/* Splits the axis `split` of x into (outer, rest), permutes, and joins the last axes from `join` on. */
static bdl_status regrouped(bdl_prog *b, bdl_atom x, int split, int64_t outer, const int64_t *order, int join, bdl_atom *z) {
  const bdl_aval a = *bdl_aval_of(b, x);
  int64_t shape[BDL_MAX_NDIM + 1];
  int n = 0;
  for (int i = 0; i < a.ndim; i++) {
    if (i == split) shape[n++] = outer;
    shape[n++] = i == split ? a.shape[i] / outer : a.shape[i];
  }
  TRY(bdl_ir_reshape(b, x, n, shape, &x));
  TRY(bdl_rule_axes(b, BDL_P_permute, x, order, n, &x));
  const bdl_aval y = *bdl_aval_of(b, x);
  memcpy(shape, y.shape, (size_t)(join + 1) * sizeof *shape);
  for (int i = join + 1; i < n; i++) shape[join] *= y.shape[i];
  return bdl_ir_reshape(b, x, join + 1, shape, z);
}

/* params: strides pad_lo pad_hi lhs_dilation rhs_dilation groups
** Shared filter: lanes join n.  Else they become groups of channels, (lanes, group, channel) or, when x is shared,
** (group, lanes, channel) of the results alone. */
BDL_BATCH(conv) {
  const bdl_aval f = *bdl_aval_of(b, x[1]), own = *bdl_aval_of(b, x[0]);
  const int nd = f.ndim - batched[1] - 2;
  const int64_t groups = e->params[5].i;
  bdl_param params[6];
  int64_t order[BDL_MAX_NDIM + 1], shape[BDL_MAX_NDIM + 1];
  bdl_atom in[2] = {x[0], x[1]};
  (void)out_batched;
  for (int k = 0; k < 6; k++) params[k] = e->params[k];
  if (!batched[1]) {
    memcpy(shape, own.shape + 1, (size_t)(nd + 2) * sizeof *shape);
    shape[0] *= size;
    TRY(bdl_ir_reshape(b, x[0], nd + 2, shape, &in[0]));
    TRY(bdl_bind(b, e->prim, params, in, 2, z));
    const bdl_aval y = *bdl_aval_of(b, *z);
    memcpy(shape + 1, y.shape, (size_t)(nd + 2) * sizeof *shape);
    shape[0] = size, shape[1] = own.shape[1];
    return bdl_ir_reshape(b, *z, nd + 3, shape, z);
  }
  const int64_t n = own.shape[batched[0]], channels = f.shape[nd + 2] / groups;
  if (batched[0]) { /* [lanes, n, space.., c] -> [n, space.., (lanes, c)] */
    for (int i = 0; i <= nd; i++) order[i] = i + 1, shape[i] = own.shape[i + 1];
    order[nd + 1] = 0, order[nd + 2] = nd + 2;
    shape[nd + 1] = size * own.shape[nd + 2];
    TRY(bdl_rule_axes(b, BDL_P_permute, x[0], order, nd + 3, &in[0]));
    TRY(bdl_ir_reshape(b, in[0], nd + 2, shape, &in[0]));
    params[5] = bdl_pint(size * groups);
  }
  /* filter [lanes, k.., c_in/g, (g, c_out/g)] -> [k.., c_in/g, (lanes, g, c_out/g) or (g, lanes, c_out/g)] */
  for (int i = 0; i <= nd; i++) order[i] = i + 1;
  order[nd + 1] = batched[0] ? 0 : nd + 2;
  order[nd + 2] = batched[0] ? nd + 2 : 0;
  order[nd + 3] = nd + 3;
  TRY(regrouped(b, x[1], nd + 2, groups, order, nd + 1, &in[1]));
  TRY(bdl_bind(b, e->prim, params, in, 2, z));
  /* [n, space.., those] -> [lanes, n, space.., c_out] */
  const bdl_aval y = *bdl_aval_of(b, *z);
  memcpy(shape, y.shape, (size_t)(nd + 1) * sizeof *shape);
  shape[nd + 1] = batched[0] ? size : groups;
  shape[nd + 2] = batched[0] ? groups : size;
  shape[nd + 3] = channels;
  TRY(bdl_ir_reshape(b, *z, nd + 4, shape, z));
  order[0] = batched[0] ? nd + 1 : nd + 2;
  for (int i = 0; i <= nd; i++) order[i + 1] = i;
  order[nd + 2] = batched[0] ? nd + 2 : nd + 1;
  order[nd + 3] = nd + 3;
  TRY(bdl_rule_axes(b, BDL_P_permute, *z, order, nd + 4, z));
  memmove(shape + 1, y.shape, (size_t)(nd + 1) * sizeof *shape);
  shape[0] = size, shape[1] = n, shape[nd + 2] = groups * channels;
  return bdl_ir_reshape(b, *z, nd + 3, shape, z);
}

/* ---- solvers: a [.., n, n], b [.., n, k] */

/* A matrix that all lanes share is factored once: the lanes are further columns of the right side. */
BDL_BATCH(solve) {
  bdl_atom in[2];
  (void)out_batched;
  if (batched[0]) {
    for (int k = 0; k < 2; k++) TRY(bdl_rule_lanes(b, x[k], batched[k], size, &in[k]));
    return bdl_bind(b, e->prim, e->params, in, 2, z);
  }
  const bdl_aval y = *bdl_aval_of(b, x[1]); /* [lanes, .., n, k] */
  const int n = y.ndim;
  int64_t order[BDL_MAX_NDIM], back[BDL_MAX_NDIM], shape[BDL_MAX_NDIM];
  for (int i = 0; i < n - 2; i++) order[i] = i + 1;
  order[n - 2] = 0, order[n - 1] = n - 1;
  for (int i = 0; i < n; i++) back[order[i]] = i;
  TRY(bdl_rule_axes(b, BDL_P_permute, x[1], order, n, &in[1]));
  const bdl_aval columns = *bdl_aval_of(b, in[1]);
  memcpy(shape, columns.shape, sizeof shape);
  shape[n - 2] *= shape[n - 1];
  TRY(bdl_ir_reshape(b, in[1], n - 1, shape, &in[1]));
  in[0] = x[0];
  TRY(bdl_bind(b, e->prim, e->params, in, 2, z));
  TRY(bdl_ir_reshape(b, *z, n, columns.shape, z));
  return bdl_rule_axes(b, BDL_P_permute, *z, back, n, z);
}

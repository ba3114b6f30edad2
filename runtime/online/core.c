/*
** core.c -- canonical forms of products, convolutions, choices of rows and sparse products.
*/
#include "online/core.h"

#include <string.h>

static const bdl_aval *type_of(const bdl_interaction *w, bdl_atom x) { return bdl_aval_of(w->body, x); }
static const bdl_aval *weight_type(const bdl_interaction *w) {
  return type_of(w, w->core ? w->core->in[w->at] : w->body->outputs[0]);
}

static bdl_status refuse(bdl_interaction *w, const char *why) {
  w->t->unsupported = why;
  return BDL_OK;
}

static int64_t extent(const bdl_aval *a, const int64_t *axes, int n) {
  int64_t size = 1;
  for (int k = 0; k < n; k++) size *= a->shape[axes[k]];
  return size;
}

static bool listed(const bdl_param *axes, int64_t k) {
  for (int i = 0; i < axes->n; i++)
    if (axes->ints[i] == k) return true;
  return false;
}

/* ---- products: result axes are batch, rest of lhs, rest of rhs */

static bdl_status find_dot(bdl_interaction *w) {
  const bdl_eqn *e = w->core;
  const int mine = w->at, other = 1 - w->at;
  const bdl_param *contract = &e->params[mine], *batch = &e->params[2 + mine];
  const bdl_param *contract_x = &e->params[other], *batch_x = &e->params[2 + other];
  const bdl_aval *x = type_of(w, e->in[other]), *v = type_of(w, e->in[mine]);
  const int rest_x = x->ndim - contract_x->n - batch_x->n, rest_w = v->ndim - contract->n - batch->n;
  const int first_x = batch->n + (other == 1 ? rest_w : 0), first_w = batch->n + (mine == 1 ? rest_x : 0);
  int n = 0, m = 0, r = 0;
  for (int k = 0; k < x->ndim; k++)
    if (!listed(contract_x, k) && !listed(batch_x, k)) w->input_axes[n++] = k;
  for (int k = 0; k < batch_x->n; k++) w->input_axes[n++] = batch_x->ints[k];
  for (int k = 0; k < contract_x->n; k++) w->input_axes[n++] = contract_x->ints[k];
  for (int k = 0; k < batch->n; k++) w->weight_axes[m++] = batch->ints[k];
  for (int k = 0; k < contract->n; k++) w->weight_axes[m++] = contract->ints[k];
  for (int k = 0; k < v->ndim; k++)
    if (!listed(contract, k) && !listed(batch, k)) w->weight_axes[m++] = k;
  for (int k = 0; k < rest_x; k++) w->result_axes[r++] = first_x + k;
  for (int k = 0; k < batch->n; k++) w->result_axes[r++] = k;
  for (int k = 0; k < rest_w; k++) w->result_axes[r++] = first_w + k;
  w->t->q = extent(v, w->weight_axes, batch->n);
  w->t->i = extent(v, w->weight_axes + batch->n, contract->n);
  w->t->k = extent(v, w->weight_axes + batch->n + contract->n, rest_w);
  w->t->r = extent(x, w->input_axes, rest_x) * w->t->q;
  w->kind = BDL_CORE_DOT;
  if (!w->second) return BDL_OK;
  /* x B A: the trace is that of the weight B A */
  const bdl_eqn *f = w->second;
  const int product = w->of[f->in[0]] ? 0 : 1;
  const bdl_aval *u = type_of(w, f->in[product]), *a = type_of(w, f->in[1 - product]);
  if (f->in[product] != e->out[0] || mine != 1 || product != 0 || batch->n || f->params[2].n || f->params[0].n != 1 ||
      f->params[0].ints[0] != u->ndim - 1 || a->ndim != 2 || rest_w != 1)
    return refuse(w, "two products follow each other in another way than (x B) A");
  w->t->k = a->shape[1 - f->params[1].ints[0]];
  return BDL_OK;
}

/* ---- no core: w' repeats along the axes of y that it lacks */

static bdl_status find_plain(bdl_interaction *w) {
  const bdl_eqn *e = w->core;
  w->kind = BDL_CORE_PLAIN;
  w->t->i = w->t->r = 1;
  w->t->k = bdl_aval_numel(weight_type(w));
  if (!e) return BDL_OK;
  const bdl_aval *v = type_of(w, e->in[w->at]), *z = type_of(w, e->out[0]);
  bool own[BDL_MAX_NDIM] = {false};
  int r = 0;
  for (int k = 0; k < v->ndim; k++) {
    const int64_t to = e->prim == BDL_P_broadcast ? e->params[1].ints[k] : z->ndim - v->ndim + k;
    own[to] = v->shape[k] == z->shape[to] && z->shape[to] != 1;
    if (!own[to] && v->shape[k] != 1) return refuse(w, "the weight is cut");
  }
  for (int k = 0; k < z->ndim; k++)
    if (!own[k]) w->t->r *= z->shape[w->result_axes[r++] = k];
  for (int k = 0; k < z->ndim; k++)
    if (own[k]) w->result_axes[r++] = k;
  return BDL_OK;
}

static bdl_status find_conv(bdl_interaction *w) {
  const bdl_eqn *e = w->core;
  const bdl_aval *v = type_of(w, e->in[1]), *z = type_of(w, e->out[0]);
  if (w->at != 1) return refuse(w, "the weight of a convolution is its filter");
  if (e->params[5].i != 1) return refuse(w, "a convolution in groups");
  w->kind = BDL_CORE_CONV;
  w->t->k = v->shape[v->ndim - 1];
  w->t->i = bdl_aval_numel(v) / BDL_MAX(1, w->t->k);
  w->t->r = bdl_aval_numel(z) / BDL_MAX(1, w->t->k);
  return BDL_OK;
}

static bdl_status find_gather(bdl_interaction *w) {
  const bdl_eqn *e = w->core;
  const bdl_aval *v = type_of(w, e->in[0]);
  if (w->at != 0 || e->params[0].i != 0) return refuse(w, "only rows of a weight can be chosen");
  w->kind = BDL_CORE_GATHER;
  w->t->i = v->shape[0];
  w->t->k = bdl_aval_numel(v) / BDL_MAX(1, w->t->i);
  w->t->r = bdl_aval_numel(type_of(w, e->in[1]));
  return BDL_OK;
}

/* csr_dot: v, data, indices, indptr */
static bdl_status find_sparse(bdl_interaction *w) {
  const bdl_eqn *e = w->core;
  const bdl_aval *v = type_of(w, e->in[0]), *indices = type_of(w, e->in[2]);
  if (w->at != 1) return refuse(w, "the weight of a sparse product is its entries");
  if (type_of(w, e->in[1])->ndim != 1 || indices->ndim != 1 || type_of(w, e->in[1])->shape[0] != indices->shape[0])
    return refuse(w, "all entries of the matrix share one weight");
  w->kind = BDL_CORE_SPARSE;
  w->t->pairs = true;
  w->t->i = 1;
  w->t->k = indices->shape[0];
  w->t->r = v->ndim == 2 ? v->shape[0] : 1;
  return BDL_OK;
}

bdl_status bdl_online_core_find(bdl_interaction *w) {
  if (!w->core) return find_plain(w);
  switch (w->core->prim) {
    case BDL_P_dot: return find_dot(w);
    case BDL_P_conv: return find_conv(w);
    case BDL_P_gather: return find_gather(w);
    case BDL_P_csr_dot: return find_sparse(w);
    case BDL_P_broadcast: return find_plain(w);
    default:
      if (bdl_prims[w->core->prim].flags & BDL_F_ELEMENTWISE) return find_plain(w);
      return refuse(w, "its weight meets positions in a way that has no trace");
  }
}

/* ---- inputs */

static bdl_status arranged(bdl_prog *q, bdl_atom x, const int64_t *axes, int ndim, const int64_t *shape, bdl_atom *z) {
  const int n = bdl_aval_of(q, x)->ndim;
  bool moves = false;
  for (int k = 0; k < n; k++) moves |= axes[k] != k;
  if (moves) TRY(bdl_bind(q, BDL_P_permute, (bdl_param[]){bdl_pints(axes, n)}, &x, 1, &x));
  return bdl_ir_reshape(q, x, ndim, shape, z);
}

/* Patches of x: the convolution with a filter that copies each of its inputs to a channel of its own. */
static bdl_status patches(bdl_interaction *w, bdl_rewrite *r, bdl_atom *z) {
  bdl_prog *q = r->q;
  const bdl_eqn *e = w->core;
  const bdl_aval *filter = type_of(w, e->in[1]);
  const int64_t n = w->t->i, square[] = {n, n};
  int64_t shape[BDL_MAX_NDIM];
  bdl_atom at[2], eye, x;
  for (int k = 0; k < 2; k++)
    TRY(bdl_bind(q, BDL_P_iota, (bdl_param[]){bdl_pints(square, 2), bdl_pint(k), bdl_pdtype(BDL_I32)}, NULL, 0, &at[k]));
  TRY(bdl_bind2(q, BDL_P_eq, at[0], at[1], &eye));
  TRY(bdl_ir_cast(q, eye, filter->dtype, &eye));
  memcpy(shape, filter->shape, sizeof shape);
  shape[filter->ndim - 1] = n;
  TRY(bdl_ir_reshape(q, eye, filter->ndim, shape, &eye));
  TRY(bdl_ir_rw_atom(r, e->in[0], &x));
  return bdl_bind(q, BDL_P_conv, e->params, (bdl_atom[]){x, eye}, 2, z);
}

/* ids -> [R, rows] of 0 and 1 */
static bdl_status one_hot(bdl_interaction *w, bdl_rewrite *r, bdl_atom *z) {
  bdl_prog *q = r->q;
  const int64_t shape[] = {w->t->r, w->t->i}, column[] = {w->t->r, 1};
  bdl_atom ids, at;
  TRY(bdl_ir_rw_atom(r, w->core->in[1], &ids));
  TRY(bdl_ir_reshape(q, ids, 2, column, &ids));
  TRY(bdl_bind(q, BDL_P_iota, (bdl_param[]){bdl_pints(shape, 2), bdl_pint(1), bdl_pdtype(bdl_aval_of(q, ids)->dtype)}, NULL, 0, &at));
  TRY(bdl_bind2(q, BDL_P_eq, ids, at, &at));
  return bdl_ir_cast(q, at, weight_type(w)->dtype, z);
}

/* The row of each entry: how many rows end at or before it. */
static bdl_status row_of_entry(bdl_interaction *w, bdl_prog *q, bdl_atom indptr, bdl_atom *z) {
  const int64_t nnz = w->t->k, rows = w->core->params[0].i, room[] = {nnz + 1};
  const bdl_dtype d = bdl_aval_of(q, indptr)->dtype;
  bdl_atom ends, marks, one;
  if (bdl_aval_of(q, indptr)->shape[0] == 2 && rows != 1) {
    TRY(bdl_bind(q, BDL_P_iota, (bdl_param[]){bdl_pints(&nnz, 1), bdl_pint(0), bdl_pdtype(d)}, NULL, 0, &ends));
    TRY(bdl_ir_scalar(q, d, (double)(nnz / BDL_MAX(1, rows)), &one));
    return bdl_bind2(q, BDL_P_div, ends, one, z);
  }
  const int64_t one_ = 1, stop = rows + 1, n = rows;
  TRY(bdl_bind(q, BDL_P_slice, (bdl_param[]){bdl_pints(&one_, 1), bdl_pints(&stop, 1), bdl_pints(&one_, 1)}, &indptr, 1, &ends));
  TRY(bdl_ir_full(q, &(bdl_aval){.dtype = d, .ndim = 1, .shape = {room[0]}}, 0, &marks));
  TRY(bdl_ir_full(q, &(bdl_aval){.dtype = d, .ndim = 1, .shape = {n}}, 1, &one));
  TRY(bdl_bind(q, BDL_P_scatter, (bdl_param[]){bdl_pint(0), bdl_pstr("add")}, (bdl_atom[]){marks, ends, one}, 3, &marks));
  TRY(bdl_bind(q, BDL_P_cumsum, (bdl_param[]){bdl_pint(0), bdl_pint(0)}, &marks, 1, &marks));
  const int64_t zero = 0;
  return bdl_bind(q, BDL_P_slice, (bdl_param[]){bdl_pints(&zero, 1), bdl_pints(&nnz, 1), bdl_pints(&one_, 1)}, &marks, 1, z);
}

/* x [R?, n] at the entries' rows (or columns): [R, nnz] */
static bdl_status at_entries(bdl_interaction *w, bdl_prog *q, bdl_atom x, bdl_atom indices, bdl_atom indptr, bool rows, bdl_atom *z) {
  const int64_t last = bdl_aval_of(q, x)->ndim - 1, shape[] = {w->t->r, w->t->k};
  bdl_atom ids = indices;
  if (rows) TRY(row_of_entry(w, q, indptr, &ids));
  TRY(bdl_bind(q, BDL_P_gather, (bdl_param[]){bdl_pint(last)}, (bdl_atom[]){x, ids}, 2, &x));
  return bdl_ir_reshape(q, x, 2, shape, z);
}

static bool transposed(const bdl_interaction *w) { return w->core->params[2].i != 0; }

static bdl_status sparse_input(bdl_interaction *w, bdl_rewrite *r, bdl_atom *z) {
  const bdl_dtype d = weight_type(w)->dtype;
  bdl_atom x, indices, indptr, zero;
  TRY(bdl_ir_rw_atom(r, w->core->in[0], &x));
  TRY(bdl_ir_rw_atom(r, w->core->in[2], &indices));
  TRY(bdl_ir_rw_atom(r, w->core->in[3], &indptr));
  if (w->core->params[3].i && bdl_aval_of(r->q, x)->dtype != BDL_BOOL) { /* events: 0 or 1 */
    TRY(bdl_ir_scalar(r->q, bdl_aval_of(r->q, x)->dtype, 0, &zero));
    TRY(bdl_bind2(r->q, BDL_P_gt, x, zero, &x));
  }
  TRY(bdl_ir_cast(r->q, x, d, &x));
  return at_entries(w, r->q, x, indices, indptr, !transposed(w), z);
}

bdl_status bdl_online_core_input(bdl_interaction *w, bdl_rewrite *r, bdl_atom *x) {
  const int64_t shape[] = {w->t->r, w->t->i};
  *x = BDL_ZERO;
  switch (w->kind) {
    case BDL_CORE_DOT:
      TRY(bdl_ir_rw_atom(r, w->core->in[1 - w->at], x));
      TRY(bdl_ir_cast(r->q, *x, weight_type(w)->dtype, x));
      return arranged(r->q, *x, w->input_axes, 2, shape, x);
    case BDL_CORE_CONV:
      TRY(patches(w, r, x));
      return bdl_ir_reshape(r->q, *x, 2, shape, x);
    case BDL_CORE_GATHER: return one_hot(w, r, x);
    case BDL_CORE_SPARSE: return sparse_input(w, r, x);
    default: return BDL_OK;
  }
}

/* ---- positions and weights */

/* The body's operands in q behind spread are not there: what maps the entries must be constants. */
static bdl_status constant(bdl_interaction *w, bdl_prog *q, bdl_atom x, bdl_atom *z) {
  const bdl_var *v = &w->body->vars.v[x];
  if (v->kind == BDL_V_CONST) return bdl_ir_const(q, &w->body->consts.v[v->index], z);
  return refuse(w, "the pattern of the sparse matrix is not constant");
}

bdl_status bdl_online_core_rows(bdl_interaction *w, bdl_prog *q, bdl_atom z, bdl_atom *rows) {
  const int64_t shape[] = {w->t->r, w->t->k};
  if (w->kind == BDL_CORE_SPARSE) {
    bdl_atom indices = BDL_ZERO, indptr = BDL_ZERO;
    TRY(constant(w, q, w->core->in[2], &indices));
    TRY(constant(w, q, w->core->in[3], &indptr));
    return w->t->unsupported ? BDL_OK : at_entries(w, q, z, indices, indptr, transposed(w), rows);
  }
  if ((w->kind == BDL_CORE_DOT && !w->second) || (w->kind == BDL_CORE_PLAIN && w->core))
    return arranged(q, z, w->result_axes, 2, shape, rows);
  return bdl_ir_reshape(q, z, 2, shape, rows);
}

bdl_status bdl_online_core_canonical(bdl_interaction *w, bdl_prog *q, bdl_atom x, bdl_atom *z) {
  const int64_t shape[] = {w->t->q, w->t->i, w->t->k};
  if (w->second) return refuse(w, "the first weight of (x B) A is changed before its product");
  if (w->kind == BDL_CORE_DOT) return arranged(q, x, w->weight_axes, 3, shape, z);
  return bdl_ir_reshape(q, x, 3, shape, z);
}

bdl_status bdl_online_core_weight(bdl_interaction *w, bdl_prog *q, bdl_atom g, const bdl_atom *in, bdl_atom *z) {
  *z = g;
  if (w->kind != BDL_CORE_DOT) return BDL_OK;
  const bdl_aval *v = type_of(w, w->core->in[w->at]);
  int64_t shape[BDL_MAX_NDIM], back[BDL_MAX_NDIM];
  if (w->second) { /* [1, I, K] A' */
    const bdl_atom a = w->second->in[1];
    bdl_rewrite r;
    bdl_atom wanted;
    bdl_status s = bdl_ir_rw_begin_in(&r, w->body, q, in);
    for (int64_t i = 0; s == BDL_OK && i < w->body->eqns.n; i++) s = bdl_ir_rw_copy(&r, &w->body->eqns.v[i]);
    if (s == BDL_OK) s = bdl_ir_rw_atom(&r, a, &wanted);
    bdl_ir_rw_fini(&r);
    TRY(s);
    const int64_t two = 2, k = 1 - w->second->params[1].ints[0];
    TRY(bdl_bind(q, BDL_P_dot, (bdl_param[]){bdl_pints(&two, 1), bdl_pints(&k, 1), bdl_pints(NULL, 0), bdl_pints(NULL, 0)},
                 (bdl_atom[]){g, wanted}, 2, &g));
  }
  for (int k = 0; k < v->ndim; k++) {
    shape[k] = v->shape[w->weight_axes[k]];
    back[w->weight_axes[k]] = k;
  }
  TRY(bdl_ir_reshape(q, g, v->ndim, shape, &g));
  return arranged(q, g, back, v->ndim, v->shape, z);
}

/*
** counter.c -- what a scan's body picks with the number of the round becomes one more stacked operand.
**
**     i stacked: 0, 1, ..   gather[axis=0] x i, x the same in all rounds    ->    the row of x that is stacked for the round
**
** Then no round checks an index, rows are read where they stand, products with them may move in front (products.c), and nothing couples
** rounds that did not before.
*/
#include <string.h>

#include "ir/rewrite.h"

/* Along another axis than the first all rows are copied once: no more bytes than this. */
#define COPY_LIMIT ((size_t)64 << 20)

typedef struct pick { /* a row of x, along an axis, in round 0 that of number `first` */
  const bdl_eqn *e;
  bdl_atom x;
  int64_t axis, first;
  int same; /* the first one like it */
} pick;

typedef struct loop {
  const bdl_eqn *e;
  const bdl_prog *body;
  int64_t fixed, stacked, length; /* inputs of the body: how many are the same in all rounds; the first that is stacked */
  pick *v;
  int n;
} loop;

/* Does x of program q count first, first + 1, ..?  Not from below 0. */
static bool counts(const bdl_prog *q, bdl_atom x, int64_t *first) {
  const bdl_var *v = &q->vars.v[x];
  const bdl_eqn *e = bdl_ir_maker(q, x);
  if (v->aval.ndim != 1 || (v->aval.dtype != BDL_I32 && v->aval.dtype != BDL_I64)) return false;
  *first = 0;
  if (e || v->kind != BDL_V_CONST) return e && e->prim == BDL_P_iota;
  for (int64_t k = 0; k < v->aval.shape[0]; k++) {
    const bdl_scalar s = bdl_tensor_at(&q->consts.v[v->index], k);
    const int64_t i = v->aval.dtype == BDL_I32 ? s.i32 : s.i64;
    if (k == 0) *first = i;
    if (i < 0 || i != *first + k) return false;
  }
  return true;
}

/* The input of p that x is, perhaps in another shape; -1: none. */
static int64_t input_of(const bdl_prog *p, bdl_atom x) {
  const bdl_eqn *e = bdl_ir_maker(p, x);
  for (; e && e->prim == BDL_P_reshape; e = bdl_ir_maker(p, x)) x = e->in[0];
  return p->vars.v[x].kind == BDL_V_INPUT ? p->vars.v[x].index : -1;
}

/* Does e pick, and nothing out of range?  in: operands of the loop, of program q. */
static bool picks(const loop *L, const bdl_eqn *e, const bdl_prog *q, const bdl_atom *in, pick *k) {
  if (e->prim != BDL_P_gather) return false;
  const bdl_prog *p = L->body;
  const bdl_var *x = &p->vars.v[e->in[0]];
  const int64_t i = input_of(p, e->in[1]);
  if (i < L->stacked || bdl_aval_numel(bdl_aval_of(p, e->in[1])) != 1) return false;
  if (x->kind != BDL_V_CONST && (x->kind != BDL_V_INPUT || x->index >= L->fixed)) return false;
  *k = (pick){.e = e, .x = e->in[0], .axis = e->params[0].i};
  if (k->axis > 0 && bdl_aval_bytes(&x->aval) > COPY_LIMIT) return false;
  return counts(q, in[i], &k->first) && k->first + L->length <= x->aval.shape[k->axis];
}

static bdl_status find(loop *L, bdl_rewrite *r, const bdl_atom *in) {
  L->v = bdl_arena_alloc(&r->scratch, (size_t)(L->body->eqns.n + 1) * sizeof *L->v);
  if (!L->v) return BDL_ENOMEM;
  for (int64_t i = 0; i < L->body->eqns.n; i++) {
    pick *k = &L->v[L->n];
    if (!picks(L, &L->body->eqns.v[i], r->q, in, k)) continue;
    while (L->v[k->same].x != k->x || L->v[k->same].axis != k->axis || L->v[k->same].first != k->first) k->same++;
    L->n++;
  }
  return BDL_OK;
}

/* Of all rounds: x with the axis in front, the rows of the loop alone. */
static bdl_status rows_of(bdl_rewrite *r, const loop *L, const pick *k, const bdl_atom *in, bdl_atom *z) {
  const bdl_var *x = &L->body->vars.v[k->x];
  int64_t axes[BDL_MAX_NDIM], start[BDL_MAX_NDIM] = {k->first}, stop[BDL_MAX_NDIM], step[BDL_MAX_NDIM];
  *z = BDL_ZERO;
  if (x->kind == BDL_V_INPUT) *z = in[x->index];
  else TRY(bdl_ir_const(r->q, &L->body->consts.v[x->index], z));
  const int n = x->aval.ndim;
  for (int a = 0; a < n; a++) {
    axes[a] = a == 0 ? k->axis : a <= k->axis ? a - 1 : a;
    stop[a] = a == 0 ? k->first + L->length : x->aval.shape[axes[a]];
    step[a] = 1;
  }
  if (k->axis > 0) TRY(bdl_bind(r->q, BDL_P_permute, (bdl_param[]){bdl_pints(axes, n)}, z, 1, z));
  if (L->length == x->aval.shape[k->axis]) return BDL_OK;
  return bdl_bind(r->q, BDL_P_slice, (bdl_param[]){bdl_pints(start, n), bdl_pints(stop, n), bdl_pints(step, n)}, z, 1, z);
}

static bdl_status put_row(bdl_rewrite *b, const bdl_eqn *e, bdl_atom row) {
  const bdl_aval *z = bdl_aval_of(b->p, e->out[0]);
  b->q->src = e->src;
  TRY(bdl_ir_reshape(b->q, row, z->ndim, z->shape, &row));
  return bdl_ir_rw_set(b, e->out[0], row);
}

/* The body whose last inputs are the rows. */
static bdl_status new_body(const loop *L, bdl_prog **out) {
  const bdl_prog *p = L->body;
  bdl_rewrite b;
  bdl_status s = bdl_ir_rw_begin(&b, p);
  bdl_atom *row = s == BDL_OK ? bdl_arena_alloc(&b.scratch, (size_t)L->n * sizeof *row) : NULL;
  if (s == BDL_OK && !row) s = BDL_ENOMEM;
  for (int k = 0; s == BDL_OK && k < L->n; k++) {
    const bdl_aval *x = bdl_aval_of(p, L->v[k].x);
    bdl_aval a = {.dtype = x->dtype};
    for (int i = 0; i < x->ndim; i++)
      if (i != L->v[k].axis) a.shape[a.ndim++] = x->shape[i];
    if (L->v[k].same == k) s = bdl_ir_input(b.q, &a, &row[k]);
    else row[k] = row[L->v[k].same];
  }
  for (int64_t i = 0, k = 0; s == BDL_OK && i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    if (k < L->n && L->v[k].e == e) s = put_row(&b, e, row[k++]);
    else s = bdl_ir_rw_copy(&b, e);
  }
  b.changed = true;
  return bdl_ir_rw_end(&b, s, out);
}

static bdl_status replace(bdl_rewrite *r, const loop *L, const bdl_atom *in) {
  const bdl_eqn *e = L->e;
  bdl_atom *ops = bdl_arena_alloc(&r->scratch, (size_t)(e->n_in + L->n) * sizeof *ops);
  bdl_atom *z = bdl_arena_alloc(&r->scratch, (size_t)(e->n_out + 1) * sizeof *z);
  bdl_param params[5];
  bdl_prog *body = NULL;
  int n = e->n_in;
  if (!ops || !z) return BDL_ENOMEM;
  memcpy(ops, in, (size_t)e->n_in * sizeof *ops);
  r->q->src = e->src;
  for (int k = 0; k < L->n; k++)
    if (L->v[k].same == k) TRY(rows_of(r, L, &L->v[k], in, &ops[n++]));
  TRY(new_body(L, &body));
  memcpy(params, e->params, sizeof params);
  params[4].progs = &body;
  const bdl_status s = bdl_bind(r->q, e->prim, params, ops, n, z);
  bdl_prog_unref(body);
  TRY(s);
  r->changed = true;
  return bdl_ir_rw_set_all(r, e, z);
}

static bdl_status of_body(void *ud, const bdl_prog *p, bdl_prog **q) {
  (void)ud;
  return bdl_pass_counter(p, q);
}

static bdl_status scan(bdl_rewrite *r, const bdl_eqn *e) {
  loop L = {.e = e, .body = e->params[4].progs[0], .fixed = e->params[0].i, .stacked = e->params[0].i + e->params[1].i, .length = e->params[2].i};
  const bdl_atom *in = bdl_ir_rw_operands(r, e);
  if (!in) return BDL_ENOMEM;
  TRY(find(&L, r, in));
  return L.n ? replace(r, &L, in) : bdl_ir_rw_copy_bodies(r, e, of_body, NULL); /* loops in it: in the next round of passes */
}

bdl_status bdl_pass_counter(const bdl_prog *p, bdl_prog **q) {
  bdl_rewrite r;
  bdl_status s = bdl_ir_rw_begin(&r, p);
  for (int64_t i = 0; s == BDL_OK && i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    s = e->prim == BDL_P_scan ? scan(&r, e) : bdl_ir_rw_copy_bodies(&r, e, of_body, NULL);
  }
  if (s == BDL_OK) r.q->src = p->src;
  return bdl_ir_rw_end(&r, s, q);
}

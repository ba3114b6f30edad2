/*
** ring.c -- delayed spikes.  A ring of the last spikes, 0 or 1 of some number type, that in a loop only event products read, is
** there one of Booleans: a byte written and read for each neuron and step, and lists of events made of bytes.
**
**     h' = dynamic_update_slice h (cast p) at 0 ..        b' = dynamic_update_slice b p at 0 ..
**     y  = (dynamic_slice h' row 0 ..) W             ->   y  = (dynamic_slice b' row 0 ..) W
**                                                         w' = or w (eq rows at)
**
** with b = gt h 0 and w = false in front of the loop, and behind it h' = select w (cast b) h: rows that no step wrote are as they
** were, whatever they hold.  The bits are the same, as an event is what is > 0.
*/
#include <string.h>

#include "ir/rewrite.h"
#include "plan/build.h"

/* Elements of a row; times round the ring; operations back to a Boolean. */
enum { LEAST_ROW = 512, LEAST_ROUNDS = 4, MOST_STEPS = 16 };

typedef struct ring {
  int64_t carry;
  const bdl_eqn *write;
  int axis;     /* of its rows */
  int64_t rows;
  bool ok;
} ring;

/* A long loop on its way to one with Booleans. */
typedef struct loop {
  const bdl_eqn *e;
  const bdl_prog *body;
  int64_t consts, carry;
  ring *v;
  int n;
  int32_t *of; /* by variable of the body: 1 + the ring that it is, or a part of; 0: none */
} loop;

/* The same elements, or some of them, elsewhere: operand 0. */
static bool moves(bdl_prim_id p) {
  switch (p) {
    case BDL_P_copy: case BDL_P_stop_gradient: case BDL_P_reshape: case BDL_P_broadcast: case BDL_P_permute: case BDL_P_slice:
    case BDL_P_reverse: case BDL_P_dynamic_slice: case BDL_P_gather: case BDL_P_gather_along: return true;
    default: return false;
  }
}

/* Asks of operand 0 only what is > 0. */
static bool takes_events(const bdl_eqn *e) {
  switch (e->prim) {
    case BDL_P_event_ids: case BDL_P_event_dot: return true;
    case BDL_P_csr_dot: case BDL_P_jitc_dot: return e->params[3].i != 0;
    case BDL_P_csr_outer: return e->params[2].i != 0;
    default: return false;
  }
}

/* Is x made of Booleans, as 0 and 1? */
static bool is_spikes(const bdl_prog *p, bdl_atom x, int steps) {
  const bdl_eqn *e = bdl_ir_maker(p, x);
  if (bdl_ir_is_literal(p, x, 0) || bdl_ir_is_literal(p, x, 1)) return true;
  if (!e || steps == 0) return false;
  if (e->prim == BDL_P_cast) return bdl_aval_of(p, e->in[0])->dtype == BDL_BOOL;
  if (e->prim == BDL_P_select) return is_spikes(p, e->in[1], steps - 1) && is_spikes(p, e->in[2], steps - 1);
  return moves(e->prim) && is_spikes(p, e->in[0], steps - 1);
}

/* x, for which is_spikes holds, as Booleans in q. */
static bdl_status as_bool(bdl_rewrite *r, bdl_atom x, bdl_atom *z) {
  const bdl_eqn *e = bdl_ir_maker(r->p, x);
  const bool zero = bdl_ir_is_literal(r->p, x, 0);
  if (zero || bdl_ir_is_literal(r->p, x, 1)) {
    const bdl_aval type = bdl_aval_make(BDL_BOOL, bdl_aval_of(r->p, x)->ndim, bdl_aval_of(r->p, x)->shape);
    return bdl_ir_full(r->q, &type, !zero, z);
  }
  if (e->prim == BDL_P_cast) return bdl_ir_rw_atom(r, e->in[0], z);
  bdl_atom *in = bdl_arena_alloc(&r->scratch, (size_t)e->n_in * sizeof *in);
  if (!in) return BDL_ENOMEM;
  for (int k = 0; k < e->n_in; k++) {
    const bool value = e->prim == BDL_P_select ? k > 0 : k == 0;
    TRY(value ? as_bool(r, e->in[k], &in[k]) : bdl_ir_rw_atom(r, e->in[k], &in[k]));
  }
  return bdl_bind(r->q, e->prim, e->params, in, e->n_in, z);
}

/* ---- which carries are rings of spikes ------------------------------------------------------------------- */

static bool is_ring(const loop *L, int64_t k, ring *out) {
  const bdl_prog *p = L->body;
  const bdl_eqn *d = bdl_ir_maker(p, p->outputs[k]);
  int axis = 0, differ = 0;
  if (!d || d->prim != BDL_P_dynamic_update_slice || d->in[0] != p->inputs.v[L->consts + k]) return false;
  const bdl_aval *h = bdl_aval_of(p, d->in[0]), *u = bdl_aval_of(p, d->in[1]);
  for (int a = 0; a < h->ndim; a++)
    if (h->shape[a] != u->shape[a]) axis = a, differ++;
  if (h->dtype == BDL_BOOL || h->ndim == 0 || differ != 1 || u->shape[axis] != 1) return false;
  *out = (ring){.carry = k, .write = d, .axis = axis, .rows = h->shape[axis], .ok = true};
  return bdl_aval_numel(u) >= LEAST_ROW && L->e->params[2].i / LEAST_ROUNDS >= out->rows && is_spikes(p, d->in[1], MOST_STEPS);
}

/* Who reads rings, or parts of them? */
static void check_uses(loop *L) {
  const bdl_prog *p = L->body;
  for (int i = 0; i < L->n; i++) L->of[p->inputs.v[L->consts + L->v[i].carry]] = i + 1;
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    for (int k = 0; k < e->n_in; k++) {
      const int32_t of = L->of[e->in[k]];
      if (of == 0) continue;
      if (k == 0 && (moves(e->prim) || e == L->v[of - 1].write)) L->of[e->out[0]] = of;
      else if (k > 0 || !takes_events(e)) L->v[of - 1].ok = false;
    }
  }
  for (int i = 0; i < p->n_outputs; i++) {
    const int32_t of = L->of[p->outputs[i]];
    if (of > 0 && (L->v[of - 1].carry != i || L->v[of - 1].write->out[0] != p->outputs[i])) L->v[of - 1].ok = false;
  }
  int n = 0;
  for (int i = 0; i < L->n; i++)
    if (L->v[i].ok) L->v[n++] = L->v[i];
  L->n = n;
}

static bdl_status find(loop *L, bdl_arena *scratch) {
  const size_t vars = (size_t)L->body->vars.n + 1;
  L->v = bdl_arena_alloc(scratch, (size_t)(L->carry + 1) * sizeof *L->v);
  L->of = bdl_arena_alloc(scratch, vars * sizeof *L->of);
  if (!L->v || !L->of) return BDL_ENOMEM;
  memset(L->of, 0, vars * sizeof *L->of);
  for (int64_t k = 0; k < L->carry; k++) L->n += is_ring(L, k, &L->v[L->n]);
  check_uses(L);
  memset(L->of, 0, vars * sizeof *L->of);
  check_uses(L); /* of those that are left, with their new numbers */
  return BDL_OK;
}

static const ring *ring_of(const loop *L, int64_t carry) {
  for (int i = 0; i < L->n; i++)
    if (L->v[i].carry == carry) return &L->v[i];
  return NULL;
}

/* ---- the loop with Booleans -------------------------------------------------------------------------------- */

/* w or the row that is written, which is clamped as dynamic_update_slice does. */
static bdl_status note_row(bdl_rewrite *r, const ring *g, bdl_atom w, bdl_atom *z) {
  bdl_atom at, first, last, row;
  TRY(bdl_ir_rw_atom(r, g->write->in[2 + g->axis], &at));
  TRY(bdl_ir_scalar(r->q, BDL_I32, 0, &first));
  TRY(bdl_ir_scalar(r->q, BDL_I32, (double)(g->rows - 1), &last));
  TRY(bdl_bind3(r->q, BDL_P_clamp, at, first, last, &at));
  TRY(bdl_bind(r->q, BDL_P_iota, (bdl_param[]){bdl_pints(&g->rows, 1), bdl_pint(0), bdl_pdtype(BDL_I32)}, NULL, 0, &row));
  TRY(bdl_bind2(r->q, BDL_P_eq, row, at, &row));
  return bdl_bind2(r->q, BDL_P_or, w, row, z);
}

static bdl_status write_row(bdl_rewrite *r, const bdl_eqn *e) {
  bdl_atom *in = bdl_ir_rw_operands(r, e), z;
  if (!in) return BDL_ENOMEM;
  TRY(as_bool(r, e->in[1], &in[1]));
  TRY(bdl_bind(r->q, e->prim, e->params, in, e->n_in, &z));
  return bdl_ir_rw_set(r, e->out[0], z);
}

static bdl_status read_part(bdl_rewrite *r, const bdl_eqn *e) {
  const bdl_atom *in = bdl_ir_rw_operands(r, e);
  bdl_atom z[2];
  if (!in) return BDL_ENOMEM;
  TRY(bdl_bind(r->q, e->prim, e->params, in, e->n_in, z));
  return bdl_ir_rw_set_all(r, e, z);
}

/* in: its inputs, rings as Booleans, in r->q; flags [n] */
static bdl_status body_of(bdl_rewrite *r, const loop *L, const bdl_atom *flags) {
  const bdl_prog *p = L->body;
  bdl_atom *out = bdl_arena_alloc(&r->scratch, (size_t)(p->n_outputs + L->n) * sizeof *out);
  if (!out) return BDL_ENOMEM;
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    const int32_t of = e->n_in ? L->of[e->in[0]] : 0;
    r->q->src = e->src;
    TRY(of == 0 ? bdl_ir_rw_copy(r, e) : e == L->v[of - 1].write ? write_row(r, e) : read_part(r, e));
  }
  for (int i = 0; i < p->n_outputs; i++) TRY(bdl_ir_rw_atom(r, p->outputs[i], &out[i < L->carry ? i : i + L->n]));
  for (int i = 0; i < L->n; i++) {
    r->q->src = L->v[i].write->src;
    TRY(note_row(r, &L->v[i], flags[i], &out[L->carry + i]));
  }
  return bdl_prog_set_outputs(r->q, out, p->n_outputs + L->n);
}

static bdl_status new_body(const loop *L, bdl_arena *scratch, bdl_prog **q) {
  const bdl_prog *p = L->body;
  bdl_atom *in = bdl_arena_alloc(scratch, (size_t)(p->inputs.n + L->n + 1) * sizeof *in), *flags = in + p->inputs.n;
  bdl_rewrite r;
  if (!in) return BDL_ENOMEM;
  TRY(bdl_prog_new(p->ctx, p->name, q));
  bdl_status s = BDL_OK;
  for (int64_t i = 0; i <= p->inputs.n && s == BDL_OK; i++) {
    for (int k = 0; i == L->consts + L->carry && k < L->n && s == BDL_OK; k++) {
      const bdl_aval a = bdl_aval_make(BDL_BOOL, 1, &L->v[k].rows);
      s = bdl_ir_input(*q, &a, &flags[k]);
    }
    if (i == p->inputs.n || s != BDL_OK) break;
    bdl_aval a = *bdl_aval_of(p, p->inputs.v[i]);
    if (ring_of(L, i - L->consts)) a.dtype = BDL_BOOL;
    s = bdl_ir_input(*q, &a, &in[i]);
  }
  if (s == BDL_OK) {
    s = bdl_ir_rw_begin_in(&r, p, *q, in);
    if (s == BDL_OK) s = body_of(&r, L, flags);
    bdl_ir_rw_fini(&r);
  }
  if (s != BDL_OK) bdl_prog_unref(*q);
  return s;
}

/* h behind the loop: what was written, as numbers, and what was there. */
static bdl_status number_again(bdl_rewrite *r, const ring *g, bdl_atom h, bdl_atom b, bdl_atom w, bdl_atom *z) {
  const bdl_aval of_h = *bdl_aval_of(r->q, h), *type = &of_h; /* q's variables move as it grows */
  const int64_t axis = g->axis;
  TRY(bdl_ir_cast(r->q, b, type->dtype, &b));
  const bdl_param rows[] = {bdl_pints(type->shape, type->ndim), bdl_pints(&axis, 1)};
  TRY(bdl_bind(r->q, BDL_P_broadcast, rows, &w, 1, &w));
  return bdl_bind3(r->q, BDL_P_select, w, b, h, z);
}

static bdl_status replace(bdl_rewrite *r, const loop *L) {
  const bdl_eqn *e = L->e;
  const int64_t behind = L->consts + L->carry;
  const bdl_atom *old = bdl_ir_rw_operands(r, e);
  bdl_atom *in = bdl_arena_alloc(&r->scratch, (size_t)(e->n_in + L->n) * sizeof *in);
  bdl_atom *out = bdl_arena_alloc(&r->scratch, (size_t)(e->n_out + L->n) * sizeof *out);
  bdl_param params[5];
  bdl_prog *outer, *body;
  if (!old || !in || !out) return BDL_ENOMEM;
  r->q->src = e->src;
  for (int k = 0; k < e->n_in; k++) {
    bdl_atom *x = &in[k < behind ? k : k + L->n], zero;
    *x = old[k];
    if (k < L->consts || k >= behind || !ring_of(L, k - L->consts)) continue;
    TRY(bdl_ir_scalar(r->q, bdl_aval_of(r->q, *x)->dtype, 0, &zero));
    TRY(bdl_bind2(r->q, BDL_P_gt, *x, zero, x));
  }
  for (int k = 0; k < L->n; k++) {
    const bdl_aval a = bdl_aval_make(BDL_BOOL, 1, &L->v[k].rows);
    TRY(bdl_ir_full(r->q, &a, 0, &in[behind + k]));
  }
  TRY(new_body(L, &r->scratch, &outer));
  bdl_status s = bdl_plan_rings(outer, &body); /* of loops in it */
  bdl_prog_unref(outer);
  TRY(s);
  memcpy(params, e->params, sizeof params);
  params[1].i += L->n;
  params[4].progs = &body;
  s = bdl_bind(r->q, e->prim, params, in, e->n_in + L->n, out);
  bdl_prog_unref(body);
  TRY(s);
  for (int k = 0; k < e->n_out; k++) {
    const ring *g = k < L->carry ? ring_of(L, k) : NULL;
    bdl_atom z = out[k < L->carry ? k : k + L->n];
    if (g) TRY(number_again(r, g, old[L->consts + k], z, out[L->carry + (g - L->v)], &z));
    TRY(bdl_ir_rw_set(r, e->out[k], z));
  }
  r->changed = true;
  return BDL_OK;
}

static bdl_status of_body(void *ud, const bdl_prog *p, bdl_prog **q) {
  (void)ud;
  return bdl_plan_rings(p, q);
}

static bdl_status scan(bdl_rewrite *r, const bdl_eqn *e) {
  loop L = {.e = e, .body = e->params[4].progs[0], .consts = e->params[0].i, .carry = e->params[1].i};
  TRY(find(&L, &r->scratch));
  return L.n ? replace(r, &L) : bdl_ir_rw_copy_bodies(r, e, of_body, NULL);
}

bdl_status bdl_plan_rings(const bdl_prog *p, bdl_prog **q) {
  bdl_rewrite r;
  bdl_status s = bdl_ir_rw_begin(&r, p);
  for (int64_t i = 0; s == BDL_OK && i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    s = e->prim == BDL_P_scan ? scan(&r, e) : bdl_ir_rw_copy_bodies(&r, e, of_body, NULL);
  }
  return bdl_ir_rw_end(&r, s, q);
}

/*
** products.c -- products of a loop that its rounds do not need become one product over all rounds.
**
**     carry + u v       of stacked u, v      ->  one product that also sums over the rounds, behind the loop
**     carry + sum(u)    of stacked u         ->  one sum behind the loop
**     x w               x stacked, w fixed   ->  one product of all rows, in front of it
**
** The first two are the gradients of weights and biases: the loop then neither reads nor writes the sum.  A value that the
** loop does not stack yet is stacked when that costs no more than the sum it replaces.
*/
#include <string.h>

#include "ir/rewrite.h"

/* What is stacked for a sum takes memory that grows with the length, too: as many bytes a round as the loop reads already, or in
** all no more than this.  A loop that learns online then stays one of constant memory. */
#define SUM_FREE ((int64_t)1 << 19)

/* Products in front of a loop take memory that grows with its length: no more bytes than this, and a few times the operand's. */
#define FRONT_LIMIT ((size_t)64 << 20)
#define FRONT_FREE ((size_t)1 << 20)
#define FRONT_GROWTH 4

typedef struct term { /* of a carried sum */
  const bdl_eqn *add, *e; /* e: dot or reduce_sum */
} term;

typedef struct loop {
  const bdl_eqn *e;
  const bdl_prog *body;
  int64_t consts, carry, length;
  int32_t *uses;    /* of each variable of the body, outputs too */
  term *term;       /* of each carried value; e NULL: stays */
  int *stacked;     /* of each variable: 1 + its place among the new results; 0: none */
  int n_results;    /* of the new loop */
  int64_t more;     /* bytes a round that are stacked for sums */
  const bdl_eqn **front; /* dot equations that move in front */
  int n_front;
} loop;

static bool is_x(const loop *L, bdl_atom x) {
  const bdl_var *v = &L->body->vars.v[x];
  return v->kind == BDL_V_INPUT && v->index >= L->consts + L->carry;
}

static bool is_fixed(const loop *L, bdl_atom x) {
  const bdl_var *v = &L->body->vars.v[x];
  return v->kind == BDL_V_CONST || v->kind == BDL_V_LITERAL || (v->kind == BDL_V_INPUT && v->index < L->consts);
}

static int result_of(const loop *L, bdl_atom x) {
  for (int k = (int)L->carry; k < L->body->n_outputs; k++)
    if (L->body->outputs[k] == x) return k;
  return -1;
}

static bool has_room(const loop *L, bdl_atom x) { return bdl_aval_of(L->body, x)->ndim < BDL_MAX_NDIM; }

/* Does the loop read or give x of all rounds already? */
static bool has_rows(const loop *L, bdl_atom x) { return is_x(L, x) || result_of(L, x) >= 0 || L->stacked[x]; }

/* Bytes a round to have x stacked; -1: it is the same in every round, or of too many axes. */
static int64_t cost_of(const loop *L, bdl_atom x) {
  if (is_fixed(L, x) || !has_room(L, x)) return -1;
  return has_rows(L, x) ? 0 : (int64_t)bdl_aval_bytes(bdl_aval_of(L->body, x));
}

static void stack(loop *L, bdl_atom x) {
  if (!has_rows(L, x)) L->stacked[x] = 1 + L->n_results++;
}

/* Carried value i is a sum whose terms nothing else reads. */
static bool find_term(const loop *L, int i, bdl_prim_id prim, term *t) {
  const bdl_prog *p = L->body;
  const bdl_atom in = p->inputs.v[L->consts + i], out = p->outputs[i];
  t->add = bdl_ir_maker(p, out);
  if (!t->add || t->add->prim != BDL_P_add || L->uses[in] != 1 || L->uses[out] != 1) return false;
  const int other = t->add->in[0] == in ? 1 : 0;
  if (t->add->in[1 - other] != in || !bdl_dtype_is_float(bdl_aval_of(p, in)->dtype)) return false;
  t->e = bdl_ir_maker(p, t->add->in[other]);
  return t->e && t->e->prim == prim && L->uses[t->add->in[other]] == 1 && bdl_aval_eq(bdl_aval_of(p, t->e->out[0]), bdl_aval_of(p, in));
}

/* Bytes of sequences that a round reads. */
static int64_t bytes_read(const loop *L) {
  int64_t bytes = 0;
  for (int64_t i = L->consts + L->carry; i < L->body->inputs.n; i++) bytes += (int64_t)bdl_aval_bytes(bdl_aval_of(L->body, L->body->inputs.v[i]));
  return bytes;
}

static void choose_sums(loop *L, bdl_prim_id prim) {
  for (int i = 0; i < L->carry; i++) {
    term t;
    int64_t bytes = 0;
    if (L->term[i].e || !find_term(L, i, prim, &t)) continue;
    for (int k = 0; k < t.e->n_in && bytes >= 0; k++) {
      const int64_t cost = cost_of(L, t.e->in[k]);
      bytes = cost < 0 ? -1 : bytes + cost;
    }
    if (bytes < 0 || bytes > (int64_t)bdl_aval_bytes(bdl_aval_of(L->body, t.add->out[0]))) continue;
    const int64_t more = L->more + bytes;
    if (more > bytes_read(L) && more > SUM_FREE / BDL_MAX(1, L->length)) continue;
    L->more = more;
    for (int k = 0; k < t.e->n_in; k++) stack(L, t.e->in[k]);
    L->term[i] = t;
  }
}

/* Which operand of a dot is stacked, when the other is fixed and the rounds come out in front; -1: not such a product. */
static int front_operand(const loop *L, const bdl_eqn *e) {
  for (int k = 0; k < 2; k++) {
    const bdl_aval *a = bdl_aval_of(L->body, e->in[k]);
    const bool leads = k == 0 || a->ndim == e->params[1].n; /* nothing of the fixed one stands before it */
    if (is_x(L, e->in[k]) && is_fixed(L, e->in[1 - k]) && e->params[2].n == 0 && leads && has_room(L, e->in[k]) && has_room(L, e->out[0]))
      return k;
  }
  return -1;
}

static void choose_front(loop *L) {
  size_t bytes = 0;
  for (int64_t i = 0; L->length > 1 && i < L->body->eqns.n; i++) {
    const bdl_eqn *e = &L->body->eqns.v[i];
    if (e->prim != BDL_P_dot || front_operand(L, e) < 0) continue;
    const size_t x = bdl_aval_bytes(bdl_aval_of(L->body, e->in[front_operand(L, e)]));
    const size_t row = bdl_aval_bytes(bdl_aval_of(L->body, e->out[0])), all = bytes + row * (size_t)L->length;
    if (all > FRONT_LIMIT || (all > FRONT_FREE && row > FRONT_GROWTH * x)) continue;
    bytes = all;
    L->front[L->n_front++] = e;
  }
}

static bool choose(loop *L) {
  choose_front(L);
  for (int i = 0; i < L->n_front; i++) L->stacked[L->front[i]->out[0]] = 0;
  choose_sums(L, BDL_P_dot);
  choose_sums(L, BDL_P_reduce_sum);
  bool any = L->n_front > 0;
  for (int i = 0; i < L->carry; i++) any |= L->term[i].e != NULL;
  return any;
}

/* ---- the new loop ------------------------------------------------------------------------------------- */

static bool moved(const loop *L, const bdl_eqn *e) {
  for (int i = 0; i < L->n_front; i++)
    if (L->front[i] == e) return true;
  for (int i = 0; i < L->carry; i++)
    if (L->term[i].e && (L->term[i].e == e || L->term[i].add == e)) return true;
  return false;
}

/* The body without what moves; rows of the products in front are its last inputs, newly stacked values its last results. */
static bdl_status new_body(const loop *L, bdl_arena *a, bdl_prog **out) {
  const bdl_prog *p = L->body;
  bool *keep = bdl_arena_alloc(a, (size_t)p->inputs.n + 1);
  bdl_atom *res = bdl_arena_alloc(a, ((size_t)p->n_outputs + (size_t)L->n_results + 1) * sizeof *res);
  bdl_rewrite r;
  int n = 0, kept = 0;
  if (!keep || !res) return BDL_ENOMEM;
  for (int64_t i = 0; i < p->inputs.n; i++) keep[i] = i < L->consts || i >= L->consts + L->carry || !L->term[i - L->consts].e;
  bdl_status s = bdl_ir_rw_begin_some(&r, p, keep);
  for (int i = 0; s == BDL_OK && i < L->n_front; i++) {
    bdl_atom z = BDL_ZERO;
    s = bdl_ir_input(r.q, bdl_aval_of(p, L->front[i]->out[0]), &z);
    if (s == BDL_OK) r.map[L->front[i]->out[0]] = z;
  }
  for (int64_t i = 0; s == BDL_OK && i < p->eqns.n; i++)
    if (!moved(L, &p->eqns.v[i])) s = bdl_ir_rw_copy(&r, &p->eqns.v[i]);
  for (int k = 0; s == BDL_OK && k < p->n_outputs; k++)
    if (k >= L->carry || !L->term[k].e) s = bdl_ir_rw_atom(&r, p->outputs[k], &res[n++]);
  kept = n;
  for (bdl_atom x = 0; s == BDL_OK && x < p->vars.n; x++)
    if (L->stacked[x]) s = bdl_ir_rw_atom(&r, x, &res[kept + L->stacked[x] - 1]), n++;
  if (s == BDL_OK) s = bdl_prog_set_outputs(r.q, res, n);
  bdl_ir_rw_fini(&r);
  if (s == BDL_OK) *out = r.q;
  else bdl_prog_unref(r.q);
  return s;
}

/* axes + 1 */
static bdl_param shifted(const bdl_param *p, int64_t first, int64_t room[BDL_MAX_NDIM + 1]) {
  int n = 0;
  if (first >= 0) room[n++] = first;
  for (int k = 0; k < p->n; k++) room[n++] = p->ints[k] + 1;
  return bdl_pints(room, n);
}

/* x w of all rounds: in[k] is the stacked operand */
static bdl_status bind_front(bdl_prog *q, const bdl_eqn *e, int k, bdl_atom x, bdl_atom w, bdl_atom *z) {
  int64_t axes[BDL_MAX_NDIM + 1];
  const bdl_param of_x = shifted(&e->params[k], -1, axes), of_w = e->params[1 - k], none = bdl_pints(NULL, 0);
  return bdl_bind(q, BDL_P_dot, (bdl_param[]){of_x, of_w, none, none}, (bdl_atom[]){x, w}, 2, z);
}

static bdl_status bind_term(bdl_prog *q, const bdl_eqn *e, const bdl_atom *x, bdl_atom *z) {
  int64_t a[BDL_MAX_NDIM + 1], b[BDL_MAX_NDIM + 1], c[BDL_MAX_NDIM + 1], d[BDL_MAX_NDIM + 1];
  if (e->prim == BDL_P_reduce_sum) return bdl_bind(q, BDL_P_reduce_sum, (bdl_param[]){shifted(&e->params[0], 0, a)}, x, 1, z);
  const bdl_param p[] = {shifted(&e->params[0], 0, a), shifted(&e->params[1], 0, b), shifted(&e->params[2], -1, c), shifted(&e->params[3], -1, d)};
  return bdl_bind(q, BDL_P_dot, p, x, 2, z);
}

static bdl_status operand(bdl_rewrite *r, const loop *L, const bdl_atom *in, bdl_atom x, bdl_atom *z) {
  const bdl_var *v = &L->body->vars.v[x];
  if (v->kind == BDL_V_INPUT) return *z = in[v->index], BDL_OK;
  if (v->kind == BDL_V_LITERAL) return bdl_ir_literal(r->q, v->aval.dtype, v->literal, z);
  return bdl_ir_const(r->q, &L->body->consts.v[v->index], z);
}

static bdl_status replace(bdl_rewrite *r, const loop *L) {
  const bdl_eqn *e = L->e;
  const bdl_prog *p = L->body;
  bdl_prog *body = NULL, *q = r->q;
  const bdl_atom *in = bdl_ir_rw_operands(r, e);
  bdl_atom *ops = bdl_arena_alloc(&r->scratch, ((size_t)e->n_in + (size_t)L->n_front) * sizeof *ops);
  bdl_atom *z = bdl_arena_alloc(&r->scratch, ((size_t)e->n_out + (size_t)L->n_results + 1) * sizeof *z);
  int64_t carry = 0;
  int n = 0, kept = 0;
  if (!in || !ops || !z) return BDL_ENOMEM;
  for (int k = 0; k < e->n_in; k++) {
    const bool is_carry = k >= L->consts && k < L->consts + L->carry;
    if (is_carry && L->term[k - L->consts].e) continue;
    ops[n++] = in[k];
    carry += is_carry;
  }
  for (int i = 0; i < L->n_front; i++) {
    const int k = front_operand(L, L->front[i]);
    bdl_atom w = BDL_ZERO;
    q->src = L->front[i]->src;
    TRY(operand(r, L, in, L->front[i]->in[1 - k], &w));
    TRY(bind_front(q, L->front[i], k, in[p->vars.v[L->front[i]->in[k]].index], w, &ops[n++]));
  }
  TRY(new_body(L, &r->scratch, &body));
  const bdl_param params[] = {e->params[0], bdl_pint(carry), e->params[2], e->params[3], bdl_pprogs(&body, 1)};
  q->src = e->src;
  const bdl_status s = bdl_bind(q, BDL_P_scan, params, ops, n, z);
  bdl_prog_unref(body);
  TRY(s);
  for (int k = 0; k < e->n_out; k++)
    if (k >= L->carry || !L->term[k].e) TRY(bdl_ir_rw_set(r, e->out[k], z[kept++]));
  for (int i = 0; i < L->carry; i++) {
    const bdl_eqn *t = L->term[i].e;
    bdl_atom x[2] = {0}, sum = BDL_ZERO;
    if (!t) continue;
    for (int k = 0; k < t->n_in; k++) {
      const bdl_var *v = &p->vars.v[t->in[k]];
      const int result = result_of(L, t->in[k]);
      x[k] = is_x(L, t->in[k]) ? in[v->index] : result >= 0 ? r->map[e->out[result]] : z[kept + L->stacked[t->in[k]] - 1];
    }
    q->src = t->src;
    TRY(bind_term(q, t, x, &sum));
    if (!bdl_ir_is_literal(q, in[L->consts + i], 0)) TRY(bdl_bind2(q, BDL_P_add, in[L->consts + i], sum, &sum));
    TRY(bdl_ir_rw_set(r, e->out[i], sum));
  }
  r->changed = true;
  return BDL_OK;
}

static bdl_status pass_body(void *ud, const bdl_prog *p, bdl_prog **q) {
  (void)ud;
  return bdl_pass_products(p, q);
}

static bdl_status scan(bdl_rewrite *r, const bdl_eqn *e) {
  const bdl_prog *body = e->params[4].progs[0];
  loop L = {.e = e, .body = body, .consts = e->params[0].i, .carry = e->params[1].i, .length = e->params[2].i};
  const size_t vars = (size_t)body->vars.n + 1;
  L.uses = bdl_ir_uses(body, &r->scratch);
  L.stacked = bdl_arena_alloc(&r->scratch, vars * sizeof *L.stacked);
  L.term = bdl_arena_alloc(&r->scratch, ((size_t)L.carry + 1) * sizeof *L.term);
  L.front = bdl_arena_alloc(&r->scratch, ((size_t)body->eqns.n + 1) * sizeof *L.front);
  if (!L.uses || !L.stacked || !L.term || !L.front) return BDL_ENOMEM;
  return choose(&L) ? replace(r, &L) : bdl_ir_rw_copy_bodies(r, e, pass_body, NULL);
}

bdl_status bdl_pass_products(const bdl_prog *p, bdl_prog **q) {
  bdl_rewrite r;
  bool any = false;
  for (int64_t i = 0; i < p->eqns.n; i++) any |= bdl_ir_has_bodies(&p->eqns.v[i]);
  if (!any) return bdl_prog_ref(*q = (bdl_prog *)p), BDL_OK;
  bdl_status s = bdl_ir_rw_begin(&r, p);
  for (int64_t i = 0; s == BDL_OK && i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    s = e->prim == BDL_P_scan ? scan(&r, e) : bdl_ir_rw_copy_bodies(&r, e, pass_body, NULL);
  }
  return bdl_ir_rw_end(&r, s, q);
}

/*
** scan.c -- derivatives of loops of known length.
**
**     forward    one loop:   values and tangents are carried side by side
**     reverse    two loops:  values, which also stacks what the tangents need; tangents, linear in them
**     transpose  the loop of tangents the other way round: cotangents are carried, those of constants summed up
** Values that no round changes are made once in front; operands and results of the loop are not stacked a second time.
*/
#include <string.h>

#include "prim/rules.h"
#include "transform/linear.h"

/* The operands of a scan in their three groups. */
typedef struct groups {
  const bdl_prog *body;
  int64_t length, end[3]; /* one past the last of consts, carry, xs */
  int n_carry;
  bool reverse;
} groups;

enum { CONSTS, CARRY, XS };

static groups groups_of(const bdl_eqn *e) {
  return (groups){.body = e->params[4].progs[0], .length = e->params[2].i, .reverse = e->params[3].i != 0, .n_carry = (int)e->params[1].i,
                  .end = {e->params[0].i, e->params[0].i + e->params[1].i, e->n_in}};
}
static int64_t begin_of(const groups *g, int group) { return group ? g->end[group - 1] : 0; }

static const bdl_aval *in_aval(const bdl_prog *p, int64_t i) { return bdl_aval_of(p, p->inputs.v[i]); }

/* The loop with the body of the stage: consts, carry and xs are counted by the caller.  z: its results. */
static bdl_status bind(bdl_stage *s, int64_t consts, int64_t carry, int64_t length, bool reverse, const bdl_atom *out, int n_out,
                       bdl_atom *z) {
  TRY(bdl_prog_set_outputs(s->body, out, n_out));
  const bdl_param p[] = {bdl_pint(consts), bdl_pint(carry), bdl_pint(length), bdl_pint(reverse), bdl_pprogs(&s->body, 1)};
  return bdl_bind(s->outer, BDL_P_scan, p, s->operand, s->n, z);
}

/* ---- forward -------------------------------------------------------------------------------------- */

static bdl_status forward(bdl_control *c, const groups *g, const bool *active, const bdl_linearised *l, bdl_stage *s) {
  bdl_atom *in, *res, *out, *z;
  int64_t n_active[3] = {0}, next = l->n_in, n = 0;
  if (!BDL_ARRAY(c->a, in, l->b->inputs.n) || !BDL_ARRAY(c->a, res, l->b->n_outputs) || !BDL_ARRAY(c->a, out, l->b->n_outputs) ||
      !BDL_ARRAY(c->a, z, l->b->n_outputs))
    return BDL_ENOMEM;
  for (int group = CONSTS; group <= XS; group++) {
    for (int64_t i = begin_of(g, group); i < g->end[group]; i++) TRY(bdl_stage_input(s, c->x[i], in_aval(g->body, i), &in[i]));
    for (int64_t i = begin_of(g, group); i < g->end[group]; i++) {
      bdl_atom dx;
      if (!active[i]) continue;
      TRY(bdl_or_zeros(c->b, c->dx[i], bdl_aval_of(c->b, c->x[i]), &dx));
      TRY(bdl_stage_input(s, dx, in_aval(g->body, i), &in[next++]));
      n_active[group]++;
    }
  }
  TRY(bdl_ir_inline(s->body, l->b, in, res));
  for (int part = 0; part < 2; part++) { /* carry, then ys; of each the values, then the tangents */
    const int from = part ? g->n_carry : 0, to = part ? l->n_out : g->n_carry;
    for (int k = from; k < to; k++) out[n++] = res[k];
    for (int k = from; k < to; k++) {
      int at = l->n_out;
      for (int j = 0; j < k; j++) at += !bdl_is_zero(l->tangent[j]);
      if (!bdl_is_zero(l->tangent[k])) out[n++] = res[at];
    }
  }
  TRY(bind(s, g->end[CONSTS] + n_active[CONSTS], g->n_carry + n_active[CARRY], g->length, g->reverse, out, (int)n, z));
  for (int part = 0; part < 2; part++) {
    const int from = part ? g->n_carry : 0, to = part ? l->n_out : g->n_carry;
    for (int k = from; k < to; k++) c->z[k] = *z++;
    for (int k = from; k < to; k++)
      if (!bdl_is_zero(l->tangent[k])) c->dz[k] = *z++;
  }
  return BDL_OK;
}

/* ---- reverse: which values the loop of tangents reads, and where it finds them ------------------------ */

typedef enum place { STACKED, OPERAND, RESULT, INVARIANT } place; /* STACKED: one more result of the loop of values */

typedef struct residuals {
  bdl_split split;
  place *place; /* of each kept value */
  int *index;   /* operand, result */
  int n_stacked;
} residuals;

/* Made from the loop's constants alone, without effect or failure. */
static void find_invariant(const groups *g, const bdl_linearised *l, bool *invariant) {
  const bdl_prog *b = l->b;
  for (bdl_atom x = 0; x < b->vars.n; x++) {
    const bdl_var *v = &b->vars.v[x];
    invariant[x] = v->kind == BDL_V_LITERAL || v->kind == BDL_V_CONST || (v->kind == BDL_V_INPUT && v->index < g->end[CONSTS]);
  }
  for (int64_t i = 0; i < b->eqns.n; i++) {
    const bdl_eqn *e = &b->eqns.v[i];
    bool all = !bdl_ir_has_effect(e) && !bdl_ir_can_fail(e);
    for (int k = 0; k < e->n_in; k++) all &= invariant[e->in[k]];
    for (int k = 0; k < e->n_out; k++) invariant[e->out[k]] = all;
  }
}

static bdl_status choose(const groups *g, bdl_linearised *l, residuals *r) {
  const bdl_prog *b = l->b;
  bool *invariant;
  int64_t *cost;
  int *result;
  if (!BDL_ARRAY(&l->scratch, invariant, b->vars.n) || !BDL_ARRAY(&l->scratch, cost, b->vars.n) ||
      !BDL_ARRAY(&l->scratch, result, b->vars.n))
    return BDL_ENOMEM;
  find_invariant(g, l, invariant);
  for (int k = g->n_carry; k < l->n_out; k++) result[l->out[k]] = k + 1;
  for (bdl_atom x = 0; x < b->vars.n; x++) {
    const bdl_var *v = &b->vars.v[x];
    const bool operand = v->kind == BDL_V_INPUT && v->index >= g->end[CARRY];
    cost[x] = invariant[x] || operand || result[x] ? 0 : (int64_t)bdl_aval_bytes(&v->aval) + 1;
  }
  TRY(bdl_transform_split(l, cost, &r->split));
  if (!BDL_ARRAY(&l->scratch, r->place, r->split.n_kept) || !BDL_ARRAY(&l->scratch, r->index, r->split.n_kept)) return BDL_ENOMEM;
  for (int k = 0; k < r->split.n_kept; k++) {
    const bdl_atom x = r->split.kept[k];
    const bdl_var *v = &b->vars.v[x];
    r->place[k] = invariant[x] ? INVARIANT : v->kind == BDL_V_INPUT && v->index >= g->end[CARRY] ? OPERAND : result[x] ? RESULT : STACKED;
    r->index[k] = r->place[k] == OPERAND ? v->index : r->place[k] == RESULT ? result[x] - 1 : r->n_stacked;
    r->n_stacked += r->place[k] == STACKED;
  }
  return BDL_OK;
}

/* The loop of values; stacked: the values that it keeps. */
static bdl_status values(bdl_control *c, const groups *g, const bdl_linearised *l, const residuals *r, bdl_stage *s, bdl_atom *stacked) {
  bdl_atom *wanted, *in, *out, *z;
  int n = l->n_out;
  if (!BDL_ARRAY(c->a, wanted, n + r->n_stacked) || !BDL_ARRAY(c->a, out, n + r->n_stacked) ||
      !BDL_ARRAY(c->a, z, n + r->n_stacked) || !BDL_ARRAY(c->a, in, l->n_in))
    return BDL_ENOMEM;
  for (int64_t i = 0; i < l->n_in; i++) TRY(bdl_stage_input(s, c->x[i], in_aval(g->body, i), &in[i]));
  memcpy(wanted, l->out, (size_t)n * sizeof *wanted);
  for (int k = 0; k < r->split.n_kept; k++)
    if (r->place[k] == STACKED) wanted[n++] = r->split.kept[k];
  TRY(bdl_transform_extract(l->b, l->b->inputs.v, in, (int)l->n_in, wanted, n, true, s->body, out));
  TRY(bind(s, g->end[CONSTS], g->n_carry, g->length, g->reverse, out, n, z));
  memcpy(c->z, z, (size_t)l->n_out * sizeof *z);
  memcpy(stacked, z + l->n_out, (size_t)r->n_stacked * sizeof *z);
  return BDL_OK;
}

/* The kept values of one kind become inputs of the loop of tangents. */
static bdl_status add_kept(bdl_control *c, const bdl_linearised *l, const residuals *r, bool invariant, const bdl_atom *stacked,
                           bdl_stage *s, bdl_atom *in) {
  for (int k = 0; k < r->split.n_kept; k++) {
    bdl_atom x = BDL_ZERO;
    if ((r->place[k] == INVARIANT) != invariant) continue;
    switch (r->place[k]) {
      case INVARIANT: TRY(bdl_transform_extract(l->b, l->b->inputs.v, c->x, (int)l->n_in, &r->split.kept[k], 1, false, c->b, &x)); break;
      case OPERAND: x = c->x[r->index[k]]; break;
      case RESULT: x = c->z[r->index[k]]; break;
      case STACKED: x = stacked[r->index[k]]; break;
    }
    TRY(bdl_stage_input(s, x, bdl_aval_of(l->b, r->split.kept[k]), &in[k]));
  }
  return BDL_OK;
}

static bdl_status tangents(bdl_control *c, const groups *g, const bool *active, const bdl_linearised *l, const residuals *r,
                           const bdl_atom *stacked, bdl_stage *s) {
  const int n_kept = r->split.n_kept, n_given = n_kept + (int)(l->b->inputs.n - l->n_in);
  bdl_atom *given, *in, *wanted, *out, *z;
  int64_t consts = 0, carry = 0;
  int next = n_kept, n = 0;
  if (!BDL_ARRAY(c->a, given, n_given) || !BDL_ARRAY(c->a, in, n_given) || !BDL_ARRAY(c->a, wanted, l->n_out) ||
      !BDL_ARRAY(c->a, out, l->n_out) || !BDL_ARRAY(c->a, z, l->n_out))
    return BDL_ENOMEM;
  memcpy(given, r->split.kept, (size_t)n_kept * sizeof *given);
  for (int i = n_kept; i < n_given; i++) given[i] = l->b->inputs.v[l->n_in + i - n_kept];
  TRY(add_kept(c, l, r, true, stacked, s, in));
  for (int group = CONSTS; group <= XS; group++) {
    if (group == XS) TRY(add_kept(c, l, r, false, stacked, s, in));
    for (int64_t i = begin_of(g, group); i < g->end[group]; i++) {
      bdl_atom dx;
      if (!active[i]) continue;
      TRY(bdl_or_zeros(c->b, c->dx[i], bdl_aval_of(c->b, c->x[i]), &dx));
      TRY(bdl_stage_input(s, dx, in_aval(g->body, i), &in[next++]));
      carry += group == CARRY;
    }
    if (group == CONSTS) consts = s->n;
  }
  for (int k = 0; k < l->n_out; k++)
    if (!bdl_is_zero(l->tangent[k])) wanted[n++] = l->tangent[k];
  TRY(bdl_transform_extract(l->b, given, in, n_given, wanted, n, false, s->body, out));
  TRY(bind(s, consts, carry, g->length, g->reverse, out, n, z));
  for (int k = 0; k < l->n_out; k++)
    if (!bdl_is_zero(l->tangent[k])) c->dz[k] = *z++;
  return BDL_OK;
}

static bdl_status two_loops(bdl_control *c, const groups *g, const bool *active, bdl_linearised *l) {
  residuals r = {.n_stacked = 0};
  bdl_stage s = {0};
  bdl_atom *stacked;
  TRY(choose(g, l, &r));
  if (!BDL_ARRAY(c->a, stacked, r.n_stacked)) return BDL_ENOMEM;
  bdl_status status = bdl_stage_new(&s, c->b, g->body->name, c->a);
  if (status == BDL_OK) status = values(c, g, l, &r, &s, stacked);
  bdl_stage_fini(&s);
  if (status == BDL_OK) status = bdl_stage_new(&s, c->b, g->body->name, c->a);
  if (status == BDL_OK) status = tangents(c, g, active, l, &r, stacked, &s);
  bdl_stage_fini(&s);
  return status;
}

bdl_status bdl_linearise_scan(bdl_control *c) {
  const groups g = groups_of(c->e);
  bdl_linearised l = {0};
  bdl_stage s = {0};
  bool *active, *want;
  if (!BDL_ARRAY(c->a, active, c->e->n_in) || !BDL_ARRAY(c->a, want, c->e->n_out)) return BDL_ENOMEM;
  for (int k = 0; k < c->e->n_in; k++) active[k] = !bdl_is_zero(c->dx[k]);
  bdl_status status = bdl_transform_linearise_loop(g.body, active, g.end[CONSTS], g.n_carry, c->mode, &l);
  memcpy(want, active + g.end[CONSTS], (size_t)g.n_carry);
  if (status == BDL_OK) status = bdl_transform_linearised_end(&l, want);
  if (status == BDL_OK && c->mode == BDL_REVERSE) {
    status = two_loops(c, &g, active, &l);
  } else if (status == BDL_OK) {
    status = bdl_stage_new(&s, c->b, g.body->name, c->a);
    if (status == BDL_OK) status = forward(c, &g, active, &l, &s);
    bdl_stage_fini(&s);
  }
  bdl_transform_linearised_fini(&l);
  return status;
}

/* ---- transpose --------------------------------------------------------------------------------------- */

typedef struct backward {
  const groups *g;
  const bdl_prog *t;      /* the transposed body: what is not linear, cotangents of its results -> of the linear operands */
  const bool *is_linear, *there, *found;
  const bdl_atom *x, *ct; /* operands, cotangents of results */
  bdl_arena *a;
} backward;

/* The inputs of t, which stand in another order than those of the loop. */
static bdl_status backward_inputs(const backward *w, bdl_stage *s, bdl_atom *t_in, bdl_atom *sum, int64_t *n_sums) {
  const groups *g = w->g;
  bdl_prog *b = s->outer;
  const bdl_prog *body = g->body;
  int fixed = 0, next = 0;
  for (int64_t i = 0; i < g->end[XS]; i++) fixed += !w->is_linear[i];
  for (int64_t i = 0; i < g->end[CONSTS]; i++)
    if (!w->is_linear[i]) TRY(bdl_stage_input(s, w->x[i], in_aval(body, i), &t_in[next++]));
  for (int64_t i = 0; i < g->end[CONSTS]; i++) {
    bdl_atom zeros;
    if (!w->found[i]) continue;
    TRY(bdl_ir_full(b, in_aval(body, i), 0, &zeros));
    TRY(bdl_stage_input(s, zeros, in_aval(body, i), &sum[(*n_sums)++]));
  }
  for (int k = 0; k < g->n_carry; k++) {
    bdl_atom ct;
    const bdl_aval *a = in_aval(body, g->end[CONSTS] + k);
    TRY(bdl_or_zeros(b, w->ct[k], a, &ct));
    TRY(bdl_stage_input(s, ct, a, &t_in[fixed + k]));
  }
  for (int64_t i = g->end[CARRY]; i < g->end[XS]; i++)
    if (!w->is_linear[i]) TRY(bdl_stage_input(s, w->x[i], in_aval(body, i), &t_in[next++]));
  next = fixed + g->n_carry;
  for (int k = g->n_carry; k < body->n_outputs; k++)
    if (w->there[k]) TRY(bdl_stage_input(s, w->ct[k], bdl_aval_of(body, body->outputs[k]), &t_in[next++]));
  return BDL_OK;
}

static bdl_status backward_loop(const backward *w, bdl_stage *s, bdl_atom *ct_in) {
  const groups *g = w->g;
  bdl_atom *t_in, *t_out, *sum, *out, *z;
  int64_t n_sums = 0, consts = 0;
  int n = 0;
  if (!BDL_ARRAY(w->a, t_in, w->t->inputs.n) || !BDL_ARRAY(w->a, t_out, w->t->n_outputs) || !BDL_ARRAY(w->a, sum, g->end[CONSTS]) ||
      !BDL_ARRAY(w->a, out, g->end[XS]) || !BDL_ARRAY(w->a, z, g->end[XS]))
    return BDL_ENOMEM;
  TRY(backward_inputs(w, s, t_in, sum, &n_sums));
  for (int64_t i = 0; i < g->end[CONSTS]; i++) consts += !w->is_linear[i];
  TRY(bdl_ir_inline(s->body, w->t, t_in, t_out));
  for (int64_t i = 0, next = 0; i < g->end[XS]; i++) {
    if (i < g->end[CONSTS] && w->found[i]) TRY(bdl_bind2(s->body, BDL_P_add, sum[n], t_out[next], &out[n]));
    else if (w->found[i]) out[n] = t_out[next];
    else if (i >= g->end[CONSTS] && i < g->end[CARRY]) TRY(bdl_ir_full(s->body, in_aval(g->body, i), 0, &out[n]));
    else continue;
    n++;
    next += w->found[i];
  }
  TRY(bind(s, consts, n_sums + g->n_carry, g->length, !g->reverse, out, n, z));
  for (int64_t i = 0; i < g->end[XS]; i++)
    if (w->found[i] || (i >= g->end[CONSTS] && i < g->end[CARRY])) ct_in[i] = *z++;
  return BDL_OK;
}

bdl_status bdl_transpose_scan(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, const bool *is_linear, const bdl_atom *ct,
                              bdl_atom *ct_in) {
  const groups g = groups_of(e);
  bdl_arena a;
  bdl_stage s = {0};
  bdl_prog *t = NULL;
  bool *there, *found, *linear;
  bdl_arena_init(&a, b->ctx);
  bdl_status status = BDL_ENOMEM;
  if (BDL_ARRAY(&a, there, e->n_out) && BDL_ARRAY(&a, found, e->n_in) && BDL_ARRAY(&a, linear, e->n_in)) {
    /* what it carries is a tangent, though it may start as zeros */
    for (int i = 0; i < e->n_in; i++) linear[i] = is_linear[i] || (i >= g.end[CONSTS] && i < g.end[CARRY]);
    for (int k = 0; k < e->n_out; k++) there[k] = k < g.n_carry || !bdl_is_zero(ct[k]);
    status = bdl_transform_transpose(g.body, linear, 0, there, &t, found);
  }
  if (status == BDL_OK) {
    const backward w = {&g, t, linear, there, found, x, ct, &a};
    status = bdl_stage_new(&s, b, g.body->name, &a);
    if (status == BDL_OK) status = backward_loop(&w, &s, ct_in);
    bdl_stage_fini(&s);
    bdl_prog_unref(t);
  }
  bdl_arena_fini(&a);
  return status;
}

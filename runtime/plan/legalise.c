/*
** legalise.c -- the last rewriting before a plan: operands of kernels and loops become contiguous, event products
** become a compaction of the events and a scatter of the active rows.
*/
#include <limits.h>
#include <string.h>

#include "exec/lower.h"
#include "ir/edit.h"
#include "plan/legalise.h"
#include "plan/view.h"

typedef struct legaliser {
  const bdl_prog *p;
  bdl_prog *q;
  const bdl_eqn *loop; /* whose body p is; NULL: none, or one without rows */
  const bool *given;   /* of the atoms of the program around p, see find_given */
  bdl_atom *map;       /* p's atoms -> q's */
  int32_t *uses;       /* of p's atoms */
  bool *gives;         /* of p's atoms: what its results are, or are a view of */
  bool *deferred;      /* of p's atoms: event products that wait for their sum */
  bdl_atom (*ids)[2];  /* of p's atoms: the active ones and their number, for all products with these events; 0, 0: not yet */
  BDL_VEC(bdl_view) view; /* of q's variables */
} legaliser;

static bdl_status track(legaliser *l) {
  bdl_context *c = l->q->ctx;
  while (l->view.n < l->q->vars.n) {
    bdl_view self = bdl_view_self(l->q, (bdl_atom)l->view.n);
    if (!BDL_PUSH(c, l->view, self)) return BDL_ENOMEM;
  }
  return BDL_OK;
}

static bdl_status contiguous(legaliser *l, bdl_atom *x) {
  TRY(track(l));
  if (l->view.v[*x].contiguous) return BDL_OK;
  TRY(bdl_bind1(l->q, BDL_P_copy, *x, x));
  return track(l);
}

/* A loop goes over rows wherever they stand. */
static bdl_status rows(legaliser *l, bdl_atom *x) {
  TRY(track(l));
  return bdl_view_has_rows(&l->view.v[*x], bdl_aval_of(l->q, *x)) ? BDL_OK : contiguous(l, x);
}

/* csr_dot[event=1] of one vector */
static bool is_event_product(const bdl_prog *p, const bdl_eqn *e) {
  return e && e->prim == BDL_P_csr_dot && e->params[3].i && bdl_aval_of(p, e->in[0])->ndim == 1;
}

/* Events as the comparison gave them: cast p, slice (cast p) -> p, slice p, which are active in the same places. */
static bdl_status before_cast(legaliser *l, bdl_atom *x) {
  const bdl_eqn *e = bdl_ir_maker(l->q, *x), *slice = NULL;
  if (e && e->prim == BDL_P_slice) slice = e, e = bdl_ir_maker(l->q, e->in[0]);
  if (!e || e->prim != BDL_P_cast || bdl_aval_of(l->q, e->in[0])->dtype != BDL_BOOL) return BDL_OK;
  bdl_atom p = e->in[0];
  if (slice) TRY(bdl_bind(l->q, BDL_P_slice, slice->params, &p, 1, &p));
  TRY(contiguous(l, &p));
  *x = p;
  return BDL_OK;
}

/* y += rows (or columns) of the matrix that are active in v, y being nothing else's value from here on. */
static bdl_status event_scatter(legaliser *l, const bdl_eqn *e, bdl_atom y, bdl_atom *out) {
  bdl_atom v = l->map[e->in[0]], *ids = l->ids[e->in[0]], s[6];
  if (ids[0] == ids[1]) {
    TRY(contiguous(l, &v));
    TRY(before_cast(l, &v));
    TRY(bdl_bind(l->q, BDL_P_event_ids, NULL, &v, 1, ids));
  }
  s[0] = y, s[1] = ids[0], s[2] = ids[1];
  for (int k = 1; k < 4; k++) {
    s[k + 2] = l->map[e->in[k]];
    TRY(contiguous(l, &s[k + 2]));
  }
  return bdl_bind(l->q, BDL_P_csr_scatter, e->params, s, 6, out);
}

/* y = v W -> y = scatter (copy 0), ..;  y = x + v W, the product used once -> y = scatter x, .. */
static bdl_status event_product(legaliser *l, const bdl_eqn *e, bdl_atom *out, bool *done) {
  const bdl_aval *type = e->n_out == 1 ? bdl_aval_of(l->p, e->out[0]) : NULL;
  bdl_atom y;
  if (is_event_product(l->p, e)) {
    *done = true;
    if (l->deferred[e->out[0]]) return BDL_OK;
    TRY(bdl_ir_full(l->q, type, 0, &y));
    TRY(bdl_bind1(l->q, BDL_P_copy, y, &y));
    return event_scatter(l, e, y, out);
  }
  for (int k = 0; e->prim == BDL_P_add && k < 2; k++) {
    if (!l->deferred[e->in[k]]) continue;
    *done = true;
    y = l->map[e->in[1 - k]];
    TRY(contiguous(l, &y));
    return event_scatter(l, bdl_ir_maker(l->p, e->in[k]), y, out);
  }
  return BDL_OK;
}

/* The products that wait for the sum that they go into: used once, by an add of their type.  Of two in one sum, the second. */
static void defer_products(legaliser *l) {
  const bdl_prog *p = l->p;
  for (int64_t i = 0; i < p->eqns.n; i++)
    for (int k = 0; k < p->eqns.v[i].n_in; k++) l->uses[p->eqns.v[i].in[k]]++;
  for (int i = 0; i < p->n_outputs; i++) l->uses[p->outputs[i]]++;
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    if (e->prim != BDL_P_add) continue;
    for (int k = 1; k >= 0; k--) {
      const bdl_atom x = e->in[k], y = e->in[1 - k];
      if (!is_event_product(p, bdl_ir_maker(p, x)) || l->uses[x] != 1 || l->deferred[y]) continue;
      l->deferred[x] = bdl_aval_eq(bdl_aval_of(p, y), bdl_aval_of(p, e->out[0]));
    }
  }
}

static bdl_status legalise(const bdl_prog *p, const bdl_eqn *loop, const bool *given, bdl_prog **out);

static bdl_status equation(legaliser *l, const bdl_eqn *e) {
  bdl_context *c = l->q->ctx;
  bdl_lower_kind kind = bdl_lowering_of(e->prim)->kind;
  bdl_atom *in = bdl_arena_alloc(&l->q->arena, (size_t)(e->n_in + e->n_out + 1) * sizeof *in), *out = in + e->n_in;
  if (!in) return BDL_ENOMEM;
  l->q->src = e->src;
  for (int i = 0; i < e->n_in; i++) in[i] = l->map[e->in[i]];
  bool done = false;
  const int64_t first_row = e->prim == BDL_P_scan ? e->params[0].i + e->params[1].i : INT_MAX;
  bool dense = kind == BDL_LOWER_KERNEL || kind == BDL_LOWER_UPDATE || kind == BDL_LOWER_CONTROL || e->prim == BDL_P_random_bits ||
               (kind == BDL_LOWER_REDUCE && e->params[0].n != bdl_aval_of(l->p, e->in[0])->ndim);
  if (dense)
    for (int i = 0; i < e->n_in; i++) TRY(i < first_row ? contiguous(l, &in[i]) : rows(l, &in[i]));
  TRY(event_product(l, e, out, &done));
  if (done && is_event_product(l->p, e) && l->deferred[e->out[0]]) return BDL_OK;
  if (!done && e->prim == BDL_P_reshape && !l->view.v[in[0]].contiguous) TRY(contiguous(l, &in[0]));
  if (!done) {
    bdl_param params[8];
    for (int i = 0; i < e->n_params; i++) {
      params[i] = e->params[i];
      if (params[i].kind != BDL_PK_PROGS) continue;
      bdl_prog **bodies = bdl_arena_alloc(&l->q->arena, (size_t)params[i].n * sizeof *bodies);
      if (!bodies) return BDL_ENOMEM;
      params[i].progs = bodies;
      bdl_status s = BDL_OK;
      int made = 0;
      const bdl_eqn *loop = e->prim == BDL_P_scan ? e : NULL;
      for (; made < params[i].n && s == BDL_OK; made++) s = legalise(e->params[i].progs[made], loop, l->gives, &bodies[made]);
      if (s == BDL_OK) s = bdl_bind(l->q, e->prim, params, in, e->n_in, out), made++;
      for (int k = 0; k < made - 1; k++) bdl_prog_unref(bodies[k]);
      if (s != BDL_OK) return s;
      done = true;
    }
    if (!done) TRY(bdl_bind(l->q, e->prim, params, in, e->n_in, out));
  }
  TRY(track(l));
  for (int i = 0; i < e->n_out; i++) l->map[e->out[i]] = out[i];
  bdl_eqn *last = &l->q->eqns.v[l->q->eqns.n - 1];
  bdl_view v;
  if (e->n_out == 1 && last->n_out == 1 && last->out[0] == out[0] && last->n_in > 0 &&
      bdl_view_of_eqn(l->q, last, &l->view.v[last->in[0]], &v))
    l->view.v[out[0]] = v;
  (void)c;
  return BDL_OK;
}

static int64_t n_carry(const legaliser *l) { return l->loop ? l->loop->params[1].i : INT_MAX; }

/* Is x carried from step to step? */
static bool is_carried(const legaliser *l, bdl_atom x) {
  const bdl_var *v = &l->p->vars.v[x];
  const int64_t first = l->loop->params[0].i;
  for (int64_t j = 0; j < n_carry(l); j++)
    if (l->p->outputs[j] == x) return true;
  return v->kind == BDL_V_INPUT && v->index >= first && v->index < first + n_carry(l);
}

/* Results k of p that are rows of what is another result, too, or of what the step found; but what is carried can be so in its rows. */
static bool is_again(const legaliser *l, int k) {
  const bdl_atom *out = l->p->outputs;
  if (k < n_carry(l) || (is_carried(l, out[k]) && !l->given[l->loop->out[k]])) return false;
  for (int j = 0; j < k; j++)
    if (out[j] == out[k]) return true;
  return l->p->vars.v[out[k]].kind == BDL_V_INPUT;
}

static void find_given(legaliser *l) {
  const bdl_prog *p = l->p;
  for (int k = 0; k < p->n_outputs; k++) l->gives[p->outputs[k]] = true;
  for (int64_t i = p->eqns.n - 1; i >= 0; i--) {
    const bdl_eqn *e = &p->eqns.v[i];
    const bdl_lower_kind kind = bdl_lowering_of(e->prim)->kind;
    if ((kind == BDL_LOWER_VIEW || kind == BDL_LOWER_STRIDED) && e->n_out == 1 && e->n_in > 0) l->gives[e->in[0]] |= l->gives[e->out[0]];
  }
}

/* The rows of x that are again, as copies. */
static bdl_status stack(legaliser *l, bdl_atom x, bdl_atom *out) {
  for (int k = 0; k < l->p->n_outputs; k++) {
    if (l->p->outputs[k] != x || !is_again(l, k)) continue;
    TRY(bdl_bind1(l->q, BDL_P_copy, l->map[x], &out[k]));
    TRY(track(l));
  }
  return BDL_OK;
}

static bdl_status rewrite(legaliser *l) {
  const bdl_prog *p = l->p;
  for (int64_t v = 0; v < p->vars.n; v++) {
    const bdl_var *var = &p->vars.v[v];
    if (var->kind == BDL_V_LITERAL) TRY(bdl_ir_literal(l->q, var->aval.dtype, var->literal, &l->map[v]));
    if (var->kind == BDL_V_CONST) {
      bdl_tensor t;
      TRY(bdl_tensor_pack(&p->consts.v[var->index], &t));
      bdl_status s = bdl_ir_const(l->q, &t, &l->map[v]);
      bdl_tensor_unref(&t);
      TRY(s);
    }
  }
  for (int64_t i = 0; i < p->inputs.n; i++) {
    bdl_atom x = p->inputs.v[i];
    TRY(bdl_ir_input(l->q, bdl_aval_of(p, x), &l->map[x]));
    l->q->vars.v[l->map[x]].name = p->vars.v[x].name;
  }
  bdl_atom *out = bdl_arena_alloc(&l->q->arena, (size_t)(p->n_outputs + 1) * sizeof *out);
  if (!out) return BDL_ENOMEM;
  for (int64_t i = 0; i < p->inputs.n; i++) TRY(stack(l, p->inputs.v[i], out));
  TRY(track(l));
  for (int64_t i = 0; i < p->eqns.n; i++) {
    TRY(equation(l, &p->eqns.v[i]));
    for (int k = 0; k < p->eqns.v[i].n_out; k++) TRY(stack(l, p->eqns.v[i].out[k], out));
  }
  for (int k = 0; k < p->n_outputs; k++) {
    if (is_again(l, k)) continue;
    out[k] = l->map[p->outputs[k]];
    TRY(contiguous(l, &out[k]));
  }
  return bdl_prog_set_outputs(l->q, out, p->n_outputs);
}

/* Of a loop's body, results behind the carry are rows.  Those that are another result, too, or what the step found, become equations
** beside what makes them: part of a pass, where a copy at the end would be one more, and keep the carry from its place. */
static bdl_status legalise(const bdl_prog *p, const bdl_eqn *loop, const bool *given, bdl_prog **out) {
  bdl_context *c = p->ctx;
  legaliser l = {.p = p, .loop = loop, .given = given};
  TRY(bdl_prog_new(c, p->name, &l.q));
  const size_t n = (size_t)p->vars.n + 1;
  l.map = bdl_alloc(c, n * sizeof *l.map);
  l.uses = bdl_calloc(c, n * sizeof *l.uses);
  l.gives = bdl_calloc(c, n * sizeof *l.gives);
  l.deferred = bdl_calloc(c, n * sizeof *l.deferred);
  l.ids = bdl_calloc(c, n * sizeof *l.ids);
  bdl_status s = l.map && l.uses && l.gives && l.deferred && l.ids ? BDL_OK : BDL_ENOMEM;
  if (s == BDL_OK) find_given(&l), defer_products(&l);
  if (s == BDL_OK) s = rewrite(&l);
  bdl_free(c, l.map, n * sizeof *l.map);
  bdl_free(c, l.uses, n * sizeof *l.uses);
  bdl_free(c, l.gives, n * sizeof *l.gives);
  bdl_free(c, l.deferred, n * sizeof *l.deferred);
  bdl_free(c, l.ids, n * sizeof *l.ids);
  BDL_VEC_FREE(c, l.view);
  if (s == BDL_OK) s = bdl_pass_dce(l.q, out); /* casts that before_cast went around */
  bdl_prog_unref(l.q);
  return s;
}

bdl_status bdl_plan_legalise(const bdl_prog *p, bdl_prog **out) { return legalise(p, NULL, NULL, out); }

/*
** hoist.c -- what a loop computes again in every round moves in front of it.
**
** An equation of a scan's body, or of a while's, is invariant when all it reads is: constants of the loop, literals, results
** of invariant equations.  It moves when it has no effect, cannot fail (the loop may run no round at all), and is worth a
** stored result.  Its result becomes one more constant of the loop.  Innermost loops go first.
*/
#include <string.h>

#include "ir/rewrite.h"

/* A larger result than its operands is computed again rather than stored, from this size on. */
#define LARGE 65536

typedef struct loop {
  const bdl_eqn *e;  /* of the outer program */
  bdl_prog *body;    /* after hoisting from the loops in it; owned */
  int program;       /* which param, and which program of it, is the body */
  int which;
  int consts_param;  /* the param that counts the body's constants */
  int64_t n_consts;  /* inputs of the body that are constants of the loop */
  int64_t first;     /* operand of e that is the body's first input */
  bool *invariant;   /* of each variable of the body */
  char *move;        /* of each equation */
  bool *pass;        /* of each variable: a result that moved and is read by what stays */
  int64_t n_pass;
} loop;

enum { STAYS, MOVES, COPIED }; /* COPIED: cheap, needed outside by one that moves; what stays makes its own */

/* ---- which equations ------------------------------------------------------------------------------- */

static bool is_worth_it(const bdl_prog *p, const bdl_eqn *e) {
  size_t in = 0, out = 0;
  switch (e->prim) {
    case BDL_P_iota:
    case BDL_P_copy:
    case BDL_P_stop_gradient:
    case BDL_P_broadcast:
    case BDL_P_reshape:
    case BDL_P_permute:
    case BDL_P_slice:
    case BDL_P_reverse: return false;
    default: break;
  }
  for (int k = 0; k < e->n_in; k++) in += bdl_aval_bytes(bdl_aval_of(p, e->in[k]));
  for (int k = 0; k < e->n_out; k++) out += bdl_aval_bytes(bdl_aval_of(p, e->out[k]));
  return out <= BDL_MAX(in, LARGE) || !(bdl_prims[e->prim].flags & BDL_F_ELEMENTWISE);
}

/* Fills invariant, move, pass. */
static void choose(loop *L) {
  const bdl_prog *p = L->body;
  bool *read_outside = L->pass; /* first: by an equation that moves; then what is passed in */
  for (bdl_atom x = 0; x < p->vars.n; x++) {
    const bdl_var *v = &p->vars.v[x];
    L->invariant[x] = v->kind == BDL_V_LITERAL || v->kind == BDL_V_CONST || (v->kind == BDL_V_INPUT && v->index < L->n_consts);
  }
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    bool all = !bdl_ir_has_effect(e) && !bdl_ir_can_fail(e);
    for (int k = 0; k < e->n_in; k++) all = all && L->invariant[e->in[k]];
    for (int k = 0; k < e->n_out; k++) L->invariant[e->out[k]] = all;
    if (all && is_worth_it(p, e)) L->move[i] = MOVES;
  }
  for (int64_t i = p->eqns.n - 1; i >= 0; i--) {
    const bdl_eqn *e = &p->eqns.v[i];
    for (int k = 0; k < e->n_out; k++)
      if (read_outside[e->out[k]] && L->move[i] == STAYS) L->move[i] = COPIED;
    for (int k = 0; k < e->n_in; k++) read_outside[e->in[k]] |= L->move[i] != STAYS;
  }
  memset(L->pass, 0, (size_t)p->vars.n);
  for (int64_t i = 0; i < p->eqns.n; i++)
    for (int k = 0; L->move[i] != MOVES && k < p->eqns.v[i].n_in; k++) L->pass[p->eqns.v[i].in[k]] = true;
  for (int i = 0; i < p->n_outputs; i++) L->pass[p->outputs[i]] = true;
  for (bdl_atom x = 0; x < p->vars.n; x++) {
    L->pass[x] = L->pass[x] && p->vars.v[x].kind == BDL_V_EQN && L->move[p->vars.v[x].index] == MOVES;
    L->n_pass += L->pass[x];
  }
}

/* ---- the new loop ---------------------------------------------------------------------------------- */

/* Equations that move, in front of the loop; in: operands of the loop; passed: results for the body, in q. */
static bdl_status move_out(bdl_rewrite *r, const loop *L, const bdl_atom *in, bdl_atom *passed) {
  const bdl_prog *p = L->body;
  bdl_rewrite inner;
  bdl_status s = bdl_ir_rw_begin_in(&inner, p, r->q, in + L->first);
  for (int64_t i = 0; s == BDL_OK && i < p->eqns.n; i++)
    if (L->move[i] != STAYS) s = bdl_ir_rw_copy(&inner, &p->eqns.v[i]);
  for (bdl_atom x = 0; s == BDL_OK && x < p->vars.n; x++)
    if (L->pass[x]) *passed++ = inner.map[x];
  bdl_ir_rw_fini(&inner);
  return s;
}

/* The body without them: after the constants stand the results that moved. */
static bdl_status copy_rest(bdl_rewrite *r, const loop *L, bdl_prog *q) {
  const bdl_prog *p = L->body;
  for (int64_t i = 0; i <= p->inputs.n; i++) {
    bdl_atom z = BDL_ZERO;
    for (bdl_atom x = 0; i == L->n_consts && x < p->vars.n; x++) {
      if (!L->pass[x]) continue;
      TRY(bdl_ir_input(q, bdl_aval_of(p, x), &z));
      r->map[x] = z;
      if (p->vars.v[x].name && !(q->vars.v[z].name = bdl_arena_strdup(&q->arena, p->vars.v[x].name))) return BDL_ENOMEM;
    }
    if (i == p->inputs.n) break;
    TRY(bdl_ir_input(q, bdl_aval_of(p, p->inputs.v[i]), &z));
    TRY(bdl_ir_rw_set(r, p->inputs.v[i], z));
  }
  for (int64_t i = 0; i < p->eqns.n; i++)
    if (L->move[i] != MOVES) TRY(bdl_ir_rw_copy(r, &p->eqns.v[i]));
  bdl_atom *out = bdl_arena_alloc(&r->scratch, (size_t)p->n_outputs * sizeof *out);
  if (!out) return BDL_ENOMEM;
  for (int i = 0; i < p->n_outputs; i++) TRY(bdl_ir_rw_atom(r, p->outputs[i], &out[i]));
  return bdl_prog_set_outputs(q, out, p->n_outputs);
}

static bdl_status new_body(const loop *L, bdl_prog **out) {
  bdl_prog *q = NULL;
  bdl_rewrite r;
  TRY(bdl_prog_new(L->body->ctx, L->body->name, &q));
  bdl_atom *in = bdl_calloc(q->ctx, (size_t)L->body->inputs.n * sizeof *in); /* set by copy_rest */
  bdl_status s = BDL_ENOMEM;
  if (in) {
    s = bdl_ir_rw_begin_in(&r, L->body, q, in);
    if (s == BDL_OK) s = copy_rest(&r, L, q);
    bdl_ir_rw_fini(&r);
  }
  bdl_free(q->ctx, in, (size_t)L->body->inputs.n * sizeof *in);
  if (s == BDL_OK) *out = q;
  else bdl_prog_unref(q);
  return s;
}

/* Append the loop around `body` with n more constants. */
static bdl_status append_loop(bdl_rewrite *r, const loop *L, bdl_prog *body, const bdl_atom *in, const bdl_atom *passed,
                              int64_t n) {
  const bdl_eqn *e = L->e;
  const int64_t at = L->first + L->n_consts;
  bdl_eqn z = *e;
  z.in = bdl_arena_alloc(&r->scratch, (size_t)(e->n_in + n) * sizeof *z.in);
  z.params = bdl_arena_alloc(&r->scratch, (size_t)e->n_params * sizeof *z.params);
  bdl_prog **programs = bdl_arena_alloc(&r->scratch, (size_t)e->params[L->program].n * sizeof *programs);
  bdl_aval *types = bdl_arena_alloc(&r->scratch, (size_t)e->n_out * sizeof *types);
  bdl_atom *out = bdl_arena_alloc(&r->scratch, (size_t)e->n_out * sizeof *out);
  if (!z.in || !z.params || !programs || !types || !out) return BDL_ENOMEM;
  for (int64_t k = 0; k < e->n_in + n; k++) z.in[k] = k < at ? in[k] : k < at + n ? passed[k - at] : in[k - n];
  z.n_in = (int32_t)(e->n_in + n);
  memcpy(z.params, e->params, (size_t)e->n_params * sizeof *z.params);
  z.params[L->consts_param].i += n;
  memcpy(programs, e->params[L->program].progs, (size_t)e->params[L->program].n * sizeof *programs);
  programs[L->which] = body;
  z.params[L->program].progs = programs;
  for (int k = 0; k < e->n_out; k++) types[k] = *bdl_aval_of(r->p, e->out[k]);
  TRY(bdl_ir_append(r->q, &z, types, out));
  return bdl_ir_rw_set_all(r, e, out);
}

static bdl_status hoist_from(bdl_rewrite *r, loop *L) {
  const bdl_atom *in = bdl_ir_rw_operands(r, L->e);
  const bdl_prog *p = L->body;
  bool any = false;
  L->invariant = bdl_arena_alloc(&r->scratch, (size_t)p->vars.n);
  L->pass = bdl_arena_alloc(&r->scratch, (size_t)p->vars.n);
  L->move = bdl_arena_alloc(&r->scratch, (size_t)p->eqns.n);
  if (!in || !L->invariant || !L->pass || !L->move) return BDL_ENOMEM;
  choose(L);
  for (int64_t i = 0; i < p->eqns.n; i++) any |= L->move[i] == MOVES;
  if (!any) return append_loop(r, L, L->body, in, NULL, 0);
  bdl_atom *passed = bdl_arena_alloc(&r->scratch, (size_t)L->n_pass * sizeof *passed);
  bdl_prog *body = NULL;
  if (!passed) return BDL_ENOMEM;
  TRY(move_out(r, L, in, passed));
  TRY(new_body(L, &body));
  const bdl_status s = append_loop(r, L, body, in, passed, L->n_pass);
  bdl_prog_unref(body);
  r->changed = true;
  return s;
}

static bdl_status pass_body(void *ud, const bdl_prog *p, bdl_prog **q) {
  (void)ud;
  return bdl_pass_hoist(p, q);
}

static bdl_status hoist_loop(bdl_rewrite *r, const bdl_eqn *e) {
  loop L = {.e = e};
  if (e->prim == BDL_P_scan) {
    L.program = 4;
    L.n_consts = e->params[0].i;
  } else {
    L.program = 2;
    L.which = 1;
    L.consts_param = 1;
    L.n_consts = e->params[1].i;
    L.first = e->params[0].i;
  }
  const bdl_prog *old = e->params[L.program].progs[L.which];
  TRY(bdl_pass_hoist(old, &L.body));
  r->changed |= L.body != old;
  const bdl_status s = hoist_from(r, &L);
  bdl_prog_unref(L.body);
  return s;
}

bdl_status bdl_pass_hoist(const bdl_prog *p, bdl_prog **q) {
  bdl_rewrite r;
  bool any = false;
  for (int64_t i = 0; i < p->eqns.n; i++) any |= bdl_ir_has_bodies(&p->eqns.v[i]);
  if (!any) return bdl_prog_ref(*q = (bdl_prog *)p), BDL_OK;
  bdl_status s = bdl_ir_rw_begin(&r, p);
  for (int64_t i = 0; s == BDL_OK && i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    const bool loops = e->prim == BDL_P_scan || e->prim == BDL_P_while;
    s = loops ? hoist_loop(&r, e) : bdl_ir_rw_copy_bodies(&r, e, pass_body, NULL);
  }
  return bdl_ir_rw_end(&r, s, q);
}

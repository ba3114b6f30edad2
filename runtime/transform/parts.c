/*
** parts.c -- programs made of parts of others: extraction, and bodies beside the operands of their equation.
*/
#include <string.h>

#include "transform/linear.h"

static bdl_status walk(bdl_rewrite *r, const bool *live, bool effects, const bdl_atom *wanted, int n_wanted, bdl_atom *out) {
  for (int64_t i = 0; i < r->p->eqns.n; i++) {
    const bdl_eqn *e = &r->p->eqns.v[i];
    bool copy = effects && bdl_ir_has_effect(e);
    for (int k = 0; k < e->n_out; k++) copy |= live[e->out[k]];
    for (int k = 0; k < e->n_out; k++) copy &= r->map[e->out[k]] == BDL_ZERO || !live[e->out[k]];
    if (copy) TRY(bdl_ir_rw_copy(r, e));
  }
  for (int k = 0; k < n_wanted; k++) TRY(bdl_ir_rw_atom(r, wanted[k], &out[k]));
  return BDL_OK;
}

/* live[x]: x is wanted, or read on the way to what is; the way ends at what is given. */
static void mark(const bdl_prog *p, const bool *given, bool effects, bool *live) {
  for (int64_t i = p->eqns.n - 1; i >= 0; i--) {
    const bdl_eqn *e = &p->eqns.v[i];
    bool any = effects && bdl_ir_has_effect(e);
    for (int k = 0; k < e->n_out; k++) any |= live[e->out[k]] && !given[e->out[k]];
    for (int k = 0; any && k < e->n_in; k++) live[e->in[k]] = true;
  }
}

bdl_status bdl_transform_extract(const bdl_prog *p, const bdl_atom *given, const bdl_atom *in, int n_given, const bdl_atom *wanted,
                                 int n_wanted, bool effects, bdl_prog *q, bdl_atom *out) {
  bdl_rewrite r;
  bdl_arena a;
  bool *is_given, *live;
  bdl_atom *none;
  bdl_arena_init(&a, p->ctx);
  bdl_status s = BDL_ENOMEM;
  if (BDL_ARRAY(&a, is_given, p->vars.n) && BDL_ARRAY(&a, live, p->vars.n) && BDL_ARRAY(&a, none, p->inputs.n)) {
    memset(none, 0xff, (size_t)p->inputs.n * sizeof *none); /* BDL_ZERO */
    for (int k = 0; k < n_given; k++) is_given[given[k]] = true;
    for (int k = 0; k < n_wanted; k++) live[wanted[k]] = true;
    mark(p, is_given, effects, live);
    s = bdl_ir_rw_begin_in(&r, p, q, none);
    for (int k = 0; s == BDL_OK && k < n_given; k++) s = bdl_ir_rw_set(&r, given[k], in[k]);
    if (s == BDL_OK) s = walk(&r, live, effects, wanted, n_wanted, out);
    bdl_ir_rw_fini(&r);
  }
  bdl_arena_fini(&a);
  return s;
}

bdl_status bdl_stage_new(bdl_stage *s, bdl_prog *outer, const char *name, bdl_arena *a) {
  *s = (bdl_stage){.outer = outer, .a = a};
  return bdl_prog_new(outer->ctx, name, &s->body);
}

void bdl_stage_fini(bdl_stage *s) {
  if (s->body) bdl_prog_unref(s->body);
  s->body = NULL;
}

bdl_status bdl_stage_input(bdl_stage *s, bdl_atom operand, const bdl_aval *a, bdl_atom *x) {
  if (s->n == s->room) {
    bdl_atom *more = NULL;
    const int room = s->room ? 2 * s->room : 16;
    if (!BDL_ARRAY(s->a, more, room)) return BDL_ENOMEM;
    if (s->n) memcpy(more, s->operand, (size_t)s->n * sizeof *more);
    s->operand = more;
    s->room = room;
  }
  TRY(bdl_ir_input(s->body, a, x));
  s->operand[s->n++] = operand;
  return BDL_OK;
}

/*
** rewrite.c -- building a program from another one.
*/
#include "ir/rewrite.h"

#include <string.h>

static bdl_status start(bdl_rewrite *r, const bdl_prog *p, bdl_prog *q) {
  *r = (bdl_rewrite){.p = p, .q = q};
  bdl_arena_init(&r->scratch, p->ctx);
  r->map = bdl_arena_alloc(&r->scratch, (size_t)p->vars.n * sizeof *r->map);
  if (!r->map) return BDL_ENOMEM;
  memset(r->map, 0xff, (size_t)p->vars.n * sizeof *r->map); /* BDL_ZERO */
  return BDL_OK;
}

bdl_status bdl_ir_rw_begin(bdl_rewrite *r, const bdl_prog *p) { return bdl_ir_rw_begin_some(r, p, NULL); }

bdl_status bdl_ir_rw_begin_some(bdl_rewrite *r, const bdl_prog *p, const bool *keep_in) {
  TRY(start(r, p, NULL));
  TRY(bdl_prog_new(p->ctx, p->name, &r->q));
  if (!BDL_RESERVE(p->ctx, r->q->vars, p->vars.n) || !BDL_RESERVE(p->ctx, r->q->eqns, p->eqns.n)) return BDL_ENOMEM;
  r->q->src = p->src;
  for (int64_t i = 0; i < p->inputs.n; i++) {
    bdl_atom z = BDL_ZERO;
    if (keep_in && !keep_in[i]) continue;
    TRY(bdl_ir_input(r->q, bdl_aval_of(p, p->inputs.v[i]), &z));
    TRY(bdl_ir_rw_set(r, p->inputs.v[i], z));
  }
  return BDL_OK;
}

bdl_status bdl_ir_rw_begin_in(bdl_rewrite *r, const bdl_prog *p, bdl_prog *q, const bdl_atom *in) {
  TRY(start(r, p, q));
  for (int64_t i = 0; i < p->inputs.n; i++) r->map[p->inputs.v[i]] = in[i];
  return BDL_OK;
}

void bdl_ir_rw_fini(bdl_rewrite *r) { bdl_arena_fini(&r->scratch); }

bdl_status bdl_ir_rw_set(bdl_rewrite *r, bdl_atom x, bdl_atom z) {
  const char *name = r->p->vars.v[x].name;
  bdl_var *v = &r->q->vars.v[z];
  r->map[x] = z;
  if (!name || v->name || v->kind != r->p->vars.v[x].kind) return BDL_OK;
  v->name = bdl_arena_strdup(&r->q->arena, name);
  return v->name ? BDL_OK : BDL_ENOMEM;
}

bdl_status bdl_ir_rw_atom(bdl_rewrite *r, bdl_atom x, bdl_atom *z) {
  const bdl_var *v = &r->p->vars.v[x];
  *z = r->map[x];
  if (*z != BDL_ZERO) return BDL_OK;
  if (v->kind == BDL_V_LITERAL) TRY(bdl_ir_literal(r->q, v->aval.dtype, v->literal, z));
  else TRY(bdl_ir_const(r->q, &r->p->consts.v[v->index], z));
  return bdl_ir_rw_set(r, x, *z);
}

bdl_atom *bdl_ir_rw_operands(bdl_rewrite *r, const bdl_eqn *e) {
  bdl_atom *in = bdl_arena_alloc(&r->scratch, (size_t)e->n_in * sizeof *in);
  for (int k = 0; in && k < e->n_in; k++)
    if (bdl_ir_rw_atom(r, e->in[k], &in[k]) != BDL_OK) return NULL;
  return in;
}

bdl_status bdl_ir_rw_set_all(bdl_rewrite *r, const bdl_eqn *e, const bdl_atom *z) {
  for (int k = 0; k < e->n_out; k++) TRY(bdl_ir_rw_set(r, e->out[k], z[k]));
  return BDL_OK;
}

bdl_status bdl_ir_rw_copy_with(bdl_rewrite *r, const bdl_eqn *e, const bdl_param *params) {
  bdl_eqn z = *e;
  bdl_aval few[4], *types = e->n_out <= BDL_LEN(few) ? few : bdl_arena_alloc(&r->scratch, (size_t)e->n_out * sizeof *types);
  bdl_atom out_few[4], *out = e->n_out <= BDL_LEN(few) ? out_few : bdl_arena_alloc(&r->scratch, (size_t)e->n_out * sizeof *out);
  bdl_atom in_few[4];
  z.in = in_few;
  if (e->n_in > BDL_LEN(in_few)) z.in = bdl_ir_rw_operands(r, e);
  else for (int k = 0; k < e->n_in; k++) TRY(bdl_ir_rw_atom(r, e->in[k], &z.in[k]));
  z.params = (bdl_param *)params;
  if (!z.in || !types || !out) return BDL_ENOMEM;
  for (int k = 0; k < e->n_out; k++) types[k] = *bdl_aval_of(r->p, e->out[k]);
  TRY(bdl_ir_append(r->q, &z, types, out));
  return bdl_ir_rw_set_all(r, e, out);
}

bdl_status bdl_ir_rw_copy(bdl_rewrite *r, const bdl_eqn *e) { return bdl_ir_rw_copy_with(r, e, e->params); }

static bdl_status each_body(bdl_rewrite *r, const bdl_eqn *e, bdl_param *params, bdl_body_pass pass, void *ud) {
  for (int i = 0; i < e->n_params; i++) {
    if (e->params[i].kind != BDL_PK_PROGS) continue;
    const size_t bytes = (size_t)e->params[i].n * sizeof(bdl_prog *);
    bdl_prog **bodies = bdl_arena_alloc(&r->scratch, bytes);
    if (!bodies) return BDL_ENOMEM;
    params[i].progs = bodies;
    for (int k = 0; k < e->params[i].n; k++) {
      TRY(pass(ud, e->params[i].progs[k], &bodies[k]));
      r->changed |= bodies[k] != e->params[i].progs[k];
    }
  }
  return BDL_OK;
}

bdl_status bdl_ir_rw_copy_bodies(bdl_rewrite *r, const bdl_eqn *e, bdl_body_pass pass, void *ud) {
  if (!bdl_ir_has_bodies(e)) return bdl_ir_rw_copy(r, e);
  bdl_param *params = bdl_arena_alloc(&r->scratch, (size_t)e->n_params * sizeof *params);
  if (!params) return BDL_ENOMEM;
  memcpy(params, e->params, (size_t)e->n_params * sizeof *params);
  bdl_status s = each_body(r, e, params, pass, ud);
  if (s == BDL_OK) s = bdl_ir_rw_copy_with(r, e, params);
  for (int i = 0; i < e->n_params; i++) /* the equation holds its own references */
    for (int k = 0; params[i].progs != e->params[i].progs && params[i].kind == BDL_PK_PROGS && k < params[i].n; k++)
      bdl_prog_unref(params[i].progs[k]);
  return s;
}

static bdl_status take_outputs(bdl_rewrite *r) {
  bdl_atom *out = bdl_arena_alloc(&r->scratch, (size_t)r->p->n_outputs * sizeof *out);
  int n = 0;
  if (!out) return BDL_ENOMEM;
  for (int i = 0; i < r->p->n_outputs; i++)
    if (!r->keep_out || r->keep_out[i]) TRY(bdl_ir_rw_atom(r, r->p->outputs[i], &out[n++]));
  return bdl_prog_set_outputs(r->q, out, n);
}

bdl_status bdl_ir_rw_end(bdl_rewrite *r, bdl_status s, bdl_prog **q) {
  if (s == BDL_OK && r->changed) s = take_outputs(r);
  if (s == BDL_OK && r->changed) {
    *q = r->q;
  } else {
    bdl_prog_unref(r->q);
    if (s == BDL_OK) bdl_prog_ref(*q = (bdl_prog *)r->p);
  }
  bdl_ir_rw_fini(r);
  return s;
}

/* ---- programs in programs ---------------------------------------------------------------------- */

static bdl_status check_operands(bdl_prog *p, const bdl_prog *q, const bdl_atom *in) {
  char got[BDL_AVAL_TEXT], want[BDL_AVAL_TEXT];
  for (int64_t i = 0; i < q->inputs.n; i++) {
    const bdl_aval *a = bdl_aval_of(q, q->inputs.v[i]);
    if (in[i] < 0 || in[i] >= p->vars.n)
      return bdl_fail(p->ctx, BDL_EINTERNAL, "operand %d is no variable of program %s", (int)i + 1, p->name);
    if (!bdl_aval_eq(bdl_aval_of(p, in[i]), a))
      return bdl_fail(p->ctx, BDL_ETYPE, "%s: operand %d is %s, but %s was expected", q->name, (int)i + 1,
                      bdl_aval_text(bdl_aval_of(p, in[i]), false, got), bdl_aval_text(a, false, want));
  }
  return BDL_OK;
}

bdl_status bdl_ir_inline(bdl_prog *p, const bdl_prog *q, const bdl_atom *in, bdl_atom *out) {
  const bdl_ir_mark mark = bdl_ir_here(p);
  bdl_rewrite r;
  TRY(check_operands(p, q, in));
  bdl_status s = bdl_ir_rw_begin_in(&r, q, p, in);
  for (int64_t i = 0; s == BDL_OK && i < q->eqns.n; i++) s = bdl_ir_rw_copy(&r, &q->eqns.v[i]);
  for (int i = 0; s == BDL_OK && i < q->n_outputs; i++) s = bdl_ir_rw_atom(&r, q->outputs[i], &out[i]);
  if (s != BDL_OK) bdl_ir_rollback(p, mark);
  bdl_ir_rw_fini(&r);
  return s;
}

/*
** dce.c -- equations that neither an output nor an effect needs are dropped; so are operands and results of loops,
** branches and calls, inside and outside of their bodies.
**
** One walk backwards finds what is needed and narrows each equation with bodies; a walk forwards copies.  Inputs of the
** program itself all stay.
*/
#include <string.h>

#include "ir/rewrite.h"

static bdl_status dce(const bdl_prog *p, const bool *keep_out, const bool *keep_in, bdl_prog **q);

/* ---- which variables are needed ------------------------------------------------------------------ */

static bool needed(const bdl_eqn *e, const bool *live) {
  bool any = bdl_ir_has_effect(e);
  for (int k = 0; k < e->n_out; k++) any |= live[e->out[k]];
  return any;
}

/* in_live[i]: is input i needed for these outputs?  Bodies in p count as reading all their operands: what they do not need
** shows after they were narrowed themselves. */
static bdl_status live_inputs(const bdl_prog *p, const bool *keep_out, bool *in_live) {
  bool *live = bdl_calloc(p->ctx, (size_t)p->vars.n);
  if (!live) return BDL_ENOMEM;
  for (int i = 0; i < p->n_outputs; i++) live[p->outputs[i]] |= keep_out[i];
  for (int64_t i = p->eqns.n - 1; i >= 0; i--) {
    const bdl_eqn *e = &p->eqns.v[i];
    if (!needed(e, live)) continue;
    for (int k = 0; k < e->n_in; k++) live[e->in[k]] = true;
  }
  for (int64_t i = 0; i < p->inputs.n; i++) in_live[i] |= live[p->inputs.v[i]];
  bdl_free(p->ctx, live, (size_t)p->vars.n);
  return BDL_OK;
}

/* ---- narrowing ------------------------------------------------------------------------------------ */

/* The equation without the operands and results that are not kept. */
static bdl_status narrowed(bdl_arena *a, const bdl_eqn *e, const bool *keep_in, const bool *keep_out, bdl_eqn *z) {
  *z = *e;
  z->n_in = z->n_out = 0;
  z->in = bdl_arena_alloc(a, (size_t)e->n_in * sizeof *z->in);
  z->out = bdl_arena_alloc(a, (size_t)e->n_out * sizeof *z->out);
  z->params = bdl_arena_alloc(a, (size_t)e->n_params * sizeof *z->params);
  if (!z->in || !z->out || !z->params) return BDL_ENOMEM;
  for (int k = 0; k < e->n_in; k++)
    if (keep_in[k]) z->in[z->n_in++] = e->in[k];
  for (int k = 0; k < e->n_out; k++)
    if (keep_out[k]) z->out[z->n_out++] = e->out[k];
  memcpy(z->params, e->params, (size_t)e->n_params * sizeof *z->params);
  return BDL_OK;
}

static int64_t count(const bool *keep, int64_t n) {
  int64_t m = 0;
  for (int64_t i = 0; i < n; i++) m += keep[i];
  return m;
}

/* programs: the param; keep_in[k]: of the k-th body.  The new bodies are owned by the list. */
static bdl_status narrow_bodies(bdl_arena *a, bdl_param *programs, bool *const *keep_in, bool *const *keep_out) {
  bdl_prog **old = programs->progs;
  programs->progs = bdl_arena_alloc(a, (size_t)programs->n * sizeof *old);
  if (!programs->progs) return programs->n = 0, BDL_ENOMEM;
  for (int k = 0; k < programs->n; k++) TRY(dce(old[k], keep_out[k], keep_in[k], &programs->progs[k]));
  return BDL_OK;
}

/* A carried value is needed when its result is, or when anything needed reads it. */
static bdl_status narrow_scan(bdl_arena *a, const bdl_eqn *e, bool *in, bool *out, bdl_eqn *z) {
  const bdl_prog *body = e->params[4].progs[0];
  const int64_t consts = e->params[0].i, carry = e->params[1].i;
  for (bool more = true; more;) {
    more = false;
    TRY(live_inputs(body, out, in));
    for (int64_t i = 0; i < carry; i++) {
      more |= in[consts + i] && !out[i];
      in[consts + i] = out[i] = in[consts + i] || out[i];
    }
  }
  TRY(narrowed(a, e, in, out, z));
  z->params[0].i = count(in, consts);
  z->params[1].i = count(out, carry);
  return narrow_bodies(a, &z->params[4], &(bool *){in}, &(bool *){out});
}

static bdl_status narrow_while(bdl_arena *a, const bdl_eqn *e, bool *in, bool *out, bdl_eqn *z) {
  const bdl_prog *cond = e->params[2].progs[0], *body = e->params[2].progs[1];
  const int64_t n_cond = e->params[0].i, n_body = e->params[1].i, carry = e->n_out;
  bool *cond_in = bdl_arena_alloc(a, (size_t)cond->inputs.n), *body_in = bdl_arena_alloc(a, (size_t)body->inputs.n);
  bool truth[1] = {true};
  if (!cond_in || !body_in) return BDL_ENOMEM;
  TRY(live_inputs(cond, truth, cond_in));
  for (bool more = true; more;) {
    more = false;
    TRY(live_inputs(body, out, body_in));
    for (int64_t i = 0; i < carry; i++) {
      bool *const c = &cond_in[n_cond + i], *const b = &body_in[n_body + i];
      more |= (*c || *b) && !out[i];
      in[n_cond + n_body + i] = *c = *b = out[i] = *c || *b || out[i];
    }
  }
  memcpy(in, cond_in, (size_t)n_cond);
  memcpy(in + n_cond, body_in, (size_t)n_body);
  TRY(narrowed(a, e, in, out, z));
  z->params[0].i = count(in, n_cond);
  z->params[1].i = count(in + n_cond, n_body);
  return narrow_bodies(a, &z->params[2], (bool *[]){cond_in, body_in}, (bool *[]){truth, out});
}

/* Its programs fit each other and the operands: all or nothing. */
static bdl_status keep_whole(bdl_arena *a, const bdl_eqn *e, bool *in, bool *out, bdl_eqn *z) {
  memset(in, true, (size_t)e->n_in);
  memset(out, true, (size_t)e->n_out);
  TRY(narrowed(a, e, in, out, z));
  z->params = e->params;
  return BDL_OK;
}

/* cond, call, checkpoint: `first` operands are the primitive's own, the others go to every body */
static bdl_status narrow_branches(bdl_arena *a, const bdl_eqn *e, int first, bool *in, bool *out, bdl_eqn *z) {
  const int n = e->params[0].n;
  bool **ins = bdl_arena_alloc(a, (size_t)n * sizeof *ins), **outs = bdl_arena_alloc(a, (size_t)n * sizeof *outs);
  if (!ins || !outs) return BDL_ENOMEM;
  memset(in, true, (size_t)first);
  for (int k = 0; k < n; k++) {
    ins[k] = in + first;
    outs[k] = out;
    TRY(live_inputs(e->params[0].progs[k], out, in + first));
  }
  TRY(narrowed(a, e, in, out, z));
  return narrow_bodies(a, &z->params[0], ins, outs);
}

static bdl_status narrow_eqn(bdl_arena *a, const bdl_eqn *e, const bool *live, bdl_eqn *z) {
  bool *in = bdl_arena_alloc(a, (size_t)e->n_in), *out = bdl_arena_alloc(a, (size_t)e->n_out);
  if (!in || !out) return BDL_ENOMEM;
  for (int k = 0; k < e->n_out; k++) out[k] = live[e->out[k]];
  switch (e->prim) {
    case BDL_P_scan: return narrow_scan(a, e, in, out, z);
    case BDL_P_while: return narrow_while(a, e, in, out, z);
    case BDL_P_cond: return narrow_branches(a, e, 1, in, out, z);
    case BDL_P_call:
    case BDL_P_checkpoint: return narrow_branches(a, e, 0, in, out, z);
    default: return keep_whole(a, e, in, out, z);
  }
}

/* ---- the two walks -------------------------------------------------------------------------------- */

/* left[i]: what to copy for equation i; n_out < 0: nothing. */
static bdl_status walk_back(const bdl_prog *p, bdl_arena *a, bool *live, bdl_eqn *left, bool *changed) {
  for (int64_t i = p->eqns.n - 1; i >= 0; i--) {
    const bdl_eqn *e = &p->eqns.v[i];
    bdl_eqn *z = &left[i];
    *z = *e;
    if (!needed(e, live)) {
      *z = (bdl_eqn){.n_out = -1};
      *changed = true;
      continue;
    }
    if (bdl_ir_has_bodies(e)) {
      TRY(narrow_eqn(a, e, live, z));
      *changed |= z->n_in != e->n_in || z->n_out != e->n_out;
      for (int k = 0; k < e->n_params; k++)
        for (int b = 0; z->params[k].kind == BDL_PK_PROGS && b < z->params[k].n; b++)
          *changed |= z->params[k].progs[b] != e->params[k].progs[b];
    }
    for (int k = 0; k < z->n_in; k++) live[z->in[k]] = true;
  }
  return BDL_OK;
}

/* keep_in, keep_out: which inputs and outputs stay; NULL: all.  Every input that is needed is kept. */
static bdl_status dce(const bdl_prog *p, const bool *keep_out, const bool *keep_in, bdl_prog **q) {
  bdl_arena a;
  bdl_rewrite r;
  bool changed = false;
  bdl_arena_init(&a, p->ctx);
  bdl_eqn *left = bdl_arena_alloc(&a, (size_t)p->eqns.n * sizeof *left);
  bool *live = bdl_arena_alloc(&a, (size_t)p->vars.n);
  bdl_status s = left && live ? BDL_OK : BDL_ENOMEM;
  for (int i = 0; s == BDL_OK && i < p->n_outputs; i++) {
    const bool keep = !keep_out || keep_out[i];
    live[p->outputs[i]] |= keep;
    changed |= !keep;
  }
  for (int64_t i = 0; keep_in && i < p->inputs.n; i++) changed |= !keep_in[i];
  if (s == BDL_OK) s = walk_back(p, &a, live, left, &changed);
  if (s == BDL_OK && !changed) {
    bdl_prog_ref(*q = (bdl_prog *)p);
  } else if (s == BDL_OK) {
    s = bdl_ir_rw_begin_some(&r, p, keep_in);
    r.keep_out = keep_out;
    r.changed = true;
    for (int64_t i = 0; s == BDL_OK && i < p->eqns.n; i++)
      if (left[i].n_out >= 0) s = bdl_ir_rw_copy(&r, &left[i]);
    s = bdl_ir_rw_end(&r, s, q);
  }
  for (int64_t i = 0; left && i < p->eqns.n; i++) {
    const bdl_param *x = left[i].params;
    if (x == p->eqns.v[i].params) continue; /* not narrowed */
    for (int k = 0; x && k < left[i].n_params; k++)
      for (int b = 0; x[k].kind == BDL_PK_PROGS && b < x[k].n; b++) bdl_prog_unref(x[k].progs[b]);
  }
  bdl_arena_fini(&a);
  return s;
}

bdl_status bdl_ir_dce_inputs(const bdl_prog *p, const bool *keep, bdl_prog **q) { return dce(p, NULL, keep, q); }

bdl_status bdl_pass_dce(const bdl_prog *p, bdl_prog **q) { return dce(p, NULL, NULL, q); }

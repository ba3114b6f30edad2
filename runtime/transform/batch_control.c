/*
** batch_control.c -- lanes of control flow and of effects.
**
**     scan    its rows stay in front of the lanes inside, so xs and ys move [lanes, T, ..] <-> [T, lanes, ..]
**     while   condition shared: the loop as it is.  Else it runs until all lanes are done, and those that are keep their values:
**               p, x = cond(x), x;  while any(p): x = select(p, body(x), x); p = cond(x)
**     cond    index shared: one branch.  Else all run, and each lane selects its own.
*/
#include <string.h>

#include "prim/check.h"
#include "prim/rules.h"
#include "transform/batch.h"
#include "transform/linear.h"

#define NEW(b, x, n) ((x) = bdl_arena_alloc(&(b)->arena, (size_t)((n) + 1) * sizeof *(x)))

/* Binds with programs, which it takes; s: how making them went. */
static bdl_status bind_taking(bdl_prog *b, bdl_status s, bdl_prim_id prim, const bdl_param *params, const bdl_atom *in, int n_in,
                              bdl_prog **q, int n, bdl_atom *z) {
  if (s == BDL_OK) s = bdl_bind(b, prim, params, in, n_in, z);
  for (int k = 0; k < n; k++) bdl_prog_unref(q[k]);
  return s;
}

/* x without lanes where it should have them. */
static bdl_status lanes_as(bdl_prog *b, const bdl_atom *x, const bool *has, const bool *want, int64_t n, int64_t size, bdl_atom *z) {
  for (int64_t i = 0; i < n; i++) TRY(bdl_rule_lanes(b, x[i], has[i] || !want[i], size, &z[i]));
  return BDL_OK;
}

/* The first two axes exchanged. */
static bdl_status exchange(bdl_prog *b, bdl_atom x, bdl_atom *z) {
  const int64_t axes[BDL_MAX_NDIM] = {1, 0, 2, 3, 4, 5, 6, 7};
  return bdl_rule_axes(b, BDL_P_permute, x, axes, bdl_aval_of(b, x)->ndim, z);
}

/* Does p, also in bodies, have an effect whose order or number matters? */
static bool speaks(const bdl_prog *p) {
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    if (e->prim == BDL_P_print || e->prim == BDL_P_host_call || (bdl_prims[e->prim].flags & BDL_F_LANES)) return true;
    for (int k = 0; k < e->n_params; k++)
      for (int j = 0; e->params[k].kind == BDL_PK_PROGS && j < e->params[k].n; j++)
        if (speaks(e->params[k].progs[j])) return true;
  }
  return false;
}

static bdl_status check_silent(bdl_prog *b, const bdl_eqn *e, const bdl_param *programs) {
  for (int k = 0; k < programs->n; k++)
    if (speaks(programs->progs[k]))
      return bdl_fail(b->ctx, BDL_ENOTSUP, "%s: a print, host call or psum is not supported where lanes go different ways",
                      bdl_prims[e->prim].name);
  return BDL_OK;
}

/* z = p ? x : y, p bool[lanes]; y may have lanes or not */
static bdl_status choose(bdl_prog *b, bdl_atom p, bdl_atom x, bool x_lanes, bdl_atom y, bdl_atom *z) {
  const int rank = bdl_aval_of(b, x)->ndim + !x_lanes;
  int64_t shape[BDL_MAX_NDIM] = {bdl_aval_of(b, p)->shape[0], 1, 1, 1, 1, 1, 1, 1};
  TRY(bdl_check_ndim(b->ctx, rank));
  TRY(bdl_ir_reshape(b, p, rank, shape, &p));
  return bdl_bind3(b, BDL_P_select, p, x, y, z);
}

/* The program for lanes of which only some are active, on (active, some, inputs) if it needs a guard. */
static bdl_status guarded_body(bdl_prog *b, const bdl_prog *p, const bool *in, const bool *want, int64_t size, bool *guarded,
                               bdl_prog **q) {
  bool *flags;
  bdl_prog *safe = NULL;
  *guarded = bdl_batch_needs_guard(p);
  if (!*guarded) return bdl_batch_body(p, in, want, size, q);
  if (!NEW(b, flags, p->inputs.n + 2)) return BDL_ENOMEM;
  flags[0] = true, flags[1] = false;
  memcpy(flags + 2, in, (size_t)p->inputs.n);
  TRY(bdl_batch_guard(p, in, &safe));
  const bdl_status s = bdl_batch_body(safe, flags, want, size, q);
  bdl_prog_unref(safe);
  return s;
}

/* ---- scan --------------------------------------------------------------------------------------- */

BDL_BATCH(scan) {
  const int first_x = (int)(e->params[0].i + e->params[1].i), carry = (int)e->params[1].i;
  bdl_atom *in;
  bdl_prog *q = NULL;
  bool *inner;
  if (!NEW(b, in, e->n_in) || !NEW(b, inner, e->n_in)) return BDL_ENOMEM;
  TRY(bdl_batch_scan_flags(&b->arena, e, batched, out_batched));
  memcpy(inner, batched, (size_t)e->n_in);
  memcpy(inner + e->params[0].i, out_batched, (size_t)carry);
  TRY(lanes_as(b, x, batched, inner, e->n_in, size, in));
  for (int i = first_x; i < e->n_in; i++)
    if (batched[i]) TRY(exchange(b, x[i], &in[i]));
  const bdl_status s = bdl_batch_body(e->params[4].progs[0], inner, out_batched, size, &q);
  TRY(bind_taking(b, s, e->prim, (bdl_param[]){e->params[0], e->params[1], e->params[2], e->params[3], bdl_pprogs(&q, 1)}, in, e->n_in,
                  &q, 1, z));
  for (int k = carry; k < e->n_out; k++)
    if (out_batched[k]) TRY(exchange(b, z[k], &z[k]));
  return BDL_OK;
}

/* ---- while -------------------------------------------------------------------------------------- */

/* Inputs: consts of both, p, carry; results: p, carry. */
static bdl_status round_of(bdl_prog *w, const bdl_prog *cond, const bdl_prog *body, bool guarded, const bdl_prog *outer,
                           const bdl_atom *consts, int n_cond, int n_body, const bdl_atom *carry, const bool *carried, int n) {
  bdl_atom *in, *next, *to_body, *to_cond, some, p;
  if (!NEW(w, in, n_cond + n_body + 1 + n) || !NEW(w, next, n + 1) || !NEW(w, to_body, n_body + n + 2) || !NEW(w, to_cond, n_cond + n))
    return BDL_ENOMEM;
  for (int i = 0; i < n_cond + n_body; i++) TRY(bdl_ir_input(w, bdl_aval_of(outer, consts[i]), &in[i]));
  for (int i = -1; i < n; i++) TRY(bdl_ir_input(w, bdl_aval_of(outer, carry[i]), &in[n_cond + n_body + 1 + i]));
  const bdl_atom *now = in + n_cond + n_body + 1;
  p = now[-1];
  TRY(bdl_ir_literal(w, BDL_BOOL, bdl_scalar_from_f64(BDL_BOOL, 1), &some));
  to_body[0] = p, to_body[1] = some;
  memcpy(to_body + 2, in + n_cond, (size_t)n_body * sizeof *in);
  memcpy(to_body + 2 + n_body, now, (size_t)n * sizeof *in);
  TRY(bdl_ir_inline(w, body, guarded ? to_body : to_body + 2, next + 1));
  for (int i = 0; i < n; i++)
    if (carried[i] && next[1 + i] != now[i]) TRY(choose(w, p, next[1 + i], true, now[i], &next[1 + i]));
  memcpy(to_cond, in, (size_t)n_cond * sizeof *in);
  memcpy(to_cond + n_cond, next + 1, (size_t)n * sizeof *in);
  TRY(bdl_ir_inline(w, cond, to_cond, &next[0]));
  return bdl_prog_set_outputs(w, next, n + 1);
}

static bdl_status any_lane(bdl_prog *b, bdl_atom p, bdl_atom *z) {
  const int64_t lanes = 0;
  return bdl_rule_axes(b, BDL_P_reduce_or, p, &lanes, 1, z);
}

/* Inputs: p, carry. */
static bdl_status some_lane_runs(bdl_prog *w, const bdl_prog *outer, const bdl_atom *carry, int n) {
  bdl_atom p = BDL_ZERO, rest;
  for (int i = 0; i <= n; i++) TRY(bdl_ir_input(w, bdl_aval_of(outer, carry[i]), i ? &rest : &p));
  TRY(any_lane(w, p, &p));
  return bdl_prog_set_outputs(w, &p, 1);
}

/* q[0], q[1]: condition and body over lanes.  in: consts of both, room for p, carry with their lanes. */
static bdl_status while_lanes_differ(bdl_prog *b, const bdl_eqn *e, bdl_prog *const q[2], bool guarded, bdl_atom *in, const bool *carried,
                                     bdl_atom *z) {
  const int n_cond = (int)e->params[0].i, n_body = (int)e->params[1].i, n = e->n_out, consts = n_cond + n_body;
  bdl_prog *w[2] = {NULL, NULL};
  bdl_atom *to_cond, *out;
  if (!NEW(b, to_cond, n_cond + n) || !NEW(b, out, n + 1)) return BDL_ENOMEM;
  memcpy(to_cond, in, (size_t)n_cond * sizeof *in);
  memcpy(to_cond + n_cond, in + consts + 1, (size_t)n * sizeof *in);
  TRY(bdl_ir_inline(b, q[0], to_cond, &in[consts]));
  bdl_status s = bdl_prog_new(b->ctx, "any", &w[0]);
  if (s == BDL_OK) s = bdl_prog_new(b->ctx, q[1]->name, &w[1]);
  for (int k = 0; s == BDL_OK && k < 2; k++) w[k]->src = b->src;
  if (s == BDL_OK) s = some_lane_runs(w[0], b, in + consts, n);
  if (s == BDL_OK) s = round_of(w[1], q[0], q[1], guarded, b, in, n_cond, n_body, in + consts + 1, carried, n);
  TRY(bind_taking(b, s, e->prim, (bdl_param[]){bdl_pint(0), bdl_pint(consts), bdl_pprogs(w, 2)}, in, consts + 1 + n, w, 2, out));
  memcpy(z, out + 1, (size_t)n * sizeof *z);
  return BDL_OK;
}

BDL_BATCH(while) {
  const int n_cond = (int)e->params[0].i, n_body = (int)e->params[1].i, n = e->n_out, consts = n_cond + n_body;
  const bdl_param *programs = &e->params[2];
  bdl_prog *q[2] = {NULL, NULL};
  bdl_atom *in;
  bool *to_cond, *to_body, differs, guarded = false;
  if (!NEW(b, in, e->n_in + 1) || !NEW(b, to_cond, n_cond + n) || !NEW(b, to_body, n_body + n)) return BDL_ENOMEM;
  TRY(bdl_batch_while_flags(&b->arena, e, batched, out_batched, &differs));
  if (differs) TRY(check_silent(b, e, programs));
  memcpy(to_cond, batched, (size_t)n_cond);
  memcpy(to_cond + n_cond, out_batched, (size_t)n);
  memcpy(to_body, batched + n_cond, (size_t)n_body);
  memcpy(to_body + n_body, out_batched, (size_t)n);
  memcpy(in, x, (size_t)consts * sizeof *in);
  TRY(lanes_as(b, x + consts, batched + consts, out_batched, n, size, in + consts + differs));
  bdl_status s = bdl_batch_body(programs->progs[0], to_cond, &differs, size, &q[0]);
  if (s == BDL_OK && differs) s = guarded_body(b, programs->progs[1], to_body, out_batched, size, &guarded, &q[1]);
  else if (s == BDL_OK) s = bdl_batch_body(programs->progs[1], to_body, out_batched, size, &q[1]);
  if (!differs) return bind_taking(b, s, e->prim, (bdl_param[]){e->params[0], e->params[1], bdl_pprogs(q, 2)}, in, e->n_in, q, 2, z);
  if (s == BDL_OK) s = while_lanes_differ(b, e, q, guarded, in, out_batched, z);
  for (int k = 0; k < 2; k++) bdl_prog_unref(q[k]);
  return s;
}

/* ---- cond --------------------------------------------------------------------------------------- */

/* Does a lane go to branch k of n?  above: or to a later one. */
static bdl_status goes_to(bdl_prog *b, bdl_atom index, int k, int n, bool above, bdl_atom *z) {
  const bdl_eqn *e = bdl_ir_maker(b, index);
  bdl_atom number;
  if (n == 2 && e && e->prim == BDL_P_cast && bdl_aval_of(b, e->in[0])->dtype == BDL_BOOL) {
    *z = e->in[0];
    return k == 1 ? BDL_OK : bdl_bind1(b, BDL_P_not, *z, z);
  }
  TRY(bdl_ir_scalar(b, BDL_I32, k, &number));
  return bdl_bind2(b, above || k == n - 1 ? BDL_P_ge : k == 0 ? BDL_P_le : BDL_P_eq, index, number, z);
}

/* q: branch k over lanes, its results appended to b. */
static bdl_status branch(bdl_prog *b, const bdl_eqn *e, int k, const bdl_atom *x, const bool *batched, int64_t size, bool *has,
                         bdl_atom *z) {
  const bdl_prog *p = e->params[0].progs[k];
  bdl_prog *q = NULL;
  bdl_atom *in;
  bool guarded = false;
  if (!NEW(b, in, e->n_in + 1)) return BDL_ENOMEM;
  memset(has, false, (size_t)e->n_out);
  TRY(bdl_batch_join(&b->arena, p, batched + 1, has, e->n_out));
  memcpy(in + 2, x + 1, (size_t)(e->n_in - 1) * sizeof *in);
  if (e->params[0].n > 1) TRY(guarded_body(b, p, batched + 1, NULL, size, &guarded, &q));
  else TRY(bdl_batch_body(p, batched + 1, NULL, size, &q));
  bdl_status s = BDL_OK;
  if (guarded) s = goes_to(b, x[0], k, e->params[0].n, false, &in[0]);
  if (guarded && s == BDL_OK) s = any_lane(b, in[0], &in[1]);
  if (s == BDL_OK) s = bdl_ir_inline(b, q, guarded ? in : in + 2, z);
  for (int i = 0; s == BDL_OK && i < e->n_out; i++)
    has[i] = bdl_aval_of(b, z[i])->ndim > bdl_aval_of(p, p->outputs[i])->ndim; /* a guard asks every lane */
  bdl_prog_unref(q);
  return s;
}

static bdl_status cond_lanes_differ(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, const bool *batched, int64_t size, bdl_atom *z) {
  const int n = e->params[0].n;
  bdl_atom *out, p;
  bool *has, *had;
  TRY(check_silent(b, e, &e->params[0]));
  if (!NEW(b, out, e->n_out) || !NEW(b, has, e->n_out) || !NEW(b, had, e->n_out)) return BDL_ENOMEM;
  TRY(branch(b, e, 0, x, batched, size, had, z));
  for (int k = 1; k < n; k++) {
    TRY(branch(b, e, k, x, batched, size, has, out));
    if (e->n_out > 0) TRY(goes_to(b, x[0], k, n, true, &p));
    for (int i = 0; i < e->n_out; i++) {
      if (out[i] == z[i]) continue;
      TRY(choose(b, p, out[i], has[i], z[i], &z[i]));
      had[i] = true;
    }
  }
  for (int i = 0; i < e->n_out; i++) TRY(bdl_rule_lanes(b, z[i], had[i], size, &z[i]));
  return BDL_OK;
}

BDL_BATCH(cond) {
  const int n = e->params[0].n;
  if (batched[0]) return cond_lanes_differ(b, e, x, batched, size, z);
  bdl_prog **q;
  bdl_status s = BDL_OK;
  if (!NEW(b, q, n)) return BDL_ENOMEM;
  memset(out_batched, false, (size_t)e->n_out);
  for (int k = 0; k < n; k++) TRY(bdl_batch_join(&b->arena, e->params[0].progs[k], batched + 1, out_batched, e->n_out));
  int made = 0;
  while (s == BDL_OK && made < n) {
    s = bdl_batch_body(e->params[0].progs[made], batched + 1, out_batched, size, &q[made]);
    made += s == BDL_OK;
  }
  return bind_taking(b, s, e->prim, (bdl_param[]){bdl_pprogs(q, n)}, x, e->n_in, q, made, z);
}

/* ---- calls, custom derivatives ---------------------------------------------------------------------- */

/* call, checkpoint, etrace_op */
BDL_BATCH(call) {
  bdl_prog *q = NULL;
  bdl_param params[3];
  memcpy(params, e->params, (size_t)e->n_params * sizeof *params);
  params[0] = bdl_pprogs(&q, 1);
  memset(out_batched, false, (size_t)e->n_out);
  TRY(bdl_batch_join(&b->arena, e->params[0].progs[0], batched, out_batched, e->n_out));
  const bdl_status s = bdl_batch_body(e->params[0].progs[0], batched, out_batched, size, &q);
  return bind_taking(b, s, e->prim, params, x, e->n_in, &q, 1, z);
}

/* programs function, rule: tangents have lanes where their values have. */
BDL_BATCH(custom_jvp) {
  const bdl_prog *function = e->params[0].progs[0], *rule = e->params[0].progs[1];
  bdl_prog *q[2] = {NULL, NULL};
  bool *in, *want;
  if (!NEW(b, in, rule->inputs.n) || !NEW(b, want, rule->n_outputs)) return BDL_ENOMEM;
  TRY(bdl_batch_custom_flags(&b->arena, e, batched, out_batched));
  memcpy(in, batched, (size_t)e->n_in);
  bdl_batch_float_flags(function, function->inputs.v, e->n_in, batched, in + e->n_in);
  bdl_batch_float_flags(function, function->outputs, e->n_out, out_batched, want);
  bdl_status s = bdl_batch_body(function, batched, out_batched, size, &q[0]);
  if (s == BDL_OK) s = bdl_batch_body(rule, in, want, size, &q[1]);
  return bind_taking(b, s, e->prim, (bdl_param[]){bdl_pprogs(q, 2)}, x, e->n_in, q, 2, z);
}

/* programs function, forward, backward: the cotangent of what lanes share is the sum of theirs. */
BDL_BATCH(custom_vjp) {
  bdl_prog *const *p = e->params[0].progs, *q[3] = {NULL, NULL, NULL};
  const int residuals = p[1]->n_outputs - e->n_out;
  bool *forward, *in, *want, *flags;
  if (!NEW(b, forward, p[1]->n_outputs) || !NEW(b, in, p[2]->inputs.n) || !NEW(b, want, p[2]->n_outputs)) return BDL_ENOMEM;
  TRY(bdl_batch_custom_flags(&b->arena, e, batched, out_batched));
  TRY(bdl_batch_spread(&b->arena, p[1], batched, &flags));
  memcpy(forward, out_batched, (size_t)e->n_out);
  for (int i = 0; i < residuals; i++) in[i] = forward[e->n_out + i] = flags[p[1]->outputs[e->n_out + i]];
  bdl_batch_float_flags(p[0], p[0]->outputs, e->n_out, out_batched, in + residuals);
  bdl_batch_float_flags(p[0], p[0]->inputs.v, e->n_in, batched, want);
  bdl_status s = bdl_batch_body(p[0], batched, out_batched, size, &q[0]);
  if (s == BDL_OK) s = bdl_batch_body(p[1], batched, forward, size, &q[1]);
  if (s == BDL_OK) s = bdl_batch_body(p[2], in, want, size, &q[2]);
  return bind_taking(b, s, e->prim, (bdl_param[]){bdl_pprogs(q, 3)}, x, e->n_in, q, 3, z);
}

/* params: residuals body.  in: residuals, dx; the body maps cotangents of all results to those of dx. */
BDL_BATCH(transposed) {
  const bdl_prog *body = e->params[1].progs[0];
  const int residuals = (int)e->params[0].i;
  bdl_prog *q = NULL;
  bool *in;
  (void)out_batched;
  if (!NEW(b, in, body->inputs.n)) return BDL_ENOMEM;
  memset(in, true, (size_t)body->inputs.n);
  memcpy(in, batched, (size_t)residuals);
  const bdl_status s = bdl_batch_body(body, in, batched + residuals, size, &q);
  return bind_taking(b, s, e->prim, (bdl_param[]){e->params[0], bdl_pprogs(&q, 1)}, x, e->n_in, &q, 1, z);
}

BDL_BATCH(barrier) {
  (void)size;
  out_batched[0] = batched[0];
  return bdl_bind(b, e->prim, e->params, x, e->n_in, z);
}

/* ---- effects ------------------------------------------------------------------------------------ */

/* A loop whose round is the equation itself: lanes are rows. */
static bdl_status one_round(bdl_prog *w, const bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, const bool *batched, bdl_atom *in,
                            bdl_atom *out) {
  for (int pass = 0; pass < 2; pass++) /* consts, then rows */
    for (int i = 0; i < e->n_in; i++) {
      bdl_aval a = *bdl_aval_of(b, x[i]);
      if (batched[i] != (pass == 1)) continue;
      if (batched[i]) a = bdl_aval_make(a.dtype, a.ndim - 1, a.shape + 1);
      TRY(bdl_ir_input(w, &a, &in[i]));
    }
  TRY(bdl_bind(w, e->prim, e->params, in, e->n_in, out));
  return bdl_prog_set_outputs(w, out, e->n_out);
}

/* print, host_call: once a lane, in order */
BDL_BATCH(each_lane) {
  bdl_prog *w = NULL;
  bdl_atom *in, *out;
  int n = 0, consts = 0;
  (void)out_batched;
  if (!NEW(b, in, e->n_in) || !NEW(b, out, e->n_out)) return BDL_ENOMEM;
  TRY(bdl_prog_new(b->ctx, "lane", &w));
  w->src = b->src;
  const bdl_status s = one_round(w, b, e, x, batched, in, out);
  for (int pass = 0; pass < 2; pass++)
    for (int i = 0; i < e->n_in; i++) {
      if (batched[i] != (pass == 1)) continue;
      in[n++] = x[i];
      consts += !batched[i];
    }
  return bind_taking(b, s, BDL_P_scan, (bdl_param[]){bdl_pint(consts), bdl_pint(0), bdl_pint(size), bdl_pint(0), bdl_pprogs(&w, 1)}, in, n,
                     &w, 1, z);
}

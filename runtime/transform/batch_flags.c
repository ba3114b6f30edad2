/*
** batch_flags.c -- which values have lanes: what depends on a value that has.  Loops go around until what they carry stays.
*/
#include <string.h>

#include "transform/batch.h"

static bool any_of(const bool *x, int n) {
  bool any = false;
  for (int i = 0; i < n; i++) any |= x[i];
  return any;
}

static bool *flags_new(bdl_arena *a, int64_t n) {
  bool *x = bdl_arena_alloc(a, (size_t)n + 1);
  if (x) memset(x, 0, (size_t)n + 1);
  return x;
}

bdl_status bdl_batch_join(bdl_arena *a, const bdl_prog *p, const bool *in, bool *out, int n_out) {
  bool *flags = NULL;
  TRY(bdl_batch_spread(a, p, in, &flags));
  for (int i = 0; i < n_out; i++) out[i] |= flags[p->outputs[i]];
  return BDL_OK;
}

bdl_status bdl_batch_scan_flags(bdl_arena *a, const bdl_eqn *e, const bool *in, bool *out) {
  const bdl_prog *body = e->params[4].progs[0];
  const int consts = (int)e->params[0].i, carry = (int)e->params[1].i;
  bool *inner = flags_new(a, e->n_in), again = true;
  if (!inner) return BDL_ENOMEM;
  memcpy(inner, in, (size_t)e->n_in);
  while (again) {
    memset(out, false, (size_t)e->n_out);
    memcpy(out, inner + consts, (size_t)carry);
    TRY(bdl_batch_join(a, body, inner, out, e->n_out));
    again = memcmp(inner + consts, out, (size_t)carry) != 0;
    memcpy(inner + consts, out, (size_t)carry);
  }
  return BDL_OK;
}

/* Where lanes end in different rounds, what changes from round to round differs in the end. */
bdl_status bdl_batch_while_flags(bdl_arena *a, const bdl_eqn *e, const bool *in, bool *out, bool *differs) {
  const bdl_prog *cond = e->params[2].progs[0], *body = e->params[2].progs[1];
  const int n_cond = (int)e->params[0].i, n_body = (int)e->params[1].i, carry = e->n_out;
  bool *to_cond = flags_new(a, cond->inputs.n), *to_body = flags_new(a, body->inputs.n), again = true;
  if (!to_cond || !to_body) return BDL_ENOMEM;
  memcpy(to_cond, in, (size_t)n_cond);
  memcpy(to_body, in + n_cond, (size_t)n_body);
  memcpy(out, in + n_cond + n_body, (size_t)carry);
  *differs = false;
  while (again) {
    memcpy(to_cond + n_cond, out, (size_t)carry);
    memcpy(to_body + n_body, out, (size_t)carry);
    TRY(bdl_batch_join(a, body, to_body, out, carry));
    TRY(bdl_batch_join(a, cond, to_cond, differs, 1));
    for (int i = 0; *differs && i < carry; i++) out[i] |= body->outputs[i] != body->inputs.v[n_body + i];
    again = memcmp(to_body + n_body, out, (size_t)carry) != 0;
  }
  return BDL_OK;
}

int bdl_batch_float_flags(const bdl_prog *p, const bdl_atom *from, int n, const bool *flags, bool *out) {
  int k = 0;
  for (int i = 0; i < n; i++)
    if (bdl_dtype_is_float(bdl_aval_of(p, from[i])->dtype)) out[k++] = flags[i];
  return k;
}

/* The results have lanes where those of the derivative's program have. */
bdl_status bdl_batch_custom_flags(bdl_arena *a, const bdl_eqn *e, const bool *in, bool *out) {
  const bdl_prog *function = e->params[0].progs[0], *rule = e->params[0].progs[1];
  memset(out, false, (size_t)e->n_out);
  TRY(bdl_batch_join(a, function, in, out, e->n_out));
  if (e->prim == BDL_P_custom_vjp) return bdl_batch_join(a, rule, in, out, e->n_out);
  bool *to_rule = flags_new(a, rule->inputs.n), *tangent = flags_new(a, rule->n_outputs);
  if (!to_rule || !tangent) return BDL_ENOMEM;
  memcpy(to_rule, in, (size_t)e->n_in);
  bdl_batch_float_flags(function, function->inputs.v, e->n_in, in, to_rule + e->n_in);
  TRY(bdl_batch_join(a, rule, to_rule, tangent, rule->n_outputs));
  for (int i = 0, k = 0; i < e->n_out; i++)
    if (bdl_dtype_is_float(bdl_aval_of(function, function->outputs[i])->dtype)) out[i] |= tangent[k++];
  return BDL_OK;
}

static bdl_status cond_flags(bdl_arena *a, const bdl_eqn *e, const bool *in, bool *out) {
  memset(out, in[0], (size_t)e->n_out);
  for (int k = 0; !in[0] && k < e->params[0].n; k++) TRY(bdl_batch_join(a, e->params[0].progs[k], in + 1, out, e->n_out));
  return BDL_OK;
}

static bdl_status eqn_flags(bdl_arena *a, const bdl_eqn *e, const bool *in, bool *out) {
  bool differs;
  switch (e->prim) {
    case BDL_P_scan: return bdl_batch_scan_flags(a, e, in, out);
    case BDL_P_while: return bdl_batch_while_flags(a, e, in, out, &differs);
    case BDL_P_cond: return cond_flags(a, e, in, out);
    case BDL_P_call:
    case BDL_P_etrace_op:
    case BDL_P_checkpoint: return bdl_batch_join(a, e->params[0].progs[0], in, out, e->n_out);
    case BDL_P_custom_jvp:
    case BDL_P_custom_vjp: return bdl_batch_custom_flags(a, e, in, out);
    case BDL_P_barrier:
    case BDL_P_to_lanes: out[0] = in[0]; return BDL_OK;
    case BDL_P_across: out[0] = false; return BDL_OK;
    case BDL_P_psum:
    case BDL_P_from_lanes:
    case BDL_P_all_gather: out[0] = !bdl_batch_between(e); return BDL_OK;
    default: memset(out, true, (size_t)e->n_out); return BDL_OK;
  }
}

bdl_status bdl_batch_spread(bdl_arena *a, const bdl_prog *p, const bool *in, bool **flags) {
  bool *f = *flags = flags_new(a, p->vars.n);
  if (!f) return BDL_ENOMEM;
  for (int64_t i = 0; i < p->inputs.n; i++) f[p->inputs.v[i]] = in[i];
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    bool *x = flags_new(a, e->n_in), *z = flags_new(a, e->n_out);
    if (!x || !z) return BDL_ENOMEM;
    for (int k = 0; k < e->n_in; k++) x[k] = f[e->in[k]];
    if (!any_of(x, e->n_in) && !bdl_batch_between(e)) continue;
    TRY(eqn_flags(a, e, x, z));
    for (int k = 0; k < e->n_out; k++) f[e->out[k]] = z[k];
  }
  return BDL_OK;
}

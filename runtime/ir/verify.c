/*
** verify.c -- is a program well-formed?  What passes and transforms must keep:
**   1. variables, inputs, constants and equations name each other consistently;
**   2. an equation reads inputs, constants, literals and results of earlier equations;
**   3. the type rule gives exactly the recorded types;
**   4. bodies are well-formed, and `effects` says whether any equation in the program or its bodies has one.
*/
#include <string.h>

#include "ir/edit.h"
#include "prim/prim.h"

static bdl_status broken(const bdl_prog *p, int64_t eqn, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static bdl_status broken(const bdl_prog *p, int64_t eqn, const char *fmt, ...) {
  bdl_context *c = p->ctx;
  va_list ap;
  va_start(ap, fmt);
  bdl_failv(c, BDL_EINTERNAL, fmt, ap);
  va_end(ap);
  if (eqn < 0) return bdl_fail(c, BDL_EINTERNAL, "program %s: %s", p->name, c->error.message);
  const unsigned prim = (unsigned)p->eqns.v[eqn].prim;
  bdl_fail(c, BDL_EINTERNAL, "program %s, equation %lld, %s: %s", p->name, (long long)eqn + 1,
           prim < BDL_P_COUNT ? bdl_prims[prim].name : "?", c->error.message);
  bdl_where(c, p->eqns.v[eqn].src);
  return BDL_EINTERNAL;
}

static bdl_status check_vars(const bdl_prog *p) {
  int64_t n_inputs = 0, n_consts = 0;
  for (bdl_atom x = 0; x < p->vars.n; x++) {
    const bdl_var *v = &p->vars.v[x];
    bool ok = bdl_aval_check(p->ctx, &v->aval) == BDL_OK;
    switch (v->kind) {
      case BDL_V_INPUT: ok = ok && v->index >= 0 && v->index < p->inputs.n && p->inputs.v[v->index] == x, n_inputs++; break;
      case BDL_V_CONST:
        ok = ok && v->index == n_consts && n_consts < p->consts.n && bdl_aval_eq(&v->aval, &p->consts.v[n_consts++].aval);
        break;
      case BDL_V_LITERAL: ok = ok && v->aval.ndim == 0; break;
      case BDL_V_EQN: ok = ok && v->index >= 0 && v->index < p->eqns.n; break;
      default: ok = false;
    }
    if (!ok) return broken(p, -1, "variable %d is not well-formed", x);
  }
  if (n_inputs != p->inputs.n || n_consts != p->consts.n) return broken(p, -1, "inputs or constants are no variables");
  return BDL_OK;
}

static bool readable(const bdl_prog *p, bdl_atom x, int64_t before) {
  return x >= 0 && x < p->vars.n && (p->vars.v[x].kind != BDL_V_EQN || p->vars.v[x].index < before);
}

/* types: room for operands and results */
static bdl_status check_types(const bdl_prog *p, int64_t i, bdl_aval *types) {
  const bdl_eqn *e = &p->eqns.v[i];
  char text[BDL_AVAL_TEXT], now[BDL_AVAL_TEXT];
  for (int k = 0; k < e->n_in; k++) types[k] = *bdl_aval_of(p, e->in[k]);
  const bdl_status s = bdl_prim_type(p->ctx, e->prim, e->params, types, e->n_in, types + e->n_in);
  if (s == BDL_ENOMEM) return s;
  if (s != BDL_OK) return broken(p, i, "%s", p->ctx->error.message);
  for (int k = 0; k < e->n_out; k++) {
    const bdl_var *v = &p->vars.v[e->out[k]];
    if (v->kind != BDL_V_EQN || v->index != i) return broken(p, i, "result %d belongs to another equation", k + 1);
    if (!bdl_aval_eq(&v->aval, &types[e->n_in + k]))
      return broken(p, i, "result %d is recorded as %s, but is %s", k + 1, bdl_aval_text(&v->aval, false, text),
                    bdl_aval_text(&types[e->n_in + k], false, now));
  }
  return BDL_OK;
}

static bdl_status check_eqn(const bdl_prog *p, int64_t i, bool *effects) {
  const bdl_eqn *e = &p->eqns.v[i];
  if ((unsigned)e->prim >= BDL_P_COUNT) return broken(p, i, "no such primitive");
  if (e->n_params != bdl_prim_n_params(e->prim)) return broken(p, i, "%d parameters", e->n_params);
  for (int k = 0; k < e->n_in; k++)
    if (!readable(p, e->in[k], i)) return broken(p, i, "operand %d, variable %d, is not defined before", k + 1, e->in[k]);
  for (int k = 0; k < e->n_out; k++)
    if (e->out[k] < 0 || e->out[k] >= p->vars.n) return broken(p, i, "result %d is no variable", k + 1);
  if (bdl_prim_check(p->ctx, e->prim, e->params, e->n_in) != BDL_OK) return broken(p, i, "%s", p->ctx->error.message);
  if (e->n_out != bdl_ir_n_out(e->prim, e->params, e->n_in)) return broken(p, i, "%d results", e->n_out);
  for (int k = 0; k < e->n_params; k++)
    for (int b = 0; e->params[k].kind == BDL_PK_PROGS && b < e->params[k].n; b++) {
      TRY(bdl_ir_verify(e->params[k].progs[b]));
      *effects |= e->params[k].progs[b]->effects;
    }
  *effects |= (bdl_prims[e->prim].flags & BDL_F_EFFECT) != 0;
  const size_t bytes = (size_t)(e->n_in + e->n_out) * sizeof(bdl_aval);
  bdl_aval *types = bdl_alloc(p->ctx, bytes);
  if (!types) return BDL_ENOMEM;
  const bdl_status s = check_types(p, i, types);
  bdl_free(p->ctx, types, bytes);
  return s;
}

bdl_status bdl_ir_verify(const bdl_prog *p) {
  bool effects = false;
  TRY(check_vars(p));
  for (int64_t i = 0; i < p->eqns.n; i++) TRY(check_eqn(p, i, &effects));
  for (int i = 0; i < p->n_outputs; i++)
    if (!readable(p, p->outputs[i], p->eqns.n)) return broken(p, -1, "output %d is not defined", i + 1);
  return effects == p->effects ? BDL_OK : broken(p, -1, "effects are recorded as %d", p->effects);
}

/*
** perturb.c -- the step with its new hidden values perturbed.
**
** Every variable has up to 1 + groups versions: version 0 reads all new hidden values perturbed, version g those of group g as
** they are.  A new hidden value of group g is computed in version g; the others read it perturbed.  Versions that do not
** differ are one.
*/
#include "online/online.h"

#include <string.h>

#include "transform/linear.h"

typedef struct versions {
  const bdl_step *s;
  const int *group; /* NULL: one version */
  int n;
  bdl_rewrite r;    /* r.map: version 0 */
  bdl_atom **map;   /* of each version */
  bdl_atom *delta;
} versions;

static bdl_status perturbed(versions *v, bdl_atom x) {
  for (int a = 0; a < v->s->n_hidden; a++) {
    if (v->s->out[a] != x) continue;
    const int own = v->group ? v->group[a] + 1 : 0;
    bdl_atom z;
    TRY(bdl_bind2(v->r.q, BDL_P_add, v->map[own][x], v->delta[a], &z));
    for (int k = 0; k < v->n; k++)
      if (k != own || k == 0) v->map[k][x] = z;
  }
  return BDL_OK;
}

static bool differs(const versions *v, const bdl_eqn *e, int version) {
  for (int k = 0; k < e->n_in; k++) {
    const bdl_atom x = v->map[version][e->in[k]];
    if (!bdl_is_zero(x) && x != v->map[0][e->in[k]]) return true;
  }
  return false;
}

static bdl_status copy(versions *v, const bdl_eqn *e, const bool *detached, int version) {
  bdl_atom *in, *out;
  if (!BDL_ARRAY(&v->r.scratch, in, e->n_in) || !BDL_ARRAY(&v->r.scratch, out, e->n_out)) return BDL_ENOMEM;
  for (int k = 0; k < e->n_in; k++) {
    in[k] = v->map[version][e->in[k]];
    if (bdl_is_zero(in[k])) TRY(bdl_ir_rw_atom(&v->r, e->in[k], &in[k])); /* a literal or constant */
    if (detached && detached[k]) TRY(bdl_bind1(v->r.q, BDL_P_stop_gradient, in[k], &in[k]));
  }
  v->r.q->src = e->src;
  if (e->prim == BDL_P_etrace_op) TRY(bdl_ir_inline(v->r.q, e->params[0].progs[0], in, out));
  else TRY(bdl_bind(v->r.q, e->prim, e->params, in, e->n_in, out));
  for (int k = 0; k < e->n_out; k++) v->map[version][e->out[k]] = out[k];
  return BDL_OK;
}

static bdl_status equation(versions *v, const bdl_eqn *e, const bool *detached) {
  TRY(copy(v, e, detached, 0));
  for (int k = 1; k < v->n; k++) {
    if (differs(v, e, k) && !bdl_ir_has_effect(e)) TRY(copy(v, e, detached, k));
    else
      for (int i = 0; i < e->n_out; i++) v->map[k][e->out[i]] = v->map[0][e->out[i]];
  }
  for (int i = 0; i < e->n_out; i++) TRY(perturbed(v, e->out[i]));
  return BDL_OK;
}

static bdl_status build(versions *v, const bool *detached) {
  const bdl_prog *p = v->s->p;
  bdl_atom *out;
  if (!BDL_ARRAY(&v->r.scratch, v->map, v->n) || !BDL_ARRAY(&v->r.scratch, v->delta, v->s->n_hidden) ||
      !BDL_ARRAY(&v->r.scratch, out, p->n_outputs))
    return BDL_ENOMEM;
  v->map[0] = v->r.map;
  for (int k = 1; k < v->n; k++) {
    if (!BDL_ARRAY(&v->r.scratch, v->map[k], p->vars.n)) return BDL_ENOMEM;
    memcpy(v->map[k], v->map[0], (size_t)p->vars.n * sizeof **v->map);
  }
  for (int a = 0; a < v->s->n_hidden; a++) TRY(bdl_ir_input(v->r.q, bdl_aval_of(p, v->s->out[a]), &v->delta[a]));
  for (int64_t i = 0; i < p->inputs.n; i++) TRY(perturbed(v, p->inputs.v[i]));
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    TRY(equation(v, e, e->prim == BDL_P_etrace_op ? detached : NULL));
    if (e->prim == BDL_P_etrace_op) detached += e->n_in;
  }
  for (int i = 0; i < p->n_outputs; i++) TRY(bdl_ir_rw_atom(&v->r, p->outputs[i], &out[i]));
  return bdl_prog_set_outputs(v->r.q, out, p->n_outputs);
}

bdl_status bdl_online_perturb(const bdl_step *s, const int *group, int n_groups, const bool *detached, bdl_prog **q) {
  versions v = {.s = s, .group = group, .n = group ? 1 + n_groups : 1};
  bdl_status status = bdl_ir_rw_begin(&v.r, s->p);
  if (status == BDL_OK) status = build(&v, detached);
  if (status == BDL_OK) *q = v.r.q;
  else if (v.r.q) bdl_prog_unref(v.r.q);
  if (v.r.map) bdl_ir_rw_fini(&v.r);
  return status;
}

/*
** batch_guard.c -- a program that may run where it is not meant to: indices become 0, errors are off, loops end at once.
*/
#include <string.h>

#include "transform/batch.h"

typedef struct guard {
  bdl_rewrite r;
  const bool *flag;     /* of p's variables: differs by lane */
  bdl_atom mask[2];     /* active, some: bool[] */
} guard;

static bool needs_guard(const bdl_eqn *e) {
  switch (e->prim) {
    case BDL_P_gather:
    case BDL_P_gather_along:
    case BDL_P_scatter:
    case BDL_P_scatter_along:
    case BDL_P_error_if:
    case BDL_P_while: return true;
    default: break;
  }
  for (int k = 0; k < e->n_params; k++)
    for (int j = 0; e->params[k].kind == BDL_PK_PROGS && j < e->params[k].n; j++)
      if (bdl_batch_needs_guard(e->params[k].progs[j])) return true;
  return false;
}

bool bdl_batch_needs_guard(const bdl_prog *p) {
  for (int64_t i = 0; i < p->eqns.n; i++)
    if (needs_guard(&p->eqns.v[i])) return true;
  return false;
}

static bdl_atom mask_of(const guard *g, bdl_atom x) { return g->mask[g->flag[x] ? 0 : 1]; }

static bdl_status guard_into(const bdl_prog *p, const bool *in, bool condition, bdl_prog **q);

/* The first n bodies guarded, the others as they are.  flags: of the inputs of each.  in: operands, the masks among them. */
static bdl_status bind_guarded(guard *g, const bdl_eqn *e, bdl_param *params, int at, int n, bool *const *flags, const bdl_atom *in,
                               int n_in, bdl_atom *z) {
  bdl_prog **q = bdl_arena_alloc(&g->r.scratch, (size_t)params[at].n * sizeof *q);
  bdl_status s = q ? BDL_OK : BDL_ENOMEM;
  int made = 0;
  for (; s == BDL_OK && made < n; made += s == BDL_OK)
    s = guard_into(params[at].progs[made], flags[made], e->prim == BDL_P_while && made == 0, &q[made]);
  for (int k = n; s == BDL_OK && k < params[at].n; k++) q[k] = params[at].progs[k];
  params[at].progs = q;
  const bdl_prim_id prim = e->prim == BDL_P_etrace_op ? BDL_P_call : e->prim; /* its positions are others now */
  if (s == BDL_OK) s = bdl_bind(g->r.q, prim, params, in, n_in, z);
  for (int k = 0; k < made; k++) bdl_prog_unref(q[k]);
  return s;
}

static int put(bdl_atom *to, int at, const bdl_atom *x, int64_t n) {
  memcpy(to + at, x, (size_t)n * sizeof *x);
  return at + (int)n;
}

static bdl_status control(guard *g, const bdl_eqn *e, const bdl_atom *x, const bool *has, bdl_atom *z) {
  bdl_arena *a = &g->r.scratch;
  bdl_param params[5];
  bdl_atom *in = bdl_arena_alloc(a, (size_t)(e->n_in + 4) * sizeof *in);
  bool *out = bdl_arena_alloc(a, (size_t)e->n_out + 1), differs;
  int bodies = 1, n = 0, programs = e->prim == BDL_P_etrace_op ? 0 : e->n_params - 1;
  if (!in || !out) return BDL_ENOMEM;
  memcpy(params, e->params, (size_t)e->n_params * sizeof *params);
  const int count = params[programs].n;
  bool **flags = bdl_arena_alloc(a, (size_t)count * sizeof *flags);
  if (!flags) return BDL_ENOMEM;
  for (int k = 0; k < count; k++) {
    const int64_t n_in = params[programs].progs[k]->inputs.n;
    if (!(flags[k] = bdl_arena_alloc(a, (size_t)n_in + 1))) return BDL_ENOMEM;
    if (e->prim != BDL_P_while) memcpy(flags[k], has + (e->prim == BDL_P_cond), (size_t)BDL_MIN(n_in, e->n_in));
  }
  switch (e->prim) {
    case BDL_P_scan:
      TRY(bdl_batch_scan_flags(a, e, has, out));
      memcpy(flags[0] + params[0].i, out, (size_t)params[1].i);
      params[0] = bdl_pint(params[0].i + 2);
      break;
    case BDL_P_while:
      TRY(bdl_batch_while_flags(a, e, has, out, &differs));
      memcpy(flags[0], has, (size_t)params[0].i);
      memcpy(flags[0] + params[0].i, out, (size_t)e->n_out);
      memcpy(flags[1], has + params[0].i, (size_t)params[1].i);
      memcpy(flags[1] + params[1].i, out, (size_t)e->n_out);
      n = put(in, put(in, 0, g->mask, 2), x, params[0].i);
      x += params[0].i;
      for (int k = 0; k < 2; k++) params[k] = bdl_pint(params[k].i + 2);
      bodies = 2;
      break;
    case BDL_P_cond:
      in[n++] = *x++;
      bodies = count;
      break;
    case BDL_P_custom_jvp:
      bdl_batch_float_flags(params[0].progs[0], params[0].progs[0]->inputs.v, e->n_in, has, flags[1] + e->n_in);
      bodies = 2;
      break;
    case BDL_P_custom_vjp: bodies = 2; break;
    default: break;
  }
  const int64_t rest = e->n_in - (e->prim == BDL_P_while ? e->params[0].i : e->prim == BDL_P_cond);
  n = put(in, put(in, n, g->mask, 2), x, rest);
  return bind_guarded(g, e, params, programs, bodies, flags, in, n, z);
}

static bdl_status equation(guard *g, const bdl_eqn *e) {
  bdl_prog *q = g->r.q;
  if (!needs_guard(e) || e->prim == BDL_P_transposed) return bdl_ir_rw_copy(&g->r, e);
  bdl_atom *x = bdl_ir_rw_operands(&g->r, e), *z = bdl_arena_alloc(&g->r.scratch, (size_t)(e->n_out + 1) * sizeof *z), zero;
  bool *has = bdl_arena_alloc(&g->r.scratch, (size_t)e->n_in + 1);
  if (!x || !z || !has) return BDL_ENOMEM;
  for (int k = 0; k < e->n_in; k++) has[k] = g->flag[e->in[k]];
  q->src = e->src;
  if (bdl_ir_has_bodies(e)) {
    TRY(control(g, e, x, has, z));
  } else {
    if (e->prim == BDL_P_error_if) {
      TRY(bdl_bind2(q, BDL_P_and, x[0], mask_of(g, e->in[0]), &x[0]));
    } else {
      TRY(bdl_ir_scalar(q, bdl_aval_of(q, x[1])->dtype, 0, &zero));
      TRY(bdl_bind3(q, BDL_P_select, mask_of(g, e->in[1]), x[1], zero, &x[1]));
    }
    TRY(bdl_bind(q, e->prim, e->params, x, e->n_in, z));
  }
  return bdl_ir_rw_set_all(&g->r, e, z);
}

static bdl_status walk(guard *g, bool condition) {
  const bdl_prog *p = g->r.p;
  bdl_atom *out = bdl_arena_alloc(&g->r.scratch, (size_t)(p->n_outputs + 1) * sizeof *out);
  if (!out) return BDL_ENOMEM;
  for (int64_t i = 0; i < p->eqns.n; i++) TRY(equation(g, &p->eqns.v[i]));
  for (int i = 0; i < p->n_outputs; i++) TRY(bdl_ir_rw_atom(&g->r, p->outputs[i], &out[i]));
  if (condition) TRY(bdl_bind2(g->r.q, BDL_P_and, mask_of(g, p->outputs[0]), out[0], &out[0]));
  return bdl_prog_set_outputs(g->r.q, out, p->n_outputs);
}

/* condition: p is a loop's, and false where it is not meant to run */
static bdl_status guard_into(const bdl_prog *p, const bool *in, bool condition, bdl_prog **q) {
  guard g = {.flag = NULL};
  bdl_prog *b = NULL;
  const bdl_aval truth = bdl_aval_scalar(BDL_BOOL);
  bool *flag = NULL;
  TRY(bdl_prog_new(p->ctx, p->name, &b));
  b->src = p->src;
  bdl_atom *x = bdl_arena_alloc(&b->arena, (size_t)(p->inputs.n + 1) * sizeof *x);
  bdl_status s = x ? BDL_OK : BDL_ENOMEM;
  for (int k = 0; s == BDL_OK && k < 2; k++) s = bdl_ir_input(b, &truth, &g.mask[k]);
  for (int64_t i = 0; s == BDL_OK && i < p->inputs.n; i++) s = bdl_ir_input(b, bdl_aval_of(p, p->inputs.v[i]), &x[i]);
  if (s == BDL_OK) {
    s = bdl_ir_rw_begin_in(&g.r, p, b, x);
    if (s == BDL_OK) s = bdl_batch_spread(&g.r.scratch, p, in, &flag);
    g.flag = flag;
    if (s == BDL_OK) s = walk(&g, condition);
    bdl_ir_rw_fini(&g.r);
  }
  if (s == BDL_OK) *q = b;
  else bdl_prog_unref(b);
  return s;
}

bdl_status bdl_batch_guard(const bdl_prog *p, const bool *in, bdl_prog **q) { return guard_into(p, in, false, q); }

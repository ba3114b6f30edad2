/*
** cond.c -- derivatives of branches.
**
**     forward    one cond:  the branches with their tangents
**     reverse    two:       values and what the tangents need of them; tangents, linear in them
**     transpose  the transposed branches
** Branches keep different values: these share slots of their type, and the other branches fill a slot with zeros.
*/
#include <string.h>

#include "transform/linear.h"

typedef struct branches {
  const bdl_eqn *e;
  int n, n_in, n_out; /* operands without the index */
  bool *active;
  bdl_linearised *l;
  bool *has;          /* of each result: has it a tangent in any branch? */
  int n_tangents;
  bdl_prog **made;
} branches;

static bdl_status bind(const branches *B, bdl_prog *b, const bdl_atom *operands, int n, bdl_atom *z) {
  return bdl_bind(b, BDL_P_cond, (bdl_param[]){bdl_pprogs(B->made, B->n)}, operands, n, z);
}

static void drop(branches *B) {
  for (int k = 0; k < B->n; k++) {
    if (B->made[k]) bdl_prog_unref(B->made[k]);
    B->made[k] = NULL;
  }
}

static const bdl_aval *in_aval(const branches *B, int i) {
  const bdl_prog *p = B->e->params[0].progs[0];
  return bdl_aval_of(p, p->inputs.v[i]);
}

static bdl_status linearise(bdl_control *c, branches *B) {
  for (int k = 0; k < B->n; k++) {
    TRY(bdl_transform_linearise(c->e->params[0].progs[k], B->active, c->mode, &B->l[k]));
    for (int i = 0; i < B->n_out; i++) B->has[i] |= !bdl_is_zero(B->l[k].tangent[i]);
  }
  for (int k = 0; k < B->n; k++) TRY(bdl_transform_linearised_end(&B->l[k], B->has));
  for (int i = 0; i < B->n_out; i++) B->n_tangents += B->has[i];
  return BDL_OK;
}

static void set_tangents(bdl_control *c, const branches *B, const bdl_atom *z) {
  for (int i = 0; i < B->n_out; i++)
    if (B->has[i]) c->dz[i] = *z++;
}

static bdl_status forward(bdl_control *c, branches *B) {
  bdl_atom *in, *z;
  int n = 1 + B->n_in;
  if (!BDL_ARRAY(c->a, in, 1 + 2 * B->n_in) || !BDL_ARRAY(c->a, z, 2 * B->n_out)) return BDL_ENOMEM;
  memcpy(in, c->x, (size_t)n * sizeof *in);
  for (int i = 0; i < B->n_in; i++)
    if (B->active[i]) in[n++] = c->dx[1 + i];
  for (int k = 0; k < B->n; k++) bdl_prog_ref(B->made[k] = B->l[k].b);
  TRY(bind(B, c->b, in, n, z));
  memcpy(c->z, z, (size_t)B->n_out * sizeof *z);
  set_tangents(c, B, z + B->n_out);
  return BDL_OK;
}

/* ---- reverse -------------------------------------------------------------------------------------------- */

typedef struct slots {
  bdl_split *split;  /* of each branch */
  bool *operand;     /* operand i is read by the tangents of some branch */
  int **slot;        /* of branch and kept value; -1: an operand */
  bdl_aval *type;    /* of each slot */
  int n;
} slots;

/* The first slot of this type that the branch does not use yet. */
static int slot_for(slots *S, const bdl_aval *a, bool *used) {
  int s = 0;
  while (s < S->n && (used[s] || !bdl_aval_eq(&S->type[s], a))) s++;
  if (s == S->n) S->type[S->n++] = *a;
  used[s] = true;
  return s;
}

static bdl_status choose(bdl_control *c, branches *B, slots *S) {
  int64_t most = 0;
  if (!BDL_ARRAY(c->a, S->split, B->n) || !BDL_ARRAY(c->a, S->slot, B->n) || !BDL_ARRAY(c->a, S->operand, B->n_in)) return BDL_ENOMEM;
  for (int k = 0; k < B->n; k++) {
    const bdl_prog *b = B->l[k].b;
    int64_t *cost;
    if (!BDL_ARRAY(c->a, cost, b->vars.n)) return BDL_ENOMEM;
    for (bdl_atom x = 0; x < b->vars.n; x++)
      cost[x] = b->vars.v[x].kind == BDL_V_INPUT ? 0 : (int64_t)bdl_aval_bytes(bdl_aval_of(b, x)) + 1;
    TRY(bdl_transform_split(&B->l[k], cost, &S->split[k]));
    most += S->split[k].n_kept;
  }
  if (!BDL_ARRAY(c->a, S->type, most)) return BDL_ENOMEM;
  for (int k = 0; k < B->n; k++) {
    const bdl_prog *b = B->l[k].b;
    bool *used;
    if (!BDL_ARRAY(c->a, used, most) || !BDL_ARRAY(c->a, S->slot[k], S->split[k].n_kept)) return BDL_ENOMEM;
    for (int i = 0; i < S->split[k].n_kept; i++) {
      const bdl_var *v = &b->vars.v[S->split[k].kept[i]];
      S->slot[k][i] = v->kind == BDL_V_INPUT ? -1 : slot_for(S, &v->aval, used);
      if (v->kind == BDL_V_INPUT) S->operand[v->index] = true;
    }
  }
  return BDL_OK;
}

/* Branch k of the values: its results, then its slots. */
static bdl_status values_branch(bdl_control *c, const branches *B, const slots *S, int k, bdl_prog *p) {
  const bdl_linearised *l = &B->l[k];
  const bdl_split *split = &S->split[k];
  bdl_atom *in, *wanted, *out, *all;
  int n = B->n_out;
  if (!BDL_ARRAY(c->a, in, B->n_in) || !BDL_ARRAY(c->a, wanted, n + split->n_kept) || !BDL_ARRAY(c->a, out, n + split->n_kept) ||
      !BDL_ARRAY(c->a, all, n + S->n))
    return BDL_ENOMEM;
  for (int i = 0; i < B->n_in; i++) TRY(bdl_ir_input(p, in_aval(B, i), &in[i]));
  memcpy(wanted, l->out, (size_t)n * sizeof *wanted);
  for (int i = 0; i < split->n_kept; i++)
    if (S->slot[k][i] >= 0) wanted[n++] = split->kept[i];
  TRY(bdl_transform_extract(l->b, l->b->inputs.v, in, B->n_in, wanted, n, true, p, out));
  memcpy(all, out, (size_t)B->n_out * sizeof *all);
  for (int s = 0; s < S->n; s++) all[B->n_out + s] = BDL_ZERO;
  for (int i = 0, next = B->n_out; i < split->n_kept; i++)
    if (S->slot[k][i] >= 0) all[B->n_out + S->slot[k][i]] = out[next++];
  for (int s = 0; s < S->n; s++) TRY(bdl_or_zeros(p, all[B->n_out + s], &S->type[s], &all[B->n_out + s]));
  return bdl_prog_set_outputs(p, all, B->n_out + S->n);
}

/* Branch k of the tangents: operands that some branch reads, slots, tangents of the active operands. */
static bdl_status tangents_branch(bdl_control *c, const branches *B, const slots *S, int k, bdl_prog *p) {
  const bdl_linearised *l = &B->l[k];
  const bdl_split *split = &S->split[k];
  bdl_atom *operand, *slot, *given, *in, *wanted, *out;
  int n = 0, m = 0;
  if (!BDL_ARRAY(c->a, operand, B->n_in) || !BDL_ARRAY(c->a, slot, S->n) || !BDL_ARRAY(c->a, given, split->n_kept + B->n_in) ||
      !BDL_ARRAY(c->a, in, split->n_kept + B->n_in) || !BDL_ARRAY(c->a, wanted, B->n_out) || !BDL_ARRAY(c->a, out, B->n_out))
    return BDL_ENOMEM;
  for (int i = 0; i < B->n_in; i++)
    if (S->operand[i]) TRY(bdl_ir_input(p, in_aval(B, i), &operand[i]));
  for (int s = 0; s < S->n; s++) TRY(bdl_ir_input(p, &S->type[s], &slot[s]));
  for (int i = 0; i < split->n_kept; i++) {
    given[n] = split->kept[i];
    in[n++] = S->slot[k][i] < 0 ? operand[l->b->vars.v[split->kept[i]].index] : slot[S->slot[k][i]];
  }
  for (int64_t i = l->n_in; i < l->b->inputs.n; i++) {
    given[n] = l->b->inputs.v[i];
    TRY(bdl_ir_input(p, bdl_aval_of(l->b, given[n]), &in[n]));
    n++;
  }
  for (int i = 0; i < B->n_out; i++)
    if (B->has[i]) wanted[m++] = l->tangent[i];
  TRY(bdl_transform_extract(l->b, given, in, n, wanted, m, false, p, out));
  return bdl_prog_set_outputs(p, out, m);
}

static bdl_status each_branch(bdl_control *c, branches *B, const slots *S,
                              bdl_status (*make)(bdl_control *, const branches *, const slots *, int, bdl_prog *)) {
  for (int k = 0; k < B->n; k++) {
    TRY(bdl_prog_new(c->b->ctx, c->e->params[0].progs[k]->name, &B->made[k]));
    TRY(make(c, B, S, k, B->made[k]));
  }
  return BDL_OK;
}

static bdl_status reverse(bdl_control *c, branches *B) {
  slots S = {0};
  bdl_atom *z, *in;
  int n = 0;
  TRY(choose(c, B, &S));
  if (!BDL_ARRAY(c->a, z, B->n_out + S.n) || !BDL_ARRAY(c->a, in, 1 + 2 * B->n_in + S.n)) return BDL_ENOMEM;
  TRY(each_branch(c, B, &S, values_branch));
  TRY(bind(B, c->b, c->x, 1 + B->n_in, z));
  memcpy(c->z, z, (size_t)B->n_out * sizeof *z);
  drop(B);
  in[n++] = c->x[0];
  for (int i = 0; i < B->n_in; i++)
    if (S.operand[i]) in[n++] = c->x[1 + i];
  for (int s = 0; s < S.n; s++) in[n++] = z[B->n_out + s];
  for (int i = 0; i < B->n_in; i++)
    if (B->active[i]) in[n++] = c->dx[1 + i];
  TRY(each_branch(c, B, &S, tangents_branch));
  if (!BDL_ARRAY(c->a, z, B->n_out)) return BDL_ENOMEM;
  TRY(bind(B, c->b, in, n, z));
  set_tangents(c, B, z);
  return BDL_OK;
}

bdl_status bdl_linearise_cond(bdl_control *c) {
  branches B = {.e = c->e, .n = c->e->params[0].n, .n_in = c->e->n_in - 1, .n_out = c->e->n_out};
  if (!BDL_ARRAY(c->a, B.active, B.n_in) || !BDL_ARRAY(c->a, B.l, B.n) || !BDL_ARRAY(c->a, B.has, B.n_out) ||
      !BDL_ARRAY(c->a, B.made, B.n))
    return BDL_ENOMEM;
  for (int i = 0; i < B.n_in; i++) B.active[i] = !bdl_is_zero(c->dx[1 + i]);
  bdl_status s = linearise(c, &B);
  if (s == BDL_OK) s = c->mode == BDL_REVERSE && B.n_tangents > 0 ? reverse(c, &B) : forward(c, &B);
  drop(&B);
  for (int k = 0; k < B.n; k++)
    if (B.l[k].scratch.ctx) bdl_transform_linearised_fini(&B.l[k]);
  return s;
}

/* ---- transpose -------------------------------------------------------------------------------------------- */

/* Branch k back: what is not linear, cotangents -> cotangents of the linear operands that some branch leads to. */
static bdl_status back_branch(const bdl_prog *t, const bdl_prog *branch, const bool *found, const bool *any, bdl_prog *p, bdl_arena *a) {
  bdl_atom *in, *out, *all;
  int n = 0, next = 0;
  if (!BDL_ARRAY(a, in, t->inputs.n) || !BDL_ARRAY(a, out, t->n_outputs) || !BDL_ARRAY(a, all, branch->inputs.n)) return BDL_ENOMEM;
  for (int64_t i = 0; i < t->inputs.n; i++) TRY(bdl_ir_input(p, bdl_aval_of(t, t->inputs.v[i]), &in[i]));
  TRY(bdl_ir_inline(p, t, in, out));
  for (int64_t i = 0; i < branch->inputs.n; i++) {
    if (!any[i]) continue;
    TRY(bdl_or_zeros(p, found[i] ? out[next++] : BDL_ZERO, bdl_aval_of(branch, branch->inputs.v[i]), &all[n++]));
  }
  return bdl_prog_set_outputs(p, all, n);
}

typedef struct back {
  bdl_prog **t, **made;
  bool **found, *any, *there;
} back;

static bdl_status transpose(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, const bool *is_linear, const bdl_atom *ct,
                            bdl_atom *ct_in, bdl_arena *a, back *w) {
  const int n_branches = e->params[0].n;
  bdl_atom *in, *z;
  int n = 0;
  if (!BDL_ARRAY(a, in, e->n_in + e->n_out) || !BDL_ARRAY(a, z, e->n_in) || !BDL_ARRAY(a, w->any, e->n_in) ||
      !BDL_ARRAY(a, w->there, e->n_out) || !BDL_ARRAY(a, w->found, n_branches))
    return BDL_ENOMEM;
  for (int k = 0; k < e->n_out; k++) w->there[k] = !bdl_is_zero(ct[k]);
  for (int k = 0; k < n_branches; k++) {
    if (!BDL_ARRAY(a, w->found[k], e->n_in)) return BDL_ENOMEM;
    TRY(bdl_transform_transpose(e->params[0].progs[k], is_linear + 1, 0, w->there, &w->t[k], w->found[k]));
    for (int i = 0; i < e->n_in - 1; i++) w->any[i] |= w->found[k][i];
  }
  for (int k = 0; k < n_branches; k++) {
    TRY(bdl_prog_new(b->ctx, w->t[k]->name, &w->made[k]));
    TRY(back_branch(w->t[k], e->params[0].progs[k], w->found[k], w->any, w->made[k], a));
  }
  for (int i = 0; i < e->n_in; i++)
    if (!is_linear[i]) in[n++] = x[i];
  for (int k = 0; k < e->n_out; k++)
    if (w->there[k]) in[n++] = ct[k];
  TRY(bdl_bind(b, BDL_P_cond, (bdl_param[]){bdl_pprogs(w->made, n_branches)}, in, n, z));
  for (int i = 1; i < e->n_in; i++)
    if (w->any[i - 1]) ct_in[i] = *z++;
  return BDL_OK;
}

bdl_status bdl_transpose_cond(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, const bool *is_linear, const bdl_atom *ct,
                              bdl_atom *ct_in) {
  bdl_arena a;
  back w = {0};
  bdl_arena_init(&a, b->ctx);
  bdl_status s = BDL_ENOMEM;
  if (BDL_ARRAY(&a, w.t, e->params[0].n) && BDL_ARRAY(&a, w.made, e->params[0].n))
    s = transpose(b, e, x, is_linear, ct, ct_in, &a, &w);
  for (int k = 0; w.made && k < e->params[0].n; k++) {
    if (w.t[k]) bdl_prog_unref(w.t[k]);
    if (w.made[k]) bdl_prog_unref(w.made[k]);
  }
  bdl_arena_fini(&a);
  return s;
}

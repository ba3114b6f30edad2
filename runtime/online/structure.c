/*
** structure.c -- D and Df of a step by forward mode: one direction for each hidden value of before and each interaction, all
** ones at once, which gives the derivative of every position where the dynamics are element-wise.
*/
#include "online/online.h"

#include <string.h>

#include "transform/linear.h"

typedef struct walk {
  const bdl_step *s;
  bdl_structure *z;
  bdl_rewrite r;
  bdl_atom **dx;   /* of each direction, hidden values first: tangents of the variables of p */
  bool *direct;    /* leads to a new hidden value by a path without another interaction */
  int n_dirs, room;
} walk;

static bdl_status find_ops(const bdl_prog *p, bdl_structure *z) {
  for (int64_t i = 0; i < p->eqns.n; i++) z->n_ops += p->eqns.v[i].prim == BDL_P_etrace_op;
  if (!BDL_ARRAY(&z->arena, z->op, z->n_ops)) return BDL_ENOMEM;
  for (int64_t i = 0, j = 0; i < p->eqns.n; i++)
    if (p->eqns.v[i].prim == BDL_P_etrace_op) z->op[j++] = i;
  return BDL_OK;
}

static void mark_leads(const bdl_step *s, bool through_ops, bool *leads) {
  const bdl_prog *p = s->p;
  for (int a = 0; a < s->n_hidden; a++) leads[s->out[a]] = true;
  for (int64_t i = p->eqns.n - 1; i >= 0; i--) {
    const bdl_eqn *e = &p->eqns.v[i];
    bool any = false;
    for (int k = 0; k < e->n_out; k++) any |= leads[e->out[k]];
    any &= through_ops || e->prim != BDL_P_etrace_op;
    for (int k = 0; any && k < e->n_in; k++) leads[e->in[k]] = true;
  }
}

/* What hidden values, old or new, lead to. */
static void mark_recurrent(const bdl_step *s, bool *depends, bdl_structure *z) {
  const bdl_prog *p = s->p;
  int op = 0;
  for (int a = 0; a < s->n_hidden; a++) depends[s->in[a]] = depends[s->out[a]] = true;
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    bool any = false;
    for (int k = 0; k < e->n_in; k++) any |= depends[e->in[k]];
    for (int k = 0; k < e->n_out; k++) depends[e->out[k]] |= any;
    if (e->prim == BDL_P_etrace_op) z->recurrent[op++] = any;
  }
}

static bdl_status begin(walk *w) {
  const bdl_step *s = w->s;
  bdl_structure *z = w->z;
  w->n_dirs = s->n_hidden + z->n_ops;
  w->dx = bdl_arena_alloc(&z->arena, (size_t)w->n_dirs * sizeof *w->dx + 1);
  w->direct = bdl_arena_alloc(&z->arena, (size_t)s->p->vars.n + 1);
  bool *leads = bdl_arena_alloc(&z->arena, (size_t)s->p->vars.n + 1), *depends = bdl_arena_alloc(&z->arena, (size_t)s->p->vars.n + 1);
  if (!w->dx || !w->direct || !leads || !depends || !BDL_ARRAY(&z->arena, z->recurrent, z->n_ops) || !BDL_ARRAY(&z->arena, z->operand, z->n_ops) ||
      !BDL_ARRAY(&z->arena, z->leads, z->n_ops))
    return BDL_ENOMEM;
  for (int d = 0; d < w->n_dirs; d++) {
    if (!BDL_ARRAY(&z->arena, w->dx[d], s->p->vars.n)) return BDL_ENOMEM;
    memset(w->dx[d], 0xff, (size_t)s->p->vars.n * sizeof **w->dx); /* BDL_ZERO */
  }
  mark_recurrent(s, depends, z);
  mark_leads(s, false, w->direct);
  mark_leads(s, true, leads);
  for (int j = 0; j < z->n_ops; j++) z->leads[j] = leads[s->p->eqns.v[z->op[j]].out[0]];
  TRY(bdl_ir_rw_begin(&w->r, s->p));
  for (int a = 0; a < s->n_hidden; a++)
    TRY(bdl_ir_full(w->r.q, bdl_aval_of(s->p, s->in[a]), 1, &w->dx[a][s->in[a]]));
  return BDL_OK;
}

static bdl_status note_cut(walk *w, int64_t eqn, int d) {
  const bdl_eqn *e = &w->s->p->eqns.v[eqn];
  bool leads = false;
  for (int k = 0; k < e->n_out; k++) leads |= w->direct[e->out[k]];
  if (!leads || e->prim == BDL_P_etrace_op) return BDL_OK; /* interactions are cut by design */
  if (w->z->n_cuts == w->room) {
    bdl_cut *more;
    w->room = w->room ? 2 * w->room : 8;
    if (!BDL_ARRAY(&w->z->arena, more, w->room)) return BDL_ENOMEM;
    if (w->z->n_cuts) memcpy(more, w->z->cut, (size_t)w->z->n_cuts * sizeof *more);
    w->z->cut = more;
  }
  const int n = w->s->n_hidden;
  w->z->cut[w->z->n_cuts++] = (bdl_cut){eqn, d < n ? d : -1, d < n ? -1 : d - n};
  return BDL_OK;
}

/* Tangents of e's results along direction d, none where e mixes positions. */
static bdl_status push(walk *w, int64_t eqn, int d) {
  const bdl_eqn *e = &w->s->p->eqns.v[eqn];
  bool any = false, elementwise = true;
  bool *in = bdl_arena_alloc(&w->r.scratch, (size_t)e->n_in + 1), *out = bdl_arena_alloc(&w->r.scratch, (size_t)e->n_out + 1);
  if (!in || !out) return BDL_ENOMEM;
  for (int k = 0; k < e->n_in; k++) any |= in[k] = !bdl_is_zero(w->dx[d][e->in[k]]);
  if (!any) return BDL_OK;
  TRY(bdl_online_flow(&w->r.scratch, w->s->p, e, in, out, d >= w->s->n_hidden, &elementwise));
  return elementwise ? bdl_transform_push(&w->r, e, BDL_FORWARD, w->dx[d]) : note_cut(w, eqn, d);
}

static bdl_status equations(walk *w) {
  const bdl_prog *p = w->s->p;
  int op = w->s->n_hidden;
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    TRY(bdl_ir_rw_copy(&w->r, e));
    for (int d = 0; d < w->n_dirs; d++) TRY(push(w, i, d));
    if (e->prim != BDL_P_etrace_op) continue;
    if (bdl_transform_is_float(p, e->out[0])) TRY(bdl_ir_full(w->r.q, bdl_aval_of(p, e->out[0]), 1, &w->dx[op][e->out[0]]));
    op++;
  }
  return BDL_OK;
}

static bdl_status outputs(walk *w) {
  const bdl_step *s = w->s;
  bdl_structure *z = w->z;
  const bdl_prog *p = s->p;
  const int H = s->n_hidden;
  int n = p->n_outputs;
  int64_t most = n + (int64_t)H * w->n_dirs;
  for (int j = 0; j < z->n_ops; j++) most += p->eqns.v[z->op[j]].n_in;
  bdl_atom *out;
  if (!BDL_ARRAY(&z->arena, out, most) || !BDL_ARRAY(&z->arena, z->d, H * H) || !BDL_ARRAY(&z->arena, z->df, H * z->n_ops))
    return BDL_ENOMEM;
  for (int i = 0; i < p->n_outputs; i++) TRY(bdl_ir_rw_atom(&w->r, p->outputs[i], &out[i]));
  for (int j = 0; j < z->n_ops; j++) {
    const bdl_eqn *e = &p->eqns.v[z->op[j]];
    z->operand[j] = n;
    for (int k = 0; k < e->n_in; k++) TRY(bdl_ir_rw_atom(&w->r, e->in[k], &out[n++]));
  }
  for (int a = 0; a < H; a++)
    for (int d = 0; d < w->n_dirs; d++) {
      const bdl_atom t = w->dx[d][s->out[a]];
      int *at = d < H ? &z->d[a * H + d] : &z->df[a * z->n_ops + d - H];
      *at = bdl_is_zero(t) ? -1 : n;
      if (!bdl_is_zero(t)) out[n++] = t;
    }
  return bdl_prog_set_outputs(w->r.q, out, n);
}

/* Hidden values that reach each other within a step belong together. */
static bdl_status find_groups(bdl_structure *z) {
  const int H = z->n_hidden;
  if (!BDL_ARRAY(&z->arena, z->group, H)) return BDL_ENOMEM;
  for (int a = 0; a < H; a++) z->group[a] = a;
  for (bool changed = true; changed;) {
    changed = false;
    for (int a = 0; a < H; a++)
      for (int b = 0; b < H; b++) {
        if (z->d[a * H + b] < 0 || z->group[a] == z->group[b]) continue;
        z->group[a] = z->group[b] = BDL_MIN(z->group[a], z->group[b]);
        changed = true;
      }
  }
  for (int a = 0; a < H; a++) { /* the first member's number, counted */
    if (z->group[a] == a) z->group[a] = z->n_groups++;
    else z->group[a] = z->group[z->group[a]];
  }
  return BDL_OK;
}

bdl_status bdl_online_structure(const bdl_step *s, bdl_structure *z) {
  walk w = {.s = s, .z = z};
  *z = (bdl_structure){.n_hidden = s->n_hidden};
  bdl_arena_init(&z->arena, s->p->ctx);
  TRY(find_ops(s->p, z));
  bdl_status status = begin(&w);
  if (status == BDL_OK) status = equations(&w);
  if (status == BDL_OK) status = outputs(&w);
  if (status == BDL_OK) status = find_groups(z);
  if (status == BDL_OK) z->tangents = w.r.q;
  else if (w.r.q) bdl_prog_unref(w.r.q);
  if (w.r.map) bdl_ir_rw_fini(&w.r);
  return status;
}

void bdl_online_structure_fini(bdl_structure *z) {
  if (z->tangents) bdl_prog_unref(z->tangents);
  bdl_arena_fini(&z->arena);
}

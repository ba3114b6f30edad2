/*
** row.c -- rows of an array that a number chooses while the program runs: read and written where they stand.
**
**     y  = dynamic_slice h i 0 ..               y is a view of h
**     h' = dynamic_update_slice h u j 0 ..      u is made in its row of h, which h' is in the place of
**
** So delayed spikes go from the neurons' pass into the ring, and from there to the synapses, without a copy.
*/
#include <string.h>

#include "ir/edit.h"
#include "plan/build.h"

/* ---- reading ------------------------------------------------------------------------------------------------ */

typedef struct chooser {
  bdl_schedule *s;
  int32_t *of;  /* by variable: 1 + the dynamic slice whose rows it views; 0: none */
  bool *copied; /* by equation: a dynamic slice that is none */
} chooser;

static void make_views(const chooser *c) {
  bdl_schedule *s = c->s;
  const bdl_prog *p = s->prog;
  for (bdl_atom v = 0; v < p->vars.n; v++) s->view.v[v] = bdl_view_self(p, v), c->of[v] = 0;
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    bdl_view v;
    s->node_of[i] = 0;
    if (e->n_in == 0 || e->n_out != 1) continue;
    const bdl_view *x = &s->view.v[e->in[0]];
    const bool rows = e->prim == BDL_P_dynamic_slice && !c->copied[i] && bdl_view_rows(p, e, x, &v) && s->view.v[v.row].row < 0;
    if (!rows && !bdl_view_of_eqn(p, e, x, &v)) continue;
    s->view.v[e->out[0]] = v;
    s->node_of[i] = -1;
    c->of[e->out[0]] = rows ? (int32_t)i + 1 : c->of[e->in[0]];
  }
}

/* May result k be made over the memory of input a?  By *by, then; NULL: it is another operand. */
static bool replaced(const bdl_schedule *s, bdl_atom a, int k, const bdl_eqn **by) {
  const bdl_prog *p = s->prog;
  const bdl_atom z = s->view.v[p->outputs[k]].base;
  if (z == a || !bdl_aval_eq(bdl_aval_of(p, z), bdl_aval_of(p, a))) return false;
  *by = bdl_ir_maker(p, z);
  return true;
}

/* May equation i read rows of a where they are?  Not if the memory of a may be another's by then. */
static bool stand(const bdl_schedule *s, bdl_atom a, int64_t i) {
  const bdl_prog *p = s->prog;
  const bdl_eqn *by = bdl_ir_maker(p, a);
  if (by) { /* what a result is, stays */
    for (int k = 0; k < p->n_outputs; k++)
      if (p->outputs[k] == a) return by->prim == BDL_P_dynamic_update_slice;
    return false;
  }
  for (int k = 0; k < p->n_outputs && p->vars.v[a].kind == BDL_V_INPUT; k++) {
    if (!replaced(s, a, k, &by)) continue;
    if (!by || by->prim != BDL_P_dynamic_update_slice || s->view.v[by->in[0]].base != a || by - p->eqns.v < i) return false;
  }
  return true;
}

static bool is_control(bdl_prim_id p) { return p == BDL_P_scan || p == BDL_P_while || p == BDL_P_cond; }

/* More dynamic slices that are copied: results of the program, operands of loops and branches, what may not stand. */
static bool judge(const chooser *c) {
  const bdl_schedule *s = c->s;
  const bdl_prog *p = s->prog;
  bool more = false;
  for (int k = 0; k < p->n_outputs; k++)
    if (c->of[p->outputs[k]]) more = c->copied[c->of[p->outputs[k]] - 1] = true;
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    for (int k = 0; k < e->n_in && s->node_of[i] >= 0; k++)
      if (c->of[e->in[k]] && (is_control(e->prim) || !stand(s, s->view.v[e->in[k]].base, i)))
        more = c->copied[c->of[e->in[k]] - 1] = true;
  }
  return more;
}

bdl_status bdl_schedule_views(bdl_schedule *s, bool rows) {
  const bdl_prog *p = s->prog;
  const size_t of_bytes = (size_t)(p->vars.n + 1) * sizeof(int32_t), copied_bytes = (size_t)p->eqns.n + 1;
  chooser c = {s, bdl_calloc(s->ctx, of_bytes), bdl_calloc(s->ctx, copied_bytes)};
  bdl_status st = c.of && c.copied ? BDL_OK : BDL_ENOMEM;
  for (int64_t v = 0; v < p->vars.n && st == BDL_OK; v++)
    if (!BDL_PUSH(s->ctx, s->view, (bdl_view){0})) st = BDL_ENOMEM;
  if (st == BDL_OK) {
    memset(c.copied, !rows, copied_bytes);
    do make_views(&c);
    while (judge(&c));
  }
  bdl_free(s->ctx, c.of, of_bytes);
  bdl_free(s->ctx, c.copied, copied_bytes);
  return st;
}

bool bdl_schedule_stays(const bdl_schedule *s, const bdl_eqn *e) {
  for (int k = 0; k < e->n_in; k++) {
    const bdl_view *v = &s->view.v[e->in[k]];
    const bdl_eqn *by;
    if (v->row < 0 || s->prog->vars.v[v->base].kind != BDL_V_INPUT) continue;
    for (int i = 0; i < s->prog->n_outputs; i++)
      if (replaced(s, v->base, i, &by)) return true;
  }
  return false;
}

/* ---- writing ------------------------------------------------------------------------------------------------ */

/* Does a node from `first` on, other than that of `write`, read a? */
static bool is_read_from(const bdl_schedule *s, bdl_atom a, int32_t first, const bdl_eqn *write) {
  for (int64_t i = 0; i < s->prog->eqns.n; i++) {
    const bdl_eqn *e = &s->prog->eqns.v[i];
    for (int k = 0; k < e->n_in && e != write && s->node_of[i] >= first; k++)
      if (s->view.v[e->in[k]].base == a) return true;
  }
  return false;
}

/* The rows of e, an update in place, that its operand 1 can be made in. */
static bool made_there(const bdl_blockplan *b, const bdl_eqn *e, bdl_view *rows) {
  const bdl_schedule *s = &b->sched;
  const bdl_prog *p = b->prog;
  const bdl_view *h = &s->view.v[e->in[0]], *u = &s->view.v[e->in[1]];
  if (!h->whole || !u->whole || !bdl_view_rows(p, e, h, rows) || s->view.v[rows->row].row >= 0) return false;
  if (b->ref[h->base].slot < 0 || !bdl_ref_same(b->ref[h->base], b->ref[e->out[0]])) return false;
  if (p->vars.v[u->base].kind != BDL_V_EQN || b->ref[u->base].slot >= 0) return false;
  const int32_t made = s->def_node[u->base], write = s->def_node[e->out[0]];
  if (!s->nodes.v[made].group || bdl_schedule_is_root(p, bdl_ir_maker(p, u->base))) return false;
  if (s->last_use[u->base] > write && s->last_use[e->out[0]] < s->nodes.n) return false; /* the rows may be another's by then */
  if (s->def_node[h->base] >= made || s->def_node[s->view.v[rows->row].base] >= made || is_read_from(s, h->base, made, e)) return false;
  return is_read_from(s, h->base, 0, e) || is_read_from(s, e->out[0], 0, e); /* else a loop goes tile by tile (plan/tiled.c), which is better */
}

bdl_status bdl_plan_rows(bdl_blockplan *b) {
  const bdl_prog *p = b->prog;
  for (int64_t i = 0; i < p->eqns.n && !p->ctx->unfused; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    bdl_view rows;
    if (e->prim != BDL_P_dynamic_update_slice || !made_there(b, e, &rows)) continue;
    bdl_view *v = bdl_arena_alloc(&b->pl->plan->arena, sizeof *v);
    if (!v) return BDL_ENOMEM;
    *v = rows;
    b->in_rows[b->sched.view.v[e->in[1]].base] = v;
  }
  return BDL_OK;
}

bool bdl_plan_is_in_rows(const bdl_blockplan *b, const bdl_eqn *e) {
  return e->prim == BDL_P_dynamic_update_slice && b->in_rows[b->sched.view.v[e->in[1]].base];
}

static int32_t known(const bdl_blockplan *b, const bdl_view *v) {
  for (int64_t i = 0; i < b->rows_at.n; i++) {
    const bdl_view *o = &b->rows_at.v[i].of;
    if (o->base == v->base && o->row == v->row && o->last == v->last && o->step == v->step) return b->rows_at.v[i].slot;
  }
  return -1;
}

/* The slot that is set, in front of the instruction in the making, to where the rows of v are. */
static bdl_status new_rows(bdl_blockplan *b, const bdl_view *v, int32_t *slot) {
  bdl_plan *plan = b->pl->plan;
  const bdl_aval *a = bdl_aval_of(b->prog, v->base);
  bdl_row *r = bdl_arena_alloc(&plan->arena, sizeof *r);
  if (!r) return BDL_ENOMEM;
  *r = (bdl_row){.last = v->last, .step = v->step * (int64_t)bdl_dtype_size(a->dtype)};
  TRY(bdl_block_ref(b, v->base, &r->base));
  TRY(bdl_block_ref(b, v->row, &r->index));
  TRY(bdl_slot_over(b->pl, BDL_S_ROW, a->dtype, bdl_aval_bytes(a), r->base.slot, slot));
  plan->slots.v[*slot].row = r;
  const bdl_inst i = {.kind = BDL_I_ROW, .prim = BDL_P_dynamic_slice, .row = *slot};
  if (!BDL_PUSH(plan->ctx, b->insts, i)) return BDL_ENOMEM; /* no position of its own: what the other touched before lives on */
  return BDL_PUSH(plan->ctx, b->rows_at, ((struct bdl_rows_at){*v, *slot})) ? BDL_OK : BDL_ENOMEM;
}

bdl_status bdl_plan_row(bdl_blockplan *b, const bdl_view *v, bdl_ref *out) {
  *out = (bdl_ref){known(b, v), v->offset * (int64_t)bdl_dtype_size(bdl_aval_of(b->prog, v->base)->dtype)};
  if (out->slot < 0) TRY(new_rows(b, v, &out->slot));
  bdl_slot_touch(b->pl, out->slot);
  return BDL_OK;
}

/*
** place.c -- results in place of what they replace, and copies for those that cannot be.
*/
#include "exec/lower.h"
#include "ir/edit.h"
#include "plan/build.h"

/* May the equation that makes variable v write over input a of the block?  *late: only when it stores last. */
static bool may_replace(const bdl_blockplan *b, bdl_atom a, bdl_atom v, bool *late) {
  const bdl_schedule *s = &b->sched;
  const bdl_prog *p = b->prog;
  int32_t def = s->def_node[v];
  const bdl_eqn *maker = &p->eqns.v[p->vars.v[v].index];
  *late = false;
  for (int i = 0; i < p->n_outputs; i++)
    if (s->view.v[p->outputs[i]].base == a) return false;
  if (def < 0 || s->last_use[a] > def) return false;
  if (s->last_use[a] < def) return true;
  const bdl_node *node = &s->nodes.v[def];
  if (!node->group) { /* one equation: it must know how to */
    bdl_lower_kind kind = bdl_lowering_of(maker->prim)->kind;
    int operand = -1, uses = 0;
    for (int k = 0; k < maker->n_in; k++)
      if (s->view.v[maker->in[k]].base == a) operand = k, uses++;
    if (uses != 1 || !s->view.v[maker->in[operand]].whole) return false;
    if (kind == BDL_LOWER_UPDATE) {
      int out = 0;
      while (maker->out[out] != v) out++;
      return bdl_lower_updates(maker, out) == operand;
    }
    int first = maker->prim == BDL_P_scan ? (int)maker->params[0].i
                : maker->prim == BDL_P_while ? (int)(maker->params[0].i + maker->params[1].i) : INT32_MAX;
    return first != INT32_MAX && operand >= first && maker->out[operand - first] == v && operand - first < maker->n_out;
  }
  for (int64_t i = 0; i < node->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[node->eqns.v[i]];
    for (int k = 0; k < e->n_in; k++) {
      if (s->view.v[e->in[k]].base != a) continue;
      if (!bdl_schedule_aligned(s, e->in[k], &node->domain)) return false;
      *late |= node->eqns.v[i] > p->vars.v[v].index;
    }
  }
  return true;
}

/* The value that an update changes into v, if v is all that is made of it; -1: none. */
static bdl_atom updated(const bdl_blockplan *b, bdl_atom v) {
  const bdl_prog *p = b->prog;
  const bdl_eqn *e = &p->eqns.v[p->vars.v[v].index];
  if (bdl_lowering_of(e->prim)->kind != BDL_LOWER_UPDATE) return -1;
  int out = 0, uses = 0;
  while (e->out[out] != v) out++;
  const int from = bdl_lower_updates(e, out);
  if (from < 0) return -1;
  const bdl_atom x = e->in[from];
  for (int k = 0; k < e->n_in; k++) uses += b->sched.view.v[e->in[k]].base == x;
  const bool alone = uses == 1 && b->sched.last_use[x] == b->sched.def_node[v];
  return alone && p->vars.v[x].kind == BDL_V_EQN && b->ref[x].slot < 0 ? x : -1;
}

/* Give results their places, and what updates change into them; those that cannot be made there are copied at the end. */
void bdl_plan_place(bdl_blockplan *b, const bdl_target *t, bool *inplace) {
  const bdl_prog *p = b->prog;
  for (int k = 0; k < p->n_outputs; k++) {
    const bdl_view *view = &b->sched.view.v[p->outputs[k]];
    bdl_atom v = view->base;
    bool own = p->vars.v[v].kind == BDL_V_EQN && view->whole && b->ref[v].slot < 0, late = false, ok = true;
    bdl_atom a = t[k].pair >= 0 ? p->inputs.v[t[k].pair] : -1;
    if (own && a >= 0) ok = may_replace(b, a, v, &late);
    if (inplace) inplace[k] = own && a >= 0 && ok;
    if (!own || (t[k].same_memory && !ok)) continue;
    const bool over = a >= 0 && ok; /* the memory is that of a until then */
    do {
      b->ref[v] = t[k].ref;
      b->late[v] |= late;
      v = updated(b, v);
    } while (v >= 0 && (!over || may_replace(b, a, v, &late)));
  }
}

/* Is the place of v the memory of an input of the block, too? */
bool bdl_plan_is_shared(const bdl_blockplan *b, const bdl_target *t, bdl_atom v) {
  for (int k = 0; k < b->prog->n_outputs; k++)
    if (t[k].same_memory && b->ref[v].slot >= 0 && bdl_ref_same(b->ref[v], t[k].ref)) return true;
  return false;
}

/* Copies of results to their places.  One that writes over the source of another waits for it; in a ring, a source goes
** to a temporary. */
bdl_status bdl_plan_bring_home(bdl_blockplan *b, const bdl_target *t) {
  const bdl_prog *p = b->prog;
  const int n = p->n_outputs;
  bdl_ref *from = bdl_arena_alloc(&b->pl->plan->arena, (size_t)(n + 1) * sizeof *from);
  bool *there = bdl_arena_alloc(&b->pl->plan->arena, (size_t)n + 1);
  if (!from || !there) return BDL_ENOMEM;
  bdl_src nowhere = {0};
  int left = 0;
  for (int k = 0; k < n; k++) {
    TRY(bdl_block_ref(b, p->outputs[k], &from[k]));
    there[k] = bdl_ref_same(t[k].ref, from[k]);
    left += !there[k];
  }
  while (left > 0) {
    const int before = left;
    for (int k = 0; k < n; k++) {
      bool waits = there[k];
      for (int j = 0; j < n && !waits; j++) waits = j != k && !there[j] && from[j].slot == t[k].ref.slot;
      if (waits) continue;
      TRY(bdl_block_copy(b, t[k].ref, from[k], bdl_aval_bytes(bdl_aval_of(p, p->outputs[k])), nowhere));
      there[k] = true, left--;
    }
    int k = 0, j = 0;
    if (left < before) continue;
    while (there[k]) k++;
    while (j == k || there[j] || from[j].slot != t[k].ref.slot) j++; /* what k waits for */
    const size_t bytes = bdl_aval_bytes(bdl_aval_of(p, p->outputs[j]));
    bdl_ref temp = {0};
    TRY(bdl_slot_new(b->pl, BDL_S_ARENA, bdl_aval_of(p, p->outputs[j])->dtype, bytes, &temp.slot));
    TRY(bdl_block_copy(b, temp, from[j], bytes, nowhere));
    from[j] = temp;
  }
  return BDL_OK;
}

/*
** plan.c -- program -> plan: where results go, in which order instructions stand, where values live.
*/
#include <string.h>

#include "exec/lower.h"
#include "exec/native.h"
#include "ir/edit.h"
#include "plan/build.h"
#include "plan/legalise.h"
#include "prim/prim.h"

/* ---- slots -------------------------------------------------------------------------------- */

bdl_status bdl_slot_new(bdl_planner *pl, bdl_slot_kind kind, bdl_dtype dtype, size_t bytes, int32_t *slot) {
  bdl_pslot s = {.kind = kind, .dtype = dtype, .bytes = bytes, .first = -1, .last = -1};
  *slot = (int32_t)pl->plan->slots.n;
  return BDL_PUSH(pl->plan->ctx, pl->plan->slots, s) ? BDL_OK : BDL_ENOMEM;
}

void bdl_slot_touch(bdl_planner *pl, int32_t slot) {
  bdl_pslot *s = &pl->plan->slots.v[slot];
  if (s->first < 0) s->first = pl->position;
  s->last = pl->position;
}

bdl_status bdl_block_push(bdl_blockplan *b, const bdl_inst *inst) {
  b->pl->position++;
  return BDL_PUSH(b->pl->plan->ctx, b->insts, *inst) ? BDL_OK : BDL_ENOMEM;
}

bdl_status bdl_block_ref(bdl_blockplan *b, bdl_atom x, bdl_ref *out) {
  const bdl_view *v = &b->sched.view.v[x];
  bdl_ref *r = &b->ref[v->base];
  const bdl_var *var = &b->prog->vars.v[v->base];
  if (r->slot < 0) {
    bdl_plan *plan = b->pl->plan;
    bdl_slot_kind kind = var->kind == BDL_V_LITERAL ? BDL_S_LITERAL : var->kind == BDL_V_CONST ? BDL_S_CONST : BDL_S_ARENA;
    TRY(bdl_slot_new(b->pl, kind, var->aval.dtype, bdl_aval_bytes(&var->aval), &r->slot));
    r->offset = 0;
    bdl_pslot *s = &plan->slots.v[r->slot];
    if (kind == BDL_S_LITERAL) s->literal = var->literal;
    if (kind == BDL_S_CONST) s->data = bdl_tensor_data(&b->prog->consts.v[var->index]);
  }
  bdl_slot_touch(b->pl, r->slot);
  *out = *r;
  out->offset += v->offset * (int64_t)bdl_dtype_size(var->aval.dtype);
  return BDL_OK;
}

static bool same_ref(bdl_ref a, bdl_ref b) { return a.slot == b.slot && a.offset == b.offset; }

static bdl_status copy(bdl_blockplan *b, bdl_ref dst, bdl_ref src, size_t bytes, bdl_src where) {
  if (bytes == 0 || same_ref(dst, src)) return BDL_OK;
  bdl_slot_touch(b->pl, dst.slot);
  bdl_slot_touch(b->pl, src.slot);
  bdl_inst i = {.kind = BDL_I_COPY, .prim = BDL_P_copy, .src = where, .copy = {dst, src, bytes}};
  return bdl_block_push(b, &i);
}

/* ---- kernels --------------------------------------------------------------------------------- */

/* Is operand k of e a value of this block that nobody reads afterwards, nor e itself a second time? */
static bool dies_here(const bdl_blockplan *b, const bdl_eqn *e, int k) {
  const bdl_view *v = &b->sched.view.v[e->in[k]];
  const bdl_pslot *s = &b->pl->plan->slots.v[b->ref[v->base].slot];
  if (b->prog->vars.v[v->base].kind != BDL_V_EQN || !v->whole || s->kind != BDL_S_ARENA) return false;
  if (s->bytes != bdl_aval_bytes(bdl_aval_of(b->prog, v->base))) return false; /* rows that others have, too */
  if (b->sched.last_use[v->base] > b->sched.def_node[e->out[0]]) return false;
  for (int i = 0; i < e->n_in; i++)
    if (i != k && b->sched.view.v[e->in[i]].base == v->base) return false;
  return true;
}

/* What the kernel makes beforehand of operands that are constants of the plan. */
static bdl_status prepare(bdl_plan *plan, bdl_prepare make, bdl_inst *i) {
  if (!make) return BDL_OK;
  bdl_prepared *made = NULL;
  for (int32_t k = 0; k < i->kernel.n_in; k++) {
    const bdl_pslot *s = &plan->slots.v[i->kernel.in[k].slot];
    i->kernel.in_ptr[k] = s->kind == BDL_S_CONST ? (const char *)s->data + i->kernel.in[k].offset : NULL;
  }
  const bdl_kcall call = {.ctx = plan->ctx, .params = i->kernel.params, .n_in = i->kernel.n_in, .n_out = i->kernel.n_out,
                          .in = i->kernel.in_ptr, .in_aval = i->kernel.in_aval, .out_aval = i->kernel.out_aval};
  TRY(make(&call, &made));
  if (!made) return BDL_OK;
  if (!BDL_PUSH(plan->ctx, plan->prepared, made)) {
    made->drop(plan->ctx, made);
    return BDL_ENOMEM;
  }
  i->kernel.prepared = made;
  return BDL_OK;
}

static bdl_status kernel(bdl_blockplan *b, const bdl_eqn *e) {
  bdl_plan *plan = b->pl->plan;
  const bdl_lowering *l = bdl_lowering_of(e->prim);
  bdl_inst i = {.kind = BDL_I_KERNEL, .prim = e->prim, .src = e->src};
  i.kernel.fn = l->kernel;
  i.kernel.params = e->params;
  i.kernel.n_in = e->n_in;
  i.kernel.n_out = e->n_out;
  i.kernel.scratch = -1;
  size_t n = (size_t)e->n_in + (size_t)e->n_out + 1;
  i.kernel.in = bdl_arena_alloc(&plan->arena, n * sizeof(bdl_ref));
  i.kernel.in_aval = bdl_arena_alloc(&plan->arena, n * sizeof(bdl_aval));
  i.kernel.in_ptr = bdl_arena_alloc(&plan->arena, n * sizeof(void *));
  if (!i.kernel.in || !i.kernel.in_aval || !i.kernel.in_ptr) return BDL_ENOMEM;
  i.kernel.out = i.kernel.in + e->n_in;
  i.kernel.out_aval = i.kernel.in_aval + e->n_in;
  i.kernel.out_ptr = (void **)(i.kernel.in_ptr + e->n_in);
  for (int k = 0; k < e->n_in; k++) {
    TRY(bdl_block_ref(b, e->in[k], &i.kernel.in[k]));
    i.kernel.in_aval[k] = *bdl_aval_of(b->prog, e->in[k]);
  }
  for (int k = 0; k < e->n_out; k++) {
    const int from = l->kind == BDL_LOWER_UPDATE ? bdl_lower_updates(e, k) : -1;
    if (from >= 0 && b->ref[e->out[k]].slot < 0 && dies_here(b, e, from))
      b->ref[e->out[k]] = b->ref[b->sched.view.v[e->in[from]].base];
    TRY(bdl_block_ref(b, e->out[k], &i.kernel.out[k]));
    i.kernel.out_aval[k] = *bdl_aval_of(b->prog, e->out[k]);
  }
  if (l->kind == BDL_LOWER_UPDATE) { /* results start as the operands that they update */
    for (int k = 0; k < e->n_out; k++) {
      const int from = bdl_lower_updates(e, k);
      if (from >= 0) TRY(copy(b, i.kernel.out[k], i.kernel.in[from], bdl_aval_bytes(&i.kernel.in_aval[from]), e->src));
    }
    for (int k = 0; k < e->n_in; k++) bdl_slot_touch(b->pl, i.kernel.in[k].slot);
    for (int k = 0; k < e->n_out; k++) bdl_slot_touch(b->pl, i.kernel.out[k].slot);
  }
  size_t scratch = l->scratch ? l->scratch(e->params, i.kernel.in_aval, e->n_in, i.kernel.out_aval) : 0;
  if (scratch) {
    TRY(bdl_slot_new(b->pl, BDL_S_ARENA, BDL_BOOL, scratch, &i.kernel.scratch));
    bdl_slot_touch(b->pl, i.kernel.scratch);
  }
  TRY(prepare(plan, l->prepare, &i));
  return bdl_block_push(b, &i);
}

/* ---- loops and branches ------------------------------------------------------------------------ */

static bdl_status block(bdl_planner *pl, const bdl_prog *p, const bdl_ref *in, const bdl_target *targets, bool *inplace, bdl_block *out);

/* What was made before a loop and read inside it must last until the loop ends. */
static void outlive(bdl_planner *pl, int32_t begin) {
  for (int64_t i = 0; i < pl->plan->slots.n; i++) {
    bdl_pslot *s = &pl->plan->slots.v[i];
    if (s->first >= 0 && s->first <= begin && s->last >= begin) s->last = pl->position;
  }
}

/* Where the rows of a carry, a loop's steps and one, begin in the order of time, and where they end. */
static bdl_ref first_row(const bdl_eqn *e, int32_t rows, int64_t bytes) { return (bdl_ref){rows, e->params[3].i ? e->params[2].i * bytes : 0}; }
static bdl_ref last_row(const bdl_eqn *e, int32_t rows, int64_t bytes) { return (bdl_ref){rows, e->params[3].i ? 0 : e->params[2].i * bytes}; }

/* A carry that stays in its rows: that of step t becomes the first of t + 1, the last step's is the result. */
static bdl_status carry_in_rows(bdl_blockplan *b, const bdl_eqn *e, int k, bdl_inst *i, bdl_ref *in, bdl_target *target) {
  const bdl_aval *a = bdl_aval_of(b->prog, e->out[k]);
  const int64_t first = e->params[0].i, bytes = (int64_t)bdl_aval_bytes(a);
  struct bdl_moving *old = &i->scan.moving[i->scan.n_moving++], *new = &i->scan.moving[i->scan.n_moving++];
  const int32_t rows = b->rows[e->out[k]];
  bdl_ref init;
  TRY(bdl_block_ref(b, e->in[first + k], &init));
  TRY(copy(b, first_row(e, rows, bytes), init, (size_t)bytes, e->src));
  *old = (struct bdl_moving){.base = {rows, i->scan.reverse ? bytes : 0}, .step = bytes};
  *new = (struct bdl_moving){.base = {rows, i->scan.reverse ? 0 : bytes}, .step = bytes, .next = -1};
  TRY(bdl_slot_new(b->pl, BDL_S_MOVING, a->dtype, (size_t)bytes, &old->slot));
  TRY(bdl_slot_new(b->pl, BDL_S_MOVING, a->dtype, (size_t)bytes, &new->slot));
  old->next = new->slot;
  in[first + k] = (bdl_ref){old->slot, 0};
  *target = (bdl_target){{new->slot, 0}, -1, false};
  bdl_slot_touch(b->pl, rows);
  return BDL_OK;
}

/* The carry lives in the results' places from the start. */
static bdl_status carry(bdl_blockplan *b, const bdl_eqn *e, int first, int n, bdl_inst *i, bdl_ref *in, bdl_target *targets) {
  for (int k = 0; k < n; k++) {
    bdl_ref init, home;
    if (b->rows[e->out[k]] >= 0) {
      TRY(carry_in_rows(b, e, k, i, in, &targets[k]));
      continue;
    }
    TRY(bdl_block_ref(b, e->in[first + k], &init));
    TRY(bdl_block_ref(b, e->out[k], &home));
    TRY(copy(b, home, init, bdl_aval_bytes(bdl_aval_of(b->prog, e->out[k])), e->src));
    in[first + k] = home;
    targets[k] = (bdl_target){home, first + k, true};
  }
  for (int k = 0; k < n; k++) bdl_slot_touch(b->pl, in[first + k].slot);
  return BDL_OK;
}

static bdl_status scan(bdl_blockplan *b, const bdl_eqn *e) {
  bdl_plan *plan = b->pl->plan;
  int n_consts = (int)e->params[0].i, n_carry = (int)e->params[1].i;
  const bdl_prog *body = e->params[4].progs[0];
  bdl_inst i = {.kind = BDL_I_SCAN, .prim = e->prim, .src = e->src};
  i.scan.length = e->params[2].i;
  i.scan.reverse = e->params[3].i != 0;
  bdl_ref *in = bdl_arena_alloc(&plan->arena, (size_t)(e->n_in + 1) * sizeof *in);
  bdl_target *targets = bdl_arena_alloc(&plan->arena, (size_t)(e->n_out + 1) * sizeof *targets);
  i.scan.moving = bdl_arena_alloc(&plan->arena, (size_t)(e->n_in + e->n_out + 2 * n_carry + 1) * sizeof *i.scan.moving);
  if (!in || !targets || !i.scan.moving) return BDL_ENOMEM;
  for (int k = 0; k < n_consts; k++) TRY(bdl_block_ref(b, e->in[k], &in[k]));
  TRY(carry(b, e, n_consts, n_carry, &i, in, targets));
  const int32_t begin = b->pl->position, n_kept = i.scan.n_moving, n_rows = e->n_in - n_consts - n_carry;
  for (int k = n_consts + n_carry; k < e->n_in + e->n_out - n_carry; k++) { /* stacked operands, then stacked results */
    bool operand = k < e->n_in;
    bdl_atom x = operand ? e->in[k] : e->out[k - e->n_in + n_carry];
    bdl_atom slice = operand ? body->inputs.v[k] : body->outputs[k - e->n_in + n_carry];
    struct bdl_moving *m = &i.scan.moving[i.scan.n_moving];
    TRY(bdl_block_ref(b, x, &m->base));
    const size_t bytes = bdl_aval_bytes(bdl_aval_of(body, slice));
    m->next = -1;
    m->step = operand ? b->sched.view.v[x].stride[0] * (int64_t)bdl_dtype_size(bdl_aval_of(b->prog, x)->dtype) : (int64_t)bytes;
    int over = 0; /* rows of a result in the place of an operand's or a carry's are the same memory, also to the body */
    while (!operand && over < i.scan.n_moving && !same_ref(i.scan.moving[over].base, m->base)) over++;
    if (!operand && over < n_kept + n_rows) {
      const bool kept = over < n_kept;
      targets[k - e->n_in + n_carry] = (bdl_target){{i.scan.moving[over].slot, 0}, kept ? -1 : n_consts + n_carry + over - n_kept, !kept};
      continue;
    }
    i.scan.n_moving++;
    TRY(bdl_slot_new(b->pl, BDL_S_MOVING, bdl_aval_of(body, slice)->dtype, bytes, &m->slot));
    if (operand) in[k] = (bdl_ref){m->slot, 0};
    else targets[k - e->n_in + n_carry] = (bdl_target){{m->slot, 0}, -1, false};
  }
  for (int k = 0; k < n_consts; k++) bdl_slot_touch(b->pl, in[k].slot);
  b->pl->position++;
  TRY(block(b->pl, body, in, targets, NULL, &i.scan.body));
  for (int k = 0; k < i.scan.n_moving; k++) bdl_slot_touch(b->pl, i.scan.moving[k].base.slot);
  for (int k = 0; k < n_carry; k++) bdl_slot_touch(b->pl, targets[k].ref.slot);
  TRY(bdl_plan_tiled(b->pl, &i, begin));
  outlive(b->pl, begin);
  TRY(bdl_block_push(b, &i));
  for (int k = 0; k < n_carry; k++) {
    const size_t bytes = bdl_aval_bytes(bdl_aval_of(b->prog, e->out[k]));
    if (b->rows[e->out[k]] >= 0) TRY(copy(b, b->ref[e->out[k]], last_row(e, b->rows[e->out[k]], (int64_t)bytes), bytes, e->src));
  }
  return BDL_OK;
}

static bdl_status while_loop(bdl_blockplan *b, const bdl_eqn *e) {
  bdl_plan *plan = b->pl->plan;
  int n_cond = (int)e->params[0].i, n_body = (int)e->params[1].i, n_carry = e->n_out;
  bdl_inst i = {.kind = BDL_I_WHILE, .prim = e->prim, .src = e->src};
  bdl_ref *in = bdl_arena_alloc(&plan->arena, (size_t)(2 * e->n_in + 1) * sizeof *in), *cin = in + e->n_in;
  bdl_target *targets = bdl_arena_alloc(&plan->arena, (size_t)(n_carry + 1) * sizeof *targets);
  if (!in || !targets) return BDL_ENOMEM;
  for (int k = 0; k < n_cond + n_body; k++) TRY(bdl_block_ref(b, e->in[k], &in[k]));
  TRY(carry(b, e, n_cond + n_body, n_carry, NULL, in, targets));
  int32_t begin = b->pl->position;
  for (int k = 0; k < n_cond + n_body; k++) bdl_slot_touch(b->pl, in[k].slot);
  memcpy(cin, in, (size_t)n_cond * sizeof *in);
  memcpy(cin + n_cond, in + n_cond + n_body, (size_t)n_carry * sizeof *in);
  for (int k = 0; k < n_carry; k++) targets[k].pair -= n_cond; /* the body does not see the condition's constants */
  TRY(bdl_slot_new(b->pl, BDL_S_ARENA, BDL_BOOL, 1, &i.loop.pred.slot));
  bdl_slot_touch(b->pl, i.loop.pred.slot);
  bdl_target pred = {i.loop.pred, -1, false};
  b->pl->position++;
  TRY(block(b->pl, e->params[2].progs[0], cin, &pred, NULL, &i.loop.cond));
  TRY(block(b->pl, e->params[2].progs[1], in + n_cond, targets, NULL, &i.loop.body));
  for (int k = 0; k < n_carry; k++) bdl_slot_touch(b->pl, targets[k].ref.slot);
  outlive(b->pl, begin);
  return bdl_block_push(b, &i);
}

static bdl_status cond(bdl_blockplan *b, const bdl_eqn *e) {
  bdl_plan *plan = b->pl->plan;
  bdl_inst i = {.kind = BDL_I_COND, .prim = e->prim, .src = e->src};
  i.cond.n = e->params[0].n;
  i.cond.branches = bdl_arena_alloc(&plan->arena, (size_t)i.cond.n * sizeof *i.cond.branches);
  bdl_ref *in = bdl_arena_alloc(&plan->arena, (size_t)(e->n_in + 1) * sizeof *in);
  bdl_target *targets = bdl_arena_alloc(&plan->arena, (size_t)(e->n_out + 1) * sizeof *targets);
  if (!i.cond.branches || !in || !targets) return BDL_ENOMEM;
  for (int k = 0; k < e->n_in; k++) TRY(bdl_block_ref(b, e->in[k], &in[k]));
  i.cond.index = in[0];
  int32_t begin = b->pl->position;
  for (int k = 0; k < e->n_out; k++) {
    bdl_ref r;
    TRY(bdl_block_ref(b, e->out[k], &r));
    targets[k] = (bdl_target){r, -1, false};
  }
  b->pl->position++;
  for (int k = 0; k < i.cond.n; k++) TRY(block(b->pl, e->params[0].progs[k], in + 1, targets, NULL, &i.cond.branches[k]));
  for (int k = 0; k < e->n_in; k++) bdl_slot_touch(b->pl, in[k].slot);
  for (int k = 0; k < e->n_out; k++) bdl_slot_touch(b->pl, targets[k].ref.slot);
  outlive(b->pl, begin);
  return bdl_block_push(b, &i);
}

/* ---- results in place -------------------------------------------------------------------------- */

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
static void place(bdl_blockplan *b, const bdl_target *t, bool *inplace) {
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
static bool is_shared(const bdl_blockplan *b, const bdl_target *t, bdl_atom v) {
  for (int k = 0; k < b->prog->n_outputs; k++)
    if (t[k].same_memory && b->ref[v].slot >= 0 && same_ref(b->ref[v], t[k].ref)) return true;
  return false;
}

/* A carry whose values at all steps are wanted, too, before a step or behind it, stays in their rows: these are one row more than steps,
** and neither the carry nor a result is copied.  As somebody reads the rows, an interrupted loop leaves no State in them (loop_only). */
static bdl_status keep_rows(bdl_blockplan *b, const bdl_eqn *e) {
  const bdl_prog *body = e->params[4].progs[0];
  const int first = (int)e->params[0].i, n_carry = (int)e->params[1].i;
  const int64_t length = e->params[2].i;
  const bool reverse = e->params[3].i != 0;
  for (int c = 0; c < n_carry && length > 0 && !b->prog->ctx->unfused; c++) {
    const bdl_aval *a = bdl_aval_of(b->prog, e->out[c]);
    const int64_t bytes = (int64_t)bdl_aval_bytes(a);
    int32_t *rows = &b->rows[e->out[c]];
    for (int k = n_carry; k < e->n_out; k++) {
      const bool before = body->outputs[k] == body->inputs.v[first + c];
      if ((!before && body->outputs[k] != body->outputs[c]) || b->ref[e->out[k]].slot >= 0) continue;
      if (*rows < 0) TRY(bdl_slot_new(b->pl, BDL_S_ARENA, a->dtype, (size_t)((length + 1) * bytes), rows));
      b->ref[e->out[k]] = (bdl_ref){*rows, before == reverse ? bytes : 0};
    }
    if (*rows >= 0 && b->ref[e->out[c]].slot < 0) b->ref[e->out[c]] = last_row(e, *rows, bytes);
  }
  return BDL_OK;
}

/* What a loop starts from is made where the loop keeps it, if nothing else reads it afterwards. */
static bdl_status start_at_home(bdl_blockplan *b, const bdl_target *t, int32_t node, const bdl_eqn *e) {
  const bdl_schedule *s = &b->sched;
  const int first = e->prim == BDL_P_scan ? (int)e->params[0].i : (int)(e->params[0].i + e->params[1].i);
  const int n = e->prim == BDL_P_scan ? (int)e->params[1].i : e->n_out;
  for (int k = 0; k < n; k++) {
    const bdl_view *v = &s->view.v[e->in[first + k]];
    const bdl_atom x = v->base, z = e->out[k];
    int uses = 0;
    for (int i = 0; i < e->n_in; i++) uses += s->view.v[e->in[i]].base == x;
    if (uses != 1 || !v->whole || b->prog->vars.v[x].kind != BDL_V_EQN || b->ref[x].slot >= 0) continue;
    if (s->last_use[x] != node || (b->rows[z] < 0 && is_shared(b, t, z))) continue;
    const bdl_aval *type = bdl_aval_of(b->prog, z);
    if (b->ref[z].slot < 0) TRY(bdl_slot_new(b->pl, BDL_S_ARENA, type->dtype, bdl_aval_bytes(type), &b->ref[z].slot));
    b->ref[x] = b->rows[z] < 0 ? b->ref[z] : first_row(e, b->rows[z], (int64_t)bdl_aval_bytes(type));
  }
  return BDL_OK;
}

/* Copies of results to their places.  One that writes over the source of another waits for it; in a ring, a source goes
** to a temporary. */
static bdl_status bring_home(bdl_blockplan *b, const bdl_target *t) {
  const bdl_prog *p = b->prog;
  const int n = p->n_outputs;
  bdl_ref *from = bdl_arena_alloc(&b->pl->plan->arena, (size_t)(n + 1) * sizeof *from);
  bool *there = bdl_arena_alloc(&b->pl->plan->arena, (size_t)n + 1);
  if (!from || !there) return BDL_ENOMEM;
  bdl_src nowhere = {0};
  int left = 0;
  for (int k = 0; k < n; k++) {
    TRY(bdl_block_ref(b, p->outputs[k], &from[k]));
    there[k] = same_ref(t[k].ref, from[k]);
    left += !there[k];
  }
  while (left > 0) {
    const int before = left;
    for (int k = 0; k < n; k++) {
      bool waits = there[k];
      for (int j = 0; j < n && !waits; j++) waits = j != k && !there[j] && from[j].slot == t[k].ref.slot;
      if (waits) continue;
      TRY(copy(b, t[k].ref, from[k], bdl_aval_bytes(bdl_aval_of(p, p->outputs[k])), nowhere));
      there[k] = true, left--;
    }
    int k = 0, j = 0;
    if (left < before) continue;
    while (there[k]) k++;
    while (j == k || there[j] || from[j].slot != t[k].ref.slot) j++; /* what k waits for */
    const size_t bytes = bdl_aval_bytes(bdl_aval_of(p, p->outputs[j]));
    bdl_ref temp = {0};
    TRY(bdl_slot_new(b->pl, BDL_S_ARENA, bdl_aval_of(p, p->outputs[j])->dtype, bytes, &temp.slot));
    TRY(copy(b, temp, from[j], bytes, nowhere));
    from[j] = temp;
  }
  return BDL_OK;
}

/* ---- blocks -------------------------------------------------------------------------------------- */

static bdl_status emit(bdl_blockplan *b, const bdl_ref *in, const bdl_target *targets, bool *inplace) {
  const bdl_prog *p = b->prog;
  for (int64_t v = 0; v < p->vars.n; v++) b->ref[v].slot = b->rows[v] = -1;
  for (int64_t i = 0; i < p->inputs.n; i++) b->ref[p->inputs.v[i]] = in[i];
  place(b, targets, inplace);
  for (int32_t n = (int32_t)b->sched.nodes.n - 1; n >= 0; n--) {
    const bdl_eqn *e = &p->eqns.v[b->sched.nodes.v[n].eqns.v[0]];
    if (e->prim == BDL_P_scan) TRY(keep_rows(b, e));
    if (e->prim == BDL_P_scan || e->prim == BDL_P_while) TRY(start_at_home(b, targets, n, e));
  }
  for (int64_t n = 0; n < b->sched.nodes.n; n++) {
    const bdl_node *node = &b->sched.nodes.v[n];
    const bdl_eqn *e = &p->eqns.v[node->eqns.v[0]];
    bdl_status s;
    if (node->group) s = bdl_plan_group(b, node);
    else if (e->prim == BDL_P_scan) s = scan(b, e);
    else if (e->prim == BDL_P_while) s = while_loop(b, e);
    else if (e->prim == BDL_P_cond) s = cond(b, e);
    else if (e->prim == BDL_P_transposed) s = bdl_fail(p->ctx, BDL_ENOTSUP, "forward differentiation of a custom_vjp function is not supported");
    else s = kernel(b, e);
    if (s != BDL_OK) {
      bdl_where(b->pl->plan->ctx, e->src);
      return s;
    }
  }
  return bring_home(b, targets);
}

static bdl_status block(bdl_planner *pl, const bdl_prog *p, const bdl_ref *in, const bdl_target *targets, bool *inplace, bdl_block *out) {
  bdl_context *c = pl->plan->ctx;
  bdl_blockplan b = {.pl = pl, .prog = p};
  TRY(bdl_schedule_new(&b.sched, p, !c->unfused));
  size_t n = (size_t)p->vars.n + 1;
  b.ref = bdl_calloc(c, n * sizeof *b.ref);
  b.rows = bdl_calloc(c, n * sizeof *b.rows);
  b.late = bdl_calloc(c, n);
  bdl_status s = b.ref && b.rows && b.late ? emit(&b, in, targets, inplace) : BDL_ENOMEM;
  if (s == BDL_OK) {
    out->n = (int32_t)b.insts.n;
    out->v = bdl_arena_alloc(&pl->plan->arena, (size_t)(b.insts.n + 1) * sizeof *out->v);
    if (!out->v) s = BDL_ENOMEM;
    else if (b.insts.n) memcpy(out->v, b.insts.v, (size_t)b.insts.n * sizeof *out->v);
  }
  BDL_VEC_FREE(c, b.insts);
  bdl_free(c, b.ref, n * sizeof *b.ref);
  bdl_free(c, b.rows, n * sizeof *b.rows);
  bdl_free(c, b.late, n);
  bdl_schedule_free(&b.sched);
  return s;
}

/* ---- the arena: first fit by decreasing size over lifetimes ------------------------------------------ */

static bdl_status lay_out(bdl_plan *plan) {
  bdl_context *c = plan->ctx;
  BDL_VEC(int32_t) order = {0}, placed = {0};
  bdl_status s = BDL_OK;
  for (int32_t i = 0; i < plan->slots.n && s == BDL_OK; i++)
    if (plan->slots.v[i].kind == BDL_S_ARENA && !BDL_PUSH(c, order, i)) s = BDL_ENOMEM;
  for (int64_t i = 1; i < order.n; i++) /* insertion sort, largest first */
    for (int64_t j = i; j > 0 && plan->slots.v[order.v[j]].bytes > plan->slots.v[order.v[j - 1]].bytes; j--) {
      int32_t t = order.v[j];
      order.v[j] = order.v[j - 1], order.v[j - 1] = t;
    }
  for (int64_t i = 0; i < order.n && s == BDL_OK; i++) {
    bdl_pslot *a = &plan->slots.v[order.v[i]];
    size_t bytes = (a->bytes + 2 * BDL_PAD - 1) / BDL_PAD * BDL_PAD, at = 0;
    for (int64_t j = 0; j < placed.n;) { /* move up past whatever is in the way, then look again */
      const bdl_pslot *q = &plan->slots.v[placed.v[j]];
      size_t end = q->offset + (q->bytes + 2 * BDL_PAD - 1) / BDL_PAD * BDL_PAD;
      bool alive = a->first <= q->last && q->first <= a->last;
      if (alive && at < end && q->offset < at + bytes) {
        at = end;
        j = 0;
      } else j++;
    }
    a->offset = at;
    plan->arena_bytes = BDL_MAX(plan->arena_bytes, at + bytes);
    if (!BDL_PUSH(c, placed, order.v[i])) s = BDL_ENOMEM;
  }
  BDL_VEC_FREE(c, order);
  BDL_VEC_FREE(c, placed);
  return s;
}

/* ---- plans ---------------------------------------------------------------------------------------------- */

/* Is there such an equation in p or in a body? */
static bool any_eqn(const bdl_prog *p, bool (*test)(bdl_prim_id)) {
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    if (test(e->prim)) return true;
    for (int k = 0; k < e->n_params; k++)
      for (int j = 0; e->params[k].kind == BDL_PK_PROGS && j < e->params[k].n; j++)
        if (any_eqn(e->params[k].progs[j], test)) return true;
  }
  return false;
}

/* Number the instructions of b; by_id NULL: count them only. */
static int32_t number(const bdl_block *b, bdl_inst **by_id, int32_t n) {
  for (int32_t k = 0; k < b->n; k++) {
    bdl_inst *i = &b->v[k];
    i->id = n;
    if (by_id) by_id[n] = i;
    n++;
    if (i->kind == BDL_I_SCAN) n = number(&i->scan.body, by_id, n);
    if (i->kind == BDL_I_WHILE) n = number(&i->loop.body, by_id, number(&i->loop.cond, by_id, n));
    for (int32_t j = 0; i->kind == BDL_I_COND && j < i->cond.n; j++) n = number(&i->cond.branches[j], by_id, n);
  }
  return n;
}

static bool is_trace(bdl_prim_id p) { return p == BDL_P_etrace_step; }
static bool is_dot(bdl_prim_id p) { return p == BDL_P_dot; }
static bool is_ring_write(bdl_prim_id p) { return p == BDL_P_dynamic_update_slice; }
static bool is_loop(bdl_prim_id p) { return p == BDL_P_scan || p == BDL_P_while; }

bool bdl_plan_can_fail(bdl_prim_id p) {
  switch (p) {
    case BDL_P_gather: case BDL_P_gather_along: case BDL_P_scatter: case BDL_P_scatter_along: case BDL_P_print: case BDL_P_error_if:
    case BDL_P_host_call: case BDL_P_cholesky: case BDL_P_triangular_solve: case BDL_P_lu: case BDL_P_lu_permutation: case BDL_P_solve:
      return true;
    default: return (bdl_prims[p].flags & BDL_F_LANES) != 0;
  }
}

/* Is p one loop and views?  Then its results are the carry of that loop, whatever passes put around it. */
static bool is_one_loop(const bdl_prog *p) {
  int loops = 0, others = 0;
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_lower_kind kind = bdl_lowering_of(p->eqns.v[i].prim)->kind;
    if (is_loop(p->eqns.v[i].prim)) loops++;
    else others += kind != BDL_LOWER_STRIDED && kind != BDL_LOWER_VIEW;
  }
  return loops == 1 && others == 0;
}

static bdl_status make(bdl_plan *plan, const int32_t *pair) {
  const bdl_prog *p = plan->prog;
  bdl_planner pl = {.plan = plan, .k = bdl_k_select(plan->ctx->isa)};
  bdl_ref *in = bdl_arena_alloc(&plan->arena, (size_t)(p->inputs.n + 1) * sizeof *in);
  bdl_target *t = bdl_arena_alloc(&plan->arena, (size_t)(p->n_outputs + 1) * sizeof *t);
  plan->n_in = (int32_t)p->inputs.n;
  plan->n_out = p->n_outputs;
  plan->inplace = bdl_arena_alloc(&plan->arena, (size_t)p->n_outputs + 1);
  plan->replaces = bdl_arena_alloc(&plan->arena, (size_t)p->n_outputs + 1);
  if (!in || !t || !plan->inplace || !plan->replaces) return BDL_ENOMEM;
  for (int32_t i = 0; i < plan->n_in; i++) { /* slot i is input i, then the outputs: the caller's pointers fill the frame */
    const bdl_aval *a = bdl_aval_of(p, p->inputs.v[i]);
    TRY(bdl_slot_new(&pl, BDL_S_INPUT, a->dtype, bdl_aval_bytes(a), &in[i].slot));
    plan->slots.v[in[i].slot].index = i;
  }
  for (int32_t i = 0; i < plan->n_out; i++) {
    const bdl_aval *a = bdl_aval_of(p, p->outputs[i]);
    TRY(bdl_slot_new(&pl, BDL_S_OUTPUT, a->dtype, bdl_aval_bytes(a), &t[i].ref.slot));
    plan->slots.v[t[i].ref.slot].index = i;
    t[i].pair = pair ? pair[i] : -1;
  }
  TRY(block(&pl, p, in, t, plan->inplace, &plan->block));
  TRY(lay_out(plan));
  plan->n_insts = number(&plan->block, NULL, 0);
  plan->by_id = bdl_arena_alloc(&plan->arena, (size_t)(plan->n_insts + 1) * sizeof *plan->by_id);
  if (!plan->by_id) return BDL_ENOMEM;
  number(&plan->block, plan->by_id, 0);
  int loops = 0, others = 0;
  for (int32_t i = 0; i < plan->block.n; i++) {
    bdl_inst_kind k = plan->block.v[i].kind;
    if (k == BDL_I_SCAN || k == BDL_I_WHILE) loops++;
    else if (k != BDL_I_COPY) others++;
  }
  plan->loop_only = loops == 1 && (others == 0 || plan->with_rings) && !plan->ctx->budget.on; /* a budget ends in the middle of an inner loop, too */
  plan->can_fail = any_eqn(p, bdl_plan_can_fail) || (!plan->loop_only && any_eqn(p, is_loop)); /* a loop may be interrupted */
  for (int32_t i = 0; i < plan->n_out; i++) {
    plan->replaces[i] = plan->inplace[i];
    plan->inplace[i] &= !plan->can_fail;
  }
  return BDL_OK;
}

static bdl_status become(bdl_prog **p, bdl_pass pass) {
  bdl_prog *q;
  TRY(pass(*p, &q));
  bdl_prog_unref(*p);
  *p = q;
  return BDL_OK;
}

bdl_status bdl_plan_new(bdl_context *c, bdl_prog *p, const int32_t *pair, bdl_plan **out) {
  bdl_plan *plan = bdl_calloc(c, sizeof *plan);
  if (!plan) return BDL_ENOMEM;
  plan->ctx = c;
  plan->compilable = true;
  bdl_arena_init(&plan->arena, c);
  bdl_prog_ref(p);
  plan->legal_from = p;
  bdl_prog *q = p;
  bdl_prog_ref(q);
  bdl_status s = any_eqn(q, bdl_ir_is_inlined) ? become(&q, bdl_pass_inline) : BDL_OK;
  if (s == BDL_OK && !c->unfused && any_eqn(q, is_trace)) s = become(&q, bdl_plan_fuse_traces);
  const bool products = !c->unfused && s == BDL_OK && any_eqn(q, is_dot);
  if (s == BDL_OK && products) s = become(&q, bdl_plan_add_to_products);
  if (s == BDL_OK && products && any_eqn(q, is_loop)) s = become(&q, bdl_plan_fixed_factors);
  if (s == BDL_OK && !c->unfused && any_eqn(q, is_ring_write)) {
    const bdl_prog *before = q;
    const bool one_loop = is_one_loop(q);
    s = become(&q, bdl_plan_rings);
    plan->with_rings = one_loop && q != before;
  }
  plan->passed = q;
  if (s == BDL_OK) s = bdl_plan_legalise(q, &plan->prog);
  if (s == BDL_OK && c->verify) s = bdl_ir_verify(plan->prog);
  if (s == BDL_OK) s = make(plan, pair);
  if (s != BDL_OK) bdl_plan_free(plan);
  else *out = plan;
  return s;
}

void bdl_plan_forget(bdl_plan *plan) {
  bdl_free(plan->ctx, plan->frame, (size_t)(plan->slots.n + 1) * sizeof *plan->frame);
  bdl_free(plan->ctx, plan->memory, plan->memory_bytes);
  plan->frame = NULL;
  plan->memory = NULL;
}

void bdl_plan_free(bdl_plan *plan) {
  bdl_context *c = plan->ctx;
  bdl_native_free(plan);
  bdl_plan_forget(plan);
  BDL_VEC_FREE(c, plan->slots);
  for (int64_t i = 0; i < plan->prepared.n; i++) plan->prepared.v[i]->drop(c, plan->prepared.v[i]);
  BDL_VEC_FREE(c, plan->prepared);
  bdl_arena_fini(&plan->arena);
  if (plan->prog) bdl_prog_unref(plan->prog);
  bdl_prog_unref(plan->passed);
  bdl_prog_unref(plan->legal_from);
  bdl_free(c, plan, sizeof *plan);
}

/*
** plan.c -- program -> plan: kernels, blocks, the arena laid out by lifetimes.
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

bdl_status bdl_slot_over(bdl_planner *pl, bdl_slot_kind kind, bdl_dtype dtype, size_t bytes, int32_t over, int32_t *slot) {
  TRY(bdl_slot_new(pl, kind, dtype, bytes, slot));
  pl->plan->slots.v[*slot].over = over;
  return BDL_OK;
}

int32_t bdl_plan_base(const bdl_plan *plan, int32_t slot) {
  while (plan->slots.v[slot].kind == BDL_S_MOVING || plan->slots.v[slot].kind == BDL_S_ROW) slot = plan->slots.v[slot].over;
  return slot;
}

void bdl_slot_touch(bdl_planner *pl, int32_t slot) {
  bdl_pslot *s = &pl->plan->slots.v[slot];
  if (s->first < 0) s->first = pl->position;
  s->last = pl->position;
  if (s->kind != BDL_S_ROW) return;
  const bdl_row *r = s->row;
  bdl_slot_touch(pl, r->base.slot);
  bdl_slot_touch(pl, r->index.slot);
}

bdl_status bdl_block_push(bdl_blockplan *b, const bdl_inst *inst) {
  b->pl->position++;
  return BDL_PUSH(b->pl->plan->ctx, b->insts, *inst) ? BDL_OK : BDL_ENOMEM;
}

bdl_status bdl_block_ref(bdl_blockplan *b, bdl_atom x, bdl_ref *out) {
  const bdl_view *v = &b->sched.view.v[x];
  bdl_ref *r = &b->ref[v->base];
  if (v->row >= 0) return bdl_plan_row(b, v, out);
  if (r->slot < 0 && b->in_rows[v->base]) TRY(bdl_plan_row(b, b->in_rows[v->base], r));
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

bdl_status bdl_block_copy(bdl_blockplan *b, bdl_ref dst, bdl_ref src, size_t bytes, bdl_src where) {
  if (bytes == 0 || bdl_ref_same(dst, src)) return BDL_OK;
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
      if (from >= 0) TRY(bdl_block_copy(b, i.kernel.out[k], i.kernel.in[from], bdl_aval_bytes(&i.kernel.in_aval[from]), e->src));
    }
    for (int k = 0; k < e->n_in; k++) bdl_slot_touch(b->pl, i.kernel.in[k].slot);
    for (int k = 0; k < e->n_out; k++) bdl_slot_touch(b->pl, i.kernel.out[k].slot);
  }
  if (bdl_plan_is_in_rows(b, e)) return BDL_OK;
  size_t scratch = l->scratch ? l->scratch(e->params, i.kernel.in_aval, e->n_in, i.kernel.out_aval) : 0;
  if (scratch) {
    TRY(bdl_slot_new(b->pl, BDL_S_ARENA, BDL_BOOL, scratch, &i.kernel.scratch));
    bdl_slot_touch(b->pl, i.kernel.scratch);
  }
  TRY(prepare(plan, l->prepare, &i));
  return bdl_block_push(b, &i);
}

/* ---- blocks -------------------------------------------------------------------------------------- */

static bdl_status emit(bdl_blockplan *b, const bdl_ref *in, const bdl_target *targets, bool *inplace) {
  const bdl_prog *p = b->prog;
  for (int64_t v = 0; v < p->vars.n; v++) b->ref[v].slot = b->rows[v] = -1;
  for (int64_t i = 0; i < p->inputs.n; i++) b->ref[p->inputs.v[i]] = in[i];
  bdl_plan_place(b, targets, inplace);
  for (int32_t n = (int32_t)b->sched.nodes.n - 1; n >= 0; n--) {
    const bdl_eqn *e = &p->eqns.v[b->sched.nodes.v[n].eqns.v[0]];
    if (e->prim == BDL_P_scan) TRY(bdl_plan_keep_rows(b, e));
    if (e->prim == BDL_P_scan || e->prim == BDL_P_while) TRY(bdl_plan_start_at_home(b, targets, n, e));
  }
  TRY(bdl_plan_rows(b));
  for (int64_t n = 0; n < b->sched.nodes.n; n++) {
    const bdl_node *node = &b->sched.nodes.v[n];
    const bdl_eqn *e = &p->eqns.v[node->eqns.v[0]];
    bdl_status s;
    if (node->group) s = bdl_plan_group(b, node);
    else if (e->prim == BDL_P_scan) s = bdl_plan_scan(b, e);
    else if (e->prim == BDL_P_while) s = bdl_plan_while(b, e);
    else if (e->prim == BDL_P_cond) s = bdl_plan_cond(b, e);
    else if (e->prim == BDL_P_transposed) s = bdl_fail(p->ctx, BDL_ENOTSUP, "forward differentiation of a custom_vjp function is not supported");
    else s = kernel(b, e);
    if (s != BDL_OK) {
      bdl_where(b->pl->plan->ctx, e->src);
      return s;
    }
  }
  return bdl_plan_bring_home(b, targets);
}

bdl_status bdl_plan_block(bdl_planner *pl, const bdl_prog *p, const bdl_ref *in, const bdl_target *targets, bool *inplace, bdl_block *out) {
  bdl_context *c = pl->plan->ctx;
  bdl_blockplan b = {.pl = pl, .prog = p};
  TRY(bdl_schedule_new(&b.sched, p, !c->unfused));
  size_t n = (size_t)p->vars.n + 1;
  b.ref = bdl_calloc(c, n * sizeof *b.ref);
  b.rows = bdl_calloc(c, n * sizeof *b.rows);
  b.late = bdl_calloc(c, n);
  b.in_rows = bdl_calloc(c, n * sizeof *b.in_rows);
  bdl_status s = b.ref && b.rows && b.late && b.in_rows ? emit(&b, in, targets, inplace) : BDL_ENOMEM;
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
  bdl_free(c, b.in_rows, n * sizeof *b.in_rows);
  BDL_VEC_FREE(c, b.rows_at);
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
  TRY(bdl_plan_block(&pl, p, in, t, plan->inplace, &plan->block));
  TRY(lay_out(plan));
  plan->n_insts = number(&plan->block, NULL, 0);
  plan->by_id = bdl_arena_alloc(&plan->arena, (size_t)(plan->n_insts + 1) * sizeof *plan->by_id);
  if (!plan->by_id) return BDL_ENOMEM;
  number(&plan->block, plan->by_id, 0);
  int loops = 0, others = 0;
  for (int32_t i = 0; i < plan->block.n; i++) {
    bdl_inst_kind k = plan->block.v[i].kind;
    if (k == BDL_I_SCAN || k == BDL_I_WHILE) loops++;
    else if (k != BDL_I_COPY && k != BDL_I_ROW) others++;
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
  if (plan->gpu) plan->drop_gpu(plan);
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

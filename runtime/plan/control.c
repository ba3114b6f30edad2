/*
** control.c -- loops and branches: where a carry and the rows of a loop are, and what a loop keeps alive.
*/
#include <string.h>

#include "plan/build.h"

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
  TRY(bdl_block_copy(b, first_row(e, rows, bytes), init, (size_t)bytes, e->src));
  *old = (struct bdl_moving){.base = {rows, i->scan.reverse ? bytes : 0}, .step = bytes};
  *new = (struct bdl_moving){.base = {rows, i->scan.reverse ? 0 : bytes}, .step = bytes, .next = -1};
  TRY(bdl_slot_over(b->pl, BDL_S_MOVING, a->dtype, (size_t)bytes, rows, &old->slot));
  TRY(bdl_slot_over(b->pl, BDL_S_MOVING, a->dtype, (size_t)bytes, rows, &new->slot));
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
    if (i && b->rows[e->out[k]] >= 0) {
      TRY(carry_in_rows(b, e, k, i, in, &targets[k]));
      continue;
    }
    TRY(bdl_block_ref(b, e->in[first + k], &init));
    TRY(bdl_block_ref(b, e->out[k], &home));
    TRY(bdl_block_copy(b, home, init, bdl_aval_bytes(bdl_aval_of(b->prog, e->out[k])), e->src));
    in[first + k] = home;
    targets[k] = (bdl_target){home, first + k, true};
  }
  for (int k = 0; k < n; k++) bdl_slot_touch(b->pl, in[first + k].slot);
  return BDL_OK;
}

bdl_status bdl_plan_scan(bdl_blockplan *b, const bdl_eqn *e) {
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
    while (!operand && over < i.scan.n_moving && !bdl_ref_same(i.scan.moving[over].base, m->base)) over++;
    if (!operand && over < n_kept + n_rows) {
      const bool kept = over < n_kept;
      targets[k - e->n_in + n_carry] = (bdl_target){{i.scan.moving[over].slot, 0}, kept ? -1 : n_consts + n_carry + over - n_kept, !kept};
      continue;
    }
    i.scan.n_moving++;
    TRY(bdl_slot_over(b->pl, BDL_S_MOVING, bdl_aval_of(body, slice)->dtype, bytes, m->base.slot, &m->slot));
    if (operand) in[k] = (bdl_ref){m->slot, 0};
    else targets[k - e->n_in + n_carry] = (bdl_target){{m->slot, 0}, -1, false};
  }
  for (int k = 0; k < n_consts; k++) bdl_slot_touch(b->pl, in[k].slot);
  b->pl->position++;
  TRY(bdl_plan_block(b->pl, body, in, targets, NULL, &i.scan.body));
  for (int k = 0; k < i.scan.n_moving; k++) bdl_slot_touch(b->pl, i.scan.moving[k].base.slot);
  for (int k = 0; k < n_carry; k++) bdl_slot_touch(b->pl, targets[k].ref.slot);
  TRY(bdl_plan_tiled(b->pl, &i, begin));
  outlive(b->pl, begin);
  TRY(bdl_block_push(b, &i));
  for (int k = 0; k < n_carry; k++) {
    const size_t bytes = bdl_aval_bytes(bdl_aval_of(b->prog, e->out[k]));
    if (b->rows[e->out[k]] >= 0) TRY(bdl_block_copy(b, b->ref[e->out[k]], last_row(e, b->rows[e->out[k]], (int64_t)bytes), bytes, e->src));
  }
  return BDL_OK;
}

bdl_status bdl_plan_while(bdl_blockplan *b, const bdl_eqn *e) {
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
  TRY(bdl_plan_block(b->pl, e->params[2].progs[0], cin, &pred, NULL, &i.loop.cond));
  TRY(bdl_plan_block(b->pl, e->params[2].progs[1], in + n_cond, targets, NULL, &i.loop.body));
  for (int k = 0; k < n_carry; k++) bdl_slot_touch(b->pl, targets[k].ref.slot);
  outlive(b->pl, begin);
  return bdl_block_push(b, &i);
}

bdl_status bdl_plan_cond(bdl_blockplan *b, const bdl_eqn *e) {
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
  for (int k = 0; k < i.cond.n; k++) TRY(bdl_plan_block(b->pl, e->params[0].progs[k], in + 1, targets, NULL, &i.cond.branches[k]));
  for (int k = 0; k < e->n_in; k++) bdl_slot_touch(b->pl, in[k].slot);
  for (int k = 0; k < e->n_out; k++) bdl_slot_touch(b->pl, targets[k].ref.slot);
  outlive(b->pl, begin);
  return bdl_block_push(b, &i);
}

/* ---- beforehand: where loops will have their carry ------------------------------------------------ */

/* A carry whose values at all steps are wanted, too, before a step or behind it, stays in their rows: these are one row more than steps,
** and neither the carry nor a result is copied.  As somebody reads the rows, an interrupted loop leaves no State in them (loop_only). */
bdl_status bdl_plan_keep_rows(bdl_blockplan *b, const bdl_eqn *e) {
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
bdl_status bdl_plan_start_at_home(bdl_blockplan *b, const bdl_target *t, int32_t node, const bdl_eqn *e) {
  const bdl_schedule *s = &b->sched;
  const int first = e->prim == BDL_P_scan ? (int)e->params[0].i : (int)(e->params[0].i + e->params[1].i);
  const int n = e->prim == BDL_P_scan ? (int)e->params[1].i : e->n_out;
  for (int k = 0; k < n; k++) {
    const bdl_view *v = &s->view.v[e->in[first + k]];
    const bdl_atom x = v->base, z = e->out[k];
    int uses = 0;
    for (int i = 0; i < e->n_in; i++) uses += s->view.v[e->in[i]].base == x;
    if (uses != 1 || !v->whole || b->prog->vars.v[x].kind != BDL_V_EQN || b->ref[x].slot >= 0) continue;
    if (s->last_use[x] != node || (b->rows[z] < 0 && bdl_plan_is_shared(b, t, z))) continue;
    const bdl_aval *type = bdl_aval_of(b->prog, z);
    if (b->ref[z].slot < 0) TRY(bdl_slot_new(b->pl, BDL_S_ARENA, type->dtype, bdl_aval_bytes(type), &b->ref[z].slot));
    b->ref[x] = b->rows[z] < 0 ? b->ref[z] : first_row(e, b->rows[z], (int64_t)bdl_aval_bytes(type));
  }
  return BDL_OK;
}

/*
** emit.c -- the instructions of a plan as C: blocks, loops, branches, copies.  Groups are in emit_group.c.
**
** Instruction k becomes `static int f<k>(bdl_native *N, int64_t t)`, after those of its body, so that the compiler may put the
** body of a time loop into the loop.  Of a loop that goes tile by tile, one group has t<k> and r<k> besides.  F is the frame.
*/
#include "exec/emit.h"

#include <inttypes.h>

#define ADD(...) bdl_str_addf(&e->text, __VA_ARGS__)

static bdl_status functions(const bdl_plan *plan, const bdl_block *b, int depth, bool *has, bdl_emitted *e);

/* The pointer at r. */
static void place(bdl_emitted *e, bdl_ref r) { ADD("F[%" PRId32 "] + %" PRId64, r.slot, r.offset); }

static void statement(const bdl_plan *plan, const bdl_inst *i, const bool *has, int indent, bdl_emitted *e) {
  if (i->kind == BDL_I_COPY) {
    ADD("%*sif (", indent, "");
    place(e, i->copy.dst), ADD(" != "), place(e, i->copy.src);
    ADD(") __builtin_memmove("), place(e, i->copy.dst), ADD(", "), place(e, i->copy.src);
    ADD(", %zu);\n", i->copy.bytes);
  } else if (i->kind == BDL_I_ROW) {
    const bdl_row *r = plan->slots.v[i->row].row;
    ADD("%*s{\n%*s  int32_t k;\n%*s  __builtin_memcpy(&k, ", indent, "", indent, "", indent, ""), place(e, r->index);
    ADD(", 4);\n%*s  F[%" PRId32 "] = ", indent, "", i->row), place(e, r->base);
    ADD(" + (k < 0 ? (int64_t)0 : k > %" PRId64 " ? (int64_t)%" PRId64 " : (int64_t)k) * %" PRId64 ";\n%*s}\n", r->last, r->last, r->step, indent, "");
  } else if (has[i->id]) ADD("%*sif ((e = f%" PRId32 "(N, 0))) return e;\n", indent, "", i->id);
  else ADD("%*sif ((e = N->run(N, %" PRId32 "))) return e;\n", indent, "", i->id);
}

static void statements(const bdl_plan *plan, const bdl_block *b, const bool *has, int indent, bdl_emitted *e) {
  for (int32_t k = 0; k < b->n; k++) statement(plan, &b->v[k], has, indent, e);
}

static void step_made(const bdl_inst *i, int depth, const char *done, bdl_emitted *e) {
  ADD("    if (*N->interrupted | N->reporting)\n      if ((e = N->stepped(N, %" PRId32 ", %d, %s))) return e;\n", i->id, depth, done);
}

static void open(const bdl_inst *i, bdl_emitted *e) {
  ADD("static int f%" PRId32 "(bdl_native *N, int64_t t) {\n  char **const F = N->frame;\n  int e = 0;\n  (void)F, (void)e, (void)t;\n", i->id);
}

/* The rows of step t. */
static void move(const bdl_inst *i, bdl_emitted *e) {
  for (int32_t k = 0; k < i->scan.n_moving; k++) {
    const struct bdl_moving *m = &i->scan.moving[k];
    ADD("    F[%" PRId32 "] = ", m->slot), place(e, m->base);
    if (i->scan.reverse) ADD(" + (%" PRId64 " - t) * %" PRId64 ";\n", i->scan.length - 1, m->step);
    else ADD(" + t * %" PRId64 ";\n", m->step);
  }
}

/* Many steps at a time, in the order that plan/tiled.c gives. */
static void tile_by_tile(const bdl_plan *plan, const bdl_inst *i, int depth, const bool *has, bdl_emitted *e) {
  const bdl_tiled *d = i->scan.tiled;
  const bdl_block *b = &i->scan.body;
  const int32_t id = b->v[d->group].id;
  ADD("  for (int64_t from = t, to; from < %" PRId64 "; from = to) {\n    to = from + %" PRId64 " < %" PRId64 " ? from + %" PRId64 " : %" PRId64 ";\n",
      i->scan.length, d->steps, i->scan.length, d->steps, i->scan.length);
  ADD("    for (t = from; t < to; t++) {\n");
  move(i, e);
  for (int32_t k = 0; k < b->n; k++) {
    if (d->first[k]) statement(plan, &b->v[k], has, 4, e);
    for (int32_t j = 0; k == d->group && j < d->n_notes; j++) {
      ADD("    __builtin_memcpy(F[%" PRId32 "] + (t - from) * %" PRId64 ", ", d->notes[j].slot, d->notes[j].bytes);
      place(e, d->notes[j].from), ADD(", %" PRId64 ");\n", d->notes[j].bytes);
    }
  }
  ADD("    }\n    N->from = from, N->to = to;\n    t%" PRId32 "(N);\n    for (t = from; t < to; t++) {\n", id);
  move(i, e);
  for (int32_t k = 0; k < b->n; k++) {
    if (k == d->group) ADD("    r%" PRId32 "(N, t);\n", id);
    else if (!d->first[k] && !d->taken[k]) statement(plan, &b->v[k], has, 4, e);
  }
  ADD("    }\n");
  step_made(i, depth, "to", e);
  ADD("  }\n  return 0;\n}\n");
}

static bdl_status scan(const bdl_plan *plan, const bdl_inst *i, int depth, bool *has, bdl_emitted *e) {
  bool tiled = false;
  TRY(functions(plan, &i->scan.body, depth + 1, has, e));
  if (i->scan.tiled) TRY(bdl_emit_steps(plan, &i->scan.body.v[i->scan.tiled->group], i, e, &tiled));
  open(i, e);
  if (tiled) {
    tile_by_tile(plan, i, depth + 1, has, e);
    return BDL_OK;
  }
  ADD("  for (; t < %" PRId64 "; t++) {\n", i->scan.length);
  move(i, e);
  statements(plan, &i->scan.body, has, 4, e);
  step_made(i, depth + 1, "t + 1", e);
  ADD("  }\n  return 0;\n}\n");
  return BDL_OK;
}

static bdl_status while_loop(const bdl_plan *plan, const bdl_inst *i, int depth, bool *has, bdl_emitted *e) {
  TRY(functions(plan, &i->loop.cond, depth + 1, has, e));
  TRY(functions(plan, &i->loop.body, depth + 1, has, e));
  open(i, e);
  ADD("  for (;; t++) {\n");
  statements(plan, &i->loop.cond, has, 4, e);
  ADD("    if (!*("), place(e, i->loop.pred), ADD(")) return 0;\n");
  statements(plan, &i->loop.body, has, 4, e);
  step_made(i, depth + 1, "t + 1", e);
  ADD("  }\n}\n");
  return BDL_OK;
}

static bdl_status cond(const bdl_plan *plan, const bdl_inst *i, int depth, bool *has, bdl_emitted *e) {
  for (int32_t k = 0; k < i->cond.n; k++) TRY(functions(plan, &i->cond.branches[k], depth, has, e));
  open(i, e);
  ADD("  int32_t index;\n  __builtin_memcpy(&index, "), place(e, i->cond.index);
  ADD(", 4);\n  switch (index < 0 ? 0 : index > %" PRId32 " ? %" PRId32 " : index) {\n", i->cond.n - 1, i->cond.n - 1);
  for (int32_t k = 0; k < i->cond.n; k++) {
    ADD("    case %" PRId32 ":\n", k);
    statements(plan, &i->cond.branches[k], has, 6, e);
    ADD("      break;\n");
  }
  ADD("  }\n  return 0;\n}\n");
  return BDL_OK;
}

static bdl_status functions(const bdl_plan *plan, const bdl_block *b, int depth, bool *has, bdl_emitted *e) {
  for (int32_t k = 0; k < b->n; k++) {
    const bdl_inst *i = &b->v[k];
    bool done = true;
    switch (i->kind) {
      case BDL_I_GROUP: TRY(bdl_emit_group(plan, i, e, &done)); break;
      case BDL_I_SCAN: TRY(scan(plan, i, depth, has, e)); break;
      case BDL_I_WHILE: TRY(while_loop(plan, i, depth, has, e)); break;
      case BDL_I_COND: TRY(cond(plan, i, depth, has, e)); break;
      default: done = false;
    }
    has[i->id] = done;
    e->functions += done;
  }
  return e->text.failed ? BDL_ENOMEM : BDL_OK;
}

bdl_status bdl_emit_plan(const bdl_plan *plan, bdl_emitted *e) {
  bdl_context *c = plan->ctx;
  *e = (bdl_emitted){0};
  bdl_str_init(&e->text, c);
  bool *has = bdl_calloc(c, (size_t)plan->n_insts + 1);
  bdl_status s = has ? functions(plan, &plan->block, 0, has, e) : BDL_ENOMEM;
  if (s == BDL_OK) {
    ADD("static const bdl_native_fn fns[] = {");
    for (int32_t k = 0; k < plan->n_insts; k++)
      if (has[k]) ADD("%sf%" PRId32 ",", k % 16 ? " " : "\n  ", k);
      else ADD("%s0,", k % 16 ? " " : "\n  ");
    ADD(" 0};\nextern const bdl_native_code BDL_PROGRAM;\nconst bdl_native_code BDL_PROGRAM = {%" PRId32 ", fns};\n", plan->n_insts);
    if (e->text.failed) s = BDL_ENOMEM;
  }
  bdl_free(c, has, (size_t)plan->n_insts + 1);
  if (s != BDL_OK) bdl_emit_free(e, c);
  return s;
}

void bdl_emit_free(bdl_emitted *e, bdl_context *c) {
  bdl_str_fini(&e->text);
  BDL_VEC_FREE(c, e->link);
}

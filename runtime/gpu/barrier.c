/*
** barrier.c -- where barriers stand: in front of an instruction that touches memory which an earlier one, since the last barrier,
** wrote, or that writes what one read.  Two loops over as many elements need none for what both do at the same element: one thread
** has it in both: which one follows from their number alone (group.c).
*/
#include "gpu/program.h"

enum { ARENA, ROOM, OPERAND, RESULT }; /* spaces */

typedef struct toucher {
  bdl_exporter *m;
  bdl_gpu_touches *pending;
  bool conflict, note; /* looks for one; notes */
  bdl_status status;
} toucher;

static bool overlap(const bdl_gpu_touch *a, const bdl_gpu_touch *b) { return a->lo < b->hi && b->lo < a->hi; }

/* May a result be written over an operand?  Then it has as many bytes. */
static bool may_be_one(const bdl_exporter *m, const bdl_gpu_touch *a, const bdl_gpu_touch *b) {
  return m->plan->slots.v[a->slot].bytes == m->plan->slots.v[b->slot].bytes && overlap(a, b);
}

static bool same_memory(const bdl_exporter *m, const bdl_gpu_touch *a, const bdl_gpu_touch *b) {
  if (a->space <= ROOM || b->space <= ROOM) return a->space == b->space && overlap(a, b);
  if (a->space == b->space) return a->slot == b->slot && overlap(a, b);
  return may_be_one(m, a, b);
}

static bool conflicts(const bdl_exporter *m, const bdl_gpu_touch *a, const bdl_gpu_touch *b) {
  if (!(a->write || b->write) || !same_memory(m, a, b)) return false;
  return !(a->n && a->n == b->n && a->size == b->size && a->lo == b->lo);
}

static void visit(toucher *t, bdl_gpu_touch x) {
  if (t->note) {
    if (t->status == BDL_OK && !BDL_PUSH(t->m->c, *t->pending, x)) t->status = BDL_ENOMEM;
    return;
  }
  for (int64_t k = 0; k < t->pending->n && !t->conflict; k++) t->conflict = conflicts(t->m, &t->pending->v[k], &x);
}

/* bytes < 0: all of the slot. */
static void touch(toucher *t, bdl_ref r, int64_t bytes, int64_t n, int32_t size, bool write) {
  const bdl_plan *plan = t->m->plan;
  const int32_t base = bdl_plan_base(plan, r.slot);
  const bool rows = base != r.slot; /* of rows: all of them */
  if (rows) r = (bdl_ref){base, 0};
  const bdl_pslot *s = &plan->slots.v[r.slot];
  bdl_gpu_touch x = {.slot = r.slot, .lo = bytes < 0 ? 0 : r.offset, .hi = rows || bytes < 0 ? (int64_t)s->bytes : r.offset + bytes, .size = size, .write = write};
  if (s->kind == BDL_S_CONST || s->kind == BDL_S_LITERAL) return;
  x.n = rows ? 0 : n;
  x.space = s->kind == BDL_S_INPUT ? OPERAND : s->kind == BDL_S_OUTPUT ? RESULT : t->m->at[r.slot] < 0 ? ROOM : ARENA;
  if (x.space == ARENA) x.lo += (int64_t)s->offset, x.hi += (int64_t)s->offset;
  if (x.space == ROOM) x.lo = 0, x.hi = INT64_MAX;
  visit(t, x);
}

static void touch_group(toucher *t, const bdl_group *g) {
  int64_t n = g->n;
  for (int32_t k = 0; k < g->n_insts; k++)
    if (g->insts[k].kind == BDL_T_REDUCE) n = 0; /* goes over tiles */
  for (int32_t k = 0; k < g->n_insts; k++) {
    const bdl_tile_inst *i = &g->insts[k];
    const int32_t operand[] = {i->z, i->x, i->y, i->w};
    for (int j = 0; j < 4; j++) {
      if (!bdl_group_in_memory(g, operand[j]) || (i->kind == BDL_T_LOAD && j > 0)) continue;
      const bdl_operand *o = &g->operands[operand[j]];
      const bool write = j == 0 || (bdl_tile_is_root(i) && j == 2), each = o->kind == BDL_O_ARRAY && !(bdl_tile_is_root(i) && j != 1);
      const bool keys = i->kind == BDL_T_OP && i->op == BDL_TILE_random_bits && j == 1;
      touch(t, o->ref, each ? g->n * o->size : o->kind == BDL_O_SCALAR && !keys ? o->size : -1, each ? n : 0, o->size, write);
    }
    if (i->kind == BDL_T_LOAD) touch(t, i->load->ref, -1, 0, 0, false);
    if (i->kind == BDL_T_COMPACT) visit(t, (bdl_gpu_touch){.space = ROOM, .hi = INT64_MAX, .write = true});
  }
}

static void touch_inst(toucher *t, const bdl_inst *i) {
  if (i->kind == BDL_I_GROUP) touch_group(t, i->group);
  else if (i->kind == BDL_I_COPY) {
    touch(t, i->copy.src, (int64_t)i->copy.bytes, 0, 0, false);
    touch(t, i->copy.dst, (int64_t)i->copy.bytes, 0, 0, true);
  } else if (i->kind == BDL_I_ROW) {
    touch(t, t->m->plan->slots.v[i->row].row->index, (int64_t)sizeof(int32_t), 0, 0, false);
  } else {
    for (int32_t k = 0; k < i->kernel.n_in; k++) touch(t, i->kernel.in[k], (int64_t)bdl_aval_bytes(&i->kernel.in_aval[k]), 0, 0, false);
    for (int32_t k = 0; k < i->kernel.n_out; k++) touch(t, i->kernel.out[k], (int64_t)bdl_aval_bytes(&i->kernel.out_aval[k]), 0, 0, true);
    visit(t, (bdl_gpu_touch){.space = ROOM, .hi = INT64_MAX, .write = true});
  }
}

void bdl_gpu_settle(bdl_exporter *m, bdl_gpu_touches *pending, int indent) {
  if (pending->n) bdl_export_sync(m, indent);
  pending->n = 0;
}

bdl_status bdl_gpu_before(bdl_exporter *m, bdl_gpu_touches *pending, const bdl_inst *i, int indent) {
  toucher t = {.m = m, .pending = pending};
  touch_inst(&t, i);
  if (t.conflict) bdl_gpu_settle(m, pending, indent);
  t.note = true;
  touch_inst(&t, i);
  return t.status;
}

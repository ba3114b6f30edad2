/*
** emit_memory.c -- what stands before the loops of a group: where its operands are, scalars, buffers.
**
** Where a tile makes many steps (plan/tiled.c), part of that changes from step to step (`varying`), and the rest stands before all.
*/
#include "exec/emit_group.h"

enum { STREAMED = 1 << 14, FEW = 16 }; /* elements: which come from far; which have room in registers */

#define ADD(...) bdl_str_addf(&m->e->text, __VA_ARGS__)

/* In a loop tile by tile: what is elsewhere at each step. */
static const struct bdl_moving *moving_at(const bdl_emitter *m, bdl_ref r) {
  for (int32_t k = 0; m->scan && k < m->scan->scan.n_moving; k++)
    if (m->scan->scan.moving[k].slot == r.slot) return &m->scan->scan.moving[k];
  return NULL;
}

static const struct bdl_note *note_of(const bdl_emitter *m, bdl_ref r) {
  for (int32_t k = 0; m->scan && k < m->scan->scan.tiled->n_notes; k++) {
    const struct bdl_note *n = &m->scan->scan.tiled->notes[k];
    if (n->from.slot == r.slot && n->from.offset == r.offset) return n;
  }
  return NULL;
}

static bool varies(const bdl_emitter *m, bdl_ref r) { return moving_at(m, r) || note_of(m, r); }

static void address(bdl_emitter *m, bdl_ref r) {
  const struct bdl_moving *move = moving_at(m, r);
  const struct bdl_note *note = note_of(m, r);
  if (move) {
    ADD("F[%" PRId32 "] + %" PRId64 " + ", move->base.slot, move->base.offset + r.offset);
    if (m->scan->scan.reverse) ADD("(%" PRId64 " - t) * %" PRId64, m->scan->scan.length - 1, move->step);
    else ADD("t * %" PRId64, move->step);
  } else if (note) ADD("F[%" PRId32 "] + (t - t0) * %" PRId64, note->slot, note->bytes);
  else ADD("F[%" PRId32 "] + %" PRId64, r.slot, r.offset);
}

/* Of few elements, what stays from step to step is in variables of the function, which the compiler keeps in registers. */
static bool is_local(const bdl_emitter *m, int32_t h) {
  const bdl_operand *o = bdl_emit_operand(m, h);
  return m->scan && m->g->n <= FEW && o->kind == BDL_O_ARRAY && !varies(m, o->ref);
}

/* The first operand of that memory. */
static int32_t local_of(const bdl_emitter *m, int32_t h) {
  const bdl_ref r = bdl_emit_operand(m, h)->ref;
  int32_t j = 0;
  while (!is_local(m, j) || bdl_emit_operand(m, j)->ref.slot != r.slot || bdl_emit_operand(m, j)->ref.offset != r.offset) j++;
  return j;
}

static void read_locals(bdl_emitter *m) {
  for (int32_t h = 0; h < m->g->n_operands; h++) m->loaded[h] = false;
  for (int32_t k = 0; k < m->g->n_insts; k++) {
    const bdl_tile_inst *t = &m->g->insts[k];
    for (int j = -1; j < bdl_tile_arity(m->g, t); j++) {
      const int32_t h = j < 0 ? t->z : bdl_tile_operand(t, j);
      if (!is_local(m, h) || local_of(m, h) != h || m->loaded[h]) continue;
      const bdl_ref r = bdl_emit_operand(m, h)->ref;
      m->loaded[h] = true;
      ADD("  %s m%" PRId32 "[%" PRId64 "];\n", bdl_emit_memory(j < 0 ? (bdl_dtype)t->result : bdl_tile_dtype(t, j)), h, m->g->n);
      ADD("  __builtin_memcpy(m%" PRId32 ", F[%" PRId32 "] + %" PRId64 ", sizeof m%" PRId32 ");\n", h, r.slot, r.offset, h);
    }
  }
}

void bdl_emit_write_locals(bdl_emitter *m) {
  for (int32_t k = 0; k < m->g->n_insts; k++) {
    const int32_t h = m->g->insts[k].z;
    if (!is_local(m, h)) continue;
    const bdl_ref r = bdl_emit_operand(m, h)->ref;
    ADD("  __builtin_memcpy(F[%" PRId32 "] + %" PRId64 ", m%" PRId32 ", sizeof m%" PRId32 ");\n", r.slot, r.offset, local_of(m, h), local_of(m, h));
  }
}

static void pointer(bdl_emitter *m, int32_t h, bool varying) {
  if (!bdl_group_in_memory(m->g, h) || m->pointer[h]) return;
  if (varies(m, bdl_emit_operand(m, h)->ref) != varying) return;
  m->pointer[h] = true;
  ADD("  char *const p%" PRId32 " = ", h);
  if (is_local(m, h)) ADD("(char *)m%" PRId32, local_of(m, h));
  else address(m, bdl_emit_operand(m, h)->ref);
  ADD(";\n");
}

static void pointers(bdl_emitter *m, bool varying) {
  for (int32_t h = 0; h < m->g->n_operands; h++) m->pointer[h] = false;
  for (int32_t k = 0; k < m->g->n_insts; k++) {
    const bdl_tile_inst *t = &m->g->insts[k];
    pointer(m, t->z, varying);
    for (int j = 0; j < 3; j++) pointer(m, bdl_tile_operand(t, j), varying);
    if (t->kind != BDL_T_LOAD || varies(m, t->load->ref) != varying) continue;
    ADD("  const char *const l%" PRId32 " = ", k), address(m, t->load->ref), ADD(";\n");
  }
}

static void literal(bdl_emitter *m, bdl_dtype d, bdl_scalar s) {
  switch (d) {
    case BDL_BOOL: ADD("%d", s.b); break;
    case BDL_I32: ADD("(int32_t)%" PRIu32 "u", (uint32_t)s.i32); break;
    case BDL_I64: ADD("(int64_t)%" PRIu64 "ull", (uint64_t)s.i64); break;
    case BDL_U32: ADD("%" PRIu32 "u", s.u32); break;
    case BDL_F32: ADD("floats_f32(0x%" PRIx32 "u)", s.u32); break;
    default: ADD("floats_f64(0x%" PRIx64 "ull)", s.bits);
  }
}

/* Every scalar, once: a constant where the plan knows it.  A scalar of a loop's carry may be written by the group's own result, so
** it is read before. */
static void scalars(bdl_emitter *m, bool varying) {
  for (int32_t h = 0; h < m->g->n_operands; h++) m->loaded[h] = false;
  for (int32_t k = 0; k < m->g->n_insts; k++) {
    const bdl_tile_inst *t = &m->g->insts[k];
    for (int j = 0; j < bdl_tile_arity(m->g, t); j++) {
      const int32_t h = bdl_tile_operand(t, j);
      const bdl_operand *o = bdl_emit_operand(m, h);
      if (m->v[k].src[j] >= 0 || o->kind != BDL_O_SCALAR || m->loaded[h] || varies(m, o->ref) != varying) continue;
      const bdl_dtype d = bdl_tile_dtype(t, j);
      const bdl_pslot *s = &m->plan->slots.v[o->ref.slot];
      m->loaded[h] = true;
      ADD("  const %s c%" PRId32 " = ", bdl_emit_ctype(d), h);
      if (s->kind == BDL_S_LITERAL) literal(m, d, s->literal);
      else ADD("*(const %s *)p%" PRId32, bdl_emit_memory(d), h);
      ADD(";\n");
    }
  }
}

static void declare_buffers(bdl_emitter *m) {
  for (int32_t k = 0; k < m->g->n_insts; k++) {
    const bdl_tile_inst *t = &m->g->insts[k];
    if (!m->v[k].buffered) continue;
    ADD("  %s b%" PRId32 "[%d] __attribute__((aligned(64)));\n", bdl_emit_memory((bdl_dtype)t->result), k,
        BDL_TILE + BDL_PAD / (int)bdl_dtype_size((bdl_dtype)t->result));
  }
}

static void fill_splats(bdl_emitter *m, bool varying) {
  for (int32_t k = 0; k < m->g->n_insts; k++) {
    const int32_t x = m->g->insts[k].x;
    if (m->v[k].how == BDL_E_SPLAT && m->v[k].buffered && varies(m, bdl_emit_operand(m, x)->ref) == varying)
      ADD("  for (int i = 0; i < %d; i++) b%" PRId32 "[i] = c%" PRId32 ";\n", BDL_TILE, k, x);
  }
}

void bdl_emit_prologue(bdl_emitter *m, bool varying) {
  if (!varying) read_locals(m);
  pointers(m, varying);
  scalars(m, varying);
  if (!varying) declare_buffers(m);
  fill_splats(m, varying);
}

/* While a tile makes its steps, the next one comes from memory: the processor sees streams that go on, not their beginnings. */
void bdl_emit_prefetch(bdl_emitter *m) {
  if (m->g->n < STREAMED) return;
  for (int32_t h = 0; h < m->g->n_operands; h++) {
    const bdl_operand *o = bdl_emit_operand(m, h);
    bool twice = o->kind != BDL_O_ARRAY || varies(m, o->ref);
    for (int32_t j = 0; j < h; j++) twice |= bdl_emit_operand(m, j)->ref.slot == o->ref.slot && bdl_group_in_memory(m->g, j);
    if (!twice) ADD("  for (int b = 0; b < %d; b += 64) __builtin_prefetch(p%" PRId32 " + e1 * %" PRId32 " + b);\n", BDL_TILE * o->size, h, o->size);
  }
}

void bdl_emit_taken(bdl_emitter *m) {
  const bdl_block *b = &m->scan->scan.body;
  for (int32_t k = 0; k < b->n; k++) {
    if (!m->scan->scan.tiled->taken[k]) continue;
    const bdl_ref src = b->v[k].copy.src, dst = b->v[k].copy.dst;
    int32_t j = 0;
    while (bdl_emit_operand(m, m->g->insts[j].z)->kind != BDL_O_ARRAY || bdl_emit_operand(m, m->g->insts[j].z)->ref.slot != src.slot) j++;
    const int32_t z = m->g->insts[j].z, size = bdl_emit_operand(m, z)->size;
    const int64_t from = (src.offset - bdl_emit_operand(m, z)->ref.offset) / size, to = from + (int64_t)b->v[k].copy.bytes / size;
    ADD("    if (e0 < %" PRId64 " && e1 > %" PRId64 ") {\n", to, from);
    ADD("      const int64_t lo = e0 > %" PRId64 " ? e0 : %" PRId64 ", hi = e1 < %" PRId64 " ? e1 : %" PRId64 ";\n", from, from, to, to);
    ADD("      __builtin_memcpy("), address(m, dst);
    ADD(" + (lo - %" PRId64 ") * %" PRId32 ", p%" PRId32 " + lo * %" PRId32 ", (hi - lo) * %" PRId32 ");\n    }\n", from, size, z, size, size);
  }
}

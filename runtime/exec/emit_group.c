/*
** emit_group.c -- a fused group as C.
**
** What an element needs and C can say goes into loops over the elements, values in variables; the compiler makes vectors of them.
** What it cannot say well (functions of SLEEF, random bits, ..), compactions, and reductions whose order matters, are calls of the
** tile kernels on buffers of one tile.  So a tile is worked on in phases, even ones loops, odd ones calls:
**
**     -1 calls   0 loop   1 calls   2 loop  ..
**
** and a value that another phase reads stands in memory or in a buffer.  A store comes in no earlier phase than the reads that
** stand before it, as it may replace what they read.
**
** Compactions stay calls: in the loop that makes the events they would cost it its vectors.
*/
#include "exec/emit_group.h"

/* Functions like exp are worth a call of their kernel for MANY elements: it interleaves several vectors, compilers do not. */
enum { MANY = 64, SHORT_ROW = 16, STACK_BYTES = 192 * 1024, PARALLEL_WORK = 1 << 20 };

#define ADD(...) bdl_str_addf(&m->e->text, __VA_ARGS__)

bool bdl_emit_at_once(const bdl_emitter *m, int32_t k) {
  const int32_t y = m->g->insts[k].y, slot = bdl_emit_operand(m, y)->ref.slot;
  for (int32_t h = 0; h < m->g->n_operands; h++) /* is what it replaces read here? */
    if (h != y && bdl_group_in_memory(m->g, h) && bdl_emit_operand(m, h)->ref.slot == slot) return false;
  return m->n_tiles == 1;
}

/* ---- phases -------------------------------------------------------------------------------------- */

static bdl_emit_how how_of(const bdl_emitter *m, int32_t k) {
  const bdl_tile_inst *t = &m->g->insts[k];
  if (t->kind == BDL_T_OP && t->op == BDL_TILE_splat) return BDL_E_SPLAT;
  if (t->kind == BDL_T_OP && m->g->n >= MANY && bdl_emit_is_long(t->op)) return BDL_E_CALL;
  if (t->kind == BDL_T_OP) return bdl_emit_inlines(t->op, (bdl_dtype)t->dtype) ? BDL_E_INLINE : BDL_E_CALL;
  if (t->kind == BDL_T_LOAD) return t->load->ndim < 2 || t->load->shape[t->load->ndim - 1] >= SHORT_ROW ? BDL_E_INLINE : BDL_E_CALL;
  return bdl_emit_any_order(m, k) ? BDL_E_INLINE : BDL_E_CALL;
}

/* The first phase of kind h that is not before p. */
static int32_t at_least(bdl_emit_how h, int32_t p) { return h == BDL_E_INLINE ? (p + (p & 1)) : (p & 1 ? p : p + 1); }

static void phases(bdl_emitter *m) {
  int32_t read = -1; /* last phase in which memory is read */
  m->last = -1;
  for (int32_t h = 0; h <= m->g->n_operands; h++) m->def[h] = -1;
  for (int32_t k = 0; k < m->g->n_insts; k++) {
    const bdl_tile_inst *t = &m->g->insts[k];
    bdl_emit_value *v = &m->v[k];
    bool reads = t->kind == BDL_T_LOAD;
    *v = (bdl_emit_value){.src = {-1, -1, -1}};
    for (int j = 0; j < bdl_tile_arity(m->g, t); j++) v->src[j] = m->def[bdl_tile_operand(t, j)];
    bdl_emit_note_range(m, k);
    v->how = how_of(m, k);
    v->phase = v->how == BDL_E_INLINE ? 0 : -1;
    for (int j = 0; j < bdl_tile_arity(m->g, t); j++) {
      const int32_t h = bdl_tile_operand(t, j), s = v->src[j];
      if (s < 0) reads |= bdl_emit_operand(m, h)->kind == BDL_O_ARRAY;
      else if (m->v[s].how != BDL_E_SPLAT) v->phase = BDL_MAX(v->phase, at_least(v->how, m->v[s].phase));
    }
    const bool stores = bdl_tile_is_root(t) ? v->how == BDL_E_CALL : bdl_emit_operand(m, t->z)->kind == BDL_O_ARRAY;
    if (stores) v->phase = BDL_MAX(v->phase, at_least(v->how, read));
    if (reads) read = BDL_MAX(read, v->phase);
    if (!bdl_tile_is_root(t)) m->def[t->z] = k;
    if (v->how != BDL_E_SPLAT) m->last = BDL_MAX(m->last, v->phase);
    m->tiled |= v->how == BDL_E_CALL || bdl_tile_is_root(t);
    if (t->kind == BDL_T_LOAD && v->how == BDL_E_INLINE && t->load->ndim > 1) {
      const int64_t row = t->load->shape[t->load->ndim - 1];
      m->row = m->row ? BDL_MIN(m->row, row) : row;
    }
  }
  m->tiled |= m->last > 0;
}

/* Which values are read in other phases; what that takes of the stack. */
static size_t buffers(bdl_emitter *m) {
  size_t bytes = 0;
  for (int32_t k = 0; k < m->g->n_insts; k++) {
    const bdl_tile_inst *t = &m->g->insts[k];
    if (m->v[k].how == BDL_E_CALL && !bdl_tile_is_root(t)) m->v[k].buffered = true;
    for (int j = 0; j < bdl_tile_arity(m->g, t); j++) {
      const int32_t s = m->v[k].src[j];
      if (s < 0) continue;
      if (m->v[s].how == BDL_E_SPLAT) m->v[s].buffered |= m->v[k].how == BDL_E_CALL;
      else m->v[s].buffered |= m->v[k].how == BDL_E_CALL || m->v[k].phase != m->v[s].phase;
    }
  }
  for (int32_t k = 0; k < m->g->n_insts; k++) {
    const bdl_tile_inst *t = &m->g->insts[k];
    if (m->v[k].how != BDL_E_SPLAT && !bdl_tile_is_root(t) && bdl_group_in_memory(m->g, t->z)) m->v[k].buffered = false; /* it stands where it is stored */
    if (m->v[k].buffered) bytes += BDL_TILE * bdl_dtype_size((bdl_dtype)t->result) + BDL_PAD;
  }
  return bytes;
}

/* ---- a group ------------------------------------------------------------------------------------------------- */

bdl_status bdl_emit_link_data(bdl_emitter *m, const void *data, int32_t *k) {
  *k = (int32_t)m->e->link.n;
  return BDL_PUSH(m->plan->ctx, m->e->link, (void *)(uintptr_t)data) ? BDL_OK : BDL_ENOMEM;
}

bdl_status bdl_emit_link(bdl_emitter *m, void (*f)(void), int32_t *k) { /* POSIX: a pointer to a function is one to an object */
  void *p;
  memcpy(&p, &f, sizeof p);
  return bdl_emit_link_data(m, p, k);
}

/* Tiles first .. last - 1. */
static bdl_status tiles(bdl_emitter *m) {
  const int64_t n = m->g->n;
  ADD("static void %c%" PRId32 "(bdl_native *N, int64_t first, int64_t last) {\n  char **const F = N->frame;\n  (void)F;\n",
      m->scan ? 's' : 'g', m->inst->id);
  if (m->scan) ADD("  const int64_t t0 = N->from, t1 = N->to;\n");
  bdl_emit_prologue(m, false);
  if (m->n_tiles == 1) ADD("  {\n    const int64_t T = 0, e0 = 0, e1 = %" PRId64 ";\n", n);
  else if (m->tiled || m->scan)
    ADD("  for (int64_t T = first; T < last; T++) {\n    const int64_t e0 = T * %d, e1 = T == %" PRId64 " ? %" PRId64 " : e0 + %d;\n",
        BDL_TILE, m->n_tiles - 1, n, BDL_TILE);
  else
    ADD("  {\n    const int64_t e0 = first * %d, e1 = last == %" PRId64 " ? %" PRId64 " : last * %d;\n", BDL_TILE, m->n_tiles, n, BDL_TILE);
  if (m->scan) {
    bdl_emit_prefetch(m);
    ADD("  for (int64_t t = t0; t < t1; t++) {\n");
    bdl_emit_prologue(m, true);
  }
  TRY(bdl_emit_tile(m));
  if (m->scan) bdl_emit_taken(m);
  ADD("%s  }\n", m->scan ? "  }\n" : "");
  bdl_emit_write_locals(m);
  ADD("}\n");
  return BDL_OK;
}

/* Arrays that do not fit the cache of one thread: where most loops of a step divide them, all of them should, as what one thread
** alone goes over comes from the caches of the others, and goes back. */
static int64_t parallel_work(int64_t n) { return n >= 1 << 17 ? PARALLEL_WORK / 4 : PARALLEL_WORK; }

/* The tiles, by several threads where `steps` of them are worth it. */
static void share(bdl_emitter *m, int64_t steps) {
  const char name = m->scan ? 's' : 'g';
  const int32_t id = m->inst->id;
  if (!m->g->serial && m->n_tiles > 1 && m->g->n * m->g->n_insts >= parallel_work(m->g->n) / steps)
    ADD("  if (N->threads > 1) N->share(N, %c%" PRId32 ", %" PRId64 ");\n  else ", name, id, m->n_tiles);
  ADD("  %c%" PRId32 "(N, 0, %" PRId64 ");\n", name, id, m->n_tiles);
}

/* The results of reductions, from those of the tiles, which begin at `row` of them. */
static bdl_status combine(bdl_emitter *m, const char *row) {
  for (int32_t k = 0; k < m->g->n_insts; k++) {
    const bdl_tile_inst *t = &m->g->insts[k];
    int32_t f;
    if (t->kind != BDL_T_REDUCE || (!m->scan && bdl_emit_at_once(m, k))) continue;
    const bdl_ref y = bdl_emit_operand(m, t->y)->ref, z = bdl_emit_operand(m, t->z)->ref;
    const int32_t size = bdl_emit_operand(m, t->z)->size;
    if (m->n_tiles == 1) {
      ADD("  __builtin_memcpy(F[%" PRId32 "] + %" PRId64 ", F[%" PRId32 "] + %" PRId64 " + %s * %" PRId32 ", %" PRId32 ");\n", y.slot, y.offset, z.slot,
          z.offset, row, size, size);
      continue;
    }
    TRY(BDL_LINK(m, t->red.combine, &f));
    ADD("  ((bdl_native_reduce)N->link[%" PRId32 "])(F[%" PRId32 "] + %" PRId64 ", F[%" PRId32 "] + %" PRId64 " + %s * %" PRId64 ", %" PRId64 ");\n", f,
        y.slot, y.offset, z.slot, z.offset, row, m->n_tiles * size, m->n_tiles);
  }
  return BDL_OK;
}

static bdl_status one_step(bdl_emitter *m) {
  TRY(tiles(m));
  ADD("static int f%" PRId32 "(bdl_native *N, int64_t t) {\n  char **const F = N->frame;\n  (void)F, (void)t;\n", m->inst->id);
  for (int32_t k = 0; k < m->g->n_insts; k++)
    if (m->g->insts[k].kind == BDL_T_COMPACT) {
      const bdl_ref y = bdl_emit_operand(m, m->g->insts[k].y)->ref;
      ADD("  *(int32_t *)(F[%" PRId32 "] + %" PRId64 ") = 0;\n", y.slot, y.offset);
    }
  share(m, 1);
  TRY(combine(m, "0"));
  ADD("  return 0;\n}\n");
  return BDL_OK;
}

static bdl_status many_steps(bdl_emitter *m) {
  TRY(tiles(m));
  ADD("static void r%" PRId32 "(bdl_native *N, int64_t t) {\n  char **const F = N->frame;\n  (void)F, (void)t;\n", m->inst->id);
  TRY(combine(m, "(t - N->from)"));
  ADD("}\nstatic void t%" PRId32 "(bdl_native *N) {\n", m->inst->id);
  share(m, m->scan->scan.tiled->steps);
  ADD("}\n");
  return BDL_OK;
}

/* of: a loop for which the group's tiles make many steps; NULL: the group itself. */
static bdl_status emit(const bdl_plan *plan, const bdl_inst *i, const bdl_inst *of, bdl_emitted *e, bool *done) {
  const bdl_group *g = i->group;
  bdl_context *c = plan->ctx;
  const size_t values = (size_t)(g->n_insts + 1) * sizeof(bdl_emit_value), operands = (size_t)g->n_operands + 1;
  bdl_emitter m = {.plan = plan, .inst = i, .g = g, .e = e, .scan = of, .n_tiles = (g->n + BDL_TILE - 1) / BDL_TILE};
  *done = false;
  m.v = bdl_alloc(c, values);
  m.def = bdl_alloc(c, operands * sizeof *m.def);
  m.loaded = bdl_alloc(c, operands);
  m.pointer = bdl_alloc(c, operands);
  bdl_status s = m.v && m.def && m.loaded && m.pointer ? BDL_OK : BDL_ENOMEM;
  if (s == BDL_OK) {
    phases(&m);
    *done = g->n > 0 && buffers(&m) <= STACK_BYTES;
    if (*done) s = of ? many_steps(&m) : one_step(&m);
  }
  bdl_free(c, m.v, values);
  bdl_free(c, m.def, operands * sizeof *m.def);
  bdl_free(c, m.loaded, operands);
  bdl_free(c, m.pointer, operands);
  return s;
}

bdl_status bdl_emit_group(const bdl_plan *plan, const bdl_inst *i, bdl_emitted *e, bool *done) { return emit(plan, i, NULL, e, done); }
bdl_status bdl_emit_steps(const bdl_plan *plan, const bdl_inst *i, const bdl_inst *scan, bdl_emitted *e, bool *done) {
  return emit(plan, i, scan, e, done);
}

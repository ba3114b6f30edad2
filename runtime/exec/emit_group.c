/*
** emit_group.c -- a fused group as C.
**
** What an element needs and C can say goes into loops over the elements, values in variables; the compiler makes vectors of them.
** What it cannot say well (functions of SLEEF, random bits, ..), and reductions and compactions, are calls of the tile kernels on
** buffers of one tile.  So a tile is worked on in phases, even ones loops, odd ones calls:
**
**     -1 calls   0 loop   1 calls   2 loop  ..
**
** and a value that another phase reads stands in memory or in a buffer.  A store comes in no earlier phase than the reads that
** stand before it, as it may replace what they read.
*/
#include "exec/emit.h"

#include <inttypes.h>
#include <string.h>

#include "exec/emit_ops.h"

/* Functions like exp are worth a call of their kernel for MANY elements: it interleaves several vectors, compilers do not. */
enum { MANY = 64, SHORT_ROW = 16, STACK_BYTES = 192 * 1024, PARALLEL_WORK = 1 << 20 };

typedef enum how { INLINE, CALL, SPLAT } how;

typedef struct value {
  how how;
  int32_t phase;
  int32_t src[3];  /* instructions that make its operands; -1: memory */
  bool buffered;
} value;

typedef struct emitter {
  const bdl_plan *plan;
  const bdl_inst *inst;
  const bdl_group *g;
  bdl_emitted *e;
  value *v;       /* [n_insts] */
  int32_t *def;   /* [n_operands + 1] the instruction whose value an operand holds; -1: what is in memory */
  bool *loaded;   /* [n_operands] by loop: its element is in a variable */
  bool *pointer;  /* [n_operands] is there a pointer to it? */
  int32_t last;   /* phase */
  int64_t row;    /* extent of rows that strided loads walk; 0: none */
  bool tiled;
} emitter;

#define ADD(...) bdl_str_addf(&m->e->text, __VA_ARGS__)

static const bdl_operand *operand_of(const emitter *m, int32_t h) { return &m->g->operands[h]; }

/* The k-th operand of t; n_operands: none. */
static int32_t operand_at(const bdl_tile_inst *t, int k) { return k == 0 ? t->x : k == 1 ? t->y : t->w; }

static bdl_dtype dtype_at(const bdl_tile_inst *t, int k) {
  return t->kind == BDL_T_OP && t->op == BDL_TILE_select && k == 0 ? BDL_BOOL : t->dtype;
}

/* How many operands are values of the domain: not the number of integer_pow, the keys of random bits. */
static int n_values(const emitter *m, const bdl_tile_inst *t) {
  if (t->kind == BDL_T_LOAD) return 0;
  if (t->kind != BDL_T_OP) return 1;
  if (t->op == BDL_TILE_iota || t->op == BDL_TILE_random_bits) return 0;
  if (t->op == BDL_TILE_integer_pow || t->op == BDL_TILE_polygamma) return 1;
  int n = 0;
  while (n < 3 && operand_at(t, n) < m->g->n_operands) n++;
  return n;
}

static bool is_root(const bdl_tile_inst *t) { return t->kind == BDL_T_REDUCE || t->kind == BDL_T_COMPACT; }
static bool in_memory(const emitter *m, int32_t h) { return h < m->g->n_operands && operand_of(m, h)->kind != BDL_O_REG; }

/* ---- phases -------------------------------------------------------------------------------------- */

static how how_of(const emitter *m, int32_t k) {
  const bdl_tile_inst *t = &m->g->insts[k];
  if (t->kind == BDL_T_OP && t->op == BDL_TILE_splat) return SPLAT;
  if (t->kind == BDL_T_OP && m->g->n >= MANY && bdl_emit_is_long(t->op)) return CALL;
  if (t->kind == BDL_T_OP) return bdl_emit_inlines(t->op, (bdl_dtype)t->dtype) ? INLINE : CALL;
  if (t->kind == BDL_T_LOAD) return t->load->ndim < 2 || t->load->shape[t->load->ndim - 1] >= SHORT_ROW ? INLINE : CALL;
  return CALL;
}

/* The first phase of kind h that is not before p. */
static int32_t at_least(how h, int32_t p) { return h == INLINE ? (p + (p & 1)) : (p & 1 ? p : p + 1); }

static void phases(emitter *m) {
  int32_t read = -1; /* last phase in which memory is read */
  m->last = -1;
  for (int32_t h = 0; h <= m->g->n_operands; h++) m->def[h] = -1;
  for (int32_t k = 0; k < m->g->n_insts; k++) {
    const bdl_tile_inst *t = &m->g->insts[k];
    value *v = &m->v[k];
    bool reads = t->kind == BDL_T_LOAD;
    *v = (value){.how = how_of(m, k), .src = {-1, -1, -1}};
    v->phase = v->how == INLINE ? 0 : -1;
    for (int j = 0; j < n_values(m, t); j++) {
      const int32_t h = operand_at(t, j), s = v->src[j] = m->def[h];
      if (s < 0) reads |= operand_of(m, h)->kind == BDL_O_ARRAY;
      else if (m->v[s].how != SPLAT) v->phase = BDL_MAX(v->phase, at_least(v->how, m->v[s].phase));
    }
    const bool stores = is_root(t) || operand_of(m, t->z)->kind == BDL_O_ARRAY;
    if (stores) v->phase = BDL_MAX(v->phase, at_least(v->how, read));
    if (reads) read = BDL_MAX(read, v->phase);
    if (!is_root(t)) m->def[t->z] = k;
    if (v->how != SPLAT) m->last = BDL_MAX(m->last, v->phase);
    m->tiled |= v->how == CALL;
    if (t->kind == BDL_T_LOAD && v->how == INLINE && t->load->ndim > 1) {
      const int64_t row = t->load->shape[t->load->ndim - 1];
      m->row = m->row ? BDL_MIN(m->row, row) : row;
    }
  }
  m->tiled |= m->last > 0;
}

/* Which values are read in other phases; what that takes of the stack. */
static size_t buffers(emitter *m) {
  size_t bytes = 0;
  for (int32_t k = 0; k < m->g->n_insts; k++) {
    const bdl_tile_inst *t = &m->g->insts[k];
    if (m->v[k].how == CALL && !is_root(t)) m->v[k].buffered = true;
    for (int j = 0; j < n_values(m, t); j++) {
      const int32_t s = m->v[k].src[j];
      if (s < 0) continue;
      if (m->v[s].how == SPLAT) m->v[s].buffered |= m->v[k].how == CALL;
      else m->v[s].buffered |= m->v[k].how == CALL || m->v[k].phase != m->v[s].phase;
    }
  }
  for (int32_t k = 0; k < m->g->n_insts; k++) {
    const bdl_tile_inst *t = &m->g->insts[k];
    if (m->v[k].how != SPLAT && !is_root(t) && in_memory(m, t->z)) m->v[k].buffered = false; /* it stands where it is stored */
    if (m->v[k].buffered) bytes += BDL_TILE * bdl_dtype_size((bdl_dtype)t->result) + BDL_PAD;
  }
  return bytes;
}

/* ---- pointers and constants ------------------------------------------------------------------------- */

static bdl_status link(emitter *m, void *f, int32_t *k) {
  *k = (int32_t)m->e->link.n;
  return BDL_PUSH(m->plan->ctx, m->e->link, f) ? BDL_OK : BDL_ENOMEM;
}

static void *from_fn(void (*f)(void)) { /* POSIX: a pointer to a function is one to an object */
  void *p;
  memcpy(&p, &f, sizeof p);
  return p;
}
#define LINK(m, f, k) link(m, from_fn((void (*)(void))(f)), k)

static void pointer(emitter *m, int32_t h) {
  if (!in_memory(m, h) || m->pointer[h]) return;
  m->pointer[h] = true;
  ADD("  char *const p%" PRId32 " = F[%" PRId32 "] + %" PRId64 ";\n", h, operand_of(m, h)->ref.slot, operand_of(m, h)->ref.offset);
}

static void pointers(emitter *m) {
  for (int32_t h = 0; h < m->g->n_operands; h++) m->pointer[h] = false;
  for (int32_t k = 0; k < m->g->n_insts; k++) {
    const bdl_tile_inst *t = &m->g->insts[k];
    pointer(m, t->z);
    for (int j = 0; j < 3; j++) pointer(m, operand_at(t, j));
    if (t->kind == BDL_T_LOAD)
      ADD("  const char *const l%" PRId32 " = F[%" PRId32 "] + %" PRId64 ";\n", k, t->load->ref.slot, t->load->ref.offset);
  }
}

static void literal(emitter *m, bdl_dtype d, bdl_scalar s) {
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
static void scalars(emitter *m) {
  for (int32_t h = 0; h < m->g->n_operands; h++) m->loaded[h] = false;
  for (int32_t k = 0; k < m->g->n_insts; k++) {
    const bdl_tile_inst *t = &m->g->insts[k];
    for (int j = 0; j < n_values(m, t); j++) {
      const int32_t h = operand_at(t, j);
      const bdl_operand *o = operand_of(m, h);
      if (m->v[k].src[j] >= 0 || o->kind != BDL_O_SCALAR || m->loaded[h]) continue;
      const bdl_dtype d = dtype_at(t, j);
      const bdl_pslot *s = &m->plan->slots.v[o->ref.slot];
      m->loaded[h] = true;
      ADD("  const %s c%" PRId32 " = ", bdl_emit_ctype(d), h);
      if (s->kind == BDL_S_LITERAL) literal(m, d, s->literal);
      else ADD("*(const %s *)p%" PRId32, bdl_emit_memory(d), h);
      ADD(";\n");
    }
  }
}

static void declare_buffers(emitter *m) {
  for (int32_t k = 0; k < m->g->n_insts; k++) {
    const bdl_tile_inst *t = &m->g->insts[k];
    if (!m->v[k].buffered) continue;
    ADD("  %s b%" PRId32 "[%d] __attribute__((aligned(64)));\n", bdl_emit_memory((bdl_dtype)t->result), k,
        BDL_TILE + BDL_PAD / (int)bdl_dtype_size((bdl_dtype)t->result));
    if (m->v[k].how == SPLAT) ADD("  for (int i = 0; i < %d; i++) b%" PRId32 "[i] = c%" PRId32 ";\n", BDL_TILE, k, t->x);
  }
}

/* ---- loops ---------------------------------------------------------------------------------------------- */

/* The element of operand j of instruction k, in a loop; what is in memory was brought by bring(). */
static void element(emitter *m, int32_t k, int j) {
  const bdl_tile_inst *t = &m->g->insts[k];
  const int32_t s = m->v[k].src[j], h = operand_at(t, j);
  const char *memory = bdl_emit_memory(dtype_at(t, j));
  if (s < 0) ADD(operand_of(m, h)->kind == BDL_O_SCALAR ? "c%" PRId32 : "a%" PRId32, h);
  else if (m->v[s].how == SPLAT) ADD("c%" PRId32, m->g->insts[s].x);
  else if (m->v[s].phase == m->v[k].phase && m->v[s].how == INLINE) ADD("v%" PRId32, s);
  else if (in_memory(m, m->g->insts[s].z)) ADD("((const %s *)p%" PRId32 ")[i]", memory, m->g->insts[s].z);
  else ADD("b%" PRId32 "[i - e0]", s);
}

static void bring(emitter *m, int32_t k) {
  const bdl_tile_inst *t = &m->g->insts[k];
  for (int j = 0; j < n_values(m, t); j++) {
    const int32_t h = operand_at(t, j);
    if (m->v[k].src[j] >= 0 || operand_of(m, h)->kind != BDL_O_ARRAY || m->loaded[h]) continue;
    m->loaded[h] = true;
    ADD("      const %s a%" PRId32 " = ((const %s *)p%" PRId32 ")[i];\n", bdl_emit_ctype(dtype_at(t, j)), h,
        bdl_emit_memory(dtype_at(t, j)), h);
  }
}

/* x^y by repeated squaring, as the tile kernel does it. */
static void integer_pow(emitter *m, int32_t k) {
  const bdl_tile_inst *t = &m->g->insts[k];
  int64_t y;
  memcpy(&y, (const char *)m->plan->slots.v[operand_of(m, t->y)->ref.slot].data + operand_of(m, t->y)->ref.offset, sizeof y);
  ADD("      %s s%" PRId32 " = ", bdl_emit_ctype((bdl_dtype)t->dtype), k);
  element(m, k, 0);
  ADD(", v%" PRId32 " = 1;\n      ", k);
  for (uint64_t e = y < 0 ? 0 - (uint64_t)y : (uint64_t)y; e; e >>= 1) {
    if (e & 1) ADD("v%" PRId32 " = v%" PRId32 " * s%" PRId32 "; ", k, k, k);
    if (e > 1) ADD("s%" PRId32 " = s%" PRId32 " * s%" PRId32 "; ", k, k, k);
  }
  if (y < 0) ADD("v%" PRId32 " = 1 / v%" PRId32 "; ", k, k);
  ADD("(void)s%" PRId32 ";\n", k);
}

static void bitcast(emitter *m, int32_t k) {
  const bdl_dtype from = (bdl_dtype)m->g->insts[k].dtype, to = (bdl_dtype)m->g->insts[k].result;
  if (from == to) element(m, k, 0);
  else if (bdl_dtype_is_float(to)) ADD("floats_%s(", bdl_emit_code(to)), element(m, k, 0), ADD(")");
  else if (bdl_dtype_is_float(from)) ADD("(%s)words_%s(", bdl_emit_ctype(to), bdl_emit_code(from)), element(m, k, 0), ADD(")");
  else ADD("(%s)", bdl_emit_ctype(to)), element(m, k, 0);
}

static void expression(emitter *m, int32_t k) {
  const bdl_tile_inst *t = &m->g->insts[k];
  switch (t->op) {
    case BDL_TILE_copy: case BDL_TILE_stop_gradient: element(m, k, 0); return;
    case BDL_TILE_bitcast: bitcast(m, k); return;
    case BDL_TILE_select:
      element(m, k, 0), ADD(" ? "), element(m, k, 1), ADD(" : "), element(m, k, 2);
      return;
    case BDL_TILE_cast: ADD("k_cast_%s_%s(", bdl_emit_code((bdl_dtype)t->dtype), bdl_emit_code((bdl_dtype)t->result)); break;
    default: ADD("k_%s_%s(", bdl_emit_op_name(t->op), bdl_emit_code((bdl_dtype)t->dtype));
  }
  for (int j = 0; j < n_values(m, t); j++) {
    if (j) ADD(", ");
    element(m, k, j);
  }
  ADD(")");
}

/* Rows start at r: element i of the domain is column i - r of one. */
static void strided(emitter *m, int32_t k) {
  const bdl_load *l = m->g->insts[k].load;
  const char *type = bdl_emit_memory((bdl_dtype)m->g->insts[k].dtype);
  ADD("      const %s v%" PRId32 " = ", bdl_emit_ctype((bdl_dtype)m->g->insts[k].dtype), k);
  if (l->ndim == 0) ADD("*(const %s *)l%" PRId32 ";\n", type, k);
  else if (l->ndim == 1) ADD("((const %s *)l%" PRId32 ")[i * %" PRId64 "];\n", type, k, l->stride[0]);
  else ADD("q%" PRId32 "[(i - r) * %" PRId64 "];\n", k, l->stride[l->ndim - 1]);
}

/* The pointers of the strided loads of this loop to row R of the domain. */
static bool row_pointers(emitter *m, int32_t phase, bool write) {
  bool any = false;
  for (int32_t k = 0; k < m->g->n_insts; k++) {
    const bdl_tile_inst *t = &m->g->insts[k];
    if (t->kind != BDL_T_LOAD || m->v[k].how != INLINE || m->v[k].phase != phase || t->load->ndim < 2) continue;
    any = true;
    if (!write) continue;
    const bdl_load *l = t->load;
    const int last = l->ndim - 1;
    int64_t over = l->shape[last] / m->row; /* rows that one step of the axis before spans */
    ADD("    const %s *const q%" PRId32 " = (const %s *)l%" PRId32 " + R %% %" PRId64 " * %" PRId64, bdl_emit_memory((bdl_dtype)t->dtype), k,
        bdl_emit_memory((bdl_dtype)t->dtype), k, over, m->row * l->stride[last]);
    for (int a = last - 1; a >= 0; a--) {
      ADD(" + R / %" PRId64 " %% %" PRId64 " * %" PRId64, over, l->shape[a], l->stride[a]);
      over *= l->shape[a];
    }
    ADD(";\n");
  }
  return any;
}

static void loop(emitter *m, int32_t phase) {
  const bool rows = row_pointers(m, phase, false);
  for (int32_t h = 0; h < m->g->n_operands; h++) m->loaded[h] = false;
  if (rows) {
    ADD("    for (int64_t R = e0 / %" PRId64 ", r; (r = R * %" PRId64 ") < e1; R++) {\n", m->row, m->row);
    ADD("    const int64_t lo = r < e0 ? e0 : r, hi = r + %" PRId64 " < e1 ? r + %" PRId64 " : e1;\n", m->row, m->row);
    row_pointers(m, phase, true);
    ADD("    BDL_VECTOR for (int64_t i = lo; i < hi; i++) {\n");
  } else ADD("    BDL_VECTOR for (int64_t i = e0; i < e1; i++) {\n");
  for (int32_t k = 0; k < m->g->n_insts; k++) {
    const bdl_tile_inst *t = &m->g->insts[k];
    if (m->v[k].how != INLINE || m->v[k].phase != phase) continue;
    if (t->kind == BDL_T_LOAD) strided(m, k);
    else {
      bring(m, k);
      if (t->op == BDL_TILE_integer_pow) integer_pow(m, k);
      else {
        ADD("      const %s v%" PRId32 " = ", bdl_emit_ctype((bdl_dtype)t->result), k);
        expression(m, k);
        ADD(";\n");
      }
    }
    if (in_memory(m, t->z)) ADD("      ((%s *)p%" PRId32 ")[i] = v%" PRId32 ";\n", bdl_emit_memory((bdl_dtype)t->result), t->z, k);
    if (m->v[k].buffered) ADD("      b%" PRId32 "[i - e0] = v%" PRId32 ";\n", k, k);
  }
  ADD("    }\n%s", rows ? "    }\n" : "");
}

/* ---- calls ------------------------------------------------------------------------------------------------ */

/* Where the tile of operand j of instruction k begins. */
static void tile_pointer(emitter *m, int32_t k, int j) {
  const bdl_tile_inst *t = &m->g->insts[k];
  const int32_t h = operand_at(t, j), s = m->v[k].src[j], z = s < 0 ? h : m->g->insts[s].z;
  if (h >= m->g->n_operands) ADD("0");
  else if (s >= 0 && m->v[s].buffered) ADD("b%" PRId32, s);
  else if (operand_of(m, z)->kind == BDL_O_ARRAY) ADD("p%" PRId32 " + e0 * %" PRId32, z, operand_of(m, z)->size);
  else ADD("p%" PRId32, z);
}

static void result_pointer(emitter *m, int32_t k) {
  const int32_t z = m->g->insts[k].z;
  if (in_memory(m, z)) ADD("p%" PRId32 " + e0 * %" PRId32, z, operand_of(m, z)->size);
  else ADD("b%" PRId32, k);
}

static bdl_status call(emitter *m, int32_t k) {
  const bdl_tile_inst *t = &m->g->insts[k];
  int32_t f, walk;
  switch (t->kind) {
    case BDL_T_LOAD:
      TRY(LINK(m, bdl_exec_load_strided, &f));
      TRY(link(m, (void *)(uintptr_t)t->load, &walk));
      ADD("    ((bdl_native_load)N->link[%" PRId32 "])(", f), result_pointer(m, k);
      ADD(", l%" PRId32 ", N->link[%" PRId32 "], e0, e1 - e0);\n", k, walk);
      return BDL_OK;
    case BDL_T_REDUCE:
      TRY(LINK(m, t->red.tile, &f));
      ADD("    ((bdl_native_reduce)N->link[%" PRId32 "])(p%" PRId32 " + T * %" PRId32 ", ", f, t->z, operand_of(m, t->z)->size);
      tile_pointer(m, k, 0);
      ADD(", e1 - e0);\n");
      return BDL_OK;
    case BDL_T_COMPACT:
      TRY(LINK(m, t->compact, &f));
      ADD("    *(int32_t *)p%" PRId32 " += (int32_t)((bdl_native_compact)N->link[%" PRId32 "])((int32_t *)p%" PRId32 " + *(int32_t *)p%" PRId32 ", ",
          t->y, f, t->z, t->y);
      tile_pointer(m, k, 0);
      ADD(", e1 - e0, e0);\n");
      return BDL_OK;
    default:
      TRY(LINK(m, t->fn, &f));
      ADD("    ((bdl_native_tile)N->link[%" PRId32 "])(", f), result_pointer(m, k);
      for (int j = 0; j < 3; j++) ADD(", "), tile_pointer(m, k, j);
      ADD(", e1 - e0, e0);\n");
      return BDL_OK;
  }
}

/* ---- a group ------------------------------------------------------------------------------------------------- */

static bdl_status tiles(emitter *m, int64_t n_tiles) {
  const int32_t id = m->inst->id;
  const int64_t n = m->g->n;
  ADD("static void g%" PRId32 "(bdl_native *N, int64_t first, int64_t last) {\n  char **const F = N->frame;\n  (void)F;\n", id);
  pointers(m);
  scalars(m);
  declare_buffers(m);
  if (m->tiled) ADD("  for (int64_t T = first; T < last; T++) {\n    const int64_t e0 = T * %d, e1 = T == %" PRId64 " ? %" PRId64 " : e0 + %d;\n",
                    BDL_TILE, n_tiles - 1, n, BDL_TILE);
  else ADD("  {\n    const int64_t e0 = first * %d, e1 = last == %" PRId64 " ? %" PRId64 " : last * %d;\n", BDL_TILE, n_tiles, n, BDL_TILE);
  for (int32_t phase = -1; phase <= m->last; phase++) {
    if (!(phase & 1)) loop(m, phase);
    else
      for (int32_t k = 0; k < m->g->n_insts; k++)
        if (m->v[k].how == CALL && m->v[k].phase == phase) TRY(call(m, k));
  }
  ADD("  }\n}\n");
  return BDL_OK;
}

static bdl_status whole(emitter *m, int64_t n_tiles) {
  const bdl_group *g = m->g;
  const int32_t id = m->inst->id;
  ADD("static int f%" PRId32 "(bdl_native *N, int64_t t) {\n  char **const F = N->frame;\n  (void)F, (void)t;\n", id);
  for (int32_t k = 0; k < g->n_insts; k++)
    if (g->insts[k].kind == BDL_T_COMPACT)
      ADD("  *(int32_t *)(F[%" PRId32 "] + %" PRId64 ") = 0;\n", operand_of(m, g->insts[k].y)->ref.slot, operand_of(m, g->insts[k].y)->ref.offset);
  if (!g->serial && g->n * g->n_insts >= PARALLEL_WORK)
    ADD("  if (N->threads > 1) N->share(N, g%" PRId32 ", %" PRId64 ");\n  else g%" PRId32 "(N, 0, %" PRId64 ");\n", id, n_tiles, id, n_tiles);
  else ADD("  g%" PRId32 "(N, 0, %" PRId64 ");\n", id, n_tiles);
  for (int32_t k = 0; k < g->n_insts; k++) {
    const bdl_tile_inst *t = &g->insts[k];
    int32_t f;
    if (t->kind != BDL_T_REDUCE) continue;
    TRY(LINK(m, t->red.combine, &f));
    ADD("  ((bdl_native_reduce)N->link[%" PRId32 "])(F[%" PRId32 "] + %" PRId64 ", F[%" PRId32 "] + %" PRId64 ", %" PRId64 ");\n", f,
        operand_of(m, t->y)->ref.slot, operand_of(m, t->y)->ref.offset, operand_of(m, t->z)->ref.slot, operand_of(m, t->z)->ref.offset, n_tiles);
  }
  ADD("  return 0;\n}\n");
  return BDL_OK;
}

bdl_status bdl_emit_group(const bdl_plan *plan, const bdl_inst *i, bdl_emitted *e, bool *done) {
  const bdl_group *g = i->group;
  bdl_context *c = plan->ctx;
  const size_t values = (size_t)(g->n_insts + 1) * sizeof(value), operands = (size_t)g->n_operands + 1;
  emitter m = {.plan = plan, .inst = i, .g = g, .e = e};
  *done = false;
  m.v = bdl_alloc(c, values);
  m.def = bdl_alloc(c, operands * sizeof *m.def);
  m.loaded = bdl_alloc(c, operands);
  m.pointer = bdl_alloc(c, operands);
  bdl_status s = m.v && m.def && m.loaded && m.pointer ? BDL_OK : BDL_ENOMEM;
  if (s == BDL_OK) {
    const int64_t n_tiles = (g->n + BDL_TILE - 1) / BDL_TILE;
    phases(&m);
    *done = g->n > 0 && buffers(&m) <= STACK_BYTES;
    if (*done) s = tiles(&m, n_tiles);
    if (*done && s == BDL_OK) s = whole(&m, n_tiles);
  }
  bdl_free(c, m.v, values);
  bdl_free(c, m.def, operands * sizeof *m.def);
  bdl_free(c, m.loaded, operands);
  bdl_free(c, m.pointer, operands);
  return s;
}

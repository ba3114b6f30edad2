/*
** emit_tile.c -- the text of one tile of a group: loops over its elements, calls of tile kernels.
*/
#include "exec/emit_group.h"

#define ADD(...) bdl_str_addf(&m->e->text, __VA_ARGS__)

/* ---- loops ---------------------------------------------------------------------------------------------- */

/* The element of operand j of instruction k, in a loop; what is in memory was brought by bring(). */
void bdl_emit_element(bdl_emitter *m, int32_t k, int j) {
  const bdl_tile_inst *t = &m->g->insts[k];
  const int32_t s = m->v[k].src[j], h = bdl_tile_operand(t, j);
  const char *memory = bdl_emit_memory(bdl_tile_dtype(t, j));
  if (s < 0) ADD(bdl_emit_operand(m, h)->kind == BDL_O_SCALAR ? "c%" PRId32 : "a%" PRId32, h);
  else if (m->v[s].how == BDL_E_SPLAT) ADD("c%" PRId32, m->g->insts[s].x);
  else if (m->v[s].phase == m->v[k].phase && m->v[s].how == BDL_E_INLINE) ADD("v%" PRId32, s);
  else if (bdl_group_in_memory(m->g, m->g->insts[s].z)) ADD("((const %s *)p%" PRId32 ")[i]", memory, m->g->insts[s].z);
  else ADD("b%" PRId32 "[i - e0]", s);
}

static void bring(bdl_emitter *m, int32_t k) {
  const bdl_tile_inst *t = &m->g->insts[k];
  for (int j = 0; j < bdl_tile_arity(m->g, t); j++) {
    const int32_t h = bdl_tile_operand(t, j);
    if (m->v[k].src[j] >= 0 || bdl_emit_operand(m, h)->kind != BDL_O_ARRAY || m->loaded[h]) continue;
    m->loaded[h] = true;
    ADD("      const %s a%" PRId32 " = ((const %s *)p%" PRId32 ")[i];\n", bdl_emit_ctype(bdl_tile_dtype(t, j)), h,
        bdl_emit_memory(bdl_tile_dtype(t, j)), h);
  }
}

/* x^y by repeated squaring, as the tile kernel does it. */
static void integer_pow(bdl_emitter *m, int32_t k) {
  const bdl_tile_inst *t = &m->g->insts[k];
  int64_t y;
  memcpy(&y, (const char *)m->plan->slots.v[bdl_emit_operand(m, t->y)->ref.slot].data + bdl_emit_operand(m, t->y)->ref.offset, sizeof y);
  ADD("      %s s%" PRId32 " = ", bdl_emit_ctype((bdl_dtype)t->dtype), k);
  bdl_emit_element(m, k, 0);
  ADD(", v%" PRId32 " = 1;\n      ", k);
  for (uint64_t e = y < 0 ? 0 - (uint64_t)y : (uint64_t)y; e; e >>= 1) {
    if (e & 1) ADD("v%" PRId32 " = v%" PRId32 " * s%" PRId32 "; ", k, k, k);
    if (e > 1) ADD("s%" PRId32 " = s%" PRId32 " * s%" PRId32 "; ", k, k, k);
  }
  if (y < 0) ADD("v%" PRId32 " = 1 / v%" PRId32 "; ", k, k);
  ADD("(void)s%" PRId32 ";\n", k);
}

static void bitcast(bdl_emitter *m, int32_t k) {
  const bdl_dtype from = (bdl_dtype)m->g->insts[k].dtype, to = (bdl_dtype)m->g->insts[k].result;
  if (from == to) bdl_emit_element(m, k, 0);
  else if (bdl_dtype_is_float(to)) ADD("floats_%s(", bdl_emit_code(to)), bdl_emit_element(m, k, 0), ADD(")");
  else if (bdl_dtype_is_float(from)) ADD("(%s)words_%s(", bdl_emit_ctype(to), bdl_emit_code(from)), bdl_emit_element(m, k, 0), ADD(")");
  else ADD("(%s)", bdl_emit_ctype(to)), bdl_emit_element(m, k, 0);
}

static void expression(bdl_emitter *m, int32_t k) {
  const bdl_tile_inst *t = &m->g->insts[k];
  switch (t->op) {
    case BDL_TILE_copy: case BDL_TILE_stop_gradient: bdl_emit_element(m, k, 0); return;
    case BDL_TILE_bitcast: bitcast(m, k); return;
    case BDL_TILE_select:
      bdl_emit_element(m, k, 0), ADD(" ? "), bdl_emit_element(m, k, 1), ADD(" : "), bdl_emit_element(m, k, 2);
      return;
    case BDL_TILE_cast: ADD("k_cast_%s_%s(", bdl_emit_code((bdl_dtype)t->dtype), bdl_emit_code((bdl_dtype)t->result)); break;
    default: ADD("k_%s_%s(", bdl_emit_op_name(t->op), bdl_emit_code((bdl_dtype)t->dtype));
  }
  for (int j = 0; j < bdl_tile_arity(m->g, t); j++) {
    if (j) ADD(", ");
    bdl_emit_element(m, k, j);
  }
  ADD(")");
}

/* Rows start at r: element i of the domain is column i - r of one. */
static void strided(bdl_emitter *m, int32_t k) {
  const bdl_load *l = m->g->insts[k].load;
  const char *type = bdl_emit_memory((bdl_dtype)m->g->insts[k].dtype);
  ADD("      const %s v%" PRId32 " = ", bdl_emit_ctype((bdl_dtype)m->g->insts[k].dtype), k);
  if (l->ndim == 0) ADD("*(const %s *)l%" PRId32 ";\n", type, k);
  else if (l->ndim == 1) ADD("((const %s *)l%" PRId32 ")[i * %" PRId64 "];\n", type, k, l->stride[0]);
  else ADD("q%" PRId32 "[(i - r) * %" PRId64 "];\n", k, l->stride[l->ndim - 1]);
}

/* The pointers of the strided loads of this loop to row R of the domain. */
static bool row_pointers(bdl_emitter *m, int32_t phase, bool write) {
  bool any = false;
  for (int32_t k = 0; k < m->g->n_insts; k++) {
    const bdl_tile_inst *t = &m->g->insts[k];
    if (t->kind != BDL_T_LOAD || m->v[k].how != BDL_E_INLINE || m->v[k].phase != phase || t->load->ndim < 2) continue;
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

/* The variables of reductions before, the results behind a loop. */
static void sums(bdl_emitter *m, int32_t phase, void (*write)(bdl_emitter *m, int32_t k)) {
  for (int32_t k = 0; k < m->g->n_insts; k++)
    if (m->g->insts[k].kind == BDL_T_REDUCE && m->v[k].how == BDL_E_INLINE && m->v[k].phase == phase) write(m, k);
}

static void one(bdl_emitter *m, int32_t k) {
  const bdl_tile_inst *t = &m->g->insts[k];
  if (t->kind != BDL_T_LOAD) bring(m, k);
  if (t->kind == BDL_T_REDUCE) {
    bdl_emit_sum_add(m, k);
    return;
  }
  if (t->kind == BDL_T_LOAD) strided(m, k);
  else if (t->op == BDL_TILE_integer_pow) integer_pow(m, k);
  else {
    ADD("      const %s v%" PRId32 " = ", bdl_emit_ctype((bdl_dtype)t->result), k);
    expression(m, k);
    ADD(";\n");
  }
  if (bdl_group_in_memory(m->g, t->z))
    ADD("      ((%s *)p%" PRId32 ")[i] = v%" PRId32 ";\n", bdl_emit_memory((bdl_dtype)t->result), t->z, k);
  if (m->v[k].buffered) ADD("      b%" PRId32 "[i - e0] = v%" PRId32 ";\n", k, k);
}

static void loop(bdl_emitter *m, int32_t phase) {
  const bool rows = row_pointers(m, phase, false);
  for (int32_t h = 0; h < m->g->n_operands; h++) m->loaded[h] = false;
  sums(m, phase, bdl_emit_sum_begin);
  if (rows) {
    ADD("    for (int64_t R = e0 / %" PRId64 ", r; (r = R * %" PRId64 ") < e1; R++) {\n", m->row, m->row);
    ADD("    const int64_t lo = r < e0 ? e0 : r, hi = r + %" PRId64 " < e1 ? r + %" PRId64 " : e1;\n", m->row, m->row);
    row_pointers(m, phase, true);
    ADD("    BDL_VECTOR for (int64_t i = lo; i < hi; i++) {\n");
  } else ADD("    BDL_VECTOR for (int64_t i = e0; i < e1; i++) {\n");
  for (int32_t k = 0; k < m->g->n_insts; k++)
    if (m->v[k].how == BDL_E_INLINE && m->v[k].phase == phase) one(m, k);
  ADD("    }\n%s", rows ? "    }\n" : "");
  sums(m, phase, bdl_emit_sum_end);
}

/* ---- calls ------------------------------------------------------------------------------------------------ */

/* Where the tile of operand j of instruction k begins. */
static void tile_pointer(bdl_emitter *m, int32_t k, int j) {
  const bdl_tile_inst *t = &m->g->insts[k];
  const int32_t h = bdl_tile_operand(t, j), s = m->v[k].src[j], z = s < 0 ? h : m->g->insts[s].z;
  if (h >= m->g->n_operands) ADD("0");
  else if (s >= 0 && m->v[s].buffered) ADD("b%" PRId32, s);
  else if (bdl_emit_operand(m, z)->kind == BDL_O_ARRAY) ADD("p%" PRId32 " + e0 * %" PRId32, z, bdl_emit_operand(m, z)->size);
  else ADD("p%" PRId32, z);
}

static void result_pointer(bdl_emitter *m, int32_t k) {
  const int32_t z = m->g->insts[k].z;
  if (bdl_group_in_memory(m->g, z)) ADD("p%" PRId32 " + e0 * %" PRId32, z, bdl_emit_operand(m, z)->size);
  else ADD("b%" PRId32, k);
}

void bdl_emit_partial(bdl_emitter *m, int32_t k) {
  const bdl_tile_inst *t = &m->g->insts[k];
  const int32_t size = bdl_emit_operand(m, t->z)->size;
  if (m->scan) ADD("p%" PRId32 " + ((t - t0) * %" PRId64 " + T) * %" PRId32, t->z, m->n_tiles, size);
  else if (bdl_emit_at_once(m, k)) ADD("p%" PRId32, t->y);
  else ADD("p%" PRId32 " + T * %" PRId32, t->z, size);
}

static bdl_status call(bdl_emitter *m, int32_t k) {
  const bdl_tile_inst *t = &m->g->insts[k];
  int32_t f, walk;
  switch (t->kind) {
    case BDL_T_LOAD:
      TRY(BDL_LINK(m, bdl_exec_load_strided, &f));
      TRY(bdl_emit_link_data(m, t->load, &walk));
      ADD("    ((bdl_native_load)N->link[%" PRId32 "])(", f), result_pointer(m, k);
      ADD(", l%" PRId32 ", N->link[%" PRId32 "], e0, e1 - e0);\n", k, walk);
      return BDL_OK;
    case BDL_T_REDUCE:
      TRY(BDL_LINK(m, t->red.tile, &f));
      ADD("    ((bdl_native_reduce)N->link[%" PRId32 "])(", f), bdl_emit_partial(m, k), ADD(", ");
      tile_pointer(m, k, 0);
      ADD(", e1 - e0);\n");
      return BDL_OK;
    case BDL_T_COMPACT:
      TRY(BDL_LINK(m, t->compact, &f));
      ADD("    *(int32_t *)p%" PRId32 " += (int32_t)((bdl_native_compact)N->link[%" PRId32 "])((int32_t *)p%" PRId32 " + *(int32_t *)p%" PRId32 ", ",
          t->y, f, t->z, t->y);
      tile_pointer(m, k, 0);
      ADD(", e1 - e0, e0);\n");
      return BDL_OK;
    default:
      TRY(BDL_LINK(m, t->fn, &f));
      ADD("    ((bdl_native_tile)N->link[%" PRId32 "])(", f), result_pointer(m, k);
      for (int j = 0; j < 3; j++) ADD(", "), tile_pointer(m, k, j);
      ADD(", e1 - e0, e0);\n");
      return BDL_OK;
  }
}

bdl_status bdl_emit_tile(bdl_emitter *m) {
  for (int32_t phase = -1; phase <= m->last; phase++) {
    if (!(phase & 1)) loop(m, phase);
    else
      for (int32_t k = 0; k < m->g->n_insts; k++)
        if (m->v[k].how == BDL_E_CALL && m->v[k].phase == phase) TRY(call(m, k));
  }
  return BDL_OK;
}

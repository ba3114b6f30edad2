/*
** fours.c -- elements of a fused group four at a time: a thread fetches them, works on one after the other, stores them.  q<operand> and
** y<instruction>, of a load, hold the four.  They lie together, and an operand is one access; where one is not aligned to 16 bytes, which
** shows when the program runs, and at the end, four.  Or they are 16 apart, as a tile's reductions want them: four accesses that wait
** together.  Behind the last element that one comes again, and nobody stores it.  Of very many operands nothing is held: each element is
** read and stored by itself.
*/
#include "gpu/fours.h"
#include "gpu/program.h"

#define ADD(...) bdl_str_addf(&g->m->text, __VA_ARGS__)
#define LINE(...) (bdl_str_addf(&g->m->text, "%*s", g->indent, ""), bdl_str_addf(&g->m->text, __VA_ARGS__))

typedef struct used {
  bool read, written; /* read: before the group makes it */
  bdl_dtype dtype;
} used;

static used use_of(const bdl_export_grouper *g, int32_t h) {
  used u = {.dtype = BDL_F32};
  for (int32_t k = 0; k < g->g->n_insts && g->g->operands[h].kind == BDL_O_ARRAY; k++) {
    const bdl_tile_inst *t = &g->g->insts[k];
    for (int j = 0; j < bdl_tile_arity(g->g, t); j++)
      if (bdl_tile_operand(t, j) == h && !u.written) u.read = true, u.dtype = bdl_tile_dtype(t, j);
    if (!bdl_tile_is_root(t) && t->z == h) u.written = true, u.dtype = (bdl_dtype)t->result;
  }
  return u;
}

/* Does a load read four elements that lie together, or one for all four? */
static bool in_fours(const bdl_tile_inst *t) {
  const bdl_load *l = t->load;
  const int last = t->kind == BDL_T_LOAD ? l->ndim - 1 : -1;
  if (last < 0 || l->shape[last] % 4) return false;
  for (int a = 0; a < last && l->stride[last]; a++)
    if (l->stride[a] % 4) return false;
  return l->stride[last] == 0 || l->stride[last] == 1;
}

static bool in_a_row(const bdl_tile_inst *t) { return t->load->stride[t->load->ndim - 1] == 1; }

/* May a thread hold four of all that it reads and writes in registers? */
static bool may_hold(const bdl_export_grouper *g) {
  enum { MOST = 32 };
  int32_t n = 0;
  for (int32_t h = 0; h < g->g->n_operands; h++) {
    const used u = use_of(g, h);
    n += u.read || u.written;
  }
  for (int32_t k = 0; k < g->g->n_insts; k++) n += in_fours(&g->g->insts[k]);
  return n <= MOST;
}

/* Is the body so short that it may stand there four times? */
static bool is_short(const bdl_group *g) {
  enum { LONG = 8, MOST = 32 };
  int32_t n = 0;
  for (int32_t k = 0; k < g->n_insts; k++) {
    const bdl_tile_inst *t = &g->insts[k];
    n += t->kind == BDL_T_OP && (bdl_emit_is_long(t->op) || t->op == BDL_TILE_random_bits) ? LONG : 1;
  }
  return n <= MOST;
}

/* `_apart_f32(p7, i0, 1000` */
static void operand(bdl_export_grouper *g, int32_t h, bdl_dtype d) {
  ADD("%s_%s(p%" PRId32 ", i0, %" PRId64, g->apart > 1 ? "_apart" : "", bdl_emit_code(d), h, g->g->n);
}

static void fetch(bdl_export_grouper *g, bool whole) {
  for (int32_t h = 0; h < g->g->n_operands; h++) {
    const used u = use_of(g, h);
    if (!u.read) continue;
    LINE("q%" PRId32 " = fetch", h);
    operand(g, h, u.dtype);
    ADD(g->apart > 1 ? ");\n" : whole ? ", true);\n" : ", false);\n");
  }
  for (int32_t k = 0; k < g->g->n_insts; k++) {
    const bdl_tile_inst *t = &g->g->insts[k];
    if (!g->early[k] || !in_a_row(t)) continue;
    LINE("y%" PRId32 " = fetch_%s(&", k, bdl_emit_code((bdl_dtype)t->dtype));
    bdl_export_load(g, k);
    ADD(whole ? ", 0, 4, true);\n" : ", 0, 4, false);\n");
  }
}

static void store(bdl_export_grouper *g, bool whole) {
  for (int32_t h = 0; h < g->g->n_operands; h++) {
    const used u = use_of(g, h);
    if (!u.written) continue;
    LINE("store");
    operand(g, h, u.dtype);
    ADD(", q%" PRId32 "%s);\n", h, g->apart > 1 ? "" : whole ? ", true" : ", false");
  }
}

/* Those that lie together at once, where that may be, or one by one. */
static void both_ways(bdl_export_grouper *g, void (*move)(bdl_export_grouper *g, bool whole)) {
  if (g->apart > 1) {
    move(g, false);
    return;
  }
  LINE("if (whole) {\n");
  g->indent += 2;
  move(g, true);
  g->indent -= 2;
  LINE("} else {\n");
  g->indent += 2;
  move(g, false);
  g->indent -= 2;
  LINE("}\n");
}

void bdl_gpu_fours_together(bdl_export_grouper *g) {
  if (!may_hold(g)) return;
  for (int32_t k = 0; k < g->g->n_insts; k++) g->early[k] = in_fours(&g->g->insts[k]);
  LINE("const bool aligned = (0");
  for (int32_t h = 0; h < g->g->n_operands; h++) {
    const used u = use_of(g, h);
    if (u.read || u.written) ADD(" | (uint64_t)p%" PRId32, h);
  }
  for (int32_t k = 0; k < g->g->n_insts; k++)
    if (g->early[k] && in_a_row(&g->g->insts[k])) ADD(" | (uint64_t)l%" PRId32, k);
  ADD(") %% 16 == 0;\n");
}

static void declare(bdl_export_grouper *g) {
  for (int32_t h = 0; h < g->g->n_operands; h++) {
    const used u = use_of(g, h);
    if (u.read || u.written) LINE("four_%s q%" PRId32 "%s;\n", bdl_emit_code(u.dtype), h, u.read ? "" : " = {{0}}");
  }
  for (int32_t k = 0; k < g->g->n_insts; k++) {
    if (!g->early[k]) continue;
    const char *code = bdl_emit_code((bdl_dtype)g->g->insts[k].dtype);
    LINE("four_%s y%" PRId32, code, k);
    if (!in_a_row(&g->g->insts[k])) ADD(" = same_%s(", code), bdl_export_load(g, k), ADD(")");
    ADD(";\n");
  }
}

static bdl_status held(bdl_export_grouper *g) {
  const int64_t n = g->g->n;
  if (g->apart == 1 && n % 4) LINE("const bool whole = aligned && i0 + 4 <= %" PRId64 ";\n", n);
  else if (g->apart == 1) LINE("const bool whole = aligned;\n");
  LINE("const int32_t i = i0;\n");
  LINE("(void)i;\n");
  declare(g);
  both_ways(g, fetch);
  LINE(is_short(g->g) ? "UNROLLED\n" : "ROLLED\n");
  LINE("for (int32_t u = 0; u < 4; u++) {\n");
  g->indent += 2;
  if (n % (4 * g->apart)) LINE("const int32_t i = least_of(i0 + %" PRId32 " * u, %" PRId64 ");\n", g->apart, n - 1);
  else LINE("const int32_t i = i0 + %" PRId32 " * u;\n", g->apart);
  LINE("(void)i;\n");
  for (int32_t h = 0; h < g->g->n_operands; h++) {
    const used u = use_of(g, h);
    if (u.read) LINE("%s x%" PRId32 " = one_%s(&q%" PRId32 ", u);\n", bdl_export_ctype(u.dtype), h, bdl_emit_code(u.dtype), h);
    else if (u.written) LINE("%s x%" PRId32 ";\n", bdl_export_ctype(u.dtype), h);
    g->local[h] = u.read || u.written ? h : -1;
  }
  TRY(bdl_export_elements(g));
  for (int32_t h = 0; h < g->g->n_operands; h++) {
    const used u = use_of(g, h);
    if (u.written) LINE("set_one_%s(&q%" PRId32 ", u, x%" PRId32 ");\n", bdl_emit_code(u.dtype), h, h);
  }
  g->indent -= 2;
  LINE("}\n");
  both_ways(g, store);
  return BDL_OK;
}

bdl_status bdl_gpu_fours(bdl_export_grouper *g, int32_t apart) {
  g->apart = apart;
  if (may_hold(g)) return held(g);
  LINE("ROLLED\n");
  LINE("for (int32_t i = i0; i < i0 + %" PRId32 " && i < %" PRId64 "; i += %" PRId32 ") {\n", 4 * apart, g->g->n, apart);
  LINE("  const int32_t u = (i - i0) / %" PRId32 ";\n", apart);
  LINE("  (void)u;\n");
  g->indent += 2;
  TRY(bdl_export_elements(g));
  g->indent -= 2;
  LINE("}\n");
  return BDL_OK;
}

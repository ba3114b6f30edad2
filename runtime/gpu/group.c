/*
** group.c -- a fused group for all threads of a grid: its loop over elements shared out, reductions and compactions by warps.
**
** A reduction has the bits of the tile kernels: each half of a warp takes tiles of BDL_TILE elements, lane j the elements j, j + 16, ..,
** and the 16 results go up a tree; one thread combines those of the tiles in order.  A compaction notes the active elements as bits,
** 32 a word; then each warp counts the bits before its words, and writes the places of its own.
**
** Which thread has element i depends on the number of elements alone (barrier.c), but for reductions: thread i, or, of BDL_GPU_MANY and
** more, thread i / 4, modulo the number of threads.
*/
#include <stdio.h>

#include "gpu/program.h"
#include "gpu/fours.h"

#define ADD(...) bdl_str_addf(&g->m->text, __VA_ARGS__)
#define LINE(...) (bdl_str_addf(&g->m->text, "%*s", g->indent, ""), bdl_str_addf(&g->m->text, __VA_ARGS__))
#define EACH_ROOT(t, k, what)                                                \
  for (int32_t k = 0; k < g->g->n_insts; k++)                                \
    for (const bdl_tile_inst *t = &g->g->insts[k]; t && t->kind == (what); t = NULL)

static void root(bdl_export_grouper *g, int32_t k) {
  const bdl_tile_inst *t = &g->g->insts[k];
  const bool ends = g->apart && g->g->n % (4 * g->apart);
  char part[32];
  if (t->kind == BDL_T_COMPACT) {
    if (g->apart) LINE("if (");
    else LINE("s%" PRId32 " = ", k);
    if (ends) ADD("i0 + %" PRId32 " * u < %" PRId64 " && ", g->apart, g->g->n);
    bdl_export_value_of(g, t, 0);
    ADD(t->dtype == BDL_BOOL ? "" : " > 0");
    if (g->apart) ADD(") s%" PRId32 " |= UINT32_C(1) << u", k);
    ADD(";\n");
    return;
  }
  snprintf(part, sizeof part, "r%" PRId32, k);
  if (ends) LINE("if (i0 + %" PRId32 " * u < %" PRId64 ") {\n", g->apart, g->g->n);
  g->indent += ends ? 2 : 0;
  bdl_export_take_in(g, k, part);
  g->indent -= ends ? 2 : 0;
  if (ends) LINE("}\n");
}

/* ---- compactions: bits into the room, word k of compaction c at words[c][k] ------------------------------------------- */

static int64_t words_of(const bdl_export_grouper *g) { return (g->g->n + BDL_TILE - 1) / BDL_TILE * (BDL_TILE / 32); }

static int64_t n_tiles_of(const bdl_export_grouper *g) { return (g->g->n + BDL_TILE - 1) / BDL_TILE; }

static void note_bits(bdl_export_grouper *g) {
  EACH_ROOT(t, k, BDL_T_COMPACT) {
    LINE("const uint32_t bits%" PRId32 " = ballot(s%" PRId32 ");\n", k, k);
    LINE("if (LANE == 0) w%" PRId32 "[i0 / 32] = bits%" PRId32 ";\n", k, k);
  }
}

/* Of four elements 16 apart, each half a warp's bits. */
static void note_halves(bdl_export_grouper *g) {
  EACH_ROOT(t, k, BDL_T_COMPACT) {
    LINE("for (int32_t u = 0; u < 4; u++) {\n");
    LINE("  const uint32_t bits = ballot(s%" PRId32 " >> u & 1);\n", k);
    LINE("  if (LANE %% 16 == 0 && tile < %" PRId64 ") ((uint16_t *)w%" PRId32 ")[i0 / 16 + u] = (uint16_t)(bits >> LANE);\n", n_tiles_of(g), k);
    LINE("}\n");
  }
}

static void write_places(bdl_export_grouper *g) {
  EACH_ROOT(t, k, BDL_T_COMPACT) LINE("compact(p%" PRId32 ", p%" PRId32 ", w%" PRId32 ", %" PRId64 ");\n", t->z, t->y, k, words_of(g));
}

/* ---- reductions ----------------------------------------------------------------------------------------------------------- */

static void begin(bdl_export_grouper *g) {
  EACH_ROOT(t, k, BDL_T_REDUCE) {
    LINE("%s r%" PRId32 " = id_%s_%s();\n", bdl_export_ctype((bdl_dtype)t->dtype), k, bdl_export_reduction[t->op],
         bdl_emit_code((bdl_dtype)t->dtype));
    if (bdl_export_keeps_nan(t)) LINE("bool nan%" PRId32 " = false;\n", k);
  }
}

static void end(bdl_export_grouper *g) {
  EACH_ROOT(t, k, BDL_T_REDUCE) {
    const char *op = bdl_export_reduction[t->op], *code = bdl_emit_code((bdl_dtype)t->dtype);
    LINE("r%" PRId32 " = tree_%s_%s(r%" PRId32 ");\n", k, op, code, k);
    if (bdl_export_keeps_nan(t)) LINE("r%" PRId32 " = nan_%s_%s(r%" PRId32 ", any_of_16(nan%" PRId32 "));\n", k, op, code, k, k);
    LINE("if (LANE %% 16 == 0 && tile < %" PRId64 ") p%" PRId32 "[tile] = r%" PRId32 ";\n", n_tiles_of(g), t->z, k);
  }
}

static void combine(bdl_export_grouper *g) {
  EACH_ROOT(t, k, BDL_T_REDUCE)
    LINE("if (THREAD == %" PRId32 " %% THREADS) *p%" PRId32 " = combine_%s_%s(p%" PRId32 ", %" PRId64 ");\n", 32 * k, t->y,
         bdl_export_reduction[t->op], bdl_emit_code((bdl_dtype)t->dtype), t->z, n_tiles_of(g));
}

/* ---- loops -------------------------------------------------------------------------------------------------------------------- */

static bdl_status by_tiles(bdl_export_grouper *g) {
  const int64_t n = g->g->n, n_tiles = n_tiles_of(g);
  LINE("for (int32_t tile = 2 * WARP + LANE / 16; tile - LANE / 16 < %" PRId64 "; tile += 2 * WARPS) {\n", n_tiles);
  g->indent += 2;
  begin(g);
  LINE("for (int32_t i0 = tile * %d + LANE %% 16; i0 < (tile + 1) * %d; i0 += 64) {\n", BDL_TILE, BDL_TILE);
  g->indent += 2;
  EACH_ROOT(t, k, BDL_T_COMPACT) LINE("uint32_t s%" PRId32 " = 0;\n", k);
  LINE("if (i0 < %" PRId64 ") {\n", n);
  g->indent += 2;
  TRY(bdl_gpu_fours(g, 16));
  g->indent -= 2;
  LINE("}\n");
  note_halves(g);
  g->indent -= 2;
  LINE("}\n");
  end(g);
  g->indent -= 2;
  LINE("}\n");
  return BDL_OK;
}

static bdl_status by_warps(bdl_export_grouper *g) {
  LINE("for (int32_t i0 = 32 * WARP; i0 < %" PRId64 "; i0 += 32 * WARPS) {\n", 32 * words_of(g));
  g->indent += 2;
  EACH_ROOT(t, k, BDL_T_COMPACT) LINE("bool s%" PRId32 " = false;\n", k);
  LINE("const int32_t i = i0 + LANE;\n");
  LINE("if (i < %" PRId64 ") {\n", g->g->n);
  g->indent += 2;
  TRY(bdl_export_elements(g));
  g->indent -= 2;
  LINE("}\n");
  note_bits(g);
  g->indent -= 2;
  LINE("}\n");
  return BDL_OK;
}

static bdl_status by_fours(bdl_export_grouper *g, bool compacts) {
  bdl_gpu_fours_together(g);
  if (compacts) {
    LINE("for (int32_t i0 = 128 * WARP + 4 * LANE; i0 - 4 * LANE < %" PRId64 "; i0 += 128 * WARPS) {\n", 32 * words_of(g));
    g->indent += 2;
    EACH_ROOT(t, k, BDL_T_COMPACT) LINE("uint32_t s%" PRId32 " = 0;\n", k);
    LINE("if (i0 < %" PRId64 ") {\n", g->g->n);
  } else LINE("for (int32_t i0 = 4 * THREAD; i0 < %" PRId64 "; i0 += 4 * THREADS) {\n", g->g->n);
  g->indent += 2;
  TRY(bdl_gpu_fours(g, 1));
  g->indent -= 2;
  LINE("}\n");
  if (!compacts) return BDL_OK;
  EACH_ROOT(t, k, BDL_T_COMPACT) {
    LINE("const uint32_t bits%" PRId32 " = word_of_8(s%" PRId32 ");\n", k, k);
    LINE("if (LANE %% 8 == 0) w%" PRId32 "[i0 / 32] = bits%" PRId32 ";\n", k, k);
  }
  g->indent -= 2;
  LINE("}\n");
  return BDL_OK;
}

static bdl_status loops(bdl_export_grouper *g) {
  bool reduces = false, compacts = false;
  int64_t at = 0;
  g->root = root;
  TRY(bdl_export_prologue(g));
  EACH_ROOT(t, k, BDL_T_REDUCE) reduces = true;
  EACH_ROOT(t, k, BDL_T_COMPACT) {
    compacts = true;
    LINE("uint32_t *const w%" PRId32 " = (uint32_t *)F[%" PRId32 "] + %" PRId64 ";\n", k, g->m->plan->n_in + g->m->plan->n_out + BDL_GPU_ROOM, at);
    at += words_of(g) + words_of(g) / 32 + 1;
  }
  g->m->room = BDL_MAX(g->m->room, 4 * at);
  if (reduces) TRY(by_tiles(g));
  else if (g->g->n >= BDL_GPU_MANY) TRY(by_fours(g, compacts));
  else if (compacts) TRY(by_warps(g));
  else {
    bdl_str_addf(&g->m->text, "%*s", g->indent, "");
    bdl_export_each(g->m, "i", g->g->n);
    ADD(" {\n");
    g->indent += 2;
    TRY(bdl_export_elements(g));
    g->indent -= 2;
    LINE("}\n");
  }
  if (reduces || compacts) LINE("sync();\n");
  combine(g);
  write_places(g);
  return BDL_OK;
}

bdl_status bdl_gpu_group(bdl_exporter *m, const bdl_inst *i, int indent) { return bdl_export_group_with(m, i, NULL, indent, loops); }

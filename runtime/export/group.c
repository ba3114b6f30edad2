/*
** group.c -- a fused group as one loop over its elements.
**
** A reduction keeps 16 interleaved partial results for each 512 elements and combines those in order, as the tile kernels do.
*/
#include <stdio.h>

#include "export/group.h"

#define ADD(...) bdl_str_addf(&g->m->text, __VA_ARGS__)
#define LINE(...) (bdl_str_addf(&g->m->text, "%*s", g->indent, ""), bdl_str_addf(&g->m->text, __VA_ARGS__))

static void root(bdl_export_grouper *g, int32_t k) {
  const bdl_tile_inst *t = &g->g->insts[k];
  if (t->kind == BDL_T_COMPACT) {
    LINE("if (");
    bdl_export_value_of(g, t, 0);
    ADD(t->dtype == BDL_BOOL ? ") p%" PRId32 "[n%" PRId32 "++] = i;\n" : " > 0) p%" PRId32 "[n%" PRId32 "++] = i;\n", t->z, k);
    return;
  }
  char part[32];
  snprintf(part, sizeof part, "r%" PRId32 "[i %% 16]", k);
  bdl_export_take_in(g, k, part);
}

/* ---- the loop, tile by tile where there is a reduction ------------------------------------------------------- */

static void reductions_at(bdl_export_grouper *g, bool begin, bool several) {
  for (int32_t k = 0; k < g->g->n_insts; k++) {
    const bdl_tile_inst *t = &g->g->insts[k];
    const char *code = bdl_emit_code((bdl_dtype)t->dtype), *op = t->kind == BDL_T_REDUCE ? bdl_export_reduction[t->op] : "";
    if (t->kind != BDL_T_REDUCE) continue;
    if (begin) LINE("begin_%s_%s(r%" PRId32 ");\n", op, code, k);
    else if (several) LINE("sum%" PRId32 " = first ? red_%s_%s(sum%" PRId32 ", end_%s_%s(r%" PRId32 ")) : end_%s_%s(r%" PRId32 ");\n", k, op,
                           code, k, op, code, k, op, code, k);
    else LINE("sum%" PRId32 " = end_%s_%s(r%" PRId32 ");\n", k, op, code, k);
  }
}

static bdl_status loops(bdl_export_grouper *g) {
  const int64_t n = g->g->n;
  bool reduces = false;
  for (int32_t k = 0; k < g->g->n_insts; k++) reduces |= g->g->insts[k].kind == BDL_T_REDUCE;
  const bool several = reduces && n > BDL_TILE;
  g->root = root;
  TRY(bdl_export_prologue(g));
  for (int32_t k = 0; k < g->g->n_insts; k++) {
    const bdl_tile_inst *t = &g->g->insts[k];
    if (t->kind == BDL_T_COMPACT) LINE("int32_t n%" PRId32 " = 0;\n", k);
    if (t->kind == BDL_T_REDUCE) LINE("%s r%" PRId32 "[16], sum%" PRId32 " = 0;\n", bdl_export_ctype((bdl_dtype)t->dtype), k, k);
    if (bdl_export_keeps_nan(t)) LINE("bool nan%" PRId32 " = false;\n", k);
  }
  if (several) {
    LINE("for (int32_t first = 0; first < %" PRId64 "; first += %d) {\n", n, BDL_TILE);
    g->indent += 2;
  }
  reductions_at(g, true, several);
  if (several) LINE("for (int32_t i = first; i < first + %d && i < %" PRId64 "; i++) {\n", BDL_TILE, n);
  else LINE("for (int32_t i = 0; i < %" PRId64 "; i++) {\n", n);
  g->indent += 2;
  TRY(bdl_export_elements(g));
  g->indent -= 2;
  LINE("}\n");
  reductions_at(g, false, several);
  if (several) {
    g->indent -= 2;
    LINE("}\n");
  }
  for (int32_t k = 0; k < g->g->n_insts; k++) {
    const bdl_tile_inst *t = &g->g->insts[k];
    const char *code = bdl_emit_code((bdl_dtype)t->dtype);
    if (t->kind == BDL_T_COMPACT) LINE("*p%" PRId32 " = n%" PRId32 ";\n", t->y, k);
    if (t->kind != BDL_T_REDUCE) continue;
    if (bdl_export_keeps_nan(t)) LINE("*p%" PRId32 " = nan_%s_%s(sum%" PRId32 ", nan%" PRId32 ");\n", t->y, bdl_export_reduction[t->op], code, k, k);
    else LINE("*p%" PRId32 " = sum%" PRId32 ";\n", t->y, k);
  }
  return BDL_OK;
}

bdl_status bdl_export_group(bdl_exporter *m, const bdl_inst *i, int indent) { return bdl_export_group_with(m, i, NULL, indent, loops); }

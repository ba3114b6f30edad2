/*
** element.c -- one element of a fused group as C: operands that are read once stand before the loop over the elements, values in
** variables.  An element is read, worked on and stored before the next: what the plan stores in place of an operand is read at the
** same element, or before the loop where it is one for all.
*/
#include <stdio.h>
#include <string.h>

#include "exec/emit_ops.h"
#include "export/group.h"
#include "prim/prim.h"

#define ADD(...) bdl_str_addf(&g->m->text, __VA_ARGS__)
#define LINE(...) (bdl_str_addf(&g->m->text, "%*s", g->indent, ""), bdl_str_addf(&g->m->text, __VA_ARGS__))

static const bdl_operand *operand_of(const bdl_export_grouper *g, int32_t h) { return &g->g->operands[h]; }

/* ---- before the loop ------------------------------------------------------------------------------------ */

static bdl_status pointer(bdl_export_grouper *g, int32_t h, bdl_dtype d, bool written) {
  char place[BDL_EXPORT_PLACE];
  if (!bdl_group_in_memory(g->g, h) || g->pointer[h] || g->local[h] >= 0) return BDL_OK;
  g->pointer[h] = true;
  TRY(bdl_export_place_text(g->m, operand_of(g, h)->ref, place));
  LINE("%s%s *const p%" PRId32 " = %s;\n", written ? "" : "const ", bdl_export_ctype(d), h, place);
  if (g->m->to->collective) LINE("IN_GLOBAL(p%" PRId32 ");\n", h);
  return BDL_OK;
}

/* Is operand h written by an instruction? */
static bool is_written(const bdl_export_grouper *g, int32_t h) {
  for (int32_t k = 0; k < g->g->n_insts; k++)
    if (g->g->insts[k].z == h && g->g->insts[k].kind != BDL_T_REDUCE) return true;
  return false;
}

/* A scalar that is known is written where it is used. */
static const void *known_scalar(const bdl_export_grouper *g, int32_t h) {
  return operand_of(g, h)->kind == BDL_O_SCALAR ? bdl_export_known(g->m, operand_of(g, h)->ref) : NULL;
}

static bdl_status scalar(bdl_export_grouper *g, int32_t h, bdl_dtype d) {
  if (g->loaded[h]) return BDL_OK;
  g->loaded[h] = true;
  if (known_scalar(g, h)) return BDL_OK;
  TRY(pointer(g, h, d, is_written(g, h)));
  LINE("const %s c%" PRId32 " = *p%" PRId32 ";\n", d == BDL_BOOL ? "bool" : bdl_export_ctype(d), h, h);
  return BDL_OK;
}

bdl_status bdl_export_prologue(bdl_export_grouper *g) {
  const bdl_group *group = g->g;
  for (int32_t h = 0; h <= group->n_operands; h++) g->def[h] = -1, g->pointer[h] = g->loaded[h] = false;
  for (int32_t k = 0; k < group->n_insts; k++) {
    const bdl_tile_inst *t = &group->insts[k];
    if (t->kind == BDL_T_OP && t->op == BDL_TILE_random_bits) TRY(pointer(g, t->x, BDL_U32, false));
    for (int j = 0; j < bdl_tile_arity(g->g, t); j++) {
      const int32_t h = bdl_tile_operand(t, j);
      if (g->def[h] >= 0 || operand_of(g, h)->kind == BDL_O_REG) continue;
      if (operand_of(g, h)->kind == BDL_O_SCALAR) TRY(scalar(g, h, bdl_tile_dtype(t, j)));
      else TRY(pointer(g, h, bdl_tile_dtype(t, j), is_written(g, h)));
    }
    if (t->kind == BDL_T_LOAD) {
      char place[BDL_EXPORT_PLACE];
      TRY(bdl_export_place_text(g->m, t->load->ref, place));
      LINE("const %s *const l%" PRId32 " = %s;\n", bdl_export_ctype((bdl_dtype)t->dtype), k, place);
      if (g->m->to->collective) LINE("IN_GLOBAL(l%" PRId32 ");\n", k);
    }
    if (t->kind == BDL_T_COMPACT) {
      TRY(pointer(g, t->z, BDL_I32, true));
      TRY(pointer(g, t->y, BDL_I32, true));
    } else if (t->kind == BDL_T_REDUCE) {
      TRY(pointer(g, t->y, (bdl_dtype)t->dtype, true));
      if (g->m->to->collective) TRY(pointer(g, t->z, (bdl_dtype)t->dtype, true));
    } else {
      TRY(pointer(g, t->z, (bdl_dtype)t->result, true));
      g->def[t->z] = k;
    }
  }
  for (int32_t h = 0; h <= group->n_operands; h++) g->def[h] = -1;
  return BDL_OK;
}

/* ---- an element --------------------------------------------------------------------------------------------- */

void bdl_export_value_of(bdl_export_grouper *g, const bdl_tile_inst *t, int j) {
  const int32_t h = bdl_tile_operand(t, j), s = g->def[h];
  const void *known;
  if (s >= 0 && g->g->insts[s].kind == BDL_T_OP && g->g->insts[s].op == BDL_TILE_splat) {
    const bdl_tile_inst splat = {.kind = BDL_T_OP, .op = BDL_TILE_copy, .dtype = (uint8_t)bdl_tile_dtype(t, j), .x = g->g->insts[s].x};
    const int32_t def = g->def[splat.x];
    g->def[splat.x] = -1;
    bdl_export_value_of(g, &splat, 0);
    g->def[splat.x] = def;
  } else if (s >= 0) ADD("v%" PRId32, s);
  else if ((known = known_scalar(g, h))) bdl_export_literal(&g->m->text, bdl_tile_dtype(t, j), known, false);
  else if (operand_of(g, h)->kind == BDL_O_SCALAR) ADD("c%" PRId32, h);
  else if (g->local[h] >= 0) ADD("x%" PRId32, g->local[h]);
  else ADD("p%" PRId32 "[i]", h);
}

void bdl_export_take_in(bdl_export_grouper *g, int32_t k, const char *part) {
  const bdl_tile_inst *t = &g->g->insts[k];
  const char *code = bdl_emit_code((bdl_dtype)t->dtype);
  LINE("%s = red_%s_%s(%s, ", part, bdl_export_reduction[t->op], code, part);
  bdl_export_value_of(g, t, 0);
  ADD(");\n");
  if (!bdl_export_keeps_nan(t)) return;
  LINE("if (k_is_nan_%s(", code);
  bdl_export_value_of(g, t, 0);
  ADD(")) nan%" PRId32 " = true;\n", k);
}

void bdl_export_load(bdl_export_grouper *g, int32_t k) {
  const bdl_load *l = g->g->insts[k].load;
  int64_t inner = 1;
  ADD("l%" PRId32 "[", k);
  if (l->ndim == 0) ADD("0");
  for (int a = l->ndim - 1; a >= 0; a--) {
    if (l->stride[a] != 0) {
      ADD(a < l->ndim - 1 ? " + " : "");
      if (inner == 1 && a == 0) ADD("i");
      else if (inner == 1) ADD("i %% %" PRId64, l->shape[a]);
      else if (a == 0) ADD("i / %" PRId64, inner);
      else ADD("i / %" PRId64 " %% %" PRId64, inner, l->shape[a]);
      if (l->stride[a] != 1) ADD(" * %" PRId64, l->stride[a]);
    } else if (a == l->ndim - 1) ADD("0");
    inner *= l->shape[a];
  }
  ADD("]");
}

static void bitcast(bdl_export_grouper *g, const bdl_tile_inst *t) {
  const bdl_dtype from = (bdl_dtype)t->dtype, to = (bdl_dtype)t->result;
  if (from == to) bdl_export_value_of(g, t, 0);
  else if (bdl_dtype_is_float(to)) ADD("floats_%s((%s)", bdl_emit_code(to), to == BDL_F32 ? "uint32_t" : "uint64_t"), bdl_export_value_of(g, t, 0), ADD(")");
  else if (bdl_dtype_is_float(from)) ADD("(%s)words_%s(", bdl_export_ctype(to), bdl_emit_code(from)), bdl_export_value_of(g, t, 0), ADD(")");
  else ADD("(%s)", bdl_export_ctype(to)), bdl_export_value_of(g, t, 0);
}

/* The numbers that the plan keeps for an operation. */
static int64_t immediate(const bdl_export_grouper *g, int32_t h, int at) { return ((const int64_t *)bdl_export_known(g->m, operand_of(g, h)->ref))[at]; }

/* The function of an operation, or that it has none without math.h. */
static bdl_status function(bdl_export_grouper *g, const bdl_tile_inst *t) {
  char name[64];
  const char *missing;
  snprintf(name, sizeof name, "k_%s_%s", bdl_emit_op_name(t->op), bdl_emit_code((bdl_dtype)t->dtype));
  TRY(bdl_export_library_take(g->m->lib, name, (int64_t)strlen(name), &missing));
  ADD("%s(", name);
  if (!missing) return BDL_OK;
  int n = 0;
  while ((missing[n] >= 'a' && missing[n] <= 'z') || (missing[n] >= '0' && missing[n] <= '9')) n++;
  bdl_fail(g->m->c, BDL_ENOTSUP, "export: %s needs %.*s of math.h, for which there is no form of our own", bdl_prims[t->prim].name, n,
           missing);
  bdl_hint(g->m->c, "export with --math libm, or put another function in its place");
  bdl_where(g->m->c, g->inst->src);
  return BDL_ENOTSUP;
}

static bdl_status operation(bdl_export_grouper *g, const bdl_tile_inst *t) {
  switch (t->op) {
    case BDL_TILE_copy: case BDL_TILE_stop_gradient: bdl_export_value_of(g, t, 0); return BDL_OK;
    case BDL_TILE_bitcast: bitcast(g, t); return BDL_OK;
    case BDL_TILE_select: bdl_export_value_of(g, t, 0), ADD(" ? "), bdl_export_value_of(g, t, 1), ADD(" : "), bdl_export_value_of(g, t, 2); return BDL_OK;
    case BDL_TILE_cast:
      ADD("k_cast_%s_%s(", bdl_emit_code((bdl_dtype)t->dtype), bdl_emit_code((bdl_dtype)t->result)), bdl_export_value_of(g, t, 0), ADD(")");
      return BDL_OK;
    case BDL_TILE_iota: {
      const int64_t inner = immediate(g, t->x, 0), extent = immediate(g, t->x, 1);
      ADD("(%s)(", bdl_export_ctype((bdl_dtype)t->result));
      if (inner == 1) ADD("i %% %" PRId64 ")", extent);
      else ADD("i / %" PRId64 " %% %" PRId64 ")", inner, extent);
      return BDL_OK;
    }
    case BDL_TILE_random_bits: {
      const int64_t words = t->y < g->g->n_operands ? immediate(g, t->y, 0) : 0;
      ADD("k_random_bits_%s(p%" PRId32 ", %" PRId64 ", i)", bdl_emit_code((bdl_dtype)t->result), t->x, words);
      return BDL_OK;
    }
    default: break;
  }
  TRY(function(g, t));
  for (int j = 0; j < bdl_tile_arity(g->g, t); j++) ADD(j ? ", " : ""), bdl_export_value_of(g, t, j);
  if (t->op == BDL_TILE_integer_pow || t->op == BDL_TILE_polygamma) ADD(", %" PRId64, immediate(g, t->y, 0));
  ADD(")");
  return BDL_OK;
}

bdl_status bdl_export_elements(bdl_export_grouper *g) {
  for (int32_t k = 0; k < g->g->n_insts; k++) {
    const bdl_tile_inst *t = &g->g->insts[k];
    if (bdl_tile_is_root(t)) {
      g->root(g, k);
      continue;
    }
    if (t->kind == BDL_T_LOAD || t->op != BDL_TILE_splat) {
      LINE("const %s v%" PRId32 " = ", t->result == BDL_BOOL ? "bool" : bdl_export_ctype((bdl_dtype)t->result), k);
      if (t->kind == BDL_T_LOAD && g->early[k]) ADD("one_%s(&y%" PRId32 ", u)", bdl_emit_code((bdl_dtype)t->dtype), k);
      else if (t->kind == BDL_T_LOAD) bdl_export_load(g, k);
      else TRY(operation(g, t));
      ADD(";\n");
      if (g->local[t->z] >= 0) LINE("x%" PRId32 " = v%" PRId32 ";\n", g->local[t->z], k);
      else if (bdl_group_in_memory(g->g, t->z)) LINE("p%" PRId32 "[i] = v%" PRId32 ";\n", t->z, k);
    }
    g->def[t->z] = k;
  }
  return BDL_OK;
}

const char *const bdl_export_reduction[BDL_RED_COUNT] = {"sum", "prod", "max", "min", "and", "or"};

bdl_status bdl_export_group_with(bdl_exporter *m, const bdl_inst *i, const bdl_inst *scan, int indent, bdl_status (*loops)(bdl_export_grouper *g)) {
  const size_t n = (size_t)i->group->n_operands + 1, n_insts = (size_t)i->group->n_insts + 1;
  bdl_export_grouper own = {.m = m, .inst = i, .g = i->group, .scan = scan, .indent = indent}, *g = &own;
  g->def = bdl_alloc(m->c, n * sizeof *g->def);
  g->pointer = bdl_alloc(m->c, n);
  g->loaded = bdl_alloc(m->c, n);
  g->local = bdl_alloc(m->c, n * sizeof *g->local);
  g->early = bdl_calloc(m->c, n_insts);
  for (size_t h = 0; g->local && h < n; h++) g->local[h] = -1;
  const bdl_status s = g->def && g->pointer && g->loaded && g->local && g->early ? loops(g) : BDL_ENOMEM;
  bdl_free(m->c, g->early, n_insts);
  bdl_free(m->c, g->local, n * sizeof *g->local);
  bdl_free(m->c, g->def, n * sizeof *g->def);
  bdl_free(m->c, g->pointer, n);
  bdl_free(m->c, g->loaded, n);
  return s;
}

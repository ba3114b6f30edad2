/*
** steps.c -- a scan whose elements know nothing of one another (plan/tiled.c): each thread takes an element through many steps, what
** it carries in registers.  Between such runs of steps the loop may stop.
*/
#include "gpu/program.h"
#include "export/group.h"

#define ADD(...) bdl_str_addf(&g->m->text, __VA_ARGS__)
#define LINE(...) (bdl_str_addf(&g->m->text, "%*s", g->indent, ""), bdl_str_addf(&g->m->text, __VA_ARGS__))

enum { MOST_STEPS = 4096, LEAST_STEPS = 64 };
#define WORK (INT64_C(1) << 33) /* element operations of a run: a few milliseconds */

/* Its one group, and copies of what that makes, to rows of the step. */
static bool alone(const bdl_inst *scan) {
  const bdl_tiled *d = scan->scan.tiled;
  if (!d || d->n_notes || scan->scan.body.v[d->group].group->n_roots) return false;
  for (int32_t k = 0; k < scan->scan.body.n; k++)
    if (k != d->group && !d->taken[k]) return false;
  return true;
}

static bool is_moving(const bdl_export_grouper *g, bdl_ref r) { return g->m->plan->slots.v[r.slot].kind == BDL_S_MOVING; }

/* Operand h, an array that stays where it is, becomes a variable: the first one of that place. */
static void make_local(bdl_export_grouper *g, int32_t h) {
  const bdl_operand *o = &g->g->operands[h];
  if (h >= g->g->n_operands || o->kind != BDL_O_ARRAY || is_moving(g, o->ref) || g->local[h] >= 0) return;
  int32_t first = 0;
  while (g->g->operands[first].kind != BDL_O_ARRAY || g->g->operands[first].ref.slot != o->ref.slot ||
         g->g->operands[first].ref.offset != o->ref.offset)
    first++;
  g->local[h] = first;
}

static bdl_dtype dtype_of(const bdl_export_grouper *g, int32_t h) {
  for (int32_t k = 0; k < g->g->n_insts; k++) {
    const bdl_tile_inst *t = &g->g->insts[k];
    if (t->z == h) return (bdl_dtype)t->result;
    for (int j = 0; j < bdl_tile_arity(g->g, t); j++)
      if (bdl_tile_operand(t, j) == h) return bdl_tile_dtype(t, j);
  }
  return BDL_F32;
}

static bool is_written(const bdl_export_grouper *g, int32_t h) {
  for (int32_t k = 0; k < g->g->n_insts; k++)
    if (bdl_group_in_memory(g->g, g->g->insts[k].z) && g->local[g->g->insts[k].z] == h) return true;
  return false;
}

static bdl_status pointers(bdl_export_grouper *g) {
  char place[BDL_EXPORT_PLACE];
  for (int32_t k = 0; k < g->g->n_insts; k++) {
    const bdl_tile_inst *t = &g->g->insts[k];
    make_local(g, t->z);
    for (int j = 0; j < bdl_tile_arity(g->g, t); j++) make_local(g, bdl_tile_operand(t, j));
  }
  for (int32_t h = 0; h < g->g->n_operands; h++) {
    if (g->local[h] != h) continue;
    TRY(bdl_export_place_text(g->m, g->g->operands[h].ref, place));
    LINE("%s *const q%" PRId32 " = %s;\n", bdl_export_ctype(dtype_of(g, h)), h, place);
    LINE("IN_GLOBAL(q%" PRId32 ");\n", h);
  }
  return BDL_OK;
}

/* Part of what the group makes to a row: element i, if it is of that part. */
static bdl_status take(bdl_export_grouper *g, const bdl_inst *copy) {
  char place[BDL_EXPORT_PLACE];
  for (int32_t k = g->g->n_insts - 1; k >= 0; k--) {
    const bdl_operand *z = &g->g->operands[g->g->insts[k].z];
    if (z->kind != BDL_O_ARRAY || z->ref.slot != copy->copy.src.slot) continue;
    const int64_t lo = (copy->copy.src.offset - z->ref.offset) / z->size, n = (int64_t)copy->copy.bytes / z->size;
    TRY(bdl_export_place_text(g->m, copy->copy.dst, place));
    LINE("if (i >= %" PRId64 " && i < %" PRId64 ") (%s)[i - %" PRId64 "] = v%" PRId32 ";\n", lo, lo + n, place, lo, k);
    return BDL_OK;
  }
  return bdl_fail(g->m->c, BDL_EINTERNAL, "a copy of what nobody makes");
}

static bdl_status one_element(bdl_export_grouper *g, const bdl_inst *scan) {
  const bdl_tiled *d = scan->scan.tiled;
  for (int32_t h = 0; h < g->g->n_operands; h++)
    if (g->local[h] == h) LINE("%s x%" PRId32 " = q%" PRId32 "[i];\n", bdl_export_ctype(dtype_of(g, h)), h, h);
  LINE("for (int32_t t%" PRId32 " = from; t%" PRId32 " < to; t%" PRId32 "++) {\n", scan->id, scan->id, scan->id);
  g->indent += 2;
  TRY(bdl_export_rows(g->m, scan, g->indent));
  TRY(bdl_export_prologue(g));
  TRY(bdl_export_elements(g));
  for (int32_t k = 0; k < scan->scan.body.n; k++)
    if (d->taken[k]) TRY(take(g, &scan->scan.body.v[k]));
  g->indent -= 2;
  LINE("}\n");
  for (int32_t h = 0; h < g->g->n_operands; h++)
    if (g->local[h] == h && is_written(g, h)) LINE("q%" PRId32 "[i] = x%" PRId32 ";\n", h, h);
  return BDL_OK;
}

static bdl_status loops(bdl_export_grouper *g) {
  const bdl_inst *scan = g->scan;
  const int64_t n = scan->scan.length, work = BDL_MAX(g->g->n * g->g->n_insts, 1);
  const int64_t steps = BDL_MIN(n, BDL_MAX(LEAST_STEPS, BDL_MIN(MOST_STEPS, WORK / work)));
  LINE("for (int32_t from = 0; from < %" PRId64 "; from += %" PRId64 ") {\n", n, steps);
  g->indent += 2;
  LINE("const int32_t to = %" PRId64 " - from < %" PRId64 " ? %" PRId64 " : from + %" PRId64 ";\n", n, steps, n, steps);
  TRY(pointers(g));
  ADD("%*s", g->indent, "");
  bdl_export_each(g->m, "i", g->g->n);
  ADD(" {\n");
  g->indent += 2;
  TRY(one_element(g, scan));
  g->indent -= 2;
  LINE("}\n");
  LINE("sync();\n");
  TRY(bdl_gpu_tell(g->m, scan, g->indent, "to"));
  if (steps < n && (g->m->loops == 0 || !g->m->plan->loop_only)) TRY(bdl_gpu_look(g->m, scan, g->indent, "to"));
  LINE("if (stopped) break;\n");
  g->indent -= 2;
  LINE("}\n");
  return BDL_OK;
}

bdl_status bdl_gpu_steps_alone(bdl_exporter *m, const bdl_inst *i, int indent, bool *done) {
  *done = alone(i);
  if (!*done) return BDL_OK;
  const bdl_inst *group = &i->scan.body.v[i->scan.tiled->group];
  bdl_gpu_lap(m, group, i->scan.length, indent);
  return bdl_export_group_with(m, group, i, indent, loops);
}

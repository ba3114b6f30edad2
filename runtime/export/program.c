/*
** program.c -- the body of an exported function: the instructions of its plan one after another, loops and branches around theirs.
*/
#include <string.h>

#include "export/build.h"

#define ADD BDL_ADD
#define LINE(...) (BDL_ADD("%*s", indent, ""), BDL_ADD(__VA_ARGS__))

static void lines_of(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bool group = i->kind == BDL_I_GROUP;
  const bdl_src *line = group ? i->group->lines : &i->src;
  const int32_t n = group ? i->group->n_lines : i->src.file != NULL;
  if (n == 0) return;
  LINE("/* %s:%" PRId32, line[0].file, line[0].line);
  for (int32_t k = 1; k < n && k < 8; k++)
    if (line[k].file == line[k - 1].file) ADD(", %" PRId32, line[k].line);
    else ADD(", %s:%" PRId32, line[k].file, line[k].line);
  ADD(n > 8 ? ", .. */\n" : " */\n");
}

static bdl_status copy(bdl_exporter *m, bdl_ref dst, bdl_ref src, size_t bytes, int indent) {
  char to[BDL_EXPORT_PLACE], from[BDL_EXPORT_PLACE];
  TRY(bdl_export_place_text(m, dst, to));
  TRY(bdl_export_place_text(m, src, from));
  if (strcmp(to, from) != 0) bdl_export_copy(m, indent, to, from, bytes);
  return BDL_OK;
}

bdl_status bdl_export_row(bdl_exporter *m, int32_t slot, int indent) {
  const bdl_row *r = m->plan->slots.v[slot].row;
  LINE("%s%s *const m%" PRId32 " = ", bdl_export_is_const(m, slot) ? "const " : "", bdl_export_ctype(m->dtype[slot]), slot);
  TRY(bdl_export_place(m, r->base));
  ADD(" + clamped(*(");
  TRY(bdl_export_place(m, r->index));
  ADD("), %" PRId64 ", 1) * %" PRId64 ";\n", r->last + 1, r->step / (int64_t)bdl_dtype_size(m->dtype[slot]));
  LINE("(void)m%" PRId32 ";\n", slot);
  return BDL_OK;
}

bdl_status bdl_export_rows(bdl_exporter *m, const bdl_inst *i, int indent) {
  for (int32_t k = 0; k < i->scan.n_moving; k++) {
    const struct bdl_moving *row = &i->scan.moving[k];
    const int64_t step = row->step / (int64_t)bdl_dtype_size(m->dtype[row->slot]);
    LINE("%s%s *const m%" PRId32 " = ", bdl_export_is_const(m, row->slot) ? "const " : "", bdl_export_ctype(m->dtype[row->slot]), row->slot);
    TRY(bdl_export_place(m, row->base));
    if (i->scan.reverse) ADD(" + (%" PRId64 " - t%" PRId32 ") * %" PRId64 ";\n", i->scan.length - 1, i->id, step);
    else ADD(" + t%" PRId32 " * %" PRId64 ";\n", i->id, step);
  }
  for (int32_t k = 0; k < i->scan.n_moving; k++) LINE("(void)m%" PRId32 ";\n", i->scan.moving[k].slot);
  return BDL_OK;
}

static void settle(bdl_exporter *m, int indent) {
  if (m->to->settle) m->to->settle(m, indent);
}

static bdl_status scan(bdl_exporter *m, const bdl_inst *i, int indent) {
  bool done = false;
  settle(m, indent);
  if (m->to->scan) TRY(m->to->scan(m, i, indent, &done));
  if (done) return BDL_OK;
  LINE("for (int32_t t%" PRId32 " = 0; t%" PRId32 " < %" PRId64 "; t%" PRId32 "++) {\n", i->id, i->id, i->scan.length, i->id);
  TRY(bdl_export_rows(m, i, indent + 2));
  m->loops++;
  TRY(bdl_export_block(m, &i->scan.body, indent + 2));
  m->loops--;
  settle(m, indent + 2);
  if (m->to->stepped) TRY(m->to->stepped(m, i, indent + 2));
  LINE("}\n");
  return BDL_OK;
}

static bdl_status while_loop(bdl_exporter *m, const bdl_inst *i, int indent) {
  settle(m, indent);
  if (m->to->stepped) LINE("for (int32_t t%" PRId32 " = 0;; t%" PRId32 "++) {\n", i->id, i->id);
  else LINE("for (;;) {\n");
  m->loops++;
  TRY(bdl_export_block(m, &i->loop.cond, indent + 2));
  settle(m, indent + 2);
  LINE("  const bool more = *(");
  TRY(bdl_export_place(m, i->loop.pred));
  ADD(");\n");
  bdl_export_sync(m, indent + 2); /* all have seen it, before the next round writes another */
  LINE("  if (!more) break;\n");
  TRY(bdl_export_block(m, &i->loop.body, indent + 2));
  m->loops--;
  settle(m, indent + 2);
  if (m->to->stepped) TRY(m->to->stepped(m, i, indent + 2));
  LINE("}\n");
  return BDL_OK;
}

static bdl_status cond(bdl_exporter *m, const bdl_inst *i, int indent) {
  const int32_t last = i->cond.n - 1;
  settle(m, indent);
  LINE("{\n");
  indent += 2;
  LINE("const int32_t branch = clamped(*(");
  TRY(bdl_export_place(m, i->cond.index));
  ADD("), %" PRId32 ", 1);\n", i->cond.n);
  bdl_export_sync(m, indent);
  LINE("switch (branch) {\n");
  for (int32_t k = 0; k < i->cond.n; k++) {
    if (k < last) LINE("  case %" PRId32 ": {\n", k);
    else LINE("  default: {\n");
    TRY(bdl_export_block(m, &i->cond.branches[k], indent + 4));
    settle(m, indent + 4);
    LINE("    break;\n");
    LINE("  }\n");
  }
  LINE("}\n");
  indent -= 2;
  LINE("}\n");
  return BDL_OK;
}

bdl_status bdl_export_instruction(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bool plain = i->kind == BDL_I_COPY || i->kind == BDL_I_GROUP || i->kind == BDL_I_KERNEL || i->kind == BDL_I_ROW;
  if (plain && m->to->before) TRY(m->to->before(m, i, indent));
  switch (i->kind) {
    case BDL_I_COPY: TRY(copy(m, i->copy.dst, i->copy.src, i->copy.bytes, indent)); break;
    case BDL_I_GROUP:
      if (i->group->n == 0 && i->group->n_roots == 0) return BDL_OK;
      lines_of(m, i, indent);
      LINE("{\n");
      TRY(m->to->group(m, i, indent + 2));
      LINE("}\n");
      break;
    case BDL_I_ROW: return bdl_export_row(m, i->row, indent);
    case BDL_I_SCAN: lines_of(m, i, indent); return scan(m, i, indent);
    case BDL_I_WHILE: lines_of(m, i, indent); return while_loop(m, i, indent);
    case BDL_I_COND: lines_of(m, i, indent); return cond(m, i, indent);
    case BDL_I_KERNEL: lines_of(m, i, indent); return m->to->kernel(m, i, indent);
  }
  return BDL_OK;
}

bdl_status bdl_export_block(bdl_exporter *m, const bdl_block *b, int indent) {
  for (int32_t k = 0; k < b->n; k++) TRY(bdl_export_instruction(m, &b->v[k], indent));
  return m->text.failed ? BDL_ENOMEM : BDL_OK;
}

/* States that could not be written before now. */
static bdl_status bring_home(bdl_exporter *m) {
  const bdl_export_fn *fn = m->fn;
  for (int32_t k = 0; k < fn->plan->n_out; k++) {
    const int32_t slot = fn->plan->n_in + k;
    if (!m->shadow[slot]) continue;
    ADD("  memcpy(s->%s, ", m->x->leaves[~fn->out[k]].value.name);
    TRY(bdl_export_place(m, (bdl_ref){slot, 0}));
    ADD(", %zu);\n", fn->plan->slots.v[slot].bytes);
  }
  return BDL_OK;
}

bdl_status bdl_export_function(bdl_exporter *m, const bdl_export_fn *fn) {
  bdl_status s = bdl_export_places(m, fn);
  if (s == BDL_OK) {
    ADD("  (void)s, (void)w");
    for (int32_t k = 0; k < fn->n_args; k++) ADD(", (void)in_%s", fn->args[k].name);
    for (int32_t k = 0; k < fn->n_results; k++) ADD(", (void)out_%s", fn->results[k].name);
    ADD(";\n");
    s = bdl_export_block(m, &fn->plan->block, 2);
  }
  if (s == BDL_OK) s = bring_home(m);
  ADD("  return 0;\n");
  bdl_export_places_free(m);
  return s == BDL_OK && m->text.failed ? BDL_ENOMEM : s;
}

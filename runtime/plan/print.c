/*
** print.c -- a plan as text: instructions, fused groups, and where every slot lives.
*/
#include "plan/plan.h"
#include "prim/prim.h"

static const char *const KIND[] = {"in", "out", "const", "literal", "arena", "slice", "row"};

static void ref(bdl_str *o, bdl_ref r) {
  bdl_str_addf(o, "$%d", r.slot);
  if (r.offset) bdl_str_addf(o, "+%lld", (long long)r.offset);
}

static void operand(bdl_str *o, const bdl_group *g, int32_t k) {
  const bdl_operand *x = &g->operands[k];
  if (x->kind == BDL_O_REG) bdl_str_addf(o, "r%d", x->reg);
  else {
    ref(o, x->ref);
    if (x->kind == BDL_O_ARRAY) bdl_str_addf(o, "[i]");
    if (x->kind == BDL_O_PARTIAL) bdl_str_addf(o, "[tile]");
  }
}

static void group(bdl_str *o, const bdl_group *g, int indent) {
  char text[BDL_AVAL_TEXT];
  const char *shape = bdl_aval_text(&g->domain, false, text);
  while (*shape && *shape != '[') shape++;
  bdl_str_addf(o, "%*sgroup %s: %d operations, %d registers of %d bytes\n", indent, "", shape, g->n_insts, g->n_regs, g->reg_bytes);
  for (int32_t i = 0; i < g->n_insts; i++) {
    const bdl_tile_inst *t = &g->insts[i];
    bdl_str_addf(o, "%*s", indent + 2, "");
    if (i < g->n_prologue) bdl_str_addf(o, "once ");
    operand(o, g, t->z);
    if (t->kind == BDL_T_LOAD) {
      bdl_str_addf(o, " = load ");
      ref(o, t->load->ref);
      for (int k = 0; k < t->load->ndim; k++) bdl_str_addf(o, "%s%lldx%lld", k ? ", " : " strides ", (long long)t->load->shape[k], (long long)t->load->stride[k]);
    } else if (t->kind == BDL_T_OP) {
      bdl_str_addf(o, " = %s", bdl_prims[t->prim].name);
      if (t->then) bdl_str_addf(o, "-%s", bdl_prims[t->then].name);
      const int32_t in[3] = {t->x, t->y, t->w};
      for (int k = 0; k < 3; k++)
        if (in[k] < g->n_operands) bdl_str_add(o, " ", 1), operand(o, g, in[k]);
    } else {
      bdl_str_addf(o, ", ");
      operand(o, g, t->y);
      bdl_str_addf(o, " = %s ", bdl_prims[t->prim].name);
      operand(o, g, t->x);
    }
    bdl_str_add(o, "\n", 1);
  }
}

static void block(bdl_str *o, const bdl_plan *p, const bdl_block *b, int indent) {
  for (int32_t i = 0; i < b->n; i++) {
    const bdl_inst *x = &b->v[i];
    switch (x->kind) {
      case BDL_I_GROUP: group(o, x->group, indent); break;
      case BDL_I_KERNEL:
        bdl_str_addf(o, "%*s%s", indent, "", bdl_prims[x->prim].name);
        for (int32_t k = 0; k < x->kernel.n_in; k++) bdl_str_add(o, " ", 1), ref(o, x->kernel.in[k]);
        bdl_str_addf(o, " ->");
        for (int32_t k = 0; k < x->kernel.n_out; k++) bdl_str_add(o, " ", 1), ref(o, x->kernel.out[k]);
        if (x->kernel.scratch >= 0) bdl_str_addf(o, " scratch $%d", x->kernel.scratch);
        bdl_str_add(o, "\n", 1);
        break;
      case BDL_I_COPY:
        bdl_str_addf(o, "%*scopy ", indent, "");
        ref(o, x->copy.src);
        bdl_str_addf(o, " -> ");
        ref(o, x->copy.dst);
        bdl_str_addf(o, " %zu bytes\n", x->copy.bytes);
        break;
      case BDL_I_ROW: {
        const bdl_row *r = p->slots.v[x->row].row;
        bdl_str_addf(o, "%*s$%d = ", indent, "", x->row);
        ref(o, r->base);
        bdl_str_addf(o, " + %lld * (", (long long)r->step);
        ref(o, r->index);
        bdl_str_addf(o, " in 0..%lld)\n", (long long)r->last);
        break;
      }
      case BDL_I_SCAN:
        bdl_str_addf(o, "%*sscan %lld%s", indent, "", (long long)x->scan.length, x->scan.reverse ? " reversed" : "");
        if (x->scan.tiled) bdl_str_addf(o, ", %lld steps tile by tile", (long long)x->scan.tiled->steps);
        for (int32_t k = 0; k < x->scan.n_moving; k++) {
          bdl_str_addf(o, "%s$%d in ", k ? ", " : ": ", x->scan.moving[k].slot);
          ref(o, x->scan.moving[k].base);
        }
        bdl_str_add(o, "\n", 1);
        block(o, p, &x->scan.body, indent + 2);
        break;
      case BDL_I_WHILE:
        bdl_str_addf(o, "%*swhile\n", indent, "");
        block(o, p, &x->loop.cond, indent + 2);
        bdl_str_addf(o, "%*sdo while ", indent, "");
        ref(o, x->loop.pred);
        bdl_str_add(o, "\n", 1);
        block(o, p, &x->loop.body, indent + 2);
        break;
      case BDL_I_COND:
        for (int32_t k = 0; k < x->cond.n; k++) {
          bdl_str_addf(o, "%*scase %d of ", indent, "", k);
          ref(o, x->cond.index);
          bdl_str_add(o, "\n", 1);
          block(o, p, &x->cond.branches[k], indent + 2);
        }
        break;
    }
  }
}

bdl_status bdl_plan_print(const bdl_plan *p, bdl_str *o) {
  bdl_str_addf(o, "plan %s: %d in, %d out, arena %zu bytes\n", p->prog->name, p->n_in, p->n_out, p->arena_bytes);
  block(o, p, &p->block, 2);
  bdl_str_addf(o, "buffers:\n");
  for (int64_t i = 0; i < p->slots.n; i++) {
    const bdl_pslot *s = &p->slots.v[i];
    bdl_str_addf(o, "  $%lld %s %zu bytes", (long long)i, KIND[s->kind], s->bytes);
    if (s->kind == BDL_S_INPUT || s->kind == BDL_S_OUTPUT) bdl_str_addf(o, " #%d", s->index);
    if (s->kind == BDL_S_OUTPUT && p->inplace[s->index]) bdl_str_addf(o, " in place");
    if (s->kind == BDL_S_ARENA) bdl_str_addf(o, " at %zu, lives %d..%d", s->offset, s->first, s->last);
    bdl_str_add(o, "\n", 1);
  }
  return o->failed ? BDL_ENOMEM : BDL_OK;
}

/*
** explain.c -- a plan told to who wrote the model: what runs as one pass over memory, what ends a pass and why, and how much
** each part moves and computes.
*/
#include <stdio.h>

#include "base/context.h"
#include "plan/cost.h"
#include "plan/schedule.h"
#include "prim/prim.h"

enum { LABEL = 64 };

/* A program and its block on their way to text. */
typedef struct explainer {
  bdl_str *o;
  const bdl_prog *prog;
  bdl_schedule s;
  char label[LABEL]; /* of what stands around: "2." */
  int indent;
} explainer;

static void number(const explainer *x, int32_t node) { bdl_str_addf(x->o, "%s%d", x->label, node + 1); }

static void where(bdl_str *o, bdl_src s) {
  if (s.file) bdl_str_addf(o, " at %s:%d", s.file, s.line);
}

static const char *shape_of(const bdl_aval *a, char text[BDL_AVAL_TEXT]) {
  const char *s = bdl_aval_text(a, false, text);
  while (*s && *s != '[') s++;
  return a->ndim ? s : "one number";
}

static void add(bdl_cost *sum, bdl_cost c, double times) {
  sum->read += times * c.read;
  sum->written += times * c.written;
  sum->flops += times * c.flops;
  sum->at_most |= c.at_most && c.flops > 0; /* not of copies */
}

static void cost(bdl_str *o, bdl_cost c) {
  char read[BDL_SCALED_TEXT], written[BDL_SCALED_TEXT], flops[BDL_SCALED_TEXT];
  const double moved = c.read + c.written;
  bdl_str_addf(o, "%s%s read, %s written, %s", c.at_most ? "at most " : "", bdl_scaled_text(c.read, "B", read),
               bdl_scaled_text(c.written, "B", written), bdl_scaled_text(c.flops, "flop", flops));
  if (moved > 0 && c.flops > 0) bdl_str_addf(o, ", %.2g flop a byte", c.flops / moved);
  bdl_str_add(o, "\n", 1);
}

/* ---- why not more in one pass */

/* Why an equation has an instruction of its own. */
static const char *alone(const bdl_eqn *e) {
  switch (bdl_lowering_of(e->prim)->kind) {
    case BDL_LOWER_REDUCE: return "a reduction over some axes; one over all axes would end a pass instead";
    case BDL_LOWER_CONTROL: return "a loop or branch";
    default: break;
  }
  switch (e->prim) {
    case BDL_P_dot: case BDL_P_dot_add: case BDL_P_packed_dot: case BDL_P_conv: return "each result needs many elements of both operands";
    case BDL_P_event_dot: case BDL_P_csr_dot: case BDL_P_csr_scatter: case BDL_P_jitc_dot: case BDL_P_event_learn:
    case BDL_P_csr_learn:
      return "walks the active events, not the elements";
    case BDL_P_gather: case BDL_P_gather_along: case BDL_P_scatter: case BDL_P_scatter_along: case BDL_P_dynamic_slice:
    case BDL_P_dynamic_update_slice: return "its positions are known only while it runs";
    case BDL_P_concatenate: case BDL_P_pad: return "its parts have other shapes than the whole";
    case BDL_P_cumsum: case BDL_P_cumprod: case BDL_P_cummax: case BDL_P_cummin: case BDL_P_sort: case BDL_P_top_k:
    case BDL_P_argmax: case BDL_P_argmin: return "its elements depend on each other";
    case BDL_P_print: case BDL_P_error_if: case BDL_P_host_call:
      return "looks at whole values, in order with others of its kind";
    case BDL_P_etrace_step: case BDL_P_etrace_grad: case BDL_P_etrace_learn: return "one pass over the trace by a kernel of its own";
    default: return "a kernel of its own";
  }
}

/* Why `node`, a group that reads variable `in`, does not run with the earlier node that makes it; false: `in` is no reason. */
static bool reason(const explainer *x, const bdl_node *node, bdl_atom in) {
  const bdl_schedule *s = &x->s;
  const bdl_atom base = s->view.v[in].base;
  const int32_t from = s->def_node[base];
  const bdl_eqn *maker = &x->prog->eqns.v[x->prog->vars.v[base].index];
  const bdl_node *before = &s->nodes.v[from];
  char a[BDL_AVAL_TEXT], b[BDL_AVAL_TEXT];
  const bool same_shape = bdl_schedule_aligned(s, base, &node->domain);
  if (before->group && same_shape && bdl_schedule_aligned(s, in, &node->domain) && !bdl_schedule_is_root(x->prog, maker)) return false;
  bdl_str_addf(x->o, "%*snot with ", x->indent + 5, "");
  number(x, from);
  bdl_str_addf(x->o, ": it reads `%s`", bdl_prims[maker->prim].name);
  where(x->o, maker->src);
  if (!before->group) bdl_str_addf(x->o, ", which runs alone: %s", alone(maker));
  else if (maker->prim == BDL_P_event_ids) bdl_str_addf(x->o, ", the list of active events, which is complete only at the end");
  else if (bdl_schedule_is_root(x->prog, maker)) bdl_str_addf(x->o, ", which is complete only when every element was seen");
  else if (same_shape)
    bdl_str_addf(x->o, " in another order than it is made (a slice, permutation or reversal)");
  else
    bdl_str_addf(x->o, ", made over %s, not %s", shape_of(&before->domain, a), shape_of(&node->domain, b));
  bdl_str_add(x->o, "\n", 1);
  return true;
}

static bdl_status reasons(const explainer *x, int32_t n) {
  const bdl_node *node = &x->s.nodes.v[n];
  const size_t bytes = (size_t)n + 1;
  bool *told = bdl_calloc(x->s.ctx, bytes);
  if (!told) return BDL_ENOMEM;
  for (int64_t k = 0; k < node->eqns.n; k++) {
    const bdl_eqn *e = &x->prog->eqns.v[node->eqns.v[k]];
    for (int i = 0; i < e->n_in; i++) {
      const int32_t from = x->s.def_node[x->s.view.v[e->in[i]].base];
      if (from >= 0 && from != n && !told[from]) told[from] = reason(x, node, e->in[i]);
    }
  }
  bdl_free(x->s.ctx, told, bytes);
  return BDL_OK;
}

/* ---- parts */

enum { NAMED = 8 }; /* operations of a pass by name */

static void operations(const explainer *x, const bdl_node *node) {
  int64_t count[BDL_P_COUNT] = {0};
  int named = 0;
  for (int64_t k = 0; k < node->eqns.n; k++) count[x->prog->eqns.v[node->eqns.v[k]].prim]++;
  for (int64_t k = 0; k < node->eqns.n; k++) {
    int64_t *c = &count[x->prog->eqns.v[node->eqns.v[k]].prim];
    if (*c == 0) continue;
    if (named++ == NAMED) {
      bdl_str_addf(x->o, " ..");
      return;
    }
    bdl_str_addf(x->o, " %s", bdl_prims[x->prog->eqns.v[node->eqns.v[k]].prim].name);
    if (*c > 1) bdl_str_addf(x->o, " %lld", (long long)*c);
    *c = 0;
  }
}

static bdl_status group(explainer *x, const bdl_inst *i, int32_t n, bdl_cost *sum) {
  const bdl_node *node = &x->s.nodes.v[n];
  const bdl_cost c = bdl_plan_cost(i);
  char text[BDL_AVAL_TEXT];
  bdl_str_addf(x->o, "one pass over %s, %lld equation%s:", shape_of(&node->domain, text), (long long)node->eqns.n,
               node->eqns.n == 1 ? "" : "s");
  operations(x, node);
  if (i->group->n_lines) bdl_str_addf(x->o, "; ");
  bdl_plan_lines(i, x->o);
  bdl_str_addf(x->o, "\n%*s", x->indent + 5, "");
  cost(x->o, c);
  add(sum, c, 1);
  return reasons(x, n);
}

static void kernel(explainer *x, const bdl_inst *i, const bdl_eqn *e, bdl_cost *sum) {
  const bdl_cost c = bdl_plan_cost(i);
  char text[BDL_AVAL_TEXT];
  bdl_str_addf(x->o, "%s", bdl_prims[i->prim].name);
  for (int32_t k = 0; k < i->kernel.n_in && k < 4; k++)
    bdl_str_addf(x->o, "%s %s", k ? "," : "", bdl_aval_text(&i->kernel.in_aval[k], false, text));
  if (i->kernel.n_in > 4) bdl_str_addf(x->o, ", ..");
  if (i->src.file) bdl_str_addf(x->o, "; ");
  bdl_plan_lines(i, x->o);
  bdl_str_addf(x->o, "\n%*s", x->indent + 5, "");
  cost(x->o, c);
  bdl_str_addf(x->o, "%*salone: %s\n", x->indent + 5, "", alone(e));
  add(sum, c, 1);
}

static bdl_status block(bdl_str *o, const bdl_prog *p, const bdl_block *b, const char *label, int indent, bdl_cost *sum);

/* A program inside instruction n; its parts are numbered 2.1, 2.2, .. or, where there are several programs, 2.a1, 2.b1, .. */
static bdl_status inside(const explainer *x, int32_t n, const char *what, char letter, const bdl_prog *p, const bdl_block *b,
                         bdl_cost *sum) {
  char label[LABEL + 16];
  snprintf(label, sizeof label, letter ? "%s%d.%c" : "%s%d.", x->label, n + 1, letter);
  if (*what) bdl_str_addf(x->o, "%*s%s\n", x->indent + 5, "", what);
  return block(x->o, p, b, label, x->indent + 4, sum);
}

static bdl_status loop(explainer *x, const bdl_inst *i, const bdl_eqn *e, int32_t n, bdl_cost *sum) {
  bdl_cost step = {0};
  if (i->kind == BDL_I_SCAN) bdl_str_addf(x->o, "loop of %lld steps", (long long)i->scan.length);
  else bdl_str_addf(x->o, "loop while a condition holds");
  where(x->o, i->src);
  if (i->kind == BDL_I_SCAN && i->scan.tiled)
    bdl_str_addf(x->o, ", in native code %lld at a time for each tile of %d elements", (long long)i->scan.tiled->steps, BDL_TILE);
  bdl_str_add(x->o, "\n", 1);
  if (i->kind == BDL_I_SCAN) TRY(inside(x, n, "", 0, e->params[4].progs[0], &i->scan.body, &step));
  else {
    TRY(inside(x, n, "the condition:", 'a', e->params[2].progs[0], &i->loop.cond, &step));
    TRY(inside(x, n, "the step:", 'b', e->params[2].progs[1], &i->loop.body, &step));
    step.at_most = false;
  }
  bdl_str_addf(x->o, "%*sa step: ", x->indent + 5, "");
  cost(x->o, step);
  add(sum, step, i->kind == BDL_I_SCAN ? (double)i->scan.length : 1);
  return BDL_OK;
}

static bdl_status branch(explainer *x, const bdl_inst *i, const bdl_eqn *e, int32_t n, bdl_cost *sum) {
  bdl_cost most = {0};
  bdl_str_addf(x->o, "one of %d branches", i->cond.n);
  where(x->o, i->src);
  bdl_str_add(x->o, "\n", 1);
  for (int32_t k = 0; k < i->cond.n; k++) {
    bdl_cost c = {0};
    TRY(inside(x, n, k ? "or:" : "either:", (char)('a' + BDL_MIN(k, 25)), e->params[0].progs[k], &i->cond.branches[k], &c));
    most.read = BDL_MAX(most.read, c.read);
    most.written = BDL_MAX(most.written, c.written);
    most.flops = BDL_MAX(most.flops, c.flops);
  }
  most.at_most = true;
  add(sum, most, 1);
  return BDL_OK;
}

/* Is node n an update that has nothing to do, and so is not instruction i? */
static bool in_rows(const explainer *x, int32_t n, const bdl_inst *i) {
  if (n >= x->s.nodes.n) return false;
  const bdl_eqn *e = &x->prog->eqns.v[x->s.nodes.v[n].eqns.v[0]];
  if (e->prim != BDL_P_dynamic_update_slice || (i && i->kind == BDL_I_KERNEL && i->prim == e->prim)) return false;
  bdl_str_addf(x->o, "%*s", x->indent, "");
  number(x, n);
  bdl_str_addf(x->o, "  %s", bdl_prims[e->prim].name);
  where(x->o, e->src);
  bdl_str_addf(x->o, ": its rows are made where they are to be\n");
  return true;
}

static bdl_status parts(explainer *x, const bdl_block *b, bdl_cost *sum) {
  int32_t n = 0;
  for (int32_t k = 0; k < b->n; k++) {
    const bdl_inst *i = &b->v[k];
    if (i->kind == BDL_I_ROW) continue;
    if (i->kind == BDL_I_COPY) {
      char text[BDL_SCALED_TEXT];
      bdl_str_addf(x->o, "%*s     copy of %s", x->indent, "", bdl_scaled_text((double)i->copy.bytes, "B", text));
      where(x->o, i->src);
      bdl_str_addf(x->o, ", unless it is in its place already\n");
      add(sum, bdl_plan_cost(i), 1);
      continue;
    }
    while (in_rows(x, n, i)) n++;
    const bdl_eqn *e = &x->prog->eqns.v[x->s.nodes.v[n].eqns.v[0]];
    bdl_str_addf(x->o, "%*s", x->indent, "");
    number(x, n);
    bdl_str_addf(x->o, "  ");
    if (i->kind == BDL_I_GROUP) TRY(group(x, i, n, sum));
    else if (i->kind == BDL_I_KERNEL) kernel(x, i, e, sum);
    else if (i->kind == BDL_I_COND) TRY(branch(x, i, e, n, sum));
    else TRY(loop(x, i, e, n, sum));
    n++;
  }
  while (in_rows(x, n, NULL)) n++;
  return BDL_OK;
}

static bdl_status block(bdl_str *o, const bdl_prog *p, const bdl_block *b, const char *label, int indent, bdl_cost *sum) {
  explainer x = {.o = o, .prog = p, .indent = indent};
  snprintf(x.label, sizeof x.label, "%.*s", LABEL - 1, label);
  TRY(bdl_schedule_new(&x.s, p, !p->ctx->unfused));
  const bdl_status s = parts(&x, b, sum);
  bdl_schedule_free(&x.s);
  return s;
}

bdl_status bdl_plan_explain(const bdl_plan *p, bdl_str *o) {
  bdl_cost sum = {0};
  char text[BDL_SCALED_TEXT];
  TRY(block(o, p->prog, &p->block, "", 2, &sum));
  bdl_str_addf(o, "  a call: ");
  cost(o, sum);
  bdl_str_addf(o, "  memory beside operands and results: %s\n", bdl_scaled_text((double)p->arena_bytes, "B", text));
  return o->failed ? BDL_ENOMEM : BDL_OK;
}

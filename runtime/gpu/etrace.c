/*
** etrace.c -- a step of eligibility traces and their gradient, written out for all threads of a grid: cpu/etrace.h.
**
** A thread has one input and output of a trace and takes its states into registers, so the trace is read and written once, in
** whole lines.  The gradient is a sum over rows in their order: where there are few elements and many rows, the warps of a block
** take a row each, and the first one adds up.  The same bits.
*/
#include "gpu/program.h"

enum { SLICED = 1 << 17, LEAST_ROWS = 4, WARPS = 8 };

typedef struct trace {
  bdl_exporter *m;
  const bdl_inst *i;
  int64_t lanes, states, rows, inputs, outputs, groups;
  bool moves, learns, scaled, summed;
  const bdl_param *pairs, *fed, *signals; /* pairs and fed: where it moves; signals: where it learns */
  int indent;
} trace;

#define ADD(...) bdl_str_addf(&t->m->text, __VA_ARGS__)
#define LINE(...) (ADD("%*s", t->indent, ""), ADD(__VA_ARGS__))

static trace trace_of(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *e = &i->kernel.in_aval[0];
  const bdl_param *p = i->kernel.params;
  const int64_t *n = e->shape + e->ndim - 4;
  const bool learn = i->prim == BDL_P_etrace_learn, grad = i->prim == BDL_P_etrace_grad;
  return (trace){.m = m, .i = i, .lanes = e->ndim == 5 ? e->shape[0] : 1, .states = n[0], .rows = n[1], .inputs = n[2], .outputs = n[3],
                 .groups = learn ? p[3].i : grad ? p[0].i : 1, .moves = !grad, .learns = learn || grad, .scaled = !grad && p[2].i,
                 .summed = learn && p[5].i, .pairs = &p[0], .fed = &p[1], .signals = learn ? &p[4] : &p[1], .indent = indent};
}

static int64_t each_row(const trace *t) { return t->inputs * t->outputs; }
static int64_t elements(const trace *t) { return t->lanes * (t->learns ? t->groups : t->rows) * each_row(t); }
static bool is_sliced(const trace *t) {
  return t->learns && elements(t) < SLICED && t->rows / BDL_MAX(t->groups, 1) >= LEAST_ROWS;
}

int64_t bdl_gpu_work_of_trace(const bdl_inst *i) {
  const trace t = trace_of(NULL, i, 0);
  return elements(&t) * (is_sliced(&t) ? WARPS : 1);
}

static const char *type_of(const trace *t) { return bdl_export_ctype(t->i->kernel.in_aval[0].dtype); }

/* Names for the operands: e, x, scale, d<pair>, f<state>, l<state>, g. */
static bdl_status named(trace *t, const char *name, int64_t k, bool written, bdl_ref r) {
  LINE("%s%s *const %s", written ? "" : "const ", type_of(t), name);
  if (k >= 0) ADD("%" PRId64, k);
  ADD(" = ");
  TRY(bdl_export_place(t->m, r));
  ADD(";\n");
  return BDL_OK;
}

static bdl_status names(trace *t) {
  const bdl_ref *in = t->i->kernel.in, *out = t->i->kernel.out;
  int at = 1 + t->summed;
  TRY(named(t, "e", -1, t->moves, t->moves ? out[0] : in[0]));
  if (t->moves) {
    TRY(named(t, "x", -1, false, in[at++]));
    LINE("(void)x;\n");
    if (t->scaled) TRY(named(t, "scale", -1, false, in[at++]));
    for (int k = 0; k < t->pairs->n; k++) TRY(named(t, "d", t->pairs->ints[k], false, in[at++]));
    for (int k = 0; k < t->fed->n; k++) TRY(named(t, "f", t->fed->ints[k], false, in[at++]));
  }
  for (int k = 0; t->learns && k < t->signals->n; k++) TRY(named(t, "l", t->signals->ints[k], false, in[at++]));
  return t->learns ? named(t, "g", -1, true, out[t->moves]) : BDL_OK;
}

static bool has(const bdl_param *list, int64_t x) {
  for (int k = 0; k < list->n; k++)
    if (list->ints[k] == x) return true;
  return false;
}

/* Of input i and output k in a row of a lane, at `at` in state 0: the new states; `part` of the gradient. */
static void row(trace *t) {
  const int64_t between = t->rows * each_row(t), S = t->states;
  for (int64_t a = 0; a < S; a++) {
    bool read = !t->moves && has(t->signals, a);
    for (int k = 0; t->moves && k < t->pairs->n; k++) read |= t->pairs->ints[k] % S == a;
    if (read) LINE("const %s %s%" PRId64 " = e[at + %" PRId64 "];\n", type_of(t), t->moves ? "old" : "z", a, a * between);
  }
  for (int64_t a = 0; t->moves && a < S; a++) {
    LINE("%s z%" PRId64 " = ", type_of(t), a);
    if (has(t->fed, a)) ADD("x[row * %" PRId64 " + i] * f%" PRId64 "[row * %" PRId64 " + k];\n", t->inputs, a, t->outputs);
    else ADD("0;\n");
    if (t->scaled) LINE("z%" PRId64 " *= scale[(lane * %" PRId64 " + i) * %" PRId64 " + k];\n", a, t->inputs, t->outputs);
    for (int64_t c = 0; c < S; c++)
      if (has(t->pairs, a * S + c))
        LINE("z%" PRId64 " += d%" PRId64 "[row * %" PRId64 " + k] * old%" PRId64 ";\n", a, a * S + c, t->outputs, c);
  }
  for (int64_t a = 0; t->moves && a < S; a++) LINE("e[at + %" PRId64 "] = z%" PRId64 ";\n", a * between, a);
  for (int k = 0; t->learns && k < t->signals->n; k++)
    LINE("part += l%" PRId64 "[row * %" PRId64 " + k] * z%" PRId64 ";\n", t->signals->ints[k], t->outputs, t->signals->ints[k]);
}

/* Where element n is; `rows`: of each lane's rows, else groups. */
static void split(trace *t, int64_t rows, const char *row_name) {
  LINE("const int32_t k = n %% %" PRId64 ", i = n / %" PRId64 " %% %" PRId64 ", %s = n / %" PRId64 " %% %" PRId64 ", lane = n / %" PRId64 ";\n",
       t->outputs, t->outputs, t->inputs, row_name, each_row(t), rows, each_row(t) * rows);
  LINE("(void)i, (void)k, (void)lane;\n");
}

static void place_of_row(trace *t) {
  LINE("const int32_t row = lane * %" PRId64 " + r, at = (lane * %" PRId64 " + r) * %" PRId64 " + i * %" PRId64 " + k;\n", t->rows,
       t->states * t->rows, each_row(t), t->outputs);
  LINE("(void)row, (void)at;\n");
}

static void end_of_sum(trace *t) { LINE(t->summed ? "g[n] = g[n] + total;\n" : "g[n] = total;\n"); }

static void step_alone(trace *t) {
  LINE("for (int32_t n = THREAD; n < %" PRId64 "; n += THREADS) {\n", elements(t));
  t->indent += 2;
  split(t, t->rows, "r");
  place_of_row(t);
  row(t);
  t->indent -= 2;
  LINE("}\n");
}

static void direct(trace *t) {
  LINE("for (int32_t n = THREAD; n < %" PRId64 "; n += THREADS) {\n", elements(t));
  t->indent += 2;
  split(t, t->groups, "q");
  LINE("%s total = 0;\n", type_of(t));
  LINE("for (int32_t r = q; r < %" PRId64 "; r += %" PRId64 ") {\n", t->rows, t->groups);
  t->indent += 2;
  LINE("%s part = 0;\n", type_of(t));
  place_of_row(t);
  row(t);
  LINE("total = r == q ? part : total + part;\n");
  t->indent -= 2;
  LINE("}\n");
  end_of_sum(t);
  t->indent -= 2;
  LINE("}\n");
}

static void sliced(trace *t) {
  const int64_t high = (t->rows + t->groups - 1) / t->groups;
  LINE("const int32_t own = BLOCK_THREAD / 32, warps = BLOCK_THREADS / 32;\n");
  LINE("for (int32_t n0 = 32 * BLOCK; n0 < %" PRId64 "; n0 += 32 * BLOCKS) {\n", elements(t));
  t->indent += 2;
  LINE("const int32_t n = n0 + LANE;\n");
  split(t, t->groups, "q");
  LINE("%s total = 0;\n", type_of(t));
  LINE("for (int32_t b = 0; b < %" PRId64 "; b += warps) {\n", high);
  t->indent += 2;
  LINE("%s *const parts = (%s *)SHARED + (b / warps %% 2 * warps) * 32;\n", type_of(t), type_of(t));
  LINE("const int32_t r = q + (b + own) * %" PRId64 ";\n", t->groups);
  LINE("%s part = 0;\n", type_of(t));
  LINE("if (n < %" PRId64 " && r < %" PRId64 ") {\n", elements(t), t->rows);
  t->indent += 2;
  place_of_row(t);
  row(t);
  t->indent -= 2;
  LINE("}\n");
  LINE("parts[32 * own + LANE] = part;\n");
  LINE("block_sync();\n");
  LINE("for (int32_t w = 0; own == 0 && w < warps && q + (b + w) * %" PRId64 " < %" PRId64 "; w++)\n", t->groups, t->rows);
  LINE("  total = b + w == 0 ? parts[LANE] : total + parts[32 * w + LANE];\n");
  t->indent -= 2;
  LINE("}\n");
  LINE("if (own == 0 && n < %" PRId64 ") {\n", elements(t));
  t->indent += 2;
  end_of_sum(t);
  t->indent -= 2;
  LINE("}\n");
  LINE("block_sync();\n");
  t->indent -= 2;
  LINE("}\n");
}

bdl_status bdl_gpu_trace(bdl_exporter *m, const bdl_inst *i, int indent) {
  trace of = trace_of(m, i, indent), *t = &of;
  if (elements(t) == 0) return BDL_OK;
  LINE("{\n");
  t->indent += 2;
  TRY(names(t));
  if (!t->learns) step_alone(t);
  else if (is_sliced(t)) sliced(t);
  else direct(t);
  t->indent -= 2;
  LINE("}\n");
  return BDL_OK;
}

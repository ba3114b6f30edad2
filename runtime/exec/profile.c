/*
** profile.c -- time by instruction: how long, how often, and what was moved and computed beside what the machine can do, or its GPU.
**
** Instructions that read alike (operations, shape, lines) are one row; plans come and go, so a row keeps its own text.
*/
#include <stdlib.h>
#include <string.h>

#include "device/cuda.h"
#include "exec/exec_context.h"
#include "exec/limits.h"
#include "plan/cost.h"
#include "prim/prim.h"

enum { ROWS_SHOWN = 30, MOST_EVENTS = 200000 };

typedef struct row {
  const char *what, *lines; /* of the arena */
  bdl_prim_id prim;
  bdl_inst_kind kind;
  bdl_timed timed;
  bdl_src src;
  bdl_cost cost; /* of one call */
  int64_t calls, ns;
} row;

typedef struct event {
  int32_t row;
  int64_t begin, ns;
} event;

typedef struct bdl_profile {
  bdl_arena arena;
  BDL_VEC(row) rows;
  bdl_map by_inst;       /* address -> row; another plan may stand there later, so the row is compared */
  bdl_map by_text;       /* hash of what and lines -> row */
  int64_t inner;         /* ns spent in instructions of the loop being timed */
  bdl_limits limits;
  bool tracing;          /* keep events */
  BDL_VEC(event) events; /* the first MOST_EVENTS, by their ends */
  int64_t begin, left_out;
} bdl_profile;

bdl_status bdl_exec_profile_start(bdl_exec_context *x, bool events) {
  bdl_cuda *g = bdl_cuda_of(x->ctx);
  if (!x->profile) {
    if (g) g->up = g->down = (bdl_cuda_copies){0};
    x->profile = bdl_calloc(x->ctx, sizeof *x->profile);
    if (!x->profile) return BDL_ENOMEM;
    bdl_arena_init(&x->profile->arena, x->ctx);
    bdl_map_init(&x->profile->by_inst, x->ctx);
    bdl_map_init(&x->profile->by_text, x->ctx);
    x->profile->limits = bdl_exec_limits(x);
    x->profile->begin = bdl_now_ns();
  }
  x->profile->tracing |= events;
  return BDL_OK;
}

void bdl_exec_profile_stop(bdl_exec_context *x) {
  bdl_profile *p = x->profile;
  if (!p) return;
  bdl_map_fini(&p->by_inst);
  bdl_map_fini(&p->by_text);
  bdl_arena_fini(&p->arena);
  BDL_VEC_FREE(x->ctx, p->rows);
  BDL_VEC_FREE(x->ctx, p->events);
  bdl_free(x->ctx, p, sizeof *p);
  x->profile = NULL;
}

/* ---- rows ------------------------------------------------------------------------------------------ */

static void shapes(const bdl_aval *a, int32_t n, bdl_str *out) {
  char text[BDL_AVAL_TEXT];
  for (int32_t k = 0; k < n && k < 3; k++) bdl_str_addf(out, " %s", bdl_aval_text(&a[k], false, text));
  if (n > 3) bdl_str_addf(out, " ..");
}

static void describe(const bdl_inst *i, bdl_str *out) {
  char text[BDL_AVAL_TEXT];
  const int64_t begin = out->n;
  switch (i->kind) {
    case BDL_I_GROUP: {
      const bdl_group *g = i->group;
      int named = 0;
      if (g->n_eqns > 1) bdl_str_addf(out, "fused %d:", g->n_eqns);
      for (int32_t k = g->n_prologue; k < g->n_insts && named < 4; k++)
        if (g->insts[k].kind != BDL_T_LOAD) bdl_str_addf(out, "%s%s", out->n > begin ? " " : "", bdl_prims[g->insts[k].prim].name), named++;
      if (g->n_eqns > named) bdl_str_addf(out, " ..");
      const char *shape = bdl_aval_text(&g->domain, false, text);
      bdl_str_addf(out, " over %s", g->domain.ndim ? strchr(shape, '[') : "one number");
      break;
    }
    case BDL_I_KERNEL:
      bdl_str_addf(out, "%s", bdl_prims[i->prim].name);
      shapes(i->kernel.in_aval, i->kernel.n_in, out);
      break;
    case BDL_I_COPY: bdl_str_addf(out, "copy %zu bytes", i->copy.bytes); break;
    case BDL_I_ROW: bdl_str_addf(out, "where rows are"); break;
    case BDL_I_SCAN: bdl_str_addf(out, "loop of %lld steps, itself", (long long)i->scan.length); break;
    case BDL_I_WHILE: bdl_str_addf(out, "while loop, itself"); break;
    case BDL_I_COND: bdl_str_addf(out, "branch of %d, itself", i->cond.n); break;
  }
}

static bool same(const row *r, const bdl_inst *i, bdl_timed timed) {
  return r->timed == timed && r->prim == i->prim && r->kind == i->kind && r->src.file == i->src.file && r->src.line == i->src.line;
}

static const char *keep(bdl_profile *p, const bdl_str *s) { return bdl_arena_strdup(&p->arena, s->n ? s->s : ""); }

static uint64_t key_of(const bdl_inst *i, bdl_timed timed) { return (uint64_t)(uintptr_t)i | (uint64_t)timed; }

static bdl_status new_row(bdl_exec_context *x, const bdl_inst *i, bdl_timed timed, uint64_t *k) {
  bdl_profile *p = x->profile;
  bdl_str what, lines;
  bdl_str_init(&what, x->ctx);
  bdl_str_init(&lines, x->ctx);
  if (timed != BDL_TIMED_HERE) bdl_str_addf(&what, timed == BDL_TIMED_GPU ? "gpu: " : "gpu: launch, first: ");
  describe(i, &what);
  bdl_plan_lines(i, &lines);
  bdl_status s = what.failed || lines.failed ? BDL_ENOMEM : BDL_OK;
  const uint64_t key = bdl_hash(lines.s, (size_t)lines.n, bdl_hash(what.s, (size_t)what.n, (uint64_t)i->kind));
  if (s == BDL_OK && !bdl_map_get(&p->by_text, key, k)) {
    row r = {.what = keep(p, &what), .lines = keep(p, &lines), .prim = i->prim, .kind = i->kind, .timed = timed, .src = i->src};
    r.cost = bdl_plan_cost(i);
    *k = (uint64_t)p->rows.n;
    s = r.what && r.lines && BDL_PUSH(x->ctx, p->rows, r) ? bdl_map_put(&p->by_text, key, *k) : BDL_ENOMEM;
  }
  if (s == BDL_OK) s = bdl_map_put(&p->by_inst, key_of(i, timed), *k);
  bdl_str_fini(&what);
  bdl_str_fini(&lines);
  return s;
}

static bdl_status row_of(bdl_exec_context *x, const bdl_inst *i, bdl_timed timed, uint64_t *k) {
  const bdl_profile *p = x->profile;
  return bdl_map_get(&p->by_inst, key_of(i, timed), k) && same(&p->rows.v[*k], i, timed) ? BDL_OK : new_row(x, i, timed, k);
}

static bdl_status new_event(bdl_exec_context *x, uint64_t k, int64_t begin, int64_t ns) {
  bdl_profile *p = x->profile;
  if (!p->tracing) return BDL_OK;
  if (p->events.n < MOST_EVENTS) return BDL_PUSH(x->ctx, p->events, ((event){(int32_t)k, begin - p->begin, ns})) ? BDL_OK : BDL_ENOMEM;
  p->left_out++;
  return BDL_OK;
}

bdl_status bdl_exec_profile_add(bdl_exec_context *x, const bdl_inst *i, bdl_timed timed, int64_t calls, int64_t ns) {
  uint64_t k = 0;
  TRY(row_of(x, i, timed, &k));
  x->profile->rows.v[k].calls += calls;
  x->profile->rows.v[k].ns += ns;
  return BDL_OK;
}

bdl_status bdl_exec_profile_event(bdl_exec_context *x, const bdl_inst *i, bdl_timed timed, int64_t begin, int64_t ns) {
  uint64_t k = 0;
  TRY(row_of(x, i, timed, &k));
  return new_event(x, k, begin, ns);
}

bdl_status bdl_exec_profiled(bdl_exec_context *x, const bdl_inst *i, void *runner, bdl_exec_thunk run) {
  bdl_profile *p = x->profile;
  uint64_t k = 0;
  TRY(row_of(x, i, BDL_TIMED_HERE, &k));
  const int64_t outer = p->inner;
  p->inner = 0;
  const int64_t begin = bdl_now_ns();
  const bdl_status s = run(runner, i);
  const int64_t took = bdl_now_ns() - begin;
  p->rows.v[k].calls++;
  p->rows.v[k].ns += took - p->inner; /* of a loop: what its body does not explain */
  p->inner = outer + took;
  const bdl_status noted = new_event(x, k, begin, took);
  return s == BDL_OK ? noted : s;
}

/* ---- text ------------------------------------------------------------------------------------------- */

static int slower_first(const void *a, const void *b) {
  const row *x = *(const row *const *)a, *y = *(const row *const *)b;
  return x->ns < y->ns ? 1 : x->ns > y->ns ? -1 : x < y ? -1 : 1;
}

static void rate(bdl_str *out, double amount, int64_t ns, double limit) {
  if (amount <= 0 || ns <= 0) {
    bdl_str_addf(out, " %7s %5s", "-", "");
    return;
  }
  const double per_s = 1e9 * amount / (double)ns, percent = 100 * per_s / limit;
  bdl_str_addf(out, per_s < 99.95e9 ? " %7.2f" : " %7.0f", per_s * 1e-9);
  if (limit > 0) bdl_str_addf(out, " %4.0f%%", percent);
  else bdl_str_addf(out, " %5s", "");
}

static row copies_row(const bdl_cuda_copies *c, const char *what) {
  return (row){.what = what, .lines = "", .cost.read = c->bytes / (double)BDL_MAX(c->calls, 1), .calls = c->calls, .ns = c->ns};
}

static void gpu_header(bdl_cuda *g, const bdl_cuda_limits *l, bdl_str *out) {
  bdl_cuda_about about;
  if (bdl_cuda_look(g, g->ordinal, &about) != BDL_OK) return;
  bdl_str_addf(out, "%s:", about.name);
  if (l->bytes_per_s > 0) bdl_str_addf(out, " %.0f GB/s from memory,", l->bytes_per_s * 1e-9);
  bdl_str_addf(out, " %.0f GFLOP/s, by its clocks.  A launch's time is shared among its instructions by the cycles until\n"
               "all threads had done each; without a profile fewer of them wait for one another.\n", l->flops_per_s * 1e-9);
}

bdl_status bdl_exec_profile_print(bdl_exec_context *x, bdl_str *out) {
  bdl_profile *p = x->profile;
  if (!p || p->rows.n == 0) return BDL_OK;
  bdl_cuda *g = bdl_cuda_of(x->ctx);
  const bdl_cuda_limits gpu = g ? bdl_cuda_limits_of(g) : (bdl_cuda_limits){0};
  const row copies[2] = {g ? copies_row(&g->up, "copies to the GPU") : (row){0}, g ? copies_row(&g->down, "copies from the GPU") : (row){0}};
  const size_t bytes = (size_t)(p->rows.n + 2) * sizeof(row *);
  const row **order = bdl_alloc(x->ctx, bytes);
  if (!order) return BDL_ENOMEM;
  int64_t total = 0, rest = 0, n = 0;
  for (int64_t i = 0; i < p->rows.n + 2; i++) {
    const row *r = i < p->rows.n ? &p->rows.v[i] : &copies[i - p->rows.n];
    if (r->calls > 0) order[n++] = r, total += r->ns;
  }
  qsort(order, (size_t)n, sizeof *order, slower_first);
  if (g) gpu_header(g, &gpu, out);
  bdl_str_addf(out, "One thread of this machine: ");
  if (p->limits.bytes_per_s > 0) bdl_str_addf(out, "%.1f GB/s from memory, ", p->limits.bytes_per_s * 1e-9);
  bdl_str_addf(out, "%.0f GFLOP/s (%s).  More than 100 %%: from a cache, or by several threads.\n", p->limits.flops_per_s * 1e-9,
               x->k->isa);
  bdl_str_addf(out, "A call holds %.0f ns of the clock itself.  FLOP: additions, multiplications, .., also those of functions.\n",
               p->limits.clock_ns);
  bdl_str_addf(out, "%10s %6s %10s %10s %7s %5s %7s %5s  what, where\n", "ms", "%", "calls", "ns/call", "GB/s", "%", "GFLOP/s", "%");
  for (int64_t i = 0; i < n; i++) {
    const row *r = order[i];
    const bool there = r->timed != BDL_TIMED_HERE, copied = r == &copies[0] || r == &copies[1];
    const double calls = r->cost.at_most ? 0 : (double)r->calls;
    if (i >= ROWS_SHOWN) {
      rest += r->ns;
      continue;
    }
    bdl_str_addf(out, "%10.3f %6.1f %10lld %10.0f", (double)r->ns * 1e-6, 100.0 * (double)r->ns / (double)BDL_MAX(total, 1),
                 (long long)r->calls, (double)r->ns / (double)r->calls);
    rate(out, calls * (r->cost.read + r->cost.written), r->ns, copied ? 0 : there ? gpu.bytes_per_s : p->limits.bytes_per_s);
    rate(out, calls * r->cost.flops, r->ns, there ? gpu.flops_per_s : p->limits.flops_per_s);
    bdl_str_addf(out, "  %s%s%s\n", r->what, *r->lines ? "  " : "", r->lines);
  }
  if (rest)
    bdl_str_addf(out, "%10.3f %6.1f  in %lld more\n", (double)rest * 1e-6, 100.0 * (double)rest / (double)BDL_MAX(total, 1),
                 (long long)(n - ROWS_SHOWN));
  bdl_free(x->ctx, order, bytes);
  return out->failed ? BDL_ENOMEM : BDL_OK;
}

/* ---- events, as chrome://tracing and Perfetto read them (Trace Event Format) ----------------------------- */

static void quoted(bdl_str *out, const char *s) {
  bdl_str_add(out, "\"", 1);
  for (; *s; s++) {
    if (*s == '"' || *s == '\\') bdl_str_addf(out, "\\%c", *s);
    else if ((unsigned char)*s < ' ') bdl_str_addf(out, "\\u%04x", *s);
    else bdl_str_add(out, s, 1);
  }
  bdl_str_add(out, "\"", 1);
}

bdl_status bdl_exec_profile_events(bdl_exec_context *x, bdl_str *out, int64_t *left_out) {
  const bdl_profile *p = x->profile;
  *left_out = p ? p->left_out : 0;
  bdl_str_addf(out, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n"
               "{\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\",\"args\":{\"name\":\"bdl\"}}");
  for (int64_t k = 0; p && k < p->events.n; k++) {
    const event *e = &p->events.v[k];
    const row *r = &p->rows.v[e->row];
    bdl_str_addf(out, ",\n{\"ph\":\"X\",\"pid\":1,\"tid\":1,\"ts\":%.3f,\"dur\":%.3f,\"name\":", (double)e->begin * 1e-3,
                 (double)e->ns * 1e-3);
    quoted(out, r->what);
    bdl_str_addf(out, ",\"args\":{\"where\":");
    quoted(out, r->lines);
    bdl_str_addf(out, ",\"bytes\":%.0f,\"flops\":%.0f}}", r->cost.read + r->cost.written, r->cost.flops);
  }
  bdl_str_addf(out, "\n]}\n");
  return out->failed ? BDL_ENOMEM : BDL_OK;
}

/*
** run.c -- the interpreter tier: walks the instructions of a plan.  No allocation and no look-up inside a loop.
*/
#include <stdio.h>
#include <string.h>

#include "base/context.h"
#include "exec/exec.h"
#include "exec/emit.h"
#include "exec/exec_context.h"
#include "exec/replay.h"

typedef struct runner {
  bdl_native native;       /* what native code sees; first */
  const bdl_native_fn *fn; /* by instruction; NULL: no native code */
  double begin;            /* when the run began; 0: not looked */
  bdl_plan *plan;
  bdl_context *c;
  bdl_exec_context *x;
  char **frame;
  char *regs; /* one register file a thread */
  size_t reg_stride;
  int depth; /* of loops */
} runner;

static char *at(const runner *r, bdl_ref ref) { return r->frame[ref.slot] + ref.offset; }

/* ---- groups ------------------------------------------------------------------------------------- */

/* n elements of a strided operand from position i0 of the domain on. */
static void load_strided(char *z, const char *base, const bdl_load *l, int64_t i0, int64_t n) {
  int64_t index[BDL_MAX_NDIM], at = 0;
  int last = l->ndim - 1;
  for (int k = last; k >= 0; k--) {
    index[k] = i0 % l->shape[k];
    i0 /= l->shape[k];
    at += index[k] * l->stride[k];
  }
  while (n > 0) {
    int64_t run = last < 0 ? n : BDL_MIN(n, l->shape[last] - index[last]);
    int64_t step = last < 0 ? 0 : l->stride[last];
    const char *src = base + at * l->size;
    if (step == 1) memcpy(z, src, (size_t)(run * l->size));
    else if (l->size == 4)
      for (int64_t i = 0; i < run; i++) ((uint32_t *)(void *)z)[i] = ((const uint32_t *)(const void *)src)[i * step];
    else if (l->size == 8)
      for (int64_t i = 0; i < run; i++) ((uint64_t *)(void *)z)[i] = ((const uint64_t *)(const void *)src)[i * step];
    else
      for (int64_t i = 0; i < run; i++) z[i] = src[i * step];
    z += run * l->size;
    n -= run;
    if (n == 0) break;
    index[last] += run;
    at += run * step;
    for (int k = last; k > 0 && index[k] == l->shape[k]; k--) { /* carry into the axis before */
      at += l->stride[k - 1] - l->shape[k] * l->stride[k];
      index[k] = 0;
      index[k - 1]++;
    }
  }
}

void bdl_exec_load_strided(void *z, const void *base, const void *walk, int64_t i0, int64_t n) { load_strided(z, base, walk, i0, n); }

/* Where an operand stands in the current tile. */
typedef struct cursor {
  char *at;
  int64_t step; /* bytes a tile */
} cursor;

static void resolve(const runner *r, const bdl_group *g, char *regs, int64_t tile, cursor *cur) {
  for (int32_t i = 0; i < g->n_operands; i++) {
    const bdl_operand *o = &g->operands[i];
    if (o->kind == BDL_O_REG) cur[i] = (cursor){regs + (int64_t)o->reg * g->reg_bytes, 0};
    else {
      int64_t step = o->kind == BDL_O_ARRAY ? (int64_t)o->size * BDL_TILE : o->kind == BDL_O_PARTIAL ? o->size : 0;
      cur[i] = (cursor){at(r, o->ref) + tile * step, step};
    }
  }
  cur[g->n_operands] = (cursor){NULL, 0}; /* of operands that an operation does not have */
}

/* Of arrays that do not fit the second-level cache, the next tile is asked for while this one is worked on: every operation
** starts on another array, too late for the processor to see the streams by itself. */
enum { STREAMED = 128 * 1024, LINE = 64 };

static void prefetch(const bdl_group *g, const cursor *cur) {
  for (int32_t i = 0; i < g->n_operands; i++)
    for (int64_t b = 0; b < cur[i].step; b += LINE) __builtin_prefetch(cur[i].at + cur[i].step + b);
}

static void tiles(const runner *r, const bdl_group *g, char *regs, cursor *cur, int64_t first, int64_t last) {
  bool streamed = g->n > STREAMED / 8;
  resolve(r, g, regs, first, cur);
  for (int32_t k = 0; k < g->n_prologue; k++) {
    const bdl_tile_inst *t = &g->insts[k];
    t->fn(cur[t->z].at, cur[t->x].at, NULL, NULL, BDL_TILE, 0);
  }
  for (int64_t tile = first; tile < last; tile++) {
    int64_t i0 = tile * BDL_TILE, n = BDL_MIN((int64_t)BDL_TILE, g->n - i0);
    if (streamed && tile + 1 < last) prefetch(g, cur);
    for (int32_t k = g->n_prologue; k < g->n_insts; k++) {
      const bdl_tile_inst *t = &g->insts[k];
      switch (t->kind) {
        case BDL_T_OP: t->fn(cur[t->z].at, cur[t->x].at, cur[t->y].at, cur[t->w].at, n, i0); break;
        case BDL_T_LOAD: load_strided(cur[t->z].at, at(r, t->load->ref), t->load, i0, n); break;
        case BDL_T_REDUCE: t->red.tile(cur[t->z].at, cur[t->x].at, n); break;
        case BDL_T_COMPACT: {
          int32_t *count = (int32_t *)(void *)cur[t->y].at, *ids = (int32_t *)(void *)cur[t->z].at;
          *count += (int32_t)t->compact(ids + *count, cur[t->x].at, n, i0);
          break;
        }
      }
    }
    if (tile + 1 < last)
      for (int32_t i = 0; i < g->n_operands; i++) cur[i].at += cur[i].step;
  }
}

/* Worth other threads?  To wake one costs microseconds; a tile instruction some tens of nanoseconds. */
enum { PARALLEL_TILE_INSTS = 4096 };

typedef struct group_job {
  const runner *r;
  const bdl_group *g;
} group_job;

static void run_tiles(void *job, int64_t first, int64_t last, int thread) {
  const group_job *j = job;
  char *regs = j->r->regs + (size_t)thread * j->r->reg_stride;
  size_t cursors = j->r->reg_stride - ((size_t)j->g->n_operands + 1) * sizeof(cursor); /* at the end of a register file */
  tiles(j->r, j->g, regs, (cursor *)(void *)(regs + cursors), first, last);
}

static void run_group(const runner *r, const bdl_group *g) {
  int64_t n_tiles = (g->n + BDL_TILE - 1) / BDL_TILE;
  if (g->n_roots)
    for (int32_t k = 0; k < g->n_insts; k++)
      if (g->insts[k].kind == BDL_T_COMPACT) memset(at(r, g->operands[g->insts[k].y].ref), 0, 4);
  const bool pays = !g->serial && n_tiles * g->n_insts >= PARALLEL_TILE_INSTS;
  bdl_pool_run(pays ? r->x->pool : NULL, n_tiles, run_tiles, &(group_job){r, g});
  if (g->n_roots)
    for (int32_t k = 0; k < g->n_insts; k++) {
      const bdl_tile_inst *t = &g->insts[k];
      if (t->kind == BDL_T_REDUCE) t->red.combine(at(r, g->operands[t->y].ref), at(r, g->operands[t->z].ref), n_tiles);
    }
}

/* A group of native code over the threads. */
typedef struct native_part {
  bdl_native *native;
  void (*part)(bdl_native *n, int64_t first, int64_t last);
} native_part;

static void share_part(void *job, int64_t first, int64_t last, int thread) {
  const native_part *p = job;
  (void)thread;
  p->part(p->native, first, last);
}

static void share(bdl_native *n, void (*part)(bdl_native *n, int64_t first, int64_t last), int64_t n_tiles) {
  native_part p = {n, part};
  bdl_pool_run(((runner *)(void *)n)->x->pool, n_tiles, share_part, &p);
}

/* ---- kernels, loops, branches ----------------------------------------------------------------------- */

static bdl_status run_block(runner *r, const bdl_block *b);

static double now(void) { return 1e-9 * (double)bdl_now_ns(); }

static void use_native(runner *r) {
  r->fn = bdl_native_fns(r->plan);
  if (r->fn) r->native.link = r->plan->native->link.v;
}

/* After `done` steps of a loop: is there native code by now?  Looked seldom, as the clock costs, too. */
static void look_for_native(runner *r, int64_t done) {
  if ((done & 255) != 0 && (done & (done - 1)) != 0) return;
  bdl_native_poll(r->x, r->plan, now() - r->begin);
  use_native(r);
}

static bdl_status run_kernel(const runner *r, const bdl_inst *i) {
  for (int32_t k = 0; k < i->kernel.n_in; k++) i->kernel.in_ptr[k] = at(r, i->kernel.in[k]);
  for (int32_t k = 0; k < i->kernel.n_out; k++) i->kernel.out_ptr[k] = at(r, i->kernel.out[k]);
  bdl_kcall call = {
    .ctx = r->c, .k = r->x->k, .blas = &r->x->blas, .params = i->kernel.params, .n_in = i->kernel.n_in, .n_out = i->kernel.n_out,
    .in = i->kernel.in_ptr, .in_aval = i->kernel.in_aval, .out = i->kernel.out_ptr, .out_aval = i->kernel.out_aval,
    .scratch = i->kernel.scratch < 0 ? NULL : r->frame[i->kernel.scratch], .prepared = i->kernel.prepared,
    .pool = r->x->pool,
  };
  return i->kernel.fn(&call);
}

/* Asked to stop, after a whole step?  Where the results of the plan are those of its one loop, only that loop stops: its
** steps are the user's.  Elsewhere no result is written in place, so any loop may. */
static bool stop(const runner *r) {
  return (bdl_stop_asked(r->c) || r->c->budget.spent) && (r->depth == 1 || !r->plan->loop_only);
}

static bdl_status interrupted(const runner *r, bdl_src src, int64_t done, int64_t total) {
  char of[32] = "";
  if (r->c->budget.spent) {
    bdl_budget_fail(r->c);
    bdl_where(r->c, src);
    return BDL_EBUDGET;
  }
  bdl_ask_stop(r->c, false);
  if (total >= 0) snprintf(of, sizeof of, " of %lld", (long long)total);
  bdl_fail(r->c, BDL_EINTERRUPT, "interrupted after %lld%s steps; States are %s", (long long)done, of,
           r->plan->loop_only ? "those after the last of them" : "as before the call");
  bdl_where(r->c, src);
  return BDL_EINTERRUPT;
}

static bdl_status run_scan(runner *r, const bdl_inst *i) {
  int64_t n = i->scan.length;
  const bool report = r->depth == 0 && r->x->progress, hopes = r->depth == 0 && r->begin > 0;
  bdl_status s = BDL_OK;
  r->depth++;
  for (int64_t t = 0; t < n && s == BDL_OK; t++) {
    int64_t row = i->scan.reverse ? n - 1 - t : t;
    for (int32_t k = 0; k < i->scan.n_moving; k++) {
      const struct bdl_moving *m = &i->scan.moving[k];
      r->frame[m->slot] = at(r, m->base) + row * m->step;
    }
    s = run_block(r, &i->scan.body);
    if (report) bdl_exec_report(r->x, t + 1, n);
    if (r->c->budget.on) bdl_spend(r->c);
    if (s == BDL_OK && stop(r)) s = interrupted(r, i->src, t + 1, n);
    if (s != BDL_OK || !hopes) continue;
    look_for_native(r, t + 1);
    if (r->fn && r->fn[i->id]) {
      r->depth--;
      return (bdl_status)r->fn[i->id](&r->native, t + 1);
    }
  }
  r->depth--;
  return s;
}

static bdl_status run_while(runner *r, const bdl_inst *i) {
  const bool report = r->depth == 0 && r->x->progress, hopes = r->depth == 0 && r->begin > 0;
  bdl_status s = BDL_OK;
  r->depth++;
  for (int64_t done = 1; s == BDL_OK; done++) {
    s = run_block(r, &i->loop.cond);
    if (s != BDL_OK || !*at(r, i->loop.pred)) break;
    s = run_block(r, &i->loop.body);
    if (report) bdl_exec_report(r->x, done, -1);
    if (r->c->budget.on) bdl_spend(r->c);
    if (s == BDL_OK && stop(r)) s = interrupted(r, i->src, done, -1);
    if (s != BDL_OK || !hopes) continue;
    look_for_native(r, done);
    if (r->fn && r->fn[i->id]) {
      r->depth--;
      return (bdl_status)r->fn[i->id](&r->native, done);
    }
  }
  r->depth--;
  return s;
}

static bdl_status run_cond(runner *r, const bdl_inst *i) {
  int32_t index;
  memcpy(&index, at(r, i->cond.index), sizeof index);
  return run_block(r, &i->cond.branches[BDL_MAX(0, BDL_MIN(index, i->cond.n - 1))]);
}

static bdl_status interpret(runner *r, const bdl_inst *i) {
  switch (i->kind) {
    case BDL_I_GROUP: run_group(r, i->group); return BDL_OK;
    case BDL_I_KERNEL: return run_kernel(r, i);
    case BDL_I_COPY: {
      char *dst = at(r, i->copy.dst), *src = at(r, i->copy.src);
      if (dst != src) memmove(dst, src, i->copy.bytes);
      return BDL_OK;
    }
    case BDL_I_ROW: {
      const bdl_row *w = r->plan->slots.v[i->row].row;
      int32_t k;
      memcpy(&k, at(r, w->index), sizeof k);
      r->frame[i->row] = at(r, w->base) + BDL_MAX(0, BDL_MIN(k, w->last)) * w->step;
      return BDL_OK;
    }
    case BDL_I_SCAN: return run_scan(r, i);
    case BDL_I_WHILE: return run_while(r, i);
    case BDL_I_COND: return run_cond(r, i);
  }
  return BDL_OK;
}

/* A profile looks into loops. */
static bdl_status run_inst(runner *r, const bdl_inst *i) {
  if (r->fn && r->fn[i->id] && (!r->x->profile || i->kind == BDL_I_GROUP)) return (bdl_status)r->fn[i->id](&r->native, 0);
  return interpret(r, i);
}

/* Native code asks for an instruction. */
static int run_for_native(bdl_native *n, int32_t id) {
  runner *r = (runner *)(void *)n;
  const bdl_inst *i = r->plan->by_id[id];
  const bdl_status s = interpret(r, i);
  if (s != BDL_OK) bdl_where(r->c, i->src);
  return (int)s;
}

/* Native code made another step of loop `id` while somebody waits to be told, or wants it to stop. */
static int native_stepped(bdl_native *n, int32_t id, int32_t depth, int64_t done) {
  runner *r = (runner *)(void *)n;
  const bdl_inst *i = r->plan->by_id[id];
  const int64_t total = i->kind == BDL_I_SCAN ? i->scan.length : -1;
  r->depth = depth;
  if (depth == 1 && r->x->progress) bdl_exec_report(r->x, done, total);
  const bdl_status s = stop(r) ? interrupted(r, i->src, done, total) : BDL_OK;
  r->depth = 0;
  return (int)s;
}

static bdl_status run_block(runner *r, const bdl_block *b) {
  for (int32_t k = 0; k < b->n; k++) {
    bdl_status s = r->x->profile && b->v[k].kind != BDL_I_ROW ? bdl_exec_profiled(r->x, &b->v[k], r, (bdl_exec_thunk)run_inst) : run_inst(r, &b->v[k]);
    if (s == BDL_OK && r->x->replay) s = bdl_replay_done(r->x, &b->v[k], r->frame);
    if (s != BDL_OK) {
      bdl_where(r->c, b->v[k].src);
      return s;
    }
  }
  return BDL_OK;
}

/* ---- plans ---------------------------------------------------------------------------------------------- */

static size_t operand_bytes(const bdl_block *b) {
  size_t most = 0;
  for (int32_t k = 0; k < b->n; k++) {
    const bdl_inst *i = &b->v[k];
    size_t n = 0, m = 0;
    if (i->kind == BDL_I_GROUP) n = ((size_t)i->group->n_operands + 1) * sizeof(cursor);
    if (i->kind == BDL_I_SCAN) n = operand_bytes(&i->scan.body);
    if (i->kind == BDL_I_WHILE) n = operand_bytes(&i->loop.cond), m = operand_bytes(&i->loop.body);
    for (int32_t j = 0; i->kind == BDL_I_COND && j < i->cond.n; j++) m = BDL_MAX(m, operand_bytes(&i->cond.branches[j]));
    most = BDL_MAX(most, BDL_MAX(n, m));
  }
  return most;
}

/* The frame and the arena, made at the first run and kept until there are more threads. */
static bdl_status prepare(bdl_plan *plan, int threads) {
  bdl_context *c = plan->ctx;
  if (plan->frame && plan->threads >= threads) return BDL_OK;
  bdl_plan_forget(plan);
  size_t regs = (plan->reg_bytes + operand_bytes(&plan->block) + 2 * BDL_ALIGN - 1) / BDL_ALIGN * BDL_ALIGN;
  size_t bytes = plan->arena_bytes + BDL_ALIGN + (size_t)threads * regs + BDL_PAD;
  char **frame = bdl_alloc(c, (size_t)(plan->slots.n + 1) * sizeof *frame);
  if (!frame) return BDL_ENOMEM;
  plan->memory = bdl_alloc(c, bytes);
  if (!plan->memory) {
    bdl_free(c, frame, (size_t)(plan->slots.n + 1) * sizeof *frame);
    return bdl_fail(c, BDL_ENOMEM, "out of memory for the intermediate values of %s (%zu bytes)", plan->prog->name, bytes);
  }
  plan->memory_bytes = bytes;
  plan->threads = threads;
  plan->frame = frame;
  char *base = (char *)(((uintptr_t)plan->memory + BDL_ALIGN - 1) & ~(uintptr_t)(BDL_ALIGN - 1));
  for (int64_t i = 0; i < plan->slots.n; i++) {
    bdl_pslot *s = &plan->slots.v[i];
    frame[i] = s->kind == BDL_S_ARENA ? base + s->offset : s->kind == BDL_S_CONST ? s->data
               : s->kind == BDL_S_LITERAL ? (char *)&s->literal : NULL;
  }
  plan->reg_stride = regs;
  return BDL_OK;
}

/* An interrupted loop whose carry is the result: what stands behind it still brings the results home. */
static bdl_status bring_home(runner *r) {
  const bdl_block *b = &r->plan->block;
  int32_t k = 0;
  while (k < b->n && b->v[k].kind != BDL_I_SCAN && b->v[k].kind != BDL_I_WHILE) k++;
  for (k++; k < b->n; k++) TRY(run_inst(r, &b->v[k]));
  return BDL_EINTERRUPT;
}

/* While native code may yet come, some runs are timed: the 1st, 2nd, 4th, .., and every 64th. */
static void begin(runner *r) {
  const bdl_tier tier = r->x->native.tier;
  if (bdl_native_pending(r->plan) && tier != BDL_TIER_INTERP) {
    const int64_t runs = ++r->plan->runs;
    if (tier == BDL_TIER_NATIVE || (r->x->native.archive && !r->plan->native)) bdl_native_poll(r->x, r->plan, 0);
    if (tier == BDL_TIER_AUTO && !r->x->profile && ((runs & 63) == 0 || (runs & (runs - 1)) == 0)) r->begin = now();
  }
  use_native(r);
}

bdl_status bdl_plan_run(bdl_plan *plan, void *const *in, void *const *out) {
  bdl_context *c = plan->ctx;
  bdl_exec_context *x;
  TRY(bdl_exec_get(c, &x));
  if (plan->busy) return bdl_fail(c, BDL_ENOTSUP, "%s: a compiled function may not call itself while it runs", plan->prog->name);
  TRY(bdl_exec_pool(x));
  TRY(prepare(plan, bdl_pool_size(x->pool)));
  char *base = (char *)(((uintptr_t)plan->memory + BDL_ALIGN - 1) & ~(uintptr_t)(BDL_ALIGN - 1));
  runner r = {.plan = plan, .c = c, .x = x, .frame = plan->frame, .regs = base + plan->arena_bytes, .reg_stride = plan->reg_stride};
  r.native = (bdl_native){.frame = r.frame, .threads = bdl_pool_size(x->pool), .reporting = x->progress != NULL,
                          .interrupted = &c->interrupted, .run = run_for_native, .stepped = native_stepped, .share = share};
  begin(&r);
  if (x->replay) TRY(bdl_replay_begin(x, plan));
  if (plan->n_in) memcpy(plan->frame, in, (size_t)plan->n_in * sizeof *in);
  if (plan->n_out) memcpy(plan->frame + plan->n_in, out, (size_t)plan->n_out * sizeof *out);
  plan->busy = true;
  x->running++;
  bdl_status s = run_block(&r, &plan->block);
  if (s == BDL_EINTERRUPT && plan->loop_only) s = bring_home(&r);
  x->running--;
  plan->busy = false;
  if (r.begin > 0 && s == BDL_OK) bdl_native_poll(x, plan, (now() - r.begin) * (double)plan->runs);
  return s;
}

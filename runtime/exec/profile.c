/*
** profile.c -- time by instruction, summed by primitive and source line.
*/
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "exec/exec_context.h"
#include "prim/prim.h"

typedef struct row {
  const bdl_inst *inst;
  bdl_prim_id prim;
  bdl_src src;
  int32_t fused; /* equations in a group */
  int64_t calls, ns;
} row;

typedef struct bdl_profile {
  BDL_VEC(row) rows;
  bdl_map by_inst;
  int64_t inner; /* ns spent in instructions of the loop being timed */
} bdl_profile;

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

bdl_status bdl_exec_profile_start(bdl_exec_context *x) {
  if (x->profile) return BDL_OK;
  x->profile = bdl_calloc(x->ctx, sizeof *x->profile);
  if (!x->profile) return BDL_ENOMEM;
  bdl_map_init(&x->profile->by_inst, x->ctx);
  return BDL_OK;
}

void bdl_exec_profile_stop(bdl_exec_context *x) {
  bdl_profile *p = x->profile;
  if (!p) return;
  bdl_map_fini(&p->by_inst);
  BDL_VEC_FREE(x->ctx, p->rows);
  bdl_free(x->ctx, p, sizeof *p);
  x->profile = NULL;
}

bdl_status bdl_exec_profiled(bdl_exec_context *x, const bdl_inst *i, void *runner, bdl_exec_thunk run) {
  bdl_profile *p = x->profile;
  uint64_t k = 0;
  if (!bdl_map_get(&p->by_inst, (uint64_t)(uintptr_t)i, &k)) {
    k = (uint64_t)p->rows.n;
    row r = {.inst = i, .prim = i->prim, .src = i->src, .fused = i->kind == BDL_I_GROUP ? i->group->n_insts : 0};
    if (!BDL_PUSH(x->ctx, p->rows, r)) return BDL_ENOMEM;
    TRY(bdl_map_put(&p->by_inst, (uint64_t)(uintptr_t)i, k));
  }
  int64_t outer = p->inner;
  p->inner = 0;
  int64_t t0 = now_ns();
  bdl_status s = run(runner, i);
  int64_t took = now_ns() - t0;
  p->rows.v[k].calls++;
  p->rows.v[k].ns += took - p->inner; /* of a loop: what its body does not explain */
  p->inner = outer + took;
  return s;
}

static int slower_first(const void *a, const void *b) {
  int64_t x = ((const row *)a)->ns, y = ((const row *)b)->ns;
  return x < y ? 1 : x > y ? -1 : 0;
}

bdl_status bdl_exec_profile_print(bdl_exec_context *x, bdl_str *out) {
  bdl_profile *p = x->profile;
  if (!p || p->rows.n == 0) return BDL_OK;
  int64_t total = 0;
  qsort(p->rows.v, (size_t)p->rows.n, sizeof *p->rows.v, slower_first);
  for (int64_t i = 0; i < p->rows.n; i++) total += p->rows.v[i].ns;
  bdl_str_addf(out, "%10s %6s %10s %10s  %s\n", "ms", "%", "calls", "ns/call", "what, where");
  for (int64_t i = 0; i < p->rows.n && i < 30; i++) {
    const row *r = &p->rows.v[i];
    bdl_str_addf(out, "%10.3f %6.1f %10lld %10.0f  ", (double)r->ns * 1e-6, 100.0 * (double)r->ns / (double)BDL_MAX(total, 1),
                 (long long)r->calls, (double)r->ns / (double)r->calls);
    if (r->fused) bdl_str_addf(out, "fused group of %d (%s ..)", r->fused, bdl_prims[r->prim].name);
    else bdl_str_addf(out, "%s", bdl_prims[r->prim].name);
    if (r->src.file) bdl_str_addf(out, "  %s:%d", r->src.file, r->src.line);
    bdl_str_add(out, "\n", 1);
  }
  return out->failed ? BDL_ENOMEM : BDL_OK;
}

/*
** profile.c -- a run on a GPU in a profile (exec/profile.c): each step waits for its end; launches, products and
** collectives are timed by events of the GPU, and the time of launches goes to their instructions by the cycles that these counted.
*/
#include "base/context.h"
#include "exec/exec_context.h"
#include "gpu/resident.h"

static bool in_stream(const bdl_gpu_step *s) { return s->kind == BDL_G_KERNEL || s->kind == BDL_G_PRODUCT || s->kind == BDL_G_COLLECTIVE; }

/* Of the host's steps, copies have rows of their own. */
static int64_t spent_on_copies(const bdl_cuda *g) { return g->up.ns + g->down.ns; }

bdl_status bdl_gpu_profile_begin(bdl_gpu_plan *q, const bdl_gpu_step *s, int64_t *begin) {
  bdl_cuda *g = q->g;
  q->copied = spent_on_copies(g);
  *begin = bdl_now_ns();
  return in_stream(s) ? bdl_cuda_check(g, g->api.cuEventRecord(q->event[0], g->stream), "an event") : BDL_OK;
}

static bdl_status elapsed(bdl_gpu_plan *q, int64_t *ns) {
  bdl_cuda *g = q->g;
  float ms = 0;
  TRY(bdl_cuda_check(g, g->api.cuEventRecord(q->event[1], g->stream), "an event"));
  TRY(bdl_cuda_check(g, g->api.cuEventSynchronize(q->event[1]), "work"));
  TRY(bdl_cuda_check(g, g->api.cuEventElapsedTime(&ms, q->event[0], q->event[1]), "an event"));
  *ns = (int64_t)(1e6 * (double)ms);
  return BDL_OK;
}

bdl_status bdl_gpu_profile_end(bdl_gpu_plan *q, const bdl_gpu_step *s, int64_t begin) {
  bdl_exec_context *x;
  const int64_t copies = spent_on_copies(q->g) - q->copied;
  int64_t ns = bdl_now_ns() - begin - copies;
  const bool there = in_stream(s) && !(s->kind == BDL_G_COLLECTIVE && copies > 0); /* else it went through the host */
  const bdl_timed timed = s->kind == BDL_G_KERNEL ? BDL_TIMED_LAUNCH : there ? BDL_TIMED_GPU : BDL_TIMED_HERE;
  if (s->kind == BDL_G_SCAN || s->kind == BDL_G_WHILE || s->kind == BDL_G_COND) return BDL_OK; /* their steps say it */
  TRY(bdl_exec_get(q->p.c, &x));
  if (there) TRY(elapsed(q, &ns));
  if (s->kind == BDL_G_KERNEL) q->launched += ns;
  else TRY(bdl_exec_profile_add(x, s->inst, timed, 1, ns));
  return bdl_exec_profile_event(x, s->inst, timed, begin, ns);
}

bdl_status bdl_gpu_profile_laps(bdl_gpu_plan *q) {
  bdl_device *d = &q->g->device;
  bdl_context *c = q->p.c;
  const bdl_plan *plan = q->p.plan;
  const size_t bytes = bdl_gpu_laps_bytes(q);
  const bdl_cuda_ptr at = q->table[bdl_gpu_own(q, BDL_GPU_LAPS)];
  bdl_exec_context *x;
  TRY(bdl_exec_get(c, &x));
  uint64_t *laps = bdl_alloc(c, bytes + 1);
  if (!laps) return BDL_ENOMEM;
  q->g->timed = false; /* this copy is not the model's */
  bdl_status s = d->ops->download(d, NULL, laps, (void *)(uintptr_t)at, bytes);
  q->g->timed = true;
  if (s == BDL_OK && bytes) s = bdl_cuda_check(q->g, q->g->api.cuMemsetD8Async(at, 0, bytes, q->g->stream), "memory");
  double all = 0;
  for (int32_t k = 0; k < plan->n_insts && s == BDL_OK; k++) all += (double)laps[2 * k];
  for (int32_t k = 0; k < plan->n_insts && s == BDL_OK; k++)
    if (laps[2 * k + 1])
      s = bdl_exec_profile_add(x, plan->by_id[k], BDL_TIMED_GPU, (int64_t)laps[2 * k + 1],
                               (int64_t)((double)q->launched * (double)laps[2 * k] / (all > 0 ? all : 1)));
  q->launched = 0;
  bdl_free(c, laps, bytes + 1);
  return s;
}

/*
** etrace.c -- a trace in blocks: few enough elements for their gradient to stay in the first-level cache while the rows
** that it sums over pass, and runs long enough for the processor to see the streams.
*/
#include "cpu/etrace.h"

#include "cpu/array.h"

enum { RUN = 1024 }; /* most outputs of a block */

typedef struct etrace_job {
  void (*kernel)(const bdl_k_etrace *t, const bdl_k_etrace_block *b);
  const bdl_k_etrace *t;
  int64_t high, run, each, n_k;
} etrace_job;

static void blocks(void *job, int64_t first, int64_t last, int thread) {
  const etrace_job *a = job;
  const bdl_k_etrace *t = a->t;
  (void)thread;
  for (int64_t n = first; n < last; n++) {
    const int64_t i = n % a->each / a->n_k * a->high, j = n % a->n_k * a->run;
    const bdl_k_etrace_block block = {.lane = n / a->each / t->groups, .group = n / a->each % t->groups, .i0 = i,
                                      .i1 = BDL_MIN(i + a->high, t->inputs), .k0 = j,
                                      .k1 = BDL_MIN(j + a->run, t->outputs)};
    a->kernel(t, &block);
  }
}

void bdl_k_etrace_run(const bdl_k_table *k, const bdl_k_etrace *t, bdl_dtype d, bdl_pool *pool) {
  const int64_t run = BDL_MIN(t->outputs, RUN), high = run ? BDL_ETRACE_BLOCK / run : 1;
  const int64_t n_i = (t->inputs + high - 1) / high, n_k = run ? (t->outputs + run - 1) / run : 0;
  const bool small = (double)t->lanes * (double)(t->states * t->rows) * (double)(t->inputs * t->outputs) < 65536;
  etrace_job job = {.kernel = k->etrace[d], .t = t, .high = high, .run = run, .each = n_i * n_k, .n_k = n_k};
  bdl_pool_run(small ? NULL : pool, t->lanes * t->groups * job.each, blocks, &job);
}

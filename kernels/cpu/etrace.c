/*
** etrace.c -- a trace in blocks: few enough elements for their gradient to stay in the first-level cache while the rows
** that it sums over pass, and runs long enough for the processor to see the streams.
*/
#include "cpu/etrace.h"

#include "cpu/array.h"

enum { RUN = 1024 }; /* most outputs of a block */

void bdl_k_etrace_run(const bdl_k_table *k, const bdl_k_etrace *t, bdl_dtype d, int threads) {
  const int64_t run = BDL_MIN(t->outputs, RUN), high = run ? BDL_ETRACE_BLOCK / run : 1;
  const int64_t n_i = (t->inputs + high - 1) / high, n_k = run ? (t->outputs + run - 1) / run : 0;
  const int64_t each = n_i * n_k, count = t->lanes * t->groups * each;
  if ((double)t->lanes * (double)(t->states * t->rows) * (double)(t->inputs * t->outputs) < 65536) threads = 1;
  BDL_K_SHARE(count > 1, for (int64_t n = 0; n < count; n++) {
    const int64_t i = n % each / n_k * high, j = n % n_k * run;
    const bdl_k_etrace_block block = {.lane = n / each / t->groups, .group = n / each % t->groups, .i0 = i,
                                      .i1 = BDL_MIN(i + high, t->inputs), .k0 = j, .k1 = BDL_MIN(j + run, t->outputs)};
    k->etrace[d](t, &block);
  });
}

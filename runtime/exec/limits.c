/*
** limits.c -- bandwidth (STREAM's kind of loop: McCalpin 1995), arithmetic and clock of one thread.  The best of some
** repeats: what else the machine does only takes away.
*/
#include "exec/limits.h"

#include <string.h>

enum { REPEATS = 3 };

/* Bytes a second of p = p + q, tile by tile as groups run, over arrays that no cache near the core holds. */
static double bandwidth(const bdl_exec_context *x) {
  enum { N = 4 << 20 }; /* elements: 16 MB an array */
  const size_t bytes = 2 * N * sizeof(float);
  float *p = bdl_alloc(x->ctx, bytes), *q = p ? p + N : NULL;
  double best = 0;
  if (!p) return 0;
  memset(p, 0, bytes);
  for (int r = 0; r < REPEATS; r++) {
    const int64_t begin = bdl_now_ns();
    for (int64_t i = 0; i < N; i += BDL_TILE) x->k->tile[BDL_TILE_add][BDL_F32][0](p + i, p + i, q + i, NULL, BDL_TILE, i);
    const double rate = 3e9 * N * sizeof(float) / (double)BDL_MAX(bdl_now_ns() - begin, 1);
    best = BDL_MAX(best, rate);
  }
  bdl_free(x->ctx, p, bytes);
  return best;
}

static double arithmetic(const bdl_exec_context *x) {
  float seed = 0;
  double best = 0;
  for (int r = 0; r < REPEATS; r++) {
    const int64_t begin = bdl_now_ns();
    const double flops = x->k->peak(500000, &seed);
    const double rate = 1e9 * flops / (double)BDL_MAX(bdl_now_ns() - begin, 1);
    best = BDL_MAX(best, rate);
  }
  return best;
}

static double clock_ns(void) {
  enum { N = 1000 };
  const int64_t begin = bdl_now_ns();
  int64_t last = begin;
  for (int k = 0; k < N; k++) last = bdl_now_ns();
  return (double)(last - begin) / N;
}

bdl_limits bdl_exec_limits(const bdl_exec_context *x) {
  return (bdl_limits){.bytes_per_s = bandwidth(x), .flops_per_s = arithmetic(x), .clock_ns = clock_ns()};
}

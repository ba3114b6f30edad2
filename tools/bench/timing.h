/*
** timing.h -- a clock, and the order of its readings.
*/
#ifndef BDL_BENCH_TIMING_H
#define BDL_BENCH_TIMING_H

#include <stdlib.h>
#include <time.h>

/* Seconds. */
static inline double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline int by_value(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static inline void sort_times(double *t, int n) { qsort(t, (size_t)n, sizeof *t, by_value); }

#endif

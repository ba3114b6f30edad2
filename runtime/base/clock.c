/*
** clock.c -- the one clock.
*/
#include <time.h>

#include "base/base.h"

int64_t bdl_now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/*
** lower_util.h -- what the adapters of several families share.
*/
#ifndef BDL_LOWER_UTIL_H
#define BDL_LOWER_UTIL_H

#include <inttypes.h>

#include "exec/lower.h"

/* The extents [outer, n, inner] around one axis. */
typedef struct bdl_around {
  int64_t outer, n, inner;
} bdl_around;

static inline bdl_around bdl_axis_around(const bdl_aval *a, int64_t axis) {
  bdl_around r = {1, a->shape[axis], 1};
  for (int i = 0; i < a->ndim; i++)
    if (i < axis)
      r.outer *= a->shape[i];
    else if (i > axis)
      r.inner *= a->shape[i];
  return r;
}

/* Threads for so many elements: small work is done sooner than another thread wakes. */
static inline struct bdl_pool *bdl_lower_pool(const bdl_kcall *k, int64_t work) { return work < 65536 ? NULL : k->pool; }

/* Bytes rounded up, so that the next part of a scratch buffer is aligned. */
static inline size_t bdl_lower_align(size_t n) { return (n + 63) & ~(size_t)63; }

#endif

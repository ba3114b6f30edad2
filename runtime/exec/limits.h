/*
** limits.h -- what one thread of this machine can do at most, measured in some tens of milliseconds.
*/
#ifndef BDL_LIMITS_H
#define BDL_LIMITS_H

#include "exec/exec_context.h"

typedef struct bdl_limits {
  double bytes_per_s; /* of a streaming update, from memory; 0: no memory to measure it with */
  double flops_per_s; /* of independent multiplications and additions */
  double clock_ns;    /* to read the clock */
} bdl_limits;

bdl_limits bdl_exec_limits(const bdl_exec_context *x);

#endif

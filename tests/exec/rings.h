/*
** rings.h -- random loops over an array of which they read and write rows.
*/
#ifndef T_RINGS_H
#define T_RINGS_H

#include "exec/exec.h"

enum { T_RING_IN = 4, T_RING_OUT = 5 };

/* A step, or a scan of such, over a table f32[7,96], a place i32, a ring f32[5,96] and f32[96]; the last three are the carry.
** pair: as for bdl_plan_new. */
bdl_prog *t_random_rings(bdl_context *c, uint64_t seed, int32_t pair[T_RING_OUT]);

#endif

/*
** etrace_isa.c -- blocks of a trace, for one instruction set (see tile_isa.c for the flags).
*/
#include "cpu/etrace.h"

#include "cpu/tile_simd.h"

#define T float
#define DT f32
#include "cpu/etrace.inc"
#undef T
#undef DT

#define T double
#define DT f64
#include "cpu/etrace.inc"

/*
** row_isa.c -- a row times a matrix, for one instruction set (see tile_isa.c for the flags).
*/
#include "cpu/row.h"

#include <math.h>
#include <string.h>

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)

#include "cpu/tile_simd.h"

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 64")
#endif

#define T float
#define DT f32
#include "cpu/row.inc"
#undef T
#undef DT

#define T double
#define DT f64
#include "cpu/row.inc"

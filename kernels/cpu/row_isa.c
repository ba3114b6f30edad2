/*
** row_isa.c -- a row times a matrix, for one instruction set (see tile_isa.c for the flags).
*/
#include "cpu/row.h"

#include "cpu/tile_simd.h"
#include "cpu/turn.h"

#define T float
#define DT f32
#include "cpu/row.inc"
#undef T
#undef DT

#define T double
#define DT f64
#include "cpu/row.inc"

/*
** both.h -- programs on the CPU and on the GPU of tests/cuda, for tests.
*/
#ifndef T_BOTH_H
#define T_BOTH_H

#include "../exec/programs.h"
#include "plan/plan.h"

/* Before a context exists: what stands in for CUDA, its programs in a folder of this test's own; products without a library, or
** (library) with it. */
int t_gpu_begin(void **state);
int t_gpu_end(void **state);

/* Operands from -1 to 1, some of them 0; integers and bool: 0 to 3. */
void t_gpu_operands(bdl_prog *p, bdl_tensor *in, uint64_t seed);
/* Runs a program on both, over `in`, which it drops: the same bits, or (tolerance > 0) as close relative to the largest of an array. */
void t_gpu_same(bdl_context *c, bdl_prog *p, bdl_tensor *in, double tolerance, const char *what);
/* The same of a text, over t_gpu_operands. */
void t_gpu_text(bdl_context *c, const char *text, double tolerance);
/* How many steps of this kind (gpu/program.h) a text has there, in loops too. */
int t_gpu_steps(bdl_context *c, const char *text, int kind);

#endif

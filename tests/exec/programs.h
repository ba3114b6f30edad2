/*
** programs.h -- random programs and tensors, for tests of running them; the native tier and its files.
*/
#ifndef T_PROGRAMS_H
#define T_PROGRAMS_H

#include "exec/exec.h"

enum { MANY = 64 }; /* operands or results, at most */

void t_check(bdl_context *c, bdl_status s); /* fails with the error's message */
bdl_tensor t_random_tensor(bdl_context *c, const bdl_aval *a, double lo, double hi, uint64_t *rng);
void t_drop(bdl_tensor *t, int n);
/* `what` "event_ids": what stands behind the number of ids may differ.  A NaN is as good as another. */
void t_same_bits(const bdl_tensor *a, const bdl_tensor *b, int n, const char *what, uint64_t seed);

/* Element-wise operations, views, reductions over a few shapes: 4 operands, 6 results. */
bdl_prog *t_random_program(bdl_context *c, uint64_t seed);
void t_random_inputs(bdl_prog *p, bdl_tensor *in, uint64_t *rng);
/* A scan whose body is random: 5 operands, 6 results; carry of three shapes, exchanged, kept or replaced; stacked operands and
** results.  pair[6]: as for bdl_plan_new. */
bdl_prog *t_random_scan(bdl_context *c, uint64_t seed, int32_t *pair);
/* A scan that also stacks its carry, before the step and behind it, which is then used in several ways; now and then in a loop. */
bdl_prog *t_random_rows(bdl_context *c, uint64_t seed);
/* A scan of which each step treats every element alone, but for sums over them: 9 operands, 12 results; its first six are the carry. */
bdl_prog *t_random_neurons(bdl_context *c, uint64_t seed, int32_t *pair);
/* x -> x * 1.0001 + 0.1, so many times, and the sum of what is positive on the way: f32[700], f32[]. */
bdl_prog *t_long_loop(bdl_context *c, int64_t steps);
void t_inputs_of(bdl_prog *p, bdl_tensor *in); /* random numbers */
struct bdl_exec_context *t_tier(bdl_context *c, const char *name);

enum { T_FOLDER = 64 };
void t_new_folder(char folder[T_FOLDER]);
void t_in_folder(const char *folder, const char *command); /* a shell's; it must succeed */

#endif

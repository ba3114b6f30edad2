/*
** exec.h -- running plans on the CPU: the interpreter tier.
*/
#ifndef BDL_EXEC_H
#define BDL_EXEC_H

#include "plan/plan.h"

/* Run over contiguous operands and results; out[k] may be the pointer of the operand paired with k when plan->inplace[k].
** Errors: what the kernels say, with the source line of the equation; BDL_EINTERRUPT. */
bdl_status bdl_plan_run(bdl_plan *plan, void *const *in, void *const *out);

/* As bdl_plan_run over tensors: packs operands, allocates results.  out[k].buf: NULL, or a reference to the buffer that result k
** takes, that of its paired operand.  On error no result is held: all are NULL again, those too. */
bdl_status bdl_exec_run(bdl_plan *plan, const bdl_tensor *in, bdl_tensor *out);

/* One equation's primitive on tensors, at once: a plan of one equation, kept in the context by primitive, parameters and types. */
bdl_status bdl_exec_prim(bdl_context *c, bdl_prim_id prim, const bdl_param *params, const bdl_tensor *in, int n_in, bdl_tensor *out);

/* Optimise, plan and run a program once. */
bdl_status bdl_exec_prog(bdl_context *c, const bdl_prog *p, const bdl_tensor *in, bdl_tensor *out);

/* The hook of bdl_pass_fold. */
bdl_status bdl_exec_eval_eqn(bdl_context *c, const bdl_prog *p, const bdl_eqn *e, const bdl_tensor *in, bdl_tensor *out);

/* Called about ten times a second while the outermost loop of a plan runs; total: -1 where the loop does not know it. */
typedef void (*bdl_progress)(void *ud, int64_t done, int64_t total);
void bdl_exec_set_progress(bdl_context *c, bdl_progress fn, void *ud);

#endif

/*
** emit.h -- a plan as C: every group, loop and branch a function (kernels/native/abi.h); kernels are called back.
*/
#ifndef BDL_EMIT_H
#define BDL_EMIT_H

#include "plan/plan.h"

/* The text of `plan`, complete but for the head that chooses attributes and fused multiply-add (exec/native.c), and the functions
** that it calls, in the order of its `link` indices.  Deterministic.  Errors: BDL_ENOMEM. */
typedef struct bdl_emitted {
  bdl_str text;
  BDL_VEC(void *) link;
  int32_t functions; /* how many instructions have one */
} bdl_emitted;

bdl_status bdl_emit_plan(const bdl_plan *plan, bdl_emitted *out);
void bdl_emit_free(bdl_emitted *e, bdl_context *c);

/* The parts of a program that do not depend on the plan; preprocessed kernels/native/elements.c. */
extern const char bdl_native_elements[];

/* In emit_group.c: the functions of one group.  *done false: nothing was written, the interpreter runs it. */
bdl_status bdl_emit_group(const bdl_plan *plan, const bdl_inst *i, bdl_emitted *e, bool *done);

/* The group i of the body of `scan`, tile by tile (plan/tiled.c): t<id>(N) makes steps N->from to N->to - 1 but for the results
** of reductions, which r<id>(N, t) then gives for step t.  *done false: nothing was written. */
bdl_status bdl_emit_steps(const bdl_plan *plan, const bdl_inst *i, const bdl_inst *scan, bdl_emitted *e, bool *done);

/* n elements of a strided operand from position i0 of the domain on (exec/run.c). */
void bdl_exec_load_strided(void *z, const void *base, const void *walk, int64_t i0, int64_t n);

#endif

/*
** edit.h -- what the files of ir/ share below bdl_bind: appending without checks, and taking back.
*/
#ifndef BDL_EDIT_H
#define BDL_EDIT_H

#include "ir/ir.h"

/* Append a copy of e (prim, params, src, n_out; operands: atoms of p) with result types avals[n_out].  No type rule runs.
** Errors: BDL_ENOMEM, p unchanged. */
bdl_status bdl_ir_append(bdl_prog *p, const bdl_eqn *e, const bdl_aval *avals, bdl_atom *out);

/* Append e, checked by the type rule, but never replaced by its operand. */
bdl_status bdl_ir_bind_as_is(bdl_prog *p, const bdl_eqn *e, bdl_atom *out);

/* A point to return to when a sequence of appends fails half-way. */
typedef struct bdl_ir_mark {
  int64_t vars, eqns, inputs, consts;
  bool effects;
} bdl_ir_mark;
bdl_ir_mark bdl_ir_here(const bdl_prog *p);
void bdl_ir_rollback(bdl_prog *p, bdl_ir_mark m);

/* Dead code elimination that also drops the inputs not kept, none of which an output or effect may need. */
bdl_status bdl_ir_dce_inputs(const bdl_prog *p, const bool *keep, bdl_prog **q);

/* Does it run as its first body: call, checkpoint, custom derivatives? */
bool bdl_ir_is_call(bdl_prim_id p);
/* Or is it there for transformations alone, and must be inlined before a program runs? */
bool bdl_ir_is_inlined(bdl_prim_id p);
/* `call` and `etrace_op` equations alone replaced by their bodies: what a derivative needs to know of stays. */
bdl_status bdl_ir_inline_plain(const bdl_prog *p, bdl_prog **q);
/* `call` and `checkpoint`: what the analysis of a step sees through. */
bdl_status bdl_ir_inline_wrappers(const bdl_prog *p, bdl_prog **q);

/* How often each variable is an operand or a result of p; NULL: BDL_ENOMEM. */
int32_t *bdl_ir_uses(const bdl_prog *p, bdl_arena *a);
/* Does e have an effect, itself or in a body? */
bool bdl_ir_has_effect(const bdl_eqn *e);
/* May e end with an error, or never, when it runs where it did not have to? */
bool bdl_ir_can_fail(const bdl_eqn *e);

/* The equation that made x; NULL: an input, a constant, a literal. */
static inline const bdl_eqn *bdl_ir_maker(const bdl_prog *p, bdl_atom x) {
  return p->vars.v[x].kind == BDL_V_EQN ? &p->eqns.v[p->vars.v[x].index] : NULL;
}

#endif

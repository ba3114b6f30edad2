/*
** batch.h -- what the files of batching share.  A value has lanes when it has the axis of lanes, always its first.
*/
#ifndef BDL_BATCH_H
#define BDL_BATCH_H

#include "ir/rewrite.h"
#include "transform/transform.h"

/* ---- which values have lanes; lists are the caller's or live in the arena */

/* flags: of every variable of p, from those of its inputs. */
bdl_status bdl_batch_spread(bdl_arena *a, const bdl_prog *p, const bool *in, bool **flags);
/* The same of p's outputs; more: those that have lanes already, joined. */
bdl_status bdl_batch_join(bdl_arena *a, const bdl_prog *p, const bool *in, bool *out, int n_out);
/* in: of the operands; out: of the results. */
bdl_status bdl_batch_scan_flags(bdl_arena *a, const bdl_eqn *e, const bool *in, bool *out);
/* differs: lanes end in different rounds. */
bdl_status bdl_batch_while_flags(bdl_arena *a, const bdl_eqn *e, const bool *in, bool *out, bool *differs);
/* custom_jvp, custom_vjp */
bdl_status bdl_batch_custom_flags(bdl_arena *a, const bdl_eqn *e, const bool *in, bool *out);
/* Of a body's tangents or cotangents: those of the floats among the first n of `from`. */
int bdl_batch_float_flags(const bdl_prog *p, const bdl_atom *from, int n, const bool *flags, bool *out);

/* Is e between the lanes of the axis that batching goes over?  Then its results have lanes or not whatever its operand has. */
static inline bool bdl_batch_between(const bdl_eqn *e) {
  return (bdl_prims[e->prim].flags & BDL_F_LANES) && e->params[0].i == BDL_LANES;
}

/* ---- programs over lanes */

/* q: p over lanes.  want[k]: output k has lanes: repeated over them, or summed where it should have none.  NULL: as they come. */
bdl_status bdl_batch_body(const bdl_prog *p, const bool *in, const bool *want, int64_t size, bdl_prog **q);

/* Lanes that go different ways all run the same equations.  q(active bool[], some bool[], inputs) is p(inputs) where active;
** elsewhere its results mean nothing, but it neither fails nor loops for ever.  some: any lane is active.  in: flags of p's
** inputs: what all lanes share asks `some`. */
bdl_status bdl_batch_guard(const bdl_prog *p, const bool *in, bdl_prog **q);
/* Could p fail or loop for ever? */
bool bdl_batch_needs_guard(const bdl_prog *p);

#endif

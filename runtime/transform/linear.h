/*
** linear.h -- the step that jvp and vjp share.
*/
#ifndef BDL_LINEAR_H
#define BDL_LINEAR_H

#include "transform/transform.h"

/* p and its tangents, appended to one program. */
typedef struct bdl_linearised {
  bdl_prog *b;       /* inputs: those of p, then one tangent an active float input */
  bdl_atom *out;     /* outputs of p */
  bdl_atom *tangent; /* of each output; BDL_ZERO: none */
  bdl_arena scratch; /* of the lists */
} bdl_linearised;

/* p without calls.  Fini whatever it returned. */
bdl_status bdl_transform_linearise(const bdl_prog *p, const bool *active, bdl_linearised *l);
void bdl_transform_linearised_fini(bdl_linearised *l);

static inline bool bdl_transform_is_float(const bdl_prog *p, bdl_atom x) { return bdl_dtype_is_float(bdl_aval_of(p, x)->dtype); }
static inline bool bdl_transform_is_active(const bdl_prog *p, const bool *active, int64_t i) {
  return bdl_transform_is_float(p, p->inputs.v[i]) && (!active || active[i]);
}
/* BDL_ENOTSUP, with the source line of e. */
bdl_status bdl_transform_no_rule(const bdl_prog *p, const bdl_eqn *e, const char *what);

#endif

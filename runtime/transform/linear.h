/*
** linear.h -- what the files of transform/ share: programs with their tangents, and the parts of them.
*/
#ifndef BDL_LINEAR_H
#define BDL_LINEAR_H

#include "ir/rewrite.h"
#include "transform/transform.h"

/* FORWARD: values and tangents side by side, also inside loops.  REVERSE: each loop and branch becomes one for the values and
** one for the tangents, which is linear in them and can be transposed. */
typedef enum bdl_mode { BDL_FORWARD, BDL_REVERSE } bdl_mode;

/* e of r->p in r->q, unless it is there, then the tangents of its results.  dx: of each variable of p, BDL_ZERO: none. */
bdl_status bdl_transform_push(bdl_rewrite *r, const bdl_eqn *e, bdl_mode mode, bdl_atom *dx);

/* p and its tangents, appended to one program. */
typedef struct bdl_linearised {
  bdl_prog *b;       /* inputs: those of p, then one tangent an active float input; outputs: those of p, then the tangents */
  int64_t n_in;      /* inputs of p */
  int n_out;
  bdl_atom *out;     /* outputs of p */
  bdl_atom *tangent; /* of each output; BDL_ZERO: none */
  bdl_arena scratch; /* of the lists */
} bdl_linearised;

/* p without calls.  b has no outputs yet.  Fini whatever it returned. */
bdl_status bdl_transform_linearise(const bdl_prog *p, const bool *active, bdl_mode mode, bdl_linearised *l);
/* Tangents that are wanted become explicit zeros where they are none; then b's outputs, simplified.  want NULL: none. */
bdl_status bdl_transform_linearised_end(bdl_linearised *l, const bool *want);
void bdl_transform_linearised_fini(bdl_linearised *l);
/* Linearised until a carried value that has a tangent after a round has one before: grows active[carry + i]. */
bdl_status bdl_transform_linearise_loop(const bdl_prog *body, bool *active, int64_t carry, int64_t n_carry, bdl_mode mode,
                                        bdl_linearised *l);

/* An equation with bodies, on the way.  z and dz are to be set. */
typedef struct bdl_control {
  bdl_prog *b;
  const bdl_eqn *e;
  const bdl_atom *x, *dx;
  bdl_atom *z, *dz;
  bdl_mode mode;
  bdl_arena *a;
} bdl_control;
bdl_status bdl_linearise_scan(bdl_control *c);
bdl_status bdl_linearise_while(bdl_control *c);
bdl_status bdl_linearise_cond(bdl_control *c);
bdl_status bdl_linearise_call(bdl_control *c); /* checkpoint, custom derivatives */

/* ---- parts of a program */

/* Which values the tangents need from the rest: the fewest bytes, where cheap equations may be made again. */
typedef struct bdl_split {
  bool *linear;   /* of b's variables: depends on a tangent */
  bdl_atom *kept; /* variables of b */
  int n_kept;
} bdl_split;
/* cost[x]: bytes of keeping variable x; 0: at hand.  Lists live in l's scratch. */
bdl_status bdl_transform_split(bdl_linearised *l, const int64_t *cost, bdl_split *s);

/* The equations of p that lead from `given` to `wanted`, appended to q.  in: atoms of q for `given`; out: those for `wanted`.
** effects: those with effects too, all in their order. */
bdl_status bdl_transform_extract(const bdl_prog *p, const bdl_atom *given, const bdl_atom *in, int n_given, const bdl_atom *wanted,
                                 int n_wanted, bool effects, bdl_prog *q, bdl_atom *out);

/*
** q(inputs of b that are not linear, cotangents of outputs) -> outputs that are kept, cotangents of the linear inputs.
**   n_keep  the first outputs, which are not linear
**   there   of each further output: has it a cotangent?  NULL: all have
**   found   of each linear input: is there one? the others are left out
*/
bdl_status bdl_transform_transpose(const bdl_prog *b, const bool *linear, int n_keep, const bool *there, bdl_prog **q, bool *found);

/* ---- an equation and its body, made side by side */
typedef struct bdl_stage {
  bdl_prog *outer, *body;
  bdl_atom *operand; /* atoms of outer */
  int n, room;
  bdl_arena *a;
} bdl_stage;
bdl_status bdl_stage_new(bdl_stage *s, bdl_prog *outer, const char *name, bdl_arena *a);
void bdl_stage_fini(bdl_stage *s);
/* One more operand, and an input of the body of type a for it. */
bdl_status bdl_stage_input(bdl_stage *s, bdl_atom operand, const bdl_aval *a, bdl_atom *x);

/* x, or zeros of this type. */
static inline bdl_status bdl_or_zeros(bdl_prog *p, bdl_atom x, const bdl_aval *a, bdl_atom *z) {
  *z = x;
  return bdl_is_zero(x) ? bdl_ir_full(p, a, 0, z) : BDL_OK;
}
static inline bool bdl_transform_is_float(const bdl_prog *p, bdl_atom x) { return bdl_dtype_is_float(bdl_aval_of(p, x)->dtype); }
static inline bool bdl_transform_is_active(const bdl_prog *p, const bool *active, int64_t i) {
  return bdl_transform_is_float(p, p->inputs.v[i]) && (!active || active[i]);
}
/* BDL_ENOTSUP, with the source line of e. */
bdl_status bdl_transform_no_rule(const bdl_prog *p, const bdl_eqn *e, const char *what);

#define BDL_ARRAY(arena, p, n) ((p) = bdl_arena_alloc((arena), ((size_t)(n) + 1) * sizeof *(p)))

#endif

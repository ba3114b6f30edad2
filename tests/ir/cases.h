/*
** cases.h -- programs of one equation for every primitive, for tests over the whole table.
*/
#ifndef T_CASES_H
#define T_CASES_H

#include "../support/random.h"
#include "prim/prim.h"

typedef struct t_case {
  bdl_prog *p;        /* inputs: the operands; outputs: the results */
  double lo[8], hi[8]; /* values of each operand for which the primitive is defined and smooth */
} t_case;

/*
** A case of a primitive.  Element-wise ones are made from their type rule: random dtypes, shapes, broadcasts, parameters;
** the others come from a list, in turn.  floats: f32, f64; BDL_DTYPE_COUNT: any dtype.
** False: there is none (for these floats).
*/
bool t_case_new(bdl_context *c, bdl_prim_id prim, uint64_t seed, bdl_dtype floats, t_case *t);

#endif

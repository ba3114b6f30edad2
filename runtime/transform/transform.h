/*
** transform.h -- derivatives and batching, from program to program.
**
** Forward mode writes each equation beside its jvp rule.  Reverse mode is forward mode, then the transposes of the linear
** equations in reverse order (Radul et al. 2022, You Only Linearize Once; autodidax part 4).
** Floats have tangents; integers and booleans have none, and an input of theirs is never active.
*/
#ifndef BDL_TRANSFORM_H
#define BDL_TRANSFORM_H

#include "ir/ir.h"

/*
** bdl_transform_jvp -- q(inputs, tangents of the active inputs) = outputs, tangents of the float outputs.
**   active   one flag an input of p; NULL: every float input.  The flag of an integer is ignored.
** Tangents have the type of what they belong to; those that are zero are written out.
** Errors: BDL_ENOTSUP a primitive on the way has no rule, with its source line; BDL_ENOMEM.
*/
bdl_status bdl_transform_jvp(const bdl_prog *p, const bool *active, bdl_prog **q);

/*
** bdl_transform_vjp -- q(inputs, cotangents of the float outputs) = outputs, cotangents of the active inputs.
** Arguments and errors as above.
*/
bdl_status bdl_transform_vjp(const bdl_prog *p, const bool *active, bdl_prog **q);

/*
** bdl_transform_batch -- q(inputs) = outputs over `size` lanes, each of which computes what p does.
**   batched[i]      input i has an axis of lanes in front
**   out_batched[k]  so has output k; one that does not depend on the lanes stays as it is
** Matrix-vector products become matrix products; nothing becomes a loop over lanes but host calls and prints, which keep
** the order of the lanes.  Where lanes go different ways (cond, while) all run both, and an operand out of range is an error
** only in a lane that goes that way.
** Errors: BDL_ENOTSUP a primitive has no rule, or a host call or psum where lanes go different ways; more axes than a tensor can have.
** Source: JAX's vmap (Bradbury et al. 2018); autodidax part 1.
*/
bdl_status bdl_transform_batch(const bdl_prog *p, const bool *batched, int64_t size, bdl_prog **q, bool *out_batched);

/* q: p, where the primitives between the lanes of an axis (psum, ..) are of the axis that batching q goes over. */
bdl_status bdl_transform_over(const bdl_prog *p, int64_t axis, bdl_prog **q);

#endif

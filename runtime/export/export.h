/*
** export.h -- compiled functions and the States between them as one C99 file with its header, for devices without an operating
** system: no allocation, no library beyond math.h.  What a program computes is decided in its plan, as for the other tiers.
**
**     plans --places--> bodies of functions --what they call--> functions of kernels/export/device.c --> source, header
*/
#ifndef BDL_EXPORT_H
#define BDL_EXPORT_H

#include "plan/plan.h"

/* Something with a name in C; note: for the comment beside it, path and unit. */
typedef struct bdl_export_value {
  const char *name, *note;
  bdl_aval aval;
} bdl_export_value;

/* A tensor of a State.  What no function writes becomes a constant. */
typedef struct bdl_export_leaf {
  bdl_export_value value;
  const void *data; /* contiguous, as it starts */
  bool written;
} bdl_export_leaf;

typedef struct bdl_export_fn {
  const char *name;
  const bdl_plan *plan; /* results that replace a State are paired with it */
  const bdl_export_value *args, *results;
  int32_t n_args, n_results;
  const int32_t *in, *out; /* by input and output of the plan: an argument or result; ~k: leaf k */
} bdl_export_fn;

typedef struct bdl_export {
  const char *name;      /* prefix of everything public, name of the files */
  const char *model;     /* file that it comes from, for the comment on top */
  bool own_math;         /* nothing of math.h */
  int64_t ram_limit;     /* bytes; 0: none */
  const bdl_export_fn *fns;
  const bdl_export_leaf *leaves;
  int32_t n_fns, n_leaves;
} bdl_export;

/* A thing that takes memory, largest first. */
typedef struct bdl_export_part {
  char what[96];
  size_t bytes;
} bdl_export_part;

typedef struct bdl_exported {
  bdl_str source, header;
  size_t state_bytes, scratch_bytes, constant_bytes;
  BDL_VEC(bdl_export_part) parts; /* of state and scratch */
} bdl_exported;

/* Errors: BDL_ENOTSUP a primitive or function that a device does not have, with its line of the model; BDL_EBUDGET more memory
** than the limit, naming what takes it; BDL_EINDEX a constant index out of range; BDL_ENOMEM. */
bdl_status bdl_export_write(bdl_context *c, const bdl_export *x, bdl_exported *out);
void bdl_exported_free(bdl_context *c, bdl_exported *out);

/* Why primitive p is not exported; NULL: it is. */
const char *bdl_export_refusal(bdl_prim_id p);

/* kernels/export/device.c after the preprocessor. */
extern const char bdl_export_device[];

#endif

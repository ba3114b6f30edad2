/*
** lower.h -- how a primitive runs: the `lower` column of prims.def as a table, and the kernel adapters.
** An adapter reads parameters and types, then calls plain-array kernels of kernels/; it makes no allocation.
*/
#ifndef BDL_LOWER_H
#define BDL_LOWER_H

#include "prim/prim.h"

/* What a kernel made of operands that never change, when the plan was made; plans may share it. */
typedef struct bdl_prepared {
  void (*drop)(bdl_context *c, struct bdl_prepared *p); /* one plan less */
} bdl_prepared;

/* One call of a kernel.  Operands and results are contiguous and row-major. */
typedef struct bdl_kcall {
  bdl_context *ctx;
  const struct bdl_k_table *k; /* element kernels of this processor */
  struct bdl_blas *blas;       /* the context's; opened by the first kernel that needs it */
  const bdl_param *params;
  int n_in, n_out;
  const void *const *in;
  const bdl_aval *in_aval;
  void *const *out;
  const bdl_aval *out_aval;
  void *scratch; /* as many bytes as bdl_scratch_<name> asked for, 64-byte aligned; contents undefined */
  const bdl_prepared *prepared; /* NULL: nothing */
  struct bdl_pool *pool; /* threads that the kernel may use, NULL: none; results must not depend on them */
} bdl_kcall;

typedef bdl_status (*bdl_kernel)(const bdl_kcall *k);
/* Scratch bytes for these types; called when the plan is made. */
typedef size_t (*bdl_scratch)(const bdl_param *params, const bdl_aval *in, int n_in, const bdl_aval *out);

/* k->in[i] is the data of operand i where they never change, else NULL; no results, no scratch.  *made NULL: not worth it. */
typedef bdl_status (*bdl_prepare)(const bdl_kcall *k, bdl_prepared **made);

typedef enum bdl_lower_kind {
  BDL_LOWER_TILE, BDL_LOWER_REDUCE, BDL_LOWER_COMPACT, BDL_LOWER_STRIDED, BDL_LOWER_VIEW, BDL_LOWER_KERNEL, BDL_LOWER_UPDATE,
  BDL_LOWER_CONTROL
} bdl_lower_kind;

typedef struct bdl_lowering {
  bdl_lower_kind kind;
  int tile;            /* kind TILE: bdl_tile_op */
  bdl_kernel kernel;   /* kinds REDUCE (partial), KERNEL, UPDATE */
  bdl_scratch scratch; /* (optional) none */
  bdl_prepare prepare; /* (optional) nothing */
} bdl_lowering;

/* The operand of an update that result `out` is, changed in place; -1: none. */
static inline int bdl_lower_updates(const bdl_eqn *e, int out) {
  if (e->prim == BDL_P_dot_add) return e->params[4].i ? 2 : -1;
  if (e->prim == BDL_P_etrace_learn && out == 1) return e->params[5].i ? 1 : -1;
  return out == 0 ? 0 : -1;
}

/* Is a dot of these types few rows times a matrix, so that sparse_dot gives its bits? */
bool bdl_lower_is_rows(const bdl_param *p, const bdl_aval *in);

/* Is a dot of these types one pass of register blocks, so that dot_add gives the bits of dot and add?  in[2]: what is added. */
bool bdl_lower_adds(const bdl_param *p, const bdl_aval *in);

/* Does a dot of these types gain by a second operand packed before, so that packed_dot gives its bits? */
bool bdl_lower_packs(const bdl_param *p, const bdl_aval *in);

/* In exec/lower.c.  A kernel's scratch rule is bdl_scratch_<name>, what it prepares bdl_prepare_<name>, where exec/lower.c
** lists them. */
const bdl_lowering *bdl_lowering_of(bdl_prim_id p);

#endif

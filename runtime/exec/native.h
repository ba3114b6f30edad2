/*
** native.h -- the native tier: a plan compiled by the system's C compiler, in the background, kept on disk.
**
**     FRESH --worth a look--> (in an archive, in the cache?) --> READY
**                                 no, WAITING --worth a compiler--> COMPILING --> READY
**
** Anything that fails ends in OFF: the interpreter tier goes on, and the context warns once, of the first reason.
*/
#ifndef BDL_NATIVE_H
#define BDL_NATIVE_H

#include "plan/plan.h"

#include "exec/program.h"

typedef enum bdl_tier { BDL_TIER_AUTO, BDL_TIER_INTERP, BDL_TIER_NATIVE } bdl_tier;

typedef enum bdl_native_state { BDL_N_FRESH, BDL_N_WAITING, BDL_N_COMPILING, BDL_N_READY, BDL_N_OFF } bdl_native_state;

/* Of one plan: what its `native` points to, once it has run. */
typedef struct bdl_native_plan {
  bdl_native_state state;
  char key[BDL_PROGRAM_KEY]; /* of the cache */
  BDL_VEC(void *) link;
  void *library;
  const bdl_native_fn *fn; /* READY: by instruction */
} bdl_native_plan;

/* What a context keeps for it. */
typedef struct bdl_native_context {
  bdl_tier tier;
  bool told;      /* why it is off */
  int compiling;
  char *dir;      /* of the cache; NULL: not looked for yet */
  void *archive;  /* an open library of programs (archive.h); NULL: none */
  char *archive_path;
  bool archive_used;
  bool has_common;
  bdl_sha256 common; /* bdl_program_common */
} bdl_native_context;

struct bdl_exec_context;

/* The functions of the plan's instructions; NULL: there are none. */
static inline const bdl_native_fn *bdl_native_fns(const bdl_plan *plan) { return plan->native ? plan->native->fn : NULL; }
/* May another state come? */
static inline bool bdl_native_pending(const bdl_plan *plan) {
  return plan->compilable && (!plan->native || plan->native->state < BDL_N_READY);
}
/* Take the next step of the plan's state, if `seconds` that the interpreter tier took for it so far are worth it. */
void bdl_native_poll(struct bdl_exec_context *x, bdl_plan *plan, double seconds);
void bdl_native_free(bdl_plan *plan);
void bdl_native_init(struct bdl_exec_context *x); /* as BDL_TIER and BDL_NATIVE say; what is of no use is told */
void bdl_native_fini(struct bdl_exec_context *x);
/* "auto", "interp", "native". Errors: BDL_EVALUE. */
bdl_status bdl_native_set_tier(bdl_context *c, const char *tier);
const char *bdl_native_tier_name(bdl_tier tier);

#endif

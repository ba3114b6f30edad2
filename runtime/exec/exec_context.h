/*
** exec_context.h -- what execution keeps in a context.
*/
#ifndef BDL_EXEC_CONTEXT_H
#define BDL_EXEC_CONTEXT_H

#include "base/pool.h"
#include "cpu/blas.h"
#include "exec/exec.h"
#include "exec/native.h"

typedef struct bdl_exec_context {
  bdl_context *ctx;
  const bdl_k_table *k;
  int threads;    /* wished for */
  bdl_pool *pool; /* that many; NULL: not made yet, or one */
  int running;    /* plans in the middle of a run, one called by the other: the pool stays as it is */
  bdl_status (*elsewhere)(bdl_plan *plan, const bdl_tensor *in, bdl_tensor *out); /* on another device (gpu/run.h); NULL: here */
  bdl_blas blas;     /* opened by the first kernel that needs it */
  bdl_map eager;     /* hash of primitive, parameters and types -> eager_entry: plans of one equation */
  bdl_progress progress;
  void *progress_ud;
  double progress_next; /* time of the next report */
  struct bdl_profile *profile; /* NULL: off */
  struct bdl_replay *replay;   /* NULL: off */
  bdl_native_context native;
  struct bdl_matrix *matrices; /* sparse ones that plans hold (matrix.h) */
} bdl_exec_context;

bdl_status bdl_exec_get(bdl_context *c, bdl_exec_context **x);
/* Makes x->pool as x->threads says, unless a plan is running.  Errors: BDL_ENOMEM. */
bdl_status bdl_exec_pool(bdl_exec_context *x);
void bdl_exec_report(bdl_exec_context *x, int64_t done, int64_t total);

/* Profiling: time by instruction, summed by primitive and source line. */
typedef bdl_status (*bdl_exec_thunk)(void *runner, const bdl_inst *i);
bdl_status bdl_exec_profiled(bdl_exec_context *x, const bdl_inst *i, void *runner, bdl_exec_thunk run);

/* The same where something else measured it. */
typedef enum bdl_timed { BDL_TIMED_HERE, BDL_TIMED_GPU, BDL_TIMED_LAUNCH } bdl_timed; /* LAUNCH: of a kernel that begins with it */
bdl_status bdl_exec_profile_add(bdl_exec_context *x, const bdl_inst *i, bdl_timed timed, int64_t calls, int64_t ns);
bdl_status bdl_exec_profile_event(bdl_exec_context *x, const bdl_inst *i, bdl_timed timed, int64_t begin, int64_t ns);

/* events: keep each call, too, the first 200,000. */
bdl_status bdl_exec_profile_start(bdl_exec_context *x, bool events);
void bdl_exec_profile_stop(bdl_exec_context *x);
bdl_status bdl_exec_profile_print(bdl_exec_context *x, bdl_str *out);
/* The events as JSON; *left_out: calls that are not among them. */
bdl_status bdl_exec_profile_events(bdl_exec_context *x, bdl_str *out, int64_t *left_out);

#endif

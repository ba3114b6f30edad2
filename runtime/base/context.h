/*
** context.h -- everything that bdl keeps hangs off one bdl_context; there are no globals.
** A layer stores what it owns in its slot and says how to free it.
*/
#ifndef BDL_CONTEXT_H
#define BDL_CONTEXT_H

#include <signal.h>

#include "base/base.h"

typedef enum bdl_slot { BDL_SLOT_DEVICE, BDL_SLOT_GPU, BDL_SLOT_WORLD, BDL_SLOT_STATE, BDL_SLOT_EXEC, BDL_SLOT_COUNT } bdl_slot;

struct bdl_context {
  bdl_alloc_fn alloc;
  void *alloc_ud;
  size_t mem_used, mem_peak, mem_limit; /* bytes; limit 0: none */
  bdl_error error;
  void (*warn)(void *ud, const char *text); /* what the user should know though nothing failed; (optional) nobody listens */
  void *warn_ud;
  volatile sig_atomic_t interrupted; /* set from a signal handler or another thread; loops look at it */
  volatile uint32_t *interrupted_too; /* the same where a GPU's loops see it; NULL: there are none */
  bool sandboxed;                    /* a stranger's model: no files, no programs, no native code */
  struct bdl_budget {
    bool on, spent;
    int64_t steps, limit; /* left; at first, 0: none */
    double seconds;
    int64_t deadline;     /* ns; 0: none */
  } budget;
  size_t lua_used;                   /* bytes that Lua has; in a sandbox they count, too */
  int threads;                       /* upper bound for parallel regions; 0: all processors */
  const char *isa;                   /* instruction set of the kernels; NULL: the best that this processor has */
  int verify;                        /* run the IR verifier after every pass */
  int tf32;                          /* large products of single floats on a GPU may round their factors to TF32 */
  int unfused;                       /* one group per equation: the oracle of the fusion tests */
  bdl_map interned;                  /* hash -> char *, for file names */
  struct {
    void *p;
    void (*fini)(bdl_context *c, void *p);
  } slot[BDL_SLOT_COUNT];
};

/* The flag as other threads may set it at any time. */
static inline bool bdl_stop_asked(const bdl_context *c) { return __atomic_load_n(&c->interrupted, __ATOMIC_RELAXED) != 0; }
static inline void bdl_ask_stop(bdl_context *c, bool stop) {
  volatile uint32_t *const too = __atomic_load_n(&c->interrupted_too, __ATOMIC_ACQUIRE);
  __atomic_store_n(&c->interrupted, stop, __ATOMIC_RELAXED);
  if (too) __atomic_store_n(too, stop, __ATOMIC_RELAXED);
}

/* NULL hook: malloc.  Returns NULL only when the hook does. */
bdl_context *bdl_context_new(bdl_alloc_fn alloc, void *ud);
void bdl_context_free(bdl_context *c);
/* ---- sandboxes (budget.c) */
void bdl_budget_set(bdl_context *c, int64_t steps, double seconds); /* 0: none */
void bdl_spend(bdl_context *c);             /* a step; budget.spent says whether it was one too many */
bdl_status bdl_budget_fail(bdl_context *c); /* BDL_EBUDGET */
/* Errors: BDL_ENOTSUP in a sandbox. */
bdl_status bdl_need_files(bdl_context *c, const char *what);

/* The one copy of a string that lives as long as the context; NULL: BDL_ENOMEM. */
const char *bdl_intern(bdl_context *c, const char *s);

#endif

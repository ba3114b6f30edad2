/*
** pool.h -- the threads of a context, for loops whose rounds do not depend on each other.
**
**     bdl_pool_run(pool, n, fn, job)     fn(job, first, last, thread) over ranges that cover 0 .. n - 1 once
**
** Every thread begins with a contiguous share of its own, so that it finds its data in its own cache again, and then helps the
** others.  The caller works too and waits only for ranges that another thread has begun: on a loaded machine it does all of them
** itself.  Waiting threads spin for some microseconds, then sleep.  Which thread takes which range is open, so fn must give the
** same bits for any ranges: a partial sum belongs to a block of rounds with fixed boundaries, never to a thread.
*/
#ifndef BDL_POOL_H
#define BDL_POOL_H

#include "base/base.h"

typedef struct bdl_pool bdl_pool;

/* Rounds first .. last - 1.  `thread` is below bdl_pool_size(): which room of one's own to use.  fn may not run the pool. */
typedef void (*bdl_pool_fn)(void *job, int64_t first, int64_t last, int thread);

/* How many threads where the user does not say: $OMP_NUM_THREADS, else the processors that this process may use. */
int bdl_pool_default(void);

/* Threads start at the first run that needs them; those that the system refuses are done without.  NULL: BDL_ENOMEM.
** After a fork, the child's pool starts threads of its own. */
bdl_pool *bdl_pool_new(bdl_context *c, int threads);
void bdl_pool_free(bdl_pool *p);
/* The caller among them; of NULL: 1. */
int bdl_pool_size(const bdl_pool *p);
/* NULL, or n <= 1: fn(job, 0, n, 0) by the caller. */
void bdl_pool_run(bdl_pool *p, int64_t n, bdl_pool_fn fn, void *job);

#endif

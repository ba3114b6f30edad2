/*
** world.h -- the processes that run one program together.  Each holds a lane of pmap; all call the functions below in the same
** order.  Their number is known from the environment, and the engine is opened by the first call that needs it.
*/
#ifndef BDL_WORLD_H
#define BDL_WORLD_H

#include "base/base.h"

typedef struct bdl_world bdl_world;

/* One table an engine. */
typedef struct bdl_world_ops {
  bdl_status (*open)(bdl_world *w);
  bdl_status (*sum)(bdl_world *w, bdl_dtype d, const void *in, void *out, size_t n);
  bdl_status (*gather)(bdl_world *w, const void *in, void *out, size_t bytes);
  bdl_status (*exchange)(bdl_world *w, const void *in, int to, void *out, int from, size_t bytes);
  void (*close)(bdl_world *w, int code);
} bdl_world_ops;

struct bdl_world {
  bdl_context *ctx;
  const bdl_world_ops *ops; /* NULL: one process */
  int size, rank;
  int local, local_rank;    /* processes on this machine, and which of them this is */
  struct bdl_mpi *mpi;      /* NULL: not opened */
  struct bdl_nccl *nccl;    /* between their GPUs (nccl.h); NULL: not asked for */
};

/* Errors: BDL_ENOMEM. */
bdl_status bdl_world_get(bdl_context *c, bdl_world **w);
/* Threads for each of several processes on a machine; 0: no bound, one process, or OMP_NUM_THREADS says. */
int bdl_world_threads(const bdl_world *w);

/* Errors of these: BDL_ENOTSUP the engine is not there; BDL_EIO it failed. */
/* out[n] = sum of in[n] over the processes, the same bits in all; not bool */
bdl_status bdl_world_sum(bdl_world *w, bdl_dtype d, const void *in, void *out, size_t n);
/* out: in[bytes] of every process, by rank */
bdl_status bdl_world_gather(bdl_world *w, const void *in, void *out, size_t bytes);
/* in goes to one process, out comes from another; -1: nowhere, and out becomes zeros */
bdl_status bdl_world_exchange(bdl_world *w, const void *in, int to, void *out, int from, size_t bytes);

/* The program of this process is done.  code 0: once all are; else they are ended, too, with this exit status. */
void bdl_world_end(bdl_context *c, int code);

/* Path of the engine's library into buf; NULL: none found. */
const char *bdl_world_library(char *buf, size_t n);

#endif

/*
** ranks.h -- the processes of one `mpirun`, each a device.  MPI is found when the program runs; without it there is one process.
*/
#ifndef BDL_RANKS_H
#define BDL_RANKS_H

#include "base/base.h"

typedef enum bdl_rank_op { BDL_RANKS_SUM, BDL_RANKS_MAX, BDL_RANKS_MIN } bdl_rank_op;

/* This process and their number; starts MPI when the process was started by mpirun.  Errors: BDL_EIO, the library cannot be used. */
bdl_status bdl_ranks(bdl_context *c, int *rank, int *size);
/* The program ends: leave MPI, or, where it failed, leave the others to mpirun, which then ends them. */
void bdl_ranks_end(bdl_context *c, bool failed);
/* y = the n elements of x over all ranks.  Errors: BDL_ETYPE, BDL_EIO. */
bdl_status bdl_ranks_reduce(bdl_context *c, bdl_rank_op op, bdl_dtype d, const void *x, void *y, int64_t n);
/* y = the bytes of rank 0, then those of rank 1, .. */
bdl_status bdl_ranks_gather(bdl_context *c, const void *x, void *y, size_t bytes);
/* y = x of rank from[rank]; zeros where that is -1. */
bdl_status bdl_ranks_permute(bdl_context *c, const int64_t *from, const void *x, void *y, size_t bytes);

#endif

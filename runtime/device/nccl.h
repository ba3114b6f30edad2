/*
** nccl.h -- NVIDIA's collectives, opened at run time: what goes between the GPUs of a world's processes, in the order of the
** GPU's stream, without a wait of the host.
*/
#ifndef BDL_NCCL_H
#define BDL_NCCL_H

#include "device/cuda.h"
#include "device/world.h"

typedef struct bdl_nccl_id { /* ncclUniqueId: goes by value */
  char bytes[128];
} bdl_nccl_id;

#define BDL_NCCL(X)                                                                                                   \
  X(int, ncclGetVersion, (int *version))                                                                              \
  X(int, ncclGetUniqueId, (bdl_nccl_id * id))                                                                         \
  X(int, ncclCommInitRank, (bdl_cuda_any * comm, int size, bdl_nccl_id id, int rank))                                 \
  X(int, ncclCommDestroy, (bdl_cuda_any comm))                                                                        \
  X(int, ncclCommAbort, (bdl_cuda_any comm))                                                                          \
  X(int, ncclAllReduce, (const void *x, void *z, size_t n, int type, int op, bdl_cuda_any comm, bdl_cuda_any stream)) \
  X(int, ncclAllGather, (const void *x, void *z, size_t n, int type, bdl_cuda_any comm, bdl_cuda_any stream))         \
  X(int, ncclSend, (const void *x, size_t n, int type, int to, bdl_cuda_any comm, bdl_cuda_any stream))               \
  X(int, ncclRecv, (void *z, size_t n, int type, int from, bdl_cuda_any comm, bdl_cuda_any stream))                   \
  X(int, ncclGroupStart, (void))                                                                                      \
  X(int, ncclGroupEnd, (void))                                                                                        \
  X(const char *, ncclGetErrorString, (int code))

typedef struct bdl_nccl_api {
#define X(type, name, args) type(*name) args;
  BDL_NCCL(X)
#undef X
  bdl_cuda_library library;
  int version; /* as the library writes it; 0: it is not there */
} bdl_nccl_api;

enum { BDL_NCCL_VERSION = 40 };
void bdl_nccl_version(int version, char text[BDL_NCCL_VERSION]); /* 2.21.5 */

/* Never fails: a library that is missing says so.  One that is there stays: its threads may outlive what began them. */
void bdl_nccl_api_open(bdl_nccl_api *a);

typedef struct bdl_nccl {
  bdl_cuda *g;
  bdl_nccl_api api;
  bdl_cuda_any comm; /* NULL: what goes between processes goes through the host */
  bdl_status lost;   /* what a failed call left: all later ones say so */
} bdl_nccl;

/* The engine between the GPUs of w's processes, which make it together in the first call; *n NULL: there is none, because a
** process finds no library or another version, or two share a GPU; the first process has said so.  Errors: BDL_EIO; as
** bdl_world_gather. */
bdl_status bdl_nccl_get(bdl_cuda *g, bdl_world *w, bdl_nccl **n);
/* As bdl_world_sum and the others (world.h), of memory of the GPU.  Errors: BDL_EIO. */
bdl_status bdl_nccl_sum(bdl_nccl *n, bdl_dtype d, bdl_cuda_ptr in, bdl_cuda_ptr out, size_t count);
bdl_status bdl_nccl_gather(bdl_nccl *n, bdl_cuda_ptr in, bdl_cuda_ptr out, size_t bytes);
bdl_status bdl_nccl_exchange(bdl_nccl *n, bdl_cuda_ptr in, int to, bdl_cuda_ptr out, int from, size_t bytes);
/* Once all processes are done with it: they come here together. */
void bdl_nccl_end(bdl_world *w);

#endif

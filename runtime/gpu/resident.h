/*
** resident.h -- what a plan has on the GPU, from its first run until it goes.
*/
#ifndef BDL_GPU_RESIDENT_H
#define BDL_GPU_RESIDENT_H

#include "gpu/program.h"

typedef struct bdl_gpu_plan {
  bdl_gpu_program p;
  bdl_cuda *g;
  bdl_cuda_any module, *function; /* [n_kernels] */
  int *most_blocks;               /* [n_kernels] that are on the GPU together */
  int32_t n_table;
  bdl_cuda_ptr *table;   /* [n_table] F */
  bool current;          /* the GPU has the same */
  bdl_cuda_ptr *moving;  /* [slots] rows of loops that the host steps */
  bdl_cuda_ptr memory;   /* F itself, status and flag, constants, arena, room */
  size_t bytes;
} bdl_gpu_plan;

static inline size_t bdl_gpu_padded(size_t n) { return (n + 255) / 256 * 256; }
/* Where the table has BDL_GPU_ARENA and the others. */
static inline int32_t bdl_gpu_own(const bdl_gpu_plan *q, int which) { return q->p.plan->n_in + q->p.plan->n_out + which; }

/* Text, module, memory: plan->gpu.  Errors: as bdl_gpu_emit, bdl_gpu_compile; BDL_ENOMEM. */
bdl_status bdl_gpu_move_in(bdl_cuda *g, bdl_plan *plan);

#endif

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
  struct bdl_gpu_epilogue *epilogue; /* [n_kernels] of the products that such a kernel would follow */
  bdl_cuda_any event[2]; /* of a profiled program: around a step */
  int64_t launched, copied; /* ns: of launches that no instruction has yet; of copies before the step */
} bdl_gpu_plan;

static inline size_t bdl_gpu_padded(size_t n) { return (n + 255) / 256 * 256; }
/* Where the table has BDL_GPU_ARENA and the others. */
static inline int32_t bdl_gpu_own(const bdl_gpu_plan *q, int which) { return q->p.plan->n_in + q->p.plan->n_out + which; }

static inline size_t bdl_gpu_laps_bytes(const bdl_gpu_plan *q) { return (size_t)q->p.plan->n_insts * 2 * sizeof(uint64_t); }

/* Text, module, memory: plan->gpu.  timed: for a profile.  Errors: as bdl_gpu_emit, bdl_gpu_compile; BDL_ENOMEM. */
bdl_status bdl_gpu_move_in(bdl_cuda *g, bdl_plan *plan, bool timed);

/* ---- product.c: products with a row added to them, by cuBLASLt */
typedef struct bdl_gpu_epilogue {
  bdl_cuda_any what, x, y, z; /* of the product; layouts */
  bdl_cuda_heuristic how;
  int sum;                    /* type of sums that they are for; 0: not asked yet */
  bool none;                  /* the library has none for it */
} bdl_gpu_epilogue;
/* *done: z = x y + row; false: it cannot.  Errors: as bdl_gpu_product. */
bdl_status bdl_gpu_product_row(bdl_gpu_plan *q, const bdl_gpu_step *s, bdl_cuda_ptr z, bdl_cuda_ptr x, bdl_cuda_ptr y, bdl_cuda_ptr row, bool *done);
void bdl_gpu_epilogue_drop(bdl_cuda *g, bdl_gpu_epilogue *e);

/* ---- pack.c: a contiguous tensor of the same values, made there if they are there.  Errors: BDL_ENOMEM, BDL_EIO. */
bdl_status bdl_gpu_pack(bdl_cuda *g, const bdl_tensor *t, bdl_tensor *out);

/* ---- profile.c: what a profile has of a run.  Around a step: */
bdl_status bdl_gpu_profile_begin(bdl_gpu_plan *q, const bdl_gpu_step *s, int64_t *begin);
bdl_status bdl_gpu_profile_end(bdl_gpu_plan *q, const bdl_gpu_step *s, int64_t begin);
/* Behind a run: the time of the launches goes to their instructions. */
bdl_status bdl_gpu_profile_laps(bdl_gpu_plan *q);

#endif

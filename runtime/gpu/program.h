/*
** program.h -- a plan for a GPU: kernels of whole runs of instructions, loops and branches in them, and between those what the host does.
**
**     plan --emit--> text, steps --compile--> module --run--> launches
**
** A kernel is run by all threads of a cooperative grid alike; barriers stand between instructions (kernels/cuda/device.c).  Only what
** is no kernel splits a plan: products for cuBLAS, what goes between processes, and kernels that the CPU alone has.
*/
#ifndef BDL_GPU_PROGRAM_H
#define BDL_GPU_PROGRAM_H

#include "device/cuda.h"
#include "export/build.h"

typedef enum bdl_gpu_kind { BDL_G_KERNEL, BDL_G_HOST, BDL_G_PRODUCT, BDL_G_COLLECTIVE, BDL_G_SCAN, BDL_G_WHILE, BDL_G_COND } bdl_gpu_kind;

typedef struct bdl_gpu_steps {
  struct bdl_gpu_step *v;
  int64_t n, cap;
} bdl_gpu_steps;

typedef struct bdl_gpu_step {
  bdl_gpu_kind kind;
  const bdl_inst *inst;    /* of a kernel: its first */
  int32_t kernel;          /* the function k<kernel>; of a product: what a kernel then does; -1: nothing */
  const bdl_inst *loop;    /* of a kernel: the last of its own loops; NULL: it has none */
  int64_t work;            /* of a kernel: threads that it has something to do for, at most */
  bdl_gpu_steps body, cond; /* of SCAN and WHILE; COND: body has one BDL_G_COND step with a body for each branch */
} bdl_gpu_step;

enum { BDL_GPU_NOTED = 16 }; /* operands of a check that failed, at most: pointers behind the status, at byte 128 */
/* The table F of a program: operands, results, then these, then its constants. */
enum { BDL_GPU_ARENA, BDL_GPU_ROOM, BDL_GPU_STATUS, BDL_GPU_FLAG, BDL_GPU_STOP, BDL_GPU_LAPS, BDL_GPU_FIXED };
/* STATUS: two i32: a failure's number, or - that of a loop that was asked to stop, and its steps until then.  FLAG: words of anyone().
** STOP: in memory of the host, the context's interrupted_too; 8 bytes on, a loop's number and its steps so far, 32 bits each.  LAPS: of a
** profiled program, by instruction: cycles and runs, as two u64. */

typedef struct bdl_gpu_program {
  bdl_context *c;
  bdl_plan *plan;
  bdl_str text;
  bdl_gpu_steps steps;
  int32_t n_kernels;
  int64_t room;  /* bytes of scratch behind the plan's arena */
  size_t shared; /* bytes of shared memory a block */
  BDL_VEC(bdl_export_constant) constants;
  int32_t *constant; /* [slots] the number of the one in it; -1: none, or it is not on the GPU */
  BDL_VEC(bdl_export_failure) failures;
  BDL_VEC(const bdl_inst *) loops; /* that may stop */
  BDL_VEC(const bdl_inst *) told;  /* whose steps the host hears of: the outermost */
  bool timed;       /* for a profile: with laps */
  bool can_fail;    /* a kernel may note something in STATUS */
  bool host_steps;  /* the host works between launches, and may fail there */
} bdl_gpu_program;

/* ---- where.c */
/* Has a GPU this kernel?  Others are the host's. */
bool bdl_gpu_runs(const bdl_plan *plan, const bdl_inst *i);
/* May instruction i, with what is in it, be part of a kernel?  looped: in a loop. */
bool bdl_gpu_whole(const bdl_plan *plan, const bdl_inst *i, bool looped);
/* Threads that it has something to do for, at most. */
int64_t bdl_gpu_work_of(const bdl_inst *i);

/* Text and steps of a plan.  Errors: BDL_ENOTSUP an array of more than 2^30 elements; BDL_ENOMEM. */
bdl_status bdl_gpu_emit(bdl_plan *plan, bool timed, bdl_gpu_program *p);
void bdl_gpu_program_free(bdl_gpu_program *p);

/* Steps and text, readable; needs no GPU.  (describe.c) */
bdl_status bdl_gpu_describe(bdl_plan *plan, bdl_str *out);

/* A look whether loop i is to stop, once `done` steps are made, an expression.  Leaves `stopped`. */
bdl_status bdl_gpu_look(bdl_exporter *m, const bdl_inst *i, int indent, const char *done);
/* The host hears that loop i has made as many, if no loop is around it. */
bdl_status bdl_gpu_tell(bdl_exporter *m, const bdl_inst *i, int indent, const char *done);
/* Of a profiled program: from here on all time is that of instruction i, which runs n times. */
void bdl_gpu_lap(bdl_exporter *m, const bdl_inst *i, int64_t n, int indent);

/* ---- barrier.c: memory that was touched since the last barrier */
/* Bytes lo .. hi - 1.  n: element i at the i-th place of `size` bytes, of a loop over n elements; 0: any thread, any place. */
typedef struct bdl_gpu_touch {
  int32_t space, slot; /* slot: of operands and results */
  int64_t lo, hi, n;
  int32_t size;
  bool write;
} bdl_gpu_touch;
typedef struct bdl_gpu_touches {
  bdl_gpu_touch *v;
  int64_t n, cap;
} bdl_gpu_touches;
/* A barrier where instruction i needs one; and what it touches is noted. */
bdl_status bdl_gpu_before(bdl_exporter *m, bdl_gpu_touches *pending, const bdl_inst *i, int indent);
/* A barrier if anything was touched. */
void bdl_gpu_settle(bdl_exporter *m, bdl_gpu_touches *pending, int indent);

/* ---- group.c, steps.c */
/* In a group over so many elements a thread takes four that lie together, by one access of 16 bytes: then there is still work for the
** 2,048 threads of each of 132 processors. */
enum { BDL_GPU_MANY = 1 << 20 };
bdl_status bdl_gpu_group(bdl_exporter *m, const bdl_inst *i, int indent);
/* A scan in which every element goes through its steps by itself. */
bdl_status bdl_gpu_steps_alone(bdl_exporter *m, const bdl_inst *i, int indent, bool *done);

/* ---- product.c: is a product the library's, not a kernel's?  looped: inside a loop */
bool bdl_gpu_is_large(const bdl_inst *i, bool looped);
bool bdl_gpu_adds_row(const bdl_inst *i); /* a dot_add of a number a column: an epilogue of cuBLASLt, else a kernel behind it */
/* onto: z = z + the product.  Errors: BDL_ENOMEM, BDL_EIO. */
bdl_status bdl_gpu_product(bdl_cuda *g, const bdl_inst *i, bdl_cuda_ptr z, bdl_cuda_ptr x, bdl_cuda_ptr y, bool onto);

/* ---- collective.c: does it go between the lanes of pmap? */
bool bdl_gpu_is_collective(const bdl_inst *i);
/* *done false: the host has to.  Errors: as bdl_lower_world, bdl_nccl_get. */
bdl_status bdl_gpu_collective(bdl_cuda *g, const bdl_inst *i, bdl_cuda_ptr z, bdl_cuda_ptr x, bool *done);

/* ---- kernel.c, array.c, etrace.c */
bdl_status bdl_gpu_kernel(bdl_exporter *m, const bdl_inst *i, int indent);
bdl_status bdl_gpu_array(bdl_exporter *m, const bdl_inst *i, int indent);
bdl_status bdl_gpu_trace(bdl_exporter *m, const bdl_inst *i, int indent);
int64_t bdl_gpu_work_of_trace(const bdl_inst *i);
int64_t bdl_gpu_work(const bdl_inst *i); /* threads that a kernel has something to do for, at most */

/* ---- sparse.c: products with events, and with matrices that are sparse or made from seeds */
bool bdl_gpu_runs_sparse(const bdl_plan *plan, const bdl_inst *i);
bdl_status bdl_gpu_sparse(bdl_exporter *m, const bdl_inst *i, int indent);
int64_t bdl_gpu_work_of_sparse(const bdl_inst *i);

extern const char bdl_cuda_prelude[]; /* kernels/cuda/prelude.cu */
extern const char bdl_cuda_device[];  /* kernels/cuda/device.c after the preprocessor */

#endif

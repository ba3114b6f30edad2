/*
** resident.c -- what a plan has on the GPU: its module, constants, arena, and the table of pointers.
*/
#include "gpu/resident.h"

#include <stdio.h>

#include "gpu/module.h"

static size_t constant_bytes(const bdl_export_constant *k) { return (size_t)k->n * (k->narrow ? 2 : bdl_dtype_size(k->dtype)); }

static void drop(bdl_plan *plan) {
  bdl_gpu_plan *q = plan->gpu;
  bdl_context *c = plan->ctx;
  bdl_device *d = &q->g->device;
  q->g->api.cuStreamSynchronize(q->g->stream); /* it may still run */
  if (q->memory) d->ops->free(d, (void *)(uintptr_t)q->memory, q->bytes);
  for (int k = 0; k < 2; k++)
    if (q->event[k]) q->g->api.cuEventDestroy_v2(q->event[k]);
  if (q->module) q->g->api.cuModuleUnload(q->module);
  for (int32_t k = 0; q->epilogue && k < q->p.n_kernels; k++) bdl_gpu_epilogue_drop(q->g, &q->epilogue[k]);
  bdl_free(c, q->epilogue, (size_t)(q->p.n_kernels + 1) * sizeof *q->epilogue);
  bdl_free(c, q->function, (size_t)(q->p.n_kernels + 1) * sizeof *q->function);
  bdl_free(c, q->most_blocks, (size_t)(q->p.n_kernels + 1) * sizeof *q->most_blocks);
  bdl_free(c, q->table, (size_t)q->n_table * sizeof *q->table);
  bdl_free(c, q->moving, (size_t)(plan->slots.n + 1) * sizeof *q->moving);
  bdl_gpu_program_free(&q->p);
  bdl_free(c, q, sizeof *q);
  plan->gpu = NULL;
}

static bdl_status load(bdl_gpu_plan *q) {
  bdl_cuda *g = q->g;
  bdl_context *c = q->p.c;
  bdl_gpu_image image;
  char name[32];
  if (q->p.n_kernels == 0) return BDL_OK;
  TRY(bdl_gpu_compile(g, q->p.text.s, &image));
  const bdl_status s = bdl_cuda_check(g, g->api.cuModuleLoadDataEx(&q->module, image.bytes, 0, NULL, NULL), "a program");
  bdl_gpu_image_free(c, &image);
  TRY(s);
  for (int32_t k = 0; k < q->p.n_kernels; k++) {
    snprintf(name, sizeof name, "k%d", (int)k);
    TRY(bdl_cuda_check(g, g->api.cuModuleGetFunction(&q->function[k], q->module, name), "a program's kernel"));
    TRY(bdl_cuda_check(g, g->api.cuOccupancyMaxActiveBlocksPerMultiprocessor(&q->most_blocks[k], q->function[k], g->block_threads, q->p.shared),
                       "a program's kernel"));
    q->most_blocks[k] *= g->processors;
    if (q->most_blocks[k] == 0) return bdl_fail(c, BDL_ENOTSUP, "GPU: a program needs more of a multiprocessor than there is");
  }
  return BDL_OK;
}

/* The constant k, in the width that programs read. */
static bdl_status upload_constant(bdl_gpu_plan *q, const bdl_export_constant *k, bdl_cuda_ptr to) {
  bdl_device *d = &q->g->device;
  const size_t n = constant_bytes(k);
  if (!k->narrow) return d->ops->upload(d, NULL, (void *)(uintptr_t)to, k->data, n);
  uint16_t *narrow = bdl_alloc(q->p.c, n + 1);
  if (!narrow) return BDL_ENOMEM;
  for (int64_t i = 0; i < k->n; i++) narrow[i] = (uint16_t)((const int32_t *)k->data)[i];
  const bdl_status s = d->ops->upload(d, NULL, (void *)(uintptr_t)to, narrow, n);
  bdl_free(q->p.c, narrow, n + 1);
  return s;
}

static bdl_status lay_out(bdl_gpu_plan *q) {
  bdl_device *d = &q->g->device;
  const bdl_plan *plan = q->p.plan;
  const size_t table = bdl_gpu_padded((size_t)q->n_table * sizeof *q->table);
  size_t at = table + 256;
  void *p;
  for (int64_t k = 0; k < q->p.constants.n; k++) at += bdl_gpu_padded(constant_bytes(&q->p.constants.v[k]));
  const size_t laps = q->p.timed ? bdl_gpu_padded(bdl_gpu_laps_bytes(q)) : 0;
  q->bytes = at + bdl_gpu_padded(plan->arena_bytes) + bdl_gpu_padded((size_t)q->p.room) + laps;
  TRY(d->ops->alloc(d, q->bytes, &p));
  q->memory = (bdl_cuda_ptr)(uintptr_t)p;
  q->table[bdl_gpu_own(q, BDL_GPU_STATUS)] = q->memory + table;
  q->table[bdl_gpu_own(q, BDL_GPU_FLAG)] = q->memory + table + 64;
  q->table[bdl_gpu_own(q, BDL_GPU_STOP)] = (bdl_cuda_ptr)(uintptr_t)q->g->stop;
  at = table + 256;
  for (int64_t k = 0; k < q->p.constants.n; k++) {
    q->table[bdl_gpu_own(q, BDL_GPU_FIXED) + k] = q->memory + at;
    TRY(upload_constant(q, &q->p.constants.v[k], q->memory + at));
    at += bdl_gpu_padded(constant_bytes(&q->p.constants.v[k]));
  }
  q->table[bdl_gpu_own(q, BDL_GPU_ARENA)] = q->memory + at;
  q->table[bdl_gpu_own(q, BDL_GPU_ROOM)] = q->memory + at + bdl_gpu_padded(plan->arena_bytes);
  q->table[bdl_gpu_own(q, BDL_GPU_LAPS)] = q->memory + q->bytes - laps;
  if (laps) TRY(bdl_cuda_check(q->g, q->g->api.cuMemsetD8Async(q->memory + q->bytes - laps, 0, laps, q->g->stream), "memory"));
  for (int k = 0; k < 2 && laps; k++) TRY(bdl_cuda_check(q->g, q->g->api.cuEventCreate(&q->event[k], 0), "an event"));
  return bdl_cuda_check(q->g, q->g->api.cuMemsetD8Async(q->memory + table, 0, 256, q->g->stream), "memory");
}

bdl_status bdl_gpu_move_in(bdl_cuda *g, bdl_plan *plan, bool timed) {
  bdl_context *c = plan->ctx;
  bdl_gpu_plan *q = bdl_calloc(c, sizeof *q);
  if (!q) return BDL_ENOMEM;
  q->g = g;
  bdl_status s = bdl_gpu_emit(plan, timed, &q->p);
  if (s != BDL_OK) {
    bdl_free(c, q, sizeof *q);
    return s;
  }
  plan->gpu = q;
  plan->drop_gpu = drop;
  q->n_table = bdl_gpu_own(q, BDL_GPU_FIXED) + (int32_t)q->p.constants.n;
  q->function = bdl_calloc(c, (size_t)(q->p.n_kernels + 1) * sizeof *q->function);
  q->epilogue = bdl_calloc(c, (size_t)(q->p.n_kernels + 1) * sizeof *q->epilogue);
  q->most_blocks = bdl_calloc(c, (size_t)(q->p.n_kernels + 1) * sizeof *q->most_blocks);
  q->table = bdl_calloc(c, (size_t)q->n_table * sizeof *q->table);
  q->moving = bdl_calloc(c, (size_t)(plan->slots.n + 1) * sizeof *q->moving);
  s = q->function && q->epilogue && q->most_blocks && q->table && q->moving ? load(q) : BDL_ENOMEM;
  if (s == BDL_OK) s = lay_out(q);
  if (s != BDL_OK) drop(plan);
  return s;
}

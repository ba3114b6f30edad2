/*
** cpu.c -- the CPU as a device: memory of the context's hook, work done when a call returns.
*/
#include <string.h>

#include "device/cuda.h"
#include "base/context.h"

/* The block the hook gave stands in front of the aligned data. */
static size_t block_size(size_t size) { return size + BDL_PAD + BDL_ALIGN + sizeof(void *); }

static bdl_status cpu_alloc(bdl_device *d, size_t size, void **p) {
  char *block = bdl_alloc(d->ctx, block_size(size));
  if (!block) return BDL_ENOMEM;
  uintptr_t at = ((uintptr_t)block + sizeof(void *) + BDL_ALIGN - 1) & ~(uintptr_t)(BDL_ALIGN - 1);
  ((void **)at)[-1] = block;
  *p = (void *)at;
  return BDL_OK;
}

static void cpu_free(bdl_device *d, void *p, size_t size) { bdl_free(d->ctx, ((void **)p)[-1], block_size(size)); }

static bdl_status cpu_upload(bdl_device *d, bdl_stream *s, void *dst, const void *src, size_t n) {
  (void)d, (void)s;
  if (n) memcpy(dst, src, n);
  return BDL_OK;
}

static void cpu_fini(bdl_device *d) { bdl_free(d->ctx, d, sizeof *d); }

static const bdl_device_ops cpu_ops = {
  .name = "cpu", .alloc = cpu_alloc, .free = cpu_free, .upload = cpu_upload, .download = cpu_upload, .copy = cpu_upload, .fini = cpu_fini,
};

static void fini_slot(bdl_context *c, void *p) {
  (void)c;
  bdl_device *d = p;
  bdl_device_trim(d);
  d->ops->fini(d);
}

bdl_device *bdl_device_cpu(bdl_context *c) {
  if (!c->slot[BDL_SLOT_DEVICE].p) {
    bdl_device *d = bdl_alloc(c, sizeof *d);
    if (!d) return NULL;
    *d = (bdl_device){.ops = &cpu_ops, .ctx = c};
    c->slot[BDL_SLOT_DEVICE].p = d;
    c->slot[BDL_SLOT_DEVICE].fini = fini_slot;
  }
  return c->slot[BDL_SLOT_DEVICE].p;
}

bdl_status bdl_device_get(bdl_context *c, const char *platform, bdl_device **d) {
  if (strcmp(platform, "gpu") == 0) {
    bdl_cuda *g;
    TRY(bdl_cuda_get(c, &g));
    *d = &g->device;
    return BDL_OK;
  }
  if (strcmp(platform, "cpu") != 0) return bdl_fail(c, BDL_EVALUE, "no %s backend; have cpu, gpu", platform);
  *d = bdl_device_cpu(c);
  return *d ? BDL_OK : BDL_ENOMEM;
}

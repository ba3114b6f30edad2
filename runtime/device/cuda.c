/*
** cuda.c -- a GPU as a device: memory of its stream-ordered pool, copies and launches in the order of one stream.
*/
#include "device/cuda.h"

#include <stdio.h>
#include <string.h>

#include "base/context.h"
#include "device/world.h"

/* Values of the driver's interface. */
enum {
  CU_OUT_OF_MEMORY = 2, CU_NON_BLOCKING = 1, CU_HOST_PORTABLE = 1, CU_HOST_MAPPED = 2, CU_POOL_RELEASE_THRESHOLD = 4,
  CU_MAX_THREADS_A_BLOCK = 1, CU_CLOCK = 13, CU_PROCESSORS = 16, CU_PCI_BUS = 33, CU_PCI_DEVICE = 34, CU_MEMORY_CLOCK = 36, CU_BUS = 37, CU_PCI_DOMAIN = 50, CU_MAJOR = 75, CU_MINOR = 76,
  CU_COOPERATIVE = 95, CU_POOLS = 115, CU_CLUSTERS = 120
};
enum { BLOCK = 256, LEAST_MAJOR = 7, LEAST_DRIVER = 11080 };

static bdl_cuda *gpu_of(bdl_device *d) { return (bdl_cuda *)(void *)d; }
static bdl_cuda_any stream_of(const bdl_cuda *g, bdl_stream *s) { return s ? (bdl_cuda_any)(void *)s : g->stream; }

bdl_status bdl_cuda_check(bdl_cuda *g, int code, const char *what) {
  const char *name = "an unknown error", *text = "";
  bdl_context *c = g->device.ctx;
  if (code == 0) return BDL_OK;
  g->api.cuGetErrorName(code, &name);
  g->api.cuGetErrorString(code, &text);
  if (code == CU_OUT_OF_MEMORY)
    return bdl_fail(c, BDL_ENOMEM, "%s: out of memory: %s (%zu bytes of %zu are in use)", g->label, what, g->used, g->total);
  g->lost = BDL_EIO;
  bdl_fail(c, BDL_EIO, "%s: %s: %s (%s)", g->label, what, text ? text : "", name ? name : "");
  bdl_hint(c, "what it was to compute is lost; start again");
  return BDL_EIO;
}

/* Also for a thread that has not used it before. */
static bdl_status still_there(bdl_cuda *g) {
  if (g->api.cuCtxSetCurrent(g->context) != 0) g->lost = BDL_EIO;
  return g->lost == BDL_OK ? BDL_OK : bdl_fail(g->device.ctx, g->lost, "%s: an earlier launch or copy has failed; start again", g->label);
}

/* ---- the device table ------------------------------------------------------------------------------------------- */

static bdl_status gpu_alloc(bdl_device *d, size_t size, void **p) {
  bdl_cuda *g = gpu_of(d);
  bdl_cuda_ptr at = 0;
  TRY(still_there(g));
  size = BDL_MAX(size, 1);
  if (d->ctx->mem_limit && g->used + size > d->ctx->mem_limit)
    return bdl_fail(d->ctx, BDL_ENOMEM, "%s: %zu bytes more than the limit of %zu (%zu are in use)", g->label, size, d->ctx->mem_limit, g->used);
  TRY(bdl_cuda_check(g, g->api.cuMemAllocAsync(&at, size, g->stream), "memory"));
  g->used += size;
  g->peak = BDL_MAX(g->peak, g->used);
  *p = (void *)(uintptr_t)at;
  return BDL_OK;
}

static void gpu_free(bdl_device *d, void *p, size_t size) {
  bdl_cuda *g = gpu_of(d);
  g->api.cuMemFreeAsync((bdl_cuda_ptr)(uintptr_t)p, g->stream);
  g->used -= BDL_MAX(size, 1);
}

static bdl_status gpu_upload(bdl_device *d, bdl_stream *s, void *dst, const void *src, size_t n) {
  bdl_cuda *g = gpu_of(d);
  TRY(still_there(g));
  if (n == 0) return BDL_OK;
  return bdl_cuda_upload(g, stream_of(g, s), (bdl_cuda_ptr)(uintptr_t)dst, src, n);
}

static bdl_status gpu_download(bdl_device *d, bdl_stream *s, void *host, const void *src, size_t n) {
  bdl_cuda *g = gpu_of(d);
  TRY(still_there(g));
  if (n == 0) return BDL_OK;
  return bdl_cuda_download(g, stream_of(g, s), host, (bdl_cuda_ptr)(uintptr_t)src, n);
}

static bdl_status gpu_copy(bdl_device *d, bdl_stream *s, void *dst, const void *src, size_t n) {
  bdl_cuda *g = gpu_of(d);
  TRY(still_there(g));
  if (n == 0) return BDL_OK;
  return bdl_cuda_check(g, g->api.cuMemcpyDtoDAsync_v2((bdl_cuda_ptr)(uintptr_t)dst, (bdl_cuda_ptr)(uintptr_t)src, n, stream_of(g, s)), "copy");
}

static bdl_status gpu_sync(bdl_device *d, bdl_stream *s) {
  bdl_cuda *g = gpu_of(d);
  TRY(still_there(g));
  return bdl_cuda_check(g, g->api.cuStreamSynchronize(stream_of(g, s)), "work");
}

static void gpu_fini(bdl_device *d) {
  bdl_cuda *g = gpu_of(d);
  bdl_context *c = d->ctx;
  if (g->blas) g->api.cublasDestroy_v2(g->blas);
  if (g->blas_lt) g->api.cublasLtDestroy(g->blas_lt);
  if (g->workspace) gpu_free(d, g->workspace, g->workspace_size);
  __atomic_store_n(&c->interrupted_too, NULL, __ATOMIC_RELEASE);
  if (g->stream) {
    g->api.cuStreamSynchronize(g->stream);
    g->api.cuStreamDestroy_v2(g->stream);
  }
  if (g->stop) g->api.cuMemFreeHost(g->stop);
  bdl_cuda_staging_free(g);
  if (g->context) g->api.cuDevicePrimaryCtxRelease_v2(g->ordinal);
  bdl_cuda_api_close(&g->api);
  bdl_free(c, g, sizeof *g);
}

static const bdl_device_ops gpu_ops = {
  .name = "gpu", .alloc = gpu_alloc, .free = gpu_free, .upload = gpu_upload, .download = gpu_download, .copy = gpu_copy,
  .stream_sync = gpu_sync, .fini = gpu_fini,
};

/* ---- opening ------------------------------------------------------------------------------------------------------ */

static bdl_status missing(bdl_context *c, const char *what, const char *why, const char *hint) {
  bdl_fail(c, BDL_EVALUE, "platform 'gpu': %s: %s", what, why);
  bdl_hint(c, "%s", hint);
  return BDL_EVALUE;
}

static bdl_status libraries(bdl_context *c, const bdl_cuda_api *a) {
  if (!a->driver.handle) return missing(c, "no NVIDIA driver", a->driver.why, "install it, name its folder in BDL_CUDA, or choose the platform 'cpu'");
  if (!a->nvrtc.handle)
    return missing(c, "no CUDA compiler", a->nvrtc.why, "install libnvrtc (CUDA toolkit, or pip's nvidia-cuda-nvrtc-cu12) and name its folder in BDL_CUDA");
  if (!a->blas.handle)
    return missing(c, "no cuBLAS", a->blas.why, "install libcublas (CUDA toolkit, or pip's nvidia-cublas-cu12) and name its folder in BDL_CUDA");
  return BDL_OK;
}

static int attribute_of(const bdl_cuda *g, int device, int id) {
  int v = 0;
  return g->api.cuDeviceGetAttribute(&v, id, device) == 0 ? v : 0;
}

static int attribute(const bdl_cuda *g, int id) { return attribute_of(g, g->ordinal, id); }

bdl_status bdl_cuda_look(bdl_cuda *g, int k, bdl_cuda_about *a) {
  int device = 0;
  TRY(bdl_cuda_check(g, g->api.cuDeviceGet(&device, k), "a device"));
  TRY(bdl_cuda_check(g, g->api.cuDeviceGetName(a->name, sizeof a->name, device), "its name"));
  TRY(bdl_cuda_check(g, g->api.cuDeviceTotalMem_v2(&a->memory, device), "its memory"));
  a->major = attribute_of(g, device, CU_MAJOR);
  a->minor = attribute_of(g, device, CU_MINOR);
  a->processors = attribute_of(g, device, CU_PROCESSORS);
  a->place[0] = attribute_of(g, device, CU_PCI_DOMAIN);
  a->place[1] = attribute_of(g, device, CU_PCI_BUS);
  a->place[2] = attribute_of(g, device, CU_PCI_DEVICE);
  return BDL_OK;
}

/* Clocks in kHz; memory moves twice a cycle.  Single floats: 64 units a multiprocessor in 7.x and 8.0, 128 since. */
bdl_cuda_limits bdl_cuda_limits_of(const bdl_cuda *g) {
  const int units = g->major < 8 || (g->major == 8 && g->minor == 0) ? 64 : 128;
  return (bdl_cuda_limits){.bytes_per_s = 2e3 * attribute(g, CU_MEMORY_CLOCK) * (attribute(g, CU_BUS) / 8.0),
                           .flops_per_s = 2e3 * attribute(g, CU_CLOCK) * g->processors * units};
}

static bdl_status open_gpu(bdl_cuda *g) {
  bdl_context *c = g->device.ctx;
  const bdl_cuda_api *a = &g->api;
  bdl_cuda_about about;
  bdl_world *w;
  char text[160];
  TRY(bdl_world_get(c, &w));
  TRY(libraries(c, a));
  a->cuDriverGetVersion(&g->driver_version);
  if (g->driver_version < LEAST_DRIVER) {
    snprintf(text, sizeof text, "%.80s is of CUDA %d.%d", a->driver.path, g->driver_version / 1000, g->driver_version % 1000 / 10);
    return missing(c, "the NVIDIA driver is too old", text, "install one of CUDA 11.8 or later");
  }
  if (a->cuInit(0) != 0 || a->cuDeviceGetCount(&g->devices) != 0 || g->devices == 0)
    return missing(c, "no GPU", "the NVIDIA driver finds no device", "look at nvidia-smi, CUDA_VISIBLE_DEVICES; or choose the platform 'cpu'");
  g->which = w->local_rank % g->devices;
  if (g->devices > 1) snprintf(g->label, sizeof g->label, "GPU %d", g->which);
  TRY(bdl_cuda_check(g, a->cuDeviceGet(&g->ordinal, g->which), "a device"));
  TRY(bdl_cuda_look(g, g->which, &about));
  g->total = about.memory;
  g->major = about.major;
  g->minor = about.minor;
  g->processors = about.processors;
  if (g->major < LEAST_MAJOR || !attribute(g, CU_COOPERATIVE) || !attribute(g, CU_POOLS)) {
    snprintf(text, sizeof text, "%.80s has compute capability %d.%d", about.name, g->major, g->minor);
    return missing(c, "the GPU is too old", text, "one of capability 7.0 or later with memory pools is needed");
  }
  g->block_threads = BDL_MIN(BLOCK, attribute(g, CU_MAX_THREADS_A_BLOCK));
  g->clusters = g->major >= 9 && attribute(g, CU_CLUSTERS);
  a->nvrtcVersion(&g->nvrtc_major, &g->nvrtc_minor);
  TRY(bdl_cuda_check(g, a->cuDevicePrimaryCtxRetain(&g->context, g->ordinal), "its context"));
  TRY(bdl_cuda_check(g, a->cuCtxSetCurrent(g->context), "its context"));
  TRY(bdl_cuda_check(g, a->cuStreamCreate(&g->stream, CU_NON_BLOCKING), "a stream"));
  void *stop;
  TRY(bdl_cuda_check(g, a->cuMemHostAlloc(&stop, 64, CU_HOST_PORTABLE | CU_HOST_MAPPED), "memory that the host sees"));
  g->stop = stop;
  *g->stop = 0;
  g->told = (uint64_t *)stop + 1;
  *g->told = 0;
  __atomic_store_n(&c->interrupted_too, g->stop, __ATOMIC_RELEASE);
  bdl_cuda_any pool;
  uint64_t keep = UINT64_MAX; /* what was freed serves again */
  TRY(bdl_cuda_check(g, a->cuDeviceGetDefaultMemPool(&pool, g->ordinal), "its memory pool"));
  return bdl_cuda_check(g, a->cuMemPoolSetAttribute(pool, CU_POOL_RELEASE_THRESHOLD, &keep), "its memory pool");
}

static void fini_slot(bdl_context *c, void *p) {
  (void)c;
  bdl_device *d = p;
  d->ops->fini(d);
}

bdl_cuda *bdl_cuda_of(bdl_context *c) { return c->slot[BDL_SLOT_GPU].p; }

bdl_status bdl_cuda_get(bdl_context *c, bdl_cuda **out) {
  if (!c->slot[BDL_SLOT_GPU].p) {
    bdl_cuda *g = bdl_calloc(c, sizeof *g);
    if (!g) return BDL_ENOMEM;
    g->device = (bdl_device){.ops = &gpu_ops, .ctx = c};
    snprintf(g->label, sizeof g->label, "GPU");
    bdl_cuda_api_open(&g->api);
    const bdl_status s = open_gpu(g);
    if (s != BDL_OK) {
      gpu_fini(&g->device);
      return s;
    }
    c->slot[BDL_SLOT_GPU].p = g;
    c->slot[BDL_SLOT_GPU].fini = fini_slot;
  }
  *out = c->slot[BDL_SLOT_GPU].p;
  return BDL_OK;
}

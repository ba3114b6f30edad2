/*
** device.c -- devices, their primary contexts, errors, and the lock that every function of the fake driver holds.
*/
#include <pthread.h>

#include "fake.h"

static bool initialised;
static struct CUctx_st contexts[FAKE_DEVICES];
static _Thread_local CUcontext current;

/* ---- the lock, and what every function begins with --------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

int fake_lock(void) { return pthread_mutex_lock(&lock); }

void fake_unlock(const int *entered) {
  (void)entered;
  pthread_mutex_unlock(&lock);
}

CUcontext fake_context(void) { return current && current->users ? current : NULL; }
CUcontext fake_context_of(int device) { return &contexts[device]; }

/* An allocation fails for want of memory, other functions for no reason. */
CUresult fake_enter(const char *function) {
  if (fake_fails(function)) return strstr(function, "Alloc") ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_UNKNOWN;
  if (!initialised && strcmp(function, "cuInit") != 0) return CUDA_ERROR_NOT_INITIALIZED;
  return fake_context() ? current->broken : CUDA_SUCCESS;
}

static const struct {
  CUresult e;
  const char *name, *words;
} errors[] = {
  {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
  {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
  {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
  {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
  {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
  {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
  {CUDA_ERROR_INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
  {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
  {CUDA_ERROR_NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution"},
  {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
  {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
  {CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
  {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
  {CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
  {CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, "CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE", "too many blocks"},
  {CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
  {CUDA_ERROR_INVALID_CLUSTER_SIZE, "CUDA_ERROR_INVALID_CLUSTER_SIZE", "invalid cluster size"},
  {CUDA_ERROR_UNKNOWN, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

static CUresult error_text(CUresult e, bool name, const char **s) {
  *s = NULL;
  for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
    if (errors[i].e == e) *s = name ? errors[i].name : errors[i].words;
  return *s ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetErrorName(CUresult e, const char **s) { return error_text(e, true, s); }
CUresult cuGetErrorString(CUresult e, const char **s) { return error_text(e, false, s); }

/* ---- devices ----------------------------------------------------------------------------------------------------- */

/* CUDA_VISIBLE_DEVICES ends at the first number that is none of a device's.  visible: [FAKE_DEVICES] */
static int look(int visible[]) {
  const long n = fake_env("FAKE_CUDA_DEVICES", 1);
  const int all = n < 0 ? 0 : n < FAKE_DEVICES ? (int)n : FAKE_DEVICES;
  const char *list = getenv("CUDA_VISIBLE_DEVICES");
  for (int i = 0; i < all; i++) visible[i] = i;
  if (!list) return all;
  for (int i = 0; i < all; i++) {
    char *end;
    const long d = strtol(list, &end, 10);
    if (end == list || d < 0 || d >= all) return i;
    visible[i] = (int)d;
    list = *end == ',' ? end + 1 : "";
  }
  return all;
}

static int count(void) { return look((int[FAKE_DEVICES]){0}); }

/* The number that device d has without CUDA_VISIBLE_DEVICES. */
static int number(CUdevice d) {
  int visible[FAKE_DEVICES];
  look(visible);
  return visible[d];
}

CUresult cuInit(unsigned flags) {
  ENTER(cuInit);
  if (flags) return CUDA_ERROR_INVALID_VALUE;
  if (!count()) return CUDA_ERROR_NO_DEVICE;
  initialised = true;
  return CUDA_SUCCESS;
}

CUresult cuDriverGetVersion(int *version) { /* needs no cuInit */
  *version = (int)fake_env("FAKE_CUDA_DRIVER", 12040);
  return fake_fails("cuDriverGetVersion") ? CUDA_ERROR_UNKNOWN : CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *n) {
  ENTER(cuDeviceGetCount);
  *n = count();
  return CUDA_SUCCESS;
}

#define DEVICE(d) \
  if ((d) < 0 || (d) >= count()) return CUDA_ERROR_INVALID_DEVICE

CUresult cuDeviceGet(CUdevice *d, int i) {
  ENTER(cuDeviceGet);
  DEVICE(i);
  *d = i;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int n, CUdevice d) {
  ENTER(cuDeviceGetName);
  DEVICE(d);
  snprintf(name, (size_t)n, "fake GPU %d", number(d));
  return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem_v2(size_t *n, CUdevice d) {
  ENTER(cuDeviceTotalMem);
  DEVICE(d);
  *n = (size_t)fake_env("FAKE_CUDA_MEMORY", 2L << 30);
  return CUDA_SUCCESS;
}

/* Numbers of CUdevice_attribute.  What is not here is an error, so that nobody relies on a made-up zero. */
CUresult cuDeviceGetAttribute(int *v, int attribute, CUdevice d) {
  ENTER(cuDeviceGetAttribute);
  DEVICE(d);
  switch (attribute) {
  case 1:   /* threads of a block */
  case 2:   /* the same along x */
  case 39:  /* threads of a multiprocessor: one block */
    *v = fake_threads();
    break;
  case 3: case 4: *v = 1; break;                 /* threads of a block along y, z */
  case 5: *v = INT32_MAX; break;                 /* blocks along x */
  case 6: case 7: *v = 1; break;                 /* blocks along y, z */
  case 8: *v = FAKE_SHARED; break;               /* shared memory of a block */
  case 97: *v = FAKE_SHARED_OPTIN; break;        /* the same, if asked for */
  case 81: *v = FAKE_SHARED_OPTIN; break;        /* the same, of a multiprocessor */
  case 111: *v = 0; break;                       /* shared memory kept by the driver */
  case 9: *v = 64 << 10; break;                  /* constant memory */
  case 10: *v = 32; break;                       /* warp */
  case 12: case 82: *v = 64 << 10; break;        /* registers of a block, of a multiprocessor */
  case 13: *v = 1000000; break;                  /* clock, kHz */
  case 36: *v = 1000000; break;                  /* clock of the memory, kHz */
  case 37: *v = 64; break;                       /* bits of the bus */
  case 38: *v = 1 << 20; break;                  /* L2, bytes */
  case 16: *v = fake_sms(); break;               /* multiprocessors */
  case 106: *v = 1; break;                       /* blocks of a multiprocessor */
  case 75: *v = 9; break;                        /* compute capability */
  case 76: *v = 0; break;
  case 17: case 18: case 20: case 32: *v = 0; break; /* run time limit, integrated, compute mode, ECC */
  case 19: case 31: case 40: case 41: *v = 1; break; /* mapped host memory, copies beside kernels, .. */
  case 33: case 34: case 50: *v = number(d); break; /* PCI bus, device, domain */
  case 95: *v = 1; break;                        /* cooperative launch */
  case 115: *v = 1; break;                       /* memory pools */
  case 120: *v = 1; break;                       /* clusters */
  default: return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

/* ---- contexts ---------------------------------------------------------------------------------------------------- */

CUresult cuDevicePrimaryCtxRetain(CUcontext *c, CUdevice d) {
  ENTER(cuDevicePrimaryCtxRetain);
  DEVICE(d);
  CUcontext ctx = &contexts[d];
  if (!ctx->users) {
    const CUresult e = fake_memory_new(d);
    if (e) return e;
    ctx->device = d;
    ctx->broken = CUDA_SUCCESS;
  }
  ctx->users++;
  *c = ctx;
  return CUDA_SUCCESS;
}

/* The last one takes modules, streams and memory with it; a broken context can be left, too. */
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice d) {
  __attribute__((cleanup(fake_unlock))) const int entered = fake_lock();
  (void)entered;
  if (fake_fails("cuDevicePrimaryCtxRelease")) return CUDA_ERROR_UNKNOWN;
  DEVICE(d);
  CUcontext ctx = &contexts[d];
  if (!ctx->users) return CUDA_ERROR_INVALID_CONTEXT;
  if (ctx->users == 1) {
    fake_drain_all();
    fake_modules_drop(d);
    fake_streams_drop(d);
    fake_memory_drop(d);
  }
  ctx->users--;
  return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext c) {
  ENTER(cuCtxSetCurrent);
  if (c && !c->users) return CUDA_ERROR_INVALID_CONTEXT;
  current = c;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *c) {
  ENTER(cuCtxGetCurrent);
  *c = fake_context();
  return CUDA_SUCCESS;
}

CUresult cuCtxSynchronize(void) {
  ENTER_CONTEXT(cuCtxSynchronize);
  return fake_drain_all();
}

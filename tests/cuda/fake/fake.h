/*
** fake.h -- the part of the CUDA driver API, of NVRTC, cuBLAS and NCCL that bdl calls, and what the files of the fake
** share.  Names, numbers and structs: NVIDIA CUDA Driver API 12.4, NVRTC 12.4, cuBLAS 12.4 (reference manuals), nccl.h 2.21.
**
**   device.c    devices, contexts, errors              fiber.c    the threads of a launch
**   memory.c    allocations, copies                    nvrtc.c    text -> shared object, by cc
**   stream.c    streams, events, what is queued        cublas.c   products, by loops
**   launch.c    modules, functions, launches           cublaslt.c with a bias added
**                                                      nccl.c     collectives, by files
*/
#ifndef BDL_TESTS_FAKE_H
#define BDL_TESTS_FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API __attribute__((visibility("default")))

/* ---- the driver -------------------------------------------------------------------------------------------------- */

typedef enum {
  CUDA_SUCCESS = 0,
  CUDA_ERROR_INVALID_VALUE = 1,
  CUDA_ERROR_OUT_OF_MEMORY = 2,
  CUDA_ERROR_NOT_INITIALIZED = 3,
  CUDA_ERROR_NO_DEVICE = 100,
  CUDA_ERROR_INVALID_DEVICE = 101,
  CUDA_ERROR_INVALID_IMAGE = 200,
  CUDA_ERROR_INVALID_CONTEXT = 201,
  CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
  CUDA_ERROR_INVALID_HANDLE = 400,
  CUDA_ERROR_NOT_FOUND = 500,
  CUDA_ERROR_NOT_READY = 600,
  CUDA_ERROR_ILLEGAL_ADDRESS = 700,
  CUDA_ERROR_LAUNCH_FAILED = 719,
  CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE = 720,
  CUDA_ERROR_NOT_SUPPORTED = 801,
  CUDA_ERROR_INVALID_CLUSTER_SIZE = 912,
  CUDA_ERROR_UNKNOWN = 999,
} CUresult;

typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUmemPoolHandle_st *CUmemoryPool;

typedef struct {
  size_t srcXInBytes, srcY;
  int srcMemoryType;
  const void *srcHost;
  CUdeviceptr srcDevice;
  void *srcArray;
  size_t srcPitch;
  size_t dstXInBytes, dstY;
  int dstMemoryType;
  void *dstHost;
  CUdeviceptr dstDevice;
  void *dstArray;
  size_t dstPitch;
  size_t WidthInBytes, Height;
} CUDA_MEMCPY2D;

typedef enum { CU_LAUNCH_ATTRIBUTE_COOPERATIVE = 2, CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION = 4 } CUlaunchAttributeID;

typedef union {
  char pad[64];
  struct {
    unsigned x, y, z;
  } clusterDim;
  int cooperative;
} CUlaunchAttributeValue;

typedef struct {
  CUlaunchAttributeID id;
  char pad[8 - sizeof(CUlaunchAttributeID)];
  CUlaunchAttributeValue value;
} CUlaunchAttribute;

typedef struct {
  unsigned gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes;
  CUstream hStream;
  CUlaunchAttribute *attrs;
  unsigned numAttrs;
} CUlaunchConfig;

API CUresult cuInit(unsigned flags);
API CUresult cuDriverGetVersion(int *version);
API CUresult cuGetErrorName(CUresult e, const char **s);
API CUresult cuGetErrorString(CUresult e, const char **s);
API CUresult cuDeviceGetCount(int *n);
API CUresult cuDeviceGet(CUdevice *d, int i);
API CUresult cuDeviceGetName(char *name, int n, CUdevice d);
API CUresult cuDeviceTotalMem_v2(size_t *n, CUdevice d);
API CUresult cuDeviceGetAttribute(int *v, int attribute, CUdevice d);
API CUresult cuDevicePrimaryCtxRetain(CUcontext *c, CUdevice d);
API CUresult cuDevicePrimaryCtxRelease_v2(CUdevice d);
API CUresult cuCtxSetCurrent(CUcontext c);
API CUresult cuCtxGetCurrent(CUcontext *c);
API CUresult cuCtxSynchronize(void);

API CUresult cuMemGetInfo_v2(size_t *available, size_t *total);
API CUresult cuMemAlloc_v2(CUdeviceptr *p, size_t n);
API CUresult cuMemFree_v2(CUdeviceptr p);
API CUresult cuMemAllocAsync(CUdeviceptr *p, size_t n, CUstream s);
API CUresult cuMemFreeAsync(CUdeviceptr p, CUstream s);
API CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *pool, CUdevice d);
API CUresult cuMemPoolSetAttribute(CUmemoryPool pool, int attribute, void *v);
API CUresult cuMemPoolTrimTo(CUmemoryPool pool, size_t keep);
API CUresult cuMemHostAlloc(void **p, size_t n, unsigned flags);
API CUresult cuMemFreeHost(void *p);
API CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t n, CUstream s);
API CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t n, CUstream s);
API CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t n, CUstream s);
API CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *c, CUstream s);
API CUresult cuMemsetD8Async(CUdeviceptr p, unsigned char byte, size_t n, CUstream s);

API CUresult cuStreamCreate(CUstream *s, unsigned flags);
API CUresult cuStreamDestroy_v2(CUstream s);
API CUresult cuStreamSynchronize(CUstream s);
API CUresult cuStreamQuery(CUstream s);
API CUresult cuStreamWaitEvent(CUstream s, CUevent e, unsigned flags);
API CUresult cuEventCreate(CUevent *e, unsigned flags);
API CUresult cuEventRecord(CUevent e, CUstream s);
API CUresult cuEventQuery(CUevent e);
API CUresult cuEventSynchronize(CUevent e);
API CUresult cuEventElapsedTime(float *ms, CUevent from, CUevent to);
API CUresult cuEventDestroy_v2(CUevent e);

API CUresult cuModuleLoadDataEx(CUmodule *m, const void *image, unsigned n, int *options, void **values);
API CUresult cuModuleUnload(CUmodule m);
API CUresult cuModuleGetFunction(CUfunction *f, CUmodule m, const char *name);
API CUresult cuFuncGetAttribute(int *v, int attribute, CUfunction f);
API CUresult cuFuncSetAttribute(CUfunction f, int attribute, int v);
API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *n, CUfunction f, int threads, size_t shared);
API CUresult cuOccupancyMaxActiveClusters(int *n, CUfunction f, const CUlaunchConfig *c);
API CUresult cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                            unsigned shared, CUstream s, void **params, void **extra);
API CUresult cuLaunchKernelEx(const CUlaunchConfig *c, CUfunction f, void **params, void **extra);

/* ---- NVRTC and cuBLAS -------------------------------------------------------------------------------------------- */

typedef enum {
  NVRTC_SUCCESS = 0,
  NVRTC_ERROR_OUT_OF_MEMORY = 1,
  NVRTC_ERROR_PROGRAM_CREATION_FAILURE = 2,
  NVRTC_ERROR_INVALID_INPUT = 3,
  NVRTC_ERROR_INVALID_PROGRAM = 4,
  NVRTC_ERROR_INVALID_OPTION = 5,
  NVRTC_ERROR_COMPILATION = 6,
  NVRTC_ERROR_INTERNAL_ERROR = 11,
} nvrtcResult;
typedef struct _nvrtcProgram *nvrtcProgram;

API const char *nvrtcGetErrorString(nvrtcResult e);
API nvrtcResult nvrtcVersion(int *major, int *minor);
API nvrtcResult nvrtcGetNumSupportedArchs(int *n);
API nvrtcResult nvrtcGetSupportedArchs(int *archs);
API nvrtcResult nvrtcCreateProgram(nvrtcProgram *p, const char *text, const char *name, int n,
                                   const char *const *headers, const char *const *names);
API nvrtcResult nvrtcDestroyProgram(nvrtcProgram *p);
API nvrtcResult nvrtcCompileProgram(nvrtcProgram p, int n, const char *const *options);
API nvrtcResult nvrtcGetProgramLogSize(nvrtcProgram p, size_t *n);
API nvrtcResult nvrtcGetProgramLog(nvrtcProgram p, char *log);
API nvrtcResult nvrtcGetPTXSize(nvrtcProgram p, size_t *n);
API nvrtcResult nvrtcGetPTX(nvrtcProgram p, char *ptx);
API nvrtcResult nvrtcGetCUBINSize(nvrtcProgram p, size_t *n);
API nvrtcResult nvrtcGetCUBIN(nvrtcProgram p, char *cubin);

typedef enum {
  CUBLAS_STATUS_SUCCESS = 0,
  CUBLAS_STATUS_NOT_INITIALIZED = 1,
  CUBLAS_STATUS_ALLOC_FAILED = 3,
  CUBLAS_STATUS_INVALID_VALUE = 7,
  CUBLAS_STATUS_EXECUTION_FAILED = 13,
  CUBLAS_STATUS_NOT_SUPPORTED = 15,
} cublasStatus_t;
typedef struct cublasContext *cublasHandle_t;
enum { CUDA_R_32F = 0, CUDA_R_64F = 1 };
enum { CUBLAS_OP_N, CUBLAS_OP_T, CUBLAS_OP_C };
enum {
  CUBLAS_COMPUTE_32F = 68,
  CUBLAS_COMPUTE_32F_PEDANTIC = 69,
  CUBLAS_COMPUTE_64F = 70,
  CUBLAS_COMPUTE_64F_PEDANTIC = 71,
  CUBLAS_COMPUTE_32F_FAST_TF32 = 77,
};

API const char *cublasGetStatusString(cublasStatus_t e);
API cublasStatus_t cublasCreate_v2(cublasHandle_t *h);
API cublasStatus_t cublasDestroy_v2(cublasHandle_t h);
API cublasStatus_t cublasGetVersion_v2(cublasHandle_t h, int *version);
API cublasStatus_t cublasSetStream_v2(cublasHandle_t h, CUstream s);
API cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t h, void *p, size_t n);
API cublasStatus_t cublasSetMathMode(cublasHandle_t h, int mode);
API cublasStatus_t cublasSetPointerMode_v2(cublasHandle_t h, int mode);
API cublasStatus_t cublasSgemm_v2(cublasHandle_t h, int ta, int tb, int m, int n, int k, const float *alpha,
                                  const float *a, int lda, const float *b, int ldb, const float *beta, float *c,
                                  int ldc);
API cublasStatus_t cublasDgemm_v2(cublasHandle_t h, int ta, int tb, int m, int n, int k, const double *alpha,
                                  const double *a, int lda, const double *b, int ldb, const double *beta, double *c,
                                  int ldc);
API cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t h, int ta, int tb, int m, int n, int k, const void *alpha,
                                              const void *a, int atype, int lda, long long stride_a, const void *b,
                                              int btype, int ldb, long long stride_b, const void *beta, void *c,
                                              int ctype, int ldc, long long stride_c, int batch, int compute,
                                              int algorithm);

/* ---- NCCL -------------------------------------------------------------------------------------------------------- */

typedef enum {
  ncclSuccess = 0,
  ncclUnhandledCudaError = 1,
  ncclSystemError = 2,
  ncclInvalidArgument = 4,
  ncclInvalidUsage = 5,
} ncclResult_t;
typedef struct ncclComm *ncclComm_t;
enum { NCCL_UNIQUE_ID_BYTES = 128 };
typedef struct {
  char internal[NCCL_UNIQUE_ID_BYTES];
} ncclUniqueId;
enum {
  ncclInt8 = 0,
  ncclUint8 = 1,
  ncclInt32 = 2,
  ncclUint32 = 3,
  ncclInt64 = 4,
  ncclUint64 = 5,
  ncclFloat16 = 6,
  ncclFloat32 = 7,
  ncclFloat64 = 8,
};

API const char *ncclGetErrorString(ncclResult_t e);
API ncclResult_t ncclGetVersion(int *version);
API ncclResult_t ncclGetUniqueId(ncclUniqueId *id);
API ncclResult_t ncclCommInitRank(ncclComm_t *comm, int size, ncclUniqueId id, int rank);
API ncclResult_t ncclCommDestroy(ncclComm_t comm);
API ncclResult_t ncclCommAbort(ncclComm_t comm);
API ncclResult_t ncclAllReduce(const void *x, void *z, size_t n, int type, int op, ncclComm_t comm, CUstream s);
API ncclResult_t ncclAllGather(const void *x, void *z, size_t n, int type, ncclComm_t comm, CUstream s);
API ncclResult_t ncclSend(const void *x, size_t n, int type, int to, ncclComm_t comm, CUstream s);
API ncclResult_t ncclRecv(void *z, size_t n, int type, int from, ncclComm_t comm, CUstream s);
API ncclResult_t ncclGroupStart(void);
API ncclResult_t ncclGroupEnd(void);

/* ---- among the files of the fake --------------------------------------------------------------------------------- */

static inline long fake_env(const char *name, long otherwise) {
  const char *s = getenv(name);
  return s && *s ? strtol(s, NULL, 10) : otherwise;
}

/* Is this the call that FAKE_CUDA_FAIL=<function>:<n> has fail?  function: without _v2.  A new value counts from one
** again. */
static inline bool fake_fails(const char *function) {
  static char last[80];
  static long calls;
  const char *s = getenv("FAKE_CUDA_FAIL");
  if (!s) s = "";
  if (strncmp(s, last, sizeof last - 1) != 0) {
    calls = 0;
    snprintf(last, sizeof last, "%s", s);
  }
  const size_t n = strlen(function);
  return strncmp(s, function, n) == 0 && s[n] == ':' && ++calls == strtol(s + n + 1, NULL, 10);
}

struct CUctx_st {
  int device, users;
  CUresult broken; /* a launch failed: every call says so until the last user releases the context */
};

/*
** ENTER -- begins a function of the driver: takes the lock (until it returns), and leaves with an error where
** FAKE_CUDA_FAIL asks for it, before cuInit, or where the context of this thread is broken.  ENTER_CONTEXT: also where
** this thread has none.
*/
#define ENTER(function)                                                  \
  __attribute__((cleanup(fake_unlock))) const int entered = fake_lock(); \
  (void)entered;                                                         \
  do {                                                                   \
    const CUresult status_ = fake_enter(#function);                      \
    if (status_) return status_;                                         \
  } while (0)
#define ENTER_CONTEXT(function) \
  ENTER(function);              \
  if (!fake_context()) return CUDA_ERROR_INVALID_CONTEXT

int fake_lock(void);
void fake_unlock(const int *entered);
CUresult fake_enter(const char *function);
CUcontext fake_context(void); /* of this thread, or NULL */
CUcontext fake_context_of(int device);
static inline int fake_sms(void) { return (int)fake_env("FAKE_CUDA_SMS", 2); }
static inline int fake_threads(void) { return (int)fake_env("FAKE_CUDA_THREADS", 64); } /* of a block, at most */
enum { FAKE_DEVICES = 8, FAKE_SHARED = 48 << 10, FAKE_SHARED_OPTIN = 227 << 10, FAKE_CLUSTER = 8, FAKE_FILL = 0xA5 };

/*
** Work queued on a stream: run(args) later, with a copy of the n bytes at args; owned is freed afterwards.  s: NULL is
** the default stream.  Draining runs all that is queued on s, and what that waits for.
*/
typedef CUresult fake_work(void *args);
API CUresult fake_queue(CUstream s, fake_work *run, const void *args, size_t n, void *owned);
CUresult fake_drain(CUstream s);
CUresult fake_drain_all(void);
void fake_streams_drop(int device);
void fake_modules_drop(int device);

API bool fake_on_device(CUdeviceptr p, size_t n); /* is [p, p + n) inside one allocation of a device? */
void fake_memory_show(bool yes);                  /* device memory can be touched while shown; calls nest */
CUresult fake_memory_new(int device);
void fake_memory_drop(int device);

/* One launch: kernel(F, a, b) by all threads.  together: all blocks run at the same time and may wait for one
** another. */
typedef void fake_kernel(void *table, int64_t a, int64_t b);
typedef struct {
  fake_kernel *kernel;
  const char *name;
  void *table;
  int64_t a, b;
  int32_t blocks, threads; /* threads of a block */
  size_t shared;           /* bytes of a block */
  bool together;
} fake_grid;
CUresult fake_run(const fake_grid *g);
const struct bdl_shim *fake_shim(void);

#endif

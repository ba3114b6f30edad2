/*
** cuda.h -- NVIDIA's libraries, opened at run time, and the GPU that they give: memory, copies, programs, launches.
** No header of CUDA is needed: the types below are those of its driver's ABI.
*/
#ifndef BDL_CUDA_H
#define BDL_CUDA_H

#include "device/device.h"

typedef uint64_t bdl_cuda_ptr;      /* CUdeviceptr */
typedef struct bdl_cuda_handle *bdl_cuda_any; /* CUcontext, CUstream, CUevent, CUmodule, CUfunction, ..: pointers all */

typedef struct bdl_cuda_launch_config { /* CUlaunchConfig */
  unsigned grid[3], block[3], shared;
  bdl_cuda_any stream;
  struct bdl_cuda_attribute { /* CUlaunchAttribute */
    int id;
    char pad[4];
    union {
      char room[64];
      int flag;
      unsigned cluster[3];
    };
  } *attributes;
  unsigned n;
} bdl_cuda_launch_config;

typedef struct bdl_cuda_copy_2d { /* CUDA_MEMCPY2D */
  struct bdl_cuda_pitched {
    size_t x, y; /* bytes, rows before it */
    int kind;    /* of memory */
    void *host;
    bdl_cuda_ptr device;
    bdl_cuda_any array;
    size_t pitch; /* bytes from row to row */
  } from, to;
  size_t width, height; /* bytes, rows */
} bdl_cuda_copy_2d;

#define BDL_CUDA_DRIVER(X)                                                                                   \
  X(cuInit, (unsigned flags))                                                                                \
  X(cuDriverGetVersion, (int *version))                                                                      \
  X(cuGetErrorName, (int code, const char **text))                                                           \
  X(cuGetErrorString, (int code, const char **text))                                                         \
  X(cuDeviceGetCount, (int *n))                                                                              \
  X(cuDeviceGet, (int *device, int k))                                                                       \
  X(cuDeviceGetName, (char *name, int n, int device))                                                        \
  X(cuDeviceTotalMem_v2, (size_t * bytes, int device))                                                       \
  X(cuDeviceGetAttribute, (int *value, int attribute, int device))                                           \
  X(cuDevicePrimaryCtxRetain, (bdl_cuda_any * context, int device))                                          \
  X(cuDevicePrimaryCtxRelease_v2, (int device))                                                              \
  X(cuCtxSetCurrent, (bdl_cuda_any context))                                                                 \
  X(cuMemGetInfo_v2, (size_t * spare, size_t *total))                                                        \
  X(cuMemAllocAsync, (bdl_cuda_ptr * p, size_t n, bdl_cuda_any stream))                                      \
  X(cuMemFreeAsync, (bdl_cuda_ptr p, bdl_cuda_any stream))                                                   \
  X(cuDeviceGetDefaultMemPool, (bdl_cuda_any * pool, int device))                                            \
  X(cuMemPoolSetAttribute, (bdl_cuda_any pool, int attribute, void *value))                                  \
  X(cuMemPoolTrimTo, (bdl_cuda_any pool, size_t keep))                                                       \
  X(cuMemHostAlloc, (void **p, size_t n, unsigned flags))                                                    \
  X(cuMemFreeHost, (void *p))                                                                                \
  X(cuMemcpyHtoDAsync_v2, (bdl_cuda_ptr dst, const void *src, size_t n, bdl_cuda_any stream))                \
  X(cuMemcpyDtoHAsync_v2, (void *dst, bdl_cuda_ptr src, size_t n, bdl_cuda_any stream))                      \
  X(cuMemcpyDtoDAsync_v2, (bdl_cuda_ptr dst, bdl_cuda_ptr src, size_t n, bdl_cuda_any stream))               \
  X(cuMemcpy2DAsync_v2, (const bdl_cuda_copy_2d *copy, bdl_cuda_any stream))                                 \
  X(cuMemsetD8Async, (bdl_cuda_ptr dst, unsigned char v, size_t n, bdl_cuda_any stream))                     \
  X(cuStreamCreate, (bdl_cuda_any * stream, unsigned flags))                                                 \
  X(cuStreamDestroy_v2, (bdl_cuda_any stream))                                                               \
  X(cuStreamSynchronize, (bdl_cuda_any stream))                                                              \
  X(cuStreamQuery, (bdl_cuda_any stream))                                                                    \
  X(cuEventCreate, (bdl_cuda_any * event, unsigned flags))                                                   \
  X(cuEventRecord, (bdl_cuda_any event, bdl_cuda_any stream))                                                \
  X(cuEventSynchronize, (bdl_cuda_any event))                                                                \
  X(cuEventElapsedTime, (float *ms, bdl_cuda_any from, bdl_cuda_any to))                                     \
  X(cuEventDestroy_v2, (bdl_cuda_any event))                                                                 \
  X(cuModuleLoadDataEx, (bdl_cuda_any * module, const void *image, unsigned n, int *options, void **values)) \
  X(cuModuleUnload, (bdl_cuda_any module))                                                                   \
  X(cuModuleGetFunction, (bdl_cuda_any * f, bdl_cuda_any module, const char *name))                          \
  X(cuFuncSetAttribute, (bdl_cuda_any f, int attribute, int value))                                          \
  X(cuOccupancyMaxActiveBlocksPerMultiprocessor, (int *n, bdl_cuda_any f, int threads, size_t shared))       \
  X(cuLaunchKernelEx, (const bdl_cuda_launch_config *config, bdl_cuda_any f, void **params, void **extra))

#define BDL_CUDA_NVRTC(X)                                                                                    \
  X(nvrtcVersion, (int *major, int *minor))                                                                  \
  X(nvrtcCreateProgram, (bdl_cuda_any * p, const char *text, const char *name, int n, const char *const *headers, const char *const *names)) \
  X(nvrtcDestroyProgram, (bdl_cuda_any * p))                                                                 \
  X(nvrtcCompileProgram, (bdl_cuda_any p, int n, const char *const *options))                                \
  X(nvrtcGetProgramLogSize, (bdl_cuda_any p, size_t *n))                                                     \
  X(nvrtcGetProgramLog, (bdl_cuda_any p, char *text))                                                        \
  X(nvrtcGetCUBINSize, (bdl_cuda_any p, size_t *n))                                                          \
  X(nvrtcGetCUBIN, (bdl_cuda_any p, char *image))                                                            \
  X(nvrtcGetPTXSize, (bdl_cuda_any p, size_t *n))                                                            \
  X(nvrtcGetPTX, (bdl_cuda_any p, char *image))                                                              \
  X(nvrtcGetNumSupportedArchs, (int *n))                                                                     \
  X(nvrtcGetSupportedArchs, (int *archs))

#define BDL_CUDA_BLAS(X)                                                                                     \
  X(cublasCreate_v2, (bdl_cuda_any * handle))                                                                \
  X(cublasDestroy_v2, (bdl_cuda_any handle))                                                                 \
  X(cublasGetVersion_v2, (bdl_cuda_any handle, int *version))                                                \
  X(cublasSetStream_v2, (bdl_cuda_any handle, bdl_cuda_any stream))                                          \
  X(cublasSetMathMode, (bdl_cuda_any handle, int mode))                                                      \
  X(cublasGemmStridedBatchedEx, (bdl_cuda_any handle, int ta, int tb, int m, int n, int k, const void *alpha, const void *a, int a_type, \
                                 int lda, long long a_step, const void *b, int b_type, int ldb, long long b_step, const void *beta,      \
                                 void *c, int c_type, int ldc, long long c_step, int batch, int compute, int algorithm))

/* May be missing: products without epilogues then. */
#define BDL_CUDA_BLAS_LT(X)                                                                                  \
  X(cublasLtCreate, (bdl_cuda_any * handle))                                                                 \
  X(cublasLtDestroy, (bdl_cuda_any handle))                                                                  \
  X(cublasLtMatmulDescCreate, (bdl_cuda_any * p, int compute, int scale_type))                               \
  X(cublasLtMatmulDescDestroy, (bdl_cuda_any p))                                                             \
  X(cublasLtMatmulDescSetAttribute, (bdl_cuda_any p, int attribute, const void *value, size_t size))         \
  X(cublasLtMatrixLayoutCreate, (bdl_cuda_any * p, int type, uint64_t rows, uint64_t columns, int64_t ld))   \
  X(cublasLtMatrixLayoutDestroy, (bdl_cuda_any p))                                                           \
  X(cublasLtMatmulPreferenceCreate, (bdl_cuda_any * p))                                                      \
  X(cublasLtMatmulPreferenceDestroy, (bdl_cuda_any p))                                                       \
  X(cublasLtMatmulPreferenceSetAttribute, (bdl_cuda_any p, int attribute, const void *value, size_t size))   \
  X(cublasLtMatmulAlgoGetHeuristic, (bdl_cuda_any handle, bdl_cuda_any p, bdl_cuda_any a, bdl_cuda_any b, bdl_cuda_any c, bdl_cuda_any d, \
                                     bdl_cuda_any preference, int most, bdl_cuda_heuristic *found, int *n))                              \
  X(cublasLtMatmul, (bdl_cuda_any handle, bdl_cuda_any p, const void *alpha, const void *a, bdl_cuda_any a_layout, const void *b,        \
                     bdl_cuda_any b_layout, const void *beta, const void *c, bdl_cuda_any c_layout, void *d, bdl_cuda_any d_layout,      \
                     const void *algorithm, void *workspace, size_t size, bdl_cuda_any stream))

typedef struct bdl_cuda_heuristic { /* cublasLtMatmulHeuristicResult_t */
  uint64_t algorithm[8];
  size_t workspace;
  int status;
  float waves;
  int reserved[4];
} bdl_cuda_heuristic;

typedef struct bdl_cuda_library {
  void *handle;    /* NULL: not open */
  char path[512];  /* what was opened */
  char why[512];   /* or why it is not: what was looked for, where */
} bdl_cuda_library;

/* names: ending with NULL.  Looked for in the folders of BDL_CUDA (with ':' between), then where the loader looks, then in
** /usr/local/cuda/lib64. */
void bdl_cuda_library_open(bdl_cuda_library *l, const char *const *names);
/* A function of an open library; one that is missing closes it again. */
void *bdl_cuda_library_find(bdl_cuda_library *l, const char *name);
/* The path by which the loader found the one that has this function. */
void bdl_cuda_library_note(bdl_cuda_library *l, void *function);

typedef struct bdl_cuda_api {
#define X(name, args) int(*name) args;
  BDL_CUDA_DRIVER(X) BDL_CUDA_NVRTC(X) BDL_CUDA_BLAS(X) BDL_CUDA_BLAS_LT(X)
#undef X
  bdl_cuda_library driver, nvrtc, blas, blas_lt;
} bdl_cuda_api;

/* Opens what is there.  Never fails: a library that is missing says so; without a driver the others are left alone. */
void bdl_cuda_api_open(bdl_cuda_api *api);
void bdl_cuda_api_close(bdl_cuda_api *api);

typedef struct bdl_cuda_about {
  char name[128];
  size_t memory;
  int major, minor, processors;
  int32_t place[3]; /* on the PCI bus: domain, bus, device */
} bdl_cuda_about;

/* Memory of the host that the GPU reads and writes by itself: a ring of pieces, through which copies go. */
enum { BDL_CUDA_PIECES = 4, BDL_CUDA_PIECE = 1 << 20 };
typedef struct bdl_cuda_staging {
  char *memory;   /* NULL: not asked for yet, or there is none */
  bool none;      /* copies are of memory that the driver stages */
  bdl_cuda_any event[BDL_CUDA_PIECES]; /* the last copy out of it is done */
  bool busy[BDL_CUDA_PIECES];          /* where that was asked for */
  int piece;      /* that uploads fill */
  size_t at;      /* from there on */
} bdl_cuda_staging;

typedef struct bdl_cuda_copies {
  int64_t calls, ns;
  double bytes;
} bdl_cuda_copies;

typedef struct bdl_cuda {
  bdl_device device; /* first */
  bdl_cuda_api api;
  int devices, which, ordinal; /* those visible, that of this process among them from 0, its handle */
  char label[16];                /* in messages: "GPU", of several "GPU 1" */
  int driver_version, nvrtc_major, nvrtc_minor;
  size_t total;                  /* bytes of memory */
  int major, minor;              /* compute capability */
  int processors, block_threads; /* multiprocessors; threads a block that programs are launched with */
  bool cooperative, clusters;
  bdl_cuda_any context, stream, blas, blas_lt;
  void *workspace;               /* of products */
  size_t workspace_size;
  bdl_cuda_staging staging;
  bool timed;                    /* copies wait for what is before them, and are counted: */
  bdl_cuda_copies up, down;
  size_t used, peak;             /* bytes of device memory */
  uint32_t *stop;                /* the context's interrupted_too: memory of the host that the GPU sees, too */
  uint64_t *told;                /* there, too: a loop's number and its steps so far, 32 bits each */
  bdl_status lost;               /* what a failed launch or copy left: all later calls say so */
} bdl_cuda;

/* The GPU of this process: of several on a machine each takes the next one.  Errors: BDL_EVALUE naming what is missing, and where it was looked for. */
bdl_status bdl_cuda_get(bdl_context *c, bdl_cuda **g);
/* The same if it was asked for before, else NULL. */
bdl_cuda *bdl_cuda_of(bdl_context *c);
/* Of device k < g->devices. */
bdl_status bdl_cuda_look(bdl_cuda *g, int k, bdl_cuda_about *a);
/* What it can do at most, from its clocks, bus and multiprocessors; 0: not known. */
typedef struct bdl_cuda_limits {
  double bytes_per_s, flops_per_s; /* memory; multiplications and additions of single floats */
} bdl_cuda_limits;
bdl_cuda_limits bdl_cuda_limits_of(const bdl_cuda *g);
/* BDL_OK, or what the driver says about `what` (BDL_ENOMEM, else BDL_EIO). */
bdl_status bdl_cuda_check(bdl_cuda *g, int code, const char *what);

/* ---- cuda_copy.c: in the order of the stream.  n > 0.  Errors: BDL_EIO, BDL_ENOMEM. */
/* Does not wait, unless the ring is full; `from` may change when it returns. */
bdl_status bdl_cuda_upload(bdl_cuda *g, bdl_cuda_any stream, bdl_cuda_ptr to, const void *from, size_t n);
/* Waits: the bytes are there when it returns. */
bdl_status bdl_cuda_download(bdl_cuda *g, bdl_cuda_any stream, void *to, bdl_cuda_ptr from, size_t n);
void bdl_cuda_staging_free(bdl_cuda *g); /* nothing may be under way */

#endif

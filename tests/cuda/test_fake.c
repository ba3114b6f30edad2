/*
** The fake CUDA (tests/cuda/README.md) behaves like a GPU where that can go wrong: threads meet at barriers only, work
** is done when somebody waits for it, the host cannot touch device memory, errors are those of CUDA.
*/
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake/fake.h"

#define DRIVER(X)                                                                                              \
  X(cuInit) X(cuDriverGetVersion) X(cuGetErrorName) X(cuDeviceGetCount) X(cuDeviceGetAttribute)                \
  X(cuDevicePrimaryCtxRetain) X(cuDevicePrimaryCtxRelease_v2) X(cuCtxSetCurrent) X(cuMemGetInfo_v2)            \
  X(cuMemAlloc_v2) X(cuMemFree_v2) X(cuMemAllocAsync) X(cuMemFreeAsync) X(cuMemHostAlloc) X(cuMemFreeHost)     \
  X(cuMemcpyHtoDAsync_v2) X(cuMemcpyDtoHAsync_v2) X(cuMemcpyDtoDAsync_v2) X(cuMemsetD8Async) X(cuStreamCreate) \
  X(cuStreamDestroy_v2) X(cuStreamSynchronize) X(cuStreamQuery) X(cuStreamWaitEvent) X(cuEventCreate)          \
  X(cuEventRecord) X(cuEventQuery) X(cuEventSynchronize) X(cuEventElapsedTime) X(cuEventDestroy_v2)            \
  X(cuModuleLoadDataEx) X(cuModuleUnload) X(cuModuleGetFunction) X(cuFuncGetAttribute) X(cuFuncSetAttribute)   \
  X(cuOccupancyMaxActiveBlocksPerMultiprocessor) X(cuLaunchKernel) X(cuLaunchKernelEx)
#define COMPILER(X)                                                                             \
  X(nvrtcCreateProgram) X(nvrtcDestroyProgram) X(nvrtcCompileProgram) X(nvrtcGetProgramLogSize) \
  X(nvrtcGetProgramLog) X(nvrtcGetPTXSize) X(nvrtcGetCUBINSize) X(nvrtcGetCUBIN)
#define PRODUCTS(X)                                                                                            \
  X(cublasCreate_v2) X(cublasDestroy_v2) X(cublasSetStream_v2) X(cublasSgemm_v2) X(cublasGemmStridedBatchedEx)

static struct {
#define MEMBER(f) __typeof__(f) *f;
  DRIVER(MEMBER) COMPILER(MEMBER) PRODUCTS(MEMBER)
} cu;
static char *cubin; /* of fake/kernels.cu */
static CUmodule module;
static CUstream stream;

#define OK(call) assert_int_equal(cu.call, 0)
#define FAILS(e, call) assert_int_equal(cu.call, e)

/* ---- around the tests -------------------------------------------------------------------------------------------- */

static void *open_library(const char *name) {
  char path[4096];
  const ssize_t n = readlink("/proc/self/exe", path, sizeof path - 64);
  assert_true(n > 0);
  path[n] = 0;
  for (int i = 0; i < 3; i++) *strrchr(path, '/') = 0; /* tests/cuda/test_fake */
  strcat(strcat(path, "/fake-cuda/"), name);
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) fail_msg("%s", dlerror());
  return library;
}

/* Compiles; on success *object is malloc'ed.  log: char[512] */
static nvrtcResult compile(const char *source, int n, const char *const *options, char **object, char *log) {
  nvrtcProgram p;
  size_t size;
  OK(nvrtcCreateProgram(&p, source, "text.cu", 0, NULL, NULL));
  const nvrtcResult e = cu.nvrtcCompileProgram(p, n, options);
  OK(nvrtcGetProgramLogSize(p, &size));
  char *words = malloc(size);
  OK(nvrtcGetProgramLog(p, words));
  snprintf(log, 512, "%s", words);
  free(words);
  if (!e) {
    OK(nvrtcGetCUBINSize(p, &size));
    *object = malloc(size);
    OK(nvrtcGetCUBIN(p, *object));
  }
  OK(nvrtcDestroyProgram(&p));
  return e;
}

static const char *const sm_90[] = {"--gpu-architecture=sm_90", "--std=c++17"};

static int load(void **state) {
  (void)state;
  void *driver = open_library("libcuda.so.1");
  void *compiler = open_library("libnvrtc.so.12"), *products = open_library("libcublas.so.12");
#define LOAD(library, f)                         \
  *(void **)(void *)&cu.f = dlsym(library, #f);  \
  assert_non_null(cu.f);
#define LOAD_DRIVER(f) LOAD(driver, f)
#define LOAD_COMPILER(f) LOAD(compiler, f)
#define LOAD_PRODUCTS(f) LOAD(products, f)
  DRIVER(LOAD_DRIVER) COMPILER(LOAD_COMPILER) PRODUCTS(LOAD_PRODUCTS)
  FAILS(CUDA_ERROR_NOT_INITIALIZED, cuStreamCreate(&stream, 0));
  OK(cuInit(0));
  char text[8192], log[512];
  FILE *f = fopen("tests/cuda/fake/kernels.cu", "r"); /* suites run in the folder of the Makefile */
  assert_non_null(f);
  text[fread(text, 1, sizeof text - 1, f)] = 0;
  fclose(f);
  if (compile(text, 2, sm_90, &cubin, log)) fail_msg("%s", log);
  return 0;
}

static int unload(void **state) {
  (void)state;
  free(cubin);
  return 0;
}

static void enter(void) {
  CUcontext c;
  OK(cuDevicePrimaryCtxRetain(&c, 0));
  OK(cuCtxSetCurrent(c));
  OK(cuStreamCreate(&stream, 1));
  OK(cuModuleLoadDataEx(&module, cubin, 0, NULL, NULL));
}

static int setup(void **state) {
  (void)state;
  enter();
  return 0;
}

static int teardown(void **state) {
  (void)state;
  const char *const names[] = {"SMS", "THREADS", "ORDER", "MEMORY", "DEVICES", "FAIL", "DRIVER"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char name[32];
    snprintf(name, sizeof name, "FAKE_CUDA_%s", names[i]);
    unsetenv(name);
  }
  return (int)cu.cuDevicePrimaryCtxRelease_v2(0);
}

static CUdeviceptr device(size_t n) {
  CUdeviceptr p;
  OK(cuMemAlloc_v2(&p, n));
  return p;
}

static void *pinned(size_t n) {
  void *p;
  OK(cuMemHostAlloc(&p, n, 0));
  return p;
}

static CUdeviceptr upload(const void *x, size_t n) {
  const CUdeviceptr p = device(n);
  OK(cuMemcpyHtoDAsync_v2(p, x, n, stream));
  return p;
}

static void download(void *x, CUdeviceptr p, size_t n) { OK(cuMemcpyDtoHAsync_v2(x, p, n, stream)); }

/* kernel(F = {x, y}, a, b), with sync() where it is cooperative; the result of the launch, not of the work */
static CUresult launch(const char *name, bool cooperative, int blocks, int threads, CUdeviceptr x, CUdeviceptr y,
                       int64_t a, int64_t b) {
  const CUdeviceptr both[] = {x, y};
  CUdeviceptr table = upload(both, sizeof both);
  CUfunction f;
  OK(cuModuleGetFunction(&f, module, name));
  CUlaunchAttribute attribute = {.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE, .value.cooperative = cooperative};
  const CUlaunchConfig c = {(unsigned)blocks, 1, 1, (unsigned)threads, 1, 1, 48 << 10, stream, &attribute, 1};
  void *params[] = {&table, &a, &b};
  return cu.cuLaunchKernelEx(&c, f, params, NULL);
}

/* What is written to stderr meanwhile, by OK(cuStreamSynchronize) that is to fail with e. */
static void synchronize_fails(CUresult e, const char *words) {
  char got[512] = "";
  FILE *f = tmpfile();
  const int keep = dup(2);
  dup2(fileno(f), 2);
  const CUresult status = cu.cuStreamSynchronize(stream);
  dup2(keep, 2);
  close(keep);
  rewind(f);
  got[fread(got, 1, sizeof got - 1, f)] = 0;
  fclose(f);
  assert_int_equal(status, e);
  if (!strstr(got, words)) fail_msg("no '%s' in '%s'", words, got);
}

/* A launch that broke the context: every call says so, until all have left it. */
static void start_over(void) {
  CUdeviceptr p;
  FAILS(CUDA_ERROR_LAUNCH_FAILED, cuMemAlloc_v2(&p, 8));
  OK(cuDevicePrimaryCtxRelease_v2(0));
  enter();
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

static void threads_know_their_place(void **state) {
  (void)state;
  enum { BLOCKS = 5, THREADS = 64, N = BLOCKS * THREADS };
  int32_t y[N][9];
  const CUdeviceptr p = device(sizeof y);
  assert_int_equal(launch("names", false, BLOCKS, THREADS, p, 0, 0, 0), 0);
  download(y, p, sizeof y);
  for (int i = 0; i < N; i++) {
    const int32_t want[] = {i, N, i % 32, i / 32, N / 32, i / THREADS, BLOCKS, i % THREADS, THREADS};
    assert_memory_equal(y[i], want, sizeof want);
  }
}

enum { RING = 300, STEPS = 20 };

/* The ring after some steps of the kernel, by `blocks` blocks. */
static void run_ring(const char *kernel, int blocks, int threads, uint32_t *x) {
  for (uint32_t i = 0; i < RING; i++) x[i] = i * i;
  const CUdeviceptr p = upload(x, RING * sizeof *x);
  assert_int_equal(launch(kernel, true, blocks, threads, p, 0, STEPS, RING), 0);
  download(x, p, RING * sizeof *x);
}

static void expected_ring(uint32_t *x) {
  for (uint32_t i = 0; i < RING; i++) x[i] = i * i;
  for (int step = 0; step < STEPS; step++) {
    const uint32_t first = x[0];
    for (int i = 0; i < RING; i++) x[i] += i + 1 < RING ? x[i + 1] : first;
  }
}

static void results_do_not_depend_on_the_grid(void **state) {
  (void)state;
  const char *const orders[] = {"forward", "backward"};
  uint32_t x[RING], want[RING];
  expected_ring(want);
  setenv("FAKE_CUDA_SMS", "4", 1);
  setenv("FAKE_CUDA_THREADS", "96", 1);
  for (int order = 0; order < 2; order++) {
    setenv("FAKE_CUDA_ORDER", orders[order], 1);
    for (int blocks = 1; blocks <= 4; blocks++)
      for (int threads = 32; threads <= 96; threads += 32) {
        run_ring("ring_of", blocks, threads, x);
        assert_memory_equal(x, want, sizeof x);
      }
  }
}

static void missing_barrier_shows(void **state) {
  (void)state;
  const char *const orders[] = {"forward", "backward"};
  uint32_t x[RING], want[RING];
  expected_ring(want);
  for (int i = 0; i < 2; i++) {
    setenv("FAKE_CUDA_ORDER", orders[i], 1);
    run_ring("torn_ring", 2, 64, x);
    assert_memory_not_equal(x, want, sizeof x);
  }
}

static void warps_and_blocks_work_together(void **state) {
  (void)state;
  enum { N = 1000 };
  uint32_t x[N], sum = 0, odd = 0;
  uint64_t y[3] = {0};
  for (uint32_t i = 0; i < N; i++) {
    x[i] = i * 7919 % 1009;
    sum += x[i];
    odd += x[i] % 2;
  }
  const CUdeviceptr px = upload(x, sizeof x), py = upload(y, sizeof y);
  assert_int_equal(launch("sums", false, 3, 64, px, py, 0, N), 0); /* more blocks than run at a time */
  download(y, py, sizeof y);
  assert_int_equal(y[0], sum);
  assert_int_equal(y[1], (uint64_t)sum << 32);
  assert_int_equal(y[2], odd);
}

static void atomics_take_turns(void **state) {
  (void)state;
  uint32_t y[5] = {0};
  const CUdeviceptr p = upload(y, sizeof y);
  assert_int_equal(launch("atomics", true, 1, 64, p, 0, 0, 0), 0);
  download(y, p, sizeof y);
  assert_int_equal(y[0], 63);
  assert_in_range(y[1], 1, 64);
  assert_int_equal(y[2], y[1]);
  assert_int_equal(y[4] + y[3], 64 * 65 / 2); /* each value was seen once, but for the last */
}

static void maths_has_the_names_of_cuda(void **state) {
  (void)state;
  double y[8];
  const double want[8] = {22, 22, 1.5 + 1 + 0.5 + 0.25, -1.5, 31 + 63 + 4 + 64, 3 + 5, -3.5 + 8 + 3, 1};
  const CUdeviceptr p = device(sizeof y);
  assert_int_equal(launch("maths", false, 1, 32, p, 0, 0, 0), 0);
  download(y, p, sizeof y);
  for (int i = 0; i < 8; i++) assert_true(y[i] == want[i]);
}

static void barrier_needs_all(void **state) {
  (void)state;
  assert_int_equal(launch("all_leave", true, 2, 64, 0, 0, 1, 0), 0);
  OK(cuStreamSynchronize(stream));
  assert_int_equal(launch("one_leaves", true, 2, 64, 0, 0, 0, 0), 0);
  synchronize_fails(CUDA_ERROR_LAUNCH_FAILED,
                    "one_leaves: deadlock (1 of 128 threads ended, 127 wait, thread 0 in sync");
  start_over();
  assert_int_equal(launch("apart", true, 1, 64, 0, 0, 0, 0), 0);
  synchronize_fails(CUDA_ERROR_LAUNCH_FAILED,
                    "apart: deadlock (0 of 64 threads ended, 64 wait, thread 0 in block_sync");
  start_over();
  assert_int_equal(launch("mixed", true, 1, 64, 0, 0, 0, 0), 0);
  synchronize_fails(CUDA_ERROR_LAUNCH_FAILED, "wait in different calls");
  start_over();
  assert_int_equal(launch("all_leave", false, 2, 64, 0, 0, 0, 0), 0);
  synchronize_fails(CUDA_ERROR_LAUNCH_FAILED, "not cooperative");
  start_over();
  assert_int_equal(launch("all_leave", true, 2, 64, 0, 0, 0, 0), 0); /* the stacks of failed launches serve again */
  OK(cuStreamSynchronize(stream));
}

static void launches_are_checked(void **state) {
  (void)state;
  int n;
  CUfunction f;
  assert_int_equal(launch("names", true, 3, 64, 0, 0, 0, 0), CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
  assert_int_equal(launch("names", false, 1, 96, 0, 0, 0, 0), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(launch("names", false, 1, 33, 0, 0, 0, 0), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(launch("names", false, 0, 32, 0, 0, 0, 0), CUDA_ERROR_INVALID_VALUE);
  OK(cuModuleGetFunction(&f, module, "ring_of"));
  void *params[] = {&n, &n, &n};
  FAILS(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(f, 1, 1, 1, 32, 1, 1, (48 << 10) + 1, stream, params, NULL));
  OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&n, f, 64, (48 << 10) + 1));
  assert_int_equal(n, 0);
  OK(cuFuncSetAttribute(f, 8, 64 << 10));
  OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&n, f, 64, 64 << 10));
  assert_int_equal(n, 1);
  /* one cluster may wait for itself without a cooperative launch */
  CUdeviceptr table = device(8), none = 0;
  CUlaunchAttribute a = {.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, .value.clusterDim = {2, 1, 1}};
  CUlaunchConfig c = {2, 1, 1, 64, 1, 1, 0, stream, &a, 1};
  OK(cuModuleGetFunction(&f, module, "all_leave"));
  OK(cuLaunchKernelEx(&c, f, (void *[3]){&table, &none, &none}, NULL));
  OK(cuStreamSynchronize(stream));
  c.gridDimX = 3;
  FAILS(CUDA_ERROR_INVALID_CLUSTER_SIZE, cuLaunchKernelEx(&c, f, (void *[3]){&table, &none, &none}, NULL));
}

/* ---- the queue --------------------------------------------------------------------------------------------------- */

static void work_waits_for_a_wait(void **state) {
  (void)state;
  int32_t x = 1, *in = pinned(sizeof x), *out = pinned(sizeof x);
  const CUdeviceptr p = device(sizeof x);
  OK(cuMemcpyHtoDAsync_v2(p, &x, sizeof x, stream)); /* other memory of the host is read at the call .. */
  x = 2;
  *out = 0;
  OK(cuMemcpyDtoHAsync_v2(out, p, sizeof x, stream));
  assert_int_equal(*out, 0);
  OK(cuStreamSynchronize(stream));
  assert_int_equal(*out, 1);
  *in = 3;
  OK(cuMemcpyHtoDAsync_v2(p, in, sizeof x, stream)); /* .. pinned memory when the copy's turn comes */
  *in = 4;
  download(&x, p, sizeof x); /* returns when it is there */
  assert_int_equal(x, 4);
  OK(cuMemFreeHost(in));
  FAILS(CUDA_ERROR_INVALID_VALUE, cuMemFreeHost(in));
  OK(cuMemFreeHost(out));
}

static void streams_meet_at_events(void **state) {
  (void)state;
  unsigned char x;
  float ms;
  CUstream other;
  CUevent e, f;
  const CUdeviceptr p = device(1);
  OK(cuStreamCreate(&other, 1));
  OK(cuEventCreate(&e, 0));
  OK(cuEventCreate(&f, 0));
  OK(cuEventQuery(e)); /* recorded nowhere */
  OK(cuMemsetD8Async(p, 1, 1, other));
  OK(cuEventRecord(e, other));
  OK(cuMemsetD8Async(p, 2, 1, other));
  download(&x, p, 1);
  assert_int_equal(x, FAKE_FILL); /* nobody waited for the other stream */
  OK(cuStreamWaitEvent(stream, e, 0));
  OK(cuEventRecord(f, stream));
  FAILS(CUDA_ERROR_NOT_READY, cuEventElapsedTime(&ms, e, f));
  download(&x, p, 1);
  assert_int_equal(x, 1); /* as far as the event */
  OK(cuEventQuery(e));
  OK(cuEventElapsedTime(&ms, e, f));
  assert_true(ms >= 0);
  FAILS(CUDA_ERROR_NOT_READY, cuStreamQuery(other));
  OK(cuStreamQuery(other)); /* the query before did the last piece */
  OK(cuEventDestroy_v2(e));
  FAILS(CUDA_ERROR_INVALID_HANDLE, cuEventRecord(e, stream));
  OK(cuStreamDestroy_v2(other));
  FAILS(CUDA_ERROR_INVALID_HANDLE, cuStreamSynchronize(other));
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static void host_cannot_touch_device_memory(void **state) {
  (void)state;
  int ends[2];
  const CUdeviceptr p = device(4096);
  OK(cuMemsetD8Async(p, 0, 4096, stream));
  OK(cuStreamSynchronize(stream));
  assert_int_equal(pipe(ends), 0);
  assert_int_equal(write(ends[1], (const void *)(uintptr_t)p, 1), -1); /* the kernel reads it in our place */
  assert_int_equal(errno, EFAULT);
  close(ends[0]);
  close(ends[1]);
}

static void memory_is_new_and_bounded(void **state) {
  (void)state;
  unsigned char x[100];
  CUdeviceptr p, q;
  size_t available, total;
  p = device(sizeof x);
  download(x, p, sizeof x);
  for (size_t i = 0; i < sizeof x; i++) assert_int_equal(x[i], 0xA5);
  FAILS(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoHAsync_v2(x, p + 1, sizeof x, stream));
  FAILS(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoDAsync_v2(p - 1, x, 1, stream));
  FAILS(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoDAsync_v2(p, p, 101, stream));
  FAILS(CUDA_ERROR_INVALID_VALUE, cuMemsetD8Async(p, 0, 101, stream));
  FAILS(CUDA_ERROR_INVALID_VALUE, cuMemFree_v2(p + 1));
  OK(cuMemFree_v2(p));
  FAILS(CUDA_ERROR_INVALID_VALUE, cuMemFree_v2(p));
  FAILS(CUDA_ERROR_INVALID_VALUE, cuMemAlloc_v2(&p, 0));

  OK(cuDevicePrimaryCtxRelease_v2(0));
  setenv("FAKE_CUDA_MEMORY", "1048576", 1);
  enter();
  FAILS(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc_v2(&p, 2 << 20));
  OK(cuMemAllocAsync(&p, 700 << 10, stream));
  FAILS(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc_v2(&q, 700 << 10));
  OK(cuMemFreeAsync(p, stream));
  FAILS(CUDA_ERROR_INVALID_VALUE, cuMemFreeAsync(p, stream));
  FAILS(CUDA_ERROR_INVALID_VALUE, cuMemsetD8Async(p, 0, 1, stream)); /* used after it was freed */
  OK(cuMemAlloc_v2(&q, 700 << 10));                                  /* waits for what is being freed */
  OK(cuMemGetInfo_v2(&available, &total));
  assert_int_equal(total, 1 << 20);
  assert_in_range(available, 300 << 10, 324 << 10);
}

static void writing_past_an_allocation_shows(void **state) {
  (void)state;
  const CUdeviceptr p = device(100);
  assert_int_equal(launch("past_the_end", false, 1, 32, p, 0, 99, 0), 0);
  OK(cuMemFree_v2(p));
  const CUdeviceptr q = device(100);
  assert_int_equal(launch("past_the_end", false, 1, 32, q, 0, 100, 0), 0);
  OK(cuMemFreeAsync(q, stream));
  synchronize_fails(CUDA_ERROR_ILLEGAL_ADDRESS, "byte 0 behind an allocation of 100 bytes was written");
}

/* ---- errors ------------------------------------------------------------------------------------------------------ */

static void *without_context(void *arg) {
  (void)arg;
  CUdeviceptr p;
  return (void *)(uintptr_t)cu.cuMemAlloc_v2(&p, 8);
}

static void environment_asks_for_errors(void **state) {
  (void)state;
  int n;
  CUdeviceptr p;
  const char *name;
  pthread_t thread;
  void *status;
  setenv("FAKE_CUDA_FAIL", "cuMemAlloc:2", 1);
  OK(cuMemAllocAsync(&p, 8, stream)); /* another function */
  OK(cuMemAlloc_v2(&p, 8));
  FAILS(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc_v2(&p, 8));
  OK(cuMemAlloc_v2(&p, 8));
  setenv("FAKE_CUDA_FAIL", "cuStreamSynchronize:1", 1);
  FAILS(CUDA_ERROR_UNKNOWN, cuStreamSynchronize(stream));
  OK(cuStreamSynchronize(stream));
  setenv("FAKE_CUDA_DRIVER", "11020", 1);
  OK(cuDriverGetVersion(&n));
  assert_int_equal(n, 11020);
  setenv("FAKE_CUDA_DEVICES", "3", 1);
  OK(cuDeviceGetCount(&n));
  assert_int_equal(n, 3);
  FAILS(CUDA_ERROR_INVALID_DEVICE, cuDeviceGetAttribute(&n, 16, 3));
  setenv("FAKE_CUDA_DEVICES", "0", 1);
  FAILS(CUDA_ERROR_NO_DEVICE, cuInit(0));
  unsetenv("FAKE_CUDA_DEVICES");
  OK(cuGetErrorName(CUDA_ERROR_NO_DEVICE, &name));
  assert_string_equal(name, "CUDA_ERROR_NO_DEVICE");
  FAILS(CUDA_ERROR_INVALID_VALUE, cuGetErrorName((CUresult)12345, &name));
  assert_null(name);
  pthread_create(&thread, NULL, without_context, NULL); /* each thread of the host sets its own */
  pthread_join(thread, &status);
  assert_int_equal((CUresult)(uintptr_t)status, CUDA_ERROR_INVALID_CONTEXT);
}

static void compiler_and_loader_say_what_is_wrong(void **state) {
  (void)state;
  const char *const sm_91[] = {"--gpu-architecture=sm_91"}, *const O3[] = {sm_90[0], "-O3"};
  const char *const X[] = {sm_90[0], "-DX"};
  const char *const undefined = "BDL_KERNEL k(char *const *F, int64_t a, int64_t b) { g(); }";
  char log[512], *object = NULL;
  CUmodule m;
  CUfunction f;
  assert_int_equal(compile("", 0, NULL, &object, log), NVRTC_ERROR_INVALID_OPTION);
  assert_non_null(strstr(log, "--gpu-architecture is not given"));
  assert_int_equal(compile("", 1, sm_91, &object, log), NVRTC_ERROR_INVALID_OPTION);
  assert_int_equal(compile("", 2, O3, &object, log), NVRTC_ERROR_INVALID_OPTION);
  assert_non_null(strstr(log, "-O3"));
  assert_int_equal(compile("\nint f(void) { return x; }\n", 1, sm_90, &object, log), NVRTC_ERROR_COMPILATION);
  assert_non_null(strstr(log, "text.cu:2:"));
  assert_int_equal(compile(undefined, 1, sm_90, &object, log), NVRTC_ERROR_COMPILATION);
  assert_int_equal(compile("#ifndef X\n#error\n#endif\n", 2, X, &object, log), NVRTC_SUCCESS);
  free(object);

  nvrtcProgram p;
  size_t n;
  OK(nvrtcCreateProgram(&p, "", NULL, 0, NULL, NULL));
  FAILS(NVRTC_ERROR_INVALID_PROGRAM, nvrtcGetPTXSize(p, &n));
  OK(nvrtcCompileProgram(p, 1, (const char *const[]){"--gpu-architecture=compute_90"}));
  OK(nvrtcGetPTXSize(p, &n));
  assert_true(n > 1);
  OK(nvrtcGetCUBINSize(p, &n)); /* none, of a virtual architecture */
  assert_int_equal(n, 0);
  OK(nvrtcDestroyProgram(&p));

  const char sentence[64] = "this is not an image of a module";
  FAILS(CUDA_ERROR_INVALID_IMAGE, cuModuleLoadDataEx(&m, sentence, 0, NULL, NULL));
  FAILS(CUDA_ERROR_NOT_FOUND, cuModuleGetFunction(&f, module, "nobody"));
  OK(cuModuleUnload(module));
  FAILS(CUDA_ERROR_INVALID_HANDLE, cuModuleGetFunction(&f, module, "names"));
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

static double element(const void *x, bool single, int64_t i) {
  return single ? (double)((const float *)x)[i] : ((const double *)x)[i];
}

/* Small integers: every order of the sums gives the same. */
static void *integers(bool single, int64_t n, uint32_t seed) {
  void *x = malloc((size_t)n * 8);
  for (int64_t i = 0; i < n; i++) {
    seed = seed * 1664525 + 1013904223;
    const int v = (int)(seed >> 28) - 8;
    if (single) ((float *)x)[i] = (float)v;
    else ((double *)x)[i] = v;
  }
  return x;
}

/* C[i] = 2 op(A[i]) op(B[i]) + beta C[i]; rows between those of the matrices stay as they are */
static void check_product(cublasHandle_t h, bool single, int ta, int tb, double beta) {
  enum { M = 5, N = 4, K = 6, LD = 7, STRIDE = LD * 7, BATCH = 3, SIZE = STRIDE * BATCH };
  const size_t bytes = SIZE * (single ? 4 : 8);
  void *a = integers(single, SIZE, 1), *b = integers(single, SIZE, 2), *c = integers(single, SIZE, 3);
  void *got = malloc(bytes);
  const CUdeviceptr pa = upload(a, bytes), pb = upload(b, bytes), pc = upload(c, bytes);
  const float alpha_f = 2, beta_f = (float)beta;
  const double alpha_d = 2;
  const int type = single ? CUDA_R_32F : CUDA_R_64F, compute = single ? CUBLAS_COMPUTE_32F : CUBLAS_COMPUTE_64F;
  const void *alpha = single ? (const void *)&alpha_f : &alpha_d, *beta_p = single ? (const void *)&beta_f : &beta;
  void *xa = (void *)(uintptr_t)pa, *xb = (void *)(uintptr_t)pb, *xc = (void *)(uintptr_t)pc;
  OK(cublasGemmStridedBatchedEx(h, ta, tb, M, N, K, alpha, xa, type, LD, STRIDE, xb, type, LD, STRIDE, beta_p, xc, type,
                                LD, STRIDE, BATCH, compute, -1));
  download(got, pc, bytes);
  for (int64_t i = 0; i < SIZE; i++) {
    const int64_t row = i % STRIDE % LD, col = i % STRIDE / LD, at = i - i % STRIDE;
    double want = element(c, single, i);
    if (row < M && col < N) {
      want *= beta;
      for (int64_t l = 0; l < K; l++)
        want += 2 * element(a, single, at + (ta ? l + row * LD : row + l * LD)) *
                element(b, single, at + (tb ? col + l * LD : l + col * LD));
    }
    assert_true(element(got, single, i) == want);
  }
  free(a);
  free(b);
  free(c);
  free(got);
}

static void products_equal_loops(void **state) {
  (void)state;
  cublasHandle_t h;
  OK(cublasCreate_v2(&h));
  OK(cublasSetStream_v2(h, stream));
  for (int i = 0; i < 16; i++) check_product(h, i & 1, i >> 1 & 1, i >> 2 & 1, i & 8 ? -1 : 0);
  const CUdeviceptr p = device(64);
  const float one = 1;
  float *x = (float *)(uintptr_t)p;
  FAILS(CUBLAS_STATUS_INVALID_VALUE, cublasSgemm_v2(h, 0, 0, 4, 4, 4, &one, x, 3, x, 4, &one, x, 4));
  OK(cublasSgemm_v2(h, 0, 0, 4, 4, 4, &one, x, 4, x, 4, &one, x, 4));
  OK(cublasDestroy_v2(h));
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    TEST(threads_know_their_place),
    TEST(results_do_not_depend_on_the_grid),
    TEST(missing_barrier_shows),
    TEST(warps_and_blocks_work_together),
    TEST(atomics_take_turns),
    TEST(maths_has_the_names_of_cuda),
    TEST(barrier_needs_all),
    TEST(launches_are_checked),
    TEST(work_waits_for_a_wait),
    TEST(streams_meet_at_events),
    TEST(host_cannot_touch_device_memory),
    TEST(memory_is_new_and_bounded),
    TEST(writing_past_an_allocation_shows),
    TEST(environment_asks_for_errors),
    TEST(compiler_and_loader_say_what_is_wrong),
    TEST(products_equal_loops),
  };
  return cmocka_run_group_tests(tests, load, unload);
}

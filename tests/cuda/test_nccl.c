/*
** The fake NCCL between two processes, a device each: sums, gathers and messages arrive; what a rank asks for alone, on another's
** device, or of other memory is an error.
*/
#include <dirent.h>
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake/fake.h"

#define DRIVER(X)                                                                                                   \
  X(cuInit) X(cuDevicePrimaryCtxRetain) X(cuCtxSetCurrent) X(cuMemAlloc_v2) X(cuStreamCreate) X(cuStreamSynchronize) \
  X(cuMemcpyHtoDAsync_v2) X(cuMemcpyDtoHAsync_v2)
#define COLLECTIVES(X)                                                                                        \
  X(ncclGetVersion) X(ncclGetUniqueId) X(ncclCommInitRank) X(ncclCommDestroy) X(ncclCommAbort) X(ncclAllReduce) \
  X(ncclAllGather) X(ncclSend) X(ncclRecv) X(ncclGroupStart) X(ncclGroupEnd) X(ncclGetErrorString)

static struct {
#define MEMBER(f) __typeof__(f) *f;
  DRIVER(MEMBER) COLLECTIVES(MEMBER)
} cu;

enum { RANKS = 2, N = 6 };

/* One of two processes: what is left of it when something is not as it should be is the line. */
typedef struct process {
  int rank;
  CUstream stream;
  CUdeviceptr x, y, z; /* N, N, RANKS N elements: 10 rank + i, .. */
  ncclComm_t comm;
} process;

#define MUST(condition)               \
  do {                                \
    if (!(condition)) return __LINE__; \
  } while (0)
#define GIVES(e, call) MUST(cu.call == (e))
#define OK(call) GIVES(0, call)

static int begin(process *p, int device, const ncclUniqueId *id) {
  CUcontext c;
  float x[N];
  for (int i = 0; i < N; i++) x[i] = (float)(10 * p->rank + i);
  OK(cuInit(0));
  OK(cuDevicePrimaryCtxRetain(&c, device));
  OK(cuCtxSetCurrent(c));
  OK(cuStreamCreate(&p->stream, 1));
  OK(cuMemAlloc_v2(&p->x, sizeof x));
  OK(cuMemAlloc_v2(&p->y, sizeof x));
  OK(cuMemAlloc_v2(&p->z, sizeof x * RANKS));
  OK(cuMemcpyHtoDAsync_v2(p->x, x, sizeof x, p->stream));
  return cu.ncclCommInitRank(&p->comm, RANKS, *id, p->rank) ? -1 : 0;
}

static int holds(process *p, CUdeviceptr at, int i, float v) {
  float x;
  OK(cuMemcpyDtoHAsync_v2(&x, at + (size_t)i * sizeof x, sizeof x, p->stream));
  MUST(x == v);
  return 0;
}
#define HOLDS(at, i, v) MUST(holds(p, at, i, (float)(v)) == 0)

#define PLACE(at) ((void *)(uintptr_t)(at))

static int all_is_sent(process *p) {
  const int other = 1 - p->rank;
  OK(ncclAllReduce(PLACE(p->x), PLACE(p->y), N, ncclFloat32, 0, p->comm, p->stream));
  OK(ncclAllGather(PLACE(p->x), PLACE(p->z), N * 4, ncclUint8, p->comm, p->stream));
  for (int i = 0; i < N; i++) HOLDS(p->y, i, 10 + 2 * i);
  for (int i = 0; i < N * RANKS; i++) HOLDS(p->z, i, 10 * (i / N) + i % N);
  for (int times = 0; times < 3; times++) {
    OK(ncclGroupStart());
    OK(ncclSend(PLACE(p->x), N, ncclFloat32, other, p->comm, p->stream));
    OK(ncclRecv(PLACE(p->y), N, ncclFloat32, other, p->comm, p->stream));
    OK(ncclGroupEnd());
  }
  for (int i = 0; i < N; i++) HOLDS(p->y, i, 10 * other + i);
  OK(ncclAllReduce(PLACE(p->y), PLACE(p->y), N, ncclFloat32, 0, p->comm, p->stream)); /* in place */
  for (int i = 0; i < N; i++) HOLDS(p->y, i, 10 + 2 * i);
  if (p->rank == 0) OK(ncclSend(PLACE(p->x), 1, ncclFloat32, 1, p->comm, p->stream));
  else OK(ncclRecv(PLACE(p->y), 1, ncclFloat32, 0, p->comm, p->stream));
  HOLDS(p->y, 0, p->rank ? 0 : 10);
  OK(ncclCommDestroy(p->comm));
  return 0;
}

static int other_counts(process *p) {
  OK(ncclAllReduce(PLACE(p->x), PLACE(p->y), (size_t)(N - p->rank), ncclFloat32, 0, p->comm, p->stream));
  GIVES(CUDA_ERROR_LAUNCH_FAILED, cuStreamSynchronize(p->stream));
  return 0;
}

static int what_is_wrong_is_told(process *p) {
  const size_t most = N;
  CUcontext own, another;
  GIVES(ncclInvalidArgument, ncclAllReduce(PLACE(p->x), PLACE(p->y), most + 1, ncclFloat32, 0, p->comm, p->stream));
  GIVES(ncclInvalidArgument, ncclAllGather(PLACE(p->x), PLACE(p->y), most, ncclFloat32, p->comm, p->stream)); /* no room for both */
  GIVES(ncclInvalidArgument, ncclAllReduce(PLACE(p->x), PLACE(p->y), most, ncclUint8, 0, p->comm, p->stream));
  GIVES(ncclInvalidArgument, ncclSend(PLACE(p->x), most, ncclFloat32, RANKS, p->comm, p->stream));
  GIVES(ncclInvalidUsage, ncclGroupEnd());
  GIVES(ncclUnhandledCudaError, ncclAllReduce(PLACE(p->x), PLACE(p->y), most, ncclFloat32, 0, p->comm, PLACE(8)));
  OK(cuDevicePrimaryCtxRetain(&own, p->rank));
  OK(cuDevicePrimaryCtxRetain(&another, 1 - p->rank));
  OK(cuCtxSetCurrent(another));
  GIVES(ncclInvalidUsage, ncclAllReduce(PLACE(p->x), PLACE(p->y), most, ncclFloat32, 0, p->comm, p->stream));
  OK(cuCtxSetCurrent(own));
  setenv("FAKE_CUDA_FAIL", "ncclAllReduce:1", 1);
  GIVES(ncclSystemError, ncclAllReduce(PLACE(p->x), PLACE(p->y), most, ncclFloat32, 0, p->comm, p->stream));
  unsetenv("FAKE_CUDA_FAIL");
  MUST(strcmp(cu.ncclGetErrorString(ncclInvalidUsage), "invalid usage") == 0);
  OK(ncclCommAbort(p->comm));
  return 0;
}

static void remove_folder(const char *folder) {
  DIR *d = opendir(folder);
  char path[512];
  for (const struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
    snprintf(path, sizeof path, "%.200s/%.200s", folder, e->d_name);
    unlink(path);
  }
  if (d) closedir(d);
  assert_int_equal(rmdir(folder), 0);
}

/* Two processes, with a device each; both end with this status, 99: they could not join.  leaves: files, to be removed here. */
static void both(int (*task)(process *p), const int device[RANKS], int expected, bool leaves) {
  ncclUniqueId id;
  pid_t child[RANKS];
  int status;
  setenv("FAKE_CUDA_DEVICES", "2", 1);
  assert_int_equal(cu.ncclGetUniqueId(&id), 0);
  for (int r = 0; r < RANKS; r++) {
    child[r] = fork();
    assert_true(child[r] >= 0);
    if (child[r] > 0) continue;
    process p = {.rank = r};
    const int at = begin(&p, device[r], &id);
    status = at ? at : task(&p);
    if (status > 0) fprintf(stderr, "line %d\n", status);
    _exit(status < 0 ? 99 : status > 0);
  }
  for (int r = 0; r < RANKS; r++) {
    assert_int_equal(waitpid(child[r], &status, 0), child[r]);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), expected);
  }
  assert_int_equal(access(id.internal, F_OK), leaves ? 0 : -1);
  if (leaves) remove_folder(id.internal);
}

static void collectives_reach_the_others(void **state) {
  (void)state;
  both(all_is_sent, (const int[]){0, 1}, 0, false);
  both(all_is_sent, (const int[]){1, 0}, 0, false);
}

static void misuse_shows(void **state) {
  (void)state;
  both(all_is_sent, (const int[]){1, 1}, 99, true);
  both(other_counts, (const int[]){0, 1}, 0, true);
  both(what_is_wrong_is_told, (const int[]){0, 1}, 0, false);
}

static void *open_library(const char *name) {
  char path[4096];
  const ssize_t n = readlink("/proc/self/exe", path, sizeof path - 64);
  assert_true(n > 0);
  path[n] = 0;
  for (int i = 0; i < 3; i++) *strrchr(path, '/') = 0; /* tests/cuda/test_nccl */
  strcat(strcat(path, "/fake-cuda/"), name);
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) fail_msg("%s", dlerror());
  return library;
}

static int load(void **state) {
  (void)state;
  void *driver = open_library("libcuda.so.1"), *collectives = open_library("libnccl.so.2");
#define LOAD(library, f)                        \
  *(void **)(void *)&cu.f = dlsym(library, #f); \
  assert_non_null(cu.f);
#define LOAD_DRIVER(f) LOAD(driver, f)
#define LOAD_COLLECTIVES(f) LOAD(collectives, f)
  DRIVER(LOAD_DRIVER) COLLECTIVES(LOAD_COLLECTIVES)
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(collectives_reach_the_others), cmocka_unit_test(misuse_shows)};
  return cmocka_run_group_tests(tests, load, NULL);
}

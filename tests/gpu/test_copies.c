/*
** Copies between the host and a GPU through pinned memory: any size comes back as it was, what was copied may change at once, an upload
** does not wait; without pinned memory the same; failures are told.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../exec/programs.h"
#include "../support/gpu.h"
#include "base/context.h"
#include "device/cuda.h"

enum { RING = BDL_CUDA_PIECES * BDL_CUDA_PIECE, LARGE = 2 * RING + BDL_CUDA_PIECE / 2 + 13, NOT_READY = 600 };

static unsigned char byte(size_t i, int seed) { return (unsigned char)(i * 7 + i / 1000 + (size_t)seed * 31); }

/* There and back; what it was copied from is written over at once. */
static bdl_status there_and_back(bdl_cuda *g, size_t n, int seed) {
  bdl_device *d = &g->device;
  unsigned char *host = malloc(n);
  void *p;
  assert_non_null(host);
  for (size_t i = 0; i < n; i++) host[i] = byte(i, seed);
  bdl_status s = d->ops->alloc(d, n, &p);
  if (s == BDL_OK) {
    s = d->ops->upload(d, NULL, p, host, n);
    memset(host, 0, n);
    if (s == BDL_OK) s = d->ops->download(d, NULL, host, p, n);
    for (size_t i = 0; i < n && s == BDL_OK; i++)
      if (host[i] != byte(i, seed)) fail_msg("byte %zu of %zu is %d", i, n, host[i]);
    d->ops->free(d, p, n);
  }
  free(host);
  return s;
}

static void any_size_comes_back(void **state) {
  (void)state;
  bdl_context *c = t_gpu_context();
  bdl_cuda *g = bdl_cuda_of(c);
  const size_t sizes[] = {1, 63, 64, 4097, BDL_CUDA_PIECE - 1, BDL_CUDA_PIECE, BDL_CUDA_PIECE + 1, RING - 64, RING, RING + 1, LARGE};
  for (int k = 0; k < BDL_LEN(sizes); k++) t_check(c, there_and_back(g, sizes[k], k));
  assert_non_null(g->staging.memory);
  bdl_context_free(c);
}

/* More than the ring holds, with one host buffer for all; then another order of sizes. */
static void many_uploads_wait_for_room_alone(void **state) {
  (void)state;
  bdl_context *c = t_gpu_context();
  bdl_cuda *g = bdl_cuda_of(c);
  bdl_device *d = &g->device;
  enum { N = 100, MOST = 123457 };
  void *at[N];
  static unsigned char host[MOST];
  for (int round = 0; round < 2; round++) {
    for (int k = 0; k < N; k++) {
      const size_t n = 1 + (size_t)(round ? N - 1 - k : k) * 1247;
      for (size_t i = 0; i < n; i++) host[i] = byte(i, k);
      t_check(c, d->ops->alloc(d, n, &at[k]));
      t_check(c, d->ops->upload(d, NULL, at[k], host, n));
      if (k == 0 && !t_gpu_is_real()) assert_int_equal(g->api.cuStreamQuery(g->stream), NOT_READY);
    }
    for (int k = 0; k < N; k++) {
      const size_t n = 1 + (size_t)(round ? N - 1 - k : k) * 1247;
      t_check(c, d->ops->download(d, NULL, host, at[k], n));
      for (size_t i = 0; i < n; i++)
        if (host[i] != byte(i, k)) fail_msg("byte %zu of upload %d is %d", i, k, host[i]);
      d->ops->free(d, at[k], n);
    }
  }
  bdl_context_free(c);
}

/* The n-th call of a function fails from now on, in a context of its own. */
static bdl_status with_failure(const char *what, bool none) {
  bdl_context *c = t_gpu_context();
  bdl_cuda *g = bdl_cuda_of(c);
  setenv("FAKE_CUDA_FAIL", what, 1);
  bdl_status s = there_and_back(g, LARGE, 1);
  if (s == BDL_OK) s = there_and_back(g, 100, 2);
  unsetenv("FAKE_CUDA_FAIL");
  assert_int_equal(g->staging.none, none);
  if (none) assert_null(g->staging.memory);
  if (s != BDL_OK) {
    if (strncmp(bdl_last_error(c)->message, "GPU: ", 5) != 0) fail_msg("%s: %s", what, bdl_last_error(c)->message);
    assert_int_equal(there_and_back(g, 100, 2), BDL_EIO); /* and stays so */
  }
  bdl_context_free(c);
  return s;
}

static void without_pinned_memory_the_driver_stages(void **state) {
  (void)state;
  if (t_gpu_is_real()) skip();
  assert_int_equal(with_failure("cuMemHostAlloc:1", true), BDL_OK);
  assert_int_equal(with_failure("cuEventCreate:1", true), BDL_OK);
  assert_int_equal(with_failure("cuEventCreate:4", true), BDL_OK);
}

static void failures_of_copies_are_told(void **state) {
  (void)state;
  if (t_gpu_is_real()) skip();
  static const char *const calls[] = {"cuMemcpyHtoDAsync:1", "cuMemcpyHtoDAsync:7", "cuEventRecord:1", "cuEventRecord:12", "cuEventSynchronize:1",
                                      "cuEventSynchronize:7", "cuMemcpyDtoHAsync:1", "cuMemcpyDtoHAsync:6"};
  for (int k = 0; k < BDL_LEN(calls); k++)
    if (with_failure(calls[k], false) != BDL_EIO) fail_msg("%s: nothing failed", calls[k]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(any_size_comes_back), cmocka_unit_test(many_uploads_wait_for_room_alone),
    cmocka_unit_test(without_pinned_memory_the_driver_stages), cmocka_unit_test(failures_of_copies_are_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
** gpu.c -- a GPU for tests.
*/
#include "gpu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../exec/programs.h"
#include "base/context.h"
#include "exec/exec_context.h"

bool t_gpu_is_real(void) {
  const char *which = getenv("BDL_TEST_GPU");
  return which && strcmp(which, "real") == 0;
}

const char *t_gpu_folder(void) {
  static char path[4096];
  const ssize_t n = readlink("/proc/self/exe", path, sizeof path - 64);
  assert_true(n > 0);
  path[n] = 0;
  for (int i = 0; i < 3; i++) *strrchr(path, '/') = 0; /* tests/gpu/test_run */
  return strcat(path, "/fake-cuda");
}

void t_gpu_find(void) {
  static char cache[T_FOLDER];
  if (!t_gpu_is_real()) setenv("BDL_CUDA", t_gpu_folder(), 1);
  if (!*cache) t_new_folder(cache);
  setenv("BDL_CACHE", cache, 1);
}

bdl_context *t_gpu_context(void) {
  t_gpu_find();
  bdl_context *c = bdl_context_new(NULL, NULL);
  assert_non_null(c);
  t_check(c, bdl_gpu_use(c, "gpu"));
  return c;
}

int t_gpu_count(const bdl_gpu_steps *s, bdl_gpu_kind kind) {
  int n = 0;
  for (int64_t k = 0; k < s->n; k++) n += (s->v[k].kind == kind) + t_gpu_count(&s->v[k].body, kind) + t_gpu_count(&s->v[k].cond, kind);
  return n;
}

bdl_status t_gpu_both(bdl_plan *plan, const bdl_tensor *in, bdl_tensor *there, bdl_tensor *here) {
  memset(here, 0, (size_t)plan->n_out * sizeof *here);
  memset(there, 0, (size_t)plan->n_out * sizeof *there);
  plan->compilable = false; /* one that runs here */
  const bdl_status want = bdl_exec_run(plan, in, here);
  bdl_clear_error(plan->ctx);
  plan->compilable = true;
  const bdl_status got = bdl_exec_run(plan, in, there);
  if (got != want) fail_msg("there status %d: %s; here %d", (int)got, bdl_last_error(plan->ctx)->message, (int)want);
  for (int k = 0; k < plan->n_out && got == BDL_OK; k++) t_check(plan->ctx, bdl_tensor_fetch(&there[k]));
  return got;
}

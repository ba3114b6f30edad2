/*
** both.c -- programs on the CPU and on the GPU of tests/cuda, for tests.
*/
#include "both.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../ir/text.h"
#include "../support/random.h"
#include "gpu/program.h"
#include "gpu/run.h"

static char folder[T_FOLDER];

int t_gpu_begin(void **state) {
  char path[4096];
  const ssize_t n = readlink("/proc/self/exe", path, sizeof path - 64);
  (void)state;
  assert_true(n > 0);
  path[n] = 0;
  for (int i = 0; i < 3; i++) *strrchr(path, '/') = 0; /* tests/gpu/test_.. */
  strcat(path, "/fake-cuda");
  t_new_folder(folder);
  setenv("BDL_CUDA", path, 1);
  setenv("BDL_CACHE", folder, 1);
  setenv("BDL_BLAS", "none", 1);
  return 0;
}

int t_gpu_end(void **state) {
  char command[T_FOLDER + 16];
  (void)state;
  snprintf(command, sizeof command, "rm -r %s", folder);
  t_in_folder("/tmp", command);
  return 0;
}

void t_gpu_operands(bdl_prog *p, bdl_tensor *in, uint64_t seed) {
  uint64_t rng = seed;
  for (int64_t k = 0; k < p->inputs.n; k++) {
    const bdl_aval *a = bdl_aval_of(p, p->inputs.v[k]);
    const bool real = bdl_dtype_is_float(a->dtype);
    in[k] = t_random_tensor(p->ctx, a, real ? -1 : 0, real ? 1 : a->dtype == BDL_BOOL ? 1 : 3, &rng);
    char *data = bdl_tensor_data(&in[k]);
    for (int64_t i = 0; real && i < bdl_aval_numel(a); i++)
      if (t_random(&rng) % 8 == 0) memset(data + (size_t)i * bdl_dtype_size(a->dtype), 0, bdl_dtype_size(a->dtype));
  }
}

static double element(const bdl_tensor *t, int64_t k) { return bdl_scalar_to_f64(t->aval.dtype, bdl_tensor_at(t, k)); }

static void close_to(const bdl_tensor *got, const bdl_tensor *want, double tolerance, const char *what) {
  double largest = 0;
  for (int64_t k = 0; k < bdl_aval_numel(&want->aval); k++)
    if (isfinite(element(want, k))) largest = fmax(largest, fabs(element(want, k)));
  for (int64_t k = 0; k < bdl_aval_numel(&want->aval); k++) {
    const double x = element(got, k), y = element(want, k);
    if (isnan(x) && isnan(y)) continue;
    if (!(fabs(x - y) <= tolerance * largest)) fail_msg("%s: %.17g, not %.17g, at %lld", what, x, y, (long long)k);
  }
}

void t_gpu_same(bdl_context *c, bdl_prog *p, bdl_tensor *in, double tolerance, const char *what) {
  bdl_tensor got[MANY], want[MANY];
  bdl_plan *plan;
  memset(got, 0, sizeof got);
  memset(want, 0, sizeof want);
  t_check(c, bdl_plan_new(c, p, NULL, &plan));
  t_check(c, bdl_exec_run(plan, in, want));
  t_check(c, bdl_gpu_run(plan, in, got));
  for (int32_t k = 0; k < plan->n_out; k++) t_check(c, bdl_tensor_fetch(&got[k]));
  for (int32_t k = 0; k < plan->n_out && tolerance > 0; k++) close_to(&got[k], &want[k], tolerance, what);
  if (tolerance <= 0) t_same_bits(got, want, plan->n_out, what, 0);
  t_drop(in, plan->n_in);
  t_drop(got, plan->n_out);
  t_drop(want, plan->n_out);
  bdl_plan_free(plan);
}

void t_gpu_text(bdl_context *c, const char *text, double tolerance) {
  bdl_prog *p = t_parse(c, text);
  bdl_tensor in[MANY];
  t_gpu_operands(p, in, 7);
  t_gpu_same(c, p, in, tolerance, text);
  bdl_prog_unref(p);
}

static int steps_in(const bdl_gpu_steps *s, int kind) {
  int n = 0;
  for (int64_t k = 0; k < s->n; k++) n += ((int)s->v[k].kind == kind) + steps_in(&s->v[k].body, kind) + steps_in(&s->v[k].cond, kind);
  return n;
}

int t_gpu_steps(bdl_context *c, const char *text, int kind) {
  bdl_prog *p = t_parse(c, text);
  bdl_plan *plan;
  bdl_gpu_program q;
  t_check(c, bdl_plan_new(c, p, NULL, &plan));
  t_check(c, bdl_gpu_emit(plan, &q));
  const int n = steps_in(&q.steps, kind);
  bdl_gpu_program_free(&q);
  bdl_plan_free(plan);
  bdl_prog_unref(p);
  return n;
}

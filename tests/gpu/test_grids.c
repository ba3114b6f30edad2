/*
** Results whose bits are not the CPU's have the same bits whatever the grid: sums along long axes, large factorisations.
*/
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../exec/programs.h"
#include "../ir/text.h"
#include "../support/gpu.h"
#include "base/context.h"

/* The results as bytes, all of them. */
static char *run_on(const char *processors, const char *threads, const char *order, const char *text, size_t *n) {
  bdl_tensor in[MANY], out[MANY] = {{.buf = NULL}};
  bdl_plan *plan;
  uint64_t rng = 5;
  setenv("FAKE_CUDA_SMS", processors, 1);
  setenv("FAKE_CUDA_THREADS", threads, 1);
  setenv("FAKE_CUDA_ORDER", order, 1);
  bdl_context *c = t_gpu_context();
  bdl_prog *p = t_parse(c, text);
  t_check(c, bdl_plan_new(c, p, NULL, &plan));
  for (int k = 0; k < plan->n_in; k++) in[k] = t_random_tensor(c, bdl_aval_of(p, p->inputs.v[k]), -1, 1, &rng);
  t_check(c, bdl_exec_run(plan, in, out));
  char *bytes = NULL;
  *n = 0;
  for (int k = 0; k < plan->n_out; k++) {
    const size_t more = bdl_aval_bytes(&out[k].aval);
    t_check(c, bdl_tensor_fetch(&out[k]));
    bytes = realloc(bytes, *n + more);
    assert_non_null(bytes);
    memcpy(bytes + *n, bdl_tensor_data(&out[k]), more);
    *n += more;
  }
  t_drop(in, plan->n_in);
  t_drop(out, plan->n_out);
  bdl_plan_free(plan);
  bdl_prog_unref(p);
  bdl_context_free(c);
  return bytes;
}

static void same_on_all_grids(const char *text) {
  static const char *const grids[][3] = {{"5", "96", "backward"}, {"2", "64", "forward"}, {"3", "256", "backward"}};
  size_t n, m;
  char *first = run_on("1", "32", "forward", text, &n);
  for (int k = 0; k < BDL_LEN(grids); k++) {
    char *other = run_on(grids[k][0], grids[k][1], grids[k][2], text, &m);
    assert_int_equal(n, m);
    assert_memory_equal(first, other, n);
    free(other);
  }
  free(first);
}

static void running_sums(void **state) {
  (void)state;
  same_on_all_grids("program p(x:f32[33793], y:f64[2,2049,3], w:f32[3,5000]) {\n  a:f32[33793] = cumsum[axis=0 reverse=0] x\n"
                    "  b:f64[2,2049,3] = cumsum[axis=1 reverse=1] y\n  c:f32[3,5000] = cumsum[axis=1 reverse=1] w\n  return a, b, c\n}");
}

/* ---- factorisations ------------------------------------------------------------------------------------------------ */

/* S: a shape in front of [N,N] matrices and [N,K] right sides.  Matrices: x; positive definite p; f, which is so but for its rows from 200
** on; g, with a column of zeros. */
static const char factorisations[] =
  "  i:i32[SN,N] = iota[shape=(SN,N) axis=A dtype=i32]\n  j:i32[SN,N] = iota[shape=(SN,N) axis=B dtype=i32]\n"
  "  d:bool[SN,N] = eq i j\n  e:T[SN,N] = select d 400.0:T 0.0:T\n  p:T[SN,N] = add x e\n"
  "  late:bool[SN,N] = ge i 200:i32\n  m:T[SN,N] = sub x e\n  f:T[SN,N] = select late m p\n"
  "  o:bool[SN,N] = eq j 100:i32\n  g:T[SN,N] = select o 0.0:T x\n"
  "  l:T[SN,N] = cholesky p\n  u:T[SN,N], q:i32[SN] = lu x\n  z:T[SN,K] = solve x y\n"
  "  s:T[SN,K] = triangular_solve[lower=1 trans=0 unit=0] p y\n  t:T[SN,K] = triangular_solve[lower=1 trans=1 unit=0] p y\n"
  "  v:T[SN,K] = triangular_solve[lower=0 trans=0 unit=0] p y\n  r:T[SN,N] = mul x 0.01:T\n"
  "  w:T[SN,K] = triangular_solve[lower=0 trans=1 unit=1] r y\n"
  "  h:T[SN,N] = cholesky f\n  k:T[SN,K] = solve g y\n  return l, u, q, z, s, t, v, w, h, k\n}";
enum { RESULTS = 10, NANS = 8 }; /* the last ones are NaN */

typedef struct sizes {
  int n, k;
  const char *dtype;
} sizes;
static const sizes some[] = {{256, 1, "f32"}, {257, 33, "f64"}, {287, 5, "f32"}, {320, 2, "f64"}};

/* count 0: no axis in front. */
static bdl_prog *factor_program(bdl_context *c, const sizes *z, int count) {
  char front[16] = "";
  bdl_prog *p;
  bdl_str s;
  if (count) snprintf(front, sizeof front, "%d,", count);
  bdl_str_init(&s, c);
  bdl_str_addf(&s, "program p(x:%s[%s%d,%d], y:%s[%s%d,%d]) {\n", z->dtype, front, z->n, z->n, z->dtype, front, z->n, z->k);
  for (const char *at = factorisations; *at; at++) switch (*at) {
      case 'S': bdl_str_addf(&s, "%s", front); break;
      case 'N': bdl_str_addf(&s, "%d", z->n); break;
      case 'K': bdl_str_addf(&s, "%d", z->k); break;
      case 'T': bdl_str_addf(&s, "%s", z->dtype); break;
      case 'A': bdl_str_addf(&s, "%d", count > 0); break;
      case 'B': bdl_str_addf(&s, "%d", 1 + (count > 0)); break;
      default: bdl_str_add(&s, at, 1);
    }
  if (bdl_ir_parse(c, s.s, (size_t)s.n, &p) != BDL_OK) fail_msg("%s\n%s", bdl_last_error(c)->message, s.s);
  bdl_str_fini(&s);
  return p;
}

/* The results of the matrix repeated so often. */
static bdl_plan *factor_all(bdl_context *c, const sizes *z, int count, bdl_tensor *in, bdl_tensor *out) {
  bdl_plan *plan;
  bdl_prog *p = factor_program(c, z, count);
  memset(out, 0, RESULTS * sizeof *out);
  for (int k = 0; k < 2; k++) {
    const bdl_aval *a = bdl_aval_of(p, p->inputs.v[k]);
    uint64_t rng = (uint64_t)k + 7;
    bdl_aval one = *a;
    if (count) one = bdl_aval_make(a->dtype, 2, a->shape + 1);
    bdl_tensor single = t_random_tensor(c, &one, -1, 1, &rng);
    t_check(c, bdl_tensor_new(bdl_device_cpu(c), a, &in[k]));
    for (int b = 0; b < (count ? count : 1); b++)
      memcpy((char *)bdl_tensor_data(&in[k]) + (size_t)b * bdl_aval_bytes(&one), bdl_tensor_data(&single), bdl_aval_bytes(&one));
    t_drop(&single, 1);
  }
  t_check(c, bdl_plan_new(c, p, NULL, &plan));
  bdl_prog_unref(p);
  t_check(c, bdl_exec_run(plan, in, out));
  for (int k = 0; k < RESULTS; k++) t_check(c, bdl_tensor_fetch(&out[k]));
  return plan;
}

/* A block has a small one, the grid a large one. */
static void large_ones_have_the_bits_of_small_ones(void **state) {
  enum { COUNT = 6 };
  (void)state;
  setenv("FAKE_CUDA_SMS", "3", 1);
  setenv("FAKE_CUDA_THREADS", "96", 1);
  setenv("FAKE_CUDA_ORDER", "backward", 1);
  for (int k = 0; k < BDL_LEN(some); k++) {
    bdl_context *c = t_gpu_context();
    bdl_tensor in[2], out[RESULTS], more_in[2], more[RESULTS];
    bdl_plan *one = factor_all(c, &some[k], 0, in, out), *many = factor_all(c, &some[k], COUNT, more_in, more);
    for (int r = 0; r < RESULTS; r++) {
      const size_t n = bdl_aval_bytes(&out[r].aval);
      for (int b = 0; b < COUNT; b += COUNT - 1)
        if (memcmp(bdl_tensor_data(&out[r]), (const char *)bdl_tensor_data(&more[r]) + (size_t)b * n, n) != 0)
          fail_msg("n %d: result %d differs", some[k].n, r);
    }
    t_drop(in, 2);
    t_drop(out, RESULTS);
    t_drop(more_in, 2);
    t_drop(more, RESULTS);
    bdl_plan_free(one);
    bdl_plan_free(many);
    bdl_context_free(c);
  }
}

/* Near those of the CPU, which adds in another order. */
static void large_ones_are_right(void **state) {
  (void)state;
  unsetenv("BDL_BLAS");
  for (int k = 1; k < BDL_LEN(some); k += 2) {
    bdl_context *c = t_gpu_context();
    bdl_tensor in[2], there[RESULTS], here[RESULTS];
    bdl_plan *plan = factor_all(c, &some[k], 0, in, there);
    t_drop(there, RESULTS);
    t_check(c, t_gpu_both(plan, in, there, here));
    for (int r = 0; r < RESULTS; r++)
      for (int64_t e = 0; e < bdl_aval_numel(&there[r].aval); e++) {
        const double x = bdl_scalar_to_f64(there[r].aval.dtype, bdl_tensor_at(&there[r], e));
        const double y = bdl_scalar_to_f64(here[r].aval.dtype, bdl_tensor_at(&here[r], e));
        if (r >= NANS ? x == x || y == y : !(fabs(x - y) <= 1e-9 * (1 + fabs(y)))) fail_msg("n %d: result %d: %.17g, not %.17g", some[k].n, r, x, y);
      }
    t_drop(in, 2);
    t_drop(there, RESULTS);
    t_drop(here, RESULTS);
    bdl_plan_free(plan);
    bdl_context_free(c);
  }
  setenv("BDL_BLAS", "none", 1);
}

static void factors(void **state) {
  (void)state;
  same_on_all_grids("program p(x:f32[257,257], y:f32[257,3]) {\n  u:f32[257,257], q:i32[257] = lu x\n  z:f32[257,3] = solve x y\n"
                    "  return u, q, z\n}");
}

int main(void) {
  setenv("BDL_BLAS", "none", 1);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(running_sums), cmocka_unit_test(factors), cmocka_unit_test(large_ones_have_the_bits_of_small_ones),
    cmocka_unit_test(large_ones_are_right),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

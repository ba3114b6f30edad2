/*
** test_linalg.c -- factorisations satisfy their equations; singular input gives NaN, never a failure.
*/
#include "call.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static t_array uniform(bdl_dtype d, int ndim, const int64_t *shape, uint64_t *r) {
  t_array a = t_new(d, ndim, shape);
  for (int64_t i = 0; i < bdl_aval_numel(&a.aval); i++) t_set(&a, i, 2 * t_uniform(r) - 1);
  return a;
}

/* Diagonally dominant matrices: well-conditioned. */
static t_array dominant(bdl_dtype d, int64_t stack, int64_t n, uint64_t *r) {
  t_array a = uniform(d, SHAPE(stack, n, n), r);
  for (int64_t l = 0; l < stack; l++)
    for (int64_t i = 0; i < n; i++) t_set(&a, (l * n + i) * n + i, (double)n + t_uniform(r));
  return a;
}

static double at(const t_array *a, int64_t l, int64_t i, int64_t j) {
  const int64_t rows = a->aval.shape[1], cols = a->aval.shape[2];
  return t_get(a, (l * rows + i) * cols + j);
}

#define NEAR(x, y, d) assert_true(fabs((x) - (y)) < ((d) == BDL_F32 ? 2e-4 : 1e-11))

static void cholesky_factors(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 20; seed++) {
    uint64_t r = seed;
    const bdl_dtype d = seed % 2 ? BDL_F32 : BDL_F64;
    const int64_t n = t_below(&r, 9);
    t_array x = dominant(d, 2, n, &r), z;
    OK(t_call(BDL_P_cholesky, NULL, &x, 1, &z, 1));
    for (int64_t l = 0; l < 2; l++)
      for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
          double sum = 0;
          for (int64_t k = 0; k < n; k++) sum += at(&z, l, i, k) * at(&z, l, j, k);
          NEAR(sum, (at(&x, l, i, j) + at(&x, l, j, i)) / 2, d);
          if (j > i) assert_true(at(&z, l, i, j) == 0);
        }
    t_free((t_array[]){x, z}, 2);
  }
}

static void triangular_systems_are_solved(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 32; seed++) {
    uint64_t r = seed;
    const bdl_dtype d = seed % 2 ? BDL_F32 : BDL_F64;
    const int64_t n = 1 + t_below(&r, 8), k = t_below(&r, 4);
    const bool lower = seed & 2, trans = seed & 4, unit = seed & 8;
    t_array in[2] = {dominant(d, 2, n, &r), uniform(d, SHAPE(2, n, k), &r)}, z;
    if (unit) /* small entries, else the solution grows */
      for (int64_t i = 0; i < bdl_aval_numel(&in[0].aval); i++) t_set(&in[0], i, t_get(&in[0], i) / 10);
    OK(t_call(BDL_P_triangular_solve, PARAMS(bdl_pint(lower), bdl_pint(trans), bdl_pint(unit)), in, 2, &z, 1));
    for (int64_t l = 0; l < 2; l++)
      for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < k; j++) {
          double sum = 0;
          for (int64_t q = 0; q < n; q++) {
            const int64_t row = trans ? q : i, col = trans ? i : q;
            const double a = row == col             ? (unit ? 1 : at(&in[0], l, row, col))
                             : (row > col) == lower ? at(&in[0], l, row, col)
                                                    : 0;
            sum += a * at(&z, l, q, j);
          }
          NEAR(sum, at(&in[1], l, i, j), d);
        }
    t_free((t_array[]){in[0], in[1], z}, 3);
  }
}

static void lu_factors_and_solve_solves(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 20; seed++) {
    uint64_t r = seed;
    const bdl_dtype d = seed % 2 ? BDL_F32 : BDL_F64;
    const int64_t n = 1 + t_below(&r, 8), k = 1 + t_below(&r, 3);
    t_array in[2] = {dominant(d, 2, n, &r), uniform(d, SHAPE(2, n, k), &r)}, lu[2], z;
    if (n > 1) /* makes the exchange of rows 0 and 1 necessary */
      for (int64_t j = 0; j < n; j++) {
        const double a = at(&in[0], 0, 0, j), b = at(&in[0], 0, 1, j);
        t_set(&in[0], j, b), t_set(&in[0], n + j, a);
      }
    OK(t_call(BDL_P_lu, NULL, in, 1, lu, 1));
    OK(t_call(BDL_P_solve, NULL, in, 2, &z, 1));
    for (int64_t l = 0; l < 2; l++) {
      int64_t row[8];
      for (int64_t i = 0; i < n; i++) row[i] = i;
      for (int64_t i = 0; i < n; i++) {
        const int64_t p = ((int32_t *)lu[1].data)[l * n + i], t = row[i];
        assert_in_range(p, i, n - 1);
        row[i] = row[p], row[p] = t;
      }
      for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < n; j++) {
          double sum = 0;
          for (int64_t q = 0; q <= BDL_MIN(i, j); q++) sum += (q == i ? 1 : at(&lu[0], l, i, q)) * at(&lu[0], l, q, j);
          NEAR(sum, at(&in[0], l, row[i], j), d);
        }
        for (int64_t j = 0; j < k; j++) {
          double sum = 0;
          for (int64_t q = 0; q < n; q++) sum += at(&in[0], l, i, q) * at(&z, l, q, j);
          NEAR(sum, at(&in[1], l, i, j), d);
        }
      }
    }
    t_free((t_array[]){in[0], in[1], lu[0], lu[1], z}, 5);
  }
}

static void singular_gives_nan(void **state) {
  (void)state;
  t_array in[2] = {t_new(BDL_F32, SHAPE(2, 2)), t_new(BDL_F32, SHAPE(2, 1))}, z;
  OK(t_call(BDL_P_solve, NULL, in, 2, &z, 1));
  assert_true(isnan(t_get(&z, 0)) && isnan(t_get(&z, 1)));
  t_free(&z, 1);
  t_set(&in[0], 0, -1);
  OK(t_call(BDL_P_cholesky, NULL, in, 1, &z, 1));
  for (int i = 0; i < 4; i++) assert_true(isnan(t_get(&z, i)));
  t_free(&z, 1);
  t_free(in, 2);
}

static void matrices_must_be_square(void **state) {
  (void)state;
  t_array x = t_new(BDL_F32, SHAPE(2, 3)), z[2];
  t_fails(t_call(BDL_P_cholesky, NULL, &x, 1, z, 1), BDL_ESHAPE, "cholesky: f32[2,3]");
  t_free(&x, 1);
}

static int leave(void **state) {
  (void)state;
  t_context_free();
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(cholesky_factors),
      cmocka_unit_test(triangular_systems_are_solved),
      cmocka_unit_test(lu_factors_and_solve_solves),
      cmocka_unit_test(singular_gives_nan),
      cmocka_unit_test(matrices_must_be_square),
  };
  return cmocka_run_group_tests(tests, NULL, leave);
}

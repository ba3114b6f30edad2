/*
** test_random.c -- keys and integers are JAX's: the numbers of tests/golden/random, seeds 0 and 42.
*/
#include "call.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static t_array key(uint32_t seed) {
  t_array k = t_new(BDL_U32, SHAPE(2));
  ((uint32_t *)k.data)[1] = seed;
  return k;
}

static void keys_split_as_in_jax(void **state) {
  (void)state;
  const uint32_t want[][2] = {{1832780943u, 270669613u}, {64467757u, 2916123636u}, {2465931498u, 255383827u}};
  t_array k = key(42), z;
  OK(t_call(BDL_P_random_split, PARAMS(bdl_pint(3)), &k, 1, &z, 1));
  assert_memory_equal(z.data, want, sizeof want);
  t_free((t_array[]){k, z}, 2);
}

static void keys_fold_as_in_jax(void **state) {
  (void)state;
  const uint32_t want[2] = {2547012911u, 1371500959u};
  t_array in[2] = {key(42), t_new(BDL_U32, 0, NULL)}, z;
  t_set(&in[1], 0, 7);
  OK(t_call(BDL_P_random_fold_in, NULL, in, 2, &z, 1));
  assert_memory_equal(z.data, want, sizeof want);
  t_free(in, 2);
  t_free(&z, 1);
}

static void integers_are_those_of_jax(void **state) {
  (void)state;
  const int32_t digits[] = {9, 0, 2, 3, 1, 7, 2, 3}, wide[] = {554, 625, 417, 293, 951, 577, 352, 258};
  t_array in[3] = {key(0), t_new(BDL_I32, 0, NULL), t_new(BDL_I32, 0, NULL)}, z;
  t_set(&in[2], 0, 10);
  OK(t_call(BDL_P_random_int, PARAMS(INTS(BDL_LEN(digits))), in, 3, &z, 1));
  assert_memory_equal(z.data, digits, sizeof digits);
  t_free(&z, 1);
  t_set(&in[1], 0, -5), t_set(&in[2], 0, 1000);
  OK(t_call(BDL_P_random_int, PARAMS(INTS(BDL_LEN(wide))), in, 3, &z, 1));
  assert_memory_equal(z.data, wide, sizeof wide);
  t_free(&z, 1);
  t_free(in, 3);
}

static void integers_stay_in_range(void **state) {
  (void)state;
  const double bounds[][2] = {{0, 1}, {-3, 4}, {-2147483648.0, 2147483647.0}, {5, 5}, {7, -7}};
  for (int wide = 0; wide < 2; wide++)
    for (int i = 0; i < BDL_LEN(bounds); i++) {
      const bdl_dtype d = wide ? BDL_I64 : BDL_I32;
      t_array in[3] = {key(3), t_new(d, 0, NULL), t_new(d, 0, NULL)}, z, y;
      t_set(&in[1], 0, bounds[i][0]), t_set(&in[2], 0, bounds[i][1]);
      OK(t_call(BDL_P_random_int, PARAMS(INTS(9000)), in, 3, &z, 1));
      OK(t_call(BDL_P_random_int, PARAMS(INTS(9000)), in, 3, &y, 3));
      t_same(&z, &y);
      for (int64_t k = 0; k < 9000; k++) {
        const double v = t_get(&z, k), lo = bounds[i][0], hi = bounds[i][1];
        assert_true(v >= lo && (v < hi || (hi <= lo && v == lo)));
      }
      t_free((t_array[]){in[0], in[1], in[2], z, y}, 5);
    }
}

static int leave(void **state) {
  (void)state;
  t_context_free();
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(keys_split_as_in_jax),
      cmocka_unit_test(keys_fold_as_in_jax),
      cmocka_unit_test(integers_are_those_of_jax),
      cmocka_unit_test(integers_stay_in_range),
  };
  return cmocka_run_group_tests(tests, NULL, leave);
}

/*
** test_sort.c -- sorting is stable, by several keys, NaN last; the largest k.
*/
#include "call.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Does a stand before b?  NaN last either way. */
static bool before(double a, double b, bool descending) {
  if (isnan(a) || isnan(b)) return !isnan(a) && isnan(b);
  return descending ? a > b : a < b;
}

static void sort_equals_insertion(void **state) {
  (void)state;
  const bdl_dtype dtypes[] = {BDL_BOOL, BDL_I32, BDL_I64, BDL_U32, BDL_F32, BDL_F64};
  for (uint64_t seed = 1; seed <= 200; seed++) {
    uint64_t r = seed;
    const int64_t outer = 1 + t_below(&r, 2), n = t_below(&r, seed % 5 == 0 ? 400 : 12), inner = 1 + t_below(&r, 3);
    const int keys = 1 + (int)t_below(&r, 2);
    const bool descending = t_below(&r, 2);
    t_array in[3] = {t_rand(dtypes[t_below(&r, 6)], SHAPE(outer, n, inner), &r),
                     t_rand(dtypes[t_below(&r, 6)], SHAPE(outer, n, inner), &r), t_new(BDL_I32, SHAPE(outer, n, inner))};
    t_array out[3];
    for (int64_t i = 0; i < outer * n * inner; i++) {
      t_set(&in[2], i, (double)(i / inner % n));
      if (bdl_dtype_is_float(in[0].aval.dtype) && t_below(&r, 6) == 0) t_set(&in[0], i, t_below(&r, 2) ? NAN : -0.0);
    }
    OK(t_call(BDL_P_sort, PARAMS(bdl_pint(1), bdl_pint(keys), bdl_pint(descending)), in, 3, out, 1));
    for (int64_t lane = 0; n > 0 && lane < outer * inner; lane++) {
      const int64_t base = lane / inner * n * inner + lane % inner;
      int order[400]; /* by insertion */
      for (int i = 0; i < n; i++) {
        int j = i;
        for (; j > 0; j--) {
          bool less = false;
          for (int key = 0; key < keys; key++) {
            const double a = t_get(&in[key], base + i * inner), b = t_get(&in[key], base + order[j - 1] * inner);
            less = before(a, b, descending);
            if (less || before(b, a, descending)) break;
          }
          if (!less) break;
          order[j] = order[j - 1];
        }
        order[j] = i;
      }
      for (int i = 0; i < n; i++) assert_int_equal(((int32_t *)out[2].data)[base + i * inner], order[i]);
      for (int k = 0; k < 2; k++)
        for (int i = 0; i < n; i++) {
          const double a = t_get(&out[k], base + i * inner), b = t_get(&in[k], base + order[i] * inner);
          assert_true(a == b || (isnan(a) && isnan(b)));
        }
    }
    t_free(in, 3);
    t_free(out, 3);
  }
}

static void extremes_keep_their_order(void **state) {
  (void)state;
  const double v[] = {1e308, -INFINITY, NAN, INFINITY, -1e308, 5e-324, -5e-324};
  t_array x = t_f64(7, v), z;
  OK(t_call(BDL_P_sort, PARAMS(bdl_pint(0), bdl_pint(1), bdl_pint(0)), &x, 1, &z, 1));
  const double want[] = {-INFINITY, -1e308, -5e-324, 5e-324, 1e308, INFINITY};
  assert_memory_equal(z.data, want, sizeof want);
  assert_true(isnan(t_get(&z, 6)));
  t_free((t_array[]){x, z}, 2);
}

static void top_k_takes_the_largest_ties_by_index(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 50; seed++) {
    uint64_t r = seed;
    const int64_t n = 1 + t_below(&r, 100), k = t_below(&r, n + 1);
    t_array x = t_rand(seed % 2 ? BDL_F32 : BDL_I32, SHAPE(2, n), &r), z[2];
    OK(t_call(BDL_P_top_k, PARAMS(bdl_pint(k)), &x, 1, z, 1));
    for (int64_t l = 0; l < 2; l++) {
      bool taken[100] = {false};
      for (int64_t i = 0; i < k; i++) {
        int64_t best = -1;
        for (int64_t j = 0; j < n; j++)
          if (!taken[j] && (best < 0 || t_get(&x, l * n + j) > t_get(&x, l * n + best))) best = j;
        taken[best] = true;
        assert_int_equal(((int32_t *)z[1].data)[l * k + i], best);
        assert_true(t_get(&z[0], l * k + i) == t_get(&x, l * n + best));
      }
    }
    t_free(&x, 1);
    t_free(z, 2);
  }
}

static int leave(void **state) {
  (void)state;
  t_context_free();
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sort_equals_insertion),
      cmocka_unit_test(extremes_keep_their_order),
      cmocka_unit_test(top_k_takes_the_largest_ties_by_index),
  };
  return cmocka_run_group_tests(tests, NULL, leave);
}

/*
** test_array.c -- reductions and moves against loops over single elements.
*/
#include "call.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/array.h"

static const bdl_dtype numbers[] = {BDL_I32, BDL_I64, BDL_U32, BDL_F32, BDL_F64};

/* Position in row-major order -> index an axis, and back over the axes of `keep`. */
static void unravel(const bdl_aval *a, int64_t at, int64_t *index) {
  for (int i = a->ndim - 1; i >= 0; i--) index[i] = at % a->shape[i], at /= a->shape[i];
}

static int64_t ravel(const bdl_aval *a, const int64_t *index) {
  int64_t at = 0;
  for (int i = 0; i < a->ndim; i++) at = at * a->shape[i] + index[i];
  return at;
}

static int random_shape(uint64_t *seed, int most, int64_t *shape) {
  const int ndim = (int)t_below(seed, most + 1);
  for (int i = 0; i < ndim; i++) shape[i] = t_below(seed, 8) == 0 ? 0 : 1 + t_below(seed, 6);
  return ndim;
}

static double combine(bdl_prim_id p, double a, double b) {
  switch (p) {
  case BDL_P_reduce_sum:
    return a + b;
  case BDL_P_reduce_prod:
    return a * b;
  case BDL_P_reduce_max:
    return isnan(a) || a > b ? a : b;
  default:
    return isnan(a) || a < b ? a : b;
  }
}

static void reductions_equal_loops(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 400; seed++) {
    uint64_t r = seed;
    int64_t shape[5], axes[5];
    const int ndim = random_shape(&r, 5, shape);
    const bdl_dtype d = numbers[t_below(&r, 5)];
    const bdl_prim_id p =
        (bdl_prim_id[]){BDL_P_reduce_sum, BDL_P_reduce_prod, BDL_P_reduce_max, BDL_P_reduce_min}[seed % 4];
    int n_axes = 0;
    bool reduced[5] = {false};
    for (int i = 0; i < ndim; i++)
      if (t_below(&r, 2)) reduced[i] = true, axes[n_axes++] = i;
    t_array x = t_rand(d, ndim, shape, &r), z, want;
    if (p == BDL_P_reduce_prod) /* 1, 1, 2: no overflow */
      for (int64_t i = 0; i < bdl_aval_numel(&x.aval); i++) t_set(&x, i, 1 + (t_below(&r, 30) == 0));
    OK(t_call(p, PARAMS(bdl_pints(axes, n_axes)), &x, 1, &z, 1));
    want = t_new(d, z.aval.ndim, z.aval.shape);
    const bdl_reduce_op op = p == BDL_P_reduce_sum    ? BDL_RED_SUM
                             : p == BDL_P_reduce_prod ? BDL_RED_PROD
                             : p == BDL_P_reduce_max  ? BDL_RED_MAX
                                                      : BDL_RED_MIN;
    const bdl_scalar empty = bdl_k_identity(op, d);
    for (int64_t i = 0; i < bdl_aval_numel(&want.aval); i++)
      memcpy((char *)want.data + (size_t)i * bdl_dtype_size(d), &empty, bdl_dtype_size(d));
    for (int64_t i = 0; i < bdl_aval_numel(&x.aval); i++) {
      int64_t at[5], to[5];
      int n = 0;
      unravel(&x.aval, i, at);
      for (int k = 0; k < ndim; k++)
        if (!reduced[k]) to[n++] = at[k];
      const int64_t o = ravel(&want.aval, to);
      t_set(&want, o, combine(p, t_get(&want, o), t_get(&x, i)));
    }
    t_near(&z, &want, 1e-6, 0);
    t_free((t_array[]){x, z, want}, 3);
  }
}

static void nan_wins_and_empty_is_the_identity(void **state) {
  (void)state;
  t_array x = t_new(BDL_F32, SHAPE(3, 300)), z[2];
  t_set(&x, 300 + 7, NAN);
  for (int axis = 0; axis < 2; axis++) {
    OK(t_call(BDL_P_reduce_max, PARAMS(INTS(axis)), &x, 1, z, 1));
    OK(t_call(BDL_P_reduce_min, PARAMS(INTS(axis)), &x, 1, z + 1, 1));
    for (int k = 0; k < 2; k++)
      for (int64_t i = 0; i < bdl_aval_numel(&z[k].aval); i++)
        assert_int_equal(isnan(t_get(&z[k], i)), i == (axis ? 1 : 7));
    t_free(z, 2);
  }
  t_free(&x, 1);
  x = t_new(BDL_I32, SHAPE(0, 2));
  OK(t_call(BDL_P_reduce_max, PARAMS(INTS(0)), &x, 1, z, 1));
  assert_int_equal(((int32_t *)z[0].data)[1], INT32_MIN);
  t_free(z, 1);
  t_free(&x, 1);
}

static void f32_sums_stay_accurate(void **state) {
  (void)state;
  enum { n = 100000 };
  t_array x = t_new(BDL_F32, SHAPE(n, 2)), z;
  for (int64_t i = 0; i < 2 * n; i++) t_set(&x, i, 0.1);
  OK(t_call(BDL_P_reduce_sum, PARAMS(INTS(0)), &x, 1, &z, 1));
  assert_true(fabs(t_get(&z, 0) - 0.1 * n) < 0.2);
  t_free(&z, 1);
  t_free(&x, 1);
}

static void integers_wrap(void **state) {
  (void)state;
  t_array x = t_i32(2, (int32_t[]){INT32_MAX, 1}), z;
  OK(t_call(BDL_P_reduce_sum, PARAMS(INTS(0)), &x, 1, &z, 1));
  assert_int_equal(*(int32_t *)z.data, INT32_MIN);
  t_free(&z, 1);
  OK(t_call(BDL_P_cumsum, PARAMS(bdl_pint(0), bdl_pint(0)), &x, 1, &z, 1));
  assert_int_equal(((int32_t *)z.data)[1], INT32_MIN);
  t_free((t_array[]){x, z}, 2);
}

static void bool_reductions(void **state) {
  (void)state;
  t_array x = t_new(BDL_BOOL, SHAPE(2, 3)), z;
  t_set(&x, 0, 1), t_set(&x, 3, 1), t_set(&x, 4, 1); /* 1 0 0 / 1 1 0 */
  const bdl_prim_id prims[] = {BDL_P_reduce_and, BDL_P_reduce_or, BDL_P_reduce_min, BDL_P_reduce_max};
  for (int p = 0; p < 4; p++) {
    OK(t_call(prims[p], PARAMS(INTS(0)), &x, 1, &z, 1));
    const bool want[2][3] = {{1, 0, 0}, {1, 1, 0}};
    assert_memory_equal(z.data, want[p % 2], 3);
    t_free(&z, 1);
    OK(t_call(prims[p], PARAMS(INTS(1)), &x, 1, &z, 1));
    assert_memory_equal(z.data, ((bool[2][2]){{0, 0}, {1, 1}})[p % 2], 2);
    t_free(&z, 1);
  }
  t_free(&x, 1);
}

static void arg_reductions(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 100; seed++) {
    uint64_t r = seed;
    const int64_t shape[3] = {1 + t_below(&r, 4), 1 + t_below(&r, 9), 1 + t_below(&r, 5)};
    const bdl_dtype d = numbers[t_below(&r, 5)];
    const bool largest = seed % 2;
    t_array x = t_rand(d, 3, shape, &r), z;
    if (bdl_dtype_is_float(d) && seed % 3 == 0) t_set(&x, t_below(&r, bdl_aval_numel(&x.aval)), NAN);
    OK(t_call(largest ? BDL_P_argmax : BDL_P_argmin, PARAMS(bdl_pint(1)), &x, 1, &z, 1));
    for (int64_t o = 0; o < shape[0]; o++)
      for (int64_t i = 0; i < shape[2]; i++) {
        int64_t best = 0;
        for (int64_t k = 1; k < shape[1]; k++) {
          const double v = t_get(&x, (o * shape[1] + k) * shape[2] + i),
                       b = t_get(&x, (o * shape[1] + best) * shape[2] + i);
          if (!isnan(b) && (isnan(v) || (largest ? v > b : v < b))) best = k;
        }
        assert_int_equal(((int32_t *)z.data)[o * shape[2] + i], best);
      }
    t_free((t_array[]){x, z}, 2);
  }
}

static void running_reductions(void **state) {
  (void)state;
  const bdl_prim_id prims[] = {BDL_P_cumsum, BDL_P_cumprod, BDL_P_cummax, BDL_P_cummin};
  const bdl_prim_id ops[] = {BDL_P_reduce_sum, BDL_P_reduce_prod, BDL_P_reduce_max, BDL_P_reduce_min};
  for (uint64_t seed = 1; seed <= 100; seed++) {
    uint64_t r = seed;
    const int64_t shape[3] = {1 + t_below(&r, 3), t_below(&r, 7), 1 + t_below(&r, 4)};
    const bool reverse = t_below(&r, 2);
    const int p = (int)(seed % 4);
    t_array x = t_rand(BDL_F64, 3, shape, &r), z, want = t_new(BDL_F64, 3, shape);
    OK(t_call(prims[p], PARAMS(bdl_pint(1), bdl_pint(reverse)), &x, 1, &z, 1));
    for (int64_t o = 0; o < shape[0]; o++)
      for (int64_t i = 0; i < shape[2]; i++) {
        double acc = 0;
        for (int64_t k = 0; k < shape[1]; k++) {
          const int64_t at = (o * shape[1] + (reverse ? shape[1] - 1 - k : k)) * shape[2] + i;
          acc = k == 0 ? t_get(&x, at) : combine(ops[p], acc, t_get(&x, at));
          t_set(&want, at, acc);
        }
      }
    t_same(&z, &want);
    t_free((t_array[]){x, z, want}, 3);
  }
}

static void strided_copy_equals_loops(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 500; seed++) {
    uint64_t r = seed;
    int64_t shape[5], stride[5], low = 0, high = 0, index[5];
    const int ndim = random_shape(&r, 5, shape);
    const size_t size = (size_t[]){1, 4, 8}[t_below(&r, 3)];
    const bdl_dtype d = size == 1 ? BDL_BOOL : size == 4 ? BDL_I32 : BDL_I64;
    for (int i = 0; i < ndim; i++) {
      stride[i] = t_below(&r, 9) - 3;
      if (shape[i] > 0) *(stride[i] < 0 ? &low : &high) += stride[i] * (shape[i] - 1);
    }
    if (seed % 2) bdl_k_row_major(ndim, shape, stride), low = 0, high = 20000; /* and permuted */
    if (seed % 2 && ndim > 1) {
      int64_t t = stride[0];
      stride[0] = stride[ndim - 1], stride[ndim - 1] = t;
      t = shape[0], shape[0] = shape[ndim - 1], shape[ndim - 1] = t;
    }
    t_array x = t_rand(d, SHAPE(high - low + 1), &r), z = t_new(d, ndim, shape);
    bdl_k_strided_copy(z.data, (char *)x.data - low * (int64_t)size, stride, ndim, shape, size);
    for (int64_t i = 0; i < bdl_aval_numel(&z.aval); i++) {
      int64_t at = -low;
      unravel(&z.aval, i, index);
      for (int k = 0; k < ndim; k++) at += index[k] * stride[k];
      assert_true(t_get(&z, i) == t_get(&x, at));
    }
    t_free((t_array[]){x, z}, 2);
  }
}

static void transposes_of_large_matrices(void **state) {
  (void)state;
  uint64_t r = 1;
  t_array x = t_rand(BDL_F32, SHAPE(67, 131), &r), z = t_new(BDL_F32, SHAPE(131, 67));
  bdl_k_strided_copy(z.data, x.data, (int64_t[]){1, 131}, 2, z.aval.shape, 4);
  for (int64_t i = 0; i < 131; i++)
    for (int64_t j = 0; j < 67; j++) assert_true(t_get(&z, i * 67 + j) == t_get(&x, j * 131 + i));
  t_free((t_array[]){x, z}, 2);
}

static void padding_equals_loops(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 300; seed++) {
    uint64_t r = seed;
    int64_t shape[3], lo[3], hi[3], inner[3];
    const int ndim = random_shape(&r, 3, shape);
    for (int i = 0; i < ndim; i++) lo[i] = t_below(&r, 7) - 3, hi[i] = t_below(&r, 7) - 3, inner[i] = t_below(&r, 3);
    t_array in[2] = {t_rand(BDL_F32, ndim, shape, &r), t_new(BDL_F32, 0, NULL)}, z;
    t_set(&in[1], 0, 99);
    bdl_status s =
        t_call(BDL_P_pad, PARAMS(bdl_pints(lo, ndim), bdl_pints(hi, ndim), bdl_pints(inner, ndim)), in, 2, &z, 1);
    bool fits = true;
    for (int i = 0; i < ndim; i++) fits = fits && lo[i] + hi[i] + shape[i] + BDL_MAX(shape[i] - 1, 0) * inner[i] >= 0;
    if (!fits) {
      t_fails(s, BDL_EVALUE, "pad:");
      t_free(in, 2);
      continue;
    }
    OK(s);
    t_array want = t_new(BDL_F32, ndim, z.aval.shape);
    for (int64_t i = 0; i < bdl_aval_numel(&z.aval); i++) t_set(&want, i, 99);
    for (int64_t i = 0; i < bdl_aval_numel(&in[0].aval); i++) {
      int64_t at[3];
      bool inside = true;
      unravel(&in[0].aval, i, at);
      for (int k = 0; k < ndim; k++) {
        at[k] = lo[k] + at[k] * (inner[k] + 1);
        inside = inside && at[k] >= 0 && at[k] < z.aval.shape[k];
      }
      if (inside) t_set(&want, ravel(&z.aval, at), t_get(&in[0], i));
    }
    t_same(&z, &want);
    t_free((t_array[]){in[0], in[1], z, want}, 4);
  }
}

static void concatenated_parts_stand_in_order(void **state) {
  (void)state;
  uint64_t r = 3;
  t_array in[3] = {t_rand(BDL_I32, SHAPE(2, 3, 2), &r), t_rand(BDL_I32, SHAPE(2, 0, 2), &r),
                   t_rand(BDL_I32, SHAPE(2, 1, 2), &r)},
          z;
  OK(t_call(BDL_P_concatenate, PARAMS(bdl_pint(1)), in, 3, &z, 1));
  for (int64_t o = 0; o < 2; o++)
    for (int64_t k = 0; k < 4; k++)
      for (int64_t i = 0; i < 2; i++)
        assert_true(t_get(&z, (o * 4 + k) * 2 + i) ==
                    (k < 3 ? t_get(&in[0], (o * 3 + k) * 2 + i) : t_get(&in[2], o * 2 + i)));
  t_free(in, 3);
  t_free(&z, 1);
}

static void dynamic_slices_are_clamped(void **state) {
  (void)state;
  uint64_t r = 3;
  for (int32_t start = -2; start < 8; start++) {
    t_array in[3] = {t_rand(BDL_F32, SHAPE(5, 2), &r), t_new(BDL_I32, 0, NULL), t_new(BDL_I32, 0, NULL)}, z, y;
    const int64_t at = BDL_MAX(BDL_MIN(start, 2), 0);
    t_set(&in[1], 0, start);
    OK(t_call(BDL_P_dynamic_slice, PARAMS(INTS(3, 2)), in, 3, &z, 1));
    for (int64_t i = 0; i < 6; i++) assert_true(t_get(&z, i) == t_get(&in[0], at * 2 + i));
    t_array update[4] = {in[0], t_rand(BDL_F32, SHAPE(3, 2), &r), in[1], in[2]};
    OK(t_call(BDL_P_dynamic_update_slice, NULL, update, 4, &y, 1));
    for (int64_t i = 0; i < 10; i++) {
      const bool written = i >= at * 2 && i < at * 2 + 6;
      assert_true(t_get(&y, i) == (written ? t_get(&update[1], i - at * 2) : t_get(&in[0], i)));
    }
    t_free(update, 4);
    t_free((t_array[]){z, y}, 2);
  }
}

static void gather_and_scatter_equal_loops(void **state) {
  (void)state;
  const char *const ops[] = {"set", "add", "mul", "min", "max"};
  for (uint64_t seed = 1; seed <= 300; seed++) {
    uint64_t r = seed;
    const int64_t outer = 1 + t_below(&r, 3), n = 1 + t_below(&r, 5), inner = 1 + t_below(&r, 3), m = t_below(&r, 7);
    const bdl_dtype d = numbers[t_below(&r, 5)], wide = seed % 2 ? BDL_I32 : BDL_I64;
    const bool along = t_below(&r, 2);
    const int op = (int)(seed % 5);
    const bdl_param p[2] = {bdl_pint(1), bdl_pstr(ops[op])};
    t_array x = t_rand(d, SHAPE(outer, n, inner), &r), z, y;
    t_array i = along ? t_new(wide, SHAPE(outer, m, inner)) : t_new(wide, SHAPE(m));
    for (int64_t k = 0; k < bdl_aval_numel(&i.aval); k++) t_set(&i, k, (double)t_below(&r, n));
    t_array u = t_rand(d, SHAPE(outer, m, inner), &r), want = t_new(d, SHAPE(outer, n, inner));
    memcpy(want.data, x.data, bdl_aval_bytes(&x.aval));
    OK(t_call(along ? BDL_P_gather_along : BDL_P_gather, p, (t_array[]){x, i}, 2, &z, 1));
    OK(t_call(along ? BDL_P_scatter_along : BDL_P_scatter, p, (t_array[]){x, i, u}, 3, &y, 1));
    for (int64_t o = 0; o < outer; o++)
      for (int64_t k = 0; k < m; k++)
        for (int64_t l = 0; l < inner; l++) {
          const int64_t j = (int64_t)t_get(&i, along ? (o * m + k) * inner + l : k), to = (o * n + j) * inner + l;
          const double a = t_get(&want, to), v = t_get(&u, (o * m + k) * inner + l);
          assert_true(t_get(&z, (o * m + k) * inner + l) == t_get(&x, to));
          double w = op == 0 ? v : op == 1 ? a + v : op == 2 ? a * v : op == 3 ? fmin(a, v) : fmax(a, v);
          if (d == BDL_I32) w = (double)(int32_t)(uint32_t)(int64_t)w;
          t_set(&want, to, w);
        }
    if (op != 2 || bdl_dtype_is_float(d)) t_same(&y, &want); /* products of integers may wrap */
    t_free((t_array[]){x, i, u, z, y, want}, 6);
  }
}

static void indices_out_of_range_are_named(void **state) {
  (void)state;
  uint64_t r = 1;
  for (int bad = 0; bad < 2; bad++) {
    t_array in[3] = {t_rand(BDL_F32, SHAPE(4), &r), t_i32(3, (int32_t[]){0, bad ? 4 : -1, 1}),
                     t_rand(BDL_F32, SHAPE(3), &r)},
            z;
    const bdl_param p[2] = {bdl_pint(0), bdl_pstr("add")};
    const char *text =
        bad ? "index 4 is out of range for axis 1 with size 4" : "index -1 is out of range for axis 1 with size 4";
    t_fails(t_call(BDL_P_gather, p, in, 2, &z, 1), BDL_EINDEX, text);
    t_fails(t_call(BDL_P_gather_along, p, in, 2, &z, 1), BDL_EINDEX, text);
    t_fails(t_call(BDL_P_scatter, p, in, 3, &z, 1), BDL_EINDEX, text);
    t_fails(t_call(BDL_P_scatter_along, p, in, 3, &z, 1), BDL_EINDEX, text);
    t_free(in, 3);
  }
}

static void threads_do_not_change_bits(void **state) {
  (void)state;
  uint64_t r = 5;
  const int64_t n = 300;
  t_array x = t_rand(BDL_F32, SHAPE(n, 7, n), &r), i = t_new(BDL_I32, SHAPE(50)), u = t_rand(BDL_F32, SHAPE(n, 50, n), &r);
  for (int64_t k = 0; k < 50; k++) t_set(&i, k, (double)t_below(&r, 7));
  for (int64_t k = 0; k < bdl_aval_numel(&x.aval); k++) t_set(&x, k, t_uniform(&r));
  const struct {
    bdl_prim_id prim;
    int n_in;
    bdl_param p[2];
  } cases[] = {{BDL_P_reduce_sum, 1, {INTS(0)}},
               {BDL_P_reduce_sum, 1, {INTS(0, 2)}},
               {BDL_P_reduce_prod, 1, {INTS(2)}},
               {BDL_P_cumsum, 1, {bdl_pint(2), bdl_pint(1)}},
               {BDL_P_argmax, 1, {bdl_pint(0)}},
               {BDL_P_gather, 2, {bdl_pint(1)}},
               {BDL_P_scatter, 3, {bdl_pint(1), bdl_pstr("add")}}};
  for (int c = 0; c < BDL_LEN(cases); c++) {
    t_array one, more;
    OK(t_call(cases[c].prim, cases[c].p, (t_array[]){x, i, u}, cases[c].n_in, &one, 1));
    for (int threads = 2; threads <= 4; threads++) {
      OK(t_call(cases[c].prim, cases[c].p, (t_array[]){x, i, u}, cases[c].n_in, &more, threads));
      t_same(&one, &more);
      t_free(&more, 1);
    }
    t_free(&one, 1);
  }
  t_free((t_array[]){x, i, u}, 3);
}

static int leave(void **state) {
  (void)state;
  t_context_free();
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reductions_equal_loops),
      cmocka_unit_test(nan_wins_and_empty_is_the_identity),
      cmocka_unit_test(f32_sums_stay_accurate),
      cmocka_unit_test(integers_wrap),
      cmocka_unit_test(bool_reductions),
      cmocka_unit_test(arg_reductions),
      cmocka_unit_test(running_reductions),
      cmocka_unit_test(strided_copy_equals_loops),
      cmocka_unit_test(transposes_of_large_matrices),
      cmocka_unit_test(padding_equals_loops),
      cmocka_unit_test(concatenated_parts_stand_in_order),
      cmocka_unit_test(dynamic_slices_are_clamped),
      cmocka_unit_test(gather_and_scatter_equal_loops),
      cmocka_unit_test(indices_out_of_range_are_named),
      cmocka_unit_test(threads_do_not_change_bits),
  };
  return cmocka_run_group_tests(tests, NULL, leave);
}

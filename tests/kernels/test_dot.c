/*
** test_dot.c -- products and convolutions against plain loops.
*/
#include "call.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/row.h"
#include "cpu/tile.h"

static void unravel(const bdl_aval *a, int64_t at, int64_t *index) {
  for (int i = a->ndim - 1; i >= 0; i--) index[i] = at % a->shape[i], at /= a->shape[i];
}

static int64_t ravel(const bdl_aval *a, const int64_t *index) {
  int64_t at = 0;
  for (int i = 0; i < a->ndim; i++) at = at * a->shape[i] + index[i];
  return at;
}

static void shuffle(int64_t *v, int n, uint64_t *r) {
  for (int i = n - 1; i > 0; i--) {
    const int64_t k = t_below(r, i + 1), t = v[i];
    v[i] = v[k], v[k] = t;
  }
}

/* Any layout of batch, free and contracted axes. */
static void dot_equals_loops(void **state) {
  (void)state;
  const bdl_dtype dtypes[] = {BDL_F32, BDL_F64, BDL_I32, BDL_U32, BDL_I64, BDL_BOOL};
  for (uint64_t seed = 1; seed <= 500; seed++) {
    uint64_t r = seed;
    const bdl_dtype d = dtypes[seed % 6];
    const int n_batch = (int)t_below(&r, 3), n_sum = (int)t_below(&r, 3),
              n_free[2] = {(int)t_below(&r, 3), (int)t_below(&r, 3)};
    int64_t shared[4], list[2][2][2]; /* side, batch or sum, axes */
    const int64_t most = seed % 7 == 0 ? 24 : 5;
    for (int i = 0; i < n_batch + n_sum; i++) shared[i] = t_below(&r, 20) == 0 ? 0 : 1 + t_below(&r, most);
    t_array in[2];
    for (int s = 0; s < 2; s++) {
      const int ndim = n_batch + n_sum + n_free[s];
      int64_t axes[6], shape[6];
      for (int i = 0; i < ndim; i++) axes[i] = i, shape[i] = 1 + t_below(&r, most);
      if (t_below(&r, 3)) shuffle(axes, ndim, &r);
      for (int i = 0; i < n_batch; i++) list[s][0][i] = axes[i], shape[axes[i]] = shared[i];
      for (int i = 0; i < n_sum; i++) list[s][1][i] = axes[n_batch + i], shape[axes[n_batch + i]] = shared[n_batch + i];
      in[s] = t_rand(d, ndim, shape, &r);
    }
    const bdl_param p[4] = {bdl_pints(list[0][1], n_sum), bdl_pints(list[1][1], n_sum), bdl_pints(list[0][0], n_batch),
                            bdl_pints(list[1][0], n_batch)};
    t_array z;
    OK(t_call(BDL_P_dot, p, in, 2, &z, 1 + (int)t_below(&r, 3)));
    t_array want = t_new(d, z.aval.ndim, z.aval.shape);
    int64_t terms = 1;
    for (int i = 0; i < n_sum; i++) terms *= shared[n_batch + i];
    for (int64_t o = 0; o < bdl_aval_numel(&z.aval); o++) {
      int64_t at[8], index[2][6] = {{0}};
      double sum = 0;
      unravel(&z.aval, o, at);
      for (int s = 0, next = n_batch; s < 2; s++)
        for (int i = 0; i < in[s].aval.ndim; i++) {
          bool used = false;
          for (int k = 0; k < n_batch; k++)
            if (list[s][0][k] == i) index[s][i] = at[k], used = true;
          for (int k = 0; k < n_sum; k++) used = used || list[s][1][k] == i;
          if (!used) index[s][i] = at[next++];
        }
      for (int64_t t = 0; t < terms; t++) {
        for (int64_t k = n_sum - 1, left = t; k >= 0; k--) {
          for (int s = 0; s < 2; s++) index[s][list[s][1][k]] = left % shared[n_batch + k];
          left /= shared[n_batch + k];
        }
        sum += t_get(&in[0], ravel(&in[0].aval, index[0])) * t_get(&in[1], ravel(&in[1].aval, index[1]));
      }
      t_set(&want, o, d == BDL_BOOL ? sum > 0 : sum);
    }
    t_near(&z, &want, 1e-5, 1e-5);
    t_free((t_array[]){in[0], in[1], z, want}, 4);
  }
}

static t_array uniform(bdl_dtype d, int ndim, const int64_t *shape, uint64_t *r) {
  t_array a = t_new(d, ndim, shape);
  for (int64_t i = 0; i < bdl_aval_numel(&a.aval); i++) t_set(&a, i, 2 * t_uniform(r) - 1);
  return a;
}

static void large_products_are_right_and_repeat(void **state) {
  (void)state;
  const int64_t sizes[][3] = {{1, 700, 900}, {700, 1, 900}, {300, 1100, 65}, {513, 40, 70}, {16, 2100, 33}};
  uint64_t r = 1;
  for (int s = 0; s < BDL_LEN(sizes); s++)
    for (int trans = 0; trans < 4; trans++) {
      const int64_t m = sizes[s][0], n = sizes[s][1], k = sizes[s][2];
      const bool tx = trans & 1, ty = trans & 2;
      t_array in[2] = {uniform(BDL_F32, SHAPE(tx ? k : m, tx ? m : k), &r),
                       uniform(BDL_F32, SHAPE(ty ? n : k, ty ? k : n), &r)};
      t_array z, y;
      const bdl_param p[4] = {INTS(tx ? 0 : 1), INTS(ty ? 1 : 0), NONE, NONE};
      OK(t_call(BDL_P_dot, p, in, 2, &z, 1));
      for (int check = 0; check < 200; check++) {
        const int64_t i = t_below(&r, m), j = t_below(&r, n);
        double sum = 0;
        for (int64_t q = 0; q < k; q++)
          sum += t_get(&in[0], tx ? q * m + i : i * k + q) * t_get(&in[1], ty ? j * k + q : q * n + j);
        assert_true(fabs(t_get(&z, i * n + j) - sum) < 1e-4);
      }
      for (int threads = 2; threads <= 4; threads++) {
        OK(t_call(BDL_P_dot, p, in, 2, &y, threads));
        t_same(&z, &y);
        t_free(&y, 1);
      }
      t_free((t_array[]){in[0], in[1], z}, 3);
    }
}

/* Every instruction set gives the bits of the plain loop, for any listed terms; rows end anywhere. */
static void a_row_is_the_plain_loop(void **state) {
  (void)state;
  static const char *const isas[] = {"avx512", "avx2", "x86-64", "aarch64", "generic"};
  uint64_t r = 3;
  for (int t = 0; t < 300; t++) {
    const bdl_dtype d = t % 2 ? BDL_F32 : BDL_F64;
    const int64_t n = 1 + t_below(&r, 150), k = t_below(&r, 40), every = 1 + t_below(&r, 3);
    const bool across = t % 3 == 0; /* stored [n, k] */
    int32_t ids[40];
    int64_t n_ids = 0;
    t_array x = uniform(d, SHAPE(k), &r), y = uniform(d, SHAPE(across ? n : k, across ? k : n), &r), want = t_new(d, SHAPE(n));
    for (int64_t p = 0; p < k; p++)
      if (across || t_below(&r, every) == 0) ids[n_ids++] = (int32_t)p;
    for (int64_t j = 0; j < n; j++)
      for (int64_t q = 0; q < n_ids; q++) {
        const double a = t_get(&x, ids[q]), b = t_get(&y, across ? j * k + ids[q] : ids[q] * n + j);
        const volatile float product = (float)a * (float)b, sum = (float)t_get(&want, j) + product;
        const volatile double wide = a * b;
        t_set(&want, j, d == BDL_F32 ? sum : t_get(&want, j) + wide);
      }
    for (int i = 0; i < BDL_LEN(isas); i++) {
      const bdl_k_table *table = bdl_k_select(isas[i]);
      t_array z = t_new(d, SHAPE(n));
      if (table) {
        table->row[d](&(bdl_k_row){.z = z.data, .x = x.data, .y = y.data, .n = n, .k = n_ids, .xp = 1, .yp = across ? 1 : n,
                                   .yj = across ? k : 1, .ids = across ? NULL : ids});
        t_same(&z, &want);
      }
      t_free(&z, 1);
    }
    t_free((t_array[]){x, y, want}, 3);
  }
}

static void sparse_products_are_products(void **state) {
  (void)state;
  const bdl_param p[4] = {INTS(1), INTS(0), NONE, NONE};
  uint64_t r = 1;
  for (int t = 0; t < 200; t++) {
    const bdl_dtype d = t % 2 ? BDL_F32 : BDL_F64;
    const int64_t m = 1 + t_below(&r, 5), k = t_below(&r, 60), n = 1 + t_below(&r, 60), rare = 1 + t_below(&r, 8);
    t_array in[3] = {uniform(d, SHAPE(m, k), &r), uniform(d, SHAPE(k, n), &r), t_new(BDL_BOOL, 0, NULL)}, z, want;
    for (int64_t i = 0; i < m * k; i++)
      if (t_below(&r, rare)) t_set(&in[0], i, t_below(&r, 2) ? 0.0 : -0.0);
    const bool finite = t % 5 || k == 0;
    if (!finite) t_set(&in[1], t_below(&r, k * n), t % 10 ? HUGE_VAL : (double)NAN);
    t_set(&in[2], 0, finite);
    OK(t_call(BDL_P_dot, p, in, 2, &want, 1));
    OK(t_call(BDL_P_sparse_dot, p, in, 3, &z, 1));
    if (finite) t_same(&z, &want);
    else t_near(&z, &want, 0, 0);
    t_free((t_array[]){in[0], in[1], in[2], z, want}, 5);
  }
}

static void sparse_products_look_at_what_is_not_zero(void **state) {
  (void)state;
  uint64_t r = 1;
  t_array in[3] = {t_new(BDL_F32, SHAPE(1, 8)), uniform(BDL_F32, SHAPE(8, 20), &r), t_new(BDL_BOOL, 0, NULL)}, z;
  t_set(&in[0], 3, 1);
  for (int64_t j = 0; j < 20; j++) t_set(&in[1], j, (double)NAN); /* a row that 0 stands for; and a promise that it is finite */
  t_set(&in[2], 0, 1);
  OK(t_call(BDL_P_sparse_dot, PARAMS(INTS(1), INTS(0), NONE, NONE), in, 3, &z, 1));
  for (int64_t j = 0; j < 20; j++) assert_true(t_get(&z, j) == t_get(&in[1], 60 + j));
  t_free((t_array[]){in[0], in[1], in[2], z}, 4);
}

static void mismatched_products_name_both_sides(void **state) {
  (void)state;
  uint64_t r = 1;
  t_array in[2] = {uniform(BDL_F32, SHAPE(2, 3), &r), uniform(BDL_F32, SHAPE(4, 2), &r)}, z;
  t_fails(t_call(BDL_P_dot, PARAMS(INTS(1), INTS(0), NONE, NONE), in, 2, &z, 1), BDL_ESHAPE,
          "dot: axis 1 of f32[2,3] and axis 0 of f32[4,2] differ");
  t_free(in, 2);
}

/* ---- conv */

static void conv_equals_loops(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 300; seed++) {
    uint64_t r = seed;
    const int nd = 1 + (int)(seed % 3);
    const int64_t groups = 1 + t_below(&r, 3), ci = 1 + t_below(&r, 3), co = 1 + t_below(&r, seed % 4 == 0 ? 12 : 3);
    int64_t xs[5] = {1 + t_below(&r, 2)}, fs[5], stride[3], lo[3], hi[3], gap[3], step[3];
    for (int i = 0; i < nd; i++) {
      xs[i + 1] = 1 + t_below(&r, 6), fs[i] = 1 + t_below(&r, 3);
      stride[i] = 1 + t_below(&r, 3), gap[i] = 1 + t_below(&r, 2), step[i] = 1 + t_below(&r, 2);
      lo[i] = t_below(&r, 4) - 1, hi[i] = t_below(&r, 4) - 1;
      if (seed % 10 == 0) fs[i] = stride[i] = gap[i] = 1, lo[i] = hi[i] = 0;
    }
    xs[nd + 1] = groups * ci, fs[nd] = ci, fs[nd + 1] = groups * co;
    const bdl_dtype d = seed % 2 ? BDL_F32 : BDL_F64;
    t_array in[2] = {t_rand(d, nd + 2, xs, &r), t_rand(d, nd + 2, fs, &r)}, z, y;
    const bdl_param p[6] = {bdl_pints(stride, nd), bdl_pints(lo, nd),   bdl_pints(hi, nd),
                            bdl_pints(gap, nd),    bdl_pints(step, nd), bdl_pint(groups)};
    OK(t_call(BDL_P_conv, p, in, 2, &z, 1));
    t_array want = t_new(d, nd + 2, z.aval.shape);
    for (int64_t o = 0; o < bdl_aval_numel(&z.aval); o++) {
      int64_t at[5], f[5], x[5];
      unravel(&z.aval, o, at);
      for (int64_t t = 0; t < bdl_aval_numel(&in[1].aval); t++) {
        unravel(&in[1].aval, t, f);
        if (f[nd + 1] != at[nd + 1]) continue;
        bool inside = true;
        x[0] = at[0];
        for (int i = 0; i < nd; i++) {
          const int64_t q = at[i + 1] * stride[i] + f[i] * step[i] - lo[i];
          inside = inside && q >= 0 && q % gap[i] == 0 && q / gap[i] < xs[i + 1] && q < (xs[i + 1] - 1) * gap[i] + 1;
          x[i + 1] = q / gap[i];
        }
        x[nd + 1] = at[nd + 1] / co * ci + f[nd];
        if (inside) t_set(&want, o, t_get(&want, o) + t_get(&in[0], ravel(&in[0].aval, x)) * t_get(&in[1], t));
      }
    }
    t_near(&z, &want, 1e-5, 1e-5);
    OK(t_call(BDL_P_conv, p, in, 2, &y, 3));
    t_same(&z, &y);
    t_free((t_array[]){in[0], in[1], z, y, want}, 5);
  }
}

static int leave(void **state) {
  (void)state;
  t_context_free();
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(dot_equals_loops),
      cmocka_unit_test(large_products_are_right_and_repeat),
      cmocka_unit_test(a_row_is_the_plain_loop),
      cmocka_unit_test(sparse_products_are_products),
      cmocka_unit_test(sparse_products_look_at_what_is_not_zero),
      cmocka_unit_test(mismatched_products_name_both_sides),
      cmocka_unit_test(conv_equals_loops),
  };
  return cmocka_run_group_tests(tests, NULL, leave);
}

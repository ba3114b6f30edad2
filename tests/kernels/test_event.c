/*
** test_event.c -- products with events equal dense products; regenerated matrices are one matrix both ways.
*/
#include "call.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const bdl_dtype event_dtypes[] = {BDL_BOOL, BDL_F32, BDL_I32, BDL_F64};

/* 0, 1, and in numbers also 2.5 and -1, which do not count */
static t_array events(bdl_dtype d, int ndim, const int64_t *shape, uint64_t *r) {
  t_array s = t_new(d, ndim, shape);
  for (int64_t i = 0; i < bdl_aval_numel(&s.aval); i++)
    t_set(&s, i, d == BDL_BOOL ? (double)t_below(r, 2) : (double[]){0, 1, 2.5, -1}[t_below(r, 4)]);
  return s;
}

/* z = v w or, transposed, v w' with dense w [m, n]; event: v counts as 0/1 */
static t_array dense(const t_array *v, const t_array *w, bool transpose, bool event) {
  const int64_t m = w->aval.shape[0], n = w->aval.shape[1], len = transpose ? n : m, out = transpose ? m : n;
  bdl_aval a = v->aval;
  a.shape[a.ndim - 1] = out;
  t_array z = t_new(w->aval.dtype, a.ndim, a.shape);
  for (int64_t b = 0; b < (a.ndim == 2 ? a.shape[0] : 1); b++)
    for (int64_t o = 0; o < out; o++) {
      double sum = 0;
      for (int64_t i = 0; i < len; i++) {
        const double x = t_get(v, b * len + i), at = t_get(w, transpose ? o * n + i : i * n + o);
        sum += event ? (x > 0 ? at : 0) : x * at;
      }
      t_set(&z, b * out + o, sum);
    }
  return z;
}

static void event_dot_equals_dense(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 200; seed++) {
    uint64_t r = seed;
    const int64_t m = t_below(&r, 20), n = t_below(&r, 20), batch = 1 + t_below(&r, 3);
    const bool transpose = seed & 1, batched = seed & 2;
    const bdl_dtype d = (bdl_dtype[]){BDL_F32, BDL_F64, BDL_I32}[seed % 3];
    const int64_t len = transpose ? n : m;
    t_array in[2] = {events(event_dtypes[t_below(&r, 4)], batched ? 2 : 1, batched ? (int64_t[]){batch, len} : &len, &r),
                     t_rand(d, SHAPE(m, n), &r)};
    t_array want = dense(&in[0], &in[1], transpose, true), z;
    OK(t_call(BDL_P_event_dot, PARAMS(bdl_pint(transpose)), in, 2, &z, 2));
    t_near(&z, &want, 0, 0); /* quarters add up exactly */
    t_free((t_array[]){in[0], in[1], z, want}, 4);
  }
}

/* Sums that are rounded: ascending, one vector or many, few events or more than columns of w. */
static void event_dot_adds_in_order(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 60; seed++) {
    uint64_t r = seed;
    const int64_t m = 1 + t_below(&r, 200), n = 1 + t_below(&r, 90), batch = 1 + t_below(&r, 12);
    const bool transpose = seed & 1;
    const bdl_dtype d = seed & 2 ? BDL_F32 : BDL_F64;
    const int64_t len = transpose ? n : m, out = transpose ? m : n;
    t_array in[2] = {events(BDL_BOOL, 2, (int64_t[]){batch, len}, &r), t_new(d, SHAPE(m, n))}, z;
    for (int64_t k = 0; k < m * n; k++) t_set(&in[1], k, (double)t_below(&r, 1000) / 7.0 - 60.0);
    OK(t_call(BDL_P_event_dot, PARAMS(bdl_pint(transpose)), in, 2, &z, 2));
    for (int64_t b = 0; b < batch; b++)
      for (int64_t o = 0; o < out; o++) {
        double sum = 0;
        for (int64_t i = 0; i < len; i++)
          if (t_get(&in[0], b * len + i) > 0) {
            sum += t_get(&in[1], transpose ? o * n + i : i * n + o);
            if (d == BDL_F32) sum = (float)sum;
          }
        assert_true(t_get(&z, b * out + o) == sum);
      }
    t_free((t_array[]){in[0], in[1], z}, 3);
  }
}

/* A sparse matrix in all its forms, and dense. */
typedef struct sparse {
  int64_t m, n;
  t_array w, data, indices, indptr;
} sparse;

static sparse random_sparse(bdl_dtype d, bool shared, bool fixed, uint64_t *r) {
  sparse s = {.m = 1 + t_below(r, 12), .n = 1 + t_below(r, 12)};
  const int64_t fan = t_below(r, s.n + 1);
  int32_t *index = malloc((size_t)(s.m * s.n) * sizeof *index);
  int64_t nnz = 0;
  const bdl_dtype wide = t_below(r, 2) ? BDL_I64 : BDL_I32;
  s.indptr = fixed ? t_new(wide, SHAPE(2)) : t_new(wide, SHAPE(s.m + 1));
  for (int64_t i = 0; i < s.m; i++) {
    int64_t left = fan;
    for (int64_t j = 0; j < s.n; j++)
      if (fixed ? left > 0 && (t_below(r, s.n - j) < left) : t_below(r, 3) == 0) index[nnz++] = (int32_t)j, left--;
    if (!fixed) t_set(&s.indptr, i + 1, (double)nnz);
  }
  if (fixed) t_set(&s.indptr, 1, (double)fan);
  s.indices = t_i32(nnz, index);
  s.data = t_rand(d, SHAPE(shared ? 1 : nnz), r);
  s.w = t_new(d, SHAPE(s.m, s.n));
  for (int64_t i = 0, k = 0; i < s.m; i++)
    for (const int64_t end = fixed ? (i + 1) * fan : (int64_t)t_get(&s.indptr, i + 1); k < end; k++)
      t_set(&s.w, i * s.n + index[k], t_get(&s.data, shared ? 0 : k));
  free(index);
  return s;
}

static void free_sparse(sparse *s) {
  t_free((t_array[]){s->w, s->data, s->indices, s->indptr}, 4);
}

enum { PATTERN = 1 << 2 | 1 << 3, WEIGHTS = 1 << 1 }; /* indices and indptr, data are known beforehand */
static const uint32_t known_ways[] = {0, PATTERN, PATTERN | WEIGHTS};

static void csr_dot_equals_dense(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 600; seed++) {
    uint64_t r = seed;
    const bdl_dtype d = (bdl_dtype[]){BDL_F32, BDL_F64, BDL_I32}[seed % 3];
    const bool transpose = t_below(&r, 2), event = t_below(&r, 2), batched = t_below(&r, 2);
    sparse s = random_sparse(d, t_below(&r, 2), t_below(&r, 2), &r);
    const int64_t len = transpose ? s.n : s.m, shape[2] = {3, len};
    const int ndim = batched ? 2 : 1;
    t_array v =
        event ? events(event_dtypes[t_below(&r, 4)], ndim, shape + 2 - ndim, &r) : t_rand(d, ndim, shape + 2 - ndim, &r);
    t_array want = dense(&v, &s.w, transpose, event), z;
    const bdl_param p[4] = {bdl_pint(s.m), bdl_pint(s.n), bdl_pint(transpose), bdl_pint(event)};
    for (int known = 0; known < BDL_LEN(known_ways); known++) {
      OK(t_call_knowing(known_ways[known], BDL_P_csr_dot, p, (t_array[]){v, s.data, s.indices, s.indptr}, 4, &z, 2));
      t_near(&z, &want, 0, 0);
      t_free(&z, 1);
    }
    t_free((t_array[]){v, want}, 2);
    free_sparse(&s);
  }
}

static void csr_scatter_adds_listed_rows_or_columns(void **state) {
  (void)state;
  for (int form = 0; form < 16; form++) {
    uint64_t r = (uint64_t)form + 9;
    const bool transpose = form & 1, known = form & 2, fixed = form & 4, shared = form & 8;
    sparse s = random_sparse(BDL_F32, shared, fixed, &r);
    const int64_t n = transpose ? s.m : s.n, events = transpose ? s.n : s.m;
    t_array y = t_rand(BDL_F32, SHAPE(n), &r), ids = t_i32(2, (int32_t[]){0, (int32_t)events - 1}), count = t_new(BDL_I32, 0, NULL), z;
    t_set(&count, 0, 1); /* the second is not counted */
    const bdl_param p[3] = {bdl_pint(s.m), bdl_pint(s.n), bdl_pint(transpose)};
    OK(t_call_knowing(known ? 1 << 4 | 1 << 5 : 0, BDL_P_csr_scatter, p, (t_array[]){y, ids, count, s.data, s.indices, s.indptr}, 6,
                      &z, 2));
    for (int64_t j = 0; j < n; j++) assert_true(t_get(&z, j) == t_get(&y, j) + t_get(&s.w, transpose ? j * s.n : j));
    t_free((t_array[]){y, ids, count, z}, 4);
    free_sparse(&s);
  }
}

static void csr_outer_is_the_product_on_the_pattern(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 100; seed++) {
    uint64_t r = seed;
    const bool event = seed & 1, batched = seed & 2;
    sparse s = random_sparse(BDL_F64, false, seed & 4, &r);
    const int ndim = batched ? 2 : 1;
    const int64_t a_shape[2] = {3, s.m}, b_shape[2] = {3, s.n}, batch = batched ? 3 : 1;
    t_array a = event ? events(BDL_BOOL, ndim, a_shape + 2 - ndim, &r) : t_rand(BDL_F64, ndim, a_shape + 2 - ndim, &r);
    t_array b = t_rand(BDL_F64, ndim, b_shape + 2 - ndim, &r), z;
    const bdl_param p[3] = {bdl_pint(s.m), bdl_pint(s.n), bdl_pint(event)};
    OK(t_call(BDL_P_csr_outer, p, (t_array[]){a, b, s.indices, s.indptr}, 4, &z, 2));
    const int64_t nnz = s.indices.aval.shape[0];
    for (int64_t i = 0, k = 0; i < s.m; i++)
      for (; k < nnz && (seed & 4 ? k < (i + 1) * (nnz / s.m) : k < (int64_t)t_get(&s.indptr, i + 1)); k++) {
        double sum = 0;
        for (int64_t l = 0; l < batch; l++)
          sum += t_get(&a, l * s.m + i) * t_get(&b, l * s.n + ((int32_t *)s.indices.data)[k]);
        assert_true(t_get(&z, k) == sum);
      }
    t_free((t_array[]){a, b, z}, 3);
    free_sparse(&s);
  }
}

/* Rows of any length, some empty, with repetition; large enough for threads. */
static sparse large_sparse(int64_t cols, bool shared, bool sorted, uint64_t *r) {
  sparse s = {.m = 1500, .n = cols};
  s.indptr = t_new(BDL_I32, SHAPE(s.m + 1));
  for (int64_t i = 0; i < s.m; i++) t_set(&s.indptr, i + 1, t_get(&s.indptr, i) + (i % 7 == 0 ? 0 : (double)t_below(r, 120)));
  const int64_t nnz = (int64_t)t_get(&s.indptr, s.m);
  s.indices = t_new(BDL_I32, SHAPE(nnz));
  int32_t *index = s.indices.data;
  for (int64_t i = 0; i < s.m; i++)
    for (int64_t k = (int64_t)t_get(&s.indptr, i), first = k; k < (int64_t)t_get(&s.indptr, i + 1); k++) {
      const int32_t j = (int32_t)t_below(r, cols);
      index[k] = sorted && k > first && j < index[k - 1] ? index[k - 1] : j;
    }
  s.data = t_new(BDL_F32, SHAPE(shared ? 1 : nnz));
  for (int64_t k = 0; k < (shared ? 1 : nnz); k++) t_set(&s.data, k, t_uniform(r) - 0.3);
  s.w = t_new(BDL_F32, SHAPE(0));
  return s;
}

/* A s goes by columns where they are known: where rows are out of order, and weights differ, sums have another order then. */
static void threads_and_preparation_change_no_bit(void **state) {
  (void)state;
  for (int form = 0; form < 64; form++) {
    uint64_t r = (uint64_t)form + 1;
    const bool transpose = form & 1, event = form & 2, shared = form & 4, sorted = form & 8, batched = form & 32;
    sparse s = large_sparse(form & 16 ? 70000 : 5000, shared, sorted, &r);
    const int64_t len = transpose ? s.n : s.m, shape[2] = {batched ? 5 : 1, len};
    t_array v = t_new(BDL_F32, 1 + batched, shape + !batched), want = {0}, got;
    for (int64_t i = 0; i < shape[0] * len; i++) t_set(&v, i, t_uniform(&r) - 0.2);
    const bdl_param p[4] = {bdl_pint(s.m), bdl_pint(s.n), bdl_pint(transpose), bdl_pint(event)};
    t_array in[4] = {v, s.data, s.indices, s.indptr};
    assert_true(s.indices.aval.shape[0] > 65536);
    OK(t_call(BDL_P_csr_dot, p, in, 4, &want, 1));
    for (int way = 0; way < BDL_LEN(known_ways); way++)
      for (int threads = 1; threads <= 4; threads += way + 1) {
        OK(t_call_knowing(known_ways[way], BDL_P_csr_dot, p, in, 4, &got, threads));
        if (way == 1 && threads == 1 && transpose && event && !shared && !sorted) {
          t_near(&got, &want, 1e-4, 1e-5);
          t_free(&want, 1);
          want = got;
          continue;
        }
        t_same(&got, &want);
        t_free(&got, 1);
      }
    t_free((t_array[]){v, want}, 2);
    free_sparse(&s);
  }
}

/* w by the rule of events, each weight for itself: the row and the column of weight k of entry e. */
static double learned(double w, double x, double gain, double low, double high) { return fmin(fmax(w + gain * x, low), high); }

static t_array number(bdl_dtype d, double v) {
  t_array a = t_new(d, 0, NULL);
  t_set(&a, 0, v);
  return a;
}

static void only_weights_of_events_learn(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 100; seed++) {
    uint64_t r = seed;
    const bool transpose = seed & 1, same = seed & 2;
    const bdl_dtype d = (bdl_dtype[]){BDL_F32, BDL_F64, BDL_I32}[seed % 3];
    const int64_t m = 1 + t_below(&r, 20), n = 1 + t_below(&r, 20), spiking = transpose ? n : m;
    const int32_t ids[2] = {(int32_t)t_below(&r, spiking), (int32_t)(spiking - 1)};
    const int64_t count = ids[0] == ids[1] ? 1 : 2;
    t_array w = t_rand(d, SHAPE(m, n), &r), x = t_rand(d, SHAPE(transpose ? m : n), &r), gain = t_rand(d, SHAPE(same ? 1 : spiking), &r);
    t_array in[7] = {w, t_i32(2, ids), number(BDL_I32, (double)count), x, gain, number(d, -2), number(d, 3)}, z;
    OK(t_call(BDL_P_event_learn, PARAMS(bdl_pint(transpose)), in, 7, &z, 2));
    for (int64_t i = 0; i < m; i++)
      for (int64_t j = 0; j < n; j++) {
        const int64_t s = transpose ? j : i;
        const double old = t_get(&w, i * n + j), now = t_get(&z, i * n + j);
        const bool active = s == ids[0] || s == ids[count - 1];
        assert_true(now == (active ? learned(old, t_get(&x, transpose ? i : j), t_get(&gain, same ? 0 : s), -2, 3) : old));
      }
    t_free(in, 7);
    t_free(&z, 1);
  }
}

/* The same entries by rows, and at places that turn their order round, for any threads, known or not. */
static void sparse_weights_learn_where_they_stand(void **state) {
  (void)state;
  for (int form = 0; form < 8; form++) {
    uint64_t r = (uint64_t)form + 1;
    const bool same = form & 1, placed = form & 2;
    sparse s = large_sparse(form & 4 ? 70000 : 5000, false, false, &r);
    const int64_t nnz = s.indices.aval.shape[0], count = s.m / 2;
    t_array ids = t_new(BDL_I32, SHAPE(s.m)), x = t_new(BDL_F32, SHAPE(s.n)), gain = t_new(BDL_F32, SHAPE(same ? 1 : s.m));
    t_array places = t_new(BDL_I32, SHAPE(nnz)), z;
    for (int64_t i = 0; i < count; i++) t_set(&ids, i, (double)(2 * i));
    for (int64_t j = 0; j < s.n; j++) t_set(&x, j, t_uniform(&r) - 0.5);
    for (int64_t i = 0; i < (same ? 1 : s.m); i++) t_set(&gain, i, t_uniform(&r));
    for (int64_t k = 0; k < nnz; k++) t_set(&places, k, (double)(nnz - 1 - k));
    t_array in[10] = {s.data, ids, number(BDL_I32, (double)count), x, gain, number(BDL_F32, -0.2), number(BDL_F32, 0.5), s.indices,
                      s.indptr, places};
    for (int way = 0; way < 2; way++)
      for (int threads = 1; threads <= 4; threads += 1 + (threads == 2)) {
        OK(t_call_knowing(way ? 1 << 7 | 1 << 8 : 0, BDL_P_csr_learn, (bdl_param[]){bdl_pint(s.m), bdl_pint(s.n)}, in, placed ? 10 : 9,
                          &z, threads));
        const float *w = s.data.data, *xs = x.data, *gains = gain.data, *now = z.data;
        for (int64_t i = 0; i < s.m; i++)
          for (int64_t k = (int64_t)t_get(&s.indptr, i); k < (int64_t)t_get(&s.indptr, i + 1); k++) {
            const int64_t at = placed ? nnz - 1 - k : k;
            const float raw = w[at] + gains[same ? 0 : i] * xs[((int32_t *)s.indices.data)[k]], up = raw < -0.2F ? -0.2F : raw;
            assert_true(now[at] == (i % 2 || i / 2 >= count ? w[at] : up > 0.5F ? 0.5F : up));
          }
        t_free(&z, 1);
      }
    t_free((t_array[]){ids, in[2], x, gain, in[5], in[6], places}, 7);
    free_sparse(&s);
  }
}

static void wrong_learning_is_an_error(void **state) {
  (void)state;
  const struct {
    double id, count, place;
    const char *text;
  } cases[] = {{7, 1, 0, "csr_learn: row 7"}, {-1, 1, 0, "row -1"}, {0, 4, 0, "4 of 1 ids"}, {0, 1, 2, "place 2"}, {0, 1, -1, "place -1"}};
  for (int c = 0; c < BDL_LEN(cases); c++) {
    t_array in[10] = {t_new(BDL_F32, SHAPE(2)), t_new(BDL_I32, SHAPE(1)), number(BDL_I32, cases[c].count), t_new(BDL_F32, SHAPE(3)),
                      t_new(BDL_F32, SHAPE(1)), number(BDL_F32, 0), number(BDL_F32, 1), t_i32(2, (int32_t[]){0, 1}),
                      t_i32(2, (int32_t[]){0, 1}), t_new(BDL_I32, SHAPE(2))}, z;
    t_set(&in[1], 0, cases[c].id);
    t_set(&in[9], 0, cases[c].place);
    t_fails(t_call(BDL_P_csr_learn, PARAMS(bdl_pint(2), bdl_pint(3)), in, 10, &z, 1), BDL_EINDEX, cases[c].text);
    t_free(in, 10);
  }
  t_array in[7] = {t_new(BDL_F32, SHAPE(2, 3)), t_i32(1, (int32_t[]){2}), number(BDL_I32, 1), t_new(BDL_F32, SHAPE(3)),
                   t_new(BDL_F32, SHAPE(2)), number(BDL_F32, 0), number(BDL_F32, 1)}, z;
  t_fails(t_call(BDL_P_event_learn, PARAMS(bdl_pint(0)), in, 7, &z, 1), BDL_EINDEX, "event_learn: row 2");
  t_fails(t_call(BDL_P_event_learn, PARAMS(bdl_pint(1)), in, 7, &z, 1), BDL_ESHAPE, "x is f32[3], not f32[2]");
  t_free(in, 7);
}

static void no_events_and_all(void **state) {
  (void)state;
  for (int form = 0; form < 8; form++) {
    uint64_t r = (uint64_t)form + 5;
    const bool transpose = form & 1, all = form & 2, shared = form & 4;
    sparse s = random_sparse(BDL_F64, shared, false, &r);
    const int64_t len = transpose ? s.n : s.m;
    t_array v = t_new(BDL_BOOL, SHAPE(len)), z;
    for (int64_t i = 0; i < len; i++) t_set(&v, i, all);
    t_array want = dense(&v, &s.w, transpose, true);
    const bdl_param p[4] = {bdl_pint(s.m), bdl_pint(s.n), bdl_pint(transpose), bdl_pint(1)};
    OK(t_call_knowing(PATTERN, BDL_P_csr_dot, p, (t_array[]){v, s.data, s.indices, s.indptr}, 4, &z, 1));
    t_near(&z, &want, 0, 0);
    t_free((t_array[]){v, z, want}, 3);
    free_sparse(&s);
  }
}

static void wrong_matrices_are_errors(void **state) {
  (void)state;
  const struct {
    int32_t indices[3], indptr[3];
    const char *text;
  } cases[] = {{{0, 9, 1}, {0, 2, 3}, "column index 9"},
               {{0, -1, 1}, {0, 2, 3}, "column index -1"},
               {{0, 1, 1}, {0, 2, 4}, "row pointer 4"},
               {{0, 1, 1}, {-1, 2, 3}, "row pointer -1"},
               {{0, 1, 1}, {2, 1, 3}, "row pointer 1"}};
  for (int c = 0; c < BDL_LEN(cases); c++)
    for (int form = 0; form < 4; form++) {
      const bool transpose = form & 1, event = form & 2;
      t_array v = t_new(BDL_F32, SHAPE(2)), data = t_new(BDL_F32, SHAPE(3)), z;
      t_set(&v, 0, 1), t_set(&v, 1, 1);
      t_array in[4] = {v, data, t_i32(3, cases[c].indices), t_i32(3, cases[c].indptr)};
      const bdl_param p[4] = {bdl_pint(2), bdl_pint(2), bdl_pint(transpose), bdl_pint(event)};
      for (int known = 0; known < 2; known++) {
        const uint32_t k = known ? PATTERN : 0;
        t_fails(t_call_knowing(k, BDL_P_csr_dot, p, in, 4, &z, 1), BDL_EINDEX, cases[c].text);
        t_fails(t_call_knowing(k, BDL_P_csr_outer, p, (t_array[]){v, v, in[2], in[3]}, 4, &z, 1), BDL_EINDEX, cases[c].text);
      }
      t_free(in, 4);
    }
  t_array y = t_new(BDL_F32, SHAPE(2)), ids = t_i32(1, (int32_t[]){7}), count = t_new(BDL_I32, 0, NULL), z;
  t_array indices = t_i32(2, (int32_t[]){0, 1}), indptr = t_i32(2, (int32_t[]){0, 1});
  t_array in[6] = {y, ids, count, y, indices, indptr};
  t_set(&count, 0, 1);
  bdl_param p[3] = {bdl_pint(2), bdl_pint(2), bdl_pint(0)};
  t_fails(t_call(BDL_P_csr_scatter, p, in, 6, &z, 1), BDL_EINDEX, "row 7");
  p[2] = bdl_pint(1);
  t_fails(t_call(BDL_P_csr_scatter, p, in, 6, &z, 1), BDL_EINDEX, "column 7");
  p[2] = bdl_pint(0);
  t_set(&count, 0, 2);
  t_fails(t_call(BDL_P_csr_scatter, p, in, 6, &z, 1), BDL_EINDEX, "2 of 1 ids");
  t_set(&indptr, 1, 2);
  t_fails(t_call(BDL_P_csr_scatter, p, in, 6, &z, 1), BDL_EINDEX, "2 rows of 2 entries are not the 2 entries stored");
  t_free((t_array[]){y, ids, count, indices, indptr}, 5);
}

/* ---- just-in-time connectivity */

static t_array jitc_by(int threads, const t_array *v, const char *kind, double p0, double p1, int64_t seed, int64_t m, int64_t n,
                       bool transpose, bool event) {
  t_array in[4] = {*v, t_new(BDL_F64, 0, NULL), t_new(BDL_F64, 0, NULL), t_new(BDL_I64, 0, NULL)}, z;
  t_set(&in[1], 0, p0), t_set(&in[2], 0, p1);
  *(int64_t *)in[3].data = seed;
  const bdl_param p[5] = {bdl_pint(m), bdl_pint(n), bdl_pint(transpose), bdl_pint(event), bdl_pstr(kind)};
  OK(t_call(BDL_P_jitc_dot, p, in, 4, &z, threads));
  t_free(in + 1, 3);
  return z;
}

static t_array jitc(const t_array *v, const char *kind, double p0, double p1, int64_t seed, int64_t m, int64_t n,
                    bool transpose, bool event) {
  return jitc_by(2, v, kind, p0, p1, seed, m, n, transpose, event);
}

/* Rows are more than the lists that threads draw at a time. */
static void jitc_threads_change_no_bit(void **state) {
  (void)state;
  const char *const kinds[] = {"scalar:0.05", "uniform:0.02", "normal:0.3"};
  enum { m = 300, n = 3000 };
  for (int form = 0; form < 24; form++) {
    uint64_t r = (uint64_t)form + 1;
    const bool transpose = form & 1, event = form & 2, batched = form & 4;
    const char *kind = kinds[form / 8];
    const int64_t len = transpose ? n : m, shape[2] = {5, len};
    t_array v = t_new(BDL_F64, 1 + batched, shape + !batched);
    for (int64_t i = 0; i < (batched ? 5 : 1) * len; i++) t_set(&v, i, t_uniform(&r) - 0.1);
    t_array want = jitc_by(1, &v, kind, 0.3, 0.7, 9, m, n, transpose, event);
    for (int threads = 2; threads <= 4; threads += 2) {
      t_array got = jitc_by(threads, &v, kind, 0.3, 0.7, 9, m, n, transpose, event);
      t_same(&got, &want);
      t_free(&got, 1);
    }
    t_free((t_array[]){v, want}, 2);
  }
}

static void jitc_is_one_matrix_both_ways(void **state) {
  (void)state;
  const char *const kinds[] = {"scalar:0.1", "uniform:0.3", "normal:0.05", "scalar:1", "normal:0"};
  enum { m = 60, n = 90 };
  for (int k = 0; k < BDL_LEN(kinds); k++) {
    uint64_t r = 1;
    t_array w = t_new(BDL_F64, SHAPE(m, n)); /* row i: the product with unit vector i */
    for (int64_t i = 0; i < m; i++) {
      t_array unit = t_new(BDL_F64, SHAPE(m));
      t_set(&unit, i, 1);
      t_array row = jitc(&unit, kinds[k], 2, 3, 11, m, n, false, false);
      memcpy((double *)w.data + i * n, row.data, n * sizeof(double));
      t_free((t_array[]){unit, row}, 2);
    }
    for (int form = 0; form < 8; form++) {
      const bool transpose = form & 1, event = form & 2, batched = form & 4;
      const int64_t len = transpose ? n : m, shape[2] = {2, len};
      t_array v =
          event ? events(BDL_F64, 1 + batched, shape + !batched, &r) : t_rand(BDL_F64, 1 + batched, shape + !batched, &r);
      t_array z = jitc(&v, kinds[k], 2, 3, 11, m, n, transpose, event), want = dense(&v, &w, transpose, event);
      t_near(&z, &want, 1e-12, 1e-12);
      t_free((t_array[]){v, z, want}, 3);
    }
    t_free(&w, 1);
  }
}

static void jitc_has_its_law(void **state) {
  (void)state;
  const struct {
    const char *kind;
    double p0, p1, mean, square; /* of one weight */
  } laws[] = {{"scalar:0.02", 1, 0, 1, 1}, {"uniform:0.02", -1, 3, 1, 7.0 / 3}, {"normal:0.02", 1, 2, 1, 5}};
  enum { m = 2000, n = 1000 };
  for (int l = 0; l < BDL_LEN(laws); l++) {
    double sum = 0, square = 0;
    int64_t count = 0;
    for (int64_t i = 0; i < m; i += 1) {
      t_array unit = t_new(BDL_BOOL, SHAPE(m));
      t_set(&unit, i, 1);
      t_array row = jitc(&unit, laws[l].kind, laws[l].p0, laws[l].p1, 5, m, n, false, true);
      for (int64_t j = 0; j < n; j++) {
        const double w = t_get(&row, j);
        sum += w, square += w * w, count += w != 0;
      }
      t_free((t_array[]){unit, row}, 2);
    }
    const double expected = 0.02 * m * n; /* 40000, standard deviation 198 */
    assert_true(fabs((double)count - expected) < 1000);
    assert_true(fabs(sum / expected - laws[l].mean) < 0.06);
    assert_true(fabs(square / expected / laws[l].square - 1) < 0.06);
  }
}

static void jitc_kinds_are_checked(void **state) {
  (void)state;
  const char *const wrong[] = {"scalar", "scalar:", "scalar:2", "scalar:0.5x", "gamma:0.1", "normal:nan"};
  for (int i = 0; i < BDL_LEN(wrong); i++) {
    t_array in[4] = {t_new(BDL_F64, SHAPE(2)), t_new(BDL_F64, 0, NULL), t_new(BDL_F64, 0, NULL), t_new(BDL_I64, 0, NULL)},
            z;
    const bdl_param p[5] = {bdl_pint(2), bdl_pint(2), bdl_pint(0), bdl_pint(0), bdl_pstr(wrong[i])};
    t_fails(t_call(BDL_P_jitc_dot, p, in, 4, &z, 1), BDL_EVALUE, "jitc_dot: kind");
    t_free(in, 4);
  }
}

static int leave(void **state) {
  (void)state;
  t_context_free();
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(event_dot_equals_dense),
      cmocka_unit_test(event_dot_adds_in_order),
      cmocka_unit_test(csr_dot_equals_dense),
      cmocka_unit_test(csr_scatter_adds_listed_rows_or_columns),
      cmocka_unit_test(csr_outer_is_the_product_on_the_pattern),
      cmocka_unit_test(threads_and_preparation_change_no_bit),
      cmocka_unit_test(only_weights_of_events_learn),
      cmocka_unit_test(sparse_weights_learn_where_they_stand),
      cmocka_unit_test(wrong_learning_is_an_error),
      cmocka_unit_test(no_events_and_all),
      cmocka_unit_test(wrong_matrices_are_errors),
      cmocka_unit_test(jitc_is_one_matrix_both_ways),
      cmocka_unit_test(jitc_threads_change_no_bit),
      cmocka_unit_test(jitc_has_its_law),
      cmocka_unit_test(jitc_kinds_are_checked),
  };
  return cmocka_run_group_tests(tests, NULL, leave);
}

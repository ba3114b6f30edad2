/*
** test_etrace.c -- traces against plain loops.  Values are small quarters, so sums are exact in any order.
*/
#include "call.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/etrace.h"

enum { MOST = 16 }; /* operands of a call */

typedef struct extents {
  int64_t lanes, states, rows, inputs, outputs; /* lanes 0: no such axis */
} extents;

static t_array random_of(bdl_dtype d, const extents *s, int n, const int64_t *tail, uint64_t *r) {
  int64_t shape[5] = {s->lanes};
  memcpy(shape + 1, tail, (size_t)n * sizeof *tail);
  return s->lanes ? t_rand(d, n + 1, shape, r) : t_rand(d, n, shape + 1, r);
}

static t_array trace(bdl_dtype d, const extents *s, uint64_t *r) {
  return random_of(d, s, 4, (int64_t[]){s->states, s->rows, s->inputs, s->outputs}, r);
}

static t_array matrix(bdl_dtype d, const extents *s, int64_t n, int64_t m, uint64_t *r) {
  return random_of(d, s, 2, (int64_t[]){n, m}, r);
}

/* Some of 0, .., n - 1, at most `most`. */
static int some(int64_t n, int most, int64_t *list, uint64_t *r) {
  int count = 0;
  for (int64_t i = 0; i < n && count < most; i++)
    if (t_below(r, 3)) list[count++] = i;
  return count;
}

static int place_of(const int64_t *list, int n, int64_t x) {
  for (int i = 0; i < n; i++)
    if (list[i] == x) return i;
  return -1;
}

static extents random_extents(uint64_t seed, uint64_t *r) {
  static const int64_t outputs[] = {1, 3, 8, 17, 40, 64, 131, 600};
  extents s = {.lanes = t_below(r, 3), .states = 1 + t_below(r, 5), .rows = t_below(r, 5), .inputs = 1 + t_below(r, 6),
               .outputs = outputs[t_below(r, BDL_LEN(outputs))]};
  if (seed % 11 == 0) s.inputs = 0;
  if (seed % 13 == 0) s.outputs = 0;
  if (seed % 17 == 0) s.inputs = 300;
  return s;
}

/* e[l, a, r, i, k] */
static int64_t at_of(const extents *s, int64_t l, int64_t a, int64_t r, int64_t i, int64_t k) {
  return (((l * s->states + a) * s->rows + r) * s->inputs + i) * s->outputs + k;
}

static void step_equals_loops(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 200; seed++) {
    uint64_t r = seed;
    const extents s = random_extents(seed, &r);
    const bdl_dtype d = seed % 2 ? BDL_F32 : BDL_F64;
    const int scaled = (int)t_below(&r, 2);
    int64_t pairs[25], fed[5];
    const int n_fed = some(s.states, 5, fed, &r), n_pairs = some(s.states * s.states, MOST - 3 - n_fed, pairs, &r);
    t_array in[MOST], z;
    int n = 0;
    in[n++] = trace(d, &s, &r);
    in[n++] = matrix(d, &s, s.rows, s.inputs, &r);
    if (scaled) in[n++] = matrix(d, &s, s.inputs, s.outputs, &r);
    const t_array *D = in + n, *f = D + n_pairs;
    for (int i = 0; i < n_pairs + n_fed; i++) in[n++] = matrix(d, &s, s.rows, s.outputs, &r);
    OK(t_call(BDL_P_etrace_step, PARAMS(bdl_pints(pairs, n_pairs), bdl_pints(fed, n_fed), bdl_pint(scaled)), in, n, &z,
              1 + (int)t_below(&r, 3)));
    t_array want = t_new(d, in[0].aval.ndim, in[0].aval.shape);
    for (int64_t l = 0; l < BDL_MAX(s.lanes, 1); l++)
      for (int64_t a = 0; a < s.states; a++)
        for (int64_t q = 0; q < s.rows; q++)
          for (int64_t i = 0; i < s.inputs; i++)
            for (int64_t k = 0; k < s.outputs; k++) {
              const int64_t row = l * s.rows + q, at = row * s.outputs + k;
              const int feed = place_of(fed, n_fed, a);
              double sum = feed < 0 ? 0 : t_get(&in[1], row * s.inputs + i) * t_get(&f[feed], at);
              if (scaled) sum *= t_get(&in[2], (l * s.inputs + i) * s.outputs + k);
              for (int64_t c = 0; c < s.states; c++) {
                const int pair = place_of(pairs, n_pairs, a * s.states + c);
                if (pair >= 0) sum += t_get(&D[pair], at) * t_get(&in[0], at_of(&s, l, c, q, i, k));
              }
              t_set(&want, at_of(&s, l, a, q, i, k), sum);
            }
    t_near(&z, &want, 0, 0);
    t_free(in, n);
    t_free(&z, 1);
    t_free(&want, 1);
  }
}

static void gradient_equals_loops(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 200; seed++) {
    uint64_t r = seed;
    extents s = random_extents(seed, &r);
    const bdl_dtype d = seed % 2 ? BDL_F32 : BDL_F64;
    const int64_t groups = 1 + t_below(&r, 3);
    int64_t fed[5];
    const int n_fed = some(s.states, 5, fed, &r);
    s.rows *= groups;
    t_array in[MOST], g;
    in[0] = trace(d, &s, &r);
    for (int i = 0; i < n_fed; i++) in[1 + i] = matrix(d, &s, s.rows, s.outputs, &r);
    OK(t_call(BDL_P_etrace_grad, PARAMS(bdl_pint(groups), bdl_pints(fed, n_fed)), in, 1 + n_fed, &g,
              1 + (int)t_below(&r, 3)));
    t_array want = t_new(d, g.aval.ndim, g.aval.shape);
    for (int64_t l = 0; l < BDL_MAX(s.lanes, 1); l++)
      for (int64_t q = 0; q < s.rows; q++)
        for (int64_t i = 0; i < s.inputs; i++)
          for (int64_t k = 0; k < s.outputs; k++)
            for (int f = 0; f < n_fed; f++) {
              const int64_t at = ((l * groups + q % groups) * s.inputs + i) * s.outputs + k;
              t_set(&want, at, t_get(&want, at) + t_get(&in[1 + f], (l * s.rows + q) * s.outputs + k) *
                                                      t_get(&in[0], at_of(&s, l, fed[f], q, i, k)));
            }
    t_near(&g, &want, 0, 0);
    t_free(in, 1 + n_fed);
    t_free(&g, 1);
    t_free(&want, 1);
  }
}

/* Values whose sums are not exact: the same bits from every instruction set and number of threads. */
static void bits_never_differ(void **state) {
  static const char *const isa[] = {"x86-64", "avx2", "avx512", "aarch64", "generic"};
  (void)state;
  bdl_pool *pool = bdl_pool_new(t_context(), 2);
  assert_non_null(pool);
  for (int64_t states = 1; states <= 3; states++)
    for (int way = 0; way < 2; way++) {
      const bdl_dtype d = way ? BDL_F64 : BDL_F32;
      const extents s = {.states = states, .rows = 6, .inputs = 37, .outputs = 531};
      uint64_t r = (uint64_t)states;
      t_array x = matrix(d, &s, s.rows, s.inputs, &r), m[20], first_e = {.data = NULL}, first_g;
      const void *tables[3][9];
      for (int i = 0; i < 20; i++) {
        m[i] = matrix(d, &s, s.rows, s.outputs, &r);
        for (int64_t k = 0; k < s.rows * s.outputs; k++) t_set(&m[i], k, t_uniform(&r));
      }
      for (int i = 0; i < 9; i++) tables[0][i] = m[i].data, tables[1][i] = m[9].data, tables[2][i] = m[10 + i].data;
      for (int k = 0; k < BDL_LEN(isa); k++)
        for (int threads = 1; threads <= 2 && bdl_k_select(isa[k]); threads++) {
          uint64_t again = 7;
          t_array e = trace(d, &s, &again), g = t_new(d, 3, (int64_t[]){2, s.inputs, s.outputs});
          const bdl_k_etrace t = {.lanes = 1, .states = states, .rows = s.rows, .inputs = s.inputs,
                                  .outputs = s.outputs, .groups = 2, .e = e.data, .x = x.data, .step = tables[0], .feed = tables[1],
                                  .signal = tables[2], .g = g.data};
          bdl_k_etrace_run(bdl_k_select(isa[k]), &t, d, threads > 1 ? pool : NULL);
          if (!first_e.data) {
            first_e = e, first_g = g;
            continue;
          }
          t_same(&e, &first_e);
          t_same(&g, &first_g);
          t_free(&e, 1);
          t_free(&g, 1);
        }
      t_free(&first_e, 1);
      t_free(&first_g, 1);
      t_free(&x, 1);
      t_free(m, 20);
    }
  bdl_pool_free(pool);
}

static void bad_operands_are_refused(void **state) {
  (void)state;
  const extents s = {.states = 2, .rows = 4, .inputs = 3, .outputs = 5};
  uint64_t r = 1;
  t_array e = trace(BDL_F32, &s, &r), x = matrix(BDL_F32, &s, 4, 3, &r), d = matrix(BDL_F32, &s, 4, 5, &r), z;
  t_array wide = matrix(BDL_F64, &s, 4, 5, &r), ints = trace(BDL_I32, &s, &r);
#define CALL(prim, params, ...) \
  t_call(prim, params, (t_array[]){__VA_ARGS__}, BDL_LEN(((t_array[]){__VA_ARGS__})), &z, 1)
#define STEP(p, f, scaled, ...) CALL(BDL_P_etrace_step, PARAMS(p, f, bdl_pint(scaled)), __VA_ARGS__)
#define GRAD(groups, f, ...) CALL(BDL_P_etrace_grad, PARAMS(bdl_pint(groups), f), __VA_ARGS__)
  t_fails(STEP(NONE, NONE, 0, e), BDL_EVALUE, "etrace_step: 1 operands, at least 2 are needed");
  t_fails(STEP(NONE, NONE, 0, ints, x), BDL_ETYPE, "a trace is of floats, not i32[2,4,3,5]");
  t_fails(STEP(NONE, NONE, 0, x, x), BDL_ESHAPE, "a trace is [states, rows, inputs, outputs]");
  t_fails(STEP(NONE, NONE, 0, e, d), BDL_ESHAPE,
          "the input x (operand 2) is f32[4,5], not f32[4,3] as the trace f32[2,4,3,5] asks for");
  t_fails(STEP(INTS(0), NONE, 0, e, x), BDL_EVALUE, "2 operands, 3 are needed");
  t_fails(STEP(INTS(4), NONE, 0, e, x, d), BDL_EVALUE, "pairs ascend within [0, 4): 4 does not");
  t_fails(STEP(INTS(1, 1), NONE, 0, e, x, d, d), BDL_EVALUE, "pairs ascend within [0, 4): 1 does not");
  t_fails(STEP(NONE, INTS(2), 0, e, x, d), BDL_EVALUE, "fed ascend within [0, 2): 2 does not");
  t_fails(STEP(NONE, INTS(0), 1, e, x, d, d), BDL_ESHAPE, "the scale (operand 3) is f32[4,5], not f32[3,5]");
  t_fails(STEP(INTS(0), NONE, 0, e, x, wide), BDL_ESHAPE, "an entry of D (operand 3) is f64[4,5], not f32[4,5]");
  t_fails(GRAD(3, INTS(0), e, d), BDL_EVALUE, "4 rows are not a whole number of rows for each of 3 groups");
  t_fails(GRAD(0, INTS(0), e, d), BDL_EVALUE, "of 0 groups");
  t_fails(GRAD(1, INTS(0), e, x), BDL_ESHAPE, "a learning signal (operand 2) is f32[4,3], not f32[4,5]");
  t_free((t_array[]){e, x, d, wide, ints}, 5);
  const extents many = {.states = BDL_TRACE_STATES + 1, .rows = 1, .inputs = 1, .outputs = 1};
  t_array big[2] = {trace(BDL_F32, &many, &r), matrix(BDL_F32, &many, 1, 1, &r)};
  t_fails(STEP(NONE, NONE, 0, big[0], big[1]), BDL_ESHAPE, "a trace of 1 to 64 states is possible");
  t_free(big, 2);
}

static int teardown(void **state) {
  (void)state;
  t_context_free();
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(step_equals_loops),
      cmocka_unit_test(gradient_equals_loops),
      cmocka_unit_test(bits_never_differ),
      cmocka_unit_test(bad_operands_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, teardown);
}

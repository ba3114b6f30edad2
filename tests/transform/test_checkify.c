/*
** test_checkify.c -- a program with checks gives what it gives without them, and the number of the first that fails.
*/
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/faults.h"
#include "../ir/cases.h"
#include "../ir/text.h"
#include "exec/exec.h"
#include "transform/checkify.h"

#define OK(e)                                                           \
  do {                                                                  \
    if ((e) != BDL_OK) fail_msg("%s", bdl_last_error(*state)->message); \
  } while (0)

enum { MAX = 32, EVERY = BDL_CHECK_USER | BDL_CHECK_NAN | BDL_CHECK_DIV | BDL_CHECK_INDEX };

static bdl_tensor random_tensor(void **state, const bdl_aval *a, double lo, double hi, uint64_t *rng) {
  bdl_tensor t;
  OK(bdl_tensor_new(bdl_device_cpu(*state), a, &t));
  for (int64_t i = 0; i < bdl_aval_numel(a); i++) {
    const double u = (double)(t_random(rng) >> 11) * 0x1p-53;
    const double x = bdl_dtype_is_float(a->dtype) ? lo + (hi - lo) * u : floor(lo + (hi - lo + 1) * u);
    const bdl_scalar v = bdl_scalar_from_f64(a->dtype, x);
    memcpy((char *)bdl_tensor_data(&t) + (size_t)i * bdl_dtype_size(a->dtype), &v, bdl_dtype_size(a->dtype));
  }
  return t;
}

static void drop(bdl_tensor *t, int64_t n) {
  for (int64_t i = 0; i < n; i++) bdl_tensor_unref(&t[i]);
}

/* Where p and p with checks both run, their results are the same.  The number of the check that failed; -1: with checks
** it ends with an error, too. */
static int run(void **state, const bdl_prog *p, unsigned kinds, const bdl_tensor *in, bdl_checks *list) {
  bdl_tensor want[MAX], got[MAX];
  bdl_prog *q;
  *list = (bdl_checks){0};
  OK(bdl_transform_checkify(p, kinds, list, &q));
  OK(bdl_ir_verify(q));
  const bdl_status s = bdl_exec_prog(*state, p, in, want);
  const bdl_status with = bdl_exec_prog(*state, q, in, got);
  bdl_clear_error(*state);
  if (with != BDL_OK) {
    assert_int_not_equal(s, BDL_OK);
    bdl_prog_unref(q);
    return -1;
  }
  const int number = bdl_tensor_at(&got[p->n_outputs], 0).i32;
  for (int k = 0; s == BDL_OK && k < p->n_outputs; k++) {
    assert_true(bdl_aval_eq(&want[k].aval, &got[k].aval));
    for (int64_t i = 0; i < bdl_aval_numel(&want[k].aval); i++) {
      const double a = bdl_scalar_to_f64(want[k].aval.dtype, bdl_tensor_at(&want[k], i));
      const double b = bdl_scalar_to_f64(got[k].aval.dtype, bdl_tensor_at(&got[k], i));
      if (a == b || (isnan(a) && isnan(b))) continue;
      fail_msg("result %d differs at %lld: %.9g and %.9g", k, (long long)i, a, b);
    }
  }
  if (s == BDL_OK) drop(want, p->n_outputs);
  drop(got, q->n_outputs);
  bdl_prog_unref(q);
  assert_true(number >= 0 && number <= list->v.n);
  return number;
}

static void every_primitive_gives_what_it_gave(void **state) {
  static const unsigned kinds[] = {EVERY, BDL_CHECK_NAN | BDL_CHECK_COUNT, BDL_CHECK_INF | BDL_CHECK_COUNT};
  for (int prim = 0; prim < BDL_P_COUNT; prim++) {
    if (prim == BDL_P_error_if || (bdl_prims[prim].flags & BDL_F_LANES)) continue;
    if (prim == BDL_P_event_ids) continue; /* ids behind the count are nobody's */
    for (uint64_t seed = 1; seed <= 6; seed++) {
      t_case c;
      bdl_tensor in[MAX];
      bdl_checks list;
      uint64_t rng = seed;
      if (!t_case_new(*state, (bdl_prim_id)prim, seed, BDL_DTYPE_COUNT, &c)) continue;
      if (c.p->effects || c.p->inputs.n > 8) {
        bdl_prog_unref(c.p);
        continue;
      }
      for (int64_t i = 0; i < c.p->inputs.n; i++)
        in[i] = random_tensor(state, bdl_aval_of(c.p, c.p->inputs.v[i]), c.lo[i], c.hi[i], &rng);
      for (int k = 0; k < BDL_LEN(kinds); k++) {
        const int number = run(state, c.p, kinds[k], in, &list);
        if (number > 0 && list.v.v[number - 1].kind == BDL_CHECK_INDEX)
          fail_msg("%s: an index in range is wrong", bdl_prims[prim].name);
        bdl_checks_fini(*state, &list);
      }
      drop(in, c.p->inputs.n);
      bdl_prog_unref(c.p);
    }
  }
}

/* A loop in a branch in a loop, each with checks; the condition of the inner one has some, too. */
static const char NESTED[] =
  "program f(a:f32[], b:f32[], i:i32[]) {\n"
  "  const n:i32[4] = [0 1 2 3]\n"
  "  const t:f32[3] = [1.0 2.0 3.0]\n"
  "  c:f32[], d:f32[4] = scan[consts=3 carry=1 length=4 reverse=0 body={"
  "program body(a:f32[], t:f32[3], i:i32[], c:f32[], n:i32[]) {\n"
  "    e:f32[] = cast[dtype=f32] n\n"
  "    w:bool[] = gt e a\n"
  "    error_if[message=\"round {1} of {2}\"] w n a\n"
  "    j:i32[] = add i n\n"
  "    g:f32[] = gather[axis=0] t j\n"
  "    p:bool[] = gt c 1.0:f32\n"
  "    k:i32[] = cast[dtype=i32] p\n"
  "    h:f32[] = cond[branches={program no(c:f32[], g:f32[]) {\n"
  "      z:f32[] = log c\n"
  "      return z\n"
  "    }, program yes(c:f32[], g:f32[]) {\n"
  "      z:f32[] = while[cond_consts=1 body_consts=1 programs={program cond(g:f32[], v:f32[]) {\n"
  "        r:f32[] = div v g\n"
  "        s:bool[] = gt r 2.0:f32\n"
  "        return s\n"
  "      }, program body(g:f32[], v:f32[]) {\n"
  "        r:f32[] = sub v g\n"
  "        u:f32[] = sqrt r\n"
  "        return u\n"
  "      }}] g g c\n"
  "      return z\n"
  "    }}] k c g\n"
  "    return h, e\n"
  "  }}] a t i b n\n"
  "  return c, d\n"
  "}\n";

static int nested(void **state, const bdl_prog *p, unsigned kinds, double a, double b, int i, bdl_check *failed) {
  bdl_tensor in[3];
  bdl_checks list;
  OK(bdl_tensor_scalar(bdl_device_cpu(*state), BDL_F32, bdl_scalar_from_f64(BDL_F32, a), &in[0]));
  OK(bdl_tensor_scalar(bdl_device_cpu(*state), BDL_F32, bdl_scalar_from_f64(BDL_F32, b), &in[1]));
  OK(bdl_tensor_scalar(bdl_device_cpu(*state), BDL_I32, bdl_scalar_from_i64(BDL_I32, i), &in[2]));
  const int number = run(state, p, kinds, in, &list);
  *failed = number > 0 ? list.v.v[number - 1] : (bdl_check){0};
  bdl_checks_fini(*state, &list);
  drop(in, 3);
  return number;
}

static void the_first_check_that_fails_is_found_in_bodies(void **state) {
  bdl_prog *p = t_parse(*state, NESTED);
  bdl_check k;
  assert_int_equal(nested(state, p, BDL_CHECK_DIV, 9, 0.5, -1, &k), -1); /* the index of round 0 is not checked */
  assert_true(nested(state, p, EVERY, 9, 0.5, -1, &k) > 0);
  assert_int_equal(k.kind, BDL_CHECK_INDEX);
  assert_int_equal(k.size, 3);
  assert_true(nested(state, p, EVERY, 0.5, 2.0, 0, &k) > 0); /* in round 1 */
  assert_int_equal(k.kind, BDL_CHECK_USER);
  assert_string_equal(k.text, "round {1} of {2}");
  assert_int_equal(k.n_shown, 2);
  assert_true(nested(state, p, EVERY, 9, 0.5, 0, &k) > 0); /* log 0.5 < 0, then its log */
  assert_int_equal(k.kind, BDL_CHECK_NAN);
  assert_string_equal(k.prim, "log");
  assert_true(nested(state, p, EVERY, 9, 9, 0, &k) > 0); /* sqrt(9 - 1) = 2.8, sqrt 1.8 = 1.3; then 1.3 / 2 ends it */
  assert_int_equal(k.kind, BDL_CHECK_INDEX);               /* round 3 */
  assert_true(nested(state, p, EVERY, NAN, 1, 0, &k) > 0);
  assert_null(k.prim); /* an input */
  bdl_prog_unref(p);
}

/* ---- failed allocations ----------------------------------------------------------------------------- */

static void failed_allocations_leave_nothing(void **state) {
  (void)state;
  bdl_status s = BDL_ENOMEM;
  for (int n = 0; s != BDL_OK; n++) {
    t_faults f = {.left = INT64_MAX};
    bdl_context *c = bdl_context_new(t_failing_alloc, &f);
    bdl_prog *p = t_parse(c, NESTED), *q = NULL;
    bdl_checks list = {0};
    const size_t before = c->mem_used;
    f.left = n;
    s = bdl_transform_checkify(p, EVERY | BDL_CHECK_COUNT, &list, &q);
    f.left = INT64_MAX;
    if (s == BDL_OK) bdl_prog_unref(q);
    else assert_int_equal(s, BDL_ENOMEM);
    bdl_checks_fini(c, &list);
    assert_true(c->mem_used <= before + 4096); /* interned texts stay */
    bdl_prog_unref(p);
    bdl_context_free(c);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    T_TEST(every_primitive_gives_what_it_gave), T_TEST(the_first_check_that_fails_is_found_in_bodies),
    cmocka_unit_test(failed_allocations_leave_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
** Records: rows are kept as they came however the room grew, events are those of a plain search, a bound and failed
** allocations leave whole steps.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/context.h"
#include "exec/exec_context.h"
#include "exec/record.h"
#include "../support/faults.h"
#include "../support/random.h"

static bdl_tensor tensor(bdl_context *c, bdl_dtype d, int64_t n, int64_t m) {
  const bdl_aval a = bdl_aval_make(d, 2, (int64_t[]){n, m});
  bdl_tensor t;
  assert_int_equal(bdl_tensor_new(bdl_device_cpu(c), &a, &t), BDL_OK);
  return t;
}

static void rows_are_kept_while_room_grows(void **state) {
  (void)state;
  bdl_context *c = bdl_context_new(NULL, NULL);
  const int64_t shape = 3;
  const bdl_aval row = bdl_aval_make(BDL_I32, 1, &shape);
  bdl_record r = bdl_record_make(bdl_device_cpu(c), &row);
  bdl_tensor x = tensor(c, BDL_I32, 7, 3), early, late;
  int32_t *v = bdl_tensor_data(&x), next = 0;
  uint64_t rng = 1;
  assert_int_equal(bdl_record_view(&r, &early), BDL_OK); /* of nothing */
  assert_int_equal(early.aval.shape[0], 0);
  bdl_tensor_unref(&early);
  for (int k = 0; k < 60; k++) {
    const int64_t n = (int64_t)(t_random(&rng) % 8);
    for (int64_t i = 0; i < 3 * n; i++) v[i] = next++;
    if (k == 30) assert_int_equal(bdl_record_reserve(&r, r.n + 5), BDL_OK);
    assert_int_equal(bdl_record_append(&r, &x, n), BDL_OK);
    if (k == 10) assert_int_equal(bdl_record_view(&r, &early), BDL_OK);
  }
  assert_int_equal(bdl_record_view(&r, &late), BDL_OK);
  assert_int_equal(late.aval.shape[0] * 3, next);
  for (int32_t i = 0; i < next; i++) assert_int_equal(((int32_t *)bdl_tensor_data(&late))[i], i);
  for (int32_t i = 0; i < early.aval.shape[0] * 3; i++) assert_int_equal(((int32_t *)bdl_tensor_data(&early))[i], i);
  bdl_tensor_unref(&early);
  bdl_tensor_unref(&late);
  bdl_tensor_unref(&x);
  bdl_record_fini(&r);
  bdl_context_free(c);
}

static void fill(bdl_tensor *x, uint64_t *rng, uint64_t of) {
  uint8_t *v = bdl_tensor_data(x);
  for (int64_t i = 0; i < bdl_aval_numel(&x->aval); i++) v[i] = t_random(rng) % of == 0;
}

static bdl_record scalars(bdl_context *c, bdl_dtype d) {
  const bdl_aval row = bdl_aval_scalar(d);
  return bdl_record_make(bdl_device_cpu(c), &row);
}

static void events_are_those_of_a_plain_search(void **state) {
  (void)state;
  bdl_context *c = bdl_context_new(NULL, NULL);
  for (uint64_t seed = 1; seed <= 24; seed++) {
    uint64_t rng = seed;
    const int64_t n = 1 + (int64_t)(t_random(&rng) % 20), m = (int64_t)(t_random(&rng) % 400);
    bdl_tensor x = tensor(c, BDL_BOOL, n, m);
    bdl_record step = scalars(c, BDL_I64), id = scalars(c, BDL_I32);
    int64_t found = 0;
    for (int64_t from = 0; from < 3; from++) { /* chunks of n - 1, n and n rows */
      const int64_t rows = from ? n : n - 1, first = from ? n * from - 1 : 0;
      const uint8_t *v = bdl_tensor_data(&x);
      fill(&x, &rng, 1 + seed % 7 * 9);
      assert_int_equal(bdl_record_events(&step, &id, &x, rows, first, INT64_MAX), BDL_OK);
      assert_int_equal(step.n, id.n);
      for (int64_t k = 0; k < rows; k++)
        for (int64_t j = 0; j < m; j++) {
          if (!v[k * m + j]) continue;
          assert_true(found < step.n);
          assert_int_equal(((int64_t *)step.buf->data)[found], first + k);
          assert_int_equal(((int32_t *)id.buf->data)[found++], j);
        }
      assert_int_equal(found, step.n);
    }
    bdl_tensor_unref(&x);
    bdl_record_fini(&step);
    bdl_record_fini(&id);
  }
  bdl_context_free(c);
}

static void a_bound_and_a_lack_of_memory_leave_whole_steps(void **state) {
  (void)state;
  t_faults f = {.left = INT64_MAX};
  bdl_context *c = bdl_context_new(t_failing_alloc, &f);
  bdl_tensor x = tensor(c, BDL_BOOL, 4, 10);
  memset(bdl_tensor_data(&x), 1, 40);
  bdl_record step = scalars(c, BDL_I64), id = scalars(c, BDL_I32);
  assert_int_equal(bdl_exec_get(c, &(bdl_exec_context *){NULL}), BDL_OK); /* what it keeps is made once */
  assert_int_equal(bdl_record_events(&step, &id, &x, 4, 100, 35), BDL_EBUDGET);
  assert_non_null(strstr(bdl_last_error(c)->message, "more than 35 events at step 103"));
  assert_int_equal(step.n, 30);
  assert_int_equal(id.n, 30);
  bool failed = false;
  bdl_status s = BDL_ENOMEM;
  for (int k = 0; s != BDL_OK; k++) { /* the n-th allocation fails, until none does */
    f.left = k;
    s = bdl_record_events(&step, &id, &x, 4, 200, INT64_MAX);
    f.left = INT64_MAX;
    if (s == BDL_OK) break;
    failed = true;
    assert_int_equal(s, BDL_ENOMEM);
    assert_int_equal(step.n, 30);
    assert_int_equal(id.n, 30);
  }
  assert_true(failed);
  assert_int_equal(step.n, 70);
  f.left = 0;
  assert_int_equal(bdl_record_reserve(&step, 1000), BDL_ENOMEM);
  assert_int_equal(step.n, 70);
  assert_int_equal(((int64_t *)step.buf->data)[69], 203);
  f.left = INT64_MAX;
  assert_int_equal(bdl_record_reserve(&step, INT64_C(1) << 60), BDL_EVALUE);
  bdl_tensor_unref(&x);
  bdl_record_fini(&step);
  bdl_record_fini(&id);
  bdl_context_free(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(rows_are_kept_while_room_grows), cmocka_unit_test(events_are_those_of_a_plain_search),
    cmocka_unit_test(a_bound_and_a_lack_of_memory_leave_whole_steps),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

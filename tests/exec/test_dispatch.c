/*
** Calls of a plan: none allocates after the first; small buffers serve again, whatever their size, and only so many are kept.
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

typedef struct counter {
  int64_t blocks;
} counter;

static void *counting(void *ud, void *p, size_t osize, size_t nsize) {
  (void)osize;
  if (nsize == 0) {
    free(p);
    return NULL;
  }
  ((counter *)ud)->blocks++;
  return realloc(p, nsize);
}

#ifdef __SANITIZE_ADDRESS__
enum { REUSED = 0 }; /* buffers are freed at once, for the sanitizer to see */
#else
enum { REUSED = 1 };
#endif

static const char STEP[] =
  "program step(a:f32[3], b:f32[3]) {\n"
  "  c:f32[3] = mul a b\n"
  "  d:f32[3] = add c 1.0:f32\n"
  "  e:f32[] = reduce_sum[axes=(0)] d\n"
  "  return d, e\n"
  "}\n";

static void calls_allocate_nothing(void **state) {
  (void)state;
  counter n = {0};
  bdl_context *c = bdl_context_new(counting, &n);
  bdl_prog *p;
  bdl_plan *plan;
  bdl_tensor x[2], out[2];
  c->threads = 1;
  assert_int_equal(bdl_ir_parse(c, STEP, sizeof STEP - 1, &p), BDL_OK);
  assert_int_equal(bdl_plan_new(c, p, NULL, &plan), BDL_OK);
  for (int k = 0; k < 2; k++) {
    assert_int_equal(bdl_tensor_new(bdl_device_cpu(c), bdl_aval_of(p, p->inputs.v[k]), &x[k]), BDL_OK);
    memcpy(bdl_tensor_data(&x[k]), (float[3]){1, 2, 3}, 3 * sizeof(float));
  }
  bdl_prog_unref(p);
  int64_t before = 0;
  for (int call = 0; call < 20; call++) {
    out[0].buf = out[1].buf = NULL;
    if (call == 1) before = n.blocks;
    assert_int_equal(bdl_exec_run(plan, x, out), BDL_OK);
    assert_float_equal(*(float *)bdl_tensor_data(&out[1]), 17, 0);
    bdl_tensor_unref(&out[0]);
    bdl_tensor_unref(&out[1]);
  }
  if (REUSED) assert_int_equal(n.blocks, before);
  for (int k = 0; k < 2; k++) bdl_tensor_unref(&x[k]);
  bdl_plan_free(plan);
  bdl_context_free(c);
}

enum { MANY = 3000 };

static void spare_buffers_are_bounded(void **state) {
  (void)state;
  bdl_context *c = bdl_context_new(NULL, NULL);
  bdl_device *d = bdl_device_cpu(c);
  bdl_buffer **b = test_malloc(MANY * sizeof *b);
  for (int round = 0; round < 2; round++) {
    for (int k = 0; k < MANY; k++) { /* sizes from 0 to beyond what is kept */
      assert_int_equal(bdl_buffer_new(d, (size_t)(k * 7 % 200), &b[k]), BDL_OK);
      assert_int_equal(b[k]->size, k * 7 % 200);
      memset(b[k]->data, k, b[k]->size);
    }
    for (int k = 0; k < MANY; k++)
      for (size_t i = 0; i < b[k]->size; i++) assert_int_equal(((unsigned char *)b[k]->data)[i], k & 255);
    for (int k = 0; k < MANY; k++) bdl_buffer_unref(b[k]);
    assert_true(d->n_spare <= 1024 && (d->n_spare > 0) == REUSED);
  }
  bdl_device_trim(d);
  assert_int_equal(d->n_spare, 0);
  test_free(b);
  bdl_context_free(c);
}

/* A spare buffer is no memory in use, and does not get past the limit. */
static void spare_buffers_count_when_they_serve_again(void **state) {
  (void)state;
  bdl_context *c = bdl_context_new(NULL, NULL);
  bdl_device *d = bdl_device_cpu(c);
  bdl_buffer *b;
  const size_t before = c->mem_used;
  assert_int_equal(bdl_buffer_new(d, 12, &b), BDL_OK);
  assert_true(c->mem_used >= before + 128);
  bdl_buffer_unref(b);
  assert_int_equal(c->mem_used, before);
  c->mem_limit = before + 100;
  assert_int_equal(bdl_buffer_new(d, 12, &b), BDL_ENOMEM);
  bdl_clear_error(c);
  c->mem_limit = 0;
  assert_int_equal(bdl_buffer_new(d, 12, &b), BDL_OK);
  assert_true(c->mem_used >= before + 128);
  bdl_buffer_unref(b);
  bdl_context_free(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(calls_allocate_nothing),
    cmocka_unit_test(spare_buffers_are_bounded),
    cmocka_unit_test(spare_buffers_count_when_they_serve_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
** Products with events in loops: updates without copies, one list of events for all products, failed allocations.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/faults.h"
#include "../ir/text.h"
#include "exec/exec.h"

/* Three steps of y <- BODY with s [4] into y [3]; indices and pointers stand outside of the loop. */
#define LOOP(BODY)                                                                                          \
  "program p(y:f32[3], s:bool[4], i:i32[5], q:i32[5]) {\n"                                                  \
  "  z:f32[3] = scan[consts=3 carry=1 length=3 reverse=0 body={program b(s:bool[4], i:i32[5], q:i32[5], y:f32[3]) {\n" \
  "    one:f32[1] = broadcast[shape=(1) dims=()] 1.0:f32\n" BODY "  }}] s i q y\n  return z\n}\n"

#define PRODUCT(z) "    " z ":f32[3] = csr_dot[rows=4 cols=3 transpose=0 event=1] s one i q\n"

static bdl_tensor tensor(bdl_context *c, bdl_dtype d, int64_t n, const double *v) {
  bdl_tensor t;
  bdl_aval a = bdl_aval_make(d, 1, &n);
  assert_int_equal(bdl_tensor_new(bdl_device_cpu(c), &a, &t), BDL_OK);
  for (int64_t k = 0; k < n; k++) {
    const bdl_scalar x = bdl_scalar_from_f64(d, v[k]);
    memcpy((char *)bdl_tensor_data(&t) + (size_t)k * bdl_dtype_size(d), &x, bdl_dtype_size(d));
  }
  return t;
}

/* rows {0, 2}, {1}, {}, {0, 0}; rows 0 and 3 are active: each step adds 3, 0, 1 */
static void operands(bdl_context *c, bdl_tensor in[4]) {
  in[0] = tensor(c, BDL_F32, 3, (double[]){8, 16, 32});
  in[1] = tensor(c, BDL_BOOL, 4, (double[]){1, 0, 0, 1});
  in[2] = tensor(c, BDL_I32, 5, (double[]){0, 2, 1, 0, 0});
  in[3] = tensor(c, BDL_I32, 5, (double[]){0, 2, 3, 3, 5});
}

static int times(const char *text, const char *what) {
  int n = 0;
  while ((text = strstr(text, what)) != NULL) n++, text++;
  return n;
}

/* Runs it, expects z, copies in the loop and lists of events. */
static void run(bdl_context *c, const char *text, const float z[3], int copies, int lists) {
  bdl_prog *p = t_parse(c, text);
  bdl_plan *plan;
  bdl_tensor in[4], out = {0};
  bdl_str dump = {0};
  bdl_str_init(&dump, c);
  operands(c, in);
  assert_int_equal(bdl_plan_new(c, p, NULL, &plan), BDL_OK);
  assert_int_equal(bdl_plan_print(plan, &dump), BDL_OK);
  if (times(dump.s, "\n    copy ") != copies || times(dump.s, "event_ids") != lists) fail_msg("%s", dump.s);
  assert_int_equal(bdl_exec_run(plan, in, &out), BDL_OK);
  for (int k = 0; k < 3; k++) assert_true(bdl_tensor_at(&out, k).f32 == z[k]);
  bdl_str_fini(&dump);
  bdl_plan_free(plan);
  for (int k = 0; k < 4; k++) bdl_tensor_unref(&in[k]);
  bdl_tensor_unref(&out);
  bdl_prog_unref(p);
}

static void a_sum_is_updated_where_it_lies(void **state) {
  run(*state, LOOP("    h:f32[3] = mul y 0.5:f32\n" PRODUCT("x") "    z:f32[3] = add h x\n    return z\n"),
      (float[]){6.25F, 2, 5.75F}, 0, 1);
}

/* The carry is read out of order where its half is made: the sum may lie over it, the half may not.  Weights are its maximum. */
static void what_is_still_read_is_not_written_over(void **state) {
  run(*state, LOOP("    h:f32[3] = mul y 0.5:f32\n    r:f32[3] = reverse[axes=(0)] y\n    m:f32[] = reduce_max[axes=(0)] r\n"
                   "    w:f32[1] = reshape[shape=(1)] m\n"
                   "    x:f32[3] = csr_dot[rows=4 cols=3 transpose=0 event=1] s w i q\n    z:f32[3] = add h x\n    return z\n"),
      (float[]){1225, 2, 412}, 1, 1);
}

static void products_share_the_list_of_events(void **state) {
  run(*state, LOOP("    h:f32[3] = mul y 0.5:f32\n" PRODUCT("x") PRODUCT("w")
                   "    g:f32[3] = add h x\n    z:f32[3] = add g w\n    return z\n"),
      (float[]){11.5F, 2, 7.5F}, 0, 1);
}

/* A program whose matrix is a constant, large enough for parts. */
static bdl_status constant_matrix(bdl_context *c) {
  enum { ROWS = 700, FAN = 100, COLS = 400 };
  bdl_prog *p;
  bdl_tensor t = {0}, s = {0}, out = {0};
  bdl_plan *plan = NULL;
  bdl_aval many = bdl_aval_make(BDL_I32, 1, &(int64_t){ROWS * FAN}), two = bdl_aval_make(BDL_I32, 1, &(int64_t){2});
  bdl_aval one = bdl_aval_make(BDL_F32, 1, &(int64_t){1}), events = bdl_aval_make(BDL_BOOL, 1, &(int64_t){ROWS});
  bdl_atom in[4], z;
  bdl_device *cpu = bdl_device_cpu(c);
  c->threads = 2;
  if (!cpu) return BDL_ENOMEM;
  TRY(bdl_prog_new(c, "p", &p));
  bdl_status st = bdl_ir_input(p, &events, &in[0]);
  if (st == BDL_OK) st = bdl_ir_full(p, &one, 0.5, &in[1]);
  if (st == BDL_OK) st = bdl_tensor_new(cpu, &many, &t);
  if (st == BDL_OK) {
    for (int k = 0; k < ROWS * FAN; k++) ((int32_t *)bdl_tensor_data(&t))[k] = k * 7919 % COLS;
    st = bdl_ir_const(p, &t, &in[2]);
    bdl_tensor_unref(&t);
  }
  if (st == BDL_OK) st = bdl_tensor_new(cpu, &two, &t);
  if (st == BDL_OK) {
    memcpy(bdl_tensor_data(&t), (int32_t[]){0, FAN}, 8);
    st = bdl_ir_const(p, &t, &in[3]);
    bdl_tensor_unref(&t);
  }
  const bdl_param params[4] = {bdl_pint(ROWS), bdl_pint(COLS), bdl_pint(0), bdl_pint(1)};
  if (st == BDL_OK) st = bdl_bind(p, BDL_P_csr_dot, params, in, 4, &z);
  if (st == BDL_OK) st = bdl_prog_set_outputs(p, &z, 1);
  if (st == BDL_OK) st = bdl_plan_new(c, p, NULL, &plan);
  if (st == BDL_OK) st = bdl_tensor_new(cpu, &events, &s);
  if (st == BDL_OK) {
    memset(bdl_tensor_data(&s), 1, ROWS);
    st = bdl_exec_run(plan, &s, &out);
    bdl_tensor_unref(&s);
  }
  if (st == BDL_OK) {
    double sum = 0;
    for (int k = 0; k < COLS; k++) sum += (double)bdl_tensor_at(&out, k).f32;
    assert_true(sum == 0.5 * ROWS * FAN);
    bdl_tensor_unref(&out);
  }
  if (plan) bdl_plan_free(plan);
  bdl_prog_unref(p);
  return st;
}

static void failed_allocations_leave_nothing(void **state) {
  (void)state;
  for (int persistent = 0; persistent < 2; persistent++) assert_true(t_survive(constant_matrix, persistent) > 10);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      T_TEST(a_sum_is_updated_where_it_lies),
      T_TEST(what_is_still_read_is_not_written_over),
      T_TEST(products_share_the_list_of_events),
      cmocka_unit_test(failed_allocations_leave_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

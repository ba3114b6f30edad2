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
#include "exec/native.h"

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

/* Products with one constant pattern, large enough for parts and out of order: by rows and by columns, one weight, one an entry,
** constant or not. */
enum { ROWS = 700, FAN = 100, COLS = 400, NNZ = ROWS * FAN, PRODUCTS = 8 };

static int32_t column_of(int k) { return k * 7919 % COLS; }
static float weight_of(int set, int k) { return set == 0 ? 0.5F : (float)((k * 31 + set * 17) % 64) / 4; }

/* set 0: one for all; 3: comes with the call */
static bdl_status weights(bdl_prog *p, int set, bdl_atom *w) {
  const bdl_aval a = bdl_aval_make(BDL_F32, 1, &(int64_t){set == 0 ? 1 : NNZ});
  bdl_tensor t;
  if (set == 3) return bdl_ir_input(p, &a, w);
  TRY(bdl_tensor_new(bdl_device_cpu(p->ctx), &a, &t));
  for (int64_t k = 0; k < a.shape[0]; k++) ((float *)bdl_tensor_data(&t))[k] = weight_of(set, (int)k);
  const bdl_status s = bdl_ir_const(p, &t, w);
  bdl_tensor_unref(&t);
  return s;
}

static bdl_status integers(bdl_prog *p, int64_t n, int32_t (*at)(int), bdl_atom *x) {
  const bdl_aval a = bdl_aval_make(BDL_I32, 1, &n);
  bdl_tensor t;
  TRY(bdl_tensor_new(bdl_device_cpu(p->ctx), &a, &t));
  for (int k = 0; k < n; k++) ((int32_t *)bdl_tensor_data(&t))[k] = at(k);
  const bdl_status s = bdl_ir_const(p, &t, x);
  bdl_tensor_unref(&t);
  return s;
}

static int32_t fan_pointer(int k) { return k * FAN; }

static bdl_status products(bdl_prog *p) {
  const bdl_aval rows = bdl_aval_make(BDL_BOOL, 1, &(int64_t){ROWS}), cols = bdl_aval_make(BDL_BOOL, 1, &(int64_t){COLS});
  bdl_atom s, t, indices, indptr, z[PRODUCTS];
  TRY(bdl_ir_input(p, &rows, &s));
  TRY(bdl_ir_input(p, &cols, &t));
  TRY(integers(p, NNZ, column_of, &indices));
  TRY(integers(p, 2, fan_pointer, &indptr));
  for (int set = 0; set < PRODUCTS / 2; set++) {
    bdl_atom w;
    TRY(weights(p, set, &w));
    for (int transpose = 0; transpose < 2; transpose++)
      TRY(bdl_bind(p, BDL_P_csr_dot, (bdl_param[]){bdl_pint(ROWS), bdl_pint(COLS), bdl_pint(transpose), bdl_pint(1)},
                   (bdl_atom[]){transpose ? t : s, w, indices, indptr}, 4, &z[2 * set + transpose]));
  }
  return bdl_prog_set_outputs(p, z, PRODUCTS);
}

/* Active: every third row, every fifth column.  Weights are quarters: sums are exact. */
static void check_products(const bdl_tensor *out) {
  for (int set = 0; set < PRODUCTS / 2; set++) {
    float by_rows[COLS] = {0}, by_columns[ROWS] = {0};
    for (int k = 0; k < NNZ; k++) {
      if (k / FAN % 3 == 0) by_rows[column_of(k)] += weight_of(set, k);
      if (column_of(k) % 5 == 0) by_columns[k / FAN] += weight_of(set, k);
    }
    for (int j = 0; j < COLS; j++) assert_true(bdl_tensor_at(&out[2 * set], j).f32 == by_rows[j]);
    for (int i = 0; i < ROWS; i++) assert_true(bdl_tensor_at(&out[2 * set + 1], i).f32 == by_columns[i]);
  }
}

static bdl_status run_products(bdl_context *c) {
  const bdl_aval type[3] = {bdl_aval_make(BDL_BOOL, 1, &(int64_t){ROWS}), bdl_aval_make(BDL_BOOL, 1, &(int64_t){COLS}),
                            bdl_aval_make(BDL_F32, 1, &(int64_t){NNZ})};
  bdl_prog *p;
  bdl_plan *plan = NULL;
  bdl_tensor in[3] = {0}, out[PRODUCTS] = {0};
  c->threads = 2;
  if (!bdl_device_cpu(c)) return BDL_ENOMEM;
  TRY(bdl_native_set_tier(c, "interp")); /* native code does without what memory refuses */
  TRY(bdl_prog_new(c, "p", &p));
  bdl_status s = products(p);
  if (s == BDL_OK) s = bdl_plan_new(c, p, NULL, &plan);
  for (int k = 0; k < 3 && s == BDL_OK; k++) s = bdl_tensor_new(bdl_device_cpu(c), &type[k], &in[k]);
  if (s == BDL_OK) {
    for (int i = 0; i < ROWS; i++) ((bool *)bdl_tensor_data(&in[0]))[i] = i % 3 == 0;
    for (int j = 0; j < COLS; j++) ((bool *)bdl_tensor_data(&in[1]))[j] = j % 5 == 0;
    for (int k = 0; k < NNZ; k++) ((float *)bdl_tensor_data(&in[2]))[k] = weight_of(3, k);
    s = bdl_exec_run(plan, in, out);
  }
  if (s == BDL_OK) check_products(out);
  for (int k = 0; k < PRODUCTS; k++) bdl_tensor_unref(&out[k]);
  for (int k = 0; k < 3; k++) bdl_tensor_unref(&in[k]);
  if (plan) bdl_plan_free(plan);
  bdl_prog_unref(p);
  return s;
}

static void products_of_one_pattern_share_what_fits(void **state) { assert_int_equal(run_products(*state), BDL_OK); }

/* A s and its batch, the matrix out of order with weights whose sums are rounded: a constant, which goes by its columns, or not. */
enum { LONG = 900, SPREAD = 7 }; /* entries of a row, more than are put in order at a time; some twice */

static int32_t unsorted_column(int k) { return k * 7919 % (COLS / 2) + k % SPREAD; }
static int32_t long_pointer(int k) { return k * LONG; }

static bdl_status run_unsorted(bdl_context *c, bool constant, int64_t batch, bdl_tensor *out) {
  enum { ENTRIES = 20 * LONG };
  const bdl_aval types[] = {bdl_aval_make(BDL_BOOL, 2, (int64_t[]){batch, COLS}), bdl_aval_make(BDL_F32, 1, &(int64_t){ENTRIES}),
                            bdl_aval_make(BDL_I32, 1, &(int64_t){ENTRIES}), bdl_aval_make(BDL_I32, 1, &(int64_t){2})};
  bdl_prog *p;
  bdl_atom x[4], z;
  bdl_tensor in[4];
  TRY(bdl_prog_new(c, "p", &p));
  for (int k = 0; k < 4; k++) {
    assert_int_equal(bdl_tensor_new(bdl_device_cpu(c), &types[k], &in[k]), BDL_OK);
    void *data = bdl_tensor_data(&in[k]);
    for (int64_t i = 0; i < bdl_aval_numel(&types[k]); i++)
      if (k == 0) ((bool *)data)[i] = i * 31 % 10 < 7;
      else if (k == 1) ((float *)data)[i] = (float)((double)(i * 1237 % 1009) / 97.0);
      else ((int32_t *)data)[i] = k == 2 ? unsorted_column((int)i) : long_pointer((int)i);
    if (k < 2 || !constant) TRY(bdl_ir_input(p, &types[k], &x[k]));
    else TRY(bdl_ir_const(p, &in[k], &x[k]));
  }
  if (batch == 1) TRY(bdl_ir_reshape(p, x[0], 1, (int64_t[]){COLS}, &x[0]));
  TRY(bdl_bind(p, BDL_P_csr_dot, (bdl_param[]){bdl_pint(20), bdl_pint(COLS), bdl_pint(1), bdl_pint(1)}, x, 4, &z));
  TRY(bdl_prog_set_outputs(p, &z, 1));
  const bdl_status s = bdl_exec_prog(c, p, in, out);
  for (int k = 0; k < 4; k++) bdl_tensor_unref(&in[k]);
  bdl_prog_unref(p);
  return s;
}

static void columns_are_added_in_their_order(void **state) {
  for (int64_t batch = 1; batch <= 3; batch += 2) {
    bdl_tensor a = {0}, b = {0};
    assert_int_equal(run_unsorted(*state, true, batch, &a), BDL_OK);
    assert_int_equal(run_unsorted(*state, false, batch, &b), BDL_OK);
    if (!a.buf || !b.buf) return;
    assert_memory_equal(bdl_tensor_data(&a), bdl_tensor_data(&b), bdl_aval_bytes(&a.aval));
    assert_true(bdl_tensor_at(&a, 0).f32 > 0);
    bdl_tensor_unref(&a), bdl_tensor_unref(&b);
  }
}

static void failed_allocations_leave_nothing(void **state) {
  (void)state;
  for (int persistent = 0; persistent < 2; persistent++) assert_true(t_survive(run_products, persistent) > 10);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      T_TEST(a_sum_is_updated_where_it_lies),
      T_TEST(what_is_still_read_is_not_written_over),
      T_TEST(products_share_the_list_of_events),
      T_TEST(products_of_one_pattern_share_what_fits),
      T_TEST(columns_are_added_in_their_order),
      cmocka_unit_test(failed_allocations_leave_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

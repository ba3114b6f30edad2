/*
** Costs of instructions, their explanation and their profile: what known programs move and compute, rows that outlive their
** plans, events in bounds, failed allocations.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "exec/exec_context.h"
#include "exec/limits.h"
#include "plan/cost.h"
#include "../support/faults.h"
#include "programs.h"

static const char LOOP[] =
  "program loop(w:f32[6,6], a:f32[6]) {\n"
  "  b:f32[6] = scan[consts=1 carry=1 length=20 reverse=0 body={program body(w:f32[6,6], a:f32[6]) {\n"
  "    b:f32[6] = dot[lhs_contract=(0) rhs_contract=(0) lhs_batch=() rhs_batch=()] a w  @ \"m.lua\":3\n"
  "    c:f32[6] = tanh b  @ \"m.lua\":4\n"
  "    d:f32[6] = mul c 0.5:f32  @ \"m.lua\":6\n"
  "    e:f32[] = reduce_max[axes=(0)] d  @ \"m.lua\":6\n"
  "    f:f32[6] = sub d e  @ \"m.lua\":7\n"
  "    return f\n  }}] w a  @ \"m.lua\":2\n"
  "  return b\n}\n";

static bdl_status plan_of(bdl_context *c, const char *text, bdl_plan **plan) {
  bdl_prog *p;
  TRY(bdl_ir_parse(c, text, strlen(text), &p));
  const bdl_status s = bdl_plan_new(c, p, NULL, plan);
  bdl_prog_unref(p);
  return s;
}

static const bdl_inst *find(const bdl_plan *plan, bdl_inst_kind kind, int nth) {
  for (int32_t k = 0; k < plan->n_insts; k++)
    if (plan->by_id[k]->kind == kind && nth-- == 0) return plan->by_id[k];
  fail_msg("no such instruction");
  return NULL;
}

static void costs_are_those_of_the_types(void **state) {
  (void)state;
  bdl_context *c = bdl_context_new(NULL, NULL);
  bdl_plan *plan;
  t_check(c, plan_of(c, LOOP, &plan));
  const bdl_cost dot = bdl_plan_cost(find(plan, BDL_I_KERNEL, 0)), first = bdl_plan_cost(find(plan, BDL_I_GROUP, 0)),
                 second = bdl_plan_cost(find(plan, BDL_I_GROUP, 1)), loop = bdl_plan_cost(find(plan, BDL_I_SCAN, 0));
  assert_true(dot.read == 4 * (6 + 36) && dot.written == 24 && dot.flops == 2 * 36 && !dot.at_most);
  assert_true(first.read == 24 && first.written == 24 && first.flops == 6 * (20 + 1 + 1)); /* tanh, mul, max */
  assert_true(second.read == 24 && second.written == 24 && second.flops == 6);
  assert_true(loop.read == 0 && loop.written == 0 && loop.flops == 0);
  bdl_str lines;
  bdl_str_init(&lines, c);
  bdl_plan_lines(find(plan, BDL_I_GROUP, 0), &lines);
  assert_string_equal(lines.s, "m.lua:4,6");
  bdl_str_fini(&lines);
  bdl_plan_free(plan);
  bdl_context_free(c);
}

static void scaled_numbers_keep_three_digits(void **state) {
  (void)state;
  char t[BDL_SCALED_TEXT];
  assert_string_equal(bdl_scaled_text(0, "B", t), "0 B");
  assert_string_equal(bdl_scaled_text(999, "B", t), "999 B");
  assert_string_equal(bdl_scaled_text(999.6, "B", t), "1.0 kB");
  assert_string_equal(bdl_scaled_text(123456, "flop", t), "123 kflop");
  assert_string_equal(bdl_scaled_text(5e15, "B", t), "5000 TB");
}

static bdl_status explain(bdl_context *c) {
  bdl_plan *plan;
  bdl_str text;
  bdl_str_init(&text, c);
  bdl_status s = plan_of(c, LOOP, &plan);
  if (s == BDL_OK) {
    s = bdl_plan_explain(plan, &text);
    bdl_plan_free(plan);
  }
  bdl_str_fini(&text);
  return s;
}

static void explaining_survives_failed_allocations(void **state) {
  (void)state;
  assert_true(t_survive(explain, false) > 20);
  assert_true(t_survive(explain, true) > 20);
}

/* The plan once, profiled, made and freed. */
static bdl_status run_once(bdl_context *c, const bdl_tensor *in) {
  bdl_plan *plan;
  TRY(plan_of(c, LOOP, &plan));
  bdl_tensor out = {.buf = NULL};
  const bdl_status s = bdl_exec_run(plan, in, &out);
  if (s == BDL_OK) bdl_tensor_unref(&out);
  bdl_plan_free(plan);
  return s;
}

static int count(const char *text, const char *piece) {
  int n = 0;
  while ((text = strstr(text, piece)) != NULL) text++, n++;
  return n;
}

static void rows_outlive_plans(void **state) {
  (void)state;
  t_faults f = {.left = INT64_MAX};
  bdl_context *c = bdl_context_new(t_failing_alloc, &f);
  bdl_exec_context *x;
  bdl_tensor in[2];
  bdl_str text;
  int64_t left_out = -1;
  uint64_t rng = 1;
  c->threads = 1;
  t_check(c, bdl_exec_get(c, &x));
  t_check(c, bdl_native_set_tier(c, "interp"));
  const bdl_aval w = bdl_aval_make(BDL_F32, 2, (int64_t[]){6, 6}), a = bdl_aval_make(BDL_F32, 1, (int64_t[]){6});
  in[0] = t_random_tensor(c, &w, -1, 1, &rng);
  in[1] = t_random_tensor(c, &a, -1, 1, &rng);
  t_check(c, bdl_exec_profile_start(x, true));
  bdl_status s = BDL_ENOMEM;
  for (int k = 0; s != BDL_OK; k++) { /* the n-th allocation fails, until none does */
    f.left = k;
    s = run_once(c, in);
    f.left = INT64_MAX;
    assert_true(s == BDL_OK || s == BDL_ENOMEM);
  }
  bdl_exec_profile_stop(x);
  t_check(c, bdl_exec_profile_start(x, true));
  for (int k = 0; k < 3; k++) t_check(c, run_once(c, in));
  bdl_str_init(&text, c);
  t_check(c, bdl_exec_profile_print(x, &text));
  assert_int_equal(count(text.s, "fused 3: tanh mul reduce_max over [6]  m.lua:4,6\n"), 1);
  assert_non_null(strstr(text.s, "        60 ")); /* calls: 3 loops of 20 steps */
  assert_non_null(strstr(text.s, "dot f32[6] f32[6,6]  m.lua:3\n"));
  assert_non_null(strstr(text.s, "loop of 20 steps, itself  m.lua:2\n"));
  bdl_str_fini(&text);
  bdl_str_init(&text, c);
  t_check(c, bdl_exec_profile_events(x, &text, &left_out));
  assert_int_equal(left_out, 0);
  assert_int_equal(count(text.s, "\"name\":\"fused 3: tanh mul reduce_max over [6]\""), 60);
  bdl_str_fini(&text);
  t_drop(in, 2);
  bdl_context_free(c);
}

static void limits_are_measured_or_missing(void **state) {
  (void)state;
  bdl_context *c = bdl_context_new(NULL, NULL);
  bdl_exec_context *x;
  t_check(c, bdl_exec_get(c, &x));
  const bdl_limits l = bdl_exec_limits(x);
  assert_true(l.bytes_per_s > 1e7 && l.flops_per_s > 1e7 && l.clock_ns > 0);
  c->mem_limit = c->mem_used + 1000;
  assert_true(bdl_exec_limits(x).bytes_per_s == 0);
  c->mem_limit = 0;
  bdl_context_free(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(costs_are_those_of_the_types),  cmocka_unit_test(scaled_numbers_keep_three_digits),
    cmocka_unit_test(explaining_survives_failed_allocations), cmocka_unit_test(rows_outlive_plans),
    cmocka_unit_test(limits_are_measured_or_missing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
** test_etrace.c -- a step of a trace and its gradient become one pass over it: when, with the same bits, and in place.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../ir/text.h"
#include "../support/random.h"
#include "exec/exec_context.h"
#include "plan/build.h"

#define OK(e) \
  do { \
    if ((e) != BDL_OK) fail_msg("%s", bdl_last_error(*state)->message);  \
  } while (0)

/* e [1,2,3,4] of one state, 2 rows, 3 inputs, 4 outputs */
#define INPUTS "e:f32[1,2,3,4], x:f32[2,3], d:f32[2,4], s:f32[3,4]"
#define STEP "z:f32[1,2,3,4] = etrace_step[pairs=(0) fed=(0) scaled=0] e x d d\n"
#define SIGNAL "l:f32[2,4] = exp d\n"
#define GRAD "g:f32[1,3,4] = etrace_grad[groups=1 fed=(0)] z l\n"
#define WEIGHT "w:f32[3,4] = reshape[shape=(3,4)] g\n"

/* Text of the program with these equations after fusion. */
static void check(void **state, const char *before, const char *after) {
  bdl_prog *q = NULL;
  bdl_str s[2];
  const char *const text[] = {before, after};
  for (int i = 0; i < 2; i++) {
    bdl_str_init(&s[i], *state);
    bdl_str_addf(&s[i], "program p(" INPUTS ") {\n%s\n}", text[i]);
  }
  bdl_prog *p = t_parse(*state, s[0].s);
  OK(bdl_plan_fuse_traces(p, &q));
  OK(bdl_ir_verify(q));
  t_expect(q, s[1].s);
  if (strcmp(before, after) == 0) assert_ptr_equal(p, q);
  bdl_prog_unref(q);
  bdl_prog_unref(p);
  for (int i = 0; i < 2; i++) bdl_str_fini(&s[i]);
}

#define KEEPS(text) check(state, text, text)
#define LEARNT "z:f32[1,2,3,4], g:f32[1,3,4] = " LEARN
#define LEARN "etrace_learn[pairs=(0) fed=(0) scaled=0 groups=1 signals=(0) "

static void the_step_waits_for_the_signal(void **state) {
  check(state, STEP SIGNAL GRAD " return z, g", SIGNAL LEARNT "summed=0] e x d d l\n return z, g");
  check(state, STEP SIGNAL GRAD "a:f32[1,2,3,4] = neg z\n return a, g",
        SIGNAL LEARNT "summed=0] e x d d l\n a:f32[1,2,3,4] = neg z\n return a, g");
}

static void what_is_read_in_between_is_not_moved(void **state) {
  KEEPS(STEP "a:f32[1,2,3,4] = neg z\n" SIGNAL GRAD " return z, g, a");
  KEEPS(STEP " return z");
  KEEPS("l:f32[2,4] = exp d\n g:f32[1,3,4] = etrace_grad[groups=1 fed=(0)] e l\n return g");
}

static void a_sum_goes_along(void **state) {
  check(state, STEP SIGNAL GRAD WEIGHT "t:f32[3,4] = add s w\n return z, t",
        SIGNAL "z:f32[1,2,3,4], t:f32[3,4] = " LEARN "summed=1] e s x d d l\n return z, t");
  check(state, STEP SIGNAL GRAD WEIGHT "t:f32[3,4] = add w s\n return z, t",
        SIGNAL "z:f32[1,2,3,4], t:f32[3,4] = " LEARN "summed=1] e s x d d l\n return z, t");
}

static void a_gradient_that_others_read_is_not_summed(void **state) {
  check(state, STEP SIGNAL GRAD WEIGHT "t:f32[3,4] = add s w\n return z, t, w",
        SIGNAL LEARNT "summed=0] e x d d l\n" WEIGHT "t:f32[3,4] = add s w\n return z, t, w");
  check(state, STEP SIGNAL GRAD WEIGHT "t:f32[3,4] = add w w\n return z, t",
        SIGNAL LEARNT "summed=0] e x d d l\n" WEIGHT "t:f32[3,4] = add w w\n return z, t");
  check(state, STEP SIGNAL GRAD "a:f32[1,2,3,4] = neg z\n" WEIGHT "t:f32[3,4] = add s w\n return a, t",
        SIGNAL LEARNT "summed=0] e x d d l\n a:f32[1,2,3,4] = neg z\n" WEIGHT
               "t:f32[3,4] = add s w\n return a, t");
}

static void of_two_gradients_in_a_sum_one_goes_along(void **state) {
  check(state,
        STEP "y:f32[1,2,3,4] = etrace_step[pairs=() fed=(0) scaled=0] e x d\n" SIGNAL GRAD
             "h:f32[1,3,4] = etrace_grad[groups=1 fed=(0)] y l\n t:f32[1,3,4] = add g h\n return z, y, t",
        SIGNAL "y:f32[1,2,3,4], h:f32[1,3,4] = etrace_learn[pairs=() fed=(0) scaled=0 groups=1 signals=(0) summed=0]"
               " e x d l\n"
               "z:f32[1,2,3,4], t:f32[1,3,4] = " LEARN "summed=1] e h x d d l\n return z, y, t");
}

/* ---- running -------------------------------------------------------------------------------------- */

/* A trace of two states and the sum of its gradients carried by a loop; the signal depends on the step. */
#define LOOP \
  "program p(e:f32[2,3,50,70], s:f32[50,70], xs:f32[4,3,50], d:f32[3,70]) {\n" \
  " e2:f32[2,3,50,70], s2:f32[50,70] = scan[consts=1 carry=2 length=4 reverse=0 body={" \
  "program b(d:f32[3,70], e:f32[2,3,50,70], s:f32[50,70], x:f32[3,50]) {\n" \
  " f:f32[3,70] = sin d\n z:f32[2,3,50,70] = etrace_step[pairs=(0,1,3) fed=(0) scaled=0] e x d f d f\n" \
  " l:f32[3,70] = cos d\n g:f32[1,50,70] = etrace_grad[groups=1 fed=(0,1)] z l f\n" \
  " w:f32[50,70] = reshape[shape=(50,70)] g\n" \
  " t:f32[50,70] = add s w\n return z, t }}] d e s xs\n return e2, s2\n}"

static bdl_tensor random_tensor(void **state, const bdl_aval *a, uint64_t *seed) {
  bdl_tensor t;
  OK(bdl_tensor_new(bdl_device_cpu(*state), a, &t));
  for (int64_t i = 0; i < bdl_aval_numel(a); i++)
    ((float *)bdl_tensor_data(&t))[i] = (float)(t_random(seed) >> 40) / (float)(1 << 24) - 0.5f;
  return t;
}

static void one_pass_has_the_bits_of_two(void **state) {
  bdl_context *c = *state;
  bdl_exec_context *x;
  bdl_prog *p = t_parse(c, LOOP);
  bdl_tensor in[4], out[3][2];
  uint64_t seed = 1;
  OK(bdl_exec_get(c, &x));
  for (int i = 0; i < 4; i++) in[i] = random_tensor(state, bdl_aval_of(p, p->inputs.v[i]), &seed);
  for (int way = 0; way < 3; way++) {
    bdl_plan *plan = NULL;
    c->unfused = way == 0;
    x->threads = way == 2 ? 2 : 1;
    OK(bdl_plan_new(c, p, NULL, &plan));
    for (int i = 0; i < 2; i++) out[way][i].buf = NULL;
    OK(bdl_exec_run(plan, in, out[way]));
    bdl_plan_free(plan);
    for (int i = 0; i < 2; i++)
      assert_memory_equal(bdl_tensor_data(&out[way][i]), bdl_tensor_data(&out[0][i]), bdl_aval_bytes(&out[0][i].aval));
  }
  c->unfused = 0;
  x->threads = 1;
  for (int way = 0; way < 3; way++)
    for (int i = 0; i < 2; i++) bdl_tensor_unref(&out[way][i]);
  for (int i = 0; i < 4; i++) bdl_tensor_unref(&in[i]);
  bdl_prog_unref(p);
}

static int count(const bdl_block *b, bdl_inst_kind kind) {
  int n = 0;
  for (int k = 0; k < b->n; k++) n += b->v[k].kind == kind;
  return n;
}

static void a_loop_changes_trace_and_sum_in_place(void **state) {
  bdl_prog *p = t_parse(*state, LOOP);
  bdl_plan *plan = NULL;
  OK(bdl_plan_new(*state, p, (int32_t[]){0, 1}, &plan));
  const bdl_block *body = NULL;
  for (int k = 0; k < plan->block.n; k++)
    if (plan->block.v[k].kind == BDL_I_SCAN) body = &plan->block.v[k].scan.body;
  if (!body) {
    fail_msg("no loop");
    return;
  }
  assert_int_equal(count(body, BDL_I_KERNEL), 1);
  assert_int_equal(count(body, BDL_I_COPY), 0);
  assert_true(plan->inplace[0] && plan->inplace[1]);
  bdl_plan_free(plan);
  bdl_prog_unref(p);
}

static void states_are_changed_in_place(void **state) {
  bdl_prog *p = t_parse(*state, "program p(" INPUTS ") {\n" STEP SIGNAL GRAD WEIGHT
                                "t:f32[3,4] = add s w\n return z, t\n}");
  bdl_plan *plan = NULL;
  OK(bdl_plan_new(*state, p, (int32_t[]){0, 3}, &plan));
  assert_true(plan->inplace[0] && plan->inplace[1]);
  bdl_plan_free(plan);
  OK(bdl_plan_new(*state, p, (int32_t[]){3, 0}, &plan)); /* of other operands */
  assert_false(plan->inplace[0] || plan->inplace[1]);
  bdl_plan_free(plan);
  bdl_prog_unref(p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    T_TEST(the_step_waits_for_the_signal),
    T_TEST(what_is_read_in_between_is_not_moved),
    T_TEST(a_sum_goes_along),
    T_TEST(a_gradient_that_others_read_is_not_summed),
    T_TEST(of_two_gradients_in_a_sum_one_goes_along),
    T_TEST(one_pass_has_the_bits_of_two),
    T_TEST(a_loop_changes_trace_and_sum_in_place),
    T_TEST(states_are_changed_in_place),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
** test_products.c -- what is added to a product goes into it, weights are packed before a loop: when, with the same bits.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../exec/programs.h"
#include "../ir/text.h"
#include "exec/exec_context.h"
#include "plan/build.h"

#define AXES "[lhs_contract=(1) rhs_contract=(0) lhs_batch=() rhs_batch=()"
#define INPUTS "program p(x:f32[40,9], w:f32[9,30], b:f32[30], c:f32[40,30]) {\n"
#define DOT "y:f32[40,30] = dot" AXES "] x w\n"
#define ADD "z:f32[40,30] = add y b\n"
#define BOTH "z:f32[40,30] = dot_add" AXES " onto=0] x w b\n"

static void check(void **state, const char *before, const char *after) {
  bdl_prog *p = t_parse(*state, before), *q = NULL;
  t_check(*state, bdl_plan_add_to_products(p, &q));
  t_check(*state, bdl_ir_verify(q));
  t_expect(q, after);
  if (strcmp(before, after) == 0) assert_ptr_equal(p, q);
  bdl_prog_unref(q);
  bdl_prog_unref(p);
}

#define TURNS(before, after) check(state, INPUTS before "\n}", INPUTS after "\n}")
#define KEEPS(text) TURNS(text, text)

static void a_number_a_column_goes_along(void **state) {
  TURNS(DOT ADD " return z", BOTH " return z");
  TURNS(DOT "z:f32[40,30] = add b y\n return z", BOTH " return z");
  TURNS(DOT ADD "m:f32[40] = reduce_max[axes=(1)] z\n return m", BOTH "m:f32[40] = reduce_max[axes=(1)] z\n return m");
}

static void a_group_that_reads_the_sum_keeps_it(void **state) {
  KEEPS(DOT ADD "t:f32[40,30] = tanh z\n return t");
  KEEPS(DOT ADD "r:f32[1200] = reshape[shape=(1200)] z\n t:f32[1200] = tanh r\n return t");
  KEEPS(DOT ADD "s:f32[] = reduce_sum[axes=(0,1)] z\n return s");
}

static void products_that_others_read_stay(void **state) {
  KEEPS(DOT ADD " return y, z");
  KEEPS(DOT "z:f32[40,30] = add y y\n return z");
  KEEPS(DOT "z:f32[40,30] = add y c\n return z"); /* not in place */
}

#define BATCH "[lhs_contract=(2) rhs_contract=(1) lhs_batch=(0) rhs_batch=(0)"

static void only_one_pass_of_register_blocks_adds(void **state) {
  static const char *const text[] = {
    "program p(x:f32[2,9], w:f32[9,30], b:f32[30]) {\n y:f32[2,30] = dot" AXES "] x w\n z:f32[2,30] = add y b\n return z\n}",
    "program p(x:f32[40,257], w:f32[257,30], b:f32[30]) {\n y:f32[40,30] = dot" AXES "] x w\n z:f32[40,30] = add y b\n return z\n}",
    "program p(x:i32[40,9], w:i32[9,30], b:i32[30]) {\n y:i32[40,30] = dot" AXES "] x w\n z:i32[40,30] = add y b\n return z\n}",
    "program p(x:f32[5,8,9], w:f32[5,9,7], b:f32[7]) {\n y:f32[5,8,7] = dot" BATCH "] x w\n z:f32[5,8,7] = add y b\n return y, z\n}",
  };
  for (int i = 0; i < BDL_LEN(text); i++) check(state, text[i], text[i]);
}

/* A gradient summed over steps; what comes of it in `rest`. */
#define LOOP(body, out) \
  "program p(g:f32[90,70], xs:f32[6,20,90], d:f32[20,70]) {\n g2:f32[90,70]" out " = scan[consts=1 carry=1 length=6 reverse=0 " \
  "body={program b(d:f32[20,70], g:f32[90,70], x:f32[20,90]) {\n" body "}}] d g xs\n return g2\n}"
#define OUTER "y:f32[90,70] = dot[lhs_contract=(0) rhs_contract=(0) lhs_batch=() rhs_batch=()] x d\n"
#define INTO "t:f32[90,70] = dot_add[lhs_contract=(0) rhs_contract=(0) lhs_batch=() rhs_batch=() onto=1] x d g\n return t\n"

static void a_carried_sum_goes_along(void **state) {
  check(state, LOOP(OUTER "t:f32[90,70] = add g y\n return t\n", ""), LOOP(INTO, ""));
  check(state, LOOP(OUTER "t:f32[90,70] = add y g\n return t\n", ""), LOOP(INTO, ""));
  check(state, LOOP(OUTER "t:f32[90,70] = sub g y\n return t\n", ""), LOOP(OUTER "t:f32[90,70] = sub g y\n return t\n", ""));
#define OTHERS(text, out) check(state, LOOP(text, out), LOOP(text, out))
  OTHERS(OUTER "t:f32[90,70] = add g y\n return t, t\n", ", a:f32[6,90,70]");
  OTHERS(OUTER "t:f32[90,70] = add g y\n return t, g\n", ", a:f32[6,90,70]");
  OTHERS(OUTER "t:f32[90,70] = add g y\n u:f32[90,70] = mul t 0.5:f32\n return u\n", "");
}

/* ---- weights of loops */

/* h = tanh (h w) */
#define FORWARD "y:f32[20,90] = dot" AXES "] h w\n t:f32[20,90] = tanh y\n"
#define STEPS(length) "program p(w:f32[90,90], h:f32[20,90]) {\n g:f32[20,90] = scan[consts=1 carry=1 length=" length " reverse=0" \
  " body={program b(w:f32[90,90], h:f32[20,90]) {\n" FORWARD " return t }}] w h\n return g\n}"

static void expect_loop(void **state, const char *text, bool packed) {
  bdl_prog *p = t_parse(*state, text);
  bdl_plan *plan = NULL;
  t_check(*state, bdl_plan_new(*state, p, NULL, &plan));
  int before = 0, within = 0;
  for (int k = 0; k < plan->block.n; k++) {
    const bdl_inst *i = &plan->block.v[k];
    before += i->kind == BDL_I_KERNEL && i->prim == BDL_P_dot_pack;
    for (int n = 0; i->kind == BDL_I_SCAN && n < i->scan.body.n; n++) {
      assert_int_not_equal(i->scan.body.v[n].prim, BDL_P_dot_pack);
      within += i->scan.body.v[n].prim == BDL_P_packed_dot;
    }
  }
  assert_int_equal(before, packed);
  assert_int_equal(within, packed);
  bdl_plan_free(plan);
  bdl_prog_unref(p);
}

#define TURNED "program p(w:f64[300,45], h:f64[300,20]) {\n g:f64[300,20] = scan[consts=1 carry=1 length=33 reverse=0 body={" \
  "program b(w:f64[300,45], h:f64[300,20]) {\n y:f64[20,45] = dot[lhs_contract=(0) rhs_contract=(0) lhs_batch=() rhs_batch=()] h w\n" \
  " z:f64[20,300] = dot[lhs_contract=(1) rhs_contract=(1) lhs_batch=() rhs_batch=()] y w\n" \
  " u:f64[300,20] = permute[axes=(1,0)] z\n t:f64[300,20] = tanh u\n return t }}] w h\n return g\n}"
#define CARRIED "program p(w:f32[90,90], h:f32[20,90]) {\n v:f32[90,90], g:f32[20,90] = scan[consts=0 carry=2 length=40 reverse=0 body={" \
  "program b(w:f32[90,90], h:f32[20,90]) {\n" FORWARD " v:f32[90,90] = mul w 0.5:f32\n return v, t }}] w h\n return v, g\n}"

static void weights_that_stay_are_packed_once(void **state) {
  expect_loop(state, STEPS("40"), true);
  expect_loop(state, STEPS("4"), false);
  expect_loop(state, CARRIED, false);
  bdl_context *c = *state;
  c->unfused = 1;
  expect_loop(state, STEPS("40"), false);
  c->unfused = 0;
}

/* ---- running -------------------------------------------------------------------------------------- */

/* Results of p unfused, fused, with two threads, in the native tier. */
static void agree(bdl_context *c, const char *text) {
  bdl_prog *p = t_parse(c, text);
  bdl_tensor in[8], want[4] = {0}, got[4] = {0};
  bdl_exec_context *x = t_tier(c, "interp");
  t_inputs_of(p, in);
  for (int way = 0; way < 4; way++) {
    bdl_plan *plan = NULL;
    c->unfused = way == 0;
    x->threads = way == 2 ? 2 : 1;
    if (way == 3) t_tier(c, "native");
    t_check(c, bdl_plan_new(c, p, NULL, &plan));
    t_check(c, bdl_exec_run(plan, in, way ? got : want));
    if (way) t_same_bits(want, got, p->n_outputs, text, (uint64_t)way);
    if (way) t_drop(got, p->n_outputs);
    bdl_plan_free(plan);
  }
  t_tier(c, "interp");
  t_drop(want, p->n_outputs);
  t_drop(in, (int)p->inputs.n);
  bdl_prog_unref(p);
}

static void one_pass_has_the_bits_of_two(void **state) {
  agree(*state, LOOP(OUTER "t:f32[90,70] = add g y\n return t\n", ""));
  agree(*state, INPUTS DOT ADD " return z\n}");
  agree(*state, "program p(x:f32[70,60,64], w:f32[64,300], b:f32[300]) {\n" /* by threads */
                " y:f32[70,60,300] = dot[lhs_contract=(2) rhs_contract=(0) lhs_batch=() rhs_batch=()] x w\n"
                " z:f32[70,60,300] = add b y\n r:f32[70,60,300] = reverse[axes=(0)] z\n return z, r\n}");
  agree(*state, "program p(x:f64[7,60,64], w:f64[7,64,30], s:f64[7,60,30]) {\n"
                " t:f64[7,60,30] = scan[consts=2 carry=1 length=3 reverse=0 body={program b(x:f64[7,60,64], w:f64[7,64,30], s:f64[7,60,30]) {\n"
                " y:f64[7,60,30] = dot[lhs_contract=(2) rhs_contract=(1) lhs_batch=(0) rhs_batch=(0)] x w\n"
                " t:f64[7,60,30] = add y s\n return t\n}}] x w s\n return t\n}");
}

static void packed_weights_change_no_bit(void **state) {
  agree(*state, STEPS("40"));
  agree(*state, TURNED);
}

static void a_carried_sum_is_changed_in_place(void **state) {
  bdl_prog *p = t_parse(*state, LOOP(OUTER "t:f32[90,70] = add g y\n return t\n", ""));
  bdl_plan *plan = NULL;
  t_check(*state, bdl_plan_new(*state, p, (int32_t[]){0}, &plan));
  assert_true(plan->inplace[0]);
  int loops = 0;
  for (int k = 0; k < plan->block.n; k++) {
    const bdl_block *body = &plan->block.v[k].scan.body;
    if (plan->block.v[k].kind != BDL_I_SCAN) continue;
    assert_int_equal(body->n, 1);
    assert_int_equal(body->v[0].prim, BDL_P_dot_add);
    loops++;
  }
  assert_int_equal(loops, 1);
  bdl_plan_free(plan);
  bdl_prog_unref(p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    T_TEST(a_number_a_column_goes_along), T_TEST(a_group_that_reads_the_sum_keeps_it), T_TEST(products_that_others_read_stay),
    T_TEST(only_one_pass_of_register_blocks_adds), T_TEST(a_carried_sum_goes_along), T_TEST(one_pass_has_the_bits_of_two),
    T_TEST(a_carried_sum_is_changed_in_place), T_TEST(weights_that_stay_are_packed_once), T_TEST(packed_weights_change_no_bit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

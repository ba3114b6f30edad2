/*
** test_build.c -- building programs: what bdl_bind refuses, folds, shares, and leaves alone.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "text.h"

#define OK(e) assert_int_equal(e, BDL_OK)

static bdl_prog *program(void **state) {
  bdl_prog *p = NULL;
  OK(bdl_prog_new(*state, "p", &p));
  return p;
}

static bdl_atom input(bdl_prog *p, bdl_dtype d, int ndim, const int64_t *shape) {
  const bdl_aval a = bdl_aval_make(d, ndim, shape);
  bdl_atom x = BDL_ZERO;
  OK(bdl_ir_input(p, &a, &x));
  return x;
}

static void a_refused_equation_leaves_the_program_alone(void **state) {
  bdl_prog *p = program(state);
  const bdl_atom x = input(p, BDL_F32, 1, (int64_t[]){3}), y = input(p, BDL_F32, 1, (int64_t[]){4});
  const bdl_atom i = input(p, BDL_I32, 0, NULL);
  const int64_t vars = p->vars.n;
  const bdl_param none = bdl_pint(0);
  bdl_atom z = 77;
  p->src = (bdl_src){"models/lif.lua", 18};
  assert_int_equal(bdl_bind2(p, BDL_P_add, x, y, &z), BDL_ESHAPE);
  assert_string_equal(p->ctx->error.message, "add: shapes of float32[3] and float32[4] do not broadcast together");
  assert_int_equal(p->ctx->error.where.line, 18);
  assert_int_equal(bdl_bind2(p, BDL_P_mul, x, i, &z), BDL_ETYPE);
  assert_string_equal(p->ctx->error.message, "mul: dtypes differ, f32[3] and i32[]");
  assert_int_equal(bdl_bind1(p, BDL_P_exp, i, &z), BDL_ETYPE);
  assert_string_equal(p->ctx->error.message, "exp: not defined on i32[], only on f32, f64");
  assert_int_equal(bdl_bind(p, BDL_P_add, NULL, &x, 1, &z), BDL_EVALUE);
  assert_int_equal(bdl_bind(p, BDL_P_cast, &none, &x, 1, &z), BDL_EVALUE); /* not of kind dtype */
  assert_int_equal(bdl_bind(p, BDL_P_cast, NULL, &x, 1, &z), BDL_EINTERNAL);
  assert_int_equal(bdl_bind2(p, BDL_P_add, x, 99, &z), BDL_EINTERNAL);
  assert_int_equal(bdl_bind2(p, BDL_P_add, x, BDL_ZERO, &z), BDL_EINTERNAL);
  assert_int_equal(p->vars.n, vars);
  assert_int_equal(p->eqns.n, 0);
  assert_int_equal(z, 77);
  bdl_prog_unref(p);
}

static void literals_are_one_variable_a_value(void **state) {
  bdl_prog *p = program(state);
  bdl_atom a, b;
  OK(bdl_ir_scalar(p, BDL_F32, 1.5, &a));
  OK(bdl_ir_scalar(p, BDL_F32, 1.5, &b));
  assert_int_equal(a, b);
  OK(bdl_ir_scalar(p, BDL_F64, 1.5, &b));
  assert_int_not_equal(a, b);
  OK(bdl_ir_scalar(p, BDL_F32, 0.0, &a));
  OK(bdl_ir_scalar(p, BDL_F32, -0.0, &b));
  assert_int_not_equal(a, b);
  /* what lies behind a small value does not count */
  OK(bdl_ir_literal(p, BDL_BOOL, (bdl_scalar){.bits = 0xff00ff01}, &a));
  OK(bdl_ir_literal(p, BDL_BOOL, (bdl_scalar){.b = true}, &b));
  assert_int_equal(a, b);
  bdl_prog_unref(p);
}

static void constants_are_one_variable_a_view(void **state) {
  bdl_context *c = *state;
  bdl_prog *p = program(state);
  const bdl_aval a = bdl_aval_make(BDL_F32, 1, (int64_t[]){4});
  bdl_tensor t, half;
  bdl_atom x, y, z;
  OK(bdl_tensor_new(bdl_device_cpu(c), &a, &t));
  half = t;
  half.aval.shape[0] = 2;
  OK(bdl_ir_const(p, &t, &x));
  OK(bdl_ir_const(p, &t, &y));
  OK(bdl_ir_const(p, &half, &z));
  assert_int_equal(x, y);
  assert_int_not_equal(x, z);
  assert_int_equal(t.buf->refs, 3);
  bdl_prog_unref(p);
  assert_int_equal(t.buf->refs, 1);
  bdl_tensor_unref(&t);
}

static void equations_that_are_their_operand_are_not_made(void **state) {
  bdl_prog *p = program(state);
  const int64_t shape[] = {2, 3};
  const bdl_atom x = input(p, BDL_F32, 2, shape);
  const bdl_aval a = *bdl_aval_of(p, x);
  bdl_atom z = BDL_ZERO, w = BDL_ZERO;
  OK(bdl_ir_cast(p, x, BDL_F32, &z));
  assert_int_equal(z, x);
  OK(bdl_ir_reshape(p, x, 2, shape, &z));
  assert_int_equal(z, x);
  OK(bdl_ir_broadcast_to(p, x, &a, &z));
  assert_int_equal(z, x);
  assert_int_equal(p->eqns.n, 0);
  OK(bdl_bind1(p, BDL_P_copy, x, &z));
  OK(bdl_bind1(p, BDL_P_copy, z, &w));
  assert_int_equal(z, w);
  assert_int_equal(p->eqns.n, 1);
  bdl_prog_unref(p);
}

static void full_is_a_literal_and_a_broadcast(void **state) {
  bdl_prog *p = program(state);
  const bdl_aval a = bdl_aval_make(BDL_F32, 2, (int64_t[]){2, 3});
  bdl_atom x;
  OK(bdl_ir_full(p, &a, 1, &x));
  assert_true(bdl_ir_is_literal(p, x, 1));
  assert_false(bdl_ir_is_literal(p, x, 2));
  OK(bdl_ir_full(p, bdl_aval_of(p, x), -0.0, &x)); /* a type that lies in p */
  assert_true(bdl_ir_is_literal(p, x, -0.0));
  assert_false(bdl_ir_is_literal(p, x, 0));
  assert_true(bdl_aval_eq(bdl_aval_of(p, x), &a));
  bdl_prog_unref(p);
}

static void inlining_appends_the_equations(void **state) {
  bdl_context *c = *state;
  bdl_prog *q = t_parse(c, "program q(x:f32[2], y:f32[]) {\n const w:f32[2] = [1 2]\n"
                           "a:f32[2] = mul x y\n b:f32[2] = add a w\n return b, x, 3:i32 }");
  bdl_prog *p = program(state);
  const bdl_atom x = input(p, BDL_F32, 1, (int64_t[]){2}), y = input(p, BDL_F32, 0, NULL);
  bdl_atom out[6];
  const int64_t vars = p->vars.n;
  assert_int_equal(bdl_ir_inline(p, q, (bdl_atom[]){y, x}, out), BDL_ETYPE);
  assert_non_null(strstr(c->error.message, "q: operand 1 is f32[], but f32[2] was expected"));
  assert_int_equal(p->vars.n, vars);
  OK(bdl_ir_inline(p, q, (bdl_atom[]){x, y}, out));
  OK(bdl_ir_inline(p, q, (bdl_atom[]){out[0], y}, out + 3));
  OK(bdl_prog_set_outputs(p, out + 3, 3));
  OK(bdl_ir_verify(p));
  t_expect(p, "program p(c:f32[2], d:f32[]) {\n const w:f32[2] = [1.0 2.0]\n a:f32[2] = mul c d\n b:f32[2] = add a w\n"
              " e:f32[2] = mul b d\n f:f32[2] = add e w\n return f, b, 3:i32\n}");
  assert_int_equal(p->consts.n, 1);
  bdl_prog_unref(p);
  bdl_prog_unref(q);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    T_TEST(a_refused_equation_leaves_the_program_alone),
    T_TEST(literals_are_one_variable_a_value),
    T_TEST(constants_are_one_variable_a_view),
    T_TEST(equations_that_are_their_operand_are_not_made),
    T_TEST(full_is_a_literal_and_a_broadcast),
    T_TEST(inlining_appends_the_equations),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

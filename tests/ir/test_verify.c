/*
** test_verify.c -- the verifier names what is broken.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "text.h"

static const char *text = "program p(x:f32[2], i:i32[]) {\n const w:f32[2] = [1 2]\n"
                          " a:f32[2] = mul x w @ \"a.lua\":3\n b:f32[2] = add a 2.0:f32\n"
                          " c:f32[2] = scan[consts=0 carry=1 length=2 reverse=0 body={program q(x:f32[2]) {\n"
                          "  print[format=\"\" host=nil]\n y:f32[2] = neg x\n return y }}] b\n return c }";

/* Break one thing, see it refused with the message, mend it. */
#define BREAK(place, value, says)                                                                        \
  do {                                                                                                   \
    const __typeof__(place) old_ = place;                                                                \
    place = value;                                                                                       \
    assert_int_equal(bdl_ir_verify(p), BDL_EINTERNAL);                                                   \
    if (!strstr(p->ctx->error.message, says)) fail_msg("'%s' lacks '%s'", p->ctx->error.message, says);  \
    place = old_;                                                                                        \
    assert_int_equal(bdl_ir_verify(p), BDL_OK);                                                          \
  } while (0)

static void every_broken_part_is_found(void **state) {
  bdl_prog *p = t_parse(*state, text);
  bdl_eqn *mul = &p->eqns.v[0], *add = &p->eqns.v[1], *scan = &p->eqns.v[2];
  bdl_prog *body = scan->params[4].progs[0];
  const bdl_atom c = scan->out[0];
  BREAK(mul->in[0], add->out[0], "equation 1, mul: operand 1, variable 5, is not defined before");
  BREAK(mul->in[0], -1, "is not defined before");
  BREAK(mul->in[0], 1000, "is not defined before");
  BREAK(mul->in[0], p->inputs.v[1], "equation 1, mul: mul: dtypes differ");
  BREAK(mul->prim, BDL_P_COUNT, "no such primitive");
  BREAK(mul->prim, BDL_P_neg, "takes 1");
  BREAK(mul->prim, BDL_P_lt, "is recorded as f32[2], but is bool[2]");
  BREAK(mul->n_params, 1, "1 parameters");
  BREAK(add->n_out, 0, "0 results");
  BREAK(add->out[0], mul->out[0], "belongs to another equation");
  BREAK(p->vars.v[c].aval.shape[0], 3, "is recorded as f32[3], but is f32[2]");
  BREAK(p->vars.v[c].aval.ndim, 9, "is not well-formed");
  BREAK(p->vars.v[c].kind, BDL_V_LITERAL, "is not well-formed");
  BREAK(p->vars.v[0].index, 1, "variable 0 is not well-formed");
  BREAK(p->inputs.n, 1, "is not well-formed");
  BREAK(scan->params[1].kind, BDL_PK_FLOAT, "'carry' is not of kind");
  BREAK(scan->params[1].i, 2, "scan");
  BREAK(scan->params[2].i, -1, "scan");
  BREAK(body->eqns.v[1].in[0], 50, "program q, equation 2, neg: operand 1");
  BREAK(body->effects, false, "effects are recorded as 0");
  BREAK(p->effects, false, "program p: effects");
  BREAK(p->outputs[0], 99, "output 1 is not defined");
  assert_int_equal(p->ctx->error.where.line, 0);
  mul->in[0] = -1;
  assert_int_equal(bdl_ir_verify(p), BDL_EINTERNAL);
  assert_int_equal(p->ctx->error.where.line, 3);
  bdl_prog_unref(p);
}

int main(void) {
  const struct CMUnitTest tests[] = {T_TEST(every_broken_part_is_found)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
** test_text.c -- what is printed reads back; what is no program is refused with its place.
*/
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cases.h"
#include "text.h"

static void round_trip(const bdl_prog *p) {
  char *text = t_print(p);
  bdl_prog *q = t_parse(p->ctx, text);
  t_expect(q, text);
  char *again = t_print(q);
  assert_string_equal(again, text);
  assert_int_equal(bdl_ir_verify(q), BDL_OK);
  free(again);
  free(text);
  bdl_prog_unref(q);
}

static void every_primitive_reads_back(void **state) {
  for (int p = 0; p < BDL_P_COUNT; p++)
    for (uint64_t seed = 0; seed < 16; seed++) {
      t_case t;
      if (!t_case_new(*state, (bdl_prim_id)p, seed, BDL_DTYPE_COUNT, &t)) fail_msg("no case of %s", bdl_prims[p].name);
      bdl_prog *q = NULL;
      assert_int_equal(bdl_ir_verify(t.p), BDL_OK);
      round_trip(t.p);
      assert_int_equal(bdl_optimise(t.p, NULL, NULL, NULL, &q), BDL_OK);
      round_trip(q);
      bdl_prog_unref(q);
      bdl_prog_unref(t.p);
    }
}

static bdl_scalar literal_of(const bdl_prog *p, int output) { return p->vars.v[p->outputs[output]].literal; }

static void floats_read_back_bit_for_bit(void **state) {
  uint64_t seed = 7;
  for (int i = 0; i < 3000; i++) {
    const uint64_t special[] = {0, 0x8000000000000000u, 0x7ff0000000000000u, 0xfff0000000000000u, 0x7ff8000000000000u,
                                0xfff8000000000001u, 1, 0x000fffffffffffffu, 0x7fefffffffffffffu};
    const uint32_t special32[] = {0, 0x80000000u, 0x7f800000u, 0xff800000u, 0x7fc00000u, 0xffc00001u, 1,
                                   0x007fffffu, 0x7f7fffffu};
    const bdl_scalar d = {.bits = i < BDL_LEN(special) ? special[i] : t_random(&seed)};
    const bdl_scalar f = {.bits = i < BDL_LEN(special32) ? special32[i] : t_random(&seed) >> 32};
    bdl_prog *p = NULL;
    bdl_atom out[2];
    assert_int_equal(bdl_prog_new(*state, "f", &p), BDL_OK);
    assert_int_equal(bdl_ir_literal(p, BDL_F64, d, &out[0]), BDL_OK);
    assert_int_equal(bdl_ir_literal(p, BDL_F32, f, &out[1]), BDL_OK);
    assert_int_equal(bdl_prog_set_outputs(p, out, 2), BDL_OK);
    char *text = t_print(p);
    bdl_prog *q = t_parse(*state, text);
    assert_true(literal_of(q, 0).bits == d.bits);
    assert_true(literal_of(q, 1).bits == f.bits);
    free(text);
    bdl_prog_unref(q);
    bdl_prog_unref(p);
  }
}

static void constants_names_and_places_are_kept(void **state) {
  bdl_prog *p = t_parse(*state,
                        "program %\"a b\"(%\"layers.1 V\":f32[2], x:f32[2]) {\n"
                        "  const w:f32[2,2] = [0.1 -0.0 nan inf]   # weights\n"
                        "  const e:i32[0] = []\n"
                        "  a:f32[2] = add x %\"layers.1 V\"  @ \"a \\\"b\\\".lua\":12\n"
                        "  return a, w, e, true:bool, -3:i64, 1e-3:f32\n"
                        "}");
  char *text = t_print(p);
  assert_string_equal(text,
                      "program %\"a b\"(%\"layers.1 V\":f32[2], x:f32[2]) {\n"
                      "  const w:f32[2,2] = [0.1 -0.0 nan inf]\n"
                      "  const e:i32[0] = []\n"
                      "  a:f32[2] = add x %\"layers.1 V\"  @ \"a \\\"b\\\".lua\":12\n"
                      "  return a, w, e, true:bool, -3:i64, 0.001:f32\n"
                      "}\n");
  assert_int_equal(p->eqns.v[0].src.line, 12);
  assert_string_equal(p->eqns.v[0].src.file, "a \"b\".lua");
  free(text);
  bdl_prog_unref(p);
}

static void long_constants_are_cut_for_people(void **state) {
  bdl_prog *p = t_parse(*state, "program p() {\n const w:i32[5] = [1 2 3 4 5]\n return w }");
  bdl_str s;
  bdl_str_init(&s, *state);
  assert_int_equal(bdl_ir_print_short(p, 2, &s), BDL_OK);
  assert_string_equal(s.s, "program p() {\n  const w:i32[5] = [1 2 .. 5 elements]\n  return w\n}\n");
  bdl_str_fini(&s);
  bdl_prog_unref(p);
}

/* Names that are taken give way to letters, which skip the names in use. */
static void names_are_unique(void **state) {
  bdl_prog *p = NULL;
  bdl_atom x[3];
  const bdl_aval a = bdl_aval_scalar(BDL_F32);
  assert_int_equal(bdl_prog_new(*state, "p", &p), BDL_OK);
  for (int i = 0; i < 3; i++) assert_int_equal(bdl_ir_input(p, &a, &x[i]), BDL_OK);
  p->vars.v[x[1]].name = "a";
  p->vars.v[x[2]].name = "a";
  assert_int_equal(bdl_prog_set_outputs(p, x, 3), BDL_OK);
  char *text = t_print(p);
  assert_string_equal(text, "program p(b:f32[], a:f32[], c:f32[]) {\n  return b, a, c\n}\n");
  free(text);
  round_trip(p);
  bdl_prog_unref(p);
}

static void bad_text_is_refused(void **state) {
  bdl_context *c = *state;
  static const struct {
    const char *text, *message;
    bdl_status status;
  } bad[] = {
    {"", "line 1, column 1: 'program' expected at the end", BDL_ESYNTAX},
    {"program f() {", "'}' expected at the end", BDL_ESYNTAX},
    {"program f() { return } x", "the end of the text expected near 'x'", BDL_ESYNTAX},
    {"program f(x:f16[]) { }", "a dtype expected near 'f16'", BDL_ESYNTAX},
    {"program f(x:f32[-1]) { }", "negative extent", BDL_EVALUE},
    {"program f(x:f32[99999999999,99999999999]) { }", "too large", BDL_EVALUE},
    {"program f(x:f32[1,1,1,1,1,1,1,1,1]) { }", "more than 8 axes", BDL_ESYNTAX},
    {"program f(x:f32[99999999999999999999]) { }", "is not within", BDL_ESYNTAX},
    {"program f(x:f32[], x:f32[]) { }", "'x' is defined twice", BDL_ESYNTAX},
    {"program f() { a:f32[] = neg b\n }", "'b' is not defined", BDL_ESYNTAX},
    {"program f() { a:f32[] = nagate 1.0:f32\n }", "a primitive expected near 'nagate'", BDL_ESYNTAX},
    {"program f() { a:f32[] = neg 1.0\n }", "needs a dtype", BDL_ESYNTAX},
    {"program f() { a:f32[] = neg 1.0:i32\n }", "an integer expected near '1.0'", BDL_ESYNTAX},
    {"program f() { a:f32[] = neg 0x10:f32\n }", "a number expected", BDL_ESYNTAX},
    {"program f() { a:f32[] = neg nan(0x0):f32\n }", "the bits of a NaN", BDL_ESYNTAX},
    {"program f() { return 5000000000:i32 }", "is not within", BDL_ESYNTAX},
    {"program f(x:f32[]) {\n a:f32[] = add x\n }", "line 2: add: 1 operands, where it takes 2", BDL_EVALUE},
    {"program f(x:f32[]) {\n a:f32[3] = neg x\n }", "line 2: neg gives f32[], but 'a' is declared as f32[3]", BDL_ETYPE},
    {"program f(x:f32[]) {\n a:f32[] = add x 1:i32\n }", "line 2: add: dtypes differ, f32[] and i32[]", BDL_ETYPE},
    {"program f(x:f32[]) { a:f32[] = cast x\n }", "cast needs the parameters 'dtype:d'", BDL_ESYNTAX},
    {"program f(x:f32[]) { a:f32[] = cast[dtype=f32 dtype=f32] x\n }", "given twice", BDL_ESYNTAX},
    {"program f(x:f32[]) { a:f32[] = neg[axis=1] x\n }", "neg has no parameter 'axis'", BDL_ESYNTAX},
    {"program f(x:f32[]) { a:f32[], b:f32[] = neg x\n }", "neg has 1 results, not 2", BDL_ESYNTAX},
    {"program f() { const w:f32[2] = [1.0]\n }", "1 numbers for the 2 elements of 'w'", BDL_ESYNTAX},
    {"program f() { print[format=\"\\q\" host=nil]\n }", "bad escape", BDL_ESYNTAX},
    {"program f() { print[format=\"a", "string without an end", BDL_ESYNTAX},
    {"program f() { print[format=\"{1}\" host=nil] 1:i32\n }", "names operand {1} of 1", BDL_EVALUE},
  };
  for (int i = 0; i < BDL_LEN(bad); i++) {
    bdl_prog *p = NULL;
    assert_int_equal(bdl_ir_parse(c, bad[i].text, strlen(bad[i].text), &p), bad[i].status);
    if (!strstr(c->error.message, bad[i].message)) fail_msg("'%s' lacks '%s'", c->error.message, bad[i].message);
  }
}

static void deep_nesting_is_refused(void **state) {
  bdl_context *c = *state;
  bdl_str s;
  bdl_prog *p = NULL;
  bdl_str_init(&s, c);
  for (int i = 0; i < 100000; i++) bdl_str_addf(&s, "program f() { call[body={");
  assert_int_equal(bdl_ir_parse(c, s.s, (size_t)s.n, &p), BDL_ESYNTAX);
  assert_non_null(strstr(c->error.message, "nest deeper than"));
  bdl_str_fini(&s);
}

/* Cut at every place, and with every byte changed, a text gives a program or an error. */
static void damaged_text_is_harmless(void **state) {
  bdl_context *c = *state;
  char text[] = "program f(x:f32[2]) {\n const w:f32[2] = [nan(0xffc00000) 1e3]\n"
                " y:f32[2] = scan[consts=0 carry=1 length=2 reverse=0 body={program b(x:f32[2]) {\n"
                " y:f32[2] = add x -1.5:f32 @ \"a.lua\":1\n return y }}] x\n return y, w }";
  for (size_t n = 0; n < sizeof text; n++)
    for (const char *with = " \"x}%(:\n"; *with; with++) {
      bdl_prog *p = NULL;
      const char old = text[n];
      if (bdl_ir_parse(c, text, n, &p) == BDL_OK) bdl_prog_unref(p);
      if (n + 1 == sizeof text) break;
      text[n] = *with;
      p = NULL;
      if (bdl_ir_parse(c, text, sizeof text - 1, &p) == BDL_OK) {
        assert_int_equal(bdl_ir_verify(p), BDL_OK);
        bdl_prog_unref(p);
      }
      text[n] = old;
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    T_TEST(every_primitive_reads_back),
    T_TEST(floats_read_back_bit_for_bit),
    T_TEST(constants_names_and_places_are_kept),
    T_TEST(long_constants_are_cut_for_people),
    T_TEST(names_are_unique),
    T_TEST(bad_text_is_refused),
    T_TEST(deep_nesting_is_refused),
    T_TEST(damaged_text_is_harmless),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

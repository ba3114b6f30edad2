/*
** test_faults.c -- every allocation of the core fails once, and from then on: the status is BDL_ENOMEM, nothing leaks, and
** the next try works.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/faults.h"
#include "ir/ir.h"
#include "transform/transform.h"

static const char *text =
  "program p(x:f32[2], y:f32[2], n:i32[]) {\n const w:f32[2] = [1 2]\n"
  " one:f32[] = call[body={program h(a:f32[]) {\n b:f32[] = exp a\n return b }}] 1.0:f32\n"
  " a:f32[2] = mul x w @ \"a.lua\":3\n b:f32[2] = mul x w\n d:f32[2] = mul b one\n d2:f32[2] = div d 2.0:f32\n"
  " s:f32[2], t:f32[3,2] = scan[consts=2 carry=1 length=3 reverse=0 body={program q(k:f32[2], u:f32[], x:f32[2]) {\n"
  "  e:f32[] = exp u\n f:f32[2] = mul k e\n z:f32[2] = add x f\n return z, f }}] y one d2\n"
  " i:i32[] = while[cond_consts=1 body_consts=1 programs={program c(n:i32[], i:i32[]) {\n p:bool[] = lt i n\n return p },"
  " program b(n:i32[], i:i32[]) {\n m:i32[] = mul n n\n j:i32[] = add i m\n return j }}] n n 0:i32\n"
  " print[format=\"{0}\" host=nil] i\n return s, a }";

static const char *smooth =
  "program g(x:f32[3,2,2], w:f32[2,2], i:i32[]) {\n"
  " n:i32[3] = iota[shape=(3) axis=0 dtype=i32]\n"
  " h:f32[2,2], ys:f32[3,2,2] = scan[consts=3 carry=1 length=3 reverse=0 body={"
  "program b(w:f32[2,2], i:i32[], y:f32[3,2,2], h:f32[2,2], x:f32[2,2], n:i32[]) {\n"
  "  v:f32[2,2] = exp w\n a:f32[2,2] = dot[lhs_contract=(1) rhs_contract=(0) lhs_batch=() rhs_batch=()] h v\n c:f32[2,2] = add a x\n"
  "  d:f32[2,2] = cond[branches={program s(c:f32[2,2]) { s:f32[2,2] = sin c\n return s }, program t(c:f32[2,2]) { s:f32[2,2] = tanh c\n return s }}] i c\n"
  "  e:f32[2,2] = checkpoint[body={program k(d:f32[2,2], x:f32[2,2]) { m:f32[2,2] = mul d x\n s:f32[2,2] = exp m\n return s }}] d x\n"
  "  return e, d }}] w i x w x n\n"
  " z:f32[2,2] = custom_jvp[programs={program f(x:f32[2,2]) { y:f32[2,2] = sin x\n return y },"
  " program r(x:f32[2,2], t:f32[2,2]) { c:f32[2,2] = cos x\n z:f32[2,2] = mul c t\n return z }}] h\n"
  " return z, ys }";

static bdl_status print_and_parse(const bdl_prog *p) {
  bdl_str s;
  bdl_prog *q = NULL;
  bdl_str_init(&s, p->ctx);
  bdl_status st = bdl_ir_print(p, &s);
  if (st == BDL_OK) st = bdl_ir_parse(p->ctx, s.s, (size_t)s.n, &q);
  bdl_prog_unref(q);
  bdl_str_fini(&s);
  return st;
}

static bdl_status build(bdl_context *c) {
  bdl_prog *p = NULL;
  bdl_atom x = BDL_ZERO, y = BDL_ZERO;
  const bdl_aval a = bdl_aval_make(BDL_F32, 1, (int64_t[]){3});
  TRY(bdl_prog_new(c, "p", &p));
  bdl_status s = bdl_ir_input(p, &a, &x);
  for (int i = 0; s == BDL_OK && i < 40; i++) {
    const int64_t vars = p->vars.n, eqns = p->eqns.n;
    s = bdl_ir_full(p, &a, i, &y);
    if (s != BDL_OK) assert_int_equal(p->vars.n, vars);
    if (s == BDL_OK) s = bdl_bind2(p, BDL_P_add, x, y, &x);
    if (s != BDL_OK) assert_true(p->eqns.n <= eqns + 1);
  }
  if (s == BDL_OK) s = bdl_prog_set_outputs(p, &x, 1);
  bdl_prog_unref(p);
  return s;
}

static bdl_status pass_and_text(bdl_context *c) {
  bdl_prog *p = NULL, *q = NULL;
  TRY(bdl_ir_parse(c, text, strlen(text), &p));
  bdl_status s = bdl_optimise(p, NULL, NULL, NULL, &q);
  if (s == BDL_OK) s = print_and_parse(q);
  bdl_prog_unref(q);
  bdl_prog_unref(p);
  return s;
}

static bdl_status differentiate(bdl_context *c) {
  bdl_prog *p = NULL, *j = NULL, *v = NULL, *q = NULL;
  TRY(bdl_ir_parse(c, smooth, strlen(smooth), &p));
  bdl_status s = bdl_transform_jvp(p, NULL, &j);
  if (s == BDL_OK) s = bdl_transform_vjp(p, NULL, &v);
  if (s == BDL_OK) s = bdl_optimise(v, NULL, NULL, NULL, &q);
  bdl_prog_unref(q);
  bdl_prog_unref(j);
  bdl_prog_unref(v);
  bdl_prog_unref(p);
  return s;
}

/* Where lanes go different ways: an index and an error that ask who is there. */
static const char *ways =
  "program w(x:i32[3], i:i32[]) { z:i32[] = cond[branches={program a(x:i32[3], i:i32[]) { return i },"
  "program b(x:i32[3], i:i32[]) { u:i32[] = gather[axis=0] x i\n p:bool[] = lt u i\n error_if[message=\"less\"] p\n return u }}] i x i\n"
  " return z }";

static bdl_status over_lanes(bdl_context *c) {
  const char *const texts[] = {text, smooth, ways};
  const bool all[8] = {true, true, true, true, true, true, true, true};
  bool out[8];
  bdl_status s = BDL_OK;
  for (int k = 0; k < BDL_LEN(texts) && s == BDL_OK; k++) {
    bdl_prog *p = NULL, *q = NULL;
    s = bdl_ir_parse(c, texts[k], strlen(texts[k]), &p);
    if (s == BDL_OK) s = bdl_transform_batch(p, all, 2, &q, out);
    bdl_prog_unref(q);
    bdl_prog_unref(p);
  }
  return s;
}

static bdl_status intern(bdl_context *c) {
  for (int i = 0; i < 20; i++) {
    char name[16] = "file";
    name[4] = (char)('a' + i);
    if (!bdl_intern(c, name)) return BDL_ENOMEM;
  }
  return BDL_OK;
}

#define FAULTS(task)                           \
  static void faults_of_##task(void **state) { \
    (void)state;                               \
    assert_true(t_survive(task, false) > 3);     \
    assert_true(t_survive(task, true) > 3);      \
  }
FAULTS(build)
FAULTS(pass_and_text)
FAULTS(differentiate)
FAULTS(over_lanes)
FAULTS(intern)

static void a_context_that_cannot_be_made_is_null(void **state) {
  (void)state;
  t_faults f = {.left = 0};
  assert_null(bdl_context_new(t_failing_alloc, &f));
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(faults_of_build),         cmocka_unit_test(faults_of_pass_and_text),
    cmocka_unit_test(faults_of_differentiate), cmocka_unit_test(faults_of_over_lanes),
    cmocka_unit_test(faults_of_intern),
    cmocka_unit_test(a_context_that_cannot_be_made_is_null),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

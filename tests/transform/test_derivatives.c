/*
** test_derivatives.c -- derivatives of programs with loops, branches, checkpoints and rules of their own: forward mode against
** differences, reverse against forward, each applied to the other and to itself.
*/
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../ir/text.h"
#include "../support/random.h"
#include "exec/exec.h"
#include "transform/transform.h"

#define OK(e)                                                                  \
  do {                                                                         \
    if ((e) != BDL_OK) fail_msg("%s", bdl_last_error(*state)->message);        \
  } while (0)

enum { MAX = 96 };

static double uniform(uint64_t *seed) { return (double)(t_random(seed) >> 11) * 0x1p-53 * 2 - 1; }

static bool is_real(const bdl_tensor *t) { return t->aval.dtype == BDL_F64; }

/* Numbers of 1 .. 3 for integers: indices and counts that stay small. */
static bdl_tensor random_tensor(void **state, const bdl_aval *a, uint64_t *seed) {
  bdl_tensor t;
  OK(bdl_tensor_new(bdl_device_cpu(*state), a, &t));
  for (int64_t i = 0; i < bdl_aval_numel(a); i++) {
    const double x = uniform(seed);
    const bdl_scalar v = bdl_scalar_from_f64(a->dtype, bdl_dtype_is_float(a->dtype) ? x : floor(2 + x));
    memcpy((char *)bdl_tensor_data(&t) + (size_t)i * bdl_dtype_size(a->dtype), &v, bdl_dtype_size(a->dtype));
  }
  return t;
}

static double dot(const bdl_tensor *a, const bdl_tensor *b) {
  const double *x = bdl_tensor_data(a), *y = bdl_tensor_data(b);
  double sum = 0;
  for (int64_t i = 0; i < bdl_aval_numel(&a->aval); i++) sum += x[i] * y[i];
  return sum;
}

static void unref_all(bdl_tensor *t, int64_t n) {
  for (int64_t i = 0; i < n; i++) bdl_tensor_unref(&t[i]);
}

static void run(void **state, const bdl_prog *p, const bdl_tensor *in, bdl_tensor *out) {
  bdl_prog *q = NULL;
  OK(bdl_ir_verify(p));
  OK(bdl_optimise(p, bdl_exec_eval_eqn, NULL, NULL, &q));
  OK(bdl_exec_prog(*state, q, in, out));
  bdl_prog_unref(q);
}

/* x + h dx for the real inputs, which the list dx holds one after the other. */
static void step(void **state, const bdl_tensor *x, int64_t n, const bdl_tensor *dx, double h, bdl_tensor *z) {
  for (int64_t i = 0; i < n; i++) {
    if (!is_real(&x[i])) {
      z[i] = bdl_tensor_ref(&x[i]);
      continue;
    }
    OK(bdl_tensor_new(bdl_device_cpu(*state), &x[i].aval, &z[i]));
    const double *a = bdl_tensor_data(&x[i]), *b = bdl_tensor_data(dx++);
    double *c = bdl_tensor_data(&z[i]);
    for (int64_t k = 0; k < bdl_aval_numel(&x[i].aval); k++) c[k] = a[k] + h * b[k];
  }
}

static void forward_is_the_slope(void **state, const bdl_prog *p, const bdl_prog *j, uint64_t seed) {
  const int64_t n = p->inputs.n;
  bdl_tensor in[MAX], near[MAX], out[MAX], above[MAX], below[MAX];
  for (int64_t i = 0; i < j->inputs.n; i++) in[i] = random_tensor(state, bdl_aval_of(j, j->inputs.v[i]), &seed);
  run(state, j, in, out);
  const double h = 1e-5;
  step(state, in, n, in + n, h, near);
  run(state, p, near, above);
  unref_all(near, n);
  step(state, in, n, in + n, -h, near);
  run(state, p, near, below);
  unref_all(near, n);
  for (int i = 0, k = p->n_outputs; i < p->n_outputs; i++) {
    if (!is_real(&out[i])) continue;
    const double *t = bdl_tensor_data(&out[k++]), *a = bdl_tensor_data(&above[i]), *b = bdl_tensor_data(&below[i]);
    for (int64_t e = 0; e < bdl_aval_numel(&out[i].aval); e++) {
      const double slope = (a[e] - b[e]) / (2 * h);
      if (!(fabs(t[e] - slope) <= 2e-6 * fmax(1, fabs(slope)))) {
        char *text = t_print(p), *derived = t_print(j);
        fail_msg("result %d, element %d: tangent %.9g, slope %.9g\n%s\n%s", i, (int)e, t[e], slope, text, derived);
      }
    }
  }
  unref_all(in, j->inputs.n);
  unref_all(out, j->n_outputs);
  unref_all(above, p->n_outputs);
  unref_all(below, p->n_outputs);
}

static void reverse_is_the_adjoint(void **state, const bdl_prog *p, const bdl_prog *j, const bdl_prog *r, uint64_t seed) {
  const int64_t n = p->inputs.n;
  const int m = p->n_outputs;
  bdl_tensor in[MAX], out[MAX], back_in[MAX], back[MAX];
  double by_jvp = 0, by_vjp = 0;
  for (int64_t i = 0; i < j->inputs.n; i++) in[i] = random_tensor(state, bdl_aval_of(j, j->inputs.v[i]), &seed);
  run(state, j, in, out);
  for (int64_t i = 0; i < n; i++) back_in[i] = bdl_tensor_ref(&in[i]);
  assert_int_equal(r->inputs.n, n + j->n_outputs - m);
  assert_int_equal(r->n_outputs, m + j->inputs.n - n);
  for (int64_t i = n; i < r->inputs.n; i++) {
    back_in[i] = random_tensor(state, bdl_aval_of(r, r->inputs.v[i]), &seed);
    by_jvp += dot(&back_in[i], &out[m + i - n]);
  }
  run(state, r, back_in, back);
  for (int i = 0; i < m; i++)
    if (is_real(&out[i]))
      for (int64_t e = 0; e < bdl_aval_numel(&out[i].aval); e++)
        assert_true(fabs(((double *)bdl_tensor_data(&out[i]))[e] - ((double *)bdl_tensor_data(&back[i]))[e]) <= 1e-12);
  for (int64_t i = n; i < j->inputs.n; i++) by_vjp += dot(&in[i], &back[m + i - n]);
  if (!(fabs(by_jvp - by_vjp) <= 1e-9 * fmax(1, fabs(by_jvp)))) {
    char *text = t_print(p), *derived = t_print(r);
    fail_msg("<w, J v> is %.12g, <J' w, v> %.12g\n%s\n%s", by_jvp, by_vjp, text, derived);
  }
  unref_all(in, j->inputs.n);
  unref_all(out, j->n_outputs);
  unref_all(back_in, r->inputs.n);
  unref_all(back, r->n_outputs);
}

typedef enum modes { BOTH, REVERSE_ONLY, FORWARD_ONLY } modes;

/* order: how many more times to differentiate the derivatives. */
static void check(void **state, const bdl_prog *p, modes which, int order, uint64_t seed) {
  bdl_prog *j = NULL, *r = NULL;
  if (which != REVERSE_ONLY) {
    OK(bdl_transform_jvp(p, NULL, &j));
    forward_is_the_slope(state, p, j, seed);
    if (order > 1) check(state, j, which, order - 1, seed + 1);
  }
  if (which != FORWARD_ONLY) {
    OK(bdl_transform_vjp(p, NULL, &r));
    if (which == BOTH) reverse_is_the_adjoint(state, p, j, r, seed);
    if (order > 1) check(state, r, BOTH, order - 1, seed + 1);
  }
  if (j) bdl_prog_unref(j);
  if (r) bdl_prog_unref(r);
}

static void check_text(void **state, const char *text, modes which, int order) {
  bdl_prog *p = t_parse(*state, text);
  for (uint64_t seed = 1; seed <= 3; seed++) check(state, p, which, order, seed * 7919);
  bdl_prog_unref(p);
}

static void scans(void **state) {
  /* carry, stacked operands and results, a constant, an invariant computed from it */
  check_text(state, "program t(w:f64[3,3], h:f64[3], xs:f64[4,3]) {\n"
                    " z:f64[3], ys:f64[4,3] = scan[consts=1 carry=1 length=4 reverse=0 body={program b(w:f64[3,3], h:f64[3], x:f64[3]) {\n"
                    "  v:f64[3,3] = tanh w\n a:f64[3] = dot[lhs_contract=(0) rhs_contract=(0) lhs_batch=() rhs_batch=()] h v\n"
                    "  c:f64[3] = add a x\n d:f64[3] = tanh c\n s:f64[3] = sin d\n return d, s }}] w h xs\n return z, ys }", BOTH, 3);
  check_text(state, "program t(c:f64[], h:f64[2], xs:f64[3,2]) {\n"
                    " z:f64[2], i:i32[], ys:f64[3,2] = scan[consts=1 carry=2 length=3 reverse=1 body={program b(c:f64[], h:f64[2], i:i32[], x:f64[2]) {\n"
                    "  a:f64[2] = mul h x\n j:i32[] = add i 1:i32\n f:f64[] = cast[dtype=f64] j\n g:f64[2] = mul a f\n e:f64[2] = add g c\n"
                    "  return e, j, a }}] c h 1:i32 xs\n return z, ys }", BOTH, 3);
  /* a carried value that gets its tangent in the second round; one that never has any; a result that is not used */
  check_text(state, "program t(x:f64[], n:i32[]) {\n"
                    " a:f64[], b:f64[], k:f64[], ys:f64[3] = scan[consts=1 carry=3 length=3 reverse=0 body={program b(x:f64[], a:f64[], b:f64[], k:f64[]) {\n"
                    "  c:f64[] = sin a\n d:f64[] = mul b x\n e:f64[] = add c d\n l:f64[] = mul k 2.0:f64\n return d, e, l, c }}] x 0.5:f64 0.25:f64 1.0:f64\n"
                    " return b, k }", BOTH, 2);
  /* no round, one round */
  check_text(state, "program t(h:f64[2], xs:f64[0,2]) {\n"
                    " z:f64[2], ys:f64[0,2] = scan[consts=0 carry=1 length=0 reverse=0 body={program b(h:f64[2], x:f64[2]) {\n"
                    "  a:f64[2] = mul h x\n return a, a }}] h xs\n return z, ys }", BOTH, 2);
  check_text(state, "program t(h:f64[2], xs:f64[1,2]) {\n"
                    " z:f64[2], ys:f64[1,2] = scan[consts=0 carry=1 length=1 reverse=0 body={program b(h:f64[2], x:f64[2]) {\n"
                    "  a:f64[2] = mul h x\n return a, a }}] h xs\n return z, ys }", BOTH, 2);
}

static const char nested[] =
  "program t(w:f64[2], h:f64[2], xs:f64[3,4,2]) {\n"
  " z:f64[2], ys:f64[3,4,2] = scan[consts=1 carry=1 length=3 reverse=0 body={program outer(w:f64[2], h:f64[2], x:f64[4,2]) {\n"
  "  v:f64[2] = exp w\n"
  "  z:f64[2], ys:f64[4,2] = scan[consts=1 carry=1 length=4 reverse=1 body={program inner(v:f64[2], h:f64[2], x:f64[2]) {\n"
  "   a:f64[2] = mul h v\n b:f64[2] = add a x\n c:f64[2] = sin b\n return c, b }}] v h x\n"
  "  return z, ys }}] w h xs\n return z, ys }";

static void loops_in_loops(void **state) { check_text(state, nested, BOTH, 2); }

static void branches(void **state) {
  check_text(state, "program t(i:i32[], x:f64[2], y:f64[2]) {\n"
                    " z:f64[2], n:i32[], u:f64[2] = cond[branches={"
                    "program a(x:f64[2], y:f64[2]) { z:f64[2] = mul x y\n s:f64[2] = sin z\n return s, 1:i32, x },"
                    "program b(x:f64[2], y:f64[2]) { z:f64[2] = exp y\n return z, 2:i32, z },"
                    "program c(x:f64[2], y:f64[2]) { a:f64[2] = cos x\n b:f64[2] = exp a\n z:f64[2] = mul a b\n c:f64[2] = sqrt b\n return z, 3:i32, c },"
                    "program d(x:f64[2], y:f64[2]) { c:f64[2] = broadcast[shape=(2) dims=()] 0.5:f64\n return c, 4:i32, y }}] i x y\n"
                    " return z, n, u }", BOTH, 3);
  /* in a loop, with an index that the loop carries */
  check_text(state, "program t(x:f64[2], xs:f64[4,2]) {\n"
                    " z:f64[2], k:i32[] = scan[consts=0 carry=2 length=4 reverse=0 body={program o(h:f64[2], k:i32[], x:f64[2]) {\n"
                    "  m:i32[] = mod k 2:i32\n"
                    "  a:f64[2] = cond[branches={program a(h:f64[2], x:f64[2]) { z:f64[2] = mul h x\n s:f64[2] = sin z\n return s },"
                    "program b(h:f64[2], x:f64[2]) { e:f64[2] = exp h\n z:f64[2] = add e x\n t:f64[2] = tanh z\n return t }}] m h x\n"
                    "  j:i32[] = add k 1:i32\n return a, j }}] x 0:i32 xs\n return z }", BOTH, 2);
}

static void loops_of_unknown_length(void **state) {
  static const char text[] =
    "program t(w:f64[2], x:f64[2]) {\n"
    " n:i32[], z:f64[2], k:f64[] = while[cond_consts=1 body_consts=1 programs={"
    "program c(m:i32[], n:i32[], x:f64[2], k:f64[]) { p:bool[] = lt n m\n return p },"
    "program b(w:f64[2], n:i32[], x:f64[2], k:f64[]) { a:f64[2] = mul w x\n s:f64[2] = sin a\n j:i32[] = add n 1:i32\n"
    " l:f64[] = mul k 0.5:f64\n return j, s, l }}] 3:i32 w 0:i32 x 1.0:f64\n return z, k }";
  check_text(state, text, FORWARD_ONLY, 3);
  bdl_prog *p = t_parse(*state, text), *q = NULL;
  assert_int_equal(bdl_transform_vjp(p, NULL, &q), BDL_ENOTSUP);
  assert_non_null(strstr(bdl_last_error(*state)->message, "reverse differentiation"));
  assert_non_null(strstr(bdl_last_error(*state)->hint, "bounded_while_loop"));
  bdl_prog_unref(p);
  /* beside the way */
  check_text(state, "program t(x:f64[2], y:f64[2]) {\n"
                    " n:i32[], z:f64[2] = while[cond_consts=0 body_consts=0 programs={"
                    "program c(n:i32[], x:f64[2]) { p:bool[] = lt n 3:i32\n return p },"
                    "program b(n:i32[], x:f64[2]) { s:f64[2] = sin x\n j:i32[] = add n 1:i32\n return j, s }}] 0:i32 x\n"
                    " u:f64[2] = stop_gradient z\n a:f64[2] = mul u y\n return a, u, n }", REVERSE_ONLY, 1);
}

static void checkpoints(void **state) {
  check_text(state, "program t(w:f64[2], x:f64[2]) {\n"
                    " z:f64[2], n:i32[] = checkpoint[body={program b(w:f64[2], x:f64[2]) { a:f64[2] = mul w x\n s:f64[2] = sin a\n"
                    " e:f64[2] = exp s\n return e, 1:i32 }}] w x\n return z }", BOTH, 3);
  /* of a loop in a loop: the inner one keeps nothing between its rounds and the way back */
  check_text(state, "program t(w:f64[2], h:f64[2], xs:f64[3,4,2]) {\n"
                    " z:f64[2] = scan[consts=1 carry=1 length=3 reverse=0 body={program outer(w:f64[2], h:f64[2], x:f64[4,2]) {\n"
                    "  z:f64[2] = checkpoint[body={program mid(w:f64[2], h:f64[2], x:f64[4,2]) {\n"
                    "   z:f64[2] = scan[consts=1 carry=1 length=4 reverse=0 body={program inner(v:f64[2], h:f64[2], x:f64[2]) {\n"
                    "    a:f64[2] = mul h v\n b:f64[2] = add a x\n c:f64[2] = sin b\n return c }}] w h x\n return z }}] w h x\n"
                    "  return z }}] w h xs\n return z }", BOTH, 2);
}

static void custom_rules(void **state) {
  check_text(state, "program t(x:f64[2], y:f64[2]) {\n"
                    " z:f64[2] = custom_jvp[programs={program f(x:f64[2], y:f64[2]) { s:f64[2] = sin x\n z:f64[2] = mul s y\n return z },"
                    "program r(x:f64[2], y:f64[2], t:f64[2], u:f64[2]) { c:f64[2] = cos x\n a:f64[2] = mul c y\n d:f64[2] = mul a t\n"
                    " s:f64[2] = sin x\n e:f64[2] = mul s u\n g:f64[2] = add d e\n return g }}] x y\n return z }", BOTH, 3);
  check_text(state, "program t(x:f64[2], y:f64[2]) {\n"
                    " z:f64[2] = custom_vjp[programs={program f(x:f64[2], y:f64[2]) { s:f64[2] = sin x\n z:f64[2] = mul s y\n return z },"
                    "program g(x:f64[2], y:f64[2]) { s:f64[2] = sin x\n z:f64[2] = mul s y\n c:f64[2] = cos x\n return z, c, s, y },"
                    "program r(c:f64[2], s:f64[2], y:f64[2], t:f64[2]) { a:f64[2] = mul c y\n d:f64[2] = mul a t\n e:f64[2] = mul s t\n return d, e }}] x y\n"
                    " return z }", REVERSE_ONLY, 2);
  /* a rule with a loop that carries values and tangents side by side */
  check_text(state, "program t(x:f64[2]) {\n"
                    " z:f64[2] = custom_jvp[programs={program f(x:f64[2]) { s:f64[2] = sin x\n z:f64[2] = sin s\n return z },"
                    "program r(x:f64[2], t:f64[2]) { a:f64[2], b:f64[2] = scan[consts=0 carry=2 length=2 reverse=0 body={"
                    "program l(a:f64[2], b:f64[2]) { c:f64[2] = cos a\n d:f64[2] = mul c b\n s:f64[2] = sin a\n return s, d }}] x t\n return b }}] x\n"
                    " return z }", BOTH, 2);
  bdl_prog *q = NULL, *p = t_parse(*state, "program t(x:f64[]) { z:f64[] = custom_vjp[programs={program f(x:f64[]) { return x },"
                                           "program g(x:f64[]) { return x }, program r(t:f64[]) { return t }}] x\n return z }");
  assert_int_equal(bdl_transform_jvp(p, NULL, &q), BDL_ENOTSUP);
  assert_non_null(strstr(bdl_last_error(*state)->message, "custom_vjp"));
  bdl_prog_unref(p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    T_TEST(scans),
    T_TEST(loops_in_loops),
    T_TEST(branches),
    T_TEST(loops_of_unknown_length),
    T_TEST(checkpoints),
    T_TEST(custom_rules),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

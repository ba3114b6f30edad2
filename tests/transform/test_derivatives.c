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

/* (p(x + h dx) - p(x - h dx)) / 2h in above, for the real results. */
static void slope(void **state, const bdl_prog *p, const bdl_tensor *in, double h, bdl_tensor *above) {
  const int64_t n = p->inputs.n;
  bdl_tensor near[MAX], below[MAX];
  step(state, in, n, in + n, h, near);
  run(state, p, near, above);
  unref_all(near, n);
  step(state, in, n, in + n, -h, near);
  run(state, p, near, below);
  unref_all(near, n);
  for (int i = 0; i < p->n_outputs; i++) {
    double *a = bdl_tensor_data(&above[i]);
    const double *b = bdl_tensor_data(&below[i]);
    for (int64_t e = 0; is_real(&above[i]) && e < bdl_aval_numel(&above[i].aval); e++) a[e] = (a[e] - b[e]) / (2 * h);
  }
  unref_all(below, p->n_outputs);
}

/* Slopes over two distances tell how far they can be trusted. */
static void forward_is_the_slope(void **state, const bdl_prog *p, const bdl_prog *j, uint64_t seed) {
  bdl_tensor in[MAX], out[MAX], far[MAX], near[MAX];
  for (int64_t i = 0; i < j->inputs.n; i++) in[i] = random_tensor(state, bdl_aval_of(j, j->inputs.v[i]), &seed);
  run(state, j, in, out);
  slope(state, p, in, 2e-5, far);
  slope(state, p, in, 1e-5, near);
  for (int i = 0, k = p->n_outputs; i < p->n_outputs; i++) {
    if (!is_real(&out[i])) continue;
    const double *t = bdl_tensor_data(&out[k++]), *a = bdl_tensor_data(&far[i]), *b = bdl_tensor_data(&near[i]);
    for (int64_t e = 0; e < bdl_aval_numel(&out[i].aval); e++) {
      const double error = 1e-6 * fmax(1, fabs(b[e])) + 2 * fabs(a[e] - b[e]);
      if (fabs(t[e] - b[e]) <= error) continue;
      char *text = t_print(p), *derived = t_print(j);
      fail_msg("result %d, element %d: tangent %.9g, slope %.9g\n%s\n%s", i, (int)e, t[e], b[e], text, derived);
    }
  }
  unref_all(in, j->inputs.n);
  unref_all(out, j->n_outputs);
  unref_all(far, p->n_outputs);
  unref_all(near, p->n_outputs);
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

/* ---- random programs: smooth, with loops and branches, inside them too --------------------------------------- */

enum { NUMBER, VECTOR, MATRIX, COUNT, TYPES, ROOM = 64 };
static const bdl_aval types[TYPES] = {
  [NUMBER] = {.dtype = BDL_F64}, [VECTOR] = {.dtype = BDL_F64, .ndim = 1, .shape = {3}},
  [MATRIX] = {.dtype = BDL_F64, .ndim = 2, .shape = {2, 3}}, [COUNT] = {.dtype = BDL_I32},
};

typedef struct pool {
  void **state;
  bdl_prog *p;
  uint64_t *seed;
  bdl_atom of[TYPES][ROOM];
  int n[TYPES];
} pool;

static uint64_t choice(pool *o, uint64_t n) { return t_random(o->seed) % n; }
static bdl_atom any_of(pool *o, int type) { return o->of[type][choice(o, (uint64_t)o->n[type])]; }

static void put(pool *o, int type, bdl_atom x) {
  if (o->n[type] < ROOM) o->of[type][o->n[type]++] = x;
  else o->of[type][choice(o, ROOM)] = x;
}

static bdl_atom bind(pool *o, bdl_prim_id prim, const bdl_param *params, const bdl_atom *in, int n) {
  void **state = o->state;
  bdl_atom z[8];
  OK(bdl_bind(o->p, prim, params, in, n, z));
  return z[0];
}

static bdl_prog *random_body(void **state, uint64_t *seed, const int *in, int n_in, const int *out, int n_out, int eqns, int depth);

static void random_scan(pool *o, int depth) {
  void **state = o->state;
  static const int in[] = {NUMBER, VECTOR, MATRIX, COUNT, VECTOR}, out[] = {MATRIX, COUNT, VECTOR, NUMBER};
  bdl_prog *body = random_body(state, o->seed, in, 5, out, 4, 4 + (int)choice(o, 8), depth - 1);
  const bdl_atom x[] = {any_of(o, NUMBER), any_of(o, VECTOR), any_of(o, MATRIX), any_of(o, COUNT), any_of(o, MATRIX)};
  const bdl_param p[] = {bdl_pint(2), bdl_pint(2), bdl_pint(2), bdl_pint((int64_t)choice(o, 2)), bdl_pprogs(&body, 1)};
  bdl_atom z[4];
  OK(bdl_bind(o->p, BDL_P_scan, p, x, 5, z));
  put(o, MATRIX, z[0]);
  put(o, COUNT, z[1]);
  put(o, MATRIX, z[2]); /* two rows of a vector */
  put(o, NUMBER, bind(o, BDL_P_reduce_sum, (bdl_param[]){bdl_pints((int64_t[]){0}, 1)}, &z[3], 1));
  bdl_prog_unref(body);
}

static void random_cond(pool *o, int depth) {
  void **state = o->state;
  static const int in[] = {NUMBER, VECTOR, MATRIX, COUNT}, out[] = {VECTOR, COUNT, NUMBER};
  bdl_prog *q[2];
  const bdl_atom x[] = {any_of(o, COUNT), any_of(o, NUMBER), any_of(o, VECTOR), any_of(o, MATRIX), any_of(o, COUNT)};
  bdl_atom z[3];
  for (int k = 0; k < 2; k++) q[k] = random_body(state, o->seed, in, 4, out, 3, 3 + (int)choice(o, 6), depth - 1);
  OK(bdl_bind(o->p, BDL_P_cond, (bdl_param[]){bdl_pprogs(q, 2)}, x, 5, z));
  for (int i = 0; i < 3; i++) put(o, out[i], z[i]);
  for (int k = 0; k < 2; k++) bdl_prog_unref(q[k]);
}

static void random_checkpoint(pool *o, int depth) {
  void **state = o->state;
  static const int in[] = {NUMBER, VECTOR, MATRIX}, out[] = {MATRIX, VECTOR};
  bdl_prog *body = random_body(state, o->seed, in, 3, out, 2, 3 + (int)choice(o, 6), depth - 1);
  const bdl_atom x[] = {any_of(o, NUMBER), any_of(o, VECTOR), any_of(o, MATRIX)};
  bdl_atom z[2];
  OK(bdl_bind(o->p, BDL_P_checkpoint, (bdl_param[]){bdl_pprogs(&body, 1)}, x, 3, z));
  for (int i = 0; i < 2; i++) put(o, out[i], z[i]);
  bdl_prog_unref(body);
}

/* Results stay small, so that differences see the slope. */
static void random_equation(pool *o, int depth) {
  static const bdl_prim_id bounded[] = {BDL_P_tanh, BDL_P_sin, BDL_P_cos, BDL_P_sigmoid, BDL_P_atan, BDL_P_erf};
  const int64_t zero = 0, one = 1;
  const bdl_param row = bdl_pints(&zero, 1), last = bdl_pints(&one, 1), none = bdl_pints(NULL, 0);
  const bdl_prim_id f = bounded[choice(o, BDL_LEN(bounded))];
  bdl_atom a = any_of(o, NUMBER), x = any_of(o, VECTOR), y = any_of(o, MATRIX), z;
  switch (choice(o, depth > 0 ? 17 : 13)) {
    case 0: put(o, NUMBER, bind(o, f, NULL, &a, 1)); break;
    case 1: put(o, VECTOR, bind(o, f, NULL, &x, 1)); break;
    case 2: put(o, MATRIX, bind(o, f, NULL, &y, 1)); break;
    case 3: put(o, MATRIX, bind(o, BDL_P_mul, NULL, (bdl_atom[]){x, bind(o, f, NULL, &y, 1)}, 2)); break;
    case 4: put(o, VECTOR, bind(o, BDL_P_sub, NULL, (bdl_atom[]){a, x}, 2)); break;
    case 5: put(o, MATRIX, bind(o, BDL_P_add, NULL, (bdl_atom[]){y, a}, 2)); break;
    case 6:
      z = bind(o, f, NULL, &y, 1);
      put(o, VECTOR, bind(o, BDL_P_reduce_sum, &row, &z, 1));
      break;
    case 7: /* y' y x: products both ways */
      z = bind(o, BDL_P_dot, (bdl_param[]){last, row, none, none}, (bdl_atom[]){y, x}, 2);
      z = bind(o, f, NULL, &z, 1);
      put(o, VECTOR, bind(o, BDL_P_dot, (bdl_param[]){row, row, none, none}, (bdl_atom[]){z, y}, 2));
      break;
    case 8: { /* a row among others */
      z = bind(o, BDL_P_reshape, (bdl_param[]){bdl_pints((int64_t[]){1, 3}, 2)}, &x, 1);
      y = bind(o, BDL_P_slice, (bdl_param[]){bdl_pints((int64_t[]){1, 0}, 2), bdl_pints((int64_t[]){2, 3}, 2), bdl_pints((int64_t[]){1, 1}, 2)}, &y, 1);
      put(o, MATRIX, bind(o, BDL_P_concatenate, (bdl_param[]){bdl_pint(0)}, (bdl_atom[]){y, z}, 2));
      break;
    }
    case 9:
      z = bind(o, BDL_P_clamp, NULL, (bdl_atom[]){any_of(o, COUNT), any_of(o, COUNT), any_of(o, COUNT)}, 3);
      put(o, COUNT, bind(o, BDL_P_mod, NULL, (bdl_atom[]){z, any_of(o, COUNT)}, 2));
      break;
    case 10: put(o, NUMBER, bind(o, BDL_P_dynamic_slice, (bdl_param[]){none}, &a, 1)); break;
    case 11: put(o, VECTOR, bind(o, BDL_P_cumsum, (bdl_param[]){bdl_pint(0), bdl_pint((int64_t)choice(o, 2))}, &x, 1)); break;
    case 12: put(o, VECTOR, bind(o, BDL_P_div, NULL, (bdl_atom[]){x, bind(o, BDL_P_exp, NULL, (bdl_atom[]){bind(o, f, NULL, &a, 1)}, 1)}, 2)); break;
    case 13: case 14: random_scan(o, depth); break;
    case 15: random_checkpoint(o, depth); break;
    default: random_cond(o, depth);
  }
}

static bdl_prog *random_body(void **state, uint64_t *seed, const int *in, int n_in, const int *out, int n_out, int eqns, int depth) {
  pool o = {.state = state, .seed = seed};
  bdl_atom z[8];
  OK(bdl_prog_new(*state, "r", &o.p));
  for (int i = 0; i < n_in; i++) {
    OK(bdl_ir_input(o.p, &types[in[i]], &z[0]));
    put(&o, in[i], z[0]);
  }
  OK(bdl_ir_scalar(o.p, BDL_I32, 1, &z[0]));
  put(&o, COUNT, z[0]);
  while (o.p->eqns.n < eqns) random_equation(&o, depth);
  for (int i = 0; i < n_out; i++) z[i] = any_of(&o, out[i]);
  OK(bdl_prog_set_outputs(o.p, z, n_out));
  return o.p;
}

static void random_programs(void **state) {
  static const int in[] = {NUMBER, VECTOR, MATRIX, COUNT}, out[] = {NUMBER, VECTOR, MATRIX};
  const bool flags[4] = {false, true, true, true};
  for (uint64_t k = 1; k <= 100; k++) {
    uint64_t seed = k * 104729;
    bool lanes[3];
    bdl_prog *q = NULL, *p = random_body(state, &seed, in, 4, out, 3, 50, 2);
    assert_true(p->eqns.n >= 50);
    check(state, p, BOTH, 2, seed);
    OK(bdl_transform_batch(p, flags, 3, &q, lanes));
    check(state, q, BOTH, 1, seed + 1);
    bdl_prog_unref(q);
    bdl_prog_unref(p);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    T_TEST(scans),
    T_TEST(loops_in_loops),
    T_TEST(branches),
    T_TEST(loops_of_unknown_length),
    T_TEST(checkpoints),
    T_TEST(custom_rules),
    T_TEST(random_programs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
** test_table.c -- properties over the whole table of primitives, on the cases of cases.h and on random programs.
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

#include "cases.h"
#include "exec/exec.h"
#include "text.h"
#include "transform/transform.h"

#define OK(e)                                                                     \
  do {                                                                            \
    if ((e) != BDL_OK) fail_msg("%s", bdl_last_error(ctx_of(state))->message);    \
  } while (0)

enum { MAX = 32 };

static bdl_context *ctx_of(void **state) { return *state; }

static double uniform(uint64_t *seed) { return (double)(t_random(seed) >> 11) * 0x1p-53; }

/* ---- tensors ----------------------------------------------------------------------------------------- */

static void put(bdl_tensor *t, int64_t i, bdl_scalar v) {
  const size_t size = bdl_dtype_size(t->aval.dtype);
  memcpy((char *)bdl_tensor_data(t) + (size_t)i * size, &v, size);
}

static bdl_tensor random_tensor(void **state, const bdl_aval *a, double lo, double hi, uint64_t *seed) {
  bdl_tensor t;
  OK(bdl_tensor_new(bdl_device_cpu(*state), a, &t));
  for (int64_t i = 0; i < bdl_aval_numel(a); i++) {
    const double whole = floor(lo + (hi - lo + 1) * uniform(seed));
    put(&t, i, bdl_scalar_from_f64(a->dtype, bdl_dtype_is_float(a->dtype) ? lo + (hi - lo) * uniform(seed) : whole));
  }
  return t;
}

static void unref_all(bdl_tensor *t, int64_t n) {
  for (int64_t i = 0; i < n; i++) bdl_tensor_unref(&t[i]);
}

static void random_operands(void **state, const t_case *t, uint64_t seed, bdl_tensor *in) {
  for (int64_t i = 0; i < t->p->inputs.n; i++)
    in[i] = random_tensor(state, bdl_aval_of(t->p, t->p->inputs.v[i]), t->lo[i], t->hi[i], &seed);
}

static bool same_bits(const bdl_tensor *a, const bdl_tensor *b) {
  return bdl_aval_eq(&a->aval, &b->aval) && memcmp(bdl_tensor_data(a), bdl_tensor_data(b), bdl_aval_bytes(&a->aval)) == 0;
}

/* ---- every primitive --------------------------------------------------------------------------------- */

/* Effects need a host; they have tests of their own. */
static bool runs(bdl_prim_id p) { return !(bdl_prims[p].flags & BDL_F_EFFECT) && p != BDL_P_transposed; }

static void results_have_the_type_of_the_rule(void **state) {
  for (int p = 0; p < BDL_P_COUNT; p++)
    for (uint64_t seed = 1; runs((bdl_prim_id)p) && seed <= 16; seed++) {
      t_case t;
      bdl_tensor in[MAX], out[MAX];
      if (!t_case_new(*state, (bdl_prim_id)p, seed, BDL_DTYPE_COUNT, &t)) fail_msg("no case of %s", bdl_prims[p].name);
      random_operands(state, &t, seed, in);
      OK(bdl_exec_prog(*state, t.p, in, out));
      for (int i = 0; i < t.p->n_outputs; i++) assert_true(bdl_aval_eq(&out[i].aval, bdl_aval_of(t.p, t.p->outputs[i])));
      unref_all(in, t.p->inputs.n);
      unref_all(out, t.p->n_outputs);
      bdl_prog_unref(t.p);
    }
}

/* ---- random programs ----------------------------------------------------------------------------------- */

/* A chain of element-wise equations over a few shapes, with casts, broadcasts and a reduction at its end. */
static bdl_prog *random_program(void **state, uint64_t seed) {
  static const bdl_dtype dtypes[] = {BDL_F32, BDL_F32, BDL_I32, BDL_BOOL, BDL_F64, BDL_U32, BDL_I64};
  bdl_prog *p = NULL;
  bdl_atom pool[MAX * 2], out[4];
  int n = 0;
  OK(bdl_prog_new(*state, "r", &p));
  for (; n < BDL_LEN(dtypes); n++) {
    const int64_t shape[2] = {t_random(&seed) % 2 ? 5 : 1, 300};
    const bdl_aval a = bdl_aval_make(dtypes[n], (int32_t)(n == 1 ? 0 : n % 2 ? 1 : 2), n % 2 ? shape + 1 : shape);
    OK(bdl_ir_input(p, &a, &pool[n]));
  }
  OK(bdl_ir_scalar(p, BDL_F32, 2, &pool[n++]));
  OK(bdl_ir_scalar(p, BDL_F32, -0.0, &pool[n++]));
  OK(bdl_ir_scalar(p, BDL_I32, 3, &pool[n++]));
  while (n < MAX) {
    const bdl_prim_id prim = (bdl_prim_id)(t_random(&seed) % BDL_P_COUNT);
    bdl_param x[1] = {bdl_pint((int64_t)(t_random(&seed) % 4))};
    bdl_atom in[3];
    if (!(bdl_prims[prim].flags & BDL_F_ELEMENTWISE)) continue;
    if (prim == BDL_P_cast || prim == BDL_P_bitcast) x[0] = bdl_pdtype((bdl_dtype)(t_random(&seed) % BDL_DTYPE_COUNT));
    for (int k = 0; k < bdl_prims[prim].n_in; k++) in[k] = pool[t_random(&seed) % (uint64_t)n];
    if (bdl_bind(p, prim, x, in, bdl_prims[prim].n_in, &pool[n]) == BDL_OK) n++;
  }
  for (int k = 0; k < 3; k++) out[k] = pool[n - 1 - k];
  OK(bdl_ir_cast(p, pool[n - 1], BDL_F32, &out[3]));
  const int64_t axes[2] = {0, 1};
  OK(bdl_bind(p, BDL_P_reduce_sum, (bdl_param[]){bdl_pints(axes, bdl_aval_of(p, out[3])->ndim)}, &out[3], 1, &out[3]));
  OK(bdl_prog_set_outputs(p, out, 4));
  return p;
}

/* Equation by equation, each at once. */
static void eager(void **state, const bdl_prog *p, const bdl_tensor *in, bdl_tensor *out) {
  bdl_tensor *v = calloc((size_t)p->vars.n, sizeof *v);
  for (bdl_atom x = 0; x < p->vars.n; x++) {
    const bdl_var *var = &p->vars.v[x];
    if (var->kind == BDL_V_INPUT) v[x] = bdl_tensor_ref(&in[var->index]);
    if (var->kind == BDL_V_LITERAL) OK(bdl_tensor_scalar(bdl_device_cpu(*state), var->aval.dtype, var->literal, &v[x]));
  }
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    bdl_tensor x[3];
    for (int k = 0; k < e->n_in; k++) x[k] = v[e->in[k]];
    OK(bdl_exec_prim(*state, e->prim, e->params, x, e->n_in, &v[e->out[0]]));
  }
  for (int i = 0; i < p->n_outputs; i++) out[i] = bdl_tensor_ref(&v[p->outputs[i]]);
  for (bdl_atom x = 0; x < p->vars.n; x++) bdl_tensor_unref(&v[x]);
  free(v);
}

static void run_as_is(void **state, bdl_prog *p, const bdl_tensor *in, bdl_tensor *out) {
  bdl_plan *plan = NULL;
  OK(bdl_plan_new(*state, p, NULL, &plan));
  for (int i = 0; i < p->n_outputs; i++) out[i].buf = NULL;
  OK(bdl_exec_run(plan, in, out));
  bdl_plan_free(plan);
}

/* Optimised and fused, fused only, one group an equation, and at once: the same bits. */
static void all_ways_to_run_agree(void **state) {
  bdl_context *c = *state;
  for (uint64_t seed = 1; seed <= 200; seed++) {
    bdl_prog *p = random_program(state, seed);
    bdl_tensor in[8], out[4][4];
    uint64_t values = seed;
    for (int64_t i = 0; i < p->inputs.n; i++) {
      const bdl_aval *a = bdl_aval_of(p, p->inputs.v[i]);
      const double lo = a->dtype == BDL_U32 || a->dtype == BDL_BOOL ? 0 : -3, hi = a->dtype == BDL_BOOL ? 1 : 3;
      in[i] = random_tensor(state, a, lo, hi, &values);
    }
    OK(bdl_exec_prog(c, p, in, out[0]));
    run_as_is(state, p, in, out[1]);
    c->unfused = 1;
    run_as_is(state, p, in, out[2]);
    c->unfused = 0;
    eager(state, p, in, out[3]);
    for (int way = 1; way < 4; way++)
      for (int i = 0; i < 4; i++)
        if (!same_bits(&out[0][i], &out[way][i])) {
          char *text = t_print(p);
          fail_msg("seed %d, way %d, output %d differs\n%s", (int)seed, way, i, text);
        }
    for (int way = 0; way < 4; way++) unref_all(out[way], 4);
    unref_all(in, p->inputs.n);
    bdl_prog_unref(p);
  }
}

/* ---- derivatives --------------------------------------------------------------------------------------- */

/* Not smooth as functions of reals, or not meant to be differentiated. */
static bool smooth(bdl_prim_id p) {
  return runs(p) && p != BDL_P_nextafter && p != BDL_P_stop_gradient && p != BDL_P_bitcast && p != BDL_P_event_dot;
}

static bool is_f64(const bdl_tensor *t) { return t->aval.dtype == BDL_F64; }

/* x + h v for the operands of f64; the others as they are. */
static void step(void **state, const bdl_tensor *x, const bdl_tensor *v, int64_t n, double h, bdl_tensor *z) {
  for (int64_t i = 0, k = 0; i < n; i++) {
    z[i] = bdl_tensor_ref(&x[i]);
    if (!is_f64(&x[i])) continue;
    bdl_tensor_unref(&z[i]);
    OK(bdl_tensor_new(bdl_device_cpu(*state), &x[i].aval, &z[i]));
    const double *from = bdl_tensor_data(&x[i]), *way = bdl_tensor_data(&v[k++]);
    double *to = bdl_tensor_data(&z[i]);
    for (int64_t j = 0; j < bdl_aval_numel(&x[i].aval); j++) to[j] = from[j] + h * way[j];
  }
}

static double dot(const bdl_tensor *x, const bdl_tensor *y) {
  double sum = 0;
  for (int64_t j = 0; j < bdl_aval_numel(&x->aval); j++)
    sum += ((const double *)bdl_tensor_data(x))[j] * ((const double *)bdl_tensor_data(y))[j];
  return sum;
}

/* One case: J v by jvp, by differences; <w, J v> = <J' w, v> by vjp.  False: no rule. */
static bool derivatives(void **state, const t_case *t, uint64_t seed) {
  bdl_context *c = *state;
  bdl_prog *j = NULL, *r = NULL;
  bdl_tensor in[MAX], moved[MAX], out[MAX], above[MAX], below[MAX];
  const int64_t n = t->p->inputs.n;
  const int m = t->p->n_outputs;
  int n_v = 0, n_w = 0;
  if (bdl_transform_jvp(t->p, NULL, &j) != BDL_OK) {
    assert_int_equal(c->error.status, BDL_ENOTSUP);
    return false;
  }
  random_operands(state, t, seed, in);
  for (int64_t i = 0; i < n; i++)
    if (is_f64(&in[i])) in[n + n_v++] = random_tensor(state, &in[i].aval, -1, 1, &seed);
  OK(bdl_exec_prog(c, j, in, out)); /* z, J v */
  const double h = 1e-6;
  step(state, in, in + n, n, h, moved);
  OK(bdl_exec_prog(c, t->p, moved, above));
  unref_all(moved, n);
  step(state, in, in + n, n, -h, moved);
  OK(bdl_exec_prog(c, t->p, moved, below));
  unref_all(moved, n);
  for (int i = 0; i < m; i++) {
    if (!bdl_dtype_is_float(out[i].aval.dtype)) continue;
    const bdl_tensor *jv = &out[m + n_w++];
    if (!is_f64(jv)) continue; /* casts */
    for (int64_t k = 0; k < bdl_aval_numel(&jv->aval); k++) {
      const double got = ((double *)bdl_tensor_data(jv))[k];
      const double want = (((double *)bdl_tensor_data(&above[i]))[k] - ((double *)bdl_tensor_data(&below[i]))[k]) / (2 * h);
      if (!(fabs(got - want) <= 1e-5 * fmax(1, fabs(want)))) {
        char *text = t_print(t->p);
        fail_msg("seed %d: J v is %.9g, by differences %.9g\n%s", (int)seed, got, want, text);
      }
    }
  }
  if (bdl_transform_vjp(t->p, NULL, &r) != BDL_OK) {
    assert_int_equal(c->error.status, BDL_ENOTSUP);
  } else {
    bdl_tensor back_in[MAX], back[MAX];
    double by_jvp = 0, by_vjp = 0;
    for (int64_t i = 0; i < n; i++) back_in[i] = bdl_tensor_ref(&in[i]);
    bool all = true;
    for (int i = 0; i < n_w; i++) {
      back_in[n + i] = random_tensor(state, &out[m + i].aval, -1, 1, &seed);
      all &= is_f64(&out[m + i]);
      if (all) by_jvp += dot(&back_in[n + i], &out[m + i]);
    }
    OK(bdl_exec_prog(c, r, back_in, back));
    for (int i = 0; i < m; i++)
      if (is_f64(&out[i]) && !same_bits(&back[i], &out[i])) /* event_ids leaves its tail open */
        fail_msg("seed %d: vjp changes the results of\n%s", (int)seed, t_print(t->p));
    for (int i = 0; i < n_v; i++) by_vjp += dot(&back[m + i], &in[n + i]);
    if (all && !(fabs(by_jvp - by_vjp) <= 1e-9 * fmax(1, fabs(by_jvp)))) {
      char *text = t_print(t->p);
      fail_msg("seed %d: <w, J v> is %.12g, <J' w, v> %.12g\n%s", (int)seed, by_jvp, by_vjp, text);
    }
    unref_all(back_in, n + n_w);
    unref_all(back, m + n_v);
    bdl_prog_unref(r);
  }
  unref_all(in, n + n_v);
  unref_all(out, m + n_w);
  unref_all(above, m);
  unref_all(below, m);
  bdl_prog_unref(j);
  return true;
}

static void derivatives_are_those_of_the_function(void **state) {
  int with_rule = 0;
  for (int p = 0; p < BDL_P_COUNT; p++)
    for (uint64_t seed = 1; smooth((bdl_prim_id)p) && seed <= 16; seed++) {
      t_case t;
      if (!t_case_new(*state, (bdl_prim_id)p, seed, BDL_F64, &t)) continue;
      with_rule += derivatives(state, &t, seed);
      bdl_prog_unref(t.p);
    }
  assert_true(with_rule > 1000);
}

/* The jvp of a jvp, by the same test.  False: no rule. */
static bool second_derivatives(void **state, const t_case *t, uint64_t seed) {
  t_case j = *t;
  if (bdl_transform_jvp(t->p, NULL, &j.p) != BDL_OK) return false;
  assert_true(j.p->inputs.n <= BDL_LEN(j.lo));
  for (int64_t i = t->p->inputs.n; i < j.p->inputs.n; i++) j.lo[i] = -1, j.hi[i] = 1;
  const bool ok = derivatives(state, &j, seed);
  bdl_prog_unref(j.p);
  return ok;
}

static void second_derivatives_are_those_of_the_first(void **state) {
  for (int p = 0; p < BDL_P_COUNT; p++)
    for (uint64_t seed = 1; smooth((bdl_prim_id)p) && seed <= 16; seed++) {
      t_case t;
      if (!t_case_new(*state, (bdl_prim_id)p, seed, BDL_F64, &t)) continue;
      if (!second_derivatives(state, &t, seed) && (bdl_prims[p].flags & BDL_F_ELEMENTWISE))
        fail_msg("%s: %s", bdl_prims[p].name, ctx_of(state)->error.message);
      bdl_prog_unref(t.p);
    }
}

/* Where a rule chooses between formulas, the other one must not spoil the second derivative. */
static void second_derivatives_pass_where_rules_choose(void **state) {
  static const struct {
    const char *equation;
    double x, y;
  } at[] = {{"exprel x", 0, 0}, {"pow x y", 1.5, 0}, {"pow x y", 0.5, 1}, {"integer_pow[y=2] x", 0, 0}, {"max x y", 1, 0}};
  for (int k = 0; k < BDL_LEN(at); k++) {
    char text[128];
    snprintf(text, sizeof text, "program t(x:f64[1], y:f64[1]) {\n z:f64[1] = %s\n return z }", at[k].equation);
    const t_case t = {.p = t_parse(*state, text), .lo = {at[k].x, at[k].y}, .hi = {at[k].x, at[k].y}};
    assert_true(second_derivatives(state, &t, 1));
    bdl_prog_unref(t.p);
  }
}

/* Near 0 the derivative of exprel is a series, away from it a formula: both at the border. */
static void exprel_is_smooth_at_its_border(void **state) {
  static const double xs[] = {-0.1000001, -0.0999999, -1e-9, 0, 1e-9, 0.0999999, 0.1000001, 30, -30};
  for (int i = 0; i < BDL_LEN(xs); i++) {
    t_case t = {.p = t_parse(*state, "program t(x:f64[1]) {\n z:f64[1] = exprel x\n return z }"), .lo = {xs[i]}, .hi = {xs[i]}};
    if (fabs(xs[i]) < 1) assert_true(derivatives(state, &t, 1));
    bdl_prog *j = NULL;
    bdl_tensor in[2], out[2];
    uint64_t seed = 1;
    OK(bdl_transform_jvp(t.p, NULL, &j));
    in[0] = random_tensor(state, bdl_aval_of(t.p, 0), xs[i], xs[i], &seed);
    in[1] = random_tensor(state, bdl_aval_of(t.p, 0), 1, 1, &seed);
    OK(bdl_exec_prog(*state, j, in, out));
    const long double x = xs[i];
    long double want = 0.5L + x / 3 + x * x / 8 + x * x * x / 30 + x * x * x * x / 144 + x * x * x * x * x / 840;
    if (fabs(xs[i]) > 1) want = (expl(x) * (x - 1) + 1) / (x * x);
    assert_true(fabsl(((double *)bdl_tensor_data(&out[1]))[0] / want - 1) < (fabs(xs[i]) > 1 ? 1e-12 : 1e-9));
    unref_all(in, 2);
    unref_all(out, 2);
    bdl_prog_unref(j);
    bdl_prog_unref(t.p);
  }
}

static void a_missing_rule_names_the_line(void **state) {
  bdl_context *c = *state;
  bdl_prog *p = t_parse(c, "program t(x:f64[2], d:f64[1], i:i32[1], n:i32[], q:i32[2]) {\n"
                           " z:f64[2] = csr_scatter[rows=1 cols=2 transpose=0] x i n d i q @ \"models/x.lua\":7\n return z }"), *q = NULL;
  assert_int_equal(bdl_transform_jvp(p, NULL, &q), BDL_ENOTSUP);
  assert_string_equal(c->error.message, "csr_scatter: forward differentiation is not supported");
  assert_int_equal(c->error.where.line, 7);
  OK(bdl_transform_jvp(p, (bool[]){false, false, false, false, false}, &q)); /* not on the way */
  bdl_prog_unref(q);
  bdl_prog_unref(p);
}

static void inactive_inputs_and_integers_have_no_tangent(void **state) {
  bdl_prog *p = t_parse(*state, "program t(x:f64[], y:f64[], i:i32[]) {\n z:f64[] = mul x y\n return z, i, 2.0:f64 }"), *q = NULL;
  OK(bdl_transform_jvp(p, (bool[]){true, false, true}, &q));
  t_expect(q, "program t(x:f64[], y:f64[], i:i32[], a:f64[]) {\n z:f64[] = mul x y\n b:f64[] = mul a y\n"
              " return z, i, 2.0:f64, b, 0.0:f64\n}");
  bdl_prog_unref(q);
  OK(bdl_transform_vjp(p, (bool[]){true, false, true}, &q));
  t_expect(q, "program t(x:f64[], y:f64[], i:i32[], a:f64[], b:f64[]) {\n z:f64[] = mul x y\n c:f64[] = mul a y\n"
              " return z, i, 2.0:f64, c\n}");
  bdl_prog_unref(q);
  bdl_prog_unref(p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    T_TEST(results_have_the_type_of_the_rule),
    T_TEST(all_ways_to_run_agree),
    T_TEST(derivatives_are_those_of_the_function),
    T_TEST(second_derivatives_are_those_of_the_first),
    T_TEST(second_derivatives_pass_where_rules_choose),
    T_TEST(exprel_is_smooth_at_its_border),
    T_TEST(a_missing_rule_names_the_line),
    T_TEST(inactive_inputs_and_integers_have_no_tangent),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
** Running plans: every primitive and random programs give the same bits fused, unfused, optimised or not, in place or
** not, with one thread or four; loops; interrupts; failed allocations.
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

#include "../support/faults.h"
#include "exec/exec_context.h"
#include "../ir/cases.h"
#include "../ir/text.h"

enum { MANY = 64 };

static void check(bdl_context *c, bdl_status s) {
  if (s != BDL_OK) fail_msg("%s", bdl_last_error(c)->message);
}

static bdl_tensor random_tensor(bdl_context *c, const bdl_aval *a, double lo, double hi, uint64_t *rng) {
  bdl_tensor t;
  check(c, bdl_tensor_new(bdl_device_cpu(c), a, &t));
  char *data = bdl_tensor_data(&t);
  size_t size = bdl_dtype_size(a->dtype);
  for (int64_t i = 0; i < bdl_aval_numel(a); i++) {
    double u = (double)(t_random(rng) >> 11) / 9007199254740992.0;
    bdl_scalar v = bdl_dtype_is_float(a->dtype) ? bdl_scalar_from_f64(a->dtype, lo + (hi - lo) * u)
                                                : bdl_scalar_from_i64(a->dtype, (int64_t)(lo + (hi - lo + 1) * u));
    memcpy(data + (size_t)i * size, &v, size);
  }
  return t;
}

static void drop(bdl_tensor *t, int n) {
  for (int i = 0; i < n; i++) bdl_tensor_unref(&t[i]);
}

static void same_bits(const bdl_tensor *a, const bdl_tensor *b, int n, const char *what, uint64_t seed) {
  bool ids = !strcmp(what, "event_ids"); /* what stands behind their number is nobody's */
  for (int i = 0; i < n; i++) {
    if (!a[i].buf || !b[i].buf) {
      fail_msg("%s, seed %llu: no result %d", what, (unsigned long long)seed, i);
      return;
    }
    if (!bdl_aval_eq(&a[i].aval, &b[i].aval)) fail_msg("%s, seed %llu: result %d differs in type", what, (unsigned long long)seed, i);
    size_t bytes = bdl_aval_bytes(&a[i].aval), size = bdl_dtype_size(a[i].aval.dtype);
    if (ids && i == 0) bytes = (size_t)bdl_tensor_at(&a[1], 0).i32 * size;
    const char *x = bdl_tensor_data(&a[i]), *y = bdl_tensor_data(&b[i]);
    for (size_t k = 0; k < bytes; k += size)
      if (memcmp(x + k, y + k, size) != 0)
        fail_msg("%s, seed %llu: result %d differs at %zu: %.17g and %.17g", what, (unsigned long long)seed, i, k / size,
                 bdl_scalar_to_f64(a[i].aval.dtype, bdl_tensor_at(&a[i], (int64_t)(k / size))),
                 bdl_scalar_to_f64(b[i].aval.dtype, bdl_tensor_at(&b[i], (int64_t)(k / size))));
  }
}

/* Without any pass. */
static bdl_status run_raw(bdl_context *c, bdl_prog *p, const bdl_tensor *in, bdl_tensor *out) {
  bdl_plan *plan;
  TRY(bdl_plan_new(c, p, NULL, &plan));
  for (int i = 0; i < p->n_outputs; i++) out[i].buf = NULL;
  bdl_status s = bdl_exec_run(plan, in, out);
  bdl_plan_free(plan);
  return s;
}

/* All the ways to run p must agree. */
static void agree(bdl_context *c, bdl_prog *p, const bdl_tensor *in, const char *what, uint64_t seed) {
  bdl_tensor want[MANY] = {0}, got[MANY] = {0};
  bdl_exec_context *x;
  check(c, bdl_exec_get(c, &x));
  x->threads = 1;
  c->unfused = 1;
  check(c, run_raw(c, p, in, want));
  for (int i = 0; i < p->n_outputs; i++) assert_true(bdl_aval_eq(&want[i].aval, bdl_aval_of(p, p->outputs[i])));
  c->unfused = 0;
  check(c, run_raw(c, p, in, got));
  same_bits(want, got, p->n_outputs, what, seed);
  drop(got, p->n_outputs);
  x->threads = 4;
  check(c, bdl_exec_prog(c, p, in, got));
  same_bits(want, got, p->n_outputs, what, seed);
  drop(got, p->n_outputs);
  drop(want, p->n_outputs);
}

static void every_primitive_agrees(void **state) {
  bdl_context *c = *state;
  for (int prim = 0; prim < BDL_P_COUNT; prim++) {
    if (bdl_prims[prim].flags & BDL_F_EFFECT || prim == BDL_P_transposed) continue;
    for (uint64_t seed = 1; seed <= 24; seed++) {
      t_case t;
      uint64_t rng = seed * 77 + (uint64_t)prim;
      if (!t_case_new(c, (bdl_prim_id)prim, seed, BDL_DTYPE_COUNT, &t)) continue;
      bdl_tensor in[8];
      for (int i = 0; i < t.p->inputs.n; i++) in[i] = random_tensor(c, bdl_aval_of(t.p, t.p->inputs.v[i]), t.lo[i], t.hi[i], &rng);
      agree(c, t.p, in, bdl_prims[prim].name, seed);
      drop(in, (int)t.p->inputs.n);
      bdl_prog_unref(t.p);
    }
  }
}

/* ---- random programs ------------------------------------------------------------------------------ */

typedef struct gen {
  bdl_prog *p;
  uint64_t rng;
  bdl_atom pool[256];
  int n;
} gen;

static uint64_t below(gen *g, uint64_t n) { return t_random(&g->rng) % n; }

static void keep(gen *g, bdl_status s, bdl_atom x) {
  if (s == BDL_OK && g->n < 256) g->pool[g->n++] = x;
}

static void grow(gen *g) {
  static const bdl_prim_id unary[] = {BDL_P_neg, BDL_P_abs, BDL_P_exp, BDL_P_tanh, BDL_P_exprel, BDL_P_floor, BDL_P_sigmoid, BDL_P_sin};
  static const bdl_prim_id binary[] = {BDL_P_add, BDL_P_sub, BDL_P_mul, BDL_P_max, BDL_P_min, BDL_P_div};
  static const bdl_prim_id reduce[] = {BDL_P_reduce_sum, BDL_P_reduce_max, BDL_P_reduce_min};
  bdl_atom x = g->pool[below(g, (uint64_t)g->n)], y = g->pool[below(g, (uint64_t)g->n)], z = BDL_ZERO, m = BDL_ZERO;
  const bdl_aval *a = bdl_aval_of(g->p, x);
  int64_t list[3][BDL_MAX_NDIM];
  bdl_param params[3];
  int nd = a->ndim;
  bdl_status s;
  switch (below(g, 11)) {
    case 0: case 1:
      s = bdl_bind1(g->p, unary[below(g, 8)], x, &z);
      keep(g, s, z);
      break;
    case 2: case 3: case 4:
      s = bdl_bind2(g->p, binary[below(g, 6)], x, y, &z); /* shapes that do not broadcast are refused: nothing is added */
      keep(g, s, z);
      break;
    case 5:
      if (bdl_bind2(g->p, BDL_P_lt, x, y, &m) == BDL_OK) {
        s = bdl_bind3(g->p, BDL_P_select, m, x, y, &z);
        keep(g, s, z);
      }
      break;
    case 6: /* slice */
      for (int k = 0; k < nd; k++) {
        int64_t n = a->shape[k], lo = n > 1 ? (int64_t)below(g, (uint64_t)(n / 2 + 1)) : 0;
        list[0][k] = lo, list[1][k] = n - (n > 2 ? (int64_t)below(g, 2) : 0), list[2][k] = below(g, 4) ? 1 : 2;
        if (list[1][k] <= lo) list[1][k] = n;
      }
      for (int k = 0; k < 3; k++) params[k] = bdl_pints(list[k], nd);
      s = bdl_bind(g->p, BDL_P_slice, params, &x, 1, &z);
      keep(g, s, z);
      break;
    case 7: /* flip or transpose */
      for (int k = 0; k < nd; k++) list[0][k] = nd - 1 - k;
      params[0] = bdl_pints(list[0], nd);
      s = bdl_bind(g->p, below(g, 2) ? BDL_P_reverse : BDL_P_permute, params, &x, 1, &z);
      keep(g, s, z);
      break;
    case 8: { /* reduce some axes */
      int n = 0;
      bool all = below(g, 2);
      for (int k = 0; k < nd; k++)
        if (all || below(g, 2)) list[0][n++] = k;
      params[0] = bdl_pints(list[0], n);
      s = bdl_bind(g->p, reduce[below(g, 3)], params, &x, 1, &z);
      keep(g, s, z);
      break;
    }
    case 9: /* flatten */
      list[0][0] = bdl_aval_numel(a);
      s = bdl_ir_reshape(g->p, x, 1, list[0], &z);
      keep(g, s, z);
      break;
    default: { /* repeat along a new leading axis */
      if (nd > 2) break;
      list[0][0] = 3;
      for (int k = 0; k < nd; k++) list[0][k + 1] = a->shape[k], list[1][k] = k + 1;
      params[0] = bdl_pints(list[0], nd + 1), params[1] = bdl_pints(list[1], nd);
      s = bdl_bind(g->p, BDL_P_broadcast, params, &x, 1, &z);
      keep(g, s, z);
    }
  }
  bdl_clear_error(g->p->ctx);
}

static const int64_t SHAPES[][2] = {{0, 0}, {7, 0}, {1300, 0}, {2, 650}, {650, 0}, {1, 7}};

static bdl_aval shape_of(uint64_t k) {
  int ndim = SHAPES[k][0] == 0 ? 0 : SHAPES[k][1] == 0 ? 1 : 2;
  return bdl_aval_make(BDL_F32, ndim, SHAPES[k]);
}

static void add_inputs(gen *g, int n) {
  for (int i = 0; i < n; i++) {
    bdl_aval a = shape_of(below(g, 6));
    check(g->p->ctx, bdl_ir_input(g->p, &a, &g->pool[g->n++]));
  }
}

static void outputs(gen *g, int n) {
  bdl_atom out[MANY];
  for (int i = 0; i < n; i++) out[i] = g->pool[g->n - 1 - (int)below(g, (uint64_t)BDL_MIN(g->n, 20))];
  check(g->p->ctx, bdl_prog_set_outputs(g->p, out, n));
}

static void random_inputs(bdl_context *c, bdl_prog *p, bdl_tensor *in, uint64_t *rng) {
  for (int i = 0; i < p->inputs.n; i++) in[i] = random_tensor(c, bdl_aval_of(p, p->inputs.v[i]), -2, 2, rng);
}

static void random_programs_agree(void **state) {
  bdl_context *c = *state;
  for (uint64_t seed = 1; seed <= 150; seed++) {
    gen g = {.rng = seed};
    check(c, bdl_prog_new(c, "random", &g.p));
    add_inputs(&g, 4);
    for (int i = 0; i < 40; i++) grow(&g);
    outputs(&g, 6);
    bdl_tensor in[MANY];
    random_inputs(c, g.p, in, &g.rng);
    agree(c, g.p, in, "random program", seed);
    drop(in, (int)g.p->inputs.n);
    bdl_prog_unref(g.p);
  }
}

/* A scan whose body is random: carry of three shapes, exchanged, kept or replaced; stacked operands and results. */
static bdl_prog *random_scan(bdl_context *c, uint64_t seed, int32_t *pair) {
  gen b = {.rng = seed};
  bdl_aval carry[3] = {shape_of(2), shape_of(2), shape_of(0)}, slice = shape_of(4), konst = shape_of(3);
  check(c, bdl_prog_new(c, "body", &b.p));
  check(c, bdl_ir_input(b.p, &konst, &b.pool[b.n++]));
  for (int i = 0; i < 3; i++) check(c, bdl_ir_input(b.p, &carry[i], &b.pool[b.n++]));
  check(c, bdl_ir_input(b.p, &slice, &b.pool[b.n++]));
  for (int i = 0; i < 25; i++) grow(&b);
  bdl_atom out[6];
  for (int k = 0; k < 3; k++) { /* something of the carry's type: mix two of its type, or hand one on */
    bdl_atom same[256];
    int n = 0;
    for (int i = 0; i < b.n; i++)
      if (bdl_aval_eq(bdl_aval_of(b.p, b.pool[i]), &carry[k])) same[n++] = b.pool[i];
    out[k] = same[below(&b, (uint64_t)n)];
    if (below(&b, 3)) check(c, bdl_bind2(b.p, BDL_P_add, out[k], same[below(&b, (uint64_t)n)], &out[k]));
    if (below(&b, 2)) check(c, bdl_bind1(b.p, BDL_P_tanh, out[k], &out[k]));
  }
  for (int k = 3; k < 5; k++) out[k] = b.pool[below(&b, (uint64_t)b.n)];
  out[5] = out[0]; /* the carry itself, stacked */
  check(c, bdl_prog_set_outputs(b.p, out, 6));
  bdl_prog *p;
  check(c, bdl_prog_new(c, "scan", &p));
  bdl_aval xs = slice;
  xs.ndim = 2, xs.shape[1] = slice.shape[0], xs.shape[0] = 5;
  const bdl_aval *type[5] = {&konst, &carry[0], &carry[1], &carry[2], &xs};
  bdl_atom in[5], res[6];
  for (int i = 0; i < 5; i++) check(c, bdl_ir_input(p, type[i], &in[i]));
  bdl_param params[5] = {bdl_pint(1), bdl_pint(3), bdl_pint(5), bdl_pint((int64_t)(seed & 1)), bdl_pprogs(&b.p, 1)};
  check(c, bdl_bind(p, BDL_P_scan, params, in, 5, res));
  check(c, bdl_prog_set_outputs(p, res, 6));
  bdl_prog_unref(b.p);
  for (int i = 0; i < 6; i++) pair[i] = i < 3 ? i + 1 : -1;
  return p;
}

static void random_scans_agree(void **state) {
  bdl_context *c = *state;
  for (uint64_t seed = 1; seed <= 120; seed++) {
    int32_t pair[6];
    bdl_prog *p = random_scan(c, seed, pair);
    uint64_t rng = seed;
    bdl_tensor in[MANY], want[MANY] = {0}, got[MANY] = {0};
    random_inputs(c, p, in, &rng);
    agree(c, p, in, "random scan", seed);
    /* results written over their operands */
    check(c, run_raw(c, p, in, want));
    bdl_prog *q;
    bdl_plan *plan;
    check(c, bdl_optimise(p, bdl_exec_eval_eqn, NULL, NULL, &q));
    check(c, bdl_plan_new(c, q, pair, &plan));
    for (int i = 0; i < 6; i++) {
      got[i].buf = NULL;
      if (plan->inplace[i]) got[i] = bdl_tensor_ref(&in[pair[i]]);
    }
    check(c, bdl_exec_run(plan, in, got));
    same_bits(want, got, 6, "scan in place", seed);
    bdl_plan_free(plan);
    bdl_prog_unref(q);
    drop(got, 6);
    drop(want, 6);
    drop(in, (int)p->inputs.n);
    bdl_prog_unref(p);
  }
}

/* ---- loops by hand ------------------------------------------------------------------------------------ */

static void run_text(bdl_context *c, const char *text, const double *in, int n_in, double *out, int n_out) {
  bdl_prog *p = t_parse(c, text);
  bdl_tensor x[MANY], y[MANY];
  assert_int_equal(p->inputs.n, n_in);
  assert_int_equal(p->n_outputs, n_out);
  for (int i = 0; i < n_in; i++) {
    bdl_dtype d = bdl_aval_of(p, p->inputs.v[i])->dtype;
    check(c, bdl_tensor_scalar(bdl_device_cpu(c), d, bdl_scalar_from_f64(d, in[i]), &x[i]));
  }
  check(c, bdl_exec_prog(c, p, x, y));
  for (int i = 0; i < n_out; i++) out[i] = bdl_scalar_to_f64(y[i].aval.dtype, bdl_tensor_at(&y[i], 0));
  drop(x, n_in);
  drop(y, n_out);
  bdl_prog_unref(p);
}

static void carries_may_be_exchanged(void **state) {
  double out[2];
  run_text(*state,
           "program p(a:f64[], b:f64[]) {\n"
           "  c:f64[], d:f64[] = scan[consts=0 carry=2 length=7 reverse=0 body={program body(a:f64[], b:f64[]) {\n"
           "    c:f64[] = add a b\n    return b, c\n  }}] a b\n  return c, d\n}\n",
           (double[]){0, 1}, 2, out, 2);
  assert_true(out[0] == 13 && out[1] == 21); /* Fibonacci */
}

/* [3,3,1] and [3,3] share a group; b goes along the second axis of one and the first of the other. */
static void an_operand_may_spread_in_two_ways(void **state) {
  bdl_context *c = *state;
  bdl_prog *p = t_parse(c, "program t(a:f64[3,1,1], b:f64[3,1], c:f64[1,3]) { x:f64[3,3,1] = sub a b\n y:f64[3,3] = sub b c\n return x, y }");
  bdl_tensor in[3], out[2];
  uint64_t rng = 1;
  for (int i = 0; i < 3; i++) in[i] = random_tensor(c, bdl_aval_of(p, p->inputs.v[i]), 0, 1, &rng);
  check(c, run_raw(c, p, in, out));
  const double *v[5];
  for (int i = 0; i < 5; i++) v[i] = bdl_tensor_data(i < 3 ? &in[i] : &out[i - 3]);
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 3; j++) {
      assert_true(v[3][3 * i + j] == v[0][i] - v[1][j]);
      assert_true(v[4][3 * i + j] == v[1][i] - v[2][j]);
    }
  drop(in, 3);
  drop(out, 2);
  bdl_prog_unref(p);
}

/* In a loop that keeps its rows in one place a row is still read after its result: as the next carry, by a reversal. */
static void rows_are_read_before_results_lie_over_them(void **state) {
  bdl_context *c = *state;
  bdl_prog *p = t_parse(c, "program t(x:f64[2], y:f64[2,2]) { z:f64[2], w:f64[2,2] = scan[consts=0 carry=2 length=2 reverse=0 body={"
                           "program o(a:f64[2], b:f64[2,2]) { g:f64[2], h:f64[2,2] = scan[consts=0 carry=1 length=2 reverse=0 body={"
                           "program i(a:f64[2], b:f64[2]) { c:f64[2] = neg b\n d:f64[2] = reverse[axes=(0)] b\n e:f64[2] = sub c d\n"
                           " return b, e }}] a b\n return g, h }}] x y\n return z, w }");
  bdl_tensor in[2], out[2];
  uint64_t rng = 1;
  for (int i = 0; i < 2; i++) in[i] = random_tensor(c, bdl_aval_of(p, p->inputs.v[i]), 0, 1, &rng);
  const double *y = bdl_tensor_data(&in[1]);
  check(c, bdl_exec_prog(c, p, in, out));
  const double *z = bdl_tensor_data(&out[0]), *w = bdl_tensor_data(&out[1]);
  const double once = -y[2] - y[3]; /* both elements of the last row after one round */
  assert_true(z[0] == once && z[1] == once);
  assert_true(w[2] == -once - once && w[3] == -once - once);
  drop(in, 2);
  drop(out, 2);
  bdl_prog_unref(p);
}

/* Spikes times weights in a long loop: a value that is not finite shows although only zeros meet it. */
static void zeros_of_spikes_are_passed_over(void **state) {
  bdl_context *c = *state;
  bdl_prog *p = t_parse(c, "program t(w:f32[64,80], x:f32[40,1,64], v:f32[1,80]) { u:f32[1,80], y:f32[40,1,80] = scan[consts=1 carry=1"
                           " length=40 reverse=0 body={program b(w:f32[64,80], v:f32[1,80], x:f32[1,64]) { s:bool[1,64] = ge x 0.8:f32\n"
                           " t:f32[1,64] = cast[dtype=f32] s\n"
                           " i:f32[1,80] = dot[lhs_contract=(1) rhs_contract=(0) lhs_batch=() rhs_batch=()] t w\n"
                           " z:f32[1,80] = add v i\n return z, i }}] w v x\n return u, y }");
  for (int infinite = 0; infinite < 2; infinite++) {
    bdl_tensor in[3], out[2];
    bdl_plan *plan = NULL;
    bdl_str text = {.ctx = c};
    uint64_t rng = 1;
    for (int i = 0; i < 3; i++) in[i] = random_tensor(c, bdl_aval_of(p, p->inputs.v[i]), 0, 1, &rng);
    for (int t = 0; t < 40; t++) ((float *)bdl_tensor_data(&in[1]))[64 * t] = 0; /* row 0 of w never counts */
    if (infinite) ((float *)bdl_tensor_data(&in[0]))[3] = (float)INFINITY;
    agree(c, p, in, "spikes", 1);
    check(c, run_raw(c, p, in, out));
    const float *u = bdl_tensor_data(&out[0]);
    for (int j = 0; j < 80; j++) assert_true(infinite && j == 3 ? u[j] != u[j] : u[j] == u[j]);
    check(c, bdl_plan_new(c, p, NULL, &plan));
    check(c, bdl_plan_print(plan, &text));
    assert_non_null(strstr(text.s, "sparse_dot"));
    bdl_str_fini(&text);
    bdl_plan_free(plan);
    drop(in, 3);
    drop(out, 2);
  }
  bdl_prog_unref(p);
}

/* What a loop starts from is made in the place of its carry: no copy. */
static void carries_start_at_home(void **state) {
  bdl_context *c = *state;
  bdl_prog *p = t_parse(c, "program t(x:f32[9]) { a:f32[9] = mul x 2.0:f32\n u:f32[9] = scan[consts=1 carry=1 length=3 reverse=0 body={"
                           "program b(x:f32[9], v:f32[9]) { z:f32[9] = add v x\n return z }}] x a\n return u }");
  bdl_tensor in[1];
  bdl_plan *plan = NULL;
  bdl_str text = {.ctx = c};
  uint64_t rng = 1;
  in[0] = random_tensor(c, bdl_aval_of(p, p->inputs.v[0]), 0, 1, &rng);
  agree(c, p, in, "carry", 1);
  check(c, bdl_plan_new(c, p, NULL, &plan));
  check(c, bdl_plan_print(plan, &text));
  assert_null(strstr(text.s, "copy"));
  bdl_str_fini(&text);
  bdl_plan_free(plan);
  drop(in, 1);
  bdl_prog_unref(p);
}

static void empty_loops_hand_the_carry_on(void **state) {
  double out[1];
  run_text(*state,
           "program p(a:f64[]) {\n"
           "  c:f64[] = scan[consts=0 carry=1 length=0 reverse=0 body={program body(a:f64[]) {\n"
           "    c:f64[] = add a 1.0:f64\n    return c\n  }}] a\n  return c\n}\n",
           (double[]){5}, 1, out, 1);
  assert_true(out[0] == 5);
}

static void while_and_cond(void **state) {
  static const char *text =
    "program p(a:f64[], i:i32[]) {\n"
    "  c:f64[] = while[cond_consts=0 body_consts=0 programs={program cond(a:f64[]) {\n"
    "    b:bool[] = lt a 100.0:f64\n    return b\n  }, program body(a:f64[]) {\n"
    "    b:f64[] = mul a 2.0:f64\n    return b\n  }}] a\n"
    "  d:f64[] = cond[branches={program zero(a:f64[]) {\n    b:f64[] = neg a\n    return b\n  }, program one(a:f64[]) {\n"
    "    return a\n  }}] i c\n"
    "  return d\n}\n";
  double out[1];
  run_text(*state, text, (double[]){3, 0}, 2, out, 1);
  assert_true(out[0] == -192);
  run_text(*state, text, (double[]){300, 1}, 2, out, 1);
  assert_true(out[0] == 300);
  run_text(*state, text, (double[]){3, 99}, 2, out, 1); /* clamped */
  assert_true(out[0] == 192);
}

static void an_interrupt_ends_a_loop_between_steps(void **state) {
  bdl_context *c = *state;
  bdl_prog *p = t_parse(c,
                        "program p(a:f64[], b:f64[]) {\n"
                        "  c:f64[], d:f64[] = scan[consts=0 carry=2 length=1000000 reverse=0 body={program body(a:f64[], b:f64[]) {\n"
                        "    c:f64[] = add a 1.0:f64\n    d:f64[] = add b 2.0:f64\n    return c, d\n  }}] a b\n  return c, d\n}\n");
  bdl_tensor in[2], out[2] = {{.buf = NULL}, {.buf = NULL}};
  bdl_plan *plan;
  for (int i = 0; i < 2; i++) check(c, bdl_tensor_scalar(bdl_device_cpu(c), BDL_F64, (bdl_scalar){.f64 = 0}, &in[i]));
  check(c, bdl_plan_new(c, p, NULL, &plan));
  c->interrupted = 1;
  assert_int_equal(bdl_exec_run(plan, in, out), BDL_EINTERRUPT);
  bdl_clear_error(c);
  double a = bdl_tensor_at(&out[0], 0).f64, b = bdl_tensor_at(&out[1], 0).f64;
  assert_true(a == 1 && b == 2); /* whole steps */
  drop(in, 2);
  drop(out, 2);
  bdl_plan_free(plan);
  bdl_prog_unref(p);
}

/* Large enough for a parallel region: 12 operations over 800 tiles, and a reduction. */
static void the_number_of_threads_changes_no_bit(void **state) {
  bdl_context *c = *state;
  bdl_prog *p = t_parse(c,
                        "program p(a:f32[409601], b:f32[409601]) {\n"
                        "  c:f32[409601] = mul a b\n  d:f32[409601] = exp c\n  e:f32[409601] = add d a\n  f:f32[409601] = tanh e\n"
                        "  g:bool[409601] = lt f b\n  h:f32[409601] = select g f a\n  i:f32[409601] = sub h b\n"
                        "  j:f32[409601] = mul i 0.3:f32\n  k:f32[409601] = exprel j\n  l:f32[] = reduce_sum[axes=(0)] k\n"
                        "  m:f32[] = reduce_max[axes=(0)] i\n  n:f32[409601] = reverse[axes=(0)] a\n  o:f32[409601] = add k n\n"
                        "  return o, l, m\n}\n");
  bdl_tensor in[2], want[MANY] = {0}, got[MANY] = {0};
  bdl_exec_context *x;
  uint64_t rng = 11;
  random_inputs(c, p, in, &rng);
  check(c, bdl_exec_get(c, &x));
  for (int threads = 1; threads <= 5; threads++) {
    x->threads = threads;
    check(c, run_raw(c, p, in, threads == 1 ? want : got));
    if (threads == 1) continue;
    same_bits(want, got, 3, "threads", (uint64_t)threads);
    drop(got, 3);
  }
  drop(want, 3);
  drop(in, 2);
  bdl_prog_unref(p);
}

/* ---- failed allocations --------------------------------------------------------------------------------- */

static void failed_allocations_leave_nothing(void **state) {
  (void)state;
  for (int persistent = 0; persistent < 2; persistent++) {
    bool done = false;
    for (int64_t n = 0; !done; n++) {
      t_faults f = {.left = INT64_MAX};
      bdl_context *c = bdl_context_new(t_failing_alloc, &f);
      int32_t pair[6];
      bdl_prog *p = random_scan(c, 3, pair);
      uint64_t rng = 5;
      bdl_tensor in[MANY], out[MANY];
      random_inputs(c, p, in, &rng);
      f.persistent = persistent;
      f.left = n;
      bdl_status s = bdl_exec_prog(c, p, in, out);
      done = !f.happened;
      f = (t_faults){.left = INT64_MAX};
      if (s == BDL_OK) drop(out, p->n_outputs);
      else assert_int_equal(s, BDL_ENOMEM);
      bdl_clear_error(c);
      check(c, bdl_exec_prog(c, p, in, out)); /* the next call works */
      drop(out, p->n_outputs);
      drop(in, (int)p->inputs.n);
      bdl_prog_unref(p);
      bdl_context_free(c);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    T_TEST(every_primitive_agrees), T_TEST(random_programs_agree), T_TEST(random_scans_agree), T_TEST(carries_may_be_exchanged),
    T_TEST(an_operand_may_spread_in_two_ways),
    T_TEST(rows_are_read_before_results_lie_over_them),
    T_TEST(zeros_of_spikes_are_passed_over), T_TEST(carries_start_at_home),
    T_TEST(empty_loops_hand_the_carry_on), T_TEST(while_and_cond), T_TEST(an_interrupt_ends_a_loop_between_steps),
    T_TEST(the_number_of_threads_changes_no_bit), cmocka_unit_test(failed_allocations_leave_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

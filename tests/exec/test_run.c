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
#include "programs.h"
#include "../ir/text.h"

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
  t_check(c, bdl_exec_get(c, &x));
  x->threads = 1;
  c->unfused = 1;
  t_check(c, run_raw(c, p, in, want));
  for (int i = 0; i < p->n_outputs; i++) assert_true(bdl_aval_eq(&want[i].aval, bdl_aval_of(p, p->outputs[i])));
  c->unfused = 0;
  t_check(c, run_raw(c, p, in, got));
  t_same_bits(want, got, p->n_outputs, what, seed);
  t_drop(got, p->n_outputs);
  x->threads = 4;
  t_check(c, bdl_exec_prog(c, p, in, got));
  t_same_bits(want, got, p->n_outputs, what, seed);
  t_drop(got, p->n_outputs);
  t_drop(want, p->n_outputs);
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
      for (int i = 0; i < t.p->inputs.n; i++) in[i] = t_random_tensor(c, bdl_aval_of(t.p, t.p->inputs.v[i]), t.lo[i], t.hi[i], &rng);
      agree(c, t.p, in, bdl_prims[prim].name, seed);
      t_drop(in, (int)t.p->inputs.n);
      bdl_prog_unref(t.p);
    }
  }
}

/* ---- random programs ------------------------------------------------------------------------------ */

static void random_programs_agree(void **state) {
  bdl_context *c = *state;
  for (uint64_t seed = 1; seed <= 150; seed++) {
    bdl_prog *p = t_random_program(c, seed);
    bdl_tensor in[MANY];
    uint64_t rng = seed;
    t_random_inputs(p, in, &rng);
    agree(c, p, in, "random program", seed);
    t_drop(in, (int)p->inputs.n);
    bdl_prog_unref(p);
  }
}

static void random_scans_agree(void **state) {
  bdl_context *c = *state;
  for (uint64_t seed = 1; seed <= 120; seed++) {
    int32_t pair[6];
    bdl_prog *p = t_random_scan(c, seed, pair);
    uint64_t rng = seed;
    bdl_tensor in[MANY], want[MANY] = {0}, got[MANY] = {0};
    t_random_inputs(p, in, &rng);
    agree(c, p, in, "random scan", seed);
    /* results written over their operands */
    t_check(c, run_raw(c, p, in, want));
    bdl_prog *q;
    bdl_plan *plan;
    t_check(c, bdl_optimise(p, bdl_exec_eval_eqn, NULL, NULL, &q));
    t_check(c, bdl_plan_new(c, q, pair, &plan));
    for (int i = 0; i < 6; i++) {
      got[i].buf = NULL;
      if (plan->inplace[i]) got[i] = bdl_tensor_ref(&in[pair[i]]);
    }
    t_check(c, bdl_exec_run(plan, in, got));
    t_same_bits(want, got, 6, "scan in place", seed);
    bdl_plan_free(plan);
    bdl_prog_unref(q);
    t_drop(got, 6);
    t_drop(want, 6);
    t_drop(in, (int)p->inputs.n);
    bdl_prog_unref(p);
  }
}

static void random_rows_agree(void **state) {
  bdl_context *c = *state;
  int kept = 0;
  for (uint64_t seed = 1; seed <= 400; seed++) {
    bdl_prog *p = t_random_rows(c, seed);
    uint64_t rng = seed;
    bdl_tensor in[MANY];
    bdl_plan *plan;
    t_random_inputs(p, in, &rng);
    agree(c, p, in, "rows", seed);
    t_check(c, bdl_plan_new(c, p, NULL, &plan));
    for (int32_t i = 0; i < plan->n_insts; i++)
      for (int32_t k = 0; plan->by_id[i]->kind == BDL_I_SCAN && k < plan->by_id[i]->scan.n_moving; k++)
        kept += plan->by_id[i]->scan.moving[k].next >= 0;
    bdl_plan_free(plan);
    t_drop(in, (int)p->inputs.n);
    bdl_prog_unref(p);
  }
  assert_true(kept > 100); /* carries that stay in their rows */
}

/* ---- loops by hand ------------------------------------------------------------------------------------ */

static void run_text(bdl_context *c, const char *text, const double *in, int n_in, double *out, int n_out) {
  bdl_prog *p = t_parse(c, text);
  bdl_tensor x[MANY], y[MANY];
  assert_int_equal(p->inputs.n, n_in);
  assert_int_equal(p->n_outputs, n_out);
  for (int i = 0; i < n_in; i++) {
    bdl_dtype d = bdl_aval_of(p, p->inputs.v[i])->dtype;
    t_check(c, bdl_tensor_scalar(bdl_device_cpu(c), d, bdl_scalar_from_f64(d, in[i]), &x[i]));
  }
  t_check(c, bdl_exec_prog(c, p, x, y));
  for (int i = 0; i < n_out; i++) out[i] = bdl_scalar_to_f64(y[i].aval.dtype, bdl_tensor_at(&y[i], 0));
  t_drop(x, n_in);
  t_drop(y, n_out);
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

/* How often the plan of p has the word. */
static int words(bdl_context *c, bdl_prog *p, const char *word) {
  bdl_plan *plan = NULL;
  bdl_str text = {.ctx = c};
  int n = 0;
  t_check(c, bdl_plan_new(c, p, NULL, &plan));
  t_check(c, bdl_plan_print(plan, &text));
  for (const char *at = text.s; (at = strstr(at, word)); at++) n++;
  bdl_str_fini(&text);
  bdl_plan_free(plan);
  return n;
}

/* a and a value that only follows go first, then the three in their ring: one of them by a temporary. */
static void carries_go_home_in_order(void **state) {
  bdl_context *c = *state;
  bdl_prog *p = t_parse(c, "program t(a:f32[5], b:f32[5], d:f32[5], e:f32[5]) { u:f32[5], v:f32[5], w:f32[5], x:f32[5], y:f32[7,5] = "
                           "scan[consts=0 carry=4 length=7 reverse=0 body={program o(a:f32[5], b:f32[5], d:f32[5], e:f32[5]) {\n"
                           " return d, a, b, a, e }}] a b d e\n return u, v, w, x, y }");
  bdl_tensor in[4], out[5];
  uint64_t rng = 1;
  for (int i = 0; i < 4; i++) in[i] = t_random_tensor(c, bdl_aval_of(p, p->inputs.v[i]), 0, 1, &rng);
  agree(c, p, in, "ring", 1);
  t_check(c, run_raw(c, p, in, out));
  const int first[] = {2, 0, 1, 0}; /* seven steps on: as after one */
  for (int k = 0; k < 4; k++) assert_memory_equal(bdl_tensor_data(&out[k]), bdl_tensor_data(&in[first[k]]), 20);
  const int e[] = {3, 0, 2, 1, 0, 2, 1}; /* what it was at each step */
  for (int k = 0; k < 7; k++) assert_memory_equal((char *)bdl_tensor_data(&out[4]) + 20 * k, bdl_tensor_data(&in[e[k]]), 20);
  assert_int_equal(words(c, p, "copy"), 4 + 6); /* the operands to the results, and a step */
  t_drop(in, 4);
  t_drop(out, 5);
  bdl_prog_unref(p);
}

/* A number that an array waits for does not part it from what stands before. */
static void numbers_come_first(void **state) {
  bdl_context *c = *state;
  bdl_prog *p = t_parse(c, "program t(x:f32[64], n:f32[]) { a:f32[64] = mul x 0.9:f32\n m:f32[] = add n 1.0:f32\n k:f32[] = exp m\n"
                           " b:f32[64] = div a k\n return a, b, m }");
  bdl_tensor in[2];
  uint64_t rng = 1;
  for (int i = 0; i < 2; i++) in[i] = t_random_tensor(c, bdl_aval_of(p, p->inputs.v[i]), 0, 1, &rng);
  agree(c, p, in, "numbers", 1);
  assert_int_equal(words(c, p, "group"), 2);
  t_drop(in, 2);
  bdl_prog_unref(p);
}

/* [3,3,1] and [3,3] share a group; b goes along the second axis of one and the first of the other. */
static void an_operand_may_spread_in_two_ways(void **state) {
  bdl_context *c = *state;
  bdl_prog *p = t_parse(c, "program t(a:f64[3,1,1], b:f64[3,1], c:f64[1,3]) { x:f64[3,3,1] = sub a b\n y:f64[3,3] = sub b c\n return x, y }");
  bdl_tensor in[3], out[2];
  uint64_t rng = 1;
  for (int i = 0; i < 3; i++) in[i] = t_random_tensor(c, bdl_aval_of(p, p->inputs.v[i]), 0, 1, &rng);
  t_check(c, run_raw(c, p, in, out));
  const double *v[5];
  for (int i = 0; i < 5; i++) v[i] = bdl_tensor_data(i < 3 ? &in[i] : &out[i - 3]);
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 3; j++) {
      assert_true(v[3][3 * i + j] == v[0][i] - v[1][j]);
      assert_true(v[4][3 * i + j] == v[1][i] - v[2][j]);
    }
  t_drop(in, 3);
  t_drop(out, 2);
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
  for (int i = 0; i < 2; i++) in[i] = t_random_tensor(c, bdl_aval_of(p, p->inputs.v[i]), 0, 1, &rng);
  const double *y = bdl_tensor_data(&in[1]);
  t_check(c, bdl_exec_prog(c, p, in, out));
  const double *z = bdl_tensor_data(&out[0]), *w = bdl_tensor_data(&out[1]);
  const double once = -y[2] - y[3]; /* both elements of the last row after one round */
  assert_true(z[0] == once && z[1] == once);
  assert_true(w[2] == -once - once && w[3] == -once - once);
  t_drop(in, 2);
  t_drop(out, 2);
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
    for (int i = 0; i < 3; i++) in[i] = t_random_tensor(c, bdl_aval_of(p, p->inputs.v[i]), 0, 1, &rng);
    for (int t = 0; t < 40; t++) ((float *)bdl_tensor_data(&in[1]))[64 * t] = 0; /* row 0 of w never counts */
    if (infinite) ((float *)bdl_tensor_data(&in[0]))[3] = (float)INFINITY;
    agree(c, p, in, "spikes", 1);
    t_check(c, run_raw(c, p, in, out));
    const float *u = bdl_tensor_data(&out[0]);
    for (int j = 0; j < 80; j++) assert_true(infinite && j == 3 ? u[j] != u[j] : u[j] == u[j]);
    t_check(c, bdl_plan_new(c, p, NULL, &plan));
    t_check(c, bdl_plan_print(plan, &text));
    assert_non_null(strstr(text.s, "sparse_dot"));
    bdl_str_fini(&text);
    bdl_plan_free(plan);
    t_drop(in, 3);
    t_drop(out, 2);
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
  in[0] = t_random_tensor(c, bdl_aval_of(p, p->inputs.v[0]), 0, 1, &rng);
  agree(c, p, in, "carry", 1);
  t_check(c, bdl_plan_new(c, p, NULL, &plan));
  t_check(c, bdl_plan_print(plan, &text));
  assert_null(strstr(text.s, "copy"));
  bdl_str_fini(&text);
  bdl_plan_free(plan);
  t_drop(in, 1);
  bdl_prog_unref(p);
}

/* The carry before a step and behind it, and a view of it, for the loop of tangents: no copy, and rows that are read as they stand. */
static void residuals_are_not_copied(void **state) {
  bdl_context *c = *state;
  bdl_prog *p = t_parse(c, "program t(w:f32[9,9], x:f32[4,9], h:f32[9]) { k:f32[9], a:f32[4,9], b:f32[4,9], d:f32[4,3,3] = scan[consts=1 carry=1"
                           " length=4 reverse=0 body={program b(w:f32[9,9], h:f32[9], x:f32[9]) {"
                           " u:f32[9] = dot[lhs_contract=(0) rhs_contract=(0) lhs_batch=() rhs_batch=()] h w\n v:f32[9] = add u x\n"
                           " z:f32[9] = tanh v\n q:f32[9] = mul z z\n r:f32[3,3] = reshape[shape=(3,3)] q\n return z, h, z, r }}] w h x\n"
                           " g:f32[4,9] = broadcast[shape=(4,9) dims=(1)] k\n"
                           " m:f32[9], n:f32[9] = scan[consts=0 carry=2 length=4 reverse=1 body={program o(m:f32[9], n:f32[9], a:f32[9],"
                           " b:f32[9], d:f32[3,3], g:f32[9]) { e:f32[9] = reshape[shape=(9)] d\n i:f32[9] = mul a g\n s:f32[9] = add i m\n"
                           " j:f32[9] = mul b e\n t:f32[9] = add n j\n return s, t }}] h h a b d g\n return m, n }");
  bdl_tensor in[3];
  bdl_plan *plan = NULL;
  bdl_str text = {.ctx = c};
  uint64_t rng = 1;
  t_random_inputs(p, in, &rng);
  agree(c, p, in, "residuals", 1);
  t_check(c, bdl_plan_new(c, p, NULL, &plan));
  t_check(c, bdl_plan_print(plan, &text));
  assert_non_null(strstr(text.s, "scan 4 reversed"));
  assert_null(strstr(text.s, "\n    copy")); /* in a loop */
  assert_null(strstr(text.s, "= copy"));     /* on the way */
  bdl_str_fini(&text);
  bdl_plan_free(plan);
  t_drop(in, 3);
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

static void stopped_after_one_step(bdl_context *c, const char *text) {
  bdl_prog *p = t_parse(c, text);
  bdl_tensor in[2], out[2] = {{.buf = NULL}, {.buf = NULL}};
  bdl_plan *plan;
  for (int i = 0; i < 2; i++) t_check(c, bdl_tensor_scalar(bdl_device_cpu(c), BDL_F64, (bdl_scalar){.f64 = 0}, &in[i]));
  t_check(c, bdl_plan_new(c, p, NULL, &plan));
  c->interrupted = 1;
  assert_int_equal(bdl_exec_run(plan, in, out), BDL_EINTERRUPT);
  bdl_clear_error(c);
  double a = bdl_tensor_at(&out[0], 0).f64, b = bdl_tensor_at(&out[1], 0).f64;
  assert_true(a == 1 && b == 2); /* whole steps */
  t_drop(in, 2);
  t_drop(out, 2);
  bdl_plan_free(plan);
  bdl_prog_unref(p);
}

static void an_interrupt_ends_a_loop_between_steps(void **state) {
  stopped_after_one_step(*state, "program p(a:f64[], b:f64[]) {\n"
                        "  c:f64[], d:f64[] = scan[consts=0 carry=2 length=1000000 reverse=0 body={program body(a:f64[], b:f64[]) {\n"
                        "    c:f64[] = add a 1.0:f64\n    d:f64[] = add b 2.0:f64\n    return c, d\n  }}] a b\n  return c, d\n}\n");
  /* although rows of the carry are made, too, the State is not in them */
  stopped_after_one_step(*state, "program p(a:f64[], b:f64[]) {\n"
                        "  c:f64[], d:f64[], r:f64[9] = scan[consts=0 carry=2 length=9 reverse=0 body={program body(a:f64[], b:f64[]) {\n"
                        "    c:f64[] = add a 1.0:f64\n    d:f64[] = add b 2.0:f64\n    return c, d, a\n  }}] a b\n  return c, d\n}\n");
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
  t_random_inputs(p, in, &rng);
  t_check(c, bdl_exec_get(c, &x));
  for (int threads = 1; threads <= 5; threads++) {
    x->threads = threads;
    t_check(c, run_raw(c, p, in, threads == 1 ? want : got));
    if (threads == 1) continue;
    t_same_bits(want, got, 3, "threads", (uint64_t)threads);
    t_drop(got, 3);
  }
  t_drop(want, 3);
  t_drop(in, 2);
  bdl_prog_unref(p);
}

/* ---- failed allocations --------------------------------------------------------------------------------- */

static void failed_allocations_leave_nothing(void **state) {
  (void)state;
  for (int which = 0; which < 4; which++) {
    const int persistent = which & 1;
    bool done = false;
    for (int64_t n = 0; !done; n++) {
      t_faults f = {.left = INT64_MAX};
      bdl_context *c = bdl_context_new(t_failing_alloc, &f);
      int32_t pair[12];
      bdl_prog *p = which < 2 ? t_random_scan(c, 3, pair) : t_random_neurons(c, 4, pair);
      uint64_t rng = 5;
      bdl_tensor in[MANY], out[MANY];
      t_random_inputs(p, in, &rng);
      f.persistent = persistent;
      f.left = n;
      bdl_status s = bdl_exec_prog(c, p, in, out);
      done = !f.happened;
      f = (t_faults){.left = INT64_MAX};
      if (s == BDL_OK) t_drop(out, p->n_outputs);
      else assert_int_equal(s, BDL_ENOMEM);
      bdl_clear_error(c);
      t_check(c, bdl_exec_prog(c, p, in, out)); /* the next call works */
      t_drop(out, p->n_outputs);
      t_drop(in, (int)p->inputs.n);
      bdl_prog_unref(p);
      bdl_context_free(c);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    T_TEST(every_primitive_agrees), T_TEST(random_programs_agree), T_TEST(random_scans_agree), T_TEST(random_rows_agree), T_TEST(carries_may_be_exchanged),
    T_TEST(carries_go_home_in_order), T_TEST(numbers_come_first), T_TEST(an_operand_may_spread_in_two_ways),
    T_TEST(rows_are_read_before_results_lie_over_them),
    T_TEST(zeros_of_spikes_are_passed_over), T_TEST(carries_start_at_home),
    T_TEST(residuals_are_not_copied), T_TEST(empty_loops_hand_the_carry_on), T_TEST(while_and_cond), T_TEST(an_interrupt_ends_a_loop_between_steps),
    T_TEST(the_number_of_threads_changes_no_bit), cmocka_unit_test(failed_allocations_leave_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
** The native tier: the same bits as the interpreter tier over every primitive and random programs; the cache; what goes wrong.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../ir/cases.h"
#include "../ir/text.h"
#include "exec/cache.h"
#include "exec/exec_context.h"
#include "programs.h"
#include "rings.h"

static char folder[T_FOLDER]; /* the cache of this program */

static void shell(const char *command) { t_in_folder(folder, command); }

static int new_cache(void **state) {
  (void)state;
  t_new_folder(folder);
  return setenv("BDL_CACHE", folder, 1);
}

static int drop_cache(void **state) {
  (void)state;
  shell("rm -rf $PWD");
  return 0;
}

/* One plan of p, run by each tier; the native one twice.  Returns the state it ends in. */
static bdl_native_state agree(bdl_context *c, bdl_prog *p, const int32_t *pair, const bdl_tensor *in, const char *what, uint64_t seed) {
  const int n = p->n_outputs;
  bdl_tensor *want = calloc((size_t)n, sizeof *want), *got = calloc((size_t)n, sizeof *got);
  bdl_plan *plan;
  t_check(c, bdl_plan_new(c, p, pair, &plan));
  t_tier(c, "interp");
  t_check(c, bdl_exec_run(plan, in, want));
  assert_null(plan->native);
  t_tier(c, "native");
  for (int i = 0; i < 2; i++) {
    t_check(c, bdl_exec_run(plan, in, got));
    t_same_bits(want, got, n, what, seed);
    t_drop(got, n);
  }
  t_drop(want, n);
  const bdl_native_state state = plan->native->state;
  bdl_plan_free(plan);
  free(want);
  free(got);
  return state;
}

/* Many small programs as one: a compiler takes its time. */
typedef struct bundle {
  bdl_prog *p;
  BDL_VEC(bdl_tensor) in;
  BDL_VEC(bdl_atom) out;
} bundle;

static void open_bundle(bdl_context *c, bundle *b) {
  *b = (bundle){0};
  t_check(c, bdl_prog_new(c, "bundle", &b->p));
}

static void add(bdl_context *c, bundle *b, bdl_prog *p, const bdl_tensor *in) {
  bdl_atom x[MANY], y[MANY];
  bdl_param body = bdl_pprogs(&p, 1);
  for (int i = 0; i < p->inputs.n; i++) {
    t_check(c, bdl_ir_input(b->p, bdl_aval_of(p, p->inputs.v[i]), &x[i]));
    assert_true(BDL_PUSH(c, b->in, in[i]));
  }
  t_check(c, bdl_bind(b->p, BDL_P_call, &body, x, (int)p->inputs.n, y));
  for (int i = 0; i < p->n_outputs; i++) assert_true(BDL_PUSH(c, b->out, y[i]));
}

static void close_bundle(bdl_context *c, bundle *b, const char *what) {
  t_check(c, bdl_prog_set_outputs(b->p, b->out.v, (int)b->out.n));
  assert_int_equal(agree(c, b->p, NULL, b->in.v, what, 0), BDL_N_READY);
  t_drop(b->in.v, (int)b->in.n);
  BDL_VEC_FREE(c, b->in);
  BDL_VEC_FREE(c, b->out);
  bdl_prog_unref(b->p);
}

/* Numbers as they come, and those at the edges. */
static bdl_tensor operand(bdl_context *c, const t_case *t, int i, uint64_t *rng) {
  static const double edges[] = {0, -0.0, 1, -1, 0.5, 1e-30, -1e30, 1e308, 1. / 0., -1. / 0., 0. / 0., 2147483648., -2147483649.};
  const bdl_aval *a = bdl_aval_of(t->p, t->p->inputs.v[i]);
  bdl_tensor x = t_random_tensor(c, a, t->lo[i], t->hi[i], rng);
  const size_t size = bdl_dtype_size(a->dtype);
  for (int64_t k = 0; bdl_dtype_is_float(a->dtype) && k < bdl_aval_numel(a); k++) {
    const bdl_scalar v = bdl_scalar_from_f64(a->dtype, edges[t_random(rng) % BDL_LEN(edges)]);
    if (t_random(rng) % 4 == 0) memcpy((char *)bdl_tensor_data(&x) + (size_t)k * size, &v, size);
  }
  return x;
}

/* Element-wise primitives at every number; the others are kernels, which the tiers share. */
static void every_element_operation_agrees(void **state) {
  bdl_context *c = *state;
  bundle b;
  int cases = 0;
  open_bundle(c, &b);
  for (int prim = 0; prim < BDL_P_COUNT; prim++) {
    const bdl_lower_kind kind = bdl_lowering_of((bdl_prim_id)prim)->kind;
    if (kind != BDL_LOWER_TILE && kind != BDL_LOWER_REDUCE && kind != BDL_LOWER_STRIDED) continue;
    for (uint64_t seed = 1; seed <= 8; seed++) {
      t_case t;
      uint64_t rng = seed * 77 + (uint64_t)prim;
      bdl_tensor in[8];
      if (!t_case_new(c, (bdl_prim_id)prim, seed, BDL_DTYPE_COUNT, &t)) continue;
      for (int i = 0; i < t.p->inputs.n; i++) in[i] = operand(c, &t, i, &rng);
      add(c, &b, t.p, in);
      bdl_prog_unref(t.p);
      cases++;
    }
  }
  assert_true(cases > 300);
  close_bundle(c, &b, "elements");
}

static void random_programs_agree(void **state) {
  bdl_context *c = *state;
  bundle b;
  open_bundle(c, &b);
  for (uint64_t seed = 1; seed <= 40; seed++) {
    bdl_prog *p = t_random_program(c, seed);
    bdl_tensor in[MANY];
    uint64_t rng = seed;
    t_random_inputs(p, in, &rng);
    add(c, &b, p, in);
    bdl_prog_unref(p);
  }
  close_bundle(c, &b, "random programs");
}

static void random_scans_agree(void **state) {
  bdl_context *c = *state;
  bundle b;
  open_bundle(c, &b);
  for (uint64_t seed = 1; seed <= 24; seed++) {
    int32_t pair[6];
    bdl_prog *p = t_random_scan(c, seed, pair);
    bdl_tensor in[MANY];
    uint64_t rng = seed;
    t_random_inputs(p, in, &rng);
    add(c, &b, p, in);
    bdl_prog_unref(p);
  }
  close_bundle(c, &b, "random scans");
}

static void random_rows_agree(void **state) {
  bdl_context *c = *state;
  bundle b;
  open_bundle(c, &b);
  for (uint64_t seed = 1; seed <= 16; seed++) {
    bdl_prog *p = t_random_rows(c, seed);
    bdl_tensor in[MANY];
    uint64_t rng = seed;
    t_random_inputs(p, in, &rng);
    add(c, &b, p, in);
    bdl_prog_unref(p);
  }
  close_bundle(c, &b, "random rows");
}

static void random_rings_agree(void **state) {
  bdl_context *c = *state;
  bundle b;
  open_bundle(c, &b);
  for (uint64_t seed = 1; seed <= 16; seed++) {
    int32_t pair[T_RING_OUT];
    bdl_prog *p = t_random_rings(c, seed, pair);
    bdl_tensor in[T_RING_IN];
    t_inputs_of(p, in);
    *(int32_t *)bdl_tensor_data(&in[1]) = (int32_t)(seed % 7) - 1;
    add(c, &b, p, in);
    bdl_prog_unref(p);
  }
  close_bundle(c, &b, "random rings");
}

/* Tile by tile, many steps at a time, with any number of threads, as one operation after another in the interpreter. */
static void neurons_alone_agree(void **state) {
  bdl_context *c = *state;
  bdl_exec_context *x = t_tier(c, "native");
  int tiled = 0, kept = 0;
  for (uint64_t seed = 1; seed <= 16; seed++) {
    int32_t pair[12];
    bdl_prog *p = t_random_neurons(c, seed, pair);
    bdl_tensor in[MANY], want[12] = {0}, got[12] = {0};
    uint64_t rng = seed;
    bdl_plan *plain, *plan;
    t_random_inputs(p, in, &rng);
    c->unfused = 1;
    t_check(c, bdl_plan_new(c, p, NULL, &plain));
    c->unfused = 0;
    t_tier(c, "interp");
    t_check(c, bdl_exec_run(plain, in, want));
    bdl_plan_free(plain);
    t_check(c, bdl_plan_new(c, p, pair, &plan));
    const bdl_inst *loop = plan->block.v;
    while (loop->kind != BDL_I_SCAN) loop++;
    tiled += loop->scan.tiled != NULL;
    for (int32_t k = 0; loop->scan.tiled && k < loop->scan.n_moving; k++) kept += loop->scan.moving[k].next >= 0;
    for (int threads = 0; threads < 4; threads++) { /* 0: the interpreter */
      t_tier(c, threads ? "native" : "interp");
      x->threads = BDL_MAX(threads, 1);
      t_check(c, bdl_exec_run(plan, in, got));
      t_same_bits(want, got, 12, "neurons", seed);
      t_drop(got, 12);
    }
    assert_int_equal(plan->native->state, BDL_N_READY);
    bdl_plan_free(plan);
    t_drop(want, 12), t_drop(in, (int)p->inputs.n);
    bdl_prog_unref(p);
  }
  x->threads = 1;
  assert_true(kept > 4); /* States in their rows */
  assert_true(tiled > 10); /* where time and sums share a group, the next step waits for the sums */
}

/* What changes from step to step and is no neuron's, here a key and a row of numbers, is noted for all steps before the tiles. */
static void noise_in_tiles_agrees(void **state) {
  bdl_context *c = *state;
  bdl_prog *p = t_parse(c,
                        "program p(k:u32[2], a:f32[1300], t:f32[600]) {\n"
                        "  l:u32[2], c:f32[1300], d:f32[600] = scan[consts=0 carry=2 length=600 reverse=0 body={program body(k:u32[2], a:f32[1300], t:f32[]) {\n"
                        "    s:u32[2,2] = random_split[n=2] k\n    m:u32[1,2] = slice[start=(0,0) stop=(1,2) step=(1,1)] s\n"
                        "    l:u32[2] = reshape[shape=(2)] m\n    o:u32[1,2] = slice[start=(1,0) stop=(2,2) step=(1,1)] s\n"
                        "    q:u32[2] = reshape[shape=(2)] o\n    r:u32[1300] = random_bits[shape=(1300) dtype=u32] q\n    v:u32[1300] = shr r 9:u32\n"
                        "    w:f32[1300] = cast[dtype=f32] v\n    x:f32[1300] = mul w 0.0000001:f32\n    z:f32[] = sin t\n    y:f32[1300] = mul x z\n"
                        "    b:f32[1300] = add a y\n    e:bool[1300] = gt b 0.5:f32\n    f:f32[1300] = cast[dtype=f32] e\n"
                        "    g:f32[] = reduce_sum[axes=(0)] f\n    h:f32[1300] = sub b f\n    return l, h, g\n  }}] k a t\n"
                        "  return l, c, d\n}\n");
  bdl_tensor in[3], want[3] = {0}, got[3] = {0};
  bdl_exec_context *x = t_tier(c, "interp");
  bdl_plan *plan;
  uint64_t rng = 3;
  for (int i = 0; i < 3; i++) in[i] = t_random_tensor(c, bdl_aval_of(p, p->inputs.v[i]), 0, 100, &rng);
  t_check(c, bdl_plan_new(c, p, NULL, &plan));
  const bdl_tiled *tiled = plan->block.v[plan->block.n - 1].scan.tiled;
  assert_non_null(tiled);
  assert_int_equal(tiled->n_notes, 2);
  t_check(c, bdl_exec_run(plan, in, want));
  t_tier(c, "native");
  for (x->threads = 1; x->threads < 4; x->threads++) {
    t_check(c, bdl_exec_run(plan, in, got));
    t_same_bits(want, got, 3, "noise", (uint64_t)x->threads);
    t_drop(got, 3);
  }
  x->threads = 1;
  bdl_plan_free(plan);
  t_drop(want, 3), t_drop(in, 3);
  bdl_prog_unref(p);
}

/* ---- loops ------------------------------------------------------------------------------------------------ */

/* In the middle of a loop the interpreter hands over to what lies in the cache. */
static void a_loop_is_handed_over_between_steps(void **state) {
  bdl_context *c = *state;
  bdl_prog *p = t_long_loop(c, 30000);
  bdl_tensor in[2], want[2] = {0}, got[2] = {0};
  bdl_plan *plan;
  t_inputs_of(p, in);
  assert_int_equal(agree(c, p, NULL, in, "long loop", 0), BDL_N_READY); /* it is in the cache now */
  t_tier(c, "interp");
  t_check(c, bdl_plan_new(c, p, NULL, &plan));
  t_check(c, bdl_exec_run(plan, in, want));
  t_tier(c, "auto");
  t_check(c, bdl_exec_run(plan, in, got));
  assert_non_null(plan->native);
  assert_int_equal(plan->native->state, BDL_N_READY);
  t_same_bits(want, got, 2, "handed over", 0);
  bdl_plan_free(plan);
  t_drop(want, 2), t_drop(got, 2), t_drop(in, 2);
  bdl_prog_unref(p);
}

static void interrupt_after(void *ud, int64_t done, int64_t total) {
  (void)total;
  if (done >= 3) ((bdl_context *)ud)->interrupted = 1;
}

static void an_interrupt_ends_a_native_loop_between_steps(void **state) {
  bdl_context *c = *state;
  int32_t pair[2] = {0, 1};
  bdl_prog *p = t_long_loop(c, 1000000000); /* would take hours */
  bdl_tensor in[2], out[2] = {0};
  bdl_plan *plan;
  t_inputs_of(p, in);
  t_tier(c, "native");
  t_check(c, bdl_plan_new(c, p, pair, &plan));
  assert_true(plan->loop_only);
  bdl_exec_set_progress(c, interrupt_after, c);
  assert_int_equal(bdl_exec_run(plan, in, out), BDL_EINTERRUPT);
  assert_non_null(strstr(bdl_last_error(c)->message, "of 1000000000 steps; States are those after the last of them"));
  assert_int_equal(plan->native->state, BDL_N_READY);
  assert_non_null(plan->block.v[plan->block.n - 1].scan.tiled);
  long long made = 0; /* by every element */
  assert_int_equal(sscanf(bdl_last_error(c)->message, "interrupted after %lld", &made), 1);
  bdl_clear_error(c);
  bdl_exec_set_progress(c, NULL, NULL);
  bdl_plan_free(plan);
  bdl_prog_unref(p);
  p = t_long_loop(c, made);
  bdl_tensor want[2] = {0};
  t_tier(c, "interp");
  t_check(c, bdl_plan_new(c, p, NULL, &plan));
  t_check(c, bdl_exec_run(plan, in, want));
  t_same_bits(want, out, 2, "interrupted", (uint64_t)made);
  bdl_plan_free(plan);
  t_drop(out, 2), t_drop(want, 2), t_drop(in, 2);
  bdl_prog_unref(p);
}

static void a_kernel_that_fails_in_a_native_loop_is_named(void **state) {
  bdl_context *c = *state;
  bdl_prog *p = t_parse(c,
                        "program p(a:f32[3], i:i32[]) {\n"
                        "  c:f32[3], j:i32[] = scan[consts=0 carry=2 length=9 reverse=0 body={program body(a:f32[3], i:i32[]) {\n"
                        "    g:f32[] = gather[axis=0] a i\n    b:f32[3] = add a g\n    j:i32[] = add i 1:i32\n    return b, j\n  }}] a i\n"
                        "  return c, j\n}\n");
  bdl_tensor in[2], out[2] = {0};
  bdl_plan *plan;
  const bdl_aval a = bdl_aval_make(BDL_F32, 1, (int64_t[]){3});
  uint64_t rng = 1;
  in[0] = t_random_tensor(c, &a, 0, 1, &rng);
  t_check(c, bdl_tensor_scalar(bdl_device_cpu(c), BDL_I32, bdl_scalar_from_i64(BDL_I32, 0), &in[1]));
  t_tier(c, "native");
  t_check(c, bdl_plan_new(c, p, NULL, &plan));
  assert_int_equal(bdl_exec_run(plan, in, out), BDL_EINDEX);
  assert_int_equal(plan->native->state, BDL_N_READY);
  bdl_clear_error(c);
  bdl_plan_free(plan);
  t_drop(in, 2);
  bdl_prog_unref(p);
}

/* ---- what goes wrong ----------------------------------------------------------------------------------------- */

/* The results stay those of the interpreter tier, whatever is the matter. */
static bdl_native_state run_once(bdl_context *c) {
  bdl_prog *p = t_long_loop(c, 3);
  bdl_tensor in[2];
  t_inputs_of(p, in);
  const bdl_native_state s = agree(c, p, NULL, in, "run once", 0);
  t_drop(in, 2);
  bdl_prog_unref(p);
  return s;
}

static void heard(void *ud, const char *text) { snprintf(ud, 512, "%s", text); }

static void without_a_compiler_the_interpreter_goes_on(void **state) {
  char text[512] = "";
  bdl_context *c = *state;
  c->warn = heard;
  c->warn_ud = text;
  static const char *const compilers[] = {"false", "no-such-compiler", "echo", "exit 3; true"};
  for (int i = 0; i < BDL_LEN(compilers); i++) {
    setenv("BDL_CC", compilers[i], 1);
    assert_int_equal(run_once(*state), BDL_N_OFF);
    assert_true(t_tier(*state, "native")->native.told);
    assert_int_equal(t_tier(*state, "native")->native.compiling, 0);
  }
  assert_string_equal(text, "bdl: without native code: the compiler (false) failed: no reason given");
  unsetenv("BDL_CC");
  assert_int_equal(run_once(*state), BDL_N_READY);
}

/* What was said of an earlier try, or to another process, is not of this one. */
static void an_old_failure_is_forgotten(void **state) {
  shell("rm -f *.so; for f in *; do touch ${f%%.*}.failed; done");
  assert_int_equal(run_once(*state), BDL_N_READY);
}

/* Plans that go while their compiler runs leave room for others. */
static void a_plan_may_go_while_it_is_compiled(void **state) {
  bdl_context *c = *state;
  bdl_exec_context *x = t_tier(c, "auto");
  for (int i = 0; i < 3; i++) {
    bdl_prog *p = t_long_loop(c, 7 + i);
    bdl_plan *plan;
    t_check(c, bdl_plan_new(c, p, NULL, &plan));
    bdl_native_poll(x, plan, 1);
    assert_int_equal(plan->native->state, BDL_N_COMPILING);
    assert_int_equal(x->native.compiling, 1);
    bdl_plan_free(plan);
    assert_int_equal(x->native.compiling, 0);
    bdl_prog_unref(p);
  }
}

static void damaged_programs_are_compiled_anew(void **state) {
  shell("rm -f *.so");
  assert_int_equal(run_once(*state), BDL_N_READY);
  shell("for f in *.so; do head -c 1000 $f >$f.cut; mv $f.cut $f; done");
  assert_int_equal(run_once(*state), BDL_N_READY);
  shell("for f in *.so; do echo rubbish >$f; done");
  assert_int_equal(run_once(*state), BDL_N_READY);
  assert_true(bdl_cache_measure(folder).bytes > 4096);
}

/* Another program under this name is not run. */
static void a_program_says_its_name(void **state) {
  shell("rm -f *.so");
  assert_int_equal(run_once(*state), BDL_N_READY);
  shell("mv *.so mine");
  bdl_prog *p = t_long_loop(*state, 4);
  bdl_tensor in[2];
  t_inputs_of(p, in);
  assert_int_equal(agree(*state, p, NULL, in, "another", 0), BDL_N_READY);
  shell("mv mine *.so");
  assert_int_equal(agree(*state, p, NULL, in, "another", 0), BDL_N_READY);
  t_drop(in, 2);
  bdl_prog_unref(p);
}

static void a_cache_of_others_is_not_trusted(void **state) {
  char dir[BDL_CACHE_PATH];
  bdl_context *c = *state;
  t_check(c, bdl_cache_dir(c, dir));
  assert_string_equal(dir, folder);
  assert_int_equal(chmod(folder, 0777), 0);
  assert_int_equal(bdl_cache_dir(c, dir), BDL_EIO);
  assert_non_null(strstr(bdl_last_error(c)->message, "may be written by others"));
  bdl_clear_error(c);
  assert_int_equal(chmod(folder, 0700), 0);
  setenv("BDL_CACHE", "/dev/null/x", 1);
  assert_int_equal(bdl_cache_dir(c, dir), BDL_EIO);
  bdl_clear_error(c);
  setenv("BDL_CACHE", folder, 1);
}

static void the_cache_is_bounded(void **state) {
  (void)state;
  shell("rm -f *; for i in 0 1 2 3 4; do head -c 1000 /dev/zero >$i.so; touch -d @$((1000 + i * 3 % 5)) $i.so; done; touch -d @1000 notes.txt");
  shell("name=0123456789abcdef0123456789abcdef; touch -d @1000 $name.7.tmp; touch $name.8.tmp");
  bdl_cache_trim(folder, 2500);
  assert_int_equal(bdl_cache_measure(folder).files, 2);
  shell("test -f 3.so && test -f 1.so && test -f notes.txt && ls | grep -q 8.tmp && ! ls | grep -q 7.tmp"); /* the last used: 1004, 1003 */
  bdl_cache_trim(folder, 0);
  assert_int_equal(bdl_cache_measure(folder).files, 0);
}

static void unknown_tiers_are_refused(void **state) {
  assert_int_equal(bdl_native_set_tier(*state, "fast"), BDL_EVALUE);
  bdl_clear_error(*state);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    T_TEST(every_element_operation_agrees), T_TEST(random_programs_agree), T_TEST(random_scans_agree), T_TEST(random_rows_agree), T_TEST(random_rings_agree), T_TEST(neurons_alone_agree),
    T_TEST(noise_in_tiles_agrees),
    T_TEST(a_loop_is_handed_over_between_steps), T_TEST(an_interrupt_ends_a_native_loop_between_steps),
    T_TEST(a_kernel_that_fails_in_a_native_loop_is_named), T_TEST(without_a_compiler_the_interpreter_goes_on),
    T_TEST(an_old_failure_is_forgotten), T_TEST(a_plan_may_go_while_it_is_compiled),
    T_TEST(damaged_programs_are_compiled_anew), T_TEST(a_program_says_its_name), T_TEST(a_cache_of_others_is_not_trusted),
    T_TEST(the_cache_is_bounded), T_TEST(unknown_tiers_are_refused),
  };
  return cmocka_run_group_tests(tests, new_cache, drop_cache);
}

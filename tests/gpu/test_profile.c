/*
** A profile of a GPU: each instruction of a kernel has its runs and its share of the time, copies theirs; programs made before or after
** it have no laps; failures are told.  And progress: what the host hears of a kernel's loop, and of one that it steps.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../exec/programs.h"
#include "../ir/text.h"
#include "../support/faults.h"
#include "../support/gpu.h"
#include "device/cuda.h"
#include "exec/exec_context.h"

/* A product and a group in a loop, a loop of elements by themselves, a sort. */
static const char TEXT[] =
  "program p(w:f32[6,6], a:f32[6]) {\n"
  "  b:f32[6] = scan[consts=1 carry=1 length=20 reverse=0 body={program body(w:f32[6,6], a:f32[6]) {\n"
  "    b:f32[6] = dot[lhs_contract=(0) rhs_contract=(0) lhs_batch=() rhs_batch=()] a w  @ \"m.lua\":3\n"
  "    c:f32[6] = tanh b  @ \"m.lua\":4\n"
  "    return c\n  }}] w a  @ \"m.lua\":2\n"
  "  e:f32[6] = scan[consts=0 carry=1 length=30 reverse=0 body={program body(a:f32[6]) {\n"
  "    b:f32[6] = mul a 0.5:f32  @ \"m.lua\":7\n    c:f32[6] = add b 1.0:f32  @ \"m.lua\":8\n    return c\n  }}] b  @ \"m.lua\":6\n"
  "  s:f32[6] = sort[axis=0 keys=1 descending=0] e  @ \"m.lua\":10\n"
  "  return s\n}\n";

static bdl_status once(bdl_context *c, bdl_plan *plan) {
  bdl_tensor in[MANY], out = {.buf = NULL};
  const bdl_aval a[] = {bdl_aval_make(BDL_F32, 2, (int64_t[]){6, 6}), bdl_aval_make(BDL_F32, 1, (int64_t[]){6})};
  bdl_status s = BDL_OK;
  int n = 0;
  for (; n < 2 && s == BDL_OK; n += s == BDL_OK) {
    s = bdl_tensor_new(bdl_device_cpu(c), &a[n], &in[n]);
    if (s == BDL_OK) memset(bdl_tensor_data(&in[n]), 0, bdl_aval_bytes(&a[n]));
  }
  if (s == BDL_OK) s = bdl_exec_run(plan, in, &out);
  if (s == BDL_OK) s = bdl_tensor_fetch(&out);
  if (s == BDL_OK) assert_float_equal(bdl_tensor_at(&out, 5).f32, 2, 1e-5); /* 1 + 1/2 + 1/4 + .. */
  if (out.buf) bdl_tensor_unref(&out);
  t_drop(in, n);
  return s;
}

static bdl_plan *plan_of(bdl_context *c) {
  bdl_plan *plan;
  bdl_prog *p = t_parse(c, TEXT);
  t_check(c, bdl_plan_new(c, p, NULL, &plan));
  bdl_prog_unref(p);
  return plan;
}

static void has(const bdl_str *text, const char *piece) {
  if (!strstr(text->s, piece)) fail_msg("no %s in\n%s", piece, text->s);
}

static int count(const char *text, const char *piece) {
  int n = 0;
  while ((text = strstr(text, piece)) != NULL) text++, n++;
  return n;
}

/* A line of the table: runs, what, where. */
static void has_row(const bdl_str *text, int calls, const char *what) {
  const char *at = strstr(text->s, what);
  double ms, percent;
  int n = -1;
  if (!at) {
    fail_msg("no %s in\n%s", what, text->s);
    return;
  }
  while (at[-1] != '\n') at--;
  if (sscanf(at, "%lf %lf %d", &ms, &percent, &n) != 3 || n != calls || ms < 0) fail_msg("not %d runs of %s in\n%s", calls, what, text->s);
}

static void instructions_of_kernels_have_rows(void **state) {
  (void)state;
  bdl_context *c = t_gpu_context();
  bdl_exec_context *x;
  bdl_plan *plan = plan_of(c);
  bdl_str text, events;
  int64_t left_out;
  t_check(c, bdl_exec_get(c, &x));
  t_check(c, once(c, plan)); /* was there before */
  t_check(c, bdl_exec_profile_start(x, true));
  for (int k = 0; k < 3; k++) t_check(c, once(c, plan));
  bdl_str_init(&text, c);
  bdl_str_init(&events, c);
  t_check(c, bdl_exec_profile_print(x, &text));
  t_check(c, bdl_exec_profile_events(x, &events, &left_out));
  has_row(&text, 60, "gpu: dot f32[6] f32[6,6]  m.lua:3\n");
  has_row(&text, 60, "gpu: tanh over [6]  m.lua:4\n");
  has_row(&text, 90, "gpu: fused 2: mul .. over [6]  m.lua:7-8\n");
  has_row(&text, 3, "gpu: sort f32[6]  m.lua:10\n");
  has_row(&text, 3, "copies from the GPU\n");
  has(&text, "copies to the GPU\n");
  has(&text, " GB/s from memory, ");
  assert_int_equal(count(text.s, "launch"), 1); /* in words above the table */
  assert_int_equal(count(events.s, "\"name\":\"gpu: launch, first: "), 3);
  bdl_str_fini(&text);
  bdl_str_fini(&events);
  bdl_exec_profile_stop(x);
  t_check(c, once(c, plan)); /* without laps again */
  bdl_plan_free(plan);
  bdl_context_free(c);
}

/* The plan once, made and freed. */
static bdl_status profiled_run(bdl_context *c) {
  bdl_prog *p;
  bdl_plan *plan;
  TRY(bdl_gpu_use(c, "gpu"));
  TRY(bdl_ir_parse(c, TEXT, strlen(TEXT), &p));
  bdl_status s = bdl_plan_new(c, p, NULL, &plan);
  bdl_prog_unref(p);
  TRY(s);
  s = once(c, plan);
  bdl_plan_free(plan);
  return s;
}

static void failed_allocations_leave_nothing(void **state) {
  (void)state;
  t_gpu_find();
  t_faults f = {.left = INT64_MAX};
  bdl_context *c = bdl_context_new(t_failing_alloc, &f);
  bdl_exec_context *x;
  t_check(c, bdl_exec_get(c, &x));
  t_check(c, bdl_exec_profile_start(x, true));
  int k = 0;
  for (bool happened = true; happened; k++) { /* the n-th allocation fails, until there are none as many */
    f = (t_faults){.left = k};
    const bdl_status s = profiled_run(c);
    happened = f.happened;
    f.left = INT64_MAX;
    assert_true(s == BDL_OK || s == BDL_ENOMEM);
  }
  assert_true(k > 50);
  bdl_context_free(c);
}

static void failures_are_told(void **state) {
  (void)state;
  if (t_gpu_is_real()) skip();
  static const char *const calls[] = {"cuEventCreate:1", "cuEventCreate:2", "cuEventRecord:1", "cuEventRecord:2", "cuEventElapsedTime:1", "cuStreamSynchronize:1"};
  for (int k = 0; k < BDL_LEN(calls); k++) {
    bdl_context *c = t_gpu_context();
    bdl_exec_context *x;
    t_check(c, bdl_exec_get(c, &x));
    t_check(c, bdl_exec_profile_start(x, false));
    setenv("FAKE_CUDA_FAIL", calls[k], 1);
    if (profiled_run(c) != BDL_EIO) fail_msg("%s: nothing failed", calls[k]);
    unsetenv("FAKE_CUDA_FAIL");
    assert_int_equal(strncmp(bdl_last_error(c)->message, "GPU: ", 5), 0);
    bdl_context_free(c);
  }
}

/* ---- progress --------------------------------------------------------------------------------------------------------- */

typedef struct heard {
  bdl_context *c;
  int64_t n, last, total;
  bool stop;
} heard;

static void hear(void *ud, int64_t done, int64_t total) {
  heard *h = ud;
  assert_true(done >= h->last);
  h->n++;
  h->last = done;
  h->total = total;
  if (h->stop) bdl_ask_stop(h->c, true);
}

static void the_host_hears_of_steps(void **state) {
  (void)state;
  static const int32_t pair[] = {0, 1};
  static const int64_t steps[] = {100, 20000};
  bdl_context *c = t_gpu_context();
  for (int k = 0; k < BDL_LEN(steps); k++) {
    heard h = {.c = c};
    bdl_prog *p = t_long_loop(c, steps[k]);
    bdl_tensor in[2], out[2] = {{.buf = NULL}, {.buf = NULL}};
    bdl_plan *plan;
    t_inputs_of(p, in);
    t_check(c, bdl_plan_new(c, p, pair, &plan));
    bdl_prog_unref(p);
    bdl_exec_set_progress(c, hear, &h);
    t_check(c, bdl_exec_run(plan, in, out));
    bdl_exec_set_progress(c, NULL, NULL);
    assert_true(h.n >= (t_gpu_is_real() ? 1 : 2));
    assert_int_equal(h.last, steps[k]);
    assert_int_equal(h.total, steps[k]);
    t_drop(in, 2);
    t_drop(out, 2);
    bdl_plan_free(plan);
  }
  bdl_context_free(c);
}

static bdl_status count_call(bdl_host *host, bdl_context *c, const bdl_tensor *in, int n_in, bdl_tensor *out, int n_out) {
  (void)host, (void)c, (void)in, (void)n_in, (void)out, (void)n_out;
  return BDL_OK;
}

/* A loop that prints: its steps are the host's; it may be stopped by who hears of them. */
static void loops_of_the_host_tell_too(void **state) {
  (void)state;
  static const char text[] = "program p(x:f32[3]) {\n"
                             "  y:f32[3] = scan[consts=0 carry=1 length=50 reverse=0 body={program body(x:f32[3]) {\n"
                             "    y:f32[3] = add x 1.0:f32\n    print[format=\"{0}\" host=nil] y\n    return y\n  }}] x\n  return y\n}";
  bdl_host host = {.refs = 100, .call = count_call};
  for (int stop = 0; stop < 2; stop++) {
    bdl_context *c = t_gpu_context(); /* reports come at most ten times a second */
    heard h = {.c = c, .stop = stop};
    bdl_prog *p = t_parse(c, text);
    bdl_prog *body = NULL;
    const bdl_eqn *loop = &p->eqns.v[0];
    for (int k = 0; k < loop->n_params; k++)
      if (loop->params[k].kind == BDL_PK_PROGS) body = loop->params[k].progs[0];
    if (!body) {
      fail_msg("no loop in\n%s", text);
      return;
    }
    ((bdl_param *)(uintptr_t)body->eqns.v[1].params)[1].host = &host;
    bdl_tensor in[1], out = {.buf = NULL};
    bdl_plan *plan;
    t_inputs_of(p, in);
    t_check(c, bdl_plan_new(c, p, NULL, &plan));
    bdl_prog_unref(p);
    bdl_exec_set_progress(c, hear, &h);
    assert_int_equal(bdl_exec_run(plan, in, &out), stop ? BDL_EINTERRUPT : BDL_OK);
    bdl_exec_set_progress(c, NULL, NULL);
    if (stop && !strstr(bdl_last_error(c)->message, "interrupted after 1 of 50 steps")) fail_msg("%s", bdl_last_error(c)->message);
    if (!stop) assert_true(h.n >= 2 && h.last == 50 && h.total == 50);
    t_drop(in, 1);
    if (out.buf) bdl_tensor_unref(&out);
    bdl_plan_free(plan);
    bdl_context_free(c);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(instructions_of_kernels_have_rows), cmocka_unit_test(failed_allocations_leave_nothing), cmocka_unit_test(failures_are_told),
    cmocka_unit_test(the_host_hears_of_steps), cmocka_unit_test(loops_of_the_host_tell_too),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
** What goes between the lanes of pmap, on a GPU: by NCCL, in a world of one process that has an engine of its own; two processes are
** in tests/lua/mpi.lua.
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
#include "base/context.h"
#include "device/nccl.h"

/* ---- a world -------------------------------------------------------------------------------------------------------- */

static bdl_status opened(bdl_world *w) { return w->ctx ? BDL_OK : BDL_EIO; }

static bdl_status sum(bdl_world *w, bdl_dtype d, const void *in, void *out, size_t n) {
  memmove(out, in, n * bdl_dtype_size(d));
  return opened(w);
}

static bdl_status gather(bdl_world *w, const void *in, void *out, size_t bytes) {
  memcpy(out, in, bytes);
  return opened(w);
}

static bdl_status exchange(bdl_world *w, const void *in, int to, void *out, int from, size_t bytes) {
  assert_int_equal(to, from);
  if (from < 0) memset(out, 0, bytes);
  else memcpy(out, in, bytes);
  return opened(w);
}

static void closed(bdl_world *w, int code) { assert_int_equal(code, 0), assert_null(w->nccl); }

static const bdl_world_ops one = {opened, sum, gather, exchange, closed};

static bdl_status enter(bdl_context *c, bdl_world **w) {
  TRY(bdl_world_get(c, w));
  (*w)->ops = &one;
  return bdl_gpu_use(c, "gpu");
}

static bdl_world *world_on_gpu(bdl_context *c) {
  bdl_world *w;
  t_gpu_find();
  const char *folder = getenv("BDL_CACHE");
  if (folder) setenv("TMPDIR", folder, 1); /* of the fake */
  t_check(c, enter(c, &w));
  return w;
}

/* What the context warns of. */
static void note(void *text, const char *warning) { snprintf(text, 600, "%s", warning); }

/* ---- results --------------------------------------------------------------------------------------------------------- */

/* The program there and here; so many steps go between lanes. */
static void same(bdl_context *c, const char *text, int steps) {
  bdl_prog *p = t_parse(c, text);
  bdl_tensor in[MANY], there[MANY], here[MANY];
  bdl_plan *plan;
  bdl_gpu_program q;
  t_inputs_of(p, in);
  t_check(c, bdl_plan_new(c, p, NULL, &plan));
  t_check(c, bdl_gpu_emit(plan, false, &q));
  assert_int_equal(t_gpu_count(&q.steps, BDL_G_COLLECTIVE), steps);
  assert_int_equal(t_gpu_count(&q.steps, BDL_G_HOST), 0);
  bdl_gpu_program_free(&q);
  t_check(c, t_gpu_both(plan, in, there, here));
  t_same_bits(there, here, plan->n_out, text, 0);
  t_drop(there, plan->n_out);
  t_drop(here, plan->n_out);
  t_drop(in, plan->n_in);
  bdl_plan_free(plan);
  bdl_prog_unref(p);
}

static void values_go_between_gpus(void **state) {
  static const char *const dtypes[] = {"f32", "f64", "i32", "i64", "u32"};
  bdl_world *w = world_on_gpu(*state);
  char text[600];
  for (int k = 0; k < BDL_LEN(dtypes); k++) {
    const char *d = dtypes[k];
    snprintf(text, sizeof text, "program p(x:%s[70], y:%s[1, 5]) {\n  a:%s[70] = psum[axis=0] x\n  b:%s[1, 70] = all_gather[axis=0 size=1] a\n"
                                "  c:%s[5] = own_lane[axis=0 size=1] y\n  d:%s[70] = ppermute[axis=0 source=(0)] x\n"
                                "  e:%s[5] = ppermute[axis=0 source=(-1)] c\n  return a, b, c, d, e\n}\n", d, d, d, d, d, d, d);
    same(*state, text, 5);
  }
  same(*state, "program p(x:bool[9], z:f32[0]) {\n  a:bool[1, 9] = all_gather[axis=0 size=1] x\n  b:f32[0] = psum[axis=0] z\n"
               "  c:f32[1, 0] = all_gather[axis=0 size=1] z\n  d:i32[] = psum[axis=0] 3:i32\n  return a, b, c, d\n}\n", 4);
  assert_true(!w->nccl || w->nccl->comm); /* NULL: the machine's GPU without NCCL */
}

static void loops_with_collectives_are_stepped(void **state) {
  bdl_world *w = world_on_gpu(*state);
  same(*state, "program p(x:f32[6, 40], c:f32[40]) {\n"
               "  z:f32[40], y:f32[6, 40] = scan[consts=0 carry=1 length=6 reverse=1 body={program b(c:f32[40], x:f32[40]) {\n"
               "    s:f32[40] = psum[axis=0] x\n    d:f32[40] = add c s\n    return d, s\n  }}] c x\n  return z, y\n}\n", 1);
  same(*state, "program p(x:f32[6, 40], c:f32[40], k:i32[]) {\n" /* of a row that a number chooses */
               "  z:f32[40], n:i32[] = scan[consts=1 carry=2 length=3 reverse=0 body={program b(x:f32[6, 40], c:f32[40], k:i32[]) {\n"
               "    m:i32[] = sub 1:i32 k\n    r:f32[1, 40] = dynamic_slice[sizes=(1, 40)] x m 0:i32\n"
               "    q:f32[40] = reshape[shape=(40)] r\n    s:f32[40] = psum[axis=0] q\n    d:f32[40] = add c s\n    return d, m\n"
               "  }}] x c k\n  return z\n}\n", 1);
  assert_non_null(w->nccl);
}

/* ---- what is refused -------------------------------------------------------------------------------------------------- */

static void refused(bdl_context *c, const char *text, const char *message) {
  bdl_prog *p = t_parse(c, text);
  bdl_tensor in[MANY], there[MANY], here[MANY];
  bdl_plan *plan;
  t_inputs_of(p, in);
  t_check(c, bdl_plan_new(c, p, NULL, &plan));
  assert_int_equal(t_gpu_both(plan, in, there, here), BDL_EVALUE);
  assert_string_equal(bdl_last_error(c)->message, message);
  for (int k = 0; k < plan->n_out; k++) {
    if (there[k].buf) bdl_tensor_unref(&there[k]);
    if (here[k].buf) bdl_tensor_unref(&here[k]);
  }
  t_drop(in, plan->n_in);
  bdl_plan_free(plan);
  bdl_prog_unref(p);
}

static void other_axes_and_numbers_are_refused(void **state) {
  world_on_gpu(*state);
  refused(*state, "program p(x:f32[2]) {\n  y:f32[2] = psum[axis=7] x\n  return y\n}\n", "psum: nothing is mapped over axis 7");
  refused(*state, "program p(x:f32[2]) {\n  y:f32[3, 2] = all_gather[axis=0 size=3] x\n  return y\n}\n",
          "all_gather: made for 3 processes, there are 1");
  refused(*state, "program p(x:f32[2, 2]) {\n  y:f32[2] = own_lane[axis=0 size=2] x\n  return y\n}\n",
          "own_lane: made for 2 processes, there are 1");
  refused(*state, "program p(x:f32[2]) {\n  y:f32[2] = ppermute[axis=0 source=(1, 0)] x\n  return y\n}\n",
          "ppermute: made for 2 processes, there are 1");
}

/* ---- failures ------------------------------------------------------------------------------------------------------------ */

static const char gathers[] = "program p(x:f32[50]) {\n  y:f32[50] = add x x\n  z:f32[1, 50] = all_gather[axis=0 size=1] y\n"
                              "  s:f32[50] = psum[axis=0] y\n  v:f32[50] = ppermute[axis=0 source=(-1)] y\n  return z, s, v\n}\n";

static bdl_status run(bdl_context *c, bdl_tensor *out) {
  bdl_prog *p;
  bdl_plan *plan;
  bdl_tensor in;
  TRY(bdl_ir_parse(c, gathers, strlen(gathers), &p));
  bdl_status s = bdl_plan_new(c, p, NULL, &plan);
  const bdl_aval a = *bdl_aval_of(p, p->inputs.v[0]);
  bdl_prog_unref(p);
  TRY(s);
  s = bdl_tensor_new(bdl_device_cpu(c), &a, &in);
  if (s == BDL_OK) {
    for (int k = 0; k < 50; k++) ((float *)bdl_tensor_data(&in))[k] = (float)k;
    memset(out, 0, 3 * sizeof *out);
    s = bdl_exec_run(plan, &in, out);
    for (int k = 0; k < 3 && s == BDL_OK; k++) s = bdl_tensor_fetch(&out[k]);
    bdl_tensor_unref(&in);
  }
  bdl_plan_free(plan);
  return s;
}

static bdl_status run_and_look(bdl_context *c) {
  bdl_tensor out[3];
  memset(out, 0, sizeof out);
  const bdl_status s = run(c, out);
  for (int k = 0; k < 50 && s == BDL_OK; k++)
    for (int j = 0; j < 3; j++) assert_float_equal(((const float *)bdl_tensor_data(&out[j]))[k], j == 2 ? 0 : 2 * k, 0);
  for (int j = 0; j < 3; j++)
    if (out[j].buf) bdl_tensor_unref(&out[j]);
  return s;
}

static void failures_name_nccl(void **state) {
  static const char *const calls[] = {"ncclGetUniqueId:1", "ncclCommInitRank:1", "ncclAllGather:1", "ncclAllReduce:1"};
  (void)state;
  if (t_gpu_is_real()) skip();
  for (int k = 0; k < BDL_LEN(calls); k++) {
    bdl_context *c = bdl_context_new(NULL, NULL);
    world_on_gpu(c);
    setenv("FAKE_CUDA_FAIL", calls[k], 1);
    assert_int_equal(run_and_look(c), BDL_EIO);
    unsetenv("FAKE_CUDA_FAIL");
    if (!strstr(bdl_last_error(c)->message, "GPU: NCCL: ")) fail_msg("%s: %s", calls[k], bdl_last_error(c)->message);
    assert_int_equal(run_and_look(c), BDL_EIO); /* who knows where the others are */
    assert_string_equal(bdl_last_error(c)->message, "GPU: NCCL: an earlier call has failed");
    bdl_context_free(c);
  }
}

static void without_nccl_the_host_does_it(void **state) {
  char folder[T_FOLDER], command[9000], warning[600] = "", expected[300];
  bdl_context *c = *state;
  if (t_gpu_is_real()) skip();
  t_new_folder(folder);
  t_gpu_find();
  snprintf(command, sizeof command, "cp '%s'/* . && cp libnvrtc.so.12 libnccl.so.2", t_gpu_folder()); /* some other library */
  t_in_folder(folder, command);
  c->warn = note, c->warn_ud = warning;
  bdl_world *w = world_on_gpu(c);
  setenv("BDL_CUDA", folder, 1);
  t_check(c, run_and_look(c));
  snprintf(expected, sizeof expected, "pmap: %s/libnccl.so.2 has no ncclGetVersion: it is too old; what goes between processes goes through the host",
           folder);
  assert_string_equal(warning, expected);
  assert_null(w->nccl->comm);
  *warning = 0;
  t_check(c, run_and_look(c)); /* said once */
  assert_string_equal(warning, "");
}

static bdl_status whole_run(bdl_context *c) {
  bdl_world *w;
  TRY(enter(c, &w));
  return run_and_look(c);
}

static void failed_allocations_leave_nothing(void **state) {
  (void)state;
  t_gpu_find();
  assert_true(t_survive(whole_run, false) > 30);
  assert_true(t_survive(whole_run, true) > 30);
}

static void versions_are_those_of_the_library(void **state) {
  static const struct {
    int version;
    const char *text;
  } cases[] = {{2708, "2.7.8"}, {2804, "2.8.4"}, {20906, "2.9.6"}, {22105, "2.21.5"}, {0, "0.0.0"}};
  char text[BDL_NCCL_VERSION];
  (void)state;
  for (int k = 0; k < BDL_LEN(cases); k++) {
    bdl_nccl_version(cases[k].version, text);
    assert_string_equal(text, cases[k].text);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    T_TEST(values_go_between_gpus),
    T_TEST(loops_with_collectives_are_stepped),
    T_TEST(other_axes_and_numbers_are_refused),
    T_TEST(failures_name_nccl),
    T_TEST(without_nccl_the_host_does_it),
    T_TEST(failed_allocations_leave_nothing),
    T_TEST(versions_are_those_of_the_library),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

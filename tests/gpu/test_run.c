/*
** Plans on a GPU: random programs and loops give the bits of the interpreter tier; results stay there until somebody asks; what is
** missing is named; failures of the driver, of memory and of the cache leave everything as it was.
*/
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../api/host.h"
#include "../exec/programs.h"
#include "../exec/rings.h"
#include "../ir/text.h"
#include "../support/faults.h"
#include "../support/gpu.h"
#include "base/context.h"
#include "gpu/resident.h"

enum { PROGRAMS = 40, LOOPS = 15 };

/* ---- the same bits -------------------------------------------------------------------------------------------------- */

/* CUDA's sine is not SLEEF's. */
static bool has_sine(const bdl_prog *p) {
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    if (e->prim == BDL_P_sin) return true;
    for (int k = 0; k < e->n_params; k++)
      for (int j = 0; e->params[k].kind == BDL_PK_PROGS && j < e->params[k].n; j++)
        if (has_sine(e->params[k].progs[j])) return true;
  }
  return false;
}

static int compare(bdl_context *c, bdl_prog *p, const int32_t *pair, const char *what, uint64_t seed) {
  bdl_tensor in[MANY], there[MANY], here[MANY];
  bdl_plan *plan;
  const int n_in = (int)p->inputs.n, n_out = p->n_outputs;
  if (has_sine(p)) {
    bdl_prog_unref(p);
    return 0;
  }
  t_inputs_of(p, in);
  t_check(c, bdl_plan_new(c, p, pair, &plan));
  bdl_prog_unref(p);
  t_check(c, t_gpu_both(plan, in, there, here));
  t_same_bits(there, here, n_out, what, seed);
  t_drop(there, n_out);
  t_drop(here, n_out);
  t_drop(in, n_in);
  bdl_plan_free(plan);
  return 1;
}

static void random_programs_and_loops_agree(void **state) {
  (void)state;
  bdl_context *c = t_gpu_context();
  int32_t pair[MANY];
  int n = 0;
  for (uint64_t seed = 0; seed < PROGRAMS; seed++) n += compare(c, t_random_program(c, seed), NULL, "a program", seed);
  for (uint64_t seed = 0; seed < LOOPS; seed++) {
    n += compare(c, t_random_scan(c, seed, pair), NULL, "a loop", seed);
    n += compare(c, t_random_rows(c, seed), NULL, "a loop's rows", seed);
    n += compare(c, t_random_rings(c, seed, pair), NULL, "rings", seed);
    n += compare(c, t_random_neurons(c, seed, pair), NULL, "neurons", seed);
  }
  assert_true(n > 20);
  bdl_context_free(c);
}

/* Rows of a constant and of a ring that the host reads between launches. */
static void the_host_finds_rows(void **state) {
  (void)state;
  bdl_context *c = t_gpu_context();
  bdl_prog *p = t_parse(c,
    "program p(h:f32[3,2], i:i32[]) {\n"
    "  c:f32[3,2], j:i32[], y:f32[4,2] = scan[consts=0 carry=2 length=4 reverse=0 body={program b(h:f32[3,2], i:i32[]) {\n"
    "    const x:f32[4,2] = [1 2 3 4 5 6 7 8]\n    k:i32[] = add i 1:i32\n    m:i32[] = mod k 3:i32\n"
    "    r:f32[1,2] = dynamic_slice[sizes=(1,2)] x m 0:i32\n    s:f32[1,2] = dynamic_slice[sizes=(1,2)] h m 0:i32\n"
    "    t:f32[1,2] = psum[axis=0] r\n    u:f32[1,2] = psum[axis=0] s\n"
    "    v:f32[1,2] = add t u\n    g:f32[3,2] = dynamic_update_slice h v m 0:i32\n    w:f32[2] = reshape[shape=(2)] v\n"
    "    return g, m, w\n  }}] h i\n  return c, y\n}");
  assert_int_equal(compare(c, p, NULL, "rows", 0), 1);
  bdl_context_free(c);
}

/* ---- where values are ---------------------------------------------------------------------------------------------------- */

static bdl_plan *sum_and_twice(bdl_context *c) {
  bdl_plan *plan;
  bdl_prog *p = t_parse(c, "program p(x:f32[1000]) {\n  y:f32[1000] = add x x\n  s:f32[] = reduce_sum[axes=(0)] x\n  return y, s\n}");
  t_check(c, bdl_plan_new(c, p, NULL, &plan));
  bdl_prog_unref(p);
  return plan;
}

static bdl_tensor ramp(bdl_context *c) {
  const int64_t n = 1000;
  const bdl_aval a = bdl_aval_make(BDL_F32, 1, &n);
  bdl_tensor t;
  t_check(c, bdl_tensor_new(bdl_device_cpu(c), &a, &t));
  for (int i = 0; i < n; i++) ((float *)bdl_tensor_data(&t))[i] = (float)i;
  return t;
}

static void results_stay_until_they_are_read(void **state) {
  (void)state;
  bdl_context *c = t_gpu_context();
  bdl_plan *plan = sum_and_twice(c);
  bdl_tensor x = ramp(c), out[2] = {{.buf = NULL}, {.buf = NULL}}, again[2] = {{.buf = NULL}, {.buf = NULL}};
  t_check(c, bdl_exec_run(plan, &x, out));
  assert_null(out[0].buf->data);
  assert_true(out[0].buf->data_old);
  t_check(c, bdl_exec_run(plan, &out[0], again)); /* its operand is there */
  assert_null(out[0].buf->data);
  t_check(c, bdl_tensor_fetch(&again[0]));
  t_check(c, bdl_tensor_fetch(&again[1]));
  for (int i = 0; i < 1000; i++) assert_float_equal(((const float *)bdl_tensor_data(&again[0]))[i], 4 * i, 0);
  assert_float_equal(bdl_tensor_at(&again[1], 0).f32, 999000, 0);

  ((float *)bdl_tensor_data(&x))[0] = 1000; /* the host writes: the next run sees it */
  bdl_buffer_changed(x.buf);
  bdl_tensor_unref(&again[1]);
  bdl_tensor_unref(&again[0]);
  t_check(c, bdl_exec_run(plan, &x, again));
  t_check(c, bdl_tensor_fetch(&again[1]));
  assert_float_equal(bdl_tensor_at(&again[1], 0).f32, 500500, 0);
  assert_true(bdl_cuda_of(c)->used > 0);
  t_drop(out, 2);
  t_drop(again, 2);
  t_drop(&x, 1);
  bdl_plan_free(plan);
  assert_int_equal(bdl_cuda_of(c)->used, 0);
  bdl_context_free(c);
}

/* Views of a result: its values go from memory of the GPU to memory of the GPU, but for those that are many small pieces. */
static void views_are_packed_there(void **state) {
  (void)state;
  static const struct view {
    int64_t shape[3], stride[3], offset;
    int ndim;
    bool there;
  } views[] = {
    {{20, 7}, {50, 1}, 3, 2, true},           /* columns of [20, 50] */
    {{50, 20}, {1, 50}, 0, 2, true},          /* turned */
    {{33}, {30}, 5, 1, true},                 /* every 30th */
    {{4, 5, 6}, {200, 10, 1}, 1, 3, true},    /* a box */
    {{2, 10, 25}, {500, 25, 2}, 0, 3, true},  /* every other, where the first axes are one */
    {{20, 20, 2}, {1, 30, 25}, 0, 3, false},  /* 400 pieces */
    {{3, 100}, {0, 1}, 0, 2, false},          /* the same row */
    {{10, 100}, {50, 1}, 0, 2, false},        /* rows that overlap */
  };
  bdl_context *c = t_gpu_context();
  bdl_plan *plan = sum_and_twice(c);
  bdl_tensor x = ramp(c), two[2] = {{.buf = NULL}, {.buf = NULL}};
  t_check(c, bdl_exec_run(plan, &x, two));
  for (int k = 0; k < BDL_LEN(views); k++) {
    const struct view *v = &views[k];
    bdl_tensor t = two[0], packed;
    t.aval = bdl_aval_make(BDL_F32, v->ndim, v->shape);
    t.offset = v->offset;
    memcpy(t.stride, v->stride, sizeof v->stride);
    assert_true(k > 5 || !two[0].buf->data); /* nobody asked for it yet */
    if (k == 5 && !t_gpu_is_real()) { /* a copy fails */
      bdl_tensor other = t;
      other.aval = bdl_aval_make(BDL_F32, 2, views[1].shape);
      memcpy(other.stride, views[1].stride, sizeof other.stride);
      setenv("FAKE_CUDA_FAIL", "cuMemAllocAsync:1", 1);
      assert_int_equal(bdl_gpu_pack(bdl_cuda_of(c), &other, &packed), BDL_ENOMEM);
      unsetenv("FAKE_CUDA_FAIL");
    }
    t_check(c, bdl_gpu_pack(bdl_cuda_of(c), &t, &packed));
    assert_true(bdl_tensor_contiguous(&packed));
    assert_int_equal(packed.buf->data_old, v->there);
    t_check(c, bdl_tensor_fetch(&packed));
    for (int64_t i = 0; i < bdl_aval_numel(&t.aval); i++) {
      int64_t at = v->offset, rest = i;
      for (int j = v->ndim - 1; j >= 0; j--) at += rest % v->shape[j] * v->stride[j], rest /= v->shape[j];
      if (bdl_tensor_at(&packed, i).f32 != (float)(2 * at)) fail_msg("view %d: element %d is %g", k, (int)i, (double)bdl_tensor_at(&packed, i).f32);
    }
    bdl_tensor_unref(&packed);
  }
  t_drop(two, 2);
  t_drop(&x, 1);
  bdl_plan_free(plan);
  bdl_context_free(c);
}

/* ---- what is missing ---------------------------------------------------------------------------------------------------------- */

static void refused(const char *variable, const char *value, const char *part, const char *more) {
  t_gpu_find();
  setenv(variable, value, 1);
  bdl_context *c = bdl_context_new(NULL, NULL);
  assert_int_equal(bdl_gpu_use(c, "gpu"), BDL_EVALUE);
  const char *message = bdl_last_error(c)->message;
  if (!strstr(message, part) || !strstr(message, more)) fail_msg("%s", message);
  bdl_context_free(c);
  unsetenv(variable);
}

static void copy_library(const char *from, const char *to, const char *name) {
  char command[9000];
  snprintf(command, sizeof command, "cp '%s/%s' '%s/%s'", from, name, to, name);
  t_in_folder(to, command);
}

static void what_is_missing_is_named(void **state) {
  (void)state;
  char folder[T_FOLDER], all[T_FOLDER + 64];
  if (t_gpu_is_real()) skip();
  t_new_folder(folder);
  snprintf(all, sizeof all, "/no/such:%s", folder);
  refused("BDL_CUDA", all, "no NVIDIA driver: libcuda.so.1 was not found", folder);
  copy_library(t_gpu_folder(), folder, "libcuda.so.1");
  if (access("/usr/local/cuda/lib64", F_OK) != 0) { /* else they are where the loader looks */
    refused("BDL_CUDA", all, "no CUDA compiler: libnvrtc.so", "was not found");
    copy_library(t_gpu_folder(), folder, "libnvrtc.so.12");
    refused("BDL_CUDA", all, "no cuBLAS: libcublas.so", "was not found");
  }
  refused("FAKE_CUDA_DEVICES", "0", "no GPU", "the NVIDIA driver finds no device");
  refused("FAKE_CUDA_DRIVER", "10020", "the NVIDIA driver is too old", "CUDA 10.2");
  bdl_context *c = bdl_context_new(NULL, NULL);
  assert_int_equal(bdl_gpu_use(c, "tpu"), BDL_EVALUE);
  assert_string_equal(bdl_last_error(c)->message, "no tpu backend; have cpu, gpu");
  bdl_context_free(c);
}

/* ---- failures -------------------------------------------------------------------------------------------------------------------- */

/* The n-th call of a function fails; what the run then says. */
static bdl_status with_failure(const char *what) {
  t_gpu_find();
  bdl_context *c = t_gpu_context();
  bdl_plan *plan = sum_and_twice(c);
  bdl_tensor x = ramp(c), out[2] = {{.buf = NULL}, {.buf = NULL}};
  setenv("FAKE_CUDA_FAIL", what, 1);
  bdl_status s = bdl_exec_run(plan, &x, out);
  if (s == BDL_OK) s = bdl_tensor_fetch(&out[0]);
  unsetenv("FAKE_CUDA_FAIL");
  if (s != BDL_OK && !strstr(bdl_last_error(c)->message, "GPU: ")) fail_msg("%s: %s", what, bdl_last_error(c)->message);
  for (int i = 0; i < 2; i++)
    if (out[i].buf) bdl_tensor_unref(&out[i]);
  assert_float_equal(((const float *)bdl_tensor_data(&x))[999], 999, 0);
  t_drop(&x, 1);
  bdl_plan_free(plan);
  bdl_context_free(c);
  return s;
}

static void failures_of_the_driver_are_told(void **state) {
  (void)state;
  if (t_gpu_is_real()) skip();
  static const char *const calls[] = {"cuMemAllocAsync:1", "cuMemAllocAsync:2", "cuMemAllocAsync:3", "cuMemcpyHtoDAsync:1",
                                      "cuModuleLoadDataEx:1", "cuModuleGetFunction:1", "cuLaunchKernelEx:1", "cuMemcpyDtoHAsync:1",
                                      "cuEventSynchronize:1", "nvrtcCreateProgram:1", "nvrtcCompileProgram:1"};
  for (int k = 0; k < BDL_LEN(calls); k++) {
    if (strncmp(calls[k], "nvrtc", 5) == 0) t_in_folder(getenv("BDL_CACHE"), "rm -f *.cubin");
    if (with_failure(calls[k]) == BDL_OK) fail_msg("%s: nothing failed", calls[k]);
  }
  assert_int_equal(with_failure("cuMemAllocAsync:1000"), BDL_OK);
}

static void programs_are_kept_on_disk(void **state) {
  (void)state;
  if (t_gpu_is_real()) skip();
  assert_int_equal(with_failure("nothing:1"), BDL_OK); /* made by now */
  assert_int_equal(with_failure("nvrtcCompileProgram:1"), BDL_OK);
  t_in_folder(getenv("BDL_CACHE"), "for f in *.cubin; do printf x | dd of=$f bs=1 seek=100 conv=notrunc 2>/dev/null; done");
  assert_int_equal(with_failure("nvrtcCompileProgram:1"), BDL_ECOMPILE); /* what was changed is not run */
  assert_int_equal(with_failure("nothing:1"), BDL_OK);
  assert_int_equal(with_failure("nvrtcCompileProgram:1"), BDL_OK);
}

static void limits_hold_there_too(void **state) {
  (void)state;
  bdl_context *c = t_gpu_context();
  bdl_plan *plan = sum_and_twice(c);
  bdl_tensor x = ramp(c), out[2] = {{.buf = NULL}, {.buf = NULL}};
  c->mem_limit = c->mem_used + 100000;
  bdl_cuda_of(c)->used += c->mem_limit - 5000;
  assert_int_equal(bdl_exec_run(plan, &x, out), BDL_ENOMEM);
  if (!strstr(bdl_last_error(c)->message, "the limit of")) fail_msg("%s", bdl_last_error(c)->message);
  bdl_cuda_of(c)->used -= c->mem_limit - 5000;
  c->mem_limit = 0;
  t_check(c, bdl_exec_run(plan, &x, out));
  t_drop(out, 2);
  t_drop(&x, 1);
  bdl_plan_free(plan);
  bdl_context_free(c);
}

/* A compaction and a reduction. */
static bdl_status whole_run(bdl_context *c) {
  static const char text[] = "program p(x:f32[100]) {\n  s:bool[100] = gt x x\n  i:i32[100], n:i32[] = event_ids s\n"
                             "  y:f32[] = reduce_sum[axes=(0)] x\n  return y, n\n}";
  bdl_prog *p;
  bdl_plan *plan;
  bdl_tensor x, out[2] = {{.buf = NULL}, {.buf = NULL}};
  TRY(bdl_gpu_use(c, "gpu"));
  TRY(bdl_ir_parse(c, text, strlen(text), &p));
  bdl_status s = bdl_plan_new(c, p, NULL, &plan);
  bdl_prog_unref(p);
  TRY(s);
  const int64_t n = 100;
  const bdl_aval a = bdl_aval_make(BDL_F32, 1, &n);
  s = bdl_tensor_new(bdl_device_cpu(c), &a, &x);
  if (s == BDL_OK) {
    memset(bdl_tensor_data(&x), 0, bdl_aval_bytes(&a));
    s = bdl_exec_run(plan, &x, out);
    if (s == BDL_OK) s = bdl_tensor_fetch(&out[0]);
    for (int k = 0; k < 2; k++)
      if (out[k].buf) bdl_tensor_unref(&out[k]);
    bdl_tensor_unref(&x);
  }
  bdl_plan_free(plan);
  return s;
}

static void failed_allocations_leave_nothing(void **state) {
  (void)state;
  t_gpu_find();
  assert_true(t_survive(whole_run, false) > 50);
  assert_true(t_survive(whole_run, true) > 50);
}

/* ---- loops that stop, hosts, sandboxes ---------------------------------------------------------------------------------------------- */

static void loops_stop_between_steps(void **state) {
  (void)state;
  static const int32_t pair[] = {0, 1};
  bdl_context *c = t_gpu_context();
  bdl_prog *p = t_long_loop(c, 20000);
  bdl_tensor in[2], there[2] = {{.buf = NULL}, {.buf = NULL}}, here[2] = {{.buf = NULL}, {.buf = NULL}};
  bdl_plan *plan;
  t_inputs_of(p, in);
  t_check(c, bdl_plan_new(c, p, pair, &plan));
  bdl_prog_unref(p);
  bdl_ask_stop(c, true);
  assert_int_equal(bdl_exec_run(plan, in, there), BDL_EINTERRUPT);
  assert_non_null(strstr(bdl_last_error(c)->message, "interrupted after 64 of 20000 steps; States are those after the last of them"));
  bdl_plan_free(plan);
  p = t_long_loop(c, 64); /* what 64 steps make, here */
  t_check(c, bdl_plan_new(c, p, NULL, &plan));
  bdl_prog_unref(p);
  plan->compilable = false;
  t_check(c, bdl_exec_run(plan, in, here));
  for (int k = 0; k < 2; k++) t_check(c, bdl_tensor_fetch(&there[k]));
  t_same_bits(there, here, 2, "64 steps", 0);
  t_drop(there, 2);
  t_drop(here, 2);
  t_drop(in, 2);
  bdl_plan_free(plan);
  bdl_context_free(c);
}

static void programs_of_hosts_run_there(void **state) {
  (void)state;
  t_gpu_find();
  bdl *b = t_open("bdl.environ.set{platform = 'gpu'}\nlocal n = bdl.State(bdl.zeros(3))\n"
                  "return {net = {n = n}, step = function(x) n.value = n.value + x return n.value * 2 end}");
  float x[3] = {1, 2, 3}, y[3], n[3] = {0};
  const bdl_array in = bdl_vector(BDL_FLOAT32, x, 3), out = bdl_vector(BDL_FLOAT32, y, 3), value = bdl_vector(BDL_FLOAT32, n, 3);
  bdl_program *p = bdl_program_new(bdl_function_find(b, "step"), &in, 1, &out, 1);
  assert_non_null(p);
  bdl_cell *cell = bdl_cell_find(b, "net.n");
  for (int step = 1; step <= 3; step++) {
    t_done(b, bdl_program_run(p));
    t_floats(y, (float[]){2.f * (float)step, 4.f * (float)step, 6.f * (float)step}, 3);
  }
  size_t used = 0, peak = 0;
  bdl_memory_gpu(b, &used, &peak);
  assert_true(used > 0 && peak >= used);
  t_done(b, bdl_cell_read(cell, &value));
  t_floats(n, (float[]){3, 6, 9}, 3);
  n[0] = 10, x[0] = 5; /* the host writes both */
  t_done(b, bdl_cell_write(cell, &value));
  t_done(b, bdl_program_run(p));
  t_floats(y, (float[]){30, 16, 24}, 3);
  bdl_array view;
  t_done(b, bdl_cell_view(cell, &view));
  ((float *)view.data)[1] = -2; /* through the view, too */
  t_done(b, bdl_program_run(p));
  t_floats(y, (float[]){40, 0, 30}, 3);
  bdl_close(b);
}

static void sandboxes_stay_on_the_cpu(void **state) {
  (void)state;
  t_gpu_find();
  bdl_context *c = bdl_context_new(NULL, NULL);
  c->sandboxed = true;
  assert_int_equal(bdl_gpu_use(c, "gpu"), BDL_ENOTSUP);
  assert_string_equal(bdl_last_error(c)->message, "a sandbox runs on the CPU alone, not on gpu");
  t_check(c, bdl_gpu_use(c, "cpu"));
  bdl_context_free(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_is_missing_is_named), /* first: the loader would find what was open once */
    cmocka_unit_test(random_programs_and_loops_agree), cmocka_unit_test(the_host_finds_rows), cmocka_unit_test(results_stay_until_they_are_read),
    cmocka_unit_test(views_are_packed_there),
    cmocka_unit_test(failures_of_the_driver_are_told), cmocka_unit_test(programs_are_kept_on_disk),
    cmocka_unit_test(limits_hold_there_too), cmocka_unit_test(failed_allocations_leave_nothing),
    cmocka_unit_test(loops_stop_between_steps), cmocka_unit_test(programs_of_hosts_run_there),
    cmocka_unit_test(sandboxes_stay_on_the_cpu),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

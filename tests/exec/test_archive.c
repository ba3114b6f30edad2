/*
** Native code in files of its own: the same bits without a compiler and without a cache, what is missing, files that are none.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../ir/text.h"
#include "../support/faults.h"
#include "exec/archive.h"
#include "exec/emit.h"
#include "exec/exec_context.h"
#include "programs.h"

static char folder[T_FOLDER], file[T_FOLDER + 16];

static void shell(const char *command) { t_in_folder(folder, command); }

static int new_folder(void **state) {
  (void)state;
  t_new_folder(folder);
  snprintf(file, sizeof file, "%s/model.so", folder);
  return setenv("BDL_CACHE", "/dev/null/none", 1);
}

static int drop_folder(void **state) {
  (void)state;
  shell("rm -rf $PWD");
  return 0;
}

static void compiler(const char *cc) { setenv("BDL_CC", cc, 1); }

/* Two programs, one of them twice. */
static bdl_status make(bdl_context *c, const char *target, int *programs) {
  bdl_emitted e[3];
  const char *texts[3];
  for (int i = 0; i < 3; i++) {
    bdl_prog *p = t_long_loop(c, i < 2 ? 300 : 301);
    bdl_plan *plan;
    t_check(c, bdl_plan_new(c, p, NULL, &plan));
    t_check(c, bdl_emit_plan(plan, &e[i]));
    texts[i] = e[i].text.s;
    bdl_plan_free(plan);
    bdl_prog_unref(p);
  }
  const bdl_status s = bdl_archive_make(c, texts, 3, target, file, programs);
  for (int i = 0; i < 3; i++) bdl_emit_free(&e[i], c);
  return s;
}

/* By the interpreter, and as `tier` has it.  Returns the state that the native tier ends in. */
static bdl_native_state agree(bdl_context *c, int64_t steps, const char *tier) {
  bdl_prog *p = t_long_loop(c, steps);
  bdl_tensor in[2], want[2] = {0}, got[2] = {0};
  bdl_plan *plan;
  t_inputs_of(p, in);
  t_check(c, bdl_plan_new(c, p, NULL, &plan));
  t_tier(c, "interp");
  t_check(c, bdl_exec_run(plan, in, want));
  t_tier(c, tier);
  t_check(c, bdl_exec_run(plan, in, got));
  t_same_bits(want, got, 2, tier, (uint64_t)steps);
  const bdl_native_state state = plan->native ? plan->native->state : BDL_N_FRESH;
  bdl_plan_free(plan);
  t_drop(want, 2), t_drop(got, 2), t_drop(in, 2);
  bdl_prog_unref(p);
  return state;
}

static void heard(void *ud, const char *text) { snprintf(ud, 512, "%s", text); }

static void listen(bdl_context *c, char text[512]) {
  *text = 0;
  c->warn = heard;
  c->warn_ud = text;
}

static void every_target_gives_the_same_bits_without_a_compiler(void **state) {
  (void)state;
  int n;
  const bdl_program_target *targets = bdl_program_targets(&n);
  for (int i = 0; i < n; i++) {
    char text[512];
    int programs = 0;
    bdl_context *c = bdl_context_new(NULL, NULL);
    listen(c, text);
    compiler("cc");
    t_check(c, make(c, targets[i].march, &programs));
    assert_int_equal(programs, 2);
    compiler("/nonexistent");
    t_check(c, bdl_archive_open(c, file));
    if (!bdl_k_select(targets[i].isa)) {
      assert_non_null(strstr(text, "it is for processors with"));
      assert_null(t_tier(c, "auto")->native.archive);
      assert_int_equal(agree(c, 300, "native"), BDL_N_OFF);
    } else {
      assert_string_equal(t_tier(c, "auto")->k->isa, targets[i].isa);
      assert_int_equal(agree(c, 300, "native"), BDL_N_READY);
      assert_int_equal(agree(c, 301, "auto"), BDL_N_READY); /* from the first call on */
      assert_string_equal(text, "");
    }
    bdl_context_free(c);
  }
}

static void what_is_not_in_the_file_is_said_once(void **state) {
  bdl_context *c = *state;
  char text[512], want[256];
  int programs;
  compiler("cc");
  t_check(c, make(c, NULL, &programs));
  compiler("/nonexistent");
  t_check(c, bdl_archive_open(c, file));
  listen(c, text);
  assert_int_equal(agree(c, 302, "native"), BDL_N_OFF);
  snprintf(want, sizeof want, "bdl: a program is not in %s: other settings, or another model, were compiled to it", file);
  assert_string_equal(text, want);
  *text = 0;
  assert_int_equal(agree(c, 303, "native"), BDL_N_OFF);
  assert_string_equal(text, "");
  assert_int_equal(agree(c, 301, "native"), BDL_N_READY);
  assert_int_equal(bdl_archive_open(c, file), BDL_EVALUE); /* it runs */
  bdl_clear_error(c);
}

static void the_environment_names_a_file(void **state) {
  (void)state;
  int programs;
  char text[512];
  bdl_context *c = bdl_context_new(NULL, NULL);
  compiler("cc");
  t_check(c, make(c, NULL, &programs));
  bdl_context_free(c);
  compiler("/nonexistent");
  for (int good = 0; good < 2; good++) {
    c = bdl_context_new(NULL, NULL);
    listen(c, text);
    setenv("BDL_NATIVE", good ? file : "nothing.so", 1);
    t_tier(c, "auto");
    assert_string_equal(text, good ? "" : "bdl: without native code: nothing.so: No such file or directory");
    assert_int_equal(agree(c, 300, "native"), good ? BDL_N_READY : BDL_N_OFF);
    bdl_context_free(c);
  }
  unsetenv("BDL_NATIVE");
}

#define SEAL "SEALED=model.so; " BDL_PROGRAM_SEAL

static void refused(bdl_context *c, const char *path, const char *why) {
  assert_int_equal(bdl_archive_open(c, path), BDL_EIO);
  if (!strstr(bdl_last_error(c)->message, why)) fail_msg("%s, not %s", bdl_last_error(c)->message, why);
  assert_null(t_tier(c, "auto")->native.archive);
  bdl_clear_error(c);
}

static void what_is_no_such_file_is_refused(void **state) {
  bdl_context *c = *state;
  int programs;
  compiler("cc");
  t_check(c, make(c, NULL, &programs));
  shell("cp model.so good");
  refused(c, "/tmp/no-such-file.so", "No such file");
  refused(c, folder, "is no file");
  static const struct {
    const char *command, *why;
  } bad[] = {
    {": >model.so", "damaged"},
    {"echo rubbish >model.so", "damaged"},
    {"head -c 5000 good >model.so", "damaged"},
    {"cp good model.so; printf x | dd of=model.so bs=1 seek=5000 conv=notrunc 2>/dev/null", "damaged"},
    {"cp good model.so; chmod 666 model.so", "may be written by everybody"},
    {"chmod 600 model.so; echo rubbish >model.so; " SEAL, "model.so"},
    {"echo 'int x;' >x.c; cc -shared -fPIC -o model.so x.c; " SEAL, "another version"},
    {"head -c -67 good | sed \"s/$(strings good | grep -E '^[0-9a-f]{32}$' | head -1)/0123456789abcdef0123456789abcdef/\" >model.so; " SEAL,
     "another version of bdl; compile it again"},
  };
  for (int i = 0; i < BDL_LEN(bad); i++) {
    shell(bad[i].command);
    refused(c, file, bad[i].why);
  }
  shell("cp good model.so");
  t_check(c, bdl_archive_open(c, file));
  assert_int_equal(agree(c, 300, "native"), BDL_N_READY);
}

static void a_failure_leaves_what_was_there(void **state) {
  bdl_context *c = *state;
  int programs;
  static const char *const compilers[] = {"false", "/nonexistent", "./full"};
  shell("echo mine >model.so; printf '#!/bin/sh\\nulimit -f 8\\nexec cc \"$@\"\\n' >full; chmod 755 full");
  for (int i = 0; i < BDL_LEN(compilers); i++) {
    char cc[T_FOLDER + 16];
    snprintf(cc, sizeof cc, i == 2 ? "%s/full" : "%.0s%s", folder, compilers[i]); /* a disk with room for nothing */
    compiler(cc);
    assert_int_equal(make(c, NULL, &programs), BDL_EIO);
    assert_non_null(strstr(bdl_last_error(c)->message, "model.so was not made by"));
    bdl_clear_error(c);
    shell("test $(cat model.so) = mine && ! ls | grep -q tmp");
  }
  compiler("cc");
  assert_int_equal(make(c, "z80", &programs), BDL_EVALUE);
  assert_int_equal(bdl_archive_make(c, NULL, 0, NULL, file, &programs), BDL_EVALUE);
  assert_int_equal(bdl_archive_writable(c, "/dev/null"), BDL_EIO);
  assert_int_equal(bdl_archive_writable(c, "/tmp/no/such/folder/x.so"), BDL_EIO);
  assert_int_equal(bdl_archive_writable(c, folder), BDL_EIO);
  bdl_clear_error(c);
  t_check(c, bdl_archive_writable(c, "here.so"));
}

static bdl_status open_it(bdl_context *c) { return bdl_archive_open(c, file); }

static void failed_allocations_leave_nothing(void **state) {
  (void)state;
  int programs;
  bdl_context *c = bdl_context_new(NULL, NULL);
  compiler("cc");
  t_check(c, make(c, NULL, &programs));
  bdl_context_free(c);
  assert_true(t_survive(open_it, false) >= 2);
  assert_true(t_survive(open_it, true) >= 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_target_gives_the_same_bits_without_a_compiler), T_TEST(what_is_not_in_the_file_is_said_once),
    cmocka_unit_test(the_environment_names_a_file), T_TEST(what_is_no_such_file_is_refused), T_TEST(a_failure_leaves_what_was_there),
    cmocka_unit_test(failed_allocations_leave_nothing),
  };
  return cmocka_run_group_tests(tests, new_folder, drop_folder);
}

/*
** test_embed.c -- bdl.h as a host program sees it: the example of README.md, errors, several contexts, limits.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define main example
/* The example, as it stands in README.md: */
#include <stdio.h>
#include <bdl.h>

int main(void) {
  bdl *b = bdl_open(NULL);
  if (!b) return 1;
  int failed = bdl_run_string(b, "print(bdl.ones(3) * 2)", "host.lua");
  if (failed) fprintf(stderr, "%s\n", bdl_error_text(b));
  bdl_close(b);
  return failed;
}
#undef main

static void example_runs(void **state) {
  (void)state;
  assert_int_equal(example(), 0);
}

static char *text_of(const char *path) {
  FILE *f = fopen(path, "r");
  assert_non_null(f);
  char *s = test_calloc(1, 1 << 16);
  assert_true(fread(s, 1, (1 << 16) - 1, f) > 0);
  fclose(f);
  return s;
}

static void example_is_that_of_the_readme(void **state) {
  (void)state;
  char *readme = text_of("README.md"), *here = text_of(__FILE__);
  char *begin = strstr(readme, "```c\n"), *end = begin ? strstr(begin + 5, "```") : NULL;
  if (end) *end = '\0';
  assert_true(end && strstr(here, begin + 5));
  test_free(readme);
  test_free(here);
}

static void errors_have_kind_and_position(void **state) {
  (void)state;
  bdl *b = bdl_open(NULL);
  assert_int_equal(bdl_run_string(b, "\nlocal x = 1 * bdl.units.mV + 1 * bdl.units.ms", "sum.lua"), 1);
  assert_string_equal(bdl_error_kind(b), "UnitMismatchError");
  assert_non_null(strstr(bdl_error_text(b), "sum.lua:2: "));
  assert_int_equal(bdl_run_string(b, "local x = = 1", "syntax.lua"), 1);
  assert_string_equal(bdl_error_kind(b), "SyntaxError");
  assert_non_null(strstr(bdl_error_text(b), "syntax.lua:1: "));
  assert_int_equal(bdl_run_string(b, "local x = nil + 1", "nil.lua"), 1);
  assert_string_equal(bdl_error_kind(b), "Error");
  assert_memory_equal(bdl_error_text(b), "nil.lua:1: ", 11);
  assert_int_equal(bdl_run_file(b, "no/such/file.lua"), 1);
  assert_string_equal(bdl_error_kind(b), "IOError");
  assert_int_equal(bdl_run_string(b, "local x = bdl.ones(2)", "fine.lua"), 0); /* the context goes on */
  bdl_close(b);
}

static void contexts_share_nothing(void **state) {
  (void)state;
  bdl *a = bdl_open(NULL), *b = bdl_open(NULL);
  assert_int_equal(bdl_run_string(a, "rawset(_G, 'mine', 1); bdl.environ.set{precision = 64}", "a"), 0);
  assert_int_equal(bdl_run_string(b, "assert(rawget(_G, 'mine') == nil and bdl.zeros(1).dtype == 'float32')", "b"), 0);
  assert_int_equal(bdl_run_string(a, "assert(mine == 1 and bdl.zeros(1).dtype == 'float64')", "a"), 0);
  bdl_close(a);
  assert_int_equal(bdl_run_string(b, "assert((bdl.ones(4):sum()):item() == 4)", "b"), 0);
  bdl_close(b);
}

static void the_memory_limit_holds(void **state) {
  (void)state;
  bdl_options o = {.memory_limit = 1 << 20, .threads = 1};
  bdl *b = bdl_open(&o);
  assert_int_equal(bdl_run_string(b, "local x = bdl.ones(1000, 1000) * 2", "large.lua"), 1);
  assert_string_equal(bdl_error_kind(b), "MemoryError");
  assert_int_equal(bdl_run_string(b, "local x = bdl.ones(100) * 2", "small.lua"), 0);
  bdl_close(b);
}

static void an_interrupt_stops_lua_and_loops(void **state) {
  (void)state;
  bdl *b = bdl_open(NULL);
  bdl_interrupt(b);
  assert_int_equal(bdl_run_string(b, "while true do end", "forever.lua"), 1);
  assert_string_equal(bdl_error_kind(b), "InterruptError");
  assert_int_equal(bdl_run_string(b, "local x = 1", "after.lua"), 0);
  bdl_close(b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(example_runs),
    cmocka_unit_test(example_is_that_of_the_readme),
    cmocka_unit_test(errors_have_kind_and_position),
    cmocka_unit_test(contexts_share_nothing),
    cmocka_unit_test(the_memory_limit_holds),
    cmocka_unit_test(an_interrupt_stops_lua_and_loops),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

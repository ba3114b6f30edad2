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
  bdl_options o = bdl_defaults();
  o.memory_limit = 1 << 20;
  o.threads = 1;
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

typedef struct heard {
  char text[3][512]; /* by level */
  int n[3];
  bdl *b;
  int inner; /* what a call from inside the log gave */
} heard;

static void hear(void *ud, int level, const char *text) {
  heard *h = ud;
  h->n[level]++;
  snprintf(h->text[level], sizeof h->text[level], "%s", text);
  if (h->b) h->inner = bdl_run_string(h->b, "x = 1", "inner");
}

static bdl_options logged(heard *h) {
  bdl_options o = bdl_defaults();
  o.log = hear;
  o.log_ud = h;
  o.threads = 1;
  return o;
}

static void what_is_said_goes_to_the_log(void **state) {
  (void)state;
  heard h = {.b = NULL};
  bdl_options o = logged(&h);
  bdl *b = bdl_open(&o);
  assert_int_equal(bdl_run_string(b, "print('V', bdl.ones(2), nil)", "print.lua"), 0);
  assert_string_equal(h.text[BDL_LOG_PRINT], "V\t[1. 1.]\tnil");
  assert_int_equal(bdl_run_string(b, "bdl.jit(function(x) bdl.debug.print('x = {x}', {x = x}) end)(bdl.ones(1))", "print.lua"), 0);
  assert_string_equal(h.text[BDL_LOG_PRINT], "x = [1.]");
  assert_int_equal(bdl_run_string(b, "warn('beware')", "warn.lua"), 0);
  assert_string_equal(h.text[BDL_LOG_WARNING], "beware");
  assert_int_equal(h.n[BDL_LOG_PRINT], 2);
  h.b = b; /* a log that calls back */
  assert_int_equal(bdl_run_string(b, "print 'in'", "print.lua"), 0);
  assert_int_equal(h.inner, 1);
  assert_string_equal(bdl_error_kind(b), "NotSupportedError");
  bdl_close(b);
}

static void wrong_options_are_refused(void **state) {
  (void)state;
  heard h = {.b = NULL};
  bdl_options o = logged(&h);
  o.tier = "fast";
  assert_null(bdl_open(&o));
  assert_non_null(strstr(h.text[BDL_LOG_ERROR], "fast"));
  o = logged(&h), o.threads = -1;
  assert_null(bdl_open(&o));
  assert_non_null(strstr(h.text[BDL_LOG_ERROR], "threads"));
  o = logged(&h), o.struct_size = 0;
  assert_null(bdl_open(&o));
  struct later {
    bdl_options o;
    int option;
  } l;
  memset(&l, 0, sizeof l);
  l.o = logged(&h);
  l.o.struct_size = sizeof l;
  bdl *b = bdl_open(&l.o); /* of a later header, its options unused */
  assert_non_null(b);
  bdl_close(b);
  l.option = 1;
  assert_null(bdl_open(&l.o));
  assert_non_null(strstr(h.text[BDL_LOG_ERROR], "does not have"));
  bdl_close(NULL);
}

static void scripts_leave_names(void **state) {
  (void)state;
  bdl *b = bdl_open(NULL);
  assert_null(bdl_function_find(b, "f"));
  assert_non_null(strstr(bdl_error_text(b), "return {step = step}"));
  assert_int_equal(bdl_run_string(b, "return {f = function() return 1 end, g = function() return 2 end}", "a"), 0);
  assert_int_equal(bdl_run_string(b, "rawset(_G, 'h', print) return {f = function() return 3 end}", "b"), 0);
  float x = 0;
  bdl_array a = bdl_number(BDL_INT32, &x);
  a.data = NULL;
  assert_int_equal(bdl_function_call(bdl_function_find(b, "f"), NULL, 0, &a, 1), 0);
  assert_int_equal(*(int32_t *)a.data, 3);
  assert_non_null(bdl_function_find(b, "g"));
  assert_non_null(bdl_function_find(b, "h"));
  assert_int_equal(bdl_run_string(b, "return 7", "c"), 0);
  assert_int_equal(bdl_run_string(b, NULL, "c"), 1);
  assert_int_equal(bdl_run_file(b, NULL), 1);
  size_t used = 0, peak = 0;
  bdl_memory(b, &used, &peak);
  assert_true(used > 0 && peak >= used);
  bdl_memory(b, NULL, NULL);
  bdl_memory_gpu(b, &used, &peak);
  assert_true(used == 0 && peak == 0);
  assert_string_equal(bdl_version(), BDL_VERSION);
  bdl_close(b);
}

static bdl_options sandboxed(void) {
  bdl_options o = bdl_defaults();
  o.sandbox = 1;
  o.threads = 1;
  return o;
}

static void a_sandbox_has_a_budget_for_each_call(void **state) {
  (void)state;
  bdl_options o = sandboxed();
  o.step_limit = 2000;
  bdl *b = bdl_open(&o);
  assert_non_null(b);
  assert_int_equal(bdl_run_string(b, "io.open 'x'", "files.lua"), 1);
  assert_string_equal(bdl_error_kind(b), "NotSupportedError");
  assert_int_equal(bdl_run_string(b, "while true do end", "forever.lua"), 1);
  assert_string_equal(bdl_error_kind(b), "BudgetError");
  const char *text = "local n = bdl.State(0)\nlocal function count(k) bdl.for_loop(function() n.value = n.value + 1 end, {length = k}) end\n"
                     "return {few = function() count(1000) end, many = function() count(1000000) end, n = n}";
  assert_int_equal(bdl_run_string(b, text, "count.lua"), 0);
  bdl_function *few = bdl_function_find(b, "few"), *many = bdl_function_find(b, "many");
  bdl_program *p = bdl_program_new(few, NULL, 0, NULL, 0), *q = bdl_program_new(many, NULL, 0, NULL, 0);
  assert_true(few && many && p && q);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(bdl_function_call(few, NULL, 0, NULL, 0), 0);
    assert_int_equal(bdl_function_call(many, NULL, 0, NULL, 0), 1);
    assert_string_equal(bdl_error_kind(b), "BudgetError");
    assert_int_equal(bdl_program_run(p), 0);
    assert_int_equal(bdl_program_run(q), 1);
    assert_string_equal(bdl_error_kind(b), "BudgetError");
  }
  bdl_close(b);
  o = sandboxed(), o.time_limit = 0.02;
  b = bdl_open(&o);
  assert_int_equal(bdl_run_string(b, "while true do end", "forever.lua"), 1);
  assert_string_equal(bdl_error_kind(b), "BudgetError");
  bdl_close(b);
  heard h = {.b = NULL};
  o = logged(&h), o.step_limit = 5;
  assert_null(bdl_open(&o));
  assert_non_null(strstr(h.text[BDL_LOG_ERROR], "sandbox"));
  o = logged(&h), o.sandbox = 1, o.time_limit = -1;
  assert_null(bdl_open(&o));
  o = logged(&h), o.sandbox = 1, o.tier = "native";
  assert_null(bdl_open(&o));
  assert_non_null(strstr(h.text[BDL_LOG_ERROR], "native"));
}

/* Whatever runs when a budget is spent, States are those before the compiled call: loops of loops, updates in place, what a
** program of the host or a function of Lua calls. */
static void a_spent_budget_changes_no_state(void **state) {
  (void)state;
  static const char text[] =
    "local s, k = bdl.State(bdl.zeros(300)), bdl.State(bdl.tensor(0))\n"
    "local function step() s.value = s.value + 1 k.value = k.value + 1 end\n"
    "local function inner() bdl.while_loop(function(x) return x:lt(300) end, function(x) return x + 1 end, bdl.tensor(0)) step() end\n"
    "local function loop(f) return function() bdl.for_loop(f, {length = 1000}) end end\n"
    "local function both() step() loop(step)() end\n"
    "local function go() return k.value:lt(100000) end\n"
    "local function whiles() bdl.while_loop(go, function(x) step() return x end, bdl.tensor(0)) end\n"
    "return {s = s, k = k, f1 = loop(step), f2 = loop(inner), f3 = both, f4 = whiles, g1 = bdl.jit(loop(step)), g2 = bdl.jit(loop(inner)),\n"
    "  g3 = bdl.jit(both), g4 = bdl.jit(whiles)}";
  bdl_options o = sandboxed();
  o.step_limit = 900;
  bdl *b = bdl_open(&o);
  assert_non_null(b);
  if (bdl_run_string(b, text, "budget.lua")) fail_msg("%s", bdl_error_text(b));
  bdl_cell *s = bdl_cell_find(b, "s"), *k = bdl_cell_find(b, "k");
  assert_true(s && k);
  for (int i = 0; i < 24; i++) {
    char name[] = {"fg"[i / 4 % 2], (char)('1' + i % 4), '\0'};
    float v[300], at = 7;
    int32_t n = 7;
    for (int j = 0; j < 300; j++) v[j] = at;
    const bdl_array vs = bdl_vector(BDL_FLOAT32, v, 300), ns = bdl_number(BDL_INT32, &n);
    assert_int_equal(bdl_cell_write(s, &vs) | bdl_cell_write(k, &ns), 0);
    bdl_function *f = bdl_function_find(b, name);
    assert_non_null(f);
    bdl_program *p = i < 16 ? NULL : bdl_program_new(f, NULL, 0, NULL, 0);
    if (i >= 16 && !p) fail_msg("%s: %s", name, bdl_error_text(b));
    for (int again = 0; again < 2; again++) {
      assert_int_equal(p ? bdl_program_run(p) : bdl_function_call(f, NULL, 0, NULL, 0), 1);
      if (strcmp(bdl_error_kind(b), "BudgetError") != 0) fail_msg("%s, case %d: %s", name, i, bdl_error_text(b));
      assert_int_equal(bdl_cell_read(s, &vs) | bdl_cell_read(k, &ns), 0);
      /* before the loop, f3 has made a step in Lua */
      const int stepped = !p && i / 4 % 2 == 0 && i % 4 == 2 ? again + 1 : 0;
      if (n != 7 + stepped) fail_msg("%s, case %d, again %d: %d", name, i, again, n);
      for (int j = 0; j < 300; j++)
        if (v[j] != at + (float)stepped) fail_msg("%s, case %d, again %d: %g, %d", name, i, again, (double)v[j], n);
    }
    bdl_program_free(p);
    bdl_function_free(f);
  }
  bdl_close(b);
}

static void no_context_is_an_error_too(void **state) {
  (void)state;
  assert_int_equal(bdl_run_string(NULL, "x", "x"), 1);
  assert_int_equal(bdl_run_file(NULL, "x"), 1);
  assert_null(bdl_function_find(NULL, "f"));
  assert_null(bdl_cell_find(NULL, "s"));
  assert_int_equal(bdl_register(NULL, "f", NULL, NULL, NULL, 0), 1);
  assert_string_equal(bdl_error_kind(NULL), "ValueError");
  assert_non_null(strstr(bdl_error_of(NULL)->text, "NULL"));
  size_t used = 1;
  bdl_memory(NULL, &used, NULL);
  assert_int_equal(used, 0);
  used = 1;
  bdl_memory_gpu(NULL, &used, NULL);
  assert_int_equal(used, 0);
  bdl_interrupt(NULL);
  assert_int_equal(bdl_interrupted(NULL), 0);
  bdl_close(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(example_runs),
    cmocka_unit_test(example_is_that_of_the_readme),
    cmocka_unit_test(errors_have_kind_and_position),
    cmocka_unit_test(contexts_share_nothing),
    cmocka_unit_test(the_memory_limit_holds),
    cmocka_unit_test(an_interrupt_stops_lua_and_loops),
    cmocka_unit_test(what_is_said_goes_to_the_log),
    cmocka_unit_test(wrong_options_are_refused),
    cmocka_unit_test(scripts_leave_names),
    cmocka_unit_test(a_sandbox_has_a_budget_for_each_call),
    cmocka_unit_test(a_spent_budget_changes_no_state),
    cmocka_unit_test(no_context_is_an_error_too),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
** test_callback.c -- functions of the host that models call.
*/
#include "host.h"

typedef struct motor {
  int calls;
  float last;
  const char *wrong;
  bdl *b;
  bdl_program *p;
  int inner[4];
} motor;

static const char *turn(void *ud, const bdl_array *in, int n_in, bdl_array *out, int n_out) {
  motor *m = ud;
  m->calls++;
  if (n_in != 1 || n_out != 2 || in[0].dtype != BDL_FLOAT32 || in[0].ndim != 1) return "one float32 vector is needed";
  m->last = ((const float *)in[0].data)[0];
  for (int i = 0; i < 2; i++) ((float *)out[0].data)[i] = m->last + (float)i;
  *(unsigned char *)out[1].data = m->last > 2;
  if (m->b) {
    m->inner[0] = bdl_run_string(m->b, "return 1", "inner");
    m->inner[1] = bdl_program_run(m->p);
    m->inner[2] = bdl_function_find(m->b, "step") != NULL;
    bdl_program_free(m->p);
    bdl_close(m->b);
    m->inner[3] = strcmp(bdl_error_kind(m->b), "NotSupportedError");
  }
  return m->wrong;
}

static const char *bad_flag(void *ud, const bdl_array *in, int n_in, bdl_array *out, int n_out) {
  (void)ud, (void)in, (void)n_in, (void)n_out;
  *(unsigned char *)out[0].data = 7;
  return NULL;
}

static bdl *open_motor(motor *m) {
  bdl *b = t_open("");
  const bdl_array results[2] = {bdl_vector(BDL_FLOAT32, NULL, 2), bdl_number(BDL_BOOLEAN, NULL)}, flag = bdl_number(BDL_BOOLEAN, NULL);
  t_done(b, bdl_register(b, "turn", turn, m, results, 2));
  t_done(b, bdl_register(b, "bad_flag", bad_flag, NULL, &flag, 1));
  return b;
}

static void models_call_the_host(void **state) {
  (void)state;
  motor m = {0};
  bdl *b = open_motor(&m);
  t_done(b, bdl_run_string(b, "local y, far = bdl.host.turn(bdl.tensor{5.})\nassert(y[2]:item() == 6 and far:item())", "eager.lua"));
  assert_int_equal(m.calls, 1);
  t_done(b, bdl_run_string(b, "local n = bdl.State(bdl.zeros(1))\n"
    "local function step() local y = bdl.host.turn(n.value) n.value = n.value + 1 return y end\n"
    "print(bdl.for_loop(step, {length = 4})) return {step = step, n = n}", "loop.lua"));
  assert_int_equal(m.calls, 5);
  assert_true(m.last == 3);
  const bdl_array none = {0};
  bdl_program *p = bdl_program_new(bdl_function_find(b, "step"), NULL, 0, &none, 1);
  assert_non_null(p);
  assert_int_equal(m.calls, 5);
  t_done(b, bdl_program_run(p));
  assert_int_equal(m.calls, 6);
  assert_true(m.last == 4);
  bdl_close(b);
}

static void its_errors_are_those_of_the_model(void **state) {
  (void)state;
  motor m = {.wrong = "overheated"};
  bdl *b = open_motor(&m);
  t_failed(b, bdl_run_string(b, "\nbdl.host.turn(bdl.ones(1))", "hot.lua"), "HostError", "hot.lua:2: HostError: turn: overheated");
  t_failed(b, bdl_run_string(b, "bdl.host.turn(bdl.ones(1, 1))", "hot.lua"), "HostError", "turn: one float32 vector");
  t_failed(b, bdl_run_string(b, "bdl.host.turm(bdl.ones(1))", "hot.lua"), "KeyError", "did you mean 'turn'");
  t_failed(b, bdl_run_string(b, "bdl.host.turn(bdl.ones(1) * bdl.units.mV)", "hot.lua"), "UnitMismatchError", "argument 1 has the unit mV");
  t_failed(b, bdl_run_string(b, "bdl.host.bad_flag()", "hot.lua"), "HostError", "booleans is 7");
  t_done(b, bdl_run_string(b, "local s = bdl.State(bdl.ones(1))\nreturn {step = function() s.value = s.value + 1 return bdl.host.turn(s.value) end, s = s}", "s.lua"));
  const bdl_array none[2] = {{0}};
  bdl_program *p = bdl_program_new(bdl_function_find(b, "step"), NULL, 0, none, 2);
  assert_non_null(p);
  t_failed(b, bdl_program_run(p), "HostError", "s.lua:2: HostError: turn: overheated");
  float s = 0;
  const bdl_array a = bdl_vector(BDL_FLOAT32, &s, 1);
  t_done(b, bdl_cell_read(bdl_cell_find(b, "s"), &a));
  assert_true(s == 1); /* as before the call */
  m.wrong = NULL;
  t_done(b, bdl_program_run(p));
  t_done(b, bdl_cell_read(bdl_cell_find(b, "s"), &a));
  assert_true(s == 2);
  assert_int_equal(bdl_register(b, "", turn, &m, NULL, 0), 1);
  assert_int_equal(bdl_register(b, "x", NULL, &m, NULL, 0), 1);
  assert_int_equal(bdl_register(b, "x", turn, &m, NULL, 1), 1);
  bdl_array volts = bdl_number(BDL_FLOAT32, NULL);
  volts.unit = "V";
  t_failed(b, bdl_register(b, "x", turn, &m, &volts, 1), "UnitMismatchError", "plain numbers");
  volts.ndim = 10;
  t_failed(b, bdl_register(b, "x", turn, &m, &volts, 1), "ShapeError", "10 axes");
  bdl_close(b);
}

static void calls_from_inside_are_refused(void **state) {
  (void)state;
  motor m = {0};
  bdl *b = open_motor(&m);
  t_done(b, bdl_run_string(b, "return {step = function() return bdl.host.turn(bdl.ones(1)) end}", "step.lua"));
  const bdl_array none[2] = {{0}};
  m.p = bdl_program_new(bdl_function_find(b, "step"), NULL, 0, none, 2);
  t_done(b, bdl_program_run(m.p));
  m.b = b;
  t_done(b, bdl_program_run(m.p));
  assert_int_equal(m.inner[0], 1);
  assert_int_equal(m.inner[1], 1);
  assert_int_equal(m.inner[2], 0);
  assert_int_equal(m.inner[3], 0);
  m.b = NULL;
  t_done(b, bdl_program_run(m.p)); /* neither freed nor closed */
  bdl_close(b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(models_call_the_host),
    cmocka_unit_test(its_errors_are_those_of_the_model),
    cmocka_unit_test(calls_from_inside_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

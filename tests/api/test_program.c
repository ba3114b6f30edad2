/*
** test_program.c -- programs bound to the host's memory, and States as the host sees them.
*/
#include "host.h"

static const char COUNTER[] =
  "local u = bdl.units\n"
  "local n, V, w = bdl.State(bdl.zeros(3)), bdl.HiddenState(bdl.zeros(3) * u.mV), bdl.ParamState{weight = bdl.ones(3), bias = bdl.zeros(1)}\n"
  "local net = {n = n, V = V, w = w}\n"
  "local function step(x)\n"
  "  net.n.value = net.n.value + x\n"
  "  V.value = V.value * 0.5 + net.n.value * u.mV\n"
  "  return net.n.value * w.value.weight, V.value\n"
  "end\n"
  "return {step = step, net = net, swap = function() net.n = bdl.State(bdl.zeros(3)) end,\n"
  "  add = function(x) n.value = n.value + x end, share = function() w.value = {weight = n.value, bias = w.value.bias} end,\n"
  "  loop = function() bdl.for_loop(function() n.value = n.value + 1 end, {length = 1000000}) end,\n"
  "  dt = function() return bdl.ones(3) * bdl.environ.get 'dt' end}";

static bdl_function *find(bdl *b, const char *path) {
  bdl_function *f = bdl_function_find(b, path);
  if (!f) fail_msg("%s", bdl_error_text(b));
  return f;
}

typedef struct bench {
  bdl *b;
  bdl_program *p;
  float x[3 + 16], y[3 + 16], V[3 + 16];
} bench;

static void open_bench(bench *t, unsigned flags) {
  memset(t, 0, sizeof *t);
  t->b = t_open(COUNTER);
  bdl_array in = bdl_vector(BDL_FLOAT32, t->x, 3), out[2] = {bdl_vector(BDL_FLOAT32, t->y, 3), bdl_vector(BDL_FLOAT32, t->V, 3)};
  in.flags = out[0].flags = out[1].flags = flags;
  out[1].unit = "mV";
  t->p = bdl_program_new(find(t->b, "step"), &in, 1, out, 2);
  if (!t->p) fail_msg("%s", bdl_error_text(t->b));
}

static void a_program_steps_as_the_function_does(void **state) {
  (void)state;
  for (unsigned flags = 0; flags <= BDL_PADDED; flags++) {
    bench t;
    float n[3] = {0}, V[3] = {0};
    open_bench(&t, flags);
    for (int step = 0; step < 20; step++) {
      if (step == 7) t_done(t.b, bdl_function_call(find(t.b, "share"), NULL, 0, NULL, 0)); /* another owner of n's memory */
      if (step == 11) { /* the State changes outside of the program */
        float one[3] = {1, 1, 1};
        const bdl_array a = bdl_vector(BDL_FLOAT32, one, 3);
        t_done(t.b, bdl_function_call(find(t.b, "add"), &a, 1, NULL, 0));
        for (int i = 0; i < 3; i++) n[i] += 1;
      }
      const float w[3] = {step < 7 ? 1 : 0, step < 7 ? 1 : 7, step < 7 ? 1 : 14};
      for (int i = 0; i < 3; i++) {
        t.x[i] = (float)i;
        n[i] += t.x[i];
        V[i] = V[i] * 0.5f + n[i];
      }
      t_done(t.b, bdl_program_run(t.p));
      for (int i = 0; i < 3; i++) assert_true(t.y[i] == n[i] * w[i]);
      t_floats(t.V, V, 3);
    }
    float got[3];
    const bdl_array a = bdl_vector(BDL_FLOAT32, got, 3);
    t_done(t.b, bdl_cell_read(bdl_cell_find(t.b, "net.n"), &a));
    t_floats(got, n, 3);
    bdl_close(t.b);
  }
}

static void memory_of_the_program_serves_too(void **state) {
  (void)state;
  bdl *b = t_open(COUNTER);
  const bdl_array in = bdl_vector(BDL_FLOAT32, NULL, 3), out[2] = {{0}};
  bdl_array x, y, V;
  bdl_program *p = bdl_program_new(find(b, "step"), &in, 1, out, 2);
  assert_non_null(p);
  t_done(b, bdl_program_argument(p, 0, &x));
  t_done(b, bdl_program_result(p, 0, &y));
  t_done(b, bdl_program_result(p, 1, &V));
  assert_string_equal(V.unit, "mV");
  assert_int_equal(y.shape[0], 3);
  ((float *)x.data)[1] = 4;
  t_done(b, bdl_program_run(p));
  t_floats(y.data, (float[]){0, 4, 0}, 3);
  t_failed(b, bdl_program_result(p, 2, &y), "IndexError", "0 to 1, not 2");
  t_failed(b, bdl_program_argument(p, -1, &y), "IndexError", "");
  t_failed(b, bdl_program_argument(p, 0, NULL), "IndexError", "");
  bdl_program_free(p);
  t_failed(b, bdl_program_run(p), "ValueError", "a bdl_program is used after it was freed");
  bdl_program_free(NULL);
  bdl_close(b);
}

static void programs_say_what_is_wrong(void **state) {
  (void)state;
  bench t;
  open_bench(&t, 0);
  bdl_function *step = find(t.b, "step");
  bdl_array in = bdl_vector(BDL_FLOAT32, t.x, 3), out[2] = {bdl_vector(BDL_FLOAT32, t.y, 3), bdl_vector(BDL_FLOAT32, t.V, 3)};
  t_failed(t.b, !bdl_program_new(step, &in, 1, out, 2), "UnitMismatchError", "mV");
  out[1].unit = "V";
  t_failed(t.b, !bdl_program_new(step, &in, 1, out, 2), "UnitMismatchError", "not scaled");
  out[1].unit = "mV";
  t_failed(t.b, !bdl_program_new(step, &in, 1, out, 1), "ValueError", "returns 2 arrays; 1 are expected");
  t_failed(t.b, !bdl_program_new(step, &in, 1, NULL, 2), "ValueError", "missing");
  out[0].data = t.x;
  t_failed(t.b, !bdl_program_new(step, &in, 1, out, 2), "ValueError", "the memory of result 1 overlaps that of argument 1");
  out[0].data = t.V + 2;
  t_failed(t.b, !bdl_program_new(step, &in, 1, out, 2), "ValueError", "the memory of result 2 overlaps that of result 1");
  out[0].data = t.y;
  out[0].shape[0] = 2;
  t_failed(t.b, !bdl_program_new(step, &in, 1, out, 2), "ShapeError", "result 1");
  in.shape[0] = 4;
  t_failed(t.b, !bdl_program_new(step, &in, 1, out, 2), "ShapeError", "host.lua:5");
  assert_null(bdl_program_new(NULL, &in, 1, out, 2));
  t_done(t.b, bdl_program_run(t.p));
  bdl_close(t.b);
}

static void a_program_that_no_longer_holds_is_refused(void **state) {
  (void)state;
  bench t;
  open_bench(&t, 0);
  t_done(t.b, bdl_program_run(t.p));
  t_done(t.b, bdl_function_call(find(t.b, "swap"), NULL, 0, NULL, 0));
  t_failed(t.b, bdl_program_run(t.p), "ValueError", "make it again");
  bdl_close(t.b);
  bdl *b = t_open(COUNTER);
  t_done(b, bdl_run_string(b, "bdl.environ.set{dt = 2}", "dt"));
  const bdl_array out = {0};
  bdl_array y;
  bdl_program *p = bdl_program_new(find(b, "dt"), NULL, 0, &out, 1);
  t_done(b, bdl_program_run(p));
  t_done(b, bdl_program_result(p, 0, &y));
  t_floats(y.data, (float[]){2, 2, 2}, 3);
  t_done(b, bdl_run_string(b, "bdl.environ.set{other = 2}", "other"));
  t_done(b, bdl_program_run(p));
  t_done(b, bdl_run_string(b, "bdl.environ.set{dt = 3}", "dt"));
  t_failed(b, bdl_program_run(p), "ValueError", "make it again");
  bdl_close(b);
}

static const char *interrupts(void *ud, const bdl_array *in, int n_in, bdl_array *out, int n_out) {
  (void)in, (void)n_in, (void)out, (void)n_out;
  bdl_interrupt(ud);
  return NULL;
}

static void an_interrupt_stops_a_program(void **state) {
  (void)state;
  bench t;
  open_bench(&t, 0);
  bdl_interrupt(t.b);
  t_failed(t.b, bdl_program_run(t.p), "InterruptError", "before the first step");
  t_done(t.b, bdl_program_run(t.p));
  bdl_function *interrupt = NULL;
  t_done(t.b, bdl_register(t.b, "stop", interrupts, t.b, NULL, 0));
  t_done(t.b, bdl_run_string(t.b, "local n = bdl.State(0)\n"
    "return {loop = function() bdl.for_loop(function() n.value = n.value + 1 bdl.cond(n.value:eq(9), function() bdl.host.stop() end, function() end) end,\n"
    "  {length = 1000000000}) end, n9 = {n}}", "loop.lua"));
  interrupt = find(t.b, "loop");
  bdl_program *p = bdl_program_new(interrupt, NULL, 0, NULL, 0);
  if (!p) fail_msg("%s", bdl_error_text(t.b));
  t_failed(t.b, bdl_program_run(p), "InterruptError", "interrupted after 9 of 1000000000 steps");
  bdl_close(t.b);
}

static void cells_are_read_written_and_seen(void **state) {
  (void)state;
  bench t;
  open_bench(&t, 0);
  float got[3], set[3] = {1, 2, 3};
  bdl_array a = bdl_vector(BDL_FLOAT32, set, 3), r = bdl_vector(BDL_FLOAT32, got, 3), v;
  bdl_cell *V = bdl_cell_find(t.b, "net.V"), *n = bdl_cell_find(t.b, "net.n"), *w = bdl_cell_find(t.b, "net.w.weight"), *bias = bdl_cell_find(t.b, "net.w.bias");
  assert_true(V && n && w && bias);
  a.unit = "V";
  t_done(t.b, bdl_cell_write(V, &a));
  r.unit = "mV";
  t_done(t.b, bdl_cell_read(V, &r));
  t_floats(got, (float[]){1000, 2000, 3000}, 3);
  r.unit = NULL;
  t_failed(t.b, bdl_cell_read(V, &r), "UnitMismatchError", "mV");
  t_failed(t.b, bdl_cell_write(n, &a), "UnitMismatchError", "");
  t_failed(t.b, bdl_cell_read(bias, &r), "ShapeError", "State 1 is float32[1]");
  t_failed(t.b, bdl_cell_read(n, NULL), "ValueError", "no array");
  t_failed(t.b, bdl_cell_view(n, NULL), "ValueError", "no array");
  r.dtype = BDL_INT32;
  t_failed(t.b, bdl_cell_read(n, &r), "TypeError", "");
  t_failed(t.b, !bdl_cell_find(t.b, "net.w"), "KeyError", "net.w.bias, net.w.weight");
  t_failed(t.b, !bdl_cell_find(t.b, "net.w.wait"), "KeyError", "no part 'wait'");
  t_failed(t.b, !bdl_cell_find(t.b, "net"), "TypeError", "not a State");
  t_failed(t.b, !bdl_cell_find(t.b, "net.n.x"), "KeyError", "no part");
  assert_null(bdl_cell_find(t.b, NULL));
  t_done(t.b, bdl_cell_view(n, &v)); /* written through */
  ((float *)v.data)[2] = 40;
  t.x[2] = 2;
  t_done(t.b, bdl_program_run(t.p));
  assert_true(t.y[2] == 42);
  t_done(t.b, bdl_function_call(find(t.b, "share"), NULL, 0, NULL, 0)); /* w.weight and n are one tensor: */
  t_done(t.b, bdl_cell_view(w, &v));
  ((float *)v.data)[2] = -1; /* not in n */
  r = bdl_vector(BDL_FLOAT32, got, 3);
  t_done(t.b, bdl_cell_read(n, &r));
  assert_true(got[2] == 42);
  bdl_cell_free(n);
  t_failed(t.b, bdl_cell_read(n, &r), "ValueError", "a bdl_cell is used after it was freed");
  bdl_cell_free(NULL);
  assert_int_equal(bdl_cell_read(NULL, &r), 1);
  bdl_close(t.b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_program_steps_as_the_function_does),
    cmocka_unit_test(memory_of_the_program_serves_too),
    cmocka_unit_test(programs_say_what_is_wrong),
    cmocka_unit_test(a_program_that_no_longer_holds_is_refused),
    cmocka_unit_test(an_interrupt_stops_a_program),
    cmocka_unit_test(cells_are_read_written_and_seen),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

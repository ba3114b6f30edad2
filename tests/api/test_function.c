/*
** test_function.c -- functions of models over the host's memory: types, units, loans, results, names.
*/
#include "host.h"

static bdl_function *find(bdl *b, const char *path) {
  bdl_function *f = bdl_function_find(b, path);
  if (!f) fail_msg("%s", bdl_error_text(b));
  return f;
}

static void numbers_go_in_and_out(void **state) {
  (void)state;
  bdl *b = t_open("return {f = function(x, y) return x + y, {b = 2*x, a = y} end, g = bdl.jit(function(x) return x:sum() end)}");
  float x[3] = {1, 2, 3}, y[3] = {10, 20, 30}, z[3];
  const bdl_array in[2] = {bdl_vector(BDL_FLOAT32, x, 3), bdl_vector(BDL_FLOAT32, y, 3)};
  bdl_array out[3] = {bdl_vector(BDL_FLOAT32, z, 3)};
  bdl_function *f = find(b, "f"), *g = find(b, "g");
  for (int turn = 0; turn < 3; turn++, x[0]++) {
    t_done(b, bdl_function_call(f, in, 2, out, 3));
    t_floats(z, (float[]){x[0] + 10, 22, 33}, 3);
    t_floats(out[1].data, y, 3); /* keys in order: a, b */
    t_floats(out[2].data, (float[]){2 * x[0], 4, 6}, 3);
    assert_int_equal(out[2].ndim, 1);
    assert_int_equal(out[2].shape[0], 3);
    assert_null(out[2].unit);
    out[1].data = out[2].data = NULL;
    bdl_array sum = {0};
    t_done(b, bdl_function_call(g, in, 1, &sum, 1));
    assert_int_equal(sum.ndim, 0);
    t_floats(sum.data, (float[]){x[0] + 5}, 1);
  }
  t_done(b, bdl_function_call(f, in, 2, NULL, 0)); /* results dropped */
  bdl_close(b);
}

static void every_dtype_and_rank_goes_through(void **state) {
  (void)state;
  static const size_t size[] = {1, 4, 8, 4, 4, 8};
  bdl *b = t_open("return {f = bdl.jit(function(x) return x end)}");
  bdl_function *f = find(b, "f");
  for (int type = BDL_BOOLEAN; type <= BDL_FLOAT64; type++)
    for (int ndim = 0; ndim <= BDL_MOST_AXES; ndim++) {
      double room[32] = {0}, back[32] = {0};
      bdl_array x = bdl_number((bdl_type)type, room), y;
      x.ndim = ndim;
      for (int k = 0; k < ndim; k++) x.shape[k] = k < 3 ? 2 : 1;
      for (size_t i = 0; i < 8 * size[type]; i++) ((unsigned char *)room)[i] = i % size[type] == 0;
      y = x;
      y.data = back;
      t_done(b, bdl_function_call(f, &x, 1, &y, 1));
      const int n = ndim == 0 ? 1 : ndim == 1 ? 2 : ndim == 2 ? 4 : 8;
      assert_memory_equal(room, back, (size_t)n * size[type]);
    }
  bdl_array none = bdl_vector(BDL_FLOAT32, NULL, 0), same = none;
  t_done(b, bdl_function_call(f, &none, 1, &same, 1));
  assert_int_equal(same.shape[0], 0);
  bdl_close(b);
}

static void units_are_checked_and_scaled(void **state) {
  (void)state;
  bdl *b = t_open("local u = bdl.units\nreturn {f = function(I) return I * (2*u.ohm) end}");
  bdl_function *f = find(b, "f");
  float x[2] = {1, 2}, y[2];
  bdl_array in = bdl_vector(BDL_FLOAT32, x, 2), out = bdl_vector(BDL_FLOAT32, y, 2);
  in.unit = "mA";
  out.unit = "uV";
  t_done(b, bdl_function_call(f, &in, 1, &out, 1));
  t_floats(y, (float[]){2000, 4000}, 2);
  out.unit = NULL;
  y[0] = -1;
  t_failed(b, bdl_function_call(f, &in, 1, &out, 1), "UnitMismatchError", "set the array's unit to \"mV\"");
  assert_true(y[0] == -1);
  out.data = NULL;
  t_done(b, bdl_function_call(f, &in, 1, &out, 1));
  assert_string_equal(out.unit, "mV");
  in.unit = "mAA";
  t_failed(b, bdl_function_call(f, &in, 1, &out, 1), "KeyError", "mAA");
  in.unit = "mA *";
  t_failed(b, bdl_function_call(f, &in, 1, &out, 1), "SyntaxError", "unit");
  bdl_close(b);
}

static void what_the_host_gets_wrong_is_an_error(void **state) {
  (void)state;
  bdl *b = t_open("return {f = function(x) return x end, two = function(x) return x, x end, bad = function(x) return 'text' end,\n"
                  "  none = function() end, s = bdl.State(1.), n = 3}");
  bdl_function *f = find(b, "f");
  float x[4] = {0}, y[4];
  unsigned char flag[4] = {0, 1, 2, 0};
  bdl_array in = bdl_vector(BDL_FLOAT32, x, 4), out = bdl_vector(BDL_FLOAT32, y, 4), a = in;
  out.shape[0] = 3;
  t_failed(b, bdl_function_call(f, &in, 1, &out, 1), "ShapeError", "result 1 is float32[4]; the host's array is float32[3]");
  out = bdl_vector(BDL_INT32, y, 4);
  t_failed(b, bdl_function_call(f, &in, 1, &out, 1), "TypeError", "int32[4]");
  out = bdl_vector(BDL_FLOAT32, y, 4);
  a.data = NULL;
  t_failed(b, bdl_function_call(f, &a, 1, &out, 1), "ValueError", "argument 1: data is NULL");
  a = in, a.data = (char *)x + 1;
  t_failed(b, bdl_function_call(f, &a, 1, &out, 1), "ValueError", "not aligned");
  a = in, a.ndim = 9;
  t_failed(b, bdl_function_call(f, &a, 1, &out, 1), "ShapeError", "9 axes");
  a = in, a.shape[0] = -1;
  t_failed(b, bdl_function_call(f, &a, 1, &out, 1), "ValueError", "");
  a = in, a.shape[0] = INT64_MAX;
  t_failed(b, bdl_function_call(f, &a, 1, &out, 1), "ValueError", "");
  a = in, a.dtype = (bdl_type)77;
  t_failed(b, bdl_function_call(f, &a, 1, &out, 1), "TypeError", "77");
  a = in, a.flags = 8;
  t_failed(b, bdl_function_call(f, &a, 1, &out, 1), "ValueError", "flags");
  a = bdl_vector(BDL_BOOLEAN, flag, 4);
  t_failed(b, bdl_function_call(f, &a, 1, &out, 1), "ValueError", "element 2 of an array of booleans is 2");
  t_failed(b, bdl_function_call(f, NULL, 1, &out, 1), "ValueError", "arrays are missing");
  t_failed(b, bdl_function_call(f, &in, 1, NULL, 1), "ValueError", "arrays are missing");
  t_failed(b, bdl_function_call(f, &in, -1, &out, 1), "ValueError", "arrays are missing");
  t_failed(b, bdl_function_call(find(b, "two"), &in, 1, &out, 1), "ValueError", "returned 2 arrays; 1 are expected");
  t_failed(b, bdl_function_call(find(b, "none"), &in, 1, &out, 1), "ValueError", "returned 0 arrays");
  t_failed(b, bdl_function_call(find(b, "bad"), &in, 1, &out, 1), "TypeError", "string");
  assert_int_equal(bdl_function_call(NULL, &in, 1, &out, 1), 1);
  assert_null(bdl_function_find(b, NULL));
  t_failed(b, !bdl_function_find(b, "ff"), "KeyError", "did you mean 'f'");
  t_failed(b, !bdl_function_find(b, "n"), "TypeError", "'n' is a number, not a function");
  t_failed(b, !bdl_function_find(b, "n.x"), "KeyError", "");
  t_failed(b, !bdl_function_find(b, "s"), "TypeError", "not a function");
  t_failed(b, !bdl_function_find(b, "f["), "ValueError", "is no path");
  t_failed(b, !bdl_function_find(b, ""), "ValueError", "is no path");
  t_done(b, bdl_function_call(f, &in, 1, &out, 1)); /* the context goes on */
  bdl_function_free(f);
  t_failed(b, bdl_function_call(f, &in, 1, &out, 1), "ValueError", "used after it was freed");
  bdl_function_free(f); /* says the same, and does nothing */
  bdl_function_free(NULL);
  t_failed(b, bdl_program_run((bdl_program *)(void *)f), "ValueError", "used after it was freed");
  t_failed(b, bdl_program_run((bdl_program *)(void *)find(b, "two")), "TypeError", "a bdl_function was given where a bdl_program");
  bdl_close(b);
}

static void errors_of_models_have_their_line(void **state) {
  (void)state;
  bdl *b = t_open("local function f(x)\n  return x + bdl.ones(7)\nend\nreturn {f = f, g = function() error 'no' end, h = function() error{} end}");
  float x[2] = {0};
  bdl_array in = bdl_vector(BDL_FLOAT32, x, 2);
  t_failed(b, bdl_function_call(find(b, "f"), &in, 1, NULL, 0), "ShapeError", "host.lua:2: ");
  const bdl_error_info *e = bdl_error_of(b);
  assert_string_equal(e->file, "host.lua");
  assert_int_equal(e->line, 2);
  assert_non_null(strstr(e->message, "float32[2]"));
  t_failed(b, bdl_function_call(find(b, "g"), &in, 1, NULL, 0), "Error", "host.lua:4: no");
  assert_string_equal(e->message, "no");
  assert_int_equal(e->line, 4);
  t_failed(b, bdl_function_call(find(b, "h"), &in, 1, NULL, 0), "Error", "table");
  bdl_close(b);
}

/* What the model keeps of the host's memory: copied, or refused. */
static void loans_end_with_the_call(void **state) {
  (void)state;
  bdl *b = t_open("local s, kept, view = bdl.State(bdl.zeros(64)), nil, nil\n"
                  "return {put = function(x) s.value = x end, get = function() return s.value end,\n"
                  "  keep = function(x) kept = x end, kept = function() return kept * 2 end, jit = bdl.jit(function(x) return x + 1 end),\n"
                  "  again = function() return bdl.jit(function(x) return x * 2 end)(kept) end, text = function() return kept:item() end,\n"
                  "  view = function(x) view = x[{{2, 3}}] end, seen = function() return view end}");
  static _Alignas(64) float x[80], y[64];
  bdl_array in = bdl_vector(BDL_FLOAT32, x, 64), out = bdl_vector(BDL_FLOAT32, y, 64);
  in.flags = BDL_PADDED;
  for (int i = 0; i < 64; i++) x[i] = (float)i;
  t_done(b, bdl_function_call(find(b, "put"), &in, 1, NULL, 0));
  t_done(b, bdl_function_call(find(b, "view"), &in, 1, NULL, 0));
  t_done(b, bdl_function_call(find(b, "keep"), &in, 1, NULL, 0));
  memset(x, 0, sizeof x);
  t_done(b, bdl_function_call(find(b, "get"), NULL, 0, &out, 1));
  assert_true(y[63] == 63);
  bdl_array seen = {0};
  t_done(b, bdl_function_call(find(b, "seen"), NULL, 0, &seen, 1));
  t_floats(seen.data, (float[]){1, 2}, 2);
  t_failed(b, bdl_function_call(find(b, "kept"), NULL, 0, &out, 1), "ValueError", "after the call that it was lent for");
  t_failed(b, bdl_function_call(find(b, "again"), NULL, 0, &out, 1), "ValueError", "after the call that it was lent for");
  t_failed(b, bdl_function_call(find(b, "text"), NULL, 0, &out, 1), "ValueError", "after the call that it was lent for");
  t_done(b, bdl_function_call(find(b, "jit"), &in, 1, &out, 1));
  bdl_close(b);
}

static void methods_and_models_are_functions(void **state) {
  (void)state;
  bdl *b = t_open("bdl.random.seed(1)\nlocal net = bdl.nn.Sequential(bdl.nn.Linear(3, 8), bdl.nn.Linear(8, 2))\n"
                  "rawset(_G, 'net', net)\nreturn {models = {net}}");
  float x[3] = {1, 2, 3}, y[4][2];
  const char *paths[4] = {"net", "net.update", "models[1]", "models.1.update"};
  const bdl_array in = bdl_vector(BDL_FLOAT32, x, 3);
  for (int i = 0; i < 4; i++) {
    bdl_array out = bdl_vector(BDL_FLOAT32, y[i], 2);
    t_done(b, bdl_function_call(find(b, paths[i]), &in, 1, &out, 1));
    t_floats(y[i], y[0], 2);
  }
  assert_true(y[0][0] != 0);
  t_failed(b, !bdl_function_find(b, "net.updat"), "KeyError", "");
  bdl_close(b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(numbers_go_in_and_out),
    cmocka_unit_test(every_dtype_and_rank_goes_through),
    cmocka_unit_test(units_are_checked_and_scaled),
    cmocka_unit_test(what_the_host_gets_wrong_is_an_error),
    cmocka_unit_test(errors_of_models_have_their_line),
    cmocka_unit_test(loans_end_with_the_call),
    cmocka_unit_test(methods_and_models_are_functions),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

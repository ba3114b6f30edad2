/*
** w8_bdl.c -- W8 without Lua: a host's runs of a program bound to its memory.      usage: w8_bdl calls repeat
*/
#include <stdio.h>
#include <stdlib.h>

#include "bdl.h"
#include "timing.h"

static const char MODEL[] =
  "local V, g, decay = bdl.HiddenState(bdl.full({3}, -55.0)), bdl.HiddenState(bdl.zeros(3)), math.exp(-0.1 / 20)\n"
  "local function step(x)\n"
  "  g.value = 0.98*g.value + 0.1*x\n"
  "  local v = -60 + (V.value + 60)*decay - 0.005*g.value*V.value\n"
  "  V.value = bdl.where(v:ge(-50), -60, v)\n"
  "  return V.value\n"
  "end\n"
  "return {step = step, V = V, g = g}\n";

enum { MOST = 999 };

static void check(bdl *b, int failed) {
  if (!failed) return;
  fprintf(stderr, "w8_bdl: %s\n", bdl_error_text(b));
  exit(1);
}

int main(int argc, char **argv) {
  const int calls = argc > 2 ? atoi(argv[1]) : 0, repeat = argc > 2 ? atoi(argv[2]) : 0;
  if (calls < 1 || repeat < 1 || repeat > MOST) {
    fprintf(stderr, "usage: w8_bdl calls repeat\n");
    return 2;
  }
  float I[3] = {0.1f, 0.2f, 0.3f}, V0[3] = {-55, -55, -55}, g0[3] = {0}, result[3];
  const bdl_array in = bdl_vector(BDL_FLOAT32, I, 3), out = bdl_vector(BDL_FLOAT32, result, 3);
  const bdl_array start_V = bdl_vector(BDL_FLOAT32, V0, 3), start_g = bdl_vector(BDL_FLOAT32, g0, 3);
  double t[MOST];
  bdl_options o = bdl_defaults();
  o.threads = 1;
  const double begin = now();
  bdl *b = bdl_open(&o);
  if (!b) return 1;
  check(b, bdl_run_string(b, MODEL, "w8_bdl"));
  bdl_cell *V = bdl_cell_find(b, "V"), *g = bdl_cell_find(b, "g");
  bdl_program *p = bdl_program_new(bdl_function_find(b, "step"), &in, 1, &out, 1);
  check(b, !p || !V || !g);
  const double made = now() - begin;
  for (int r = 0; r < repeat; r++) {
    check(b, bdl_cell_write(V, &start_V));
    check(b, bdl_cell_write(g, &start_g));
    const double t0 = now();
    for (int k = 0; k < calls; k++) check(b, bdl_program_run(p));
    t[r] = now() - t0;
  }
  sort_times(t, repeat);
  printf("{\"peer\":\"bdl-C-1t\",\"workload\":\"W8\",\"n\":3,\"steps\":%d,\"compile_s\":%.6g,\"run_s\":%.6g,\"min_s\":%.6g,"
         "\"max_s\":%.6g,\"repeats\":%d,\"us_per_call\":%.4g,\"check\":%.6g}\n",
         calls, made, t[repeat / 2], t[0], t[repeat - 1], repeat, t[repeat / 2] / calls * 1e6, (double)result[0]);
  bdl_close(b);
  return 0;
}

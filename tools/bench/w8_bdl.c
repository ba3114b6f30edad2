/*
** w8_bdl.c -- W8 without Lua: a host's calls of one plan whose States it holds.      usage: w8_bdl calls repeat
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/context.h"
#include "exec/exec_context.h"
#include "timing.h"

static const char PROGRAM[] =
  "program step(I:f32[3], g:f32[3], V:f32[3]) {\n"
  "  a:f32[3] = mul 0.98:f32 g\n"
  "  b:f32[3] = mul 0.1:f32 I\n"
  "  c:f32[3] = add a b\n"
  "  d:f32[3] = add V 60.0:f32\n"
  "  e:f32[3] = mul d 0.99501246:f32\n"
  "  f:f32[3] = add -60.0:f32 e\n"
  "  h:f32[3] = mul 0.005:f32 c\n"
  "  i:f32[3] = mul h V\n"
  "  j:f32[3] = sub f i\n"
  "  k:bool[3] = ge j -50.0:f32\n"
  "  l:f32[3] = select k -60.0:f32 j\n"
  "  return l, c, l\n"
  "}\n";

enum { I, G, V, N };
enum { MOST = 999 };

static void check(bdl_context *c, bdl_status s) {
  if (s == BDL_OK) return;
  fprintf(stderr, "w8_bdl: %s\n", bdl_last_error(c)->message);
  exit(1);
}

static void fill(const bdl_tensor *t, float a, float b, float c) {
  memcpy(bdl_tensor_data(t), (float[3]){a, b, c}, 3 * sizeof(float));
}

/* One call.  A State's memory goes in as operand and out as the result that replaces it. */
static void step(bdl_context *c, bdl_plan *plan, bdl_tensor *x, bdl_tensor *result) {
  bdl_tensor out[N] = {{.buf = NULL}};
  for (int k = G; k < N; k++)
    if (plan->inplace[k]) out[k] = bdl_tensor_ref(&x[k]);
  check(c, bdl_exec_run(plan, x, out));
  for (int k = G; k < N; k++) {
    bdl_tensor_unref(&x[k]);
    x[k] = out[k];
  }
  bdl_tensor_unref(result);
  *result = out[0];
}

int main(int argc, char **argv) {
  const int calls = argc > 2 ? atoi(argv[1]) : 0, repeat = argc > 2 ? atoi(argv[2]) : 0;
  if (calls < 1 || repeat < 1 || repeat > MOST) {
    fprintf(stderr, "usage: w8_bdl calls repeat\n");
    return 2;
  }
  bdl_context *c = bdl_context_new(NULL, NULL);
  bdl_prog *p;
  bdl_plan *plan;
  bdl_exec_context *e;
  bdl_tensor x[N], result = {.buf = NULL};
  double t[MOST];
  if (!c) return 1;
  c->threads = 1;
  const double begin = now();
  check(c, bdl_exec_get(c, &e));
  check(c, bdl_ir_parse(c, PROGRAM, sizeof PROGRAM - 1, &p));
  check(c, bdl_plan_new(c, p, (int32_t[]){-1, G, V}, &plan));
  const bdl_aval type = *bdl_aval_of(p, p->inputs.v[0]);
  bdl_prog_unref(p);
  for (int k = 0; k < N; k++) check(c, bdl_tensor_new(bdl_device_cpu(c), &type, &x[k]));
  fill(&x[I], 0.1f, 0.2f, 0.3f);
  const double made = now() - begin;
  for (int r = 0; r < repeat; r++) {
    fill(&x[G], 0, 0, 0);
    fill(&x[V], -55, -55, -55);
    const double t0 = now();
    for (int k = 0; k < calls; k++) step(c, plan, x, &result);
    t[r] = now() - t0;
  }
  sort_times(t, repeat);
  printf("{\"peer\":\"bdl-C-1t\",\"workload\":\"W8\",\"n\":3,\"steps\":%d,\"compile_s\":%.6g,\"run_s\":%.6g,\"min_s\":%.6g,"
         "\"max_s\":%.6g,\"repeats\":%d,\"us_per_call\":%.4g,\"check\":%.6g}\n",
         calls, made, t[repeat / 2], t[0], t[repeat - 1], repeat, t[repeat / 2] / calls * 1e6,
         (double)((const float *)bdl_tensor_data(&result))[0]);
  bdl_tensor_unref(&result);
  for (int k = 0; k < N; k++) bdl_tensor_unref(&x[k]);
  bdl_plan_free(plan);
  bdl_context_free(c);
  return 0;
}

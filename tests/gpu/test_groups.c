/*
** Fused groups of which a thread takes four elements at once: the bits of the interpreter tier, whatever the dtypes, views, offsets and
** numbers of threads, also where four do not divide the elements.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../exec/programs.h"
#include "../ir/text.h"
#include "../support/gpu.h"
#include "base/context.h"
#include "gpu/program.h"

static void set_threads(const char *processors, const char *threads, const char *order) {
  setenv("FAKE_CUDA_SMS", processors, 1);
  setenv("FAKE_CUDA_THREADS", threads, 1);
  setenv("FAKE_CUDA_ORDER", order, 1);
}

/* `T` in the text: the shape. */
static bdl_plan *plan_of(bdl_context *c, const char *text, const char *shape) {
  bdl_plan *plan;
  bdl_prog *p;
  bdl_str s;
  bdl_str_init(&s, c);
  for (; *text; text++)
    if (*text == 'T') bdl_str_addf(&s, "%s", shape);
    else bdl_str_add(&s, text, 1);
  if (bdl_ir_parse(c, s.s, (size_t)s.n, &p) != BDL_OK) fail_msg("%s\n%s", bdl_last_error(c)->message, s.s);
  bdl_str_fini(&s);
  t_check(c, bdl_plan_new(c, p, NULL, &plan));
  bdl_prog_unref(p);
  return plan;
}

static void agrees(bdl_context *c, bdl_plan *plan, const char *what, uint64_t seed) {
  bdl_tensor in[MANY], there[MANY], here[MANY];
  uint64_t rng = seed;
  for (int k = 0; k < plan->n_in; k++) in[k] = t_random_tensor(c, bdl_aval_of(plan->prog, plan->prog->inputs.v[k]), -2, 2, &rng);
  t_check(c, t_gpu_both(plan, in, there, here));
  t_same_bits(there, here, plan->n_out, what, seed);
  t_drop(there, plan->n_out);
  t_drop(here, plan->n_out);
  t_drop(in, plan->n_in);
}

static bool has(bdl_context *c, bdl_plan *plan, const char *words) {
  bdl_str s;
  bdl_str_init(&s, c);
  t_check(c, bdl_gpu_describe(plan, &s));
  const bool found = strstr(s.s, words) != NULL;
  bdl_str_fini(&s);
  return found;
}

/* by: what the text must call. */
static void of_shapes(const char *text, const char *what, const char *by, const char *const *shapes, int n) {
  static const char *const grids[][3] = {{"2", "64", "forward"}, {"3", "96", "backward"}};
  for (int k = 0; k < n; k++) {
    const char *const *grid = grids[k % 2];
    set_threads(grid[0], grid[1], grid[2]);
    bdl_context *c = t_gpu_context();
    bdl_plan *plan = plan_of(c, text, shapes[k]);
    if (!has(c, plan, by)) fail_msg("%s of %s: no %s", what, shapes[k], by);
    agrees(c, plan, what, (uint64_t)k + 1);
    bdl_plan_free(plan);
    bdl_context_free(c);
  }
}

/* 2^20 and what is next to it. */
static const char *const lines[] = {"1048576", "1048577", "1048578", "1049091", "2097152"};

static void elements_agree(void **state) {
  static const char text[] =
    "program p(x:f32[T], y:f64[T], b:bool[T], k:i64[T], i:i32[T], s:f32[]) {\n"
    "  a:f32[T] = mul x s\n  c:f32[T] = add a x\n  g:bool[T] = gt c s\n  e:f32[T] = select g c x\n"
    "  d:f64[T] = cast[dtype=f64] e\n  m:f64[T] = add d y\n  l:i64[T] = add k k\n  q:bool[T] = and b g\n"
    "  j:i32[T] = iota[shape=(T) axis=0 dtype=i32]\n  t:i32[T] = add j i\n  return e, m, l, q, t\n}";
  (void)state;
  of_shapes(text, "elements", "fetch_f32(", lines, BDL_LEN(lines));
}

static void functions_agree(void **state) {
  static const char text[] =
    "program p(x:f32[T], key:u32[2]) {\n  a:f32[T] = exp x\n  c:f32[T] = tanh a\n  d:f32[T] = sigmoid c\n  e:f32[T] = log a\n"
    "  r:u32[T] = random_bits[shape=(T) dtype=u32] key\n  return d, e, r\n}";
  (void)state;
  of_shapes(text, "functions", "fetch_f32(", lines, 2);
}

static void events_agree(void **state) {
  static const char text[] =
    "program p(x:f32[T], y:f32[T]) {\n  s:f32[T] = add x y\n  g:bool[T] = gt s 1.5:f32\n  i:i32[T], n:i32[] = event_ids g\n"
    "  v:f32[T] = select g y s\n  h:bool[T] = lt v -1.0:f32\n  j:i32[T], m:i32[] = event_ids h\n  return i, n, v, m\n}";
  (void)state;
  of_shapes(text, "event_ids", "fetch_f32(", lines, BDL_LEN(lines));
}

static void reductions_agree(void **state) {
  static const char text[] =
    "program p(x:f32[T], y:f64[T], b:bool[T], k:i32[T]) {\n  s:f32[T] = add x x\n  g:bool[T] = gt s 1.5:f32\n"
    "  i:i32[T], n:i32[] = event_ids g\n  v:f32[T] = select b s x\n  a:f32[] = reduce_sum[axes=(0)] v\n"
    "  c:f32[] = reduce_max[axes=(0)] v\n  w:f64[T] = mul y y\n  d:f64[] = reduce_sum[axes=(0)] w\n"
    "  e:bool[] = reduce_and[axes=(0)] b\n  f:i32[] = reduce_prod[axes=(0)] k\n  return i, n, v, a, c, d, e, f\n}";
  static const char *const shapes[] = {"1", "17", "511", "513", "1024", "16448", "70001", "1048577"};
  (void)state;
  of_shapes(text, "event_ids", "fetch_apart_f32(", shapes, BDL_LEN(shapes));
}

/* What starts at an odd place is read one by one. */
static void parts_agree(void **state) {
  static const char text[] =
    "program p(x:f32[1048580], y:f32[1048580], b:bool[1048581]) {\n"
    "  a:f32[1048577] = slice[start=(3) stop=(1048580) step=(1)] x\n  c:f32[1048577] = slice[start=(1) stop=(1048578) step=(1)] y\n"
    "  q:bool[1048577] = slice[start=(4) stop=(1048581) step=(1)] b\n  z:f32[1048577] = select q a c\n  return z\n}";
  static const char *const shapes[] = {"", ""}; /* two grids */
  (void)state;
  of_shapes(text, "parts", "fetch_f32(", shapes, BDL_LEN(shapes));
}

static void views_agree(void **state) {
  static const char text[] =
    "program p(x:f32[1031,T], row:f32[T], column:f32[1031,1], turned:f32[T,1031], deep:f64[3,1031,T], flat:f64[1031,T]) {\n"
    "  r:f32[1031,T] = broadcast[shape=(1031,T) dims=(1)] row\n  a:f32[1031,T] = add x r\n"
    "  l:f32[1031,T] = broadcast[shape=(1031,T) dims=(0,1)] column\n  c:f32[1031,T] = mul a l\n"
    "  t:f32[1031,T] = permute[axes=(1,0)] turned\n  d:f32[1031,T] = sub c t\n"
    "  w:f64[3,1031,T] = broadcast[shape=(3,1031,T) dims=(1,2)] flat\n  e:f64[3,1031,T] = add deep w\n  return d, e\n}";
  static const char *const shapes[] = {"1020", "1021", "1022", "1024"};
  (void)state;
  of_shapes(text, "views", "fetch_f32(", shapes, BDL_LEN(shapes));
}

/* Groups one behind the other without a barrier: each element stays with its thread. */
static void chains_agree(void **state) {
  (void)state;
  set_threads("3", "96", "backward");
  bdl_context *c = t_gpu_context();
  bdl_str s;
  bdl_str_init(&s, c);
  bdl_str_addf(&s, "program p(x0:f32[1048579]) {\n");
  for (int k = 0; k < 300; k++)
    bdl_str_addf(&s, "  x%d:f32[1048579] = %s x%d %s\n", k + 1, k % 2 ? "sub" : "mul", k, k % 2 ? "0.75:f32" : k % 4 ? "x0" : "1.5:f32");
  bdl_str_addf(&s, "  g:bool[1048579] = gt x300 0.0:f32\n  i:i32[1048579], n:i32[] = event_ids g\n  return i, n, x300\n}");
  bdl_plan *plan = plan_of(c, s.s, "");
  agrees(c, plan, "event_ids", 1);
  bdl_plan_free(plan);
  bdl_str_fini(&s);
  bdl_context_free(c);
}

/* 20 operands and as many results, and events and a sum of them: more than a thread holds. */
static void many_operands_agree(void **state) {
  static const int sizes[] = {1048579, 70001, 513};
  (void)state;
  set_threads("3", "96", "backward");
  for (int k = 0; k < BDL_LEN(sizes); k++)
    for (int sums = 0; sums < 2; sums++) {
      bdl_context *c = t_gpu_context();
      const int n = sizes[k];
      bdl_str s;
      bdl_str_init(&s, c);
      bdl_str_addf(&s, "program p(x0:f32[%d]", n);
      for (int i = 1; i < 20; i++) bdl_str_addf(&s, ", x%d:f32[%d]", i, n);
      bdl_str_addf(&s, ") {\n");
      for (int i = 0; i < 20; i++) bdl_str_addf(&s, "  y%d:f32[%d] = mul x%d x%d\n", i, n, i, (i + 7) % 20);
      bdl_str_addf(&s, "  g:bool[%d] = gt y3 0.5:f32\n  i:i32[%d], n:i32[] = event_ids g\n", n, n);
      if (sums) bdl_str_addf(&s, "  a:f32[] = reduce_sum[axes=(0)] y5\n");
      bdl_str_addf(&s, "  return i, n");
      for (int i = 0; i < 20; i++) bdl_str_addf(&s, ", y%d", i);
      bdl_str_addf(&s, sums ? ", a\n}" : "\n}");
      bdl_plan *plan = plan_of(c, s.s, "");
      agrees(c, plan, "event_ids", (uint64_t)k);
      bdl_plan_free(plan);
      bdl_str_fini(&s);
      bdl_context_free(c);
    }
}

int main(void) {
  setenv("BDL_BLAS", "none", 1);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(elements_agree), cmocka_unit_test(functions_agree), cmocka_unit_test(events_agree), cmocka_unit_test(reductions_agree),
    cmocka_unit_test(parts_agree), cmocka_unit_test(views_agree), cmocka_unit_test(chains_agree),
    cmocka_unit_test(many_operands_agree),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

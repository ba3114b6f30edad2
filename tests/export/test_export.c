/*
** Exported C: the bits of the interpreter tier over every primitive, random programs and loops, compiled with warnings as errors
** and run under sanitizers; what is refused, and why; failed allocations.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../exec/programs.h"
#include "../exec/rings.h"
#include "../ir/cases.h"
#include "../ir/text.h"
#include "../support/faults.h"
#include "exec/native.h"
#include "export/export.h"

enum { MOST = 1200 };

/* Functions f0, f1, .. of one file; their operands are read from the standard input, their results written. */
typedef struct bundle {
  bdl_context *c;
  int n;
  bdl_plan *plan[MOST];
  bdl_tensor in[MOST][MANY], want[MOST][MANY];
  char name[MOST][32], what[MOST][32];
  uint64_t seed[MOST];
  bdl_export_fn fn[MOST];
  bool fails[MOST]; /* a check of its own stops it: then it returns a number */
} bundle;

static const char *const names[] = {
  "a0",  "a1",  "a2",  "a3",  "a4",  "a5",  "a6",  "a7",  "a8",  "a9",  "a10", "a11", "a12", "a13", "a14", "a15",
  "a16", "a17", "a18", "a19", "a20", "a21", "a22", "a23", "a24", "a25", "a26", "a27", "a28", "a29", "a30", "a31"};

static bdl_export_value *values_of(const bdl_prog *p, const bdl_atom *x, int n, int first) {
  bdl_export_value *v = calloc((size_t)n + 1, sizeof *v);
  for (int k = 0; k < n; k++) v[k] = (bdl_export_value){names[first + k], "", *bdl_aval_of(p, x[k])};
  return v;
}

/* A function that is a plan alone: no States. */
static bdl_export_fn function_of(const char *name, const bdl_plan *plan) {
  static int32_t count[MANY];
  const bdl_prog *p = plan->prog;
  for (int k = 0; k < MANY; k++) count[k] = k;
  return (bdl_export_fn){.name = name, .plan = plan, .n_args = plan->n_in, .n_results = plan->n_out, .in = count, .out = count,
                         .args = values_of(p, p->inputs.v, plan->n_in, 0),
                         .results = values_of(p, p->outputs, plan->n_out, plan->n_in)};
}

static void function_free(bdl_export_fn *fn) {
  free((void *)(uintptr_t)fn->args);
  free((void *)(uintptr_t)fn->results);
}

static bdl_status try_export(bdl_context *c, const bdl_export_fn *fn, bool own_math) {
  const bdl_export x = {.name = "one", .model = "a test", .own_math = own_math, .fns = fn, .n_fns = 1};
  bdl_exported out;
  const bdl_status s = bdl_export_write(c, &x, &out);
  if (s == BDL_OK) bdl_exported_free(c, &out);
  return s;
}

/* One more function, if it can be exported; takes the operands.  Its status. */
static bdl_status add(bundle *b, bdl_prog *p, bdl_tensor *in, const char *what, uint64_t seed) {
  bdl_context *c = b->c;
  const int k = b->n;
  bdl_plan *plan;
  assert_true(k < MOST);
  const bdl_status planned = bdl_plan_new(c, p, NULL, &plan);
  if (planned != BDL_OK) {
    t_drop(in, (int)p->inputs.n);
    return planned;
  }
  snprintf(b->name[k], sizeof b->name[k], "f%d", k);
  snprintf(b->what[k], sizeof b->what[k], "%.24s", what);
  b->seed[k] = seed;
  b->fn[k] = function_of(b->name[k], plan);
  const bdl_status s = try_export(c, &b->fn[k], true);
  if (s != BDL_OK) {
    function_free(&b->fn[k]);
    bdl_plan_free(plan);
    t_drop(in, (int)p->inputs.n);
    return s;
  }
  b->plan[k] = plan;
  memcpy(b->in[k], in, (size_t)p->inputs.n * sizeof *in);
  b->fails[k] = bdl_exec_run(plan, in, b->want[k]) != BDL_OK;
  b->n++;
  return BDL_OK;
}

static const char *const ctypes[BDL_DTYPE_COUNT] = {"uint8_t", "int32_t", "int64_t", "uint32_t", "float", "double"};

static void write_file(const char *folder, const char *name, const char *text, size_t n) {
  char path[T_FOLDER + 32];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(text, 1, n, f), n);
  fclose(f);
}

static void driver(const bundle *b, bdl_str *o) {
  bdl_str_addf(o, "#include \"all.h\"\n#include <stdio.h>\nstatic all_scratch w;\nstatic all_state s;\nint main(void) {\n");
  for (int k = 0; k < b->n; k++) {
    const bdl_export_fn *fn = &b->fn[k];
    bdl_str_addf(o, "  {\n");
    for (int i = 0; i < fn->n_args + fn->n_results; i++) {
      const bdl_aval *a = i < fn->n_args ? &fn->args[i].aval : &fn->results[i - fn->n_args].aval;
      bdl_str_addf(o, "    static %s v%d[%d];\n", ctypes[a->dtype], i, (int)BDL_MAX(bdl_aval_numel(a), 1));
      if (i < fn->n_args) bdl_str_addf(o, "    if (fread(v%d, 1, %zu, stdin) != %zu) return 1;\n", i, bdl_aval_bytes(a), bdl_aval_bytes(a));
    }
    bdl_str_addf(o, "    if (all_%s(&s, &w", fn->name);
    for (int i = 0; i < fn->n_args + fn->n_results; i++) bdl_str_addf(o, ", v%d", i);
    bdl_str_addf(o, ") %s 0) { fprintf(stderr, \"%s\\n\"); return 1; }\n", b->fails[k] ? "==" : "!=", b->what[k]);
    for (int i = 0; i < fn->n_results && !b->fails[k]; i++)
      bdl_str_addf(o, "    fwrite(v%d, 1, %zu, stdout);\n", fn->n_args + i, bdl_aval_bytes(&fn->results[i].aval));
    bdl_str_addf(o, "  }\n");
  }
  bdl_str_addf(o, "  return 0;\n}\n");
}

static void compare(bundle *b, const char *folder) {
  char path[T_FOLDER + 32];
  snprintf(path, sizeof path, "%s/out", folder);
  FILE *f = fopen(path, "rb");
  assert_non_null(f);
  for (int k = 0; k < b->n; k++) {
    const bdl_export_fn *fn = &b->fn[k];
    bdl_tensor got[MANY];
    if (b->fails[k]) continue;
    for (int i = 0; i < fn->n_results; i++) {
      uint64_t rng = 1;
      got[i] = t_random_tensor(b->c, &fn->results[i].aval, 0, 1, &rng);
      const size_t n = bdl_aval_bytes(&fn->results[i].aval);
      assert_int_equal(fread(bdl_tensor_data(&got[i]), 1, n, f), n);
    }
    t_same_bits(b->want[k], got, fn->n_results, b->what[k], b->seed[k]);
    t_drop(got, fn->n_results);
  }
  assert_int_equal(fgetc(f), EOF);
  fclose(f);
}

/* Compiles all functions, runs them, compares.  Frees the bundle's. */
static void close_bundle(bundle *b, const char *flags) {
  bdl_context *c = b->c;
  const bdl_export x = {.name = "all", .model = "a test", .own_math = true, .fns = b->fn, .n_fns = b->n};
  bdl_exported out;
  bdl_str o;
  char folder[T_FOLDER], command[512];
  t_new_folder(folder);
  t_check(c, bdl_export_write(c, &x, &out));
  write_file(folder, "all.c", out.source.s, (size_t)out.source.n);
  write_file(folder, "all.h", out.header.s, (size_t)out.header.n);
  bdl_exported_free(c, &out);
  bdl_str_init(&o, c);
  driver(b, &o);
  write_file(folder, "main.c", o.s, (size_t)o.n);
  o.n = 0;
  for (int k = 0; k < b->n; k++)
    for (int i = 0; i < b->fn[k].n_args; i++) bdl_str_add(&o, bdl_tensor_data(&b->in[k][i]), (int64_t)bdl_aval_bytes(&b->in[k][i].aval));
  write_file(folder, "in", o.s ? o.s : "", (size_t)o.n);
  bdl_str_fini(&o);
  snprintf(command, sizeof command, "cc -std=c99 -Wall -Wextra -pedantic -Werror %s -o run main.c all.c && ./run < in > out", flags);
  t_in_folder(folder, command);
  compare(b, folder);
  t_in_folder(folder, "rm -rf $PWD");
  for (int k = 0; k < b->n; k++) {
    t_drop(b->in[k], b->fn[k].n_args);
    if (!b->fails[k]) t_drop(b->want[k], b->fn[k].n_results);
    function_free(&b->fn[k]);
    bdl_plan_free(b->plan[k]);
  }
  free(b);
}

static bundle *open_bundle(bdl_context *c) {
  bundle *b = calloc(1, sizeof *b);
  assert_non_null(b);
  b->c = c;
  t_tier(c, "interp");
  return b;
}

/* Is the error that a function of SLEEF has no form of our own? */
static bool needs_libm(bdl_context *c) { return strstr(bdl_last_error(c)->message, "of math.h") != NULL; }

static void every_primitive_agrees_or_is_refused(void **state) {
  bdl_context *c = *state;
  bundle *b = open_bundle(c);
  int refused = 0, by_libm = 0;
  for (int prim = 0; prim < BDL_P_COUNT; prim++) {
    int done = 0, cases = 0, libm = 0;
    for (uint64_t seed = 1; seed <= 6; seed++) {
      t_case t;
      uint64_t rng = seed * 77 + (uint64_t)prim;
      bdl_tensor in[8];
      if (!t_case_new(c, (bdl_prim_id)prim, seed, BDL_DTYPE_COUNT, &t)) continue;
      cases++;
      for (int i = 0; i < t.p->inputs.n; i++)
        in[i] = t_random_tensor(c, bdl_aval_of(t.p, t.p->inputs.v[i]), t.lo[i], t.hi[i], &rng);
      const bdl_status s = add(b, t.p, in, bdl_prims[prim].name, seed);
      if (s == BDL_OK) done++;
      else if (bdl_export_refusal((bdl_prim_id)prim)) {
        if (prim != BDL_P_transposed) assert_non_null(strstr(bdl_last_error(c)->message, bdl_prims[prim].name)); /* no plan has it */
        assert_int_equal(s, BDL_ENOTSUP);
        refused++;
      } else if (s == BDL_ENOTSUP && needs_libm(c)) {
        libm++;
      } else if (prim == BDL_P_csr_scatter) { /* rows listed by an operand could be any; those of csr_dot come from events */
        assert_non_null(strstr(bdl_last_error(c)->message, "its ids are not those of events"));
        refused++;
      } else
        fail_msg("%s, seed %d: %s", bdl_prims[prim].name, (int)seed, bdl_last_error(c)->message);
      bdl_prog_unref(t.p);
    }
    if (cases && !done && !libm && prim != BDL_P_csr_scatter && !bdl_export_refusal((bdl_prim_id)prim)) fail_msg("no case of %s", bdl_prims[prim].name);
    by_libm += libm > 0;
  }
  assert_true(refused > 0 && b->n > 500 && by_libm < 24);
  close_bundle(b, "-O1 -fsanitize=address,undefined -fno-sanitize-recover=all");
}

static void random_programs_and_loops_agree(void **state) {
  bdl_context *c = *state;
  bundle *b = open_bundle(c);
  for (uint64_t seed = 1; seed <= 40; seed++) {
    bdl_tensor in[MANY];
    int32_t pair[8];
    uint64_t rng = seed;
    bdl_prog *p = seed % 3 == 0 ? t_random_program(c, seed) : seed % 3 == 1 ? t_random_scan(c, seed, pair) : t_random_rings(c, seed, pair);
    if (seed % 3 == 0) t_random_inputs(p, in, &rng);
    else t_inputs_of(p, in);
    const bdl_status s = add(b, p, in, seed % 3 == 0 ? "program" : seed % 3 == 1 ? "scan" : "rings", seed);
    if (s != BDL_OK && !needs_libm(c)) fail_msg("seed %d: %s", (int)seed, bdl_last_error(c)->message);
    bdl_prog_unref(p);
  }
  assert_true(b->n > 10);
  close_bundle(b, "-O2");
}

/* A State w that a loop writes, constants, events, passes over arrays. */
static const char LEARNS[] =
  "program p(w:f32[3], s:bool[4]) {\n"
  "  const i:i32[5] = [0 2 1 0 0]\n"
  "  const q:i32[5] = [0 2 3 3 5]\n"
  "  z:f32[3] = scan[consts=3 carry=1 length=3 reverse=0 body={program b(s:bool[4], i:i32[5], q:i32[5], y:f32[3]) {\n"
  "    one:f32[1] = broadcast[shape=(1) dims=()] 1.0:f32\n"
  "    x:f32[3] = csr_dot[rows=4 cols=3 transpose=0 event=1] s one i q\n"
  "    e:f32[3] = exp y\n"
  "    n:f32[] = reduce_sum[axes=(0)] e\n"
  "    m:f32[3] = mul n x\n"
  "    r:f32[3] = add m y\n"
  "    return r\n  }}] s i q w\n  return z\n}\n";

static bdl_status whole(bdl_context *c) {
  static const int32_t in[] = {~0, 0}, result[] = {~0}, pair[] = {0};
  const float start[3] = {1, 2, 3};
  bdl_prog *p;
  bdl_plan *plan;
  TRY(bdl_native_set_tier(c, "interp"));
  TRY(bdl_ir_parse(c, LEARNS, strlen(LEARNS), &p));
  bdl_status s = bdl_plan_new(c, p, pair, &plan);
  if (s == BDL_OK) {
    const bdl_export_value arg = {"s", "", *bdl_aval_of(p, p->inputs.v[1])};
    const bdl_export_leaf w = {{"w", "w", *bdl_aval_of(p, p->inputs.v[0])}, start, true};
    const bdl_export_fn fn = {.name = "step", .plan = plan, .args = &arg, .n_args = 1, .in = in, .out = result};
    const bdl_export x = {.name = "net", .model = "a test", .own_math = true, .fns = &fn, .leaves = &w, .n_fns = 1, .n_leaves = 1};
    bdl_exported out;
    s = bdl_export_write(c, &x, &out);
    if (s == BDL_OK) {
      assert_non_null(strstr(out.header.s, "int net_step("));
      bdl_exported_free(c, &out);
    }
    bdl_plan_free(plan);
  }
  bdl_prog_unref(p);
  return s;
}

static void failed_allocations_leave_nothing(void **state) {
  (void)state;
  for (int persistent = 0; persistent < 2; persistent++) assert_true(t_survive(whole, persistent) > 50);
}

int main(void) {
  setenv("BDL_BLAS", "none", 1); /* products by our own loops: the library's bits are its own */
  const struct CMUnitTest tests[] = {
    T_TEST(every_primitive_agrees_or_is_refused), T_TEST(random_programs_and_loops_agree),
    cmocka_unit_test(failed_allocations_leave_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
** Products, convolutions, traces and factorisations on a GPU are those of the CPU: bit for bit, but for what a library makes.
*/
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../exec/programs.h"
#include "../ir/cases.h"
#include "../ir/text.h"
#include "../support/gpu.h"
#include "../support/random.h"
#include "gpu/resident.h"

/* ---- both ------------------------------------------------------------------------------------------------------------ */

/* From -1 to 1, some of them 0; integers 0 to 3. */
static void operands(bdl_prog *p, bdl_tensor *in) {
  uint64_t rng = 7;
  for (int64_t k = 0; k < p->inputs.n; k++) {
    const bdl_aval *a = bdl_aval_of(p, p->inputs.v[k]);
    const bool real = bdl_dtype_is_float(a->dtype);
    in[k] = t_random_tensor(p->ctx, a, real ? -1 : 0, real ? 1 : a->dtype == BDL_BOOL ? 1 : 3, &rng);
    char *data = bdl_tensor_data(&in[k]);
    for (int64_t i = 0; real && i < bdl_aval_numel(a); i++)
      if (t_random(&rng) % 8 == 0) memset(data + (size_t)i * bdl_dtype_size(a->dtype), 0, bdl_dtype_size(a->dtype));
  }
}

static double element(const bdl_tensor *t, int64_t k) { return bdl_scalar_to_f64(t->aval.dtype, bdl_tensor_at(t, k)); }

static void close_to(const bdl_tensor *got, const bdl_tensor *want, double tolerance, const char *what) {
  double largest = 0;
  for (int64_t k = 0; k < bdl_aval_numel(&want->aval); k++)
    if (isfinite(element(want, k))) largest = fmax(largest, fabs(element(want, k)));
  for (int64_t k = 0; k < bdl_aval_numel(&want->aval); k++) {
    const double x = element(got, k), y = element(want, k);
    if (isnan(x) && isnan(y)) continue;
    if (!(fabs(x - y) <= tolerance * largest)) fail_msg("%s: %.17g, not %.17g, at %lld", what, x, y, (long long)k);
  }
}

/* Drops `in`.  tolerance 0: the same bits; else relative to the largest number of each array. */
static void same_over(bdl_context *c, bdl_prog *p, bdl_tensor *in, double tolerance, const char *what) {
  bdl_tensor there[MANY], here[MANY];
  bdl_plan *plan;
  t_check(c, bdl_gpu_use(c, "gpu"));
  t_check(c, bdl_plan_new(c, p, NULL, &plan));
  t_check(c, t_gpu_both(plan, in, there, here));
  for (int32_t k = 0; k < plan->n_out && tolerance > 0; k++) close_to(&there[k], &here[k], tolerance, what);
  if (tolerance <= 0) t_same_bits(there, here, plan->n_out, what, 0);
  t_drop(in, plan->n_in);
  t_drop(there, plan->n_out);
  t_drop(here, plan->n_out);
  bdl_plan_free(plan);
}

static void same(bdl_context *c, const char *text, double tolerance) {
  bdl_prog *p = t_parse(c, text);
  bdl_tensor in[MANY];
  operands(p, in);
  same_over(c, p, in, tolerance, text);
  bdl_prog_unref(p);
}

/* How many steps of this kind a program has there. */
static int steps(bdl_context *c, const char *text, bdl_gpu_kind kind) {
  bdl_prog *p = t_parse(c, text);
  bdl_plan *plan;
  bdl_gpu_program q;
  t_check(c, bdl_plan_new(c, p, NULL, &plan));
  t_check(c, bdl_gpu_emit(plan, false, &q));
  const int n = t_gpu_count(&q.steps, kind);
  bdl_gpu_program_free(&q);
  bdl_plan_free(plan);
  bdl_prog_unref(p);
  return n;
}

/* ---- products in kernels ------------------------------------------------------------------------------------------ */

/* x [b, m, k] y [b, k, n]; t: x or y are stored transposed.  b 0: no such axis. */
typedef struct shape {
  int b, m, k, n;
  const char *t;
} shape;

static const shape shapes[] = {
  {0, 1, 1, 1, ""},     {0, 5, 7, 3, ""},     {0, 5, 7, 3, "x"},    {0, 5, 7, 3, "y"},     {0, 5, 7, 3, "xy"},
  {0, 1, 300, 40, ""},  {0, 1, 300, 40, "y"}, {0, 2, 19, 33, "x"},  {0, 3, 300, 70, ""},   {0, 40, 300, 1, ""},
  {0, 40, 300, 1, "x"}, {0, 40, 9, 2, ""},    {0, 70, 33, 3, "xy"}, {0, 33, 130, 20, ""},  {0, 33, 130, 20, "x"},
  {0, 9, 64, 65, "y"},  {0, 65, 31, 66, ""},  {0, 65, 31, 66, "x"}, {0, 65, 31, 66, "y"},  {0, 65, 31, 66, "xy"},
  {0, 130, 70, 130, ""},{0, 4, 0, 4, ""},     {3, 9, 20, 17, ""},   {3, 9, 20, 17, "xy"},  {2, 1, 70, 5, "y"},
  {4, 6, 5, 1, ""},     {0, 16, 256, 16, ""}, {0, 4, 512, 24, ""},
};

static void extents(char *to, const shape *s, bool turned, int rows, int columns) {
  to += s->b ? sprintf(to, "%d, ", s->b) : 0;
  sprintf(to, "%d, %d", turned ? columns : rows, turned ? rows : columns);
}

static void all_shapes(bdl_context *c, const char *d) {
  char heads[4000] = "", body[12000] = "", results[400] = "", x[40], y[40], z[40];
  for (int k = 0; k < BDL_LEN(shapes); k++) {
    const shape *s = &shapes[k];
    const bool tx = strchr(s->t, 'x'), ty = strchr(s->t, 'y');
    const int axis = s->b != 0;
    extents(x, s, tx, s->m, s->k), extents(y, s, ty, s->k, s->n), extents(z, s, false, s->m, s->n);
    sprintf(heads + strlen(heads), "%sx%d:%s[%s], y%d:%s[%s]", k ? ", " : "", k, d, x, k, d, y);
    sprintf(body + strlen(body), "  z%d:%s[%s] = dot[lhs_contract=(%d) rhs_contract=(%d) lhs_batch=(%s) rhs_batch=(%s)] x%d y%d\n", k, d, z,
            axis + !tx, axis + ty, axis ? "0" : "", axis ? "0" : "", k, k);
    sprintf(results + strlen(results), "%sz%d", k ? ", " : " ", k);
  }
  char *text = malloc(20000);
  sprintf(text, "program p(%s) {\n%s  return%s\n}\n", heads, body, results);
  same(c, text, 0);
  assert_int_equal(steps(c, text, BDL_G_HOST), 0);
  free(text);
}

static void test_shapes(void **state) {
  static const char *const dtypes[] = {"f32", "f64", "i32", "i64", "u32", "bool"};
  for (int k = 0; k < BDL_LEN(dtypes); k++) all_shapes(*state, dtypes[k]);
}

/* Rows with zeros that are passed over, or are not since y is infinite. */
static void test_spikes(void **state) {
  static const char *const texts[] = {
    "program p(x:f32[3, 3000], y:f32[3000, 70], w:f32[3000, 70], t:f64[1, 130], u:f64[130, 33]) {\n"
    "  f:bool[] = eq 0:f32 0:f32\n  g:bool[] = eq 0:f32 1:f32\n"
    "  z:f32[3, 70] = sparse_dot[lhs_contract=(1) rhs_contract=(0) lhs_batch=() rhs_batch=()] x y f\n"
    "  v:f32[3, 70] = sparse_dot[lhs_contract=(1) rhs_contract=(0) lhs_batch=() rhs_batch=()] x w g\n"
    "  s:f64[1, 33] = sparse_dot[lhs_contract=(1) rhs_contract=(0) lhs_batch=() rhs_batch=()] t u f\n"
    "  return z, v, s\n}\n",
  };
  for (int zeros = 0; zeros < 3; zeros++) {
    bdl_prog *p = t_parse(*state, texts[0]);
    bdl_tensor in[MANY];
    operands(p, in);
    float *const x = bdl_tensor_data(&in[0]), *const w = bdl_tensor_data(&in[2]);
    for (int i = 0; zeros && i < 9000; i++)
      if (zeros == 2 || i % 50 != 7) x[i] = 0;
    w[5] = INFINITY;
    same_over(*state, p, in, 0, "spikes");
    bdl_prog_unref(p);
  }
}

/* ---- products of the library --------------------------------------------------------------------------------------- */

/* 2^27 operations, those of a loop 2^30.  Each of these calls fails once; then all is as before. */
static void failing(bdl_context *c, const char *text, const char *const *functions, int n) {
  bdl_prog *p = t_parse(c, text);
  bdl_tensor in[MANY], out = {0};
  bdl_plan *plan;
  operands(p, in);
  t_check(c, bdl_gpu_use(c, "gpu"));
  t_check(c, bdl_plan_new(c, p, NULL, &plan));
  for (int k = 0; k < n && !t_gpu_is_real(); k++) {
    setenv("FAKE_CUDA_FAIL", functions[k], 1);
    assert_int_equal(bdl_gpu_run(plan, in, &out), BDL_EIO);
    if (!strstr(bdl_last_error(c)->message, "GPU: cuBLAS failed")) fail_msg("%s: %s", functions[k], bdl_last_error(c)->message);
    if (out.buf) bdl_tensor_unref(&out);
    out = (bdl_tensor){0};
  }
  unsetenv("FAKE_CUDA_FAIL");
  t_check(c, bdl_gpu_run(plan, in, &out));
  bdl_tensor_unref(&out);
  t_drop(in, plan->n_in);
  bdl_plan_free(plan);
  bdl_prog_unref(p);
}

static void test_library_fails(void **state) {
  static const char *const functions[] = {"cublasCreate:1", "cublasSetStream:1", "cublasGemmStridedBatchedEx:1"};
  failing(*state, "program p(x:f32[512, 256], y:f32[256, 512]) {\n"
                  "  z:f32[512, 512] = dot[lhs_contract=(1) rhs_contract=(0) lhs_batch=() rhs_batch=()] x y\n  return z\n}\n",
          functions, BDL_LEN(functions));
}

#define ROW(d, x, tx, y, ty)                                                                                                   \
  "program p(x:" d "[" x "], y:" d "[" y "], b:" d "[256]) {\n"                                                              \
  "  z:" d "[512, 256] = dot_add[lhs_contract=(" tx ") rhs_contract=(" ty ") lhs_batch=() rhs_batch=() onto=0] x y b\n  return z\n}\n"

static const char *const rows[] = {ROW("f32", "512, 512", "1", "512, 256", "0"), ROW("f64", "512, 512", "0", "256, 512", "1"),
                                   ROW("f32", "512, 512", "0", "512, 256", "0"), ROW("f64", "512, 512", "1", "256, 512", "1")};

static void all_rows(bdl_context *c) {
  for (int k = 0; k < BDL_LEN(rows); k++) {
    assert_int_equal(steps(c, rows[k], BDL_G_PRODUCT), 1);
    assert_int_equal(steps(c, rows[k], BDL_G_KERNEL), 0);
    same(c, rows[k], 1e-5);
  }
}

/* By the library's epilogue where it has one; where it has none, or is not there, or operands lie anywhere, by a kernel. */
static void test_row_added(void **state) {
  bdl_context *c = *state;
  all_rows(c);
  bdl_cuda *g = bdl_cuda_of(c);
  assert_true(t_gpu_is_real() || g->workspace_size > 0);
  setenv("FAKE_CUDA_NO_EPILOGUE", "1", 1);
  all_rows(c);
  unsetenv("FAKE_CUDA_NO_EPILOGUE");
  void *const library = g->api.blas_lt.handle;
  g->api.blas_lt.handle = NULL;
  all_rows(c);
  g->api.blas_lt.handle = library;

  bdl_prog *p = t_parse(c, rows[0]);
  bdl_tensor in[MANY];
  uint64_t rng = 3;
  operands(p, in);
  const bdl_aval longer = bdl_aval_make(BDL_F32, 1, (int64_t[]){257});
  bdl_tensor_unref(&in[2]);
  in[2] = t_random_tensor(c, &longer, -1, 1, &rng);
  in[2].aval.shape[0] = 256;
  in[2].offset = 1;
  same_over(c, p, in, 1e-5, "a row that is not aligned");
  bdl_prog_unref(p);
}

/* No memory for the library's workspace: as without it. */
static void test_no_workspace(void **state) {
  bdl_context *c = *state;
  t_check(c, bdl_gpu_use(c, "gpu"));
  bdl_cuda *g = bdl_cuda_of(c);
  bdl_prog *p = t_parse(c, rows[0]);
  bdl_tensor in[MANY], out = {0};
  bdl_plan *plan;
  operands(p, in);
  t_check(c, bdl_plan_new(c, p, NULL, &plan));
  t_check(c, bdl_gpu_run(plan, in, &out));
  if (g->workspace) g->device.ops->free(&g->device, g->workspace, g->workspace_size);
  g->workspace = NULL;
  g->workspace_size = 0;
  c->mem_limit = c->mem_used + g->used + (1 << 20);
  const size_t more = c->mem_limit - g->used - 100;
  g->used += more;
  t_check(c, bdl_gpu_run(plan, in, &out));
  g->used -= more;
  c->mem_limit = 0;
  assert_true(t_gpu_is_real() || !g->workspace);
  assert_int_equal(bdl_last_error(c)->status, BDL_OK);
  t_drop(&out, 1);
  t_drop(in, 3);
  bdl_plan_free(plan);
  bdl_prog_unref(p);
}

static void test_epilogue_fails(void **state) {
  static const char *const functions[] = {"cublasLtCreate:1", "cublasLtMatmulDescCreate:1", "cublasLtMatmulDescSetAttribute:3",
                                          "cublasLtMatrixLayoutCreate:2", "cublasLtMatmulPreferenceCreate:1",
                                          "cublasLtMatmulPreferenceSetAttribute:2", "cublasLtMatmulAlgoGetHeuristic:1",
                                          "cublasLtMatmulDescSetAttribute:5", "cublasLtMatmul:1"};
  failing(*state, rows[0], functions, BDL_LEN(functions));
}

/* A loop of products that are too small for that is one kernel. */
static void test_small_in_a_loop(void **state) {
  static const char text[] =
    "program p(x:f32[3, 256, 1024], y:f32[1024, 256], c:f32[256, 256]) {\n"
    "  z:f32[256, 256] = scan[consts=1 carry=1 length=3 reverse=0 body={program b(y:f32[1024, 256], c:f32[256, 256], x:f32[256, 1024]) {\n"
    "    d:f32[256, 256] = dot[lhs_contract=(1) rhs_contract=(0) lhs_batch=() rhs_batch=()] x y\n"
    "    s:f32[256, 256] = add c d\n    return s\n  }}] y c x\n  return z\n}\n";
  assert_int_equal(steps(*state, text, BDL_G_PRODUCT), 0);
  assert_int_equal(steps(*state, text, BDL_G_SCAN), 0);
}

static void test_large(void **state) {
  static const char *const layouts[] = {
    "program p(x:f32[512, 256], y:f32[256, 512]) {\n  z:f32[512, 512] = dot[lhs_contract=(1) rhs_contract=(0) lhs_batch=() rhs_batch=()] x y\n"
    "  return z\n}\n",
    "program p(x:f64[256, 512], y:f64[512, 256]) {\n  z:f64[512, 512] = dot[lhs_contract=(0) rhs_contract=(1) lhs_batch=() rhs_batch=()] x y\n"
    "  w:f64[512, 512] = mul z z\n  return w\n}\n",
    "program p(x:f32[4, 128, 512], y:f32[4, 256, 512]) {\n"
    "  z:f32[4, 128, 256] = dot[lhs_contract=(2) rhs_contract=(2) lhs_batch=(0) rhs_batch=(0)] x y\n  return z\n}\n",
    "program p(x:f32[256, 1024], y:f32[1024, 256], b:f32[256]) {\n"
    "  z:f32[256, 256] = dot_add[lhs_contract=(1) rhs_contract=(0) lhs_batch=() rhs_batch=() onto=0] x y b\n  return z\n}\n",
    "program p(x:f32[256, 1024], y:f32[1024, 256], b:f32[256, 256]) {\n"
    "  z:f32[256, 256] = dot_add[lhs_contract=(1) rhs_contract=(0) lhs_batch=() rhs_batch=() onto=1] x y b\n  return z\n}\n",
    /* in a loop, over rows, onto what it carries */
    "program p(x:f32[2, 1024, 512], y:f32[512, 1024], c:f32[1024, 1024]) {\n"
    "  z:f32[1024, 1024] = scan[consts=1 carry=1 length=2 reverse=1 body={program b(y:f32[512, 1024], c:f32[1024, 1024], x:f32[1024, 512]) {\n"
    "    d:f32[1024, 1024] = dot[lhs_contract=(1) rhs_contract=(0) lhs_batch=() rhs_batch=()] x y\n"
    "    s:f32[1024, 1024] = add c d\n    return s\n  }}] y c x\n  return z\n}\n",
    /* of rows that a number chooses, which one kernel makes and the next one reads, too */
    "program p(x:f32[2, 1024, 512], y:f32[512, 1024], c:f32[1024, 1024], f:f32[1024, 512], k:i32[]) {\n"
    "  z:f32[1024, 1024], e:f32[1024, 512], n:i32[] = scan[consts=2 carry=3 length=2 reverse=0 body={"
    "program b(x:f32[2, 1024, 512], y:f32[512, 1024], c:f32[1024, 1024], o:f32[1024, 512], k:i32[]) {\n"
    "    m:i32[] = sub 1:i32 k\n    r:f32[1, 1024, 512] = dynamic_slice[sizes=(1, 1024, 512)] x m 0:i32 0:i32\n"
    "    q:f32[1024, 512] = reshape[shape=(1024, 512)] r\n    t:f32[1024, 512] = neg q\n"
    "    d:f32[1024, 1024] = dot[lhs_contract=(1) rhs_contract=(0) lhs_batch=() rhs_batch=()] q y\n"
    "    s:f32[1024, 1024] = add c d\n    u:f32[1024] = reduce_sum[axes=(0)] d\n    v:f32[] = reduce_sum[axes=(0)] u\n"
    "    w:f32[1024, 512] = mul v q\n    a:f32[1024, 512] = add w t\n    return s, a, m\n  }}] x y c f k\n  return z, e\n}\n",
  };
  for (int k = 0; k < BDL_LEN(layouts); k++) {
    assert_int_equal(steps(*state, layouts[k], BDL_G_PRODUCT), 1);
    assert_int_equal(steps(*state, layouts[k], BDL_G_HOST), 0);
    same(*state, layouts[k], 1e-5);
  }
}

/* ---- every primitive of these families ---------------------------------------------------------------------------- */

static const struct family {
  bdl_prim_id prim;
  double tolerance; /* in units of the float's last place */
} families[] = {
  {BDL_P_dot, 0},          {BDL_P_dot_add, 0},     {BDL_P_sparse_dot, 0},  {BDL_P_packed_dot, 0},        {BDL_P_conv, 0},
  {BDL_P_etrace_step, 0},  {BDL_P_etrace_grad, 0}, {BDL_P_etrace_learn, 0}, {BDL_P_lu_permutation, 0},
};

static void test_families(void **state) {
  for (int f = 0; f < BDL_LEN(families); f++)
    for (uint64_t seed = 0; seed < 6; seed++)
      for (int d = 0; d < 2; d++) {
        t_case t;
        bdl_tensor in[MANY];
        uint64_t rng = seed;
        if (!t_case_new(*state, families[f].prim, seed, d ? BDL_F64 : BDL_F32, &t)) continue;
        for (int64_t k = 0; k < t.p->inputs.n; k++) in[k] = t_random_tensor(*state, bdl_aval_of(t.p, t.p->inputs.v[k]), t.lo[k], t.hi[k], &rng);
        same_over(*state, t.p, in, families[f].tolerance, bdl_prims[families[f].prim].name);
        bdl_prog_unref(t.p);
      }
}

/* ---- larger ones --------------------------------------------------------------------------------------------------- */

/* Three states that all meet; rows that warps share, and rows that threads go over; convolutions of 1 to 3 axes. */
static void test_larger(void **state) {
  static const char *const texts[] = {
    "program p(e:f32[3, 9, 5, 13], x:f32[9, 5], s:f32[5, 13], a:f32[9, 13], b:f32[9, 13], c:f32[9, 13], d:f32[9, 13], f:f32[9, 13], g:f32[9, 13],"
    " h:f32[9, 13], i:f32[9, 13], j:f32[9, 13], k:f32[9, 13], l:f32[9, 13], m:f32[9, 13]) {\n"
    "  z:f32[3, 9, 5, 13], y:f32[1, 5, 13] = etrace_learn[pairs=(0,1,2,3,4,5,6,7,8) fed=(0,2) scaled=1 groups=1 signals=(1) summed=0] e x s a b c d f g h"
    " i j k l m\n  return z, y\n}\n",
    "program p(e:f64[2, 2, 12, 4, 9], x:f64[2, 12, 4], a:f64[2, 12, 9], f:f64[2, 12, 9], l:f64[2, 12, 9], m:f64[2, 12, 9]) {\n"
    "  z:f64[2, 2, 12, 4, 9], y:f64[2, 3, 4, 9] = etrace_learn[pairs=(3) fed=(0) scaled=0 groups=3 signals=(0,1) summed=0] e x a f l m\n"
    "  return z, y\n}\n",
    "program p(e:f32[1, 5, 300, 450], l:f32[5, 450]) {\n  y:f32[1, 300, 450] = etrace_grad[groups=1 fed=(0)] e l\n  return y\n}\n",
    "program p(e:f32[5, 2, 7, 40], x:f32[2, 7], d:f32[2, 40], f:f32[2, 40]) {\n"
    "  z:f32[5, 2, 7, 40] = etrace_step[pairs=(23) fed=(4) scaled=0] e x d f\n  return z\n}\n",
    "program p(x:f32[2, 11, 10, 6], w:f32[3, 2, 3, 16]) {\n"
    "  z:f32[2, 5, 10, 16] = conv[strides=(2,1) pad_lo=(1,1) pad_hi=(0,0) lhs_dilation=(1,1) rhs_dilation=(1,1) groups=2] x w\n  return z\n}\n",
    "program p(x:f64[1, 4, 5, 6, 3], w:f64[2, 2, 2, 3, 5]) {\n"
    "  z:f64[1, 3, 4, 5, 5] = conv[strides=(1,1,1) pad_lo=(0,0,0) pad_hi=(0,0,0) lhs_dilation=(1,1,1) rhs_dilation=(1,1,1) groups=1] x w\n"
    "  return z\n}\n",
    "program p(x:f32[3, 20, 4], w:f32[5, 1, 4]) {\n"
    "  z:f32[3, 20, 4] = conv[strides=(1) pad_lo=(4) pad_hi=(4) lhs_dilation=(1) rhs_dilation=(2) groups=4] x w\n  return z\n}\n",
  };
  for (int k = 0; k < BDL_LEN(texts); k++) {
    assert_int_equal(steps(*state, texts[k], BDL_G_HOST), 0);
    same(*state, texts[k], 0);
  }
}

/* ---- factorisations -------------------------------------------------------------------------------------------------- */

#define FACTORS(d)                                                                                                     \
  "program p(x:" d "[3, 37, 37], r:" d "[3, 37, 37], y:" d "[3, 37, 40], s:" d "[3, 37, 37], t:" d "[2, 300, 300], v:" d "[2, 300, 1]) {\n"        \
  "  a:" d "[3, 37, 37] = cholesky x\n  n:" d "[3, 37, 37] = cholesky s\n"                                             \
  "  b:" d "[3, 37, 37], c:i32[3, 37] = lu r\n  p:i32[3, 37] = lu_permutation c\n  e:" d "[3, 37, 40] = solve r y\n"   \
  "  f:" d "[3, 37, 40] = solve s y\n  g:" d "[2, 300, 1] = solve t v\n"                                               \
  "  h:" d "[3, 37, 40] = triangular_solve[lower=1 trans=0 unit=0] x y\n"                                              \
  "  i:" d "[3, 37, 40] = triangular_solve[lower=0 trans=0 unit=0] x y\n"                                              \
  "  j:" d "[3, 37, 40] = triangular_solve[lower=1 trans=1 unit=0] x y\n"                                              \
  "  k:" d "[3, 37, 40] = triangular_solve[lower=0 trans=1 unit=0] x y\n"                                              \
  "  l:" d "[2, 300, 1] = triangular_solve[lower=1 trans=0 unit=0] t v\n"                                              \
  "  return a, b, c, p, e, f, g, h, i, j, k, l, n\n}\n"

static void more_on_the_diagonal(bdl_tensor *x, double by) {
  const int64_t n = x->aval.shape[1];
  for (int64_t b = 0; b < x->aval.shape[0]; b++)
    for (int64_t i = 0; i < n; i++) {
      const bdl_scalar v = bdl_scalar_from_f64(x->aval.dtype, by + element(x, (b * n + i) * n + i));
      const size_t size = bdl_dtype_size(x->aval.dtype);
      memcpy((char *)bdl_tensor_data(x) + (size_t)((b * n + i) * n + i) * size, &v, size);
    }
}

/* x: its symmetric part is positive definite; r: any; s: singular, nor that; t: large, far from singular. */
static void test_factors(void **state) {
  static const char *const texts[] = {FACTORS("f32"), FACTORS("f64")};
  unsetenv("BDL_BLAS");
  for (int k = 0; k < 2; k++) {
    bdl_prog *p = t_parse(*state, texts[k]);
    bdl_tensor in[MANY];
    operands(p, in);
    more_on_the_diagonal(&in[0], 37);
    more_on_the_diagonal(&in[4], 300);
    memset(bdl_tensor_data(&in[3]), 0, bdl_aval_bytes(&in[3].aval));
    assert_int_equal(steps(*state, texts[k], BDL_G_HOST), 0);
    same_over(*state, p, in, k ? 1e-11 : 1e-3, "factors");
    bdl_prog_unref(p);
  }
  setenv("BDL_BLAS", "none", 1);
}

/* Both say that it is none of the rows. */
static void test_exchanges_out_of_range(void **state) {
  bdl_prog *p = t_parse(*state, "program p(i:i32[2, 2]) {\n  p:i32[2, 2] = lu_permutation i\n  return p\n}\n");
  bdl_tensor in[1], there[1], here[1];
  bdl_plan *plan;
  uint64_t rng = 7;
  in[0] = t_random_tensor(*state, bdl_aval_of(p, p->inputs.v[0]), 0, 1, &rng);
  memcpy(bdl_tensor_data(&in[0]), (int32_t[]){0, 1, 1, 2}, 16);
  t_check(*state, bdl_gpu_use(*state, "gpu"));
  t_check(*state, bdl_plan_new(*state, p, NULL, &plan));
  assert_int_equal(t_gpu_both(plan, in, there, here), BDL_EINDEX);
  t_drop(in, 1);
  bdl_plan_free(plan);
  bdl_prog_unref(p);
}

static int begin(void **state) {
  (void)state;
  t_gpu_find();
  return setenv("BDL_BLAS", "none", 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {T_TEST(test_shapes), T_TEST(test_spikes), T_TEST(test_families), T_TEST(test_large),
                                     T_TEST(test_small_in_a_loop), T_TEST(test_library_fails), T_TEST(test_row_added), T_TEST(test_no_workspace), T_TEST(test_epilogue_fails), T_TEST(test_larger),
                                     T_TEST(test_factors), T_TEST(test_exchanges_out_of_range)};
  return cmocka_run_group_tests(tests, begin, NULL);
}

/*
** call.c -- see call.h.
*/
#include "call.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/array.h"
#include "cpu/blas.h"
#include "exec/exec_context.h"

enum { GUARD = 64 };

static bdl_context *context;
static bdl_blas blas;

bdl_context *t_context(void) {
  if (!context) context = bdl_context_new(NULL, NULL);
  assert_non_null(context);
  return context;
}

void t_context_free(void) {
  if (context) bdl_context_free(context);
  context = NULL;
}

double t_uniform(uint64_t *seed) {
  return (double)(t_random(seed) >> 11) * 0x1p-53;
}
int64_t t_below(uint64_t *seed, int64_t n) {
  return (int64_t)(t_random(seed) % (uint64_t)n);
}

t_array t_new(bdl_dtype d, int ndim, const int64_t *shape) {
  t_array a = {bdl_aval_make(d, ndim, shape), NULL};
  const size_t n = bdl_aval_bytes(&a.aval);
  a.data = aligned_alloc(64, (n + GUARD + 63) / 64 * 64);
  assert_non_null(a.data);
  memset(a.data, 0, n);
  memset((char *)a.data + n, 0xA5, GUARD);
  return a;
}

void t_free(t_array *a, int n) {
  for (int i = 0; i < n; i++) {
    const unsigned char *end = (unsigned char *)a[i].data + bdl_aval_bytes(&a[i].aval);
    for (int k = 0; k < GUARD; k++) assert_int_equal(end[k], 0xA5);
    free(a[i].data);
  }
}

double t_get(const t_array *a, int64_t i) {
  bdl_scalar s = {.bits = 0};
  const size_t size = bdl_dtype_size(a->aval.dtype);
  memcpy(&s, (char *)a->data + (size_t)i * size, size);
  return bdl_scalar_to_f64(a->aval.dtype, s);
}

void t_set(t_array *a, int64_t i, double v) {
  bdl_scalar s = bdl_scalar_from_f64(a->aval.dtype, v);
  const size_t size = bdl_dtype_size(a->aval.dtype);
  memcpy((char *)a->data + (size_t)i * size, &s, size);
}

t_array t_rand(bdl_dtype d, int ndim, const int64_t *shape, uint64_t *seed) {
  t_array a = t_new(d, ndim, shape);
  for (int64_t i = 0, n = bdl_aval_numel(&a.aval); i < n; i++) {
    double v = (double)t_below(seed, 17);
    if (d == BDL_BOOL) v = v > 8;
    if (d != BDL_BOOL && d != BDL_U32) v -= 8;
    if (bdl_dtype_is_float(d)) v /= 4;
    t_set(&a, i, v);
  }
  return a;
}

t_array t_i32(int64_t n, const int32_t *v) {
  t_array a = t_new(BDL_I32, 1, &n);
  if (n) memcpy(a.data, v, (size_t)n * sizeof *v);
  return a;
}

t_array t_f64(int64_t n, const double *v) {
  t_array a = t_new(BDL_F64, 1, &n);
  if (n) memcpy(a.data, v, (size_t)n * sizeof *v);
  return a;
}

bdl_status t_call(bdl_prim_id prim, const bdl_param *params, const t_array *in, int n_in, t_array *out, int threads) {
  return t_call_knowing(0, prim, params, in, n_in, out, threads);
}

bdl_status t_call_knowing(uint32_t known, bdl_prim_id prim, const bdl_param *params, const t_array *in, int n_in, t_array *out,
                          int threads) {
  bdl_context *c = t_context();
  const bdl_lowering *low = bdl_lowering_of(prim);
  bdl_aval in_aval[16], out_aval[16];
  const void *in_ptr[16], *known_ptr[16];
  void *out_ptr[16];
  assert_true(n_in <= 16);
  for (int i = 0; i < n_in; i++) in_aval[i] = in[i].aval, in_ptr[i] = in[i].data, known_ptr[i] = known >> i & 1 ? in[i].data : NULL;
  TRY(bdl_prim_type(c, prim, params, in_aval, n_in, out_aval));
  const int n_out = bdl_ir_n_out(prim, params, n_in);
  t_array made[16];
  for (int i = 0; i < n_out; i++) {
    made[i] = t_new(out_aval[i].dtype, out_aval[i].ndim, out_aval[i].shape);
    memset(made[i].data, 0x5A, bdl_aval_bytes(&out_aval[i]));
    out_ptr[i] = made[i].data;
  }
  const bdl_eqn e = {.prim = prim, .params = (bdl_param *)params};
  for (int i = 0; i < n_out && low->kind == BDL_LOWER_UPDATE; i++) {
    const int from = bdl_lower_updates(&e, i);
    if (from >= 0) memcpy(made[i].data, in[from].data, bdl_aval_bytes(&in[from].aval));
  }
  const size_t need = low->scratch ? low->scratch(params, in_aval, n_in, out_aval) : 0;
  t_array scratch = t_new(BDL_BOOL, 1, (int64_t[]){(int64_t)need});
  if (need) memset(scratch.data, 0x5A, need);
  bdl_kcall k = {.ctx = c,
                       .k = bdl_k_select(NULL),
                       .blas = &blas,
                       .params = params,
                       .n_in = n_in,
                       .n_out = n_out,
                       .in = in_ptr,
                       .in_aval = in_aval,
                       .out = out_ptr,
                       .out_aval = out_aval,
                       .scratch = scratch.data,
                       .pool = bdl_pool_new(c, threads)};
  assert_non_null(k.pool);
  bdl_prepared *prepared = NULL;
  if (low->prepare) {
    bdl_exec_context *x;
    OK(bdl_exec_get(c, &x));
    x->threads = threads;
    bdl_kcall before = k;
    before.in = known_ptr, before.out = NULL, before.scratch = NULL, before.pool = NULL;
    OK(low->prepare(&before, &prepared));
  }
  k.prepared = prepared;
  bdl_status s = low->kernel(&k);
  if (prepared) prepared->drop(c, prepared);
  bdl_pool_free(k.pool);
  t_free(&scratch, 1);
  if (s != BDL_OK) {
    t_free(made, n_out);
    return s;
  }
  for (int i = 0; i < n_out; i++) out[i] = made[i];
  return BDL_OK;
}

void t_ok(bdl_status s, const char *file, int line) {
  if (s == BDL_OK) return;
  print_error("%s:%d: %s: %s\n", file, line, bdl_status_kind(s), bdl_last_error(t_context())->message);
  fail();
}

void t_fails(bdl_status got, bdl_status want, const char *text) {
  assert_int_equal(got, want);
  if (!strstr(bdl_last_error(t_context())->message, text))
    fail_msg("'%s' is not in '%s'", text, bdl_last_error(t_context())->message);
}

void t_same(const t_array *a, const t_array *b) {
  assert_true(bdl_aval_eq(&a->aval, &b->aval));
  assert_memory_equal(a->data, b->data, bdl_aval_bytes(&a->aval));
}

void t_near(const t_array *a, const t_array *b, double rtol, double atol) {
  assert_true(bdl_aval_eq(&a->aval, &b->aval));
  for (int64_t i = 0, n = bdl_aval_numel(&a->aval); i < n; i++) {
    const double x = t_get(a, i), y = t_get(b, i);
    if ((isnan(x) && isnan(y)) || x == y || fabs(x - y) <= atol + rtol * fabs(y)) continue;
    fail_msg("element %lld is %.9g, not %.9g", (long long)i, x, y);
  }
}

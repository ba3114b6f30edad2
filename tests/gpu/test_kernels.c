/*
** Kernels on a GPU give the bits of the interpreter tier: every primitive of the table, then those that move, index, sort and reduce
** over many shapes, dtypes and parameters, whatever the number of threads; indices out of range are errors of their line.
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
#include "base/context.h"
#include "export/export.h"
#include "kernel_texts.h"

enum { MOST = 400, CASES = 120 };

/* Many programs as one, so that one text is compiled for all. */
typedef struct batch {
  bdl_context *c;
  bdl_prog *p;
  bdl_tensor in[MOST];
  bdl_atom out[MOST];
  int n_in, n_out, n;
  struct {
    const char *what;
    uint64_t seed;
    double close; /* within this of 1 + the size; 0: the same bits */
    int first, n_out;
  } part[CASES];
} batch;

static batch *open_batch(bdl_context *c) {
  batch *b = calloc(1, sizeof *b);
  assert_non_null(b);
  b->c = c;
  t_check(c, bdl_prog_new(c, "all", &b->p));
  return b;
}

static void close_to(const bdl_tensor *a, const bdl_tensor *b, double tolerance, const char *what, uint64_t seed) {
  if (a->aval.dtype != BDL_F32) tolerance *= 1e-8;
  for (int64_t k = 0; k < bdl_aval_numel(&a->aval); k++) {
    const double x = bdl_scalar_to_f64(a->aval.dtype, bdl_tensor_at(a, k)), y = bdl_scalar_to_f64(b->aval.dtype, bdl_tensor_at(b, k));
    const double size = y < 0 ? -y : y, off = x > y ? x - y : y - x;
    if (x != y && (x == x || y == y) && !(off <= tolerance * (1 + size)))
      fail_msg("%s, seed %d: %.17g and %.17g at %d", what, (int)seed, x, y, (int)k);
  }
}

/* Runs there and here, compares. */
static void close_batch(batch *b) {
  static bdl_tensor there[MOST], here[MOST];
  bdl_plan *plan;
  t_check(b->c, bdl_prog_set_outputs(b->p, b->out, b->n_out));
  t_check(b->c, bdl_plan_new(b->c, b->p, NULL, &plan));
  bdl_prog_unref(b->p);
  t_check(b->c, t_gpu_both(plan, b->in, there, here));
  for (int k = 0; k < b->n; k++) {
    const int first = b->part[k].first;
    if (b->part[k].close == 0) t_same_bits(there + first, here + first, b->part[k].n_out, b->part[k].what, b->part[k].seed);
    for (int i = 0; i < b->part[k].n_out && b->part[k].close > 0; i++)
      close_to(&there[first + i], &here[first + i], b->part[k].close, b->part[k].what, b->part[k].seed);
  }
  t_drop(there, b->n_out);
  t_drop(here, b->n_out);
  t_drop(b->in, b->n_in);
  bdl_plan_free(plan);
  free(b);
}

/* One more program, with its operands, which the batch takes. */
static void add(batch **at, bdl_prog *p, const bdl_tensor *in, double close, const char *what, uint64_t seed) {
  const int n_in = (int)p->inputs.n;
  bdl_atom x[16];
  batch *b = *at;
  if (b->n == CASES || b->n_in + n_in > MOST || b->n_out + p->n_outputs > MOST) {
    bdl_context *c = b->c;
    close_batch(b);
    b = *at = open_batch(c);
  }
  for (int k = 0; k < n_in; k++) {
    t_check(b->c, bdl_ir_input(b->p, &in[k].aval, &x[k]));
    b->in[b->n_in++] = in[k];
  }
  t_check(b->c, bdl_ir_inline(b->p, p, x, b->out + b->n_out));
  b->part[b->n].what = what;
  b->part[b->n].seed = seed;
  b->part[b->n].close = close;
  b->part[b->n].first = b->n_out;
  b->part[b->n++].n_out = p->n_outputs;
  b->n_out += p->n_outputs;
  bdl_prog_unref(p);
}

/* ---- the table ------------------------------------------------------------------------------------------------------------ */

/* Are these functions of CUDA, where the CPU has SLEEF's? */
static bool of_another_library(bdl_prim_id p) {
  switch (p) {
    case BDL_P_exp2: case BDL_P_log2: case BDL_P_log10: case BDL_P_sin: case BDL_P_cos: case BDL_P_tan: case BDL_P_asin: case BDL_P_acos:
    case BDL_P_atan: case BDL_P_erf: case BDL_P_erfc: case BDL_P_lgamma: case BDL_P_digamma: case BDL_P_polygamma: case BDL_P_cbrt:
    case BDL_P_pow: case BDL_P_atan2: case BDL_P_custom_jvp: case BDL_P_custom_vjp: /* of sines */
      return true;
    default: return false;
  }
}

static void every_primitive_agrees(void **state) {
  (void)state;
  bdl_context *c = t_gpu_context();
  batch *b = open_batch(c);
  for (int prim = 0; prim < BDL_P_COUNT; prim++) {
    if (prim == BDL_P_error_if || prim == BDL_P_dot_pack || bdl_export_refusal((bdl_prim_id)prim)) continue; /* it fails; nobody reads it; the host has it */
    for (uint64_t seed = 1; seed <= 6; seed++) {
      t_case t;
      bdl_tensor in[8];
      uint64_t rng = seed * 77 + (uint64_t)prim;
      if (!t_case_new(c, (bdl_prim_id)prim, seed, BDL_DTYPE_COUNT, &t)) continue;
      for (int i = 0; i < t.p->inputs.n; i++)
        in[i] = t_random_tensor(c, bdl_aval_of(t.p, t.p->inputs.v[i]), t.lo[i], t.hi[i], &rng);
      add(&b, t.p, in, of_another_library((bdl_prim_id)prim) ? 1e-6 : 0, bdl_prims[prim].name, seed);
    }
  }
  close_batch(b);
  bdl_context_free(c);
}

/* ---- texts ------------------------------------------------------------------------------------------------------------------ */

/* `program t(..` of a row, its T a dtype. */
static bdl_prog *parse(bdl_context *c, const char *text, const char *dtype) {
  bdl_prog *p;
  bdl_str s;
  bdl_str_init(&s, c);
  bdl_str_addf(&s, "program t(");
  for (; *text; text++) {
    if (*text == 'T') bdl_str_addf(&s, "%s", dtype);
    else bdl_str_add(&s, text, 1);
  }
  bdl_str_addf(&s, "\n}");
  if (bdl_ir_parse(c, s.s, (size_t)s.n, &p) != BDL_OK) fail_msg("%s\n%s", bdl_last_error(c)->message, s.s);
  bdl_str_fini(&s);
  return p;
}

/* Integers over their whole range.  Floats of size 0.5 to 1.6, so that products stay in range; `ties`: quarters from -4 to 4, so that many
** are equal, zeros of both signs, infinities, NaN. */
static bdl_tensor numbers(bdl_context *c, const bdl_aval *a, bool ties, uint64_t *rng) {
  static const double special[] = {NAN, -0.0, 0, -INFINITY, INFINITY};
  bdl_tensor t;
  t_check(c, bdl_tensor_new(bdl_device_cpu(c), a, &t));
  const size_t size = bdl_dtype_size(a->dtype);
  for (int64_t k = 0; k < bdl_aval_numel(a); k++) {
    const uint64_t which = t_random(rng) % 64, bits = t_random(rng);
    const double one = which < BDL_LEN(special) ? special[which] : 0.25 * (double)(bits % 33) - 4;
    const double other = (0.5 + 1.1 * (double)(bits >> 11) / 9007199254740992.0) * (which % 2 ? -1 : 1);
    const bdl_scalar v = bdl_dtype_is_float(a->dtype) ? bdl_scalar_from_f64(a->dtype, ties ? one : other)
                                                      : bdl_scalar_from_i64(a->dtype, (int64_t)(bits >> (which % 2 ? 0 : 61)));
    memcpy((char *)bdl_tensor_data(&t) + (size_t)k * size, &v, size);
  }
  return t;
}

/* Sums along an axis so long that parts of it are summed first. */
static bool in_parts(const bdl_prog *p) {
  const bdl_eqn *e = &p->eqns.v[0];
  return e->prim == BDL_P_cumsum && bdl_aval_of(p, e->in[0])->shape[e->params[0].i] > 2048;
}

static void add_text(batch **b, const t_kernel_text *row, const char *dtype, bool ties, uint64_t seed) {
  bdl_context *c = (*b)->c;
  bdl_prog *p = parse(c, row->text, dtype);
  bdl_tensor in[8];
  uint64_t rng = seed;
  for (int k = 0; k < p->inputs.n; k++) {
    const bdl_aval *a = bdl_aval_of(p, p->inputs.v[k]);
    if (row->extent && k == 1) in[k] = t_random_tensor(c, a, 0, row->extent - 1, &rng);
    else if (row->starts && k >= row->starts) in[k] = t_random_tensor(c, a, -3, 12, &rng);
    else in[k] = numbers(c, a, ties, &rng);
  }
  add(b, p, in, *dtype == 'f' && in_parts(p) ? 1e-4 : 0, row->text, seed);
}

static void many_shapes(const char *const *dtypes, int n) {
  bdl_context *c = t_gpu_context();
  batch *b = open_batch(c);
  for (int k = 0; k < t_n_kernel_texts; k++)
    for (int d = 0; d < n; d++) {
      const t_kernel_text *row = &t_kernel_texts[k];
      if (strcmp(dtypes[d], "bool") == 0 && !row->of_bool) continue;
      for (int ties = 0; ties < (*dtypes[d] == 'f' ? 2 : 1); ties++) add_text(&b, row, dtypes[d], ties, (uint64_t)k * 8 + (uint64_t)d);
    }
  close_batch(b);
  bdl_context_free(c);
}

static void many_shapes_agree(void **state) {
  static const char *const dtypes[] = {"f32", "f64", "i32", "i64", "u32", "bool"};
  (void)state;
  many_shapes(dtypes, BDL_LEN(dtypes));
}

static void other_numbers_of_threads_agree(void **state) {
  static const char *const dtypes[] = {"f32"};
  (void)state;
  setenv("FAKE_CUDA_SMS", "5", 1);
  setenv("FAKE_CUDA_THREADS", "96", 1);
  setenv("FAKE_CUDA_ORDER", "backward", 1);
  many_shapes(dtypes, 1);
  setenv("FAKE_CUDA_SMS", "1", 1);
  setenv("FAKE_CUDA_THREADS", "256", 1);
  many_shapes(dtypes, 1);
  unsetenv("FAKE_CUDA_SMS");
  unsetenv("FAKE_CUDA_THREADS");
  unsetenv("FAKE_CUDA_ORDER");
}

/* ---- failures ----------------------------------------------------------------------------------------------------------------- */

/* x[index], or x with u there, in line 7 of a model; indices as an operand or known. */
static void index_fails(bdl_context *c, bdl_prim_id prim, bdl_dtype wide, double index, bool known) {
  const bool scatter = prim == BDL_P_scatter || prim == BDL_P_scatter_along;
  const bdl_aval x = {.dtype = BDL_F32, .ndim = 1, .shape = {4}}, i = {.dtype = wide, .ndim = 1, .shape = {3}}, u = {.dtype = BDL_F32, .ndim = 1, .shape = {3}};
  const bdl_param params[] = {bdl_pint(0), bdl_pstr("add")};
  char what[160];
  const bdl_scalar bad = bdl_scalar_from_f64(wide, index);
  bdl_prog *p;
  bdl_plan *plan;
  bdl_atom at[3], z;
  uint64_t rng = 1;
  bdl_tensor in[3] = {t_random_tensor(c, &x, 0, 1, &rng), t_random_tensor(c, &i, 0, 3, &rng), t_random_tensor(c, &u, 0, 1, &rng)}, there[1], here[1];
  memcpy((char *)bdl_tensor_data(&in[1]) + bdl_dtype_size(wide), &bad, bdl_dtype_size(wide));
  t_check(c, bdl_prog_new(c, "p", &p));
  t_check(c, bdl_ir_input(p, &x, &at[0]));
  t_check(c, known ? bdl_ir_const(p, &in[1], &at[1]) : bdl_ir_input(p, &i, &at[1]));
  t_check(c, bdl_ir_input(p, &u, &at[2]));
  p->src = (bdl_src){"model.lua", 7};
  t_check(c, bdl_bind(p, prim, params, at, scatter ? 3 : 2, &z));
  t_check(c, bdl_prog_set_outputs(p, &z, 1));
  t_check(c, bdl_plan_new(c, p, NULL, &plan));
  const bdl_tensor operands[] = {in[0], known ? in[2] : in[1], in[2]};
  assert_int_equal(t_gpu_both(plan, operands, there, here), BDL_EINDEX);
  assert_int_equal(bdl_last_error(c)->where.line, 7);
  snprintf(what, sizeof what, "%s: index %.0f is out of range for axis 1 with size 4 (counted from 0)", bdl_prims[prim].name, index);
  assert_string_equal(bdl_last_error(c)->message, what);
  bdl_clear_error(c);
  bdl_plan_free(plan);
  bdl_prog_unref(p);
  t_drop(in, 3);
}

static void indices_out_of_range_are_errors_of_their_line(void **state) {
  static const bdl_prim_id prims[] = {BDL_P_gather, BDL_P_gather_along, BDL_P_scatter, BDL_P_scatter_along};
  (void)state;
  bdl_context *c = t_gpu_context();
  for (int k = 0; k < BDL_LEN(prims); k++) {
    index_fails(c, prims[k], BDL_I32, 4, false);
    index_fails(c, prims[k], BDL_I32, -1, true);
    index_fails(c, prims[k], BDL_I64, -1, false);
    index_fails(c, prims[k], BDL_I64, 0x1p33, false);
  }
  bdl_context_free(c);
}

/* It fails, then does not, then does. */
static void a_check_fails_and_recovers(void **state) {
  (void)state;
  bdl_context *c = t_gpu_context();
  bdl_plan *plan;
  bdl_prog *p = t_parse(c, "program p(q:bool[300], x:f32[2]) {\n  error_if[message=\"not so: {1}\"] q x\n  y:f32[2] = add x x\n  return y\n}");
  t_check(c, bdl_plan_new(c, p, NULL, &plan));
  uint64_t rng = 1;
  bdl_tensor in[2] = {t_random_tensor(c, bdl_aval_of(p, p->inputs.v[0]), 0, 0, &rng), t_random_tensor(c, bdl_aval_of(p, p->inputs.v[1]), 0, 1, &rng)};
  for (int k = 0; k < 4; k++) {
    bdl_tensor there[1], here[1];
    ((bool *)bdl_tensor_data(&in[0]))[299] = k % 2 == 0;
    bdl_buffer_changed(in[0].buf);
    const bdl_status s = t_gpu_both(plan, in, there, here);
    assert_int_equal(s, k % 2 ? BDL_OK : BDL_EVALUE);
    if (s == BDL_OK) {
      t_same_bits(there, here, 1, "behind a check", 1);
      t_drop(there, 1);
      t_drop(here, 1);
    } else assert_non_null(strstr(bdl_last_error(c)->message, "not so: [0."));
    bdl_clear_error(c);
  }
  t_drop(in, 2);
  bdl_plan_free(plan);
  bdl_prog_unref(p);
  bdl_context_free(c);
}

int main(void) {
  setenv("BDL_BLAS", "none", 1);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_primitive_agrees), cmocka_unit_test(many_shapes_agree), cmocka_unit_test(other_numbers_of_threads_agree),
    cmocka_unit_test(indices_out_of_range_are_errors_of_their_line), cmocka_unit_test(a_check_fails_and_recovers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

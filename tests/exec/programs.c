/*
** programs.c -- random programs and tensors; the native tier and its files.
*/
#include "programs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../ir/text.h"
#include "../support/random.h"
#include "exec/exec_context.h"

void t_check(bdl_context *c, bdl_status s) {
  if (s != BDL_OK) fail_msg("%s", bdl_last_error(c)->message);
}

bdl_tensor t_random_tensor(bdl_context *c, const bdl_aval *a, double lo, double hi, uint64_t *rng) {
  bdl_tensor t;
  t_check(c, bdl_tensor_new(bdl_device_cpu(c), a, &t));
  char *data = bdl_tensor_data(&t);
  size_t size = bdl_dtype_size(a->dtype);
  for (int64_t i = 0; i < bdl_aval_numel(a); i++) {
    double u = (double)(t_random(rng) >> 11) / 9007199254740992.0;
    bdl_scalar v = bdl_dtype_is_float(a->dtype) ? bdl_scalar_from_f64(a->dtype, lo + (hi - lo) * u)
                                                : bdl_scalar_from_i64(a->dtype, (int64_t)(lo + (hi - lo + 1) * u));
    memcpy(data + (size_t)i * size, &v, size);
  }
  return t;
}

void t_drop(bdl_tensor *t, int n) {
  for (int i = 0; i < n; i++) bdl_tensor_unref(&t[i]);
}

static bool both_nan(const bdl_tensor *a, const bdl_tensor *b, int64_t k) {
  if (!bdl_dtype_is_float(a->aval.dtype)) return false;
  const double x = bdl_scalar_to_f64(a->aval.dtype, bdl_tensor_at(a, k)), y = bdl_scalar_to_f64(b->aval.dtype, bdl_tensor_at(b, k));
  return x != x && y != y;
}

void t_same_bits(const bdl_tensor *a, const bdl_tensor *b, int n, const char *what, uint64_t seed) {
  bool ids = !strcmp(what, "event_ids"); /* what stands behind their number is nobody's */
  for (int i = 0; i < n; i++) {
    if (!a[i].buf || !b[i].buf) {
      fail_msg("%s, seed %llu: no result %d", what, (unsigned long long)seed, i);
      return;
    }
    if (!bdl_aval_eq(&a[i].aval, &b[i].aval)) fail_msg("%s, seed %llu: result %d differs in type", what, (unsigned long long)seed, i);
    size_t bytes = bdl_aval_bytes(&a[i].aval), size = bdl_dtype_size(a[i].aval.dtype);
    if (ids && i == 0) bytes = (size_t)bdl_tensor_at(&a[1], 0).i32 * size;
    const char *x = bdl_tensor_data(&a[i]), *y = bdl_tensor_data(&b[i]);
    for (size_t k = 0; k < bytes; k += size)
      if (memcmp(x + k, y + k, size) != 0 && !both_nan(&a[i], &b[i], (int64_t)(k / size)))
        fail_msg("%s, seed %llu: result %d differs at %zu: %.17g and %.17g", what, (unsigned long long)seed, i, k / size,
                 bdl_scalar_to_f64(a[i].aval.dtype, bdl_tensor_at(&a[i], (int64_t)(k / size))),
                 bdl_scalar_to_f64(b[i].aval.dtype, bdl_tensor_at(&b[i], (int64_t)(k / size))));
  }
}

/* ---- random programs ------------------------------------------------------------------------------ */

typedef struct gen {
  bdl_prog *p;
  uint64_t rng;
  bdl_atom pool[256];
  int n;
} gen;

static uint64_t below(gen *g, uint64_t n) { return t_random(&g->rng) % n; }

static void keep(gen *g, bdl_status s, bdl_atom x) {
  if (s == BDL_OK && g->n < 256) g->pool[g->n++] = x;
}

static void grow(gen *g) {
  static const bdl_prim_id unary[] = {BDL_P_neg, BDL_P_abs, BDL_P_exp, BDL_P_tanh, BDL_P_exprel, BDL_P_floor, BDL_P_sigmoid, BDL_P_sin};
  static const bdl_prim_id binary[] = {BDL_P_add, BDL_P_sub, BDL_P_mul, BDL_P_max, BDL_P_min, BDL_P_div};
  static const bdl_prim_id reduce[] = {BDL_P_reduce_sum, BDL_P_reduce_max, BDL_P_reduce_min};
  bdl_atom x = g->pool[below(g, (uint64_t)g->n)], y = g->pool[below(g, (uint64_t)g->n)], z = BDL_ZERO, m = BDL_ZERO;
  const bdl_aval *a = bdl_aval_of(g->p, x);
  int64_t list[3][BDL_MAX_NDIM];
  bdl_param params[3];
  int nd = a->ndim;
  bdl_status s;
  switch (below(g, 12)) {
    case 0: case 1:
      s = bdl_bind1(g->p, unary[below(g, 8)], x, &z);
      keep(g, s, z);
      break;
    case 2: case 3: case 4:
      s = bdl_bind2(g->p, binary[below(g, 6)], x, y, &z); /* shapes that do not broadcast are refused: nothing is added */
      keep(g, s, z);
      break;
    case 5:
      if (bdl_bind2(g->p, BDL_P_lt, x, y, &m) == BDL_OK) {
        s = bdl_bind3(g->p, BDL_P_select, m, x, y, &z);
        keep(g, s, z);
      }
      break;
    case 6: /* slice */
      for (int k = 0; k < nd; k++) {
        int64_t n = a->shape[k], lo = n > 1 ? (int64_t)below(g, (uint64_t)(n / 2 + 1)) : 0;
        list[0][k] = lo, list[1][k] = n - (n > 2 ? (int64_t)below(g, 2) : 0), list[2][k] = below(g, 4) ? 1 : 2;
        if (list[1][k] <= lo) list[1][k] = n;
      }
      for (int k = 0; k < 3; k++) params[k] = bdl_pints(list[k], nd);
      s = bdl_bind(g->p, BDL_P_slice, params, &x, 1, &z);
      keep(g, s, z);
      break;
    case 7: /* flip or transpose */
      for (int k = 0; k < nd; k++) list[0][k] = nd - 1 - k;
      params[0] = bdl_pints(list[0], nd);
      s = bdl_bind(g->p, below(g, 2) ? BDL_P_reverse : BDL_P_permute, params, &x, 1, &z);
      keep(g, s, z);
      break;
    case 8: { /* reduce some axes */
      int n = 0;
      bool all = below(g, 2);
      for (int k = 0; k < nd; k++)
        if (all || below(g, 2)) list[0][n++] = k;
      params[0] = bdl_pints(list[0], n);
      s = bdl_bind(g->p, reduce[below(g, 3)], params, &x, 1, &z);
      keep(g, s, z);
      break;
    }
    case 9: /* flatten */
      list[0][0] = bdl_aval_numel(a);
      s = bdl_ir_reshape(g->p, x, 1, list[0], &z);
      keep(g, s, z);
      break;
    case 10: /* one behind the other */
      params[0] = bdl_pint(nd > 0 ? (int64_t)below(g, (uint64_t)nd) : 0);
      s = bdl_bind(g->p, BDL_P_concatenate, params, (bdl_atom[]){x, y}, 2, &z); /* shapes that do not fit are refused */
      keep(g, s, z);
      break;
    default: { /* repeat along a new leading axis */
      if (nd > 2) break;
      list[0][0] = 3;
      for (int k = 0; k < nd; k++) list[0][k + 1] = a->shape[k], list[1][k] = k + 1;
      params[0] = bdl_pints(list[0], nd + 1), params[1] = bdl_pints(list[1], nd);
      s = bdl_bind(g->p, BDL_P_broadcast, params, &x, 1, &z);
      keep(g, s, z);
    }
  }
  bdl_clear_error(g->p->ctx);
}

static const int64_t SHAPES[][2] = {{0, 0}, {7, 0}, {1300, 0}, {2, 650}, {650, 0}, {1, 7}};

static bdl_aval shape_of(uint64_t k) {
  int ndim = SHAPES[k][0] == 0 ? 0 : SHAPES[k][1] == 0 ? 1 : 2;
  return bdl_aval_make(BDL_F32, ndim, SHAPES[k]);
}

static void add_inputs(gen *g, int n) {
  for (int i = 0; i < n; i++) {
    bdl_aval a = shape_of(below(g, 6));
    t_check(g->p->ctx, bdl_ir_input(g->p, &a, &g->pool[g->n++]));
  }
}

static void outputs(gen *g, int n) {
  bdl_atom out[MANY];
  for (int i = 0; i < n; i++) out[i] = g->pool[g->n - 1 - (int)below(g, (uint64_t)BDL_MIN(g->n, 20))];
  t_check(g->p->ctx, bdl_prog_set_outputs(g->p, out, n));
}

void t_random_inputs(bdl_prog *p, bdl_tensor *in, uint64_t *rng) {
  for (int i = 0; i < p->inputs.n; i++) in[i] = t_random_tensor(p->ctx, bdl_aval_of(p, p->inputs.v[i]), -2, 2, rng);
}

enum { CARRY_AT = 1, SLICE_AT = 4, BODY_IN = 5, BODY_OUT = 5 };

static bdl_aval body_input(int i) { return shape_of(i == 0 ? 3 : i == 3 ? 0 : i == SLICE_AT ? 4 : 2); }

/* constant, carry of three, slice -> the carry, two more */
static void scan_body(bdl_context *c, gen *g, bdl_atom *out) {
  gen b = *g;
  bdl_aval carry[3] = {body_input(1), body_input(2), body_input(3)};
  t_check(c, bdl_prog_new(c, "body", &b.p));
  for (int i = 0; i < BODY_IN; i++) t_check(c, bdl_ir_input(b.p, (bdl_aval[]){body_input(i)}, &b.pool[b.n++]));
  for (int i = 0; i < 25; i++) grow(&b);
  for (int k = 0; k < 3; k++) { /* something of the carry's type: mix two of its type, or hand one on */
    bdl_atom same[256];
    int n = 0;
    for (int i = 0; i < b.n; i++)
      if (bdl_aval_eq(bdl_aval_of(b.p, b.pool[i]), &carry[k])) same[n++] = b.pool[i];
    out[k] = same[below(&b, (uint64_t)n)];
    if (below(&b, 3)) t_check(c, bdl_bind2(b.p, BDL_P_add, out[k], same[below(&b, (uint64_t)n)], &out[k]));
    if (below(&b, 2)) t_check(c, bdl_bind1(b.p, BDL_P_tanh, out[k], &out[k]));
  }
  for (int k = 3; k < BODY_OUT; k++) out[k] = b.pool[below(&b, (uint64_t)b.n)];
  *g = b;
}

static bdl_aval rows_of(bdl_aval a, int64_t n) {
  memmove(a.shape + 1, a.shape, (size_t)a.ndim * sizeof a.shape[0]);
  a.shape[0] = n;
  a.ndim++;
  return a;
}

bdl_prog *t_random_scan(bdl_context *c, uint64_t seed, int32_t *pair) {
  gen b = {.rng = seed};
  bdl_atom in[BODY_IN], out[6], res[6];
  scan_body(c, &b, out);
  out[5] = out[0]; /* the carry itself, stacked */
  t_check(c, bdl_prog_set_outputs(b.p, out, 6));
  bdl_prog *p;
  t_check(c, bdl_prog_new(c, "scan", &p));
  for (int i = 0; i < BODY_IN; i++) {
    const bdl_aval a = i == SLICE_AT ? rows_of(body_input(i), 5) : body_input(i);
    t_check(c, bdl_ir_input(p, &a, &in[i]));
  }
  bdl_param params[5] = {bdl_pint(1), bdl_pint(3), bdl_pint(5), bdl_pint((int64_t)(seed & 1)), bdl_pprogs(&b.p, 1)};
  t_check(c, bdl_bind(p, BDL_P_scan, params, in, 5, res));
  t_check(c, bdl_prog_set_outputs(p, res, 6));
  bdl_prog_unref(b.p);
  for (int i = 0; i < 6; i++) pair[i] = i < 3 ? i + 1 : -1;
  return p;
}

/* x of n rows, its rows in another order, some of twice as many, or one for all. */
static bdl_atom rows_of_input(gen *g, bdl_atom x, int64_t n) {
  bdl_context *c = g->p->ctx;
  const bdl_aval a = *bdl_aval_of(g->p, x);
  const int64_t axis = 0, lo[2] = {0, 0}, hi[2] = {n, a.shape[1]}, by[2] = {1, 1}, one[2] = {1, a.shape[1]}, two[2] = {2, 1};
  const int64_t all[2] = {2 * n, a.shape[1]}, to[2] = {0, 1};
  bdl_atom z = x;
  switch (below(g, 4)) {
    case 0: t_check(c, bdl_bind(g->p, BDL_P_slice, (bdl_param[]){bdl_pints(lo, 2), bdl_pints(hi, 2), bdl_pints(by, 2)}, &x, 1, &z)); break;
    case 1: t_check(c, bdl_bind(g->p, BDL_P_slice, (bdl_param[]){bdl_pints(lo, 2), bdl_pints(all, 2), bdl_pints(two, 2)}, &x, 1, &z)); break;
    case 2:
      t_check(c, bdl_bind(g->p, BDL_P_slice, (bdl_param[]){bdl_pints(lo, 2), bdl_pints(hi, 2), bdl_pints(by, 2)}, &x, 1, &z));
      t_check(c, bdl_bind(g->p, BDL_P_reverse, (bdl_param[]){bdl_pints(&axis, 1)}, &z, 1, &z));
      break;
    default:
      t_check(c, bdl_bind(g->p, BDL_P_slice, (bdl_param[]){bdl_pints(lo, 2), bdl_pints(one, 2), bdl_pints(by, 2)}, &x, 1, &z));
      t_check(c, bdl_bind(g->p, BDL_P_broadcast, (bdl_param[]){bdl_pints(hi, 2), bdl_pints(to, 2)}, &z, 1, &z));
  }
  return z;
}

/* Behind the loop: x as it is, another value of it, part of it replaced, a sum over its steps. */
static bdl_atom used(gen *g, bdl_atom x) {
  static const int64_t axis = 0;
  bdl_context *c = g->p->ctx;
  const bdl_aval a = *bdl_aval_of(g->p, x);
  bdl_atom z = x, u, start;
  switch (below(g, a.ndim > 0 && a.shape[0] > 0 ? 6 : 2)) {
    case 0: return x;
    case 1: t_check(c, bdl_bind1(g->p, BDL_P_neg, x, &z)); return z;
    case 2: t_check(c, bdl_bind(g->p, BDL_P_reverse, (bdl_param[]){bdl_pints(&axis, 1)}, &x, 1, &z)); return z;
    case 3: t_check(c, bdl_bind(g->p, BDL_P_reduce_sum, (bdl_param[]){bdl_pints(&axis, 1)}, &x, 1, &z)); return z;
    case 4: return t_check(c, bdl_ir_reshape(g->p, x, 1, (int64_t[]){bdl_aval_numel(&a)}, &z)), z;
    default: {
      bdl_aval part = a;
      bdl_atom in[2 + BDL_MAX_NDIM] = {x};
      part.shape[0] = 1;
      t_check(c, bdl_ir_full(g->p, &part, 7, &u));
      t_check(c, bdl_ir_literal(g->p, BDL_I32, (bdl_scalar){.i32 = 0}, &start));
      in[1] = u;
      for (int k = 0; k < a.ndim; k++) in[2 + k] = start;
      t_check(c, bdl_bind(g->p, BDL_P_dynamic_update_slice, NULL, in, 2 + a.ndim, &z));
      if (below(g, 2)) t_check(c, bdl_bind1(g->p, BDL_P_neg, z, &z));
      return z;
    }
  }
}

bdl_prog *t_random_rows(bdl_context *c, uint64_t seed) {
  enum { STACKED = 7, OUT = 3 + STACKED };
  static const int64_t lengths[] = {0, 1, 2, 5};
  gen b = {.rng = seed}, g = {.rng = seed + 1000};
  const int64_t n = lengths[seed % 4];
  bdl_atom in[BODY_IN], out[3 + 3 * STACKED], res[OUT];
  bdl_prog *p;
  scan_body(c, &b, out);
  if (below(&b, 2)) { /* a branch makes it */
    bdl_prog *branch[2];
    branch[0] = t_parse(c, "program n(a:f32[1300]) { b:f32[1300] = neg a\n return b }");
    branch[1] = t_parse(c, "program s(a:f32[1300]) { b:f32[1300] = mul a 0.5:f32\n return b }");
    bdl_atom index;
    t_check(c, bdl_bind(b.p, BDL_P_cast, (bdl_param[]){bdl_pdtype(BDL_I32)}, &b.pool[3], 1, &index));
    t_check(c, bdl_bind(b.p, BDL_P_cond, (bdl_param[]){bdl_pprogs(branch, 2)}, (bdl_atom[]){index, out[0]}, 2, &out[0]));
    bdl_prog_unref(branch[0]), bdl_prog_unref(branch[1]);
  }
  for (int k = BODY_OUT; k < OUT; k++) /* the carry before the step, behind it, or both */
    out[k] = below(&b, 2) ? out[below(&b, 3)] : b.pool[CARRY_AT + (int)below(&b, 3)];
  t_check(c, bdl_prog_set_outputs(b.p, out, OUT));
  t_check(c, bdl_prog_new(c, "rows", &g.p));
  for (int i = 0; i < BODY_IN; i++) {
    const bdl_aval a = i == SLICE_AT ? rows_of(body_input(i), 2 * n + 1) : body_input(i);
    t_check(c, bdl_ir_input(g.p, &a, &in[i]));
  }
  for (int k = 0; k < 3; k++) { /* what it starts from is made here, or an operand */
    g.pool[k] = in[CARRY_AT + k];
    if (below(&g, 2)) t_check(c, bdl_bind1(g.p, BDL_P_sin, in[CARRY_AT + k], &in[CARRY_AT + k]));
  }
  in[SLICE_AT] = rows_of_input(&g, in[SLICE_AT], n);
  const bdl_param params[5] = {bdl_pint(1), bdl_pint(3), bdl_pint(n), bdl_pint((int64_t)below(&g, 2)), bdl_pprogs(&b.p, 1)};
  t_check(c, bdl_bind(g.p, BDL_P_scan, params, in, BODY_IN, res));
  int made = 0;
  for (int k = 0; k < 3; k++) { /* of the type of the carry: as it is, or beside what it was */
    out[made] = res[k];
    if (below(&g, 3) == 0) t_check(c, bdl_bind2(g.p, BDL_P_sub, out[made], g.pool[k], &out[made]));
    made++;
  }
  for (int k = 3; k < OUT; k++)
    for (int uses = 1 + (int)below(&g, 2); uses > 0; uses--) out[made++] = used(&g, res[k]);
  t_check(c, bdl_prog_set_outputs(g.p, out, made));
  bdl_prog_unref(b.p);
  if (seed % 3) return g.p;
  t_check(c, bdl_prog_new(c, "around", &p)); /* the same again and again */
  for (int i = 0; i < BODY_IN; i++) t_check(c, bdl_ir_input(p, bdl_aval_of(g.p, g.p->inputs.v[i]), &in[i]));
  const bdl_atom order[BODY_IN] = {in[0], in[SLICE_AT], in[1], in[2], in[3]};
  bdl_prog *body;
  bdl_atom z[3 + 3 * STACKED], inside[BODY_IN];
  t_check(c, bdl_prog_new(c, "again", &body));
  for (int i = 0; i < BODY_IN; i++) t_check(c, bdl_ir_input(body, bdl_aval_of(p, order[i]), &inside[i]));
  t_check(c, bdl_ir_inline(body, g.p, (bdl_atom[]){inside[0], inside[2], inside[3], inside[4], inside[1]}, z));
  t_check(c, bdl_prog_set_outputs(body, z, made));
  const bdl_param outer[5] = {bdl_pint(2), bdl_pint(3), bdl_pint(3), bdl_pint((int64_t)below(&g, 2)), bdl_pprogs(&body, 1)};
  t_check(c, bdl_bind(p, BDL_P_scan, outer, order, BODY_IN, z));
  t_check(c, bdl_prog_set_outputs(p, z, made));
  bdl_prog_unref(g.p);
  bdl_prog_unref(body);
  return p;
}

/* Another value of the first three, elements all of them, or a number beside one. */
static bdl_atom element(gen *g, bdl_atom number) {
  static const bdl_prim_id binary[] = {BDL_P_add, BDL_P_sub, BDL_P_mul, BDL_P_max, BDL_P_min};
  static const bdl_prim_id unary[] = {BDL_P_tanh, BDL_P_exp, BDL_P_abs, BDL_P_neg, BDL_P_floor};
  bdl_context *c = g->p->ctx;
  bdl_atom x = g->pool[below(g, (uint64_t)g->n)], y = below(g, 3) ? g->pool[below(g, (uint64_t)g->n)] : number, m, z;
  switch (below(g, 4)) {
    case 0: t_check(c, bdl_bind1(g->p, unary[below(g, 5)], x, &z)); break;
    case 1:
      t_check(c, bdl_bind2(g->p, BDL_P_ge, x, y, &m));
      t_check(c, bdl_bind3(g->p, BDL_P_select, m, g->pool[0], x, &z));
      break;
    default: t_check(c, bdl_bind2(g->p, binary[below(g, 5)], x, y, &z));
  }
  return g->pool[g->n++] = z;
}

/* Spikes as floats, or what is made of them: whole numbers. */
static bdl_atom spikes(gen *g) {
  bdl_context *c = g->p->ctx;
  bdl_param type = bdl_pdtype(BDL_F32);
  bdl_atom m[2], x[2];
  for (int k = 0; k < 2; k++) {
    t_check(c, bdl_bind2(g->p, BDL_P_gt, element(g, g->pool[0]), g->pool[k], &m[k]));
    t_check(c, bdl_bind(g->p, BDL_P_cast, &type, &m[k], 1, &x[k]));
  }
  const bdl_prim_id with[] = {BDL_P_add, BDL_P_sub, BDL_P_mul, BDL_P_max};
  if (below(g, 3)) t_check(c, bdl_bind2(g->p, with[below(g, 4)], x[0], x[1], &x[0]));
  if (below(g, 4) == 0) t_check(c, bdl_bind1(g->p, BDL_P_neg, x[0], &x[0])); /* sums of -0 */
  return x[0];
}

static bdl_atom all_of(gen *g, bdl_prim_id how, bdl_atom x) {
  static const int64_t axis = 0;
  bdl_param axes = bdl_pints(&axis, 1);
  bdl_atom z;
  t_check(g->p->ctx, bdl_bind(g->p, how, &axes, &x, 1, &z));
  return z;
}

bdl_prog *t_random_neurons(bdl_context *c, uint64_t seed, int32_t *pair) {
  enum { STEPS = 300, CARRY = 6, IN = 9, OUT = 12 };
  static const int64_t sizes[] = {3, 40, 512, 1300};
  static const bdl_prim_id reduce[] = {BDL_P_reduce_sum, BDL_P_reduce_max, BDL_P_reduce_min};
  const bdl_aval v = bdl_aval_make(BDL_F32, 1, &sizes[seed % 4]), k = bdl_aval_make(BDL_I32, 1, &sizes[seed % 4]);
  const bdl_aval one = bdl_aval_make(BDL_F32, 0, NULL), number = bdl_aval_make(BDL_I32, 0, NULL);
  const bdl_aval rows = bdl_aval_make(BDL_F32, 2, (int64_t[]){STEPS, v.shape[0]}), clock = bdl_aval_make(BDL_F32, 1, (int64_t[]){STEPS});
  /* constant; potentials, another State, counters; sum, count, time; input of each step, of each element */
  const bdl_aval *inside[IN] = {&v, &v, &v, &k, &one, &number, &one, &one, &v};
  const bdl_aval *outside[IN] = {&v, &v, &v, &k, &one, &number, &one, &clock, &rows};
  gen g = {.rng = seed};
  bdl_atom in[IN], out[OUT], m, x;
  bdl_prog *p;
  t_check(c, bdl_prog_new(c, "body", &g.p));
  for (int i = 0; i < IN; i++) t_check(c, bdl_ir_input(g.p, inside[i], &in[i]));
  g.pool[0] = in[1], g.pool[1] = in[2], g.pool[2] = in[0], g.pool[3] = in[8], g.n = 4;
  const bool early = below(&g, 2); /* does the group read time as it was? */
  t_check(c, bdl_bind2(g.p, BDL_P_add, in[6], in[7], &out[5]));
  for (int i = 0; i < 8; i++) element(&g, early ? in[6] : out[5]);
  t_check(c, bdl_bind1(g.p, BDL_P_tanh, element(&g, in[7]), &out[0]));
  t_check(c, bdl_bind1(g.p, BDL_P_tanh, element(&g, in[7]), &out[1]));
  t_check(c, bdl_bind2(g.p, BDL_P_ge, out[0], in[0], &m));
  t_check(c, bdl_bind2(g.p, BDL_P_add, in[3], in[3], &x));
  t_check(c, bdl_bind3(g.p, BDL_P_select, m, in[3], x, &out[2]));
  t_check(c, bdl_bind2(g.p, BDL_P_add, in[4], all_of(&g, BDL_P_reduce_sum, spikes(&g)), &out[3]));
  t_check(c, bdl_bind2(g.p, BDL_P_add, in[5], all_of(&g, reduce[below(&g, 3)], out[2]), &out[4]));
  out[6] = all_of(&g, below(&g, 2) ? BDL_P_reduce_and : BDL_P_reduce_or, m);
  out[7] = all_of(&g, reduce[below(&g, 3)], element(&g, in[7]));
  out[8] = below(&g, 2) ? out[0] : in[1]; /* a row of what is a State, too */
  out[9] = element(&g, in[7]);
  out[10] = m;
  const int64_t from = (int64_t)below(&g, (uint64_t)v.shape[0]), to = from + 1 + (int64_t)below(&g, (uint64_t)(v.shape[0] - from)), by = 1;
  bdl_param part[3] = {bdl_pints(&from, 1), bdl_pints(&to, 1), bdl_pints(&by, 1)}; /* some of the neurons, recorded */
  t_check(c, bdl_bind(g.p, BDL_P_slice, part, &out[1], 1, &out[11]));
  t_check(c, bdl_prog_set_outputs(g.p, out, OUT));
  t_check(c, bdl_prog_new(c, "neurons", &p));
  for (int i = 0; i < IN; i++) t_check(c, bdl_ir_input(p, outside[i], &in[i]));
  bdl_param params[5] = {bdl_pint(1), bdl_pint(CARRY), bdl_pint(STEPS), bdl_pint((int64_t)below(&g, 2)), bdl_pprogs(&g.p, 1)};
  t_check(c, bdl_bind(p, BDL_P_scan, params, in, IN, out));
  if (seed / 4 % 2) t_check(c, bdl_bind1(p, BDL_P_neg, out[8], &out[8])); /* so the State may stay in its rows */
  t_check(c, bdl_prog_set_outputs(p, out, OUT));
  bdl_prog_unref(g.p);
  for (int i = 0; i < OUT; i++) pair[i] = i < CARRY ? i + 1 : -1;
  return p;
}

bdl_prog *t_random_program(bdl_context *c, uint64_t seed) {
  gen g = {.rng = seed};
  t_check(c, bdl_prog_new(c, "random", &g.p));
  add_inputs(&g, 4);
  for (int i = 0; i < 40; i++) grow(&g);
  outputs(&g, 6);
  return g.p;
}

/* ---- for the native tier ------------------------------------------------------------------------------------ */

bdl_prog *t_long_loop(bdl_context *c, int64_t steps) {
  char text[1024];
  snprintf(text, sizeof text,
           "program p(a:f32[700], s:f32[]) {\n"
           "  c:f32[700], d:f32[] = scan[consts=0 carry=2 length=%lld reverse=0 body={program body(a:f32[700], s:f32[]) {\n"
           "    b:f32[700] = mul a 1.0001:f32\n    c:f32[700] = add b 0.1:f32\n    r:f32[] = reduce_sum[axes=(0)] c\n"
           "    d:f32[] = add s r\n    e:f32[] = mul d 0.5:f32\n    return c, e\n  }}] a s\n  return c, d\n}\n", (long long)steps);
  return t_parse(c, text);
}

void t_inputs_of(bdl_prog *p, bdl_tensor *in) {
  uint64_t rng = 5;
  t_random_inputs(p, in, &rng);
}

bdl_exec_context *t_tier(bdl_context *c, const char *name) {
  bdl_exec_context *x;
  t_check(c, bdl_exec_get(c, &x));
  t_check(c, bdl_native_set_tier(c, name));
  return x;
}

void t_new_folder(char folder[T_FOLDER]) {
  snprintf(folder, T_FOLDER, "/tmp/bdl-test-XXXXXX");
  assert_non_null(mkdtemp(folder));
}

void t_in_folder(const char *folder, const char *command) {
  char line[512];
  snprintf(line, sizeof line, "cd %s && %s", folder, command);
  if (system(line) != 0) fail_msg("%s", line);
}

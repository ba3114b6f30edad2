/*
** test_batch.c -- a program over lanes against a loop over the lanes.
*/
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../ir/cases.h"
#include "../ir/text.h"
#include "exec/exec.h"
#include "transform/transform.h"

#define OK(e)                                                                  \
  do {                                                                         \
    if ((e) != BDL_OK) fail_msg("%s", bdl_last_error(*state)->message);        \
  } while (0)

enum { MAX = 32 };

/* ---- tensors ------------------------------------------------------------------------------------- */

static double uniform(uint64_t *seed) { return (double)(t_random(seed) >> 11) * 0x1p-53; }

static bdl_tensor random_tensor(void **state, const bdl_aval *a, double lo, double hi, uint64_t *seed) {
  const size_t size = bdl_dtype_size(a->dtype);
  bdl_tensor t;
  OK(bdl_tensor_new(bdl_device_cpu(*state), a, &t));
  for (int64_t i = 0; i < bdl_aval_numel(a); i++) {
    const double u = uniform(seed);
    const bdl_scalar v = bdl_scalar_from_f64(a->dtype, bdl_dtype_is_float(a->dtype) ? lo + (hi - lo) * u : floor(lo + (hi - lo + 1) * u));
    memcpy((char *)bdl_tensor_data(&t) + (size_t)i * size, &v, size);
  }
  return t;
}

static void unref_all(bdl_tensor *t, int64_t n) {
  for (int64_t i = 0; i < n; i++) bdl_tensor_unref(&t[i]);
}

/* Row `lane` of x, or x itself. */
static bdl_tensor lane_of(void **state, const bdl_tensor *x, bool batched, int64_t lane) {
  if (!batched) return bdl_tensor_ref(x);
  bdl_tensor t;
  const bdl_aval a = bdl_aval_make(x->aval.dtype, x->aval.ndim - 1, x->aval.shape + 1);
  OK(bdl_tensor_new(bdl_device_cpu(*state), &a, &t));
  const size_t bytes = bdl_aval_bytes(&a);
  if (bytes) memcpy(bdl_tensor_data(&t), (char *)bdl_tensor_data(x) + (size_t)lane * bytes, bytes);
  return t;
}

static double at(const bdl_tensor *t, int64_t i) {
  const void *x = bdl_tensor_data(t);
  return t->aval.dtype == BDL_F64 ? ((const double *)x)[i] : ((const float *)x)[i];
}

/* Bits for bits, or floats within `tolerance` of the largest. */
static bool same(const bdl_tensor *x, const bdl_tensor *y, double tolerance) {
  if (!bdl_aval_eq(&x->aval, &y->aval)) return false;
  const size_t bytes = bdl_aval_bytes(&x->aval);
  if (bytes == 0 || memcmp(bdl_tensor_data(x), bdl_tensor_data(y), bytes) == 0) return true;
  if (tolerance == 0 || !bdl_dtype_is_float(x->aval.dtype)) return false;
  double largest = 1;
  if (x->aval.dtype == BDL_F32) tolerance *= 0x1p29;
  for (int64_t i = 0; i < bdl_aval_numel(&x->aval); i++) largest = fmax(largest, fabs(at(x, i)));
  for (int64_t i = 0; i < bdl_aval_numel(&x->aval); i++)
    if (!(fabs(at(x, i) - at(y, i)) <= tolerance * largest) && !(isnan(at(x, i)) && isnan(at(y, i)))) return false;
  return true;
}

/* ---- p over lanes -------------------------------------------------------------------------------- */

/* Inputs of p with `lanes` where batched. */
static void operands(void **state, const bdl_prog *p, const bool *batched, int64_t lanes, const double *lo, const double *hi, uint64_t *seed,
                     bdl_tensor *in) {
  for (int64_t i = 0; i < p->inputs.n; i++) {
    bdl_aval a = *bdl_aval_of(p, p->inputs.v[i]);
    if (batched[i]) {
      bdl_aval z = {.dtype = a.dtype, .ndim = a.ndim + 1, .shape = {lanes}};
      memcpy(z.shape + 1, a.shape, (size_t)a.ndim * sizeof a.shape[0]);
      a = z;
    }
    in[i] = random_tensor(state, &a, lo[i], hi[i], seed);
  }
}

/* Where event_ids leaves its tail open. */
static void close_tail(const bdl_prog *p, bdl_tensor *out) {
  if (p->eqns.n != 1 || p->eqns.v[0].prim != BDL_P_event_ids) return;
  const int32_t count = *(int32_t *)bdl_tensor_data(&out[1]);
  for (int64_t i = count; i < out[0].aval.shape[0]; i++) ((int32_t *)bdl_tensor_data(&out[0]))[i] = 0;
}

/* q = p over lanes gives, lane by lane, what p gives. */
static void same_as_loop(void **state, const bdl_prog *p, const bdl_prog *q, const bool *batched, const bool *out_batched, int64_t lanes,
                         const bdl_tensor *in, double tolerance) {
  bdl_tensor out[MAX], one[MAX], want[MAX];
  OK(bdl_exec_prog(*state, q, in, out));
  for (int64_t l = 0; l < lanes; l++) {
    for (int64_t i = 0; i < p->inputs.n; i++) one[i] = lane_of(state, &in[i], batched[i], l);
    OK(bdl_exec_prog(*state, p, one, want));
    close_tail(p, want);
    bdl_tensor got[MAX];
    for (int i = 0; i < p->n_outputs; i++) got[i] = lane_of(state, &out[i], out_batched[i], l);
    close_tail(p, got);
    for (int i = 0; i < p->n_outputs; i++)
      if (!same(&got[i], &want[i], tolerance)) fail_msg("lane %d, output %d differs\n%s\n%s", (int)l, i, t_print(p), t_print(q));
    unref_all(got, p->n_outputs);
    unref_all(want, p->n_outputs);
    unref_all(one, p->inputs.n);
  }
  unref_all(out, p->n_outputs);
}

/* False: no rule. */
static bool over_lanes(void **state, const bdl_prog *p, const bool *batched, int64_t lanes, const double *lo, const double *hi, uint64_t seed,
                       double tolerance) {
  bdl_prog *q = NULL;
  bdl_tensor in[MAX];
  bool out_batched[MAX];
  const bdl_status s = bdl_transform_batch(p, batched, lanes, &q, out_batched);
  if (s == BDL_ENOTSUP) return false;
  OK(s);
  OK(bdl_ir_verify(q));
  operands(state, p, batched, lanes, lo, hi, &seed, in);
  same_as_loop(state, p, q, batched, out_batched, lanes, in, tolerance);
  unref_all(in, p->inputs.n);
  bdl_prog_unref(q);
  return true;
}

/* ---- every primitive ------------------------------------------------------------------------------- */

/* Sums whose order may differ between a lane and all of them. */
static double tolerance_of(bdl_prim_id p) {
  switch (p) {
    case BDL_P_reduce_sum:
    case BDL_P_reduce_prod:
    case BDL_P_dot:
    case BDL_P_conv:
    case BDL_P_triangular_solve:
    case BDL_P_solve:
    case BDL_P_cholesky:
    case BDL_P_lu:
    case BDL_P_transposed: return 1e-14;
    default: return 0;
  }
}

static bool runs(bdl_prim_id p) { return !(bdl_prims[p].flags & BDL_F_EFFECT) && p != BDL_P_transposed; }

static void every_rule_is_the_loop(void **state) {
  for (int p = 0; p < BDL_P_COUNT; p++)
    for (uint64_t seed = 1; runs((bdl_prim_id)p) && seed <= 12; seed++) {
      t_case t;
      if (!t_case_new(*state, (bdl_prim_id)p, seed, BDL_DTYPE_COUNT, &t)) fail_msg("no case of %s", bdl_prims[p].name);
      const int n = (int)t.p->inputs.n;
      for (int subset = 1; subset < 1 << n; subset++) {
        bool batched[MAX];
        for (int i = 0; i < n; i++) batched[i] = subset >> i & 1;
        const int64_t lanes = (int64_t)((seed + (uint64_t)subset) % 4);
        if (!over_lanes(state, t.p, batched, lanes, t.lo, t.hi, seed, tolerance_of((bdl_prim_id)p)) && bdl_prims[p].batch)
          fail_msg("%s", bdl_last_error(*state)->message);
      }
      bdl_prog_unref(t.p);
    }
}

/* Lanes of lanes: the batched program is a program. */
static void lanes_of_lanes(void **state) {
  for (int p = 0; p < BDL_P_COUNT; p++)
    for (uint64_t seed = 1; runs((bdl_prim_id)p) && seed <= 8; seed++) {
      t_case t;
      if (!t_case_new(*state, (bdl_prim_id)p, seed, BDL_DTYPE_COUNT, &t)) continue;
      const int n = (int)t.p->inputs.n;
      uint64_t random = seed;
      for (int k = 0; n > 0 && k < 6; k++) {
        bool batched[MAX], again[MAX], out[MAX];
        bdl_prog *q = NULL;
        double lo[MAX], hi[MAX];
        for (int i = 0; i < n; i++) {
          batched[i] = t_random(&random) % 2;
          again[i] = t_random(&random) % 2;
          lo[i] = t.lo[i], hi[i] = t.hi[i];
        }
        if (bdl_transform_batch(t.p, batched, 3, &q, out) != BDL_OK) continue;
        over_lanes(state, q, again, 2, lo, hi, seed, tolerance_of((bdl_prim_id)p));
        bdl_prog_unref(q);
      }
      bdl_prog_unref(t.p);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    T_TEST(every_rule_is_the_loop),
    T_TEST(lanes_of_lanes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

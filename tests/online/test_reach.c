/*
** test_reach.c -- structure against numbers: what a Jacobian holds is where the sets say, for every primitive; neighbours and
** lanes of small steps by hand; failed allocations.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../ir/cases.h"
#include "../ir/text.h"
#include "../support/faults.h"
#include "exec/exec.h"
#include "online/reach.h"
#include "transform/transform.h"

#define OK(e)                                                           \
  do {                                                                  \
    if ((e) != BDL_OK) fail_msg("%s", bdl_last_error(*state)->message); \
  } while (0)

enum { MAX = 32 };

static double uniform(uint64_t *seed) { return (double)(t_random(seed) >> 11) * 0x1p-53; }

static bdl_tensor operand(void **state, const t_case *t, int64_t i, uint64_t *seed) {
  const bdl_aval *a = bdl_aval_of(t->p, t->p->inputs.v[i]);
  bdl_tensor x;
  OK(bdl_tensor_new(bdl_device_cpu(*state), a, &x));
  for (int64_t k = 0; k < bdl_aval_numel(a); k++) {
    const double u = uniform(seed), lo = t->lo[i], span = t->hi[i] - lo;
    const double x_k = bdl_dtype_is_float(a->dtype) ? lo + span * u : (double)(int64_t)(lo + (span + 1) * u);
    const bdl_scalar v = bdl_scalar_from_f64(a->dtype, x_k);
    memcpy((char *)bdl_tensor_data(&x) + (size_t)k * bdl_dtype_size(a->dtype), &v, bdl_dtype_size(a->dtype));
  }
  return x;
}

/* Their rules are as precise as values that are nowhere zero can show. */
static bool precise(bdl_prim_id p) {
  switch (p) {
    case BDL_P_add: case BDL_P_mul: case BDL_P_reshape: case BDL_P_broadcast: case BDL_P_permute: case BDL_P_slice: case BDL_P_reverse:
    case BDL_P_pad: case BDL_P_concatenate: case BDL_P_reduce_sum: case BDL_P_dot: return true;
    default: return false;
  }
}

static bool has(const bdl_reach *r, int32_t set, int64_t q) { return bdl_reach_set(r, set)[q / 64] >> q % 64 & 1; }

/* dz/dx column by column, x the operand k. */
static void compare(void **state, const t_case *t, bdl_prim_id prim, int64_t k, bdl_tensor *in, uint64_t seed) {
  const bdl_prog *p = t->p;
  const bdl_aval *a = bdl_aval_of(p, p->inputs.v[k]);
  const int64_t n = bdl_aval_numel(a);
  bool active[MAX] = {false};
  bdl_prog *jvp = NULL;
  bdl_reach r;
  bdl_reached from[MAX] = {{0}}, to[MAX];
  active[k] = true;
  if (bdl_transform_jvp(p, active, &jvp) != BDL_OK) return; /* no rule: nothing is learned through it */
  OK(bdl_reach_init(&r, *state, n));
  for (int64_t i = 0; i < p->inputs.n; i++)
    if (!bdl_dtype_is_float(in[i].aval.dtype)) from[i].value = &in[i];
  from[k].set = bdl_arena_alloc(&r.a, (size_t)n * sizeof *from[k].set + 1);
  for (int64_t q = 0; q < n; q++) from[k].set[q] = (int32_t)q + 1;
  OK(bdl_reach_run(&r, p, from, to));
  for (int64_t q = 0; q < n; q++) {
    bdl_tensor out[MAX];
    OK(bdl_tensor_new(bdl_device_cpu(*state), a, &in[p->inputs.n]));
    for (int64_t i = 0; i < n; i++) ((double *)bdl_tensor_data(&in[p->inputs.n]))[i] = i == q;
    OK(bdl_exec_prog(*state, jvp, in, out));
    for (int z = 0, at = p->n_outputs; z < p->n_outputs; z++) {
      if (!bdl_dtype_is_float(out[z].aval.dtype)) continue;
      const bdl_tensor *dz = &out[at++];
      for (int64_t i = 0; i < bdl_aval_numel(&dz->aval); i++) {
        const bool there = to[z].set && has(&r, to[z].set[i], q);
        const double v = ((const double *)bdl_tensor_data(dz))[i];
        if (v != 0 && !there)
          fail_msg("%s, seed %d: d z[%d] / d operand %d [%d] is missed", bdl_prims[prim].name, (int)seed, (int)i,
                   (int)k, (int)q);
        if (v == 0 && there && precise(prim))
          fail_msg("%s, seed %d: z[%d] does not depend on operand %d [%d]", bdl_prims[prim].name, (int)seed, (int)i,
                   (int)k, (int)q);
      }
    }
    for (int z = 0; z < jvp->n_outputs; z++) bdl_tensor_unref(&out[z]);
    bdl_tensor_unref(&in[p->inputs.n]);
  }
  bdl_reach_fini(&r);
  bdl_prog_unref(jvp);
}

static void every_derivative_is_where_the_sets_say(void **state) {
  for (int prim = 0; prim < BDL_P_COUNT; prim++) {
    if (bdl_prims[prim].flags & (BDL_F_EFFECT | BDL_F_LANES) || prim == BDL_P_transposed) continue;
    for (uint64_t seed = 1; seed <= 12; seed++) {
      t_case t;
      bdl_tensor in[MAX];
      uint64_t values = seed;
      if (!t_case_new(*state, (bdl_prim_id)prim, seed, BDL_F64, &t)) continue;
      for (int64_t i = 0; i < t.p->inputs.n; i++) in[i] = operand(state, &t, i, &values);
      for (int64_t k = 0; k < t.p->inputs.n; k++)
        if (in[k].aval.dtype == BDL_F64) compare(state, &t, (bdl_prim_id)prim, k, in, seed);
      for (int64_t i = 0; i < t.p->inputs.n; i++) bdl_tensor_unref(&in[i]);
      bdl_prog_unref(t.p);
    }
  }
}

/* ---- neighbours */

static bdl_neighbours neighbours(void **state, bdl_prog *p, int order, bool known) {
  static const bdl_tensor *none[MAX];
  const bdl_step s = {.p = p, .n_hidden = 1, .in = &p->inputs.v[0], .out = &p->outputs[0]};
  bdl_neighbours z;
  OK(bdl_online_neighbours(&s, (int[]){0}, 1, known ? none : NULL, order, 0, &z));
  return z;
}

/* A ring: 0 -> 1 -> 2 -> 3 -> 4 -> 0. */
static const char *ring =
  "program p(h:f64[5]) {\n a:f64[4] = slice[start=(0) stop=(4) step=(1)] h\n b:f64[1] = slice[start=(4) stop=(5) step=(1)] h\n"
  " c:f64[5] = concatenate[axis=0] b a\n z:f64[5] = tanh c\n return z }";

static void a_ring_reaches_one_more_each_step(void **state) {
  bdl_prog *p = t_parse(*state, ring);
  for (int order = 1; order <= 7; order++) {
    bdl_neighbours z = neighbours(state, p, order, true);
    const int64_t width = BDL_MIN(order, 5);
    assert_int_equal(z.width, width);
    assert_int_equal(z.lanes, 1);
    for (int64_t i = 0; i < 5; i++) {
      bool found[5] = {false};
      assert_int_equal(z.at[i * width], i);
      for (int64_t k = 0; k < width; k++) found[(z.at[i * width + k] - i + 5) % 5] = true;
      for (int64_t k = 0; k < 5; k++) assert_int_equal(found[k], k < width);
      for (int64_t k = 2; k < width; k++) assert_true(z.at[i * width + k] > z.at[i * width + k - 1]);
      for (int64_t k = 0; k < width * width; k++) {
        const int32_t to = z.at[i * width + k / width], from = z.at[i * width + k % width];
        assert_int_equal(z.direct[i * width * width + k], to == (from + 1) % 5);
      }
    }
    bdl_online_neighbours_fini(&z);
  }
  bdl_prog_unref(p);
}

static void rows_of_a_batch_share_lanes(void **state) {
  bdl_prog *p = t_parse(*state, "program p(h:f64[6,4], w:f64[4,4]) {\n"
    " z:f64[6,4] = dot[lhs_contract=(1) rhs_contract=(0) lhs_batch=() rhs_batch=()] h w\n return z }");
  bdl_neighbours z = neighbours(state, p, 2, true);
  assert_int_equal(z.width, 4);
  assert_int_equal(z.lanes, 4);
  bdl_online_neighbours_fini(&z);
  z = neighbours(state, p, 2, false);
  assert_int_equal(z.width, 24);
  assert_int_equal(z.lanes, 24);
  bdl_online_neighbours_fini(&z);
  bdl_prog_unref(p);
}

static void a_loop_reaches_what_its_rounds_do(void **state) {
  bdl_prog *p = t_parse(*state, "program p(h:f64[5]) {\n"
    " z:f64[5] = scan[consts=0 carry=1 length=2 reverse=0 body={program b(h:f64[5]) {\n"
    "  a:f64[4] = slice[start=(0) stop=(4) step=(1)] h\n  b:f64[5] = pad[lo=(1) hi=(0) inner=(0)] a 0.0:f64\n  c:f64[5] = add h b\n"
    "  return c }}] h\n return z }");
  bdl_neighbours z = neighbours(state, p, 2, true);
  assert_int_equal(z.width, 5); /* any number of rounds: never too few */
  bdl_online_neighbours_fini(&z);
  bdl_prog_unref(p);
}

static void too_large_a_jacobian_is_refused(void **state) {
  bdl_prog *p = t_parse(*state, ring);
  const bdl_step s = {.p = p, .n_hidden = 1, .in = &p->inputs.v[0], .out = &p->outputs[0]};
  const bdl_tensor *known[1] = {NULL};
  bdl_neighbours z;
  assert_int_equal(bdl_online_neighbours(&s, (int[]){0}, 1, known, 3, 44, &z), BDL_ENOTSUP);
  assert_non_null(strstr(bdl_last_error(*state)->message,
                         "3 positions of each of 5, with 1 state: a Jacobian of 45 elements, more than 44"));
  bdl_online_neighbours_fini(&z);
  bdl_clear_error(*state);
  OK(bdl_online_neighbours(&s, (int[]){0}, 1, known, 3, 45, &z));
  bdl_online_neighbours_fini(&z);
  bdl_prog_unref(p);
}

/* ---- failed allocations */

static void a_failed_allocation_is_reported(void **state) {
  (void)state;
  t_faults f = {.left = INT64_MAX};
  bdl_context *c = bdl_context_new(t_failing_alloc, &f);
  bdl_prog *p = t_parse(c, ring);
  const bdl_step s = {.p = p, .n_hidden = 1, .in = &p->inputs.v[0], .out = &p->outputs[0]};
  const bdl_tensor *known[1] = {NULL};
  for (int64_t n = 0;; n++) {
    bdl_neighbours z;
    f = (t_faults){.left = n};
    const bdl_status status = bdl_online_neighbours(&s, (int[]){0}, 1, known, 3, 0, &z);
    bdl_online_neighbours_fini(&z);
    assert_int_equal(status, f.happened ? BDL_ENOMEM : BDL_OK);
    if (!f.happened) break;
  }
  f.left = INT64_MAX;
  bdl_prog_unref(p);
  assert_int_equal(c->mem_used, 0);
  bdl_context_free(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    T_TEST(every_derivative_is_where_the_sets_say), T_TEST(a_ring_reaches_one_more_each_step), T_TEST(rows_of_a_batch_share_lanes),
    T_TEST(a_loop_reaches_what_its_rounds_do),      T_TEST(too_large_a_jacobian_is_refused),
    cmocka_unit_test(a_failed_allocation_is_reported),
  };
  return cmocka_run_group_tests_name("online/reach", tests, NULL, NULL);
}

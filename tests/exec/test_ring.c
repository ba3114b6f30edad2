/*
** Rings of delayed spikes: Booleans in long loops that only event products read, the same bits, whatever the ring held before.
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

#include "../support/faults.h"
#include "../ir/text.h"
#include "exec/exec.h"
#include "exec/exec_context.h"
#include "plan/plan.h"
#include "programs.h"

enum { RING = 5, N = 600, WIDTH = 7, IN = 5, OUT = 4, TEXT = 4096 };

/* So many steps of values V [600], spikes where they pass 0.8, written to the ring h at place `at`, read from the place that is
** written next (the oldest); y counts what arrives.  WRITTEN: f32[600] of p, s; READ: f32[600] of b, t, another h, i; ARRIVES: f32[7] of s. */
#define LOOP                                                                                                                       \
  "program p(w:f32[600,7], h:f32[5,600], a:i32[], V:f32[600], y:f32[7]) {\n"                                                       \
  "  d:f32[5,600], e:i32[], f:f32[600], g:f32[7] = scan[consts=1 carry=4 length=%d reverse=0 body={"                               \
  "program o(w:f32[600,7], h:f32[5,600], a:i32[], V:f32[600], y:f32[7]) {\n"                                                       \
  "    c:f32[600] = mul V 1.37:f32\n    d:f32[600] = floor c\n    e:f32[600] = sub c d\n    p:bool[600] = ge e 0.8:f32\n"          \
  "    u:f32[600] = cast[dtype=f32] p\n" "%s"                                                                                      \
  "    k:f32[1,600] = reshape[shape=(1,600)] v\n    b:f32[5,600] = dynamic_update_slice h k a 0:i32\n"                             \
  "    l:bool[] = eq a 4:i32\n    m:i32[] = add a 1:i32\n    i:i32[] = select l 0:i32 m\n"                                         \
  "%s" "    z:f32[7] = add y q\n    return b, i, e, z\n  }}] w h a V y\n  return d, e, f, g\n}\n"

#define SPIKES "    v:f32[600] = copy u\n"
#define VALUES "    v:f32[600] = mul u e\n"
#define OLDEST "    r:f32[1,600] = dynamic_slice[sizes=(1,600)] b i 0:i32\n    s:f32[600] = reshape[shape=(600)] r\n"
#define BEFORE "    r:f32[1,600] = dynamic_slice[sizes=(1,600)] h a 0:i32\n    s:f32[600] = reshape[shape=(600)] r\n"
#define EACH                                                                                                                       \
  "    j:i32[600] = iota[shape=(600) axis=0 dtype=i32]\n    t:i32[] = mul i 600:i32\n    n:i32[600] = add j t\n"                \
  "    r:f32[3000] = reshape[shape=(3000)] b\n    s:f32[600] = gather[axis=0] r n\n"
#define EVENTS "    q:f32[7] = event_dot[transpose=0] s w\n"
#define NUMBERS "    q:f32[7] = dot[lhs_contract=(0) rhs_contract=(0) lhs_batch=() rhs_batch=()] s w\n"

static bdl_prog *loop(bdl_context *c, int length, const char *written, const char *read, const char *arrives) {
  char text[TEXT], parts[TEXT / 2];
  snprintf(parts, sizeof parts, "%s%s", read, arrives);
  assert_true(snprintf(text, sizeof text, LOOP, length, written, parts) < TEXT);
  return t_parse(c, text);
}

/* What no spike is, is in the ring, too.  at: where it is written first, perhaps before its begin, which counts as that. */
static void operands(bdl_prog *p, int32_t at, bdl_tensor in[IN]) {
  t_inputs_of(p, in);
  for (int k = 0; k < RING * N; k += 3) ((float *)bdl_tensor_data(&in[1]))[k] = k % 2 ? 0.25F : k % 7 ? -2 : NAN;
  *(int32_t *)bdl_tensor_data(&in[2]) = at;
}

/* c->unfused: as it is written. */
static bdl_status run(bdl_context *c, bdl_prog *p, const bdl_tensor *in, bdl_tensor *out, bool *narrow) {
  bdl_plan *plan;
  TRY(bdl_plan_new(c, p, (int32_t[]){1, 2, 3, 4}, &plan));
  char *text = t_print(plan->prog);
  *narrow = strstr(text, "bool[5,600] = dynamic_update_slice") != NULL;
  free(text);
  const bdl_status s = bdl_exec_run(plan, in, out);
  bdl_plan_free(plan);
  return s;
}

static void check(bdl_context *c, bdl_prog *p, int32_t at, bool wanted, bool interrupted) {
  bdl_tensor in[IN], want[OUT] = {0}, got[OUT] = {0};
  bool narrow;
  const bdl_status s = interrupted ? BDL_EINTERRUPT : BDL_OK;
  operands(p, at, in);
  c->unfused = 1, c->interrupted = interrupted;
  assert_int_equal(run(c, p, in, want, &narrow), s);
  assert_false(narrow);
  c->unfused = 0, c->interrupted = interrupted;
  assert_int_equal(run(c, p, in, got, &narrow), s);
  assert_int_equal(narrow, wanted);
  bdl_clear_error(c);
  t_same_bits(want, got, OUT, "ring", 1);
  t_drop(in, IN), t_drop(want, OUT), t_drop(got, OUT);
  bdl_prog_unref(p);
}

static void rings_of_spikes_are_booleans(void **state) {
  check(*state, loop(*state, 20, SPIKES, OLDEST, EVENTS), -3, true, false);
  check(*state, loop(*state, 20, SPIKES, BEFORE, EVENTS), -3, true, false);
  check(*state, loop(*state, 20, SPIKES, EACH, EVENTS), 2, true, false);
}

/* They go from the pass that makes them into the ring, and from there to the events. */
static void rows_of_spikes_are_not_copied(void **state) {
  bdl_context *c = *state;
  bdl_prog *p = loop(c, 20, SPIKES, OLDEST, EVENTS);
  bdl_plan *plan;
  int rows = 0;
  t_check(c, bdl_plan_new(c, p, (int32_t[]){1, 2, 3, 4}, &plan));
  for (int32_t k = 0; k < plan->n_insts; k++) {
    const bdl_inst *i = plan->by_id[k];
    rows += i->kind == BDL_I_ROW;
    assert_false(i->kind == BDL_I_KERNEL && (i->prim == BDL_P_dynamic_slice || i->prim == BDL_P_dynamic_update_slice));
  }
  assert_int_equal(rows, 2);
  bdl_plan_free(plan);
  bdl_prog_unref(p);
}

static void others_keep_their_numbers(void **state) {
  check(*state, loop(*state, 19, SPIKES, OLDEST, EVENTS), 3, false, false); /* not four times round */
  check(*state, loop(*state, 20, VALUES, OLDEST, EVENTS), 3, false, false);
  check(*state, loop(*state, 20, SPIKES, OLDEST, NUMBERS), 3, false, false);
}

static void an_interrupt_leaves_a_ring_of_whole_steps(void **state) {
  check(*state, loop(*state, 1000, SPIKES, OLDEST, EVENTS), 3, true, true);
}

static void failed_allocations_leave_nothing(void **state) {
  (void)state;
  for (int persistent = 0; persistent < 2; persistent++) {
    bool done = false;
    for (int64_t n = 0; !done; n++) {
      t_faults f = {.left = INT64_MAX};
      bdl_context *c = bdl_context_new(t_failing_alloc, &f);
      bdl_prog *p = loop(c, 20, SPIKES, OLDEST, EVENTS);
      bdl_tensor in[IN], out[OUT] = {0};
      bdl_plan *plan;
      operands(p, 0, in);
      f.persistent = persistent != 0;
      f.left = n;
      bdl_status s = bdl_plan_new(c, p, NULL, &plan);
      if (s == BDL_OK) {
        s = bdl_exec_run(plan, in, out);
        bdl_plan_free(plan);
      }
      done = !f.happened;
      f = (t_faults){.left = INT64_MAX};
      if (s == BDL_OK) t_drop(out, OUT);
      else assert_int_equal(s, BDL_ENOMEM);
      t_drop(in, IN);
      bdl_prog_unref(p);
      bdl_context_free(c);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    T_TEST(rings_of_spikes_are_booleans), T_TEST(rows_of_spikes_are_not_copied), T_TEST(others_keep_their_numbers), T_TEST(an_interrupt_leaves_a_ring_of_whole_steps),
    cmocka_unit_test(failed_allocations_leave_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
** Rows that numbers choose: read and written where they stand, and where they may not be, copied; the same bits.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../exec/programs.h"
#include "../exec/rings.h"
#include "../ir/text.h"
#include "exec/exec.h"
#include "plan/plan.h"

typedef struct count {
  int rows, slices, updates; /* rows found; kernels that copy */
} count;

static count counted(const bdl_plan *plan) {
  count n = {0};
  for (int32_t k = 0; k < plan->n_insts; k++) {
    const bdl_inst *i = plan->by_id[k];
    n.rows += i->kind == BDL_I_ROW;
    n.slices += i->kind == BDL_I_KERNEL && i->prim == BDL_P_dynamic_slice;
    n.updates += i->kind == BDL_I_KERNEL && i->prim == BDL_P_dynamic_update_slice;
  }
  return n;
}

/* A loop of 9 steps over a ring h and a value V: `body` makes b, the ring, and z, the value, of h, a, V. */
#define LOOP                                                                                                              \
  "program p(h:f32[4,80], a:i32[], V:f32[80]) {\n"                                                                        \
  "  c:f32[4,80], d:i32[], e:f32[80] = scan[consts=0 carry=3 length=9 reverse=0 body={"                                   \
  "program o(h:f32[4,80], a:i32[], V:f32[80]) {\n    m:i32[] = add a 1:i32\n    i:i32[] = mod m 4:i32\n"                  \
  "    u:f32[80] = tanh V\n    k:f32[1,80] = reshape[shape=(1,80)] u\n%s    return b, i, z\n  }}] h a V\n  return c, d, e\n}\n"
#define WRITE "    b:f32[4,80] = dynamic_update_slice h k a 0:i32\n"
#define READ(x) "    r:f32[1,80] = dynamic_slice[sizes=(1,80)] " x " i 0:i32\n"
#define USE "    s:f32[80] = reshape[shape=(80)] r\n    z:f32[80] = add s V\n"

static void expect(bdl_context *c, const char *text, count want) {
  bdl_prog *p = t_parse(c, text);
  bdl_tensor in[MANY], out[MANY] = {0}, plain[MANY] = {0};
  bdl_plan *plan;
  t_inputs_of(p, in);
  for (int unfused = 0; unfused < 2; unfused++) {
    c->unfused = unfused;
    t_check(c, bdl_plan_new(c, p, NULL, &plan));
    if (!unfused) {
      const count n = counted(plan);
      if (memcmp(&n, &want, sizeof n) != 0)
        fail_msg("%d rows, %d slices and %d updates copied, not %d, %d, %d:\n%s", n.rows, n.slices, n.updates, want.rows, want.slices, want.updates, text);
    }
    t_check(c, bdl_exec_run(plan, in, unfused ? plain : out));
    bdl_plan_free(plan);
  }
  c->unfused = 0;
  t_same_bits(plain, out, p->n_outputs, text, 0);
  t_drop(in, (int)p->inputs.n), t_drop(out, p->n_outputs), t_drop(plain, p->n_outputs);
  bdl_prog_unref(p);
}

static void loop(bdl_context *c, const char *body, count want) {
  char text[2048];
  assert_true(snprintf(text, sizeof text, LOOP, body) < (int)sizeof text);
  expect(c, text, want);
}

static void rows_of_a_ring_stand(void **state) {
  loop(*state, WRITE READ("b") USE, (count){.rows = 2});
  loop(*state, READ("h") USE "    l:f32[80] = cumsum[axis=0 reverse=0] z\n    n:f32[80] = tanh l\n    q:f32[1,80] = reshape[shape=(1,80)] n\n"
       "    b:f32[4,80] = dynamic_update_slice h q a 0:i32\n", (count){.rows = 2});
  loop(*state, WRITE "    r:f32[2,80] = dynamic_slice[sizes=(2,80)] b i 0:i32\n    t:f32[160] = reshape[shape=(160)] r\n"
       "    s:f32[79] = slice[start=(3) stop=(160) step=(2)] t\n"
       "    w:f32[] = reduce_sum[axes=(0)] s\n    z:f32[80] = add V w\n", (count){.rows = 2});
}

static void what_may_be_written_over_is_copied(void **state) {
  /* the ring becomes another by a pass that may come before the row is used */
  loop(*state, READ("h") USE "    b:f32[4,80] = mul h 0.5:f32\n", (count){.slices = 1});
  /* two rows are written: between them the ring is nobody's */
  loop(*state, "    o:f32[4,80] = dynamic_update_slice h k a 0:i32\n" READ("o") USE "    l:f32[1,80] = reshape[shape=(1,80)] z\n"
       "    b:f32[4,80] = dynamic_update_slice o l m 0:i32\n", (count){.rows = 1, .slices = 1, .updates = 1}); /* z is a result, too */
}

static void values_that_come_too_late_are_copied(void **state) {
  /* its place hangs on the value itself */
  loop(*state, "    q:i32[] = argmax[axis=0] u\n    b:f32[4,80] = dynamic_update_slice h k q 0:i32\n" READ("b") USE, (count){.rows = 1, .updates = 1});
  /* what stood in the ring is read where the value is made */
  loop(*state, READ("h") USE WRITE, (count){.rows = 1, .updates = 1});
  loop(*state, "    r:f32[1,80] = slice[start=(0,0) stop=(1,80) step=(1,1)] h\n" USE WRITE, (count){.updates = 1});
}

static void others_are_copied(void **state) {
  /* results */
  expect(*state, "program p(x:f32[4,80], a:i32[]) {\n  y:f32[1,80] = dynamic_slice[sizes=(1,80)] x a 0:i32\n  z:f32[80] = reshape[shape=(80)] y\n"
         "  return z\n}\n", (count){.slices = 1});
  /* what is no run of elements, one value */
  expect(*state, "program p(x:f32[4,80], a:i32[]) {\n  y:f32[4,3] = dynamic_slice[sizes=(4,3)] x 0:i32 a\n  z:f32[4,3] = neg y\n  return z\n}\n", (count){.slices = 1});
  expect(*state, "program p(x:f32[80], a:i32[]) {\n  y:f32[1] = dynamic_slice[sizes=(1)] x a\n  z:f32[1] = neg y\n  return z\n}\n", (count){.slices = 1});
  /* nobody reads the ring: the loop goes tile by tile */
  loop(*state, WRITE "    z:f32[80] = mul V 0.5:f32\n", (count){.updates = 1});
}

static void operands_stand(void **state) {
  expect(*state, "program p(x:f32[4,80], a:i32[]) {\n  y:f32[2,80] = dynamic_slice[sizes=(2,80)] x a 0:i32\n  z:f32[2,80] = neg y\n  return z\n}\n", (count){.rows = 1});
  expect(*state, "program p(x:f32[1,9,4], a:i32[]) {\n  y:f32[1,2,4] = dynamic_slice[sizes=(1,2,4)] x 0:i32 a 0:i32\n  z:f32[4,2,1] = permute[axes=(2,1,0)] y\n"
         "  w:f32[4,2,1] = exp z\n  return w\n}\n", (count){.rows = 1});
}

static void random_rings_agree(void **state) {
  bdl_context *c = *state;
  count all = {0};
  for (uint64_t seed = 1; seed <= 600; seed++) {
    int32_t pair[T_RING_OUT];
    bdl_prog *p = t_random_rings(c, seed, pair);
    bdl_tensor in[T_RING_IN], want[T_RING_OUT] = {0}, got[T_RING_OUT] = {0};
    bdl_plan *plan;
    t_inputs_of(p, in);
    *(int32_t *)bdl_tensor_data(&in[1]) = (int32_t)(seed % 7) - 1;
    c->unfused = 1;
    t_check(c, bdl_plan_new(c, p, pair, &plan));
    t_check(c, bdl_exec_run(plan, in, want));
    bdl_plan_free(plan);
    c->unfused = 0;
    t_check(c, bdl_plan_new(c, p, pair, &plan));
    t_check(c, bdl_exec_run(plan, in, got));
    const count n = counted(plan);
    all.rows += n.rows, all.slices += n.slices, all.updates += n.updates;
    bdl_plan_free(plan);
    t_same_bits(want, got, T_RING_OUT, "rings", seed);
    t_drop(in, T_RING_IN), t_drop(want, T_RING_OUT), t_drop(got, T_RING_OUT);
    bdl_prog_unref(p);
  }
  assert_true(all.rows > 300 && all.slices > 300 && all.updates > 300);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    T_TEST(rows_of_a_ring_stand), T_TEST(what_may_be_written_over_is_copied), T_TEST(values_that_come_too_late_are_copied),
    T_TEST(others_are_copied), T_TEST(operands_stand), T_TEST(random_rings_agree),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

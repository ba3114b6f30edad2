/*
** test_passes.c -- each pass on text: what goes in, what comes out.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cases.h"
#include "text.h"

/* The body of a program with these inputs; the parts of the text before and after the pass. */
static void check(void **state, bdl_pass pass, const char *inputs, const char *before, const char *after) {
  bdl_context *c = *state;
  bdl_prog *p = NULL, *q = NULL;
  bdl_str s, t;
  bdl_str_init(&s, c);
  bdl_str_init(&t, c);
  bdl_str_addf(&s, "program p(%s) {\n%s\n}", inputs, before);
  bdl_str_addf(&t, "program p(%s) {\n%s\n}", inputs, after);
  p = t_parse(c, s.s);
  if (pass(p, &q) != BDL_OK) fail_msg("%s", c->error.message);
  if (bdl_ir_verify(q) != BDL_OK) fail_msg("%s", c->error.message);
  t_expect(q, t.s);
  if (strcmp(before, after) == 0) assert_ptr_equal(p, q); /* nothing to do: the same program */
  bdl_prog_unref(q);
  bdl_prog_unref(p);
  bdl_str_fini(&s);
  bdl_str_fini(&t);
}

#define KEEPS(pass, inputs, text) check(state, pass, inputs, text, text)

/* ---- dce ------------------------------------------------------------------------------------------ */

static void what_nobody_needs_is_dropped(void **state) {
  check(state, bdl_pass_dce, "x:f32[2]", "a:f32[2] = neg x\n b:f32[2] = exp a\n c:f32[2] = sin a\n return b",
        "a:f32[2] = neg x\n b:f32[2] = exp a\n return b");
  check(state, bdl_pass_dce, "x:f32[]", "const w:f32[1] = [1]\n a:f32[1] = neg w\n return x", "return x");
  KEEPS(bdl_pass_dce, "x:f32[2]", "a:f32[2] = neg x\n print[format=\"{0}\" host=nil] a\n return x");
}

static void loops_drop_what_they_carry_for_nothing(void **state) {
  check(state, bdl_pass_dce, "k:f32[], u:f32[], x:f32[], xs:f32[3], vs:f32[3]",
        "a:f32[], b:f32[], c:f32[], ys:f32[3], zs:f32[3] = scan[consts=2 carry=3 length=3 reverse=0 body={"
        "program l(k:f32[], u:f32[], a:f32[], b:f32[], c:f32[], x:f32[], v:f32[]) {\n"
        " d:f32[] = add a b\n e:f32[] = mul b k\n f:f32[] = mul c u\n g:f32[] = add e x\n h:f32[] = exp v\n"
        " return d, e, f, g, h }}] k u x x x xs vs\n return a, ys",
        "a:f32[], b:f32[], ys:f32[3] = scan[consts=1 carry=2 length=3 reverse=0 body={"
        "program l(k:f32[], a:f32[], b:f32[], x:f32[]) {\n"
        " d:f32[] = add a b\n e:f32[] = mul b k\n g:f32[] = add e x\n return d, e, g }}] k x x xs\n return a, ys");
}

static void a_while_keeps_what_its_condition_reads(void **state) {
  check(state, bdl_pass_dce, "n:i32[], m:i32[], x:f32[]",
        "i:i32[], y:f32[], j:i32[] = while[cond_consts=2 body_consts=1 programs={"
        "program c(n:i32[], m:i32[], i:i32[], y:f32[], j:i32[]) {\n p:bool[] = lt i n\n return p },"
        "program b(m:i32[], i:i32[], y:f32[], j:i32[]) {\n k:i32[] = add i 1:i32\n z:f32[] = exp y\n l:i32[] = add j m\n"
        " return k, z, l }}] n m m 0:i32 x 0:i32\n return y",
        "i:i32[], y:f32[] = while[cond_consts=1 body_consts=0 programs={"
        "program c(n:i32[], i:i32[], y:f32[]) {\n p:bool[] = lt i n\n return p },"
        "program b(i:i32[], y:f32[]) {\n k:i32[] = add i 1:i32\n z:f32[] = exp y\n return k, z }}] n 0:i32 x\n return y");
}

static void branches_drop_results_and_operands(void **state) {
  check(state, bdl_pass_dce, "i:i32[], x:f32[], y:f32[]",
        "a:f32[], b:f32[] = cond[branches={program s(x:f32[], y:f32[]) {\n return x, y },"
        "program t(x:f32[], y:f32[]) {\n z:f32[] = exp x\n w:f32[] = sin y\n return z, w }}] i x y\n return a",
        "a:f32[] = cond[branches={program s(x:f32[]) {\n return x },"
        "program t(x:f32[]) {\n z:f32[] = exp x\n return z }}] i x\n return a");
  check(state, bdl_pass_dce, "i:i32[], x:f32[]",
        "a:f32[] = cond[branches={program s(x:f32[]) {\n print[format=\"\" host=nil]\n return x }}] i x\n return x",
        "cond[branches={program s() {\n print[format=\"\" host=nil]\n return }}] i\n return x");
}

/* ---- cse ------------------------------------------------------------------------------------------ */

static void equal_equations_become_one(void **state) {
  check(state, bdl_pass_cse, "x:f32[2], k:u32[2]",
        "a:f32[2] = exp x\n b:f32[2] = exp x\n c:f32[2] = mul a b\n d:f32[2] = mul b a\n"
        " r:u32[3] = random_bits[shape=(3) dtype=u32] k\n s:u32[3] = random_bits[shape=(3) dtype=u32] k\n"
        " t:u32[2] = random_bits[shape=(2) dtype=u32] k\n return c, d, r, s, t",
        "a:f32[2] = exp x\n c:f32[2] = mul a a\n r:u32[3] = random_bits[shape=(3) dtype=u32] k\n"
        " t:u32[2] = random_bits[shape=(2) dtype=u32] k\n return c, c, r, r, t");
}

static void only_integers_commute(void **state) {
  check(state, bdl_pass_cse, "i:i32[], j:i32[]", "a:i32[] = add i j\n b:i32[] = add j i\n c:i32[] = sub i j\n d:i32[] = sub j i\n"
        " return a, b, c, d",
        "a:i32[] = add i j\n c:i32[] = sub i j\n d:i32[] = sub j i\n return a, a, c, d");
  KEEPS(bdl_pass_cse, "x:f32[], y:f32[]", "a:f32[] = add x y\n b:f32[] = add y x\n return a, b");
}

static void effects_are_not_merged(void **state) {
  KEEPS(bdl_pass_cse, "x:f32[]",
        "print[format=\"\" host=nil] x\n print[format=\"\" host=nil] x\n"
        " a:i32[] = host_call[results=(1,0) host=nil] x\n b:i32[] = host_call[results=(1,0) host=nil] x\n return a, b");
}

/* ---- simplify ------------------------------------------------------------------------------------- */

static void exact_identities_vanish(void **state) {
  static const struct {
    const char *eqn;
  } same[] = {
    {"mul x 1.0:f32"}, {"mul 1.0:f32 x"}, {"div x 1.0:f32"}, {"add x -0.0:f32"}, {"add -0.0:f32 x"}, {"sub x 0.0:f32"},
    {"max x x"}, {"min x x"}, {"copy x"}, {"integer_pow[y=1] x"}, {"select p x x"},
    {"permute[axes=(0,1)] x"}, {"reverse[axes=()] x"}, {"slice[start=(0,0) stop=(2,3) step=(1,1)] x"},
    {"pad[lo=(0,0) hi=(0,0) inner=(0,0)] x 1.0:f32"}, {"concatenate[axis=0] x"}, {"reduce_sum[axes=()] x"},
    {"select true:bool x y"}, {"select false:bool y x"}, {"bitcast[dtype=f32] x"},
  };
  for (int i = 0; i < BDL_LEN(same); i++) {
    char text[200];
    snprintf(text, sizeof text, "z:f32[2,3] = %s\n return z", same[i].eqn);
    check(state, bdl_pass_simplify, "x:f32[2,3], y:f32[2,3], p:bool[2,3]", text, "return x");
  }
}

/* The same bits for NaN, infinities and -0, or hands off. */
static void what_is_not_exact_stays(void **state) {
  static const char *const kept[] = {
    "add x 0.0:f32", "sub x -0.0:f32", "mul x 0.0:f32", "sub x x", "div x x", "div x 3.0:f32", "mul x -1.0:f32", "sub 0.0:f32 x",
    "div x inf:f32", "div x 0.0:f32", "pow x 1.0:f32", "select p x y", "div x 1.7014118e38:f32", "reverse[axes=(0)] x",
  };
  for (int i = 0; i < BDL_LEN(kept); i++) {
    char text[200];
    snprintf(text, sizeof text, "z:f32[2,3] = %s\n return z", kept[i]);
    KEEPS(bdl_pass_simplify, "x:f32[2,3], y:f32[2,3], p:bool[2,3]", text);
  }
}

static void integers_and_truths_simplify(void **state) {
  check(state, bdl_pass_simplify, "i:i32[], p:bool[]",
        "a:i32[] = add i 0:i32\n b:i32[] = xor a 0:i32\n c:i32[] = shl b 0:i32\n d:i32[] = and c c\n e:i32[] = div d 1:i32\n"
        " q:bool[] = not p\n r:bool[] = not q\n s:bool[] = and r true:bool\n t:bool[] = or false:bool s\n"
        " u:bool[] = eq t true:bool\n v:bool[] = select u true:bool false:bool\n return e, v",
        "q:bool[] = not p\n return i, p");
}

static void equations_become_cheaper(void **state) {
  check(state, bdl_pass_simplify, "x:f32[2], y:f32[2], p:bool[2]",
        "a:f32[2] = div x 4.0:f32\n b:f32[2] = div x -0.5:f32\n c:f32[2] = integer_pow[y=2] x\n q:bool[2] = not p\n"
        " d:f32[2] = select q x y\n e:f32[2] = neg x\n f:f32[2] = neg e\n return a, b, c, d, f",
        "a:f32[2] = mul x 0.25:f32\n b:f32[2] = mul x -2.0:f32\n c:f32[2] = mul x x\n q:bool[2] = not p\n"
        " d:f32[2] = select p y x\n e:f32[2] = neg x\n return a, b, c, d, x");
}

static void casts_that_lose_nothing_vanish(void **state) {
  check(state, bdl_pass_simplify, "x:f32[], i:i32[], u:u32[], p:bool[]",
        "a:f64[] = cast[dtype=f64] x\n b:f32[] = cast[dtype=f32] a\n c:i64[] = cast[dtype=i64] i\n d:f32[] = cast[dtype=f32] c\n"
        " e:f64[] = cast[dtype=f64] u\n f:i32[] = cast[dtype=i32] e\n g:i64[] = cast[dtype=i64] e\n"
        " h:f32[] = cast[dtype=f32] i\n k:i32[] = cast[dtype=i32] h\n l:i32[] = cast[dtype=i32] p\n m:f32[] = cast[dtype=f32] l\n"
        " return b, d, f, g, k, m",
        "a:f64[] = cast[dtype=f64] x\n c:i64[] = cast[dtype=i64] i\n d:f32[] = cast[dtype=f32] i\n e:f64[] = cast[dtype=f64] u\n"
        " f:i32[] = cast[dtype=i32] e\n g:i64[] = cast[dtype=i64] u\n h:f32[] = cast[dtype=f32] i\n k:i32[] = cast[dtype=i32] h\n"
        " l:i32[] = cast[dtype=i32] p\n m:f32[] = cast[dtype=f32] p\n return x, d, f, g, k, m");
}

static void shapes_compose(void **state) {
  check(state, bdl_pass_simplify, "x:f32[2,3], v:f32[3]",
        "a:f32[6] = reshape[shape=(6)] x\n b:f32[3,2] = reshape[shape=(3,2)] a\n c:f32[3,2] = permute[axes=(1,0)] x\n"
        " d:f32[2,3] = permute[axes=(1,0)] c\n e:f32[2,3] = broadcast[shape=(2,3) dims=(1)] v\n"
        " f:f32[2,4,3] = broadcast[shape=(2,4,3) dims=(0,2)] e\n g:f32[2,3] = reverse[axes=(0)] x\n"
        " h:f32[2,3] = reverse[axes=(0)] g\n return b, d, f, h",
        "a:f32[6] = reshape[shape=(6)] x\n b:f32[3,2] = reshape[shape=(3,2)] x\n c:f32[3,2] = permute[axes=(1,0)] x\n"
        " e:f32[2,3] = broadcast[shape=(2,3) dims=(1)] v\n f:f32[2,4,3] = broadcast[shape=(2,4,3) dims=(2)] v\n"
        " g:f32[2,3] = reverse[axes=(0)] x\n return b, x, f, x");
}

static void work_happens_before_broadcasts(void **state) {
  check(state, bdl_pass_simplify, "x:f32[2,3], s:f32[], v:f32[3]",
        "a:f32[2,3] = broadcast[shape=(2,3) dims=()] s\n b:f32[2,3] = mul x a\n c:f32[2,3] = exp a\n"
        " d:f32[2,3] = broadcast[shape=(2,3) dims=(1)] v\n e:f32[2,3] = add a d\n return b, c, e",
        "a:f32[2,3] = broadcast[shape=(2,3) dims=()] s\n b:f32[2,3] = mul x s\n f:f32[] = exp s\n"
        " c:f32[2,3] = broadcast[shape=(2,3) dims=()] f\n d:f32[2,3] = broadcast[shape=(2,3) dims=(1)] v\n"
        " g:f32[3] = add s v\n e:f32[2,3] = broadcast[shape=(2,3) dims=(1)] g\n return b, c, e");
}

static void known_control_flow_is_taken(void **state) {
  check(state, bdl_pass_simplify, "x:f32[2]",
        "a:f32[2] = cond[branches={program s(x:f32[2]) {\n return x }, program t(x:f32[2]) {\n y:f32[2] = exp x\n return y }}]"
        " 7:i32 x\n b:f32[2], ys:f32[0,2] = scan[consts=0 carry=1 length=0 reverse=0 body={program l(x:f32[2]) {\n"
        " y:f32[2] = exp x\n return y, x }}] a\n return b, ys",
        "y:f32[2] = exp x\n ys:f32[0,2] = broadcast[shape=(0,2) dims=()] 0.0:f32\n return y, ys");
}

static void bodies_are_simplified(void **state) {
  check(state, bdl_pass_simplify, "x:f32[2]",
        "b:f32[2] = scan[consts=0 carry=1 length=4 reverse=0 body={program l(x:f32[2]) {\n"
        " y:f32[2] = mul x 1.0:f32\n z:f32[2] = exp y\n return z }}] x\n return b",
        "b:f32[2] = scan[consts=0 carry=1 length=4 reverse=0 body={program l(x:f32[2]) {\n"
        " z:f32[2] = exp x\n return z }}] x\n return b");
}

/* ---- inline, hoist, fold -------------------------------------------------------------------------- */

static void calls_become_their_bodies(void **state) {
  check(state, bdl_pass_inline, "x:f32[2]",
        "a:f32[2], b:f32[2] = call[body={program f(u:f32[2]) {\n v:f32[2] = call[body={program g(w:f32[2]) {\n"
        " z:f32[2] = exp w\n return z }}] u\n return v, u }}] x\n return a, b",
        "z:f32[2] = exp x\n return z, x");
  check(state, bdl_pass_inline, "x:f32[2]", "a:f32[2] = stop_gradient x\n b:f32[2] = exp a\n return b, a",
        "b:f32[2] = exp x\n return b, x");
}

static void invariant_equations_leave_loops(void **state) {
  check(state, bdl_pass_hoist, "k:f32[2], x:f32[2]",
        "y:f32[2] = scan[consts=1 carry=1 length=9 reverse=0 body={program l(k:f32[2], x:f32[2]) {\n"
        " a:f32[2] = exp k\n b:f32[2] = mul a 2.0:f32\n c:f32[2] = add x b\n return c }}] k x\n return y",
        "a:f32[2] = exp k\n b:f32[2] = mul a 2.0:f32\n"
        " y:f32[2] = scan[consts=2 carry=1 length=9 reverse=0 body={program l(k:f32[2], b:f32[2], x:f32[2]) {\n"
        " c:f32[2] = add x b\n return c }}] k b x\n return y");
}

static void inner_loops_give_to_outer_ones(void **state) {
  check(state, bdl_pass_hoist, "k:f32[], x:f32[]",
        "y:f32[] = scan[consts=1 carry=1 length=9 reverse=0 body={program o(k:f32[], x:f32[]) {\n"
        " z:f32[] = scan[consts=1 carry=1 length=5 reverse=0 body={program i(k:f32[], x:f32[]) {\n"
        "  a:f32[] = exp k\n c:f32[] = add x a\n return c }}] k x\n return z }}] k x\n return y",
        "a:f32[] = exp k\n y:f32[] = scan[consts=2 carry=1 length=9 reverse=0 body={program o(k:f32[], a:f32[], x:f32[]) {\n"
        " z:f32[] = scan[consts=2 carry=1 length=5 reverse=0 body={program i(k:f32[], a:f32[], x:f32[]) {\n"
        "  c:f32[] = add x a\n return c }}] k a x\n return z }}] k a x\n return y");
}

/* Effects, failures, and what is cheaper to make than to keep. */
static void some_equations_stay_in_loops(void **state) {
  KEEPS(bdl_pass_hoist, "k:f32[2], i:i32[], x:f32[2]",
        "y:f32[2] = scan[consts=2 carry=1 length=9 reverse=0 body={program l(k:f32[2], i:i32[], x:f32[2]) {\n"
        " print[format=\"\" host=nil] k\n a:f32[] = gather[axis=0] k i\n b:f32[2] = broadcast[shape=(2) dims=()] a\n"
        " r:f32[2] = reverse[axes=(0)] k\n c:f32[2] = add x b\n d:f32[2] = add c r\n return d }}] k i x\n return y");
}

static void a_cheap_equation_is_copied_for_one_that_moves(void **state) {
  check(state, bdl_pass_hoist, "k:f32[2], x:f32[2]",
        "y:f32[2] = scan[consts=1 carry=1 length=9 reverse=0 body={program l(k:f32[2], x:f32[2]) {\n"
        " r:f32[2] = reverse[axes=(0)] k\n e:f32[2] = exp r\n c:f32[2] = add x r\n d:f32[2] = add c e\n return d }}] k x\n"
        " return y",
        "r:f32[2] = reverse[axes=(0)] k\n e:f32[2] = exp r\n"
        " y:f32[2] = scan[consts=2 carry=1 length=9 reverse=0 body={program l(k:f32[2], e:f32[2], x:f32[2]) {\n"
        " r:f32[2] = reverse[axes=(0)] k\n c:f32[2] = add x r\n d:f32[2] = add c e\n return d }}] k e x\n return y");
}

/* An evaluator that knows neg on floats, and fails on gather as an index out of range would. */
static bdl_status eval(bdl_context *c, const bdl_prog *p, const bdl_eqn *e, const bdl_tensor *in, bdl_tensor *out) {
  if (e->prim == BDL_P_gather) return bdl_fail(c, BDL_EINDEX, "index 7 is out of range");
  assert_int_equal(e->prim, BDL_P_neg);
  TRY(bdl_tensor_new(bdl_device_cpu(c), bdl_aval_of(p, e->out[0]), out));
  for (int64_t i = 0; i < bdl_aval_numel(&out->aval); i++)
    ((float *)bdl_tensor_data(out))[i] = -((const float *)bdl_tensor_data(&in[0]))[i];
  return BDL_OK;
}

static bdl_status fold(const bdl_prog *p, bdl_prog **q) { return bdl_pass_fold(p, eval, q); }

#define MATMUL "dot[lhs_contract=(1) rhs_contract=(0) lhs_batch=() rhs_batch=()]"
#define OUTER "dot[lhs_contract=(0) rhs_contract=(0) lhs_batch=() rhs_batch=()]"

/* u is stacked for it, s was a result anyway, x an operand. */
static void sums_of_products_leave_loops(void **state) {
  check(state, bdl_pass_products, "g:f32[4,5], b:f32[5], h:f32[3,5], xs:f32[9,3,4]",
        "c:f32[4,5], d:f32[5], e:f32[3,5], ys:f32[9,3,5] = scan[consts=0 carry=3 length=9 reverse=1 body={"
        "program l(g:f32[4,5], b:f32[5], h:f32[3,5], x:f32[3,4]) {\n"
        " u:f32[3,5] = sin h\n s:f32[3,5] = cos h\n p:f32[4,5] = " OUTER " x u\n q:f32[4,5] = add g p\n"
        " r:f32[5] = reduce_sum[axes=(0)] s\n t:f32[5] = add r b\n return q, t, u, s }}] g b h xs\n return c, d, e, ys",
        "e:f32[3,5], ys:f32[9,3,5], a:f32[9,3,5] = scan[consts=0 carry=1 length=9 reverse=1 body={"
        "program l(h:f32[3,5], x:f32[3,4]) {\n"
        " u:f32[3,5] = sin h\n s:f32[3,5] = cos h\n return u, s, u }}] h xs\n"
        " f:f32[4,5] = dot[lhs_contract=(0,1) rhs_contract=(0,1) lhs_batch=() rhs_batch=()] xs a\n c:f32[4,5] = add g f\n"
        " i:f32[5] = reduce_sum[axes=(0,1)] ys\n d:f32[5] = add b i\n return c, d, e, ys");
  KEEPS(bdl_pass_products, "g:f32[4,5], h:f32[3,5], xs:f32[9,3,4]", /* the sum is read on the way */
        "c:f32[4,5], e:f32[3,5] = scan[consts=0 carry=2 length=9 reverse=0 body={program l(g:f32[4,5], h:f32[3,5], x:f32[3,4]) {\n"
        " y:f32[3,5] = " MATMUL " x g\n p:f32[4,5] = " OUTER " x h\n q:f32[4,5] = add g p\n return q, y }}] g h xs\n return c, e");
  KEEPS(bdl_pass_products, "g:f32[2], h:f32[900,2]", /* more to stack than to sum */
        "c:f32[2], e:f32[900,2] = scan[consts=0 carry=2 length=9 reverse=0 body={program l(g:f32[2], h:f32[900,2]) {\n"
        " u:f32[900,2] = sin h\n p:f32[2] = reduce_sum[axes=(0)] u\n q:f32[2] = add g p\n return q, u }}] g h\n return c, e");
  KEEPS(bdl_pass_products, "g:f32[4,5], h:f32[3,5], xs:f32[100000,3,4]", /* memory that a long loop did not take */
        "c:f32[4,5], e:f32[3,5] = scan[consts=0 carry=2 length=100000 reverse=0 body={program l(g:f32[4,5], h:f32[3,5], x:f32[3,4]) {\n"
        " u:f32[3,5] = sin h\n p:f32[4,5] = " OUTER " x u\n q:f32[4,5] = add g p\n return q, u }}] g h xs\n return c, e");
}

static void products_of_operands_go_in_front_of_loops(void **state) {
  check(state, bdl_pass_products, "w:f32[4,5], h:f32[3,5], xs:f32[9,3,4]",
        "z:f32[3,5] = scan[consts=1 carry=1 length=9 reverse=0 body={program l(w:f32[4,5], h:f32[3,5], x:f32[3,4]) {\n"
        " y:f32[3,5] = " MATMUL " x w\n e:f32[3,5] = add h y\n return e }}] w h xs\n return z",
        "a:f32[9,3,5] = dot[lhs_contract=(2) rhs_contract=(0) lhs_batch=() rhs_batch=()] xs w\n"
        " z:f32[3,5] = scan[consts=1 carry=1 length=9 reverse=0 body={program l(w:f32[4,5], h:f32[3,5], x:f32[3,4], a:f32[3,5]) {\n"
        " e:f32[3,5] = add h a\n return e }}] w h xs a\n return z");
  check(state, bdl_pass_products, "w:f32[5,4], h:f32[5], xs:f32[9,4]", /* w x, of vectors */
        "z:f32[5] = scan[consts=1 carry=1 length=9 reverse=0 body={program l(w:f32[5,4], h:f32[5], x:f32[4]) {\n"
        " y:f32[5] = " MATMUL " w x\n e:f32[5] = add h y\n return e }}] w h xs\n return z",
        "a:f32[9,5] = dot[lhs_contract=(1) rhs_contract=(1) lhs_batch=() rhs_batch=()] xs w\n"
        " z:f32[5] = scan[consts=1 carry=1 length=9 reverse=0 body={program l(w:f32[5,4], h:f32[5], x:f32[4], a:f32[5]) {\n"
        " e:f32[5] = add h a\n return e }}] w h xs a\n return z");
  KEEPS(bdl_pass_products, "w:f32[1,5], h:f32[1,5], xs:f32[100000,1,1]", /* memory that a long loop did not take */
        "z:f32[1,5] = scan[consts=1 carry=1 length=100000 reverse=0 body={program l(w:f32[1,5], h:f32[1,5], x:f32[1,1]) {\n"
        " y:f32[1,5] = " MATMUL " x w\n e:f32[1,5] = add h y\n return e }}] w h xs\n return z");
}

static void constants_are_folded(void **state) {
  check(state, fold, "x:f32[2]",
        "const w:f32[2] = [1 -0.0]\n a:f32[2] = neg w\n b:f32[2] = neg a\n c:f32[] = neg 2.0:f32\n d:f32[] = neg c\n"
        " e:f32[2] = add x b\n f:f32[2] = mul e d\n return f, a",
        "const w:f32[2] = [1.0 -0.0]\n const a:f32[2] = [-1.0 0.0]\n const b:f32[2] = [1.0 -0.0]\n"
        " e:f32[2] = add x b\n f:f32[2] = mul e 2.0:f32\n return f, a");
}

static void folding_leaves_failures_and_ramps_alone(void **state) {
  KEEPS(fold, "x:f32[2]",
        "const w:f32[2] = [1.0 2.0]\n a:f32[] = gather[axis=0] w 7:i32\n b:f32[9999] = broadcast[shape=(9999) dims=()] 1.0:f32\n"
        " c:i32[9] = iota[shape=(9) axis=0 dtype=i32]\n return a, b, c");
  assert_int_equal(((bdl_context *)*state)->error.status, BDL_OK);
}

/* ---- indices ---------------------------------------------------------------------------------------- */

#define LOOP(consts, carry, length) "scan[consts=" consts " carry=" carry " length=" length " reverse=1 body={program l("

static void what_is_picked_with_the_counter_is_stacked(void **state) {
  check(state, bdl_pass_counter, "x:f32[9,3], a:f32[3]",
        "i:i32[9] = iota[shape=(9) axis=0 dtype=i32]\n"
        " z:f32[3], y:f32[9,1,3] = " LOOP("1", "1", "9") "x:f32[9,3], c:f32[3], i:i32[]) {\n"
        " r:f32[3] = gather[axis=0] x i\n j:i32[1] = reshape[shape=(1)] i\n s:f32[1,3] = gather[axis=0] x j\n d:f32[3] = add c r\n"
        " return d, s }}] x a i\n return z, y",
        "i:i32[9] = iota[shape=(9) axis=0 dtype=i32]\n"
        " z:f32[3], y:f32[9,1,3] = " LOOP("1", "1", "9") "x:f32[9,3], c:f32[3], i:i32[], a:f32[3]) {\n"
        " j:i32[1] = reshape[shape=(1)] i\n s:f32[1,3] = reshape[shape=(1,3)] a\n d:f32[3] = add c a\n return d, s }}] x a i x\n return z, y");
  check(state, bdl_pass_counter, "a:f32[2]", /* a constant that counts from 4, along the second axis of another one */
        "const i:i64[2] = [4 5]\n z:f32[2] = " LOOP("0", "1", "2") "c:f32[2], i:i64[]) {\n"
        " const x:f32[2,7] = [0 1 2 3 4 5 6 7 8 9 10 11 12 13]\n r:f32[2] = gather[axis=1] x i\n d:f32[2] = add c r\n return d }}] a i\n return z",
        "const i:i64[2] = [4 5]\n const b:f32[2,7] = [0 1 2 3 4 5 6 7 8 9 10 11 12 13]\n"
        " c:f32[7,2] = permute[axes=(1,0)] b\n d:f32[2,2] = slice[start=(4,0) stop=(6,2) step=(1,1)] c\n"
        " z:f32[2] = " LOOP("0", "1", "2") "c:f32[2], i:i64[], a:f32[2]) {\n d:f32[2] = add c a\n return d }}] a i d\n return z");
}

static void other_indices_stay(void **state) {
  static const char *const counter[] = {
    "const i:i32[4] = [0 1 2 3]", /* past the end */ "const i:i32[3] = [0 2 1]", "const i:i32[3] = [-1 0 1]", "i:i32[3] = neg u",
  };
  for (int k = 0; k < BDL_LEN(counter); k++) {
    char text[512];
    snprintf(text, sizeof text, "%s\n z:f32[] = scan[consts=1 carry=1 length=%d reverse=0 body={program l(x:f32[3], c:f32[], i:i32[]) {\n"
             " r:f32[] = gather[axis=0] x i\n d:f32[] = add c r\n return d }}] x a i\n return z", counter[k], k == 0 ? 4 : 3);
    KEEPS(bdl_pass_counter, "x:f32[3], a:f32[], u:i32[3]", text);
  }
  KEEPS(bdl_pass_counter, "x:f32[5000,5000], a:f32[5000]", /* much to copy */
        "i:i32[3] = iota[shape=(3) axis=0 dtype=i32]\n z:f32[5000] = scan[consts=1 carry=1 length=3 reverse=0 body={"
        "program l(x:f32[5000,5000], c:f32[5000], i:i32[]) {\n r:f32[5000] = gather[axis=1] x i\n d:f32[5000] = add c r\n return d }}] x a i\n"
        " return z");
  KEEPS(bdl_pass_counter, "x:f32[3]", /* of what changes from round to round */
        "i:i32[3] = iota[shape=(3) axis=0 dtype=i32]\n z:f32[3] = scan[consts=0 carry=1 length=3 reverse=0 body={program l(x:f32[3], i:i32[]) {\n"
        " r:f32[] = gather[axis=0] x i\n d:f32[3] = add x r\n return d }}] x i\n return z");
}

static void sums_with_what_is_added_into_zeros(void **state) {
  check(state, bdl_pass_accumulate, "x:f32[5], i:i32[2], u:f32[2]",
        "o:f32[5] = broadcast[shape=(5) dims=()] 0.0:f32\n s:f32[5] = scatter[axis=0 op=\"add\"] o i u\n z:f32[5] = add x s\n return z",
        "o:f32[5] = broadcast[shape=(5) dims=()] 0.0:f32\n s:f32[5] = scatter[axis=0 op=\"add\"] o i u\n"
        " z:f32[5] = scatter[axis=0 op=\"add\"] x i u\n return z");
  check(state, bdl_pass_accumulate, "x:f32[5,2], i:i32[], u:f32[1,2]",
        "o:f32[5,2] = broadcast[shape=(5,2) dims=()] 0.0:f32\n s:f32[5,2] = dynamic_update_slice o u i 0:i32\n z:f32[5,2] = add s x\n return z",
        "o:f32[5,2] = broadcast[shape=(5,2) dims=()] 0.0:f32\n s:f32[5,2] = dynamic_update_slice o u i 0:i32\n"
        " a:f32[1,2] = dynamic_slice[sizes=(1,2)] x i 0:i32\n b:f32[1,2] = add a u\n z:f32[5,2] = dynamic_update_slice x b i 0:i32\n return z");
  KEEPS(bdl_pass_accumulate, "x:f32[5], i:i32[2], u:f32[2]", /* others read it */
        "o:f32[5] = broadcast[shape=(5) dims=()] 0.0:f32\n s:f32[5] = scatter[axis=0 op=\"add\"] o i u\n z:f32[5] = add x s\n return z, s");
  KEEPS(bdl_pass_accumulate, "x:f32[5], i:i32[2], u:f32[2]", /* onto something */
        "s:f32[5] = scatter[axis=0 op=\"add\"] x i u\n z:f32[5] = add x s\n return z");
  KEEPS(bdl_pass_accumulate, "x:f32[5], i:i32[2], u:f32[2]",
        "o:f32[5] = broadcast[shape=(5) dims=()] 0.0:f32\n s:f32[5] = scatter[axis=0 op=\"max\"] o i u\n z:f32[5] = add x s\n return z");
  KEEPS(bdl_pass_accumulate, "x:f32[], i:i32[2], u:f32[2]", /* one number for all */
        "o:f32[5] = broadcast[shape=(5) dims=()] 0.0:f32\n s:f32[5] = scatter[axis=0 op=\"add\"] o i u\n z:f32[5] = add x s\n return z");
}

/* ---- the standard order ---------------------------------------------------------------------------- */

static bdl_status optimise(const bdl_prog *p, bdl_prog **q) { return bdl_optimise(p, eval, NULL, NULL, q); }

static void the_passes_work_together(void **state) {
  check(state, optimise, "k:f32[2], x:f32[2]",
        "one:f32[] = neg -1.0:f32\n y:f32[2], z:f32[2] = scan[consts=2 carry=2 length=9 reverse=0 body={"
        "program l(k:f32[2], o:f32[], x:f32[2], w:f32[2]) {\n"
        " a:f32[2] = call[body={program f(k:f32[2]) {\n e:f32[2] = exp k\n return e }}] k\n b:f32[2] = exp k\n"
        " c:f32[2] = mul a b\n d:f32[2] = mul x 1.0:f32\n e:f32[2] = add d c\n f:f32[2] = mul w o\n return e, f }}] k one x x\n"
        " return y",
        "e:f32[2] = exp k\n c:f32[2] = mul e e\n y:f32[2] = scan[consts=1 carry=1 length=9 reverse=0 body={"
        "program l(c:f32[2], x:f32[2]) {\n e:f32[2] = add x c\n return e }}] c x\n return y");
}

static void optimising_twice_changes_nothing(void **state) {
  bdl_context *c = *state;
  for (int p = 0; p < BDL_P_COUNT; p++)
    for (uint64_t seed = 0; seed < 8; seed++) {
      t_case t;
      bdl_prog *q = NULL, *r = NULL;
      if (!t_case_new(c, (bdl_prim_id)p, seed, BDL_DTYPE_COUNT, &t)) continue;
      assert_int_equal(bdl_optimise(t.p, NULL, NULL, NULL, &q), BDL_OK);
      assert_int_equal(bdl_optimise(q, NULL, NULL, NULL, &r), BDL_OK);
      assert_ptr_equal(q, r);
      bdl_prog_unref(r);
      bdl_prog_unref(q);
      bdl_prog_unref(t.p);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    T_TEST(what_nobody_needs_is_dropped),
    T_TEST(loops_drop_what_they_carry_for_nothing),
    T_TEST(a_while_keeps_what_its_condition_reads),
    T_TEST(branches_drop_results_and_operands),
    T_TEST(equal_equations_become_one),
    T_TEST(only_integers_commute),
    T_TEST(effects_are_not_merged),
    T_TEST(exact_identities_vanish),
    T_TEST(what_is_not_exact_stays),
    T_TEST(integers_and_truths_simplify),
    T_TEST(equations_become_cheaper),
    T_TEST(casts_that_lose_nothing_vanish),
    T_TEST(shapes_compose),
    T_TEST(work_happens_before_broadcasts),
    T_TEST(known_control_flow_is_taken),
    T_TEST(bodies_are_simplified),
    T_TEST(what_is_picked_with_the_counter_is_stacked), T_TEST(other_indices_stay), T_TEST(sums_with_what_is_added_into_zeros),
    T_TEST(calls_become_their_bodies),
    T_TEST(invariant_equations_leave_loops),
    T_TEST(inner_loops_give_to_outer_ones),
    T_TEST(some_equations_stay_in_loops),
    T_TEST(a_cheap_equation_is_copied_for_one_that_moves),
    T_TEST(sums_of_products_leave_loops),
    T_TEST(products_of_operands_go_in_front_of_loops),
    T_TEST(constants_are_folded),
    T_TEST(folding_leaves_failures_and_ramps_alone),
    T_TEST(the_passes_work_together),
    T_TEST(optimising_twice_changes_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

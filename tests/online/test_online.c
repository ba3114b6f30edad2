/*
** test_online.c -- what runtime/online finds in the program of a step.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/faults.h"
#include "online/online.h"
#include "prim/prim.h"

#define DOT "dot[lhs_contract=(0) rhs_contract=(0) lhs_batch=() rhs_batch=()]"
#define MATMUL "etrace_op[body={program matmul(x:f32[3], w:f32[3,3]) { y:f32[3] = " DOT " x w\n return y }} inputs=1 weights=1]"

static bdl_context *context(void) {
  bdl_context *c = bdl_context_new(NULL, NULL);
  assert_non_null(c);
  c->verify = 1;
  return c;
}

static bdl_prog *parse(bdl_context *c, const char *text) {
  bdl_prog *p = NULL;
  if (bdl_ir_parse(c, text, strlen(text), &p) != BDL_OK) fail_msg("%s", bdl_last_error(c)->message);
  return p;
}

/* Hidden values are the inputs from `first` on, and the outputs of the same numbers. */
static bdl_step step_of(const bdl_prog *p, int first, int n, bdl_atom *atoms) {
  for (int a = 0; a < n; a++) {
    atoms[a] = p->inputs.v[first + a];
    atoms[n + a] = p->outputs[a];
  }
  return (bdl_step){.p = p, .n_hidden = n, .in = atoms, .out = atoms + n};
}

/* x, h -> h' = tanh(h W) + 0.5 h */
static const char *rnn =
  "program p(x:f32[3], h:f32[3], w:f32[3,3]) { y:f32[3] = " MATMUL " h w\n t:f32[3] = tanh y\n k:f32[3] = mul 0.5:f32 h\n"
  " o:f32[3] = add t k\n return o }";

static void a_recurrent_layer(void **state) {
  (void)state;
  bdl_context *c = context();
  bdl_prog *p = parse(c, rnn);
  bdl_atom atoms[2];
  const bdl_step s = step_of(p, 1, 1, atoms);
  bdl_structure z;
  assert_int_equal(bdl_online_structure(&s, &z), BDL_OK);
  assert_int_equal(z.n_ops, 1);
  assert_int_equal(z.n_groups, 1);
  assert_true(z.d[0] >= 0 && z.df[0] >= 0);
  assert_true(z.leads[0] && z.recurrent[0]);
  assert_int_equal(z.n_cuts, 0);
  assert_int_equal(z.tangents->n_outputs, 1 + 2 + 2); /* h'; operands; D, Df */
  bdl_online_structure_fini(&z);
  bdl_prog_unref(p);
  bdl_context_free(c);
}

/* v and a share a group; r, fed by a plain product, has its own; m is fed by nothing that is traced */
static void groups_and_cuts(void **state) {
  (void)state;
  bdl_context *c = context();
  bdl_prog *p = parse(c,
    "program p(x:f32[3], v:f32[3], a:f32[3], r:f32[2], w:f32[3,3], u:f32[3,2]) {\n y:f32[3] = " MATMUL " x w\n b:f32[3] = sub v a\n"
    " v2:f32[3] = add b y\n a2:f32[3] = mul a v\n q:f32[2] = " DOT " v2 u\n r2:f32[2] = add r q\n return v2, a2, r2 }");
  bdl_atom atoms[6];
  const bdl_step s = step_of(p, 1, 3, atoms);
  bdl_structure z;
  assert_int_equal(bdl_online_structure(&s, &z), BDL_OK);
  assert_int_equal(z.n_groups, 2);
  assert_int_equal(z.group[0], z.group[1]);
  assert_int_not_equal(z.group[0], z.group[2]);
  assert_true(z.d[0 * 3 + 1] >= 0 && z.d[1 * 3 + 0] >= 0); /* v' of a, a' of v */
  assert_int_equal(z.d[2 * 3 + 0], -1);
  assert_true(z.df[0] >= 0);
  assert_int_equal(z.df[1], -1);
  assert_int_equal(z.df[2], -1);
  assert_false(z.recurrent[0]);
  assert_true(z.n_cuts > 0); /* the plain product mixes positions */
  for (int i = 0; i < z.n_cuts; i++) assert_int_equal(p->eqns.v[z.cut[i].eqn].prim, BDL_P_dot);
  bdl_online_structure_fini(&z);
  bdl_prog_unref(p);
  bdl_context_free(c);
}

/* Is x somewhere on the way to output k? */
static bool depends(const bdl_prog *p, int k, bdl_atom x) {
  bool live[64] = {false};
  assert_true(p->vars.n <= 64);
  live[p->outputs[k]] = true;
  for (int64_t i = p->eqns.n - 1; i >= 0; i--) {
    const bdl_eqn *e = &p->eqns.v[i];
    for (int o = 0; o < e->n_out; o++)
      for (int n = 0; live[e->out[o]] && n < e->n_in; n++) live[e->in[n]] = true;
  }
  return live[x];
}

static void a_perturbation_acts_outside_of_its_group(void **state) {
  (void)state;
  bdl_context *c = context();
  bdl_prog *p = parse(c, "program p(v:f32[3], a:f32[3]) {\n v2:f32[3] = add v a\n a2:f32[3] = mul v2 a\n o:f32[3] = mul v2 a2\n"
                         " return v2, a2, o }");
  bdl_atom atoms[4];
  const bdl_step s = step_of(p, 0, 2, atoms);
  const int group[] = {0, 0};
  bdl_prog *own = NULL, *all = NULL;
  assert_int_equal(bdl_online_perturb(&s, group, 1, NULL, &own), BDL_OK);
  assert_int_equal(bdl_online_perturb(&s, NULL, 0, NULL, &all), BDL_OK);
  const bdl_atom delta_v = own->inputs.v[2], delta_a = own->inputs.v[3];
  assert_true(depends(own, 0, delta_v));
  assert_false(depends(own, 1, delta_v)); /* a' is computed from v' as it is */
  assert_true(depends(own, 1, delta_a));
  assert_true(depends(own, 2, delta_v) && depends(own, 2, delta_a));
  assert_true(depends(all, 1, all->inputs.v[2]));
  bdl_prog_unref(own);
  bdl_prog_unref(all);
  bdl_prog_unref(p);
  bdl_context_free(c);
}

static int count(const bdl_prog *p, bdl_prim_id prim) {
  int n = 0;
  for (int64_t i = 0; i < p->eqns.n; i++) n += p->eqns.v[i].prim == prim;
  return n;
}

#define LOOP(length)                                                                                                               \
  "program p(h:f32[3], w:f32[3,3], i:i32[]) {\n a:f32[3] = scan[consts=1 carry=1 length=" length " reverse=0 body={"               \
  "program b(w:f32[3,3], h:f32[3]) { y:f32[3] = " MATMUL " h w\n return y }}] w h\n"                                               \
  " z:f32[3] = cond[branches={program s(a:f32[3], w:f32[3,3]) { y:f32[3] = " MATMUL " a w\n return y },"                           \
  " program t(a:f32[3], w:f32[3,3]) { return a }}] i a w\n return z }"

static void branches_and_short_loops_are_written_out(void **state) {
  (void)state;
  bdl_context *c = context();
  bdl_prog *p = parse(c, LOOP("4")), *q = NULL;
  assert_int_equal(bdl_online_flatten(p, &q), BDL_OK);
  assert_int_equal(count(q, BDL_P_etrace_op), 5);
  assert_int_equal(count(q, BDL_P_scan) + count(q, BDL_P_cond), 0);
  assert_int_equal(count(q, BDL_P_select), 1);
  bdl_prog_unref(q);
  bdl_prog_unref(p);
  p = parse(c, LOOP("1000"));
  assert_int_equal(bdl_online_flatten(p, &q), BDL_OK);
  assert_int_equal(count(q, BDL_P_scan), 1);
  assert_int_equal(count(q, BDL_P_etrace_op), 1);
  bdl_prog_unref(q);
  bdl_prog_unref(p);
  bdl_context_free(c);
}

/* ---- weights in the bodies of operations */

typedef struct term_case {
  const char *name, *inputs, *body, *args; /* of the body and of the step */
  int64_t n_inputs, n_weights, weight, q, r, i, k;
  bool x, phi, psi;
  const char *why; /* part of the reason; NULL: supported */
} term_case;

#define FLAT "lhs_batch=() rhs_batch=()"
static const term_case terms[] = {
  {"vector", "x:f32[3], w:f32[3,4]", "y:f32[4] = " DOT " x w\n return y", "x w", 1, 1, 1, 1, 1, 3, 4, true, false, false, NULL},
  {"batch", "x:f32[5,3], w:f32[3,4]", "y:f32[5,4] = dot[lhs_contract=(1) rhs_contract=(0) " FLAT "] x w\n return y", "x w", 1, 1, 1,
   1, 5, 3, 4, true, false, false, NULL},
  {"transposed", "x:f32[5,3], w:f32[4,3]", "y:f32[5,4] = dot[lhs_contract=(1) rhs_contract=(1) " FLAT "] x w\n return y", "x w", 1, 1, 1,
   1, 5, 3, 4, true, false, false, NULL},
  {"grouped", "x:f32[2,3], w:f32[2,3,4]", "y:f32[2,4] = dot[lhs_contract=(1) rhs_contract=(1) lhs_batch=(0) rhs_batch=(0)] x w\n return y",
   "x w", 1, 1, 1, 2, 2, 3, 4, true, false, false, NULL},
  {"bias", "x:f32[5,4], w:f32[4]", "y:f32[5,4] = add x w\n return y", "x w", 1, 1, 1, 1, 5, 1, 4, false, false, false, NULL},
  {"gain", "x:f32[5,4], w:f32[4]", "y:f32[5,4] = mul x w\n return y", "x w", 1, 1, 1, 1, 5, 1, 4, false, true, false, NULL},
  {"element", "w:f32[4]", "y:f32[4] = sigmoid w\n return y", "w", 0, 1, 0, 1, 1, 1, 4, false, true, false, NULL},
  {"scaled", "x:f32[3], w:f32[3,4]", "y:f32[4] = " DOT " x w\n z:f32[4] = mul y 2.0:f32\n return z", "x w", 1, 1, 1, 1, 1, 3, 4, true, true,
   false, NULL},
  {"magnitude", "x:f32[3], w:f32[3,4]", "a:f32[3,4] = abs w\n y:f32[4] = " DOT " x a\n return y", "x w", 1, 1, 1, 1, 1, 3, 4, true, false,
   true, NULL},
  {"first of two", "x:f32[3], b:f32[3,2], a:f32[2,4]", "u:f32[2] = " DOT " x b\n y:f32[4] = " DOT " u a\n return y", "x b a", 1, 2, 1,
   1, 1, 3, 4, true, false, false, NULL},
  {"second of two", "x:f32[3], b:f32[3,2], a:f32[2,4]", "u:f32[2] = " DOT " x b\n y:f32[4] = " DOT " u a\n return y", "x b a", 1, 2, 2,
   1, 1, 2, 4, true, false, false, NULL},
  {"rows", "i:i32[5], w:f32[7,4]", "y:f32[5,4] = gather[axis=0] w i\n return y", "i w", 1, 1, 1, 1, 5, 7, 4, true, false, false, NULL},
  {"filter", "x:f32[2,6,3], w:f32[3,3,4]", "y:f32[2,6,4] = conv[strides=(1) pad_lo=(1) pad_hi=(1) lhs_dilation=(1) rhs_dilation=(1) groups=1] x w\n return y",
   "x w", 1, 1, 1, 1, 12, 9, 4, true, false, false, NULL},
  {"twice", "x:f32[3], w:f32[3,3]", "a:f32[3] = " DOT " x w\n b:f32[3] = " DOT " a w\n return b", "x w", 1, 1, 1, 0, 0, 0, 0, false, false,
   false, "twice"},
  {"summed", "x:f32[3], w:f32[3,4]", "a:f32[4] = " DOT " x w\n b:f32[] = reduce_sum[axes=(0)] a\n return b", "x w", 1, 1, 1, 0, 0, 0, 0, false,
   false, false, "not element-wise"},
  {"sorted", "x:f32[4], w:f32[4]", "a:f32[4] = sort[axis=0 keys=1 descending=0] w\n b:f32[4] = add a x\n return b", "x w", 1, 1, 1, 0, 0, 0, 0,
   false, false, false, "no trace"},
  {"unused", "x:f32[4], w:f32[4]", "a:f32[4] = exp x\n return a", "x w", 1, 1, 1, 0, 0, 0, 0, false, false, false, "does not depend"},
};

static bdl_prog *op_of(bdl_context *c, const term_case *t) {
  char text[2048];
  const char *arrow = strstr(t->body, "return ");
  char result[8] = {0}, type[64] = {0};
  sscanf(arrow, "return %7s", result);
  char key[16];
  snprintf(key, sizeof key, "%s:", result);
  const char *at = strstr(t->body, key);
  assert_non_null(at);
  sscanf(at + strlen(key), "%63s", type);
  snprintf(text, sizeof text, "program p(%s) {\n o:%s = etrace_op[body={program %s(%s) {\n %s }} inputs=%d weights=%d] %s\n return o }", t->inputs,
           type, "op", t->inputs, t->body, (int)t->n_inputs, (int)t->n_weights, t->args);
  return parse(c, text);
}

static void weights_are_found(void **state) {
  (void)state;
  bdl_context *c = context();
  for (int n = 0; n < BDL_LEN(terms); n++) {
    const term_case *want = &terms[n];
    bdl_prog *p = op_of(c, want);
    bdl_term t;
    assert_int_equal(bdl_online_term(p, &p->eqns.v[0], (int)want->weight, &t), BDL_OK);
    if (want->why) {
      if (!t.unsupported || !strstr(t.unsupported, want->why)) fail_msg("%s: %s", want->name, t.unsupported ? t.unsupported : "supported");
    } else {
      if (t.unsupported) fail_msg("%s: %s", want->name, t.unsupported);
      if (t.q != want->q || t.r != want->r || t.i != want->i || t.k != want->k)
        fail_msg("%s: q %d r %d i %d k %d", want->name, (int)t.q, (int)t.r, (int)t.i, (int)t.k);
      if (t.has_x != want->x || t.has_phi != want->phi || t.has_psi != want->psi)
        fail_msg("%s: x %d phi %d psi %d", want->name, t.has_x, t.has_phi, t.has_psi);
      assert_int_equal(t.lift->n_outputs, t.has_x + t.has_phi + t.has_psi);
      const bdl_aval *rows = bdl_aval_of(t.spread, t.spread->outputs[0]), *w = bdl_aval_of(p, p->inputs.v[want->weight]);
      assert_int_equal(rows->ndim, 2);
      assert_int_equal(rows->shape[0], t.r);
      assert_int_equal(rows->shape[1], t.k);
      assert_true(bdl_aval_eq(bdl_aval_of(t.fold, t.fold->outputs[0]), w));
    }
    bdl_online_term_fini(&t);
    bdl_prog_unref(p);
  }
  bdl_context_free(c);
}

/* ---- failed allocations */

static bdl_status whole(bdl_context *c) {
  bdl_prog *p = NULL, *flat = NULL, *q = NULL;
  bdl_atom atoms[2];
  bdl_structure z = {0};
  bdl_term t = {0};
  const int group[] = {0};
  TRY(bdl_ir_parse(c, rnn, strlen(rnn), &p));
  bdl_status s = bdl_online_flatten(p, &flat);
  if (s == BDL_OK) {
    const bdl_step step = step_of(flat, 1, 1, atoms);
    s = bdl_online_structure(&step, &z);
    bdl_online_structure_fini(&z);
    if (s == BDL_OK) s = bdl_online_perturb(&step, group, 1, NULL, &q);
    bdl_prog_unref(q);
    if (s == BDL_OK) s = bdl_online_term(flat, &flat->eqns.v[0], 1, &t);
    bdl_online_term_fini(&t);
  }
  bdl_prog_unref(flat);
  bdl_prog_unref(p);
  return s;
}

static void every_allocation_may_fail(void **state) {
  (void)state;
  assert_true(t_survive(whole, false) > 20);
  assert_true(t_survive(whole, true) > 20);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_recurrent_layer),
    cmocka_unit_test(groups_and_cuts),
    cmocka_unit_test(a_perturbation_acts_outside_of_its_group),
    cmocka_unit_test(branches_and_short_loops_are_written_out),
    cmocka_unit_test(weights_are_found),
    cmocka_unit_test(every_allocation_may_fail),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

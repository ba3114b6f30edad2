/*
** test_derivatives.c -- each jvp rule equals finite differences, each transpose rule is the adjoint of its primitive:
** <J v, w> = <v, J' w>.  Cases of moves, reductions, products, factorisations and events; values at ties and singular points.
*/
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "exec/exec.h"
#include "prim/prim.h"

#include "../support/random.h"

enum { MAX_IN = 6 };

static bdl_context *ctx;

static double uniform(uint64_t *seed) {
  return (double)(t_random(seed) >> 11) * 0x1p-53 * 2 - 1;
}

/* How an operand is filled and what it is to the rules. */
typedef enum role {
  REAL,     /* f64, differentiated; linear where the primitive is linear in it */
  FIXED,    /* f64, not differentiated */
  EVENTS,   /* f64 of 0 and 1, differentiated as an ordinary vector: left out of finite differences */
  DOMINANT, /* f64 square matrices, well-conditioned, differentiated */
  INDEX,    /* i32 below `limit` */
  LISTED    /* i32 from `list` */
} role;

typedef struct operand {
  role role;
  int ndim;
  int64_t shape[4];
  int64_t limit;
  const int32_t *list;
} operand;

typedef struct testcase {
  bdl_prim_id prim;
  bdl_param p[6];
  int64_t n_in;
  operand in[MAX_IN];
  uint64_t linear; /* bit i: linear in operand i */
} testcase;

#define I(...) \
  { \
    .kind = BDL_PK_INTS, .n = (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), .ints = (const int64_t[]) { \
      __VA_ARGS__ \
    } \
  }
#define NONE \
  { .kind = BDL_PK_INTS, .n = 0, .ints = NULL }
#define N(x) \
  { .kind = BDL_PK_INT, .i = (x) }
#define S(x) \
  { .kind = BDL_PK_STR, .s = (x) }
#define X(r, nd, ...) \
  { \
    .role = r, .ndim = nd, .shape = { __VA_ARGS__ } \
  }
#define SCALAR(r) \
  { .role = r }
#define AT(lim, nd, ...) \
  { .role = INDEX, .ndim = nd, .shape = {__VA_ARGS__}, .limit = lim }
#define LIST(n, v) \
  { .role = LISTED, .ndim = 1, .shape = {n}, .list = v }

/* a matrix of 3 rows and 4 columns with 6 entries; and with rows of 2 */
static const int32_t columns[] = {0, 2, 3, 1, 3, 0}, pointers[] = {0, 3, 3, 6}, two[] = {0, 2};

static const testcase cases[] = {
    {BDL_P_reduce_sum, {I(0, 2)}, 1, {X(REAL, 3, 2, 3, 4)}, 1},
    {BDL_P_reduce_prod, {I(1)}, 1, {X(REAL, 3, 2, 5, 2)}, 0},
    {BDL_P_reduce_prod, {I(0, 2)}, 1, {X(REAL, 3, 2, 3, 3)}, 0},
    {BDL_P_reduce_max, {I(0)}, 1, {X(REAL, 2, 5, 3)}, 0},
    {BDL_P_reduce_min, {I(0, 1)}, 1, {X(REAL, 2, 5, 3)}, 0},
    {BDL_P_cumsum, {N(1), N(0)}, 1, {X(REAL, 2, 2, 5)}, 1},
    {BDL_P_cumsum, {N(0), N(1)}, 1, {X(REAL, 2, 4, 2)}, 1},
    {BDL_P_cumprod, {N(1), N(0)}, 1, {X(REAL, 2, 2, 6)}, 0},
    {BDL_P_cumprod, {N(0), N(1)}, 1, {X(REAL, 2, 5, 2)}, 0},
    {BDL_P_cummax, {N(1), N(0)}, 1, {X(REAL, 2, 2, 6)}, 0},
    {BDL_P_cummax, {N(0), N(1)}, 1, {X(REAL, 2, 5, 1)}, 0},
    {BDL_P_cummin, {N(0), N(0)}, 1, {X(REAL, 2, 5, 2)}, 0},
    {BDL_P_cummin, {N(1), N(1)}, 1, {X(REAL, 2, 1, 5)}, 0},
    {BDL_P_reshape, {I(3, 2)}, 1, {X(REAL, 2, 2, 3)}, 1},
    {BDL_P_broadcast, {I(2, 3, 4), I(0, 2)}, 1, {X(REAL, 2, 1, 4)}, 1},
    {BDL_P_permute, {I(2, 0, 1)}, 1, {X(REAL, 3, 2, 3, 4)}, 1},
    {BDL_P_slice, {I(1, 0), I(6, 3), I(2, 1)}, 1, {X(REAL, 2, 7, 4)}, 1},
    {BDL_P_slice, {I(2), I(2), I(1)}, 1, {X(REAL, 1, 4)}, 1},
    {BDL_P_reverse, {I(1)}, 1, {X(REAL, 2, 2, 3)}, 1},
    {BDL_P_pad, {I(1, -1), I(2, 0), I(0, 2)}, 2, {X(REAL, 2, 2, 3), SCALAR(REAL)}, 3},
    {BDL_P_pad, {I(-2), I(-1), I(1)}, 2, {X(REAL, 1, 4), SCALAR(REAL)}, 3},
    {BDL_P_concatenate, {N(1)}, 3, {X(REAL, 2, 2, 1), X(REAL, 2, 2, 3), X(FIXED, 2, 2, 2)}, 7},
    {BDL_P_dynamic_slice, {I(2, 2)}, 3, {X(REAL, 2, 4, 3), AT(5, 0, 0), AT(5, 0, 0)}, 1},
    {BDL_P_dynamic_update_slice, {NONE}, 4, {X(REAL, 2, 4, 3), X(REAL, 2, 2, 2), AT(5, 0, 0), AT(5, 0, 0)}, 3},
    {BDL_P_gather, {N(1)}, 2, {X(REAL, 3, 2, 4, 3), AT(4, 2, 2, 2)}, 1},
    {BDL_P_gather_along, {N(1)}, 2, {X(REAL, 2, 2, 4), AT(4, 2, 2, 5)}, 1},
    {BDL_P_scatter, {N(0), S("add")}, 3, {X(REAL, 2, 4, 2), AT(4, 1, 6), X(REAL, 2, 6, 2)}, 5},
    {BDL_P_scatter, {N(1), S("set")}, 3, {X(REAL, 2, 2, 4), AT(4, 1, 6), X(REAL, 2, 2, 6)}, 5},
    {BDL_P_scatter_along, {N(1), S("add")}, 3, {X(REAL, 2, 2, 4), AT(4, 2, 2, 6), X(REAL, 2, 2, 6)}, 5},
    {BDL_P_scatter_along, {N(0), S("set")}, 3, {X(REAL, 2, 4, 2), AT(4, 2, 6, 2), X(REAL, 2, 6, 2)}, 5},
    {BDL_P_scatter, {N(0), S("max")}, 3, {X(REAL, 2, 3, 2), AT(3, 1, 7), X(REAL, 2, 7, 2)}, 0},
    {BDL_P_scatter, {N(1), S("min")}, 3, {X(REAL, 2, 2, 3), AT(3, 1, 7), X(REAL, 2, 2, 7)}, 0},
    {BDL_P_scatter, {N(0), S("mul")}, 3, {X(REAL, 2, 3, 2), AT(3, 1, 5), X(REAL, 2, 5, 2)}, 0},
    {BDL_P_scatter_along, {N(0), S("max")}, 3, {X(REAL, 2, 3, 2), AT(3, 2, 7, 2), X(REAL, 2, 7, 2)}, 0},
    {BDL_P_scatter_along, {N(1), S("mul")}, 3, {X(REAL, 2, 2, 3), AT(3, 2, 2, 5), X(REAL, 2, 2, 5)}, 0},
    {BDL_P_sort, {N(0), N(1), N(0)}, 2, {X(REAL, 2, 6, 2), X(REAL, 2, 6, 2)}, 0},
    {BDL_P_sort, {N(1), N(1), N(1)}, 1, {X(REAL, 2, 2, 6)}, 0},
    {BDL_P_sort, {N(0), N(2), N(0)}, 3, {AT(2, 1, 8), X(REAL, 1, 8), X(REAL, 1, 8)}, 0},
    {BDL_P_top_k, {N(3)}, 1, {X(REAL, 2, 2, 6)}, 0},
    {BDL_P_dot, {I(1), I(0), NONE, NONE}, 2, {X(REAL, 2, 2, 3), X(REAL, 2, 3, 4)}, 3},
    {BDL_P_dot, {I(3, 0), I(0, 2), I(1), I(3)}, 2, {X(REAL, 4, 2, 3, 2, 4), X(REAL, 4, 4, 2, 2, 3)}, 3},
    {BDL_P_dot, {NONE, NONE, NONE, NONE}, 2, {X(REAL, 1, 2), X(REAL, 2, 2, 3)}, 3},
    {BDL_P_conv, {I(1), I(0), I(0), I(1), I(1), N(1)}, 2, {X(REAL, 3, 2, 6, 2), X(REAL, 3, 3, 2, 3)}, 3},
    {BDL_P_conv, {I(2), I(2), I(1), I(2), I(2), N(1)}, 2, {X(REAL, 3, 2, 5, 2), X(REAL, 3, 2, 2, 3)}, 3},
    {BDL_P_conv,
     {I(2, 1), I(1, 0), I(2, 1), I(1, 2), I(1, 1), N(2)},
     2,
     {X(REAL, 4, 2, 5, 3, 4), X(REAL, 4, 3, 2, 2, 6)},
     3},
    {BDL_P_conv, {I(3), I(-1), I(2), I(1), I(1), N(3)}, 2, {X(REAL, 3, 1, 8, 3), X(REAL, 3, 2, 1, 3)}, 3},
    {BDL_P_cholesky, {NONE}, 1, {X(DOMINANT, 3, 2, 3, 3)}, 0},
    {BDL_P_lu, {NONE}, 1, {X(REAL, 3, 2, 3, 3)}, 0},
    {BDL_P_lu, {NONE}, 1, {X(DOMINANT, 2, 5, 5)}, 0},
    {BDL_P_triangular_solve, {N(1), N(0), N(0)}, 2, {X(DOMINANT, 3, 2, 3, 3), X(REAL, 3, 2, 3, 2)}, 2},
    {BDL_P_triangular_solve, {N(0), N(1), N(0)}, 2, {X(DOMINANT, 2, 3, 3), X(REAL, 2, 3, 2)}, 2},
    {BDL_P_triangular_solve, {N(1), N(1), N(1)}, 2, {X(REAL, 2, 3, 3), X(REAL, 2, 3, 2)}, 2},
    {BDL_P_solve, {NONE}, 2, {X(DOMINANT, 3, 2, 3, 3), X(REAL, 3, 2, 3, 2)}, 2},
    /* nothing, and one of each */
    {BDL_P_reduce_sum, {I(0)}, 1, {X(REAL, 2, 0, 3)}, 1},
    {BDL_P_reduce_sum, {NONE}, 1, {X(REAL, 1, 3)}, 1},
    {BDL_P_reduce_prod, {I(0)}, 1, {X(REAL, 2, 0, 3)}, 0},
    {BDL_P_reduce_prod, {I(0, 1)}, 1, {X(REAL, 2, 1, 1)}, 0},
    {BDL_P_reduce_max, {I(1)}, 1, {X(REAL, 2, 0, 3)}, 0},
    {BDL_P_reduce_max, {I(1)}, 1, {X(REAL, 2, 3, 1)}, 0},
    {BDL_P_cumsum, {N(0), N(0)}, 1, {X(REAL, 2, 0, 2)}, 1},
    {BDL_P_cumprod, {N(1), N(0)}, 1, {X(REAL, 2, 2, 0)}, 0},
    {BDL_P_cumprod, {N(1), N(1)}, 1, {X(REAL, 2, 2, 1)}, 0},
    {BDL_P_cummax, {N(0), N(1)}, 1, {X(REAL, 2, 0, 2)}, 0},
    {BDL_P_broadcast, {I(0, 3), I(1)}, 1, {X(REAL, 1, 1)}, 1},
    {BDL_P_pad, {I(0), I(0), I(3)}, 2, {X(REAL, 1, 0), SCALAR(REAL)}, 3},
    {BDL_P_pad, {I(2), I(1), I(1)}, 2, {X(REAL, 1, 0), SCALAR(REAL)}, 3},
    {BDL_P_concatenate, {N(0)}, 2, {X(REAL, 2, 0, 3), X(REAL, 2, 1, 3)}, 3},
    {BDL_P_dynamic_slice, {I(0, 3)}, 3, {X(REAL, 2, 4, 3), AT(5, 0, 0), AT(5, 0, 0)}, 1},
    {BDL_P_dynamic_update_slice, {NONE}, 4, {X(REAL, 2, 4, 3), X(REAL, 2, 0, 2), AT(5, 0, 0), AT(5, 0, 0)}, 3},
    {BDL_P_gather, {N(0)}, 2, {X(REAL, 2, 4, 3), AT(4, 1, 0)}, 1},
    {BDL_P_gather, {N(0)}, 2, {X(REAL, 2, 1, 3), AT(1, 2, 1, 1)}, 1},
    {BDL_P_scatter, {N(0), S("set")}, 3, {X(REAL, 2, 4, 2), AT(4, 1, 0), X(REAL, 2, 0, 2)}, 5},
    {BDL_P_scatter, {N(0), S("mul")}, 3, {X(REAL, 2, 4, 2), AT(4, 1, 0), X(REAL, 2, 0, 2)}, 0},
    {BDL_P_scatter, {N(0), S("max")}, 3, {X(REAL, 1, 1), AT(1, 1, 1), X(REAL, 1, 1)}, 0},
    {BDL_P_sort, {N(0), N(1), N(0)}, 1, {X(REAL, 2, 0, 2)}, 0},
    {BDL_P_sort, {N(0), N(1), N(1)}, 1, {X(REAL, 2, 1, 2)}, 0},
    {BDL_P_top_k, {N(0)}, 1, {X(REAL, 2, 2, 3)}, 0},
    {BDL_P_dot, {I(1), I(0), NONE, NONE}, 2, {X(REAL, 2, 2, 0), X(REAL, 2, 0, 4)}, 3},
    {BDL_P_dot, {I(1), I(0), NONE, NONE}, 2, {X(REAL, 2, 0, 1), X(REAL, 2, 1, 1)}, 3},
    {BDL_P_conv, {I(1), I(0), I(0), I(1), I(1), N(1)}, 2, {X(REAL, 3, 0, 6, 2), X(REAL, 3, 3, 2, 3)}, 3},
    {BDL_P_conv, {I(1), I(0), I(0), I(1), I(1), N(1)}, 2, {X(REAL, 3, 1, 1, 1), X(REAL, 3, 1, 1, 1)}, 3},
    {BDL_P_cholesky, {NONE}, 1, {X(DOMINANT, 2, 0, 0)}, 0},
    {BDL_P_cholesky, {NONE}, 1, {X(DOMINANT, 2, 1, 1)}, 0},
    {BDL_P_lu, {NONE}, 1, {X(DOMINANT, 3, 0, 2, 2)}, 0},
    {BDL_P_lu, {NONE}, 1, {X(DOMINANT, 2, 1, 1)}, 0},
    {BDL_P_solve, {NONE}, 2, {X(DOMINANT, 2, 3, 3), X(REAL, 2, 3, 0)}, 2},
    {BDL_P_solve, {NONE}, 2, {X(DOMINANT, 2, 0, 0), X(REAL, 2, 0, 2)}, 2},
    {BDL_P_triangular_solve, {N(1), N(0), N(0)}, 2, {X(DOMINANT, 2, 1, 1), X(REAL, 2, 1, 1)}, 2},
    {BDL_P_event_dot, {N(0)}, 2, {X(EVENTS, 1, 5), X(REAL, 2, 5, 3)}, 2},
    {BDL_P_event_dot, {N(0)}, 2, {X(EVENTS, 2, 2, 5), X(REAL, 2, 5, 3)}, 2},
    {BDL_P_event_dot, {N(1)}, 2, {X(EVENTS, 2, 2, 3), X(REAL, 2, 5, 3)}, 2},
    {BDL_P_csr_dot, {N(3), N(4), N(0), N(0)}, 4, {X(REAL, 1, 3), X(REAL, 1, 6), LIST(6, columns), LIST(4, pointers)}, 3},
    {BDL_P_csr_dot, {N(3), N(4), N(1), N(0)}, 4, {X(REAL, 2, 2, 4), X(REAL, 1, 6), LIST(6, columns), LIST(4, pointers)}, 3},
    {BDL_P_csr_dot, {N(3), N(4), N(1), N(0)}, 4, {X(REAL, 1, 4), X(REAL, 1, 1), LIST(6, columns), LIST(2, two)}, 3},
    {BDL_P_csr_dot,
     {N(3), N(4), N(0), N(1)},
     4,
     {X(EVENTS, 2, 2, 3), X(REAL, 1, 6), LIST(6, columns), LIST(4, pointers)},
     2},
    {BDL_P_csr_dot, {N(3), N(4), N(1), N(1)}, 4, {X(EVENTS, 1, 4), X(REAL, 1, 6), LIST(6, columns), LIST(2, two)}, 2},
    {BDL_P_csr_dot, {N(3), N(4), N(0), N(1)}, 4, {X(EVENTS, 1, 3), X(REAL, 1, 1), LIST(6, columns), LIST(4, pointers)}, 2},
    {BDL_P_csr_outer, {N(3), N(4), N(0)}, 4, {X(REAL, 2, 2, 3), X(REAL, 2, 2, 4), LIST(6, columns), LIST(4, pointers)}, 3},
    {BDL_P_csr_outer, {N(3), N(4), N(1)}, 4, {X(EVENTS, 1, 3), X(REAL, 1, 4), LIST(6, columns), LIST(4, pointers)}, 2},
    {BDL_P_jitc_dot,
     {N(5), N(7), N(0), N(0), S("normal:0.5")},
     4,
     {X(REAL, 1, 5), SCALAR(REAL), SCALAR(REAL), SCALAR(INDEX)},
     7},
    {BDL_P_jitc_dot,
     {N(5), N(7), N(1), N(1), S("uniform:0.5")},
     4,
     {X(EVENTS, 2, 2, 7), SCALAR(REAL), SCALAR(REAL), SCALAR(INDEX)},
     6},
};

/* ---- tensors -------------------------------------------------------------------------------------- */

static bdl_tensor tensor(const bdl_aval *a) {
  bdl_tensor t;
  if (bdl_tensor_new(bdl_device_cpu(ctx), a, &t) != BDL_OK) abort();
  return t;
}

static bdl_aval aval_of(const testcase *c, int i) {
  const operand *o = &c->in[i];
  const bool seed = c->prim == BDL_P_jitc_dot && i == 3;
  return bdl_aval_make(seed ? BDL_I64 : o->role >= INDEX ? BDL_I32 : BDL_F64, o->ndim, o->shape);
}

static bdl_tensor fill(const testcase *c, int i, uint64_t *r) {
  const operand *o = &c->in[i];
  const bdl_aval a = aval_of(c, i);
  const int64_t cols = a.ndim > 0 ? BDL_MAX(a.shape[a.ndim - 1], 1) : 1;
  bdl_tensor t = tensor(&a);
  for (int64_t k = 0; k < bdl_aval_numel(&a); k++) {
    double v = uniform(r);
    if (o->role == EVENTS) v = v > 0;
    if (o->role == DOMINANT && k / cols % cols == k % cols) v += 4;
    if (a.dtype == BDL_F64) ((double *)bdl_tensor_data(&t))[k] = v;
    if (a.dtype == BDL_I32)
      ((int32_t *)bdl_tensor_data(&t))[k] =
          o->role == LISTED ? o->list[k] : (int32_t)(t_random(r) % (uint64_t)BDL_MAX(o->limit, 1));
    if (a.dtype == BDL_I64) ((int64_t *)bdl_tensor_data(&t))[k] = 77;
  }
  return t;
}

static bool differentiable(const testcase *c, int i) {
  return c->in[i].role < INDEX && c->in[i].role != FIXED;
}

static void check(bdl_status s, const testcase *c, int index) {
  if (s != BDL_OK) fail_msg("case %d, %s: %s", index, bdl_prims[c->prim].name, bdl_last_error(ctx)->message);
}

/* ---- programs: one primitive, its tangents, its cotangents ------------------------------------------ */

typedef struct built {
  bdl_prog *p;
  bdl_atom x[MAX_IN], z[MAX_IN];
  int n_out;
  bdl_eqn eqn;
} built;

static built build(const testcase *c, int index, bool bind) {
  built b = {.n_out = bdl_ir_n_out(c->prim, c->p, (int)c->n_in)};
  check(bdl_prog_new(ctx, "f", &b.p), c, index);
  for (int i = 0; i < c->n_in; i++) {
    const bdl_aval a = aval_of(c, i);
    check(bdl_ir_input(b.p, &a, &b.x[i]), c, index);
  }
  if (bind) check(bdl_bind(b.p, c->prim, c->p, b.x, (int)c->n_in, b.z), c, index);
  b.eqn = (bdl_eqn){.prim = c->prim,
                    .n_in = (int32_t)c->n_in,
                    .n_out = b.n_out,
                    .n_params = bdl_prim_n_params(c->prim),
                    .params = (bdl_param *)c->p};
  return b;
}

static void release(bdl_tensor *t, int n) {
  for (int i = 0; i < n; i++) bdl_tensor_unref(&t[i]);
}

/* sum over float results of <z, w>, w made from a seed */
static double weighed(const bdl_tensor *z, int n, uint64_t seed) {
  double sum = 0;
  for (int i = 0; i < n; i++)
    for (int64_t k = 0; z[i].aval.dtype == BDL_F64 && k < bdl_aval_numel(&z[i].aval); k++)
      sum += uniform(&seed) * bdl_tensor_at(&z[i], k).f64;
  return sum;
}

static double run(const testcase *c, int index, const bdl_tensor *in, uint64_t seed) {
  bdl_tensor z[MAX_IN];
  built b = build(c, index, true);
  check(bdl_prog_set_outputs(b.p, b.z, b.n_out), c, index);
  check(bdl_exec_prog(ctx, b.p, in, z), c, index);
  const double sum = weighed(z, b.n_out, seed);
  release(z, b.n_out);
  bdl_prog_unref(b.p);
  return sum;
}

/* J v of the results that have one: mask says which operands have tangents, in v */
static int jvp(const testcase *c, int index, const bdl_tensor *in, const bdl_tensor *v, unsigned mask, bdl_tensor *out) {
  bdl_tensor all[2 * MAX_IN];
  bdl_atom dx[MAX_IN], dz[MAX_IN], z[MAX_IN];
  built b = build(c, index, true);
  int n = (int)c->n_in, n_out = 0;
  memcpy(all, in, (size_t)n * sizeof *all);
  for (int i = 0; i < c->n_in; i++) {
    dx[i] = BDL_ZERO;
    if (!(mask >> i & 1)) continue;
    const bdl_aval a = aval_of(c, i);
    check(bdl_ir_input(b.p, &a, &dx[i]), c, index);
    all[n++] = v[i];
  }
  for (int i = 0; i < b.n_out; i++) dz[i] = BDL_ZERO;
  check(bdl_prims[c->prim].jvp(b.p, &b.eqn, b.x, dx, b.z, dz), c, index);
  for (int i = 0; i < b.n_out; i++) {
    if (bdl_is_zero(dz[i])) continue;
    assert_true(bdl_aval_eq(bdl_aval_of(b.p, dz[i]), bdl_aval_of(b.p, b.z[i])));
    z[n_out++] = dz[i];
  }
  check(bdl_prog_set_outputs(b.p, z, n_out), c, index);
  check(bdl_exec_prog(ctx, b.p, all, out), c, index);
  bdl_prog_unref(b.p);
  return n_out;
}

/* <J v, w> */
static double run_jvp(const testcase *c, int index, const bdl_tensor *in, const bdl_tensor *v, unsigned mask,
                      uint64_t seed) {
  bdl_tensor z[MAX_IN];
  const int n = jvp(c, index, in, v, mask, z);
  const double sum = weighed(z, n, seed);
  release(z, n);
  return sum;
}

/* <v, J' w> over the operands of mask */
static double run_transpose(const testcase *c, int index, const bdl_tensor *in, const bdl_tensor *v, unsigned mask,
                            uint64_t seed) {
  bdl_tensor all[2 * MAX_IN], z[MAX_IN];
  bdl_atom ct[MAX_IN], ct_in[MAX_IN], out[MAX_IN];
  bool linear[MAX_IN];
  bdl_aval in_aval[MAX_IN], out_aval[MAX_IN];
  built b = build(c, index, false);
  double sum = 0;
  memcpy(all, in, (size_t)c->n_in * sizeof *all);
  for (int i = 0; i < c->n_in; i++) in_aval[i] = aval_of(c, i), linear[i] = mask >> i & 1, ct_in[i] = BDL_ZERO;
  check(bdl_prim_type(ctx, c->prim, c->p, in_aval, (int)c->n_in, out_aval), c, index);
  check(bdl_ir_input(b.p, &out_aval[0], &ct[0]), c, index);
  all[c->n_in] = tensor(&out_aval[0]);
  for (int64_t k = 0; k < bdl_aval_numel(&out_aval[0]); k++) ((double *)bdl_tensor_data(&all[c->n_in]))[k] = uniform(&seed);
  check(bdl_prims[c->prim].transpose(b.p, &b.eqn, b.x, linear, ct, ct_in), c, index);
  int n_out = 0;
  for (int i = 0; i < c->n_in; i++)
    if (linear[i]) {
      assert_false(bdl_is_zero(ct_in[i]));
      assert_true(bdl_aval_eq(bdl_aval_of(b.p, ct_in[i]), &in_aval[i]));
      out[n_out++] = ct_in[i];
    }
  check(bdl_prog_set_outputs(b.p, out, n_out), c, index);
  check(bdl_exec_prog(ctx, b.p, all, z), c, index);
  for (int i = 0, o = 0; i < c->n_in; i++)
    if (linear[i]) {
      for (int64_t k = 0; k < bdl_aval_numel(&in_aval[i]); k++)
        sum += bdl_tensor_at(&v[i], k).f64 * bdl_tensor_at(&z[o], k).f64;
      o++;
    }
  release(z, n_out);
  bdl_tensor_unref(&all[c->n_in]);
  bdl_prog_unref(b.p);
  return sum;
}

static void near(double a, double b, double tolerance, const testcase *c, int index, const char *what) {
  if (!(fabs(a - b) <= tolerance * (1 + fabs(b))))
    fail_msg("case %d, %s: %s: %.12g, not %.12g", index, bdl_prims[c->prim].name, what, a, b);
}

/* ---- tests ------------------------------------------------------------------------------------------ */

static void jvp_equals_finite_differences(void **state) {
  (void)state;
  const double h = 1e-6;
  for (int k = 0; k < BDL_LEN(cases); k++) {
    const testcase *c = &cases[k];
    uint64_t r = (uint64_t)k + 1;
    bdl_tensor in[MAX_IN], v[MAX_IN], moved[2][MAX_IN];
    unsigned mask = 0;
    for (int i = 0; i < c->n_in; i++) {
      in[i] = fill(c, i, &r);
      v[i] = fill(c, i, &r);
      for (int s = 0; s < 2; s++) {
        moved[s][i] = tensor(&in[i].aval);
        memcpy(bdl_tensor_data(&moved[s][i]), bdl_tensor_data(&in[i]), bdl_aval_bytes(&in[i].aval));
        if (!differentiable(c, i) || c->in[i].role == EVENTS) continue;
        mask |= 1u << i;
        for (int64_t e = 0; e < bdl_aval_numel(&in[i].aval); e++)
          ((double *)bdl_tensor_data(&moved[s][i]))[e] += (s ? h : -h) * ((double *)bdl_tensor_data(&v[i]))[e];
      }
    }
    const double slope = (run(c, k, moved[1], 5) - run(c, k, moved[0], 5)) / (2 * h);
    near(run_jvp(c, k, in, v, mask, 5), slope, 1e-7, c, k, "jvp");
    release(in, (int)c->n_in), release(v, (int)c->n_in), release(moved[0], (int)c->n_in), release(moved[1], (int)c->n_in);
  }
}

static void transpose_is_the_adjoint(void **state) {
  (void)state;
  for (int k = 0; k < BDL_LEN(cases); k++) {
    const testcase *c = &cases[k];
    uint64_t r = (uint64_t)k + 1;
    bdl_tensor in[MAX_IN], v[MAX_IN];
    for (int i = 0; i < c->n_in; i++) in[i] = fill(c, i, &r), v[i] = fill(c, i, &r);
    for (int i = 0; i < c->n_in; i++)
      if ((c->linear >> i & 1) && differentiable(c, i))
        near(run_jvp(c, k, in, v, 1u << i, 9), run_transpose(c, k, in, v, 1u << i, 9), 1e-10, c, k, "adjoint");
    release(in, (int)c->n_in), release(v, (int)c->n_in);
  }
}

/* With respect to events the product is differentiated as the ordinary one. */
static void events_are_differentiated_as_numbers(void **state) {
  (void)state;
  for (int k = 0; k < BDL_LEN(cases); k++) {
    const testcase *c = &cases[k];
    if (c->in[0].role != EVENTS || c->prim == BDL_P_event_dot) continue;
    testcase plain = *c;
    uint64_t r = (uint64_t)k + 1;
    bdl_tensor in[MAX_IN], v[MAX_IN];
    plain.p[c->prim == BDL_P_csr_outer ? 2 : 3].i = 0;
    for (int i = 0; i < c->n_in; i++) {
      in[i] = fill(c, i, &r), v[i] = fill(c, i, &r);
      for (int64_t e = 0; i == 0 && e < bdl_aval_numel(&v[i].aval); e++)
        ((double *)bdl_tensor_data(&v[i]))[e] = uniform(&r);
    }
    near(run_jvp(c, k, in, v, 1, 3), run_jvp(&plain, k, in, v, 1, 3), 1e-12, c, k, "jvp of events");
    release(in, (int)c->n_in), release(v, (int)c->n_in);
  }
}

/* ---- where differences say nothing: values of JAX ---- */

#define V(...) \
  { __VA_ARGS__ }

/* Scalars x; the derivative by each. */
static const struct {
  bdl_prim_id prim;
  int64_t n; /* parameter */
  double x[3], want[3];
} singular[] = {
    {BDL_P_abs, 0, V(0), V(1)},
    {BDL_P_abs, 0, V(-0.0), V(1)},
    {BDL_P_sign, 0, V(0), V(0)},
    {BDL_P_sqrt, 0, V(0), V(INFINITY)},
    {BDL_P_rsqrt, 0, V(0), V(-INFINITY)},
    {BDL_P_cbrt, 0, V(0), V(INFINITY)},
    {BDL_P_log, 0, V(0), V(INFINITY)},
    {BDL_P_log, 0, V(INFINITY), V(0)},
    {BDL_P_log1p, 0, V(-1), V(INFINITY)},
    {BDL_P_asin, 0, V(1), V(INFINITY)},
    {BDL_P_acos, 0, V(-1), V(-INFINITY)},
    {BDL_P_acosh, 0, V(1), V(INFINITY)},
    {BDL_P_atanh, 0, V(1), V(INFINITY)},
    {BDL_P_erfinv, 0, V(1), V(INFINITY)},
    {BDL_P_exp, 0, V(-INFINITY), V(0)},
    {BDL_P_tanh, 0, V(INFINITY), V(0)},
    {BDL_P_sigmoid, 0, V(-INFINITY), V(0)},
    {BDL_P_softplus, 0, V(INFINITY), V(1)},
    {BDL_P_exprel, 0, V(0), V(0.5)},
    {BDL_P_exprel, 0, V(-INFINITY), V(0)},
    {BDL_P_digamma, 0, V(0), V(INFINITY)},
    {BDL_P_sqrt, 0, V(-1), V(NAN)},
    {BDL_P_integer_pow, 0, V(0), V(0)},
    {BDL_P_integer_pow, 1, V(0), V(1)},
    {BDL_P_integer_pow, 2, V(0), V(0)},
    {BDL_P_integer_pow, -1, V(0), V(-INFINITY)},
    {BDL_P_div, 0, V(0, 0), V(INFINITY, NAN)},
    {BDL_P_rem, 0, V(6, 3), V(1, -2)},
    {BDL_P_pow, 0, V(0, 0), V(0, 0)}, /* JAX: NaN */
    {BDL_P_pow, 0, V(0, 1), V(1, 0)},
    {BDL_P_pow, 0, V(0, 2), V(0, 0)},
    {BDL_P_pow, 0, V(0, 0.5), V(INFINITY, 0)},
    {BDL_P_pow, 0, V(-2, 3), V(12, NAN)},
    {BDL_P_atan2, 0, V(0, 0), V(NAN, NAN)},
    {BDL_P_atan2, 0, V(0, -1), V(-1, 0)},
    {BDL_P_max, 0, V(0, 0), V(0.5, 0.5)},
    {BDL_P_max, 0, V(NAN, 1), V(0, 0)},
    {BDL_P_min, 0, V(0, 0), V(0.5, 0.5)},
    {BDL_P_min, 0, V(1, 2), V(1, 0)},
    {BDL_P_clamp, 0, V(0, 0, 1), V(0, 0, 0)},
    {BDL_P_clamp, 0, V(0, 1, 1), V(0, 0, 0)},
    {BDL_P_clamp, 0, V(0, 0.5, 1), V(0, 1, 0)},
    {BDL_P_clamp, 0, V(0, -1, 1), V(1, 0, 0)},
    {BDL_P_clamp, 0, V(0, 2, 1), V(0, 0, 1)},
};

static void singular_points_are_those_of_jax(void **state) {
  (void)state;
  for (int k = 0; k < BDL_LEN(singular); k++) {
    const bdl_prim *row = &bdl_prims[singular[k].prim];
    testcase c = {singular[k].prim, {N(singular[k].n)}, row->n_in, {SCALAR(REAL), SCALAR(REAL), SCALAR(REAL)}, 0};
    uint64_t r = 1;
    bdl_tensor in[MAX_IN], v[MAX_IN], z[MAX_IN];
    for (int i = 0; i < c.n_in; i++) {
      in[i] = fill(&c, i, &r), v[i] = fill(&c, i, &r);
      *(double *)bdl_tensor_data(&in[i]) = singular[k].x[i];
      *(double *)bdl_tensor_data(&v[i]) = 1;
    }
    for (int i = 0; i < c.n_in; i++) {
      const int n = jvp(&c, k, in, v, 1u << i, z);
      const double got = n > 0 ? bdl_tensor_at(&z[0], 0).f64 : 0, want = singular[k].want[i];
      if (!(isnan(want) ? isnan(got) : got == want))
        fail_msg("%s(%g, %g, %g) by operand %d: %g, not %g", row->name, singular[k].x[0], singular[k].x[1], singular[k].x[2], i,
                 got, want);
      release(z, n);
    }
    release(in, (int)c.n_in), release(v, (int)c.n_in);
  }
}

/* Vectors x and tangents v of the float operands; J v.  Ties share, or the order decides; factors may be 0. */
static const int32_t places[] = {0, 0, 1}, place[] = {0, 0, 0};
static const struct {
  testcase c;
  double x[3][5], v[3][5], want[5];
} ties[] = {
    {{BDL_P_reduce_prod, {I(0)}, 1, {X(REAL, 1, 4)}, 0}, {V(2, 0, 3, 5)}, {V(1, 7, 1, 1)}, V(210)},
    {{BDL_P_reduce_prod, {I(0)}, 1, {X(REAL, 1, 4)}, 0}, {V(2, 0, 0, 5)}, {V(1, 7, 1, 1)}, V(0)},
    {{BDL_P_cumprod, {N(0), N(0)}, 1, {X(REAL, 1, 5)}, 0}, {V(2, 0, 3, 0, 5)}, {V(1, 1, 1, 1, 1)}, V(1, 2, 6, 0, 0)},
    {{BDL_P_reduce_max, {I(0)}, 1, {X(REAL, 1, 4)}, 0}, {V(1, 3, 3, 2)}, {V(1, 2, 4, 8)}, V(3)},
    {{BDL_P_reduce_min, {I(0)}, 1, {X(REAL, 1, 3)}, 0}, {V(1, 1, 1)}, {V(1, 2, 6)}, V(3)},
    {{BDL_P_reduce_max, {I(0)}, 1, {X(REAL, 2, 0, 3)}, 0}, {V(0)}, {V(0)}, V(0)},
    {{BDL_P_cummax, {N(0), N(0)}, 1, {X(REAL, 1, 4)}, 0}, {V(1, 3, 3, 2)}, {V(1, 2, 4, 8)}, V(1, 2, 4, 4)},
    {{BDL_P_sort, {N(0), N(1), N(0)}, 1, {X(REAL, 1, 4)}, 0}, {V(2, 1, 2, 1)}, {V(1, 2, 4, 8)}, V(2, 8, 1, 4)},
    {{BDL_P_top_k, {N(2)}, 1, {X(REAL, 1, 3)}, 0}, {V(1, 3, 3)}, {V(1, 2, 4)}, V(2, 4)},
    {{BDL_P_scatter, {N(0), S("max")}, 3, {X(REAL, 1, 2), LIST(3, places), X(REAL, 1, 3)}, 0},
     {V(1, 5), V(0), V(2, 2, 5)},
     {V(1, 2), V(0), V(3, 5, 4)},
     V(4, 3)},
    {{BDL_P_scatter, {N(0), S("mul")}, 3, {X(REAL, 1, 2), LIST(3, places), X(REAL, 1, 3)}, 0},
     {V(2, 3), V(0), V(0, 5, 0)},
     {V(1, 1), V(0), V(1, 1, 1)},
     V(10, 3)},
    {{BDL_P_scatter, {N(0), S("mul")}, 3, {X(REAL, 1, 2), LIST(3, place), X(REAL, 1, 3)}, 0},
     {V(2, 3), V(0), V(0, 5, 0)},
     {V(1, 1), V(0), V(1, 1, 1)},
     V(0, 1)},
};

static void ties_and_zeros_have_exact_tangents(void **state) {
  (void)state;
  for (int k = 0; k < BDL_LEN(ties); k++) {
    const testcase *c = &ties[k].c;
    uint64_t r = 1;
    bdl_tensor in[MAX_IN], v[MAX_IN], z[MAX_IN];
    unsigned mask = 0;
    for (int i = 0; i < c->n_in; i++) {
      in[i] = fill(c, i, &r), v[i] = fill(c, i, &r);
      if (!differentiable(c, i)) continue;
      mask |= 1u << i;
      memcpy(bdl_tensor_data(&in[i]), ties[k].x[i], bdl_aval_bytes(&in[i].aval));
      memcpy(bdl_tensor_data(&v[i]), ties[k].v[i], bdl_aval_bytes(&v[i].aval));
    }
    const int n = jvp(c, k, in, v, mask, z);
    for (int64_t i = 0; i < (n > 0 ? bdl_aval_numel(&z[0].aval) : BDL_LEN(ties[k].want)); i++)
      near(n > 0 ? bdl_tensor_at(&z[0], i).f64 : 0, ties[k].want[i], 1e-15, c, k, "tie");
    release(z, n), release(in, (int)c->n_in), release(v, (int)c->n_in);
  }
}

static int enter(void **state) {
  (void)state;
  ctx = bdl_context_new(NULL, NULL);
  return ctx ? 0 : -1;
}

static int leave(void **state) {
  (void)state;
  bdl_context_free(ctx);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(jvp_equals_finite_differences),
      cmocka_unit_test(transpose_is_the_adjoint),
      cmocka_unit_test(events_are_differentiated_as_numbers),
      cmocka_unit_test(singular_points_are_those_of_jax),
      cmocka_unit_test(ties_and_zeros_have_exact_tangents),
  };
  return cmocka_run_group_tests(tests, enter, leave);
}

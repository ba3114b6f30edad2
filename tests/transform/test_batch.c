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
  if (p->n_outputs != 2 || p->eqns.n != 1 || p->eqns.v[0].prim != BDL_P_event_ids || !out[1].buf) return;
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

static bool runs(bdl_prim_id p) { return !(bdl_prims[p].flags & BDL_F_EFFECT) && p != BDL_P_transposed && p != BDL_P_across; }

/* iota reads nothing; csr_scatter, dot_add, dot_pack, packed_dot, sparse_dot and etrace_learn are made in plans. */
static void every_primitive_has_a_rule(void **state) {
  (void)state;
  for (int p = 0; p < BDL_P_COUNT; p++)
    if (!bdl_prims[p].batch && p != BDL_P_iota && p != BDL_P_csr_scatter && p != BDL_P_dot_add && p != BDL_P_dot_pack && p != BDL_P_packed_dot && p != BDL_P_sparse_dot && p != BDL_P_etrace_learn)
       fail_msg("%s has no batch rule", bdl_prims[p].name);
}

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

/* ---- shapes and operands that the cases lack ------------------------------------------------------- */

static const struct {
  const char *text;
  double lo[5], hi[5];
} more[] = {
  {"program t(k:u32[2]) { z:u32[300] = random_bits[shape=(300) dtype=u32] k\n return z }", {0}, {4e9}},
  {"program t(k:u32[2]) { z:i64[5] = random_bits[shape=(5) dtype=i64] k\n return z }", {0}, {4e9}},
  {"program t(k:u32[2]) { z:u32[] = random_bits[shape=() dtype=u32] k\n return z }", {0}, {4e9}},
  {"program t(k:u32[2]) { z:u32[0,3] = random_bits[shape=(0,3) dtype=u32] k\n return z }", {0}, {4e9}},
  {"program t(k:u32[2], l:u32[2]) { m:u32[2] = xor k l\n z:u32[2] = random_bits[shape=(2) dtype=u32] m\n w:u32[2] = add z k\n return w }",
   {0, 0}, {4e9, 4e9}},
  {"program t(v:f32[3], d:f32[4], i:i32[4]) { const p:i32[4] = [0 2 2 4]\n"
   " z:f32[4] = csr_dot[rows=3 cols=4 transpose=0 event=1] v d i p\n return z }", {-1, -1, 0}, {1, 1, 3}},
  {"program t(v:f32[2,4], d:f32[6], i:i32[6]) { const p:i64[2] = [0 2]\n"
   " z:f32[2,3] = csr_dot[rows=3 cols=4 transpose=1 event=0] v d i p\n return z }", {-1, -1, 0}, {1, 1, 3}},
  {"program t(a:f32[2,3], b:f32[2,4], i:i32[4]) { const p:i32[4] = [0 2 2 4]\n"
   " z:f32[4] = csr_outer[rows=3 cols=4 event=1] a b i p\n return z }", {-1, -1, 0}, {1, 1, 3}},
  {"program t(v:bool[2,3], a:f32[], b:f32[], s:i64[]) {"
   " z:f32[2,4] = jitc_dot[rows=3 cols=4 transpose=0 event=1 kind=\"normal:0.5\"] v a b s\n return z }", {0, -1, 0, 0}, {1, 1, 1, 1e6}},
  {"program t(s:f32[2,3], w:f32[3,4]) { z:f32[2,4] = event_dot[transpose=0] s w\n return z }", {-1, -1}, {1, 1}},
  {"program t(s:f32[70]) { i:i32[70], n:i32[] = event_ids s\n return i, n }", {-1}, {1}},
  {"program t(x:f32[2,5,3], i:i32[2,2]) { z:f32[2,2,2,3] = gather[axis=1] x i\n return z }", {-1, 0}, {1, 4}},
  {"program t(x:f32[2,5], i:i64[]) { z:f32[2] = gather[axis=1] x i\n return z }", {-1, 0}, {1, 4}},
  {"program t(x:f32[2,5,3], i:i32[2,4,3]) { z:f32[2,4,3] = gather_along[axis=1] x i\n return z }", {-1, 0}, {1, 4}},
  {"program t(x:f32[2,5,3], i:i32[1,4,1]) { z:f32[2,4,3] = gather_along[axis=1] x i\n return z }", {-1, 0}, {1, 4}},
  {"program t(x:f32[2,5,3], i:i32[2], u:f32[2,2,3]) { z:f32[2,5,3] = scatter[axis=1 op=\"set\"] x i u\n return z }", {-1, 0, -1}, {1, 4, 1}},
  {"program t(x:f32[2,5,3], i:i32[2,4,3], u:f32[2,4,3]) { z:f32[2,5,3] = scatter_along[axis=1 op=\"max\"] x i u\n return z }",
   {-1, 0, -1}, {1, 4, 1}},
  {"program t(x:f32[], i:i32[1], u:f32[1]) { y:f32[1] = reshape[shape=(1)] x\n z:f32[1] = scatter[axis=0 op=\"mul\"] y i u\n return z }",
   {-1, 0, -1}, {1, 0, 1}},
  {"program t(x:f32[4,3,5], i:i32[], j:i32[], k:i32[]) { z:f32[2,3,2] = dynamic_slice[sizes=(2,3,2)] x i j k\n return z }",
   {-1, -2, -2, -2}, {1, 6, 6, 6}},
  {"program t(x:f32[4,3,5], i:i32[], j:i32[], k:i32[]) { z:f32[1,1,0] = dynamic_slice[sizes=(1,1,0)] x i j k\n return z }",
   {-1, -2, -2, -2}, {1, 6, 6, 6}},
  {"program t(x:f32[4,3,5], u:f32[2,1,5], i:i32[], j:i32[], k:i32[]) { z:f32[4,3,5] = dynamic_update_slice x u i j k\n return z }",
   {-1, -1, -2, -2, -2}, {1, 1, 6, 6, 6}},
  {"program t(x:i32[2,1], v:i32[]) { z:i32[5,2] = pad[lo=(1,-1) hi=(0,2) inner=(2,1)] x v\n return z }", {-9, -9}, {9, 9}},
  {"program t(x:f64[2,3,4], y:f64[5,4,2]) {"
   " z:f64[2,3,5] = dot[lhs_contract=(2) rhs_contract=(1) lhs_batch=(0) rhs_batch=(2)] x y\n return z }", {-1, -1}, {1, 1}},
  {"program t(x:f64[3,4], y:f64[4]) { z:f64[3] = dot[lhs_contract=(1) rhs_contract=(0) lhs_batch=() rhs_batch=()] x y\n return z }",
   {-1, -1}, {1, 1}},
  {"program t(x:f64[0,4], y:f64[4,2]) { z:f64[0,2] = dot[lhs_contract=(1) rhs_contract=(0) lhs_batch=() rhs_batch=()] x y\n return z }",
   {-1, -1}, {1, 1}},
  {"program t(x:f64[2,5,6,4], w:f64[2,3,2,6]) { z:f64[2,3,4,6] = conv[strides=(2,1) pad_lo=(1,0) pad_hi=(0,0)"
   " lhs_dilation=(1,1) rhs_dilation=(1,1) groups=2] x w\n return z }", {-1, -1}, {1, 1}},
  {"program t(a:f64[2,3,3], b:f64[2,3,2]) { c:f64[3,3] = iota[shape=(3,3) axis=0 dtype=f64]\n d:f64[3,3] = permute[axes=(1,0)] c\n"
   " p:bool[3,3] = eq c d\n e:f64[2,3,3] = select p 4.0:f64 a\n z:f64[2,3,2] = solve e b\n"
   " w:f64[2,3,2] = triangular_solve[lower=1 trans=1 unit=0] e b\n return z, w }", {-1, -1}, {1, 1}},
  {"program t(x:f32[2,3], y:i32[2,3]) { a:f32[2,3], b:i32[2,3] = sort[axis=0 keys=1 descending=1] x y\n return a, b }", {-1, 0}, {1, 9}},
  {"program t(x:f32[3], y:f32[2,1]) { z:f32[2,1] = barrier y x\n return z }", {-1, -1}, {1, 1}},
};

static void every_subset(void **state, const bdl_prog *p, const double *lo, const double *hi, double tolerance) {
  const int n = (int)p->inputs.n;
  for (int subset = 1; subset < 1 << n; subset++)
    for (int64_t lanes = 0; lanes <= 5; lanes += lanes ? 4 : 1) {
      bool batched[MAX], again[MAX], out[MAX];
      bdl_prog *q = NULL;
      for (int i = 0; i < n; i++) {
        batched[i] = subset >> i & 1;
        again[i] = (subset * 7 + (int)lanes) >> i & 1;
      }
      if (!over_lanes(state, p, batched, lanes, lo, hi, (uint64_t)subset, tolerance)) fail_msg("%s", bdl_last_error(*state)->message);
      OK(bdl_transform_batch(p, batched, lanes, &q, out));
      over_lanes(state, q, again, 2, lo, hi, (uint64_t)subset, tolerance);
      bdl_prog_unref(q);
    }
}

static void more_shapes_and_operands(void **state) {
  for (int k = 0; k < BDL_LEN(more); k++) {
    bdl_prog *p = t_parse(*state, more[k].text);
    every_subset(state, p, more[k].lo, more[k].hi, strstr(more[k].text, "f64") ? 1e-13 : 0);
    bdl_prog_unref(p);
  }
}

/* ---- random programs -------------------------------------------------------------------------------- */

enum { NUMBER, VECTOR, MATRIX, COUNT, TRUTH, KEY, TYPES };
static const bdl_aval types[TYPES] = {
  [NUMBER] = {.dtype = BDL_F32}, [VECTOR] = {.dtype = BDL_F32, .ndim = 1, .shape = {3}},
  [MATRIX] = {.dtype = BDL_F32, .ndim = 2, .shape = {2, 3}}, [COUNT] = {.dtype = BDL_I32},
  [TRUTH] = {.dtype = BDL_BOOL}, [KEY] = {.dtype = BDL_U32, .ndim = 1, .shape = {2}},
};

typedef struct pool {
  void **state;
  bdl_prog *p;
  uint64_t *seed;
  bdl_atom of[TYPES][MAX];
  int n[TYPES];
} pool;

static bdl_atom any_of(pool *o, int type) { return o->of[type][t_random(o->seed) % (uint64_t)o->n[type]]; }

static void put(pool *o, int type, bdl_atom x) {
  if (o->n[type] < MAX) o->of[type][o->n[type]++] = x;
  else o->of[type][t_random(o->seed) % MAX] = x;
}

static bdl_atom bind(pool *o, bdl_prim_id prim, const bdl_param *params, const bdl_atom *in, int n) {
  void **state = o->state;
  bdl_atom z[8];
  OK(bdl_bind(o->p, prim, params, in, n, z));
  return z[0];
}

static bdl_atom number(pool *o, bdl_dtype d, double v) {
  void **state = o->state;
  bdl_atom x;
  OK(bdl_ir_scalar(o->p, d, v, &x));
  return x;
}

static bdl_prog *random_body(void **state, uint64_t *seed, const int *in, int n_in, const int *out, int n_out, int depth, int kind);

enum { PLAIN, WHILE_CONDITION, WHILE_BODY };

static void random_loop(pool *o, int depth) {
  void **state = o->state;
  static const int in[] = {NUMBER, KEY, TRUTH, VECTOR, COUNT, MATRIX, VECTOR}, out[] = {VECTOR, COUNT, MATRIX, VECTOR};
  bdl_prog *body = random_body(state, o->seed, in, 7, out, 4, depth - 1, PLAIN);
  bdl_atom x[7], z[4];
  for (int i = 0; i < 6; i++) x[i] = any_of(o, in[i]);
  x[6] = any_of(o, MATRIX);
  OK(bdl_bind(o->p, BDL_P_scan, (bdl_param[]){bdl_pint(3), bdl_pint(3), bdl_pint(2), bdl_pint((int64_t)(t_random(o->seed) % 2)), bdl_pprogs(&body, 1)},
              x, 7, z));
  for (int i = 0; i < 3; i++) put(o, out[i], z[i]);
  put(o, MATRIX, z[3]);
  bdl_prog_unref(body);
}

static void random_while(pool *o, int depth) {
  void **state = o->state;
  static const int cond_in[] = {NUMBER, COUNT, VECTOR, NUMBER}, body_in[] = {KEY, VECTOR, COUNT, VECTOR, NUMBER};
  static const int carry[] = {COUNT, VECTOR, NUMBER}, truth[] = {TRUTH};
  bdl_prog *q[2] = {random_body(state, o->seed, cond_in, 4, truth, 1, 0, WHILE_CONDITION),
                    random_body(state, o->seed, body_in, 5, carry, 3, depth - 1, WHILE_BODY)};
  bdl_atom x[6] = {any_of(o, NUMBER), any_of(o, KEY), any_of(o, VECTOR), any_of(o, COUNT), any_of(o, VECTOR), any_of(o, NUMBER)}, z[3];
  OK(bdl_bind(o->p, BDL_P_while, (bdl_param[]){bdl_pint(1), bdl_pint(2), bdl_pprogs(q, 2)}, x, 6, z));
  for (int i = 0; i < 3; i++) put(o, carry[i], z[i]);
  for (int k = 0; k < 2; k++) bdl_prog_unref(q[k]);
}

static void random_cond(pool *o, int depth) {
  void **state = o->state;
  static const int in[] = {VECTOR, COUNT, KEY, NUMBER, TRUTH, MATRIX}, out[] = {VECTOR, NUMBER, COUNT};
  bdl_prog *q[3];
  bdl_atom x[7] = {any_of(o, COUNT)}, z[3];
  const int n = 2 + (int)(t_random(o->seed) % 2);
  for (int i = 0; i < 6; i++) x[i + 1] = any_of(o, in[i]);
  for (int k = 0; k < n; k++) q[k] = random_body(state, o->seed, in, 6, out, 3, depth - 1, PLAIN);
  if (n == 2) x[0] = bind(o, BDL_P_cast, (bdl_param[]){bdl_pdtype(BDL_I32)}, (bdl_atom[]){any_of(o, TRUTH)}, 1);
  OK(bdl_bind(o->p, BDL_P_cond, (bdl_param[]){bdl_pprogs(q, n)}, x, 7, z));
  for (int i = 0; i < 3; i++) put(o, out[i], z[i]);
  for (int k = 0; k < n; k++) bdl_prog_unref(q[k]);
}

/* Only what gives the same bits in any number of lanes. */
static void random_equation(pool *o, int depth) {
  const int64_t first = 0;
  const bdl_param axis = bdl_pint(0), axes = bdl_pints(&first, 1), three = bdl_pints((int64_t[]){3}, 1);
  bdl_atom x = any_of(o, VECTOR), y = any_of(o, MATRIX), a = any_of(o, NUMBER), i = any_of(o, COUNT), k = any_of(o, KEY);
  switch (t_random(o->seed) % (depth > 0 ? 19 : 15)) {
    case 0: put(o, VECTOR, bind(o, BDL_P_tanh, NULL, &x, 1)); break;
    case 1: put(o, NUMBER, bind(o, BDL_P_sin, NULL, &a, 1)); break;
    case 2: put(o, MATRIX, bind(o, BDL_P_mul, NULL, (bdl_atom[]){x, y}, 2)); break;
    case 3: put(o, VECTOR, bind(o, BDL_P_sub, NULL, (bdl_atom[]){a, x}, 2)); break;
    case 4: put(o, MATRIX, bind(o, BDL_P_max, NULL, (bdl_atom[]){y, any_of(o, MATRIX)}, 2)); break;
    case 5: put(o, VECTOR, bind(o, BDL_P_reduce_max, &axes, &y, 1)); break;
    case 6: put(o, NUMBER, bind(o, BDL_P_reduce_min, &axes, &x, 1)); break;
    case 7: put(o, TRUTH, bind(o, BDL_P_lt, NULL, (bdl_atom[]){a, any_of(o, NUMBER)}, 2)); break;
    case 8: put(o, MATRIX, bind(o, BDL_P_select, NULL, (bdl_atom[]){any_of(o, TRUTH), y, any_of(o, MATRIX)}, 3)); break;
    case 9: put(o, COUNT, bind(o, BDL_P_argmax, &axis, &x, 1)); break;
    case 10: put(o, KEY, bind(o, BDL_P_random_fold_in, NULL, (bdl_atom[]){k, bind(o, BDL_P_cast, (bdl_param[]){bdl_pdtype(BDL_U32)}, &i, 1)}, 2)); break;
    case 11: {
      x = bind(o, BDL_P_random_bits, (bdl_param[]){three, bdl_pdtype(BDL_U32)}, &k, 1);
      x = bind(o, BDL_P_cast, (bdl_param[]){bdl_pdtype(BDL_F32)}, &x, 1);
      put(o, VECTOR, bind(o, BDL_P_mul, NULL, (bdl_atom[]){x, number(o, BDL_F32, 0x1p-32)}, 2));
      break;
    }
    case 12: { /* inside [0, 3) only after the clamp */
      i = bind(o, BDL_P_clamp, NULL, (bdl_atom[]){number(o, BDL_I32, 0), i, number(o, BDL_I32, 2)}, 3);
      put(o, NUMBER, bind(o, BDL_P_gather, &axis, (bdl_atom[]){x, i}, 2));
      break;
    }
    case 13: put(o, MATRIX, bind(o, BDL_P_dynamic_update_slice, NULL, (bdl_atom[]){y, bind(o, BDL_P_reshape, (bdl_param[]){bdl_pints((int64_t[]){1, 3}, 2)}, &x, 1), i, i}, 4)); break;
    case 14: put(o, VECTOR, bind(o, BDL_P_cumsum, (bdl_param[]){axis, bdl_pint(1)}, &x, 1)); break;
    case 15: case 16: random_loop(o, depth); break;
    case 17: random_while(o, depth); break;
    default: random_cond(o, depth);
  }
}

static bdl_prog *random_body(void **state, uint64_t *seed, const int *in, int n_in, const int *out, int n_out, int depth, int kind) {
  pool o = {.state = state, .seed = seed};
  bdl_atom z[8], counter = BDL_ZERO;
  OK(bdl_prog_new(*state, "r", &o.p));
  for (int i = 0; i < n_in; i++) {
    OK(bdl_ir_input(o.p, &types[in[i]], &z[0]));
    if (in[i] == COUNT && counter == BDL_ZERO) counter = z[0];
    put(&o, in[i], z[0]);
  }
  if (!o.n[NUMBER]) put(&o, NUMBER, number(&o, BDL_F32, 0.5));
  if (!o.n[TRUTH]) put(&o, TRUTH, number(&o, BDL_BOOL, 1));
  if (!o.n[COUNT]) put(&o, COUNT, number(&o, BDL_I32, 1));
  if (!o.n[VECTOR]) put(&o, VECTOR, bind(&o, BDL_P_iota, (bdl_param[]){bdl_pints((int64_t[]){3}, 1), bdl_pint(0), bdl_pdtype(BDL_F32)}, NULL, 0));
  if (!o.n[KEY]) put(&o, KEY, bind(&o, BDL_P_iota, (bdl_param[]){bdl_pints((int64_t[]){2}, 1), bdl_pint(0), bdl_pdtype(BDL_U32)}, NULL, 0));
  if (!o.n[MATRIX]) put(&o, MATRIX, bind(&o, BDL_P_iota, (bdl_param[]){bdl_pints((int64_t[]){2, 3}, 2), bdl_pint(1), bdl_pdtype(BDL_F32)}, NULL, 0));
  for (int n = 4 + (int)(t_random(seed) % 8); n > 0; n--) random_equation(&o, depth);
  for (int i = 0; i < n_out; i++) z[i] = any_of(&o, out[i]);
  if (kind == WHILE_CONDITION) {
    z[0] = bind(&o, BDL_P_lt, NULL, (bdl_atom[]){counter, number(&o, BDL_I32, 4)}, 2);
    z[0] = bind(&o, BDL_P_and, NULL, (bdl_atom[]){z[0], bind(&o, BDL_P_lt, NULL, (bdl_atom[]){any_of(&o, NUMBER), number(&o, BDL_F32, 0.7)}, 2)}, 2);
  }
  if (kind == WHILE_BODY) z[0] = bind(&o, BDL_P_add, NULL, (bdl_atom[]){counter, number(&o, BDL_I32, 1)}, 2);
  OK(bdl_prog_set_outputs(o.p, z, n_out));
  return o.p;
}

static void random_programs_over_lanes(void **state) {
  static const int all[] = {NUMBER, VECTOR, MATRIX, COUNT, TRUTH, KEY}, out[] = {NUMBER, VECTOR, MATRIX, COUNT, TRUTH, KEY};
  static const double lo[] = {-2, -2, -2, -1, 0, 0}, hi[] = {2, 2, 2, 3, 1, 4e9};
  for (uint64_t s = 1; s <= 300; s++) {
    uint64_t seed = s;
    bdl_prog *p = random_body(state, &seed, all, 6, out, 6, 3, PLAIN), *q = NULL;
    for (int k = 0; k < 4; k++) {
      bool batched[6], again[6], flags[6];
      for (int i = 0; i < 6; i++) batched[i] = t_random(&seed) % 2, again[i] = t_random(&seed) % 2;
      if (!over_lanes(state, p, batched, 1 + (int64_t)(t_random(&seed) % 4), lo, hi, s, 0)) fail_msg("%s", bdl_last_error(*state)->message);
      OK(bdl_transform_batch(p, batched, 2, &q, flags));
      over_lanes(state, q, again, 3, lo, hi, s, 0);
      bdl_prog_unref(q);
    }
    bdl_prog_unref(p);
  }
}

/* ---- with derivatives ----------------------------------------------------------------------------------- */

/* A derivative is a program: batched, it is the loop. */
static void derivatives_over_lanes(void **state) {
  static const int all[] = {NUMBER, VECTOR, MATRIX, COUNT, TRUTH, KEY}, out[] = {NUMBER, VECTOR, MATRIX};
  static const double lo[] = {-2, -2, -2, -1, 0, 0, -1, -1, -1}, hi[] = {2, 2, 2, 3, 1, 4e9, 1, 1, 1};
  int reverse = 0;
  for (uint64_t s = 1; s <= 100; s++) {
    uint64_t seed = s;
    bdl_prog *p = random_body(state, &seed, all, 6, out, 3, 2, PLAIN), *d[2] = {NULL, NULL};
    OK(bdl_transform_jvp(p, NULL, &d[0]));
    if (bdl_transform_vjp(p, NULL, &d[1]) == BDL_OK) reverse++;
    for (int k = 0; k < 2 && d[k]; k++) {
      bool batched[9];
      for (int i = 0; i < 9; i++) batched[i] = t_random(&seed) % 2;
      if (!over_lanes(state, d[k], batched, 3, lo, hi, s, 1e-13)) fail_msg("%s", bdl_last_error(*state)->message);
      bdl_prog_unref(d[k]);
    }
    bdl_prog_unref(p);
  }
  assert_true(reverse > 30);
}

/* Every lane of the gradient over lanes is the gradient of that lane. */
static void gradients_of_lanes(void **state) {
  static const int all[] = {NUMBER, VECTOR, MATRIX, COUNT, TRUTH, KEY}, out[] = {NUMBER, VECTOR, MATRIX};
  static const double lo[] = {-2, -2, -2, -1, 0, 0, -1, -1, -1}, hi[] = {2, 2, 2, 3, 1, 4e9, 1, 1, 1};
  const bool every[9] = {true, true, true, true, true, true, true, true, true};
  int compared = 0;
  for (uint64_t s = 1; s <= 100; s++) {
    uint64_t seed = s;
    bool flags[3];
    bdl_prog *p = random_body(state, &seed, all, 6, out, 3, 2, PLAIN), *q = NULL, *one = NULL, *many = NULL;
    OK(bdl_transform_batch(p, every, 4, &q, flags));
    if (flags[0] && flags[1] && flags[2] && bdl_transform_vjp(p, NULL, &one) == BDL_OK && bdl_transform_vjp(q, NULL, &many) == BDL_OK) {
      bdl_tensor in[9];
      operands(state, one, every, 4, lo, hi, &seed, in);
      same_as_loop(state, one, many, every, every, 4, in, 1e-13);
      unref_all(in, 9);
      compared++;
    }
    bdl_prog_unref(many);
    bdl_prog_unref(one);
    bdl_prog_unref(q);
    bdl_prog_unref(p);
  }
  assert_true(compared > 20);
}

/* x += y, in f64 */
static void accumulate(bdl_tensor *x, const bdl_tensor *y) {
  for (int64_t i = 0; i < bdl_aval_numel(&x->aval); i++) ((double *)bdl_tensor_data(x))[i] += at(y, i);
}

/* The gradient over lanes by an operand with lanes is that of each lane; by one that they share, the sum.  False: no rule. */
static bool gradient_over_lanes(void **state, const bdl_prog *p, const bool *batched, const double *lo, const double *hi, uint64_t seed) {
  enum { LANES = 3 };
  bdl_prog *q = NULL, *one = NULL, *many = NULL;
  bdl_tensor in[MAX], x[MAX], out[MAX], sum[MAX], z[MAX];
  bool flags[MAX], with[MAX];
  double low[MAX], high[MAX];
  const int n = (int)p->inputs.n, m = p->n_outputs;
  if (bdl_transform_batch(p, batched, LANES, &q, flags) != BDL_OK) return false;
  bool good = bdl_transform_vjp(p, NULL, &one) == BDL_OK && bdl_transform_vjp(q, NULL, &many) == BDL_OK;
  for (int i = 0; i < m; i++) good = good && flags[i];
  if (good) {
    const int grads = one->n_outputs - m, inputs = (int)one->inputs.n;
    for (int i = 0; i < inputs; i++) {
      with[i] = i >= n || batched[i];
      low[i] = i < n ? lo[i] : -1, high[i] = i < n ? hi[i] : 1;
    }
    operands(state, one, with, LANES, low, high, &seed, in);
    OK(bdl_exec_prog(*state, many, in, out));
    for (int k = 0; k < grads; k++) {
      uint64_t none = 0;
      sum[k] = random_tensor(state, bdl_aval_of(one, one->outputs[m + k]), 0, 0, &none);
    }
    for (int l = 0; l < LANES; l++) {
      for (int i = 0; i < inputs; i++) x[i] = lane_of(state, &in[i], with[i], l);
      OK(bdl_exec_prog(*state, one, x, z));
      for (int i = 0, k = 0; i < n; i++) {
        if (!bdl_dtype_is_float(bdl_aval_of(p, p->inputs.v[i])->dtype)) continue;
        if (batched[i]) {
          bdl_tensor got = lane_of(state, &out[m + k], true, l);
          if (!same(&got, &z[m + k], 1e-12)) fail_msg("lane %d: gradient %d differs\n%s\n%s", l, k, t_print(p), t_print(many));
          bdl_tensor_unref(&got);
        } else accumulate(&sum[k], &z[m + k]);
        k++;
      }
      unref_all(z, m + grads);
      unref_all(x, inputs);
    }
    for (int i = 0, k = 0; i < n; i++) {
      if (!bdl_dtype_is_float(bdl_aval_of(p, p->inputs.v[i])->dtype)) continue;
      if (!batched[i] && !same(&out[m + k], &sum[k], 1e-12)) fail_msg("gradient %d is no sum\n%s\n%s", k, t_print(p), t_print(many));
      k++;
    }
    unref_all(sum, grads);
    unref_all(out, m + grads);
    unref_all(in, inputs);
  }
  bdl_prog_unref(many);
  bdl_prog_unref(one);
  bdl_prog_unref(q);
  return good;
}

static bool all_f64(const bdl_prog *p) {
  for (bdl_atom x = 0; x < p->vars.n; x++)
    if (bdl_aval_of(p, x)->dtype == BDL_F32) return false;
  return true;
}

static void gradients_of_every_primitive(void **state) {
  int compared = 0;
  for (int p = 0; p < BDL_P_COUNT; p++)
    for (uint64_t seed = 1; runs((bdl_prim_id)p) && seed <= 6; seed++) {
      t_case t;
      if (!t_case_new(*state, (bdl_prim_id)p, seed, BDL_F64, &t)) continue;
      const int n = (int)t.p->inputs.n;
      for (int subset = 1; all_f64(t.p) && subset < 1 << n; subset++) {
        bool batched[MAX];
        for (int i = 0; i < n; i++) batched[i] = subset >> i & 1;
        compared += gradient_over_lanes(state, t.p, batched, t.lo, t.hi, seed);
      }
      bdl_prog_unref(t.p);
    }
  assert_true(compared > 800);
}

/* ---- lanes that go different ways ----------------------------------------------------------------------- */

static bdl_prog *batched(void **state, const bdl_prog *p, const bool *flags, int64_t lanes) {
  bdl_prog *q = NULL;
  bool out[MAX];
  OK(bdl_transform_batch(p, flags, lanes, &q, out));
  return q;
}

static bdl_tensor integers(void **state, int64_t n, const int32_t *v) {
  bdl_tensor t;
  const bdl_aval a = bdl_aval_make(BDL_I32, 1, &n);
  OK(bdl_tensor_new(bdl_device_cpu(*state), &a, &t));
  if (n > 0) memcpy(bdl_tensor_data(&t), v, (size_t)n * sizeof *v);
  return t;
}

/* Lanes 0, 3, 1 of one i32 input: the i32 results, or the error's status. */
static bdl_status run_lanes(void **state, const char *text, const int32_t v[3], int32_t want[3]) {
  bdl_prog *p = t_parse(*state, text), *q = batched(state, p, (bool[]){true}, 3);
  bdl_tensor in = integers(state, 3, v), out;
  const bdl_status s = bdl_exec_prog(*state, q, &in, &out);
  if (s == BDL_OK) {
    memcpy(want, bdl_tensor_data(&out), 3 * sizeof *want);
    bdl_tensor_unref(&out);
  }
  bdl_tensor_unref(&in);
  bdl_prog_unref(q);
  bdl_prog_unref(p);
  return s;
}

/* The round after a lane's last would read past the end. */
static void a_lane_that_is_done_fails_no_more(void **state) {
  int32_t z[3];
  const char *text =
    "program t(n:i32[]) { const x:i32[3] = [10 20 30]\n i:i32[], s:i32[] = while[cond_consts=1 body_consts=1 programs={"
    "program c(n:i32[], i:i32[], s:i32[]) { p:bool[] = lt i n\n return p },"
    "program b(x:i32[3], i:i32[], s:i32[]) { u:i32[] = gather[axis=0] x i\n j:i32[] = add i 1:i32\n p:bool[] = gt u 30:i32\n"
    " error_if[message=\"large\"] p\n t:i32[] = add s u\n return j, t }}] n x 0:i32 0:i32\n return s }";
  OK(run_lanes(state, text, (int32_t[]){0, 3, 1}, z));
  assert_memory_equal(z, ((int32_t[]){0, 60, 10}), sizeof z);
  assert_int_equal(run_lanes(state, text, (int32_t[]){0, 4, 1}, z), BDL_EINDEX);
}

static void a_way_not_taken_does_not_fail(void **state) {
  int32_t z[3];
  const char *text = /* 3 / i, by rounds of a loop that does not end for 0 */
    "program t(i:i32[]) { z:i32[] = cond[branches={program a(i:i32[]) { return 7:i32 },"
    "program b(i:i32[]) { s:i32[], k:i32[] = while[cond_consts=0 body_consts=1 programs={"
    "program c(s:i32[], k:i32[]) { p:bool[] = lt s 3:i32\n return p },"
    "program d(i:i32[], s:i32[], k:i32[]) { t:i32[] = add s i\n l:i32[] = add k 1:i32\n return t, l }}] i 0:i32 0:i32\n"
    " const x:i32[4] = [10 20 30 40]\n j:i32[] = sub i 1:i32\n u:i32[] = gather[axis=0] x j\n p:bool[] = eq i 0:i32\n"
    " error_if[message=\"none\"] p\n v:i32[] = add u k\n return v }}] i i\n return z }";
  OK(run_lanes(state, text, (int32_t[]){0, 3, 1}, z));
  assert_memory_equal(z, ((int32_t[]){7, 31, 13}), sizeof z);
  assert_int_equal(run_lanes(state, text, (int32_t[]){0, 6, 1}, z), BDL_EINDEX);
}

/* ---- effects ---------------------------------------------------------------------------------------------- */

typedef struct notes {
  bdl_host host;
  int n;
  int32_t seen[8];
} notes;

static bdl_status note(bdl_host *h, bdl_context *c, const bdl_tensor *in, int n_in, bdl_tensor *out, int n_out) {
  notes *to = (notes *)(void *)h;
  (void)c, (void)n_in;
  const int32_t x = *(const int32_t *)bdl_tensor_data(&in[0]), y = *(const int32_t *)bdl_tensor_data(&in[1]);
  to->seen[to->n++] = x;
  if (n_out) *(int32_t *)bdl_tensor_data(&out[0]) = x + y;
  return BDL_OK;
}

static void the_host_is_called_once_a_lane_in_order(void **state) {
  notes to = {.host = {.refs = 1, .call = note}};
  const bdl_aval number = bdl_aval_scalar(BDL_I32);
  bdl_prog *p = NULL;
  bdl_atom x[2], z;
  OK(bdl_prog_new(*state, "t", &p));
  for (int k = 0; k < 2; k++) OK(bdl_ir_input(p, &number, &x[k]));
  const bdl_param params[2] = {bdl_pints((int64_t[]){BDL_I32, 0}, 2), {.kind = BDL_PK_HOST, .host = &to.host}};
  OK(bdl_bind(p, BDL_P_host_call, params, x, 2, &z));
  OK(bdl_prog_set_outputs(p, &z, 1));
  bdl_prog *q = batched(state, p, (bool[]){true, false}, 3);
  bdl_tensor in[2] = {integers(state, 3, (int32_t[]){5, 4, 6})}, out;
  OK(bdl_tensor_scalar(bdl_device_cpu(*state), BDL_I32, bdl_scalar_from_f64(BDL_I32, 10), &in[1]));
  OK(bdl_exec_prog(*state, q, in, &out));
  assert_int_equal(to.n, 3);
  assert_memory_equal(to.seen, ((int32_t[]){5, 4, 6}), 12);
  assert_memory_equal(bdl_tensor_data(&out), ((int32_t[]){15, 14, 16}), 12);
  bdl_tensor_unref(&out);
  unref_all(in, 2);
  bdl_prog_unref(q);
  bdl_prog_unref(p);
}

static void a_print_on_one_way_of_many_is_refused(void **state) {
  bdl_prog *p = t_parse(*state, "program t(i:i32[]) { cond[branches={program a(i:i32[]) { return },"
                                "program b(i:i32[]) { print[format=\"{0}\" host=nil] i\n return }}] i i @ \"models/x.lua\":7\n return i }");
  bdl_prog *q = NULL;
  bool out;
  assert_int_equal(bdl_transform_batch(p, (bool[]){true}, 3, &q, &out), BDL_ENOTSUP);
  assert_int_equal(bdl_last_error(*state)->where.line, 7);
  bdl_prog_unref(p);
}

/* ---- one value for all lanes -------------------------------------------------------------------------------- */

static void a_loop_may_carry_what_is_one_for_all_lanes(void **state) {
  bdl_prog *p = t_parse(*state, "program t(x:i32[]) { b:bool[], y:i32[] = scan[consts=1 carry=2 length=2 reverse=0 body={"
                                "program r(x:i32[], b:bool[], y:i32[]) { z:i32[] = add y x\n q:bool[] = gt z 9:i32\n"
                                " a:bool[] = across[op=\"any\"] q\n c:bool[] = or b a\n return c, z }}] x false:bool 0:i32\n return b, y }"), *q;
  bool out[2];
  OK(bdl_transform_batch(p, (bool[]){true}, 3, &q, out));
  assert_false(out[0]);
  assert_true(out[1]);
  bdl_tensor in = integers(state, 3, (int32_t[]){0, 5, 1}), z[2];
  OK(bdl_exec_prog(*state, q, &in, z));
  assert_true(*(bool *)bdl_tensor_data(&z[0]));
  unref_all(z, 2);
  bdl_tensor_unref(&in);
  bdl_prog_unref(q);
  OK(bdl_transform_batch(p, (bool[]){true}, 0, &q, out));
  in = integers(state, 0, NULL);
  OK(bdl_exec_prog(*state, q, &in, z));
  unref_all(z, 2);
  bdl_tensor_unref(&in);
  bdl_prog_unref(q);
  bdl_prog_unref(p);
}

/* ---- what the programs look like --------------------------------------------------------------------------- */

static void expect_batched(void **state, const char *text, const bool *flags, const char *want) {
  bdl_prog *p = t_parse(*state, text), *q = batched(state, p, flags, 5), *r = NULL;
  OK(bdl_optimise(q, bdl_exec_eval_eqn, NULL, NULL, &r));
  t_expect(r, want);
  bdl_prog_unref(r);
  bdl_prog_unref(q);
  bdl_prog_unref(p);
}

static void a_matrix_vector_product_is_one_matrix_product(void **state) {
  expect_batched(state,
                 "program t(x:f32[3], w:f32[3,4], b:f32[4]) {\n"
                 " y:f32[4] = dot[lhs_contract=(0) rhs_contract=(0) lhs_batch=() rhs_batch=()] x w\n"
                 " z:f32[4] = add y b\n u:f32[4] = tanh z\n return u }",
                 (bool[]){true, false, false},
                 "program t(x:f32[5,3], w:f32[3,4], b:f32[4]) {\n"
                 " y:f32[5,4] = dot[lhs_contract=(1) rhs_contract=(0) lhs_batch=() rhs_batch=()] x w\n"
                 " z:f32[5,4] = add y b\n u:f32[5,4] = tanh z\n return u }");
}

static void what_lanes_share_is_computed_once(void **state) {
  expect_batched(state, "program t(x:f32[], y:f32[3]) {\n a:f32[3] = exp y\n b:f32[3] = mul a x\n return a, b }", (bool[]){true, false},
                 "program t(x:f32[5], y:f32[3]) {\n a:f32[3] = exp y\n c:f32[5,1] = reshape[shape=(5,1)] x\n b:f32[5,3] = mul a c\n return a, b }");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    T_TEST(every_primitive_has_a_rule),
    T_TEST(every_rule_is_the_loop),
    T_TEST(lanes_of_lanes),
    T_TEST(more_shapes_and_operands),
    T_TEST(random_programs_over_lanes),
    T_TEST(derivatives_over_lanes),
    T_TEST(gradients_of_lanes),
    T_TEST(gradients_of_every_primitive),
    T_TEST(a_lane_that_is_done_fails_no_more),
    T_TEST(a_way_not_taken_does_not_fail),
    T_TEST(the_host_is_called_once_a_lane_in_order),
    T_TEST(a_print_on_one_way_of_many_is_refused),
    T_TEST(a_loop_may_carry_what_is_one_for_all_lanes),
    T_TEST(a_matrix_vector_product_is_one_matrix_product),
    T_TEST(what_lanes_share_is_computed_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

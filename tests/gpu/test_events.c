/*
** Products with events on a GPU, in all their forms, give what the CPU gives: its bits where that adds in the same order, or exactly;
** other sums of floats as near as sparse.inc says, and the same on every grid.  What is out of range fails as there.
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
#include "../support/faults.h"
#include "../support/gpu.h"
#include "../support/random.h"
#include "base/context.h"
#include "gpu/program.h"
#include "prim/prim.h"

enum { ROWS = 37, COLS = 53, MOST_NNZ = 2000, LANES = 2, BATCH = 3 };

typedef enum numbers { QUARTERS, ANY, ODD } numbers; /* sums of quarters are exact; ODD: of them some are infinite, some NaN */

typedef struct world {
  bdl_context *c;
  bdl_prog *p;
  uint64_t rng;
  bdl_dtype d; /* of weights */
  numbers kind;
  bdl_tensor in[MANY];
  int n_in, n_out;
  bdl_atom out[MANY];
  bool pushed[MANY]; /* in another order than on the CPU */
  const char *name[MANY];
} world;

static double number(world *w, bdl_dtype d) {
  if (!bdl_dtype_is_float(d)) return (double)(t_random(&w->rng) % 100) - (d == BDL_U32 ? 0 : 50);
  if (w->kind == ANY) return (double)(int64_t)t_random(&w->rng) / 0x1p63 * pow(10, (double)(t_random(&w->rng) % 5));
  if (w->kind == ODD && t_random(&w->rng) % 16 == 0) return t_random(&w->rng) % 3 == 0 ? NAN : t_random(&w->rng) % 2 ? INFINITY : -INFINITY;
  return (double)(t_random(&w->rng) % 64) / 4 - 8;
}

/* An array of the program: its own, or that of the call. */
static bdl_atom array(world *w, bdl_dtype d, int ndim, const int64_t *shape, const double *v, bool constant) {
  bdl_aval a = bdl_aval_make(d, ndim, shape);
  bdl_atom x;
  bdl_tensor t;
  t_check(w->c, bdl_tensor_new(bdl_device_cpu(w->c), &a, &t));
  for (int64_t k = 0; k < bdl_aval_numel(&a); k++) {
    const bdl_scalar s = bdl_scalar_from_f64(d, v ? v[k] : number(w, d));
    memcpy((char *)bdl_tensor_data(&t) + (size_t)k * bdl_dtype_size(d), &s, bdl_dtype_size(d));
  }
  if (constant) {
    t_check(w->c, bdl_ir_const(w->p, &t, &x));
    bdl_tensor_unref(&t);
  } else {
    assert_true(w->n_in < MANY);
    t_check(w->c, bdl_ir_input(w->p, &a, &x));
    w->in[w->n_in++] = t;
  }
  return x;
}

/* Vectors of events, about one of `every` active; 0: none, 1: all. */
static bdl_atom events(world *w, bdl_dtype d, int ndim, const int64_t *shape, int every) {
  double v[LANES * BATCH * 3000];
  int64_t n = 1;
  for (int k = 0; k < ndim; k++) n *= shape[k];
  assert_true(n <= BDL_LEN(v));
  for (int64_t k = 0; k < n; k++) {
    const bool active = every == 1 || (every && t_random(&w->rng) % (uint64_t)every == 0);
    v[k] = active ? (d == BDL_F32 ? 0.5 : 1) : d == BDL_F32 ? -1 : 0;
  }
  return array(w, d, ndim, shape, v, false);
}

static world begin(bdl_context *c, bdl_dtype d, numbers kind, uint64_t seed) {
  world w = {.c = c, .d = d, .kind = kind, .rng = seed};
  t_check(c, bdl_prog_new(c, "events", &w.p));
  return w;
}

static void put(world *w, const char *name, bool pushed, bdl_prim_id prim, const bdl_param *params, const bdl_atom *in, int n_in) {
  assert_true(w->n_out < MANY);
  w->name[w->n_out] = name;
  w->pushed[w->n_out] = pushed && bdl_dtype_is_float(w->d);
  t_check(w->c, bdl_bind(w->p, prim, params, in, n_in, &w->out[w->n_out++]));
}

/* ---- running on grids of several shapes ---------------------------------------------------------------------------- */

static const char *const grids[][3] = {{"1", "32", "forward"}, {"3", "64", "backward"}, {"2", "96", "forward"}};

static void on_grid(int k) {
  setenv("FAKE_CUDA_SMS", grids[k][0], 1);
  setenv("FAKE_CUDA_THREADS", grids[k][1], 1);
  setenv("FAKE_CUDA_ORDER", grids[k][2], 1);
}

static double at(const bdl_tensor *t, int64_t k) { return bdl_scalar_to_f64(t->aval.dtype, bdl_tensor_at(t, k)); }

static void compare(const world *w, int k, const bdl_tensor *there, const bdl_tensor *here) {
  double most = 1;
  if (!w->pushed[k] || w->kind == QUARTERS) {
    t_same_bits(there, here, 1, w->name[k], (uint64_t)k);
    return;
  }
  for (int64_t j = 0; j < bdl_aval_numel(&here->aval); j++) most = isfinite(at(here, j)) ? fmax(most, fabs(at(here, j))) : most;
  for (int64_t j = 0; j < bdl_aval_numel(&here->aval); j++) {
    const double x = at(there, j), y = at(here, j), eps = w->d == BDL_F32 ? 1e-5 : 1e-11;
    if ((isnan(x) && isnan(y)) || x == y) continue;
    if (!(fabs(x - y) <= eps * most)) fail_msg("%s, result %d differs at %d: %.17g and %.17g", w->name[k], k, (int)j, x, y);
  }
}

static void runs_there(const bdl_plan *plan) {
  for (int32_t k = 0; k < plan->n_insts; k++) {
    const bdl_inst *i = plan->by_id[k];
    if (i->kind != BDL_I_KERNEL || bdl_gpu_runs(plan, i)) continue;
    if (i->prim != BDL_P_csr_learn || i->kernel.n_in < 10) fail_msg("%s runs on the host", bdl_prims[i->prim].name);
  }
}

/* Ends a program: it runs here, and there on all grids, with the same bits on each. */
static void run(uint64_t seed, void (*make)(world *, int), int choice, bdl_dtype d, numbers kind) {
  bdl_context *keep = bdl_context_new(NULL, NULL);
  bdl_tensor first[MANY];
  int n = 0;
  for (int g = 0; g < BDL_LEN(grids); g++) {
    on_grid(g);
    bdl_context *c = t_gpu_context();
    world w = begin(c, d, kind, seed);
    bdl_tensor there[MANY], here[MANY];
    bdl_plan *plan;
    make(&w, choice);
    t_check(c, bdl_prog_set_outputs(w.p, w.out, w.n_out));
    t_check(c, bdl_plan_new(c, w.p, NULL, &plan));
    bdl_prog_unref(w.p);
    runs_there(plan);
    t_check(c, t_gpu_both(plan, w.in, there, here));
    for (int k = 0; k < w.n_out; k++) compare(&w, k, &there[k], &here[k]);
    for (int k = 0; k < w.n_out; k++) {
      if (g > 0) {
        t_same_bits(&there[k], &first[k], 1, w.name[k], (uint64_t)k);
        continue;
      }
      t_check(keep, bdl_tensor_new(bdl_device_cpu(keep), &there[k].aval, &first[k]));
      memcpy(bdl_tensor_data(&first[k]), bdl_tensor_data(&there[k]), bdl_aval_bytes(&there[k].aval));
    }
    n = w.n_out;
    t_drop(there, n);
    t_drop(here, n);
    t_drop(w.in, w.n_in);
    bdl_plan_free(plan);
    bdl_context_free(c);
  }
  t_drop(first, n);
  bdl_context_free(keep);
}

/* ---- dense ----------------------------------------------------------------------------------------------------------- */

static void dense(world *w, int every) {
  enum { M = 600, N = 45 };
  static const bdl_dtype of[] = {BDL_BOOL, BDL_F32, BDL_I32};
  for (int lanes = 0; lanes < 2; lanes++) {
    const bdl_atom m = array(w, w->d, 2 + lanes, (int64_t[]){LANES, M, N} + !lanes, NULL, lanes);
    for (int transpose = 0; transpose < 2; transpose++)
      for (int batch = 0; batch < 2; batch++) {
        const int64_t shape[] = {LANES, BATCH, transpose ? N : M}, one[] = {LANES, transpose ? N : M};
        const bdl_atom s = events(w, of[every % 3], 1 + batch + lanes, (batch ? shape : one) + !lanes, every);
        put(w, transpose ? "W s" : "s W", false, BDL_P_event_dot, (bdl_param[]){bdl_pint(transpose)}, (bdl_atom[]){s, m}, 2);
      }
  }
}

static void dense_products(void **state) {
  (void)state;
  for (int every = 0; every < 5; every++) run(1, dense, every, BDL_F32, ANY);
  run(2, dense, 3, BDL_F64, ANY);
  run(3, dense, 3, BDL_F32, ODD);
  run(4, dense, 2, BDL_I32, ANY);
  run(5, dense, 2, BDL_I64, ANY);
  run(6, dense, 2, BDL_U32, ANY);
}

/* ---- sparse ------------------------------------------------------------------------------------------------------------ */

/* Places of a matrix, of each of `lanes`: rows that are empty, short, and one that is long; columns out of order, some of them twice. */
typedef struct places {
  bdl_atom columns, ptr;
  int64_t rows, cols, nnz;
} places;

enum { CONSTANT = 1, EVEN = 2, WIDE = 4, FULL = 8, MANY_COLUMNS = 16 }; /* WIDE: pointers of 64 bits */

static places places_of(world *w, int how, int lanes) {
  static double columns[LANES * MOST_NNZ], ptr[LANES * (ROWS + 1)];
  places a = {.rows = ROWS, .cols = how & MANY_COLUMNS ? 70000 : COLS, .nnz = how & EVEN ? ROWS * 11 : 700};
  const int64_t pointers = how & EVEN ? 2 : ROWS + 1;
  for (int64_t k = 0; k < lanes * a.nnz; k++) columns[k] = (double)(t_random(&w->rng) % (uint64_t)a.cols);
  for (int lane = 0; lane < lanes; lane++) {
    double *p = ptr + lane * pointers;
    int64_t sum = 0;
    for (int i = 0; i < pointers; i++) {
      p[i] = how & EVEN ? 11 * i : (double)sum;
      sum += i == 7 ? 300 : i % 3 == 0 ? 0 : (int64_t)(t_random(&w->rng) % 20);
      if (i == ROWS - 1 || sum > a.nnz) sum = a.nnz;
    }
  }
  const int with = lanes > 1;
  a.columns = array(w, BDL_I32, 1 + with, (int64_t[]){lanes, a.nnz} + !with, columns, how & CONSTANT);
  a.ptr = array(w, how & WIDE ? BDL_I64 : BDL_I32, 1 + with, (int64_t[]){lanes, pointers} + !with, ptr, how & CONSTANT);
  return a;
}

/* All products of one matrix; how: of its places; FULL: weights are constant, too. */
static void sparse(world *w, int how) {
  const places a = places_of(w, how, 1);
  for (int own = 0; own < 2; own++)
    for (int lanes = 0; lanes < 2; lanes++) {
      const bdl_atom data = array(w, w->d, 1 + lanes, (int64_t[]){LANES, own ? a.nnz : 1} + !lanes, NULL, how & FULL);
      for (int transpose = 0; transpose < 2; transpose++)
        for (int event = 0; event < 2; event++)
          for (int batch = 0; batch < 2; batch++) {
            const int64_t n = transpose ? a.cols : a.rows, shape[] = {LANES, BATCH, n}, one[] = {LANES, n}, *at = batch ? shape : one;
            const int ndim = 1 + batch + lanes;
            if (n > 3000 && (batch || lanes)) continue;
            const bdl_atom v = event && n <= 3000 ? events(w, batch ? BDL_F32 : BDL_BOOL, ndim, at + !lanes, 3)
                                                  : array(w, event ? BDL_BOOL : w->d, ndim, at + !lanes, NULL, false);
            const bool pulled = event ? transpose && !(how & CONSTANT) : transpose || (how & CONSTANT);
            put(w, event ? (transpose ? "A s" : "s A") : transpose ? "A v" : "v A", !pulled, BDL_P_csr_dot,
                (bdl_param[]){bdl_pint(a.rows), bdl_pint(a.cols), bdl_pint(transpose), bdl_pint(event)},
                (bdl_atom[]){v, data, a.columns, a.ptr}, 4);
          }
    }
}

static void sparse_products(void **state) {
  (void)state;
  for (int how = 0; how < 8; how++) run(10 + (uint64_t)how, sparse, how, BDL_F32, (numbers)(how % 3));
  run(18, sparse, CONSTANT | FULL, BDL_F32, ANY);
  for (int how = 0; how < 4; how++) run(30 + (uint64_t)how, sparse, how, BDL_F64, ANY);
  for (int how = 0; how < 2; how++) run(40 + (uint64_t)how, sparse, how, BDL_I32, ANY);
  run(50, sparse, 0, BDL_F32, ODD);
  run(51, sparse, CONSTANT | FULL, BDL_F32, ODD);
  run(52, sparse, CONSTANT, BDL_I64, ANY);
  run(53, sparse, WIDE, BDL_U32, ANY);
  run(54, sparse, CONSTANT | MANY_COLUMNS, BDL_F32, ANY);
  run(55, sparse, MANY_COLUMNS, BDL_F32, ANY);
}

/* Every lane has a matrix of its own; products of the backward pass. */
static void in_lanes(world *w, int how) {
  const places a = places_of(w, how & ~CONSTANT, LANES), b = places_of(w, how, 1);
  const bdl_atom data = array(w, w->d, 2, (int64_t[]){LANES, a.nnz}, NULL, false);
  for (int transpose = 0; transpose < 2; transpose++)
    for (int event = 0; event < 2; event++) {
      const int64_t shape[] = {LANES, BATCH, transpose ? COLS : ROWS};
      const bdl_atom v = event ? events(w, BDL_BOOL, 3, shape, 2) : array(w, w->d, 3, shape, NULL, false);
      put(w, "lanes", !transpose, BDL_P_csr_dot, (bdl_param[]){bdl_pint(ROWS), bdl_pint(COLS), bdl_pint(transpose), bdl_pint(event)},
          (bdl_atom[]){v, data, a.columns, a.ptr}, 4);
    }
  for (int event = 0; event < 2; event++)
    for (int form = 0; form < 3; form++) { /* one vector, several, in lanes */
      const int64_t x[] = {LANES, form ? BATCH : ROWS, ROWS}, y[] = {LANES, form ? BATCH : COLS, COLS};
      const int ndim = form + 1, from = form == 2 ? 0 : 1;
      const bdl_atom v = event ? events(w, BDL_F32, ndim, x + from, 2) : array(w, w->d, ndim, x + from, NULL, false);
      const bdl_atom u = array(w, w->d, ndim, y + from, NULL, false);
      const places *m = form == 2 ? &a : &b;
      put(w, "outer", false, BDL_P_csr_outer, (bdl_param[]){bdl_pint(ROWS), bdl_pint(COLS), bdl_pint(event)}, (bdl_atom[]){v, u, m->columns, m->ptr}, 4);
    }
}

static void lanes_and_outer_products(void **state) {
  (void)state;
  for (int how = 0; how < 8; how++) run(60 + (uint64_t)how, in_lanes, how, BDL_F32, (numbers)(how % 3));
  run(70, in_lanes, CONSTANT, BDL_F64, ANY);
  run(71, in_lanes, 0, BDL_I32, ANY);
}

/* ---- lists that come from elsewhere ------------------------------------------------------------------------------------ */

static void list(world *w, int64_t n, int count, bool twice, bool constant, bdl_atom *ids, bdl_atom *length) {
  double v[64];
  const int64_t room = count + 4;
  for (int k = 0; k < room; k++) v[k] = twice ? (double)(t_random(&w->rng) % (uint64_t)n) : (double)(k * n / room);
  if (twice) v[0] = v[1] = 7;
  *ids = array(w, BDL_I32, 1, &room, v, constant);
  *length = array(w, BDL_I32, 0, NULL, (double[]){count}, false);
}

/* how & CONSTANT: places; & 2: ids are there more than once */
static void lists(world *w, int how) {
  const bool twice = how & 2;
  const places a = places_of(w, how & CONSTANT, 1);
  bdl_atom ids, count;
  for (int transpose = 0; transpose < 2; transpose++)
    for (int own = 0; own < 2; own++)
      for (int some = 0; some < 2; some++) {
        const int64_t n = transpose ? a.rows : a.cols, of = transpose ? a.cols : a.rows;
        list(w, of, some ? 9 : 0, twice && !(transpose && !(how & CONSTANT)), false, &ids, &count);
        const bdl_atom y = array(w, w->d, 1, &n, NULL, false), data = array(w, w->d, 1, (int64_t[]){own ? a.nnz : 1}, NULL, false);
        put(w, "scatter", true, BDL_P_csr_scatter, (bdl_param[]){bdl_pint(a.rows), bdl_pint(a.cols), bdl_pint(transpose)},
            (bdl_atom[]){y, ids, count, data, a.columns, a.ptr}, 6);
      }
  const bdl_atom low = array(w, w->d, 0, NULL, (double[]){-6}, true), high = array(w, w->d, 0, NULL, (double[]){9}, true);
  for (int transpose = 0; transpose < 2; transpose++)
    for (int same = 0; same < 2; same++) {
      const int64_t of = transpose ? COLS : ROWS, other = transpose ? ROWS : COLS, one = 1;
      list(w, of, 9, twice, false, &ids, &count);
      const bdl_atom x = array(w, w->d, 1, &other, NULL, false), gain = array(w, w->d, 1, same ? &one : &of, NULL, false);
      const bdl_atom m = array(w, w->d, 2, (int64_t[]){ROWS, COLS}, NULL, false);
      put(w, "event_learn", false, BDL_P_event_learn, (bdl_param[]){bdl_pint(transpose)}, (bdl_atom[]){m, ids, count, x, gain, low, high}, 7);
      if (transpose) continue;
      double places[MOST_NNZ];
      for (int64_t k = 0; k < a.nnz; k++) places[k] = (double)(k * 37 % a.nnz);
      const bdl_atom v = array(w, w->d, 1, &a.nnz, NULL, false), to = array(w, BDL_I32, 1, &a.nnz, places, same);
      const bdl_param p[] = {bdl_pint(ROWS), bdl_pint(COLS)};
      put(w, "csr_learn", false, BDL_P_csr_learn, p, (bdl_atom[]){v, ids, count, x, gain, low, high, a.columns, a.ptr}, 9);
      put(w, "csr_learn with places", false, BDL_P_csr_learn, p, (bdl_atom[]){v, ids, count, x, gain, low, high, a.columns, a.ptr, to}, 10);
    }
}

/* Weights of lanes; ids of events of the program. */
static void learning_lanes(world *w, int how) {
  const places a = places_of(w, how & CONSTANT, 1);
  const bdl_atom low = array(w, w->d, 1, (int64_t[]){LANES}, (double[]){-6, -4}, true), high = array(w, w->d, 1, (int64_t[]){LANES}, NULL, true);
  double v[LANES * 12];
  for (int k = 0; k < LANES * 12; k++) v[k] = k % 12 * 3;
  const bdl_atom ids = array(w, BDL_I32, 2, (int64_t[]){LANES, 12}, v, false), count = array(w, BDL_I32, 1, (int64_t[]){LANES}, (double[]){12, 5}, false);
  const bdl_atom x = array(w, w->d, 2, (int64_t[]){LANES, COLS}, NULL, false), gain = array(w, w->d, 2, (int64_t[]){LANES, ROWS}, NULL, false);
  const bdl_atom m = array(w, w->d, 3, (int64_t[]){LANES, ROWS, COLS}, NULL, false), k = array(w, w->d, 2, (int64_t[]){LANES, a.nnz}, NULL, false);
  put(w, "event_learn", false, BDL_P_event_learn, (bdl_param[]){bdl_pint(0)}, (bdl_atom[]){m, ids, count, x, gain, low, high}, 7);
  put(w, "csr_learn", false, BDL_P_csr_learn, (bdl_param[]){bdl_pint(ROWS), bdl_pint(COLS)}, (bdl_atom[]){k, ids, count, x, gain, low, high, a.columns, a.ptr}, 9);
  const bdl_atom s = events(w, BDL_BOOL, 1, (int64_t[]){ROWS}, 2), one = array(w, w->d, 1, (int64_t[]){1}, NULL, false);
  bdl_atom e[2], l = array(w, w->d, 0, NULL, (double[]){-6}, true);
  t_check(w->c, bdl_bind(w->p, BDL_P_event_ids, NULL, &s, 1, e));
  const bdl_atom y = array(w, w->d, 1, (int64_t[]){COLS}, NULL, false), u = array(w, w->d, 1, &a.nnz, NULL, false);
  put(w, "csr_learn of events", false, BDL_P_csr_learn, (bdl_param[]){bdl_pint(ROWS), bdl_pint(COLS)},
      (bdl_atom[]){u, e[0], e[1], y, one, l, l, a.columns, a.ptr}, 9);
}

static void lists_and_learning(void **state) {
  (void)state;
  for (int how = 0; how < 4; how++) {
    run(80 + (uint64_t)how, lists, how, BDL_F32, ANY);
    run(84 + (uint64_t)how, lists, how, BDL_F32, QUARTERS);
    run(88 + (uint64_t)how, learning_lanes, how, BDL_F32, ANY);
  }
  run(92, lists, 3, BDL_F64, ODD);
  run(93, lists, 2, BDL_I32, ANY);
  run(94, learning_lanes, 0, BDL_I64, ANY);
}

/* ---- from seeds ------------------------------------------------------------------------------------------------------------ */

static void seeded(world *w, int law) {
  static const char *const kinds[] = {"scalar:0.1", "uniform:0.02", "normal:0.05", "uniform:1", "scalar:0"};
  enum { R = 40, C = 300 };
  for (int lanes = 0; lanes < 2; lanes++) {
    const bdl_atom seed = array(w, BDL_I64, lanes, (int64_t[]){LANES}, (double[]){42, -7}, lanes);
    const bdl_atom p0 = array(w, w->d, lanes, (int64_t[]){LANES}, NULL, false), p1 = array(w, w->d, 0, NULL, NULL, false);
    for (int transpose = 0; transpose < 2; transpose++)
      for (int event = 0; event < 2; event++)
        for (int batch = 0; batch < 2; batch++) {
          const int64_t n = transpose ? C : R, shape[] = {LANES, BATCH, n}, one[] = {LANES, n};
          const int ndim = 1 + batch + lanes;
          const bdl_atom v = event ? events(w, BDL_BOOL, ndim, (batch ? shape : one) + !lanes, 3) : array(w, w->d, ndim, (batch ? shape : one) + !lanes, NULL, false);
          put(w, "seeded", !transpose || law == 2, BDL_P_jitc_dot,
              (bdl_param[]){bdl_pint(R), bdl_pint(C), bdl_pint(transpose), bdl_pint(event), bdl_pstr(kinds[law])}, (bdl_atom[]){v, p0, p1, seed}, 4);
        }
  }
}

static void products_with_seeded_matrices(void **state) {
  (void)state;
  for (int law = 0; law < 5; law++) run(100 + (uint64_t)law, seeded, law, law % 2 ? BDL_F64 : BDL_F32, ANY);
  run(110, seeded, 1, BDL_F32, ANY);
  run(111, seeded, 0, BDL_F32, ODD);
  run(112, seeded, 1, BDL_F32, ODD);
}

/* ---- what is out of range ---------------------------------------------------------------------------------------------------- */

enum { GOOD, COLUMN, NEGATIVE, POINTER, LENGTH, ID, COUNT, FAULTS };

/* rows {0, 2}, {1}, {}, {0, 0} of 3 columns, with one fault, in the last row or id. */
static void faulty(bdl_context *c, int fault, int form, bool constant, bool active) {
  world w = begin(c, BDL_F32, QUARTERS, 1);
  double columns[] = {0, 2, 1, 0, 0, 1}, ptr[] = {0, 2, 3, 3, 6}, ids[] = {0, active ? 3 : 1}, s[] = {1, 0, 0, active};
  const bool even = fault == LENGTH;
  bdl_tensor there[1], here[1];
  bdl_plan *plan;
  if (fault == COLUMN) columns[4] = 3;
  if (fault == NEGATIVE) columns[5] = -1;
  if (fault == POINTER) ptr[4] = 7;
  if (fault == ID) ids[1] = 4;
  const bdl_atom i = array(&w, BDL_I32, 1, (int64_t[]){6}, columns, constant), q = array(&w, BDL_I32, 1, (int64_t[]){even ? 2 : 5}, ptr, constant);
  const bdl_atom d = array(&w, BDL_F32, 1, (int64_t[]){6}, NULL, false), x = array(&w, BDL_BOOL, 1, (int64_t[]){4}, s, false);
  const bdl_atom xs = array(&w, BDL_BOOL, 2, (int64_t[]){1, 4}, s, false), y = array(&w, BDL_F32, 1, (int64_t[]){3}, NULL, false);
  const bdl_atom v = array(&w, BDL_F32, 1, (int64_t[]){4}, NULL, false), one = array(&w, BDL_F32, 0, NULL, (double[]){1}, true);
  const bdl_atom e = array(&w, BDL_I32, 1, (int64_t[]){2}, ids, false), n = array(&w, BDL_I32, 0, NULL, (double[]){fault == COUNT ? 3 : 2}, false);
  const bdl_param p[] = {bdl_pint(4), bdl_pint(3), bdl_pint(0), bdl_pint(form < 2)}, t[] = {bdl_pint(4), bdl_pint(3), bdl_pint(1), bdl_pint(form == 3)};
  switch (form) {
    case 0: put(&w, "s A", true, BDL_P_csr_dot, p, (bdl_atom[]){x, d, i, q}, 4); break;
    case 1: put(&w, "s A", true, BDL_P_csr_dot, p, (bdl_atom[]){xs, d, i, q}, 4); break;
    case 2: put(&w, "v A", true, BDL_P_csr_dot, p, (bdl_atom[]){v, d, i, q}, 4); break;
    case 3: put(&w, "A s", true, BDL_P_csr_dot, t, (bdl_atom[]){y, d, i, q}, 4); break;
    case 4: put(&w, "A v", true, BDL_P_csr_dot, t, (bdl_atom[]){y, d, i, q}, 4); break;
    case 5: put(&w, "scatter", true, BDL_P_csr_scatter, p, (bdl_atom[]){y, e, n, d, i, q}, 6); break;
    case 6: put(&w, "learn", true, BDL_P_csr_learn, p, (bdl_atom[]){d, e, n, y, v, one, one, i, q}, 9); break;
    default: put(&w, "outer", true, BDL_P_csr_outer, (bdl_param[]){bdl_pint(4), bdl_pint(3), bdl_pint(0)}, (bdl_atom[]){v, y, i, q}, 4);
  }
  t_check(c, bdl_prog_set_outputs(w.p, w.out, 1));
  t_check(c, bdl_plan_new(c, w.p, NULL, &plan));
  bdl_prog_unref(w.p);
  const bdl_status got = t_gpu_both(plan, w.in, there, here); /* fails where the two differ */
  const bool listed = form == 5 || form == 6, asked = fault < ID || listed, met = active || form > 1 || even;
  if (fault == GOOD || !asked) assert_int_equal(got, BDL_OK);
  if (asked && fault != GOOD && met && (active || !listed || fault > LENGTH || even)) assert_int_equal(got, BDL_EINDEX);
  if (got == BDL_EINDEX) { /* in the same words */
    char message[2048];
    snprintf(message, sizeof message, "%s", bdl_last_error(c)->message);
    plan->compilable = false;
    memset(here, 0, sizeof here);
    assert_int_equal(bdl_exec_run(plan, w.in, here), got);
    assert_string_equal(message, bdl_last_error(c)->message);
  }
  bdl_clear_error(c);
  t_drop(there, 1);
  t_drop(here, 1);
  t_drop(w.in, w.n_in);
  bdl_plan_free(plan);
}

static void what_is_out_of_range_fails(void **state) {
  (void)state;
  on_grid(1);
  bdl_context *c = t_gpu_context();
  for (int fault = 0; fault < FAULTS; fault++)
    for (int form = 0; form < 8; form++)
      for (int how = 0; how < 4; how++)
        if (fault < ID || (form >= 5 && form <= 6 && !(how & 1))) faulty(c, fault, form, how & 1, how & 2);
  bdl_context_free(c);
}

/* ---- memory --------------------------------------------------------------------------------------------------------------------- */

static bdl_status constant(bdl_prog *p, int64_t n, const int32_t *v, bdl_atom *x) {
  const bdl_aval a = bdl_aval_make(BDL_I32, 1, &n);
  bdl_tensor t;
  TRY(bdl_tensor_new(bdl_device_cpu(p->ctx), &a, &t));
  memcpy(bdl_tensor_data(&t), v, (size_t)n * sizeof *v);
  const bdl_status s = bdl_ir_const(p, &t, x);
  bdl_tensor_unref(&t);
  return s;
}

/* s A and A s of a constant matrix [2, 3]. */
static bdl_status products(bdl_prog *p) {
  const bdl_aval rows = bdl_aval_make(BDL_BOOL, 1, &(int64_t){2}), cols = bdl_aval_make(BDL_BOOL, 1, &(int64_t){3});
  const bdl_aval weights = bdl_aval_make(BDL_F32, 1, &(int64_t){4});
  bdl_atom v[2], w, i, q, z[2];
  TRY(bdl_ir_input(p, &rows, &v[0]));
  TRY(bdl_ir_input(p, &cols, &v[1]));
  TRY(bdl_ir_input(p, &weights, &w));
  TRY(constant(p, 4, (int32_t[]){2, 0, 1, 2}, &i));
  TRY(constant(p, 3, (int32_t[]){0, 1, 4}, &q));
  for (int t = 0; t < 2; t++)
    TRY(bdl_bind(p, BDL_P_csr_dot, (bdl_param[]){bdl_pint(2), bdl_pint(3), bdl_pint(t), bdl_pint(1)}, (bdl_atom[]){v[t], w, i, q}, 4, &z[t]));
  return bdl_prog_set_outputs(p, z, 2);
}

static bdl_status emitted(bdl_context *c) {
  bdl_gpu_program q;
  bdl_plan *plan = NULL;
  bdl_prog *p;
  if (!bdl_device_cpu(c)) return BDL_ENOMEM;
  TRY(bdl_prog_new(c, "p", &p));
  bdl_status s = products(p);
  if (s == BDL_OK) s = bdl_plan_new(c, p, NULL, &plan);
  bdl_prog_unref(p);
  if (s == BDL_OK) s = bdl_gpu_emit(plan, false, &q);
  if (s == BDL_OK) bdl_gpu_program_free(&q);
  if (plan) bdl_plan_free(plan);
  return s;
}

static void failed_allocations_leave_nothing(void **state) {
  (void)state;
  assert_true(t_survive(emitted, false) > 20);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(dense_products), cmocka_unit_test(sparse_products), cmocka_unit_test(lanes_and_outer_products),
    cmocka_unit_test(lists_and_learning), cmocka_unit_test(products_with_seeded_matrices), cmocka_unit_test(what_is_out_of_range_fails),
    cmocka_unit_test(failed_allocations_leave_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

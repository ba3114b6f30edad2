/*
** test_gemm.c -- register-blocked products against one chain of multiply-adds an element, bit by bit.
*/
#include "call.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/dot.h"
#include "device/device.h"

static const char *const isas[] = {"x86-64", "avx2", "avx512", "aarch64", "generic"};

static bool fuses(const char *isa) { return strcmp(isa, "x86-64") != 0 && strcmp(isa, "generic") != 0; }

typedef struct operands {
  bdl_k_matmul g;
  size_t size;             /* bytes an element */
  int64_t n[3];            /* elements of x, y, z */
  char *x, *y, *z, *want;
} operands;

static double get(bdl_dtype d, const void *p, int64_t i) { return d == BDL_F32 ? ((const float *)p)[i] : ((const double *)p)[i]; }
static void set(bdl_dtype d, void *p, int64_t i, double v) {
  if (d == BDL_F32) ((float *)p)[i] = (float)v;
  else ((double *)p)[i] = v;
}

/* A matrix of a batch: rows apart by a little more than they are long; stored turned over or not. */
static int64_t layout(bool turned, int64_t rows, int64_t cols, int64_t gap, int64_t *outer, int64_t *inner) {
  *outer = turned ? 1 : cols + gap;
  *inner = turned ? rows + gap : 1;
  return turned ? cols * (rows + gap) : rows * (cols + gap);
}

/* density: part of x that is not 0. */
static operands random_operands(bdl_dtype d, uint64_t *r, int64_t m, int64_t n, int64_t k, double density) {
  operands o = {.size = bdl_dtype_size(d)};
  bdl_k_matmul *g = &o.g;
  *g = (bdl_k_matmul){.batch = 1 + t_below(r, 2), .m = m, .n = n, .k = k, .ldz = n + t_below(r, 3)};
  g->xb = layout(t_below(r, 2), m, k, t_below(r, 3), &g->xi, &g->xp);
  g->yb = layout(t_below(r, 2), k, n, t_below(r, 3), &g->yp, &g->yj);
  g->zb = m * g->ldz;
  o.n[0] = g->batch * g->xb, o.n[1] = g->batch * g->yb, o.n[2] = g->batch * g->zb;
  o.x = calloc((size_t)o.n[0] + 1, o.size);
  o.y = calloc((size_t)o.n[1] + BDL_PAD / o.size, o.size); /* few rows: what lies behind y is read (cpu/row.h) */
  o.z = calloc((size_t)o.n[2] + 1, o.size), o.want = calloc((size_t)o.n[2] + 1, o.size);
  for (int64_t i = 0; i < o.n[0]; i++)
    set(d, o.x, i, t_uniform(r) < density ? (density < 1 && t_below(r, 2) ? 1 : 2 * t_uniform(r) - 1) : t_below(r, 2) ? 0. : -0.);
  for (int64_t i = 0; i < o.n[1]; i++) set(d, o.y, i, 2 * t_uniform(r) - 1);
  return o;
}

static void free_operands(operands *o) {
  free(o->x), free(o->y), free(o->z), free(o->want);
}

/* What lies between the rows of z keeps its bytes. */
static void expect(operands *o, bdl_dtype d, bool fused) {
  const bdl_k_matmul *g = &o->g;
  memset(o->want, 0x5A, (size_t)o->n[2] * o->size);
  for (int64_t b = 0; b < g->batch; b++)
    for (int64_t i = 0; i < g->m; i++)
      for (int64_t j = 0; j < g->n; j++) {
        float f = 0;
        double s = 0;
        for (int64_t p = 0; p < g->k; p++) {
          const double x = get(d, o->x, b * g->xb + i * g->xi + p * g->xp), y = get(d, o->y, b * g->yb + p * g->yp + j * g->yj);
          if (d == BDL_F32) f = fused ? fmaf((float)x, (float)y, f) : (float)((float)x * (float)y) + f;
          else s = fused ? fma(x, y, s) : x * y + s;
        }
        set(d, o->want, b * g->zb + i * g->ldz + j, d == BDL_F32 ? f + 0.f : s + 0.);
      }
}

static void same(const operands *o, bdl_dtype d, const char *what) {
  for (int64_t i = 0; i < o->n[2]; i++) {
    const double a = get(d, o->z, i), b = get(d, o->want, i);
    if ((isnan(a) && isnan(b)) || memcmp(o->z + (size_t)i * o->size, o->want + (size_t)i * o->size, o->size) == 0) continue;
    fail_msg("%s: %lld x %lld x %lld (xi %lld, yj %lld), element %lld: %.9g, not %.9g", what, (long long)o->g.m,
             (long long)o->g.n, (long long)o->g.k, (long long)o->g.xi, (long long)o->g.yj, (long long)i, a, b);
  }
}

static void run_all(operands *o, bdl_dtype d) {
  for (int i = 0; i < BDL_LEN(isas); i++) {
    const bdl_k_table *k = bdl_k_select(isas[i]);
    if (!k) continue;
    expect(o, d, fuses(isas[i]));
    memset(o->z, 0x5A, (size_t)o->n[2] * o->size);
    const int64_t size = (int64_t)o->size;
    for (int64_t b = 0; b < o->g.batch; b++)
      k->gemm[d](o->z + b * o->g.zb * size, o->x + b * o->g.xb * size, o->y + b * o->g.yb * size, &o->g);
    same(o, d, isas[i]);
  }
}

static int64_t extent(uint64_t *r) {
  static const int64_t edges[] = {1, 5, 6, 7, 8, 15, 16, 17, 31, 32, 33, 64, 131, 132, 133, 255, 256, 257, 300};
  return t_below(r, 2) ? edges[t_below(r, BDL_LEN(edges))] : 1 + t_below(r, 40);
}

static void every_element_is_one_chain(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 300; seed++) {
    uint64_t r = seed;
    const bdl_dtype d = seed % 2 ? BDL_F32 : BDL_F64;
    operands o = random_operands(d, &r, extent(&r), extent(&r), extent(&r), 1);
    run_all(&o, d);
    free_operands(&o);
  }
}

/* Of every density; the zeros of x meet finite and other values of y. */
static void zeros_change_no_bit(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 150; seed++) {
    uint64_t r = seed;
    const bdl_dtype d = seed % 2 ? BDL_F32 : BDL_F64;
    operands o = random_operands(d, &r, 1 + t_below(&r, 150), 64 + t_below(&r, 80), 1 + t_below(&r, 300), t_uniform(&r) * 0.4);
    if (seed % 3 == 0) set(d, o.y, t_below(&r, o.n[1]), seed % 2 ? INFINITY : NAN);
    if (seed % 5 == 0) set(d, o.x, t_below(&r, o.n[0]), seed % 2 ? NAN : -INFINITY);
    run_all(&o, d);
    free_operands(&o);
  }
}

/* A product too small for a float is a zero whose sign must not show which loop was taken. */
static void a_rounded_zero_has_no_sign(void **state) {
  (void)state;
  uint64_t r = 1;
  operands o = random_operands(BDL_F32, &r, 8, 128, 40, 0);
  for (int64_t i = 0; i < 8; i++) set(BDL_F32, o.x, i * o.g.xi + 3 * o.g.xp, 1e-30);
  for (int64_t i = 0; i < o.n[1]; i++) set(BDL_F32, o.y, i, -1e-30);
  run_all(&o, BDL_F32);
  for (int64_t j = 0; j < 128; j++) assert_false(signbit(((float *)o.z)[j]));
  free_operands(&o);
}

static void a_packed_matrix_gives_the_same_bits(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 200; seed++) {
    uint64_t r = seed;
    const bdl_dtype d = seed % 2 ? BDL_F32 : BDL_F64;
    const int64_t m = extent(&r), n = extent(&r), k = extent(&r);
    operands o = random_operands(d, &r, m, n, k, seed % 3 ? 1 : 0.1);
    o.g.batch = 1;
    for (int i = 0; i < BDL_LEN(isas); i++) {
      const bdl_k_table *table = bdl_k_select(isas[i]);
      if (!table) continue;
      const int64_t columns = table->packer[d]->columns, slivers = (n + columns - 1) / columns;
      char *packed = calloc((size_t)(slivers * columns * k), o.size); /* not a byte more */
      table->packer[d]->pack(packed, o.y, &o.g);
      o.g.packed = packed;
      expect(&o, d, fuses(isas[i]));
      memset(o.z, 0x5A, (size_t)o.n[2] * o.size);
      table->gemm[d](o.z, o.x, o.y, &o.g);
      same(&o, d, isas[i]);
      free(packed);
    }
    free_operands(&o);
  }
}

/* A number a column, an array of other strides, or what z was: added to the finished chain. */
static void what_is_added_comes_last(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 300; seed++) {
    uint64_t r = seed;
    const bdl_dtype d = seed % 2 ? BDL_F32 : BDL_F64;
    const int64_t m = extent(&r), n = extent(&r), k = extent(&r);
    const bool in_place = seed % 3 == 0;
    operands o = random_operands(d, &r, m, n, in_place ? BDL_MIN(k, BDL_GEMM_DEEP) : k, seed % 4 ? 1 : 0.1);
    o.g.ai = in_place ? o.g.ldz : seed % 3 == 1 ? 0 : n + 1;
    const int64_t terms = in_place ? o.n[2] : (m - 1) * o.g.ai + n;
    char *c = calloc((size_t)terms, o.size);
    for (int64_t i = 0; i < terms; i++) set(d, c, i, 2 * t_uniform(&r) - 1);
    for (int i = 0; i < BDL_LEN(isas); i++) {
      const bdl_k_table *table = bdl_k_select(isas[i]);
      if (!table) continue;
      o.g.batch = 1;
      expect(&o, d, fuses(isas[i]));
      memset(o.z, 0x5A, (size_t)o.n[2] * o.size);
      for (int64_t e = 0; e < m * n; e++) {
        const int64_t at = e / n * o.g.ldz + e % n;
        const double plus = get(d, c, e / n * o.g.ai + e % n), w = get(d, o.want, at);
        set(d, o.want, at, d == BDL_F32 ? (float)w + (float)plus : w + plus);
        if (in_place) set(d, o.z, at, plus);
      }
      o.g.add = in_place ? o.z : c;
      table->gemm[d](o.z, o.x, o.y, &o.g);
      same(&o, d, isas[i]);
    }
    free(c);
    free_operands(&o);
  }
}

/* Through the dispatcher: 0 and 1 too, with and without the library. */
static void threads_change_no_bit(void **state) {
  (void)state;
  bdl_context *c = t_context();
  bdl_blas library = {0};
  const int64_t sizes[][3] = {{300, 300, 300}, {64, 700, 256}, {1, 900, 900}, {900, 1, 900}, {512, 513, 520},
                              {16, 256, 2000}, {0, 5, 5}, {5, 0, 5}, {5, 5, 0}, {200, 70, 1}};
  for (int s = 0; s < BDL_LEN(sizes); s++)
    for (int with = 0; with < 2; with++)
      for (uint64_t seed = 1; seed <= 2; seed++) {
        uint64_t r = seed;
        operands o = random_operands(BDL_F32, &r, sizes[s][0], sizes[s][1], sizes[s][2], seed == 2 ? 0.1 : 1);
        for (int threads = 1; threads <= 4; threads++) {
          bdl_pool *pool = bdl_pool_new(c, threads);
          char *z = threads == 1 ? o.want : o.z;
          memset(z, 0x5A, (size_t)o.n[2] * o.size);
          bdl_k_dot(z, o.x, o.y, &o.g, BDL_F32, bdl_k_select(NULL), with ? &library : NULL, pool);
          if (threads > 1) same(&o, BDL_F32, "threads");
          bdl_pool_free(pool);
        }
        free_operands(&o);
      }
  bdl_blas_close(&library);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_element_is_one_chain),
      cmocka_unit_test(zeros_change_no_bit),
      cmocka_unit_test(a_rounded_zero_has_no_sign),
      cmocka_unit_test(a_packed_matrix_gives_the_same_bits),
      cmocka_unit_test(what_is_added_comes_last),
      cmocka_unit_test(threads_change_no_bit),
  };
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  t_context_free();
  return failed;
}

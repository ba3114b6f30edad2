/*
** test_tile.c -- the element kernels: every row of the table against a scalar reference, and the promises of tile.h:
** tails, positions, forms, aliasing, nothing past n, one result for all instruction sets.
*/
#include "cpu/tile.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

__extension__ typedef __int128 int128; /* holds every result of two 64-bit integers */
__extension__ typedef unsigned __int128 uint128;

#define GUARD 64
#define FAIL(...)                                   \
  do {                                              \
    char text_[512];                                \
    snprintf(text_, sizeof text_, __VA_ARGS__);     \
    fail_msg("%s", text_);                          \
  } while (0)

static const char *const isas[] = {"avx512", "avx2", "x86-64", "aarch64", "generic"};
static const int lengths[] = {1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 511, 512};
static const char *const names[] = {
#define TILE(name, n_in) #name,
#include "cpu/tile_ops.def"
#undef TILE
};
static const int n_operands[] = {
#define TILE(name, n_in) n_in,
#include "cpu/tile_ops.def"
#undef TILE
};
static const char *const dtypes[] = {
#define X(id, s, l, z) s,
  BDL_DTYPE_LIST(X)
#undef X
};
static const int sizes[] = {
#define X(id, s, l, z) z,
  BDL_DTYPE_LIST(X)
#undef X
};

/* ---- values ---------------------------------------------------------------------------------------- */

static uint64_t next(uint64_t *seed) { /* splitmix64 */
  uint64_t z = *seed += UINT64_C(0x9E3779B97F4A7C15);
  z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
  return z ^ z >> 31;
}

static const double special_f64[] = {0.0, -0.0, 1, -1, 0.5, -0.5, 1.5, 2.5, -2.5, 3, INFINITY, -INFINITY, NAN, DBL_MAX,
                                     -DBL_MAX,
                                     DBL_MIN, -DBL_MIN, 5e-324, -5e-324, 2147483647, 2147483648, -2147483648., -2147483649.,
                                     4294967295.,
                                     4294967296., 9223372036854775807., -9223372036854775808., 1e19, 0x1p52, 0x1p53};
static const float special_f32[] = {0.0f, -0.0f, 1, -1, 0.5f, -0.5f, 1.5f, 2.5f, -2.5f, 3, INFINITY, -INFINITY, NAN, FLT_MAX,
                                    -FLT_MAX,
                                    FLT_MIN, -FLT_MIN, 1e-45f, -1e-45f, 2147483520.f, 2147483648.f, -2147483648.f,
                                    -2147483904.f,
                                    4294967040.f, 4294967296.f, 9223371487098961920.f, -9223372036854775808.f, 1e19f,
                                    0x1p23f, 0x1p24f};
static const int64_t special_i64[] = {0, 1, -1, 2, -2, 3, 7, -7, 31, 32, 33, 63, 64, 65, INT32_MAX, INT32_MIN, UINT32_MAX,
                                      INT64_MAX, INT64_MIN};

static void random_scalar(bdl_dtype d, uint64_t *seed, bdl_scalar *v) {
  const uint64_t r = next(seed), kind = next(seed) % 4;
  const double unit = (double)(next(seed) >> 11) * 0x1p-53 * 20 - 10;
  const int64_t integer = kind == 0 ? special_i64[r % BDL_LEN(special_i64)] : kind == 1 ? (int64_t)(r % 200) - 100 : (int64_t)r;
  v->bits = 0;
  switch (d) {
    case BDL_BOOL: v->bits = r & 1; break;
    case BDL_I32: v->i32 = (int32_t)integer; break;
    case BDL_U32: v->u32 = (uint32_t)integer; break;
    case BDL_I64: v->i64 = integer; break;
    case BDL_F32:
      if (kind == 1) { const uint32_t b = (uint32_t)r; memcpy(&v->f32, &b, 4); }
      else v->f32 = kind == 0 ? special_f32[r % BDL_LEN(special_f32)] : (float)unit;
      break;
    default:
      if (kind == 1) memcpy(&v->f64, &r, 8);
      else v->f64 = kind == 0 ? special_f64[r % BDL_LEN(special_f64)] : unit;
  }
}

typedef struct array {
  _Alignas(64) unsigned char b[BDL_TILE * 8 + 2 * GUARD];
} array;

static void put(array *a, bdl_dtype d, int64_t i, bdl_scalar v) { memcpy(a->b + i * sizes[d], &v, (size_t)sizes[d]); }
static bdl_scalar at(const array *a, bdl_dtype d, int64_t i) {
  bdl_scalar v = {.bits = 0};
  memcpy(&v, a->b + i * sizes[d], (size_t)sizes[d]);
  return v;
}
static void randomize(array *a, bdl_dtype d, uint64_t seed) {
  for (int64_t i = 0; i < BDL_TILE + 8; i++) {
    bdl_scalar v;
    random_scalar(d, &seed, &v);
    put(a, d, i, v);
  }
}
static int is_nan(bdl_dtype d, bdl_scalar v) { return d == BDL_F32 ? isnan(v.f32) : d == BDL_F64 ? isnan(v.f64) : 0; }

/* ---- which dtypes an operation has ------------------------------------------------------------------- */

static int is_predicate(int op) {
  return (op >= BDL_TILE_eq && op <= BDL_TILE_ge) || op == BDL_TILE_is_finite || op == BDL_TILE_is_nan;
}
static bdl_dtype result_dtype(int op, bdl_dtype d) { return is_predicate(op) ? BDL_BOOL : d; }
/* One whole number as second operand. */
static int takes_number(int op) { return op == BDL_TILE_integer_pow || op == BDL_TILE_polygamma; }
static bdl_dtype operand_dtype(int op, bdl_dtype d, int k) {
  return op == BDL_TILE_select && k == 0 ? BDL_BOOL : takes_number(op) && k == 1 ? BDL_I64 : d;
}
static int makes(int op) { return op == BDL_TILE_iota || op == BDL_TILE_random_bits; }
/* Rounded functions, whose bits may differ between instruction sets. */
static int is_function(int op) {
  return (op >= BDL_TILE_exp && op <= BDL_TILE_digamma) || op == BDL_TILE_cbrt || op == BDL_TILE_sigmoid ||
         op == BDL_TILE_softplus || op == BDL_TILE_pow || op == BDL_TILE_atan2;
}

/* Runs `op` on arrays a; the scalar forms read element 0. */
static void run(bdl_k_tile k, array *z, const array *a, int64_t n) { k(z->b, a[0].b, a[1].b, a[2].b, n, 0); }

static void make_operands(int op, bdl_dtype d, array a[3], uint64_t seed) {
  for (int k = 0; k < 3; k++) randomize(&a[k], operand_dtype(op, d, k), seed * 3 + (uint64_t)k);
  if (takes_number(op)) {
    static const int64_t powers[] = {0, 1, 2, 3, 5, -1, -2, 13, INT64_MIN};
    put(&a[1], BDL_I64, 0, (bdl_scalar){.i64 = powers[seed % BDL_LEN(powers)]});
  }
}

typedef void (*visit)(const bdl_k_table *t, int op, bdl_dtype d, int form, bdl_k_tile k);
static void each(visit f) {
  for (int s = 0; s < BDL_LEN(isas); s++) {
    const bdl_k_table *t = bdl_k_select(isas[s]);
    if (!t) continue;
    for (int op = 0; op < BDL_TILE_COUNT; op++)
      for (int d = 0; d < BDL_DTYPE_COUNT; d++)
        for (int form = 0; form < 8; form++)
          if (t->tile[op][d][form]) f(t, op, (bdl_dtype)d, form, t->tile[op][d][form]);
  }
}

/* ---- the reference ------------------------------------------------------------------------------------ */

static float ref_fmod(float x, float y) { return fmodf(x, y); }

/* x a y for a: add, sub, mul, each rounded */
static double arithmetic(int a, double x, double y, int f) {
  const double r = a == 0 ? x + y : a == 1 ? x - y : x * y;
  return f ? (double)(float)r : r;
}

/* 0: no reference here (functions have test_tile_math.c). */
static int expect_float(int op, double x, double y, double w, bdl_dtype d, bdl_scalar *z) {
  const int f = d == BDL_F32, pair = op - BDL_TILE_add_add;
  double r;
  if (pair >= 0 && op <= BDL_TILE_mul_mul_r) {
    const double t = arithmetic(pair / 6, x, y, f);
    r = pair % 2 ? arithmetic(pair / 2 % 3, w, t, f) : arithmetic(pair / 2 % 3, t, w, f);
  } else switch (op) {
    case BDL_TILE_neg: r = -x; break;
    case BDL_TILE_sign: r = isnan(x) || x == 0 ? x : copysign(1, x); break;
    case BDL_TILE_abs: r = fabs(x); break;
    case BDL_TILE_floor: r = floor(x); break;
    case BDL_TILE_ceil: r = ceil(x); break;
    case BDL_TILE_round: r = nearbyint(x); break;
    case BDL_TILE_trunc: r = trunc(x); break;
    case BDL_TILE_sqrt: r = sqrt(x); break; /* of an f32, rounded to f32: right, as for + - * / */
    case BDL_TILE_rsqrt: r = f ? (double)(1 / sqrtf((float)x)) : 1 / sqrt(x); break;
    case BDL_TILE_add: r = x + y; break;
    case BDL_TILE_sub: r = x - y; break;
    case BDL_TILE_mul: r = x * y; break;
    case BDL_TILE_div: r = x / y; break;
    case BDL_TILE_rem: r = f ? (double)ref_fmod((float)x, (float)y) : fmod(x, y); break;
    case BDL_TILE_floordiv: r = f ? floor((double)((float)x / (float)y)) : floor(x / y); break;
    case BDL_TILE_mod:
      r = fmod(x, y);
      if (r != 0 && signbit(r) != signbit(y)) r = f ? (double)((float)r + (float)y) : r + y;
      break;
    case BDL_TILE_nextafter: r = f ? (double)nextafterf((float)x, (float)y) : nextafter(x, y); break;
    case BDL_TILE_max: r = isnan(x) || isnan(y) ? NAN : x > y ? x : y; break;
    case BDL_TILE_min: r = isnan(x) || isnan(y) ? NAN : x < y ? x : y; break;
    case BDL_TILE_clamp: /* lo x hi */
      r = isnan(x) || isnan(y) || isnan(w) ? NAN : fmin(fmax(y, x), w);
      if (r == 0) r = fabs(r);
      break;
    default: return 0;
  }
  if (f) z->f32 = (float)r;
  else z->f64 = r;
  return 1;
}

static int64_t width(bdl_dtype d) { return sizes[d] * 8; }

static int expect_int(int op, int128 x, int128 y, int128 w, bdl_dtype d, bdl_scalar *z) {
  const int128 bits = (int128)1 << width(d), mask = bits - 1;
  const int wide = y < 0 || y >= width(d);
  const int128 q = y == 0 ? -1 : x / y, m = y == 0 ? x : x % y, cross = y != 0 && m != 0 && (m < 0) != (y < 0);
  const int128 as_signed = (x & mask) >= bits / 2 ? (x & mask) - bits : (x & mask);
  int128 r;
  switch (op) {
    case BDL_TILE_neg: r = -x; break;
    case BDL_TILE_sign: r = (x > 0) - (x < 0); break;
    case BDL_TILE_abs: r = x < 0 ? -x : x; break;
    case BDL_TILE_not: r = d == BDL_BOOL ? !x : ~x; break;
    case BDL_TILE_popcount: r = __builtin_popcountll((uint64_t)(x & mask)); break;
    case BDL_TILE_add: r = x + y; break;
    case BDL_TILE_sub: r = x - y; break;
    case BDL_TILE_mul: r = (int128)((uint128)x * (uint128)y); break;
    case BDL_TILE_div: r = q; break;
    case BDL_TILE_rem: r = m; break;
    case BDL_TILE_floordiv: r = q - cross; break;
    case BDL_TILE_mod: r = m + (cross ? y : 0); break;
    case BDL_TILE_max: r = x > y ? x : y; break;
    case BDL_TILE_min: r = x < y ? x : y; break;
    case BDL_TILE_and: r = x & y; break;
    case BDL_TILE_or: r = x | y; break;
    case BDL_TILE_xor: r = x ^ y; break;
    case BDL_TILE_shl: r = wide ? 0 : (int128)((uint128)(x & mask) << y); break;
    case BDL_TILE_shr: r = wide ? 0 : (x & mask) >> y; break;
    case BDL_TILE_sar: r = as_signed >> (wide ? width(d) - 1 : y); break;
    case BDL_TILE_clamp:
      r = y > x ? y : x;
      if (w < r) r = w;
      break;
    default: return 0;
  }
  z->bits = (uint64_t)(r & mask);
  return 1;
}

static int expect_compare(int op, int lt, int gt, int eq, bdl_scalar *z) {
  switch (op) {
    case BDL_TILE_eq: z->bits = eq; break;
    case BDL_TILE_ne: z->bits = !eq; break;
    case BDL_TILE_lt: z->bits = lt; break;
    case BDL_TILE_le: z->bits = lt || eq; break;
    case BDL_TILE_gt: z->bits = gt; break;
    case BDL_TILE_ge: z->bits = gt || eq; break;
    default: return 0;
  }
  return 1;
}

static double as_double(bdl_dtype d, bdl_scalar v) { return d == BDL_F32 ? (double)v.f32 : v.f64; }
static int128 as_int(bdl_dtype d, bdl_scalar v) {
  return d == BDL_BOOL ? (int128)(v.bits & 255) : d == BDL_I32 ? (int128)v.i32 : d == BDL_U32 ? (int128)v.u32 : (int128)v.i64;
}

static int expect(int op, bdl_dtype d, bdl_scalar x, bdl_scalar y, bdl_scalar w, bdl_scalar *z) {
  z->bits = 0;
  if (op == BDL_TILE_copy || op == BDL_TILE_stop_gradient || op == BDL_TILE_bitcast) return *z = x, 1;
  if (op == BDL_TILE_select) return *z = x.bits ? y : w, 1;
  if (d == BDL_F32 || d == BDL_F64) {
    const double a = as_double(d, x), b = as_double(d, y);
    if (op == BDL_TILE_is_nan) return z->bits = isnan(a) != 0, 1;
    if (op == BDL_TILE_is_finite) return z->bits = isfinite(a) != 0, 1;
    return expect_compare(op, a < b, a > b, a == b, z) || expect_float(op, a, b, as_double(d, w), d, z);
  }
  const int128 a = as_int(d, x), b = as_int(d, y);
  return expect_compare(op, a < b, a > b, a == b, z) || expect_int(op, a, b, as_int(d, w), d, z);
}

static int same(bdl_dtype d, bdl_scalar a, bdl_scalar b) { return a.bits == b.bits || (is_nan(d, a) && is_nan(d, b)); }

/* The first element where n elements differ, NaN being NaN whatever its bits; -1: none. */
static int64_t difference(bdl_dtype d, const unsigned char *a, const unsigned char *b, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    bdl_scalar x = {.bits = 0}, y = {.bits = 0};
    memcpy(&x, a + i * sizes[d], (size_t)sizes[d]);
    memcpy(&y, b + i * sizes[d], (size_t)sizes[d]);
    if (!same(d, x, y)) return i;
  }
  return -1;
}

static void check_reference(const bdl_k_table *t, int op, bdl_dtype d, int form, bdl_k_tile k) {
  static array a[3], z;
  const bdl_dtype r = result_dtype(op, d);
  if (makes(op) || op == BDL_TILE_splat || takes_number(op)) return;
  for (uint64_t seed = 1; seed <= 8; seed++) {
    make_operands(op, d, a, seed);
    run(k, &z, a, BDL_TILE);
    for (int64_t i = 0; i < BDL_TILE; i++) {
      bdl_scalar v[3], want, got = at(&z, r, i);
      for (int j = 0; j < 3; j++) v[j] = at(&a[j], operand_dtype(op, d, j), form >> j & 1 ? 0 : i);
      if (!expect(op, d, v[0], v[1], v[2], &want)) return;
      if (op == BDL_TILE_clamp && bdl_dtype_is_float(d) && as_double(d, got) == 0) /* either zero */
        got.bits &= d == BDL_F32 ? INT32_MAX : INT64_MAX, want.bits &= d == BDL_F32 ? INT32_MAX : INT64_MAX;
      if (!same(r, got, want))
        FAIL("%s %s %s form %d: of %" PRIx64 " %" PRIx64 " %" PRIx64 ": %" PRIx64 " instead of %" PRIx64, t->isa, names[op],
             dtypes[d], form, v[0].bits, v[1].bits, v[2].bits, got.bits, want.bits);
    }
  }
}
static void rows_equal_the_reference(void **state) { (void)state, each(check_reference); }

/* ---- promises ------------------------------------------------------------------------------------------ */

/* Any n, any start: the bits of an element are those it has in a whole tile; nothing is written past n. */
static void check_tails(const bdl_k_table *t, int op, bdl_dtype d, int form, bdl_k_tile k) {
  static array a[3], whole, z, guard;
  const bdl_dtype r = result_dtype(op, d);
  const int size = sizes[r];
  if (makes(op) || op == BDL_TILE_splat) return;
  make_operands(op, d, a, 7);
  run(k, &whole, a, BDL_TILE);
  memset(guard.b, 0xA5, sizeof guard.b);
  for (int l = 0; l < BDL_LEN(lengths); l++)
    for (int start = 0; start < 4 && start + lengths[l] <= BDL_TILE; start++) {
      const unsigned char *p[3];
      const int64_t n = lengths[l];
      for (int j = 0; j < 3; j++) p[j] = a[j].b + (form >> j & 1 ? 0 : start * sizes[operand_dtype(op, d, j)]);
      z = guard;
      k(z.b, p[0], p[1], p[2], n, 0);
      if (difference(r, z.b, whole.b + start * size, n) >= 0)
        FAIL("%s %s %s form %d: other bits in a tile of %d from %d", t->isa, names[op], dtypes[d], form, (int)n, start);
      if (memcmp(z.b + n * size, guard.b, sizeof z.b - (size_t)(n * size)) != 0)
        FAIL("%s %s %s form %d: writes past %d", t->isa, names[op], dtypes[d], form, (int)n);
    }
}
static void bits_do_not_depend_on_tails(void **state) { (void)state, each(check_tails); }

/* A scalar operand is an array of that scalar. */
static void check_forms(const bdl_k_table *t, int op, bdl_dtype d, int form, bdl_k_tile k) {
  static array a[3], z, want;
  if (form == 0 || takes_number(op)) return;
  make_operands(op, d, a, 11);
  for (int64_t pick = 0; pick < 40; pick++) {
    for (int j = 0; j < 3; j++)
      if (form >> j & 1) put(&a[j], operand_dtype(op, d, j), 0, at(&a[j], operand_dtype(op, d, j), pick));
    run(k, &z, a, BDL_TILE);
    for (int j = 0; j < 3; j++)
      if (form >> j & 1)
        for (int64_t i = 1; i < BDL_TILE; i++) put(&a[j], operand_dtype(op, d, j), i, at(&a[j], operand_dtype(op, d, j), 0));
    run(t->tile[op][d][0], &want, a, BDL_TILE);
    if (difference(result_dtype(op, d), z.b, want.b, BDL_TILE) >= 0)
      FAIL("%s %s %s: form %d differs from arrays", t->isa, names[op], dtypes[d], form);
    make_operands(op, d, a, 11 + (uint64_t)pick);
  }
}
static void forms_equal_arrays(void **state) { (void)state, each(check_forms); }

/* z may be an operand; of one no smaller than its own elements. */
static void check_aliases(const bdl_k_table *t, int op, bdl_dtype d, int form, bdl_k_tile k) {
  static array a[3], b[3], z;
  const bdl_dtype r = result_dtype(op, d);
  if (makes(op) || op == BDL_TILE_splat) return;
  make_operands(op, d, a, 13);
  run(k, &z, a, 301);
  for (int j = 0; j < n_operands[op]; j++) {
    if (form >> j & 1 || sizes[operand_dtype(op, d, j)] < sizes[r]) continue;
    memcpy(b, a, sizeof a);
    run(k, &b[j], b, 301);
    if (difference(r, b[j].b, z.b, 301) >= 0)
      FAIL("%s %s %s form %d: differs when the result is operand %d", t->isa, names[op], dtypes[d], form, j);
  }
}
static void results_may_be_operands(void **state) { (void)state, each(check_aliases); }

static void check_isas(const bdl_k_table *t, int op, bdl_dtype d, int form, bdl_k_tile k) {
  static array a[3], z, want;
  const bdl_k_table *base = bdl_k_select(isas[2]);
  if (!base || t == base || is_function(op) || makes(op)) return;
  const bdl_dtype r = result_dtype(op, d);
  make_operands(op, d, a, 17);
  run(k, &z, a, BDL_TILE);
  run(base->tile[op][d][form], &want, a, BDL_TILE);
  if (difference(r, z.b, want.b, BDL_TILE) >= 0)
    FAIL("%s %s %s form %d differs from the baseline", t->isa, names[op], dtypes[d], form);
}
static void instruction_sets_agree(void **state) { (void)state, each(check_isas); }

static int64_t cell_count(const bdl_k_table *t) {
  int64_t n = 0;
  for (int op = 0; op < BDL_TILE_COUNT; op++)
    for (int d = 0; d < BDL_DTYPE_COUNT; d++)
      for (int form = 0; form < 8; form++) n += t->tile[op][d][form] != NULL;
  return n;
}

/* Every operation is there, in form 0 where it has any, and instruction sets have the same rows. */
static void the_table_is_full(void **state) {
  (void)state;
  const bdl_k_table *t = bdl_k_select(NULL);
  assert_non_null(t);
  assert_null(bdl_k_select("no such thing"));
  assert_ptr_equal(bdl_k_select(t->isa), t);
  for (int op = 0; op < BDL_TILE_COUNT; op++) {
    int any = op == BDL_TILE_cast;
    for (int d = 0; d < BDL_DTYPE_COUNT; d++)
      for (int form = 0; form < 8; form++) {
        any |= t->tile[op][d][form] != NULL;
        if (t->tile[op][d][form] && !t->tile[op][d][0] && !takes_number(op))
          FAIL("%s %s: no form 0", names[op], dtypes[d]);
      }
    if (!any) FAIL("%s has no kernel", names[op]);
  }
  for (int s = 0; s < BDL_LEN(isas); s++)
    if (bdl_k_select(isas[s])) assert_int_equal(cell_count(bdl_k_select(isas[s])), cell_count(t));
}

/* ---- what has other operands ---------------------------------------------------------------------------- */

#define EACH_ISA(t) for (int s_ = 0; s_ < BDL_LEN(isas); s_++) for (const bdl_k_table *t = bdl_k_select(isas[s_]); t; t = NULL)

static bdl_scalar expect_cast(bdl_dtype from, bdl_dtype to, bdl_scalar x) {
  bdl_scalar z = {.bits = 0};
  if (from == BDL_F32 || from == BDL_F64) {
    const double v = as_double(from, x);
    static const double lo[] = {0, INT32_MIN, INT64_MIN, 0}, hi[] = {1, INT32_MAX, 9223372036854775808., UINT32_MAX};
    static const int64_t most[] = {1, INT32_MAX, INT64_MAX, UINT32_MAX};
    if (to == BDL_F32) z.f32 = (float)v;
    else if (to == BDL_F64) z.f64 = v;
    else if (to == BDL_BOOL) z.bits = v != 0;
    else if (isnan(v)) z.bits = 0;
    else {
      z.i64 = v >= hi[to] ? most[to] : v <= lo[to] ? (int64_t)lo[to] : (int64_t)v;
      if (sizes[to] == 4) z.bits &= UINT32_MAX;
    }
  } else {
    const int128 v = as_int(from, x);
    if (to == BDL_F32) z.f32 = (float)v;
    else if (to == BDL_F64) z.f64 = (double)v;
    else if (to == BDL_BOOL) z.bits = v != 0;
    else z.bits = (uint64_t)v & (sizes[to] == 4 ? UINT32_MAX : UINT64_MAX);
  }
  return z;
}

static void casts_equal_the_reference(void **state) {
  (void)state;
  static array x, z;
  EACH_ISA(t)
    for (int from = 0; from < BDL_DTYPE_COUNT; from++)
      for (int to = 0; to < BDL_DTYPE_COUNT; to++)
        for (uint64_t seed = 1; seed <= 8; seed++) {
          const int64_t n = lengths[seed % BDL_LEN(lengths)] + 400 < BDL_TILE ? lengths[seed % BDL_LEN(lengths)] + 400 : BDL_TILE;
          randomize(&x, (bdl_dtype)from, seed);
          memset(z.b, 0xA5, sizeof z.b);
          t->cast[from][to](z.b, x.b, NULL, NULL, n, 0);
          assert_int_equal(z.b[n * sizes[to]], 0xA5);
          for (int64_t i = 0; i < n; i++) {
            const bdl_scalar v = at(&x, (bdl_dtype)from, i), want = expect_cast((bdl_dtype)from, (bdl_dtype)to, v),
                             got = at(&z, (bdl_dtype)to, i);
            if (!same((bdl_dtype)to, got, want))
              FAIL("%s cast %s to %s: of %" PRIx64 ": %" PRIx64 " instead of %" PRIx64, t->isa, dtypes[from], dtypes[to],
                   v.bits, got.bits, want.bits);
          }
        }
}

static void splat_fills(void **state) {
  (void)state;
  static array x, z;
  EACH_ISA(t)
    for (int d = 0; d < BDL_DTYPE_COUNT; d++) {
      randomize(&x, (bdl_dtype)d, 3);
      memset(z.b, 0xA5, sizeof z.b);
      t->tile[BDL_TILE_splat][d][0](z.b, x.b, NULL, NULL, 33, 0);
      for (int64_t i = 0; i < 33; i++) assert_int_equal(at(&z, (bdl_dtype)d, i).bits, at(&x, (bdl_dtype)d, 0).bits);
      assert_int_equal(z.b[33 * sizes[d]], 0xA5);
    }
}

static void iota_counts(void **state) {
  (void)state;
  static array z;
  static const int64_t cases[][3] = {{1, 1000, 0},    {1, 7, 3},           {5, 7, 33},           {512, 3, 1000},
                                     {1000, 4, 3990}, {1, 1, 9},           {3, 1, 2},            {1, INT64_MAX, 0},
                                     {2, 9, 17},      {1, 1 << 24, 99999}, {1, 5000000000, 4999999900}};
  EACH_ISA(t)
    for (int d = BDL_I32; d < BDL_DTYPE_COUNT; d++)
      for (int c = 0; c < BDL_LEN(cases); c++)
        for (int l = 0; l < BDL_LEN(lengths); l++) {
          const int64_t inner = cases[c][0], extent = cases[c][1], i0 = cases[c][2];
          t->tile[BDL_TILE_iota][d][0](z.b, cases[c], NULL, NULL, lengths[l], i0);
          for (int64_t i = 0; i < lengths[l]; i++) {
            const bdl_scalar v = {.i64 = (i0 + i) / inner % extent}, want = expect_cast(BDL_I64, (bdl_dtype)d, v);
            if (at(&z, (bdl_dtype)d, i).bits != want.bits) FAIL("%s iota %s case %d element %d", t->isa, dtypes[d], c, (int)i);
          }
        }
}

static void integer_pow_squares_repeatedly(void **state) {
  (void)state;
  static array x, z;
  static const int64_t powers[] = {0, 1, 2, 3, 4, 5, 7, 10, 31, -1, -2, -3};
  EACH_ISA(t)
    for (int p = 0; p < BDL_LEN(powers); p++) {
      const int64_t y = powers[p];
      const uint64_t e = (uint64_t)(y < 0 ? -y : y);
      for (int d = BDL_I32; d < BDL_DTYPE_COUNT; d++) {
        randomize(&x, (bdl_dtype)d, (uint64_t)p + 1);
        t->tile[BDL_TILE_integer_pow][d][BDL_FORM_Y](z.b, x.b, &y, NULL, 100, 0);
        for (int64_t i = 0; i < 100; i++) {
          const bdl_scalar v = at(&x, (bdl_dtype)d, i), got = at(&z, (bdl_dtype)d, i);
          bdl_scalar want = {.bits = 0};
          if (bdl_dtype_is_float((bdl_dtype)d)) {
            const int f = d == BDL_F32;
            double s = as_double((bdl_dtype)d, v), r = 1;
            for (uint64_t b = e; b; b >>= 1) {
              if (b & 1) r = f ? (double)((float)r * (float)s) : r * s;
              s = f ? (double)((float)s * (float)s) : s * s;
            }
            if (y < 0) r = f ? (double)(1 / (float)r) : 1 / r;
            if (f) want.f32 = (float)r;
            else want.f64 = r;
          } else {
            const int128 s = as_int((bdl_dtype)d, v);
            uint64_t r = 1;
            for (uint64_t b = 0; b < e; b++) r *= (uint64_t)s;
            if (y < 0) r = s == 1 ? 1 : s == -1 ? (e & 1 ? UINT64_MAX : 1) : s == 0 ? UINT64_MAX : 0;
            if (y < 0 && d == BDL_U32 && v.u32 == UINT32_MAX) r = 0;
            want.bits = sizes[d] == 4 ? r & UINT32_MAX : r;
          }
          if (!same((bdl_dtype)d, got, want))
            FAIL("%s %s ^ %d: of %" PRIx64 ": %" PRIx64 " instead of %" PRIx64, t->isa, dtypes[d], (int)y, v.bits,
                 got.bits, want.bits);
        }
      }
    }
}

/* 16 interleaved partial results, folded 8, 4, 2, 1: the same bits from every instruction set. */
static void reductions_have_a_fixed_order(void **state) {
  (void)state;
  static const int ops[BDL_RED_COUNT] = {BDL_TILE_add, BDL_TILE_mul, BDL_TILE_max, BDL_TILE_min, BDL_TILE_and, BDL_TILE_or};
  static array x;
  EACH_ISA(t)
    for (int red = 0; red < BDL_RED_COUNT; red++)
      for (int d = 0; d < BDL_DTYPE_COUNT; d++) {
        if (!t->reduce[red][d]) continue;
        assert_non_null(t->combine[red][d]);
        for (uint64_t seed = 1; seed <= 4; seed++)
          for (int l = 0; l < BDL_LEN(lengths); l++) {
            const int64_t n = lengths[l], m = n < 16 ? n : 16;
            bdl_scalar p[16], got = {.bits = 0}, all;
            randomize(&x, (bdl_dtype)d, seed);
            if (seed > 1 && bdl_dtype_is_float((bdl_dtype)d)) /* without NaN, so that sums say something */
              for (int64_t i = 0; i < n; i++)
                put(&x, (bdl_dtype)d, i,
                    d == BDL_F32 ? (bdl_scalar){.f32 = (float)i - 7.3f} : (bdl_scalar){.f64 = (double)i - 7.3});
            for (int64_t i = 0; i < n; i++) {
              const bdl_scalar v = at(&x, (bdl_dtype)d, i);
              if (i < 16) p[i] = v;
              else assert_true(expect(ops[red], (bdl_dtype)d, p[i % 16], v, v, &p[i % 16]) || d == BDL_BOOL);
            }
            for (int half = 8; half > 0; half /= 2)
              for (int j = 0; j < half && j + half < m; j++) expect(ops[red], (bdl_dtype)d, p[j], p[j + half], p[j], &p[j]);
            t->reduce[red][d](&got, x.b, n);
            if (!same((bdl_dtype)d, got, p[0]))
              FAIL("%s reduction %d of %d %s: %" PRIx64 " instead of %" PRIx64, t->isa, red, (int)n, dtypes[d], got.bits,
                   p[0].bits);
            all = at(&x, (bdl_dtype)d, 0);
            for (int64_t i = 1; i < n; i++) expect(ops[red], (bdl_dtype)d, all, at(&x, (bdl_dtype)d, i), all, &all);
            got.bits = 0;
            t->combine[red][d](&got, x.b, n);
            if (!same((bdl_dtype)d, got, all)) FAIL("%s combine %d of %d %s", t->isa, red, (int)n, dtypes[d]);
          }
      }
}

static void compact_lists_active_elements(void **state) {
  (void)state;
  static array x;
  EACH_ISA(t)
    for (int d = 0; d < BDL_DTYPE_COUNT; d++)
      for (int rate = 0; rate < 4; rate++)
        for (int l = 0; l < BDL_LEN(lengths); l++) {
          int32_t ids[BDL_TILE + 1], want[BDL_TILE];
          int64_t n = lengths[l], m = 0;
          randomize(&x, (bdl_dtype)d, (uint64_t)rate + 1);
          for (int64_t i = 0; i < n; i++) {
            if (rate == 0 || (rate == 1 && i % 97)) put(&x, (bdl_dtype)d, i, (bdl_scalar){.bits = 0});
            const bdl_scalar v = at(&x, (bdl_dtype)d, i);
            if (bdl_dtype_is_float((bdl_dtype)d) ? as_double((bdl_dtype)d, v) > 0 : as_int((bdl_dtype)d, v) > 0)
              want[m++] = (int32_t)(1000 + i);
          }
          ids[m] = -1;
          assert_int_equal(t->compact[d](ids, x.b, n, 1000), m);
          assert_memory_equal(ids, want, (size_t)m * sizeof want[0]);
          assert_int_equal(ids[m], -1);
        }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_table_is_full),         cmocka_unit_test(rows_equal_the_reference),
    cmocka_unit_test(bits_do_not_depend_on_tails), cmocka_unit_test(forms_equal_arrays),
    cmocka_unit_test(results_may_be_operands),   cmocka_unit_test(instruction_sets_agree),
    cmocka_unit_test(casts_equal_the_reference), cmocka_unit_test(splat_fills),
    cmocka_unit_test(iota_counts),               cmocka_unit_test(integer_pow_squares_repeatedly),
    cmocka_unit_test(reductions_have_a_fixed_order), cmocka_unit_test(compact_lists_active_elements),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

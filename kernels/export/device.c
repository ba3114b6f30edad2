/*
** device.c -- all that exported programs may call, in C99 for one thread: no allocation, nothing but stdint.h, stdbool.h, string.h
** and, where the user wants it, math.h.
** Never compiled as it stands: the build runs the preprocessor over it, and export/text.c writes out the functions that a program
** uses, and what those use.  __builtin_<f> is the function <f> of math.h, or own_<f> of own_math.inc.
**
** A function gives the bits of the kernel of kernels/cpu that it stands for: the same operations in the same order.  Its oracle is
** that kernel (tests/export).  Extents and strides count elements and fit 32 bits; what may not be in range was checked before.
**
**   elements     k_<op>_<dtype>, as for native code, and the functions of SLEEF's names from the library
**   device_any.inc, device_number.inc, device_float.inc   every dtype: moving, indexing, sorting; numbers: sums, products, sparse
**                matrices; floats: eligibility traces, convolution, matrices from seeds
*/
#define BDL_EXPORT
#define BDL_FN static inline
#define BDL_FMA_f32 __builtin_fmaf
#define BDL_FMA_f64 __builtin_fma
#define INFINITY infinity()
#define NAN not_a_number()
#define __builtin_popcount popcount32
#define __builtin_popcountll popcount64

#define FUN(op, f, ulp) BDL_FN T NAME(op, )(T x) { return LIBM(f)(x); }
#define FUN2(op, f, ulp) BDL_FN T NAME(op, )(T x, T y) { return LIBM(f)(x, y); }
#define LONG OUR
#define LIB(op, ...) BDL_FN T NAME(op, )(T x) { return (T)(__VA_ARGS__); }
#define LIB2(op, ...) BDL_FN T NAME(op, )(T x, T y) { return (T)(__VA_ARGS__); }
/* One tile: 16 interleaved partial results, then a tree.  A reduction of several tiles combines theirs in order. */
#define RED(op, identity, nan_wins, ...)                                                           \
  BDL_FN T FN(red_##op)(T x, T y) { return (T)(__VA_ARGS__); }                                     \
  BDL_FN T FN(nan_##op)(T x, bool nan) { return nan_wins(nan, x); }                                \
  BDL_FN void FN(begin_##op)(MEMORY *part) {                                                       \
    for (int32_t j = 0; j < 16; j++) part[j] = identity;                                           \
  }                                                                                                \
  BDL_FN T FN(end_##op)(MEMORY *part) {                                                            \
    for (int32_t half = 8; half > 0; half /= 2)                                                    \
      for (int32_t j = 0; j < half; j++) part[j] = FN(red_##op)(part[j], part[j + half]);          \
    return part[0];                                                                                \
  }
#define ANY(nan, x) ((void)nan, x)
#define NAN_WINS(nan, x) nan ? (T)NAN : x
#define digamma_f32(x) ((float)digamma((double)(x)))
#define digamma_f64 digamma
#define BDL_LEN(a) ((int)(sizeof(a) / sizeof((a)[0])))
#define MEMORY CAT(memory_, DT)
#define memory_b8 unsigned char
#define memory_i32 int32_t
#define memory_i64 int64_t
#define memory_u32 uint32_t
#define memory_f32 float
#define memory_f64 double

BDL_FN float infinity(void) {
  const uint32_t u = 0x7f800000u;
  float x;
  memcpy(&x, &u, sizeof x);
  return x;
}
BDL_FN float not_a_number(void) {
  const uint32_t u = 0x7fc00000u;
  float x;
  memcpy(&x, &u, sizeof x);
  return x;
}
static int popcount32(uint32_t x) {
  int n = 0;
  for (; x; x &= x - 1) n++;
  return n;
}
static int popcount64(uint64_t x) { return popcount32((uint32_t)x) + popcount32((uint32_t)(x >> 32)); }

#include "export/own_math.inc"
#include "cpu/gamma.inc"
#include "native/elements.c"

/* ---- random bits ------------------------------------------------------------------------------------------ */

static uint32_t rotate(uint32_t x, int r) { return x << r | x >> (32 - r); }

/* Threefry-2x32, 20 rounds: a, b are the counter, then its hash.  Source: Salmon et al. 2011. */
static void threefry(const uint32_t *key, uint32_t *a, uint32_t *b) {
  static const unsigned char turn[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
  const uint32_t k[3] = {key[0], key[1], key[0] ^ key[1] ^ 0x1BD11BDAu};
  uint32_t x = *a + k[0], y = *b + k[1];
  for (uint32_t i = 0; i < 5; i++) {
    for (int r = 0; r < 4; r++) {
      x += y;
      y = rotate(y, turn[i % 2][r]) ^ x;
    }
    x += k[(i + 1) % 3];
    y += k[(i + 2) % 3] + i + 1;
  }
  *a = x;
  *b = y;
}

/* Word i of keys of `words` words each; 0: one key. */
static uint32_t k_random_bits_u32(const uint32_t *keys, int32_t words, int32_t i) {
  uint32_t a = 0, b = (uint32_t)(words ? i % words : i);
  threefry(words ? keys + 2 * (i / words) : keys, &a, &b);
  return a ^ b;
}
static int64_t k_random_bits_i64(const uint32_t *keys, int32_t words, int32_t i) {
  uint32_t a = 0, b = (uint32_t)(words ? i % words : i);
  threefry(words ? keys + 2 * (i / words) : keys, &a, &b);
  return (int64_t)((uint64_t)a << 32 | b);
}

/* n new keys of each of `count`. */
static void random_split(uint32_t *z, const uint32_t *keys, int32_t count, int32_t n) {
  for (int32_t c = 0; c < count; c++)
    for (int32_t i = 0; i < n; i++, z += 2) {
      z[0] = 0;
      z[1] = (uint32_t)i;
      threefry(keys + 2 * c, &z[0], &z[1]);
    }
}

static void random_fold_in(uint32_t *z, const uint32_t *keys, const uint32_t *x, int32_t count) {
  for (int32_t c = 0; c < count; c++) {
    uint32_t a = 0, b = x[c];
    threefry(keys + 2 * c, &a, &b);
    z[2 * c] = a;
    z[2 * c + 1] = b;
  }
}

/* Integers in [lo, hi), n of each key: (high 2^bits + low) mod span. */
#define RANDOM_INT(code, T, U, bits, half)                                                                              \
  static void CAT(random_int_, code)(T *z, const uint32_t *keys, const T *lo, const T *hi, int32_t count, int32_t n) {  \
    for (int32_t c = 0; c < count; c++) {                                                                               \
      const U span = hi[c] <= lo[c] ? 1 : (U)hi[c] - (U)lo[c], root = ((U)1 << half) % span;                            \
      const U multiplier = (U)(root * root) % span;                                                                     \
      uint32_t halves[4];                                                                                               \
      random_split(halves, keys + 2 * c, 1, 2);                                                                         \
      for (int32_t i = 0; i < n; i++) {                                                                                 \
        const U high = (U)bits(halves, 0, i) % span * multiplier, offset = high + (U)bits(halves + 2, 0, i) % span;     \
        *z++ = (T)((U)lo[c] + offset % span);                                                                           \
      }                                                                                                                 \
    }                                                                                                                   \
  }
RANDOM_INT(i32, int32_t, uint32_t, k_random_bits_u32, 16)
RANDOM_INT(i64, int64_t, uint64_t, k_random_bits_i64, 32)

/* ---- what a kernel is told of its operands ------------------------------------------------------------------ */

typedef struct around { /* the extents around one axis */
  int32_t outer, n, inner;
} around;

/* x[outer, n, inner] at m places; each: the index has one entry for every place and inner element, else for every place.  The part
** of block o starts where the outer axes say: extents, and steps in entries. */
typedef struct indexing {
  int32_t outer, n, inner, m, each, n_axes, extent[8], step[8];
} indexing;

static int32_t index_start(const indexing *g, int32_t o) {
  int32_t at = 0;
  for (int32_t k = g->n_axes - 1; k > 0; k--) {
    at += o % g->extent[k] * g->step[k];
    o /= g->extent[k];
  }
  return g->n_axes > 0 ? at + o * g->step[0] : at;
}

static bool outside_i32(const int32_t *index, int32_t count, int32_t extent) {
  for (int32_t k = 0; k < count; k++)
    if (index[k] < 0 || index[k] >= extent) return true;
  return false;
}
static bool outside_i64(const int64_t *index, int32_t count, int32_t extent) {
  for (int32_t k = 0; k < count; k++)
    if (index[k] < 0 || index[k] >= extent) return true;
  return false;
}
static bool any_of(const unsigned char *p, int32_t n) {
  for (int32_t k = 0; k < n; k++)
    if (p[k]) return true;
  return false;
}
/* Where a slice of `part` elements of `whole` begins. */
static int32_t clamped(int32_t start, int32_t whole, int32_t part) { return start > whole - part ? whole - part : start < 0 ? 0 : start; }

/* z[b, i, j] = sum over p of x[b, i, p] y[b, p, j], with these strides. */
typedef struct matmul {
  int32_t batch, m, n, k, xb, xi, xp, yb, yp, yj, zb, ldz;
} matmul;

/* A sparse matrix by rows: of `fan` entries each, or of ptr[i] .. ptr[i + 1]; same: one weight for all entries; places: of the
** weights of entries, where the matrix is stored the other way. */
typedef struct sparse {
  int32_t rows, cols, fan, same;
  const int32_t *ptr, *places;
} sparse;
static int32_t row_of(const sparse *a, int32_t i) { return a->ptr ? a->ptr[i] : i * a->fan; }

/* A matrix that is made again from a seed: see event_jitc.c.  scale: 1 / ln(1 - prob); weight: of synapse t of a row. */
typedef struct seeded {
  int32_t rows, cols;
  double prob, scale;
  double (*weight)(const uint32_t *key, int32_t row, uint32_t t, double p0, double p1);
} seeded;

/* ln x for 0 < x <= 1: by + * / alone. */
#include "cpu/seeded_ln.inc"
static double seeded_scalar(const uint32_t *key, int32_t row, uint32_t t, double p0, double p1) {
  (void)key, (void)row, (void)t, (void)p1;
  return p0;
}
static double seeded_uniform(const uint32_t *key, int32_t row, uint32_t t, double p0, double p1) {
  uint32_t even = (uint32_t)row, odd = t / 2 | 0x80000000u;
  threefry(key, &even, &odd);
  return p0 + (p1 - p0) * (0x1p-32 * (double)(t & 1 ? odd : even));
}
static double seeded_normal(const uint32_t *key, int32_t row, uint32_t t, double p0, double p1) {
  uint32_t even = (uint32_t)row, odd = t / 2 | 0x80000000u;
  threefry(key, &even, &odd);
  const double size = p1 * __builtin_sqrt(-2 * seeded_ln(((double)even + 1) * 0x1p-32));
  const double angle = 6.283185307179586477 * 0x1p-32 * (double)odd;
  return p0 + size * (t & 1 ? __builtin_sin(angle) : __builtin_cos(angle));
}

/* x[batch, in.., c_in] with filter[taps.., c_in/groups, c_out]; of the results of an image in the last block of `block`
** positions and in the others before it, are multiplications and additions fused? */
typedef struct window {
  int32_t batch, c_in, c_out, groups, in[3], taps[3], out[3], stride[3], lo[3], gap[3], step[3], block, fused, last_fused;
} window;

/* A trace [lanes, states, rows, inputs, outputs] (cpu/etrace.h). */
typedef struct trace {
  int32_t lanes, states, rows, inputs, outputs, groups;
} trace;

#define DT b8
#define T bool
#define MEM unsigned char
#define IS_FLOAT 0
#define IS_SIGNED 1
#include "export/device_any.inc"
#include "export/device_bool.inc"
#undef DT
#undef T
#undef MEM
#define DT i32
#define T int32_t
#define MEM int32_t
#include "export/device_any.inc"
#include "export/device_number.inc"
#undef DT
#undef T
#undef MEM
#define DT i64
#define T int64_t
#define MEM int64_t
#include "export/device_any.inc"
#include "export/device_number.inc"
#undef DT
#undef T
#undef MEM
#undef IS_SIGNED
#define IS_SIGNED 0
#define DT u32
#define T uint32_t
#define MEM uint32_t
#include "export/device_any.inc"
#include "export/device_number.inc"
#undef DT
#undef T
#undef MEM
#undef IS_FLOAT
#define IS_FLOAT 1
#define DT f32
#define T float
#define MEM float
#define FUSED __builtin_fmaf
#define U uint32_t
#define WIDTH 32
#define LIBM(name) __builtin_##name##f
#define OWN_POW own_powf
#include "export/own_pow.inc"
#include "export/device_any.inc"
#include "export/device_number.inc"
#include "export/device_float.inc"
#undef OWN_POW
#undef LIBM
#undef WIDTH
#undef U
#undef FUSED
#undef DT
#undef T
#undef MEM
#define DT f64
#define T double
#define MEM double
#define FUSED __builtin_fma
#define U uint64_t
#define WIDTH 64
#define LIBM(name) __builtin_##name
#define OWN_POW own_pow
#include "export/own_pow.inc"
#include "export/device_any.inc"
#include "export/device_number.inc"
#include "export/device_float.inc"

/*
** tile_isa.c -- the element kernels of one instruction set.  Compiled once each, with
**   -DBDL_ISA=x86_64                                                             (any x86-64)
**   -DBDL_ISA=avx2    -mavx2 -mfma -mprefer-vector-width=256
**   -DBDL_ISA=avx512  -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mprefer-vector-width=512
**   -DBDL_ISA=aarch64                                                            (any aarch64)
**   -DBDL_ISA=generic                                                            (libm in place of SLEEF)
** and everywhere -O3 -fno-math-errno -fno-trapping-math -ffp-contract=off.
**
**   tile_simd.h       vectors, names of SLEEF, what compilers vectorise badly
**   tile_math.inc     exp, expm1, exprel, .. of one float type
**   tile_float.inc, tile_int.inc, tile_bool.inc   rows, one an operation
**   tile_dtypes.inc   the rows for each dtype; read twice: definitions, then the table
**
** Loops are plain C over arrays that are equal or disjoint, which VECTOR says to the compiler.  The scalar tail of such
** a loop gives the same bits as its body, because contraction is off and fma explicit.
*/
#include "cpu/tile.h"

#include "cpu/tile_simd.h"

#define FN(name) CAT(CAT(name, _), DT)               /* exp_f32 */
#define V CAT(v, DT)                                 /* vector, pack of vectors, vector of unsigned */
#define ZERO (V){0}
#define P CAT(p, DT)
#define VU CAT(vu, WIDTH)
#define NAME(op, form) CAT(CAT(k_##op##_, DT), form) /* k_add_f32_aa */

/* x_, y_, w_: as passed; the rows speak of elements x, y, w. */
#define ARGS void *z_, const void *x_, const void *y_, const void *w_, int64_t n, int64_t i0
#define UNUSED (void)x_, (void)y_, (void)w_, (void)n, (void)i0

/* An operand is `a` an array or `s` one element. */
#define OPEN_a(type, v) const type *CAT(v, p) = CAT(v, _);
#define OPEN_s(type, v) const type v = *(const type *)CAT(v, _);
#define ELEM_a(type, v) const type v = CAT(v, p)[i];
#define ELEM_s(type, v)

#define LOOP1(name, R, ...)                  \
  static void name(ARGS) {                   \
    UNUSED;                                  \
    R *zp = z_;                              \
    const T *xp = x_;                        \
    VECTOR for (int64_t i = 0; i < n; i++) { \
      const T x = xp[i];                     \
      zp[i] = (R)(__VA_ARGS__);              \
    }                                        \
  }
#define LOOP2(name, fx, fy, R, ...)          \
  static void name(ARGS) {                   \
    UNUSED;                                  \
    R *zp = z_;                              \
    OPEN_##fx(T, x) OPEN_##fy(T, y)          \
    VECTOR for (int64_t i = 0; i < n; i++) { \
      ELEM_##fx(T, x) ELEM_##fy(T, y)        \
      zp[i] = (R)(__VA_ARGS__);              \
    }                                        \
  }
#define LOOP3(name, fx, fy, fw, ...)         \
  static void name(ARGS) {                   \
    UNUSED;                                  \
    T *zp = z_;                              \
    OPEN_##fx(T, x) OPEN_##fy(T, y) OPEN_##fw(T, w) \
    VECTOR for (int64_t i = 0; i < n; i++) { \
      ELEM_##fx(T, x) ELEM_##fy(T, y) ELEM_##fw(T, w) \
      zp[i] = (T)(__VA_ARGS__);              \
    }                                        \
  }

/* Functions f of vectors (K = v) or packs of them (K = p).  The tail goes through a padded one, so that the bits of an
** element do not depend on its position. */
#define TYPE(K) CAT(K, DT)
#define LOAD(K, p) CAT(load_, TYPE(K))(p)
#define STORE(K, p, z) CAT(store_, TYPE(K))(p, z)
#define VOPEN_a(K, v) const T *CAT(v, p) = CAT(v, _);
#define VOPEN_s(K, v)                                              \
  T CAT(v, t)[LANES];                                              \
  for (int j = 0; j < LANES; j++) CAT(v, t)[j] = *(const T *)CAT(v, _); \
  const TYPE(K) v = LOAD(K, CAT(v, t));
#define VELEM_a(K, v) const TYPE(K) v = LOAD(K, CAT(v, p) + i);
#define VELEM_s(K, v)
#define VREST_a(K, v)                \
  T CAT(v, t)[LANES] = {0};          \
  memcpy(CAT(v, t), CAT(v, p) + i, rest); \
  const TYPE(K) v = LOAD(K, CAT(v, t));
#define VREST_s(K, v)
#define VLOOP(name, K, open, elem, rest_, ...)                             \
  static void name(ARGS) {                                                 \
    UNUSED;                                                                \
    enum { LANES = sizeof(TYPE(K)) / sizeof(T) };                          \
    T *zp = z_;                                                            \
    int64_t i = 0;                                                         \
    open for (; i + LANES <= n; i += LANES) {                              \
      elem STORE(K, zp + i, __VA_ARGS__);                                  \
    }                                                                      \
    if (i < n) {                                                           \
      const size_t rest = (size_t)(n - i) * sizeof(T);                     \
      T z[LANES];                                                          \
      rest_ STORE(K, z, __VA_ARGS__);                                      \
      memcpy(zp + i, z, rest);                                             \
    }                                                                      \
  }
#define VLOOP1(name, K, f) VLOOP(name, K, VOPEN_a(K, x), VELEM_a(K, x), VREST_a(K, x), f(x))
#define VLOOP2(name, K, fx, fy, f) \
  VLOOP(name, K, VOPEN_##fx(K, x) VOPEN_##fy(K, y), VELEM_##fx(K, x) VELEM_##fy(K, y), VREST_##fx(K, x) VREST_##fy(K, y), f(x, y))
#define VLOOP3(name, K, fx, fy, fw, f)                             \
  VLOOP(name, K, VOPEN_##fx(K, x) VOPEN_##fy(K, y) VOPEN_##fw(K, w), \
        VELEM_##fx(K, x) VELEM_##fy(K, y) VELEM_##fw(K, w),        \
        VREST_##fx(K, x) VREST_##fy(K, y) VREST_##fw(K, w), f(x, y, w))

/* ---- any dtype, by size of its elements -------------------------------------------------------- */

#define BYTES(size, type)                                                        \
  static void k_copy_##size(ARGS) {                                              \
    UNUSED;                                                                      \
    memmove(z_, x_, (size_t)n * size);                                           \
  }                                                                              \
  static void k_splat_##size(ARGS) {                                             \
    UNUSED;                                                                      \
    type *zp = z_;                                                               \
    const type x = *(const type *)x_;                                            \
    for (int64_t i = 0; i < n; i++) zp[i] = x;                                   \
  }                                                                              \
  SELECT(size, type, a, a) SELECT(size, type, s, a) SELECT(size, type, a, s) SELECT(size, type, s, s)
typedef uint32_t __attribute__((may_alias)) any_4;
typedef uint64_t __attribute__((may_alias)) any_8;
BYTES(1, uint8_t)
BYTES(4, any_4)
BYTES(8, any_8)

/* ---- random bits -------------------------------------------------------------------------------- */

/* Threefry-2x32, 20 rounds, of counters (a, b); K(w): word w of the key schedule for vector j.
** Source: Salmon et al. 2011, with the key schedule of JAX. */
#define THREEFRY(name, key_type, K)                                       \
  INLINE void name(const key_type *key, vu32 *a, vu32 *b) {               \
    INJECT(K, 0)                                                          \
    ROUND(13) ROUND(15) ROUND(26) ROUND(6) INJECT(K, 1)                   \
    ROUND(17) ROUND(29) ROUND(16) ROUND(24) INJECT(K, 2)                  \
    ROUND(13) ROUND(15) ROUND(26) ROUND(6) INJECT(K, 3)                   \
    ROUND(17) ROUND(29) ROUND(16) ROUND(24) INJECT(K, 4)                  \
    ROUND(13) ROUND(15) ROUND(26) ROUND(6) INJECT(K, 5)                   \
  }
#define ROUND(d) EACH a[j] += b[j], b[j] = ROTL(b[j], d) ^ a[j];
#define INJECT(K, g) EACH a[j] += K((g) % 3), b[j] += K(((g) + 1) % 3) + (g);
#define SCHEDULE UINT32_C(0x1BD11BDA)
#define ONE_KEY(w) ((w) == 2 ? key[0] ^ key[1] ^ SCHEDULE : key[(w) % 2])
#define OWN_KEY(w) ((w) == 2 ? key[0].v[j] ^ key[1].v[j] ^ SCHEDULE : key[(w) % 2].v[j])
THREEFRY(threefry, uint32_t, ONE_KEY)
THREEFRY(threefry_keys, pu32, OWN_KEY)
#undef OWN_KEY
#undef ONE_KEY
#undef SCHEDULE
#undef INJECT
#undef ROUND

/* Words of the 64-bit counters c + i under one key; and, where keys change within a block, of the counters i0 + i mod `words`
** under the keys in turn.  A counter is split into (high, low). */
#define RANDOM(name, type, word)                                                                  \
  static void name##_run(type *zp, const uint32_t *key, uint64_t from, int64_t n) {               \
    enum { LANES = VECTOR_SIZE / 4, BLOCK = PACK * LANES };                                       \
    for (int64_t i = 0; i < n; i += BLOCK) {                                                      \
      const uint64_t c = from + (uint64_t)i;                                                      \
      uint32_t hi[BLOCK], lo[BLOCK];                                                              \
      for (int j = 0; j < BLOCK; j++) lo[j] = (uint32_t)c + (uint32_t)j;                          \
      for (int j = 0; j < BLOCK; j++) hi[j] = (uint32_t)(c >> 32) + (lo[j] < (uint32_t)c);        \
      pu32 a = load_pu32(hi), b = load_pu32(lo);                                                  \
      threefry(key, a.v, b.v);                                                                    \
      store_pu32(hi, a), store_pu32(lo, b);                                                       \
      const int m = (int)BDL_MIN(n - i, BLOCK);                                                   \
      type z[BLOCK];                                                                              \
      for (int j = 0; j < BLOCK; j++) z[j] = word;                                                \
      memcpy(zp + i, z, (size_t)m * sizeof z[0]);                                                 \
    }                                                                                             \
  }                                                                                               \
  static void name##_short(type *zp, const uint32_t *keys, int64_t words, int64_t n, int64_t i0) { \
    enum { LANES = VECTOR_SIZE / 4, BLOCK = PACK * LANES };                                       \
    int64_t lane = i0 / words, c = i0 % words;                                                    \
    for (int64_t i = 0; i < n; i += BLOCK) {                                                      \
      const int m = (int)BDL_MIN(n - i, BLOCK);                                                   \
      uint32_t hi[BLOCK] = {0}, lo[BLOCK] = {0}, k0[BLOCK] = {0}, k1[BLOCK] = {0};                \
      for (int j = 0; j < m; j++) {                                                               \
        lo[j] = (uint32_t)c;                                                                      \
        k0[j] = keys[2 * lane], k1[j] = keys[2 * lane + 1];                                       \
        if (++c == words) c = 0, lane++;                                                          \
      }                                                                                           \
      const pu32 key[2] = {load_pu32(k0), load_pu32(k1)};                                         \
      pu32 a = load_pu32(hi), b = load_pu32(lo);                                                  \
      threefry_keys(key, a.v, b.v);                                                               \
      store_pu32(hi, a), store_pu32(lo, b);                                                       \
      type z[BLOCK];                                                                              \
      for (int j = 0; j < BLOCK; j++) z[j] = word;                                                \
      memcpy(zp + i, z, (size_t)m * sizeof z[0]);                                                 \
    }                                                                                             \
  }                                                                                               \
  static void name(ARGS) {                                                                        \
    UNUSED;                                                                                       \
    type *zp = z_;                                                                                \
    const uint32_t *keys = x_;                                                                    \
    const int64_t words = y_ ? *(const int64_t *)y_ : 0;                                          \
    if (words < 2 * PACK * VECTOR_SIZE / 4) {                                                     \
      if (words) name##_short(zp, keys, words, n, i0);                                            \
      else name##_run(zp, keys, (uint64_t)i0, n);                                                 \
      return;                                                                                     \
    }                                                                                             \
    for (int64_t i = 0, m; i < n; i += m) {                                                       \
      const int64_t lane = (i0 + i) / words, c = (i0 + i) % words;                                \
      m = BDL_MIN(n - i, words - c);                                                              \
      name##_run(zp + i, keys + 2 * lane, (uint64_t)c, m);                                        \
    }                                                                                             \
  }
RANDOM(k_random_bits_u32, uint32_t, hi[j] ^ lo[j])
RANDOM(k_random_bits_i64, uint64_t, (uint64_t)hi[j] << 32 | lo[j])

#include "cpu/gamma.inc"

/* ---- operations by dtype ------------------------------------------------------------------------- */

/* UN (op, result type, expression)   BIN, TRI, CLAMP (op, expression)   CMP (op, operator)
** FUN, FUN2 (op, function of SLEEF and libm, tenths of ulp)   OUR, OUR2, OUR3 (op, function of packs)
** RED (name, identity, ANY or NAN_WINS, expression of x and y)   CAST (to, result type, expression)
** LIB, LIB2 (op, expression), LONG (op, function of packs): as UN, BIN, OUR; native code calls the loop, these are not for it to inline
** OWN (op): k_<op>_<dtype> is written out in the family's file; OWN2: same, of form Y.  BITS(size): what BYTES made. */
#define DEFINE 1
#define LOOPS 1
#define OWN(op)
#define OWN2(op)
#define BITS(size)
#define UN(op, R, ...) LOOP1(NAME(op, ), R, __VA_ARGS__)
#define BIN(op, ...)                     \
  LOOP2(NAME(op, _aa), a, a, T, __VA_ARGS__) \
  LOOP2(NAME(op, _sa), s, a, T, __VA_ARGS__) \
  LOOP2(NAME(op, _as), a, s, T, __VA_ARGS__)
#define CMP(op, o)              \
  COMPARE(NAME(op, _aa), a, a, o) \
  COMPARE(NAME(op, _sa), s, a, o) \
  COMPARE(NAME(op, _as), a, s, o)
#define CLAMP(op, ...)                      \
  LOOP3(NAME(op, _aaa), a, a, a, __VA_ARGS__) \
  LOOP3(NAME(op, _saa), s, a, a, __VA_ARGS__) \
  LOOP3(NAME(op, _aas), a, a, s, __VA_ARGS__) \
  LOOP3(NAME(op, _sas), s, a, s, __VA_ARGS__)
#define TRI(op, ...)                          \
  LOOP3(NAME(op, _aaa), a, a, a, __VA_ARGS__) \
  LOOP3(NAME(op, _saa), s, a, a, __VA_ARGS__) \
  LOOP3(NAME(op, _asa), a, s, a, __VA_ARGS__) \
  LOOP3(NAME(op, _aas), a, a, s, __VA_ARGS__) \
  LOOP3(NAME(op, _sas), s, a, s, __VA_ARGS__) \
  LOOP3(NAME(op, _ass), a, s, s, __VA_ARGS__)
#if ISA == ISA_IS_generic
#define FUN(op, f, ulp) UN(op, T, LIBM(f)(x))
#define FUN2(op, f, ulp) BIN(op, LIBM(f)(x, y))
#else
#define SLEEF(f, ulp) CAT(SLEEF_, DT)(f, ulp)
#define FUN(op, f, ulp) VLOOP1(NAME(op, ), v, SLEEF(f, ulp))
#define FUN2(op, f, ulp)                         \
  VLOOP2(NAME(op, _aa), v, a, a, SLEEF(f, ulp)) \
  VLOOP2(NAME(op, _sa), v, s, a, SLEEF(f, ulp)) \
  VLOOP2(NAME(op, _as), v, a, s, SLEEF(f, ulp))
#endif
#define OUR(op, f) VLOOP1(NAME(op, ), p, f)
#define LONG OUR
#define LIB(op, ...) UN(op, T, __VA_ARGS__)
#define LIB2 BIN
#define OUR2(op, f)                 \
  VLOOP2(NAME(op, _aa), p, a, a, f) \
  VLOOP2(NAME(op, _sa), p, s, a, f) \
  VLOOP2(NAME(op, _as), p, a, s, f)
#define OUR3(op, f)                     \
  VLOOP3(NAME(op, _aaa), p, a, a, a, f) \
  VLOOP3(NAME(op, _saa), p, s, a, a, f) \
  VLOOP3(NAME(op, _aas), p, a, a, s, f) \
  VLOOP3(NAME(op, _sas), p, s, a, s, f)
#define CAST(to, R, ...) LOOP1(NAME(cast, _##to), R, __VA_ARGS__)
#define RED(op, identity, nan_wins, ...)                                                 \
  static inline T FN(red_##op)(T x, T y) { return (T)(__VA_ARGS__); }                    \
  static void NAME(reduce_##op, )(void *acc, const void *x_, int64_t n) {                \
    const T *x = x_;                                                                     \
    T p[16];                                                                             \
    int64_t i = 0;                                                                       \
    nan_wins for (int j = 0; j < 16; j++) p[j] = identity;                               \
    for (; i + 16 <= n; i += 16)                                                         \
      for (int j = 0; j < 16; j++) p[j] = FN(red_##op)(p[j], x[i + j]);                  \
    for (int j = 0; i + j < n; j++) p[j] = FN(red_##op)(p[j], x[i + j]);                 \
    for (int half = 8; half > 0; half /= 2)                                              \
      for (int j = 0; j < half; j++) p[j] = FN(red_##op)(p[j], p[j + half]);             \
    *(T *)acc = p[0];                                                                    \
  }                                                                                      \
  static void NAME(combine_##op, )(void *acc, const void *partial, int64_t n) {          \
    const T *x = partial;                                                                \
    nan_wins T a = x[0];                                                                 \
    for (int64_t i = 1; i < n; i++) a = FN(red_##op)(a, x[i]);                           \
    *(T *)acc = a;                                                                       \
  }
#define ANY
#define NAN_WINS                                        \
  int nan = 0;                                          \
  for (int64_t k = 0; k < n; k++) nan |= x[k] != x[k];  \
  if (nan) {                                            \
    *(T *)acc = (T)NAN;                                 \
    return;                                             \
  }
#include "cpu/tile_dtypes.inc"

/* ---- the table ------------------------------------------------------------------------------------ */

#undef DEFINE
#undef LOOPS
#undef OWN
#undef OWN2
#undef BITS
#undef UN
#undef BIN
#undef CMP
#undef CLAMP
#undef TRI
#undef FUN
#undef FUN2
#undef OUR
#undef OUR2
#undef OUR3
#undef LONG
#undef LIB
#undef LIB2
#undef CAST
#undef RED
#define ROW(op, form) .tile[BDL_TILE_##op][D][form]
#define OWN(op) ROW(op, 0) = NAME(op, ),
#define OWN2(op) ROW(op, BDL_FORM_Y) = NAME(op, ),
#define UN(op, ...) ROW(op, 0) = NAME(op, ),
#define BIN(op, ...) \
  ROW(op, 0) = NAME(op, _aa), ROW(op, BDL_FORM_X) = NAME(op, _sa), ROW(op, BDL_FORM_Y) = NAME(op, _as),
#define CMP BIN
#define CLAMP(op, ...)                                                        \
  ROW(op, 0) = NAME(op, _aaa), ROW(op, BDL_FORM_X) = NAME(op, _saa),          \
  ROW(op, BDL_FORM_W) = NAME(op, _aas), ROW(op, BDL_FORM_X | BDL_FORM_W) = NAME(op, _sas),
#define TRI(op, ...)                                                                                          \
  ROW(op, 0) = NAME(op, _aaa), ROW(op, BDL_FORM_X) = NAME(op, _saa), ROW(op, BDL_FORM_Y) = NAME(op, _asa),    \
  ROW(op, BDL_FORM_W) = NAME(op, _aas), ROW(op, BDL_FORM_X | BDL_FORM_W) = NAME(op, _sas),                    \
  ROW(op, BDL_FORM_Y | BDL_FORM_W) = NAME(op, _ass),
#define FUN UN
#define FUN2 BIN
#define OUR UN
#define OUR2 BIN
#define OUR3 CLAMP
#define LONG UN
#define LIB UN
#define LIB2 BIN
#define CAST(to, ...) .cast[D][CAT(CODE_, to)] = NAME(cast, _##to),
#define RED(op, ...) .reduce[CAT(RED_, op)][D] = NAME(reduce_##op, ), .combine[CAT(RED_, op)][D] = NAME(combine_##op, ),
#define BITS(size)                                                                                         \
  ROW(splat, 0) = k_splat_##size, ROW(copy, 0) = k_copy_##size, ROW(stop_gradient, 0) = k_copy_##size,     \
  ROW(bitcast, 0) = k_copy_##size, ROW(select, 0) = k_select_##size##_aaa,                                 \
  ROW(select, BDL_FORM_Y) = k_select_##size##_asa, ROW(select, BDL_FORM_W) = k_select_##size##_aas,        \
  ROW(select, BDL_FORM_Y | BDL_FORM_W) = k_select_##size##_ass, .compact[D] = NAME(compact, ),

#define RED_sum BDL_RED_SUM
#define RED_prod BDL_RED_PROD
#define RED_max BDL_RED_MAX
#define RED_min BDL_RED_MIN
#define RED_and BDL_RED_AND
#define RED_or BDL_RED_OR
#define CODE_b8 BDL_BOOL
#define CODE_i32 BDL_I32
#define CODE_i64 BDL_I64
#define CODE_u32 BDL_U32
#define CODE_f32 BDL_F32
#define CODE_f64 BDL_F64

/* in etrace_isa.c */
void CAT(bdl_k_etrace_f32_, BDL_ISA)(const struct bdl_k_etrace *t, const struct bdl_k_etrace_block *b);
void CAT(bdl_k_etrace_f64_, BDL_ISA)(const struct bdl_k_etrace *t, const struct bdl_k_etrace_block *b);
/* in gemm_isa.c */
extern const struct bdl_k_packer CAT(bdl_k_packer_f32_, BDL_ISA), CAT(bdl_k_packer_f64_, BDL_ISA);
void CAT(bdl_k_gemm_f32_, BDL_ISA)(void *z, const void *x, const void *y, const struct bdl_k_matmul *g);
void CAT(bdl_k_gemm_f64_, BDL_ISA)(void *z, const void *x, const void *y, const struct bdl_k_matmul *g);

/* in row_isa.c */
void CAT(bdl_k_row_f32_, BDL_ISA)(const struct bdl_k_row *r);
void CAT(bdl_k_row_f64_, BDL_ISA)(const struct bdl_k_row *r);

/* in peak_isa.c */
double CAT(bdl_k_peak_, BDL_ISA)(int64_t rounds, float *seed);

extern const bdl_k_table CAT(bdl_k_tile_, BDL_ISA);
const bdl_k_table CAT(bdl_k_tile_, BDL_ISA) = {
  .isa = ISA_NAME,
  .etrace = {[BDL_F32] = CAT(bdl_k_etrace_f32_, BDL_ISA), [BDL_F64] = CAT(bdl_k_etrace_f64_, BDL_ISA)},
  .row = {[BDL_F32] = CAT(bdl_k_row_f32_, BDL_ISA), [BDL_F64] = CAT(bdl_k_row_f64_, BDL_ISA)},
  .packer = {[BDL_F32] = &CAT(bdl_k_packer_f32_, BDL_ISA), [BDL_F64] = &CAT(bdl_k_packer_f64_, BDL_ISA)},
  .gemm = {[BDL_F32] = CAT(bdl_k_gemm_f32_, BDL_ISA), [BDL_F64] = CAT(bdl_k_gemm_f64_, BDL_ISA)},
  .peak = CAT(bdl_k_peak_, BDL_ISA),
#include "cpu/tile_dtypes.inc"
};

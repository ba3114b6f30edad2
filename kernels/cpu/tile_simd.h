/*
** tile_simd.h -- what an instruction set gives to tile_isa.c: vectors, the functions of SLEEF on them, a few operations
** that C has not, and the two loops on which compilers do badly: comparison into bool bytes, selection by bool bytes.
*/
#ifndef BDL_K_TILE_SIMD_H
#define BDL_K_TILE_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)

#define ISA_IS_x86_64 1
#define ISA_IS_avx2 2
#define ISA_IS_avx512 3
#define ISA_IS_aarch64 4
#define ISA_IS_generic 5
#define ISA CAT(ISA_IS_, BDL_ISA)

/* Instrumented code is not to be unrolled: it would take minutes to compile. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif

/* The arrays of a loop are equal or disjoint, and the loop is worth vectors. */
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed" /* loops over libm and division stay scalar */
#define VECTOR _Pragma("clang loop vectorize(assume_safety)")
#elif defined(SANITIZED)
#define VECTOR
#else
#define VECTOR _Pragma("GCC ivdep") _Pragma("GCC unroll 4")
#endif
/* A loop of few rounds, all written out. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 64")
#endif
#define INLINE static inline __attribute__((always_inline))

/* SLEEF(f, ulp): the version of f within ulp / 10 units in the last place.  finz, cinz: the deterministic ones, with and
** without FMA; the bits of a lane do not depend on other lanes, nor on their number.
** PACK: how many vectors go through a function of ours together, so that their latencies overlap. */
#if ISA == ISA_IS_avx512
#include <immintrin.h>
#include <sleef.h>
#define ISA_NAME "avx512"
#define VECTOR_SIZE 64
#define PACK 4
typedef __m512 vf32;
typedef __m512d vf64;
#define SLEEF_f32(f, ulp) Sleef_finz_##f##f16_u##ulp##avx512f
#define SLEEF_f64(f, ulp) Sleef_finz_##f##d8_u##ulp##avx512f
#define FMA_f32 _mm512_fmadd_ps
#define FMA_f64 _mm512_fmadd_pd
#define MIN_f32 _mm512_min_ps
#define MIN_f64 _mm512_min_pd
#define MAX_f32 _mm512_max_ps
#define MAX_f64 _mm512_max_pd
#define SQRT_f32 _mm512_sqrt_ps
#define SQRT_f64 _mm512_sqrt_pd
#define IF_f32(test, a, b, x, y) _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, test), y, x)
#define IF_f64(test, a, b, x, y) _mm512_mask_blend_pd(_mm512_cmp_pd_mask(a, b, test), y, x)
#elif ISA == ISA_IS_avx2
#include <immintrin.h>
#include <sleef.h>
#define ISA_NAME "avx2"
#define VECTOR_SIZE 32
#define PACK 4
typedef __m256 vf32;
typedef __m256d vf64;
#define SLEEF_f32(f, ulp) Sleef_finz_##f##f8_u##ulp##avx2
#define SLEEF_f64(f, ulp) Sleef_finz_##f##d4_u##ulp##avx2
#define FMA_f32 _mm256_fmadd_ps
#define FMA_f64 _mm256_fmadd_pd
#define MIN_f32 _mm256_min_ps
#define MIN_f64 _mm256_min_pd
#define MAX_f32 _mm256_max_ps
#define MAX_f64 _mm256_max_pd
#define SQRT_f32 _mm256_sqrt_ps
#define SQRT_f64 _mm256_sqrt_pd
#define IF_f32(test, a, b, x, y) _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, test))
#define IF_f64(test, a, b, x, y) _mm256_blendv_pd(y, x, _mm256_cmp_pd(a, b, test))
#elif ISA == ISA_IS_x86_64
#include <emmintrin.h>
#include <sleef.h>
#define ISA_NAME "x86-64"
#define VECTOR_SIZE 16
#define PACK 2
typedef __m128 vf32;
typedef __m128d vf64;
#define SLEEF_f32(f, ulp) Sleef_cinz_##f##f4_u##ulp##sse2
#define SLEEF_f64(f, ulp) Sleef_cinz_##f##d2_u##ulp##sse2
#define MIN_f32 _mm_min_ps
#define MIN_f64 _mm_min_pd
#define MAX_f32 _mm_max_ps
#define MAX_f64 _mm_max_pd
#define SQRT_f32 _mm_sqrt_ps
#define SQRT_f64 _mm_sqrt_pd
#elif ISA == ISA_IS_aarch64
#include <arm_neon.h>
#include <sleef.h>
#define ISA_NAME "aarch64"
#define VECTOR_SIZE 16
#define PACK 4
typedef float32x4_t vf32;
typedef float64x2_t vf64;
#define SLEEF_f32(f, ulp) Sleef_finz_##f##f4_u##ulp##advsimd
#define SLEEF_f64(f, ulp) Sleef_finz_##f##d2_u##ulp##advsimd
#define FMA_f32(a, b, c) vfmaq_f32(c, a, b)
#define FMA_f64(a, b, c) vfmaq_f64(c, a, b)
#define SQRT_f32 vsqrtq_f32
#define SQRT_f64 vsqrtq_f64
#else
#define ISA_NAME "generic"
#define VECTOR_SIZE 16
#define PACK 1
typedef float vf32 __attribute__((vector_size(16)));
typedef double vf64 __attribute__((vector_size(16)));
#endif
#ifdef SANITIZED
#undef PACK
#define PACK 1
#endif

/* A pack, and loads and stores of both.  By vectors: a pack is never an object in memory, or compilers copy it in parts. */
#define EACH for (int j = 0; j < PACK; j++)
#define MEMORY(T, V, P)                                                                      \
  typedef V P##_any __attribute__((aligned(1), may_alias));                                  \
  typedef struct P {                                                                         \
    V v[PACK];                                                                               \
  } P;                                                                                       \
  INLINE V load_##V(const T *p) { return *(const P##_any *)p; }                              \
  INLINE void store_##V(T *p, V z) { *(P##_any *)p = z; }                                    \
  INLINE P load_##P(const T *p) {                                                            \
    P z;                                                                                     \
    EACH z.v[j] = load_##V(p + j * VECTOR_SIZE / (int)sizeof(T));                            \
    return z;                                                                                \
  }                                                                                          \
  INLINE void store_##P(T *p, P z) { EACH store_##V(p + j * VECTOR_SIZE / (int)sizeof(T), z.v[j]); }
MEMORY(float, vf32, pf32)
MEMORY(double, vf64, pf64)
typedef uint32_t vu32 __attribute__((vector_size(VECTOR_SIZE)));
typedef uint64_t vu64 __attribute__((vector_size(VECTOR_SIZE)));
typedef int32_t vi32 __attribute__((vector_size(VECTOR_SIZE)));
MEMORY(uint32_t, vu32, pu32)
#undef MEMORY

/* The bits of a vector of floats as words, and back.  HALF(n): words shifted right by one with their sign, as 32-bit words. */
#define WORDS(x) ((VU)(x))
#define FLOATS(u) ((V)(u))
#define HALF(n) ((VU)((vi32)(n) >> 1))

/* FMA: a b + c, in one rounding where there is such an instruction.  MIN: a < b ? a : b.  MAX: a > b ? a : b.
** IF (test, a, b, x, y): by lane, a test b ? x : y; tests LESS and UNORDERED (a or b is NaN). */
#ifdef IF_f32
#define LESS _CMP_LT_OQ
#define UNORDERED _CMP_UNORD_Q
#else
#define LESS(a, b) ((a) < (b))
#define UNORDERED(a, b) (((a) != (a)) | ((b) != (b)))
INLINE vf32 pick_f32(vu32 mask, vf32 x, vf32 y) { return (vf32)((mask & (vu32)x) | (~mask & (vu32)y)); }
INLINE vf64 pick_f64(vu64 mask, vf64 x, vf64 y) { return (vf64)((mask & (vu64)x) | (~mask & (vu64)y)); }
#define IF_f32(test, a, b, x, y) pick_f32((vu32)test(a, b), x, y)
#define IF_f64(test, a, b, x, y) pick_f64((vu64)test(a, b), x, y)
#endif
#ifndef FMA_f32
#define FMA_f32(a, b, c) ((a) * (b) + (c))
#define FMA_f64(a, b, c) ((a) * (b) + (c))
#endif
#ifndef SQRT_f32
INLINE vf32 SQRT_f32(vf32 a) {
  for (int j = 0; j < 4; j++) a[j] = sqrtf(a[j]);
  return a;
}
INLINE vf64 SQRT_f64(vf64 a) {
  for (int j = 0; j < 2; j++) a[j] = sqrt(a[j]);
  return a;
}
#endif
#ifndef MIN_f32
#define MIN_f32(a, b) IF_f32(LESS, a, b, a, b)
#define MIN_f64(a, b) IF_f64(LESS, a, b, a, b)
#define MAX_f32(a, b) IF_f32(LESS, b, a, a, b)
#define MAX_f64(a, b) IF_f64(LESS, b, a, a, b)
#endif

/* COMPARE(name, fx, fy, o): z[i] = x[i] o y[i], a bool byte.  T: type of x and y; fx, fy: form `a` or `s`.
** SELECT(size, type, fy, fw): k_select_<size>_a<fy><fw>, z[i] = x[i] ? y[i] : w[i], x bool bytes.
** ROTL(x, d): lanes of 32 bits rotated left. */
#if ISA == ISA_IS_avx2
#define ROTL(x, d) ((d) == 16 || (d) == 24 ? rotl_bytes(x, d) : (x) << (d) | (x) >> (32 - (d)))
INLINE vu32 rotl_bytes(vu32 x, int d) {
  const __m128i by16 = _mm_setr_epi8(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
  const __m128i by24 = _mm_setr_epi8(1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12);
  return (vu32)_mm256_shuffle_epi8((__m256i)x, _mm256_broadcastsi128_si256(d == 16 ? by16 : by24));
}

/* 32 masks of lanes, as bytes 0 and 1.  Packing keeps the 128-bit halves apart, so the last step puts them in order. */
INLINE void store_masks_4(uint8_t *z, const __m256i *m) {
  const __m256i a = _mm256_packs_epi32(m[0], m[1]), b = _mm256_packs_epi32(m[2], m[3]);
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, b), order);
  _mm256_storeu_si256((__m256i *)z, _mm256_and_si256(bytes, _mm256_set1_epi8(1)));
}
INLINE void store_masks_8(uint8_t *z, const __m256i *m) {
  const __m256i a = _mm256_packs_epi32(m[0], m[1]), b = _mm256_packs_epi32(m[2], m[3]);
  const __m256i c = _mm256_packs_epi32(m[4], m[5]), d = _mm256_packs_epi32(m[6], m[7]);
  const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
  const __m256i bits = _mm256_and_si256(bytes, _mm256_set1_epi8(1));
  const __m128i lo = _mm256_castsi256_si128(bits), hi = _mm256_extracti128_si256(bits, 1);
  _mm_storeu_si128((__m128i *)z, _mm_unpacklo_epi16(lo, hi));
  _mm_storeu_si128((__m128i *)(z + 16), _mm_unpackhi_epi16(lo, hi));
}
#define COMPARE(name, fx, fy, o)                                                   \
  INLINE void CAT(name, _32)(uint8_t *z, const T *x, const T *y) {                 \
    typedef T any __attribute__((vector_size(32), aligned(1), may_alias));         \
    __m256i m[sizeof(T)];                                                          \
    for (int j = 0; j < (int)sizeof(T); j++)                                       \
      m[j] = (__m256i)(((const any *)x)[STEP_##fx * j] o ((const any *)y)[STEP_##fy * j]); \
    if (sizeof(T) == 4) store_masks_4(z, m);                                       \
    else store_masks_8(z, m);                                                      \
  }                                                                                \
  static void name(ARGS) {                                                         \
    UNUSED;                                                                        \
    uint8_t *zp = z_;                                                              \
    const T *xp = x_, *yp = y_;                                                    \
    SPLAT_##fx(x) SPLAT_##fy(y)                                                    \
    int64_t i = 0;                                                                 \
    for (; i + 32 <= n; i += 32) CAT(name, _32)(zp + i, xp + STEP_##fx * i, yp + STEP_##fy * i); \
    if (i < n && n >= 64) { /* once more the last ones: z, where it is x, has not come so far */ \
      CAT(name, _32)(zp + n - 32, xp + STEP_##fx * (n - 32), yp + STEP_##fy * (n - 32)); \
    } else if (i < n) {                                                            \
      uint8_t t[32];                                                               \
      T a[32] = {0}, b[32] = {0};                                                  \
      memcpy(a, xp + STEP_##fx * i, (size_t)(n - i) * sizeof(T));                  \
      memcpy(b, yp + STEP_##fy * i, (size_t)(n - i) * sizeof(T));                  \
      CAT(name, _32)(t, a, b);                                                     \
      memcpy(zp + i, t, (size_t)(n - i));                                          \
    }                                                                              \
  }
#define STEP_a 1
#define STEP_s 0
#define SPLAT_a(v)
#define SPLAT_s(v)                                          \
  T CAT(v, s)[32];                                          \
  for (int j = 0; j < 32; j++) CAT(v, s)[j] = *CAT(v, p);   \
  CAT(v, p) = CAT(v, s);

INLINE __m256i select_vector_4(const uint8_t *x, __m256i y, __m256i w) {
  const __m256i m = _mm256_slli_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)x)), 31);
  return _mm256_castps_si256(_mm256_blendv_ps(_mm256_castsi256_ps(w), _mm256_castsi256_ps(y), _mm256_castsi256_ps(m)));
}
INLINE __m256i select_vector_8(const uint8_t *x, __m256i y, __m256i w) {
  int32_t four;
  memcpy(&four, x, sizeof four);
  const __m256i m = _mm256_slli_epi64(_mm256_cvtepu8_epi64(_mm_cvtsi32_si128(four)), 63);
  return _mm256_castpd_si256(_mm256_blendv_pd(_mm256_castsi256_pd(w), _mm256_castsi256_pd(y), _mm256_castsi256_pd(m)));
}
#define OPEN_V_a(size, v) const type *CAT(v, p) = CAT(v, _);
#define VECTOR_a(size, v) _mm256_loadu_si256((const __m256i *)(CAT(v, p) + i))
#define VECTOR_s(size, v) CAT(v, v)
#define SPREAD_a(size, type, v)
#define SPREAD_s(size, type, v) const __m256i CAT(v, v) = size == 4 ? _mm256_set1_epi32((int)v) : _mm256_set1_epi64x((int64_t)v);
#define SELECT_VECTORS(size, type, fy, fw)                                                   \
  static void k_select_##size##_a##fy##fw(ARGS) {                                            \
    UNUSED;                                                                                  \
    type *zp = z_;                                                                           \
    const uint8_t *xp = x_;                                                                  \
    OPEN_##fy(type, y) OPEN_##fw(type, w) SPREAD_##fy(size, type, y) SPREAD_##fw(size, type, w) \
    int64_t i = 0;                                                                           \
    _Pragma("GCC unroll 4") for (; i + 32 / size <= n; i += 32 / size)                       \
      _mm256_storeu_si256((__m256i *)(zp + i), select_vector_##size(xp + i, VECTOR_##fy(size, y), VECTOR_##fw(size, w))); \
    for (; i < n; i++) {                                                                     \
      ELEM_##fy(type, y) ELEM_##fw(type, w)                                                  \
      zp[i] = xp[i] ? y : w;                                                                 \
    }                                                                                        \
  }
#define SELECT_4 SELECT_VECTORS
#define SELECT_8 SELECT_VECTORS
#else
#define ROTL(x, d) ((x) << (d) | (x) >> (32 - (d)))
#define COMPARE(name, fx, fy, o) LOOP2(name, fx, fy, uint8_t, x o y)
#define SELECT_4 SELECT_LOOP
#define SELECT_8 SELECT_LOOP
#endif
#define SELECT_1 SELECT_LOOP
#define SELECT(size, type, fy, fw) SELECT_##size(size, type, fy, fw)
#define SELECT_LOOP(size, type, fy, fw)           \
  static void k_select_##size##_a##fy##fw(ARGS) { \
    UNUSED;                                       \
    type *zp = z_;                                \
    const uint8_t *xp = x_;                       \
    OPEN_##fy(type, y) OPEN_##fw(type, w)         \
    VECTOR for (int64_t i = 0; i < n; i++) {      \
      ELEM_##fy(type, y) ELEM_##fw(type, w)       \
      zp[i] = xp[i] ? y : w;                      \
    }                                             \
  }

/* Bit i: is p[i], of 64 bools, true? */
#if ISA == ISA_IS_avx512
INLINE uint64_t k_bits_of(const uint8_t *p) {
  const __m512i v = _mm512_loadu_si512(p);
  return _mm512_test_epi8_mask(v, v);
}
#elif ISA == ISA_IS_avx2
INLINE uint64_t k_bits_of(const uint8_t *p) {
  const __m256i lo = _mm256_loadu_si256((const __m256i *)p), hi = _mm256_loadu_si256((const __m256i *)(p + 32));
  return (uint32_t)_mm256_movemask_epi8(_mm256_slli_epi16(lo, 7)) |
         (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_slli_epi16(hi, 7)) << 32;
}
#else
INLINE uint64_t k_bits_of(const uint8_t *p) {
  uint64_t w[8], any = 0, bits = 0;
  memcpy(w, p, sizeof w);
  for (int i = 0; i < 8; i++) any |= w[i];
  for (int i = 0; any && i < 64; i++) bits |= (uint64_t)p[i] << i;
  return bits;
}
#endif

#endif

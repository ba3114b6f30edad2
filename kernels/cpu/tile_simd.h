/*
** tile_simd.h -- what an instruction set gives to tile_isa.c: vectors with their load and store, the functions of SLEEF
** on them, and the two loops on which compilers do badly: comparison into bool bytes and selection by bool bytes.
*/
#ifndef BDL_K_TILE_SIMD_H
#define BDL_K_TILE_SIMD_H

#define ISA_IS_x86_64 1
#define ISA_IS_avx2 2
#define ISA_IS_avx512 3
#define ISA_IS_aarch64 4
#define ISA_IS_generic 5
#define ISA CAT(ISA_IS_, BDL_ISA)

#if defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed" /* loops over libm and division stay scalar */
#define VECTOR _Pragma("clang loop vectorize(assume_safety)")
#else
#define VECTOR _Pragma("GCC ivdep")
#endif

/* SLEEF(f, ulp): the version of f within ulp / 10 units in the last place.  finz, cinz: the deterministic ones, with and
** without FMA; the bits of a lane do not depend on other lanes, nor on their number. */
#if ISA == ISA_IS_avx512
#include <immintrin.h>
#include <sleef.h>
#define ISA_NAME "avx512"
typedef __m512 vf32;
typedef __m512d vf64;
#define SLEEF_f32(f, ulp) Sleef_finz_##f##f16_u##ulp##avx512f
#define SLEEF_f64(f, ulp) Sleef_finz_##f##d8_u##ulp##avx512f
#elif ISA == ISA_IS_avx2
#include <immintrin.h>
#include <sleef.h>
#define ISA_NAME "avx2"
typedef __m256 vf32;
typedef __m256d vf64;
#define SLEEF_f32(f, ulp) Sleef_finz_##f##f8_u##ulp##avx2
#define SLEEF_f64(f, ulp) Sleef_finz_##f##d4_u##ulp##avx2
#elif ISA == ISA_IS_x86_64
#include <emmintrin.h>
#include <sleef.h>
#define ISA_NAME "x86-64"
typedef __m128 vf32;
typedef __m128d vf64;
#define SLEEF_f32(f, ulp) Sleef_cinz_##f##f4_u##ulp##sse2
#define SLEEF_f64(f, ulp) Sleef_cinz_##f##d2_u##ulp##sse2
#elif ISA == ISA_IS_aarch64
#include <arm_neon.h>
#include <sleef.h>
#define ISA_NAME "aarch64"
typedef float32x4_t vf32;
typedef float64x2_t vf64;
#define SLEEF_f32(f, ulp) Sleef_finz_##f##f4_u##ulp##advsimd
#define SLEEF_f64(f, ulp) Sleef_finz_##f##d2_u##ulp##advsimd
#else
#define ISA_NAME "generic"
typedef float vf32;
typedef double vf64;
#define SLEEF_f32(name, ulp) name##f
#define SLEEF_f64(name, ulp) name
#endif

#define LANES_f32 ((int)(sizeof(vf32) / sizeof(float)))
#define LANES_f64 ((int)(sizeof(vf64) / sizeof(double)))

#define ACCESS(V, name, T)                                                 \
  static inline V load_##name(const T *p) {                                \
    V v;                                                                   \
    memcpy(&v, p, sizeof v);                                               \
    return v;                                                              \
  }                                                                        \
  static inline void store_##name(T *p, V v) { memcpy(p, &v, sizeof v); }
ACCESS(vf32, f32, float)
ACCESS(vf64, f64, double)
#undef ACCESS

#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define HAS_FMA 1
#endif

/* COMPARE(name, fx, fy, o): z[i] = x[i] o y[i], a bool byte.  T: type of x and y; fx, fy: form `a` or `s`.
** SELECT(size, type, fy, fw): k_select_<size>_a<fy><fw>, z[i] = x[i] ? y[i] : w[i], x bool bytes. */
#define SELECT_LOOP(size, type, fy, fw)          \
  static void k_select_##size##_a##fy##fw(ARGS) { \
    UNUSED;                                      \
    type *zp = z_;                               \
    const uint8_t *xp = x_;                      \
    OPEN_##fy(type, y) OPEN_##fw(type, w)        \
    VECTOR for (int64_t i = 0; i < n; i++) {     \
      ELEM_##fy(type, y) ELEM_##fw(type, w)      \
      zp[i] = xp[i] ? y : w;                     \
    }                                            \
  }
#define COMPARE(name, fx, fy, o) LOOP2(name, fx, fy, uint8_t, x o y)
#define SELECT SELECT_LOOP

#endif

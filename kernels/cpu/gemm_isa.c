/*
** gemm_isa.c -- products of matrices, for one instruction set (see tile_isa.c for the flags).
*/
#include "cpu/gemm.h"

#include "cpu/tile_simd.h"

/* A register block is ROWS rows of WIDE vectors; with two vectors of y and one of x it fills 16 registers, or most of 32. */
#define WIDE 2
#if VECTOR_SIZE == 64 || ISA == ISA_IS_aarch64
#define ROWS 8
#else
#define ROWS 6
#endif

/* The lanes of a comparison as bits. */
#if ISA == ISA_IS_avx512
#define MASK_f32(test) ((unsigned)_mm512_movepi32_mask((__m512i)(test)))
#define MASK_f64(test) ((unsigned)_mm512_movepi64_mask((__m512i)(test)))
#elif ISA == ISA_IS_avx2
#define MASK_f32(test) ((unsigned)_mm256_movemask_ps((__m256)(test)))
#define MASK_f64(test) ((unsigned)_mm256_movemask_pd((__m256d)(test)))
#elif ISA == ISA_IS_x86_64
#define MASK_f32(test) ((unsigned)_mm_movemask_ps((__m128)(test)))
#define MASK_f64(test) ((unsigned)_mm_movemask_pd((__m128d)(test)))
#else
#define MASK_f32(test) mask_f32((vu32)(test))
#define MASK_f64(test) mask_f64((vu64)(test))
INLINE unsigned mask_f32(vu32 test) { return (test[0] & 1) | (test[1] & 2) | (test[2] & 4) | (test[3] & 8); }
INLINE unsigned mask_f64(vu64 test) { return (unsigned)((test[0] & 1) | (test[1] & 2)); }
#endif

/* A quarter or half of a vector. */
#if VECTOR_SIZE > 16
#define FMA_Q_f32(a, b, c) ((qf32)_mm_fmadd_ps((__m128)(a), (__m128)(b), (__m128)(c)))
#define FMA_Q_f64(a, b, c) ((qf64)_mm_fmadd_pd((__m128d)(a), (__m128d)(b), (__m128d)(c)))
#endif

/* Squares of 16 bytes a side, turned over: to[p step + j] = from[j lead + p]. */
typedef float qf32 __attribute__((vector_size(16), aligned(4), may_alias));
typedef double qf64 __attribute__((vector_size(16), aligned(8), may_alias));
enum { SQUARE_f32 = 4, SQUARE_f64 = 2 };
INLINE void turn_f32(float *to, int64_t step, const float *from, int64_t lead) {
  const qf32 a = *(const qf32 *)from, b = *(const qf32 *)(from + lead);
  const qf32 c = *(const qf32 *)(from + 2 * lead), d = *(const qf32 *)(from + 3 * lead);
  const qf32 ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab2 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const qf32 cd = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd2 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  *(qf32 *)to = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
  *(qf32 *)(to + step) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
  *(qf32 *)(to + 2 * step) = __builtin_shufflevector(ab2, cd2, 0, 1, 4, 5);
  *(qf32 *)(to + 3 * step) = __builtin_shufflevector(ab2, cd2, 2, 3, 6, 7);
}
INLINE void turn_f64(double *to, int64_t step, const double *from, int64_t lead) {
  const qf64 a = *(const qf64 *)from, b = *(const qf64 *)(from + lead);
  *(qf64 *)to = __builtin_shufflevector(a, b, 0, 2);
  *(qf64 *)(to + step) = __builtin_shufflevector(a, b, 1, 3);
}

#define T float
#define U uint32_t
#define DT f32
#define INFINITE 0x7f800000u
#include "cpu/gemm.inc"
#undef T
#undef U
#undef DT
#undef INFINITE

#define T double
#define U uint64_t
#define DT f64
#define INFINITE UINT64_C(0x7ff0000000000000)
#include "cpu/gemm.inc"

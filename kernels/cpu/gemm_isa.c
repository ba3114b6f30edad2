/*
** gemm_isa.c -- products of matrices, for one instruction set (see tile_isa.c for the flags).
*/
#include "cpu/gemm.h"

#include "cpu/tile_simd.h"
#include "cpu/turn.h"

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

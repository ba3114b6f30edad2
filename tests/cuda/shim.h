/*
** shim.h -- what a CUDA text of bdl calls, for the host: `cc -DBDL_SHIM -include shim.h` makes of the text that NVRTC
** compiles for a GPU a shared object whose kernels the fake driver (fake/fiber.c) runs.  C99.
**
** The threads of a launch run one at a time, each until it waits at a barrier or ends.  So an atomic operation is an
** ordinary one, and a thread must not spin until another one writes.
*/
#ifndef BDL_TESTS_SHIM_H
#define BDL_TESTS_SHIM_H

#include <stdint.h>

/* The thread that runs, and where it waits for others.  The driver hands its address to a module (bdl_shim_set) and
** changes it as it goes from thread to thread. */
typedef struct bdl_shim {
  int32_t thread, threads, block, blocks, block_thread, block_threads;
  char *shared;                                    /* of the block */
  void (*sync)(void);                              /* the grid waits */
  void (*block_sync)(void);                        /* the block waits */
  void (*warp_sync)(void);                         /* 32 threads wait */
  uint64_t (*shuffle)(uint64_t v, int32_t lane);   /* they wait, then read v of that lane */
  uint32_t (*ballot)(int pred);                    /* they wait, then read bit i of lane i */
} bdl_shim;

#ifdef BDL_SHIM
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static const bdl_shim *bdl_shim_now;
__attribute__((visibility("default"))) void bdl_shim_set(const bdl_shim *s) { bdl_shim_now = s; }

/* In front of `T f(..)`, the third of `kernel(char *const *F, int64_t a, int64_t b)`. */
#define BDL_DEVICE static inline __attribute__((unused))
#define BDL_GLOBAL static __attribute__((unused, noinline))
#define BDL_KERNEL __attribute__((visibility("default"))) void

#define THREAD (bdl_shim_now->thread)
#define THREADS (bdl_shim_now->threads)
#define LANE (THREAD % 32)
#define WARP (THREAD / 32)
#define WARPS (THREADS / 32)
#define BLOCK (bdl_shim_now->block)
#define BLOCKS (bdl_shim_now->blocks)
#define BLOCK_THREAD (bdl_shim_now->block_thread)
#define BLOCK_THREADS (bdl_shim_now->block_threads)
#define SHARED (bdl_shim_now->shared)

static uint64_t bdl_shim_cycles;
#define cycles() (bdl_shim_cycles += 1 << 20) /* each look takes so many */

#define sync() bdl_shim_now->sync()
#define block_sync() bdl_shim_now->block_sync()
#define warp_sync() bdl_shim_now->warp_sync()

#define shfl_u64(v, lane) bdl_shim_now->shuffle((uint64_t)(v), (lane))
#define shfl_u32(v, lane) ((uint32_t)bdl_shim_now->shuffle((uint32_t)(v), (lane)))
#define ballot(pred) bdl_shim_now->ballot((pred) != 0)

/* *p becomes `changed`; the old value.  p: of an integer of that width. */
#define BDL_SHIM_ATOMIC(name, T, changed)          \
  BDL_DEVICE T bdl_##name(T *p, T v, T expected) { \
    const T old = *p;                              \
    (void)expected;                                \
    *p = (changed);                                \
    return old;                                    \
  }
BDL_SHIM_ATOMIC(add_u32, uint32_t, old + v)
BDL_SHIM_ATOMIC(add_u64, uint64_t, old + v)
BDL_SHIM_ATOMIC(max_u32, uint32_t, v > old ? v : old)
BDL_SHIM_ATOMIC(exch_u32, uint32_t, v)
BDL_SHIM_ATOMIC(cas_u32, uint32_t, old == expected ? v : old)
#define atomic_add_u32(p, v) bdl_add_u32((uint32_t *)(p), (uint32_t)(v), 0)
#define atomic_add_u64(p, v) bdl_add_u64((uint64_t *)(p), (uint64_t)(v), 0)
#define atomic_max_u32(p, v) bdl_max_u32((uint32_t *)(p), (uint32_t)(v), 0)
#define atomic_exch_u32(p, v) bdl_exch_u32((uint32_t *)(p), (uint32_t)(v), 0)
#define atomic_cas_u32(p, old, v) bdl_cas_u32((uint32_t *)(p), (uint32_t)(v), (uint32_t)(old))

/* CUDA's functions that math.h lacks.  The text is compiled without contraction, so a plain operation rounds once. */
BDL_DEVICE float __fadd_rn(float x, float y) { return x + y; }
BDL_DEVICE float __fsub_rn(float x, float y) { return x - y; }
BDL_DEVICE float __fmul_rn(float x, float y) { return x * y; }
BDL_DEVICE float __fdiv_rn(float x, float y) { return x / y; }
BDL_DEVICE float __fsqrt_rn(float x) { return sqrtf(x); }
BDL_DEVICE float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
BDL_DEVICE float rsqrtf(float x) { return 1 / sqrtf(x); }
BDL_DEVICE double __dadd_rn(double x, double y) { return x + y; }
BDL_DEVICE double __dsub_rn(double x, double y) { return x - y; }
BDL_DEVICE double __dmul_rn(double x, double y) { return x * y; }
BDL_DEVICE double __ddiv_rn(double x, double y) { return x / y; }
BDL_DEVICE double __dsqrt_rn(double x) { return sqrt(x); }
BDL_DEVICE double __fma_rn(double x, double y, double z) { return fma(x, y, z); }
BDL_DEVICE double rsqrt(double x) { return 1 / sqrt(x); }

/* Bits of a float, and back. */
#define BDL_SHIM_BITS(name, from, to) \
  BDL_DEVICE to name(from x) {        \
    to y;                             \
    memcpy(&y, &x, sizeof y);         \
    return y;                         \
  }
BDL_SHIM_BITS(__float_as_int, float, int)
BDL_SHIM_BITS(__int_as_float, int, float)
BDL_SHIM_BITS(__float_as_uint, float, unsigned)
BDL_SHIM_BITS(__uint_as_float, unsigned, float)
BDL_SHIM_BITS(__double_as_longlong, double, long long)
BDL_SHIM_BITS(__longlong_as_double, long long, double)

/* __ffs(0) = 0, __clz(0) = 32, __clzll(0) = 64 */
BDL_DEVICE int __popc(unsigned x) { return __builtin_popcount(x); }
BDL_DEVICE int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
BDL_DEVICE int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
BDL_DEVICE int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
BDL_DEVICE int __ffs(int x) { return __builtin_ffs(x); }
BDL_DEVICE int __ffsll(long long x) { return __builtin_ffsll(x); }
BDL_DEVICE unsigned __umulhi(unsigned x, unsigned y) { return (unsigned)((uint64_t)x * y >> 32); }
BDL_DEVICE unsigned long long __umul64hi(unsigned long long x, unsigned long long y) {
  return (unsigned long long)((unsigned __int128)x * y >> 64);
}
BDL_DEVICE unsigned __funnelshift_l(unsigned lo, unsigned hi, unsigned n) {
  return n & 31 ? hi << (n & 31) | lo >> (32 - (n & 31)) : hi;
}
BDL_DEVICE unsigned __funnelshift_r(unsigned lo, unsigned hi, unsigned n) {
  return n & 31 ? lo >> (n & 31) | hi << (32 - (n & 31)) : lo;
}
#endif
#endif

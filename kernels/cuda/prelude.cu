/*
** prelude.cu -- what every program for a GPU begins with: types, the names of threads, barriers, shuffles, atomics.
** The text behind it is common to CUDA C++ and C99; with BDL_SHIM the same names come from tests/cuda/shim.h, for a host.
*/
#ifndef BDL_SHIM
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
#define INT32_MAX 0x7fffffff
#define INT32_MIN (-INT32_MAX - 1)
#define UINT32_MAX 0xffffffffu
#define INT64_MAX 0x7fffffffffffffffll
#define INT64_MIN (-INT64_MAX - 1)
#define UINT64_MAX 0xffffffffffffffffull
#define UINT32_C(x) x##u
#define INT64_C(x) x##ll
#define _Bool bool
#define BDL_DEVICE static __device__ __forceinline__
#define BDL_GLOBAL static __device__ __noinline__
#define BDL_KERNEL extern "C" __global__ __launch_bounds__(256) void

#define THREADS ((int32_t)(gridDim.x * blockDim.x))
#define THREAD ((int32_t)(blockIdx.x * blockDim.x + threadIdx.x))
#define LANE ((int32_t)(threadIdx.x & 31))
#define WARP (THREAD >> 5)
#define WARPS (THREADS >> 5)
#define BLOCK ((int32_t)blockIdx.x)
#define BLOCKS ((int32_t)gridDim.x)
#define BLOCK_THREAD ((int32_t)threadIdx.x)
#define BLOCK_THREADS ((int32_t)blockDim.x)
#define BDL_ALIGNED(n) __align__(n)
#define IN_GLOBAL(p) __builtin_assume(__isGlobal(p)) /* not of a block, nor of a thread: ld.global */
#define UNROLLED _Pragma("unroll")
#define ROLLED _Pragma("unroll 1")
extern __shared__ __align__(64) char bdl_shared[];
#define SHARED bdl_shared

#define cycles() ((uint64_t)clock64()) /* of this multiprocessor */
#define block_sync() __syncthreads()
#define warp_sync() __syncwarp()
#define ballot(p) __ballot_sync(0xffffffffu, (p))
#define shfl_u32(v, lane) __shfl_sync(0xffffffffu, (uint32_t)(v), (lane))
#define shfl_u64(v, lane) __shfl_sync(0xffffffffu, (uint64_t)(v), (lane))
#define atomic_add_u32(p, v) atomicAdd((uint32_t *)(p), (uint32_t)(v))
#define atomic_add_u64(p, v) atomicAdd((uint64_t *)(p), (uint64_t)(v))
#define atomic_max_u32(p, v) atomicMax((uint32_t *)(p), (uint32_t)(v))
#define atomic_cas_u32(p, o, n) atomicCAS((uint32_t *)(p), (uint32_t)(o), (uint32_t)(n))
#define atomic_exch_u32(p, v) atomicExch((uint32_t *)(p), (uint32_t)(v))

/* The barrier of the grid: of one block, of one cluster of blocks, which has its own in hardware, or of blocks that count one
** another.  A bit that all blocks together turn over says that the last has come (cf. Cooperative Groups). */
__device__ uint32_t bdl_arrived;
static __device__ __noinline__ void sync(void) {
#if __CUDA_ARCH__ >= 900
  uint32_t clusters;
  asm volatile("mov.u32 %0, %%nclusterid.x;" : "=r"(clusters));
  if (clusters == 1) {
    asm volatile("barrier.cluster.arrive.release;\n\tbarrier.cluster.wait.acquire;" ::: "memory");
    return;
  }
#endif
  __syncthreads();
  if (gridDim.x == 1) return;
  if (threadIdx.x == 0) {
    __threadfence();
    const uint32_t own = blockIdx.x == 0 ? 0x80000000u - (gridDim.x - 1) : 1u, before = atomicAdd(&bdl_arrived, own);
    while (((before ^ *(volatile uint32_t *)&bdl_arrived) & 0x80000000u) == 0) {}
    __threadfence();
  }
  __syncthreads();
}

#define NULL 0
/* n bytes, 4 or 8, to shared memory while the thread goes on; zeros where not `inside`.  After async_wait_1() all are there but those
** asked for since the last async_batch() but one; others see them after block_sync(). */
#if __CUDA_ARCH__ >= 800
BDL_DEVICE void async_copy(void *to, const void *from, int32_t n, bool inside) {
  const uint32_t at = (uint32_t)__cvta_generic_to_shared(to);
  if (n == 8) asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(at), "l"(from), "r"(inside ? 8 : 0) : "memory");
  else asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(at), "l"(from), "r"(inside ? 4 : 0) : "memory");
}
#define async_batch() asm volatile("cp.async.commit_group;" ::: "memory")
#define async_wait_1() asm volatile("cp.async.wait_group 1;" ::: "memory")
#else
#define BDL_COPY_AT_ONCE
#endif

template <class T> BDL_DEVICE const T *bdl_at(const T &x) { return &x; }
template <class T, int N> struct bdl_list { T v[N]; };
#define AT(type, ...) bdl_at(type{__VA_ARGS__})
#define LIST(type, n, ...) (bdl_list<type, n>{{__VA_ARGS__}}.v)
#else
#define AT(type, ...) (&(const type){__VA_ARGS__})
#define LIST(type, n, ...) ((type[]){__VA_ARGS__})
#define BDL_ALIGNED(n) __attribute__((aligned(n)))
#define IN_GLOBAL(p) ((void)0)
#define UNROLLED
#define ROLLED
#define BDL_COPY_AT_ONCE
#endif
#ifdef BDL_COPY_AT_ONCE
BDL_DEVICE void async_copy(void *to, const void *from, int32_t n, bool inside) {
  if (n == 8) *(uint64_t *)to = inside ? *(const uint64_t *)from : 0;
  else *(uint32_t *)to = inside ? *(const uint32_t *)from : 0;
}
#define async_batch() ((void)0)
#define async_wait_1() ((void)0)
#endif

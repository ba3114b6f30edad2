/*
** kernels.cu -- what test_fake.c runs, in the language of bdl's texts for a GPU.  F[0], F[1]: arrays of the device.
*/

BDL_KERNEL names(char *const *F, int64_t a, int64_t b) {
  int32_t *y = (int32_t *)F[0] + THREAD * 9;
  y[0] = THREAD; y[1] = THREADS; y[2] = LANE; y[3] = WARP; y[4] = WARPS;
  y[5] = BLOCK; y[6] = BLOCKS; y[7] = BLOCK_THREAD; y[8] = BLOCK_THREADS;
}

/* a steps of x[i] += x[i + 1] on a ring of b; `torn` lacks the second barrier */
BDL_DEVICE void ring(uint32_t *x, int64_t a, int64_t b, bool torn) {
  for (int64_t step = 0; step < a; step++) {
    uint32_t keep[64];
    int n = 0;
    for (int64_t i = THREAD; i < b; i += THREADS) keep[n++] = x[i] + x[(i + 1) % b];
    if (!torn) sync();
    n = 0;
    for (int64_t i = THREAD; i < b; i += THREADS) x[i] = keep[n++];
    sync();
  }
}

BDL_KERNEL ring_of(char *const *F, int64_t a, int64_t b) { ring((uint32_t *)F[0], a, b, false); }
BDL_KERNEL torn_ring(char *const *F, int64_t a, int64_t b) { ring((uint32_t *)F[0], a, b, true); }

/* sums of x[b] three ways: y[0] shuffles, then shared memory, then an atomic; y[1] in 64 bits; y[2] the odd ones, by
** ballots */
BDL_GLOBAL uint32_t warp_sum(uint32_t v) {
  for (int32_t d = 16; d; d /= 2) v += shfl_u32(v, LANE ^ d);
  return v;
}

BDL_KERNEL sums(char *const *F, int64_t a, int64_t b) {
  const uint32_t *x = (const uint32_t *)F[0];
  uint64_t *y = (uint64_t *)F[1];
  uint32_t *part = (uint32_t *)SHARED, sum = 0, odd = 0;
  uint64_t wide = 0;
  for (int64_t i = THREAD - LANE; i < b; i += THREADS) {
    const uint32_t v = i + LANE < b ? x[i + LANE] : 0;
    sum += v;
    odd += (uint32_t)__popc(ballot(v % 2));
    wide += shfl_u64((uint64_t)v << 32, (LANE + 1) % 32);
  }
  sum = warp_sum(sum);
  if (LANE == 0) part[BLOCK_THREAD / 32] = sum;
  block_sync();
  if (BLOCK_THREAD == 0) {
    sum = 0;
    for (int32_t i = 0; i < BLOCK_THREADS / 32; i++) sum += part[i];
    atomic_add_u32((uint32_t *)&y[0], sum);
  }
  atomic_add_u64(&y[1], wide);
  if (LANE == 0) atomic_add_u32((uint32_t *)&y[2], odd);
}

/* y[0] the largest; y[1] who came first; y[3] who came last; y[4] the sum of those who were seen there by the next */
BDL_KERNEL atomics(char *const *F, int64_t a, int64_t b) {
  uint32_t *y = (uint32_t *)F[0];
  atomic_max_u32(&y[0], (uint32_t)(THREAD * 7 % 64));
  const bool won = atomic_cas_u32(&y[1], 0, (uint32_t)THREAD + 1) == 0;
  if (won) y[2] = y[1];
  warp_sync();
  const uint32_t was = atomic_exch_u32(&y[3], (uint32_t)THREAD + 1);
  atomic_add_u32(&y[4], was);
}

BDL_KERNEL maths(char *const *F, int64_t a, int64_t b) {
  double *y = (double *)F[0];
  if (THREAD) return;
  y[0] = __fma_rn(3, 5, 7);
  y[1] = __fmaf_rn(3, 5, 7);
  y[2] = sqrtf(2.25f) + expf(0) + rsqrtf(4) + rsqrt(16);
  y[3] = __uint_as_float(__float_as_uint(1.5f) ^ 0x80000000u);
  y[4] = __clz(1) + __clzll(1) + __ffs(8) + __popcll(~0ull);
  y[5] = __umulhi(0x80000000u, 6) + (double)__umul64hi(1ull << 63, 10);
  y[6] = __longlong_as_double(__double_as_longlong(-3.5)) + __dmul_rn(2, 4) + __funnelshift_l(0x80000000u, 1, 1);
  y[7] = SHARED[0] == (char)0xa5 && (uintptr_t)SHARED % 64 == 0;
}

BDL_KERNEL all_leave(char *const *F, int64_t a, int64_t b) {
  sync();
  if (a) return;
  sync();
}

BDL_KERNEL one_leaves(char *const *F, int64_t a, int64_t b) {
  if (THREAD == 3) return;
  sync();
}

BDL_KERNEL apart(char *const *F, int64_t a, int64_t b) {
  if (LANE < 16) block_sync();
  else warp_sync();
}

BDL_KERNEL mixed(char *const *F, int64_t a, int64_t b) {
  if (LANE < 16) ballot(1);
  else shfl_u32(1, 0);
}

BDL_KERNEL past_the_end(char *const *F, int64_t a, int64_t b) { F[0][a] = 0; }

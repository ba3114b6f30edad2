/*
** random.h -- Threefry-2x32 with 20 rounds, and what is made of it beside plain words.
** Source: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"; keys and layouts as in JAX.
*/
#ifndef BDL_K_RANDOM_H
#define BDL_K_RANDOM_H

#include "base/pool.h"

static inline uint32_t bdl_k_rotate(uint32_t x, int r) { return x << r | x >> (32 - r); }

/* z0, z1 = hash of the counter (c0, c1) under key. */
static inline void bdl_k_threefry(const uint32_t key[2], uint32_t c0, uint32_t c1, uint32_t *z0, uint32_t *z1) {
  const uint32_t k[3] = {key[0], key[1], key[0] ^ key[1] ^ UINT32_C(0x1BD11BDA)};
  uint32_t x0 = c0 + k[0], x1 = c1 + k[1];
#define ROUND(r) x0 += x1, x1 = bdl_k_rotate(x1, r), x1 ^= x0
#define ROUNDS(a, b, c, d, i) ROUND(a), ROUND(b), ROUND(c), ROUND(d), x0 += k[(i) % 3], x1 += k[((i) + 1) % 3] + (i)
  ROUNDS(13, 15, 26, 6, 1);
  ROUNDS(17, 29, 16, 24, 2);
  ROUNDS(13, 15, 26, 6, 3);
  ROUNDS(17, 29, 16, 24, 4);
  ROUNDS(13, 15, 26, 6, 5);
#undef ROUNDS
#undef ROUND
  *z0 = x0, *z1 = x1;
}

/* keys[i] = both words of counter i, i < n. */
void bdl_k_random_split(uint32_t *keys, const uint32_t key[2], int64_t n);
/* Integers in [lo, hi); lo when hi <= lo.  Two words an element, so that the bias is below 2^-32 (2^-64). */
void bdl_k_random_int_i32(int32_t *z, const uint32_t key[2], int32_t lo, int32_t hi, int64_t n, bdl_pool *pool);
void bdl_k_random_int_i64(int64_t *z, const uint32_t key[2], int64_t lo, int64_t hi, int64_t n, bdl_pool *pool);

#endif

/*
** random.c -- keys and bounded integers.
*/
#include "cpu/random.h"

#include "cpu/array.h"

void bdl_k_random_split(uint32_t *keys, const uint32_t key[2], int64_t n) {
  for (int64_t i = 0; i < n; i++)
    bdl_k_threefry(key, (uint32_t)((uint64_t)i >> 32), (uint32_t)i, &keys[2 * i], &keys[2 * i + 1]);
}

static uint32_t word_u32(const uint32_t key[2], int64_t i) {
  uint32_t a, b;
  bdl_k_threefry(key, (uint32_t)((uint64_t)i >> 32), (uint32_t)i, &a, &b);
  return a ^ b;
}

static uint64_t word_u64(const uint32_t key[2], int64_t i) {
  uint32_t a, b;
  bdl_k_threefry(key, (uint32_t)((uint64_t)i >> 32), (uint32_t)i, &a, &b);
  return (uint64_t)a << 32 | b;
}

/* (high 2^bits + low) mod span, from words of the two halves of the key; all arithmetic wraps. */
#define RANDOM_INT(name, T, U, word, half)                                                                    \
  void name(T *z, const uint32_t key[2], T lo, T hi, int64_t n, int threads) {                                \
    uint32_t keys[4];                                                                                         \
    bdl_k_random_split(keys, key, 2);                                                                         \
    const U span = hi <= lo ? 1 : (U)hi - (U)lo;                                                              \
    const U root = ((U)1 << half) % span, multiplier = (U)(root * root) % span;                               \
    BDL_K_SHARE(n > 4096, for (int64_t i = 0; i < n; i++) {                                                   \
      U offset = (U)(word(keys, i) % span * multiplier) + word(keys + 2, i) % span;                           \
      z[i] = (T)((U)lo + offset % span);                                                                      \
    });                                                                                                       \
  }
RANDOM_INT(bdl_k_random_int_i32, int32_t, uint32_t, word_u32, 16)
RANDOM_INT(bdl_k_random_int_i64, int64_t, uint64_t, word_u64, 32)

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
#define RANDOM_INT(s, T, U, word, half)                                                                           \
  typedef struct job_##s {                                                                                        \
    T *z;                                                                                                         \
    uint32_t keys[4];                                                                                             \
    U lo, span, multiplier;                                                                                       \
  } job_##s;                                                                                                      \
  static void integers_##s(void *job, int64_t first, int64_t last, int thread) {                                  \
    const job_##s j = *(const job_##s *)job;                                                                      \
    (void)thread;                                                                                                 \
    for (int64_t i = first; i < last; i++) {                                                                      \
      const U offset = (U)(word(j.keys, i) % j.span * j.multiplier) + word(j.keys + 2, i) % j.span;               \
      j.z[i] = (T)(j.lo + offset % j.span);                                                                       \
    }                                                                                                             \
  }                                                                                                               \
  void bdl_k_random_int_##s(T *z, const uint32_t key[2], T lo, T hi, int64_t n, bdl_pool *pool) {                 \
    job_##s j = {.z = z, .lo = (U)lo, .span = hi <= lo ? 1 : (U)hi - (U)lo};                                      \
    const U root = ((U)1 << half) % j.span;                                                                       \
    j.multiplier = (U)(root * root) % j.span;                                                                     \
    bdl_k_random_split(j.keys, key, 2);                                                                           \
    bdl_pool_run(n > 4096 ? pool : NULL, n, integers_##s, &j);                                                    \
  }
RANDOM_INT(i32, int32_t, uint32_t, word_u32, 16)
RANDOM_INT(i64, int64_t, uint64_t, word_u64, 32)

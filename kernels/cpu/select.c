/* select.c -- which element kernels this processor runs. */
#include "cpu/tile.h"

#include <string.h>

#if defined(__x86_64__)
extern const bdl_k_table bdl_k_tile_x86_64, bdl_k_tile_avx2, bdl_k_tile_avx512;
#elif defined(__aarch64__)
extern const bdl_k_table bdl_k_tile_aarch64;
#else
extern const bdl_k_table bdl_k_tile_generic;
#endif

const bdl_k_table *bdl_k_select(const char *want) {
  const bdl_k_table *best[3] = {0}; /* best first */
  int n = 0;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma"))
    best[n++] = &bdl_k_tile_avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) best[n++] = &bdl_k_tile_avx2;
  best[n++] = &bdl_k_tile_x86_64;
#elif defined(__aarch64__)
  best[n++] = &bdl_k_tile_aarch64;
#else
  best[n++] = &bdl_k_tile_generic;
#endif
  for (int i = 0; i < n; i++)
    if (!want || strcmp(want, best[i]->isa) == 0) return best[i];
  return NULL;
}

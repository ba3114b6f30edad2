/*
** peak_isa.c -- the most arithmetic that one core can do, for one instruction set (see tile_isa.c for the flags).
*/

#include "cpu/tile_simd.h"

/* Ten chains of a = a x + y that do not wait for each other: two units of a latency of four or five are kept busy, and all of
** it fits 16 registers. */
#define CHAINS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9)
enum { N_CHAINS = 10 };

double CAT(bdl_k_peak_, BDL_ISA)(int64_t rounds, float *seed);
double CAT(bdl_k_peak_, BDL_ISA)(int64_t rounds, float *seed) {
  enum { LANES = VECTOR_SIZE / sizeof(float) };
  float start[N_CHAINS][LANES], decay[LANES];
  for (int j = 0; j < (int)LANES; j++) {
    decay[j] = 0.999f;
    for (int k = 0; k < N_CHAINS; k++) start[k][j] = *seed + (float)(k * (int)LANES + j);
  }
  const vf32 x = load_vf32(decay), y = load_vf32(start[1]);
#define BEGIN(k) vf32 a##k = load_vf32(start[k]);
  CHAINS(BEGIN)
#define STEP(k) a##k = FMA_f32(a##k, x, y);
  for (int64_t r = 0; r < rounds; r++) {
    CHAINS(STEP)
  }
#define END(k) store_vf32(start[k], a##k), *seed += start[k][0];
  CHAINS(END)
  return 2.0 * N_CHAINS * LANES * (double)rounds;
}

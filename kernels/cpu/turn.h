/*
** turn.h -- small squares of a matrix, turned over in registers.
*/
#ifndef BDL_K_TURN_H
#define BDL_K_TURN_H

#include <stdint.h>

/* Squares of 16 bytes a side, turned over: to[p step + j] = from[j lead + p]. */
typedef float qf32 __attribute__((vector_size(16), aligned(4), may_alias));
typedef double qf64 __attribute__((vector_size(16), aligned(8), may_alias));
enum { SQUARE_f32 = 4, SQUARE_f64 = 2 };
static inline __attribute__((always_inline)) void turn_f32(float *to, int64_t step, const float *from, int64_t lead) {
  const qf32 a = *(const qf32 *)from, b = *(const qf32 *)(from + lead);
  const qf32 c = *(const qf32 *)(from + 2 * lead), d = *(const qf32 *)(from + 3 * lead);
  const qf32 ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab2 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const qf32 cd = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd2 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  *(qf32 *)to = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
  *(qf32 *)(to + step) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
  *(qf32 *)(to + 2 * step) = __builtin_shufflevector(ab2, cd2, 0, 1, 4, 5);
  *(qf32 *)(to + 3 * step) = __builtin_shufflevector(ab2, cd2, 2, 3, 6, 7);
}
static inline __attribute__((always_inline)) void turn_f64(double *to, int64_t step, const double *from, int64_t lead) {
  const qf64 a = *(const qf64 *)from, b = *(const qf64 *)(from + lead);
  *(qf64 *)to = __builtin_shufflevector(a, b, 0, 2);
  *(qf64 *)(to + step) = __builtin_shufflevector(a, b, 1, 3);
}

#endif

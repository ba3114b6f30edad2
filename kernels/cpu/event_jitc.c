/*
** event_jitc.c -- matrices regenerated row by row from a seed; the definition stands in event.h.
*/
#include <math.h>
#include <string.h>

#include "cpu/event.h"
#include "cpu/random.h"

/* ln x for 0 < x <= 1, by + * / alone, so that every machine draws the same columns: x = 2^e m, m in [sqrt(1/2), sqrt 2),
** ln m = 2 atanh((m - 1)/(m + 1)), the series to the 15th power; error below 1e-12. */
static inline double ln(double x) {
  uint64_t bits;
  memcpy(&bits, &x, 8);
  const uint64_t shifted = bits - UINT64_C(0x3FE6A09E667F3BCD); /* sqrt(1/2) */
  const int64_t e = (int64_t)shifted >> 52;
  bits -= (uint64_t)e << 52;
  double m;
  memcpy(&m, &bits, 8);
  const double s = (m - 1) / (m + 1), q = s * s;
  double t = 1.0 / 15;
  t = t * q + 1.0 / 13;
  t = t * q + 1.0 / 11;
  t = t * q + 1.0 / 9;
  t = t * q + 1.0 / 7;
  t = t * q + 1.0 / 5;
  t = t * q + 1.0 / 3;
  t = t * q + 1.0;
  return 2 * s * t + (double)e * 0.69314718055994530942;
}

enum { AHEAD = 16 }; /* synapses drawn at a time: independent hashes overlap */

/* A walk along one row. */
typedef struct walk {
  const bdl_k_jitc *g;
  uint32_t key[2], row, next; /* next: counter of the first synapse not drawn */
  double scale;               /* 1 / ln(1 - prob) */
  int64_t column;             /* before the first one of the batch */
  int64_t cols[AHEAD];
  double weight[AHEAD];
} walk;

static walk start(const bdl_k_jitc *g, int64_t row) {
  double rest = 1 - g->prob;
  return (walk){.g = g,
                .key = {(uint32_t)(g->seed >> 32), (uint32_t)g->seed},
                .row = (uint32_t)row,
                .scale = rest > 0 ? 1 / log1p(-g->prob) : 0,
                .column = -1};
}

static double normal(const walk *w, uint32_t t, uint32_t word) {
  uint32_t angle, unused;
  bdl_k_threefry(w->key, w->row, t ^ UINT32_C(0x80000000), &angle, &unused);
  return sqrt(-2 * ln(((double)word + 1) * 0x1p-32)) * cos(6.283185307179586477 * 0x1p-32 * (double)angle);
}

/* Draws the next synapses; returns how many of them lie in the row, fewer than AHEAD at its end. */
static int draw(walk *w) {
  const bdl_k_jitc *g = w->g;
  uint32_t gap[AHEAD], word[AHEAD];
  if (!(g->prob > 0)) return 0;
  for (int i = 0; i < AHEAD; i++) bdl_k_threefry(w->key, w->row, w->next + (uint32_t)i, &gap[i], &word[i]);
  int n = 0;
  for (; n < AHEAD; n++) {
    const double skip = ln(((double)gap[n] + 1) * 0x1p-32) * w->scale;
    if (skip >= (double)(g->cols - w->column - 1)) break;
    w->cols[n] = w->column += 1 + (int64_t)skip;
  }
  for (int i = 0; i < n; i++)
    w->weight[i] = g->law == BDL_JITC_SCALAR    ? g->p0
                   : g->law == BDL_JITC_UNIFORM ? g->p0 + (g->p1 - g->p0) * (0x1p-32 * (double)word[i])
                                                : g->p0 + g->p1 * normal(w, w->next + (uint32_t)i, word[i]);
  w->next += AHEAD;
  return n;
}

#define JITC(s, T)                                                                                           \
  static void left_##s(T *restrict y, const T *v, const uint8_t *mask, const bdl_k_jitc *g) {                \
    memset(y, 0, (size_t)g->cols * sizeof *y);                                                               \
    for (int64_t i = 0; i < g->rows; i++) {                                                                  \
      if (mask && !mask[i]) continue;                                                                        \
      walk w = start(g, i);                                                                                  \
      const T x = mask ? 1 : v[i];                                                                           \
      for (int n = AHEAD; n == AHEAD;) {                                                                     \
        n = draw(&w);                                                                                        \
        for (int k = 0; k < n; k++) y[w.cols[k]] += (T)w.weight[k] * x;                                      \
      }                                                                                                      \
    }                                                                                                        \
  }                                                                                                          \
  static T right_##s(const T *v, const uint8_t *mask, const bdl_k_jitc *g, int64_t row) {                    \
    walk w = start(g, row);                                                                                  \
    T sum = 0;                                                                                               \
    for (int n = AHEAD; n == AHEAD;) {                                                                       \
      n = draw(&w);                                                                                          \
      for (int k = 0; k < n; k++)                                                                            \
        sum += !mask ? (T)w.weight[k] * v[w.cols[k]] : mask[w.cols[k]] ? (T)w.weight[k] : 0;                 \
    }                                                                                                        \
    return sum;                                                                                              \
  }
JITC(f32, float)
JITC(f64, double)

void bdl_k_jitc_dot(void *y, const void *v, const uint8_t *mask, const bdl_k_jitc *g, bool transpose, bdl_dtype d, int threads) {
  (void)threads;
  if (!transpose) {
    if (d == BDL_F32)
      left_f32(y, v, mask, g);
    else
      left_f64(y, v, mask, g);
    return;
  }
#pragma omp parallel for num_threads(threads) if (threads > 1)
  for (int64_t i = 0; i < g->rows; i++)
    if (d == BDL_F32)
      ((float *)y)[i] = right_f32(v, mask, g, i);
    else
      ((double *)y)[i] = right_f64(v, mask, g, i);
}

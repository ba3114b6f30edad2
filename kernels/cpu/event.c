/*
** event.c -- which elements are active; products with dense matrices.
*/
#include <string.h>

#include "cpu/event.h"

/* ---- events */

size_t bdl_k_events_bytes(int64_t n, bool bits) { return (size_t)(n + (bits ? bdl_k_event_words(n) : 0)) * sizeof(int32_t); }

void bdl_k_event_bits(uint32_t *bits, const int32_t *ids, int64_t count, int64_t n) {
  memset(bits, 0, (size_t)bdl_k_event_words(n) * sizeof *bits);
  for (int64_t k = 0; k < count; k++) bits[ids[k] / 32] |= UINT32_C(1) << (ids[k] % 32);
}

bdl_k_events bdl_k_events_of(void *room, const void *s, bdl_dtype d, int64_t n, bool bits, const bdl_k_table *t) {
  bdl_k_events e = {.ids = room};
  for (int64_t i = 0; i < n; i += BDL_TILE)
    e.count += t->compact[d](e.ids + e.count, (const char *)s + i * (int64_t)bdl_dtype_size(d), BDL_MIN(n - i, BDL_TILE), i);
  if (!bits) return e;
  e.bits = (uint32_t *)room + n;
  bdl_k_event_bits(e.bits, e.ids, e.count, n);
  return e;
}

/* ---- dense */

enum { COLUMNS = 2048 }; /* of a result that one thread keeps in cache while it adds rows */

#define DENSE(d, s, T, W)                                                                                          \
  static void rows_##s(void *y0, const int32_t *ids, int64_t count, const void *w0, int64_t n, int64_t from, int64_t to) { \
    W *restrict y = (W *)y0 + from;                                                                                \
    const int64_t m = to - from;                                                                                   \
    memset(y, 0, (size_t)m * sizeof *y);                                                                           \
    int64_t k = 0;                                                                                                 \
    for (; k + 4 <= count; k += 4) { /* four rows a pass over y */                                                 \
      const W *restrict a = (const W *)w0 + ids[k] * n + from, *restrict b = (const W *)w0 + ids[k + 1] * n + from; \
      const W *restrict c = (const W *)w0 + ids[k + 2] * n + from, *restrict e = (const W *)w0 + ids[k + 3] * n + from; \
      for (int64_t j = 0; j < m; j++) y[j] = (((y[j] + a[j]) + b[j]) + c[j]) + e[j];                               \
    }                                                                                                              \
    for (; k < count; k++) {                                                                                       \
      const W *restrict a = (const W *)w0 + ids[k] * n + from;                                                     \
      for (int64_t j = 0; j < m; j++) y[j] += a[j];                                                                \
    }                                                                                                              \
  }                                                                                                                \
  static void cols_##s(void *y0, const int32_t *ids, int64_t count, const void *w0, int64_t n, int64_t first, int64_t last) {\
    W *restrict y = y0;                                                                                            \
    if (count == 0) memset(y + first, 0, (size_t)(last - first) * sizeof *y);                                      \
    for (int64_t i = first; i < last && count; i++) {                                                              \
      const W *restrict w = (const W *)w0 + i * n;                                                                 \
      W part[4] = {0};                                                                                             \
      int64_t k = 0;                                                                                               \
      for (; k + 4 <= count; k += 4)                                                                               \
        for (int l = 0; l < 4; l++) part[l] += w[ids[k + l]];                                                      \
      for (; k < count; k++) part[k & 3] += w[ids[k]];                                                             \
      y[i] = (part[0] + part[1]) + (part[2] + part[3]);                                                            \
    }                                                                                                              \
  }
BDL_K_NUMBERS(DENSE)

typedef struct dense_job {
  void *y;
  const bdl_k_events *s;
  const void *w;
  int64_t n;
  void (*rows)(void *, const int32_t *, int64_t, const void *, int64_t, int64_t, int64_t);
  void (*cols)(void *, const int32_t *, int64_t, const void *, int64_t, int64_t, int64_t);
} dense_job;

static void strips(void *job, int64_t first, int64_t last, int thread) {
  const dense_job *j = job;
  (void)thread;
  for (int64_t k = first; k < last; k++)
    j->rows(j->y, j->s->ids, j->s->count, j->w, j->n, k * COLUMNS, BDL_MIN((k + 1) * COLUMNS, j->n));
}

static void rows_of_w(void *job, int64_t first, int64_t last, int thread) {
  const dense_job *j = job;
  (void)thread;
  j->cols(j->y, j->s->ids, j->s->count, j->w, j->n, first, last);
}

void bdl_k_event_rows(void *y, const bdl_k_events *s, const void *w, int64_t n, bdl_dtype d, bdl_pool *pool) {
  static void (*const table[BDL_DTYPE_COUNT])(void *, const int32_t *, int64_t, const void *, int64_t, int64_t, int64_t) = {
#define ROW(d, s, T, W) [d] = rows_##s,
      BDL_K_NUMBERS(ROW)};
#undef ROW
  dense_job job = {.y = y, .s = s, .w = w, .n = n, .rows = table[d]};
  bdl_pool_run(s->count > 16 ? pool : NULL, (n + COLUMNS - 1) / COLUMNS, strips, &job);
}

void bdl_k_event_cols(void *y, const bdl_k_events *s, const void *w, int64_t m, int64_t n, bdl_dtype d, bdl_pool *pool) {
  static void (*const table[BDL_DTYPE_COUNT])(void *, const int32_t *, int64_t, const void *, int64_t, int64_t, int64_t) = {
#define ROW(d, s, T, W) [d] = cols_##s,
      BDL_K_NUMBERS(ROW)};
#undef ROW
  dense_job job = {.y = y, .s = s, .w = w, .n = n, .cols = table[d]};
  bdl_pool_run(m * s->count > 16384 ? pool : NULL, m, rows_of_w, &job);
}

/* ---- dense weights that learn */


#define LEARN(d, s, T, W)                                                                                          \
  static void learn_row_##s(void *w0, const bdl_k_learn *l, int64_t n, int64_t r) {                                \
    const int64_t i = l->ids[r];                                                                                   \
    T *restrict w = (T *)w0 + i * n;                                                                               \
    const T *restrict x = l->x, gain = ((const T *)l->gain)[l->same ? 0 : i];                                      \
    const T low = *(const T *)l->low, high = *(const T *)l->high;                                                  \
    for (int64_t j = 0; j < n; j++) {                                                                              \
      const T z = (T)((W)w[j] + (W)x[j] * (W)gain), up = BDL_K_AT_LEAST(low, z);                                         \
      w[j] = BDL_K_AT_MOST(high, up);                                                                                    \
    }                                                                                                              \
  }                                                                                                                \
  static void learn_columns_##s(void *w0, const bdl_k_learn *l, int64_t n, int64_t i) {                            \
    T *restrict w = (T *)w0 + i * n;                                                                               \
    const T *restrict gain = l->gain, x = ((const T *)l->x)[i], low = *(const T *)l->low, high = *(const T *)l->high; \
    for (int64_t r = 0; r < l->count; r++) {                                                                       \
      const int64_t j = l->ids[r];                                                                                 \
      const T z = (T)((W)w[j] + (W)x * (W)gain[l->same ? 0 : j]), up = BDL_K_AT_LEAST(low, z);                           \
      w[j] = BDL_K_AT_MOST(high, up);                                                                                    \
    }                                                                                                              \
  }
BDL_K_NUMBERS(LEARN)

typedef struct learn_job {
  void *w;
  const bdl_k_learn *l;
  int64_t n;
  void (*loop)(void *, const bdl_k_learn *, int64_t, int64_t);
} learn_job;

static void learn_range(void *job, int64_t first, int64_t last, int thread) {
  const learn_job *j = job;
  (void)thread;
  for (int64_t i = first; i < last; i++) j->loop(j->w, j->l, j->n, i);
}

void bdl_k_event_learn(void *w, const bdl_k_learn *l, int64_t m, int64_t n, bool columns, bdl_dtype d, bdl_pool *pool) {
  static void (*const table[2][BDL_DTYPE_COUNT])(void *, const bdl_k_learn *, int64_t, int64_t) = {{
#define ROW(d, s, T, W) [d] = learn_row_##s,
      BDL_K_NUMBERS(ROW)}, {
#undef ROW
#define ROW(d, s, T, W) [d] = learn_columns_##s,
      BDL_K_NUMBERS(ROW)}};
#undef ROW
  learn_job job = {w, l, n, table[columns][d]};
  if (l->count == 0) return;
  bdl_pool_run(l->count * (columns ? m : n) > 65536 ? pool : NULL, columns ? m : l->count, learn_range, &job);
}

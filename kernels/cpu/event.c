/*
** event.c -- which elements are active; products with dense matrices.
*/
#include <string.h>

#include "cpu/event.h"
#include "cpu/row.h"

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

enum { COLUMNS = 2048 };    /* of a result that one thread keeps in cache while it adds rows */
enum { BLOCK_BYTES = 256 }; /* of a transposed row: its sums stay in registers */
enum { AT_ONCE = 8 };       /* rows of w whose sums do not wait for each other */

/* y[m] = sum of listed rows of w, ldw apart; of integers.  Columns: of listed columns, rows first .. last - 1. */
#define DENSE(d, s, T, W)                                                                                          \
  static void rows_##s(void *y0, const int32_t *ids, int64_t count, const void *w0, int64_t ldw, int64_t m) {      \
    W *restrict y = y0;                                                                                            \
    memset(y, 0, (size_t)m * sizeof *y);                                                                           \
    for (int64_t k = 0; k < count; k++) {                                                                          \
      const W *restrict a = (const W *)w0 + ids[k] * ldw;                                                          \
      for (int64_t j = 0; j < m; j++) y[j] += a[j];                                                                \
    }                                                                                                              \
  }                                                                                                                \
  static void cols_##s(void *y0, const int32_t *ids, int64_t count, const void *w0, int64_t n, int64_t first, int64_t last) { \
    W *restrict y = y0;                                                                                            \
    for (int64_t i = first; i < last; i += AT_ONCE) {                                                              \
      const int64_t some = BDL_MIN(last - i, AT_ONCE);                                                             \
      const W *w[AT_ONCE];                                                                                         \
      W sum[AT_ONCE] = {0};                                                                                        \
      for (int64_t l = 0; l < AT_ONCE; l++) w[l] = (const W *)w0 + (i + (l < some ? l : 0)) * n;                   \
      for (int64_t k = 0; k < count; k++)                                                                          \
        for (int l = 0; l < AT_ONCE; l++) sum[l] += w[l][ids[k]];                                                  \
      memcpy(y + i, sum, (size_t)some * sizeof *y);                                                                \
    }                                                                                                              \
  }
BDL_K_NUMBERS(DENSE)

typedef void (*add_rows)(void *, const int32_t *, int64_t, const void *, int64_t, int64_t);
typedef void (*add_cols)(void *, const int32_t *, int64_t, const void *, int64_t, int64_t, int64_t);

#define ROW(d, s, T, W) [d] = rows_##s,
static const add_rows rows_of[BDL_DTYPE_COUNT] = {BDL_K_NUMBERS(ROW)};
#undef ROW
#define ROW(d, s, T, W) [d] = cols_##s,
static const add_cols cols_of[BDL_DTYPE_COUNT] = {BDL_K_NUMBERS(ROW)};
#undef ROW

/* Of floats the events are a row of ones. */
static void sum_rows(void *y, const bdl_k_events *s, const void *w, int64_t ldw, int64_t m, bdl_dtype d, const bdl_k_table *t) {
  static const float one_f32 = 1;
  static const double one_f64 = 1;
  if (!t->row[d]) rows_of[d](y, s->ids, s->count, w, ldw, m);
  else
    t->row[d](&(bdl_k_row){.z = y, .x = d == BDL_F32 ? (const void *)&one_f32 : &one_f64, .y = w, .n = m, .k = s->count,
                           .yp = ldw, .yj = 1, .ids = s->ids});
}

typedef struct dense_job {
  char *y;
  const bdl_k_events *s;
  int64_t batch;
  const char *w;
  int64_t m, n;
  bdl_dtype d;
  const bdl_k_table *t;
  char *room;
  size_t room_bytes;
} dense_job;

static void strips(void *job, int64_t first, int64_t last, int thread) {
  const dense_job *j = job;
  const int64_t size = (int64_t)bdl_dtype_size(j->d);
  (void)thread;
  for (int64_t k = first * COLUMNS; k < BDL_MIN(last * COLUMNS, j->n); k += COLUMNS)
    sum_rows(j->y + k * size, j->s, j->w + k * size, j->n, BDL_MIN(COLUMNS, j->n - k), j->d, j->t);
}

static void rows_of_w(void *job, int64_t first, int64_t last, int thread) {
  const dense_job *j = job;
  (void)thread;
  cols_of[j->d](j->y, j->s->ids, j->s->count, j->w, j->n, first, last);
}

void bdl_k_event_rows(void *y, const bdl_k_events *s, const void *w, int64_t n, bdl_dtype d, const bdl_k_table *t,
                      bdl_pool *pool) {
  dense_job job = {.y = y, .s = s, .w = w, .n = n, .d = d, .t = t};
  bdl_pool_run(s->count > 16 ? pool : NULL, (n + COLUMNS - 1) / COLUMNS, strips, &job);
}

void bdl_k_event_cols(void *y, const bdl_k_events *s, const void *w, int64_t m, int64_t n, bdl_dtype d, bdl_pool *pool) {
  dense_job job = {.y = y, .s = s, .w = w, .n = n, .d = d};
  bdl_pool_run(m * s->count > 16384 ? pool : NULL, m, rows_of_w, &job);
}

static int64_t block_rows(bdl_dtype d) { return BLOCK_BYTES / (int64_t)bdl_dtype_size(d); }

size_t bdl_k_event_block_bytes(int64_t n, bdl_dtype d) { return (size_t)n * (size_t)block_rows(d) * bdl_dtype_size(d); }

static void blocks(void *job, int64_t first, int64_t last, int thread) {
  const dense_job *j = job;
  const int64_t size = (int64_t)bdl_dtype_size(j->d), rows = block_rows(j->d);
  char *room = j->room + (size_t)thread * j->room_bytes;
  for (int64_t i = first * rows; i < BDL_MIN(last * rows, j->m); i += rows) {
    const int64_t some = BDL_MIN(rows, j->m - i);
    const int64_t to[] = {rows, 1}, from[] = {1, j->n}, shape[] = {j->n, some};
    bdl_k_strided_move(room, to, j->w + i * j->n * size, from, 2, shape, (size_t)size);
    for (int64_t b = 0; b < j->batch; b++)
      sum_rows(j->y + (b * j->m + i) * size, &j->s[b], room, rows, some, j->d, j->t);
  }
}

void bdl_k_event_cols_of_many(void *y, const bdl_k_events *s, int64_t batch, const void *w, int64_t m, int64_t n, bdl_dtype d,
                              const bdl_k_table *t, void *room, size_t room_bytes, int64_t rooms, bdl_pool *pool) {
  dense_job job = {.y = y, .s = s, .batch = batch, .w = w, .m = m, .n = n, .d = d, .t = t, .room = room,
                   .room_bytes = room_bytes};
  int64_t events = 0;
  for (int64_t b = 0; b < batch; b++) events += s[b].count;
  if (events > n) { /* to transpose moves every entry once */
    const bool pays = m * events > 1 << 17 && bdl_pool_size(pool) <= rooms;
    bdl_pool_run(pays ? pool : NULL, (m + block_rows(d) - 1) / block_rows(d), blocks, &job);
  } else
    for (int64_t b = 0; b < batch; b++)
      bdl_k_event_cols((char *)y + (size_t)(b * m) * bdl_dtype_size(d), &s[b], w, m, n, d, pool);
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

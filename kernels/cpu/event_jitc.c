/*
** event_jitc.c -- matrices regenerated row by row from a seed; the definition stands in event.h.
*/
#include <math.h>
#include <string.h>

#include "cpu/event.h"
#include "cpu/random.h"
#include "cpu/seeded_ln.inc"

enum { AHEAD = BDL_JITC_BATCH, PAIRS = AHEAD / 2 }; /* synapses drawn at a time: hashes side by side vectorise */

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

/* Words of the counters of the next synapses: even[k] and odd[k] of synapses 2k and 2k + 1. */
static void words(const walk *w, uint32_t stream, uint32_t *even, uint32_t *odd) {
  for (uint32_t k = 0; k < PAIRS; k++) bdl_k_threefry(w->key, w->row, (w->next / 2 + k) | stream, &even[k], &odd[k]);
}

static void draw_weights(walk *w) {
  const bdl_k_jitc *g = w->g;
  uint32_t even[PAIRS], odd[PAIRS];
  double size[PAIRS];
  if (g->law != BDL_JITC_SCALAR) words(w, UINT32_C(0x80000000), even, odd);
  switch (g->law) {
    case BDL_JITC_SCALAR:
      for (int i = 0; i < AHEAD; i++) w->weight[i] = g->p0;
      break;
    case BDL_JITC_UNIFORM:
      for (int k = 0; k < PAIRS; k++) {
        w->weight[2 * k] = g->p0 + (g->p1 - g->p0) * (0x1p-32 * (double)even[k]);
        w->weight[2 * k + 1] = g->p0 + (g->p1 - g->p0) * (0x1p-32 * (double)odd[k]);
      }
      break;
    case BDL_JITC_NORMAL:
      for (int k = 0; k < PAIRS; k++) size[k] = g->p1 * sqrt(-2 * seeded_ln(((double)even[k] + 1) * 0x1p-32));
      for (int k = 0; k < PAIRS; k++) {
        const double angle = 6.283185307179586477 * 0x1p-32 * (double)odd[k];
        w->weight[2 * k] = g->p0 + size[k] * cos(angle);
        w->weight[2 * k + 1] = g->p0 + size[k] * sin(angle);
      }
  }
}

/* Draws the next synapses; returns how many of them lie in the row, fewer than AHEAD at its end. */
static int draw(walk *w) {
  const bdl_k_jitc *g = w->g;
  uint32_t even[PAIRS], odd[PAIRS];
  double skip[AHEAD];
  int n = 0;
  if (!(g->prob > 0)) return 0;
  words(w, 0, even, odd);
  for (int k = 0; k < PAIRS; k++) skip[2 * k] = ((double)even[k] + 1) * 0x1p-32, skip[2 * k + 1] = ((double)odd[k] + 1) * 0x1p-32;
  for (int i = 0; i < AHEAD; i++) skip[i] = seeded_ln(skip[i]) * w->scale;
  for (; n < AHEAD && skip[n] < (double)(g->cols - w->column - 1); n++) w->cols[n] = w->column += 1 + (int64_t)skip[n];
  if (n > 0) draw_weights(w);
  w->next += AHEAD;
  return n;
}

int bdl_k_jitc_columns(int32_t cols[BDL_JITC_BATCH], const bdl_k_jitc *g, int64_t row, uint32_t *t, int64_t *column) {
  walk w = start(g, row);
  w.next = *t;
  w.column = *column;
  const int n = draw(&w);
  for (int k = 0; k < n; k++) cols[k] = (int32_t)w.cols[k];
  *t = w.next;
  *column = w.column;
  return n;
}

/* ---- lists: the synapses of some rows, drawn by threads, then added in the order of rows */

enum { MOST_LISTS = 256, LIST_BYTES = 1 << 22 };

typedef struct lists {
  int64_t room; /* synapses a list holds: longer rows, 1 in 10^9, are drawn again when they are added */
  int64_t n;    /* lists: [n] lengths (-1: too long), [n, room] columns, [n, room] weights */
} lists;

static lists lists_of(const bdl_k_jitc *g, bdl_dtype d) {
  const double mean = (double)g->cols * g->prob;
  lists l = {.room = ((int64_t)(mean + 6 * sqrt(mean)) / AHEAD + 2) * AHEAD};
  l.n = BDL_MAX(1, BDL_MIN(MOST_LISTS, LIST_BYTES / (l.room * (int64_t)(sizeof(int32_t) + bdl_dtype_size(d)))));
  return l;
}

size_t bdl_k_jitc_bytes(const bdl_k_jitc *g, bdl_dtype d) {
  const lists l = lists_of(g, d);
  return (size_t)l.n * (sizeof(int64_t) + (size_t)l.room * (sizeof(int32_t) + bdl_dtype_size(d)));
}

#define JITC(s, T)                                                                                           \
  static void add_row_##s(T *restrict y, T x, const bdl_k_jitc *g, int64_t row) {                            \
    walk w = start(g, row);                                                                                  \
    for (int n = AHEAD; n == AHEAD;) {                                                                       \
      n = draw(&w);                                                                                          \
      for (int k = 0; k < n; k++) y[w.cols[k]] += (T)w.weight[k] * x;                                        \
    }                                                                                                        \
  }                                                                                                          \
  static T sum_row_##s(const T *v, const bdl_k_events *e, const bdl_k_jitc *g, int64_t row) {                \
    walk w = start(g, row);                                                                                  \
    T sum = 0;                                                                                               \
    for (int n = AHEAD; n == AHEAD;) {                                                                       \
      n = draw(&w);                                                                                          \
      for (int k = 0; k < n; k++) {                                                                          \
        if (!e)                                                                                              \
          sum += (T)w.weight[k] * v[w.cols[k]];                                                              \
        else if (bdl_k_is_active(e->bits, (uint32_t)w.cols[k]))                                              \
          sum += (T)w.weight[k];                                                                             \
      }                                                                                                      \
    }                                                                                                        \
    return sum;                                                                                              \
  }                                                                                                          \
  static int64_t list_row_##s(int32_t *restrict cols, T *restrict weights, int64_t room, const bdl_k_jitc *g, int64_t row) { \
    walk w = start(g, row);                                                                                  \
    int64_t at = 0;                                                                                          \
    for (int n = AHEAD; n == AHEAD; at += n) {                                                               \
      n = draw(&w);                                                                                          \
      if (at + n > room) return -1;                                                                          \
      for (int k = 0; k < n; k++) cols[at + k] = (int32_t)w.cols[k], weights[at + k] = (T)w.weight[k];       \
    }                                                                                                        \
    return at;                                                                                               \
  }                                                                                                          \
  static void add_list_##s(T *restrict y, T x, const int32_t *restrict cols, const T *restrict weights, int64_t n) { \
    for (int64_t k = 0; k < n; k++) y[cols[k]] += weights[k] * x;                                            \
  }
JITC(f32, float)
JITC(f64, double)

typedef struct jitc_job {
  void *y;
  const void *v;
  const bdl_k_events *s;
  const bdl_k_jitc *g;
  bdl_dtype d;
  int64_t first; /* of the list of rows: what list 0 holds */
  lists l;
  int64_t *lengths;
} jitc_job;

static void sum_rows(void *job, int64_t first, int64_t last, int thread) {
  const jitc_job *j = job;
  (void)thread;
  for (int64_t i = first; i < last; i++)
    if (j->d == BDL_F32)
      ((float *)j->y)[i] = sum_row_f32(j->v, j->s, j->g, i);
    else
      ((double *)j->y)[i] = sum_row_f64(j->v, j->s, j->g, i);
}

static int64_t row_of(const jitc_job *j, int64_t k) { return j->s ? j->s->ids[k] : k; }
static int32_t *columns_of(const jitc_job *j, int64_t list) { return (int32_t *)(j->lengths + j->l.n) + list * j->l.room; }
static void *weights_of(const jitc_job *j, int64_t list) {
  return (char *)columns_of(j, j->l.n) + (size_t)(list * j->l.room) * bdl_dtype_size(j->d);
}

static void fill_lists(void *job, int64_t first, int64_t last, int thread) {
  const jitc_job *j = job;
  (void)thread;
  for (int64_t k = first; k < last; k++) {
    const int64_t row = row_of(j, j->first + k);
    j->lengths[k] = j->d == BDL_F32 ? list_row_f32(columns_of(j, k), weights_of(j, k), j->l.room, j->g, row)
                                    : list_row_f64(columns_of(j, k), weights_of(j, k), j->l.room, j->g, row);
  }
}

/* y += row k of those listed; list < 0: drawn here. */
static void add_row(const jitc_job *j, int64_t k, int64_t list) {
  const int64_t i = row_of(j, k), n = list < 0 ? -1 : j->lengths[list];
  if (j->d == BDL_F32) {
    const float x = j->s ? 1 : ((const float *)j->v)[i];
    if (n < 0)
      add_row_f32(j->y, x, j->g, i);
    else
      add_list_f32(j->y, x, columns_of(j, list), weights_of(j, list), n);
  } else {
    const double x = j->s ? 1 : ((const double *)j->v)[i];
    if (n < 0)
      add_row_f64(j->y, x, j->g, i);
    else
      add_list_f64(j->y, x, columns_of(j, list), weights_of(j, list), n);
  }
}

void bdl_k_jitc_dot(void *y, const void *v, const bdl_k_events *s, const bdl_k_jitc *g, bool transpose, bdl_dtype d, void *room,
                    bdl_pool *pool) {
  jitc_job job = {.y = y, .v = v, .s = s, .g = g, .d = d, .l = lists_of(g, d), .lengths = room};
  const int64_t count = s ? s->count : g->rows;
  if (transpose) {
    bdl_pool_run(pool, g->rows, sum_rows, &job);
    return;
  }
  memset(y, 0, (size_t)g->cols * bdl_dtype_size(d));
  if (!pool || !room || job.l.n == 1) {
    for (int64_t k = 0; k < count; k++) add_row(&job, k, -1);
    return;
  }
  for (; job.first < count; job.first += job.l.n) {
    const int64_t n = BDL_MIN(job.l.n, count - job.first);
    bdl_pool_run(pool, n, fill_lists, &job);
    for (int64_t k = 0; k < n; k++) add_row(&job, job.first + k, k);
  }
}

/*
** conn.c -- connectivity: by probability, by number, by distance, by degree.
*/
#include <math.h>

#include "cpu/conn.h"
#include "cpu/random.h"

/* indptr[i + 1] holds the count of row i. */
static void sum_counts(int64_t *indptr, int64_t rows) {
  indptr[0] = 0;
  for (int64_t i = 0; i < rows; i++) indptr[i + 1] += indptr[i];
}

/* Words of counter (c0, c1) under a seed. */
static void words(uint64_t seed, uint32_t c0, uint32_t c1, uint32_t *a, uint32_t *b) {
  bdl_k_threefry((const uint32_t[2]){(uint32_t)(seed >> 32), (uint32_t)seed}, c0, c1, a, b);
}

/* Asked once in so many entries. */
enum { BLOCK = 1 << 14 };

/* A word as an integer below n. */
static int64_t below(uint32_t word, int64_t n) { return (int64_t)((uint64_t)word * (uint64_t)n >> 32); }

/* ---- by probability and distance ---------------------------------------------------------------------------- */

static double square_distance(const bdl_k_space *s, int64_t i, int64_t j) {
  double sum = 0;
  for (int d = 0; d < s->ndim; d++) {
    double x = fabs(s->pre[i * s->ndim + d] - s->post[j * s->ndim + d]);
    if (s->period && s->period[d] > 0) {
      x = fmod(x, s->period[d]);
      x = BDL_MIN(x, s->period[d] - x);
    }
    sum += x * x;
  }
  return sum;
}

/* Is a candidate kept?  Its word is of another stream than those of the columns. */
static bool near(const bdl_k_space *s, uint64_t seed, int64_t i, int64_t j) {
  const double r2 = square_distance(s, i, j);
  uint32_t a, b;
  if (r2 > s->most * s->most) return false;
  if (s->law == BDL_CONN_DISC) return true;
  words(~seed, (uint32_t)i, (uint32_t)j, &a, &b);
  return a * 0x1p-32 < exp(s->law == BDL_CONN_GAUSSIAN ? -r2 / (2 * s->scale * s->scale) : -sqrt(r2) / s->scale);
}

/* The columns of row i into z, unless that is NULL; how many. */
static int64_t sparse_row(int32_t *z, const bdl_k_jitc *g, const bdl_k_space *s, int64_t i, bool alone, bdl_k_stop *stop) {
  int32_t batch[BDL_JITC_BATCH];
  int64_t count = 0, column = -1;
  uint32_t t = 0;
  for (int n = BDL_JITC_BATCH; n == BDL_JITC_BATCH && !*stop;) {
    n = bdl_k_jitc_columns(batch, g, i, &t, &column);
    for (int k = 0; k < n; k++) {
      if ((alone && batch[k] == i) || (s && !near(s, g->seed, i, batch[k]))) continue;
      if (z) z[count] = batch[k];
      count++;
    }
  }
  return count;
}

typedef struct sparse_job {
  int64_t *indptr;
  int32_t *indices;
  const bdl_k_jitc *g;
  const bdl_k_space *s;
  bool alone;
  bdl_k_stop *stop;
} sparse_job;

static void sparse_rows(void *job, int64_t first, int64_t last, int thread) {
  const sparse_job *j = job;
  (void)thread;
  for (int64_t i = first; i < last; i++)
    if (j->indices)
      sparse_row(j->indices + j->indptr[i], j->g, j->s, i, j->alone, j->stop);
    else
      j->indptr[i + 1] = sparse_row(NULL, j->g, j->s, i, j->alone, j->stop);
}

void bdl_k_conn_sparse(int64_t *indptr, int32_t *indices, const bdl_k_jitc *g, const bdl_k_space *s, bool alone, bdl_pool *pool,
                       bdl_k_stop *stop) {
  sparse_job job = {.indptr = indptr, .indices = indices, .g = g, .s = s, .alone = alone, .stop = stop};
  bdl_pool_run(pool, g->rows, sparse_rows, &job);
  if (!indices) sum_counts(indptr, g->rows);
}

/* ---- by number ----------------------------------------------------------------------------------------------- */

/* k of n without repetition: for each j = n - k, .., n - 1 an integer t <= j, or j itself when t was taken.
** Source: Floyd; Bentley 1987. */
static void fixed_row(int32_t *z, uint64_t seed, int64_t i, int64_t n, int64_t k, uint64_t *seen, bdl_k_stop *stop) {
  uint32_t w[2];
  for (int64_t e = 0; e < k; e++) {
    if (e % BLOCK == 0 && *stop) return;
    if (e % 2 == 0) words(seed, (uint32_t)i, (uint32_t)(e / 2), &w[0], &w[1]);
    const int64_t j = n - k + e;
    int64_t t = below(w[e % 2], seen ? j + 1 : n);
    if (seen) {
      if (seen[t / 64] >> (t % 64) & 1) t = j;
      seen[t / 64] |= UINT64_C(1) << (t % 64);
    }
    z[e] = (int32_t)t;
  }
  for (int64_t e = 0; seen && e < k; e++) seen[z[e] / 64] = 0;
}

typedef struct fixed_job {
  int32_t *indices;
  uint64_t seed, *seen;
  int64_t n, k, words; /* columns to choose from, chosen; words of `seen` a thread */
  bool alone;
  bdl_k_stop *stop;
} fixed_job;

static void fixed_rows(void *job, int64_t first, int64_t last, int thread) {
  const fixed_job *j = job;
  uint64_t *seen = j->seen ? j->seen + j->words * thread : NULL;
  for (int64_t i = first; i < last; i++) {
    int32_t *z = j->indices + i * j->k;
    fixed_row(z, j->seed, i, j->n, j->k, seen, j->stop);
    for (int64_t e = 0; j->alone && e < j->k && !*j->stop; e++) z[e] += z[e] >= i;
  }
}

void bdl_k_conn_fixed(int32_t *indices, uint64_t seed, int64_t rows, int64_t cols, int64_t k, bool alone, uint64_t *seen,
                      bdl_pool *pool, bdl_k_stop *stop) {
  fixed_job job = {.indices = indices, .seed = seed, .seen = seen, .n = cols - alone, .k = k, .words = bdl_k_conn_words(cols),
                   .alone = alone, .stop = stop};
  bdl_pool_run(rows * k > 4096 ? pool : NULL, rows, fixed_rows, &job);
}

/* ---- from lists ---------------------------------------------------------------------------------------------- */

void bdl_k_conn_group(int64_t *indptr, int32_t *order, const int32_t *row, int64_t n, int64_t rows, bdl_k_stop *stop) {
  for (int64_t i = 0; i <= rows; i++) indptr[i] = 0;
  for (int64_t e = 0; e < n; e++) indptr[row[e] + 1]++;
  sum_counts(indptr, rows);
  for (int64_t e = 0; e < n; e++) {
    if (e % BLOCK == 0 && *stop) return;
    order[indptr[row[e]]++] = (int32_t)e; /* indptr[i] becomes the start of row i + 1 */
  }
  for (int64_t i = rows; i > 0; i--) indptr[i] = indptr[i - 1];
  indptr[0] = 0;
}

/* ---- by degree ----------------------------------------------------------------------------------------------- */

static bool contains(const int32_t *list, int64_t n, int32_t x) {
  while (n-- > 0)
    if (list[n] == x) return true;
  return false;
}

/* Both ends of all edges so far are a list in which a node stands as often as its degree says. */
void bdl_k_conn_scale_free(int32_t *pre, int32_t *post, uint64_t seed, int64_t n, int64_t m, bdl_k_stop *stop) {
  int64_t at = 0;
  for (int64_t i = m; i < n && !*stop; i++) {
    const int64_t first = at;
    uint32_t draw = 0;
    for (int64_t e = 0; e < m; e++, at++) {
      uint32_t a, b;
      post[at] = (int32_t)e;
      for (bool again = i > m; again; again = contains(post + first, e, post[at])) {
        words(seed, (uint32_t)i, draw++, &a, &b);
        const int64_t end = below(a, 2 * first);
        post[at] = end % 2 ? pre[end / 2] : post[end / 2];
      }
      pre[at] = (int32_t)i;
    }
  }
  for (int64_t e = 0; e < at; e++) {
    pre[at + e] = post[e];
    post[at + e] = pre[e];
  }
}

/*
** event_csr.c -- products with sparse matrices.
**
** The order of additions to one result of v A is that of rows, then of entries in a row; of A s, that of columns, entries of one
** column as they stand.  It depends on nothing else.
*/
#include <stdatomic.h>
#include <string.h>

#include "cpu/event.h"

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll_count(4)")
#else
#define UNROLL _Pragma("GCC unroll 4")
#endif

#define FINE ((bdl_csr_error){BDL_CSR_FINE, 0, 0, 0})

/* ---- rows */

/* Do the pointers ascend within nnz, and are all columns of the row in range? */
static bdl_csr_error check_row(const bdl_k_csr *a, int64_t i, int64_t lo, int64_t hi) {
  if (lo < 0 || lo > hi || hi > a->nnz) return (bdl_csr_error){BDL_CSR_POINTER, i, lo < 0 ? lo : hi, a->nnz};
  if (a->narrow) return FINE; /* made of checked ones */
  const int32_t *columns = a->indices;
  const int64_t k = bdl_k_index_outside(columns + lo, false, hi - lo, a->cols);
  return k < 0 ? FINE : (bdl_csr_error){BDL_CSR_COLUMN, lo + k, columns[lo + k], a->cols};
}

/* The entries of row i; its fault, where the matrix is not known to have none. */
static inline bdl_csr_error enter(const bdl_k_csr *a, int64_t i, int64_t *lo, int64_t *hi) {
  bdl_k_csr_row(a, i, lo, hi);
  return a->sound ? FINE : check_row(a, i, *lo, *hi);
}

static bdl_csr_error check_places(const bdl_k_csr *a, int64_t lo, int64_t hi) {
  const int64_t k = bdl_k_index_outside(a->places + lo, false, hi - lo, a->nnz);
  return k < 0 ? FINE : (bdl_csr_error){BDL_CSR_PLACE, lo + k, (int32_t)a->places[lo + k], a->nnz};
}

bdl_csr_error bdl_k_csr_check(const bdl_k_csr *a) {
  for (int64_t i = 0; i < a->rows; i++) {
    int64_t lo, hi;
    bdl_k_csr_row(a, i, &lo, &hi);
    const bdl_csr_error e = check_row(a, i, lo, hi);
    if (e.fault != BDL_CSR_FINE) return e;
  }
  return FINE;
}

/* ---- rows that are not in order: memory is asked for some rows ahead */

enum { LINE = 64, LINES = 16 }; /* what lies behind the first lines of a row the processor sees coming */

/* Functions that only prefetch count as having no effect: calls are dropped, unless inlined before. */
#define FETCH static inline __attribute__((always_inline)) void

FETCH fetch(const void *from, int64_t bytes) {
  for (int64_t b = 0; b < BDL_MIN(bytes, LINES * LINE); b += LINE) __builtin_prefetch((const char *)from + b);
}

/* From a whole row to its part; ALL: nothing to do. */
enum { ALL = -1 };
static inline void narrow_to(const bdl_k_csr *a, int64_t i, int64_t part, int64_t *lo, int64_t *hi) {
  if (part == ALL) return;
  const uint32_t *cut = a->cuts + i * (a->parts + 1) + part;
  *hi = *lo + cut[1];
  *lo += cut[0];
}

FETCH fetch_row(const bdl_k_csr *a, int64_t i, int64_t part, size_t size) {
  int64_t lo, hi;
  if (i < 0 || i >= a->rows) return;
  bdl_k_csr_row(a, i, &lo, &hi);
  narrow_to(a, i, part, &lo, &hi);
  const size_t width = a->narrow ? sizeof(uint16_t) : sizeof(int32_t);
  fetch((const char *)a->indices + (size_t)lo * width, (hi - lo) * (int64_t)width);
  if (a->same) return;
  if (a->places)
    fetch(a->places + lo, (hi - lo) * (int64_t)sizeof *a->places);
  else
    fetch((const char *)a->data + (size_t)lo * size, (hi - lo) * (int64_t)size);
}

FETCH fetch_pointer(const bdl_k_csr *a, int64_t i, int64_t part) {
  if (a->indptr) __builtin_prefetch((const char *)a->indptr + (size_t)i * (a->wide ? 8 : 4));
  if (part != ALL) __builtin_prefetch(a->cuts + i * (a->parts + 1) + part);
}

/* Rows ahead: about as many entries as are added while memory answers. */
static inline int64_t ahead_of(const bdl_k_csr *a) { return BDL_MIN(16, 1 + 160 / (1 + a->nnz / BDL_MAX(a->rows, 1))); }

/* Enters row ids[r] of a list. */
static inline bdl_csr_error enter_listed(const bdl_k_csr *a, const int32_t *ids, int64_t r, int64_t count, int64_t part,
                                         int64_t ahead, size_t size, int64_t *lo, int64_t *hi) {
  if (ids[r] < 0 || ids[r] >= a->rows) return (bdl_csr_error){BDL_CSR_ROW, r, ids[r], a->rows};
  if (r + 2 * ahead < count) fetch_pointer(a, ids[r + 2 * ahead], part);
  if (r + ahead < count) fetch_row(a, ids[r + ahead], part, size);
  const bdl_csr_error e = enter(a, ids[r], lo, hi);
  narrow_to(a, ids[r], part, lo, hi);
  return e;
}

/* ---- entries of a row that does not ascend */

enum { FEW = 256, PLACE = 33 }; /* entries at a time; bits of a place in the row */

/* The first active entries of a row from key `from` on, as ascending keys column << PLACE | place; how many: FEW, there may be more. */
static int64_t first_hits(uint64_t keys[FEW], const bdl_k_csr *a, const uint32_t *bits, int64_t lo, int64_t hi, uint64_t from) {
  int64_t n = 0;
  for (int64_t k = lo; k < hi; k++) {
    const uint32_t j = a->narrow ? ((const uint16_t *)a->indices)[k] : ((const uint32_t *)a->indices)[k];
    const uint64_t key = (uint64_t)j << PLACE | (uint64_t)(k - lo);
    if (!bdl_k_is_active(bits, j) || key < from || (n == FEW && key > keys[FEW - 1])) continue;
    int64_t at = n < FEW ? n++ : FEW - 1;
    for (; at > 0 && keys[at - 1] > key; at--) keys[at] = keys[at - 1];
    keys[at] = key;
  }
  return n;
}

/* ---- products: weights W, columns C */

typedef struct product {
  bdl_csr_error (*loop)(const struct product *p, int64_t at); /* at: a part of the columns, ALL, or a row */
  const bdl_k_csr *a;
  void *z;
  const void *v, *y;
  const int32_t *ids; /* rows; NULL: 0 .. count - 1 */
  int64_t count;
  const uint32_t *bits; /* of columns */
  const bdl_k_learn *learn;
  atomic_llong bad;     /* the first row of the list with a fault; count: none */
} product;

#define STOP_AT(CALL)                        \
  do {                                       \
    const bdl_csr_error e_ = (CALL);         \
    if (e_.fault != BDL_CSR_FINE) return e_; \
  } while (0)

/* z[column of k] += VALUE of every entry of a row */
#define ADD_ROW(VALUE) UNROLL for (int64_t k = lo; k < hi; k++) z[column[k]] += VALUE;

#define SPARSE_OVER(s, T, W, c, C)                                                                                 \
  static bdl_csr_error scatter_##s##_##c(const product *p, int64_t part) {                                       \
    const bdl_k_csr *a = p->a;                                                                                   \
    W *restrict z = p->z;                                                                                        \
    const W *restrict w = a->data, same = a->same ? *w : 0;                                                      \
    const C *restrict column = a->indices;                                                                       \
    const uint32_t *restrict places = a->places;                                                                 \
    const int64_t ahead = ahead_of(a);                                                                           \
    for (int64_t r = 0; r < p->count; r++) {                                                                     \
      int64_t lo, hi;                                                                                            \
      STOP_AT(enter_listed(a, p->ids, r, p->count, part, ahead, sizeof *w, &lo, &hi));                           \
      if (a->same) {                                                                                             \
        ADD_ROW(same)                                                                                            \
      } else if (places) {                                                                                       \
        ADD_ROW(w[places[k]])                                                                                    \
      } else {                                                                                                   \
        ADD_ROW(w[k])                                                                                            \
      }                                                                                                          \
    }                                                                                                            \
    return FINE;                                                                                                 \
  }                                                                                                              \
  static bdl_csr_error left_##s##_##c(const product *p, int64_t part) {                                          \
    const bdl_k_csr *a = p->a;                                                                                   \
    W *restrict z = p->z;                                                                                        \
    const W *restrict w = a->data, *restrict v = p->v;                                                           \
    const C *restrict column = a->indices;                                                                       \
    const uint32_t *restrict places = a->places;                                                                 \
    for (int64_t i = 0; i < p->count; i++) {                                                                     \
      int64_t lo, hi;                                                                                            \
      STOP_AT(enter(a, i, &lo, &hi));                                                                            \
      narrow_to(a, i, part, &lo, &hi);                                                                           \
      const W x = v[i], same = a->same ? w[0] * x : 0;                                                           \
      if (a->same) {                                                                                             \
        ADD_ROW(same)                                                                                            \
      } else if (places) {                                                                                       \
        ADD_ROW(w[places[k]] * x)                                                                                \
      } else {                                                                                                   \
        ADD_ROW(w[k] * x)                                                                                        \
      }                                                                                                          \
    }                                                                                                            \
    return FINE;                                                                                                 \
  }                                                                                                              \
  /* one row of A v: two interleaved sums */                                                                     \
  static bdl_csr_error right_##s##_##c(const product *p, int64_t i) {                                            \
    const bdl_k_csr *a = p->a;                                                                                   \
    const W *restrict w = a->data, *restrict v = p->v;                                                           \
    const C *restrict column = a->indices;                                                                       \
    W sum[2] = {0, 0};                                                                                           \
    int64_t lo, hi;                                                                                              \
    STOP_AT(enter(a, i, &lo, &hi));                                                                              \
    UNROLL for (int64_t k = lo; k < hi; k++) sum[(k - lo) & 1] += (a->same ? w[0] : w[k]) * v[column[k]];        \
    ((W *)p->z)[i] = sum[0] + sum[1];                                                                            \
    return FINE;                                                                                                 \
  }                                                                                                              \
  static bdl_csr_error outer_##s##_##c(const product *p, int64_t r) {                                            \
    const bdl_k_csr *a = p->a;                                                                                   \
    W *restrict z = p->z;                                                                                        \
    const W *restrict y = p->y;                                                                                  \
    const C *restrict column = a->indices;                                                                       \
    const int64_t i = p->ids ? p->ids[r] : r;                                                                    \
    const W x = p->ids ? 1 : ((const W *)p->v)[i];                                                               \
    int64_t lo, hi;                                                                                              \
    STOP_AT(enter(a, i, &lo, &hi));                                                                              \
    UNROLL for (int64_t k = lo; k < hi; k++) z[k] += x * y[column[k]];                                           \
    return FINE;                                                                                                 \
  }                                                                                                              \
  static bdl_csr_error learn_##s##_##c(const product *p, int64_t r) {                                            \
    const bdl_k_csr *a = p->a;                                                                                   \
    const bdl_k_learn *l = p->learn;                                                                             \
    const uint32_t *restrict places = a->places;                                                                 \
    T *restrict w = p->z;                                                                                        \
    const T *restrict x = l->x;                                                                                  \
    const C *restrict column = a->indices;                                                                       \
    const T low = *(const T *)l->low, high = *(const T *)l->high;                                                \
    int64_t lo, hi;                                                                                              \
    STOP_AT(enter_listed(a, p->ids, r, p->count, ALL, ahead_of(a), sizeof *w, &lo, &hi));                        \
    const T gain = ((const T *)l->gain)[l->same ? 0 : p->ids[r]];                                                \
    if (places) STOP_AT(check_places(a, lo, hi));                                                                \
    UNROLL for (int64_t k = lo; k < hi; k++) {                                                                   \
      T *at = w + (places ? places[k] : k);                                                                      \
      const T z = (T)((W)*at + (W)x[column[k]] * (W)gain), up = BDL_K_AT_LEAST(low, z);                          \
      *at = BDL_K_AT_MOST(high, up);                                                                             \
    }                                                                                                            \
    return FINE;                                                                                                 \
  }                                                                                                              \
  /* z[i] += active entries of the row, by columns */                                                            \
  static W gather_sorted_##s##_##c(const product *p, int64_t lo, int64_t hi, W sum) {                             \
    const W *restrict w = (const W *)p->a->data + lo;                                                            \
    uint64_t keys[FEW], from = 0;                                                                                \
    for (int64_t n = FEW; n == FEW; from = keys[FEW - 1] + 1) {                                                  \
      n = first_hits(keys, p->a, p->bits, lo, hi, from);                                                         \
      for (int64_t r = 0; r < n; r++) sum += w[keys[r] & ((UINT64_C(1) << PLACE) - 1)];                          \
    }                                                                                                            \
    return sum;                                                                                                  \
  }                                                                                                              \
  /* z[i] += one row of A s: the hits of 32 entries, then their weights */                                       \
  static bdl_csr_error gather_##s##_##c(const product *p, int64_t i) {                                           \
    const bdl_k_csr *a = p->a;                                                                                   \
    const W *restrict w = a->data;                                                                               \
    const uint32_t *restrict bits = p->bits;                                                                     \
    W *z = (W *)p->z + i, sum = *z;                                                                              \
    int64_t lo, hi, last = -1;                                                                                   \
    bool ascends = true;                                                                                         \
    STOP_AT(enter(a, i, &lo, &hi));                                                                              \
    const C *restrict column = (const C *)a->indices + lo;                                                       \
    for (int64_t k = lo; k < hi; k += 32, column += 32) {                                                        \
      uint32_t hit = 0;                                                                                          \
      if (hi - k >= 32)                                                                                          \
        for (int l = 0; l < 32; l++) hit |= (uint32_t)bdl_k_is_active(bits, (uint32_t)column[l]) << l;           \
      else                                                                                                       \
        for (int l = 0; l < hi - k; l++) hit |= (uint32_t)bdl_k_is_active(bits, (uint32_t)column[l]) << l;       \
      for (; hit; hit &= hit - 1) {                                                                              \
        const int l = __builtin_ctz(hit);                                                                        \
        ascends &= column[l] >= last;                                                                            \
        last = column[l];                                                                                        \
        sum += w[a->same ? 0 : k + l];                                                                           \
      }                                                                                                          \
    }                                                                                                            \
    *z = ascends || a->same ? sum : gather_sorted_##s##_##c(p, lo, hi, *z);                                      \
    return FINE;                                                                                                 \
  }

#define SPARSE(d, s, T, W) SPARSE_OVER(s, T, W, i32, int32_t) SPARSE_OVER(s, T, W, u16, uint16_t)
BDL_K_NUMBERS(SPARSE)

/* A product's loops, by type of weights and of columns. */
#define LOOPS(name, NAMES) static bdl_csr_error (*const name[BDL_DTYPE_COUNT][2])(const product *, int64_t) = {BDL_K_NUMBERS(NAMES)}
#define SCATTER(d, s, T, W) [d] = {scatter_##s##_i32, scatter_##s##_u16},
#define LEFT(d, s, T, W) [d] = {left_##s##_i32, left_##s##_u16},
#define RIGHT(d, s, T, W) [d] = {right_##s##_i32, right_##s##_u16},
#define OUTER(d, s, T, W) [d] = {outer_##s##_i32, outer_##s##_u16},
#define GATHER(d, s, T, W) [d] = {gather_##s##_i32, gather_##s##_u16},
#define LEARN(d, s, T, W) [d] = {learn_##s##_i32, learn_##s##_u16},
LOOPS(scatter, SCATTER);
LOOPS(left, LEFT);
LOOPS(right, RIGHT);
LOOPS(outer, OUTER);
LOOPS(gather, GATHER);
LOOPS(learn, LEARN);

/* ---- shared out among threads */

enum { ROWS = 256 }; /* that a thread takes at a time */

static void row_blocks(void *job, int64_t first, int64_t last, int thread) {
  product *p = job;
  (void)thread;
  for (int64_t r = first * ROWS; r < BDL_MIN(last * ROWS, p->count); r++) {
    if (p->loop(p, r).fault == BDL_CSR_FINE) continue;
    long long least = atomic_load(&p->bad);
    while (r < least && !atomic_compare_exchange_weak(&p->bad, &least, r)) continue;
    break;
  }
}

/* Each row of the list for itself. */
static bdl_csr_error each_row(product *p, bdl_pool *pool) {
  atomic_init(&p->bad, p->count);
  bdl_pool_run(pool, (p->count + ROWS - 1) / ROWS, row_blocks, p);
  const int64_t bad = atomic_load(&p->bad);
  return bad < p->count ? p->loop(p, bad) : FINE;
}

static void parts(void *job, int64_t first, int64_t last, int thread) {
  product *p = job;
  (void)thread;
  if (last - first == p->a->parts) {
    if (p->loop(p, ALL).fault != BDL_CSR_FINE) atomic_store(&p->bad, 0);
    return;
  }
  for (int64_t part = first; part < last; part++)
    if (p->loop(p, part).fault != BDL_CSR_FINE) atomic_store(&p->bad, 0);
}

/* All rows of the list into each part of the columns. */
static bdl_csr_error each_part(product *p, bdl_pool *pool) {
  if (!pool || p->a->parts == 0) return p->loop(p, ALL);
  atomic_init(&p->bad, p->count);
  bdl_pool_run(pool, p->a->parts, parts, p);
  return atomic_load(&p->bad) < p->count ? p->loop(p, ALL) : FINE;
}

bdl_csr_error bdl_k_csr_scatter(void *y, const int32_t *ids, int64_t count, const bdl_k_csr *a, bdl_dtype d, bdl_pool *pool) {
  return each_part(&(product){.loop = scatter[d][a->narrow], .a = a, .z = y, .ids = ids, .count = count}, pool);
}

bdl_csr_error bdl_k_csr_left(void *y, const void *v, const bdl_k_csr *a, bdl_dtype d, bdl_pool *pool) {
  memset(y, 0, (size_t)a->cols * bdl_dtype_size(d));
  return each_part(&(product){.loop = left[d][a->narrow], .a = a, .z = y, .v = v, .count = a->rows}, pool);
}

bdl_csr_error bdl_k_csr_right(void *y, const void *v, const bdl_k_csr *a, bdl_dtype d, bdl_pool *pool) {
  return each_row(&(product){.loop = right[d][a->narrow], .a = a, .z = y, .v = v, .count = a->rows}, pool);
}

bdl_csr_error bdl_k_csr_gather(void *y, const bdl_k_events *s, const bdl_k_csr *a, bdl_dtype d, bdl_pool *pool) {
  return each_row(&(product){.loop = gather[d][a->narrow], .a = a, .z = y, .bits = s->bits, .count = a->rows}, pool);
}

bdl_csr_error bdl_k_csr_outer(void *z, const void *v, const bdl_k_events *s, const void *y, const bdl_k_csr *a, bdl_dtype d,
                              bdl_pool *pool) {
  product p = {.loop = outer[d][a->narrow], .a = a, .z = z, .v = v, .y = y, .count = a->rows};
  if (!v) p.ids = s->ids, p.count = s->count;
  return each_row(&p, pool);
}

bdl_csr_error bdl_k_csr_learn(void *w, const bdl_k_learn *l, const bdl_k_csr *a, bdl_dtype d, bdl_pool *pool) {
  bdl_k_csr b = *a;
  b.data = w; /* asked for ahead */
  b.same = false;
  product p = {.loop = learn[d][a->narrow], .a = &b, .z = w, .ids = l->ids, .count = l->count, .learn = l};
  return each_row(&p, a->places ? NULL : pool); /* places may repeat */
}

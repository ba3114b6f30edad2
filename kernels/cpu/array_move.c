/*
** array_move.c -- copies through strides, padding, gather and scatter.
*/
#include <string.h>

#include "cpu/array.h"
#include "cpu/turn.h"

void bdl_k_row_major(int ndim, const int64_t *shape, int64_t *stride) {
  int64_t step = 1;
  for (int k = ndim - 1; k >= 0; k--) {
    stride[k] = step;
    step *= shape[k];
  }
}

void bdl_k_fill(void *dst, const void *value, int64_t n, size_t size) {
  if (n <= 0) return;
  if (size == 1) {
    memset(dst, *(const unsigned char *)value, (size_t)n);
    return;
  }
  if (size == 4) {
    uint32_t v, *z = dst;
    memcpy(&v, value, 4);
    for (int64_t i = 0; i < n; i++) z[i] = v;
    return;
  }
  uint64_t v, *z = dst;
  memcpy(&v, value, 8);
  for (int64_t i = 0; i < n; i++) z[i] = v;
}

/* ---- strided moves: merged axes, then two nested loops written out a size, the rest as an odometer */

typedef struct axis {
  int64_t n, dst, src;
} axis;

/* rows x cols elements; both loops strided.  Transposes go in blocks, so that neither side misses a line an element; TURN turns over
** squares of S in registers. */
#define MOVE(name, T, S, TURN)                                                               \
  static void name(void *dst, const void *src, axis rows, axis cols) {                       \
    T *restrict z = dst;                                                                     \
    const T *restrict x = src;                                                               \
    enum { block = 64 / sizeof(T) };                                                         \
    if (cols.src == 1 && cols.dst == 1) {                                                    \
      for (int64_t i = 0; i < rows.n; i++)                                                   \
        memcpy(z + i * rows.dst, x + i * rows.src, (size_t)cols.n * sizeof(T));              \
    } else if (cols.src == 0 && cols.dst == 1) {                                             \
      for (int64_t i = 0; i < rows.n; i++) {                                                 \
        const T v = x[i * rows.src];                                                         \
        for (int64_t j = 0; j < cols.n; j++) z[i * rows.dst + j] = v;                        \
      }                                                                                      \
    } else if (rows.src == 1 && cols.dst == 1) {                                             \
      for (int64_t i0 = 0; i0 < rows.n; i0 += block)                                         \
        for (int64_t j0 = 0; j0 < cols.n; j0 += block)                                       \
          if (S > 1 && i0 + block <= rows.n && j0 + block <= cols.n)                         \
            for (int64_t j = j0; j < j0 + block; j += S)                                     \
              for (int64_t i = i0; i < i0 + block; i += S)                                   \
                TURN(z + i * rows.dst + j, rows.dst, x + i + j * cols.src, cols.src);        \
          else                                                                               \
            for (int64_t i = i0; i < BDL_MIN(i0 + block, rows.n); i++)                       \
              for (int64_t j = j0; j < BDL_MIN(j0 + block, cols.n); j++)                     \
                z[i * rows.dst + j] = x[i + j * cols.src];                                   \
    } else {                                                                                 \
      for (int64_t i = 0; i < rows.n; i++)                                                   \
        for (int64_t j = 0; j < cols.n; j++)                                                 \
          z[i * rows.dst + j * cols.dst] = x[i * rows.src + j * cols.src];                   \
    }                                                                                        \
  }
static inline void move_one(uint8_t *to, int64_t step, const uint8_t *from, int64_t lead) { (void)step, (void)lead, *to = *from; }
static inline void move_square_4(void *to, int64_t step, const void *from, int64_t lead) { turn_f32(to, step, from, lead); }
static inline void move_square_8(void *to, int64_t step, const void *from, int64_t lead) { turn_f64(to, step, from, lead); }
MOVE(move_1, uint8_t, 1, move_one)
MOVE(move_4, uint32_t, SQUARE_f32, move_square_4)
MOVE(move_8, uint64_t, SQUARE_f64, move_square_8)
#undef MOVE

void bdl_k_strided_move(void *dst, const int64_t *dst_stride, const void *src, const int64_t *src_stride, int ndim,
                        const int64_t *shape, size_t size) {
  axis a[BDL_MAX_NDIM + 2] = {{1, 0, 0}, {1, 0, 0}}; /* at least two */
  int n = 2;
  for (int k = 0; k < ndim; k++) {
    if (shape[k] == 0) return;
    if (shape[k] == 1) continue;
    axis last = a[n - 1], x = {shape[k], dst_stride[k], src_stride[k]};
    if (n > 2 && last.dst == x.dst * x.n && last.src == x.src * x.n)
      a[n - 1] = (axis){last.n * x.n, x.dst, x.src};
    else
      a[n++] = x;
  }
  axis rows = a[n - 2], cols = a[n - 1];
  int64_t at[BDL_MAX_NDIM + 2] = {0};
  char *z = dst;
  const char *x = src;
  for (;;) {
    (size == 1 ? move_1 : size == 4 ? move_4 : move_8)(z, x, rows, cols);
    int k = n - 3;
    for (; k >= 0; k--) {
      z += a[k].dst * (int64_t)size, x += a[k].src * (int64_t)size;
      if (++at[k] < a[k].n) break;
      z -= a[k].n * a[k].dst * (int64_t)size, x -= a[k].n * a[k].src * (int64_t)size;
      at[k] = 0;
    }
    if (k < 0) return;
  }
}

void bdl_k_strided_copy(void *dst, const void *src, const int64_t *src_stride, int ndim, const int64_t *shape, size_t size) {
  int64_t stride[BDL_MAX_NDIM];
  bdl_k_row_major(ndim, shape, stride);
  bdl_k_strided_move(dst, stride, src, src_stride, ndim, shape, size);
}

void bdl_k_pad(void *dst, const int64_t *dst_shape, const void *src, int ndim, const int64_t *shape, const void *value,
               const int64_t *lo, const int64_t *inner, size_t size) {
  int64_t n = 1, ds[BDL_MAX_NDIM], ss[BDL_MAX_NDIM], count[BDL_MAX_NDIM], from = 0, to = 0;
  for (int k = 0; k < ndim; k++) n *= dst_shape[k];
  bdl_k_fill(dst, value, n, size);
  bdl_k_row_major(ndim, dst_shape, ds);
  bdl_k_row_major(ndim, shape, ss);
  for (int k = 0; k < ndim; k++) { /* of elements first .. last of the axis lands element i at lo + i step */
    int64_t step = inner[k] + 1, first = lo[k] < 0 ? (-lo[k] + step - 1) / step : 0;
    int64_t room = dst_shape[k] - 1 - lo[k], last = room < 0 ? -1 : BDL_MIN(shape[k] - 1, room / step);
    if (last < first) return;
    count[k] = last - first + 1;
    from += first * ss[k], to += (lo[k] + first * step) * ds[k];
    ds[k] *= step;
  }
  bdl_k_strided_move((char *)dst + to * (int64_t)size, ds, (const char *)src + from * (int64_t)size, ss, ndim, count, size);
}

/* ---- indexing */

int64_t bdl_k_index_at(const void *index, bool wide, int64_t k) {
  return wide ? ((const int64_t *)index)[k] : ((const int32_t *)index)[k];
}

int64_t bdl_k_index_outside(const void *index, bool wide, int64_t n, int64_t extent) {
  enum { block = 1024 }; /* whether any is outside first, which vectorises; then which */
  for (int64_t k0 = 0; k0 < n; k0 += block) {
    int64_t end = BDL_MIN(k0 + block, n);
    int bad = 0;
    if (wide) {
      const int64_t *i = index;
      for (int64_t k = k0; k < end; k++) bad |= (uint64_t)i[k] >= (uint64_t)extent;
    } else {
      const int32_t *i = index;
      const uint32_t limit = (uint32_t)BDL_MIN(extent, (int64_t)1 << 31);
      for (int64_t k = k0; k < end; k++) bad |= (uint32_t)i[k] >= limit;
    }
    for (int64_t k = k0; bad && k < end; k++) {
      int64_t i = bdl_k_index_at(index, wide, k);
      if (i < 0 || i >= extent) return k;
    }
  }
  return -1;
}

/* One block of x: z[k, i] = x[index, i] */
#define GATHER(name, T, I)                                                                             \
  static void name(void *dst, const void *src, const bdl_k_indexing *g, const void *index) {           \
    T *restrict z = dst;                                                                               \
    const T *restrict x = src;                                                                         \
    const I *restrict at = index;                                                                      \
    const int64_t inner = g->inner;                                                                    \
    if (g->each)                                                                                       \
      for (int64_t k = 0; k < g->m; k++)                                                               \
        for (int64_t i = 0; i < inner; i++) z[k * inner + i] = x[at[k * inner + i] * inner + i];       \
    else if (inner == 1)                                                                               \
      for (int64_t k = 0; k < g->m; k++) z[k] = x[at[k]];                                              \
    else                                                                                               \
      for (int64_t k = 0; k < g->m; k++)                                                               \
        memcpy(z + k * inner, x + at[k] * inner, (size_t)inner * sizeof(T));                           \
  }
GATHER(gather_1_i32, uint8_t, int32_t)
GATHER(gather_4_i32, uint32_t, int32_t)
GATHER(gather_8_i32, uint64_t, int32_t)
GATHER(gather_1_i64, uint8_t, int64_t)
GATHER(gather_4_i64, uint32_t, int64_t)
GATHER(gather_8_i64, uint64_t, int64_t)
#undef GATHER

/* The index of one block of x. */
static const char *index_of(const bdl_k_indexing *g, int64_t o) {
  int64_t at = 0;
  for (int k = g->n_axes - 1; k > 0; k--) {
    at += o % g->extent[k] * g->step[k];
    o /= g->extent[k];
  }
  if (g->n_axes > 0) at += o * g->step[0];
  return (const char *)g->index + at * (g->wide ? 8 : 4);
}

typedef struct gather_job {
  void (*block)(void *, const void *, const bdl_k_indexing *, const void *);
  char *z;
  const char *x;
  int64_t step_z, step_x;
  const bdl_k_indexing *g;
} gather_job;

static void gather_blocks(void *job, int64_t first, int64_t last, int thread) {
  const gather_job *j = job;
  (void)thread;
  for (int64_t o = first; o < last; o++) j->block(j->z + o * j->step_z, j->x + o * j->step_x, j->g, index_of(j->g, o));
}

void bdl_k_gather(void *z, const void *x, const bdl_k_indexing *g, size_t size, bdl_pool *pool) {
  void (*block)(void *, const void *, const bdl_k_indexing *, const void *) =
      size == 1   ? (g->wide ? gather_1_i64 : gather_1_i32)
      : size == 4 ? (g->wide ? gather_4_i64 : gather_4_i32)
                  : (g->wide ? gather_8_i64 : gather_8_i32);
  gather_job job = {.block = block, .z = z, .x = x, .step_z = g->m * g->inner * (int64_t)size,
                    .step_x = g->n * g->inner * (int64_t)size, .g = g};
  bdl_pool_run(pool, g->outer, gather_blocks, &job);
}

/* ---- scatter: one block of x a call; `each` has m x inner single updates, else m rows */

#define SET(a, b) (b)
#define ADD(a, b) ((a) + (b))
#define MUL(a, b) ((a) * (b))
#define LESSER(a, b) ((b) < (a) || (b) != (b) ? (b) : (a))
#define GREATER(a, b) ((b) > (a) || (b) != (b) ? (b) : (a))

#define SCATTER_LOOP(OP)                                                           \
  for (int64_t k = 0; k < g->m; k++) {                                             \
    int64_t at = g->each ? 0 : bdl_k_index_at(index, g->wide, k);                  \
    for (int64_t i = 0; i < g->inner; i++) {                                       \
      if (g->each) at = bdl_k_index_at(index, g->wide, k * g->inner + i);          \
      x[at * g->inner + i] = OP(x[at * g->inner + i], u[k * g->inner + i]);        \
    }                                                                              \
  }                                                                                \
  break

/* T compares, W adds and multiplies (wrapping); both views of the same bytes have one size and are never mixed in a case. */
#define SCATTER(d, s, T, W)                                                                                     \
  static void scatter_##s(void *dst, const void *src, const bdl_k_indexing *g, const void *index, bdl_scatter_op op) { \
    if (op == BDL_SC_ADD || op == BDL_SC_MUL) {                                                                 \
      W *restrict x = dst;                                                                                      \
      const W *restrict u = src;                                                                                \
      switch (op) {                                                                                             \
        case BDL_SC_ADD: SCATTER_LOOP(ADD);                                                                     \
        default: SCATTER_LOOP(MUL);                                                                             \
      }                                                                                                         \
      return;                                                                                                   \
    }                                                                                                           \
    T *restrict x = dst;                                                                                        \
    const T *restrict u = src;                                                                                  \
    switch (op) {                                                                                               \
      case BDL_SC_MIN: SCATTER_LOOP(LESSER);                                                                    \
      case BDL_SC_MAX: SCATTER_LOOP(GREATER);                                                                   \
      default: SCATTER_LOOP(SET);                                                                               \
    }                                                                                                           \
  }
BDL_K_NUMBERS(SCATTER)
SCATTER(BDL_BOOL, bool, uint8_t, uint8_t)
#undef SCATTER

typedef struct scatter_job {
  void (*block)(void *, const void *, const bdl_k_indexing *, const void *, bdl_scatter_op);
  char *x;
  const char *u;
  int64_t step_x, step_u;
  const bdl_k_indexing *g;
  bdl_scatter_op op;
} scatter_job;

static void scatter_blocks(void *job, int64_t first, int64_t last, int thread) {
  const scatter_job *j = job;
  (void)thread;
  for (int64_t o = first; o < last; o++) j->block(j->x + o * j->step_x, j->u + o * j->step_u, j->g, index_of(j->g, o), j->op);
}

void bdl_k_scatter(void *x, const void *u, const bdl_k_indexing *g, bdl_scatter_op op, bdl_dtype d, bdl_pool *pool) {
  static void (*const block[BDL_DTYPE_COUNT])(void *, const void *, const bdl_k_indexing *, const void *, bdl_scatter_op) = {
#define ROW(d, s, T, W) [d] = scatter_##s,
      BDL_K_NUMBERS(ROW)
#undef ROW
      [BDL_BOOL] = scatter_bool};
  const int64_t size = (int64_t)bdl_dtype_size(d);
  scatter_job job = {.block = block[d], .x = x, .u = u, .step_x = g->n * g->inner * size, .step_u = g->m * g->inner * size,
                     .g = g, .op = op};
  bdl_pool_run(pool, g->outer, scatter_blocks, &job);
}

/*
** device.c -- all that programs for a GPU may call, in what C99 and CUDA C++ have in common (prelude.cu).
** Never compiled as it stands: the build runs the preprocessor over it, and export/library.c writes out the functions that a program
** uses, and what those use.  __builtin_<f> is CUDA's <f>.
**
** Functions with the names and operands of kernels/export/device.c, but collective: all threads of the grid call them alike, and they
** share the work out.  Who calls puts sync() behind it where something depends on it; inside they do so themselves.  What they compute
** must not depend on the number of threads; where the text says so it has the bits of kernels/cpu.
*/
#define BDL_FN BDL_DEVICE
#define BDL_ONE BDL_GLOBAL
/* By half warps: lane j of 16 has part j.  Tiles are combined by one thread, in order. */
#define BDL_RED_MORE(op, identity, nan_wins)                                                       \
  BDL_FN T FN(id_##op)(void) { return (T)(identity); }                                             \
  BDL_FN T FN(tree_##op)(T x) {                                                                    \
    for (int32_t half = 8; half > 0; half /= 2) x = FN(red_##op)(x, FN(shfl)(x, LANE + half));     \
    return x;                                                                                      \
  }                                                                                                \
  BDL_ONE T FN(combine_##op)(const MEMORY *part, int32_t n) {                                      \
    T z = part[0];                                                                                 \
    bool nan = z != z;                                                                             \
    MEMORY next[PARTS_AT_ONCE];                                                                    \
    for (int32_t k = 1; k < n; k += PARTS_AT_ONCE) {                                               \
      UNROLLED for (int32_t t = 0; t < PARTS_AT_ONCE; t++) next[t] = part[least_of(k + t, n - 1)]; \
      UNROLLED for (int32_t t = 0; t < PARTS_AT_ONCE; t++)                                         \
        if (k + t < n) z = FN(red_##op)(z, next[t]), nan = nan || next[t] != next[t];              \
    }                                                                                              \
    return nan_wins(nan, z);                                                                       \
  }
enum { PARTS_AT_ONCE = 32 }; /* that a thread asks for before it needs the first */
BDL_FN int32_t least_of(int32_t a, int32_t b) { return a < b ? a : b; }
#include "export/common.inc"

/* The value of another lane of the warp. */
BDL_FN bool shfl_b8(bool x, int32_t lane) { return shfl_u32(x, lane & 31) != 0; }
BDL_FN int32_t shfl_i32(int32_t x, int32_t lane) { return (int32_t)shfl_u32((uint32_t)x, lane & 31); }
BDL_FN int64_t shfl_i64(int64_t x, int32_t lane) { return (int64_t)shfl_u64((uint64_t)x, lane & 31); }
BDL_FN float shfl_f32(float x, int32_t lane) { return floats_f32(shfl_u32(words_f32(x), lane & 31)); }
BDL_FN double shfl_f64(double x, int32_t lane) { return floats_f64(shfl_u64(words_f64(x), lane & 31)); }

/* Four elements of a thread lie together: one access of 16 bytes, two where they are 32. */
#define four_bytes_b8 4
#define four_bytes_i32 16
#define four_bytes_u32 16
#define four_bytes_f32 16
#define four_bytes_i64 16
#define four_bytes_f64 16
/* The bits of eight lanes, four each, as one word. */
BDL_FN uint32_t word_of_8(uint32_t bits) {
  uint32_t x = bits << 4 * (LANE % 8);
  for (int32_t k = 1; k < 8; k *= 2) x |= shfl_u32(x, LANE ^ k);
  return x;
}

/* Does any lane of this half of the warp say so? */
BDL_FN bool any_of_16(bool x) { return (ballot(x) >> (LANE & 16) & 0xffffu) != 0; }

/* ---- which elements are active: bits, 32 a word, as places in ascending order -------------------------------------- */

/* Sums over the warp; all lanes have it. */
BDL_FN uint32_t warp_sum(uint32_t x) {
  for (int32_t k = 16; k > 0; k /= 2) x += shfl_u32(x, LANE ^ k);
  return x;
}

/* Behind the n words there is room for one more a chunk of 32. */
BDL_ONE void compact(int32_t *ids, int32_t *count, uint32_t *words, int32_t n) {
  enum { few = 1024 };
  uint32_t *const sums = words + n;
  if (n == 0 && THREAD == 0) *count = 0;
  for (int32_t w = 32 * WARP; n > few && w < n; w += 32 * WARPS) {
    const uint32_t sum = warp_sum(w + LANE < n ? (uint32_t)popcount32(words[w + LANE]) : 0u);
    if (LANE == 0) sums[w / 32] = sum;
  }
  if (n > few) sync();
  for (int32_t w = 32 * WARP; w < n; w += 32 * WARPS) {
    uint32_t before = 0;
    if (n > few) for (int32_t k = LANE; k < w / 32; k += 32) before += sums[k];
    else for (int32_t k = LANE; k < w; k += 32) before += (uint32_t)popcount32(words[k]);
    const uint32_t word = w + LANE < n ? words[w + LANE] : 0u, own = (uint32_t)popcount32(word);
    uint32_t upto = own;
    for (int32_t k = 1; k < 32; k *= 2) {
      const uint32_t left = shfl_u32(upto, (LANE - k) & 31);
      if (LANE >= k) upto += left;
    }
    uint32_t at = warp_sum(before) + upto - own;
    for (int32_t bit = 0; bit < 32; bit++)
      if (word >> bit & 1u) ids[at++] = 32 * (w + LANE) + bit;
    if (w + 32 >= n && LANE == 31) *count = (int32_t)at;
  }
}

/* ---- moving ------------------------------------------------------------------------------------------------- */

/* 16 bytes at a time where both are aligned, else 8, else one. */
BDL_ONE void copy_bytes(void *to, const void *from, int64_t n) {
  const uint64_t both = (uint64_t)to | (uint64_t)from;
  const int32_t size = both % 16 == 0 ? 16 : both % 8 == 0 ? 8 : 1;
  const int64_t words = n / size;
  if (to == from) return;
  for (int64_t i = THREAD; i < words; i += THREADS) {
    if (size == 16) ((four_i32 *)to)[i] = ((const four_i32 *)from)[i];
    else if (size == 8) ((uint64_t *)to)[i] = ((const uint64_t *)from)[i];
    else ((unsigned char *)to)[i] = ((const unsigned char *)from)[i];
  }
  for (int64_t i = size * words + THREAD; i < n; i += THREADS) ((unsigned char *)to)[i] = ((const unsigned char *)from)[i];
}

/* ---- random numbers: the bits of kernels/cpu/random.c --------------------------------------------------------- */

BDL_FN void split_one(uint32_t *z, const uint32_t *key, uint32_t i) {
  uint32_t a = 0, b = i;
  threefry(key, &a, &b);
  z[0] = a;
  z[1] = b;
}

/* n new keys of each of `count`. */
BDL_ONE void random_split(uint32_t *z, const uint32_t *keys, int32_t count, int32_t n) {
  for (int32_t k = THREAD; k < count * n; k += THREADS) split_one(z + 2 * k, keys + 2 * (k / n), (uint32_t)(k % n));
}

BDL_ONE void random_fold_in(uint32_t *z, const uint32_t *keys, const uint32_t *x, int32_t count) {
  for (int32_t c = THREAD; c < count; c += THREADS) split_one(z + 2 * c, keys + 2 * c, x[c]);
}

/* Integers in [lo, hi), n of each key: (high 2^bits + low) mod span. */
#define RANDOM_INT(code, T, U, bits, half)                                                                              \
  BDL_ONE void CAT(random_int_, code)(T *z, const uint32_t *keys, const T *lo, const T *hi, int32_t count, int32_t n) { \
    for (int32_t k = THREAD; k < count * n; k += THREADS) {                                                             \
      const int32_t c = k / n, i = k % n;                                                                               \
      const U span = hi[c] <= lo[c] ? 1 : (U)hi[c] - (U)lo[c], root = ((U)1 << half) % span;                            \
      const U multiplier = (U)(root * root) % span;                                                                     \
      uint32_t halves[4];                                                                                               \
      split_one(halves, keys + 2 * c, 0);                                                                               \
      split_one(halves + 2, keys + 2 * c, 1);                                                                           \
      const U high = (U)bits(halves, 0, i) % span * multiplier, offset = high + (U)bits(halves + 2, 0, i) % span;       \
      z[k] = (T)((U)lo[c] + offset % span);                                                                             \
    }                                                                                                                   \
  }
RANDOM_INT(i32, int32_t, uint32_t, k_random_bits_u32, 16)
RANDOM_INT(i64, int64_t, uint64_t, k_random_bits_i64, 32)

/* ---- are they in range?  All threads get the same answer --------------------------------------------------------- */

/* Does any thread say so?  A word of the program's own counts; nobody clears it, since the program ends where it matters. */
BDL_ONE bool anyone(uint32_t *flag, bool mine) {
  if (mine) atomic_exch_u32(flag, 1);
  sync();
  const bool said = *(volatile uint32_t *)flag != 0;
  sync(); /* nobody asks the next question before all have read the answer */
  return said;
}

/* The number of a failure, and behind the status where the operands of what failed lie, so that the host can say more (gpu/run.c). */
BDL_ONE int32_t failed_with(int32_t *status, int32_t number, const void **operands, int32_t n) {
  for (int32_t k = THREAD; k < n && k < 16; k += THREADS) ((const void **)(status + 32))[k] = operands[k];
  return number;
}

/* Has the host set its word? */
BDL_ONE bool asked(uint32_t *word, const uint32_t *host) {
  if (THREAD == 0) *word = *(volatile const uint32_t *)host;
  sync();
  return *(volatile uint32_t *)word != 0;
}

/* A loop's steps so far, for the host; now and then, as a barrier waits until it has them. */
BDL_DEVICE void tell(char *host, uint64_t *last, uint32_t loop, int32_t done) {
  const uint64_t t = cycles();
  if (t - *last < (uint64_t)1 << 26) return;
  *last = t;
  *(volatile uint64_t *)host = (uint64_t)loop << 32 | (uint32_t)done;
}

/* From now on instruction k runs, n times; the cycles since the last call were instruction *now's (-1: none's). */
BDL_DEVICE void lap(uint64_t *laps, uint64_t *since, int32_t *now, int32_t k, int64_t n) {
  const uint64_t t = cycles();
  if (*now >= 0) laps[2 * *now] += t - *since;
  if (k >= 0) laps[2 * k + 1] += (uint64_t)n;
  *since = t;
  *now = k;
}

/* ---- products -------------------------------------------------------------------------------------------------- */

/* A product with steps between its elements, and those of what is added. */
typedef struct product {
  int32_t batch, m, n, k, xb, xi, xp, yb, yp, yj, zb, zi, zj, pb, pi, pj;
} product;

enum { FEW_ROWS = 4 };

/* row: one row is added to all.  Few columns are few rows of the transpose; says whether x and y change places. */
BDL_ONE bool as_product(product *p, const matmul *g, bool row) {
  const bool turned = g->n < g->m && g->n <= FEW_ROWS;
  const int32_t pi = row ? 0 : g->ldz;
  p->batch = g->batch, p->k = g->k, p->zb = g->zb, p->pb = row ? 0 : g->zb;
  if (turned) {
    p->m = g->n, p->xb = g->yb, p->xi = g->yj, p->xp = g->yp, p->zi = 1, p->pi = 1;
    p->n = g->m, p->yb = g->xb, p->yj = g->xi, p->yp = g->xp, p->zj = g->ldz, p->pj = pi;
  } else {
    p->m = g->m, p->xb = g->xb, p->xi = g->xi, p->xp = g->xp, p->zi = g->ldz, p->pi = pi;
    p->n = g->n, p->yb = g->yb, p->yj = g->yj, p->yp = g->yp, p->zj = 1, p->pj = 1;
  }
  return turned;
}

BDL_FN int32_t tiles_of(const product *p, int32_t high, int32_t wide) {
  return p->batch * ((p->m + high - 1) / high) * ((p->n + wide - 1) / wide);
}

/* Or of ands. */
BDL_ONE void dot_b8(unsigned char *z, const unsigned char *x, const unsigned char *y, const matmul *g) {
  for (int32_t e = THREAD; e < g->batch * g->m * g->n; e += THREADS) {
    const int32_t b = e / (g->m * g->n), i = e / g->n % g->m, j = e % g->n;
    unsigned char sum = 0;
    for (int32_t p = 0; p < g->k && !sum; p++) sum = x[b * g->xb + i * g->xi + p * g->xp] & y[b * g->yb + p * g->yp + j * g->yj];
    z[b * g->zb + i * g->ldz + j] = sum;
  }
}

/* ---- factorisations, row exchanges -------------------------------------------------------------------------------- */

enum { PANEL = 32 }; /* columns of a large matrix at a time: a lane for each */

/* [count, n] exchanges, ascending, of 0 .. n - 1.  One of them is none of n rows?  All threads get the same answer. */
BDL_ONE bool exchanged_rows(uint32_t *flag, int32_t *p, const int32_t *pivot, int32_t n, int32_t count) {
  bool bad = false;
  for (int32_t b = THREAD; b < count; b += THREADS) {
    for (int32_t i = 0; i < n; i++) p[b * n + i] = i;
    for (int32_t i = 0; i < n; i++) {
      const int32_t j = pivot[b * n + i], t = p[b * n + i];
      if (j < 0 || j >= n) bad = true;
      else p[b * n + i] = p[b * n + j], p[b * n + j] = t;
    }
  }
  return anyone(flag, bad);
}

#include "cuda/sparse.inc"
#include "cuda/sorting.inc"
#include "cuda/indexing.inc"
#include "cuda/reducing.inc"

#define OF_BOOL "cuda/of_bool.inc"
#define OF_INTEGER "cuda/of_integer.inc"
#define OF_FLOAT "cuda/of_float.inc"
#include "export/dtypes.inc"

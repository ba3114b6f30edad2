/*
** sort.c -- least-significant-digit radix sort of (key, origin); insertion for short lanes.
** Several keys are sorted one after the other, the last first: each pass is stable.
*/
#include <string.h>

#include "cpu/sort.h"

/* Order-preserving images: sign flipped for integers; IEEE 754 numbers as sign and magnitude, NaN on top. */
static uint64_t key_bool(const void *x, int64_t i) { return ((const uint8_t *)x)[i] != 0; }
static uint64_t key_i32(const void *x, int64_t i) { return ((const uint32_t *)x)[i] ^ UINT32_C(0x80000000); }
static uint64_t key_u32(const void *x, int64_t i) { return ((const uint32_t *)x)[i]; }
static uint64_t key_i64(const void *x, int64_t i) { return ((const uint64_t *)x)[i] ^ UINT64_C(0x8000000000000000); }

static uint64_t key_f32(const void *x, int64_t i) {
  float v = ((const float *)x)[i];
  if (v != v) return UINT64_MAX;
  v += 0.0f; /* -0 becomes +0 */
  uint32_t u;
  memcpy(&u, &v, 4);
  return u >> 31 ? ~u : u | UINT32_C(0x80000000);
}

static uint64_t key_f64(const void *x, int64_t i) {
  double v = ((const double *)x)[i];
  if (v != v) return UINT64_MAX;
  v += 0.0;
  uint64_t u;
  memcpy(&u, &v, 8);
  return u >> 63 ? ~u : u | UINT64_C(0x8000000000000000);
}

typedef uint64_t (*key_fn)(const void *x, int64_t i);
static const key_fn key_of[BDL_DTYPE_COUNT] = {
    [BDL_BOOL] = key_bool, [BDL_I32] = key_i32, [BDL_I64] = key_i64,
    [BDL_U32] = key_u32,   [BDL_F32] = key_f32, [BDL_F64] = key_f64};

static void insertion(bdl_sort_item *a, int64_t n) {
  for (int64_t i = 1; i < n; i++) {
    bdl_sort_item v = a[i];
    int64_t j = i;
    for (; j > 0 && a[j - 1].key > v.key; j--) a[j] = a[j - 1];
    a[j] = v;
  }
}

static void radix(bdl_sort_item *items, bdl_sort_item *spare, int64_t n) {
  uint64_t same = UINT64_MAX, first = items[0].key; /* bits in which all keys agree */
  for (int64_t i = 1; i < n; i++) same &= ~(items[i].key ^ first);
  bdl_sort_item *from = items, *to = spare;
  for (int shift = 0; shift < 64; shift += 8) {
    if ((same >> shift & 255) == 255) continue;
    int64_t at[256] = {0}, sum = 0;
    for (int64_t i = 0; i < n; i++) at[from[i].key >> shift & 255]++;
    for (int b = 0; b < 256; b++) {
      int64_t count = at[b];
      at[b] = sum;
      sum += count;
    }
    for (int64_t i = 0; i < n; i++) to[at[from[i].key >> shift & 255]++] = from[i];
    bdl_sort_item *swap = from;
    from = to;
    to = swap;
  }
  if (from != items) memcpy(items, from, (size_t)n * sizeof *items);
}

void bdl_k_sort_start(bdl_sort_item *items, int64_t n) {
  for (int64_t i = 0; i < n; i++) items[i].from = (uint32_t)i;
}

static void sort_items(bdl_sort_item *items, bdl_sort_item *spare, int64_t n) {
  if (n <= 48)
    insertion(items, n);
  else
    radix(items, spare, n);
}

void bdl_k_sort_by(bdl_sort_item *items, bdl_sort_item *spare, int64_t n, const void *x, int64_t stride, bdl_dtype d,
                   bool descending) {
  const bool is_float = bdl_dtype_is_float(d);
  for (int64_t i = 0; i < n; i++) {
    uint64_t key = key_of[d](x, items[i].from * stride);
    items[i].key = descending && !(is_float && key == UINT64_MAX) ? ~key : key;
  }
  sort_items(items, spare, n);
}

#define APPLY(T)                                                                                             \
  for (int64_t j = 0; j < n; j++) ((T *)z)[base + j * stride] = ((const T *)x)[base + items[j].from * stride]
void bdl_k_sort_apply(void *z, const void *x, const bdl_sort_item *items, int64_t n, int64_t base, int64_t stride,
                      size_t size) {
  if (size == 1)
    APPLY(uint8_t);
  else if (size == 4)
    APPLY(uint32_t);
  else
    APPLY(uint64_t);
}

void bdl_k_top_k(void *values, int32_t *index, const void *x, int64_t n, int64_t k, bdl_dtype d, bdl_sort_item *items,
                 bdl_sort_item *spare) {
  const size_t size = bdl_dtype_size(d);
  for (int64_t i = 0; i < n; i++) items[i] = (bdl_sort_item){~key_of[d](x, i), (uint32_t)i};
  sort_items(items, spare, n);
  for (int64_t i = 0; i < k; i++) {
    index[i] = (int32_t)items[i].from;
    memcpy((char *)values + (size_t)i * size, (const char *)x + items[i].from * size, size);
  }
}

/*
** device.c -- all that exported programs may call, in C99 for one thread: no allocation, nothing but stdint.h, stdbool.h, string.h
** and, where the user wants it, math.h.
** Never compiled as it stands: the build runs the preprocessor over it, and export/library.c writes out the functions that a program
** uses, and what those use.  __builtin_<f> is the function <f> of math.h, or own_<f> of own_math.inc.
**
** A function gives the bits of the kernel of kernels/cpu that it stands for: the same operations in the same order.  Its oracle is
** that kernel (tests/export).  Extents and strides count elements and fit 32 bits; what may not be in range was checked before.
**
**   elements     k_<op>_<dtype>, as for native code, and the functions of SLEEF's names from the library
**   device_any.inc, device_number.inc, device_float.inc   every dtype: moving, indexing, sorting; numbers: sums, products, sparse
**                matrices; floats: eligibility traces, convolution, matrices from seeds
*/
#define BDL_FN static inline
#define BDL_ONE static
#include "export/common.inc"

/* ---- random numbers ---------------------------------------------------------------------------------------- */

/* n new keys of each of `count`. */
static void random_split(uint32_t *z, const uint32_t *keys, int32_t count, int32_t n) {
  for (int32_t c = 0; c < count; c++)
    for (int32_t i = 0; i < n; i++, z += 2) {
      z[0] = 0;
      z[1] = (uint32_t)i;
      threefry(keys + 2 * c, &z[0], &z[1]);
    }
}

static void random_fold_in(uint32_t *z, const uint32_t *keys, const uint32_t *x, int32_t count) {
  for (int32_t c = 0; c < count; c++) {
    uint32_t a = 0, b = x[c];
    threefry(keys + 2 * c, &a, &b);
    z[2 * c] = a;
    z[2 * c + 1] = b;
  }
}

/* Integers in [lo, hi), n of each key: (high 2^bits + low) mod span. */
#define RANDOM_INT(code, T, U, bits, half)                                                                              \
  static void CAT(random_int_, code)(T *z, const uint32_t *keys, const T *lo, const T *hi, int32_t count, int32_t n) {  \
    for (int32_t c = 0; c < count; c++) {                                                                               \
      const U span = hi[c] <= lo[c] ? 1 : (U)hi[c] - (U)lo[c], root = ((U)1 << half) % span;                            \
      const U multiplier = (U)(root * root) % span;                                                                     \
      uint32_t halves[4];                                                                                               \
      random_split(halves, keys + 2 * c, 1, 2);                                                                         \
      for (int32_t i = 0; i < n; i++) {                                                                                 \
        const U high = (U)bits(halves, 0, i) % span * multiplier, offset = high + (U)bits(halves + 2, 0, i) % span;     \
        *z++ = (T)((U)lo[c] + offset % span);                                                                           \
      }                                                                                                                 \
    }                                                                                                                   \
  }
RANDOM_INT(i32, int32_t, uint32_t, k_random_bits_u32, 16)
RANDOM_INT(i64, int64_t, uint64_t, k_random_bits_i64, 32)

/* ---- are they in range? --------------------------------------------------------------------------------------- */

static bool outside_i32(const int32_t *index, int32_t count, int32_t extent) {
  for (int32_t k = 0; k < count; k++)
    if (index[k] < 0 || index[k] >= extent) return true;
  return false;
}
static bool outside_i64(const int64_t *index, int32_t count, int32_t extent) {
  for (int32_t k = 0; k < count; k++)
    if (index[k] < 0 || index[k] >= extent) return true;
  return false;
}
static bool any_of(const unsigned char *p, int32_t n) {
  for (int32_t k = 0; k < n; k++)
    if (p[k]) return true;
  return false;
}
#define OF_BOOL "export/of_bool.inc"
#define OF_INTEGER "export/of_integer.inc"
#define OF_FLOAT "export/of_float.inc"
#include "export/dtypes.inc"

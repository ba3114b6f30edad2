/*
** elements.c -- the element operations as C functions of one element: k_add_f32(x, y), k_exp_f64(x), k_cast_i32_f32(x), .., and
** reductions of two: k_reduce_max_i32(x, y), k_identity_max_i32().
** Native code is made of them.  They come from the rows of the tile kernels, so both tiers compute one and the same.
** Never compiled: the build runs the preprocessor over it, and the text goes into the library (exec/emit.h).  No headers:
** the text is complete, whatever compiler reads it.  What it leaves open stands before it: BDL_FN, the attributes of a function, and
** BDL_FMA_f32, BDL_FMA_f64 (a, b, c): a b + c, rounded once where the interpreter tier does so.
** export/device.c reads it, too, with BDL_EXPORT: C99 with its headers, and more of the operations.
*/
#ifndef BDL_EXPORT
typedef signed char int8_t;
typedef int int32_t;
typedef unsigned uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
#include "native/abi.h"
#define INT32_MAX 0x7fffffff
#define INT32_MIN (-INT32_MAX - 1)
#define UINT32_MAX 0xffffffffu
#define UINT32_C(x) x##u
#define INT64_MAX 0x7fffffffffffffffll
#define INT64_MIN (-INT64_MAX - 1)
#define UINT64_MAX 0xffffffffffffffffull
#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define memcpy __builtin_memcpy
#define FUN(op, f, ulp)
#define FUN2(op, f, ulp)
#define LONG(op, f)
#define LIB(op, ...)
#define LIB2(op, ...)
#define RED(op, identity, nan_wins, ...)                                      \
  BDL_FN T NAME(identity_##op, )(void) { return (T)(identity); }            \
  BDL_FN T NAME(reduce_##op, )(T x, T y) { return (T)(__VA_ARGS__); }
#endif
#define uint8_t _Bool /* a bool outside memory */
#define BDL_LEN(a) ((int)(sizeof(a) / sizeof((a)[0])))

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#define FN(name) CAT(CAT(name, _), DT)
#define NAME(op, form) CAT(CAT(k_##op##_, DT), form)
#define INLINE BDL_FN
#define V T
#define ZERO (T)0
#define VU U
#define P CAT(p, DT)

/* Packs of one element: what tile_simd.h gives to tile_math.inc. */
#define EACH enum { j = 0 }; /* no loop: compilers that see many of them make no vectors of the loop around */
typedef struct pf32 {
  float v[1];
} pf32;
typedef struct pf64 {
  double v[1];
} pf64;
BDL_FN pf32 load_pf32(const float *p) {
  pf32 z;
  z.v[0] = *p;
  return z;
}
BDL_FN pf64 load_pf64(const double *p) {
  pf64 z;
  z.v[0] = *p;
  return z;
}
BDL_FN void store_pf32(float *p, pf32 z) { *p = z.v[0]; }
BDL_FN void store_pf64(double *p, pf64 z) { *p = z.v[0]; }
BDL_FN uint32_t words_f32(float x) {
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  return u;
}
BDL_FN float floats_f32(uint32_t u) {
  float x;
  memcpy(&x, &u, sizeof x);
  return x;
}
BDL_FN uint64_t words_f64(double x) {
  uint64_t u;
  memcpy(&u, &x, sizeof u);
  return u;
}
BDL_FN double floats_f64(uint64_t u) {
  double x;
  memcpy(&x, &u, sizeof x);
  return x;
}
#define WORDS(x) FN(words)(x)
#define FLOATS(u) FN(floats)(u)
#define HALF(n) ((U)((S)(n) >> 1))
#define FMA_f32 BDL_FMA_f32
#define FMA_f64 BDL_FMA_f64
#define MIN_f32(a, b) ((a) < (b) ? (a) : (b))
#define MIN_f64 MIN_f32
#define MAX_f32(a, b) ((a) > (b) ? (a) : (b))
#define MAX_f64 MAX_f32
#define SQRT_f32 __builtin_sqrtf
#define SQRT_f64 __builtin_sqrt
#define LESS(a, b) ((a) < (b))
#define UNORDERED(a, b) ((a) != (a) || (b) != (b))
#define IF_f32(test, a, b, x, y) (test(a, b) ? (x) : (y))
#define IF_f64 IF_f32

#define DEFINE 1
#define OWN(op)
#define OWN2(op)
#define BITS(size)
#define UN(op, R, ...) BDL_FN R NAME(op, )(T x) { return (R)(__VA_ARGS__); }
#define BIN(op, ...) BDL_FN T NAME(op, )(T x, T y) { return (T)(__VA_ARGS__); }
#define CMP(op, o) BDL_FN _Bool NAME(op, )(T x, T y) { return x o y; }
#define TRI(op, ...) BDL_FN T NAME(op, )(T x, T y, T w) { return (T)(__VA_ARGS__); }
#define CLAMP TRI
#define PACK(x) CAT(load_, P)(&x) /* C++, which device.c of cuda is, too, has no compound literals */
#define OUR(op, f) BDL_FN T NAME(op, )(T x) { return f(PACK(x)).v[0]; }
#define OUR2(op, f) BDL_FN T NAME(op, )(T x, T y) { return f(PACK(x), PACK(y)).v[0]; }
#define OUR3(op, f) BDL_FN T NAME(op, )(T x, T y, T w) { return f(PACK(x), PACK(y), PACK(w)).v[0]; }
#define CAST(to, R, ...) BDL_FN R NAME(cast, _##to)(T x) { return (R)(__VA_ARGS__); }
#include "cpu/tile_dtypes.inc"

/*
** emit_ops.c -- the rows of the tile kernels once more, as a table of what native code may inline.
*/
#include "exec/emit_ops.h"

#define ROW(op) [BDL_TILE_##op][D] = true,
#define BITS(size) ROW(copy) ROW(stop_gradient) ROW(bitcast) ROW(select) ROW(splat)
#define UN(op, ...) ROW(op)
#define BIN UN
#define CMP UN
#define TRI UN
#define CLAMP UN
#define OUR UN
#define OUR2 UN
#define OUR3 UN
#define CAST(to, ...) ROW(cast)
#define OWN(op)
#define OWN2(op)
#define FUN(op, f, ulp)
#define FUN2(op, f, ulp)
#define LONG(op, f)
#define LIB(op, ...)
#define LIB2(op, ...)
#define RED(op, ...)

#if defined(__clang__)
#pragma clang diagnostic ignored "-Winitializer-overrides" /* a cast is as good as the next */
#else
#pragma GCC diagnostic ignored "-Woverride-init"
#endif
static const bool inlined[BDL_TILE_COUNT][BDL_DTYPE_COUNT] = {
#include "cpu/tile_dtypes.inc"
  [BDL_TILE_integer_pow][BDL_F32] = true, [BDL_TILE_integer_pow][BDL_F64] = true,
};

static const char *const names[BDL_TILE_COUNT] = {
#define TILE(name, n_in) #name,
#include "cpu/tile_ops.def"
#undef TILE
};
static const char *const codes[BDL_DTYPE_COUNT] = {"b8", "i32", "i64", "u32", "f32", "f64"};
static const char *const ctypes[BDL_DTYPE_COUNT] = {"_Bool", "int32_t", "int64_t", "uint32_t", "float", "double"};

bool bdl_emit_inlines(int op, bdl_dtype dtype) { return inlined[op][dtype]; }
const char *bdl_emit_op_name(int op) { return names[op]; }
const char *bdl_emit_code(bdl_dtype d) { return codes[d]; }
const char *bdl_emit_ctype(bdl_dtype d) { return ctypes[d]; }
const char *bdl_emit_memory(bdl_dtype d) { return d == BDL_BOOL ? "unsigned char" : ctypes[d]; }
bool bdl_emit_is_long(int op) {
  switch (op) {
    case BDL_TILE_exp: case BDL_TILE_expm1: case BDL_TILE_exprel: case BDL_TILE_log: case BDL_TILE_log1p: case BDL_TILE_tanh:
    case BDL_TILE_sigmoid: case BDL_TILE_softplus: case BDL_TILE_sinh: case BDL_TILE_cosh: case BDL_TILE_asinh: case BDL_TILE_acosh:
    case BDL_TILE_atanh:
      return true;
    default: return false;
  }
}

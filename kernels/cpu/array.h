/*
** array.h -- kernels that move, join, index and reduce plain row-major arrays.  No allocation; no IR.
**
** An array with one axis singled out is written [outer, n, inner].  `size` is bytes an element: 1, 4 or 8.
** Results never depend on the threads of `pool`; NULL: the caller alone.
*/
#ifndef BDL_K_ARRAY_H
#define BDL_K_ARRAY_H

#include "base/pool.h"
#include "cpu/tile.h"

/* The dtypes that count as numbers: suffix, C type, C type whose + and * wrap. */
#define BDL_K_NUMBERS(X)              \
  X(BDL_I32, i32, int32_t, uint32_t)  \
  X(BDL_I64, i64, int64_t, uint64_t)  \
  X(BDL_U32, u32, uint32_t, uint32_t) \
  X(BDL_F32, f32, float, float)       \
  X(BDL_F64, f64, double, double)

/* ---- moving */

/* dst[sum i_k dst_stride[k]] = src[sum i_k src_stride[k]] over shape.  Strides count elements and may be zero or
** negative (dst_stride not zero); no overlap.  ndim at most BDL_MAX_NDIM. */
void bdl_k_strided_move(void *dst, const int64_t *dst_stride, const void *src, const int64_t *src_stride, int ndim,
                        const int64_t *shape, size_t size);
/* dst contiguous. */
void bdl_k_strided_copy(void *dst, const void *src, const int64_t *src_stride, int ndim, const int64_t *shape, size_t size);
void bdl_k_row_major(int ndim, const int64_t *shape, int64_t *stride);
/* n copies of one element. */
void bdl_k_fill(void *dst, const void *value, int64_t n, size_t size);

/* dst[shape + lo + hi + inner gaps] around src[shape]; negative lo and hi crop. */
void bdl_k_pad(void *dst, const int64_t *dst_shape, const void *src, int ndim, const int64_t *shape, const void *value,
               const int64_t *lo, const int64_t *inner, size_t size);

/* ---- indexing.  wide: indices are i64, else i32. */

/* Position of the first index that is not in [0, extent); -1: none. */
int64_t bdl_k_index_outside(const void *index, bool wide, int64_t n, int64_t extent);
int64_t bdl_k_index_at(const void *index, bool wide, int64_t k);

/* An index, x[outer, n, inner] and m positions.  each: the index has one entry for every k and i, else for every k.
** The part of block o starts where the outer axes say: extents, and steps in entries (0 where blocks share it). */
typedef struct bdl_k_indexing {
  const void *index;
  bool wide, each;
  int64_t outer, n, inner, m;
  int n_axes;
  int64_t extent[BDL_MAX_NDIM], step[BDL_MAX_NDIM];
} bdl_k_indexing;

/* z[o, k, i] = x[o, index[k], i]; indices were checked. */
void bdl_k_gather(void *z, const void *x, const bdl_k_indexing *g, size_t size, bdl_pool *pool);

typedef enum bdl_scatter_op { BDL_SC_SET, BDL_SC_ADD, BDL_SC_MUL, BDL_SC_MIN, BDL_SC_MAX } bdl_scatter_op;
/* x[o, index[k], i] op= u[o, k, i] for ascending k; indices were checked.  bool: set, min (and), max (or). */
void bdl_k_scatter(void *x, const void *u, const bdl_k_indexing *g, bdl_scatter_op op, bdl_dtype d, bdl_pool *pool);

/* ---- reducing.  NaN wins in max and min. */

/* z[o, i] = op over k of x[o, k, i]; bool: and, or.  Rows (inner 1) in tiles of BDL_TILE as fused reductions do; columns
** in blocks of 64 rows. */
void bdl_k_reduce_axis(void *z, const void *x, int64_t outer, int64_t n, int64_t inner, bdl_reduce_op op, bdl_dtype d,
                       const bdl_k_table *t, bdl_pool *pool);
/* The value of an empty reduction. */
bdl_scalar bdl_k_identity(bdl_reduce_op op, bdl_dtype d);

/* z[o, i]: first k where x[o, k, i] is largest (smallest); the first NaN wins.  n >= 1. */
void bdl_k_arg_reduce(int32_t *z, const void *x, int64_t outer, int64_t n, int64_t inner, bool largest, bdl_dtype d, bdl_pool *pool);

/* z[o, k, i] = op over the first (reverse: last) elements up to k; op SUM, PROD, MAX or MIN. */
void bdl_k_cumulate(void *z, const void *x, int64_t outer, int64_t n, int64_t inner, bdl_reduce_op op, bool reverse, bdl_dtype d,
                    bdl_pool *pool);

#endif

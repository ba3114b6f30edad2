/*
** tile.h -- element kernels over tiles: what fused groups are made of.  Plain arrays; no allocation; no IR.
**
** A tile is at most BDL_TILE consecutive elements of a group's domain, held in L1.  The tables are made once an
** instruction set (baseline, avx2, avx512); bdl_k_select picks one at run time.  All of them give the same bits for
** + - * / sqrt and for everything made of those; functions (exp, sin, ..) those of their kind, with or without FMA.  The
** bits of an element depend neither on its place in a tile nor on the other elements.
*/
#ifndef BDL_K_TILE_H
#define BDL_K_TILE_H

#include <stdint.h>

#include "base/base.h" /* dtypes only */

#define BDL_TILE 512

/* z[i] = op(x[i], y[i], w[i]) for i < n.  n is 1..BDL_TILE.  Unused operands are NULL.  z may be x, y or w exactly
** (same pointer) where its elements are no larger, never a partial overlap.  i0: position of element 0 in the domain
** (only iota, random_bits use it).
** No alignment is promised.  Nothing past n is written; up to BDL_PAD bytes past n may be read. */
typedef void (*bdl_k_tile)(void *z, const void *x, const void *y, const void *w, int64_t n, int64_t i0);

/* Operand forms: bit k set: operand k is one element, not an array. */
#define BDL_FORM_X 1
#define BDL_FORM_Y 2
#define BDL_FORM_W 4

typedef enum bdl_tile_op {
#define TILE(name, n_in) BDL_TILE_##name,
#include "cpu/tile_ops.def"
#undef TILE
  BDL_TILE_COUNT
} bdl_tile_op;

/* Reductions of one tile to one element: 16 interleaved partial results (i mod 16), then a fixed tree; so the bits
** do not depend on the instruction set. */
typedef void (*bdl_k_reduce)(void *acc, const void *x, int64_t n);   /* acc = reduction of x[0..n), n >= 1 */
typedef void (*bdl_k_combine)(void *acc, const void *partial, int64_t n); /* acc = partial[0] op partial[1] .. in that order */
typedef enum bdl_reduce_op {
  BDL_RED_SUM, BDL_RED_PROD, BDL_RED_MAX, BDL_RED_MIN, BDL_RED_AND, BDL_RED_OR, BDL_RED_COUNT
} bdl_reduce_op;

struct bdl_k_etrace;
struct bdl_k_etrace_block;
struct bdl_k_row;
struct bdl_k_matmul;
struct bdl_k_packer;

typedef struct bdl_k_table {
  const char *isa; /* "avx512", "avx2", "x86-64", "aarch64", "generic" */
  /* By op, operand dtype (of the first operand that is not a predicate; of x for casts), form.  A NULL form with scalars
  ** means: splat the scalar to an array first (BDL_TILE_splat).  A NULL form 0 means: op not defined on that dtype. */
  bdl_k_tile tile[BDL_TILE_COUNT][BDL_DTYPE_COUNT][8];
  bdl_k_tile cast[BDL_DTYPE_COUNT][BDL_DTYPE_COUNT]; /* [from][to], array form */
  bdl_k_reduce reduce[BDL_RED_COUNT][BDL_DTYPE_COUNT];
  bdl_k_combine combine[BDL_RED_COUNT][BDL_DTYPE_COUNT];
  /* Appends i0 + i for active s[i] (bool: true; numbers: > 0) to ids; returns how many. */
  int64_t (*compact[BDL_DTYPE_COUNT])(int32_t *ids, const void *s, int64_t n, int64_t i0);
  /* Blocks of eligibility traces (cpu/etrace.h); NULL: not a float. */
  void (*etrace[BDL_DTYPE_COUNT])(const struct bdl_k_etrace *t, const struct bdl_k_etrace_block *b);
  void (*row[BDL_DTYPE_COUNT])(const struct bdl_k_row *r); /* a row times a matrix (cpu/row.h); NULL: not a float */
  /* Products of matrices (cpu/gemm.h); NULL: not a float. */
  void (*gemm[BDL_DTYPE_COUNT])(void *z, const void *x, const void *y, const struct bdl_k_matmul *g);
  const struct bdl_k_packer *packer[BDL_DTYPE_COUNT];
  double (*peak)(int64_t rounds, float *seed); /* multiplications and additions as fast as one core can; returns how many */
} bdl_k_table;

/* The best table for this processor; `want` (may be NULL) forces one by name, NULL result: there is none of that name here. */
const bdl_k_table *bdl_k_select(const char *want);

#endif

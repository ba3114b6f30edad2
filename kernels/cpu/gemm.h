/*
** gemm.h -- products of float matrices on one thread: register blocks of z over packed slivers of y.
**
** Every element of z is one chain of multiply-adds in ascending order of p, beginning at 0, and never -0.  So its bits depend
** neither on the other rows and columns, nor on blocks, nor on the instruction set, as long as that has fused multiply-add.
** Of blocks of x that are mostly zeros (spikes) only the other elements are worked on where y is finite: the same bits.
** Oracle: z = fma(x, y, z) by p, then z + 0.  Source of the blocking: Goto & van de Geijn 2008.
*/
#ifndef BDL_K_GEMM_H
#define BDL_K_GEMM_H

#include "base/base.h"

/* z[b, i, j] = sum over p of x[b, i, p] y[b, p, j], z with rows `ldz` apart (n when contiguous).  Strides count elements;
** of each pair (xi, xp) and (yp, yj) one is 1, or both belong to axes of extent 1. */
typedef struct bdl_k_matmul {
  int64_t batch, m, n, k;
  int64_t xb, xi, xp;
  int64_t yb, yp, yj;
  int64_t zb, ldz;
  const void *add;  /* (optional) then z[b, i, j] += add[b ab + i ai + j]; may be z where k is at most BDL_GEMM_DEEP */
  int64_t ab, ai;
  const void *packed; /* (optional) y as a bdl_k_packer leaves it; batch is 1 */
} bdl_k_matmul;

enum { BDL_GEMM_DEEP = 256 }; /* terms of an element until it is in memory */

/* One product of the batch; bdl_k_table has it for every instruction set.  Up to BDL_PAD bytes behind y may be read.
** Work: 2 m n k, or less where x has zeros. */
typedef void (*bdl_k_gemm)(void *z, const void *x, const void *y, const bdl_k_matmul *g);

/* y [k, n] of g as slivers, one after the other: z[s, p, c] = y[p, s columns + c], 0 behind the last column.  So products
** read y without packing it at every call. */
typedef struct bdl_k_packer {
  int columns;
  void (*pack)(void *z, const void *y, const bdl_k_matmul *g);
} bdl_k_packer;

#endif

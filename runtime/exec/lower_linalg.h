/*
** lower_linalg.h -- the parameters of products and convolutions as their kernels want them.
*/
#ifndef BDL_LOWER_LINALG_H
#define BDL_LOWER_LINALG_H

#include "cpu/conv.h"
#include "exec/lower.h"

/* A copy that brings an operand of dot into the layout of a stack of matrices, contiguous: strides and extents in that order. */
typedef struct bdl_packing {
  bool needed;
  int64_t from[BDL_MAX_NDIM], shape[BDL_MAX_NDIM];
} bdl_packing;

/* params of dot; strides of operands that are packed are those of the copy. */
bdl_k_matmul bdl_lower_matmul(const bdl_param *p, const bdl_aval *in, bdl_packing pack[2]);
/* params of conv; x, filter, result */
bdl_k_window bdl_lower_window(const bdl_param *p, const bdl_aval *x, const bdl_aval *f, const bdl_aval *z);

#endif

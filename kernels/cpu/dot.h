/*
** dot.h -- products of matrices.
*/
#ifndef BDL_K_DOT_H
#define BDL_K_DOT_H

#include "cpu/array.h"
#include "cpu/blas.h"
#include "cpu/gemm.h"
#include "cpu/row.h"

/* Float products of matrices go to k's own loops or, where that is faster, to the library; blas may be NULL or without a
** library.  bool: or of ands.  k 0 gives zeros.  Up to BDL_PAD bytes behind y may be read. */
void bdl_k_dot(void *z, const void *x, const void *y, const bdl_k_matmul *g, bdl_dtype d, const bdl_k_table *k, bdl_blas *blas,
               bdl_pool *pool);

/* What becomes of a product without the library: terms are added in ascending order, each rounded before; in a chain of fused
** multiply-adds; or as eight interleaved sums of rounded terms. */
typedef enum bdl_dot_order { BDL_DOT_ROUNDED, BDL_DOT_FUSED, BDL_DOT_BY_8 } bdl_dot_order;
bdl_dot_order bdl_k_dot_order(const bdl_k_matmul *g, bdl_dtype d);

/* Products of few rows are those rows, one after the other; row i. */
bool bdl_k_is_few(const bdl_k_matmul *g, bdl_dtype d);
bdl_k_row bdl_k_row_of(void *z, const void *x, const void *y, const bdl_k_matmul *g, size_t size, int64_t i);

#endif

/*
** conv.h -- correlation over 1 to 3 axes of space, channels last.
*/
#ifndef BDL_K_CONV_H
#define BDL_K_CONV_H

#include "cpu/dot.h"

/* x [batch, in.., c_in], filter [taps.., c_in/groups, c_out], z [batch, out.., c_out].  Unused axes of space come first,
** with extent and step 1 and no padding.  Element o of the result meets tap t at o*stride + t*step - lo of x spread by gap. */
typedef struct bdl_k_window {
  int64_t batch, c_in, c_out, groups;
  int64_t in[3], taps[3], out[3], stride[3], lo[3], gap[3], step[3];
} bdl_k_window;

/* Positions of an image that go through one product, *pointwise: a product of all there are.  0: summed tap by tap. */
int64_t bdl_k_conv_block(const bdl_k_window *w, bdl_dtype d, bool *pointwise);
/* Bytes of scratch. */
size_t bdl_k_conv_scratch(const bdl_k_window *w, bdl_dtype d);
/* d is f32 or f64. */
void bdl_k_conv(void *z, const void *x, const void *filter, const bdl_k_window *w, bdl_dtype d, const bdl_k_table *k,
                bdl_blas *blas, void *scratch, bdl_pool *pool);

#endif

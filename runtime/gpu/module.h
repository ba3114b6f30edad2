/*
** module.h -- texts through NVRTC to machine code of the GPU, kept on disk beside the native tier's programs.
*/
#ifndef BDL_GPU_MODULE_H
#define BDL_GPU_MODULE_H

#include "device/cuda.h"

/* The machine code of a text for this GPU, from the cache if it is there.  Errors: BDL_ECOMPILE with the compiler's words; BDL_ENOMEM. */
typedef struct bdl_gpu_image {
  char *bytes;
  size_t n;
} bdl_gpu_image;
bdl_status bdl_gpu_compile(bdl_cuda *g, const char *text, bdl_gpu_image *image);
void bdl_gpu_image_free(bdl_context *c, bdl_gpu_image *image);

#endif

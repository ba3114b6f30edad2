/*
** pack.c -- a view of values on a GPU, made contiguous there: rows by pitched copies.  One that takes too many of them, or whose rows
** overlap, the host packs.
*/
#include "gpu/resident.h"

enum { CU_DEVICE_MEMORY = 2, MOST_COPIES = 256 };

/* Axes of a view, neighbours that are one in memory merged. */
typedef struct axes {
  int n;
  int64_t extent[BDL_MAX_NDIM], stride[BDL_MAX_NDIM];
} axes;

static axes axes_of(const bdl_tensor *t) {
  axes a = {0};
  for (int k = 0; k < t->aval.ndim; k++) {
    const int64_t extent = t->aval.shape[k], stride = t->stride[k];
    if (extent == 1) continue;
    const bool one = a.n > 0 && a.stride[a.n - 1] == extent * stride;
    if (!one) a.extent[a.n++] = extent;
    else a.extent[a.n - 1] *= extent;
    a.stride[a.n - 1] = stride;
  }
  return a;
}

/* The innermost axes as one copy, if rows follow one another; the number of its axes, 0: it has none. */
static int innermost(const axes *a, size_t size, bdl_cuda_copy_2d *c) {
  const int last = a->n - 1;
  const bool rows = a->stride[last] == 1 && a->n > 1; /* else elements */
  const int64_t width = rows ? a->extent[last] : 1, height = a->extent[rows ? last - 1 : last], step = a->stride[rows ? last - 1 : last];
  if (step < width) return 0;
  c->from.kind = c->to.kind = CU_DEVICE_MEMORY;
  c->from.pitch = (size_t)step * size;
  c->to.pitch = c->width = (size_t)width * size;
  c->height = (size_t)height;
  return rows ? 2 : 1;
}

static bdl_status copies(bdl_cuda *g, const axes *a, int outer, bdl_cuda_copy_2d *c, int64_t n, size_t size) {
  const bdl_cuda_ptr from = c->from.device;
  for (int64_t k = 0; k < n; k++) {
    int64_t at = 0, rest = k;
    for (int j = outer - 1; j >= 0; j--) at += rest % a->extent[j] * a->stride[j], rest /= a->extent[j];
    c->from.device = from + (bdl_cuda_ptr)(at * (int64_t)size);
    TRY(bdl_cuda_check(g, g->api.cuMemcpy2DAsync_v2(c, g->stream), "copy"));
    c->to.device += c->width * c->height;
  }
  return BDL_OK;
}

bdl_status bdl_gpu_pack(bdl_cuda *g, const bdl_tensor *t, bdl_tensor *out) {
  const bdl_buffer *b = t->buf;
  const axes a = axes_of(t);
  const size_t size = bdl_dtype_size(t->aval.dtype);
  const bool there = b->far_device == &g->device && !b->far_old && (b->data_old || !b->borrowed);
  bdl_cuda_copy_2d c = {0};
  const int inner = there && a.n > 0 ? innermost(&a, size, &c) : 0;
  int64_t n = 1;
  for (int k = 0; k < a.n - inner; k++) n *= a.extent[k];
  if (inner == 0 || n > MOST_COPIES) return bdl_tensor_pack(t, out);
  void *to;
  TRY(bdl_tensor_new_far(b->device, &g->device, &t->aval, out));
  bdl_status s = bdl_buffer_far(out->buf, &g->device, false, &to);
  c.from.device = (bdl_cuda_ptr)(uintptr_t)b->far + (size_t)t->offset * size;
  c.to.device = (bdl_cuda_ptr)(uintptr_t)to;
  if (s == BDL_OK) s = copies(g, &a, a.n - inner, &c, n, size);
  if (s != BDL_OK) bdl_tensor_unref(out);
  else bdl_buffer_far_changed(out->buf);
  return s;
}

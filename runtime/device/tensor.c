/*
** tensor.c -- buffers and tensors.
*/
#include <string.h>

#include "base/context.h"
#include "device/device.h"

/* Small buffers are kept when nobody needs them: a call that returns a number must not cost what malloc does.  All have the
** same room, so any serves the next.  While nobody needs them, they do not count as used memory. */
#ifdef __SANITIZE_ADDRESS__
enum { SMALL = 128, MOST_SPARE = 0 }; /* the sanitizer is to see what is used after it was freed */
#else
enum { SMALL = 128, MOST_SPARE = 1024 };
#endif

static size_t room(size_t size) { return BDL_MAX(size, SMALL); }

static bdl_status buffer_make(bdl_device *d, size_t size, bdl_buffer **out) {
  const size_t before = d->ctx->mem_used;
  bdl_buffer *b = bdl_alloc(d->ctx, sizeof *b);
  if (!b) return BDL_ENOMEM;
  *b = (bdl_buffer){.refs = 1, .device = d, .size = size};
  bdl_status s = d->ops->alloc(d, room(size), &b->data);
  if (s != BDL_OK) {
    bdl_free(d->ctx, b, sizeof *b);
    return s;
  }
  b->counted = d->ctx->mem_used - before;
  *out = b;
  return BDL_OK;
}

static void drop_far(bdl_buffer *b) {
  if (b->far_device) b->far_device->ops->free(b->far_device, b->far, b->size);
  b->far_device = NULL;
  b->far = NULL;
  b->far_old = false;
}

static void buffer_free(bdl_buffer *b) {
  bdl_device *d = b->device;
  if (b->data) d->ops->free(d, b->data, room(b->size));
  bdl_free(d->ctx, b, sizeof *b);
}

bdl_status bdl_buffer_new(bdl_device *d, size_t size, bdl_buffer **out) {
  bdl_context *c = d->ctx;
  bdl_buffer *b = size <= SMALL ? d->spare : NULL;
  if (!b || (c->mem_limit && c->mem_used + b->counted > c->mem_limit)) return buffer_make(d, size, out);
  d->spare = b->next;
  d->n_spare--;
  c->mem_used += b->counted;
  c->mem_peak = BDL_MAX(c->mem_peak, c->mem_used);
  b->refs = 1;
  b->size = size;
  b->data_old = false;
  *out = b;
  return BDL_OK;
}

bdl_status bdl_buffer_borrow(bdl_device *d, void *data, size_t size, bdl_buffer **out) {
  bdl_buffer *b = bdl_alloc(d->ctx, sizeof *b);
  if (!b) return BDL_ENOMEM;
  *b = (bdl_buffer){.refs = 1, .device = d, .data = data, .size = size, .borrowed = true};
  *out = b;
  return BDL_OK;
}

bdl_status bdl_buffer_own(bdl_buffer *b) {
  bdl_device *d = b->device;
  void *data;
  const size_t before = d->ctx->mem_used;
  TRY(bdl_buffer_fetch(b));
  TRY(d->ops->alloc(d, room(b->size), &data));
  bdl_status s = d->ops->copy(d, NULL, data, b->data, b->size);
  if (s != BDL_OK) {
    d->ops->free(d, data, room(b->size));
    return s;
  }
  b->counted = d->ctx->mem_used - before + sizeof *b;
  b->data = data;
  b->borrowed = false;
  return BDL_OK;
}

void bdl_buffer_ref(bdl_buffer *b) { b->refs++; }

void bdl_buffer_unref(bdl_buffer *b) {
  if (!b || --b->refs > 0) return;
  bdl_device *d = b->device;
  if (b->far_device) drop_far(b);
  if (b->borrowed) {
    bdl_free(d->ctx, b, sizeof *b);
    return;
  }
  if (b->size > SMALL || d->n_spare >= MOST_SPARE || !b->data) {
    buffer_free(b);
    return;
  }
  b->next = d->spare;
  d->spare = b;
  d->n_spare++;
  d->ctx->mem_used -= b->counted;
}

/* ---- the copy on another device */

bdl_status bdl_buffer_new_far(bdl_device *cpu, bdl_device *far, size_t size, bdl_buffer **out) {
  bdl_buffer *b = bdl_alloc(cpu->ctx, sizeof *b);
  if (!b) return BDL_ENOMEM;
  *b = (bdl_buffer){.refs = 1, .device = cpu, .far_device = far, .data_old = true, .size = size, .counted = sizeof *b};
  const bdl_status s = far->ops->alloc(far, size, &b->far);
  if (s != BDL_OK) bdl_free(cpu->ctx, b, sizeof *b);
  else *out = b;
  return s;
}

/* Borrowed memory may have changed since it was copied. */
bdl_status bdl_buffer_far(bdl_buffer *b, bdl_device *far, bool of_now, void **p) {
  if (!b->far_device) {
    TRY(far->ops->alloc(far, b->size, &b->far));
    b->far_device = far;
    b->far_old = true;
  }
  *p = b->far;
  if (!of_now || !(b->far_old || (b->borrowed && !b->data_old))) return BDL_OK;
  TRY(far->ops->upload(far, NULL, b->far, b->data, b->size));
  b->far_old = false;
  return BDL_OK;
}

void bdl_buffer_far_changed(bdl_buffer *b) {
  b->data_old = true;
  b->far_old = false;
}

bdl_status bdl_buffer_bring(bdl_buffer *b) {
  bdl_device *d = b->device;
  if (!b->data) {
    const size_t before = d->ctx->mem_used;
    TRY(d->ops->alloc(d, room(b->size), &b->data));
    b->counted += d->ctx->mem_used - before;
  }
  TRY(b->far_device->ops->download(b->far_device, NULL, b->data, b->far, b->size));
  b->data_old = false;
  return BDL_OK;
}

void bdl_buffer_changed(bdl_buffer *b) { b->far_old = b->far_device != NULL; }

void bdl_device_trim(bdl_device *d) {
  for (bdl_buffer *b = d->spare, *next; b; b = next) {
    next = b->next;
    d->ctx->mem_used += b->counted;
    buffer_free(b);
  }
  d->spare = NULL;
  d->n_spare = 0;
}

static void row_major(bdl_tensor *t) {
  int64_t stride = 1;
  for (int k = t->aval.ndim - 1; k >= 0; k--) {
    t->stride[k] = stride;
    stride *= t->aval.shape[k];
  }
}

static bdl_status tensor_over(bdl_device *d, bdl_device *far, const bdl_aval *a, bdl_tensor *t) {
  TRY(bdl_aval_check(d->ctx, a));
  bdl_buffer *b;
  bdl_status s = far ? bdl_buffer_new_far(d, far, bdl_aval_bytes(a), &b) : bdl_buffer_new(d, bdl_aval_bytes(a), &b);
  if (s == BDL_ENOMEM && !far) {
    char text[BDL_AVAL_TEXT];
    return bdl_fail(d->ctx, s, "out of memory for %s (%zu bytes)", bdl_aval_text(a, true, text), bdl_aval_bytes(a));
  }
  if (s != BDL_OK) return s;
  *t = (bdl_tensor){.aval = *a, .buf = b};
  row_major(t);
  return BDL_OK;
}


bdl_status bdl_tensor_new(bdl_device *d, const bdl_aval *a, bdl_tensor *t) { return tensor_over(d, NULL, a, t); }
bdl_status bdl_tensor_new_far(bdl_device *cpu, bdl_device *far, const bdl_aval *a, bdl_tensor *t) { return tensor_over(cpu, far, a, t); }

bdl_status bdl_tensor_scalar(bdl_device *d, bdl_dtype dt, bdl_scalar v, bdl_tensor *t) {
  bdl_aval a = bdl_aval_scalar(dt);
  TRY(bdl_tensor_new(d, &a, t));
  return d->ops->upload(d, NULL, t->buf->data, &v, bdl_dtype_size(dt));
}

bdl_tensor bdl_tensor_ref(const bdl_tensor *t) {
  bdl_buffer_ref(t->buf);
  return *t;
}

void bdl_tensor_unref(bdl_tensor *t) {
  bdl_buffer_unref(t->buf);
  t->buf = NULL;
}

bool bdl_tensor_contiguous(const bdl_tensor *t) {
  int64_t stride = 1;
  for (int k = t->aval.ndim - 1; k >= 0; k--) {
    if (t->aval.shape[k] != 1 && t->stride[k] != stride) return bdl_aval_numel(&t->aval) == 0;
    stride *= t->aval.shape[k];
  }
  return true;
}

/* Element offset of a row-major position. */
static int64_t element(const bdl_tensor *t, int64_t linear) {
  int64_t at = t->offset;
  for (int k = t->aval.ndim - 1; k >= 0; k--) {
    at += linear % t->aval.shape[k] * t->stride[k];
    linear /= t->aval.shape[k];
  }
  return at;
}

bdl_scalar bdl_tensor_at(const bdl_tensor *t, int64_t linear) {
  bdl_scalar v = {.bits = 0};
  BDL_ASSERT(!t->buf->data_old, "the newest bytes are not on the %s", "CPU");
  size_t size = bdl_dtype_size(t->aval.dtype);
  bdl_device *d = t->buf->device;
  (void)d->ops->download(d, NULL, &v, (char *)t->buf->data + (size_t)element(t, linear) * size, size);
  return v;
}

bdl_status bdl_tensor_pack(const bdl_tensor *t, bdl_tensor *out) {
  if (bdl_tensor_contiguous(t)) {
    TRY(bdl_tensor_fetch(t));
    *out = bdl_tensor_ref(t);
    return BDL_OK;
  }
  bdl_device *d = t->buf->device;
  TRY(bdl_tensor_fetch(t));
  TRY(bdl_tensor_new(d, &t->aval, out));
  /* Rows along the last axis; a unit stride there is one copy a row. */
  size_t size = bdl_dtype_size(t->aval.dtype);
  int last = t->aval.ndim - 1;
  int64_t n = bdl_aval_numel(&t->aval), row = t->aval.shape[last], step = t->stride[last];
  for (int64_t i = 0; i < n; i += row) {
    const char *src = (const char *)t->buf->data + (size_t)element(t, i) * size;
    char *dst = (char *)out->buf->data + (size_t)i * size;
    bdl_status s = BDL_OK;
    if (step == 1) s = d->ops->copy(d, NULL, dst, src, (size_t)row * size);
    else
      for (int64_t j = 0; j < row && s == BDL_OK; j++)
        s = d->ops->copy(d, NULL, dst + (size_t)j * size, src + j * step * (int64_t)size, size);
    if (s != BDL_OK) {
      bdl_tensor_unref(out);
      return s;
    }
  }
  return BDL_OK;
}

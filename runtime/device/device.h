/*
** device.h -- the device table, buffers and tensors.  Knows nothing of programs or Lua.
*/
#ifndef BDL_DEVICE_H
#define BDL_DEVICE_H

#include "base/base.h"

typedef struct bdl_device bdl_device;
typedef struct bdl_stream bdl_stream; /* an order of work; the CPU has one, which is never busy */
typedef struct bdl_fence bdl_fence;   /* a point in a stream */

/* One table a kind of device.  (optional) entries may be NULL; then the stated default holds. */
typedef struct bdl_device_ops {
  const char *name; /* "cpu", "gpu" */
  bdl_status (*alloc)(bdl_device *d, size_t size, void **p);
  void (*free)(bdl_device *d, void *p, size_t size);
  bdl_status (*upload)(bdl_device *d, bdl_stream *s, void *dst, const void *host, size_t n);
  bdl_status (*download)(bdl_device *d, bdl_stream *s, void *host, const void *src, size_t n);
  bdl_status (*copy)(bdl_device *d, bdl_stream *s, void *dst, const void *src, size_t n);
  bdl_status (*stream_new)(bdl_device *d, bdl_stream **s);     /* (optional) one stream, NULL */
  void (*stream_free)(bdl_device *d, bdl_stream *s);           /* (optional) */
  bdl_status (*stream_sync)(bdl_device *d, bdl_stream *s);     /* (optional) work is done when a call returns */
  bdl_status (*fence_new)(bdl_device *d, bdl_stream *s, bdl_fence **f); /* (optional) as stream_sync */
  bdl_status (*fence_wait)(bdl_device *d, bdl_fence *f);       /* (optional) */
  void (*fence_free)(bdl_device *d, bdl_fence *f);             /* (optional) */
  void (*fini)(bdl_device *d);
} bdl_device_ops;

struct bdl_device {
  const bdl_device_ops *ops;
  bdl_context *ctx;
  struct bdl_buffer *spare; /* small buffers that nobody refers to, with their memory */
  int n_spare;
};

/* The device by platform name.  Errors: BDL_EVALUE unknown name, or what of a GPU is missing. */
bdl_status bdl_device_get(bdl_context *c, const char *platform, bdl_device **d);
bdl_device *bdl_device_cpu(bdl_context *c); /* NULL: BDL_ENOMEM */

/* ---- buffers: refcounted, 64-byte aligned, and padded so that a whole vector may be read at the end.  The CPU's may have a copy on
** a GPU, where a program left its result or found its operand; either may be older than the other. */
#define BDL_ALIGN 64
#define BDL_PAD 64

typedef struct bdl_buffer {
  int32_t refs; /* one context lives in one thread: plain counts */
  bdl_device *device;
  void *data;              /* NULL: not on the CPU yet */
  bdl_device *far_device;  /* NULL: no copy */
  void *far;
  bool data_old, far_old;
  size_t size;
  size_t counted;          /* bytes that it adds to the memory used */
  bool borrowed;           /* the memory is somebody else's */
  struct bdl_buffer *next; /* spare */
} bdl_buffer;

bdl_status bdl_buffer_new(bdl_device *d, size_t size, bdl_buffer **b); /* uninitialised; names the size on BDL_ENOMEM */
/* Over memory that stays until bdl_buffer_own, or the last reference is gone; BDL_PAD bytes behind it may be read, too. */
bdl_status bdl_buffer_borrow(bdl_device *d, void *data, size_t size, bdl_buffer **b);
bdl_status bdl_buffer_own(bdl_buffer *b); /* a borrowed one gets memory of its own, with the same contents */
void bdl_buffer_ref(bdl_buffer *b);
void bdl_buffer_unref(bdl_buffer *b); /* NULL is fine */
void bdl_device_trim(bdl_device *d);  /* gives the memory of spare buffers back */
/* One that a program of device `far` fills; on the CPU once somebody asks. */
bdl_status bdl_buffer_new_far(bdl_device *cpu, bdl_device *far, size_t size, bdl_buffer **b);
/* *p: its bytes on that device; those of now, or any, to be written over. */
bdl_status bdl_buffer_far(bdl_buffer *b, bdl_device *far, bool of_now, void **p);
void bdl_buffer_far_changed(bdl_buffer *b);  /* those were written, or will be before anybody looks */
bdl_status bdl_buffer_bring(bdl_buffer *b);  /* makes those of the CPU the newest; waits for the device */
void bdl_buffer_changed(bdl_buffer *b);      /* those of the CPU were written */
/* Before the host looks at, or changes, what a tensor holds. */
static inline bdl_status bdl_buffer_fetch(bdl_buffer *b) { return b->data_old ? bdl_buffer_bring(b) : BDL_OK; }

/* ---- tensors: an aval over a buffer.  Views share the buffer; strides are in elements. */
typedef struct bdl_tensor {
  bdl_aval aval;
  int64_t stride[BDL_MAX_NDIM];
  int64_t offset; /* in elements */
  bdl_buffer *buf;
} bdl_tensor;

bdl_status bdl_tensor_new(bdl_device *d, const bdl_aval *a, bdl_tensor *t); /* contiguous, uninitialised, owns one reference */
bdl_status bdl_tensor_new_far(bdl_device *cpu, bdl_device *far, const bdl_aval *a, bdl_tensor *t); /* bdl_buffer_new_far */
bdl_status bdl_tensor_scalar(bdl_device *d, bdl_dtype dt, bdl_scalar v, bdl_tensor *t);
bdl_tensor bdl_tensor_ref(const bdl_tensor *t); /* the same view with a reference of its own */
void bdl_tensor_unref(bdl_tensor *t);
bool bdl_tensor_contiguous(const bdl_tensor *t);
/* A contiguous tensor of the same values: t itself (referenced) or a copy. */
bdl_status bdl_tensor_pack(const bdl_tensor *t, bdl_tensor *out);
static inline bdl_status bdl_tensor_fetch(const bdl_tensor *t) { return bdl_buffer_fetch(t->buf); }
static inline void *bdl_tensor_data(const bdl_tensor *t) { /* fetched */
  BDL_ASSERT(!t->buf->data_old, "the newest bytes are not on the %s", "CPU");
  return (char *)t->buf->data + (size_t)t->offset * bdl_dtype_size(t->aval.dtype);
}
/* Element at a row-major position, any strides; for printing and tests, not for loops. */
bdl_scalar bdl_tensor_at(const bdl_tensor *t, int64_t linear);

#endif

/*
** aval.c -- dtypes, shapes and scalars.
*/
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"

#define MAX_BYTES ((int64_t)1 << 46)

static const struct {
  const char *name, *long_name;
  size_t size;
} dtypes[] = {
#define X(id, s, l, z) [id] = {s, l, z},
  BDL_DTYPE_LIST(X)
#undef X
};

size_t bdl_dtype_size(bdl_dtype d) { return dtypes[d].size; }
const char *bdl_dtype_name(bdl_dtype d) { return dtypes[d].name; }
const char *bdl_dtype_long_name(bdl_dtype d) { return dtypes[d].long_name; }

bool bdl_dtype_parse(const char *s, bdl_dtype *d) {
  for (int i = 0; i < BDL_DTYPE_COUNT; i++)
    if (strcmp(s, dtypes[i].name) == 0 || strcmp(s, dtypes[i].long_name) == 0) {
      *d = (bdl_dtype)i;
      return true;
    }
  return false;
}

bdl_aval bdl_aval_scalar(bdl_dtype d) { return (bdl_aval){.dtype = d}; }

bdl_aval bdl_aval_make(bdl_dtype d, int32_t ndim, const int64_t *shape) {
  bdl_aval a = {.dtype = d, .ndim = ndim};
  if (ndim > 0) memcpy(a.shape, shape, (size_t)ndim * sizeof *shape);
  return a;
}

bool bdl_shape_eq(const bdl_aval *a, const bdl_aval *b) {
  return a->ndim == b->ndim && (a->ndim == 0 || memcmp(a->shape, b->shape, (size_t)a->ndim * sizeof *a->shape) == 0);
}

bool bdl_aval_eq(const bdl_aval *a, const bdl_aval *b) { return a->dtype == b->dtype && bdl_shape_eq(a, b); }

int64_t bdl_aval_numel(const bdl_aval *a) {
  int64_t n = 1;
  for (int i = 0; i < a->ndim; i++) n *= a->shape[i];
  return n;
}

size_t bdl_aval_bytes(const bdl_aval *a) { return (size_t)bdl_aval_numel(a) * bdl_dtype_size(a->dtype); }

/* Extents of 0 count as 1 for the limit, so strides cannot overflow either. */
bdl_status bdl_aval_check(bdl_context *c, const bdl_aval *a) {
  char text[BDL_AVAL_TEXT];
  int64_t n = 0;
  if ((unsigned)a->dtype >= BDL_DTYPE_COUNT) return bdl_fail(c, BDL_ETYPE, "no dtype has the number %d", (int)a->dtype);
  if (a->ndim < 0 || a->ndim > BDL_MAX_NDIM)
    return bdl_fail(c, BDL_EVALUE, "%d axes; a tensor has at most %d", a->ndim, BDL_MAX_NDIM);
  n = (int64_t)bdl_dtype_size(a->dtype);
  for (int i = 0; i < a->ndim; i++) {
    const int64_t extent = BDL_MAX(a->shape[i], 1);
    if (a->shape[i] < 0) return bdl_fail(c, BDL_EVALUE, "negative extent in shape %s", bdl_aval_text(a, true, text));
    if (extent > MAX_BYTES / n) return bdl_fail(c, BDL_EVALUE, "shape %s is too large", bdl_aval_text(a, true, text));
    n *= extent;
  }
  return BDL_OK;
}

const char *bdl_aval_text(const bdl_aval *a, bool long_name, char buf[BDL_AVAL_TEXT]) {
  int n = snprintf(buf, BDL_AVAL_TEXT, "%s[", long_name ? bdl_dtype_long_name(a->dtype) : bdl_dtype_name(a->dtype));
  for (int i = 0; i < a->ndim; i++)
    n += snprintf(buf + n, (size_t)(BDL_AVAL_TEXT - n), i ? ",%lld" : "%lld", (long long)a->shape[i]);
  snprintf(buf + n, (size_t)(BDL_AVAL_TEXT - n), "]");
  return buf;
}

bdl_status bdl_broadcast(bdl_context *c, const bdl_aval *a, const bdl_aval *b, bdl_aval *out) {
  bdl_aval z = {.dtype = a->dtype, .ndim = BDL_MAX(a->ndim, b->ndim)};
  for (int i = 1; i <= z.ndim; i++) {
    const int64_t m = i <= a->ndim ? a->shape[a->ndim - i] : 1, n = i <= b->ndim ? b->shape[b->ndim - i] : 1;
    if (m != n && m != 1 && n != 1) {
      char s[BDL_AVAL_TEXT], t[BDL_AVAL_TEXT];
      return bdl_fail(c, BDL_ESHAPE, "shapes of %s and %s do not broadcast together", bdl_aval_text(a, true, s),
                      bdl_aval_text(b, true, t));
    }
    z.shape[z.ndim - i] = m == 1 ? n : m;
  }
  *out = z;
  return BDL_OK;
}

/* v clipped to the integers from lo to hi; both are exact doubles. */
static int64_t saturate(double v, double lo, double hi) {
  if (isnan(v)) return 0;
  return (int64_t)(v < lo ? lo : v > hi ? hi : v);
}

bdl_scalar bdl_scalar_from_f64(bdl_dtype d, double v) {
  bdl_scalar s = {.bits = 0};
  switch (d) {
    case BDL_BOOL: s.b = v != 0; break;
    case BDL_I32: s.i32 = (int32_t)saturate(v, INT32_MIN, INT32_MAX); break;
    case BDL_I64: s.i64 = v >= 0x1p63 ? INT64_MAX : saturate(v, -0x1p63, 0x1p63); break;
    case BDL_U32: s.u32 = (uint32_t)saturate(v, 0, UINT32_MAX); break;
    case BDL_F32: s.f32 = (float)v; break;
    default: s.f64 = v; break;
  }
  return s;
}

bdl_scalar bdl_scalar_from_i64(bdl_dtype d, int64_t v) {
  bdl_scalar s = {.bits = 0};
  switch (d) {
    case BDL_BOOL: s.b = v != 0; break;
    case BDL_I32: s.i32 = (int32_t)(uint32_t)v; break;
    case BDL_I64: s.i64 = v; break;
    case BDL_U32: s.u32 = (uint32_t)v; break;
    case BDL_F32: s.f32 = (float)v; break;
    default: s.f64 = (double)v; break;
  }
  return s;
}

double bdl_scalar_to_f64(bdl_dtype d, bdl_scalar s) {
  switch (d) {
    case BDL_BOOL: return s.b;
    case BDL_I32: return s.i32;
    case BDL_I64: return (double)s.i64;
    case BDL_U32: return s.u32;
    case BDL_F32: return s.f32;
    default: return s.f64;
  }
}

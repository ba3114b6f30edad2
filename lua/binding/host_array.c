/*
** host_array.c -- arrays of the host: checked, described, scaled.
*/
#include <string.h>
#include <unistd.h>

#include "base/context.h"
#include "binding/host.h"

_Static_assert(BDL_BOOLEAN == (int)BDL_BOOL && BDL_INT32 == (int)BDL_I32 && BDL_INT64 == (int)BDL_I64 && BDL_UINT32 == (int)BDL_U32 &&
                 BDL_FLOAT32 == (int)BDL_F32 && BDL_FLOAT64 == (int)BDL_F64,
               "dtypes of bdl.h are those of the runtime");
_Static_assert(BDL_MOST_AXES == BDL_MAX_NDIM && BDL_PADDING >= BDL_PAD, "limits of bdl.h hold in the runtime");

void lbdl_check_array(lua_State *L, const char *what, int k, const bdl_array *a, bool need_data, bdl_aval *type, const bdl_unit **unit) {
  const int dtype = (int)a->dtype;
  if (dtype < 0 || dtype >= BDL_DTYPE_COUNT) lbdl_error(L, BDL_ETYPE, "%s %d: no dtype has the number %d", what, k, dtype);
  if (a->ndim < 0 || a->ndim > BDL_MAX_NDIM)
    lbdl_error(L, BDL_ESHAPE, "%s %d: %d axes; an array has 0 to %d", what, k, a->ndim, BDL_MAX_NDIM);
  if (a->flags & ~(unsigned)BDL_PADDED) lbdl_error(L, BDL_EVALUE, "%s %d: unknown flags %x", what, k, a->flags);
  *type = bdl_aval_make((bdl_dtype)dtype, a->ndim, a->shape);
  lbdl_check(L, bdl_aval_check(lbdl_ctx(L), type));
  if (need_data && !a->data && bdl_aval_numel(type) > 0) lbdl_error(L, BDL_EVALUE, "%s %d: data is NULL", what, k);
  if ((uintptr_t)a->data % bdl_dtype_size(type->dtype))
    lbdl_error(L, BDL_EVALUE, "%s %d: data is not aligned for %s", what, k, bdl_dtype_long_name(type->dtype));
  *unit = NULL;
  if (a->unit) lbdl_check(L, bdl_unit_named(lbdl_of(L)->units, a->unit, unit));
  if (*unit && bdl_unit_eq(*unit, NULL)) *unit = NULL;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define EVERY_BYTE_IS_WATCHED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define EVERY_BYTE_IS_WATCHED 1
#endif
#endif
#ifndef EVERY_BYTE_IS_WATCHED
#define EVERY_BYTE_IS_WATCHED 0
#endif

/* Memory is there or not by whole pages: what lies in the page of the last byte can be read. */
bool lbdl_in_place(const bdl_array *a, size_t bytes) {
  if (a->flags & BDL_PADDED) return true;
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), last = (uintptr_t)a->data + bytes - 1;
  return !EVERY_BYTE_IS_WATCHED && a->data && bytes > 0 && last / page == (last + BDL_PAD) / page;
}

bdl_status lbdl_check_booleans(bdl_context *c, const void *data, const bdl_aval *type) {
  const unsigned char *p = data;
  const int64_t n = type->dtype == BDL_BOOL ? bdl_aval_numel(type) : 0;
  for (int64_t i = 0; i < n; i++)
    if (p[i] > 1) return bdl_fail(c, BDL_EVALUE, "element %lld of an array of booleans is %d; they are 0 or 1", (long long)i, p[i]);
  return BDL_OK;
}

void lbdl_describe(bdl_array *a, void *data, const bdl_aval *type, const bdl_unit *unit, unsigned flags) {
  *a = (bdl_array){.data = data, .dtype = (bdl_type)type->dtype, .ndim = type->ndim, .unit = unit ? bdl_unit_text(unit) : NULL, .flags = flags};
  memcpy(a->shape, type->shape, (size_t)type->ndim * sizeof *a->shape);
}

double lbdl_fit(lua_State *L, const char *what, int k, const bdl_aval *wanted, const bdl_unit *wanted_unit, const bdl_aval *type,
                const bdl_unit *unit) {
  char a[BDL_AVAL_TEXT], b[BDL_AVAL_TEXT];
  if (!bdl_aval_eq(wanted, type))
    lbdl_error(L, bdl_shape_eq(wanted, type) ? BDL_ETYPE : BDL_ESHAPE, "%s %d is %s; the host's array is %s", what, k,
               bdl_aval_text(type, true, a), bdl_aval_text(wanted, true, b));
  if (bdl_unit_eq(wanted_unit, unit)) return 1;
  const char *have = unit ? bdl_unit_text(unit) : "a plain number", *want = wanted_unit ? bdl_unit_text(wanted_unit) : "plain numbers";
  if (!bdl_unit_same_dim(wanted_unit, unit)) {
    if (unit) bdl_hint(lbdl_ctx(L), "set the array's unit to \"%s\"", bdl_unit_text(unit));
    else bdl_hint(lbdl_ctx(L), "leave the array's unit NULL");
    lbdl_error(L, BDL_EUNIT, "%s %d is in %s; the host's array is in %s", what, k, have, want);
  }
  if (!bdl_dtype_is_float(type->dtype))
    lbdl_error(L, BDL_EUNIT, "%s %d is %s in %s and cannot be scaled to %s", what, k, bdl_dtype_long_name(type->dtype), have, want);
  return bdl_unit_ratio(unit, wanted_unit);
}

void lbdl_scaled(void *dst, const void *src, const bdl_aval *type, double factor) {
  const int64_t n = bdl_aval_numel(type);
  if (n > 0) memmove(dst, src, bdl_aval_bytes(type));
  if (factor == 1) return;
  if (type->dtype == BDL_F32)
    for (int64_t i = 0; i < n; i++) ((float *)dst)[i] = (float)((double)((float *)dst)[i] * factor);
  else
    for (int64_t i = 0; i < n; i++) ((double *)dst)[i] *= factor;
}

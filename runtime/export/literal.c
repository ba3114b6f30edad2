/*
** literal.c -- one element as C: every bit of it.
*/
#include <math.h>
#include <string.h>

#include "export/build.h"

/* Where no function may be called (initialiser), an infinity is a quotient. */
static void real(bdl_str *out, double x, bool single, bool initialiser) {
  const char *f = single ? "f" : "", *code = single ? "f32" : "f64";
  if (isfinite(x)) {
    if (fabs(x) < 1e6 && x == trunc(x) && !(x == 0 && signbit(x))) bdl_str_addf(out, "%.1f%s", x, f);
    else bdl_str_addf(out, "%a%s", x, f);
  } else if (initialiser) {
    bdl_str_addf(out, isnan(x) ? "0.0%s / 0.0%s" : x > 0 ? "1.0%s / 0.0%s" : "-1.0%s / 0.0%s", f, f);
  } else {
    uint64_t u;
    uint32_t v;
    const float y = (float)x;
    memcpy(&u, &x, sizeof u);
    memcpy(&v, &y, sizeof v);
    bdl_str_addf(out, "floats_%s(0x%" PRIx64 "u)", code, single ? v : u);
  }
}

void bdl_export_literal(bdl_str *out, bdl_dtype d, const void *x, bool initialiser) {
  switch (d) {
    case BDL_BOOL: bdl_str_addf(out, "%d", *(const unsigned char *)x != 0); break;
    case BDL_I32:
      if (*(const int32_t *)x == INT32_MIN) bdl_str_addf(out, "INT32_MIN");
      else bdl_str_addf(out, "%" PRId32, *(const int32_t *)x);
      break;
    case BDL_U32: bdl_str_addf(out, "%" PRIu32 "u", *(const uint32_t *)x); break;
    case BDL_I64:
      if (*(const int64_t *)x == INT64_MIN) bdl_str_addf(out, "INT64_MIN");
      else bdl_str_addf(out, "INT64_C(%" PRId64 ")", *(const int64_t *)x);
      break;
    case BDL_F32: real(out, (double)*(const float *)x, true, initialiser); break;
    default: real(out, *(const double *)x, false, initialiser);
  }
}

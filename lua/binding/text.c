/*
** text.c -- how values read: numbers as NumPy shows them, units behind.
*/
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "binding/lbdl.h"

enum { SUMMARY = 1000, EDGE = 3, WIDTH = 75 }; /* NumPy's thresholds */

typedef struct printer {
  lua_State *L;
  const bdl_tensor *t;
  int precision;   /* digits after the point, or of the mantissa */
  bool exponent;
  int width;       /* of every element */
  bool trim;       /* the shortest digits of each element, padded */
  int column;
} printer;

/* Shortest decimal that reads back as the same float. */
static void shortest(double v, bdl_dtype d, char *buf, size_t n) {
  for (int digits = 1; digits <= 17; digits++) {
    snprintf(buf, n, "%.*g", digits, v);
    if (d == BDL_F32 ? strtof(buf, NULL) == (float)v : strtod(buf, NULL) == v) return;
  }
}

/* One number alone: "1." "0.1" "1e-05" "nan"; integers plain. */
static void scalar_text(bdl_dtype d, bdl_scalar v, char *buf, size_t n) {
  if (d == BDL_BOOL) snprintf(buf, n, "%s", v.b ? "true" : "false");
  else if (d == BDL_I32) snprintf(buf, n, "%d", v.i32);
  else if (d == BDL_U32) snprintf(buf, n, "%u", v.u32);
  else if (d == BDL_I64) snprintf(buf, n, "%lld", (long long)v.i64);
  else {
    double x = d == BDL_F32 ? (double)v.f32 : v.f64, a = fabs(x);
    if (isnan(x)) snprintf(buf, n, "nan");
    else if (isinf(x)) snprintf(buf, n, x > 0 ? "inf" : "-inf");
    else if (a != 0 && (a >= 1e16 || a < 1e-4)) shortest(x, d, buf, n);
    else {
      char s[64];
      shortest(x, d, s, sizeof s);
      char *e = strchr(s, 'e'), *point = strchr(s, '.');
      if (e) snprintf(buf, n, "%.*f", 0, x), strcat(buf, ".");
      else snprintf(buf, n, "%s%s", s, point ? "" : ".");
    }
  }
}

static double element(const bdl_tensor *t, int64_t i) { return bdl_scalar_to_f64(t->aval.dtype, bdl_tensor_at(t, i)); }

static bool skip(const printer *p, int axis, int64_t i) {
  int64_t n = p->t->aval.shape[axis];
  return bdl_aval_numel(&p->t->aval) > SUMMARY && n > 2 * EDGE && i >= EDGE && i < n - EDGE;
}

/* Width and digits over the elements that are shown. */
static void measure(printer *p, int axis, int64_t at, int64_t stride, double *max, double *min, int *digits, int *whole, bool *finite_only) {
  if (axis == p->t->aval.ndim) {
    char s[64];
    double v = element(p->t, at);
    if (!isfinite(v)) {
      *finite_only = false;
      *whole = BDL_MAX(*whole, isnan(v) ? 3 : v > 0 ? 3 : 4);
      return;
    }
    double a = fabs(v);
    if (a > *max) *max = a;
    if (a != 0 && a < *min) *min = a;
    shortest(bdl_dtype_is_float(p->t->aval.dtype) ? (double)v : v, p->t->aval.dtype, s, sizeof s);
    char plain[400];
    snprintf(plain, sizeof plain, "%.8f", v);
    char *point = strchr(plain, '.');
    *whole = BDL_MAX(*whole, (int)(point - plain));
    int last = 8;
    while (last > 0 && point[last] == '0') last--;
    /* no more digits than the shortest form needs */
    char *sp = strchr(s, '.');
    int need = sp && !strchr(s, 'e') ? (int)strlen(sp + 1) : strchr(s, 'e') ? last : 0;
    *digits = BDL_MAX(*digits, BDL_MIN(last, BDL_MAX(need, 0)));
    return;
  }
  stride /= p->t->aval.shape[axis];
  for (int64_t i = 0; i < p->t->aval.shape[axis]; i++)
    if (!skip(p, axis, i)) measure(p, axis + 1, at + i * stride, stride, max, min, digits, whole, finite_only);
}

static void element_text(const printer *p, int64_t at, char *buf, size_t n) {
  bdl_dtype d = p->t->aval.dtype;
  bdl_scalar v = bdl_tensor_at(p->t, at);
  if (!bdl_dtype_is_float(d)) {
    scalar_text(d, v, buf, n);
    return;
  }
  double x = bdl_scalar_to_f64(d, v);
  if (isnan(x)) snprintf(buf, n, "nan");
  else if (isinf(x)) snprintf(buf, n, x > 0 ? "inf" : "-inf");
  else if (p->exponent) {
    snprintf(buf, n, "%.*e", BDL_MIN(p->precision, 8), x);
  } else {
    int w = snprintf(buf, n, "%.*f", p->precision, x);
    if (p->precision == 0) strcat(buf, ".");
    else
      for (w--; buf[w] == '0'; w--) buf[w] = ' '; /* trailing zeros become blanks */
  }
}

static void put(luaL_Buffer *b, printer *p, const char *s) {
  luaL_addstring(b, s);
  p->column += (int)strlen(s);
}

static void rows(luaL_Buffer *b, printer *p, int axis, int64_t at, int64_t stride) {
  int64_t n = p->t->aval.shape[axis];
  bool inner = axis == p->t->aval.ndim - 1, gap = false;
  stride = n ? stride / n : 0;
  put(b, p, "[");
  for (int64_t i = 0; i < n; i++) {
    if (skip(p, axis, i)) {
      if (!gap && inner) put(b, p, " ...");
      else if (!gap) {
        luaL_addchar(b, '\n');
        for (int k = 0; k <= axis; k++) luaL_addchar(b, ' ');
        luaL_addstring(b, "...");
      }
      gap = true;
      continue;
    }
    if (inner) {
      char s[400];
      element_text(p, at + i, s, sizeof s);
      int pad = p->width - (int)strlen(s);
      if (i > 0 && p->column + p->width + 1 > WIDTH) {
        luaL_addchar(b, '\n');
        for (int k = 0; k <= axis; k++) luaL_addchar(b, ' ');
        p->column = axis + 1;
      } else if (i > 0) put(b, p, " ");
      for (; pad > 0; pad--) put(b, p, " ");
      put(b, p, s);
    } else {
      if (i > 0) {
        luaL_addchar(b, '\n');
        for (int k = 0; k <= axis; k++) luaL_addchar(b, ' ');
        p->column = axis + 1;
      }
      rows(b, p, axis + 1, at + i * stride, stride);
    }
  }
  put(b, p, "]");
}

static void fit(printer *p) {
  const bdl_aval *a = &p->t->aval;
  double max = 0, min = INFINITY;
  int digits = 0, whole = 1;
  bool finite_only = true;
  if (bdl_aval_numel(a) == 0) return;
  if (bdl_dtype_is_float(a->dtype)) {
    measure(p, 0, 0, bdl_aval_numel(a), &max, &min, &digits, &whole, &finite_only);
    p->exponent = max >= 1e8 || (min < INFINITY && (min < 1e-4 || max / min > 1000));
    if (max < 1e8 && min >= 1e-4 && max / min > 1000) p->exponent = true;
    p->precision = p->exponent ? 8 : digits;
    if (p->exponent) { /* as many digits as the longest needs */
      int need = 0;
      for (int64_t i = 0, n = BDL_MIN(bdl_aval_numel(a), (int64_t)SUMMARY); i < n; i++) {
        char s[64];
        double v = element(p->t, i);
        if (!isfinite(v)) continue;
        for (int k = 0; k <= 8; k++) {
          snprintf(s, sizeof s, "%.*e", k, v);
          if (k == 8 || (a->dtype == BDL_F32 ? strtof(s, NULL) == (float)v : strtod(s, NULL) == v)) {
            need = BDL_MAX(need, k);
            break;
          }
        }
      }
      p->precision = need;
    }
  }
  int64_t n = bdl_aval_numel(a);
  for (int64_t i = 0; i < n; i++) {
    if (n > SUMMARY && i == SUMMARY / 2) i = n - SUMMARY / 2;
    char s[400];
    element_text(p, i, s, sizeof s);
    p->width = BDL_MAX(p->width, (int)strlen(s));
  }
}

void lbdl_push_text(lua_State *L, const lbdl_tensor *x) {
  const char *unit = x->unit ? bdl_unit_text(x->unit) : NULL;
  char buf[400];
  if (lbdl_traced(x)) {
    lua_pushfstring(L, "Traced<%s%s%s>", bdl_aval_text(&x->t.aval, true, buf), unit ? " " : "", unit ? unit : "");
    return;
  }
  luaL_Buffer b;
  if (x->t.aval.ndim == 0) {
    scalar_text(x->t.aval.dtype, bdl_tensor_at(&x->t, 0), buf, sizeof buf - 1);
    if (!unit) { /* as a number of Lua prints */
      size_t n = strlen(buf);
      if (n && buf[n - 1] == '.') strcat(buf, "0");
    }
    luaL_buffinit(L, &b);
    luaL_addstring(&b, buf);
  } else {
    printer p = {.L = L, .t = &x->t};
    fit(&p);
    luaL_buffinit(L, &b);
    rows(&b, &p, 0, 0, bdl_aval_numel(&x->t.aval));
  }
  if (unit) {
    luaL_addchar(&b, ' ');
    luaL_addstring(&b, unit);
  }
  luaL_pushresult(&b);
}

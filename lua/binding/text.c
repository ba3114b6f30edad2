/*
** text.c -- how tensors read: numbers in NumPy's layout, units behind.
**
** A plain scalar shows its shortest digits, with ".0" as in Lua; one with a unit, and arrays, show at most 8 digits after
** the point.  Of more than 1000 elements the first and last three of each axis are shown; no others are touched.
** Source of the layout: numpy/_core/arrayprint.py (FloatingFormat, _formatArray).
*/
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "binding/lbdl.h"

enum { SUMMARY = 1000, EDGE = 3, WIDTH = 75, PRECISION = 8, ROOM = 512 };

/* ---- digits ------------------------------------------------------------------------------------------ */

/* v = +-0.d1 d2 .. dn * 10^(point): digits without zeros at the end. */
typedef struct decimal {
  char digit[24];
  int n, point;
  bool negative;
} decimal;

static bool reads_back(const char *s, double v, bdl_dtype d) {
  return d == BDL_F32 ? strtof(s, NULL) == (float)v : strtod(s, NULL) == v;
}

/* The shortest digits that read back as v, which is finite.  6 (f32) or 15 (f64) digits are always kept apart, so fewer are
** found by dropping zeros; only subnormal numbers have fewer. */
static decimal shortest(double v, bdl_dtype d) {
  decimal z = {.negative = signbit(v) != 0};
  const bool normal = d == BDL_F32 ? fabs(v) >= 1.17549435e-38 : fabs(v) >= 2.2250738585072014e-308;
  char s[40];
  if (v == 0) {
    z.point = 1;
    return z;
  }
  for (int n = !normal ? 1 : d == BDL_F32 ? 6 : 15; n <= 17; n++) {
    snprintf(s, sizeof s, "%.*e", n - 1, fabs(v));
    if (reads_back(s, fabs(v), d)) break;
  }
  for (const char *c = s; *c != 'e'; c++)
    if (*c != '.') z.digit[z.n++] = *c;
  while (z.n > 0 && z.digit[z.n - 1] == '0') z.n--;
  z.point = atoi(strchr(s, 'e') + 1) + 1;
  return z;
}

/* "-12.5", "3.": at most `most` digits after the point, zeros dropped; the exact value is rounded, not the shortest digits. */
static void positional(double v, bdl_dtype d, int most, char *buf) {
  const decimal z = shortest(v, d);
  if (z.n - z.point > most) {
    int n = snprintf(buf, ROOM, "%.*f", most, v);
    while (buf[n - 1] == '0') n--;
    buf[n] = 0;
    return;
  }
  int n = 0;
  if (z.negative) buf[n++] = '-';
  if (z.point <= 0) buf[n++] = '0';
  for (int i = 0; i < z.point; i++) buf[n++] = i < z.n ? z.digit[i] : '0';
  buf[n++] = '.';
  for (int i = z.point; i < z.n; i++) buf[n++] = i < 0 ? '0' : z.digit[i];
  buf[n] = 0;
}

/* "1.25e-05" with `least` digits after the point or more, at most `most`; the exponent has `width` digits or more. */
static void scientific(double v, bdl_dtype d, int least, int most, int width, char *buf) {
  decimal z = shortest(v, d);
  if (z.n - 1 > most) {
    char s[40];
    snprintf(s, sizeof s, "%.*e", most, fabs(v));
    z.n = 0;
    for (const char *c = s; *c != 'e'; c++)
      if (*c != '.') z.digit[z.n++] = *c;
    while (z.n > 0 && z.digit[z.n - 1] == '0') z.n--;
    z.point = atoi(strchr(s, 'e') + 1) + 1;
  }
  int n = 0, exponent = z.n ? z.point - 1 : 0;
  if (z.negative) buf[n++] = '-';
  buf[n++] = z.n ? z.digit[0] : '0';
  buf[n++] = '.';
  for (int i = 1; i < z.n; i++) buf[n++] = z.digit[i];
  for (int i = BDL_MAX(z.n, 1); i <= least; i++) buf[n++] = '0';
  snprintf(buf + n, 16, "e%c%0*d", exponent < 0 ? '-' : '+', width, abs(exponent));
}

static void integer_text(bdl_dtype d, bdl_scalar v, char *buf) {
  if (d == BDL_BOOL) snprintf(buf, ROOM, "%s", v.b ? "true" : "false");
  else if (d == BDL_I32) snprintf(buf, ROOM, "%d", v.i32);
  else if (d == BDL_U32) snprintf(buf, ROOM, "%u", v.u32);
  else snprintf(buf, ROOM, "%lld", (long long)v.i64);
}

static const char *special_text(double v) { return isnan(v) ? "nan" : v > 0 ? "inf" : "-inf"; }

/* A plain scalar, as numbers of Lua print but with the digits of its dtype. */
static void scalar_text(bdl_dtype d, bdl_scalar v, char *buf) {
  if (!bdl_dtype_is_float(d)) {
    integer_text(d, v, buf);
    return;
  }
  const double x = bdl_scalar_to_f64(d, v), a = fabs(x);
  if (!isfinite(x)) snprintf(buf, ROOM, "%s", special_text(x));
  else if (a != 0 && (a >= 1e16 || a < 1e-4)) {
    scientific(x, d, 0, 17, 2, buf);
    char *point = strstr(buf, ".e"); /* 1e-05 */
    if (point) memmove(point, point + 1, strlen(point));
  } else {
    positional(x, d, 24, buf);
    size_t n = strlen(buf);
    if (buf[n - 1] == '.') memcpy(buf + n, "0", 2);
  }
}

/* ---- one format for all elements that are shown -------------------------------------------------------- */

typedef struct printer {
  const bdl_tensor *t;
  bdl_dtype dtype;
  bool summary;
  bool scientific;
  int left, right;    /* characters before the point; after it, with the exponent */
  int fraction, exponent; /* scientific: digits after the point, of the exponent */
  luaL_Buffer *out;
  char line[WIDTH + 2 * ROOM];
  int length; /* of the line */
} printer;

static bool skipped(const printer *p, int axis, int64_t i) {
  const int64_t n = p->t->aval.shape[axis];
  return p->summary && n > 2 * EDGE && i >= EDGE && i < n - EDGE;
}

/* The next shown index of an axis. */
static int64_t after(const printer *p, int axis, int64_t i) {
  const int64_t n = p->t->aval.shape[axis];
  return skipped(p, axis, i + 1) ? n - EDGE : i + 1;
}

typedef void (*visitor)(printer *p, bdl_scalar v, void *ud);

static void each_shown(printer *p, int axis, int64_t at, visitor f, void *ud) {
  const bdl_aval *a = &p->t->aval;
  if (axis == a->ndim) {
    f(p, bdl_tensor_at(p->t, at), ud);
    return;
  }
  for (int64_t i = 0; i < a->shape[axis]; i = after(p, axis, i)) each_shown(p, axis + 1, at * a->shape[axis] + i, f, ud);
}

typedef struct extent {
  double max, min; /* of the sizes that are neither 0 nor infinite */
  bool any, special, negative_inf;
} extent;

static void see_extent(printer *p, bdl_scalar v, void *ud) {
  extent *e = ud;
  const double x = bdl_scalar_to_f64(p->dtype, v), a = fabs(x);
  if (!isfinite(x)) {
    e->special = true;
    e->negative_inf |= isinf(x) && x < 0;
  } else if (a != 0) {
    e->max = e->any ? BDL_MAX(e->max, a) : a;
    e->min = e->any ? BDL_MIN(e->min, a) : a;
    e->any = true;
  }
}

static void see_width(printer *p, bdl_scalar v, void *ud) {
  char s[ROOM];
  (void)ud;
  if (!bdl_dtype_is_float(p->dtype)) {
    integer_text(p->dtype, v, s);
    p->left = BDL_MAX(p->left, (int)strlen(s));
    return;
  }
  const double x = bdl_scalar_to_f64(p->dtype, v);
  if (!isfinite(x)) return;
  if (p->scientific) scientific(x, p->dtype, 0, PRECISION, 2, s);
  else positional(x, p->dtype, PRECISION, s);
  const char *point = strchr(s, '.'), *e = strchr(s, 'e');
  const int digits = (int)(e ? e - point - 1 : (long)strlen(point + 1));
  p->left = BDL_MAX(p->left, (int)(point - s));
  if (e) {
    p->fraction = BDL_MAX(p->fraction, digits);
    p->exponent = BDL_MAX(p->exponent, (int)strlen(e + 2));
  } else p->right = BDL_MAX(p->right, digits);
}

static void fit(printer *p) {
  extent e = {0};
  if (bdl_dtype_is_float(p->dtype)) {
    each_shown(p, 0, 0, see_extent, &e);
    p->scientific = e.any && (e.max >= 1e8 || e.min < 1e-4 || e.max / e.min > 1000);
  }
  each_shown(p, 0, 0, see_width, NULL);
  if (p->scientific) p->right = p->exponent + 2 + p->fraction;
  if (e.special) p->left = BDL_MAX(p->left, (e.negative_inf ? 4 : 3) - (p->right + 1));
  if (p->dtype == BDL_BOOL && p->t->aval.ndim > 0) p->left = 5;
}

/* One element, padded to the common width. */
static int element_text(const printer *p, bdl_scalar v, char *buf) {
  char s[ROOM];
  const bool real = bdl_dtype_is_float(p->dtype);
  const double x = bdl_scalar_to_f64(p->dtype, v);
  const int width = p->left + (real ? p->right + 1 : 0);
  if (!real) integer_text(p->dtype, v, s);
  else if (!isfinite(x)) snprintf(s, sizeof s, "%s", special_text(x));
  else if (p->scientific) scientific(x, p->dtype, p->fraction, p->fraction, p->exponent, s);
  else {
    positional(x, p->dtype, PRECISION, s);
    const int before = (int)(strchr(s, '.') - s);
    return snprintf(buf, ROOM, "%*s%-*s", p->left - before, "", width - (p->left - before), s);
  }
  return snprintf(buf, ROOM, "%*s", width, s);
}

/* ---- layout ---------------------------------------------------------------------------------------------- */

static void end_line(printer *p, int indent) {
  while (p->length > 0 && p->line[p->length - 1] == ' ') p->length--;
  luaL_addlstring(p->out, p->line, (size_t)p->length);
  luaL_addchar(p->out, '\n');
  memset(p->line, ' ', (size_t)indent);
  p->length = indent;
}

/* One word of a row; `room` columns are left to it and what stands before. */
static void put(printer *p, const char *word, int n, int indent, int room) {
  if (p->length + n > room && p->length > indent) end_line(p, indent);
  memcpy(p->line + p->length, word, (size_t)n);
  p->length += n;
}

/* Rows of the innermost axis break at WIDTH; outer axes leave one line feed each. */
static void rows(printer *p, int axis, int64_t at) {
  const bdl_aval *a = &p->t->aval;
  const int64_t n = a->shape[axis];
  const int deeper = a->ndim - 1 - axis, indent = axis + 1;
  char word[ROOM];
  p->line[p->length++] = '[';
  for (int64_t i = 0; i < n; i = after(p, axis, i)) {
    const bool gap = i > 0 && skipped(p, axis, i - 1);
    for (int part = gap ? 0 : 1; part < 2; part++) { /* the dots, then the element */
      const bool first = i == 0;
      if (deeper > 0) {
        if (!first) {
          luaL_addlstring(p->out, p->line, (size_t)p->length);
          for (int k = 0; k < deeper; k++) luaL_addchar(p->out, '\n');
          memset(p->line, ' ', (size_t)indent);
          p->length = indent;
        }
        if (part == 0) put(p, "...", 3, 0, WIDTH);
        else rows(p, axis + 1, at * n + i);
      } else {
        if (!first) p->line[p->length++] = ' ';
        const int length = part == 0 ? 3 : element_text(p, bdl_tensor_at(p->t, at * n + i), word);
        put(p, part == 0 ? "..." : word, length, indent, WIDTH - 1 - axis);
      }
    }
  }
  p->line[p->length++] = ']';
}

void lbdl_push_text(lua_State *L, const lbdl_tensor *x) {
  const char *unit = x->unit ? bdl_unit_text(x->unit) : NULL;
  const bdl_aval *a = &x->t.aval;
  luaL_Buffer b;
  char buf[ROOM];
  if (lbdl_traced(x)) {
    lua_pushfstring(L, "Traced<%s%s%s>", bdl_aval_text(a, true, buf), unit ? " " : "", unit ? unit : "");
    return;
  }
  lbdl_check(L, bdl_tensor_fetch(&x->t));
  printer p = {.t = &x->t, .dtype = a->dtype, .summary = bdl_aval_numel(a) > SUMMARY, .out = &b};
  luaL_buffinit(L, &b);
  if (a->ndim == 0 && !unit) {
    scalar_text(a->dtype, bdl_tensor_at(&x->t, 0), buf);
    luaL_addstring(&b, buf);
  } else if (bdl_aval_numel(a) == 0) {
    luaL_addstring(&b, "[]");
  } else {
    fit(&p);
    if (a->ndim > 0) rows(&p, 0, 0);
    else p.length = element_text(&p, bdl_tensor_at(&x->t, 0), p.line);
    luaL_addlstring(&b, p.line, (size_t)p.length);
  }
  if (unit) {
    luaL_addchar(&b, ' ');
    luaL_addstring(&b, unit);
  }
  luaL_pushresult(&b);
}

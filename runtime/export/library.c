/*
** library.c -- the text of device.c as a list of definitions; those that a program needs are written out, each behind what it needs.
**
** A definition is a run of text up to the ';' or '}' that ends it at the outermost level.  It defines
**     static inline float k_exp_f32(float x) {..}      the name in front of the first '('
**     static const float magic_f32 = ..;               .. of the first '=' or '['
**     typedef struct pf32 {..} pf32;                   the last name
**     enum { mantissa_f32 = 23, .. };                  every name in front of a '='
** and needs what the other names in it stand for.
*/
#include <string.h>

#include "export/build.h"

typedef struct definition {
  const char *s;
  int32_t n;
  bool taken;
} definition;

struct bdl_export_library {
  bdl_context *c;
  bool own_math, uses_libm;
  BDL_VEC(definition) v;
  bdl_map by_name; /* hash of a name -> its definition */
};

static const char LIBM[] = "__builtin_", OWN[] = "own_";
enum { LIBM_N = sizeof LIBM - 1, NAME_MOST = 64 };

static bool starts_name(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
static bool in_name(char c) { return starts_name(c) || (c >= '0' && c <= '9'); }

/* The next name in [s, end): its first letter, *n its length; NULL: none.  Numbers (0x1p23f) are no names. */
static const char *next_name(const char *s, const char *end, int32_t *n) {
  while (s < end) {
    const char *from = s;
    if (!in_name(*s) && *s != '.') {
      s++;
      continue;
    }
    while (s < end && (in_name(*s) || (*s == '.' && !starts_name(*from)))) s++;
    *n = (int32_t)(s - from);
    if (starts_name(*from)) return from;
  }
  return NULL;
}

static uint64_t key_of(const char *s, int32_t n) { return bdl_hash(s, (size_t)n, 0); }

static bdl_status define(bdl_export_library *lib, const char *name, int32_t n) {
  return name ? bdl_map_put(&lib->by_name, key_of(name, n), (uint64_t)lib->v.n) : BDL_OK;
}

/* The last name before `end`. */
static const char *last_name(const char *s, const char *end, int32_t *n) {
  const char *found = NULL;
  int32_t length = 0;
  for (const char *at = s; (at = next_name(at, end, &length)); at += length) found = at, *n = length;
  return found;
}

static bdl_status add(bdl_export_library *lib, const char *s, const char *end) {
  int32_t n = 0;
  if (strncmp(s, "typedef", 7) == 0) {
    const char *name = last_name(s, end, &n);
    TRY(define(lib, name, n));
  } else if (strncmp(s, "enum", 4) == 0) {
    for (const char *at = s; (at = memchr(at, '=', (size_t)(end - at))); at++) {
      const char *name = last_name(s, at, &n);
      TRY(define(lib, name, n));
    }
  } else {
    const char *at = s + strcspn(s, "(=[");
    const char *name = last_name(s, at < end ? at : end, &n);
    TRY(define(lib, name, n));
  }
  const definition d = {s, (int32_t)(end - s), false};
  return BDL_PUSH(lib->c, lib->v, d) ? BDL_OK : BDL_ENOMEM;
}

static bdl_status read(bdl_export_library *lib, const char *text) {
  const char *begin = NULL;
  int depth = 0;
  for (const char *s = text; *s; s++) {
    if (*s == '#') { /* of clang's preprocessor: nothing */
      while (s[1] && *s != '\n') s++;
      continue;
    }
    if (!begin && in_name(*s)) begin = s;
    if (*s == '(' || *s == '{' || *s == '[') depth++;
    if (*s == ')' || *s == '}' || *s == ']') depth--;
    if (!begin || depth > 0) continue;
    const bool function = strncmp(begin, "static", 6) == 0 || strncmp(begin, "BDL_", 4) == 0;
    const bool body = *s == '}' && function && !memchr(begin, '=', strcspn(begin, "{"));
    if (*s != ';' && !body) continue;
    TRY(add(lib, begin, s + 1));
    begin = NULL;
  }
  return BDL_OK;
}

bdl_status bdl_export_library_new(bdl_context *c, bool own_math, const char *text, bdl_export_library **out) {
  bdl_export_library *lib = bdl_calloc(c, sizeof *lib);
  if (!lib) return BDL_ENOMEM;
  lib->c = c;
  lib->own_math = own_math;
  bdl_map_init(&lib->by_name, c);
  const bdl_status s = read(lib, text);
  if (s != BDL_OK) bdl_export_library_free(lib);
  else *out = lib;
  return s;
}

void bdl_export_library_free(bdl_export_library *lib) {
  if (!lib) return;
  bdl_map_fini(&lib->by_name);
  BDL_VEC_FREE(lib->c, lib->v);
  bdl_free(lib->c, lib, sizeof *lib);
}

/* The definition of a name; -1: it has none.  A function of math.h has that of its own form, if any is wanted. */
static int64_t find(const bdl_export_library *lib, const char *name, int32_t n) {
  uint64_t k;
  char own[NAME_MOST];
  if (n > LIBM_N && strncmp(name, LIBM, LIBM_N) == 0) {
    if (!lib->own_math || n - LIBM_N + (int32_t)sizeof OWN > NAME_MOST) return -1;
    memcpy(own, OWN, sizeof OWN - 1);
    memcpy(own + sizeof OWN - 1, name + LIBM_N, (size_t)(n - LIBM_N));
    name = own;
    n += (int32_t)sizeof OWN - 1 - LIBM_N;
  }
  return bdl_map_get(&lib->by_name, key_of(name, n), &k) ? (int64_t)k : -1;
}

bdl_status bdl_export_library_take(bdl_export_library *lib, const char *text, int64_t n, const char **missing) {
  BDL_VEC(int32_t) pending = {0};
  bdl_status s = BDL_OK;
  int32_t length = 0;
  if (missing) *missing = NULL;
  for (;;) {
    for (const char *end = text + n; s == BDL_OK && (text = next_name(text, end, &length)); text += length) {
      const bool libm = length > LIBM_N && strncmp(text, LIBM, LIBM_N) == 0;
      const int64_t k = find(lib, text, length);
      if (libm && k < 0 && lib->own_math && missing && !*missing) *missing = text + LIBM_N;
      if (libm && k < 0) lib->uses_libm = true;
      if (k < 0 || lib->v.v[k].taken) continue;
      lib->v.v[k].taken = true;
      if (!BDL_PUSH(lib->c, pending, (int32_t)k)) s = BDL_ENOMEM;
    }
    if (s != BDL_OK || pending.n == 0) break;
    const definition *d = &lib->v.v[pending.v[--pending.n]];
    text = d->s;
    n = d->n;
  }
  BDL_VEC_FREE(lib->c, pending);
  return s;
}

bool bdl_export_library_has(const bdl_export_library *lib, const char *name) { return find(lib, name, (int32_t)strlen(name)) >= 0; }
bool bdl_export_library_uses_libm(const bdl_export_library *lib) { return lib->uses_libm; }

static void put(bdl_str *out, const bdl_export_library *lib, const definition *d) {
  const char *from = d->s, *end = d->s + d->n;
  for (const char *at = from; (at = strstr(at, LIBM)) && at < end; from = at += LIBM_N) {
    bdl_str_add(out, from, at - from);
    if (lib->own_math) bdl_str_add(out, OWN, sizeof OWN - 1);
  }
  bdl_str_add(out, from, end - from);
  bdl_str_add(out, "\n", 1);
}

/* Definition k behind those that it needs; none calls itself. */
static void put_in_order(bdl_str *out, bdl_export_library *lib, int64_t k) {
  definition *d = &lib->v.v[k];
  int32_t length = 0;
  if (!d->taken) return;
  d->taken = false;
  for (const char *at = d->s; (at = next_name(at, d->s + d->n, &length)); at += length) {
    const int64_t needed = find(lib, at, length);
    if (needed >= 0) put_in_order(out, lib, needed);
  }
  put(out, lib, d);
}

void bdl_export_library_write(bdl_export_library *lib, bdl_str *out) {
  for (int64_t k = 0; k < lib->v.n; k++) put_in_order(out, lib, k);
}

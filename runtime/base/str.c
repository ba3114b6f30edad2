/*
** str.c -- growable text.  A failed append is remembered, so that callers look once, at the end.
*/
#include <stdio.h>
#include <string.h>

#include "base/base.h"

void bdl_str_init(bdl_str *b, bdl_context *c) { *b = (bdl_str){.ctx = c}; }

void bdl_str_fini(bdl_str *b) {
  bdl_free(b->ctx, b->s, (size_t)b->cap);
  *b = (bdl_str){.ctx = b->ctx};
}

static bool room(bdl_str *b, int64_t n) {
  if (b->failed) return false;
  if (b->n + n + 1 > b->cap && !bdl_vec_grow(b->ctx, (void **)&b->s, &b->cap, BDL_MAX(b->n + n + 1, 64), 1)) b->failed = true;
  return !b->failed;
}

void bdl_str_add(bdl_str *b, const char *s, int64_t n) {
  if (!room(b, n)) return;
  if (n > 0) memcpy(b->s + b->n, s, (size_t)n); /* s of an empty text may be NULL */
  b->n += n;
  b->s[b->n] = '\0';
}

void bdl_str_addf(bdl_str *b, const char *fmt, ...) {
  char small[256];
  va_list ap;
  int n = 0;
  va_start(ap, fmt);
  n = vsnprintf(small, sizeof small, fmt, ap);
  va_end(ap);
  if (n < 0) return;
  if ((size_t)n < sizeof small) {
    bdl_str_add(b, small, n);
  } else if (room(b, n)) {
    va_start(ap, fmt);
    vsnprintf(b->s + b->n, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->n += n;
  }
}

/*
** error.c -- the last error of a context.  The message is made where the fact is known; status codes travel up.
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/context.h"

const char *bdl_status_kind(bdl_status s) {
  static const char *const kind[] = {
#define X(id, name) [id] = name,
    BDL_STATUS_LIST(X)
#undef X
  };
  return (unsigned)s < BDL_STATUS_COUNT ? kind[s] : "InternalError";
}

/* The arguments may point into the error that is replaced: `bdl_fail(c, s, "%s: %s", name, c->error.message)`. */
bdl_status bdl_failv(bdl_context *c, bdl_status s, const char *fmt, va_list ap) {
  char text[sizeof c->error.message];
  if (vsnprintf(text, sizeof text, fmt, ap) < 0) text[0] = '\0';
  c->error.status = s;
  c->error.where = (bdl_src){0};
  c->error.hint[0] = '\0';
  memcpy(c->error.message, text, strlen(text) + 1);
  return s;
}

bdl_status bdl_fail(bdl_context *c, bdl_status s, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  bdl_failv(c, s, fmt, ap);
  va_end(ap);
  return s;
}

void bdl_hint(bdl_context *c, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  if (vsnprintf(c->error.hint, sizeof c->error.hint, fmt, ap) < 0) c->error.hint[0] = '\0';
  va_end(ap);
}

void bdl_where(bdl_context *c, bdl_src src) {
  if (!c->error.where.file && c->error.status != BDL_OK) c->error.where = src;
}

bdl_error *bdl_last_error(bdl_context *c) { return &c->error; }

void bdl_clear_error(bdl_context *c) {
  c->error.status = BDL_OK;
  c->error.where = (bdl_src){0};
  c->error.message[0] = c->error.hint[0] = '\0';
}

#ifdef BDL_DEBUG
void bdl_assert_failed(const char *file, int line, const char *fmt, ...) {
  va_list ap;
  fprintf(stderr, "%s:%d: assertion failed: ", file, line);
  va_start(ap, fmt);
  vfprintf(stderr, fmt, ap);
  va_end(ap);
  fputc('\n', stderr);
  abort();
}
#endif

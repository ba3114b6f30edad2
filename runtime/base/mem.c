/*
** mem.c -- all memory of a context: one hook, accounted, with a limit.  A size of 0 is served as 1 byte, so NULL always
** means failure.
*/
#include <stdlib.h>
#include <string.h>

#include "base/context.h"

static void *from_hook(bdl_context *c, void *p, size_t osize, size_t nsize) {
  void *q = NULL;
  const size_t rest = c->mem_used - osize;
  const bool over = c->mem_limit && (nsize > c->mem_limit || rest > c->mem_limit - nsize);
  if (nsize > PTRDIFF_MAX || (over && nsize > osize)) {
    bdl_fail(c, BDL_ENOMEM, "out of memory: %zu bytes more than the %zu in use would pass the limit of %zu", nsize - osize,
             c->mem_used, c->mem_limit ? c->mem_limit : (size_t)PTRDIFF_MAX);
    return NULL;
  }
  q = c->alloc(c->alloc_ud, p, osize, nsize);
  if (!q) {
    bdl_fail(c, BDL_ENOMEM, "out of memory: no block of %zu bytes (%zu in use)", nsize, c->mem_used);
    return NULL;
  }
  c->mem_used = rest + nsize;
  c->mem_peak = BDL_MAX(c->mem_peak, c->mem_used);
  return q;
}

void *bdl_alloc(bdl_context *c, size_t size) { return from_hook(c, NULL, 0, BDL_MAX(size, 1)); }

void *bdl_calloc(bdl_context *c, size_t size) {
  void *p = bdl_alloc(c, size);
  return p ? memset(p, 0, size) : NULL;
}

void *bdl_realloc(bdl_context *c, void *p, size_t osize, size_t nsize) {
  return from_hook(c, p, p ? BDL_MAX(osize, 1) : 0, BDL_MAX(nsize, 1));
}

void bdl_free(bdl_context *c, void *p, size_t size) {
  if (!p) return;
  size = BDL_MAX(size, 1);
  c->alloc(c->alloc_ud, p, size, 0);
  c->mem_used -= size;
}

char *bdl_strdup(bdl_context *c, const char *s) {
  const size_t n = strlen(s) + 1;
  char *t = bdl_alloc(c, n);
  return t ? memcpy(t, s, n) : NULL;
}

bool bdl_vec_grow(bdl_context *c, void **v, int64_t *cap, int64_t need, size_t elem) {
  const int64_t n = BDL_MAX(need, *cap < 4 ? 8 : *cap * 2);
  void *p = NULL;
  if ((uint64_t)n > PTRDIFF_MAX / elem) {
    bdl_fail(c, BDL_ENOMEM, "out of memory: %lld elements of %zu bytes", (long long)n, elem);
    return false;
  }
  p = bdl_realloc(c, *v, (size_t)*cap * elem, (size_t)n * elem);
  if (!p) return false;
  *v = p;
  *cap = n;
  return true;
}

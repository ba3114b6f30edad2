/*
** context.c -- the root that everything hangs off.
*/
#include "base/context.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Rows of large matrices and their results are met in any order: with pages of 4 KiB every one is a walk through the page
** table.  No effect where the system does not know such pages. */
static void ask_for_large_pages(void *p, size_t size) {
#ifdef MADV_HUGEPAGE
  const uintptr_t page = (uintptr_t)2 << 20, from = ((uintptr_t)p + page - 1) & ~(page - 1), to = ((uintptr_t)p + size) & ~(page - 1);
  if (from < to) madvise((void *)from, to - from, MADV_HUGEPAGE);
#else
  (void)p, (void)size;
#endif
}

static void *from_malloc(void *ud, void *p, size_t osize, size_t nsize) {
  (void)ud;
  (void)osize;
  if (nsize) {
    p = realloc(p, nsize);
    if (p) ask_for_large_pages(p, nsize);
    return p;
  }
  free(p);
  return NULL;
}

bdl_context *bdl_context_new(bdl_alloc_fn alloc, void *ud) {
  bdl_context *c = NULL;
  if (!alloc) alloc = from_malloc;
  c = alloc(ud, NULL, 0, sizeof *c);
  if (!c) return NULL;
  memset(c, 0, sizeof *c);
  c->alloc = alloc;
  c->alloc_ud = ud;
  bdl_map_init(&c->interned, c);
  return c;
}

/* The last slot stands on the ones before it, so it goes first. */
void bdl_context_free(bdl_context *c) {
  uint64_t key = 0, text = 0;
  int64_t i = 0;
  if (!c) return;
  for (int s = BDL_SLOT_COUNT - 1; s >= 0; s--)
    if (c->slot[s].p && c->slot[s].fini) c->slot[s].fini(c, c->slot[s].p);
  while (bdl_map_next(&c->interned, &i, &key, &text)) {
    char *s = (char *)(uintptr_t)text;
    bdl_free(c, s, strlen(s) + 1);
  }
  bdl_map_fini(&c->interned);
  BDL_ASSERT(c->mem_used == 0, "%zu bytes of the context were not freed", c->mem_used);
  c->alloc(c->alloc_ud, c, sizeof *c, 0);
}

const char *bdl_intern(bdl_context *c, const char *s) {
  const size_t n = strlen(s);
  uint64_t text = 0;
  for (uint64_t seed = 0;; seed++) { /* a second string of the same hash takes the next seed */
    const uint64_t key = bdl_hash(s, n, seed);
    if (!bdl_map_get(&c->interned, key, &text)) {
      char *t = bdl_strdup(c, s);
      if (t && bdl_map_put(&c->interned, key, (uint64_t)(uintptr_t)t) != BDL_OK) {
        bdl_free(c, t, n + 1);
        t = NULL;
      }
      return t;
    }
    if (strcmp((const char *)(uintptr_t)text, s) == 0) return (const char *)(uintptr_t)text;
  }
}

/*
** arena.c -- bump allocation, freed whole.  Blocks double from 1 KB to 64 KB; a large request gets a block of its own.
*/
#include <string.h>

#include "base/base.h"

typedef struct bdl_arena_block {
  struct bdl_arena_block *next;
  size_t size, used; /* of the bytes behind this header */
  size_t pad;        /* the header is a multiple of 16 bytes */
} block;

#define FIRST 1024
#define LARGEST 65536

void bdl_arena_init(bdl_arena *a, bdl_context *c) {
  a->ctx = c;
  a->head = NULL;
}

void bdl_arena_fini(bdl_arena *a) {
  while (a->head) {
    block *b = a->head;
    a->head = b->next;
    bdl_free(a->ctx, b, sizeof *b + b->size);
  }
}

void *bdl_arena_alloc(bdl_arena *a, size_t size) {
  block *b = a->head;
  void *p = NULL;
  if (size > PTRDIFF_MAX / 2) {
    bdl_fail(a->ctx, BDL_ENOMEM, "out of memory: %zu bytes", size);
    return NULL;
  }
  size = (size + 15) & ~(size_t)15;
  if (!b || size > b->size - b->used) {
    const size_t next = b ? BDL_MIN(b->size * 2, LARGEST) : FIRST;
    const bool own = b && size > next / 4; /* keep filling the current block afterwards */
    const size_t n = own ? size : BDL_MAX(next, size);
    b = bdl_alloc(a->ctx, sizeof *b + n);
    if (!b) return NULL;
    *b = (block){.size = n};
    if (own) {
      b->next = a->head->next;
      a->head->next = b;
    } else {
      b->next = a->head;
      a->head = b;
    }
  }
  p = (char *)(b + 1) + b->used;
  b->used += size;
  return memset(p, 0, size);
}

char *bdl_arena_strdup(bdl_arena *a, const char *s) {
  const size_t n = strlen(s) + 1;
  char *t = bdl_arena_alloc(a, n);
  return t ? memcpy(t, s, n) : NULL;
}

size_t bdl_arena_bytes(const bdl_arena *a) {
  size_t n = 0;
  for (const block *b = a->head; b; b = b->next) n += sizeof *b + b->size;
  return n;
}

/*
** map.c -- 64-bit keys to 64-bit values: open addressing, linear probing, at most half full.
*/
#include <string.h>

#include "base/base.h"

struct bdl_map_entry {
  uint64_t key, value;
  uint64_t used;
};

void bdl_map_init(bdl_map *m, bdl_context *c) { *m = (bdl_map){.ctx = c}; }

void bdl_map_fini(bdl_map *m) {
  bdl_free(m->ctx, m->e, (size_t)m->cap * sizeof *m->e);
  *m = (bdl_map){.ctx = m->ctx};
}

/* The entry of a key, or the free one where it would go. */
static struct bdl_map_entry *find(struct bdl_map_entry *e, int64_t cap, uint64_t key) {
  uint64_t i = (key * 0x9E3779B97F4A7C15u) >> 20;
  for (;; i++) {
    struct bdl_map_entry *x = &e[i & (uint64_t)(cap - 1)];
    if (!x->used || x->key == key) return x;
  }
}

bool bdl_map_get(const bdl_map *m, uint64_t key, uint64_t *value) {
  const struct bdl_map_entry *x = m->cap ? find(m->e, m->cap, key) : NULL;
  if (!x || !x->used) return false;
  *value = x->value;
  return true;
}

bdl_status bdl_map_put(bdl_map *m, uint64_t key, uint64_t value) {
  struct bdl_map_entry *x = NULL;
  if (2 * (m->n + 1) > m->cap) {
    const int64_t cap = m->cap ? 2 * m->cap : 16;
    struct bdl_map_entry *e = bdl_calloc(m->ctx, (size_t)cap * sizeof *e);
    if (!e) return BDL_ENOMEM;
    for (int64_t i = 0; i < m->cap; i++)
      if (m->e[i].used) *find(e, cap, m->e[i].key) = m->e[i];
    bdl_free(m->ctx, m->e, (size_t)m->cap * sizeof *m->e);
    m->e = e;
    m->cap = cap;
  }
  x = find(m->e, m->cap, key);
  m->n += !x->used;
  *x = (struct bdl_map_entry){key, value, 1};
  return BDL_OK;
}

bool bdl_map_next(const bdl_map *m, int64_t *i, uint64_t *key, uint64_t *value) {
  while (*i < m->cap) {
    const struct bdl_map_entry *x = &m->e[(*i)++];
    if (!x->used) continue;
    *key = x->key;
    *value = x->value;
    return true;
  }
  return false;
}

/* Multiply-and-rotate over words, the finaliser of MurmurHash3. */
uint64_t bdl_hash(const void *p, size_t n, uint64_t seed) {
  const unsigned char *s = p;
  uint64_t h = seed ^ (n * 0x9E3779B97F4A7C15u);
  while (n) {
    const size_t step = BDL_MIN(n, sizeof(uint64_t));
    uint64_t w = 0;
    memcpy(&w, s, step);
    h = (h ^ w) * 0xFF51AFD7ED558CCDu;
    h = (h << 31) | (h >> 33);
    s += step;
    n -= step;
  }
  h ^= h >> 33;
  h *= 0xC4CEB9FE1A85EC53u;
  return h ^ (h >> 33);
}

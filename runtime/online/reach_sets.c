/*
** reach_sets.c -- sets of positions as bits; a set is stored once.
*/
#include "online/reach.h"

#include <string.h>

#include "transform/linear.h"

void bdl_reach_clear(bdl_reach *r) { memset(r->sum, 0, (size_t)r->words * sizeof *r->sum); }

void bdl_reach_include(bdl_reach *r, int32_t set) {
  if (set == 0) return;
  const uint64_t *s = bdl_reach_set(r, set);
  for (int64_t i = 0; i < r->words; i++) r->sum[i] |= s[i];
}

int32_t bdl_reach_number(bdl_reach *r) {
  const size_t bytes = (size_t)r->words * sizeof *r->sum;
  uint64_t hash = bdl_hash(r->sum, bytes, 0), found;
  for (; bdl_map_get(&r->at, hash, &found); hash++)
    if (memcmp(bdl_reach_set(r, (int32_t)found), r->sum, bytes) == 0) return (int32_t)found;
  if (!BDL_RESERVE(r->ctx, r->bits, (r->n_sets + 1) * r->words) ||
      bdl_map_put(&r->at, hash, (uint64_t)r->n_sets) != BDL_OK)
    return r->status = BDL_ENOMEM, 0;
  memcpy(r->bits.v + r->n_sets * r->words, r->sum, bytes);
  return (int32_t)r->n_sets++;
}

int32_t bdl_reach_join(bdl_reach *r, int32_t a, int32_t b) {
  if (a == b || b == 0) return a;
  if (a == 0) return b;
  bdl_reach_clear(r);
  bdl_reach_include(r, a);
  bdl_reach_include(r, b);
  return bdl_reach_number(r);
}

bdl_status bdl_reach_init(bdl_reach *r, bdl_context *c, int64_t positions) {
  *r = (bdl_reach){.ctx = c, .n = positions, .words = positions / 64 + 1};
  bdl_arena_init(&r->a, c);
  bdl_map_init(&r->at, c);
  if (!BDL_ARRAY(&r->a, r->sum, r->words)) return BDL_ENOMEM;
  bdl_reach_number(r);
  for (int64_t p = 0; p < positions; p++) {
    bdl_reach_clear(r);
    r->sum[p / 64] = UINT64_C(1) << p % 64;
    bdl_reach_number(r);
  }
  return r->status;
}

void bdl_reach_fini(bdl_reach *r) {
  BDL_VEC_FREE(r->ctx, r->bits);
  bdl_map_fini(&r->at);
  bdl_arena_fini(&r->a);
}

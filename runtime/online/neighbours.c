/*
** neighbours.c -- the influence that SnAp keeps, and the compressed columns of a hidden group's Jacobian.
** Source: Menick et al. 2021, Practical real time recurrent learning with a sparse approximation; Curtis, Powell & Reid
** 1974.
*/
#include <inttypes.h>
#include <string.h>

#include "online/reach.h"
#include "transform/linear.h"

typedef struct graph { /* rows of bits: what each position reaches in a step */
  bdl_neighbours *z;
  int64_t n, words;
  uint64_t *next;
} graph;

static bool has(const uint64_t *row, int64_t q) { return row[q / 64] >> q % 64 & 1; }
static void put(uint64_t *row, int64_t q) { row[q / 64] |= UINT64_C(1) << q % 64; }

/* The sets of the new hidden values, turned round. */
static bdl_status find(graph *g, const bdl_step *s, const int *members, int n_members, const bdl_tensor *const *known) {
  const bdl_prog *p = s->p;
  bdl_reach r;
  bdl_reached *in = NULL, *out = NULL;
  bdl_status status = bdl_reach_init(&r, p->ctx, g->n);
  const bool ok = status == BDL_OK && BDL_ARRAY(&r.a, in, p->inputs.n) && BDL_ARRAY(&r.a, out, p->n_outputs);
  if (status == BDL_OK && !ok) status = BDL_ENOMEM;
  for (int64_t i = 0; status == BDL_OK && i < p->inputs.n; i++) {
    in[i].value = known[i];
    for (int m = 0; status == BDL_OK && m < n_members; m++) {
      if (s->in[members[m]] != p->inputs.v[i]) continue;
      if (!BDL_ARRAY(&r.a, in[i].set, g->n)) status = BDL_ENOMEM;
      for (int64_t q = 0; status == BDL_OK && q < g->n; q++) in[i].set[q] = (int32_t)q + 1;
    }
  }
  if (status == BDL_OK) status = bdl_reach_run(&r, p, in, out);
  for (int k = 0; status == BDL_OK && k < p->n_outputs; k++)
    for (int m = 0; m < n_members; m++) {
      if (s->out[members[m]] != p->outputs[k] || !out[k].set) continue;
      for (int64_t i = 0; i < g->n; i++)
        for (int64_t q = 0; q < g->n; q++)
          if (has(bdl_reach_set(&r, out[k].set[i]), q)) put(g->next + q * g->words, i);
    }
  bdl_reach_fini(&r);
  return status;
}

/* What p reaches in at most `steps` steps. */
static void spread(const graph *g, int64_t p, int steps, uint64_t *row, uint64_t *old) {
  put(row, p);
  for (bool grew = true; grew && steps > 0; steps--) {
    memcpy(old, row, (size_t)g->words * sizeof *row);
    for (int64_t q = 0; q < g->n; q++)
      for (int64_t i = 0; has(old, q) && i < g->words; i++) row[i] |= g->next[q * g->words + i];
    grew = memcmp(old, row, (size_t)g->words * sizeof *row) != 0;
  }
}

static bdl_status choose(graph *g, int order) {
  bdl_neighbours *z = g->z;
  uint64_t *rows, *old;
  if (!BDL_ARRAY(&z->arena, rows, g->n * g->words) || !BDL_ARRAY(&z->arena, old, g->words)) return BDL_ENOMEM;
  for (int64_t p = 0; p < g->n; p++) {
    int64_t count = 0;
    spread(g, p, order - 1, rows + p * g->words, old);
    for (int64_t i = 0; i < g->words; i++) count += __builtin_popcountll(rows[p * g->words + i]);
    z->width = BDL_MAX(z->width, count);
  }
  if (!BDL_ARRAY(&z->arena, z->at, g->n * z->width)) return BDL_ENOMEM;
  for (int64_t p = 0; p < g->n; p++) {
    int32_t *at = z->at + p * z->width;
    int64_t k = 1;
    at[0] = (int32_t)p;
    for (int64_t q = 0; q < g->n; q++)
      if (q != p && has(rows + p * g->words, q)) at[k++] = (int32_t)q;
    for (; k < z->width; k++) at[k] = -1;
  }
  return BDL_OK;
}

/* The first lane in which nothing reaches what q reaches. */
static bdl_status share_lanes(graph *g) {
  bdl_neighbours *z = g->z;
  uint64_t *taken;
  if (!BDL_ARRAY(&z->arena, taken, g->n * g->words) || !BDL_ARRAY(&z->arena, z->lane, g->n)) return BDL_ENOMEM;
  for (int64_t q = 0; q < g->n; q++) {
    const uint64_t *row = g->next + q * g->words;
    int32_t lane = 0;
    for (bool free = false; !free; lane += !free) {
      free = true;
      for (int64_t i = 0; free && i < g->words; i++) free = (row[i] & taken[lane * g->words + i]) == 0;
    }
    for (int64_t i = 0; i < g->words; i++) taken[lane * g->words + i] |= row[i];
    z->lane[q] = lane;
    z->lanes = BDL_MAX(z->lanes, lane + 1);
  }
  return BDL_OK;
}

static bdl_status mark_direct(graph *g) {
  bdl_neighbours *z = g->z;
  const int64_t K = z->width;
  if (!BDL_ARRAY(&z->arena, z->direct, g->n * K * K)) return BDL_ENOMEM;
  for (int64_t p = 0; p < g->n; p++)
    for (int64_t i = 0; i < K * K; i++) {
      const int32_t to = z->at[p * K + i / K], from = z->at[p * K + i % K];
      z->direct[p * K * K + i] = to >= 0 && from >= 0 && has(g->next + from * g->words, to);
    }
  return BDL_OK;
}

bdl_status bdl_online_neighbours(const bdl_step *s, const int *members, int n_members, const bdl_tensor *const *known,
                                 int order, int64_t most, bdl_neighbours *z) {
  const int64_t n = bdl_aval_numel(bdl_aval_of(s->p, s->in[members[0]]));
  graph g = {.z = z, .n = n, .words = (n + 63) / 64};
  *z = (bdl_neighbours){.n = n};
  bdl_arena_init(&z->arena, s->p->ctx);
  if (n > INT32_MAX - 1) return bdl_fail(s->p->ctx, BDL_ENOTSUP, "a hidden group of %" PRId64 " positions", n);
  if (!BDL_ARRAY(&z->arena, g.next, n * g.words)) return BDL_ENOMEM;
  if (known) TRY(find(&g, s, members, n_members, known));
  for (int64_t i = 0; !known && i < n * n; i++) put(g.next + i / n * g.words, i % n);
  TRY(choose(&g, order));
  TRY(share_lanes(&g));
  const double row = (double)z->width * n_members, size = (double)n * row * row;
  if (most > 0 && size > (double)most) {
    bdl_fail(s->p->ctx, BDL_ENOTSUP,
             "SnAp of order %d keeps the influence on %" PRId64 " positions of each of %" PRId64
             ", with %d state%s: a Jacobian of %.0f elements, more than %" PRId64,
             order, z->width, n, n_members, n_members == 1 ? "" : "s", size, most);
    bdl_hint(s->p->ctx, "a smaller sparse_n, recurrence_scope = 'coupled', or a larger snap_max_jacobian_elements");
    return BDL_ENOTSUP;
  }
  return mark_direct(&g);
}

void bdl_online_neighbours_fini(bdl_neighbours *z) { bdl_arena_fini(&z->arena); }

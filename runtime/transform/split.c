/*
** split.c -- what reverse mode keeps: the cheapest values from which the tangents of a loop or branch can be made.
**
** Element-wise equations and moves may be made again from their operands, all others not.  The choice is a minimum cut, in
** bytes, between what cannot be made again and what the tangents read; of equal cuts the one next to the tangents.
** Source of max-flow by shortest paths: Edmonds & Karp 1972.
*/
#include <string.h>

#include "transform/linear.h"

/* Each variable is an edge from its node 2 i to 2 i + 1 with its bytes as capacity; operands lead to results without limit. */
typedef struct edge {
  int32_t to, next; /* the reverse of edge k is k ^ 1 */
  int64_t room;
} edge;

typedef struct network {
  bdl_context *ctx;
  BDL_VEC(edge) edges;
  int32_t *first; /* of each node; -1: none */
  int32_t source, sink, n_nodes;
} network;

static bool is_cheap(const bdl_eqn *e) {
  switch (e->prim) {
    case BDL_P_reshape:
    case BDL_P_broadcast:
    case BDL_P_permute:
    case BDL_P_slice:
    case BDL_P_reverse:
    case BDL_P_iota: return true;
    default: return (bdl_prims[e->prim].flags & BDL_F_ELEMENTWISE) != 0;
  }
}

static bdl_status connect(network *g, int32_t from, int32_t to, int64_t room) {
  const edge there = {to, g->first[from], room}, back = {from, g->first[to], 0};
  if (!BDL_PUSH(g->ctx, g->edges, there)) return BDL_ENOMEM;
  g->first[from] = (int32_t)g->edges.n - 1;
  if (!BDL_PUSH(g->ctx, g->edges, back)) return BDL_ENOMEM;
  g->first[to] = (int32_t)g->edges.n - 1;
  return BDL_OK;
}

/* The shortest way with room left from `from`; via[n]: the edge to node n, -1: not reached.  backward: against the edges. */
static void reach(const network *g, int32_t from, bool backward, int32_t *via, int32_t *queue) {
  const edge *edges = g->edges.v;
  int32_t head = 0, tail = 0;
  for (int32_t n = 0; n < g->n_nodes; n++) via[n] = -1;
  queue[tail++] = from;
  via[from] = -2;
  while (edges && head < tail) {
    const int32_t n = queue[head++];
    for (int32_t k = g->first[n]; k >= 0; k = edges[k].next) {
      const int32_t to = edges[k].to;
      if (via[to] != -1 || edges[backward ? k ^ 1 : k].room == 0) continue;
      via[to] = k;
      queue[tail++] = to;
    }
  }
}

static void saturate(network *g, int32_t *via, int32_t *queue) {
  for (;;) {
    int64_t flow = INT64_MAX;
    reach(g, g->source, false, via, queue);
    if (via[g->sink] == -1) return;
    for (int32_t n = g->sink; n != g->source; n = g->edges.v[via[n] ^ 1].to) flow = BDL_MIN(flow, g->edges.v[via[n]].room);
    for (int32_t n = g->sink; n != g->source; n = g->edges.v[via[n] ^ 1].to) {
      g->edges.v[via[n]].room -= flow;
      g->edges.v[via[n] ^ 1].room += flow;
    }
  }
}

#define NO_LIMIT (INT64_MAX / 4)

/* needed[x]: the tangents read x; then: x is on the way to what they read. */
static bdl_status build(network *g, const bdl_prog *b, const int64_t *cost, bool *needed) {
  for (bdl_atom x = 0; x < b->vars.n; x++)
    if (needed[x]) TRY(connect(g, 2 * x + 1, g->sink, NO_LIMIT));
  for (bdl_atom x = (bdl_atom)b->vars.n - 1; x >= 0; x--) {
    const bdl_var *v = &b->vars.v[x];
    const bdl_eqn *e = bdl_ir_maker(b, x);
    if (!needed[x] || v->kind == BDL_V_LITERAL || v->kind == BDL_V_CONST) continue;
    TRY(connect(g, 2 * x, 2 * x + 1, cost[x]));
    if (!e || !is_cheap(e) || cost[x] == 0) {
      TRY(connect(g, g->source, 2 * x, NO_LIMIT));
      continue;
    }
    for (int k = 0; k < e->n_in; k++) {
      needed[e->in[k]] = true;
      TRY(connect(g, 2 * e->in[k] + 1, 2 * x, NO_LIMIT));
    }
  }
  return BDL_OK;
}

static bdl_status cut(network *g, const bdl_prog *b, const int64_t *cost, bool *needed, bdl_arena *a, bdl_split *s) {
  int32_t *via, *queue;
  g->source = 2 * (int32_t)b->vars.n;
  g->sink = g->source + 1;
  g->n_nodes = g->sink + 1;
  if (!BDL_ARRAY(a, g->first, g->n_nodes) || !BDL_ARRAY(a, via, g->n_nodes) || !BDL_ARRAY(a, queue, g->n_nodes)) return BDL_ENOMEM;
  memset(g->first, 0xff, (size_t)g->n_nodes * sizeof *g->first);
  TRY(build(g, b, cost, needed));
  saturate(g, via, queue);
  reach(g, g->sink, true, via, queue); /* on the sink's side: the end of a variable's edge, but not its start */
  for (bdl_atom x = 0; x < b->vars.n; x++) {
    const bdl_var_kind kind = b->vars.v[x].kind;
    if (needed[x] && kind != BDL_V_LITERAL && kind != BDL_V_CONST && via[2 * x + 1] != -1 && via[2 * x] == -1)
      s->kept[s->n_kept++] = x;
  }
  return BDL_OK;
}

bdl_status bdl_transform_split(bdl_linearised *l, const int64_t *cost, bdl_split *s) {
  const bdl_prog *b = l->b;
  network g = {.ctx = b->ctx};
  bool *needed;
  *s = (bdl_split){.n_kept = 0};
  if (!BDL_ARRAY(&l->scratch, s->linear, b->vars.n) || !BDL_ARRAY(&l->scratch, s->kept, b->vars.n) ||
      !BDL_ARRAY(&l->scratch, needed, b->vars.n))
    return BDL_ENOMEM;
  for (int64_t i = l->n_in; i < b->inputs.n; i++) s->linear[b->inputs.v[i]] = true;
  for (int64_t i = 0; i < b->eqns.n; i++) {
    const bdl_eqn *e = &b->eqns.v[i];
    bool any = false;
    for (int k = 0; k < e->n_in; k++) any |= s->linear[e->in[k]];
    for (int k = 0; k < e->n_out; k++) s->linear[e->out[k]] = any;
    for (int k = 0; any && k < e->n_in; k++) needed[e->in[k]] |= !s->linear[e->in[k]];
  }
  for (int i = 0; i < l->n_out; i++)
    if (!bdl_is_zero(l->tangent[i])) needed[l->tangent[i]] |= !s->linear[l->tangent[i]];
  const bdl_status status = cut(&g, b, cost, needed, &l->scratch, s);
  BDL_VEC_FREE(b->ctx, g.edges);
  return status;
}

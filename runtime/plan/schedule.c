/*
** schedule.c -- fusion.
**
** Walking the equations in order, an element-wise equation joins the latest group of its domain that comes after
** everything it reads; other equations become nodes of their own.  Numbers that arrays are computed with and that hang
** on nothing large come first: else each would part what reads it from the equations before.  Then, backwards,
** equations sink to the group of their first reader, so that what only that group needs never goes to memory; copies of
** inputs to a group that reads them.
*/
#include <string.h>

#include "exec/lower.h"
#include "plan/schedule.h"

enum { MAX_GROUP = 160 }; /* equations a group: bounds registers and operand tables */

bool bdl_schedule_is_root(const bdl_prog *p, const bdl_eqn *e) {
  bdl_lower_kind kind = bdl_lowering_of(e->prim)->kind;
  if (kind == BDL_LOWER_COMPACT) return true;
  const bdl_aval *x = kind == BDL_LOWER_REDUCE ? bdl_aval_of(p, e->in[0]) : NULL;
  return x && e->params[0].n == x->ndim && bdl_aval_numel(x) > 0;
}

/* The domain of an equation that can be part of a group; NULL: it cannot. */
static const bdl_aval *domain_of(const bdl_prog *p, const bdl_eqn *e) {
  if (bdl_lowering_of(e->prim)->kind == BDL_LOWER_TILE) return bdl_aval_of(p, e->out[0]);
  return bdl_schedule_is_root(p, e) ? bdl_aval_of(p, e->in[0]) : NULL;
}

static bool same_domain(const bdl_aval *a, const bdl_aval *b) {
  int i = 0, j = 0;
  for (;;) { /* equal but for extents 1 */
    while (i < a->ndim && a->shape[i] == 1) i++;
    while (j < b->ndim && b->shape[j] == 1) j++;
    if (i == a->ndim || j == b->ndim) return i == a->ndim && j == b->ndim;
    if (a->shape[i++] != b->shape[j++]) return false;
  }
}

bool bdl_schedule_aligned(const bdl_schedule *s, bdl_atom x, const bdl_aval *domain) {
  const bdl_view *v = &s->view.v[x];
  return v->whole && same_domain(bdl_aval_of(s->prog, x), domain);
}

static bdl_status new_node(bdl_schedule *s, const bdl_aval *domain) {
  bdl_node n = {.group = domain != NULL};
  if (domain) n.domain = *domain;
  return BDL_PUSH(s->ctx, s->nodes, n) ? BDL_OK : BDL_ENOMEM;
}

/* Does e read operand x one element at a time, where it stands? */
static bool in_step(const bdl_schedule *s, const bdl_eqn *e, bdl_atom x, const bdl_aval *domain) {
  return e->prim != BDL_P_random_bits && bdl_schedule_aligned(s, x, domain);
}

/* The number that chooses the rows of which operand x is a view; -1: none. */
static bdl_atom chosen_by(const bdl_schedule *s, bdl_atom x) {
  const bdl_atom row = s->view.v[x].row;
  return row < 0 ? -1 : s->view.v[row].base;
}

/* Must the data of operand x be complete before node n starts? */
static int32_t earliest(const bdl_schedule *s, const bdl_eqn *e, const bdl_aval *domain) {
  int32_t at = 0;
  for (int i = 0; i < e->n_in; i++) {
    bdl_atom b = s->view.v[e->in[i]].base;
    const bdl_atom row = chosen_by(s, e->in[i]);
    int32_t n = s->def_node[b];
    if (row >= 0) at = BDL_MAX(at, s->def_node[row] + 1);
    if (n < 0) continue;
    bool in_group = domain && s->nodes.v[n].group && in_step(s, e, e->in[i], domain) &&
                    same_domain(&s->nodes.v[n].domain, domain) && !bdl_schedule_is_root(s->prog, &s->prog->eqns.v[s->prog->vars.v[b].index]);
    at = BDL_MAX(at, in_group ? n : n + 1);
  }
  return at;
}

static bdl_status join(bdl_schedule *s, int32_t i, bool fuse) {
  const bdl_prog *p = s->prog;
  const bdl_eqn *e = &p->eqns.v[i];
  const bdl_aval *domain = domain_of(p, e);
  int32_t node = (int32_t)s->nodes.n;
  if (domain && fuse) {
    int32_t at = earliest(s, e, domain);
    for (int32_t n = (int32_t)s->nodes.n - 1; n >= at; n--) {
      bdl_node *g = &s->nodes.v[n];
      if (!g->group || g->eqns.n >= MAX_GROUP || !same_domain(&g->domain, domain)) continue;
      node = n;
      break;
    }
  }
  if (node == s->nodes.n) TRY(new_node(s, domain));
  if (!BDL_PUSH(s->ctx, s->nodes.v[node].eqns, i)) return BDL_ENOMEM;
  s->node_of[i] = node;
  for (int k = 0; k < e->n_out; k++) s->def_node[e->out[k]] = node;
  return BDL_OK;
}

/* first_use[v]: the earliest node that reads v; -1: none yet.  sinkable[v]: every reader there is aligned. */
static void note_use(bdl_schedule *s, int32_t *first_use, bool *sinkable, const bdl_eqn *e, int32_t node) {
  for (int i = 0; i < e->n_in; i++) {
    const bdl_atom b = s->view.v[e->in[i]].base, row = chosen_by(s, e->in[i]);
    if (row >= 0 && (first_use[row] < 0 || node <= first_use[row])) first_use[row] = node, sinkable[row] = false;
    bool aligned = s->nodes.v[node].group && in_step(s, e, e->in[i], &s->nodes.v[node].domain);
    if (first_use[b] < 0 || node < first_use[b]) {
      first_use[b] = node;
      sinkable[b] = aligned;
    } else if (node == first_use[b]) sinkable[b] &= aligned;
  }
}

static void sink(bdl_schedule *s, int32_t *first_use, bool *sinkable) {
  const bdl_prog *p = s->prog;
  for (int64_t v = 0; v < p->vars.n; v++) first_use[v] = -1;
  for (int i = 0; i < p->n_outputs; i++) {
    bdl_atom b = s->view.v[p->outputs[i]].base;
    first_use[b] = s->def_node[b]; /* results stay */
    sinkable[b] = false;
  }
  for (int64_t i = p->eqns.n - 1; i >= 0; i--) {
    const bdl_eqn *e = &p->eqns.v[i];
    int32_t node = s->node_of[i];
    if (node < 0) continue;
    if (s->nodes.v[node].group && bdl_lowering_of(e->prim)->kind == BDL_LOWER_TILE) {
      int32_t to = first_use[e->out[0]];
      if (to > node && !bdl_schedule_stays(s, e) && sinkable[e->out[0]] && s->nodes.v[to].group && same_domain(&s->nodes.v[to].domain, &s->nodes.v[node].domain))
        s->node_of[i] = s->def_node[e->out[0]] = node = to;
    }
    note_use(s, first_use, sinkable, e, node);
  }
}

/* The last group of its domain that reads what `copy` copies, an input of the program; -1: none, or the copy itself is read. */
static int32_t last_reader(const bdl_schedule *s, int64_t copy) {
  const bdl_prog *p = s->prog;
  const bdl_eqn *e = &p->eqns.v[copy];
  const bdl_atom from = s->view.v[e->in[0]].base;
  int32_t node = -1;
  for (int64_t i = copy + 1; i < p->eqns.n; i++)
    for (int k = 0; k < p->eqns.v[i].n_in; k++) {
      const bdl_atom x = p->eqns.v[i].in[k];
      if (s->view.v[x].base == e->out[0]) return -1;
      const int32_t n = s->node_of[i];
      if (n <= node || s->view.v[x].base != from || !s->nodes.v[n].group) continue;
      if (same_domain(&s->nodes.v[n].domain, bdl_aval_of(p, e->out[0])) && in_step(s, &p->eqns.v[i], x, &s->nodes.v[n].domain)) node = n;
    }
  return node;
}

/* Copies of inputs go along with a group that reads these anyway. */
static void sink_copies(bdl_schedule *s) {
  const bdl_prog *p = s->prog;
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    if (e->prim != BDL_P_copy || s->node_of[i] < 0 || p->vars.v[s->view.v[e->in[0]].base].kind != BDL_V_INPUT) continue;
    if (!bdl_schedule_aligned(s, e->in[0], bdl_aval_of(p, e->out[0]))) continue;
    s->node_of[i] = s->def_node[e->out[0]] = BDL_MAX(s->node_of[i], last_reader(s, i));
  }
}

/* Nodes without equations go; equations of a node stand in program order. */
static bdl_status renumber(bdl_schedule *s) {
  const bdl_prog *p = s->prog;
  for (int64_t n = 0; n < s->nodes.n; n++) s->nodes.v[n].eqns.n = 0;
  for (int32_t i = 0; i < p->eqns.n; i++)
    if (s->node_of[i] >= 0 && !BDL_PUSH(s->ctx, s->nodes.v[s->node_of[i]].eqns, i)) return BDL_ENOMEM;
  int64_t kept = 0;
  for (int64_t n = 0; n < s->nodes.n; n++) {
    bdl_node node = s->nodes.v[n];
    if (node.eqns.n == 0) {
      BDL_VEC_FREE(s->ctx, node.eqns);
      continue;
    }
    for (int64_t k = 0; k < node.eqns.n; k++) {
      const bdl_eqn *e = &p->eqns.v[node.eqns.v[k]];
      s->node_of[node.eqns.v[k]] = (int32_t)kept;
      for (int o = 0; o < e->n_out; o++) s->def_node[e->out[o]] = (int32_t)kept;
    }
    s->nodes.v[kept++] = node;
  }
  s->nodes.n = kept;
  for (int64_t v = 0; v < p->vars.n; v++) s->last_use[v] = -1;
  for (int64_t i = 0; i < p->eqns.n; i++)
    for (int k = 0; s->node_of[i] >= 0 && k < p->eqns.v[i].n_in; k++) {
      const bdl_atom x = p->eqns.v[i].in[k], b = s->view.v[x].base, row = chosen_by(s, x);
      s->last_use[b] = BDL_MAX(s->last_use[b], s->node_of[i]);
      if (row >= 0) s->last_use[row] = BDL_MAX(s->last_use[row], s->node_of[i]);
    }
  for (int i = 0; i < p->n_outputs; i++) s->last_use[s->view.v[p->outputs[i]].base] = (int32_t)s->nodes.n;
  return BDL_OK;
}

/* Element-wise on one number. */
static bool is_number(const bdl_prog *p, const bdl_eqn *e) {
  return bdl_lowering_of(e->prim)->kind == BDL_LOWER_TILE && bdl_aval_numel(bdl_aval_of(p, e->out[0])) == 1;
}

/* early[i]: equation i makes a number out of such, inputs and constants; an array, or such a number, is computed with it. */
static void find_early(const bdl_schedule *s, bool *early, bool *wanted) {
  const bdl_prog *p = s->prog;
  for (int64_t i = p->eqns.n - 1; i >= 0; i--) {
    const bdl_eqn *e = &p->eqns.v[i];
    const bool array = bdl_lowering_of(e->prim)->kind == BDL_LOWER_TILE && !is_number(p, e);
    for (int k = 0; s->node_of[i] >= 0 && k < e->n_in; k++) {
      wanted[s->view.v[e->in[k]].base] |= array || (is_number(p, e) && wanted[e->out[0]]);
      if (chosen_by(s, e->in[k]) >= 0) wanted[chosen_by(s, e->in[k])] = true;
    }
  }
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    early[i] = s->node_of[i] >= 0 && is_number(p, e) && wanted[e->out[0]];
    for (int k = 0; early[i] && k < e->n_in; k++) {
      const bdl_var *x = &p->vars.v[s->view.v[e->in[k]].base];
      early[i] = x->kind != BDL_V_EQN || early[x->index];
    }
  }
}

static bdl_status join_all(bdl_schedule *s, bool fuse) {
  const bdl_prog *p = s->prog;
  const size_t n = (size_t)(p->eqns.n + p->vars.n) + 1;
  bool *early = bdl_calloc(s->ctx, n);
  bdl_status st = early ? BDL_OK : BDL_ENOMEM;
  if (early && fuse) find_early(s, early, early + p->eqns.n);
  for (int first = 1; first >= 0; first--)
    for (int32_t i = 0; i < p->eqns.n && st == BDL_OK; i++)
      if (s->node_of[i] >= 0 && early[i] == first) st = join(s, i, fuse);
  bdl_free(s->ctx, early, n);
  return st;
}

static bdl_status build(bdl_schedule *s, bool fuse) {
  const bdl_prog *p = s->prog;
  TRY(bdl_schedule_views(s, fuse));
  for (int64_t v = 0; v < p->vars.n; v++) s->def_node[v] = -1;
  TRY(join_all(s, fuse));
  if (fuse) {
    size_t n = (size_t)p->vars.n + 1;
    bool *sinkable = bdl_calloc(s->ctx, n);
    if (!sinkable) return BDL_ENOMEM;
    sink(s, s->last_use, sinkable);
    sink_copies(s);
    bdl_free(s->ctx, sinkable, n);
  }
  return renumber(s);
}

static size_t eqn_bytes(const bdl_prog *p) { return (size_t)(p->eqns.n + 1) * sizeof(int32_t); }
static size_t var_bytes(const bdl_prog *p) { return (size_t)(p->vars.n + 1) * sizeof(int32_t); }

bdl_status bdl_schedule_new(bdl_schedule *s, const bdl_prog *p, bool fuse) {
  bdl_context *c = p->ctx;
  *s = (bdl_schedule){.ctx = c, .prog = p};
  s->node_of = bdl_calloc(c, eqn_bytes(p));
  s->def_node = bdl_calloc(c, var_bytes(p));
  s->last_use = bdl_calloc(c, var_bytes(p));
  bdl_status st = s->node_of && s->def_node && s->last_use ? build(s, fuse) : BDL_ENOMEM;
  if (st != BDL_OK) bdl_schedule_free(s);
  return st;
}

void bdl_schedule_free(bdl_schedule *s) {
  bdl_context *c = s->ctx;
  bdl_free(c, s->node_of, eqn_bytes(s->prog));
  bdl_free(c, s->def_node, var_bytes(s->prog));
  bdl_free(c, s->last_use, var_bytes(s->prog));
  for (int64_t n = 0; n < s->nodes.n; n++) BDL_VEC_FREE(c, s->nodes.v[n].eqns);
  BDL_VEC_FREE(c, s->nodes);
  BDL_VEC_FREE(c, s->view);
}

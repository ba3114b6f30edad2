/*
** group.c -- tile code of one fused group: operands, registers, loads, roots.
*/
#include <string.h>

#include "plan/build.h"
#include "prim/prim.h"

typedef struct grouper {
  bdl_blockplan *b;
  bdl_context *c;
  const bdl_prog *p;
  const bdl_node *node;
  int32_t id; /* of the node */
  BDL_VEC(bdl_operand) operands;
  BDL_VEC(bdl_tile_inst) prologue, insts, stores;
  BDL_VEC(int32_t) free_regs[2]; /* by whether an element has 8 bytes: a register is reused for the same size only */
  int32_t n_regs, widest, n_roots;
  bool serial;
  int32_t *handle;   /* by variable: its operand here; -1: none yet */
  int32_t *splat;    /* by variable: operand of the splatted scalar; -1 */
  int32_t *last;     /* by variable: last equation (index in the node) that reads it here */
  int32_t *stray;    /* by variable: 1: it is read here in another order than ours */
} grouper;

static int size_class(int32_t size) { return size == 8 ? 0 : 1; }

static bdl_status operand_new(grouper *g, bdl_operand o, int32_t *handle) {
  *handle = (int32_t)g->operands.n;
  g->widest = BDL_MAX(g->widest, o.kind == BDL_O_REG ? o.size : 1);
  return BDL_PUSH(g->c, g->operands, o) ? BDL_OK : BDL_ENOMEM;
}

/* Registers hold one element size for life, so that `z is x exactly` means the same elements. */
static bdl_status reg_new(grouper *g, int32_t size, int32_t *handle) {
  for (int64_t k = g->free_regs[size_class(size)].n - 1; k >= 0; k--) {
    int32_t h = g->free_regs[size_class(size)].v[k];
    if (g->operands.v[h].size != size) continue;
    g->free_regs[size_class(size)].v[k] = g->free_regs[size_class(size)].v[--g->free_regs[size_class(size)].n];
    *handle = h;
    return BDL_OK;
  }
  return operand_new(g, (bdl_operand){.kind = BDL_O_REG, .reg = g->n_regs++, .size = size}, handle);
}

static int32_t size_of(const grouper *g, bdl_atom x) { return (int32_t)bdl_dtype_size(bdl_aval_of(g->p, x)->dtype); }

/* Collapse: drop extents 1, merge axes that walk as one. */
static void collapse(bdl_load *l, const bdl_aval *d, const int64_t *stride) {
  for (int k = 0; k < d->ndim; k++) {
    if (d->shape[k] == 1) continue;
    int n = l->ndim;
    if (n > 0 && l->stride[n - 1] == stride[k] * d->shape[k]) {
      l->shape[n - 1] *= d->shape[k];
      l->stride[n - 1] = stride[k];
    } else {
      l->shape[n] = d->shape[k];
      l->stride[n] = stride[k];
      l->ndim++;
    }
  }
}

/* Is x in register h as this walk finds it?  Domains that differ by extents 1 share a group, but spread x in their own ways. */
static bool holds(const grouper *g, int32_t h, const bdl_load *walk) {
  for (int64_t i = g->insts.n - 1; i >= 0; i--) {
    const bdl_tile_inst *t = &g->insts.v[i];
    if (t->z != h || bdl_tile_is_root(t)) continue;
    return t->kind == BDL_T_LOAD && t->load->ndim == walk->ndim &&
           memcmp(t->load->shape, walk->shape, (size_t)walk->ndim * sizeof walk->shape[0]) == 0 &&
           memcmp(t->load->stride, walk->stride, (size_t)walk->ndim * sizeof walk->stride[0]) == 0;
  }
  return false;
}

static bdl_status load(grouper *g, bdl_atom x, const bdl_load *walk, int32_t *handle) {
  bdl_load *l = bdl_arena_alloc(&g->b->pl->plan->arena, sizeof *l);
  if (!l) return BDL_ENOMEM;
  *l = *walk;
  l->size = size_of(g, x);
  TRY(bdl_block_ref(g->b, x, &l->ref));
  TRY(reg_new(g, l->size, handle));
  const uint8_t dt = bdl_aval_of(g->p, x)->dtype;
  bdl_tile_inst t = {.kind = BDL_T_LOAD, .prim = BDL_P_copy, .dtype = dt, .result = dt, .z = *handle, .x = -1, .y = -1, .w = -1, .load = l};
  return BDL_PUSH(g->c, g->insts, t) ? BDL_OK : BDL_ENOMEM;
}

/* The operand of variable x, read by an equation whose result has type `domain`: a register or memory of this group's own,
** a scalar, a run of elements in order, or a strided load. */
static bdl_status operand(grouper *g, bdl_atom x, const bdl_aval *domain, int32_t *handle) {
  const bdl_view *v = &g->b->sched.view.v[x];
  bool aligned = bdl_schedule_aligned(&g->b->sched, x, domain);
  bdl_atom key = aligned ? v->base : x;
  int64_t stride[BDL_MAX_NDIM];
  bool scalar = bdl_aval_numel(domain) != 1;
  bdl_load walk = {.ndim = 0};
  bdl_view_over(v, bdl_aval_of(g->p, x), domain, stride);
  collapse(&walk, domain, stride);
  *handle = g->handle[key];
  if (*handle >= 0 && (aligned || g->operands.v[*handle].kind != BDL_O_REG || holds(g, *handle, &walk))) return BDL_OK;
  for (int k = 0; k < domain->ndim; k++) scalar &= stride[k] == 0 || domain->shape[k] == 1;
  bool array = !scalar && v->contiguous && bdl_aval_numel(bdl_aval_of(g->p, x)) == bdl_aval_numel(domain); /* a run of a larger one */
  if (!aligned && !scalar && !array) TRY(load(g, x, &walk, handle));
  else {
    bdl_operand o = {.kind = scalar ? BDL_O_SCALAR : BDL_O_ARRAY, .size = size_of(g, x)};
    TRY(bdl_block_ref(g->b, x, &o.ref));
    TRY(operand_new(g, o, handle));
  }
  g->handle[key] = *handle;
  return BDL_OK;
}

/* Has the kernel an integer parameter as its second operand? */
static bool has_number(const bdl_eqn *e) { return e->n_in == 1 && e->n_params == 1 && e->params[0].kind == BDL_PK_INT; }

/* A constant of the plan as a scalar operand: the parameters of iota, integer_pow, polygamma. */
static bdl_status immediate(grouper *g, const int64_t *v, int n, int32_t *handle) {
  bdl_planner *pl = g->b->pl;
  int64_t *data = bdl_arena_alloc(&pl->plan->arena, (size_t)n * sizeof *data);
  if (!data) return BDL_ENOMEM;
  memcpy(data, v, (size_t)n * sizeof *data);
  int32_t slot;
  TRY(bdl_slot_new(pl, BDL_S_CONST, BDL_I64, (size_t)n * sizeof *data, &slot));
  pl->plan->slots.v[slot].data = data;
  return operand_new(g, (bdl_operand){.kind = BDL_O_SCALAR, .ref = {slot, 0}, .size = 8}, handle);
}

static bdl_status splat(grouper *g, bdl_atom x, int32_t *h) {
  if (g->splat[x] < 0) {
    int32_t size = g->operands.v[*h].size, z;
    TRY(operand_new(g, (bdl_operand){.kind = BDL_O_REG, .reg = g->n_regs++, .size = size}, &z)); /* kept for the whole group */
    const bdl_dtype dt = bdl_aval_of(g->p, x)->dtype;
    bdl_tile_inst t = {.kind = BDL_T_OP, .prim = BDL_P_broadcast, .op = BDL_TILE_splat, .dtype = dt, .result = dt, .z = z, .x = *h,
                       .y = -1, .w = -1, .fn = g->b->pl->k->tile[BDL_TILE_splat][dt][0]};
    if (!BDL_PUSH(g->c, g->prologue, t)) return BDL_ENOMEM;
    g->splat[x] = z;
  }
  *h = g->splat[x];
  return BDL_OK;
}

/* Pick the kernel for the forms of the operands; scalars are splatted where there is none. */
static bdl_status kernel(grouper *g, const bdl_eqn *e, int32_t h[3], bdl_tile_inst *t) {
  const bdl_k_table *k = g->b->pl->k;
  int n = e->n_in;
  bdl_dtype dt = bdl_aval_of(g->p, e->in[e->prim == BDL_P_select ? 1 : 0])->dtype;
  int op = bdl_lowering_of(e->prim)->tile;
  int form = 0;
  t->op = (int16_t)op;
  t->dtype = dt;
  for (int i = 0; i < n; i++) form |= g->operands.v[h[i]].kind == BDL_O_SCALAR ? 1 << i : 0;
  if (e->prim == BDL_P_cast) {
    t->fn = k->cast[dt][e->params[0].i];
    return form ? splat(g, e->in[0], &h[0]) : BDL_OK;
  }
  if (has_number(e)) form |= BDL_FORM_Y;
  if (!k->tile[op][dt][form] && form == BDL_FORM_X && (bdl_prims[e->prim].flags & BDL_F_COMMUTATIVE) &&
      k->tile[op][dt][BDL_FORM_Y]) {
    int32_t first = h[0];
    h[0] = h[1], h[1] = first;
    form = BDL_FORM_Y;
  }
  for (int i = 0; i < n && !k->tile[op][dt][form]; i++)
    if (form & 1 << i) {
      TRY(splat(g, e->in[i], &h[i]));
      form &= ~(1 << i);
    }
  t->fn = k->tile[op][dt][form];
  if (!t->fn)
    return bdl_fail(g->c, BDL_ENOTSUP, "%s is not defined on %s", bdl_prims[e->prim].name, bdl_dtype_long_name(dt));
  return BDL_OK;
}

static void release(grouper *g, const bdl_eqn *e, int32_t at, bdl_status *s) {
  for (int i = 0; i < e->n_in; i++) {
    const bdl_view *v = &g->b->sched.view.v[e->in[i]];
    bdl_atom keys[2] = {v->base, e->in[i]};
    for (int k = 0; k < 2; k++) {
      int32_t h = g->handle[keys[k]];
      if (h < 0 || g->last[keys[k]] > at || g->operands.v[h].kind != BDL_O_REG) continue;
      g->handle[keys[k]] = -1;
      if (!BDL_PUSH(g->c, g->free_regs[size_class(g->operands.v[h].size)], h)) *s = BDL_ENOMEM;
    }
  }
}

/* The operand that receives result x: memory when somebody outside reads it, else a register. */
static bdl_status result(grouper *g, bdl_atom x, int32_t *z) {
  const bool outside = g->b->sched.last_use[x] > g->id || g->stray[x] > 0;
  int32_t size = size_of(g, x), reg = -1;
  if (!outside || g->b->late[x]) TRY(reg_new(g, size, &reg));
  *z = reg;
  if (outside) {
    bdl_operand o = {.kind = BDL_O_ARRAY, .size = size};
    TRY(bdl_block_ref(g->b, x, &o.ref));
    int32_t mem;
    TRY(operand_new(g, o, &mem));
    if (reg < 0) *z = mem;
    else {
      const bdl_dtype dt = bdl_aval_of(g->p, x)->dtype;
      bdl_tile_inst t = {.kind = BDL_T_OP, .prim = BDL_P_copy, .op = BDL_TILE_copy, .dtype = dt, .result = dt, .z = mem, .x = reg,
                         .y = -1, .w = -1, .fn = g->b->pl->k->tile[BDL_TILE_copy][dt][0]};
      if (!BDL_PUSH(g->c, g->stores, t)) return BDL_ENOMEM;
      g->last[x] = INT32_MAX; /* kept until the store */
    }
  }
  g->handle[x] = *z;
  return BDL_OK;
}

static bdl_status root(grouper *g, const bdl_eqn *e, int32_t x) {
  bdl_planner *pl = g->b->pl;
  bdl_dtype dt = bdl_aval_of(g->p, e->in[0])->dtype;
  bdl_tile_inst t = {.prim = e->prim, .dtype = dt, .result = dt, .x = x, .w = -1};
  bdl_operand z = {.kind = BDL_O_SCALAR}, y = {.kind = BDL_O_SCALAR};
  if (e->prim == BDL_P_event_ids) {
    t.kind = BDL_T_COMPACT;
    t.compact = pl->k->compact[dt];
    TRY(bdl_block_ref(g->b, e->out[0], &z.ref));
    TRY(bdl_block_ref(g->b, e->out[1], &y.ref));
    z.size = y.size = 4;
    g->serial = true;
  } else {
    int64_t tiles = (bdl_aval_numel(&g->node->domain) + BDL_TILE - 1) / BDL_TILE;
    bdl_reduce_op op = (bdl_reduce_op)(e->prim - BDL_P_reduce_sum);
    t.kind = BDL_T_REDUCE;
    t.op = (int16_t)op;
    t.red.tile = pl->k->reduce[op][dt];
    t.red.combine = pl->k->combine[op][dt];
    z.size = y.size = (int32_t)bdl_dtype_size(dt);
    TRY(bdl_slot_new(pl, BDL_S_ARENA, dt, (size_t)tiles * (size_t)z.size, &z.ref.slot));
    bdl_slot_touch(pl, z.ref.slot);
    TRY(bdl_block_ref(g->b, e->out[0], &y.ref));
    z.kind = BDL_O_PARTIAL;
  }
  TRY(operand_new(g, z, &t.z));
  TRY(operand_new(g, y, &t.y));
  g->n_roots++;
  if (t.kind == BDL_T_REDUCE && !t.red.tile)
    return bdl_fail(g->c, BDL_ENOTSUP, "%s is not defined on %s", bdl_prims[e->prim].name, bdl_dtype_long_name(dt));
  return BDL_PUSH(g->c, g->insts, t) ? BDL_OK : BDL_ENOMEM;
}

/* add, sub, mul: 0, 1, 2, the order of pairs in tile_ops.def; -1: any other. */
static int pair_index(bdl_prim_id p) { return p == BDL_P_add ? 0 : p == BDL_P_sub ? 1 : p == BDL_P_mul ? 2 : -1; }

/* The operation before e, when e alone reads its result and one kernel does both: then it becomes that kernel, on w too. */
static bool join_pair(grouper *g, const bdl_eqn *e, int32_t at, const int32_t h[2]) {
  bdl_tile_inst *t = g->insts.n > 0 ? &g->insts.v[g->insts.n - 1] : NULL;
  if (!t || t->kind != BDL_T_OP || t->then || pair_index(t->prim) < 0 || pair_index(e->prim) < 0 || h[0] == h[1]) return false;
  if (g->operands.v[t->z].kind != BDL_O_REG || (h[0] != t->z && h[1] != t->z)) return false;
  const int second = h[1] == t->z; /* which operand of e it is */
  if (g->last[g->b->sched.view.v[e->in[second]].base] > at || g->last[e->in[second]] > at) return false;
  const int32_t operand[3] = {t->x, t->y, h[1 - second]};
  int form = 0;
  for (int i = 0; i < 3; i++) form |= g->operands.v[operand[i]].kind == BDL_O_SCALAR ? 1 << i : 0;
  const int op = BDL_TILE_add_add + 2 * (3 * pair_index(t->prim) + pair_index(e->prim)) + second;
  const bdl_k_tile fn = g->b->pl->k->tile[op][bdl_aval_of(g->p, e->in[0])->dtype][form]; /* of floats only */
  if (!fn) return false;
  t->fn = fn;
  t->op = (int16_t)op;
  t->then = e->prim;
  t->w = operand[2];
  return true;
}

static bdl_status equation(grouper *g, int32_t at) {
  const bdl_eqn *e = &g->p->eqns.v[g->node->eqns.v[at]];
  bool is_root = bdl_schedule_is_root(g->p, e);
  const bdl_aval *domain = bdl_aval_of(g->p, is_root ? e->in[0] : e->out[0]);
  int32_t h[3] = {-1, -1, -1};
  bdl_status s = BDL_OK;
  if (e->prim == BDL_P_random_bits) { /* keys are not an array over the domain */
    bdl_operand o = {.kind = BDL_O_SCALAR, .size = 4};
    TRY(bdl_block_ref(g->b, e->in[0], &o.ref));
    TRY(operand_new(g, o, &h[0]));
  } else
    for (int i = 0; i < e->n_in; i++) TRY(operand(g, e->in[i], domain, &h[i]));
  if (is_root && h[0] >= 0) {
    if (g->operands.v[h[0]].kind == BDL_O_SCALAR) TRY(splat(g, e->in[0], &h[0]));
    TRY(root(g, e, h[0]));
    release(g, e, at, &s);
    return s;
  }
  if (join_pair(g, e, at, h)) {
    int32_t z;
    release(g, e, at, &s);
    TRY(s);
    TRY(result(g, e->out[0], &z));
    g->insts.v[g->insts.n - 1].z = z;
    return BDL_OK;
  }
  bdl_tile_inst t = {.kind = BDL_T_OP, .prim = e->prim, .op = (int16_t)bdl_lowering_of(e->prim)->tile, .dtype = domain->dtype};
  t.result = bdl_aval_of(g->p, e->out[0])->dtype;
  if (e->prim == BDL_P_iota) {
    int64_t axis = e->params[1].i, inner = 1;
    for (int k = (int)axis + 1; k < domain->ndim; k++) inner *= domain->shape[k];
    TRY(immediate(g, (int64_t[]){BDL_MAX(inner, 1), BDL_MAX(domain->shape[axis], 1)}, 2, &h[0]));
    t.fn = g->b->pl->k->tile[BDL_TILE_iota][domain->dtype][0];
  } else if (e->prim == BDL_P_random_bits) {
    const int64_t keys = bdl_aval_numel(bdl_aval_of(g->p, e->in[0])) / 2;
    if (keys > 1) TRY(immediate(g, (int64_t[]){bdl_aval_numel(domain) / keys}, 1, &h[1]));
    t.fn = g->b->pl->k->tile[BDL_TILE_random_bits][domain->dtype][0];
  } else {
    if (has_number(e)) TRY(immediate(g, &e->params[0].i, 1, &h[1]));
    TRY(kernel(g, e, h, &t));
  }
  release(g, e, at, &s);
  TRY(s);
  TRY(result(g, e->out[0], &t.z));
  t.x = h[0], t.y = h[1], t.w = h[2];
  return BDL_PUSH(g->c, g->insts, t) ? BDL_OK : BDL_ENOMEM;
}

static bdl_status lines(grouper *g, bdl_group *out) {
  out->n_eqns = (int32_t)g->node->eqns.n;
  out->lines = bdl_arena_alloc(&g->b->pl->plan->arena, (size_t)(out->n_eqns + 1) * sizeof *out->lines);
  if (!out->lines) return BDL_ENOMEM;
  for (int64_t k = 0; k < g->node->eqns.n; k++) {
    const bdl_src s = g->p->eqns.v[g->node->eqns.v[k]].src;
    int32_t at = 0;
    if (!s.file) continue;
    while (at < out->n_lines && (out->lines[at].file != s.file || out->lines[at].line < s.line)) at++;
    if (at < out->n_lines && out->lines[at].line == s.line) continue;
    memmove(out->lines + at + 1, out->lines + at, (size_t)(out->n_lines - at) * sizeof *out->lines);
    out->lines[at] = s;
    out->n_lines++;
  }
  return BDL_OK;
}

static bdl_status finish(grouper *g) {
  bdl_plan *plan = g->b->pl->plan;
  bdl_group *out = bdl_arena_alloc(&plan->arena, sizeof *out);
  int32_t n = (int32_t)(g->prologue.n + g->insts.n + g->stores.n);
  if (!out) return BDL_ENOMEM;
  out->operands = bdl_arena_alloc(&plan->arena, (size_t)(g->operands.n + 1) * sizeof *out->operands);
  out->insts = bdl_arena_alloc(&plan->arena, (size_t)(n + 1) * sizeof *out->insts);
  if (!out->operands || !out->insts) return BDL_ENOMEM;
  if (g->operands.n) memcpy(out->operands, g->operands.v, (size_t)g->operands.n * sizeof *out->operands);
  bdl_tile_inst *at = out->insts;
  if (g->prologue.n) memcpy(at, g->prologue.v, (size_t)g->prologue.n * sizeof *at);
  if (g->insts.n) memcpy(at + g->prologue.n, g->insts.v, (size_t)g->insts.n * sizeof *at);
  if (g->stores.n) memcpy(at + g->prologue.n + g->insts.n, g->stores.v, (size_t)g->stores.n * sizeof *at);
  for (int32_t k = 0; k < n; k++) { /* what an operation does not have, reads as NULL */
    int32_t *operand[] = {&out->insts[k].x, &out->insts[k].y, &out->insts[k].w};
    for (int i = 0; i < 3; i++)
      if (*operand[i] < 0) *operand[i] = (int32_t)g->operands.n;
  }
  TRY(lines(g, out));
  out->n = bdl_aval_numel(&g->node->domain);
  out->domain = g->node->domain;
  out->n_operands = (int32_t)g->operands.n;
  out->n_insts = n;
  out->n_prologue = (int32_t)g->prologue.n;
  out->n_regs = g->n_regs;
  out->n_roots = g->n_roots;
  out->serial = g->serial;
  out->reg_bytes = BDL_TILE * g->widest + BDL_ALIGN;
  plan->reg_bytes = BDL_MAX(plan->reg_bytes, (size_t)out->n_regs * (size_t)out->reg_bytes + BDL_PAD);
  const bdl_eqn *first = &g->p->eqns.v[g->node->eqns.v[0]];
  bdl_inst inst = {.kind = BDL_I_GROUP, .prim = first->prim, .src = first->src, .group = out};
  return bdl_block_push(g->b, &inst);
}

bdl_status bdl_plan_group(bdl_blockplan *b, const bdl_node *node) {
  bdl_context *c = b->prog->ctx;
  grouper g = {.b = b, .c = c, .p = b->prog, .node = node, .id = (int32_t)(node - b->sched.nodes.v), .widest = 1};
  size_t n = (size_t)b->prog->vars.n + 1, bytes = 4 * n * sizeof(int32_t);
  g.handle = bdl_alloc(c, bytes);
  if (!g.handle) return BDL_ENOMEM;
  g.splat = g.handle + n;
  g.last = g.splat + n;
  g.stray = g.last + n;
  for (size_t i = 0; i < 4 * n; i++) g.handle[i] = -1;
  for (int32_t i = 0; i < node->eqns.n; i++) {
    const bdl_eqn *e = &b->prog->eqns.v[node->eqns.v[i]];
    for (int k = 0; k < e->n_in; k++) {
      const bdl_atom base = b->sched.view.v[e->in[k]].base;
      g.last[e->in[k]] = g.last[base] = i;
      if (!bdl_schedule_aligned(&b->sched, e->in[k], &node->domain)) g.stray[base] = 1;
    }
  }
  bdl_status s = BDL_OK;
  for (int32_t i = 0; i < node->eqns.n && s == BDL_OK; i++) s = equation(&g, i);
  if (s == BDL_OK) s = finish(&g);
  bdl_free(c, g.handle, bytes);
  BDL_VEC_FREE(c, g.operands);
  BDL_VEC_FREE(c, g.prologue);
  BDL_VEC_FREE(c, g.insts);
  BDL_VEC_FREE(c, g.stores);
  for (int i = 0; i < 2; i++) BDL_VEC_FREE(c, g.free_regs[i]);
  return s;
}

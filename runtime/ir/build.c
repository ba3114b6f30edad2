/*
** build.c -- programs as builders: variables, equations, and the shorthands that rules use.
*/
#include <string.h>

#include "ir/edit.h"
#include "prim/prim.h"

/* ---- life ------------------------------------------------------------------------------------- */

bdl_status bdl_prog_new(bdl_context *c, const char *name, bdl_prog **out) {
  bdl_prog *p = bdl_calloc(c, sizeof *p);
  if (!p) return BDL_ENOMEM;
  p->ctx = c;
  p->refs = 1;
  bdl_arena_init(&p->arena, c);
  bdl_map_init(&p->known, c);
  p->name = bdl_arena_strdup(&p->arena, name ? name : "");
  if (!p->name) {
    bdl_prog_unref(p);
    return BDL_ENOMEM;
  }
  *out = p;
  return BDL_OK;
}

void bdl_prog_ref(bdl_prog *p) { p->refs++; }

/* What the parameters of an equation keep alive. */
static void hold(const bdl_eqn *e) {
  for (int i = 0; i < e->n_params; i++) {
    const bdl_param *x = &e->params[i];
    for (int k = 0; x->kind == BDL_PK_PROGS && k < x->n; k++) bdl_prog_ref(x->progs[k]);
    if (x->kind == BDL_PK_HOST && x->host) x->host->refs++;
  }
}

static void release(const bdl_eqn *e) {
  for (int i = 0; i < e->n_params; i++) {
    const bdl_param *x = &e->params[i];
    for (int k = 0; x->kind == BDL_PK_PROGS && k < x->n; k++) bdl_prog_unref(x->progs[k]);
    if (x->kind == BDL_PK_HOST && x->host && --x->host->refs == 0 && x->host->free) x->host->free(x->host);
  }
}

bdl_ir_mark bdl_ir_here(const bdl_prog *p) {
  return (bdl_ir_mark){p->vars.n, p->eqns.n, p->inputs.n, p->consts.n, p->effects};
}

void bdl_ir_rollback(bdl_prog *p, bdl_ir_mark m) {
  while (p->eqns.n > m.eqns) release(&p->eqns.v[--p->eqns.n]);
  while (p->consts.n > m.consts) bdl_tensor_unref(&p->consts.v[--p->consts.n]);
  p->vars.n = m.vars;
  p->inputs.n = m.inputs;
  p->effects = m.effects;
}

void bdl_prog_unref(bdl_prog *p) {
  if (!p || --p->refs > 0) return;
  bdl_context *c = p->ctx;
  bdl_ir_rollback(p, (bdl_ir_mark){0});
  BDL_VEC_FREE(c, p->vars);
  BDL_VEC_FREE(c, p->eqns);
  BDL_VEC_FREE(c, p->inputs);
  BDL_VEC_FREE(c, p->consts);
  bdl_map_fini(&p->known);
  bdl_arena_fini(&p->arena);
  bdl_free(c, p, sizeof *p);
}

/* ---- variables -------------------------------------------------------------------------------- */

static bool room_for_vars(bdl_prog *p, int64_t n) {
  if (p->vars.n + n > INT32_MAX) {
    bdl_fail(p->ctx, BDL_ENOMEM, "program %s has too many variables", p->name);
    return false;
  }
  return BDL_RESERVE(p->ctx, p->vars, p->vars.n + n);
}

/* Room was made before. */
static bdl_atom new_var(bdl_prog *p, const bdl_aval *a, bdl_var_kind kind, int64_t index) {
  p->vars.v[p->vars.n] = (bdl_var){.aval = *a, .kind = kind, .index = (int32_t)index};
  return (bdl_atom)p->vars.n++;
}

bdl_status bdl_ir_input(bdl_prog *p, const bdl_aval *a, bdl_atom *x) {
  const bdl_aval type = *a; /* which may lie in p */
  TRY(bdl_aval_check(p->ctx, a));
  if (!room_for_vars(p, 1) || !BDL_RESERVE(p->ctx, p->inputs, p->inputs.n + 1)) return BDL_ENOMEM;
  *x = new_var(p, &type, BDL_V_INPUT, p->inputs.n);
  p->inputs.v[p->inputs.n++] = *x;
  return BDL_OK;
}

/* Entries of `known` may be of variables that were taken back since, or of another value with the same hash: so the
** variable itself decides. */
static bool known_var(const bdl_prog *p, uint64_t key, bdl_var_kind kind, bdl_atom *x) {
  uint64_t v = 0;
  if (!bdl_map_get(&p->known, key, &v) || (int64_t)v >= p->vars.n || p->vars.v[v].kind != kind) return false;
  *x = (bdl_atom)v;
  return true;
}

bdl_status bdl_ir_literal(bdl_prog *p, bdl_dtype d, bdl_scalar v, bdl_atom *x) {
  bdl_scalar value = {.bits = 0};
  if ((unsigned)d >= BDL_DTYPE_COUNT) return bdl_fail(p->ctx, BDL_EINTERNAL, "a literal of dtype %d", (int)d);
  memcpy(&value, &v, bdl_dtype_size(d));
  const uint64_t key = bdl_hash(&value, sizeof value, (uint64_t)d);
  const bdl_aval a = bdl_aval_scalar(d);
  if (known_var(p, key, BDL_V_LITERAL, x) && p->vars.v[*x].aval.dtype == d && p->vars.v[*x].literal.bits == value.bits)
    return BDL_OK;
  if (!room_for_vars(p, 1)) return BDL_ENOMEM;
  TRY(bdl_map_put(&p->known, key, (uint64_t)p->vars.n));
  *x = new_var(p, &a, BDL_V_LITERAL, 0);
  p->vars.v[*x].literal = value;
  return BDL_OK;
}

static bool same_view(const bdl_tensor *a, const bdl_tensor *b) {
  return a->buf == b->buf && a->offset == b->offset && bdl_aval_eq(&a->aval, &b->aval) &&
         (a->aval.ndim == 0 || memcmp(a->stride, b->stride, (size_t)a->aval.ndim * sizeof *a->stride) == 0);
}

bdl_status bdl_ir_const(bdl_prog *p, const bdl_tensor *t, bdl_atom *x) {
  const uint64_t id[2] = {(uint64_t)(uintptr_t)t->buf, (uint64_t)t->offset};
  const uint64_t key = bdl_hash(t->aval.shape, (size_t)t->aval.ndim * sizeof *t->aval.shape, bdl_hash(id, sizeof id, 1));
  const bdl_tensor view = *t; /* which may lie in p */
  if (known_var(p, key, BDL_V_CONST, x) && same_view(&p->consts.v[p->vars.v[*x].index], t)) return BDL_OK;
  TRY(bdl_tensor_fetch(t));
  if (!room_for_vars(p, 1) || !BDL_RESERVE(p->ctx, p->consts, p->consts.n + 1)) return BDL_ENOMEM;
  TRY(bdl_map_put(&p->known, key, (uint64_t)p->vars.n));
  *x = new_var(p, &view.aval, BDL_V_CONST, p->consts.n);
  p->consts.v[p->consts.n++] = bdl_tensor_ref(&view);
  return BDL_OK;
}

/* ---- equations -------------------------------------------------------------------------------- */

static size_t param_bytes(const bdl_param *x) {
  switch (x->kind) {
    case BDL_PK_INTS: return (size_t)x->n * sizeof *x->ints;
    case BDL_PK_PROGS: return (size_t)x->n * sizeof *x->progs;
    case BDL_PK_STR: return (strlen(x->s) + sizeof(int64_t)) & ~(sizeof(int64_t) - 1); /* with its end, a whole word */
    default: return 0;
  }
}

static void copy_param(bdl_param *to, const bdl_param *x, void *room) {
  *to = *x;
  if (x->kind == BDL_PK_INTS) to->ints = x->n ? memcpy(room, x->ints, param_bytes(x)) : NULL;
  if (x->kind == BDL_PK_PROGS) to->progs = memcpy(room, x->progs, param_bytes(x));
  if (x->kind == BDL_PK_STR) to->s = strcpy(room, x->s);
}

bool bdl_ir_has_effect(const bdl_eqn *e) {
  bool effect = (bdl_prims[e->prim].flags & BDL_F_EFFECT) != 0;
  for (int i = 0; i < e->n_params; i++)
    for (int k = 0; e->params[i].kind == BDL_PK_PROGS && k < e->params[i].n; k++) effect |= e->params[i].progs[k]->effects;
  return effect;
}

/* Errors at run time come from indices, and from loops that never end. */
bool bdl_ir_can_fail(const bdl_eqn *e) {
  switch (e->prim) {
    case BDL_P_gather:
    case BDL_P_gather_along:
    case BDL_P_scatter:
    case BDL_P_scatter_along:
    case BDL_P_csr_dot:
    case BDL_P_csr_scatter:
    case BDL_P_csr_outer:
    case BDL_P_csr_learn:
    case BDL_P_while: return true;
    default: break;
  }
  for (int i = 0; i < e->n_params; i++)
    for (int k = 0; e->params[i].kind == BDL_PK_PROGS && k < e->params[i].n; k++)
      for (int64_t j = 0; j < e->params[i].progs[k]->eqns.n; j++)
        if (bdl_ir_can_fail(&e->params[i].progs[k]->eqns.v[j])) return true;
  return false;
}

/* The equation's lists lie in one piece of the arena: params, their contents, operands, results.  Lists of e may lie in p's
** variables (a shape), so they are copied before those move. */
bdl_status bdl_ir_append(bdl_prog *p, const bdl_eqn *e, const bdl_aval *avals, bdl_atom *out) {
  bdl_eqn z = *e;
  size_t bytes = (size_t)e->n_params * sizeof *e->params + (size_t)(e->n_in + e->n_out) * sizeof *e->in;
  char *room = NULL;
  for (int i = 0; i < e->n_params; i++) bytes += param_bytes(&e->params[i]);
  room = bdl_arena_alloc(&p->arena, bytes);
  if (!room) return BDL_ENOMEM;
  z.params = (bdl_param *)(void *)room;
  room += (size_t)e->n_params * sizeof *e->params;
  for (int i = 0; i < e->n_params; i++) {
    copy_param(&z.params[i], &e->params[i], room);
    room += param_bytes(&e->params[i]);
  }
  z.in = (bdl_atom *)(void *)room;
  z.out = z.in + e->n_in;
  if (e->n_in) memcpy(z.in, e->in, (size_t)e->n_in * sizeof *e->in);
  if (!room_for_vars(p, e->n_out) || !BDL_RESERVE(p->ctx, p->eqns, p->eqns.n + 1)) return BDL_ENOMEM;
  for (int i = 0; i < e->n_out; i++) out[i] = z.out[i] = new_var(p, &avals[i], BDL_V_EQN, p->eqns.n);
  p->effects |= bdl_ir_has_effect(&z);
  hold(&z);
  p->eqns.v[p->eqns.n++] = z;
  return BDL_OK;
}

/* Equations that are their operand: what they would add is not appended. */
static bool is_identity(const bdl_prog *p, bdl_prim_id prim, const bdl_param *params, const bdl_atom *in) {
  const bdl_aval *x = NULL;
  switch (prim) {
    case BDL_P_copy: {
      const bdl_eqn *e = bdl_ir_maker(p, in[0]);
      return e && e->prim == BDL_P_copy;
    }
    case BDL_P_cast: return bdl_aval_of(p, in[0])->dtype == (bdl_dtype)params[0].i;
    case BDL_P_reshape:
    case BDL_P_broadcast: /* of the same rank: dims ascend, so they are all axes */
      x = bdl_aval_of(p, in[0]);
      if (params[0].n != x->ndim || (prim == BDL_P_broadcast && params[1].n != x->ndim)) return false;
      for (int i = 0; i < x->ndim; i++)
        if (params[0].ints[i] != x->shape[i] || (prim == BDL_P_broadcast && params[1].ints[i] != i)) return false;
      return true;
    default: return false;
  }
}

bdl_status bdl_ir_bind_as_is(bdl_prog *p, const bdl_eqn *e, bdl_atom *out) {
  const size_t n = (size_t)e->n_in + (size_t)e->n_out;
  bdl_aval few[12], *types = n <= (size_t)BDL_LEN(few) ? few : bdl_alloc(p->ctx, n * sizeof *types);
  if (!types) return BDL_ENOMEM;
  for (int i = 0; i < e->n_in; i++) types[i] = *bdl_aval_of(p, e->in[i]);
  bdl_status s = bdl_prim_type(p->ctx, e->prim, e->params, types, e->n_in, types + e->n_in);
  if (s == BDL_OK) s = bdl_ir_append(p, e, types + e->n_in, out);
  if (types != few) bdl_free(p->ctx, types, n * sizeof *types);
  return s;
}

bdl_status bdl_bind(bdl_prog *p, bdl_prim_id prim, const bdl_param *params, const bdl_atom *in, int n_in, bdl_atom *out) {
  bdl_context *c = p->ctx;
  bdl_status s = BDL_OK;
  if ((unsigned)prim >= BDL_P_COUNT) return bdl_fail(c, BDL_EINTERNAL, "no primitive has the number %d", (int)prim);
  for (int i = 0; i < n_in; i++)
    if (in[i] < 0 || in[i] >= p->vars.n)
      return bdl_fail(c, BDL_EINTERNAL, "%s: operand %d is no variable of program %s", bdl_prims[prim].name, i + 1, p->name);
  s = bdl_prim_check(c, prim, params, n_in);
  if (s == BDL_OK && is_identity(p, prim, params, in)) {
    *out = in[0];
    return BDL_OK;
  }
  if (s == BDL_OK) {
    const bdl_eqn e = {.prim = prim,
                       .n_in = n_in,
                       .n_out = bdl_ir_n_out(prim, params, n_in),
                       .n_params = bdl_prim_n_params(prim),
                       .in = (bdl_atom *)in,
                       .params = (bdl_param *)params,
                       .src = p->src};
    s = bdl_ir_bind_as_is(p, &e, out);
  }
  if (s != BDL_OK) bdl_where(c, p->src);
  return s;
}

bdl_status bdl_prog_set_outputs(bdl_prog *p, const bdl_atom *out, int n) {
  bdl_atom *copy = NULL;
  for (int i = 0; i < n; i++)
    if (out[i] < 0 || out[i] >= p->vars.n)
      return bdl_fail(p->ctx, BDL_EINTERNAL, "output %d is no variable of program %s", i + 1, p->name);
  copy = bdl_arena_alloc(&p->arena, (size_t)n * sizeof *out);
  if (!copy) return BDL_ENOMEM;
  if (n) memcpy(copy, out, (size_t)n * sizeof *out);
  p->outputs = copy;
  p->n_outputs = n;
  return BDL_OK;
}

/* ---- shorthands --------------------------------------------------------------------------------- */

bool bdl_ir_is_literal(const bdl_prog *p, bdl_atom x, double v) {
  for (const bdl_eqn *e; (e = bdl_ir_maker(p, x)) && e->prim == BDL_P_broadcast;) x = e->in[0];
  const bdl_var *var = &p->vars.v[x];
  return var->kind == BDL_V_LITERAL && var->literal.bits == bdl_scalar_from_f64(var->aval.dtype, v).bits;
}

bdl_status bdl_bind1(bdl_prog *p, bdl_prim_id prim, bdl_atom x, bdl_atom *z) { return bdl_bind(p, prim, NULL, &x, 1, z); }

bdl_status bdl_bind2(bdl_prog *p, bdl_prim_id prim, bdl_atom x, bdl_atom y, bdl_atom *z) {
  return bdl_bind(p, prim, NULL, (bdl_atom[]){x, y}, 2, z);
}

bdl_status bdl_bind3(bdl_prog *p, bdl_prim_id prim, bdl_atom x, bdl_atom y, bdl_atom w, bdl_atom *z) {
  return bdl_bind(p, prim, NULL, (bdl_atom[]){x, y, w}, 3, z);
}

bdl_status bdl_ir_scalar(bdl_prog *p, bdl_dtype d, double v, bdl_atom *x) {
  if ((unsigned)d >= BDL_DTYPE_COUNT) return bdl_fail(p->ctx, BDL_EINTERNAL, "a literal of dtype %d", (int)d);
  return bdl_ir_literal(p, d, bdl_scalar_from_f64(d, v), x);
}

bdl_status bdl_ir_full(bdl_prog *p, const bdl_aval *a, double v, bdl_atom *x) {
  const bdl_ir_mark mark = bdl_ir_here(p);
  const bdl_aval type = *a; /* which may lie in p */
  bdl_status s = bdl_ir_scalar(p, type.dtype, v, x);
  if (s == BDL_OK) s = bdl_ir_broadcast_to(p, *x, &type, x);
  if (s != BDL_OK) bdl_ir_rollback(p, mark);
  return s;
}

bdl_status bdl_ir_cast(bdl_prog *p, bdl_atom x, bdl_dtype d, bdl_atom *z) {
  return bdl_bind(p, BDL_P_cast, (bdl_param[]){bdl_pdtype(d)}, &x, 1, z);
}

bdl_status bdl_ir_broadcast_to(bdl_prog *p, bdl_atom x, const bdl_aval *a, bdl_atom *z) {
  int64_t dims[BDL_MAX_NDIM];
  const int n = bdl_aval_of(p, x)->ndim, before = a->ndim - n;
  if (before < 0) {
    char got[BDL_AVAL_TEXT], want[BDL_AVAL_TEXT];
    return bdl_fail(p->ctx, BDL_ESHAPE, "broadcast: %s has more axes than %s", bdl_aval_text(bdl_aval_of(p, x), false, got),
                    bdl_aval_text(a, false, want));
  }
  for (int i = 0; i < n; i++) dims[i] = before + i;
  return bdl_bind(p, BDL_P_broadcast, (bdl_param[]){bdl_pints(a->shape, a->ndim), bdl_pints(dims, n)}, &x, 1, z);
}

bdl_status bdl_ir_reshape(bdl_prog *p, bdl_atom x, int ndim, const int64_t *shape, bdl_atom *z) {
  return bdl_bind(p, BDL_P_reshape, (bdl_param[]){bdl_pints(shape, ndim)}, &x, 1, z);
}

int32_t *bdl_ir_uses(const bdl_prog *p, bdl_arena *a) {
  const size_t n = (size_t)p->vars.n + 1;
  int32_t *uses = bdl_arena_alloc(a, n * sizeof *uses);
  if (!uses) return NULL;
  memset(uses, 0, n * sizeof *uses);
  for (int64_t i = 0; i < p->eqns.n; i++)
    for (int k = 0; k < p->eqns.v[i].n_in; k++) uses[p->eqns.v[i].in[k]]++;
  for (int i = 0; i < p->n_outputs; i++) uses[p->outputs[i]]++;
  return uses;
}

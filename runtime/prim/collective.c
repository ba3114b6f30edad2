/*
** collective.c -- rules of values that go between the lanes of one axis.
**
** Operand 1 is the lane's own number on that axis, and tells which one it is: batching finds the number with lanes where it
** makes this axis, and without where it makes another.  Under pmap each process is a lane, and the kernel talks to the others.
*/
#include <string.h>

#include "prim/check.h"
#include "prim/rules.h"

typedef enum op { SUM, MAX, MIN, GATHER, SCATTER, PERMUTE, N_OPS } op;
static const char *const names[N_OPS] = {"sum", "max", "min", "gather", "scatter", "permute"};

static op op_of(const bdl_param *p) {
  op k = SUM;
  while (k < N_OPS && strcmp(p[0].s, names[k]) != 0) k++;
  return k;
}

/* params: op n from */
bdl_status bdl_type_collective(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  const op k = op_of(p);
  (void)n_in;
  if (k == N_OPS) return bdl_fail(c, BDL_EVALUE, "op is sum, max, min, gather, scatter or permute, not %s", p[0].s);
  if (p[1].i < 1) return bdl_fail(c, BDL_EVALUE, "an axis has 1 lane or more, not %" PRId64, p[1].i);
  if (in[1].ndim != 0 || in[1].dtype != BDL_I32) return bdl_fail(c, BDL_ETYPE, "the lane is i32[], not %s", BDL_TEXT(&in[1]));
  if (k < GATHER && in[0].dtype == BDL_BOOL) return bdl_fail(c, BDL_ETYPE, "numbers are needed, not %s", BDL_TEXT(&in[0]));
  if (k == PERMUTE && p[2].n != p[1].i) return bdl_fail(c, BDL_EVALUE, "%d sources for %" PRId64 " lanes", p[2].n, p[1].i);
  for (int i = 0; i < p[2].n; i++)
    if (p[2].ints[i] < -1 || p[2].ints[i] >= p[1].i) return bdl_fail(c, BDL_EVALUE, "no lane %" PRId64, p[2].ints[i]);
  *out = in[0];
  if (k == SCATTER) {
    bool drop[BDL_MAX_NDIM] = {true};
    if (in[0].ndim == 0 || in[0].shape[0] != p[1].i)
      return bdl_fail(c, BDL_ESHAPE, "%s has no first axis of %" PRId64 " lanes", BDL_TEXT(&in[0]), p[1].i);
    *out = bdl_aval_drop(&in[0], drop);
  }
  if (k == GATHER) {
    TRY(bdl_check_ndim(c, in[0].ndim + 1));
    *out = (bdl_aval){.dtype = in[0].dtype, .ndim = in[0].ndim + 1, .shape = {p[1].i}};
    memcpy(out->shape + 1, in[0].shape, (size_t)in[0].ndim * sizeof *in[0].shape);
  }
  return BDL_OK;
}

static bdl_status bind(bdl_prog *b, const bdl_eqn *e, op k, const int64_t *from, bdl_atom x, bdl_atom lane, bdl_atom *z) {
  const bdl_param p[] = {bdl_pstr(names[k]), e->params[1], bdl_pints(from, k == PERMUTE ? (int)e->params[1].i : 0)};
  return bdl_bind(b, BDL_P_collective, p, (bdl_atom[]){x, lane}, 2, z);
}

/* ---- derivatives ------------------------------------------------------------------------------ */

/* The mean tangent of the lanes that have the largest (smallest). */
static bdl_status jvp_extremum(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, bdl_atom dx, bdl_atom z, bdl_atom *dz) {
  const bdl_dtype d = bdl_aval_of(b, x[0])->dtype;
  bdl_atom at, zero, sum, count;
  TRY(bdl_bind2(b, BDL_P_eq, x[0], z, &at));
  TRY(bdl_ir_full(b, bdl_aval_of(b, x[0]), 0, &zero));
  TRY(bdl_bind3(b, BDL_P_select, at, dx, zero, &sum));
  TRY(bind(b, e, SUM, NULL, sum, x[1], &sum));
  TRY(bdl_ir_cast(b, at, d, &count));
  TRY(bind(b, e, SUM, NULL, count, x[1], &count));
  return bdl_bind2(b, BDL_P_div, sum, count, dz);
}

BDL_JVP(collective) {
  const op k = op_of(e->params);
  if (k == MAX || k == MIN) return jvp_extremum(b, e, x, dx[0], z[0], dz);
  return bind(b, e, k, e->params[2].ints, dx[0], x[1], dz);
}

BDL_TRANSPOSE(collective) {
  const op k = op_of(e->params);
  static const op back[N_OPS] = {[SUM] = SUM, [GATHER] = SCATTER, [SCATTER] = GATHER, [PERMUTE] = PERMUTE};
  const int n = (int)e->params[1].i;
  int64_t *from = bdl_arena_alloc(&b->arena, (size_t)n * sizeof *from);
  (void)is_linear;
  if (!from) return BDL_ENOMEM;
  for (int i = 0; i < n; i++) from[i] = -1;
  for (int i = 0; i < e->params[2].n; i++)
    if (e->params[2].ints[i] >= 0) from[e->params[2].ints[i]] = i;
  return bind(b, e, back[k], from, ct[0], x[1], &ct_in[0]);
}

/* ---- lanes ------------------------------------------------------------------------------------ */

/* Axis 0 of x becomes axis 1, and the other way round. */
static bdl_status swapped(bdl_prog *b, bdl_atom x, bdl_atom *z) {
  int64_t axes[BDL_MAX_NDIM] = {1, 0, 2, 3, 4, 5, 6, 7};
  const bdl_param p = bdl_pints(axes, bdl_aval_of(b, x)->ndim);
  return bdl_bind(b, BDL_P_permute, &p, &x, 1, z);
}

static bdl_status permuted(bdl_prog *b, const bdl_eqn *e, bdl_atom x, bdl_atom *z) {
  const bdl_aval a = *bdl_aval_of(b, x);
  const int n = (int)e->params[1].i;
  bdl_aval one = a;
  one.shape[0] = 1;
  bdl_atom *rows = bdl_arena_alloc(&b->arena, (size_t)n * sizeof *rows);
  if (!rows) return BDL_ENOMEM;
  for (int i = 0; i < n; i++) {
    int64_t start[BDL_MAX_NDIM] = {e->params[2].ints[i]}, stop[BDL_MAX_NDIM], step[BDL_MAX_NDIM] = {1, 1, 1, 1, 1, 1, 1, 1};
    memcpy(stop, a.shape, sizeof stop);
    stop[0] = start[0] + 1;
    if (start[0] < 0) TRY(bdl_ir_full(b, &one, 0, &rows[i]));
    else TRY(bdl_bind(b, BDL_P_slice, (bdl_param[]){bdl_pints(start, a.ndim), bdl_pints(stop, a.ndim), bdl_pints(step, a.ndim)}, &x, 1, &rows[i]));
  }
  const bdl_param axis = bdl_pint(0);
  return bdl_bind(b, BDL_P_concatenate, &axis, rows, n, z);
}

bool bdl_rule_collective_lanes(const bdl_eqn *e, const bool *batched) {
  const op k = op_of(e->params);
  return !batched[1] || k == SCATTER || k == PERMUTE;
}

BDL_BATCH(collective) {
  static const bdl_prim_id reduction[] = {[SUM] = BDL_P_reduce_sum, [MAX] = BDL_P_reduce_max, [MIN] = BDL_P_reduce_min};
  static const int64_t front[1] = {0};
  const bdl_param lanes = bdl_pints(front, 1);
  const op k = op_of(e->params);
  bdl_atom y;
  out_batched[0] = bdl_rule_collective_lanes(e, batched);
  if (!batched[1]) { /* lanes of another axis, in front */
    y = x[0];
    if (k == SCATTER) TRY(swapped(b, y, &y));
    TRY(bdl_bind(b, e->prim, e->params, (bdl_atom[]){y, x[1]}, 2, z));
    return k == GATHER ? swapped(b, z[0], z) : BDL_OK;
  }
  if (size != e->params[1].i)
    return bdl_fail(b->ctx, BDL_EINTERNAL, "a collective of %" PRId64 " lanes over %" PRId64, e->params[1].i, size);
  TRY(bdl_rule_lanes(b, x[0], batched[0], size, &y));
  if (k == PERMUTE) return permuted(b, e, y, z);
  z[0] = y; /* GATHER */
  return k == GATHER ? BDL_OK : bdl_bind(b, k == SCATTER ? BDL_P_reduce_sum : reduction[k], &lanes, &y, 1, z);
}

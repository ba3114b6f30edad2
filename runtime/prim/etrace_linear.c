/*
** etrace_linear.c -- derivatives of eligibility traces: a step is linear in (e, x), in (D, f) and in the scale, a
** gradient in e and in l.
*/
#include "prim/check.h"
#include "prim/rules.h"

/* List entries whose operands, from `at` on, have a tangent, and these tangents behind the n of `in`. */
static bdl_param with_tangent(const bdl_param *list, const bdl_atom *dx, int at, int64_t *room, bdl_atom *in, int *n) {
  int m = 0;
  for (int i = 0; i < list->n; i++) {
    if (bdl_is_zero(dx[at + i])) continue;
    room[m++] = list->ints[i];
    in[(*n)++] = dx[at + i];
  }
  return bdl_pints(room, m);
}

/* e' = D e + x f s: D de + dx f s, then dD e + x df s, then x f ds. */
BDL_JVP(etrace_step) {
  const bdl_param *p = e->params, none = bdl_pints(NULL, 0);
  const int scaled = p[2].i != 0, first = 2 + scaled, n_d = p[0].n, n_f = p[1].n;
  int64_t *room = bdl_arena_alloc(&b->arena, (size_t)(n_d + n_f + 1) * sizeof *room);
  bdl_atom *in = bdl_arena_alloc(&b->arena, (size_t)e->n_in * sizeof *in), zeros, part;
  const bdl_aval trace = *bdl_aval_of(b, x[0]);
  bool factors = false;
  (void)z;
  if (!room || !in) return BDL_ENOMEM;
  TRY(bdl_ir_full(b, &trace, 0, &zeros));
  *dz = BDL_ZERO;
  for (int i = first; i < e->n_in; i++) factors |= !bdl_is_zero(dx[i]);
  if (!bdl_is_zero(dx[0]) || !bdl_is_zero(dx[1])) {
    const bool of_e = !bdl_is_zero(dx[0]), of_x = !bdl_is_zero(dx[1]);
    int n = 0;
    in[n++] = of_e ? dx[0] : zeros;
    in[n++] = of_x ? dx[1] : x[1];
    if (scaled) in[n++] = x[2];
    for (int i = 0; of_e && i < n_d; i++) in[n++] = x[first + i];
    for (int i = 0; of_x && i < n_f; i++) in[n++] = x[first + n_d + i];
    TRY(bdl_bind(b, e->prim, (bdl_param[]){of_e ? p[0] : none, of_x ? p[1] : none, p[2]}, in, n, dz));
  }
  if (factors) {
    int n = first;
    for (int i = 0; i < first; i++) in[i] = x[i];
    const bdl_param pairs = with_tangent(&p[0], dx, first, room, in, &n);
    const bdl_param fed = with_tangent(&p[1], dx, first + n_d, room + n_d, in, &n);
    TRY(bdl_bind(b, e->prim, (bdl_param[]){pairs, fed, p[2]}, in, n, &part));
    TRY(bdl_rule_add(b, *dz, part, dz));
  }
  if (!scaled || bdl_is_zero(dx[2])) return BDL_OK;
  in[0] = zeros, in[1] = x[1], in[2] = dx[2];
  for (int i = 0; i < n_f; i++) in[3 + i] = x[first + n_d + i];
  TRY(bdl_bind(b, e->prim, (bdl_param[]){none, p[1], p[2]}, in, 3 + n_f, &part));
  return bdl_rule_add(b, *dz, part, dz);
}

/* g = l e: l de, then dl e. */
BDL_JVP(etrace_grad) {
  const bdl_param *p = e->params;
  int64_t *room = bdl_arena_alloc(&b->arena, (size_t)(p[1].n + 1) * sizeof *room);
  bdl_atom *in = bdl_arena_alloc(&b->arena, (size_t)e->n_in * sizeof *in), part = BDL_ZERO;
  int n = 1;
  (void)z;
  if (!room || !in) return BDL_ENOMEM;
  in[0] = x[0];
  const bdl_param fed = with_tangent(&p[1], dx, 1, room, in, &n);
  if (n > 1) TRY(bdl_bind(b, e->prim, (bdl_param[]){p[0], fed}, in, n, &part));
  *dz = BDL_ZERO;
  if (!bdl_is_zero(dx[0])) {
    in[0] = dx[0];
    for (int i = 1; i < e->n_in; i++) in[i] = x[i];
    TRY(bdl_bind(b, e->prim, p, in, e->n_in, dz));
  }
  return bdl_rule_add(b, *dz, part, dz);
}

/* State a of a trace: [lanes, rows, inputs, outputs] */
static bdl_status state_of(bdl_prog *b, bdl_atom e, int64_t a, bdl_atom *z) {
  const bdl_aval t = *bdl_aval_of(b, e);
  const int axis = t.ndim - 4;
  int64_t start[5] = {0}, stop[5], step[5];
  for (int i = 0; i < t.ndim; i++) stop[i] = t.shape[i], step[i] = 1;
  start[axis] = a, stop[axis] = a + 1;
  const bdl_param params[] = {bdl_pints(start, t.ndim), bdl_pints(stop, t.ndim), bdl_pints(step, t.ndim)};
  TRY(bdl_bind(b, BDL_P_slice, params, &e, 1, z));
  for (int i = axis; i < t.ndim - 1; i++) stop[i] = t.shape[i + 1];
  return bdl_ir_reshape(b, *z, t.ndim - 1, stop, z);
}

/* x with an axis of extent 1 so many axes from its end. */
static bdl_status widen(bdl_prog *b, bdl_atom x, int from_end, bdl_atom *z) {
  const int at = bdl_aval_of(b, x)->ndim - from_end;
  if (from_end == 0) return bdl_rule_split(b, x, at - 1, bdl_aval_of(b, x)->shape[at - 1], 1, z);
  return bdl_rule_split(b, x, at, 1, bdl_aval_of(b, x)->shape[at], z);
}

/* x y over their common shape, summed over the axis so many from the end. */
static bdl_status sum_of_product(bdl_prog *b, bdl_atom x, bdl_atom y, int from_end, bdl_atom *z) {
  TRY(bdl_bind2(b, BDL_P_mul, x, y, z));
  const int64_t axis = bdl_aval_of(b, *z)->ndim - from_end;
  return bdl_rule_axes(b, BDL_P_reduce_sum, *z, &axis, 1, z);
}

/* ct_e = D' ct;  ct_x = sum over a, k of f s ct;  ct_s = sum over a, r of x f ct;  ct_D = sum over i of e ct;
** ct_f = sum over i of x s ct. */
BDL_TRANSPOSE(etrace_step) {
  const bdl_param *p = e->params;
  const int scaled = p[2].i != 0, first = 2 + scaled, n_d = p[0].n, n_f = p[1].n;
  const bdl_aval trace = *bdl_aval_of(b, x[0]), input = *bdl_aval_of(b, x[1]);
  const int64_t states = trace.shape[trace.ndim - 4];
  bdl_atom wide, scale = BDL_ZERO, c, part;
  if (is_linear[0]) {
    int64_t *pairs = bdl_arena_alloc(&b->arena, (size_t)(n_d + 1) * sizeof *pairs);
    bdl_atom *in = bdl_arena_alloc(&b->arena, (size_t)(n_d + 2) * sizeof *in);
    int n = 0;
    if (!pairs || !in) return BDL_ENOMEM;
    in[0] = ct[0];
    TRY(bdl_ir_full(b, &input, 0, &in[1]));
    for (int64_t to = 0; to < states; to++)
      for (int i = 0; i < n_d; i++)
        if (p[0].ints[i] % states == to) pairs[n] = to * states + p[0].ints[i] / states, in[2 + n++] = x[first + i];
    const bdl_param params[] = {bdl_pints(pairs, n), bdl_pints(NULL, 0), bdl_pint(0)};
    TRY(bdl_bind(b, e->prim, params, in, 2 + n, &ct_in[0]));
  }
  for (int i = 0; i < n_d; i++) {
    bdl_atom old;
    if (!is_linear[first + i]) continue;
    TRY(state_of(b, ct[0], p[0].ints[i] / states, &c));
    TRY(state_of(b, x[0], p[0].ints[i] % states, &old));
    TRY(sum_of_product(b, c, old, 2, &ct_in[first + i]));
  }
  if (scaled && !is_linear[2]) TRY(widen(b, x[2], 2, &scale));
  if (!is_linear[1]) TRY(widen(b, x[1], 0, &wide)); /* [rows, inputs, 1] */
  for (int i = 0; i < n_f; i++) {
    const int k = first + n_d + i;
    bdl_atom f;
    if (!is_linear[1] && !is_linear[k] && !(scaled && is_linear[2])) continue;
    TRY(state_of(b, ct[0], p[1].ints[i], &c));
    if (!bdl_is_zero(scale)) TRY(bdl_bind2(b, BDL_P_mul, c, scale, &c));
    if (is_linear[k]) {
      TRY(sum_of_product(b, c, wide, 2, &ct_in[k]));
      continue;
    }
    TRY(widen(b, x[k], 1, &f)); /* [rows, 1, outputs] */
    const int which = is_linear[1] ? 1 : 2;
    if (which == 1) {
      TRY(sum_of_product(b, c, f, 1, &part));
    } else {
      TRY(bdl_bind2(b, BDL_P_mul, wide, f, &part));
      TRY(sum_of_product(b, c, part, 3, &part));
    }
    TRY(bdl_rule_add(b, ct_in[which], part, &ct_in[which]));
  }
  return BDL_OK;
}

/* x [lanes, rows, ..] with rows as [rows / groups, groups]; `behind`: axes behind the rows. */
static bdl_status by_groups(bdl_prog *b, bdl_atom x, int behind, int64_t groups, bdl_atom *z) {
  const int at = bdl_aval_of(b, x)->ndim - 1 - behind;
  return bdl_rule_split(b, x, at, bdl_aval_of(b, x)->shape[at] / groups, groups, z);
}

/* ct_e = l ct;  ct_l = sum over i of e ct. */
BDL_TRANSPOSE(etrace_grad) {
  const bdl_param *p = e->params;
  const bdl_aval trace = *bdl_aval_of(b, x[0]);
  const int64_t states = trace.shape[trace.ndim - 4];
  bdl_atom g, l, part, *parts = bdl_arena_alloc(&b->arena, (size_t)states * sizeof *parts);
  bdl_aval one = trace;
  if (!parts) return BDL_ENOMEM;
  one.shape[one.ndim - 4] = 1;
  TRY(widen(b, ct[0], 3, &g)); /* [1, groups, inputs, outputs] */
  for (int i = 0; i < p[1].n; i++) {
    if (!is_linear[1 + i]) continue;
    TRY(state_of(b, x[0], p[1].ints[i], &part));
    TRY(by_groups(b, part, 2, p[0].i, &part));
    TRY(sum_of_product(b, part, g, 2, &part));
    TRY(bdl_rule_join(b, part, bdl_aval_of(b, part)->ndim - 3, &ct_in[1 + i]));
  }
  if (!is_linear[0]) return BDL_OK;
  for (int64_t a = 0; a < states; a++) TRY(bdl_ir_full(b, &one, 0, &parts[a]));
  for (int i = 0; i < p[1].n; i++) {
    TRY(by_groups(b, x[1 + i], 1, p[0].i, &l));
    TRY(widen(b, l, 1, &l));
    TRY(bdl_bind2(b, BDL_P_mul, l, g, &part));
    TRY(bdl_ir_reshape(b, part, one.ndim, one.shape, &parts[p[1].ints[i]]));
  }
  return bdl_bind(b, BDL_P_concatenate, (bdl_param[]){bdl_pint(trace.ndim - 4)}, parts, (int)states, &ct_in[0]);
}

/*
** shape_batch.c -- lanes of primitives that move elements.  An index that differs by lane becomes gather_along or
** scatter_along with an index that has extent 1 on the axes that share it, so its bounds are checked as before.
*/
#include "prim/check.h"
#include "prim/rules.h"

BDL_BATCH(reshape) {
  int64_t shape[BDL_MAX_NDIM + 1];
  (void)batched, (void)out_batched;
  return bdl_bind(b, e->prim, (bdl_param[]){bdl_rule_with_lanes(&e->params[0], size, shape)}, x, 1, z);
}

BDL_BATCH(broadcast) {
  int64_t shape[BDL_MAX_NDIM + 1], dims[BDL_MAX_NDIM + 1], behind[BDL_MAX_NDIM];
  const bdl_param inner = bdl_rule_behind_lanes(&e->params[1], behind);
  (void)batched, (void)out_batched;
  return bdl_bind(b, e->prim,
                  (bdl_param[]){bdl_rule_with_lanes(&e->params[0], size, shape), bdl_rule_with_lanes(&inner, 0, dims)}, x, 1, z);
}

BDL_BATCH(permute) {
  int64_t axes[BDL_MAX_NDIM + 1], behind[BDL_MAX_NDIM];
  const bdl_param inner = bdl_rule_behind_lanes(&e->params[0], behind);
  (void)batched, (void)size, (void)out_batched;
  return bdl_bind(b, e->prim, (bdl_param[]){bdl_rule_with_lanes(&inner, 0, axes)}, x, 1, z);
}

BDL_BATCH(slice) {
  int64_t start[BDL_MAX_NDIM + 1], stop[BDL_MAX_NDIM + 1], step[BDL_MAX_NDIM + 1];
  (void)batched, (void)out_batched;
  return bdl_bind(b, e->prim,
                  (bdl_param[]){bdl_rule_with_lanes(&e->params[0], 0, start), bdl_rule_with_lanes(&e->params[1], size, stop),
                                bdl_rule_with_lanes(&e->params[2], 1, step)},
                  x, 1, z);
}

BDL_BATCH(reverse) {
  int64_t axes[BDL_MAX_NDIM];
  (void)batched, (void)size, (void)out_batched;
  return bdl_bind(b, e->prim, (bdl_param[]){bdl_rule_behind_lanes(&e->params[0], axes)}, x, 1, z);
}

/* params: lo hi inner.  Where the value differs by lane, a mask of the elements of x chooses. */
BDL_BATCH(pad) {
  int64_t lo[BDL_MAX_NDIM + 1], hi[BDL_MAX_NDIM + 1], inner[BDL_MAX_NDIM + 1];
  const bdl_aval own = *bdl_aval_of(b, x[0]);
  const bdl_aval one = bdl_aval_make(BDL_BOOL, own.ndim - batched[0], own.shape + batched[0]);
  bdl_atom value = x[1], mask, blank;
  (void)out_batched;
  if (batched[1]) TRY(bdl_ir_scalar(b, own.dtype, 0, &value));
  bdl_param with[3] = {e->params[0], e->params[1], e->params[2]};
  if (batched[0]) {
    with[0] = bdl_rule_with_lanes(&e->params[0], 0, lo);
    with[1] = bdl_rule_with_lanes(&e->params[1], 0, hi);
    with[2] = bdl_rule_with_lanes(&e->params[2], 0, inner);
  }
  TRY(bdl_bind(b, e->prim, with, (bdl_atom[]){x[0], value}, 2, z));
  if (!batched[1]) return BDL_OK;
  int64_t shape[BDL_MAX_NDIM + 1] = {size, 1, 1, 1, 1, 1, 1, 1, 1};
  TRY(bdl_ir_full(b, &one, 1, &mask));
  TRY(bdl_ir_scalar(b, BDL_BOOL, 0, &blank));
  TRY(bdl_bind(b, e->prim, e->params, (bdl_atom[]){mask, blank}, 2, &mask));
  TRY(bdl_ir_reshape(b, x[1], one.ndim + 1, shape, &value));
  return bdl_bind3(b, BDL_P_select, mask, *z, value, z);
}

/* ---- indices that differ by lane ---------------------------------------------------------------- */

/* The axes [from, to) of x as one. */
static bdl_status merged(bdl_prog *b, bdl_atom x, int from, int to, bdl_atom *z) {
  const bdl_aval a = *bdl_aval_of(b, x);
  int64_t shape[BDL_MAX_NDIM + 1];
  int n = 0;
  for (int i = 0; i < from; i++) shape[n++] = a.shape[i];
  shape[n] = 1;
  for (int i = from; i < to; i++) shape[n] *= a.shape[i];
  n++;
  for (int i = to; i < a.ndim; i++) shape[n++] = a.shape[i];
  return bdl_ir_reshape(b, x, n, shape, z);
}

/* i with lanes in front, its other axes as one at `axis` of `rank`; the rest 1. */
static bdl_status lane_index(bdl_prog *b, bdl_atom i, int axis, int rank, bdl_atom *z) {
  const bdl_aval a = *bdl_aval_of(b, i);
  int64_t shape[BDL_MAX_NDIM] = {a.shape[0], 1, 1, 1, 1, 1, 1, 1};
  TRY(bdl_check_ndim(b->ctx, rank));
  for (int k = 1; k < a.ndim; k++) shape[axis] *= a.shape[k];
  return bdl_ir_reshape(b, i, rank, shape, z);
}

/* Axis `from` to the front. */
static bdl_status to_front(bdl_prog *b, bdl_atom x, int from, bdl_atom *z) {
  const int n = bdl_aval_of(b, x)->ndim;
  int64_t axes[BDL_MAX_NDIM] = {from};
  for (int i = 0, k = 1; i < n; i++)
    if (i != from) axes[k++] = i;
  *z = x;
  return from == 0 ? BDL_OK : bdl_rule_axes(b, BDL_P_permute, x, axes, n, z);
}

/* params: axis */
BDL_BATCH(gather) {
  const int64_t axis = e->params[0].i;
  bdl_atom i = x[1];
  (void)size, (void)out_batched;
  if (!batched[0]) {
    TRY(bdl_bind(b, e->prim, e->params, x, 2, z));
    return to_front(b, *z, (int)axis, z);
  }
  if (!batched[1]) return bdl_bind(b, e->prim, (bdl_param[]){bdl_pint(axis + 1)}, x, 2, z);
  const bdl_aval a = *bdl_aval_of(b, x[0]), at = *bdl_aval_of(b, i);
  int64_t shape[BDL_MAX_NDIM * 2];
  int n = 0;
  for (int k = 0; k <= axis; k++) shape[n++] = a.shape[k];
  for (int k = 1; k < at.ndim; k++) shape[n++] = at.shape[k];
  for (int k = (int)axis + 2; k < a.ndim; k++) shape[n++] = a.shape[k];
  TRY(lane_index(b, i, (int)axis + 1, a.ndim, &i));
  TRY(bdl_bind(b, BDL_P_gather_along, (bdl_param[]){bdl_pint(axis + 1)}, (bdl_atom[]){x[0], i}, 2, z));
  return bdl_ir_reshape(b, *z, n, shape, z);
}

/* i without lanes, with an axis of one lane. */
static bdl_status one_lane(bdl_prog *b, bdl_atom i, bdl_atom *z) { return bdl_rule_lanes(b, i, false, 1, z); }

/* params: axis */
BDL_BATCH(gather_along) {
  const int64_t axis = e->params[0].i;
  const bdl_param behind = bdl_pint(axis + 1);
  bdl_atom i = x[1];
  (void)size, (void)out_batched;
  if (batched[0]) {
    if (!batched[1]) TRY(one_lane(b, i, &i));
    return bdl_bind(b, e->prim, &behind, (bdl_atom[]){x[0], i}, 2, z);
  }
  /* x is shared: lanes become positions along the axis */
  const bdl_aval at = *bdl_aval_of(b, i), a = *bdl_aval_of(b, x[0]);
  int64_t axes[BDL_MAX_NDIM], shape[BDL_MAX_NDIM];
  for (int k = 0; k < at.ndim; k++) axes[k] = k < axis ? k + 1 : k == axis ? 0 : k;
  TRY(bdl_rule_axes(b, BDL_P_permute, i, axes, at.ndim, &i));
  TRY(merged(b, i, (int)axis, (int)axis + 2, &i));
  TRY(bdl_bind(b, e->prim, e->params, (bdl_atom[]){x[0], i}, 2, z));
  for (int k = 0; k < at.ndim; k++) shape[k] = k < axis ? a.shape[k] : k == axis ? at.shape[0] : k == axis + 1 ? at.shape[k] : a.shape[k - 1];
  TRY(bdl_ir_reshape(b, *z, at.ndim, shape, z));
  return to_front(b, *z, (int)axis, z);
}

/* params: axis op */
BDL_BATCH(scatter) {
  const bdl_param params[2] = {bdl_pint(e->params[0].i + 1), e->params[1]};
  const int axis = (int)params[0].i;
  bdl_atom in[3] = {x[0], x[1], x[2]};
  (void)out_batched;
  for (int k = 0; k < 3; k += 2) TRY(bdl_rule_lanes(b, x[k], batched[k], size, &in[k]));
  if (!batched[1]) return bdl_bind(b, e->prim, params, in, 3, z);
  TRY(merged(b, in[2], axis, axis + bdl_aval_of(b, x[1])->ndim - 1, &in[2]));
  TRY(lane_index(b, x[1], axis, bdl_aval_of(b, in[0])->ndim, &in[1]));
  return bdl_bind(b, BDL_P_scatter_along, params, in, 3, z);
}

BDL_BATCH(scatter_along) {
  bdl_atom in[3];
  (void)out_batched;
  for (int k = 0; k < 3; k += 2) TRY(bdl_rule_lanes(b, x[k], batched[k], size, &in[k]));
  in[1] = x[1];
  if (!batched[1]) TRY(one_lane(b, x[1], &in[1]));
  return bdl_bind(b, e->prim, (bdl_param[]){bdl_pint(e->params[0].i + 1), e->params[1]}, in, 3, z);
}

/* ---- slices at starts that differ by lane -------------------------------------------------------- */

/* A window of `size` at starts within `whole`, both without lanes.  Of the axes of the window, [first, last] are those whose
** starts differ by lane and lie between; they are taken as one. */
typedef struct window {
  bdl_aval whole, part;
  int first, last;
} window;

static window window_of(const bdl_aval *whole, const bdl_aval *part, const bool *start_batched) {
  window w = {*whole, *part, whole->ndim, -1};
  for (int i = 0; i < whole->ndim; i++)
    if (start_batched[i]) {
      w.first = BDL_MIN(w.first, i);
      w.last = i;
    }
  return w;
}

/* Positions [lanes, elements of the window on axes first..last] along these axes taken as one: the clamped starts and the
** offsets in the window. */
static bdl_status positions(bdl_prog *b, const window *w, const bdl_atom *start, const bool *start_batched, int64_t size,
                            bdl_atom *z) {
  const int n = w->last - w->first + 1;
  int64_t shape[BDL_MAX_NDIM + 1], lanes[BDL_MAX_NDIM + 1] = {size, 1, 1, 1, 1, 1, 1, 1, 1}, extent = 1, stride = 1;
  bdl_atom sum = BDL_ZERO;
  for (int i = 0; i < n; i++) {
    shape[i] = w->part.shape[w->first + i];
    extent *= w->whole.shape[w->first + i];
  }
  const bdl_dtype d = extent > INT32_MAX ? BDL_I64 : BDL_I32;
  TRY(bdl_check_ndim(b->ctx, n + 1));
  for (int i = n - 1; i >= 0; i--) {
    bdl_atom at = start[w->first + i], offset, bound[2], step;
    const int64_t whole = w->whole.shape[w->first + i];
    TRY(bdl_ir_scalar(b, BDL_I32, 0, &bound[0]));
    TRY(bdl_ir_scalar(b, BDL_I32, (double)(whole - shape[i]), &bound[1]));
    TRY(bdl_bind3(b, BDL_P_clamp, bound[0], at, bound[1], &at));
    TRY(bdl_ir_cast(b, at, d, &at));
    if (start_batched[w->first + i]) TRY(bdl_ir_reshape(b, at, n + 1, lanes, &at));
    TRY(bdl_bind(b, BDL_P_iota, (bdl_param[]){bdl_pints(shape, n), bdl_pint(i), bdl_pdtype(d)}, NULL, 0, &offset));
    TRY(bdl_bind2(b, BDL_P_add, at, offset, &at));
    TRY(bdl_ir_scalar(b, d, (double)stride, &step));
    TRY(bdl_bind2(b, BDL_P_mul, at, step, &at));
    TRY(bdl_rule_add(b, sum, at, &sum));
    stride *= whole;
  }
  return merged(b, sum, 1, n + 1, z);
}

/* The axes before `first` and after `last`: those starts are the same for all lanes. */
static bool any_start(const bool *batched, int n) {
  bool any = false;
  for (int i = 0; i < n; i++) any |= batched[i];
  return any;
}

/* params: sizes.  in: x, starts */
BDL_BATCH(dynamic_slice) {
  const int rank = e->n_in - 1;
  const bool *of_start = batched + 1;
  bdl_atom in[BDL_MAX_NDIM + 2], zero, at;
  int64_t sizes[BDL_MAX_NDIM + 1];
  (void)out_batched;
  TRY(bdl_ir_scalar(b, BDL_I32, 0, &zero));
  const bdl_aval own = *bdl_aval_of(b, x[0]);
  const bdl_aval whole = bdl_aval_make(own.dtype, rank, own.shape + batched[0]);
  const bdl_aval part = bdl_aval_make(own.dtype, rank, e->params[0].ints);
  const window w = window_of(&whole, &part, of_start);
  in[0] = x[0];
  /* first what all lanes do alike */
  bool alike = false;
  for (int i = 0; i < rank; i++) {
    const bool outside = i < w.first || i > w.last;
    sizes[i] = outside ? part.shape[i] : whole.shape[i];
    in[1 + batched[0] + i] = outside ? x[1 + i] : zero;
    alike |= sizes[i] != whole.shape[i];
  }
  if (alike || !any_start(of_start, rank)) {
    int64_t room[BDL_MAX_NDIM + 1];
    const bdl_param own_sizes = bdl_pints(sizes, rank);
    if (batched[0]) in[1] = zero;
    TRY(bdl_bind(b, e->prim, (bdl_param[]){batched[0] ? bdl_rule_with_lanes(&own_sizes, size, room) : own_sizes}, in,
                 rank + 1 + batched[0], &in[0]));
  }
  *z = in[0];
  if (!any_start(of_start, rank)) return BDL_OK;
  TRY(positions(b, &w, x + 1, of_start, size, &at));
  int64_t shape[BDL_MAX_NDIM + 1];
  const bdl_param axis = bdl_pint(w.first + batched[0]), of_part = bdl_pints(part.shape, rank);
  TRY(merged(b, in[0], (int)axis.i, w.last + 1 + batched[0], &in[0]));
  if (batched[0]) {
    TRY(lane_index(b, at, (int)axis.i, bdl_aval_of(b, in[0])->ndim, &at));
    TRY(bdl_bind(b, BDL_P_gather_along, &axis, (bdl_atom[]){in[0], at}, 2, z));
  } else {
    TRY(bdl_bind(b, BDL_P_gather, &axis, (bdl_atom[]){in[0], at}, 2, z));
    TRY(to_front(b, *z, (int)axis.i, z));
  }
  return bdl_bind(b, BDL_P_reshape, (bdl_param[]){bdl_rule_with_lanes(&of_part, size, shape)}, z, 1, z);
}

/* in: x, u, starts.  A start outside [first, last] is the same for all lanes only if its axis is taken whole; else it joins. */
BDL_BATCH(dynamic_update_slice) {
  const int rank = e->n_in - 2;
  const bool *of_start = batched + 2;
  bdl_atom in[BDL_MAX_NDIM + 3], at, lanes[2];
  (void)out_batched;
  const bdl_aval own = *bdl_aval_of(b, x[0]), update = *bdl_aval_of(b, x[1]);
  for (int k = 0; k < 2; k++) TRY(bdl_rule_lanes(b, x[k], batched[k], size, &lanes[k]));
  if (!any_start(of_start, rank)) {
    in[0] = lanes[0], in[1] = lanes[1];
    TRY(bdl_ir_scalar(b, BDL_I32, 0, &in[2]));
    for (int i = 0; i < rank; i++) in[3 + i] = x[2 + i];
    return bdl_bind(b, e->prim, NULL, in, rank + 3, z);
  }
  const bdl_aval whole = bdl_aval_make(own.dtype, rank, own.shape + batched[0]);
  const bdl_aval part = bdl_aval_make(own.dtype, rank, update.shape + batched[1]);
  bool differs[BDL_MAX_NDIM];
  for (int i = 0; i < rank; i++) differs[i] = of_start[i] || part.shape[i] != whole.shape[i];
  const window w = window_of(&whole, &part, differs);
  const int axis = w.first + 1;
  TRY(positions(b, &w, x + 2, of_start, size, &at));
  for (int k = 0; k < 2; k++) TRY(merged(b, lanes[k], axis, w.last + 2, &lanes[k]));
  TRY(lane_index(b, at, axis, bdl_aval_of(b, lanes[0])->ndim, &at));
  TRY(bdl_bind(b, BDL_P_scatter_along, (bdl_param[]){bdl_pint(axis), bdl_pstr("set")}, (bdl_atom[]){lanes[0], at, lanes[1]}, 3, z));
  int64_t shape[BDL_MAX_NDIM + 1];
  const bdl_param of_whole = bdl_pints(whole.shape, rank);
  return bdl_bind(b, BDL_P_reshape, (bdl_param[]){bdl_rule_with_lanes(&of_whole, size, shape)}, z, 1, z);
}

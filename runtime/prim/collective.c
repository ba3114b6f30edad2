/*
** collective.c -- values that go between the lanes of a mapped axis.
**
** A value is shared by all lanes or each lane's own; transposes lead back:
**
**     psum         own -> shared        to_lanes   shared -> own
**     all_gather   own -> shared        own_lane   shared -> own
**     from_lanes   own -> shared        to_lanes, of an equal part
**     ppermute     own -> own           the inverse one
**
** The parameter axis says which mapping.  0: over the processes that run the program together (device/world.h); another number
** is that of a mapping within one process, whose batching does away with it.  bdl_transform_batch writes BDL_LANES for the axis
** it goes over, so the rules see whether the lanes in front are those of the primitive or of some other mapping.
** Source: JAX's parallel operators; to_lanes and own_lane are pvary and an index, so that a gradient of the mapped function as a
** whole is right as well as one inside it.
*/
#include <string.h>

#include "prim/check.h"
#include "prim/rules.h"

static bool over_own_axis(const bdl_eqn *e) { return e->params[0].i == BDL_LANES; }

/* ---- type rules */

/* params: axis size */
bdl_status bdl_type_all_gather(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  if (p[1].i < 1) return bdl_fail(c, BDL_EVALUE, "size is %" PRId64 ", at least one lane is needed", p[1].i);
  TRY(bdl_check_ndim(c, in[0].ndim + 1));
  *out = (bdl_aval){.dtype = in[0].dtype, .ndim = in[0].ndim + 1, .shape = {p[1].i}};
  memcpy(out->shape + 1, in[0].shape, (size_t)in[0].ndim * sizeof *out->shape);
  return bdl_aval_check(c, out);
}

/* params: axis size */
bdl_status bdl_type_own_lane(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)n_in;
  if (in[0].ndim == 0 || in[0].shape[0] != p[1].i)
    return bdl_fail(c, BDL_ESHAPE, "%s has no first axis of %" PRId64 " lanes", BDL_TEXT(&in[0]), p[1].i);
  *out = bdl_aval_make(in[0].dtype, in[0].ndim - 1, in[0].shape + 1);
  return BDL_OK;
}

/* params: axis source */
bdl_status bdl_type_ppermute(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  const bdl_param *source = &p[1];
  (void)n_in;
  for (int k = 0; k < source->n; k++) {
    if (source->ints[k] < -1 || source->ints[k] >= source->n)
      return bdl_fail(c, BDL_EVALUE, "source %" PRId64 " is none of %d lanes", source->ints[k], source->n);
    for (int i = 0; source->ints[k] >= 0 && i < k; i++)
      if (source->ints[i] == source->ints[k])
        return bdl_fail(c, BDL_EVALUE, "lane %" PRId64 " is the source of two lanes", source->ints[k]);
  }
  *out = in[0];
  return BDL_OK;
}

/* ---- transposes */

/* The cotangent of what all lanes share is the sum over the lanes of theirs; so an own value's is the shared one. */
BDL_TRANSPOSE(psum) {
  (void)x, (void)is_linear;
  return bdl_bind(b, BDL_P_to_lanes, e->params, ct, 1, ct_in);
}

BDL_TRANSPOSE(to_lanes) {
  (void)x, (void)is_linear;
  return bdl_bind(b, BDL_P_psum, e->params, ct, 1, ct_in);
}

/* x / size, x a float */
static bdl_status part(bdl_prog *b, bdl_atom x, int64_t size, bdl_atom *z) {
  bdl_atom n;
  TRY(bdl_ir_scalar(b, bdl_aval_of(b, x)->dtype, (double)size, &n));
  return bdl_bind2(b, BDL_P_div, x, n, z);
}

/* params: axis size.  Each lane has an equal part in what they share. */
BDL_TRANSPOSE(from_lanes) {
  (void)x, (void)is_linear;
  TRY(part(b, ct[0], e->params[1].i, ct_in));
  return bdl_bind(b, BDL_P_to_lanes, e->params, ct_in, 1, ct_in);
}

BDL_TRANSPOSE(all_gather) {
  (void)x, (void)is_linear;
  return bdl_bind(b, BDL_P_own_lane, e->params, ct, 1, ct_in);
}

BDL_TRANSPOSE(own_lane) {
  (void)x, (void)is_linear;
  return bdl_bind(b, BDL_P_all_gather, e->params, ct, 1, ct_in);
}

/* params: axis source */
BDL_TRANSPOSE(ppermute) {
  const bdl_param *source = &e->params[1];
  int64_t *inverse = bdl_arena_alloc(&b->arena, ((size_t)source->n + 1) * sizeof *inverse);
  (void)x, (void)is_linear;
  if (!inverse) return BDL_ENOMEM;
  for (int k = 0; k < source->n; k++) inverse[k] = -1;
  for (int k = 0; k < source->n; k++)
    if (source->ints[k] >= 0) inverse[source->ints[k]] = k;
  return bdl_bind(b, BDL_P_ppermute, (bdl_param[]){e->params[0], bdl_pints(inverse, source->n)}, ct, 1, ct_in);
}

/* ---- batching: over the lanes of the primitive itself, or of another mapping */

static bdl_status exchange(bdl_prog *b, bdl_atom x, bdl_atom *z) {
  const int64_t axes[BDL_MAX_NDIM] = {1, 0, 2, 3, 4, 5, 6, 7};
  return bdl_rule_axes(b, BDL_P_permute, x, axes, bdl_aval_of(b, x)->ndim, z);
}

BDL_BATCH(psum) {
  const int64_t lanes = 0;
  bdl_atom n;
  if (!over_own_axis(e)) return bdl_bind(b, e->prim, e->params, x, 1, z);
  out_batched[0] = false;
  if (batched[0]) return bdl_rule_axes(b, BDL_P_reduce_sum, x[0], &lanes, 1, z);
  TRY(bdl_ir_scalar(b, bdl_aval_of(b, x[0])->dtype, (double)size, &n));
  return bdl_bind2(b, BDL_P_mul, x[0], n, z);
}

BDL_BATCH(to_lanes) {
  (void)size;
  out_batched[0] = batched[0];
  *z = x[0];
  return over_own_axis(e) ? BDL_OK : bdl_bind(b, e->prim, e->params, x, 1, z);
}

/* Over its own axis: any lane's. */
BDL_BATCH(from_lanes) {
  const bdl_aval a = *bdl_aval_of(b, x[0]);
  int64_t start[BDL_MAX_NDIM] = {0}, stop[BDL_MAX_NDIM], step[BDL_MAX_NDIM];
  (void)size;
  if (!over_own_axis(e)) return bdl_bind(b, e->prim, e->params, x, 1, z);
  out_batched[0] = false;
  *z = x[0];
  if (!batched[0]) return BDL_OK;
  for (int k = 0; k < a.ndim; k++) stop[k] = k == 0 ? 1 : a.shape[k], step[k] = 1;
  TRY(bdl_bind(b, BDL_P_slice, (bdl_param[]){bdl_pints(start, a.ndim), bdl_pints(stop, a.ndim), bdl_pints(step, a.ndim)}, x, 1, z));
  return bdl_ir_reshape(b, *z, a.ndim - 1, a.shape + 1, z);
}

BDL_BATCH(all_gather) {
  (void)out_batched;
  if (over_own_axis(e)) {
    out_batched[0] = false;
    return bdl_rule_lanes(b, x[0], batched[0], size, z);
  }
  TRY(bdl_bind(b, e->prim, e->params, x, 1, z));
  return exchange(b, *z, z);
}

/* Over its own axis the rows are the lanes.  Where the rows themselves have lanes, lane k takes row k of its own. */
BDL_BATCH(own_lane) {
  bdl_atom y = x[0], lane, row, zero;
  bdl_aval a = *bdl_aval_of(b, y);
  const int64_t rows = 1;
  (void)size, (void)out_batched;
  if (!over_own_axis(e)) {
    TRY(exchange(b, y, &y));
    return bdl_bind(b, e->prim, e->params, &y, 1, z);
  }
  *z = y;
  if (!batched[0]) return BDL_OK;
  const bdl_param shape = bdl_pints(a.shape, a.ndim), dtype = bdl_pdtype(BDL_I32);
  TRY(bdl_bind(b, BDL_P_iota, (bdl_param[]){shape, bdl_pint(0), dtype}, NULL, 0, &lane));
  TRY(bdl_bind(b, BDL_P_iota, (bdl_param[]){shape, bdl_pint(1), dtype}, NULL, 0, &row));
  TRY(bdl_bind2(b, BDL_P_eq, lane, row, &lane));
  TRY(bdl_ir_scalar(b, a.dtype, 0, &zero));
  TRY(bdl_bind3(b, BDL_P_select, lane, y, zero, &y));
  return bdl_rule_axes(b, a.dtype == BDL_BOOL ? BDL_P_reduce_or : BDL_P_reduce_sum, y, &rows, 1, z);
}

/* Rows in another order; lane -1 is a row of zeros behind them. */
static bdl_status permute_rows(bdl_prog *b, const bdl_param *source, bdl_atom x, bdl_atom *z) {
  bdl_device *cpu = bdl_device_cpu(b->ctx);
  bdl_aval a = *bdl_aval_of(b, x);
  const bdl_aval list = bdl_aval_make(BDL_I32, 1, (int64_t[]){source->n});
  bdl_tensor t;
  bdl_atom in[2] = {x};
  bool none = false;
  if (!cpu) return BDL_ENOMEM;
  TRY(bdl_tensor_new(cpu, &list, &t));
  int32_t *row = bdl_tensor_data(&t);
  for (int k = 0; k < source->n; k++) {
    none |= source->ints[k] < 0;
    row[k] = (int32_t)(source->ints[k] < 0 ? source->n : source->ints[k]);
  }
  bdl_status s = BDL_OK;
  if (none) {
    a.shape[0] = 1;
    s = bdl_ir_full(b, &a, 0, &in[1]);
    if (s == BDL_OK) s = bdl_bind(b, BDL_P_concatenate, (bdl_param[]){bdl_pint(0)}, in, 2, &in[0]);
  }
  if (s == BDL_OK) s = bdl_ir_const(b, &t, &in[1]);
  bdl_tensor_unref(&t);
  return s == BDL_OK ? bdl_bind(b, BDL_P_gather, (bdl_param[]){bdl_pint(0)}, in, 2, z) : s;
}

BDL_BATCH(ppermute) {
  bdl_atom y;
  (void)out_batched;
  if (!over_own_axis(e)) return bdl_bind(b, e->prim, e->params, x, 1, z);
  if (e->params[1].n != size)
    return bdl_fail(b->ctx, BDL_EVALUE, "ppermute: a permutation of %d lanes, the axis has %" PRId64, e->params[1].n, size);
  TRY(bdl_rule_lanes(b, x[0], batched[0], size, &y));
  return permute_rows(b, &e->params[1], y, z);
}

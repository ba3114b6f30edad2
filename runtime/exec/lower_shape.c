/*
** lower_shape.c -- adapters of joins, dynamic slices, gather, scatter and sort.
*/
#include <string.h>

#include "cpu/sort.h"
#include "exec/lower_util.h"

bdl_status bdl_lower_pad(const bdl_kcall *k) {
  const bdl_aval *x = &k->in_aval[0];
  bdl_k_pad(k->out[0], k->out_aval[0].shape, k->in[0], x->ndim, x->shape, k->in[1], k->params[0].ints, k->params[2].ints,
            bdl_dtype_size(x->dtype));
  return BDL_OK;
}

bdl_status bdl_lower_concatenate(const bdl_kcall *k) {
  const bdl_around z = bdl_axis_around(&k->out_aval[0], k->params[0].i);
  const size_t size = bdl_dtype_size(k->out_aval[0].dtype);
  char *to = k->out[0];
  for (int i = 0; i < k->n_in; i++) {
    const int64_t run = k->in_aval[i].shape[k->params[0].i] * z.inner;
    bdl_k_strided_move(to, (int64_t[]){z.n * z.inner, 1}, k->in[i], (int64_t[]){run, 1}, 2, (int64_t[]){z.outer, run}, size);
    to += run * (int64_t)size;
  }
  return BDL_OK;
}

/* Offset in elements of the part of whole that starts at starts, moved so that it fits. */
static int64_t clamped_offset(const bdl_aval *whole, const bdl_aval *part, const void *const *starts,
                              const int64_t *stride) {
  int64_t offset = 0;
  for (int i = 0; i < whole->ndim; i++) {
    int64_t at = *(const int32_t *)starts[i];
    offset += BDL_MAX(BDL_MIN(at, whole->shape[i] - part->shape[i]), 0) * stride[i];
  }
  return offset;
}

bdl_status bdl_lower_dynamic_slice(const bdl_kcall *k) {
  const bdl_aval *x = &k->in_aval[0], *z = &k->out_aval[0];
  const size_t size = bdl_dtype_size(x->dtype);
  int64_t stride[BDL_MAX_NDIM];
  bdl_k_row_major(x->ndim, x->shape, stride);
  const int64_t at = clamped_offset(x, z, k->in + 1, stride);
  bdl_k_strided_copy(k->out[0], (const char *)k->in[0] + (size_t)at * size, stride, z->ndim, z->shape, size);
  return BDL_OK;
}

bdl_status bdl_lower_dynamic_update_slice(const bdl_kcall *k) {
  const bdl_aval *x = &k->in_aval[0], *u = &k->in_aval[1];
  const size_t size = bdl_dtype_size(x->dtype);
  int64_t to[BDL_MAX_NDIM], from[BDL_MAX_NDIM];
  bdl_k_row_major(x->ndim, x->shape, to);
  bdl_k_row_major(u->ndim, u->shape, from);
  const int64_t at = clamped_offset(x, u, k->in + 2, to);
  bdl_k_strided_move((char *)k->out[0] + (size_t)at * size, to, k->in[1], from, u->ndim, u->shape, size);
  return BDL_OK;
}

/* How the outer axes of x walk over those of i, neighbours taken as one; an extent 1 of i repeats. */
static void outer_axes(const bdl_aval *x, const bdl_aval *i, int axis, bdl_k_indexing *g) {
  int64_t stride[BDL_MAX_NDIM];
  bdl_k_row_major(i->ndim, i->shape, stride);
  for (int k = 0; k < axis; k++) {
    const int64_t step = i->shape[k] == 1 ? 0 : stride[k], last = g->n_axes - 1;
    if (x->shape[k] == 1) continue;
    if (g->n_axes > 0 && g->step[last] == step * x->shape[k]) {
      g->extent[last] *= x->shape[k];
      g->step[last] = step;
    } else {
      g->extent[g->n_axes] = x->shape[k];
      g->step[g->n_axes++] = step;
    }
  }
}

/* Operands x and i of gather and scatter.  Errors: BDL_EINDEX. */
static bdl_status indexing(const bdl_kcall *k, const char *prim, bool along, bdl_k_indexing *g) {
  const bdl_aval *i = &k->in_aval[1];
  const int64_t axis = k->params[0].i, n = bdl_aval_numel(i);
  const bdl_around x = bdl_axis_around(&k->in_aval[0], axis);
  *g = (bdl_k_indexing){.index = k->in[1],
                        .wide = i->dtype == BDL_I64,
                        .each = along && x.inner > 1 && bdl_axis_around(i, axis).inner == x.inner,
                        .outer = x.outer,
                        .n = x.n,
                        .inner = x.inner,
                        .m = along ? i->shape[axis] : n};
  if (along) outer_axes(&k->in_aval[0], i, (int)axis, g);
  const int64_t bad = bdl_k_index_outside(g->index, g->wide, n, x.n);
  if (bad < 0) return BDL_OK;
  return bdl_fail(k->ctx, BDL_EINDEX,
                  "%s: index %" PRId64 " is out of range for axis %" PRId64 " with size %" PRId64 " (counted from 0)", prim,
                  bdl_k_index_at(g->index, g->wide, bad), axis + 1, x.n);
}

static bdl_status gather(const bdl_kcall *k, const char *prim, bool along) {
  bdl_k_indexing g;
  TRY(indexing(k, prim, along, &g));
  bdl_k_gather(k->out[0], k->in[0], &g, bdl_dtype_size(k->in_aval[0].dtype), bdl_lower_pool(k, g.outer * g.m * g.inner));
  return BDL_OK;
}

bdl_status bdl_lower_gather(const bdl_kcall *k) {
  return gather(k, "gather", false);
}
bdl_status bdl_lower_gather_along(const bdl_kcall *k) {
  return gather(k, "gather_along", true);
}

static bdl_status scatter(const bdl_kcall *k, const char *prim, bool along) {
  static const char *const names[] = {
      [BDL_SC_SET] = "set", [BDL_SC_ADD] = "add", [BDL_SC_MUL] = "mul", [BDL_SC_MIN] = "min", [BDL_SC_MAX] = "max"};
  bdl_k_indexing g;
  int op = 0;
  TRY(indexing(k, prim, along, &g));
  while (strcmp(k->params[1].s, names[op]) != 0) op++; /* the type rule knows the same names */
  bdl_k_scatter(k->out[0], k->in[2], &g, (bdl_scatter_op)op, k->in_aval[0].dtype,
                bdl_lower_pool(k, g.outer * g.m * g.inner));
  return BDL_OK;
}

bdl_status bdl_lower_scatter(const bdl_kcall *k) {
  return scatter(k, "scatter", false);
}
bdl_status bdl_lower_scatter_along(const bdl_kcall *k) {
  return scatter(k, "scatter_along", true);
}

/* Items of one lane, twice. */
static size_t items_for(int64_t n) {
  return 2 * (size_t)n * sizeof(bdl_sort_item);
}

size_t bdl_scratch_sort(const bdl_param *params, const bdl_aval *in, int n_in, const bdl_aval *out) {
  (void)n_in, (void)out;
  return items_for(in[0].shape[params[0].i]);
}

/* params: axis keys descending */
bdl_status bdl_lower_sort(const bdl_kcall *k) {
  const bdl_around a = bdl_axis_around(&k->in_aval[0], k->params[0].i);
  bdl_sort_item *items = k->scratch, *spare = items + a.n;
  for (int64_t lane = 0; a.n > 0 && lane < a.outer * a.inner; lane++) {
    const int64_t base = lane / a.inner * a.n * a.inner + lane % a.inner;
    bdl_k_sort_start(items, a.n);
    for (int64_t key = k->params[1].i - 1; key >= 0; key--) {
      const bdl_dtype d = k->in_aval[key].dtype;
      const char *x = (const char *)k->in[key] + base * (int64_t)bdl_dtype_size(d);
      bdl_k_sort_by(items, spare, a.n, x, a.inner, d, k->params[2].i != 0);
    }
    for (int i = 0; i < k->n_in; i++)
      bdl_k_sort_apply(k->out[i], k->in[i], items, a.n, base, a.inner, bdl_dtype_size(k->in_aval[i].dtype));
  }
  return BDL_OK;
}

size_t bdl_scratch_top_k(const bdl_param *params, const bdl_aval *in, int n_in, const bdl_aval *out) {
  (void)params, (void)n_in, (void)out;
  return items_for(in[0].shape[in[0].ndim - 1]);
}

/* params: k */
bdl_status bdl_lower_top_k(const bdl_kcall *k) {
  const bdl_aval *x = &k->in_aval[0];
  const int64_t n = x->shape[x->ndim - 1], top = k->params[0].i, lanes = n ? bdl_aval_numel(x) / n : 0;
  const int64_t size = (int64_t)bdl_dtype_size(x->dtype);
  bdl_sort_item *items = k->scratch;
  for (int64_t l = 0; l < lanes; l++)
    bdl_k_top_k((char *)k->out[0] + l * top * size, (int32_t *)k->out[1] + l * top, (const char *)k->in[0] + l * n * size,
                n, top, x->dtype, items, items + n);
  return BDL_OK;
}

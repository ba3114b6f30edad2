/*
** view.c -- strided views: what reshape, broadcast, permute, slice and reverse do to strides.
*/
#include <string.h>

#include "exec/lower.h"
#include "plan/view.h"

static void row_major(const bdl_aval *a, int64_t stride[BDL_MAX_NDIM]) {
  int64_t s = 1;
  for (int k = a->ndim - 1; k >= 0; k--) {
    stride[k] = s;
    s *= a->shape[k];
  }
}

/* From axis `first` on. */
static bool is_row_major(const bdl_aval *a, const int64_t *stride, int first) {
  int64_t s = 1;
  for (int k = a->ndim - 1; k >= first; k--) {
    if (a->shape[k] != 1 && stride[k] != s) return bdl_aval_numel(a) == 0;
    s *= a->shape[k];
  }
  return true;
}

bool bdl_view_has_rows(const bdl_view *v, const bdl_aval *a) { return is_row_major(a, v->stride, 1); }

static void classify(const bdl_prog *p, const bdl_aval *a, bdl_view *v) {
  v->contiguous = is_row_major(a, v->stride, 0);
  v->whole = v->contiguous && v->row < 0 && v->offset == 0 && bdl_aval_numel(a) == bdl_aval_numel(bdl_aval_of(p, v->base));
}

bdl_view bdl_view_self(const bdl_prog *p, bdl_atom x) {
  bdl_view v = {.base = x, .row = -1, .contiguous = true, .whole = true};
  row_major(bdl_aval_of(p, x), v.stride);
  return v;
}

bool bdl_view_of_eqn(const bdl_prog *p, const bdl_eqn *e, const bdl_view *x, bdl_view *v) {
  bdl_lower_kind kind = bdl_lowering_of(e->prim)->kind;
  if (kind != BDL_LOWER_STRIDED && kind != BDL_LOWER_VIEW) return false;
  const bdl_aval *in = bdl_aval_of(p, e->in[0]), *out = bdl_aval_of(p, e->out[0]);
  *v = *x;
  switch (e->prim) {
    case BDL_P_barrier:
    case BDL_P_to_lanes:
    case BDL_P_from_lanes: break;
    case BDL_P_reshape:
      if (!x->contiguous) return false;
      row_major(out, v->stride);
      break;
    case BDL_P_broadcast:
      memset(v->stride, 0, sizeof v->stride);
      for (int k = 0; k < in->ndim; k++) {
        int64_t d = e->params[1].ints[k];
        v->stride[d] = in->shape[k] == out->shape[d] ? x->stride[k] : 0;
      }
      break;
    case BDL_P_permute:
      for (int k = 0; k < out->ndim; k++) v->stride[k] = x->stride[e->params[0].ints[k]];
      break;
    case BDL_P_slice:
      for (int k = 0; k < out->ndim; k++) {
        v->offset += e->params[0].ints[k] * x->stride[k];
        v->stride[k] = x->stride[k] * e->params[2].ints[k];
      }
      if (bdl_aval_numel(out) == 0) v->offset = 0;
      break;
    case BDL_P_reverse:
      for (int i = 0; i < e->params[0].n; i++) {
        int64_t k = e->params[0].ints[i];
        if (in->shape[k] > 0) v->offset += (in->shape[k] - 1) * x->stride[k];
        v->stride[k] = -x->stride[k];
      }
      break;
    default: return false;
  }
  classify(p, out, v);
  return true;
}

bool bdl_view_rows(const bdl_prog *p, const bdl_eqn *e, const bdl_view *x, bdl_view *v) {
  const bool update = e->prim == BDL_P_dynamic_update_slice;
  const bdl_aval *a = bdl_aval_of(p, e->in[0]), *part = bdl_aval_of(p, update ? e->in[1] : e->out[0]);
  int axis = 0;
  while (axis < a->ndim && a->shape[axis] == 1) axis++;
  if (axis == a->ndim || !x->contiguous || x->row >= 0 || bdl_aval_numel(part) <= 1) return false;
  for (int k = axis + 1; k < a->ndim; k++)
    if (a->shape[k] != part->shape[k]) return false;
  *v = *x;
  v->row = e->in[(update ? 2 : 1) + axis];
  v->last = a->shape[axis] - part->shape[axis];
  v->step = x->stride[axis];
  row_major(part, v->stride);
  v->contiguous = true;
  v->whole = false;
  return true;
}

void bdl_view_over(const bdl_view *x, const bdl_aval *a, const bdl_aval *d, int64_t stride[BDL_MAX_NDIM]) {
  int lead = d->ndim - a->ndim;
  for (int k = 0; k < d->ndim; k++) stride[k] = k < lead || a->shape[k - lead] == 1 ? 0 : x->stride[k - lead];
}

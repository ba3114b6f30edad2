/*
** check.h -- what the rules of several families share: checks of type rules, heads and operations of derivative rules.
** bdl_prim_type puts the primitive's name before the messages.
*/
#ifndef BDL_CHECK_H
#define BDL_CHECK_H

#include <inttypes.h>

#include "prim/prim.h"

/* Text of an aval in a message: valid until the end of the full expression. */
#define BDL_TEXT(a) bdl_aval_text((a), false, (char[BDL_AVAL_TEXT]){0})

/* Results come from the extents of operands and parameters: none may be larger than this, so sums never overflow. */
#define BDL_MAX_EXTENT ((int64_t)1 << 46)

/* Errors: BDL_EVALUE axis is not one of x's. */
static inline bdl_status bdl_check_axis(bdl_context *c, int64_t axis, const bdl_aval *x) {
  if (axis >= 0 && axis < x->ndim) return BDL_OK;
  return bdl_fail(c, BDL_EVALUE, "axis %" PRId64 " is not an axis of %s", axis, BDL_TEXT(x));
}

/* Sets used[axis] for a list of axes.  Errors: BDL_EVALUE out of range, or used already. */
static inline bdl_status bdl_check_axes(bdl_context *c, const bdl_param *axes, const bdl_aval *x, bool used[BDL_MAX_NDIM]) {
  for (int i = 0; i < axes->n; i++) {
    TRY(bdl_check_axis(c, axes->ints[i], x));
    if (used[axes->ints[i]])
      return bdl_fail(c, BDL_EVALUE, "axis %" PRId64 " of %s is named twice", axes->ints[i], BDL_TEXT(x));
    used[axes->ints[i]] = true;
  }
  return BDL_OK;
}

/* Errors: BDL_EVALUE a list parameter has not one entry an axis. */
static inline bdl_status bdl_check_length(bdl_context *c, const char *name, const bdl_param *p, int n) {
  if (p->n == n) return BDL_OK;
  return bdl_fail(c, BDL_EVALUE, "%s has %d entries where %d are needed", name, p->n, n);
}

/* Errors: BDL_EVALUE more axes than a tensor can have. */
static inline bdl_status bdl_check_ndim(bdl_context *c, int64_t ndim) {
  if (ndim <= BDL_MAX_NDIM) return BDL_OK;
  return bdl_fail(c, BDL_EVALUE, "%" PRId64 " axes, at most %d are possible", ndim, BDL_MAX_NDIM);
}

/* The aval of a `shape` parameter.  Errors: BDL_EVALUE too many axes, negative or too large extents. */
static inline bdl_status bdl_check_shape(bdl_context *c, const bdl_param *shape, bdl_dtype d, bdl_aval *out) {
  TRY(bdl_check_ndim(c, shape->n));
  *out = bdl_aval_make(d, shape->n, shape->ints);
  return bdl_aval_check(c, out);
}

/* Errors: BDL_ETYPE x is not a scalar of dtype d. */
static inline bdl_status bdl_check_scalar(bdl_context *c, const char *what, const bdl_aval *x, bdl_dtype d) {
  if (x->ndim == 0 && x->dtype == d) return BDL_OK;
  return bdl_fail(c, BDL_ETYPE, "%s is %s, not %s[]", what, BDL_TEXT(x), bdl_dtype_name(d));
}

/* Errors: BDL_ETYPE the dtypes of two operands differ. */
static inline bdl_status bdl_check_same_dtype(bdl_context *c, const bdl_aval *x, const bdl_aval *y) {
  if (x->dtype == y->dtype) return BDL_OK;
  return bdl_fail(c, BDL_ETYPE, "dtypes of %s and %s differ", BDL_TEXT(x), BDL_TEXT(y));
}

/* x without the axes marked in `drop`. */
static inline bdl_aval bdl_aval_drop(const bdl_aval *x, const bool drop[BDL_MAX_NDIM]) {
  bdl_aval z = {.dtype = x->dtype};
  for (int i = 0; i < x->ndim; i++)
    if (!drop[i]) z.shape[z.ndim++] = x->shape[i];
  return z;
}

/* ---- rules of transformations */

#define BDL_JVP(name) \
  bdl_status bdl_jvp_##name(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, const bdl_atom *dx, const bdl_atom *z, \
                            bdl_atom *dz)
#define BDL_TRANSPOSE(name) \
  bdl_status bdl_transpose_##name(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, const bool *is_linear, \
                                  const bdl_atom *ct, bdl_atom *ct_in)

#define BDL_BATCH(name) \
  bdl_status bdl_batch_##name(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, const bool *batched, int64_t size, \
                              bdl_atom *z, bool *out_batched)

/* d, or zeros of x's type where there is no tangent. */
static inline bdl_status bdl_rule_or_zeros(bdl_prog *b, bdl_atom d, bdl_atom x, bdl_atom *z) {
  const bdl_aval a = *bdl_aval_of(b, x);
  *z = d;
  return bdl_is_zero(d) ? bdl_ir_full(b, &a, 0, z) : BDL_OK;
}

/* Axes of a type in the type with lanes; room: as many. */
static inline bdl_param bdl_rule_behind_lanes(const bdl_param *axes, int64_t *room) {
  for (int i = 0; i < axes->n; i++) room[i] = axes->ints[i] + 1;
  return bdl_pints(room, axes->n);
}

/* A list with one entry an axis, and `first` for the axis of lanes. */
static inline bdl_param bdl_rule_with_lanes(const bdl_param *list, int64_t first, int64_t room[BDL_MAX_NDIM + 1]) {
  room[0] = first;
  for (int i = 0; i < list->n; i++) room[i + 1] = list->ints[i];
  return bdl_pints(room, list->n + 1);
}

/* Axes [from, from + 2) as one. */
static inline bdl_status bdl_rule_join(bdl_prog *b, bdl_atom x, int from, bdl_atom *z) {
  bdl_aval a = *bdl_aval_of(b, x);
  a.shape[from] *= a.shape[from + 1];
  for (int i = from + 1; i < a.ndim - 1; i++) a.shape[i] = a.shape[i + 1];
  return bdl_ir_reshape(b, x, a.ndim - 1, a.shape, z);
}

/* The axis `at` as two. */
static inline bdl_status bdl_rule_split(bdl_prog *b, bdl_atom x, int at, int64_t outer, int64_t inner, bdl_atom *z) {
  const bdl_aval a = *bdl_aval_of(b, x);
  int64_t shape[BDL_MAX_NDIM + 1];
  for (int i = 0; i <= a.ndim; i++) shape[i] = i < at ? a.shape[i] : i == at ? outer : i == at + 1 ? inner : a.shape[i - 1];
  return bdl_ir_reshape(b, x, a.ndim + 1, shape, z);
}

/* One result of a primitive with one list of axes, or with one integer. */
static inline bdl_status bdl_rule_axes(bdl_prog *b, bdl_prim_id prim, bdl_atom x, const int64_t *axes, int n, bdl_atom *z) {
  return bdl_bind(b, prim, (bdl_param[]){bdl_pints(axes, n)}, &x, 1, z);
}

#endif

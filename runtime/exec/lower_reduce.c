/*
** lower_reduce.c -- adapters of reductions along some axes, arg-reductions and running reductions.
*/
#include <string.h>

#include "cpu/array.h"
#include "exec/lower_util.h"

/* Extents of runs of axes, alternately kept and reduced, the first kept (perhaps 1). */
typedef struct runs {
  int n;
  int64_t extent[BDL_MAX_NDIM + 1];
} runs;

static runs runs_of(const bdl_aval *x, const bdl_param *axes) {
  bool reduced[BDL_MAX_NDIM] = {false};
  runs r = {1, {1}};
  for (int i = 0; i < axes->n; i++) reduced[axes->ints[i]] = true;
  for (int i = 0; i < x->ndim; i++) {
    if ((r.n - 1) % 2 != reduced[i]) r.extent[r.n++] = 1;
    r.extent[r.n - 1] *= x->shape[i];
  }
  return r;
}

/* Take the last reduced run away: [outer, n, inner] -> [outer, inner]. */
static bdl_around take_run(runs *r) {
  const int at = r->n % 2 ? r->n - 2 : r->n - 1; /* the last odd position */
  bdl_around a = {1, r->extent[at], 1};
  for (int i = 0; i < at; i++) a.outer *= r->extent[i];
  if (at + 1 < r->n) a.inner = r->extent[at + 1];
  r->extent[at - 1] *= a.inner;
  r->n = at;
  return a;
}

/* Two buffers: one for the first intermediate result, one for the next, which is smaller. */
size_t bdl_scratch_reduce_sum(const bdl_param *params, const bdl_aval *in, int n_in, const bdl_aval *out) {
  runs r = runs_of(&in[0], &params[0]);
  (void)n_in, (void)out;
  if (r.n < 4) return 0;
  bdl_around a = take_run(&r);
  return 2 * bdl_lower_align((size_t)(a.outer * a.inner) * bdl_dtype_size(in[0].dtype));
}

static bdl_status reduce(const bdl_kcall *k, bdl_reduce_op op) {
  const bdl_aval *x = &k->in_aval[0];
  runs r = runs_of(x, &k->params[0]);
  bdl_pool *pool = bdl_lower_pool(k, bdl_aval_numel(x));
  const void *from = k->in[0];
  size_t half = 0;
  if (r.n < 2) {
    memcpy(k->out[0], from, bdl_aval_bytes(x));
    return BDL_OK;
  }
  for (int step = 0; r.n >= 2; step++) {
    bdl_around a = take_run(&r);
    if (step == 0) half = bdl_lower_align((size_t)(a.outer * a.inner) * bdl_dtype_size(x->dtype));
    void *to = r.n < 2 ? k->out[0] : (char *)k->scratch + (step % 2 ? half : 0);
    bdl_k_reduce_axis(to, from, a.outer, a.n, a.inner, op, x->dtype, k->k, pool);
    from = to;
  }
  return BDL_OK;
}

bdl_status bdl_lower_reduce_sum(const bdl_kcall *k) {
  return reduce(k, BDL_RED_SUM);
}
bdl_status bdl_lower_reduce_prod(const bdl_kcall *k) {
  return reduce(k, BDL_RED_PROD);
}
bdl_status bdl_lower_reduce_max(const bdl_kcall *k) {
  return reduce(k, BDL_RED_MAX);
}
bdl_status bdl_lower_reduce_min(const bdl_kcall *k) {
  return reduce(k, BDL_RED_MIN);
}
bdl_status bdl_lower_reduce_and(const bdl_kcall *k) {
  return reduce(k, BDL_RED_AND);
}
bdl_status bdl_lower_reduce_or(const bdl_kcall *k) {
  return reduce(k, BDL_RED_OR);
}

static bdl_status arg_reduce(const bdl_kcall *k, bool largest) {
  bdl_around a = bdl_axis_around(&k->in_aval[0], k->params[0].i);
  bdl_k_arg_reduce(k->out[0], k->in[0], a.outer, a.n, a.inner, largest, k->in_aval[0].dtype,
                   bdl_lower_pool(k, a.outer * a.n * a.inner));
  return BDL_OK;
}

bdl_status bdl_lower_argmax(const bdl_kcall *k) {
  return arg_reduce(k, true);
}
bdl_status bdl_lower_argmin(const bdl_kcall *k) {
  return arg_reduce(k, false);
}

static bdl_status cumulate(const bdl_kcall *k, bdl_reduce_op op) {
  bdl_around a = bdl_axis_around(&k->in_aval[0], k->params[0].i);
  bdl_k_cumulate(k->out[0], k->in[0], a.outer, a.n, a.inner, op, k->params[1].i != 0, k->in_aval[0].dtype,
                 bdl_lower_pool(k, a.outer * a.n * a.inner));
  return BDL_OK;
}

bdl_status bdl_lower_cumsum(const bdl_kcall *k) {
  return cumulate(k, BDL_RED_SUM);
}
bdl_status bdl_lower_cumprod(const bdl_kcall *k) {
  return cumulate(k, BDL_RED_PROD);
}
bdl_status bdl_lower_cummax(const bdl_kcall *k) {
  return cumulate(k, BDL_RED_MAX);
}
bdl_status bdl_lower_cummin(const bdl_kcall *k) {
  return cumulate(k, BDL_RED_MIN);
}

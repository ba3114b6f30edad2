/*
** reach.c -- one rule a primitive: which elements of its operands an element of its result has a derivative by.
*/
#include "online/reach.h"

#include <string.h>

#include "prim/rules.h"
#include "transform/linear.h"

/* ---- an equation */

typedef struct rule {
  bdl_reach *r;
  const bdl_prog *p;
  const bdl_eqn *e;
  const bdl_reached *in;
  bdl_reached *out;
} rule;

static const bdl_aval *type_in(const rule *w, int k) { return bdl_aval_of(w->p, w->e->in[k]); }
static const bdl_aval *type_out(const rule *w, int k) { return bdl_aval_of(w->p, w->e->out[k]); }

static int32_t *sets(bdl_reach *r, const bdl_aval *a) {
  int32_t *s;
  return BDL_ARRAY(&r->a, s, bdl_aval_numel(a)) ? s : (r->status = BDL_ENOMEM, NULL);
}

static void strides_of(const bdl_aval *a, int64_t *stride) {
  int64_t n = 1;
  for (int k = a->ndim - 1; k >= 0; n *= a->shape[k--]) stride[k] = n;
}

/* Offset of the element i, counted over these extents. */
static int64_t offset(int64_t i, int n, const int64_t *extent, const int64_t *stride) {
  int64_t at = 0;
  for (int k = n - 1; k >= 0; i /= extent[k--]) at += i % extent[k] * stride[k];
  return at;
}

/* Element i of the result takes what element base + i . stride of the operand has. */
static void view(const rule *w, int k, int64_t base, const int64_t *stride) {
  const bdl_aval *z = type_out(w, 0);
  for (int64_t i = 0, n = bdl_aval_numel(z); i < n && w->r->status == BDL_OK; i++) {
    int32_t *s = &w->out[0].set[i];
    *s = bdl_reach_join(w->r, *s, w->in[k].set[base + offset(i, z->ndim, z->shape, stride)]);
  }
}

static void elementwise(const rule *w) {
  const bdl_aval *z = type_out(w, 0);
  for (int k = 0; k < w->e->n_in; k++) {
    const bdl_aval *x = type_in(w, k);
    int64_t own[BDL_MAX_NDIM], stride[BDL_MAX_NDIM] = {0};
    if (!w->in[k].set) continue;
    strides_of(x, own);
    for (int i = 0; i < x->ndim; i++)
      if (x->shape[i] > 1) stride[z->ndim - x->ndim + i] = own[i];
    view(w, k, 0, stride);
  }
}

static void movement(const rule *w) {
  const bdl_param *p = w->e->params;
  const bdl_aval *x = type_in(w, 0);
  int64_t own[BDL_MAX_NDIM], stride[BDL_MAX_NDIM] = {0}, base = 0;
  strides_of(x, own);
  switch (w->e->prim) {
    case BDL_P_broadcast:
      for (int k = 0; k < x->ndim; k++) stride[p[1].ints[k]] = x->shape[k] > 1 ? own[k] : 0;
      break;
    case BDL_P_permute:
      for (int k = 0; k < x->ndim; k++) stride[k] = own[p[0].ints[k]];
      break;
    case BDL_P_slice:
      for (int k = 0; k < x->ndim; k++) {
        base += p[0].ints[k] * own[k];
        stride[k] = p[2].ints[k] * own[k];
      }
      break;
    default: /* reverse */
      memcpy(stride, own, sizeof own);
      for (int k = 0; k < p[0].n; k++) {
        const int64_t axis = p[0].ints[k];
        base += (x->shape[axis] - 1) * own[axis];
        stride[axis] = -own[axis];
      }
  }
  view(w, 0, base, stride);
}

static void concatenate(const rule *w) {
  const bdl_aval *z = type_out(w, 0);
  const int64_t axis = w->e->params[0].i;
  int64_t inner = 1, first = 0;
  for (int64_t k = axis + 1; k < z->ndim; k++) inner *= z->shape[k];
  for (int k = 0; k < w->e->n_in; k++) {
    const int64_t run = type_in(w, k)->shape[axis] * inner, whole = z->shape[axis] * inner;
    const int64_t n = w->in[k].set ? bdl_aval_numel(type_in(w, k)) : 0;
    for (int64_t i = 0; i < n; i++) w->out[0].set[i / run * whole + first + i % run] = w->in[k].set[i];
    first += run;
  }
}

static void pad(const rule *w) {
  const bdl_param *p = w->e->params;
  const bdl_aval *x = type_in(w, 0), *z = type_out(w, 0);
  int64_t stride[BDL_MAX_NDIM];
  strides_of(z, stride);
  for (int64_t i = 0, n = bdl_aval_numel(z); w->in[1].set && i < n; i++) w->out[0].set[i] = w->in[1].set[0];
  for (int64_t i = 0, n = bdl_aval_numel(x); i < n; i++) {
    int64_t at = 0, rest = i;
    for (int k = x->ndim - 1; k >= 0 && at >= 0; rest /= x->shape[k--]) {
      const int64_t to = p[0].ints[k] + rest % x->shape[k] * (p[2].ints[k] + 1);
      at = to < 0 || to >= z->shape[k] ? -1 : at + to * stride[k];
    }
    if (at >= 0) w->out[0].set[at] = w->in[0].set ? w->in[0].set[i] : 0;
  }
}

/* What the elements along all axes but the kept ones have together, in the order of the kept. */
static int32_t *reduced(const rule *w, int operand, const int64_t *kept, int n_kept) {
  const bdl_aval *x = type_in(w, operand);
  int64_t own[BDL_MAX_NDIM], extent[2][BDL_MAX_NDIM], stride[2][BDL_MAX_NDIM], count[2] = {1, 1};
  int n[2] = {0, 0};
  strides_of(x, own);
  for (int pass = 0; pass < 2; pass++)
    for (int k = 0; k < (pass == 0 ? n_kept : x->ndim); k++) {
      const int64_t axis = pass == 0 ? kept[k] : k;
      bool again = false;
      for (int i = 0; pass == 1 && i < n_kept; i++) again |= kept[i] == k;
      if (again) continue;
      extent[pass][n[pass]] = x->shape[axis];
      stride[pass][n[pass]++] = own[axis];
      count[pass] *= x->shape[axis];
    }
  int32_t *s;
  if (!BDL_ARRAY(&w->r->a, s, count[0])) return w->r->status = BDL_ENOMEM, NULL;
  for (int64_t i = 0; w->in[operand].set && i < count[0]; i++) {
    const int64_t base = offset(i, n[0], extent[0], stride[0]);
    int32_t last = 0;
    bdl_reach_clear(w->r);
    for (int64_t j = 0; j < count[1]; j++) {
      const int32_t one = w->in[operand].set[base + offset(j, n[1], extent[1], stride[1])];
      if (one != last) bdl_reach_include(w->r, last = one);
    }
    s[i] = bdl_reach_number(w->r);
  }
  return s;
}

static void reduction(const rule *w) {
  int64_t kept[BDL_MAX_NDIM];
  int n = 0;
  for (int k = 0; k < type_in(w, 0)->ndim; k++) {
    bool gone = false;
    for (int i = 0; i < w->e->params[0].n; i++) gone |= w->e->params[0].ints[i] == k;
    if (!gone) kept[n++] = k;
  }
  w->out[0].set = reduced(w, 0, kept, n);
}

/* Result axes: batch, rest of lhs, rest of rhs. */
static void dot(const rule *w) {
  const bdl_param *p = w->e->params;
  int32_t *side[2];
  int64_t batch = 1, rest[2] = {1, 1};
  for (int s = 0; s < 2; s++) {
    const bdl_aval *x = type_in(w, s);
    int64_t kept[BDL_MAX_NDIM];
    int n = 0;
    for (; n < p[2 + s].n; n++) kept[n] = p[2 + s].ints[n];
    for (int k = 0; k < x->ndim; k++) {
      bool gone = false;
      for (int i = 0; i < p[s].n; i++) gone |= p[s].ints[i] == k;
      for (int i = 0; i < p[2 + s].n; i++) gone |= p[2 + s].ints[i] == k;
      if (gone) continue;
      kept[n++] = k;
      rest[s] *= x->shape[k];
    }
    if (!(side[s] = reduced(w, s, kept, n))) return;
  }
  for (int i = 0; i < p[2].n; i++) batch *= type_in(w, 0)->shape[p[2].ints[i]];
  for (int64_t i = 0, n = batch * rest[0] * rest[1]; i < n; i++)
    w->out[0].set[i] =
      bdl_reach_join(w->r, side[0][i / rest[1]], side[1][i / (rest[0] * rest[1]) * rest[1] + i % rest[1]]);
}

/* x [n, space.., c_in], filter [k.., c_in/groups, c_out] */
static void conv(const rule *w) {
  const bdl_param *p = w->e->params;
  const bdl_aval *x = type_in(w, 0), *f = type_in(w, 1), *z = type_out(w, 0);
  const int nd = x->ndim - 2;
  const int64_t channels = f->shape[nd], per_group = z->shape[nd + 1] / p[5].i;
  int64_t own[BDL_MAX_NDIM], taps = 1;
  strides_of(x, own);
  for (int k = 0; k < nd; k++) taps *= f->shape[k];
  for (int64_t i = 0, n = bdl_aval_numel(z); i < n && w->r->status == BDL_OK; i++) {
    const int64_t group = i % z->shape[nd + 1] / per_group;
    bdl_reach_clear(w->r);
    for (int64_t j = 0; j < taps; j++) {
      int64_t at = 0, tap = j, rest = i / z->shape[nd + 1];
      bool inside = true;
      for (int k = nd - 1; k >= 0; tap /= f->shape[k], rest /= z->shape[k + 1], k--) {
        const int64_t from = rest % z->shape[k + 1] * p[0].ints[k] - p[1].ints[k] + tap % f->shape[k] * p[4].ints[k];
        inside &= from >= 0 && from % p[3].ints[k] == 0 && from / p[3].ints[k] < x->shape[k + 1];
        at += from / p[3].ints[k] * own[k + 1];
      }
      at += rest * own[0] + group * channels;
      for (int64_t c = 0; inside && c < channels; c++) bdl_reach_include(w->r, w->in[0].set[at + c]);
    }
    w->out[0].set[i] = bdl_reach_number(w->r);
  }
}

/* v, data, indices, indptr; indptr [2] = {0, k}: k entries a row */
static void csr_dot(const rule *w) {
  const bdl_param *p = w->e->params;
  const bdl_tensor *indices = w->in[2].value, *indptr = w->in[3].value;
  const int64_t rows = p[0].i, cols = p[1].i, batch = type_in(w, 0)->ndim == 2 ? type_in(w, 0)->shape[0] : 1;
  const int64_t nnz = indices->aval.shape[0];
  const bool each = indptr->aval.shape[0] == 2 && rows != 1;
  const bool i64[2] = {indices->aval.dtype == BDL_I64, indptr->aval.dtype == BDL_I64};
  for (int64_t b = 0; b < batch; b++)
    for (int64_t i = 0; i < rows; i++) {
      int64_t range[2];
      for (int k = 0; k < 2; k++) {
        const bdl_scalar v = bdl_tensor_at(indptr, each ? 1 : i + k);
        range[k] = (i64[1] ? v.i64 : v.i32) * (each ? i + k : 1);
      }
      for (int64_t n = BDL_MAX(range[0], 0); n < BDL_MIN(range[1], nnz) && w->r->status == BDL_OK; n++) {
        const bdl_scalar v = bdl_tensor_at(indices, n);
        const int64_t j = i64[0] ? v.i64 : v.i32;
        if (j < 0 || j >= cols) continue; /* an IndexError when it runs */
        int32_t *to = &w->out[0].set[p[2].i ? b * rows + i : b * cols + j];
        *to = bdl_reach_join(w->r, *to, w->in[0].set[p[2].i ? b * cols + j : b * rows + i]);
      }
    }
}

/* Every float result by all elements of all operands. */
static void mixture(const rule *w) {
  bdl_reach_clear(w->r);
  for (int k = 0; k < w->e->n_in; k++)
    for (int64_t i = 0, n = w->in[k].set ? bdl_aval_numel(type_in(w, k)) : 0; i < n; i++)
      if (i == 0 || w->in[k].set[i] != w->in[k].set[i - 1]) bdl_reach_include(w->r, w->in[k].set[i]);
  const int32_t all = bdl_reach_number(w->r);
  for (int k = 0; k < w->e->n_out; k++) {
    if (!bdl_dtype_is_float(type_out(w, k)->dtype)) continue;
    if (!w->out[k].set && !(w->out[k].set = sets(w->r, type_out(w, k)))) continue;
    for (int64_t i = 0, n = bdl_aval_numel(type_out(w, k)); i < n; i++) w->out[k].set[i] = all;
  }
}

/* ---- equations with bodies */

static void merge(bdl_reach *r, const bdl_aval *a, const int32_t *from, int32_t **to, bool *grew) {
  if (!from || (!*to && !(*to = sets(r, a)))) return;
  for (int64_t i = 0, n = bdl_aval_numel(a); i < n; i++) {
    const int32_t both = bdl_reach_join(r, (*to)[i], from[i]);
    *grew |= both != (*to)[i];
    (*to)[i] = both;
  }
}

/* Rounds until what is carried stays: a round never takes away.  Rows of sequences count as one. */
static bdl_status loop(const rule *w, const bdl_prog *body, int64_t first, int64_t consts, int64_t carry) {
  const int64_t n_in = body->inputs.n;
  bdl_reached *in, *out;
  if (!BDL_ARRAY(&w->r->a, in, n_in) || !BDL_ARRAY(&w->r->a, out, body->n_outputs)) return BDL_ENOMEM;
  for (int64_t k = 0; k < n_in; k++) {
    const bdl_reached *x = &w->in[first + k];
    const bdl_aval *row = bdl_aval_of(body, body->inputs.v[k]);
    const int64_t size = bdl_aval_numel(row);
    bool grew = false;
    if (k < consts) in[k] = *x;
    if (k < consts || !x->set) continue;
    for (int64_t i = 0, n = bdl_aval_numel(type_in(w, (int)(first + k))); i < n; i += size)
      merge(w->r, row, x->set + i, &in[k].set, &grew);
  }
  for (bool grew = true; grew && w->r->status == BDL_OK;) {
    grew = false;
    TRY(bdl_reach_run(w->r, body, in, out));
    for (int64_t k = 0; k < carry; k++)
      merge(w->r, bdl_aval_of(body, body->outputs[k]), out[k].set, &in[consts + k].set, &grew);
  }
  for (int k = 0; k < w->e->n_out; k++) {
    const int32_t *s = k < carry ? in[consts + k].set : out[k].set;
    const int64_t n = bdl_aval_numel(type_out(w, k)), size = bdl_aval_numel(bdl_aval_of(body, body->outputs[k]));
    if (!s || !(w->out[k].set = sets(w->r, type_out(w, k)))) continue;
    for (int64_t i = 0; i < n; i++) w->out[k].set[i] = s[i % size];
  }
  return w->r->status;
}

/* rule(x.., tangents of the float x) -> tangents of the float results: by the tangents alone. */
static bdl_status custom_jvp(const rule *w) {
  const bdl_prog *f = w->e->params[0].progs[1];
  bdl_reached *in, *out;
  int64_t n = w->e->n_in;
  int at = 0;
  if (!BDL_ARRAY(&w->r->a, in, f->inputs.n) || !BDL_ARRAY(&w->r->a, out, f->n_outputs)) return BDL_ENOMEM;
  for (int k = 0; k < w->e->n_in; k++) {
    in[k].value = w->in[k].value;
    if (bdl_dtype_is_float(type_in(w, k)->dtype)) in[n++].set = w->in[k].set;
  }
  TRY(bdl_reach_run(w->r, f, in, out));
  for (int k = 0; k < w->e->n_out; k++)
    if (bdl_dtype_is_float(type_out(w, k)->dtype)) w->out[k].set = out[at++].set;
  return BDL_OK;
}

static bdl_status control(const rule *w) {
  const bdl_param *p = w->e->params;
  bool grew = false;
  switch (w->e->prim) {
    case BDL_P_call:
    case BDL_P_checkpoint:
    case BDL_P_etrace_op: return bdl_reach_run(w->r, p[0].progs[0], w->in, w->out);
    case BDL_P_custom_jvp: return custom_jvp(w);
    case BDL_P_scan: return loop(w, p[4].progs[0], 0, p[0].i, p[1].i);
    case BDL_P_while: return loop(w, p[2].progs[1], p[0].i, p[1].i, w->e->n_out);
    case BDL_P_cond:
      for (int b = 0; b < p[0].n; b++) {
        bdl_reached *out;
        if (!BDL_ARRAY(&w->r->a, out, w->e->n_out)) return BDL_ENOMEM;
        TRY(bdl_reach_run(w->r, p[0].progs[b], w->in + 1, out));
        for (int k = 0; k < w->e->n_out; k++) merge(w->r, type_out(w, k), out[k].set, &w->out[k].set, &grew);
      }
      return w->r->status;
    default: return mixture(w), w->r->status;
  }
}

static bool passes(bdl_prim_id p) {
  return p == BDL_P_reshape || p == BDL_P_copy || p == BDL_P_cast || p == BDL_P_barrier || p == BDL_P_neg;
}

static bool moves(bdl_prim_id p) {
  return p == BDL_P_broadcast || p == BDL_P_permute || p == BDL_P_slice || p == BDL_P_reverse;
}

static bool has_pattern(const rule *w) { return type_in(w, 1)->ndim == 1 && w->in[2].value && w->in[3].value; }

static bdl_status equation(const rule *w) {
  const bdl_eqn *e = w->e;
  const bdl_prim *prim = &bdl_prims[e->prim];
  bool any = false;
  for (int k = 0; k < e->n_out; k++) w->out[k] = (bdl_reached){0};
  for (int k = 0; k < e->n_in; k++) any |= w->in[k].set != NULL;
  if (passes(e->prim) && e->prim != BDL_P_neg) w->out[0].value = w->in[0].value;
  if (!any && !(prim->flags & BDL_F_CONTROL)) return BDL_OK;
  if (prim->flags & BDL_F_CONTROL) return control(w);
  if (prim->jvp == bdl_jvp_zero || prim->flags & BDL_F_EFFECT) return BDL_OK;
  if (passes(e->prim)) return w->out[0].set = w->in[0].set, BDL_OK;
  if (!bdl_dtype_is_float(type_out(w, 0)->dtype)) return mixture(w), w->r->status;
  if (!(w->out[0].set = sets(w->r, type_out(w, 0)))) return BDL_ENOMEM;
  const bool first_alone = w->in[0].set && !(e->n_in > 1 && w->in[1].set);
  if (prim->flags & BDL_F_ELEMENTWISE) elementwise(w);
  else if (e->prim == BDL_P_concatenate) concatenate(w);
  else if (e->prim == BDL_P_pad) pad(w);
  else if (e->prim == BDL_P_dot) dot(w);
  else if (e->prim == BDL_P_conv && first_alone) conv(w);
  else if (e->prim == BDL_P_csr_dot && first_alone && has_pattern(w)) csr_dot(w);
  else if (moves(e->prim)) movement(w);
  else if (e->prim >= BDL_P_reduce_sum && e->prim <= BDL_P_reduce_min) reduction(w);
  else mixture(w);
  return w->r->status;
}

bdl_status bdl_reach_run(bdl_reach *r, const bdl_prog *p, const bdl_reached *in, bdl_reached *out) {
  bdl_reached *of;
  if (!BDL_ARRAY(&r->a, of, p->vars.n)) return BDL_ENOMEM;
  for (int64_t i = 0; i < p->vars.n; i++)
    if (p->vars.v[i].kind == BDL_V_CONST) of[i].value = &p->consts.v[p->vars.v[i].index];
  for (int64_t i = 0; i < p->inputs.n; i++) of[p->inputs.v[i]] = in[i];
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    bdl_reached *x, *z;
    if (!BDL_ARRAY(&r->a, x, e->n_in) || !BDL_ARRAY(&r->a, z, e->n_out)) return BDL_ENOMEM;
    for (int k = 0; k < e->n_in; k++) x[k] = of[e->in[k]];
    TRY(equation(&(rule){.r = r, .p = p, .e = e, .in = x, .out = z}));
    for (int k = 0; k < e->n_out; k++) of[e->out[k]] = z[k];
  }
  for (int k = 0; k < p->n_outputs; k++) out[k] = of[p->outputs[k]];
  return r->status;
}

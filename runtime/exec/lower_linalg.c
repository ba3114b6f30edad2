/*
** lower_linalg.c -- adapters of products, convolutions and factorisations.
*/
#include <limits.h>
#include <string.h>

#include "cpu/conv.h"
#include "cpu/dot.h"
#include "cpu/linalg.h"
#include "exec/lower_linalg.h"
#include "exec/lower_util.h"

/* ---- dot: operands as stacks of matrices, packed only where their axes do not allow it */

/* Axes taken as one: extent, and stride when they lie one after the other. */
typedef struct merged {
  int64_t n, stride;
  bool ok;
} merged;

static merged merge(const bdl_aval *x, const int64_t *stride, const int *axes, int n_axes) {
  merged m = {1, 1, true};
  for (int i = n_axes - 1; i >= 0; i--) {
    const int64_t n = x->shape[axes[i]];
    if (n == 1) continue;
    if (m.n == 1)
      m.stride = stride[axes[i]];
    else
      m.ok = m.ok && stride[axes[i]] == m.n * m.stride;
    m.n *= n;
  }
  return m;
}

/* One operand: the axes [batch, rest, contracted] in order, and how the three groups lie in memory. */
typedef struct side {
  int order[BDL_MAX_NDIM], n_batch, n_rest;
  merged batch, rest, sum;
  bool pack; /* no layout that a product of matrices can read */
} side;

static side side_of(const bdl_aval *x, const bdl_param *batch, const bdl_param *contract) {
  side s = {.n_batch = batch->n};
  bool used[BDL_MAX_NDIM] = {false};
  int64_t stride[BDL_MAX_NDIM];
  int n = 0;
  for (int i = 0; i < contract->n; i++) used[contract->ints[i]] = true;
  for (int i = 0; i < batch->n; i++) used[s.order[n++] = (int)batch->ints[i]] = true;
  for (int i = 0; i < x->ndim; i++)
    if (!used[i]) s.order[n++] = i;
  s.n_rest = n - s.n_batch;
  for (int i = 0; i < contract->n; i++) s.order[n++] = (int)contract->ints[i];
  bdl_k_row_major(x->ndim, x->shape, stride);
  s.batch = merge(x, stride, s.order, s.n_batch);
  s.rest = merge(x, stride, s.order + s.n_batch, s.n_rest);
  s.sum = merge(x, stride, s.order + s.n_batch + s.n_rest, contract->n);
  s.pack =
      !s.batch.ok || !s.rest.ok || !s.sum.ok || (s.rest.n > 1 && s.sum.n > 1 && s.rest.stride != 1 && s.sum.stride != 1);
  return s;
}

static size_t side_bytes(const side *s, const bdl_aval *x) {
  return s->pack ? bdl_lower_align(bdl_aval_bytes(x)) : 0;
}

/* How a side is packed, and its strides then. */
static void packing(side *s, const bdl_aval *x, bdl_packing *p) {
  int64_t stride[BDL_MAX_NDIM];
  if (!s->pack) return;
  bdl_k_row_major(x->ndim, x->shape, stride);
  for (int i = 0; i < x->ndim; i++) p->from[i] = stride[s->order[i]], p->shape[i] = x->shape[s->order[i]];
  s->sum.stride = 1;
  s->rest.stride = s->sum.n;
  s->batch.stride = s->sum.n * s->rest.n;
}

/* Brings a packed side into memory as [batch, rest, contracted]. */
static const void *packed(side *s, const bdl_aval *x, const void *data, void *to) {
  bdl_packing p;
  if (!s->pack) return data;
  packing(s, x, &p);
  bdl_k_strided_copy(to, data, p.from, x->ndim, p.shape, bdl_dtype_size(x->dtype));
  return to;
}

/* params: lhs_contract rhs_contract lhs_batch rhs_batch */
size_t bdl_scratch_dot(const bdl_param *p, const bdl_aval *in, int n_in, const bdl_aval *out) {
  (void)n_in, (void)out;
  side x = side_of(&in[0], &p[2], &p[0]), y = side_of(&in[1], &p[3], &p[1]);
  return side_bytes(&x, &in[0]) + side_bytes(&y, &in[1]);
}

static bdl_k_matmul matmul_of(const side *x, const side *y) {
  return (bdl_k_matmul){.batch = x->batch.n,
                        .m = x->rest.n,
                        .n = y->rest.n,
                        .k = x->sum.n,
                        .xb = x->batch.stride,
                        .xi = x->rest.stride,
                        .xp = x->sum.stride,
                        .yb = y->batch.stride,
                        .yp = y->sum.stride,
                        .yj = y->rest.stride,
                        .zb = x->rest.n * y->rest.n,
                        .ldz = y->rest.n};
}

bdl_k_matmul bdl_lower_matmul(const bdl_param *p, const bdl_aval *in, bdl_packing pack[2]) {
  side s[2] = {side_of(&in[0], &p[2], &p[0]), side_of(&in[1], &p[3], &p[1])};
  for (int k = 0; k < 2; k++) {
    pack[k].needed = s[k].pack;
    packing(&s[k], &in[k], &pack[k]);
  }
  return matmul_of(&s[0], &s[1]);
}

/* add: NULL, or what is added: an array like the result, or a row of it.  slivers: NULL, or the second operand so. */
static bdl_status product(const bdl_kcall *k, const void *add, const void *slivers) {
  const bdl_param *p = k->params;
  side x = side_of(&k->in_aval[0], &p[2], &p[0]), y = side_of(&k->in_aval[1], &p[3], &p[1]);
  char *scratch = k->scratch;
  const void *xd = packed(&x, &k->in_aval[0], k->in[0], scratch);
  const void *yd = packed(&y, &k->in_aval[1], k->in[1], scratch ? scratch + side_bytes(&x, &k->in_aval[0]) : NULL);
  bdl_k_matmul g = matmul_of(&x, &y);
  g.add = add, g.packed = slivers;
  if (add && k->in_aval[2].ndim > 1) g.ab = g.zb, g.ai = g.ldz;
  bdl_k_dot(k->out[0], xd, yd, &g, k->out_aval[0].dtype, k->k, k->blas, k->pool);
  return BDL_OK;
}

bdl_status bdl_lower_dot(const bdl_kcall *k) { return product(k, NULL, NULL); }

bool bdl_lower_adds(const bdl_param *p, const bdl_aval *in) {
  const side x = side_of(&in[0], &p[2], &p[0]), y = side_of(&in[1], &p[3], &p[1]);
  const bdl_k_matmul g = matmul_of(&x, &y);
  const bool column = in[2].ndim == 1; /* else in place */
  return bdl_k_dot_order(&g, in[0].dtype) == BDL_DOT_FUSED && g.k <= BDL_GEMM_DEEP && (!column || g.n == in[2].shape[0]);
}

/* The product by itself where it cannot be made in one pass. */
size_t bdl_scratch_dot_add(const bdl_param *p, const bdl_aval *in, int n_in, const bdl_aval *out) {
  const size_t of_dot = bdl_scratch_dot(p, in, n_in, out);
  return bdl_lower_adds(p, in) ? of_dot : bdl_lower_align(of_dot) + bdl_aval_bytes(out);
}

/* params: as of dot, onto */
bdl_status bdl_lower_dot_add(const bdl_kcall *k) {
  const bdl_aval *z = &k->out_aval[0], *c = &k->in_aval[2];
  const int64_t n = bdl_aval_numel(z), row = bdl_aval_numel(c), size = (int64_t)bdl_dtype_size(z->dtype);
  if (bdl_lower_adds(k->params, k->in_aval)) return product(k, k->in[2], NULL);
  bdl_kcall alone = *k;
  char *y = (char *)k->scratch + bdl_lower_align(bdl_scratch_dot(k->params, k->in_aval, k->n_in, z));
  alone.out = (void *[]){y};
  TRY(product(&alone, NULL, NULL));
  for (int64_t i = 0, step; i < n; i += step) {
    step = BDL_MIN(BDL_TILE, row - i % row);
    const char *plus = (const char *)k->in[2] + i % row * size;
    k->k->tile[BDL_TILE_add][z->dtype][0]((char *)k->out[0] + i * size, y + i * size, plus, NULL, step, i);
  }
  return BDL_OK;
}

/* A smaller matrix is read as fast where it lies; of more rows, packing is less than 3 % (tests/bench/README.md). */
enum { LEAST_PACKED = 4096, MOST_ROWS = 256 };

bool bdl_lower_packs(const bdl_param *p, const bdl_aval *in) {
  const side x = side_of(&in[0], &p[2], &p[0]), y = side_of(&in[1], &p[3], &p[1]);
  const bdl_k_matmul g = matmul_of(&x, &y);
  return in[1].ndim == 2 && p[1].n == 1 && g.batch == 1 && g.m <= MOST_ROWS && g.n * g.k >= LEAST_PACKED &&
         bdl_k_dot_order(&g, in[0].dtype) == BDL_DOT_FUSED;
}

/* params: contract columns */
bdl_status bdl_lower_dot_pack(const bdl_kcall *k) {
  const bdl_aval *y = &k->in_aval[0], *z = &k->out_aval[0];
  const bool turned = k->params[0].i == 1;
  const int64_t n = y->shape[turned ? 0 : 1], depth = y->shape[turned ? 1 : 0], columns = k->params[1].i;
  const bdl_k_matmul g = {.batch = 1, .n = n, .k = depth, .yp = turned ? 1 : n, .yj = turned ? depth : 1};
  const bdl_k_packer *packer = k->k->packer[y->dtype];
  if (packer && packer->columns == columns) return packer->pack(k->out[0], k->in[0], &g), BDL_OK;
  const int64_t size = (int64_t)bdl_dtype_size(y->dtype); /* else slivers of another instruction set */
  const char *from = k->in[0];
  memset(k->out[0], 0, bdl_aval_bytes(z));
  for (int64_t j = 0; j < n; j++) {
    char *sliver = (char *)k->out[0] + j / columns * depth * columns * size;
    for (int64_t p = 0; p < depth; p++)
      memcpy(sliver + (p * columns + j % columns) * size, from + (p * g.yp + j * g.yj) * size, (size_t)size);
  }
  return BDL_OK;
}

/* Slivers of another instruction set are of no use. */
bdl_status bdl_lower_packed_dot(const bdl_kcall *k) {
  const bdl_k_packer *packer = k->k->packer[k->out_aval[0].dtype];
  const bool fits = packer && packer->columns == k->in_aval[2].shape[2] && bdl_lower_packs(k->params, k->in_aval);
  return product(k, NULL, fits ? k->in[2] : NULL);
}

bool bdl_lower_is_rows(const bdl_param *p, const bdl_aval *in) {
  const side x = side_of(&in[0], &p[2], &p[0]), y = side_of(&in[1], &p[3], &p[1]);
  const bdl_k_matmul g = matmul_of(&x, &y);
  return !x.pack && !y.pack && g.batch == 1 && g.yj == 1 && g.k <= INT32_MAX && bdl_k_is_few(&g, in[0].dtype);
}

/* Positions of a row's elements that are not zero. */
size_t bdl_scratch_sparse_dot(const bdl_param *p, const bdl_aval *in, int n_in, const bdl_aval *out) {
  const side x = side_of(&in[0], &p[2], &p[0]);
  return bdl_lower_align(bdl_scratch_dot(p, in, n_in, out)) + (size_t)x.sum.n * sizeof(int32_t);
}

#define NOT_ZERO(T)                                                                     \
  for (int64_t q = 0; q < r->k; q++) ids[n] = (int32_t)q, n += ((const T *)r->x)[q * r->xp] != 0
static int64_t not_zero(const bdl_k_row *r, bdl_dtype d, int32_t *ids) {
  int64_t n = 0;
  if (d == BDL_F32) NOT_ZERO(float);
  else NOT_ZERO(double);
  return n;
}
#undef NOT_ZERO

/* Rows with few zeros, and any rows where y is not finite, go the way of dot. */
bdl_status bdl_lower_sparse_dot(const bdl_kcall *k) {
  const bdl_param *p = k->params;
  side x = side_of(&k->in_aval[0], &p[2], &p[0]), y = side_of(&k->in_aval[1], &p[3], &p[1]);
  const bdl_k_matmul g = matmul_of(&x, &y);
  const bdl_dtype d = k->out_aval[0].dtype;
  const size_t size = bdl_dtype_size(d);
  const size_t of_dot = bdl_lower_align(bdl_scratch_dot(p, k->in_aval, k->n_in, k->out_aval));
  int32_t *ids = (int32_t *)((char *)k->scratch + of_dot);
  if (!*(const uint8_t *)k->in[2] || !bdl_lower_is_rows(p, k->in_aval)) return bdl_lower_dot(k);
  for (int64_t i = 0; i < g.m; i++) {
    bdl_k_row r = bdl_k_row_of(k->out[0], k->in[0], k->in[1], &g, size, i);
    const int64_t n = not_zero(&r, d, ids);
    if (n > g.k / 2) return bdl_lower_dot(k); /* the same bits, and threads */
    r.k = n, r.ids = ids;
    k->k->row[d](&r);
  }
  return BDL_OK;
}

/* ---- conv */

/* params: strides pad_lo pad_hi lhs_dilation rhs_dilation groups */
bdl_k_window bdl_lower_window(const bdl_param *p, const bdl_aval *x, const bdl_aval *f, const bdl_aval *z) {
  const int nd = x->ndim - 2, skip = 3 - nd;
  bdl_k_window w = {.batch = x->shape[0], .c_in = x->shape[nd + 1], .c_out = z->shape[nd + 1], .groups = p[5].i};
  for (int i = 0; i < 3; i++) {
    const int a = i - skip;
    w.in[i] = a < 0 ? 1 : x->shape[a + 1];
    w.taps[i] = a < 0 ? 1 : f->shape[a];
    w.out[i] = a < 0 ? 1 : z->shape[a + 1];
    w.stride[i] = a < 0 ? 1 : p[0].ints[a];
    w.lo[i] = a < 0 ? 0 : p[1].ints[a];
    w.gap[i] = a < 0 ? 1 : p[3].ints[a];
    w.step[i] = a < 0 ? 1 : p[4].ints[a];
  }
  return w;
}

size_t bdl_scratch_conv(const bdl_param *params, const bdl_aval *in, int n_in, const bdl_aval *out) {
  (void)n_in;
  bdl_k_window w = bdl_lower_window(params, &in[0], &in[1], out);
  return bdl_k_conv_scratch(&w, in[0].dtype);
}

bdl_status bdl_lower_conv(const bdl_kcall *k) {
  bdl_k_window w = bdl_lower_window(k->params, &k->in_aval[0], &k->in_aval[1], &k->out_aval[0]);
  bdl_k_conv(k->out[0], k->in[0], k->in[1], &w, k->out_aval[0].dtype, k->k, k->blas, k->scratch,
             bdl_lower_pool(k, bdl_aval_numel(&k->out_aval[0]) * 64));
  return BDL_OK;
}

/* ---- factorisations: one matrix after the other over the leading axes */

/* Rows of the last two axes, and how many matrices there are. */
static int order_of(const bdl_aval *a) {
  return (int)a->shape[a->ndim - 1];
}
static int64_t stack_of(const bdl_aval *a) {
  int64_t n = 1;
  for (int i = 0; i < a->ndim - 2; i++) n *= a->shape[i];
  return n;
}

/* CALL(s, T) for matrix l of each operand, by dtype. */
#define EACH_MATRIX(k, CALL) \
  TRY(bdl_blas_open((k)->blas, (k)->ctx)); \
  const int threads = bdl_blas_alone((k)->blas); \
  for (int64_t l = 0; l < stack_of(&(k)->in_aval[0]); l++) \
    if ((k)->in_aval[0].dtype == BDL_F32) \
      CALL(f32, float); \
    else \
      CALL(f64, double); \
  bdl_blas_restore((k)->blas, threads); \
  return BDL_OK

bdl_status bdl_lower_cholesky(const bdl_kcall *k) {
  const int n = order_of(&k->in_aval[0]);
  const int64_t step = (int64_t)n * n;
#define CALL(s, T) bdl_k_cholesky_##s(k->blas, (T *)k->out[0] + l * step, (const T *)k->in[0] + l * step, n)
  EACH_MATRIX(k, CALL);
#undef CALL
}

/* params: lower trans unit */
bdl_status bdl_lower_triangular_solve(const bdl_kcall *k) {
  const int n = order_of(&k->in_aval[0]), cols = order_of(&k->in_aval[1]);
  const int64_t step_a = (int64_t)n * n, step = (int64_t)n * cols;
  const bool lower = k->params[0].i != 0, trans = k->params[1].i != 0, unit = k->params[2].i != 0;
  memcpy(k->out[0], k->in[1], bdl_aval_bytes(&k->in_aval[1]));
#define CALL(s, T) \
  bdl_k_triangular_solve_##s(k->blas, (T *)k->out[0] + l * step, (const T *)k->in[0] + l * step_a, n, cols, lower, trans, \
                             unit)
  EACH_MATRIX(k, CALL);
#undef CALL
}

size_t bdl_scratch_lu(const bdl_param *params, const bdl_aval *in, int n_in, const bdl_aval *out) {
  (void)params, (void)n_in, (void)out;
  const size_t n = (size_t)order_of(&in[0]);
  return n * n * bdl_dtype_size(in[0].dtype);
}

bdl_status bdl_lower_lu(const bdl_kcall *k) {
  const int n = order_of(&k->in_aval[0]);
  const int64_t step = (int64_t)n * n;
#define CALL(s, T) \
  bdl_k_lu_##s(k->blas, (T *)k->out[0] + l * step, (int32_t *)k->out[1] + l * n, (const T *)k->in[0] + l * step, n, \
               k->scratch)
  EACH_MATRIX(k, CALL);
#undef CALL
}

bdl_status bdl_lower_lu_permutation(const bdl_kcall *k) {
  const bdl_aval *a = &k->in_aval[0];
  const int n = order_of(a);
  for (int64_t at = 0; n > 0 && at < bdl_aval_numel(a); at += n)
    if (!bdl_k_lu_permutation((int32_t *)k->out[0] + at, (const int32_t *)k->in[0] + at, n))
      return bdl_fail(k->ctx, BDL_EINDEX, "lu_permutation: a row exchange is not one of %d rows", n);
  return BDL_OK;
}

/* The matrix, the right side, the exchanges. */
size_t bdl_scratch_solve(const bdl_param *params, const bdl_aval *in, int n_in, const bdl_aval *out) {
  (void)params, (void)n_in, (void)out;
  const size_t n = (size_t)order_of(&in[0]), cols = (size_t)order_of(&in[1]);
  return bdl_lower_align(n * (n + cols) * bdl_dtype_size(in[0].dtype)) + n * sizeof(int32_t);
}

bdl_status bdl_lower_solve(const bdl_kcall *k) {
  const int n = order_of(&k->in_aval[0]), cols = order_of(&k->in_aval[1]);
  const int64_t step_a = (int64_t)n * n, step = (int64_t)n * cols;
  int32_t *pivot =
      (int32_t *)((char *)k->scratch + bdl_lower_align((size_t)(step_a + step) * bdl_dtype_size(k->in_aval[0].dtype)));
#define CALL(s, T) \
  bdl_k_solve_##s(k->blas, (T *)k->out[0] + l * step, (const T *)k->in[0] + l * step_a, (const T *)k->in[1] + l * step, n, \
                  cols, k->scratch, pivot)
  EACH_MATRIX(k, CALL);
#undef CALL
}

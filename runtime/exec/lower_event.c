/*
** lower_event.c -- adapters of products with events.
*/
#include <stdlib.h>
#include <string.h>

#include "cpu/event.h"
#include "exec/lower_util.h"
#include "exec/matrix.h"

/* v is [n] or [batch, n], behind an axis of lanes where another operand has one: how many of these stand in one lane. */
static int64_t batch_of(const bdl_aval *v, int64_t lanes) {
  int64_t n = 1;
  for (int i = 0; i < v->ndim - 1; i++) n *= v->shape[i];
  return lanes ? n / lanes : 0;
}

/* The axis of lanes that operands first.. of that rank may have in front; 1: none has. */
static int64_t lanes_of(const bdl_kcall *k, int first, int rank) {
  for (int i = first; i < k->n_in; i++)
    if (k->in_aval[i].ndim > rank) return k->in_aval[i].shape[0];
  return 1;
}

/* Operand i in a lane: of that rank, if it has lanes. */
static const void *in_lane(const bdl_kcall *k, int i, int rank, int64_t lane) {
  const bdl_aval *a = &k->in_aval[i];
  if (a->ndim == rank || lane == 0) return k->in[i];
  return (const char *)k->in[i] + (size_t)lane * (bdl_aval_bytes(a) / (size_t)a->shape[0]);
}

static const bdl_csr_error FINE = {BDL_CSR_FINE, 0, 0, 0};

static int64_t last_of(const bdl_aval *a) { return a->shape[a->ndim - 1]; }

/* Address of vector b of an operand or result. */
static char *vector(const void *base, const bdl_aval *v, int64_t b) {
  return (char *)base + (size_t)(b * v->shape[v->ndim - 1]) * bdl_dtype_size(v->dtype);
}

/* ---- one product a vector, which threads share out where there are as many: each has a room of its own */

enum { ROOMS = 16, ROOM_BYTES = 1 << 22 };

/* How many vectors of operand 0 are worked on at a time, with so many bytes each. */
static int64_t rooms_for(const bdl_aval *v, size_t bytes) {
  const int64_t n = batch_of(v, 1), fit = bytes ? (int64_t)(ROOM_BYTES / bdl_lower_align(bytes)) : ROOMS;
  return BDL_MAX(1, BDL_MIN(BDL_MIN(n, ROOMS), fit));
}

static size_t scratch_for(const bdl_aval *v, size_t bytes) { return (size_t)rooms_for(v, bytes) * bdl_lower_align(bytes); }

typedef struct products {
  const bdl_kcall *k;
  /* The product of vector b, of the batch of its lane. */
  bdl_csr_error (*one)(const struct products *p, int64_t b, int64_t lane, void *room, bdl_pool *pool);
  int64_t batch, n; /* vectors in a lane, in all */
  int64_t rooms;
  size_t bytes; /* of a room */
  bdl_csr_error fault[ROOMS];
} products;

static void rooms(void *job, int64_t first, int64_t last, int thread) {
  products *p = job;
  (void)thread;
  for (int64_t r = first; r < last; r++)
    for (int64_t b = p->n * r / p->rooms; b < p->n * (r + 1) / p->rooms && p->fault[r].fault == BDL_CSR_FINE; b++)
      p->fault[r] = p->one(p, b, b / p->batch, (char *)p->k->scratch + (size_t)r * bdl_lower_align(p->bytes), NULL);
}

/* work: elements of other loops that all take about as long. */
static bdl_csr_error each_vector(products *p, int64_t lanes, size_t bytes, int64_t work) {
  bdl_pool *pool = p->k->pool;
  p->batch = batch_of(&p->k->in_aval[0], lanes);
  p->n = lanes * p->batch;
  p->bytes = bytes;
  p->rooms = rooms_for(&p->k->in_aval[0], bytes);
  if (p->rooms > 1 && p->rooms >= bdl_pool_size(pool)) {
    bdl_pool_run(bdl_lower_pool(p->k, work), p->rooms, rooms, p);
    for (int64_t r = 0; r < p->rooms; r++)
      if (p->fault[r].fault != BDL_CSR_FINE) return p->fault[r];
    return FINE;
  }
  for (int64_t b = 0; b < p->n && p->fault[0].fault == BDL_CSR_FINE; b++)
    p->fault[0] = p->one(p, b, b / p->batch, p->k->scratch, pool);
  return p->fault[0];
}

/* The active elements of vector b of operand 0. */
static bdl_k_events events_of(const bdl_kcall *k, int64_t b, bool bits, void *room) {
  const bdl_aval *s = &k->in_aval[0];
  return bdl_k_events_of(room, vector(k->in[0], s, b), s->dtype, last_of(s), bits, k->k);
}

/* ---- dense */

static size_t dense_bytes(const bdl_aval *s) { return bdl_k_events_bytes(last_of(s), false); }

/* W s of several vectors: `at_a_time` of them have a list of events each, so many threads a room for some rows of W. */
typedef struct many {
  int64_t batch, at_a_time, rooms;
  size_t lists, list, blocks, block; /* where they begin in the scratch, bytes of one */
  size_t bytes;
} many;

static many many_of(const bdl_param *params, const bdl_aval *in) {
  const bdl_aval *s = &in[0], *w = &in[1];
  many x = {.batch = batch_of(s, w->ndim > 2 ? w->shape[0] : 1), .list = bdl_lower_align(dense_bytes(s))};
  if (!params[0].i || x.batch < 2) return (many){0};
  x.at_a_time = BDL_MIN(x.batch, BDL_MAX(2, ROOM_BYTES / (int64_t)BDL_MAX(x.list, 1)));
  x.block = bdl_lower_align(bdl_k_event_block_bytes(last_of(s), w->dtype) + BDL_PAD);
  x.rooms = BDL_MAX(1, BDL_MIN(ROOMS, ROOM_BYTES / (int64_t)x.block));
  x.lists = bdl_lower_align((size_t)x.at_a_time * sizeof(bdl_k_events));
  x.blocks = x.lists + (size_t)x.at_a_time * x.list;
  x.bytes = x.blocks + (size_t)x.rooms * x.block;
  return x;
}

size_t bdl_scratch_event_dot(const bdl_param *params, const bdl_aval *in, int n_in, const bdl_aval *out) {
  (void)n_in, (void)out;
  const many x = many_of(params, in);
  return x.bytes ? x.bytes : scratch_for(&in[0], dense_bytes(&in[0]));
}

static bdl_csr_error dense_product(const products *p, int64_t b, int64_t lane, void *room, bdl_pool *pool) {
  const bdl_kcall *k = p->k;
  const bdl_aval *w = &k->in_aval[1];
  const bdl_k_events e = events_of(k, b, false, room);
  const void *weights = in_lane(k, 1, 2, lane);
  void *y = vector(k->out[0], &k->out_aval[0], b);
  if (k->params[0].i)
    bdl_k_event_cols(y, &e, weights, w->shape[w->ndim - 2], last_of(w), w->dtype, pool);
  else
    bdl_k_event_rows(y, &e, weights, last_of(w), w->dtype, k->k, pool);
  return FINE;
}

static void products_of_many(const bdl_kcall *k, const many *x) {
  const bdl_aval *w = &k->in_aval[1];
  bdl_k_events *s = k->scratch;
  for (int64_t lane = 0; lane < lanes_of(k, 1, 2); lane++)
    for (int64_t b = 0, n; b < x->batch; b += n) {
      const int64_t first = lane * x->batch + b;
      n = BDL_MIN(x->at_a_time, x->batch - b);
      for (int64_t i = 0; i < n; i++) s[i] = events_of(k, first + i, false, (char *)k->scratch + x->lists + (size_t)i * x->list);
      bdl_k_event_cols_of_many(vector(k->out[0], &k->out_aval[0], first), s, n, in_lane(k, 1, 2, lane), w->shape[w->ndim - 2],
                               last_of(w), w->dtype, k->k, (char *)k->scratch + x->blocks, x->block, x->rooms, k->pool);
    }
}

/* params: transpose */
bdl_status bdl_lower_event_dot(const bdl_kcall *k) {
  const bdl_aval *s = &k->in_aval[0], *w = &k->in_aval[1];
  const int64_t matrix = w->shape[w->ndim - 2] * last_of(w);
  const many x = many_of(k->params, k->in_aval);
  products p = {.k = k, .one = dense_product};
  if (x.bytes) products_of_many(k, &x);
  else each_vector(&p, lanes_of(k, 1, 2), dense_bytes(s), batch_of(s, 1) * (matrix / 8));
  return BDL_OK;
}

/* ---- sparse */

/* The matrix of operands data, indices, indptr in a lane; without data at < 0.  Fault: rows of equal length that are not all
** there. */
static bdl_csr_error csr_of(const bdl_kcall *k, int data, int indices, int64_t lane, bdl_k_csr *a) {
  const bdl_aval *ptr = &k->in_aval[indices + 1];
  if (k->prepared) {
    *a = ((const bdl_matrix *)k->prepared)->a;
  } else {
    *a = (bdl_k_csr){.rows = k->params[0].i,
                     .cols = k->params[1].i,
                     .nnz = last_of(&k->in_aval[indices]),
                     .indices = in_lane(k, indices, 1, lane),
                     .indptr = in_lane(k, indices + 1, 1, lane),
                     .wide = ptr->dtype == BDL_I64};
  }
  if (data >= 0) {
    a->same = last_of(&k->in_aval[data]) == 1;
    if (a->same || !a->data) a->data = in_lane(k, data, 1, lane);
  }
  if (k->prepared || last_of(ptr) == a->rows + 1) return FINE;
  a->fan = bdl_k_index_at(a->indptr, a->wide, 1) - bdl_k_index_at(a->indptr, a->wide, 0);
  a->indptr = NULL;
  if (a->fan >= 0 && (a->rows == 0 ? a->nnz == 0 : a->fan == a->nnz / a->rows && a->nnz % a->rows == 0)) return FINE;
  return (bdl_csr_error){BDL_CSR_FAN, a->rows, a->fan, a->nnz};
}

/* A matrix without lanes, of known indices and indptr.  Its faults are found again by who runs into them. */
static bdl_status prepare(const bdl_kcall *k, int data, int indices, bdl_layout layout, bdl_prepared **made) {
  bdl_k_csr a;
  if (!k->in[indices] || !k->in[indices + 1] || k->in_aval[indices].ndim > 1 || k->in_aval[indices + 1].ndim > 1) return BDL_OK;
  if (csr_of(k, data, indices, 0, &a).fault != BDL_CSR_FINE) return BDL_OK;
  if (data >= 0 && k->in_aval[data].ndim > 1) a.data = NULL;
  return bdl_matrix_get(k->ctx, &a, data < 0 ? BDL_BOOL : k->in_aval[data].dtype, layout, made);
}

bdl_status bdl_prepare_csr_dot(const bdl_kcall *k, bdl_prepared **made) {
  const bool transpose = k->params[2].i != 0, event = k->params[3].i != 0;
  return prepare(k, 1, 2, transpose ? (event ? BDL_COLUMNS : BDL_STORED) : BDL_PARTED, made);
}
bdl_status bdl_prepare_csr_scatter(const bdl_kcall *k, bdl_prepared **made) {
  return prepare(k, 3, 4, k->params[2].i ? BDL_COLUMNS : BDL_PARTED, made);
}
bdl_status bdl_prepare_csr_outer(const bdl_kcall *k, bdl_prepared **made) { return prepare(k, -1, 2, BDL_STORED, made); }

static bdl_status csr_status(const bdl_kcall *k, const char *prim, bdl_csr_error e) {
  static const char *const what[] = {
      [BDL_CSR_ROW] = "row", [BDL_CSR_POINTER] = "row pointer", [BDL_CSR_COLUMN] = "column index", [BDL_CSR_PLACE] = "place",
      [BDL_CSR_LISTED] = "column"};
  if (e.fault == BDL_CSR_FINE) return BDL_OK;
  if (e.fault == BDL_CSR_FAN)
    return bdl_fail(k->ctx, BDL_EINDEX, "%s: %" PRId64 " rows of %" PRId64 " entries are not the %" PRId64 " entries stored",
                    prim, e.at, e.value, e.limit);
  return bdl_fail(k->ctx, BDL_EINDEX,
                  "%s: %s %" PRId64 " at position %" PRId64 " is out of range for size %" PRId64
                  " (counted from 0), or does not ascend",
                  prim, what[e.fault], e.value, e.at, e.limit);
}

/* For the entries of so many rows: one addition costs as much as many elements of other loops, more so where the sums do not fit the
** cache of one thread, which the loops around divide, too. */
static bdl_pool *pool_for(const bdl_kcall *k, bdl_pool *pool, int64_t count, const bdl_k_csr *a) {
  const int64_t cost = a->cols >= 1 << 17 ? 16 : 4;
  return count && bdl_lower_pool(k, cost * count * (a->nnz / BDL_MAX(a->rows, 1))) ? pool : NULL;
}

/* params: rows cols transpose event; in: v, data, indices, indptr */
static size_t csr_bytes(const bdl_param *params, const bdl_aval *v) {
  return params[3].i ? bdl_k_events_bytes(last_of(v), params[2].i != 0) : 0;
}

size_t bdl_scratch_csr_dot(const bdl_param *params, const bdl_aval *in, int n_in, const bdl_aval *out) {
  (void)n_in, (void)out;
  return scratch_for(&in[0], csr_bytes(params, &in[0]));
}

/* Does the kernel have the columns of the matrix as the rows of another? */
static bool by_columns(const bdl_kcall *k) {
  return k->prepared && ((const bdl_matrix *)k->prepared)->layout == BDL_COLUMNS;
}

static bdl_csr_error csr_product(const products *p, int64_t b, int64_t lane, void *room, bdl_pool *pool) {
  const bdl_kcall *k = p->k;
  const bool transpose = k->params[2].i != 0, event = k->params[3].i != 0, gather = transpose && !by_columns(k);
  const void *x = vector(k->in[0], &k->in_aval[0], b);
  const bdl_dtype d = k->out_aval[0].dtype;
  void *y = vector(k->out[0], &k->out_aval[0], b);
  bdl_k_csr a;
  const bdl_csr_error e = csr_of(k, 1, 2, lane, &a);
  if (e.fault != BDL_CSR_FINE) return e;
  bdl_pool *all = bdl_lower_pool(k, a.nnz) ? pool : NULL;
  if (!event) return transpose ? bdl_k_csr_right(y, x, &a, d, all) : bdl_k_csr_left(y, x, &a, d, all);
  const bdl_k_events s = events_of(k, b, gather, room);
  memset(y, 0, (size_t)last_of(&k->out_aval[0]) * bdl_dtype_size(d));
  return gather ? bdl_k_csr_gather(y, &s, &a, d, all) : bdl_k_csr_scatter(y, s.ids, s.count, &a, d, pool_for(k, pool, s.count, &a));
}

bdl_status bdl_lower_csr_dot(const bdl_kcall *k) {
  const int64_t n = batch_of(&k->in_aval[0], 1), entries = last_of(&k->in_aval[2]);
  products p = {.k = k, .one = csr_product};
  return csr_status(k, "csr_dot", each_vector(&p, lanes_of(k, 1, 1), csr_bytes(k->params, &k->in_aval[0]),
                                             n * (k->params[3].i ? entries / 8 : entries)));
}

size_t bdl_scratch_csr_scatter(const bdl_param *params, const bdl_aval *in, int n_in, const bdl_aval *out) {
  (void)in, (void)n_in, (void)out;
  return params[2].i ? (size_t)bdl_k_event_words(params[1].i) * sizeof(uint32_t) : 0;
}

/* params: rows cols transpose; in: y, ids, count, data, indices, indptr */
bdl_status bdl_lower_csr_scatter(const bdl_kcall *k) {
  const int64_t count = *(const int32_t *)k->in[2], room = k->in_aval[1].shape[0], cols = k->params[1].i;
  const int32_t *ids = k->in[1];
  const bdl_dtype d = k->out_aval[0].dtype;
  const bool gather = k->params[2].i && !by_columns(k);
  bdl_k_csr a;
  TRY(csr_status(k, "csr_scatter", csr_of(k, 3, 4, 0, &a)));
  if (count < 0 || count > room)
    return bdl_fail(k->ctx, BDL_EINDEX, "csr_scatter: %" PRId64 " of %" PRId64 " ids", count, room);
  if (!gather)
    return csr_status(k, "csr_scatter", bdl_k_csr_scatter(k->out[0], ids, count, &a, d, pool_for(k, k->pool, count, &a)));
  const int64_t outside = bdl_k_index_outside(ids, false, count, cols);
  if (outside >= 0) return csr_status(k, "csr_scatter", (bdl_csr_error){BDL_CSR_LISTED, outside, ids[outside], cols});
  const bdl_k_events s = {.ids = NULL, .count = count, .bits = k->scratch};
  bdl_k_event_bits(s.bits, ids, count, cols);
  return csr_status(k, "csr_scatter", bdl_k_csr_gather(k->out[0], &s, &a, d, bdl_lower_pool(k, a.nnz)));
}

size_t bdl_scratch_csr_outer(const bdl_param *params, const bdl_aval *in, int n_in, const bdl_aval *out) {
  (void)n_in, (void)out;
  return params[2].i ? bdl_k_events_bytes(last_of(&in[0]), false) : 0;
}

/* params: rows cols event; in: a, b, indices, indptr */
bdl_status bdl_lower_csr_outer(const bdl_kcall *k) {
  const bdl_aval *x = &k->in_aval[0], *y = &k->in_aval[1];
  const int64_t lanes = x->ndim == 3 ? x->shape[0] : 1, batch = batch_of(x, lanes);
  const bool event = k->params[2].i != 0;
  bdl_k_csr a;
  memset(k->out[0], 0, bdl_aval_bytes(&k->out_aval[0]));
  for (int64_t b = 0; b < lanes * batch; b++) {
    bdl_k_events s = {0};
    if (b % batch == 0) TRY(csr_status(k, "csr_outer", csr_of(k, -1, 2, b / batch, &a)));
    if (event) s = events_of(k, b, false, k->scratch);
    TRY(csr_status(k, "csr_outer",
                   bdl_k_csr_outer(vector(k->out[0], &k->out_aval[0], b / batch), event ? NULL : vector(k->in[0], x, b), &s,
                                   vector(k->in[1], y, b), &a, y->dtype, bdl_lower_pool(k, a.nnz))));
  }
  return BDL_OK;
}

/* ---- weights that learn: w, ids, count, x, gain, low, high; then indices, indptr, places */

static bdl_status learn_of(const bdl_kcall *k, const char *prim, int64_t lane, int64_t rows, bdl_k_learn *l) {
  const int64_t count = *(const int32_t *)in_lane(k, 2, 0, lane), room = last_of(&k->in_aval[1]);
  *l = (bdl_k_learn){.ids = in_lane(k, 1, 1, lane),
                     .count = count,
                     .x = in_lane(k, 3, 1, lane),
                     .gain = in_lane(k, 4, 1, lane),
                     .same = last_of(&k->in_aval[4]) == 1,
                     .low = in_lane(k, 5, 0, lane),
                     .high = in_lane(k, 6, 0, lane)};
  if (count < 0 || count > room) return bdl_fail(k->ctx, BDL_EINDEX, "%s: %" PRId64 " of %" PRId64 " ids", prim, count, room);
  const int64_t outside = bdl_k_index_outside(l->ids, false, count, rows);
  if (outside < 0) return BDL_OK;
  return csr_status(k, prim, (bdl_csr_error){BDL_CSR_ROW, outside, l->ids[outside], rows});
}

static void *weights_in_lane(const bdl_kcall *k, int rank, int64_t lane) {
  const bdl_aval *w = &k->out_aval[0];
  return (char *)k->out[0] + (w->ndim > rank ? (size_t)lane * (bdl_aval_bytes(w) / (size_t)w->shape[0]) : 0);
}

/* params: transpose */
bdl_status bdl_lower_event_learn(const bdl_kcall *k) {
  const bdl_aval *w = &k->out_aval[0];
  const int64_t m = w->shape[w->ndim - 2], n = last_of(w), lanes = w->ndim > 2 ? w->shape[0] : 1;
  for (int64_t lane = 0; lane < lanes; lane++) {
    bdl_k_learn l;
    TRY(learn_of(k, "event_learn", lane, k->params[0].i ? n : m, &l));
    bdl_k_event_learn(weights_in_lane(k, 2, lane), &l, m, n, k->params[0].i != 0, w->dtype, k->pool);
  }
  return BDL_OK;
}

bdl_status bdl_prepare_csr_learn(const bdl_kcall *k, bdl_prepared **made) { return prepare(k, -1, 7, BDL_STORED, made); }

/* params: rows cols */
bdl_status bdl_lower_csr_learn(const bdl_kcall *k) {
  const bdl_aval *w = &k->out_aval[0];
  const int64_t lanes = w->ndim > 1 ? w->shape[0] : 1;
  for (int64_t lane = 0; lane < lanes; lane++) {
    bdl_k_learn l;
    bdl_k_csr a;
    TRY(csr_status(k, "csr_learn", csr_of(k, -1, 7, lane, &a)));
    a.places = k->n_in > 9 ? in_lane(k, 9, 1, lane) : NULL;
    TRY(learn_of(k, "csr_learn", lane, a.rows, &l));
    TRY(csr_status(k, "csr_learn",
                   bdl_k_csr_learn(weights_in_lane(k, 1, lane), &l, &a, w->dtype, pool_for(k, k->pool, l.count, &a))));
  }
  return BDL_OK;
}

/* ---- regenerated */

static size_t jitc_bytes(const bdl_param *params, const bdl_aval *v) {
  return params[3].i ? bdl_k_events_bytes(last_of(v), params[2].i != 0) : 0;
}

/* params: rows cols transpose event kind; without seed and numbers */
static bdl_k_jitc jitc_of(const bdl_param *params) {
  const char *kind = params[4].s;
  return (bdl_k_jitc){.rows = params[0].i,
                      .cols = params[1].i,
                      .prob = strtod(strchr(kind, ':') + 1, NULL),
                      .law = kind[0] == 's'   ? BDL_JITC_SCALAR
                             : kind[0] == 'u' ? BDL_JITC_UNIFORM
                                              : BDL_JITC_NORMAL};
}

/* Behind the rooms: lists of the rows that threads draw. */
size_t bdl_scratch_jitc_dot(const bdl_param *params, const bdl_aval *in, int n_in, const bdl_aval *out) {
  (void)n_in;
  const bdl_k_jitc g = jitc_of(params);
  return scratch_for(&in[0], jitc_bytes(params, &in[0])) + (params[2].i ? 0 : bdl_k_jitc_bytes(&g, out[0].dtype));
}

static double number_in_lane(const bdl_kcall *k, int i, int64_t lane) {
  const void *x = in_lane(k, i, 0, lane);
  return k->in_aval[i].dtype == BDL_F32 ? *(const float *)x : *(const double *)x;
}

static bdl_csr_error jitc_product(const products *p, int64_t b, int64_t lane, void *room, bdl_pool *pool) {
  const bdl_kcall *k = p->k;
  const bool transpose = k->params[2].i != 0, event = k->params[3].i != 0;
  bdl_k_jitc g = jitc_of(k->params);
  g.seed = *(const uint64_t *)in_lane(k, 3, 0, lane);
  g.p0 = number_in_lane(k, 1, lane);
  g.p1 = number_in_lane(k, 2, lane);
  const bdl_k_events s = event ? events_of(k, b, transpose, room) : (bdl_k_events){0};
  const double synapses = (double)(event ? s.count : g.rows) * (double)g.cols * g.prob;
  if (!transpose && synapses < 4096) pool = NULL;
  bdl_k_jitc_dot(vector(k->out[0], &k->out_aval[0], b), vector(k->in[0], &k->in_aval[0], b), event ? &s : NULL, &g, transpose,
                 k->out_aval[0].dtype, transpose ? NULL : (char *)k->scratch + scratch_for(&k->in_aval[0], p->bytes), pool);
  return FINE;
}

/* in: v, p0, p1, seed */
bdl_status bdl_lower_jitc_dot(const bdl_kcall *k) {
  products p = {.k = k, .one = jitc_product};
  const int64_t matrix = k->params[0].i * k->params[1].i;
  each_vector(&p, lanes_of(k, 1, 0), jitc_bytes(k->params, &k->in_aval[0]), batch_of(&k->in_aval[0], 1) * (matrix / 16));
  return BDL_OK;
}

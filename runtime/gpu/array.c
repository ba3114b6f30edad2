/*
** array.c -- kernels that scatter, sort and reduce: in several passes, with room between.
*/
#include <stdlib.h>
#include <string.h>

#include "cpu/array.h"
#include "export/group.h"
#include "gpu/program.h"
#include "prim/prim.h"

#define ADD BDL_ADD
#define LINE(...) (BDL_ADD("%*s", indent, ""), BDL_ADD(__VA_ARGS__))

static const char *code_of(const bdl_aval *a) { return bdl_emit_code(a->dtype); }
static bdl_status in(bdl_exporter *m, const bdl_inst *i, int k) { return bdl_export_place(m, i->kernel.in[k]); }
static bdl_status out(bdl_exporter *m, const bdl_inst *i, int k) { return bdl_export_place(m, i->kernel.out[k]); }

/* ---- room ------------------------------------------------------------------------------------------------------------- */

static int64_t aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }

/* `(float *)(F[5] + 64)`: bytes from .. from + n - 1 of the room. */
static void room(bdl_exporter *m, const char *type, int64_t from, int64_t n) {
  ADD("(%s *)(F[%d] + %" PRId64 ")", type, m->plan->n_in + m->plan->n_out + BDL_GPU_ROOM, from);
  m->room = BDL_MAX(m->room, from + n);
}

/* ---- scatter ------------------------------------------------------------------------------------------------------------ */

enum { FEW = 64, MANY_LANES = 8192 };

/* 64 bits that sort by index, then by place. */
static int by_value(const void *a, const void *b) {
  const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

typedef struct sorted_index {
  bool distinct;
  int32_t words, order; /* constants */
} sorted_index;

/* An index that is known: sorted here. */
static bdl_status sort_known(bdl_exporter *m, const void *index, bool wide, int64_t n, sorted_index *s) {
  const size_t bytes = (size_t)n * sizeof(uint64_t);
  uint64_t *both = bdl_alloc(m->c, bytes + 1);
  uint32_t *words = bdl_alloc(m->c, bytes + 1);
  bdl_status status = both && words ? BDL_OK : BDL_ENOMEM;
  s->distinct = true;
  for (int64_t k = 0; k < n && status == BDL_OK; k++) both[k] = (uint64_t)bdl_k_index_at(index, wide, k) << 32 | (uint64_t)k;
  if (status == BDL_OK) {
    qsort(both, (size_t)n, sizeof *both, by_value);
    for (int64_t k = 0; k < n; k++) {
      words[k] = (uint32_t)(both[k] >> 32);
      words[n + k] = (uint32_t)both[k];
      s->distinct &= k == 0 || words[k] != words[k - 1];
    }
    if (!s->distinct) status = bdl_export_constant_of(m, BDL_U32, n, words, false, true, &s->words);
    if (!s->distinct && status == BDL_OK) status = bdl_export_constant_of(m, BDL_I32, n, words + n, false, true, &s->order);
  }
  bdl_free(m->c, both, bytes + 1);
  bdl_free(m->c, words, bytes + 1);
  return status;
}

static bdl_status scatter_operands(bdl_exporter *m, const bdl_inst *i, bool index) {
  TRY(out(m, i, 0));
  ADD(", ");
  TRY(in(m, i, 2));
  ADD(", ");
  if (index) TRY(in(m, i, 1));
  return BDL_OK;
}

/* All at once where no two updates meet, or their order does not matter; else in order, those of one target by one thread. */
static bdl_status scatter(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *x = &i->kernel.in_aval[0], *index = &i->kernel.in_aval[1];
  const bool along = i->prim == BDL_P_scatter_along, wide = index->dtype == BDL_I64;
  const char *op = i->kernel.params[1].s, *code = code_of(index);
  const int64_t axis = i->kernel.params[0].i, count = bdl_aval_numel(index), k = along ? index->shape[axis] : count;
  const bdl_around a = bdl_axis_around(x, axis);
  const int64_t inner = along && a.inner > 1 && bdl_axis_around(index, axis).inner == a.inner ? a.inner : 1;
  const int64_t lanes = along ? a.outer * inner : 1, n = lanes * k;
  const void *known = lanes == 1 ? bdl_export_known(m, i->kernel.in[1]) : NULL;
  sorted_index s = {.distinct = k == 1};
  TRY(bdl_export_check_index(m, i, indent));
  if (a.outer * k * a.inner == 0) return BDL_OK;
  if (known && bdl_k_index_outside(known, wide, n, a.n) >= 0) known = NULL;
  if (known && k > 1) TRY(sort_known(m, known, wide, k, &s));
  if (strcmp(op, "add") == 0 && !bdl_dtype_is_float(x->dtype) && !s.distinct) {
    LINE("scatter_sum_%s_%s(", code, code_of(x));
    TRY(scatter_operands(m, i, true));
    ADD(", ");
  } else if (s.distinct || (!known && (k <= FEW || lanes >= MANY_LANES))) {
    LINE("scatter_%s_%s_%s(", op, code, code_of(x));
    TRY(scatter_operands(m, i, true));
    ADD(", ");
    bdl_export_indexing(m, i);
    ADD(", %" PRId64 ");\n", s.distinct ? k : 1);
    return BDL_OK;
  } else {
    if (!known) {
      LINE("scatter_order_%s(", code);
      room(m, "uint32_t", 0, 16 * n);
      ADD(", ");
      room(m, "int32_t", 8 * n, 8 * n);
      ADD(", ");
      TRY(in(m, i, 1));
      ADD(", %" PRId64 ", ", lanes);
      bdl_export_indexing(m, i);
      ADD(");\n");
      bdl_export_sync(m, indent);
    }
    LINE("scatter_sorted_%s_%s(", op, code_of(x));
    TRY(scatter_operands(m, i, false));
    if (known) ADD("data_%" PRId32 ", data_%" PRId32, s.words, s.order);
    else {
      room(m, "uint32_t", 0, 0);
      ADD(", ");
      room(m, "int32_t", 8 * n, 0);
    }
    ADD(", %" PRId64 ", ", lanes);
  }
  bdl_export_indexing(m, i);
  ADD(");\n");
  return BDL_OK;
}

/* ---- sorting: an order, room for another, and two words an element -------------------------------------------------------- */

static bdl_status sort_by(bdl_exporter *m, const bdl_inst *i, int key, bdl_around a, int descending, bool first, int indent) {
  LINE("sort_by_%s(", code_of(&i->kernel.in_aval[key]));
  room(m, "int32_t", 0, 24 * a.outer * a.n * a.inner);
  ADD(", ");
  TRY(in(m, i, key));
  ADD(", ");
  bdl_export_around(m, a);
  ADD(", %d, %d);\n", descending, first);
  bdl_export_sync(m, indent);
  return BDL_OK;
}

/* params: axis keys descending */
static bdl_status sort(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_around a = bdl_axis_around(&i->kernel.in_aval[0], i->kernel.params[0].i);
  const int64_t keys = i->kernel.params[1].i;
  if (a.outer * a.n * a.inner == 0) return BDL_OK;
  for (int64_t k = keys - 1; k >= 0; k--) TRY(sort_by(m, i, (int)k, a, i->kernel.params[2].i != 0, k == keys - 1, indent));
  for (int k = 0; k < i->kernel.n_in; k++) {
    LINE("sort_apply_%s(", code_of(&i->kernel.in_aval[k]));
    TRY(out(m, i, k));
    ADD(", ");
    TRY(in(m, i, k));
    ADD(", ");
    room(m, "int32_t", 0, 0);
    ADD(", ");
    bdl_export_around(m, a);
    ADD(");\n");
  }
  return BDL_OK;
}

/* params: k.  Few of many: without sorting the others (firsts() of cuda/sorting.inc). */
static bdl_status top_k(bdl_exporter *m, const bdl_inst *i, int indent) {
  enum { tile = 1024 };
  const bdl_aval *x = &i->kernel.in_aval[0];
  const int64_t n = x->shape[x->ndim - 1], lanes = n ? bdl_aval_numel(x) / n : 0, k = i->kernel.params[0].i;
  const bool few = n > tile && k <= tile / 4;
  if (lanes == 0 || k == 0) return BDL_OK;
  if (!few) TRY(sort_by(m, i, 0, (bdl_around){lanes, n, 1}, 2, true, indent));
  LINE("top_%s_%s(", few ? "few" : "k", code_of(x));
  TRY(out(m, i, 0));
  ADD(", ");
  TRY(out(m, i, 1));
  ADD(", ");
  TRY(in(m, i, 0));
  ADD(", ");
  room(m, "int32_t", 0, few ? 24 * lanes * (n / tile * k + BDL_MIN(n % tile, k)) : 0);
  ADD(", %" PRId64 ", %" PRId64 ", %" PRId64 ");\n", lanes, n, k);
  return BDL_OK;
}

/* ---- reductions -------------------------------------------------------------------------------------------------------------- */

/* Axes of several runs, the last first; what is between lies in two halves of the room, parts of a pass behind them. */
static bdl_status reduce(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *x = &i->kernel.in_aval[0];
  const char *type = bdl_export_ctype(x->dtype);
  const int64_t size = (int64_t)bdl_dtype_size(x->dtype);
  int op = (int)(i->prim - BDL_P_reduce_sum), n;
  int64_t extent[BDL_MAX_NDIM + 1], half = 0;
  if (x->dtype == BDL_BOOL && op == BDL_RED_MAX) op = BDL_RED_OR;
  if (x->dtype == BDL_BOOL && op == BDL_RED_MIN) op = BDL_RED_AND;
  n = bdl_export_runs(x, &i->kernel.params[0], extent);
  if (n < 2) {
    char to[BDL_EXPORT_PLACE], from[BDL_EXPORT_PLACE];
    TRY(bdl_export_place_text(m, i->kernel.out[0], to));
    TRY(bdl_export_place_text(m, i->kernel.in[0], from));
    bdl_export_copy(m, indent, to, from, bdl_aval_bytes(x));
    return BDL_OK;
  }
  for (int step = 0; n >= 2; step++) {
    const bdl_around a = bdl_export_take_run(extent, &n);
    const int64_t results = a.outer * a.inner, part = a.inner == 1 ? BDL_TILE : 64;
    if (step == 0) half = aligned(results * size);
    if (step > 0) bdl_export_sync(m, indent);
    if (a.n == 0) LINE("fill_%s(", code_of(x));
    else LINE("%s_%s_%s(", bdl_export_reduction[op], a.inner == 1 ? "rows" : "columns", code_of(x));
    if (n < 2) TRY(out(m, i, 0));
    else room(m, type, step % 2 ? half : 0, results * size);
    ADD(", ");
    if (a.n == 0) {
      const bdl_scalar v = bdl_k_identity((bdl_reduce_op)op, x->dtype);
      bdl_export_literal(&m->text, x->dtype, &v, false);
      ADD(", %" PRId64 ");\n", results);
      continue;
    }
    if (step == 0) TRY(in(m, i, 0));
    else room(m, type, step % 2 ? 0 : half, 0);
    ADD(", ");
    bdl_export_around(m, a);
    ADD(", ");
    room(m, type, 2 * half, a.n > part ? results * ((a.n + part - 1) / part) * size : 0);
    ADD(");\n");
  }
  return BDL_OK;
}

static bdl_status arg_reduce(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_around a = bdl_axis_around(&i->kernel.in_aval[0], i->kernel.params[0].i);
  LINE("%s_%s(", bdl_prims[i->prim].name, code_of(&i->kernel.in_aval[0]));
  TRY(out(m, i, 0));
  ADD(", ");
  TRY(in(m, i, 0));
  ADD(", ");
  bdl_export_around(m, a);
  ADD(", ");
  room(m, "int32_t", 0, a.n > 64 ? a.outer * a.inner * ((a.n + 63) / 64) * 4 : 0);
  ADD(");\n");
  return BDL_OK;
}

/* params: axis reverse.  Products of floats are one chain a lane: parts of one may leave the range where the whole does not. */
static bdl_status cumulate(bdl_exporter *m, const bdl_inst *i, int indent) {
  enum { part = 1024, lanes_enough = 4096 };
  const bdl_aval *x = &i->kernel.in_aval[0];
  const bdl_around a = bdl_axis_around(x, i->kernel.params[0].i);
  const bool chain = bdl_dtype_is_float(x->dtype) && i->prim == BDL_P_cumprod;
  const bool whole = chain || a.n <= 2 * part || a.outer * a.inner >= lanes_enough;
  if (a.outer * a.n * a.inner == 0) return BDL_OK;
  LINE("%s_%s(", bdl_prims[i->prim].name, code_of(x));
  TRY(out(m, i, 0));
  ADD(", ");
  TRY(in(m, i, 0));
  ADD(", ");
  bdl_export_around(m, a);
  ADD(", %d, %" PRId64 ", ", i->kernel.params[1].i != 0, whole ? a.n : part);
  room(m, bdl_export_ctype(x->dtype), 0, whole ? 0 : a.outer * a.inner * (a.n / part + 1) * (int64_t)bdl_dtype_size(x->dtype));
  ADD(");\n");
  return BDL_OK;
}

/* ---- which of them ------------------------------------------------------------------------------------------------------------- */

bdl_status bdl_gpu_array(bdl_exporter *m, const bdl_inst *i, int indent) {
  switch (i->prim) {
    case BDL_P_scatter: case BDL_P_scatter_along: return scatter(m, i, indent);
    case BDL_P_sort: return sort(m, i, indent);
    case BDL_P_top_k: return top_k(m, i, indent);
    case BDL_P_reduce_sum: case BDL_P_reduce_prod: case BDL_P_reduce_max: case BDL_P_reduce_min: case BDL_P_reduce_and:
    case BDL_P_reduce_or:
      return reduce(m, i, indent);
    case BDL_P_argmax: case BDL_P_argmin: return arg_reduce(m, i, indent);
    default: return cumulate(m, i, indent);
  }
}

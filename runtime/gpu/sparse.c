/*
** sparse.c -- products with events, and with matrices that are sparse or made from seeds, for a GPU: calls of device_event.inc,
** device_csr.inc and device_jitc.inc of kernels/cuda.
**
** A matrix whose places are constants and in range is written down in the orientation that touches least: its rows where they are
** pushed or read whole, those of its transpose where active columns are pushed, and for v A, which then is pulled.  Of others, what
** is touched is checked.
*/
#include <string.h>

#include "gpu/sparse.h"

#define ADD BDL_ADD
#define LINE(...) (BDL_ADD("%*s", indent, ""), BDL_ADD(__VA_ARGS__))

typedef bdl_export_vectors vectors;

static const char *code_of(const bdl_aval *a) { return bdl_emit_code(a->dtype); }
static bdl_status out(bdl_exporter *m, const bdl_inst *i) { return bdl_export_place(m, i->kernel.out[0]); }

/* The room begins with the sums of what is pushed (sums_in of sparse.inc). */
static int64_t sums_bytes(int64_t n, int64_t n_vectors) { return (12 * n + 4 * n_vectors + 7) / 8 * 8; }

static bdl_status event_dot(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *w = &i->kernel.in_aval[1];
  const vectors v = bdl_export_vectors_of(i, 1, 2);
  int64_t at = 0;
  TRY(bdl_gpu_active(m, i, indent, v.lanes * v.batch, &at));
  LINE("event_%s_%s(", i->kernel.params[0].i ? "columns" : "rows", code_of(w));
  TRY(out(m, i));
  ADD(", bits");
  TRY(bdl_gpu_comma(m, i, 1));
  ADD(", %" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 ");\n", w->shape[w->ndim - 2], bdl_gpu_last(w),
      v.lanes * v.batch, v.batch, bdl_gpu_lane_step(i, 1, 2));
  return BDL_OK;
}

/* ---- sparse ------------------------------------------------------------------------------------------------------ */

/* The upper word of the largest finite |weight|, as top_of of sparse.inc has it; 0: not known. */
static uint32_t top_of(const bdl_exporter *m, const bdl_inst *i, int data) {
  const bdl_aval *a = &i->kernel.in_aval[data];
  const void *w = bdl_export_known(m, i->kernel.in[data]);
  uint32_t top = 1u << 20;
  if (!w || !bdl_dtype_is_float(a->dtype) || a->ndim > 1) return 0;
  for (int64_t k = 0; k < bdl_gpu_last(a); k++) {
    const double x = a->dtype == BDL_F32 ? (double)((const float *)w)[k] : ((const double *)w)[k];
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t upper = (uint32_t)(bits >> 32) & 0x7fffffffu;
    if (upper < 0x7ff00000u) top = BDL_MAX(top, upper);
  }
  return top;
}

/* params: rows cols transpose event; in: v, data, indices, indptr */
static bdl_status csr_dot(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *z = &i->kernel.out_aval[0];
  const vectors v = bdl_export_vectors_of(i, 1, 1);
  const bool transpose = i->kernel.params[2].i != 0, event = i->kernel.params[3].i != 0;
  const int64_t n = v.lanes * v.batch;
  int64_t at = 0;
  bdl_gpu_matrix t;
  TRY(bdl_gpu_matrix_of(m, i, 2, event == transpose, &t));
  const bool gather = event && transpose && !t.known, pull = !event && (transpose || t.known), push = !gather && !pull;
  if (push) at = sums_bytes(bdl_aval_numel(z), n);
  if (event) TRY(bdl_gpu_active(m, i, indent, n, &at));
  bdl_gpu_begin(m, &t, indent);
  ADD("csr_%s_%s(flag, ", gather ? "gather" : pull ? "pull" : "push", code_of(z));
  if (push) {
    int64_t from = 0;
    bdl_gpu_room(m, "char", &from, sums_bytes(bdl_aval_numel(z), n));
    ADD(", ");
  }
  TRY(out(m, i));
  if (event) ADD(push ? ", 0, bits" : ", bits");
  else TRY(bdl_gpu_comma(m, i, 0));
  if (push) ADD(event ? ", 0, 0" : ", 0, 0, 0");
  TRY(bdl_gpu_comma(m, i, 1));
  TRY(bdl_gpu_csr(m, i, &t, 2, 1, v.batch));
  ADD(", %" PRId64, n);
  if (push) ADD(", 0, %" PRIu32 "u, 1)", event ? top_of(m, i, 1) : 0);
  else ADD(", %d)", pull && transpose);
  return bdl_gpu_end(m, i, &t);
}

/* `bits`: who of n is listed. */
static void bits_of_ids(bdl_exporter *m, int indent, int64_t n, int64_t *at) {
  LINE("unsigned char *const mark = ");
  bdl_gpu_room(m, "unsigned char", at, n);
  ADD(";\n");
  LINE("uint32_t *const bits = ");
  bdl_gpu_room(m, "uint32_t", at, (n + 31) / 32 * 4);
  ADD(";\n");
  LINE("fill_b8(mark, 0, %" PRId64 ");\n", n);
  bdl_export_sync(m, indent);
  LINE("for (int32_t r = THREAD; r < count; r += THREADS) mark[ids[r]] = 1;\n");
  bdl_export_sync(m, indent);
  LINE("event_bits_b8(bits, mark, %" PRId64 ", 1);\n", n);
  bdl_export_sync(m, indent);
}

/* params: rows cols transpose; in: y, ids, count, data, indices, indptr */
static bdl_status csr_scatter(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *z = &i->kernel.out_aval[0];
  const bool columns = i->kernel.params[2].i != 0;
  int64_t at = sums_bytes(bdl_aval_numel(z), 1), from = 0;
  bdl_gpu_matrix t;
  TRY(bdl_gpu_matrix_of(m, i, 4, columns, &t));
  const bool gather = columns && !t.known;
  LINE("{\n");
  indent += 2;
  TRY(bdl_gpu_listed(m, i, indent, i->kernel.params[columns].i, false, &at));
  if (gather) {
    LINE("(void)again;\n");
    bits_of_ids(m, indent, i->kernel.params[1].i, &at);
  } else if (t.known || !bdl_gpu_even(i, 4)) LINE("if (count > 0)\n");
  bdl_gpu_begin(m, &t, gather ? indent : indent + 2);
  ADD("csr_%s_%s(flag, ", gather ? "gather" : "push", code_of(z));
  if (!gather) {
    bdl_gpu_room(m, "char", &from, sums_bytes(bdl_aval_numel(z), 1));
    ADD(", ");
  }
  TRY(out(m, i));
  ADD(gather ? ", bits" : ", 0, 0, ids, count");
  TRY(bdl_gpu_comma(m, i, 3));
  TRY(bdl_gpu_csr(m, i, &t, 4, 3, 1));
  ADD(", 1, 1");
  if (!gather) ADD(", %" PRIu32 "u, again ? count : 1", top_of(m, i, 3));
  ADD(")");
  TRY(bdl_gpu_end(m, i, &t));
  indent -= 2;
  LINE("}\n");
  return BDL_OK;
}

/* params: rows cols event; in: a, b, indices, indptr */
static bdl_status csr_outer(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *x = &i->kernel.in_aval[0], *z = &i->kernel.out_aval[0];
  const bool event = i->kernel.params[2].i != 0;
  vectors v = {x->ndim == 3 ? x->shape[0] : 1, 1};
  int64_t at = 0;
  bdl_gpu_matrix t;
  for (int k = x->ndim == 3; k < x->ndim - 1; k++) v.batch *= x->shape[k];
  if (v.batch == 0) {
    LINE("fill_%s(", code_of(z));
    TRY(out(m, i));
    ADD(", 0, %" PRId64 ");\n", bdl_aval_numel(z));
    return BDL_OK;
  }
  TRY(bdl_gpu_matrix_of(m, i, 2, false, &t));
  if (event) TRY(bdl_gpu_active(m, i, indent, v.lanes * v.batch, &at));
  bdl_gpu_begin(m, &t, indent);
  ADD("csr_outer_%s(flag, ", code_of(z));
  TRY(out(m, i));
  if (event) ADD(", 0, bits");
  else {
    TRY(bdl_gpu_comma(m, i, 0));
    ADD(", 0");
  }
  TRY(bdl_gpu_comma(m, i, 1));
  TRY(bdl_gpu_csr(m, i, &t, 2, -1, v.batch));
  ADD(", %" PRId64 ")", v.lanes);
  return bdl_gpu_end(m, i, &t);
}

/* ---- weights that learn: w, ids, count, x, gain, low, high -------------------------------------------------------------- */

/* `(w, ids, count, x, gain, same, low, high`, in `lane` where there are several. */
static bdl_status learned(bdl_exporter *m, const bdl_inst *i, bool lanes) {
  const bdl_aval *w = &i->kernel.out_aval[0];
  TRY(out(m, i));
  if (lanes) ADD(" + lane * %" PRId64, bdl_aval_numel(w) / w->shape[0]);
  ADD(", ids, count");
  for (int k = 3; k < 7; k++) {
    TRY(bdl_gpu_comma(m, i, k));
    if (lanes) ADD(" + lane * %" PRId64, bdl_gpu_lane_step(i, k, k < 5));
    if (k == 4) ADD(", %d", bdl_gpu_last(&i->kernel.in_aval[4]) == 1);
  }
  return BDL_OK;
}

/* Weights may have an axis of lanes above that rank. */
static bool each_lane(bdl_exporter *m, const bdl_inst *i, int rank, int indent) {
  const bdl_aval *w = &i->kernel.out_aval[0];
  const bool lanes = w->ndim > rank;
  if (lanes) LINE("for (int32_t lane = 0; lane < %" PRId64 "; lane++) {\n", w->shape[0]);
  else LINE("{\n");
  return lanes;
}

/* params: transpose */
static bdl_status event_learn(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *w = &i->kernel.out_aval[0];
  const bool columns = i->kernel.params[0].i != 0;
  const int64_t rows = w->shape[w->ndim - 2];
  int64_t at = 0;
  const bool lanes = each_lane(m, i, 2, indent);
  indent += 2;
  TRY(bdl_gpu_listed(m, i, indent, columns ? bdl_gpu_last(w) : rows, lanes, &at));
  LINE("event_learn_%s(", code_of(w));
  TRY(learned(m, i, lanes));
  ADD(", %" PRId64 ", %" PRId64 ", %d, again);\n", rows, bdl_gpu_last(w), columns);
  indent -= 2;
  LINE("}\n");
  return BDL_OK;
}

/* params: rows cols; in: as event_learn, then indices, indptr, (places) */
static bdl_status csr_learn(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *w = &i->kernel.out_aval[0];
  int64_t at = 0;
  bdl_gpu_matrix t;
  TRY(bdl_gpu_matrix_of(m, i, 7, false, &t));
  if (i->kernel.n_in > 9)
    TRY(bdl_export_constant_of(m, BDL_I32, bdl_gpu_last(w), bdl_export_known(m, i->kernel.in[9]), false, false, &t.places));
  const bool lanes = each_lane(m, i, 1, indent);
  indent += 2;
  TRY(bdl_gpu_listed(m, i, indent, i->kernel.params[0].i, lanes, &at));
  bdl_gpu_begin(m, &t, indent);
  ADD("csr_learn_%s(flag, ", code_of(w));
  TRY(learned(m, i, lanes));
  TRY(bdl_gpu_csr(m, i, &t, 7, -1, 1));
  ADD(lanes ? ", lane, again)" : ", 0, again)");
  TRY(bdl_gpu_end(m, i, &t));
  indent -= 2;
  LINE("}\n");
  return BDL_OK;
}

/* ---- from seeds ---------------------------------------------------------------------------------------------------------- */

/* params: rows cols transpose event kind; in: v, p0, p1, seed */
static bdl_status jitc_dot(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *z = &i->kernel.out_aval[0];
  const vectors v = bdl_export_vectors_of(i, 1, 0);
  const bool transpose = i->kernel.params[2].i != 0, event = i->kernel.params[3].i != 0;
  const bdl_export_law l = bdl_export_law_of(i->kernel.params[4].s);
  const int64_t n = v.lanes * v.batch;
  int64_t at = transpose ? 0 : sums_bytes(bdl_aval_numel(z), n), from = 0;
  if (event) TRY(bdl_gpu_active(m, i, indent, n, &at));
  LINE("jitc_%s_%s(", transpose ? "pull" : "push", code_of(z));
  if (!transpose) {
    bdl_gpu_room(m, "char", &from, sums_bytes(bdl_aval_numel(z), n));
    ADD(", ");
  }
  TRY(out(m, i));
  if (event) ADD(", 0, bits, ");
  else {
    TRY(bdl_gpu_comma(m, i, 0));
    ADD(", 0, ");
  }
  bdl_export_open(m, "drawn", 0);
  ADD("%" PRId64 ", %" PRId64 ", %d, %" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 ", %a, %a", i->kernel.params[0].i,
      i->kernel.params[1].i, l.law, v.batch, bdl_gpu_lane_step(i, 3, 0), bdl_gpu_lane_step(i, 1, 0), bdl_gpu_lane_step(i, 2, 0), l.prob, l.scale);
  bdl_export_close(m);
  TRY(bdl_gpu_comma(m, i, 3));
  TRY(bdl_gpu_comma(m, i, 1));
  TRY(bdl_gpu_comma(m, i, 2));
  ADD(", %" PRId64 ");\n", n);
  return BDL_OK;
}

/* ---- which of them ----------------------------------------------------------------------------------------------------------- */

/* Is it known where each entry's weight is, and is none there twice?  Then all may change at once. */
static bool has_own_places(const bdl_plan *plan, const bdl_inst *i) {
  const bdl_pslot *s = &plan->slots.v[i->kernel.in[9].slot];
  const int64_t n = bdl_gpu_last(&i->kernel.in_aval[9]);
  if (s->kind != BDL_S_CONST || i->kernel.in_aval[9].ndim > 1) return false;
  const int32_t *places = (const int32_t *)((const char *)s->data + i->kernel.in[9].offset);
  if (bdl_k_index_outside(places, false, n, n) >= 0) return false;
  const size_t bytes = (size_t)n + 1;
  bool *taken = bdl_calloc(plan->ctx, bytes), own = taken != NULL;
  for (int64_t k = 0; own && k < n; k++) {
    own = !taken[places[k]];
    taken[places[k]] = true;
  }
  bdl_free(plan->ctx, taken, bytes);
  return own;
}

bool bdl_gpu_runs_sparse(const bdl_plan *plan, const bdl_inst *i) {
  switch (i->prim) {
    case BDL_P_event_dot: case BDL_P_csr_dot: case BDL_P_csr_scatter: case BDL_P_csr_outer: case BDL_P_event_learn: case BDL_P_jitc_dot:
      return true;
    case BDL_P_csr_learn: return i->kernel.n_in < 10 || has_own_places(plan, i);
    default: return false;
  }
}

/* A lane for each entry that a vector may meet; a warp for each seeded row. */
int64_t bdl_gpu_work_of_sparse(const bdl_inst *i) {
  const bdl_aval *x = &i->kernel.in_aval[0], *w = &i->kernel.in_aval[1];
  const int64_t n_vectors = bdl_gpu_last(x) ? bdl_aval_numel(x) / bdl_gpu_last(x) : 0;
  switch (i->prim) {
    case BDL_P_csr_dot: return n_vectors * bdl_gpu_last(&i->kernel.in_aval[2]);
    case BDL_P_jitc_dot: return n_vectors * 32 * i->kernel.params[0].i;
    default: return n_vectors * (i->kernel.params[0].i ? 32 * w->shape[w->ndim - 2] : bdl_gpu_last(w));
  }
}

static bdl_status call(bdl_exporter *m, const bdl_inst *i, int indent) {
  switch (i->prim) {
    case BDL_P_event_dot: return event_dot(m, i, indent);
    case BDL_P_csr_dot: return csr_dot(m, i, indent);
    case BDL_P_csr_scatter: return csr_scatter(m, i, indent);
    case BDL_P_csr_outer: return csr_outer(m, i, indent);
    case BDL_P_event_learn: return event_learn(m, i, indent);
    case BDL_P_csr_learn: return csr_learn(m, i, indent);
    default: return jitc_dot(m, i, indent);
  }
}

bdl_status bdl_gpu_sparse(bdl_exporter *m, const bdl_inst *i, int indent) {
  if (bdl_aval_numel(&i->kernel.out_aval[0]) == 0) return BDL_OK;
  LINE("{\n");
  TRY(call(m, i, indent + 2));
  LINE("}\n");
  return BDL_OK;
}

/*
** sparse.c -- products with events, and with matrices that are sparse or made from seeds, for a GPU: calls of device_event.inc,
** device_csr.inc and device_jitc.inc of kernels/cuda.
**
** A matrix whose places are constants and in range is written down in the orientation that touches least: its rows where they are
** pushed or read whole, those of its transpose where active columns are pushed, and for v A, which then is pulled.  Of others, what
** is touched is checked.
*/
#include <string.h>

#include "exec/emit_ops.h"
#include "export/sparse.h"
#include "gpu/program.h"
#include "prim/prim.h"

#define ADD BDL_ADD
#define LINE(...) (BDL_ADD("%*s", indent, ""), BDL_ADD(__VA_ARGS__))

typedef bdl_export_vectors vectors;

static int64_t last_of(const bdl_aval *a) { return a->shape[a->ndim - 1]; }
static const char *code_of(const bdl_aval *a) { return bdl_emit_code(a->dtype); }
static int64_t words_of(int64_t n) { return (n + 31) / 32; }

/* ---- the room of an instruction: sums, then what else it takes ------------------------------------------------- */

static int64_t sums_bytes(int64_t n, int64_t n_vectors) { return (12 * n + 4 * n_vectors + 7) / 8 * 8; }

/* `(uint32_t *)(F[12] + 96)`: the next `bytes` of the room, behind *at. */
static void room(bdl_exporter *m, const char *type, int64_t *at, int64_t bytes) {
  ADD("(%s *)(F[%" PRId32 "] + %" PRId64 ")", type, m->plan->n_in + m->plan->n_out + BDL_GPU_ROOM, *at);
  *at += (bytes + 7) / 8 * 8;
  m->room = BDL_MAX(m->room, *at);
}

static bdl_status in(bdl_exporter *m, const bdl_inst *i, int k) { return bdl_export_place(m, i->kernel.in[k]); }
static bdl_status out(bdl_exporter *m, const bdl_inst *i) { return bdl_export_place(m, i->kernel.out[0]); }
static bdl_status comma_in(bdl_exporter *m, const bdl_inst *i, int k) {
  ADD(", ");
  return in(m, i, k);
}

/* Elements of operand k from one lane to the next. */
static int64_t step_of(const bdl_inst *i, int k, int rank) {
  const bdl_aval *a = &i->kernel.in_aval[k];
  return a->ndim > rank && a->shape[0] > 0 ? bdl_aval_numel(a) / a->shape[0] : 0;
}

/* `bits`: who is active in the vectors of operand 0. */
static bdl_status active(bdl_exporter *m, const bdl_inst *i, int indent, int64_t n_vectors, int64_t *at) {
  const bdl_aval *s = &i->kernel.in_aval[0];
  LINE("uint32_t *const bits = ");
  room(m, "uint32_t", at, 4 * n_vectors * words_of(last_of(s)));
  ADD(";\n");
  LINE("event_bits_%s(bits, ", code_of(s));
  TRY(in(m, i, 0));
  ADD(", %" PRId64 ", %" PRId64 ");\n", last_of(s), n_vectors);
  bdl_export_sync(m, indent);
  return BDL_OK;
}

static bdl_status event_dot(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *w = &i->kernel.in_aval[1];
  const vectors v = bdl_export_vectors_of(i, 1, 2);
  int64_t at = 0;
  TRY(active(m, i, indent, v.lanes * v.batch, &at));
  LINE("event_%s_%s(", i->kernel.params[0].i ? "columns" : "rows", code_of(w));
  TRY(out(m, i));
  ADD(", bits");
  TRY(comma_in(m, i, 1));
  ADD(", %" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 ");\n", w->shape[w->ndim - 2], last_of(w),
      v.lanes * v.batch, v.batch, step_of(i, 1, 2));
  return BDL_OK;
}

/* ---- sparse ------------------------------------------------------------------------------------------------------ */

typedef struct matrix {
  bdl_export_matrix x; /* where it is known; a: of the matrix as operands have it */
  bool known, turned;
  int64_t hits; /* entries of one column, as it is written down */
} matrix;

static bdl_status most_hits(bdl_context *c, matrix *t) {
  const bdl_k_csr *a = &t->x.a;
  const size_t bytes = (size_t)(a->cols + 1) * sizeof(int32_t);
  t->hits = 0;
  for (int64_t i = 0; t->turned && i < a->rows; i++) {
    int64_t lo, hi;
    bdl_k_csr_row(a, i, &lo, &hi);
    t->hits = BDL_MAX(t->hits, hi - lo);
  }
  if (t->turned) return BDL_OK;
  int32_t *count = bdl_calloc(c, bytes);
  if (!count) return BDL_ENOMEM;
  for (int64_t k = 0; k < a->nnz; k++) {
    const int32_t n = ++count[((const int32_t *)a->indices)[k]];
    t->hits = BDL_MAX(t->hits, n);
  }
  bdl_free(c, count, bytes);
  return BDL_OK;
}

/* Operands indices and indptr, from `at` on; turn: by columns, where they are known. */
static bdl_status matrix_of(bdl_exporter *m, const bdl_inst *i, int at, bool turn, matrix *t) {
  bdl_k_csr a;
  *t = (matrix){.known = bdl_export_csr(m, i, at, &a) == BDL_X_PLACES_KNOWN, .hits = last_of(&i->kernel.in_aval[at])};
  if (!t->known) return BDL_OK;
  t->turned = turn;
  TRY(bdl_export_matrix_of(m, &a, turn, &t->x));
  return most_hits(m->c, t);
}

/* Has it one pair of pointers, that says how long all rows are? */
static bool is_even(const bdl_inst *i, int at) { return last_of(&i->kernel.in_aval[at + 1]) != i->kernel.params[0].i + 1; }

/* `, AT(csr, ..)`; data: the operand of weights, -1: there is none; places: constant with them, -1: none but those of the transpose. */
static bdl_status csr(bdl_exporter *m, const bdl_inst *i, const matrix *t, int at, int data, int64_t batch, int32_t places) {
  const bdl_aval *index = &i->kernel.in_aval[at], *ptr = &i->kernel.in_aval[at + 1];
  const int64_t rows = i->kernel.params[0].i, cols = i->kernel.params[1].i;
  const bool same = data >= 0 && last_of(&i->kernel.in_aval[data]) == 1;
  const bool even = !t->known && is_even(i, at);
  if (t->known && t->turned) places = t->x.places;
  ADD(", ");
  bdl_export_open(m, "csr", 0);
  ADD("%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 ", %d, %d, %d, %d, %d, %" PRId64 ", %" PRId64 ", ", t->turned ? cols : rows,
      t->turned ? rows : cols, last_of(index), t->known ? t->x.a.fan : 0, t->known && t->x.narrow, !t->known && ptr->dtype == BDL_I64, even,
      same, t->known, t->hits, batch);
  if (t->known) ADD("data_%" PRId32 ", ", t->x.columns);
  else TRY(in(m, i, at));
  if (!t->known) TRY(comma_in(m, i, at + 1));
  else if (t->x.pointers >= 0) ADD("data_%" PRId32, t->x.pointers);
  else ADD("0");
  if (places >= 0) ADD(", data_%" PRId32, places);
  else ADD(", 0");
  ADD(", %" PRId64 ", %" PRId64 ", %" PRId64, t->known ? 0 : step_of(i, at, 1), t->known ? 0 : step_of(i, at + 1, 1),
      data >= 0 ? step_of(i, data, 1) : 0);
  bdl_export_close(m);
  return BDL_OK;
}

static const char OUTSIDE_CSR[] = "a row or column of a sparse matrix is out of range, or its row pointers do not ascend";
static const char OUTSIDE_IDS[] = "a listed row or column is out of range, or more are listed than there is room for";

/* `if (..` and `) return 3;` around what may meet them. */
static void begin(bdl_exporter *m, const matrix *t, int indent) { LINE(t->known ? "" : "if ("); }
static bdl_status end(bdl_exporter *m, const bdl_inst *i, const matrix *t) {
  int64_t failure;
  if (t->known) ADD(";\n");
  else {
    TRY(bdl_export_failure_of(m, BDL_EINDEX, i->src, OUTSIDE_CSR, &failure));
    ADD(") return %" PRId64 ";\n", failure);
  }
  return BDL_OK;
}

/* The upper word of the largest finite |weight|, as top_of of sparse.inc has it; 0: not known. */
static uint32_t top_of(const bdl_exporter *m, const bdl_inst *i, int data) {
  const bdl_aval *a = &i->kernel.in_aval[data];
  const void *w = bdl_export_known(m, i->kernel.in[data]);
  uint32_t top = 1u << 20;
  if (!w || !bdl_dtype_is_float(a->dtype) || a->ndim > 1) return 0;
  for (int64_t k = 0; k < last_of(a); k++) {
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
  matrix t;
  TRY(matrix_of(m, i, 2, event == transpose, &t));
  const bool gather = event && transpose && !t.known, pull = !event && (transpose || t.known), push = !gather && !pull;
  if (push) at = sums_bytes(bdl_aval_numel(z), n);
  if (event) TRY(active(m, i, indent, n, &at));
  begin(m, &t, indent);
  ADD("csr_%s_%s(flag, ", gather ? "gather" : pull ? "pull" : "push", code_of(z));
  if (push) {
    int64_t from = 0;
    room(m, "char", &from, sums_bytes(bdl_aval_numel(z), n));
    ADD(", ");
  }
  TRY(out(m, i));
  if (event) ADD(push ? ", 0, bits" : ", bits");
  else TRY(comma_in(m, i, 0));
  if (push) ADD(event ? ", 0, 0" : ", 0, 0, 0");
  TRY(comma_in(m, i, 1));
  TRY(csr(m, i, &t, 2, 1, v.batch, -1));
  ADD(", %" PRId64, n);
  if (push) ADD(", 0, %" PRIu32 "u, 1)", event ? top_of(m, i, 1) : 0);
  else ADD(", %d)", pull && transpose);
  return end(m, i, &t);
}

/* `count` and, where ids are not those of events of this program, their check and who are `again` listed. */
static bdl_status listed(bdl_exporter *m, const bdl_inst *i, int indent, int64_t extent, bool lanes, int64_t *at) {
  const bdl_aval *ids = &i->kernel.in_aval[1];
  int64_t failure;
  LINE("const int32_t *const ids = ");
  TRY(in(m, i, 1));
  ADD(lanes ? " + lane * %" PRId64 ";\n" : ";\n", last_of(ids));
  LINE("const int32_t count = (");
  TRY(in(m, i, 2));
  ADD(lanes ? ")[lane];\n" : ")[0];\n");
  if (bdl_export_are_events(m->plan, i->kernel.in[1], i->kernel.in[2], extent)) {
    LINE("const bool again = false;\n");
    return BDL_OK;
  }
  TRY(bdl_export_failure_of(m, BDL_EINDEX, i->src, OUTSIDE_IDS, &failure));
  LINE("uint32_t *const repeated = ");
  room(m, "uint32_t", at, 4 * (lanes ? ids->shape[0] : 1));
  ADD(lanes ? " + lane;\n" : ";\n");
  LINE("if (outside_ids(flag, repeated, ids, count, %" PRId64 ", %" PRId64 ")) return %" PRId64 ";\n", last_of(ids), extent, failure);
  LINE("const bool again = *repeated != 0;\n");
  return BDL_OK;
}

/* `bits`: who of n is listed. */
static void bits_of_ids(bdl_exporter *m, int indent, int64_t n, int64_t *at) {
  LINE("unsigned char *const mark = ");
  room(m, "unsigned char", at, n);
  ADD(";\n");
  LINE("uint32_t *const bits = ");
  room(m, "uint32_t", at, 4 * words_of(n));
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
  matrix t;
  TRY(matrix_of(m, i, 4, columns, &t));
  const bool gather = columns && !t.known;
  LINE("{\n");
  indent += 2;
  TRY(listed(m, i, indent, i->kernel.params[columns].i, false, &at));
  if (gather) {
    LINE("(void)again;\n");
    bits_of_ids(m, indent, i->kernel.params[1].i, &at);
  } else if (t.known || !is_even(i, 4)) LINE("if (count > 0)\n");
  begin(m, &t, gather ? indent : indent + 2);
  ADD("csr_%s_%s(flag, ", gather ? "gather" : "push", code_of(z));
  if (!gather) {
    room(m, "char", &from, sums_bytes(bdl_aval_numel(z), 1));
    ADD(", ");
  }
  TRY(out(m, i));
  ADD(gather ? ", bits" : ", 0, 0, ids, count");
  TRY(comma_in(m, i, 3));
  TRY(csr(m, i, &t, 4, 3, 1, -1));
  ADD(", 1, 1");
  if (!gather) ADD(", %" PRIu32 "u, again ? count : 1", top_of(m, i, 3));
  ADD(")");
  TRY(end(m, i, &t));
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
  matrix t;
  for (int k = x->ndim == 3; k < x->ndim - 1; k++) v.batch *= x->shape[k];
  if (v.batch == 0) {
    LINE("fill_%s(", code_of(z));
    TRY(out(m, i));
    ADD(", 0, %" PRId64 ");\n", bdl_aval_numel(z));
    return BDL_OK;
  }
  TRY(matrix_of(m, i, 2, false, &t));
  if (event) TRY(active(m, i, indent, v.lanes * v.batch, &at));
  begin(m, &t, indent);
  ADD("csr_outer_%s(flag, ", code_of(z));
  TRY(out(m, i));
  if (event) ADD(", 0, bits");
  else {
    TRY(comma_in(m, i, 0));
    ADD(", 0");
  }
  TRY(comma_in(m, i, 1));
  TRY(csr(m, i, &t, 2, -1, v.batch, -1));
  ADD(", %" PRId64 ")", v.lanes);
  return end(m, i, &t);
}

/* ---- weights that learn: w, ids, count, x, gain, low, high -------------------------------------------------------------- */

/* `(w, ids, count, x, gain, same, low, high`, in `lane` where there are several. */
static bdl_status learned(bdl_exporter *m, const bdl_inst *i, bool lanes) {
  const bdl_aval *w = &i->kernel.out_aval[0];
  TRY(out(m, i));
  if (lanes) ADD(" + lane * %" PRId64, bdl_aval_numel(w) / w->shape[0]);
  ADD(", ids, count");
  for (int k = 3; k < 7; k++) {
    TRY(comma_in(m, i, k));
    if (lanes) ADD(" + lane * %" PRId64, step_of(i, k, k < 5));
    if (k == 4) ADD(", %d", last_of(&i->kernel.in_aval[4]) == 1);
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
  TRY(listed(m, i, indent, columns ? last_of(w) : rows, lanes, &at));
  LINE("event_learn_%s(", code_of(w));
  TRY(learned(m, i, lanes));
  ADD(", %" PRId64 ", %" PRId64 ", %d, again);\n", rows, last_of(w), columns);
  indent -= 2;
  LINE("}\n");
  return BDL_OK;
}

/* params: rows cols; in: as event_learn, then indices, indptr, (places) */
static bdl_status csr_learn(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *w = &i->kernel.out_aval[0];
  int64_t at = 0;
  int32_t places = -1;
  matrix t;
  TRY(matrix_of(m, i, 7, false, &t));
  if (i->kernel.n_in > 9)
    TRY(bdl_export_constant_of(m, BDL_I32, last_of(w), bdl_export_known(m, i->kernel.in[9]), false, false, &places));
  const bool lanes = each_lane(m, i, 1, indent);
  indent += 2;
  TRY(listed(m, i, indent, i->kernel.params[0].i, lanes, &at));
  begin(m, &t, indent);
  ADD("csr_learn_%s(flag, ", code_of(w));
  TRY(learned(m, i, lanes));
  TRY(csr(m, i, &t, 7, -1, 1, places));
  ADD(lanes ? ", lane, again)" : ", 0, again)");
  TRY(end(m, i, &t));
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
  if (event) TRY(active(m, i, indent, n, &at));
  LINE("jitc_%s_%s(", transpose ? "pull" : "push", code_of(z));
  if (!transpose) {
    room(m, "char", &from, sums_bytes(bdl_aval_numel(z), n));
    ADD(", ");
  }
  TRY(out(m, i));
  if (event) ADD(", 0, bits, ");
  else {
    TRY(comma_in(m, i, 0));
    ADD(", 0, ");
  }
  bdl_export_open(m, "drawn", 0);
  ADD("%" PRId64 ", %" PRId64 ", %d, %" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 ", %a, %a", i->kernel.params[0].i,
      i->kernel.params[1].i, l.law, v.batch, step_of(i, 3, 0), step_of(i, 1, 0), step_of(i, 2, 0), l.prob, l.scale);
  bdl_export_close(m);
  TRY(comma_in(m, i, 3));
  TRY(comma_in(m, i, 1));
  TRY(comma_in(m, i, 2));
  ADD(", %" PRId64 ");\n", n);
  return BDL_OK;
}

/* ---- which of them ----------------------------------------------------------------------------------------------------------- */

/* Is it known where each entry's weight is, and is none there twice?  Then all may change at once. */
static bool has_own_places(const bdl_plan *plan, const bdl_inst *i) {
  const bdl_pslot *s = &plan->slots.v[i->kernel.in[9].slot];
  const int64_t n = last_of(&i->kernel.in_aval[9]);
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
  const int64_t n_vectors = last_of(x) ? bdl_aval_numel(x) / last_of(x) : 0;
  switch (i->prim) {
    case BDL_P_csr_dot: return n_vectors * last_of(&i->kernel.in_aval[2]);
    case BDL_P_jitc_dot: return n_vectors * 32 * i->kernel.params[0].i;
    default: return n_vectors * (i->kernel.params[0].i ? 32 * w->shape[w->ndim - 2] : last_of(w));
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

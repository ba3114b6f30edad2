/*
** sparse_operands.c -- operands of products with events, as texts of kernels/cuda have them.
**
** A matrix whose places are constants and in range is written down in the orientation that touches least.  Of others, what is
** touched is checked.
*/
#include "gpu/sparse.h"

#define ADD BDL_ADD
#define LINE(...) (BDL_ADD("%*s", indent, ""), BDL_ADD(__VA_ARGS__))

static const char *code_of(const bdl_aval *a) { return bdl_emit_code(a->dtype); }
static int64_t words_of(int64_t n) { return (n + 31) / 32; }

void bdl_gpu_room(bdl_exporter *m, const char *type, int64_t *at, int64_t bytes) {
  ADD("(%s *)(F[%" PRId32 "] + %" PRId64 ")", type, m->plan->n_in + m->plan->n_out + BDL_GPU_ROOM, *at);
  *at += (bytes + 7) / 8 * 8;
  m->room = BDL_MAX(m->room, *at);
}

static bdl_status in(bdl_exporter *m, const bdl_inst *i, int k) { return bdl_export_place(m, i->kernel.in[k]); }
bdl_status bdl_gpu_comma(bdl_exporter *m, const bdl_inst *i, int k) {
  ADD(", ");
  return in(m, i, k);
}

int64_t bdl_gpu_lane_step(const bdl_inst *i, int k, int rank) {
  const bdl_aval *a = &i->kernel.in_aval[k];
  return a->ndim > rank && a->shape[0] > 0 ? bdl_aval_numel(a) / a->shape[0] : 0;
}

bdl_status bdl_gpu_active(bdl_exporter *m, const bdl_inst *i, int indent, int64_t n_vectors, int64_t *at) {
  const bdl_aval *s = &i->kernel.in_aval[0];
  LINE("uint32_t *const bits = ");
  bdl_gpu_room(m, "uint32_t", at, 4 * n_vectors * words_of(bdl_gpu_last(s)));
  ADD(";\n");
  LINE("event_bits_%s(bits, ", code_of(s));
  TRY(in(m, i, 0));
  ADD(", %" PRId64 ", %" PRId64 ");\n", bdl_gpu_last(s), n_vectors);
  bdl_export_sync(m, indent);
  return BDL_OK;
}

/* ---- sparse matrices ------------------------------------------------------------------------------------------------------- */

static bdl_status most_hits(bdl_context *c, bdl_gpu_matrix *t) {
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

bdl_status bdl_gpu_matrix_of(bdl_exporter *m, const bdl_inst *i, int at, bool turn, bdl_gpu_matrix *t) {
  bdl_k_csr a;
  *t = (bdl_gpu_matrix){.known = bdl_export_csr(m, i, at, &a) == BDL_X_PLACES_KNOWN, .hits = bdl_gpu_last(&i->kernel.in_aval[at]),
                        .places = -1};
  if (!t->known) return BDL_OK;
  t->turned = turn;
  TRY(bdl_export_matrix_of(m, &a, turn, &t->x));
  return most_hits(m->c, t);
}

bool bdl_gpu_even(const bdl_inst *i, int at) { return bdl_gpu_last(&i->kernel.in_aval[at + 1]) != i->kernel.params[0].i + 1; }

bdl_status bdl_gpu_csr(bdl_exporter *m, const bdl_inst *i, const bdl_gpu_matrix *t, int at, int data, int64_t batch) {
  const bdl_aval *index = &i->kernel.in_aval[at], *ptr = &i->kernel.in_aval[at + 1];
  const int64_t rows = i->kernel.params[0].i, cols = i->kernel.params[1].i;
  const bool same = data >= 0 && bdl_gpu_last(&i->kernel.in_aval[data]) == 1;
  const bool even = !t->known && bdl_gpu_even(i, at);
  const int32_t places = t->turned ? t->x.places : t->places;
  ADD(", ");
  bdl_export_open(m, "csr", 0);
  ADD("%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 ", ", t->turned ? cols : rows, t->turned ? rows : cols, bdl_gpu_last(index),
      t->known ? t->x.a.fan : 0);
  ADD("%d, %d, %d, %d, %d, %" PRId64 ", %" PRId64 ", ", t->known && t->x.narrow, !t->known && ptr->dtype == BDL_I64, even, same, t->known,
      t->hits, batch);
  if (t->known) ADD("data_%" PRId32 ", ", t->x.columns);
  else TRY(in(m, i, at));
  if (!t->known) TRY(bdl_gpu_comma(m, i, at + 1));
  else if (t->x.pointers >= 0) ADD("data_%" PRId32, t->x.pointers);
  else ADD("0");
  if (places >= 0) ADD(", data_%" PRId32, places);
  else ADD(", 0");
  ADD(", %" PRId64 ", %" PRId64 ", %" PRId64, t->known ? 0 : bdl_gpu_lane_step(i, at, 1), t->known ? 0 : bdl_gpu_lane_step(i, at + 1, 1),
      data >= 0 ? bdl_gpu_lane_step(i, data, 1) : 0);
  bdl_export_close(m);
  return BDL_OK;
}

static const char OUTSIDE_CSR[] = "a row or column of a sparse matrix is out of range, or its row pointers do not ascend";
static const char OUTSIDE_IDS[] = "a listed row or column is out of range, or more are listed than there is room for";

void bdl_gpu_begin(bdl_exporter *m, const bdl_gpu_matrix *t, int indent) { LINE(t->known ? "" : "if ("); }
bdl_status bdl_gpu_end(bdl_exporter *m, const bdl_inst *i, const bdl_gpu_matrix *t) {
  if (!t->known) return bdl_export_fails(m, i, BDL_EINDEX, OUTSIDE_CSR);
  ADD(";\n");
  return BDL_OK;
}

/* ---- lists ------------------------------------------------------------------------------------------------------------------ */

bdl_status bdl_gpu_listed(bdl_exporter *m, const bdl_inst *i, int indent, int64_t extent, bool lanes, int64_t *at) {
  const bdl_aval *ids = &i->kernel.in_aval[1];
  LINE("const int32_t *const ids = ");
  TRY(in(m, i, 1));
  ADD(lanes ? " + lane * %" PRId64 ";\n" : ";\n", bdl_gpu_last(ids));
  LINE("const int32_t count = (");
  TRY(in(m, i, 2));
  ADD(lanes ? ")[lane];\n" : ")[0];\n");
  if (bdl_export_are_events(m->plan, i->kernel.in[1], i->kernel.in[2], extent)) {
    LINE("const bool again = false;\n");
    return BDL_OK;
  }
  LINE("uint32_t *const repeated = ");
  bdl_gpu_room(m, "uint32_t", at, 4 * (lanes ? ids->shape[0] : 1));
  ADD(lanes ? " + lane;\n" : ";\n");
  LINE("if (outside_ids(flag, repeated, ids, count, %" PRId64 ", %" PRId64 ")", bdl_gpu_last(ids), extent);
  TRY(bdl_export_fails(m, i, BDL_EINDEX, OUTSIDE_IDS));
  LINE("const bool again = *repeated != 0;\n");
  return BDL_OK;
}


/*
** kernel_sparse.c -- products with events, and with matrices that are sparse or made from seeds: as exec/lower_event.c.
** The places of a sparse matrix are constants, so they are checked here and written in 16 bits where they fit.
*/
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "exec/emit_ops.h"
#include "export/sparse.h"
#include "prim/prim.h"

#define ADD BDL_ADD
#define LINE(...) (BDL_ADD("%*s", indent, ""), BDL_ADD(__VA_ARGS__))

static int64_t last_of(const bdl_aval *a) { return a->shape[a->ndim - 1]; }
static const char *code_of(const bdl_aval *a) { return bdl_emit_code(a->dtype); }

typedef bdl_export_vectors vectors;
typedef bdl_export_matrix matrix;

vectors bdl_export_vectors_of(const bdl_inst *i, int first, int rank) {
  const bdl_aval *v = &i->kernel.in_aval[0];
  vectors r = {1, 1};
  for (int k = i->kernel.n_in - 1; k >= first; k--)
    if (i->kernel.in_aval[k].ndim > rank) r.lanes = i->kernel.in_aval[k].shape[0];
  for (int k = 0; k < v->ndim - 1; k++) r.batch *= v->shape[k];
  r.batch = r.lanes ? r.batch / r.lanes : 0;
  return r;
}

/* Opens the loop over vectors b, where there are several. */
static int open(bdl_exporter *m, vectors v, int indent) {
  if (v.lanes * v.batch == 1) {
    LINE("{\n");
    LINE("  const int32_t b = 0;\n");
  } else LINE("for (int32_t b = 0; b < %" PRId64 "; b++) {\n", v.lanes * v.batch);
  return indent + 2;
}

/* Vector b of a place whose last axis has n elements. */
static bdl_status vector(bdl_exporter *m, bdl_ref r, int64_t n) {
  TRY(bdl_export_place(m, r));
  ADD(" + b * %" PRId64, n);
  return BDL_OK;
}

/* Operand k in the lane of vector b. */
static bdl_status in_lane(bdl_exporter *m, const bdl_inst *i, int k, int rank, vectors v) {
  const bdl_aval *a = &i->kernel.in_aval[k];
  TRY(bdl_export_place(m, i->kernel.in[k]));
  if (a->ndim > rank && v.lanes > 1) ADD(" + b / %" PRId64 " * %" PRId64, v.batch, bdl_aval_numel(a) / a->shape[0]);
  return BDL_OK;
}

/* `count` and the scratch of the active elements of vector b; or 0 and 1 of each. */
static bdl_status active(bdl_exporter *m, const bdl_inst *i, int indent, bool places) {
  const bdl_aval *s = &i->kernel.in_aval[0];
  LINE(places ? "const int32_t count = events_%s(" : "active_%s(", code_of(s));
  TRY(bdl_export_place(m, (bdl_ref){i->kernel.scratch, 0}));
  ADD(", ");
  TRY(vector(m, i->kernel.in[0], last_of(s)));
  ADD(", %" PRId64 ");\n", last_of(s));
  return BDL_OK;
}

static bdl_status room(bdl_exporter *m, const bdl_inst *i) { return bdl_export_place(m, (bdl_ref){i->kernel.scratch, 0}); }

static bdl_status event_dot(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *w = &i->kernel.in_aval[1], *z = &i->kernel.out_aval[0];
  const vectors v = bdl_export_vectors_of(i, 1, 2);
  const bool transpose = i->kernel.params[0].i != 0;
  if (v.lanes * v.batch == 0 || last_of(&i->kernel.in_aval[0]) == 0) return BDL_OK;
  indent = open(m, v, indent);
  TRY(active(m, i, indent, true));
  LINE("event_%s_%s(", transpose ? "columns" : "rows", code_of(w));
  TRY(vector(m, i->kernel.out[0], last_of(z)));
  ADD(", ");
  TRY(room(m, i));
  ADD(", count, ");
  TRY(in_lane(m, i, 1, 2, v));
  if (transpose) ADD(", %" PRId64, w->shape[w->ndim - 2]);
  ADD(", %" PRId64 ");\n", last_of(w));
  indent -= 2;
  LINE("}\n");
  return BDL_OK;
}

/* ---- sparse ------------------------------------------------------------------------------------------------------------ */

static bdl_status refused(bdl_exporter *m, const bdl_inst *i, const char *why) {
  bdl_fail(m->c, BDL_ENOTSUP, "export: %s: %s", bdl_prims[i->prim].name, why);
  bdl_where(m->c, i->src);
  return BDL_ENOTSUP;
}

/* The columns, in 16 bits where they fit. */
static bdl_status columns_of(bdl_exporter *m, matrix *x, const int32_t *columns, int64_t n, bool own) {
  x->narrow = n <= 65536;
  return bdl_export_constant_of(m, BDL_I32, x->a.nnz, columns, x->narrow, own, &x->columns);
}

static bdl_status by_rows(bdl_exporter *m, matrix *x) {
  const bdl_k_csr *a = &x->a;
  TRY(columns_of(m, x, a->indices, a->cols, false));
  if (!a->indptr) return BDL_OK;
  const size_t bytes = (size_t)(a->rows + 1) * sizeof(int32_t);
  int32_t *p = bdl_alloc(m->c, bytes);
  if (!p) return BDL_ENOMEM;
  for (int64_t k = 0; k <= a->rows; k++) p[k] = (int32_t)bdl_k_index_at(a->indptr, a->wide, k);
  const bdl_status s = bdl_export_constant_of(m, BDL_I32, a->rows + 1, p, false, true, &x->pointers);
  bdl_free(m->c, p, bytes);
  return s;
}

static bdl_status by_columns(bdl_exporter *m, matrix *x) {
  const bdl_k_csr *a = &x->a;
  const int32_t *column = a->indices;
  const size_t n = (size_t)a->nnz, bytes = (2 * n + (size_t)a->cols + 2) * sizeof(int32_t);
  int32_t *row = bdl_calloc(m->c, bytes), *place = row + n, *ptr = place + n; /* ptr[j + 1]: where column j goes on */
  if (!row) return BDL_ENOMEM;
  for (int64_t k = 0; k < a->nnz; k++) ptr[column[k] + 2]++;
  for (int64_t j = 2; j < a->cols + 2; j++) ptr[j] += ptr[j - 1];
  for (int64_t i = 0; i < a->rows; i++) {
    int64_t lo, hi;
    bdl_k_csr_row(a, i, &lo, &hi);
    for (int64_t k = lo; k < hi; k++) {
      const int32_t to = ptr[column[k] + 1]++;
      row[to] = (int32_t)i;
      place[to] = (int32_t)k;
    }
  }
  bdl_status s = columns_of(m, x, row, a->rows, true);
  if (s == BDL_OK) s = bdl_export_constant_of(m, BDL_I32, a->nnz, place, false, true, &x->places);
  if (s == BDL_OK) s = bdl_export_constant_of(m, BDL_I32, a->cols + 1, ptr, false, true, &x->pointers);
  bdl_free(m->c, row, bytes);
  return s;
}

bdl_status bdl_export_matrix_of(bdl_exporter *m, const bdl_k_csr *a, bool turn, matrix *x) {
  *x = (matrix){.a = *a, .pointers = -1, .places = -1};
  return turn ? by_columns(m, x) : by_rows(m, x);
}

bdl_export_places_kind bdl_export_csr(const bdl_exporter *m, const bdl_inst *i, int at, bdl_k_csr *a) {
  const bdl_aval *index = &i->kernel.in_aval[at], *ptr = &i->kernel.in_aval[at + 1];
  const void *columns = bdl_export_known(m, i->kernel.in[at]), *pointers = bdl_export_known(m, i->kernel.in[at + 1]);
  if (!columns || !pointers || index->ndim > 1 || ptr->ndim > 1) return BDL_X_PLACES_UNKNOWN;
  *a = (bdl_k_csr){.rows = i->kernel.params[0].i, .cols = i->kernel.params[1].i, .nnz = last_of(index), .indices = columns,
                   .indptr = pointers, .wide = ptr->dtype == BDL_I64};
  if (last_of(ptr) != a->rows + 1) {
    a->fan = bdl_k_index_at(pointers, a->wide, 1) - bdl_k_index_at(pointers, a->wide, 0);
    a->indptr = NULL;
  }
  const bool whole = a->indptr || (a->fan >= 0 && a->fan * a->rows == a->nnz);
  return whole && bdl_k_csr_check(a).fault == BDL_CSR_FINE ? BDL_X_PLACES_KNOWN : BDL_X_PLACES_WRONG;
}

/* Errors: BDL_ENOTSUP they are not constant; BDL_EINDEX. */
static bdl_status matrix_of(bdl_exporter *m, const bdl_inst *i, int at, bool turn, matrix *x) {
  bdl_k_csr a;
  switch (bdl_export_csr(m, i, at, &a)) {
    case BDL_X_PLACES_KNOWN: return bdl_export_matrix_of(m, &a, turn, x);
    case BDL_X_PLACES_UNKNOWN: return refused(m, i, "the places of its matrix are not constant");
    default: break;
  }
  bdl_fail(m->c, BDL_EINDEX, "export: %s: a row or column of its matrix is out of range", bdl_prims[i->prim].name);
  bdl_where(m->c, i->src);
  return BDL_EINDEX;
}

static const char *width_of(const matrix *x) { return x->narrow ? "u16" : "i32"; }

/* `, data_3, &(const sparse){..});` */
static void sparse(bdl_exporter *m, const matrix *x, bool same) {
  ADD(", data_%" PRId32 ", &(const sparse){%" PRId64 ", %" PRId64 ", %" PRId64 ", %d, ", x->columns, x->a.rows, x->a.cols, x->a.fan, same);
  if (x->pointers < 0) ADD("0, ");
  else ADD("data_%" PRId32 ", ", x->pointers);
  if (x->places < 0) ADD("0});\n");
  else ADD("data_%" PRId32 "});\n", x->places);
}

/* params: rows cols transpose event; in: v, data, indices, indptr.  A s goes by the active columns. */
static bdl_status csr_dot(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *x = &i->kernel.in_aval[0], *z = &i->kernel.out_aval[0], *data = &i->kernel.in_aval[1];
  const vectors v = bdl_export_vectors_of(i, 1, 1);
  const bool transpose = i->kernel.params[2].i != 0, event = i->kernel.params[3].i != 0, same = last_of(data) == 1;
  matrix a;
  TRY(matrix_of(m, i, 2, event && transpose, &a));
  if (v.lanes * v.batch == 0 || last_of(x) == 0) return refused(m, i, "a product of nothing");
  indent = open(m, v, indent);
  if (event) {
    TRY(active(m, i, indent, true));
    LINE("fill_%s(", code_of(z));
    TRY(vector(m, i->kernel.out[0], last_of(z)));
    ADD(", 0, %" PRId64 ");\n", last_of(z));
  }
  LINE("csr_%s_%s_%s(", event ? "scatter" : transpose ? "right" : "left", width_of(&a), code_of(z));
  TRY(vector(m, i->kernel.out[0], last_of(z)));
  ADD(", ");
  TRY(event ? room(m, i) : vector(m, i->kernel.in[0], last_of(x)));
  ADD(event ? ", count, " : ", ");
  TRY(in_lane(m, i, 1, 1, v));
  sparse(m, &a, same);
  indent -= 2;
  LINE("}\n");
  return BDL_OK;
}

bool bdl_export_are_events(const bdl_plan *plan, bdl_ref ids, bdl_ref count, int64_t n) {
  for (int32_t k = 0; k < plan->n_insts; k++) {
    const bdl_inst *i = plan->by_id[k];
    for (int32_t t = 0; i->kind == BDL_I_GROUP && t < i->group->n_insts; t++) {
      const bdl_tile_inst *c = &i->group->insts[t];
      const bdl_operand *o = i->group->operands;
      if (c->kind == BDL_T_COMPACT && o[c->z].ref.slot == ids.slot && o[c->y].ref.slot == count.slot && i->group->n <= n) return true;
    }
  }
  return false;
}
static const char NO_EVENTS[] = "its ids are not those of events of its own program";

/* params: rows cols transpose; in: y, ids, count, data, indices, indptr */
static bdl_status csr_scatter(bdl_exporter *m, const bdl_inst *i, int indent) {
  matrix a;
  const bool columns = i->kernel.params[2].i != 0;
  if (!bdl_export_are_events(m->plan, i->kernel.in[1], i->kernel.in[2], i->kernel.params[columns].i)) return refused(m, i, NO_EVENTS);
  TRY(matrix_of(m, i, 4, columns, &a));
  LINE("csr_scatter_%s_%s(", width_of(&a), code_of(&i->kernel.out_aval[0]));
  TRY(bdl_export_place(m, i->kernel.out[0]));
  ADD(", ");
  TRY(bdl_export_place(m, i->kernel.in[1]));
  ADD(", *(");
  TRY(bdl_export_place(m, i->kernel.in[2]));
  ADD("), ");
  TRY(bdl_export_place(m, i->kernel.in[3]));
  sparse(m, &a, last_of(&i->kernel.in_aval[3]) == 1);
  return BDL_OK;
}

/* params: rows cols event; in: a, b, indices, indptr */
static bdl_status csr_outer(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *x = &i->kernel.in_aval[0], *y = &i->kernel.in_aval[1], *z = &i->kernel.out_aval[0];
  const bool event = i->kernel.params[2].i != 0;
  vectors v = {x->ndim == 3 ? x->shape[0] : 1, 1};
  for (int k = x->ndim == 3; k < x->ndim - 1; k++) v.batch *= x->shape[k];
  matrix a;
  TRY(matrix_of(m, i, 2, false, &a));
  LINE("fill_%s(", code_of(z));
  TRY(bdl_export_place(m, i->kernel.out[0]));
  ADD(", 0, %" PRId64 ");\n", bdl_aval_numel(z));
  if (v.lanes * v.batch == 0) return BDL_OK;
  indent = open(m, v, indent);
  if (event) TRY(active(m, i, indent, true));
  LINE("csr_outer_%s_%s(", width_of(&a), code_of(z));
  TRY(bdl_export_place(m, i->kernel.out[0]));
  ADD(" + b / %" PRId64 " * %" PRId64 ", ", v.batch, last_of(z));
  if (event) ADD("0, ");
  TRY(event ? room(m, i) : vector(m, i->kernel.in[0], last_of(x)));
  if (event) ADD(", count, ");
  else ADD(", 0, %" PRId64 ", ", a.a.rows);
  TRY(vector(m, i->kernel.in[1], last_of(y)));
  sparse(m, &a, false);
  indent -= 2;
  LINE("}\n");
  return BDL_OK;
}

/* `(w, ids, count, x, gain, same, low, high` */
static bdl_status learn(bdl_exporter *m, const bdl_inst *i) {
  ADD("(");
  TRY(bdl_export_place(m, i->kernel.out[0]));
  for (int k = 1; k < 7; k++) {
    const bool number = k == 2 || k > 4;
    ADD(number ? ", *(" : ", ");
    TRY(bdl_export_place(m, i->kernel.in[k]));
    if (number) ADD(")");
    if (k == 4) ADD(", %d", last_of(&i->kernel.in_aval[4]) == 1);
  }
  return BDL_OK;
}

/* params: transpose; in: w, ids, count, x, gain, low, high */
static bdl_status event_learn(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *w = &i->kernel.out_aval[0];
  const bool columns = i->kernel.params[0].i != 0;
  const int64_t rows = w->shape[w->ndim - 2];
  if (w->ndim > 2) return refused(m, i, "it has lanes");
  if (!bdl_export_are_events(m->plan, i->kernel.in[1], i->kernel.in[2], columns ? last_of(w) : rows)) return refused(m, i, NO_EVENTS);
  LINE("event_learn_%s", code_of(w));
  TRY(learn(m, i));
  ADD(", %" PRId64 ", %" PRId64 ", %d);\n", rows, last_of(w), columns);
  return BDL_OK;
}

/* params: rows cols; in: as event_learn, then indices, indptr, (places) */
static bdl_status csr_learn(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *w = &i->kernel.out_aval[0];
  matrix a;
  if (w->ndim > 1) return refused(m, i, "it has lanes");
  TRY(matrix_of(m, i, 7, false, &a));
  if (!bdl_export_are_events(m->plan, i->kernel.in[1], i->kernel.in[2], i->kernel.params[0].i)) return refused(m, i, NO_EVENTS);
  if (i->kernel.n_in > 9) {
    const int32_t *places = bdl_export_known(m, i->kernel.in[9]);
    if (!places) return refused(m, i, "the places of its matrix are not constant");
    if (bdl_k_index_outside(places, false, a.a.nnz, last_of(w)) >= 0) return refused(m, i, "a place of a weight is out of range");
    TRY(bdl_export_constant_of(m, BDL_I32, a.a.nnz, places, false, false, &a.places));
  }
  LINE("csr_learn_%s_%s", width_of(&a), code_of(w));
  TRY(learn(m, i));
  sparse(m, &a, false);
  return BDL_OK;
}

/* ---- from seeds ----------------------------------------------------------------------------------------------------------- */

bdl_export_law bdl_export_law_of(const char *kind) {
  const double prob = strtod(strchr(kind, ':') + 1, NULL), scale = prob < 1 ? 1 / log1p(-prob) : 0;
  const bool any = isfinite(scale); /* else prob is 0, or as good as that */
  return (bdl_export_law){kind[0] == 's' ? 0 : kind[0] == 'u' ? 1 : 2, any ? prob : 0, any ? scale : 0};
}

/* params: rows cols transpose event kind; in: v, p0, p1, seed */
static bdl_status seeded_dot(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *x = &i->kernel.in_aval[0], *z = &i->kernel.out_aval[0];
  const vectors v = bdl_export_vectors_of(i, 1, 0);
  const bool transpose = i->kernel.params[2].i != 0, event = i->kernel.params[3].i != 0;
  const char *missing = NULL;
  static const char *const laws[] = {"seeded_scalar", "seeded_uniform", "seeded_normal"};
  const bdl_export_law l = bdl_export_law_of(i->kernel.params[4].s);
  const char *law = laws[l.law];
  if (v.lanes * v.batch == 0) return BDL_OK;
  TRY(bdl_export_library_take(m->lib, law, (int64_t)strlen(law), &missing));
  if (missing) return refused(m, i, "normal weights need cos and sin of math.h, for which there is no form of our own");
  indent = open(m, v, indent);
  if (event) TRY(active(m, i, indent, !transpose));
  LINE("seeded_%s_%s(", transpose ? "transpose" : "dot", code_of(z));
  TRY(vector(m, i->kernel.out[0], last_of(z)));
  ADD(", ");
  if (event) ADD("0, ");
  TRY(event ? room(m, i) : vector(m, i->kernel.in[0], last_of(x)));
  if (event) ADD(transpose ? ", " : ", count, ");
  else if (transpose) ADD(", 0, ");
  else ADD(", 0, %" PRId64 ", ", i->kernel.params[0].i);
  ADD("&(const seeded){%" PRId64 ", %" PRId64 ", %a, %a, %s}, *(", i->kernel.params[0].i, i->kernel.params[1].i, l.prob, l.scale, law);
  TRY(in_lane(m, i, 3, 0, v));
  ADD("), (double)*(");
  TRY(in_lane(m, i, 1, 0, v));
  ADD("), (double)*(");
  TRY(in_lane(m, i, 2, 0, v));
  ADD("));\n");
  indent -= 2;
  LINE("}\n");
  return BDL_OK;
}

bdl_status bdl_export_sparse(bdl_exporter *m, const bdl_inst *i, int indent) {
  switch (i->prim) {
    case BDL_P_event_dot: return event_dot(m, i, indent);
    case BDL_P_csr_dot: return csr_dot(m, i, indent);
    case BDL_P_csr_scatter: return csr_scatter(m, i, indent);
    case BDL_P_csr_outer: return csr_outer(m, i, indent);
    case BDL_P_event_learn: return event_learn(m, i, indent);
    case BDL_P_csr_learn: return csr_learn(m, i, indent);
    default: return seeded_dot(m, i, indent);
  }
}

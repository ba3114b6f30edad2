/*
** matrix.c -- sparse matrices that never change, prepared once.
*/
#include "exec/matrix.h"

#include <string.h>

#include "exec/exec_context.h"

enum { NARROW = 1 << 16 }; /* columns that 16 bits tell apart */
enum { MANY = 1 << 16 };   /* entries, from which on threads may pay */
enum { SPREAD = 64 };      /* columns, of which a part is a multiple: threads write to lines of their own */

static size_t column_bytes(const bdl_matrix *m) { return (size_t)m->a.nnz * (m->a.narrow ? sizeof(uint16_t) : sizeof(int32_t)); }
static size_t cut_bytes(const bdl_matrix *m) { return (size_t)(m->a.rows * (m->a.parts + 1)) * sizeof *m->cuts; }
static size_t pointer_bytes(const bdl_matrix *m) { return (size_t)(m->a.rows + 1) * sizeof *m->pointers; }
static size_t place_bytes(const bdl_matrix *m) { return (size_t)m->a.nnz * sizeof *m->places; }
static size_t data_bytes(const bdl_matrix *m) { return (size_t)m->a.nnz * bdl_dtype_size(m->dtype); }

static void matrix_free(bdl_context *c, bdl_matrix *m) {
  bdl_free(c, m->columns, column_bytes(m));
  bdl_free(c, m->cuts, cut_bytes(m));
  bdl_free(c, m->pointers, pointer_bytes(m));
  bdl_free(c, m->places, place_bytes(m));
  bdl_free(c, m->data, data_bytes(m));
  bdl_free(c, m, sizeof *m);
}

static void drop(bdl_context *c, bdl_prepared *p) {
  bdl_matrix *m = (bdl_matrix *)p;
  bdl_exec_context *x = c->slot[BDL_SLOT_EXEC].p;
  if (--m->plans > 0) return;
  struct bdl_matrix **at = &x->matrices;
  while (*at != m) at = &(*at)->next;
  *at = m->next;
  matrix_free(c, m);
}

static bool same_arrays(const bdl_k_csr *a, const bdl_k_csr *b) {
  return a->indices == b->indices && a->indptr == b->indptr && a->rows == b->rows && a->cols == b->cols && a->nnz == b->nnz &&
         a->fan == b->fan && a->wide == b->wide;
}

/* Does m do for these arrays in that layout? */
static bool serves(const bdl_matrix *m, const bdl_k_csr *from, bdl_layout layout) {
  if (!same_arrays(&m->from, from)) return false;
  if (m->layout != layout) return m->ordered && layout != BDL_COLUMNS;
  return !m->moved || from->same || m->places || (m->data && m->from.data == from->data);
}

/* ---- parts */

static int64_t part_of(const bdl_matrix *m, int64_t column) { return column / (((m->a.cols - 1) / m->a.parts / SPREAD + 1) * SPREAD); }

static int64_t column_at(const bdl_k_csr *a, int64_t k) {
  return a->narrow ? ((const uint16_t *)a->indices)[k] : ((const int32_t *)a->indices)[k];
}

/* Do the columns of every row ascend from part to part? */
static bool in_order(const bdl_matrix *m) {
  const int32_t *column = m->from.indices;
  for (int64_t i = 0; i < m->a.rows; i++) {
    int64_t lo, hi;
    bdl_k_csr_row(&m->from, i, &lo, &hi);
    for (int64_t k = lo + 1; k < hi; k++)
      if (column[k] < column[k - 1] && part_of(m, column[k]) < part_of(m, column[k - 1])) return false;
  }
  return true;
}

/* Where the parts of row i begin, by its entries as they stand in a. */
static void cut_row(bdl_matrix *m, const bdl_k_csr *a, int64_t i) {
  uint32_t *cut = m->cuts + i * (m->a.parts + 1);
  int64_t lo, hi;
  bdl_k_csr_row(a, i, &lo, &hi);
  memset(cut, 0, (size_t)(m->a.parts + 1) * sizeof *cut);
  for (int64_t k = lo; k < hi; k++) cut[part_of(m, column_at(a, k)) + 1]++;
  for (int64_t p = 0; p < m->a.parts; p++) cut[p + 1] += cut[p];
}

/* ---- entries, moved */

static void put(bdl_matrix *m, int64_t to, int64_t from, int64_t column) {
  if (m->a.narrow)
    ((uint16_t *)m->columns)[to] = (uint16_t)column;
  else
    ((int32_t *)m->columns)[to] = (int32_t)column;
  if (m->places) m->places[to] = (uint32_t)from;
  if (m->data) {
    const size_t size = bdl_dtype_size(m->dtype);
    memcpy((char *)m->data + (size_t)to * size, (const char *)m->from.data + (size_t)from * size, size);
  }
}

/* Row i, by parts where it has been cut. */
static void fill_row(bdl_matrix *m, int64_t i) {
  const int32_t *column = m->from.indices;
  uint32_t *cut = m->cuts ? m->cuts + i * (m->a.parts + 1) : NULL;
  int64_t lo, hi;
  bdl_k_csr_row(&m->from, i, &lo, &hi);
  for (int64_t k = lo; k < hi; k++) put(m, cut ? lo + cut[part_of(m, column[k])]++ : k, k, column[k]);
  if (!cut) return;
  memmove(cut + 1, cut, (size_t)m->a.parts * sizeof *cut); /* each was the next one */
  cut[0] = 0;
}

/* Pointers are ends first; rows from the last to the first bring them to the begins. */
static void fill_columns(bdl_matrix *m) {
  const int32_t *column = m->from.indices;
  int64_t *end = m->pointers;
  memset(end, 0, pointer_bytes(m));
  for (int64_t k = 0; k < m->a.nnz; k++) end[column[k]]++;
  for (int64_t j = 0; j < m->a.rows; j++) end[j + 1] += end[j];
  for (int64_t i = m->from.rows - 1; i >= 0; i--) {
    int64_t lo, hi;
    bdl_k_csr_row(&m->from, i, &lo, &hi);
    for (int64_t k = hi - 1; k >= lo; k--) put(m, --end[column[k]], k, i);
  }
}

/* ---- making one */

/* Room for moved entries. */
static bdl_status room(bdl_context *c, bdl_matrix *m) {
  m->columns = bdl_alloc(c, column_bytes(m));
  if (!m->columns) return BDL_ENOMEM;
  m->a.indices = m->columns;
  if (!m->moved || m->from.same) return BDL_OK;
  if (m->from.data)
    m->a.data = m->data = bdl_alloc(c, data_bytes(m));
  else
    m->a.places = m->places = bdl_alloc(c, place_bytes(m));
  return m->data || m->places ? BDL_OK : BDL_ENOMEM;
}

static bdl_status by_rows(bdl_context *c, bdl_matrix *m) {
  m->ordered = m->a.parts == 0 || in_order(m);
  m->moved = !m->ordered && m->layout == BDL_PARTED;
  if (!m->ordered && !m->moved) m->a.parts = 0;
  if (m->a.parts) {
    m->a.cuts = m->cuts = bdl_alloc(c, cut_bytes(m));
    if (!m->cuts) return BDL_ENOMEM;
    for (int64_t i = 0; i < m->a.rows; i++) cut_row(m, &m->from, i);
  }
  if (!m->a.narrow && !m->moved) return BDL_OK;
  TRY(room(c, m));
  for (int64_t i = 0; i < m->a.rows; i++) fill_row(m, i);
  return BDL_OK;
}

static bdl_status by_columns(bdl_context *c, bdl_matrix *m) {
  m->moved = true;
  m->a.wide = true;
  m->a.indptr = m->pointers = bdl_alloc(c, pointer_bytes(m));
  if (!m->pointers) return BDL_ENOMEM;
  TRY(room(c, m));
  fill_columns(m);
  if (!m->a.parts) return BDL_OK;
  m->a.cuts = m->cuts = bdl_alloc(c, cut_bytes(m));
  if (!m->cuts) return BDL_ENOMEM;
  for (int64_t i = 0; i < m->a.rows; i++) cut_row(m, &m->a, i);
  return BDL_OK;
}

static bdl_status fill(bdl_context *c, bdl_matrix *m, int64_t threads) {
  m->a.narrow = m->a.cols <= NARROW;
  if (threads > 1 && m->a.nnz >= MANY) m->a.parts = threads;
  return m->layout == BDL_COLUMNS ? by_columns(c, m) : by_rows(c, m);
}

bdl_status bdl_matrix_get(bdl_context *c, const bdl_k_csr *from, bdl_dtype d, bdl_layout layout, bdl_prepared **out) {
  bdl_exec_context *x;
  *out = NULL;
  TRY(bdl_exec_get(c, &x));
  for (bdl_matrix *m = x->matrices; m; m = m->next)
    if (serves(m, from, layout)) {
      m->plans++;
      *out = &m->prepared;
      return BDL_OK;
    }
  if (bdl_k_csr_check(from).fault != BDL_CSR_FINE) return BDL_OK;
  bdl_matrix *m = bdl_calloc(c, sizeof *m);
  if (!m) return BDL_ENOMEM;
  if (layout == BDL_COLUMNS && from->nnz > UINT32_MAX) layout = BDL_STORED; /* places would not fit */
  *m = (bdl_matrix){.prepared = {drop}, .plans = 1, .layout = layout, .dtype = d, .from = *from, .a = *from};
  m->a.sound = true;
  m->a.data = NULL;
  if (layout == BDL_COLUMNS) m->a.rows = from->cols, m->a.cols = from->rows;
  const bdl_status s = fill(c, m, x->threads);
  if (s != BDL_OK) {
    matrix_free(c, m);
    return s;
  }
  m->next = x->matrices;
  x->matrices = m;
  *out = &m->prepared;
  return BDL_OK;
}

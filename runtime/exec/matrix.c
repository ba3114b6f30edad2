/*
** matrix.c -- sparse matrices that never change, prepared once.
*/
#include "exec/matrix.h"

#include <string.h>

#include "exec/exec_context.h"

enum { NARROW = 1 << 16 }; /* columns that 16 bits tell apart */
enum { MANY = 1 << 16 };   /* entries, from which on threads may pay */
enum { SPREAD = 64 };      /* columns, of which a part is a multiple: threads write to lines of their own */

static size_t width(const bdl_matrix *m) { return m->a.narrow ? sizeof(uint16_t) : sizeof(int32_t); }
static size_t column_bytes(const bdl_matrix *m) { return (size_t)m->a.nnz * width(m); }
static size_t cut_bytes(const bdl_matrix *m) { return (size_t)(m->a.rows * (m->a.parts + 1)) * sizeof *m->cuts; }

static void matrix_free(bdl_context *c, bdl_matrix *m) {
  bdl_free(c, m->columns, column_bytes(m));
  bdl_free(c, m->cuts, cut_bytes(m));
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

static int64_t part_of(const bdl_matrix *m, int32_t column) { return column / (((m->a.cols - 1) / m->a.parts / SPREAD + 1) * SPREAD); }

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

/* Cuts of row i, and its columns: by parts, otherwise as they stand. */
static void fill_row(bdl_matrix *m, int64_t i) {
  const int32_t *column = m->from.indices;
  uint32_t *cut = m->cuts ? m->cuts + i * (m->a.parts + 1) : NULL;
  int64_t lo, hi;
  bdl_k_csr_row(&m->from, i, &lo, &hi);
  if (cut) {
    memset(cut, 0, (size_t)(m->a.parts + 1) * sizeof *cut);
    for (int64_t k = lo; k < hi; k++) cut[part_of(m, column[k]) + 1]++;
    for (int64_t p = 0; p < m->a.parts; p++) cut[p + 1] += cut[p];
  }
  for (int64_t k = lo; m->columns && k < hi; k++) {
    const int64_t to = cut ? lo + cut[part_of(m, column[k])]++ : k;
    if (m->a.narrow)
      ((uint16_t *)m->columns)[to] = (uint16_t)column[k];
    else
      ((int32_t *)m->columns)[to] = column[k];
  }
  if (cut && m->columns) { /* each is the next one now */
    memmove(cut + 1, cut, (size_t)m->a.parts * sizeof *cut);
    cut[0] = 0;
  }
}

static bdl_status fill(bdl_context *c, bdl_matrix *m, int64_t threads) {
  m->a.narrow = m->a.cols <= NARROW;
  m->ordered = true;
  if (threads > 1 && m->a.nnz >= MANY) {
    m->a.parts = threads;
    m->ordered = in_order(m);
    if (!m->ordered && !m->shuffled) m->a.parts = 0;
  }
  if (m->a.parts) {
    m->cuts = bdl_alloc(c, cut_bytes(m));
    if (!m->cuts) return BDL_ENOMEM;
  }
  if (m->a.narrow || (m->a.parts && !m->ordered)) {
    m->columns = bdl_alloc(c, column_bytes(m));
    if (!m->columns) return BDL_ENOMEM;
    m->a.indices = m->columns;
  }
  m->a.cuts = m->cuts;
  for (int64_t i = 0; i < m->a.rows && (m->columns || m->cuts); i++) fill_row(m, i);
  return BDL_OK;
}

bdl_status bdl_matrix_get(bdl_context *c, const bdl_k_csr *from, bool shuffled, bdl_prepared **out) {
  bdl_exec_context *x;
  *out = NULL;
  TRY(bdl_exec_get(c, &x));
  for (bdl_matrix *m = x->matrices; m; m = m->next)
    if (same_arrays(&m->from, from) && (m->ordered || m->shuffled == shuffled)) {
      m->plans++;
      *out = &m->prepared;
      return BDL_OK;
    }
  if (bdl_k_csr_check(from).fault != BDL_CSR_FINE) return BDL_OK;
  bdl_matrix *m = bdl_calloc(c, sizeof *m);
  if (!m) return BDL_ENOMEM;
  *m = (bdl_matrix){.prepared = {drop}, .plans = 1, .shuffled = shuffled, .from = *from, .a = *from};
  m->a.sound = true;
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

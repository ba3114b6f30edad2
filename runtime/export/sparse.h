/*
** sparse.h -- what kernel_sparse.c and gpu/sparse.c find out about products with events and sparse matrices.
*/
#ifndef BDL_EXPORT_SPARSE_H
#define BDL_EXPORT_SPARSE_H

#include "cpu/event.h"
#include "export/build.h"

/* How many vectors there are, and how many of them stand in one lane: operands from `first` on have lanes above that rank. */
typedef struct bdl_export_vectors {
  int64_t lanes, batch;
} bdl_export_vectors;
bdl_export_vectors bdl_export_vectors_of(const bdl_inst *i, int first, int rank);

typedef struct bdl_export_matrix {
  bdl_k_csr a;
  int32_t columns, pointers, places; /* constants; pointers -1: rows of equal length; places -1: weights stand in order */
  bool narrow;                       /* columns in 16 bits */
} bdl_export_matrix;

typedef enum bdl_export_places { BDL_X_PLACES_KNOWN, BDL_X_PLACES_UNKNOWN, BDL_X_PLACES_WRONG } bdl_export_places_kind;
/* Operands indices and indptr, from `at` on: are they constant, and in range? */
bdl_export_places_kind bdl_export_csr(const bdl_exporter *m, const bdl_inst *i, int at, bdl_k_csr *a);
/* Makes constants of a; turn: of its transpose, entries by columns, those of one column by rows. */
bdl_status bdl_export_matrix_of(bdl_exporter *m, const bdl_k_csr *a, bool turn, bdl_export_matrix *x);

/* Are ids and their number those of a compaction of at most n elements?  Then they ascend, and are in range. */
bool bdl_export_are_events(const bdl_plan *plan, bdl_ref ids, bdl_ref count, int64_t n);

/* law: 0 scalar, 1 uniform, 2 normal; scale: 1 / ln(1 - prob) */
typedef struct bdl_export_law {
  int law;
  double prob, scale;
} bdl_export_law;
bdl_export_law bdl_export_law_of(const char *kind);

#endif

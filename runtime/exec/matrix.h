/*
** matrix.h -- sparse matrices whose rows and columns never change while a plan lives: looked at once, columns in 16 bits
** where there are few enough, entries in the order that a product takes them in.  All plans of a context share what is made
** of the same arrays.
*/
#ifndef BDL_EXEC_MATRIX_H
#define BDL_EXEC_MATRIX_H

#include "cpu/event.h"
#include "exec/lower.h"

/* Memory an entry, besides what the arrays take: BDL_STORED 2 bytes where columns fit in 16 bits, else none; moved entries (BDL_PARTED
** with threads, where rows are out of order; BDL_COLUMNS) 2 or 4, and, unless all share one weight, 4 or a copy of the weight. */
typedef enum bdl_layout {
  BDL_STORED, /* entries as they stand */
  BDL_PARTED, /* those of a row by parts of the columns, which threads share out; to one column in their order */
  BDL_COLUMNS /* the transposed matrix, so that a product with events goes by the active columns; in parts, too */
} bdl_layout;

typedef struct bdl_matrix {
  bdl_prepared prepared;
  struct bdl_matrix *next;
  int64_t plans; /* that hold it */
  bdl_layout layout;
  bdl_dtype dtype; /* of the weights */
  bool ordered;   /* entries stand in the order of BDL_STORED and BDL_PARTED alike */
  bool moved;     /* they have left their places */
  bdl_k_csr from; /* what it was made of; data NULL: they may change */
  bdl_k_csr a;    /* sound; data NULL: those of the call */
  void *columns;  /* [nnz] u16 or i32, where they are not those of `from` */
  int64_t *pointers;
  uint32_t *cuts, *places;
  void *data; /* weights that never change, moved along */
} bdl_matrix;

/* The matrix of these arrays of type d, which outlive it.  *out NULL: it has a fault, which is for those to find who use that
** row. */
bdl_status bdl_matrix_get(bdl_context *c, const bdl_k_csr *from, bdl_dtype d, bdl_layout layout, bdl_prepared **out);

#endif

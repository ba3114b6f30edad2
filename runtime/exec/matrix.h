/*
** matrix.h -- sparse matrices whose rows and columns never change while a plan lives: looked at once, columns in 16 bits
** where there are few enough, entries in the order of parts that threads share out.  All plans of a context share what is
** made of the same arrays.
*/
#ifndef BDL_EXEC_MATRIX_H
#define BDL_EXEC_MATRIX_H

#include "cpu/event.h"
#include "exec/lower.h"

typedef struct bdl_matrix {
  bdl_prepared prepared;
  struct bdl_matrix *next;
  int64_t plans;  /* that hold it */
  bool shuffled;  /* entries of a row may stand in another order .. */
  bool ordered;   /* .. but did so already */
  bdl_k_csr from; /* what it was made of, without data */
  bdl_k_csr a;    /* sound, without data */
  void *columns;  /* [nnz] u16 or i32, where they are not those of `from` */
  uint32_t *cuts;
} bdl_matrix;

/* The matrix of these arrays, which outlive it.  shuffled: its entries may be exchanged within rows.  *out NULL: it has a fault,
** which is for those to find who use that row. */
bdl_status bdl_matrix_get(bdl_context *c, const bdl_k_csr *from, bool shuffled, bdl_prepared **out);

#endif

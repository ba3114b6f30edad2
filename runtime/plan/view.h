/*
** view.h -- which variables are only another view of a variable's elements.
*/
#ifndef BDL_VIEW_H
#define BDL_VIEW_H

#include "ir/ir.h"

/* Element (i0, i1, ..) of the variable is element offset + sum i_k stride[k] of base, a variable with storage; of rows that a number
** chooses while the program runs, step times that number, from 0 to last, further on. */
typedef struct bdl_view {
  bdl_atom base;
  bdl_atom row;       /* the number; -1: none */
  int64_t last, step; /* step in elements */
  int64_t offset;
  int64_t stride[BDL_MAX_NDIM];
  bool contiguous; /* row-major without gaps from offset on */
  bool whole;      /* contiguous and as large as base, from its start */
} bdl_view;

/* The view of a variable with storage of its own: itself. */
bdl_view bdl_view_self(const bdl_prog *p, bdl_atom x);
/* Is e a reshape, broadcast, permute, slice or reverse that is a view of its operand's view x?  Then *v is its result's. */
bool bdl_view_of_eqn(const bdl_prog *p, const bdl_eqn *e, const bdl_view *x, bdl_view *v);
/* Are what e, a dynamic slice or its update, reads or writes of its operand's view x rows that stand there without gaps?  Then *v
** is their view.  Single values are none. */
bool bdl_view_rows(const bdl_prog *p, const bdl_eqn *e, const bdl_view *x, bdl_view *v);
/* Is each row of v, a view of type a, row-major without gaps?  Rows themselves may stand anywhere. */
bool bdl_view_has_rows(const bdl_view *v, const bdl_aval *a);
/* Strides of view x (of a variable with type a) over the axes of domain d by NumPy's broadcasting. */
void bdl_view_over(const bdl_view *x, const bdl_aval *a, const bdl_aval *d, int64_t stride[BDL_MAX_NDIM]);

#endif

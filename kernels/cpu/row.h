/*
** row.h -- a row times a matrix: z[j] = sum over p of x[p] y[p, j].
*/
#ifndef BDL_K_ROW_H
#define BDL_K_ROW_H

#include <stdint.h>

/* Sums in ascending order of p, each product rounded before it is added: the bits depend neither on the instruction set
** nor on terms of value 0.  ids: the p to take, ascending; NULL: all k. */
typedef struct bdl_k_row {
  void *z;            /* [n]; overlaps nothing */
  const void *x, *y;  /* element p at p xp; element p, j at p yp + j yj, one of which is 1 */
  int64_t n, k, xp, yp, yj;
  const int32_t *ids; /* [k], where yj is 1.  Up to BDL_PAD bytes behind a row of y may be read there */
} bdl_k_row;

#endif

/*
** etrace.h -- eligibility traces carried through a step, and their gradient.
**
**     e'[a,r,i,k] = x[r,i] f_a[r,k] scale[i,k] + sum_c D_ac[r,k] e[c,r,i,k]       a, c < states
**     g[q,i,k]    = sum_b sum_a l_a[r,k] e'[a,r,i,k]                               r = b groups + q
**
** for each lane of [lanes, ..].  Sums in ascending order of c, a and b.  All of one float dtype.
*/
#ifndef BDL_K_ETRACE_H
#define BDL_K_ETRACE_H

#include "base/pool.h"
#include "cpu/tile.h"

typedef struct bdl_k_etrace {
  int64_t lanes, states, rows, inputs, outputs, groups;
  void *e;                  /* [lanes, states, rows, inputs, outputs] */
  const void *x;            /* [lanes, rows, inputs] */
  const void *scale;        /* [lanes, inputs, outputs]; NULL: 1 */
  const void *const *step;  /* D_ac at a states + c, [lanes, rows, outputs]; NULL: 0.  The table NULL: e' = e */
  const void *const *feed;  /* f_a, the same; NULL: 0 */
  const void *const *signal; /* l_a, the same; NULL: 0.  The table NULL: no gradient */
  void *g;                  /* [lanes, groups, inputs, outputs]; != e */
  const void *sum;          /* what g is added to: NULL nothing, else as g, or g itself */
} bdl_k_etrace;

/* Inputs [i0, i1) and outputs [k0, k1) of one group of rows: at most BDL_ETRACE_BLOCK elements. */
typedef struct bdl_k_etrace_block {
  int64_t lane, group, i0, i1, k0, k1;
} bdl_k_etrace_block;
#define BDL_ETRACE_BLOCK 4096

/* e' over e; the gradient to g: one pass over e.  Bits depend neither on threads nor on the instruction set. */
void bdl_k_etrace_run(const bdl_k_table *k, const bdl_k_etrace *t, bdl_dtype d, bdl_pool *pool);

#endif

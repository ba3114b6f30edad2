/*
** core.h -- the one equation of an interaction where positions meet, and its canonical form [Q, I, K].
*/
#ifndef BDL_ONLINE_CORE_H
#define BDL_ONLINE_CORE_H

#include "online/online.h"
#include "transform/linear.h"

typedef enum bdl_core_kind {
  BDL_CORE_PLAIN,  /* none: each position of y has one element of the weight */
  BDL_CORE_DOT,
  BDL_CORE_CONV,
  BDL_CORE_GATHER, /* rows of the weight */
  BDL_CORE_SPARSE
} bdl_core_kind;

typedef struct bdl_interaction {
  bdl_arena *a;
  bdl_term *t;
  const bdl_prog *body;
  int weight;            /* number of its operand */
  int *of;               /* of each variable: none, prefix, suffix */
  const bdl_eqn *core;   /* NULL: the weight stands at y's positions as it is */
  const bdl_eqn *second; /* a product behind the core: x A B */
  int at;                /* operand of the core that is the weight */
  bool permuted;
  bdl_core_kind kind;
  /* DOT, PLAIN: axes of the core's result in the order of [rows, Q, K]; axes of the weight in the order of [Q, I, K] */
  int64_t result_axes[BDL_MAX_NDIM], weight_axes[BDL_MAX_NDIM];
  /* DOT: axes of the other operand in the order of [rows, Q, I] */
  int64_t input_axes[BDL_MAX_NDIM];
} bdl_interaction;

/* What kind the core is, and the sizes of t; or t->unsupported. */
bdl_status bdl_online_core_find(bdl_interaction *w);
/* x' in r->q, where the body stands; BDL_ZERO: there is none. */
bdl_status bdl_online_core_input(bdl_interaction *w, bdl_rewrite *r, bdl_atom *x);
/* [R, K] of a value at the core's result. */
bdl_status bdl_online_core_rows(bdl_interaction *w, bdl_prog *q, bdl_atom z, bdl_atom *rows);
/* [Q, I, K] of a value like the core's weight; and back, with the number of elements of the weight.  in: the body's operands. */
bdl_status bdl_online_core_canonical(bdl_interaction *w, bdl_prog *q, bdl_atom x, bdl_atom *z);
bdl_status bdl_online_core_weight(bdl_interaction *w, bdl_prog *q, bdl_atom g, const bdl_atom *in, bdl_atom *z);

#endif

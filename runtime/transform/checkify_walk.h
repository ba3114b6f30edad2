/*
** checkify_walk.h -- what the files of checkify share: a program on the way.
*/
#ifndef BDL_CHECKIFY_WALK_H
#define BDL_CHECKIFY_WALK_H

#include "transform/checkify.h"
#include "transform/linear.h"

/* A program on the way: its error so far, and what the messages of its checks show. */
typedef struct bdl_check_walk {
  bdl_rewrite r;
  unsigned kinds;
  bdl_checks *list;
  bdl_atom error; /* BDL_ZERO: none can have happened */
  BDL_VEC(bdl_atom) shown;
  bdl_map bad;    /* atom of q -> any NaN in it, an atom */
} bdl_check_walk;

/* The body p with its checks, which go to list: outputs, then, where it has checks, its error and what they show. */
bdl_status bdl_checkify_body(const bdl_check_walk *w, const bdl_prog *p, bdl_prog **q);
/* error = error = 0 ? other : error */
bdl_status bdl_checkify_merge(bdl_prog *b, bdl_atom *error, bdl_atom other);

/* e over the operands x: its results are set, its error is w's. */
bdl_status bdl_checkify_scan(bdl_check_walk *w, const bdl_eqn *e, const bdl_atom *x);
bdl_status bdl_checkify_while(bdl_check_walk *w, const bdl_eqn *e, const bdl_atom *x);
bdl_status bdl_checkify_cond(bdl_check_walk *w, const bdl_eqn *e, const bdl_atom *x);
bdl_status bdl_checkify_checkpoint(bdl_check_walk *w, const bdl_eqn *e, const bdl_atom *x);

#endif

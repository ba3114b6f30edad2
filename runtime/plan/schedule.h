/*
** schedule.h -- which equations run together, and in which order.
*/
#ifndef BDL_SCHEDULE_H
#define BDL_SCHEDULE_H

#include "plan/view.h"

typedef struct bdl_node {
  bool group;      /* a fused group over `domain`, else a single equation */
  bdl_aval domain; /* shape only */
  BDL_VEC(int32_t) eqns; /* in program order */
} bdl_node;

/* The order of execution of one program (not of its bodies). */
typedef struct bdl_schedule {
  bdl_context *ctx;
  const bdl_prog *prog;
  BDL_VEC(bdl_view) view;    /* of each variable */
  BDL_VEC(bdl_node) nodes;
  int32_t *node_of;          /* by equation; -1: a view, nothing to run */
  int32_t *def_node;         /* by variable with storage: node that makes it; -1: input, constant, literal */
  int32_t *last_use;         /* by variable with storage: last node that reads it; nodes.n: a result of the program */
} bdl_schedule;

/* Views of the variables, and the equations that are no more than that: node_of -1.  rows: dynamic slices, too, where they may be.  (row.c) */
bdl_status bdl_schedule_views(bdl_schedule *s, bool rows);
/* Does e read rows of what is updated after it, so that it cannot be put off?  (row.c) */
bool bdl_schedule_stays(const bdl_schedule *s, const bdl_eqn *e);

/* p: legalised.  fuse false: every equation is a node of its own (the oracle of fusion). */
bdl_status bdl_schedule_new(bdl_schedule *s, const bdl_prog *p, bool fuse);
void bdl_schedule_free(bdl_schedule *s);
/* Is operand x read at the very position of the element that node n computes? */
bool bdl_schedule_aligned(const bdl_schedule *s, bdl_atom x, const bdl_aval *domain);
/* A full reduction or a compaction: an equation that closes a group. */
bool bdl_schedule_is_root(const bdl_prog *p, const bdl_eqn *e);

#endif

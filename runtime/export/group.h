/*
** group.h -- what the loops over a group's elements share: group.c for one thread, gpu/group.c for the threads of a GPU.
*/
#ifndef BDL_EXPORT_GROUP_H
#define BDL_EXPORT_GROUP_H

#include "exec/emit_ops.h"
#include "export/build.h"

typedef struct bdl_export_grouper {
  bdl_exporter *m;
  const bdl_inst *inst;
  const bdl_group *g;
  const bdl_inst *scan;  /* the loop of which it is all; NULL: none */
  int32_t *def;   /* [n_operands + 1] the instruction whose value an operand holds; -1: what is in memory */
  bool *pointer;  /* [n_operands] */
  bool *loaded;   /* [n_operands] */
  int32_t *local; /* [n_operands + 1] element i of the operand is the variable x<that operand>; -1: p<operand>[i] */
  bool *early;    /* [n_insts + 1] four elements of what a load reads are in y<instruction> */
  int32_t apart;  /* it is written for elements i0 + apart u, u = 0 .. 3 (gpu/fours.c); 0: for one */
  int indent;
  void (*root)(struct bdl_export_grouper *g, int32_t k); /* what an element does for a reduction or compaction */
} bdl_export_grouper;

extern const char *const bdl_export_reduction[BDL_RED_COUNT]; /* "sum" */

/* Is a NaN among what a reduction sees its result, wherever it stood? */
static inline bool bdl_export_keeps_nan(const bdl_tile_inst *t) {
  return t->kind == BDL_T_REDUCE && (t->op == BDL_RED_MAX || t->op == BDL_RED_MIN) && bdl_dtype_is_float((bdl_dtype)t->dtype);
}

/* The group i: `loops` writes all of it, the prologue first. */
bdl_status bdl_export_group_with(bdl_exporter *m, const bdl_inst *i, const bdl_inst *scan, int indent, bdl_status (*loops)(bdl_export_grouper *g));
/* Pointers to what is in memory, p<operand> and l<instruction>, and single values, c<operand>. */
bdl_status bdl_export_prologue(bdl_export_grouper *g);
/* The instructions for element `i`: their values are v<instruction>. */
bdl_status bdl_export_elements(bdl_export_grouper *g);
/* What load k reads, for that element. */
void bdl_export_load(bdl_export_grouper *g, int32_t k);
/* Operand j of t, for that element. */
void bdl_export_value_of(bdl_export_grouper *g, const bdl_tile_inst *t, int j);
/* The reduction k takes the element: part = red(part, it), and nan<k>, where that is kept. */
void bdl_export_take_in(bdl_export_grouper *g, int32_t k, const char *part);

#endif

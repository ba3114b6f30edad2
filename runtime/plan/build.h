/*
** build.h -- shared by the parts of the planner.
*/
#ifndef BDL_BUILD_H
#define BDL_BUILD_H

#include "plan/plan.h"
#include "plan/schedule.h"

/* Where a block's results go. */
typedef struct bdl_target {
  bdl_ref ref;
  bdl_atom pair;     /* input of the block that the result replaces; -1: none */
  bool same_memory;  /* the pair lives at ref for certain (a loop's carry); else only where the caller says so */
} bdl_target;

typedef struct bdl_planner {
  bdl_plan *plan;
  const bdl_k_table *k;
  int32_t position; /* of the next instruction: lifetimes are ranges of positions */
} bdl_planner;

/* One program on its way to a block. */
typedef struct bdl_blockplan {
  bdl_planner *pl;
  const bdl_prog *prog;
  bdl_schedule sched;
  bdl_ref *ref;       /* by variable with storage; slot -1: none yet (or only in registers) */
  int32_t *rows;      /* by variable, the last value of a carry: the slot of its values at all steps; -1: none */
  bool *late;         /* by variable: store after all other equations of its group have read what it overwrites */
  BDL_VEC(bdl_inst) insts;
} bdl_blockplan;

bdl_status bdl_slot_new(bdl_planner *pl, bdl_slot_kind kind, bdl_dtype dtype, size_t bytes, int32_t *slot);
void bdl_slot_touch(bdl_planner *pl, int32_t slot);
/* The place of variable x (any view of it must be contiguous); allocates for one that has none. */
bdl_status bdl_block_ref(bdl_blockplan *b, bdl_atom x, bdl_ref *ref);
bdl_status bdl_block_push(bdl_blockplan *b, const bdl_inst *inst);
/* Steps of traces and their gradients made one, in bodies too; p itself where there is none. */
bdl_status bdl_plan_fuse_traces(const bdl_prog *p, bdl_prog **q);
/* Products with what is added to them, where that saves a pass over memory; p itself where there is none. */
bdl_status bdl_plan_add_to_products(const bdl_prog *p, bdl_prog **q);
/* In long loops, rings of spikes that event products read are of Booleans; p itself where there are none. */
bdl_status bdl_plan_rings(const bdl_prog *p, bdl_prog **q);
/* In loops, products with a matrix that stays pass over zeros or find it packed; p itself where there is none. */
bdl_status bdl_plan_fixed_factors(const bdl_prog *p, bdl_prog **q);
/* Tile code of node n, appended to b. */
bdl_status bdl_plan_group(bdl_blockplan *b, const bdl_node *n);
/* May `scan`, whose body begins at position `begin`, go tile by tile?  Then scan->tiled is set and what it needs kept. */
bdl_status bdl_plan_tiled(bdl_planner *pl, bdl_inst *scan, int32_t begin);
bool bdl_plan_can_fail(bdl_prim_id p);

#endif

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
  const bdl_view **in_rows; /* by variable: the rows of an array that it is made in; NULL: none */
  BDL_VEC(struct bdl_rows_at {
    bdl_view of;
    int32_t slot;
  }) rows_at;         /* slots that were set so far */
  bool *late;         /* by variable: store after all other equations of its group have read what it overwrites */
  BDL_VEC(bdl_inst) insts;
} bdl_blockplan;

bdl_status bdl_slot_new(bdl_planner *pl, bdl_slot_kind kind, bdl_dtype dtype, size_t bytes, int32_t *slot);
/* MOVING or ROW: part of slot `over`. */
bdl_status bdl_slot_over(bdl_planner *pl, bdl_slot_kind kind, bdl_dtype dtype, size_t bytes, int32_t over, int32_t *slot);
void bdl_slot_touch(bdl_planner *pl, int32_t slot);
/* The place of variable x (any view of it must be contiguous); allocates for one that has none. */
bdl_status bdl_block_ref(bdl_blockplan *b, bdl_atom x, bdl_ref *ref);
bdl_status bdl_block_push(bdl_blockplan *b, const bdl_inst *inst);
static inline bool bdl_ref_same(bdl_ref a, bdl_ref b) { return a.slot == b.slot && a.offset == b.offset; }
bdl_status bdl_block_copy(bdl_blockplan *b, bdl_ref dst, bdl_ref src, size_t bytes, bdl_src where); /* none where dst is src */
/* p as a block that reads its operands at `in`; inplace[k]: result k is made where its pair was (NULL: not asked). */
bdl_status bdl_plan_block(bdl_planner *pl, const bdl_prog *p, const bdl_ref *in, const bdl_target *targets, bool *inplace, bdl_block *out);
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

/* ---- place.c: results of a block */
/* Those that can be made at their targets get their places; inplace as in bdl_plan_block. */
void bdl_plan_place(bdl_blockplan *b, const bdl_target *t, bool *inplace);
/* Is the place of v the memory of an operand of the block, too? */
bool bdl_plan_is_shared(const bdl_blockplan *b, const bdl_target *t, bdl_atom v);
/* Copies the others to theirs. */
bdl_status bdl_plan_bring_home(bdl_blockplan *b, const bdl_target *t);

/* ---- row.c: rows that a number chooses */
/* Values that can be made in the rows of an array that they are to be, once results have their places. */
bdl_status bdl_plan_rows(bdl_blockplan *b);
/* Is e such an update, with nothing left to do? */
bool bdl_plan_is_in_rows(const bdl_blockplan *b, const bdl_eqn *e);
/* The place of v, which has rows. */
bdl_status bdl_plan_row(bdl_blockplan *b, const bdl_view *v, bdl_ref *out);

/* ---- control.c: loops and branches; the first two before any instruction is there */
bdl_status bdl_plan_keep_rows(bdl_blockplan *b, const bdl_eqn *e);
bdl_status bdl_plan_start_at_home(bdl_blockplan *b, const bdl_target *t, int32_t node, const bdl_eqn *e);
bdl_status bdl_plan_scan(bdl_blockplan *b, const bdl_eqn *e);
bdl_status bdl_plan_while(bdl_blockplan *b, const bdl_eqn *e);
bdl_status bdl_plan_cond(bdl_blockplan *b, const bdl_eqn *e);

bool bdl_plan_can_fail(bdl_prim_id p);

#endif

/*
** cost.h -- what one run of an instruction moves and computes, as far as its types tell.
*/
#ifndef BDL_COST_H
#define BDL_COST_H

#include "plan/plan.h"

typedef struct bdl_cost {
  double read, written; /* bytes; each array once */
  double flops;         /* a function counts as the multiplications and additions of its approximation */
  bool at_most;         /* known only while it runs, as with spikes: no more than this */
} bdl_cost;

/* Of a loop or a branch: nothing; its body has costs of its own. */
bdl_cost bdl_plan_cost(const bdl_inst *i);

/* "lif.lua:12-15,18, ei.lua:3": where in the model it comes from; nothing where that is unknown. */
void bdl_plan_lines(const bdl_inst *i, bdl_str *out);
/* "12.5 kB", "3 flop" */
#define BDL_SCALED_TEXT 32
const char *bdl_scaled_text(double v, const char *unit, char buf[BDL_SCALED_TEXT]);

#endif

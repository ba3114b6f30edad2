/*
** budget.c -- what a sandboxed model may spend: steps and time.  A step is an iteration of a compiled loop, or a thousand
** instructions of Lua.
*/

#include "base/context.h"

void bdl_budget_set(bdl_context *c, int64_t steps, double seconds) {
  c->budget = (struct bdl_budget){.on = true, .steps = steps, .limit = steps, .seconds = seconds};
  if (seconds > 0) c->budget.deadline = bdl_now_ns() + (int64_t)(seconds * 1e9);
}

void bdl_spend(bdl_context *c) {
  struct bdl_budget *b = &c->budget;
  if (b->limit > 0 && --b->steps < 0) b->spent = true;
  if (b->deadline > 0 && bdl_now_ns() > b->deadline) b->spent = true;
}

bdl_status bdl_budget_fail(bdl_context *c) {
  const struct bdl_budget *b = &c->budget;
  if (b->limit > 0 && b->steps < 0) return bdl_fail(c, BDL_EBUDGET, "the budget of %lld steps is spent", (long long)b->limit);
  return bdl_fail(c, BDL_EBUDGET, "the budget of %g s is spent", b->seconds);
}

bdl_status bdl_need_files(bdl_context *c, const char *what) {
  return c->sandboxed ? bdl_fail(c, BDL_ENOTSUP, "%s: a sandboxed model opens no files and starts no programs", what) : BDL_OK;
}

/*
** optimise.c -- the standard order of passes, until none changes anything.
*/
#include "ir/ir.h"

#define ROUNDS 4 /* three at most were seen to change anything; more would be a pass that undoes another */

typedef enum which { INLINE, SIMPLIFY, FOLD, CSE, HOIST, COUNTER, ACCUMULATE, PRODUCTS, DCE } which;

static bdl_status run(which w, const bdl_prog *p, bdl_eval_eqn eval, bdl_prog **q) {
  switch (w) {
    case INLINE: return bdl_pass_inline(p, q);
    case SIMPLIFY: return bdl_pass_simplify(p, q);
    case FOLD: return bdl_pass_fold(p, eval, q);
    case CSE: return bdl_pass_cse(p, q);
    case HOIST: return bdl_pass_hoist(p, q);
    case COUNTER: return bdl_pass_counter(p, q);
    case ACCUMULATE: return bdl_pass_accumulate(p, q);
    case PRODUCTS: return bdl_pass_products(p, q);
    default: return bdl_pass_dce(p, q);
  }
}

bdl_status bdl_optimise(const bdl_prog *p, bdl_eval_eqn eval, bdl_pass_observer after, void *ud, bdl_prog **q) {
  static const which order[] = {INLINE, SIMPLIFY, FOLD, CSE, HOIST, CSE, COUNTER, ACCUMULATE, PRODUCTS, DCE};
  static const char *const name[] = {"inline", "simplify", "fold", "cse", "hoist", "counter", "accumulate", "products", "dce"};
  bdl_prog *now = (bdl_prog *)p, *then = NULL;
  bdl_status s = BDL_OK;
  bool changed = true;
  bdl_prog_ref(now);
  for (int round = 0; s == BDL_OK && changed && round < ROUNDS; round++) {
    changed = false;
    for (int i = 0; s == BDL_OK && i < BDL_LEN(order); i++) {
      s = run(order[i], now, eval, &then);
      if (s != BDL_OK) break;
      const bool new = then != now;
      bdl_prog_unref(now);
      now = then;
      changed |= new;
      if (new && now->ctx->verify) s = bdl_ir_verify(now);
      if (s == BDL_OK && after) s = after(ud, name[order[i]], now);
    }
  }
  if (s == BDL_OK) *q = now;
  else bdl_prog_unref(now);
  return s;
}

/*
** traced.h -- a Lua function that was traced: its program, what it captured, its results.
*/
#ifndef LBDL_TRACED_H
#define LBDL_TRACED_H

#include "binding/lbdl.h"

#define LBDL_TRACED "bdl.Traced"

/* One value that the function returned: a tree of leaves first .. first + n - 1. */
typedef struct lbdl_result {
  const char *treedef; /* interned */
  int32_t first, n;
} lbdl_result;

typedef struct lbdl_trace_out {
  bdl_atom atom;
  const bdl_unit *unit;
  bool weak;
} lbdl_trace_out;

/* Memory is of the context; freed by __gc. */
typedef struct lbdl_traced_fn {
  bdl_trace *t; /* popped */
  BDL_VEC(lbdl_trace_out) out;
  BDL_VEC(lbdl_result) results;
} lbdl_traced_fn;

/* Trees of arguments for the function to trace: leaves as example tensors. */
typedef struct lbdl_example {
  bdl_aval aval;
  const bdl_unit *unit;
  bool weak;
} lbdl_example;

/*
** Trace the function at stack position f.  Arguments: n_values trees; treedef[v] and count[v] give the structure, ex the
** leaves of all.  They become arguments 0, 1, .. of the trace.  The further n_plain values from position `plain` on are
** passed behind them as they are.  Pushes the traced function's userdata.
*/
lbdl_traced_fn *lbdl_trace(lua_State *L, int f, const char *name, int n_values, const char *const *treedef, const int *count,
                           const lbdl_example *ex, int plain, int n_plain);

/* The same with States that have other types in the trace: avals of the leaves of all, one State after the other. */
typedef struct lbdl_views {
  int n;
  bdl_state **state;
  const bdl_aval *aval;
} lbdl_views;
lbdl_traced_fn *lbdl_trace_lane(lua_State *L, int f, const char *name, int n_values, const char *const *treedef, const int *count,
                                const lbdl_example *ex, const lbdl_views *views);

/* Order the inputs of fn's program: `order` lists positions of sources; then outputs. */
void lbdl_arrange(lua_State *L, lbdl_traced_fn *fn, const int32_t *order, int n);

/* A program as a value of Lua, made and freed by the binding; the caller fills it in. */
bdl_prog **lbdl_new_program(lua_State *L);
bdl_prog *lbdl_check_program(lua_State *L, int arg);
/* {dtype =, shape =} */
void lbdl_push_type(lua_State *L, const bdl_aval *a);

#endif

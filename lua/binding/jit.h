/*
** jit.h -- what a compiled function keeps of one program: found by the types of the arguments, run over States.
*/
#ifndef LBDL_JIT_H
#define LBDL_JIT_H

#include "binding/traced.h"
#include "plan/plan.h"

typedef struct lbdl_entry {
  struct lbdl_entry *next; /* most recently used first */
  uint64_t key;           /* of the arguments */
  int32_t n_args;         /* leaves */
  int32_t *used;          /* argument leaf of each argument input */
  int32_t n_used;
  lbdl_example *ex;       /* [n_args] */
  const char **treedef;   /* [n_values] */
  int32_t n_values;
  const char *statics;    /* interned text of the static values; NULL: none */
  int64_t environ_version, states_made;
  lua_Integer guard;      /* index in UV_GUARDS of the function that says whether the world is as it was; 0: it cannot differ */
  /* States: read ones give inputs, written ones take outputs */
  int32_t n_states, n_in, n_out, n_leaves;
  struct lbdl_touched {
    bdl_state *state;
    bool in, out;
  } *states;
  bdl_aval *state_aval;   /* of their leaves, at tracing */
  bdl_prog *source;       /* as traced */
  bdl_plan *plan;
  lbdl_result *results;
  int32_t n_results;
  lbdl_trace_out *out;    /* [n_leaves] */
} lbdl_entry;

/* What core.jit_entry made; NULL: something else. */
lbdl_entry *lbdl_test_entry(lua_State *L, int arg);
/* The program that was used last of the compiled function at arg; NULL: it has none. */
lbdl_entry *lbdl_jit_entry(lua_State *L, int arg);
/* Is it still that of the function: have States their types, settings their values, objects their States? */
bool lbdl_jit_holds(lua_State *L, int arg);

#endif

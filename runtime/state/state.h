/*
** state.h -- States, and the record of what a trace reads and writes of them.
**
** A State is a mutable cell: a tree of tensors.  Outside of traces its leaves are concrete.  While a function is traced,
** the trace keeps the current value of every State it touched as atoms of the program being built:
** arguments + captured values + States read -> results + States written.
*/
#ifndef BDL_STATE_H
#define BDL_STATE_H

#include "ir/ir.h"

struct bdl_unit; /* of the front end; opaque here */

typedef struct bdl_leaf {
  bdl_tensor value;
  const struct bdl_unit *unit;
} bdl_leaf;

typedef struct bdl_state {
  bdl_context *ctx;
  int32_t refs;
  uint64_t id;
  const char *name;    /* interned; "" when it has none */
  const char *treedef; /* interned: structure of the value, "*" for a single leaf */
  bdl_src src;         /* where it was made */
  int32_t n;
  bdl_leaf *leaf;      /* [n]; value.buf NULL while made inside a trace and never given a concrete value */
  bdl_aval *aval;      /* [n] */
  uint64_t trace;      /* the trace it was made in; 0: outside.  Dead trace: the value escaped and is gone */
} bdl_state;

/* ---- traces: a stack, innermost last */
typedef enum bdl_source_kind { BDL_FROM_ARGUMENT, BDL_FROM_CAPTURE, BDL_FROM_STATE } bdl_source_kind;

typedef struct bdl_source {  /* of an input of the program being traced */
  bdl_source_kind kind;
  int32_t index;             /* argument number; number of the State among `states` */
  int32_t leaf;
  bdl_atom outer;            /* capture: atom of the enclosing trace */
} bdl_source;

typedef struct bdl_touched {
  bdl_state *state;          /* a reference */
  bool read, written, local; /* local: made in this trace */
  bdl_src wrote;             /* the line of the last write */
  bdl_atom *now;             /* [n] current value */
  bdl_atom *input;           /* [n] inputs that carry the value at entry; NULL: none yet */
} bdl_touched;

/* A State whose value has another type in a trace than around it: one lane of it. */
typedef struct bdl_view {
  uint64_t state;            /* id */
  bdl_aval *aval;            /* [n] */
  int32_t n;
} bdl_view;

typedef struct bdl_trace {
  bdl_context *ctx;
  struct bdl_trace *parent;
  uint64_t id;
  bdl_prog *prog;
  BDL_VEC(bdl_source) sources;  /* of prog's inputs, in their order */
  BDL_VEC(bdl_touched) states;  /* in order of first touch */
  BDL_VEC(bdl_view) views;
  bdl_map captured;             /* outer atom -> atom */
  bdl_map by_state;             /* state id -> index among states */
} bdl_trace;

bdl_status bdl_trace_push(bdl_context *c, const char *name, bdl_trace **t);
/* Leaves the stack; must be the innermost.  States made inside are dead from now on. */
void bdl_trace_pop(bdl_trace *t);
void bdl_trace_free(bdl_trace *t); /* after pop; drops its program unless it was taken (t->prog = NULL) */
bdl_trace *bdl_trace_current(bdl_context *c); /* NULL: none */
bdl_trace *bdl_trace_find(bdl_context *c, uint64_t id); /* NULL: not on the stack */

bdl_status bdl_trace_argument(bdl_trace *t, int32_t index, const bdl_aval *a, bdl_atom *x);
/* Atom of t for atom x of an enclosing trace `owner` (or t itself). */
bdl_status bdl_trace_lift(bdl_trace *t, bdl_trace *owner, bdl_atom x, bdl_atom *y);

/* From now on s, which t has not touched, has these types in t. */
bdl_status bdl_trace_view(bdl_trace *t, bdl_state *s, const bdl_aval *avals);

/* ---- States.  values: leaves in tree order. */
bdl_status bdl_state_new(bdl_context *c, const char *name, const char *treedef, int32_t n, const bdl_aval *avals, bdl_state **s);
void bdl_state_ref(bdl_state *s);
void bdl_state_unref(bdl_state *s);
/* "State 'v' (made at m.lua:9)", for messages */
#define BDL_STATE_TEXT 320
const char *bdl_state_text(const bdl_state *s, char buf[BDL_STATE_TEXT]);
/* Is its value readable here?  Errors: BDL_ETRACE, with the place of creation. */
bdl_status bdl_state_check_alive(bdl_state *s);
/* Current atoms of s in trace t (borrowed); recorded as a read. */
bdl_status bdl_trace_read(bdl_trace *t, bdl_state *s, const bdl_atom **now);
/* New value of s in trace t.  Errors: BDL_ESHAPE/BDL_ETYPE where shape or dtype differ from the State's. */
bdl_status bdl_trace_write(bdl_trace *t, bdl_state *s, const bdl_atom *value);
/* Replace without the record of a write: restore_value. */
bdl_status bdl_trace_restore(bdl_trace *t, bdl_state *s, const bdl_atom *value);
/* As a write, but shapes may differ from the State's: mapping over lanes makes States grow. */
bdl_status bdl_trace_grow(bdl_trace *t, bdl_state *s, const bdl_atom *value);
/* A State made inside t, or in a finished trace from which its value was returned: its first value in t. */
bdl_status bdl_trace_create(bdl_trace *t, bdl_state *s, const bdl_atom *value);
/* Type of leaf i as trace t sees it now; t NULL: outside of traces. */
const bdl_aval *bdl_state_aval(const bdl_trace *t, const bdl_state *s, int32_t i);
/* Inputs that carry the value of states[k] at entry, made now when the trace never read it. */
bdl_status bdl_trace_entry(bdl_trace *t, int32_t k, const bdl_atom **input);
/* Outside of traces: new concrete leaves (references are taken over by s). */
bdl_status bdl_state_assign(bdl_state *s, const bdl_tensor *values);

#endif

/*
** lbdl.h -- shared by the files of the binding.  Functions with a lua_State may raise Lua errors.
*/
#ifndef LBDL_H
#define LBDL_H

#include <lauxlib.h>
#include <lua.h>

#include "binding/unit.h"
#include "device/device.h"
#include "ir/ir.h"
#include "prim/prim.h"
#include "state/state.h"

/* What the binding keeps, one a Lua state; reached through lua_getextraspace. */
typedef struct lbdl {
  bdl_context *ctx;
  bdl_units *units;
  int tensor_meta;   /* registry references: the metatable of tensors, */
  int methods;       /* their methods */
  int print_sink;    /* registry reference of the function that debug.print writes to; LUA_NOREF: stdout */
  bdl_dtype real, integer; /* dtypes of the precision: f32/i32 or f64/i64 */
  bool eager;        /* disable_jit: traces are not made */
  bool full_traceback; /* BDL_TRACEBACK=full: bdl's own frames are shown too */
  bool check;        /* compiled functions are traced and planned, but give zeros instead of running */
  int64_t environ_version;
  int64_t states_made; /* outside of traces */
  uint64_t programs_hash; /* of all programs that were compiled, in their order */
  int64_t programs;  /* their number */
  bdl_buffer *unowned; /* a reference that Lua was about to own when it ran out of memory */
  size_t fresh;      /* bytes of tensors made since the last full collection: Lua's collector does not see them */
} lbdl;

static inline lbdl *lbdl_of(lua_State *L) { return *(lbdl **)lua_getextraspace(L); }
static inline void lbdl_drop_unowned(lbdl *b) {
  bdl_buffer_unref(b->unowned);
  b->unowned = NULL;
}
static inline bdl_context *lbdl_ctx(lua_State *L) { return lbdl_of(L)->ctx; }

/* ---- errors (error.c) */
/* Raise the context's error, with the user's position unless it has one. */
int lbdl_raise(lua_State *L) __attribute__((noreturn));
static inline void lbdl_check(lua_State *L, bdl_status s) {
  if (s != BDL_OK) lbdl_raise(L);
}
int lbdl_error(lua_State *L, bdl_status s, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The first stack frame that is the user's. */
bdl_src lbdl_where(lua_State *L);
/* lua_CFunction, a message handler: keeps the user's part of the stack for core.frames, passes the error on. */
int lbdl_traceback(lua_State *L);
/* As error messages want it: strips the position that Lua put in front, keeps error objects. */
void lbdl_push_error_object(lua_State *L, const char *kind, const char *message, bdl_src where, const char *hint);

/* ---- tensors (tensor.c) */
typedef struct lbdl_tensor {
  uint64_t magic;        /* tells tensors from other userdata without looking up their metatable */
  bdl_tensor t;          /* t.aval is valid always; t.buf NULL: traced */
  uint64_t trace;        /* traced: id of the trace */
  bdl_atom atom;
  const bdl_unit *unit;  /* NULL: a plain number */
  bool weak;             /* a number of Lua: gives way to the other operand's dtype */
  bool is_number;        /* weak and not computed: `number` has all its digits, for a cast to f64 */
  double number;
} lbdl_tensor;

#define LBDL_TENSOR "bdl.Tensor"
lbdl_tensor *lbdl_new_tensor(lua_State *L); /* pushed, empty */
/* Before tensors are made: collects when those that may be garbage take a good part of the memory. */
void lbdl_collect(lua_State *L);
void lbdl_made(lua_State *L, const bdl_tensor *t, int n); /* count them */
lbdl_tensor *lbdl_test_tensor(lua_State *L, int arg); /* NULL: something else */
/* The tensor at arg; numbers and booleans (weak), quantities are converted in place of the argument. */
lbdl_tensor *lbdl_to_tensor(lua_State *L, int arg);
static inline bool lbdl_traced(const lbdl_tensor *x) { return x->t.buf == NULL; }
#define LBDL_LENT UINT64_MAX /* trace of a tensor over memory of the host, after the call that it was lent for */
/* Atom of x in trace t: lifted, or a literal or constant of t. */
bdl_atom lbdl_atom(lua_State *L, bdl_trace *t, const lbdl_tensor *x);
/* Push atom x of trace t. */
lbdl_tensor *lbdl_push_traced(lua_State *L, bdl_trace *t, bdl_atom x, const bdl_unit *unit);
lbdl_tensor *lbdl_push_concrete(lua_State *L, bdl_tensor t, const bdl_unit *unit); /* takes the reference */
void *lbdl_push_uninitialised(lua_State *L, const bdl_aval *a); /* a tensor, pushed; its data */
/* The tensor at arg, which must be concrete, in C order; replaced by that.  what: for the message. */
const bdl_tensor *lbdl_packed(lua_State *L, int arg, const char *what);
/* Numbers of x under `unit`: scaled where the scale differs.  Replaces the tensor at arg. */
void lbdl_convert_unit(lua_State *L, int arg, const bdl_unit *unit);
void lbdl_escaped(lua_State *L, const lbdl_tensor *x); /* raises: x is traced, and its trace is gone */
void lbdl_need_concrete(lua_State *L, const lbdl_tensor *x, const char *what);
double lbdl_item(lua_State *L, const lbdl_tensor *x);
bdl_scalar lbdl_first(lua_State *L, const lbdl_tensor *x); /* its first element */
void lbdl_cast(lua_State *L, int arg, bdl_dtype d); /* replaces the tensor at arg */

/* ---- primitives (ops.c) */
/* Operands are the top n values (tensors, numbers); replaced by the results.  Units, promotion, then run or record. */
int lbdl_bind(lua_State *L, bdl_prim_id prim, const bdl_param *params, int n);
/* The same without units or promotion. */
int lbdl_bind_raw(lua_State *L, bdl_prim_id prim, const bdl_param *params, int n);

/* ---- effects (effects.c) */
/* The list of tensors at `like`, which say what a call of the host gives, becomes what lbdl_host_call takes; its length. */
int lbdl_result_types(lua_State *L, int like);
/* Calls h over the operands above position `like`, or records that.  Takes h. */
int lbdl_host_call(lua_State *L, bdl_host *h, int like, int n_types);

/* ---- units (unit_lua.c) */
#define LBDL_UNIT "bdl.Unit"
void lbdl_push_unit(lua_State *L, const bdl_unit *u);
const bdl_unit *lbdl_check_unit(lua_State *L, int arg); /* nil: plain */
/* Tensor at 1 times or over the unit at 2: pushes the result, returns 1; 0 when 2 is no unit. */
int lbdl_unit_operand(lua_State *L, bool divide);

/* ---- trees (tree.c): a list of leaves and a treedef */
/* Leaves of the value at arg pushed one by one (as tensors); the treedef is pushed last.  Returns the number of leaves. */
int lbdl_flatten(lua_State *L, int arg);
/* The value of `treedef` over n leaves that are the top n values; replaced by it. */
void lbdl_unflatten(lua_State *L, const char *treedef, int n);

/* ---- origins of values, for messages (origin.c) */
const char *lbdl_push_origin(lua_State *L, const lbdl_tensor *x); /* " (from line 40)", " (State 'w', line 9)", "" */
void lbdl_push_state_origin(lua_State *L, const bdl_state *s);    /* "State 'w', line 9" */
/* Puts their origins behind the types of operands first .. first + n - 1 in the message of the context's error. */
void lbdl_name_origins(lua_State *L, int first, int n);

/* ---- sandboxes (sandbox_lua.c) */
void lbdl_budget_hook(lua_State *L); /* Lua is watched, where a budget asks for it */

/* ---- display (text.c): pushes text */
void lbdl_push_text(lua_State *L, const lbdl_tensor *x);

/* openers of the parts of core */
void lbdl_open_errors(lua_State *L);
void lbdl_open_tensor(lua_State *L);
void lbdl_open_ops(lua_State *L);
void lbdl_open_units(lua_State *L);
void lbdl_open_tree(lua_State *L);
void lbdl_open_state(lua_State *L);
void lbdl_open_trace(lua_State *L);
void lbdl_open_control(lua_State *L);
void lbdl_open_jit(lua_State *L);
void lbdl_open_host(lua_State *L);
void lbdl_open_transform(lua_State *L);
void lbdl_open_online(lua_State *L);
void lbdl_open_conn(lua_State *L);
void lbdl_open_origins(lua_State *L);
void lbdl_open_world(lua_State *L);
void lbdl_open_file(lua_State *L);
void lbdl_open_record(lua_State *L);
void lbdl_open_export(lua_State *L);
void lbdl_open_line(lua_State *L);
void lbdl_open_raw(lua_State *L);
void lbdl_open_replay(lua_State *L);
void lbdl_open_ffi(lua_State *L);
void lbdl_open_sandbox(lua_State *L);

#endif

/*
** ir.h -- programs: typed SSA in A-normal form with structured control flow.
**
**     program name(inputs) { equations } -> outputs
**
** A program owns its variables and equations in an arena; an atom is the number of a variable in it.
** Sub-programs (loop bodies, branches) are closed: everything from outside comes in as an operand.
** A program is a builder until bdl_prog_set_outputs; passes make new programs and leave old ones alone.
*/
#ifndef BDL_IR_H
#define BDL_IR_H

#include "base/context.h"
#include "device/device.h"

typedef struct bdl_prog bdl_prog;
typedef int32_t bdl_atom;
#define BDL_ZERO ((bdl_atom)-1) /* a symbolic zero tangent or cotangent: costs no equation */

/* ---- parameters of equations.  The letters are those of the specification in prims.def. */
typedef enum bdl_param_kind {
  BDL_PK_INT = 'i',   /* one integer */
  BDL_PK_FLOAT = 'f', /* one double */
  BDL_PK_INTS = 'I',  /* a list of integers: axes, shapes, permutations */
  BDL_PK_STR = 's',   /* text */
  BDL_PK_DTYPE = 'd', /* a dtype, in i */
  BDL_PK_PROGS = 'P', /* a list of programs, each a reference */
  BDL_PK_HOST = 'h'   /* a host callback: opaque, refcounted by its owner */
} bdl_param_kind;

/* Something of the host that an equation calls (debug print to a Lua sink, host callback).  in/out are CPU tensors. */
typedef struct bdl_host {
  int32_t refs;
  bdl_status (*call)(struct bdl_host *h, bdl_context *c, const bdl_tensor *in, int n_in, bdl_tensor *out, int n_out);
  void (*free)(struct bdl_host *h);
} bdl_host;

typedef struct bdl_param {
  bdl_param_kind kind;
  int32_t n; /* of ints or progs */
  union {
    int64_t i;
    double f;
    const int64_t *ints;
    const char *s;
    bdl_prog **progs;
    bdl_host *host;
  };
} bdl_param;

static inline bdl_param bdl_pint(int64_t i) { return (bdl_param){.kind = BDL_PK_INT, .i = i}; }
static inline bdl_param bdl_pfloat(double f) { return (bdl_param){.kind = BDL_PK_FLOAT, .f = f}; }
static inline bdl_param bdl_pdtype(bdl_dtype d) { return (bdl_param){.kind = BDL_PK_DTYPE, .i = d}; }
static inline bdl_param bdl_pstr(const char *s) { return (bdl_param){.kind = BDL_PK_STR, .s = s}; }
static inline bdl_param bdl_pints(const int64_t *v, int n) { return (bdl_param){.kind = BDL_PK_INTS, .n = n, .ints = v}; }
static inline bdl_param bdl_pprogs(bdl_prog **p, int n) { return (bdl_param){.kind = BDL_PK_PROGS, .n = n, .progs = p}; }
bool bdl_param_eq(const bdl_param *a, const bdl_param *b);

/* ---- primitives: the enum is made from prim/prims.def */
typedef enum bdl_prim_id {
#define PRIM(name, ...) BDL_P_##name,
#include "prim/prims.def"
#undef PRIM
  BDL_P_COUNT
} bdl_prim_id;

typedef struct bdl_eqn {
  bdl_prim_id prim;
  int32_t n_in, n_out, n_params;
  bdl_atom *in, *out;
  bdl_param *params; /* in the order of the primitive's specification */
  bdl_src src;       /* the model's line that traced it */
} bdl_eqn;

typedef enum bdl_var_kind { BDL_V_INPUT, BDL_V_CONST, BDL_V_LITERAL, BDL_V_EQN } bdl_var_kind;

typedef struct bdl_var {
  bdl_aval aval;
  bdl_var_kind kind;
  int32_t index;      /* position among inputs, consts or equations */
  bdl_scalar literal; /* kind LITERAL: a scalar */
  const char *name;   /* (optional) path of the State or argument, for dumps and errors */
} bdl_var;

struct bdl_prog {
  bdl_context *ctx;
  int32_t refs;
  bdl_arena arena;
  const char *name;
  BDL_VEC(bdl_var) vars;
  BDL_VEC(bdl_eqn) eqns;
  BDL_VEC(bdl_atom) inputs;
  BDL_VEC(bdl_tensor) consts; /* each holds a reference */
  bdl_atom *outputs;
  int32_t n_outputs;
  bool effects;   /* has an equation with an effect, also in bodies */
  bdl_map known;  /* hash of a literal or constant -> its atom */
  bdl_src src;    /* given to equations appended from now on */
};

/* ---- building.  Every function leaves the program unchanged on error. */
bdl_status bdl_prog_new(bdl_context *c, const char *name, bdl_prog **p);
void bdl_prog_ref(bdl_prog *p);
void bdl_prog_unref(bdl_prog *p);
bdl_status bdl_ir_input(bdl_prog *p, const bdl_aval *a, bdl_atom *x);
bdl_status bdl_ir_literal(bdl_prog *p, bdl_dtype d, bdl_scalar v, bdl_atom *x); /* one variable a value */
bdl_status bdl_ir_const(bdl_prog *p, const bdl_tensor *t, bdl_atom *x);         /* one variable a view */
/* Append `out = prim[params] in`.  Checks the type rule; out has room for bdl_ir_n_out() atoms.
** params (and the programs in them) are copied or referenced. */
bdl_status bdl_bind(bdl_prog *p, bdl_prim_id prim, const bdl_param *params, const bdl_atom *in, int n_in, bdl_atom *out);
bdl_status bdl_prog_set_outputs(bdl_prog *p, const bdl_atom *out, int n);
/* The number of results of a primitive with these parameters and operands. */
int bdl_ir_n_out(bdl_prim_id prim, const bdl_param *params, int n_in);
/* Append a whole program to p: in[i] for its inputs; out receives its outputs' atoms. */
bdl_status bdl_ir_inline(bdl_prog *p, const bdl_prog *q, const bdl_atom *in, bdl_atom *out);

/* What the program says (hash.c): the same in every process and on every machine of one byte order. */
uint64_t bdl_ir_hash(const bdl_prog *p);

static inline const bdl_aval *bdl_aval_of(const bdl_prog *p, bdl_atom x) { return &p->vars.v[x].aval; }
static inline bool bdl_is_zero(bdl_atom x) { return x == BDL_ZERO; }
/* Is x a literal, perhaps broadcast, equal to v? */
bool bdl_ir_is_literal(const bdl_prog *p, bdl_atom x, double v);

/* Shorthands for rules and passes. */
bdl_status bdl_bind1(bdl_prog *p, bdl_prim_id prim, bdl_atom x, bdl_atom *z);
bdl_status bdl_bind2(bdl_prog *p, bdl_prim_id prim, bdl_atom x, bdl_atom y, bdl_atom *z);
bdl_status bdl_bind3(bdl_prog *p, bdl_prim_id prim, bdl_atom x, bdl_atom y, bdl_atom w, bdl_atom *z);
bdl_status bdl_ir_scalar(bdl_prog *p, bdl_dtype d, double v, bdl_atom *x);          /* literal of a number */
bdl_status bdl_ir_full(bdl_prog *p, const bdl_aval *a, double v, bdl_atom *x);      /* literal broadcast to a */
bdl_status bdl_ir_cast(bdl_prog *p, bdl_atom x, bdl_dtype d, bdl_atom *z);          /* x itself if it has that dtype */
bdl_status bdl_ir_broadcast_to(bdl_prog *p, bdl_atom x, const bdl_aval *a, bdl_atom *z); /* NumPy rules; dtype of x kept */
bdl_status bdl_ir_reshape(bdl_prog *p, bdl_atom x, int ndim, const int64_t *shape, bdl_atom *z);

/* ---- text.  print and parse are inverse: parse(print(p)) prints the same. */
bdl_status bdl_ir_print(const bdl_prog *p, bdl_str *out);
/* For people: constants show their first `most` elements, then how many there are.  Does not parse where it cuts. */
bdl_status bdl_ir_print_short(const bdl_prog *p, int64_t most, bdl_str *out);
/* Errors: BDL_ESYNTAX with line and column of the text; any error of the type rules.  Never crashes on any text. */
bdl_status bdl_ir_parse(bdl_context *c, const char *text, size_t n, bdl_prog **p);

/* ---- checking.  Errors: BDL_EINTERNAL naming the equation. */
bdl_status bdl_ir_verify(const bdl_prog *p);

/* ---- passes: program -> new program (owns one reference). */
typedef bdl_status (*bdl_pass)(const bdl_prog *p, bdl_prog **q);
bdl_status bdl_pass_dce(const bdl_prog *p, bdl_prog **q);      /* drop what no output or effect needs, also in bodies */
bdl_status bdl_pass_cse(const bdl_prog *p, bdl_prog **q);      /* one equation for equal primitive, parameters, operands */
bdl_status bdl_pass_simplify(const bdl_prog *p, bdl_prog **q); /* exact algebra only: x*1, x+(-0.0), cast chains, select of a literal ... */
bdl_status bdl_pass_inline(const bdl_prog *p, bdl_prog **q);   /* calls, also checkpoints and custom derivatives, replaced by their bodies */
bdl_status bdl_pass_hoist(const bdl_prog *p, bdl_prog **q);    /* loop-invariant equations without effects out of scans */
bdl_status bdl_pass_counter(const bdl_prog *p, bdl_prog **q);  /* what a scan picks with its round's number becomes a stacked operand */
bdl_status bdl_pass_accumulate(const bdl_prog *p, bdl_prog **q); /* what is added into zeros, and that to a value, is added to the value */
bdl_status bdl_pass_products(const bdl_prog *p, bdl_prog **q); /* products that a scan's rounds do not need: one product over all */
/* Constant folding needs to run equations: eval evaluates one equation on constants (exec gives it). */
typedef bdl_status (*bdl_eval_eqn)(bdl_context *c, const bdl_prog *p, const bdl_eqn *e, const bdl_tensor *in, bdl_tensor *out);
bdl_status bdl_pass_fold(const bdl_prog *p, bdl_eval_eqn eval, bdl_prog **q);
/* The standard order, each step verified when ctx->verify is set; `after` (may be NULL) sees the program after each pass. */
typedef bdl_status (*bdl_pass_observer)(void *ud, const char *pass, const bdl_prog *p);
bdl_status bdl_optimise(const bdl_prog *p, bdl_eval_eqn eval, bdl_pass_observer after, void *ud, bdl_prog **q);

#endif

/*
** prim.h -- the primitive table.  One row a primitive in prims.def; its rules stand in prim/<family>.c.
*/
#ifndef BDL_PRIM_H
#define BDL_PRIM_H

#include "ir/ir.h"

enum {
  BDL_F_ELEMENTWISE = 1, /* operands broadcast together; each result element needs one element of each operand */
  BDL_F_COMMUTATIVE = 2,
  BDL_F_EFFECT = 4,      /* never dropped, never reordered with other effects, never folded */
  BDL_F_CONTROL = 8,     /* has programs among its parameters; executed by the plan, not by a kernel */
  BDL_F_LINEAR = 16,     /* linear in the operands named in its transpose rule */
  BDL_F_LANES = 32       /* between the lanes of the axis that is its first parameter; never folded, never merged */
};

/* The parameter axis of an equation with BDL_F_LANES, while batching is over that axis. */
#define BDL_LANES (-1)

/* Result types.  in: n_in operand types; out: room for the results.  Messages name the primitive and both sides. */
typedef bdl_status (*bdl_type_rule)(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out);

/* Tangents dz of the results from tangents dx of the operands (BDL_ZERO: none).
** x, z: primal operands and results, already in b.  params of e as in prims.def. */
typedef bdl_status (*bdl_jvp_rule)(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, const bdl_atom *dx, const bdl_atom *z, bdl_atom *dz);

/* Cotangents ct_in of the linear operands from those of the results.  is_linear[i]: operand i is one of them (its x is not
** to be used, only its type); the others are primal values.  ct_in of other operands stays BDL_ZERO. */
typedef bdl_status (*bdl_transpose_rule)(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, const bool *is_linear, const bdl_atom *ct,
                                         bdl_atom *ct_in);

/* The equation over `size` >= 1 lanes: batched[i]: operand x[i] has the axis of lanes in front, which at least one has.
** out_batched: true for every result when called; a rule may clear it where all lanes have the same result. */
typedef bdl_status (*bdl_batch_rule)(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, const bool *batched, int64_t size, bdl_atom *z,
                                     bool *out_batched);

typedef struct bdl_prim {
  const char *name;
  int n_in;  /* -1: any number */
  int n_out; /* -1: depends on the parameters, see bdl_ir_n_out */
  int flags;
  const char *params; /* "axes:I keepdims:i": name:kind, by one space */
  bdl_type_rule type;
  bdl_jvp_rule jvp;             /* NULL: no rule, an error while tracing */
  bdl_transpose_rule transpose; /* NULL: not linear, or no rule */
  bdl_batch_rule batch;         /* NULL: no rule */
  const char *synopsis;
} bdl_prim;

extern const bdl_prim bdl_prims[BDL_P_COUNT];

int bdl_prim_find(const char *name);          /* -1: none */
int bdl_prim_param(bdl_prim_id p, const char *name); /* index of a parameter; -1: none */
int bdl_prim_n_params(bdl_prim_id p);
bdl_param_kind bdl_prim_param_kind(bdl_prim_id p, int i);
/* Copies the i-th parameter's name into buf. */
const char *bdl_prim_param_name(bdl_prim_id p, int i, char buf[32]);

/* What the type rule may take for granted: the number of operands, the kinds of the parameters, bdl_ir_n_out() >= 0. */
bdl_status bdl_prim_check(bdl_context *c, bdl_prim_id p, const bdl_param *params, int n_in);
/* The whole check of one equation: bdl_prim_check, the type rule, sizes of results.  out: bdl_ir_n_out() avals.
** Errors: those of the rule; the message starts with the primitive's name. */
bdl_status bdl_prim_type(bdl_context *c, bdl_prim_id p, const bdl_param *params, const bdl_aval *in, int n_in, bdl_aval *out);

/* "add: shapes f32[3] and f32[4] do not broadcast": the start of every message of a type rule. */
#define BDL_FAIL_PRIM(c, status, prim, fmt, ...) bdl_fail(c, status, "%s: " fmt, prim, __VA_ARGS__)

#endif

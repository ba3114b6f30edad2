/*
** online.h -- the structure of a step that online learning works on: from program to program.
**
** A step is a program whose inputs hold, among others, hidden values of before and whose outputs hold those of after.  Its
** dynamics are element-wise, its interactions between positions are marked by etrace_op:
**
**     h_t = f(h_t-1, y_t)          position by position
**     y_t = op(x_t, W)             x_t may depend on h_t-1
**
** From it come D = dh_t/dh_t-1 with y held fixed and Df = dh_t/dy, one number a position, and the step with h_t perturbed.
** Source: Wang et al. 2024, BrainScale; Bellec et al. 2020, e-prop, eq. 14.
*/
#ifndef BDL_ONLINE_H
#define BDL_ONLINE_H

#include "ir/ir.h"

/* p with calls and checkpoints inlined; branches (where all may run) and short loops that hold an etrace_op are written out, so
** that it stands among the equations of q.  Inputs and outputs stay.  Errors: BDL_ENOMEM. */
bdl_status bdl_online_flatten(const bdl_prog *p, bdl_prog **q);

/* Hidden values of a flat step: in[a] is an input, out[a] an output's atom. */
typedef struct bdl_step {
  const bdl_prog *p;
  int n_hidden;
  const bdl_atom *in, *out;
} bdl_step;

/* Where a path from a hidden value or an interaction to a hidden value is left out of D and Df: not element-wise. */
typedef struct bdl_cut {
  int64_t eqn;
  int hidden, op; /* the path comes from this one; the other is -1 */
} bdl_cut;

/* Numbers are of outputs of `tangents`; -1: structurally zero. */
typedef struct bdl_structure {
  bdl_arena arena;
  bdl_prog *tangents; /* inputs of p -> outputs of p; operands of the etrace_ops; D; Df */
  int n_hidden, n_ops, n_groups, n_cuts;
  int64_t *op;        /* equation of each etrace_op, in order */
  bool *leads;        /* of each op: to a new hidden value, by any path */
  bool *recurrent;    /* of each op: its inputs depend on hidden values, by any path */
  int *operand;       /* of each op: the number of its first operand, the others follow */
  int *d;             /* [a * n_hidden + b]: dh_a / dh_b */
  int *df;            /* [a * n_ops + j]: dh_a / dy_j, at the positions of h_a, which may have axes in front of y's */
  int *group;         /* of each hidden value, in the order of their first members */
  bdl_cut *cut;
} bdl_structure;

/* Fini whatever it returned.  Errors: BDL_ENOTSUP a primitive of the dynamics has no derivative. */
bdl_status bdl_online_structure(const bdl_step *s, bdl_structure *z);
void bdl_online_structure_fini(bdl_structure *z);

/*
** q(inputs of p, delta[n_hidden]) -> outputs of p, where everything after the new hidden value h_a reads h_a + delta_a; h_a
** itself is computed from the values of its own group as they are, so that dL/d delta_a is what h_a does outside of its group.
**   group      of each hidden value; NULL: also within the group, as braintrace has it
**   detached   of each etrace_op and operand, one after the other: behind stop_gradient
*/
bdl_status bdl_online_perturb(const bdl_step *s, const int *group, int n_groups, const bool *detached, bdl_prog **q);

/* ---- element-wise flow.  in, out: of operands and results, whether they depend on the value followed.  grow: axes may be added
** in front of it.  Returns whether every equation on the way maps position to position. */
bdl_status bdl_online_flow(bdl_arena *a, const bdl_prog *p, const bdl_eqn *e, const bool *in, bool *out, bool grow,
                           bool *elementwise);

/*
** The positions of a hidden group as a graph: q -> p where a new hidden value at p may depend on one of before at q, interactions
** included.  By structure alone: what is not an edge is zero for all weights and inputs.
*/
typedef struct bdl_neighbours {
  bdl_arena arena;
  int64_t n, width, lanes;
  int32_t *at;   /* [n, width]: what p reaches in less than `order` steps: itself, then the others ascending; -1: no more */
  bool *direct;  /* [n, width, width]: at[p][i] depends on at[p][j] in one step */
  int32_t *lane; /* [n]: positions of one of the `lanes` reach nothing in common in a step */
} bdl_neighbours;
/* known: values of inputs that never change, or NULL each; NULL: everything depends on everything.  most: elements that the
** Jacobian n (width n_members)^2 may have; 0: any number.  Fini whatever it returned.  Errors: BDL_ENOTSUP more than that. */
bdl_status bdl_online_neighbours(const bdl_step *s, const int *members, int n_members, const bdl_tensor *const *known,
                                 int order, int64_t most, bdl_neighbours *z);
void bdl_online_neighbours_fini(bdl_neighbours *z);

/*
** The weight of an interaction, seen through its body: y = suffix(core(x', prefix(w))), prefix and suffix element-wise, core a
** product, a convolution, a choice of rows, or nothing (then x' is 1).  Traces have the canonical form [state, R, I, K]: rows
** times inputs times outputs; weights are [Q, I, K], row r belongs to r mod Q.
**   lift    operands -> x' [R, I]?, phi (of y's type)?, psi [Q, I, K]?     d suffix / d core, d prefix / d w
**   spread  a value for each position of y -> [R, K]
**   fold    gradient [Q, I, K], operands -> gradient of w
*/
typedef struct bdl_term {
  bdl_prog *lift, *spread, *fold;
  bool has_x, has_phi, has_psi, pairs; /* pairs: x' is [R, K], the trace has I = 1 */
  int64_t r, i, k, q;
  const char *unsupported;             /* why there is none; NULL: there is */
} bdl_term;
/* weight: its operand's number. */
bdl_status bdl_online_term(const bdl_prog *p, const bdl_eqn *op, int weight, bdl_term *t);
void bdl_online_term_fini(bdl_term *t);

#endif

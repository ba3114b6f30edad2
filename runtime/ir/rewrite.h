/*
** rewrite.h -- what passes share: a walk over a program that builds another one.
**
**     rewrite r;                                      r.map: atom of p -> atom of q
**     status s = bdl_ir_rw_begin(&r, p);              q with p's name and inputs
**     for each equation e of p, in order:
**       s = bdl_ir_rw_copy(&r, e)                     the same equation in q, or
**       s = bdl_ir_rw_set(&r, e->out[0], z)           an atom of q in its place; r.changed = true
**     return bdl_ir_rw_end(&r, s, &q)                 outputs; p itself when nothing changed
*/
#ifndef BDL_REWRITE_H
#define BDL_REWRITE_H

#include "ir/edit.h"
#include "prim/prim.h"

typedef struct bdl_rewrite {
  const bdl_prog *p;
  bdl_prog *q;
  bdl_atom *map; /* BDL_ZERO: not yet */
  bdl_arena scratch;
  bool changed;
  const bool *keep_out; /* NULL: all outputs */
} bdl_rewrite;

bdl_status bdl_ir_rw_begin(bdl_rewrite *r, const bdl_prog *p);
/* q without the inputs that are not kept; NULL: all. */
bdl_status bdl_ir_rw_begin_some(bdl_rewrite *r, const bdl_prog *p, const bool *keep_in);
/* Into a program that exists; the inputs of p become these atoms of q. */
bdl_status bdl_ir_rw_begin_in(bdl_rewrite *r, const bdl_prog *p, bdl_prog *q, const bdl_atom *in);
void bdl_ir_rw_fini(bdl_rewrite *r);

/* The atom of q for x; literals and constants are taken over when first asked for. */
bdl_status bdl_ir_rw_atom(bdl_rewrite *r, bdl_atom x, bdl_atom *z);
/* z of q stands for x of p, and takes its name unless it has one. */
bdl_status bdl_ir_rw_set(bdl_rewrite *r, bdl_atom x, bdl_atom z);
/* The same for all results of e. */
bdl_status bdl_ir_rw_set_all(bdl_rewrite *r, const bdl_eqn *e, const bdl_atom *z);
/* The operands of e in q, in r's scratch; NULL: BDL_ENOMEM. */
bdl_atom *bdl_ir_rw_operands(bdl_rewrite *r, const bdl_eqn *e);
/* Append e with its operands taken over. */
bdl_status bdl_ir_rw_copy(bdl_rewrite *r, const bdl_eqn *e);
/* The same with other parameters, which do not change its types: bodies after a pass. */
bdl_status bdl_ir_rw_copy_with(bdl_rewrite *r, const bdl_eqn *e, const bdl_param *params);
/* Take over the outputs; *q: the new program, or p when nothing changed, with one reference; s: how the walk went. */
bdl_status bdl_ir_rw_end(bdl_rewrite *r, bdl_status s, bdl_prog **q);

/* Copy e after applying a pass to its bodies, if it has any. */
typedef bdl_status (*bdl_body_pass)(void *ud, const bdl_prog *p, bdl_prog **q);
bdl_status bdl_ir_rw_copy_bodies(bdl_rewrite *r, const bdl_eqn *e, bdl_body_pass pass, void *ud);

static inline bool bdl_ir_has_bodies(const bdl_eqn *e) { return (bdl_prims[e->prim].flags & BDL_F_CONTROL) != 0; }

#endif

/*
** rules.h -- the rules that prims.def names, declared from the table, and what rules share.
*/
#ifndef BDL_RULES_H
#define BDL_RULES_H

#include "prim/prim.h"

#define PRIM(name_, in_, out_, flags_, params_, type_, jvp_, transpose_, batch_, lower_, synopsis_)                             \
  bdl_status bdl_type_##type_(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out);                 \
  bdl_status bdl_jvp_##jvp_(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, const bdl_atom *dx, const bdl_atom *z,            \
                            bdl_atom *dz);                                                                                      \
  bdl_status bdl_transpose_##transpose_(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, const bool *is_linear,                \
                                        const bdl_atom *ct, bdl_atom *ct_in);                                                  \
  bdl_status bdl_batch_##batch_(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, const bool *batched, int64_t size, bdl_atom *z, \
                                bool *out_batched);
#include "prim/prims.def"
#undef PRIM

/* z = x + y where either may be BDL_ZERO. */
bdl_status bdl_rule_add(bdl_prog *b, bdl_atom x, bdl_atom y, bdl_atom *z);
/* The adjoint of broadcasting: ct summed over the axes along which `to` was spread, in the shape of `to`. */
bdl_status bdl_rule_unbroadcast(bdl_prog *b, bdl_atom ct, const bdl_aval *to, bdl_atom *z);

/* x with the axis of lanes in front: itself when it has one, else repeated. */
bdl_status bdl_rule_lanes(bdl_prog *b, bdl_atom x, bool batched, int64_t size, bdl_atom *z);

/* The reduction that an `across` is. */
bdl_prim_id bdl_rule_across(const bdl_eqn *e);

#endif

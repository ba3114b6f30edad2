/*
** lower_collective.h -- the parameters of primitives between lanes as the engines between processes want them.
*/
#ifndef BDL_LOWER_COLLECTIVE_H
#define BDL_LOWER_COLLECTIVE_H

#include "device/world.h"
#include "exec/lower.h"

/* The processes that hold the lanes.  Errors: BDL_EVALUE, another axis, or the program was made for another number of them. */
bdl_status bdl_lower_world(bdl_context *c, bdl_prim_id prim, const bdl_param *params, bdl_world **w);
/* Of ppermute: with whom this process exchanges; -1: nobody. */
void bdl_lower_partners(const bdl_world *w, const bdl_param *params, int *to, int *from);

#endif

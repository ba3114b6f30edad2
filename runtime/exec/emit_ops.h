/*
** emit_ops.h -- which element operations native code may inline, and what they are called there.
*/
#ifndef BDL_EMIT_OPS_H
#define BDL_EMIT_OPS_H

#include "cpu/tile.h"

/* Is there a C function k_<op>_<dtype> among the elements?  Casts are, selects and copies are expressions. */
bool bdl_emit_inlines(int op, bdl_dtype dtype);
/* A function whose result comes late: tens of operations, each on the one before. */
bool bdl_emit_is_long(int op);
const char *bdl_emit_op_name(int op);       /* "mul_add" */
const char *bdl_emit_code(bdl_dtype d);     /* "b8": the dtype in names of functions */
const char *bdl_emit_ctype(bdl_dtype d);    /* "_Bool": of a value */
const char *bdl_emit_memory(bdl_dtype d);   /* "unsigned char": of an element in memory */

#endif

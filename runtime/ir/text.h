/*
** text.h -- what the printer and the parser must agree on.
*/
#ifndef BDL_TEXT_H
#define BDL_TEXT_H

#include "ir/ir.h"

/* A name that needs no quotes: letters, digits, _ and . and no word of the grammar. */
bool bdl_text_is_word(const char *s);
/* A number as a literal shows it, without its dtype. */
void bdl_text_scalar(bdl_str *out, bdl_dtype d, bdl_scalar v);

/* Bodies inside bodies; deeper text is refused, so that no text overflows the stack. */
#define BDL_TEXT_DEPTH 100

#endif

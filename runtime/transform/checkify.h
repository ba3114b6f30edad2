/*
** checkify.h -- checks as values: a program that says what went wrong, and where, instead of ending with an error.
*/
#ifndef BDL_CHECKIFY_H
#define BDL_CHECKIFY_H

#include "ir/ir.h"

enum {
  BDL_CHECK_USER = 1, /* error_if */
  BDL_CHECK_NAN = 2,  /* NaN in a result and in no operand; NaN in an input of the program */
  BDL_CHECK_DIV = 4,  /* a divisor that is 0 */
  BDL_CHECK_INDEX = 8, /* an index out of range; it is moved into it */
  BDL_CHECK_INF = 16, /* NAN, and infinities in the same way */
  BDL_CHECK_COUNT = 32 /* shown of those two: number of NaN, of infinities, least and largest finite number */
};

/* One place that may go wrong.  Texts are interned. */
typedef struct bdl_check {
  unsigned kind;
  const char *prim;   /* NULL: an input */
  bdl_src src;
  const char *text;   /* USER: the message, {k} is shown value k - 1; an input: its name or NULL */
  int n_shown;        /* values that go along: those of the message, the index, the counts */
  int64_t size;       /* INDEX: what the index must be below; an input: its number */
} bdl_check;

typedef struct bdl_checks {
  BDL_VEC(bdl_check) v;
} bdl_checks;

/*
** bdl_transform_checkify -- q(inputs) = outputs, i32[] error, what its checks show, in their order.
**   kinds   which checks; equations of the others stay as they are
**   list    empty; the checks, of which error is the number of the first that failed, from 1; 0: none
** Errors: BDL_ENOMEM.
*/
bdl_status bdl_transform_checkify(const bdl_prog *p, unsigned kinds, bdl_checks *list, bdl_prog **q);
void bdl_checks_fini(bdl_context *c, bdl_checks *list);

#endif

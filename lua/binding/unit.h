/*
** unit.h -- physical units and what operations do to them.  Pure C: no Lua, no programs.
**
** A unit is factor * 10^scale times powers of the seven SI dimensions, and the way it was written: a list of named
** factors with exponents.  Products that have the dimension and size of one named unit are shown by that name
** (mV * nS: pA), others as written (mV / ms).  NULL is the unit of plain numbers, 1.
** Units are immutable and live as long as their registry; the same written form is one pointer, so equal pointers are
** equal units, while mV * nS and pA are two pointers that bdl_unit_eq calls equal.
**
** Names and the choice of the shown name follow brainunit (saiunit 0.5.2), with one difference: a plain number never
** changes how a unit is written.
*/
#ifndef BDL_UNIT_H
#define BDL_UNIT_H

#include "base/base.h"

typedef struct bdl_units bdl_units; /* the registry: one a Lua context */
typedef struct bdl_unit bdl_unit;

enum { BDL_N_DIM = 7 }; /* m kg s A K mol cd */

bdl_status bdl_units_new(bdl_context *c, bdl_units **reg);
void bdl_units_free(bdl_units *reg); /* NULL is allowed */

/* The unit of a name (mvolt), a symbol (mV), UNITLESS, or of a product as bdl_unit_text writes it: "mS / cm^2",
** "1 / (mM * ms)", "mV*nS".  Errors: BDL_EKEY naming the closest one; BDL_ESYNTAX. */
bdl_status bdl_unit_named(bdl_units *reg, const char *text, const bdl_unit **u);

/* Operands and results may be NULL (1).  bdl_unit_div(NULL, b) is 1 / b, for which frequencies have names: 1 / ms is kHz.
** Errors: BDL_ENOMEM; BDL_EVALUE a size or exponent out of range. */
bdl_status bdl_unit_mul(bdl_units *reg, const bdl_unit *a, const bdl_unit *b, const bdl_unit **u);
bdl_status bdl_unit_div(bdl_units *reg, const bdl_unit *a, const bdl_unit *b, const bdl_unit **u);
bdl_status bdl_unit_pow(bdl_units *reg, const bdl_unit *a, double e, const bdl_unit **u);
/* The unit of the same dimension and size 1 in SI base units: V for mV. */
bdl_status bdl_unit_si(bdl_units *reg, const bdl_unit *a, const bdl_unit **u);
bdl_context *bdl_units_context(bdl_units *reg);

bool bdl_unit_same_dim(const bdl_unit *a, const bdl_unit *b);
bool bdl_unit_eq(const bdl_unit *a, const bdl_unit *b); /* same dimension and size */
bool bdl_unit_is_dimensionless(const bdl_unit *a);      /* NULL, rad, mV / V */
/* A number in a, times this, is the number in b.  a and b have the same dimension. */
double bdl_unit_ratio(const bdl_unit *a, const bdl_unit *b);
double bdl_unit_magnitude(const bdl_unit *a);     /* in SI base units: mV 0.001 */
const char *bdl_unit_text(const bdl_unit *a);     /* "mV / ms"; "1" for NULL */
const char *bdl_unit_dim_text(const bdl_unit *a); /* "m^2 kg s^-3 A^-1"; "1" for NULL */

/* The i-th known name, prefixes included, in a fixed order; false: no more.  For lists and completion. */
#define BDL_UNIT_NAME 48
bool bdl_unit_name_at(int i, char buf[BDL_UNIT_NAME]);

/* ---- what operations do to units ---------------------------------------------------------- */

/* Every primitive and every unit-aware function of the array library has a rule.  A rule is a number:
** primitives come first, by their id; bdl_unit_rule_find also knows the functions.  -1: no rule. */
int bdl_unit_rule_find(const char *name);

typedef struct bdl_unit_arg {
  const bdl_unit *unit; /* NULL: a plain number */
  bool zero;            /* known to be 0 everywhere: a plain 0 may be added to or compared with any unit */
} bdl_unit_arg;

/* One application.  `value` gives the text of operand i for messages ("1 mV"), from the binding that can print it;
** NULL: messages name units only. */
typedef struct bdl_unit_call {
  const bdl_unit_arg *arg;
  int n, n_out;
  bool has_number; /* number: the exponent of pow and integer_pow, how many elements reduce_prod multiplies */
  double number;
  const char *(*value)(void *ud, int i, char *buf, size_t size);
  void *ud;
} bdl_unit_call;

/*
** bdl_unit_rule -- check the operands of a rule and find the units of the results.
**   in   [n]     multiply operand i by this before the operation (1: leave it)
**   out  [n_out] units of the results
**   post         multiply the results by this afterwards: mV / V is a plain number times 0.001
** All operands plain: every rule gives plain results and factors 1, so a caller may skip the call.
** Errors: BDL_EUNIT units do not match; BDL_ETYPE a unit where a plain number is needed, or a plain number where
** a unit is; BDL_EVALUE an exponent with a unit.  They carry a hint with one way out.
*/
bdl_status bdl_unit_rule(bdl_units *reg, int rule, const bdl_unit_call *call, double *in, const bdl_unit **out,
                         double *post);
/* The factor that takes numbers in `from` to `to`.  Errors: BDL_EUNIT dimensions differ. */
bdl_status bdl_unit_convert(bdl_units *reg, const bdl_unit *from, const bdl_unit *to, double *factor);

#endif

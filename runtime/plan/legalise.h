/*
** legalise.h -- see legalise.c.
*/
#ifndef BDL_LEGALISE_H
#define BDL_LEGALISE_H

#include "ir/ir.h"

/* A program that computes the same, whose kernels, loops and results have contiguous operands; bodies too. */
bdl_status bdl_plan_legalise(const bdl_prog *p, bdl_prog **q);

#endif

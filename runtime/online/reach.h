/*
** reach.h -- which positions of a value an element of another depends on, by the structure of a program: what could be
** non-zero in a Jacobian.  Sets are numbered: 0 is empty, 1 + p is {p}; equal sets have one number.
*/
#ifndef BDL_REACH_H
#define BDL_REACH_H

#include "online/online.h"

typedef struct bdl_reach {
  bdl_context *ctx;
  bdl_arena a;
  int64_t n, words;    /* positions; 64-bit words of a set */
  BDL_VEC(uint64_t) bits;
  int64_t n_sets;
  bdl_map at;          /* hash -> number */
  uint64_t *sum;       /* the set being made */
  bdl_status status;   /* sticky: BDL_ENOMEM */
} bdl_reach;

/* Fini whatever it returned. */
bdl_status bdl_reach_init(bdl_reach *r, bdl_context *c, int64_t positions);
void bdl_reach_fini(bdl_reach *r);
void bdl_reach_clear(bdl_reach *r);                      /* r->sum */
void bdl_reach_include(bdl_reach *r, int32_t set);       /* r->sum with it */
int32_t bdl_reach_number(bdl_reach *r);                  /* of the set in r->sum */
int32_t bdl_reach_join(bdl_reach *r, int32_t a, int32_t b); /* their union; r->sum is lost */
static inline const uint64_t *bdl_reach_set(const bdl_reach *r, int32_t set) { return r->bits.v + set * r->words; }

/* What is known of a variable: a set for each element, and the value where it does not change from step to step. */
typedef struct bdl_reached {
  int32_t *set;            /* NULL: all empty */
  const bdl_tensor *value; /* (optional) */
} bdl_reached;

/* Through a program.  Equations of unknown structure mix all elements: never too few. */
bdl_status bdl_reach_run(bdl_reach *r, const bdl_prog *p, const bdl_reached *in, bdl_reached *out);

#endif

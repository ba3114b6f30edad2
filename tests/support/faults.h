/*
** faults.h -- contexts whose memory gives out on purpose.
*/
#ifndef BDL_TEST_FAULTS_H
#define BDL_TEST_FAULTS_H

#include "base/context.h"

typedef struct t_faults {
  int64_t left;    /* allocations until one fails; INT64_MAX: none does */
  bool persistent; /* all after it fail too */
  bool happened;
} t_faults;

/* For bdl_context_new, with a t_faults. */
void *t_failing_alloc(void *faults, void *p, size_t osize, size_t nsize);

/* The task in a new context each time, whose n-th allocation fails: it gives BDL_ENOMEM, works on the next try, leaves nothing
** behind.  Returns how many allocations it makes. */
int64_t t_survive(bdl_status (*task)(bdl_context *c), bool persistent);

#endif

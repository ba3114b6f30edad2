/*
** host.h -- what the tests of bdl.h share.
*/
#ifndef BDL_TEST_HOST_H
#define BDL_TEST_HOST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "bdl.h"

/* A context with one thread that has run the text. */
static inline bdl *t_open(const char *text) {
  bdl_options o = bdl_defaults();
  o.threads = 1;
  bdl *b = bdl_open(&o);
  assert_non_null(b);
  if (bdl_run_string(b, text, "host.lua")) fail_msg("%s", bdl_error_text(b));
  return b;
}

static inline void t_done(bdl *b, int failed) {
  if (failed) fail_msg("%s", bdl_error_text(b));
}

/* The last call failed with this kind, and that in its text. */
static inline void t_failed(const bdl *b, int failed, const char *kind, const char *piece) {
  assert_true(failed);
  if (strcmp(bdl_error_kind(b), kind) != 0 || !strstr(bdl_error_text(b), piece))
    fail_msg("%s: %s\nwant %s: %s", bdl_error_kind(b), bdl_error_text(b), kind, piece);
}

static inline void t_floats(const float *got, const float *want, int n) {
  for (int i = 0; i < n; i++)
    if (got[i] != want[i]) fail_msg("element %d is %g, want %g", i, (double)got[i], (double)want[i]);
}

#endif

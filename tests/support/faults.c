#include "faults.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "device/device.h"

void *t_failing_alloc(void *faults, void *p, size_t osize, size_t nsize) {
  t_faults *f = faults;
  (void)osize;
  if (nsize == 0) {
    free(p);
    return NULL;
  }
  if (f->left-- == 0 || (f->left < 0 && f->persistent)) {
    f->happened = true;
    return NULL;
  }
  return realloc(p, nsize);
}

int64_t t_survive(bdl_status (*task)(bdl_context *c), bool persistent) {
  for (int64_t n = 0;; n++) {
    t_faults f = {.left = INT64_MAX, .persistent = persistent};
    bdl_context *c = bdl_context_new(t_failing_alloc, &f);
    assert_non_null(c);
    c->verify = 1;
    assert_non_null(bdl_device_cpu(c));
    f.left = n;
    const bdl_status s = task(c);
    const bool happened = f.happened;
    assert_int_equal(s, happened ? BDL_ENOMEM : BDL_OK);
    if (happened) assert_int_equal(c->error.status, BDL_ENOMEM);
    f = (t_faults){.left = INT64_MAX};
    assert_int_equal(task(c), BDL_OK);
    bdl_context_free(c); /* asserts that nothing is left */
    if (!happened) return n;
  }
}

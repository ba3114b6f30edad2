#include "text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

bdl_prog *t_parse(bdl_context *c, const char *text) {
  bdl_prog *p = NULL;
  if (bdl_ir_parse(c, text, strlen(text), &p) != BDL_OK) fail_msg("%s\n%s", c->error.message, text);
  return p;
}

char *t_print(const bdl_prog *p) {
  bdl_str s;
  bdl_str_init(&s, p->ctx);
  assert_int_equal(bdl_ir_print(p, &s), BDL_OK);
  char *text = malloc((size_t)s.n + 1);
  memcpy(text, s.s, (size_t)s.n + 1);
  bdl_str_fini(&s);
  return text;
}

void t_expect(const bdl_prog *p, const char *text) {
  bdl_prog *q = t_parse(p->ctx, text);
  char *got = t_print(p), *want = t_print(q);
  assert_string_equal(got, want);
  free(got);
  free(want);
  bdl_prog_unref(q);
}

int t_new_context(void **state) {
  bdl_context *c = bdl_context_new(NULL, NULL);
  if (c) c->verify = 1;
  *state = c;
  return c ? 0 : -1;
}

int t_free_context(void **state) {
  bdl_context_free(*state);
  return 0;
}

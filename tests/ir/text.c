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
  t_test *t = *state;
  t->c = bdl_context_new(NULL, NULL);
  if (!t->c) return -1;
  t->c->verify = 1;
  return 0;
}

void t_run(void **state) {
  t_test *t = *state;
  void *c = t->c;
  t->f(&c);
  t->passed = true;
}

/* A failed test leaves things behind, which is not its fault. */
int t_free_context(void **state) {
  t_test *t = *state;
  if (t->passed) bdl_context_free(t->c);
  return 0;
}

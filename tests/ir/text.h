/*
** text.h -- programs from text and back, for tests.
*/
#ifndef T_TEXT_H
#define T_TEXT_H

#include "ir/ir.h"

bdl_prog *t_parse(bdl_context *c, const char *text);       /* fails the test with the parser's message */
char *t_print(const bdl_prog *p);                          /* freed with free */
void t_expect(const bdl_prog *p, const char *text);        /* p prints as `text` does */

/* A test with a context of its own as its state; passes are verified.  Once it has passed, nothing may be left. */
typedef struct t_test {
  void (*f)(void **state);
  bdl_context *c;
  bool passed;
} t_test;
int t_new_context(void **state);
int t_free_context(void **state);
void t_run(void **state);
#define T_TEST(name) {#name, t_run, t_new_context, t_free_context, &(t_test){.f = name}}

#endif

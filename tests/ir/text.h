/*
** text.h -- programs from text and back, for tests.
*/
#ifndef T_TEXT_H
#define T_TEXT_H

#include "ir/ir.h"

bdl_prog *t_parse(bdl_context *c, const char *text);       /* fails the test with the parser's message */
char *t_print(const bdl_prog *p);                          /* freed with free */
void t_expect(const bdl_prog *p, const char *text);        /* p prints as `text` does */
int t_new_context(void **state);                           /* verifies after every pass */
int t_free_context(void **state);                          /* asserts that nothing is left */
#define T_TEST(f) cmocka_unit_test_setup_teardown(f, t_new_context, t_free_context)

#endif

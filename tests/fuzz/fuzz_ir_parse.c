/*
** fuzz_ir_parse.c -- any text: the parser refuses it or makes a program that holds what programs promise.
**   - the verifier accepts it, before and after every pass;
**   - printing is a fixed point: print(parse(print(p))) = print(p);
**   - derivatives verify, or are refused;
**   - nothing leaks: the context counts its bytes.
** Seeds: tests/fuzz/corpus_ir.  Build: clang -fsanitize=fuzzer,address,undefined, see `make fuzz`.
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/ir.h"
#include "transform/transform.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok, const char *what, bdl_context *c) {
  if (ok) return;
  fprintf(stderr, "%s: %s\n", what, c->error.message);
  abort();
}

static void check_text(bdl_context *c, const bdl_prog *p) {
  bdl_str s, t;
  bdl_prog *q = NULL;
  bdl_str_init(&s, c);
  bdl_str_init(&t, c);
  must(bdl_ir_print(p, &s) == BDL_OK, "print", c);
  must(bdl_ir_parse(c, s.s, (size_t)s.n, &q) == BDL_OK, "printed text does not parse", c);
  must(bdl_ir_print(q, &t) == BDL_OK && strcmp(s.s, t.s) == 0, "printed text reads back as another", c);
  bdl_prog_unref(q);
  bdl_str_fini(&s);
  bdl_str_fini(&t);
}

static void check_derivative(bdl_context *c, const bdl_prog *p, bdl_status (*f)(const bdl_prog *, const bool *, bdl_prog **)) {
  bdl_prog *q = NULL;
  if (f(p, NULL, &q) != BDL_OK) return;
  must(bdl_ir_verify(q) == BDL_OK, "derivative", c);
  bdl_prog_unref(q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  bdl_context *c = bdl_context_new(NULL, NULL);
  bdl_prog *p = NULL, *q = NULL;
  if (!c) return 0;
  c->mem_limit = (size_t)256 << 20;
  c->verify = 1;
  if (bdl_ir_parse(c, (const char *)data, size, &p) == BDL_OK) {
    must(bdl_ir_verify(p) == BDL_OK, "parsed program", c);
    check_text(c, p);
    must(bdl_optimise(p, NULL, NULL, NULL, &q) == BDL_OK, "optimise", c);
    check_text(c, q);
    check_derivative(c, p, bdl_transform_jvp);
    check_derivative(c, p, bdl_transform_vjp);
    bdl_prog_unref(q);
    bdl_prog_unref(p);
  }
  bdl_context_free(c); /* asserts that all was freed */
  return 0;
}

/*
** fuzz_npz.c -- any bytes: the reader refuses them, with the offset, or gives arrays of the size that they have; what was
** read can be written, and is the same when read again; nothing leaks.
** Seeds: tests/file/numpy.  Build: clang -fsanitize=fuzzer,address,undefined, see `make fuzz`.
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/context.h"
#include "file/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok, const char *what, bdl_context *c) {
  if (ok) return;
  fprintf(stderr, "%s: %s\n", what, c->error.message);
  abort();
}

/* The array as bdl writes it reads back the same. */
static void check_copy(bdl_context *c, const bdl_aval *a, const void *data) {
  char path[64];
  bdl_npz_writer *w = NULL;
  bdl_npz *f = NULL;
  bdl_aval b;
  void *copy = malloc(bdl_aval_bytes(a) + 1);
  snprintf(path, sizeof path, "/tmp/bdl-fuzz-%ld.npz", (long)getpid());
  must(bdl_npz_create(c, path, true, &w) == BDL_OK && bdl_npz_put(w, "a", a, data) == BDL_OK, "write", c);
  must(bdl_npz_finish(w) == BDL_OK && bdl_npz_open(c, path, &f) == BDL_OK, "open", c);
  must(bdl_npz_aval(f, 0, &b) == BDL_OK && bdl_aval_eq(a, &b), "type", c);
  must(bdl_npz_read(f, 0, &b, copy) == BDL_OK && memcmp(copy, data, bdl_aval_bytes(a)) == 0, "numbers", c);
  bdl_npz_close(f);
  unlink(path);
  free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  bdl_context *c = bdl_context_new(NULL, NULL);
  bdl_npz *f = NULL;
  if (!c) return 0;
  c->mem_limit = (size_t)64 << 20;
  bdl_status s = bdl_npz_open_bytes(c, "x", data, size, &f);
  for (int64_t i = 0; s == BDL_OK && i < bdl_npz_count(f); i++) {
    bdl_aval a;
    if (bdl_npz_aval(f, i, &a) != BDL_OK) continue;
    void *p = bdl_alloc(c, bdl_aval_bytes(&a));
    if (!p) continue;
    if (bdl_npz_read(f, i, &a, p) == BDL_OK) check_copy(c, &a, p);
    bdl_free(c, p, bdl_aval_bytes(&a));
  }
  size_t n = 0;
  const int64_t text = s == BDL_OK ? bdl_npz_text_find(f, "bdl.json", &n) : -1;
  char *t = text >= 0 ? bdl_alloc(c, n + 1) : NULL;
  if (t && bdl_npz_text_read(f, text, t) != BDL_OK) must(strstr(c->error.message, "byte ") != NULL, "no place", c);
  if (t) bdl_free(c, t, n + 1);
  if (s != BDL_OK && s != BDL_ENOMEM) must(strstr(c->error.message, "byte ") != NULL, "an error without a place", c);
  bdl_npz_close(f);
  bdl_context_free(c); /* asserts that all was freed */
  return 0;
}

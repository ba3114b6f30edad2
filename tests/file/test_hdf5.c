/*
** test_hdf5.c -- HDF5 in the layout of SHD (tests/file/hdf5), whole and damaged; skipped where bdl was built without the library.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/context.h"
#include "file/hdf5.h"

#ifndef STRIDE
#define STRIDE 5 /* of the bytes that are changed; libhdf5 runs until its time is over on many */
#endif
#define SAMPLE "tests/file/hdf5/shd.h5"

static bdl_context *context(void **state) { return *state; }

static int new_context(void **state) {
  *state = bdl_context_new(NULL, NULL);
  return *state ? 0 : -1;
}

/* Asserts that all was freed. */
static int free_context(void **state) {
  bdl_context_free(*state);
  return 0;
}

static bool built_without(bdl_context *c) {
  bdl_hdf5 *f = NULL;
  const bdl_status s = bdl_hdf5_open(c, SAMPLE, &f);
  bdl_hdf5_close(f);
  if (s != BDL_ENOTSUP) return false;
  assert_non_null(strstr(c->error.message, "without HDF5"));
  assert_non_null(strstr(c->error.hint, "libhdf5-dev"));
  return true;
}

#define NEED_HDF5(c) \
  if (built_without(c)) skip()

static void arrays_lists_and_texts(void **state) {
  bdl_context *c = context(state);
  NEED_HDF5(c);
  bdl_hdf5 *f = NULL;
  bdl_hdf5_kind kind;
  bdl_aval a;
  char text[BDL_AVAL_TEXT];
  const void *row = NULL;
  int64_t n = 0;
  int32_t labels[4];
  double height[3];
  assert_int_equal(bdl_hdf5_open(c, SAMPLE, &f), BDL_OK);
  bool there = false;
  assert_int_equal(bdl_hdf5_has(f, "/extra/meta_info/age", &there), BDL_OK);
  assert_true(there);
  assert_int_equal(bdl_hdf5_has(f, "/nothing/here", &there), BDL_OK);
  assert_false(there);
  assert_int_equal(bdl_hdf5_type(f, "/labels", &kind, &a), BDL_OK);
  assert_int_equal(kind, BDL_HDF5_ARRAY);
  assert_string_equal(bdl_aval_text(&a, false, text), "i32[4]");
  assert_int_equal(bdl_hdf5_read(f, "/labels", &a, labels), BDL_OK);
  assert_true(labels[0] == 3 && labels[1] == 0 && labels[2] == 19 && labels[3] == 7);
  assert_int_equal(bdl_hdf5_type(f, "/extra/meta_info/body_height", &kind, &a), BDL_OK);
  assert_string_equal(bdl_aval_text(&a, false, text), "f64[3]");
  assert_int_equal(bdl_hdf5_read(f, "/extra/meta_info/body_height", &a, height), BDL_OK);
  assert_true(height[0] == 180 && height[1] == 170.5 && height[2] == 168);
  assert_int_equal(bdl_hdf5_type(f, "/spikes/times", &kind, &a), BDL_OK);
  assert_int_equal(kind, BDL_HDF5_RAGGED);
  assert_string_equal(bdl_aval_text(&a, false, text), "f32[4]");
  assert_int_equal(bdl_hdf5_row(f, "/spikes/times", 2, &row, &n), BDL_OK);
  assert_true(n == 2 && ((const float *)row)[0] == 0.125F && ((const float *)row)[1] == 0.1251220703125F);
  assert_int_equal(bdl_hdf5_row(f, "/spikes/units", 0, &row, &n), BDL_OK);
  assert_true(n == 3 && ((const int32_t *)row)[1] == 699);
  assert_int_equal(bdl_hdf5_row(f, "/spikes/units", 1, &row, &n), BDL_OK);
  assert_int_equal(n, 0);
  assert_int_equal(bdl_hdf5_row(f, "/extra/keys", 2, &row, &n), BDL_OK);
  assert_true(n == 5 && !memcmp(row, "f\xc3\xbcnf", 5));
  assert_int_equal(bdl_hdf5_row(f, "/extra/meta_info/gender", 1, &row, &n), BDL_OK);
  assert_true(n == 6 && !memcmp(row, "female", 6));
  bdl_hdf5_close(f);
}

/* Each has a reader process; closing one does not wait for the others. */
static void two_files_at_once(void **state) {
  bdl_context *c = context(state);
  NEED_HDF5(c);
  bdl_hdf5 *f = NULL, *g = NULL;
  bool there = false;
  assert_int_equal(bdl_hdf5_open(c, SAMPLE, &f), BDL_OK);
  assert_int_equal(bdl_hdf5_open(c, SAMPLE, &g), BDL_OK);
  bdl_hdf5_close(f);
  assert_int_equal(bdl_hdf5_has(g, "/labels", &there), BDL_OK);
  assert_true(there);
  bdl_hdf5_close(g);
}

static void what_is_not_there(void **state) {
  bdl_context *c = context(state);
  NEED_HDF5(c);
  bdl_hdf5 *f = NULL;
  bdl_hdf5_kind kind;
  bdl_aval a;
  const void *row;
  int64_t n;
  assert_int_equal(bdl_hdf5_open(c, "/tmp/no/such.h5", &f), BDL_EIO);
  assert_int_equal(bdl_hdf5_open(c, "README.md", &f), BDL_EIO);
  assert_string_equal(c->error.message, "README.md, /: cannot open it (file signature not found)");
  assert_int_equal(bdl_hdf5_open(c, SAMPLE, &f), BDL_OK);
  assert_int_equal(bdl_hdf5_type(f, "/times", &kind, &a), BDL_EKEY);
  assert_string_equal(c->error.message, SAMPLE " has no data set /times");
  assert_int_equal(bdl_hdf5_type(f, "/spikes", &kind, &a), BDL_EIO);
  assert_int_equal(bdl_hdf5_row(f, "/spikes/times", 4, &row, &n), BDL_EINDEX);
  assert_int_equal(bdl_hdf5_row(f, "/spikes/times", -1, &row, &n), BDL_EINDEX);
  assert_int_equal(bdl_hdf5_row(f, "/labels", 0, &row, &n), BDL_ETYPE);
  bdl_hdf5_close(f);
}

/* ---- damaged files ---- */

/* The first error; each names the file. */
static bdl_status read_all(bdl_context *c, const char *path) {
  static const char *const names[] = {"/labels", "/spikes/times", "/spikes/units", "/extra/speaker", "/extra/keys",
                                      "/extra/meta_info/gender", "/extra/meta_info/age", "/extra/meta_info/body_height"};
  bdl_hdf5 *f = NULL;
  bdl_status all = bdl_hdf5_open(c, path, &f);
  for (int k = 0; f && k < BDL_LEN(names); k++) {
    bdl_hdf5_kind kind;
    bdl_aval a;
    bdl_status s = bdl_hdf5_type(f, names[k], &kind, &a);
    if (s == BDL_OK && kind == BDL_HDF5_ARRAY) {
      void *data = bdl_alloc(c, bdl_aval_bytes(&a));
      s = data ? bdl_hdf5_read(f, names[k], &a, data) : BDL_ENOMEM;
      if (data) bdl_free(c, data, bdl_aval_bytes(&a));
    }
    for (int64_t i = 0; s == BDL_OK && kind != BDL_HDF5_ARRAY && i < BDL_MIN(a.shape[0], 100); i++) {
      const void *row = NULL;
      int64_t n = 0;
      s = bdl_hdf5_row(f, names[k], i, &row, &n);
    }
    if (s != BDL_OK && s != BDL_ENOMEM && !strstr(c->error.message, path))
      fail_msg("%s: %s", names[k], c->error.message);
    if (all == BDL_OK) all = s;
  }
  bdl_hdf5_close(f);
  return all;
}

typedef struct bytes {
  uint8_t p[65536];
  size_t n;
} bytes;

static void store(const char *path, const uint8_t *p, size_t n) {
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(p, 1, n, f), n);
  fclose(f);
}

/* Cut short at every 97th byte: an error that names the file.  Then bytes changed: an error, or other numbers. */
static void damaged_files_are_survived(void **state) {
  bdl_context *c = context(state);
  NEED_HDF5(c);
  static bytes b;
  char path[64];
  snprintf(path, sizeof path, "/tmp/bdl-test-%ld.h5", (long)getpid());
  FILE *f = fopen(SAMPLE, "rb");
  assert_non_null(f);
  b.n = fread(b.p, 1, sizeof b.p, f);
  fclose(f);
  c->mem_limit = c->mem_used + ((size_t)64 << 20);
  for (size_t n = 0; n < b.n; n += 97) {
    store(path, b.p, n);
    assert_int_not_equal(read_all(c, path), BDL_OK);
  }
  int64_t refused = 0, used = 0;
  for (size_t at = 0; at < b.n; at++) {
    const uint8_t was = b.p[at];
    if (was == 0 || used++ % STRIDE != 0) continue; /* much of the file is empty */
    b.p[at] = (uint8_t)(was ^ 0x81);
    store(path, b.p, b.n);
    if (read_all(c, path) != BDL_OK) refused++;
    b.p[at] = was;
  }
  assert_true(refused * STRIDE > 100);
  unlink(path);
  c->mem_limit = 0;
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, new_context, free_context)
  const struct CMUnitTest tests[] = {TEST(arrays_lists_and_texts), TEST(two_files_at_once), TEST(what_is_not_there),
                                     TEST(damaged_files_are_survived)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

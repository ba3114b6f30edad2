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

static void assert_row(bdl_hdf5 *f, const char *name, int64_t i, const char *text) {
  const void *row = NULL;
  int64_t n = 0;
  assert_int_equal(bdl_hdf5_row(f, name, i, &row, &n), BDL_OK);
  assert_int_equal(n, strlen(text));
  assert_memory_equal(row, text, strlen(text));
}

static void a_group_is_the_list_of_its_names(void **state) {
  bdl_context *c = context(state);
  NEED_HDF5(c);
  bdl_hdf5 *f = NULL;
  bdl_hdf5_kind kind;
  bdl_aval a;
  assert_int_equal(bdl_hdf5_open(c, SAMPLE, &f), BDL_OK);
  assert_int_equal(bdl_hdf5_type(f, "/", &kind, &a), BDL_OK);
  assert_true(kind == BDL_HDF5_GROUP && a.ndim == 1 && a.shape[0] == 3);
  assert_row(f, "/", 0, "extra");
  assert_row(f, "/", 1, "labels");
  assert_row(f, "/", 2, "spikes");
  assert_row(f, "/spikes", 1, "units");
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
  assert_int_equal(bdl_hdf5_read(f, "/spikes", &a, NULL), BDL_ETYPE);
  assert_int_equal(bdl_hdf5_row(f, "/spikes", 2, &row, &n), BDL_EINDEX);
  assert_int_equal(bdl_hdf5_row(f, "/spikes/times", 4, &row, &n), BDL_EINDEX);
  assert_int_equal(bdl_hdf5_row(f, "/spikes/times", -1, &row, &n), BDL_EINDEX);
  assert_int_equal(bdl_hdf5_row(f, "/labels", 0, &row, &n), BDL_ETYPE);
  bdl_hdf5_close(f);
}

/* ---- writing ---- */

static bool exists(const char *path) { return access(path, F_OK) == 0; }

static void temporary(char path[64]) {
  static int n = 0;
  snprintf(path, 64, "/tmp/bdl-test-%ld-%d.h5", (long)getpid(), n++);
}

#define SHAPE(...) bdl_aval_make(__VA_ARGS__)

static const float reals[6] = {1, -0.0F, 1e-40F, 3e38F, 0.1F, 7};

static bdl_status write_some(bdl_context *c, const char *path, bool compress) {
  const bdl_aval row = SHAPE(BDL_F32, 2, ((int64_t[]){2, 3})), many = SHAPE(BDL_I64, 2, ((int64_t[]){3000, 100}));
  const bdl_aval pairs = SHAPE(BDL_BOOL, 2, ((int64_t[]){2, 2})), one = bdl_aval_scalar(BDL_BOOL);
  const bool yes = true;
  bdl_hdf5_writer *w = NULL;
  int64_t *count = bdl_alloc(c, bdl_aval_bytes(&many));
  if (!count) return BDL_ENOMEM;
  for (int64_t i = 0; i < bdl_aval_numel(&many); i++) count[i] = i * i;
  bdl_status s = bdl_hdf5_create(c, path, compress, &w);
  if (s == BDL_OK) s = bdl_hdf5_put(w, "/deep/down/reals", &row, reals);
  if (s == BDL_OK) s = bdl_hdf5_put(w, "/count", &many, count);
  if (s == BDL_OK) s = bdl_hdf5_put(w, "/yes", &one, &yes);
  if (s == BDL_OK) s = bdl_hdf5_put_texts(w, "/pairs", &pairs, "a\0b\0\0f\xc3\xbcnf", 11);
  if (s == BDL_OK) s = bdl_hdf5_put_group(w, "/empty");
  bdl_free(c, count, bdl_aval_bytes(&many));
  if (s == BDL_OK) return bdl_hdf5_finish(w);
  bdl_hdf5_discard(w);
  return s;
}

static void assert_written(bdl_context *c, const char *path) {
  bdl_hdf5 *f = NULL;
  bdl_hdf5_kind kind;
  bdl_aval a;
  char text[BDL_AVAL_TEXT];
  float back[6];
  bool yes = false;
  assert_int_equal(bdl_hdf5_open(c, path, &f), BDL_OK);
  assert_int_equal(bdl_hdf5_type(f, "/deep/down/reals", &kind, &a), BDL_OK);
  assert_string_equal(bdl_aval_text(&a, false, text), "f32[2,3]");
  assert_int_equal(bdl_hdf5_read(f, "/deep/down/reals", &a, back), BDL_OK);
  assert_memory_equal(back, reals, sizeof back);
  assert_int_equal(bdl_hdf5_type(f, "/yes", &kind, &a), BDL_OK);
  assert_string_equal(bdl_aval_text(&a, false, text), "bool[]");
  assert_int_equal(bdl_hdf5_read(f, "/yes", &a, &yes), BDL_OK);
  assert_true(yes);
  assert_int_equal(bdl_hdf5_type(f, "/pairs", &kind, &a), BDL_OK);
  assert_true(kind == BDL_HDF5_TEXT && a.ndim == 2 && a.shape[0] == 2 && a.shape[1] == 2);
  assert_row(f, "/pairs", 1, "b");
  assert_row(f, "/pairs", 2, "");
  assert_row(f, "/pairs", 3, "f\xc3\xbcnf");
  assert_int_equal(bdl_hdf5_type(f, "/empty", &kind, &a), BDL_OK);
  assert_true(kind == BDL_HDF5_GROUP && a.shape[0] == 0);
  assert_int_equal(bdl_hdf5_type(f, "/count", &kind, &a), BDL_OK);
  int64_t *count = bdl_alloc(c, bdl_aval_bytes(&a));
  assert_non_null(count);
  assert_int_equal(bdl_hdf5_read(f, "/count", &a, count), BDL_OK);
  for (int64_t i = 0; i < bdl_aval_numel(&a); i++) assert_int_equal(count[i], i * i);
  bdl_free(c, count, bdl_aval_bytes(&a));
  bdl_hdf5_close(f);
}

static void what_is_written_is_read(void **state) {
  bdl_context *c = context(state);
  NEED_HDF5(c);
  for (int compress = 0; compress < 2; compress++) {
    char path[64];
    temporary(path);
    assert_int_equal(write_some(c, path, compress), BDL_OK);
    assert_written(c, path);
    unlink(path);
  }
}

/* Until the file is whole there is none, or the old one. */
static void whole_or_not_at_all(void **state) {
  bdl_context *c = context(state);
  NEED_HDF5(c);
  const bdl_aval one = bdl_aval_scalar(BDL_F32), text = bdl_aval_scalar(BDL_BOOL);
  char path[64];
  bdl_hdf5_writer *w = NULL;
  temporary(path);
  assert_int_equal(bdl_hdf5_create(c, path, false, &w), BDL_OK);
  assert_int_equal(bdl_hdf5_put(w, "/x", &one, reals), BDL_OK);
  assert_false(exists(path));
  bdl_hdf5_discard(w);
  assert_false(exists(path));
  assert_int_equal(write_some(c, path, false), BDL_OK);
  assert_int_equal(bdl_hdf5_create(c, path, false, &w), BDL_OK);
  assert_int_equal(bdl_hdf5_put(w, "/x", &one, reals), BDL_OK);
  assert_int_equal(bdl_hdf5_put(w, "/x", &one, reals), BDL_EIO);
  assert_non_null(strstr(c->error.message, "/x: cannot write it (name already exists)"));
  assert_int_equal(bdl_hdf5_put(w, "/x/y", &one, reals), BDL_EIO);
  assert_int_equal(bdl_hdf5_put_texts(w, "/t", &text, "no end", 6), BDL_EIO);
  for (int k = 0; k < 5; k++)
    assert_int_equal(bdl_hdf5_put(w, ((const char *[]){"", "x", "/", "/a//b", "/a/../b"})[k], &one, reals), BDL_EVALUE);
  bdl_hdf5_discard(w);
  assert_written(c, path);
  unlink(path);
  assert_int_equal(bdl_hdf5_create(c, "/no/such/x.h5", false, &w), BDL_EIO);
  assert_non_null(strstr(c->error.message, "cannot write /no/such/x.h5: No such file"));
}

static void no_memory_no_file(void **state) {
  bdl_context *c = context(state);
  NEED_HDF5(c);
  const size_t used = c->mem_used;
  char path[64];
  temporary(path);
  bdl_status s = BDL_ENOMEM;
  for (size_t more = 0; s == BDL_ENOMEM; more = more * 5 / 4 + 16) {
    c->mem_limit = used + more;
    s = write_some(c, path, true);
    assert_int_equal(c->mem_used, used);
    assert_int_equal(exists(path), s == BDL_OK);
  }
  assert_int_equal(s, BDL_OK);
  c->mem_limit = 0;
  assert_written(c, path);
  unlink(path);
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

/* Links, raw bytes and data sets made of others lead out of a file: they are refused, what is in the file is read. */
static void other_files_are_not_reached(void **state) {
  bdl_context *c = context(state);
  NEED_HDF5(c);
  static const char *const no[][2] = {
    {"/outside", "a link to another file"},        {"/group", "a link to another file"},
    {"/group/speaker", "no data set"},             {"/around", "a link to another file"},
    {"/raw", "its numbers are in another file"},   {"/virtual", "its numbers are in another file"},
  };
  static const char *const yes[] = {"/own", "/soft"};
  bdl_hdf5 *f = NULL;
  bdl_hdf5_kind kind;
  bdl_aval a;
  double own[2];
  assert_int_equal(bdl_hdf5_open(c, "tests/file/hdf5/links.h5", &f), BDL_OK);
  for (int i = 0; i < BDL_LEN(yes); i++) {
    assert_int_equal(bdl_hdf5_type(f, yes[i], &kind, &a), BDL_OK);
    assert_int_equal(bdl_hdf5_read(f, yes[i], &a, own), BDL_OK);
    assert_true(own[0] == 0 && own[1] == 1);
  }
  for (int i = 0; i < BDL_LEN(no); i++) {
    assert_int_not_equal(bdl_hdf5_type(f, no[i][0], &kind, &a), BDL_OK);
    if (!strstr(c->error.message, no[i][1])) fail_msg("%s: %s", no[i][0], c->error.message);
  }
  bdl_hdf5_close(f);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, new_context, free_context)
  const struct CMUnitTest tests[] = {TEST(arrays_lists_and_texts), TEST(other_files_are_not_reached), TEST(a_group_is_the_list_of_its_names),
                                     TEST(two_files_at_once), TEST(what_is_not_there), TEST(what_is_written_is_read),
                                     TEST(whole_or_not_at_all), TEST(no_memory_no_file), TEST(damaged_files_are_survived)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

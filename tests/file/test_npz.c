/*
** test_npz.c -- .npy and .npz: files that NumPy wrote (tests/file/numpy), files that bdl writes, and damaged ones.
*/
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/faults.h"
#include "base/context.h"
#include "file/file.h"
#include "file/npy.h"

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

/* ---- helpers ---- */

typedef struct bytes {
  uint8_t p[16384];
  size_t n;
} bytes;

static void slurp(const char *path, bytes *b) {
  FILE *f = fopen(path, "rb");
  assert_non_null(f);
  b->n = fread(b->p, 1, sizeof b->p, f);
  assert_true(b->n < sizeof b->p);
  fclose(f);
}

static void numpy_file(const char *name, bytes *b) {
  char path[128];
  snprintf(path, sizeof path, "tests/file/numpy/%s", name);
  slurp(path, b);
}

/* The one array of that name in the file; in a buffer that the next call uses again. */
static const void *array(bdl_context *c, const bytes *b, const char *name, bdl_aval *a) {
  static uint64_t data[512];
  bdl_npz *f = NULL;
  assert_int_equal(bdl_npz_open_bytes(c, "x", b->p, b->n, &f), BDL_OK);
  int64_t i = 0;
  while (i < bdl_npz_count(f) && strcmp(bdl_npz_name(f, i), name) != 0) i++;
  assert_true(i < bdl_npz_count(f));
  assert_int_equal(bdl_npz_aval(f, i, a), BDL_OK);
  assert_true(bdl_aval_bytes(a) <= sizeof data);
  assert_int_equal(bdl_npz_read(f, i, a, data), BDL_OK);
  bdl_npz_close(f);
  return data;
}

static void is_type(const bdl_aval *a, const char *type) {
  char text[BDL_AVAL_TEXT];
  assert_string_equal(bdl_aval_text(a, false, text), type);
}

/* Reads all there is. */
static bdl_status read_all(bdl_context *c, const void *p, size_t n) {
  bdl_npz *f = NULL;
  bdl_status s = bdl_npz_open_bytes(c, "x", p, n, &f);
  for (int64_t i = 0; s == BDL_OK && i < bdl_npz_count(f); i++) {
    bdl_aval a;
    s = bdl_npz_aval(f, i, &a);
    void *data = s == BDL_OK ? bdl_alloc(c, bdl_aval_bytes(&a)) : NULL;
    if (s == BDL_OK) s = data ? bdl_npz_read(f, i, &a, data) : BDL_ENOMEM;
    if (data) bdl_free(c, data, bdl_aval_bytes(&a));
  }
  size_t size = 0;
  char text[64];
  const int64_t about = s == BDL_OK ? bdl_npz_text_find(f, "about.json", &size) : -1;
  if (about >= 0 && size <= sizeof text) s = bdl_npz_text_read(f, about, text);
  bdl_npz_close(f);
  return s;
}

static void refuses(bdl_context *c, const bytes *b, bdl_status s, const char *what) {
  assert_int_equal(read_all(c, b->p, b->n), s);
  if (!strstr(c->error.message, what)) fail_msg("'%s' has no '%s'", c->error.message, what);
}

/* ---- what NumPy writes ---- */

static void every_dtype_keeps_its_extremes(void **state) {
  static const char *const files[] = {"little.npz", "big.npz"};
  bdl_context *c = context(state);
  bytes b;
  bdl_aval a;
  for (int i = 0; i < 2; i++) {
    numpy_file(files[i], &b);
    const bool *b1 = array(c, &b, "b1", &a);
    is_type(&a, "bool[3]");
    assert_true(!b1[0] && b1[1] && b1[2]);
    const int32_t *i32 = array(c, &b, "i1", &a);
    is_type(&a, "i32[3]");
    assert_true(i32[0] == -128 && i32[1] == -1 && i32[2] == 127);
    i32 = array(c, &b, "i2", &a);
    assert_true(a.dtype == BDL_I32 && i32[0] == -32768 && i32[1] == 258 && i32[2] == 32767);
    i32 = array(c, &b, "i4", &a);
    assert_true(a.dtype == BDL_I32 && i32[0] == INT32_MIN && i32[1] == 66051 && i32[2] == INT32_MAX);
    const int64_t *i64 = array(c, &b, "i8", &a);
    assert_true(a.dtype == BDL_I64 && i64[0] == INT64_MIN && i64[1] == 283686952306183 && i64[2] == INT64_MAX);
    i32 = array(c, &b, "u1", &a);
    assert_true(a.dtype == BDL_I32 && i32[0] == 0 && i32[1] == 128 && i32[2] == 255);
    i32 = array(c, &b, "u2", &a);
    assert_true(a.dtype == BDL_I32 && i32[0] == 0 && i32[1] == 258 && i32[2] == 65535);
    const uint32_t *u32 = array(c, &b, "u4", &a);
    assert_true(a.dtype == BDL_U32 && u32[0] == 0 && u32[1] == 66051 && u32[2] == UINT32_MAX);
    i64 = array(c, &b, "u8", &a);
    assert_true(a.dtype == BDL_I64 && i64[0] == 0 && i64[1] == 283686952306183 && i64[2] == INT64_MAX);
    const float *f32 = array(c, &b, "f2", &a);
    assert_true(a.dtype == BDL_F32 && isinf(f32[0]) && f32[0] < 0 && f32[1] == 5.9604645e-08F && f32[2] == 65504);
    f32 = array(c, &b, "f4", &a);
    assert_true(a.dtype == BDL_F32 && isinf(f32[0]) && f32[1] == 1e-45F && f32[2] == 0.1F);
    const double *f64 = array(c, &b, "f8", &a);
    assert_true(a.dtype == BDL_F64 && isinf(f64[0]) && f64[1] == 5e-324 && f64[2] == 0.1);
  }
}

static void every_half_is_its_float(void **state) {
  static const struct {
    uint16_t half;
    float value;
  } cases[] = {{0x0000, 0}, {0x8000, -0.0F}, {0x3c00, 1}, {0xc000, -2}, {0x7bff, 65504}, {0x0400, 6.103515625e-05F},
               {0x03ff, 6.0975552e-05F}, {0x7c00, INFINITY}, {0x3555, 0.33325195F}};
  bdl_context *c = context(state);
  bdl_aval a;
  for (int i = 0; i < BDL_LEN(cases); i++) {
    bytes b = {.n = 0};
    const int n = snprintf((char *)b.p, sizeof b.p, "%s", "\x93NUMPY\1");
    const char *text = "{'descr': '<f2', 'fortran_order': False, 'shape': ()}";
    b.p[n + 1] = (uint8_t)strlen(text);
    b.p[n + 2] = 0;
    memcpy(b.p + n + 3, text, strlen(text));
    b.n = (size_t)n + 3 + strlen(text);
    b.p[b.n++] = (uint8_t)cases[i].half;
    b.p[b.n++] = (uint8_t)(cases[i].half >> 8);
    const float *x = array(c, &b, "", &a);
    is_type(&a, "f32[]");
    assert_true(*x == cases[i].value && signbit(*x) == signbit(cases[i].value));
  }
}

static void orders_shapes_and_versions(void **state) {
  bdl_context *c = context(state);
  bytes b;
  bdl_aval a;
  numpy_file("fortran.npy", &b);
  const int32_t *x = array(c, &b, "", &a);
  is_type(&a, "i32[2,3,4]");
  for (int i = 0; i < 24; i++) assert_int_equal(x[i], i);
  numpy_file("scalar.npy", &b);
  assert_true(*(const double *)array(c, &b, "", &a) == 2.5);
  is_type(&a, "f64[]");
  numpy_file("empty.npy", &b);
  array(c, &b, "", &a);
  is_type(&a, "f32[0,3]");
  for (int v = 2; v <= 3; v++) {
    numpy_file(v == 2 ? "v2.npy" : "v3.npy", &b);
    x = array(c, &b, "", &a);
    is_type(&a, "i32[2,2]");
    for (int i = 0; i < 4; i++) assert_int_equal(x[i], i);
  }
  numpy_file("zip64.npz", &b);
  x = array(c, &b, "x", &a);
  is_type(&a, "i32[5]");
  assert_int_equal(x[4], 4);
}

static void what_bdl_has_no_dtype_for_is_refused(void **state) {
  bdl_context *c = context(state);
  bytes b;
  numpy_file("complex.npy", &b);
  refuses(c, &b, BDL_ENOTSUP, "x: byte 20: dtype '<c8'");
  assert_non_null(strstr(c->error.hint, "astype"));
  numpy_file("text.npy", &b);
  refuses(c, &b, BDL_ENOTSUP, "dtype '<U2'");
  numpy_file("records.npy", &b);
  refuses(c, &b, BDL_ENOTSUP, "records");
  numpy_file("u8_large.npy", &b);
  refuses(c, &b, BDL_EVALUE, "x: byte 136: a number of uint64 beyond 2^63 - 1");
}

/* ---- what bdl writes ---- */

static void temp_path(char path[64], const char *end) {
  snprintf(path, 64, "/tmp/bdl-test-%ld%s", (long)getpid(), end);
}

static void a_header_has_numpys_bytes(void **state) {
  static const struct {
    const char *file;
    bdl_aval aval;
  } cases[] = {{"scalar.npy", {.dtype = BDL_F64}}, {"vector.npy", {.dtype = BDL_F32, .ndim = 1, .shape = {3}}},
               {"empty.npy", {.dtype = BDL_F32, .ndim = 2, .shape = {0, 3}}}};
  (void)state;
  for (int i = 0; i < BDL_LEN(cases); i++) {
    bytes b;
    char head[BDL_NPY_HEADER];
    numpy_file(cases[i].file, &b);
    assert_int_equal(bdl_npy_print(&cases[i].aval, head), b.n - bdl_aval_bytes(&cases[i].aval));
    assert_memory_equal(head, b.p, b.n - bdl_aval_bytes(&cases[i].aval));
  }
}

static const bdl_aval row_type = {.dtype = BDL_I32, .ndim = 1, .shape = {3}};

/* a f64[1000], then rows: spikes bool[n], v i32[n,3] */
static bdl_status write_sample(bdl_context *c, const char *path, bool compress, int64_t n) {
  static double data[1000];
  bdl_npz_writer *w = NULL;
  bdl_npz_rows *v = NULL, *spikes = NULL;
  bdl_aval a = {.dtype = BDL_F64, .ndim = 1, .shape = {1000}}, flag = bdl_aval_scalar(BDL_BOOL);
  for (int i = 0; i < 1000; i++) data[i] = i;
  TRY(bdl_npz_create(c, path, compress, &w));
  bdl_status s = bdl_npz_rows_new(w, "spikes", &flag, &spikes);
  if (s == BDL_OK) s = bdl_npz_rows_new(w, "v", &row_type, &v);
  for (int64_t i = 0; s == BDL_OK && i < n; i++) {
    const bool spike = i % 3 == 0;
    const int32_t row[] = {(int32_t)i, (int32_t)-i, 7};
    s = bdl_npz_rows_add(spikes, &spike, 1);
    if (s == BDL_OK) s = bdl_npz_rows_add(v, row, 1);
    if (s == BDL_OK && i == 1) s = bdl_npz_put(w, "a", &a, data);
    if (s == BDL_OK && i == 2) s = bdl_npz_put_text(w, "about.json", "{}", 2);
  }
  if (s == BDL_OK) return bdl_npz_finish(w);
  bdl_npz_discard(w);
  return s;
}

static void check_sample(bdl_context *c, const char *path, int64_t n) {
  bdl_npz *f = NULL;
  bdl_aval a;
  assert_int_equal(bdl_npz_open(c, path, &f), BDL_OK);
  assert_int_equal(bdl_npz_count(f), 3);
  assert_string_equal(bdl_npz_name(f, 0), "a");
  assert_string_equal(bdl_npz_name(f, 1), "spikes");
  assert_string_equal(bdl_npz_name(f, 2), "v");
  double *data = malloc(8000);
  assert_int_equal(bdl_npz_aval(f, 0, &a), BDL_OK);
  is_type(&a, "f64[1000]");
  assert_int_equal(bdl_npz_read(f, 0, &a, data), BDL_OK);
  for (int i = 0; i < 1000; i++) assert_true(data[i] == i);
  free(data);
  bool *spikes = malloc((size_t)n);
  assert_int_equal(bdl_npz_aval(f, 1, &a), BDL_OK);
  assert_true(a.dtype == BDL_BOOL && a.ndim == 1 && a.shape[0] == n);
  assert_int_equal(bdl_npz_read(f, 1, &a, spikes), BDL_OK);
  for (int64_t i = 0; i < n; i++) assert_int_equal(spikes[i], i % 3 == 0);
  free(spikes);
  int32_t *v = malloc((size_t)n * 12);
  assert_int_equal(bdl_npz_aval(f, 2, &a), BDL_OK);
  assert_true(a.dtype == BDL_I32 && a.ndim == 2 && a.shape[0] == n && a.shape[1] == 3);
  assert_int_equal(bdl_npz_read(f, 2, &a, v), BDL_OK);
  for (int64_t i = 0; i < n; i++) assert_true(v[3 * i] == i && v[3 * i + 1] == -i && v[3 * i + 2] == 7);
  free(v);
  bdl_npz_close(f);
}

static void arrays_grow_row_by_row(void **state) {
  bdl_context *c = context(state);
  char path[64];
  temp_path(path, ".npz");
  for (int compress = 0; compress < 2; compress++) {
    assert_int_equal(write_sample(c, path, compress, 20000), BDL_OK);
    check_sample(c, path, 20000);
  }
  unlink(path);
}

/* A text is no array, and comes back as it was; also an array whose name ends as texts do. */
static void texts_lie_beside_arrays(void **state) {
  bdl_context *c = context(state);
  char path[64], text[16] = "";
  const int32_t row[] = {1, 2, 3};
  temp_path(path, "-text.npz");
  for (int compress = 0; compress < 2; compress++) {
    bdl_npz_writer *w = NULL;
    bdl_npz *f = NULL;
    size_t n = 0;
    assert_int_equal(bdl_npz_create(c, path, compress, &w), BDL_OK);
    assert_int_equal(bdl_npz_put_text(w, "a.json", "{\"x\": 1}", 8), BDL_OK);
    assert_int_equal(bdl_npz_put_text(w, "none.json", "", 0), BDL_OK);
    assert_int_equal(bdl_npz_put(w, "b.json", &row_type, row), BDL_OK);
    assert_int_equal(bdl_npz_finish(w), BDL_OK);
    assert_int_equal(bdl_npz_open(c, path, &f), BDL_OK);
    assert_int_equal(bdl_npz_count(f), 1);
    assert_string_equal(bdl_npz_name(f, 0), "b.json");
    assert_int_equal(bdl_npz_text_find(f, "c.json", &n), -1);
    const int64_t i = bdl_npz_text_find(f, "a.json", &n);
    assert_true(i >= 0 && n == 8);
    assert_int_equal(bdl_npz_text_read(f, i, text), BDL_OK);
    assert_string_equal(text, "{\"x\": 1}");
    assert_true(bdl_npz_text_find(f, "none.json", &n) >= 0 && n == 0);
    bdl_npz_close(f);
  }
  unlink(path);
}

/* The memory of rows does not grow with their number. */
static void rows_wait_on_disk(void **state) {
  bdl_context *c = context(state);
  char path[64];
  temp_path(path, ".npz");
  c->mem_limit = c->mem_used + 300000;
  assert_int_equal(write_sample(c, path, false, 100000), BDL_OK);
  c->mem_limit = 0;
  check_sample(c, path, 100000);
  unlink(path);
}

static void equal_arrays_make_equal_files(void **state) {
  bdl_context *c = context(state);
  bytes a, b;
  char path[64];
  temp_path(path, ".npz");
  assert_int_equal(write_sample(c, path, true, 10), BDL_OK);
  slurp(path, &a);
  assert_int_equal(write_sample(c, path, true, 10), BDL_OK);
  slurp(path, &b);
  assert_int_equal(a.n, b.n);
  assert_memory_equal(a.p, b.p, a.n);
  unlink(path);
}

/* The form of archives beyond 4 GiB, by a limit of 100 bytes. */
static void large_archives_have_64_bit_sizes(void **state) {
  bdl_context *c = context(state);
  char path[64], head[BDL_NPY_HEADER];
  bdl_sink k;
  bdl_zip_writer w;
  bytes b;
  bdl_aval a = row_type;
  static const int32_t data[] = {1, 2, 3};
  const size_t n = bdl_npy_print(&row_type, head);
  temp_path(path, "-64.npz");
  for (int compress = 0; compress < 2; compress++) {
    assert_int_equal(bdl_sink_open(c, path, false, &k), BDL_OK);
    assert_int_equal(bdl_zip_create(&k, compress, &w), BDL_OK);
    w.large = 100;
    for (int i = 0; i < 2; i++) {
      assert_int_equal(bdl_zip_begin(&w, i ? "y.npy" : "x.npy", n + sizeof data), BDL_OK);
      assert_int_equal(bdl_zip_write(&w, head, n), BDL_OK);
      assert_int_equal(bdl_zip_write(&w, data, sizeof data), BDL_OK);
      assert_int_equal(bdl_zip_end(&w), BDL_OK);
    }
    assert_int_equal(bdl_zip_finish(&w), BDL_OK);
    bdl_zip_writer_close(&w);
    assert_int_equal(bdl_sink_commit(&k), BDL_OK);
    bdl_sink_close(&k);
    slurp(path, &b);
    assert_int_equal(((const int32_t *)array(c, &b, "y", &a))[2], 3);
    assert_int_equal(((const int32_t *)array(c, &b, "x", &a))[1], 2);
  }
  unlink(path);
}

static bool exists(const char *path) { return access(path, F_OK) == 0; }

static void a_file_is_whole_or_the_one_before(void **state) {
  bdl_context *c = context(state);
  char path[64], temp[128];
  bdl_npz_writer *w = NULL;
  temp_path(path, "-atomic.npz");
  assert_int_equal(write_sample(c, path, false, 3), BDL_OK);
  assert_int_equal(bdl_npz_create(c, path, false, &w), BDL_OK);
  snprintf(temp, sizeof temp, "%s.%ld-0.tmp", path, (long)getpid());
  assert_true(exists(temp));
  check_sample(c, path, 3);
  bdl_npz_discard(w);
  assert_false(exists(temp));
  check_sample(c, path, 3);
  unlink(path);
}

static void writers_refuse(void **state) {
  bdl_context *c = context(state);
  char path[64];
  bdl_npz_writer *w = NULL;
  const int32_t row[] = {1, 2, 3};
  assert_int_equal(bdl_npz_create(c, "/tmp", false, &w), BDL_EIO);
  assert_string_equal(c->error.message, "cannot write /tmp: it is a folder");
  assert_int_equal(bdl_npz_create(c, "/tmp/no/such/folder.npz", false, &w), BDL_EIO);
  assert_string_equal(c->error.message, "cannot write /tmp/no/such/folder.npz: No such file or directory");
  temp_path(path, "-refuse.npy");
  assert_int_equal(bdl_npz_create(c, path, false, &w), BDL_OK);
  assert_int_equal(bdl_npz_finish(w), BDL_EVALUE);
  assert_false(exists(path));
  assert_int_equal(bdl_npz_create(c, path, false, &w), BDL_OK);
  assert_int_equal(bdl_npz_put(w, "a", &row_type, row), BDL_OK);
  assert_int_equal(bdl_npz_put(w, "b", &row_type, row), BDL_EVALUE);
  assert_non_null(strstr(c->error.message, "a .npy holds one array, and has 'a'"));
  bdl_npz_discard(w);
  temp_path(path, "-refuse.npz");
  assert_int_equal(bdl_npz_create(c, path, false, &w), BDL_OK);
  assert_int_equal(bdl_npz_put(w, "a", &row_type, row), BDL_OK);
  assert_int_equal(bdl_npz_put(w, "a", &row_type, row), BDL_EVALUE);
  assert_non_null(strstr(c->error.message, "has an array 'a' already"));
  assert_int_equal(bdl_npz_put(w, "", &row_type, row), BDL_EVALUE);
  assert_int_equal(bdl_npz_put_text(w, "a.txt", "x", 1), BDL_EVALUE);
  assert_non_null(strstr(c->error.message, "a text is in a .npz and ends in .json, not 'a.txt'"));
  bdl_npz_discard(w);
  assert_false(exists(path));
}

/* ---- damaged files ---- */

static void missing_and_foreign_files(void **state) {
  bdl_context *c = context(state);
  bdl_npz *f = NULL;
  assert_int_equal(bdl_npz_open(c, "/tmp/no/such.npz", &f), BDL_EIO);
  assert_string_equal(c->error.message, "cannot read /tmp/no/such.npz: No such file or directory");
  assert_int_equal(bdl_npz_open(c, "/tmp", &f), BDL_EIO);
  assert_string_equal(c->error.message, "cannot read /tmp: it is a folder");
  assert_int_equal(bdl_npz_open(c, "/dev/null", &f), BDL_EIO);
  bytes b = {.n = 0};
  refuses(c, &b, BDL_EIO, "x: byte 0: the file is empty");
  b = (bytes){.p = "hello world", .n = 11};
  refuses(c, &b, BDL_EIO, "x: byte 0: neither a .npy nor a .npz");
}

/* Header texts, as a .npy of 12 bytes of data. */
static void malformed_headers(void **state) {
  static const struct {
    const char *text, *error;
  } cases[] = {
    {"", "byte 10: '{' expected"},
    {"{'descr': '<i4', 'fortran_order': False, 'shape': (3,)", "byte 64: ',' or '}' expected"},
    {"{'descr': '<i4', 'fortran_order': False, 'shape': (3)}", "',' expected"},
    {"{'descr': '<i4', 'fortran_order': False, 'shape': (-3,)}", "an extent"},
    {"{'descr': '<i4', 'fortran_order': False, 'shape': (3,)} x", "text after the header"},
    {"{'descr': '<i4', 'fortran_order': 0, 'shape': (3,)}", "True or False expected"},
    {"{'descr': '<i4', 'shape': (3,)}", "descr, fortran_order and shape are needed"},
    {"{'descr': '<i4', 'descr': '<i4', 'shape': (3,)}", "a key given twice"},
    {"{'descr': '<i4', 'colour': 1, 'shape': (3,)}", "not one of the keys"},
    {"{'descr': '<i4, 'fortran_order': False", "dtype '<i4, '"},
    {"{'descr': '|i4', 'fortran_order': False, 'shape': (3,)}", "dtype '|i4'"},
    {"{'descr': '', 'fortran_order': False, 'shape': (3,)}", "dtype ''"},
    {"{'descr': '<i4', 'fortran_order': False, 'shape': (4,)}", "12 bytes follow, [4] of 'i4' needs 16"},
    {"{'descr': '<i4', 'fortran_order': False, 'shape': (2,)}", "12 bytes follow, [2] of 'i4' needs 8"},
    {"{'descr': '<i4', 'fortran_order': False, 'shape': (9223372036854775808,)}", "an extent beyond 2^63"},
    {"{'descr': '<i4', 'fortran_order': False, 'shape': (4611686018427387907,)}", "too large"},
    {"{'descr': '<i4', 'fortran_order': False, 'shape': (4294967296,4294967296)}", "too large"},
    {"{'descr': '<i4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,3)}", "more axes"},
  };
  bdl_context *c = context(state);
  for (int i = 0; i < BDL_LEN(cases); i++) {
    bytes b = {.p = "\x93NUMPY\1", .n = 10};
    const size_t n = strlen(cases[i].text);
    b.p[8] = (uint8_t)n;
    memcpy(b.p + b.n, cases[i].text, n);
    b.n += n + 12;
    assert_int_not_equal(read_all(c, b.p, b.n), BDL_OK);
    if (!strstr(c->error.message, cases[i].error))
      fail_msg("%s: '%s' has no '%s'", cases[i].text, c->error.message, cases[i].error);
    assert_non_null(strstr(c->error.message, "x: byte "));
  }
}

static const char *const corpus[] = {"little.npz", "big.npz", "zip64.npz", "fortran.npy", "scalar.npy", "empty.npy",
                                     "v2.npy", "text.npy"};

/* Of a file in memory of its own, so that the address sanitizer sees what lies behind. */
static bdl_status read_copy(bdl_context *c, const uint8_t *p, size_t n) {
  uint8_t *copy = malloc(n ? n : 1);
  memcpy(copy, p, n);
  const bdl_status s = read_all(c, copy, n);
  free(copy);
  return s;
}

static void every_truncation_is_refused(void **state) {
  bdl_context *c = context(state);
  for (int i = 0; i < BDL_LEN(corpus); i++) {
    bytes b;
    numpy_file(corpus[i], &b);
    for (size_t n = 0; n < b.n; n++) {
      assert_int_not_equal(read_copy(c, b.p, n), BDL_OK);
      assert_non_null(strstr(c->error.message, ": byte "));
    }
  }
}

/* Every byte changed in four ways: refused with the offset, or read; in archives the numbers have a checksum. */
static void every_damaged_byte_is_survived(void **state) {
  bdl_context *c = context(state);
  c->mem_limit = c->mem_used + ((size_t)64 << 20);
  for (int i = 0; i < BDL_LEN(corpus); i++) {
    bytes b;
    int64_t refused = 0;
    numpy_file(corpus[i], &b);
    for (size_t at = 0; at < b.n; at++)
      for (int way = 0; way < 4; way++) {
        const uint8_t was = b.p[at], now[] = {was ^ 1, was ^ 0x80, 0, 0xff};
        b.p[at] = now[way];
        const bdl_status s = read_copy(c, b.p, b.n);
        b.p[at] = was;
        if (s == BDL_OK) continue;
        refused++;
        if (s != BDL_ENOMEM && !strstr(c->error.message, "byte "))
          fail_msg("%s at %zu: %s", corpus[i], at, c->error.message);
      }
    assert_true(refused > (int64_t)b.n);
  }
  c->mem_limit = 0;
}

static void a_wrong_number_has_a_wrong_checksum(void **state) {
  bdl_context *c = context(state);
  bytes b;
  numpy_file("zip64.npz", &b);
  b.p[200] ^= 1;
  refuses(c, &b, BDL_EIO, "x, x.npy: byte 0: the checksum");
}

/* ---- memory ---- */

static void every_allocation_may_fail(void **state) {
  char path[64];
  bytes b;
  (void)state;
  temp_path(path, "-faults.npz");
  numpy_file("big.npz", &b);
  for (int task = 0; task < 2; task++)
    for (int64_t n = 0;; n++) {
      t_faults f = {.left = INT64_MAX};
      bdl_context *c = bdl_context_new(t_failing_alloc, &f);
      f.left = n;
      const bdl_status s = task ? write_sample(c, path, true, 10) : read_all(c, b.p, b.n);
      assert_int_equal(s, f.happened ? BDL_ENOMEM : BDL_OK);
      bdl_context_free(c);
      if (!f.happened) break;
    }
  unlink(path);
}

/* A header may promise much: nothing is allocated that the file could not hold, or past the limit. */
static void a_limit_holds(void **state) {
  bdl_context *c = context(state);
  bytes b;
  numpy_file("little.npz", &b);
  c->mem_limit = c->mem_used + 2000;
  assert_int_equal(read_all(c, b.p, b.n), BDL_ENOMEM);
  c->mem_limit = 0;
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, new_context, free_context)
  const struct CMUnitTest tests[] = {
    TEST(every_dtype_keeps_its_extremes), TEST(every_half_is_its_float), TEST(orders_shapes_and_versions),
    TEST(what_bdl_has_no_dtype_for_is_refused), TEST(a_header_has_numpys_bytes), TEST(arrays_grow_row_by_row),
    TEST(texts_lie_beside_arrays), TEST(rows_wait_on_disk), TEST(equal_arrays_make_equal_files), TEST(large_archives_have_64_bit_sizes),
    TEST(a_file_is_whole_or_the_one_before), TEST(writers_refuse), TEST(missing_and_foreign_files), TEST(malformed_headers),
    TEST(every_truncation_is_refused), TEST(every_damaged_byte_is_survived), TEST(a_wrong_number_has_a_wrong_checksum),
    TEST(every_allocation_may_fail), TEST(a_limit_holds),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

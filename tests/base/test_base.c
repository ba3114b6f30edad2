/*
** test_base.c -- status, memory, arenas, text, maps, avals, scalars.
*/
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/context.h"

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

/* ---- errors -------------------------------------------------------------------------------------- */

static void an_error_may_quote_the_one_before(void **state) {
  bdl_context *c = context(state);
  assert_int_equal(bdl_fail(c, BDL_ESHAPE, "shapes differ"), BDL_ESHAPE);
  bdl_fail(c, BDL_ETYPE, "add: %s, %s", c->error.message, c->error.message);
  assert_string_equal(c->error.message, "add: shapes differ, shapes differ");
  assert_string_equal(bdl_status_kind(c->error.status), "TypeError");
}

static void an_error_keeps_its_first_place_and_loses_old_hints(void **state) {
  bdl_context *c = context(state);
  bdl_fail(c, BDL_EVALUE, "a");
  bdl_hint(c, "try b");
  bdl_where(c, (bdl_src){"a.lua", 1});
  bdl_where(c, (bdl_src){"b.lua", 2});
  assert_string_equal(c->error.where.file, "a.lua");
  bdl_fail(c, BDL_EVALUE, "c");
  assert_null(c->error.where.file);
  assert_string_equal(c->error.hint, "");
}

static void a_long_message_is_cut(void **state) {
  bdl_context *c = context(state);
  char text[5000];
  memset(text, 'x', sizeof text - 1);
  text[sizeof text - 1] = '\0';
  bdl_fail(c, BDL_EVALUE, "%s", text);
  assert_int_equal(strlen(c->error.message), sizeof c->error.message - 1);
}

/* ---- memory -------------------------------------------------------------------------------------- */

static void memory_is_counted_and_limited(void **state) {
  bdl_context *c = context(state);
  const size_t before = c->mem_used;
  void *p = bdl_alloc(c, 1000);
  assert_int_equal(c->mem_used, before + 1000);
  p = bdl_realloc(c, p, 1000, 3000);
  assert_int_equal(c->mem_used, before + 3000);
  c->mem_limit = before + 5000;
  assert_null(bdl_alloc(c, 2001));
  assert_int_equal(c->error.status, BDL_ENOMEM);
  assert_null(bdl_realloc(c, p, 3000, 5001));
  assert_int_equal(c->mem_used, before + 3000);
  p = bdl_realloc(c, p, 3000, 10);
  assert_non_null(p);
  bdl_free(c, p, 10);
  assert_int_equal(c->mem_used, before);
  assert_true(c->mem_peak >= before + 3000);
  assert_null(bdl_alloc(c, SIZE_MAX));
}

static void an_arena_gives_aligned_zeroed_blocks(void **state) {
  bdl_context *c = context(state);
  const size_t before = c->mem_used;
  bdl_arena a;
  bdl_arena_init(&a, c);
  for (size_t size = 1; size < 300000; size = size * 3 + 1) {
    unsigned char *p = bdl_arena_alloc(&a, size);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % 16, 0);
    for (size_t i = 0; i < size; i++) assert_int_equal(p[i], 0);
    memset(p, 0xff, size); /* the next one must not see it */
  }
  assert_int_equal(bdl_arena_bytes(&a), c->mem_used - before);
  bdl_arena_fini(&a);
  assert_int_equal(c->mem_used, before);
}

static void vectors_and_texts_grow(void **state) {
  bdl_context *c = context(state);
  BDL_VEC(int) v = {0};
  bdl_str s;
  bdl_str_init(&s, c);
  for (int i = 0; i < 1000; i++) {
    assert_true(BDL_PUSH(c, v, i));
    bdl_str_addf(&s, "%d,", i);
  }
  for (int i = 0; i < 1000; i++) assert_int_equal(v.v[i], i);
  assert_int_equal(s.n, 10 * 2 + 90 * 3 + 900 * 4);
  assert_int_equal(strlen(s.s), s.n);
  bdl_str_addf(&s, "%1000s", "x");
  assert_int_equal(s.s[s.n - 1], 'x');
  c->mem_limit = c->mem_used;
  bdl_str_addf(&s, "%100000s", "x");
  assert_true(s.failed);
  BDL_VEC_FREE(c, v);
  bdl_str_fini(&s);
}

static void a_map_finds_what_was_put_last(void **state) {
  bdl_map m;
  bdl_map_init(&m, context(state));
  uint64_t v = 0, key = 0, sum = 0;
  int64_t at = 0, n = 0;
  for (uint64_t k = 0; k < 5000; k++) assert_int_equal(bdl_map_put(&m, k << 32, k), BDL_OK);
  for (uint64_t k = 0; k < 5000; k += 2) assert_int_equal(bdl_map_put(&m, k << 32, k + 1), BDL_OK);
  for (uint64_t k = 0; k < 5000; k++) {
    assert_true(bdl_map_get(&m, k << 32, &v));
    assert_int_equal(v, k % 2 ? k : k + 1);
  }
  assert_false(bdl_map_get(&m, 1, &v));
  for (; bdl_map_next(&m, &at, &key, &v); n++) sum += key >> 32;
  assert_int_equal(n, 5000);
  assert_int_equal(sum, 5000 * 4999 / 2);
  bdl_map_fini(&m);
}

static void equal_strings_are_interned_once(void **state) {
  bdl_context *c = context(state);
  char a[] = "models/lif.lua", b[] = "models/lif.lua";
  assert_ptr_equal(bdl_intern(c, a), bdl_intern(c, b));
  assert_ptr_not_equal(bdl_intern(c, a), a);
  assert_ptr_not_equal(bdl_intern(c, a), bdl_intern(c, "models/hh.lua"));
}

/* ---- avals --------------------------------------------------------------------------------------- */

static bdl_aval f32(int ndim, const int64_t *shape) { return bdl_aval_make(BDL_F32, ndim, shape); }

static void shapes_broadcast_as_in_numpy(void **state) {
  bdl_context *c = context(state);
  const bdl_aval a = f32(3, (int64_t[]){5, 1, 3}), b = f32(2, (int64_t[]){4, 1}), z = f32(3, (int64_t[]){5, 4, 3});
  const bdl_aval none = f32(1, (int64_t[]){0}), one = f32(1, (int64_t[]){1}), two = f32(1, (int64_t[]){2});
  bdl_aval out;
  assert_int_equal(bdl_broadcast(c, &a, &b, &out), BDL_OK);
  assert_true(bdl_aval_eq(&out, &z));
  assert_int_equal(bdl_broadcast(c, &none, &one, &out), BDL_OK);
  assert_int_equal(out.shape[0], 0);
  assert_int_equal(bdl_broadcast(c, &none, &two, &out), BDL_ESHAPE);
  assert_non_null(strstr(c->error.message, "float32[0] and float32[2]"));
}

static void impossible_shapes_are_refused(void **state) {
  bdl_context *c = context(state);
  const int64_t big = (int64_t)1 << 62;
  bdl_aval a = f32(1, (int64_t[]){-1});
  assert_int_equal(bdl_aval_check(c, &a), BDL_EVALUE);
  a = f32(3, (int64_t[]){big, big, big});
  assert_int_equal(bdl_aval_check(c, &a), BDL_EVALUE);
  a = f32(2, (int64_t[]){0, big});
  assert_int_equal(bdl_aval_check(c, &a), BDL_EVALUE);
  a = f32(2, (int64_t[]){1 << 20, 1 << 24});
  assert_int_equal(bdl_aval_check(c, &a), BDL_OK);
  a.ndim = BDL_MAX_NDIM + 1;
  assert_int_equal(bdl_aval_check(c, &a), BDL_EVALUE);
}

static void the_text_of_the_largest_aval_fits(void **state) {
  (void)state;
  bdl_aval a = {.dtype = BDL_F64, .ndim = BDL_MAX_NDIM};
  char text[BDL_AVAL_TEXT];
  for (int i = 0; i < BDL_MAX_NDIM; i++) a.shape[i] = INT64_MIN;
  bdl_aval_text(&a, true, text);
  assert_int_equal(text[strlen(text) - 1], ']');
}

static void numbers_convert_with_saturation(void **state) {
  (void)state;
  assert_int_equal(bdl_scalar_from_f64(BDL_I32, 1e20).i32, INT32_MAX);
  assert_int_equal(bdl_scalar_from_f64(BDL_I32, -1e20).i32, INT32_MIN);
  assert_true(bdl_scalar_from_f64(BDL_I64, 1e300).i64 == INT64_MAX);
  assert_true(bdl_scalar_from_f64(BDL_I64, -INFINITY).i64 == INT64_MIN);
  assert_int_equal(bdl_scalar_from_f64(BDL_U32, -1).u32, 0);
  assert_int_equal(bdl_scalar_from_f64(BDL_I32, NAN).i32, 0);
  assert_int_equal(bdl_scalar_from_f64(BDL_I32, -2.9).i32, -2);
  assert_true(bdl_scalar_from_f64(BDL_F32, -0.0).bits == 0x80000000u);
  assert_int_equal(bdl_scalar_from_i64(BDL_U32, -1).u32, UINT32_MAX);
  for (int d = 0; d < BDL_DTYPE_COUNT; d++)
    assert_true(bdl_scalar_to_f64((bdl_dtype)d, bdl_scalar_from_f64((bdl_dtype)d, 1)) == 1);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, new_context, free_context)
  const struct CMUnitTest tests[] = {
    TEST(an_error_may_quote_the_one_before),
    TEST(an_error_keeps_its_first_place_and_loses_old_hints),
    TEST(a_long_message_is_cut),
    TEST(memory_is_counted_and_limited),
    TEST(an_arena_gives_aligned_zeroed_blocks),
    TEST(vectors_and_texts_grow),
    TEST(a_map_finds_what_was_put_last),
    TEST(equal_strings_are_interned_once),
    TEST(shapes_broadcast_as_in_numpy),
    TEST(impossible_shapes_are_refused),
    TEST(the_text_of_the_largest_aval_fits),
    TEST(numbers_convert_with_saturation),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

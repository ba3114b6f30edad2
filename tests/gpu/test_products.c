/*
** Products, convolutions, traces and factorisations on a GPU are those of the CPU: bit for bit, but for what a library makes.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../ir/text.h"
#include "both.h"
#include "gpu/program.h"

/* ---- products in kernels ------------------------------------------------------------------------------------------ */

/* x [b, m, k] y [b, k, n]; t: x or y are stored transposed.  b 0: no such axis. */
typedef struct shape {
  int b, m, k, n;
  const char *t;
} shape;

static const shape shapes[] = {
  {0, 1, 1, 1, ""},     {0, 5, 7, 3, ""},     {0, 5, 7, 3, "x"},    {0, 5, 7, 3, "y"},     {0, 5, 7, 3, "xy"},
  {0, 1, 300, 40, ""},  {0, 1, 300, 40, "y"}, {0, 2, 19, 33, "x"},  {0, 3, 300, 70, ""},   {0, 40, 300, 1, ""},
  {0, 40, 300, 1, "x"}, {0, 40, 9, 2, ""},    {0, 70, 33, 3, "xy"}, {0, 33, 130, 20, ""},  {0, 33, 130, 20, "x"},
  {0, 9, 64, 65, "y"},  {0, 65, 31, 66, ""},  {0, 65, 31, 66, "x"}, {0, 65, 31, 66, "y"},  {0, 65, 31, 66, "xy"},
  {0, 130, 70, 130, ""},{0, 4, 0, 4, ""},     {3, 9, 20, 17, ""},   {3, 9, 20, 17, "xy"},  {2, 1, 70, 5, "y"},
  {4, 6, 5, 1, ""},     {0, 16, 256, 16, ""}, {0, 4, 512, 24, ""},
};

static void extents(char *to, const shape *s, bool turned, int rows, int columns) {
  to += s->b ? sprintf(to, "%d, ", s->b) : 0;
  sprintf(to, "%d, %d", turned ? columns : rows, turned ? rows : columns);
}

static void all_shapes(bdl_context *c, const char *d) {
  char heads[4000] = "", body[12000] = "", results[400] = "", x[40], y[40], z[40];
  for (int k = 0; k < BDL_LEN(shapes); k++) {
    const shape *s = &shapes[k];
    const bool tx = strchr(s->t, 'x'), ty = strchr(s->t, 'y');
    const int axis = s->b != 0;
    extents(x, s, tx, s->m, s->k), extents(y, s, ty, s->k, s->n), extents(z, s, false, s->m, s->n);
    sprintf(heads + strlen(heads), "%sx%d:%s[%s], y%d:%s[%s]", k ? ", " : "", k, d, x, k, d, y);
    sprintf(body + strlen(body), "  z%d:%s[%s] = dot[lhs_contract=(%d) rhs_contract=(%d) lhs_batch=(%s) rhs_batch=(%s)] x%d y%d\n", k, d, z,
            axis + !tx, axis + ty, axis ? "0" : "", axis ? "0" : "", k, k);
    sprintf(results + strlen(results), "%sz%d", k ? ", " : " ", k);
  }
  char *text = malloc(20000);
  sprintf(text, "program p(%s) {\n%s  return%s\n}\n", heads, body, results);
  t_gpu_text(c, text, 0);
  assert_int_equal(t_gpu_steps(c, text, BDL_G_HOST), 0);
  free(text);
}

static void test_shapes(void **state) {
  static const char *const dtypes[] = {"f32", "f64", "i32", "i64", "u32", "bool"};
  for (int k = 0; k < BDL_LEN(dtypes); k++) all_shapes(*state, dtypes[k]);
}

int main(void) {
  const struct CMUnitTest tests[] = {T_TEST(test_shapes)};
  return cmocka_run_group_tests(tests, t_gpu_begin, t_gpu_end);
}

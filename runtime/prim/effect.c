/*
** effect.c -- type rules of effects.
*/
#include "prim/check.h"
#include "prim/rules.h"

/* Every {k} of a format names an operand. */
static bdl_status check_format(bdl_context *c, const char *prim, const char *format, int n_in) {
  for (const char *s = format; *s; s++) {
    int64_t k = 0;
    const char *digit = s + 1;
    if (*s != '{') continue;
    for (; *digit >= '0' && *digit <= '9' && k <= n_in; digit++) k = 10 * k + (*digit - '0');
    if (digit > s + 1 && k >= n_in)
      return BDL_FAIL_PRIM(c, BDL_EVALUE, prim, "the format \"%s\" names operand {%" PRId64 "} of %d, counted from 0", format,
                           k, n_in);
  }
  return BDL_OK;
}

/* params: format host */
bdl_status bdl_type_print(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)in, (void)out;
  return check_format(c, "print", p[0].s, n_in);
}

/* params: message.  in: predicate, operands of the message (the predicate counts as {0}) */
bdl_status bdl_type_error_if(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)out;
  if (n_in < 1) return BDL_FAIL_PRIM(c, BDL_EVALUE, "error_if", "%d operands, the predicate is needed", n_in);
  if (in[0].dtype != BDL_BOOL) return BDL_FAIL_PRIM(c, BDL_ETYPE, "error_if", "the predicate is %s, not bool", BDL_TEXT(&in[0]));
  return check_format(c, "error_if", p[0].s, n_in);
}

/* params: results(dtype, rank, extents of each) host; the list is well-formed, see bdl_ir_n_out */
bdl_status bdl_type_host_call(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)in, (void)n_in;
  for (const int64_t *s = p[0].ints, *end = s + p[0].n; s < end; s += 2 + s[1]) {
    if (s[0] < 0 || s[0] >= BDL_DTYPE_COUNT)
      return BDL_FAIL_PRIM(c, BDL_ETYPE, "host_call", "no dtype has the number %" PRId64, s[0]);
    *out++ = bdl_aval_make((bdl_dtype)s[0], (int32_t)s[1], s + 2);
  }
  return BDL_OK;
}

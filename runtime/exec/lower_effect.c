/*
** lower_effect.c -- adapters of printing, checks and calls of the host.
*/
#include <stdlib.h>
#include <string.h>

#include "cpu/array.h"
#include "exec/lower_util.h"

/* A host sees operands and results as tensors over their memory, valid during the call. */
static size_t wraps_for(int n) {
  return (size_t)n * (sizeof(bdl_tensor) + sizeof(bdl_buffer));
}

static void wrap(bdl_device *d, const void *data, const bdl_aval *a, bdl_tensor *t, bdl_buffer *b) {
  *b = (bdl_buffer){.refs = 1, .device = d, .data = (void *)(uintptr_t)data, .size = bdl_aval_bytes(a)};
  *t = (bdl_tensor){.aval = *a, .buf = b};
  bdl_k_row_major(a->ndim, a->shape, t->stride);
}

/* scratch: tensors and buffers of operands, then of results */
static bdl_status call_host(const bdl_kcall *k, const char *prim, bdl_host *host) {
  if (!host) return bdl_fail(k->ctx, BDL_EHOST, "%s: a program read from text has no host to call", prim);
  const int n = k->n_in + k->n_out;
  bdl_device *d = bdl_device_cpu(k->ctx);
  bdl_tensor *t = k->scratch;
  bdl_buffer *b = (bdl_buffer *)(t + n);
  if (!d) return BDL_ENOMEM;
  for (int i = 0; i < k->n_in; i++) wrap(d, k->in[i], &k->in_aval[i], t + i, b + i);
  for (int i = 0, at = k->n_in; i < k->n_out; i++, at++) wrap(d, k->out[i], &k->out_aval[i], t + at, b + at);
  return host->call(host, k->ctx, t, k->n_in, t + k->n_in, k->n_out);
}

size_t bdl_scratch_print(const bdl_param *params, const bdl_aval *in, int n_in, const bdl_aval *out) {
  (void)params, (void)in, (void)out;
  return wraps_for(n_in);
}

/* params: format host */
bdl_status bdl_lower_print(const bdl_kcall *k) {
  return call_host(k, "print", k->params[1].host);
}

/* params: results host */
size_t bdl_scratch_host_call(const bdl_param *params, const bdl_aval *in, int n_in, const bdl_aval *out) {
  (void)in, (void)out;
  return wraps_for(n_in + bdl_ir_n_out(BDL_P_host_call, params, n_in));
}

bdl_status bdl_lower_host_call(const bdl_kcall *k) {
  return call_host(k, "host_call", k->params[1].host);
}

/* ---- error_if */

static void add_scalar(bdl_str *s, bdl_dtype d, const void *x, int64_t i) {
  switch (d) {
  case BDL_BOOL:
    bdl_str_addf(s, "%s", ((const bool *)x)[i] ? "true" : "false");
    break;
  case BDL_I32:
    bdl_str_addf(s, "%" PRId32, ((const int32_t *)x)[i]);
    break;
  case BDL_I64:
    bdl_str_addf(s, "%" PRId64, ((const int64_t *)x)[i]);
    break;
  case BDL_U32:
    bdl_str_addf(s, "%" PRIu32, ((const uint32_t *)x)[i]);
    break;
  case BDL_F32:
    bdl_str_addf(s, "%.7g", (double)((const float *)x)[i]);
    break;
  default:
    bdl_str_addf(s, "%.15g", ((const double *)x)[i]);
  }
}

/* "[[1, 2], [3, 4]]"; long axes show their ends. */
static void add_array(bdl_str *s, const bdl_aval *a, const void *x, int axis, int64_t at) {
  enum { edge = 3 };
  if (axis == a->ndim) {
    add_scalar(s, a->dtype, x, at);
    return;
  }
  const int64_t n = a->shape[axis];
  bdl_str_add(s, "[", 1);
  for (int64_t i = 0; i < n; i++) {
    if (i > 0) bdl_str_add(s, ", ", 2);
    if (n > 2 * edge + 2 && i == edge) {
      bdl_str_add(s, "..., ", 5);
      i = n - edge;
    }
    add_array(s, a, x, axis + 1, at * n + i);
  }
  bdl_str_add(s, "]", 1);
}

/* params: message; {k} in it is operand k, the predicate being {0} */
bdl_status bdl_lower_error_if(const bdl_kcall *k) {
  const int64_t n = bdl_aval_numel(&k->in_aval[0]);
  if (n == 0 || !memchr(k->in[0], 1, (size_t)n)) return BDL_OK;
  bdl_str text;
  bdl_str_init(&text, k->ctx);
  for (const char *s = k->params[0].s; *s;) {
    char *end = NULL;
    const long i = *s == '{' && s[1] >= '0' && s[1] <= '9' ? strtol(s + 1, &end, 10) : -1;
    if (i >= 0 && i < k->n_in && *end == '}') {
      add_array(&text, &k->in_aval[i], k->in[i], 0, 0);
      s = end + 1;
    } else {
      bdl_str_add(&text, s++, 1);
    }
  }
  bdl_status status = text.failed ? BDL_ENOMEM : bdl_fail(k->ctx, BDL_EVALUE, "%s", text.s ? text.s : "");
  bdl_str_fini(&text);
  return status;
}

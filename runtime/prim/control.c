/*
** control.c -- type rules of control flow; its derivatives stand in transform/.  Bodies are closed programs; operands and results match theirs exactly.
*/
#include "prim/check.h"
#include "prim/rules.h"

static bdl_status differ(bdl_context *c, const char *prim, const char *what, int i, const bdl_aval *want, const bdl_aval *got) {
  const bdl_status s = want->dtype == got->dtype ? BDL_ESHAPE : BDL_ETYPE;
  return BDL_FAIL_PRIM(c, s, prim, "%s %d is %s, but %s was expected", what, i + 1, BDL_TEXT(got), BDL_TEXT(want));
}

/* Inputs from..from+n of a body take these types. */
static bdl_status check_inputs(bdl_context *c, const char *prim, const bdl_prog *body, int from, const bdl_aval *in, int n) {
  for (int i = 0; i < n; i++) {
    const bdl_aval *want = bdl_aval_of(body, body->inputs.v[from + i]);
    if (!bdl_aval_eq(want, &in[i])) return differ(c, prim, "operand", from + i, want, &in[i]);
  }
  return BDL_OK;
}

static bdl_status check_count(bdl_context *c, const char *prim, const char *what, int64_t n, int64_t want) {
  if (n == want) return BDL_OK;
  return BDL_FAIL_PRIM(c, BDL_EVALUE, prim, "%" PRId64 " %s, where %" PRId64 " are needed", n, what, want);
}

static const bdl_aval *output(const bdl_prog *p, int i) { return bdl_aval_of(p, p->outputs[i]); }

/* params: consts carry length reverse body
** in: consts, carry, xs [length, ..]; out: carry, ys [length, ..] */
bdl_status bdl_type_scan(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  const bdl_prog *body = p[4].progs[0];
  const int64_t consts = p[0].i, carry = p[1].i, length = p[2].i;
  if (consts < 0 || carry < 0 || consts > n_in || carry > n_in - consts || length < 0 || p[4].n != 1)
    return BDL_FAIL_PRIM(c, BDL_EVALUE, "scan", "%" PRId64 " consts, %" PRId64 " carried, length %" PRId64 " for %d operands",
                         consts, carry, length, n_in);
  const int first_x = (int)(consts + carry);
  TRY(check_count(c, "scan", "operands", n_in, body->inputs.n));
  if (body->n_outputs < carry) return check_count(c, "scan", "results of the body", body->n_outputs, carry);
  TRY(check_inputs(c, "scan", body, 0, in, first_x));
  for (int i = first_x; i < n_in; i++) {
    bdl_aval row = {.dtype = in[i].dtype, .ndim = in[i].ndim - 1};
    if (in[i].ndim < 1 || in[i].shape[0] != length)
      return BDL_FAIL_PRIM(c, BDL_ESHAPE, "scan", "operand %d is %s, but the loop runs over %" PRId64 " rows", i + 1,
                           BDL_TEXT(&in[i]), length);
    for (int k = 0; k < row.ndim; k++) row.shape[k] = in[i].shape[k + 1];
    TRY(check_inputs(c, "scan", body, i, &row, 1));
  }
  for (int i = 0; i < body->n_outputs; i++) {
    const bdl_aval *y = output(body, i);
    if (i < carry) {
      out[i] = in[consts + i];
      if (!bdl_aval_eq(y, &out[i])) return differ(c, "scan", "carried value", i, &out[i], y);
    } else {
      TRY(bdl_check_ndim(c, y->ndim + 1));
      out[i] = (bdl_aval){.dtype = y->dtype, .ndim = y->ndim + 1, .shape = {length}};
      for (int k = 0; k < y->ndim; k++) out[i].shape[k + 1] = y->shape[k];
    }
  }
  return BDL_OK;
}

/* params: cond_consts body_consts programs(condition, body) */
bdl_status bdl_type_while(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  const bdl_prog *cond = p[2].progs[0], *body = p[2].progs[1];
  const int64_t n_cond = p[0].i, n_body = p[1].i;
  if (n_cond < 0 || n_body < 0 || n_cond > n_in || n_body > n_in - n_cond)
    return BDL_FAIL_PRIM(c, BDL_EVALUE, "while", "%" PRId64 " and %" PRId64 " consts for %d operands", n_cond, n_body, n_in);
  const int carry = (int)(n_in - n_cond - n_body);
  const bdl_aval *first = in + n_cond + n_body;
  const bdl_aval truth = bdl_aval_scalar(BDL_BOOL);
  TRY(check_count(c, "while", "operands of the condition", cond->inputs.n, n_cond + carry));
  TRY(check_count(c, "while", "operands of the body", body->inputs.n, n_body + carry));
  TRY(check_count(c, "while", "results of the condition", cond->n_outputs, 1));
  TRY(check_count(c, "while", "results of the body", body->n_outputs, carry));
  TRY(check_inputs(c, "while", cond, 0, in, (int)n_cond));
  TRY(check_inputs(c, "while", cond, (int)n_cond, first, carry));
  TRY(check_inputs(c, "while", body, 0, in + n_cond, (int)n_body));
  TRY(check_inputs(c, "while", body, (int)n_body, first, carry));
  if (!bdl_aval_eq(output(cond, 0), &truth))
    return BDL_FAIL_PRIM(c, BDL_ETYPE, "while", "the condition is %s, not %s", BDL_TEXT(output(cond, 0)), "bool[]");
  for (int i = 0; i < carry; i++) {
    out[i] = first[i];
    if (!bdl_aval_eq(output(body, i), &out[i])) return differ(c, "while", "carried value", i, &out[i], output(body, i));
  }
  return BDL_OK;
}

/* params: branches.  in: index i32[], operands of every branch */
bdl_status bdl_type_cond(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  const bdl_prog *first = p[0].progs[0];
  if (n_in < 1) return check_count(c, "cond", "operands", n_in, 1);
  TRY(bdl_check_scalar(c, "the index", &in[0], BDL_I32));
  for (int k = 0; k < p[0].n; k++) {
    const bdl_prog *q = p[0].progs[k];
    TRY(check_count(c, "cond", "operands of a branch", q->inputs.n, n_in - 1));
    TRY(check_count(c, "cond", "results of a branch", q->n_outputs, first->n_outputs));
    TRY(check_inputs(c, "cond", q, 0, in + 1, n_in - 1));
    for (int i = 0; i < first->n_outputs; i++)
      if (!bdl_aval_eq(output(q, i), output(first, i)))
        return BDL_FAIL_PRIM(c, BDL_ETYPE, "cond", "result %d of branch %d is %s, but of branch 1 it is %s", i + 1, k + 1,
                             BDL_TEXT(output(q, i)), BDL_TEXT(output(first, i)));
  }
  for (int i = 0; i < first->n_outputs; i++) out[i] = *output(first, i);
  return BDL_OK;
}

/* params: body */
bdl_status bdl_type_call(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  const bdl_prog *body = p[0].progs[0];
  TRY(check_count(c, "call", "programs", p[0].n, 1));
  TRY(check_count(c, "call", "operands", n_in, body->inputs.n));
  TRY(check_inputs(c, "call", body, 0, in, n_in));
  for (int i = 0; i < body->n_outputs; i++) out[i] = *output(body, i);
  return BDL_OK;
}

/* params: body, number of inputs, of weights */
bdl_status bdl_type_etrace_op(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  TRY(bdl_type_call(c, p, in, n_in, out));
  TRY(check_count(c, "etrace_op", "results", p[0].progs[0]->n_outputs, 1));
  if (p[1].i >= 0 && p[2].i >= 1 && p[1].i <= n_in && p[2].i <= n_in - p[1].i) return BDL_OK;
  return BDL_FAIL_PRIM(c, BDL_EVALUE, "etrace_op", "%d inputs and %d weights among %d operands", (int)p[1].i, (int)p[2].i, n_in);
}

/* ---- derivatives of one's own.  Tangents and cotangents are those of floats, in the order of what they belong to. */

static int64_t count_floats(const bdl_aval *a, int64_t n) {
  int64_t floats = 0;
  for (int64_t i = 0; i < n; i++) floats += bdl_dtype_is_float(a[i].dtype);
  return floats;
}

/* Results from.. of a rule are the tangents of the floats among a[n]. */
static bdl_status check_tangents(bdl_context *c, const char *prim, const bdl_prog *rule, const bdl_aval *a, int n) {
  int k = 0;
  TRY(check_count(c, prim, "results of the rule", rule->n_outputs, count_floats(a, n)));
  for (int i = 0; i < n; i++) {
    if (!bdl_dtype_is_float(a[i].dtype)) continue;
    if (!bdl_aval_eq(output(rule, k), &a[i])) return differ(c, prim, "result of the rule", k, &a[i], output(rule, k));
    k++;
  }
  return BDL_OK;
}

/* Inputs from.. of a rule are tangents of the floats among a[n]. */
static bdl_status check_tangent_inputs(bdl_context *c, const char *prim, const bdl_prog *rule, int from, const bdl_aval *a, int n) {
  for (int i = 0; i < n; i++)
    if (bdl_dtype_is_float(a[i].dtype)) TRY(check_inputs(c, prim, rule, from++, &a[i], 1));
  return BDL_OK;
}

static bdl_status check_programs(bdl_context *c, const char *prim, const bdl_param *p, int n, const bdl_aval *in, int n_in, bdl_aval *out) {
  TRY(check_count(c, prim, "programs", p->n, n));
  const bdl_prog *function = p->progs[0];
  TRY(check_count(c, prim, "operands", n_in, function->inputs.n));
  TRY(check_inputs(c, prim, function, 0, in, n_in));
  for (int i = 0; i < function->n_outputs; i++) out[i] = *output(function, i);
  return BDL_OK;
}

/* params: programs(function, rule) */
bdl_status bdl_type_custom_jvp(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  TRY(check_programs(c, "custom_jvp", &p[0], 2, in, n_in, out));
  const bdl_prog *rule = p[0].progs[1];
  TRY(check_count(c, "custom_jvp", "operands of the rule", rule->inputs.n, n_in + count_floats(in, n_in)));
  TRY(check_inputs(c, "custom_jvp", rule, 0, in, n_in));
  TRY(check_tangent_inputs(c, "custom_jvp", rule, n_in, in, n_in));
  return check_tangents(c, "custom_jvp", rule, out, p[0].progs[0]->n_outputs);
}

/* params: programs(function, forward, backward) */
bdl_status bdl_type_custom_vjp(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  TRY(check_programs(c, "custom_vjp", &p[0], 3, in, n_in, out));
  const bdl_prog *forward = p[0].progs[1], *backward = p[0].progs[2];
  const int n_out = p[0].progs[0]->n_outputs, residuals = forward->n_outputs - n_out;
  TRY(check_count(c, "custom_vjp", "operands of forward", forward->inputs.n, n_in));
  TRY(check_inputs(c, "custom_vjp", forward, 0, in, n_in));
  if (residuals < 0) return check_count(c, "custom_vjp", "results of forward", forward->n_outputs, n_out);
  for (int i = 0; i < n_out; i++)
    if (!bdl_aval_eq(output(forward, i), &out[i])) return differ(c, "custom_vjp", "result of forward", i, &out[i], output(forward, i));
  TRY(check_count(c, "custom_vjp", "operands of backward", backward->inputs.n, residuals + count_floats(out, n_out)));
  for (int i = 0; i < residuals; i++) TRY(check_inputs(c, "custom_vjp", backward, i, output(forward, n_out + i), 1));
  TRY(check_tangent_inputs(c, "custom_vjp", backward, residuals, out, n_out));
  return check_tangents(c, "custom_vjp", backward, in, n_in);
}

/* params: residuals body.  in: residuals, dx; out: dz, the types of the body's further inputs */
bdl_status bdl_type_transposed(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  const bdl_prog *body = p[1].progs[0];
  const int64_t residuals = p[0].i;
  TRY(check_count(c, "transposed", "programs", p[1].n, 1));
  if (residuals < 0) return BDL_FAIL_PRIM(c, BDL_EVALUE, "transposed", "%" PRId64 " residuals", residuals);
  TRY(check_count(c, "transposed", "operands", n_in, residuals + body->n_outputs));
  TRY(check_inputs(c, "transposed", body, 0, in, (int)residuals));
  for (int i = 0; i < body->n_outputs; i++)
    if (!bdl_aval_eq(&in[residuals + i], output(body, i)))
      return differ(c, "transposed", "operand", (int)residuals + i, output(body, i), &in[residuals + i]);
  for (int64_t i = residuals; i < body->inputs.n; i++) out[i - residuals] = *bdl_aval_of(body, body->inputs.v[i]);
  return BDL_OK;
}

/* ---- order */

bdl_status bdl_type_barrier(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  (void)c, (void)p, (void)n_in;
  out[0] = in[0];
  return BDL_OK;
}

bdl_status bdl_jvp_barrier(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, const bdl_atom *dx, const bdl_atom *z, bdl_atom *dz) {
  (void)e, (void)z;
  if (bdl_is_zero(dx[0])) return BDL_OK;
  return bdl_bind2(b, BDL_P_barrier, dx[0], x[1], &dz[0]);
}

bdl_status bdl_transpose_barrier(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, const bool *is_linear, const bdl_atom *ct,
                                 bdl_atom *ct_in) {
  (void)b, (void)e, (void)x;
  if (is_linear[0]) ct_in[0] = ct[0];
  return BDL_OK;
}

/*
** etrace.c -- rules of eligibility traces.  A trace is e [S, R, I, K]: states of a hidden group, rows (batch and other
** positions), inputs, outputs of the operation.  Either all operands have an axis of lanes in front, or none.
*/
#include "prim/check.h"
#include "prim/rules.h"

/* ---- types ------------------------------------------------------------------------------------ */

/* Extents behind the lanes; has_lanes 1: there are. */
typedef struct shape {
  int has_lanes;
  int64_t lanes, states, rows, inputs, outputs;
} shape;

static bdl_status shape_of(bdl_context *c, const bdl_aval *in, int n_in, int least, shape *s) {
  if (n_in < least) return bdl_fail(c, BDL_EVALUE, "%d operands, at least %d are needed", n_in, least);
  const bdl_aval *e = &in[0];
  if (!bdl_dtype_is_float(e->dtype)) return bdl_fail(c, BDL_ETYPE, "a trace is of floats, not %s", BDL_TEXT(e));
  if (e->ndim != 4 && e->ndim != 5)
    return bdl_fail(c, BDL_ESHAPE,
                    "a trace is [states, rows, inputs, outputs], with or without an axis of lanes in front, not %s",
                    BDL_TEXT(e));
  const int64_t *n = e->shape + e->ndim - 4;
  *s = (shape){e->ndim == 5, e->ndim == 5 ? e->shape[0] : 1, n[0], n[1], n[2], n[3]};
  if (s->states >= 1 && s->states <= BDL_TRACE_STATES) return BDL_OK;
  return bdl_fail(c, BDL_ESHAPE, "a trace of 1 to %d states is possible, not %s", BDL_TRACE_STATES, BDL_TEXT(e));
}

/* [lanes, ..] or [..], of the trace's dtype */
static bdl_status check_matrix(bdl_context *c, const shape *s, const bdl_aval *in, int i, const char *what, int64_t n,
                               int64_t m) {
  const int64_t want[3] = {s->lanes, n, m};
  const bdl_aval a = bdl_aval_make(in[0].dtype, 2 + s->has_lanes, want + 1 - s->has_lanes);
  if (bdl_aval_eq(&in[i], &a)) return BDL_OK;
  return bdl_fail(c, BDL_ESHAPE, "%s (operand %d) is %s, not %s as the trace %s asks for", what, i + 1,
                  BDL_TEXT(&in[i]), BDL_TEXT(&a), BDL_TEXT(&in[0]));
}

/* Ascending, in [0, end). */
static bdl_status check_ascending(bdl_context *c, const char *name, const bdl_param *list, int64_t end) {
  for (int i = 0; i < list->n; i++)
    if (list->ints[i] < 0 || list->ints[i] >= end || (i > 0 && list->ints[i] <= list->ints[i - 1]))
      return bdl_fail(c, BDL_EVALUE, "%s ascend within [0, %" PRId64 "): %" PRId64 " does not", name, end,
                      list->ints[i]);
  return BDL_OK;
}

static bdl_status check_count(bdl_context *c, int n_in, int want) {
  return n_in == want ? BDL_OK : bdl_fail(c, BDL_EVALUE, "%d operands, %d are needed", n_in, want);
}

/* params: pairs fed scaled; operands from i on: x, scale where scaled, D, f */
static bdl_status check_step(bdl_context *c, const shape *s, const bdl_param *p, const bdl_aval *in, int i) {
  TRY(check_matrix(c, s, in, i++, "the input x", s->rows, s->inputs));
  if (p[2].i) TRY(check_matrix(c, s, in, i++, "the scale", s->inputs, s->outputs));
  for (int k = 0; k < p[0].n; k++) TRY(check_matrix(c, s, in, i++, "an entry of D", s->rows, s->outputs));
  for (int k = 0; k < p[1].n; k++) TRY(check_matrix(c, s, in, i++, "an entry of f", s->rows, s->outputs));
  return BDL_OK;
}

static int step_count(const bdl_param *p) { return 1 + (p[2].i != 0) + p[0].n + p[1].n; }

static bdl_status check_step_params(bdl_context *c, const shape *s, const bdl_param *p) {
  TRY(check_ascending(c, "pairs", &p[0], s->states * s->states));
  return check_ascending(c, "fed", &p[1], s->states);
}

bdl_status bdl_type_etrace_step(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  shape s;
  TRY(shape_of(c, in, n_in, 2, &s));
  TRY(check_step_params(c, &s, p));
  TRY(check_count(c, n_in, 1 + step_count(p)));
  TRY(check_step(c, &s, p, in, 1));
  *out = in[0];
  return BDL_OK;
}

/* params: groups fed; operands from i on: l */
static bdl_status check_grad(bdl_context *c, const shape *s, const bdl_param *p, const bdl_aval *in, int n_in, int i,
                             bdl_aval *g) {
  const int64_t groups = p[0].i;
  TRY(check_ascending(c, "fed", &p[1], s->states));
  if (groups < 1 || s->rows % groups != 0)
    return bdl_fail(c, BDL_EVALUE, "%" PRId64 " rows are not a whole number of rows for each of %" PRId64 " groups",
                    s->rows, groups);
  for (; i < n_in; i++) TRY(check_matrix(c, s, in, i, "a learning signal", s->rows, s->outputs));
  const int64_t shape[4] = {s->lanes, groups, s->inputs, s->outputs};
  *g = bdl_aval_make(in[0].dtype, 3 + s->has_lanes, shape + 1 - s->has_lanes);
  return bdl_aval_check(c, g);
}

bdl_status bdl_type_etrace_grad(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  shape s;
  TRY(shape_of(c, in, n_in, 1, &s));
  TRY(check_count(c, n_in, 1 + p[1].n));
  return check_grad(c, &s, p, in, n_in, 1, out);
}

/* params: pairs fed scaled groups signals summed; in: e, s where summed, the others of a step, l */
bdl_status bdl_type_etrace_learn(bdl_context *c, const bdl_param *p, const bdl_aval *in, int n_in, bdl_aval *out) {
  const int first = 1 + (p[5].i != 0);
  shape s;
  TRY(shape_of(c, in, n_in, 1, &s));
  TRY(check_step_params(c, &s, p));
  TRY(check_count(c, n_in, first + step_count(p) + p[4].n));
  TRY(check_step(c, &s, p, in, first));
  TRY(check_grad(c, &s, p + 3, in, n_in, first + step_count(p), &out[1]));
  out[0] = in[0];
  if (first == 1) return BDL_OK;
  if (in[1].dtype != out[1].dtype || bdl_aval_numel(&in[1]) != bdl_aval_numel(&out[1]))
    return bdl_fail(c, BDL_ESHAPE, "the sum is %s, the gradient %s", BDL_TEXT(&in[1]), BDL_TEXT(&out[1]));
  out[1] = in[1];
  return BDL_OK;
}

/* ---- lanes: those of the equation and the new ones are taken as one --------------------------- */

static bdl_status over_lanes(bdl_prog *b, const bdl_eqn *e, const bdl_atom *x, const bool *batched, int64_t size,
                             bdl_atom *z) {
  const bdl_aval trace = *bdl_aval_of(b, x[0]);
  const bool own = trace.ndim - batched[0] == 5;
  bdl_atom *in = bdl_arena_alloc(&b->arena, (size_t)e->n_in * sizeof *in);
  if (!in) return BDL_ENOMEM;
  for (int i = 0; i < e->n_in; i++) {
    TRY(bdl_rule_lanes(b, x[i], batched[i], size, &in[i]));
    if (own) TRY(bdl_rule_join(b, in[i], 0, &in[i]));
  }
  TRY(bdl_bind(b, e->prim, e->params, in, e->n_in, z));
  return own ? bdl_rule_split(b, *z, 0, size, trace.shape[batched[0]], z) : BDL_OK;
}

BDL_BATCH(etrace_step) {
  (void)out_batched;
  return over_lanes(b, e, x, batched, size, z);
}

BDL_BATCH(etrace_grad) {
  (void)out_batched;
  return over_lanes(b, e, x, batched, size, z);
}

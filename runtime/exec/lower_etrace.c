/*
** lower_etrace.c -- adapters of eligibility traces.
*/
#include <string.h>

#include "cpu/etrace.h"
#include "exec/lower_util.h"

static bdl_k_etrace trace_of(const bdl_aval *e) {
  const int64_t *n = e->shape + e->ndim - 4;
  return (bdl_k_etrace){.lanes = e->ndim == 5 ? e->shape[0] : 1,
                        .states = n[0],
                        .rows = n[1],
                        .inputs = n[2],
                        .outputs = n[3],
                        .groups = 1};
}

static int64_t states_of(const bdl_aval *e) { return e->shape[e->ndim - 4]; }

/* Operands at the places that a list gives, NULL elsewhere; *at: the next operand. */
static const void *const *entries(const bdl_kcall *k, const bdl_param *list, int64_t n, const void **room, int *at) {
  for (int64_t i = 0; i < n; i++) room[i] = NULL;
  for (int i = 0; i < list->n; i++) room[list->ints[i]] = k->in[(*at)++];
  return room;
}

/* Room for the tables of the kernel. */
size_t bdl_scratch_etrace_step(const bdl_param *params, const bdl_aval *in, int n_in, const bdl_aval *out) {
  (void)params, (void)n_in, (void)out;
  return (size_t)(states_of(in) * (states_of(in) + 1)) * sizeof(void *);
}

size_t bdl_scratch_etrace_grad(const bdl_param *params, const bdl_aval *in, int n_in, const bdl_aval *out) {
  (void)params, (void)n_in, (void)out;
  return (size_t)states_of(in) * sizeof(void *);
}

size_t bdl_scratch_etrace_learn(const bdl_param *params, const bdl_aval *in, int n_in, const bdl_aval *out) {
  return bdl_scratch_etrace_step(params, in, n_in, out) + bdl_scratch_etrace_grad(params, in, n_in, out);
}

/* params: pairs fed scaled; operands from *at on: x, scale where scaled, D, f */
static void step_of(const bdl_kcall *k, bdl_k_etrace *t, const void **room, int *at) {
  t->e = k->out[0];
  t->x = k->in[(*at)++];
  if (k->params[2].i) t->scale = k->in[(*at)++];
  t->step = entries(k, &k->params[0], t->states * t->states, room, at);
  t->feed = entries(k, &k->params[1], t->states, room + t->states * t->states, at);
}

bdl_status bdl_lower_etrace_step(const bdl_kcall *k) {
  bdl_k_etrace t = trace_of(&k->in_aval[0]);
  int at = 1;
  step_of(k, &t, k->scratch, &at);
  bdl_k_etrace_run(k->k, &t, k->in_aval[0].dtype, k->pool);
  return BDL_OK;
}

/* params: pairs fed scaled groups signals summed; in: e, s where summed, the others of a step, l */
bdl_status bdl_lower_etrace_learn(const bdl_kcall *k) {
  bdl_k_etrace t = trace_of(&k->in_aval[0]);
  const void **room = k->scratch;
  int at = 1 + (k->params[5].i != 0);
  step_of(k, &t, room, &at);
  t.groups = k->params[3].i;
  t.signal = entries(k, &k->params[4], t.states, room + t.states * (t.states + 1), &at);
  t.g = k->out[1];
  if (k->params[5].i) t.sum = k->out[1]; /* which starts as s */
  bdl_k_etrace_run(k->k, &t, k->in_aval[0].dtype, k->pool);
  return BDL_OK;
}

/* params: groups fed; in: e, l */
bdl_status bdl_lower_etrace_grad(const bdl_kcall *k) {
  bdl_k_etrace t = trace_of(&k->in_aval[0]);
  int at = 1;
  t.e = (void *)k->in[0]; /* read alone */
  t.g = k->out[0];
  t.groups = k->params[0].i;
  t.signal = entries(k, &k->params[1], t.states, k->scratch, &at);
  bdl_k_etrace_run(k->k, &t, k->in_aval[0].dtype, k->pool);
  return BDL_OK;
}

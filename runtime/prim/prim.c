/*
** prim.c -- the primitive table, made from prims.def, and the check of one equation against it.
*/
#include "prim/prim.h"

#include <string.h>

#include "prim/rules.h"

#define bdl_jvp_none NULL
#define bdl_transpose_none NULL
#define bdl_batch_none NULL

const bdl_prim bdl_prims[BDL_P_COUNT] = {
#define PRIM(name_, in_, out_, flags_, params_, type_, jvp_, transpose_, batch_, lower_, synopsis_)                             \
  [BDL_P_##name_] = {#name_,           in_,           out_,                    flags_,           params_,                       \
                     bdl_type_##type_, bdl_jvp_##jvp_, bdl_transpose_##transpose_, bdl_batch_##batch_, synopsis_},
#include "prim/prims.def"
#undef PRIM
};

int bdl_prim_find(const char *name) {
  for (int p = 0; p < BDL_P_COUNT; p++)
    if (strcmp(bdl_prims[p].name, name) == 0) return p;
  return -1;
}

/* The specification of parameters, one at a time: "axes:I keepdims:i". */
static const char *next_param(const char *spec, const char **name, size_t *len, bdl_param_kind *kind) {
  const char *colon = strchr(spec, ':');
  if (!colon) return NULL;
  *name = spec;
  *len = (size_t)(colon - spec);
  *kind = (bdl_param_kind)colon[1];
  return colon[2] == ' ' ? colon + 3 : colon + 2;
}

/* Where the i-th parameter stands in the specification. */
static bool param_at(bdl_prim_id p, int i, const char **name, size_t *len, bdl_param_kind *kind) {
  const char *spec = bdl_prims[p].params;
  do spec = next_param(spec, name, len, kind);
  while (spec && i-- > 0);
  return spec != NULL;
}

int bdl_prim_n_params(bdl_prim_id p) {
  int n = 0;
  for (const char *s = bdl_prims[p].params; *s; s++) n += *s == ':';
  return n;
}

int bdl_prim_param(bdl_prim_id p, const char *name) {
  const char *s = NULL;
  bdl_param_kind kind;
  size_t len = 0, n = strlen(name);
  for (int i = 0; param_at(p, i, &s, &len, &kind); i++)
    if (len == n && memcmp(s, name, n) == 0) return i;
  return -1;
}

bdl_param_kind bdl_prim_param_kind(bdl_prim_id p, int i) {
  const char *s = NULL;
  size_t len = 0;
  bdl_param_kind kind = BDL_PK_INT;
  param_at(p, i, &s, &len, &kind);
  return kind;
}

const char *bdl_prim_param_name(bdl_prim_id p, int i, char buf[32]) {
  const char *s = "";
  size_t len = 0;
  bdl_param_kind kind;
  param_at(p, i, &s, &len, &kind);
  len = BDL_MIN(len, 31);
  memcpy(buf, s, len);
  buf[len] = '\0';
  return buf;
}

/* A value that its kind allows, so that rules may read it. */
static bool param_ok(const bdl_param *x, bdl_param_kind kind) {
  if (x->kind != kind || x->n < 0) return false;
  switch (kind) {
    case BDL_PK_INTS: return x->n == 0 || x->ints;
    case BDL_PK_STR: return x->s != NULL;
    case BDL_PK_DTYPE: return x->i >= 0 && x->i < BDL_DTYPE_COUNT;
    case BDL_PK_PROGS:
      for (int i = 0; i < x->n; i++)
        if (!x->progs[i]) return false;
      return x->n > 0;
    default: return true;
  }
}

bdl_status bdl_prim_check(bdl_context *c, bdl_prim_id p, const bdl_param *params, int n_in) {
  const bdl_prim *row = &bdl_prims[p];
  const char *spec = row->params, *name = "";
  bdl_param_kind kind = BDL_PK_INT;
  size_t len = 0;
  if (row->n_in >= 0 && row->n_in != n_in)
    return bdl_fail(c, BDL_EVALUE, "%s: %d operands, where it takes %d", row->name, n_in, row->n_in);
  if (*spec && !params) return bdl_fail(c, BDL_EINTERNAL, "%s: no parameters, where it has '%s'", row->name, spec);
  for (const bdl_param *x = params; *spec; x++) {
    spec = next_param(spec, &name, &len, &kind);
    if (!param_ok(x, kind))
      return bdl_fail(c, BDL_EVALUE, "%s: parameter '%.*s' is not of kind '%c'", row->name, (int)len, name, kind);
  }
  if (bdl_ir_n_out(p, params, n_in) < 0) return bdl_fail(c, BDL_EVALUE, "%s: parameters do not fit %d operands", row->name, n_in);
  return BDL_OK;
}

bdl_status bdl_prim_type(bdl_context *c, bdl_prim_id p, const bdl_param *params, const bdl_aval *in, int n_in, bdl_aval *out) {
  const bdl_prim *row = &bdl_prims[p];
  const size_t len = strlen(row->name);
  bdl_status s = bdl_prim_check(c, p, params, n_in);
  if (s != BDL_OK) return s;
  s = row->type(c, params, in, n_in, out);
  for (int i = 0, n = bdl_ir_n_out(p, params, n_in); s == BDL_OK && i < n; i++) s = bdl_aval_check(c, &out[i]);
  if (s == BDL_OK || s == BDL_ENOMEM) return s;
  /* Rules shared by several primitives cannot name theirs. */
  if (strncmp(c->error.message, row->name, len) != 0 || c->error.message[len] != ':')
    bdl_fail(c, s, "%s: %s", row->name, c->error.message);
  return s;
}

/* results of host_call: dtype, rank, extents of each; -1: malformed */
static int count_results(const bdl_param *p) {
  int n = 0;
  for (int64_t i = 0; i < p->n; n++) {
    if (i + 1 >= p->n || p->ints[i + 1] < 0 || p->ints[i + 1] > BDL_MAX_NDIM) return -1;
    i += 2 + p->ints[i + 1];
    if (i > p->n) return -1;
  }
  return n;
}

int bdl_ir_n_out(bdl_prim_id prim, const bdl_param *params, int n_in) {
  if (bdl_prims[prim].n_out >= 0) return bdl_prims[prim].n_out;
  switch (prim) {
    case BDL_P_sort: return n_in;
    case BDL_P_scan: return params[4].progs[0]->n_outputs;
    case BDL_P_while: return params[2].n == 2 ? params[2].progs[1]->n_outputs : -1;
    case BDL_P_cond:
    case BDL_P_call:
    case BDL_P_checkpoint:
    case BDL_P_etrace_op:
    case BDL_P_custom_jvp:
    case BDL_P_custom_vjp: return params[0].progs[0]->n_outputs;
    case BDL_P_transposed: return (int)(params[1].progs[0]->inputs.n - params[0].i);
    case BDL_P_host_call: return count_results(&params[0]);
    default: return -1;
  }
}

bool bdl_param_eq(const bdl_param *a, const bdl_param *b) {
  if (a->kind != b->kind) return false;
  switch (a->kind) {
    case BDL_PK_INTS: return a->n == b->n && (a->n == 0 || memcmp(a->ints, b->ints, (size_t)a->n * sizeof *a->ints) == 0);
    case BDL_PK_PROGS: return a->n == b->n && (a->n == 0 || memcmp(a->progs, b->progs, (size_t)a->n * sizeof(bdl_prog *)) == 0);
    case BDL_PK_STR: return strcmp(a->s, b->s) == 0;
    case BDL_PK_HOST: return a->host == b->host;
    default: return a->i == b->i; /* doubles too: by bits */
  }
}

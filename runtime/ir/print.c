/*
** print.c -- programs as text.  bdl_ir_parse reads every line of it back.
**
**     program step(V:f32[100], g:f32[100]) {
**       const w:f32[2] = [0.5 nan]
**       a:f32[100] = mul g 0.98:f32                      @ "models/lif.lua":12
**       b:f32[100], c:f32[] = scan[consts=0 carry=1 .. body={program body(..) {..}}] a 1.0:f32
**       print[format="V {0}" host=nil] V
**       return b, c
**     }
**
** A variable keeps its name where that is free; the others are called a, b, .. in the order of their definition.  A name
** that is no word is written %"like this".  Literals carry their dtype.  Floats are the shortest decimals that read back
** bit for bit; NaNs other than the default one show their bits, nan(0xffc00000).  Hosts cannot be written: nil.
*/
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/text.h"
#include "prim/prim.h"

typedef struct printer {
  const bdl_prog *p;
  bdl_str *out;
  const char **name; /* of each variable */
  bdl_map taken;     /* hashes of names */
  bdl_arena scratch;
  int64_t most; /* elements of a constant */
  int depth;
} printer;

/* ---- words -------------------------------------------------------------------------------------- */

bool bdl_text_is_word(const char *s) {
  if (!isalpha((unsigned char)*s) && *s != '_') return false;
  for (const char *t = s; *t; t++)
    if (!isalnum((unsigned char)*t) && *t != '_' && *t != '.') return false;
  return strcmp(s, "program") && strcmp(s, "const") && strcmp(s, "return");
}

static void add_string(bdl_str *out, const char *s) {
  bdl_str_add(out, "\"", 1);
  for (; *s; s++) {
    const unsigned char ch = (unsigned char)*s;
    if (ch == '"' || ch == '\\') bdl_str_addf(out, "\\%c", ch);
    else if (ch == '\n') bdl_str_add(out, "\\n", 2);
    else if (ch < ' ' || ch == 127) bdl_str_addf(out, "\\x%02x", ch);
    else bdl_str_add(out, s, 1);
  }
  bdl_str_add(out, "\"", 1);
}

static void add_name(bdl_str *out, const char *s) {
  if (bdl_text_is_word(s)) {
    bdl_str_add(out, s, (int64_t)strlen(s));
  } else {
    bdl_str_add(out, "%", 1);
    add_string(out, s);
  }
}

/* ---- numbers ------------------------------------------------------------------------------------ */

/* The C library writes the decimal point of the locale; ours is a point. */
static void add_decimal(bdl_str *out, const char *s) {
  bool whole = true;
  for (; *s; s++) {
    const bool other = !isdigit((unsigned char)*s) && !strchr("+-e", *s);
    if (!other || whole) bdl_str_add(out, other ? "." : s, 1);
    if (other || *s == 'e') whole = false;
  }
  if (whole) bdl_str_add(out, ".0", 2);
}

static void add_float(bdl_str *out, bdl_dtype d, bdl_scalar v) {
  const bool single = d == BDL_F32;
  const double x = bdl_scalar_to_f64(d, v);
  const uint64_t quiet = single ? 0x7fc00000 : 0x7ff8000000000000;
  char text[40];
  if (isnan(x)) {
    bdl_str_add(out, "nan", 3);
    if (v.bits != quiet) bdl_str_addf(out, "(0x%" PRIx64 ")", v.bits);
  } else if (isinf(x)) {
    bdl_str_addf(out, "%sinf", x < 0 ? "-" : "");
  } else {
    for (int digits = single ? 6 : 15; digits <= 17; digits++) {
      snprintf(text, sizeof text, "%.*g", digits, x);
      if (single ? strtof(text, NULL) == (float)x : strtod(text, NULL) == x) break;
    }
    add_decimal(out, text);
  }
}

void bdl_text_scalar(bdl_str *out, bdl_dtype d, bdl_scalar v) {
  switch (d) {
    case BDL_BOOL: bdl_str_addf(out, "%s", v.b ? "true" : "false"); break;
    case BDL_I32: bdl_str_addf(out, "%" PRId32, v.i32); break;
    case BDL_I64: bdl_str_addf(out, "%" PRId64, v.i64); break;
    case BDL_U32: bdl_str_addf(out, "%" PRIu32, v.u32); break;
    default: add_float(out, d, v); break;
  }
}

/* ---- names of variables ------------------------------------------------------------------------- */

/* Is the name new?  A hash that two names share makes the second one look taken, which only costs it its name. */
static bdl_status take_name(printer *P, const char *s, bool *fresh) {
  const uint64_t key = bdl_hash(s, strlen(s), 0);
  uint64_t old = 0;
  *fresh = !bdl_map_get(&P->taken, key, &old);
  return *fresh ? bdl_map_put(&P->taken, key, 1) : BDL_OK;
}

static bdl_status own_name(printer *P, bdl_atom x) {
  const char *s = P->p->vars.v[x].name;
  bool fresh = false;
  if (!s) return BDL_OK;
  TRY(take_name(P, s, &fresh));
  if (fresh) P->name[x] = s;
  return BDL_OK;
}

/* a .. z, aa, ab, .. */
static bdl_status letter_name(printer *P, bdl_atom x, int64_t *next) {
  char text[16];
  bool fresh = false;
  if (P->name[x]) return BDL_OK;
  while (!fresh) {
    char *s = text + sizeof text - 1;
    *s = '\0';
    for (int64_t n = (*next)++;; n = n / 26 - 1) {
      *--s = (char)('a' + n % 26);
      if (n < 26) break;
    }
    if (bdl_text_is_word(s)) TRY(take_name(P, s, &fresh));
    if (fresh && !(P->name[x] = bdl_arena_strdup(&P->scratch, s))) return BDL_ENOMEM;
  }
  return BDL_OK;
}

typedef bdl_status (*visit)(printer *P, bdl_atom x, int64_t *next);

static bdl_status visit_own(printer *P, bdl_atom x, int64_t *next) {
  (void)next;
  return own_name(P, x);
}

static bdl_status each_definition(printer *P, visit f) {
  const bdl_prog *p = P->p;
  int64_t next = 0;
  for (int64_t i = 0; i < p->inputs.n; i++) TRY(f(P, p->inputs.v[i], &next));
  for (bdl_atom x = 0; p->consts.n > 0 && x < p->vars.n; x++)
    if (p->vars.v[x].kind == BDL_V_CONST) TRY(f(P, x, &next));
  for (int64_t i = 0; i < p->eqns.n; i++)
    for (int k = 0; k < p->eqns.v[i].n_out; k++) TRY(f(P, p->eqns.v[i].out[k], &next));
  return BDL_OK;
}

/* ---- lines -------------------------------------------------------------------------------------- */

static bdl_status print_prog(const bdl_prog *p, bdl_str *out, int64_t most, int depth);

static void indent(printer *P) { bdl_str_addf(P->out, "\n%*s", 2 * P->depth, ""); }

static void add_binder(printer *P, bdl_atom x) {
  char text[BDL_AVAL_TEXT];
  add_name(P->out, P->name[x]);
  bdl_str_addf(P->out, ":%s", bdl_aval_text(bdl_aval_of(P->p, x), false, text));
}

static void add_operand(printer *P, bdl_atom x) {
  const bdl_var *v = &P->p->vars.v[x];
  if (v->kind == BDL_V_LITERAL) {
    bdl_text_scalar(P->out, v->aval.dtype, v->literal);
    bdl_str_addf(P->out, ":%s", bdl_dtype_name(v->aval.dtype));
  } else {
    add_name(P->out, P->name[x]);
  }
}

static bdl_status add_param(printer *P, const bdl_param *x) {
  bdl_str *out = P->out;
  switch (x->kind) {
    case BDL_PK_INT: bdl_str_addf(out, "%" PRId64, x->i); break;
    case BDL_PK_FLOAT: add_float(out, BDL_F64, (bdl_scalar){.f64 = x->f}); break;
    case BDL_PK_STR: add_string(out, x->s); break;
    case BDL_PK_DTYPE: bdl_str_addf(out, "%s", bdl_dtype_name((bdl_dtype)x->i)); break;
    case BDL_PK_HOST: bdl_str_addf(out, "nil"); break;
    case BDL_PK_INTS:
      bdl_str_add(out, "(", 1);
      for (int i = 0; i < x->n; i++) bdl_str_addf(out, i ? ",%" PRId64 : "%" PRId64, x->ints[i]);
      bdl_str_add(out, ")", 1);
      break;
    case BDL_PK_PROGS:
      bdl_str_add(out, "{", 1);
      for (int i = 0; i < x->n; i++) {
        if (i) bdl_str_add(out, ", ", 2);
        TRY(print_prog(x->progs[i], out, P->most, P->depth));
      }
      bdl_str_add(out, "}", 1);
      break;
  }
  return BDL_OK;
}

static bdl_status print_eqn(printer *P, const bdl_eqn *e) {
  char name[32];
  for (int k = 0; k < e->n_out; k++) {
    if (k) bdl_str_add(P->out, ", ", 2);
    add_binder(P, e->out[k]);
  }
  bdl_str_addf(P->out, "%s%s", e->n_out ? " = " : "", bdl_prims[e->prim].name);
  for (int k = 0; k < e->n_params; k++) {
    bdl_str_addf(P->out, "%s%s=", k ? " " : "[", bdl_prim_param_name(e->prim, k, name));
    TRY(add_param(P, &e->params[k]));
  }
  if (e->n_params) bdl_str_add(P->out, "]", 1);
  for (int k = 0; k < e->n_in; k++) {
    bdl_str_add(P->out, " ", 1);
    add_operand(P, e->in[k]);
  }
  if (e->src.file) {
    bdl_str_add(P->out, "  @ ", 4);
    add_string(P->out, e->src.file);
    bdl_str_addf(P->out, ":%" PRId32, e->src.line);
  }
  return BDL_OK;
}

static bdl_status print_body(printer *P) {
  const bdl_prog *p = P->p;
  TRY(each_definition(P, visit_own));
  TRY(each_definition(P, letter_name));
  bdl_str_addf(P->out, "program ");
  add_name(P->out, p->name);
  bdl_str_add(P->out, "(", 1);
  for (int64_t i = 0; i < p->inputs.n; i++) {
    if (i) bdl_str_add(P->out, ", ", 2);
    add_binder(P, p->inputs.v[i]);
  }
  bdl_str_add(P->out, ") {", 3);
  P->depth++;
  for (bdl_atom x = 0; p->consts.n > 0 && x < p->vars.n; x++) {
    if (p->vars.v[x].kind != BDL_V_CONST) continue;
    const bdl_tensor *t = &p->consts.v[p->vars.v[x].index];
    indent(P);
    bdl_str_addf(P->out, "const ");
    add_binder(P, x);
    bdl_str_add(P->out, " = [", 4);
    const int64_t n = bdl_aval_numel(&t->aval);
    for (int64_t i = 0; i < n && i < P->most && !P->out->failed; i++) {
      if (i) bdl_str_add(P->out, " ", 1);
      bdl_text_scalar(P->out, t->aval.dtype, bdl_tensor_at(t, i));
    }
    if (n > P->most) bdl_str_addf(P->out, " .. %" PRId64 " elements", n);
    bdl_str_add(P->out, "]", 1);
  }
  for (int64_t i = 0; i < p->eqns.n; i++) {
    indent(P);
    TRY(print_eqn(P, &p->eqns.v[i]));
  }
  indent(P);
  bdl_str_addf(P->out, "return");
  for (int i = 0; i < p->n_outputs; i++) {
    bdl_str_addf(P->out, i ? ", " : " ");
    add_operand(P, p->outputs[i]);
  }
  P->depth--;
  indent(P);
  bdl_str_add(P->out, "}", 1);
  return P->out->failed ? BDL_ENOMEM : BDL_OK;
}

static bdl_status print_prog(const bdl_prog *p, bdl_str *out, int64_t most, int depth) {
  printer P = {.p = p, .out = out, .most = most, .depth = depth};
  bdl_status s = BDL_ENOMEM;
  bdl_arena_init(&P.scratch, p->ctx);
  bdl_map_init(&P.taken, p->ctx);
  P.name = bdl_arena_alloc(&P.scratch, (size_t)p->vars.n * sizeof *P.name);
  if (P.name) s = print_body(&P);
  bdl_map_fini(&P.taken);
  bdl_arena_fini(&P.scratch);
  return s;
}

bdl_status bdl_ir_print(const bdl_prog *p, bdl_str *out) { return bdl_ir_print_short(p, INT64_MAX, out); }

bdl_status bdl_ir_print_short(const bdl_prog *p, int64_t most, bdl_str *out) {
  TRY(print_prog(p, out, most, 0));
  bdl_str_add(out, "\n", 1);
  return out->failed ? BDL_ENOMEM : BDL_OK;
}

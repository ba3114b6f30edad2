/*
** parse.c -- text to programs; the grammar is print.c's.
**
**     program  = "program" name "(" [binder {"," binder}] ")" "{" {line} "}"
**     line     = "const" binder "=" "[" {number} "]"
**              | [binder {"," binder} "="] primitive ["[" {name "=" param} "]"] {operand} ["@" string ":" integer]
**              | "return" [operand {"," operand}]
**     binder   = name ":" dtype "[" [integer {"," integer}] "]"        operand = name | number ":" dtype
**     param    = number | string | dtype | "nil" | "(" [integer {"," integer}] ")" | "{" program {"," program} "}"
**
** An equation ends with its line; elsewhere line ends are spaces.  # begins a comment.  Memory grows with the text only.
*/
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ir/edit.h"
#include "ir/text.h"
#include "prim/prim.h"

typedef enum token { T_END, T_WORD, T_NAME, T_STRING, T_NUMBER, T_SIGN } token;

#define MAX_WORD 64 /* of numbers and keywords; names may be longer */

typedef struct parser {
  bdl_context *ctx;
  const char *s, *end, *line_start;
  int64_t line;
  /* the token in front */
  token kind;
  char sign;          /* kind SIGN: the character */
  bool first_on_line; /* a line end came before it */
  bdl_str text;       /* other kinds: its text, strings unescaped */
  int64_t column;
  int depth;
} parser;

/* ---- tokens ------------------------------------------------------------------------------------- */

static bdl_status syntax(parser *P, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bdl_status syntax(parser *P, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  bdl_failv(P->ctx, BDL_ESYNTAX, fmt, ap);
  va_end(ap);
  return bdl_fail(P->ctx, BDL_ESYNTAX, "line %" PRId64 ", column %" PRId64 ": %s", P->line, P->column, P->ctx->error.message);
}

static bdl_status unexpected(parser *P, const char *wanted) {
  switch (P->kind) {
    case T_END: return syntax(P, "%s expected at the end of the text", wanted);
    case T_SIGN: return syntax(P, "%s expected near '%c'", wanted, P->sign);
    default: return syntax(P, "%s expected near '%.40s'", wanted, P->text.s);
  }
}

static bool is_word_char(char c) { return isalnum((unsigned char)c) || c == '_' || c == '.'; }

static bdl_status read_string(parser *P) {
  const char *s = P->s + 1;
  for (;; s++) {
    char c = s < P->end ? *s : '\n';
    if (c == '"') break;
    if (c == '\n' || c == '\0') return syntax(P, "string without an end");
    if (c == '\\') {
      const size_t left = (size_t)(P->end - s);
      if (left >= 4 && s[1] == 'x' && isxdigit((unsigned char)s[2]) && isxdigit((unsigned char)s[3])) {
        c = (char)strtol((char[]){s[2], s[3], '\0'}, NULL, 16);
        s += 3;
      } else if (left >= 2 && strchr("n\"\\", s[1])) {
        c = *++s == 'n' ? '\n' : *s;
      } else {
        c = '\0';
      }
      if (c == '\0') return syntax(P, "bad escape in a string");
    }
    bdl_str_add(&P->text, &c, 1);
  }
  P->s = s + 1;
  return BDL_OK;
}

/* 12, -0.5e-3, nan, -inf, nan(0x7fc00001); a sign belongs to the number after a mark of the exponent. */
static void read_number(parser *P) {
  const char *s = P->s;
  for (s++; s < P->end; s++) {
    const bool exponent = (s[-1] == 'e' || s[-1] == 'E') && (*s == '+' || *s == '-');
    if (!is_word_char(*s) && !exponent) break;
  }
  bdl_str_add(&P->text, P->s, s - P->s);
  P->s = s;
}

/* Step to the next token. */
static bdl_status next(parser *P) {
  P->first_on_line = false;
  while (P->s < P->end && (isspace((unsigned char)*P->s) || *P->s == '#')) {
    if (*P->s == '#')
      while (P->s + 1 < P->end && P->s[1] != '\n') P->s++;
    if (*P->s++ == '\n') {
      P->first_on_line = true;
      P->line++;
      P->line_start = P->s;
    }
  }
  P->column = P->s - P->line_start + 1;
  P->text.n = 0;
  bdl_str_add(&P->text, "", 0);
  if (P->s >= P->end) {
    P->kind = T_END;
    P->first_on_line = true;
  } else if (isalpha((unsigned char)*P->s) || *P->s == '_') {
    P->kind = T_WORD;
    while (P->s < P->end && is_word_char(*P->s)) bdl_str_add(&P->text, P->s++, 1);
  } else if (isdigit((unsigned char)*P->s) || *P->s == '-') {
    P->kind = T_NUMBER;
    read_number(P);
  } else if (*P->s == '"' || (*P->s == '%' && P->s + 1 < P->end && P->s[1] == '"')) {
    P->kind = *P->s == '"' ? T_STRING : T_NAME;
    P->s += P->kind == T_NAME;
    TRY(read_string(P));
  } else {
    P->kind = T_SIGN;
    P->sign = *P->s++;
  }
  return P->text.failed ? BDL_ENOMEM : BDL_OK;
}

static bool is_sign(const parser *P, char c) { return P->kind == T_SIGN && P->sign == c; }
static bool is_keyword(const parser *P, const char *w) { return P->kind == T_WORD && strcmp(P->text.s, w) == 0; }

static bdl_status expect(parser *P, char c) {
  const char wanted[] = {'\'', c, '\'', '\0'};
  return is_sign(P, c) ? next(P) : unexpected(P, wanted);
}

/* Step over c if it is there. */
static bdl_status skip(parser *P, char c, bool *was) {
  *was = is_sign(P, c);
  return *was ? next(P) : BDL_OK;
}

/* ---- numbers, types ----------------------------------------------------------------------------- */

static bdl_status integer(parser *P, int64_t lo, int64_t hi, int64_t *v) {
  char *end = NULL;
  if (P->kind != T_NUMBER) return unexpected(P, "an integer");
  errno = 0;
  *v = strtoll(P->text.s, &end, 10);
  if (*end || end == P->text.s) return unexpected(P, "an integer");
  if (errno || *v < lo || *v > hi) return syntax(P, "%.40s is not within %" PRId64 " and %" PRId64, P->text.s, lo, hi);
  return next(P);
}

/* The bits of nan(0x..), after the word `nan`. */
static bdl_status nan_bits(parser *P, bdl_dtype d, bdl_scalar *v) {
  char *end = NULL;
  v->bits = d == BDL_F32 ? 0x7fc00000 : 0x7ff8000000000000;
  if (P->s >= P->end || *P->s != '(') return next(P);
  TRY(next(P));
  TRY(next(P));
  errno = 0;
  v->bits = P->kind == T_NUMBER ? strtoull(P->text.s, &end, 16) : 0;
  if (errno || (d == BDL_F32 && v->bits > UINT32_MAX) || !end || *end || !isnan(bdl_scalar_to_f64(d, *v)))
    return unexpected(P, "the bits of a NaN");
  TRY(next(P));
  return expect(P, ')');
}

static bdl_status real(parser *P, bdl_dtype d, bdl_scalar *v) {
  const char *point = localeconv()->decimal_point, *s = P->text.s, *dot = strchr(s, '.');
  char text[2 * MAX_WORD], *end = NULL;
  if (is_keyword(P, "nan")) return nan_bits(P, d, v);
  if (P->kind != T_NUMBER && !is_keyword(P, "inf")) return unexpected(P, "a number");
  if (P->text.n >= MAX_WORD || strlen(point) >= MAX_WORD || strchr(s, 'x') || strchr(s, 'X')) return unexpected(P, "a number");
  if (dot) { /* as the locale writes it */
    const size_t n = (size_t)(dot - s);
    memcpy(text, s, n);
    strcpy(text + n, point);
    strcat(text, dot + 1);
    s = text;
  }
  v->bits = 0;
  if (d == BDL_F32) v->f32 = strtof(s, &end);
  else v->f64 = strtod(s, &end);
  if (end == s || *end || isnan(bdl_scalar_to_f64(d, *v))) return unexpected(P, "a number");
  return next(P);
}

static bdl_status number(parser *P, bdl_dtype d, bdl_scalar *v) {
  int64_t i = 0;
  switch (d) {
    case BDL_BOOL:
      if (!is_keyword(P, "true") && !is_keyword(P, "false")) return unexpected(P, "true or false");
      i = is_keyword(P, "true");
      TRY(next(P));
      break;
    case BDL_I32: TRY(integer(P, INT32_MIN, INT32_MAX, &i)); break;
    case BDL_U32: TRY(integer(P, 0, UINT32_MAX, &i)); break;
    case BDL_I64: TRY(integer(P, INT64_MIN, INT64_MAX, &i)); break;
    default: return real(P, d, v);
  }
  *v = bdl_scalar_from_i64(d, i);
  return BDL_OK;
}

static bdl_status dtype(parser *P, bdl_dtype *d) {
  if (P->kind != T_WORD || !bdl_dtype_parse(P->text.s, d)) return unexpected(P, "a dtype");
  return next(P);
}

/* open i {, i} close; the list grows in v */
typedef BDL_VEC(int64_t) ints;

static bdl_status integers(parser *P, char open, char close, ints *v) {
  bool more = true;
  TRY(expect(P, open));
  if (is_sign(P, close)) return next(P);
  while (more) {
    int64_t i = 0;
    TRY(integer(P, INT64_MIN, INT64_MAX, &i));
    if (!BDL_PUSH(P->ctx, *v, i)) return BDL_ENOMEM;
    TRY(skip(P, ',', &more));
  }
  return expect(P, close);
}

static bdl_status aval_of_type(parser *P, bdl_aval *a) {
  bdl_dtype d = BDL_F32;
  ints shape = {0};
  bdl_status s = dtype(P, &d);
  if (s == BDL_OK) s = integers(P, '[', ']', &shape);
  if (s == BDL_OK && shape.n > BDL_MAX_NDIM) s = syntax(P, "more than %d axes", BDL_MAX_NDIM);
  if (s == BDL_OK) {
    *a = bdl_aval_make(d, (int32_t)shape.n, shape.v);
    s = bdl_aval_check(P->ctx, a);
  }
  BDL_VEC_FREE(P->ctx, shape);
  return s;
}

/* ---- variables ---------------------------------------------------------------------------------- */

typedef struct binder {
  char *name; /* in the program's arena */
  bdl_aval aval;
} binder;

/* The program being read. */
typedef struct scope {
  bdl_prog *p;
  bdl_map names; /* hash of a name -> atom */
} scope;

static bool look_up(const scope *S, const char *name, bdl_atom *x) {
  uint64_t v = 0;
  if (!bdl_map_get(&S->names, bdl_hash(name, strlen(name), 0), &v)) return false;
  *x = (bdl_atom)v;
  return strcmp(S->p->vars.v[*x].name, name) == 0;
}

static bdl_status define(parser *P, scope *S, const binder *b, bdl_atom x) {
  bdl_atom old = BDL_ZERO;
  if (look_up(S, b->name, &old)) return syntax(P, "'%.40s' is defined twice", b->name);
  S->p->vars.v[x].name = b->name;
  return bdl_map_put(&S->names, bdl_hash(b->name, strlen(b->name), 0), (uint64_t)x);
}

static bdl_status read_binder(parser *P, scope *S, binder *b) {
  if (P->kind != T_WORD && P->kind != T_NAME) return unexpected(P, "a name");
  b->name = bdl_arena_strdup(&S->p->arena, P->text.s);
  if (!b->name) return BDL_ENOMEM;
  TRY(next(P));
  TRY(expect(P, ':'));
  return aval_of_type(P, &b->aval);
}

/* number ":" dtype.  The dtype decides how the number is read, so look ahead for it. */
static bdl_status literal(parser *P, scope *S, bdl_atom *x) {
  const char *s = P->s;
  char name[8] = "";
  bdl_dtype d = BDL_F32;
  bdl_scalar v;
  if (s < P->end && *s == '(') { /* nan(0x..) */
    while (s < P->end && *s != ')') s++;
    s += s < P->end;
  }
  if (s < P->end && *s++ == ':')
    for (int n = 0; s < P->end && is_word_char(*s) && n < (int)sizeof name - 1; n++) name[n] = *s++;
  if (!bdl_dtype_parse(name, &d)) return syntax(P, "%.40s needs a dtype, as in 1.5:f32", P->text.s);
  TRY(number(P, d, &v));
  TRY(expect(P, ':'));
  TRY(dtype(P, &d));
  return bdl_ir_literal(S->p, d, v, x);
}

static bool is_value_word(const parser *P) {
  return is_keyword(P, "nan") || is_keyword(P, "inf") || is_keyword(P, "true") || is_keyword(P, "false");
}

/* `nan` may be a name; as a number it is followed by its dtype or bits. */
static bdl_status operand(parser *P, scope *S, bdl_atom *x) {
  const char after = P->s < P->end ? *P->s : '\0';
  if (P->kind == T_NUMBER || (is_value_word(P) && (after == ':' || after == '('))) return literal(P, S, x);
  if (P->kind != T_WORD && P->kind != T_NAME) return unexpected(P, "an operand");
  if (!look_up(S, P->text.s, x)) return syntax(P, "'%.40s' is not defined", P->text.s);
  return next(P);
}

/* ---- equations ---------------------------------------------------------------------------------- */

static bdl_status program(parser *P, bdl_prog **out);

typedef struct line {
  BDL_VEC(binder) binders;
  BDL_VEC(bdl_atom) operands;
  bdl_param *params;
  int n_params;
  bdl_arena arena; /* what params point to */
} line;

static bdl_status read_programs(parser *P, line *L, bdl_param *x) {
  BDL_VEC(bdl_prog *) list = {0};
  bool more = true;
  bdl_status s = expect(P, '{');
  while (s == BDL_OK && more) {
    bdl_prog *q = NULL;
    s = program(P, &q);
    if (s == BDL_OK && !BDL_PUSH(P->ctx, list, q)) {
      bdl_prog_unref(q);
      s = BDL_ENOMEM;
    }
    if (s == BDL_OK) s = skip(P, ',', &more);
  }
  if (s == BDL_OK) s = expect(P, '}');
  bdl_prog **copy = s == BDL_OK ? bdl_arena_alloc(&L->arena, (size_t)list.n * sizeof *copy) : NULL;
  if (s == BDL_OK && !copy) s = BDL_ENOMEM;
  if (s == BDL_OK) {
    memcpy(copy, list.v, (size_t)list.n * sizeof *copy);
    *x = bdl_pprogs(copy, (int)list.n);
  }
  for (int64_t i = 0; s != BDL_OK && i < list.n; i++) bdl_prog_unref(list.v[i]);
  BDL_VEC_FREE(P->ctx, list);
  return s;
}

static bdl_status read_ints(parser *P, line *L, bdl_param *x) {
  ints list = {0};
  bdl_status s = integers(P, '(', ')', &list);
  int64_t *copy = s == BDL_OK ? bdl_arena_alloc(&L->arena, (size_t)list.n * sizeof *copy) : NULL;
  if (s == BDL_OK && !copy) s = BDL_ENOMEM;
  if (s == BDL_OK && list.n > INT32_MAX) s = syntax(P, "the list is too long");
  if (s == BDL_OK) {
    if (list.n) memcpy(copy, list.v, (size_t)list.n * sizeof *copy);
    *x = bdl_pints(copy, (int)list.n);
  }
  BDL_VEC_FREE(P->ctx, list);
  return s;
}

static bdl_status read_param(parser *P, line *L, bdl_param_kind kind, bdl_param *x) {
  bdl_param z = {.kind = kind};
  bdl_scalar v;
  bdl_dtype d = BDL_F32;
  switch (kind) {
    case BDL_PK_INT: TRY(integer(P, INT64_MIN, INT64_MAX, &z.i)); break;
    case BDL_PK_FLOAT:
      TRY(real(P, BDL_F64, &v));
      z.f = v.f64;
      break;
    case BDL_PK_DTYPE:
      TRY(dtype(P, &d));
      z.i = d;
      break;
    case BDL_PK_STR:
      if (P->kind != T_STRING) return unexpected(P, "a string");
      if (!(z.s = bdl_arena_strdup(&L->arena, P->text.s))) return BDL_ENOMEM;
      TRY(next(P));
      break;
    case BDL_PK_HOST:
      if (!is_keyword(P, "nil")) return unexpected(P, "nil");
      z.host = NULL;
      TRY(next(P));
      break;
    case BDL_PK_INTS: return read_ints(P, L, x);
    case BDL_PK_PROGS: return read_programs(P, L, x);
  }
  *x = z;
  return BDL_OK;
}

/* [name=param ..], each parameter once. */
static bdl_status read_params(parser *P, line *L, bdl_prim_id prim) {
  const int n = bdl_prim_n_params(prim);
  int given = 0;
  bool any = false;
  L->params = bdl_arena_alloc(&L->arena, (size_t)n * sizeof *L->params);
  if (!L->params) return BDL_ENOMEM;
  L->n_params = n;
  TRY(skip(P, '[', &any));
  while (any && !is_sign(P, ']')) {
    const int i = P->kind == T_WORD ? bdl_prim_param(prim, P->text.s) : -1;
    if (P->kind != T_WORD) return unexpected(P, "a parameter");
    if (i < 0)
      return syntax(P, "%s has no parameter '%.40s', only '%s'", bdl_prims[prim].name, P->text.s, bdl_prims[prim].params);
    if (L->params[i].kind) return syntax(P, "parameter '%.40s' is given twice", P->text.s);
    TRY(next(P));
    TRY(expect(P, '='));
    TRY(read_param(P, L, bdl_prim_param_kind(prim, i), &L->params[i]));
    given++;
  }
  if (any) TRY(next(P));
  return given == n ? BDL_OK : syntax(P, "%s needs the parameters '%s'", bdl_prims[prim].name, bdl_prims[prim].params);
}

static bdl_status read_source(parser *P, bdl_src *src) {
  int64_t n = 0;
  bool any = false;
  TRY(skip(P, '@', &any));
  if (!any) return BDL_OK;
  if (P->kind != T_STRING) return unexpected(P, "a file name");
  if (!(src->file = bdl_intern(P->ctx, P->text.s))) return BDL_ENOMEM;
  TRY(next(P));
  TRY(expect(P, ':'));
  TRY(integer(P, INT32_MIN, INT32_MAX, &n));
  src->line = (int32_t)n;
  return BDL_OK;
}

/* The equation of a line that was read: its types must be the ones that the binders state. */
static bdl_status bind_line(parser *P, scope *S, line *L, bdl_prim_id prim, bdl_src src) {
  char got[BDL_AVAL_TEXT], want[BDL_AVAL_TEXT];
  bdl_eqn e = {.prim = prim, .n_in = (int32_t)L->operands.n, .n_params = bdl_prim_n_params(prim), .in = L->operands.v,
               .params = L->params, .src = src};
  TRY(bdl_prim_check(P->ctx, prim, L->params, e.n_in));
  e.n_out = bdl_ir_n_out(prim, L->params, e.n_in);
  if (e.n_out != L->binders.n)
    return syntax(P, "%s has %d results, not %" PRId64, bdl_prims[prim].name, (int)e.n_out, L->binders.n);
  bdl_atom *out = bdl_arena_alloc(&L->arena, (size_t)e.n_out * sizeof *out);
  if (!out) return BDL_ENOMEM;
  TRY(bdl_ir_bind_as_is(S->p, &e, out));
  for (int k = 0; k < e.n_out; k++) {
    const binder *b = &L->binders.v[k];
    if (!bdl_aval_eq(&b->aval, bdl_aval_of(S->p, out[k])))
      return bdl_fail(P->ctx, BDL_ETYPE, "%s gives %s, but '%.40s' is declared as %s", bdl_prims[prim].name,
                      bdl_aval_text(bdl_aval_of(S->p, out[k]), false, got), b->name, bdl_aval_text(&b->aval, false, want));
    TRY(define(P, S, b, out[k]));
  }
  return BDL_OK;
}

/* Where the text has an error of types, beside what the rule says. */
static bdl_status with_line(parser *P, bdl_status s, int64_t at, bdl_src src) {
  if (s == BDL_OK || s == BDL_ENOMEM || s == BDL_ESYNTAX) return s;
  bdl_fail(P->ctx, s, "line %" PRId64 ": %s", at, P->ctx->error.message);
  bdl_where(P->ctx, src);
  return s;
}

static bdl_status read_line(parser *P, scope *S, line *L) {
  const int64_t at = P->line;
  bdl_src src = {0};
  int prim = -1;
  /* A name before ':' is a result; before anything else it is the primitive. */
  for (bool more = true; more;) {
    const char *s = P->s;
    while (s < P->end && (*s == ' ' || *s == '\t')) s++;
    if (L->binders.n == 0 && P->kind == T_WORD && (s >= P->end || *s != ':')) break;
    binder b;
    TRY(with_line(P, read_binder(P, S, &b), at, src));
    if (!BDL_PUSH(P->ctx, L->binders, b)) return BDL_ENOMEM;
    TRY(skip(P, ',', &more));
    if (!more) TRY(expect(P, '='));
  }
  prim = P->kind == T_WORD ? bdl_prim_find(P->text.s) : -1;
  if (prim < 0) return unexpected(P, "a primitive");
  TRY(next(P));
  TRY(read_params(P, L, (bdl_prim_id)prim));
  while (!P->first_on_line && !is_sign(P, '@') && !is_sign(P, '}')) {
    bdl_atom x = BDL_ZERO;
    TRY(operand(P, S, &x));
    if (!BDL_PUSH(P->ctx, L->operands, x)) return BDL_ENOMEM;
  }
  if (L->operands.n > INT32_MAX / 4 || L->binders.n > INT32_MAX / 4) return syntax(P, "too many operands");
  TRY(read_source(P, &src));
  if (!P->first_on_line && !is_sign(P, '}')) return unexpected(P, "the end of the line");
  return with_line(P, bind_line(P, S, L, (bdl_prim_id)prim, src), at, src);
}

static bdl_status equation(parser *P, scope *S) {
  line L = {.params = NULL};
  bdl_arena_init(&L.arena, P->ctx);
  const bdl_status s = read_line(P, S, &L);
  for (int i = 0; i < L.n_params; i++)
    for (int k = 0; L.params[i].kind == BDL_PK_PROGS && k < L.params[i].n; k++) bdl_prog_unref(L.params[i].progs[k]);
  bdl_arena_fini(&L.arena);
  BDL_VEC_FREE(P->ctx, L.binders);
  BDL_VEC_FREE(P->ctx, L.operands);
  return s;
}

/* "const" was read */
static bdl_status constant(parser *P, scope *S) {
  bdl_tensor t = {.buf = NULL};
  bdl_str data;
  bdl_device *cpu = bdl_device_cpu(P->ctx);
  bdl_atom x = BDL_ZERO;
  binder b;
  int64_t n = 0;
  if (!cpu) return BDL_ENOMEM;
  TRY(read_binder(P, S, &b));
  TRY(expect(P, '='));
  TRY(expect(P, '['));
  bdl_str_init(&data, P->ctx);
  bdl_status s = BDL_OK;
  for (; s == BDL_OK && !is_sign(P, ']'); n++) {
    bdl_scalar v;
    s = number(P, b.aval.dtype, &v);
    if (s == BDL_OK) bdl_str_add(&data, (const char *)&v, (int64_t)bdl_dtype_size(b.aval.dtype));
    if (data.failed) s = BDL_ENOMEM;
  }
  if (s == BDL_OK && n != bdl_aval_numel(&b.aval))
    s = syntax(P, "%" PRId64 " numbers for the %" PRId64 " elements of '%.40s'", n, bdl_aval_numel(&b.aval), b.name);
  if (s == BDL_OK) s = bdl_tensor_new(cpu, &b.aval, &t);
  if (s == BDL_OK && n > 0) memcpy(bdl_tensor_data(&t), data.s, bdl_aval_bytes(&b.aval));
  if (s == BDL_OK) s = bdl_ir_const(S->p, &t, &x);
  if (s == BDL_OK) s = define(P, S, &b, x);
  if (t.buf) bdl_tensor_unref(&t);
  bdl_str_fini(&data);
  return s == BDL_OK ? next(P) : s;
}

/* "return" was read */
static bdl_status outputs(parser *P, scope *S) {
  BDL_VEC(bdl_atom) list = {0};
  bool more = !is_sign(P, '}') && P->kind != T_END;
  bdl_status s = BDL_OK;
  while (s == BDL_OK && more) {
    bdl_atom x = BDL_ZERO;
    s = operand(P, S, &x);
    if (s == BDL_OK && !BDL_PUSH(P->ctx, list, x)) s = BDL_ENOMEM;
    if (s == BDL_OK) s = skip(P, ',', &more);
  }
  if (s == BDL_OK && !is_sign(P, '}')) s = unexpected(P, "'}'");
  if (s == BDL_OK) s = bdl_prog_set_outputs(S->p, list.v, (int)list.n);
  BDL_VEC_FREE(P->ctx, list);
  return s;
}

static bdl_status inputs(parser *P, scope *S) {
  bool more = !is_sign(P, ')');
  while (more) {
    bdl_atom x = BDL_ZERO;
    binder b;
    TRY(read_binder(P, S, &b));
    TRY(bdl_ir_input(S->p, &b.aval, &x));
    TRY(define(P, S, &b, x));
    TRY(skip(P, ',', &more));
  }
  return expect(P, ')');
}

static bdl_status body(parser *P, scope *S) {
  TRY(expect(P, '('));
  TRY(inputs(P, S));
  TRY(expect(P, '{'));
  while (!is_sign(P, '}')) {
    if (P->kind == T_END) return unexpected(P, "'}'");
    if (is_keyword(P, "return")) {
      TRY(next(P));
      TRY(outputs(P, S));
    } else if (is_keyword(P, "const")) {
      TRY(next(P));
      TRY(constant(P, S));
    } else {
      TRY(equation(P, S));
    }
  }
  return next(P);
}

static bdl_status program(parser *P, bdl_prog **out) {
  scope S = {.p = NULL};
  if (!is_keyword(P, "program")) return unexpected(P, "'program'");
  if (P->depth >= BDL_TEXT_DEPTH) return syntax(P, "programs nest deeper than %d", BDL_TEXT_DEPTH);
  TRY(next(P));
  if (P->kind != T_WORD && P->kind != T_NAME) return unexpected(P, "the program's name");
  TRY(bdl_prog_new(P->ctx, P->text.s, &S.p));
  bdl_map_init(&S.names, P->ctx);
  P->depth++;
  bdl_status s = next(P);
  if (s == BDL_OK) s = body(P, &S);
  P->depth--;
  bdl_map_fini(&S.names);
  if (s == BDL_OK) *out = S.p;
  else bdl_prog_unref(S.p);
  return s;
}

bdl_status bdl_ir_parse(bdl_context *c, const char *text, size_t n, bdl_prog **p) {
  parser P = {.ctx = c, .s = text, .end = text + n, .line_start = text, .line = 1};
  bdl_prog *q = NULL;
  bdl_str_init(&P.text, c);
  bdl_status s = next(&P);
  if (s == BDL_OK) s = program(&P, &q);
  if (s == BDL_OK && P.kind != T_END) s = unexpected(&P, "the end of the text");
  bdl_str_fini(&P.text);
  if (s == BDL_OK) *p = q;
  else bdl_prog_unref(q);
  return s;
}

/*
** write.c -- the header and the source around the functions.
**
**     header   sizes, struct <name>_state, struct <name>_scratch, the functions, what they return
**     source   what they call (library.c), constants, first values, the functions
*/
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/context.h"
#include "export/build.h"

#define ADD(...) bdl_str_addf(o, __VA_ARGS__)

/* ---- sizes ------------------------------------------------------------------------------------------------------ */

static void upper(const char *name, char out[128]) {
  int k = 0;
  for (; name[k] && k < 127; k++) out[k] = (char)toupper((unsigned char)name[k]);
  out[k] = 0;
}

/* A struct of members of these bytes and alignments, the widest first. */
static size_t padded(size_t bytes, size_t widest) { return widest ? (bytes + widest - 1) / widest * widest : 1; }

static size_t state_bytes(const bdl_export *x) {
  size_t n = 0, widest = 0;
  for (int32_t k = 0; k < x->n_leaves; k++) {
    const bdl_aval *a = &x->leaves[k].value.aval;
    if (!x->leaves[k].written) continue;
    n += BDL_MAX(bdl_aval_bytes(a), bdl_dtype_size(a->dtype));
    widest = BDL_MAX(widest, bdl_dtype_size(a->dtype));
  }
  return padded(n, widest);
}

static const size_t class_size[BDL_X_CLASSES] = {8, 8, 4, 4, 1};

static size_t scratch_bytes(const bdl_exporter *m) {
  size_t n = 0, widest = 0;
  for (int k = 0; k < BDL_X_CLASSES; k++) {
    n += (size_t)m->scratch[k] * class_size[k];
    if (m->scratch[k]) widest = BDL_MAX(widest, class_size[k]);
  }
  return padded(n, widest);
}

static size_t constant_size(const bdl_export_constant *k) { return (size_t)k->n * (k->narrow ? 2 : bdl_dtype_size(k->dtype)); }

/* Are all elements of a leaf the same, bit for bit? */
static bool is_uniform(const bdl_export_leaf *l) {
  const size_t size = bdl_dtype_size(l->value.aval.dtype), n = bdl_aval_bytes(&l->value.aval);
  return n <= size || memcmp(l->data, (const char *)l->data + size, n - size) == 0;
}

/* Does a function name this leaf, which none writes?  One element may stand there as a literal. */
static bool is_named(const bdl_exporter *m, const bdl_export_leaf *l) {
  char name[BDL_EXPORT_PLACE];
  const size_t n = (size_t)snprintf(name, sizeof name, "fixed_%s", l->value.name);
  for (const char *at = m->text.s; (at = strstr(at, name)); at += n)
    if (!isalnum((unsigned char)at[n]) && at[n] != '_') return true;
  return false;
}

static size_t constant_bytes(const bdl_exporter *m) {
  size_t n = 0;
  for (int64_t k = 0; k < m->constants.n; k++) n += constant_size(&m->constants.v[k]);
  for (int32_t k = 0; k < m->x->n_leaves; k++) {
    const bdl_export_leaf *l = &m->x->leaves[k];
    if (l->written ? !is_uniform(l) : is_named(m, l)) n += bdl_aval_bytes(&l->value.aval);
  }
  return n;
}

static bdl_status part(bdl_exporter *m, bdl_exported *out, const char *what, const char *kind, size_t bytes) {
  bdl_export_part p = {.bytes = bytes};
  if (bytes == 0) return BDL_OK;
  snprintf(p.what, sizeof p.what, "%s%s%s", what, *kind ? " " : "", kind);
  if (!BDL_PUSH(m->c, out->parts, p)) return BDL_ENOMEM;
  for (int64_t k = out->parts.n - 1; k > 0 && out->parts.v[k].bytes > out->parts.v[k - 1].bytes; k--) {
    const bdl_export_part t = out->parts.v[k];
    out->parts.v[k] = out->parts.v[k - 1], out->parts.v[k - 1] = t;
  }
  return BDL_OK;
}

static bdl_status sizes(bdl_exporter *m, bdl_exported *out) {
  const bdl_export *x = m->x;
  char biggest[512] = "";
  out->state_bytes = state_bytes(x);
  out->scratch_bytes = scratch_bytes(m);
  out->constant_bytes = constant_bytes(m);
  for (int32_t k = 0; k < x->n_leaves; k++)
    if (x->leaves[k].written) TRY(part(m, out, "State", x->leaves[k].value.name, bdl_aval_bytes(&x->leaves[k].value.aval)));
  for (int k = 0; k < BDL_X_CLASSES; k++)
    TRY(part(m, out, "scratch", bdl_export_class_ctype[k], (size_t)m->scratch[k] * class_size[k]));
  const size_t ram = out->state_bytes + out->scratch_bytes;
  if (x->ram_limit <= 0 || ram <= (size_t)x->ram_limit) return BDL_OK;
  for (int64_t k = 0; k < out->parts.n && k < 5; k++) {
    const size_t n = strlen(biggest);
    snprintf(biggest + n, sizeof biggest - n, "%s%s %zu", k ? ", " : "", out->parts.v[k].what, out->parts.v[k].bytes);
  }
  bdl_fail(m->c, BDL_EBUDGET, "export: %s needs %zu bytes of RAM, %" PRId64 " are allowed; the largest: %s", x->name, ram, x->ram_limit,
           biggest);
  bdl_hint(m->c, "fewer neurons, a rule with smaller traces (ES_D_RTRL), or functions that keep less between their equations");
  return BDL_EBUDGET;
}

/* ---- header --------------------------------------------------------------------------------------------------------- */

static void shape(bdl_str *o, const bdl_aval *a) {
  ADD("[");
  for (int k = 0; k < a->ndim; k++) ADD("%s%" PRId64, k ? ", " : "", a->shape[k]);
  ADD("]");
}

static void note(bdl_str *o, const bdl_export_value *v) {
  ADD("  /* %s", v->aval.dtype == BDL_BOOL ? "0 or 1; " : "");
  shape(o, &v->aval);
  if (v->note && v->note[0]) ADD(" %s", v->note);
  ADD(" */\n");
}

static int64_t room(const bdl_aval *a) { return BDL_MAX(bdl_aval_numel(a), 1); }
static const char *header_type(bdl_dtype d) { return d == BDL_BOOL ? "uint8_t" : bdl_export_ctype(d); }

static void members(bdl_str *o, const bdl_export *x) {
  bool any = false;
  for (size_t size = 8; size > 0; size /= 2)
    for (int32_t k = 0; k < x->n_leaves; k++) {
      const bdl_export_value *v = &x->leaves[k].value;
      if (!x->leaves[k].written || bdl_dtype_size(v->aval.dtype) != size) continue;
      ADD("  %s %s[%" PRId64 "];", header_type(v->aval.dtype), v->name, room(&v->aval));
      note(o, v);
      any = true;
    }
  if (!any) ADD("  uint8_t nothing;\n");
}

/* In the source, names of the user stand behind a prefix: they cannot hide anything. */
static void prototype(bdl_str *o, const bdl_export *x, const bdl_export_fn *fn, bool in_header) {
  ADD("int %s_%s(%s_state *s, %s_scratch *w", x->name, fn->name, x->name, x->name);
  for (int32_t k = 0; k < fn->n_args + fn->n_results; k++) {
    const bool arg = k < fn->n_args;
    const bdl_export_value *v = arg ? &fn->args[k] : &fn->results[k - fn->n_args];
    ADD(", %s%s %s%s[%" PRId64 "]", arg ? "const " : "", header_type(v->aval.dtype), in_header ? "" : arg ? "in_" : "out_", v->name,
        room(&v->aval));
  }
  ADD(")");
}

static void functions(bdl_str *o, const bdl_export *x) {
  for (int32_t f = 0; f < x->n_fns; f++) {
    const bdl_export_fn *fn = &x->fns[f];
    ADD("/*");
    for (int32_t k = 0; k < fn->n_args + fn->n_results; k++) {
      const bool arg = k < fn->n_args;
      const bdl_export_value *v = arg ? &fn->args[k] : &fn->results[k - fn->n_args];
      ADD("%s %s %s ", k ? "\n  " : "", arg ? "in: " : "out:", v->name);
      shape(o, &v->aval);
      if (v->note && v->note[0]) ADD(" %s", v->note);
    }
    ADD(fn->n_args + fn->n_results ? " */\n" : " no arguments */\n");
    prototype(o, x, fn, true);
    ADD(";\n\n");
  }
}

static void example(bdl_str *o, const bdl_export *x) {
  const bdl_export_fn *fn = &x->fns[0];
  ADD("** Example:\n**   #include \"%s.h\"\n**   static %s_state s;\n**   static %s_scratch w;\n**   int main(void) {\n", x->name, x->name,
      x->name);
  for (int32_t k = 0; k < fn->n_args + fn->n_results; k++) {
    const bdl_export_value *v = k < fn->n_args ? &fn->args[k] : &fn->results[k - fn->n_args];
    ADD("**     %s %s[%" PRId64 "]%s;\n", header_type(v->aval.dtype), v->name, room(&v->aval), k < fn->n_args ? " = {0}" : "");
  }
  ADD("**     %s_init(&s);\n**     for (int step = 0; step < 1000; step++)\n**       if (%s_%s(&s, &w", x->name, x->name, fn->name);
  for (int32_t k = 0; k < fn->n_args + fn->n_results; k++)
    ADD(", %s", (k < fn->n_args ? &fn->args[k] : &fn->results[k - fn->n_args])->name);
  ADD(") != 0) return 1;\n**     return 0;\n**   }\n");
}

static void header(bdl_exporter *m, bdl_exported *out) {
  bdl_str *o = &out->header;
  const bdl_export *x = m->x;
  char big[128];
  upper(x->name, big);
  ADD("/*\n** %s.h -- made by `bdl export` from %s; do not edit.\n**\n", x->name, x->model);
  ADD("** RAM: %zu bytes, of which %zu are the State and %zu the scratch memory, which holds nothing between two calls.\n",
      out->state_bytes + out->scratch_bytes, out->state_bytes, out->scratch_bytes);
  ADD("** Flash: %zu bytes of constants, and the code.\n**\n", out->constant_bytes);
  ADD("** Arrays are contiguous, the last axis first.  Arguments and results may not overlap.  A function returns 0, or what went wrong,\n"
      "** and then the State is as it was:\n");
  for (int64_t k = 0; k < m->failures.n; k++) {
    const bdl_export_failure *f = &m->failures.v[k];
    ADD("**   %" PRId64 "  ", k + 1);
    for (const char *c = f->what; *c; c++) /* a comment of one line */
      if (!(c[0] == '*' && c[1] == '/')) ADD("%c", *c == '\n' ? ' ' : *c);
    if (f->src.file) ADD(" (%s:%" PRId32 ")", f->src.file, f->src.line);
    ADD("\n");
  }
  if (m->failures.n == 0) ADD("**   nothing can go wrong here.\n");
  ADD("**\n");
  example(o, x);
  ADD("*/\n#ifndef %s_H\n#define %s_H\n\n#include <stdint.h>\n\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n", big, big);
  ADD("#define %s_STATE_BYTES %zu\n#define %s_SCRATCH_BYTES %zu\n#define %s_CONSTANT_BYTES %zu\n\n", big, out->state_bytes, big,
      out->scratch_bytes, big, out->constant_bytes);
  ADD("typedef struct %s_state {\n", x->name);
  members(o, x);
  ADD("} %s_state;\n\ntypedef struct %s_scratch {\n", x->name, x->name);
  bool any = false;
  for (int k = 0; k < BDL_X_CLASSES; k++) {
    if (m->scratch[k] == 0) continue;
    ADD("  %s %s[%" PRId64 "];\n", k == BDL_X_B8 ? "uint8_t" : bdl_export_class_ctype[k], bdl_export_class_name[k], m->scratch[k]);
    any = true;
  }
  if (!any) ADD("  uint8_t nothing;\n");
  ADD("} %s_scratch;\n\n/* The State as it was when the model was exported. */\nvoid %s_init(%s_state *s);\n\n", x->name, x->name, x->name);
  functions(o, x);
  ADD("#ifdef __cplusplus\n}\n#endif\n\n#endif\n");
}

/* ---- source -------------------------------------------------------------------------------------------------------------- */

static void array(bdl_str *o, const char *type, const char *prefix, const char *name, bdl_dtype d, int64_t n, const void *data) {
  const size_t size = bdl_dtype_size(d);
  int64_t column = 0;
  ADD("static const %s %s%s[%" PRId64 "] = {", type, prefix, name, BDL_MAX(n, 1));
  if (n <= 0) ADD("0");
  for (int64_t k = 0; k < n; k++) {
    const int64_t before = o->n;
    if (column > 100 || (k == 0 && n > 8)) ADD("\n  "), column = 0;
    bdl_export_literal(o, d, (const char *)data + (size_t)k * size, true);
    if (k + 1 < n) ADD(", ");
    column += o->n - before;
  }
  ADD("};\n");
}

static void constants(bdl_exporter *m, bdl_str *o) {
  char name[32];
  for (int64_t k = 0; k < m->constants.n; k++) {
    const bdl_export_constant *c = &m->constants.v[k];
    snprintf(name, sizeof name, "%" PRId64, k);
    array(o, c->narrow ? "uint16_t" : bdl_export_ctype(c->dtype), "data_", name, c->dtype, c->n, c->data);
  }
}

static void first_values(bdl_exporter *m, bdl_str *o) {
  const bdl_export *x = m->x;
  for (int32_t k = 0; k < x->n_leaves; k++) {
    const bdl_export_leaf *l = &x->leaves[k];
    const bdl_aval *a = &l->value.aval;
    if (l->written ? is_uniform(l) : !is_named(m, l)) continue;
    array(o, bdl_export_ctype(a->dtype), l->written ? "first_" : "fixed_", l->value.name, a->dtype, bdl_aval_numel(a), l->data);
  }
  ADD("\nvoid %s_init(%s_state *s) {\n  (void)s;\n", x->name, x->name);
  for (int32_t k = 0; k < x->n_leaves; k++) {
    const bdl_export_leaf *l = &x->leaves[k];
    const bdl_aval *a = &l->value.aval;
    if (!l->written || bdl_aval_numel(a) == 0) continue;
    if (!is_uniform(l)) {
      ADD("  memcpy(s->%s, first_%s, sizeof first_%s);\n", l->value.name, l->value.name, l->value.name);
      continue;
    }
    ADD("  for (int32_t i = 0; i < %" PRId64 "; i++) s->%s[i] = ", bdl_aval_numel(a), l->value.name);
    bdl_export_literal(o, a->dtype, l->data, true);
    ADD(";\n");
  }
  ADD("}\n");
}

static bdl_status source(bdl_exporter *m, bdl_exported *out) {
  bdl_str *o = &out->source, consts;
  const bdl_export *x = m->x;
  char big[128];
  upper(x->name, big);
  bdl_str_init(&consts, m->c);
  constants(m, &consts);
  first_values(m, &consts);
  bdl_status s = consts.failed ? BDL_ENOMEM : bdl_export_library_take(m->lib, m->text.s, m->text.n, NULL);
  ADD("/*\n** %s.c -- made by `bdl export` from %s; do not edit.  C99; see %s.h.\n**\n", x->name, x->model, x->name);
  ADD("** Its results are those of bdl bit for bit where floats are IEEE 754 and computed in their own type (FLT_EVAL_METHOD 0; on\n"
      "** 32-bit x86: -msse2 -mfpmath=sse), on any compiler that neither contracts a * b + c nor relaxes floats (-ffast-math).\n*/\n");
  ADD("#include \"%s.h\"\n\n#include <stdbool.h>\n", x->name);
  if (bdl_export_library_uses_libm(m->lib)) ADD("#include <math.h>\n");
  ADD("#include <string.h>\n\n#if defined(__FAST_MATH__)\n#error \"%s.c: compile without -ffast-math\"\n#endif\n", x->name);
  ADD("#if defined(__GNUC__) && !defined(__clang__)\n#pragma GCC optimize(\"fp-contract=off\")\n#else\n#pragma STDC FP_CONTRACT OFF\n#endif\n\n");
  ADD("/* ---- what the functions call: kernels/export of bdl ---- */\n\n");
  bdl_export_library_write(m->lib, o);
  ADD("\n/* ---- constants and first values ---- */\n\n");
  bdl_str_add(o, consts.s, consts.n);
  ADD("\n/* ---- functions ---- */\n\n");
  ADD("typedef char %s_sizes[sizeof(%s_state) <= %s_STATE_BYTES && sizeof(%s_scratch) <= %s_SCRATCH_BYTES ? 1 : -1];\n\n", x->name, x->name, big,
      x->name, big);
  bdl_str_add(o, m->text.s, m->text.n);
  bdl_str_fini(&consts);
  return s == BDL_OK && o->failed ? BDL_ENOMEM : s;
}

/* ---- all ------------------------------------------------------------------------------------------------------------------- */

/* Positions fit 32 bits on a device. */
static bdl_status check_extents(bdl_exporter *m, const bdl_plan *plan) {
  for (int64_t k = 0; k < plan->slots.n; k++)
    if (plan->slots.v[k].bytes > INT32_MAX)
      return bdl_fail(m->c, BDL_ENOTSUP, "export: an array of %zu bytes; at most 2^31 - 1 fit", plan->slots.v[k].bytes);
  return BDL_OK;
}

static bdl_status write(bdl_exporter *m, bdl_exported *out) {
  const bdl_export *x = m->x;
  TRY(bdl_export_library_new(m->c, x->own_math, bdl_export_device, &m->lib));
  for (int32_t f = 0; f < x->n_fns; f++) {
    TRY(check_extents(m, x->fns[f].plan));
    prototype(&m->text, x, &x->fns[f], false);
    bdl_str_addf(&m->text, " {\n");
    TRY(bdl_export_function(m, &x->fns[f]));
    bdl_str_addf(&m->text, "}\n\n");
  }
  TRY(sizes(m, out));
  TRY(source(m, out));
  header(m, out);
  return out->header.failed ? BDL_ENOMEM : BDL_OK;
}

bdl_status bdl_export_write(bdl_context *c, const bdl_export *x, bdl_exported *out) {
  bdl_exporter m = {.c = c, .to = &bdl_export_to_c99, .x = x};
  *out = (bdl_exported){0};
  bdl_str_init(&m.text, c);
  bdl_str_init(&out->source, c);
  bdl_str_init(&out->header, c);
  const bdl_status s = write(&m, out);
  bdl_export_places_free(&m);
  bdl_export_library_free(m.lib);
  for (int64_t k = 0; k < m.constants.n; k++) if (m.constants.v[k].own) bdl_free(c, (void *)(uintptr_t)m.constants.v[k].data, m.constants.v[k].own);
  BDL_VEC_FREE(c, m.constants);
  BDL_VEC_FREE(c, m.failures);
  bdl_str_fini(&m.text);
  if (s != BDL_OK) bdl_exported_free(c, out);
  return s;
}

void bdl_exported_free(bdl_context *c, bdl_exported *out) {
  bdl_str_fini(&out->source);
  bdl_str_fini(&out->header);
  BDL_VEC_FREE(c, out->parts);
}

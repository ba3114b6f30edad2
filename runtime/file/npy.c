/*
** npy.c -- .npy:  "\x93NUMPY", version (2), length of the text (2; 4 from version 2 on), text, numbers.
**   the text is a dict of Python:  {'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }
*/
#include "file/npy.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/context.h"

#define MAGIC "\x93NUMPY"
enum { MAGIC_SIZE = 6, TEXT_MOST = 65536, ALIGN = 64, GROWTH = 21 /* digits of the largest extent */ };

static bool big_endian(void) {
  const uint16_t one = 1;
  return *(const uint8_t *)&one == 0;
}

/* ---- dtypes ---- */

typedef enum form { BOOL, I8, I16, I32, I64, U8, U16, U32, U64, F16, F32, F64, NUMPYS, BF16 = NUMPYS, FORMS } form;

static const struct {
  char code[3];
  uint8_t size;
  bdl_dtype dtype;
} forms[FORMS] = {
  [BOOL] = {"b1", 1, BDL_BOOL}, [I8] = {"i1", 1, BDL_I32},   [I16] = {"i2", 2, BDL_I32}, [I32] = {"i4", 4, BDL_I32},
  [I64] = {"i8", 8, BDL_I64},   [U8] = {"u1", 1, BDL_I32},   [U16] = {"u2", 2, BDL_I32}, [U32] = {"u4", 4, BDL_U32},
  [U64] = {"u8", 8, BDL_I64},   [F16] = {"f2", 2, BDL_F32},  [F32] = {"f4", 4, BDL_F32}, [F64] = {"f8", 8, BDL_F64},
  [BF16] = {"bf", 2, BDL_F32},
};

/* ---- the header's text ---- */

typedef struct text {
  const bdl_member *m;
  const char *s; /* ends with \0 */
  size_t at, n;
  uint64_t origin; /* of s in the member */
} text;

static bdl_status text_fail(const text *t, const char *what) {
  return bdl_member_fail(t->m, BDL_EIO, t->origin + t->at, "%s", what);
}

static char look(text *t) {
  while (t->at < t->n && t->s[t->at] && strchr(" \n\t\r", t->s[t->at])) t->at++;
  return t->at < t->n ? t->s[t->at] : '\0';
}

static bool skip(text *t, char c) {
  if (look(t) != c) return false;
  t->at++;
  return true;
}

static bdl_status expect(text *t, char c) {
  const char what[] = {'\'', c, '\'', ' ', 'e', 'x', 'p', 'e', 'c', 't', 'e', 'd', '\0'};
  return skip(t, c) ? BDL_OK : text_fail(t, what);
}

/* 'word', without escapes */
static bdl_status quoted(text *t, char word[32]) {
  const char quote = look(t);
  if (quote != '\'' && quote != '"') return text_fail(t, "a string expected");
  const char *from = t->s + t->at + 1, *to = memchr(from, quote, t->n - t->at - 1);
  if (!to || to - from >= 32) return text_fail(t, "a string of less than 32 characters expected");
  memcpy(word, from, (size_t)(to - from));
  word[to - from] = '\0';
  t->at += (size_t)(to - from) + 2;
  return BDL_OK;
}

static bdl_status truth(text *t, bool *value) {
  look(t);
  for (int i = 0; i < 2; i++) {
    const char *word = i ? "True" : "False";
    if (t->n - t->at < strlen(word) || memcmp(t->s + t->at, word, strlen(word)) != 0) continue;
    *value = i;
    t->at += strlen(word);
    return BDL_OK;
  }
  return text_fail(t, "True or False expected");
}

static bdl_status extent(text *t, int64_t *value) {
  int64_t v = 0;
  if (look(t) < '0' || look(t) > '9') return text_fail(t, "an extent (0, 1, 2, ..) expected");
  for (; t->at < t->n && t->s[t->at] >= '0' && t->s[t->at] <= '9'; t->at++) {
    const int digit = t->s[t->at] - '0';
    if (v > (INT64_MAX - digit) / 10) return text_fail(t, "an extent beyond 2^63");
    v = 10 * v + digit;
  }
  if (t->at < t->n && t->s[t->at] == 'L') t->at++; /* Python 2 wrote 3L */
  *value = v;
  return BDL_OK;
}

static bdl_status shape(text *t, bdl_aval *a) {
  TRY(expect(t, '('));
  a->ndim = 0;
  while (!skip(t, ')')) {
    if (a->ndim == BDL_MAX_NDIM)
      return bdl_member_fail(t->m, BDL_ENOTSUP, t->origin + t->at, "more axes than the %d that a tensor can have",
                             BDL_MAX_NDIM);
    TRY(extent(t, &a->shape[a->ndim++]));
    if (!skip(t, ',') && (look(t) != ')' || a->ndim == 1)) return text_fail(t, "',' expected"); /* (3) is no tuple */
  }
  return BDL_OK;
}

static bdl_status unsupported(const text *t, const char *what) {
  bdl_member_fail(t->m, BDL_ENOTSUP, t->origin + t->at, "%s", what);
  bdl_hint(t->m->source->ctx, "bool, integers of 8 to 64 bits and floats of 16 to 64 bits are read; convert with NumPy's astype");
  return BDL_ENOTSUP;
}

static bdl_status descr(text *t, bdl_npy *h) {
  char word[32], what[64];
  const size_t at = t->at;
  if (look(t) == '[') return unsupported(t, "an array of records");
  TRY(quoted(t, word));
  for (h->form = 0; h->form < NUMPYS; h->form++)
    if (word[0] && strcmp(word + 1, forms[h->form].code) == 0) break;
  const bool known = word[0] == '<' || word[0] == '>' || word[0] == '=' || (word[0] == '|' && h->form < NUMPYS && forms[h->form].size == 1);
  if (h->form == NUMPYS || !known) {
    t->at = at;
    snprintf(what, sizeof what, "dtype '%s'", word);
    for (char *p = what; *p; p++) *p = *p < 32 || *p > 126 ? '?' : *p;
    return unsupported(t, what);
  }
  h->swapped = forms[h->form].size > 1 && word[0] == (big_endian() ? '<' : '>');
  h->aval.dtype = forms[h->form].dtype;
  return BDL_OK;
}

static bdl_status dict(text *t, bdl_npy *h) {
  unsigned seen = 0;
  TRY(expect(t, '{'));
  while (!skip(t, '}')) {
    char key[32];
    unsigned bit = 0;
    TRY(quoted(t, key));
    TRY(expect(t, ':'));
    look(t);
    if (!strcmp(key, "descr")) bit = 1;
    else if (!strcmp(key, "fortran_order")) bit = 2;
    else if (!strcmp(key, "shape")) bit = 4;
    if (!bit || (seen & bit))
      return text_fail(t, bit ? "a key given twice" : "not one of the keys descr, fortran_order, shape");
    seen |= bit;
    TRY(bit == 1 ? descr(t, h) : bit == 2 ? truth(t, &h->fortran) : shape(t, &h->aval));
    if (!skip(t, ',') && look(t) != '}') return text_fail(t, "',' or '}' expected");
  }
  if (seen != 7) return text_fail(t, "descr, fortran_order and shape are needed");
  return look(t) == '\0' && t->at == t->n ? BDL_OK : text_fail(t, "text after the header");
}

bdl_status bdl_npy_header(bdl_member *m, bdl_npy *h) {
  uint8_t head[MAGIC_SIZE + 6];
  bdl_context *c = m->source->ctx;
  memset(h, 0, sizeof *h);
  TRY(bdl_member_read(m, head, MAGIC_SIZE + 2));
  if (memcmp(head, MAGIC, MAGIC_SIZE) != 0)
    return bdl_member_fail(m, BDL_EIO, 0, "no array: a .npy begins with \\x93NUMPY");
  const int version = head[MAGIC_SIZE], wide = version > 1 ? 4 : 2;
  if (version < 1 || version > 3 || head[MAGIC_SIZE + 1] != 0)
    return bdl_member_fail(m, BDL_EIO, MAGIC_SIZE, "version %d.%d of .npy; 1.0, 2.0 and 3.0 are read", version,
                           head[MAGIC_SIZE + 1]);
  TRY(bdl_member_read(m, head + MAGIC_SIZE + 2, (size_t)wide));
  size_t n = 0;
  for (int i = wide; i-- > 0;) n = n << 8 | head[MAGIC_SIZE + 2 + i];
  if (n > TEXT_MOST)
    return bdl_member_fail(m, BDL_EIO, MAGIC_SIZE + 2, "a header of %zu bytes; an array's has less than %d", n,
                           TEXT_MOST);
  char *s = bdl_alloc(c, n + 1);
  if (!s) return BDL_ENOMEM;
  text t = {.m = m, .s = s, .n = n, .origin = m->given};
  bdl_status status = bdl_member_read(m, s, n);
  s[n] = '\0';
  if (status == BDL_OK) status = dict(&t, h);
  bdl_free(c, s, n + 1);
  TRY(status);
  h->data_at = m->given;
  if (bdl_aval_check(c, &h->aval) != BDL_OK) return bdl_member_fail(m, BDL_EIO, t.origin, "%s", c->error.message);
  const uint64_t size = (uint64_t)bdl_aval_numel(&h->aval) * forms[h->form].size;
  if (m->size - m->given != size) {
    char aval[BDL_AVAL_TEXT];
    return bdl_member_fail(m, BDL_EIO, m->given, "%" PRIu64 " bytes follow, %s of '%s' needs %" PRIu64,
                           m->size - m->given,
                           strchr(bdl_aval_text(&h->aval, true, aval), '['), forms[h->form].code, size);
  }
  return BDL_OK;
}

int bdl_npy_form(const char *code, bdl_npy *h) {
  for (h->form = 0; h->form < FORMS; h->form++) {
    if (strcmp(code, forms[h->form].code) != 0) continue;
    h->aval.dtype = forms[h->form].dtype;
    h->swapped = forms[h->form].size > 1 && big_endian();
    return forms[h->form].size;
  }
  return 0;
}

size_t bdl_npy_print(const bdl_aval *a, char out[BDL_NPY_HEADER]) {
  enum { START = MAGIC_SIZE + 4 };
  int f = 0, n = 0, first = 0;
  while (forms[f].dtype != a->dtype || forms[f].size != bdl_dtype_size(a->dtype)) f++;
  n = snprintf(out + START, BDL_NPY_HEADER - START, "{'descr': '%c%s', 'fortran_order': False, 'shape': (",
               f == BOOL ? '|' : big_endian() ? '>' : '<', forms[f].code);
  for (int i = 0; i < a->ndim; i++) {
    const int k = snprintf(out + START + n, (size_t)(BDL_NPY_HEADER - START - n), i ? ", %" PRId64 : "%" PRId64,
                           a->shape[i]);
    if (i == 0) first = k;
    n += k;
  }
  n += snprintf(out + START + n, (size_t)(BDL_NPY_HEADER - START - n), "%s), }%*s", a->ndim == 1 ? "," : "",
                a->ndim ? GROWTH - first : 0, "");
  const int pad = ALIGN - (START + n + 1) % ALIGN; /* numpy pads by 64 where none is needed, too */
  memset(out + START + n, ' ', (size_t)pad);
  n += pad;
  out[START + n++] = '\n';
  memcpy(out, MAGIC "\1\0", MAGIC_SIZE + 2);
  out[MAGIC_SIZE + 2] = (char)(n & 255);
  out[MAGIC_SIZE + 3] = (char)(n >> 8);
  n += START;
  return (size_t)n;
}

/* ---- numbers ---- */

/* IEEE 754 binary16; every value is a float. */
static float half(uint16_t h) {
  const int exponent = h >> 10 & 31, fraction = h & 1023;
  const float magnitude = exponent == 31 ? (fraction ? NAN : INFINITY)
                          : exponent     ? ldexpf((float)(fraction + 1024), exponent - 25)
                                         : ldexpf((float)fraction, -24);
  return h >> 15 ? -magnitude : magnitude;
}

static void swap_bytes(uint8_t *p, int size) {
  for (int i = 0, k = size - 1; i < k; i++, k--) {
    const uint8_t byte = p[i];
    p[i] = p[k];
    p[k] = byte;
  }
}

/* A stored number as bdl holds it.  False: it does not fit. */
static bool convert(form f, const uint8_t *p, void *out) {
  union {
    int16_t i16;
    uint16_t u16;
    uint64_t u64;
  } v;
  int32_t i = 0;
  switch (f) {
  case BOOL: *(bool *)out = *p != 0; return true;
  case I8: i = *p - (*p >= 128 ? 256 : 0); break;
  case U8: i = *p; break;
  case I16: memcpy(&v, p, 2), i = v.i16; break;
  case U16: memcpy(&v, p, 2), i = v.u16; break;
  case F16: {
    memcpy(&v, p, 2);
    const float x = half(v.u16);
    memcpy(out, &x, sizeof x);
    return true;
  }
  case BF16: {
    uint32_t bits;
    memcpy(&v, p, 2);
    bits = (uint32_t)v.u16 << 16;
    memcpy(out, &bits, sizeof bits);
    return true;
  }
  case U64:
    memcpy(&v, p, 8);
    memcpy(out, p, 8);
    return v.u64 <= INT64_MAX;
  default: memcpy(out, p, forms[f].size); return true;
  }
  memcpy(out, &i, sizeof i);
  return true;
}

/* Where the numbers go, one after the other as the file has them: in steps of the C order. */
typedef struct walk {
  const bdl_npy *h;
  int64_t index[BDL_MAX_NDIM], stride[BDL_MAX_NDIM], position;
} walk;

static walk walk_begin(const bdl_npy *h) {
  walk w = {.h = h};
  for (int64_t i = h->aval.ndim - 1, n = 1; i >= 0; n *= h->aval.shape[i--]) w.stride[i] = n;
  return w;
}

static void walk_next(walk *w) {
  if (!w->h->fortran) {
    w->position++;
    return;
  }
  for (int i = 0; i < w->h->aval.ndim; i++) {
    w->position += w->stride[i];
    if (++w->index[i] < w->h->aval.shape[i]) return;
    w->position -= w->stride[i] * w->h->aval.shape[i];
    w->index[i] = 0;
  }
}

bdl_status bdl_npy_data(bdl_member *m, const bdl_npy *h, void *data) {
  enum { CHUNK = 8192 };
  const int size = forms[h->form].size;
  const size_t width = bdl_dtype_size(h->aval.dtype);
  int64_t left = bdl_aval_numel(&h->aval);
  if (h->form != BOOL && !h->swapped && !(h->fortran && h->aval.ndim > 1) && width == (size_t)size && h->form != U64)
    return bdl_member_read(m, data, (size_t)left * width);
  uint8_t *chunk = bdl_alloc(m->source->ctx, (size_t)CHUNK * 8);
  bdl_status s = chunk ? BDL_OK : BDL_ENOMEM;
  walk w = walk_begin(h);
  for (int64_t n; s == BDL_OK && left > 0; left -= n) {
    const uint64_t at = m->given;
    n = BDL_MIN(left, (int64_t)CHUNK);
    s = bdl_member_read(m, chunk, (size_t)(n * size));
    for (int64_t i = 0; s == BDL_OK && i < n; i++, walk_next(&w)) {
      uint8_t *p = chunk + i * size;
      if (h->swapped) swap_bytes(p, size);
      if (convert((form)h->form, p, (char *)data + (size_t)w.position * width)) continue;
      s = bdl_member_fail(m, BDL_EVALUE, at + (uint64_t)(i * size),
                          "a number of uint64 beyond 2^63 - 1, the largest of int64");
    }
  }
  bdl_free(m->source->ctx, chunk, (size_t)CHUNK * 8);
  return s;
}

/*
** raw.c -- what raw.h promises: a source read through members of it, a sink.
*/
#include "file/raw.h"

#include "base/context.h"
#include "file/npy.h"

struct bdl_raw {
  bdl_source source;
};

struct bdl_raw_writer {
  bdl_sink sink;
};

/* ---- reading ---- */

static bdl_status make(bdl_context *c, bdl_raw **f) {
  *f = bdl_calloc(c, sizeof **f);
  return *f ? BDL_OK : BDL_ENOMEM;
}

static bdl_status opened(bdl_context *c, bdl_status s, bdl_raw **f) {
  if (s != BDL_OK) bdl_free(c, *f, sizeof **f), *f = NULL;
  return s;
}

bdl_status bdl_raw_open(bdl_context *c, const char *path, bdl_raw **f) {
  TRY(make(c, f));
  return opened(c, bdl_source_open(c, path, &(*f)->source), f);
}

bdl_status bdl_raw_open_bytes(bdl_context *c, const char *name, const void *bytes, size_t n, bdl_raw **f) {
  TRY(make(c, f));
  return opened(c, bdl_source_bytes(c, name, bytes, n, &(*f)->source), f);
}

void bdl_raw_close(bdl_raw *f) {
  if (!f) return;
  bdl_context *c = f->source.ctx;
  bdl_source_close(&f->source);
  bdl_free(c, f, sizeof *f);
}

uint64_t bdl_raw_size(const bdl_raw *f) { return f->source.size; }

bdl_status bdl_raw_bytes(const bdl_raw *f, uint64_t at, void *data, size_t n) { return bdl_source_read(&f->source, at, data, n); }

int bdl_raw_form(const char *code, bdl_dtype *dtype) {
  bdl_npy h = {0};
  const int size = bdl_npy_form(code, &h);
  if (size) *dtype = h.aval.dtype;
  return size;
}

bdl_status bdl_raw_numbers(const bdl_raw *f, const char *name, uint64_t at, const char *code, const bdl_aval *a, void *data, uint32_t *crc) {
  bdl_npy h = {0};
  const uint64_t size = (uint64_t)bdl_aval_numel(a) * (uint64_t)bdl_npy_form(code, &h);
  h.aval = *a;
  if (at > f->source.size || size > f->source.size - at)
    return bdl_source_fail(&f->source, at, "the file ends before the array '%s'", name);
  bdl_member m = {.source = &f->source, .name = name, .at = at, .end = at + size, .size = size};
  TRY(bdl_npy_data(&m, &h, data));
  *crc = m.crc;
  return BDL_OK;
}

/* ---- writing ---- */

bdl_status bdl_raw_create(bdl_context *c, const char *path, bdl_raw_writer **w) {
  const uint16_t one = 1;
  if (*(const uint8_t *)&one == 0) return bdl_fail(c, BDL_ENOTSUP, "%s: files of this kind are written on little-endian machines alone", path);
  bdl_raw_writer *made = bdl_calloc(c, sizeof *made);
  if (!made) return BDL_ENOMEM;
  const bdl_status s = bdl_sink_open(c, path, false, &made->sink);
  if (s == BDL_OK) *w = made;
  else bdl_free(c, made, sizeof *made);
  return s;
}

bdl_status bdl_raw_write(bdl_raw_writer *w, const void *data, size_t n) { return bdl_sink_write(&w->sink, data, n); }

bdl_status bdl_raw_finish(bdl_raw_writer *w) {
  const bdl_status s = bdl_sink_commit(&w->sink);
  bdl_raw_discard(w);
  return s;
}

void bdl_raw_discard(bdl_raw_writer *w) {
  if (!w) return;
  bdl_context *c = w->sink.ctx;
  bdl_sink_close(&w->sink);
  bdl_free(c, w, sizeof *w);
}

uint32_t bdl_raw_crc(const void *data, size_t n) { return n ? (uint32_t)crc32_z(0, data, n) : 0; }

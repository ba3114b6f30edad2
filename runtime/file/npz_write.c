/*
** npz_write.c -- what file.h promises to writers.  Arrays that grow wait in spools, for a zip has its members one after
** the other.
*/
#include <string.h>

#include "file/file.h"
#include "file/npy.h"

struct bdl_npz_rows {
  bdl_npz_writer *writer;
  const char *name;
  bdl_aval row;
  int64_t n;
  bdl_sink spool;
};

struct bdl_npz_writer {
  bdl_context *ctx;
  bdl_sink sink;
  bool alone; /* a .npy */
  bdl_zip_writer zip;
  bdl_arena arena;
  BDL_VEC(const char *) names;
  BDL_VEC(bdl_npz_rows *) rows; /* in the arena */
};

static bool ends_with(const char *s, const char *end) {
  const size_t n = strlen(s), k = strlen(end);
  return n >= k && strcmp(s + n - k, end) == 0;
}

bdl_status bdl_npz_create(bdl_context *c, const char *path, bool compress, bdl_npz_writer **out) {
  bdl_npz_writer *w = bdl_calloc(c, sizeof *w);
  if (!w) return BDL_ENOMEM;
  w->ctx = c;
  w->sink.fd = -1;
  w->alone = ends_with(path, ".npy");
  bdl_arena_init(&w->arena, c);
  bdl_status s = bdl_sink_open(c, path, false, &w->sink);
  if (s == BDL_OK && !w->alone) s = bdl_zip_create(&w->sink, compress, &w->zip);
  if (s == BDL_OK) *out = w;
  else bdl_npz_discard(w);
  return s;
}

/* Keeps the name of a new array. */
static bdl_status take_name(bdl_npz_writer *w, const char *name, const char **kept) {
  const size_t most = 0xffff - 4;
  if (w->alone && w->names.n > 0)
    return bdl_fail(w->ctx, BDL_EVALUE,
                    "%s: a .npy holds one array, and has '%s'; name the file .npz to have '%s' too", w->sink.path,
                    w->names.v[0], name);
  if (!*name || strlen(name) > most)
    return bdl_fail(w->ctx, BDL_EVALUE, "%s: an array's name has 1 to %zu bytes", w->sink.path, most);
  for (int64_t i = 0; i < w->names.n; i++)
    if (!strcmp(w->names.v[i], name))
      return bdl_fail(w->ctx, BDL_EVALUE, "%s has an array '%s' already", w->sink.path, name);
  *kept = bdl_arena_strdup(&w->arena, name);
  return *kept && BDL_PUSH(w->ctx, w->names, *kept) ? BDL_OK : BDL_ENOMEM;
}

static bdl_status write_bytes(bdl_npz_writer *w, const void *data, size_t n) {
  return w->alone ? bdl_sink_write(&w->sink, data, n) : bdl_zip_write(&w->zip, data, n);
}

/* An array's member up to its numbers. */
static bdl_status begin(bdl_npz_writer *w, const char *name, const bdl_aval *a) {
  char head[BDL_NPY_HEADER];
  const size_t n = bdl_npy_print(a, head);
  if (!w->alone) {
    bdl_str member;
    bdl_str_init(&member, w->ctx);
    bdl_str_addf(&member, "%s.npy", name);
    const bdl_status s = member.failed ? BDL_ENOMEM : bdl_zip_begin(&w->zip, member.s, n + bdl_aval_bytes(a));
    bdl_str_fini(&member);
    TRY(s);
  }
  return write_bytes(w, head, n);
}

static bdl_status end(bdl_npz_writer *w) { return w->alone ? BDL_OK : bdl_zip_end(&w->zip); }

bdl_status bdl_npz_put(bdl_npz_writer *w, const char *name, const bdl_aval *a, const void *data) {
  TRY(bdl_aval_check(w->ctx, a));
  TRY(take_name(w, name, &name));
  TRY(begin(w, name, a));
  TRY(write_bytes(w, data, bdl_aval_bytes(a)));
  return end(w);
}

bdl_status bdl_npz_put_text(bdl_npz_writer *w, const char *name, const char *text, size_t n) {
  if (w->alone || !ends_with(name, BDL_NPZ_TEXT))
    return bdl_fail(w->ctx, BDL_EVALUE, "%s: a text is in a .npz and ends in " BDL_NPZ_TEXT ", not '%s'", w->sink.path,
                    name);
  TRY(take_name(w, name, &name));
  TRY(bdl_zip_begin(&w->zip, name, n));
  TRY(bdl_zip_write(&w->zip, text, n));
  return bdl_zip_end(&w->zip);
}

bdl_status bdl_npz_rows_new(bdl_npz_writer *w, const char *name, const bdl_aval *row, bdl_npz_rows **out) {
  TRY(bdl_aval_check(w->ctx, row));
  if (row->ndim == BDL_MAX_NDIM)
    return bdl_fail(w->ctx, BDL_EVALUE, "%s: rows of '%s' have %d axes, one more than fits", w->sink.path, name,
                    row->ndim);
  TRY(take_name(w, name, &name));
  bdl_npz_rows *r = bdl_arena_alloc(&w->arena, sizeof *r);
  if (!r || !BDL_RESERVE(w->ctx, w->rows, w->rows.n + 1)) return BDL_ENOMEM;
  *r = (bdl_npz_rows){.writer = w, .name = name, .row = *row};
  TRY(bdl_sink_open(w->ctx, w->sink.path, true, &r->spool));
  w->rows.v[w->rows.n++] = r;
  *out = r;
  return BDL_OK;
}

const bdl_aval *bdl_npz_rows_type(const bdl_npz_rows *r) { return &r->row; }

bdl_status bdl_npz_rows_add(bdl_npz_rows *r, const void *rows, int64_t n) {
  const bdl_aval a = bdl_aval_make(r->row.dtype, 1, &n);
  TRY(bdl_aval_check(r->writer->ctx, &a));
  TRY(bdl_sink_write(&r->spool, rows, (size_t)n * bdl_aval_bytes(&r->row)));
  r->n += n;
  return BDL_OK;
}

static bdl_status move_rows(bdl_npz_writer *w, bdl_npz_rows *r, uint8_t *buffer) {
  bdl_aval a = {.dtype = r->row.dtype, .ndim = r->row.ndim + 1, .shape = {r->n}};
  memcpy(a.shape + 1, r->row.shape, (size_t)r->row.ndim * sizeof *a.shape);
  TRY(bdl_aval_check(w->ctx, &a));
  TRY(begin(w, r->name, &a));
  for (uint64_t at = 0, n; at < r->spool.size; at += n) {
    n = BDL_MIN(r->spool.size - at, (uint64_t)BDL_SINK_BUFFER);
    TRY(bdl_sink_reread(&r->spool, at, buffer, (size_t)n));
    TRY(write_bytes(w, buffer, (size_t)n));
  }
  bdl_sink_close(&r->spool);
  return end(w);
}

static bdl_status complete(bdl_npz_writer *w, uint8_t *buffer) {
  if (w->alone && w->names.n == 0)
    return bdl_fail(w->ctx, BDL_EVALUE, "%s: a .npy holds one array, but has none", w->sink.path);
  for (int64_t i = 0; i < w->rows.n; i++) TRY(move_rows(w, w->rows.v[i], buffer));
  if (!w->alone) TRY(bdl_zip_finish(&w->zip));
  return bdl_sink_commit(&w->sink);
}

bdl_status bdl_npz_finish(bdl_npz_writer *w) {
  bdl_context *c = w->ctx;
  uint8_t *buffer = bdl_alloc(c, BDL_SINK_BUFFER);
  const bdl_status s = buffer ? complete(w, buffer) : BDL_ENOMEM;
  bdl_free(c, buffer, BDL_SINK_BUFFER);
  bdl_npz_discard(w);
  return s;
}

void bdl_npz_discard(bdl_npz_writer *w) {
  if (!w) return;
  bdl_context *c = w->ctx;
  for (int64_t i = 0; i < w->rows.n; i++) bdl_sink_close(&w->rows.v[i]->spool);
  bdl_zip_writer_close(&w->zip);
  bdl_sink_close(&w->sink);
  BDL_VEC_FREE(c, w->rows);
  BDL_VEC_FREE(c, w->names);
  bdl_arena_fini(&w->arena);
  bdl_free(c, w, sizeof *w);
}

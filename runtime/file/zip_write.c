/*
** zip_write.c -- archives: every member's header is patched when its sizes and checksum are known.
** Times are those of the format's epoch, so that equal arrays make equal files.
*/
#include <string.h>

#include "file/zip.h"

/* ---- zlib's memory: its free does not know sizes, so each block begins with its own ---- */

enum { BLOCK_HEAD = 16 };

static void *zlib_alloc(void *c, uInt n, uInt size) {
  const size_t bytes = (size_t)n * size + BLOCK_HEAD;
  uint8_t *p = bdl_alloc(c, bytes);
  if (!p) return NULL;
  memcpy(p, &bytes, sizeof bytes);
  return p + BLOCK_HEAD;
}

static void zlib_free(void *c, void *block) {
  uint8_t *p = (uint8_t *)block - BLOCK_HEAD;
  size_t bytes;
  memcpy(&bytes, p, sizeof bytes);
  bdl_free(c, p, bytes);
}

void bdl_zip_memory(bdl_context *c, z_stream *z) {
  z->zalloc = zlib_alloc;
  z->zfree = zlib_free;
  z->opaque = c;
}

/* ---- records ---- */

typedef struct record {
  uint8_t bytes[128];
  size_t n;
} record;

static void add(record *r, uint64_t v, int size) {
  for (int i = 0; i < size; i++) r->bytes[r->n++] = (uint8_t)(v >> 8 * i);
}

enum { VERSION = 20, VERSION_64 = 45, UTF8 = 0x800, EPOCH = 33 /* 1 January 1980 */ };

/* What local header and directory have in common, from the version on. */
static void add_common(record *r, const bdl_zip_entry *e) {
  add(r, e->large ? VERSION_64 : VERSION, 2);
  add(r, UTF8, 2);
  add(r, e->method, 2);
  add(r, 0, 2);
  add(r, EPOCH, 2);
  add(r, e->crc, 4);
  add(r, e->large ? BDL_ZIP_FULL32 : e->packed, 4);
  add(r, e->large ? BDL_ZIP_FULL32 : e->size, 4);
  add(r, strlen(e->name), 2);
}

static record local_header(const bdl_zip_entry *e) {
  record r = {.n = 0};
  add(&r, BDL_ZIP_LOCAL_SIGN, 4);
  add_common(&r, e);
  add(&r, e->large ? 20 : 0, 2);
  return r;
}

static void add_sizes(record *r, const bdl_zip_entry *e) {
  add(r, e->size, 8);
  add(r, e->packed, 8);
}

static bdl_status put(bdl_zip_writer *w, const record *r) { return bdl_sink_write(w->sink, r->bytes, r->n); }

static record local_extra(const bdl_zip_entry *e) {
  record r = {.n = 0};
  if (!e->large) return r;
  add(&r, 1, 2);
  add(&r, 16, 2);
  add_sizes(&r, e);
  return r;
}

/* ---- members ---- */

bdl_status bdl_zip_create(bdl_sink *k, bool compress, bdl_zip_writer *w) {
  *w = (bdl_zip_writer){.sink = k, .method = compress ? BDL_ZIP_DEFLATED : BDL_ZIP_STORED, .large = 0xf0000000u};
  bdl_arena_init(&w->arena, k->ctx);
  if (!compress) return BDL_OK;
  w->packed = bdl_alloc(k->ctx, BDL_ZIP_WINDOW);
  if (!w->packed) return BDL_ENOMEM;
  bdl_zip_memory(k->ctx, &w->z);
  if (deflateInit2(&w->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK) return BDL_OK;
  w->method = BDL_ZIP_STORED; /* nothing to end */
  return BDL_ENOMEM;
}

void bdl_zip_writer_close(bdl_zip_writer *w) {
  if (!w->sink) return;
  if (w->method == BDL_ZIP_DEFLATED) deflateEnd(&w->z);
  if (w->packed) bdl_free(w->sink->ctx, w->packed, BDL_ZIP_WINDOW);
  BDL_VEC_FREE(w->sink->ctx, w->entries);
  bdl_arena_fini(&w->arena);
  *w = (bdl_zip_writer){.sink = NULL};
}

static bdl_zip_entry *current(bdl_zip_writer *w) { return &w->entries.v[w->entries.n - 1]; }

bdl_status bdl_zip_begin(bdl_zip_writer *w, const char *name, uint64_t size) {
  bdl_zip_entry e = {.name = bdl_arena_strdup(&w->arena, name), .at = w->sink->size, .size = size, .method = w->method,
                     .large = size >= w->large};
  if (!e.name || !BDL_PUSH(w->sink->ctx, w->entries, e)) return BDL_ENOMEM;
  if (w->method == BDL_ZIP_DEFLATED) deflateReset(&w->z);
  const record head = local_header(&e), extra = local_extra(&e);
  TRY(put(w, &head));
  TRY(bdl_sink_write(w->sink, name, strlen(name)));
  return put(w, &extra);
}

static bdl_status pack(bdl_zip_writer *w, const void *data, size_t n, int flush) {
  w->z.next_in = data;
  w->z.avail_in = (uInt)n;
  do {
    w->z.next_out = w->packed;
    w->z.avail_out = BDL_ZIP_WINDOW;
    deflate(&w->z, flush); /* with room for output it cannot fail */
    const size_t k = BDL_ZIP_WINDOW - w->z.avail_out;
    TRY(bdl_sink_write(w->sink, w->packed, k));
    current(w)->packed += k;
  } while (w->z.avail_out == 0);
  return BDL_OK;
}

bdl_status bdl_zip_write(bdl_zip_writer *w, const void *data, size_t n) {
  const uint8_t *p = data;
  if (n == 0) return BDL_OK;
  current(w)->crc = (uint32_t)crc32_z(current(w)->crc, data, n);
  if (w->method == BDL_ZIP_STORED) {
    current(w)->packed += n;
    return bdl_sink_write(w->sink, data, n);
  }
  for (size_t k; n > 0; n -= k, p += k) {
    k = BDL_MIN(n, (size_t)1 << 30);
    TRY(pack(w, p, k, Z_NO_FLUSH));
  }
  return BDL_OK;
}

bdl_status bdl_zip_end(bdl_zip_writer *w) {
  bdl_zip_entry *e = current(w);
  if (w->method == BDL_ZIP_DEFLATED) TRY(pack(w, NULL, 0, Z_FINISH));
  const record head = local_header(e), extra = local_extra(e);
  TRY(bdl_sink_patch(w->sink, e->at, head.bytes, head.n));
  return bdl_sink_patch(w->sink, e->at + head.n + strlen(e->name), extra.bytes, extra.n);
}

/* ---- the directory ---- */

static bdl_status put_entry(bdl_zip_writer *w, const bdl_zip_entry *e) {
  const bool far = e->at >= w->large;
  const int extra = (e->large ? 16 : 0) + (far ? 8 : 0);
  record r = {.n = 0};
  add(&r, BDL_ZIP_CENTRAL_SIGN, 4);
  add(&r, VERSION_64 | 3 << 8, 2);         /* made on Unix */
  add_common(&r, e);
  add(&r, extra ? (uint64_t)extra + 4 : 0, 2);
  add(&r, 0, 2);                           /* comment, */
  add(&r, 0, 2);                           /* disk, */
  add(&r, 0, 2);                           /* attributes, of the data */
  add(&r, UINT64_C(0644) << 16, 4);        /* and of a file of Unix */
  add(&r, far ? BDL_ZIP_FULL32 : e->at, 4);
  TRY(put(w, &r));
  TRY(bdl_sink_write(w->sink, e->name, strlen(e->name)));
  if (!extra) return BDL_OK;
  r.n = 0;
  add(&r, 1, 2);
  add(&r, (uint64_t)extra, 2);
  if (e->large) add_sizes(&r, e);
  if (far) add(&r, e->at, 8);
  return put(w, &r);
}

bdl_status bdl_zip_finish(bdl_zip_writer *w) {
  const uint64_t at = w->sink->size, n = (uint64_t)w->entries.n;
  for (int64_t i = 0; i < w->entries.n; i++) TRY(put_entry(w, &w->entries.v[i]));
  const uint64_t end = w->sink->size, size = end - at;
  const bool large = at >= w->large || size >= w->large || n >= 0xffff;
  record r = {.n = 0};
  if (large) {
    add(&r, BDL_ZIP_END64_SIGN, 4);
    add(&r, BDL_ZIP_END64 - 12, 8); /* of what follows */
    add(&r, VERSION_64, 2);
    add(&r, VERSION_64, 2);
    add(&r, 0, 4);
    add(&r, 0, 4);
    add(&r, n, 8);
    add(&r, n, 8);
    add(&r, size, 8);
    add(&r, at, 8);
    add(&r, BDL_ZIP_LOCATOR_SIGN, 4);
    add(&r, 0, 4);
    add(&r, end, 8);
    add(&r, 1, 4); /* parts */
  }
  add(&r, BDL_ZIP_END_SIGN, 4);
  add(&r, 0, 4);
  add(&r, large ? 0xffff : n, 2);
  add(&r, large ? 0xffff : n, 2);
  add(&r, large ? BDL_ZIP_FULL32 : size, 4);
  add(&r, large ? BDL_ZIP_FULL32 : at, 4);
  add(&r, 0, 2);
  return put(w, &r);
}

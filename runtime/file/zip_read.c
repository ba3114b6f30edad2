/*
** zip_read.c -- the directory of an archive, and the bytes of its members.
**
**   member: local header (30), name, extra, packed bytes        ... members ...
**   directory: one record a member (46), name, extra, comment   its truth about sizes; local headers are only skipped
**   [ end64 (56), its locator (20) ]  end (22), comment
*/
#include <stdio.h>
#include <string.h>

#include "file/zip.h"

static uint16_t u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static uint32_t u32(const uint8_t *p) { return u16(p) | (uint32_t)u16(p + 2) << 16; }
static uint64_t u64(const uint8_t *p) { return u32(p) | (uint64_t)u32(p + 4) << 32; }

/* ---- the directory -------------------------------------------------------------------------------- */

typedef struct directory {
  uint64_t at, size, n;
} directory;

/* The record at the end, which a comment may follow: its comment reaches exactly to the end of the file. */
static bdl_status find_end(const bdl_source *s, uint64_t *at) {
  const size_t most = BDL_ZIP_END + 0xffff, n = (size_t)BDL_MIN(s->size, most);
  if (n < BDL_ZIP_END) return bdl_source_fail(s, s->size, "a zip archive is longer");
  uint8_t *tail = bdl_alloc(s->ctx, n);
  if (!tail) return BDL_ENOMEM;
  bdl_status status = bdl_source_read(s, s->size - n, tail, n);
  bool found = false;
  for (size_t i = n - BDL_ZIP_END + 1; status == BDL_OK && !found && i-- > 0;) {
    found = u32(tail + i) == BDL_ZIP_END_SIGN && u16(tail + i + 20) == n - BDL_ZIP_END - i;
    *at = s->size - n + i;
  }
  bdl_free(s->ctx, tail, n);
  if (status == BDL_OK && !found) return bdl_source_fail(s, s->size, "no end of a zip archive here: cut short?");
  return status;
}

static bdl_status find_directory(const bdl_source *s, directory *d) {
  uint8_t end[BDL_ZIP_END], locator[BDL_ZIP_LOCATOR], end64[BDL_ZIP_END64];
  uint64_t at = 0;
  TRY(find_end(s, &at));
  TRY(bdl_source_read(s, at, end, sizeof end));
  if (u16(end + 4) || u16(end + 6) || u16(end + 8) != u16(end + 10))
    return bdl_source_fail(s, at, "archives of several parts are not read");
  *d = (directory){.n = u16(end + 10), .size = u32(end + 12), .at = u32(end + 16)};
  if (at >= BDL_ZIP_LOCATOR) TRY(bdl_source_read(s, at - BDL_ZIP_LOCATOR, locator, sizeof locator));
  if (at >= BDL_ZIP_LOCATOR && u32(locator) == BDL_ZIP_LOCATOR_SIGN) {
    const uint64_t limit = at - BDL_ZIP_LOCATOR;
    at = u64(locator + 8);
    if (at > limit || limit - at < BDL_ZIP_END64)
      return bdl_source_fail(s, limit + 8, "the 64-bit end of the archive is not at %llu",
                                                                         (unsigned long long)at);
    TRY(bdl_source_read(s, at, end64, sizeof end64));
    if (u32(end64) != BDL_ZIP_END64_SIGN) return bdl_source_fail(s, at, "no 64-bit end of an archive here");
    if (u32(end64 + 16) || u32(end64 + 20) || u64(end64 + 24) != u64(end64 + 32))
      return bdl_source_fail(s, at, "archives of several parts are not read");
    *d = (directory){.n = u64(end64 + 32), .size = u64(end64 + 40), .at = u64(end64 + 48)};
  }
  if (d->at > at || d->size != at - d->at)
    return bdl_source_fail(s, at, "the directory (%llu bytes from %llu) does not end here", (unsigned long long)d->size,
                           (unsigned long long)d->at);
  if (d->n > d->size / BDL_ZIP_CENTRAL)
    return bdl_source_fail(s, at, "%llu members do not fit a directory of %llu bytes", (unsigned long long)d->n,
                           (unsigned long long)d->size);
  return BDL_OK;
}

/* Values that did not fit 32 bits stand in the extra field 1, in this order. */
static bdl_status read_extra(const bdl_source *s, uint64_t at, const uint8_t *p, size_t n, bdl_zip_entry *e) {
  uint64_t *const value[] = {&e->size, &e->packed, &e->at};
  for (size_t i = 0; n - i >= 4;) {
    const size_t size = u16(p + i + 2);
    const bool wide = u16(p + i) == 1;
    if (size > n - i - 4) break;
    i += 4;
    for (size_t k = 0, used = 0; wide && k < 3; k++) {
      if (*value[k] != BDL_ZIP_FULL32) continue;
      if (size - used < 8) return bdl_source_fail(s, at + i, "the 64-bit sizes of member '%s' are cut short", e->name);
      *value[k] = u64(p + i + used);
      used += 8;
    }
    i += size;
  }
  return BDL_OK;
}

/* One record at p, of which n bytes are left; its length. */
static bdl_status read_entry(bdl_zip *z, uint64_t at, const uint8_t *p, size_t n, bdl_zip_entry *e, size_t *length) {
  const bdl_source *s = z->source;
  if (n < BDL_ZIP_CENTRAL || u32(p) != BDL_ZIP_CENTRAL_SIGN)
    return bdl_source_fail(s, at, "no record of a member here");
  const size_t name = u16(p + 28), extra = u16(p + 30), comment = u16(p + 32);
  *length = BDL_ZIP_CENTRAL + name + extra + comment;
  if (*length > n) return bdl_source_fail(s, at, "the record of a member is longer than the directory");
  char *text = bdl_arena_alloc(&z->arena, name + 1);
  if (!text) return BDL_ENOMEM;
  memcpy(text, p + BDL_ZIP_CENTRAL, name);
  *e = (bdl_zip_entry){.name = text, .method = u16(p + 10), .crc = u32(p + 16), .packed = u32(p + 20), .size = u32(p + 24),
                       .at = u32(p + 42)};
  if (memchr(text, 0, name)) return bdl_source_fail(s, at, "a zero byte in the name '%s'", text);
  TRY(read_extra(s, at + BDL_ZIP_CENTRAL + name, p + BDL_ZIP_CENTRAL + name, extra, e));
  if (u16(p + 8) & 1) return bdl_source_fail(s, at, "member '%s' is encrypted", text);
  if (e->method != BDL_ZIP_STORED && e->method != BDL_ZIP_DEFLATED)
    return bdl_source_fail(s, at, "member '%s' is packed by method %d; stored (0) and deflate (8) are read", text,
                           e->method);
  if (e->at > z->directory || z->directory - e->at < BDL_ZIP_LOCAL || e->packed > z->directory - e->at - BDL_ZIP_LOCAL)
    return bdl_source_fail(s, at, "member '%s' is not within the archive", text);
  if (e->method == BDL_ZIP_STORED ? e->size != e->packed : e->size / 1032 > e->packed) /* deflate packs 258 bytes in 2 bits */
    return bdl_source_fail(s, at, "member '%s' cannot have %llu bytes in %llu", text, (unsigned long long)e->size,
                           (unsigned long long)e->packed);
  return BDL_OK;
}

bdl_status bdl_zip_open(const bdl_source *s, bdl_zip *z) {
  directory d = {0};
  *z = (bdl_zip){.source = s};
  bdl_arena_init(&z->arena, s->ctx);
  TRY(find_directory(s, &d));
  z->directory = d.at;
  z->entry = bdl_arena_alloc(&z->arena, (size_t)d.n * sizeof *z->entry);
  uint8_t *records = bdl_alloc(s->ctx, (size_t)d.size);
  bdl_status status = z->entry && records ? bdl_source_read(s, d.at, records, (size_t)d.size) : BDL_ENOMEM;
  size_t at = 0, length = 0;
  for (; status == BDL_OK && (uint64_t)z->n < d.n; at += length)
    status = read_entry(z, d.at + at, records + at, (size_t)d.size - at, &z->entry[z->n++], &length);
  if (status == BDL_OK && at != d.size)
    status = bdl_source_fail(s, d.at + at, "bytes follow the last of %llu members", (unsigned long long)d.n);
  bdl_free(s->ctx, records, (size_t)d.size);
  return status;
}

void bdl_zip_close(bdl_zip *z) { bdl_arena_fini(&z->arena); }

/* ---- members -------------------------------------------------------------------------------------- */

bdl_status bdl_member_fail(const bdl_member *m, bdl_status s, uint64_t at, const char *fmt, ...) {
  char text[512];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  return bdl_fail(m->source->ctx, s, "%s%s%s: byte %llu: %s", m->source->name, m->name ? ", " : "",
                  m->name ? m->name : "",
                  (unsigned long long)at, text);
}

void bdl_member_of_file(const bdl_source *s, bdl_member *m) {
  *m = (bdl_member){.source = s, .end = s->size, .size = s->size};
}

bdl_status bdl_member_open(const bdl_zip *z, int64_t i, bdl_member *m) {
  const bdl_zip_entry *e = &z->entry[i];
  uint8_t local[BDL_ZIP_LOCAL];
  *m = (bdl_member){.source = z->source, .name = e->name, .size = e->size, .expected = e->crc};
  TRY(bdl_source_read(z->source, e->at, local, sizeof local));
  if (u32(local) != BDL_ZIP_LOCAL_SIGN)
    return bdl_source_fail(z->source, e->at, "member '%s' does not begin here", e->name);
  m->at = e->at + BDL_ZIP_LOCAL + u16(local + 26) + u16(local + 28);
  if (m->at > z->directory || e->packed > z->directory - m->at)
    return bdl_source_fail(z->source, e->at + 26, "member '%s' is not within the archive", e->name);
  m->end = m->at + e->packed;
  if (e->method == BDL_ZIP_STORED) return BDL_OK;
  m->packed = bdl_alloc(z->source->ctx, BDL_ZIP_WINDOW);
  if (!m->packed) return BDL_ENOMEM;
  bdl_zip_memory(z->source->ctx, &m->z);
  m->deflated = inflateInit2(&m->z, -MAX_WBITS) == Z_OK; /* no header of zlib's own */
  return m->deflated ? BDL_OK : BDL_ENOMEM;
}

/* Unpacks until n bytes are there or the stream is at its end; how many there are. */
static bdl_status unpack(bdl_member *m, void *data, size_t n, size_t *done) {
  int status = Z_OK;
  *done = 0;
  while (*done < n && status != Z_STREAM_END) {
    const uInt most = (uInt)BDL_MIN(n - *done, (size_t)1 << 30);
    if (m->z.avail_in == 0 && m->at < m->end) {
      const size_t k = (size_t)BDL_MIN(m->end - m->at, (uint64_t)BDL_ZIP_WINDOW);
      TRY(bdl_source_read(m->source, m->at, m->packed, k));
      m->z.next_in = m->packed;
      m->z.avail_in = (uInt)k;
      m->at += k;
    }
    m->z.next_out = (Bytef *)data + *done;
    m->z.avail_out = most;
    status = inflate(&m->z, Z_NO_FLUSH);
    *done += most - m->z.avail_out;
    if (status == Z_MEM_ERROR) return BDL_ENOMEM;
    if (status == Z_BUF_ERROR && m->at == m->end) break; /* it wants more than there is */
    if (status != Z_OK && status != Z_STREAM_END)
      return bdl_member_fail(m, BDL_EIO, m->given + *done, "packed data is damaged (%s), before byte %llu of the file",
                             m->z.msg ? m->z.msg : "deflate",
                             (unsigned long long)(m->at - m->z.avail_in));
  }
  return BDL_OK;
}

bdl_status bdl_member_read(bdl_member *m, void *data, size_t n) {
  size_t done = n;
  if (n > m->size - m->given)
    return bdl_member_fail(m, BDL_EIO, m->size, "ends here, %zu bytes were to follow",
                           (size_t)(n - (m->size - m->given)));
  if (m->deflated) {
    TRY(unpack(m, data, n, &done));
    if (done < n)
      return bdl_member_fail(m, BDL_EIO, m->given + done, "packed data ends here, %llu bytes were to come",
                             (unsigned long long)m->size);
  } else {
    TRY(bdl_source_read(m->source, m->at, data, n));
    m->at += n;
  }
  if (m->name && n > 0) m->crc = (uint32_t)crc32_z(m->crc, data, n);
  m->given += n;
  return BDL_OK;
}

bdl_status bdl_member_end(bdl_member *m) {
  uint8_t more;
  size_t n = 0;
  BDL_ASSERT(m->given == m->size, "the end of a member before its last byte");
  if (m->deflated) TRY(unpack(m, &more, 1, &n));
  if (n > 0 || (m->deflated && (m->at != m->end || m->z.avail_in > 0)))
    return bdl_member_fail(m, BDL_EIO, m->size, "more packed data than the %llu bytes that it should be",
                           (unsigned long long)m->size);
  if (m->name && m->crc != m->expected)
    return bdl_member_fail(m, BDL_EIO, 0, "the checksum of the member is %08x, of its data %08x: damaged", m->expected,
                           m->crc);
  return BDL_OK;
}

void bdl_member_close(bdl_member *m) {
  if (m->deflated) inflateEnd(&m->z);
  if (m->packed) bdl_free(m->source->ctx, m->packed, BDL_ZIP_WINDOW);
  m->deflated = false;
  m->packed = NULL;
}

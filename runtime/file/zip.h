/*
** zip.h -- zip archives: stored and deflated members, zip64.  Internal to this layer.
** Source: PKWARE, APPNOTE.TXT 6.3, sections 4.3 and 4.5; RFC 1951.
*/
#ifndef BDL_FILE_ZIP_H
#define BDL_FILE_ZIP_H

#define ZLIB_CONST
#include <zlib.h>

#include "file/io.h"

enum { BDL_ZIP_STORED = 0, BDL_ZIP_DEFLATED = 8 };

typedef struct bdl_zip_entry {
  const char *name; /* lives in the archive's arena */
  uint64_t at;      /* of its local header in the file */
  uint64_t packed;  /* bytes in the file */
  uint64_t size;    /* bytes unpacked */
  uint32_t crc;
  uint16_t method;
  bool large; /* written with sizes of 64 bits */
} bdl_zip_entry;

/* ---- reading ---- */

typedef struct bdl_zip {
  const bdl_source *source;
  bdl_arena arena;
  bdl_zip_entry *entry;
  int64_t n;
  uint64_t directory; /* where the members end */
} bdl_zip;

/* Reads the directory.  Whatever it says lies within the file and could be true of its size. */
bdl_status bdl_zip_open(const bdl_source *s, bdl_zip *z);
void bdl_zip_close(bdl_zip *z);

/* The bytes of a member in order; a whole file can be read as if it were one. */
typedef struct bdl_member {
  const bdl_source *source;
  const char *name;   /* NULL: the file itself */
  uint64_t at, end;   /* what of the file is yet to be read */
  uint64_t given, size; /* bytes given, and in all */
  uint32_t crc, expected;
  bool deflated;
  z_stream z;
  uint8_t *packed; /* window on the file */
} bdl_member;

void bdl_member_of_file(const bdl_source *s, bdl_member *m);
bdl_status bdl_member_open(const bdl_zip *z, int64_t i, bdl_member *m);
/* The next n bytes.  Errors: BDL_EIO it has fewer, or is malformed. */
bdl_status bdl_member_read(bdl_member *m, void *data, size_t n);
/* After the last byte.  Errors: BDL_EIO the checksum is another. */
bdl_status bdl_member_end(bdl_member *m);
void bdl_member_close(bdl_member *m);
/* "x.npz, a.npy: byte 12: ...", counted in the member; gives s. */
bdl_status bdl_member_fail(const bdl_member *m, bdl_status s, uint64_t at, const char *fmt, ...)
  __attribute__((format(printf, 4, 5)));

/* ---- writing ---- */

typedef struct bdl_zip_writer {
  bdl_sink *sink;
  uint16_t method;
  uint64_t large; /* sizes from here on are written with 64 bits; lower in tests */
  bdl_arena arena;
  BDL_VEC(bdl_zip_entry) entries;
  z_stream z;
  uint8_t *packed;
} bdl_zip_writer;

bdl_status bdl_zip_create(bdl_sink *k, bool compress, bdl_zip_writer *w);
void bdl_zip_writer_close(bdl_zip_writer *w);
/* A member of `size` bytes, which are then written in parts. */
bdl_status bdl_zip_begin(bdl_zip_writer *w, const char *name, uint64_t size);
bdl_status bdl_zip_write(bdl_zip_writer *w, const void *data, size_t n);
bdl_status bdl_zip_end(bdl_zip_writer *w);
bdl_status bdl_zip_finish(bdl_zip_writer *w); /* the directory */

/* ---- both ---- */

#define BDL_ZIP_WINDOW 65536
/* Sizes of records. */
enum { BDL_ZIP_LOCAL = 30, BDL_ZIP_CENTRAL = 46, BDL_ZIP_END = 22, BDL_ZIP_LOCATOR = 20, BDL_ZIP_END64 = 56 };
#define BDL_ZIP_LOCAL_SIGN 0x04034b50u
#define BDL_ZIP_CENTRAL_SIGN 0x02014b50u
#define BDL_ZIP_END_SIGN 0x06054b50u
#define BDL_ZIP_LOCATOR_SIGN 0x07064b50u
#define BDL_ZIP_END64_SIGN 0x06064b50u
#define BDL_ZIP_FULL32 0xffffffffu /* the value is in a field of 64 bits elsewhere */

/* zlib's memory, through the context's hook */
void bdl_zip_memory(bdl_context *c, z_stream *z);

#endif

/*
** io.h -- bytes of files: sources, which are read at any offset, and sinks, which appear under their name when whole.
** Internal to this layer.
*/
#ifndef BDL_FILE_IO_H
#define BDL_FILE_IO_H

#include "base/base.h"

/* ---- sources ---- */

typedef struct bdl_source {
  bdl_context *ctx;
  char *name;           /* for messages */
  const uint8_t *bytes; /* a file in memory, borrowed; NULL: one on disk */
  int fd;
  uint64_t size;
} bdl_source;

bdl_status bdl_source_open(bdl_context *c, const char *path, bdl_source *s);
bdl_status bdl_source_bytes(bdl_context *c, const char *name, const void *bytes, size_t n, bdl_source *s);
void bdl_source_close(bdl_source *s);
/* All n bytes at an offset.  Errors: BDL_EIO the file ends before. */
bdl_status bdl_source_read(const bdl_source *s, uint64_t at, void *data, size_t n);
/* BDL_EIO "x.npz: byte 12: ..." */
bdl_status bdl_source_fail(const bdl_source *s, uint64_t at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* ---- sinks ---- */

#define BDL_SINK_BUFFER 65536

typedef struct bdl_sink {
  bdl_context *ctx;
  char *path; /* where the file shall be */
  char *temp; /* where it is until then; NULL: nowhere, it is but a spool */
  int fd;
  uint8_t *buffer; /* the last n bytes */
  size_t n;
  uint64_t size; /* with them */
} bdl_sink;

/* A file beside path; or, a spool, one without any name that is gone when closed. */
bdl_status bdl_sink_open(bdl_context *c, const char *path, bool spool, bdl_sink *k);
bdl_status bdl_sink_write(bdl_sink *k, const void *data, size_t n);
bdl_status bdl_sink_patch(bdl_sink *k, uint64_t at, const void *data, size_t n); /* over what was written */
bdl_status bdl_sink_reread(bdl_sink *k, uint64_t at, void *data, size_t n);      /* of what was written */
bdl_status bdl_sink_commit(bdl_sink *k); /* on the disk, under its name; to be closed all the same */
void bdl_sink_close(bdl_sink *k);        /* without a commit nothing stays */

#endif

/*
** io.c -- reading at offsets, and writing whole files or none.
*/
#include "file/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/context.h"

/* ---- sources -------------------------------------------------------------------------------------- */

bdl_status bdl_source_fail(const bdl_source *s, uint64_t at, const char *fmt, ...) {
  char text[512];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  return bdl_fail(s->ctx, BDL_EIO, "%s: byte %llu: %s", s->name, (unsigned long long)at, text);
}

bdl_status bdl_source_bytes(bdl_context *c, const char *name, const void *bytes, size_t n, bdl_source *s) {
  *s = (bdl_source){.ctx = c, .name = bdl_strdup(c, name), .bytes = bytes ? bytes : (const uint8_t *)"", .fd = -1, .size = n};
  return s->name ? BDL_OK : BDL_ENOMEM;
}

bdl_status bdl_source_open(bdl_context *c, const char *path, bdl_source *s) {
  struct stat st;
  *s = (bdl_source){.ctx = c, .fd = -1};
  TRY(bdl_need_files(c, path));
  s->name = bdl_strdup(c, path);
  if (!s->name) return BDL_ENOMEM;
  s->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer does not stop us */
  if (s->fd < 0 || fstat(s->fd, &st) < 0) {
    bdl_fail(c, BDL_EIO, "cannot read %s: %s", path, strerror(errno));
  } else if (!S_ISREG(st.st_mode)) {
    bdl_fail(c, BDL_EIO, "cannot read %s: %s", path, S_ISDIR(st.st_mode) ? "it is a folder" : "it is no regular file");
  } else {
    s->size = (uint64_t)st.st_size;
    return BDL_OK;
  }
  bdl_source_close(s);
  return BDL_EIO;
}

void bdl_source_close(bdl_source *s) {
  if (s->name) bdl_free(s->ctx, s->name, strlen(s->name) + 1);
  if (s->fd >= 0) close(s->fd);
  s->name = NULL;
  s->fd = -1;
}

bdl_status bdl_source_read(const bdl_source *s, uint64_t at, void *data, size_t n) {
  if (at > s->size || n > s->size - at)
    return bdl_source_fail(s, s->size, "the file ends here, %zu bytes were to follow from byte %llu",
                                                               n, (unsigned long long)at);
  if (s->bytes) {
    memcpy(data, s->bytes + at, n);
    return BDL_OK;
  }
  for (size_t done = 0; done < n;) {
    const ssize_t k = pread(s->fd, (char *)data + done, n - done, (off_t)(at + done));
    if (k < 0 && errno == EINTR) continue;
    if (k <= 0)
      return bdl_source_fail(s, at + done, "%s", k ? strerror(errno) : "the file became shorter while it was read");
    done += (size_t)k;
  }
  return BDL_OK;
}

/* ---- sinks ---------------------------------------------------------------------------------------- */

static bdl_status sink_fail(const bdl_sink *k) {
  return bdl_fail(k->ctx, BDL_EIO, "cannot write %s: %s", k->path, strerror(errno));
}

/* A new file beside path, by the user's umask, which mkstemp would not follow. */
static bdl_status open_beside(bdl_sink *k) {
  const size_t room = strlen(k->path) + 32;
  char *name = bdl_alloc(k->ctx, room);
  if (!name) return BDL_ENOMEM;
  for (int i = 0; k->fd < 0; i++) {
    snprintf(name, room, "%s.%ld-%d.tmp", k->path, (long)getpid(), i);
    k->fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (k->fd < 0 && (errno != EEXIST || i == 9999)) {
      const bdl_status s = sink_fail(k);
      bdl_free(k->ctx, name, room);
      return s;
    }
  }
  k->temp = bdl_strdup(k->ctx, name);
  if (!k->temp) unlink(name);
  bdl_free(k->ctx, name, room);
  return k->temp ? BDL_OK : BDL_ENOMEM;
}

static void forget_temp(bdl_sink *k) {
  bdl_free(k->ctx, k->temp, strlen(k->temp) + 1);
  k->temp = NULL;
}

static bdl_status prepare(bdl_sink *k, const char *path) {
  struct stat st;
  k->path = bdl_strdup(k->ctx, path);
  if (!k->path) return BDL_ENOMEM;
  k->buffer = bdl_alloc(k->ctx, BDL_SINK_BUFFER);
  if (!k->buffer) return BDL_ENOMEM;
  if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
    return bdl_fail(k->ctx, BDL_EIO, "cannot write %s: it is a folder", path);
  return open_beside(k);
}

bdl_status bdl_sink_open(bdl_context *c, const char *path, bool spool, bdl_sink *k) {
  *k = (bdl_sink){.ctx = c, .fd = -1};
  TRY(bdl_need_files(c, path));
  const bdl_status s = prepare(k, path);
  if (s != BDL_OK) {
    bdl_sink_close(k);
  } else if (spool) {
    unlink(k->temp);
    forget_temp(k);
  }
  return s;
}

static bdl_status put(bdl_sink *k, uint64_t at, const void *data, size_t n) {
  for (size_t done = 0; done < n;) {
    const ssize_t w = pwrite(k->fd, (const char *)data + done, n - done, (off_t)(at + done));
    if (w < 0 && errno == EINTR) continue;
    if (w < 0) return sink_fail(k);
    done += (size_t)w;
  }
  return BDL_OK;
}

static bdl_status flush(bdl_sink *k) {
  TRY(put(k, k->size - k->n, k->buffer, k->n));
  k->n = 0;
  return BDL_OK;
}

bdl_status bdl_sink_write(bdl_sink *k, const void *data, size_t n) {
  if (k->n + n > BDL_SINK_BUFFER) TRY(flush(k));
  if (n > BDL_SINK_BUFFER) {
    TRY(put(k, k->size, data, n));
  } else if (n > 0) {
    memcpy(k->buffer + k->n, data, n);
    k->n += n;
  }
  k->size += n;
  return BDL_OK;
}

bdl_status bdl_sink_patch(bdl_sink *k, uint64_t at, const void *data, size_t n) {
  TRY(flush(k));
  return put(k, at, data, n);
}

bdl_status bdl_sink_reread(bdl_sink *k, uint64_t at, void *data, size_t n) {
  const bdl_source s = {.ctx = k->ctx, .name = k->path, .fd = k->fd, .size = k->size};
  TRY(flush(k));
  return bdl_source_read(&s, at, data, n);
}

bdl_status bdl_sink_commit(bdl_sink *k) {
  TRY(flush(k));
  if (fsync(k->fd) < 0 || rename(k->temp, k->path) < 0) return sink_fail(k);
  forget_temp(k);
  return BDL_OK;
}

void bdl_sink_close(bdl_sink *k) {
  if (k->fd >= 0) close(k->fd);
  if (k->temp) {
    unlink(k->temp);
    forget_temp(k);
  }
  if (k->buffer) bdl_free(k->ctx, k->buffer, BDL_SINK_BUFFER);
  if (k->path) bdl_free(k->ctx, k->path, strlen(k->path) + 1);
  *k = (bdl_sink){.fd = -1};
}

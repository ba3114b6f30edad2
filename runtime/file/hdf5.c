/*
** hdf5.c -- what hdf5.h promises, by a process of its own: libhdf5 trusts files, and a damaged one can make it write where
** it should not, or run forever.  So a child of this process reads, and answers requests over a socket; when it dies, or
** has had its time, that is an error of the file.  Writing goes the same way, into a file beside that is renamed.
*/
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "file/hdf5_lib.h"
#include "file/io.h"

struct bdl_hdf5 {
  bdl_context *ctx;
  char *path;
  const char *temp; /* where a file that is written is until it is whole; NULL: it is read */
  uint64_t size;
  int socket;  /* -1: the reader, or writer, is gone */
  pid_t reader;
  void *row;   /* the last one */
  uint64_t row_bytes;
};

/* ---- the socket ---- */

bool bdl_hdf5_send(int socket, const void *data, uint64_t n) {
  for (uint64_t done = 0; done < n;) {
    const ssize_t k = send(socket, (const char *)data + done, n - done, MSG_NOSIGNAL);
    if (k < 0 && errno != EINTR) return false;
    if (k > 0) done += (uint64_t)k;
  }
  return true;
}

bool bdl_hdf5_receive(int socket, void *data, uint64_t n) {
  for (uint64_t done = 0; done < n;) {
    const ssize_t k = read(socket, (char *)data + done, n - done);
    if (k == 0 || (k < 0 && errno != EINTR)) return false;
    if (k > 0) done += (uint64_t)k;
  }
  return true;
}

/* ---- the reader ---- */

/* In the child: nothing but the library runs, and what dies leaves neither a dump nor a word. */
static void become_reader(bdl_hdf5 *f, int socket) {
  const struct rlimit none = {0, 0};
  const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  setrlimit(RLIMIT_CORE, &none);
  signal(SIGPROF, SIG_DFL); /* the end of its time */
  if (null >= 0) dup2(null, STDERR_FILENO);
  if (f->temp) f->ctx->mem_limit = 0; /* what it is given is a copy, of one data set at a time */
  bdl_hdf5_serve(f->ctx, f->temp ? f->temp : f->path, f->path, f->size, socket);
  _exit(0);
}

static bdl_status start_reader(bdl_hdf5 *f) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
    return bdl_fail(f->ctx, BDL_EIO, "cannot open %s: no socket to the process for it: %s", f->path, strerror(errno));
  f->reader = fork();
  if (f->reader == 0) {
    close(ends[0]);
    become_reader(f, ends[1]);
  }
  close(ends[1]);
  f->socket = ends[0];
  if (f->reader < 0)
    return bdl_fail(f->ctx, BDL_EIO, "cannot open %s: no process for it: %s", f->path, strerror(errno));
  return BDL_OK;
}

/* Waits for the reader; the signal that it died of, or 0. */
static int stop_reader(bdl_hdf5 *f) {
  int status = 0;
  if (f->socket >= 0) {
    shutdown(f->socket, SHUT_RDWR); /* closing it is not enough: readers forked later have copies */
    close(f->socket);
  }
  f->socket = -1;
  if (f->reader > 0)
    while (waitpid(f->reader, &status, 0) < 0 && errno == EINTR) continue;
  f->reader = -1;
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static bdl_status reader_died(bdl_hdf5 *f, const char *name) {
  const int sig = stop_reader(f);
  const char *how = sig == SIGPROF ? "it found no end" : sig ? strsignal(sig) : "no answer";
  if (f->temp) return bdl_fail(f->ctx, BDL_EIO, "cannot write %s, %s: libhdf5 broke down over it (%s)", f->path, name, how);
  return bdl_fail(f->ctx, BDL_EIO, "%s, %s: libhdf5 broke down over it (%s): damaged", f->path, name, how);
}

/* Until there is an answer, or Ctrl-C. */
static bdl_status wait_for_reader(bdl_hdf5 *f) {
  struct pollfd p = {.fd = f->socket, .events = POLLIN};
  while (poll(&p, 1, 100) <= 0) {
    if (!f->ctx->interrupted) continue;
    bdl_ask_stop(f->ctx, false);
    kill(f->reader, SIGKILL);
    stop_reader(f);
    return bdl_fail(f->ctx, BDL_EINTERRUPT, "interrupted while %s was %s", f->path, f->temp ? "written" : "read");
  }
  return BDL_OK;
}

/* What a healthy reader may say. */
static bool sensible(const bdl_hdf5 *f, const bdl_hdf5_answer *a) {
  return (unsigned)a->status < BDL_STATUS_COUNT && (unsigned)a->kind <= BDL_HDF5_GROUP && a->n >= 0 &&
         bdl_aval_check(f->ctx, &a->aval) == BDL_OK && a->bytes / 8192 <= f->size;
}

/* The head of the answer, of which a->bytes bytes are to be received, to a request with q->bytes bytes of data. */
static bdl_status send_request(bdl_hdf5 *f, bdl_hdf5_request *q, const char *name, const void *data, bdl_hdf5_answer *a) {
  if (f->socket < 0) return bdl_fail(f->ctx, BDL_EIO, "%s, %s: the file broke down before", f->path, name);
  memcpy(q->name, name, strlen(name));
  if (!bdl_hdf5_send(f->socket, q, sizeof *q) || !bdl_hdf5_send(f->socket, data, q->bytes)) return reader_died(f, name);
  TRY(wait_for_reader(f));
  if (!bdl_hdf5_receive(f->socket, a, sizeof *a) || !sensible(f, a)) return reader_died(f, name);
  a->message[sizeof a->message - 1] = '\0';
  return a->status == BDL_OK ? BDL_OK : bdl_fail(f->ctx, a->status, "%s", a->message);
}

static bdl_status ask(bdl_hdf5 *f, bdl_hdf5_what what, const char *name, int64_t i, bdl_hdf5_answer *a) {
  bdl_hdf5_request q = {.what = what, .i = i};
  if (strlen(name) >= sizeof q.name) return bdl_fail(f->ctx, BDL_EKEY, "%s has no data set %s", f->path, name);
  return send_request(f, &q, name, NULL, a);
}

/* ---- what hdf5.h promises to readers ---- */

static bdl_status open_file(bdl_hdf5 *f, const char *path) {
  struct stat st;
  bdl_hdf5_answer a;
  f->path = bdl_strdup(f->ctx, path);
  if (!f->path) return BDL_ENOMEM;
  if (stat(path, &st) < 0) return bdl_fail(f->ctx, BDL_EIO, "cannot read %s: %s", path, strerror(errno));
  if (!S_ISREG(st.st_mode)) return bdl_fail(f->ctx, BDL_EIO, "cannot read %s: it is no regular file", path);
  f->size = (uint64_t)st.st_size;
  TRY(start_reader(f));
  return ask(f, BDL_HDF5_OPEN, "/", 0, &a);
}

/* what: "read", "write" */
static bdl_status new_file(bdl_context *c, const char *what, const char *path, bdl_hdf5 **out) {
  if (!bdl_hdf5_built()) {
    bdl_fail(c, BDL_ENOTSUP, "cannot %s %s: this bdl was built without HDF5", what, path);
    bdl_hint(c, "install libhdf5-dev (apt-get install libhdf5-dev) and build bdl again: make clean all");
    return BDL_ENOTSUP;
  }
  bdl_hdf5 *f = bdl_calloc(c, sizeof *f);
  if (!f) return BDL_ENOMEM;
  f->ctx = c;
  f->socket = -1;
  f->reader = -1;
  *out = f;
  return BDL_OK;
}

bdl_status bdl_hdf5_open(bdl_context *c, const char *path, bdl_hdf5 **out) {
  bdl_hdf5 *f = NULL;
  TRY(bdl_need_files(c, path));
  TRY(new_file(c, "read", path, &f));
  const bdl_status s = open_file(f, path);
  if (s == BDL_OK) *out = f;
  else bdl_hdf5_close(f);
  return s;
}

static void drop_row(bdl_hdf5 *f) {
  if (f->row) bdl_free(f->ctx, f->row, f->row_bytes);
  f->row = NULL;
}

void bdl_hdf5_close(bdl_hdf5 *f) {
  if (!f) return;
  drop_row(f);
  if (f->reader > 0) kill(f->reader, SIGKILL); /* over a damaged file it may be in an endless loop */
  stop_reader(f);
  if (f->path) bdl_free(f->ctx, f->path, strlen(f->path) + 1);
  bdl_free(f->ctx, f, sizeof *f);
}

bdl_status bdl_hdf5_has(bdl_hdf5 *f, const char *name, bool *yes) {
  bdl_hdf5_answer a;
  TRY(ask(f, BDL_HDF5_HAS, name, 0, &a));
  *yes = a.n > 0;
  return BDL_OK;
}

bdl_status bdl_hdf5_type(bdl_hdf5 *f, const char *name, bdl_hdf5_kind *kind, bdl_aval *a) {
  bdl_hdf5_answer answer;
  TRY(ask(f, BDL_HDF5_TYPE, name, 0, &answer));
  *kind = answer.kind;
  *a = answer.aval;
  return BDL_OK;
}

bdl_status bdl_hdf5_read(bdl_hdf5 *f, const char *name, const bdl_aval *a, void *data) {
  bdl_hdf5_answer answer;
  TRY(ask(f, BDL_HDF5_READ, name, 0, &answer));
  const bool fits = bdl_aval_eq(a, &answer.aval) && answer.bytes == bdl_aval_bytes(a);
  return fits && bdl_hdf5_receive(f->socket, data, answer.bytes) ? BDL_OK : reader_died(f, name);
}

bdl_status bdl_hdf5_row(bdl_hdf5 *f, const char *name, int64_t i, const void **data, int64_t *n) {
  bdl_hdf5_answer answer;
  drop_row(f);
  TRY(ask(f, BDL_HDF5_ROW, name, i, &answer));
  f->row_bytes = answer.bytes;
  f->row = bdl_alloc(f->ctx, f->row_bytes);
  const uint64_t size = bdl_dtype_size(answer.aval.dtype);
  if (!f->row || (uint64_t)answer.n != answer.bytes / size || !bdl_hdf5_receive(f->socket, f->row, answer.bytes)) {
    const bool memory = !f->row;
    if (!memory) return reader_died(f, name);
    kill(f->reader, SIGKILL); /* its answer is in the way */
    stop_reader(f);
    return BDL_ENOMEM;
  }
  *data = f->row;
  *n = answer.n;
  return BDL_OK;
}

/* ---- what it promises to writers ---- */

struct bdl_hdf5_writer {
  bdl_hdf5 *file;
  bdl_sink sink; /* holds the place of the file, which the other process writes */
  bool compress;
};

static bdl_status create(bdl_hdf5_writer *w, const char *path) {
  bdl_hdf5 *f = w->file;
  bdl_hdf5_request q = {.what = BDL_HDF5_CREATE};
  bdl_hdf5_answer a;
  TRY(bdl_sink_open(f->ctx, path, false, &w->sink));
  f->temp = w->sink.temp;
  f->path = bdl_strdup(f->ctx, path);
  if (!f->path) return BDL_ENOMEM;
  TRY(start_reader(f));
  return send_request(f, &q, "/", NULL, &a);
}

bdl_status bdl_hdf5_create(bdl_context *c, const char *path, bool compress, bdl_hdf5_writer **out) {
  bdl_hdf5 *f = NULL;
  TRY(bdl_need_files(c, path));
  TRY(new_file(c, "write", path, &f));
  bdl_hdf5_writer *w = bdl_calloc(c, sizeof *w);
  if (!w) {
    bdl_hdf5_close(f);
    return BDL_ENOMEM;
  }
  *w = (bdl_hdf5_writer){.file = f, .sink = {.fd = -1}, .compress = compress};
  const bdl_status s = create(w, path);
  if (s == BDL_OK) *out = w;
  else bdl_hdf5_discard(w);
  return s;
}

/* "/a/b": no part is empty, "." or "..". */
static bool is_name(const char *name) {
  if (*name != '/') return false;
  for (const char *p = name; *p; p += 1 + strcspn(p + 1, "/")) {
    const size_t n = strcspn(p + 1, "/");
    if (n == 0 || (n == 1 && p[1] == '.') || (n == 2 && !strncmp(p + 1, "..", 2))) return false;
  }
  return true;
}

static bdl_status put(bdl_hdf5_writer *w, bdl_hdf5_kind kind, const char *name, const bdl_aval *a, const void *data,
                      uint64_t n) {
  bdl_hdf5_request q = {.what = BDL_HDF5_PUT, .kind = kind, .aval = *a, .compress = w->compress, .bytes = n};
  bdl_hdf5_answer answer;
  bdl_hdf5 *f = w->file;
  if (strlen(name) >= sizeof q.name)
    return bdl_fail(f->ctx, BDL_EVALUE, "cannot write %s: the name %.40s.. has %zu bytes, at most %zu are written", f->path,
                    name, strlen(name), sizeof q.name - 1);
  if (!is_name(name)) return bdl_fail(f->ctx, BDL_EVALUE, "cannot write %s: '%s' is no name", f->path, name);
  return send_request(f, &q, name, data, &answer);
}

bdl_status bdl_hdf5_put(bdl_hdf5_writer *w, const char *name, const bdl_aval *a, const void *data) {
  return put(w, BDL_HDF5_ARRAY, name, a, data, bdl_aval_bytes(a));
}

bdl_status bdl_hdf5_put_texts(bdl_hdf5_writer *w, const char *name, const bdl_aval *a, const char *texts, uint64_t n) {
  return put(w, BDL_HDF5_TEXT, name, a, texts, n);
}

bdl_status bdl_hdf5_put_group(bdl_hdf5_writer *w, const char *name) {
  const bdl_aval none = {.dtype = BDL_BOOL};
  return put(w, BDL_HDF5_GROUP, name, &none, NULL, 0);
}

bdl_status bdl_hdf5_finish(bdl_hdf5_writer *w) {
  bdl_hdf5_request q = {.what = BDL_HDF5_FINISH};
  bdl_hdf5_answer a;
  bdl_status s = send_request(w->file, &q, "/", NULL, &a);
  if (s == BDL_OK) s = bdl_sink_commit(&w->sink);
  bdl_hdf5_discard(w);
  return s;
}

void bdl_hdf5_discard(bdl_hdf5_writer *w) {
  if (!w) return;
  bdl_context *c = w->file->ctx;
  bdl_hdf5_close(w->file);
  bdl_sink_close(&w->sink);
  bdl_free(c, w, sizeof *w);
}

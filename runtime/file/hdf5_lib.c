/*
** hdf5_lib.c -- the process that libhdf5 runs in: one request of hdf5.c after the other.
*/
#include "file/hdf5_lib.h"

#ifdef BDL_HDF5

#include <dlfcn.h>
#include <string.h>
#include <sys/time.h>

typedef bdl_hdf5_library library;

bool bdl_hdf5_built(void) { return true; }

enum { READ_ONLY = 0 }; /* H5F_ACC_RDONLY without what the header calls around it */

static const char *const libraries[] = {"libhdf5_serial.so.103", "libhdf5.so.103", "libhdf5_serial.so", "libhdf5.so"};

/* Errors: BDL_EIO it is not there, or of another version than the header. */
static bdl_status load(bdl_context *c, bdl_h5 *h) {
  unsigned major = 0, minor = 0, release = 0;
  void *library = NULL, *p = NULL;
  bool all = true;
  for (int i = 0; i < BDL_LEN(libraries) && !library; i++) library = dlopen(libraries[i], RTLD_NOW | RTLD_LOCAL);
  if (!library) return bdl_fail(c, BDL_EIO, "libhdf5 was there when bdl was built, but is not now: %s", dlerror());
#define X(name)               \
  p = dlsym(library, #name);  \
  memcpy(&h->name, &p, sizeof p); /* ISO C has no cast from an object to a function */ \
  all = all && p;
  BDL_HDF5_NAMES(X)
#undef X
  if (all) h->H5get_libversion(&major, &minor, &release);
  if (!all || major != H5_VERS_MAJOR || minor != H5_VERS_MINOR)
    return bdl_fail(c, BDL_EIO, "libhdf5 %u.%u is here, but bdl was built with %d.%d", major, minor, H5_VERS_MAJOR, H5_VERS_MINOR);
  /* A file of strangers reaches no other file: links to one are no links any more, wherever they stand in a path. */
  const bool started = h->H5open() >= 0 && h->H5Lunregister(H5L_TYPE_EXTERNAL) >= 0;
  return started ? BDL_OK : bdl_fail(c, BDL_EIO, "libhdf5 cannot be started");
}

/* ---- errors ---- */

static herr_t innermost(unsigned n, const H5E_error2_t *e, void *text) {
  if (n == 0 && e->desc) *(const char **)text = e->desc;
  return 0;
}

bdl_status bdl_hdf5_lib_fail(const library *f, const char *name, const char *what) {
  const char *why = "no reason given";
  f->h5->H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, innermost, &why);
  if (strstr(why, "link class")) /* load took it away */
    return bdl_fail(f->ctx, BDL_ENOTSUP, "%s, %s: a link to another file, which is not opened", f->shown, name);
  return bdl_fail(f->ctx, BDL_EIO, "%s, %s: %s (%s)", f->shown, name, what, why);
}

/* ---- types ---- */

static hid_t new_bool(const library *f) {
  const int8_t no = 0, yes = 1;
  const hid_t type = f->h5->H5Tenum_create(*f->h5->H5T_NATIVE_INT8_g);
  if (type >= 0) {
    f->h5->H5Tenum_insert(type, "FALSE", &no);
    f->h5->H5Tenum_insert(type, "TRUE", &yes);
  }
  return type;
}

hid_t bdl_hdf5_lib_native(const library *f, bdl_dtype d) {
  switch (d) {
  case BDL_BOOL: return new_bool(f);
  case BDL_I32: return f->h5->H5Tcopy(*f->h5->H5T_NATIVE_INT32_g);
  case BDL_U32: return f->h5->H5Tcopy(*f->h5->H5T_NATIVE_UINT32_g);
  case BDL_I64: return f->h5->H5Tcopy(*f->h5->H5T_NATIVE_INT64_g);
  case BDL_F32: return f->h5->H5Tcopy(*f->h5->H5T_NATIVE_FLOAT_g);
  default: return f->h5->H5Tcopy(*f->h5->H5T_NATIVE_DOUBLE_g);
  }
}

/* ---- requests ---- */

/* A request to read has a second of the processor and another for each 10 MB of the file; then this process dies. */
static void limit_time(const library *f) {
  const struct itimerval limit = {.it_value = {.tv_sec = 1 + (time_t)(f->size / 10000000)}};
  setitimer(ITIMER_PROF, &limit, NULL);
}

static bdl_status open_file(library *f) {
  if (f->broken != BDL_OK || f->file >= 0) return f->broken;
  f->file = f->h5->H5Fopen(f->path, READ_ONLY, H5P_DEFAULT);
  return f->file < 0 ? bdl_hdf5_lib_fail(f, "/", "cannot open it") : BDL_OK; /* no HDF5, or damaged */
}

/* False: the other side is gone. */
static bool answer_reader(library *f, const bdl_hdf5_request *q, int socket) {
  bdl_hdf5_answer a = {.status = BDL_OK};
  const void *row = NULL;
  void *data = NULL;
  limit_time(f);
  bdl_hdf5_lib_drop(f);
  a.status = open_file(f);
  if (a.status == BDL_OK && q->what == BDL_HDF5_HAS) a.n = bdl_hdf5_lib_has(f, q->name);
  else if (a.status == BDL_OK && q->what != BDL_HDF5_OPEN) bdl_hdf5_lib_read(f, q, &a, &data, &row);
  if (a.status != BDL_OK) a.bytes = 0;
  if (a.status != BDL_OK) memcpy(a.message, f->ctx->error.message, sizeof a.message - 1);
  const bool sent = bdl_hdf5_send(socket, &a, sizeof a) && bdl_hdf5_send(socket, row ? row : data, a.bytes);
  if (data) bdl_free(f->ctx, data, bdl_aval_bytes(&a.aval));
  return sent;
}

static bool answer_writer(library *f, const bdl_hdf5_request *q, int socket) {
  bdl_hdf5_answer a = {.status = f->broken};
  uint8_t *data = q->bytes ? bdl_alloc(f->ctx, q->bytes) : NULL;
  if (q->bytes && (!data || !bdl_hdf5_receive(socket, data, q->bytes))) return false;
  if (a.status == BDL_OK)
    a.status = q->what == BDL_HDF5_CREATE ? bdl_hdf5_lib_create(f)
             : q->what == BDL_HDF5_PUT    ? bdl_hdf5_lib_put(f, q, data)
                                          : bdl_hdf5_lib_finish(f);
  if (a.status != BDL_OK) memcpy(a.message, f->ctx->error.message, sizeof a.message - 1);
  if (data) bdl_free(f->ctx, data, q->bytes);
  return bdl_hdf5_send(socket, &a, sizeof a);
}

void bdl_hdf5_serve(bdl_context *c, const char *path, const char *shown, uint64_t size, int socket) {
  bdl_h5 h5;
  library of = {.h5 = &h5, .ctx = c, .path = path, .shown = shown, .size = size, .file = -1}, *f = &of;
  bdl_hdf5_request q;
  of.broken = load(c, &h5);
  if (of.broken == BDL_OK) f->h5->H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* messages are asked for, not printed */
  while (bdl_hdf5_receive(socket, &q, sizeof q) &&
         (q.what < BDL_HDF5_CREATE ? answer_reader(f, &q, socket) : answer_writer(f, &q, socket)))
    continue;
}

#else

bool bdl_hdf5_built(void) { return false; }

void bdl_hdf5_serve(bdl_context *c, const char *path, const char *shown, uint64_t size, int socket) {
  (void)c, (void)path, (void)shown, (void)size, (void)socket;
}

#endif

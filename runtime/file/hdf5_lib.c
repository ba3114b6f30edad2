/*
** hdf5_lib.c -- reading through libhdf5, in the reader process of hdf5.c: one request after the other.
*/
#include "file/hdf5_lib.h"

#ifdef BDL_HDF5

#include <dlfcn.h>
#include <hdf5.h>
#include <string.h>
#include <sys/time.h>

bool bdl_hdf5_built(void) { return true; }

/* What is used of the library, which is opened when a file is: with it come a dozen others, which no start should wait for. */
#define NAMES(X) \
  X(H5Dclose) X(H5Dget_space) X(H5Dget_type) X(H5Dopen2) X(H5Dread) X(H5Eset_auto2) X(H5Ewalk2) X(H5Fopen) \
  X(H5Lexists) X(H5Pclose) X(H5Pcreate) X(H5Pset_vlen_mem_manager) X(H5Sclose) X(H5Screate_simple) \
  X(H5Sget_simple_extent_dims) X(H5Sget_simple_extent_ndims) X(H5Sget_simple_extent_type) X(H5Sselect_hyperslab) \
  X(H5Tclose) X(H5Tcopy) X(H5Tget_class) X(H5Tget_sign) X(H5Tget_size) X(H5Tget_super) X(H5Tis_variable_str) \
  X(H5Tvlen_create) X(H5open) X(H5get_libversion) X(H5T_NATIVE_INT32_g) X(H5T_NATIVE_UINT32_g) \
  X(H5T_NATIVE_INT64_g) X(H5T_NATIVE_FLOAT_g) X(H5T_NATIVE_DOUBLE_g) X(H5P_CLS_DATASET_XFER_ID_g)

typedef struct bdl_h5 {
#define X(name) __typeof__(name) *name;
  NAMES(X)
#undef X
} bdl_h5;

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
  NAMES(X)
#undef X
  if (all) h->H5get_libversion(&major, &minor, &release);
  if (!all || major != H5_VERS_MAJOR || minor != H5_VERS_MINOR)
    return bdl_fail(c, BDL_EIO, "libhdf5 %u.%u is here, but bdl was built with %d.%d", major, minor, H5_VERS_MAJOR, H5_VERS_MINOR);
  return h->H5open() < 0 ? bdl_fail(c, BDL_EIO, "libhdf5 cannot be started") : BDL_OK;
}

typedef struct library {
  const bdl_h5 *h5;
  bdl_context *ctx;
  const char *path;
  hid_t file;
  uint64_t size;    /* of the file: what it claims to hold must be possible */
  uint8_t *row;     /* the last row that was read */
  bdl_status broken; /* the library cannot be used */
  bdl_status memory; /* of the library's last request for a row's memory */
} library;

/* ---- errors ---- */

static herr_t innermost(unsigned n, const H5E_error2_t *e, void *text) {
  if (n == 0 && e->desc) *(const char **)text = e->desc;
  return 0;
}

/* The error of the call that just failed. */
static bdl_status library_fail(const library *f, const char *name, const char *what) {
  const char *why = "no reason given";
  f->h5->H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, innermost, &why);
  return bdl_fail(f->ctx, BDL_EIO, "%s, %s: %s (%s)", f->path, name, what, why);
}

/* ---- an open data set ---- */

typedef struct set {
  hid_t id, type, space;
  bdl_hdf5_kind kind;
  bdl_aval aval;
  hid_t memory; /* type of numbers in memory; owned, but of texts */
} set;

static hid_t native(const library *f, bdl_dtype d) {
  switch (d) {
  case BDL_I32: return *f->h5->H5T_NATIVE_INT32_g;
  case BDL_U32: return *f->h5->H5T_NATIVE_UINT32_g;
  case BDL_I64: return *f->h5->H5T_NATIVE_INT64_g;
  case BDL_F32: return *f->h5->H5T_NATIVE_FLOAT_g;
  default: return *f->h5->H5T_NATIVE_DOUBLE_g;
  }
}

/* The dtype that holds every number of a type.  False: bdl has none. */
static bool dtype_of(const library *f, hid_t type, bdl_dtype *d) {
  const size_t size = f->h5->H5Tget_size(type);
  const H5T_class_t class = f->h5->H5Tget_class(type);
  const bool is_signed = class == H5T_INTEGER && f->h5->H5Tget_sign(type) == H5T_SGN_2;
  if (class == H5T_INTEGER && (size < 4 || (size == 4 && is_signed))) *d = BDL_I32;
  else if (class == H5T_INTEGER && size == 4) *d = BDL_U32;
  else if (class == H5T_INTEGER && size == 8 && is_signed) *d = BDL_I64;
  else if (class == H5T_FLOAT && size <= 4) *d = BDL_F32;
  else if (class == H5T_FLOAT && size <= 8) *d = BDL_F64;
  else return false;
  return true;
}

static bdl_status read_dtype(const library *f, const char *name, set *s) {
  s->kind = BDL_HDF5_ARRAY;
  if (f->h5->H5Tget_class(s->type) == H5T_STRING) {
    s->kind = BDL_HDF5_TEXT;
    s->aval.dtype = BDL_BOOL;
    return BDL_OK;
  }
  bool known = false;
  if (f->h5->H5Tget_class(s->type) == H5T_VLEN) {
    const hid_t base = f->h5->H5Tget_super(s->type);
    if (base < 0) return library_fail(f, name, "cannot read its type");
    s->kind = BDL_HDF5_RAGGED;
    known = dtype_of(f, base, &s->aval.dtype);
    f->h5->H5Tclose(base);
  } else {
    known = dtype_of(f, s->type, &s->aval.dtype);
  }
  if (!known)
    return bdl_fail(f->ctx, BDL_ENOTSUP, "%s, %s: only integers, floats, lists of them and texts are read", f->path,
                    name);
  s->memory = s->kind == BDL_HDF5_RAGGED ? f->h5->H5Tvlen_create(native(f, s->aval.dtype)) : f->h5->H5Tcopy(native(f, s->aval.dtype));
  return s->memory < 0 ? library_fail(f, name, "cannot make its type") : BDL_OK;
}

static bdl_status read_shape(const library *f, const char *name, set *s) {
  hsize_t shape[H5S_MAX_RANK];
  char text[BDL_AVAL_TEXT];
  const int ndim = f->h5->H5Sget_simple_extent_ndims(s->space);
  if (ndim < 0 || f->h5->H5Sget_simple_extent_type(s->space) == H5S_NULL) return library_fail(f, name, "has no shape");
  if (ndim > BDL_MAX_NDIM)
    return bdl_fail(f->ctx, BDL_ENOTSUP, "%s, %s: %d axes; a tensor has at most %d", f->path, name, ndim, BDL_MAX_NDIM);
  if (s->kind != BDL_HDF5_ARRAY && ndim != 1)
    return bdl_fail(f->ctx, BDL_ENOTSUP, "%s, %s: lists of numbers and texts in %d axes; one is read", f->path, name,
                    ndim);
  if (f->h5->H5Sget_simple_extent_dims(s->space, shape, NULL) < 0) return library_fail(f, name, "has no shape");
  s->aval.ndim = ndim;
  for (int i = 0; i < ndim; i++) s->aval.shape[i] = shape[i] > INT64_MAX ? -1 : (int64_t)shape[i];
  if (bdl_aval_check(f->ctx, &s->aval) != BDL_OK)
    return bdl_fail(f->ctx, BDL_EIO, "%s, %s: %s", f->path, name, f->ctx->error.message);
  if (bdl_aval_bytes(&s->aval) / 8192 > f->size) /* deflate packs 1032 to 1, and a number grows eightfold at most */
    return bdl_fail(f->ctx, BDL_EIO, "%s, %s: a file of %llu bytes cannot hold %s", f->path, name,
                    (unsigned long long)f->size, bdl_aval_text(&s->aval, true, text));
  return BDL_OK;
}

static void close_set(const library *f, set *s) {
  if (s->memory >= 0) f->h5->H5Tclose(s->memory);
  if (s->space >= 0) f->h5->H5Sclose(s->space);
  if (s->type >= 0) f->h5->H5Tclose(s->type);
  if (s->id >= 0) f->h5->H5Dclose(s->id);
}

/* Each step of the path exists; the library asks this of a path's last step alone. */
static bool has(const library *f, const char *name) {
  char part[BDL_HDF5_NAME];
  for (size_t i = 1; i <= strlen(name); i++) {
    if (name[i] && name[i] != '/') continue;
    memcpy(part, name, i);
    part[i] = '\0';
    if (f->h5->H5Lexists(f->file, part, H5P_DEFAULT) <= 0) return false;
  }
  return true;
}

/* To be closed also after an error. */
static bdl_status open_set(const library *f, const char *name, set *s) {
  *s = (set){.id = -1, .type = -1, .space = -1, .memory = -1};
  if (!has(f, name)) return bdl_fail(f->ctx, BDL_EKEY, "%s has no data set %s", f->path, name);
  s->id = f->h5->H5Dopen2(f->file, name, H5P_DEFAULT);
  if (s->id >= 0) s->type = f->h5->H5Dget_type(s->id);
  if (s->type >= 0) s->space = f->h5->H5Dget_space(s->id);
  if (s->space < 0) return library_fail(f, name, "cannot open it");
  TRY(read_dtype(f, name, s));
  return read_shape(f, name, s);
}

/* ---- rows ---- */

/* What the library puts a row into: memory of the context, a block's size in front. */
enum { BLOCK_HEAD = 16 };

static void *row_alloc(size_t size, void *file) {
  library *f = file;
  if (size / 8 > f->size) {
    f->memory = bdl_fail(f->ctx, BDL_EIO, "%s: a row of %zu bytes is longer than the file", f->path, size);
    return NULL;
  }
  uint8_t *p = bdl_alloc(f->ctx, size + BLOCK_HEAD);
  f->memory = p ? BDL_OK : BDL_ENOMEM;
  if (!p) return NULL;
  memcpy(p, &size, sizeof size);
  return p + BLOCK_HEAD;
}

static void row_free(void *p, void *file) {
  size_t size;
  if (!p) return;
  memcpy(&size, (uint8_t *)p - BLOCK_HEAD, sizeof size);
  bdl_free(((library *)file)->ctx, (uint8_t *)p - BLOCK_HEAD, size + BLOCK_HEAD);
}

static void drop_row(library *f) {
  if (f->row) row_free(f->row, f);
  f->row = NULL;
}

/* The selected row as the library gives it: a list, or a text of fixed or of any length. */
static bdl_status read_row(library *f, const char *name, const set *s, hid_t one, hid_t how, const void **data,
                           int64_t *n) {
  const bool any_length = s->kind == BDL_HDF5_RAGGED || f->h5->H5Tis_variable_str(s->type) > 0;
  f->memory = BDL_OK;
  herr_t status = 0;
  if (s->kind == BDL_HDF5_RAGGED) {
    hvl_t list = {0};
    status = f->h5->H5Dread(s->id, s->memory, one, s->space, how, &list);
    f->row = list.p;
    *n = (int64_t)list.len;
  } else if (any_length) {
    status = f->h5->H5Dread(s->id, s->type, one, s->space, how, &f->row);
    *n = status >= 0 && f->row ? (int64_t)strlen((char *)f->row) : 0;
  } else {
    const size_t size = f->h5->H5Tget_size(s->type);
    f->row = row_alloc(size + 1, f);
    if (!f->row) return f->memory;
    memset(f->row, 0, size + 1);
    status = f->h5->H5Dread(s->id, s->type, one, s->space, how, f->row);
    *n = (int64_t)strlen((char *)f->row);
  }
  *data = f->row;
  if (status >= 0) return BDL_OK;
  return f->memory != BDL_OK ? f->memory : library_fail(f, name, "cannot read a row");
}

static bdl_status select_row(library *f, const char *name, int64_t i, set *s, const void **data, int64_t *n) {
  const hsize_t at = (hsize_t)i, count = 1;
  if (s->kind == BDL_HDF5_ARRAY)
    return bdl_fail(f->ctx, BDL_ETYPE, "%s, %s is an array; it has no rows", f->path, name);
  if (i < 0 || i >= s->aval.shape[0])
    return bdl_fail(f->ctx, BDL_EINDEX, "%s, %s: row %lld of %lld", f->path, name, (long long)i,
                    (long long)s->aval.shape[0]);
  const hid_t one = f->h5->H5Screate_simple(1, &count, NULL), how = f->h5->H5Pcreate(*f->h5->H5P_CLS_DATASET_XFER_ID_g);
  bdl_status status = BDL_OK;
  if (one < 0 || how < 0 || f->h5->H5Sselect_hyperslab(s->space, H5S_SELECT_SET, &at, NULL, &count, NULL) < 0 ||
      f->h5->H5Pset_vlen_mem_manager(how, row_alloc, f, row_free, f) < 0)
    status = library_fail(f, name, "cannot read a row");
  else
    status = read_row(f, name, s, one, how, data, n);
  if (how >= 0) f->h5->H5Pclose(how);
  if (one >= 0) f->h5->H5Sclose(one);
  return status;
}

/* ---- requests ---- */

static bdl_status read_array(const library *f, const char *name, const set *s, void **data) {
  if (s->kind != BDL_HDF5_ARRAY) return bdl_fail(f->ctx, BDL_ETYPE, "%s, %s is no array", f->path, name);
  *data = bdl_alloc(f->ctx, bdl_aval_bytes(&s->aval));
  if (!*data) return BDL_ENOMEM;
  const herr_t status = f->h5->H5Dread(s->id, s->memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, *data);
  return status < 0 ? library_fail(f, name, "cannot read it") : BDL_OK;
}

/* A request has a second of the processor and another for each 10 MB of the file; then this process dies. */
static void limit_time(const library *f) {
  const struct itimerval limit = {.it_value = {.tv_sec = 1 + (time_t)(f->size / 10000000)}};
  setitimer(ITIMER_PROF, &limit, NULL);
}

static bool answer(library *f, const bdl_hdf5_request *q, int socket) {
  bdl_hdf5_answer a = {.status = BDL_OK};
  const void *row = NULL;
  void *data = NULL;
  set s;
  limit_time(f);
  drop_row(f);
  if (f->broken != BDL_OK) {
    a.status = f->broken;
  } else if (f->file < 0 && (f->file = f->h5->H5Fopen(f->path, READ_ONLY, H5P_DEFAULT)) < 0) {
    a.status = library_fail(f, "/", "cannot open it"); /* no HDF5, or damaged */
  } else if (q->what == BDL_HDF5_HAS) {
    a.n = has(f, q->name);
  } else if (q->what != BDL_HDF5_OPEN) {
    a.status = open_set(f, q->name, &s);
    if (a.status == BDL_OK && q->what == BDL_HDF5_READ) a.status = read_array(f, q->name, &s, &data);
    if (a.status == BDL_OK && q->what == BDL_HDF5_ROW) a.status = select_row(f, q->name, q->i, &s, &row, &a.n);
    a.kind = s.kind;
    a.aval = s.aval;
    if (data) a.bytes = bdl_aval_bytes(&s.aval);
    if (row) a.bytes = (uint64_t)a.n * bdl_dtype_size(s.aval.dtype); /* texts are of bools, a byte each */
    close_set(f, &s);
  }
  if (a.status != BDL_OK) a.bytes = 0;
  if (a.status != BDL_OK) memcpy(a.message, f->ctx->error.message, sizeof a.message - 1);
  const bool sent = bdl_hdf5_send(socket, &a, sizeof a) && bdl_hdf5_send(socket, row ? row : data, a.bytes);
  if (data) bdl_free(f->ctx, data, bdl_aval_bytes(&s.aval));
  return sent;
}

void bdl_hdf5_serve(bdl_context *c, const char *path, uint64_t size, int socket) {
  bdl_h5 h5;
  library of = {.h5 = &h5, .ctx = c, .path = path, .size = size, .file = -1}, *f = &of;
  bdl_hdf5_request q;
  of.broken = load(c, &h5);
  if (of.broken == BDL_OK) f->h5->H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* messages are asked for, not printed */
  while (bdl_hdf5_receive(socket, &q, sizeof q) && answer(f, &q, socket)) continue;
}

#else

bool bdl_hdf5_built(void) { return false; }

void bdl_hdf5_serve(bdl_context *c, const char *path, uint64_t size, int socket) {
  (void)c, (void)path, (void)size, (void)socket;
}

#endif

/*
** hdf5_lib_read.c -- what is in a file, asked of libhdf5; in the process of hdf5_lib.c.
*/
#include "file/hdf5_lib.h"

#ifdef BDL_HDF5

#include <string.h>

typedef bdl_hdf5_library library;

/* ---- an open data set ---- */

typedef struct set {
  hid_t id, type, space;
  bdl_hdf5_kind kind;
  bdl_aval aval;
  hid_t memory; /* type of numbers in memory; owned, but of texts */
} set;

/* As h5py stores booleans. */
static bool is_bool(const library *f, hid_t type) {
  int8_t value = 0;
  return f->h5->H5Tget_class(type) == H5T_ENUM && f->h5->H5Tget_size(type) == 1 && f->h5->H5Tget_nmembers(type) == 2 &&
         f->h5->H5Tenum_valueof(type, "FALSE", &value) >= 0 && f->h5->H5Tenum_valueof(type, "TRUE", &value) >= 0;
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
  else if (is_bool(f, type)) *d = BDL_BOOL;
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
    if (base < 0) return bdl_hdf5_lib_fail(f, name, "cannot read its type");
    s->kind = BDL_HDF5_RAGGED;
    known = dtype_of(f, base, &s->aval.dtype) && s->aval.dtype != BDL_BOOL;
    f->h5->H5Tclose(base);
  } else {
    known = dtype_of(f, s->type, &s->aval.dtype);
  }
  if (!known)
    return bdl_fail(f->ctx, BDL_ENOTSUP, "%s, %s: only integers, floats, booleans, lists of numbers and texts are read",
                    f->shown, name);
  const hid_t number = bdl_hdf5_lib_native(f, s->aval.dtype);
  s->memory = s->kind == BDL_HDF5_RAGGED ? f->h5->H5Tvlen_create(number) : number;
  if (s->memory != number) f->h5->H5Tclose(number);
  return s->memory < 0 ? bdl_hdf5_lib_fail(f, name, "cannot make its type") : BDL_OK;
}

static bdl_status read_shape(const library *f, const char *name, set *s) {
  hsize_t shape[H5S_MAX_RANK];
  char text[BDL_AVAL_TEXT];
  const int ndim = f->h5->H5Sget_simple_extent_ndims(s->space);
  if (ndim < 0 || f->h5->H5Sget_simple_extent_type(s->space) == H5S_NULL) return bdl_hdf5_lib_fail(f, name, "has no shape");
  if (ndim > BDL_MAX_NDIM)
    return bdl_fail(f->ctx, BDL_ENOTSUP, "%s, %s: %d axes; a tensor has at most %d", f->shown, name, ndim, BDL_MAX_NDIM);
  if (s->kind == BDL_HDF5_RAGGED && ndim != 1)
    return bdl_fail(f->ctx, BDL_ENOTSUP, "%s, %s: lists of numbers in %d axes; one is read", f->shown, name, ndim);
  if (f->h5->H5Sget_simple_extent_dims(s->space, shape, NULL) < 0) return bdl_hdf5_lib_fail(f, name, "has no shape");
  s->aval.ndim = ndim;
  for (int i = 0; i < ndim; i++) s->aval.shape[i] = shape[i] > INT64_MAX ? -1 : (int64_t)shape[i];
  if (bdl_aval_check(f->ctx, &s->aval) != BDL_OK)
    return bdl_fail(f->ctx, BDL_EIO, "%s, %s: %s", f->shown, name, f->ctx->error.message);
  if (bdl_aval_bytes(&s->aval) / 8192 > f->size) /* deflate packs 1032 to 1, and a number grows eightfold at most */
    return bdl_fail(f->ctx, BDL_EIO, "%s, %s: a file of %llu bytes cannot hold %s", f->shown, name,
                    (unsigned long long)f->size, bdl_aval_text(&s->aval, true, text));
  return BDL_OK;
}

static void close_set(const library *f, set *s) {
  if (s->memory >= 0) f->h5->H5Tclose(s->memory);
  if (s->space >= 0) f->h5->H5Sclose(s->space);
  if (s->type >= 0) f->h5->H5Tclose(s->type);
  if (s->id >= 0) (s->kind == BDL_HDF5_GROUP ? f->h5->H5Gclose : f->h5->H5Dclose)(s->id);
}

/* Each step of the path exists; the library asks this of a path's last step alone. */
bool bdl_hdf5_lib_has(const library *f, const char *name) {
  char part[BDL_HDF5_NAME];
  for (size_t i = 1; i <= strlen(name); i++) {
    if (name[i] && name[i] != '/') continue;
    memcpy(part, name, i);
    part[i] = '\0';
    if (f->h5->H5Lexists(f->file, part, H5P_DEFAULT) <= 0) return false;
  }
  return true;
}

static bool is_group(const library *f, const char *name) {
  const hid_t id = f->h5->H5Oopen(f->file, name, H5P_DEFAULT);
  const bool yes = id >= 0 && f->h5->H5Iget_type(id) == H5I_GROUP;
  if (id >= 0) f->h5->H5Oclose(id);
  return yes;
}

static bdl_status open_group(const library *f, const char *name, set *s) {
  H5G_info_t info;
  s->kind = BDL_HDF5_GROUP;
  s->id = f->h5->H5Gopen2(f->file, name, H5P_DEFAULT);
  if (s->id < 0 || f->h5->H5Gget_info(s->id, &info) < 0) return bdl_hdf5_lib_fail(f, name, "cannot open it");
  if (info.nlinks > f->size) return bdl_fail(f->ctx, BDL_EIO, "%s, %s: more names than bytes: damaged", f->shown, name);
  s->aval = (bdl_aval){.dtype = BDL_BOOL, .ndim = 1, .shape = {(int64_t)info.nlinks}};
  return BDL_OK;
}

/* Its numbers may be those of another file: raw bytes of it, or a part of a data set. */
static bdl_status check_own(const library *f, const char *name, hid_t set) {
  const hid_t made = f->h5->H5Dget_create_plist(set);
  if (made < 0) return bdl_hdf5_lib_fail(f, name, "cannot open it");
  const bool own = f->h5->H5Pget_external_count(made) == 0 && f->h5->H5Pget_layout(made) != H5D_VIRTUAL;
  f->h5->H5Pclose(made);
  return own ? BDL_OK : bdl_fail(f->ctx, BDL_ENOTSUP, "%s, %s: its numbers are in another file, which is not opened", f->shown, name);
}

/* To be closed also after an error. */
static bdl_status open_set(const library *f, const char *name, set *s) {
  *s = (set){.id = -1, .type = -1, .space = -1, .memory = -1};
  if (strcmp(name, "/") && !bdl_hdf5_lib_has(f, name)) return bdl_fail(f->ctx, BDL_EKEY, "%s has no data set %s", f->shown, name);
  if (is_group(f, name)) return open_group(f, name, s);
  s->id = f->h5->H5Dopen2(f->file, name, H5P_DEFAULT);
  if (s->id >= 0) s->type = f->h5->H5Dget_type(s->id);
  if (s->type >= 0) s->space = f->h5->H5Dget_space(s->id);
  if (s->space < 0) return bdl_hdf5_lib_fail(f, name, "cannot open it");
  TRY(check_own(f, name, s->id));
  TRY(read_dtype(f, name, s));
  return read_shape(f, name, s);
}

/* ---- rows ---- */

/* What the library puts a row into: memory of the context, a block's size in front. */
enum { BLOCK_HEAD = 16 };

static void *row_alloc(size_t size, void *file) {
  library *f = file;
  if (size / 8 > f->size) {
    f->memory = bdl_fail(f->ctx, BDL_EIO, "%s: a row of %zu bytes is longer than the file", f->shown, size);
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

void bdl_hdf5_lib_drop(library *f) {
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
  return f->memory != BDL_OK ? f->memory : bdl_hdf5_lib_fail(f, name, "cannot read a row");
}

/* The name of the i-th link of a group. */
static bdl_status read_name(library *f, const char *name, int64_t i, const set *s, const void **data, int64_t *n) {
  const hsize_t at = (hsize_t)i;
  const ssize_t size = f->h5->H5Lget_name_by_idx(s->id, ".", H5_INDEX_NAME, H5_ITER_INC, at, NULL, 0, H5P_DEFAULT);
  if (size < 0) return bdl_hdf5_lib_fail(f, name, "cannot read a name");
  f->memory = BDL_OK;
  f->row = row_alloc((size_t)size + 1, f);
  if (!f->row) return f->memory;
  if (f->h5->H5Lget_name_by_idx(s->id, ".", H5_INDEX_NAME, H5_ITER_INC, at, (char *)f->row, (size_t)size + 1, H5P_DEFAULT) < 0)
    return bdl_hdf5_lib_fail(f, name, "cannot read a name");
  *data = f->row;
  *n = size;
  return BDL_OK;
}

static bdl_status select_row(library *f, const char *name, int64_t i, set *s, const void **data, int64_t *n) {
  const int ndim = s->aval.ndim;
  const int64_t rows = bdl_aval_numel(&s->aval);
  const hsize_t one_row = 1;
  hsize_t at[BDL_MAX_NDIM] = {0}, count[BDL_MAX_NDIM];
  if (s->kind == BDL_HDF5_ARRAY)
    return bdl_fail(f->ctx, BDL_ETYPE, "%s, %s is an array; it has no rows", f->shown, name);
  if (i < 0 || i >= rows)
    return bdl_fail(f->ctx, BDL_EINDEX, "%s, %s: row %lld of %lld", f->shown, name, (long long)i, (long long)rows);
  if (s->kind == BDL_HDF5_GROUP) return read_name(f, name, i, s, data, n);
  for (int k = ndim - 1; k >= 0; i /= s->aval.shape[k--]) {
    at[k] = (hsize_t)(i % s->aval.shape[k]);
    count[k] = 1;
  }
  const hid_t how = f->h5->H5Pcreate(*f->h5->H5P_CLS_DATASET_XFER_ID_g);
  const hid_t one = ndim ? f->h5->H5Screate_simple(1, &one_row, NULL) : f->h5->H5Screate(H5S_SCALAR);
  bdl_status status = BDL_OK;
  if (one < 0 || how < 0 || (ndim && f->h5->H5Sselect_hyperslab(s->space, H5S_SELECT_SET, at, NULL, count, NULL) < 0) ||
      f->h5->H5Pset_vlen_mem_manager(how, row_alloc, f, row_free, f) < 0)
    status = bdl_hdf5_lib_fail(f, name, "cannot read a row");
  else
    status = read_row(f, name, s, one, how, data, n);
  if (how >= 0) f->h5->H5Pclose(how);
  if (one >= 0) f->h5->H5Sclose(one);
  return status;
}

static bdl_status read_array(const library *f, const char *name, const set *s, void **data) {
  if (s->kind != BDL_HDF5_ARRAY) return bdl_fail(f->ctx, BDL_ETYPE, "%s, %s is no array", f->shown, name);
  *data = bdl_alloc(f->ctx, bdl_aval_bytes(&s->aval));
  if (!*data) return BDL_ENOMEM;
  const herr_t status = f->h5->H5Dread(s->id, s->memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, *data);
  uint8_t *bytes = *data;
  for (int64_t i = 0; status >= 0 && s->aval.dtype == BDL_BOOL && i < bdl_aval_numel(&s->aval); i++) bytes[i] = bytes[i] != 0;
  return status < 0 ? bdl_hdf5_lib_fail(f, name, "cannot read it") : BDL_OK;
}

void bdl_hdf5_lib_read(library *f, const bdl_hdf5_request *q, bdl_hdf5_answer *a, void **data, const void **row) {
  set s;
  a->status = open_set(f, q->name, &s);
  if (a->status == BDL_OK && q->what == BDL_HDF5_READ) a->status = read_array(f, q->name, &s, data);
  if (a->status == BDL_OK && q->what == BDL_HDF5_ROW) a->status = select_row(f, q->name, q->i, &s, row, &a->n);
  a->kind = s.kind;
  a->aval = s.aval;
  if (*data) a->bytes = bdl_aval_bytes(&s.aval);
  if (*row) a->bytes = (uint64_t)a->n * bdl_dtype_size(s.aval.dtype); /* texts are of bools, a byte each */
  close_set(f, &s);
}

#endif

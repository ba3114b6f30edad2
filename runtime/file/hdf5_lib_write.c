/*
** hdf5_lib_write.c -- what is put into a file, handed to libhdf5; in the process of hdf5_lib.c.
*/
#include "file/hdf5_lib.h"

#ifdef BDL_HDF5

#include <string.h>

typedef bdl_hdf5_library library;

enum {
  TRUNCATE = 2,    /* H5F_ACC_TRUNC without what the header calls around it */
  CHUNK = 1 << 20, /* most bytes that are packed at once */
  LEVEL = 4        /* of deflate, as in h5py */
};

bdl_status bdl_hdf5_lib_create(library *f) {
  f->file = f->h5->H5Fcreate(f->path, TRUNCATE, H5P_DEFAULT, H5P_DEFAULT);
  return f->file < 0 ? bdl_hdf5_lib_fail(f, "/", "cannot write it") : BDL_OK;
}

bdl_status bdl_hdf5_lib_finish(library *f) {
  const hid_t file = f->file;
  f->file = -1;
  return file >= 0 && f->h5->H5Fclose(file) >= 0 ? BDL_OK : bdl_hdf5_lib_fail(f, "/", "cannot write it");
}

/* How a name enters the file: in UTF-8, groups on the way to it are made. */
static hid_t new_link(const library *f) {
  const hid_t p = f->h5->H5Pcreate(*f->h5->H5P_CLS_LINK_CREATE_ID_g);
  if (p >= 0) {
    f->h5->H5Pset_char_encoding(p, H5T_CSET_UTF8);
    f->h5->H5Pset_create_intermediate_group(p, 1);
  }
  return p;
}

/* How a data set is stored: with checksums; without times, so that equal data makes equal files. */
static hid_t new_layout(const library *f, const bdl_hdf5_request *q) {
  const hid_t p = f->h5->H5Pcreate(*f->h5->H5P_CLS_DATASET_CREATE_ID_g);
  const bdl_aval *a = &q->aval;
  hsize_t chunk[BDL_MAX_NDIM];
  uint64_t bytes = bdl_dtype_size(a->dtype);
  if (p < 0 || f->h5->H5Pset_obj_track_times(p, 0) < 0) return p;
  if (q->kind != BDL_HDF5_ARRAY || a->ndim == 0 || bdl_aval_numel(a) == 0) return p;
  for (int k = a->ndim - 1; k >= 0; k--) { /* whole rows of the last axes, as many as fit */
    chunk[k] = BDL_MIN((uint64_t)a->shape[k], BDL_MAX(CHUNK / bytes, 1));
    bytes *= chunk[k];
  }
  f->h5->H5Pset_chunk(p, a->ndim, chunk);
  if (q->compress) {
    f->h5->H5Pset_shuffle(p);
    f->h5->H5Pset_deflate(p, LEVEL);
  }
  f->h5->H5Pset_fletcher32(p);
  return p;
}

static hid_t new_text(const library *f) {
  const hid_t type = f->h5->H5Tcopy(*f->h5->H5T_C_S1_g);
  if (type >= 0) {
    f->h5->H5Tset_size(type, H5T_VARIABLE);
    f->h5->H5Tset_cset(type, H5T_CSET_UTF8);
  }
  return type;
}

static bool write_texts(const library *f, const bdl_hdf5_request *q, hid_t set, hid_t type, const char *data) {
  const int64_t n = bdl_aval_numel(&q->aval);
  const char *end = data + q->bytes;
  const char **texts = bdl_alloc(f->ctx, (size_t)(n + 1) * sizeof *texts);
  bool ok = texts;
  for (int64_t i = 0; ok && i < n; i++) {
    texts[i] = data;
    const char *zero = data < end ? memchr(data, 0, (size_t)(end - data)) : NULL;
    ok = zero;
    data = zero ? zero + 1 : data;
  }
  ok = ok && f->h5->H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, texts) >= 0;
  if (texts) bdl_free(f->ctx, texts, (size_t)(n + 1) * sizeof *texts);
  return ok;
}

static bdl_status write_set(const library *f, const bdl_hdf5_request *q, hid_t set, hid_t type, const void *data) {
  bool ok = true;
  if (set >= 0 && bdl_aval_numel(&q->aval) > 0)
    ok = q->kind == BDL_HDF5_TEXT ? write_texts(f, q, set, type, data)
                                  : f->h5->H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0;
  return set >= 0 && ok ? BDL_OK : bdl_hdf5_lib_fail(f, q->name, "cannot write it"); /* before another call forgets why */
}

static bdl_status put_set(const library *f, const bdl_hdf5_request *q, hid_t link, const void *data) {
  hsize_t shape[BDL_MAX_NDIM];
  for (int k = 0; k < q->aval.ndim; k++) shape[k] = (hsize_t)q->aval.shape[k];
  const hid_t space = q->aval.ndim ? f->h5->H5Screate_simple(q->aval.ndim, shape, NULL) : f->h5->H5Screate(H5S_SCALAR);
  const hid_t type = q->kind == BDL_HDF5_TEXT ? new_text(f) : bdl_hdf5_lib_native(f, q->aval.dtype);
  const hid_t layout = new_layout(f, q);
  hid_t set = -1;
  if (space >= 0 && type >= 0 && layout >= 0)
    set = f->h5->H5Dcreate2(f->file, q->name, type, space, link, layout, H5P_DEFAULT);
  bdl_status s = write_set(f, q, set, type, data);
  if (set >= 0 && f->h5->H5Dclose(set) < 0 && s == BDL_OK) s = bdl_hdf5_lib_fail(f, q->name, "cannot write it");
  if (layout >= 0) f->h5->H5Pclose(layout);
  if (type >= 0) f->h5->H5Tclose(type);
  if (space >= 0) f->h5->H5Sclose(space);
  return s;
}

static bdl_status put_group(const library *f, const bdl_hdf5_request *q, hid_t link) {
  const hid_t group = f->h5->H5Gcreate2(f->file, q->name, link, H5P_DEFAULT, H5P_DEFAULT);
  return group >= 0 && f->h5->H5Gclose(group) >= 0 ? BDL_OK : bdl_hdf5_lib_fail(f, q->name, "cannot write it");
}

bdl_status bdl_hdf5_lib_put(const library *f, const bdl_hdf5_request *q, const void *data) {
  const hid_t link = new_link(f);
  if (link < 0) return bdl_hdf5_lib_fail(f, q->name, "cannot write it");
  const bdl_status s = q->kind == BDL_HDF5_GROUP ? put_group(f, q, link) : put_set(f, q, link, data);
  f->h5->H5Pclose(link);
  return s;
}

#endif

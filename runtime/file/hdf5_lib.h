/*
** hdf5_lib.h -- between bdl and the process that reads and writes for it.  Internal to this layer.
*/
#ifndef BDL_FILE_HDF5_LIB_H
#define BDL_FILE_HDF5_LIB_H

#include "base/context.h"
#include "file/hdf5.h"

enum { BDL_HDF5_NAME = 1024 };

typedef enum bdl_hdf5_what {
  BDL_HDF5_OPEN,
  BDL_HDF5_HAS,
  BDL_HDF5_TYPE,
  BDL_HDF5_READ,
  BDL_HDF5_ROW,
  BDL_HDF5_CREATE,
  BDL_HDF5_PUT, /* of `kind` */
  BDL_HDF5_FINISH
} bdl_hdf5_what;

/* Then as many bytes as it says. */
typedef struct bdl_hdf5_request {
  bdl_hdf5_what what;
  int64_t i;     /* row */
  bool compress; /* of what is put */
  bdl_hdf5_kind kind;
  bdl_aval aval;
  uint64_t bytes;
  char name[BDL_HDF5_NAME];
} bdl_hdf5_request;

/* Then as many bytes as it says. */
typedef struct bdl_hdf5_answer {
  bdl_status status;
  bdl_hdf5_kind kind;
  bdl_aval aval;
  int64_t n;
  uint64_t bytes;
  char message[sizeof(((bdl_error *)0)->message)];
} bdl_hdf5_answer;

/* Answers until the socket is shut.  path: the file, or where one that is written is until then; shown: its name in
** messages; size: of a file that is read. */
void bdl_hdf5_serve(bdl_context *c, const char *path, const char *shown, uint64_t size, int socket);

/* False: the other side is gone. */
bool bdl_hdf5_send(int socket, const void *data, uint64_t n);
bool bdl_hdf5_receive(int socket, void *data, uint64_t n);

/* ---- inside of that process ---- */

#ifdef BDL_HDF5
#include <hdf5.h>

/* What is used of the library, which is opened when a file is: with it come a dozen others, which no start should wait for. */
#define BDL_HDF5_NAMES(X) \
  X(H5Dclose) X(H5Dcreate2) X(H5Dget_space) X(H5Dget_type) X(H5Dopen2) X(H5Dread) X(H5Dwrite) X(H5Eset_auto2) X(H5Ewalk2) \
  X(H5Fclose) X(H5Fcreate) X(H5Fopen) X(H5Gclose) X(H5Gcreate2) X(H5Gget_info) X(H5Gopen2) X(H5Iget_type) X(H5Lexists) \
  X(H5Lget_name_by_idx) X(H5Oclose) X(H5Oopen) X(H5Pclose) X(H5Pcreate) X(H5Pset_char_encoding) X(H5Pset_chunk) \
  X(H5Pset_create_intermediate_group) X(H5Pset_deflate) X(H5Pset_fletcher32) X(H5Pset_obj_track_times) X(H5Pset_shuffle) \
  X(H5Pset_vlen_mem_manager) X(H5Sclose) X(H5Screate) X(H5Screate_simple) X(H5Sget_simple_extent_dims) \
  X(H5Sget_simple_extent_ndims) X(H5Sget_simple_extent_type) X(H5Sselect_hyperslab) X(H5Tclose) X(H5Tcopy) \
  X(H5Tenum_create) X(H5Tenum_insert) X(H5Tenum_valueof) X(H5Tget_class) X(H5Tget_nmembers) X(H5Tget_sign) \
  X(H5Tget_size) X(H5Tget_super) X(H5Tis_variable_str) X(H5Tset_cset) X(H5Tset_size) X(H5Tvlen_create) X(H5open) \
  X(H5get_libversion) X(H5T_C_S1_g) X(H5T_NATIVE_INT8_g) X(H5T_NATIVE_INT32_g) X(H5T_NATIVE_UINT32_g) \
  X(H5T_NATIVE_INT64_g) X(H5T_NATIVE_FLOAT_g) X(H5T_NATIVE_DOUBLE_g) X(H5P_CLS_DATASET_XFER_ID_g) \
  X(H5P_CLS_DATASET_CREATE_ID_g) X(H5P_CLS_LINK_CREATE_ID_g) X(H5Lunregister) X(H5Dget_create_plist) \
  X(H5Pget_external_count) X(H5Pget_layout)

typedef struct bdl_h5 {
#define X(name) __typeof__(name) *name;
  BDL_HDF5_NAMES(X)
#undef X
} bdl_h5;

typedef struct bdl_hdf5_library {
  const bdl_h5 *h5;
  bdl_context *ctx;
  const char *path, *shown;
  hid_t file;
  uint64_t size;     /* of the file: what it claims to hold must be possible */
  uint8_t *row;      /* the last row that was read */
  bdl_status broken; /* the library cannot be used */
  bdl_status memory; /* of the library's last request for a row's memory */
} bdl_hdf5_library;

/* BDL_EIO with the error of the call that just failed. */
bdl_status bdl_hdf5_lib_fail(const bdl_hdf5_library *f, const char *name, const char *what);
/* The type of numbers in memory, to be closed. */
hid_t bdl_hdf5_lib_native(const bdl_hdf5_library *f, bdl_dtype d);

bool bdl_hdf5_lib_has(const bdl_hdf5_library *f, const char *name);
/* Answers TYPE, READ, ROW.  *data is to be freed by bdl_hdf5_lib_drop, *row is the library's. */
void bdl_hdf5_lib_read(bdl_hdf5_library *f, const bdl_hdf5_request *q, bdl_hdf5_answer *a, void **data, const void **row);
void bdl_hdf5_lib_drop(bdl_hdf5_library *f); /* the last row */

bdl_status bdl_hdf5_lib_create(bdl_hdf5_library *f);
bdl_status bdl_hdf5_lib_put(const bdl_hdf5_library *f, const bdl_hdf5_request *q, const void *data);
bdl_status bdl_hdf5_lib_finish(bdl_hdf5_library *f);
#endif

#endif

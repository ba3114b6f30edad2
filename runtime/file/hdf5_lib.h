/*
** hdf5_lib.h -- between bdl and the process that reads for it.  Internal to this layer.
*/
#ifndef BDL_FILE_HDF5_LIB_H
#define BDL_FILE_HDF5_LIB_H

#include "base/context.h"
#include "file/hdf5.h"

enum { BDL_HDF5_NAME = 256 };

typedef enum bdl_hdf5_what { BDL_HDF5_OPEN, BDL_HDF5_HAS, BDL_HDF5_TYPE, BDL_HDF5_READ, BDL_HDF5_ROW } bdl_hdf5_what;

typedef struct bdl_hdf5_request {
  bdl_hdf5_what what;
  int64_t i; /* row */
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

/* Answers until the socket is shut.  size: of the file. */
void bdl_hdf5_serve(bdl_context *c, const char *path, uint64_t size, int socket);

/* False: the other side is gone. */
bool bdl_hdf5_send(int socket, const void *data, uint64_t n);
bool bdl_hdf5_receive(int socket, void *data, uint64_t n);

#endif

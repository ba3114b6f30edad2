/*
** hdf5.h -- data sets of HDF5 files, through libhdf5 where the build found it.
** Three kinds of data sets: arrays of numbers; ragged ones, a vector of numbers a row; and texts, one a row.  A name is
** a path, "/spikes/times".  Malformed files are BDL_EIO with file, data set and the library's reason; where the library
** breaks down over one, only the process that reads for us does.
** Source: The HDF Group, HDF5 Reference Manual 1.10.
*/
#ifndef BDL_FILE_HDF5_H
#define BDL_FILE_HDF5_H

#include "base/base.h"

typedef struct bdl_hdf5 bdl_hdf5;

typedef enum bdl_hdf5_kind { BDL_HDF5_ARRAY, BDL_HDF5_RAGGED, BDL_HDF5_TEXT } bdl_hdf5_kind;

bool bdl_hdf5_built(void); /* was libhdf5 there? */
/* Errors: BDL_ENOTSUP it was not; BDL_EIO. */
bdl_status bdl_hdf5_open(bdl_context *c, const char *path, bdl_hdf5 **f);
void bdl_hdf5_close(bdl_hdf5 *f); /* NULL is fine */

bdl_status bdl_hdf5_has(bdl_hdf5 *f, const char *name, bool *yes);
/*
** What the data set is, and its type as bdl will hold it: i8 i16 u8 u16 become i32, f16 f32.  Of ragged ones and texts
** the shape counts rows.  Errors: BDL_EKEY no such data set; BDL_ENOTSUP numbers that bdl lacks; BDL_EIO.
*/
bdl_status bdl_hdf5_type(bdl_hdf5 *f, const char *name, bdl_hdf5_kind *kind, bdl_aval *a);
/* All of an array; a is what bdl_hdf5_type said. */
bdl_status bdl_hdf5_read(bdl_hdf5 *f, const char *name, const bdl_aval *a, void *data);
/* Row i (from 0) of a ragged data set or of texts: n numbers of the dtype, or n bytes; good until the next call. */
bdl_status bdl_hdf5_row(bdl_hdf5 *f, const char *name, int64_t i, const void **data, int64_t *n);

#endif

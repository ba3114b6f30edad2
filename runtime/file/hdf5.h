/*
** hdf5.h -- data sets of HDF5 files, through libhdf5 where the build found it.
** Three kinds of data sets: arrays of numbers; ragged ones, a vector of numbers a row; and texts, one a row.  A group is
** read as the texts of its names, in ascending order.  A name is a path, "/spikes/times".  Malformed files are BDL_EIO
** with file, data set and the library's reason; where the library breaks down over one, only the process that reads or
** writes for us does.  What leads to another file, links and numbers that it holds, is BDL_ENOTSUP; attributes are not
** looked at.
** Source: The HDF Group, HDF5 Reference Manual 1.10.
*/
#ifndef BDL_FILE_HDF5_H
#define BDL_FILE_HDF5_H

#include "base/base.h"

typedef struct bdl_hdf5 bdl_hdf5;

typedef enum bdl_hdf5_kind { BDL_HDF5_ARRAY, BDL_HDF5_RAGGED, BDL_HDF5_TEXT, BDL_HDF5_GROUP } bdl_hdf5_kind;

bool bdl_hdf5_built(void); /* was libhdf5 there? */
/* Errors: BDL_ENOTSUP it was not; BDL_EIO. */
bdl_status bdl_hdf5_open(bdl_context *c, const char *path, bdl_hdf5 **f);
void bdl_hdf5_close(bdl_hdf5 *f); /* NULL is fine */

bdl_status bdl_hdf5_has(bdl_hdf5 *f, const char *name, bool *yes);
/*
** What the data set is, and its type as bdl will hold it: i8 i16 u8 u16 become i32, f16 f32, h5py's booleans bool.  Of
** ragged ones, texts and groups the shape counts rows; only texts may have other than one axis.
** Errors: BDL_EKEY no such data set; BDL_ENOTSUP numbers that bdl lacks; BDL_EIO.
*/
bdl_status bdl_hdf5_type(bdl_hdf5 *f, const char *name, bdl_hdf5_kind *kind, bdl_aval *a);
/* All of an array; a is what bdl_hdf5_type said. */
bdl_status bdl_hdf5_read(bdl_hdf5 *f, const char *name, const bdl_aval *a, void *data);
/* Row i (from 0, in C order) of a ragged data set, of texts or of a group: n numbers, or n bytes; until the next call. */
bdl_status bdl_hdf5_row(bdl_hdf5 *f, const char *name, int64_t i, const void **data, int64_t *n);

/* ---- writing ---- */

typedef struct bdl_hdf5_writer bdl_hdf5_writer;

/*
** A file that appears under its name when finished.  compress: deflated chunks.  Groups on the way to a name are made.
** Errors: BDL_ENOTSUP as above; BDL_EIO; BDL_EVALUE a name that is none, or taken.
*/
bdl_status bdl_hdf5_create(bdl_context *c, const char *path, bool compress, bdl_hdf5_writer **w);
bdl_status bdl_hdf5_put(bdl_hdf5_writer *w, const char *name, const bdl_aval *a, const void *data); /* in C order */
/* Texts of UTF-8 in C order, a zero byte behind each, n bytes in all.  a: their shape. */
bdl_status bdl_hdf5_put_texts(bdl_hdf5_writer *w, const char *name, const bdl_aval *a, const char *texts, uint64_t n);
bdl_status bdl_hdf5_put_group(bdl_hdf5_writer *w, const char *name);
bdl_status bdl_hdf5_finish(bdl_hdf5_writer *w); /* on the disk, or nothing is; w is gone */
void bdl_hdf5_discard(bdl_hdf5_writer *w);      /* NULL is fine */

#endif

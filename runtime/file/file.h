/*
** file.h -- arrays in files: .npy (NumPy's format, versions 1 to 3) and .npz (a zip archive of them).
** Data comes from and goes to plain memory, in C order; this layer knows nothing of tensors or Lua.
** Files are not trusted: what is malformed is BDL_EIO with file, offset and reason, whatever the bytes.
** Source: NEP 1 and numpy.lib.format; PKWARE's APPNOTE 6.3.
*/
#ifndef BDL_FILE_H
#define BDL_FILE_H

#include "base/base.h"

/* ---- reading -------------------------------------------------------------------------------------- */

typedef struct bdl_npz bdl_npz; /* an open file: one array (.npy) or many, by name */

/* Which of the two the file is, its first bytes say.  Errors: BDL_EIO, also where two arrays have one name. */
bdl_status bdl_npz_open(bdl_context *c, const char *path, bdl_npz **f);
/* The same of a file in memory, which stays the caller's and must outlive f.  `name` is for messages. */
bdl_status bdl_npz_open_bytes(bdl_context *c, const char *name, const void *bytes, size_t n, bdl_npz **f);
void bdl_npz_close(bdl_npz *f); /* NULL is fine */

bool bdl_npz_is_array(const bdl_npz *f); /* a .npy: one array without a name */
int64_t bdl_npz_count(const bdl_npz *f);
const char *bdl_npz_name(const bdl_npz *f, int64_t i); /* without .npy; "" of an array alone */

/*
** Type of array i as bdl will hold it: the file's own dtype where bdl has it, else the next that holds every value:
**   i8 i16 u8 u16 -> i32    u64 -> i64, if the values fit    f16 -> f32
** Errors: BDL_EIO malformed; BDL_ENOTSUP a dtype that bdl lacks (complex, text, records, objects).
*/
bdl_status bdl_npz_aval(bdl_npz *f, int64_t i, bdl_aval *a);
/* Its values to data, bdl_aval_bytes(a) of them; a is what bdl_npz_aval said.
** Errors: as before; BDL_EIO wrong checksum, or the file is another by now; BDL_EVALUE 2^63 or more in u64. */
bdl_status bdl_npz_read(bdl_npz *f, int64_t i, const bdl_aval *a, void *data);
/* A text beside the arrays, and its bytes; -1: the file has none of that name.  Then the bytes themselves. */
#define BDL_NPZ_TEXT ".json" /* what names of texts end in */
int64_t bdl_npz_text_find(const bdl_npz *f, const char *name, size_t *n);
/* Errors: BDL_EIO. */
bdl_status bdl_npz_text_read(bdl_npz *f, int64_t text, char *data);

/* ---- writing -------------------------------------------------------------------------------------- */

/*
** The file comes into being at bdl_npz_finish: until then its bytes are in a file beside it, which is renamed then, so
** that a reader sees the old file or the whole new one.  A path that ends in .npy takes one array, of any name.
*/
typedef struct bdl_npz_writer bdl_npz_writer;
typedef struct bdl_npz_rows bdl_npz_rows; /* an array that grows along axis 0; the writer's */

/* compress: deflate the members of an .npz.  Errors: BDL_EIO the folder does not take the file. */
bdl_status bdl_npz_create(bdl_context *c, const char *path, bool compress, bdl_npz_writer **w);
/* One whole array.  Errors: BDL_EVALUE the name is taken, or no name of a file; BDL_EIO disk full and the like. */
bdl_status bdl_npz_put(bdl_npz_writer *w, const char *name, const bdl_aval *a, const void *data);
/* A text beside the arrays.  Errors: as before; BDL_EVALUE the name does not end in BDL_NPZ_TEXT. */
bdl_status bdl_npz_put_text(bdl_npz_writer *w, const char *name, const char *text, size_t n);
/*
** An array of which one row is of type `row`; it has row.ndim + 1 axes, the first as long as what was added.  Any number
** of arrays may grow at once, in any order, each in 64 KiB of memory: rows wait on disk until the file is finished.
*/
bdl_status bdl_npz_rows_new(bdl_npz_writer *w, const char *name, const bdl_aval *row, bdl_npz_rows **r);
const bdl_aval *bdl_npz_rows_type(const bdl_npz_rows *r); /* of one row */
bdl_status bdl_npz_rows_add(bdl_npz_rows *r, const void *rows, int64_t n);
/* What grew follows what was put; then the file gets its name.  w is gone, also after an error, which leaves no file. */
bdl_status bdl_npz_finish(bdl_npz_writer *w);
void bdl_npz_discard(bdl_npz_writer *w); /* leaves no file; NULL is fine */

#endif

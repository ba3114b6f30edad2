/*
** raw.h -- numbers and texts at offsets of files whose index is read elsewhere (safetensors).
** Numbers are little-endian, in C order.  Files are not trusted, as in file.h.
*/
#ifndef BDL_FILE_RAW_H
#define BDL_FILE_RAW_H

#include "base/base.h"

typedef struct bdl_raw bdl_raw;

bdl_status bdl_raw_open(bdl_context *c, const char *path, bdl_raw **f);
/* The same of a file in memory, which stays the caller's and must outlive f.  `name` is for messages. */
bdl_status bdl_raw_open_bytes(bdl_context *c, const char *name, const void *bytes, size_t n, bdl_raw **f);
void bdl_raw_close(bdl_raw *f); /* NULL is fine */
uint64_t bdl_raw_size(const bdl_raw *f);
/* Errors: BDL_EIO the file ends before. */
bdl_status bdl_raw_bytes(const bdl_raw *f, uint64_t at, void *data, size_t n);

/*
** How numbers are stored: "b1" i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8, and bf, bfloat16.  dtype: as bdl holds them (file.h).
** Bytes of one; 0: no such code.
*/
int bdl_raw_form(const char *code, bdl_dtype *dtype);
/* The numbers of an array, bdl_aval_bytes(a) of them, and the CRC-32 of their bytes in the file; `name` is for messages.
** Errors: BDL_EIO; BDL_EVALUE 2^63 or more in u8. */
bdl_status bdl_raw_numbers(const bdl_raw *f, const char *name, uint64_t at, const char *code, const bdl_aval *a, void *data, uint32_t *crc);

/* A file that comes into being at bdl_raw_finish, as in file.h.  Errors: BDL_EIO; BDL_ENOTSUP on a big-endian machine. */
typedef struct bdl_raw_writer bdl_raw_writer;
bdl_status bdl_raw_create(bdl_context *c, const char *path, bdl_raw_writer **w);
bdl_status bdl_raw_write(bdl_raw_writer *w, const void *data, size_t n);
bdl_status bdl_raw_finish(bdl_raw_writer *w); /* w is gone, also after an error, which leaves no file */
void bdl_raw_discard(bdl_raw_writer *w);      /* NULL is fine */
uint32_t bdl_raw_crc(const void *data, size_t n);

#endif

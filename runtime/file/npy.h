/*
** npy.h -- the header of a .npy, and its numbers as bdl holds them.  Internal to this layer.
** Source: NEP 1; numpy.lib.format.
*/
#ifndef BDL_FILE_NPY_H
#define BDL_FILE_NPY_H

#include "file/zip.h"

typedef struct bdl_npy {
  bdl_aval aval;    /* as bdl holds it */
  int form;         /* how a number is stored: a row of the table in npy.c */
  bool swapped;     /* in the other byte order than this machine's */
  bool fortran;     /* the first axis is the fastest */
  uint64_t data_at; /* bytes of the header */
} bdl_npy;

/* From the start of the member.  Errors: BDL_EIO; BDL_ENOTSUP a dtype that bdl has nothing for. */
bdl_status bdl_npy_header(bdl_member *m, bdl_npy *h);
/* The numbers behind it, bdl_aval_bytes(&h->aval) bytes in C order. */
bdl_status bdl_npy_data(bdl_member *m, const bdl_npy *h, void *data);

/* Form and dtype of numbers that are stored little-endian: one of the codes of raw.h.  Bytes of one; 0: no such code. */
int bdl_npy_form(const char *code, bdl_npy *h);

/* The header of an array as numpy.save writes it: `room` is left for its first extent to grow. */
#define BDL_NPY_HEADER 512
size_t bdl_npy_print(const bdl_aval *a, char text[BDL_NPY_HEADER]);

#endif

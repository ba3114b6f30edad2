/*
** build.h -- what the files of the export share.
*/
#ifndef BDL_EXPORT_BUILD_H
#define BDL_EXPORT_BUILD_H

#include <inttypes.h>

#include "exec/lower_util.h"
#include "export/export.h"

/* ---- library.c: the functions of a text (device.c of kernels/export, of kernels/cuda), of which a program takes what it calls */
typedef struct bdl_export_library bdl_export_library;
bdl_status bdl_export_library_new(bdl_context *c, bool own_math, const char *text, bdl_export_library **lib);
void bdl_export_library_free(bdl_export_library *lib);
/* Take what the names in this text stand for, and what that needs.  *missing: a function of math.h without an own form, without
** its prefix; NULL: none. */
bdl_status bdl_export_library_take(bdl_export_library *lib, const char *text, int64_t n, const char **missing);
bool bdl_export_library_has(const bdl_export_library *lib, const char *name);
bool bdl_export_library_uses_libm(const bdl_export_library *lib);
/* Once: what was taken is left. */
void bdl_export_library_write(bdl_export_library *lib, bdl_str *out);

/* ---- places.c: where values are.  The scratch memory has an array for each class of dtypes, so that no memory ever holds two. */
typedef enum bdl_export_class { BDL_X_F64, BDL_X_I64, BDL_X_F32, BDL_X_I32, BDL_X_B8, BDL_X_CLASSES } bdl_export_class;
extern const char *const bdl_export_class_name[BDL_X_CLASSES];  /* "f32" */
extern const char *const bdl_export_class_ctype[BDL_X_CLASSES]; /* "float" */
const char *bdl_export_ctype(bdl_dtype d);                      /* of an element in memory */

typedef struct bdl_export_constant {
  bdl_dtype dtype;
  bool narrow;      /* i32 that are written as 16 bits without sign */
  int64_t n;
  const void *data; /* borrowed, or of `own` bytes */
  size_t own;
} bdl_export_constant;

typedef struct bdl_export_failure {
  bdl_status status;
  bdl_src src;
  const char *what;
  const bdl_inst *again; /* a check that a host makes again for its message; NULL: none */
} bdl_export_failure;

typedef struct bdl_exporter bdl_exporter;
enum { BDL_EXPORT_PLACE = 160 };

/* What the text is for.  A collective one is run by all threads of a GPU alike: what it calls shares the work out among them, and
** barriers stand between what depends on one another (runtime/gpu). */
typedef struct bdl_export_target {
  bool collective;
  bdl_status (*place)(bdl_exporter *m, bdl_ref r, char buf[BDL_EXPORT_PLACE]);
  const void *(*known)(const bdl_exporter *m, bdl_ref r);
  bool (*is_const)(const bdl_exporter *m, int32_t slot);
  bdl_status (*group)(bdl_exporter *m, const bdl_inst *i, int indent);
  bdl_status (*kernel)(bdl_exporter *m, const bdl_inst *i, int indent);
  bdl_status (*before)(bdl_exporter *m, const bdl_inst *i, int indent); /* what stands in front of an instruction; NULL: nothing */
  void (*settle)(bdl_exporter *m, int indent); /* in front of what all threads decide alike; NULL: nothing */
  bdl_status (*scan)(bdl_exporter *m, const bdl_inst *i, int indent, bool *done); /* one that it can do otherwise; NULL: none */
  bdl_status (*stepped)(bdl_exporter *m, const bdl_inst *i, int indent); /* what a loop does after a step t<id>; NULL: nothing */
} bdl_export_target;
extern const bdl_export_target bdl_export_to_c99;

struct bdl_exporter {
  bdl_context *c;
  const bdl_export_target *to;
  const bdl_export *x;
  bdl_export_library *lib;
  bdl_str text;                          /* of the functions */
  BDL_VEC(bdl_export_constant) constants;
  BDL_VEC(bdl_export_failure) failures;  /* what number k + 1 means that a function returns */
  int64_t scratch[BDL_X_CLASSES];        /* elements */
  /* the function that is written */
  const bdl_export_fn *fn;
  const bdl_plan *plan;
  bdl_dtype *dtype;  /* [slots] */
  int64_t *count;    /* [slots] elements, of ARENA and shadows */
  int64_t *at;       /* [slots] in its class of the scratch */
  bool *shadow;      /* [slots] a State's new value, brought home at the end */
  bool may_fail;
  int loops;         /* around what is written */
  int64_t room;      /* bytes of scratch that a collective text needs beside the plan's */
};

#define BDL_ADD(...) bdl_str_addf(&m->text, __VA_ARGS__)

/* Makes places for the slots of fn's plan.  */
bdl_status bdl_export_places(bdl_exporter *m, const bdl_export_fn *fn);
void bdl_export_places_free(bdl_exporter *m);
/* Appends the pointer to a place: `s->V`, `w->f32 + 12`, `data_3`. */
bdl_status bdl_export_place(bdl_exporter *m, bdl_ref r);
/* As text into buf: the same. */
bdl_status bdl_export_place_text(bdl_exporter *m, bdl_ref r, char buf[BDL_EXPORT_PLACE]);
bool bdl_export_is_const(const bdl_exporter *m, int32_t slot);
/* The number of a constant array of these elements; equal ones are one.  own: the data is copied. */
bdl_status bdl_export_constant_of(bdl_exporter *m, bdl_dtype d, int64_t n, const void *data, bool narrow, bool own, int32_t *k);
/* What slot r holds for ever, from r on; NULL: not known. */
const void *bdl_export_known(const bdl_exporter *m, bdl_ref r);
/* A failure's number, which the function returns. */
bdl_status bdl_export_failure_of(bdl_exporter *m, bdl_status status, bdl_src src, const char *what, int64_t *number);

/* ---- text.c: what differs by target in a few words */
void bdl_export_sync(bdl_exporter *m, int indent);                       /* a barrier; nothing for one thread */
void bdl_export_copy(bdl_exporter *m, int indent, const char *to, const char *from, size_t bytes);
void bdl_export_open(bdl_exporter *m, const char *type, int64_t n);      /* address of a constant struct (n 0), or of an array */
void bdl_export_close(bdl_exporter *m);
void bdl_export_each(bdl_exporter *m, const char *i, int64_t n);         /* `for (..)` over elements 0 .. n - 1, shared out */

/* ---- literal.c: one element as a constant expression of C */
void bdl_export_literal(bdl_str *out, bdl_dtype d, const void *x, bool initialiser);

/* ---- group.c, kernel.c, kernel_sparse.c */
bdl_status bdl_export_group(bdl_exporter *m, const bdl_inst *i, int indent);
bdl_status bdl_export_kernel(bdl_exporter *m, const bdl_inst *i, int indent);
bdl_status bdl_export_sparse(bdl_exporter *m, const bdl_inst *i, int indent);
/* Elements of scratch that instruction i needs here, and of which dtype; may it fail? */
int64_t bdl_export_scratch(const bdl_exporter *m, const bdl_inst *i, bdl_dtype *d);
bool bdl_export_can_fail(const bdl_exporter *m, const bdl_inst *i);

/* What the texts of kernels share.  An operand of gather or scatter: a check that its indices are in range, where they are not known;
** the literal that says how they walk. */
bdl_status bdl_export_fails(bdl_exporter *m, const bdl_inst *i, bdl_status status, const char *what); /* behind `if (..` */
bdl_status bdl_export_check_index(bdl_exporter *m, const bdl_inst *i, int indent);
void bdl_export_indexing(bdl_exporter *m, const bdl_inst *i);
void bdl_export_around(bdl_exporter *m, bdl_around a);
/* Extents of runs of axes, alternately kept and reduced, the first kept: as exec/lower_reduce.c, from the last run on. */
int bdl_export_runs(const bdl_aval *x, const bdl_param *axes, int64_t extent[BDL_MAX_NDIM + 1]);
bdl_around bdl_export_take_run(int64_t *extent, int *n);

/* ---- program.c: the body of a function */
bdl_status bdl_export_block(bdl_exporter *m, const bdl_block *b, int indent);
bdl_status bdl_export_instruction(bdl_exporter *m, const bdl_inst *i, int indent);
bdl_status bdl_export_row(bdl_exporter *m, int32_t slot, int indent); /* the pointer m<slot> to rows that a number chooses */
/* The pointers of scan i to the rows of step t<id>. */
bdl_status bdl_export_rows(bdl_exporter *m, const bdl_inst *i, int indent);
bdl_status bdl_export_function(bdl_exporter *m, const bdl_export_fn *fn);

#endif

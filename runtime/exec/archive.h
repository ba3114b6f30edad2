/*
** archive.h -- the programs of a model in one shared object, for hosts without a compiler (`bdl compile`, `bdl run --native`).
**
** It exports a bdl_native_code for each program, called by the key of its text, so that what changed since is not found; which
** bdl made it and for which instruction set, as text; and it is sealed like the programs of the cache.
*/
#ifndef BDL_ARCHIVE_H
#define BDL_ARCHIVE_H

#include "base/base.h"

#include "exec/program.h"

/* Compiles the emitted texts of n plans, each once, into the shared object `path`, with BDL_CC or cc, for a target (NULL: this
** processor).  *programs: how many there are.  What was at `path` stays until all is well.
** Errors: BDL_EVALUE no such target, not one program; BDL_EIO what the system or the compiler said; BDL_EINTERRUPT; BDL_ENOMEM. */
bdl_status bdl_archive_make(bdl_context *c, const char *const *texts, int n, const char *target, const char *path, int *programs);
/* May bdl_archive_make write there?  Errors: BDL_EIO. */
bdl_status bdl_archive_writable(bdl_context *c, const char *path);

/* Programs come from `path` first from now on, and kernels are those of its instruction set, so this comes before the first
** program.  A processor without that instruction set is a warning, and nothing else.
** Errors: BDL_EIO it cannot be read, may be written by others, is no such file, is damaged, was made by another bdl; BDL_ENOMEM. */
bdl_status bdl_archive_open(bdl_context *c, const char *path);

struct bdl_native_context;
/* The program of this text for t; NULL: it is not there. */
const bdl_native_code *bdl_archive_find(const struct bdl_native_context *n, const char *text, const bdl_program_target *t);
void bdl_archive_close(bdl_context *c, struct bdl_native_context *n);

#endif

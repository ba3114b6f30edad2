/*
** replay.h -- what each equation made, as a hash, into a file; or the same compared with such a file.
**
**     "bdl recording 1\n"   bytes of the header (8)   header, a text   entries, 16 bytes each: {key, hash}
**
** An entry is a program that begins (its hash), an equation that ran (its results), or the end (how many came before).  Numbers are
** those of the machine, little-endian.
*/
#ifndef BDL_EXEC_REPLAY_H
#define BDL_EXEC_REPLAY_H

#include "exec/exec_context.h"

/* From now on what runs is recorded.  Errors: BDL_EIO; BDL_EVALUE one of the two is going on. */
bdl_status bdl_replay_record(bdl_exec_context *x, const char *path, const char *header, size_t n);
/* From now on what runs is compared: what differs is an error of the run.  Errors: as before, and BDL_EIO no recording. */
bdl_status bdl_replay_check(bdl_exec_context *x, const char *path);
/* Ends either.  *n: results that were recorded or compared.  Errors: BDL_EIO the file could not be written; BDL_EVALUE the recording
** goes on. */
bdl_status bdl_replay_end(bdl_exec_context *x, int64_t *n);
void bdl_replay_stop(bdl_exec_context *x); /* gives it up, if there is one */

/* For run.c: a plan begins; an instruction has run, slots are where `frame` says. */
bdl_status bdl_replay_begin(bdl_exec_context *x, const bdl_plan *plan);
bdl_status bdl_replay_done(bdl_exec_context *x, const bdl_inst *i, char *const *frame);

#endif

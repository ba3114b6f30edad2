/*
** cache.h -- the folder of compiled programs: <key>.so, written beside and renamed, so that whoever looks sees all of it or none.
*/
#ifndef BDL_CACHE_H
#define BDL_CACHE_H

#include "base/base.h"

enum { BDL_CACHE_PATH = 4096 };

/* BDL_CACHE, else XDG_CACHE_HOME/bdl, else HOME/.cache/bdl; made where it is missing.  It must belong to this user alone, since what
** is in it is run.  Errors: BDL_EIO, with the reason. */
bdl_status bdl_cache_dir(bdl_context *c, char dir[BDL_CACHE_PATH]);
/* How many programs of how many bytes. */
typedef struct bdl_cache_size {
  int64_t files, bytes;
} bdl_cache_size;
bdl_cache_size bdl_cache_measure(const char *dir);
/* Remove the programs that were used longest ago until at most `bytes` are left, and what compilers left
** that were stopped. */
void bdl_cache_trim(const char *dir, int64_t bytes);

#endif

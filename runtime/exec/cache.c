/*
** cache.c -- the folder of compiled programs.
*/
#include "exec/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Every folder on the way, ours with access for this user alone. */
static int make_folders(char *path) {
  for (char *at = path + 1; *at; at++) {
    if (*at != '/') continue;
    *at = 0;
    const int bad = mkdir(path, 0777) != 0 && errno != EEXIST;
    *at = '/';
    if (bad) return -1;
  }
  return mkdir(path, 0700) != 0 && errno != EEXIST ? -1 : 0;
}

bdl_status bdl_cache_dir(bdl_context *c, char dir[BDL_CACHE_PATH]) {
  const char *own = getenv("BDL_CACHE"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  const bool set = own && *own, has_xdg = xdg && *xdg == '/';
  struct stat st;
  if (!set && !has_xdg && !(home && *home == '/'))
    return bdl_fail(c, BDL_EIO, "there is no folder for a cache: BDL_CACHE, XDG_CACHE_HOME and HOME are not set");
  const int n = set ? snprintf(dir, BDL_CACHE_PATH, "%s", own)
                    : snprintf(dir, BDL_CACHE_PATH, has_xdg ? "%s/bdl" : "%s/.cache/bdl", has_xdg ? xdg : home);
  if (n < 0 || n >= BDL_CACHE_PATH - 128) return bdl_fail(c, BDL_EIO, "the name of the cache's folder is too long");
  if (make_folders(dir) != 0 || stat(dir, &st) != 0) return bdl_fail(c, BDL_EIO, "%s: %s", dir, strerror(errno));
  if (!S_ISDIR(st.st_mode)) return bdl_fail(c, BDL_EIO, "%s is not a folder", dir);
  if (st.st_uid != geteuid() || st.st_mode & 022)
    return bdl_fail(c, BDL_EIO, "%s may be written by others; what is in it would be run", dir);
  if (access(dir, R_OK | W_OK | X_OK) != 0) return bdl_fail(c, BDL_EIO, "%s: %s", dir, strerror(errno));
  return BDL_OK;
}

typedef struct entry {
  char name[128];
  int64_t bytes, used; /* ns since the epoch */
} entry;

static bool is_program(const char *name) {
  const size_t n = strlen(name);
  return (n > 3 && strcmp(name + n - 3, ".so") == 0) || (n > 6 && strcmp(name + n - 6, ".cubin") == 0);
}

/* The next program in d; or, `parts`, what a compiler leaves: <32 digits>.something else. */
static bool next(DIR *d, entry *e, bool parts) {
  for (struct dirent *f; (f = readdir(d));) {
    struct stat st;
    const size_t n = strlen(f->d_name);
    const bool part = strspn(f->d_name, "0123456789abcdef") == 32 && f->d_name[32] == '.' && !is_program(f->d_name);
    if (n >= sizeof e->name || !(parts ? part : is_program(f->d_name))) continue;
    if (fstatat(dirfd(d), f->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode)) continue;
    memcpy(e->name, f->d_name, n + 1);
    e->bytes = (int64_t)st.st_size;
    e->used = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    return true;
  }
  return false;
}

bdl_cache_size bdl_cache_measure(const char *dir) {
  bdl_cache_size s = {0, 0};
  entry e;
  DIR *d = opendir(dir);
  if (!d) return s;
  while (next(d, &e, false)) s.files++, s.bytes += e.bytes;
  closedir(d);
  return s;
}

/* What compilers left that were stopped: nobody waits for it after a day. */
static void sweep(const char *dir) {
  entry e;
  DIR *d = opendir(dir);
  if (!d) return;
  const int64_t yesterday = ((int64_t)time(NULL) - 24 * 3600) * 1000000000;
  while (next(d, &e, true))
    if (e.used < yesterday) unlinkat(dirfd(d), e.name, 0);
  closedir(d);
}

void bdl_cache_trim(const char *dir, int64_t bytes) {
  sweep(dir);
  for (int64_t left = bdl_cache_measure(dir).bytes; left > bytes;) { /* a file a round: few are ever too many */
    entry e, oldest = {.used = INT64_MAX};
    DIR *d = opendir(dir);
    if (!d) return;
    while (next(d, &e, false))
      if (e.used < oldest.used) oldest = e;
    const bool gone = oldest.used < INT64_MAX && unlinkat(dirfd(d), oldest.name, 0) == 0;
    closedir(d);
    if (!gone) return;
    left -= oldest.bytes;
  }
}

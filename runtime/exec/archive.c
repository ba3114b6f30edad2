/*
** archive.c -- shared objects of many programs: made, opened, searched.
*/
#include "exec/archive.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/context.h"
#include "exec/cache.h"
#include "exec/exec_context.h"
#include "exec/program.h"

#define MADE_BY "bdl_native_made_by"
#define MADE_FOR "bdl_native_made_for"

/* ---- making ----------------------------------------------------------------------------------------- */

/* $1 folder, $2 the compiler and its flags, $3 how many at once, $4 the archive, $5 where it is put together. */
static const char *const SCRIPT =
  "cd \"$1\" && exec 2>log || exit 1\n"
  "n=0\n"
  "for f in *.c; do\n"
  "  { $2 -c -o \"${f%.c}.o\" \"$f\" || : >failed; } &\n"
  "  n=$((n + 1)); [ $((n % $3)) -ne 0 ] || wait\n"
  "done\n"
  "wait\n"
  "SEALED=$5\n"
  "[ ! -e failed ] && $2 -o \"$5\" *.o -lm && " BDL_PROGRAM_SEAL " && mv -f \"$5\" \"$4\"\n";

/* What every program of this bdl has in common. */
static void made_by(const bdl_program_target *t, char key[BDL_PROGRAM_KEY]) {
  bdl_sha256 common;
  bdl_program_common(&common);
  bdl_program_key(&common, "", t, "", key);
}

static void absolute(const char *path, char out[BDL_CACHE_PATH]) {
  char here[BDL_CACHE_PATH / 2] = ".";
  if (*path != '/' && !getcwd(here, sizeof here)) memcpy(here, ".", 2);
  snprintf(out, BDL_CACHE_PATH, "%s%s%s", *path == '/' ? "" : here, *path == '/' ? "" : "/", path);
}

bdl_status bdl_archive_writable(bdl_context *c, const char *path) {
  char folder[BDL_CACHE_PATH];
  struct stat st;
  if (strlen(path) >= BDL_CACHE_PATH / 2 - 64) return bdl_fail(c, BDL_EIO, "the name of the file is too long");
  if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) return bdl_fail(c, BDL_EIO, "%s is no file", path);
  absolute(path, folder);
  *strrchr(folder, '/') = 0;
  if (access(*folder ? folder : "/", W_OK | X_OK) != 0) return bdl_fail(c, BDL_EIO, "%s: %s", path, strerror(errno));
  return BDL_OK;
}

static bdl_status unwritten(bdl_context *c, const char *path) { return bdl_fail(c, BDL_EIO, "%s: %s", path, strerror(errno)); }

/* By their keys, so that what comes again is written once. */
static bdl_status write_programs(bdl_context *c, const char *folder, const char *const *texts, int n, const bdl_program_target *t,
                                 int *programs) {
  char path[BDL_CACHE_PATH], key[BDL_PROGRAM_KEY];
  bdl_sha256 common;
  bdl_program_common(&common);
  *programs = 0;
  for (int i = 0; i < n; i++) {
    bdl_program_key(&common, texts[i], t, "", key);
    snprintf(path, sizeof path, "%s/%s.c", folder, key);
    if (access(path, F_OK) == 0) continue;
    if (!bdl_program_write(path, key, texts[i])) return unwritten(c, path);
    ++*programs;
  }
  made_by(t, key);
  const char *parts[] = {"const char " MADE_BY "[] = \"", key, "\", " MADE_FOR "[] = \"", t->isa, "\";\n"};
  snprintf(path, sizeof path, "%s/made.c", folder);
  return bdl_program_write_parts(path, parts, BDL_LEN(parts)) ? BDL_OK : unwritten(c, path);
}

/* The first line of the log. */
static bdl_status complain(bdl_context *c, const char *path, const char *folder) {
  char log[BDL_CACHE_PATH], line[256] = "";
  snprintf(log, sizeof log, "%s/log", folder);
  FILE *f = fopen(log, "r");
  if (f && !fgets(line, sizeof line, f)) *line = 0;
  if (f) fclose(f);
  line[strcspn(line, "\n")] = 0;
  return bdl_fail(c, BDL_EIO, "%s was not made by %s: %s", path, bdl_program_compiler(), *line ? line : "no reason given");
}

static bdl_status compile(bdl_context *c, const char *folder, const bdl_program_target *t, const char *path) {
  char command[BDL_PROGRAM_FLAGS], jobs[16], at[BDL_CACHE_PATH], part[BDL_CACHE_PATH + 32];
  bdl_program_command(t, command);
  snprintf(jobs, sizeof jobs, "%d", bdl_pool_default());
  absolute(path, at);
  snprintf(part, sizeof part, "%s.%ld.tmp", at, (long)getpid());
  const char *args[] = {folder, command, jobs, at, part};
  const int status = bdl_program_shell(SCRIPT, args, BDL_LEN(args), &c->interrupted);
  if (status == 0) return BDL_OK;
  unlink(part);
  if (c->interrupted) {
    bdl_ask_stop(c, false);
    return bdl_fail(c, BDL_EINTERRUPT, "interrupted while programs were compiled; %s is as before", path);
  }
  return status < 0 ? bdl_fail(c, BDL_EIO, "/bin/sh cannot be run") : complain(c, path, folder);
}

bdl_status bdl_archive_make(bdl_context *c, const char *const *texts, int n, const char *target, const char *path, int *programs) {
  char folder[BDL_CACHE_PATH - 256];
  const char *tmp = getenv("TMPDIR");
  const bdl_program_target *t = bdl_program_target_named(target ? target : bdl_k_select(NULL)->isa);
  if (!t) return bdl_fail(c, BDL_EVALUE, "there is no target `%s`", target);
  if (n == 0) return bdl_fail(c, BDL_EVALUE, "there is no program to compile");
  TRY(bdl_archive_writable(c, path));
  snprintf(folder, sizeof folder, "%s/bdl-XXXXXX", tmp && *tmp ? tmp : "/tmp");
  if (!mkdtemp(folder)) return unwritten(c, folder);
  bdl_status s = write_programs(c, folder, texts, n, t, programs);
  if (s == BDL_OK) s = compile(c, folder, t, path);
  bdl_program_shell("rm -rf \"$1\"", (const char *[]){folder}, 1, NULL);
  return s;
}

/* ---- opening ---------------------------------------------------------------------------------------- */

static bdl_status trusted(bdl_context *c, const char *path) {
  struct stat st;
  if (strlen(path) >= BDL_CACHE_PATH / 2 - 64) return bdl_fail(c, BDL_EIO, "the name of the file is too long");
  if (stat(path, &st) != 0 || access(path, R_OK) != 0) return bdl_fail(c, BDL_EIO, "%s: %s", path, strerror(errno));
  if (!S_ISREG(st.st_mode)) return bdl_fail(c, BDL_EIO, "%s is no file", path);
  if (st.st_mode & S_IWOTH) return bdl_fail(c, BDL_EIO, "%s may be written by everybody; what is in it would be run", path);
  if (!bdl_program_whole(path)) return bdl_fail(c, BDL_EIO, "%s was not written by bdl compile, or is damaged", path);
  return BDL_OK;
}

/* *k NULL: it is in order, but not for this processor, which is said. */
static bdl_status fits(bdl_context *c, void *library, const char *path, const bdl_k_table **k) {
  const char *by = dlsym(library, MADE_BY), *isa = dlsym(library, MADE_FOR);
  const bdl_program_target *t = isa ? bdl_program_target_named(isa) : NULL;
  char key[BDL_PROGRAM_KEY] = "", text[512];
  if (t) made_by(t, key);
  if (!t || !by || strcmp(by, key) != 0) return bdl_fail(c, BDL_EIO, "%s was compiled by another version of bdl; compile it again", path);
  *k = bdl_k_select(isa);
  if (*k) return BDL_OK;
  snprintf(text, sizeof text, "bdl: without native code of %.300s: it is for processors with %s (%s), this one has %s", path,
           isa, t->march, bdl_k_select(NULL)->isa);
  if (c->warn) c->warn(c->warn_ud, text);
  return BDL_OK;
}

bdl_status bdl_archive_open(bdl_context *c, const char *path) {
  char at[BDL_CACHE_PATH], *own_path = NULL;
  bdl_exec_context *x;
  const bdl_k_table *k = NULL;
  TRY(bdl_exec_get(c, &x));
  if (x->native.archive_used) return bdl_fail(c, BDL_EVALUE, "native code comes from %s already", x->native.archive_path);
  TRY(trusted(c, path));
  absolute(path, at);
  void *library = dlopen(at, RTLD_NOW | RTLD_LOCAL);
  if (!library) return bdl_fail(c, BDL_EIO, "%s", dlerror());
  bdl_status s = fits(c, library, path, &k);
  if (s == BDL_OK && k && !(own_path = bdl_strdup(c, path))) s = BDL_ENOMEM;
  if (s != BDL_OK || !k) dlclose(library);
  else {
    bdl_archive_close(c, &x->native);
    x->native.archive = library;
    x->native.archive_path = own_path;
    x->k = k;
    c->isa = k->isa;
  }
  return s;
}

const bdl_native_code *bdl_archive_find(const bdl_native_context *n, const char *text, const bdl_program_target *t) {
  char key[BDL_PROGRAM_KEY];
  bdl_program_key(&n->common, text, t, "", key);
  return bdl_program_in(n->archive, key);
}

void bdl_archive_close(bdl_context *c, bdl_native_context *n) {
  if (!n->archive) return;
  dlclose(n->archive);
  bdl_free(c, n->archive_path, strlen(n->archive_path) + 1);
  n->archive = NULL;
}

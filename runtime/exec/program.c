/*
** program.c -- what is compiled, by what, under which name.
*/
#include "exec/program.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exec/emit.h"

/* ---- the text --------------------------------------------------------------------------------------- */

static const bdl_program_target targets[] = {
#if defined(__x86_64__)
  {"x86-64", "x86-64", ""},
  {"avx2", "x86-64-v3", "-mavx2 -mfma -mprefer-vector-width=256"},
  {"avx512", "x86-64-v4", "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mprefer-vector-width=512"},
#elif defined(__aarch64__)
  {"aarch64", "armv8-a", ""},
#else
  {"generic", "generic", ""},
#endif
};

const bdl_program_target *bdl_program_targets(int *n) {
  *n = BDL_LEN(targets);
  return targets;
}

const bdl_program_target *bdl_program_target_named(const char *name) {
  for (int i = 0; i < BDL_LEN(targets); i++)
    if (strcmp(name, targets[i].isa) == 0 || strcmp(name, targets[i].march) == 0) return &targets[i];
  return NULL;
}

static const char *const FLAGS = "-std=c11 -O3 -w -shared -fPIC -fno-math-errno -fno-trapping-math -ffp-contract=off "
                                 "-fvisibility=default -fno-stack-protector";

static const char *const HEAD =
  "#define BDL_FN static inline __attribute__((always_inline))\n"
  "#if defined(__FMA__) || defined(__aarch64__)\n"
  "#define BDL_FMA_f32 __builtin_fmaf\n"
  "#define BDL_FMA_f64 __builtin_fma\n"
  "#else\n"
  "#define BDL_FMA_f32(a, b, c) ((a) * (b) + (c))\n"
  "#define BDL_FMA_f64 BDL_FMA_f32\n"
  "#endif\n"
  "#if defined(__clang__)\n"
  "#define BDL_VECTOR _Pragma(\"clang loop vectorize(assume_safety)\")\n"
  "#else\n"
  "#define BDL_VECTOR _Pragma(\"GCC ivdep\")\n"
  "#endif\n";

const char *bdl_program_compiler(void) {
  const char *cc = getenv("BDL_CC");
  return cc && *cc ? cc : "cc";
}

void bdl_program_command(const bdl_program_target *t, char command[BDL_PROGRAM_FLAGS]) {
  snprintf(command, BDL_PROGRAM_FLAGS, "%s %s %s", bdl_program_compiler(), FLAGS, t->flags);
}

static void hex(const unsigned char *bytes, int n, char *out) {
  static const char digits[] = "0123456789abcdef";
  for (int i = 0; i < n; i++) out[2 * i] = digits[bytes[i] >> 4], out[2 * i + 1] = digits[bytes[i] & 15];
  out[2 * n] = 0;
}

static void add(bdl_sha256 *s, const char *part) { bdl_sha256_add(s, part, strlen(part) + 1); }

void bdl_program_common(bdl_sha256 *s) {
  bdl_sha256_init(s);
  add(s, HEAD), add(s, bdl_native_elements), add(s, FLAGS);
}

void bdl_program_key(const bdl_sha256 *common, const char *text, const bdl_program_target *t, const char *compiler,
                     char key[BDL_PROGRAM_KEY]) {
  unsigned char sum[32];
  bdl_sha256 s = *common;
  add(&s, t->flags), add(&s, compiler), add(&s, text);
  bdl_sha256_end(&s, sum);
  hex(sum, 16, key);
}

bool bdl_program_write_parts(const char *path, const char *const *parts, int n) {
  FILE *f = fopen(path, "w");
  bool ok = f != NULL;
  for (int i = 0; i < n && ok; i++) ok = fputs(parts[i], f) >= 0;
  if (f && fclose(f) != 0) ok = false;
  if (f && !ok) unlink(path);
  return ok;
}

#define SYMBOL "bdl_native_"

bool bdl_program_write(const char *path, const char *key, const char *text) {
  char name[96];
  snprintf(name, sizeof name, "#define BDL_PROGRAM " SYMBOL "%s\n", key);
  const char *parts[] = {HEAD, name, bdl_native_elements, text};
  return bdl_program_write_parts(path, parts, BDL_LEN(parts));
}

/* ---- the file ---------------------------------------------------------------------------------------------- */

bool bdl_program_whole(const char *path) {
  enum { SUM = 64, TAIL = SUM + 3 }; /* "<sum>  -" */
  unsigned char bytes[4096], sum[32];
  char want[SUM + 1], got[SUM + 1] = "";
  struct stat st;
  bdl_sha256 s;
  bdl_sha256_init(&s);
  FILE *f = fopen(path, "rb");
  bool ok = f && fstat(fileno(f), &st) == 0 && st.st_size > TAIL;
  for (int64_t left = ok ? (int64_t)st.st_size - TAIL : 0; left > 0 && ok;) {
    const size_t n = fread(bytes, 1, (size_t)BDL_MIN(left, (int64_t)sizeof bytes), f);
    bdl_sha256_add(&s, bytes, n);
    left -= (int64_t)n;
    ok = n > 0;
  }
  bdl_sha256_end(&s, sum);
  hex(sum, 32, want);
  ok = ok && fread(got, 1, SUM, f) == SUM && strcmp(got, want) == 0;
  if (f) fclose(f);
  return ok;
}

const bdl_native_code *bdl_program_in(void *library, const char *key) {
  char name[sizeof SYMBOL + BDL_PROGRAM_KEY];
  snprintf(name, sizeof name, SYMBOL "%s", key);
  return dlsym(library, name);
}

/* ---- the shell --------------------------------------------------------------------------------------------- */

extern char **environ;

int bdl_program_shell(const char *script, const char *const *args, int n_args, const volatile int *interrupted) {
  enum { MOST = 8 };
  char *argv[MOST + 5] = {"sh", "-c", (char *)(uintptr_t)script, "sh"};
  pid_t pid;
  int status = 0;
  posix_spawnattr_t attr;
  posix_spawn_file_actions_t files;
  BDL_ASSERT(n_args <= MOST, "%d arguments", n_args);
  for (int i = 0; i < n_args; i++) argv[4 + i] = (char *)(uintptr_t)args[i];
  if (posix_spawnattr_init(&attr) != 0) return -1;
  if (posix_spawn_file_actions_init(&files) != 0) {
    posix_spawnattr_destroy(&attr);
    return -1;
  }
  posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attr, 0);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
  const int failed = posix_spawn(&pid, "/bin/sh", &files, &attr, argv, environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attr);
  if (failed) return -1;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
    if (interrupted && *interrupted) kill(-pid, SIGKILL);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

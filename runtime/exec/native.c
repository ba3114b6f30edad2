/*
** native.c -- compiled plans: looked up, compiled in the background, loaded.
*/
#include "exec/native.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/context.h"
#include "exec/cache.h"
#include "exec/emit.h"
#include "exec/exec_context.h"

/* Seconds in the interpreter tier that are worth a look into the cache, and a compiler's work. */
#define WORTH_LOOK 2e-3
#define WORTH_COMPILER 20e-3
enum { MOST_COMPILERS = 2 };
#define CACHE_BYTES (INT64_C(256) << 20)

/* ---- the text --------------------------------------------------------------------------------------- */

/* Flags by instruction set of the tile kernels: one and the same for both tiers. */
static const char *isa_flags(const char *isa) {
  if (strcmp(isa, "avx512") == 0) return "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mprefer-vector-width=512";
  if (strcmp(isa, "avx2") == 0) return "-mavx2 -mfma -mprefer-vector-width=256";
  return "";
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

static const char *compiler(void) {
  const char *cc = getenv("BDL_CC");
  return cc && *cc ? cc : "cc";
}

static void hex(const unsigned char *bytes, int n, char *out) {
  static const char digits[] = "0123456789abcdef";
  for (int i = 0; i < n; i++) out[2 * i] = digits[bytes[i] >> 4], out[2 * i + 1] = digits[bytes[i] & 15];
  out[2 * n] = 0;
}

static void key_of(const bdl_emitted *e, const char *isa, char key[33]) {
  const char *parts[] = {HEAD, bdl_native_elements, FLAGS, isa_flags(isa), compiler(), e->text.s};
  unsigned char sum[32];
  bdl_sha256 s;
  bdl_sha256_init(&s);
  for (int i = 0; i < BDL_LEN(parts); i++) bdl_sha256_add(&s, parts[i], strlen(parts[i]) + 1);
  bdl_sha256_end(&s, sum);
  hex(sum, 16, key);
}

static void path_of(const bdl_exec_context *x, const char *key, const char *suffix, char path[BDL_CACHE_PATH]) {
  snprintf(path, BDL_CACHE_PATH, "%s/%s%s", x->native.dir, key, suffix);
}

/* ---- the end of it ------------------------------------------------------------------------------------ */

/* The interpreter goes on; the reason is said once a context. */
static void off(bdl_exec_context *x, bdl_plan *plan, const char *why) {
  char text[512];
  if (plan->native->state == BDL_N_COMPILING) x->native.compiling--;
  plan->native->state = BDL_N_OFF;
  if (x->native.told || !why) return;
  x->native.told = true;
  snprintf(text, sizeof text, "bdl: without native code: %.450s", why);
  if (x->ctx->warn) x->ctx->warn(x->ctx->warn_ud, text);
}

static void off_for_error(bdl_exec_context *x, bdl_plan *plan) {
  off(x, plan, bdl_last_error(x->ctx)->message);
  bdl_clear_error(x->ctx);
}

void bdl_native_free(bdl_plan *plan) {
  bdl_native_plan *n = plan->native;
  bdl_exec_context *x = plan->ctx->slot[BDL_SLOT_EXEC].p;
  if (!n) return;
  if (n->state == BDL_N_COMPILING) x->native.compiling--;
  BDL_VEC_FREE(plan->ctx, n->link);
  if (n->library) dlclose(n->library);
  bdl_free(plan->ctx, n, sizeof *n);
  plan->native = NULL;
}

void bdl_native_fini(bdl_exec_context *x) {
  if (x->native.dir) bdl_free(x->ctx, x->native.dir, strlen(x->native.dir) + 1);
  x->native.dir = NULL;
}

/* ---- loading ----------------------------------------------------------------------------------------------- */

/* Is all of the program there, as it was written?  A part of one may kill the process that loads it. */
static bool whole(const char *path) {
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

/* false: what is there is no program of ours; it is removed. */
static bool load(bdl_plan *plan, const char *path) {
  bdl_native_plan *n = plan->native;
  n->library = whole(path) ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
  const bdl_native_code *code = n->library ? dlsym(n->library, "bdl_native_program") : NULL;
  if (code && code->n == plan->n_insts && strcmp(code->key, n->key) == 0) {
    n->fn = code->fn;
    n->state = BDL_N_READY;
    return true;
  }
  if (n->library) dlclose(n->library);
  n->library = NULL;
  unlink(path);
  return false;
}

static bool exists(const char *path) {
  struct stat st;
  return stat(path, &st) == 0;
}

static void look_up(bdl_exec_context *x, bdl_plan *plan) {
  bdl_context *c = x->ctx;
  bdl_native_plan *n = plan->native;
  char path[BDL_CACHE_PATH];
  bdl_emitted e;
  if (!x->native.dir) {
    if (bdl_cache_dir(c, path) != BDL_OK || !(x->native.dir = bdl_strdup(c, path))) {
      off_for_error(x, plan);
      return;
    }
  }
  if (bdl_emit_plan(plan, &e) != BDL_OK) {
    off_for_error(x, plan);
    return;
  }
  if (e.functions == 0) off(x, plan, NULL); /* nothing to gain */
  else {
    key_of(&e, x->k->isa, n->key);
    memcpy(&n->link, &e.link, sizeof n->link);
    memset(&e.link, 0, sizeof e.link);
    n->state = BDL_N_WAITING;
    path_of(x, n->key, ".so", path);
    if (exists(path) && load(plan, path)) utimensat(AT_FDCWD, path, NULL, 0); /* used now */
  }
  bdl_emit_free(&e, c);
}

/* ---- compiling --------------------------------------------------------------------------------------------------- */

static bool write_text(const char *path, const char *const *parts, int n) {
  FILE *f = fopen(path, "w");
  bool ok = f != NULL;
  for (int i = 0; i < n && ok; i++) ok = fputs(parts[i], f) >= 0;
  if (f && fclose(f) != 0) ok = false;
  return ok;
}

/* Behind the program stands its SHA-256 as sha256sum says it.
** $0 folder, $1 key, $2 the compiler and its flags, $3 a name of this process' own.  The compiler goes on when bdl ends: the next
** run finds the program. */
static const char *const SCRIPT =
  "cd \"$0\" || exit 1\n"
  "if ( $2 -o \"$3.tmp\" \"$3.c\" -lm && sum=$(sha256sum <\"$3.tmp\") && printf %s \"$sum\" >>\"$3.tmp\" && mv -f \"$3.tmp\" \"$1.so\" ) 2>\"$3.log\"; then rm -f \"$3.c\" \"$3.log\"\n"
  "else rm -f \"$3.tmp\" \"$3.c\"; mv -f \"$3.log\" \"$1.failed\"; fi\n";

extern char **environ;

/* The shell that runs SCRIPT, in the background or to its end, in a process group of its own: Ctrl-C is not for it. */
static int spawn(const bdl_exec_context *x, const char *key, const char *flags, const char *own, bool wait) {
  char script[1024];
  pid_t pid;
  int status = -1;
  posix_spawnattr_t attr;
  posix_spawn_file_actions_t files;
  snprintf(script, sizeof script, wait ? "%s" : "{\n%s} </dev/null >/dev/null 2>&1 &\n", SCRIPT);
  char *argv[] = {"sh", "-c", script, x->native.dir, (char *)(uintptr_t)key, (char *)(uintptr_t)flags, (char *)(uintptr_t)own, NULL};
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
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  return 0;
}

static void compile(bdl_exec_context *x, bdl_plan *plan) {
  bdl_native_plan *n = plan->native;
  char path[BDL_CACHE_PATH], own[64], flags[1024], head[64];
  bdl_emitted e;
  if (bdl_emit_plan(plan, &e) != BDL_OK) {
    off_for_error(x, plan);
    return;
  }
  snprintf(own, sizeof own, "%s.%ld.%p", n->key, (long)getpid(), (void *)plan);
  snprintf(flags, sizeof flags, "%s %s %s", compiler(), FLAGS, isa_flags(x->k->isa));
  snprintf(head, sizeof head, "#define BDL_KEY \"%s\"\n", n->key);
  const char *parts[] = {HEAD, head, bdl_native_elements, e.text.s};
  path_of(x, n->key, ".failed", path);
  unlink(path); /* what another process was told */
  snprintf(path, sizeof path, "%s/%s.c", x->native.dir, own);
  if (!write_text(path, parts, BDL_LEN(parts))) {
    unlink(path);
    off(x, plan, "the cache cannot be written");
  } else if (spawn(x, n->key, flags, own, x->native.tier == BDL_TIER_NATIVE) != 0) off(x, plan, "/bin/sh cannot be run");
  else {
    n->state = BDL_N_COMPILING;
    x->native.compiling++;
  }
  bdl_emit_free(&e, x->ctx);
}

/* The compiler's first words, for the line that says why. */
static void explain(bdl_exec_context *x, bdl_plan *plan, const char *log) {
  char why[400], line[256] = "no reason given";
  FILE *f = fopen(log, "r");
  if (f) {
    if (!fgets(line, sizeof line, f)) snprintf(line, sizeof line, "no reason given");
    fclose(f);
  }
  line[strcspn(line, "\n")] = 0;
  unlink(log);
  snprintf(why, sizeof why, "the compiler (%s) failed: %s", compiler(), line);
  off(x, plan, why);
}

static void look_whether_done(bdl_exec_context *x, bdl_plan *plan) {
  char path[BDL_CACHE_PATH], log[BDL_CACHE_PATH];
  path_of(x, plan->native->key, ".so", path);
  path_of(x, plan->native->key, ".failed", log);
  if (exists(path)) {
    x->native.compiling--;
    plan->native->state = BDL_N_WAITING;
    if (load(plan, path)) bdl_cache_trim(x->native.dir, CACHE_BYTES);
    else off(x, plan, "the compiled program cannot be loaded");
  } else if (exists(log)) explain(x, plan, log);
}

void bdl_native_poll(bdl_exec_context *x, bdl_plan *plan, double seconds) {
  const bool now = x->native.tier == BDL_TIER_NATIVE;
  if (x->native.tier == BDL_TIER_INTERP || !plan->compilable || (!plan->native && !now && seconds < WORTH_LOOK)) return;
  if (!plan->native) plan->native = bdl_calloc(x->ctx, sizeof *plan->native);
  bdl_native_plan *n = plan->native;
  if (!n) {
    plan->compilable = false;
    bdl_clear_error(x->ctx);
    return;
  }
  if (n->state == BDL_N_FRESH && (now || seconds >= WORTH_LOOK)) look_up(x, plan);
  if (n->state == BDL_N_WAITING && (now || (seconds >= WORTH_COMPILER && x->native.compiling < MOST_COMPILERS))) compile(x, plan);
  if (n->state == BDL_N_COMPILING) look_whether_done(x, plan);
}

static const char *const names[] = {"auto", "interp", "native"};

const char *bdl_native_tier_name(bdl_tier tier) { return names[tier]; }

static bdl_status set_tier(bdl_exec_context *x, const char *tier) {
  for (int i = 0; i < BDL_LEN(names); i++)
    if (strcmp(tier, names[i]) == 0) {
      x->native.tier = (bdl_tier)i;
      return BDL_OK;
    }
  return bdl_fail(x->ctx, BDL_EVALUE, "there is no tier `%s`: auto, interp or native", tier);
}

bdl_status bdl_native_set_tier(bdl_context *c, const char *tier) {
  bdl_exec_context *x;
  TRY(bdl_exec_get(c, &x));
  return set_tier(x, tier);
}

void bdl_native_init(bdl_exec_context *x) {
  const char *tier = getenv("BDL_TIER");
  if (tier && set_tier(x, tier) != BDL_OK) bdl_clear_error(x->ctx);
}

/*
** native.c -- compiled plans: looked up, compiled in the background, loaded.
*/
#include "exec/native.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/context.h"
#include "exec/archive.h"
#include "exec/cache.h"
#include "exec/emit.h"
#include "exec/exec_context.h"
#include "exec/program.h"

/* Seconds in the interpreter tier that are worth a look into the cache, and a compiler's work. */
#define WORTH_LOOK 2e-3
#define WORTH_COMPILER 20e-3
enum { MOST_COMPILERS = 2 };
#define CACHE_BYTES (INT64_C(256) << 20)

static void path_of(const bdl_exec_context *x, const char *key, const char *suffix, char path[BDL_CACHE_PATH]) {
  snprintf(path, BDL_CACHE_PATH, "%s/%s%s", x->native.dir, key, suffix);
}

/* ---- the end of it ------------------------------------------------------------------------------------ */

/* Once a context. */
static void tell(bdl_exec_context *x, const char *why) {
  char text[512];
  if (x->native.told) return;
  x->native.told = true;
  snprintf(text, sizeof text, "bdl: %.500s", why);
  if (x->ctx->warn) x->ctx->warn(x->ctx->warn_ud, text);
}

static void without(bdl_exec_context *x, const char *why) {
  char text[512];
  snprintf(text, sizeof text, "without native code: %.450s", why);
  tell(x, text);
}

/* The interpreter goes on. */
static void off(bdl_exec_context *x, bdl_plan *plan, const char *why) {
  if (plan->native->state == BDL_N_COMPILING) x->native.compiling--;
  plan->native->state = BDL_N_OFF;
  if (why) without(x, why);
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
  bdl_archive_close(x->ctx, &x->native);
  if (x->native.dir) bdl_free(x->ctx, x->native.dir, strlen(x->native.dir) + 1);
  x->native.dir = NULL;
}

/* ---- loading ----------------------------------------------------------------------------------------------- */

static bool use(bdl_plan *plan, const bdl_native_code *code) {
  if (!code || code->n != plan->n_insts) return false;
  plan->native->fn = code->fn;
  plan->native->state = BDL_N_READY;
  return true;
}

/* false: what is there is no program of ours; it is removed. */
static bool load(bdl_plan *plan, const char *path) {
  bdl_native_plan *n = plan->native;
  n->library = bdl_program_whole(path) ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
  if (n->library && use(plan, bdl_program_in(n->library, n->key))) return true;
  if (n->library) dlclose(n->library);
  n->library = NULL;
  unlink(path);
  return false;
}

static bool exists(const char *path) {
  struct stat st;
  return stat(path, &st) == 0;
}

static bool find_cache(bdl_exec_context *x) {
  char path[BDL_CACHE_PATH];
  if (!x->native.dir && bdl_cache_dir(x->ctx, path) == BDL_OK) x->native.dir = bdl_strdup(x->ctx, path);
  return x->native.dir != NULL;
}

static void look_into_cache(bdl_exec_context *x, bdl_plan *plan, const char *text, const bdl_program_target *t) {
  bdl_native_plan *n = plan->native;
  char path[BDL_CACHE_PATH];
  if (!find_cache(x)) {
    off_for_error(x, plan);
    return;
  }
  bdl_program_key(&x->native.common, text, t, bdl_program_compiler(), n->key);
  n->state = BDL_N_WAITING;
  path_of(x, n->key, ".so", path);
  if (exists(path) && load(plan, path)) utimensat(AT_FDCWD, path, NULL, 0); /* used now */
}

static void missing(bdl_exec_context *x, const bdl_plan *plan) {
  const bdl_prog *p = plan->prog;
  char text[512], where[200] = "";
  for (int64_t i = 0; i < p->eqns.n && !*where; i++)
    if (p->eqns.v[i].src.file) snprintf(where, sizeof where, " of %.150s:%d", p->eqns.v[i].src.file, p->eqns.v[i].src.line);
  snprintf(text, sizeof text, "a program%s is not in %.200s: other settings, or another model, were compiled to it", where,
           x->native.archive_path);
  tell(x, text);
}

static void look_up(bdl_exec_context *x, bdl_plan *plan) {
  bdl_native_context *own = &x->native;
  bdl_emitted e;
  if (bdl_emit_plan(plan, &e) != BDL_OK) {
    off_for_error(x, plan);
    return;
  }
  memcpy(&plan->native->link, &e.link, sizeof e.link);
  memset(&e.link, 0, sizeof e.link);
  const bdl_program_target *t = bdl_program_target_named(x->k->isa);
  if (!own->has_common) bdl_program_common(&own->common), own->has_common = true;
  if (e.functions == 0) off(x, plan, NULL); /* nothing to gain */
  else if (own->archive && use(plan, bdl_archive_find(own, e.text.s, t))) own->archive_used = true;
  else {
    if (own->archive) missing(x, plan);
    look_into_cache(x, plan, e.text.s, t);
  }
  bdl_emit_free(&e, x->ctx);
}

/* ---- compiling --------------------------------------------------------------------------------------------------- */

/* $1 folder, $2 key, $3 the compiler and its flags, $4 a name of this process' own.  The compiler goes on when bdl ends: the next
** run finds the program. */
static const char *const SCRIPT =
  "cd \"$1\" || exit 1\n"
  "SEALED=$4.tmp\n"
  "if ( $3 -o \"$4.tmp\" \"$4.c\" -lm && " BDL_PROGRAM_SEAL " && mv -f \"$4.tmp\" \"$2.so\" ) 2>\"$4.log\"; then rm -f \"$4.c\" \"$4.log\"\n"
  "else rm -f \"$4.tmp\" \"$4.c\"; mv -f \"$4.log\" \"$2.failed\"; fi\n";

static int spawn(const bdl_exec_context *x, const char *key, const char *command, const char *own, bool wait) {
  char script[1024];
  snprintf(script, sizeof script, wait ? "%s" : "{\n%s} </dev/null >/dev/null 2>&1 &\n", SCRIPT);
  return bdl_program_shell(script, (const char *[]){x->native.dir, key, command, own}, 4, NULL);
}

static void compile(bdl_exec_context *x, bdl_plan *plan) {
  bdl_native_plan *n = plan->native;
  char path[BDL_CACHE_PATH], own[64], command[BDL_PROGRAM_FLAGS];
  bdl_emitted e;
  if (bdl_emit_plan(plan, &e) != BDL_OK) {
    off_for_error(x, plan);
    return;
  }
  snprintf(own, sizeof own, "%s.%ld.%p", n->key, (long)getpid(), (void *)plan);
  bdl_program_command(bdl_program_target_named(x->k->isa), command);
  path_of(x, n->key, ".failed", path);
  unlink(path); /* what another process was told */
  snprintf(path, sizeof path, "%s/%s.c", x->native.dir, own);
  if (!bdl_program_write(path, n->key, e.text.s)) off(x, plan, "the cache cannot be written");
  else if (spawn(x, n->key, command, own, x->native.tier == BDL_TIER_NATIVE) != 0) off(x, plan, "/bin/sh cannot be run");
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
  snprintf(why, sizeof why, "the compiler (%s) failed: %s", bdl_program_compiler(), line);
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
  const bool now = x->native.tier == BDL_TIER_NATIVE, look = now || x->native.archive || seconds >= WORTH_LOOK;
  if (x->native.tier == BDL_TIER_INTERP || !plan->compilable || (!plan->native && !look)) return;
  if (!plan->native) plan->native = bdl_calloc(x->ctx, sizeof *plan->native);
  bdl_native_plan *n = plan->native;
  if (!n) {
    plan->compilable = false;
    bdl_clear_error(x->ctx);
    return;
  }
  if (n->state == BDL_N_FRESH && look) look_up(x, plan);
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
  const char *tier = getenv("BDL_TIER"), *archive = getenv("BDL_NATIVE");
  if (tier && *tier && set_tier(x, tier) != BDL_OK) bdl_clear_error(x->ctx);
  if (!archive || !*archive || bdl_archive_open(x->ctx, archive) == BDL_OK) return;
  without(x, bdl_last_error(x->ctx)->message);
  bdl_clear_error(x->ctx);
}

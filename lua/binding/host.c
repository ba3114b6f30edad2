/*
** host.c -- bdl.h: contexts for host programs; the modules of bdl inside them.
*/
#define _GNU_SOURCE /* dladdr */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <lualib.h>

#include "base/context.h"
#include "bdl.h"
#include "binding/embedded.h"
#include "binding/lbdl.h"
#include "device/world.h"
#include "exec/archive.h"
#include "exec/cache.h"
#include "exec/exec_context.h"

struct bdl {
  lbdl b; /* first: lua_getextraspace points here */
  lua_State *L;
  char *error_kind, *error_text; /* of the last call; malloc'ed */
  bool warns, in_warning;        /* warn "@on" was called; the text goes on in the next call */
};

/* ---- modules ------------------------------------------------------------------------------------- */

/* BDL_LUA=DIR: the modules of a source tree (lua/bdl) instead of the built-in ones. */
static const char *source_tree(void) {
  const char *dir = getenv("BDL_LUA");
  return dir && *dir ? dir : NULL;
}

/* Pushes the text of a module there. */
static void push_source(lua_State *L, const char *dir, const struct bdl_embedded *m) {
  const char *path = lua_pushfstring(L, "%s/%s", dir, strchr(m->file, '/') + 1);
  FILE *f = fopen(path, "rb");
  if (!f) lbdl_error(L, BDL_EIO, "cannot read %s", path);
  luaL_Buffer text;
  luaL_buffinit(L, &text);
  for (size_t n = 1; n > 0;) n = fread(luaL_prepbuffsize(&text, 4096), 1, 4096, f), luaL_addsize(&text, n);
  fclose(f);
  luaL_pushresult(&text);
  lua_remove(L, -2); /* path */
}

static int load_from_tree(lua_State *L, const char *dir, const struct bdl_embedded *m) {
  push_source(L, dir, m);
  lua_pushfstring(L, "@%s", m->file);
  size_t size;
  const char *s = lua_tolstring(L, -2, &size);
  return luaL_loadbufferx(L, s, size, lua_tostring(L, -1), "t");
}

static const struct bdl_embedded *module_named(const char *name) {
  const struct bdl_embedded *m = bdl_embedded_modules;
  while (m->name && strcmp(m->name, name) != 0) m++;
  return m->name ? m : NULL;
}

static int searcher(lua_State *L) {
  const struct bdl_embedded *m = module_named(luaL_checkstring(L, 1));
  if (!m) {
    lua_pushfstring(L, "no built-in module '%s'", lua_tostring(L, 1));
    return 1;
  }
  const char *dir = source_tree();
  int status = dir ? load_from_tree(L, dir, m) : luaL_loadbufferx(L, (const char *)m->data, m->size, m->file, "bt");
  if (status != LUA_OK) return lua_error(L);
  lua_pushstring(L, m->file);
  return 2;
}

/* ---- core ------------------------------------------------------------------------------------------- */

/* core.docs() -> {"bdl.nn.lif" = text with at least the comments of its source, on their lines} */
static int l_docs(lua_State *L) {
  const char *dir = source_tree();
  lua_newtable(L);
  for (const struct bdl_embedded *m = bdl_embedded_modules; m->name; m++) {
    if (dir) push_source(L, dir, m);
    else lua_pushstring(L, m->docs);
    lua_setfield(L, -2, m->name);
  }
  return 1;
}

/* core.tier([name]) -> name of the tier */
static int l_tier(lua_State *L) {
  bdl_exec_context *x;
  lbdl_check(L, bdl_exec_get(lbdl_ctx(L), &x));
  if (!lua_isnoneornil(L, 1)) lbdl_check(L, bdl_native_set_tier(lbdl_ctx(L), luaL_checkstring(L, 1)));
  lua_pushstring(L, bdl_native_tier_name(x->native.tier));
  return 1;
}

/* core.native(path): programs come from what core.native_make wrote there */
static int l_native(lua_State *L) {
  lbdl_check(L, bdl_archive_open(lbdl_ctx(L), luaL_checkstring(L, 1)));
  return 0;
}

/* core.native_make(path): may it be written?  core.native_make(path, {text of a plan as C..}, target or nil) -> programs compiled */
static int l_native_make(lua_State *L) {
  const char *path = luaL_checkstring(L, 1), *target = luaL_optstring(L, 3, NULL);
  int programs = 0;
  if (lua_isnoneornil(L, 2)) {
    lbdl_check(L, bdl_archive_writable(lbdl_ctx(L), path));
    return 0;
  }
  const int n = (int)luaL_len(L, 2);
  const char **texts = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *texts, 0);
  for (int i = 0; i < n; i++) {
    lua_rawgeti(L, 2, i + 1);
    texts[i] = luaL_checkstring(L, -1);
    lua_pop(L, 1); /* the table holds it */
  }
  lbdl_check(L, bdl_archive_make(lbdl_ctx(L), texts, n, target, path, &programs));
  lua_pushinteger(L, programs);
  return 1;
}

/* core.native_targets() -> list of {name, name that C compilers know}, the least first */
static int l_native_targets(lua_State *L) {
  int n;
  const bdl_program_target *t = bdl_program_targets(&n);
  lua_createtable(L, n, 0);
  for (int i = 0; i < n; i++) {
    lua_createtable(L, 2, 0);
    lua_pushstring(L, t[i].isa), lua_rawseti(L, -2, 1);
    lua_pushstring(L, t[i].march), lua_rawseti(L, -2, 2);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/* core.cache(clear) -> folder, programs, bytes */
static int l_cache(lua_State *L) {
  char dir[BDL_CACHE_PATH];
  lbdl_check(L, bdl_cache_dir(lbdl_ctx(L), dir));
  if (lua_toboolean(L, 1)) bdl_cache_trim(dir, 0);
  const bdl_cache_size size = bdl_cache_measure(dir);
  lua_pushstring(L, dir);
  lua_pushinteger(L, size.files);
  lua_pushinteger(L, size.bytes);
  return 3;
}

static int l_threads(lua_State *L) {
  bdl_exec_context *x;
  lbdl_check(L, bdl_exec_get(lbdl_ctx(L), &x));
  if (!lua_isnoneornil(L, 1)) {
    lua_Integer n = luaL_checkinteger(L, 1);
    if (n < 1 || n > 1024) return lbdl_error(L, BDL_EVALUE, "threads: 1 to 1024, not %d", (int)n);
    x->threads = (int)n;
  }
  lua_pushinteger(L, x->threads);
  return 1;
}

static int l_memory(lua_State *L) {
  bdl_context *c = lbdl_ctx(L);
  if (lua_isinteger(L, 1)) c->mem_limit = (size_t)lua_tointeger(L, 1);
  lua_createtable(L, 0, 3);
  lua_pushinteger(L, (lua_Integer)c->mem_used);
  lua_setfield(L, -2, "used");
  lua_pushinteger(L, (lua_Integer)c->mem_peak);
  lua_setfield(L, -2, "peak");
  lua_pushinteger(L, (lua_Integer)c->mem_limit);
  lua_setfield(L, -2, "limit");
  return 1;
}

/* core.profile(true) starts, with "events" keeps each call; core.profile(false) ends; core.profile() -> text of what was measured */
static int l_profile(lua_State *L) {
  bdl_exec_context *x;
  lbdl_check(L, bdl_exec_get(lbdl_ctx(L), &x));
  if (lua_isboolean(L, 1)) {
    if (lua_toboolean(L, 1)) lbdl_check(L, bdl_exec_profile_start(x, lua_isstring(L, 2)));
    else bdl_exec_profile_stop(x);
    return 0;
  }
  bdl_str text;
  bdl_str_init(&text, lbdl_ctx(L));
  bdl_status s = bdl_exec_profile_print(x, &text);
  lua_pushlstring(L, text.s ? text.s : "", (size_t)text.n);
  bdl_str_fini(&text);
  lbdl_check(L, s);
  return 1;
}

/* core.profile_events() -> JSON of the calls kept, number of those that were too many */
static int l_profile_events(lua_State *L) {
  bdl_exec_context *x;
  bdl_str text;
  int64_t left_out;
  lbdl_check(L, bdl_exec_get(lbdl_ctx(L), &x));
  bdl_str_init(&text, lbdl_ctx(L));
  bdl_status s = bdl_exec_profile_events(x, &text, &left_out);
  lua_pushlstring(L, text.s ? text.s : "", (size_t)text.n);
  bdl_str_fini(&text);
  lbdl_check(L, s);
  lua_pushinteger(L, (lua_Integer)left_out);
  return 2;
}

static void report(void *ud, int64_t done, int64_t total) {
  lua_State *L = ud;
  lua_getfield(L, LUA_REGISTRYINDEX, "bdl.progress");
  lua_pushinteger(L, (lua_Integer)done);
  lua_pushinteger(L, (lua_Integer)total);
  if (lua_pcall(L, 2, 0, 0) == LUA_OK) return;
  lua_getfield(L, -1, "kind"); /* a progress bar never stops a run; Ctrl-C while it is drawn does */
  if (lua_isstring(L, -1) && !strcmp(lua_tostring(L, -1), bdl_status_kind(BDL_EINTERRUPT))) lbdl_ctx(L)->interrupted = 1;
  lua_pop(L, 2);
}

/* core.progress(f or nil): f(done, total) about ten times a second while the outermost loop runs */
static int l_progress(lua_State *L) {
  lua_settop(L, 1);
  bool on = lua_isfunction(L, 1);
  lua_setfield(L, LUA_REGISTRYINDEX, "bdl.progress");
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  bdl_exec_set_progress(lbdl_ctx(L), on ? report : NULL, lua_tothread(L, -1));
  return 0;
}

static int l_switches(lua_State *L) { /* core.switch(name, on): of the runtime, for tests and tools */
  bdl_context *c = lbdl_ctx(L);
  const char *name = luaL_checkstring(L, 1);
  if (!strcmp(name, "verify")) c->verify = lua_toboolean(L, 2);
  else if (!strcmp(name, "unfused")) c->unfused = lua_toboolean(L, 2);
  else if (!strcmp(name, "check")) lbdl_of(L)->check = lua_toboolean(L, 2);
  else return lbdl_error(L, BDL_EVALUE, "no switch '%s'", name);
  return 0;
}

static int l_checking(lua_State *L) { /* core.checking() -> is this `bdl check`, whose numbers are none? */
  lua_pushboolean(L, lbdl_of(L)->check);
  return 1;
}

static int l_prims(lua_State *L) {
  lua_createtable(L, BDL_P_COUNT, 0);
  for (int p = 0; p < BDL_P_COUNT; p++) {
    lua_createtable(L, 0, 8);
    lua_pushstring(L, bdl_prims[p].name), lua_setfield(L, -2, "name");
    lua_pushinteger(L, bdl_prims[p].n_in), lua_setfield(L, -2, "n_in");
    lua_pushinteger(L, bdl_prims[p].n_out), lua_setfield(L, -2, "n_out");
    lua_pushstring(L, bdl_prims[p].params), lua_setfield(L, -2, "params");
    lua_pushstring(L, bdl_prims[p].synopsis), lua_setfield(L, -2, "synopsis");
    lua_pushboolean(L, bdl_prims[p].jvp != NULL), lua_setfield(L, -2, "jvp");
    lua_pushboolean(L, bdl_prims[p].transpose != NULL), lua_setfield(L, -2, "transpose");
    lua_pushboolean(L, bdl_prims[p].batch != NULL), lua_setfield(L, -2, "batch");
    lua_rawseti(L, -2, p + 1);
  }
  return 1;
}

static int l_isa(lua_State *L) {
  lua_pushstring(L, bdl_k_select(lbdl_ctx(L)->isa)->isa);
  return 1;
}

/* core.platform(name): is it built in? */
static int l_platform(lua_State *L) {
  bdl_device *d;
  lbdl_check(L, bdl_device_get(lbdl_ctx(L), luaL_checkstring(L, 1), &d));
  return 0;
}

/* core.blas() -> path of the library that products and factorisations use; nil: none */
static int l_blas(lua_State *L) {
  bdl_exec_context *x;
  lbdl_check(L, bdl_exec_get(lbdl_ctx(L), &x));
  Dl_info info;
  void *function = NULL;
  if (!bdl_blas_ready(&x->blas)) return 0;
  memcpy(&function, &x->blas.f32.gemm, sizeof function); /* ISO C has no cast from a function to an object */
  if (!dladdr(function, &info) || !info.dli_fname) return 0;
  lua_pushstring(L, info.dli_fname);
  return 1;
}

/* core.clock() -> seconds since some time in the past */
static int l_clock(lua_State *L) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  lua_pushnumber(L, (lua_Number)t.tv_sec + 1e-9 * (lua_Number)t.tv_nsec);
  return 1;
}

/* core.columns(fd = 2, standard error) -> width of the terminal that it is; nil: it is none */
static int l_columns(lua_State *L) {
  const int fd = (int)luaL_optinteger(L, 1, STDERR_FILENO);
  struct winsize w;
  if (!isatty(fd)) return 0;
  lua_pushinteger(L, ioctl(fd, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 80);
  return 1;
}

static int open_core(lua_State *L) {
  lua_newtable(L);
  lbdl_open_errors(L);
  lbdl_open_tensor(L);
  lbdl_open_units(L);
  lbdl_open_ops(L);
  lbdl_open_tree(L);
  lbdl_open_state(L);
  lbdl_open_trace(L);
  lbdl_open_control(L);
  lbdl_open_jit(L);
  lbdl_open_host(L);
  lbdl_open_transform(L);
  lbdl_open_online(L);
  lbdl_open_conn(L);
  lbdl_open_origins(L);
  lbdl_open_world(L);
  lbdl_open_file(L);
  lbdl_open_record(L);
  lbdl_open_line(L);
  lbdl_open_raw(L);
  lbdl_open_replay(L);
  lbdl_open_ffi(L);
  lbdl_open_sandbox(L);
  static const luaL_Reg functions[] = {
    {"threads", l_threads}, {"tier", l_tier}, {"native", l_native}, {"native_make", l_native_make}, {"native_targets", l_native_targets}, {"cache", l_cache}, {"memory", l_memory}, {"profile", l_profile}, {"profile_events", l_profile_events},
    {"progress", l_progress}, {"switch", l_switches}, {"checking", l_checking},
    {"prims", l_prims}, {"isa", l_isa}, {"blas", l_blas}, {"platform", l_platform}, {"clock", l_clock}, {"columns", l_columns},
    {"docs", l_docs}, {NULL, NULL},
  };
  luaL_setfuncs(L, functions, 0);
  lua_pushliteral(L, BDL_VERSION);
  lua_setfield(L, -2, "version");
  return 1;
}

static int open_all(lua_State *L) {
  luaL_openlibs(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, open_core);
  lua_setfield(L, -2, "bdl.core");
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "searchers");
  for (lua_Integer i = (lua_Integer)lua_rawlen(L, -1); i >= 2; i--) { /* behind preload, before files */
    lua_rawgeti(L, -1, i);
    lua_rawseti(L, -2, i + 1);
  }
  lua_pushcfunction(L, searcher);
  lua_rawseti(L, -2, 2);
  return 0;
}

/* ---- contexts ------------------------------------------------------------------------------------------ */

static void *lua_memory(void *ud, void *p, size_t osize, size_t nsize) {
  bdl_context *c = ud;
  const size_t before = p ? osize : 0; /* without p, osize is what it will be for */
  if (nsize == 0) {
    if (p) c->alloc(c->alloc_ud, p, osize, 0);
    c->lua_used -= before;
    return NULL;
  }
  const size_t after = c->lua_used - before + nsize;
  if (c->sandboxed && c->mem_limit && nsize > before && (after > c->mem_limit || c->mem_used > c->mem_limit - after)) return NULL;
  void *q = c->alloc(c->alloc_ud, p, before, nsize);
  if (q) c->lua_used = after;
  return q;
}

/* lua_WarnFunction of warn(..): to stderr after warn "@on", as in the program lua. */
static void warning(void *ud, const char *text, int goes_on) {
  bdl *b = ud;
  if (!b->in_warning && !goes_on && *text == '@') {
    if (strcmp(text, "@on") == 0 || strcmp(text, "@off") == 0) b->warns = text[2] == 'n';
    return;
  }
  b->in_warning = goes_on;
  if (b->warns) fprintf(stderr, goes_on ? "%s" : "%s\n", text);
}

/* bdl_context's warnings are those of the script. */
static void warn_of_context(void *ud, const char *text) {
  bdl *b = ud;
  warning(b, text, 0);
}

bdl *bdl_open(const bdl_options *options) {
  bdl_options o = options ? *options : (bdl_options){0};
  bdl_context *c = bdl_context_new(o.alloc, o.alloc_ud);
  if (!c) return NULL;
  c->mem_limit = o.memory_limit;
  c->threads = o.threads;
  bdl_world *w;
  if (o.threads == 0 && bdl_world_get(c, &w) == BDL_OK) c->threads = bdl_world_threads(w);
#ifdef BDL_DEBUG
  c->verify = 1;
#endif
  bdl *b = bdl_calloc(c, sizeof *b);
  if (b) {
    b->b = (lbdl){.ctx = c, .real = BDL_F32, .integer = BDL_I32, .print_sink = LUA_NOREF, .methods = LUA_NOREF};
    if (bdl_units_new(c, &b->b.units) == BDL_OK) b->L = lua_newstate(lua_memory, c);
  }
  if (!b || !b->L) {
    if (b) bdl_close(b);
    else bdl_context_free(c);
    return NULL;
  }
  *(lbdl **)lua_getextraspace(b->L) = &b->b;
  lua_setwarnf(b->L, warning, b);
  c->warn = warn_of_context;
  c->warn_ud = b;
  lua_gc(b->L, LUA_GCGEN, 10, 200); /* what calls leave behind is collected while it is in the cache */
  lua_pushcfunction(b->L, open_all);
  if (!bdl_device_cpu(c) || lua_pcall(b->L, 0, 0, 0) != LUA_OK) {
    bdl_close(b);
    return NULL;
  }
  return b;
}

void bdl_close(bdl *b) {
  bdl_context *c = b->b.ctx;
  if (b->L) lua_close(b->L);
  bdl_units_free(b->b.units);
  free(b->error_kind);
  free(b->error_text);
  bdl_free(c, b, sizeof *b);
  bdl_context_free(c);
}

static char *copy_text(const char *s) {
  char *t = malloc(strlen(s) + 1);
  return t ? strcpy(t, s) : NULL;
}

static void keep_error(bdl *b) { /* the error object is on top */
  lua_State *L = b->L;
  free(b->error_kind);
  free(b->error_text);
  b->error_kind = NULL;
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, "kind");
    if (lua_isstring(L, -1)) b->error_kind = copy_text(lua_tostring(L, -1));
    lua_pop(L, 1);
    if (luaL_getmetafield(L, -1, "__tostring") != LUA_TNIL) lua_pop(L, 1);
    else if (lua_getfield(L, -1, "message") != LUA_TSTRING) lua_pop(L, 1); /* of an error before bdl was loaded */
  }
  if (!b->error_kind) b->error_kind = copy_text("Error");
  b->error_text = copy_text(luaL_tolstring(L, -1, NULL));
  lua_settop(L, 0);
}

static int run_model(bdl *b, const char *how, const char *what, const char *name) {
  lua_State *L = b->L;
  lua_settop(L, 0);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "bdl.model");
  int status = lua_pcall(L, 1, 1, 0);
  if (status == LUA_OK) {
    lua_getfield(L, -1, how);
    lua_pushstring(L, what);
    lua_pushstring(L, name);
    status = lua_pcall(L, 2, 0, 0);
  }
  if (status != LUA_OK) keep_error(b);
  lua_settop(L, 0);
  return status == LUA_OK ? 0 : 1;
}

int bdl_run_file(bdl *b, const char *path) { return run_model(b, "run_file", path, path); }
int bdl_run_string(bdl *b, const char *text, const char *name) { return run_model(b, "run_string", text, name); }

int bdl_main(bdl *b, int argc, char **argv) {
  lua_State *L = b->L;
  lua_settop(L, 0);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "bdl.cli");
  int status = lua_pcall(L, 1, 1, 0);
  if (status == LUA_OK) {
    luaL_checkstack(L, argc + 4, "arguments");
    for (int i = 1; i < argc; i++) lua_pushstring(L, argv[i]);
    status = lua_pcall(L, argc - 1, 1, 0);
  }
  int code = status == LUA_OK ? (int)lua_tointeger(L, -1) : 1;
  if (status != LUA_OK) {
    keep_error(b);
    fprintf(stderr, "bdl: %s\n", b->error_text ? b->error_text : "out of memory");
  }
  lua_settop(L, 0);
  fflush(stdout);
  bdl_world_end(b->b.ctx, code);
  return code;
}

const char *bdl_error_kind(const bdl *b) { return b->error_kind ? b->error_kind : ""; }
const char *bdl_error_text(const bdl *b) { return b->error_text ? b->error_text : ""; }

static void stop_lua(lua_State *L, lua_Debug *ar) {
  (void)ar;
  lbdl_budget_hook(L);
  if (!lbdl_ctx(L)->interrupted) return; /* a compiled loop has seen it */
  lbdl_ctx(L)->interrupted = 0;
  lbdl_error(L, BDL_EINTERRUPT, "interrupted");
}

void bdl_interrupt(bdl *b) {
  b->b.ctx->interrupted = 1; /* compiled loops look at it; Lua code is stopped by a hook */
  lua_sethook(b->L, stop_lua, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

int bdl_interrupted(const bdl *b) { return b->b.ctx->interrupted != 0; }

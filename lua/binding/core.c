/*
** core.c -- the built-in modules of bdl, and what of the private module bdl.core is about the context as a whole.
*/
#define _GNU_SOURCE /* dladdr */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <lualib.h>

#include "base/context.h"
#include "binding/embedded.h"
#include "binding/host.h"
#include "exec/archive.h"
#include "exec/cache.h"
#include "device/cuda.h"
#include "device/nccl.h"
#include "exec/exec_context.h"
#include "gpu/run.h"

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

static void set_string(lua_State *L, const char *key, const char *value) {
  lua_pushstring(L, value);
  lua_setfield(L, -2, key);
}

static void set_integer(lua_State *L, const char *key, lua_Integer value) {
  lua_pushinteger(L, value);
  lua_setfield(L, -2, key);
}

static void push_memory(lua_State *L, size_t used, size_t peak) {
  lua_createtable(L, 0, 4);
  set_integer(L, "used", (lua_Integer)used);
  set_integer(L, "peak", (lua_Integer)peak);
}

/* core.memory(limit or nil) -> {used, peak, limit, gpu = {used, peak} or nil}; the limit holds for each of the two */
static int l_memory(lua_State *L) {
  bdl_context *c = lbdl_ctx(L);
  const bdl_cuda *g = bdl_cuda_of(c);
  if (lua_isinteger(L, 1)) c->mem_limit = (size_t)lua_tointeger(L, 1);
  push_memory(L, c->mem_used, c->mem_peak);
  set_integer(L, "limit", (lua_Integer)c->mem_limit);
  if (!g) return 1;
  push_memory(L, g->used, g->peak);
  lua_setfield(L, -2, "gpu");
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
  if (lua_isstring(L, -1) && !strcmp(lua_tostring(L, -1), bdl_status_kind(BDL_EINTERRUPT))) bdl_ask_stop(lbdl_ctx(L), true);
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

/* core.platform(name): "cpu" or "gpu", on which programs run from now on */
static int l_platform(lua_State *L) {
  lbdl_check(L, bdl_gpu_use(lbdl_ctx(L), luaL_checkstring(L, 1)));
  return 0;
}

static void push_gpu(lua_State *L, bdl_cuda *g, int k) {
  bdl_cuda_about a = {0};
  lbdl_check(L, bdl_cuda_look(g, k, &a));
  lua_createtable(L, 0, 4);
  set_string(L, "name", a.name);
  set_integer(L, "memory", (lua_Integer)a.memory);
  set_integer(L, "processors", a.processors);
  lua_pushfstring(L, "%d.%d", a.major, a.minor);
  lua_setfield(L, -2, "capability");
}

/* nccl, nccl_path; or nccl_why */
static void set_nccl(lua_State *L) {
  char version[BDL_NCCL_VERSION];
  bdl_nccl_api a;
  bdl_nccl_api_open(&a);
  bdl_nccl_version(a.version, version);
  if (a.version) set_string(L, "nccl", version);
  set_string(L, a.version ? "nccl_path" : "nccl_why", a.version ? a.library.path : a.library.why);
}

/* core.gpu() -> {devices = {{name, memory, capability, processors}, ..}, which, free, driver, driver_path, nvrtc, ..}, which: that
** of this process, free: its memory; or nil and why there is none */
static int l_gpu(lua_State *L) {
  bdl_context *c = lbdl_ctx(L);
  bdl_cuda *g;
  if (bdl_cuda_get(c, &g) != BDL_OK) {
    lua_pushnil(L);
    lua_pushstring(L, bdl_last_error(c)->message);
    bdl_clear_error(c);
    return 2;
  }
  size_t spare = 0, total = 0;
  lbdl_check(L, bdl_cuda_check(g, g->api.cuMemGetInfo_v2(&spare, &total), "its memory"));
  lua_createtable(L, 0, 8);
  lua_createtable(L, g->devices, 0);
  for (int k = 0; k < g->devices; k++) {
    push_gpu(L, g, k);
    lua_rawseti(L, -2, k + 1);
  }
  lua_setfield(L, -2, "devices");
  set_integer(L, "free", (lua_Integer)spare);
  lua_pushfstring(L, "%d.%d", g->driver_version / 1000, g->driver_version % 1000 / 10);
  lua_setfield(L, -2, "driver");
  lua_pushfstring(L, "%d.%d", g->nvrtc_major, g->nvrtc_minor);
  lua_setfield(L, -2, "nvrtc");
  set_string(L, "driver_path", g->api.driver.path);
  set_string(L, "nvrtc_path", g->api.nvrtc.path);
  set_string(L, "blas_path", g->api.blas.path);
  if (g->api.blas_lt.handle) set_string(L, "blas_lt_path", g->api.blas_lt.path);
  set_integer(L, "which", g->which + 1);
  set_nccl(L);
  return 1;
}

/* core.wait(): until the GPU, if there is one, has done all */
static int l_wait(lua_State *L) {
  bdl_cuda *g = bdl_cuda_of(lbdl_ctx(L));
  if (g) lbdl_check(L, g->device.ops->stream_sync(&g->device, NULL));
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
  lua_pushnumber(L, 1e-9 * (lua_Number)bdl_now_ns());
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
  lbdl_open_export(L);
  lbdl_open_line(L);
  lbdl_open_raw(L);
  lbdl_open_replay(L);
  lbdl_open_ffi(L);
  lbdl_open_sandbox(L);
  static const luaL_Reg functions[] = {
    {"threads", l_threads}, {"tier", l_tier}, {"native", l_native}, {"native_make", l_native_make}, {"native_targets", l_native_targets}, {"cache", l_cache}, {"memory", l_memory}, {"profile", l_profile}, {"profile_events", l_profile_events},
    {"progress", l_progress}, {"switch", l_switches}, {"checking", l_checking},
    {"prims", l_prims}, {"isa", l_isa}, {"blas", l_blas}, {"platform", l_platform}, {"gpu", l_gpu}, {"wait", l_wait}, {"clock", l_clock}, {"columns", l_columns},
    {"docs", l_docs}, {NULL, NULL},
  };
  luaL_setfuncs(L, functions, 0);
  lua_pushliteral(L, BDL_VERSION);
  lua_setfield(L, -2, "version");
  lua_getfield(L, LUA_REGISTRYINDEX, "bdl.log"); /* core.log(text): where a host takes what models print */
  lua_setfield(L, -2, "log");
  return 1;
}

int lbdl_open_modules(lua_State *L) {
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

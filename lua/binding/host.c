/*
** host.c -- bdl.h: contexts, running models in them, errors.
*/
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lualib.h>

#include "base/context.h"
#include "binding/host.h"
#include "device/cuda.h"
#include "device/world.h"
#include "exec/exec_context.h"

/* ---- errors --------------------------------------------------------------------------------------------- */

static void put(char *room, size_t size, const char *text) { snprintf(room, size, "%s", text ? text : ""); }
#define PUT(room, text) put(room, sizeof(room), text)

/* file NULL, hint NULL: there is none.  text NULL: made of the others. */
static void keep(bdl *b, const char *kind, const char *message, const char *file, int line, const char *hint, const char *text) {
  lbdl_error_room *e = b->error;
  PUT(e->kind, kind);
  PUT(e->message, message);
  PUT(e->file, file);
  PUT(e->hint, hint);
  if (text) PUT(e->text, text);
  else if (file) snprintf(e->text, sizeof e->text, "%s:%d: %s: %s%s%s", e->file, line, kind, e->message, hint ? "\n    " : "", e->hint);
  else snprintf(e->text, sizeof e->text, "%s: %s%s%s", kind, e->message, hint ? "\n    " : "", e->hint);
  e->info = (bdl_error_info){e->kind, e->message, file ? e->file : NULL, file ? line : 0, hint ? e->hint : NULL, e->text};
}

bool lbdl_keep_status(bdl *b) {
  bdl_error *e = bdl_last_error(b->b.ctx);
  keep(b, bdl_status_kind(e->status), e->message, e->where.file, e->where.line, *e->hint ? e->hint : NULL, NULL);
  bdl_clear_error(b->b.ctx);
  return false;
}

bool lbdl_refuse(bdl *b, bdl_status s, const char *fmt, ...) {
  char text[sizeof b->error->message];
  va_list ap;
  va_start(ap, fmt);
  if (vsnprintf(text, sizeof text, fmt, ap) < 0) text[0] = 0;
  va_end(ap);
  keep(b, bdl_status_kind(s), text, NULL, 0, NULL, NULL);
  return false;
}

static const char *text_field(lua_State *L, int arg, const char *name) {
  if (!lua_istable(L, arg)) return NULL;
  lua_pushstring(L, name);
  lua_rawget(L, arg);
  return lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
}

/* (b, error): in the words of bdl.model where it is loaded. */
static int keep_error(lua_State *L) {
  bdl *b = lua_touserdata(L, 1);
  luaL_checkstack(L, 16, "error");
  const char *kind = text_field(L, 2, "kind"), *message = text_field(L, 2, "message"), *file = text_field(L, 2, "file");
  const char *hint = text_field(L, 2, "hint"), *text = NULL;
  int line = 0;
  if (lua_istable(L, 2)) {
    lua_pushliteral(L, "line");
    lua_rawget(L, 2);
    line = (int)lua_tointeger(L, -1);
  }
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, "bdl.model") == LUA_TTABLE && lua_getfield(L, -1, "failure") == LUA_TFUNCTION) {
    lua_pushvalue(L, 2);
    lua_call(L, 1, 1);
    text = text_field(L, lua_gettop(L), "text");
  }
  if (!text && message && luaL_getmetafield(L, 2, "__tostring") == LUA_TNIL) text = message; /* before bdl was loaded */
  if (!text) text = luaL_tolstring(L, 2, NULL);
  char of_text[sizeof b->error->file];
  if (!message) { /* "model.lua:7: what" */
    int at = 0;
    message = text;
    if (sscanf(text, "%255[^:\n]:%d: %n", of_text, &line, &at) == 2 && at > 0) file = of_text, message = text + at;
  }
  if (!kind) kind = strcmp(text, "not enough memory") == 0 ? bdl_status_kind(BDL_ENOMEM) : "Error";
  keep(b, kind, message, file, line, hint, text);
  return 0;
}

/* The budget of a call, from its beginning. */
static void arm(bdl *b) {
  bdl_budget_set(b->b.ctx, b->step_limit, b->time_limit);
  lbdl_budget_hook(b->L);
}

/* Nothing is spent until the next call. */
static void disarm(bdl *b) {
  b->b.ctx->budget.on = b->b.ctx->budget.spent = false;
  lua_sethook(b->L, NULL, 0, 0);
}

bool lbdl_protect(bdl *b, lua_CFunction f, void *ud) {
  lua_State *L = b->L;
  lua_settop(L, 0);
  lua_pushcfunction(L, lbdl_traceback);
  lua_pushcfunction(L, f);
  lua_pushlightuserdata(L, ud);
  int status = lua_pcall(L, 1, 0, 1);
  if (status == LUA_OK) return true;
  lbdl_drop_unowned(&b->b);
  if (b->b.ctx->sandboxed) disarm(b); /* its words are not the model's to pay */
  bool kept = false;
  if (status != LUA_ERRMEM) {
    lua_pushcfunction(L, keep_error);
    lua_pushlightuserdata(L, b);
    lua_pushvalue(L, 2);
    kept = lua_pcall(L, 2, 0, 0) == LUA_OK;
  }
  if (!kept) lbdl_refuse(b, BDL_ENOMEM, "not enough memory");
  lua_settop(L, 0);
  bdl_clear_error(b->b.ctx);
  return false;
}

const bdl_error_info *bdl_error_of(const bdl *b) {
  static const bdl_error_info none = {.kind = "ValueError", .message = "the context is NULL", .text = "ValueError: the context is NULL"};
  return b ? &b->error->info : &none;
}
const char *bdl_error_kind(const bdl *b) { return bdl_error_of(b)->kind; }
const char *bdl_error_text(const bdl *b) { return bdl_error_of(b)->text; }

/* ---- one call at a time ------------------------------------------------------------------------------------ */

bool lbdl_enter(bdl *b) {
  const uintptr_t me = (uintptr_t)pthread_self();
  if (!b) return false;
  if (!atomic_flag_test_and_set_explicit(&b->busy, memory_order_acquire)) {
    atomic_store_explicit(&b->thread, me, memory_order_relaxed);
    if (b->b.ctx->sandboxed) arm(b);
    return true;
  }
  if (atomic_load_explicit(&b->thread, memory_order_relaxed) == me)
    lbdl_refuse(b, BDL_ENOTSUP, "a callback may not call into the context that called it");
  return false;
}

int lbdl_leave(bdl *b, bool done) {
  if (b->b.ctx->sandboxed) disarm(b);
  atomic_store_explicit(&b->thread, 0, memory_order_relaxed);
  atomic_flag_clear_explicit(&b->busy, memory_order_release);
  return done ? 0 : 1;
}

/* ---- what is said ---------------------------------------------------------------------------------------------- */

/* lua_WarnFunction of warn(..).  Without a log: to stderr after warn "@on", as in the program lua. */
static void warning(void *ud, const char *text, int goes_on) {
  bdl *b = ud;
  if (!b->in_warning && !goes_on && *text == '@') {
    if (strcmp(text, "@on") == 0 || strcmp(text, "@off") == 0) b->warns = text[2] == 'n';
    return;
  }
  b->in_warning = goes_on;
  if (b->log) b->log(b->log_ud, BDL_LOG_WARNING, text);
  else if (b->warns) fprintf(stderr, goes_on ? "%s" : "%s\n", text);
}

/* bdl_context's warnings are those of the script. */
static void warn_of_context(void *ud, const char *text) {
  bdl *b = ud;
  if (b->L) lua_warning(b->L, text, 0);
}

/* print(..) of a context with a log; core.log(text) */
static int l_log(lua_State *L) {
  bdl *b = (bdl *)(void *)lbdl_of(L);
  const int n = lua_gettop(L);
  luaL_Buffer text;
  luaL_buffinit(L, &text);
  for (int i = 1; i <= n; i++) {
    if (i > 1) luaL_addchar(&text, '\t');
    luaL_tolstring(L, i, NULL);
    luaL_addvalue(&text);
  }
  luaL_pushresult(&text);
  b->log(b->log_ud, BDL_LOG_PRINT, lua_tostring(L, -1));
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

/* The options of this version: those behind what an earlier header knew are defaults.  NULL, or what is wrong. */
static const char *take_options(const bdl_options *given, bdl_options *o) {
  *o = bdl_defaults();
  if (!given) return NULL;
  if (given->struct_size < offsetof(bdl_options, alloc_ud)) return "struct_size is not set; begin with bdl_defaults()";
  const char *rest = (const char *)given + sizeof *o;
  for (size_t i = sizeof *o; i < given->struct_size; i++)
    if (*rest++) return "an option is set that this version of bdl does not have";
  memcpy(o, given, given->struct_size < sizeof *o ? given->struct_size : sizeof *o);
  if ((o->step_limit || o->time_limit != 0) && !o->sandbox) return "step_limit and time_limit are of a sandbox";
  if (o->step_limit < 0 || !(o->time_limit >= 0)) return "step_limit and time_limit may not be negative";
  if (o->sandbox && o->tier && strcmp(o->tier, "interp") != 0) return "a sandbox has no native code: tier is \"interp\"";
  return o->threads < 0 || o->threads > 1024 ? "threads: 0 to 1024" : NULL;
}

bdl *lbdl_new(const bdl_options *o) {
  bdl_context *c = bdl_context_new(o->alloc, o->alloc_ud);
  if (!c) return NULL;
  c->mem_limit = o->memory_limit;
  c->threads = o->threads;
  bdl_world *w;
  if (o->threads == 0 && bdl_world_get(c, &w) == BDL_OK) c->threads = bdl_world_threads(w);
#ifdef BDL_DEBUG
  c->verify = 1;
#endif
  bdl *b = bdl_calloc(c, sizeof *b);
  lbdl_error_room *e = b ? bdl_calloc(c, sizeof *e) : NULL;
  if (!e) {
    bdl_free(c, b, sizeof *b);
    bdl_context_free(c);
    return NULL;
  }
  b->b = (lbdl){.ctx = c, .real = BDL_F32, .integer = BDL_I32, .print_sink = LUA_NOREF, .methods = LUA_NOREF};
  b->log = o->log;
  b->log_ud = o->log_ud;
  b->sandbox = o->sandbox;
  b->step_limit = o->step_limit;
  b->time_limit = o->time_limit;
  b->error = e;
  e->info = (bdl_error_info){e->kind, e->message, NULL, 0, NULL, e->text};
  c->warn = warn_of_context;
  c->warn_ud = b;
  if (bdl_units_new(c, &b->b.units) == BDL_OK && bdl_device_cpu(c) && (!o->tier || bdl_native_set_tier(c, o->tier) == BDL_OK)) return b;
  if (b->log) b->log(b->log_ud, BDL_LOG_ERROR, bdl_last_error(c)->message);
  lbdl_fini(b);
  return NULL;
}

void lbdl_fini(bdl *b) {
  bdl_context *c = b->b.ctx;
  lbdl_drop_unowned(&b->b);
  for (bdl_buffer *x = b->lent, *next; x; x = next) {
    next = x->next;
    bdl_buffer_unref(x);
  }
  bdl_units_free(b->b.units);
  bdl_free(c, b->error, sizeof *b->error);
  bdl_free(c, b, sizeof *b);
  bdl_context_free(c);
}

void lbdl_adopt(bdl *b, lua_State *L) {
  b->L = L;
  *(lbdl **)lua_getextraspace(L) = &b->b;
}

static int open_all(lua_State *L) {
  const bdl *b = lua_touserdata(L, 1);
  lua_pushliteral(L, "error in error handling"); /* what lua_pcall then says without asking for memory */
  luaL_ref(L, LUA_REGISTRYINDEX);
  luaL_openlibs(L);
  lbdl_open_modules(L);
  if (b->log) {
    lua_pushcfunction(L, l_log);
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, "bdl.log");
    lua_setglobal(L, "print");
  }
  return 0;
}

bdl *bdl_open(const bdl_options *options) {
  bdl_options o;
  const char *wrong = take_options(options, &o);
  if (wrong) {
    if (o.log || options->struct_size >= sizeof o) o.log = options->log, o.log_ud = options->log_ud;
    if (o.log) o.log(o.log_ud, BDL_LOG_ERROR, wrong);
    return NULL;
  }
  bdl *b = lbdl_new(&o);
  if (!b) return NULL;
  lua_State *L = lua_newstate(lua_memory, b->b.ctx);
  if (L) {
    lbdl_adopt(b, L);
    lua_setwarnf(L, warning, b);
    lua_gc(L, LUA_GCGEN, 10, 200); /* what calls leave behind is collected while it is in the cache */
    if (lbdl_protect(b, open_all, b)) return b;
  }
  if (b->log) b->log(b->log_ud, BDL_LOG_ERROR, L ? bdl_error_text(b) : "out of memory");
  bdl_close(b);
  return NULL;
}

void bdl_close(bdl *b) {
  if (!lbdl_enter(b)) return;
  lbdl_handles_close(b);
  if (b->L) lua_close(b->L);
  lbdl_fini(b);
}

const char *bdl_version(void) { return BDL_VERSION; }

void bdl_memory(const bdl *b, size_t *used, size_t *peak) {
  if (used) *used = b ? b->b.ctx->mem_used : 0;
  if (peak) *peak = b ? b->b.ctx->mem_peak : 0;
}

void bdl_memory_gpu(const bdl *b, size_t *used, size_t *peak) {
  const bdl_cuda *g = b ? bdl_cuda_of(b->b.ctx) : NULL;
  if (used) *used = g ? g->used : 0;
  if (peak) *peak = g ? g->peak : 0;
}

/* ---- models --------------------------------------------------------------------------------------------------- */

void lbdl_push_field(lua_State *L, const char *module, const char *name) {
  lua_getglobal(L, "require");
  lua_pushstring(L, module);
  lua_call(L, 1, 1);
  lua_getfield(L, -1, name);
  lua_remove(L, -2);
}

static int run_body(lua_State *L) {
  const char *const *a = lua_touserdata(L, 1); /* how, what, name */
  const bdl *b = (bdl *)(void *)lbdl_of(L);
  lbdl_push_field(L, "bdl.model", a[0]);
  lua_pushstring(L, a[1]);
  lua_pushstring(L, a[2]);
  if (!b->sandbox) lua_pushnil(L);
  else { /* the globals of a stranger, around the same context */
    lbdl_push_field(L, "bdl.sandbox", "close");
    lua_pushstring(L, strcmp(a[0], "run_file") == 0 ? a[1] : "");
    lua_createtable(L, 0, 2);
    lua_pushinteger(L, (lua_Integer)b->step_limit);
    lua_setfield(L, -2, "steps");
    lua_pushnumber(L, b->time_limit);
    lua_setfield(L, -2, "seconds");
    lua_call(L, 2, 1);
  }
  lua_call(L, 3, 0);
  return 0;
}

static int run_model(bdl *b, const char *how, const char *what, const char *name) {
  const char *a[] = {how, what, name};
  if (!lbdl_enter(b)) return 1;
  if (!what) return lbdl_leave(b, lbdl_refuse(b, BDL_EVALUE, "%s: no text was given", how));
  return lbdl_leave(b, lbdl_protect(b, run_body, a));
}

int bdl_run_file(bdl *b, const char *path) { return run_model(b, "run_file", path, path); }
int bdl_run_string(bdl *b, const char *text, const char *name) { return run_model(b, "run_string", text, name); }

typedef struct command {
  int argc, code;
  char **argv;
} command;

static int main_body(lua_State *L) {
  command *k = lua_touserdata(L, 1);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "bdl.cli");
  lua_call(L, 1, 1);
  luaL_checkstack(L, k->argc + 4, "arguments");
  for (int i = 1; i < k->argc; i++) lua_pushstring(L, k->argv[i]);
  lua_call(L, k->argc > 0 ? k->argc - 1 : 0, 1);
  k->code = (int)lua_tointeger(L, -1);
  return 0;
}

int bdl_main(bdl *b, int argc, char **argv) {
  command k = {argc, 1, argv};
  if (!lbdl_enter(b)) return 1;
  if (!lbdl_protect(b, main_body, &k)) fprintf(stderr, "bdl: %s\n", bdl_error_text(b));
  fflush(stdout);
  bdl_world_end(b->b.ctx, k.code);
  lbdl_leave(b, true);
  return k.code;
}

/* ---- interrupts ------------------------------------------------------------------------------------------------- */

static void stop_lua(lua_State *L, lua_Debug *ar) {
  (void)ar;
  lbdl_budget_hook(L);
  if (!bdl_stop_asked(lbdl_ctx(L))) return; /* a compiled loop has seen it */
  bdl_ask_stop(lbdl_ctx(L), false);
  lbdl_error(L, BDL_EINTERRUPT, "interrupted");
}

void bdl_interrupt(bdl *b) {
  if (!b) return;
  bdl_ask_stop(b->b.ctx, true); /* compiled loops look at it; Lua code is stopped by a hook */
  lua_sethook(b->L, stop_lua, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

int bdl_interrupted(const bdl *b) { return b && bdl_stop_asked(b->b.ctx); }

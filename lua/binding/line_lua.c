/*
** line_lua.c -- lines from the user, for lua/bdl/repl.lua.  On a terminal libedit edits them, opened at run time (no header of it is
** needed: what stands here of histedit.h is the same in all its versions); without it, and from a pipe, lines come as they are.
*/
#include <dlfcn.h>
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "base/context.h"
#include "binding/lbdl.h"

#define EDITOR "bdl.LineEditor"

enum { KEPT_LINES = 1000 };
enum { EL_EDITOR = 2, EL_BIND = 4, EL_ADDFN = 9, EL_HIST = 10, EL_GETCFN = 13, EL_CLIENTDATA = 14, EL_PROMPT_ESC = 21 };
enum { H_SETSIZE = 1, H_ENTER = 10, H_LOAD = 17, H_SAVE = 18, H_SETUNIQUE = 20 };
enum { CC_REDISPLAY = 8, CC_REFRESH = 4, CC_REFRESH_BEEP = 9 };

typedef struct el el;
typedef struct hist hist;
typedef struct line_info { const char *buffer, *cursor, *lastchar; } line_info;
typedef struct hist_event { int num; const char *str; } hist_event;

#define FUNCTIONS(X)                                                       \
  X(el *, el_init, (const char *program, FILE *in, FILE *out, FILE *err))  \
  X(void, el_end, (el *))                                                  \
  X(const char *, el_gets, (el *, int *n))                                 \
  X(int, el_set, (el *, int what, ...))                                    \
  X(int, el_get, (el *, int what, ...))                                    \
  X(int, el_source, (el *, const char *file))                              \
  X(void, el_resize, (el *))                                               \
  X(const line_info *, el_line, (el *))                                    \
  X(int, el_insertstr, (el *, const char *))                               \
  X(hist *, history_init, (void))                                          \
  X(void, history_end, (hist *))                                           \
  X(int, history, (hist *, hist_event *, int what, ...))

typedef struct editor {
  lua_State *L;  /* who reads; callbacks of libedit run in it */
  void *library; /* NULL: lines are not edited */
#define X(type, name, args) type(*name) args;
  FUNCTIONS(X)
#undef X
  el *el;
  hist *hist;
  char *plain; /* of getline */
  size_t plain_size;
  const char *prompt;
} editor;

static editor *self(lua_State *L) { return luaL_checkudata(L, 1, EDITOR); }

/* libedit hands its callbacks nothing else than itself. */
static editor *of(el *e) {
  int (*get)(el *, int, ...);
  void *p = dlsym(RTLD_DEFAULT, "el_get"), *m = NULL;
  memcpy(&get, &p, sizeof get); /* ISO C has no cast from an object to a function */
  get(e, EL_CLIENTDATA, &m);
  return m;
}

static bdl_context *context(const editor *m) { return lbdl_ctx(m->L); }

/* Calls nothing of Lua: it may not raise an error through libedit. */
static char *prompt_of(el *e) {
  static const char none[] = "";
  const editor *m = of(e);
  return (char *)(uintptr_t)(m->prompt ? m->prompt : none); /* not written to */
}

/* A character from the keyboard: 1; 0 the end; -1 Ctrl-C. */
static int read_key(el *e, wchar_t *key) {
  const editor *m = of(e);
  mbstate_t state = {0};
  for (;;) {
    char byte;
    const ssize_t n = read(STDIN_FILENO, &byte, 1);
    if (n < 0 && errno == EINTR && !context(m)->interrupted) continue;
    if (n <= 0) return (int)n;
    const size_t got = mbrtowc(key, &byte, 1, &state);
    if (got == (size_t)-2) continue; /* the character goes on */
    if (got != (size_t)-1) return 1;
    state = (mbstate_t){0};
  }
}

/* complete(text before the cursor) -> text to put there, candidates to show */
static int call_complete(lua_State *L) {
  lua_getiuservalue(L, 1, 1);
  lua_insert(L, 2);
  lua_settop(L, 3);
  lua_call(L, 1, 2);
  return 2;
}

static unsigned char complete(el *e, int key) {
  editor *m = of(e);
  lua_State *L = m->L;
  const line_info *line = m->el_line(e);
  const int top = lua_gettop(L);
  unsigned char done = CC_REFRESH_BEEP;
  (void)key;
  if (!lua_checkstack(L, 8)) return done;
  lua_pushcfunction(L, call_complete);
  lua_pushvalue(L, 1);
  lua_pushlstring(L, line->buffer, (size_t)(line->cursor - line->buffer));
  if (lua_pcall(L, 2, 2, 0) == LUA_OK) {
    if (lua_isstring(L, -2) && *lua_tostring(L, -2) && m->el_insertstr(e, lua_tostring(L, -2)) == 0) done = CC_REFRESH;
    if (lua_isstring(L, -1)) {
      printf("\n%s\n", lua_tostring(L, -1));
      done = CC_REDISPLAY;
    }
  }
  lua_settop(L, top);
  return done;
}

static bool resolve(editor *m) {
  static const char *const names[] = {"libedit.so.2", "libedit.so.0"};
  bool all = true;
  void *p;
  for (int k = 0; k < BDL_LEN(names) && !m->library; k++) m->library = dlopen(names[k], RTLD_NOW | RTLD_GLOBAL);
  if (!m->library) return false;
#define X(type, name, args)              \
  p = dlsym(m->library, #name);          \
  memcpy(&m->name, &p, sizeof p);        \
  all = all && p;
  FUNCTIONS(X)
#undef X
  return all;
}

static void start(editor *m) {
  hist_event event;
  m->el = m->el_init("bdl", stdin, stdout, stderr);
  m->hist = m->history_init();
  if (!m->el || !m->hist) return;
  m->history(m->hist, &event, H_SETSIZE, KEPT_LINES);
  m->history(m->hist, &event, H_SETUNIQUE, 1);
  m->el_set(m->el, EL_CLIENTDATA, m);
  m->el_set(m->el, EL_PROMPT_ESC, prompt_of, '\1');
  m->el_set(m->el, EL_EDITOR, "emacs");
  m->el_set(m->el, EL_HIST, m->history, m->hist);
  m->el_set(m->el, EL_GETCFN, read_key);
  m->el_set(m->el, EL_ADDFN, "bdl-complete", "complete a name", complete);
  m->el_set(m->el, EL_BIND, "\t", "bdl-complete", NULL);
  m->el_set(m->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
  m->el_source(m->el, NULL); /* ~/.editrc */
}

static void stop(editor *m) {
  if (m->hist) m->history_end(m->hist);
  if (m->el) m->el_end(m->el);
  m->hist = NULL;
  m->el = NULL;
}

/* core.line_editor(complete or nil) -> an editor of lines; complete: on a terminal, with libedit (call_complete) */
static int l_new(lua_State *L) {
  lua_settop(L, 1);
  editor *m = lua_newuserdatauv(L, sizeof *m, 1);
  *m = (editor){.L = L};
  luaL_setmetatable(L, EDITOR);
  if (lua_isnil(L, 1)) return 1;
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  setlocale(LC_CTYPE, ""); /* what a byte of a line means; numbers are written as ever */
  if (resolve(m)) start(m);
  if (!m->el || !m->hist) stop(m);
  return 1;
}

static int l_gc(lua_State *L) {
  editor *m = self(L);
  stop(m);
  free(m->plain);
  m->plain = NULL;
  return 0;
}

/* editor:edits() -> are lines edited? */
static int l_edits(lua_State *L) {
  lua_pushboolean(L, self(L)->el != NULL);
  return 1;
}

/* editor:read(prompt) -> line without its end; nil: the end of the input; false: Ctrl-C */
static int l_read(lua_State *L) {
  editor *m = self(L);
  m->L = L;
  m->prompt = luaL_checkstring(L, 2);
  const char *line = NULL;
  long n = -1;
  if (m->el) {
    int count = -1;
    m->el_resize(m->el);
    line = m->el_gets(m->el, &count);
    n = line ? count : -1;
  } else {
    for (const char *p = m->prompt; *p; p++)
      if (*p != '\1') putchar(*p);
    fflush(stdout);
    n = getline(&m->plain, &m->plain_size, stdin);
    if (n < 0) clearerr(stdin);
    line = m->plain;
  }
  m->prompt = NULL;
  if (context(m)->interrupted) { /* the line is given up; nobody else is to stop for it */
    context(m)->interrupted = 0;
    lua_pushboolean(L, false);
  } else if (n < 0 || (m->el && n == 0)) lua_pushnil(L);
  else lua_pushlstring(L, line, (size_t)(n > 0 && line[n - 1] == '\n' ? n - 1 : n));
  return 1;
}

/* editor:remember(line) */
static int l_remember(lua_State *L) {
  editor *m = self(L);
  hist_event event;
  const char *line = luaL_checkstring(L, 2);
  if (m->hist) m->history(m->hist, &event, H_ENTER, line);
  return 0;
}

static int history_file(lua_State *L, int what) {
  editor *m = self(L);
  hist_event event;
  const char *path = luaL_checkstring(L, 2);
  lua_pushboolean(L, !m->hist || m->history(m->hist, &event, what, path) >= 0);
  return 1;
}

static int l_recall(lua_State *L) { return history_file(L, H_LOAD); } /* editor:recall(file): its lines; false: it cannot be read */
static int l_keep(lua_State *L) { return history_file(L, H_SAVE); }   /* editor:keep(file); false: it cannot be written */

/* core.is_terminal(): both standard input and standard output? */
static int l_is_terminal(lua_State *L) {
  lua_pushboolean(L, isatty(STDIN_FILENO) && isatty(STDOUT_FILENO));
  return 1;
}

void lbdl_open_line(lua_State *L) {
  static const luaL_Reg methods[] = {{"read", l_read}, {"edits", l_edits}, {"remember", l_remember}, {"recall", l_recall},
                                     {"keep", l_keep}, {NULL, NULL}};
  static const luaL_Reg functions[] = {{"line_editor", l_new}, {"is_terminal", l_is_terminal}, {NULL, NULL}};
  luaL_newmetatable(L, EDITOR);
  lua_pushcfunction(L, l_gc);
  lua_setfield(L, -2, "__gc");
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  luaL_setfuncs(L, functions, 0);
}

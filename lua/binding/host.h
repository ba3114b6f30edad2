/*
** host.h -- what the files behind bdl.h share: a context as hosts hold it, handles, and calls that catch the errors of Lua.
*/
#ifndef LBDL_HOST_H
#define LBDL_HOST_H

#include <stdatomic.h>

#include "bdl.h"
#include "binding/lbdl.h"

typedef enum lbdl_handle_kind { LBDL_FREED, LBDL_FUNCTION, LBDL_CELL, LBDL_PROGRAM } lbdl_handle_kind;

/* First field of what a host holds.  Freed ones stay for a while, so that their use is seen. */
typedef struct lbdl_handle {
  uint64_t magic;
  lbdl_handle_kind kind;
  bdl *b;
  size_t size;
  struct lbdl_handle *prev, *next; /* of b's, newest first; freed ones: the next to go */
} lbdl_handle;

typedef struct lbdl_error_room {
  bdl_error_info info;
  char kind[64], message[2048], file[256], hint[512], text[4096];
} lbdl_error_room;

struct bdl {
  lbdl b; /* first: lua_getextraspace points here */
  lua_State *L;
  bool warns, in_warning; /* warn "@on" was called; the text goes on in the next call */
  void (*log)(void *ud, int level, const char *text);
  void *log_ud;
  bool sandbox;           /* the option; its limits: */
  int64_t step_limit;
  double time_limit;
  atomic_flag busy;               /* inside a call */
  _Atomic(uintptr_t) thread;      /* of that call */
  lbdl_handle *handles, *freed, *last_freed;
  int n_freed;
  bdl_buffer *lent; /* memory of the host that the model keeps for want of memory for a copy */
  lbdl_error_room *error;
};

/* ---- calls (host.c) */
/* Every function of bdl.h is between these.  false: b is inside of another call. */
bool lbdl_enter(bdl *b);
int lbdl_leave(bdl *b, bool done); /* what the function returns */
/* f(ud as light userdata at 1); false: it raised an error, which is kept. */
bool lbdl_protect(bdl *b, lua_CFunction f, void *ud);
/* The error of the runtime's context, kept for the host; false. */
bool lbdl_keep_status(bdl *b);
/* An error of the host's; false. */
bool lbdl_refuse(bdl *b, bdl_status s, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* ---- handles (handle.c) */
/* NULL with the error kept: out of memory. */
void *lbdl_handle_new(bdl *b, lbdl_handle_kind kind, size_t size);
void lbdl_handle_free(lbdl_handle *h); /* marks it */
void lbdl_handles_close(bdl *b);
/* As lbdl_enter, of a handle that must be of this kind: false for NULL and what was freed, too. */
bool lbdl_enter_handle(const void *handle, lbdl_handle_kind kind);
/* What the parts hold: Lua and buffers. */
void lbdl_function_fini(bdl *b, void *f);
void lbdl_cell_fini(bdl *b, void *c);
void lbdl_program_fini(bdl *b, void *p);

void lbdl_push_function(lua_State *L, const bdl_function *f);

/* ---- arrays (host_array.c) */
/* Type and unit of array k of `what`; raises what is wrong.  need_data: is NULL wrong? */
void lbdl_check_array(lua_State *L, const char *what, int k, const bdl_array *a, bool need_data, bdl_aval *type, const bdl_unit **unit);
/* May the array be used where it is? */
bool lbdl_in_place(const bdl_array *a, size_t bytes);
/* Booleans of the host: bytes other than 0 and 1 are an error. */
bdl_status lbdl_check_booleans(bdl_context *c, const void *data, const bdl_aval *type);
/* *a as the host sees type and unit at data. */
void lbdl_describe(bdl_array *a, void *data, const bdl_aval *type, const bdl_unit *unit, unsigned flags);
/* Raises unless array k of `what`, of this type and unit, is `type` with a unit of the same dimension; the factor that takes numbers
** in `unit` to the array's. */
double lbdl_fit(lua_State *L, const char *what, int k, const bdl_aval *wanted, const bdl_unit *wanted_unit, const bdl_aval *type,
                const bdl_unit *unit);
void lbdl_scaled(void *dst, const void *src, const bdl_aval *type, double factor); /* may be the same memory */

/* ---- core.c: the built-in modules, into a Lua that has its own libraries; lua_CFunction */
int lbdl_open_modules(lua_State *L);
/* Pushes what the module of bdl gives: field `name` of require(module). */
void lbdl_push_field(lua_State *L, const char *module, const char *name);

/* What a context needs before Lua is there; NULL: out of memory.  lbdl_fini frees all but Lua. */
bdl *lbdl_new(const bdl_options *o);
void lbdl_adopt(bdl *b, lua_State *L);
void lbdl_fini(bdl *b);

#endif

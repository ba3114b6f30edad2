/*
** raw_lua.c -- numbers and texts at offsets of files, for lua/bdl/save/safetensors.lua.  Offsets count from 0.
*/
#include <string.h>

#include "binding/lbdl.h"
#include "file/raw.h"

#define READER "bdl.RawReader"
#define WRITER "bdl.RawWriter"

static const bdl_raw *check_reader(lua_State *L) { return *(bdl_raw **)luaL_checkudata(L, 1, READER); }

static int reader_gc(lua_State *L) {
  bdl_raw **f = luaL_checkudata(L, 1, READER);
  bdl_raw_close(*f);
  *f = NULL;
  return 0;
}

/* core.raw_open(path) or (name, bytes) -> reader, bytes of the file */
static int l_open(lua_State *L) {
  size_t n = 0;
  lua_settop(L, 2);
  const char *name = luaL_checkstring(L, 1), *bytes = lua_tolstring(L, 2, &n);
  bdl_raw **f = lua_newuserdatauv(L, sizeof *f, 1);
  *f = NULL;
  luaL_setmetatable(L, READER);
  lua_pushvalue(L, 2); /* the bytes live as long as the reader */
  lua_setiuservalue(L, -2, 1);
  lbdl_check(L, bytes ? bdl_raw_open_bytes(lbdl_ctx(L), name, bytes, n, f) : bdl_raw_open(lbdl_ctx(L), name, f));
  lua_pushinteger(L, (lua_Integer)bdl_raw_size(*f));
  return 2;
}

/* core.raw_text(reader, at, n) -> n bytes */
static int l_text(lua_State *L) {
  const bdl_raw *f = check_reader(L);
  const lua_Integer at = luaL_checkinteger(L, 2), n = luaL_checkinteger(L, 3);
  luaL_Buffer text;
  char *data = luaL_buffinitsize(L, &text, (size_t)n);
  lbdl_check(L, bdl_raw_bytes(f, (uint64_t)at, data, (size_t)n));
  luaL_pushresultsize(&text, (size_t)n);
  return 1;
}

/* core.raw_form(code) -> bytes of a number, dtype; nil: no such code */
static int l_form(lua_State *L) {
  bdl_dtype d;
  const int size = bdl_raw_form(luaL_checkstring(L, 1), &d);
  if (!size) return 0;
  lua_pushinteger(L, size);
  lua_pushstring(L, bdl_dtype_name(d));
  return 2;
}

/* core.raw_read(reader, name, at, code, {extents}) -> tensor, checksum */
static int l_read(lua_State *L) {
  const bdl_raw *f = check_reader(L);
  const char *name = luaL_checkstring(L, 2), *code = luaL_checkstring(L, 4);
  const lua_Integer at = luaL_checkinteger(L, 3), ndim = luaL_len(L, 5);
  bdl_aval a = {0};
  uint32_t crc = 0;
  if (!bdl_raw_form(code, &a.dtype)) return lbdl_error(L, BDL_ENOTSUP, "no numbers of '%s'", code);
  if (ndim > BDL_MAX_NDIM)
    return lbdl_error(L, BDL_ENOTSUP, "'%s' has %d axes, a tensor can have %d", name, (int)ndim, BDL_MAX_NDIM);
  for (a.ndim = 0; a.ndim < ndim; a.ndim++) {
    lua_geti(L, 5, a.ndim + 1);
    a.shape[a.ndim] = (int64_t)luaL_checkinteger(L, -1);
    lua_pop(L, 1);
  }
  lbdl_check(L, bdl_aval_check(lbdl_ctx(L), &a));
  lbdl_check(L, bdl_raw_numbers(f, name, (uint64_t)at, code, &a, lbdl_push_uninitialised(L, &a), &crc));
  lua_pushinteger(L, (lua_Integer)crc);
  return 2;
}

static bdl_raw_writer **check_writer(lua_State *L) {
  bdl_raw_writer **w = luaL_checkudata(L, 1, WRITER);
  if (!*w) lbdl_error(L, BDL_EIO, "the file is finished already");
  return w;
}

static int writer_gc(lua_State *L) { /* also core.raw_discard(writer): leaves no file */
  bdl_raw_writer **w = luaL_checkudata(L, 1, WRITER);
  bdl_raw_discard(*w);
  *w = NULL;
  return 0;
}

/* core.raw_create(path) -> writer */
static int l_create(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  bdl_raw_writer **w = lua_newuserdatauv(L, sizeof *w, 0);
  *w = NULL;
  luaL_setmetatable(L, WRITER);
  lbdl_check(L, bdl_raw_create(lbdl_ctx(L), path, w));
  return 1;
}

/* The bytes of a text, or of a concrete tensor in C order. */
static const void *bytes_at(lua_State *L, int arg, size_t *n) {
  if (lua_type(L, arg) == LUA_TSTRING) return lua_tolstring(L, arg, n);
  const bdl_tensor *x = lbdl_packed(L, arg, "a file");
  *n = bdl_aval_bytes(&x->aval);
  return bdl_tensor_data(x);
}

/* core.raw_put(writer, text or tensor) */
static int l_put(lua_State *L) {
  size_t n;
  bdl_raw_writer *w = *check_writer(L);
  const void *data = bytes_at(L, 2, &n);
  lbdl_check(L, bdl_raw_write(w, data, n));
  return 0;
}

/* core.raw_crc(text or tensor) -> CRC-32 */
static int l_crc(lua_State *L) {
  size_t n;
  const void *data = bytes_at(L, 1, &n);
  lua_pushinteger(L, (lua_Integer)bdl_raw_crc(data, n));
  return 1;
}

/* core.raw_finish(writer): the file is there under its name; not from `bdl check`, whose numbers are none */
static int l_finish(lua_State *L) {
  bdl_raw_writer **w = check_writer(L), *writer = *w;
  *w = NULL;
  if (lbdl_of(L)->check) bdl_raw_discard(writer);
  else lbdl_check(L, bdl_raw_finish(writer));
  return 0;
}

void lbdl_open_raw(lua_State *L) {
  static const luaL_Reg reader[] = {{"__gc", reader_gc}, {"__close", reader_gc}, {NULL, NULL}};
  static const luaL_Reg writer[] = {{"__gc", writer_gc}, {"__close", writer_gc}, {NULL, NULL}};
  luaL_newmetatable(L, READER);
  luaL_setfuncs(L, reader, 0);
  luaL_newmetatable(L, WRITER);
  luaL_setfuncs(L, writer, 0);
  lua_pop(L, 2);
  static const luaL_Reg functions[] = {
    {"raw_open", l_open}, {"raw_text", l_text}, {"raw_form", l_form}, {"raw_read", l_read}, {"raw_create", l_create},
    {"raw_put", l_put}, {"raw_crc", l_crc}, {"raw_finish", l_finish}, {"raw_discard", writer_gc}, {NULL, NULL},
  };
  luaL_setfuncs(L, functions, 0);
}

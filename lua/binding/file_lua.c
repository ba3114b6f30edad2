/*
** file_lua.c -- arrays of files, for lua/bdl/data.
*/
#include <string.h>

#include "binding/embedded.h"
#include "binding/lbdl.h"
#include "file/file.h"
#include "file/hdf5.h"

/* ---- reading -------------------------------------------------------------------------------------- */

#define READER "bdl.FileReader"

static bdl_npz *check_reader(lua_State *L) { return *(bdl_npz **)luaL_checkudata(L, 1, READER); }

static int reader_gc(lua_State *L) {
  bdl_npz **f = luaL_checkudata(L, 1, READER);
  bdl_npz_close(*f);
  *f = NULL;
  return 0;
}

/* core.file_open(path) or (name, bytes) -> reader, true if it is one array without a name */
static int l_open(lua_State *L) {
  size_t n = 0;
  const char *name = luaL_checkstring(L, 1), *bytes = lua_tolstring(L, 2, &n);
  bdl_npz **f = lua_newuserdatauv(L, sizeof *f, 1);
  *f = NULL;
  luaL_setmetatable(L, READER);
  lua_pushvalue(L, 2); /* the bytes live as long as the reader */
  lua_setiuservalue(L, -2, 1);
  lbdl_check(L, bytes ? bdl_npz_open_bytes(lbdl_ctx(L), name, bytes, n, f) : bdl_npz_open(lbdl_ctx(L), name, f));
  lua_pushboolean(L, bdl_npz_is_array(*f));
  return 2;
}

/* core.file_names(reader) -> list */
static int l_names(lua_State *L) {
  bdl_npz *f = check_reader(L);
  const int64_t n = bdl_npz_count(f);
  lua_createtable(L, (int)BDL_MIN(n, 1 << 20), 0);
  for (int64_t i = 0; i < n; i++) {
    lua_pushstring(L, bdl_npz_name(f, i));
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/* core.file_read(reader, i) -> tensor i, from 1 */
static int l_read(lua_State *L) {
  bdl_npz *f = check_reader(L);
  const lua_Integer i = luaL_checkinteger(L, 2);
  if (i < 1 || i > bdl_npz_count(f)) return lbdl_error(L, BDL_EINDEX, "array %d of %d", (int)i, (int)bdl_npz_count(f));
  bdl_aval a;
  lbdl_check(L, bdl_npz_aval(f, i - 1, &a));
  lbdl_check(L, bdl_npz_read(f, i - 1, &a, lbdl_push_uninitialised(L, &a)));
  return 1;
}

/* core.file_text(reader, name) -> text of that name; nil: there is none */
static int l_text(lua_State *L) {
  bdl_npz *f = check_reader(L);
  size_t n = 0;
  const int64_t text = bdl_npz_text_find(f, luaL_checkstring(L, 2), &n);
  if (text < 0) return 0;
  char *data = lua_newuserdatauv(L, n + 1, 0);
  lbdl_check(L, bdl_npz_text_read(f, text, data));
  lua_pushlstring(L, data, n);
  return 1;
}

/* ---- HDF5 ------------------------------------------------------------------------------------------ */

#define HDF5 "bdl.HDF5"

static bdl_hdf5 *check_hdf5(lua_State *L) {
  bdl_hdf5 *f = *(bdl_hdf5 **)luaL_checkudata(L, 1, HDF5);
  if (!f) lbdl_error(L, BDL_EIO, "the file is closed");
  return f;
}

static int hdf5_gc(lua_State *L) { /* also core.hdf5_close(file) */
  bdl_hdf5 **f = luaL_checkudata(L, 1, HDF5);
  bdl_hdf5_close(*f);
  *f = NULL;
  return 0;
}

/* core.hdf5_built() -> was libhdf5 there when bdl was built? */
static int l_hdf5_built(lua_State *L) {
  lua_pushboolean(L, bdl_hdf5_built());
  return 1;
}

/* core.hdf5_open(path) -> file */
static int l_hdf5_open(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  bdl_hdf5 **f = lua_newuserdatauv(L, sizeof *f, 0);
  *f = NULL;
  luaL_setmetatable(L, HDF5);
  lbdl_check(L, bdl_hdf5_open(lbdl_ctx(L), path, f));
  return 1;
}

/* core.hdf5_kind(file, name) -> "array", "ragged", "text" or "group", the length of its first axis, and the list of all;
** nil: there is none */
static int l_hdf5_kind(lua_State *L) {
  static const char *const kinds[] = {"array", "ragged", "text", "group"};
  bdl_hdf5 *f = check_hdf5(L);
  bdl_hdf5_kind kind;
  bdl_aval a;
  bool there = false;
  lbdl_check(L, bdl_hdf5_has(f, luaL_checkstring(L, 2), &there));
  if (!there) return 0;
  lbdl_check(L, bdl_hdf5_type(f, lua_tostring(L, 2), &kind, &a));
  lua_pushstring(L, kinds[kind]);
  lua_pushinteger(L, a.ndim > 0 ? a.shape[0] : 1);
  lua_createtable(L, a.ndim, 0);
  for (int k = 0; k < a.ndim; k++) {
    lua_pushinteger(L, a.shape[k]);
    lua_rawseti(L, -2, k + 1);
  }
  return 3;
}

/* core.hdf5_read(file, name) -> the tensor of an array */
static int l_hdf5_read(lua_State *L) {
  bdl_hdf5 *f = check_hdf5(L);
  bdl_hdf5_kind kind;
  bdl_aval a;
  lbdl_check(L, bdl_hdf5_type(f, luaL_checkstring(L, 2), &kind, &a));
  lbdl_check(L, bdl_hdf5_read(f, lua_tostring(L, 2), &a, lbdl_push_uninitialised(L, &a)));
  return 1;
}

/* core.hdf5_row(file, name, i) -> row i, from 1 in C order: a vector, a text, or a name of a group */
static int l_hdf5_row(lua_State *L) {
  bdl_hdf5 *f = check_hdf5(L);
  const char *name = luaL_checkstring(L, 2);
  bdl_hdf5_kind kind;
  bdl_aval a;
  const void *data = NULL;
  int64_t n = 0;
  lbdl_check(L, bdl_hdf5_type(f, name, &kind, &a));
  lbdl_check(L, bdl_hdf5_row(f, name, luaL_checkinteger(L, 3) - 1, &data, &n));
  if (kind == BDL_HDF5_TEXT || kind == BDL_HDF5_GROUP) {
    lua_pushlstring(L, n ? data : "", (size_t)n);
    return 1;
  }
  a = bdl_aval_make(a.dtype, 1, &n);
  void *copy = lbdl_push_uninitialised(L, &a);
  if (n > 0) memcpy(copy, data, bdl_aval_bytes(&a));
  return 1;
}

/* core.embedded(file) -> bytes of a file inside the library, nil: none of that name */
static int l_embedded(lua_State *L) {
  const char *file = luaL_checkstring(L, 1);
  for (const struct bdl_embedded *m = bdl_embedded_files; m->name; m++)
    if (!strcmp(m->name, file)) {
      lua_pushlstring(L, (const char *)m->data, m->size);
      return 1;
    }
  return 0;
}

/* ---- writing -------------------------------------------------------------------------------------- */

#define WRITER "bdl.FileWriter"

static bdl_npz_writer **check_writer(lua_State *L) {
  bdl_npz_writer **w = luaL_checkudata(L, 1, WRITER);
  if (!*w) lbdl_error(L, BDL_EIO, "the file is finished already");
  return w;
}

static int writer_gc(lua_State *L) { /* also core.file_discard(writer): leaves no file */
  bdl_npz_writer **w = luaL_checkudata(L, 1, WRITER);
  bdl_npz_discard(*w);
  *w = NULL;
  return 0;
}

/* core.file_create(path, compress) -> writer */
static int l_create(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  bdl_npz_writer **w = lua_newuserdatauv(L, sizeof *w, 0);
  *w = NULL;
  luaL_setmetatable(L, WRITER);
  lbdl_check(L, bdl_npz_create(lbdl_ctx(L), path, lua_toboolean(L, 2), w));
  return 1;
}

/* core.file_put(writer, name, tensor) */
static int l_put(lua_State *L) {
  bdl_npz_writer *w = *check_writer(L);
  const bdl_tensor *x = lbdl_packed(L, 3, "a file");
  lbdl_check(L, bdl_npz_put(w, luaL_checkstring(L, 2), &x->aval, bdl_tensor_data(x)));
  return 0;
}

/* core.file_put_text(writer, name, text) */
static int l_put_text(lua_State *L) {
  size_t n = 0;
  bdl_npz_writer *w = *check_writer(L);
  const char *name = luaL_checkstring(L, 2), *text = luaL_checklstring(L, 3, &n);
  lbdl_check(L, bdl_npz_put_text(w, name, text, n));
  return 0;
}

/* core.file_rows(writer, name, row) -> an array that grows by rows of the type of the tensor `row`; until the finish */
static int l_rows(lua_State *L) {
  bdl_npz_rows *r = NULL;
  lbdl_check(L, bdl_npz_rows_new(*check_writer(L), luaL_checkstring(L, 2), &lbdl_to_tensor(L, 3)->t.aval, &r));
  lua_pushlightuserdata(L, r);
  return 1;
}

/* core.file_add(writer, rows, tensor): tensor [n, ..row] */
static int l_add(lua_State *L) {
  check_writer(L);
  bdl_npz_rows *r = lua_touserdata(L, 2);
  const bdl_tensor *x = lbdl_packed(L, 3, "a file");
  const bdl_aval *row = bdl_npz_rows_type(r);
  const bdl_aval rest = bdl_aval_make(x->aval.dtype, BDL_MAX(x->aval.ndim - 1, 0), x->aval.shape + 1);
  if (x->aval.ndim == 0 || !bdl_aval_eq(&rest, row)) {
    char want[BDL_AVAL_TEXT], got[BDL_AVAL_TEXT];
    return lbdl_error(L, BDL_ESHAPE, "rows of %s were begun; %s was given, and its first axis counts rows",
                      bdl_aval_text(row, true, want), bdl_aval_text(&x->aval, true, got));
  }
  lbdl_check(L, bdl_npz_rows_add(r, bdl_tensor_data(x), x->aval.shape[0]));
  return 0;
}

/* core.file_finish(writer): the file is there under its name; not from `bdl check`, whose numbers are none */
static int l_finish(lua_State *L) {
  bdl_npz_writer **w = check_writer(L), *writer = *w;
  *w = NULL;
  if (lbdl_of(L)->check) bdl_npz_discard(writer);
  else lbdl_check(L, bdl_npz_finish(writer));
  return 0;
}

/* ---- writing HDF5 --------------------------------------------------------------------------------- */

#define HDF5_WRITER "bdl.HDF5Writer"

static bdl_hdf5_writer **check_hdf5_writer(lua_State *L) {
  bdl_hdf5_writer **w = luaL_checkudata(L, 1, HDF5_WRITER);
  if (!*w) lbdl_error(L, BDL_EIO, "the file is finished already");
  return w;
}

static int hdf5_writer_gc(lua_State *L) { /* also core.hdf5_discard(writer): leaves no file */
  bdl_hdf5_writer **w = luaL_checkudata(L, 1, HDF5_WRITER);
  bdl_hdf5_discard(*w);
  *w = NULL;
  return 0;
}

/* core.hdf5_create(path, compress) -> writer */
static int l_hdf5_create(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  bdl_hdf5_writer **w = lua_newuserdatauv(L, sizeof *w, 0);
  *w = NULL;
  luaL_setmetatable(L, HDF5_WRITER);
  lbdl_check(L, bdl_hdf5_create(lbdl_ctx(L), path, lua_toboolean(L, 2), w));
  return 1;
}

/* core.hdf5_put(writer, name, tensor) */
static int l_hdf5_put(lua_State *L) {
  bdl_hdf5_writer *w = *check_hdf5_writer(L);
  const bdl_tensor *x = lbdl_packed(L, 3, "a file");
  lbdl_check(L, bdl_hdf5_put(w, luaL_checkstring(L, 2), &x->aval, bdl_tensor_data(x)));
  return 0;
}

/* core.hdf5_put_text(writer, name, text); core.hdf5_put_texts(writer, name, list, width): texts [#list / width, width] */
static int put_texts(lua_State *L, const bdl_aval *a, lua_Integer n) {
  bdl_hdf5_writer *w = *check_hdf5_writer(L);
  const char *name = luaL_checkstring(L, 2);
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (lua_Integer i = 1; i <= n; i++) {
    size_t size = 0;
    if (a->ndim == 0) lua_pushvalue(L, 3);
    else lua_rawgeti(L, 3, i);
    const char *text = lua_tolstring(L, -1, &size);
    if (!text || memchr(text, 0, size)) return lbdl_error(L, BDL_EVALUE, "%s: a text with a zero byte cannot be written", name);
    luaL_addvalue(&b);
    luaL_addchar(&b, '\0');
  }
  luaL_pushresult(&b);
  size_t bytes = 0;
  const char *texts = lua_tolstring(L, -1, &bytes);
  lbdl_check(L, bdl_hdf5_put_texts(w, name, a, texts, bytes));
  return 0;
}

static int l_hdf5_put_text(lua_State *L) {
  const bdl_aval one = bdl_aval_scalar(BDL_BOOL);
  luaL_checkstring(L, 3);
  return put_texts(L, &one, 1);
}

static int l_hdf5_put_texts(lua_State *L) {
  luaL_checktype(L, 3, LUA_TTABLE);
  const lua_Integer n = luaL_len(L, 3), width = luaL_checkinteger(L, 4);
  const int64_t shape[2] = {n / BDL_MAX(width, 1), width};
  const bdl_aval a = bdl_aval_make(BDL_BOOL, 2, shape);
  return put_texts(L, &a, shape[0] * width);
}

/* core.hdf5_put_group(writer, name) */
static int l_hdf5_put_group(lua_State *L) {
  lbdl_check(L, bdl_hdf5_put_group(*check_hdf5_writer(L), luaL_checkstring(L, 2)));
  return 0;
}

/* core.hdf5_finish(writer): as file_finish */
static int l_hdf5_finish(lua_State *L) {
  bdl_hdf5_writer **w = check_hdf5_writer(L), *writer = *w;
  *w = NULL;
  if (lbdl_of(L)->check) bdl_hdf5_discard(writer);
  else lbdl_check(L, bdl_hdf5_finish(writer));
  return 0;
}

void lbdl_open_file(lua_State *L) {
  static const luaL_Reg reader[] = {{"__gc", reader_gc}, {"__close", reader_gc}, {NULL, NULL}};
  luaL_newmetatable(L, READER);
  luaL_setfuncs(L, reader, 0);
  static const luaL_Reg hdf5[] = {{"__gc", hdf5_gc}, {"__close", hdf5_gc}, {NULL, NULL}};
  luaL_newmetatable(L, HDF5);
  luaL_setfuncs(L, hdf5, 0);
  static const luaL_Reg writer[] = {{"__gc", writer_gc}, {"__close", writer_gc}, {NULL, NULL}};
  luaL_newmetatable(L, WRITER);
  luaL_setfuncs(L, writer, 0);
  static const luaL_Reg hdf5_writer[] = {{"__gc", hdf5_writer_gc}, {"__close", hdf5_writer_gc}, {NULL, NULL}};
  luaL_newmetatable(L, HDF5_WRITER);
  luaL_setfuncs(L, hdf5_writer, 0);
  lua_pop(L, 4);
  static const luaL_Reg functions[] = {
    {"file_open", l_open}, {"file_names", l_names}, {"file_read", l_read}, {"embedded", l_embedded},
    {"file_text", l_text}, {"file_create", l_create}, {"file_put", l_put}, {"file_put_text", l_put_text}, {"file_rows", l_rows}, {"file_add", l_add},
    {"file_finish", l_finish}, {"file_discard", writer_gc}, {"hdf5_open", l_hdf5_open}, {"hdf5_close", hdf5_gc},
    {"hdf5_kind", l_hdf5_kind}, {"hdf5_read", l_hdf5_read}, {"hdf5_row", l_hdf5_row},
    {"hdf5_built", l_hdf5_built}, {"hdf5_create", l_hdf5_create}, {"hdf5_put", l_hdf5_put},
    {"hdf5_put_text", l_hdf5_put_text}, {"hdf5_put_texts", l_hdf5_put_texts}, {"hdf5_put_group", l_hdf5_put_group},
    {"hdf5_finish", l_hdf5_finish}, {"hdf5_discard", hdf5_writer_gc}, {NULL, NULL},
  };
  luaL_setfuncs(L, functions, 0);
}

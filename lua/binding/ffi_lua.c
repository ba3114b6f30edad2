/*
** ffi_lua.c -- functions of C libraries as equations, through libffi; for lua/bdl/ffi.lua, which reads their declarations.
**
** A function of numbers is called once an element; one with pointers once, with arrays of its own types.  Nothing of Lua runs then.
*/
#include <dlfcn.h>
#include <ffi.h>
#include <stdio.h>
#include <string.h>

#include "base/context.h"
#include "binding/lbdl.h"

#define LIBRARY "bdl.Library"
#define FUNCTION "bdl.Foreign"

enum { MOST_ARGUMENTS = 16 };

/* Types of C; letters in ffi.lua: d f i I u U b, upper case 64 bits. */
typedef enum ctype { DOUBLE, FLOAT, INT32, INT64, UINT32, UINT64, BOOLEAN, CTYPES } ctype;

typedef struct argument {
  ctype type;
  bool pointer, out; /* out: the function writes it */
} argument;

typedef struct foreign {
  ffi_cif cif;
  ffi_type *types[MOST_ARGUMENTS];
  void (*address)(void);
  argument v[MOST_ARGUMENTS], result; /* result.out: not void */
  int n, n_pointers;
} foreign;

typedef union number {
  double d;
  float f;
  int32_t i;
  int64_t I;
  uint32_t u;
  uint64_t U;
  bool b;
  ffi_arg wide; /* libffi returns small integers in this */
} number;

static const struct {
  char letter;
  uint8_t size;
} ctypes[CTYPES] = {[DOUBLE] = {'d', 8}, [FLOAT] = {'f', 4}, [INT32] = {'i', 4}, [INT64] = {'I', 8}, [UINT32] = {'u', 4}, [UINT64] = {'U', 8}, [BOOLEAN] = {'b', 1}};

static ffi_type *ffi_type_of(ctype t) {
  switch (t) {
    case DOUBLE: return &ffi_type_double;
    case FLOAT: return &ffi_type_float;
    case INT32: return &ffi_type_sint32;
    case INT64: return &ffi_type_sint64;
    case UINT32: return &ffi_type_uint32;
    case UINT64: return &ffi_type_uint64;
    default: return &ffi_type_uint8;
  }
}

/* ---- numbers ---------------------------------------------------------------------------------------- */

/* Element i of a tensor's data as a number of C. */
static number load(const void *data, bdl_dtype d, int64_t i, ctype t) {
  double x = 0;
  int64_t k = 0;
  const bool is_float = d == BDL_F32 || d == BDL_F64;
  switch (d) {
    case BDL_F32: x = (double)((const float *)data)[i]; break;
    case BDL_F64: x = ((const double *)data)[i]; break;
    case BDL_BOOL: k = ((const bool *)data)[i]; break;
    case BDL_I32: k = ((const int32_t *)data)[i]; break;
    case BDL_U32: k = ((const uint32_t *)data)[i]; break;
    default: k = ((const int64_t *)data)[i];
  }
  if (!is_float) x = (double)k;
  switch (t) {
    case DOUBLE: return (number){.d = x};
    case FLOAT: return (number){.f = (float)x};
    case INT32: return (number){.i = (int32_t)k};
    case INT64: return (number){.I = k};
    case UINT32: return (number){.u = (uint32_t)k};
    case UINT64: return (number){.U = (uint64_t)k};
    default: return (number){.b = is_float ? x != 0 : k != 0};
  }
}

static void store(void *data, bdl_dtype d, int64_t i, ctype t, number v) {
  double x = 0;
  int64_t k = 0;
  const bool is_float = t == DOUBLE || t == FLOAT;
  switch (t) {
    case DOUBLE: x = v.d; break;
    case FLOAT: x = (double)v.f; break;
    case INT32: k = v.i; break;
    case INT64: k = v.I; break;
    case UINT32: k = v.u; break;
    case UINT64: k = (int64_t)v.U; break;
    default: k = v.b;
  }
  if (!is_float) x = (double)k;
  switch (d) {
    case BDL_F32: ((float *)data)[i] = (float)x; break;
    case BDL_F64: ((double *)data)[i] = x; break;
    case BDL_BOOL: ((bool *)data)[i] = is_float ? x != 0 : k != 0; break;
    case BDL_I32: ((int32_t *)data)[i] = (int32_t)k; break;
    case BDL_U32: ((uint32_t *)data)[i] = (uint32_t)k; break;
    default: ((int64_t *)data)[i] = k;
  }
}

/* ---- calls ------------------------------------------------------------------------------------------ */

typedef struct ffi_host {
  bdl_host h;
  lua_State *L;
  bdl_context *ctx;
  int ref; /* of the function, which keeps its library open */
  const foreign *f;
} ffi_host;

static void host_free(bdl_host *h) {
  ffi_host *x = (ffi_host *)(void *)h;
  luaL_unref(x->L, LUA_REGISTRYINDEX, x->ref);
  bdl_free(x->ctx, x, sizeof *x);
}

static number from_result(const foreign *f, number v) {
  switch (f->result.type) { /* libffi widens what is smaller than a word */
    case INT32: return (number){.i = (int32_t)v.wide};
    case UINT32: return (number){.u = (uint32_t)v.wide};
    case BOOLEAN: return (number){.b = (v.wide & 0xff) != 0};
    default: return v;
  }
}

static void run_elements(foreign *f, const bdl_tensor *in, bdl_tensor *out) {
  const void *data[MOST_ARGUMENTS];
  number x[MOST_ARGUMENTS], y;
  void *p[MOST_ARGUMENTS];
  for (int k = 0; k < f->n; k++) data[k] = bdl_tensor_data(&in[k]), p[k] = &x[k];
  const int64_t n = bdl_aval_numel(&out->aval);
  for (int64_t i = 0; i < n; i++) {
    for (int k = 0; k < f->n; k++) x[k] = load(data[k], in[k].aval.dtype, i, f->v[k].type);
    ffi_call(&f->cif, f->address, &y, p);
    store(bdl_tensor_data(out), out->aval.dtype, i, f->result.type, from_result(f, y));
  }
}

/* Arrays in the function's types, one after the other in `memory`. */
static bdl_status run_arrays(foreign *f, bdl_context *c, const bdl_tensor *in, bdl_tensor *out, int n_out) {
  size_t at[MOST_ARGUMENTS], bytes = 0;
  number x[MOST_ARGUMENTS], y;
  void *p[MOST_ARGUMENTS];
  char *pointer[MOST_ARGUMENTS];
  int given = 0, written = 0;
  for (int k = 0; k < f->n; k++) {
    const bdl_tensor *t = f->v[k].out ? &out[written++] : &in[given++];
    at[k] = bytes;
    if (f->v[k].pointer) bytes += ((size_t)bdl_aval_numel(&t->aval) * ctypes[f->v[k].type].size + 64) / 64 * 64;
  }
  char *memory = bdl_calloc(c, bytes + 1);
  if (!memory) return BDL_ENOMEM;
  given = 0;
  for (int k = 0; k < f->n; k++) {
    const ctype type = f->v[k].type;
    const bdl_tensor *t = f->v[k].out ? NULL : &in[given++];
    pointer[k] = memory + at[k];
    p[k] = f->v[k].pointer ? (void *)&pointer[k] : (void *)&x[k];
    if (t && !f->v[k].pointer) x[k] = load(bdl_tensor_data(t), t->aval.dtype, 0, type);
    for (int64_t i = 0; t && f->v[k].pointer && i < bdl_aval_numel(&t->aval); i++) {
      const number v = load(bdl_tensor_data(t), t->aval.dtype, i, type);
      memcpy(pointer[k] + (size_t)i * ctypes[type].size, &v, ctypes[type].size);
    }
  }
  ffi_call(&f->cif, f->address, &y, p);
  written = 0;
  for (int k = 0; k < f->n; k++) {
    if (!f->v[k].out) continue;
    bdl_tensor *t = &out[written++];
    for (int64_t i = 0; i < bdl_aval_numel(&t->aval); i++) {
      number v = {0};
      memcpy(&v, pointer[k] + (size_t)i * ctypes[f->v[k].type].size, ctypes[f->v[k].type].size);
      store(bdl_tensor_data(t), t->aval.dtype, i, f->v[k].type, v);
    }
  }
  if (f->result.out && written < n_out) store(bdl_tensor_data(&out[written]), out[written].aval.dtype, 0, f->result.type, from_result(f, y));
  bdl_free(c, memory, bytes + 1);
  return BDL_OK;
}

static bdl_status host_run(bdl_host *h, bdl_context *c, const bdl_tensor *in, int n_in, bdl_tensor *out, int n_out) {
  foreign *f = (foreign *)(uintptr_t)((ffi_host *)(void *)h)->f;
  (void)n_in;
  if (f->n_pointers) return run_arrays(f, c, in, out, n_out);
  run_elements(f, in, out);
  return BDL_OK;
}

/* ---- for ffi.lua ------------------------------------------------------------------------------------------ */

static int library_gc(lua_State *L) {
  void **library = luaL_checkudata(L, 1, LIBRARY);
  if (*library) dlclose(*library);
  *library = NULL;
  return 0;
}

/* core.ffi_open(path) -> library; nil and why */
static int l_open(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  lbdl_check(L, bdl_need_files(lbdl_ctx(L), path));
  void **library = lua_newuserdatauv(L, sizeof *library, 0);
  *library = NULL;
  luaL_setmetatable(L, LIBRARY);
  *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (*library) return 1;
  lua_pushnil(L);
  lua_pushstring(L, dlerror());
  return 2;
}

/* "d", "const *d" as "pd", "*d" as "od" */
static bool read_argument(const char *s, argument *a) {
  *a = (argument){.pointer = *s == 'p' || *s == 'o', .out = *s == 'o'};
  s += a->pointer;
  for (a->type = 0; a->type < CTYPES; a->type++)
    if (ctypes[a->type].letter == *s) return true;
  return false;
}

/* core.ffi_function(library, name, result ("" void), {arguments}) -> function; nil: the library has none of that name */
static int l_function(lua_State *L) {
  void **library = luaL_checkudata(L, 1, LIBRARY);
  const char *name = luaL_checkstring(L, 2), *result = luaL_checkstring(L, 3);
  foreign *f = lua_newuserdatauv(L, sizeof *f, 1);
  *f = (foreign){0};
  luaL_setmetatable(L, FUNCTION);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  void *address = dlsym(*library, name);
  if (!address) return 0;
  memcpy(&f->address, &address, sizeof address); /* ISO C has no cast from an object to a function */
  f->n = (int)lua_rawlen(L, 4);
  if (f->n > MOST_ARGUMENTS) return lbdl_error(L, BDL_ENOTSUP, "ffi: %s has %d arguments, more than %d", name, f->n, MOST_ARGUMENTS);
  for (int k = 0; k < f->n; k++) {
    lua_rawgeti(L, 4, k + 1);
    if (!read_argument(luaL_checkstring(L, -1), &f->v[k])) return lbdl_error(L, BDL_EINTERNAL, "ffi: no such type");
    lua_pop(L, 1);
    f->n_pointers += f->v[k].pointer;
    f->types[k] = f->v[k].pointer ? &ffi_type_pointer : ffi_type_of(f->v[k].type);
  }
  if (*result && !read_argument(result, &f->result)) return lbdl_error(L, BDL_EINTERNAL, "ffi: no such type");
  f->result.out = *result != 0;
  if (ffi_prep_cif(&f->cif, FFI_DEFAULT_ABI, (unsigned)f->n, *result ? ffi_type_of(f->result.type) : &ffi_type_void, f->types) != FFI_OK)
    return lbdl_error(L, BDL_ENOTSUP, "ffi: libffi cannot call %s", name);
  return 1;
}

/* core.ffi_call(function, {like results}, x...) -> results; in a trace an equation.  Operands: broadcast, plain numbers. */
static int l_call(lua_State *L) {
  const foreign *f = luaL_checkudata(L, 1, FUNCTION);
  const int n = lbdl_result_types(L, 2);
  ffi_host *x = bdl_calloc(lbdl_ctx(L), sizeof *x);
  if (!x) return lbdl_raise(L);
  lua_pushvalue(L, 1);
  const int ref = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  *x = (ffi_host){.h = {.refs = 1, .call = host_run, .free = host_free}, .L = lua_tothread(L, -1), .ctx = lbdl_ctx(L), .ref = ref, .f = f};
  lua_pop(L, 1);
  return lbdl_host_call(L, &x->h, 2, n);
}

void lbdl_open_ffi(lua_State *L) {
  luaL_newmetatable(L, LIBRARY);
  lua_pushcfunction(L, library_gc);
  lua_setfield(L, -2, "__gc");
  luaL_newmetatable(L, FUNCTION);
  lua_pop(L, 2);
  static const luaL_Reg functions[] = {{"ffi_open", l_open}, {"ffi_function", l_function}, {"ffi_call", l_call}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}

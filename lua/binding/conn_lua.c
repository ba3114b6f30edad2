/*
** conn_lua.c -- builders of connectivity for lua/bdl/conn.lua, which checks what it passes.
*/
#include <string.h>

#include "base/context.h"
#include "binding/lbdl.h"
#include "cpu/conn.h"
#include "exec/exec_context.h"

static bdl_pool *pool_of(lua_State *L) {
  bdl_exec_context *x = NULL;
  lbdl_check(L, bdl_exec_get(lbdl_ctx(L), &x));
  lbdl_check(L, bdl_exec_pool(x));
  return x->pool;
}

static bdl_k_stop *stop_of(lua_State *L) { return &lbdl_ctx(L)->interrupted; }

/* A builder that was stopped has not finished. */
static void check_stop(lua_State *L) {
  if (!*stop_of(L)) return;
  lbdl_ctx(L)->interrupted = 0;
  lbdl_error(L, BDL_EINTERRUPT, "interrupted while connections were made");
}

/* A vector that Lua owns; pushed. */
static void *push_vector(lua_State *L, bdl_dtype d, int64_t n) {
  lbdl_tensor *x = lbdl_new_tensor(L);
  bdl_aval a = bdl_aval_make(d, 1, &n);
  lbdl_check(L, bdl_aval_check(lbdl_ctx(L), &a));
  lbdl_check(L, bdl_tensor_new(bdl_device_cpu(lbdl_ctx(L)), &a, &x->t));
  return bdl_tensor_data(&x->t);
}

/* The data of a packed concrete tensor at arg, which is replaced by it; its n elements. */
static const void *packed(lua_State *L, int arg, bdl_dtype d, int64_t *n) {
  lbdl_to_tensor(L, arg);
  lbdl_cast(L, arg, d);
  lbdl_tensor *x = lbdl_test_tensor(L, arg);
  lbdl_need_concrete(L, x, "a connection");
  lbdl_tensor *y = lbdl_new_tensor(L);
  lbdl_check(L, bdl_tensor_pack(&x->t, &y->t));
  lua_replace(L, arg);
  if (n) *n = bdl_aval_numel(&y->t.aval);
  return bdl_tensor_data(&y->t);
}

/* core.conn_sparse(rows, cols, prob, seed, alone, space or nil) -> indices, indptr.
** space: {law = "gaussian" | "exponential" | "disc", scale =, most =, ndim =, pre =, post =, period = or nil} */
static int l_sparse(lua_State *L) {
  lua_settop(L, 6);
  bdl_k_jitc g = {.rows = luaL_checkinteger(L, 1), .cols = luaL_checkinteger(L, 2), .prob = luaL_checknumber(L, 3),
                  .seed = (uint64_t)luaL_checkinteger(L, 4), .law = BDL_JITC_SCALAR};
  bdl_k_space s = {0}, *space = NULL;
  const bool alone = lua_toboolean(L, 5);
  if (lua_istable(L, 6)) {
    static const char *const laws[] = {"gaussian", "exponential", "disc", NULL};
    static const char *const fields[] = {"law", "scale", "most", "ndim", "pre", "post", "period"};
    for (int i = 0; i < BDL_LEN(fields); i++) lua_getfield(L, 6, fields[i]); /* positions 7 .. 13 */
    space = &s;
    s = (bdl_k_space){.law = (bdl_conn_law)luaL_checkoption(L, 7, NULL, laws), .scale = luaL_checknumber(L, 8),
                      .most = luaL_checknumber(L, 9), .ndim = (int)luaL_checkinteger(L, 10), .pre = packed(L, 11, BDL_F64, NULL),
                      .post = packed(L, 12, BDL_F64, NULL)};
    if (!lua_isnil(L, 13)) s.period = packed(L, 13, BDL_F64, NULL);
  }
  int64_t *indptr = push_vector(L, BDL_I64, g.rows + 1);
  bdl_k_conn_sparse(indptr, NULL, &g, space, alone, pool_of(L), stop_of(L));
  check_stop(L);
  int32_t *indices = push_vector(L, BDL_I32, indptr[g.rows]);
  bdl_k_conn_sparse(indptr, indices, &g, space, alone, pool_of(L), stop_of(L));
  check_stop(L);
  lua_insert(L, -2);
  return 2;
}

/* core.conn_fixed(rows, cols, k, seed, distinct, alone) -> indices [rows * k] */
static int l_fixed(lua_State *L) {
  int64_t rows = luaL_checkinteger(L, 1), cols = luaL_checkinteger(L, 2), k = luaL_checkinteger(L, 3);
  const uint64_t seed = (uint64_t)luaL_checkinteger(L, 4);
  const bool distinct = lua_toboolean(L, 5), alone = lua_toboolean(L, 6);
  bdl_pool *pool = pool_of(L);
  uint64_t *seen = NULL;
  if (distinct) {
    const int64_t n = bdl_k_conn_words(cols) * bdl_pool_size(pool);
    seen = push_vector(L, BDL_I64, n);
    memset(seen, 0, (size_t)n * sizeof *seen);
  }
  bdl_k_conn_fixed(push_vector(L, BDL_I32, rows * k), seed, rows, cols, k, alone, seen, pool, stop_of(L));
  check_stop(L);
  return 1;
}

/* core.conn_group(row, rows) -> indptr, order: entries with row[e] in [0, rows) by row */
static int l_group(lua_State *L) {
  int64_t n, rows = luaL_checkinteger(L, 2);
  const int32_t *row = packed(L, 1, BDL_I32, &n);
  if (n > INT32_MAX) return lbdl_error(L, BDL_EVALUE, "a list of more than 2^31 - 1 synapses");
  int64_t *indptr = push_vector(L, BDL_I64, rows + 1);
  bdl_k_conn_group(indptr, push_vector(L, BDL_I32, n), row, n, rows, stop_of(L));
  check_stop(L);
  return 2;
}

/* core.conn_scale_free(n, m, seed) -> pre, post */
static int l_scale_free(lua_State *L) {
  int64_t n = luaL_checkinteger(L, 1), m = luaL_checkinteger(L, 2);
  int32_t *pre = push_vector(L, BDL_I32, 2 * m * (n - m)), *post = push_vector(L, BDL_I32, 2 * m * (n - m));
  bdl_k_conn_scale_free(pre, post, (uint64_t)luaL_checkinteger(L, 3), n, m, stop_of(L));
  check_stop(L);
  return 2;
}

void lbdl_open_conn(lua_State *L) {
  static const luaL_Reg functions[] = {
    {"conn_sparse", l_sparse}, {"conn_fixed", l_fixed}, {"conn_group", l_group}, {"conn_scale_free", l_scale_free}, {NULL, NULL},
  };
  luaL_setfuncs(L, functions, 0);
}

/*
** effects.c -- debug print and host callbacks: functions of Lua called from inside programs.
*/
#include <string.h>

#include "base/context.h"
#include "binding/lbdl.h"

/* A function of Lua behind a bdl_host: held in the registry until the last program that calls it is gone. */
typedef struct lua_host {
  bdl_host h;
  lua_State *L;
  bdl_context *ctx;
  int ref;
} lua_host;

static void host_free(bdl_host *h) {
  lua_host *x = (lua_host *)(void *)h;
  luaL_unref(x->L, LUA_REGISTRYINDEX, x->ref);
  bdl_free(x->ctx, x, sizeof *x);
}

typedef struct host_call {
  lua_host *x;
  const bdl_tensor *in;
  bdl_tensor *out;
  int n_in, n_out;
} host_call;

/* Protected: the tensors of a call are copied, for the program reuses their memory. */
static int call_body(lua_State *L) {
  host_call *k = lua_touserdata(L, 1);
  bdl_device *cpu = bdl_device_cpu(k->x->ctx);
  lua_settop(L, 0);
  luaL_checkstack(L, k->n_in + k->n_out + 8, "operands");
  lua_rawgeti(L, LUA_REGISTRYINDEX, k->x->ref);
  for (int i = 0; i < k->n_in; i++) {
    lbdl_tensor *x = lbdl_new_tensor(L);
    lbdl_check(L, bdl_tensor_new(cpu, &k->in[i].aval, &x->t));
    memcpy(bdl_tensor_data(&x->t), bdl_tensor_data(&k->in[i]), bdl_aval_bytes(&x->t.aval));
  }
  lua_call(L, k->n_in, k->n_out);
  for (int i = 0; i < k->n_out; i++) {
    lbdl_tensor *y = lbdl_to_tensor(L, i + 1);
    if (y->t.aval.dtype != k->out[i].aval.dtype) lbdl_cast(L, i + 1, k->out[i].aval.dtype);
    y = lbdl_test_tensor(L, i + 1);
    char a[BDL_AVAL_TEXT], b[BDL_AVAL_TEXT];
    if (!bdl_aval_eq(&y->t.aval, &k->out[i].aval) || lbdl_traced(y))
      lbdl_error(L, BDL_ESHAPE, "a host callback returned %s where %s was declared", bdl_aval_text(&y->t.aval, true, a),
                 bdl_aval_text(&k->out[i].aval, true, b));
    bdl_tensor packed;
    lbdl_check(L, bdl_tensor_pack(&y->t, &packed));
    memcpy(bdl_tensor_data(&k->out[i]), bdl_tensor_data(&packed), bdl_aval_bytes(&packed.aval));
    bdl_tensor_unref(&packed);
  }
  return 0;
}

/* The error of a callback, as the status of the equation that called. */
static bdl_status to_status(lua_State *L, bdl_context *c) {
  bdl_status s = BDL_EHOST;
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, "kind");
    const char *kind = lua_tostring(L, -1);
    for (int k = 1; kind && k < BDL_STATUS_COUNT; k++)
      if (!strcmp(kind, bdl_status_kind((bdl_status)k))) s = (bdl_status)k;
    lua_getfield(L, -2, "message");
    lua_getfield(L, -3, "file");
    lua_getfield(L, -4, "line");
    bdl_fail(c, s, "%s", lua_isstring(L, -3) ? lua_tostring(L, -3) : "?");
    if (lua_isstring(L, -2)) bdl_where(c, (bdl_src){bdl_intern(c, lua_tostring(L, -2)), (int32_t)lua_tointeger(L, -1)});
    lua_pop(L, 5);
    return s;
  }
  bdl_fail(c, s, "%s", luaL_tolstring(L, -1, NULL));
  lua_pop(L, 2);
  return s;
}

static bdl_status host_run(bdl_host *h, bdl_context *c, const bdl_tensor *in, int n_in, bdl_tensor *out, int n_out) {
  lua_host *x = (lua_host *)(void *)h;
  lua_State *L = x->L;
  host_call k = {x, in, out, n_in, n_out};
  if (!lua_checkstack(L, 4)) return BDL_ENOMEM;
  lua_pushcfunction(L, call_body);
  lua_pushlightuserdata(L, &k);
  return lua_pcall(L, 1, 0, 0) == LUA_OK ? BDL_OK : to_status(L, c);
}

/* A host for the function at arg; owned by an equation once bound, so the caller drops its reference after binding. */
static bdl_host *host_new(lua_State *L, int arg) {
  luaL_checktype(L, arg, LUA_TFUNCTION);
  lua_pushvalue(L, arg);
  int ref = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_host *x = bdl_calloc(lbdl_ctx(L), sizeof *x);
  if (!x) {
    luaL_unref(L, LUA_REGISTRYINDEX, ref);
    lbdl_raise(L);
  }
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  *x = (lua_host){.h = {.refs = 1, .call = host_run, .free = host_free}, .L = lua_tothread(L, -1), .ctx = lbdl_ctx(L), .ref = ref};
  lua_pop(L, 1);
  return &x->h;
}

static void host_unref(bdl_host *h) {
  if (--h->refs == 0) h->free(h);
}

typedef struct effect_call {
  bdl_prim_id prim;
  bdl_param *params;
  int n;
} effect_call;

static int bind_body(lua_State *L) { /* operands..., effect_call */
  effect_call *k = lua_touserdata(L, -1);
  lua_pop(L, 1);
  for (int i = 1; i <= k->n; i++) {
    const lbdl_tensor *x = lbdl_to_tensor(L, i);
    if (!x->unit) continue;
    bdl_hint(lbdl_ctx(L), "divide it by a unit: x / u.mV");
    lbdl_error(L, BDL_EUNIT, "argument %d has the unit %s; the function takes plain numbers", i, bdl_unit_text(x->unit));
  }
  return lbdl_bind_raw(L, k->prim, k->params, k->n);
}

/* Bind an effect over the operands from stack position first on; drops the host in any case. */
static int bind_effect(lua_State *L, bdl_prim_id prim, bdl_param *params, bdl_host *h, int first) {
  int n = lua_gettop(L) - first + 1;
  effect_call k = {prim, params, n};
  lua_pushcfunction(L, bind_body);
  lua_insert(L, first);
  lua_pushlightuserdata(L, &k);
  int status = lua_pcall(L, n + 1, LUA_MULTRET, 0);
  if (h) host_unref(h);
  if (status != LUA_OK) return lua_error(L);
  return lua_gettop(L) - first + 1;
}

/* core.print(format, f, x...): f gets the operands' values whenever the program passes here */
static int l_print(lua_State *L) {
  bdl_host *h = host_new(L, 2);
  bdl_param params[2] = {bdl_pstr(luaL_checkstring(L, 1)), {.kind = BDL_PK_HOST, .host = h}};
  return bind_effect(L, BDL_P_print, params, h, 3);
}

/* core.error_if(message, pred, x...) */
static int l_error_if(lua_State *L) {
  bdl_param params[1] = {bdl_pstr(luaL_checkstring(L, 1))};
  return bind_effect(L, BDL_P_error_if, params, NULL, 2);
}

int lbdl_result_types(lua_State *L, int like) {
  int n = (int)lua_rawlen(L, like), at = 0;
  int64_t *results = lua_newuserdatauv(L, (size_t)(n * (2 + BDL_MAX_NDIM) + 1) * sizeof *results, 0);
  for (int i = 1; i <= n; i++) {
    lua_rawgeti(L, like, i);
    const bdl_aval *a = &lbdl_to_tensor(L, -1)->t.aval;
    results[at++] = a->dtype;
    results[at++] = a->ndim;
    for (int k = 0; k < a->ndim; k++) results[at++] = a->shape[k];
    lua_pop(L, 1);
  }
  lua_replace(L, like);
  return at;
}

int lbdl_host_call(lua_State *L, bdl_host *h, int like, int n_types) {
  bdl_param params[2] = {bdl_pints(lua_touserdata(L, like), n_types), {.kind = BDL_PK_HOST, .host = h}};
  return bind_effect(L, BDL_P_host_call, params, h, like + 1);
}

/* core.host_call(f, {like tensors}, x...) -> results of those types */
static int l_host_call(lua_State *L) {
  const int n = lbdl_result_types(L, 2);
  return lbdl_host_call(L, host_new(L, 1), 2, n);
}

void lbdl_open_host(lua_State *L) {
  static const luaL_Reg functions[] = {{"print", l_print}, {"error_if", l_error_if}, {"host_call", l_host_call}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}

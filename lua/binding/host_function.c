/*
** host_function.c -- bdl.h: functions of models, called over the host's memory.
**
** An argument is a tensor over borrowed memory.  When the call ends, a buffer that somebody refers to still (a State, a view) gets
** memory of its own; a tensor that nobody refers to but as itself is marked as lent, and its use is an error.
*/
#include <string.h>

#include "base/context.h"
#include "binding/host.h"

typedef struct result {
  bdl_tensor t;
  const bdl_unit *unit;
  double factor; /* to the host's unit */
} result;

struct bdl_function {
  lbdl_handle h;
  int ref;        /* of the function, in Lua's registry */
  result *result; /* [n] whose numbers the host may read */
  int n;
};

/* ---- finding ---------------------------------------------------------------------------------------------- */

typedef struct request {
  const char *path;
  int ref;
} request;

static int find_body(lua_State *L) {
  request *r = lua_touserdata(L, 1);
  lbdl_push_field(L, "bdl.host", "find_function");
  lua_pushstring(L, r->path);
  lua_call(L, 1, 1);
  r->ref = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

static bdl_function *find(bdl *b, const char *path) {
  request r = {path, LUA_NOREF};
  bdl_function *f = NULL;
  if (!path) lbdl_refuse(b, BDL_EVALUE, "bdl_function_find: no path was given");
  else if (lbdl_protect(b, find_body, &r)) {
    f = lbdl_handle_new(b, LBDL_FUNCTION, sizeof *f);
    if (f) f->ref = r.ref;
    else luaL_unref(b->L, LUA_REGISTRYINDEX, r.ref);
  }
  return f;
}

bdl_function *bdl_function_find(bdl *b, const char *path) {
  if (!lbdl_enter(b)) return NULL;
  bdl_function *f = find(b, path);
  lbdl_leave(b, true);
  return f;
}

void lbdl_push_function(lua_State *L, const bdl_function *f) { lua_rawgeti(L, LUA_REGISTRYINDEX, f->ref); }

static void drop_results(bdl_function *f) {
  for (int i = 0; i < f->n; i++) bdl_tensor_unref(&f->result[i].t);
  bdl_free(f->h.b->b.ctx, f->result, (size_t)f->n * sizeof *f->result);
  f->result = NULL;
  f->n = 0;
}

void lbdl_function_fini(bdl *b, void *p) {
  bdl_function *f = p;
  drop_results(f);
  luaL_unref(b->L, LUA_REGISTRYINDEX, f->ref);
}

void bdl_function_free(bdl_function *f) {
  if (!lbdl_enter_handle(f, LBDL_FUNCTION)) return;
  bdl *b = f->h.b;
  lbdl_handle_free(&f->h);
  lbdl_leave(b, true);
}

/* ---- arguments ---------------------------------------------------------------------------------------------- */

typedef struct call {
  bdl_function *f;
  const bdl_array *in;
  bdl_array *out;
  int n_in, n_out;
  bdl_buffer **lent; /* [n_in] references to what is lent; NULL: nothing */
} call;

/* Pushes the tensor over a's memory. */
static void push_argument(lua_State *L, const bdl_array *a, int k, bdl_buffer **lent) {
  bdl_aval type;
  bdl_device *cpu = bdl_device_cpu(lbdl_ctx(L));
  lbdl_tensor *x = lbdl_new_tensor(L);
  lbdl_check_array(L, "argument", k + 1, a, true, &type, &x->unit);
  const size_t bytes = bdl_aval_bytes(&type);
  bdl_tensor t;
  if (!lbdl_in_place(a, bytes)) {
    lbdl_check(L, bdl_tensor_new(cpu, &type, &t));
    x->t = t;
    if (bytes > 0) memcpy(bdl_tensor_data(&t), a->data, bytes);
    return;
  }
  t = (bdl_tensor){.aval = type};
  lbdl_check(L, bdl_buffer_borrow(cpu, a->data, bytes, &t.buf));
  for (int64_t axis = type.ndim - 1, stride = 1; axis >= 0; stride *= type.shape[axis--]) t.stride[axis] = stride;
  x->t = bdl_tensor_ref(&t);
  *lent = t.buf;
}

/* What the model keeps of the argument at a stack position is its own from now on. */
static bdl_status end_loan(lua_State *L, int arg, bdl_buffer **lent) {
  if (!*lent) return BDL_OK;
  if ((*lent)->refs > 2) TRY(bdl_buffer_own(*lent)); /* 2: the tensor's, and this one */
  else {
    lbdl_tensor *x = lbdl_test_tensor(L, arg);
    bdl_tensor_unref(&x->t);
    x->trace = LBDL_LENT;
  }
  bdl_buffer_unref(*lent);
  *lent = NULL;
  return BDL_OK;
}

/* Loans that a want of memory left open: their tensors are garbage, or the model's. */
static int recall_body(lua_State *L) {
  call *k = lua_touserdata(L, 1);
  int kept = 0;
  lua_gc(L, LUA_GCCOLLECT, 0);
  for (int i = 0; i < k->n_in; i++) {
    bdl_buffer *b = k->lent[i];
    if (b && b->refs > 1 && bdl_buffer_own(b) != BDL_OK) kept = i + 1;
    else {
      bdl_buffer_unref(b);
      k->lent[i] = NULL;
    }
  }
  if (kept)
    lbdl_error(L, BDL_ENOMEM, "the model keeps argument %d, and there is no memory for a copy: it must stay until the context is closed", kept);
  return 0;
}

/* ---- calls ------------------------------------------------------------------------------------------------- */

/* The leaves of the values at stack positions first .. top, in their place. */
static int flatten_results(lua_State *L, int first) {
  int leaves = 0;
  for (int left = lua_gettop(L) - first + 1; left > 0; left--) {
    luaL_checkstack(L, 16, "results");
    if (!lua_isnil(L, first)) {
      leaves += lbdl_flatten(L, first);
      lua_pop(L, 1); /* the structure */
    }
    lua_remove(L, first);
  }
  return leaves;
}

/* (call, function, arguments...): everything that may fail for the model's sake. */
static int run_body(lua_State *L) {
  const call *k = lua_touserdata(L, 1);
  bdl_function *f = k->f;
  lua_call(L, k->n_in, LUA_MULTRET);
  if (k->n_out == 0) return 0;
  const int n = flatten_results(L, 2);
  if (n != k->n_out) return lbdl_error(L, BDL_EVALUE, "the function returned %d arrays; %d are expected", n, k->n_out);
  f->result = bdl_calloc(lbdl_ctx(L), (size_t)n * sizeof *f->result);
  if (!f->result) return lbdl_raise(L);
  f->n = n;
  for (int i = 0; i < n; i++) {
    const lbdl_tensor *x = lbdl_test_tensor(L, 2 + i);
    const bdl_array *a = &k->out[i];
    bdl_aval wanted;
    const bdl_unit *unit;
    f->result[i].unit = x->unit;
    f->result[i].factor = 1;
    if (lbdl_traced(x)) lbdl_escaped(L, x);
    if (a->data) {
      lbdl_check_array(L, "result", i + 1, a, true, &wanted, &unit);
      f->result[i].factor = lbdl_fit(L, "result", i + 1, &wanted, unit, &x->t.aval, x->unit);
    }
    lbdl_check(L, bdl_tensor_pack(&x->t, &f->result[i].t));
  }
  return 0;
}

static int call_body(lua_State *L) {
  call *k = lua_touserdata(L, 1);
  bdl_function *f = k->f;
  luaL_checkstack(L, 2 * k->n_in + 16, "arguments");
  for (int i = 0; i < k->n_in; i++) { /* all are right before any is lent */
    bdl_aval type;
    const bdl_unit *unit;
    lbdl_check_array(L, "argument", i + 1, &k->in[i], true, &type, &unit);
    lbdl_check(L, lbdl_check_booleans(lbdl_ctx(L), k->in[i].data, &type));
  }
  for (int i = 0; i < k->n_in; i++) push_argument(L, &k->in[i], i, &k->lent[i]); /* from position 2 on */
  lua_pushcfunction(L, lbdl_traceback);
  const int handler = lua_gettop(L);
  lua_pushcfunction(L, run_body);
  lua_pushlightuserdata(L, k);
  lua_rawgeti(L, LUA_REGISTRYINDEX, f->ref);
  for (int i = 0; i < k->n_in; i++) lua_pushvalue(L, 2 + i);
  const int status = lua_pcall(L, k->n_in + 2, 0, handler);
  for (int i = 0; i < k->n_in; i++) lbdl_check(L, end_loan(L, 2 + i, &k->lent[i]));
  if (status != LUA_OK) return lua_error(L);
  for (int i = 0; i < k->n_out; i++) {
    const result *r = &f->result[i];
    bdl_array *a = &k->out[i];
    if (a->data) lbdl_scaled(a->data, bdl_tensor_data(&r->t), &r->t.aval, r->factor);
    else lbdl_describe(a, bdl_tensor_data(&r->t), &r->t.aval, r->unit, BDL_PADDED);
  }
  return 0;
}

static bool call_function(call *k) {
  bdl *b = k->f->h.b;
  const size_t bytes = (size_t)k->n_in * sizeof *k->lent;
  if (k->n_in > 0 && !(k->lent = bdl_calloc(b->b.ctx, bytes))) return lbdl_keep_status(b);
  bool done = lbdl_protect(b, call_body, k), open = false;
  for (int i = 0; i < k->n_in; i++) open |= k->lent[i] != NULL;
  if (open) done = lbdl_protect(b, recall_body, k) && done;
  for (int i = 0; i < k->n_in; i++)
    if (k->lent[i]) k->lent[i]->next = b->lent, b->lent = k->lent[i];
  bdl_free(b->b.ctx, k->lent, bytes);
  return done;
}

int bdl_function_call(bdl_function *f, const bdl_array *in, int n_in, bdl_array *out, int n_out) {
  if (!lbdl_enter_handle(f, LBDL_FUNCTION)) return 1;
  bdl *b = f->h.b;
  if (n_in < 0 || n_out < 0 || (n_in > 0 && !in) || (n_out > 0 && !out))
    return lbdl_leave(b, lbdl_refuse(b, BDL_EVALUE, "bdl_function_call: arrays are missing (%d arguments, %d results)", n_in, n_out));
  drop_results(f);
  return lbdl_leave(b, call_function(&(call){.f = f, .in = in, .out = out, .n_in = n_in, .n_out = n_out}));
}

/*
** host_callback.c -- bdl.h: functions of the host that models call.
*/
#include <string.h>

#include "base/context.h"
#include "binding/host.h"

/* What was registered: a userdata that the function of Lua holds. */
typedef struct registered {
  bdl_callback fn;
  void *ud;
  const char *name; /* interned */
  int n_results;    /* numbers in `results`, see lbdl_host_call */
  int64_t results[];
} registered;

/* One call of it in a program. */
typedef struct site {
  bdl_host h;
  bdl_context *ctx;
  bdl_callback fn;
  void *ud;
  const char *name;
} site;

static void site_free(bdl_host *h) {
  site *s = (site *)(void *)h;
  bdl_free(s->ctx, s, sizeof *s);
}

enum { FEW = 16 };

static bdl_status site_call(bdl_host *h, bdl_context *c, const bdl_tensor *in, int n_in, bdl_tensor *out, int n_out) {
  const site *s = (site *)(void *)h;
  bdl_array few[FEW] = {{0}}, *a = few;
  const int n = n_in + n_out;
  const size_t bytes = (size_t)n * sizeof *a;
  if (n > FEW && !(a = bdl_alloc(c, bytes))) return BDL_ENOMEM;
  for (int i = 0; i < n; i++) {
    const bdl_tensor *t = i < n_in ? &in[i] : &out[i - n_in];
    lbdl_describe(&a[i], bdl_tensor_data(t), &t->aval, NULL, 0);
  }
  const char *wrong = s->fn(s->ud, a, n_in, a + n_in, n_out);
  if (n > FEW) bdl_free(c, a, bytes);
  if (wrong) return bdl_fail(c, BDL_EHOST, "%s: %s", s->name, wrong);
  for (int i = 0; i < n_out; i++)
    if (lbdl_check_booleans(c, bdl_tensor_data(&out[i]), &out[i].aval) != BDL_OK)
      return bdl_fail(c, BDL_EHOST, "%s: %s", s->name, bdl_last_error(c)->message);
  return BDL_OK;
}

/* The function of Lua; upvalue: registered */
static int call_registered(lua_State *L) {
  registered *r = lua_touserdata(L, lua_upvalueindex(1));
  lua_pushlightuserdata(L, r->results);
  lua_insert(L, 1);
  site *s = bdl_calloc(lbdl_ctx(L), sizeof *s);
  if (!s) return lbdl_raise(L);
  *s = (site){{.refs = 1, .call = site_call, .free = site_free}, lbdl_ctx(L), r->fn, r->ud, r->name};
  return lbdl_host_call(L, &s->h, 1, r->n_results);
}

typedef struct request {
  const char *name;
  bdl_callback fn;
  void *ud;
  const bdl_array *results;
  int n;
} request;

static int register_body(lua_State *L) {
  const request *q = lua_touserdata(L, 1);
  registered *r = lua_newuserdatauv(L, sizeof *r + (size_t)(q->n * (2 + BDL_MAX_NDIM)) * sizeof *r->results, 0);
  *r = (registered){.fn = q->fn, .ud = q->ud, .name = bdl_intern(lbdl_ctx(L), q->name)};
  if (!r->name) return lbdl_raise(L);
  for (int i = 0; i < q->n; i++) {
    bdl_aval type;
    const bdl_unit *unit;
    lbdl_check_array(L, "result", i + 1, &q->results[i], false, &type, &unit);
    if (unit) return lbdl_error(L, BDL_EUNIT, "result %d: functions of the host give plain numbers", i + 1);
    r->results[r->n_results++] = type.dtype;
    r->results[r->n_results++] = type.ndim;
    for (int k = 0; k < type.ndim; k++) r->results[r->n_results++] = type.shape[k];
  }
  lbdl_push_field(L, "bdl.host", "register");
  lua_pushstring(L, q->name);
  lua_pushvalue(L, 2);
  lua_pushcclosure(L, call_registered, 1);
  lua_call(L, 2, 0);
  return 0;
}

int bdl_register(bdl *b, const char *name, bdl_callback fn, void *ud, const bdl_array *results, int n_results) {
  request q = {name, fn, ud, results, n_results};
  if (!lbdl_enter(b)) return 1;
  if (!name || !*name || !fn || n_results < 0 || n_results > 64 || (n_results > 0 && !results))
    return lbdl_leave(b, lbdl_refuse(b, BDL_EVALUE, "bdl_register: a name, a function and 0 to 64 results are needed"));
  return lbdl_leave(b, lbdl_protect(b, register_body, &q));
}

/*
** host_program.c -- bdl.h: programs bound to memory of the host, run without Lua.
**
** A pointer each for the operands and results of the plan.  Those of arguments and results stay; those of States are looked at
** again where somebody gave the State other memory.  A result that cannot be written over its State goes to a spare buffer, and the
** two change places after the run.
*/
#include <string.h>

#include "base/context.h"
#include "binding/host.h"
#include "binding/jit.h"
#include "exec/exec_context.h"

/* An argument or result. */
typedef struct bound {
  bdl_array a;     /* as the host sees it */
  bdl_aval type;
  void *host;      /* set: `own` is copied from there, or to there, at each run */
  bdl_tensor own;
} bound;

typedef struct leaf {
  bdl_state *state;
  int32_t k;        /* leaf of it */
  int32_t in, out;  /* among the pointers; -1: it is not read, not written */
  bool inplace;     /* the result may be written over the value */
  bdl_tensor seen;  /* the value as it was when it was looked at */
  bdl_buffer *held; /* its memory, during a run: a callback may give the State another value */
  bdl_tensor spare; /* for the result */
} leaf;

struct bdl_program {
  lbdl_handle h;
  int ref;        /* of the compiled function, in Lua's registry */
  lbdl_entry *e;
  bound *arg, *result;
  int n_arg, n_result;
  leaf *leaf;
  int n_leaves;
  void **ptr;     /* [n_ptr] operands of the plan, then results */
  int n_ptr;
};

/* ---- making ---------------------------------------------------------------------------------------------- */

typedef struct request {
  bdl_function *f;
  const bdl_array *in, *out;
  int n_in, n_out;
  bdl_program *p;
} request;

static void *take(lua_State *L, int n, size_t size) {
  void *p = bdl_calloc(lbdl_ctx(L), (size_t)(n + 1) * size);
  if (!p) lbdl_raise(L);
  return p;
}

/* Memory for x: the host's where it can be used as it is. */
static void *bind(lua_State *L, bound *x, const bdl_array *a, const bdl_unit *unit) {
  lbdl_describe(&x->a, a->data, &x->type, unit, a->flags);
  if (a->data && lbdl_in_place(a, bdl_aval_bytes(&x->type))) return a->data;
  lbdl_check(L, bdl_tensor_new(bdl_device_cpu(lbdl_ctx(L)), &x->type, &x->own));
  memset(bdl_tensor_data(&x->own), 0, bdl_aval_bytes(&x->type));
  if (a->data) x->host = a->data;
  else x->a.data = bdl_tensor_data(&x->own), x->a.flags = BDL_PADDED;
  return bdl_tensor_data(&x->own);
}

static bool overlap(const bound *x, const bound *y) {
  const char *p = x->a.data, *q = y->a.data;
  return p < q + bdl_aval_bytes(&y->type) && q < p + bdl_aval_bytes(&x->type);
}

static void check_overlaps(lua_State *L, const bdl_program *p) {
  for (int i = 0; i < p->n_result; i++) {
    for (int k = 0; k < p->n_arg; k++)
      if (overlap(&p->result[i], &p->arg[k])) lbdl_error(L, BDL_EVALUE, "the memory of result %d overlaps that of argument %d", i + 1, k + 1);
    for (int k = 0; k < i; k++)
      if (overlap(&p->result[i], &p->result[k])) lbdl_error(L, BDL_EVALUE, "the memory of result %d overlaps that of result %d", i + 1, k + 1);
  }
}

/* The operands of the plan in order: used arguments, States read; results: those of f, States written. */
static void bind_all(lua_State *L, bdl_program *p, const request *r) {
  const lbdl_entry *e = p->e;
  const bdl_plan *plan = e->plan;
  int at = 0, out = plan->n_in + e->n_out;
  p->ptr = take(L, p->n_ptr = plan->n_in + plan->n_out, sizeof *p->ptr);
  p->leaf = take(L, p->n_leaves = e->n_leaves, sizeof *p->leaf);
  p->result = take(L, p->n_result = e->n_out, sizeof *p->result);
  for (int i = 0; i < p->n_arg; i++) {
    const bdl_unit *unit = e->ex[i].unit;
    void *data = bind(L, &p->arg[i], &r->in[i], unit);
    for (int k = 0; k < e->n_used; k++)
      if (e->used[k] == i) p->ptr[k] = data;
  }
  at = e->n_used;
  if (r->n_out != e->n_out)
    lbdl_error(L, BDL_EVALUE, "the function returns %d arrays; %d are expected", (int)e->n_out, r->n_out);
  for (int i = 0; i < e->n_out; i++) {
    const bdl_array *a = &r->out[i];
    p->result[i].type = *bdl_aval_of(plan->prog, plan->prog->outputs[i]);
    if (a->data) {
      bdl_aval wanted;
      const bdl_unit *unit;
      lbdl_check_array(L, "result", i + 1, a, true, &wanted, &unit);
      if (lbdl_fit(L, "result", i + 1, &wanted, unit, &p->result[i].type, e->out[i].unit) != 1) {
        bdl_hint(lbdl_ctx(L), "results of programs are not scaled");
        lbdl_error(L, BDL_EUNIT, "result %d is in %s; the host's array is in %s", i + 1, bdl_unit_text(e->out[i].unit), a->unit);
      }
    }
    p->ptr[plan->n_in + i] = bind(L, &p->result[i], a, e->out[i].unit);
  }
  check_overlaps(L, p);
  leaf *l = p->leaf;
  for (int32_t i = 0; i < e->n_states; i++)
    for (int32_t k = 0; k < e->states[i].state->n; k++, l++) {
      *l = (leaf){.state = e->states[i].state, .k = k, .in = -1, .out = -1};
      if (e->states[i].in) l->in = at++;
      if (e->states[i].out) {
        l->inplace = plan->inplace[out - plan->n_in];
        l->out = out++;
        if (!bdl_aval_eq(&e->state_aval[l - p->leaf], bdl_aval_of(plan->prog, plan->prog->outputs[l->out - plan->n_in])))
          lbdl_error(L, BDL_ESHAPE, "the function changes the type of a State; call it once before");
      }
    }
}

static int make_body(lua_State *L) {
  request *r = lua_touserdata(L, 1);
  bdl_program *p = r->p;
  luaL_checkstack(L, r->n_in + 16, "arguments");
  p->arg = take(L, r->n_in, sizeof *p->arg);
  p->n_arg = r->n_in;
  lbdl_push_field(L, "bdl.host", "compile");
  lbdl_push_function(L, r->f);
  for (int i = 0; i < r->n_in; i++) {
    const bdl_unit *unit;
    lbdl_check_array(L, "argument", i + 1, &r->in[i], false, &p->arg[i].type, &unit);
    bdl_tensor like;
    lbdl_check(L, bdl_tensor_new(bdl_device_cpu(lbdl_ctx(L)), &p->arg[i].type, &like));
    memset(bdl_tensor_data(&like), 0, bdl_aval_bytes(&p->arg[i].type));
    lbdl_push_concrete(L, like, unit);
  }
  lua_call(L, r->n_in + 1, 1);
  p->e = lbdl_jit_entry(L, -1);
  p->ref = luaL_ref(L, LUA_REGISTRYINDEX);
  bind_all(L, p, r);
  bdl_exec_context *x;
  lbdl_check(L, bdl_exec_get(lbdl_ctx(L), &x));
  if (x->native.tier == BDL_TIER_NATIVE) bdl_native_poll(x, p->e->plan, 0);
  return 0;
}

static bdl_program *make(bdl *b, request *r) {
  if (r->n_in < 0 || r->n_out < 0 || (r->n_in > 0 && !r->in) || (r->n_out > 0 && !r->out)) {
    lbdl_refuse(b, BDL_EVALUE, "bdl_program_new: arrays are missing (%d arguments, %d results)", r->n_in, r->n_out);
    return NULL;
  }
  r->p = lbdl_handle_new(b, LBDL_PROGRAM, sizeof *r->p);
  if (!r->p) return NULL;
  r->p->ref = LUA_NOREF;
  if (lbdl_protect(b, make_body, r)) return r->p;
  lbdl_handle_free(&r->p->h);
  return NULL;
}

bdl_program *bdl_program_new(bdl_function *f, const bdl_array *in, int n_in, const bdl_array *out, int n_out) {
  if (!lbdl_enter_handle(f, LBDL_FUNCTION)) return NULL;
  bdl *b = ((lbdl_handle *)(void *)f)->b;
  bdl_program *p = make(b, &(request){f, in, out, n_in, n_out, NULL});
  lbdl_leave(b, true);
  return p;
}

void lbdl_program_fini(bdl *b, void *handle) {
  bdl_program *p = handle;
  bdl_context *c = b->b.ctx;
  for (int i = 0; p->arg && i < p->n_arg; i++) bdl_tensor_unref(&p->arg[i].own);
  for (int i = 0; p->result && i < p->n_result; i++) bdl_tensor_unref(&p->result[i].own);
  for (int i = 0; p->leaf && i < p->n_leaves; i++) bdl_tensor_unref(&p->leaf[i].spare);
  bdl_free(c, p->arg, (size_t)(p->n_arg + 1) * sizeof *p->arg);
  bdl_free(c, p->result, (size_t)(p->n_result + 1) * sizeof *p->result);
  bdl_free(c, p->leaf, (size_t)(p->n_leaves + 1) * sizeof *p->leaf);
  bdl_free(c, p->ptr, (size_t)(p->n_ptr + 1) * sizeof *p->ptr);
  luaL_unref(b->L, LUA_REGISTRYINDEX, p->ref);
}

void bdl_program_free(bdl_program *p) {
  if (!lbdl_enter_handle(p, LBDL_PROGRAM)) return;
  bdl *b = p->h.b;
  lbdl_handle_free(&p->h);
  lbdl_leave(b, true);
}

/* ---- running --------------------------------------------------------------------------------------------- */

static int holds_body(lua_State *L) {
  const bdl_program *p = lua_touserdata(L, 1);
  lua_rawgeti(L, LUA_REGISTRYINDEX, p->ref);
  if (!lbdl_jit_holds(L, -1))
    lbdl_error(L, BDL_EVALUE, "settings or States that the program stands on have changed; make it again");
  return 0;
}

static bool holds(bdl_program *p) {
  const lbdl *b = &p->h.b->b;
  const lbdl_entry *e = p->e;
  if (!e->guard || (e->environ_version == b->environ_version && e->states_made == b->states_made)) return true;
  return lbdl_protect(p->h.b, holds_body, p);
}

static bdl_tensor *value_of(const leaf *l) { return &l->state->leaf[l->k].value; }

/* Is the State still what the program was made for? */
static bdl_status check_leaf(const bdl_program *p, const leaf *l) {
  char text[BDL_STATE_TEXT];
  TRY(bdl_state_check_alive(l->state));
  if (bdl_aval_eq(&value_of(l)->aval, &p->e->state_aval[l - p->leaf])) return BDL_OK;
  return bdl_fail(l->state->ctx, BDL_EVALUE, "%s has another type than when the program was made; make it again", bdl_state_text(l->state, text));
}

/* Where the State is now, and where its result goes. */
static bdl_status look(const bdl_program *p, leaf *l) {
  bdl_tensor *v = value_of(l);
  if (memcmp(v, &l->seen, sizeof *v) != 0) {
    bdl_tensor packed;
    TRY(check_leaf(p, l));
    TRY(bdl_tensor_pack(v, &packed));
    bdl_tensor_unref(v);
    *v = l->seen = packed;
  }
  TRY(bdl_tensor_fetch(v));
  bdl_buffer_changed(v->buf); /* it will be */
  if (l->in >= 0) p->ptr[l->in] = bdl_tensor_data(v);
  if (l->out < 0) return BDL_OK;
  if (l->inplace && v->buf->refs == 1) {
    p->ptr[l->out] = bdl_tensor_data(v);
    return BDL_OK;
  }
  if (!l->spare.buf) TRY(bdl_tensor_new(v->buf->device, &v->aval, &l->spare));
  p->ptr[l->out] = bdl_tensor_data(&l->spare);
  return BDL_OK;
}

/* The result becomes the value; what was the value, the spare memory. */
static void settle(const bdl_program *p, leaf *l) {
  bdl_tensor *v = value_of(l), old = l->seen;
  const bool inplace = p->ptr[l->out] == bdl_tensor_data(&old);
  if (inplace && v->buf == old.buf) return;
  if (v->buf) bdl_tensor_unref(v);
  if (inplace) *v = bdl_tensor_ref(&old);
  else {
    *v = l->spare;
    l->spare.buf = NULL;
    if (old.buf->refs == 1) l->spare = bdl_tensor_ref(&old);
  }
  l->seen = *v;
}

/* Contiguous memory of type a as a tensor. */
static bdl_status over(bdl_context *c, void *data, const bdl_aval *a, bdl_tensor *t) {
  bdl_buffer *b;
  TRY(bdl_buffer_borrow(bdl_device_cpu(c), data, bdl_aval_bytes(a), &b));
  *t = (bdl_tensor){.aval = *a, .buf = b};
  for (int64_t k = a->ndim - 1, size = 1; k >= 0; size *= a->shape[k--]) t->stride[k] = size;
  return BDL_OK;
}

/* On another device: States stay there, arguments go to it, results come back. */
static bdl_status run_tensors(const bdl_program *p, bdl_tensor *in, bdl_tensor *out) {
  bdl_plan *plan = p->e->plan;
  for (int k = 0; k < p->e->n_used; k++) TRY(over(plan->ctx, p->ptr[k], bdl_aval_of(plan->prog, plan->prog->inputs.v[k]), &in[k]));
  for (int i = 0; i < p->n_leaves; i++) {
    const leaf *l = &p->leaf[i];
    const bool mine = l->inplace && value_of(l)->buf->refs == 1 && bdl_tensor_contiguous(value_of(l));
    TRY(check_leaf(p, l));
    if (l->in >= 0) in[l->in] = bdl_tensor_ref(value_of(l));
    if (l->out >= 0 && mine) out[l->out - plan->n_in] = bdl_tensor_ref(value_of(l));
  }
  TRY(bdl_exec_run(plan, in, out));
  for (int i = 0; i < p->n_leaves; i++) {
    const leaf *l = &p->leaf[i];
    if (l->out < 0) continue;
    bdl_tensor_unref(value_of(l));
    *value_of(l) = bdl_tensor_ref(&out[l->out - plan->n_in]);
  }
  for (int i = 0; i < p->n_result; i++) {
    TRY(bdl_tensor_fetch(&out[i]));
    memcpy(p->ptr[plan->n_in + i], bdl_tensor_data(&out[i]), bdl_aval_bytes(&out[i].aval));
  }
  return BDL_OK;
}

static bdl_status run_elsewhere(const bdl_program *p) {
  bdl_context *c = p->e->plan->ctx;
  const size_t bytes = (size_t)(p->n_ptr + 1) * sizeof(bdl_tensor);
  bdl_tensor *t = bdl_calloc(c, bytes);
  if (!t) return BDL_ENOMEM;
  const bdl_status s = run_tensors(p, t, t + p->e->plan->n_in);
  for (int k = 0; k < p->n_ptr; k++)
    if (t[k].buf) bdl_tensor_unref(&t[k]);
  bdl_free(c, t, bytes);
  return s;
}

static bdl_status run(bdl_program *p) {
  bdl_plan *plan = p->e->plan;
  bdl_context *c = plan->ctx;
  bdl_exec_context *x;
  bdl_status s = BDL_OK;
  TRY(bdl_exec_get(c, &x));
  if (bdl_stop_asked(c)) {
    bdl_ask_stop(c, false);
    return bdl_fail(c, BDL_EINTERRUPT, "interrupted before the first step");
  }
  for (int i = 0; i < p->n_arg; i++) {
    bound *x = &p->arg[i];
    TRY(lbdl_check_booleans(c, x->a.data, &x->type));
    if (x->host) memcpy(bdl_tensor_data(&x->own), x->host, bdl_aval_bytes(&x->type));
  }
  if (x->elsewhere) {
    TRY(run_elsewhere(p));
    for (int i = 0; i < p->n_result; i++)
      if (p->result[i].host) memcpy(p->result[i].host, bdl_tensor_data(&p->result[i].own), bdl_aval_bytes(&p->result[i].type));
    return BDL_OK;
  }
  for (int i = 0; i < p->n_leaves; i++) TRY(look(p, &p->leaf[i]));
  for (int i = 0; i < p->n_leaves; i++) bdl_buffer_ref(p->leaf[i].held = p->leaf[i].seen.buf);
  s = bdl_plan_run(plan, p->ptr, p->ptr + plan->n_in);
  const bool settles = s == BDL_OK || (s == BDL_EINTERRUPT && plan->loop_only);
  for (int i = 0; i < p->n_leaves; i++)
    if (settles && p->leaf[i].out >= 0) settle(p, &p->leaf[i]);
  for (int i = 0; i < p->n_leaves; i++) bdl_buffer_unref(p->leaf[i].held);
  for (int i = 0; settles && i < p->n_result; i++) {
    const bound *y = &p->result[i];
    if (y->host) memcpy(y->host, bdl_tensor_data(&y->own), bdl_aval_bytes(&y->type));
  }
  return s;
}

int bdl_program_run(bdl_program *p) {
  if (!lbdl_enter_handle(p, LBDL_PROGRAM)) return 1;
  bdl *b = p->h.b;
  if (!holds(p)) return lbdl_leave(b, false);
  return lbdl_leave(b, run(p) == BDL_OK || lbdl_keep_status(b));
}

static int describe(bdl_program *p, bool argument, int k, bdl_array *a) {
  if (!lbdl_enter_handle(p, LBDL_PROGRAM)) return 1;
  bdl *b = p->h.b;
  const int n = argument ? p->n_arg : p->n_result;
  if (k < 0 || k >= n || !a)
    return lbdl_leave(b, lbdl_refuse(b, BDL_EINDEX, "the program has the %s 0 to %d, not %d", argument ? "arguments" : "results", n - 1, k));
  *a = argument ? p->arg[k].a : p->result[k].a;
  return lbdl_leave(b, true);
}

int bdl_program_argument(bdl_program *p, int k, bdl_array *a) { return describe(p, true, k, a); }
int bdl_program_result(bdl_program *p, int k, bdl_array *a) { return describe(p, false, k, a); }

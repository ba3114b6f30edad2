/*
** exec.c -- plans over tensors; equations run at once; progress and profile.
*/
#include <string.h>

#include "base/context.h"
#include "exec/exec_context.h"
#include "exec/replay.h"
#include "prim/prim.h"

/* ---- what execution keeps ----------------------------------------------------------------------- */

typedef struct eager_entry {
  struct eager_entry *next; /* same hash */
  bdl_plan *plan;
} eager_entry;

static void fini(bdl_context *c, void *p) {
  bdl_exec_context *x = p;
  uint64_t key, value;
  for (int64_t i = 0; bdl_map_next(&x->eager, &i, &key, &value);)
    for (eager_entry *e = (eager_entry *)(uintptr_t)value, *next; e; e = next) {
      next = e->next;
      bdl_plan_free(e->plan);
      bdl_free(c, e, sizeof *e);
    }
  bdl_map_fini(&x->eager);
  bdl_exec_profile_stop(x);
  bdl_replay_stop(x);
  bdl_native_fini(x);
  bdl_blas_close(&x->blas);
  bdl_pool_free(x->pool);
  bdl_free(c, x, sizeof *x);
}

bdl_status bdl_exec_get(bdl_context *c, bdl_exec_context **out) {
  bdl_exec_context *x = c->slot[BDL_SLOT_EXEC].p;
  if (!x) {
    x = bdl_calloc(c, sizeof *x);
    if (!x) return BDL_ENOMEM;
    x->ctx = c;
    x->k = bdl_k_select(c->isa);
    x->threads = c->threads > 0 ? c->threads : bdl_pool_default();
    bdl_map_init(&x->eager, c);
    c->slot[BDL_SLOT_EXEC].p = x;
    c->slot[BDL_SLOT_EXEC].fini = fini;
    bdl_native_init(x);
  }
  *out = x;
  return BDL_OK;
}

bdl_status bdl_exec_pool(bdl_exec_context *x) {
  if (x->running || bdl_pool_size(x->pool) == x->threads) return BDL_OK;
  bdl_pool_free(x->pool);
  x->pool = x->threads > 1 ? bdl_pool_new(x->ctx, x->threads) : NULL;
  return x->threads > 1 && !x->pool ? BDL_ENOMEM : BDL_OK;
}

/* ---- tensors --------------------------------------------------------------------------------------- */

enum { FEW = 16 }; /* operands and results held on the stack */

/* Where operand t stands in one run of memory: its own, or a copy.  `held` is a reference: what runs may give a State a new
** value. */
static bdl_status hold(const bdl_tensor *t, bdl_buffer **held, void **data) {
  bdl_tensor packed;
  TRY(bdl_tensor_fetch(t));
  if (bdl_tensor_contiguous(t)) {
    bdl_buffer_ref(t->buf);
    *held = t->buf;
    *data = bdl_tensor_data(t);
    return BDL_OK;
  }
  TRY(bdl_tensor_pack(t, &packed));
  *held = packed.buf;
  *data = packed.buf->data;
  return BDL_OK;
}

static bdl_status run_tensors(bdl_plan *plan, const bdl_tensor *in, bdl_tensor *out) {
  bdl_context *c = plan->ctx;
  bdl_device *cpu = bdl_device_cpu(c);
  if (!cpu) return BDL_ENOMEM;
  bdl_buffer *few[FEW], **held = few;
  void *few_ptr[FEW], **ptr = few_ptr;
  const int n = plan->n_in + plan->n_out;
  const size_t bytes = (size_t)n * (sizeof *held + sizeof *ptr);
  if (n > FEW) {
    ptr = bdl_alloc(c, bytes);
    if (!ptr) return BDL_ENOMEM;
    held = (bdl_buffer **)(void *)(ptr + n);
  }
  int n_held = 0;
  bdl_status s = BDL_OK;
  for (; n_held < plan->n_in; n_held++) {
    s = hold(&in[n_held], &held[n_held], &ptr[n_held]);
    if (s != BDL_OK) break;
  }
  for (int i = 0; i < plan->n_out && s == BDL_OK; i++) {
    if (!out[i].buf) s = bdl_tensor_new(cpu, bdl_aval_of(plan->prog, plan->prog->outputs[i]), &out[i]);
    if (s == BDL_OK) s = bdl_tensor_fetch(&out[i]);
    if (s == BDL_OK) ptr[plan->n_in + i] = bdl_tensor_data(&out[i]);
  }
  if (s == BDL_OK) s = bdl_plan_run(plan, ptr, ptr + plan->n_in);
  for (int i = 0; i < plan->n_out; i++)
    if (out[i].buf) bdl_buffer_changed(out[i].buf);
  for (int i = 0; i < n_held; i++) bdl_buffer_unref(held[i]);
  if (n > FEW) bdl_free(c, ptr, bytes);
  return s;
}

static bdl_status without_results(const bdl_plan *plan, bdl_tensor *out, bdl_status s) {
  if (s != BDL_OK && !(s == BDL_EINTERRUPT && plan->loop_only))
    for (int i = 0; i < plan->n_out; i++) bdl_tensor_unref(&out[i]);
  return s;
}

static bdl_status run_here(bdl_plan *plan, const bdl_tensor *in, bdl_tensor *out) {
  return without_results(plan, out, run_tensors(plan, in, out));
}

bdl_status bdl_exec_run(bdl_plan *plan, const bdl_tensor *in, bdl_tensor *out) {
  bdl_exec_context *x;
  TRY(bdl_exec_get(plan->ctx, &x));
  if (!x->elsewhere || !plan->compilable) return run_here(plan, in, out);
  return without_results(plan, out, x->elsewhere(plan, in, out));
}

/* ---- one primitive ------------------------------------------------------------------------------------ */

static uint64_t hash_call(bdl_prim_id prim, const bdl_param *params, int n_params, const bdl_tensor *in, int n_in) {
  uint64_t h = bdl_hash(&prim, sizeof prim, (uint64_t)n_in);
  for (int i = 0; i < n_params; i++) {
    const bdl_param *p = &params[i];
    if (p->kind == BDL_PK_INTS) h = bdl_hash(p->ints, (size_t)p->n * sizeof *p->ints, h + (uint64_t)p->n);
    else if (p->kind == BDL_PK_STR) h = bdl_hash(p->s, strlen(p->s), h);
    else if (p->kind == BDL_PK_PROGS) h = bdl_hash(p->progs, (size_t)p->n * sizeof *p->progs, h);
    else h = bdl_hash(&p->i, sizeof p->i, h);
  }
  for (int i = 0; i < n_in; i++) {
    h = bdl_hash(&in[i].aval.dtype, sizeof in[i].aval.dtype, h);
    h = bdl_hash(in[i].aval.shape, (size_t)in[i].aval.ndim * sizeof *in[i].aval.shape, h + (uint64_t)in[i].aval.ndim);
  }
  return h;
}

/* A program without equations is a call that is its operand: its params say no more than the types (and the hash). */
static bool same_call(const bdl_prog *p, bdl_prim_id prim, const bdl_param *params, int n_params, const bdl_tensor *in, int n_in) {
  const bdl_eqn *e = p->eqns.n ? &p->eqns.v[0] : NULL;
  if (p->inputs.n != n_in || (e ? e->prim != prim : strcmp(p->name, bdl_prims[prim].name) != 0)) return false;
  for (int i = 0; i < n_params; i++)
    if (e && !bdl_param_eq(&e->params[i], &params[i])) return false;
  for (int i = 0; i < n_in; i++)
    if (!bdl_aval_eq(bdl_aval_of(p, p->inputs.v[i]), &in[i].aval)) return false;
  return true;
}

static bdl_status one_equation(bdl_context *c, bdl_prim_id prim, const bdl_param *params, const bdl_tensor *in, int n_in, bdl_prog **out) {
  bdl_prog *p;
  int n_out = bdl_ir_n_out(prim, params, n_in);
  TRY(bdl_prog_new(c, bdl_prims[prim].name, &p));
  bdl_atom *x = bdl_arena_alloc(&p->arena, (size_t)(n_in + n_out + 1) * sizeof *x);
  bdl_status s = x ? BDL_OK : BDL_ENOMEM;
  for (int i = 0; i < n_in && s == BDL_OK; i++) s = bdl_ir_input(p, &in[i].aval, &x[i]);
  if (s == BDL_OK) s = bdl_bind(p, prim, params, x, n_in, x + n_in);
  if (s == BDL_OK) s = bdl_prog_set_outputs(p, x + n_in, n_out);
  if (s != BDL_OK) bdl_prog_unref(p);
  else *out = p;
  return s;
}

/* A host may be gone before the context is, and there is a new one at each call: nothing of it is kept. */
static bool calls_host(const bdl_param *params, int n) {
  bool any = false;
  for (int i = 0; i < n; i++) any |= params[i].kind == BDL_PK_HOST;
  return any;
}

bdl_status bdl_exec_prim(bdl_context *c, bdl_prim_id prim, const bdl_param *params, const bdl_tensor *in, int n_in, bdl_tensor *out) {
  bdl_exec_context *x;
  TRY(bdl_exec_get(c, &x));
  int n_params = bdl_prim_n_params(prim);
  if (calls_host(params, n_params)) {
    bdl_prog *p;
    TRY(one_equation(c, prim, params, in, n_in, &p));
    const bdl_status s = bdl_exec_prog(c, p, in, out);
    bdl_prog_unref(p);
    return s;
  }
  uint64_t key = hash_call(prim, params, n_params, in, n_in), value = 0;
  eager_entry *first = bdl_map_get(&x->eager, key, &value) ? (eager_entry *)(uintptr_t)value : NULL, *e = first;
  while (e && !same_call(e->plan->legal_from, prim, params, n_params, in, n_in)) e = e->next;
  if (!e) {
    bdl_prog *p;
    TRY(one_equation(c, prim, params, in, n_in, &p));
    e = bdl_alloc(c, sizeof *e);
    bdl_plan *plan = NULL;
    bdl_status s = e ? bdl_plan_new(c, p, NULL, &plan) : BDL_ENOMEM;
    bdl_prog_unref(p);
    if (s == BDL_OK) {
      plan->compilable = false;
      *e = (eager_entry){.next = first, .plan = plan};
      s = bdl_map_put(&x->eager, key, (uint64_t)(uintptr_t)e);
    }
    if (s != BDL_OK) {
      if (plan) bdl_plan_free(plan);
      if (e) bdl_free(c, e, sizeof *e);
      return s;
    }
  }
  for (int i = 0; i < e->plan->n_out; i++) out[i].buf = NULL;
  return bdl_exec_run(e->plan, in, out);
}

bdl_status bdl_exec_eval_eqn(bdl_context *c, const bdl_prog *p, const bdl_eqn *e, const bdl_tensor *in, bdl_tensor *out) {
  (void)p;
  return bdl_exec_prim(c, e->prim, e->params, in, e->n_in, out);
}

bdl_status bdl_exec_prog(bdl_context *c, const bdl_prog *p, const bdl_tensor *in, bdl_tensor *out) {
  bdl_prog *q;
  bdl_plan *plan;
  TRY(bdl_optimise(p, bdl_exec_eval_eqn, NULL, NULL, &q));
  bdl_status s = bdl_plan_new(c, q, NULL, &plan);
  bdl_prog_unref(q);
  TRY(s);
  for (int i = 0; i < plan->n_out; i++) out[i].buf = NULL;
  s = run_here(plan, in, out); /* once: not worth a program for another device */
  bdl_plan_free(plan);
  return s;
}

/* ---- progress ---------------------------------------------------------------------------------------------- */

void bdl_exec_report(bdl_exec_context *x, int64_t done, int64_t total) {
  if (done > 1024 && (done & 15) && done != total) return; /* the clock, too, costs */
  const double t = 1e-9 * (double)bdl_now_ns();
  if (t < x->progress_next && done != total) return;
  x->progress_next = t + 0.1;
  x->progress(x->progress_ud, done, total);
}

void bdl_exec_set_progress(bdl_context *c, bdl_progress fn, void *ud) {
  bdl_exec_context *x;
  if (bdl_exec_get(c, &x) != BDL_OK) return;
  x->progress = fn;
  x->progress_ud = ud;
}

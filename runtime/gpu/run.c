/*
** run.c -- a run of a plan on a GPU: launches, and what the host does between them.
*/
#include "gpu/run.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/context.h"
#include "exec/exec_context.h"
#include "exec/lower.h"
#include "gpu/resident.h"

enum { CLUSTER = 8, CU_COOPERATIVE = 2, CU_CLUSTER = 4 };

typedef struct runner {
  bdl_gpu_plan *q;
  bdl_cuda *g;
  bdl_plan *plan;
  bdl_context *c;
  bdl_exec_context *x;
  int64_t at[2]; /* steps of the loops around */
  int depth; /* of those that count in `at` */
  int loops; /* around that the host steps */
} runner;

/* ---- places ------------------------------------------------------------------------------------------------------------ */

/* Where r is on the GPU; 0: literals, and constants that no kernel reads. */
static bdl_cuda_ptr address(const runner *r, bdl_ref ref) {
  const bdl_pslot *s = &r->plan->slots.v[ref.slot];
  switch (s->kind) {
    case BDL_S_ARENA: return r->q->table[bdl_gpu_own(r->q, BDL_GPU_ARENA)] + s->offset + (size_t)ref.offset;
    case BDL_S_MOVING: case BDL_S_ROW: return r->q->moving[ref.slot] + (size_t)ref.offset;
    case BDL_S_INPUT: case BDL_S_OUTPUT: return r->q->table[ref.slot] + (size_t)ref.offset;
    default: break;
  }
  const int32_t k = r->q->p.constant[ref.slot];
  return k < 0 ? 0 : r->q->table[bdl_gpu_own(r->q, BDL_GPU_FIXED) + k] + (size_t)ref.offset;
}

/* Where r is here; NULL: no constant.  Of rows, as find_rows() left them. */
static const char *on_host(const runner *r, bdl_ref ref) {
  const bdl_pslot *s = &r->plan->slots.v[ref.slot];
  const bdl_pslot *of = s->row ? &r->plan->slots.v[s->row->base.slot] : s;
  const char *data = of->kind == BDL_S_CONST ? of->data : of->kind == BDL_S_LITERAL ? (const char *)&of->literal : NULL;
  if (data && s->row) data += s->row->base.offset + (int64_t)(r->q->moving[ref.slot] - address(r, s->row->base));
  return data ? data + ref.offset : NULL;
}

static bdl_status download(const runner *r, void *to, bdl_ref from, size_t n) {
  bdl_device *d = &r->g->device;
  const void *data = on_host(r, from);
  if (!data) return d->ops->download(d, NULL, to, (void *)(uintptr_t)address(r, from), n);
  memcpy(to, data, n);
  return BDL_OK;
}

/* ---- steps --------------------------------------------------------------------------------------------------------------- */

static bdl_status launch(const runner *r, const bdl_gpu_step *s) {
  bdl_cuda *g = r->g;
  const int64_t wish = (s->work + g->block_threads - 1) / g->block_threads;
  const unsigned blocks = (unsigned)BDL_MAX(1, BDL_MIN(wish, r->q->most_blocks[s->kernel]));
  const bool cluster = g->clusters && blocks > 1 && blocks <= CLUSTER;
  struct bdl_cuda_attribute a = {.id = cluster ? CU_CLUSTER : CU_COOPERATIVE};
  if (cluster) a.cluster[0] = blocks, a.cluster[1] = a.cluster[2] = 1;
  else a.flag = 1;
  bdl_cuda_launch_config config = {.grid = {blocks, 1, 1}, .block = {(unsigned)g->block_threads, 1, 1}, .shared = (unsigned)r->q->p.shared,
                                   .stream = g->stream, .attributes = &a, .n = blocks > 1};
  bdl_cuda_ptr table = r->q->memory;
  int64_t at[2] = {r->at[0], r->at[1]};
  void *params[] = {&table, &at[0], &at[1]};
  return bdl_cuda_check(g, g->api.cuLaunchKernelEx(&config, r->q->function[s->kernel], params, NULL), "a launch");
}

/* A kernel of the CPU: operands come here, results go back.  from: where the operands are, of one that is known to fail; NULL: where
** they always are. */
static bdl_status on_cpu(const runner *r, const bdl_inst *i, const bdl_cuda_ptr *from) {
  const int32_t n_in = i->kernel.n_in, n_out = i->kernel.n_out;
  const bdl_lowering *l = bdl_lowering_of(i->prim);
  const size_t scratch = i->kernel.scratch < 0 ? 0 : r->plan->slots.v[i->kernel.scratch].bytes;
  bdl_device *d = &r->g->device;
  size_t bytes = BDL_ALIGN + bdl_gpu_padded(scratch);
  for (int32_t k = 0; k < n_in; k++) bytes += bdl_gpu_padded(bdl_aval_bytes(&i->kernel.in_aval[k]) + BDL_PAD);
  for (int32_t k = 0; k < n_out; k++) bytes += bdl_gpu_padded(bdl_aval_bytes(&i->kernel.out_aval[k]) + BDL_PAD);
  char *memory = bdl_alloc(r->c, bytes);
  if (!memory) return bdl_fail(r->c, BDL_ENOMEM, "out of memory for what %s has on the host (%zu bytes)", bdl_prims[i->prim].name, bytes);
  char *at = (char *)(((uintptr_t)memory + BDL_ALIGN - 1) & ~(uintptr_t)(BDL_ALIGN - 1)), *room = at;
  bdl_status s = BDL_OK;
  at += bdl_gpu_padded(scratch);
  for (int32_t k = 0; k < n_in && s == BDL_OK; k++) {
    i->kernel.in_ptr[k] = at;
    const size_t n = bdl_aval_bytes(&i->kernel.in_aval[k]);
    s = from ? d->ops->download(d, NULL, at, (void *)(uintptr_t)from[k], n) : download(r, at, i->kernel.in[k], n);
    at += bdl_gpu_padded(bdl_aval_bytes(&i->kernel.in_aval[k]) + BDL_PAD);
  }
  for (int32_t k = 0; k < n_out && s == BDL_OK; k++) {
    i->kernel.out_ptr[k] = at;
    if (l->kind == BDL_LOWER_UPDATE && !from) s = download(r, at, i->kernel.out[k], bdl_aval_bytes(&i->kernel.out_aval[k]));
    at += bdl_gpu_padded(bdl_aval_bytes(&i->kernel.out_aval[k]) + BDL_PAD);
  }
  const bdl_kcall call = {
    .ctx = r->c, .k = r->x->k, .blas = &r->x->blas, .params = i->kernel.params, .n_in = n_in, .n_out = n_out, .in = i->kernel.in_ptr,
    .in_aval = i->kernel.in_aval, .out = i->kernel.out_ptr, .out_aval = i->kernel.out_aval, .scratch = room,
    .prepared = i->kernel.prepared, .pool = r->x->pool,
  };
  if (s == BDL_OK) s = i->kernel.fn(&call);
  for (int32_t k = 0; k < n_out && s == BDL_OK && !from; k++)
    s = d->ops->upload(d, NULL, (void *)(uintptr_t)address(r, i->kernel.out[k]), i->kernel.out_ptr[k], bdl_aval_bytes(&i->kernel.out_aval[k]));
  bdl_free(r->c, memory, bytes);
  return s;
}

static bdl_status product(const runner *r, const bdl_gpu_step *s) {
  const bdl_inst *i = s->inst;
  const bdl_ref *in = i->kernel.in;
  const bdl_cuda_ptr z = address(r, i->kernel.out[0]);
  const bool onto = i->prim == BDL_P_dot_add && !bdl_gpu_adds_row(i);
  const bdl_cuda_ptr c = onto ? address(r, in[2]) : z;
  bdl_device *d = &r->g->device;
  bool done = false;
  if (s->kernel >= 0) TRY(bdl_gpu_product_row(r->q, s, z, address(r, in[0]), address(r, in[1]), address(r, in[2]), &done));
  if (done) return BDL_OK;
  if (c != z) TRY(d->ops->copy(d, NULL, (void *)(uintptr_t)z, (void *)(uintptr_t)c, bdl_aval_bytes(&i->kernel.out_aval[0])));
  TRY(bdl_gpu_product(r->g, i, z, address(r, in[0]), address(r, in[1]), onto));
  return s->kernel < 0 ? BDL_OK : launch(r, s);
}

static bdl_status run_steps(runner *r, const bdl_gpu_steps *b);
static bdl_status outcome(const runner *r);

/* What has failed here goes to no other process. */
static bdl_status collective(const runner *r, const bdl_inst *i) {
  bool done;
  TRY(outcome(r));
  TRY(bdl_gpu_collective(r->g, i, address(r, i->kernel.out[0]), address(r, i->kernel.in[0]), &done));
  return done ? BDL_OK : on_cpu(r, i, NULL);
}

static bdl_status interrupted(const runner *r, const bdl_inst *loop, int64_t done) {
  char of[32] = "";
  bdl_ask_stop(r->c, false);
  if (loop->kind == BDL_I_SCAN) snprintf(of, sizeof of, " of %lld", (long long)loop->scan.length);
  bdl_fail(r->c, BDL_EINTERRUPT, "interrupted after %lld%s steps; States are %s", (long long)done, of,
           r->plan->loop_only ? "those after the last of them" : "as before the call");
  bdl_where(r->c, loop->src);
  return BDL_EINTERRUPT;
}

/* Of a loop that the host steps: asked to stop, after a whole step? */
static bool asked(const runner *r) { return bdl_stop_asked(r->c) && (r->loops == 1 || !r->plan->loop_only); }

static bdl_status scan(runner *r, const bdl_gpu_step *s) {
  const bdl_inst *i = s->inst;
  const int half = r->depth % 2, word = r->depth / 2;
  const int64_t around = r->at[word];
  r->depth++;
  r->loops++;
  bdl_status status = BDL_OK;
  for (int64_t t = 0; t < i->scan.length && status == BDL_OK; t++) {
    const int64_t row = i->scan.reverse ? i->scan.length - 1 - t : t;
    for (int32_t k = 0; k < i->scan.n_moving; k++) {
      const struct bdl_moving *m = &i->scan.moving[k];
      r->q->moving[m->slot] = address(r, m->base) + (size_t)(row * m->step);
    }
    r->at[word] = around | t << 32 * half;
    status = run_steps(r, &s->body);
    if (status == BDL_OK && r->loops == 1 && r->x->progress) bdl_exec_report(r->x, t + 1, i->scan.length);
    if (status == BDL_OK && asked(r)) status = interrupted(r, i, t + 1);
  }
  r->depth--;
  r->loops--;
  r->at[word] = around;
  return status;
}

static bdl_status while_loop(runner *r, const bdl_gpu_step *s) {
  bdl_status status = BDL_OK;
  r->loops++;
  for (int64_t done = 1; status == BDL_OK; done++) {
    unsigned char more = 0;
    status = run_steps(r, &s->cond);
    if (status == BDL_OK) status = outcome(r);
    if (status == BDL_OK) status = download(r, &more, s->inst->loop.pred, 1);
    if (status != BDL_OK || !more) break;
    status = run_steps(r, &s->body);
    if (status == BDL_OK && r->loops == 1 && r->x->progress) bdl_exec_report(r->x, done, -1);
    if (status == BDL_OK && asked(r)) status = interrupted(r, s->inst, done);
  }
  r->loops--;
  return status;
}

static bdl_status cond(runner *r, const bdl_gpu_step *s) {
  int32_t index = 0;
  TRY(outcome(r));
  TRY(download(r, &index, s->inst->cond.index, sizeof index));
  return run_steps(r, &s->body.v[BDL_MAX(0, BDL_MIN(index, s->inst->cond.n - 1))].body);
}

/* Where the rows are that a step of the host reads or writes. */
static bdl_status find_rows(const runner *r, const bdl_inst *i) {
  for (int32_t k = 0; k < i->kernel.n_in + i->kernel.n_out; k++) {
    const int32_t slot = (k < i->kernel.n_in ? i->kernel.in[k] : i->kernel.out[k - i->kernel.n_in]).slot;
    const bdl_row *w = r->plan->slots.v[slot].row;
    int32_t index = 0;
    if (!w) continue;
    TRY(download(r, &index, w->index, sizeof index));
    r->q->moving[slot] = address(r, w->base) + (size_t)(BDL_MAX(0, BDL_MIN(index, w->last)) * w->step);
  }
  return BDL_OK;
}

/* While a kernel runs, the steps of its loops. */
static bdl_status watched(const runner *r, const bdl_gpu_step *s) {
  enum { NOT_READY = 600, NAP = 2000000 }; /* ns; of short runs an eighth of the time */
  const int64_t begin = bdl_now_ns();
  const bdl_gpu_program *p = &r->q->p;
  uint64_t last = 0;
  for (int code = NOT_READY; code != 0;) {
    code = r->g->api.cuStreamQuery(r->g->stream);
    if (code != 0 && code != NOT_READY) return bdl_cuda_check(r->g, code, "work");
    const uint64_t told = __atomic_load_n(r->g->told, __ATOMIC_RELAXED), k = told >> 32;
    const bdl_inst *loop = k > 0 && k <= (uint64_t)p->told.n ? p->told.v[k - 1] : NULL;
    if (loop && told != last) bdl_exec_report(r->x, (int64_t)(uint32_t)told, loop->kind == BDL_I_SCAN ? loop->scan.length : -1);
    last = told;
    if (code != 0) nanosleep(&(struct timespec){.tv_nsec = (long)BDL_MIN((bdl_now_ns() - begin) / 8, NAP)}, NULL);
  }
  if (s->loop->kind == BDL_I_SCAN && !bdl_stop_asked(r->c)) bdl_exec_report(r->x, s->loop->scan.length, s->loop->scan.length);
  return BDL_OK;
}

static bdl_status kernel(const runner *r, const bdl_gpu_step *s) {
  const bool watch = r->x->progress && r->loops == 0 && s->loop;
  if (watch) {
    TRY(bdl_cuda_check(r->g, r->g->api.cuStreamSynchronize(r->g->stream), "work"));
    __atomic_store_n(r->g->told, 0, __ATOMIC_RELAXED);
  }
  TRY(launch(r, s));
  return watch ? watched(r, s) : BDL_OK;
}

static bdl_status make_step(runner *r, const bdl_gpu_step *s) {
  if (s->kind == BDL_G_PRODUCT || s->kind == BDL_G_COLLECTIVE || (s->kind == BDL_G_HOST && s->inst->kind == BDL_I_KERNEL))
    TRY(find_rows(r, s->inst));
  switch (s->kind) {
    case BDL_G_KERNEL: return kernel(r, s);
    case BDL_G_PRODUCT: return product(r, s);
    case BDL_G_COLLECTIVE: return collective(r, s->inst);
    case BDL_G_SCAN: return scan(r, s);
    case BDL_G_WHILE: return while_loop(r, s);
    case BDL_G_COND: return cond(r, s);
    default: TRY(outcome(r)); return on_cpu(r, s->inst, NULL);
  }
}

static bdl_status run_step(runner *r, const bdl_gpu_step *s) {
  int64_t begin = 0;
  if (!r->q->p.timed) return make_step(r, s);
  TRY(bdl_gpu_profile_begin(r->q, s, &begin));
  TRY(make_step(r, s));
  return bdl_gpu_profile_end(r->q, s, begin);
}

static bdl_status run_steps(runner *r, const bdl_gpu_steps *b) {
  for (int64_t k = 0; k < b->n; k++) {
    const bdl_status s = run_step(r, &b->v[k]);
    if (s != BDL_OK) {
      bdl_where(r->c, b->v[k].inst->src);
      return s;
    }
  }
  return BDL_OK;
}

/* ---- a run -------------------------------------------------------------------------------------------------------------- */

/* An interrupted loop whose carry is the result: what stands behind it still brings the results home. */
static bdl_status bring_home(runner *r) {
  const bdl_gpu_steps *b = &r->q->p.steps;
  int64_t k = 0;
  while (k < b->n && b->v[k].kind != BDL_G_SCAN && b->v[k].kind != BDL_G_WHILE) k++;
  for (k++; k < b->n; k++) TRY(run_step(r, &b->v[k]));
  return BDL_OK;
}

/* What a kernel noted; later ones have done nothing.  A check that failed is made again here, which has more to say. */
static bdl_status outcome(const runner *r) {
  bdl_device *d = &r->g->device;
  int32_t note[2] = {0, 0};
  bdl_cuda_ptr operands[BDL_GPU_NOTED];
  void *const at = (void *)(uintptr_t)r->q->table[bdl_gpu_own(r->q, BDL_GPU_STATUS)];
  if (!r->q->p.can_fail) return BDL_OK;
  TRY(d->ops->download(d, NULL, note, at, sizeof note));
  if (note[0] == 0) return BDL_OK;
  TRY(d->ops->download(d, NULL, operands, (char *)at + 128, sizeof operands));
  TRY(bdl_cuda_check(r->g, r->g->api.cuMemsetD8Async((bdl_cuda_ptr)(uintptr_t)at, 0, 256, r->g->stream), "memory"));
  if (note[0] < 0) return interrupted(r, r->q->p.loops.v[-note[0] - 1], note[1]);
  const bdl_export_failure *f = &r->q->p.failures.v[note[0] - 1];
  const bool again = f->again && f->again->kernel.n_in <= BDL_GPU_NOTED;
  if (!again || on_cpu(r, f->again, operands) == BDL_OK) bdl_fail(r->c, f->status, "%s", f->what);
  bdl_where(r->c, f->src);
  return f->status;
}

static bdl_status operands(runner *r, const bdl_tensor *in, bdl_tensor *out, bdl_cuda_ptr *at) {
  bdl_device *d = &r->g->device, *cpu = bdl_device_cpu(r->c);
  void *p;
  if (!cpu) return BDL_ENOMEM;
  for (int32_t k = 0; k < r->plan->n_in; k++) {
    TRY(bdl_buffer_far(in[k].buf, d, true, &p));
    at[k] = (bdl_cuda_ptr)(uintptr_t)p + (size_t)in[k].offset * bdl_dtype_size(in[k].aval.dtype);
  }
  for (int32_t k = 0; k < r->plan->n_out; k++) {
    const bdl_aval *a = bdl_aval_of(r->plan->prog, r->plan->prog->outputs[k]);
    if (out[k].buf && (r->q->p.host_steps || r->q->p.failures.n > 0)) bdl_tensor_unref(&out[k]); /* what fails in the middle leaves States as they were */
    if (!out[k].buf) TRY(bdl_tensor_new_far(cpu, d, a, &out[k]));
    TRY(bdl_buffer_far(out[k].buf, d, false, &p));
    at[r->plan->n_in + k] = (bdl_cuda_ptr)(uintptr_t)p + (size_t)out[k].offset * bdl_dtype_size(a->dtype);
  }
  return BDL_OK;
}

/* Over contiguous operands, to which `in` refers. */
static bdl_status run_packed(runner *r, const bdl_tensor *in, bdl_tensor *out) {
  bdl_gpu_plan *q = r->q;
  bdl_device *d = &r->g->device;
  const int32_t n = r->plan->n_in + r->plan->n_out;
  const size_t bytes = (size_t)(n + 1) * sizeof(bdl_cuda_ptr);
  bdl_cuda_ptr *at = bdl_alloc(r->c, bytes);
  if (!at) return BDL_ENOMEM;
  bdl_status s = operands(r, in, out, at);
  if (s == BDL_OK && (memcmp(q->table, at, (size_t)n * sizeof *at) != 0 || !q->current)) {
    memcpy(q->table, at, (size_t)n * sizeof *at);
    s = d->ops->upload(d, NULL, (void *)(uintptr_t)q->memory, q->table, (size_t)q->n_table * sizeof *q->table);
    q->current = s == BDL_OK;
  }
  bdl_free(r->c, at, bytes);
  TRY(s);
  for (int32_t k = 0; k < r->plan->n_out; k++) bdl_buffer_far_changed(out[k].buf);
  s = run_steps(r, &q->p.steps);
  if (s == BDL_OK && q->p.timed) s = bdl_gpu_profile_laps(q);
  if (s == BDL_EINTERRUPT && r->plan->loop_only) TRY(bring_home(r));
  return s == BDL_OK ? outcome(r) : s;
}

bdl_status bdl_gpu_run(bdl_plan *plan, const bdl_tensor *in, bdl_tensor *out) {
  bdl_context *c = plan->ctx;
  bdl_cuda *g;
  runner r = {.plan = plan, .c = c};
  TRY(bdl_cuda_get(c, &g));
  TRY(bdl_exec_get(c, &r.x));
  if (c->sandboxed || c->budget.on) return bdl_fail(c, BDL_ENOTSUP, "a sandbox runs on the CPU alone");
  if (plan->busy) return bdl_fail(c, BDL_ENOTSUP, "%s: a compiled function may not call itself while it runs", plan->prog->name);
  const bool timed = r.x->profile != NULL;
  g->timed = timed;
  if (plan->gpu && plan->gpu->p.timed != timed) plan->drop_gpu(plan);
  if (!plan->gpu) TRY(bdl_gpu_move_in(g, plan, timed));
  r.g = g;
  r.q = plan->gpu;
  TRY(bdl_exec_pool(r.x));
  const size_t bytes = (size_t)(plan->n_in + 1) * sizeof(bdl_tensor);
  bdl_tensor *packed = bdl_calloc(c, bytes);
  if (!packed) return BDL_ENOMEM;
  bdl_status s = BDL_OK;
  for (int32_t k = 0; k < plan->n_in && s == BDL_OK; k++) {
    if (bdl_tensor_contiguous(&in[k])) packed[k] = bdl_tensor_ref(&in[k]);
    else s = bdl_gpu_pack(g, &in[k], &packed[k]);
  }
  plan->busy = true;
  r.x->running++;
  if (s == BDL_OK) s = run_packed(&r, packed, out);
  r.x->running--;
  plan->busy = false;
  for (int32_t k = 0; k < plan->n_in; k++)
    if (packed[k].buf) bdl_tensor_unref(&packed[k]);
  bdl_free(c, packed, bytes);
  return s;
}

bdl_status bdl_gpu_use(bdl_context *c, const char *platform) {
  bdl_device *d;
  bdl_exec_context *x;
  if (c->sandboxed && strcmp(platform, "cpu") != 0) return bdl_fail(c, BDL_ENOTSUP, "a sandbox runs on the CPU alone, not on %s", platform);
  TRY(bdl_device_get(c, platform, &d));
  TRY(bdl_exec_get(c, &x));
  x->elsewhere = d == bdl_device_cpu(c) ? NULL : bdl_gpu_run;
  return BDL_OK;
}

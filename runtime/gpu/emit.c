/*
** emit.c -- the text of a plan for a GPU, and the steps in which the host runs it.
**
**     prelude   device functions that are called   constants' names   int f<k>(F, a, b) {..}  kernel k<k>   ..
**
** F is a table of pointers.  A loop that is all on the GPU is a loop of the kernel; where something in it is not, the host makes its
** steps, and the numbers of those go into a and b, 32 bits for each loop.
*/
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "gpu/program.h"
#include "prim/prim.h"

enum { MOST_ELEMENTS = 1 << 30, MOST_LOOPS = 4, SHARED_BYTES = 48 * 1024 };

typedef struct emitter {
  bdl_gpu_program *p;
  bdl_exporter m;
  const bdl_inst *loop[MOST_LOOPS]; /* scans around that the host steps, the outermost first */
  int32_t n_loops, around;          /* of those; of all loops that the host steps */
  BDL_VEC(int32_t) set;             /* slots of rows that earlier kernels set: each sets them again */
  bdl_gpu_touches touched;
} emitter;

static emitter *emitter_of(bdl_exporter *m) { return (emitter *)(void *)((char *)m - offsetof(emitter, m)); }

#define ADD(...) bdl_str_addf(&e->m.text, __VA_ARGS__)

/* ---- places ----------------------------------------------------------------------------------------------------- */

static const void *known(const bdl_exporter *m, bdl_ref r) {
  const bdl_pslot *s = &m->plan->slots.v[r.slot];
  const void *data = s->kind == BDL_S_CONST ? s->data : s->kind == BDL_S_LITERAL ? (const void *)&s->literal : NULL;
  return data ? (const char *)data + r.offset : NULL;
}

static bool is_const(const bdl_exporter *m, int32_t slot) {
  (void)m, (void)slot;
  return false;
}

static int32_t own(const bdl_plan *plan, int which) { return plan->n_in + plan->n_out + which; }

/* The constant in a slot, on the GPU from now on. */
static bdl_status constant_in(bdl_exporter *m, int32_t slot, int32_t *k) {
  const bdl_pslot *s = &m->plan->slots.v[slot];
  const bdl_dtype d = m->dtype[slot];
  const void *data = s->kind == BDL_S_CONST ? s->data : (const void *)&s->literal;
  return bdl_export_constant_of(m, d, (int64_t)(s->bytes / bdl_dtype_size(d)), data, false, false, k);
}

static bdl_status place(bdl_exporter *m, bdl_ref r, char buf[BDL_EXPORT_PLACE]) {
  const bdl_plan *plan = m->plan;
  const bdl_pslot *s = &plan->slots.v[r.slot];
  const bdl_dtype d = m->dtype[r.slot];
  const char *type = bdl_export_ctype(d);
  int64_t offset = r.offset;
  int32_t at = r.slot;
  if (s->kind == BDL_S_MOVING || s->kind == BDL_S_ROW) {
    const int64_t elements = r.offset / (int64_t)bdl_dtype_size(d);
    snprintf(buf, BDL_EXPORT_PLACE, elements ? "m%" PRId32 " + %" PRId64 : "m%" PRId32, r.slot, elements);
    return BDL_OK;
  }
  if (s->kind == BDL_S_ARENA) at = own(plan, m->at[r.slot] < 0 ? BDL_GPU_ROOM : BDL_GPU_ARENA);
  if (s->kind == BDL_S_ARENA && m->at[r.slot] >= 0) offset += (int64_t)s->offset;
  if (s->kind == BDL_S_CONST || s->kind == BDL_S_LITERAL) {
    TRY(constant_in(m, r.slot, &at));
    at += own(plan, BDL_GPU_FIXED);
  }
  if (offset) snprintf(buf, BDL_EXPORT_PLACE, "(%s *)(F[%" PRId32 "] + %" PRId64 ")", type, at, offset);
  else snprintf(buf, BDL_EXPORT_PLACE, "(%s *)F[%" PRId32 "]", type, at);
  return BDL_OK;
}

bdl_status bdl_gpu_tell(bdl_exporter *m, const bdl_inst *i, int indent, const char *done) {
  bdl_gpu_program *p = emitter_of(m)->p;
  int64_t k = 0;
  if (m->loops > 0 || emitter_of(m)->around > 0) return BDL_OK;
  while (k < p->told.n && p->told.v[k] != i) k++;
  if (k == p->told.n && !BDL_PUSH(m->c, p->told, i)) return BDL_ENOMEM;
  bdl_str_addf(&m->text, "%*sif (THREAD == 0) tell(F[%" PRId32 "] + 8, &told, %" PRId64 ", %s);\n", indent, "", own(m->plan, BDL_GPU_STOP), k + 1, done);
  return BDL_OK;
}

void bdl_gpu_lap(bdl_exporter *m, const bdl_inst *i, int64_t n, int indent) {
  emitter *e = emitter_of(m);
  if (!e->p->timed) return;
  bdl_export_sync(m, indent);
  e->touched.n = 0;
  ADD("%*sif (THREAD == 0) lap(laps, &since, &now, %" PRId32 ", %" PRId64 ");\n", indent, "", i ? i->id : -1, n);
}

/* Long loops look now and then whether they are to stop, and leave whole steps.  Where the results of the plan are those of its one
** loop, only that does: its steps are the user's (exec/run.c). */
bdl_status bdl_gpu_look(bdl_exporter *m, const bdl_inst *i, int indent, const char *done) {
  bdl_gpu_program *p = emitter_of(m)->p;
  if (!BDL_PUSH(m->c, p->loops, i)) return BDL_ENOMEM;
  bdl_str_addf(&m->text, "%*sif (asked(flag + 1, (const uint32_t *)F[%" PRId32 "])) {\n", indent, "", own(m->plan, BDL_GPU_STOP));
  bdl_str_addf(&m->text, "%*s  if (THREAD == 0) status[0] = -%" PRId64 ", status[1] = %s;\n%*s  stopped = true;\n%*s}\n", indent, "",
               p->loops.n, done, indent, "", indent, "");
  return BDL_OK;
}

static bdl_status stepped(bdl_exporter *m, const bdl_inst *i, int indent) {
  enum { LONG = 4096, EACH = 64 };
  const bool looks = (i->kind == BDL_I_WHILE || i->scan.length >= LONG) && (m->loops == 0 || !m->plan->loop_only);
  char done[32];
  snprintf(done, sizeof done, "t%" PRId32 " + 1", i->id);
  if (looks) {
    bdl_str_addf(&m->text, "%*sif (t%" PRId32 " %% %d == %d) {\n", indent, "", i->id, EACH, EACH - 1);
    TRY(bdl_gpu_tell(m, i, indent + 2, done));
    TRY(bdl_gpu_look(m, i, indent + 2, done));
    bdl_str_addf(&m->text, "%*s}\n", indent, "");
  } else TRY(bdl_gpu_tell(m, i, indent, done));
  bdl_str_addf(&m->text, "%*sif (stopped) break;\n", indent, "");
  return BDL_OK;
}

static bdl_status before(bdl_exporter *m, const bdl_inst *i, int indent) {
  if (i->kind != BDL_I_ROW) bdl_gpu_lap(m, i, 1, indent);
  return bdl_gpu_before(m, &emitter_of(m)->touched, i, indent);
}
static void settle(bdl_exporter *m, int indent) { bdl_gpu_settle(m, &emitter_of(m)->touched, indent); }

static const bdl_export_target to_cuda = {.collective = true, .place = place, .known = known, .is_const = is_const, .group = bdl_gpu_group,
                                          .kernel = bdl_gpu_kernel, .before = before, .settle = settle, .scan = bdl_gpu_steps_alone, .stepped = stepped};

/* Types of slots; a kernel's scratch lies in the room, with what it needs here. */
static bdl_status slots(emitter *e) {
  bdl_plan *plan = e->p->plan;
  bdl_exporter *m = &e->m;
  const size_t n = (size_t)plan->slots.n + 1;
  m->dtype = bdl_calloc(m->c, n * sizeof *m->dtype);
  m->at = bdl_calloc(m->c, n * sizeof *m->at);
  if (!m->dtype || !m->at) return BDL_ENOMEM;
  for (int64_t k = 0; k < plan->slots.n; k++) {
    const bdl_pslot *s = &plan->slots.v[k];
    m->dtype[k] = s->dtype;
    if (s->bytes / bdl_dtype_size(s->dtype) > MOST_ELEMENTS)
      return bdl_fail(m->c, BDL_ENOTSUP, "GPU: an array of %zu elements; at most 2^30 fit", s->bytes / bdl_dtype_size(s->dtype));
  }
  for (int32_t i = 0; i < plan->n_insts; i++) {
    const bdl_inst *inst = plan->by_id[i];
    if (inst->kind != BDL_I_KERNEL || inst->kernel.scratch < 0 || !bdl_gpu_runs(plan, inst)) continue;
    bdl_dtype d = BDL_BOOL;
    const int64_t count = bdl_export_scratch(m, inst, &d);
    m->dtype[inst->kernel.scratch] = d;
    m->at[inst->kernel.scratch] = -1;
    m->room = BDL_MAX(m->room, count * (int64_t)bdl_dtype_size(d));
  }
  return BDL_OK;
}

/* ---- kernels and steps ------------------------------------------------------------------------------------------------ */

/* The rows of the loops around: the step of loop k is in half k % 2 of a or b. */
static bdl_status rows(emitter *e) {
  for (int32_t k = 0; k < e->n_loops; k++) {
    const bdl_inst *i = e->loop[k];
    ADD("  const int32_t t%" PRId32 " = (int32_t)(%s >> %d);\n", i->id, k / 2 ? "b" : "a", 32 * (k % 2));
    TRY(bdl_export_rows(&e->m, i, 2));
  }
  for (int64_t k = 0; k < e->set.n; k++) TRY(bdl_export_row(&e->m, e->set.v[k], 2));
  return BDL_OK;
}

static bdl_status kernel(emitter *e, const bdl_inst *first, int32_t n, bdl_gpu_steps *out) {
  bdl_gpu_step s = {.kind = BDL_G_KERNEL, .inst = first, .kernel = e->p->n_kernels++, .work = 1};
  const int32_t status = own(e->p->plan, BDL_GPU_STATUS), flag = own(e->p->plan, BDL_GPU_FLAG);
  ADD("BDL_DEVICE int32_t f%" PRId32 "(char *const *F, int64_t a, int64_t b) {\n  uint32_t *const flag = (uint32_t *)F[%" PRId32 "];\n"
      "  int32_t *const status = (int32_t *)F[%" PRId32 "];\n  bool stopped = false;\n"
      "  uint64_t told = cycles();\n  (void)flag, (void)status, (void)stopped, (void)told, (void)a, (void)b;\n", s.kernel, flag, status);
  e->touched.n = 0; /* launches come one after the other */
  if (e->p->timed)
    ADD("  uint64_t *const laps = (uint64_t *)F[%" PRId32 "], since = 0;\n  int32_t now = -1;\n", own(e->p->plan, BDL_GPU_LAPS));
  TRY(rows(e));
  for (int32_t k = 0; k < n; k++) {
    TRY(bdl_export_instruction(&e->m, &first[k], 2));
    if (first[k].kind == BDL_I_SCAN || first[k].kind == BDL_I_WHILE) s.loop = &first[k];
    s.work = BDL_MAX(s.work, bdl_gpu_work_of(&first[k]));
  }
  for (int32_t k = 0; k < n; k++)
    if (first[k].kind == BDL_I_ROW && !BDL_PUSH(e->p->c, e->set, first[k].row)) return BDL_ENOMEM;
  bdl_gpu_lap(&e->m, NULL, 0, 2);
  ADD("  return 0;\n}\nBDL_KERNEL k%" PRId32 "(char *const *F, int64_t a, int64_t b) {\n"
      "  int32_t *const status = (int32_t *)F[%" PRId32 "];\n"
      "  const int32_t number = *status ? 0 : f%" PRId32 "(F, a, b);\n"
      "  if (number && THREAD == 0) *status = number;\n}\n",
      s.kernel, status, s.kernel);
  return BDL_PUSH(e->p->c, *out, s) ? BDL_OK : BDL_ENOMEM;
}

/* What a product of the library leaves to do: a number a column. */
static bdl_status plus_row(emitter *e, const bdl_inst *i, bdl_gpu_step *s) {
  const int64_t n = bdl_aval_numel(&i->kernel.out_aval[0]);
  s->kernel = e->p->n_kernels++;
  s->work = n;
  char z[BDL_EXPORT_PLACE], row[BDL_EXPORT_PLACE];
  ADD("BDL_KERNEL k%" PRId32 "(char *const *F, int64_t a, int64_t b) {\n  (void)a, (void)b;\n", s->kernel);
  TRY(rows(e));
  TRY(bdl_export_place_text(&e->m, i->kernel.out[0], z));
  TRY(bdl_export_place_text(&e->m, i->kernel.in[2], row));
  ADD("  ");
  bdl_export_each(&e->m, "e", n);
  ADD(" (%s)[e] = (%s)[e] + (%s)[e %% %" PRId64 "];\n}\n", z, z, row, i->kernel.in_aval[2].shape[0]);
  return BDL_OK;
}

/* Operands of a library's step, which it reads there. */
static bdl_status operands_there(emitter *e, const bdl_inst *i) {
  for (int32_t k = 0; k < i->kernel.n_in; k++) {
    const int32_t slot = bdl_plan_base(e->p->plan, i->kernel.in[k].slot);
    const bdl_slot_kind of = e->p->plan->slots.v[slot].kind;
    if (of == BDL_S_CONST || of == BDL_S_LITERAL) TRY(constant_in(&e->m, slot, &e->p->constant[slot]));
  }
  return BDL_OK;
}

static bdl_status product(emitter *e, const bdl_inst *i, bdl_gpu_steps *out) {
  bdl_gpu_step s = {.kind = BDL_G_PRODUCT, .inst = i, .kernel = -1};
  TRY(operands_there(e, i));
  if (bdl_gpu_adds_row(i)) TRY(plus_row(e, i, &s));
  return BDL_PUSH(e->p->c, *out, s) ? BDL_OK : BDL_ENOMEM;
}

static bdl_status collective(emitter *e, const bdl_inst *i, bdl_gpu_steps *out) {
  const bdl_gpu_step s = {.kind = BDL_G_COLLECTIVE, .inst = i};
  TRY(operands_there(e, i));
  return BDL_PUSH(e->p->c, *out, s) ? BDL_OK : BDL_ENOMEM;
}

static bdl_status steps(emitter *e, const bdl_block *b, bdl_gpu_steps *out);

static bdl_status host_loop(emitter *e, const bdl_inst *i, bdl_gpu_step *s) {
  if (i->kind == BDL_I_WHILE) {
    s->kind = BDL_G_WHILE;
    TRY(steps(e, &i->loop.cond, &s->cond));
    return steps(e, &i->loop.body, &s->body);
  }
  s->kind = BDL_G_SCAN;
  if (e->n_loops == MOST_LOOPS) {
    bdl_fail(e->p->c, BDL_ENOTSUP, "GPU: more than %d loops around what a GPU does not run in one kernel", MOST_LOOPS);
    bdl_where(e->p->c, i->src);
    return BDL_ENOTSUP;
  }
  for (int32_t k = 0; k < i->scan.n_moving; k++) { /* the host steps over their rows */
    const int32_t base = i->scan.moving[k].base.slot;
    if (e->p->plan->slots.v[base].kind == BDL_S_CONST) TRY(constant_in(&e->m, base, &e->p->constant[base]));
  }
  e->loop[e->n_loops++] = i;
  const bdl_status status = steps(e, &i->scan.body, &s->body);
  e->n_loops--;
  return status;
}

static bdl_status branches(emitter *e, const bdl_inst *i, bdl_gpu_step *s) {
  s->kind = BDL_G_COND;
  for (int32_t k = 0; k < i->cond.n; k++) {
    bdl_gpu_step branch = {.kind = BDL_G_COND, .inst = i};
    const bdl_status status = steps(e, &i->cond.branches[k], &branch.body);
    if (!BDL_PUSH(e->p->c, s->body, branch)) {
      BDL_VEC_FREE(e->p->c, branch.body);
      return BDL_ENOMEM;
    }
    TRY(status);
  }
  return BDL_OK;
}

static bdl_status steps(emitter *e, const bdl_block *b, bdl_gpu_steps *out) {
  const bdl_plan *plan = e->p->plan;
  const int64_t set = e->set.n;
  for (int32_t k = 0; k < b->n;) {
    int32_t n = 0;
    while (k + n < b->n && bdl_gpu_whole(plan, &b->v[k + n], e->around > 0)) n++;
    if (n) TRY(kernel(e, &b->v[k], n, out));
    k += n;
    if (k == b->n) break;
    bdl_gpu_step s = {.kind = BDL_G_HOST, .inst = &b->v[k++]};
    if (bdl_gpu_is_large(s.inst, e->around > 0)) {
      TRY(product(e, s.inst, out));
      continue;
    }
    e->p->host_steps = true;
    if (bdl_gpu_is_collective(s.inst)) {
      TRY(collective(e, s.inst, out));
      continue;
    }
    bdl_status status = BDL_OK;
    if (s.inst->kind == BDL_I_COND) status = branches(e, s.inst, &s);
    else if (s.inst->kind != BDL_I_KERNEL) {
      e->around++;
      status = host_loop(e, s.inst, &s);
      e->around--;
    }
    if (!BDL_PUSH(e->p->c, *out, s)) status = BDL_ENOMEM;
    TRY(status);
  }
  e->set.n = set;
  return BDL_OK;
}

/* ---- the text ------------------------------------------------------------------------------------------------------------ */

static void constants(const emitter *e, bdl_str *o) {
  for (int64_t k = 0; k < e->m.constants.n; k++) {
    const bdl_export_constant *c = &e->m.constants.v[k];
    bdl_str_addf(o, "#define data_%" PRId64 " ((const %s *)F[%" PRId64 "])\n", k, c->narrow ? "uint16_t" : bdl_export_ctype(c->dtype),
                 own(e->p->plan, BDL_GPU_FIXED) + k);
  }
}

static bdl_status emit(emitter *e) {
  bdl_gpu_program *p = e->p;
  p->constant = bdl_alloc(p->c, (size_t)(p->plan->slots.n + 1) * sizeof *p->constant);
  if (!p->constant) return BDL_ENOMEM;
  for (int64_t k = 0; k < p->plan->slots.n; k++) p->constant[k] = -1;
  TRY(bdl_export_library_new(p->c, false, bdl_cuda_device, &e->m.lib));
  TRY(slots(e));
  TRY(steps(e, &p->plan->block, &p->steps));
  TRY(bdl_export_library_take(e->m.lib, e->m.text.s, e->m.text.n, NULL));
  bdl_str_add(&p->text, bdl_cuda_prelude, (int64_t)strlen(bdl_cuda_prelude));
  bdl_export_library_write(e->m.lib, &p->text);
  constants(e, &p->text);
  bdl_str_add(&p->text, e->m.text.s, e->m.text.n);
  if (p->text.failed || e->m.text.failed) return BDL_ENOMEM;
  p->shared = strstr(p->text.s + strlen(bdl_cuda_prelude), "SHARED") ? SHARED_BYTES : 0;
  return BDL_OK;
}

bdl_status bdl_gpu_emit(bdl_plan *plan, bool timed, bdl_gpu_program *p) {
  bdl_context *c = plan->ctx;
  *p = (bdl_gpu_program){.c = c, .plan = plan, .timed = timed};
  emitter e = {.p = p, .m = {.c = c, .to = &to_cuda, .plan = plan}};
  bdl_str_init(&p->text, c);
  bdl_str_init(&e.m.text, c);
  const bdl_status s = emit(&e);
  const size_t n = (size_t)plan->slots.n + 1;
  p->room = e.m.room;
  memcpy(&p->constants, &e.m.constants, sizeof p->constants);
  memcpy(&p->failures, &e.m.failures, sizeof p->failures);
  p->can_fail = p->failures.n > 0 || p->loops.n > 0;
  bdl_free(c, e.m.dtype, n * sizeof *e.m.dtype);
  bdl_free(c, e.m.at, n * sizeof *e.m.at);
  BDL_VEC_FREE(c, e.touched);
  BDL_VEC_FREE(c, e.set);
  bdl_export_library_free(e.m.lib);
  bdl_str_fini(&e.m.text);
  if (s != BDL_OK) bdl_gpu_program_free(p);
  return s;
}

static void free_steps(bdl_context *c, bdl_gpu_steps *s) {
  for (int64_t k = 0; k < s->n; k++) {
    free_steps(c, &s->v[k].body);
    free_steps(c, &s->v[k].cond);
  }
  BDL_VEC_FREE(c, *s);
}

void bdl_gpu_program_free(bdl_gpu_program *p) {
  for (int64_t k = 0; k < p->constants.n; k++)
    if (p->constants.v[k].own) bdl_free(p->c, (void *)(uintptr_t)p->constants.v[k].data, p->constants.v[k].own);
  bdl_free(p->c, p->constant, (size_t)(p->plan->slots.n + 1) * sizeof *p->constant);
  BDL_VEC_FREE(p->c, p->constants);
  BDL_VEC_FREE(p->c, p->failures);
  BDL_VEC_FREE(p->c, p->loops);
  BDL_VEC_FREE(p->c, p->told);
  free_steps(p->c, &p->steps);
  bdl_str_fini(&p->text);
}

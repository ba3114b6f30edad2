/*
** places.c -- where the values of a plan lie: members of the State, arguments, constants, scratch memory.
*/
#include <stdio.h>
#include <string.h>

#include "export/build.h"

const char *const bdl_export_class_name[BDL_X_CLASSES] = {"f64", "i64", "f32", "i32", "b8"};
const char *const bdl_export_class_ctype[BDL_X_CLASSES] = {"double", "int64_t", "float", "int32_t", "unsigned char"};

static bdl_export_class class_of(bdl_dtype d) {
  static const bdl_export_class of[BDL_DTYPE_COUNT] = {[BDL_BOOL] = BDL_X_B8, [BDL_I32] = BDL_X_I32, [BDL_I64] = BDL_X_I64,
                                                       [BDL_U32] = BDL_X_I32, [BDL_F32] = BDL_X_F32, [BDL_F64] = BDL_X_F64};
  return of[d];
}

const char *bdl_export_ctype(bdl_dtype d) { return d == BDL_U32 ? "uint32_t" : bdl_export_class_ctype[class_of(d)]; }

static int64_t elements(const bdl_exporter *m, int32_t slot) {
  return (int64_t)(m->plan->slots.v[slot].bytes / bdl_dtype_size(m->dtype[slot]));
}

/* ---- the scratch: first fit by decreasing size over lifetimes, in each class */

static void of_kernels(bdl_exporter *m) {
  for (int32_t i = 0; i < m->plan->n_insts; i++) {
    const bdl_inst *inst = m->plan->by_id[i];
    m->may_fail |= bdl_export_can_fail(m, inst);
    for (int32_t k = 0; inst->kind == BDL_I_GROUP && k < inst->group->n_operands; k++) /* tiles are combined as they come */
      if (inst->group->operands[k].kind == BDL_O_PARTIAL) m->count[inst->group->operands[k].ref.slot] = 0;
    for (int32_t k = 0; inst->kind == BDL_I_SCAN && inst->scan.tiled && k < inst->scan.tiled->n_notes; k++) /* steps go one by one */
      m->count[inst->scan.tiled->notes[k].slot] = 0;
    if (inst->kind != BDL_I_KERNEL) continue;
    bdl_dtype d = BDL_BOOL;
    const int64_t n = bdl_export_scratch(m, inst, &d);
    if (inst->kernel.scratch >= 0) m->dtype[inst->kernel.scratch] = d, m->count[inst->kernel.scratch] = n;
    BDL_ASSERT(n == 0 || inst->kernel.scratch >= 0, "a kernel without scratch wants %d elements", (int)n);
  }
}

static bool alive_together(const bdl_exporter *m, int32_t a, int32_t b) {
  const bdl_pslot *x = &m->plan->slots.v[a], *y = &m->plan->slots.v[b];
  return m->shadow[a] || m->shadow[b] || (x->first <= y->last && y->first <= x->last);
}

static bdl_status lay_out(bdl_exporter *m) {
  BDL_VEC(int32_t) order = {0};
  bdl_status s = BDL_OK;
  for (int32_t k = 0; k < m->plan->slots.n && s == BDL_OK; k++)
    if (m->count[k] > 0 && !BDL_PUSH(m->c, order, k)) s = BDL_ENOMEM;
  for (int64_t i = 1; i < order.n; i++) /* insertion sort, largest first */
    for (int64_t j = i; j > 0 && m->count[order.v[j]] > m->count[order.v[j - 1]]; j--) {
      const int32_t t = order.v[j];
      order.v[j] = order.v[j - 1], order.v[j - 1] = t;
    }
  for (int64_t i = 0; i < order.n && s == BDL_OK; i++) {
    const int32_t a = order.v[i];
    const bdl_export_class x = class_of(m->dtype[a]);
    int64_t at = 0;
    for (int64_t j = 0; j < i;) { /* move up past whatever is in the way, then look again */
      const int32_t b = order.v[j];
      const bool clash = class_of(m->dtype[b]) == x && alive_together(m, a, b) && at < m->at[b] + m->count[b] &&
                         m->at[b] < at + m->count[a];
      if (clash) at = m->at[b] + m->count[b], j = 0;
      else j++;
    }
    m->at[a] = at;
    m->scratch[x] = BDL_MAX(m->scratch[x], at + m->count[a]);
  }
  BDL_VEC_FREE(m->c, order);
  return s;
}

bdl_status bdl_export_places(bdl_exporter *m, const bdl_export_fn *fn) {
  const bdl_plan *plan = fn->plan;
  const size_t n = (size_t)plan->slots.n + 1;
  m->fn = fn;
  m->plan = plan;
  m->may_fail = false;
  m->dtype = bdl_calloc(m->c, n * sizeof *m->dtype);
  m->count = bdl_calloc(m->c, n * sizeof *m->count);
  m->at = bdl_calloc(m->c, n * sizeof *m->at);
  m->shadow = bdl_calloc(m->c, n);
  if (!m->dtype || !m->count || !m->at || !m->shadow) return BDL_ENOMEM;
  for (int32_t k = 0; k < plan->slots.n; k++) m->dtype[k] = plan->slots.v[k].dtype;
  for (int32_t k = 0; k < plan->slots.n; k++)
    if (plan->slots.v[k].kind == BDL_S_ARENA && plan->slots.v[k].first >= 0) m->count[k] = elements(m, k);
  of_kernels(m);
  for (int32_t k = 0; k < plan->n_out; k++) { /* a State that the function reads keeps its value until nothing can fail */
    const int32_t leaf = ~fn->out[k], slot = plan->n_in + k;
    bool read = false;
    if (leaf < 0) continue;
    for (int32_t i = 0; i < plan->n_in; i++) read |= fn->in[i] == ~leaf;
    m->shadow[slot] = m->may_fail || (read && !plan->replaces[k]);
    if (m->shadow[slot]) m->count[slot] = elements(m, slot);
  }
  return lay_out(m);
}

void bdl_export_places_free(bdl_exporter *m) {
  if (!m->plan) return;
  const size_t n = (size_t)m->plan->slots.n + 1;
  bdl_free(m->c, m->dtype, n * sizeof *m->dtype);
  bdl_free(m->c, m->count, n * sizeof *m->count);
  bdl_free(m->c, m->at, n * sizeof *m->at);
  bdl_free(m->c, m->shadow, n);
  m->dtype = NULL, m->count = m->at = NULL, m->shadow = NULL, m->plan = NULL;
}

/* ---- constants */

bdl_status bdl_export_constant_of(bdl_exporter *m, bdl_dtype d, int64_t n, const void *data, bool narrow, bool own, int32_t *k) {
  const size_t bytes = (size_t)n * bdl_dtype_size(d);
  bdl_export_constant a = {.dtype = d, .narrow = narrow, .n = n, .data = data};
  for (*k = 0; *k < m->constants.n; ++*k) {
    const bdl_export_constant *b = &m->constants.v[*k];
    if (b->dtype == d && b->narrow == narrow && b->n == n && (b->data == data || memcmp(b->data, data, bytes) == 0)) return BDL_OK;
  }
  if (own) {
    void *copy = bdl_alloc(m->c, bytes + 1);
    if (!copy) return BDL_ENOMEM;
    memcpy(copy, data, bytes);
    a.data = copy;
    a.own = bytes + 1;
  }
  if (BDL_PUSH(m->c, m->constants, a)) return BDL_OK;
  if (own) bdl_free(m->c, (void *)a.data, a.own);
  return BDL_ENOMEM;
}

/* The leaf that lies in a slot for ever; -1: none. */
static int32_t fixed_leaf(const bdl_exporter *m, int32_t slot) {
  const bdl_pslot *s = &m->plan->slots.v[slot];
  const int32_t leaf = s->kind == BDL_S_INPUT ? ~m->fn->in[s->index] : -1;
  return leaf >= 0 && !m->x->leaves[leaf].written ? leaf : -1;
}

static const void *known(const bdl_exporter *m, bdl_ref r) {
  const bdl_pslot *s = &m->plan->slots.v[r.slot];
  const int32_t leaf = fixed_leaf(m, r.slot);
  const void *data = leaf >= 0 ? m->x->leaves[leaf].data : s->kind == BDL_S_CONST ? s->data
                     : s->kind == BDL_S_LITERAL ? (const void *)&s->literal : NULL;
  return data ? (const char *)data + r.offset : NULL;
}

/* ---- pointers */

static bool is_const(const bdl_exporter *m, int32_t slot) {
  slot = bdl_plan_base(m->plan, slot);
  const bdl_pslot *s = &m->plan->slots.v[slot];
  switch (s->kind) {
    case BDL_S_INPUT: return m->fn->in[s->index] >= 0 || fixed_leaf(m, slot) >= 0;
    case BDL_S_CONST: case BDL_S_LITERAL: return true;
    default: return false;
  }
}

static bdl_status place(bdl_exporter *m, bdl_ref r, char buf[BDL_EXPORT_PLACE]) {
  const bdl_pslot *s = &m->plan->slots.v[r.slot];
  const bdl_dtype d = m->dtype[r.slot];
  int64_t offset = r.offset / (int64_t)bdl_dtype_size(d);
  int32_t k, at = -1;
  bool in_scratch = s->kind == BDL_S_ARENA || m->shadow[r.slot];
  if (s->kind == BDL_S_INPUT) at = m->fn->in[s->index];
  if (s->kind == BDL_S_OUTPUT) at = m->fn->out[s->index];
  const bdl_export_class x = class_of(d);
  int n = 0;
  if (in_scratch) {
    offset += m->at[r.slot];
    n = snprintf(buf, BDL_EXPORT_PLACE, d == BDL_U32 ? "(uint32_t *)w->%s" : "w->%s", bdl_export_class_name[x]);
  } else if (s->kind == BDL_S_CONST || s->kind == BDL_S_LITERAL) {
    const void *data = s->kind == BDL_S_CONST ? s->data : (const void *)&s->literal;
    TRY(bdl_export_constant_of(m, d, elements(m, r.slot), data, false, false, &k));
    n = snprintf(buf, BDL_EXPORT_PLACE, "data_%" PRId32, k);
  } else if (s->kind == BDL_S_MOVING || s->kind == BDL_S_ROW) {
    n = snprintf(buf, BDL_EXPORT_PLACE, "m%" PRId32, r.slot);
  } else if (at < 0) {
    const bdl_export_leaf *leaf = &m->x->leaves[~at];
    n = snprintf(buf, BDL_EXPORT_PLACE, leaf->written ? "s->%s" : "fixed_%s", leaf->value.name);
  } else {
    const bdl_export_value *v = s->kind == BDL_S_INPUT ? &m->fn->args[at] : &m->fn->results[at];
    n = snprintf(buf, BDL_EXPORT_PLACE, "%s_%s", s->kind == BDL_S_INPUT ? "in" : "out", v->name);
  }
  if (n > BDL_EXPORT_PLACE - 32) return bdl_fail(m->c, BDL_EVALUE, "export: the name '%.40s..' is too long", buf);
  if (offset) snprintf(buf + n, (size_t)(BDL_EXPORT_PLACE - n), " + %" PRId64, offset);
  return BDL_OK;
}

const bdl_export_target bdl_export_to_c99 = {.place = place, .known = known, .is_const = is_const, .group = bdl_export_group,
                                             .kernel = bdl_export_kernel};

bdl_status bdl_export_place_text(bdl_exporter *m, bdl_ref r, char buf[BDL_EXPORT_PLACE]) { return m->to->place(m, r, buf); }
const void *bdl_export_known(const bdl_exporter *m, bdl_ref r) { return m->to->known(m, r); }
bool bdl_export_is_const(const bdl_exporter *m, int32_t slot) { return m->to->is_const(m, slot); }

bdl_status bdl_export_place(bdl_exporter *m, bdl_ref r) {
  char buf[BDL_EXPORT_PLACE];
  TRY(bdl_export_place_text(m, r, buf));
  BDL_ADD("%s", buf);
  return BDL_OK;
}

bdl_status bdl_export_failure_of(bdl_exporter *m, bdl_status status, bdl_src src, const char *what, int64_t *number) {
  const bdl_export_failure f = {.status = status, .src = src, .what = what};
  for (*number = 1; *number <= m->failures.n; ++*number) {
    const bdl_export_failure *g = &m->failures.v[*number - 1];
    if (!g->again && g->src.file == src.file && g->src.line == src.line && strcmp(g->what, what) == 0) return BDL_OK;
  }
  return BDL_PUSH(m->c, m->failures, f) ? BDL_OK : BDL_ENOMEM;
}

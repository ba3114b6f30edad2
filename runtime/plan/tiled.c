/*
** tiled.c -- loops that may go tile by tile.
**
** Where nothing couples the elements of a group from step to step, a tile can make many steps while it is in cache, and threads
** need not meet after each step:
**
**     step by step     each step:   first ..   group: all tiles   after ..
**     tile by tile     each step:   first ..;  each tile: each step: group;  each step: after ..
**
** `first` are the instructions that do not depend on the group, `after` the others.  Asked for is, of slots:
**   1. what the group writes of arrays, nobody else touches, and itself reads the element that it writes; but rows of stacked
**      operands and results, which are each step's own, others may read afterwards; and what copies some elements to such a row,
**      as a recorded neuron, goes along with the tiles
**   2. what it reads else, neither it nor `after` writes; what `first` writes are single values, noted at each step
**   3. `after` reads nothing of `first`
** Values of a step then live as long as the loop.
*/
#include <string.h>

#include "plan/build.h"

/* Element operations at a time: not more than a tenth of a second, after which a loop may be interrupted. */
enum { WORK = 1 << 29, MOST_STEPS = 256 };

enum { READ = 1, WRITE = 2 };

typedef struct tiler {
  bdl_planner *pl;
  const bdl_inst *scan;
  const bdl_block *body;
  int32_t main;
  uint8_t *of_main; /* by slot: what the group does with it */
  bool *after;      /* by slot: written by the group or by what comes after it */
  bool *first, *taken; /* by instruction of the body */
  bool *noted;      /* by slot: written by what comes first */
} tiler;

typedef void (*visit)(void *ud, bdl_ref r, int how);

static const struct bdl_moving *moving_at(const tiler *l, int32_t slot) {
  for (int32_t k = 0; k < l->scan->scan.n_moving; k++)
    if (l->scan->scan.moving[k].slot == slot) return &l->scan->scan.moving[k];
  return NULL;
}

/* The row that a step finds of a carry that stays in its rows, as the one that the step before made. */
static bdl_ref made_at(const tiler *l, bdl_ref r) {
  const struct bdl_moving *m = moving_at(l, r.slot);
  return m && m->next >= 0 ? (bdl_ref){m->next, r.offset} : r;
}

static void visit_group(const tiler *l, const bdl_group *g, visit f, void *ud) {
  for (int32_t k = 0; k < g->n_insts; k++) {
    const bdl_tile_inst *t = &g->insts[k];
    const bool root = bdl_tile_is_root(t);
    const int32_t operand[] = {t->z, t->x, t->y, t->w};
    for (int j = 0; j < 4; j++)
      if (bdl_group_in_memory(g, operand[j]) && !(t->kind == BDL_T_LOAD && j > 0))
        f(ud, made_at(l, g->operands[operand[j]].ref), j == 0 || (root && j == 2) ? WRITE : READ);
    if (t->kind == BDL_T_LOAD) f(ud, made_at(l, t->load->ref), READ);
  }
}

static void visit_inst(const tiler *l, const bdl_inst *i, visit f, void *ud) {
  if (i->kind == BDL_I_GROUP) visit_group(l, i->group, f, ud);
  else if (i->kind == BDL_I_COPY) f(ud, made_at(l, i->copy.src), READ), f(ud, i->copy.dst, WRITE);
  else {
    for (int32_t k = 0; k < i->kernel.n_in; k++) f(ud, made_at(l, i->kernel.in[k]), READ);
    for (int32_t k = 0; k < i->kernel.n_out; k++) f(ud, i->kernel.out[k], READ | WRITE);
    if (i->kernel.scratch >= 0) f(ud, (bdl_ref){i->kernel.scratch, 0}, READ | WRITE);
  }
}

/* ---- which group, which instructions first ---------------------------------------------------------------- */

/* The group with most work; -1: there is none, or an instruction that cannot be moved. */
static int32_t choose(const bdl_block *b) {
  int32_t best = -1;
  for (int32_t k = 0; k < b->n; k++) {
    const bdl_inst *i = &b->v[k];
    if (i->kind == BDL_I_KERNEL ? bdl_plan_can_fail(i->prim) : i->kind != BDL_I_GROUP && i->kind != BDL_I_COPY) return -1;
    if (i->kind != BDL_I_GROUP) continue;
    const bdl_group *g = i->group, *than = best < 0 ? NULL : b->v[best].group;
    if (!than || g->n * g->n_insts > than->n * than->n_insts) best = k;
  }
  return best >= 0 && !b->v[best].group->serial && b->v[best].group->n > 0 ? best : -1;
}

static void note_main(void *ud, bdl_ref r, int how) {
  tiler *l = ud;
  l->of_main[r.slot] |= (uint8_t)how;
  l->after[r.slot] |= (how & WRITE) != 0;
}

typedef struct dependence {
  tiler *l;
  bool found;
} dependence;

static void depends(void *ud, bdl_ref r, int how) {
  dependence *d = ud;
  (void)how;
  d->found |= d->l->after[r.slot];
}

static void spread(void *ud, bdl_ref r, int how) {
  if (how & WRITE) ((tiler *)ud)->after[r.slot] = true;
}

/* What reads or writes what depends on the group, depends on it. */
static void divide(tiler *l) {
  for (int32_t k = 0; k < l->body->n; k++) l->first[k] = k != l->main;
  for (bool more = true; more;) {
    more = false;
    for (int32_t k = 0; k < l->body->n; k++) {
      dependence d = {l, false};
      if (!l->first[k]) continue;
      visit_inst(l, &l->body->v[k], depends, &d);
      if (!d.found) continue;
      l->first[k] = false;
      visit_inst(l, &l->body->v[k], spread, l);
      more = true;
    }
  }
}

static void note_first(void *ud, bdl_ref r, int how) {
  if (how & WRITE) ((tiler *)ud)->noted[r.slot] = true;
}

/* ---- conditions ------------------------------------------------------------------------------------------------ */

typedef struct verdict {
  const tiler *l;
  bool before; /* in the body, does the instruction stand before the group? */
  bool ok;
} verdict;

/* Of 1: what others do with arrays that the group writes; nor do they read, behind its back, the memory of which it has rows. */
static void by_others(void *ud, bdl_ref r, int how) {
  verdict *v = ud;
  const tiler *l = v->l;
  const bdl_group *g = l->body->v[l->main].group;
  if ((l->of_main[r.slot] & WRITE) && (v->before || (how & WRITE) || !moving_at(l, r.slot)))
    for (int32_t h = 0; h < g->n_operands; h++)
      if (g->operands[h].kind == BDL_O_ARRAY && g->operands[h].ref.slot == r.slot) v->ok = false;
  for (int32_t k = 0; k < l->scan->scan.n_moving; k++) v->ok &= l->scan->scan.moving[k].base.slot != r.slot;
}

/* Copies of what the group makes to a row. */
static bool is_taken(const tiler *l, int32_t k) {
  const bdl_inst *i = &l->body->v[k];
  const bdl_group *g = l->body->v[l->main].group;
  if (i->kind != BDL_I_COPY || k < l->main || !moving_at(l, i->copy.dst.slot) || (l->of_main[i->copy.dst.slot] & WRITE)) return false;
  for (int32_t j = 0; j < g->n_insts; j++) {
    const bdl_operand *z = &g->operands[g->insts[j].z];
    if (z->kind == BDL_O_ARRAY && z->ref.slot == i->copy.src.slot)
      return i->copy.src.offset >= z->ref.offset && i->copy.src.offset + (int64_t)i->copy.bytes <= z->ref.offset + g->n * z->size;
  }
  return false;
}

/* 3 */
static void of_first(void *ud, bdl_ref r, int how) {
  verdict *v = ud;
  if ((how & READ) && v->l->noted[r.slot] && !moving_at(v->l, r.slot)) v->ok = false;
}

static bool same(bdl_ref a, bdl_ref b) { return a.slot == b.slot && a.offset == b.offset; }

/* Is r what the group writes, element by element? */
static bool own(const bdl_group *g, bdl_ref r, int32_t size) {
  for (int32_t k = 0; k < g->n_insts; k++) {
    const bdl_operand *z = &g->operands[g->insts[k].z];
    if (z->kind != BDL_O_REG && z->ref.slot == r.slot && (z->kind != BDL_O_ARRAY || !same(z->ref, r) || z->size != size)) return false;
    if ((g->insts[k].kind == BDL_T_REDUCE) && g->operands[g->insts[k].y].ref.slot == r.slot) return false;
  }
  return true;
}

/* 2, and of 1 what the group itself does */
static bool reads_well(const tiler *l, bdl_ref r, bool element, int32_t size) {
  const bdl_group *g = l->body->v[l->main].group;
  for (int32_t k = 0; k < l->scan->scan.n_moving; k++)
    if (l->scan->scan.moving[k].base.slot == r.slot) return false;
  if (l->of_main[r.slot] & WRITE) return element && own(g, r, size);
  if (moving_at(l, r.slot)) return !l->after[r.slot] && !l->noted[r.slot];
  return !l->after[r.slot];
}

static bool group_reads_well(const tiler *l) {
  const bdl_group *g = l->body->v[l->main].group;
  for (int32_t k = 0; k < g->n_insts; k++) {
    const bdl_tile_inst *t = &g->insts[k];
    if (t->kind == BDL_T_LOAD) {
      if (l->noted[t->load->ref.slot] || !reads_well(l, made_at(l, t->load->ref), false, t->load->size)) return false;
      continue;
    }
    const int32_t operand[] = {t->x, t->kind == BDL_T_REDUCE ? g->n_operands : t->y, t->w};
    for (int j = 0; j < 3; j++) {
      if (operand[j] >= g->n_operands) continue;
      const bdl_operand *o = &g->operands[operand[j]];
      if (o->kind == BDL_O_REG) continue;
      if (o->kind == BDL_O_ARRAY && l->noted[o->ref.slot]) return false;
      if (!reads_well(l, made_at(l, o->ref), o->kind == BDL_O_ARRAY, o->size)) return false;
    }
  }
  return true;
}

static bool allowed(const tiler *l) {
  verdict v = {l, true, true};
  for (int32_t k = 0; k < l->body->n; k++) {
    if (k == l->main) continue;
    v.before = k < l->main;
    l->taken[k] = is_taken(l, k);
    if (!l->taken[k]) visit_inst(l, &l->body->v[k], by_others, &v);
    if (!l->first[k]) visit_inst(l, &l->body->v[k], of_first, &v);
  }
  return v.ok && group_reads_well(l);
}

/* ---- what it needs ------------------------------------------------------------------------------------------------ */

/* Bytes of operand j of t, a single value: keys of random bits are several. */
static int64_t value_bytes(const tiler *l, const bdl_group *g, const bdl_tile_inst *t, int j, int32_t h) {
  if (t->kind != BDL_T_OP || t->op != BDL_TILE_random_bits || j > 0) return g->operands[h].size;
  return (int64_t)l->pl->plan->slots.v[g->operands[h].ref.slot].bytes - g->operands[h].ref.offset;
}

static bdl_status add_notes(tiler *l, bdl_tiled *d) {
  const bdl_group *g = l->body->v[l->main].group;
  d->notes = bdl_arena_alloc(&l->pl->plan->arena, (size_t)(g->n_operands + 1) * sizeof *d->notes);
  if (!d->notes) return BDL_ENOMEM;
  for (int32_t k = 0; k < g->n_insts; k++) {
    const bdl_tile_inst *t = &g->insts[k];
    const int32_t operand[] = {t->x, t->y, t->w};
    if (t->kind != BDL_T_OP) continue;
    for (int j = 0; j < 3; j++) {
      if (operand[j] >= g->n_operands || g->operands[operand[j]].kind != BDL_O_SCALAR) continue;
      const bdl_ref r = g->operands[operand[j]].ref;
      if (!l->noted[r.slot]) continue;
      int32_t at = 0;
      while (at < d->n_notes && !same(d->notes[at].from, r)) at++;
      struct bdl_note *note = &d->notes[at];
      if (at == d->n_notes) {
        *note = (struct bdl_note){.from = r};
        TRY(bdl_slot_new(l->pl, BDL_S_ARENA, BDL_BOOL, 0, &note->slot));
        bdl_slot_touch(l->pl, note->slot);
        d->n_notes++;
      }
      note->bytes = BDL_MAX(note->bytes, value_bytes(l, g, t, j, operand[j]));
      l->pl->plan->slots.v[note->slot].bytes = (size_t)(note->bytes * d->steps);
    }
  }
  return BDL_OK;
}

static void keep(tiler *l, const bdl_tiled *d, int32_t begin) {
  const bdl_group *g = l->body->v[l->main].group;
  for (int32_t k = 0; k < g->n_insts; k++)
    if (g->insts[k].kind == BDL_T_REDUCE) l->pl->plan->slots.v[g->operands[g->insts[k].z].ref.slot].bytes *= (size_t)d->steps;
  for (int64_t k = 0; k < l->pl->plan->slots.n; k++) {
    bdl_pslot *s = &l->pl->plan->slots.v[k];
    if (s->first >= begin) s->first = begin, s->last = l->pl->position;
  }
}

bdl_status bdl_plan_tiled(bdl_planner *pl, bdl_inst *scan, int32_t begin) {
  bdl_plan *plan = pl->plan;
  const size_t n = (size_t)plan->slots.n + 1;
  tiler l = {.pl = pl, .scan = scan, .body = &scan->scan.body, .main = choose(&scan->scan.body)};
  if (l.main < 0 || plan->ctx->unfused) return BDL_OK;
  const bdl_group *g = l.body->v[l.main].group;
  const int64_t steps = BDL_MIN(BDL_MIN(scan->scan.length, MOST_STEPS), WORK / (g->n * BDL_MAX(g->n_insts, 1)));
  if (steps < 2) return BDL_OK;
  l.first = bdl_arena_alloc(&plan->arena, 2 * (size_t)l.body->n);
  l.of_main = bdl_calloc(plan->ctx, 3 * n);
  if (!l.first || !l.of_main) return BDL_ENOMEM;
  l.taken = l.first + l.body->n;
  l.after = (bool *)l.of_main + n;
  l.noted = l.after + n;
  bdl_status s = BDL_OK;
  visit_inst(&l, &l.body->v[l.main], note_main, &l);
  divide(&l);
  for (int32_t k = 0; k < l.body->n; k++)
    if (l.first[k]) visit_inst(&l, &l.body->v[k], note_first, &l);
  if (allowed(&l)) {
    bdl_tiled *d = bdl_arena_alloc(&plan->arena, sizeof *d);
    s = d ? BDL_OK : BDL_ENOMEM;
    if (d) {
      *d = (bdl_tiled){.group = l.main, .steps = steps, .first = l.first, .taken = l.taken};
      s = add_notes(&l, d);
      if (s == BDL_OK) keep(&l, d, begin);
      scan->scan.tiled = d;
    }
  }
  bdl_free(plan->ctx, l.of_main, 3 * n);
  return s;
}

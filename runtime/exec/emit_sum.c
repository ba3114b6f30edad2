/*
** emit_sum.c -- reductions in the loop that makes their elements.
**
** The tile kernels reduce in a fixed order.  Where any order gives these bits, the loop keeps a variable for each reduction and the
** compiler may take vectors of partial results: integers, bools, and sums of floats that are whole and so few and small that every
** partial sum is exact, as the number of spikes is.
*/
#include "exec/emit_group.h"

#define ADD(...) bdl_str_addf(&m->e->text, __VA_ARGS__)

/* BDL_TILE numbers up to WHOLE: every sum is below 2^24, which f32 has exactly. */
enum { WHOLE = (1 << 24) / BDL_TILE };

typedef struct range {
  bool whole;
  int64_t lo, hi;
} range;

static const range UNKNOWN = {false, 0, 0};

static range between(int64_t lo, int64_t hi) { return lo < -WHOLE || hi > WHOLE ? UNKNOWN : (range){true, lo, hi}; }

/* -0 is no whole number here: its sum with nothing is -0. */
static range of_scalar(const bdl_emitter *m, int32_t h, bdl_dtype d) {
  const bdl_pslot *s = &m->plan->slots.v[bdl_emit_operand(m, h)->ref.slot];
  if (bdl_emit_operand(m, h)->kind != BDL_O_SCALAR || s->kind != BDL_S_LITERAL || !bdl_dtype_is_float(d)) return UNKNOWN;
  const double x = bdl_scalar_to_f64(d, s->literal);
  if (!(x >= -WHOLE && x <= WHOLE) || x != (double)(int32_t)x || (x == 0 && __builtin_signbit(x))) return UNKNOWN;
  return between((int32_t)x, (int32_t)x);
}

static range of_operand(const bdl_emitter *m, int32_t k, int j) {
  const bdl_tile_inst *t = &m->g->insts[k];
  const int32_t s = m->v[k].src[j];
  if (s < 0) return of_scalar(m, bdl_tile_operand(t, j), bdl_tile_dtype(t, j));
  if (m->v[s].how == BDL_E_SPLAT) return of_scalar(m, m->g->insts[s].x, (bdl_dtype)m->g->insts[s].dtype);
  return (range){m->v[s].whole, m->v[s].lo, m->v[s].hi};
}

static range sum(range x, range y) { return x.whole && y.whole ? between(x.lo + y.lo, x.hi + y.hi) : UNKNOWN; }
static range difference(range x, range y) { return x.whole && y.whole ? between(x.lo - y.hi, x.hi - y.lo) : UNKNOWN; }
/* 0 times what is below 0 is -0. */
static range product(range x, range y) {
  return x.whole && y.whole && x.lo >= 0 && y.lo >= 0 ? between(x.lo * y.lo, x.hi * y.hi) : UNKNOWN;
}
static range either(range x, range y) {
  return x.whole && y.whole ? between(BDL_MIN(x.lo, y.lo), BDL_MAX(x.hi, y.hi)) : UNKNOWN;
}

/* op: add, sub, mul as 0, 1, 2, the order of pairs in tile_ops.def. */
static range arithmetic(int op, range x, range y) { return op == 0 ? sum(x, y) : op == 1 ? difference(x, y) : product(x, y); }

static range of_value(const bdl_emitter *m, int32_t k) {
  const bdl_tile_inst *t = &m->g->insts[k];
  if (t->kind != BDL_T_OP || !bdl_dtype_is_float((bdl_dtype)t->result)) return UNKNOWN;
  if (t->op >= BDL_TILE_add_add && t->op <= BDL_TILE_mul_mul_r) {
    const int pair = t->op - BDL_TILE_add_add, second = pair / 2 % 3;
    const range first = arithmetic(pair / 6, of_operand(m, k, 0), of_operand(m, k, 1)), w = of_operand(m, k, 2);
    return pair & 1 ? arithmetic(second, w, first) : arithmetic(second, first, w);
  }
  switch (t->op) {
    case BDL_TILE_cast: return t->dtype == BDL_BOOL ? between(0, 1) : t->dtype == BDL_F32 || t->dtype == BDL_F64 ? of_operand(m, k, 0) : UNKNOWN;
    case BDL_TILE_copy: case BDL_TILE_stop_gradient: return of_operand(m, k, 0);
    case BDL_TILE_add: return sum(of_operand(m, k, 0), of_operand(m, k, 1));
    case BDL_TILE_sub: return difference(of_operand(m, k, 0), of_operand(m, k, 1));
    case BDL_TILE_mul: return product(of_operand(m, k, 0), of_operand(m, k, 1));
    case BDL_TILE_max: case BDL_TILE_min: return either(of_operand(m, k, 0), of_operand(m, k, 1));
    case BDL_TILE_select: return either(of_operand(m, k, 1), of_operand(m, k, 2));
    default: return UNKNOWN;
  }
}

void bdl_emit_note_range(bdl_emitter *m, int32_t k) {
  const range r = of_value(m, k);
  m->v[k].whole = r.whole;
  m->v[k].lo = (int32_t)r.lo, m->v[k].hi = (int32_t)r.hi;
}

bool bdl_emit_any_order(const bdl_emitter *m, int32_t k) {
  const bdl_tile_inst *t = &m->g->insts[k];
  if (t->kind != BDL_T_REDUCE) return false;
  return !bdl_dtype_is_float((bdl_dtype)t->dtype) || (t->op == BDL_RED_SUM && of_operand(m, k, 0).whole);
}

/* ---- text ---------------------------------------------------------------------------------------------- */

static const char *const names[BDL_RED_COUNT] = {"sum", "prod", "max", "min", "and", "or"};

/* Floats that are whole, and bools, are reduced as i32: of which compilers make vectors. */
static bool as_i32(const bdl_tile_inst *t) { return t->dtype == BDL_BOOL || bdl_dtype_is_float((bdl_dtype)t->dtype); }
static bool is_and(const bdl_tile_inst *t) { return t->dtype == BDL_BOOL && (t->op == BDL_RED_AND || t->op == BDL_RED_MIN); }

void bdl_emit_sum_begin(bdl_emitter *m, int32_t k) {
  const bdl_tile_inst *t = &m->g->insts[k];
  if (as_i32(t)) ADD("    int32_t v%" PRId32 " = %d;\n", k, is_and(t));
  else ADD("    %s v%" PRId32 " = k_identity_%s_%s();\n", bdl_emit_ctype((bdl_dtype)t->dtype), k, names[t->op], bdl_emit_code((bdl_dtype)t->dtype));
}

void bdl_emit_sum_add(bdl_emitter *m, int32_t k) {
  const bdl_tile_inst *t = &m->g->insts[k];
  if (as_i32(t)) {
    ADD("      v%" PRId32 " %s (int32_t)", k, is_and(t) ? "&=" : t->dtype == BDL_BOOL ? "|=" : "+=");
    bdl_emit_element(m, k, 0);
    ADD(";\n");
  } else {
    ADD("      v%" PRId32 " = k_reduce_%s_%s(v%" PRId32 ", ", k, names[t->op], bdl_emit_code((bdl_dtype)t->dtype), k);
    bdl_emit_element(m, k, 0);
    ADD(");\n");
  }
}

void bdl_emit_sum_end(bdl_emitter *m, int32_t k) {
  const char *type = bdl_emit_memory((bdl_dtype)m->g->insts[k].dtype);
  ADD("    *(%s *)(", type);
  bdl_emit_partial(m, k);
  ADD(") = (%s)v%" PRId32 ";\n", type, k);
}

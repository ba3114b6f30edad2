/*
** rings.c -- random loops and steps over an array of which they read and write rows that numbers choose.
*/
#include "rings.h"

#include <stdint.h>

#include "../ir/text.h"
#include "../support/random.h"
#include "programs.h"

enum { ROWS = 5, TABLE = 7, WIDTH = 96, LEN = 9, OPS = 14, POOL = 64 };
enum { AT, RING, VALUE, CARRY };

typedef struct gen {
  bdl_context *c;
  bdl_prog *p;
  uint64_t rng;
  bdl_atom vector[POOL], number[POOL]; /* f32[WIDTH]; i32[] */
  int vectors, numbers;
  bdl_atom table, ring;
} gen;

static int below(gen *g, int n) { return (int)(t_random(&g->rng) % (uint64_t)n); }
static bdl_atom some(gen *g) { return g->vector[below(g, g->vectors)]; }
static bdl_atom number(gen *g) { return g->number[below(g, g->numbers)]; }

static bdl_atom bind(gen *g, bdl_prim_id prim, const bdl_param *params, const bdl_atom *in, int n) {
  bdl_atom z;
  t_check(g->c, bdl_bind(g->p, prim, params, in, n, &z));
  return z;
}

static bdl_atom reshape(gen *g, bdl_atom x, int n, const int64_t *shape) {
  t_check(g->c, bdl_ir_reshape(g->p, x, n, shape, &x));
  return x;
}

/* One row, or one of several, of the ring as it is now, or of the table. */
static bdl_atom read_row(gen *g) {
  const bool table = below(g, 3) == 0;
  const int64_t rows = 1 + (below(g, 3) == 0), sizes[2] = {rows, WIDTH}, start[2] = {rows - 1, 0}, stop[2] = {rows, WIDTH}, step[2] = {1, 1};
  bdl_atom zero, x;
  t_check(g->c, bdl_ir_literal(g->p, BDL_I32, (bdl_scalar){.i32 = 0}, &zero));
  x = bind(g, BDL_P_dynamic_slice, (bdl_param[]){bdl_pints(sizes, 2)}, (bdl_atom[]){table ? g->table : g->ring, number(g), zero}, 3);
  if (rows > 1) x = bind(g, BDL_P_slice, (bdl_param[]){bdl_pints(start, 2), bdl_pints(stop, 2), bdl_pints(step, 2)}, &x, 1);
  return reshape(g, x, 1, (int64_t[]){WIDTH});
}

static void write_row(gen *g) {
  bdl_atom zero;
  t_check(g->c, bdl_ir_literal(g->p, BDL_I32, (bdl_scalar){.i32 = 0}, &zero));
  const bdl_atom u = reshape(g, some(g), 2, (int64_t[]){1, WIDTH});
  g->ring = bind(g, BDL_P_dynamic_update_slice, NULL, (bdl_atom[]){g->ring, u, number(g), zero}, 4);
}

static void grow(gen *g) {
  static const bdl_prim_id unary[] = {BDL_P_neg, BDL_P_tanh, BDL_P_floor, BDL_P_abs}, binary[] = {BDL_P_add, BDL_P_sub, BDL_P_mul, BDL_P_max};
  const int64_t axis = 0;
  bdl_atom z;
  switch (below(g, 10)) {
    case 0: case 1: z = bind(g, unary[below(g, 4)], NULL, (bdl_atom[]){some(g)}, 1); break;
    case 2: case 3: z = bind(g, binary[below(g, 4)], NULL, (bdl_atom[]){some(g), some(g)}, 2); break;
    case 4: case 5: z = read_row(g); break;
    case 6: write_row(g); return;
    case 7: z = bind(g, BDL_P_cumsum, (bdl_param[]){bdl_pint(0), bdl_pint(0)}, (bdl_atom[]){some(g)}, 1); break;
    case 8: z = bind(g, BDL_P_reverse, (bdl_param[]){bdl_pints(&axis, 1)}, (bdl_atom[]){some(g)}, 1); break;
    default: /* a number that hangs on values, perhaps no row's */
      z = bind(g, BDL_P_argmax, (bdl_param[]){bdl_pint(0)}, (bdl_atom[]){some(g)}, 1);
      t_check(g->c, bdl_ir_cast(g->p, z, BDL_I32, &z));
      z = bind(g, BDL_P_sub, NULL, (bdl_atom[]){z, number(g)}, 2);
      if (g->numbers < POOL) g->number[g->numbers++] = z;
      return;
  }
  if (g->vectors < POOL) g->vector[g->vectors++] = z;
}

/* table, place, ring, value -> the last three, and two vectors more */
static bdl_prog *step(bdl_context *c, uint64_t seed) {
  const bdl_aval types[] = {bdl_aval_make(BDL_F32, 2, (int64_t[]){TABLE, WIDTH}), bdl_aval_make(BDL_I32, 0, NULL),
                            bdl_aval_make(BDL_F32, 2, (int64_t[]){ROWS, WIDTH}), bdl_aval_make(BDL_F32, 1, (int64_t[]){WIDTH})};
  gen g = {.c = c, .rng = seed, .vectors = 1, .numbers = 2};
  bdl_atom one, at, out[CARRY + 2];
  t_check(c, bdl_prog_new(c, "step", &g.p));
  t_check(c, bdl_ir_input(g.p, &types[0], &g.table));
  t_check(c, bdl_ir_input(g.p, &types[1], &at));
  t_check(c, bdl_ir_input(g.p, &types[2], &g.ring));
  t_check(c, bdl_ir_input(g.p, &types[3], &g.vector[0]));
  t_check(c, bdl_ir_literal(g.p, BDL_I32, (bdl_scalar){.i32 = 1}, &one));
  g.number[0] = at;
  g.number[1] = bind(&g, BDL_P_add, NULL, (bdl_atom[]){at, one}, 2);
  for (int k = 0; k < OPS; k++) grow(&g);
  if (seed % 2) write_row(&g);
  out[AT] = below(&g, 4) ? g.number[1] : at;
  out[RING] = g.ring;
  out[VALUE] = bind(&g, BDL_P_tanh, NULL, (bdl_atom[]){g.vector[g.vectors - 1]}, 1);
  out[CARRY] = some(&g);
  out[CARRY + 1] = read_row(&g);
  t_check(c, bdl_prog_set_outputs(g.p, out, CARRY + 2));
  return g.p;
}

bdl_prog *t_random_rings(bdl_context *c, uint64_t seed, int32_t pair[T_RING_OUT]) {
  for (int k = 0; k < T_RING_OUT; k++) pair[k] = k < CARRY ? k + 1 : -1;
  bdl_prog *body = step(c, seed), *p;
  bdl_atom in[T_RING_IN], out[T_RING_OUT];
  if (seed % 5 == 0) return body;
  t_check(c, bdl_prog_new(c, "rings", &p));
  for (int k = 0; k < T_RING_IN; k++) t_check(c, bdl_ir_input(p, bdl_aval_of(body, body->inputs.v[k]), &in[k]));
  const bdl_param params[5] = {bdl_pint(1), bdl_pint(CARRY), bdl_pint(LEN), bdl_pint((int64_t)(seed % 3 == 0)), bdl_pprogs(&body, 1)};
  t_check(c, bdl_bind(p, BDL_P_scan, params, in, T_RING_IN, out));
  t_check(c, bdl_prog_set_outputs(p, out, T_RING_OUT));
  bdl_prog_unref(body);
  return p;
}

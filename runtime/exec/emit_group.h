/*
** emit_group.h -- shared by the files that write a fused group as C.
*/
#ifndef BDL_EMIT_GROUP_H
#define BDL_EMIT_GROUP_H

#include <inttypes.h>
#include <string.h>

#include "exec/emit.h"
#include "exec/emit_ops.h"

typedef enum bdl_emit_how { BDL_E_INLINE, BDL_E_CALL, BDL_E_SPLAT } bdl_emit_how;

/* What is known of the value of an instruction. */
typedef struct bdl_emit_value {
  bdl_emit_how how;
  int32_t phase;
  int32_t src[3];    /* instructions that make its operands; -1: memory */
  bool buffered;
  bool whole;        /* a number that is whole, between lo and hi, and not -0 */
  int32_t lo, hi;
} bdl_emit_value;

typedef struct bdl_emitter {
  const bdl_plan *plan;
  const bdl_inst *inst;
  const bdl_group *g;
  bdl_emitted *e;
  bdl_emit_value *v; /* [n_insts] */
  int32_t *def;      /* [n_operands + 1] the instruction whose value an operand holds; -1: what is in memory */
  bool *loaded;      /* [n_operands] by loop: its element is in a variable */
  bool *pointer;     /* [n_operands] is there a pointer to it? */
  int32_t last;      /* phase */
  int64_t row;       /* extent of rows that strided loads walk; 0: none */
  int64_t n_tiles;
  bool tiled;
  const bdl_inst *scan; /* many steps of this loop for each tile; NULL: one step */
} bdl_emitter;

static inline const bdl_operand *bdl_emit_operand(const bdl_emitter *m, int32_t h) { return &m->g->operands[h]; }

/* Index of f among the functions that the text calls. */
bdl_status bdl_emit_link(bdl_emitter *m, void (*f)(void), int32_t *k);
bdl_status bdl_emit_link_data(bdl_emitter *m, const void *data, int32_t *k);
#define BDL_LINK(m, f, k) bdl_emit_link(m, (void (*)(void))(f), k)

/* Is the result of reduction k that of its only tile? */
bool bdl_emit_at_once(const bdl_emitter *m, int32_t k);

/* ---- emit_sum.c: reductions in any order */

/* Notes what is known of the value of instruction k, those before being known. */
void bdl_emit_note_range(bdl_emitter *m, int32_t k);
/* Has reduction k the same bits in whatever order its elements come? */
bool bdl_emit_any_order(const bdl_emitter *m, int32_t k);
/* Its variable before the loop, one element, the result of the tile. */
void bdl_emit_sum_begin(bdl_emitter *m, int32_t k);
void bdl_emit_sum_add(bdl_emitter *m, int32_t k);
void bdl_emit_sum_end(bdl_emitter *m, int32_t k);

/* ---- emit_memory.c: pointers p<h> to operands, l<k> of strided loads, scalars c<h>, buffers b<k> */
void bdl_emit_prologue(bdl_emitter *m, bool varying);
void bdl_emit_prefetch(bdl_emitter *m);     /* of the next tile */
void bdl_emit_taken(bdl_emitter *m);        /* copies of the tile's results to rows of the step */
void bdl_emit_write_locals(bdl_emitter *m); /* where they belong */

/* ---- emit_tile.c: the text of a tile, elements e0 .. e1 - 1 of tile T */
bdl_status bdl_emit_tile(bdl_emitter *m);
void bdl_emit_element(bdl_emitter *m, int32_t k, int j); /* operand j of instruction k, in a loop over i */
void bdl_emit_partial(bdl_emitter *m, int32_t k);        /* where the result of reduction k of tile T goes */

#endif

/*
** plan.h -- a program made ready to run: fused groups, kernels, loops, and a place for every value.
**
**     program --schedule--> nodes (groups | kernels | loops) --place--> plan
**
** Values live in slots; a frame holds one pointer a slot.  Bodies of loops and branches share the frame of the plan,
** so that a loop moves a few pointers and nothing else.
*/
#ifndef BDL_PLAN_H
#define BDL_PLAN_H

#include "cpu/tile.h"
#include "exec/lower.h"
#include "ir/ir.h"

typedef enum bdl_slot_kind {
  BDL_S_INPUT,   /* pointer given by the caller */
  BDL_S_OUTPUT,  /* pointer given by the caller */
  BDL_S_CONST,   /* data of a constant of the program */
  BDL_S_LITERAL, /* a scalar kept in the plan */
  BDL_S_ARENA,   /* at a fixed offset of the plan's arena */
  BDL_S_MOVING,  /* set by a scan before each iteration: a slice of a stacked operand or result */
  BDL_S_ROW      /* set by an instruction: rows of another slot that a number chooses */
} bdl_slot_kind;

/* A place: slot and byte offset into it. */
typedef struct bdl_ref {
  int32_t slot;
  int64_t offset;
} bdl_ref;

/* base + step * index, index from 0 to last; step in bytes.  index, an i32, stays as it is while the rows are in use. */
typedef struct bdl_row {
  bdl_ref base, index;
  int64_t last, step;
} bdl_row;

typedef struct bdl_pslot {
  bdl_slot_kind kind;
  bdl_dtype dtype;    /* of what lies there; of a kernel's scratch: none */
  int32_t index;      /* of input, output or constant */
  size_t offset;      /* ARENA */
  size_t bytes;
  bdl_scalar literal; /* LITERAL */
  void *data;         /* CONST: where it is */
  const bdl_row *row; /* ROW */
  int32_t over;       /* MOVING, ROW: the slot that it is a part of */
  int32_t first, last; /* positions of the first and last instruction that touch it */
} bdl_pslot;

/* ---- fused groups: straight-line tile code over one domain */
typedef enum bdl_operand_kind { BDL_O_REG, BDL_O_ARRAY, BDL_O_SCALAR, BDL_O_PARTIAL } bdl_operand_kind;
typedef struct bdl_operand {
  bdl_operand_kind kind;
  int32_t reg;   /* REG */
  bdl_ref ref;   /* ARRAY: element i of the domain at i; SCALAR: one element; PARTIAL: one element a tile */
  int32_t size;  /* bytes an element */
} bdl_operand;

/* Strided read of an operand into a register: element (i0, i1, ..) of the domain is at sum i_k stride[k]. */
typedef struct bdl_load {
  bdl_ref ref;
  int32_t ndim, size;
  int64_t shape[BDL_MAX_NDIM], stride[BDL_MAX_NDIM]; /* collapsed: no extent 1, no mergeable axes */
} bdl_load;

typedef enum bdl_tile_kind { BDL_T_OP, BDL_T_LOAD, BDL_T_REDUCE, BDL_T_COMPACT } bdl_tile_kind;
typedef struct bdl_tile_inst {
  bdl_tile_kind kind;
  bdl_prim_id prim;      /* for dumps */
  bdl_prim_id then;      /* for dumps: the second of two operations in one; 0: none */
  int16_t op;            /* OP: bdl_tile_op; REDUCE: bdl_reduce_op */
  uint8_t dtype, result; /* of the first operand that is not a predicate (LOAD: of what is loaded), and of z */
  int32_t z, x, y, w;    /* operands of the group; n_operands: none */
  union {
    bdl_k_tile fn;       /* OP */
    const bdl_load *load; /* LOAD: z a register */
    struct {             /* REDUCE: x reduced; partial results of the tiles in z, the result in y */
      bdl_k_reduce tile;
      bdl_k_combine combine;
    } red;
    int64_t (*compact)(int32_t *ids, const void *s, int64_t n, int64_t i0); /* COMPACT: x -> ids in z, their number in y */
  };
} bdl_tile_inst;

typedef struct bdl_group {
  int64_t n;     /* elements of the domain */
  bdl_aval domain; /* for dumps */
  int32_t n_operands, n_insts, n_prologue, n_regs;
  bdl_operand *operands;
  bdl_tile_inst *insts; /* the first n_prologue run once (scalars splatted to registers), the others once a tile */
  int32_t reg_bytes;    /* bytes a register: BDL_TILE elements of the widest type, and a line to spread cache sets */
  int32_t n_roots;      /* reductions and compactions among insts */
  bool serial;          /* has a compaction: tiles in order */
  bdl_src *lines;       /* [n_lines] of its equations, each once, ascending in each file; for dumps */
  int32_t n_lines;
  int32_t n_eqns;
} bdl_group;

/* Operand j of t, as a place among the group's; n_operands: none. */
static inline int32_t bdl_tile_operand(const bdl_tile_inst *t, int j) { return j == 0 ? t->x : j == 1 ? t->y : t->w; }

static inline bdl_dtype bdl_tile_dtype(const bdl_tile_inst *t, int j) {
  return t->kind == BDL_T_OP && t->op == BDL_TILE_select && j == 0 ? BDL_BOOL : (bdl_dtype)t->dtype;
}

static inline bool bdl_tile_is_root(const bdl_tile_inst *t) { return t->kind == BDL_T_REDUCE || t->kind == BDL_T_COMPACT; }

/* How many operands are values of the domain: not the number of integer_pow, the keys of random bits. */
static inline int bdl_tile_arity(const bdl_group *g, const bdl_tile_inst *t) {
  if (t->kind == BDL_T_LOAD) return 0;
  if (t->kind != BDL_T_OP) return 1;
  if (t->op == BDL_TILE_iota || t->op == BDL_TILE_random_bits) return 0;
  if (t->op == BDL_TILE_integer_pow || t->op == BDL_TILE_polygamma) return 1;
  int n = 0;
  while (n < 3 && bdl_tile_operand(t, n) < g->n_operands) n++;
  return n;
}

/* Is operand h of the group in memory, not in a register? */
static inline bool bdl_group_in_memory(const bdl_group *g, int32_t h) { return h < g->n_operands && g->operands[h].kind != BDL_O_REG; }

typedef struct bdl_block {
  int32_t n;
  struct bdl_inst *v;
} bdl_block;

typedef enum bdl_inst_kind { BDL_I_GROUP, BDL_I_KERNEL, BDL_I_COPY, BDL_I_ROW, BDL_I_SCAN, BDL_I_WHILE, BDL_I_COND } bdl_inst_kind;

typedef struct bdl_inst {
  bdl_inst_kind kind;
  int32_t id; /* place in by_id: a loop comes before its body */
  bdl_prim_id prim;
  bdl_src src;
  union {
    bdl_group *group;
    struct {
      bdl_kernel fn;
      const bdl_param *params;
      int32_t n_in, n_out;
      bdl_ref *in, *out;
      bdl_aval *in_aval, *out_aval;
      int32_t scratch; /* slot; -1: none */
      const bdl_prepared *prepared; /* NULL: nothing */
      const void **in_ptr; /* room for the call */
      void **out_ptr;
    } kernel;
    struct {
      bdl_ref dst, src;
      size_t bytes;
    } copy;
    int32_t row; /* the slot that is set */
    struct {
      int64_t length;
      bool reverse;
      int32_t n_moving; /* stacked operands and results */
      struct bdl_moving {
        int32_t slot;
        bdl_ref base;
        int64_t step; /* bytes a row */
        int32_t next; /* of a carry in its rows: the slot of the row that the step makes; -1: no such */
      } *moving;
      bdl_block body; /* ends with the copies that bring the carry home */
      struct bdl_tiled *tiled; /* NULL: step by step only */
    } scan;
    struct {
      bdl_block cond, body;
      bdl_ref pred;
    } loop;
    struct {
      bdl_ref index;
      int32_t n;
      bdl_block *branches;
    } cond;
  };
} bdl_inst;

/* A scan whose steps nothing couples between the elements of one group, but for what is reduced (plan/tiled.c).  So many steps may
** go as: instructions that come first, step after step; the group, tile after tile; the others, step after step. */
typedef struct bdl_tiled {
  int32_t group; /* of the body */
  int64_t steps; /* at most at a time: rows of notes, and of the group's partial results */
  bool *first;   /* [body.n] */
  bool *taken;   /* [body.n] copies of part of what the group makes, to rows of the step: made with each tile */
  int32_t n_notes;
  struct bdl_note { /* what the group reads of a step and instructions that come first write: a row a step */
    bdl_ref from;
    int32_t slot;
    int64_t bytes;
  } *notes;
} bdl_tiled;

typedef struct bdl_plan {
  bdl_context *ctx;
  bdl_prog *prog;       /* legalised */
  bdl_prog *legal_from; /* what it was made from */
  bdl_prog *passed;     /* that after the passes in front of legalise: prog has its names */
  bdl_arena arena;      /* of the plan's own structures */
  BDL_VEC(bdl_pslot) slots;
  BDL_VEC(bdl_prepared *) prepared; /* what its kernels hold */
  bdl_block block;
  bdl_inst **by_id;     /* [n_insts] every instruction, those of loops and branches too */
  int32_t n_insts;
  int32_t n_in, n_out;
  bool *inplace;     /* [n_out] result k may be written over the operand paired with it */
  bool *replaces;    /* [n_out] the same, were nothing to be undone after a failure */
  bool can_fail;     /* has an equation that may fail while running: never run in place */
  bool loop_only;    /* one scan or while, whose carry are the results: an interrupted run leaves whole steps */
  bool with_rings;   /* so it was before plan/ring.c: what stands behind the loop belongs to an interrupted run, too */
  size_t arena_bytes, reg_bytes;
  bool compilable;   /* the native tier may take it: not one equation run at once */
  struct bdl_native_plan *native; /* exec/native.h */
  struct bdl_gpu_plan *gpu;       /* gpu/resident.h; NULL: it has not run there */
  void (*drop_gpu)(struct bdl_plan *plan);
  int64_t runs;
  /* the frame, kept between runs */
  bool busy;
  char **frame;
  void *memory;        /* arena and registers */
  size_t memory_bytes;
  int32_t threads;     /* register files */
  size_t reg_stride;   /* bytes of one */
} bdl_plan;

/* The slot that `slot` is rows of, and rows of rows, or itself. */
int32_t bdl_plan_base(const bdl_plan *plan, int32_t slot);

/* p: optimised program.  pair[k] is the operand that result k replaces (a written State), -1: none; NULL: no pairs.
** Holds a reference to p. */
bdl_status bdl_plan_new(bdl_context *c, bdl_prog *p, const int32_t *pair, bdl_plan **plan);
void bdl_plan_free(bdl_plan *plan);
/* Gives the frame back; the next run makes it anew. */
void bdl_plan_forget(bdl_plan *plan);
/* Groups, kernels, loops and the buffers, readable. */
bdl_status bdl_plan_print(const bdl_plan *plan, bdl_str *out);
/* What runs as one pass over memory and why not more, with lines of the model, bytes and operations. */
bdl_status bdl_plan_explain(const bdl_plan *plan, bdl_str *out);

#endif

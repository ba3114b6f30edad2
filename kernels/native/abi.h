/*
** abi.h -- what native code and the runtime know of each other.  Read by both: it is part of the text of every program that
** exec/emit.c writes, so that a change here makes other programs.  Integers are defined before.
*/
#ifndef BDL_NATIVE_ABI_H
#define BDL_NATIVE_ABI_H

typedef struct bdl_native {
  char **frame;       /* a pointer a slot of the plan */
  void *const *link;  /* functions of the runtime, in the order in which the text calls them */
  int32_t threads, reporting;                           /* reporting: somebody wants to know of every step of the outermost loop */
  const volatile int *interrupted;
  int64_t from, to;                                     /* steps of the loop that goes tile by tile */
  int (*run)(struct bdl_native *n, int32_t id);         /* instruction `id` by the interpreter tier; not 0: the status of its failure */
  int (*stepped)(struct bdl_native *n, int32_t id, int32_t depth, int64_t done); /* loop `id` made another step; not 0: stop */
  void (*share)(struct bdl_native *n, void (*part)(struct bdl_native *n, int64_t first, int64_t last), int64_t n_tiles);
} bdl_native;

/* One instruction.  A loop goes on from iteration `from`. */
typedef int (*bdl_native_fn)(bdl_native *n, int64_t from);

/* What a program exports, as BDL_PROGRAM: fn[id], NULL where the interpreter runs that instruction. */
typedef struct bdl_native_code {
  int32_t n;
  const bdl_native_fn *fn;
} bdl_native_code;

typedef void (*bdl_native_tile)(void *z, const void *x, const void *y, const void *w, int64_t n, int64_t i0);
typedef void (*bdl_native_reduce)(void *acc, const void *x, int64_t n);
typedef int64_t (*bdl_native_compact)(int32_t *ids, const void *s, int64_t n, int64_t i0);
typedef void (*bdl_native_load)(void *z, const void *base, const void *walk, int64_t i0, int64_t n);

#endif

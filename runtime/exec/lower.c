/*
** lower.c -- the `lower` column of prims.def as a table.
*/
#include "exec/lower.h"

#include "cpu/tile.h"

/* Adapters, scratch rules and what is prepared, by name; those of columns without a kernel are declared and never used. */
#define PRIM(name, ...)                                                                                  \
  bdl_status bdl_lower_##name(const bdl_kcall *k);                                                       \
  size_t bdl_scratch_##name(const bdl_param *params, const bdl_aval *in, int n_in, const bdl_aval *out); \
  bdl_status bdl_prepare_##name(const bdl_kcall *k, bdl_prepared **made);
#include "prim/prims.def"
#undef PRIM

/* The kernels with a scratch rule.  SCRATCH(name) picks the second argument: the rule where a line stands here, else NULL. */
#define SCRATCH_reduce_sum ~, bdl_scratch_reduce_sum
#define SCRATCH_reduce_prod ~, bdl_scratch_reduce_sum
#define SCRATCH_reduce_max ~, bdl_scratch_reduce_sum
#define SCRATCH_reduce_min ~, bdl_scratch_reduce_sum
#define SCRATCH_reduce_and ~, bdl_scratch_reduce_sum
#define SCRATCH_reduce_or ~, bdl_scratch_reduce_sum
#define SCRATCH_sort ~, bdl_scratch_sort
#define SCRATCH_top_k ~, bdl_scratch_top_k
#define SCRATCH_dot ~, bdl_scratch_dot
#define SCRATCH_dot_add ~, bdl_scratch_dot_add
#define SCRATCH_packed_dot ~, bdl_scratch_dot
#define SCRATCH_sparse_dot ~, bdl_scratch_sparse_dot
#define SCRATCH_conv ~, bdl_scratch_conv
#define SCRATCH_lu ~, bdl_scratch_lu
#define SCRATCH_solve ~, bdl_scratch_solve
#define SCRATCH_event_dot ~, bdl_scratch_event_dot
#define SCRATCH_csr_dot ~, bdl_scratch_csr_dot
#define SCRATCH_csr_scatter ~, bdl_scratch_csr_scatter
#define SCRATCH_csr_outer ~, bdl_scratch_csr_outer
#define SCRATCH_jitc_dot ~, bdl_scratch_jitc_dot
#define SCRATCH_etrace_step ~, bdl_scratch_etrace_step
#define SCRATCH_etrace_grad ~, bdl_scratch_etrace_grad
#define SCRATCH_etrace_learn ~, bdl_scratch_etrace_learn
#define SCRATCH_print ~, bdl_scratch_print
#define SCRATCH_host_call ~, bdl_scratch_host_call
/* Those that prepare. */
#define PREPARE_csr_dot ~, bdl_prepare_csr_dot
#define PREPARE_csr_scatter ~, bdl_prepare_csr_scatter
#define PREPARE_csr_outer ~, bdl_prepare_csr_outer
#define PREPARE_csr_learn ~, bdl_prepare_csr_learn
#define SECOND_OF(a, b, ...) b
#define SECOND(...) SECOND_OF(__VA_ARGS__, NULL, NULL)
#define SCRATCH(name) SECOND(SCRATCH_##name)
#define PREPARE(name) SECOND(PREPARE_##name)

#define LOWER_tile(name) {.kind = BDL_LOWER_TILE, .tile = BDL_TILE_##name}
#define LOWER_reduce(name) {.kind = BDL_LOWER_REDUCE, .kernel = bdl_lower_##name, .scratch = SCRATCH(name), .prepare = PREPARE(name)}
#define LOWER_compact(name) {.kind = BDL_LOWER_COMPACT}
#define LOWER_strided(name) {.kind = BDL_LOWER_STRIDED}
#define LOWER_view(name) {.kind = BDL_LOWER_VIEW}
#define LOWER_kernel(name) {.kind = BDL_LOWER_KERNEL, .kernel = bdl_lower_##name, .scratch = SCRATCH(name), .prepare = PREPARE(name)}
#define LOWER_update(name) {.kind = BDL_LOWER_UPDATE, .kernel = bdl_lower_##name, .scratch = SCRATCH(name), .prepare = PREPARE(name)}
#define LOWER_control(name) {.kind = BDL_LOWER_CONTROL}

static const bdl_lowering lowerings[BDL_P_COUNT] = {
#define PRIM(name, in, out, flags, params, type, jvp, transpose, batch, lower, synopsis) [BDL_P_##name] = LOWER_##lower(name),
#include "prim/prims.def"
#undef PRIM
};

const bdl_lowering *bdl_lowering_of(bdl_prim_id p) { return &lowerings[p]; }

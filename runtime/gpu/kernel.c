/*
** kernel.c -- kernels whose text for a GPU is another than for C99 (export/kernel.c), and how many threads have work in one.
*/
#include "exec/lower_linalg.h"
#include "gpu/program.h"

enum { TILE_THREADS = 256, TILE_ROWS = 32, TILE_COLUMNS = 8, FEW_ROWS = 4 }; /* the smallest tiles of cuda/dot.inc */

static int64_t work_of_product(const bdl_inst *i) {
  bdl_packing pack[2];
  const bdl_k_matmul g = bdl_lower_matmul(i->kernel.params, i->kernel.in_aval, pack);
  const int64_t rows = BDL_MIN(g.m, g.n) <= FEW_ROWS ? BDL_MIN(g.m, g.n) : g.m, columns = rows == g.m ? g.n : g.m;
  int64_t n = g.batch * ((rows + TILE_ROWS - 1) / TILE_ROWS) * ((columns + TILE_COLUMNS - 1) / TILE_COLUMNS) * TILE_THREADS;
  for (int k = 0; k < 2; k++)
    if (pack[k].needed) n = BDL_MAX(n, bdl_aval_numel(&i->kernel.in_aval[k]));
  return n;
}

int64_t bdl_gpu_work(const bdl_inst *i) {
  int64_t n = 1;
  switch (i->prim) {
    case BDL_P_dot: case BDL_P_dot_add: case BDL_P_packed_dot: case BDL_P_sparse_dot: return work_of_product(i);
    case BDL_P_dot_pack: return 1;
    default: break;
  }
  for (int32_t k = 0; k < i->kernel.n_in; k++) n = BDL_MAX(n, bdl_aval_numel(&i->kernel.in_aval[k]));
  for (int32_t k = 0; k < i->kernel.n_out; k++) n = BDL_MAX(n, bdl_aval_numel(&i->kernel.out_aval[k]));
  return n;
}

bdl_status bdl_gpu_kernel(bdl_exporter *m, const bdl_inst *i, int indent) {
  switch (i->prim) {
    case BDL_P_dot_pack: return BDL_OK; /* products read their operands as they lie */
    default: return bdl_export_kernel(m, i, indent);
  }
}

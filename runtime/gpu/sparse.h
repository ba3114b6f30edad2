/*
** sparse.h -- operands of products with events, as texts of kernels/cuda have them.
*/
#ifndef BDL_GPU_SPARSE_H
#define BDL_GPU_SPARSE_H

#include "exec/emit_ops.h"
#include "export/sparse.h"
#include "gpu/program.h"
#include "prim/prim.h"

static inline int64_t bdl_gpu_last(const bdl_aval *a) { return a->shape[a->ndim - 1]; }

/* `(uint32_t *)(F[12] + 96)`: the next `bytes` of the room, behind *at. */
void bdl_gpu_room(bdl_exporter *m, const char *type, int64_t *at, int64_t bytes);
/* `, ` and operand k. */
bdl_status bdl_gpu_comma(bdl_exporter *m, const bdl_inst *i, int k);
/* Elements of operand k, of that rank, from one lane to the next; 0: it has no lanes. */
int64_t bdl_gpu_lane_step(const bdl_inst *i, int k, int rank);
/* `bits`: who is active in the vectors of operand 0. */
bdl_status bdl_gpu_active(bdl_exporter *m, const bdl_inst *i, int indent, int64_t n_vectors, int64_t *at);
/* `ids`, `count` and, where they are not those of events of this program, their check; `again`: may an id be there twice? */
bdl_status bdl_gpu_listed(bdl_exporter *m, const bdl_inst *i, int indent, int64_t extent, bool lanes, int64_t *at);

typedef struct bdl_gpu_matrix {
  bdl_export_matrix x; /* where it is known; a: of the matrix as operands have it */
  bool known, turned;
  int64_t hits;   /* entries of one column, as it is written down, at most */
  int32_t places; /* constant of the places of weights; -1: none, or those of the transpose */
} bdl_gpu_matrix;

/* Operands indices and indptr, from `at` on; turn: by columns, where they are known. */
bdl_status bdl_gpu_matrix_of(bdl_exporter *m, const bdl_inst *i, int at, bool turn, bdl_gpu_matrix *t);
/* Has it one pair of pointers, that says how long all rows are? */
bool bdl_gpu_even(const bdl_inst *i, int at);
/* `, AT(csr, ..)`; data: the operand of weights, -1: there is none. */
bdl_status bdl_gpu_csr(bdl_exporter *m, const bdl_inst *i, const bdl_gpu_matrix *t, int at, int data, int64_t batch);
/* `if (` and `) return 3;` around what may meet entries out of range. */
void bdl_gpu_begin(bdl_exporter *m, const bdl_gpu_matrix *t, int indent);
bdl_status bdl_gpu_end(bdl_exporter *m, const bdl_inst *i, const bdl_gpu_matrix *t);

#endif

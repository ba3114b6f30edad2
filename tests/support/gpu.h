/*
** gpu.h -- a GPU for tests: the fake one (tests/cuda), or with BDL_TEST_GPU=real that of this machine.
*/
#ifndef T_GPU_H
#define T_GPU_H

#include "gpu/program.h"
#include "gpu/run.h"

/* Contexts made from now on find it; a cache of their own. */
void t_gpu_find(void);
/* The folder with the fake libraries: /../build/debug/fake-cuda */
const char *t_gpu_folder(void);
bool t_gpu_is_real(void);
/* A context whose plans run there. */
bdl_context *t_gpu_context(void);
/* How many of these steps, and of those in them, are of a kind. */
int t_gpu_count(const bdl_gpu_steps *s, bdl_gpu_kind kind);
/* The plan's results there and here, each from operands `in`; both fail alike, or results are there.  The status. */
bdl_status t_gpu_both(bdl_plan *plan, const bdl_tensor *in, bdl_tensor *there, bdl_tensor *here);

#endif

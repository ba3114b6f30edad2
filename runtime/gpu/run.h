/*
** run.h -- plans on a GPU.
*/
#ifndef BDL_GPU_RUN_H
#define BDL_GPU_RUN_H

#include "plan/plan.h"

/* As bdl_exec_run (exec.h), on the GPU: operands are copied there where they are not, results stay until somebody reads them. */
bdl_status bdl_gpu_run(bdl_plan *plan, const bdl_tensor *in, bdl_tensor *out);
/* From now on plans of this context run there: "cpu", "gpu".  Errors: as bdl_device_get. */
bdl_status bdl_gpu_use(bdl_context *c, const char *platform);

#endif

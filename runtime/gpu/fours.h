/*
** fours.h -- elements of a fused group four at a time.
*/
#ifndef BDL_GPU_FOURS_H
#define BDL_GPU_FOURS_H

#include "export/group.h"

/* Before the loop over i0 = 0, 4, .., behind the prologue. */
void bdl_gpu_fours_begin(bdl_export_grouper *g);
/* Its body: elements i0 .. i0 + 3, those of them that there are. */
bdl_status bdl_gpu_fours(bdl_export_grouper *g);

#endif

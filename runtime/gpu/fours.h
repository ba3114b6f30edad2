/*
** fours.h -- elements of a fused group four at a time.
*/
#ifndef BDL_GPU_FOURS_H
#define BDL_GPU_FOURS_H

#include "export/group.h"

/* Before the loop over i0 = 0, 4, .., behind the prologue. */
void bdl_gpu_fours_together(bdl_export_grouper *g);
/* The body for elements i0 + apart u, u = 0 .. 3, those of them that there are; apart: 1, or 16 for tiles. */
bdl_status bdl_gpu_fours(bdl_export_grouper *g, int32_t apart);

#endif

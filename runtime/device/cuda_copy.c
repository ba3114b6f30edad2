/*
** cuda_copy.c -- copies between the host and a GPU, through pinned memory: a ring of pieces, so that the host fills or empties one while
** the GPU copies another.  Without pinned memory the driver does the staging, and waits for what is before the copy.
*/
#include "device/cuda.h"

#include <string.h>

enum { CU_HOST_PORTABLE = 1, CU_NO_TIMING = 2, ALIGNED = 64 };

static char *piece(const bdl_cuda_staging *s, size_t k) { return s->memory + k % BDL_CUDA_PIECES * BDL_CUDA_PIECE; }

void bdl_cuda_staging_free(bdl_cuda *g) {
  bdl_cuda_staging *s = &g->staging;
  for (int k = 0; k < BDL_CUDA_PIECES; k++)
    if (s->event[k]) g->api.cuEventDestroy_v2(s->event[k]);
  if (s->memory) g->api.cuMemFreeHost(s->memory);
  *s = (bdl_cuda_staging){.none = true};
}

/* Copies of another stream would come in no order with those of the ring. */
static bool staged(bdl_cuda *g, bdl_cuda_any stream) {
  bdl_cuda_staging *s = &g->staging;
  void *p = NULL;
  if (stream != g->stream || s->none) return false;
  if (s->memory) return true;
  int failed = g->api.cuMemHostAlloc(&p, (size_t)BDL_CUDA_PIECES * BDL_CUDA_PIECE, CU_HOST_PORTABLE);
  s->memory = failed ? NULL : p;
  for (int k = 0; k < BDL_CUDA_PIECES && !failed; k++) failed = g->api.cuEventCreate(&s->event[k], CU_NO_TIMING);
  if (failed) bdl_cuda_staging_free(g);
  return !failed;
}

/* The next piece for uploads, once the copies out of it are done. */
static bdl_status advance(bdl_cuda *g) {
  bdl_cuda_staging *s = &g->staging;
  TRY(bdl_cuda_check(g, g->api.cuEventRecord(s->event[s->piece], g->stream), "copy to the GPU"));
  s->busy[s->piece] = true;
  s->piece = (s->piece + 1) % BDL_CUDA_PIECES;
  if (s->busy[s->piece]) TRY(bdl_cuda_check(g, g->api.cuEventSynchronize(s->event[s->piece]), "work before a copy"));
  s->busy[s->piece] = false;
  s->at = 0;
  return BDL_OK;
}

static bdl_status upload(bdl_cuda *g, bdl_cuda_any stream, bdl_cuda_ptr to, const void *from, size_t n) {
  bdl_cuda_staging *s = &g->staging;
  if (!staged(g, stream)) return bdl_cuda_check(g, g->api.cuMemcpyHtoDAsync_v2(to, from, n, stream), "copy to the GPU");
  for (size_t done = 0, m; done < n; done += m) {
    if (s->at >= BDL_CUDA_PIECE) TRY(advance(g));
    char *at = piece(s, (size_t)s->piece) + s->at;
    m = BDL_MIN(n - done, BDL_CUDA_PIECE - s->at);
    memcpy(at, (const char *)from + done, m);
    TRY(bdl_cuda_check(g, g->api.cuMemcpyHtoDAsync_v2(to + done, at, m, stream), "copy to the GPU"));
    s->at += (m + ALIGNED - 1) / ALIGNED * ALIGNED;
  }
  return BDL_OK;
}

/* What uploads left in the ring is copied before a download writes there: one stream. */
static bdl_status by_pieces(bdl_cuda *g, char *to, bdl_cuda_ptr from, size_t n) {
  const bdl_cuda_staging *s = &g->staging;
  size_t asked = 0; /* pieces */
  for (size_t k = 0; k * BDL_CUDA_PIECE < n; k++) {
    for (; asked < k + BDL_CUDA_PIECES && asked * BDL_CUDA_PIECE < n; asked++) {
      const size_t at = asked * BDL_CUDA_PIECE, m = BDL_MIN(n - at, (size_t)BDL_CUDA_PIECE);
      TRY(bdl_cuda_check(g, g->api.cuMemcpyDtoHAsync_v2(piece(s, asked), from + at, m, g->stream), "copy from the GPU"));
      TRY(bdl_cuda_check(g, g->api.cuEventRecord(s->event[asked % BDL_CUDA_PIECES], g->stream), "copy from the GPU"));
    }
    const size_t at = k * BDL_CUDA_PIECE;
    TRY(bdl_cuda_check(g, g->api.cuEventSynchronize(s->event[k % BDL_CUDA_PIECES]), "work before a copy"));
    memcpy(to + at, piece(s, k), BDL_MIN(n - at, (size_t)BDL_CUDA_PIECE));
  }
  return BDL_OK;
}

static bdl_status download(bdl_cuda *g, bdl_cuda_any stream, void *to, bdl_cuda_ptr from, size_t n) {
  bdl_cuda_staging *s = &g->staging;
  if (n == 0) return BDL_OK; /* nothing that would be waited for */
  if (!staged(g, stream)) {
    TRY(bdl_cuda_check(g, g->api.cuMemcpyDtoHAsync_v2(to, from, n, stream), "copy from the GPU"));
    return bdl_cuda_check(g, g->api.cuStreamSynchronize(stream), "work before a copy");
  }
  TRY(by_pieces(g, to, from, n));
  memset(s->busy, 0, sizeof s->busy); /* all that was before it is done */
  s->piece = 0;
  s->at = 0;
  return BDL_OK;
}

/* ---- counted ------------------------------------------------------------------------------------------------------------ */

static bdl_status begin(bdl_cuda *g, bdl_cuda_any stream, int64_t *at) {
  if (!g->timed) return BDL_OK;
  const bdl_status s = bdl_cuda_check(g, g->api.cuStreamSynchronize(stream), "work before a copy");
  *at = bdl_now_ns();
  return s;
}

static bdl_status end(bdl_cuda *g, bdl_cuda_any stream, bdl_cuda_copies *c, size_t n, int64_t at) {
  if (!g->timed) return BDL_OK;
  TRY(bdl_cuda_check(g, g->api.cuStreamSynchronize(stream), "a copy"));
  c->calls++;
  c->ns += bdl_now_ns() - at;
  c->bytes += (double)n;
  return BDL_OK;
}

bdl_status bdl_cuda_upload(bdl_cuda *g, bdl_cuda_any stream, bdl_cuda_ptr to, const void *from, size_t n) {
  int64_t at = 0;
  TRY(begin(g, stream, &at));
  TRY(upload(g, stream, to, from, n));
  return end(g, stream, &g->up, n, at);
}

bdl_status bdl_cuda_download(bdl_cuda *g, bdl_cuda_any stream, void *to, bdl_cuda_ptr from, size_t n) {
  int64_t at = 0;
  TRY(begin(g, stream, &at));
  TRY(download(g, stream, to, from, n));
  return end(g, stream, &g->down, n, at);
}

/*
** nccl.c -- NCCL: the library, the communicator of all processes, sums, gathers and exchanges.
** Names and numbers: nccl.h of NCCL 2.7 and later.
*/
#include "device/nccl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/context.h"

enum { BYTES = 1, SUM = 0 };
static const int types[BDL_DTYPE_COUNT] = {[BDL_I32] = 2, [BDL_I64] = 4, [BDL_U32] = 3, [BDL_F32] = 7, [BDL_F64] = 8};

static const char *const names[] = {"libnccl.so.2", "libnccl.so", NULL};

/* ---- the library --------------------------------------------------------------------------------------------------- */

void bdl_nccl_api_open(bdl_nccl_api *a) {
  void *p;
  memset(a, 0, sizeof *a);
  bdl_cuda_library_open(&a->library, names);
#define X(type, name, args)                      \
  p = bdl_cuda_library_find(&a->library, #name); \
  memcpy(&a->name, &p, sizeof p); /* ISO C has no cast from an object to a function */
  BDL_NCCL(X)
#undef X
  bdl_cuda_library_note(&a->library, p);
  if (a->library.handle && a->ncclGetVersion(&a->version) != 0) a->version = 0;
  if (a->library.handle && a->version == 0) snprintf(a->library.why, sizeof a->library.why, "%.300s has no version", a->library.path);
}

/* 2 digits for each part behind the first; up to 2.8 one for the second. */
void bdl_nccl_version(int version, char text[BDL_NCCL_VERSION]) {
  const int first = version < 10000 ? 1000 : 10000;
  snprintf(text, BDL_NCCL_VERSION, "%d.%d.%d", version / first, version % first / 100, version % 100);
}

static bdl_status check(bdl_nccl *n, int code, const char *what) {
  bdl_context *c = n->g->device.ctx;
  if (code == 0) return BDL_OK;
  n->lost = BDL_EIO;
  bdl_fail(c, BDL_EIO, "%s: NCCL: %s: %s", n->g->label, what, n->api.ncclGetErrorString(code));
  bdl_hint(c, "NCCL_DEBUG=WARN has it say more");
  return BDL_EIO;
}

/* ---- who is there ---------------------------------------------------------------------------------------------------- */

/* What a process tells the others, its bytes alike where it means the same. */
typedef struct card {
  char host[64], gpu[128];
  int32_t place[3], version;
} card;

static void fill(card *own, const bdl_nccl *n, const bdl_cuda_about *gpu) {
  memset(own, 0, sizeof *own);
  if (gethostname(own->host, sizeof own->host - 1) != 0) own->host[0] = 0;
  snprintf(own->gpu, sizeof own->gpu, "%s", gpu->name);
  memcpy(own->place, gpu->place, sizeof own->place);
  own->version = n->api.version;
}

static bool share(const card *a, const card *b) {
  return memcmp(a->host, b->host, sizeof a->host) == 0 && memcmp(a->place, b->place, sizeof a->place) == 0;
}

/* Why these processes do not use NCCL, the same in all; "": they do. */
static void obstacle(const bdl_nccl *n, const card *cards, int size, char *text, size_t room) {
  char versions[2][BDL_NCCL_VERSION];
  *text = 0;
  for (int k = 0; k < size; k++)
    for (int j = 0; j < k; j++)
      if (share(&cards[j], &cards[k])) {
        snprintf(text, room, "processes %d and %d of %d share a GPU (%s)", j + 1, k + 1, size, cards[k].gpu);
        return;
      }
  for (int k = 0; k < size; k++) {
    if (cards[k].version == cards[0].version && cards[k].version) continue;
    bdl_nccl_version(cards[0].version, versions[0]);
    bdl_nccl_version(cards[k].version, versions[1]);
    if (cards[0].version == 0) snprintf(text, room, "%s", n->api.library.why);
    else if (cards[k].version == 0) snprintf(text, room, "process %d of %d has no %s", k + 1, size, names[0]);
    else snprintf(text, room, "processes 1 and %d have NCCL %s and %s", k + 1, versions[0], versions[1]);
    return;
  }
}

/* ---- the communicator -------------------------------------------------------------------------------------------------- */

/* ids: of all processes; that of the first is used */
static bdl_status join(bdl_nccl *n, bdl_world *w, bdl_nccl_id *ids) {
  bdl_nccl_id id = {{0}};
  setenv("NCCL_NVLS_ENABLE", "0", 0); /* sums in a switch have another order each time */
  if (w->rank == 0) TRY(check(n, n->api.ncclGetUniqueId(&id), "start"));
  TRY(bdl_world_gather(w, &id, ids, sizeof id));
  TRY(check(n, n->api.ncclCommInitRank(&n->comm, w->size, ids[0], w->rank), "start"));
  return bdl_world_gather(w, &id, ids, sizeof id); /* work that waits for others begins once all are there */
}

static bdl_status begin(bdl_nccl *n, bdl_world *w) {
  bdl_context *c = w->ctx;
  const size_t bytes = (size_t)w->size * BDL_MAX(sizeof(card), sizeof(bdl_nccl_id));
  char why[700], text[800];
  bdl_cuda_about gpu;
  card own;
  bdl_nccl_api_open(&n->api);
  TRY(bdl_cuda_look(n->g, n->g->which, &gpu));
  fill(&own, n, &gpu);
  void *all = bdl_alloc(c, bytes);
  if (!all) return BDL_ENOMEM;
  bdl_status s = bdl_world_gather(w, &own, all, sizeof own);
  if (s == BDL_OK) {
    obstacle(n, all, w->size, why, sizeof why);
    snprintf(text, sizeof text, "pmap: %s; what goes between processes goes through the host", why);
    if (!*why) s = join(n, w, all);
    else if (w->rank == 0 && c->warn) c->warn(c->warn_ud, text);
  }
  bdl_free(c, all, bytes);
  return s;
}

static void drop(bdl_world *w) {
  bdl_nccl *n = w->nccl;
  if (n->comm && n->lost == BDL_OK && n->g->lost == BDL_OK) n->api.ncclCommDestroy(n->comm);
  else if (n->comm) n->api.ncclCommAbort(n->comm);
  bdl_free(w->ctx, n, sizeof *n);
  w->nccl = NULL;
}

/* Who ends a communicator while another still waits for it has that one wait forever. */
void bdl_nccl_end(bdl_world *w) {
  bdl_nccl *n = w->nccl;
  int32_t one = 1, all;
  if (!n) return;
  n->g->api.cuCtxSetCurrent(n->g->context);
  if (n->lost == BDL_OK) n->g->api.cuStreamSynchronize(n->g->stream);
  bdl_world_sum(w, BDL_I32, &one, &all, 1);
  drop(w);
}

bdl_status bdl_nccl_get(bdl_cuda *g, bdl_world *w, bdl_nccl **out) {
  bdl_nccl *n = w->nccl;
  *out = NULL;
  TRY(bdl_cuda_check(g, g->api.cuCtxSetCurrent(g->context), "its context")); /* NCCL takes the GPU of this thread */
  if (!n) {
    n = bdl_calloc(w->ctx, sizeof *n);
    if (!n) return BDL_ENOMEM;
    n->g = g;
    w->nccl = n;
    const bdl_status s = begin(n, w);
    if (s != BDL_OK && n->lost == BDL_OK) { /* not NCCL's: it may be asked again */
      n->lost = s;
      drop(w);
    }
    TRY(s);
  }
  if (n->lost != BDL_OK) {
    bdl_fail(w->ctx, n->lost, "%s: NCCL: an earlier call has failed", g->label);
    bdl_hint(w->ctx, "start again");
    return n->lost;
  }
  if (n->comm) *out = n;
  return BDL_OK;
}

/* ---- what goes between GPUs ---------------------------------------------------------------------------------------------- */

static const void *from_gpu(bdl_cuda_ptr p) { return (const void *)(uintptr_t)p; }
static void *to_gpu(bdl_cuda_ptr p) { return (void *)(uintptr_t)p; }

bdl_status bdl_nccl_sum(bdl_nccl *n, bdl_dtype d, bdl_cuda_ptr in, bdl_cuda_ptr out, size_t count) {
  BDL_ASSERT(d != BDL_BOOL, "a sum of truth values");
  if (count == 0) return BDL_OK;
  return check(n, n->api.ncclAllReduce(from_gpu(in), to_gpu(out), count, types[d], SUM, n->comm, n->g->stream), "sum");
}

bdl_status bdl_nccl_gather(bdl_nccl *n, bdl_cuda_ptr in, bdl_cuda_ptr out, size_t bytes) {
  if (bytes == 0) return BDL_OK;
  return check(n, n->api.ncclAllGather(from_gpu(in), to_gpu(out), bytes, BYTES, n->comm, n->g->stream), "gather");
}

static int swap(bdl_nccl *n, bdl_cuda_ptr in, int to, bdl_cuda_ptr out, int from, size_t bytes) {
  int code = n->api.ncclGroupStart();
  if (code) return code;
  if (to >= 0) code = n->api.ncclSend(from_gpu(in), bytes, BYTES, to, n->comm, n->g->stream);
  if (!code && from >= 0) code = n->api.ncclRecv(to_gpu(out), bytes, BYTES, from, n->comm, n->g->stream);
  const int end = n->api.ncclGroupEnd();
  return code ? code : end;
}

bdl_status bdl_nccl_exchange(bdl_nccl *n, bdl_cuda_ptr in, int to, bdl_cuda_ptr out, int from, size_t bytes) {
  bdl_cuda *g = n->g;
  if (bytes == 0) return BDL_OK;
  if (from < 0) TRY(bdl_cuda_check(g, g->api.cuMemsetD8Async(out, 0, bytes, g->stream), "memory"));
  if (to < 0 && from < 0) return BDL_OK;
  return check(n, swap(n, in, to, out, from, bytes), "exchange");
}

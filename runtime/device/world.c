/*
** world.c -- Open MPI, opened at run time.  No header of it is needed: its handles are addresses of data that the library
** exports (mpi.h of versions 2 to 5).
*/
#define _GNU_SOURCE /* dladdr */
#include "device/world.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/context.h"
#include "base/pool.h"
#include "device/nccl.h"

enum { FUNNELED = 1, ERROR_TEXT = 1024 };

#define FUNCTIONS(X)                                                                                                             \
  X(Init_thread, (int *argc, char ***argv, int required, int *provided))                                                         \
  X(Initialized, (int *flag))                                                                                                    \
  X(Finalized, (int *flag))                                                                                                      \
  X(Finalize, (void))                                                                                                            \
  X(Abort, (void *comm, int code))                                                                                               \
  X(Comm_set_errhandler, (void *comm, void *handler))                                                                            \
  X(Error_string, (int code, char *text, int *n))                                                                                \
  X(Allreduce, (const void *in, void *out, int n, void *type, void *op, void *comm))                                             \
  X(Allgather, (const void *in, int n, void *type, void *out, int m, void *of, void *comm))                                      \
  X(Bcast, (void *data, int n, void *type, int root, void *comm))                                                                \
  X(Sendrecv, (const void *in, int n, void *type, int to, int tag, void *out, int m, void *of, int from, int tag_of, void *comm, \
               void *status))

#define HANDLES(X) \
  X(comm_world) X(errors_return) X(op_sum) X(byte) X(int32_t) X(int64_t) X(uint32_t) X(float) X(double)

typedef struct bdl_mpi {
#define X(name, args) int(*name) args;
  FUNCTIONS(X)
#undef X
#define X(name) void *h_##name;
  HANDLES(X)
#undef X
} bdl_mpi;

static const char *const libraries[] = {"libmpi.so.40", "libmpi.so.20", "libmpi.so"};

/* Its plug-ins find the library's symbols among those of the process. */
static void *load(void) {
  void *library = NULL;
  for (int i = 0; i < BDL_LEN(libraries) && !library; i++) library = dlopen(libraries[i], RTLD_NOW | RTLD_GLOBAL);
  return library;
}

static bool resolve(bdl_mpi *m, void *library) {
  bool all = true;
  void *p;
#define X(name, args)                                                                   \
  p = dlsym(library, "MPI_" #name);                                                     \
  memcpy(&m->name, &p, sizeof p); /* ISO C has no cast from an object to a function */ \
  all = all && p;
  FUNCTIONS(X)
#undef X
#define X(name) all = all && (m->h_##name = dlsym(library, "ompi_mpi_" #name));
  HANDLES(X)
#undef X
  return all;
}

static bdl_status check(bdl_world *w, const char *what, int code) {
  char text[ERROR_TEXT] = "";
  int n = 0;
  if (code == 0) return BDL_OK;
  w->mpi->Error_string(code, text, &n);
  return bdl_fail(w->ctx, BDL_EIO, "MPI: %s: %s", what, text);
}

static bdl_status mpi_open(bdl_world *w) {
  int begun = 0, ended = 0;
  if (w->mpi) return BDL_OK;
  void *library = load();
  bdl_mpi *m = bdl_calloc(w->ctx, sizeof *m);
  if (!m) return BDL_ENOMEM;
  if (!library || !resolve(m, library)) {
    bdl_free(w->ctx, m, sizeof *m);
    bdl_fail(w->ctx, BDL_ENOTSUP, "there are %d processes, but no Open MPI library for them to talk by: %s", w->size,
             library ? "libmpi is another MPI" : "libmpi.so was not found");
    bdl_hint(w->ctx, "apt install openmpi-bin");
    return BDL_ENOTSUP;
  }
  w->mpi = m;
  m->Initialized(&begun);
  m->Finalized(&ended);
  if (ended) return bdl_fail(w->ctx, BDL_ENOTSUP, "MPI: another context of this process has ended it");
  if (!begun) TRY(check(w, "start", m->Init_thread(NULL, NULL, FUNNELED, &begun)));
  return check(w, "start", m->Comm_set_errhandler(m->h_comm_world, m->h_errors_return));
}

static bdl_status mpi_sum(bdl_world *w, bdl_dtype d, const void *in, void *out, size_t n) {
  const bdl_mpi *m = w->mpi;
  void *const types[BDL_DTYPE_COUNT] = {[BDL_I32] = m->h_int32_t, [BDL_I64] = m->h_int64_t, [BDL_U32] = m->h_uint32_t,
                                        [BDL_F32] = m->h_float, [BDL_F64] = m->h_double};
  const size_t size = bdl_dtype_size(d);
  for (size_t i = 0; i < n; i += INT_MAX) {
    const int part = (int)BDL_MIN(n - i, (size_t)INT_MAX);
    TRY(check(w, "sum",
              m->Allreduce((const char *)in + i * size, (char *)out + i * size, part, types[d], m->h_op_sum, m->h_comm_world)));
  }
  return BDL_OK;
}

static bdl_status mpi_gather(bdl_world *w, const void *in, void *out, size_t bytes) {
  const bdl_mpi *m = w->mpi;
  if (bytes <= INT_MAX)
    return check(w, "gather", m->Allgather(in, (int)bytes, m->h_byte, out, (int)bytes, m->h_byte, m->h_comm_world));
  memcpy((char *)out + (size_t)w->rank * bytes, in, bytes);
  for (int r = 0; r < w->size; r++)
    for (size_t i = 0; i < bytes; i += INT_MAX) {
      const int part = (int)BDL_MIN(bytes - i, (size_t)INT_MAX);
      TRY(check(w, "gather", m->Bcast((char *)out + (size_t)r * bytes + i, part, m->h_byte, r, m->h_comm_world)));
    }
  return BDL_OK;
}

/* Nobody is -2, MPI_PROC_NULL: data to there is dropped, from there none comes. */
static bdl_status mpi_exchange(bdl_world *w, const void *in, int to, void *out, int from, size_t bytes) {
  const bdl_mpi *m = w->mpi;
  if (from < 0) memset(out, 0, bytes);
  to = to < 0 ? -2 : to, from = from < 0 ? -2 : from;
  for (size_t i = 0; i < bytes; i += INT_MAX) {
    const int part = (int)BDL_MIN(bytes - i, (size_t)INT_MAX);
    TRY(check(w, "exchange", m->Sendrecv((const char *)in + i, part, m->h_byte, to, 0, (char *)out + i, part, m->h_byte, from, 0,
                                         m->h_comm_world, NULL)));
  }
  return BDL_OK;
}

static void mpi_close(bdl_world *w, int code) {
  int begun = 0, ended = 0;
  if (!w->mpi) return;
  w->mpi->Initialized(&begun);
  w->mpi->Finalized(&ended);
  if (begun && !ended && code != 0) w->mpi->Abort(w->mpi->h_comm_world, code);
  else if (begun && !ended) w->mpi->Finalize();
}

static const bdl_world_ops mpi_ops = {mpi_open, mpi_sum, mpi_gather, mpi_exchange, mpi_close};

/* ---- the world of a context ------------------------------------------------------------------------ */

static void fini(bdl_context *c, void *p) {
  bdl_world *w = p;
  bdl_world_end(c, 0);
  bdl_free(c, w->mpi, w->mpi ? sizeof *w->mpi : 0);
  bdl_free(c, w, sizeof *w);
}

/* What mpirun says; `least` without it. */
static int from_environment(const char *name, int least) {
  const char *text = getenv(name);
  const long n = text ? strtol(text, NULL, 10) : least;
  return n < least || n > INT_MAX ? least : (int)n;
}

bdl_status bdl_world_get(bdl_context *c, bdl_world **out) {
  bdl_world *w = c->slot[BDL_SLOT_WORLD].p;
  if (!w) {
    w = bdl_calloc(c, sizeof *w);
    if (!w) return BDL_ENOMEM;
    w->ctx = c;
    w->size = from_environment("OMPI_COMM_WORLD_SIZE", 1);
    w->rank = w->size > 1 ? from_environment("OMPI_COMM_WORLD_RANK", 0) : 0;
    w->local = w->size > 1 ? from_environment("OMPI_COMM_WORLD_LOCAL_SIZE", 1) : 1;
    w->local_rank = w->size > 1 ? from_environment("OMPI_COMM_WORLD_LOCAL_RANK", 0) : 0;
    w->ops = w->size > 1 ? &mpi_ops : NULL;
    c->slot[BDL_SLOT_WORLD].p = w;
    c->slot[BDL_SLOT_WORLD].fini = fini;
  }
  *out = w;
  return BDL_OK;
}

/* mpirun may have bound each process to some processors already. */
int bdl_world_threads(const bdl_world *w) {
  const long online = sysconf(_SC_NPROCESSORS_ONLN);
  if (w->local <= 1 || getenv("OMP_NUM_THREADS")) return 0;
  return (int)BDL_MAX(1, BDL_MIN((long)bdl_pool_default(), online / w->local));
}

bdl_status bdl_world_sum(bdl_world *w, bdl_dtype d, const void *in, void *out, size_t n) {
  BDL_ASSERT(d != BDL_BOOL, "a sum of truth values");
  if (!w->ops) return memcpy(out, in, n * bdl_dtype_size(d)), BDL_OK;
  TRY(w->ops->open(w));
  return w->ops->sum(w, d, in, out, n);
}

bdl_status bdl_world_gather(bdl_world *w, const void *in, void *out, size_t bytes) {
  if (!w->ops) return memcpy(out, in, bytes), BDL_OK;
  TRY(w->ops->open(w));
  return w->ops->gather(w, in, out, bytes);
}

bdl_status bdl_world_exchange(bdl_world *w, const void *in, int to, void *out, int from, size_t bytes) {
  if (!w->ops) return from < 0 ? memset(out, 0, bytes) : memcpy(out, in, bytes), BDL_OK;
  TRY(w->ops->open(w));
  return w->ops->exchange(w, in, to, out, from, bytes);
}

void bdl_world_end(bdl_context *c, int code) {
  bdl_world *w = c->slot[BDL_SLOT_WORLD].p;
  if (!w || !w->ops) return;
  if (code == 0) bdl_nccl_end(w); /* else the others will not come to the end of it */
  w->ops->close(w, code);
}

const char *bdl_world_library(char *buf, size_t n) {
  void *library = load();
  Dl_info info;
  void *symbol = library ? dlsym(library, "ompi_mpi_comm_world") : NULL;
  if (!symbol || !dladdr(symbol, &info) || !info.dli_fname) return NULL;
  snprintf(buf, n, "%s", info.dli_fname);
  return buf;
}

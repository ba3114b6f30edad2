/*
** ranks.c -- MPI, loaded at run time.  Open MPI has pointers for handles, MPICH and its kin have integers; both are known by a
** symbol of their library.  The context that starts MPI ends it.
** Source: MPI 3.1; mpi.h of Open MPI 4 and of MPICH 4 for the values of the handles.
*/
#include "device/ranks.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/context.h"

typedef uintptr_t handle; /* of a communicator, a type, an operation: as wide as either kind */

typedef struct ranks {
  void *lib;
  bool ours; /* started here */
  int rank, size;
  handle world, op[3], type[BDL_DTYPE_COUNT], byte;
  int (*allreduce)(const void *, void *, int, handle, handle, handle);
  int (*allgather)(const void *, int, handle, void *, int, handle, handle);
  int (*finalize)(void);
} ranks;

static void leave(ranks *r, bool failed) {
  if (r->ours && !failed) r->finalize();
  r->ours = false;
}

void bdl_ranks_end(bdl_context *c, bool failed) {
  if (c->slot[BDL_SLOT_RANKS].p) leave(c->slot[BDL_SLOT_RANKS].p, failed);
}

static void fini(bdl_context *c, void *p) {
  ranks *r = p;
  leave(r, false); /* the library stays: it may have threads */
  bdl_free(c, r, sizeof *r);
}

/* The libraries of the mpirun that started the process, by what it left in the environment; NULL: none did. */
static const char *const *launcher(void) {
  static const char *const open_mpi[] = {"libmpi.so.40", "libmpi.so", NULL};
  static const char *const mpich[] = {"libmpich.so.12", "libmpi.so.12", "libmpi.so", NULL};
  if (getenv("OMPI_COMM_WORLD_SIZE")) return open_mpi;
  return getenv("PMI_SIZE") || getenv("MPI_LOCALNRANKS") ? mpich : NULL;
}

static void *symbol(const ranks *r, const char *name) { return dlsym(r->lib, name); }

static void open_mpi(ranks *r) {
  static const char *const types[BDL_DTYPE_COUNT] = {[BDL_I32] = "ompi_mpi_int32_t", [BDL_U32] = "ompi_mpi_uint32_t", [BDL_I64] = "ompi_mpi_int64_t",
                                                     [BDL_F32] = "ompi_mpi_float", [BDL_F64] = "ompi_mpi_double"};
  static const char *const ops[] = {"ompi_mpi_op_sum", "ompi_mpi_op_max", "ompi_mpi_op_min"};
  r->world = (handle)symbol(r, "ompi_mpi_comm_world");
  r->byte = (handle)symbol(r, "ompi_mpi_byte");
  for (int i = 0; i < BDL_LEN(ops); i++) r->op[i] = (handle)symbol(r, ops[i]);
  for (int i = 0; i < BDL_DTYPE_COUNT; i++) r->type[i] = types[i] ? (handle)symbol(r, types[i]) : 0;
}

static void mpich(ranks *r) {
  r->world = 0x44000000;
  r->byte = 0x4c00010d;
  r->op[BDL_RANKS_MAX] = 0x58000001, r->op[BDL_RANKS_MIN] = 0x58000002, r->op[BDL_RANKS_SUM] = 0x58000003;
  r->type[BDL_I32] = 0x4c000439, r->type[BDL_U32] = 0x4c00043d, r->type[BDL_I64] = 0x4c00083a;
  r->type[BDL_F32] = 0x4c00040a, r->type[BDL_F64] = 0x4c00080b;
}

/* A function of the library, by way of an integer: ISO C has no cast from void * to it. */
#define LOAD(field, name) (*(void **)&(field) = symbol(r, name))

static bdl_status start(bdl_context *c, const char *const *names, ranks *r) {
  int (*init)(int *, char ***), (*initialized)(int *), (*comm_rank)(handle, int *), (*comm_size)(handle, int *), yes = 0;
  for (; *names && !r->lib; names++) r->lib = dlopen(*names, RTLD_NOW | RTLD_GLOBAL);
  if (!r->lib) {
    bdl_hint(c, "install Open MPI or MPICH, or start the program without mpirun");
    return bdl_fail(c, BDL_EIO, "started by mpirun, but there is no libmpi: %s", dlerror());
  }
  if (symbol(r, "ompi_mpi_comm_world")) open_mpi(r);
  else mpich(r);
  LOAD(init, "MPI_Init"), LOAD(initialized, "MPI_Initialized"), LOAD(r->finalize, "MPI_Finalize");
  LOAD(comm_rank, "MPI_Comm_rank"), LOAD(comm_size, "MPI_Comm_size");
  LOAD(r->allreduce, "MPI_Allreduce"), LOAD(r->allgather, "MPI_Allgather");
  if (!init || !initialized || !r->finalize || !comm_rank || !comm_size || !r->allreduce || !r->allgather)
    return bdl_fail(c, BDL_EIO, "libmpi lacks functions of MPI 3");
  if (initialized(&yes) != 0 || (!yes && init(NULL, NULL) != 0)) return bdl_fail(c, BDL_EIO, "MPI does not start");
  r->ours = !yes;
  if (comm_rank(r->world, &r->rank) != 0 || comm_size(r->world, &r->size) != 0) return bdl_fail(c, BDL_EIO, "MPI knows no ranks");
  return BDL_OK;
}

static bdl_status get(bdl_context *c, ranks **out) {
  ranks *r = c->slot[BDL_SLOT_RANKS].p;
  if (!r) {
    if (!(r = bdl_calloc(c, sizeof *r))) return BDL_ENOMEM;
    const char *const *names = launcher();
    r->size = 1;
    const bdl_status s = names ? start(c, names, r) : BDL_OK;
    if (s != BDL_OK) {
      fini(c, r);
      return s;
    }
    c->slot[BDL_SLOT_RANKS].p = r;
    c->slot[BDL_SLOT_RANKS].fini = fini;
  }
  *out = r;
  return BDL_OK;
}

bdl_status bdl_ranks(bdl_context *c, int *rank, int *size) {
  ranks *r = NULL;
  TRY(get(c, &r));
  *rank = r->rank, *size = r->size;
  return BDL_OK;
}

static bdl_status done(bdl_context *c, int code) { return code == 0 ? BDL_OK : bdl_fail(c, BDL_EIO, "MPI failed with code %d", code); }

enum { MOST = 1 << 30 }; /* counts are int */

bdl_status bdl_ranks_reduce(bdl_context *c, bdl_rank_op op, bdl_dtype d, const void *x, void *y, int64_t n) {
  ranks *r = NULL;
  TRY(get(c, &r));
  if (r->size == 1) return memcpy(y, x, (size_t)n * bdl_dtype_size(d)), BDL_OK;
  if (!r->type[d]) return bdl_fail(c, BDL_ETYPE, "%s does not go between processes", bdl_dtype_long_name(d));
  for (int64_t at = 0; at < n; at += MOST) {
    const size_t skip = (size_t)at * bdl_dtype_size(d);
    TRY(done(c, r->allreduce((const char *)x + skip, (char *)y + skip, (int)BDL_MIN(n - at, MOST), r->type[d], r->op[op], r->world)));
  }
  return BDL_OK;
}

bdl_status bdl_ranks_gather(bdl_context *c, const void *x, void *y, size_t bytes) {
  ranks *r = NULL;
  TRY(get(c, &r));
  if (r->size == 1) return memcpy(y, x, bytes), BDL_OK;
  if (bytes > MOST) return bdl_fail(c, BDL_EVALUE, "%zu bytes are too many for one message between processes", bytes);
  return done(c, r->allgather(x, (int)bytes, r->byte, y, (int)bytes, r->byte, r->world));
}

bdl_status bdl_ranks_permute(bdl_context *c, const int64_t *from, const void *x, void *y, size_t bytes) {
  ranks *r = NULL;
  TRY(get(c, &r));
  char *all = bdl_alloc(c, bytes * (size_t)r->size + 1);
  if (!all) return BDL_ENOMEM;
  bdl_status s = bdl_ranks_gather(c, x, all, bytes);
  if (s == BDL_OK && from[r->rank] >= 0) memcpy(y, all + bytes * (size_t)from[r->rank], bytes);
  else if (s == BDL_OK) memset(y, 0, bytes);
  bdl_free(c, all, bytes * (size_t)r->size + 1);
  return s;
}

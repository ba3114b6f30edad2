/*
** nccl.c -- collectives between processes, queued on streams of the fake driver.  The unique id is the path of a folder;
** what a rank has for others it puts there as a file, and waits for theirs.
**
**     r<rank>           who has joined, with which device      p<from>.<to>.<n>   the n-th message of a pair
**     a<n>.<rank>       a rank's part of the n-th collective   b<rank>            who has left
**
** A rank that waits for two minutes gives up and says for what.
*/
#include <dirent.h>
#include <stdarg.h>
#include <unistd.h>

#include "fake.h"

enum { MOST_RANKS = 16, MOST_MESSAGES = 16, PATIENCE = 120 * 10000 }; /* of 0.1 ms */

struct ncclComm {
  char folder[NCCL_UNIQUE_ID_BYTES];
  int size, rank, device;
  uint64_t collectives, sent[MOST_RANKS], received[MOST_RANKS];
};

/* What all ranks of a collective, or both of a message, must ask for alike. */
typedef struct {
  int kind, type, op, unused;
  uint64_t count;
} request;

static const size_t sizes[] = {1, 1, 4, 4, 8, 8, 2, 4, 8};

/* ---- files ------------------------------------------------------------------------------------------------------- */

typedef char name[NCCL_UNIQUE_ID_BYTES + 64];

static void name_of(name path, const char *folder, const char *format, ...) {
  va_list ap;
  va_start(ap, format);
  const int n = snprintf(path, sizeof(name), "%s/", folder);
  vsnprintf(path + n, sizeof(name) - (size_t)n, format, ap);
  va_end(ap);
}

/* Whole, or not there yet. */
static bool publish(const name path, const request *q, const void *data, size_t n) {
  char beside[sizeof(name) + 1];
  snprintf(beside, sizeof beside, "%s~", path);
  FILE *f = fopen(beside, "wb");
  if (!f) return false;
  const bool ok = fwrite(q, sizeof *q, 1, f) == 1 && fwrite(data, 1, n, f) == n;
  return fclose(f) == 0 && ok && rename(beside, path) == 0;
}

static bool wait_while(const name path, bool missing) {
  for (int i = 0; i < PATIENCE; i++) {
    if ((access(path, F_OK) != 0) != missing) return true;
    usleep(100);
  }
  fprintf(stderr, "fake NCCL: waited in vain for %s%s\n", missing ? "" : "somebody to take ", path);
  return false;
}

static bool receive(const name path, const request *q, void *data, size_t n) {
  request theirs;
  if (!wait_while(path, true)) return false;
  FILE *f = fopen(path, "rb");
  bool ok = f && fread(&theirs, sizeof theirs, 1, f) == 1;
  if (ok && memcmp(&theirs, q, sizeof theirs) != 0) {
    fprintf(stderr, "fake NCCL: %s asks for kind %d, type %d, %llu elements; this rank for kind %d, type %d, %llu\n", path, theirs.kind,
            theirs.type, (unsigned long long)theirs.count, q->kind, q->type, (unsigned long long)q->count);
    ok = false;
  }
  ok = ok && fread(data, 1, n, f) == n;
  if (f) fclose(f);
  return ok;
}

static void remove_folder(const char *folder) {
  DIR *d = opendir(folder);
  name path;
  for (const struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
    name_of(path, folder, "%s", e->d_name);
    unlink(path);
  }
  if (d) closedir(d);
  rmdir(folder);
}

/* ---- collectives ------------------------------------------------------------------------------------------------- */

enum { JOIN, REDUCE, GATHER, MESSAGE };

typedef struct {
  ncclComm_t comm;
  request q;
  const void *x;
  void *z;
  uint64_t n;
} collective;

#define ADD(T)                                                                       \
  for (uint64_t i = 0; i < n; i++) ((T *)z)[i] = (T)(((T *)z)[i] + ((const T *)x)[i]); \
  break

static void add(int type, void *z, const void *x, uint64_t n) {
  switch (type) {
  case ncclInt32: case ncclUint32: ADD(uint32_t);
  case ncclInt64: case ncclUint64: ADD(uint64_t);
  case ncclFloat32: ADD(float);
  case ncclFloat64: ADD(double);
  default: break;
  }
}

/* Sums go by rank, upwards.  Who has come to the n-th has read all of the one before. */
static CUresult do_collective(void *args) {
  const collective *k = args;
  const struct ncclComm *m = k->comm;
  const size_t n = k->q.count * sizes[k->q.type];
  char *theirs = malloc(n + 1);
  name path;
  name_of(path, m->folder, "a%llu.%d", (unsigned long long)k->n, m->rank);
  bool ok = theirs && publish(path, &k->q, k->x, n);
  for (int r = 0; r < m->size && ok; r++) {
    name_of(path, m->folder, "a%llu.%d", (unsigned long long)k->n, r);
    ok = receive(path, &k->q, theirs, n);
    if (!ok) break;
    if (k->q.kind == GATHER) memcpy((char *)k->z + (size_t)r * n, theirs, n);
    else if (r == 0) memcpy(k->z, theirs, n);
    else add(k->q.type, k->z, theirs, k->q.count);
  }
  free(theirs);
  name_of(path, m->folder, "a%llu.%d", (unsigned long long)k->n - 1, m->rank);
  if (ok && k->n) unlink(path);
  return ok ? CUDA_SUCCESS : CUDA_ERROR_LAUNCH_FAILED;
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

typedef struct {
  bool out;
  int type, peer;
  uint64_t count, n;
  void *data;
} message;

typedef struct {
  ncclComm_t comm;
  int n;
  message v[MOST_MESSAGES];
} messages;

/* A group: all is sent, all received, then all that was sent has been received. */
static CUresult do_messages(void *args) {
  const messages *g = args;
  const struct ncclComm *m = g->comm;
  bool ok = true;
  name path;
  for (int step = 0; step < 3; step++)
    for (int i = 0; i < g->n && ok; i++) {
      const message *k = &g->v[i];
      const request q = {.kind = MESSAGE, .type = k->type, .count = k->count};
      const size_t n = k->count * sizes[k->type];
      if (k->out != (step != 1)) continue;
      name_of(path, m->folder, "p%d.%d.%llu", k->out ? m->rank : k->peer, k->out ? k->peer : m->rank, (unsigned long long)k->n);
      if (step == 0) ok = publish(path, &q, k->data, n);
      else if (step == 1) ok = receive(path, &q, k->data, n) && unlink(path) == 0;
      else ok = wait_while(path, false);
    }
  return ok ? CUDA_SUCCESS : CUDA_ERROR_LAUNCH_FAILED;
}

static _Thread_local struct {
  int depth;
  CUstream stream;
  messages m;
} group;

static ncclResult_t end_group(void) {
  const int n = group.m.n;
  group.m.n = 0;
  if (!n) return ncclSuccess;
  messages m = group.m;
  m.n = n;
  return fake_queue(group.stream, do_messages, &m, sizeof m, NULL) ? ncclUnhandledCudaError : ncclSuccess;
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

#define ENTER_NCCL(function) \
  if (fake_fails(#function)) return ncclSystemError

/* Is this the communicator's device, and are n bytes at p there? */
static ncclResult_t check(ncclComm_t m, const void *p, uint64_t count, int type, uint64_t times) {
  CUcontext c;
  if (!m || type < 0 || type >= (int)(sizeof sizes / sizeof *sizes)) return ncclInvalidArgument;
  if (cuCtxGetCurrent(&c) || !c || c->device != m->device) {
    fprintf(stderr, "fake NCCL: a call on another device than the communicator's\n");
    return ncclInvalidUsage;
  }
  if (fake_on_device((CUdeviceptr)(uintptr_t)p, count * times * sizes[type])) return ncclSuccess;
  fprintf(stderr, "fake NCCL: %zu elements do not lie in an allocation of the device\n", (size_t)count * times);
  return ncclInvalidArgument;
}

static ncclResult_t together(request q, const void *x, void *z, ncclComm_t m, CUstream s) {
  ncclResult_t e = check(m, x, q.count, q.type, 1);
  if (!e) e = check(m, z, q.count, q.type, q.kind == GATHER ? (uint64_t)m->size : 1);
  if (e) return e;
  if (group.depth) return ncclInvalidUsage; /* the real one takes them */
  const collective k = {m, q, x, z, m->collectives++};
  return fake_queue(s, do_collective, &k, sizeof k, NULL) ? ncclUnhandledCudaError : ncclSuccess;
}

ncclResult_t ncclAllReduce(const void *x, void *z, size_t n, int type, int op, ncclComm_t m, CUstream s) {
  ENTER_NCCL(ncclAllReduce);
  if (op != 0) return ncclInvalidArgument; /* sums alone */
  if (type != ncclInt32 && type != ncclUint32 && type != ncclInt64 && type != ncclUint64 && type != ncclFloat32 && type != ncclFloat64)
    return ncclInvalidArgument;
  return together((request){.kind = REDUCE, .type = type, .op = op, .count = n}, x, z, m, s);
}

ncclResult_t ncclAllGather(const void *x, void *z, size_t n, int type, ncclComm_t m, CUstream s) {
  ENTER_NCCL(ncclAllGather);
  return together((request){.kind = GATHER, .type = type, .count = n}, x, z, m, s);
}

static ncclResult_t add_message(bool out, void *data, size_t n, int type, int peer, ncclComm_t m, CUstream s) {
  const ncclResult_t e = check(m, data, n, type, 1);
  if (e) return e;
  if (peer < 0 || peer >= m->size || group.m.n == MOST_MESSAGES) return ncclInvalidArgument;
  if (group.m.n && (group.m.comm != m || group.stream != s)) return ncclInvalidUsage; /* the real one takes them */
  group.m.comm = m;
  group.stream = s;
  group.m.v[group.m.n++] = (message){out, type, peer, n, out ? m->sent[peer]++ : m->received[peer]++, data};
  return group.depth ? ncclSuccess : end_group();
}

ncclResult_t ncclSend(const void *x, size_t n, int type, int to, ncclComm_t m, CUstream s) {
  ENTER_NCCL(ncclSend);
  return add_message(true, (void *)(uintptr_t)x, n, type, to, m, s);
}

ncclResult_t ncclRecv(void *z, size_t n, int type, int from, ncclComm_t m, CUstream s) {
  ENTER_NCCL(ncclRecv);
  return add_message(false, z, n, type, from, m, s);
}

ncclResult_t ncclGroupStart(void) {
  ENTER_NCCL(ncclGroupStart);
  group.depth++;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd(void) {
  if (!group.depth) return ncclInvalidUsage;
  group.depth--;
  ENTER_NCCL(ncclGroupEnd);
  return group.depth ? ncclSuccess : end_group();
}

/* ---- communicators ----------------------------------------------------------------------------------------------- */

ncclResult_t ncclGetVersion(int *version) {
  *version = (int)fake_env("FAKE_CUDA_NCCL", 22105);
  return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
  ENTER_NCCL(ncclGetUniqueId);
  const char *under = getenv("TMPDIR");
  memset(id, 0, sizeof *id);
  snprintf(id->internal, sizeof id->internal, "%.80s/fake-nccl-XXXXXX", under && *under ? under : "/tmp");
  return mkdtemp(id->internal) ? ncclSuccess : ncclSystemError;
}

ncclResult_t ncclCommInitRank(ncclComm_t *comm, int size, ncclUniqueId id, int rank) {
  ENTER_NCCL(ncclCommInitRank);
  CUcontext c;
  int device[MOST_RANKS], own; /* on the PCI bus */
  const request q = {.kind = JOIN, .count = (uint64_t)size};
  name path;
  if (size < 1 || size > MOST_RANKS || rank < 0 || rank >= size) return ncclInvalidArgument;
  if (cuCtxGetCurrent(&c) || !c || cuDeviceGetAttribute(&own, 33, c->device)) return ncclUnhandledCudaError;
  name_of(path, id.internal, "r%d", rank);
  if (!publish(path, &q, &own, sizeof own)) return ncclSystemError;
  for (int r = 0; r < size; r++) {
    name_of(path, id.internal, "r%d", r);
    if (!receive(path, &q, &device[r], sizeof device[r])) return ncclSystemError;
  }
  for (int r = 0; r < size; r++)
    for (int o = 0; o < r; o++)
      if (device[o] == device[r]) {
        fprintf(stderr, "fake NCCL: ranks %d and %d both have device %d\n", o, r, device[r]);
        return ncclInvalidUsage;
      }
  ncclComm_t m = calloc(1, sizeof *m);
  if (!m) return ncclSystemError;
  memcpy(m->folder, id.internal, sizeof m->folder);
  m->size = size;
  m->rank = rank;
  m->device = c->device;
  *comm = m;
  return ncclSuccess;
}

/* The last one takes the folder with it.  waits: for the others to leave, too. */
static bool leave(ncclComm_t m, bool waits) {
  const request q = {.kind = JOIN};
  bool all = true;
  name path;
  name_of(path, m->folder, "b%d", m->rank);
  if (!publish(path, &q, "", 0)) return false;
  for (int r = 0; r < m->size && all; r++) {
    name_of(path, m->folder, "b%d", r);
    for (int i = 0; i < PATIENCE && waits && access(path, F_OK) != 0 && access(m->folder, F_OK) == 0; i++) usleep(100);
    all = access(path, F_OK) == 0;
  }
  if (all) remove_folder(m->folder);
  return all || access(m->folder, F_OK) != 0;
}

ncclResult_t ncclCommDestroy(ncclComm_t m) {
  ENTER_NCCL(ncclCommDestroy);
  if (!m) return ncclInvalidArgument;
  const bool done = leave(m, true);
  if (!done) fprintf(stderr, "fake NCCL: a rank has not left\n");
  free(m);
  return done ? ncclSuccess : ncclSystemError;
}

ncclResult_t ncclCommAbort(ncclComm_t m) {
  if (!m) return ncclInvalidArgument;
  leave(m, false);
  free(m);
  return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t e) {
  switch (e) {
  case ncclSuccess: return "no error";
  case ncclUnhandledCudaError: return "unhandled cuda error";
  case ncclSystemError: return "unhandled system error";
  case ncclInvalidArgument: return "invalid argument";
  case ncclInvalidUsage: return "invalid usage";
  }
  return "unknown result code";
}

/*
** memory.c -- device memory, pinned host memory, copies.
**
** The memory of a device is one mapping that nobody may touch except while the fake runs what is queued: a host that
** follows a device pointer faults, like on a machine with a GPU.  New memory is full of 0xA5.  Behind each allocation
** lie 256 bytes or more that are looked at when it is freed: who wrote there went past its end.
*/
#include <sys/mman.h>

#include "fake.h"

enum { ALIGN = 256, HUGE = 2 << 20 };

typedef struct {
  char *p;
  size_t n, room; /* bytes asked for; with what lies behind */
  bool leaving;   /* freed by work that is queued */
} block;

typedef struct {
  char *map, *base;           /* base: where the first huge page begins */
  size_t size, used, touched; /* bytes there; allocated; ever allocated up to there, in huge pages */
  block *blocks;              /* by address */
  size_t n, room;
} memory;

static memory memories[FAKE_DEVICES];
static int shown;

static size_t mapped(const memory *m) { return (m->size + HUGE - 1) / HUGE * HUGE + HUGE; }

void fake_memory_show(bool yes) {
  if (yes ? shown++ : --shown) return;
  for (int d = 0; d < FAKE_DEVICES; d++)
    if (memories[d].touched) mprotect(memories[d].base, memories[d].touched, yes ? PROT_READ | PROT_WRITE : PROT_NONE);
}

CUresult fake_memory_new(int device) {
  memory *m = &memories[device];
  memset(m, 0, sizeof *m);
  m->size = (size_t)fake_env("FAKE_CUDA_MEMORY", 2L << 30);
  m->map = mmap(NULL, mapped(m), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (m->map == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
  m->base = (char *)(((uintptr_t)m->map + HUGE - 1) / HUGE * HUGE);
  madvise(m->base, m->size, MADV_HUGEPAGE); /* where there are any, showing and hiding takes less time */
  return CUDA_SUCCESS;
}

/* ---- device memory ----------------------------------------------------------------------------------------------- */

static block *find(CUdeviceptr p, memory **m) {
  for (int d = 0; d < FAKE_DEVICES; d++) {
    *m = &memories[d];
    size_t lo = 0, hi = (*m)->n;
    while (lo < hi) { /* the last that begins at p or below */
      const size_t mid = (lo + hi) / 2;
      if ((CUdeviceptr)(uintptr_t)(*m)->blocks[mid].p <= p) lo = mid + 1;
      else hi = mid;
    }
    if (lo && p < (CUdeviceptr)(uintptr_t)((*m)->blocks[lo - 1].p + (*m)->blocks[lo - 1].room))
      return &(*m)->blocks[lo - 1];
  }
  return NULL;
}

bool fake_on_device(CUdeviceptr p, size_t n) {
  __attribute__((cleanup(fake_unlock))) const int entered = fake_lock();
  (void)entered;
  memory *m;
  const block *b = find(p, &m);
  if (!b || b->leaving) return false;
  const size_t at = (size_t)((char *)(uintptr_t)p - b->p);
  return at <= b->n && n <= b->n - at;
}

/* The first gap that is wide enough. */
static block *allocate(memory *m, size_t n) {
  if (n > m->size) return NULL;
  const size_t room = (n + ALIGN - 1) / ALIGN * ALIGN + ALIGN;
  if (m->n == m->room) {
    const size_t more = m->room * 2 + 16;
    block *blocks = realloc(m->blocks, more * sizeof *blocks);
    if (!blocks) return NULL;
    m->blocks = blocks;
    m->room = more;
  }
  size_t i = 0, at = 0;
  while (i < m->n && (size_t)(m->blocks[i].p - m->base) - at < room) {
    at = (size_t)(m->blocks[i].p - m->base) + m->blocks[i].room;
    i++;
  }
  if (i == m->n && m->size - at < room) return NULL;
  memmove(m->blocks + i + 1, m->blocks + i, (m->n - i) * sizeof *m->blocks);
  m->n++;
  m->used += room;
  m->blocks[i] = (block){m->base + at, n, room, false};
  if (at + room > m->touched) {
    m->touched = (at + room + HUGE - 1) / HUGE * HUGE;
    if (shown) mprotect(m->base, m->touched, PROT_READ | PROT_WRITE);
  }
  return &m->blocks[i];
}

static CUresult drop(memory *m, block *b) {
  CUresult e = CUDA_SUCCESS;
  for (size_t i = b->n; i < b->room && !e; i++)
    if ((unsigned char)b->p[i] != FAKE_FILL) {
      fprintf(stderr, "fake CUDA: byte %zu behind an allocation of %zu bytes was written\n", i - b->n, b->n);
      e = CUDA_ERROR_ILLEGAL_ADDRESS;
    }
  m->used -= b->room;
  m->n--;
  memmove(b, b + 1, (size_t)(m->blocks + m->n - b) * sizeof *b);
  return e;
}

struct fill {
  char *p;
  size_t n;
  int byte;
};

static CUresult do_fill(void *args) {
  const struct fill *f = args;
  memset(f->p, f->byte, f->n);
  return CUDA_SUCCESS;
}

static CUresult do_free(void *args) {
  memory *m;
  block *b = find(*(CUdeviceptr *)args, &m);
  return b ? drop(m, b) : CUDA_SUCCESS;
}

/* f: what is to be filled before use */
static CUresult new_block(CUdeviceptr *p, size_t n, struct fill *f) {
  memory *m = &memories[fake_context()->device];
  if (!n) return CUDA_ERROR_INVALID_VALUE;
  block *b = allocate(m, n);
  if (!b) { /* is what is being freed enough? */
    const CUresult e = fake_drain_all();
    if (e) return e;
    b = allocate(m, n);
  }
  if (!b) return CUDA_ERROR_OUT_OF_MEMORY;
  *p = (CUdeviceptr)(uintptr_t)b->p;
  *f = (struct fill){b->p, b->room, FAKE_FILL};
  return CUDA_SUCCESS;
}

CUresult cuMemAlloc_v2(CUdeviceptr *p, size_t n) {
  ENTER_CONTEXT(cuMemAlloc);
  struct fill f;
  const CUresult e = new_block(p, n, &f);
  if (e) return e;
  fake_memory_show(true);
  do_fill(&f);
  fake_memory_show(false);
  return CUDA_SUCCESS;
}

CUresult cuMemAllocAsync(CUdeviceptr *p, size_t n, CUstream s) {
  ENTER_CONTEXT(cuMemAllocAsync);
  struct fill f;
  CUresult e = new_block(p, n, &f);
  if (!e) e = fake_queue(s, do_fill, &f, sizeof f, NULL);
  return e;
}

CUresult cuMemFree_v2(CUdeviceptr p) {
  ENTER_CONTEXT(cuMemFree);
  if (!p) return CUDA_SUCCESS;
  memory *m;
  block *b = find(p, &m);
  if (!b || b->leaving || b->p != (char *)(uintptr_t)p) return CUDA_ERROR_INVALID_VALUE;
  CUresult e = fake_drain_all(); /* may move b */
  fake_memory_show(true);
  const CUresult written = drop(m, find(p, &m));
  fake_memory_show(false);
  return e ? e : written;
}

CUresult cuMemFreeAsync(CUdeviceptr p, CUstream s) {
  ENTER_CONTEXT(cuMemFreeAsync);
  if (!p) return CUDA_SUCCESS;
  memory *m;
  block *b = find(p, &m);
  if (!b || b->leaving || b->p != (char *)(uintptr_t)p) return CUDA_ERROR_INVALID_VALUE;
  const CUresult e = fake_queue(s, do_free, &p, sizeof p, NULL);
  b->leaving = !e;
  return e;
}

CUresult cuMemGetInfo_v2(size_t *available, size_t *total) {
  ENTER_CONTEXT(cuMemGetInfo);
  const memory *m = &memories[fake_context()->device];
  *available = m->size - m->used;
  *total = m->size;
  return CUDA_SUCCESS;
}

/* Freed memory goes back at once, so a pool has nothing to set. */
CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *pool, CUdevice d) {
  ENTER(cuDeviceGetDefaultMemPool);
  if (d < 0 || d >= FAKE_DEVICES) return CUDA_ERROR_INVALID_DEVICE;
  *pool = (CUmemoryPool)&memories[d];
  return CUDA_SUCCESS;
}

CUresult cuMemPoolSetAttribute(CUmemoryPool pool, int attribute, void *v) {
  ENTER(cuMemPoolSetAttribute);
  return pool && v && attribute >= 1 && attribute <= 4 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemPoolTrimTo(CUmemoryPool pool, size_t keep) {
  ENTER(cuMemPoolTrimTo);
  (void)keep;
  return pool ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* ---- pinned host memory ------------------------------------------------------------------------------------------ */

typedef struct pinned {
  struct pinned *next;
  char *p;
  size_t n;
} pinned;
static pinned *all_pinned;

static bool is_pinned(const void *p, size_t n) {
  for (const pinned *i = all_pinned; i; i = i->next)
    if ((const char *)p >= i->p && (const char *)p + n <= i->p + i->n) return true;
  return false;
}

CUresult cuMemHostAlloc(void **p, size_t n, unsigned flags) {
  ENTER_CONTEXT(cuMemHostAlloc);
  if (!n || flags > 7) return CUDA_ERROR_INVALID_VALUE;
  pinned *i = malloc(sizeof *i);
  void *room = NULL;
  if (!i || posix_memalign(&room, 4096, n)) {
    free(i);
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  memset(room, FAKE_FILL, n);
  *i = (pinned){all_pinned, room, n};
  all_pinned = i;
  *p = room;
  return CUDA_SUCCESS;
}

CUresult cuMemFreeHost(void *p) {
  ENTER_CONTEXT(cuMemFreeHost);
  for (pinned **i = &all_pinned; *i; i = &(*i)->next)
    if ((*i)->p == p) {
      pinned *gone = *i;
      const CUresult e = fake_drain_all();
      *i = gone->next;
      free(gone->p);
      free(gone);
      return e;
    }
  return CUDA_ERROR_INVALID_VALUE;
}

void fake_memory_drop(int device) {
  memory *m = &memories[device];
  munmap(m->map, mapped(m));
  free(m->blocks);
  memset(m, 0, sizeof *m);
}

/* ---- copies ------------------------------------------------------------------------------------------------------ */

struct copy {
  void *to;
  const void *from;
  size_t n;
};

static CUresult do_copy(void *args) {
  const struct copy *c = args;
  memmove(c->to, c->from, c->n);
  return CUDA_SUCCESS;
}

/* Pinned memory is read when the copy's turn comes, other memory of the host now. */
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t n, CUstream s) {
  ENTER_CONTEXT(cuMemcpyHtoDAsync);
  if (!fake_on_device(to, n)) return CUDA_ERROR_INVALID_VALUE;
  struct copy c = {(void *)(uintptr_t)to, from, n};
  void *staged = NULL;
  if (!is_pinned(from, n)) {
    staged = malloc(n + 1);
    if (!staged) return CUDA_ERROR_OUT_OF_MEMORY;
    c.from = memcpy(staged, from, n);
  }
  return fake_queue(s, do_copy, &c, sizeof c, staged);
}

/* Pinned memory is written when the copy's turn comes; with other memory of the host the call waits for it. */
CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t n, CUstream s) {
  ENTER_CONTEXT(cuMemcpyDtoHAsync);
  if (!fake_on_device(from, n)) return CUDA_ERROR_INVALID_VALUE;
  const struct copy c = {to, (const void *)(uintptr_t)from, n};
  const CUresult e = fake_queue(s, do_copy, &c, sizeof c, NULL);
  return e || is_pinned(to, n) ? e : fake_drain(s);
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t n, CUstream s) {
  ENTER_CONTEXT(cuMemcpyDtoDAsync);
  if (!fake_on_device(to, n) || !fake_on_device(from, n)) return CUDA_ERROR_INVALID_VALUE;
  const struct copy c = {(void *)(uintptr_t)to, (const void *)(uintptr_t)from, n};
  return fake_queue(s, do_copy, &c, sizeof c, NULL);
}

static CUresult do_copy_2d(void *args) {
  const CUDA_MEMCPY2D *c = args;
  for (size_t row = 0; row < c->Height; row++)
    memcpy((char *)(uintptr_t)c->dstDevice + row * c->dstPitch, (const char *)(uintptr_t)c->srcDevice + row * c->srcPitch, c->WidthInBytes);
  return CUDA_SUCCESS;
}

/* From device to device alone, from the first byte on. */
CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *c, CUstream s) {
  ENTER_CONTEXT(cuMemcpy2DAsync);
  enum { DEVICE = 2 };
  if (c->srcMemoryType != DEVICE || c->dstMemoryType != DEVICE || c->srcXInBytes || c->srcY || c->dstXInBytes || c->dstY) return CUDA_ERROR_NOT_SUPPORTED;
  if (!c->WidthInBytes || !c->Height || c->WidthInBytes > c->srcPitch || c->WidthInBytes > c->dstPitch) return CUDA_ERROR_INVALID_VALUE;
  const size_t last = c->Height - 1;
  if (!fake_on_device(c->srcDevice, last * c->srcPitch + c->WidthInBytes) || !fake_on_device(c->dstDevice, last * c->dstPitch + c->WidthInBytes))
    return CUDA_ERROR_INVALID_VALUE;
  return fake_queue(s, do_copy_2d, c, sizeof *c, NULL);
}

CUresult cuMemsetD8Async(CUdeviceptr p, unsigned char byte, size_t n, CUstream s) {
  ENTER_CONTEXT(cuMemsetD8Async);
  if (!fake_on_device(p, n)) return CUDA_ERROR_INVALID_VALUE;
  const struct fill f = {(char *)(uintptr_t)p, n, byte};
  return fake_queue(s, do_fill, &f, sizeof f, NULL);
}

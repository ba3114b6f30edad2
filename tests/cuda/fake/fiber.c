/*
** fiber.c -- runs a launch.  Each thread of the grid is a fiber, with a stack of its own, that runs until it waits at
** a barrier or ends:
**
**   pass 1:  thread 0 .. to its barrier, thread 1 .. to its barrier, ...
**   pass 2:  the last thread first, on from where it was, to its next barrier, ...
**   pass 3:  forwards again, ...
**
** so a result that needs a barrier which is not there comes out wrong (FAKE_CUDA_ORDER=backward: pass 1 goes
** backwards).  The last to arrive at a barrier goes on at once.  A barrier needs all threads of its grid, block or
** warp: where some ended, or wait elsewhere, the launch fails and says so.  A thread that ends before any barrier
** leaves its fiber to the next.
*/
#include <sys/mman.h>
#include <unistd.h>

#include "../shim.h"
#include "fake.h"

enum { STACK = 256 << 10, WARP = 32 };

/* ---- from one stack to another ----------------------------------------------------------------------------------- */

#if defined __x86_64__ && !defined FAKE_UCONTEXT
typedef void *place; /* where a stack is left: below, the registers that a call preserves */

/* Saves what a call preserves, leaves at *from, goes on at *to. */
void fake_jump(place *from, place *to);
__asm__(".text\n"
        ".hidden fake_jump\n"
        ".globl fake_jump\n"
        ".type fake_jump, @function\n"
        "fake_jump:\n"
        "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
        "  movq %rsp, (%rdi)\n"
        "  movq (%rsi), %rsp\n"
        "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
        "  popq %rcx\n  jmp *%rcx\n" /* no ret, which a processor expects to match a call */
        ".size fake_jump, .-fake_jump\n");

/* A stack as fake_jump leaves it, about to return to main. */
static void prepare(place *p, char *stack, size_t n, void (*main)(void)) {
  void **top = (void **)(void *)(stack + n) - 8; /* six registers, main, and where main would return to: nowhere */
  memset(top, 0, 8 * sizeof *top);
  *(void (**)(void))(void *)&top[6] = main;
  *p = top;
}
#else
#include <ucontext.h>
typedef ucontext_t place;

static void fake_jump(place *from, place *to) { swapcontext(from, to); }

static void prepare(place *p, char *stack, size_t n, void (*main)(void)) {
  getcontext(p);
  p->uc_stack.ss_sp = stack;
  p->uc_stack.ss_size = n;
  p->uc_link = NULL;
  makecontext(p, main, 0);
}
#endif

/* ---- threads, and where they wait -------------------------------------------------------------------------------- */

typedef struct fiber {
  struct fiber *next; /* free ones */
  place at;
  char *stack;
  size_t n;
} fiber;

typedef struct {
  const char *what; /* those who wait called this */
  int32_t arrived;
  uint32_t turn; /* how often all have arrived */
} barrier;

typedef struct {
  barrier barrier;
  uint64_t value[2][WARP]; /* of an even and of an odd turn: the next may begin before all have read */
  uint32_t bits[2];
} warp;

typedef struct {
  fiber *fiber; /* NULL before it began, and after it ended */
  const barrier *at;
  uint32_t turn; /* of `at`, that it waits for the end of */
  bool ended;
} thread;

static const fake_grid *grid;
static int32_t first, n_threads; /* of the grid's threads, those that run now */
static thread *threads, *self;
static warp *warps;
static barrier *blocks, all;
static const char *failure;
static fiber *free_fibers;
static place scheduler;
static bdl_shim shim;

static void leave(void) { fake_jump(&self->fiber->at, &scheduler); }

static void fail(const char *why) {
  failure = why;
  leave(); /* for good */
}

static void wait_at(barrier *b, int32_t size, const char *what) {
  if (b->arrived && b->what != what) fail("threads of one group wait in different calls");
  b->what = what;
  self->at = b;
  self->turn = b->turn;
  if (++b->arrived < size) {
    leave();
    return;
  }
  b->arrived = 0;
  b->turn++;
}

static warp *my_warp(void) { return &warps[(self - threads) / WARP]; }

static void grid_wait(void) {
  if (!grid->together && grid->blocks > 1) fail("sync() in a launch of many blocks that is not cooperative");
  wait_at(&all, n_threads, "sync");
}

static void block_wait(void) { wait_at(&blocks[(self - threads) / grid->threads], grid->threads, "block_sync"); }
static void warp_wait(void) { wait_at(&my_warp()->barrier, WARP, "warp_sync"); }

static uint64_t warp_shuffle(uint64_t v, int32_t lane) {
  warp *w = my_warp();
  uint64_t *value = w->value[w->barrier.turn & 1];
  value[(self - threads) % WARP] = v;
  wait_at(&w->barrier, WARP, "shfl");
  return value[lane & (WARP - 1)];
}

static uint32_t warp_ballot(int pred) {
  warp *w = my_warp();
  uint32_t *bits = &w->bits[w->barrier.turn & 1];
  if (!w->barrier.arrived) *bits = 0;
  *bits |= (uint32_t)(pred != 0) << (self - threads) % WARP;
  wait_at(&w->barrier, WARP, "ballot");
  return *bits;
}

const struct bdl_shim *fake_shim(void) {
  shim.sync = grid_wait;
  shim.block_sync = block_wait;
  shim.warp_sync = warp_wait;
  shim.shuffle = warp_shuffle;
  shim.ballot = warp_ballot;
  return &shim;
}

/* ---- fibers ------------------------------------------------------------------------------------------------------ */

static void fiber_main(void) {
  for (;;) {
    grid->kernel(grid->table, grid->a, grid->b);
    self->ended = true;
    leave();
  }
}

/* Stacks begin at different places of their pages: the threads of a warp touch the same lines of theirs. */
static fiber *take_fiber(void) {
  static int32_t made;
  fiber *f = free_fibers;
  if (f) {
    free_fibers = f->next;
    return f;
  }
  f = calloc(1, sizeof *f);
  char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (!f || stack == MAP_FAILED) {
    free(f);
    return NULL;
  }
  mprotect(stack, (size_t)sysconf(_SC_PAGESIZE), PROT_NONE);
  f->stack = stack;
  f->n = STACK - (size_t)(made++ % 61) * 320;
  prepare(&f->at, f->stack, f->n, fiber_main);
  return f;
}

static void give_fiber(thread *t) {
  t->fiber->next = free_fibers;
  free_fibers = t->fiber;
  t->fiber = NULL;
}

/* ---- the grid ---------------------------------------------------------------------------------------------------- */

/* The shared memory of a block ends where a page does that nobody may touch. */
static struct {
  char *base;
  size_t size, stride, begin;
} shared;

static CUresult new_shared(int32_t n_blocks, size_t n) {
  const size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = (n + page - 1) / page * page, stride = pages + page;
  const size_t size = stride * (size_t)n_blocks;
  if (stride != shared.stride || size > shared.size) {
    if (shared.base) munmap(shared.base, shared.size);
    shared.base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (shared.base == MAP_FAILED) {
      shared.base = NULL;
      shared.size = shared.stride = 0;
      return CUDA_ERROR_OUT_OF_MEMORY;
    }
    shared.size = size;
    shared.stride = stride;
    for (size_t i = pages; i < size; i += stride) mprotect(shared.base + i, page, PROT_NONE);
  }
  shared.begin = pages - (n + 63) / 64 * 64;
  return CUDA_SUCCESS;
}

static void resume(thread *t) {
  const int32_t i = (int32_t)(t - threads);
  if (!t->fiber) t->fiber = take_fiber();
  if (!t->fiber) {
    failure = "no memory for a stack";
    return;
  }
  shim.thread = first + i;
  shim.block = shim.thread / grid->threads;
  shim.block_thread = i % grid->threads;
  shim.shared = shared.base + shared.stride * (size_t)(i / grid->threads) + shared.begin;
  self = t;
  fake_jump(&scheduler, &t->fiber->at);
  if (t->ended) give_fiber(t);
}

static bool waits(const thread *t) { return t->at && t->at->turn == t->turn; }

static void report(void) {
  int32_t ended = 0, waiting = 0, one = -1;
  for (int32_t i = 0; i < n_threads; i++) {
    ended += threads[i].ended;
    if (!threads[i].ended && waits(&threads[i]) && !waiting++) one = i;
  }
  fprintf(stderr, "fake CUDA: %s: %s (%d of %d threads ended, %d wait", grid->name, failure, ended, n_threads, waiting);
  if (one >= 0) fprintf(stderr, ", thread %d in %s()", first + one, threads[one].at->what);
  fprintf(stderr, ")\n");
}

/* The n blocks from `block` on, all at the same time. */
static CUresult run_blocks(int32_t block, int32_t n) {
  const char *order = getenv("FAKE_CUDA_ORDER");
  bool backwards = order && strcmp(order, "backward") == 0;
  first = block * grid->threads;
  n_threads = n * grid->threads;
  memset(threads, 0, (size_t)n_threads * sizeof *threads);
  memset(warps, 0, (size_t)n_threads / WARP * sizeof *warps);
  memset(blocks, 0, (size_t)n * sizeof *blocks);
  memset(&all, 0, sizeof all);
  for (int32_t i = 0; i < n; i++)
    memset(shared.base + shared.stride * (size_t)i, FAKE_FILL, shared.stride - (size_t)sysconf(_SC_PAGESIZE));
  failure = NULL;
  for (int32_t left = n_threads; left && !failure; backwards = !backwards) {
    bool moved = false;
    for (int32_t i = 0; i < n_threads && !failure; i++) {
      thread *t = &threads[backwards ? n_threads - 1 - i : i];
      if (t->ended || waits(t)) continue;
      resume(t);
      left -= t->ended;
      moved = true;
    }
    if (!moved) failure = "deadlock";
  }
  if (!failure) return CUDA_SUCCESS;
  report();
  for (int32_t i = 0; i < n_threads; i++) /* what was left in the middle of a kernel begins anew */
    if (threads[i].fiber) {
      fiber *f = threads[i].fiber;
      prepare(&f->at, f->stack, f->n, fiber_main);
      give_fiber(&threads[i]);
    }
  return CUDA_ERROR_LAUNCH_FAILED;
}

CUresult fake_run(const fake_grid *g) {
  const int32_t at_once = g->together ? g->blocks : 1;
  const size_t n = (size_t)at_once * (size_t)g->threads;
  threads = malloc(n * sizeof *threads);
  warps = malloc(n / WARP * sizeof *warps);
  blocks = malloc((size_t)at_once * sizeof *blocks);
  CUresult e = threads && warps && blocks ? new_shared(at_once, g->shared) : CUDA_ERROR_OUT_OF_MEMORY;
  grid = g;
  shim.threads = g->blocks * g->threads;
  shim.blocks = g->blocks;
  shim.block_threads = g->threads;
  for (int32_t i = 0; i < g->blocks && !e; i += at_once) e = run_blocks(i, at_once);
  free(threads);
  free(warps);
  free(blocks);
  return e;
}

/*
** pool.c -- threads that share out loops.
**
** A job is open while `round` is odd.  A thread counts itself in, looks whether the round is still the one it saw, and only then
** reads the job; the caller closes the round first and waits for the count to become 0 after, so the job stays until the last
** reader is gone.  Both sides write before they read the other's word, in one total order (seq_cst).
*/
#define _GNU_SOURCE /* sched_getaffinity */
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/context.h"

enum {
  PARTS = 8,        /* of a share: what is left for others to help with */
  SPIN_NS = 50000,  /* of waiting awake: what going to sleep and being woken costs, and most work between two jobs of a step */
  PAUSES = 32       /* between looks at the clock */
};

/* The rounds that one thread, its owner, begins with; apart from its neighbours in memory, as each is written by its owner.  Others
** take them all before the owner is there, then only while at least `behind` of them are left: the last few of an owner that is
** almost done would take their data out of its cache, and the next job would bring it back. */
typedef struct share {
  atomic_llong next;
  int64_t end, part, behind;
  atomic_bool owned; /* the owner is there, and goes on to the end */
  char pad[128 - sizeof(atomic_llong) - 3 * sizeof(int64_t) - sizeof(atomic_bool)];
} share;

typedef struct worker {
  bdl_pool *pool;
  int id;
  pthread_t thread;
} worker;

struct bdl_pool {
  bdl_context *ctx;
  int threads, started; /* workers 1 .. started - 1 run */
  pid_t owner;
  bool running;
  share *shares;
  worker *workers;
  bdl_pool_fn fn; /* the job */
  void *job;
  int team; /* shares of it */
  char pad[128];
  atomic_uint round;
  atomic_int inside, asleep;
  atomic_bool waiting, quit;
  pthread_mutex_t lock;
  pthread_cond_t wake, left;
};

int bdl_pool_default(void) {
  const char *said = getenv("OMP_NUM_THREADS");
  const long n = said ? strtol(said, NULL, 10) : 0;
  cpu_set_t set;
  if (n > 0) return (int)BDL_MIN(n, 1024);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return BDL_MAX(CPU_COUNT(&set), 1);
  return (int)BDL_MAX(sysconf(_SC_NPROCESSORS_ONLN), 1);
}

int bdl_pool_size(const bdl_pool *p) { return p ? p->threads : 1; }

/* ---- work ----------------------------------------------------------------------------------------------- */

static void work(bdl_pool *p, int id) {
  if (id < p->team) atomic_store(&p->shares[id].owned, true);
  for (int k = 0; k < p->team; k++) {
    share *s = &p->shares[(id + k) % p->team];
    while (s->end - atomic_load(&s->next) >= (k && atomic_load(&s->owned) ? s->behind : 1)) {
      const int64_t i = atomic_fetch_add(&s->next, s->part);
      if (i < s->end) p->fn(p->job, i, BDL_MIN(i + s->part, s->end), id);
    }
  }
}

static void pause_cpu(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* Spins until DONE; false: it took too long. */
#define SPIN_UNTIL(DONE)                                       \
  do {                                                         \
    const int64_t until = bdl_now_ns() + SPIN_NS;                     \
    do                                                         \
      for (int k = 0; k < PAUSES && !(DONE); k++) pause_cpu(); \
    while (!(DONE) && bdl_now_ns() < until);                          \
  } while (0)

static bool has_work(bdl_pool *p, unsigned seen) {
  const unsigned round = atomic_load(&p->round);
  return (round & 1 && round != seen) || atomic_load(&p->quit);
}

static void await_work(bdl_pool *p, unsigned seen) {
  SPIN_UNTIL(has_work(p, seen));
  if (has_work(p, seen)) return;
  pthread_mutex_lock(&p->lock);
  atomic_fetch_add(&p->asleep, 1);
  while (!has_work(p, seen)) pthread_cond_wait(&p->wake, &p->lock);
  atomic_fetch_sub(&p->asleep, 1);
  pthread_mutex_unlock(&p->lock);
}

static void *run_worker(void *arg) {
  const worker *w = arg;
  bdl_pool *p = w->pool;
  for (unsigned seen = 0;;) {
    await_work(p, seen);
    if (atomic_load(&p->quit)) return NULL;
    seen = atomic_load(&p->round);
    atomic_fetch_add(&p->inside, 1);
    if (seen & 1 && atomic_load(&p->round) == seen) work(p, w->id);
    if (atomic_fetch_sub(&p->inside, 1) == 1 && atomic_load(&p->waiting)) {
      pthread_mutex_lock(&p->lock);
      pthread_cond_signal(&p->left);
      pthread_mutex_unlock(&p->lock);
    }
  }
}

static void await_others(bdl_pool *p) {
  SPIN_UNTIL(atomic_load(&p->inside) == 0);
  if (atomic_load(&p->inside) == 0) return;
  pthread_mutex_lock(&p->lock);
  atomic_store(&p->waiting, true);
  while (atomic_load(&p->inside) != 0) pthread_cond_wait(&p->left, &p->lock);
  atomic_store(&p->waiting, false);
  pthread_mutex_unlock(&p->lock);
}

/* ---- threads -------------------------------------------------------------------------------------------- */

/* No thread runs. */
static void reset(bdl_pool *p) {
  pthread_mutex_init(&p->lock, NULL);
  pthread_cond_init(&p->wake, NULL);
  pthread_cond_init(&p->left, NULL);
  atomic_init(&p->round, 0);
  atomic_init(&p->inside, 0);
  atomic_init(&p->asleep, 0);
  atomic_init(&p->waiting, false);
  atomic_init(&p->quit, false);
  p->started = 0;
}

/* Signals stay with the threads of the program. */
static void start(bdl_pool *p) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  p->owner = getpid();
  for (p->started = 1; p->started < p->threads; p->started++) {
    worker *w = &p->workers[p->started];
    *w = (worker){.pool = p, .id = p->started};
    if (pthread_create(&w->thread, NULL, run_worker, w) != 0) break;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

bdl_pool *bdl_pool_new(bdl_context *c, int threads) {
  bdl_pool *p = bdl_calloc(c, sizeof *p);
  if (!p) return NULL;
  p->ctx = c;
  p->threads = BDL_MAX(threads, 1);
  p->shares = bdl_calloc(c, (size_t)p->threads * sizeof *p->shares);
  p->workers = bdl_calloc(c, (size_t)p->threads * sizeof *p->workers);
  reset(p);
  if (p->shares && p->workers) return p;
  bdl_pool_free(p);
  return NULL;
}

void bdl_pool_free(bdl_pool *p) {
  if (!p) return;
  bdl_context *c = p->ctx;
  if (p->started && p->owner == getpid()) { /* else they are in the process that forked this one */
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->quit, true);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    while (p->started-- > 1) pthread_join(p->workers[p->started].thread, NULL);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->wake);
    pthread_cond_destroy(&p->left);
  }
  bdl_free(c, p->shares, (size_t)p->threads * sizeof *p->shares);
  bdl_free(c, p->workers, (size_t)p->threads * sizeof *p->workers);
  bdl_free(c, p, sizeof *p);
}

void bdl_pool_run(bdl_pool *p, int64_t n, bdl_pool_fn fn, void *job) {
  if (!p || p->threads == 1 || n <= 1) {
    if (n > 0) fn(job, 0, n, 0);
    return;
  }
  BDL_ASSERT(!p->running, "a part of a job runs the pool");
  if (p->started && p->owner != getpid()) reset(p);
  if (!p->started) start(p);
  p->running = true;
  p->fn = fn, p->job = job;
  p->team = (int)BDL_MIN(n, (int64_t)p->threads);
  for (int k = 0; k < p->team; k++) {
    const int64_t first = n * k / p->team, end = n * (k + 1) / p->team;
    p->shares[k].end = end;
    p->shares[k].part = (end - first + PARTS - 1) / PARTS;
    p->shares[k].behind = (end - first + 1) / 2;
    atomic_store_explicit(&p->shares[k].owned, false, memory_order_relaxed);
    atomic_store_explicit(&p->shares[k].next, first, memory_order_relaxed);
  }
  atomic_fetch_add(&p->round, 1);
  if (atomic_load(&p->asleep) > 0) {
    pthread_mutex_lock(&p->lock);
    for (int k = 1; k < p->team; k++) pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
  }
  work(p, 0);
  atomic_fetch_add(&p->round, 1);
  await_others(p);
  p->running = false;
}

/*
** test_pool.c -- loops shared out among threads.
*/
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/context.h"
#include "base/pool.h"

enum { MOST = 10000 };

typedef struct tally {
  int64_t n;
  int threads;
  atomic_int times[MOST]; /* how often each round was run */
  atomic_int wrong;       /* ranges or threads out of bounds */
  atomic_int busy[16];    /* calls in the middle, by thread */
} tally;

static void count(void *job, int64_t first, int64_t last, int thread) {
  tally *t = job;
  if (first < 0 || first >= last || last > t->n || thread < 0 || thread >= t->threads) {
    atomic_fetch_add(&t->wrong, 1);
    return;
  }
  if (atomic_fetch_add(&t->busy[thread], 1) != 0) atomic_fetch_add(&t->wrong, 1);
  for (int64_t i = first; i < last; i++) atomic_fetch_add(&t->times[i], 1);
  atomic_fetch_sub(&t->busy[thread], 1);
}

static void run_once(bdl_pool *p, tally *t, int64_t n) {
  memset(t, 0, sizeof *t);
  t->n = n;
  t->threads = bdl_pool_size(p);
  bdl_pool_run(p, n, count, t);
  assert_int_equal(atomic_load(&t->wrong), 0);
  for (int64_t i = 0; i < MOST; i++) assert_int_equal(atomic_load(&t->times[i]), i < n);
}

static void nap(long us) { nanosleep(&(struct timespec){0, us * 1000}, NULL); }

static void every_round_runs_once(void **state) {
  (void)state;
  static tally t;
  bdl_context *c = bdl_context_new(NULL, NULL);
  const int64_t sizes[] = {0, 1, 2, 3, 7, 8, 9, 63, 1000, MOST};
  for (int threads = 1; threads <= 9; threads += 2) {
    bdl_pool *p = bdl_pool_new(c, threads);
    assert_int_equal(bdl_pool_size(p), threads);
    for (int again = 0; again < 20; again++)
      for (int k = 0; k < BDL_LEN(sizes); k++) {
        if (again % 5 == 4 && k % 4 == 0) nap(100); /* long enough to fall asleep */
        run_once(p, &t, sizes[k]);
      }
    bdl_pool_free(p);
  }
  bdl_context_free(c);
}

/* Plain memory written by one run is read by the next, on whichever threads. */
static void add_neighbour(void *job, int64_t first, int64_t last, int thread) {
  int64_t **v = job;
  (void)thread;
  for (int64_t i = first; i < last; i++) v[1][i] = v[0][i] + v[0][(i + 1) % 257];
}

static void runs_follow_each_other(void **state) {
  (void)state;
  bdl_context *c = bdl_context_new(NULL, NULL);
  bdl_pool *p = bdl_pool_new(c, 4);
  int64_t a[257], b[257], x[257], y[257];
  for (int i = 0; i < 257; i++) a[i] = x[i] = i;
  for (int round = 0; round < 2000; round++) {
    int64_t *shared[2] = {a, b}, *alone[2] = {x, y};
    bdl_pool_run(p, 257, add_neighbour, shared);
    bdl_pool_run(NULL, 257, add_neighbour, alone);
    for (int i = 0; i < 257; i++) a[i] = b[i] % 1000003, x[i] = y[i] % 1000003;
    assert_memory_equal(a, x, sizeof a);
  }
  bdl_pool_free(p);
  bdl_context_free(c);
}

static void nothing_waits_for_a_pool_that_never_ran(void **state) {
  (void)state;
  bdl_context *c = bdl_context_new(NULL, NULL);
  bdl_pool_free(bdl_pool_new(c, 8));
  bdl_pool_free(NULL);
  assert_int_equal(bdl_pool_size(NULL), 1);
  bdl_context_free(c);
}

#ifdef __SANITIZE_THREAD__
#define THREAD_SANITIZER 1
#elif defined(__has_feature)
#define THREAD_SANITIZER __has_feature(thread_sanitizer)
#else
#define THREAD_SANITIZER 0
#endif

static void a_child_process_has_threads_of_its_own(void **state) {
  (void)state;
#if THREAD_SANITIZER
  skip(); /* it refuses threads after a fork */
#endif
  static tally t;
  bdl_context *c = bdl_context_new(NULL, NULL);
  bdl_pool *p = bdl_pool_new(c, 3), *unused = bdl_pool_new(c, 3);
  for (int asleep = 0; asleep < 2; asleep++) {
    run_once(p, &t, 1000);
    if (asleep) nap(2000);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
      alarm(20);
      for (int k = 0; k < 100; k++) run_once(p, &t, 1000);
      bdl_pool_free(p);
      bdl_pool_free(unused);
      _exit(0);
    }
    int status = 1;
    while (waitpid(child, &status, 0) < 0) assert_int_equal(errno, EINTR);
    assert_int_equal(status, 0);
    run_once(p, &t, 1000);
  }
  bdl_pool_free(p);
  bdl_pool_free(unused);
  bdl_context_free(c);
}

static void *refuse(void *ud, void *p, size_t osize, size_t nsize) {
  int *left = ud;
  (void)osize;
  if (nsize == 0) return free(p), NULL;
  return (*left)-- > 0 ? realloc(p, nsize) : NULL;
}

static void failed_allocations_leave_nothing(void **state) {
  (void)state;
  for (int n = 1;; n++) {
    int left = n;
    bdl_context *c = bdl_context_new(refuse, &left);
    assert_non_null(c);
    bdl_pool *p = bdl_pool_new(c, 4);
    bdl_pool_free(p);
    assert_int_equal(c->mem_used, 0);
    bdl_context_free(c);
    if (p) break;
  }
}

static void the_environment_sets_the_number(void **state) {
  (void)state;
  unsetenv("OMP_NUM_THREADS");
  assert_true(bdl_pool_default() >= 1);
  setenv("OMP_NUM_THREADS", "3", 1);
  assert_int_equal(bdl_pool_default(), 3);
  setenv("OMP_NUM_THREADS", "many", 1);
  assert_true(bdl_pool_default() >= 1);
  unsetenv("OMP_NUM_THREADS");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_round_runs_once),
      cmocka_unit_test(runs_follow_each_other),
      cmocka_unit_test(nothing_waits_for_a_pool_that_never_ran),
      cmocka_unit_test(a_child_process_has_threads_of_its_own),
      cmocka_unit_test(failed_allocations_leave_nothing),
      cmocka_unit_test(the_environment_sets_the_number),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

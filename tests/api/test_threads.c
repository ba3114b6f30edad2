/*
** test_threads.c -- contexts in several threads; a context that goes from one thread to the next.
*/
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "host.h"

enum { THREADS = 4, STEPS = 200 };

static const char NET[] =
  "bdl.random.seed(3)\n"
  "local cell = bdl.nn.GRUCell(4, 8)\n"
  "cell:init_state()\n"
  "return {cell = cell, step = function(x) return cell(x) end, solve = function(a) return bdl.inv(a) end}";

typedef struct job {
  float y[8], inverse[4];
  int failed, refused; /* refused: calls into a context of another thread */
  bdl *other;
} job;

static int work(job *j, bdl *b) {
  float x[4] = {1, -1, 0.5f, 0}, m[4] = {2, 0, 0, 4};
  const bdl_array in = bdl_vector(BDL_FLOAT32, x, 4), out = bdl_vector(BDL_FLOAT32, j->y, 8);
  const bdl_array a = bdl_matrix(BDL_FLOAT32, m, 2, 2);
  bdl_array z = bdl_matrix(BDL_FLOAT32, j->inverse, 2, 2);
  bdl_program *p = bdl_program_new(bdl_function_find(b, "step"), &in, 1, &out, 1);
  int failed = p == NULL;
  for (int i = 0; i < STEPS && !failed; i++) {
    x[0] = (float)(i % 7);
    failed = bdl_program_run(p);
  }
  return failed || bdl_function_call(bdl_function_find(b, "solve"), &a, 1, &z, 1);
}

static void *run(void *ud) {
  job *j = ud;
  bdl_options o = bdl_defaults();
  o.threads = 2;
  bdl *b = bdl_open(&o);
  j->failed = !b || bdl_run_string(b, NET, "net.lua") || work(j, b);
  if (j->failed) fprintf(stderr, "%s\n", b ? bdl_error_text(b) : "bdl_open");
  if (b) bdl_close(b);
  return NULL;
}

static void contexts_run_side_by_side(void **state) {
  (void)state;
  pthread_t thread[THREADS];
  job j[THREADS];
  memset(j, 0, sizeof j);
  for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&thread[i], NULL, run, &j[i]), 0);
  for (int i = 0; i < THREADS; i++) {
    pthread_join(thread[i], NULL);
    assert_int_equal(j[i].failed, 0);
    assert_memory_equal(j[i].y, j[0].y, sizeof j[i].y);
    t_floats(j[i].inverse, (float[]){0.5f, 0, 0, 0.25f}, 4);
  }
}

static void *go_on(void *ud) {
  job *j = ud;
  j->failed = work(j, j->other);
  return NULL;
}

static void a_context_may_be_passed_on(void **state) {
  (void)state;
  job first = {.failed = 0}, second = {.failed = 0};
  bdl *b = t_open(NET);
  assert_int_equal(work(&first, b), 0);
  second.other = b;
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, go_on, &second), 0);
  pthread_join(thread, NULL);
  assert_int_equal(second.failed, 0);
  bdl_close(b);
}

/* From another thread, while a call runs. */
static void *intrude(void *ud) {
  job *j = ud;
  j->refused = bdl_run_string(j->other, "return 1", "other") + !bdl_function_find(j->other, "step");
  return NULL;
}

static const char *wait_for_other(void *ud, const bdl_array *in, int n_in, bdl_array *out, int n_out) {
  (void)in, (void)n_in, (void)out, (void)n_out;
  pthread_t thread;
  if (pthread_create(&thread, NULL, intrude, ud)) return "no thread";
  pthread_join(thread, NULL);
  return NULL;
}

static void two_threads_at_once_are_refused(void **state) {
  (void)state;
  job j = {.other = t_open("")};
  t_done(j.other, bdl_register(j.other, "wait", wait_for_other, &j, NULL, 0));
  t_done(j.other, bdl_run_string(j.other, "bdl.host.wait()", "wait.lua"));
  assert_int_equal(j.refused, 2);
  bdl_close(j.other);
}

static void *interrupt_soon(void *ud) {
  const job *j = ud;
  const struct timespec t = {0, 20000000};
  nanosleep(&t, NULL);
  bdl_interrupt(j->other);
  return NULL;
}

static void another_thread_interrupts(void **state) {
  (void)state;
  job j = {.other = t_open("")};
  static const char *const forever[] = {"while true do end", "local s = bdl.State(0.)\nbdl.for_loop(function() s.value = s.value + 1 end, {length = 1 << 60})"};
  for (int i = 0; i < 2; i++) {
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, interrupt_soon, &j), 0);
    t_failed(j.other, bdl_run_string(j.other, forever[i], "forever.lua"), "InterruptError", "interrupted");
    pthread_join(thread, NULL);
    assert_int_equal(bdl_interrupted(j.other), 0);
  }
  bdl_close(j.other);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(contexts_run_side_by_side),
    cmocka_unit_test(a_context_may_be_passed_on),
    cmocka_unit_test(two_threads_at_once_are_refused),
    cmocka_unit_test(another_thread_interrupts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

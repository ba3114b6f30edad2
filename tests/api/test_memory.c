/*
** test_memory.c -- every function of bdl.h while the n-th allocation fails, n = 1, 2, 3, ..: a MemoryError each time, and the next
** call works.
*/
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../support/faults.h"
#include "host.h"

static const char NET[] =
  "local n, w = bdl.State(bdl.zeros(3)), bdl.ParamState(bdl.ones(3))\n"
  "local function step(x) n.value = n.value + x * w.value bdl.host.hear(n.value) return n.value end\n"
  "return {step = step, other = function(x) return bdl.exp(x) end, n = n, put = function(x) w.value = x end}";

static const char *hear(void *ud, const bdl_array *in, int n_in, bdl_array *out, int n_out) {
  (void)in, (void)n_in, (void)out, (void)n_out;
  ++*(int *)ud;
  return NULL;
}

typedef struct world {
  float *x, *y; /* [3], and what may be read behind them */
  t_faults faults;
  char file[32];
  bdl *b;
  bdl_function *step, *put;
  bdl_program *p;
  bdl_cell *n;
  int heard, version;
} world;

static bdl_array vector(float *x) {
  bdl_array a = bdl_vector(BDL_FLOAT32, x, 3);
  a.flags = BDL_PADDED;
  return a;
}

static int registers(world *w) { return bdl_register(w->b, "hear", hear, &w->heard, NULL, 0); }

static int runs(world *w) { return bdl_run_string(w->b, NET, "net.lua"); }

static int runs_file(world *w) { return bdl_run_file(w->b, w->file); }

static int compiles_anew(world *w) { /* another text each time, so that nothing is kept */
  char text[128];
  snprintf(text, sizeof text, "bdl.jit(function(x) return bdl.tanh(x) * %d end)(bdl.ones(5))", ++w->version);
  return bdl_run_string(w->b, text, "anew.lua");
}

static int finds_function(world *w) {
  bdl_function *f = bdl_function_find(w->b, "other");
  bdl_function_free(f);
  return !f;
}

static int calls(world *w) {
  const bdl_array in = vector(w->x);
  bdl_array out[1] = {vector(w->y)};
  return bdl_function_call(w->step, &in, 1, out, 1);
}

static int calls_for_a_view(world *w) {
  const bdl_array in = vector(w->x);
  bdl_array out = {0};
  return bdl_function_call(w->step, &in, 1, &out, 1);
}

static int lends(world *w) {
  const bdl_array in = vector(w->x);
  return bdl_function_call(w->put, &in, 1, NULL, 0);
}

static int makes_program(world *w) {
  const bdl_array in = vector(w->x), out = {0};
  bdl_program *p = bdl_program_new(w->step, &in, 1, &out, 1);
  bdl_program_free(p);
  return !p;
}

static int runs_program(world *w) { return bdl_program_run(w->p); }

static int describes_program(world *w) {
  bdl_array a;
  return bdl_program_argument(w->p, 0, &a) || bdl_program_result(w->p, 0, &a);
}

/* Needs no memory of its own, as there may be none: the next call says that it was stopped. */
static int interrupts(world *w) {
  size_t used;
  bdl_interrupt(w->b);
  bdl_memory(w->b, &used, NULL);
  assert_true(bdl_interrupted(w->b) && used > 0);
  assert_int_equal(bdl_program_run(w->p), 1);
  return bdl_interrupted(w->b);
}

static int finds_cell(world *w) {
  bdl_cell *c = bdl_cell_find(w->b, "n");
  bdl_cell_free(c);
  return !c;
}

static int reads(world *w) {
  const bdl_array a = vector(w->y);
  return bdl_cell_read(w->n, &a);
}

static int writes(world *w) {
  const bdl_array a = vector(w->x);
  return bdl_cell_write(w->n, &a);
}

static int views(world *w) {
  bdl_array a;
  return bdl_cell_view(w->n, &a);
}

static void survive(world *w, const char *name, int (*task)(world *w)) {
  for (int persistent = 0; persistent < 2; persistent++)
    for (int64_t n = 0;; n++) {
      w->faults = (t_faults){.left = n, .persistent = persistent};
      const int failed = task(w);
      const bool happened = w->faults.happened;
      w->faults = (t_faults){.left = INT64_MAX};
      if (failed && !happened) fail_msg("%s: %s", name, bdl_error_text(w->b));
      if (failed && strcmp(bdl_error_kind(w->b), "MemoryError") != 0)
        fail_msg("%s, allocation %d: %s", name, (int)n, bdl_error_text(w->b));
      if (failed && task(w)) fail_msg("%s, after allocation %d: %s", name, (int)n, bdl_error_text(w->b));
      if (!happened) break;
    }
}
#define SURVIVE(w, task) survive(w, #task, task)

static void open_world(world *w, float (*room)[3 + 16]) {
  memset(room, 0, 2 * sizeof *room);
  *w = (world){.x = room[0], .y = room[1]};
  w->faults.left = INT64_MAX;
  bdl_options o = bdl_defaults();
  o.threads = 1;
  o.alloc = t_failing_alloc;
  o.alloc_ud = &w->faults;
  w->b = bdl_open(&o);
  assert_non_null(w->b);
}

static void write_model(world *w) {
  snprintf(w->file, sizeof w->file, "/tmp/bdl_memory_XXXXXX");
  const int fd = mkstemp(w->file);
  assert_true(fd >= 0);
  static const char text[] = "local n = bdl.State(0.)\nbdl.for_loop(function() n.value = n.value + 1 end, {length = 3})\n";
  assert_int_equal(write(fd, text, sizeof text - 1), (ssize_t)sizeof text - 1);
  close(fd);
}

static void every_call_survives_want_of_memory(void **state) {
  (void)state;
  _Alignas(64) float room[2][3 + 16];
  world w;
  open_world(&w, room);
  SURVIVE(&w, registers);
  SURVIVE(&w, runs);
  write_model(&w);
  SURVIVE(&w, runs_file);
  remove(w.file);
  SURVIVE(&w, compiles_anew);
  SURVIVE(&w, finds_function);
  w.step = bdl_function_find(w.b, "step");
  w.put = bdl_function_find(w.b, "put");
  w.n = bdl_cell_find(w.b, "n");
  assert_true(w.step && w.put && w.n);
  SURVIVE(&w, calls);
  SURVIVE(&w, calls_for_a_view);
  SURVIVE(&w, lends);
  SURVIVE(&w, makes_program);
  const bdl_array in = vector(w.x), out = vector(w.y);
  w.p = bdl_program_new(w.step, &in, 1, &out, 1);
  assert_non_null(w.p);
  SURVIVE(&w, runs_program);
  SURVIVE(&w, describes_program);
  SURVIVE(&w, finds_cell);
  SURVIVE(&w, reads);
  SURVIVE(&w, writes);
  SURVIVE(&w, views);
  SURVIVE(&w, interrupts);
  const int heard = w.heard;
  assert_int_equal(bdl_program_run(w.p), 0);
  assert_int_equal(w.heard, heard + 1);
  bdl_close(w.b); /* asserts that nothing is left */
}

/* The program bdl prints its error and gives a status; some more of what it allocates each time. */
static void the_program_survives_it(void **state) {
  (void)state;
  _Alignas(64) float room[2][3 + 16];
  world w;
  open_world(&w, room);
  write_model(&w);
  char *argv[] = {"bdl", "run", "--quiet", w.file, NULL};
  const int standard = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);
  assert_true(standard >= 0 && null >= 0);
  dup2(null, STDERR_FILENO);
  int64_t failures = 0;
  for (int64_t n = 0, done = 0; !done; n += 1 + n / 32) {
    w.faults = (t_faults){.left = n, .persistent = n % 2};
    const int failed = bdl_main(w.b, 4, argv);
    done = !w.faults.happened;
    w.faults = (t_faults){.left = INT64_MAX};
    failures += failed != 0;
    if (done) assert_int_equal(failed, 0);
    if (failed) assert_int_equal(bdl_main(w.b, 4, argv), 0);
  }
  dup2(standard, STDERR_FILENO);
  close(standard);
  close(null);
  assert_true(failures > 20);
  remove(w.file);
  bdl_close(w.b);
}

static void opening_survives_it_too(void **state) {
  (void)state;
  for (int64_t n = 0, done = 0; !done; n += 1 + n / 8) {
    t_faults f = {.left = n, .persistent = n % 2};
    bdl_options o = bdl_defaults();
    o.alloc = t_failing_alloc;
    o.alloc_ud = &f;
    bdl *b = bdl_open(&o);
    done = !f.happened;
    assert_true(b || f.happened);
    f.left = INT64_MAX;
    if (b) bdl_close(b);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_call_survives_want_of_memory),
    cmocka_unit_test(the_program_survives_it),
    cmocka_unit_test(opening_survives_it_too),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
** controller.c -- a controller that learns online, in real time: 256 spiking neurons in a closed loop with an arm, a step each
** millisecond.                                                                       usage: controller [seconds] [model.lua]
**
** The arm is a pendulum in this program; in its place a host reads sensors and writes torques.  A step is what lies between a
** measurement and its answer: the network runs, its eligibility traces move on, and every weight learns.
*/
#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include <bdl.h>

#define PI 3.14159265358979
#define DT 1e-3

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void sleep_until(int64_t ns) {
  const struct timespec t = {ns / 1000000000, ns % 1000000000};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) continue;
}

/* Before other programs, and never paged out; where the system allows it. */
static int ask_for_real_time(void) {
  const struct sched_param first = {.sched_priority = 50};
  return sched_setscheduler(0, SCHED_FIFO, &first) == 0 && mlockall(MCL_CURRENT | MCL_FUTURE) == 0;
}

/* ---- the arm: J a'' = torque - b a' - m sin a, in rad and s */

typedef struct arm {
  double angle, velocity;
} arm;

static void move(arm *a, double torque) {
  const double J = 0.05, b = 0.1, m = 1.0;
  a->velocity += DT * (torque - b * a->velocity - m * sin(a->angle)) / J;
  a->angle += DT * a->velocity;
}

/* ---- times of steps: a column doubles */

enum { BINS = 14 }; /* up to 1, 2, 4, .. 4096 us, and above */

typedef struct histogram {
  int64_t bin[BINS], n, most, sum;
} histogram;

static void count(histogram *h, int64_t ns) {
  int k = 0;
  while (k < BINS - 1 && ns > (int64_t)1000 << k) k++;
  h->bin[k]++;
  h->n++;
  h->sum += ns;
  if (ns > h->most) h->most = ns;
}

static void print(const histogram *h, const char *name) {
  printf("%s: %lld, mean %.0f us, longest %.0f us\n", name, (long long)h->n, (double)h->sum / (double)(h->n ? h->n : 1) * 1e-3, (double)h->most * 1e-3);
  for (int k = 0; k < BINS; k++) {
    if (!h->bin[k]) continue;
    const int width = (int)ceil(50.0 * (double)h->bin[k] / (double)h->n);
    printf("  %s%5d us %8lld  %.*s\n", k < BINS - 1 ? "<=" : " >", 1 << (k < BINS - 1 ? k : k - 1), (long long)h->bin[k], width,
           "##################################################");
  }
}

/* ---- the loop */

static int fail(bdl *b) {
  fprintf(stderr, "controller: %s\n", bdl_error_text(b));
  bdl_close(b);
  return 1;
}

int main(int argc, char **argv) {
  const double seconds = argc > 1 ? atof(argv[1]) : 20;
  const char *model = argc > 2 ? argv[2] : "controller.lua";
  const int64_t steps = (int64_t)(seconds / DT);
  if (steps < 1 || steps > 100000000) {
    fprintf(stderr, "usage: controller [seconds] [model.lua]\n");
    return 2;
  }
  bdl_options o = bdl_defaults();
  o.threads = 1; /* the loop's own: nothing to wait for */
  o.tier = "native";
  bdl *b = bdl_open(&o);
  if (!b) return 1;
  if (bdl_run_file(b, model)) return fail(b);

  float x[4] = {0}, feedback = 0, torque = 0; /* the program reads and writes these */
  const bdl_array in[2] = {bdl_vector(BDL_FLOAT32, x, 4), bdl_vector(BDL_FLOAT32, &feedback, 1)};
  const bdl_array out = bdl_vector(BDL_FLOAT32, &torque, 1);
  bdl_function *step = bdl_function_find(b, "step");
  bdl_program *p = step ? bdl_program_new(step, in, 2, &out, 1) : NULL;
  if (!p || bdl_program_run(p)) return fail(b); /* the first run makes room */

  if (!ask_for_real_time()) printf("without real-time priority: other programs may delay steps\n");
  arm a = {0, 0};
  histogram work = {{0}, 0, 0, 0}, wake = {{0}, 0, 0, 0};
  const int64_t window = steps < 20000 ? (steps + 1) / 2 : 10000;
  double first = 0, last = 0;
  int64_t missed = 0, due = now_ns() + 1000000;
  for (int64_t k = 0; k < steps; k++, due += 1000000) {
    sleep_until(due);
    const int64_t begin = now_ns();
    const double t = (double)k * DT, w = 2 * PI * 0.5, wanted = sin(w * t), wanted_v = w * cos(w * t);
    const double error = wanted - a.angle, error_v = wanted_v - a.velocity;
    x[0] = (float)wanted, x[1] = (float)(wanted_v / w), x[2] = (float)a.angle, x[3] = (float)(a.velocity / w);
    feedback = (float)(2 * error + 0.2 * error_v);
    if (bdl_program_run(p)) return fail(b);
    move(&a, (double)feedback + (double)torque);
    const int64_t end = now_ns();
    count(&wake, begin - due);
    count(&work, end - begin);
    missed += end > due + 1000000;
    if (k < window) first += error * error;
    if (k >= steps - window) last += error * error;
  }
  printf("angle: rms error %.4f rad in the first %.1f s, %.4f rad in the last\n", sqrt(first / (double)window), (double)window * DT,
         sqrt(last / (double)window));
  printf("steps not done within 1 ms: %lld of %lld\n", (long long)missed, (long long)steps);
  print(&work, "steps");
  print(&wake, "delays of the system's clock");
  bdl_close(b);
  return 0;
}

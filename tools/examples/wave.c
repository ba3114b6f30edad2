/*
** wave.c -- a program around models/wave_device.lua on the host: a sine comes in, the network learns to say what it will be a
** quarter of a period later.  On a device, a sensor and a timer stand in place of the loop.
**
**     bdl export models/wave_device.lua -o build/wave
**     cc -std=c99 -Ibuild/wave tools/examples/wave.c build/wave/wave.c -lm -o wave && ./wave
**
** Prints the mean loss of the first and of the last 1,000 steps.
*/
#include <math.h>
#include <stdio.h>

#include "wave.h"

static wave_state s; /* all the memory there is: no allocation, nothing hidden */
static wave_scratch w;

int main(void) {
  enum { STEPS = 40000, SOME = 1000 };
  double first = 0, last = 0;
  wave_init(&s);
  for (int i = 0; i < STEPS; i++) {
    const double phase = i * 6.283185307179586 / 100;
    const float x[2] = {(float)sin(phase), 1}, y[1] = {(float)cos(phase)};
    float r[1], loss[1];
    const int failed = wave_learn(&s, &w, x, y, r, loss);
    if (failed) {
      fprintf(stderr, "wave_learn: %d, see wave.h\n", failed);
      return 1;
    }
    if (i < SOME) first += (double)loss[0];
    if (i >= STEPS - SOME) last += (double)loss[0];
  }
  printf("loss %.3f, then %.3f; %d bytes of RAM\n", first / SOME, last / SOME, WAVE_STATE_BYTES + WAVE_SCRATCH_BYTES);
  return 0;
}

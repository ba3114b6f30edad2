/*
** bdl.c -- the program: a context, Ctrl-C, and the module bdl.cli.
*/
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bdl.h"

/* For the signal handler: the one place where a program must reach its context from nowhere. */
static struct {
  bdl *b;
  struct timespec first; /* Ctrl-C */
} running;

/* The first Ctrl-C asks, and wakes whoever waits for input; a second one, half a second later, ends the process if nobody has
** listened.  Within that time it may be the same one, sent to the process and to its group. */
static void on_interrupt(int sig) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  if (!bdl_interrupted(running.b)) {
    running.first = now;
    bdl_interrupt(running.b);
  } else if ((double)(now.tv_sec - running.first.tv_sec) + 1e-9 * (double)(now.tv_nsec - running.first.tv_nsec) > 0.5) {
    signal(sig, SIG_DFL);
    raise(sig);
  }
}

int main(int argc, char **argv) {
  running.b = bdl_open(NULL);
  if (!running.b) {
    fputs("bdl: out of memory\n", stderr);
    return 1;
  }
  struct sigaction a = {.sa_handler = on_interrupt};
  sigemptyset(&a.sa_mask);
  sigaction(SIGINT, &a, NULL);
  int code = bdl_main(running.b, argc, argv);
  signal(SIGINT, SIG_IGN);
  if (fflush(stdout) != 0 || ferror(stdout)) { /* a full disk, say */
    fprintf(stderr, "bdl: standard output: %s\n", strerror(errno));
    if (code == 0) code = 1;
  }
#ifdef BDL_DEBUG /* else the system takes everything back, in a tenth of the time */
  bdl_close(running.b);
#endif
  return code;
}

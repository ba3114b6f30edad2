/*
** bdl.c -- the program: a context, Ctrl-C, and the module bdl.cli.
*/
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "bdl.h"

static bdl *running; /* for the signal handler: the one place where a program must reach its context from nowhere */

static void on_interrupt(int sig) {
  (void)sig;
  bdl_interrupt(running);
}

/* The first Ctrl-C asks, and wakes whoever waits for input; the second ends the process. */
static void catch_interrupts(void) {
  struct sigaction a = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
  sigemptyset(&a.sa_mask);
  sigaction(SIGINT, &a, NULL);
}

int main(int argc, char **argv) {
  running = bdl_open(NULL);
  if (!running) {
    fputs("bdl: out of memory\n", stderr);
    return 1;
  }
  catch_interrupts();
  int code = bdl_main(running, argc, argv);
  signal(SIGINT, SIG_DFL);
  if (fflush(stdout) != 0 || ferror(stdout)) { /* a full disk, say */
    fprintf(stderr, "bdl: standard output: %s\n", strerror(errno));
    if (code == 0) code = 1;
  }
#ifdef BDL_DEBUG /* else the system takes everything back, in a tenth of the time */
  bdl_close(running);
#endif
  return code;
}

/*
** bdl.c -- the program: a context, Ctrl-C, and the module bdl.cli.
*/
#include <signal.h>
#include <stdio.h>

#include "bdl.h"

static bdl *running; /* for the signal handler: the one place where a program must reach its context from nowhere */

static void on_interrupt(int sig) {
  if (running) bdl_interrupt(running);
  signal(sig, SIG_DFL); /* the second Ctrl-C ends the process */
}

int main(int argc, char **argv) {
  running = bdl_open(NULL);
  if (!running) {
    fputs("bdl: out of memory\n", stderr);
    return 1;
  }
  signal(SIGINT, on_interrupt);
  int code = bdl_main(running, argc, argv);
  bdl *b = running;
  running = NULL;
  bdl_close(b);
  return code;
}

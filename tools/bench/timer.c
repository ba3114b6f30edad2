/*
** timer.c -- times whole processes, from exec to exit, with their peak resident memory.
**   timer REPEAT PEER WORKLOAD N STEPS command...
** Runs the command REPEAT + 1 times; the first warms the file cache and is reported as first_s only.  Prints one JSON
** line; `check` is the last line of the command's output that is a number.
*/
#define _GNU_SOURCE
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "timing.h"

#define MAX_REPEAT 99

/* One run: its wall time; `check` gets the last line of output that begins with a digit. */
static double run(char **argv, char *check, size_t size, int *status, struct rusage *use) {
  int fd[2];
  char line[256];
  if (pipe(fd) != 0) {
    perror("timer");
    exit(1);
  }
  const double begin = now();
  const pid_t pid = vfork();
  if (pid == 0) {
    dup2(fd[1], STDOUT_FILENO);
    close(fd[0]);
    close(fd[1]);
    execvp(argv[0], argv);
    _exit(127);
  }
  close(fd[1]);
  FILE *out = pid > 0 ? fdopen(fd[0], "r") : NULL;
  if (!out) {
    perror("timer");
    exit(1);
  }
  while (fgets(line, sizeof line, out))
    if (isdigit((unsigned char)line[0])) snprintf(check, size, "%.*s", (int)strcspn(line, " \r\n"), line);
  wait4(pid, status, 0, use);
  const double end = now();
  fclose(out);
  return end - begin;
}

int main(int argc, char **argv) {
  char check[64] = "null";
  double t[MAX_REPEAT], mb = 0;
  int status = 0;
  const int n = argc > 6 ? atoi(argv[1]) : 0;
  if (n < 1 || n > MAX_REPEAT) {
    fprintf(stderr, "usage: timer REPEAT PEER WORKLOAD N STEPS command...\n");
    return 2;
  }
  struct rusage use;
  const double first = run(argv + 6, check, sizeof check, &status, &use);
  for (int i = 0; i < n && status == 0; i++) {
    t[i] = run(argv + 6, check, sizeof check, &status, &use);
    if ((double)use.ru_maxrss / 1024 > mb) mb = (double)use.ru_maxrss / 1024;
  }
  if (status != 0) {
    fprintf(stderr, "timer: %s: status %d\n", argv[6], WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    return 1;
  }
  sort_times(t, n);
  printf("{\"peer\":\"%s\",\"workload\":\"%s\",\"n\":%s,\"steps\":%s,\"first_s\":%.5f,\"run_s\":%.5f,\"min_s\":%.5f,"
         "\"max_s\":%.5f,\"repeats\":%d,\"peak_rss_mb\":%.1f,\"check\":%s}\n",
         argv[2], argv[3], argv[4], argv[5], first, t[n / 2], t[0], t[n - 1], n, mb, check);
  return 0;
}

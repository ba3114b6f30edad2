/*
** accepts.c -- accepts LIBNVRTC TEXT OPTION..: does a real NVRTC compile the text?  Its words go to standard output.  A program of
** its own: NVRTC looks for a driver in its process, and must not find the fake one.
*/
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct program *program;

static void *library;

static void find(const char *name, void *function) {
  void *p = dlsym(library, name);
  if (!p) exit(3);
  memcpy(function, &p, sizeof p);
}

static char *slurp(const char *path) {
  FILE *f = fopen(path, "rb");
  if (!f || fseek(f, 0, SEEK_END) != 0) exit(3);
  const size_t n = (size_t)ftell(f);
  char *s = calloc(1, n + 1);
  rewind(f);
  if (!s || fread(s, 1, n, f) != n) exit(3);
  fclose(f);
  return s;
}

int main(int argc, char **argv) {
  int (*create)(program *, const char *, const char *, int, const char *const *, const char *const *);
  int (*compile)(program, int, const char *const *);
  int (*log_size)(program, size_t *);
  int (*log_of)(program, char *);
  program p;
  size_t n = 0;
  library = argc > 2 ? dlopen(argv[1], RTLD_NOW) : NULL;
  if (!library) return 3;
  find("nvrtcCreateProgram", &create);
  find("nvrtcCompileProgram", &compile);
  find("nvrtcGetProgramLogSize", &log_size);
  find("nvrtcGetProgramLog", &log_of);
  char *text = slurp(argv[2]);
  if (create(&p, text, "bdl.cu", 0, NULL, NULL) != 0) return 3;
  const int code = compile(p, argc - 3, (const char *const *)argv + 3);
  char *log = log_size(p, &n) == 0 ? calloc(1, n + 1) : NULL;
  if (code && log && log_of(p, log) == 0) puts(log);
  free(log);
  free(text);
  return code != 0;
}

/*
** blas.c -- finding and opening the BLAS library.
*/
#define _GNU_SOURCE /* setenv, RTLD_LOCAL */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/blas.h"

/* Every function, from the first library that has it. */
static bool resolve(bdl_blas *b, void *const *libs, int n) {
  bool all = true;
#define RESOLVE(letter, field, pre, post)                                                \
  {                                                                                      \
    void *p = NULL;                                                                      \
    for (int i = 0; i < n && !p; i++) p = dlsym(libs[i], #pre #letter #post);            \
    memcpy(&b->field, &p, sizeof p); /* ISO C has no cast from an object to a function */ \
    all = all && p;                                                                      \
  }
#define RESOLVE_F32(name, pre, post, R, args) RESOLVE(s, f32.name, pre, post)
#define RESOLVE_F64(name, pre, post, R, args) RESOLVE(d, f64.name, pre, post)
  BDL_BLAS_FUNCTIONS(RESOLVE_F32, float)
  BDL_BLAS_FUNCTIONS(RESOLVE_F64, double)
  return all;
}

/* OpenBLAS before 0.3.22 takes AVX2 kernels on some processors with AVX-512; it chooses while being loaded. */
static void choose_kernels(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    setenv("OPENBLAS_CORETYPE", "SkylakeX", 0);
#endif
}

/* Our threads share the work out; the library's own would only get in their way. */
static void one_thread(void *library) {
  void (*set)(int) = NULL;
  void *p = dlsym(library, "openblas_set_num_threads");
  memcpy(&set, &p, sizeof p);
  if (set) set(1);
}

bool bdl_blas_ready(bdl_blas *b) {
  if (b->library) return true;
  if (b->missing) return false;
  const char *own = getenv("BDL_BLAS");
  const char *const names[][2] = {
      {own, NULL}, {"libopenblas.so.0", NULL}, {"libopenblas.so", NULL}, {"libblas.so.3", "liblapack.so.3"}};
  const int first = own ? 0 : 1, end = own ? 1 : BDL_LEN(names);
  choose_kernels();
  for (int i = first; i < end && !b->library; i++) {
    void *libs[2];
    int n = 0;
    for (int k = 1; k >= 0; k--) { /* the one that depends on the other first */
      void *l = names[i][k] ? dlopen(names[i][k], RTLD_NOW | RTLD_LOCAL) : NULL;
      if (l) libs[n++] = l;
    }
    if (n > 0 && resolve(b, libs, n)) {
      b->library = libs[n - 1];
      one_thread(b->library);
    } else {
      while (n > 0) dlclose(libs[--n]);
    }
  }
  b->missing = !b->library;
  return b->library != NULL;
}

bdl_status bdl_blas_open(bdl_blas *b, bdl_context *c) {
  if (bdl_blas_ready(b)) return BDL_OK;
  bdl_status s = bdl_fail(c, BDL_ENOTSUP, "linear algebra needs the OpenBLAS library, which was not found");
  bdl_hint(c, "apt install libopenblas0-openmp, or name a library in BDL_BLAS");
  return s;
}

void bdl_blas_close(bdl_blas *b) {
  /* The library stays loaded: its threads and kernels outlive any one context. */
  memset(b, 0, sizeof *b);
}

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

/* What OpenBLAS reads while being loaded.  Its own threads would only get in the way of ours.  Before 0.3.22 it takes AVX2
** kernels on some processors with AVX-512. */
static void configure(void) {
  setenv("OPENBLAS_NUM_THREADS", "1", 0);
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    setenv("OPENBLAS_CORETYPE", "SkylakeX", 0);
#endif
}

/* A build with OpenMP asks that for the number of threads at every call, other builds are told once. */
static void one_thread(bdl_blas *b) {
  void *get = dlsym(b->library, "omp_get_max_threads"), *set = dlsym(b->library, "omp_set_num_threads");
  if (get && set) {
    memcpy(&b->omp_get, &get, sizeof get);
    memcpy(&b->omp_set, &set, sizeof set);
    return;
  }
  void (*set_all)(int) = NULL;
  set = dlsym(b->library, "openblas_set_num_threads");
  memcpy(&set_all, &set, sizeof set);
  if (set_all) set_all(1);
}

bool bdl_blas_ready(bdl_blas *b) {
  if (b->library) return true;
  if (b->missing) return false;
  const char *own = getenv("BDL_BLAS");
  const char *const names[][2] = {
      {own, NULL}, {"libopenblas.so.0", NULL}, {"libopenblas.so", NULL}, {"libblas.so.3", "liblapack.so.3"}};
  const int first = own ? 0 : 1, end = own ? 1 : BDL_LEN(names);
  configure();
  for (int i = first; i < end && !b->library; i++) {
    void *libs[2];
    int n = 0;
    for (int k = 1; k >= 0; k--) { /* the one that depends on the other first */
      void *l = names[i][k] ? dlopen(names[i][k], RTLD_NOW | RTLD_LOCAL) : NULL;
      if (l) libs[n++] = l;
    }
    if (n > 0 && resolve(b, libs, n)) {
      b->library = libs[n - 1];
      one_thread(b);
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

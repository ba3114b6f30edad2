/*
** cuda_library.c -- NVIDIA's libraries: where they are looked for, and their functions.
*/
#define _GNU_SOURCE /* dladdr */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/cuda.h"

static const char *const driver_names[] = {"libcuda.so.1", "libcuda.so", NULL};
static const char *const nvrtc_names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2", "libnvrtc.so", NULL};
static const char *const blas_names[] = {"libcublas.so.13", "libcublas.so.12", "libcublas.so.11", "libcublas.so", NULL};
static const char *const blas_lt_names[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so.11", "libcublasLt.so", NULL};
static const char USUAL[] = "/usr/local/cuda/lib64";

/* One name in one folder; "": where the loader looks. */
static bool open_at(bdl_cuda_library *l, const char *folder, int n, const char *name) {
  if (n > 0) snprintf(l->path, sizeof l->path, "%.*s/%s", n, folder, name);
  else snprintf(l->path, sizeof l->path, "%s", name);
  l->handle = dlopen(l->path, RTLD_NOW | RTLD_LOCAL);
  return l->handle != NULL;
}

static bool open_in(bdl_cuda_library *l, const char *folder, int n, const char *const *names) {
  for (int i = 0; names[i]; i++)
    if (open_at(l, folder, n, names[i])) return true;
  return false;
}

void bdl_cuda_library_open(bdl_cuda_library *l, const char *const *names) {
  const char *own = getenv("BDL_CUDA");
  bool found = false;
  for (const char *at = own ? own : ""; *at && !found;) {
    const int n = (int)strcspn(at, ":");
    found = n > 0 && open_in(l, at, n, names);
    at += n + (at[n] == ':');
  }
  if (!found) found = open_in(l, "", 0, names) || open_in(l, USUAL, (int)strlen(USUAL), names);
  if (found) return;
  l->path[0] = 0;
  snprintf(l->why, sizeof l->why, "%s was not found (looked in %s%s%s, and in %s)", names[0], own && *own ? "BDL_CUDA=" : "the loader's folders",
           own && *own ? own : "", own && *own ? " and the loader's folders" : "", USUAL);
}

void *bdl_cuda_library_find(bdl_cuda_library *l, const char *name) {
  void *p = l->handle ? dlsym(l->handle, name) : NULL;
  if (l->handle && !p) {
    snprintf(l->why, sizeof l->why, "%.300s has no %s: it is too old", l->path, name);
    dlclose(l->handle);
    l->handle = NULL;
  }
  return p;
}

void bdl_cuda_library_note(bdl_cuda_library *l, void *function) {
  Dl_info info;
  if (l->handle && function && dladdr(function, &info) && info.dli_fname) snprintf(l->path, sizeof l->path, "%s", info.dli_fname);
}

void bdl_cuda_api_open(bdl_cuda_api *api) {
  void *p = NULL;
  memset(api, 0, sizeof *api);
  bdl_cuda_library_open(&api->driver, driver_names);
  if (!api->driver.handle) return; /* the others are large */
  bdl_cuda_library_open(&api->nvrtc, nvrtc_names);
  bdl_cuda_library_open(&api->blas, blas_names);
  bdl_cuda_library_open(&api->blas_lt, blas_lt_names);
#define X(name, args)                                                              \
  p = bdl_cuda_library_find(library, #name);                                       \
  memcpy(&api->name, &p, sizeof p); /* ISO C has no cast from an object to a function */
  bdl_cuda_library *library = &api->driver;
  BDL_CUDA_DRIVER(X)
  bdl_cuda_library_note(library, p);
  library = &api->nvrtc;
  BDL_CUDA_NVRTC(X)
  bdl_cuda_library_note(library, p);
  library = &api->blas;
  BDL_CUDA_BLAS(X)
  bdl_cuda_library_note(library, p);
  library = &api->blas_lt;
  BDL_CUDA_BLAS_LT(X)
  bdl_cuda_library_note(library, p);
#undef X
}

void bdl_cuda_api_close(bdl_cuda_api *api) {
  bdl_cuda_library *const all[] = {&api->blas_lt, &api->blas, &api->nvrtc, &api->driver};
  for (int i = 0; i < BDL_LEN(all); i++) {
    if (all[i]->handle) dlclose(all[i]->handle);
    all[i]->handle = NULL;
  }
}

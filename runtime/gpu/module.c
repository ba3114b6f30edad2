/*
** module.c -- NVRTC, and the cache of what it made: <32 digits>.cubin, with its SHA-256 behind.
*/
#include "gpu/module.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exec/cache.h"
#include "exec/program.h"

#define CACHE_BYTES (INT64_C(256) << 20)
enum { MOST_OPTIONS = 8, SEAL = 64 + 3 };

void bdl_gpu_image_free(bdl_context *c, bdl_gpu_image *image) {
  bdl_free(c, image->bytes, image->n);
  *image = (bdl_gpu_image){0};
}

/* ---- the compiler -------------------------------------------------------------------------------------------------- */

typedef struct options {
  char arch[32];
  const char *v[MOST_OPTIONS];
  int n;
  bool machine_code; /* else PTX, for a GPU newer than this compiler */
} options;

/* As exact as the CPU: no contraction behind one's back, subnormals, rounded division and roots. */
static void options_for(const bdl_cuda *g, options *o) {
  int archs[64], n = 0, best = 0;
  const int own = 10 * g->major + g->minor;
  if (g->api.nvrtcGetNumSupportedArchs(&n) == 0 && n > 0 && n <= BDL_LEN(archs) && g->api.nvrtcGetSupportedArchs(archs) == 0)
    for (int k = 0; k < n; k++)
      if (archs[k] <= own) best = BDL_MAX(best, archs[k]);
  o->machine_code = best == own;
  snprintf(o->arch, sizeof o->arch, "--gpu-architecture=%s_%d", o->machine_code ? "sm" : "compute", best ? best : own);
  const char *const all[] = {o->arch, "--fmad=false", "--device-as-default-execution-space", "--std=c++17", "--disable-warnings"};
  o->n = BDL_LEN(all);
  for (int k = 0; k < o->n; k++) o->v[k] = all[k];
}

static bdl_status failed(bdl_cuda *g, bdl_cuda_any program, int code) {
  bdl_context *c = g->device.ctx;
  size_t n = 0;
  g->api.nvrtcGetProgramLogSize(program, &n);
  char *log = bdl_calloc(c, n + 1);
  if (!log) return BDL_ENOMEM;
  g->api.nvrtcGetProgramLog(program, log);
  bdl_fail(c, BDL_ECOMPILE, "GPU: the CUDA compiler failed (%d): %.800s", code, log);
  bdl_free(c, log, n + 1);
  return BDL_ECOMPILE;
}

static bdl_status compile(bdl_cuda *g, const char *text, const options *o, bdl_gpu_image *image) {
  bdl_context *c = g->device.ctx;
  bdl_cuda_any program;
  int code = g->api.nvrtcCreateProgram(&program, text, "bdl.cu", 0, NULL, NULL);
  if (code) return bdl_fail(c, BDL_ECOMPILE, "GPU: the CUDA compiler cannot be used (%d)", code);
  code = g->api.nvrtcCompileProgram(program, o->n, o->v);
  bdl_status s = code ? failed(g, program, code) : BDL_OK;
  if (s == BDL_OK) code = o->machine_code ? g->api.nvrtcGetCUBINSize(program, &image->n) : g->api.nvrtcGetPTXSize(program, &image->n);
  if (s == BDL_OK) image->bytes = bdl_alloc(c, image->n);
  if (s == BDL_OK && !image->bytes) s = BDL_ENOMEM;
  if (s == BDL_OK && !code) code = o->machine_code ? g->api.nvrtcGetCUBIN(program, image->bytes) : g->api.nvrtcGetPTX(program, image->bytes);
  if (s == BDL_OK && code) s = bdl_fail(c, BDL_ECOMPILE, "GPU: the CUDA compiler gives no program (%d)", code);
  g->api.nvrtcDestroyProgram(&program);
  if (s != BDL_OK && image->bytes) bdl_gpu_image_free(c, image);
  return s;
}

/* ---- the cache -------------------------------------------------------------------------------------------------------- */

static void digits(const unsigned char *bytes, int n, char *out) {
  for (int k = 0; k < n; k++) snprintf(out + 2 * k, 3, "%02x", bytes[k]);
}

static void key_of(const bdl_cuda *g, const char *text, const options *o, char key[33]) {
  unsigned char sum[32];
  char version[600];
  bdl_sha256 s;
  snprintf(version, sizeof version, "%d.%d %s", g->nvrtc_major, g->nvrtc_minor, g->api.nvrtc.path);
  bdl_sha256_init(&s);
  bdl_sha256_add(&s, version, strlen(version) + 1);
  for (int k = 0; k < o->n; k++) bdl_sha256_add(&s, o->v[k], strlen(o->v[k]) + 1);
  bdl_sha256_add(&s, text, strlen(text));
  bdl_sha256_end(&s, sum);
  digits(sum, 16, key);
}

/* image->bytes NULL: it is not there, or not whole. */
static bdl_status load(bdl_context *c, const char *path, bdl_gpu_image *image) {
  FILE *f = bdl_program_whole(path) ? fopen(path, "rb") : NULL;
  const long n = f && fseek(f, 0, SEEK_END) == 0 ? ftell(f) - SEAL : 0;
  bdl_status s = BDL_OK;
  if (n > 0) {
    image->n = (size_t)n;
    image->bytes = bdl_alloc(c, image->n);
    if (!image->bytes) s = BDL_ENOMEM;
    else if (fseek(f, 0, SEEK_SET) != 0 || fread(image->bytes, 1, image->n, f) != image->n) bdl_gpu_image_free(c, image);
  }
  if (f) fclose(f);
  return s;
}

/* Beside, then renamed: whoever looks sees all of it or none.  What cannot be kept is made again. */
static void keep(const char *dir, const char *path, const bdl_gpu_image *image) {
  char beside[BDL_CACHE_PATH + 96], sum[65];
  unsigned char bytes[32];
  bdl_sha256 s;
  bdl_sha256_init(&s);
  bdl_sha256_add(&s, image->bytes, image->n);
  bdl_sha256_end(&s, bytes);
  digits(bytes, 32, sum);
  snprintf(beside, sizeof beside, "%s.%ld.tmp", path, (long)getpid());
  FILE *f = fopen(beside, "wb");
  bool ok = f && fwrite(image->bytes, 1, image->n, f) == image->n && fprintf(f, "%s  -", sum) == SEAL;
  if (f && fclose(f) != 0) ok = false;
  if (!ok || rename(beside, path) != 0) unlink(beside);
  else bdl_cache_trim(dir, CACHE_BYTES);
}

bdl_status bdl_gpu_compile(bdl_cuda *g, const char *text, bdl_gpu_image *image) {
  bdl_context *c = g->device.ctx;
  char dir[BDL_CACHE_PATH], path[BDL_CACHE_PATH + 48], key[33];
  options o;
  *image = (bdl_gpu_image){0};
  options_for(g, &o);
  key_of(g, text, &o, key);
  const bool cached = bdl_cache_dir(c, dir) == BDL_OK;
  if (!cached) bdl_clear_error(c);
  snprintf(path, sizeof path, "%s/%s.cubin", cached ? dir : "", key);
  if (cached) TRY(load(c, path, image));
  if (image->bytes) return BDL_OK;
  TRY(compile(g, text, &o, image));
  if (cached) keep(dir, path, image);
  return BDL_OK;
}

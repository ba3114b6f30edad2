/*
** nvrtc.c -- compiles a text for the host: cc, behind shim.h, which lies beside this library.  The shared object is
** what it hands out as PTX and as CUBIN.  The compiler is FAKE_CUDA_CC, by default cc.
*/
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake.h"

struct _nvrtcProgram {
  char *text, *name, *log, *object;
  size_t log_size, size;
  bool real; /* compiled for sm_.., not compute_..: there is a CUBIN */
};

static const int archs[] = {50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 89, 90};
enum { N_ARCHS = sizeof archs / sizeof *archs, DEFINES = 32 };

#define ENTER_NVRTC(function) \
  if (fake_fails(#function)) return NVRTC_ERROR_INTERNAL_ERROR

const char *nvrtcGetErrorString(nvrtcResult e) {
  switch (e) {
  case NVRTC_SUCCESS: return "NVRTC_SUCCESS";
  case NVRTC_ERROR_OUT_OF_MEMORY: return "NVRTC_ERROR_OUT_OF_MEMORY";
  case NVRTC_ERROR_PROGRAM_CREATION_FAILURE: return "NVRTC_ERROR_PROGRAM_CREATION_FAILURE";
  case NVRTC_ERROR_INVALID_INPUT: return "NVRTC_ERROR_INVALID_INPUT";
  case NVRTC_ERROR_INVALID_PROGRAM: return "NVRTC_ERROR_INVALID_PROGRAM";
  case NVRTC_ERROR_INVALID_OPTION: return "NVRTC_ERROR_INVALID_OPTION";
  case NVRTC_ERROR_COMPILATION: return "NVRTC_ERROR_COMPILATION";
  case NVRTC_ERROR_INTERNAL_ERROR: return "NVRTC_ERROR_INTERNAL_ERROR";
  }
  return "NVRTC_ERROR unknown";
}

nvrtcResult nvrtcVersion(int *major, int *minor) {
  ENTER_NVRTC(nvrtcVersion);
  *major = 12;
  *minor = 4;
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetNumSupportedArchs(int *n) {
  ENTER_NVRTC(nvrtcGetNumSupportedArchs);
  *n = N_ARCHS;
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetSupportedArchs(int *a) {
  ENTER_NVRTC(nvrtcGetSupportedArchs);
  memcpy(a, archs, sizeof archs);
  return NVRTC_SUCCESS;
}

/* ---- programs ---------------------------------------------------------------------------------------------------- */

nvrtcResult nvrtcCreateProgram(nvrtcProgram *p, const char *text, const char *name, int n,
                               const char *const *headers, const char *const *names) {
  ENTER_NVRTC(nvrtcCreateProgram);
  (void)headers, (void)names;
  if (!p || !text || n) return NVRTC_ERROR_INVALID_INPUT; /* a text of bdl includes nothing */
  nvrtcProgram q = calloc(1, sizeof *q);
  if (!q) return NVRTC_ERROR_OUT_OF_MEMORY;
  q->text = strdup(text);
  q->name = strdup(name ? name : "default_program");
  *p = q;
  return q->text && q->name ? NVRTC_SUCCESS : NVRTC_ERROR_OUT_OF_MEMORY;
}

nvrtcResult nvrtcDestroyProgram(nvrtcProgram *p) {
  if (!p || !*p) return NVRTC_ERROR_INVALID_PROGRAM;
  free((*p)->text);
  free((*p)->name);
  free((*p)->log);
  free((*p)->object);
  free(*p);
  *p = NULL;
  return NVRTC_SUCCESS;
}

/* The whole file, with a NUL behind it that is not counted. */
static char *slurp(const char *path, size_t *n) {
  FILE *f = fopen(path, "rb");
  if (!f) return NULL;
  fseek(f, 0, SEEK_END);
  *n = (size_t)ftell(f);
  rewind(f);
  char *s = malloc(*n + 1);
  if (s) {
    *n = fread(s, 1, *n, f);
    s[*n] = 0;
  }
  fclose(f);
  return s;
}

/* What NVRTC knows and a host's compiler need not: begins with one of these. */
static const char *const known[] = {
  "--std=", "-std=", "--fmad=", "-fmad=", "--ftz=", "-ftz=", "--prec-div=", "-prec-div=", "--prec-sqrt=",
  "-prec-sqrt=", "--dopt", "-dopt", "--minimal", "-minimal", "--restrict", "-restrict", "--maxrregcount=",
  "-maxrregcount=", "--device-int128", "-device-int128", "--generate-line-info", "-lineinfo", "--device-debug", "-G",
  "--use_fast_math", "-use_fast_math", "--disable-warnings", "-w", "--diag-suppress=", "-diag-suppress=",
  "--device-as-default-execution-space", "-default-device", "--extra-device-vectorization",
  "-extra-device-vectorization", "--no-source-include", "-no-source-include",
};

static bool is_known(const char *option) {
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strncmp(option, known[i], strlen(known[i])) == 0) return true;
  return false;
}

static const char *after(const char *s, const char *prefix) {
  const size_t n = strlen(prefix);
  return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

/* --gpu-architecture=sm_90: an architecture of the list.  Asked for always: bdl must compile for the device that it
** found. */
static bool architecture(nvrtcProgram p, const char *option, bool *given) {
  const char *a = after(option, "--gpu-architecture=");
  if (!a) a = after(option, "-arch=");
  if (!a) return false;
  p->real = after(a, "sm_") != NULL;
  const char *digits = p->real ? a + 3 : after(a, "compute_");
  for (int i = 0; digits && i < N_ARCHS; i++)
    if (strtol(digits, NULL, 10) == archs[i]) *given = true;
  return *given;
}

static nvrtcResult complain(nvrtcProgram p, const char *what, const char *option) {
  char line[256];
  p->log_size = (size_t)snprintf(line, sizeof line, "fake NVRTC: %s%s\n", what, option);
  p->log = strdup(line);
  return NVRTC_ERROR_INVALID_OPTION;
}

/* Runs argv with its words in the file log.  False where it fails. */
static bool command(const char *const *argv, const char *log) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 1, log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&files, 1, 2);
  pid_t pid;
  int status = -1;
  if (posix_spawnp(&pid, argv[0], &files, NULL, (char *const *)(uintptr_t)argv, environ) == 0)
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  posix_spawn_file_actions_destroy(&files);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Does the real one, where FAKE_CUDA_NVRTC says that there is one, take the text, too? */
static bool accepted(const char *folder, const char *text, int n, const char *const *options, const char *log) {
  enum { MOST = 60 };
  char tool[4200];
  const char *real = getenv("FAKE_CUDA_NVRTC"), *argv[MOST + 4] = {tool, real, text};
  if (!real || !*real || n > MOST) return true;
  snprintf(tool, sizeof tool, "%s/accepts", folder);
  memcpy(&argv[3], options, (size_t)n * sizeof *options);
  return command(argv, log);
}

nvrtcResult nvrtcCompileProgram(nvrtcProgram p, int n, const char *const *options) {
  ENTER_NVRTC(nvrtcCompileProgram);
  if (!p) return NVRTC_ERROR_INVALID_PROGRAM;
  char folder[256], text[300], object[300], log[300], beside[4096], shim[4200];
  const char *tmp = getenv("TMPDIR"), *cc = getenv("FAKE_CUDA_CC");
  const char *argv[24 + DEFINES] = {cc && *cc ? cc : "cc", "-std=c99", "-O1", "-w", "-fPIC", "-shared", "-DBDL_SHIM",
                                    "-ffp-contract=off", "-fvisibility=hidden", "-Wl,--no-undefined"};
  int m = 10, defines = 0;
  bool given = false;
  free(p->log);
  free(p->object);
  p->log = p->object = NULL;
  for (int i = 0; i < n; i++) {
    const char *o = options[i];
    if ((after(o, "-D") || after(o, "--define-macro=")) && defines++ < DEFINES) argv[m++] = o;
    else if (!is_known(o) && !architecture(p, o, &given)) return complain(p, "invalid option: ", o);
  }
  if (!given) return complain(p, "--gpu-architecture is not given", "");

  Dl_info self;
  dladdr((const void *)(uintptr_t)&nvrtcVersion, &self);
  const char *slash = strrchr(self.dli_fname, '/');
  snprintf(beside, sizeof beside, "%.*s", slash ? (int)(slash - self.dli_fname) : 1, slash ? self.dli_fname : ".");
  snprintf(shim, sizeof shim, "%s/shim.h", beside);
  snprintf(folder, sizeof folder, "%s/fake-nvrtc-XXXXXX", tmp && *tmp ? tmp : "/tmp");
  if (!mkdtemp(folder)) return NVRTC_ERROR_INTERNAL_ERROR;
  snprintf(text, sizeof text, "%s/text.c", folder);
  snprintf(object, sizeof object, "%s/object.so", folder);
  snprintf(log, sizeof log, "%s/log", folder);
  const char *const rest[] = {"-include", shim, "-x", "c", text, "-o", object, "-lm", NULL};
  memcpy(&argv[m], rest, sizeof rest);

  nvrtcResult e = NVRTC_ERROR_INTERNAL_ERROR;
  FILE *f = fopen(text, "w");
  if (f) {
    fprintf(f, "#line 1 \"%s\"\n%s", p->name, p->text);
    if (fclose(f) == 0) {
      const bool complete = strstr(p->text, "#ifndef BDL_SHIM"); /* has what NVRTC needs, too (kernels/cuda/prelude.cu) */
      const bool ok = (!complete || accepted(beside, text, n, options, log)) && command(argv, log);
      e = ok ? NVRTC_SUCCESS : NVRTC_ERROR_COMPILATION;
    }
  }
  p->log = slurp(log, &p->log_size);
  if (!e) p->object = slurp(object, &p->size);
  unlink(text);
  unlink(object);
  unlink(log);
  rmdir(folder);
  return e ? e : p->object ? NVRTC_SUCCESS : NVRTC_ERROR_INTERNAL_ERROR;
}

/* ---- what came out: sizes count the NUL of a text ---------------------------------------------------------------- */

nvrtcResult nvrtcGetProgramLogSize(nvrtcProgram p, size_t *n) {
  ENTER_NVRTC(nvrtcGetProgramLogSize);
  if (!p) return NVRTC_ERROR_INVALID_PROGRAM;
  *n = (p->log ? p->log_size : 0) + 1;
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetProgramLog(nvrtcProgram p, char *log) {
  ENTER_NVRTC(nvrtcGetProgramLog);
  if (!p) return NVRTC_ERROR_INVALID_PROGRAM;
  memcpy(log, p->log ? p->log : "", (p->log ? p->log_size : 0) + 1);
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetPTXSize(nvrtcProgram p, size_t *n) {
  ENTER_NVRTC(nvrtcGetPTXSize);
  if (!p || !p->object) return NVRTC_ERROR_INVALID_PROGRAM;
  *n = p->size + 1;
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetPTX(nvrtcProgram p, char *ptx) {
  ENTER_NVRTC(nvrtcGetPTX);
  if (!p || !p->object) return NVRTC_ERROR_INVALID_PROGRAM;
  memcpy(ptx, p->object, p->size + 1);
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetCUBINSize(nvrtcProgram p, size_t *n) {
  ENTER_NVRTC(nvrtcGetCUBINSize);
  if (!p || !p->object) return NVRTC_ERROR_INVALID_PROGRAM;
  *n = p->real ? p->size : 0;
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetCUBIN(nvrtcProgram p, char *cubin) {
  ENTER_NVRTC(nvrtcGetCUBIN);
  if (!p || !p->object || !p->real) return NVRTC_ERROR_INVALID_PROGRAM;
  memcpy(cubin, p->object, p->size);
  return NVRTC_SUCCESS;
}

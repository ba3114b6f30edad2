/*
** launch.c -- modules, their functions, launches.  An image is a shared object that the fake NVRTC made; a kernel has
** three parameters of 8 bytes.  The grid and the blocks have one dimension, a block whole warps.
*/
#include <dlfcn.h>
#include <elf.h>
#include <unistd.h>

#include "../shim.h"
#include "fake.h"

struct CUfunc_st {
  CUfunction next;
  fake_kernel *kernel;
  int shared; /* dynamic, at most */
  bool wide;  /* a cluster may have more than FAKE_CLUSTER blocks */
  char name[];
};

struct CUmod_st {
  CUmodule next;
  int device;
  void *library;
  CUfunction functions;
};

static CUmodule modules;

/* ---- modules ----------------------------------------------------------------------------------------------------- */

/* An ELF file ends with its table of sections, where cc's linker puts it.  0: no ELF file. */
static size_t image_size(const void *image) {
  const Elf64_Ehdr *h = image;
  return memcmp(h->e_ident, ELFMAG, SELFMAG) == 0 ? h->e_shoff + (size_t)h->e_shentsize * h->e_shnum : 0;
}

static void *load(const void *image, size_t n) {
  char path[512];
  const char *folder = getenv("TMPDIR");
  snprintf(path, sizeof path, "%s/fake-cuda-XXXXXX", folder && *folder ? folder : "/tmp");
  const int fd = mkstemp(path);
  if (fd < 0) return NULL;
  FILE *f = fdopen(fd, "wb");
  const bool written = fwrite(image, 1, n, f) == n;
  void *library = fclose(f) == 0 && written ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
  if (!library) fprintf(stderr, "fake CUDA: %s\n", dlerror());
  unlink(path);
  return library;
}

CUresult cuModuleLoadDataEx(CUmodule *m, const void *image, unsigned n, int *options, void **values) {
  ENTER_CONTEXT(cuModuleLoadDataEx);
  (void)n, (void)options, (void)values; /* of the compiler of PTX */
  const size_t size = image_size(image);
  if (!size) return CUDA_ERROR_INVALID_IMAGE;
  CUmodule mod = calloc(1, sizeof *mod);
  if (!mod) return CUDA_ERROR_OUT_OF_MEMORY;
  mod->library = load(image, size);
  void (*set)(const bdl_shim *) = NULL;
  if (mod->library) *(void **)&set = dlsym(mod->library, "bdl_shim_set");
  if (!set) { /* compiled without shim.h? */
    if (mod->library) dlclose(mod->library);
    free(mod);
    return CUDA_ERROR_NO_BINARY_FOR_GPU;
  }
  set(fake_shim());
  mod->device = fake_context()->device;
  mod->next = modules;
  modules = mod;
  *m = mod;
  return CUDA_SUCCESS;
}

static void unload(CUmodule *m) {
  CUmodule gone = *m;
  *m = gone->next;
  while (gone->functions) {
    CUfunction f = gone->functions;
    gone->functions = f->next;
    free(f);
  }
  dlclose(gone->library);
  free(gone);
}

CUresult cuModuleUnload(CUmodule m) {
  ENTER_CONTEXT(cuModuleUnload);
  for (CUmodule *i = &modules; *i; i = &(*i)->next)
    if (*i == m) {
      const CUresult e = fake_drain_all();
      unload(i);
      return e;
    }
  return CUDA_ERROR_INVALID_HANDLE;
}

void fake_modules_drop(int device) {
  for (CUmodule *m = &modules; *m;)
    if ((*m)->device == device) unload(m);
    else m = &(*m)->next;
}

CUresult cuModuleGetFunction(CUfunction *f, CUmodule m, const char *name) {
  ENTER_CONTEXT(cuModuleGetFunction);
  CUmodule i = modules;
  while (i && i != m) i = i->next;
  if (!i) return CUDA_ERROR_INVALID_HANDLE;
  void *kernel = dlsym(m->library, name);
  if (!kernel) return CUDA_ERROR_NOT_FOUND;
  for (*f = m->functions; *f; *f = (*f)->next)
    if (strcmp((*f)->name, name) == 0) return CUDA_SUCCESS;
  CUfunction fresh = calloc(1, sizeof *fresh + strlen(name) + 1);
  if (!fresh) return CUDA_ERROR_OUT_OF_MEMORY;
  strcpy(fresh->name, name);
  *(void **)&fresh->kernel = kernel;
  fresh->shared = FAKE_SHARED;
  fresh->next = m->functions;
  *f = m->functions = fresh;
  return CUDA_SUCCESS;
}

/* ---- functions --------------------------------------------------------------------------------------------------- */

/* Numbers of CUfunction_attribute. */
CUresult cuFuncGetAttribute(int *v, int attribute, CUfunction f) {
  ENTER_CONTEXT(cuFuncGetAttribute);
  if (!f) return CUDA_ERROR_INVALID_HANDLE;
  switch (attribute) {
  case 0: *v = fake_threads(); break;     /* threads of a block */
  case 1: case 2: case 3: *v = 0; break;  /* static shared, constant, local memory */
  case 4: *v = 32; break;                 /* registers of a thread */
  case 5: case 6: *v = 90; break;         /* version of PTX, of the binary */
  case 8: *v = f->shared; break;          /* dynamic shared memory */
  case 14: *v = f->wide; break;           /* large clusters allowed */
  default: return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction f, int attribute, int v) {
  ENTER_CONTEXT(cuFuncSetAttribute);
  if (!f) return CUDA_ERROR_INVALID_HANDLE;
  switch (attribute) {
  case 8:
    if (v < 0 || v > FAKE_SHARED_OPTIN) return CUDA_ERROR_INVALID_VALUE;
    f->shared = v;
    break;
  case 9: /* shared memory preferred to a cache, in % */
    if (v < -1 || v > 100) return CUDA_ERROR_INVALID_VALUE;
    break;
  case 14: f->wide = v; break;
  default: return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *n, CUfunction f, int threads, size_t shared) {
  ENTER_CONTEXT(cuOccupancyMaxActiveBlocksPerMultiprocessor);
  if (!f) return CUDA_ERROR_INVALID_HANDLE;
  if (threads <= 0) return CUDA_ERROR_INVALID_VALUE;
  *n = threads <= fake_threads() && shared <= (size_t)f->shared;
  return CUDA_SUCCESS;
}

/* Blocks of a cluster, 1 where none is asked for. */
static unsigned cluster_of(const CUlaunchConfig *c) {
  for (unsigned i = 0; i < c->numAttrs; i++)
    if (c->attrs[i].id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION) return c->attrs[i].value.clusterDim.x;
  return 1;
}

CUresult cuOccupancyMaxActiveClusters(int *n, CUfunction f, const CUlaunchConfig *c) {
  ENTER_CONTEXT(cuOccupancyMaxActiveClusters);
  if (!f) return CUDA_ERROR_INVALID_HANDLE;
  const unsigned cluster = cluster_of(c);
  if (!cluster || cluster > (f->wide ? 2 : 1) * FAKE_CLUSTER) return CUDA_ERROR_INVALID_CLUSTER_SIZE;
  const bool one = c->blockDimX <= (unsigned)fake_threads() && c->sharedMemBytes <= (unsigned)f->shared;
  *n = one ? fake_sms() / (int)cluster : 0;
  return CUDA_SUCCESS;
}

/* ---- launches ---------------------------------------------------------------------------------------------------- */

static CUresult do_launch(void *args) { return fake_run(args); }

static CUresult launch(const CUlaunchConfig *c, CUfunction f, void **params, void **extra) {
  if (!f) return CUDA_ERROR_INVALID_HANDLE;
  if (!params || extra) return CUDA_ERROR_INVALID_VALUE;
  if (c->gridDimY != 1 || c->gridDimZ != 1 || c->blockDimY != 1 || c->blockDimZ != 1) return CUDA_ERROR_INVALID_VALUE;
  if (!c->blockDimX || c->blockDimX % 32 || c->blockDimX > (unsigned)fake_threads()) return CUDA_ERROR_INVALID_VALUE;
  if (!c->gridDimX || c->gridDimX > INT32_MAX / c->blockDimX) return CUDA_ERROR_INVALID_VALUE;
  if (c->sharedMemBytes > (unsigned)f->shared) return CUDA_ERROR_INVALID_VALUE;
  bool cooperative = false;
  for (unsigned i = 0; i < c->numAttrs; i++) {
    const CUlaunchAttribute *a = &c->attrs[i];
    if (a->id == CU_LAUNCH_ATTRIBUTE_COOPERATIVE) cooperative = a->value.cooperative;
    else if (a->id != CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION || a->value.clusterDim.y != 1 || a->value.clusterDim.z != 1)
      return CUDA_ERROR_INVALID_VALUE;
  }
  const unsigned cluster = cluster_of(c), resident = (unsigned)fake_sms();
  if (!cluster || cluster > (f->wide ? 2 : 1) * FAKE_CLUSTER || cluster > resident || c->gridDimX % cluster)
    return CUDA_ERROR_INVALID_CLUSTER_SIZE;
  if (cooperative && c->gridDimX > resident) return CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
  fake_grid g = {.kernel = f->kernel,
                 .name = f->name,
                 .blocks = (int32_t)c->gridDimX,
                 .threads = (int32_t)c->blockDimX,
                 .shared = c->sharedMemBytes,
                 .together = cooperative || c->gridDimX == cluster};
  memcpy(&g.table, params[0], sizeof g.table);
  memcpy(&g.a, params[1], sizeof g.a);
  memcpy(&g.b, params[2], sizeof g.b);
  return fake_queue(c->hStream, do_launch, &g, sizeof g, NULL);
}

CUresult cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                        unsigned shared, CUstream s, void **params, void **extra) {
  ENTER_CONTEXT(cuLaunchKernel);
  const CUlaunchConfig c = {gx, gy, gz, bx, by, bz, shared, s, NULL, 0};
  return launch(&c, f, params, extra);
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *c, CUfunction f, void **params, void **extra) {
  ENTER_CONTEXT(cuLaunchKernelEx);
  return launch(c, f, params, extra);
}

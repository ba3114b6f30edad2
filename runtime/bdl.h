/*
** bdl.h -- bdl for host programs: open a context, run models in it, close it.
** A context belongs to one thread at a time; several live in one process without knowing of each other.
** Only bdl_interrupt and bdl_interrupted may be called from a signal handler or another thread.
*/
#ifndef BDL_H
#define BDL_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BDL_VERSION "0.1.0"
#define BDL_API __attribute__((visibility("default")))

typedef struct bdl bdl;

typedef struct bdl_options {
  /* memory hook with lua_Alloc's signature; NULL: malloc */
  void *(*alloc)(void *ud, void *ptr, size_t osize, size_t nsize);
  void *alloc_ud;
  size_t memory_limit; /* bytes of tensors and programs; 0: none */
  int threads;         /* most threads to use; 0: all processors */
} bdl_options;

/* NULL options: defaults.  NULL result: out of memory. */
BDL_API bdl *bdl_open(const bdl_options *options);
BDL_API void bdl_close(bdl *b);

/* Run a model file or text.  0: done; else the kind and text of the error stand in bdl_error_kind and bdl_error_text until the
** next call. */
BDL_API int bdl_run_file(bdl *b, const char *path);
BDL_API int bdl_run_string(bdl *b, const char *text, const char *name);
/* Calls the module bdl.cli with the arguments; the result is the exit status of a program. */
BDL_API int bdl_main(bdl *b, int argc, char **argv);
BDL_API const char *bdl_error_kind(const bdl *b);
BDL_API const char *bdl_error_text(const bdl *b);

/* Stop whatever runs at the end of the current step; it fails with an InterruptError. */
BDL_API void bdl_interrupt(bdl *b);
/* Was that asked for, and has nothing stopped yet? */
BDL_API int bdl_interrupted(const bdl *b);

#ifdef __cplusplus
}
#endif

#endif

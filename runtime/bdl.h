/*
** bdl.h -- bdl for host programs: run models, call their functions over the host's memory, step compiled programs, read and
** write States, give models functions of the host.
**
**     bdl *b = bdl_open(NULL);                               a context
**     bdl_run_file(b, "net.lua");                            return {step = step, net = net}
**     bdl_function *step = bdl_function_find(b, "step");
**     bdl_array x = bdl_vector(BDL_FLOAT32, in, 64), y = bdl_vector(BDL_FLOAT32, out, 8);
**     bdl_function_call(step, &x, 1, &y, 1);                 through Lua: some microseconds
**     bdl_program *p = bdl_program_new(step, &x, 1, &y, 1);  compiled and bound to that memory
**     while (..) bdl_program_run(p);                         without Lua
**     bdl_close(b);
**
** Results: functions that return int give 0 where they are done and 1 where they failed; those that return a pointer give NULL.
** bdl_error_of then says why.  After any failure the context goes on; what a call that failed had begun to write is as it was,
** unless said otherwise.
**
** Threads: a context and what was got from it belong to one thread at a time; passing it on is the host's to order (a mutex, a
** join).  Contexts share nothing, so each may live in a thread of its own.  Only bdl_interrupt and bdl_interrupted may be called
** at any time, from other threads and signal handlers.  A call into a context that is inside another call fails: from a callback
** with a NotSupportedError, from another thread without a message.
**
** Ownership: what is got from a context lives until it is freed, or the context is closed.  Text that is given is copied; text
** that is got belongs to the context.  Memory behind a bdl_array that the host gives stays the host's.
*/
#ifndef BDL_H
#define BDL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BDL_VERSION "0.1.0"
#define BDL_API __attribute__((visibility("default")))

/* The version of the library, which may be a later one than BDL_VERSION, that of the header. */
BDL_API const char *bdl_version(void);

/* ---- contexts --------------------------------------------------------------------------------------- */

typedef struct bdl bdl;

typedef enum bdl_level {
  BDL_LOG_PRINT,   /* print and debug.print of models, a line without its end */
  BDL_LOG_WARNING, /* warn of models; what the user should know, such as why there is no native code */
  BDL_LOG_ERROR    /* why bdl_open failed */
} bdl_level;

/* Begin with bdl_defaults(): a later version of bdl may have more options behind these. */
typedef struct bdl_options {
  size_t struct_size; /* sizeof(bdl_options) */
  /* Memory hook with lua_Alloc's signature: nsize 0 frees; else a block of nsize bytes with the contents of ptr, NULL: there is
  ** none.  Blocks are aligned as those of malloc.  NULL: malloc.  May not call bdl. */
  void *(*alloc)(void *ud, void *ptr, size_t osize, size_t nsize);
  void *alloc_ud;
  size_t memory_limit; /* bytes of tensors and programs, and as many on a GPU; 0: none.  Beyond it calls fail with a MemoryError */
  int threads;         /* most threads to use, the calling one too; 0: all processors */
  const char *tier;    /* "interp", "native" (compiled before the first run), "auto" (in the background); NULL: BDL_TIER or auto */
  /* What is said goes here; in the thread that runs.  May not call bdl.  NULL: prints to stdout, warnings to stderr where the
  ** model asks for them with warn "@on". */
  void (*log)(void *ud, int level, const char *text);
  void *log_ud;
  int sandbox; /* 1: models of strangers: no files, no programs, no foreign functions, no native code; Lua's memory counts, too */
  /* Of a sandbox, for each call; 0: none.  Beyond it the call fails with a BudgetError.  A step is an iteration of a compiled loop, or a
  ** thousand instructions of Lua.  States are then as before the compiled call that was stopped. */
  int64_t step_limit;
  double time_limit; /* s */
} bdl_options;

static inline bdl_options bdl_defaults(void) {
  bdl_options o;
  memset(&o, 0, sizeof o);
  o.struct_size = sizeof o;
  return o;
}

/* NULL options: defaults.  NULL result: out of memory, or an option with no meaning (options->log hears which). */
BDL_API bdl *bdl_open(const bdl_options *options);
/* Frees all that was got from b, too.  Inside of a callback it does nothing. */
BDL_API void bdl_close(bdl *b);

/* Run a model from a file or memory.  Where it returns a table, its fields can be found by name from now on, in place of those of
** the same name before. */
BDL_API int bdl_run_file(bdl *b, const char *path);
BDL_API int bdl_run_string(bdl *b, const char *text, const char *name); /* name: what messages call it */
/* The program bdl with these arguments: its exit status. */
BDL_API int bdl_main(bdl *b, int argc, char **argv);

/* Stop what runs, or is run next, at the end of the current step; it fails with an InterruptError.  States are then those of the
** last whole step. */
BDL_API void bdl_interrupt(bdl *b);
/* Was that asked for, and has nothing stopped yet? */
BDL_API int bdl_interrupted(const bdl *b);

/* Bytes in use and the most there were; either may be NULL. */
BDL_API void bdl_memory(const bdl *b, size_t *used, size_t *peak);
/* The same of the GPU's memory; 0 where none is in use. */
BDL_API void bdl_memory_gpu(const bdl *b, size_t *used, size_t *peak);

/* ---- errors ------------------------------------------------------------------------------------------ */

/* Of the last call that failed.  Texts live until the next call fails; they are never NULL unless said so. */
typedef struct bdl_error_info {
  const char *kind;    /* ShapeError, TypeError, ValueError, KeyError, UnitMismatchError, MemoryError, ..; "": none failed yet */
  const char *message;
  const char *file;    /* of the model; NULL: not the model's */
  int line;
  const char *hint;    /* a way out; NULL: none */
  const char *text;    /* all of it, for people */
} bdl_error_info;

BDL_API const bdl_error_info *bdl_error_of(const bdl *b);
BDL_API const char *bdl_error_kind(const bdl *b);
BDL_API const char *bdl_error_text(const bdl *b);

/* ---- arrays -------------------------------------------------------------------------------------------- */

typedef enum bdl_type { BDL_BOOLEAN, BDL_INT32, BDL_INT64, BDL_UINT32, BDL_FLOAT32, BDL_FLOAT64 } bdl_type;

enum {
  BDL_MOST_AXES = 8,
  BDL_PADDING = 64, /* bytes */
  BDL_PADDED = 1    /* flag: BDL_PADDING bytes behind the data may be read */
};

/*
** Numbers in memory: row-major, without gaps, aligned as the type asks.  Booleans are bytes, 0 or 1.
** bdl works on the memory itself.  Its vector loops may read, never write, up to BDL_PADDING bytes behind an array; where these
** are not promised (BDL_PADDED) and would lie in another page of memory, the array is copied instead.
*/
typedef struct bdl_array {
  void *data;
  bdl_type dtype;
  int ndim; /* 0: one number */
  int64_t shape[BDL_MOST_AXES];
  const char *unit; /* "mV", "nA / cm^2"; NULL: plain numbers */
  unsigned flags;
} bdl_array;

static inline bdl_array bdl_number(bdl_type dtype, void *data) {
  bdl_array a;
  memset(&a, 0, sizeof a);
  a.data = data;
  a.dtype = dtype;
  return a;
}

static inline bdl_array bdl_vector(bdl_type dtype, void *data, int64_t n) {
  bdl_array a = bdl_number(dtype, data);
  a.ndim = 1;
  a.shape[0] = n;
  return a;
}

static inline bdl_array bdl_matrix(bdl_type dtype, void *data, int64_t rows, int64_t columns) {
  bdl_array a = bdl_vector(dtype, data, rows);
  a.ndim = 2;
  a.shape[1] = columns;
  return a;
}

/* ---- functions of models --------------------------------------------------------------------------------- */

/* Names are paths from a field of what scripts returned, or from a global: "step", "net.update", "layers[2]".  Anything that can be
** called is a function: those of Lua, compiled ones, models.  Methods are bound to their object. */
typedef struct bdl_function bdl_function;

BDL_API bdl_function *bdl_function_find(bdl *b, const char *path);
BDL_API void bdl_function_free(bdl_function *f); /* NULL is fine */

/*
** bdl_function_call -- f(in[0], in[1], ..).
**   in   [n_in]   tensors over the host's memory, for this call: what the model keeps of them is copied when it ends
**   out  [n_out]  the tensors that f returns, trees of them leaf by leaf, keys in order.  n_out 0: they are dropped.
**     out[k].data set: dtype, shape and unit are what is wanted, and the numbers are written there (mV where V is
**                      wanted is scaled); on error nothing is written
**     out[k].data NULL: all of out[k] is set; the numbers are f's, to be read until f is called again or freed
** Errors: what f raises; ShapeError, TypeError, UnitMismatchError where a result is not as wanted; ValueError: no array.
*/
BDL_API int bdl_function_call(bdl_function *f, const bdl_array *in, int n_in, bdl_array *out, int n_out);

/* ---- programs: a function compiled for one set of arrays ---------------------------------------------------- */

typedef struct bdl_program bdl_program;

/*
** bdl_program_new -- trace f over arrays of these types, compile it, bind it to their memory.  f runs once, in Lua, to be traced.
**   in   [n_in]   read at each run; of one with data NULL the program makes the memory (bdl_program_argument)
**   out  [n_out]  written at each run, as many as f returns; data NULL: the program makes the memory, and dtype, shape and unit
**                 are not looked at
** The memory stays as long as the program.  That of results may not overlap other memory of the program.
** The program reads and writes the States that f does.  It stands for f as it is now: where settings that f has read, or the
** objects that hold its States, have changed since, its runs fail with a ValueError; make it again.
*/
BDL_API bdl_program *bdl_program_new(bdl_function *f, const bdl_array *in, int n_in, const bdl_array *out, int n_out);
BDL_API void bdl_program_free(bdl_program *p); /* NULL is fine */

/* One call of f, without Lua and, after the first, without allocating.  On error States are as before the call, the memory of
** results is undefined. */
BDL_API int bdl_program_run(bdl_program *p);

/* Sets *a: the memory bound to argument or result k, type and unit. */
BDL_API int bdl_program_argument(bdl_program *p, int k, bdl_array *a);
BDL_API int bdl_program_result(bdl_program *p, int k, bdl_array *a);

/* ---- States: the mutable cells of a model ------------------------------------------------------------------- */

/* One tensor of a State: "net.neurons.V"; where the value is a tree, of one leaf: "net.layers[1].weight.bias".  A cell is of the
** State that was there when it was found. */
typedef struct bdl_cell bdl_cell;

BDL_API bdl_cell *bdl_cell_find(bdl *b, const char *path);
BDL_API void bdl_cell_free(bdl_cell *c); /* NULL is fine */

/* To and from memory of the host, a->data; dtype and shape must be the cell's, the unit one of its dimension: numbers are
** scaled. */
BDL_API int bdl_cell_read(bdl_cell *c, const bdl_array *a);
BDL_API int bdl_cell_write(bdl_cell *c, const bdl_array *a);
/* Sets *a: the numbers themselves, to be read and written until the next call that runs anything. */
BDL_API int bdl_cell_view(bdl_cell *c, bdl_array *a);

/* ---- functions of the host ------------------------------------------------------------------------------------ */

/*
** A function that models call, eagerly and from compiled code: once each time the program passes there, in order.
**   in   [n_in]   its arguments, plain numbers, to be read during the call
**   out  [n_out]  its results, to be written
** NULL: done; else what went wrong, which is copied at once: the program fails with a HostError.
** It runs in the thread of the call into bdl, and may not call bdl but for bdl_interrupt.
*/
typedef const char *(*bdl_callback)(void *ud, const bdl_array *in, int n_in, bdl_array *out, int n_out);

/* Models find it as bdl.host.<name>.  results [n_results]: dtype and shape of what it gives.  fn and ud stay until b is closed;
** what was compiled before keeps the function that had the name then. */
BDL_API int bdl_register(bdl *b, const char *name, bdl_callback fn, void *ud, const bdl_array *results, int n_results);

#ifdef __cplusplus
}
#endif

#endif

/*
** base.h -- the ground every layer stands on: status, errors, memory, dtypes, avals.
** Nothing here knows of programs, devices or Lua.
*/
#ifndef BDL_BASE_H
#define BDL_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- status and errors ------------------------------------------------------------------ */

/* One row a status: the name is the kind of the error object that Lua sees. */
#define BDL_STATUS_LIST(X)                        \
  X(BDL_OK, "ok")                                 \
  X(BDL_ENOMEM, "MemoryError")                    \
  X(BDL_ESHAPE, "ShapeError")                     \
  X(BDL_ETYPE, "TypeError")                       \
  X(BDL_EVALUE, "ValueError")                     \
  X(BDL_EINDEX, "IndexError")                     \
  X(BDL_EKEY, "KeyError")                         \
  X(BDL_EUNIT, "UnitMismatchError")               \
  X(BDL_ETRACE, "TraceContextError")              \
  X(BDL_EBATCH, "BatchAxisError")                 \
  X(BDL_ENOTSUP, "NotSupportedError")             \
  X(BDL_ECOMPILE, "CompilationError")             \
  X(BDL_EBUDGET, "BudgetError")                   \
  X(BDL_EIO, "IOError")                           \
  X(BDL_EINTERRUPT, "InterruptError")             \
  X(BDL_ESYNTAX, "SyntaxError")                   \
  X(BDL_EHOST, "HostError")                       \
  X(BDL_EINTERNAL, "InternalError")

typedef enum bdl_status {
#define X(id, kind) id,
  BDL_STATUS_LIST(X)
#undef X
  BDL_STATUS_COUNT
} bdl_status;

const char *bdl_status_kind(bdl_status s);

typedef struct bdl_context bdl_context;

/* Where in the user's model something came from.  file is interned in the context; NULL: unknown. */
typedef struct bdl_src {
  const char *file;
  int32_t line;
} bdl_src;

/* The last error of a context.  where is filled from the equation or the Lua stack that failed. */
typedef struct bdl_error {
  bdl_status status;
  bdl_src where;
  char message[2048];
  char hint[512];
} bdl_error;

/* Record an error and return its status: `return bdl_fail(c, BDL_ESHAPE, "...", ...)`. */
bdl_status bdl_fail(bdl_context *c, bdl_status s, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
bdl_status bdl_failv(bdl_context *c, bdl_status s, const char *fmt, va_list ap);
/* Add the way out to the error just recorded. */
void bdl_hint(bdl_context *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Attach a source position to the error just recorded, unless it has one. */
void bdl_where(bdl_context *c, bdl_src src);
bdl_error *bdl_last_error(bdl_context *c);
void bdl_clear_error(bdl_context *c);

#define TRY(e)                                  \
  do {                                          \
    bdl_status try_ = (e);                      \
    if (try_ != BDL_OK) return try_;            \
  } while (0)

/* Asserts are for our bugs, statuses for the user's. */
#ifdef BDL_DEBUG
void bdl_assert_failed(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4), noreturn));
#define BDL_ASSERT(cond, ...) ((cond) ? (void)0 : bdl_assert_failed(__FILE__, __LINE__, __VA_ARGS__))
#else
#define BDL_ASSERT(cond, ...) ((void)0)
#endif

#define BDL_MIN(a, b) ((a) < (b) ? (a) : (b))
#define BDL_MAX(a, b) ((a) > (b) ? (a) : (b))
#define BDL_LEN(a) ((int)(sizeof(a) / sizeof((a)[0])))

/* ---- memory ------------------------------------------------------------------------------ */

/* The one hook, with lua_Alloc's signature: nsize 0 frees; osize is the old size. */
typedef void *(*bdl_alloc_fn)(void *ud, void *ptr, size_t osize, size_t nsize);

/* All return NULL with BDL_ENOMEM recorded when the hook fails or the context's limit would be passed. */
void *bdl_alloc(bdl_context *c, size_t size);
void *bdl_calloc(bdl_context *c, size_t size);
void *bdl_realloc(bdl_context *c, void *p, size_t osize, size_t nsize);
void bdl_free(bdl_context *c, void *p, size_t size);
char *bdl_strdup(bdl_context *c, const char *s); /* freed with bdl_free(c, s, strlen(s) + 1) */

/* A bump allocator, freed whole.  The blocks come from the context's hook. */
typedef struct bdl_arena {
  bdl_context *ctx;
  struct bdl_arena_block *head;
} bdl_arena;

void bdl_arena_init(bdl_arena *a, bdl_context *c);
void bdl_arena_fini(bdl_arena *a);
void *bdl_arena_alloc(bdl_arena *a, size_t size);                  /* 16-byte aligned, zeroed; NULL: BDL_ENOMEM */
char *bdl_arena_strdup(bdl_arena *a, const char *s);
size_t bdl_arena_bytes(const bdl_arena *a);

/* Growable array: `BDL_VEC(int) v = {0};  BDL_PUSH(c, v, 3) ? ok : BDL_ENOMEM;  BDL_VEC_FREE(c, v)`. */
#define BDL_VEC(T) \
  struct {         \
    T *v;          \
    int64_t n, cap; \
  }
bool bdl_vec_grow(bdl_context *c, void **v, int64_t *cap, int64_t need, size_t elem);
#define BDL_RESERVE(c, vec, need) \
  ((need) <= (vec).cap || bdl_vec_grow(c, (void **)&(vec).v, &(vec).cap, need, sizeof *(vec).v))
#define BDL_PUSH(c, vec, x) (BDL_RESERVE(c, vec, (vec).n + 1) ? ((vec).v[(vec).n++] = (x), true) : false)
#define BDL_VEC_FREE(c, vec) \
  (bdl_free(c, (vec).v, (size_t)(vec).cap * sizeof *(vec).v), (vec).v = NULL, (vec).n = (vec).cap = 0)

/* Growable text. */
typedef struct bdl_str {
  bdl_context *ctx;
  char *s; /* always terminated once something was appended */
  int64_t n, cap;
  bool failed; /* an append ran out of memory; sticky */
} bdl_str;
void bdl_str_init(bdl_str *b, bdl_context *c);
void bdl_str_fini(bdl_str *b);
void bdl_str_add(bdl_str *b, const char *s, int64_t n);
void bdl_str_addf(bdl_str *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Hash map from 64-bit keys (an id, a pointer, a hash) to 64-bit values.  Open addressing. */
typedef struct bdl_map {
  bdl_context *ctx;
  struct bdl_map_entry *e;
  int64_t n, cap;
} bdl_map;
void bdl_map_init(bdl_map *m, bdl_context *c);
void bdl_map_fini(bdl_map *m);
bool bdl_map_get(const bdl_map *m, uint64_t key, uint64_t *value);
bdl_status bdl_map_put(bdl_map *m, uint64_t key, uint64_t value);
/* Every entry, in no order: `int64_t i = 0; while (bdl_map_next(m, &i, &key, &value)) ...` */
bool bdl_map_next(const bdl_map *m, int64_t *i, uint64_t *key, uint64_t *value);
uint64_t bdl_hash(const void *p, size_t n, uint64_t seed);

int64_t bdl_now_ns(void); /* since some time in the past */

/* SHA-256: of names by content, where two may never meet. */
typedef struct bdl_sha256 {
  uint32_t h[8];
  uint64_t n;
  unsigned char part[64];
} bdl_sha256;
void bdl_sha256_init(bdl_sha256 *s);
void bdl_sha256_add(bdl_sha256 *s, const void *p, size_t n);
void bdl_sha256_end(bdl_sha256 *s, unsigned char out[32]);

/* ---- dtypes and avals ---------------------------------------------------------------------- */

/* id, short name (IR text), long name (Lua), size in bytes */
#define BDL_DTYPE_LIST(X)             \
  X(BDL_BOOL, "bool", "bool", 1)      \
  X(BDL_I32, "i32", "int32", 4)       \
  X(BDL_I64, "i64", "int64", 8)       \
  X(BDL_U32, "u32", "uint32", 4)      \
  X(BDL_F32, "f32", "float32", 4)     \
  X(BDL_F64, "f64", "float64", 8)

typedef enum bdl_dtype {
#define X(id, s, l, z) id,
  BDL_DTYPE_LIST(X)
#undef X
  BDL_DTYPE_COUNT
} bdl_dtype;

size_t bdl_dtype_size(bdl_dtype d);
const char *bdl_dtype_name(bdl_dtype d);      /* "f32" */
const char *bdl_dtype_long_name(bdl_dtype d); /* "float32" */
bool bdl_dtype_parse(const char *s, bdl_dtype *d); /* either name */
static inline bool bdl_dtype_is_float(bdl_dtype d) { return d == BDL_F32 || d == BDL_F64; }
static inline bool bdl_dtype_is_int(bdl_dtype d) { return d == BDL_I32 || d == BDL_I64 || d == BDL_U32; }

#define BDL_MAX_NDIM 8
#define BDL_TRACE_STATES 64 /* most states of an eligibility trace */

/* Abstract value: what is known of a tensor while tracing.  Row-major; ndim 0 is a scalar. */
typedef struct bdl_aval {
  bdl_dtype dtype;
  int32_t ndim;
  int64_t shape[BDL_MAX_NDIM];
} bdl_aval;

bdl_aval bdl_aval_scalar(bdl_dtype d);
bdl_aval bdl_aval_make(bdl_dtype d, int32_t ndim, const int64_t *shape);
bool bdl_aval_eq(const bdl_aval *a, const bdl_aval *b);
bool bdl_shape_eq(const bdl_aval *a, const bdl_aval *b);
int64_t bdl_aval_numel(const bdl_aval *a);
size_t bdl_aval_bytes(const bdl_aval *a);
/* Errors: BDL_EVALUE negative extent or more than 2^46 bytes. */
bdl_status bdl_aval_check(bdl_context *c, const bdl_aval *a);
/* "f32[2,3]" (long_name: "float32[2,3]") into buf; returns buf. */
#define BDL_AVAL_TEXT 192
const char *bdl_aval_text(const bdl_aval *a, bool long_name, char buf[BDL_AVAL_TEXT]);
/* NumPy broadcasting of shapes; out may be a or b.  Errors: BDL_ESHAPE. */
bdl_status bdl_broadcast(bdl_context *c, const bdl_aval *a, const bdl_aval *b, bdl_aval *out);

/* One scalar of any dtype. */
typedef union bdl_scalar {
  bool b;
  int32_t i32;
  int64_t i64;
  uint32_t u32;
  float f32;
  double f64;
  uint64_t bits;
} bdl_scalar;
bdl_scalar bdl_scalar_from_f64(bdl_dtype d, double v); /* saturates integers; NaN -> 0 for integers */
bdl_scalar bdl_scalar_from_i64(bdl_dtype d, int64_t v); /* integers wrap */
double bdl_scalar_to_f64(bdl_dtype d, bdl_scalar s);

#endif

/*
** call.h -- runs a primitive's kernel on plain arrays, as a plan would, after the primitive's own check.
** Arrays are freed with t_free; memory beyond an array is checked for writes.
*/
#ifndef T_CALL_H
#define T_CALL_H

#include "../support/random.h"
#include "exec/lower.h"

typedef struct t_array {
  bdl_aval aval;
  void *data; /* followed by guard bytes */
} t_array;

/* One context for a test program. */
bdl_context *t_context(void);
void t_context_free(void);

double t_uniform(uint64_t *seed); /* [0, 1) */
int64_t t_below(uint64_t *seed, int64_t n);

t_array t_new(bdl_dtype d, int ndim, const int64_t *shape);                  /* zeros */
t_array t_rand(bdl_dtype d, int ndim, const int64_t *shape, uint64_t *seed); /* small integers, quarters in floats */
t_array t_i32(int64_t n, const int32_t *v);
t_array t_f64(int64_t n, const double *v);
void t_free(t_array *a, int n);
double t_get(const t_array *a, int64_t i);
void t_set(t_array *a, int64_t i, double v);

/* out: room for the results, which the call makes.  Failures leave out untouched. */
bdl_status t_call(bdl_prim_id prim, const bdl_param *params, const t_array *in, int n_in, t_array *out, int threads);
/* Operand i is a constant of the plan where bit i of known is set: the kernel may have prepared it. */
bdl_status t_call_knowing(uint32_t known, bdl_prim_id prim, const bdl_param *params, const t_array *in, int n_in, t_array *out,
                          int threads);

/* Same type and bits. */
void t_same(const t_array *a, const t_array *b);
/* |a - b| <= atol + rtol |b|, NaN equal to NaN */
void t_near(const t_array *a, const t_array *b, double rtol, double atol);

#define SHAPE(...) \
  (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]) { \
    __VA_ARGS__ \
  }
#define INTS(...) bdl_pints((int64_t[]){__VA_ARGS__}, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))
#define NONE bdl_pints(NULL, 0)
#define PARAMS(...) \
  (bdl_param[]) { \
    __VA_ARGS__ \
  }
#define OK(status) t_ok((status), __FILE__, __LINE__)
void t_ok(bdl_status s, const char *file, int line);
/* The call fails with this status and a message that has this text. */
void t_fails(bdl_status got, bdl_status want, const char *text);

#endif

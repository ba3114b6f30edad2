/*
** conv.c -- convolution as a product: patches of the input, one a row, times the filter as a matrix.
** Narrow groups (depthwise filters) are summed tap by tap instead, along the channels.
*/
#include <string.h>

#include "cpu/conv.h"

enum { WORKERS = 8, PATCH_BYTES = 1 << 18 }; /* scratch holds that many buffers of patches */

static int64_t product(const int64_t v[3]) { return v[0] * v[1] * v[2]; }

static bool is_narrow(const bdl_k_window *w) { return w->groups > 1 && w->c_out / w->groups < 8; }

/* A filter of one tap that reads every element once: x is already the matrix of patches. */
static bool is_pointwise(const bdl_k_window *w) {
  bool same = w->groups == 1 && product(w->taps) == 1;
  for (int k = 0; k < 3; k++) same = same && w->stride[k] == 1 && w->lo[k] == 0 && w->gap[k] == 1 && w->in[k] == w->out[k];
  return same;
}

/* Elements of one patch of a group, and patches in one buffer. */
static int64_t patch_size(const bdl_k_window *w) { return product(w->taps) * (w->c_in / w->groups); }
static int64_t patch_rows(const bdl_k_window *w, bdl_dtype d) {
  int64_t bytes = BDL_MAX(patch_size(w), 1) * (int64_t)bdl_dtype_size(d);
  return BDL_MIN(BDL_MAX(PATCH_BYTES / bytes, 16), BDL_MAX(product(w->out), 1));
}

int64_t bdl_k_conv_block(const bdl_k_window *w, bdl_dtype d, bool *pointwise) {
  *pointwise = is_pointwise(w);
  return is_narrow(w) ? 0 : patch_rows(w, d);
}

size_t bdl_k_conv_scratch(const bdl_k_window *w, bdl_dtype d) {
  if (is_narrow(w) || is_pointwise(w)) return 0;
  return (size_t)(WORKERS * patch_rows(w, d) * patch_size(w)) * bdl_dtype_size(d);
}

/* The element of x [in.., c_in] that result `out` meets at `tap`; -1: padding, or between elements. */
static int64_t meets(const bdl_k_window *w, const int64_t out[3], const int64_t tap[3]) {
  int64_t at = 0;
  for (int k = 0; k < 3; k++) {
    int64_t i = out[k] * w->stride[k] + tap[k] * w->step[k] - w->lo[k];
    if (i < 0 || i % w->gap[k] != 0 || i / w->gap[k] >= w->in[k]) return -1;
    at = at * w->in[k] + i / w->gap[k];
  }
  return at * w->c_in;
}

static void position(const int64_t extent[3], int64_t linear, int64_t at[3]) {
  for (int k = 2; k >= 0; k--) at[k] = linear % extent[k], linear /= extent[k];
}

static bool next_position(const int64_t extent[3], int64_t at[3]) {
  for (int k = 2; k >= 0; k--) {
    if (++at[k] < extent[k]) return true;
    at[k] = 0;
  }
  return false;
}

/* Patches of results first .. first + rows of one image and group. */
static void fill_patches(char *patch, const char *x, const bdl_k_window *w, int64_t group, int64_t first, int64_t rows,
                         int64_t size) {
  const int64_t channels = w->c_in / w->groups, bytes = channels * size;
  int64_t out[3];
  position(w->out, first, out);
  for (int64_t r = 0; r < rows; r++, next_position(w->out, out)) {
    int64_t tap[3] = {0, 0, 0};
    do {
      int64_t at = meets(w, out, tap);
      if (at < 0)
        memset(patch, 0, (size_t)bytes);
      else
        memcpy(patch, x + (at + group * channels) * size, (size_t)bytes);
      patch += bytes;
    } while (next_position(w->taps, tap));
  }
}

/* One result position: all channels of z, tap by tap. */
#define NARROW(name, T)                                                                                        \
  static void name(void *z0, const void *x0, const void *filter, const bdl_k_window *w, const int64_t out[3]) { \
    T *restrict z = z0;                                                                                        \
    const T *restrict f = filter;                                                                              \
    const int64_t ci = w->c_in / w->groups, co = w->c_out / w->groups;                                         \
    int64_t tap[3] = {0, 0, 0};                                                                                \
    memset(z, 0, (size_t)w->c_out * sizeof(T));                                                                \
    do {                                                                                                       \
      int64_t at = meets(w, out, tap);                                                                         \
      if (at >= 0) {                                                                                           \
        const T *restrict x = (const T *)x0 + at;                                                              \
        for (int64_t i = 0; i < ci; i++)                                                                       \
          if (ci == 1 && co == 1)                                                                              \
            for (int64_t c = 0; c < w->c_out; c++) z[c] += x[c] * f[c];                                        \
          else                                                                                                 \
            for (int64_t c = 0; c < w->c_out; c++) z[c] += x[c / co * ci + i] * f[i * w->c_out + c];           \
      }                                                                                                        \
      f += ci * w->c_out;                                                                                      \
    } while (next_position(w->taps, tap));                                                                     \
  }
NARROW(narrow_f32, float)
NARROW(narrow_f64, double)

typedef struct conv_job {
  char *z;
  const char *x;
  const char *filter;
  const bdl_k_window *w;
  bdl_dtype d;
  int64_t step_x, step_z;          /* bytes an image */
  int64_t space;                   /* positions an image */
  int64_t rows, per_image, buffer; /* positions and bytes a block of patches, blocks an image */
  int64_t workers, count;          /* buffers, blocks */
  char *scratch;
  const bdl_k_table *k;
  bdl_blas *blas;
} conv_job;

static void narrow(void *job, int64_t first, int64_t last, int thread) {
  const conv_job *j = job;
  const int64_t size = (int64_t)bdl_dtype_size(j->d);
  (void)thread;
  for (int64_t p = first; p < last; p++) {
    int64_t out[3];
    position(j->w->out, p % j->space, out);
    (j->d == BDL_F32 ? narrow_f32 : narrow_f64)(j->z + p * j->w->c_out * size, j->x + p / j->space * j->step_x, j->filter, j->w,
                                                out);
  }
}

/* One buffer of patches, over every so many blocks. */
static void patches(const conv_job *j, int64_t worker) {
  const bdl_k_window *w = j->w;
  const int64_t size = (int64_t)bdl_dtype_size(j->d), patch = patch_size(w), co = w->c_out / w->groups;
  char *mine = j->scratch + worker * j->buffer;
  for (int64_t c = worker; c < j->count; c += j->workers) {
    const int64_t image = c / (j->per_image * w->groups), first = c / w->groups % j->per_image * j->rows, group = c % w->groups;
    const int64_t m = BDL_MIN(j->rows, j->space - first);
    bdl_k_matmul g = {.batch = 1, .m = m, .n = co, .k = patch, .xi = patch, .xp = 1, .yp = w->c_out, .yj = 1, .ldz = w->c_out};
    fill_patches(mine, j->x + image * j->step_x, w, group, first, m, size);
    bdl_k_dot(j->z + image * j->step_z + (first * w->c_out + group * co) * size, mine, j->filter + group * co * size, &g, j->d,
              j->k, j->blas, NULL);
  }
}

static void buffers(void *job, int64_t first, int64_t last, int thread) {
  (void)thread;
  for (int64_t worker = first; worker < last; worker++) patches(job, worker);
}

void bdl_k_conv(void *z, const void *x, const void *filter, const bdl_k_window *w, bdl_dtype d, const bdl_k_table *k,
                bdl_blas *blas, void *scratch, bdl_pool *pool) {
  const int64_t size = (int64_t)bdl_dtype_size(d), space = product(w->out), patch = patch_size(w);
  const int64_t step_x = product(w->in) * w->c_in * size, step_z = space * w->c_out * size, images = w->batch;
  if (images * space * w->c_out == 0) return;
  if (patch == 0) {
    memset(z, 0, (size_t)(images * step_z));
    return;
  }
  if (is_pointwise(w)) {
    bdl_k_matmul g = {.batch = 1, .m = images * space, .n = w->c_out, .k = w->c_in, .xi = w->c_in, .xp = 1, .yp = w->c_out,
                      .yj = 1, .ldz = w->c_out};
    bdl_k_dot(z, x, filter, &g, d, k, blas, pool);
    return;
  }
  conv_job job = {.z = z, .x = x, .filter = filter, .w = w, .d = d, .step_x = step_x, .step_z = step_z, .space = space,
                  .scratch = scratch, .k = k, .blas = blas};
  if (is_narrow(w)) {
    bdl_pool_run(pool, images * space, narrow, &job);
    return;
  }
  job.rows = patch_rows(w, d);
  job.per_image = (space + job.rows - 1) / job.rows;
  job.buffer = job.rows * patch * size;
  job.count = images * job.per_image * w->groups;
  job.workers = BDL_MAX(BDL_MIN(BDL_MIN(bdl_pool_size(pool), WORKERS), job.count), 1);
  if (blas && job.count > 1) bdl_blas_ready(blas); /* opened before threads look at it */
  bdl_pool_run(pool, job.workers, buffers, &job);
}

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

void bdl_k_conv(void *z, const void *x, const void *filter, const bdl_k_window *w, bdl_dtype d, bdl_blas *blas, void *scratch,
                int threads) {
  const int64_t size = (int64_t)bdl_dtype_size(d), space = product(w->out), patch = patch_size(w), co = w->c_out / w->groups;
  const int64_t step_x = product(w->in) * w->c_in * size, step_z = space * w->c_out * size, images = w->batch;
  if (images * space * w->c_out == 0) return;
  if (patch == 0) {
    memset(z, 0, (size_t)(images * step_z));
    return;
  }
  if (is_pointwise(w)) {
    bdl_k_matmul g = {.batch = 1, .m = images * space, .n = w->c_out, .k = w->c_in, .xi = w->c_in, .xp = 1, .yp = w->c_out,
                      .yj = 1, .ldz = w->c_out};
    bdl_k_dot(z, x, filter, &g, d, blas, threads);
    return;
  }
  if (is_narrow(w)) {
    BDL_K_SHARE(images * space > 1, for (int64_t p = 0; p < images * space; p++) {
      int64_t out[3];
      position(w->out, p % space, out);
      (d == BDL_F32 ? narrow_f32 : narrow_f64)((char *)z + p * w->c_out * size, (const char *)x + p / space * step_x, filter, w,
                                               out);
    });
    return;
  }
  const int64_t rows = patch_rows(w, d), per_image = (space + rows - 1) / rows, count = images * per_image * w->groups;
  const int64_t workers = BDL_MAX(BDL_MIN(BDL_MIN(threads, WORKERS), count), 1), buffer = rows * patch * size;
  if (blas && count > 1) bdl_blas_ready(blas); /* opened before threads look at it */
  BDL_K_SHARE(workers > 1, for (int64_t worker = 0; worker < workers; worker++) {
    char *mine = (char *)scratch + worker * buffer;
    for (int64_t c = worker; c < count; c += workers) {
      const int64_t image = c / (per_image * w->groups), first = c / w->groups % per_image * rows, group = c % w->groups;
      const int64_t m = BDL_MIN(rows, space - first);
      bdl_k_matmul g = {.batch = 1, .m = m, .n = co, .k = patch, .xi = patch, .xp = 1, .yp = w->c_out, .yj = 1,
                        .ldz = w->c_out};
      fill_patches(mine, (const char *)x + image * step_x, w, group, first, m, size);
      bdl_k_dot((char *)z + image * step_z + (first * w->c_out + group * co) * size, mine,
                (const char *)filter + group * co * size, &g, d, blas, 1);
    }
  });
}

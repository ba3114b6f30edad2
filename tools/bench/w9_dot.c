/*
** w9_dot.c -- W9: f32 products as bdl does them, beside OpenBLAS for the same operands.   w9_dot repeats
** Two JSON lines a shape, once the results agree.  What bdl_k_dot chooses by shape is measured here.
*/
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/context.h"
#include "cpu/dot.h"
#include "timing.h"

typedef struct shape {
  int m, n, k;
  char turned;    /* the operand stored with its columns as rows: 'x', 'y', 0 none */
  double density; /* part of x that is 1, the rest 0; 0: x is any numbers */
} shape;

static const shape shapes[] = {
    {8, 8, 8, 0, 0}, {16, 16, 16, 0, 0}, {32, 32, 32, 0, 0}, {64, 64, 64, 0, 0}, {128, 128, 128, 0, 0}, {256, 256, 256, 0, 0},
    {512, 512, 512, 0, 0}, {1024, 1024, 1024, 0, 0}, {2048, 2048, 2048, 0, 0}, {256, 256, 1024, 0, 0},
    {64, 768, 256, 0, 0}, {64, 256, 768, 'y', 0}, {256, 768, 6400, 'x', 0}, {6400, 768, 64, 0, 0},    /* GRU: forward, back, dW, x W */
    {64, 256, 256, 0, 0}, {64, 256, 256, 'y', 0}, {256, 256, 6400, 'x', 0},                           /* RNN */
    {128, 256, 256, 'y', 0}, {128, 256, 256, 0, 0.04}, {256, 256, 12800, 'x', 0.04}, {12800, 256, 100, 0, 0.1}, /* spikes */
    {16, 256, 356, 0, 0}, {16, 256, 256, 'y', 0}, {4, 256, 256, 0, 0}, {12800, 10, 256, 0, 0},        /* flat, tall */
    {1, 256, 1024, 0, 0}, {1, 768, 256, 0, 0}, {1, 1024, 1024, 0, 0}, {1024, 1, 1024, 0, 0},
};

typedef struct problem {
  const shape *s;
  bdl_k_matmul g;
  float *x, *y, *z;
  const bdl_k_table *k;
  bdl_blas *blas;
} problem;

static void ours(problem *p) { bdl_k_dot(p->z, p->x, p->y, &p->g, BDL_F32, p->k, p->blas, NULL); }

static void library(problem *p) {
  const shape *s = p->s;
  const int tx = s->turned == 'x' ? BDL_BLAS_TRANS : BDL_BLAS_NO_TRANS, ty = s->turned == 'y' ? BDL_BLAS_TRANS : BDL_BLAS_NO_TRANS;
  const int threads = bdl_blas_alone(p->blas);
  if (s->m == 1)
    p->blas->f32.gemv(BDL_BLAS_ROW_MAJOR, BDL_BLAS_TRANS, s->k, s->n, 1, p->y, s->n, p->x, 1, 0, p->z, 1);
  else if (s->n == 1)
    p->blas->f32.gemv(BDL_BLAS_ROW_MAJOR, BDL_BLAS_NO_TRANS, s->m, s->k, 1, p->x, s->k, p->y, 1, 0, p->z, 1);
  else
    p->blas->f32.gemm(BDL_BLAS_ROW_MAJOR, tx, ty, s->m, s->n, s->k, 1, p->x, tx == BDL_BLAS_TRANS ? s->m : s->k, p->y,
                      ty == BDL_BLAS_TRANS ? s->k : s->n, 0, p->z, s->n);
  bdl_blas_restore(p->blas, threads);
}

static void measure(const char *peer, problem *p, void (*product)(problem *), int repeats) {
  const shape *s = p->s;
  const double flops = 2. * s->m * s->n * s->k;
  const int loop = flops > 1e8 ? 1 : (int)(1e8 / flops) + 1;
  double t[64];
  for (int r = -1; r < repeats; r++) { /* the first warms the caches */
    const double begin = now();
    for (int i = 0; i < loop; i++) product(p);
    if (r >= 0) t[r] = (now() - begin) / loop;
  }
  sort_times(t, repeats);
  printf("{\"peer\":\"%s-1t\",\"workload\":\"W9\",\"m\":%d,\"n\":%d,\"k\":%d,\"form\":\"%s%s\",\"run_s\":%.4g,\"min_s\":%.4g,"
         "\"max_s\":%.4g,\"gflops\":%.1f}\n",
         peer, s->m, s->n, s->k, s->turned == 'x' ? " x'" : s->turned == 'y' ? " y'" : "", s->density > 0 ? " spikes" : "",
         t[repeats / 2], t[0], t[repeats - 1], flops / t[repeats / 2] * 1e-9);
  fflush(stdout);
}

int main(int argc, char **argv) {
  const int repeats = argc > 1 ? BDL_MAX(1, BDL_MIN(atoi(argv[1]), 64)) : 9;
  bdl_blas blas = {0};
  if (!bdl_blas_ready(&blas)) return fprintf(stderr, "no OpenBLAS\n"), 1;
  for (int i = 0; i < BDL_LEN(shapes); i++) {
    const shape *s = &shapes[i];
    const size_t nx = (size_t)s->m * (size_t)s->k, ny = (size_t)s->k * (size_t)s->n, nz = (size_t)s->m * (size_t)s->n;
    const bool tx = s->turned == 'x', ty = s->turned == 'y';
    float *want = malloc(nz * sizeof *want);
    problem p = {.s = s, .k = bdl_k_select(NULL), .blas = &blas, .x = malloc(nx * 4 + 64), .y = malloc(ny * 4 + 64),
                 .z = malloc(nz * 4 + 64)};
    if (!want || !p.x || !p.y || !p.z) return 1;
    p.g = (bdl_k_matmul){.batch = 1, .m = s->m, .n = s->n, .k = s->k, .xi = tx ? 1 : s->k, .xp = tx ? s->m : 1,
                         .yp = ty ? 1 : s->n, .yj = ty ? s->k : 1, .ldz = s->n};
    for (size_t e = 0; e < nx; e++) {
      const double u = (double)(e * 7919 % 10007) / 10007;
      p.x[e] = s->density > 0 ? u < s->density : (float)(u - 0.5);
    }
    for (size_t e = 0; e < ny; e++) p.y[e] = (float)(e * 104729 % 9973) / 9973 - 0.5f;
    library(&p);
    for (size_t e = 0; e < nz; e++) want[e] = p.z[e];
    ours(&p);
    for (size_t e = 0; e < nz; e++)
      if (fabsf(p.z[e] - want[e]) > 1e-5f * (float)s->k) return fprintf(stderr, "%d x %d x %d differs\n", s->m, s->n, s->k), 1;
    measure("bdl", &p, ours, repeats);
    measure("openblas", &p, library, repeats);
    free(want), free(p.x), free(p.y), free(p.z);
  }
  bdl_blas_close(&blas);
  return 0;
}

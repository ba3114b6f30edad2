/*
** test_tile_math.c -- the functions of the element kernels against long double libm: ulp over random, special and
** edge arguments; NaN, infinities, zeros and their signs.
*/
#include "cpu/tile.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const isas[] = {"avx512", "avx2", "x86-64", "aarch64", "generic"};
typedef long double real;

static real exprel_l(real x) { return x == 0 ? 1 : isinf(x) ? (x > 0 ? x : 0) : expm1l(x) / x; }
static real sigmoid_l(real x) { return x < 0 ? expl(x) / (1 + expl(x)) : 1 / (1 + expl(-x)); }
static real softplus_l(real x) { return isnan(x) ? x : (x > 0 ? x : 0) + log1pl(expl(-fabsl(x))); }
static real lgamma_l(real x) {
  int sign;
  return lgammal_r(x, &sign);
}
static real digamma_l(real x) {
  const real pi = 3.14159265358979323846264338327950288L;
  real z = 0;
  if (isnan(x) || x == INFINITY) return x;
  if (x == 0) return copysignl(INFINITY, -x);
  if (x < 0) return x == floorl(x) ? NAN : digamma_l(1 - x) - pi / tanl(pi * (x - rintl(x)));
  for (; x < 60; x++) z -= 1 / x;
  const real v = 1 / (x * x);
  return z + logl(x) - 0.5L / x - v * (1 / 12.L - v * (1 / 120.L - v * (1 / 252.L - v * (1 / 240.L - v / 132.L))));
}
/* Newton's method from the asymptotic start; erfc where erf has lost its digits. */
static real erfinv_l(real x) {
  const real a = fabsl(x), root_pi = 1.77245385090551602729816748334114518L;
  if (isnan(x) || a > 1) return NAN;
  if (a == 1) return copysignl(INFINITY, x);
  const real l = log1pl(-x * x), h = 4.33L + l / 2;
  real z = sqrtl(sqrtl(h * h - l / 0.147L) - h);
  for (int i = 0; i < 60; i++) {
    const real off = a < 0.5L ? erfl(z) - a : (1 - a) - erfcl(z);
    z -= off * root_pi / 2 * expl(z * z);
  }
  return copysignl(a == 0 ? 0 : z, x);
}

typedef struct row {
  int op;
  const char *name;
  real (*f)(real);
  double ulp_f32, ulp_f64; /* limits */
  double lo, hi;           /* where arguments are drawn, besides all bit patterns */
} row;
#define ROW(op, f, a, b, lo, hi) {BDL_TILE_##op, #op, f, a, b, lo, hi}
static const row rows[] = {
  ROW(exp, expl, 1.15, 1.15, -110, 92),
  ROW(exp2, exp2l, 1.05, 1.05, -150, 130),
  ROW(expm1, expm1l, 2.3, 2.3, -20, 90),
  ROW(exprel, exprel_l, 2, 2, -30, 96),
  ROW(log, logl, 1, 1, 0, 4),
  ROW(log2, log2l, 1.05, 1.05, 0, 4),
  ROW(log10, log10l, 1.05, 1.05, 0, 4),
  ROW(log1p, log1pl, 1, 1, -1, 3),
  ROW(sin, sinl, 1.05, 1.05, -10, 10),
  ROW(cos, cosl, 1.05, 1.05, -10, 10),
  ROW(tan, tanl, 1.05, 1.05, -10, 10),
  ROW(asin, asinl, 1.05, 1.05, -1, 1),
  ROW(acos, acosl, 1.05, 1.05, -1, 1),
  ROW(atan, atanl, 1.05, 1.05, -5, 5),
  ROW(sinh, sinhl, 2.3, 2.3, -10, 90),
  ROW(cosh, coshl, 1.6, 1.6, -10, 90),
  ROW(tanh, tanhl, 2.3, 2.3, -10, 10),
  ROW(asinh, asinhl, 2, 2, -10, 10),
  ROW(acosh, acoshl, 2, 2, 1, 10),
  ROW(atanh, atanhl, 2, 2, -1, 1),
  ROW(erf, erfl, 2, 2, -4, 4),
  ROW(erfc, erfcl, 1.6, 1.55, -4, 12),
  ROW(lgamma, lgamma_l, 1.05, 1.05, 0, 20),
  ROW(digamma, digamma_l, 1, 8, 2, 20),
  ROW(cbrt, cbrtl, 1.05, 1.05, -10, 10),
  ROW(sigmoid, sigmoid_l, 2.3, 2.3, -110, 20),
  ROW(softplus, softplus_l, 1.6, 1.6, -20, 20),
  ROW(erfinv, erfinv_l, 4, 4, -1, 1),
};

static uint64_t next(uint64_t *seed) { /* splitmix64 */
  uint64_t z = *seed += UINT64_C(0x9E3779B97F4A7C15);
  z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
  return z ^ z >> 31;
}

/* Distance in units in the last place of the exact value rounded to the type. */
static double ulps(int f32, double got, real want) {
  if (isnan(want)) return isnan(got) ? 0 : INFINITY;
  const real most = f32 ? (real)FLT_MAX : (real)DBL_MAX, half = f32 ? 0x1p103L : 0x1p970L;
  if (fabsl(want) >= most + half) return got == copysign(INFINITY, (double)want) ? 0 : fabs(got) == (double)most ? 1 : INFINITY;
  if (isnan(got) || isinf(got)) return fabsl(want) > most * (1 - 2 * (f32 ? 0x1p-24L : 0x1p-53L)) ? 1 : INFINITY;
  int e;
  frexpl(want, &e);
  const int least = f32 ? -148 : -1073, bits = f32 ? 24 : 53;
  if (e < least + bits - 1 || want == 0) e = least + bits - 1;
  return (double)(fabsl((real)got - want) / ldexpl(1, e - bits));
}

static double argument(const row *r, int f32, int i, uint64_t *seed) {
  static const double special[] = {0.0, -0.0, 1, -1, 0.5, -0.5, INFINITY, -INFINITY, NAN, 1e-300, -1e-300, 5e-324, -5e-324,
                                   1e-40, -1e-40,
                                   1e-4, -1e-4, 1e-8, -1e-8, 88.7, 88.75, 89.4, 93.1, 93.3, -87.3, -87.4, -103, -104, 709.7,
                                   709.79,
                                   710.4, 716.3, 716.4, -708, -709, -745, -746, 0.3465, 0.3466, -0.3466, 1.0397, 5.0, 1e30,
                                   -1e30, 1e300};
  const uint64_t r0 = next(seed);
  if (i < BDL_LEN(special)) return f32 ? (double)(float)special[i] : special[i];
  if (i % 4 == 0) { /* any bits */
    double d;
    float f;
    const uint32_t low = (uint32_t)r0;
    memcpy(&d, &r0, 8);
    memcpy(&f, &low, 4);
    return f32 ? (double)f : d;
  }
  double u = r->lo + (r->hi - r->lo) * ((double)(r0 >> 11) * 0x1p-53);
  if (!f32 && i % 4 == 1) u *= fabs(r->hi) > 20 || fabs(r->lo) > 20 ? 8 : 1; /* wider, as exponents are */
  if (i % 16 == 2) u = copysign(exp2(-40 * ((double)(next(seed) >> 11) * 0x1p-53)), u);
  return f32 ? (double)(float)u : u;
}

static int report; /* print the largest errors: environment BDL_TEST_REPORT */

static void check(const bdl_k_table *t, const row *r, int f32, int tiles) {
  const bdl_dtype d = f32 ? BDL_F32 : BDL_F64;
  const bdl_k_tile k = t->tile[r->op][d][0];
  double worst = 0, worst_x = 0;
  uint64_t seed = (uint64_t)r->op;
  for (int tile = 0; tile < tiles; tile++) {
    double x[BDL_TILE], z[BDL_TILE];
    float xf[BDL_TILE], zf[BDL_TILE];
    for (int i = 0; i < BDL_TILE; i++) x[i] = argument(r, f32, tile * BDL_TILE + i, &seed), xf[i] = (float)x[i];
    if (f32) k(zf, xf, NULL, NULL, BDL_TILE, 0);
    else k(z, x, NULL, NULL, BDL_TILE, 0);
    for (int i = 0; i < BDL_TILE; i++) {
      const double got = f32 ? (double)zf[i] : z[i];
      /* lgamma and digamma have roots, where only the absolute error is small. */
      const int root = (r->op == BDL_TILE_lgamma || r->op == BDL_TILE_digamma) && x[i] < 3;
      const real want = r->f((real)x[i]);
      const double e = ulps(f32, got, want);
      if (root && fabsl(want) < 1e6L && fabsl((real)got - want) < (f32 ? 4e-7L : 1e-14L) * (1 + fabsl(want))) continue;
      if (r->op == BDL_TILE_lgamma && fabs(x[i]) > (f32 ? 3e36 : 2e305)) continue; /* where SLEEF says infinity early */
      if (root && x[i] < -30) continue; /* between poles that lie closer than the argument's last place */
      if (e > worst) worst = e, worst_x = x[i];
      if (want == 0 && got == 0 && x[i] == 0 && !signbit(want) != !signbit(got)) worst = INFINITY, worst_x = x[i];
    }
  }
  const double limit = (f32 ? r->ulp_f32 : r->ulp_f64) * (strcmp(t->isa, "generic") == 0 ? 3 : 1); /* generic: libm */
  if (report) printf("%-7s %-9s %s %8.3f ulp at %.17g (%a)\n", t->isa, r->name, f32 ? "f32" : "f64", worst, worst_x, worst_x);
  else if (!(worst <= limit)) {
    char text[256];
    snprintf(text, sizeof text, "%s %s %s: %.3f ulp at %.17g, limit %.2f", t->isa, r->name, f32 ? "f32" : "f64", worst,
             worst_x, limit);
    fail_msg("%s", text);
  }
}

static void functions_are_accurate(void **state) {
  (void)state;
  const char *tiles = getenv("BDL_TEST_TILES");
  for (int s = 0; s < BDL_LEN(isas); s++) {
    const bdl_k_table *t = bdl_k_select(isas[s]);
    if (!t) continue;
    for (int i = 0; i < BDL_LEN(rows); i++) {
      check(t, &rows[i], 1, tiles ? atoi(tiles) : 40);
      check(t, &rows[i], 0, tiles ? atoi(tiles) : 40);
    }
  }
}

/* Values of mpmath, besides poles, infinities and NaN. */
static void polygamma_equals_known_values(void **state) {
  (void)state;
  static const struct {
    int64_t n;
    double x, z;
  } known[] = {
      {0, 0.3, -3.502524222200133125}, {0, 1.0, -0.5772156649015328606}, {0, 9.75, 2.225109535044576012},
      {0, 123.4, 4.811373775116277419}, {0, 1000000.0, 13.81551005796419077}, {0, -0.001, 999.4211381978913338},
      {0, -2.75, -1.95905526497799701}, {0, -1000.5, 6.90875482089867149}, {1, 0.3, 12.2453645461077313},
      {1, 1.0, 1.644934066848226436}, {1, 9.75, 0.1080032433366318546}, {1, 123.4, 0.00813665161086526331},
      {1, 1000000.0, 1.000000500000166667e-6}, {1, -0.001, 1000001.647341431735}, {1, -2.75, 19.43386894948846416},
      {1, -1000.5, 9.868605400173441423}, {2, 0.3, -75.27253658872603892}, {2, 1.0, -2.404113806319188571},
      {2, 9.75, -0.0116534442879583337}, {2, 123.4, -0.00006620473419231093571}, {2, 1000000.0, -1.0000010000005e-12},
      {2, -0.001, 1999999997.589379666}, {2, -2.75, -124.11765305971518}, {2, -1000.5, -9.980027470026439595e-7},
      {3, 0.3, 743.1417646550497771}, {3, 1.0, 6.493939402266829149}, {3, 9.75, 0.002512378921398894116},
      {3, 123.4, 1.077357827078301995e-6}, {3, 1000000.0, 2.000003000002e-18}, {3, -0.001, 6000000000006.518387},
      {3, -2.75, 1558.489751283293601}, {3, -1000.5, 194.8181820660108635}, {7, 0.3, 76818182.99849322102},
      {7, 1.0, 5060.54987523763947}, {7, 9.75, 0.0001209738263189182552}, {7, 123.4, 1.699817252197922073e-12},
      {7, 1000000.0, 7.2000252000336e-40}, {7, -0.001, 5.039999999999999161e+27}, {7, -2.75, 330352695.7011440844},
      {7, -1000.5, 2580880.43637119613}, {40, 0.3, -2.237039355940049568e+69}, {40, 1.0, -8.159152832482687697e+47},
      {40, 9.75, -23470584.90104077401}, {40, 123.4, -5.315539948210086041e-38}, {40, 1000000.0, -2.039829004162677786e-194},
      {40, -0.001, 8.15915283247897038e+170}, {40, -2.75, -3.945524210146268343e+72},
      {1, 0, INFINITY}, {2, 0, -INFINITY}, {1, -4, INFINITY}, {1, INFINITY, 0}, {1, -INFINITY, NAN}, {1, NAN, NAN},
  };
  for (int s = 0; s < BDL_LEN(isas); s++) {
    const bdl_k_table *t = bdl_k_select(isas[s]);
    for (int i = 0; t && i < BDL_LEN(known); i++) {
      double z;
      float zf;
      const float xf = (float)known[i].x;
      t->tile[BDL_TILE_polygamma][BDL_F64][BDL_FORM_Y](&z, &known[i].x, &known[i].n, NULL, 1, 0);
      t->tile[BDL_TILE_polygamma][BDL_F32][BDL_FORM_Y](&zf, &xf, &known[i].n, NULL, 1, 0);
      const double e = ulps(0, z, (real)known[i].z), limit = 8 + (double)known[i].n;
      if (report) printf("polygamma(%d, %g) %.3f ulp\n", (int)known[i].n, known[i].x, e);
      else if (!(e <= limit)) fail_msg("polygamma(%d, %.17g) = %.17g: %g ulp", (int)known[i].n, known[i].x, z, e);
      if ((double)xf == known[i].x && !(ulps(1, zf, (real)known[i].z) <= 1))
        fail_msg("polygamma(%d, %g) of f32 = %.9g", (int)known[i].n, known[i].x, (double)zf);
    }
  }
}

int main(void) {
  report = getenv("BDL_TEST_REPORT") != NULL;
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(functions_are_accurate),
    cmocka_unit_test(polygamma_equals_known_values),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

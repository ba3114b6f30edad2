/*
** test_tile_random.c -- random bits and what is made of them against the reference: JAX 0.10.2, PRNGKey(seed), the first
** words of a draw, uniforms, normals, truncated normals on [-2, 2]; functions within 4 ulp.
*/
#include "cpu/tile.h"

#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *const isas[] = {"avx512", "avx2", "x86-64", "aarch64", "generic"};
#define EACH_ISA(t) for (int s_ = 0; s_ < BDL_LEN(isas); s_++) for (const bdl_k_table *t = bdl_k_select(isas[s_]); t; t = NULL)

typedef struct golden {
  uint32_t seed;
  int n_words, n_floats;
  uint32_t bits32[8], halves[16]; /* halves: of 64-bit words, high first */
  float uniform_f32[8], normal_f32[8], truncated_f32[8];
  double uniform_f64[8], normal_f64[8], truncated_f64[8];
} golden;
static const golden cases[] = {
  {0, 8, 3,
   {4070199207u, 4202968722u, 1427181096u, 2012915765u, 2447653815u, 710830403u, 1332275837u, 2961296638u},
   {1797259609u, 2579123966u, 928981903u, 3453687069u, 4146024105u, 2718843009u, 2467461003u, 3840466878u, 2285895361u,
    433833334u, 1524306142u, 1887795613u, 3792494674u, 2909014575u, 2716826189u, 292468403u},
   {0.947667f, 0.9785799f, 0.33229148f},
   {1.6226422f, 2.0252647f, -0.43359444f},
   {1.4559592f, 1.7147487f, -0.41267535f},
   {0.41845711171638644, 0.21629545460551136, 0.96532146111899753},
   {-0.20584213947964339, -0.78476577644674106, 1.8160866726679836},
   {-0.19635199236715062, -0.74147056513876186, 1.590591332726381}},
  {42, 6, 6,
   {2098992034u, 2919706841u, 2646866425u, 2409546199u, 1935504149u, 2516274904u},
   {1832780943u, 270669613u, 64467757u, 2916123636u, 2465931498u, 255383827u, 3134548294u, 894150801u, 2954079971u,
    3276725750u, 2765691542u, 824333390u},
   {0.48870957f, 0.6797972f, 0.6162715f, 0.5610161f, 0.4506446f, 0.58586586f},
   {-0.028304616f, 0.46713185f, 0.29570296f, 0.15354592f, -0.12403282f, 0.21692315f},
   {-0.027016498f, 0.44438082f, 0.28187707f, 0.14650805f, -0.1183623f, 0.20690748f},
   {0.42672756664990907, 0.015010069515314584, 0.57414441789953519, 0.72981889690463086, 0.68780034123056599,
    0.64393774191661035},
   {-0.18471174528191162, -2.1698245603977542, 0.18693555179382582, 0.61226535705109586, 0.48962495047570181,
    0.36900430470828355},
   {-0.17621763938261406, -1.7856590554261624, 0.17833697118173189, 0.58094748565307175, 0.46561759312155504,
    0.35148712927688558}},
  {123456789, 5, 4,
   {1234914217u, 2979648120u, 1727634118u, 3045616527u, 1956778536u},
   {104406182u, 1336039183u, 3209854053u, 248229405u, 1967704197u, 330388035u, 3699939943u, 1761669608u, 573595209u,
    1452428385u},
   {0.28752577f, 0.69375336f, 0.40224612f, 0.70911276f},
   {-0.5606274f, 0.5065178f, -0.24753748f, 0.5507948f},
   {-0.53248984f, 0.48155105f, -0.23605773f, 0.5232449f},
   {0.024308958628929789, 0.7473523852084285, 0.45814183472584102, 0.86145939850485198},
   {-1.9719272040625224, 0.66618129139685733, -0.10511611849472935, 1.0868995550583456},
   {-1.6854278556084337, 0.63136112696482449, -0.10031684498900237, 1.0152761729751345}},
};

static void words_equal_the_reference(void **state) {
  (void)state;
  EACH_ISA(t)
    for (int c = 0; c < BDL_LEN(cases); c++) {
      const uint32_t key[2] = {0, cases[c].seed};
      uint32_t w32[8];
      int64_t w64[8];
      const int n = cases[c].n_words;
      t->tile[BDL_TILE_random_bits][BDL_U32][0](w32, key, NULL, NULL, n, 0);
      t->tile[BDL_TILE_random_bits][BDL_I64][0](w64, key, NULL, NULL, n, 0);
      for (int i = 0; i < n; i++) {
        assert_int_equal(w32[i], cases[c].bits32[i]);
        assert_int_equal((uint64_t)w64[i] >> 32, cases[c].halves[2 * i]);
        assert_int_equal((uint64_t)w64[i] & UINT32_MAX, cases[c].halves[2 * i + 1]);
      }
    }
}

/* Known answers of Random123 for all counters and keys 0 and 2^32 - 1. */
static void known_answers(void **state) {
  (void)state;
  static const uint32_t zero[2] = {0, 0}, ones[2] = {UINT32_MAX, UINT32_MAX};
  EACH_ISA(t) {
    uint64_t z;
    t->tile[BDL_TILE_random_bits][BDL_I64][0](&z, zero, NULL, NULL, 1, 0);
    assert_int_equal(z, UINT64_C(0x6b20015999ba4efe));
    t->tile[BDL_TILE_random_bits][BDL_I64][0](&z, ones, NULL, NULL, 1, -1);
    assert_int_equal(z, UINT64_C(0x1cb996fcbb002be7));
  }
}

/* Any tile of a draw has the words that single elements have, also where the counter passes 2^32; nothing past n. */
static void words_do_not_depend_on_tiles(void **state) {
  (void)state;
  static const int64_t starts[] = {0, 1, 511, INT64_C(0xFFFFFFFF) - 3, INT64_C(0x1FFFFFFFF) - 200, INT64_C(1) << 40};
  static const int lengths[] = {1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 511, 512};
  static const uint32_t key[2] = {0x12345678, 0x9abcdef0};
  EACH_ISA(t)
    for (int s = 0; s < BDL_LEN(starts); s++)
      for (int l = 0; l < BDL_LEN(lengths); l++) {
        uint32_t w32[BDL_TILE + 1], one32;
        uint64_t w64[BDL_TILE + 1], one64;
        const int n = lengths[l];
        w32[n] = 7, w64[n] = 7;
        t->tile[BDL_TILE_random_bits][BDL_U32][0](w32, key, NULL, NULL, n, starts[s]);
        t->tile[BDL_TILE_random_bits][BDL_I64][0](w64, key, NULL, NULL, n, starts[s]);
        for (int i = 0; i < n; i++) {
          t->tile[BDL_TILE_random_bits][BDL_U32][0](&one32, key, NULL, NULL, 1, starts[s] + i);
          t->tile[BDL_TILE_random_bits][BDL_I64][0](&one64, key, NULL, NULL, 1, starts[s] + i);
          assert_int_equal(w32[i], one32);
          assert_int_equal(w64[i], one64);
          assert_int_equal(one32, (uint32_t)(one64 >> 32) ^ (uint32_t)one64);
        }
        assert_int_equal(w32[n], 7);
        assert_int_equal(w64[n], 7);
      }
}

static void close_f32(const char *what, int i, float got, float want) {
  char text[128];
  const float ulp = nextafterf(fabsf(want), INFINITY) - fabsf(want);
  snprintf(text, sizeof text, "%s[%d]: %.9g instead of %.9g", what, i, (double)got, (double)want);
  if (!(fabsf(got - want) <= 4 * ulp)) fail_msg("%s", text);
}
static void close_f64(const char *what, int i, double got, double want) {
  char text[128];
  const double ulp = nextafter(fabs(want), INFINITY) - fabs(want);
  snprintf(text, sizeof text, "%s[%d]: %.17g instead of %.17g", what, i, got, want);
  if (!(fabs(got - want) <= 4 * ulp)) fail_msg("%s", text);
}

static float unit_f32(uint32_t bits) { /* [0, 1) from the upper 23 bits */
  float f;
  bits = bits >> 9 | UINT32_C(0x3f800000);
  memcpy(&f, &bits, sizeof f);
  return f - 1;
}
static double unit_f64(uint64_t bits) {
  double f;
  bits = bits >> 12 | UINT64_C(0x3ff0000000000000);
  memcpy(&f, &bits, sizeof f);
  return f - 1;
}

/* sqrt(2) erfinv(u), u uniform on (-1, 1) or on (erf(-2/sqrt 2), erf(2/sqrt 2)), as jax.random draws them.  The reference
** scales a uniform by a fused multiply-add, which shows where u is near 0. */
static void normals_equal_the_reference(void **state) {
  (void)state;
  EACH_ISA(t)
    for (int c = 0; c < BDL_LEN(cases); c++) {
      const golden *g = &cases[c];
      const uint32_t key[2] = {0, g->seed};
      uint32_t w32[8];
      uint64_t w64[8];
      const int n = g->n_floats;
      float uf[8], zf[8], bf = sqrtf(2.0f);
      double ud[8], zd[8], bd = sqrt(2.0);
      t->tile[BDL_TILE_random_bits][BDL_U32][0](w32, key, NULL, NULL, n, 0);
      t->tile[BDL_TILE_random_bits][BDL_I64][0](w64, key, NULL, NULL, n, 0);
      t->tile[BDL_TILE_erf][BDL_F32][0](&bf, &bf, NULL, NULL, 1, 0);
      t->tile[BDL_TILE_erf][BDL_F64][0](&bd, &bd, NULL, NULL, 1, 0);
      for (int i = 0; i < n; i++) {
        assert_true(unit_f32(w32[i]) == g->uniform_f32[i]);
        assert_true(unit_f64(w64[i]) == g->uniform_f64[i]);
      }
      for (int i = 0; i < n; i++) {
        const float lo = nextafterf(-1, 0);
        const double lod = nextafter(-1, 0);
        uf[i] = fmaxf(lo, fmaf(unit_f32(w32[i]), 1 - lo, lo));
        ud[i] = fmax(lod, fma(unit_f64(w64[i]), 1 - lod, lod));
      }
      t->tile[BDL_TILE_draw_erfinv][BDL_F32][0](zf, uf, NULL, NULL, n, 0);
      t->tile[BDL_TILE_draw_erfinv][BDL_F64][0](zd, ud, NULL, NULL, n, 0);
      for (int i = 0; i < n; i++) {
        close_f32("normal_f32", i, sqrtf(2.0f) * zf[i], g->normal_f32[i]);
        close_f64("normal_f64", i, sqrt(2.0) * zd[i], g->normal_f64[i]);
      }
      for (int i = 0; i < n; i++) {
        uf[i] = fmaxf(-bf, fmaf(unit_f32(w32[i]), bf + bf, -bf));
        ud[i] = fmax(-bd, fma(unit_f64(w64[i]), bd + bd, -bd));
      }
      t->tile[BDL_TILE_draw_erfinv][BDL_F32][0](zf, uf, NULL, NULL, n, 0);
      t->tile[BDL_TILE_draw_erfinv][BDL_F64][0](zd, ud, NULL, NULL, n, 0);
      for (int i = 0; i < n; i++) {
        close_f32("truncated_f32", i, sqrtf(2.0f) * zf[i], g->truncated_f32[i]);
        close_f64("truncated_f64", i, sqrt(2.0) * zd[i], g->truncated_f64[i]);
      }
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(words_equal_the_reference),
    cmocka_unit_test(known_answers),
    cmocka_unit_test(words_do_not_depend_on_tiles),
    cmocka_unit_test(normals_equal_the_reference),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Physical units: the reference rows of brainunit (golden/units) that need no Lua, and properties over the table. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/faults.h"
#include "base/context.h"
#include "binding/unit.h"
#include "prim/prim.h"

static bdl_context *ctx;
static bdl_units *reg;

static int setup(void **state) {
  (void)state;
  ctx = bdl_context_new(NULL, NULL);
  return !ctx || bdl_units_new(ctx, &reg) != BDL_OK;
}

static int teardown(void **state) {
  (void)state;
  bdl_units_free(reg);
  assert_int_equal(ctx->mem_used, 0);
  bdl_context_free(ctx);
  return 0;
}

static const bdl_unit *named(const char *name) {
  const bdl_unit *u = NULL;
  if (bdl_unit_named(reg, name, &u) != BDL_OK) fail_msg("%s: %s", name, bdl_last_error(ctx)->message);
  return u;
}

/* Postfix: "mV ms /"; `i` is 1 / x, `^2` a power. */
static const bdl_unit *eval(const char *expr) {
  const bdl_unit *stack[16];
  int n = 0;
  char buf[256], *t = NULL;
  snprintf(buf, sizeof buf, "%s", expr);
  for (t = strtok(buf, " "); t; t = strtok(NULL, " ")) {
    if (strcmp(t, "*") == 0) {
      n--;
      assert_int_equal(bdl_unit_mul(reg, stack[n - 1], stack[n], &stack[n - 1]), BDL_OK);
    } else if (strcmp(t, "/") == 0) {
      n--;
      assert_int_equal(bdl_unit_div(reg, stack[n - 1], stack[n], &stack[n - 1]), BDL_OK);
    } else if (strcmp(t, "i") == 0) {
      assert_int_equal(bdl_unit_div(reg, NULL, stack[n - 1], &stack[n - 1]), BDL_OK);
    } else if (t[0] == '^') {
      assert_int_equal(bdl_unit_pow(reg, stack[n - 1], atof(t + 1), &stack[n - 1]), BDL_OK);
    } else {
      stack[n++] = named(t);
    }
  }
  assert_int_equal(n, 1);
  return stack[0];
}

static void assert_close(double got, double want, double rtol, const char *what) {
  if (!(fabs(got - want) <= rtol * fabs(want))) fail_msg("%s: %.17g, not %.17g", what, got, want);
}

/* ---- names ------------------------------------------------------------------------------- */

static void names_and_symbols_are_found(void **state) {
  (void)state;
  static const struct {
    const char *name, *text;
    double magnitude;
  } row[] = {
    {"mV", "mV", 1e-3},        {"mvolt", "mV", 1e-3},     {"volt", "V", 1},          {"V", "V", 1},
    {"uvolt", "uV", 1e-6},     {"ms", "ms", 1e-3},        {"msecond", "ms", 1e-3},   {"us", "us", 1e-6},
    {"pA", "pA", 1e-12},       {"namp", "nA", 1e-9},      {"nampere", "nA", 1e-9},   {"ampere", "A", 1},
    {"msiemens", "mS", 1e-3},  {"uS", "uS", 1e-6},        {"Mohm", "Mohm", 1e6},     {"ohm", "ohm", 1},
    {"nfarad", "nF", 1e-9},    {"pF", "pF", 1e-12},       {"Hz", "Hz", 1},           {"kHz", "kHz", 1e3},
    {"Mhertz", "MHz", 1e6},    {"cm", "cm", 1e-2},        {"cm2", "cm^2", 1e-4},     {"um3", "um^3", 1e-18},
    {"meter2", "m^2", 1},      {"cmetre3", "cm^3", 1e-6}, {"mM", "mM", 1},           {"molar", "M", 1e3},
    {"kilogram", "kg", 1},     {"kg", "kg", 1},           {"kgram", "kg", 1},        {"gram", "g", 1e-3},
    {"liter", "l", 1e-3},      {"litre", "l", 1e-3},      {"dam", "dam", 10},        {"damp", "dA", 0.1},
    {"mol", "mol", 1},         {"cd", "cd", 1},           {"Pa", "Pa", 1},           {"minute", "min", 60},
    {"hour", "h", 3600},       {"day", "d", 86400},       {"eV", "eV", 1.602176634e-19}, {"keV", "keV", 1.602176634e-16},
    {"radian", "rad", 1},      {"kat", "kat", 1},         {"kmh", "km/h", 1 / 3.6},  {"km/h", "km/h", 1 / 3.6},
    {"kilogram2", "kg^2", 1},  {"fm", "fm", 1e-15},       {"metric_ton", "t", 1e3},  {"K", "K", 1},
  };
  for (int i = 0; i < BDL_LEN(row); i++) {
    const bdl_unit *u = named(row[i].name);
    assert_string_equal(bdl_unit_text(u), row[i].text);
    assert_close(bdl_unit_magnitude(u), row[i].magnitude, 1e-15, row[i].name);
  }
  assert_null(named("UNITLESS"));
  assert_null(named("1"));
  assert_string_equal(bdl_unit_text(NULL), "1");
}

static void unknown_names_suggest(void **state) {
  (void)state;
  static const struct {
    const char *name, *hint;
  } row[] = {{"mvolts", "mvolt"}, {"mOhm", "mohm"}, {"milivolt", NULL}, {"hetz", "hertz"}, {"HZ", "Hz"}, {"qqqqqqqq", NULL},
             {"mV2x", NULL}, {"minute2", "minute"}, {"liter2", "liter"}};
  for (int i = 0; i < BDL_LEN(row); i++) {
    const bdl_unit *u = NULL;
    assert_int_equal(bdl_unit_named(reg, row[i].name, &u), BDL_EKEY);
    if (row[i].hint && !strstr(bdl_last_error(ctx)->message, row[i].hint))
      fail_msg("%s: %s", row[i].name, bdl_last_error(ctx)->message);
    if (!strstr(bdl_last_error(ctx)->message, row[i].name)) fail_msg("%s", bdl_last_error(ctx)->message);
  }
}

static void every_listed_name_is_a_unit_and_unique(void **state) {
  (void)state;
  static char seen[4096][BDL_UNIT_NAME];
  int n = 0;
  for (; bdl_unit_name_at(n, seen[n]); n++) {
    const bdl_unit *u = named(seen[n]);
    assert_non_null(u);
    if (strcmp(seen[n], "fm") == 0 || strcmp(seen[n], "kg") == 0) continue; /* fermi, kilogram */
    for (int k = 0; k < n; k++)
      if (strcmp(seen[k], seen[n]) == 0) fail_msg("%s stands twice", seen[n]);
  }
  assert_true(n > 1000);
}

static void written_form_reads_back(void **state) {
  (void)state;
  char name[BDL_UNIT_NAME];
  const bdl_unit *last = NULL;
  for (int i = 0; bdl_unit_name_at(i, name); i++) {
    const bdl_unit *u = named(name), *made[5] = {u, NULL, NULL, NULL, NULL};
    if (strchr(bdl_unit_text(u), '/')) continue; /* km/h is read alone, not in products */
    assert_int_equal(bdl_unit_mul(reg, u, last, &made[1]), BDL_OK);
    assert_int_equal(bdl_unit_div(reg, last, u, &made[2]), BDL_OK);
    assert_int_equal(bdl_unit_pow(reg, made[2], 0.5, &made[3]), BDL_OK);
    assert_int_equal(bdl_unit_div(reg, NULL, made[1], &made[4]), BDL_OK);
    for (int k = 0; k < 5; k++) {
      const bdl_unit *v = named(bdl_unit_text(made[k]));
      if (!bdl_unit_same_dim(made[k], v)) fail_msg("%s reads back as %s", bdl_unit_text(made[k]), bdl_unit_text(v));
      assert_close(bdl_unit_ratio(made[k], v), 1, 1e-12, bdl_unit_text(made[k]));
    }
    last = u;
  }
}

static void products_are_read(void **state) {
  (void)state;
  static const struct {
    const char *text, *shown;
  } row[] = {{"mV / ms", "mV / ms"},     {"mV/ms", "mV / ms"},      {"mV*nS", "pA"},          {"mS / cm^2", "mS / cm^2"},
             {"1 / (mM * ms)", "1 / (mM * ms)"}, {"1/ms", "1 / ms"}, {"mV^0.5", "mV^0.5"},     {"mV^-1", "1 / mV"},
             {"(mV)", "mV"},             {" mV ", "mV"},            {"a", NULL},              {"mV /", NULL},
             {"mV ms", NULL},            {"(mV", NULL},             {"mV)", NULL},            {"mV ^ x", NULL},
             {"", NULL},                 {"mV * * ms", NULL},       {"0", NULL},              {"mV^1e300", NULL},
             {"1e400", NULL},            {"mV / ms / ms", "mV / ms^2"}, {"mV / ms * ms", "mV"}, {"10.0^-3", "10.0^-3"},
             {"((((((((((((((((((((((((((((((((((mV", NULL},       {"fl oz / min", "fl oz / min"}};
  for (int i = 0; i < BDL_LEN(row); i++) {
    const bdl_unit *u = NULL;
    const bdl_status s = bdl_unit_named(reg, row[i].text, &u);
    if ((s == BDL_OK) != (row[i].shown != NULL)) fail_msg("'%s': %s", row[i].text, bdl_status_kind(s));
    if (s == BDL_OK) assert_string_equal(bdl_unit_text(u), row[i].shown);
  }
}

/* ---- conversions and products ------------------------------------------------------------- */

/* golden/units/convert.lua */
static void numbers_convert(void **state) {
  (void)state;
  static const struct {
    double value;
    const char *from, *to;
    double result;
  } row[] = {
    {1, "volt", "mV", 1000},           {-65, "mV", "volt", -0.065},      {5, "ms", "second", 0.005},
    {0.1, "ms", "us", 100},            {2.5, "nA", "pA", 2500},          {1, "uA", "mA", 0.001},
    {30, "nS", "uS", 0.03},            {1, "msiemens", "siemens", 0.001}, {20, "Hz", "kHz", 0.02},
    {1, "ms i", "Hz", 1000},           {10, "Mohm", "ohm", 1e7},         {200, "pF", "nF", 0.2},
    {1, "uF cm ^2 /", "farad meter ^2 /", 0.01}, {120, "mS cm ^2 /", "siemens meter ^2 /", 1200},
    {3, "mM", "molar", 0.003},         {1, "mV ms /", "volt second /", 1}, {1, "mV nS *", "pA", 1},
    {1, "um", "meter", 1e-6},          {36, "mS", "nS", 3.6e7},          {1, "joule", "volt coulomb *", 1},
    {2, "hour", "minute", 120},        {1, "kmh", "meter second /", 1 / 3.6}, {90, "degree", "radian", 1.5707963267948966},
    {1, "eV", "joule", 1.602176634e-19}, {7, "ymetre", "Ymetre", 7e-48},  {5, "mV volt /", "UNITLESS", 0.005},
  };
  for (int i = 0; i < BDL_LEN(row); i++) {
    const bdl_unit *a = eval(row[i].from), *b = eval(row[i].to);
    double k = 0, back = 0;
    assert_int_equal(bdl_unit_convert(reg, a, b, &k), BDL_OK);
    assert_close(row[i].value * k, row[i].result, 1e-14, row[i].from);
    assert_int_equal(bdl_unit_convert(reg, b, a, &back), BDL_OK);
    assert_close(k * back, 1, 1e-15, row[i].from);
  }
}

static void conversion_needs_equal_dimension(void **state) {
  (void)state;
  double k = 0;
  assert_int_equal(bdl_unit_convert(reg, named("mV"), named("ms"), &k), BDL_EUNIT);
  assert_non_null(strstr(bdl_last_error(ctx)->message, "mV"));
  assert_int_equal(bdl_unit_convert(reg, named("mV"), NULL, &k), BDL_EUNIT);
}

/* Text, dimension and size as printed by saiunit 0.5.2; the first rows are golden/units. */
static void products_are_written_as_brainunit_writes_them(void **state) {
  (void)state;
  static const struct {
    const char *expr, *text, *dim;
    double magnitude;
  } row[] = {
    {"mV", "mV", "m^2 kg s^-3 A^-1", 1e-3},
    {"nS", "nS", "m^-2 kg^-1 s^3 A^2", 1e-9},
    {"mV ms / nF *", "nA", "A", 1e-9},
    {"mV nS *", "pA", "A", 1e-12},
    {"nS mV *", "pA", "A", 1e-12},
    {"mV Mohm /", "nA", "A", 1e-9},
    {"nF Mohm *", "ms", "s", 1e-3},
    {"mV ^2", "mV^2", "m^4 kg^2 s^-6 A^-2", 1e-6},
    {"mV ^2 ^0.5", "mV", "m^2 kg s^-3 A^-1", 1e-3},
    {"mV ^0.5", "mV^0.5", "m kg^0.5 s^-1.5 A^-0.5", 0.03162277660168379},
    {"ms i", "kHz", "s^-1", 1e3},
    {"ms ^-1", "1 / ms", "s^-1", 1e3},
    {"mA ohm *", "mV", "m^2 kg s^-3 A^-1", 1e-3},
    {"mS mV *", "uA", "A", 1e-6},
    {"pA ^2", "pA^2", "A^2", 1e-24},
    {"uF mV * ms /", "uA", "A", 1e-6},
    {"volt ampere *", "W", "m^2 kg s^-3", 1},
    {"mV ms /", "mV / ms", "m^2 kg s^-4 A^-1", 1},
    {"uF cm ^2 /", "uF / cm^2", "m^-4 kg^-1 s^4 A^2", 1e-2},
    {"uF cm2 /", "uF / cm^2", "m^-4 kg^-1 s^4 A^2", 1e-2},
    {"mS cm ^2 /", "mS / cm^2", "m^-4 kg^-1 s^3 A^2", 10},
    {"ms mM * i", "1 / (mM * ms)", "m^3 s^-1 mol^-1", 1e3},
    {"meter second /", "m / s", "m s^-1", 1},
    {"hertz second *", "1", "1", 1},
    {"mV mV /", "1", "1", 1},
    {"mV volt /", "10.0^-3", "1", 1e-3},
    {"mV volt / nA *", "pA", "A", 1e-12},
    {"minute second /", "6.0 * 10.0^1", "1", 60},
    {"mV mV ms * /", "1 / ms", "s^-1", 1e3},
    {"newton meter *", "J", "m^2 kg s^-2", 1},
    {"joule kilogram /", "J / kg", "m^2 s^-2", 1},
    {"kilogram meter * second ^2 /", "N", "m kg s^-2", 1},
    {"gram meter * second ^2 /", "mN", "m kg s^-2", 1e-3},
    {"coulomb second /", "A", "A", 1},
    {"amp second *", "C", "s A", 1},
    {"mol meter3 /", "mM", "m^-3 mol", 1},
    {"mol liter /", "M", "m^-3 mol", 1e3},
    {"um um *", "um^2", "m^2", 1e-12},
    {"mm mm * meter /", "mm^2 / m", "m", 1e-6},
    {"cm2 cm *", "cm^3", "m^3", 1e-6},
    {"lumen meter ^2 /", "lx", "m^-2 cd", 1},
    {"becquerel i", "s", "s", 1},
    {"Hz mV *", "Hz * mV", "m^2 kg s^-4 A^-1", 1e-3},
    {"mV kHz /", "uWb", "m^2 kg s^-2 A^-1", 1e-6},
    {"mV ^2 ms *", "ms * mV^2", "m^4 kg^2 s^-5 A^-2", 1e-9},
    {"nA pF /", "nA / pF", "m^2 kg s^-4 A^-1", 1e3},
    {"pF mV * nA /", "us", "s", 1e-6},
    {"nA ms * mV /", "nF", "m^-2 kg^-1 s^4 A^2", 1e-9},
    {"mV nS * cm ^2 /", "mV * nS / cm^2", "m^-2 A", 1e-8},
    {"mA cm ^2 / cm ^2 *", "mA", "A", 1e-3},
    {"mS cm ^2 / mV * uF cm ^2 / /", "mS * mV / uF", "m^2 kg s^-4 A^-1", 1},
    {"kilogram second / gram *", "g * kg / s", "kg^2 s^-1", 1e-3},
    {"radian second /", "rad / s", "s^-1", 1},
    {"radian mV *", "mV", "m^2 kg s^-3 A^-1", 1e-3},
    {"radian radian *", "rad^2", "1", 1},
    {"radian i", "1 / rad", "1", 1},
    {"mV ms * ^0.5", "ms^0.5 * mV^0.5", "m kg^0.5 s^-1 A^-0.5", 1e-3},
    {"eV mV /", "eV / mV", "s A", 1.602176634e-16},
    {"mV volt / mV * ms /", "uV / ms", "m^2 kg s^-4 A^-1", 1e-3},
    {"UNITLESS mV ms / *", "mV / ms", "m^2 kg s^-4 A^-1", 1},
  };
  for (int i = 0; i < BDL_LEN(row); i++) {
    const bdl_unit *u = eval(row[i].expr);
    if (strcmp(bdl_unit_text(u), row[i].text) != 0 || strcmp(bdl_unit_dim_text(u), row[i].dim) != 0)
      fail_msg("%s: %s (%s), not %s (%s)", row[i].expr, bdl_unit_text(u), bdl_unit_dim_text(u), row[i].text, row[i].dim);
    assert_close(bdl_unit_magnitude(u), row[i].magnitude, 1e-13, row[i].expr);
    assert_ptr_equal(u, eval(row[i].expr));
  }
}

static void powers_undo_each_other(void **state) {
  (void)state;
  static const double e[] = {2, 3, -1, 0.5, 1.0 / 3, -2, 1.5, 6};
  char name[BDL_UNIT_NAME];
  for (int i = 0; bdl_unit_name_at(i, name); i++)
    for (int k = 0; k < BDL_LEN(e); k++) {
      const bdl_unit *u = named(name), *v = NULL, *w = NULL;
      assert_int_equal(bdl_unit_pow(reg, u, e[k], &v), BDL_OK);
      assert_int_equal(bdl_unit_pow(reg, v, 1 / e[k], &w), BDL_OK);
      if (!bdl_unit_same_dim(u, w)) fail_msg("%s^%g^%g is %s", name, e[k], 1 / e[k], bdl_unit_text(w));
      assert_close(bdl_unit_ratio(u, w), 1, 1e-13, name);
    }
}

static void products_commute_and_divide_back(void **state) {
  (void)state;
  static const char *const name[] = {"mV", "ms", "nA", "nS", "Mohm", "pF", "uF", "Hz", "cm", "mM", "kg", "hour", "rad", "eV"};
  for (int i = 0; i < BDL_LEN(name); i++)
    for (int k = 0; k < BDL_LEN(name); k++) {
      const bdl_unit *a = named(name[i]), *b = named(name[k]), *ab = NULL, *ba = NULL, *q = NULL;
      assert_int_equal(bdl_unit_mul(reg, a, b, &ab), BDL_OK);
      assert_int_equal(bdl_unit_mul(reg, b, a, &ba), BDL_OK);
      assert_int_equal(bdl_unit_div(reg, ab, b, &q), BDL_OK);
      assert_true(bdl_unit_eq(ab, ba));
      assert_string_equal(bdl_unit_text(ab), bdl_unit_text(ba));
      assert_true(bdl_unit_eq(a, q));
    }
}

static void absurd_units_are_errors(void **state) {
  (void)state;
  const bdl_unit *u = named("mV");
  bdl_status s = BDL_OK;
  assert_int_equal(bdl_unit_pow(reg, u, NAN, &u), BDL_EVALUE);
  assert_int_equal(bdl_unit_pow(reg, u, INFINITY, &u), BDL_EVALUE);
  assert_int_equal(bdl_unit_pow(reg, u, 1e9, &u), BDL_EVALUE);
  for (int i = 0; i < 20 && s == BDL_OK; i++) s = bdl_unit_mul(reg, u, u, &u);
  assert_int_equal(s, BDL_EVALUE);
  u = NULL;
  s = BDL_OK;
  for (int i = 0; i < 200 && s == BDL_OK; i++) {
    char name[BDL_UNIT_NAME];
    assert_true(bdl_unit_name_at(i * 5, name));
    s = bdl_unit_mul(reg, u, named(name), &u);
  }
  assert_int_equal(s, BDL_EVALUE);
}

/* ---- rules ------------------------------------------------------------------------------- */

/* "mV ms" -> operands; "0" is a plain zero, "1" a plain number. */
static bdl_status apply(const char *rule, const char *operands, double number, double *in, const bdl_unit **out, double *post) {
  bdl_unit_arg arg[8];
  char buf[128];
  bdl_unit_call call = {.arg = arg, .n_out = 1, .has_number = !isnan(number), .number = number};
  const int id = bdl_unit_rule_find(rule);
  if (id < 0) fail_msg("no rule for %s", rule);
  snprintf(buf, sizeof buf, "%s", operands);
  for (char *t = strtok(buf, " "); t; t = strtok(NULL, " ")) {
    const bool plain = strcmp(t, "0") == 0 || strcmp(t, "1") == 0;
    arg[call.n++] = (bdl_unit_arg){.unit = plain ? NULL : named(t), .zero = t[0] == '0'};
  }
  return bdl_unit_rule(reg, id, &call, in, out, post);
}

static void results_have_their_unit(void **state) {
  (void)state;
  static const struct {
    const char *rule, *operands;
    double number;
    const char *unit;
    double in0, in1, post;
  } row[] = {
    {"add", "mV volt", NAN, "mV", 1, 1000, 1},
    {"add", "volt mV", NAN, "V", 1, 1e-3, 1},
    {"sub", "mV uvolt", NAN, "mV", 1, 1e-3, 1},
    {"sub", "mV 0", NAN, "mV", 1, 1, 1},
    {"add", "0 mV", NAN, "mV", 1, 1, 1},
    {"add", "1 1", NAN, "1", 1, 1, 1},
    {"mul", "mV nS", NAN, "pA", 1, 1, 1},
    {"mul", "1 mV/ms", NAN, "mV / ms", 1, 1, 1},
    {"mul", "Hz second", NAN, "1", 1, 1, 1},
    {"mul", "kHz second", NAN, "1", 1, 1, 1000},
    {"div", "ms second", NAN, "1", 1, 1, 1e-3},
    {"div", "mV Mohm", NAN, "nA", 1, 1, 1},
    {"div", "1 ms", NAN, "kHz", 1, 1, 1},
    {"reciprocal", "ms", NAN, "1 / ms", 1, 1, 1},
    {"pow", "mV 1", 2, "mV^2", 1, 1, 1},
    {"pow", "mV 1", 0, "1", 1, 1, 1},
    {"pow", "1 1", NAN, "1", 1, 1, 1},
    {"pow", "10.0^-3 1", NAN, "1", 1e-3, 1, 1},
    {"pow", "mV 10.0^3", 0.002, "mV^2", 1, 1000, 1},
    {"integer_pow", "mV", -1, "1 / mV", 1, 1, 1},
    {"reduce_prod", "mV", 3, "mV^3", 1, 1, 1},
    {"sqrt", "mV^2", NAN, "mV", 1, 1, 1},
    {"rsqrt", "mV^2", NAN, "1 / mV", 1, 1, 1},
    {"cbrt", "mV^3", NAN, "mV", 1, 1, 1},
    {"square", "pA", NAN, "pA^2", 1, 1, 1},
    {"exp", "1", NAN, "1", 1, 1, 1},
    {"tanh", "mV/volt", NAN, "1", 1e-3, 1, 1},
    {"sin", "degree", NAN, "1", 0.017453292519943295, 1, 1},
    {"reduce_sum", "mV", NAN, "mV", 1, 1, 1},
    {"mean", "mV", NAN, "mV", 1, 1, 1},
    {"abs", "mA", NAN, "mA", 1, 1, 1},
    {"sign", "mV", NAN, "1", 1, 1, 1},
    {"argmax", "mV", NAN, "1", 1, 1, 1},
    {"max", "volt mV", NAN, "V", 1, 1e-3, 1},
    {"maximum", "volt mV", NAN, "V", 1, 1e-3, 1},
    {"concatenate", "mV volt", NAN, "mV", 1, 1000, 1},
    {"clamp", "volt mV mV", NAN, "mV", 1000, 1, 1},
    {"clip", "mV volt mV", NAN, "mV", 1, 1000, 1},
    {"mod", "ms second", NAN, "ms", 1, 1000, 1},
    {"floordiv", "volt mV", NAN, "1", 1, 1e-3, 1},
    {"floordiv", "1 ms", NAN, "Hz", 1, 1e-3, 1},
    {"floordiv", "mV 1", NAN, "V", 1e-3, 1, 1},
    {"lt", "mV volt", NAN, "1", 1, 1000, 1},
    {"gt", "mV 0", NAN, "1", 1, 1, 1},
    {"allclose", "mV uvolt", NAN, "1", 1, 1e-3, 1},
    {"dot", "mS mV", NAN, "uA", 1, 1, 1},
    {"csr_dot", "1 nS 1 1", NAN, "nS", 1, 1, 1},
    {"jitc_dot", "1 0 mV 1", NAN, "mV", 1, 1, 1},
    {"solve", "mS uA", NAN, "mV", 1, 1, 1},
    {"gather", "mV 1", NAN, "mV", 1, 1, 1},
    {"pad", "mV 0", NAN, "mV", 1, 1, 1},
    {"lu", "mV", NAN, "mV", 1, 1, 1},
    {"cast", "mV", NAN, "mV", 1, 1, 1},
  };
  for (int i = 0; i < BDL_LEN(row); i++) {
    double in[8] = {0}, post = 0;
    const bdl_unit *out = NULL;
    if (apply(row[i].rule, row[i].operands, row[i].number, in, &out, &post) != BDL_OK)
      fail_msg("%s %s: %s", row[i].rule, row[i].operands, bdl_last_error(ctx)->message);
    if (strcmp(bdl_unit_text(out), row[i].unit) != 0)
      fail_msg("%s %s: %s, not %s", row[i].rule, row[i].operands, bdl_unit_text(out), row[i].unit);
    assert_close(in[0], row[i].in0, 1e-15, row[i].rule);
    if (strchr(row[i].operands, ' ')) assert_close(in[1], row[i].in1, 1e-15, row[i].rule);
    assert_close(post, row[i].post, 1e-15, row[i].rule);
  }
}

static void select_takes_the_unit_of_its_first_choice(void **state) {
  (void)state;
  double in[8] = {0}, post = 0;
  const bdl_unit *out = NULL;
  assert_int_equal(apply("select", "1 mV volt", NAN, in, &out, &post), BDL_OK);
  assert_ptr_equal(out, named("mV"));
  assert_close(in[2], 1000, 0, "volt in mV");
  assert_int_equal(apply("scatter", "mV 1 volt", NAN, in, &out, &post), BDL_OK);
  assert_close(in[2], 1000, 0, "volt in mV");
}

static void several_results_have_their_own_units(void **state) {
  (void)state;
  const bdl_unit_arg arg[] = {{named("mV"), false}, {NULL, false}, {named("ms"), false}};
  const bdl_unit_call sort = {.arg = arg, .n = 3, .n_out = 3}, top = {.arg = arg, .n = 1, .n_out = 2};
  double in[3], post = 0;
  const bdl_unit *out[3] = {NULL};
  assert_int_equal(bdl_unit_rule(reg, BDL_P_sort, &sort, in, out, &post), BDL_OK);
  for (int i = 0; i < 3; i++) assert_ptr_equal(out[i], arg[i].unit);
  assert_int_equal(bdl_unit_rule(reg, BDL_P_top_k, &top, in, out, &post), BDL_OK);
  assert_ptr_equal(out[0], arg[0].unit);
  assert_null(out[1]);
}

/* golden/units/errors.lua: the kinds */
static void wrong_units_are_errors(void **state) {
  (void)state;
  static const struct {
    const char *rule, *operands;
    bdl_status status;
    const char *message;
  } row[] = {
    {"add", "mV mA", BDL_EUNIT, "cannot add a value in mV and a value in mA: units do not match (mV, mA)"},
    {"add", "mV 1", BDL_EUNIT, "cannot add a value in mV and a plain number: units do not match (mV, 1)"},
    {"add", "1 mV", BDL_EUNIT, "units do not match (1, mV)"},
    {"sub", "mV ms", BDL_EUNIT, "cannot subtract"},
    {"lt", "mV ms", BDL_EUNIT, "cannot compare a value in mV and a value in ms"},
    {"eq", "mV ms", BDL_EUNIT, "cannot compare"},
    {"ne", "mV 1", BDL_EUNIT, "cannot compare"},
    {"exp", "mV", BDL_ETYPE, "exp needs a dimensionless number, got a value in mV (unit mV, dimension m^2 kg s^-3 A^-1)"},
    {"log", "ms", BDL_ETYPE, "dimension s)"},
    {"sin", "mV", BDL_ETYPE, "sin needs"},
    {"atan2", "mV mV", BDL_ETYPE, "atan2 needs"},
    {"concatenate", "mV ms", BDL_EUNIT, "cannot concatenate"},
    {"concatenate", "mV 0", BDL_EUNIT, "cannot concatenate"},
    {"select", "1 mV ms", BDL_EUNIT, "where: units of a value in mV and a value in ms do not match (mV, ms)"},
    {"select", "1 mV 0", BDL_ETYPE, "where"},
    {"select", "mV 1 1", BDL_ETYPE, "where needs"},
    {"max", "mV 0", BDL_ETYPE, "maximum"},
    {"max", "mV ms", BDL_EUNIT, "maximum"},
    {"pow", "1 mV", BDL_EVALUE, "the exponent has to be dimensionless"},
    {"pow", "mV mV", BDL_EVALUE, "the exponent has to be dimensionless"},
    {"pow", "mV 1", BDL_ETYPE, "known while tracing"},
    {"clamp", "0 mV 1", BDL_EUNIT, "clip"},
    {"clip", "mV 0 1", BDL_EUNIT, "clip"},
    {"mod", "mV 1", BDL_EUNIT, "cannot take the remainder of"},
    {"cumprod", "mV", BDL_ETYPE, "cumprod"},
    {"reduce_or", "mV", BDL_ETYPE, "any needs"},
    {"gather", "mV ms", BDL_ETYPE, "gather needs"},
    {"allclose", "mV 0", BDL_ETYPE, "allclose"},
    {"allclose", "mV ms", BDL_EUNIT, "allclose"},
    {"arange", "ms 1 ms", BDL_EUNIT, "cannot count from"},
    {"scatter", "mV 1 ms", BDL_EUNIT, "cannot write"},
  };
  for (int i = 0; i < BDL_LEN(row); i++) {
    double in[8], post = 0;
    const bdl_unit *out = NULL;
    const bdl_status s = apply(row[i].rule, row[i].operands, NAN, in, &out, &post);
    if (s != row[i].status)
      fail_msg("%s %s: %s, not %s", row[i].rule, row[i].operands, bdl_status_kind(s), bdl_status_kind(row[i].status));
    if (!strstr(bdl_last_error(ctx)->message, row[i].message))
      fail_msg("%s %s: %s", row[i].rule, row[i].operands, bdl_last_error(ctx)->message);
  }
}

static const char *value_text(void *ud, int i, char *buf, size_t size) {
  snprintf(buf, size, "%s", ((const char *const *)ud)[i]);
  return buf;
}

static void messages_show_the_values(void **state) {
  (void)state;
  const char *text[] = {"1 mV", "1 ms"};
  const bdl_unit_arg arg[] = {{named("mV"), false}, {named("ms"), false}};
  const bdl_unit_call call = {.arg = arg, .n = 2, .n_out = 1, .value = value_text, .ud = (void *)text};
  double in[2], post = 0;
  const bdl_unit *out = NULL;
  assert_int_equal(bdl_unit_rule(reg, BDL_P_add, &call, in, &out, &post), BDL_EUNIT);
  assert_string_equal(bdl_last_error(ctx)->message, "cannot add 1 mV and 1 ms: units do not match (mV, ms)");
}

static void every_primitive_has_a_rule(void **state) {
  (void)state;
  static const char *const name[] = {
#define PRIM(name, ...) #name,
#include "prim/prims.def"
#undef PRIM
  };
  for (int p = 0; p < BDL_P_COUNT; p++)
    if (bdl_unit_rule_find(name[p]) != p) fail_msg("%s has no unit rule", name[p]);
  assert_int_equal(bdl_unit_rule_find("no such function"), -1);
}

static void plain_operands_stay_plain(void **state) {
  (void)state;
  const bdl_unit_arg arg[6] = {{NULL, false}};
  for (int p = 0; p < BDL_P_COUNT; p++)
    for (int n = 1; n <= 6; n++) {
      const bdl_unit_call call = {.arg = arg, .n = n, .n_out = 2};
      double in[6], post = 0;
      const bdl_unit *out[2] = {named("mV"), named("mV")};
      assert_int_equal(bdl_unit_rule(reg, p, &call, in, out, &post), BDL_OK);
      assert_true(!out[0] && !out[1] && post == 1);
      for (int i = 0; i < n; i++) assert_true(in[i] == 1);
    }
}

/* ---- faults ------------------------------------------------------------------------------ */

static bdl_status some_work(bdl_context *c) {
  bdl_units *r = NULL;
  const bdl_unit *a = NULL, *b = NULL;
  bdl_status s = bdl_units_new(c, &r);
  if (s == BDL_OK) s = bdl_unit_named(r, "mV / ms", &a);
  if (s == BDL_OK) s = bdl_unit_named(r, "uF / cm^2", &b);
  for (int i = 0; s == BDL_OK && i < 40; i++) s = bdl_unit_pow(r, a, i / 4.0, &b);
  if (s == BDL_OK) s = bdl_unit_div(r, NULL, b, &b);
  bdl_units_free(r);
  return s;
}

static void a_failed_allocation_leaves_nothing_behind(void **state) {
  (void)state;
  bdl_status s = BDL_ENOMEM;
  for (int n = 1; s != BDL_OK; n++) {
    t_faults f = {.left = n};
    bdl_context *c = bdl_context_new(t_failing_alloc, &f);
    assert_non_null(c);
    s = some_work(c);
    assert_true(s == BDL_OK || s == BDL_ENOMEM);
    assert_int_equal(c->mem_used, 0);
    f.left = INT64_MAX;
    assert_int_equal(some_work(c), BDL_OK);
    bdl_context_free(c);
    assert_true(n < 1000);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(names_and_symbols_are_found),
    cmocka_unit_test(unknown_names_suggest),
    cmocka_unit_test(every_listed_name_is_a_unit_and_unique),
    cmocka_unit_test(written_form_reads_back),
    cmocka_unit_test(products_are_read),
    cmocka_unit_test(numbers_convert),
    cmocka_unit_test(conversion_needs_equal_dimension),
    cmocka_unit_test(products_are_written_as_brainunit_writes_them),
    cmocka_unit_test(powers_undo_each_other),
    cmocka_unit_test(products_commute_and_divide_back),
    cmocka_unit_test(absurd_units_are_errors),
    cmocka_unit_test(results_have_their_unit),
    cmocka_unit_test(select_takes_the_unit_of_its_first_choice),
    cmocka_unit_test(several_results_have_their_own_units),
    cmocka_unit_test(wrong_units_are_errors),
    cmocka_unit_test(messages_show_the_values),
    cmocka_unit_test(every_primitive_has_a_rule),
    cmocka_unit_test(plain_operands_stay_plain),
    cmocka_unit_test(a_failed_allocation_leaves_nothing_behind),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}

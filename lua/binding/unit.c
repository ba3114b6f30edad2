/*
** unit.c -- the table of names, and products of units.
**
**   named text -> row, prefix, power -> unit       looked up once, then remembered
**   mul div pow -> merge factors -> one named unit of that dimension and size?  show its name : show the factors
**
** Nothing is made at start: a registry is empty until a name is asked for.
*/
#include "binding/unit.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the table --------------------------------------------------------------------------- */

/* SI: takes prefixes and has squares and cubes of its own (cm2: cm^2).  PREFIX: prefixes only.  BASE: powers only. */
enum { ONE, BASE, PREFIX, SI };

/* One row a unit: 1 of it is factor * 10^scale in SI base units.  names: the first is the canonical one. */
typedef struct row {
  const char *names, *symbol;
  int8_t kind, dim[BDL_N_DIM]; /* m kg s A K mol cd */
  int8_t scale;
  double factor;
} row;

#define LENGTH {1}
#define MASS {0, 1}
#define TIME {0, 0, 1}
#define AREA {2}
#define VOLUME {3}
#define SPEED {1, 0, -1}
#define FORCE {1, 1, -2}
#define PRESSURE {-1, 1, -2}
#define ENERGY {2, 1, -2}
#define POWER {2, 1, -3}

/* Of names with equal size and dimension the first row is preferred: kilogram before kgram, hertz before becquerel. */
static const row rows[] = {
  {"metre|meter", "m", SI, LENGTH, 0, 1},
  {"liter|litre", "l", PREFIX, VOLUME, -3, 1},
  {"kilogram|kilogramme", "kg", BASE, MASS, 0, 1},
  {"gram|gramme", "g", SI, MASS, -3, 1},
  {"second", "s", SI, TIME, 0, 1},
  {"amp|ampere", "A", SI, {0, 0, 0, 1}, 0, 1},
  {"kelvin", "K", SI, {0, 0, 0, 0, 1}, 0, 1},
  {"mole|mol", "mol", SI, {0, 0, 0, 0, 0, 1}, 0, 1},
  {"molar", "M", SI, {-3, 0, 0, 0, 0, 1}, 3, 1},
  {"candle|candela", "cd", SI, {0, 0, 0, 0, 0, 0, 1}, 0, 1},
  {"radian", "rad", SI, {0}, 0, 1},
  {"steradian", "sr", SI, {0}, 0, 1},
  {"hertz", "Hz", SI, {0, 0, -1}, 0, 1},
  {"newton", "N", SI, FORCE, 0, 1},
  {"pascal", "Pa", SI, PRESSURE, 0, 1},
  {"joule", "J", SI, ENERGY, 0, 1},
  {"watt", "W", SI, POWER, 0, 1},
  {"coulomb", "C", SI, {0, 0, 1, 1}, 0, 1},
  {"volt", "V", SI, {2, 1, -3, -1}, 0, 1},
  {"farad", "F", SI, {-2, -1, 4, 2}, 0, 1},
  {"ohm", "ohm", SI, {2, 1, -3, -2}, 0, 1},
  {"siemens", "S", SI, {-2, -1, 3, 2}, 0, 1},
  {"weber", "Wb", SI, {2, 1, -2, -1}, 0, 1},
  {"tesla", "T", SI, {0, 1, -2, -1}, 0, 1},
  {"henry", "H", SI, {2, 1, -2, -2}, 0, 1},
  {"lumen", "lm", SI, {0, 0, 0, 0, 0, 0, 1}, 0, 1},
  {"lux", "lx", SI, {-2, 0, 0, 0, 0, 0, 1}, 0, 1},
  {"becquerel", "Bq", SI, {0, 0, -1}, 0, 1},
  {"gray", "Gy", SI, {2, 0, -2}, 0, 1},
  {"sievert", "Sv", SI, {2, 0, -2}, 0, 1},
  {"katal", "kat", SI, {0, 0, -1, 0, 0, 1}, 0, 1},

  {"metric ton|metric_ton", "t", ONE, MASS, 3, 1},
  {"grain", "gr", ONE, MASS, -5, 6.479891},
  {"pound", "lb", ONE, MASS, 0, 0.45359237},
  {"blob|slinch", "blob", ONE, MASS, 2, 1.75126836},
  {"slug", "slug", ONE, MASS, 1, 1.459390294},
  {"ounce", "oz", ONE, MASS, -2, 2.8349523125},
  {"stone", "st", ONE, MASS, 0, 6.35029318},
  {"long ton|long_ton", "long ton", ONE, MASS, 3, 1.0160469088},
  {"short ton|short_ton", "short ton", ONE, MASS, 3, 0.90718474},
  {"troy ounce|troy_ounce", "oz t", ONE, MASS, -2, 3.11034768},
  {"troy pound|troy_pound", "lb t", ONE, MASS, 0, 0.3732417216},
  {"carat", "ct", ONE, MASS, -4, 2},
  {"atomic mass unit|atomic_mass|amu|um_u", "u", ONE, MASS, -27, 1.66053906892}, /* CODATA 2018 */

  {"degree", "°", ONE, {0}, 0, 3.14159265358979323846 / 180},
  {"arcminute|arcmin", "′", ONE, {0}, -4, 2.908882086657216},
  {"arcsecond|arcsec", "″", ONE, {0}, -6, 4.84813681109536},

  {"minute", "min", ONE, TIME, 1, 6},
  {"hour", "h", ONE, TIME, 3, 3.6},
  {"day", "d", ONE, TIME, 4, 8.64},
  {"week", "wk", ONE, TIME, 5, 6.048},
  {"month", "mon", ONE, TIME, 6, 2.629746},
  {"year", "yr", ONE, TIME, 7, 3.1556952}, /* Gregorian, 365.2425 days */
  {"julian year|julian_year", "julian yr", ONE, TIME, 7, 3.15576},

  {"inch", "in", ONE, LENGTH, 0, 0.0254},
  {"foot", "ft", ONE, LENGTH, 0, 0.3048},
  {"yard", "yd", ONE, LENGTH, 0, 0.9144},
  {"mile", "mi", ONE, LENGTH, 3, 1.609344},
  {"mil", "mil", ONE, LENGTH, 0, 2.54e-5},
  {"point", "pt", ONE, LENGTH, -4, 3.5277777777777776},
  {"pica", "p", ONE, LENGTH, 0, 4.233333333333333e-3},
  {"survey foot|survey_foot", "US survey ft", ONE, LENGTH, 0, 0.3048006096012192},
  {"survey mile|survey_mile", "US survey mi", ONE, LENGTH, 3, 1.6093472186944374},
  {"nautical mile|nautical_mile", "nmi", ONE, LENGTH, 3, 1.852},
  {"fermi", "fm", ONE, LENGTH, -15, 1},
  {"angstrom", "Å", ONE, LENGTH, -10, 1},
  {"micron", "µm", ONE, LENGTH, -6, 1},
  {"astronomical unit|astronomical_unit|au", "AU", ONE, LENGTH, 11, 1.495978707},
  {"light year|light_year", "ly", ONE, LENGTH, 15, 9.4607304725808},
  {"parsec", "pc", ONE, LENGTH, 16, 3.085677581491367},

  {"atmosphere", "atm", ONE, PRESSURE, 5, 1.01325},
  {"bar", "bar", ONE, PRESSURE, 5, 1},
  {"torr|mmHg", "torr", ONE, PRESSURE, 2, 1.3332236842105263},
  {"pound per square inch", "psi", ONE, PRESSURE, 3, 6.894757293168361},

  {"hectare", "ha", ONE, AREA, 4, 1},
  {"acre", "acre", ONE, AREA, 3, 4.0468564224},

  {"gallon|gallon_US", "gal", ONE, VOLUME, -3, 3.785411784},
  {"imperial gallon|gallon_imp", "imp gal", ONE, VOLUME, -3, 4.54609},
  {"fluid ounce|fluid_ounce|fluid_ounce_US", "fl oz", ONE, VOLUME, -5, 2.95735295625},
  {"imperial fluid ounce|fluid_ounce_imp", "imp fl oz", ONE, VOLUME, -5, 2.84130625},
  {"barrel", "bbl", ONE, VOLUME, -1, 1.58987294928},

  {"kilometer per hour|kmh", "km/h", ONE, SPEED, -1, 1000.0 / 3600.0 * 10.0},
  {"mile per hour", "mph", ONE, SPEED, -1, 4.4704},
  {"speed of sound|speed_of_sound", "mach", ONE, SPEED, 2, 3.405},
  {"knot", "kn", ONE, SPEED, -1, 1852.0 / 3600.0 * 10.0},

  {"electronvolt|electron_volt", "eV", PREFIX, ENERGY, -19, 1.602176634},
  {"calorie|calorie_th", "cal", ONE, ENERGY, 0, 4.184},
  {"calorie (International Table)|calorie_IT", "cal IT", ONE, ENERGY, 0, 4.1868},
  {"erg", "erg", ONE, ENERGY, -7, 1},
  {"British thermal unit (International Table)|Btu_IT", "Btu", ONE, ENERGY, 3, 1.05505585262},
  {"British thermal unit (thermochemical)|Btu_th", "Btu th", ONE, ENERGY, 3, 1.054350264488889},
  {"ton of TNT|ton_TNT", "ton TNT", ONE, ENERGY, 9, 4.184},

  {"horsepower", "hp", ONE, POWER, 2, 7.4569987158227022},
  {"kcal per hour|kcal_per_h", "kcal/h", ONE, POWER, 0, 4184.0 / 3600.0},

  {"dyne", "dyn", ONE, FORCE, -5, 1},
  {"pound force|pound_force", "lbf", ONE, FORCE, 0, 4.4482216152605},
  {"kilogram force|kilogram_force", "kgf", ONE, FORCE, 0, 9.80665},
  {"intermolecular force", "IMF", ONE, FORCE, -9, 1.602176634},
};

/* The empty prefix stands first. */
static const struct {
  const char *text;
  int scale;
} prefixes[] = {{"", 0},   {"y", -24}, {"z", -21}, {"a", -18}, {"f", -15}, {"p", -12}, {"n", -9},
                {"u", -6}, {"m", -3},  {"c", -2},  {"d", -1},  {"da", 1},  {"h", 2},   {"k", 3},
                {"M", 6},  {"G", 9},   {"T", 12},  {"P", 15},  {"E", 18},  {"Z", 21},  {"Y", 24}};

static const char *const dim_symbol[BDL_N_DIM] = {"m", "kg", "s", "A", "K", "mol", "cd"};

/* ---- a unit ------------------------------------------------------------------------------ */

/* One factor of the written form.  Factors are ordered by name, which is why they keep it beside the symbol. */
typedef struct part {
  const char *name, *symbol;
  double exp;
} part;

enum { MAX_PARTS = 24, MAX_EXP = 1000 };

struct bdl_unit {
  double dim[BDL_N_DIM];
  double scale, factor;
  bool named; /* has a written form; false: a size without one, such as mV / V, and what comes of it */
  int n_parts;
  part *parts;
  const char *text, *dim_text;
  struct bdl_unit *next; /* same hash */
};

/* What was found before: a name, or the result of an operation. */
typedef struct memo {
  char op; /* 'n' name, '*', '/', '^' */
  const bdl_unit *a, *b;
  double e;
  const char *name;
  const bdl_unit *result;
  struct memo *next; /* same hash */
} memo;

struct bdl_units {
  bdl_context *ctx;
  bdl_arena arena;
  bdl_map units; /* hash -> bdl_unit */
  bdl_map memos; /* hash -> memo */
};

bdl_status bdl_units_new(bdl_context *c, bdl_units **reg) {
  bdl_units *r = bdl_alloc(c, sizeof *r);
  if (!r) return BDL_ENOMEM;
  r->ctx = c;
  bdl_arena_init(&r->arena, c);
  bdl_map_init(&r->units, c);
  bdl_map_init(&r->memos, c);
  *reg = r;
  return BDL_OK;
}

void bdl_units_free(bdl_units *r) {
  if (!r) return;
  bdl_map_fini(&r->units);
  bdl_map_fini(&r->memos);
  bdl_arena_fini(&r->arena);
  bdl_free(r->ctx, r, sizeof *r);
}

bdl_context *bdl_units_context(bdl_units *r) { return r->ctx; }

static const double unit_one[BDL_N_DIM] = {0};

static const double *dim_of(const bdl_unit *a) { return a ? a->dim : unit_one; }
static double scale_of(const bdl_unit *a) { return a ? a->scale : 0; }
static double factor_of(const bdl_unit *a) { return a ? a->factor : 1; }

/* 10^e; exactly rounded for the prefixes. */
static double power_of_ten(double e) {
  static const double ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                               1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  if (e != floor(e) || fabs(e) >= BDL_LEN(ten)) return pow(10, e);
  return e < 0 ? 1 / ten[(int)-e] : ten[(int)e];
}

/* Exponents such as 3 * (1/3) become the integer they mean; -0 becomes 0. */
static double snap(double x) {
  const double r = round(x);
  return (fabs(x - r) < 1e-12 ? r : x) + 0.0;
}

static bool is_one(const double *dim) {
  for (int i = 0; i < BDL_N_DIM; i++)
    if (dim[i] != 0) return false;
  return true;
}

bool bdl_unit_same_dim(const bdl_unit *a, const bdl_unit *b) {
  for (int i = 0; a != b && i < BDL_N_DIM; i++)
    if (fabs(dim_of(a)[i] - dim_of(b)[i]) > 1e-9) return false;
  return true;
}

double bdl_unit_ratio(const bdl_unit *a, const bdl_unit *b) {
  if (a == b) return 1;
  return factor_of(a) / factor_of(b) * power_of_ten(scale_of(a) - scale_of(b));
}

bool bdl_unit_eq(const bdl_unit *a, const bdl_unit *b) {
  return a == b || (bdl_unit_same_dim(a, b) && fabs(bdl_unit_ratio(a, b) - 1) < 1e-14);
}

bool bdl_unit_is_dimensionless(const bdl_unit *a) { return is_one(dim_of(a)); }
double bdl_unit_magnitude(const bdl_unit *a) { return bdl_unit_ratio(a, NULL); }
const char *bdl_unit_text(const bdl_unit *a) { return a ? a->text : "1"; }
const char *bdl_unit_dim_text(const bdl_unit *a) { return a ? a->dim_text : "1"; }

/* ---- text -------------------------------------------------------------------------------- */

/* The shortest text that reads back as x: 2, 0.5, 0.3333333333333333. */
static void add_number(bdl_str *s, double x) {
  char buf[40];
  for (int digits = 15; digits <= 17; digits++) {
    snprintf(buf, sizeof buf, "%.*g", digits, x);
    if (strtod(buf, NULL) == x) break;
  }
  bdl_str_addf(s, "%s", buf);
}

static void add_term(bdl_str *s, const char *sep, const char *symbol, double exp) {
  bdl_str_addf(s, strchr(symbol, '/') ? "%s(%s)" : "%s%s", sep, symbol);
  if (exp == 1) return;
  bdl_str_addf(s, "^");
  add_number(s, exp);
}

/* "1", "mV", "mV / ms", "1 / (mM * ms)", "(km/h)^2" */
static void add_parts(bdl_str *s, const part *p, int n) {
  int above = 0, below = 0;
  if (n == 1 && p->exp == 1) { /* km/h needs no parentheses */
    bdl_str_addf(s, "%s", p->symbol);
    return;
  }
  for (int i = 0; i < n; i++)
    if (p[i].exp > 0) add_term(s, above++ ? " * " : "", p[i].symbol, p[i].exp);
  if (above == 0) bdl_str_addf(s, "1");
  for (int i = 0; i < n; i++) below += p[i].exp < 0;
  if (below == 0) return;
  bdl_str_addf(s, below > 1 ? " / (" : " / ");
  below = 0;
  for (int i = 0; i < n; i++)
    if (p[i].exp < 0) add_term(s, below++ ? " * " : "", p[i].symbol, -p[i].exp);
  if (below > 1) bdl_str_addf(s, ")");
}

static void add_dim(bdl_str *s, const double *dim) {
  const int64_t start = s->n;
  for (int i = 0; i < BDL_N_DIM; i++)
    if (dim[i] != 0) add_term(s, s->n > start ? " " : "", dim_symbol[i], dim[i]);
  if (s->n == start) bdl_str_addf(s, "1");
}

/* ---- interning --------------------------------------------------------------------------- */

static uint64_t hash_unit(const bdl_unit *u) {
  const double size[2] = {u->scale, u->factor};
  uint64_t h = bdl_hash(u->dim, sizeof u->dim, 1);
  h = bdl_hash(size, sizeof size, h);
  return bdl_hash(u->text, strlen(u->text), h);
}

static bool same_unit(const bdl_unit *a, const bdl_unit *b) {
  if (a->scale != b->scale || a->factor != b->factor || a->named != b->named || a->n_parts != b->n_parts) return false;
  if (strcmp(a->text, b->text) != 0) return false;
  for (int i = 0; i < BDL_N_DIM; i++)
    if (a->dim[i] != b->dim[i]) return false;
  for (int i = 0; i < a->n_parts; i++) {
    const part *p = &a->parts[i], *q = &b->parts[i];
    if (p->exp != q->exp || strcmp(p->name, q->name) != 0 || strcmp(p->symbol, q->symbol) != 0) return false;
  }
  return true;
}

/* The one copy of a unit.  text NULL: written as its parts.  Strings are copied, those of parts only when new. */
static bdl_status intern(bdl_units *r, bdl_unit *u, const char *text, const bdl_unit **out) {
  bdl_str s;
  bdl_status st = BDL_ENOMEM;
  uint64_t h = 0, head = 0;
  bdl_unit *v = NULL;
  for (int i = 0; i < BDL_N_DIM; i++)
    if (!(fabs(u->dim[i]) <= MAX_EXP)) return bdl_fail(r->ctx, BDL_EVALUE, "exponent of a unit is out of range");
  if (!(fabs(u->scale) <= MAX_EXP * MAX_EXP) || !(u->factor > 0) || isinf(u->factor))
    return bdl_fail(r->ctx, BDL_EVALUE, "size of a unit is out of range");
  bdl_str_init(&s, r->ctx);
  if (text) bdl_str_addf(&s, "%s", text);
  else add_parts(&s, u->parts, u->n_parts);
  if (s.failed) goto out;
  u->text = s.s;
  h = hash_unit(u);
  if (bdl_map_get(&r->units, h, &head))
    for (v = (bdl_unit *)(uintptr_t)head; v && !same_unit(u, v); v = v->next) continue;
  st = BDL_OK;
  if (v) goto out;

  st = BDL_ENOMEM;
  if (!(v = bdl_arena_alloc(&r->arena, sizeof *v))) goto out;
  *v = *u;
  if (!(v->parts = bdl_arena_alloc(&r->arena, sizeof(part) * (size_t)(u->n_parts + 1)))) goto out;
  for (int i = 0; i < u->n_parts; i++) {
    v->parts[i].exp = u->parts[i].exp;
    if (!(v->parts[i].name = bdl_arena_strdup(&r->arena, u->parts[i].name))) goto out;
    if (!(v->parts[i].symbol = bdl_arena_strdup(&r->arena, u->parts[i].symbol))) goto out;
  }
  if (!(v->text = bdl_arena_strdup(&r->arena, u->text))) goto out;
  s.n = 0;
  add_dim(&s, v->dim);
  if (s.failed || !(v->dim_text = bdl_arena_strdup(&r->arena, s.s))) goto out;
  v->next = (bdl_unit *)(uintptr_t)head;
  st = bdl_map_put(&r->units, h, (uint64_t)(uintptr_t)v);
out:
  bdl_str_fini(&s);
  if (st == BDL_OK) *out = v;
  return st;
}

static uint64_t hash_memo(const memo *m) {
  struct {
    const void *a, *b;
    double e;
    uint64_t op;
  } key = {m->a, m->b, m->e, (uint64_t)m->op};
  uint64_t h = bdl_hash(&key, sizeof key, 2);
  return m->name ? bdl_hash(m->name, strlen(m->name), h) : h;
}

static bool recall(bdl_units *r, const memo *m, uint64_t h, const bdl_unit **u) {
  uint64_t head = 0;
  if (!bdl_map_get(&r->memos, h, &head)) return false;
  for (const memo *x = (const memo *)(uintptr_t)head; x; x = x->next) {
    if (x->op != m->op || x->a != m->a || x->b != m->b || x->e != m->e) continue;
    if (m->name && strcmp(x->name, m->name) != 0) continue;
    *u = x->result;
    return true;
  }
  return false;
}

static bdl_status remember(bdl_units *r, memo m, uint64_t h, const bdl_unit *u) {
  uint64_t head = 0;
  memo *x = bdl_arena_alloc(&r->arena, sizeof *x);
  if (!x) return BDL_ENOMEM;
  if (m.name && !(m.name = bdl_arena_strdup(&r->arena, m.name))) return BDL_ENOMEM;
  bdl_map_get(&r->memos, h, &head);
  *x = m;
  x->result = u;
  x->next = (memo *)(uintptr_t)head;
  return bdl_map_put(&r->memos, h, (uint64_t)(uintptr_t)x);
}

/* ---- named units ------------------------------------------------------------------------- */

/* prefix, row and power of a name: cm2 is centi, metre, 2. */
typedef struct entry {
  const row *row;
  const char *name; /* the spelling that was used, up to '|' */
  int prefix, power;
} entry;

static int name_length(const char *names) { return (int)strcspn(names, "|"); }

static const char *next_name(const char *names) {
  names += name_length(names);
  return *names ? names + 1 : NULL;
}

static void entry_symbol(const entry *e, char buf[BDL_UNIT_NAME]) {
  snprintf(buf, BDL_UNIT_NAME, "%s%s", prefixes[e->prefix].text, e->row->symbol);
}

/* "mV", "cm^2" */
static void entry_text(const entry *e, char buf[BDL_UNIT_NAME]) {
  static const char *const power[] = {"", "", "^2", "^3"};
  snprintf(buf, BDL_UNIT_NAME, "%s%s%s", prefixes[e->prefix].text, e->row->symbol, power[e->power]);
}

static bdl_status entry_unit(bdl_units *r, const entry *e, const bdl_unit **out) {
  static const char *const power[] = {"", "", "2", "3"};
  char name[BDL_UNIT_NAME], symbol[BDL_UNIT_NAME];
  part p = {name, symbol, e->power};
  bdl_unit u = {.factor = e->row->factor, .named = true, .n_parts = 1, .parts = &p};
  for (int i = 0; i < BDL_N_DIM; i++) u.dim[i] = e->power * e->row->dim[i];
  u.scale = e->power * (e->row->scale + prefixes[e->prefix].scale);
  snprintf(name, sizeof name, "%s%.*s%s", prefixes[e->prefix].text, name_length(e->name), e->name, power[e->power]);
  entry_symbol(e, symbol);
  return intern(r, &u, NULL, out);
}

/* Is the text [s, s + n) a name or the symbol of this row?  *name is the spelling to keep. */
static bool is_name_of(const row *w, const char *s, size_t n, const char **name) {
  for (const char *t = w->names; t; t = next_name(t))
    if ((size_t)name_length(t) == n && memcmp(t, s, n) == 0) {
      *name = w->kind == ONE ? w->names : t; /* the spelling decides the order in products */
      return true;
    }
  *name = w->names;
  return strlen(w->symbol) == n && memcmp(w->symbol, s, n) == 0;
}

/* Unprefixed names first, then prefixed ones. */
static bool find_name(const char *s, size_t n, int min_kind, entry *e) {
  for (int i = 0; i < BDL_LEN(rows); i++) {
    *e = (entry){.row = &rows[i], .power = 1};
    if (rows[i].kind >= min_kind && is_name_of(&rows[i], s, n, &e->name)) return true;
  }
  for (int k = 1; k < BDL_LEN(prefixes); k++) {
    const size_t m = strlen(prefixes[k].text);
    if (n <= m || memcmp(s, prefixes[k].text, m) != 0) continue;
    for (int i = 0; i < BDL_LEN(rows); i++) {
      *e = (entry){.row = &rows[i], .prefix = k, .power = 1};
      if (rows[i].kind >= BDL_MAX(min_kind, PREFIX) && is_name_of(&rows[i], s + m, n - m, &e->name)) return true;
    }
  }
  return false;
}

static bool find_entry(const char *s, size_t n, entry *e) {
  /* fm is a femtometre as well as a fermi, and its written form belongs to the metre */
  if (find_name(s, n, BASE, e) || find_name(s, n, ONE, e)) return true;
  if (n < 2 || (s[n - 1] != '2' && s[n - 1] != '3') || !find_name(s, n - 1, ONE, e)) return false;
  e->power = s[n - 1] - '0';
  return e->row->kind == SI || e->row->kind == BASE;
}

bool bdl_unit_name_at(int i, char buf[BDL_UNIT_NAME]) {
  for (int k = 0; k < BDL_LEN(rows); k++) {
    const row *w = &rows[k];
    const int n_prefixes = w->kind >= PREFIX ? BDL_LEN(prefixes) : 1;
    const char *name = NULL;
    for (const char *t = w->names; t; t = next_name(t), i -= n_prefixes)
      if (i < n_prefixes) return snprintf(buf, BDL_UNIT_NAME, "%s%.*s", prefixes[i].text, name_length(t), t) > 0;
    for (const char *t = w->names; t && !name; t = next_name(t)) /* ohm, mol: the symbol is a name */
      if ((size_t)name_length(t) == strlen(w->symbol) && strncmp(t, w->symbol, strlen(w->symbol)) == 0) name = t;
    if (name) continue;
    if (i < n_prefixes) return snprintf(buf, BDL_UNIT_NAME, "%s%s", prefixes[i].text, w->symbol) > 0;
    i -= n_prefixes;
  }
  return false;
}

/* ---- the standard name of a dimension and size -------------------------------------------- */

/*
** Units of two different symbols with one dimension and size (Hz and Bq, J/kg as Gy and Sv, l and dm^3) do not lend
** their name to products; `any` takes the first of them all the same, as 1 / ms does.
*/
static bool find_standard(const double *dim, double scale, double factor, bool any, entry *found) {
  bool seen = false;
  char first[BDL_UNIT_NAME] = "", text[BDL_UNIT_NAME];
  for (int i = 0; i < BDL_LEN(rows); i++) {
    const row *w = &rows[i];
    const int powers = w->kind == SI || w->kind == BASE ? 3 : 1;
    for (int p = 1; p <= powers; p++) {
      int k = 0, d = 0;
      while (d < BDL_N_DIM && dim[d] == p * w->dim[d]) d++;
      if (d < BDL_N_DIM || factor != w->factor) continue;
      while (k < BDL_LEN(prefixes) && scale != p * (w->scale + prefixes[k].scale)) k++;
      if (k == BDL_LEN(prefixes) || (k > 0 && w->kind < PREFIX)) continue;
      const entry e = {w, w->names, k, p};
      entry_text(&e, text);
      if (seen && strcmp(first, text) != 0) return false;
      if (!seen) {
        *found = e;
        seen = true;
        memcpy(first, text, sizeof first);
        if (any) return true;
      }
    }
  }
  return seen;
}

/* A size and dimension without written form: the standard unit, or its numbers: "10.0^-3 * m^2 * kg / (s^4 * A)". */
static bdl_status unwritten(bdl_units *r, bdl_unit *u, const bdl_unit **out) {
  const bool dimensionless = is_one(u->dim);
  entry e = {0};
  bdl_str s;
  bdl_status st = BDL_ENOMEM;
  if (dimensionless && u->scale == 0 && u->factor == 1) {
    *out = NULL;
    return BDL_OK;
  }
  if (!dimensionless && find_standard(u->dim, u->scale, u->factor, true, &e)) return entry_unit(r, &e, out);
  u->named = false;
  u->n_parts = 0;
  bdl_str_init(&s, r->ctx);
  if (u->factor != 1) add_number(&s, u->factor);
  if (u->factor != 1 && u->factor == floor(u->factor)) bdl_str_addf(&s, ".0");
  if (u->scale != 0) {
    bdl_str_addf(&s, s.n ? " * 10.0^" : "10.0^");
    add_number(&s, u->scale);
  }
  if (!dimensionless) {
    if (s.n) bdl_str_addf(&s, " * ");
    if (find_standard(u->dim, 0, 1, true, &e)) {
      char text[BDL_UNIT_NAME];
      entry_text(&e, text);
      bdl_str_addf(&s, "%s", text);
    } else {
      part p[BDL_N_DIM];
      int n = 0;
      for (int i = 0; i < BDL_N_DIM; i++)
        if (u->dim[i] != 0) p[n++] = (part){dim_symbol[i], dim_symbol[i], u->dim[i]};
      add_parts(&s, p, n);
    }
  }
  if (!s.failed) st = intern(r, u, s.s, out);
  bdl_str_fini(&s);
  return st;
}

/* ---- products ---------------------------------------------------------------------------- */

static int compare_names(const part *p, const part *q) {
  if ((p->exp > 0) != (q->exp > 0)) return p->exp > 0 ? -1 : 1;
  for (int i = 0;; i++) {
    const int a = tolower((unsigned char)p->name[i]), b = tolower((unsigned char)q->name[i]);
    if (a != b) return a - b;
    if (!a) return 0;
  }
}

/* Adds the factors of u^e to p[0..n), equal symbols merged; -1: too many. */
static int merge(part *p, int n, const bdl_unit *u, double e) {
  for (int i = 0; u && i < u->n_parts; i++) {
    int k = 0;
    while (k < n && strcmp(p[k].symbol, u->parts[i].symbol) != 0) k++;
    if (k == MAX_PARTS) return -1;
    if (k == n) p[n++] = (part){u->parts[i].name, u->parts[i].symbol, 0};
    p[k].exp = snap(p[k].exp + e * u->parts[i].exp);
  }
  return n;
}

/* Numerator first, each side by name; exponents 0 go. */
static int arrange(part *p, int n) {
  int m = 0;
  for (int i = 0; i < n; i++)
    if (p[i].exp != 0) p[m++] = p[i];
  for (int i = 1; i < m; i++)
    for (int k = i; k > 0 && compare_names(&p[k - 1], &p[k]) > 0; k--) {
      const part t = p[k];
      p[k] = p[k - 1];
      p[k - 1] = t;
    }
  return m;
}

/* a^ea b^eb; b may be NULL.  any: take the first standard name, and drop the factors. */
static bdl_status combine(bdl_units *r, const bdl_unit *a, double ea, const bdl_unit *b, double eb, bool any,
                          const bdl_unit **out) {
  part p[MAX_PARTS];
  bdl_unit u = {.scale = snap(ea * scale_of(a) + eb * scale_of(b)), .parts = p};
  entry e = {0};
  char text[BDL_UNIT_NAME];
  bool written = a->named && (!b || b->named);
  u.factor = ea == 1 ? a->factor : pow(a->factor, ea);
  if (b) u.factor = eb < 0 ? u.factor / b->factor : u.factor * b->factor;
  for (int i = 0; i < BDL_N_DIM; i++) u.dim[i] = snap(ea * a->dim[i] + eb * dim_of(b)[i]);

  if (is_one(u.dim)) { /* only factors that are dimensionless themselves stay: rad^2, but mV / V is a number */
    if (a->named && is_one(a->dim)) u.n_parts = merge(p, 0, a, ea);
    if (b && b->named && is_one(b->dim) && u.n_parts >= 0) u.n_parts = merge(p, u.n_parts, b, eb);
    written = u.n_parts != 0;
  } else if (written) {
    u.n_parts = merge(p, 0, a, ea);
    if (u.n_parts >= 0) u.n_parts = merge(p, u.n_parts, b, eb);
  }
  if (u.n_parts < 0) return bdl_fail(r->ctx, BDL_EVALUE, "a product of more than %d different units", MAX_PARTS);
  u.n_parts = arrange(p, u.n_parts);
  if (!written || (is_one(u.dim) && u.n_parts == 0)) return unwritten(r, &u, out);
  u.named = true;
  if (is_one(u.dim) || !find_standard(u.dim, u.scale, u.factor, any, &e)) return intern(r, &u, NULL, out);
  if (any) return entry_unit(r, &e, out);
  entry_text(&e, text);
  return intern(r, &u, text, out);
}

/* An operation, remembered; 'i' is the inverse of a. */
static bdl_status apply(bdl_units *r, char op, const bdl_unit *a, const bdl_unit *b, double e, const bdl_unit **u) {
  const memo m = {.op = op, .a = a, .b = b, .e = e};
  const uint64_t h = hash_memo(&m);
  const bdl_unit *v = NULL;
  if (recall(r, &m, h, u)) return BDL_OK;
  TRY(combine(r, a, op == '^' ? e : op == 'i' ? -1 : 1, b, op == '/' ? -1 : 1, op == 'i', &v));
  TRY(remember(r, m, h, v));
  *u = v;
  return BDL_OK;
}

bdl_status bdl_unit_mul(bdl_units *r, const bdl_unit *a, const bdl_unit *b, const bdl_unit **u) {
  if (a && b) return apply(r, '*', a, b, 0, u);
  *u = a ? a : b;
  return BDL_OK;
}

bdl_status bdl_unit_div(bdl_units *r, const bdl_unit *a, const bdl_unit *b, const bdl_unit **u) {
  if (a && b) return apply(r, '/', a, b, 0, u);
  if (b) return apply(r, 'i', b, NULL, 0, u);
  *u = a;
  return BDL_OK;
}

bdl_status bdl_unit_pow(bdl_units *r, const bdl_unit *a, double e, const bdl_unit **u) {
  if (isnan(e)) return bdl_fail(r->ctx, BDL_EVALUE, "exponent of a unit is not a number");
  if (a && e != 0 && e != 1) return apply(r, '^', a, NULL, e, u);
  *u = e == 0 ? NULL : a;
  return BDL_OK;
}

bdl_status bdl_unit_si(bdl_units *r, const bdl_unit *a, const bdl_unit **u) {
  bdl_unit v = {.factor = 1};
  memcpy(v.dim, dim_of(a), sizeof v.dim);
  return unwritten(r, &v, u);
}

/* ---- reading ----------------------------------------------------------------------------- */

typedef struct reader {
  bdl_units *reg;
  const char *s; /* what is left */
  int depth;
} reader;

enum { MAX_DEPTH = 32, SAME = 1, EDIT = 2 };

/* Edit distance of two names; a change of case costs half an edit. */
static int distance(const char *a, size_t n, const char *b) {
  int d[BDL_UNIT_NAME + 1];
  const int m = (int)strlen(b);
  for (int k = 0; k <= m; k++) d[k] = EDIT * k;
  for (size_t i = 0; i < n; i++) {
    int corner = d[0];
    d[0] += EDIT;
    for (int k = 0; k < m; k++) {
      const bool alike = tolower((unsigned char)a[i]) == tolower((unsigned char)b[k]);
      const int change = corner + (a[i] == b[k] ? 0 : alike ? SAME : EDIT);
      corner = d[k + 1];
      d[k + 1] = BDL_MIN(change, BDL_MIN(d[k], d[k + 1]) + EDIT);
    }
  }
  return d[m];
}

static bdl_status unknown(bdl_units *r, const char *s, size_t n) {
  char name[BDL_UNIT_NAME], best[BDL_UNIT_NAME] = "";
  int least = n > 3 ? 2 * EDIT + 1 : EDIT + 1;
  const int shown = n > 40 ? 40 : (int)n;
  for (int i = 0; n < BDL_UNIT_NAME && bdl_unit_name_at(i, name); i++) {
    const int d = distance(s, n, name);
    if (d >= least) continue;
    least = d;
    memcpy(best, name, sizeof best);
  }
  if (!best[0]) return bdl_fail(r->ctx, BDL_EKEY, "no unit '%.*s'", shown, s);
  return bdl_fail(r->ctx, BDL_EKEY, "no unit '%.*s' (did you mean '%s'?)", shown, s, best);
}

static void skip_spaces(reader *p) { p->s += strspn(p->s, " \t\n"); }

static bool accept(reader *p, char c) {
  skip_spaces(p);
  if (*p->s != c) return false;
  p->s++;
  return true;
}

static bool at_number(const reader *p) { return isdigit((unsigned char)*p->s) || *p->s == '.'; }

static bdl_status expression(reader *p, const bdl_unit **u);

/* 1, 6, 10.0: a size without dimension; ten keeps its exponent apart */
static bdl_status number(bdl_units *r, double x, double e, const bdl_unit **u) {
  bdl_unit v = {.scale = x == 10 ? e : 0, .factor = x == 10 ? 1 : pow(x, e)};
  return unwritten(r, &v, u);
}

/* "(km/h)", as add_term writes a name with a slash: its length; 0: no such name. */
static size_t named_in_parentheses(const char *s, entry *e) {
  const size_t n = *s == '(' ? strcspn(s + 1, "()") : 0;
  return n > 0 && s[n + 1] == ')' && find_entry(s + 1, n, e) ? n + 2 : 0;
}

static bdl_status term(reader *p, const bdl_unit **u) {
  char *end = NULL;
  double e = 1, x = 0;
  bool is_number = false;
  entry entry = {0};
  skip_spaces(p);
  const size_t n_named = named_in_parentheses(p->s, &entry);
  if (n_named > 0) {
    p->s += n_named;
    TRY(entry_unit(p->reg, &entry, u));
  } else if (accept(p, '(')) {
    if (++p->depth > MAX_DEPTH) return bdl_fail(p->reg->ctx, BDL_ESYNTAX, "unit: more than %d parentheses", MAX_DEPTH);
    TRY(expression(p, u));
    p->depth--;
    if (!accept(p, ')')) return bdl_fail(p->reg->ctx, BDL_ESYNTAX, "unit: ')' expected at '%.40s'", p->s);
  } else if (at_number(p)) {
    x = strtod(p->s, &end);
    p->s = end;
    is_number = true;
  } else {
    size_t n = strcspn(p->s, "*/^()");
    const char *s = p->s;
    p->s += n;
    while (n > 0 && isspace((unsigned char)s[n - 1])) n--;
    if (n == 0) return bdl_fail(p->reg->ctx, BDL_ESYNTAX, "unit: a name expected at '%.40s'", s);
    if (n == 8 && memcmp(s, "UNITLESS", 8) == 0) *u = NULL;
    else if (!find_entry(s, n, &entry)) return unknown(p->reg, s, n);
    else TRY(entry_unit(p->reg, &entry, u));
  }
  if (accept(p, '^')) {
    e = strtod(p->s, &end);
    if (end == p->s || !isfinite(e)) return bdl_fail(p->reg->ctx, BDL_ESYNTAX, "unit: an exponent expected at '%.40s'", p->s);
    p->s = end;
  }
  return is_number ? number(p->reg, x, e, u) : bdl_unit_pow(p->reg, *u, e, u);
}

/* Left to right, as numbers are: a / b * c is (a / b) * c. */
static bdl_status expression(reader *p, const bdl_unit **u) {
  TRY(term(p, u));
  for (;;) {
    const bdl_unit *v = NULL;
    if (accept(p, '*')) {
      TRY(term(p, &v));
      TRY(bdl_unit_mul(p->reg, *u, v, u));
    } else if (accept(p, '/')) {
      TRY(term(p, &v));
      /* "1 / ms" is what the text says, and not kHz as the quotient of numbers would be */
      TRY(*u ? bdl_unit_div(p->reg, *u, v, u) : bdl_unit_pow(p->reg, v, -1, u));
    } else {
      return BDL_OK;
    }
  }
}

bdl_status bdl_unit_named(bdl_units *r, const char *text, const bdl_unit **u) {
  const memo m = {.op = 'n', .name = text};
  const uint64_t h = hash_memo(&m);
  const bdl_unit *v = NULL;
  entry e = {0};
  reader p = {.reg = r, .s = text};
  if (recall(r, &m, h, u)) return BDL_OK;
  if (find_entry(text, strlen(text), &e)) { /* km/h is a name */
    TRY(entry_unit(r, &e, &v));
  } else {
    TRY(expression(&p, &v));
    skip_spaces(&p);
    if (*p.s) return bdl_fail(r->ctx, BDL_ESYNTAX, "unit '%.40s': '*', '/' or the end expected at '%.40s'", text, p.s);
  }
  TRY(remember(r, m, h, v));
  *u = v;
  return BDL_OK;
}

-- bdl.ffi: functions of C in eager and compiled code, over lanes, with derivatives; declarations that are none.
local t = require "tests.lua.harness"
local u = bdl.units

local dir = os.tmpname()
os.remove(dir)
os.execute("mkdir " .. dir)
local cleanup <close> = setmetatable({}, {__close = function() os.execute("rm -r " .. dir) end})

local source <close> = assert(io.open(dir .. "/mine.c", "w"))
source:write [[
#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>
int64_t calls;
int64_t count(void) { return ++calls; }
float half(float x) { return x / 2; }
int next(int x) { return x + 1; }
int32_t negate(int32_t x) { return -x; }
uint32_t high(uint32_t x) { return x | 0x80000000u; }
int64_t big(int64_t x, int y) { return x * y; }
bool positive(double x) { return x > 0; }
double pick(bool yes, double a, double b) { return yes ? a : b; }
void scale(const float *x, int n, double by, float *y) { for (int i = 0; i < n; i++) y[i] = (float)(by * x[i]); }
double sums(const double *x, size_t n, const int32_t *k, int64_t *twice, bool *odd) {
  double s = 0;
  for (size_t i = 0; i < n; i++) s += x[i], twice[i] = 2 * (int64_t)k[i], odd[i] = k[i] % 2;
  return s;
}
]]
source:close()
local _, built = t.shell(("cc -shared -fPIC -o %s/libmine.so %s/mine.c"):format(dir, dir))
local m = bdl.ffi.load "libm.so.6"

t.test("numbers: called for each element of its broadcast arguments", function()
  local cbrt, hypot = m:fn "double cbrt(double)", m:fn("double hypot(double x, double y);")
  t.close(cbrt(bdl.tensor{8., 27., -1.}), {2, 3, -1})
  t.eq(cbrt(27):item(), 3)
  t.close(hypot(bdl.tensor{3., 5.}, 4), {5, 41^0.5}, 1e-6)
  t.eq(hypot(bdl.ones(2, 1), bdl.ones(3)).shape, {2, 3})
  t.eq(cbrt(bdl.zeros(0)).shape, {0})
  t.eq(hypot(3, 4).dtype, "float32")
  bdl.environ.context({precision = 64}, function()
    t.close(cbrt(bdl.tensor(2.)):item(), 2^(1/3), 1e-15)
  end)
end)

t.test("in compiled code, in loops, over lanes", function()
  local cbrt = m:fn "double cbrt(double)"
  t.close(bdl.jit(function(x) return cbrt(x) + 1 end)(bdl.tensor{8., 27.}), {3, 4})
  t.close(bdl.for_loop(function(x) return cbrt(x) end, bdl.tensor{1., 8., 27.}), {1, 2, 3})
  t.close(bdl.vmap(cbrt)(bdl.tensor{{1., 8.}, {27., 64.}}), {{1, 2}, {3, 4}})
  local s = bdl.State(bdl.tensor(8.))
  bdl.for_loop(function() s.value = cbrt(s.value) end, {length = 2})
  t.close(s.value, 2^(1/3))
end)

t.test("derivatives that are given", function()
  local hypot
  hypot = m:fn("double hypot(double, double)", {derivative = function(x, y)
    local h = hypot(x, y)
    return x/h, y/h
  end})
  local g = bdl.grad(function(x, y) return hypot(x, y):sum() end, nil, {argnums = {1, 2}})(bdl.tensor{3., 6.}, 4.)
  local dx, dy = g[1], g[2]
  t.close(dx, {0.6, 6/52^0.5}, 1e-6)
  t.close(dy, 0.8 + 4/52^0.5, 1e-6)
  local lgamma = m:fn("double sin(double)", {derivative = function(x) return bdl.cos(x) end})
  t.close(bdl.jit(bdl.grad(function(x) return lgamma(x^2) end))(0.5), 2*0.5*math.cos(0.25), 1e-6)
  t.raises(nil, "host_call", bdl.grad(m:fn "double cos(double)"), 1.)
end)

t.test("what cannot be", function()
  for _, case in ipairs{
    {"double", "a declaration was expected"}, {"double f", "a declaration was expected"}, {"double (double)", "a result and a name"},
    {"f(double)", "a result and a name"}, {"double f(dubble)", "the type 'dubble' is not known %(did you mean 'double'"},
    {"char *f(int)", "results that are pointers"}, {"double f(double **x)", "pointers to pointers"}, {"double f(double,)", "an argument is missing"},
    {"double f(double) {", "a declaration was expected"}, {"struct a f(int)", "the type 'struct a' is not known"},
    {"double f(const char *s)", "the type 'char' is not known"}, {"double f(int a[3])", "is no argument"}, {"double f(...)", "is no argument"},
  } do t.raises("SyntaxError", case[2], m.fn, m, case[1]) end
  t.raises("TypeError", "a declaration of C is a text, not a number", m.fn, m, 3)
  t.raises("KeyError", "libm.so.6 has no function 'nosuch'", m.fn, m, "double nosuch(double)")
  t.raises("IOError", "nosuch.so", bdl.ffi.load, "nosuch.so")
  t.raises("TypeError", "a path is a text", bdl.ffi.load, {})
  t.raises("TypeError", "no option 'outt'", m.fn, m, "double cos(double)", {outt = 3})
  t.raises("ValueError", "out is for pointers", m.fn, m, "double cos(double)", {out = {{1}}})
  t.raises("ValueError", "gives nothing", m.fn, m, "void cos(double)")
  t.raises("ValueError", "writes 1 array, 0 shapes are given", m.fn, m, "double frexp(double x, int *e)")
  t.raises("NotSupportedError", "17 arguments", m.fn, m, "double cos(" .. ("double,"):rep(16) .. "double)")
  local cos = m:fn "double cos(double)"
  t.raises("TypeError", "cos takes 1 arguments, not 2", cos, 1, 2)
  t.raises("UnitMismatchError", "argument 1 is in mV", cos, 1*u.mV)
  t.raises("ShapeError", "do not broadcast", m:fn "double hypot(double, double)", bdl.ones(2), bdl.ones(3))
end)

if built ~= 0 then
  t.skip("a library of one's own", "no C compiler")
  return
end
local mine = bdl.ffi.load(dir .. "/libmine.so")

t.test("types of C keep their values", function()
  t.eq(mine:fn "float half(float)"(bdl.tensor{3., 5.}), {1.5, 2.5})
  t.eq(mine:fn "int next(int)"(bdl.tensor{-2, 7}), {-1, 8})
  t.eq(mine:fn "int next(int)"(bdl.tensor{1}).dtype, "int32")
  t.eq(mine:fn "int32_t negate(int32_t)"(bdl.tensor{5, -2^31 + 1 | 0}), {-5, 2^31 - 1 | 0})
  t.eq(mine:fn "uint32_t high(uint32_t)"(bdl.tensor({3}, {dtype = "uint32"})), {0x80000003})
  bdl.environ.context({precision = 64}, function()
    t.eq(mine:fn "int64_t big(int64_t, int)"(bdl.tensor{2^40 | 0}, 3), {3 * 2^40 | 0})
  end)
  t.eq(mine:fn "bool positive(double)"(bdl.tensor{-1., 2.}), {false, true})
  t.eq(mine:fn "double pick(bool, double, double)"(bdl.tensor{true, false}, 1, 2), {1, 2})
  t.raises("TypeError", "argument 1 is an integer, not", mine:fn "int next(int)", 1.5)
end)

t.test("arrays: what is written comes out, then the result", function()
  local scale = mine:fn("void scale(const float *x, int n, double by, float *y)", {out = {{3}}})
  t.eq(scale(bdl.tensor{1., 2., 3.}, 3, 0.5), {0.5, 1, 1.5})
  t.eq(bdl.jit(function(x) return scale(x, 3, 2) end)(bdl.ones(3)), {2, 2, 2})
  t.eq(bdl.vmap(function(x) return scale(x, 3, 2) end)(bdl.ones(2, 3)), {{2, 2, 2}, {2, 2, 2}})
  local sums = mine:fn("double sums(const double *x, size_t n, const int32_t *k, int64_t *twice, bool *odd)", {out = {{2}, {2}}})
  local twice, odd, s = sums(bdl.tensor{1.5, 2.}, 2, bdl.tensor{3, 4})
  t.eq(twice, {6, 8})
  t.eq(odd, {true, false})
  t.eq(s, 3.5)
  t.raises("ShapeError", "argument 2 is one number", scale, bdl.ones(3), bdl.tensor{1, 2, 3}, 1)
end)

t.test("it runs as often as the program passes there", function()
  local count = mine:fn "int64_t count(void)"
  local f = bdl.jit(function() return count() end)
  f()
  local before = f():item()
  f()
  t.eq(f():item(), before + 2)
  t.eq(bdl.for_loop(function() return count() end, {length = 5})[-1]:item(), before + 7)
end)

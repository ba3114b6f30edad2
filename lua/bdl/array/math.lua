--- Elementwise functions.  Operands broadcast together; numbers of Lua take the dtype of the tensor they meet.
--  What a function does to units stands in lua/binding/unit_rules.c.
local core = require "bdl.core"
local base = require "bdl.array.base"
local none = require "bdl.none".none

local math_ = {}

local bind, NONE, operand, array = core.bind, base.NONE, base.operand, base.array
local unit_rule = base.unit_rule

-- ---- primitives under the names that NumPy users know ----------------------------------------------------------------

for name, prim in pairs{
  negative = "neg", sign = "sign", floor = "floor", ceil = "ceil", trunc = "trunc", exp = "exp", exp2 = "exp2",
  expm1 = "expm1", exprel = "exprel", log = "log", log2 = "log2", log10 = "log10", log1p = "log1p", sin = "sin", cos = "cos",
  tan = "tan", asin = "asin", acos = "acos", atan = "atan", sinh = "sinh", cosh = "cosh", tanh = "tanh", asinh = "asinh",
  acosh = "acosh", atanh = "atanh", erf = "erf", erfc = "erfc", erfinv = "erfinv", lgamma = "lgamma", digamma = "digamma",
  sqrt = "sqrt", rsqrt = "rsqrt", cbrt = "cbrt", sigmoid = "sigmoid", isfinite = "is_finite", isnan = "is_nan",
  bitwise_not = "not", popcount = "popcount", copy = "copy",
} do
  math_[name] = function(x) return (bind(prim, NONE, operand(x))) end
end

for name, prim in pairs{
  add = "add", subtract = "sub", multiply = "mul", floor_divide = "floordiv", mod = "mod", fmod = "rem", atan2 = "atan2",
  nextafter = "nextafter", maximum = "max", minimum = "min", bitwise_and = "and", bitwise_or = "or", bitwise_xor = "xor",
  left_shift = "shl", right_shift = "sar", eq = "eq", ne = "ne", lt = "lt", le = "le", gt = "gt", ge = "ge",
} do
  math_[name] = function(x, y) return (bind(prim, NONE, operand(x), operand(y))) end
end

--- popcount: number of bits set, of integers
--  Example:
--    print(bdl.popcount(bdl.tensor{6, 7}))
--- negative: -x
--  Example:
--    print(bdl.NAME(bdl.tensor{-1.5, 0.25, 2.}))
--- isfinite: neither infinite nor NaN?
--  Example:
--    print(bdl.NAME(bdl.tensor{-1.5, 0.25, 2.}))
--- isnan: is it NaN?
--  Example:
--    print(bdl.NAME(bdl.tensor{-1.5, 0.25, 2.}))
--- bitwise_not: ~x
--  Example:
--    print(bdl.bitwise_not(bdl.tensor{6, 5}))
--- subtract: x - y
--  Example:
--    print(bdl.NAME(bdl.tensor{3., -5.}, bdl.tensor{2., 4.}))
--- multiply: x y
--  Example:
--    print(bdl.NAME(bdl.tensor{3., -5.}, bdl.tensor{2., 4.}))
--- floor_divide: floor(x / y)
--  Example:
--    print(bdl.NAME(bdl.tensor{3., -5.}, bdl.tensor{2., 4.}))
--- fmod: x - y trunc(x / y), of the sign of x
--  Example:
--    print(bdl.NAME(bdl.tensor{3., -5.}, bdl.tensor{2., 4.}))
--- maximum: the larger of x and y; NaN wins.
--  Example:
--    print(bdl.NAME(bdl.tensor{3., -5.}, bdl.tensor{2., 4.}))
--- minimum: the smaller of x and y; NaN wins.
--  Example:
--    print(bdl.NAME(bdl.tensor{3., -5.}, bdl.tensor{2., 4.}))
--- bitwise_and: x & y
--  Example:
--    print(bdl.NAME(bdl.tensor{6, 5}, bdl.tensor{3, 1}))
--- bitwise_or: x | y
--  Example:
--    print(bdl.NAME(bdl.tensor{6, 5}, bdl.tensor{3, 1}))
--- bitwise_xor: x ~ y
--  Example:
--    print(bdl.NAME(bdl.tensor{6, 5}, bdl.tensor{3, 1}))
--- left_shift: x << y
--  Example:
--    print(bdl.NAME(bdl.tensor{6, 5}, bdl.tensor{3, 1}))
--- right_shift: x >> y, the sign kept.
--  Example:
--    print(bdl.NAME(bdl.tensor{6, 5}, bdl.tensor{3, 1}))

--- n-th derivative of digamma.
--  Example:
--    print(bdl.polygamma(1, bdl.tensor{1., 2.}))
function math_.polygamma(n, x) return (bind("polygamma", {n = n}, operand(x))) end

--- |x|; booleans count as integers.
--  Example:
--    print(bdl.NAME(bdl.tensor{-1.5, 0.25, 2.}))
function math_.abs(x) return (bind("abs", NONE, operand(x))) end

--- x / y; integers give floats.
--  Example:
--    print(bdl.NAME(bdl.tensor{3., -5.}, bdl.tensor{2., 4.}))
function math_.divide(x, y) return core.div(operand(x), operand(y)) end

--- x^y, as the operator.
--  Example:
--    print(bdl.NAME(bdl.tensor{3., -5.}, bdl.tensor{2., 4.}))
function math_.power(x, y) return core.pow(array(x), operand(y)) end

--- x^y in floats.
--  Example:
--    print(bdl.NAME(bdl.tensor{3., -5.}, bdl.tensor{2., 4.}))
function math_.float_power(x, y) return core.pow(base.float(x), operand(y)) end

--- x^2
--  Example:
--    print(bdl.NAME(bdl.tensor{-1.5, 0.25, 2.}))
function math_.square(x)
  x = operand(x)
  return (bind("integer_pow", {y = 2}, x))
end

--- 1/x in floats.
--  Example:
--    print(bdl.NAME(bdl.tensor{-1.5, 0.25, 2.}))
function math_.reciprocal(x) return core.div(1, operand(x)) end

--- Nearest integer, halves to even.  Options: decimals.
--  Example:
--    print(bdl.round(bdl.tensor{1.26, 2.5}, {decimals = 1}))
function math_.round(x, opts)
  local d = base.options("round", opts, base.names "decimals").decimals or 0
  x = base.float(x)
  if d == 0 then return (bind("round", NONE, x)) end
  local scale = 10.0 ^ d
  return bind("round", NONE, x * scale) / scale
end

-- ---- made of them ----------------------------------------------------------------------------------------------------

local function is_inf(x) return bind("eq", NONE, bind("abs", NONE, x), math.huge) end

--- Is it infinite?
--  Example:
--    print(bdl.NAME(bdl.tensor{-1.5, 0.25, 2.}))
function math_.isinf(x) return is_inf(core.mantissa(base.float(x))) end
--- Is it +inf?
--  Example:
--    print(bdl.NAME(bdl.tensor{-1.5, 0.25, 2.}))
function math_.isposinf(x) return bind("eq", NONE, core.mantissa(base.float(x)), math.huge) end
--- Is it -inf?
--  Example:
--    print(bdl.NAME(bdl.tensor{-1.5, 0.25, 2.}))
function math_.isneginf(x) return bind("eq", NONE, core.mantissa(base.float(x)), -math.huge) end

local SIGN_DTYPE = {float32 = "int32", float64 = "int64"}

--- Whether the sign bit is set: true for -0.
--  Example:
--    print(bdl.NAME(bdl.tensor{-1.5, 0.25, 2.}))
function math_.signbit(x)
  x = core.mantissa(base.array(x))
  local bits = SIGN_DTYPE[x.dtype]
  return bind("lt", NONE, bits and bind("bitcast", {dtype = bits}, x) or x, 0)
end

--- |x| with the sign of y.
--  Example:
--    print(bdl.NAME(bdl.tensor{3., -5.}, bdl.tensor{2., 4.}))
function math_.copysign(x, y)
  local size = bind("abs", NONE, base.float(x))
  return math_.where(math_.signbit(y), -size, size)
end

--- sqrt(x^2 + y^2) without overflow.
--  Example:
--    print(bdl.NAME(bdl.tensor{3., -5.}, bdl.tensor{2., 4.}))
math_.hypot = unit_rule("hypot", 2, function(x, y)
  x, y = bind("abs", NONE, base.float(x)), bind("abs", NONE, base.float(y))
  local big, small = bind("max", NONE, x, y), bind("min", NONE, x, y)
  local whole = math_.where(bind("eq", NONE, big, 0), 1.0, big)
  local ratio = small / whole
  return math_.where(is_inf(big), math.huge, big * bind("sqrt", NONE, ratio * ratio + 1))
end)

--- log(e^x + e^y) without overflow.
--  Example:
--    print(bdl.NAME(bdl.tensor{3., -5.}, bdl.tensor{2., 4.}))
math_.logaddexp = unit_rule("logaddexp", 2, function(x, y)
  x, y = base.float(x), base.float(y)
  local big = bind("max", NONE, x, y)
  local gap = x - y
  local same = bind("eq", NONE, x, y) -- infinities too, whose gap is NaN
  return math_.where(same, x + math.log(2), big + bind("log1p", NONE, bind("exp", NONE, -bind("abs", NONE, gap))))
end)

--- log2(2^x + 2^y) without overflow.
--  Example:
--    print(bdl.NAME(bdl.tensor{3., -5.}, bdl.tensor{2., 4.}))
function math_.logaddexp2(x, y) return math_.logaddexp(array(x) * math.log(2), array(y) * math.log(2)) / math.log(2) end

--- sin(pi x) / (pi x), 1 at 0.
--  Example:
--    print(bdl.NAME(bdl.tensor{-1.5, 0.25, 2.}))
math_.sinc = unit_rule("sinc", 1, function(x)
  x = base.float(x) * math.pi
  local zero = bind("eq", NONE, x, 0)
  local safe = math_.where(zero, 1.0, x)
  return math_.where(zero, 1.0, bind("sin", NONE, safe) / safe)
end)

--- log(x / (1 - x))
--  Example:
--    print(bdl.logit(bdl.tensor{0.2, 0.5}))
math_.logit = unit_rule("logit", 1, function(x)
  x = base.float(x)
  return bind("log", NONE, x) - bind("log1p", NONE, -x)
end)

--- degrees, rad2deg: radians in degrees.
--  Example:
--    print(bdl.NAME(bdl.tensor{0., 1.}))
math_.degrees = unit_rule("rad2deg", 1, function(x) return base.float(x) * (180 / math.pi) end)
--- radians, deg2rad: degrees in radians.
--  Example:
--    print(bdl.NAME(bdl.tensor{0., 1.}))
math_.radians = unit_rule("deg2rad", 1, function(x) return base.float(x) * (math.pi / 180) end)
math_.rad2deg, math_.deg2rad = math_.degrees, math_.radians

--- 0 below 0, h at 0, 1 above; NaN stays.
--  Example:
--    print(bdl.heaviside(bdl.tensor{-1., 0., 2.}, 0.5))
math_.heaviside = unit_rule("heaviside", 2, function(x, h)
  x = base.float(x)
  local step = math_.where(bind("gt", NONE, x, 0), 1.0, math_.where(bind("lt", NONE, x, 0), 0.0, operand(h)))
  return math_.where(bind("is_nan", NONE, x), x, step)
end)

--- fmax: the larger of x and y; a number wins over NaN.
--  Example:
--    print(bdl.NAME(bdl.tensor{3., -5.}, bdl.tensor{2., 4.}))
--- fmin: the smaller of x and y; a number wins over NaN.
--  Example:
--    print(bdl.NAME(bdl.tensor{3., -5.}, bdl.tensor{2., 4.}))
function math_.fmax(x, y)
  x, y = base.float(x), base.float(y)
  return math_.where(bind("is_nan", NONE, y), x, math_.where(bind("is_nan", NONE, x), y, bind("max", NONE, x, y)))
end

function math_.fmin(x, y)
  x, y = base.float(x), base.float(y)
  return math_.where(bind("is_nan", NONE, y), x, math_.where(bind("is_nan", NONE, x), y, bind("min", NONE, x, y)))
end

local clip = unit_rule("clip", 3, function(x, lo, hi)
  return bind("min", NONE, bind("max", NONE, operand(x), operand(lo)), operand(hi))
end)
local at_least = unit_rule("clip", 2, function(x, lo) return (bind("max", NONE, operand(x), operand(lo))) end)
local at_most = unit_rule("clip", 2, function(x, hi) return (bind("min", NONE, operand(x), operand(hi))) end)

--- x within lo..hi; bdl.none leaves a side open.  Options: min, max.
--  Example:
--    print(bdl.clip(bdl.tensor{-1., 0.5, 2.}, 0., 1.))
function math_.clip(x, lo, hi)
  if base.is_options(lo) then
    local opts = base.options("clip", lo, base.names "min max")
    lo, hi = opts.min, opts.max
  end
  if rawequal(lo, none) then lo = nil end
  if rawequal(hi, none) then hi = nil end
  if lo ~= nil and hi ~= nil then return clip(x, lo, hi) end
  if lo ~= nil then return at_least(x, lo) end
  return hi ~= nil and at_most(x, hi) or x
end

--- where(p, x, y): x where p is true (not 0), else y.
--  Example:
--    print(bdl.where(bdl.tensor{true, false}, 1., bdl.tensor{5., 6.}))
function math_.where(p, x, y)
  if x == nil or y == nil then
    core.hint "bdl.nonzero(p) gives the indices where p is true"
    core.fail("TypeError", 2, "where: where(condition, x, y) takes three values")
  end
  if type(p) ~= "boolean" then p = base.bool(p) end
  return (bind("select", NONE, p, operand(x), operand(y)))
end

--- NaN to 0 and infinities to the largest numbers.  Options: nan, posinf, neginf.
--  Example:
--    print(bdl.NAME(bdl.tensor{-1.5, 0.25, 2.}))
math_.nan_to_num = unit_rule("nan_to_num", 1, function(x, opts)
  opts = base.options("nan_to_num", opts, base.names "nan posinf neginf")
  x = array(x)
  if base.KIND[x.dtype] < 2 then return x end
  local big = x.dtype == "float32" and 0x1.fffffep127 or 0x1.fffffffffffffp1023
  x = math_.where(bind("is_nan", NONE, x), opts.nan or 0.0, x)
  x = math_.where(math_.isposinf(x), opts.posinf or big, x)
  return math_.where(math_.isneginf(x), opts.neginf or -big, x)
end)

-- ---- logic -----------------------------------------------------------------------------------------------------------

--- logical_and: are both true (not 0)?
--  Example:
--    print(bdl.NAME(bdl.tensor{true, false}, bdl.tensor{true, true}))
--- logical_or: is one true (not 0)?
--  Example:
--    print(bdl.NAME(bdl.tensor{true, false}, bdl.tensor{true, true}))
--- logical_xor: is exactly one true (not 0)?
--  Example:
--    print(bdl.NAME(bdl.tensor{true, false}, bdl.tensor{true, true}))
for name, prim in pairs{logical_and = "and", logical_or = "or", logical_xor = "xor"} do
  math_[name] = unit_rule(name, 2, function(x, y) return (bind(prim, NONE, base.bool(x), base.bool(y))) end)
end

--- Is it false (0)?
--  Example:
--    print(bdl.NAME(bdl.tensor{-1.5, 0.25, 2.}))
math_.logical_not = unit_rule("logical_not", 1, function(x) return (bind("not", NONE, base.bool(x))) end)

local CLOSE = base.names "rtol atol equal_nan"

local function is_close(x, y, opts)
  x, y = base.float(x), base.float(y)
  local gap = bind("abs", NONE, x - y)
  local near = bind("le", NONE, gap, bind("abs", NONE, y) * (opts.rtol or 1e-5) + (opts.atol or 1e-8))
  near = bind("and", NONE, near, bind("is_finite", NONE, y)) -- an infinite y is close to itself only
  near = bind("or", NONE, near, bind("eq", NONE, x, y))
  if not opts.equal_nan then return near end
  return bind("or", NONE, near, bind("and", NONE, bind("is_nan", NONE, x), bind("is_nan", NONE, y)))
end

--- |x - y| <= atol + rtol |y|, elementwise.  Options: rtol (1e-5), atol (1e-8), equal_nan.
--  Example:
--    print(bdl.NAME(bdl.tensor{3., -5.}, bdl.tensor{2., 4.}))
math_.isclose = unit_rule("isclose", 2, function(x, y, opts) return is_close(x, y, base.options("isclose", opts, CLOSE)) end)

--- Whether all of p: a boolean of Lua where it is known, so that assert and `if` mean what they say.
local function every(p)
  local axes = {}
  for k = 1, p.ndim do axes[k] = k - 1 end
  local z = bind("reduce_and", {axes = axes}, p)
  if core.is_traced(z) then return z end
  return core.item(z)
end

--- Whether all elements are close: a boolean of Lua, a tensor while tracing.
--  Example:
--    print(bdl.NAME(bdl.ones(2), bdl.tensor{1., 1.}))
math_.allclose = unit_rule("allclose", 2, function(x, y, opts)
  return every(is_close(x, y, base.options("allclose", opts, CLOSE)))
end)

--- Whether shapes and all elements are equal: a boolean of Lua, a tensor while tracing.
--  Example:
--    print(bdl.NAME(bdl.ones(2), bdl.tensor{1., 1.}))
math_.array_equal = unit_rule("array_equal", 2, function(x, y)
  x, y = array(x), array(y)
  if x.shape ~= y.shape then return false end
  return every(bind("eq", NONE, x, y))
end)

return math_

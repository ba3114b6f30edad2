--- Bijections between all real numbers x and the values y that a parameter may have:  y = t:forward(x) (t(x)),  x = t:inverse(y),
--  t:log_abs_det_jacobian(x, y) summed over the last axis.  lower, upper and y may have a unit; x has none.
--  Source: Carpenter et al. (2017), Stan: a probabilistic programming language. J Stat Softw 76; its reference manual,
--    Constraint transforms.
--  Example:
--    local t = bdl.nn.NAME()
--    print(t(bdl.tensor{-1., 0., 2.}), t:inverse(t(bdl.tensor{0.5, 1.})))
local core = require "bdl.core"
local class = require "bdl.class"
local A = require "bdl.array"
local args = require "bdl.args"
local base = require "bdl.array.base"
local functional = require "bdl.functional"

local M = {}

--- To be extended by forward(x) and inverse(y).
--  Example:
--    local Twice = bdl.nn.Transform:extend "Twice"
--    function Twice:forward(x) return 2 * x end
--    function Twice:inverse(y) return y / 2 end
local Transform = class "Transform"
M.Transform = Transform

function Transform:__call(x) return self:forward(x) end

for _, name in ipairs{"forward", "inverse", "log_abs_det_jacobian"} do
  Transform[name] = function(self)
    core.fail("NotImplementedError", 2, "%s has no %s", class.typename(self), name)
  end
end

local sigmoid, softplus, log_sigmoid = functional.sigmoid, functional.softplus, functional.log_sigmoid

--- log(e^y - 1), the inverse of softplus.
local function softplus_inverse(y) return y + A.log(-A.expm1(-y)) end

--- e^x; x beyond 20 counts as 20.
local function bounded_exp(x) return A.exp(A.minimum(x, 20.0)) end

local function logit(p) return A.log(p) - A.log1p(-p) end

--- y in units of `like`, a plain number.
local function numbers(y, like)
  local unit = core.unit_of(like)
  return core.mantissa(unit and core.convert(y, unit) or y)
end

local function in_unit(y, like)
  local unit = core.unit_of(like)
  return unit and core.with_unit(y, unit) or y
end

local function sum_last(x)
  x = base.array(x)
  return x.ndim == 0 and x or A.sum(x, {axis = -1})
end

--- Class `name` with arguments `spec`, forward(x, self), inverse(y, self).  log_slope(x, self): (optional) log |dy/dx|.
local function define(name, spec, forward, inverse, log_slope, check)
  local Class = Transform:extend(name)
  M[name] = Class
  function Class:__init(...)
    local a = args(spec, ...)
    for _, key in ipairs(spec) do self[key] = a[key] end
    if check then check(self) end
  end
  function Class:forward(x) return forward(base.array(x), self) end
  function Class:inverse(y) return inverse(base.array(y), self) end
  if log_slope then
    function Class:log_abs_det_jacobian(x) return sum_last(log_slope(base.float(x), self)) end
  end
end

local function same(x) return x end

--- y = x
define("IdentityT", {}, same, same, function(x) return 0 * x end)

-- ---- intervals ---------------------------------------------------------------------------------------------------------------

local BOTH = {"lower", "upper"}

--- Errors: ValueError, the interval is empty.
local function ordered(t)
  local empty = A.any(A.ge(base.array(t.lower), t.upper))
  if not core.is_traced(empty) and core.item(empty) then
    core.fail("ValueError", 4, "nn.%s: lower must be less than upper, not %s and %s", class.of(t).name, tostring(t.lower),
              tostring(t.upper))
  end
end

--- lower + (upper - lower) p,  p = squash(x) within 0..1.
local function interval(name, spec, squash, unsquash, log_slope, check)
  define(name, spec, function(x, t) return t.lower + (t.upper - t.lower) * squash(x, t) end,
         function(y, t) return unsquash(core.mantissa((y - t.lower) / (t.upper - t.lower)), t) end,
         log_slope and function(x, t) return A.log(numbers(t.upper - t.lower, t.lower)) + log_slope(x, t) end, function(t)
    ordered(t)
    if check then check(t) end
  end)
end

--- y = lower + (upper - lower) / (1 + e^-x)
--  Example:
--    local t = bdl.nn.NAME(0.0, 1.0)
--    print(t(bdl.tensor{-1., 0., 2.}), t:inverse(t(bdl.tensor{0.5, 1.})))
interval("SigmoidT", BOTH, function(x) return sigmoid(x) end, logit, function(x) return log_sigmoid(x) + log_sigmoid(-x) end)

--- y = lower + (upper - lower) / (1 + e^(-beta x))
--  beta : steepness
--  Example:
--    local t = bdl.nn.NAME(0.0, 1.0)
--    print(t(bdl.tensor{-1., 0., 2.}), t:inverse(t(bdl.tensor{0.5, 1.})))
--  Errors: ValueError, beta is not positive and finite.
interval("ScaledSigmoidT", {"lower", "upper", "beta", beta = 1.0}, function(x, t) return sigmoid(t.beta * x) end,
         function(p, t) return logit(p) / t.beta end,
         function(x, t) return math.log(t.beta) + log_sigmoid(t.beta * x) + log_sigmoid(-t.beta * x) end, function(t)
  if not (t.beta > 0 and t.beta < math.huge) then
    core.fail("ValueError", 4, "nn.ScaledSigmoidT: beta is positive and finite, not %s", tostring(t.beta))
  end
end)

--- y = lower + (upper - lower) (tanh(x) + 1)/2
--  Example:
--    local t = bdl.nn.NAME(0.0, 1.0)
--    print(t(bdl.tensor{-1., 0., 2.}), t:inverse(t(bdl.tensor{0.5, 1.})))
interval("TanhT", BOTH, function(x) return (A.tanh(x) + 1) / 2 end, function(p) return A.atanh(2 * p - 1) end,
         function(x) return math.log(2) + log_sigmoid(2 * x) + log_sigmoid(-2 * x) end)
--- y = lower + (upper - lower) (x / (1 + |x|) + 1)/2
--  Example:
--    local t = bdl.nn.NAME(0.0, 1.0)
--    print(t(bdl.tensor{-1., 0., 2.}), t:inverse(t(bdl.tensor{0.5, 1.})))
interval("SoftsignT", BOTH, function(x) return (x / (1 + A.abs(x)) + 1) / 2 end, function(p)
  local z = 2 * p - 1
  return z / (1 - A.abs(z))
end, function(x) return -math.log(2) - 2 * A.log1p(A.abs(x)) end)

--- ClipT: y = min(max(x, lower), upper), also on the way back.
--  Example:
--    local t = bdl.nn.NAME(0.0, 1.0)
--    print(t(bdl.tensor{-1., 0., 2.}), t:inverse(t(bdl.tensor{0.5, 1.})))
local function clip(x, t) return A.minimum(A.maximum(x, t.lower), t.upper) end
define("ClipT", BOTH, clip, clip, nil, ordered)

-- ---- half lines --------------------------------------------------------------------------------------------------------------

--- y = lower + log(1 + e^x)
define("SoftplusT", {"lower", lower = 0.0}, function(x, t) return in_unit(softplus(x), t.lower) + t.lower end,
       function(y, t) return softplus_inverse(numbers(y - t.lower, t.lower)) end, function(x) return log_sigmoid(x) end)
--- y = upper - log(1 + e^-x)
define("NegSoftplusT", {"upper", upper = 0.0}, function(x, t) return t.upper - in_unit(softplus(-x), t.upper) end,
       function(y, t) return -softplus_inverse(numbers(t.upper - y, t.upper)) end, function(x) return log_sigmoid(-x) end)

--- LogT, ExpT: y = lower + e^x; x beyond 20 counts as 20.
for _, name in ipairs{"LogT", "ExpT"} do
  define(name, {"lower", lower = 0.0}, function(x, t) return t.lower + in_unit(bounded_exp(x), t.lower) end,
         function(y, t) return A.log(numbers(y - t.lower, t.lower)) end, same)
end

--- y = e^x; x beyond 20 counts as 20.
define("PositiveT", {}, bounded_exp, function(y) return A.log(y) end, same)
--- y = -log(1 + e^-x)
--  Example:
--    local t = bdl.nn.NAME()
--    print(t(bdl.tensor{-1., 0., 2.}), t:inverse(t(bdl.tensor{-0.5, -1.})))
define("NegativeT", {}, function(x) return -softplus(-x) end, function(y) return -softplus_inverse(-y) end,
       function(x) return log_sigmoid(-x) end)

--- y = lower_bound + max(x, 0)
define("ReluT", {"lower_bound", lower_bound = 0.0}, function(x, t) return functional.relu(x) + t.lower_bound end,
       function(y, t) return functional.relu(y - t.lower_bound) end)

-- ---- lines -------------------------------------------------------------------------------------------------------------------

--- y = scale x + shift.  Errors: ValueError, scale 0.
--  Example:
--    local t = bdl.nn.NAME(2.0, 1.0)
--    print(t(bdl.tensor{-1., 0., 2.}), t:inverse(t(bdl.tensor{0.5, 1.})))
define("AffineT", {"scale", "shift"}, function(x, t) return t.scale * x + t.shift end,
       function(y, t) return (y - t.shift) / t.scale end, function(x, t) return 0 * x + A.log(A.abs(core.mantissa(t.scale))) end, function(t)
  if core.item(A.any(A.eq(core.mantissa(t.scale), 0))) then
    core.fail("ValueError", 4, "nn.AffineT: a scale of 0 has no inverse")
  end
end)

--- y = (x^lmbda - 1) / lmbda, log x for 0.
--  Source: Box & Cox (1964), An analysis of transformations. J R Stat Soc B 26.
--  Example:
--    local t = bdl.nn.NAME(0.5)
--    print(t(bdl.tensor{0.5, 1.}), t:inverse(t(bdl.tensor{0.5, 1.})))
define("PowerT", {"lmbda", lmbda = 0.5}, function(x, t)
  if math.abs(t.lmbda) < 1e-10 then return A.log(x) end
  return (core.pow(x, t.lmbda) - 1) / t.lmbda
end, function(y, t)
  if math.abs(t.lmbda) < 1e-10 then return A.exp(y) end
  return core.pow(y * t.lmbda + 1, 1 / t.lmbda)
end)

-- ---- vectors -----------------------------------------------------------------------------------------------------------------

local function part(x, from, to) return base.slice_axis(x, x.ndim - 1, from, to) end

--- Ascending:  y_1 = x_1,  y_k = y_(k-1) + softplus(x_k).
define("OrderedT", {}, function(x)
  local n = x.shape[-1]
  local first = part(x, 0, 1)
  return base.concatenate({first, first + A.cumsum(softplus(part(x, 1, n)), {axis = -1})}, x.ndim - 1)
end, function(y)
  local n = y.shape[-1]
  return base.concatenate({part(y, 0, 1), softplus_inverse(part(y, 1, n) - part(y, 0, n - 1))}, y.ndim - 1)
end)

--- Numbers as one more positive ones of sum 1, by breaking a stick:  y_k = s(x_k) prod_(j<k) (1 - s(x_j)).
define("SimplexT", {}, function(x)
  local n, z = x.shape[-1], sigmoid(x)
  local left = A.cumprod(1 - z, {axis = -1})
  local before = base.concatenate({0 * part(left, 0, 1) + 1, part(left, 0, n - 1)}, x.ndim - 1)
  return base.concatenate({z * before, part(left, n - 1, n)}, x.ndim - 1)
end, function(y)
  local eps = y.dtype == "float64" and 2.0 ^ -52 or 2.0 ^ -23
  local head = part(y, 0, y.shape[-1] - 1)
  local left = 1 - A.cumsum(head, {axis = -1}) + head
  return logit(A.clip(head / (left + eps), eps, 1 - eps))
end)

--- y = x / |x|
define("UnitVectorT", {}, function(x) return x / A.sqrt(A.sum(x * x, {axis = -1, keepdims = true}) + 1e-8) end, same)

-- ---- of transforms -----------------------------------------------------------------------------------------------------------

--- Transforms one after the other:  ChainT(t1, t2, ..): y = .. t2(t1(x)).
--  Example:
--    local t = bdl.nn.ChainT(bdl.nn.ExpT(0.0), bdl.nn.AffineT(2.0, 1.0))
--    print(t(bdl.tensor{-1., 0., 2.}))
local ChainT = Transform:extend "ChainT"
M.ChainT = ChainT

function ChainT:__init(...)
  self.transforms = {...}
  for i, t in ipairs(self.transforms) do
    if not class.isa(t, Transform) then
      core.fail("TypeError", 2, "nn.ChainT: number %d is a %s, not a Transform", i, class.typename(t))
    end
  end
end

function ChainT:forward(x)
  for _, t in ipairs(self.transforms) do x = t:forward(x) end
  return x
end

function ChainT:inverse(y)
  for i = #self.transforms, 1, -1 do y = self.transforms[i]:inverse(y) end
  return y
end

function ChainT:log_abs_det_jacobian(x)
  local total = sum_last(0 * base.float(x))
  for _, t in ipairs(self.transforms) do
    total = total + t:log_abs_det_jacobian(x)
    x = t:forward(x)
  end
  return total
end

--- y = transform(x) where mask is true, x elsewhere; safe_value stands in for what is not transformed.
--  Example:
--    local t = bdl.nn.MaskedT(bdl.tensor{true, false}, bdl.nn.ExpT(0.0))
--    print(t(bdl.tensor{2., 2.}))
define("MaskedT", {"mask", "transform", "safe_value", safe_value = 1.0}, function(x, t)
  return A.where(t.mask, t.transform:forward(A.where(t.mask, x, t.safe_value)), x)
end, function(y, t) return A.where(t.mask, t.transform:inverse(A.where(t.mask, y, t.safe_value)), y) end)

return M

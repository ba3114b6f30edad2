--- Initialisers entry by entry: constants, distributions, and what mixes them.
--  Parameters are numbers, quantities, or arrays that broadcast against the shape from the right.
--  Example:
--    print(bdl.init.NAME(){2, 3})
local core = require "bdl.core"
local array = require "bdl.array"
local base = require "bdl.init.base"
local class = require "bdl.class"
local none = require "bdl.none".none

local M = {}

local function random() return require "bdl.random" end

local function initializer(name, rows, make) return base.initializer(M, name, rows, make) end

--- Filled with a value, which may be a quantity or an array.
--  Example:
--    print(bdl.init.Constant(2*bdl.units.mV){2, 3})
local Constant = initializer("Constant", {{"value", free = true}}, function(self, sizes)
  return base.filled(self.value, sizes)
end)
function Constant:check()
  local x = base.real(self.value)
  if type(x) == "userdata" and not core.is_tensor(x) and core.unit_of(x) then x = 1.0 * x end  -- u.mV alone is one of it
  if type(x) ~= "number" and not core.is_tensor(x) then
    core.fail("TypeError", 3, "init.Constant: value is a number or an array, not a %s", class.typename(x))
  end
  self.value = x
end

--- Filled with 0.
initializer("ZeroInit", {}, function(_, sizes) return base.filled(0.0, sizes) end)
--- Filled with 1.
initializer("OneInit", {}, function(_, sizes) return base.filled(1.0, sizes) end)

-- ---- distributions --------------------------------------------------------------------------------------------------

--- mean + std N(0, 1).
initializer("Normal", {{"mean", 0.0, array = true}, {"std", 1.0, array = true, least = 0}}, function(self, sizes)
  return random().normal(self.mean, self.std, {size = sizes})
end)

--- Stop where bounds are known and not in order.
local function check_order(self)
  local low, high = self.low, self.high
  if low == nil or high == nil then return end
  local gap = high - low
  if core.is_tensor(gap) then
    if core.is_traced(gap) or gap.ndim > 0 then return end
    gap = core.item(core.mantissa(gap))
  end
  if not (gap > 0) then
    core.fail("ValueError", 3, "%s: low must be less than high, not %s and %s", class.qualified_name(class.of(self)),
              tostring(low), tostring(high))
  end
end

--- Evenly between low and high.
initializer("Uniform", {{"low", 0.0, array = true}, {"high", 1.0, array = true}}, function(self, sizes)
  return random().uniform(self.low, self.high, {size = sizes})
end).check = check_order

--- exp of a normal, so that the result has this mean and std.
--  Example:
--    print(bdl.init.NAME(1.0, 0.5){2, 3})
initializer("LogNormal", {{"mean", array = true, above = 0}, {"std", array = true, least = 0}}, function(self, sizes)
  local ratio = array.log1p((self.std / self.mean)^2)
  return self.mean * random().lognormal(-0.5 * ratio, array.sqrt(ratio), {size = sizes})
end)

--- scale times a gamma variable of the shape k: density x^(k-1) e^-x.   Errors of all shapes: ValueError, not above 0.
--  Example:
--    print(bdl.init.NAME(2.0){2, 3})
initializer("Gamma", {{"shape", above = 0}, {"scale", 1.0, array = true, least = 0}}, function(self, sizes)
  return random().gamma(self.shape, self.scale, {size = sizes})
end)

--- Density e^(-x/scale) / scale.
initializer("Exponential", {{"scale", 1.0, array = true, least = 0}}, function(self, sizes)
  return random().exponential(self.scale, {size = sizes})
end)

--- scale times a Weibull variable of the shape k: (-log(1 - U))^(1/k).
--  Example:
--    print(bdl.init.NAME(2.0){2, 3})
initializer("Weibull", {{"shape", above = 0}, {"scale", 1.0, array = true, least = 0}}, function(self, sizes)
  return random().weibull(self.shape, {size = sizes}) * self.scale
end)

--- low + (high - low) times a beta variable: density x^(alpha-1) (1-x)^(beta-1).
--  Example:
--    print(bdl.init.NAME(2.0, 2.0){2, 3})
initializer("Beta", {
  {"alpha", above = 0}, {"beta", above = 0}, {"low", 0.0, array = true}, {"high", 1.0, array = true},
}, function(self, sizes)
  return self.low + (self.high - self.low) * random().beta(self.alpha, self.beta, {size = sizes})
end).check = check_order

--- A normal within [low, high], either of which may be absent; mean and std are those of the whole normal.
initializer("TruncatedNormal", {
  {"mean", 0.0, array = true}, {"std", 1.0, array = true, least = 0}, {"low", none, array = true}, {"high", none, array = true},
}, function(self, sizes)
  local lo, hi = self.low, self.high
  if lo == nil then lo = self.mean - math.huge * self.std end
  if hi == nil then hi = self.mean + math.huge * self.std end
  local x = random().truncated_normal(lo, hi, self.mean, self.std, {size = sizes})
  return array.minimum(array.maximum(x, lo), hi)
end).check = check_order

-- ---- mixtures -------------------------------------------------------------------------------------------------------

local function check_initializers(who, list)
  for i, x in ipairs(list) do
    if not class.isa(x, base.Initializer) then
      core.fail("TypeError", 3, "init.%s: part %d is an initialiser, not a %s", who, i, class.typename(x))
    end
  end
end

--- Each entry from one of the distributions, chosen with probabilities `weights` (equal ones).
--  Example:
--    print(bdl.init.Mixture{{bdl.init.Constant(1), bdl.init.Normal(0, 1)}}{2, 3})
local Mixture = initializer("Mixture", {
  {"distributions", free = true}, {"weights", none, list = true, least = 0},
}, function(self, sizes)
  local choice = random().choice(#self.distributions, {size = sizes, p = core.tensor(self.weights)})
  local x = self.distributions[1]:make(sizes)
  for i = 2, #self.distributions do x = array.where(choice:eq(i - 1), self.distributions[i]:make(sizes), x) end
  return x
end)
function Mixture:check()
  local list, sum = self.distributions, 0
  if type(list) ~= "table" or getmetatable(list) ~= nil or #list == 0 then
    core.fail("ValueError", 3, "init.Mixture: distributions is a list of at least one initialiser")
  end
  check_initializers("Mixture", list)
  if not self.weights then
    self.weights = {}
    for i = 1, #list do self.weights[i] = 1 / #list end
  end
  for _, w in ipairs(self.weights) do sum = sum + w end
  if #self.weights ~= #list or math.abs(sum - 1) > 1e-6 then
    core.fail("ValueError", 3, "init.Mixture: %d distributions need %d weights of the sum 1, not %d of the sum %g", #list, #list,
              #self.weights, sum)
  end
end

--- From true_dist where condition_fn(positions) holds, else from false_dist; positions: i32[n], row-major from 1.
--  Example:
--    local first = bdl.init.Conditional(function(i) return i:lt(3) end, bdl.init.Constant(1), bdl.init.Constant(0))
--    print(first{4})
local Conditional = initializer("Conditional", {
  {"condition_fn", free = true}, {"true_dist", free = true}, {"false_dist", free = true},
}, function(self, sizes)
  local n = 1
  for _, size in ipairs(sizes) do n = n * size end
  local where = self.condition_fn(array.arange(1, n + 1))
  if not core.is_tensor(where) or where.ndim ~= 1 or where.shape[1] ~= n then
    core.fail("ValueError", 3, "init.Conditional: condition_fn gives a bool for each of the %d positions", n)
  end
  return array.where(where:reshape(sizes), self.true_dist:make(sizes), self.false_dist:make(sizes))
end)
function Conditional:check()
  if type(self.condition_fn) ~= "function" then
    core.fail("TypeError", 3, "init.Conditional: condition_fn is a function, not a %s", class.typename(self.condition_fn))
  end
  check_initializers("Conditional", {self.true_dist, self.false_dist})
end

--- base_dist * scale_factor
--  Example:
--    print(bdl.init.Scaled(bdl.init.Normal(0, 1), 0.1){2, 3})
function M.Scaled(base_dist, scale_factor) return base_dist * scale_factor end

--- base_dist:clip(min_val, max_val)
--  Example:
--    print(bdl.init.Clipped(bdl.init.Normal(0, 1), -1, 1){2, 3})
function M.Clipped(base_dist, min_val, max_val) return base_dist:clip(min_val, max_val) end

--- An initialiser, then functions: Compose(init, f, g) = init | f | g.
--  Example:
--    print(bdl.init.Compose(bdl.init.Normal(0, 1), bdl.abs){2, 3})
function M.Compose(first, ...)
  check_initializers("Compose", {first or none})
  for _, f in ipairs{...} do first = first:map(f) end
  return first
end

return M

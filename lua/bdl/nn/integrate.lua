--- Exponential Euler:  x' = x + dt exprel(dt J) f(x),  J = df/dx,  exprel(z) = (e^z - 1)/z.
--  Exact when f is linear in x.  J is taken element by element; all other arguments of f are constants of the step.
--  Source: Borgers & Nectow (2013), Exponential time differencing for Hodgkin-Huxley-like ODEs. SIAM J Sci Comput 35.
--  Example:
--    bdl.environ.set{dt = 0.1*bdl.units.ms}
--    print(bdl.nn.exp_euler_step(function(v) return -v / (10*bdl.units.ms) end, bdl.ones(2)))
local core = require "bdl.core"
local class = require "bdl.class"
local product = require "bdl.augment.product"
local environ = require "bdl.environ"
local units = require "bdl.units"

local M = {}

local NONE = {}

local function callable(x)
  return type(x) == "function" or (type(x) == "table" and getmetatable(x) and getmetatable(x).__call ~= nil)
end

local function check(x)
  if not core.is_tensor(x) then x = core.tensor(x) end
  if not x.dtype:find "^float" then
    core.fail("ValueError", 3, "exp_euler_step: the variable must be a float, not %s", x.dtype)
  end
  return x
end

--- dt.  Errors: ValueError, it goes back: decay would grow.
local function step_time()
  local dt = environ.get "dt"
  if not core.is_traced(dt) and (type(dt) == "number" and dt or core.item(core.mantissa(dt))) < 0 then
    core.fail("ValueError", 3, "exp_euler_step: dt is a time > 0, not %s", tostring(dt))
  end
  return dt
end

--- dt times the rate (1/tau, nil: 1): joined first, so that constant ones cost one multiplication.
local function span(rate)
  local h = step_time()
  return rate ~= nil and h * rate or h
end

local function exprel(x) return core.bind("exprel", NONE, x) end

--- h times the slope of f, a plain number.  Errors: UnitMismatchError.
local function exponent(h, slope, x)
  local z = h * slope
  if not units.is_dimensionless(z) then
    core.fail("UnitMismatchError", 3, "exp_euler_step: f gives <%s> for x in <%s> and dt in <%s>; it must give x per time",
              tostring(units.get_unit(slope * x)), tostring(units.get_unit(x)), tostring(units.get_unit(environ.get "dt")))
  end
  return z
end

--- One step of  dx/dt = rate f(x, ..).
function M.step(f, x, rate, ...)
  x = check(x)
  local h = span(rate)
  local n, args = select("#", ...), {...}
  local value, slope = product.value_and_derivative(n == 0 and f or function(v) return f(v, table.unpack(args, 1, n)) end, x)
  return x + (h * exprel(exponent(h, slope, x))) * value
end

--- The same for an f that is linear in x: f(0) and its slope say all, and what does not depend on x folds.
function M.linear_step(f, x, rate)
  x = check(x)
  local h = span(rate)
  local origin, slope = product.value_and_derivative(f, core.with_unit(core.tensor(0.0, x.dtype), core.unit_of(x)))
  return x + (h * exprel(exponent(h, slope, x))) * (origin + slope * x)
end

--- dt/tau.  Errors: UnitMismatchError, tau is no time as dt is one.
local function steps_per(tau)
  local dt = step_time()
  local z = dt / tau
  if not units.is_dimensionless(z) then
    core.fail("UnitMismatchError", 4, "a time constant of <%s> with dt in <%s>", tostring(units.get_unit(tau)), tostring(units.get_unit(dt)))
  end
  return z
end

--- The same for tau dx/dt = target - x:  x e^-z + (1 - e^-z) target,  z = dt/tau.
function M.relax(x, target, tau)
  local z = steps_per(tau)
  return x * core.bind("exp", NONE, -z) - core.bind("expm1", NONE, -z) * target
end

--- The same for tau dx/dt = -x.
function M.decay(x, tau) return x * core.bind("exp", NONE, -steps_per(tau)) end

--- exp_euler_step(f, x, ...): one step of dx/dt = f(x, ...), dt from the environ.
--  exp_euler_step(f, g, x, ...): of dx = f(x, ...) dt + g(x, ...) dW, with g sqrt(dt) N(0, 1) added.
--  Errors: ValueError x is no float; UnitMismatchError f is not x per time, or g not x per root of time.
function M.exp_euler_step(f, ...)
  if not callable(f) then core.fail("TypeError", 2, "exp_euler_step: a function was expected, not a %s", class.typename(f)) end
  local g = ...
  if not callable(g) then return M.step(f, (...), nil, select(2, ...)) end
  local x = check((select(2, ...)))
  local noise = g(select(2, ...))
  local root = core.pow(step_time(), 0.5)
  return M.step(f, x, nil, select(3, ...)) + noise * root * require "bdl.random".randn(table.unpack(x.shape))
end

return M

--- What inputs share: objects that give an array when called, their arguments as numbers in the units of dt and of the
--  input.
local core = require "bdl.core"
local class = require "bdl.class"
local environ = require "bdl.environ"
local parameters = require "bdl.parameters"
local window = require "bdl.nn.window"

local M = {}

--- An input, to be extended: a subclass has a `duration` and defines generate(self) -> [steps] or [steps, n].
--  Example:
--    bdl.environ.set{dt = 1*bdl.units.ms}
--    local Ones = bdl.input.Input:extend "Ones"
--    function Ones:generate() return bdl.ones(10) end
--    print(Ones()())
local Input = class "Input"
M.Input = Input

--- The array.  It is kept while dt and the precision stay, so that noise is the same wherever the object is used;
--  recompute = true: anew.
function Input:__call(recompute)
  local dt, precision, made = environ.get "dt", core.precision(), rawget(self, "_made")
  if made and not recompute and rawequal(made.dt, dt) and made.precision == precision then return made.array end
  local array = self:generate()
  rawset(self, "_made", not core.is_traced(array) and {dt = dt, precision = precision, array = array} or nil)
  return array
end

--- The number of steps of the array.
function Input:n_steps() return math.ceil(self:steps "duration") end

-- ---- composition ----------------------------------------------------------------------------------------------------

local function compose(name, ...) return require("bdl.input.compose")[name](...) end

--- a + b, a - b, a * b, a / b, where one may be a number or a quantity;  a | b the larger;  a & b one after the other; 
--  -a.
for metamethod, operator in pairs{__add = "+", __sub = "-", __mul = "*", __div = "/"} do
  Input[metamethod] = function(a, b) return compose("Composite", a, b, operator) end
end
function Input.__bor(a, b) return compose("Composite", a, b, "max") end
function Input.__band(a, b) return compose("Sequential", a, b) end
function Input:__unm() return self:apply(function(x) return -x end) end

function Input:scale(factor) return self * factor end
function Input:shift(time_shift) return compose("TimeShifted", self, time_shift) end
function Input:clip(min_val, max_val) return compose("Clipped", self, min_val, max_val) end
function Input:smooth(tau) return compose("Smoothed", self, tau) end
function Input:tile(n_times) return compose("Repeated", self, n_times) end
function Input:apply(func) return compose("Transformed", self, func) end

-- ---- arguments ------------------------------------------------------------------------------------------------------

--- The number of a scalar; of one in single precision the shortest decimal that it is: 0.1, not 0.10000000149.
local function decimal(x)
  if type(x) == "number" then return x + 0.0 end
  local value = core.item(core.mantissa(x))
  if x.dtype ~= "float32" then return value + 0.0 end
  for digits = 1, 9 do
    local short = tonumber(("%%.%dg"):format(digits):format(value))
    if short == value or string.pack("<f", short) == string.pack("<f", value) then return short + 0.0 end
  end
  return value
end

--- As messages call it.
function Input:label() return class.qualified_name(class.of(self)) end

--- Stops where x is no known scalar.
local function check_scalar(self, name, x)
  if core.is_traced(x) then
    core.fail("TraceContextError", 4, "%s: %s must be known while tracing; scale the input by what is traced",
              self:label(), name)
  elseif type(x) ~= "number" and not (core.is_tensor(x) and x.ndim == 0) then
    core.fail("TypeError", 4, "%s: %s is a number or a quantity, not a %s", self:label(), name, class.typename(x))
  end
end

--- x as a number in that unit (nil: plain).  Errors: UnitMismatchError.
function Input:number(name, x, unit)
  check_scalar(self, name, x)
  if unit == core.unit_of(x) then return decimal(x) end
  local from = core.unit_of(x)
  local ok, one = pcall(core.convert, from and 1.0 * from or 1.0, unit)
  if not ok then
    core.fail("UnitMismatchError", 3, "%s: %s is in <%s>, not in <%s>", self:label(), name, tostring(unit or 1),
              tostring(from or 1))
  end
  return decimal(x) * decimal(one)
end

--- dt as a number, and its unit (nil: none).  Errors: TraceContextError; ValueError, not positive.
function Input:dt()
  local dt = environ.get "dt"
  check_scalar(self, "dt", dt)
  local value = decimal(dt)
  if not (value > 0) then core.fail("ValueError", 3, "%s: dt must be > 0, not %s", self:label(), tostring(dt)) end
  return value, core.unit_of(dt)
end

--- A time in the unit of dt; x: another value than the field's.
function Input:time(name, x)
  local _, unit = self:dt()
  return self:number(name, x == nil and self[name] or x, unit)
end

--- The same in steps: a number, whole where it is within rounding of a whole one.  Errors: ValueError, negative or not
--  finite.
function Input:steps(name, x)
  if x == nil then x = self[name] end
  check_scalar(self, name, x)
  self:dt()
  local q = window.in_steps(self:label() .. ": " .. name, x)
  if not (q >= 0 and q < 2 ^ 31) then
    core.fail("ValueError", 3, "%s: %s is a time of at least 0 and less than 2^31 steps, not %s", self:label(), name,
              tostring(x))
  end
  return q
end

--- The steps of the window and of the array: from, to, n.  round: math.floor, or math.ceil.
--  Errors: ValueError, t_start > t_end or t_end > duration.
function Input:window(round)
  local n, last = self:n_steps(), self.t_end == nil and "duration" or "t_end"
  local from, to = self.t_start == nil and 0 or round(self:steps "t_start"), round(self:steps(last))
  if from > to or to > n then
    core.fail("ValueError", 3, "%s: 0 <= t_start <= t_end <= duration; found t_start = %s, t_end = %s, duration = %s", self:label(),
              tostring(self.t_start or 0), tostring(self[last]), tostring(self.duration))
  end
  return from, to, n
end

--- A frequency in cycles a step.  Errors: UnitMismatchError, it is no 1/time as dt is one.
function Input:cycles(name)
  local f, dt, unit = self[name], self:dt()
  check_scalar(self, name, f)
  local per = core.unit_of(f)
  local one = (per and 1.0 * per or 1.0) * (unit and 1.0 * unit or 1.0)
  if core.is_tensor(one) and core.unit_of(one) then
    core.fail("UnitMismatchError", 3, "%s: %s is in 1/time, dt in <%s>; it is in <%s>", self:label(), name,
              tostring(unit or 1), tostring(per or 1))
  end
  return decimal(f) * decimal(one) * dt
end

--- A value as its number and its unit.
function Input:split(name)
  check_scalar(self, name, self[name])
  return decimal(self[name]), core.unit_of(self[name])
end

-- ---- arrays ---------------------------------------------------------------------------------------------------------

--- Numbers of Lua as an array of the precision, with the unit.
function M.array(list, unit) return core.with_unit(core.tensor(list, (core.precision())), unit) end

--- [n]: f(k), k = 0, 1, .. at the steps from, from + 1, .. to - 1, and 0 elsewhere.
function M.series(n, from, to, f, unit)
  local list = {}
  for i = 1, n do list[i] = 0.0 end
  for i = from, math.min(to, n) - 1 do list[i + 1] = f(i - from) end
  return M.array(list, unit)
end

--- x [m, ..] as rows `from` and following of [n, ..], 0 elsewhere.
function M.placed(x, from, n)
  local lo, hi, inner = {from}, {n - from - x.shape[1]}, {0}
  for k = 2, x.ndim do lo[k], hi[k], inner[k] = 0, 0, 0 end
  local unit = core.unit_of(x)
  return core.with_unit(core.bind("pad", {lo = lo, hi = hi, inner = inner}, core.mantissa(x),
                                  core.tensor(0.0, x.dtype)), unit)
end

--- A class of inputs and the function that makes one and calls it.  rows as in `parameters`; a class's arguments stand
--  in the order of the names `order` (nil: that of the rows), a function's in that of the rows.
function M.define(module, name, f, rows, order, generate)
  local Class = Input:extend(name)
  module[name] = Class
  local own = rows
  if order then
    own = {}
    for word in order:gmatch "[%w_]+" do
      for _, row in ipairs(rows) do own[#own + 1] = row[1] == word and row or nil end
    end
  end
  function Class:__init(...)
    parameters.set(self, own, ...)
    if Class.check then self:check() end
  end
  Class.generate = generate
  local Made = Class:extend(f)                             -- messages name the function
  function Made:__init(...)
    parameters.set(self, rows, ...)
    if Class.check then self:check() end
  end
  module[f] = function(...) return Made(...):generate() end
  class.qualify({[f] = Made}, "input")
  return Class
end

return M

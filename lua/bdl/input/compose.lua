--- Inputs made of inputs; the operators and methods that make them are in signal.lua.  The shorter of two goes on as 0.
local core = require "bdl.core"
local class = require "bdl.class"
local base = require "bdl.array.base"
local signal = require "bdl.input.signal"

local M = {}

local Input = signal.Input

local function zeros(n, like)
  local shape = {table.unpack(like.shape)}
  shape[1] = n
  return core.with_unit(core.bind("broadcast", {shape = shape, dims = {}}, core.tensor(0.0, like.dtype)),
                        core.unit_of(like))
end

--- a and then b, of one unit.
local function joined(a, b)
  local unit = core.unit_of(a)
  if unit or core.unit_of(b) then b = core.convert(b, unit) end
  return core.with_unit(core.bind("concatenate", {axis = 0}, core.mantissa(a), core.mantissa(b)), unit)
end

--- Both over the same steps; [steps] stands for each of n in [steps, n].
local function aligned(a, b)
  local n, m = a.shape[1], b.shape[1]
  if n < m then a = joined(a, zeros(m - n, a)) elseif m < n then b = joined(b, zeros(n - m, b)) end
  while a.ndim < b.ndim do a = base.reshape(a, {table.unpack(a.shape), 1}) end
  while b.ndim < a.ndim do b = base.reshape(b, {table.unpack(b.shape), 1}) end
  return a, b
end

--- A class of what is made of inputs:  make(self) -> array.
local function derived(name, init, make)
  local Class = Input:extend(name)
  M[name] = Class
  Class.__init = init
  Class.generate = make
  return Class
end

local function check_input(self, x)
  if not class.isa(x, Input) then
    core.fail("TypeError", 3, "%s: an input was expected, not a %s", self:label(), class.typename(x))
  end
end

local function longer(a, b)
  local function last(x) return core.item(core.mantissa(core.is_tensor(x) and x or core.tensor(x))) end
  if core.unit_of(a) or core.unit_of(b) then return last(core.convert(b, core.unit_of(a))) > last(a) and b or a end
  return math.max(a, b)
end

local OPERATORS = {
  ["+"] = function(a, b) return a + b end, ["-"] = function(a, b) return a - b end,
    ["*"] = function(a, b) return a * b end,
  ["/"] = function(a, b) return a / b end, max = function(a, b) return core.bind("max", {}, a, b) end,
  min = function(a, b) return core.bind("min", {}, a, b) end,
}

--- a op b:  Composite(a, b, operator): "+", "-", "*", "/", "max" or "min"; one of them may be a number or quantity.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 1*u.ms}
--    print(bdl.input.Composite(bdl.input.Ramp(0, 1, 10*u.ms), 2, "*")())
derived("Composite", function(self, a, b, operator)
  if not class.isa(a, Input) then check_input(self, b) end
  if not OPERATORS[operator] then
    core.fail("ValueError", 2, "input.Composite: operator is '+', '-', '*', '/', 'max' or 'min', not '%s'",
              tostring(operator))
  end
  for _, x in ipairs{a, b} do
    if not class.isa(x, Input) and type(x) ~= "number" and not core.is_tensor(x) then check_input(self, x) end
  end
  self.input1 = a
  self.input2 = b
  self.operator = operator
  self.duration = class.isa(a, Input) and class.isa(b, Input) and longer(a.duration, b.duration)
    or (class.isa(a, Input) and a or b).duration
end, function(self)
  local a, b = self.input1, self.input2
  if not class.isa(a, Input) then return OPERATORS[self.operator](a, b()) end
  if not class.isa(b, Input) then return OPERATORS[self.operator](a(), b) end
  return OPERATORS[self.operator](aligned(a(), b()))
end)

--- Inputs one after the other:  Sequential(a, b, ..).
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 1*u.ms}
--    print(bdl.input.Sequential(bdl.input.Ramp(0, 1, 10*u.ms), bdl.input.Ramp(0, 1, 10*u.ms))())
derived("Sequential", function(self, ...)
  self.inputs = {...}
  for _, x in ipairs(self.inputs) do check_input(self, x) end
  check_input(self, self.inputs[1])
  self.duration = self.inputs[1].duration
  for k = 2, #self.inputs do self.duration = self.duration + self.inputs[k].duration end
end, function(self)
  local all = self.inputs[1]()
  for k = 2, #self.inputs do all = joined(all, self.inputs[k]()) end
  return all
end)

--- A class of one input and one argument.
local function modified(name, argument, make)
  return derived(name, function(self, x, value)
    check_input(self, x)
    self.input_obj = x
    self[argument] = value
    self.duration = x.duration
  end, make)
end

--- Later by time_shift (earlier where negative), 0 moving in.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 1*u.ms}
--    print(bdl.input.TimeShifted(bdl.input.Ramp(0, 1, 10*u.ms), 2*u.ms)())
modified("TimeShifted", "time_shift", function(self)
  local x, late = self.input_obj(), self.time_shift
  local number = core.item(core.mantissa(core.is_tensor(late) and late or core.tensor(late)))
  local n = x.shape[1]
  local steps = math.min(math.floor(self:steps("time_shift", number < 0 and -late or late)), n)
  if steps == 0 then return x end
  local gap = zeros(steps, x)
  if steps == n then return gap end
  if number > 0 then return joined(gap, x[{{1, n - steps}}]) end
  return joined(x[{{steps + 1, n}}], gap)
end)

--- Within [min_val, max_val]; either may be nil.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 1*u.ms}
--    print(bdl.input.Clipped(bdl.input.Ramp(0, 1, 10*u.ms), 0.2, 0.8)())
derived("Clipped", function(self, x, min_val, max_val)
  check_input(self, x)
  self.input_obj = x
  self.min_val = min_val
  self.max_val = max_val
  self.duration = x.duration
end, function(self)
  local x = self.input_obj()
  if self.min_val ~= nil then x = core.bind("max", {}, x, self.min_val) end
  return self.max_val ~= nil and core.bind("min", {}, x, self.max_val) or x
end)

--- A low-pass filter from the first value on:  s' = s + dt / tau (x - s).  Errors: ValueError, tau < dt.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 1*u.ms}
--    print(bdl.input.Smoothed(bdl.input.Ramp(0, 1, 10*u.ms), 2*u.ms)())
modified("Smoothed", "tau", function(self)
  local x, dt, tau = self.input_obj(), self:dt(), self:time "tau"
  local alpha = dt / tau
  if not (alpha > 0 and alpha <= 1) then
    core.fail("ValueError", 2, "%s: tau is a time of at least dt, not %s", self:label(), tostring(self.tau))
  end
  local plain = core.mantissa(x)
  local _, smooth = require "bdl.compile".scan(function(s, now)
    local new = alpha * now + (1 - alpha) * s
    return new, new
  end, plain[1], plain)
  return core.with_unit(smooth, core.unit_of(x))
end)

--- n_times in a row.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 1*u.ms}
--    print(bdl.input.Repeated(bdl.input.Ramp(0, 1, 10*u.ms), 2)())
derived("Repeated", function(self, x, n_times)
  check_input(self, x)
  if math.type(n_times) ~= "integer" or n_times < 1 then
    core.fail("ValueError", 2, "%s: n_times is a whole number >= 1, not %s", self:label(), tostring(n_times))
  end
  self.input_obj = x
  self.n_times = n_times
  self.duration = x.duration * n_times
end, function(self)
  local x = self.input_obj()
  local parts = {}
  for k = 1, self.n_times do parts[k] = core.mantissa(x) end
  return core.with_unit(self.n_times > 1 and core.bind("concatenate", {axis = 0}, table.unpack(parts)) or parts[1],
                        core.unit_of(x))
end)

--- func(array).
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 1*u.ms}
--    print(bdl.input.Transformed(bdl.input.Ramp(0, 1, 10*u.ms), bdl.exp)())
modified("Transformed", "func", function(self) return self.func(self.input_obj()) end)

return M

--- Windows of time and delays as whole steps.
local core = require "bdl.core"
local environ = require "bdl.environ"
local none = require "bdl.none".none

local M = {}

--- The index of the step: `i` of the environ, else t/dt.
function M.step_now()
  local i = environ.get("i", none)
  if i ~= nil then return i end
  local q = environ.get "t" / environ.get "dt"
  return core.cast(core.bind("round", {}, core.is_tensor(q) and q or core.tensor(q)), "int32")
end

--- A list of quantities, or a tensor, as one tensor.
function M.vector(list)
  if core.is_tensor(list) then return list end
  local unit = core.unit_of(list[1])
  local values = {}
  for k, x in ipairs(list) do
    x = unit and core.mantissa(core.convert(core.is_tensor(x) and x or core.tensor(x), unit)) or x
    values[k] = core.is_tensor(x) and core.item(x) or x
  end
  return core.with_unit(core.tensor(values, (core.precision())), unit)
end

--- q, or the whole number it is within rounding of: 0.3 ms / 0.1 ms is 3.
local function settled(q)
  local whole = math.floor(q + 0.5)
  return math.abs(q - whole) <= math.min(1e-6 * math.abs(q), 0.1) and whole or q
end

--- f of each number of w/dt: a number, or a tensor of this dtype and the shape of w.
--  Errors: TraceContextError w or dt is traced; UnitMismatchError w is no time as dt is one.
local function per_step(what, w, dtype, f)
  local dt = environ.get "dt"
  if core.is_traced(w) or core.is_traced(dt) then
    core.fail("TraceContextError", 3, "%s counts whole steps, so its length and dt must be known while tracing", what)
  end
  local q = w / dt
  if core.is_tensor(q) and core.unit_of(q) then
    core.fail("UnitMismatchError", 3, "%s of <%s> with dt in <%s>", what, tostring(core.unit_of(w) or 1), tostring(core.unit_of(dt) or 1))
  end
  local function map(x)
    if type(x) ~= "table" then return f(x, dt) end
    local list = {}
    for i, y in ipairs(x) do list[i] = map(y) end
    return list
  end
  q = core.totable(core.is_tensor(q) and q or core.tensor(q))
  return type(q) == "table" and core.tensor(map(q), dtype) or f(q, dt)
end

--- w/dt in numbers, a list for a tensor of times; within rounding of whole ones, whole.
function M.in_steps(what, w)
  local q = per_step(what, w, (core.precision()), settled)
  return core.is_tensor(q) and core.totable(q) or q
end

--- The number of steps k > i with (k - i) dt < w for a window w that starts with the event of step i: ceil(w/dt) - 1.
--  w : a time or a tensor of times, concrete -> an integer, or i32 of the shape of w.
--  w/dt within rounding of a whole number is that number, so 0.3 ms at 0.1 ms is always 3 steps.
--  Example:
--    bdl.environ.set{dt = 0.1*bdl.units.ms}
--    print(bdl.nn.window_steps(0.3*bdl.units.ms))
function M.window_steps(w)
  return per_step("a window of time", w, "int32", function(q, dt)
    local n = math.ceil(settled(q))
    if not (n < 2 ^ 24) then
      core.fail("ValueError", 5, "a window of %s is %.0f steps of %s; at most 2^24 are counted", tostring(w), n, tostring(dt))
    end
    return math.max(math.tointeger(n) - 1, 0)
  end)
end

--- Whole steps that a delay spans: ceil(w/dt), rounded as above.  Errors: ValueError, negative, NaN, or more than fit.
function M.delay_steps(w)
  return per_step("a delay", w, "int32", function(q)
    if not (q >= 0) then core.fail("ValueError", 5, "a delay is a time >= 0, not %s", tostring(w)) end
    local n = math.ceil(settled(q))
    if not (n < 2 ^ 31) then core.fail("ValueError", 5, "a delay of %s is %.0f steps; at most 2^31 - 1 fit", tostring(w), n) end
    return math.tointeger(n)
  end)
end

--- Of a delay between two steps: the lower one, and its weight in linear interpolation.  0 for whole steps, of which
--  delay_steps says all.
function M.delay_floor(w)
  local low = per_step("a delay", w, "int32", function(q) return math.tointeger(math.floor(settled(q))) end)
  local part = per_step("a delay", w, (core.precision()), function(q)
    q = settled(q)
    return math.ceil(q) - q
  end)
  return low, part
end

return M

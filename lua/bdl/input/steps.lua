--- Inputs in pieces: constant ones, one after the other; steps; ramps.
local core = require "bdl.core"
local class = require "bdl.class"
local base = require "bdl.array.base"
local none = require "bdl.none".none
local signal = require "bdl.input.signal"

local M = {}

--- Errors: ValueError, two lists that are not one for one; TypeError, no list.
local function check_lists(self, a, b)
  local function length(name)
    local x = self[name]
    if core.is_tensor(x) and x.ndim > 0 then return x.shape[1] end
    if type(x) ~= "table" or getmetatable(x) ~= nil then
      core.fail("TypeError", 4, "%s: %s is a list, not a %s", self:label(), name, class.typename(x))
    end
    return #x
  end
  local n, m = length(a), length(b)
  if n ~= m or n == 0 then
    core.fail("ValueError", 3, "%s: %d %s and %d %s; one for one", self:label(), n, a, m, b)
  end
end

--- Item k of a list or of a tensor's first axis.
local function item(list, k) return list[k] end

local function total(list)
  local sum = item(list, 1)
  for k = 2, #list do sum = sum + item(list, k) end
  return sum
end

--- values[k], scalars or arrays that broadcast, for durations[k] each.  ->  [steps, ..]
local function pieces(self)
  local unit, shape, values, parts = core.unit_of(item(self.values, 1)), {}, {}, {}
  for k = 1, #self.values do
    local x = item(self.values, k)
    if unit or core.unit_of(x) then x = core.mantissa(core.convert(x, unit)) end
    values[k] = core.cast(base.array(x), (core.precision()))
    shape = base.broadcast_shapes(self:label(), shape, values[k].shape)
  end
  for k, x in ipairs(values) do
    local n = math.ceil(self:steps("a duration", item(self.durations, k)))
    parts[k] = base.broadcast_to(self:label(), x, {n, table.unpack(shape)})
  end
  return core.with_unit(#parts == 1 and parts[1] or core.bind("concatenate", {axis = 0}, table.unpack(parts)), unit)
end

--- Section, section: values[k] for durations[k] each; with return_length = true the sum of the durations follows the
--  array.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 1*u.ms}
--    print(bdl.input.section({0*u.nA, 1*u.nA}, {5*u.ms, 5*u.ms}))
--    print(bdl.input.Section({0*u.nA, 1*u.nA}, {5*u.ms, 5*u.ms})())
local Section = signal.define(M, "Section", "section", {{"values", free = true}, {"durations", free = true},
                                                        {"return_length", false}}, nil,
  function(self)
    local array = pieces(self)
    if self.return_length then return array, self.duration end
    return array
  end)

function Section:check()
  check_lists(self, "values", "durations")
  self.duration = total(self.durations)
end

--- Constant, constant: constant{{value, duration}, ..}: the array, and from the function the sum of the durations.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 1*u.ms}
--    print(bdl.input.constant{{0*u.nA, 5*u.ms}, {1*u.nA, 5*u.ms}})
--    print(bdl.input.Constant{{0*u.nA, 5*u.ms}, {1*u.nA, 5*u.ms}}())
local Constant = signal.Input:extend "Constant"
M.Constant = Constant

function Constant:__init(list)
  self.values, self.durations = {}, {}
  for k, pair in ipairs(type(list) == "table" and getmetatable(list) == nil and list or {}) do
    if type(pair) ~= "table" or getmetatable(pair) ~= nil or #pair ~= 2 then
      core.fail("TypeError", 2, "input.Constant: item %d is a pair {value, duration}, not a %s", k,
                class.typename(pair))
    end
    self.values[k], self.durations[k] = pair[1], pair[2]
  end
  if #self.values == 0 then
    core.fail("TypeError", 2, "input.Constant: a list of pairs {value, duration} was expected, not a %s",
              class.typename(list))
  end
  self.duration = total(self.durations)
end

Constant.generate = pieces

function M.constant(list)
  local object = Constant(list)
  return object:generate(), object.duration
end

--- Step, step: 0, then amplitudes[k] from step_times[k] on; the last one stays until `duration`, which is the sum of
--  the times where it is absent.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 1*u.ms}
--    print(bdl.input.step({1*u.nA, 2*u.nA}, {2*u.ms, 5*u.ms}, 10*u.ms))
--    print(bdl.input.Step({1*u.nA, 2*u.nA}, {2*u.ms, 5*u.ms}, 10*u.ms)())
local Step = signal.define(M, "Step", "step", {{"amplitudes", free = true}, {"step_times", free = true},
                                               {"duration", none}}, nil, function(self)
  local n, unit = math.floor(self:steps "duration"), core.unit_of(item(self.amplitudes, 1))
  local starts, order, list = {}, {}, {}
  for k = 1, #self.amplitudes do
    starts[k], order[k] = math.floor(self:steps("a step time", item(self.step_times, k))), k
  end
  table.sort(order, function(a, b) return starts[a] < starts[b] or starts[a] == starts[b] and a < b end)
  for i = 1, n do list[i] = 0.0 end
  for _, k in ipairs(order) do
    local value = self:number("an amplitude", item(self.amplitudes, k), unit)
    for i = starts[k] + 1, n do list[i] = value end
  end
  return signal.array(list, unit)
end)

function Step:check()
  check_lists(self, "amplitudes", "step_times")
  if self.duration == nil then self.duration = total(self.step_times) end
end

--- Ramp, ramp: from c_start to c_end in a line, both reached, over the window; 0 outside.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 1*u.ms}
--    print(bdl.input.ramp(0*u.nA, 1*u.nA, 10*u.ms))
--    print(bdl.input.Ramp(0*u.nA, 1*u.nA, 10*u.ms)())
signal.define(M, "Ramp", "ramp", {{"c_start"}, {"c_end"}, {"duration"}, {"t_start", none}, {"t_end", none}}, nil,
              function(self)
  local first, unit = self:split "c_start"
  local last = self:number("c_end", self.c_end, unit)
  local from, to, n = self:window(math.ceil)
  local slope = to - from > 1 and (last - first) / (to - from - 1) or 0.0
  return signal.series(n, from, to, function(k) return k > 0 and k == to - from - 1 and last or first + k * slope end,
                       unit)
end)

return M

--- RateMonitor: the rate of a population over time.
local core = require "bdl.core"
local args = require "bdl.args"
local class = require "bdl.class"
local none = require "bdl.none".none
local units = require "bdl.units"
local base = require "bdl.monitor.base"
local population = require "bdl.monitor.population"
local sources = require "bdl.monitor.sources"
local StateMonitor = require "bdl.monitor.values".StateMonitor

local Monitor, empty, size_of, times = base.Monitor, base.empty, population.size_of, base.times

--- The rate of a population: spikes in a step, over its size and dt.  Arguments as of SpikeMonitor.
--  Example:
--    bdl.environ.set{dt = 0.1*bdl.units.ms}
--    local cells = bdl.nn.init_all_states(bdl.nn.LIF(3))
--    local m = bdl.monitor.RateMonitor(cells)
--    bdl.Simulation(function(i) cells(30*bdl.units.mA) end, {monitors = {m}}):run(5*bdl.units.ms)
--    print(m.rate.shape)
local RateMonitor = Monitor:extend "RateMonitor"

RateMonitor.spec = {[0] = "RateMonitor", "source", record = none, lanes = none}

function RateMonitor:__init(...) population.init(self, ...) end

function RateMonitor:listens_to() return sources.is_module(self._source) and self._source or nil end

function RateMonitor:read(heard, results)
  local x, lanes = population.read(self, heard, results)
  class.rawfield(self, "size", size_of(x.shape, lanes + 1))
  local axes = {}
  for k = lanes, x.ndim - 1 do axes[#axes + 1] = k end
  return {core.bind("reduce_sum", {axes = axes}, core.cast(x, "int32"))}
end

RateMonitor.reserve, RateMonitor.bytes, RateMonitor.take = StateMonitor.reserve, StateMonitor.bytes, StateMonitor.take
RateMonitor._every = 1

function RateMonitor:columns() return {"count", "step"} end

local function counts(self)
  empty(self, "rate")
  return core.record_tensor(self._records[1])
end

--- spikes a step -> Hz, or the inverse of dt where that is a plain number.
local function to_rate(self, x)
  local dt = self._dt
  if dt == nil then times(self) end
  local rate = x / (dt * self.size)
  return core.unit_of(rate) and core.convert(rate, units.Hz) or rate
end

--- count : spikes of each step [steps, lanes..];  rate : [steps, lanes..]
RateMonitor.fields = setmetatable({
  count = counts,
  rate = function(self) return to_rate(self, core.cast(counts(self), "float32")) end,
}, {__index = Monitor.fields})

--- The rate over time in a window of that width: "gaussian" (its standard deviation, cut at 4) or "flat".
function RateMonitor:smooth_rate(...)
  local a = args({[0] = "RateMonitor:smooth_rate", "width", window = "gaussian"}, ...)
  local dt = self._dt
  if dt == nil then times(self) end
  local ok, ratio = pcall(function() return a.width / dt end)
  if ok and core.is_tensor(ratio) and not core.unit_of(ratio) then ratio = core.item(ratio) end
  if type(ratio) ~= "number" or not (ratio > 0) then
    core.fail("ValueError", 2, "smooth_rate: the width is a time > 0, not %s", tostring(a.width))
  end
  local half, weight
  if a.window == "gaussian" then
    half = math.ceil(4 * ratio)
    weight = function(k) return math.exp(-0.5 * (k / ratio)^2) end
  elseif a.window == "flat" then
    half = math.max(0, math.floor(0.5 * ratio))
    weight = function() return 1 end
  else
    core.fail("ValueError", 2, "smooth_rate: the window is 'gaussian' or 'flat', not '%s'", tostring(a.window))
  end
  local x, w = core.totable(counts(self)), {}
  for k = -half, half do w[k] = weight(k) end
  if type(x[1]) == "table" then
    core.fail("NotSupportedError", 2, "smooth_rate: the rates have lanes; smooth each by itself")
  end
  local smooth = {}
  for k = 1, #x do                               -- at the ends over what there is
    local total, norm = 0, 0
    for j = math.max(-half, 1 - k), math.min(half, #x - k) do total, norm = total + w[j] * x[k + j], norm + w[j] end
    smooth[k] = total / norm
  end
  return to_rate(self, core.tensor(smooth, "float32"))
end

return {RateMonitor = RateMonitor}

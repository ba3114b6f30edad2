--- Pulses: spikes, Gaussian and exponential ones, bursts of sines.
local core = require "bdl.core"
local class = require "bdl.class"
local none = require "bdl.none".none
local signal = require "bdl.input.signal"

local M = {}

local exp, pi = math.exp, math.pi

--- Value k of a list, or the one that stands for all.
local function each(x, k)
  if type(x) == "table" and getmetatable(x) == nil then return x[k] end
  return core.is_tensor(x) and x.ndim == 1 and (x.shape[1] == 1 and x[1] or x[k]) or x
end

local function count(x) return core.is_tensor(x) and x.ndim == 1 and x.shape[1] or type(x) == "table" and #x or 1 end

--- Spike, spike: sp_sizes[k] for sp_lens[k] from sp_times[k] on; sizes and lengths may be one for all.  Later spikes
--  overwrite.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 1*u.ms}
--    print(bdl.input.spike({2*u.ms, 5*u.ms}, 1*u.ms, 1*u.nA, 10*u.ms))
--    print(bdl.input.Spike({2*u.ms, 5*u.ms}, 10*u.ms, 1*u.ms, 1*u.nA)())
local Spike = signal.define(M, "Spike", "spike", {{"sp_times", free = true}, {"sp_lens", none, free = true},
                                                  {"sp_sizes", 1.0, free = true},
                                                  {"duration"}}, "sp_times duration sp_lens sp_sizes", function(self)
  local n, unit, list = self:n_steps(), core.unit_of(each(self.sp_sizes, 1)), {}
  for i = 1, n do list[i] = 0.0 end
  for k = 1, count(self.sp_times) do
    local start, length = each(self.sp_times, k), each(self.sp_lens, k)
    local from, to = math.floor(self:steps("a spike time", start)), math.floor(self:steps("the end of a spike",
        start + length))
    local size = self:number("a spike size", each(self.sp_sizes, k), unit)
    for i = from + 1, math.min(to, n) do list[i] = size end
  end
  return signal.array(list, unit)
end)

function Spike:check()
  local n = count(self.sp_times)
  if type(self.sp_times) ~= "table" and not (core.is_tensor(self.sp_times) and self.sp_times.ndim == 1) then
    core.fail("TypeError", 2, "%s: sp_times is a list of times, not a %s", self:label(), class.typename(self.sp_times))
  end
  if self.sp_lens == nil then self.sp_lens = 1 * require "bdl.units".ms end
  for _, name in ipairs{"sp_lens", "sp_sizes"} do
    local m = count(self[name])
    if m ~= n and m ~= 1 then core.fail("ValueError", 2, "%s: %d %s for %d spikes", self:label(), m, name, n) end
  end
end

--- GaussianPulse, gaussian_pulse: x = amplitude exp(-((t - center) / sigma)^2 / 2);  n columns of it where n > 1.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 1*u.ms}
--    print(bdl.input.gaussian_pulse(1*u.nA, 10*u.ms, 2*u.ms, 20*u.ms))
--    print(bdl.input.GaussianPulse(1*u.nA, 10*u.ms, 2*u.ms, 20*u.ms)())
signal.define(M, "GaussianPulse", "gaussian_pulse",
  {{"amplitude"}, {"center"}, {"sigma", above = 0}, {"duration"}, {"n", 1, integer = true, least = 1}}, nil,
    function(self)
    local amplitude, unit = self:split "amplitude"
    local dt, n = self:dt(), self:n_steps()
    local center, sigma = self:time "center", self:time "sigma"
    local x = signal.series(n, 0, n, function(k) return amplitude * exp(-0.5 * ((k*dt - center) / sigma)^2) end, unit)
    if self.n == 1 then return x end
    return core.with_unit(core.bind("broadcast", {shape = {n, self.n}, dims = {0}}, core.mantissa(x)), unit)
  end)

--- f(t), t from the start of the window, from t_start to t_end, what passes the duration cut off.
local function decaying(self, f, unit)
  local dt, n = self:dt(), self:n_steps()
  local start = self.t_start == nil and 0 or self:steps "t_start"
  local last = self:steps(self.t_end == nil and "duration" or "t_end")
  if start > last then
    core.fail("ValueError", 3, "%s: t_end, %s, is before t_start, %s", self:label(),
              tostring(self.t_end or self.duration), tostring(self.t_start))
  end
  local from = math.floor(start)
  return signal.series(n, from, from + math.ceil(last - start), function(k) return f(k * dt) end, unit)
end

--- ExponentialDecay, exponential_decay: x = amplitude exp(-(t - t_start) / tau) in the window.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 1*u.ms}
--    print(bdl.input.exponential_decay(1*u.nA, 5*u.ms, 20*u.ms))
--    print(bdl.input.ExponentialDecay(1*u.nA, 5*u.ms, 20*u.ms)())
signal.define(M, "ExponentialDecay", "exponential_decay",
  {{"amplitude"}, {"tau", above = 0}, {"duration"}, {"t_start", none}, {"t_end", none}}, nil, function(self)
    local amplitude, unit = self:split "amplitude"
    local tau = self:time "tau"
    return decaying(self, function(t) return amplitude * exp(-t / tau) end, unit)
  end)

--- DoubleExponential, double_exponential: x = amplitude norm (exp(-t / tau_decay) - exp(-t / tau_rise)), t from t_start
--  on; norm makes its peak the amplitude where
--  tau_decay > tau_rise, else it is 1.  Errors: ValueError, the two are equal.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 1*u.ms}
--    print(bdl.input.double_exponential(1*u.nA, 1*u.ms, 5*u.ms, 20*u.ms))
--    print(bdl.input.DoubleExponential(1*u.nA, 1*u.ms, 5*u.ms, 20*u.ms)())
signal.define(M, "DoubleExponential", "double_exponential",
  {{"amplitude"}, {"tau_rise", above = 0}, {"tau_decay", above = 0}, {"duration"}, {"t_start", none}, {"t_end", none}},
    nil, function(self)
    local amplitude, unit = self:split "amplitude"
    local rise, decay = self:time "tau_rise", self:time "tau_decay"
    if rise == decay then
      core.fail("ValueError", 2, "%s: tau_rise and tau_decay must differ, both are %s", self:label(),
                tostring(self.tau_rise))
    end
    local norm = 1.0
    if decay > rise then
      local peak = rise * decay / (decay - rise) * math.log(decay / rise)
      norm = 1.0 / (exp(-peak / decay) - exp(-peak / rise))
    end
    return decaying(self, function(t) return amplitude * norm * (exp(-t / decay) - exp(-t / rise)) end, unit)
  end)

--- Burst, burst: n_bursts times a sine of burst_freq for burst_duration, then silence for inter_burst_interval.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 1*u.ms}
--    print(bdl.input.burst(1*u.nA, 200*u.Hz, 5*u.ms, 5*u.ms, 2, 20*u.ms))
--    print(bdl.input.Burst(2, 1*u.nA, 200*u.Hz, 5*u.ms, 5*u.ms, 20*u.ms)())
signal.define(M, "Burst", "burst",
  {{"burst_amp"}, {"burst_freq", least = 0}, {"burst_duration"}, {"inter_burst_interval"},
   {"n_bursts", integer = true, least = 0}, {"duration"}},
  "n_bursts burst_amp burst_freq burst_duration inter_burst_interval duration", function(self)
    local amplitude, unit = self:split "burst_amp"
    local n, cycles, list = self:n_steps(), self:cycles "burst_freq", {}
    local length, gap = self:steps "burst_duration", self:steps "inter_burst_interval"
    for i = 1, n do list[i] = 0.0 end
    for b = 0, self.n_bursts - 1 do
      local from = math.floor(b * (length + gap))
      for i = from, math.min(from + math.ceil(length), n) - 1 do
        list[i + 1] = amplitude * math.sin(2*pi * cycles * (i - from))
      end
    end
    return signal.array(list, unit)
  end)

return M

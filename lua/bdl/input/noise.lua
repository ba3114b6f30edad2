--- Random inputs over a window: [steps], or [steps, n] of n independent ones where n > 1.
--  seed : a key or integer to draw from; without one the default generator is.
local core = require "bdl.core"
local none = require "bdl.none".none
local signal = require "bdl.input.signal"

local M = {}

local N, SEED = {"n", 1, integer = true, least = 1}, {"seed", none, free = true}
local T_START, T_END = {"t_start", none}, {"t_end", none}

--- A draw for each step of a window and each input.
local function draw(self, name, from, to)
  local shape = self.n == 1 and {to - from} or {to - from, self.n}
  return require "bdl.random"[name]{size = shape, key = self.seed}
end

--- The root of dt as a number, a time counted in ms, as nn.WienerProcessInput does.
local function root_dt(self)
  local dt, unit = self:dt()
  return math.sqrt(unit and self:number("dt", dt * unit, require "bdl.units".ms) or dt)
end

--- WienerProcess, wiener_process: white noise:  x = sigma sqrt(dt / ms) N(0, 1).
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 1*u.ms}
--    print(bdl.input.wiener_process(20*u.ms).shape)
--    print(bdl.input.WienerProcess(20*u.ms)().shape)
signal.define(M, "WienerProcess", "wiener_process", {{"duration"}, {"sigma", 1.0, least = 0}, N, T_START, T_END, SEED},
  "duration n t_start t_end sigma seed", function(self)
    local sigma, unit = self:split "sigma"
    local from, to, n = self:window(math.floor)
    return core.with_unit(signal.placed(draw(self, "normal", from, to) * (sigma * root_dt(self)), from, n), unit)
  end)

--- OUProcess, ou_process: coloured noise by Euler and Maruyama:  x' = x + (mean - x) dt / tau + sigma sqrt(dt / ms)
--  N(0, 1),  from the mean; its variance tends to sigma^2 tau / 2, tau in ms.  Source: Uhlenbeck & Ornstein (1930), On
--  the theory of the Brownian motion.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 1*u.ms}
--    print(bdl.input.ou_process(0*u.nA, 1*u.nA, 5*u.ms, 20*u.ms))
--    print(bdl.input.OUProcess(0*u.nA, 1*u.nA, 5*u.ms, 20*u.ms)())
signal.define(M, "OUProcess", "ou_process", {{"mean"}, {"sigma", least = 0}, {"tau", above = 0}, {"duration"}, N,
                                             T_START, T_END, SEED},
  nil, function(self)
    local mean, unit = self:split "mean"
    local sigma = self:number("sigma", self.sigma, unit)
    local from, to, n = self:window(math.floor)
    local part = self:dt() / self:time "tau"
    local noise = draw(self, "normal", from, to) * (sigma * root_dt(self))
    local start = core.bind("broadcast", {shape = self.n == 1 and {} or {self.n}, dims = {}},
                            core.tensor(mean, noise.dtype))
    local _, x = require "bdl.compile".scan(function(x, xi)
      local new = x + (mean - x) * part + xi
      return new, new
    end, start, noise)
    return core.with_unit(signal.placed(x, from, n), unit)
  end)

--- Poisson, poisson: x = amplitude in each step with probability rate dt, else 0.  Errors: ValueError, rate dt > 1.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 1*u.ms}
--    print(bdl.input.poisson(50*u.Hz, 20*u.ms))
--    print(bdl.input.Poisson(50*u.Hz, 20*u.ms)())
signal.define(M, "Poisson", "poisson", {{"rate", least = 0}, {"duration"}, {"amplitude", 1.0}, N, T_START, T_END, SEED},
  "rate duration n t_start t_end amplitude seed", function(self)
    local amplitude, unit = self:split "amplitude"
    local from, to, n = self:window(math.floor)
    local p = self:cycles "rate"
    if p > 1 then
      core.fail("ValueError", 2, "%s: rate dt is a probability, not %g; a smaller dt holds a spike a step",
                self:label(), p)
    end
    local uniform = draw(self, "uniform", from, to)
    local spikes = core.cast(core.bind("lt", {}, uniform, p), uniform.dtype) * amplitude
    return core.with_unit(signal.placed(spikes, from, n), unit)
  end)

return M

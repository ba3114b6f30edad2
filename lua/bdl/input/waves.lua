--- Periodic inputs over a window, their phase 0 at its start; with bias = true moved up by the amplitude.
local core = require "bdl.core"
local none = require "bdl.none".none
local signal = require "bdl.input.signal"

local M = {}

local pi = math.pi

--- The part of a cycle that has passed after c cycles, [0, 1): whole cycles but for rounding are whole.
local function phase(c)
  local part = c - math.floor(c)
  return 1 - part < 1e-9 * math.max(1, c) and 0.0 or part
end

local TIMES = {{"frequency", least = 0}, {"duration"}, {"t_start", none}, {"t_end", none}}

--- A wave: f(self, cycles since the start) from -1 to 1.
local function wave(name, function_name, more, order, f)
  local rows = {{"amplitude"}, table.unpack(TIMES)}
  table.move(more, 1, #more, #rows + 1, rows)
  signal.define(M, name, function_name, rows, order, function(self)
    local amplitude, unit = self:split "amplitude"
    local from, to, n = self:window(math.floor)
    local cycles, bias = self:cycles "frequency", self.bias and amplitude or 0.0
    return signal.series(n, from, to, function(k) return amplitude * f(self, k * cycles) + bias end, unit)
  end)
end

local BIAS = {{"bias", false}}

--- Sinusoidal, sinusoidal: x = amplitude sin(2 pi frequency (t - t_start)).
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 1*u.ms}
--    print(bdl.input.sinusoidal(1*u.nA, 100*u.Hz, 20*u.ms))
--    print(bdl.input.Sinusoidal(1*u.nA, 100*u.Hz, 20*u.ms)())
wave("Sinusoidal", "sinusoidal", BIAS, nil, function(_, c) return math.sin(2*pi * c) end)

--- Square, square: amplitude for the part duty_cycle of a cycle, then -amplitude.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 1*u.ms}
--    print(bdl.input.square(1*u.nA, 100*u.Hz, 20*u.ms))
--    print(bdl.input.Square(1*u.nA, 100*u.Hz, 20*u.ms)())
wave("Square", "square", {{"duty_cycle", 0.5, least = 0, most = 1}, {"bias", false}},
     "amplitude frequency duration duty_cycle bias t_start t_end", function(self, c)
  return phase(c) < self.duty_cycle - 1e-9 * math.max(1, c) and 1.0 or -1.0
end)

--- Triangular, triangular: amplitude times a line from 0 up to 1, down to -1 and back to 0.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 1*u.ms}
--    print(bdl.input.triangular(1*u.nA, 100*u.Hz, 20*u.ms))
--    print(bdl.input.Triangular(1*u.nA, 100*u.Hz, 20*u.ms)())
wave("Triangular", "triangular", BIAS, nil, function(_, c) return 2 / pi * math.asin(math.sin(2*pi * c)) end)

--- Sawtooth, sawtooth: amplitude times a line from -1 up to 1 in each cycle.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 1*u.ms}
--    print(bdl.input.sawtooth(1*u.nA, 100*u.Hz, 20*u.ms))
--    print(bdl.input.Sawtooth(1*u.nA, 100*u.Hz, 20*u.ms)())
wave("Sawtooth", "sawtooth", BIAS, nil, function(_, c) return 2 * (phase(c) - 0.5) end)

--- Chirp, chirp: a sine whose frequency goes from f_start to f_end over the window, "linear" or "logarithmic".
--  Errors: ValueError, a logarithmic one from or to 0.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 1*u.ms}
--    print(bdl.input.chirp(1*u.nA, 10*u.Hz, 100*u.Hz, 50*u.ms))
--    print(bdl.input.Chirp(1*u.nA, 10*u.Hz, 100*u.Hz, 50*u.ms)())
signal.define(M, "Chirp", "chirp",
  {{"amplitude"}, {"f_start", least = 0}, {"f_end", least = 0}, {"duration"}, {"t_start", none}, {"t_end", none},
   {"method", "linear", one_of = {"linear", "logarithmic"}}, {"bias", false}}, nil, function(self)
    local amplitude, unit = self:split "amplitude"
    local from, to, n = self:window(math.floor)
    local span = self:steps(self.t_end == nil and "duration" or "t_end") - (self.t_start == nil and 0
                                                                            or self:steps "t_start")
    local f0, f1, bias = self:cycles "f_start", self:cycles "f_end", self.bias and amplitude or 0.0
    local logarithmic = self.method == "logarithmic"
    if logarithmic and not (f0 > 0 and f1 > 0) then
      core.fail("ValueError", 2, "%s: a logarithmic chirp is between frequencies greater than 0, not %s and %s",
                self:label(),
                tostring(self.f_start), tostring(self.f_end))
    end
    local cycles = function(k) return f0*k + 0.5*(f1 - f0) * k*k / span end
    if logarithmic and f0 ~= f1 then
      local ratio = (f1 / f0) ^ (1 / span)
      cycles = function(k) return f0 * (ratio^k - 1) / math.log(ratio) end
    end
    return signal.series(n, from, to, function(k) return amplitude * math.sin(2*pi * cycles(k)) + bias end, unit)
  end)

--- NoisySinusoidal, noisy_sinusoidal: a sine with white noise added: noise_amplitude N(0, 1) in each step of the
--  window.  seed : a key or integer (the generator's next).
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 1*u.ms}
--    print(bdl.input.noisy_sinusoidal(1*u.nA, 100*u.Hz, 0.1*u.nA, 20*u.ms))
--    print(bdl.input.NoisySinusoidal(1*u.nA, 100*u.Hz, 0.1*u.nA, 20*u.ms)())
signal.define(M, "NoisySinusoidal", "noisy_sinusoidal",
  {{"amplitude"}, {"frequency", least = 0}, {"noise_amplitude", least = 0}, {"duration"}, {"t_start", none},
   {"t_end", none},
   {"seed", none, free = true}}, nil, function(self)
    local amplitude, unit = self:split "amplitude"
    local from, to, n = self:window(math.floor)
    local cycles, size = self:cycles "frequency", self:number("noise_amplitude", self.noise_amplitude, unit)
    local sine = signal.series(n, from, to, function(k) return amplitude * math.sin(2*pi * cycles * k) end)
    local noise = require "bdl.random".randn{size = {to - from}, key = self.seed} * size
    return core.with_unit(sine + signal.placed(noise, from, n), unit)
  end)

return M

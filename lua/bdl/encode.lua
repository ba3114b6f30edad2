--- Numbers to spikes over time, the first axis of what an encoder gives.  Also bdl.data.encode.
--
--   local spikes = encode.RateEncoder()(x, 100)                 x [..] -> [100, ..], 0 or 1, in the dtype of x
--   local spikes = encode.RateEncoder()(x, 100, {key = 7})      the same spikes every time
--
--  Where chance is involved, it comes from the default generator or from option key.  Rates are in Hz, times quantities or,
--  where dt has no unit, numbers as dt is one.
--  Source: names, arguments and numbers as in braintools.
local core = require "bdl.core"
local class = require "bdl.class"
local environ = require "bdl.environ"
local A = require "bdl.array"
local base = require "bdl.array.base"
local none = require "bdl.none".none
local parameters = require "bdl.parameters"
local random = require "bdl.random"
local window = require "bdl.nn.window"

local M = {}

local KEY = base.names "key"

--- rows : as in parameters;  call(self, x, n, rng, who).  n : whatever is given if `time` is "any", a number of steps if it
--  is "steps", and no argument if it is "none".
local function encoder(name, rows, time, call)
  local Encoder = class(name)
  M[name] = Encoder
  function Encoder:__init(...) parameters.set(self, rows, ...) end
  function Encoder:__call(x, n, opts)
    if time == "none" then n, opts = nil, n end
    local who = class.qualified_name(class.of(self))
    opts = base.options(who, opts, KEY)
    if time == "steps" and (math.type(n) ~= "integer" or n < 1) then
      core.fail("ValueError", 2, "%s: a number of steps from 1 is needed, not %s", who, base.text(n))
    end
    x = base.array(x)
    if core.unit_of(x) then
      core.fail("UnitMismatchError", 2, "%s encodes plain numbers, not <%s>", who, tostring(core.unit_of(x)))
    end
    return call(self, x, n, opts.key and random.RandomState(opts.key) or random.DEFAULT, who)
  end
  return Encoder
end

--- [n, ..shape of x]
local function over_time(n, x) return {n, table.unpack(x.shape)} end

--- x on the scale where min_val is 0 and max_val 1, if both are known.
local function scaled(self, x)
  if self.min_val == nil or self.max_val == nil or self.normalize == false then return x end
  return (x - self.min_val) / (self.max_val - self.min_val)
end

--- dt in ms; a plain one is.
local function dt_ms()
  local dt = environ.get "dt"
  return core.unit_of(dt) and core.mantissa(core.convert(dt, require "bdl.units".ms)) or dt
end

local function hertz(rate)
  return core.unit_of(rate) and core.mantissa(core.convert(rate, require "bdl.units".Hz)) or rate
end

--- Independent spikes with probability rate dt.
local function spikes_at(rates, dtype, shape, rng)
  return core.cast(rng:bernoulli(A.clip(rates * dt_ms() / 1000.0, 0, 1), {size = shape}), dtype)
end

--- 1 in row step[..], of n; nowhere where the step is none of them.
local function one_at(steps, n, dtype)
  local column = {n}
  for k = 1, steps.ndim do column[k + 1] = 1 end
  return core.cast(A.eq(A.expand_dims(steps, 1), A.reshape(A.arange(n), column)), dtype)
end

local MIN_VAL, MAX_VAL = {"min_val", none}, {"max_val", none}

-- ---- the time of one spike ------------------------------------------------------------------------------------------

--- One spike each, the earlier the larger x is, 0 .. 1;  in steps, T = tau/dt, F = first_spk_time/dt:
--    linear   (T - F - 1) (1 - x) + F
--    log      (T - F - 1) log(x / (x - threshold)) + F, of the charging of an RC circuit
--  encoder(x, n_time): n_time, a time, takes the place of tau if normalize.  Below the threshold the spike is the last, or,
--  with clip, none.
--  Example:
--    bdl.environ.set{dt = 1*bdl.units.ms}
--    local spikes = bdl.encode.LatencyEncoder{method = "linear", tau = 10*bdl.units.ms}{0.2, 0.9}
encoder("LatencyEncoder", {
  MIN_VAL, MAX_VAL, {"method", "log", one_of = {"linear", "log"}}, {"threshold", 0.01, least = 0, most = 1},
  {"clip", false}, {"tau", none, free = true}, {"normalize", false}, {"first_spk_time", none, free = true},
  {"epsilon", 1e-7, above = 0},
}, "any", function(self, data, n_time, _, who)
  local ms = core.unit_of(environ.get "dt") and require "bdl.units".ms or 1
  local tau = self.tau == nil and 1.0 * ms or self.tau
  local T = window.in_steps(who .. ": n_time", self.normalize and n_time ~= nil and n_time or tau)
  local F = window.in_steps(who .. ": first_spk_time", self.first_spk_time == nil and 0.0 * ms or self.first_spk_time)
  local x = self.min_val and self.max_val and (data - self.min_val) / (self.max_val - self.min_val) or base.float(data)
  local steps
  if self.method == "linear" then
    steps = (T - F - 1) * (1 - x) + F
  else
    x = A.maximum(x, self.threshold + self.epsilon)
    steps = (T - F - 1) * A.log(x / (x - self.threshold)) + F
  end
  if self.clip then steps = A.where(A.lt(data, self.threshold), math.huge, steps) end
  return one_at(A.round(steps), math.floor(T), x.dtype)
end)

--- One spike each in the order of x [n], the largest first (invert: last): at (1 - x) (n_steps - 1), or, use_values =
--  false, by rank.
--  Example:
--    local spikes = bdl.encode.RankOrderEncoder()({0.1, 0.8, 0.3}, 10)
encoder("RankOrderEncoder", {
  {"use_values", true}, {"normalize", true}, {"invert", false},
}, "steps", function(self, x, n, _, who)
  if x.ndim ~= 1 then core.fail("ShapeError", 3, "%s orders a vector, not %s", who, base.text(x)) end
  local y = base.float(x)
  if self.normalize then
    local lo, hi = A.min(y), A.max(y)
    y = A.where(A.gt(hi, lo), (y - lo) / A.where(A.gt(hi, lo), hi - lo, 1.0), y)
  end
  if self.invert then y = 1 - y end
  local steps
  if self.use_values then
    steps = core.cast((1 - y) * (n - 1), "int32")
  else
    steps = A.argsort(A.argsort(-y)) * (n - 1) // #x
  end
  return one_at(A.clip(steps, 0, n - 1), n, x.dtype)
end)

-- ---- rates ----------------------------------------------------------------------------------------------------------

local CURVES = {
  linear = function(x) return x end,
  exponential = function(x) return (A.exp(x) - 1) / (math.exp(1) - 1) end,
  sqrt = function(x) return A.sqrt(x) end,
}

--- Spikes at a rate from min_rate to max_rate (gain), as x goes from 0 to 1: x, (e^x - 1)/(e - 1), or sqrt(x).
--  Example:
--    bdl.environ.set{dt = 1*bdl.units.ms}
--    local spikes = bdl.encode.RateEncoder{gain = 200*bdl.units.Hz}({0.1, 0.5, 0.9}, 100)
encoder("RateEncoder", {
  {"gain", 100.0, free = true}, {"method", "linear", one_of = {"linear", "exponential", "sqrt"}},
  {"min_rate", 0.0, free = true}, {"max_rate", none, free = true}, {"normalize", false}, MIN_VAL, MAX_VAL,
}, "steps", function(self, x, n, rng)
  local least, most = hertz(self.min_rate), hertz(self.max_rate == nil and self.gain or self.max_rate)
  return spikes_at(least + CURVES[self.method](base.float(scaled(self, x))) * (most - least), x.dtype, over_time(n, x), rng)
end)

--- A step spikes if a Poisson variable of mean x dt is not 0; x in Hz, or, normalize, times max_rate.  time_window is not
--  used.
--  Example:
--    bdl.environ.set{dt = 1*bdl.units.ms}
--    local spikes = bdl.encode.PoissonEncoder()({10.0, 50.0}, 100)
encoder("PoissonEncoder", {
  {"time_window", 1000.0}, {"normalize", false}, {"max_rate", 100.0, free = true},
}, "steps", function(self, x, n, rng)
  local rates = base.float(x)
  if self.normalize then rates = rates * hertz(self.max_rate) end
  return core.cast(A.gt(rng:poisson(rates * dt_ms() / 1000.0, {size = over_time(n, x)}), 0), x.dtype)
end)

--- Spikes with probability scale x in every step.
--  Example:
--    local spikes = bdl.encode.BernoulliEncoder{scale = 0.5}({0.1, 0.9}, 100)
encoder("BernoulliEncoder", {{"scale", 1.0}, {"normalize", true}, MIN_VAL, MAX_VAL}, "steps", function(self, x, n, rng)
  return core.cast(rng:bernoulli(A.clip(base.float(scaled(self, x)) * self.scale, 0, 1), {size = over_time(n, x)}),
                   x.dtype)
end)

--- x [..] to [n, n_neurons, ..]: neuron i spikes at max_rate exp(-(x - c_i)^2 / (2 sigma^2)), centres c_i even from min_val
--  to max_val, sigma (the distance of two) their width.
--  Example:
--    bdl.environ.set{dt = 1*bdl.units.ms}
--    local spikes = bdl.encode.PopulationEncoder{10}(0.3, 100)
encoder("PopulationEncoder", {
  {"n_neurons", none, integer = true, least = 1}, {"min_val", 0.0}, {"max_val", 1.0}, {"sigma", none, above = 0},
  {"max_rate", 100.0, free = true},
}, "steps", function(self, x, n, rng, who)
  if not self.n_neurons then core.fail("TypeError", 3, "%s: argument 'n_neurons' (number 1) is missing", who) end
  if not self.sigma and self.n_neurons == 1 then core.fail("ValueError", 3, "%s: one neuron needs a sigma", who) end
  local sigma = self.sigma or (self.max_val - self.min_val) / (self.n_neurons - 1)
  local distance = A.expand_dims(base.float(x), -1) - A.linspace(self.min_val, self.max_val, self.n_neurons)
  local rates = A.exp(-0.5 * (A.abs(distance) / sigma) ^ 2) * hertz(self.max_rate)
  return A.moveaxis(spikes_at(rates, base.real(), {n, table.unpack(rates.shape)}, rng), -1, 2)
end)

-- ---- counts, changes, patterns --------------------------------------------------------------------------------------

--- [n, ..shape] with 1 at flat positions (from 0), a list.
local function ones_at(positions, shape, dtype)
  local flat = A.zeros({A.prod(core.tensor(shape)):item()}, {dtype = dtype})
  if #positions > 0 then flat = flat:set(core.tensor(positions, "int32"), core.tensor(1, dtype)) end
  return A.reshape(flat, shape)
end

--- k of `count` whole steps from 0 to n - 1, evenly.
local function even(k, count, n) return count > 1 and k * (n - 1) // (count - 1) or 0 end

--- Exactly floor(max_spikes x) spikes each, at random ("random") or even ("uniform") steps.  x is concrete.
--  Errors: ValueError, more spikes than steps.
--  Example:
--    local spikes = bdl.encode.SpikeCountEncoder{max_spikes = 5}({0.2, 1.0}, 20)
encoder("SpikeCountEncoder", {
  {"max_spikes", 10, integer = true, least = 1}, {"distribution", "random", one_of = {"uniform", "random"}}, {"normalize", true},
}, "steps", function(self, x, n, rng, who)
  local y = base.float(x)
  if self.normalize then y = A.clip(y, 0, 1) end
  local counts = core.totable(A.reshape(core.cast(y * self.max_spikes, "int32"), {x.size}))
  local positions = {}
  for i, count in ipairs(counts) do
    if count > n then core.fail("ValueError", 3, "%s: %d spikes do not fit %d steps", who, count, n) end
    local steps = self.distribution == "random" and count > 0 and core.totable(rng:choice(n, {size = {count}, replace = false}))
    for k = 1, count do positions[#positions + 1] = (steps and steps[k] or even(k - 1, count, n)) * x.size + i - 1 end
  end
  return ones_at(positions, over_time(n, x), x.dtype)
end)

--- x [time, ..] to the same: a spike where x changes by the threshold or more (positive_only: rises).  normalize: each
--  series has its range scaled to 0 .. 1 before.
--  Example:
--    local spikes = bdl.encode.DeltaEncoder{threshold = 0.3}{0, 0.1, 0.8, 0.7, 0.2}
encoder("DeltaEncoder", {
  {"threshold", 0.1}, {"positive_only", false}, {"absolute", false}, {"normalize", true},
}, "none", function(self, x, _, _, who)
  if x.ndim == 0 then core.fail("ShapeError", 3, "%s: the first axis is time; a scalar has none", who) end
  local y = base.float(x)
  if self.normalize then
    local range = {axis = 1, keepdims = true}
    local lo = A.min(y, range)
    y = (y - lo) / (A.max(y, range) - lo + 1e-8)
  end
  local change = A.concatenate({A.zeros_like(y[{{1, 1}}]), y[{{2, #y}}] - y[{{1, #y - 1}}]}, {axis = 1})
  if self.positive_only and not self.absolute then change = A.maximum(change, 0) end
  return core.cast(A.ge(A.abs(change), self.threshold), x.dtype)
end)

--- Currents current_scale x + offset, the same in all n steps.
--  Example:
--    local current = bdl.encode.StepCurrentEncoder{10*bdl.units.nA}({0.1, 0.5}, 100)
encoder("StepCurrentEncoder", {
  {"current_scale", 10.0, free = true}, {"offset", none, free = true}, {"normalize", true}, MIN_VAL, MAX_VAL,
}, "steps", function(self, x, n)
  local current = base.float(scaled(self, x)) * self.current_scale
  if self.offset ~= nil then current = current + self.offset end
  return A.broadcast_to(A.expand_dims(current, 1), over_time(n, x))
end)

--- Integers x [m], 0 .. n_patterns - 1, to [m pattern_length, n_patterns]: each is a volley of spikes of its neuron, 0.3
--  pattern_length of them, shifted by 2 a class, with times jittered by a share of the length.  x is concrete.
--  Errors: ValueError, x is no class.
--  Example:
--    local spikes = bdl.encode.TemporalEncoder{3}{0, 1, 2, 1}
encoder("TemporalEncoder", {
  {"n_patterns", none, integer = true, least = 1}, {"pattern_length", 10, integer = true, least = 1}, {"jitter", 0.1, least = 0},
}, "none", function(self, x, _, rng, who)
  local n, length = self.n_patterns, self.pattern_length
  if not n then core.fail("TypeError", 3, "%s: argument 'n_patterns' (number 1) is missing", who) end
  if x.ndim ~= 1 or base.KIND[x.dtype] ~= 1 then
    core.fail("TypeError", 3, "%s: a vector of integers is needed, not %s", who, base.text(x))
  end
  local count, positions = math.max(1, math.floor(length * 0.3)), {}
  for t, value in ipairs(core.totable(x)) do
    if value < 0 or value >= n then
      core.fail("ValueError", 3, "%s: %d (number %d) is none of the %d patterns", who, value, t, n)
    end
    local jitter = core.totable(rng:randn(count))
    for k = 1, count do
      local step = (even(k - 1, count, length) + 2 * value) % length + jitter[k] * self.jitter * length
      step = math.floor(math.min(math.max(step, 0), length - 1))
      positions[#positions + 1] = ((t - 1) * length + step) * n + value
    end
  end
  return ones_at(positions, {#x * length, n}, base.real())
end)

return class.qualify(M, "encode")

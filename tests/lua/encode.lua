--- Encoders: the spikes of the reference.
--  Source: braintools 0.3.0, dt = 1 ms, single precision; brainstate.random.seed(3) before "rate", seed(5) before
--  "count_uniform", and one draw after the other from there.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local enc, u = bdl.encode, bdl.units

local WANT = {
  latency_linear = {{8,5}, "0000100000000100000000100010000000010000"},
  latency_log = {{30,5}, "000110110000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000010000000000000000000000000000000000000000000000000"},
  latency_clip = {{8,5}, "0000000000000000000000001000100110000000"},
  latency_tau = {{9,5}, "011110000000000000000000000000100000000000000"},
  rank = {{10,5}, "00010010000000000000000000000000100000010000010000"},
  rank_ranks = {{10,5}, "00010010000000000100000000000100000100000000000000"},
  rank_invert = {{7,5}, "10000001010000000000010000001000000"},
  rate = {{12,2,2}, "100001000000001001100000000000000100001100000100"},
  rate_exp = {{12,2,2}, "001001100000101001000000010000100000010000000000"},
  rate_sqrt = {{12,2,2}, "000001100100000000000000010100000101000001000000"},
  bernoulli = {{12,2,2}, "010100010110011001000100010011101001011101011100"},
  population = {{6,4,2,2}, "100000110111000000000001011101001001001000100000110010010111000010001111000001001000100101100100"},
  population_scalar = {{6,4}, "000001000010111000000010"},
  delta = {{5}, "00101"},
  delta2 = {{4,2}, "00100110"},
  count_uniform = {{12,2,2}, "011100000000010000000000000001000000000000000110"},
  count_random = {{12,2,2}, "000000000001010001000100000001100000000000100000"},
  temporal = {{48,3}, "100000000100000000000000000000000100010000000000000000010000000000000000000000000001000000000000000000001000010010000000000010000000000000000000"},
  temporal_plain = {{20,3}, "100000000000100000000000000100000000000001001000000000001000"},
}

local function same(name, spikes)
  local shape, text = WANT[name][1], {}
  for i, v in ipairs(spikes:reshape(-1):totable()) do text[i] = ("%d"):format(v) end
  t.eq({table.unpack(spikes.shape)}, shape)
  t.eq(table.concat(text), WANT[name][2])
end

local x, m = bdl.tensor{0.02, 0.3, 0.5, 0.77, 1.0}, bdl.tensor{{0.1, 0.9}, {0.5, 0.33}}

local function with_dt(f)
  return function() bdl.environ.context({dt = 1*u.ms}, f) end
end

t.test("one spike each: latency and rank, as the reference", with_dt(function()
  local L, R, y = enc.LatencyEncoder, enc.RankOrderEncoder, bdl.tensor{0.1, 0.8, 0.3, 0.9, 0.2}
  same("latency_linear", L{method = "linear", normalize = true}(x, 8*u.ms))
  same("latency_log", L{method = "log", normalize = true}(x, 30*u.ms))
  same("latency_clip", L{min_val = 0.0, max_val = 2.0, method = "linear", threshold = 0.1, clip = true, normalize = true,
                         first_spk_time = 2*u.ms}(x, 8*u.ms))
  same("latency_tau", L{tau = 9*u.ms}(x))
  same("rank", R()(y, 10))
  same("rank_ranks", R{use_values = false}(y, 10))
  same("rank_invert", R{normalize = false, invert = true}(y, 7))
end))

t.test("rates: from the same key the spikes of the reference", with_dt(function()
  bdl.random.seed(3)
  same("rate", enc.RateEncoder{gain = 400.0}(m, 12))
  same("rate_exp", enc.RateEncoder{gain = 400*u.Hz, method = "exponential", min_rate = 20.0}(m, 12))
  same("rate_sqrt", enc.RateEncoder{method = "sqrt", max_rate = 0.3*u.kHz, normalize = true, min_val = 0.0, max_val = 2.0}(m, 12))
  enc.PoissonEncoder{normalize = true}(m, 12)
  same("bernoulli", enc.BernoulliEncoder{scale = 0.8}(m, 12))
  same("population", enc.PopulationEncoder{4, max_rate = 600.0}(m, 6))
  same("population_scalar", enc.PopulationEncoder{4, sigma = 0.2, max_rate = 600.0}(0.5, 6))
end))

t.test("counts, patterns, changes, currents, as the reference", with_dt(function()
  bdl.random.seed(5)
  same("count_uniform", enc.SpikeCountEncoder{max_spikes = 5, distribution = "uniform"}(m, 12))
  same("count_random", enc.SpikeCountEncoder{max_spikes = 5}(m, 12))
  same("temporal", enc.TemporalEncoder{3, pattern_length = 12}{0, 1, 2, 1})
  same("temporal_plain", enc.TemporalEncoder{3, jitter = 0.0}{0, 2})
  same("delta", enc.DeltaEncoder{threshold = 0.3}{0, 0.1, 0.8, 0.7, 0.2})
  same("delta2", enc.DeltaEncoder{threshold = 0.25, positive_only = true, normalize = false}{{0, .5}, {.3, .2}, {.1, .9}, {.6, .95}})
  t.close(enc.StepCurrentEncoder{offset = 0.5, min_val = 0.0, max_val = 2.0}(x, 2), {{0.6, 2.0, 3.0, 4.35, 5.5}, {0.6, 2.0, 3.0, 4.35, 5.5}},
          1e-6)
  t.close(enc.StepCurrentEncoder{10*u.nA}(x, 2):to(u.pA).mantissa[1], x * 1e4, 1e-6)
end))

t.test("Poisson: a step spikes with probability 1 - exp(-rate dt)", with_dt(function()
  local spikes = enc.PoissonEncoder()(bdl.tensor{0.0, 100.0, 1000.0}, 20000, {key = 1})
  t.close(spikes:mean{axis = 1}, {0, 1 - math.exp(-0.1), 1 - math.exp(-1)}, 0.05)
end))

t.test("a key gives the same spikes again, and leaves the default generator alone", with_dt(function()
  local e = enc.BernoulliEncoder()
  bdl.random.seed(1)
  local next_number = bdl.random.rand(1):item()
  bdl.random.seed(1)
  local first = e(m, 50, {key = 9})
  t.eq(first, e(m, 50, {key = bdl.random.key(9)}))
  t.ok(not bdl.all(bdl.eq(first, e(m, 50, {key = 10}))):item())
  t.eq(bdl.random.rand(1):item(), next_number)
end))

t.test("spikes keep the dtype of what is encoded; compiled they are the same", with_dt(function()
  local images = bdl.data.digits().x_test[{{1, 3}}]
  local e = enc.RateEncoder{gain = 500.0, normalize = true, min_val = 0, max_val = 16}
  local spikes = e(images, 40, {key = 2})
  t.eq(spikes.dtype, "int32")
  t.eq({table.unpack(spikes.shape)}, {40, 3, 8, 8})
  t.eq(bdl.jit(function(x) return e(x, 40, {key = 2}) end)(images), spikes)
  local L = enc.LatencyEncoder{method = "linear", tau = 10*u.ms}
  t.eq(bdl.jit(function(x) return L(x) end)(x), L(x))
end))

t.test("times and rates without units where dt has none", function()
  bdl.environ.context({dt = 1.0}, function()
    same("latency_linear", enc.LatencyEncoder{method = "linear", normalize = true}(x, 8))
    t.close(enc.RateEncoder{gain = 500.0}(bdl.ones(1), 4000, {key = 3}):mean(), 0.5, 0.1)
  end)
end)

t.test("arguments that make no sense", with_dt(function()
  t.raises("ValueError", "method is one of 'linear', 'log', not 'lin'", enc.LatencyEncoder, {method = "lin"})
  t.raises("ValueError", "threshold must be .* not 2", enc.LatencyEncoder, {threshold = 2})
  t.raises("TypeError", "no argument 'max_rat' %(did you mean 'max_rate'", enc.RateEncoder, {max_rat = 1})
  t.raises("TypeError", "argument 'n_neurons'", enc.PopulationEncoder(), 0.5, 3)
  t.raises("ValueError", "one neuron needs a sigma", enc.PopulationEncoder{1}, 0.5, 3)
  t.raises("ValueError", "a number of steps from 1 is needed, not 0", enc.BernoulliEncoder(), x, 0)
  t.raises("UnitMismatchError", "encodes plain numbers, not <mV>", enc.BernoulliEncoder(), x * u.mV, 3)
  t.raises("ValueError", "10 spikes do not fit 3 steps", enc.SpikeCountEncoder(), {0.1, 1.0}, 3)
  t.raises("ValueError", "3 %(number 2%) is none of the 3 patterns", enc.TemporalEncoder{3}, {0, 3})
  t.raises("TypeError", "a vector of integers is needed, not float32%[2%]", enc.TemporalEncoder{3}, {0.5, 1.0})
  t.raises("ShapeError", "orders a vector, not float32%[2,2%]", enc.RankOrderEncoder(), m, 5)
  t.raises("UnitMismatchError", "n_time", enc.LatencyEncoder{normalize = true}, x, 5)
end))

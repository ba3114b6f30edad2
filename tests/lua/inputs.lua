--- Sources of spikes and currents: steps counted from times, rates and variances of what is drawn.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local nn, u = bdl.nn, bdl.units

local DT = 0.1*u.ms

--- What m gives in n steps, compiled and by hand alike.
local function run(m, n, unit)
  nn.init_all_states(m)
  local function step(i) return bdl.environ.context({i = i, t = i * DT, dt = DT}, m) end
  local out = bdl.environ.context({dt = DT}, bdl.for_loop, step, bdl.arange(n))
  return unit and out / unit or out
end

--- The first element's values.
local function trace(m, n, unit) return run(m, n, unit).T:totable()[1] end

t.test("SpikeTime: spikes in the steps of their times, none after the last", function()
  local s = nn.SpikeTime{3, indices = {0, 1, 0, 2, 2}, times = {0.1*u.ms, 0.3*u.ms, 0.3*u.ms, 0.5*u.ms, 0.5*u.ms}}
  t.eq(run(s, 8):totable(), {{0, 0, 0}, {1, 0, 0}, {0, 0, 0}, {1, 1, 0}, {0, 0, 0}, {0, 0, 2}, {0, 0, 0}, {0, 0, 0}})
  local late = {floor = 3, ceil = 4, round = 4}
  for how, step in pairs(late) do
    local x = trace(nn.SpikeTime{1, indices = {0}, times = bdl.tensor{0.37}*u.ms, weights = 2.5, time_as_step = how}, 6)
    for i = 1, 6 do t.eq(x[i], i - 1 == step and 2.5 or 0, how) end
  end
  t.eq(trace(nn.SpikeTime{1, indices = {0}, times = bdl.tensor{0.3}*u.ms, time_as_step = "floor"}, 5), {0, 0, 0, 1, 0})
  t.eq(trace(nn.SpikeTime{1, indices = {0, 0}, times = bdl.tensor{0.2, 0.1}*u.ms, weights = {3, 4}}, 4), {0, 4, 3, 0})
  t.eq(bdl.environ.context({dt = DT, t = 0.2*u.ms}, nn.SpikeTime{1, indices = {0}, times = {0.2*u.ms}}):totable(), {1})
  t.raises("ValueError", "2 indices and 1 times", function() nn.SpikeTime{3, indices = {0, 1}, times = {1*u.ms}} end)
  t.raises("ValueError", "index 3 of 3 neurons; indices count from 0", function() nn.SpikeTime{3, indices = {3}, times = {1*u.ms}} end)
  t.raises("ValueError", "3 weights for 1 spikes", function() nn.SpikeTime{3, indices = {0}, times = {1*u.ms}, weights = {1, 2, 3}} end)
  t.raises("ValueError", "'round', 'floor' or 'ceil', not 'up'", function() nn.SpikeTime{3, indices = {0}, times = {1*u.ms}, time_as_step = "up"} end)
  t.raises("ValueError", "a spike time is >= 0", function() run(nn.SpikeTime{3, indices = {0}, times = {-1*u.ms}}, 1) end)
  t.raises("UnitMismatchError", "a spike time of <mV>", function() run(nn.SpikeTime{3, indices = {0}, times = {1*u.mV}}, 1) end)
end)

t.test("Poisson spikes come with probability 1 - e^(-rate dt)", function()
  bdl.random.seed(3)
  local x = run(nn.PoissonSpike(2000, 400*u.Hz), 1000)
  t.eq(x.dtype, "bool")
  local p = 1 - math.exp(-0.04)
  t.close(x:astype "float32":mean():item(), p, 0, 4 * math.sqrt(p / 2e6))
  bdl.environ.context({dt = DT}, function()
    t.eq(nn.PoissonEncoder{3, spk_type = "float32"}(bdl.tensor{0.0, 1e9, 0.0}*u.Hz):totable(), {0, 1, 0})
    t.eq({table.unpack(nn.PoissonEncoder(3)(bdl.ones(2, 3)*u.Hz).shape)}, {2, 3})
    t.raises("UnitMismatchError", "a rate is in 1/time, not in <ms>", function() nn.PoissonEncoder(3)(1*u.ms) end)
  end)
  t.raises("ValueError", "a rate is >= 0", nn.PoissonSpike, 3, -1*u.Hz)
end)

t.test("poisson_input: mean and variance of binomial counts, at indices, not where refractory", function()
  bdl.random.seed(4)
  bdl.environ.context({dt = DT}, function()
    for _, rate in ipairs{20, 2000} do
      local s = bdl.HiddenState(bdl.zeros(20000)*u.mV)
      nn.poisson_input{target = s, freq = rate*u.Hz, num_input = 100, weight = 2*u.mV}
      local p = 1 - math.exp(-rate * 1e-4)
      t.close((s.value / u.mV):mean():item(), 200 * p, 0, 8 * math.sqrt(100 * p / 20000))
      t.close((s.value / u.mV):var():item(), 400 * p * (1 - p), 0.1)
    end
    local net = nn.Module()
    net.n = nn.LIF(4)
    net.input = nn.PoissonInput{net.n, num_input = 1000, freq = 2000*u.Hz, weight = 1*u.mV, indices = bdl.tensor({0, 2}, {dtype = "int32"})}
    nn.init_all_states(net)
    net.input()
    local V = (net.n.V.value / u.mV):totable()
    t.ok(V[1] > 100 and V[3] > 100)
    t.eq({V[2], V[4]}, {0, 0})
    local s = bdl.HiddenState(bdl.zeros(2))
    nn.poisson_input{target = s, freq = 1e9*u.Hz, num_input = 7, weight = 1.0, refractory = bdl.tensor{true, false}}
    t.eq(s.value:totable(), {0, 7})
  end)
  t.raises("TypeError", "target is a State, not a", function() nn.poisson_input{target = 1, freq = 1*u.Hz, num_input = 1, weight = 1} end)
  t.raises("ValueError", "num_input is a count", function() nn.PoissonInput{nn.LIF(1), num_input = -1, freq = 1*u.Hz, weight = 1*u.mV} end)
end)

t.test("currents by the clock", function()
  t.eq(run(nn.ConstantInput(2, 3*u.mA, 0.3*u.ms), 5, u.mA):totable(), {{3, 3}, {3, 3}, {3, 3}, {0, 0}, {0, 0}})
  t.eq(trace(nn.SectionInput(1, {1*u.mA, 2000*u.uA}, {0.2*u.ms, 0.3*u.ms}), 7, u.mA), {1, 1, 2, 2, 2, 0, 0})
  t.eq(trace(nn.SectionInput(1, bdl.ones(3)*u.mA, bdl.tensor{0.1, 0.2, 0.3}*u.ms), 8, u.mA), {1, 1, 1, 1, 1, 1, 0, 0})
  t.eq(trace(nn.StepInput(1, {1*u.mA, 2*u.mA}, {0.4*u.ms, 0.1*u.ms}), 7, u.mA), {0, 2, 2, 2, 1, 1, 1})
  t.close(trace(nn.RampInput{1, 0*u.mA, 1*u.mA, 0.5*u.ms, t_start = 0.1*u.ms}, 8, u.mA), {0, 0, 0.2, 0.4, 0.6, 0.8, 0, 0}, 1e-5)
  t.close(trace(nn.SinusoidalInput{1, 1*u.mA, 2500*u.Hz, 0.7*u.ms, bias = 1*u.mA}, 8, u.mA), {1, 2, 1, 0, 1, 2, 1, 0}, 1e-5, 1e-5)
  t.raises("ValueError", "2 values and 1 times", function() nn.StepInput(1, {1*u.mA, 2*u.mA}, {0.4*u.ms}) end)
  t.raises("UnitMismatchError", "a duration of <mA>", function() run(nn.ConstantInput(2, 3*u.mA, 0.3*u.mA), 5) end)
end)

t.test("noise: variances, and an end", function()
  bdl.random.seed(5)
  local white = run(nn.WienerProcessInput(1000, 2*u.mA, 10*u.ms), 101, u.mA)
  t.close(white[{{1, 100}}]:var():item(), 0.4, 0.03)
  t.eq(white[101]:totable()[7], 0)
  local ou = run(nn.OUProcessInput{500, 1*u.mA, 0.5*u.mA, 2*u.ms, 1000*u.ms}, 2000, u.mA)
  t.close(ou[{{1000, 2000}}]:mean():item(), 1, 0.02)
  t.close(ou[{{1000, 2000}}]:var():item(), 0.25 / (1 - 0.025), 0.05)
end)

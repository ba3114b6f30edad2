--- Cue and reward: spiking neurons learn which action a cue asks for, from a reward that comes long after the cue.
--
--   tau_s dg/dt = -g + jumps x W - inhibition,   tau dV/dt = -V + R (g + noise),   spike s where V >= V_th
--   tau_e dr/dt = -r + jumps s;   its eligibility trace:  tau_e de/dt = -e + jumps psi(V) dV/dW
--   at the reward  dW = lr (R - P) e,  dP[cue] = rate (R - P[cue]):  reward minus expected reward, one number for all
--
-- One of four cues makes a quarter of the inputs fire for 100 ms.  Two groups of neurons inhibit each other and stand
-- for two actions; the group that fired more is the choice.  In learning a random drive to each group makes it explore.
-- Half a second after the cue comes the reward: 1 for the right action, or 0.
-- Source: Fremaux & Gerstner (2016), Neuromodulated spike-timing-dependent plasticity, and theory of three-factor
-- learning rules, Front. Neural Circuits 9:85; expected reward: Rescorla & Wagner (1972), A theory of Pavlovian
-- conditioning.
-- It prints the share of right choices: about half before (30 to 70 %, by the seed), above 95 % after learning.
local bdl = require "bdl"
local nn, online, random, u = bdl.nn, bdl.online, bdl.random, bdl.units

local s = bdl.settings{trials = 500, group = 10, delay = 500*u.ms, tau_e = 500*u.ms, lr = 0.03, rate = 0.03,
                       explore = 0.3}
local cues, n_in, n = 4, 80, 2 * s.group
local dt, cue_time = 1*u.ms, 100*u.ms
bdl.environ.set{dt = dt}

local Net = nn.Module:extend "Net"

function Net:__init()
  self.synapses = online.nn.Linear{n_in, n, w_init = bdl.init.Uniform(0, 0.3), b_init = bdl.none}
  self.current = online.nn.Expon{n, tau = 5*u.ms, g_initializer = bdl.init.ZeroInit()}
  self.neurons = online.nn.LIF{n, tau = 20*u.ms, V_th = 1*u.mV}
  self.trace = online.nn.Expon{n, tau = s.tau_e, g_initializer = bdl.init.ZeroInit()}
end

--- [2] -> [n], a number for each group
local function to_groups(x) return bdl.broadcast_to(x:reshape(2, 1), 2, s.group):reshape(n) end

--- x [n_in] spikes of the inputs, drive [n] -> r [n]
function Net:update(x, drive)
  local rivals = bdl.flip(self.neurons:get_spike():reshape(2, s.group):sum{axis = 2})
  local g = self.current(self.synapses(x) - to_groups(0.3 * rivals))
  return self.trace(self.neurons((g + random.randn(n) + drive) * u.mA))
end

local net = Net()
local learner = online.compile(net, "ThreeFactor", {bdl.zeros(n_in), bdl.zeros(n)})
local weights = learner:param_states()
local optimizer = bdl.optim.SGD(s.lr)
optimizer:register_trainable_weights(weights)
local expected = bdl.ShortTermState(bdl.full({cues}, 0.5))             -- P
local cue_of = bdl.arange(n_in) * cues // n_in                         -- the cue that an input fires at

--- Spikes of the inputs in a step; during the cue its own fire at 50 Hz, else all at 2 Hz.
local function inputs(cue, shown)
  return random.rand(n_in):lt(bdl.where(cue_of:eq(cue) & shown, 50*u.Hz, 2*u.Hz) * dt)
end

local function steps(time) return (time / dt):item() + 0.5 // 1 | 0 end

--- Shows a cue to the net or its learner -> was the choice right?
local function choose(model, cue, drive)
  nn.reset_all_states(net)
  local r = bdl.for_loop(function() return model(inputs(cue, true), drive) end, {length = steps(cue_time)})[-1]
  return r:reshape(2, s.group):sum{axis = 2}:argmax():eq(cue % 2):astype "float32"
end

local function trial()
  local cue, drive = random.randint(0, cues), to_groups(s.explore * random.randn(2))
  learner:reset_state()
  local reward = choose(learner, cue, drive)
  bdl.for_loop(function() learner(inputs(cue, false), drive) end, {length = steps(s.delay)})
  local surprise = reward - expected.value[cue]
  learner.modulator.value = -surprise                                  -- the optimiser goes down
  optimizer:update(bdl.grad(function() return learner(inputs(cue, false), drive):sum() end, weights)())
  expected.value = expected.value + s.rate * surprise * bdl.functional.one_hot(cue, cues)
  return reward
end

--- The share of right choices, without exploration, in %
local function test()
  local right = bdl.for_loop(function() return choose(net, random.randint(0, cues), bdl.zeros(n)) end, {length = 200})
  return 100 * right:mean():item()
end

local before = test()
local start = bdl.util.clock()
local rewards = bdl.for_loop(trial, {length = s.trials, pbar = "trials"})
local seconds = bdl.util.clock() - start
print(("reward         %.3f a trial in the first tenth of %d trials, %.3f in the last"):format(
      rewards[{{1, s.trials // 10}}]:mean():item(), s.trials, rewards[{{-(s.trials // 10), -1}}]:mean():item()))
print(("right choices  %.1f %% before, %.1f %% after learning"):format(before, test()))
print(nn.summary(net, {steps = s.trials * (steps(cue_time) + steps(s.delay) + 1), seconds = seconds}))

-- The reward, the mean of 25 trials, and the weights: the inputs of a cue, 20 each, come to drive one of two groups.
local window = math.min(25, s.trials)
local sums = bdl.concatenate{bdl.zeros(1), rewards:cumsum()}
bdl.plot.output(bdl.plot.figure{
  bdl.plot.lines((sums[{{window + 1, -1}}] - sums[{{1, -window - 1}}]) / window,
                 {x = bdl.arange(window, s.trials + 1), x_label = "trial", y_label = "reward"}),
  bdl.plot.weights(net.synapses.weight_op.value.weight.T, {map = "viridis", x_label = "input", y_label = "neuron"}),
})

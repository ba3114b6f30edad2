--- Unsupervised learning by spike timing: a neuron comes to fire at a pattern of input spikes that returns again and again in noise.
--
--   tau dV/dt = -V + R g,  V >= V_th: spike, V = 0;   tau_s dg/dt = -g,  g += w_i at a spike of input i
--   at a spike of i  w_i -= A_minus y,  at a spike of the neuron  w_i += A_plus x_i;   dw/dt = growth;   w in 0..1
--   tau_plus dx_i/dt = -x_i,  x_i += 1 at a spike of i;   tau_minus dy/dt = -y,  y += 1 at a spike of the neuron
--
-- All inputs fire at 20 Hz all the time.  In a fifth of the windows of 50 ms half of them replay one fixed pattern, a spike each.
-- Source: Masquelier, Guyonneau & Thorpe (2008), PLoS ONE 3:e1377, with 400 inputs for 2000; the slow growth, which keeps a silent
-- neuron from staying silent, as in Kempter, Gerstner & van Hemmen (1999), Phys. Rev. E 59:4498.
-- It prints, for each fifth of the time, the share of patterns and of windows of noise with a spike: at first both are about alike;
-- in the last fifth above 90 % and below 5 %, some ms after the pattern begins.
local bdl = require "bdl"
local nn, u, random = bdl.nn, bdl.units, bdl.random

local s = bdl.settings{n = 400, rate = 20*u.Hz, duration = 120*u.second, A_plus = 0.02, A_minus = 0.014, growth = 0.004*u.Hz, V_th = 4.5*u.mV}
local dt = 1*u.ms
bdl.environ.set{dt = dt}
local window, half = 50, s.n // 2                                      -- steps; inputs of the pattern

-- The pattern: as many spikes in every step, by neurons in random order; bool [window, half].
local steps_of_spikes = random.permutation(half) * window // half
local pattern = bdl.arange(window):reshape(-1, 1):eq(steps_of_spikes)

local neuron = nn.LIF{1, tau = 10*u.ms, V_th = s.V_th, spk_reset = "hard"}
local synapses = nn.STDP{s.n, 1, 0.475, tau_pre = 16.8*u.ms, tau_post = 33.7*u.ms, A_plus = s.A_plus, A_minus = s.A_minus}
local projection = nn.AlignPostProj{
  comm = synapses, syn = nn.Expon:desc{1, tau = 2.5*u.ms, g_initializer = bdl.init.ZeroInit()}, out = nn.CUBA:desc{scale = u.mA}, post = neuron,
}
nn.init_all_states(projection)
local shown = bdl.ShortTermState(bdl.tensor(false))                    -- the pattern, in the window before?

--- Step i of a window -> 1 where the neuron spikes
local function step(i, present)
  local inputs = random.rand(s.n):lt(s.rate * dt)
  inputs = bdl.concatenate{bdl.where(present, pattern[i], inputs[{{1, half}}]), inputs[{{half + 1, s.n}}]}
  projection(inputs)
  local spike = neuron()
  synapses:learn(inputs, spike)
  synapses.weight.value = bdl.minimum(synapses.weight.value + s.growth * dt, 1.0)
  return spike[1]
end

local windows = math.floor((s.duration / (window * dt)):item() + 0.5)
local start = bdl.util.clock()
local spikes, present = bdl.for_loop(function()                        -- [windows, window], [windows]
  shown.value = random.rand():lt(0.25) & ~shown.value                  -- never twice in a row: in 1 of 5
  local present = shown.value
  return bdl.for_loop(function(i) return step(i, present) end, bdl.arange(window)), present
end, bdl.arange(windows), {pbar = "windows"})
local seconds = bdl.util.clock() - start

local fired = spikes:gt(0):any{axis = 2}
local latency = spikes:argmax{axis = 2} * (dt / u.ms)
print "        time   hits   false alarms   latency"
for k = 1, 5 do
  local part = {{(k - 1) * windows // 5 + 1, k * windows // 5}}
  local is_pattern, has_fired = present[part], fired[part]
  local hit = is_pattern & has_fired
  local function share(x, of) return (x:sum() / of:sum()):item() end
  local delay = share(bdl.where(hit, latency[part], 0.0), hit)
  print(("%8.0f s   %4.1f %%  %4.1f %%   %s"):format(k / 5 * (s.duration / u.second):item(), 100 * share(hit, is_pattern),
        100 * share(has_fired & ~is_pattern, ~is_pattern), delay == delay and ("%6.1f ms"):format(delay) or "     -"))
end
local weight = synapses.weight.value
print(("mean weight    %.7g in the pattern, %.7g outside"):format(weight[{{1, half}}]:mean():item(), weight[{{half + 1, s.n}}]:mean():item()))
print(nn.summary(projection, {steps = windows * window, seconds = seconds}))

-- The shares of windows with a spike, over the time, and the weights.
local function over_time(x, of)                                        -- means of 20 parts
  local part = windows // 20
  local function sum(y) return y[{{1, 20*part}}]:reshape(20, part):sum{axis = 2} end
  return 100 * sum(x & of) / bdl.maximum(sum(of), 1)
end
if windows >= 20 then
  bdl.plot.output(bdl.plot.figure{
    bdl.plot.lines({pattern = over_time(fired, present), noise = over_time(fired, ~present)},
                   {x = (bdl.arange(20) + 0.5) / 20 * s.duration, y_label = "windows with a spike (%)"}),
    bdl.plot.hist({["inputs of the pattern"] = weight[{{1, half}}], others = weight[{{half + 1, s.n}}]},
                  {x_label = "weight", bins = 30}),
  })
end

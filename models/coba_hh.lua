--- COBAHH: Hodgkin-Huxley neurons with excitatory and inhibitory conductances, firing irregularly by themselves.
--
--   C dV/dt = -g_L (V - E_L) - g_Na m^3 h (V - E_Na) - g_K n^4 (V - E_K) - g_e (V - E_e) - g_i (V - E_i),  dx/dt = a_x (1 - x) - b_x x
--   tau_e dg_e/dt = -g_e,  tau_i dg_i/dt = -g_i;  a spike (V crosses -20 mV upwards) adds w_e or w_i to its targets
--
-- Rates of the gates: Traub & Miles (1991), shifted by V_T = -63 mV.  Source: benchmark 3 of Brette et al. (2007),
-- J. Comput. Neurosci. 23:349: 20000 um^2 of membrane, every pair connected with probability 0.02 (here: 80 targets each).
-- It prints rates of 30 to 40 Hz, E and I alike.
local bdl = require "bdl"
local nn, u = bdl.nn, bdl.units

local s = bdl.settings{scale = 1, duration = 200*u.ms}
local n_exc, n_inh = math.floor(3200*s.scale), math.floor(800*s.scale)
local n = n_exc + n_inh
local dt = 0.1*u.ms
bdl.environ.set{dt = dt}

local area = 20000*u.um^2
local C = 1*u.uF/u.cm^2 * area
local gL, gNa, gK = 5e-5*u.siemens/u.cm^2 * area, 100*u.mS/u.cm^2 * area, 30*u.mS/u.cm^2 * area
local EL, ENa, EK, VT, threshold = -60*u.mV, 50*u.mV, -90*u.mV, -63*u.mV, -20*u.mV

--- x / (e^(x/y) - 1)
local function linoid(x, y) return y / bdl.exprel(x / y) end

local HH = nn.Neuron:extend "HH"

function HH:init_state()
  self.V = bdl.HiddenState((-65 + 5*(bdl.random.randn(n) - 1))*u.mV)
  self.m = bdl.HiddenState(bdl.zeros(n))
  self.n = bdl.HiddenState(bdl.zeros(n))
  self.h = bdl.HiddenState(bdl.zeros(n))
end

function HH:update()
  local V, m, h, k = self.V.value, self.m.value, self.h.value, self.n.value
  local v = (V - VT) / u.mV
  local current = self:sum_current_inputs(0*u.nA, V)
  local function gate(x, open, close)
    return nn.exp_euler_step(function(y) return (open - (open + close) * y) / u.ms end, x)
  end
  self.V.value = nn.exp_euler_step(function(y)
    return (gL * (EL - y) + gNa * (m^3 * h) * (ENa - y) + gK * k^4 * (EK - y) + current) / C
  end, V)
  self.m.value = gate(m, 0.32 * linoid(13 - v, 4), 0.28 * linoid(v - 40, 5))
  self.h.value = gate(h, 0.128 * bdl.exp((17 - v) / 18), 4 / (1 + bdl.exp((40 - v) / 5)))
  self.n.value = gate(k, 0.032 * linoid(15 - v, 5), 0.5 * bdl.exp((10 - v) / 40))
  return V:lt(threshold) & self.V.value:ge(threshold)
end

local net = nn.Module()
net.N = HH(n)
local function projection(n_pre, weight, tau, E)
  return nn.AlignPostProj{
    comm = bdl.conn.fixed_num_post(n_pre, n, 80, {weight = weight}),
    syn = nn.Expon:desc{n, tau = tau, g_initializer = bdl.init.ZeroInit{unit = u.nS}},
    out = nn.COBA:desc{E = E},
    post = net.N,
  }
end
net.E = projection(n_exc, 6.0*u.nS, 5*u.ms, 0*u.mV)
net.I = projection(n_inh, 67.0*u.nS, 10*u.ms, -80*u.mV)
net.spikes = bdl.ShortTermState(bdl.zeros({n}, {dtype = "bool"}))
nn.init_all_states(net)

local spikes = bdl.monitor.SpikeMonitor(net.N)
local start = bdl.util.clock()
local sim = bdl.run(function()
  local last = net.spikes.value
  net.E(last[{{1, n_exc}}])
  net.I(last[{{n_exc + 1, n}}])
  net.spikes.value = net.N()
end, s.duration, {monitors = {spikes}, pbar = true})
local wall = bdl.util.clock() - start

local seconds = (s.duration / u.second):item()
local function rates(from, to) return spikes.count[{{from, to}}] / s.duration:to(u.second) end
local E, I = rates(1, n_exc), rates(n_exc + 1, n)
print(("rates: E %.1f Hz, I %.1f Hz"):format((E:mean() / u.Hz):item(), (I:mean() / u.Hz):item()))
print(("speed: %.0f steps/s, %.3f times real time"):format(sim.i / wall, seconds / wall))

-- 60 excitatory and 20 inhibitory neurons are shown.
local shown = bdl.concatenate{bdl.arange(60), bdl.arange(20) + n_exc}
bdl.plot.output(bdl.plot.figure({
  bdl.plot.raster(spikes, {rows = shown, groups = {{"excitatory", 60}, {"inhibitory", 20}}}),
  bdl.plot.hist({excitatory = E, inhibitory = I}, {x_label = "rate", density = true}),
}, {heights = {1.7, 1}}))

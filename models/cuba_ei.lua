--- CUBA: a network of excitatory and inhibitory neurons with current-based synapses that fires irregularly by itself.
--
--   tau dV/dt = (E_L - V) + g_e + g_i + I                            spike at V_th, then V_reset for t_ref
--   tau_e dg_e/dt = -g_e,  tau_i dg_i/dt = -g_i                      a spike adds w_e or w_i to 80 targets
--
-- Source: Vogels & Abbott (2005), J. Neurosci. 25:10786, as benchmark 2 of Brette et al. (2007), J. Comput. Neurosci. 23:349,
-- with a constant current I for the background.
-- It prints rates of 24 to 26 Hz.
local bdl = require "bdl"
local nn, u = bdl.nn, bdl.units

local s = bdl.settings{scale = 1, duration = 1000*u.ms, w_e = 1.62, w_i = -9.0, I = 20*u.mA}
local n_exc, n_inh = math.floor(3200*s.scale), math.floor(800*s.scale)
local n = n_exc + n_inh
local dt = 0.1*u.ms
bdl.environ.set{dt = dt}

local EINet = nn.Module:extend "EINet"

function EINet:__init()
  self.N = nn.LIFRef{n, tau = 20*u.ms, tau_ref = 5*u.ms, V_rest = -49*u.mV, V_th = -50*u.mV, V_reset = -60*u.mV, spk_reset = "hard",
                     V_initializer = bdl.init.Normal{-55, 2, unit = u.mV}}
  self.E = self:projection(n_exc, s.w_e, 5*u.ms)
  self.I = self:projection(n_inh, s.w_i, 10*u.ms)
end

--- 80 targets for each of n_pre neurons, one weight; 1 siemens stands for 1 mV, as the resistance of the neurons is 1 ohm.
function EINet:projection(n_pre, weight, tau)
  return nn.AlignPostProj{
    comm = bdl.conn.fixed_num_post(n_pre, n, 80, {weight = weight*u.siemens}),
    syn = nn.Expon:desc{n, tau = tau, g_initializer = bdl.init.ZeroInit{unit = u.siemens}},
    out = nn.CUBA:desc{scale = u.mV},
    post = self.N,
  }
end

function EINet:update(I)
  local spikes = self.N:get_spike()
  self.E(spikes[{{1, n_exc}}])
  self.I(spikes[{{n_exc + 1, n}}])
  return self.N(I)
end

local start = bdl.util.clock()
local net = nn.init_all_states(EINet())
print(("%d excitatory and %d inhibitory neurons, %d synapses, built in %.0f ms"):format(n_exc, n_inh, 80*n, 1e3*(bdl.util.clock() - start)))

local spikes = bdl.monitor.SpikeMonitor(net.N)
start = bdl.util.clock()
local sim = bdl.run(function() net(s.I) end, s.duration, {monitors = {spikes}, pbar = true})
local wall = bdl.util.clock() - start

local seconds = (s.duration / u.second):item()
local function rates(from, to) return spikes.count[{{from, to}}] / s.duration:to(u.second) end
local E, I = rates(1, n_exc), rates(n_exc + 1, n)
print(("rates: E %.1f Hz, I %.1f Hz"):format((E:mean() / u.Hz):item(), (I:mean() / u.Hz):item()))
print(("speed: %.0f steps/s, %.2f times real time"):format(sim.i / wall, seconds / wall))

-- 60 excitatory and 20 inhibitory neurons are shown.
local shown = bdl.concatenate{bdl.arange(60), bdl.arange(20) + n_exc}
bdl.plot.output(bdl.plot.figure({
  bdl.plot.raster(spikes, {rows = shown, groups = {{"excitatory", 60}, {"inhibitory", 20}}}),
  bdl.plot.hist({excitatory = E, inhibitory = I}, {x_label = "rate", density = true}),
}, {heights = {1.7, 1}}))

--- One Hodgkin-Huxley neuron under constant currents: how the rate depends on the current.
--
--   C dV/dt = -gNa m^3 h (V - ENa) - gK n^4 (V - EK) - gL (V - EL) + I,  dx/dt = alpha_x (1 - x) - beta_x x
--
-- Source: Hodgkin & Huxley (1952), J. Physiol. 117:500, in the form of Gerstner et al., Neuronal Dynamics (2014), section 2.2.
-- Below about 6 uA/cm^2 the neuron fires a few times at most; then its rate jumps to about 60 Hz and rises slowly.
local bdl = require "bdl"
local nn, u = bdl.nn, bdl.units

local s = bdl.settings{duration = 1000*u.ms, n = 9, most = 16.0, dt = 0.01*u.ms}
bdl.environ.set{dt = s.dt}

local area = u.cm^2
local N = nn.HH{s.n, gNa = 120*u.mS/area, gK = 36*u.mS/area, gL = 0.3*u.mS/area, C = 1*u.uF/area, V_th = 0*u.mV}
N:init_state()
local currents = bdl.linspace(0, s.most, s.n)
local spikes = bdl.monitor.SpikeMonitor(N)
local trace = bdl.monitor.StateMonitor(N, "V", {record = -1, every = 10})

bdl.run(function() N(currents*u.uA/area) end, s.duration, {monitors = {spikes, trace}, pbar = true})

local rates = spikes.count / s.duration:to(u.second)
print "current    rate"
for i = 1, s.n do print(("%4.1f uA/cm2 %4.0f Hz"):format(currents[i]:item(), (rates[i] / u.Hz):item())) end
print(("V at the largest current: from %.1f to %.1f mV"):format((trace.V:min() / u.mV):item(), (trace.V:max() / u.mV):item()))

bdl.plot.output(bdl.plot.figure{
  bdl.plot.tuning(currents*u.uA/area, rates, {x_label = "current", y_label = "rate"}),
  bdl.plot.lines(trace, {title = ("at %g uA/cm2"):format(s.most),
                         x_limits = {0*u.ms, bdl.minimum(100*u.ms, s.duration)}}),
})

--- W1: start-up.  100 LIF under constant current for 1000 steps; prints the number of spikes (534).
local bdl = require "bdl"
local nn, u = bdl.nn, bdl.units

bdl.environ.set{dt = 0.1*u.ms}
local neurons = nn.LIFRef{100, tau = 20*u.ms, tau_ref = 5*u.ms, V_rest = -60*u.mV, V_reset = -60*u.mV, V_th = -50*u.mV, spk_reset = "hard"}
nn.init_all_states(neurons)
neurons.V.value = (bdl.arange(100) / 10 - 60) * u.mV
local spikes = bdl.for_loop(function() return neurons(20*u.mA):sum() end, bdl.arange(1000))
print(("%d"):format(spikes:sum():item()))

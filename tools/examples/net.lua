--- What net.cpp and net.py load: a layer of spiking neurons.
local bdl = require "bdl"
local nn, u = bdl.nn, bdl.units

bdl.environ.set{dt = 1*u.ms}
bdl.random.seed(1)
local net = nn.Module:extend "Net"()
net.weights = nn.Linear(8, 32)
net.neurons = nn.LIF{32, tau = 10*u.ms, V_th = 0.2*u.mV}
nn.init_all_states(net)

--- x [8] -> spikes [32]
local function step(x) return net.neurons(net.weights(x) * u.mA) end

return {step = step, net = net}

--- A wave learned while it is heard, by a network that fits a microcontroller: `bdl export models/wave_device.lua -o dir` writes it
--  as C with its learning rule and optimiser, for tools/examples/wave.c or any other program.
--
--   tau_s dg/dt = -g + jumps [x, s] W,   tau dV/dt = -V + R g,   spike s where V >= V_th + beta a,   tau_a da/dt = -a + jumps s
--   tau_r dr/dt = -r + jumps s W_out;   loss (r - y)^2 of each step, y the wave a quarter of its period later
--   ES-D-RTRL  ei_t = k ei_t-1 + i_t,   ef_t = k D_t ef_t-1 + (1 - k) F_t;   Adam after every step
--
-- Source: rule: Wang et al. (2024), BrainScale: scalable online learning in spiking neural networks.
-- It prints the mean loss of the first and of the last 1,000 steps; that of an output of 0 is 0.5.  Below 0.1 at the end is expected.
local bdl = require "bdl"
local nn, online, u = bdl.nn, bdl.online, bdl.units

local s = bdl.settings{hidden = 64, steps = 40000, lr = 0.0003, decay = 0.9}
bdl.environ.set{dt = 1*u.ms}

local Net = nn.Module:extend "Net"

function Net:__init()
  self.neurons = online.nn.ALIF{s.hidden, tau = 10*u.ms, tau_a = 100*u.ms, V_th = 1*u.mV, beta = 0.1*u.mV,
                                spk_fun = bdl.surrogate.ReluGrad(1.0)}
  local input, recurrent = bdl.init.KaimingNormal(4.0), bdl.init.KaimingNormal(0.2)
  self.synapse = nn.AlignPostProj{
    comm = online.nn.Linear{2 + s.hidden, s.hidden, b_init = bdl.init.ZeroInit{unit = u.mS},
      w_init = bdl.concatenate({input{2, s.hidden}, recurrent{s.hidden, s.hidden}}, {axis = 1}) * u.mS},
    syn = online.nn.Expon:desc{s.hidden, tau = 10*u.ms}, out = nn.CUBA:desc{scale = 1*u.volt}, post = self.neurons,
  }
  self.readout = online.nn.LeakyRateReadout{s.hidden, 1, tau = 10*u.ms, w_init = bdl.init.KaimingNormal(0.1)}
end

--- x [2], a number and 1 -> r [1]
function Net:update(x)
  self.synapse(bdl.concatenate({x, self.neurons:get_spike()}, {axis = -1}))
  self.neurons()
  return self.readout(self.neurons:get_spike())
end

local net = Net()
local learner = online.compile(net, "ES_D_RTRL", bdl.zeros(2), {decay_or_rank = s.decay})
local weights = learner:param_states()
local optimizer = bdl.optim.Adam(s.lr)
optimizer:register_trainable_weights(weights)

--- One step forward; x [2] -> r [1]
local function predict(x) return learner(x) end

--- The same, and a step of the optimiser towards y [1]; r [1], loss
local function learn(x, y)
  local grads, loss, r = bdl.grad(function()
    local r = learner(x)
    return ((r - y)^2):mean(), r
  end, weights, {return_value = true, has_aux = true})()
  optimizer:update(grads)
  return r, loss
end

--- What step i hears, and the answer.
local function wave(i)
  local phase = i * (2 * math.pi / 100)
  return bdl.stack{bdl.sin(phase), bdl.tensor(1.0)}, bdl.cos(phase):reshape(1)
end

local x, y = wave(bdl.tensor(0.0))
bdl.export{name = "wave", states = {net = net, optimizer = optimizer, traces = learner:states()}, predict = {predict, x},
           learn = {learn, x, y}}

local losses = bdl.for_loop(function(i)
  local _, loss = learn(wave(i))
  return loss
end, bdl.arange(s.steps):astype "float32")
print(("loss  %.4g in the first 1,000 steps, %.4g in the last"):format(losses[{{1, 1000}}]:mean():item(), losses[{{-1000, -1}}]:mean():item()))

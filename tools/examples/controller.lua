--- The network of controller.c: spiking neurons learn online, from one step to the next, which torque an arm needs.
--
--   tau dV/dt = -V + R (W [x, s] + b),   tau_a da/dt = -a,   spike s where V >= V_th + beta a:  V -= V_th, a += 1
--   tau_r du/dt = -u + s W_out;   dW = -lr e (du/dW by eligibility traces),   e = -(torque of the feedback)
--
-- What the feedback controller had to add is the error of the network: it learns to make the feedback needless.
-- Source: Kawato (1990), Feedback-error-learning neural network for supervised motor learning; traces that factorise into those of
-- inputs and of States: Wang et al. (2024), BrainScale; neurons: Bellec et al. (2020), A solution to the learning dilemma for recurrent
-- networks of spiking neurons.
local bdl = require "bdl"
local nn, online, u = bdl.nn, bdl.online, bdl.units

local n, n_in = 256, 4
bdl.environ.set{dt = 1*u.ms}
bdl.random.seed(1)

local Net = nn.Module:extend "Net"

function Net:__init()
  self.input = online.nn.Linear{n_in + n, n, b_init = bdl.init.Uniform(0, 1),
    w_init = bdl.concatenate({bdl.init.Normal(0, 1.0){n_in, n}, bdl.init.Normal(0, 0.5 / n^0.5){n, n}}, {axis = 1})}
  self.neurons = online.nn.ALIF{n, tau = 20*u.ms, tau_a = 200*u.ms, V_th = 1*u.mV, beta = 0.1*u.mV, spk_fun = bdl.surrogate.ReluGrad(0.5)}
  self.readout = online.nn.LeakyRateReadout{n, 1, tau = 10*u.ms}
end

--- x [4] : what is wanted and what is, angles and velocities -> torque [1]
function Net:update(x)
  self.neurons(self.input(bdl.concatenate{x, self.neurons:get_spike()}) * u.mA)
  return self.readout(self.neurons:get_spike())
end

local net = Net()
local learner = online.compile(net, "ES_D_RTRL", bdl.zeros(n_in), {decay_or_rank = 0.95})
local weights = learner:param_states()
local optimizer = bdl.optim.Adam(1e-3)
optimizer:register_trainable_weights(weights)

--- One millisecond.  x [4], feedback [1] : the torque that the feedback controller adds -> torque [1] of the network
local function step(x, feedback)
  local grads, _, torque = bdl.grad(function()
    local y = learner(x)
    return -(y * feedback):sum(), y
  end, weights, {return_value = true, has_aux = true})()
  optimizer:update(grads)
  return torque
end

return {step = step, net = net}

--- Handwritten digits read row by row: spiking neurons with short-term plasticity that learn while they spike.
--
--   tau_s dg/dt = -g + sum of jumps W [x, u x s],   tau dV/dt = -V + R g,   tau_a da/dt = -a
--   spike s where V >= V_th + beta a;   u, x of each neuron: Tsodyks & Markram (1997);   tau_r dr/dt = -r + s W_out
--   D-RTRL:     a trace for each weight and hidden State                  e_t = D e_t-1 + x_t (x) Df_t
--   ES-D-RTRL:  a trace for each input and each neuron, their product     --set rule=ES_D_RTRL
--
-- A row of 8 pixels is a current for 4 ms; -log softmax(r)[digit] of the last row's steps is the loss.
-- Source: Wang et al. (2024), BrainScale: scalable online learning in spiking neural networks; digits: see models/data.
local bdl = require "bdl"
local nn, online, u = bdl.nn, bdl.online, bdl.units

local s = bdl.settings{epochs = 40, hidden = 128, batch = 32, lr = 0.01, hold = 4, rule = "D_RTRL", decay = 0.9, gain = 2.0, beta = 0.2, every = false}
bdl.environ.set{dt = 1*u.ms}

local digits = bdl.data.digits()
local x_train, x_test = digits.x_train / 16, digits.x_test / 16        -- [n, 8, 8], 0 to 1
local y_train, y_test = digits.y_train, digits.y_test                  -- [n], 0 to 9

local Net = nn.Module:extend "Net"

function Net:__init()
  self.neurons = online.nn.ALIF{s.hidden, tau = 5*u.ms, tau_a = 100*u.ms, V_th = 1*u.mV, beta = s.beta*u.mV, spk_fun = bdl.surrogate.ReluGrad(1.0)}
  self.plasticity = online.nn.STP{s.hidden, tau_f = 500*u.ms, tau_d = 100*u.ms}
  local input, recurrent = bdl.init.KaimingNormal(s.gain), bdl.init.KaimingNormal(0.2)
  self.synapse = nn.AlignPostProj{
    comm = online.nn.Linear{8 + s.hidden, s.hidden, b_init = bdl.init.ZeroInit{unit = u.mS},
      w_init = bdl.concatenate({input{8, s.hidden}, recurrent{s.hidden, s.hidden}}, {axis = 1}) * u.mS},
    syn = online.nn.Expon:desc{s.hidden, tau = 10*u.ms}, out = nn.CUBA:desc{scale = 1*u.volt}, post = self.neurons,
  }
  self.readout = online.nn.LeakyRateReadout{s.hidden, 10, tau = 10*u.ms}
end

--- pixels of a row [batch, 8] -> logits [batch, 10]
function Net:update(row)
  local released = self.plasticity(self.neurons:get_spike())
  self.synapse(bdl.concatenate({row, released}, {axis = -1}))
  self.neurons()
  return self.readout(self.neurons:get_spike())
end

local net = Net()
local learner = online.compile(net, s.rule, bdl.zeros(s.batch, 8), {batch_size = s.batch, decay_or_rank = s.rule ~= "D_RTRL" and s.decay or nil})
local schedule = bdl.optim.CosineAnnealingLR{s.lr, T_max = s.epochs}
local optimizer = bdl.optim.Adam(schedule)
optimizer:register_trainable_weights(learner:param_states())
local n_steps = 8 * s.hold
local row_of = bdl.arange(n_steps) // s.hold
local last_row = row_of:eq(7)

--- [n, 8, 8] -> [steps, n, 8]
local function in_time(images) return images:swapaxes(1, 2)[row_of] end

--- A step of the optimiser on the images ids [batch] -> their mean loss
local function step(ids)
  local y = y_train[ids]
  nn.reset_all_states(net, s.batch)
  learner:reset_state()
  local grads, losses = learner:etrace_grad(in_time(x_train[ids]), function(row)
    return bdl.metric.softmax_cross_entropy_with_integer_labels(learner(row), y):mean()
  end, {mask = not s.every and last_row or nil})
  optimizer:update(grads)
  return losses[-1]
end

-- All epochs are one compiled program: in each, the images in a new order, batch by batch.
local steps = #x_train // s.batch
local start = bdl.util.clock()
local losses = bdl.for_loop(function()
  local order = bdl.random.permutation(#x_train)[{{1, steps * s.batch}}]
  local loss = bdl.for_loop(step, order:reshape(steps, s.batch)):mean()
  schedule:step()
  return loss
end, {length = s.epochs, pbar = "epochs"})
local seconds = bdl.util.clock() - start

nn.init_all_states(net, #x_test)
local logits = bdl.for_loop(function(row) return net(row) end, in_time(x_test))[{{-s.hold, -1}}]:mean{axis = 1}
print(("loss           %.7g in the first epoch, %.7g in the last"):format(losses[1]:item(), losses[-1]:item()))
print(("test accuracy  %.2f %%"):format(100 * bdl.metric.accuracy(logits, y_test):item()))
print(nn.summary(net, {steps = s.epochs * steps, seconds = seconds}))

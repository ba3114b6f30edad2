--- Handwritten digits read row by row: a gated recurrent unit that learns while it reads, by D-RTRL.
--
--   e_t = D_t e_t-1 + x_t (x) Df_t,   dL_t/dW = dL_t/dh_t e_t        D = dh_t/dh_t-1 of each unit, Df = dh_t/d(W x)
--   h as in digits_gru.lua;   the loss of a row is -log softmax(h W + b)[digit], that of the last row counts
--
-- Traces take the place of the past: memory does not grow with the number of steps, nothing is run backwards.
-- Source: Wang et al. (2024), BrainScale: scalable online learning in spiking neural networks; digits: see models/data.
-- It prints a test accuracy of 96 to 97 %, by the seed (bdl run --seed 1); at least 95 % is expected.
local bdl = require "bdl"
local nn, online = bdl.nn, bdl.online

local s = bdl.settings{epochs = 40, hidden = 64, batch = 32, lr = 6e-3, rule = "D_RTRL"}

local digits = bdl.data.digits()
local x_train, x_test = digits.x_train / 16, digits.x_test / 16        -- [n, 8, 8], 0 to 1
local y_train, y_test = digits.y_train, digits.y_test                  -- [n], 0 to 9

local Net = nn.Module:extend "Net"

function Net:__init()
  self.cell = online.nn.GRUCell(8, s.hidden)
  self.readout = online.nn.Linear(s.hidden, 10)
end

function Net:update(row) return self.readout(self.cell(row)) end

local net = Net()
local learner = online.compile(net, s.rule, bdl.zeros(s.batch, 8), {batch_size = s.batch})
local schedule = bdl.optim.CosineAnnealingLR{s.lr, T_max = s.epochs}
local optimizer = bdl.optim.Adam(schedule)
optimizer:register_trainable_weights(learner:param_states())
local last_row = bdl.arange(8):eq(7)

--- A step of the optimiser on the images ids [batch] -> their mean loss
local function step(ids)
  local rows, y = x_train[ids]:swapaxes(1, 2), y_train[ids]
  nn.reset_all_states(net, s.batch)
  learner:reset_state()
  local grads, losses = learner:etrace_grad(rows, function(row)
    return bdl.metric.softmax_cross_entropy_with_integer_labels(learner(row), y):mean()
  end, {mask = last_row})
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

--- images [n, 8, 8] -> logits [n, 10]
local function read(images)
  nn.init_all_states(net, #images)
  return bdl.for_loop(function(row) return net(row) end, images:swapaxes(1, 2))[-1]
end

print(("loss           %.7g in the first epoch, %.7g in the last"):format(losses[1]:item(), losses[-1]:item()))
local logits = read(x_test)
print(("test accuracy  %.2f %%"):format(100 * bdl.metric.accuracy(logits, y_test):item()))
print(nn.summary(net, {steps = s.epochs * steps, seconds = seconds}))

-- The loss, and what the digits of the test images were taken for, in % of each.
local counts = bdl.functional.one_hot(y_test, 10).T:matmul(bdl.functional.one_hot(logits:argmax{axis = -1}, 10))
local confusion = 100 * counts / counts:sum{axis = 2, keepdims = true}
bdl.plot.output(bdl.plot.figure{{
  bdl.plot.loss(losses), bdl.plot.weights(confusion, {label = "%", x_label = "answer", y_label = "digit"}),
}})

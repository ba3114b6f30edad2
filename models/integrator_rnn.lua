--- Evidence accumulation: a recurrent network of rate units learns to integrate a noisy input, and so to decide on its sign.
--
--   x_t = m dt + sqrt(dt) xi,  xi ~ N(0, 1),  a drift m of either sign in each trial;   wanted: z_t = x_1 + .. + x_t
--   h' = tanh([x, h] W + b),   y = h W_out + c;   the loss is the mean of (y - z)^2 over all steps
--
-- Source: Gold & Shadlen (2007), The neural basis of decision making; the cell of Elman (1990), Finding structure in time.
-- It prints how much of the variance of z the network explains, above 99 %, and how often sign(y) is sign(z) at the end, above 95 %.
local bdl = require "bdl"
local nn, random = bdl.nn, bdl.random

local s = bdl.settings{rounds = 15, per_round = 100, batch = 64, hidden = 64, lr = 5e-3, steps = 50, drift = 2.0}
local dt = 1 / s.steps

--- n trials: inputs and their sums, [steps, n, 1]
local function trials(n)
  local m = random.uniform(-s.drift, s.drift, {size = {1, n, 1}})
  local x = m * dt + math.sqrt(dt) * random.randn(s.steps, n, 1)
  return x, x:cumsum{axis = 1}
end

local Net = nn.Module:extend "Net"

function Net:__init()
  self.cell = nn.VanillaRNNCell{1, s.hidden, w_init = bdl.init.Orthogonal(), activation = "tanh"}
  self.readout = nn.Linear(s.hidden, 1)
end

--- x [steps, n, 1] -> y [steps, n, 1]
function Net:update(x)
  self.cell:init_state(x.shape[2])
  return self.readout(bdl.for_loop(self.cell, x))
end

local net = Net()
local weights = net:states(bdl.ParamState)
local schedule = bdl.optim.CosineAnnealingLR{s.lr, T_max = s.rounds}
local optimizer = bdl.optim.Adam{schedule, grad_clip_norm = 1.0}
optimizer:register_trainable_weights(weights)

local function step()
  local x, z = trials(s.batch)
  local grads, loss = bdl.grad(function() return bdl.mean((net(x) - z)^2) end, weights, {return_value = true})()
  optimizer:update(grads)
  return loss
end

local start = bdl.util.clock()
local losses = bdl.for_loop(function()
  local loss = bdl.for_loop(step, {length = s.per_round}):mean()
  schedule:step()
  return loss
end, {length = s.rounds, pbar = "rounds"})
local seconds = bdl.util.clock() - start

local x, z = trials(1000)
local y = net(x)
local explained = 1 - bdl.mean((y - z)^2) / z:var()
local agree = y[-1]:gt(0):eq(z[-1]:gt(0)):mean()
print(("loss           %.7g in the first round, %.7g in the last"):format(losses[1]:item(), losses[-1]:item()))
print(("test           %.2f %% of the variance explained, %.1f %% of 1000 decisions right"):format(100*explained:item(), 100*agree:item()))
print(nn.summary(net, {steps = s.rounds * s.per_round, seconds = seconds}))

-- The loss, a trial, and the ends of all trials.
bdl.plot.output(bdl.plot.figure{
  bdl.plot.loss(losses, {x_label = "round"}),
  {bdl.plot.lines({sum = z[{{}, 1, 1}], network = y[{{}, 1, 1}]}),
   bdl.plot.points(z[{-1, {}, 1}], y[{-1, {}, 1}], {x_label = "sum at the end", y_label = "network"})},
})

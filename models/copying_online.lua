--- A copying task over 1,000 steps: memory cells learn online what to store, in memory that does not grow with time.
--
--   h_t = (1 - z_t) h_t-1 + z_t tanh(x_t W + b),   z_t = sigmoid(x_t U + c);   y = h V + d
--
-- x_t is one of 8 symbols at random.  The first five are marked with their places; at the end they are asked for.
-- No cell reads another, so the traces of D-RTRL are exact: they give the gradient of backpropagation through time,
-- which keeps all steps until the end.
-- Source: task of Hochreiter & Schmidhuber (1997), Long short-term memory, and Arjovsky, Shah & Bengio (2016), Unitary
-- evolution recurrent neural networks; exact traces of such cells: Zucchet et al. (2023), Online learning of long-range
-- dependencies.
-- It prints how many of the symbols are copied, above 99 % (without learning 12.5 %), and the memory of both gradients.
local bdl = require "bdl"
local nn, online, random = bdl.nn, bdl.online, bdl.random

local s = bdl.settings{steps = 1000, symbols = 5, hidden = 64, batch = 16, lr = 0.05, updates = 250}
local kinds = 8
local n_in = kinds + s.symbols

local Net = nn.Module:extend "Net"

function Net:__init()
  self.value = online.nn.Linear(n_in, s.hidden)
  self.gate = online.nn.Linear{n_in, s.hidden, b_init = bdl.init.Constant(-6.0)}
  self.readout = nn.Linear(s.hidden, kinds * s.symbols)
end

function Net:init_state(batch) self.h = bdl.HiddenState(bdl.zeros(batch, s.hidden)) end

--- x [batch, n_in] -> h [batch, hidden]
function Net:update(x)
  local z = bdl.functional.sigmoid(self.gate(x))
  self.h.value = (1 - z) * self.h.value + z * bdl.tanh(self.value(x))
  return self.h.value
end

--- What step i shows, from 0: [batch, n_in].  wanted [symbols, batch] : what is to be copied
local function input(i, wanted)
  local other = random.randint(0, kinds, {size = s.batch})
  local symbol = bdl.where(i:lt(s.symbols), wanted[bdl.minimum(i, s.symbols - 1)], other)
  local place = bdl.broadcast_to(bdl.functional.one_hot(i, s.symbols), s.batch, s.symbols)
  return bdl.concatenate({bdl.functional.one_hot(symbol, kinds), place}, {axis = -1})
end

local net = Net()
local learner = online.compile(net, "D_RTRL", bdl.zeros(s.batch, n_in), {batch_size = s.batch})
local weights = net:states(bdl.ParamState)

--- After the last step, h [batch, hidden]: the loss, and the share of the symbols that are right.
local function judge(h, wanted)
  local logits, y = net.readout(h):reshape(s.batch, s.symbols, kinds), wanted:swapaxes(1, 2)
  return bdl.metric.softmax_cross_entropy_with_integer_labels(logits, y):mean(), logits:argmax{axis = -1}:eq(y):mean()
end

local function symbols() return random.randint(0, kinds, {size = {s.symbols, s.batch}}) end

--- Gradient, loss and share of right symbols of a sequence: States and traces step by step, then a single derivative.
local function by_traces(steps)
  nn.reset_all_states(net, s.batch)
  learner:reset_state()
  local wanted = symbols()
  learner:etrace_evolve(bdl.arange(steps - 1), {step_fn = function(i) learner(input(i, wanted)) end})
  local last = input(bdl.tensor(steps - 1), wanted)
  return bdl.grad(function() return judge(learner(last), wanted) end, weights, {return_value = true, has_aux = true})()
end

--- The same by backpropagation through time.
local function by_bptt(steps)
  local wanted = symbols()
  return bdl.grad(function()
    nn.reset_all_states(net, s.batch)
    return judge(bdl.for_loop(function(i) return net(input(i, wanted)) end, bdl.arange(steps))[-1], wanted)
  end, weights, {return_value = true, has_aux = true})()
end

local optimizer = bdl.optim.Adam(s.lr)
optimizer:register_trainable_weights(weights)
local start = bdl.util.clock()
local loss, right = bdl.for_loop(function()
  local grads, loss, right = by_traces(s.steps)
  optimizer:update(grads)
  return loss, right
end, {length = s.updates, pbar = "updates"})
local seconds = bdl.util.clock() - start

local copied = bdl.for_loop(function() return (select(3, by_traces(s.steps))) end, {length = 20}):mean():item()
print(("loss           %.7g in the first update, %.7g in the last"):format(loss[1]:item(), loss[-1]:item()))
print(("copied         %.2f %% of the symbols of %d new sequences"):format(100 * copied, 20 * s.batch))

--- The gradient of the sequence that a seed gives, and the most memory up to now in MiB.
local function gradients(by, steps)
  collectgarbage() -- what was traced before is not to count
  random.seed(1)
  return bdl.jit(function() return (by(steps)) end)(), bdl.util.memory().peak / 2^20
end

-- From what takes little memory to what takes much: the peak is that up to now.
local short = math.max(2, s.steps // 10)
local function peaks(name, by)
  local _, few = gradients(by, short)
  local grads, many = gradients(by, s.steps)
  print(("%-14s %.2f MiB at most with %d steps, %.2f MiB with %d"):format(name, few, short, many, s.steps))
  return grads
end
local grads, exact = peaks("traces", by_traces), peaks("through time", by_bptt)
local difference = 0.0
bdl.tree.map(function(a, b)
  difference = math.max(difference, (bdl.abs(a - b):max() / bdl.abs(b):max()):item())
end, grads, exact)
print(("gradients      differ by %.1g of the largest element of a parameter"):format(difference))
print(nn.summary(net, {steps = s.updates * s.steps, seconds = seconds}))

bdl.plot.output(bdl.plot.figure{
  bdl.plot.loss(loss, {x_label = "update"}),
  bdl.plot.lines(100 * right, {x_label = "update", y_label = "symbols copied (%)"}),
})

--- W6: online learning of a recurrent layer of ALIF neurons.
--  w6.lua d_rtrl|pp_prop|bptt hidden batch steps repeats
package.path = "tools/bench/?.lua;" .. package.path
local bdl = require "bdl"
local common = require "common"
local clock = bdl.util.clock
local nn, online = bdl.nn, bdl.online

local rule = arg[1]
local H, B, T, repeats = tonumber(arg[2]), tonumber(arg[3]), tonumber(arg[4]), tonumber(arg[5])
local I, O = 100, 10

bdl.random.seed(1)
bdl.environ.set{dt = 1.0}
local function normal(gain, n_in, n_out) return bdl.random.normal(0, gain*(2/n_in)^0.5, {size = {n_in, n_out}}) end
local x = bdl.random.rand(T, B, I):lt(0.1):astype "float32"
local y = bdl.random.randint(0, O, {B})

local Net = nn.Module:extend "Net"

function Net:__init()
  self.neurons = nn.ALIF{H, R = 1.0, tau = 10.0, tau_a = 100.0, V_th = 1.0, V_reset = 0.0, V_rest = 0.0, beta = 0.1,
                         V_initializer = bdl.init.Constant(0.0), spk_fun = bdl.surrogate.ReluGrad(), spk_reset = "soft"}
  self.linear = online.nn.Linear{I + H, H, w_init = bdl.concatenate{normal(10, I, H), normal(2, H, H)}}
  self.readout = online.nn.LeakyRateReadout{H, O, tau = 10.0, w_init = normal(1, H, O)}
end

function Net:update(x)
  self.neurons(self.linear(bdl.concatenate({x, self.neurons:get_spike()}, {axis = -1})))
  return self.readout(self.neurons:get_spike())
end

local net = Net()
local weights = net:states(bdl.ParamState)
local adam = bdl.optim.Adam(1e-3)
adam:register_trainable_weights(weights)
local function loss(r) return bdl.metric.softmax_cross_entropy_with_integer_labels(r, y):mean() end
local graph_s = 0

local gradient
if rule == "bptt" then
  local function all()
    nn.init_all_states(net, B)
    return bdl.for_loop(function(x) return loss(net(x)) end, x):mean()
  end
  local g = bdl.augment.grad(all, weights, {return_value = true})
  gradient = function() return g() end
else
  local begin = clock()
  local learner = online.compile(net, rule, x[1], {batch_size = B, decay_or_rank = rule == "pp_prop" and 0.99 or nil})
  graph_s = clock() - begin
  gradient = function()
    nn.reset_all_states(net, B)
    learner:reset_state()
    local grads, l = learner:etrace_grad(x, function(x) return loss(learner(x)) end)
    return grads, l:mean()
  end
end
local train = bdl.jit(function()
  local grads, l = gradient()
  adam:update(grads)
  return l
end)

local m = common.measure(repeats, function() return train():item() end)
common.emit(m, {workload = "W6-" .. rule, n = H, steps = T, batch = B, graph_s = graph_s, check = m.results[0]})

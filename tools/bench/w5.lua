--- W5: one training step of two recurrent layers of LIF or ALIF neurons by surrogate gradients.  w5.lua lif|alif repeats
package.path = "tools/bench/?.lua;" .. package.path
local bdl = require "bdl"
local common = require "common"

local neuron, repeats = arg[1], tonumber(arg[2])
local B, I, H, O, T = 128, 100, 256, 10, 100
local a, rho, kappa = math.exp(-1/10), math.exp(-1/100), math.exp(-1/10)
local beta = neuron == "alif" and 0.1 or 0

bdl.random.seed(1)
local function weight(gain, n_in, n_out)
  return bdl.ParamState(bdl.random.normal(0, gain*(2/n_in)^0.5, {size = {n_in, n_out}}))
end
local function bias(n) return bdl.ParamState(bdl.zeros(n)) end
local P = {{W = weight(10, I, H), R = weight(2, H, H), b = bias(H)},
           {W = weight(10, H, H), R = weight(2, H, H), b = bias(H)},
           {W = weight(1, H, O), b = bias(O)}}
local x = bdl.random.rand(T, B, I):lt(0.1):astype "float32"
local y = bdl.functional.one_hot(bdl.random.randint(0, O, {B}), O)
local spike = bdl.surrogate.ReluGrad()

local function layer(p, c, x)
  local current = x:matmul(p.W.value) + c.s:matmul(p.R.value) + p.b.value
  local V = a*(c.V - c.s) + (1 - a)*current
  if beta == 0 then return {V = V, s = spike(V - 1)} end
  local A = rho*(c.A + c.s)
  return {V = V, A = A, s = spike(V - 1 - beta*A)}
end

local function rest()
  local zeros = bdl.zeros(B, H)
  return {V = zeros, s = zeros, A = beta ~= 0 and zeros or nil}
end

local function loss()
  local _, r, rate = bdl.scan(function(c, x)
    local one = layer(P[1], c.one, x)
    local two = layer(P[2], c.two, one.s)
    local r = kappa*c.r + two.s:matmul(P[3].W.value) + P[3].b.value
    return {one = one, two = two, r = r}, r, one.s:mean() + two.s:mean()
  end, {one = rest(), two = rest(), r = bdl.zeros(B, O)}, x)
  return -bdl.sum(bdl.functional.log_softmax(r:mean{axis = 1})*y)/B, rate:mean()/2
end

local adam = bdl.optim.Adam(1e-3)
adam:register_trainable_weights(P)
local train = bdl.jit(function()
  local grads, l, rate = bdl.augment.grad(loss, P, {return_value = true, has_aux = true})()
  adam:update(grads)
  return l, rate
end)

local rate
local m = common.measure(repeats, function()
  local l, now = train()
  rate = rate or now:item()
  return l:item()
end)
common.emit(m, {workload = "W5-" .. neuron, n = 2*H, steps = T, batch = B, check = {m.results[0], m.results[repeats], rate}})

--- W4: one training step (forward, through time, Adam) of a recurrent network.  w4.lua gru|rnn repeats
package.path = "tools/bench/?.lua;" .. package.path
local bdl = require "bdl"
local common = require "common"

local cell, repeats = arg[1], tonumber(arg[2])
local B, I, H, O, T = 64, 64, 256, 10, 100
local G = cell == "gru" and 3 or 1

bdl.random.seed(1)
local s = H^-0.5
local function weight(...) return bdl.ParamState(bdl.random.uniform(-s, s, {size = {...}})) end
local P = {wx = weight(I, G*H), wh = weight(H, G*H), b = bdl.ParamState(bdl.zeros(G*H)),
           wo = weight(H, O), bo = bdl.ParamState(bdl.zeros(O)), bn = cell == "gru" and bdl.ParamState(bdl.zeros(H)) or nil}
local x = bdl.random.normal(0, 1, {size = {T, B, I}})
local y = bdl.functional.one_hot(bdl.random.randint(0, O, {B}), O)

local function gru(h, x)
  local u = h:matmul(P.wh.value)
  local function part(a, k) return a[{bdl.rest, {(k - 1)*H + 1, k*H}}] end
  local r = bdl.sigmoid(part(x, 1) + part(u, 1))
  local z = bdl.sigmoid(part(x, 2) + part(u, 2))
  local n = bdl.tanh(part(x, 3) + r*(part(u, 3) + P.bn.value))
  return (1 - z)*n + z*h
end
local function rnn(h, x) return bdl.tanh(x + h:matmul(P.wh.value)) end
local step = cell == "gru" and gru or rnn

local function loss()
  local h = bdl.scan(step, bdl.zeros(B, H), x:matmul(P.wx.value) + P.b.value)
  return -bdl.sum(bdl.functional.log_softmax(h:matmul(P.wo.value) + P.bo.value)*y)/B
end

local adam = bdl.optim.Adam(1e-3)
adam:register_trainable_weights(P)
local train = bdl.jit(function()
  local grads, l = bdl.augment.grad(loss, P, {return_value = true})()
  adam:update(grads)
  return l
end)

local m = common.measure(repeats, function() return train():item() end)
common.emit(m, {workload = "W4-" .. cell, n = H, steps = T, batch = B, check = {m.results[0], m.results[repeats]}})

--- W7: vmap over parameter sets of one neuron, or over small networks in training.  w7.lua lif|hh|mlp n steps repeats
--  A repeat of mlp is one training step of all networks (steps 1).
package.path = "tools/bench/?.lua;" .. package.path
local bdl = require "bdl"
local common = require "common"

local what, n, steps, repeats = arg[1], tonumber(arg[2]), tonumber(arg[3]), tonumber(arg[4])
local where, exp = bdl.where, bdl.exp

--- Spikes of one neuron with its own time constant and current.
local function lif(tau, I)
  local _, _, spikes = table.unpack(bdl.scan(function(c, k)
    local V, last, count = table.unpack(c)
    V = where((k - last):lt(50), V, -60 + I + (V + 60 - I)*exp(-0.1/tau))
    local s = V:ge(-50)
    return {where(s, -60, V), where(s, k, last), count + s:astype "int32"}
  end, {-60.0, -1000000, 0}, bdl.arange(steps)))
  return spikes
end

local function am(V) return 1/bdl.exprel(-(V + 40)/10) end
local function bm(V) return 4*exp(-(V + 65)/18) end
local function ah(V) return 0.07*exp(-(V + 65)/20) end
local function bh(V) return 1/(1 + exp(-(V + 35)/10)) end
local function an(V) return 0.1/bdl.exprel(-(V + 55)/10) end
local function bn(V) return 0.125*exp(-(V + 65)/80) end

--- Spikes of one Hodgkin-Huxley neuron with its own conductance and current.
local function hh(gNa, I)
  local function gate(x, a, b)
    local rest = a/(a + b)
    return rest + (x - rest)*exp(-0.01*(a + b))
  end
  local c = bdl.scan(function(c)
    local V, m, h, n, count = table.unpack(c)
    local gna, gk = gNa*m*m*m*h, 36*n^4
    local g = gna + gk + 0.3
    local E = (gna*50 + gk*-77 + 0.3*-54.387 + I)/g
    local new = E + (V - E)*exp(-0.01*g)
    local spike = V:lt(0):logical_and(new:ge(0))
    return {new, gate(m, am(V), bm(V)), gate(h, ah(V), bh(V)), gate(n, an(V), bn(V)), count + spike:astype "int32"}
  end, {-65.0, am(-65.0)/(am(-65.0) + bm(-65.0)), ah(-65.0)/(ah(-65.0) + bh(-65.0)), an(-65.0)/(an(-65.0) + bn(-65.0)), 0}, {length = steps})
  return c[5]
end

local go
if what == "mlp" then
  bdl.random.seed(1)
  local sizes = {16, 64, 64, 4}
  local P = {}
  for k = 1, 3 do
    P[k] = {W = bdl.ParamState(bdl.random.normal(0, sizes[k]^-0.5, {size = {n, sizes[k], sizes[k + 1]}})), b = bdl.ParamState(bdl.zeros(n, sizes[k + 1]))}
  end
  local x, y = bdl.random.normal(0, 1, {size = {n, 32, 16}}), bdl.random.normal(0, 1, {size = {n, 32, 4}})
  local function loss(x, y)
    for k = 1, 3 do
      x = x:matmul(P[k].W.value) + P[k].b.value
      if k < 3 then x = bdl.tanh(x) end
    end
    return bdl.mean((x - y)^2)
  end
  local adam = bdl.optim.Adam(1e-3)
  adam:register_trainable_weights(P)
  local each = bdl.augment.vmap(bdl.augment.grad(loss, P, {return_value = true}), {in_states = {[1] = P}})
  local train = bdl.jit(function()
    local grads, l = each(x, y)
    adam:update(grads)
    return bdl.mean(l)
  end)
  go = function() return train():item() end
else
  local a, b = bdl.linspace(10, 30, n), bdl.linspace(15, 25, n)
  if what == "hh" then a, b = bdl.linspace(100, 140, n), bdl.linspace(5, 15, n) end
  local run = bdl.jit(bdl.augment.vmap(what == "hh" and hh or lif))
  go = function() return bdl.mean(run(a, b):astype "float32"):item() end
end

local m = common.measure(repeats, go)
common.emit(m, {workload = "W7-" .. what, n = n, steps = steps, check = m.results[1]})

--- W10: a product of spikes and a sparse matrix.  w10.lua n density hetero steps repeats direction
--  hetero 0 one weight | 1 a weight an entry; direction 0 y = s W (pre) | 1 y = W s (post) | 2 the weights learn (stdp).
package.path = "tools/bench/?.lua;" .. package.path
local bdl = require "bdl"
local common = require "common"

local n, density, het = tonumber(arg[1]), tonumber(arg[2]), arg[3] == "1"
local steps, repeats, post, stdp = tonumber(arg[4]), tonumber(arg[5]), arg[6] == "1", arg[6] == "2"
local FAN, VECTORS = 100, 16

bdl.random.seed(1)
local targets = bdl.sort(bdl.random.randint(0, n, {size = {n, FAN}, dtype = "int32"}))
local A = bdl.event.FixedPostNumConn(het and bdl.random.rand(n, FAN) or 1.0, targets, {shape = {n, n}})
local spikes = bdl.random.rand(VECTORS, n):lt(density)
local y = bdl.State(bdl.zeros(n))
local zero = y.value
local syn, learned
if stdp then
  local ms = bdl.units.ms
  bdl.environ.set{dt = 1*ms}
  local at = bdl.arange(0, n*FAN + 1, FAN)
  syn = bdl.nn.STDP(n, n, bdl.event.CSR(bdl.random.rand(n*FAN), targets:reshape(n*FAN), at, {n, n}), {tau_pre = 199.5*ms, tau_post = 199.5*ms})
  learned = syn.weight.value
end
local run = bdl.jit(function()
  bdl.for_loop(function(i)
    if stdp then return syn:learn(spikes[i % VECTORS], spikes[(i + 1) % VECTORS]) end
    local s = bdl.event.BinaryArray(spikes[i % VECTORS])
    y.value = y.value * 0.9 + (post and A:matmul(s) or s:matmul(A))
  end, bdl.arange(steps))
end)

local m = common.measure(repeats, run, function()
  y.value = zero
  if stdp then bdl.nn.init_all_states(syn); syn.weight.value = learned end
end)
common.emit(m, {
  workload = stdp and "W10-stdp" or post and "W10-post" or "W10-pre", weights = het and "het" or "hom", n = n, density = density, steps = steps,
  events = spikes:astype("float32"):sum():item() / VECTORS * FAN, check = (stdp and syn.weight or y).value:mean():item(),
})

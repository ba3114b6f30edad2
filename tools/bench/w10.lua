--- W10: a product of spikes and a sparse matrix.  w10.lua n density hetero steps repeats direction threads
package.path = "tools/bench/?.lua;" .. package.path
local bdl = require "bdl"
local common = require "common"
local clock = bdl.util.clock

local n, density, het = tonumber(arg[1]), tonumber(arg[2]), arg[3] == "1"
local steps, repeats, post, threads = tonumber(arg[4]), tonumber(arg[5]), arg[6] == "1", tonumber(arg[7] or "1")
local FAN, VECTORS = 100, 16

local begin = clock()
bdl.random.seed(1)
local targets = bdl.sort(bdl.random.randint(0, n, {size = {n, FAN}, dtype = "int32"}))
local A = bdl.event.FixedPostNumConn(het and bdl.random.rand(n, FAN) or 1.0, targets, {shape = {n, n}})
local spikes = bdl.random.rand(VECTORS, n):lt(density)
local y = bdl.State(bdl.zeros(n))
local zero = y.value
local run = bdl.jit(function()
  bdl.for_loop(function(i)
    local s = bdl.event.BinaryArray(spikes[i % VECTORS])
    y.value = y.value * 0.9 + (post and A:matmul(s) or s:matmul(A))
  end, bdl.arange(steps))
end)
local setup_s = clock() - begin

local function go()
  y.value = zero
  local start = clock()
  run()
  return clock() - start
end
local first, times = go(), {}
for k = 1, repeats do times[k] = go() end
table.sort(times)
local call = times[(repeats + 1) // 2] / steps
local events = spikes:astype("float32"):sum():item() / VECTORS * FAN
common.emit(threads, times, {
  workload = post and "W10-post" or "W10-pre", weights = het and "het" or "hom", n = n, density = density, steps = steps,
  setup_s = setup_s, compile_s = math.max(first - times[1], 0), us_per_call = call * 1e6,
  ns_per_event = call / events * 1e9, check = y.value:mean():item(),
})

--- W8: dispatch.  Calls of one compiled function on three neurons.  w8.lua calls repeat threads
package.path = "tools/bench/?.lua;" .. package.path
local bdl = require "bdl"
local common = require "common"
local clock = bdl.util.clock

local calls, repeats, threads = tonumber(arg[1]), tonumber(arg[2]), tonumber(arg[3])

local begin = clock()
local V, g = bdl.HiddenState(bdl.full({3}, -55.0)), bdl.HiddenState(bdl.zeros(3))
local I = bdl.tensor{0.1, 0.2, 0.3}
local decay = math.exp(-0.1 / 20)
local f = bdl.jit(function(x)
  g.value = 0.98*g.value + 0.1*x
  local v = -60 + (V.value + 60)*decay - 0.005*g.value*V.value
  V.value = bdl.where(v:ge(-50), -60, v)
  return V.value
end)
local setup_s = clock() - begin

begin = clock()
f(I)
local compile_s, times = clock() - begin, {}
for k = 1, repeats do
  V.value, g.value = bdl.full({3}, -55.0), bdl.zeros(3)
  begin = clock()
  for _ = 1, calls do f(I) end
  times[k] = clock() - begin
end
local sorted = table.move(times, 1, #times, 1, {})
table.sort(sorted)
common.emit(threads, times, {
  workload = "W8", n = 3, steps = calls, setup_s = setup_s, compile_s = compile_s, check = V.value[1]:item(),
  us_per_call = sorted[(#sorted + 1) // 2] / calls * 1e6,
})

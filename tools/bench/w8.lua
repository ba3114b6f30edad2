--- W8: dispatch.  Calls of one compiled function on three neurons.  w8.lua calls repeats
package.path = "tools/bench/?.lua;" .. package.path
local bdl = require "bdl"
local common = require "common"

local calls, repeats = tonumber(arg[1]), tonumber(arg[2])

local V, g = bdl.HiddenState(bdl.full({3}, -55.0)), bdl.HiddenState(bdl.zeros(3))
local I = bdl.tensor{0.1, 0.2, 0.3}
local decay = math.exp(-0.1 / 20)
local f = bdl.jit(function(x)
  g.value = 0.98*g.value + 0.1*x
  local v = -60 + (V.value + 60)*decay - 0.005*g.value*V.value
  V.value = bdl.where(v:ge(-50), -60, v)
  return V.value
end)

local m = common.measure(repeats, function()
  for _ = 1, calls do f(I) end
end, function() V.value, g.value = bdl.full({3}, -55.0), bdl.zeros(3) end)
common.emit(m, {workload = "W8", n = 3, steps = calls, check = V.value[1]:item()})

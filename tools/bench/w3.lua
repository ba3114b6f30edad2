--- W3: element-wise dynamics.  w3.lua hh|lif n steps repeats
package.path = "tools/bench/?.lua;" .. package.path
local bdl = require "bdl"
local common = require "common"
local nn, u = bdl.nn, bdl.units

local model, n, steps, repeats = arg[1], tonumber(arg[2]), tonumber(arg[3]), tonumber(arg[4])
local hh = model == "hh"

bdl.environ.set{dt = (hh and 0.01 or 0.1)*u.ms}
local ramp = bdl.arange(n) / n
local N, V0, I
if hh then
  local area = u.cm^2
  N = nn.HH{n, gNa = 120*u.mS/area, gK = 36*u.mS/area, gL = 0.3*u.mS/area, C = 1*u.uF/area, V_th = 0*u.mV}
  V0 = (-65 + 5*ramp)*u.mV
  I = bdl.linspace(5, 15, n)*u.uA/area
else
  N = nn.LIFRef{n, tau = 20*u.ms, tau_ref = 5*u.ms, V_rest = -60*u.mV, V_reset = -60*u.mV, V_th = -50*u.mV, spk_reset = "hard"}
  V0 = (-60 + 10*ramp)*u.mV
  I = bdl.linspace(15, 25, n)*u.mA
end
N.V_initializer = V0
N:init_state()
local count = bdl.ShortTermState(bdl.tensor(0.0))
local run = bdl.jit(function()
  bdl.for_loop(function() count.value = count.value + N(I):sum() end, bdl.arange(steps))
end)

local m = common.measure(repeats, run, function()
  N:reset_state()
  count.value = bdl.tensor(0.0)
end)
common.emit(m, {
  workload = "W3-" .. model, n = n, steps = steps, check = {(N.V.value / u.mV):mean():item(), count.value:item() / n},
})

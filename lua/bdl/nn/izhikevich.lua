--- Izhikevich's quadratic neuron with a recovery variable.
--  Source: Izhikevich (2003), Simple model of spiking neurons. IEEE Trans Neural Netw 14.
--  Example:
--    bdl.environ.set{dt = 0.1*bdl.units.ms}
--    local cells = bdl.nn.init_all_states(bdl.nn.NAME(2))
--    print(cells(10*bdl.units.mV/bdl.units.ms), cells.V.value)
local core = require "bdl.core"
local init = require "bdl.init"
local u = require "bdl.units"
local integrate = require "bdl.nn.integrate"
local spiking = require "bdl.nn.spiking"

local M = {}

--- Quadratic with recovery:  dV/dt = p1 V^2 + p2 V + p3 - u + I,  du/dt = a (b V - u);  V >= V_th: spike, V = c, u +=
--  d.
--  a, b : rate of the recovery; its coupling to V
--  c, d : V after a spike; what a spike adds to u
--  p1, p2, p3 : coefficients of the upstroke
--  spk_reset : kept, but the reset is always hard
--  States: V, the membrane potential; u, the recovery, in mV/ms as I.
local Izhikevich = spiking.Spiking:extend "Izhikevich"
M.Izhikevich = Izhikevich

function Izhikevich:defaults()
  local per_ms = u.mV / u.ms
  return {a = 0.02/u.ms, b = 0.2/u.ms, c = -65*u.mV, d = 8*per_ms, V_th = 30*u.mV, p1 = 0.04/(u.ms*u.mV), p2 = 5/u.ms, p3 = 140*per_ms,
          V_initializer = init.Constant(-65*u.mV), u_initializer = init.Constant(0*per_ms), spk_reset = "hard"}
end

function Izhikevich:no_input() return 0 * (u.mV / u.ms) end

function Izhikevich:get_spike(V) return self:spike(V or self.V.value, self.V_th, self:above_zero "V_th") end

function Izhikevich:after_spike()
  local V = self.V.value
  local s = self:get_spike(V)
  return {V = core.bind("select", {}, core.bind("gt", {}, s, 0), self.c, V), u = self.u.value + self.d * s}
end

function Izhikevich:advance(from, I)
  local V = integrate.step(function(v)
    return self.p1 * v * v + self.p2 * v + self.p3 - from.u + self:sum_current_inputs(I, v)
  end, from.V)
  V = self:sum_delta_inputs(V)
  return {V = V, u = integrate.step(function(w) return self.a * (self.b * V - w) end, from.u)}
end

--- Izhikevich with a refractory period:  dV/dt = p1 V^2 + p2 V + p3 - u + I,  du/dt = a (b V - u);  V >= V_th: spike, V
--  = c, u += d, and V and u keep these values for tau_ref.
--  tau_ref : refractory period
--  a, b : rate of the recovery; its coupling to V
--  c, d : V after a spike; what a spike adds to u
--  p1, p2, p3 : coefficients of the upstroke
--  States: V, the membrane potential; u, the recovery, in mV/ms as I; since_spike, steps since the last spike.
M.IzhikevichRef = spiking.refractory(Izhikevich, "IzhikevichRef", 0)

return M

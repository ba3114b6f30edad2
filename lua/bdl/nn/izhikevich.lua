--- Izhikevich's quadratic neuron with a recovery variable.
--  Source: Izhikevich (2003), Simple model of spiking neurons.
local core = require "bdl.core"
local init = require "bdl.init"
local u = require "bdl.units"
local integrate = require "bdl.nn.integrate"
local spiking = require "bdl.nn.spiking"

local M = {}

--- dV/dt = p1 V^2 + p2 V + p3 - u + I,  du/dt = a (b V - u);  V >= V_th: spike, V = c, u += d.
--  a 0.02, b 0.2 / ms, c -65 mV, d 8 mV/ms, V_th 30 mV, p1 0.04 / (ms mV), p2 5 / ms, p3 140 mV/ms.  The reset is hard
--  (spk_reset is kept but changes nothing).  States V, -65 mV, and u, 0 mV/ms at first; I in mV/ms.
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

--- Izhikevich with a refractory period, tau_ref 0 ms, in which V and u keep what the reset left.
M.IzhikevichRef = spiking.refractory(Izhikevich, "IzhikevichRef", 0)

return M

--- Leaky integrate-and-fire neurons with a synapse of their own, which the delta inputs drive.
--  Source: Gerstner, Kistler, Naud & Paninski (2014), Neuronal Dynamics. Cambridge University Press, sections 1.3 and
--    3.1.
--  Example:
--    bdl.environ.set{dt = 0.1*bdl.units.ms}
--    local cells = bdl.nn.init_all_states(bdl.nn.NAME(2))
--    print(cells(2*bdl.units.mA), cells.V.value)
local init = require "bdl.init"
local u = require "bdl.units"
local integrate = require "bdl.nn.integrate"
local Spiking = require "bdl.nn.spiking".Spiking

local M = {}

--- LIF with a current-based synapse:  tau dV/dt = -(V - V_rest) + R (g + I),  tau_syn dg/dt = -g,  g += delta inputs;
--  V >= V_th: spike, V is reset.
--  R, tau : resistance; time constant of the membrane
--  tau_syn : time constant of the synapse
--  V_th, V_reset, V_rest : threshold; potential after a spike; resting potential
--  States: V, the membrane potential; g, the synaptic current.
local CubaLIF = Spiking:extend "CubaLIF"
M.CubaLIF = CubaLIF

function CubaLIF:defaults()
  return {R = 1*u.ohm, tau = 5*u.ms, tau_syn = 5*u.ms, V_th = 1*u.mV, V_reset = 0*u.mV, V_rest = 0*u.mV,
          V_initializer = init.Constant(0*u.mV), g_initializer = init.Constant(0*u.mA)}
end

function CubaLIF:after_spike() return {V = self:reset(self.V.value), g = self.g.value} end

function CubaLIF:advance(from, I)
  local g = self:sum_delta_inputs(integrate.decay(from.g, self.tau_syn))
  local V = integrate.step(function(v)
    return self.V_rest - v + self.R * (self:current(g, v) + self:sum_current_inputs(I, v))
  end, from.V, 1 / self.tau)
  return {V = V, g = g}
end

--- The synaptic current at v.
function CubaLIF:current(g) return g end

--- LIF with a conductance-based synapse:  tau dV/dt = -(V - V_rest) + R (g (E - V) + I),  tau_syn dg/dt = -g,  g +=
--  delta inputs.
--  E : reversal potential
--  R, tau : resistance; time constant of the membrane
--  tau_syn : time constant of the synapse
--  V_th, V_reset, V_rest : threshold; potential after a spike; resting potential
--  States: V, the membrane potential; g, the synaptic conductance.
local CobaLIF = CubaLIF:extend "CobaLIF"
M.CobaLIF = CobaLIF

function CobaLIF:defaults()
  local a = CubaLIF.defaults(self)
  a.E = 0*u.mV
  a.g_initializer = init.Constant(0*u.siemens)
  return a
end

function CobaLIF:current(g, v) return g * (self.E - v) end

return M

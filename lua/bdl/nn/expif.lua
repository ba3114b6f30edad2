--- Integrate-and-fire neurons whose upstroke is exponential or quadratic in V, with and without adaptation.
--  Example:
--    bdl.environ.set{dt = 0.1*bdl.units.ms}
--    local cells = bdl.nn.init_all_states(bdl.nn.NAME(2))
--    print(cells(2*bdl.units.mA), cells.V.value)
local core = require "bdl.core"
local init = require "bdl.init"
local u = require "bdl.units"
local integrate = require "bdl.nn.integrate"
local spiking = require "bdl.nn.spiking"

local M = {}

local Spiking = spiking.Spiking

local STEEPEST <const> = 20.0  -- the largest exponent: e^20 is beyond every reset, e^800 is beyond numbers

--- Exponential integrate-and-fire:  tau dV/dt = -(V - V_rest) + delta_T exp((V - V_T)/delta_T) + R I;
--  V >= V_th: spike, V is reset.
--  R, tau : resistance; time constant of the membrane
--  V_th, V_reset, V_rest : threshold of a spike; potential after it; resting potential
--  V_T, delta_T : threshold of the upstroke; its width
--  States: V, the membrane potential.
--  Source: Fourcaud-Trocme et al. (2003), How spike generation mechanisms determine the neuronal response to
--    fluctuating inputs.
--    J Neurosci 23.
local ExpIF = Spiking:extend "ExpIF"
M.ExpIF = ExpIF

function ExpIF:defaults()
  return {R = 1*u.ohm, tau = 10*u.ms, V_th = -30*u.mV, V_reset = -68*u.mV, V_rest = -65*u.mV, V_T = -59.9*u.mV,
          delta_T = 3.48*u.mV, V_initializer = init.Constant(-65*u.mV)}
end

--- What drives V apart from currents.
function ExpIF:drive(v)
  local rise = core.bind("exp", {}, core.bind("min", {}, (v - self.V_T) / self.delta_T, STEEPEST))
  return self.V_rest - v + self.delta_T * rise
end

function ExpIF:advance(from, I)
  return {V = self:membrane(function(v) return self:drive(v) end, from.V, I)}
end

--- Quadratic integrate-and-fire:  tau dV/dt = c (V - V_rest) (V - V_c) + R I;  V >= V_th: spike, V is reset.
--  R, tau : resistance; time constant of the membrane
--  V_th, V_reset, V_rest : threshold of a spike; potential after it; resting potential
--  V_c, c : potential beyond which V runs off; steepness
--  States: V, the membrane potential.
--  Source: Latham et al. (2000), Intrinsic dynamics in neuronal networks. J Neurophysiol 83.
local QuaIF = ExpIF:extend "QuaIF"
M.QuaIF = QuaIF

function QuaIF:defaults()
  return {R = 1*u.ohm, tau = 10*u.ms, V_th = -30*u.mV, V_reset = -68*u.mV, V_rest = -65*u.mV, V_c = -50*u.mV, c = 0.07/u.mV,
          V_initializer = init.Constant(-65*u.mV)}
end

function QuaIF:drive(v) return self.c * (v - self.V_rest) * (v - self.V_c) end

--- cls with an adaptation current:  tau dV/dt = .. - R w,  tau_w dw/dt = a (V - V_rest) - w,  w += b at a spike.
local function adaptive(cls, name, changed)
  local Adaptive = cls:extend(name)

  function Adaptive:defaults()
    local a = cls.defaults(self)
    a.a = 1*u.siemens
    a.w_initializer = init.Constant(0*u.mA)
    for key, value in pairs(changed()) do a[key] = value end
    return a
  end

  function Adaptive:after_spike()
    local s = self:get_spike()
    return {V = self:reset(self.V.value, s), w = self.w.value + self.b * s}
  end

  function Adaptive:advance(from, I)
    local pull = self.R * from.w
    local V = self:membrane(function(v) return self:drive(v) - pull end, from.V, I)
    return {V = V, w = integrate.relax(from.w, self.a * (V - self.V_rest), self.tau_w)}
  end

  return Adaptive
end

--- Adaptive exponential integrate-and-fire:  tau dV/dt = -(V - V_rest) + delta_T exp((V - V_T)/delta_T) - R w + R I,
--  tau_w dw/dt = a (V - V_rest) - w;  V >= V_th: spike, V is reset, w += b.
--  R, tau : resistance; time constant of the membrane
--  V_th, V_reset, V_rest : threshold of a spike; potential after it; resting potential
--  V_T, delta_T : threshold of the upstroke; its width
--  tau_w, a, b : of the adaptation: time constant; coupling to V; jump at a spike
--  States: V, the membrane potential; w, the adaptation current.
--  Source: Brette & Gerstner (2005), Adaptive exponential integrate-and-fire model. J Neurophysiol 94.
M.AdExIF = adaptive(ExpIF, "AdExIF", function() return {V_th = -55*u.mV, tau_w = 30*u.ms, b = 1*u.mA} end)

--- Adaptive quadratic integrate-and-fire:  tau dV/dt = c (V - V_rest) (V - V_c) - R w + R I,
--  tau_w dw/dt = a (V - V_rest) - w;  V >= V_th: spike, V is reset, w += b.
--  R, tau : resistance; time constant of the membrane
--  V_th, V_reset, V_rest : threshold of a spike; potential after it; resting potential
--  V_c, c : potential beyond which V runs off; steepness
--  tau_w, a, b : of the adaptation: time constant; coupling to V; jump at a spike
--  States: V, the membrane potential; w, the adaptation current.
--  Source: Izhikevich (2004), Which model to use for cortical spiking neurons? IEEE Trans Neural Netw 15.
M.AdQuaIF = adaptive(QuaIF, "AdQuaIF", function() return {tau_w = 10*u.ms, b = 0.1*u.mA} end)

--- ExpIFRef, QuaIFRef, AdExIFRef, AdQuaIFRef: the neuron of the name without Ref, whose States keep what the reset left
--  for tau_ref after a spike: in the steps k > i with (k - i) dt < tau_ref, dV/dt = 0.
--  tau_ref : refractory period
--  R, tau : resistance; time constant of the membrane
--  V_th, V_reset, V_rest : threshold of a spike; potential after it; resting potential
--  V_T, delta_T : threshold of the upstroke; its width
--  V_c, c : potential beyond which V runs off; steepness
--  tau_w, a, b : of the adaptation: time constant; coupling to V; jump at a spike
--  States: V, the membrane potential; w, the adaptation current of adaptive ones; since_spike, steps since the last
--    spike.
--  Source: Brette & Gerstner (2005), Adaptive exponential integrate-and-fire model. J Neurophysiol 94; Latham et al.
--    (2000), Intrinsic dynamics in neuronal networks. J Neurophysiol 83.
M.ExpIFRef = spiking.refractory(ExpIF, "ExpIFRef", 1.7)
M.QuaIFRef = spiking.refractory(QuaIF, "QuaIFRef", 1.7)
M.AdExIFRef = spiking.refractory(M.AdExIF, "AdExIFRef", 1.7)
M.AdQuaIFRef = spiking.refractory(M.AdQuaIF, "AdQuaIFRef", 1.7)

return M

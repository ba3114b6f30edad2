--- Integrate-and-fire neurons.
--  Source: Gerstner, Kistler, Naud & Paninski (2014), Neuronal Dynamics. Cambridge University Press, chapters 1 and 6.
--  Example:
--    bdl.environ.set{dt = 0.1*bdl.units.ms}
--    local cells = bdl.nn.init_all_states(bdl.nn.NAME(2))
--    print(cells(2*bdl.units.mA), cells.V.value)
local class = require "bdl.class"
local init = require "bdl.init"
local u = require "bdl.units"
local integrate = require "bdl.nn.integrate"
local spiking = require "bdl.nn.spiking"

local M = {}

local Spiking = spiking.Spiking

--- V after a step of tau dV/dt = rest - V + R I from `V`, then delta inputs.
local function towards(self, V, rest, I)
  local kind = self:current_input_kind()
  if kind == "none" then
    V = integrate.relax(V, rest + self.R * self:sum_current_inputs(I), self.tau)
  else
    local step = kind == "linear" and integrate.linear_step or integrate.step
    V = step(function(v) return rest - v + self.R * self:sum_current_inputs(I, v) end, V, 1 / self.tau)
  end
  return self:sum_delta_inputs(V)
end

--- Integrate-and-fire, towards 0:  tau dV/dt = -V + R I;  V >= V_th: spike, V loses V_th (hard: V = 0).
--  R, tau, V_th : resistance; time constant; threshold
--  States: V, the membrane potential.
local IF = Spiking:extend "IF"
M.IF = IF

function IF:defaults() return {R = 1*u.ohm, tau = 5*u.ms, V_th = 1*u.mV, V_initializer = init.Constant(0*u.mV)} end

function IF:__init(...)
  IF.super.__init(self, ...)
  class.rawfield(self, "V_reset", 0 * self.V_th)
  self:check_reset()
end

function IF:advance(from, I) return {V = towards(self, from.V, 0 * self.V_th, I)} end

--- Leaky integrate-and-fire:  tau dV/dt = V_rest - V + R I;  V >= V_th: spike; the next step starts from the reset V.
--  R, tau : resistance; time constant of the membrane
--  V_th, V_reset, V_rest : threshold; potential after a spike; resting potential
--  States: V, the membrane potential.
local LIF = Spiking:extend "LIF"
M.LIF = LIF

function LIF:defaults()
  return {R = 1*u.ohm, tau = 5*u.ms, V_th = 1*u.mV, V_reset = 0*u.mV, V_rest = 0*u.mV, V_initializer = init.Constant(0*u.mV)}
end

function LIF:advance(from, I) return {V = towards(self, from.V, self.V_rest, I)} end

--- LIF with a refractory period:  tau dV/dt = V_rest - V + R I;  V >= V_th: spike, after which V stays reset for
--  tau_ref:
--  in the steps k > i with (k - i) dt < tau_ref after a spike at i.
--  tau_ref : refractory period
--  R, tau : resistance; time constant of the membrane
--  V_th, V_reset, V_rest : threshold; potential after a spike; resting potential
--  States: V, the membrane potential; since_spike, steps since the last spike.
M.LIFRef = spiking.refractory(LIF, "LIFRef", 5)

--- LIF with an adaptive threshold:  tau dV/dt = V_rest - V + R I,  tau_a da/dt = -a,  a += 1 at a spike;
--  V >= V_th + beta a: spike.
--  tau_a, beta : time constant of the adaptation; threshold that one spike adds
--  R, tau : resistance; time constant of the membrane
--  V_th, V_reset, V_rest : threshold; potential after a spike; resting potential
--  States: V, the membrane potential; a, the adaptation.
--  Source: Bellec et al. (2018), Long short-term memory and learning-to-learn in networks of spiking neurons. NeurIPS.
local ALIF = LIF:extend "ALIF"
M.ALIF = ALIF

function ALIF:defaults()
  local a = LIF.defaults(self)
  a.tau_a, a.beta, a.a_initializer = 100*u.ms, 0.1*u.mV, init.Constant(0.0)
  return a
end

function ALIF:get_spike(V, a)
  return self:spike(V or self.V.value, self.V_th + self.beta * (a or self.a.value), self.V_th - self.V_reset)
end

function ALIF:after_spike()
  local s = self:get_spike()
  return {V = self:reset(self.V.value, s), a = self.a.value + s}
end

function ALIF:advance(from, I)
  return {V = towards(self, from.V, self.V_rest, I), a = integrate.decay(from.a, self.tau_a)}
end

return M

--- Integrate-and-fire neurons.
--  Source: Gerstner et al., Neuronal Dynamics (2014), chapters 1 and 6.
local core = require "bdl.core"
local args = require "bdl.args"
local class = require "bdl.class"
local init = require "bdl.init"
local state = require "bdl.state"
local u = require "bdl.units"
local integrate = require "bdl.nn.integrate"
local Neuron = require "bdl.nn.neuron".Neuron
local refractory = require "bdl.nn.refractory"

local M = {}

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

--- Towards 0:  tau dV/dt = -V + R I;  V >= V_th: spike, V returns by V_th (hard: to 0).
local IF = Neuron:extend "IF"
M.IF = IF

function IF:__init(...)
  local a = args(Neuron.spec{R = 1*u.ohm, tau = 5*u.ms, V_th = 1*u.mV, V_initializer = init.Constant(0*u.mV)}, ...)
  IF.super.__init(self, Neuron.common(a))
  self:set_params(a, "R tau V_th")
  self.V_initializer = a.V_initializer
  class.rawfield(self, "V_reset", 0 * self.V_th)
end

function IF:init_state(batch_size)
  self.V = state.HiddenState(init.param(self.V_initializer, self.varshape, batch_size))
end

--- I : [n] mA  ->  [n], 1 where spiking
function IF:update(I)
  self.V.value = towards(self, self:reset(self.V.value), 0 * self.V_th, I or 0*u.mA)
  return self:get_spike()
end

--- Leaky:  tau dV/dt = V_rest - V + R I;  V >= V_th: spike; the next step starts from the reset V.
local LIF = Neuron:extend "LIF"
M.LIF = LIF

function LIF:__init(...)
  local a = args(Neuron.spec{R = 1*u.ohm, tau = 5*u.ms, V_th = 1*u.mV, V_reset = 0*u.mV, V_rest = 0*u.mV,
                             V_initializer = init.Constant(0*u.mV)}, ...)
  LIF.super.__init(self, Neuron.common(a))
  self:set_params(a, "R tau V_th V_rest V_reset")
  self.V_initializer = a.V_initializer
end

LIF.init_state = IF.init_state

function LIF:integrate(V, I) return towards(self, V, self.V_rest, I or 0*u.mA) end

--- I : [n] mA  ->  [n], 1 where spiking
function LIF:update(I)
  self.V.value = self:integrate(self:reset(self.V.value), I)
  return self:get_spike()
end

--- Leaky with a refractory period: V stays at its reset value for the steps k > i with (k - i) dt < tau_ref after a spike at i.
local LIFRef = LIF:extend "LIFRef"
M.LIFRef = LIFRef

function LIFRef:__init(...)
  local a = args(Neuron.spec{R = 1*u.ohm, tau = 5*u.ms, tau_ref = 5*u.ms, V_th = 1*u.mV, V_reset = 0*u.mV, V_rest = 0*u.mV,
                             V_initializer = init.Constant(0*u.mV)}, ...)
  Neuron.__init(self, Neuron.common(a))
  self:set_params(a, "R tau tau_ref V_th V_rest V_reset")
  self.V_initializer = a.V_initializer
end

function LIFRef:init_state(batch_size)
  LIF.init_state(self, batch_size)
  self.since_spike = refractory.count(self.varshape, batch_size)
end

function LIFRef:update(I)
  local held = self:reset(self.V.value)
  local V = core.bind("select", {}, refractory.within(self.since_spike, self.tau_ref), held, self:integrate(held, I))
  self.V.value = V
  refractory.advance(self.since_spike, core.bind("ge", {}, V, self.V_th))
  return self:get_spike()
end

--- The time of the last spike, -1e7 ms before the first.
function LIFRef:last_spike_time() return refractory.time_of(self.since_spike) end

--- Adaptive threshold:  tau dV/dt = V_rest - V + R I,  tau_a da/dt = -a,  a += 1 at a spike;  V >= V_th + beta a: spike.
--  Source: Bellec et al. (2018), Long short-term memory and learning-to-learn in networks of spiking neurons.
local ALIF = LIF:extend "ALIF"
M.ALIF = ALIF

function ALIF:__init(...)
  local a = args(Neuron.spec{R = 1*u.ohm, tau = 5*u.ms, tau_a = 100*u.ms, V_th = 1*u.mV, V_reset = 0*u.mV, V_rest = 0*u.mV,
                             beta = 0.1*u.mV, V_initializer = init.Constant(0*u.mV), a_initializer = init.Constant(0.0)}, ...)
  Neuron.__init(self, Neuron.common(a))
  self:set_params(a, "R tau tau_a V_th V_rest V_reset beta")
  self.V_initializer = a.V_initializer
  self.a_initializer = a.a_initializer
end

function ALIF:init_state(batch_size)
  LIF.init_state(self, batch_size)
  self.a = state.HiddenState(init.param(self.a_initializer, self.varshape, batch_size))
end

function ALIF:get_spike(V, a)
  return self:spike(V or self.V.value, self.V_th + self.beta * (a or self.a.value), self.V_th - self.V_reset)
end

function ALIF:update(I)
  local s = self:get_spike()
  self.a.value = integrate.decay(self.a.value + s, self.tau_a)
  self.V.value = self:integrate(self:reset(self.V.value, s), I)
  return self:get_spike()
end

return M

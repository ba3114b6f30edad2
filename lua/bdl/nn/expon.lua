--- Synapses whose conductance decays exponentially.
--  Source: Roth & van Rossum (2009), Modeling synapses. Computational Modeling Methods for Neuroscientists, MIT Press,
--    chapter 6.
--  Example:
--    bdl.environ.set{dt = 0.1*bdl.units.ms}
--    local syn = bdl.nn.init_all_states(bdl.nn.NAME(2))
--    print(syn(1*bdl.units.mS))
local core = require "bdl.core"
local args = require "bdl.args"
local class = require "bdl.class"
local init = require "bdl.init"
local state = require "bdl.state"
local u = require "bdl.units"
local constants = require "bdl.nn.constants"
local integrate = require "bdl.nn.integrate"
local none = require "bdl.none".none
local Dynamics = require "bdl.nn.dynamics".Dynamics

local M = {}

--- Synapse: a size; g made by g_initializer.
local Synapse = Dynamics:extend "Synapse"
M.Synapse = Synapse

--- Arguments that all synapses take, in a spec of bdl.args.
function Synapse.spec(spec)
  spec[1] = "size"
  for name, default in pairs{keep_size = false, name = none, g_initializer = init.Constant(0*u.mS)} do
    if spec[name] == nil then spec[name] = default end
  end
  return spec
end

function Synapse:__init(a, params)
  Synapse.super.__init(self, {a.size, keep_size = a.keep_size, name = a.name or none})
  constants.set(self, a, params)
  self.g_initializer = a.g_initializer
end

function Synapse:new_g(batch_size)
  return state.HiddenState(init.param(self.g_initializer, self.varshape, batch_size))
end

--- State + delta inputs + x.
function Synapse:with_inputs(g, x)
  g = self:sum_delta_inputs(g)
  return x and g + x or g
end

--- Exponential synapse:  tau dg/dt = -g;  g += input
--  tau : time constant
--  g_initializer : g at first, whose unit is that of the input
--  States: g, the conductance.
local Expon = Synapse:extend "Expon"
M.Expon = Expon

function Expon:__init(...) Expon.super.__init(self, args(Synapse.spec{tau = 8*u.ms}, ...), "tau") end

function Expon:init_state(batch_size) self.g = self:new_g(batch_size) end

--- x : (optional) [n], added after the decay  ->  g
function Expon:update(x)
  self.g.value = self:with_inputs(integrate.decay(self.g.value, self.tau), x)
  return self.g.value
end

--- Difference of two exponentials:  g = amplitude A (g_decay - g_rise),  tau_decay dg_decay/dt = -g_decay,
--  tau_rise dg_rise/dt = -g_rise;  g_decay += input, g_rise += input.
--  tau_decay, tau_rise : time constants; they must differ
--  amplitude : factor of the conductance
--  normalize : A makes the peak of one input 1; else A is 1
--  g_initializer : g_decay and g_rise at first
--  States: g_rise, g_decay, the two parts.
local DualExpon = Synapse:extend "DualExpon"
M.DualExpon = DualExpon

--- Errors: ValueError, equal time constants (A has no limit there: use Alpha).
function DualExpon:__init(...)
  local a = args(Synapse.spec{tau_decay = 10*u.ms, tau_rise = 1*u.ms, amplitude = 1.0, normalize = true}, ...)
  DualExpon.super.__init(self, a, "tau_decay tau_rise amplitude")
  self.normalize = a.normalize
  class.rawfield(self, "_peak", a.normalize and self:normalization() or 1)
end

function DualExpon:normalization()
  local rise, fall = self.tau_rise, self.tau_decay
  local ratio = rise / fall
  if core.item(core.bind("reduce_or", {axes = {}}, core.bind("eq", {}, ratio, 1))) == true then
    core.fail("ValueError", 3, "DualExpon: tau_rise and tau_decay are both %s; use nn.Alpha", tostring(rise))
  end
  return 1 / (1 - ratio) * core.pow(ratio, ratio / (ratio - 1))
end

function DualExpon:init_state(batch_size)
  self.g_rise = self:new_g(batch_size)
  self.g_decay = self:new_g(batch_size)
end

function DualExpon:update(x)
  local rise, fall = integrate.decay(self.g_rise.value, self.tau_rise), integrate.decay(self.g_decay.value, self.tau_decay)
  local both = self:with_inputs(fall, x)
  self.g_rise.value = rise + (both - fall)
  self.g_decay.value = both
  return (self.amplitude * self._peak) * (self.g_decay.value - self.g_rise.value)
end

--- Alpha synapse:  tau dg/dt = -g + h,  tau dh/dt = -h;  h += input
--  tau : time constant, and time of the peak
--  g_initializer : g and h at first
--  States: g, the conductance; h, what drives it.
--  Source: Rall (1967), Distinguishing theoretical synaptic potentials computed for different soma-dendritic
--    distributions of synaptic input. J Neurophysiol 30.
local Alpha = Synapse:extend "Alpha"
M.Alpha = Alpha

function Alpha:__init(...) Alpha.super.__init(self, args(Synapse.spec{tau = 8*u.ms}, ...), "tau") end

function Alpha:init_state(batch_size)
  self.g = self:new_g(batch_size)
  self.h = self:new_g(batch_size)
end

function Alpha:update(x)
  local h = self.h.value
  self.g.value = integrate.relax(self.g.value, h, self.tau)
  self.h.value = self:with_inputs(integrate.decay(h, self.tau), x)
  return self.g.value
end

return M

--- Receptors opened by a pulse of transmitter:  dg/dt = alpha T [T on] (1 - g) - beta g,  T on for T_dur after a spike.
--  Source: Destexhe, Mainen & Sejnowski (1994), Synthesis of models for excitable membranes, synaptic transmission and
--    neuromodulation using a common kinetic formalism. J Comput Neurosci 1.
--  Example:
--    bdl.environ.set{dt = 0.1*bdl.units.ms}
--    local syn = bdl.nn.init_all_states(bdl.nn.NAME(2))
--    print(syn(bdl.tensor{true, false}))
local core = require "bdl.core"
local args = require "bdl.args"
local init = require "bdl.init"
local state = require "bdl.state"
local u = require "bdl.units"
local step = require "bdl.nn.integrate".step
local refractory = require "bdl.nn.refractory"
local Synapse = require "bdl.nn.expon".Synapse

local M = {}

--- AMPA receptor:  dg/dt = alpha T [T on] (1 - g) - beta g,  T on for T_dur after a spike.
--  alpha, beta : rates of opening and closing
--  T, T_dur : concentration of the transmitter in a pulse; its duration
--  States: g, the part of channels that is open; since_spike, steps since the last spike that arrived.
local AMPA = Synapse:extend "AMPA"
M.AMPA = AMPA

local function make(self, a)
  Synapse.__init(self, a, "alpha beta T T_dur")
end

--- alpha T while the transmitter is there, else 0.
local function pulse(self, alpha)
  local rate = alpha * self.T
  return core.bind("select", {}, refractory.within_now(self.since_spike, self.T_dur), rate, 0 * rate)
end

--- One step of  dx/dt = open (1 - x) - close x,  1 in the unit of x.
local function relax(x, open, close)
  local unit = core.unit_of(x)
  local full = unit and open * unit or open
  return step(function(y) return full - (open + close) * y end, x)
end

function AMPA:__init(...)
  make(self, args(Synapse.spec{alpha = 0.98/(u.ms*u.mM), beta = 0.18/u.ms, T = 0.5*u.mM, T_dur = 0.5*u.ms}, ...))
end

function AMPA:init_state(batch_size)
  self.g = self:new_g(batch_size)
  self.since_spike = refractory.count(self.varshape, batch_size)
end

function AMPA:receive(spike)
  refractory.advance(self.since_spike, spike.dtype == "bool" and spike or core.bind("gt", {}, spike, 0))
end

--- spike : [n], true or > 0 where a spike arrives  ->  g
function AMPA:update(spike)
  self:receive(spike)
  self.g.value = relax(self.g.value, pulse(self, self.alpha), self.beta)
  return self.g.value
end

--- The time of the last spike that arrived, -1e7 ms before the first.
function AMPA:spike_arrival_time() return refractory.time_of(self.since_spike) end

--- GABA_A receptor:  dg/dt = alpha T [T on] (1 - g) - beta g,  T on for T_dur after a spike.
--  alpha, beta : rates of opening and closing
--  T, T_dur : concentration of the transmitter in a pulse; its duration
--  States: g, the part of channels that is open; since_spike, steps since the last spike that arrived.
local GABAa = AMPA:extend "GABAa"
M.GABAa = GABAa

function GABAa:__init(...)
  make(self, args(Synapse.spec{alpha = 0.53/(u.ms*u.mM), beta = 0.18/u.ms, T = 1.0*u.mM, T_dur = 1.0*u.ms}, ...))
end

--- NMDA receptor in two stages:  dx/dt = alpha2 T [T on] (1 - x) - beta2 x,  dg/dt = alpha1 x (1 - g) - beta1 g,
--  T on for T_dur after a spike.  nn.MgBlock adds the block by magnesium.
--  alpha1, beta1 : rates of opening and closing of g
--  alpha2, beta2 : those of the stage before
--  T, T_dur : concentration of the transmitter in a pulse; its duration
--  States: g, the part of channels that is open; x, the stage before; since_spike, steps since the last spike that
--    arrived.
--  Source: Ermentrout & Terman (2010), Mathematical Foundations of Neuroscience. Springer, section 7.1.
local BioNMDA = AMPA:extend "BioNMDA"
M.BioNMDA = BioNMDA

function BioNMDA:__init(...)
  local a = args(Synapse.spec{alpha1 = 2/u.ms, beta1 = 0.01/u.ms, alpha2 = 1/(u.ms*u.mM), beta2 = 0.5/u.ms, T = 1*u.mM, T_dur = 0.5*u.ms,
                              x_initializer = init.Constant(0.0)}, ...)
  Synapse.__init(self, a, "alpha1 beta1 alpha2 beta2 T T_dur")
  self.x_initializer = a.x_initializer
end

function BioNMDA:init_state(batch_size)
  AMPA.init_state(self, batch_size)
  self.x = state.HiddenState(init.param(self.x_initializer, self.varshape, batch_size))
end

function BioNMDA:update(spike)
  self:receive(spike)
  self.x.value = relax(self.x.value, pulse(self, self.alpha2), self.beta2)
  self.g.value = relax(self.g.value, self.alpha1 * self.x.value, self.beta1)
  return self.g.value
end

return M

--- Receptors opened by a pulse of transmitter:  dg/dt = alpha T [T on] (1 - g) - beta g,  T on for T_duration after a spike.
--  Source: Destexhe, Mainen & Sejnowski (1994), Synthesis of models for excitable membranes.
local core = require "bdl.core"
local args = require "bdl.args"
local init = require "bdl.init"
local state = require "bdl.state"
local u = require "bdl.units"
local step = require "bdl.nn.integrate".step
local refractory = require "bdl.nn.refractory"
local Synapse = require "bdl.nn.expon".Synapse

local M = {}

local AMPA = Synapse:extend "AMPA"
M.AMPA = AMPA

local function make(self, a)
  Synapse.__init(self, a, "alpha beta T T_duration")
end

function AMPA:__init(...)
  make(self, args(Synapse.spec{alpha = 0.98/(u.ms*u.mM), beta = 0.18/u.ms, T = 0.5*u.mM, T_duration = 0.5*u.ms}, ...))
end

function AMPA:init_state(batch_size)
  self.g = self:new_g(batch_size)
  self.since_spike = refractory.count(self.varshape, batch_size)
end

--- spike : [n], true or > 0 where a spike arrives  ->  g
function AMPA:update(spike)
  local event = spike.dtype == "bool" and spike or core.bind("gt", {}, spike, 0)
  refractory.advance(self.since_spike, event)
  local unit = core.unit_of(self.g.value)
  local on = core.bind("select", {}, refractory.within_now(self.since_spike, self.T_duration), self.alpha * self.T, 0 * self.alpha * self.T)
  local one = unit and 1 * unit or 1
  self.g.value = step(function(g) return on * one - (on + self.beta) * g end, self.g.value)
  return self.g.value
end

--- The time of the last spike that arrived, -1e7 ms before the first.
function AMPA:spike_arrival_time() return refractory.time_of(self.since_spike) end

--- AMPA with the constants of GABA_A.
local GABAa = AMPA:extend "GABAa"
M.GABAa = GABAa

function GABAa:__init(...)
  make(self, args(Synapse.spec{alpha = 0.53/(u.ms*u.mM), beta = 0.18/u.ms, T = 1.0*u.mM, T_duration = 1.0*u.ms}, ...))
end

return M

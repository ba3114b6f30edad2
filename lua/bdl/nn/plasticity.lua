--- Short-term plasticity of presynaptic terminals.
--  Source: Tsodyks, Pawelzik & Markram (1998), Neural networks with dynamic synapses. Neural Comput 10.
--  Example:
--    bdl.environ.set{dt = 0.1*bdl.units.ms}
--    local syn = bdl.nn.init_all_states(bdl.nn.NAME(2))
--    print(syn(bdl.tensor{1., 0.}))
local args = require "bdl.args"
local init = require "bdl.init"
local state = require "bdl.state"
local u = require "bdl.units"
local constants = require "bdl.nn.constants"
local integrate = require "bdl.nn.integrate"
local none = require "bdl.none".none
local Dynamics = require "bdl.nn.dynamics".Dynamics

local M = {}

local function make(self, a, names)
  Dynamics.__init(self, {a.size, name = a.name or none})
  constants.set(self, a, names)
end

--- Short-term facilitation and depression:  tau_f du/dt = -u,  tau_d dx/dt = 1 - x;  at a spike u += U (1 - u),
--  released u x, x -= u x.
--  The jumps use the stored u and x.
--  U : jump of the release probability at a spike
--  tau_f, tau_d : time constants of facilitation and of depression
--  States: u, the release probability; x, the part of the transmitter that is left.
local STP = Dynamics:extend "STP"
M.STP = STP

function STP:__init(...)
  make(self, args({"size", U = 0.15, tau_f = 1500*u.ms, tau_d = 200*u.ms, name = none}, ...), "tau_f tau_d U")
end

function STP:init_state(batch_size)
  self.u = state.HiddenState(init.Constant(self.U)(self.varshape, batch_size))
  self.x = state.HiddenState(init.Constant(1.0)(self.varshape, batch_size))
end

--- spike : [n] 0 or 1  ->  [n], what is released
function STP:update(spike)
  local u_, x = self.u.value, self.x.value
  local used = integrate.decay(u_, self.tau_f) + spike * (self.U * (1 - u_))
  local left = integrate.relax(x, 1, self.tau_d)
  self.u.value = used
  self.x.value = left - spike * (used * x)
  return used * left * spike
end

--- Short-term depression alone:  tau dx/dt = 1 - x;  at a spike released x, x -= U x.
--  U : part that a spike releases
--  tau : time constant of the recovery
--  States: x, the part of the transmitter that is left.
local STD = Dynamics:extend "STD"
M.STD = STD

function STD:__init(...) make(self, args({"size", tau = 200*u.ms, U = 0.07, name = none}, ...), "tau U") end

function STD:init_state(batch_size)
  self.x = state.HiddenState(init.Constant(1.0)(self.varshape, batch_size))
end

function STD:update(spike)
  local x = self.x.value
  local left = integrate.relax(x, 1, self.tau)
  self.x.value = left - spike * (self.U * x)
  return left * spike
end

return M

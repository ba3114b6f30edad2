--- Spiking: a neuron given by its parts, and the same neuron with a refractory period.
--
-- A subclass defines
--   defaults()        parameters and initialisers of States with their default values: `w_initializer` makes the State w
--   after_spike(s)    {State = value}: the start of the step, after the spikes s of the stored V
--   advance(from, I)  {State = value}: the end of the step that starts there
--   no_input()        the I of a call without one (0 mA)
-- The class that refractory(cls, name, tau_ref) makes stores the values of the start for as long as it is refractory.
local core = require "bdl.core"
local args = require "bdl.args"
local class = require "bdl.class"
local init = require "bdl.init"
local state = require "bdl.state"
local u = require "bdl.units"
local integrate = require "bdl.nn.integrate"
local refractory = require "bdl.nn.refractory"
local Neuron = require "bdl.nn.neuron".Neuron

local M = {}

--- A neuron by its parts, as the head of nn/spiking.lua tells; to be extended.
--  States: those that defaults() names initialisers for, V among them.
--  Example:
--    local Leak = bdl.nn.Spiking:extend "Leak"
--    function Leak:defaults() return {V_th = 1.0, V_reset = 0.0, V_initializer = bdl.init.Constant(0.5)} end
--    function Leak:advance(from) return {V = 0.9 * from.V} end
--    print(bdl.nn.init_all_states(Leak(2))())
local Spiking = Neuron:extend "Spiking"
M.Spiking = Spiking

--- size and the names of defaults().  Errors: TypeError, unknown names; those of Neuron.set_params.
function Spiking:__init(...)
  local defaults = self:defaults()
  local params, states = {}, {}
  for name in pairs(defaults) do
    local made = name:match "^(.*)_initializer$"
    if made then states[#states + 1] = made elseif name ~= "spk_reset" then params[#params + 1] = name end
  end
  table.sort(params)
  table.sort(states)
  local a = args(Neuron.spec(defaults), ...)
  Neuron.__init(self, Neuron.common(a))
  self:set_params(a, table.concat(params, " "))
  for _, name in ipairs(states) do self[name .. "_initializer"] = a[name .. "_initializer"] end
  class.rawfield(self, "_states", states)
end

function Spiking:init_state(batch_size)
  for _, name in ipairs(self._states) do
    self[name] = state.HiddenState(init.param(self[name .. "_initializer"], self.varshape, batch_size))
  end
end

--- The start of a step for neurons of one State.
function Spiking:after_spike() return {V = self:reset(self.V.value)} end

--- V after a step of tau dV/dt = f(V) + R (inputs), then delta inputs.
function Spiking:membrane(f, V, I)
  V = integrate.step(function(v) return f(v) + self.R * self:sum_current_inputs(I, v) end, V, 1 / self.tau)
  return self:sum_delta_inputs(V)
end

--- I : [n], a current  ->  [n], 1 where spiking
function Spiking:update(I)
  local new = self:advance(self:after_spike(), I or self:no_input())
  for _, name in ipairs(self._states) do self[name].value = new[name] end
  return self:get_spike()
end

function Spiking:no_input() return 0 * u.mA end

--- The potential at which the neuron fires.
function Spiking:threshold() return self.V_th end

--- cls with a refractory period: for the steps k > i with (k - i) dt < tau_ref after a spike at i, only resets happen.
function M.refractory(cls, name, tau_ref)
  local Ref = cls:extend(name)

  function Ref:defaults()
    local a = cls.defaults(self)
    a.tau_ref = tau_ref * u.ms
    return a
  end

  function Ref:init_state(batch_size)
    cls.init_state(self, batch_size)
    self.since_spike = refractory.count(self.varshape, batch_size)
  end

  function Ref:update(I)
    local held = self:after_spike()
    local new = self:advance(held, I or self:no_input())
    local waits = refractory.within(self.since_spike, self.tau_ref)
    for _, key in ipairs(self._states) do self[key].value = core.bind("select", {}, waits, held[key], new[key]) end
    refractory.advance(self.since_spike, core.bind("ge", {}, self.V.value, self:threshold()))
    return self:get_spike()
  end

  --- The time of the last spike, -1e7 ms before the first.
  function Ref:last_spike_time() return refractory.time_of(self.since_spike) end

  --- [n] bool: was the last step refractory, or did it spike?
  function Ref:refractory() return refractory.within_now(self.since_spike, self.tau_ref) end

  return Ref
end

return M

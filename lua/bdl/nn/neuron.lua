--- Neuron: what spiking neurons share: the spike function, the reset, the spike of the stored potential.
--
-- The order of a step: reset from the spike of the stored V, integrate, add delta inputs, store V; so V stays above the
-- threshold until the next step begins.  Subclasses set V_th, V_reset and the State V, and call reset and get_spike.
local core = require "bdl.core"
local trace = require "bdl.augment.trace"
local class = require "bdl.class"
local constants = require "bdl.nn.constants"
local dynamics = require "bdl.nn.dynamics"
local surrogate = require "bdl.surrogate"
local none = require "bdl.none".none

--- A population that spikes; to be extended, mostly through nn.Spiking.
--  size : a number or a list of sizes
--  keep_size : whether sizes stay several axes
--  spk_fun : the surrogate of (V - V_th)/(V_th - V_reset); ReluGrad where none is given
--  spk_reset : "soft": V loses V_th - V_reset at a spike; "hard": V is V_reset
--  Example:
--    local Always = bdl.nn.Neuron:extend "Always"
--    function Always:update() return bdl.ones(self.varshape) end
--    print(Always(2)())
local Neuron = dynamics.Dynamics:extend "Neuron"

--- Errors: ValueError, another spk_reset.
function Neuron:__init(...)
  local a = require "bdl.args"({"size", keep_size = false, name = none, spk_fun = none, spk_reset = "soft"}, ...)
  Neuron.super.__init(self, {a.size, keep_size = a.keep_size, name = a.name or none})
  if a.spk_reset ~= "soft" and a.spk_reset ~= "hard" then
    core.fail("ValueError", 3, "%s: spk_reset is 'soft' or 'hard', not '%s'", class.qualified_name(class.of(self)), tostring(a.spk_reset))
  end
  self.spk_reset = a.spk_reset
  self.spk_fun = a.spk_fun or surrogate.ReluGrad()
end

--- The arguments that all neurons take, in a spec of bdl.args, and their part of a call of Neuron.__init.
function Neuron.spec(spec)
  spec[1] = "size"
  for name, default in pairs{keep_size = false, name = none, spk_fun = none, spk_reset = "soft"} do
    if spec[name] == nil then spec[name] = default end
  end
  return spec
end

function Neuron.common(a)
  return {a.size, keep_size = a.keep_size, name = a.name or none, spk_fun = a.spk_fun or none, spk_reset = a.spk_reset}
end

--- Not a State, nor absent.
local function is_value(x) return type(x) == "number" or core.is_tensor(x) end

--- constants.set, and: V_th lies above V_reset, potentials V_.. have the dimension of V_th.
--  Errors: those of constants.set; ValueError; UnitMismatchError.
function Neuron:set_params(a, names)
  constants.set(self, a, names)
  local top, who = self.V_th, class.qualified_name(class.of(self))
  for name in names:gmatch "%f[%w_]V_[%w_]+" do
    local x = self[name]
    if is_value(x) and is_value(top) and not pcall(function() return x - top end) then
      core.fail("UnitMismatchError", 4, "%s: %s is in <%s>, V_th in <%s>; both are potentials", who, name, tostring(core.unit_of(x) or 1),
                tostring(core.unit_of(top) or 1))
    end
  end
  if is_value(top) and is_value(self.V_reset) then Neuron.check_reset(self) end
end

--- V_th - V_reset divides.  Errors: ValueError, V_th does not lie above V_reset.
function Neuron:check_reset()
  local gap = constants.least(self.V_th - self.V_reset)
  if gap and not (gap > 0) then
    core.fail("ValueError", 4, "%s: V_th must lie above V_reset; they are %s and %s", class.qualified_name(class.of(self)),
              tostring(self.V_th), tostring(self.V_reset))
  end
end

--- Is x known to be > 0 everywhere?
function Neuron.is_positive(x)
  local low = constants.least(x)
  return low ~= nil and low > 0
end

--- self[name] as the scale of the distance to a threshold: 1 in its unit where it is known not to be > 0.
function Neuron:above_zero(name)
  local x = self[name]
  if core.is_tensor(x) and core.is_traced(x) or Neuron.is_positive(x) then return x end
  local unit = core.unit_of(x)
  return unit and 1.0 * unit or 1.0
end

--- Does one comparison say all about the spikes of V?  Not where the derivative is asked for, nor with a spike function of the user.
function Neuron:spikes_plainly(width)
  return class.isa(self.spk_fun, surrogate.Surrogate) and not trace.differentiating() and Neuron.is_positive(width)
end

--- spk_fun((V - threshold) / width)
function Neuron:spike(V, threshold, width)
  if self:spikes_plainly(width) then return core.cast(core.bind("ge", {}, V, threshold), V.dtype) end
  return self.spk_fun((V - threshold) / width)
end

--- The spike of V, by default of the stored one.
function Neuron:get_spike(V)
  return self:spike(V or self.V.value, self.V_th, self.V_th - self.V_reset)
end

--- V after the spike s (by default its own):  soft V - (V_th - V_reset) s,  hard V - (V - V_reset) s.
--  In hard mode the V in the bracket is detached, so that gradients flow through s alone.
function Neuron:reset(V, s)
  local soft, step = self.spk_reset == "soft", self.V_th - self.V_reset
  if not s and self:spikes_plainly(step) then
    return core.bind("select", {}, core.bind("ge", {}, V, self.V_th), soft and V - step or self.V_reset, V)
  end
  return V - (soft and step or core.bind("stop_gradient", {}, V) - self.V_reset) * (s or self:get_spike(V))
end

return {Neuron = Neuron}

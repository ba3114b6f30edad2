--- Neuron: what spiking neurons share: the spike function, the reset, the spike of the stored potential.
--
-- The order of a step: reset from the spike of the stored V, integrate, add delta inputs, store V; so V stays above the
-- threshold until the next step begins.  Subclasses set V_th, V_reset and the State V, and call reset and get_spike.
local core = require "bdl.core"
local augment = require "bdl.augment"
local class = require "bdl.class"
local dynamics = require "bdl.nn.dynamics"
local surrogate = require "bdl.surrogate"
local none = require "bdl.none".none

local Neuron = dynamics.Dynamics:extend "Neuron"

--- size, keep_size, name, spk_fun (of (V - V_th)/(V_th - V_reset)), spk_reset ("soft": V loses V_th - V_reset; "hard": V is V_reset).
--  Errors: ValueError, another spk_reset.
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

--- self[name] = parameter a[name], for words of names.
function Neuron:set_params(a, names)
  for name in names:gmatch "%S+" do self[name] = require "bdl.init".param(a[name], self.varshape) end
end

--- Is x known to be > 0 everywhere?
function Neuron.is_positive(x)
  if type(x) == "number" then return x > 0 end
  if core.is_traced(x) then return false end
  local axes = {}
  for k = 1, x.ndim do axes[k] = k - 1 end
  return core.item(core.bind("reduce_min", {axes = axes}, core.mantissa(x))) > 0
end

--- Does one comparison say all about the spikes of V?  Not where the derivative is asked for, nor with a spike function of the user.
function Neuron:spikes_plainly(width)
  return class.isa(self.spk_fun, surrogate.Surrogate) and not augment.differentiating() and Neuron.is_positive(width)
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

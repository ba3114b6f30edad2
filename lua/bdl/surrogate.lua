--- Surrogate gradients: spikes that can be differentiated.  s = (x >= 0) as 0 or 1; its derivative is replaced by g(x).
--  g is taken at a detached x, so that second derivatives are zero.
--  Source: Neftci, Mostafa & Zenke (2019), Surrogate gradient learning in spiking neural networks.
local core = require "bdl.core"
local class = require "bdl.class"
local args = require "bdl.args"
local augment = require "bdl.augment"

local M = {}

local NONE = {}

local Surrogate = class "Surrogate"
M.Surrogate = Surrogate

local function heaviside(x) return core.cast(core.bind("ge", NONE, x, 0), x.dtype) end

--- 0 or 1 in the dtype of x.  Subclasses define surrogate_grad(x).
function Surrogate:__call(x)
  if not core.is_tensor(x) then x = core.tensor(x) end
  if not x.dtype:find "^float" then
    core.fail("TypeError", 2, "%s: spikes come from floats, not %s", class.typename(self), x.dtype)
  end
  if not augment.differentiating() then return heaviside(x) end
  self._function = self._function or augment.custom_jvp(heaviside):defjvp(function(primals, tangents)
    local at = core.bind("stop_gradient", NONE, primals[1])
    return heaviside(at), core.bind("stop_gradient", NONE, self:surrogate_grad(at)) * tangents[1]
  end)
  return self._function(x)
end

local function surrogate(name, defaults, text, grad)
  local Class = Surrogate:extend(name)
  M[name] = Class
  local order = {}
  for i, pair in ipairs(defaults) do order[i] = pair[1] end
  function Class:__init(...)
    local spec = table.move(order, 1, #order, 1, {})
    for _, pair in ipairs(defaults) do spec[pair[1]] = pair[2] end
    local a = args(spec, ...)
    for _, field in ipairs(order) do self[field] = a[field] end
  end
  function Class:__tostring()
    return (text:gsub("{(%w+)}", function(field) return tostring(self[field]) end))
  end
  Class.surrogate_grad = grad
end

local function bind(prim, ...) return core.bind(prim, NONE, ...) end

--- g = max(alpha (width - |x|), 0)
surrogate("ReluGrad", {{"alpha", 0.3}, {"width", 1.0}}, "ReluGrad(alpha={alpha}, width={width})", function(self, x)
  return bind("max", self.alpha * (self.width - bind("abs", x)), 0)
end)

--- g = alpha s (1 - s), s = sigmoid(alpha x)
surrogate("Sigmoid", {{"alpha", 4.0}}, "Sigmoid(alpha={alpha})", function(self, x)
  local s = bind("sigmoid", self.alpha * x)
  return self.alpha * s * (1 - s)
end)

--- g = alpha/2 / (1 + (pi/2 alpha x)^2)
surrogate("Arctan", {{"alpha", 1.0}}, "Arctan(alpha={alpha})", function(self, x)
  local y = (math.pi / 2 * self.alpha) * x
  return (self.alpha / 2) / (1 + y * y)
end)

return class.qualify(M, "surrogate")

--- Activation functions as layers, and under their own names in nn: nn.relu is bdl.functional.relu.
--  Equations stand beside the functions.
--  Example:
--    local layer = bdl.nn.NAME()
--    print(layer(bdl.tensor{-1., 0., 2., 4.}))
local core = require "bdl.core"
local args = require "bdl.args"
local functional = require "bdl.functional"
local none = require "bdl.none".none
local state = require "bdl.state"
local Module = require "bdl.nn.module".Module

local M = {}

for name, f in pairs(functional) do M[name] = f end

--- A layer that keeps the size of its input; those of functions extend it.
--  Example:
--    local Square = bdl.nn.ElementWiseBlock:extend "Square"
--    function Square:update(x) return x * x end
local ElementWiseBlock = Module:extend "ElementWiseBlock"
M.ElementWiseBlock = ElementWiseBlock

--- Class `name` with parameters `spec` (positions and defaults of bdl.args): x -> f(x, self).  check(self): (optional) fails.
--  as : the name of the function in bdl.functional that the class stands for.
local function define(name, spec, f, check, as)
  local Class = ElementWiseBlock:extend(name)
  M[name] = Class
  Class.documented_at = as and "functional." .. as
  function Class:__init(...)
    local copy = {}
    for key, value in pairs(spec) do copy[key] = value end
    copy.name = none
    local a = args(copy, ...)
    Class.super.__init(self, a.name)
    for _, key in ipairs(spec) do self[key] = a[key] end
    if check then check(self) end
  end
  function Class:update(x) return f(x, self) end
end

--- Layers without parameters.
for name, f in pairs{
  ReLU = "relu", ReLU6 = "relu6", Sigmoid = "sigmoid", Hardsigmoid = "hard_sigmoid", Tanh = "tanh", SiLU = "silu", Mish = "mish",
  Hardswish = "hard_swish", SELU = "selu", LogSigmoid = "log_sigmoid", Softplus = "softplus", Softsign = "soft_sign",
  Tanhshrink = "tanh_shrink",
} do
  define(name, {}, functional[f], nil, f)
end

--- Layers with one number.
for name, p in pairs{
  ELU = {"elu", "alpha", 1.0}, CELU = {"celu", "alpha", 1.0}, LeakyReLU = {"leaky_relu", "negative_slope", 0.01},
  Hardshrink = {"hard_shrink", "lambd", 0.5}, Softshrink = {"soft_shrink", "lambd", 0.5},
} do
  local f, key = functional[p[1]], p[2]
  define(name, {key, [key] = p[3]}, function(x, self) return f(x, self[key]) end, nil, p[1])
end

--- Layers along an axis.
for name, f in pairs{GLU = "glu", Softmin = "softmin", Softmax = "softmax", LogSoftmax = "log_softmax"} do
  define(name, {"axis", axis = -1}, function(x, self) return functional[f](x, {axis = self.axis}) end, nil, f)
end

define("GELU", {"approximate", approximate = false}, function(x, self)
  return functional.gelu(x, {approximate = self.approximate})
end, nil, "gelu")

--- y = softmax(x) over the third axis from the end: channels of [.., c, h, w].
--  Source: Bridle (1990), Probabilistic interpretation of feedforward network outputs. Neurocomputing, NATO ASI 68.
--  Example:
--    local layer = bdl.nn.Softmax2d()
--    print(layer(bdl.random.randn(2, 3, 3)))
define("Softmax2d", {}, function(x) return functional.softmax(x, {axis = -3}) end)

--- y = x
define("Identity", {}, function(x) return x end)

--- y = x above the threshold, else value; both in the unit of x.
--  Source: McCulloch & Pitts (1943), A logical calculus of the ideas immanent in nervous activity. Bull Math Biophys 5.
--  Example:
--    local layer = bdl.nn.Threshold(0.5, 0.0)
--    print(layer(bdl.tensor{-1., 0., 2., 4.}))
define("Threshold", {"threshold", "value"}, function(x, self)
  return core.bind("select", {}, core.bind("gt", {}, x, self.threshold), x, self.value)
end)

--- y = min(max(x, min_val), max_val)
--  Errors: ValueError, max_val <= min_val.
--  Source: Collobert (2004), Large scale machine learning.
define("Hardtanh", {"min_val", "max_val", min_val = -1.0, max_val = 1.0}, function(x, self)
  return functional.hard_tanh(x, self.min_val, self.max_val)
end, function(self)
  if self.max_val <= self.min_val then
    core.fail("ValueError", 3, "nn.Hardtanh: max_val %s is not greater than min_val %s", tostring(self.max_val),
              tostring(self.min_val))
  end
end)

--- rrelu, RReLU: y = x, below 0 a x with a drawn for every element between lower and upper.
--  Source: Xu et al. (2015), Empirical evaluation of rectified activations in convolutional network. arXiv:1505.00853.
--  Example:
--    print(bdl.nn.rrelu(bdl.tensor{-1., 0., 2.}))
--    print(bdl.nn.RReLU()(bdl.tensor{-1., 0., 2.}))
function M.rrelu(x, lower, upper)
  lower, upper = lower or 1 / 8, upper or 1 / 3
  local slope = require "bdl.random".uniform(lower, upper, {size = {table.unpack(x.shape)}, dtype = core.mantissa(x).dtype})
  return core.bind("select", {}, core.bind("ge", {}, core.mantissa(x), 0), x, slope * x)
end

define("RReLU", {"lower", "upper", lower = 1 / 8, upper = 1 / 3}, function(x, self) return M.rrelu(x, self.lower, self.upper) end)

--- Two trains of spikes by a logical operation:  layer(x, y) = event.spike_bitwise(x, y, op).
--  op : "add", "or", "and", "iand", "xor" or "ixor"
--  Source: Wang et al. (2023), BrainPy, a flexible, integrative, efficient, and extensible framework. eLife 12.
--  Example:
--    local layer = bdl.nn.SpikeBitwise "or"
--    print(layer(bdl.tensor{true, false}, bdl.tensor{false, false}))
local SpikeBitwise = ElementWiseBlock:extend "SpikeBitwise"
M.SpikeBitwise = SpikeBitwise

function SpikeBitwise:__init(...)
  local a = args({"op", op = "add", name = none}, ...)
  SpikeBitwise.super.__init(self, a.name)
  self.op = a.op
end

function SpikeBitwise:update(x, y) return require "bdl.event".spike_bitwise(x, y, self.op) end

--- y = x, below 0 a x with a learnt: one for all, or one for each of num_parameters on the last axis.
--  init : a at first
--  States: weight, a.
--  Source: He et al. (2015), Delving deep into rectifiers. ICCV.
local PReLU = ElementWiseBlock:extend "PReLU"
M.PReLU = PReLU

function PReLU:__init(...)
  local a = args({"num_parameters", num_parameters = 1, init = 0.25, name = none}, ...)
  PReLU.super.__init(self, a.name)
  self.num_parameters = a.num_parameters
  self.weight = state.ParamState(require "bdl.init".Constant(a.init){a.num_parameters})
end

function PReLU:update(x) return functional.prelu(x, self.weight.value) end

return M

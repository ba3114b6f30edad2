--- Surrogate gradients: spikes that can be differentiated.  s = (x >= 0) as 0 or 1; its derivative is replaced by g(x).
--  g is taken at a detached x, so that second derivatives are zero.
--
--   bdl.surrogate.Sigmoid(4.0)(x)  ==  bdl.surrogate.sigmoid(x, 4.0)       spikes of x
--   f:surrogate_grad(x)  g(x);   f:surrogate_fun(x)  a smooth function with the derivative g
--
--  A new one is a subclass of Surrogate with surrogate_grad(self, x).
--  Source: Neftci, Mostafa & Zenke (2019), Surrogate gradient learning in spiking neural networks. IEEE Signal Process
--    Mag 36.
--  Example:
--    local spike = bdl.surrogate.NAME()
--    print(spike(bdl.tensor{-1., 0., 2.}), bdl.augment.vector_grad(function(x) return spike(x) end)(bdl.tensor{-1., 0.1, 2.}))
local core = require "bdl.core"
local class = require "bdl.class"
local array = require "bdl.array"
local trace = require "bdl.augment.trace"
local parameters = require "bdl.parameters"

local abs, exp, where, sigmoid = array.abs, array.exp, array.where, array.sigmoid
local pi = math.pi

local M = {}

local NONE = {}

--- A spike with a gradient, to be extended by surrogate_grad(x).
--  Example:
--    local Box = bdl.surrogate.Surrogate:extend "Box"
--    function Box:surrogate_grad(x) return bdl.where(bdl.abs(x):lt(0.5), 1.0, 0.0) end
--    print(Box()(bdl.tensor{-1., 0., 2.}))
local Surrogate = class "Surrogate"
M.Surrogate = Surrogate

local function heaviside(x) return core.cast(core.bind("ge", NONE, x, 0), x.dtype) end

--- 0 or 1 in the dtype of x.  Errors: TypeError, x holds no floats.
function Surrogate:__call(x)
  if not core.is_tensor(x) then x = core.tensor(x) end
  if not x.dtype:find "^float" then
    core.fail("TypeError", 2, "%s: spikes come from floats, not %s", class.typename(self), x.dtype)
  end
  if not trace.differentiating() then return heaviside(x) end
  self._function = self._function or require "bdl.augment.custom".custom_jvp(heaviside):defjvp(function(primals, tangents)
    local at = core.bind("stop_gradient", NONE, primals[1])
    local slope = core.cast(self:surrogate_grad(at), at.dtype)
    return heaviside(at), core.bind("stop_gradient", NONE, slope) * tangents[1]
  end)
  return self._function(x)
end

function Surrogate:surrogate_grad()
  core.fail("NotSupportedError", 2, "%s: no gradient; a surrogate defines surrogate_grad(self, x)", class.typename(self))
end

function Surrogate:surrogate_fun()
  core.fail("NotSupportedError", 2, "%s: no smooth function belongs to this gradient", class.typename(self))
end

--- InvSquareGrad -> inv_square_grad
local function lower(name) return name:gsub("(%l)(%u)", "%1_%2"):gsub("(%u)(%u%l)", "%1_%2"):lower() end

--- Defines the class Name(parameters..) and the function name(x, parameters..).
--    rows        the parameters, as bdl.parameters wants them
--    grad, fun   f(self, x): the gradient and, where there is one, its integral
local function surrogate(name, rows, grad, fun)
  local Class = Surrogate:extend(name)
  M[name] = Class
  Class.rows = rows
  function Class:__init(...) parameters.set(self, rows, ...) end
  function Class:__tostring()
    local fields = {}
    for i, row in ipairs(rows) do fields[i] = row[1] .. "=" .. tostring(self[row[1]]) end
    return name .. "(" .. table.concat(fields, ", ") .. ")"
  end
  Class.surrogate_grad = grad
  Class.surrogate_fun = fun
  --- The spikes of x by the class of that name in capitals:  sigmoid(x, 4.0) is Sigmoid(4.0)(x).
  --  Example:
  --    print(bdl.surrogate.NAME(bdl.tensor{-1., 0., 2.}))
  M[lower(name)] = function(x, ...) return Class(...)(x) end
end

--- The density of N(0, sigma).
local function gaussian(x, sigma) return exp(-(x * x) / (2 * sigma^2)) / (math.sqrt(2 * pi) * sigma) end

-- ---- smooth steps ---------------------------------------------------------------------------------------------------

--- Slope of the logistic function:  g = alpha s (1 - s), s = sigmoid(alpha x)
--  alpha : steepness
--  Source: Zenke & Vogels (2021), The remarkable robustness of surrogate gradient learning. Neural Comput 33.
surrogate("Sigmoid", {{"alpha", 4.0}}, function(self, x)
  local s = sigmoid(self.alpha * x)
  return self.alpha * s * (1 - s)
end, function(self, x) return sigmoid(self.alpha * x) end)

--- Slope of x/(1 + |x|):  g = alpha/2 / (1 + |alpha x|)^2
--  alpha : steepness
surrogate("SoftSign", {{"alpha", 1.0, above = 0}}, function(self, x)
  local y = 1 + abs(self.alpha * x)
  return (self.alpha / 2) / (y * y)
end, function(self, x) return x / (2 / self.alpha + 2 * abs(x)) + 0.5 end)

--- Slope of the arc tangent:  g = alpha/2 / (1 + (pi/2 alpha x)^2)
--  alpha : steepness
--  Source: Fang et al. (2021), Incorporating learnable membrane time constant to enhance learning of spiking neural
--    networks. ICCV.
surrogate("Arctan", {{"alpha", 1.0}}, function(self, x)
  local y = (pi / 2 * self.alpha) * x
  return (self.alpha / 2) / (1 + y * y)
end, function(self, x) return array.atan((pi / 2 * self.alpha) * x) / pi + 0.5 end)

--- Slope of the error function:  g = alpha/sqrt(pi) exp(-(alpha x)^2)
--  alpha : steepness
--  Source: Esser et al. (2015), Backpropagation for energy-efficient neuromorphic computing. NIPS; Wu et al. (2018),
--    Spatio-temporal backpropagation for training high-performance spiking neural networks. Front Neurosci 12.
surrogate("ERF", {{"alpha", 1.0}}, function(self, x)
  local y = self.alpha * x
  return (self.alpha / math.sqrt(pi)) * exp(-(y * y))
end, function(self, x) return 0.5 * (1 + array.erf(self.alpha * x)) end)

--- A square wave:  g = 4/T sum_i=1..n cos((2i - 1) 2 pi x / T), T = t_period: the first n terms of its Fourier series.
--  n : terms
--  t_period : period
surrogate("SquarewaveFourierSeries", {{"n", 2, above = 0, integer = true}, {"t_period", 8.0, above = 0}}, function(self, x)
  local w, sum = 2 * pi / self.t_period, 0.0
  for k = 1, 2 * self.n - 1, 2 do sum = sum + array.cos(k * w * x) end
  return 4 / self.t_period * sum
end, function(self, x)
  local w, sum = 2 * pi / self.t_period, 0.0
  for k = 1, 2 * self.n - 1, 2 do sum = sum + array.sin(k * w * x) / k end
  return 0.5 + 2 / pi * sum
end)

-- ---- in pieces ------------------------------------------------------------------------------------------------------

--- A triangle:  g = alpha - alpha^2 |x| where |x| <= 1/alpha, else 0
--  alpha : height
--  Source: Esser et al. (2016), Convolutional networks for fast, energy-efficient neuromorphic computing. PNAS 113;
--    Bellec et al.
--    (2018), Long short-term memory and learning-to-learn in networks of spiking neurons. NeurIPS.
surrogate("PiecewiseQuadratic", {{"alpha", 1.0, above = 0}}, function(self, x)
  return where(abs(x):gt(1 / self.alpha), 0.0, self.alpha - self.alpha^2 * abs(x))
end, function(self, x)
  local inside = (1 - self.alpha / 2 * abs(x)) * self.alpha * x + 0.5
  return where(x:lt(-1 / self.alpha), 0.0, where(x:gt(1 / self.alpha), 1.0, inside))
end)

--- Exponential flanks:  g = alpha/2 exp(-alpha |x|)
--  alpha : steepness
surrogate("PiecewiseExp", {{"alpha", 1.0}}, function(self, x)
  return self.alpha / 2 * exp(-self.alpha * abs(x))
end, function(self, x)
  local tail = exp(-self.alpha * abs(x)) / 2
  return where(x:lt(0), tail, 1 - tail)
end)

--- A rectangle, leaky beside:  g = 1/(2w) where |x| <= w, else c
--  c, w : leak; half the width
--  Source: Wu et al. (2018), Spatio-temporal backpropagation for training high-performance spiking neural networks.
--    Front Neurosci 12.
surrogate("PiecewiseLeakyRelu", {{"c", 0.01}, {"w", 1.0, above = 0}}, function(self, x)
  return where(abs(x):gt(self.w), self.c, 1 / (2 * self.w))
end, function(self, x)
  local c, w = self.c, self.w
  return where(x:lt(-w), c * (x + w), where(x:gt(w), c * (x - w) + 1, x / (2 * w) + 0.5))
end)

--- Two constants:  g = alpha where x < 0, else beta
surrogate("LeakyRelu", {{"alpha", 0.1}, {"beta", 1.0}}, function(self, x)
  return where(x:lt(0), self.alpha, self.beta)
end, function(self, x) return where(x:lt(0), self.alpha * x, self.beta * x) end)

--- Slope of a ramp with a logarithmic tail:  g = 1/x where x > 1, 1 where 0 < x <= 1, else alpha
--  Source: Cai et al. (2017), Deep learning with low precision by half-wave Gaussian quantization. CVPR.
surrogate("LogTailedRelu", {{"alpha", 0.0}}, function(self, x)
  return where(x:gt(0), 1 / array.maximum(x, 1), self.alpha)
end, function(self, x)
  return where(x:gt(1), 1 + array.log(array.maximum(x, 1)), where(x:gt(0), x, self.alpha * x))
end)

--- A triangle:  g = max(alpha (width - |x|), 0)
--  alpha, width : slope of the flanks; half the width
--  Source: Bellec et al. (2018), Long short-term memory and learning-to-learn in networks of spiking neurons. NeurIPS.
surrogate("ReluGrad", {{"alpha", 0.3}, {"width", 1.0}}, function(self, x)
  return array.maximum(self.alpha * (self.width - abs(x)), 0)
end)

--- Logistic below, logarithmic above:  g = alpha s (1 - s), s = sigmoid(alpha x) where x < 0, else beta / (1 + x)
--  alpha, beta : steepness below; height above
--  epsilon : keeps the logarithm of the smooth function finite
--  Source: Suetake et al. (2022), S2NN: time step reduction of spiking surrogate gradients. arXiv:2201.10879.
surrogate("S2NN", {{"alpha", 4.0}, {"beta", 1.0}, {"epsilon", 1e-8}}, function(self, x)
  local s = sigmoid(self.alpha * x)
  return where(x:lt(0), self.alpha * s * (1 - s), self.beta / (array.maximum(x, 0) + 1))
end, function(self, x)
  return where(x:lt(0), sigmoid(self.alpha * x), self.beta * array.log(abs(x + 1) + self.epsilon) + 0.5)
end)

-- ---- peaks ----------------------------------------------------------------------------------------------------------

--- Slope of a logarithm with sign:  g = 1 / (1/alpha + |x|)
--  alpha : height
surrogate("NonzeroSignLog", {{"alpha", 1.0, above = 0}}, function(self, x)
  return 1 / (1 / self.alpha + abs(x))
end, function(self, x)
  local y = array.log1p(self.alpha * abs(x))
  return where(x:lt(0), -y, y)
end)

--- A pseudo-spike:  g = (1 + 2/(alpha + 1) |x|)^-alpha
--  alpha : weight of the tails: the larger, the lighter
--  Source: Herranz-Celotti & Rouat (2022), Surrogate gradients design. arXiv:2202.00282.
surrogate("QPseudoSpike", {{"alpha", 2.0, above = -1}}, function(self, x)
  return (1 + 2 / (self.alpha + 1) * abs(x)) ^ -self.alpha
end, function(self, x)
  local base, q = 1 + 2 / (self.alpha + 1) * abs(x), 1 - self.alpha
  local integral = q == 0 and array.log(base) or (base ^ q - 1) / q
  return 0.5 + array.sign(x) * ((self.alpha + 1) / 2 * integral)
end)

--- A bell:  g = alpha N(x; 0, sigma)
--  sigma, alpha : width; weight
--  Source: Yin, Corradi & Bohte (2021), Accurate and efficient time-domain classification with adaptive spiking
--    recurrent neural networks. Nat Mach Intell 3.
surrogate("GaussianGrad", {{"sigma", 0.5, above = 0}, {"alpha", 0.5}}, function(self, x)
  return self.alpha * gaussian(x, self.sigma)
end)

--- A bell with negative sides:  g = scale ((1 + h) N(x; 0, sigma) - h N(x; sigma, s sigma) - h N(x; -sigma, s sigma))
--  h, s, sigma : height and relative width of the sides; width of the middle
--  Source: Yin, Corradi & Bohte (2021), Accurate and efficient time-domain classification with adaptive spiking
--    recurrent neural networks. Nat Mach Intell 3.
surrogate("MultiGaussianGrad", {{"h", 0.15}, {"s", 6.0, above = 0}, {"sigma", 0.5, above = 0}, {"scale", 0.5}}, function(self, x)
  local wide = self.s * self.sigma
  local sides = gaussian(x - self.sigma, wide) + gaussian(x + self.sigma, wide)
  return self.scale * ((1 + self.h) * gaussian(x, self.sigma) - self.h * sides)
end)

--- SuperSpike:  g = 1 / (alpha |x| + 1)^2
--  alpha : steepness
--  Source: Zenke & Ganguli (2018), SuperSpike: supervised learning in multilayer spiking neural networks. Neural Comput
--    30.
surrogate("InvSquareGrad", {{"alpha", 100.0}}, function(self, x)
  local y = self.alpha * abs(x) + 1
  return 1 / (y * y)
end)

--- SLAYER:  g = exp(-alpha |x|)
--  alpha : steepness
--  Source: Shrestha & Orchard (2018), SLAYER: spike layer error reassignment in time. NeurIPS.
surrogate("SlayerGrad", {{"alpha", 1.0}}, function(self, x) return exp(-self.alpha * abs(x)) end)

return class.qualify(M, "surrogate")

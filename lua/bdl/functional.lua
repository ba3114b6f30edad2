--- Activation functions.  Also methods of tensors: x:relu().
--  Names and defaults follow brainstate.nn; numbers with a unit go through relu and its kin only.
--  Source: Goodfellow, Bengio & Courville (2016), Deep Learning. MIT Press, section 6.3, where no other stands.
--  Example:
--    local x = bdl.tensor{-1., 0., 2.}
--    print(bdl.functional.NAME(x))
local core = require "bdl.core"
local base = require "bdl.array.base"
local math_ = require "bdl.array.math"
local reduce = require "bdl.array.reduce"

--- softmax: y_i = e^(x_i) / sum_j e^(x_j) along an axis.  Options: axis (-1).
--  Source: Bridle (1990), Probabilistic interpretation of feedforward network outputs. Neurocomputing, NATO ASI 68.
--- log_softmax: y_i = x_i - log sum_j e^(x_j) along an axis.  Options: axis (-1).
--- logsumexp: y = log sum_j e^(x_j), without overflow.  Options: axis (all), keepdims (false).
local functional = {softmax = reduce.softmax, log_softmax = reduce.log_softmax, logsumexp = reduce.logsumexp}

local bind, NONE, where = core.bind, base.NONE, math_.where

local function exp(x) return (bind("exp", NONE, x)) end
local function expm1(x) return (bind("expm1", NONE, x)) end
local function tanh(x) return (bind("tanh", NONE, x)) end
local function sigmoid(x) return (bind("sigmoid", NONE, x)) end
local function gt(x, y) return (bind("gt", NONE, x, y)) end
local function lt(x, y) return (bind("lt", NONE, x, y)) end
local function ge(x, y) return (bind("ge", NONE, x, y)) end

--- x where it is negative, else 0: keeps e^x in the branch not taken from overflowing, whose derivative would be NaN.
local function negative_part(x) return where(gt(x, 0), 0, x) end

--- f(x, parameters..) over plain floats.
local function define(name, f)
  functional[name] = base.unit_rule(name, 1, function(x, ...) return f(base.float(x), ...) end)
end

--- The same for functions without a row among the unit rules: their primitives decide.
local function plain(name, f)
  functional[name] = function(x, ...) return f(base.float(x), ...) end
end

--- y = max(x, 0), whose derivative at 0 is 0.
--  Source: Nair & Hinton (2010), Rectified linear units improve restricted Boltzmann machines. ICML.
functional.relu = base.unit_rule("relu", 1, function(x)
  x = base.array(x)
  return where(gt(x, 0), x, 0)
end)

--- relu6: y = min(max(x, 0), 6)
--  Source: Krizhevsky (2010), Convolutional deep belief networks on CIFAR-10.
local function relu6(x) return where(gt(x, 0), where(lt(x, 6), x, 6), 0) end
plain("relu6", relu6)

--- leaky_relu: y = x, below 0 slope x.  Arguments: x, slope (0.01).
--  Source: Maas, Hannun & Ng (2013), Rectifier nonlinearities improve neural network acoustic models. ICML.
--- prelu: y = x, below 0 slope x, for a slope that is learnt.  Arguments: x, slope (0.25).
--  Source: He et al. (2015), Delving deep into rectifiers. ICCV.
local function leaky(default)
  return function(x, slope)
    if base.is_options(slope) then slope = base.options("leaky_relu", slope, base.names "negative_slope").negative_slope end
    return where(ge(x, 0), x, x * (slope or default))
  end
end
plain("leaky_relu", leaky(0.01))
plain("prelu", leaky(0.25))

--- y = 1 / (1 + e^-x)
plain("sigmoid", sigmoid)
--- y = (e^x - e^-x) / (e^x + e^-x)
plain("tanh", tanh)
--- y = -log(1 + e^-x), without overflow.
plain("log_sigmoid", function(x) return -bind("softplus", NONE, -x) end)
--- y = log(1 + e^x), without overflow.
--  Source: Dugas et al. (2000), Incorporating second-order functional knowledge for better option pricing. NIPS.
plain("softplus", function(x) return bind("softplus", NONE, x) end)
--- y = x / (1 + |x|)
--  Source: Turian, Bergstra & Bengio (2009), Quadratic features and deep architectures for chunking. NAACL.
plain("soft_sign", function(x) return x / (bind("abs", NONE, x) + 1) end)

--- y = (x + sqrt(x^2 + b)) / 2.  Arguments: x, b (4).
--  Source: Barron (2021), Squareplus: a softplus-like algebraic rectifier. arXiv:2112.11687.
plain("squareplus", function(x, b) return (x + bind("sqrt", NONE, x * x + (b or 4))) * 0.5 end)

--- elu: y = x, below 0 alpha (e^x - 1).  Arguments: x, alpha (1).
--  Source: Clevert, Unterthiner & Hochreiter (2016), Fast and accurate deep network learning by exponential linear
--    units. ICLR.
--- celu: y = x, below 0 alpha (e^(x/alpha) - 1).  Arguments: x, alpha (1).
--  Source: Barron (2017), Continuously differentiable exponential linear units. arXiv:1704.07483.
local function alpha_of(name, v)
  if base.is_options(v) then v = base.options(name, v, base.names "alpha").alpha end
  return v or 1
end

define("elu", function(x, alpha) return where(gt(x, 0), x, expm1(negative_part(x)) * alpha_of("elu", alpha)) end)
define("celu", function(x, alpha)
  alpha = alpha_of("celu", alpha)
  return where(gt(x, 0), x, expm1(negative_part(x) / alpha) * alpha)
end)

--- y = 1.0507 x, below 0 1.0507 * 1.6733 (e^x - 1): keeps mean 0 and variance 1.
--  Source: Klambauer et al. (2017), Self-normalizing neural networks. NIPS.
define("selu", function(x)
  local alpha, scale = 1.6732632423543772, 1.0507009873554805
  return where(gt(x, 0), x, expm1(negative_part(x)) * alpha) * scale
end)

--- y = x Phi(x), Phi the distribution function of N(0, 1).  Options: approximate (true: by tanh).
--  Source: Hendrycks & Gimpel (2016), Gaussian error linear units. arXiv:1606.08415.
define("gelu", function(x, opts)
  if base.options("gelu", opts, base.names "approximate").approximate == false then
    return bind("erfc", NONE, x * -math.sqrt(0.5)) * x * 0.5
  end
  return x * 0.5 * (tanh((x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)) + 1)
end)

--- silu, swish: y = x / (1 + e^-x)
--  Source: Elfwing, Uchibe & Doya (2018), Sigmoid-weighted linear units. Neural Networks 107.
define("silu", function(x) return x * sigmoid(x) end)
functional.swish = functional.silu
--- y = x tanh(log(1 + e^x))
--  Source: Misra (2020), Mish: a self regularized non-monotonic activation function. BMVC.
plain("mish", function(x) return x * tanh((bind("softplus", NONE, x))) end)

--- hard_sigmoid: y = min(max(x + 3, 0), 6) / 6
--  Source: Courbariaux, Bengio & David (2015), BinaryConnect. NIPS.
--- hard_silu, hard_swish: y = x hard_sigmoid(x)
--  Source: Howard et al. (2019), Searching for MobileNetV3. ICCV.
local function hard_sigmoid(x) return relu6(x + 3) / 6 end
plain("hard_sigmoid", hard_sigmoid)
plain("hard_silu", function(x) return x * hard_sigmoid(x) end)
functional.hard_swish = functional.hard_silu

--- y = min(max(x, lo), hi).  Arguments: x, lo (-1), hi (1).
plain("hard_tanh", function(x, lo, hi)
  lo, hi = lo or -1.0, hi or 1.0
  return where(gt(x, hi), hi, where(lt(x, lo), lo, x))
end)

--- y = x - tanh(x)
plain("tanh_shrink", function(x) return x - tanh(x) end)

local function lambd_of(name, v)
  if base.is_options(v) then v = base.options(name, v, base.names "lambd").lambd end
  return v or 0.5
end

--- y = x where |x| > lambd, else 0.  Arguments: x, lambd (0.5).
plain("hard_shrink", function(x, lambd)
  lambd = lambd_of("hard_shrink", lambd)
  return where(gt(bind("abs", NONE, x), lambd), x, 0.0)
end)
--- y = sign(x) max(|x| - lambd, 0).  Arguments: x, lambd (0.5).
--  Source: Donoho (1995), De-noising by soft-thresholding. IEEE Trans Inf Theory 41.
plain("soft_shrink", function(x, lambd)
  lambd = lambd_of("soft_shrink", lambd)
  return where(gt(x, lambd), x - lambd, where(lt(x, -lambd), x + lambd, 0.0))
end)

--- y = 0 up to -1, x from 1 on, between them (x + 1)^2/4.
plain("sparse_plus", function(x)
  return where(lt(x, -1), 0.0, where(ge(x, 1), x, bind("integer_pow", {y = 2}, x + 1) * 0.25))
end)

--- y = (x + 1)/2 within 0..1: the derivative of sparse_plus.
plain("sparse_sigmoid", function(x) return bind("min", NONE, bind("max", NONE, x + 1, 0), 2) * 0.5 end)

-- ---- along an axis ---------------------------------------------------------------------------------------------------

local AXIS = base.names "axis"

--- y = softmax(-x).  Options: axis (-1).
functional.softmin = base.unit_rule("softmax", 1, function(x, opts) return reduce.softmax(-base.float(x), opts) end)

--- y = a sigmoid(b), a and b the halves of an axis.  Options: axis (-1).
--  Source: Dauphin et al. (2017), Language modeling with gated convolutional networks. ICML.
--  Example:
--    local x = bdl.tensor{-1., 0., 2., 1.}
--    print(bdl.functional.NAME(x))
plain("glu", function(x, opts)
  local axis = base.axis("glu", base.options("glu", opts, AXIS).axis or -1, x.ndim, x)
  local n = x.shape[axis + 1]
  if n % 2 == 1 then core.fail("ShapeError", 2, "glu: axis %d of %s has no halves", axis + 1, base.text(x)) end
  return base.slice_axis(x, axis, 0, n // 2) * sigmoid(base.slice_axis(x, axis, n // 2, n))
end)

--- y = (x - mean) / sqrt(var + epsilon).  Options: axis (-1), epsilon (1e-5).
plain("standardize", function(x, opts)
  opts = base.options("standardize", opts, base.names "axis epsilon")
  local along = {axis = opts.axis or -1, keepdims = true}
  return (x - reduce.mean(x, along)) * bind("rsqrt", NONE, reduce.var(x, along) + (opts.epsilon or 1e-5))
end)

--- Weights with mean 0 and variance 1 / fan-in for each output.  Options: eps (1e-4), gain, out_axis (-1).
--  Source: Qiao et al. (2019), Micro-batch training with batch-channel normalization and weight standardization.
--    arXiv:1903.10520.
--  Example:
--    local w = bdl.random.randn(3, 4)
--    print(bdl.functional.NAME(w))
plain("weight_standardization", function(w, opts)
  opts = base.options("weight_standardization", opts, base.names "eps gain out_axis")
  local out = base.axis("weight_standardization", opts.out_axis or -1, w.ndim, w) + 1
  local along = {axis = {}, keepdims = true}
  local fan_in = 1
  for k = 1, w.ndim do
    if k ~= out then
      along.axis[#along.axis + 1] = k
      fan_in = fan_in * w.shape[k]
    end
  end
  local scale = bind("rsqrt", NONE, bind("max", NONE, reduce.var(w, along) * fan_in, opts.eps or 1e-4))
  local z = (w - reduce.mean(w, along)) * scale
  return opts.gain and z * opts.gain or z
end)

--- 1 at the place of each label (an integer from 0), else 0, along a new last axis of n.  Options: axis (-1), dtype.
--  A label outside 0..n-1 has no 1.
--  Example:
--    local labels = bdl.tensor{0, 2, 1}
--    print(bdl.functional.NAME(labels, 3))
function functional.one_hot(labels, n, opts)
  opts = base.options("one_hot", opts, base.names "axis dtype")
  labels = base.array(labels)
  if base.KIND[labels.dtype] ~= 1 then
    core.fail("TypeError", 2, "one_hot: labels are integers, not %s", base.text(labels))
  end
  if math.type(n) ~= "integer" or n < 0 then
    core.fail("ValueError", 2, "one_hot: a number of classes is needed, not %s", base.text(n))
  end
  local axis = base.axis("one_hot", opts.axis or -1, labels.ndim + 1)
  local column, shape = base.copy_shape(labels), base.copy_shape(labels)
  table.insert(column, axis + 1, 1)
  table.insert(shape, axis + 1, n)
  local class = base.iota(shape, axis, labels.dtype)
  return core.cast(bind("eq", NONE, base.reshape(labels, column), class), opts.dtype or base.real())
end

return functional

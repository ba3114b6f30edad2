--- Penalties on the values of parameters, most of them minus the logarithm of a prior, times `weight`.
--  r:loss(value), a scalar;  r:sample_init(shape), a draw from the prior;  r:reset_value(), its mode or mean.
--  With fit_hyper = true the numbers of the prior are ParamStates and are learnt.  Value and prior are plain numbers.
--  Source: Gelman et al. (2013), Bayesian Data Analysis. CRC Press, chapter 2 and appendix A.
--  Example:
--    local reg = bdl.nn.NAME()
--    print(reg:loss(bdl.tensor{0.2, 0.5}))
local core = require "bdl.core"
local class = require "bdl.class"
local A = require "bdl.array"
local args = require "bdl.args"
local base = require "bdl.array.base"
local functional = require "bdl.functional"
local init = require "bdl.init"
local state = require "bdl.state"
local Module = require "bdl.nn.module".Module

local M = {}

--- To be extended by loss(value), sample_init(shape), reset_value().
--  Example:
--    local Cube = bdl.nn.Regularization:extend "Cube"
--    function Cube:loss(x) return bdl.sum(bdl.abs(x)^3) end
local Regularization = Module:extend "Regularization"
M.Regularization = Regularization

for _, name in ipairs{"loss", "sample_init", "reset_value"} do
  Regularization[name] = function(self) core.fail("NotImplementedError", 2, "%s has no %s", class.typename(self), name) end
end

local TINY <const> = 1e-8
local relu = functional.relu

local function rand(sizes) return require "bdl.random".rand(table.unpack(sizes)) end
local function randn(sizes) return require "bdl.random".randn(table.unpack(sizes)) end
local function gamma(a, sizes) return require "bdl.random".gamma(a, nil, {size = sizes}) end
local function sizes_of(shape) return type(shape) == "number" and {shape} or {table.unpack(shape)} end
local function total(x) return A.sum(x) end
local function square(x) return x * x end
local function positive(x) return relu(x) + TINY end

--- Class `name`.  spec: arguments of bdl.args;  hyper: words, those that may be learnt, with "+" where they are taken as
--  max(x, 0) + 1e-8.  loss(x, p, self) without the weight, sample(sizes, p, self), reset(p) (0.0) get the numbers in p.
local function define(name, spec, hyper, loss, sample, reset, check)
  local Class = Regularization:extend(name)
  M[name] = Class
  function Class:__init(...)
    local copy = {fit_hyper = false}
    for key, value in pairs(spec) do copy[key] = value end
    if copy.weight == nil then copy.weight = 1.0 end
    local a = args(copy, ...)
    Class.super.__init(self)
    self.fit_hyper, self.weight = a.fit_hyper, a.weight
    if check then check(a) end
    for _, key in ipairs(spec) do
      local learnt = a.fit_hyper and hyper:find(key .. "%f[^%w_]")
      self[key] = learnt and state.ParamState(base.float(a[key])) or a[key]
    end
  end
  local function numbers(self)
    local p = {}
    for key, sign in hyper:gmatch "([%w_]+)(%+?)" do
      local value = state.maybe_state(self[key])
      p[key] = sign == "+" and positive(value) or value
    end
    return p
  end
  function Class:loss(value) return self.weight * loss(base.float(value), numbers(self), self) end
  function Class:sample_init(shape) return sample(sizes_of(shape), numbers(self), self) end
  function Class:reset_value() return reset and reset(numbers(self)) or 0.0 end
end

--- Normal with standard deviation 1 / sqrt(weight).
local function by_weight(sizes, _, self) return randn(sizes) / math.sqrt(math.max(self.weight, 0) + TINY) end

--- Laplace with scale 1 / weight.
local function laplace(sizes, weight)
  local z = rand(sizes) - 0.5
  return A.sign(z) * A.log(1 - 2 * A.abs(z) + TINY) / (weight + TINY)
end

-- ---- norms -------------------------------------------------------------------------------------------------------------------

--- L = weight sum |x|
--  Source: Tibshirani (1996), Regression shrinkage and selection via the lasso. J R Stat Soc B 58.
--  Example:
--    local reg = bdl.nn.NAME(0.1)
--    print(reg:loss(bdl.tensor{0.2, 0.5}))
define("L1Reg", {"weight"}, "", function(x) return total(A.abs(x)) end,
       function(sizes, _, self) return laplace(sizes, self.weight) end)
--- L = weight sum x^2
--  Source: Hoerl & Kennard (1970), Ridge regression: biased estimation for nonorthogonal problems. Technometrics 12.
--  Example:
--    local reg = bdl.nn.NAME(0.1)
--    print(reg:loss(bdl.tensor{0.2, 0.5}))
define("L2Reg", {"weight"}, "", function(x) return total(square(x)) end, by_weight)

--- L = alpha l1_weight sum |x| + (1 - alpha) l2_weight sum x^2
--  Source: Zou & Hastie (2005), Regularization and variable selection via the elastic net. J R Stat Soc B 67.
define("ElasticNetReg", {"l1_weight", "l2_weight", "alpha", l1_weight = 1.0, l2_weight = 1.0, alpha = 0.5}, "alpha",
       function(x, p, self)
  local alpha = A.clip(p.alpha, 0.0, 1.0)
  return alpha * self.l1_weight * total(A.abs(x)) + (1 - alpha) * self.l2_weight * total(square(x))
end, function(sizes, p, self)
  local alpha = A.clip(p.alpha, 0.0, 1.0)
  return alpha * laplace(sizes, self.l1_weight) + (1 - alpha) * randn(sizes) / math.sqrt(self.l2_weight + TINY)
end)

--- L = weight sum of x^2 / 2 up to |x| = delta, beyond it delta (|x| - delta / 2).
--  Source: Huber (1964), Robust estimation of a location parameter. Ann Math Stat 35.
--  Example:
--    local reg = bdl.nn.NAME(0.1)
--    print(reg:loss(bdl.tensor{0.2, 0.5}))
define("HuberReg", {"weight", "delta", delta = 1.0}, "delta+", function(x, p)
  local size = A.abs(x)
  return total(A.where(A.le(size, p.delta), 0.5 * square(x), p.delta * (size - 0.5 * p.delta)))
end, by_weight)

local function check_count(name, least, most)
  return function(a)
    local n = a[name]
    if math.type(n) ~= "integer" or n < least or n > most then
      core.fail("ValueError", 4, "%s is a whole number from %d%s, not %s", name, least, most < math.huge and " to " .. most or "",
                tostring(n))
    end
  end
end

--- L = weight sum of the norms of groups of group_size elements.
--  Source: Yuan & Lin (2006), Model selection and estimation in regression with grouped variables. J R Stat Soc B 68.
--  Example:
--    local reg = bdl.nn.NAME(0.1)
--    print(reg:loss(bdl.tensor{0.2, 0.5}))
define("GroupLassoReg", {"weight", "group_size", group_size = 1}, "", function(x, _, self)
  local flat, n = A.reshape(x, {-1}), self.group_size
  flat = A.pad(flat, {0, -flat.size % n})
  return total(A.sqrt(A.sum(square(A.reshape(flat, {-1, n})), {axis = 2}) + TINY))
end, by_weight, nil, check_count("group_size", 1, math.huge))

--- L = weight sum |D x|, D first or second differences (order).
--  Source: Rudin, Osher & Fatemi (1992), Nonlinear total variation based noise removal algorithms. Physica D 60.
--  Example:
--    local reg = bdl.nn.NAME(0.1)
--    print(reg:loss(bdl.tensor{0.2, 0.5}))
define("TotalVariationReg", {"weight", "order", order = 1}, "", function(x, _, self)
  return total(A.abs(A.diff(A.reshape(x, {-1}), {n = self.order})))
end, function(sizes, _, self)
  local z = by_weight(sizes, nil, self)
  return A.reshape(A.cumsum(A.reshape(z, {-1})), sizes) / math.sqrt(z.size)
end, nil, check_count("order", 1, 2))

--- L = weight max(0, |x| - max_value)^2
--  Source: Srebro, Rennie & Jaakkola (2004), Maximum-margin matrix factorization. NIPS.
--  Example:
--    local reg = bdl.nn.NAME(0.1)
--    print(reg:loss(bdl.tensor{0.2, 0.5}))
define("MaxNormReg", {"weight", "max_value", max_value = 1.0}, "max_value+", function(x, p)
  return square(relu(A.sqrt(total(square(x)) + TINY) - p.max_value))
end, function(sizes, p)
  local z = randn(sizes)
  return z * (0.5 * p.max_value / (A.sqrt(total(square(z)) + TINY) + TINY))
end)

--- x as a matrix: rows by the first axis.
local function matrix(x)
  if x.ndim == 2 then return x end
  if x.ndim ~= 1 then return A.reshape(x, {x.shape[1], -1}) end
  local n = math.tointeger(math.sqrt(x.size) // 1)
  return A.reshape(x, n * n == x.size and {n, n} or {-1, 1})
end

--- L = weight sum of the squares of W' W - 1.
--  Source: Brock et al. (2017), Neural photo editing with introspective adversarial networks. ICLR.
--  Example:
--    local reg = bdl.nn.NAME(0.1)
--    print(reg:loss(bdl.tensor{0.2, 0.5}))
define("OrthogonalReg", {"weight"}, "", function(x)
  if x.ndim == 0 then return square(A.abs(x) - 1) end
  local W = matrix(x)
  return total(square(A.matmul(A.transpose(W), W) - A.eye(W.shape[2])))
end, function(sizes)
  if #sizes == 2 then return init.Orthogonal()(sizes) end
  if #sizes ~= 1 then return randn(sizes) * 0.1 end
  local side = math.ceil(math.sqrt(sizes[1]))
  return base.slice_axis(A.reshape(init.Orthogonal(){side, side}, {-1}), 0, 0, sizes[1])
end)

--- Largest singular value of W: the projection onto its direction is a high power of W' W, by repeated squaring.
local function spectral_norm(x)
  if x.ndim < 2 then return A.sqrt(total(square(x))) end
  local W = matrix(x)
  local gram = A.matmul(A.transpose(W), W)
  local power = core.bind("stop_gradient", {}, gram)
  for _ = 1, 20 do
    power = power / (A.trace(power) + 1e-30)
    power = A.matmul(power, power)
  end
  return A.sqrt(total(gram * power) / (A.trace(power) + 1e-30))
end

--- L = weight max(0, largest singular value - max_value)^2
--  Source: Yoshida & Miyato (2017), Spectral norm regularization for improving the generalizability of deep learning.
--    arXiv:1705.10941.
--  Example:
--    local reg = bdl.nn.NAME(0.1)
--    print(reg:loss(bdl.tensor{0.2, 0.5}))
define("SpectralNormReg", {"weight", "max_value", max_value = 1.0}, "max_value+", function(x, p)
  return square(relu(spectral_norm(x) - p.max_value))
end, function(sizes, p)
  local z = randn(sizes)
  return z * (p.max_value / (spectral_norm(z) + TINY))
end)

--- Probabilities softmax(x) of all elements.
local function shares(x)
  local flat = A.reshape(x, {-1})
  local e = A.exp(flat - A.max(flat))
  return e / (total(e) + TINY)
end

--- L = weight sum p log p (maximize: entropy is rewarded) or its negative,  p = softmax(x).
--  Source: Grandvalet & Bengio (2004), Semi-supervised learning by entropy minimization. NIPS.
--  Example:
--    local reg = bdl.nn.NAME(0.1)
--    print(reg:loss(bdl.tensor{0.2, 0.5}))
define("EntropyReg", {"weight", "maximize", maximize = true}, "", function(x, _, self)
  local p = shares(x)
  local negative = total(p * A.log(p + TINY))
  return self.maximize and negative or -negative
end, function(sizes, _, self) return self.maximize and A.zeros(sizes) or randn(sizes) end)

--- L = -weight sum (alpha - 1) log p,  p = softmax(x).
--  Example:
--    local reg = bdl.nn.NAME(0.1)
--    print(reg:loss(bdl.tensor{0.2, 0.5}))
define("DirichletReg", {"weight", "alpha", alpha = 1.0}, "alpha+", function(x, p)
  return total(-(p.alpha - 1) * A.log(shares(x) + TINY))
end, function(sizes, p)
  local z = gamma(p.alpha, sizes)
  return A.log(z / (total(z) + TINY) + TINY)
end)

-- ---- priors ------------------------------------------------------------------------------------------------------------------

--- L = weight (sum precision (x - mean)^2 - sum log precision),  precision = 1 / std^2, which is what is learnt.
--  Example:
--    local reg = bdl.nn.NAME(0.0, 1.0)
--    print(reg:loss(bdl.tensor{0.2, 0.5}))
define("GaussianReg", {"mean", "precision", "weight", weight = 1.0}, "mean precision", function(x, p)
  local precision = relu(p.precision) + 1e-6
  return total(precision * square(x - p.mean)) - total(A.log(precision))
end, function(sizes, p) return p.mean + randn(sizes) / A.sqrt(relu(p.precision) + TINY) end, function(p) return p.mean end)

local gaussian_init = M.GaussianReg.__init
function M.GaussianReg:__init(...)
  local a = args({"mean", "std", "weight", weight = 1.0, fit_hyper = false}, ...)
  gaussian_init(self, {a.mean, 1 / (base.float(a.std) ^ 2 + TINY), weight = a.weight, fit_hyper = a.fit_hyper})
end

local lgamma = A.lgamma

--- L = -weight sum log p(x),  p the density of Student's t with df degrees of freedom, times scale.
--  Source: Student (1908), The probable error of a mean. Biometrika 6.
--  Example:
--    local reg = bdl.nn.NAME(0.1)
--    print(reg:loss(bdl.tensor{0.2, 0.5}))
define("StudentTReg", {"weight", "df", "scale", df = 3.0, scale = 1.0}, "df+ scale+", function(x, p)
  local df = p.df
  local norm = A.log(p.scale) + lgamma(df / 2) + 0.5 * A.log(df * math.pi) - lgamma((df + 1) / 2)
  return total(0.5 * (df + 1) * A.log(1 + square(x / p.scale) / df)) + x.size * norm
end, function(sizes, p) return p.scale * randn(sizes) end)

--- L = weight sum (log(1 + (x / scale)^2) + log scale)
--  Example:
--    local reg = bdl.nn.NAME(0.1)
--    print(reg:loss(bdl.tensor{0.2, 0.5}))
define("CauchyReg", {"weight", "scale", scale = 1.0}, "scale+", function(x, p)
  return total(A.log(1 + square(x / p.scale))) + x.size * A.log(p.scale)
end, function(sizes, p) return p.scale * A.tan(math.pi * (rand(sizes) - 0.5)) end)

--- L = weight sum (log(1 + (x / tau)^2) + log tau)
--  Source: Carvalho, Polson & Scott (2010), The horseshoe estimator for sparse signals. Biometrika 97.
--  Example:
--    local reg = bdl.nn.NAME(0.1)
--    print(reg:loss(bdl.tensor{0.2, 0.5}))
define("HorseshoeReg", {"weight", "tau", tau = 1.0}, "tau+", function(x, p)
  return total(A.log(1 + square(x / p.tau))) + x.size * A.log(p.tau)
end, function(sizes, p) return p.tau * A.abs(A.tan(math.pi * (rand(sizes) - 0.5))) * randn(sizes) end)

--- L = weight sum (max(lower - x, 0)^2 + max(x - upper, 0)^2): squares of what lies outside.
--  Example:
--    local reg = bdl.nn.NAME(0.1)
--    print(reg:loss(bdl.tensor{0.2, 0.5}))
define("UniformReg", {"weight", "lower", "upper", lower = -1.0, upper = 1.0}, "lower upper", function(x, p)
  return total(square(relu(p.lower - x)) + square(relu(x - p.upper)))
end, function(sizes, p) return p.lower + (p.upper - p.lower) * rand(sizes) end, function(p) return (p.lower + p.upper) / 2 end)

--- L = weight sum log min(max(x, lower), upper)
--  Example:
--    local reg = bdl.nn.NAME(0.1)
--    print(reg:loss(bdl.tensor{0.2, 0.5}))
define("LogUniformReg", {"weight", "lower", "upper", lower = 1e-3, upper = 1e3}, "lower+ upper+", function(x, p)
  return total(A.log(A.minimum(A.maximum(positive(x), p.lower), p.upper)))
end, function(sizes, p)
  local from, to = A.log(p.lower), A.log(p.upper)
  return A.exp(from + (to - from) * rand(sizes))
end, function(p) return A.sqrt(p.lower * p.upper) end)

--- L = weight sum ((log x - mu)^2 / (2 sigma^2) + log x + log sigma)
--  Example:
--    local reg = bdl.nn.NAME(0.1)
--    print(reg:loss(bdl.tensor{0.2, 0.5}))
define("LogNormalReg", {"weight", "mu", "sigma", mu = 0.0, sigma = 1.0}, "mu sigma+", function(x, p)
  local z = A.log(positive(x))
  return total(square(z - p.mu) / (2 * square(p.sigma)) + z) + x.size * A.log(p.sigma)
end, function(sizes, p) return A.exp(p.mu + p.sigma * randn(sizes)) end, function(p) return A.exp(p.mu) end)

--- L = weight rate sum max(x, 0)
--  Example:
--    local reg = bdl.nn.NAME(0.1)
--    print(reg:loss(bdl.tensor{0.2, 0.5}))
define("ExponentialReg", {"weight", "rate", rate = 1.0}, "rate+", function(x, p) return p.rate * total(relu(x)) end,
       function(sizes, p) return -A.log(rand(sizes) + TINY) / p.rate end)

--- L = weight sum (beta x - (alpha - 1) log x + lgamma(alpha) - alpha log beta)
--  Example:
--    local reg = bdl.nn.NAME(0.1)
--    print(reg:loss(bdl.tensor{0.2, 0.5}))
define("GammaReg", {"weight", "alpha", "beta", alpha = 2.0, beta = 1.0}, "alpha+ beta+", function(x, p)
  local z = positive(x)
  return total(-(p.alpha - 1) * A.log(z) + p.beta * z) + x.size * (lgamma(p.alpha) - p.alpha * A.log(p.beta))
end, function(sizes, p) return gamma(p.alpha, sizes) / p.beta end, function(p) return A.maximum((p.alpha - 1) / p.beta, TINY) end)

--- L = weight sum ((alpha + 1) log x + beta / x + lgamma(alpha) - alpha log beta)
--  Example:
--    local reg = bdl.nn.NAME(0.1)
--    print(reg:loss(bdl.tensor{0.2, 0.5}))
define("InverseGammaReg", {"weight", "alpha", "beta", alpha = 2.0, beta = 1.0}, "alpha+ beta+", function(x, p)
  local z = positive(x)
  return total((p.alpha + 1) * A.log(z) + p.beta / z) + x.size * (lgamma(p.alpha) - p.alpha * A.log(p.beta))
end, function(sizes, p) return p.beta / (gamma(p.alpha, sizes) + TINY) end, function(p) return p.beta / (p.alpha + 1) end)

--- L = weight sum (lgamma(a) + lgamma(b) - lgamma(a + b) - (a - 1) log x - (b - 1) log(1 - x))
--  Example:
--    local reg = bdl.nn.NAME(0.1)
--    print(reg:loss(bdl.tensor{0.2, 0.5}))
define("BetaReg", {"weight", "a", "b", a = 2.0, b = 2.0}, "a+ b+", function(x, p)
  local z = A.clip(x, TINY, 1 - TINY)
  return total(-(p.a - 1) * A.log(z) - (p.b - 1) * A.log(1 - z)) + x.size * (lgamma(p.a) + lgamma(p.b) - lgamma(p.a + p.b))
end, function(sizes, p) return require "bdl.random".beta(p.a, p.b, {size = sizes}) end,
function(p) return A.clip((p.a - 1) / (p.a + p.b - 2 + TINY), 0.0, 1.0) end)

--- L = -weight sum log(pi N(x; 0, spike_scale) + (1 - pi) N(x; 0, slab_scale)): narrow with probability pi, else wide.
--  Source: Mitchell & Beauchamp (1988), Bayesian variable selection in linear regression. J Am Stat Assoc 83.
--  Example:
--    local reg = bdl.nn.NAME(0.1)
--    print(reg:loss(bdl.tensor{0.2, 0.5}))
define("SpikeAndSlabReg", {"weight", "spike_scale", "slab_scale", "pi", spike_scale = 0.01, slab_scale = 1.0, pi = 0.5},
       "spike_scale+ slab_scale+ pi", function(x, p)
  local pi = A.clip(p.pi, TINY, 1 - TINY)
  local function density(scale) return A.exp(-0.5 * square(x / scale)) / scale end
  return total(-A.log(pi * density(p.spike_scale) + (1 - pi) * density(p.slab_scale) + TINY))
end, function(sizes, p)
  local narrow = A.lt(rand(sizes), A.clip(p.pi, TINY, 1 - TINY))
  return A.where(narrow, p.spike_scale * randn(sizes), p.slab_scale * randn(sizes))
end)

-- ---- sums --------------------------------------------------------------------------------------------------------------------

--- ChainedReg(r1, r2, .., {weight = 1.0}): L = weight sum of the losses; draws and values are those of the first.
--  Example:
--    local reg = bdl.nn.ChainedReg(bdl.nn.L1Reg(0.1), bdl.nn.L2Reg(0.1))
--    print(reg:loss(bdl.tensor{0.2, 0.5}))
local ChainedReg = Regularization:extend "ChainedReg"
M.ChainedReg = ChainedReg

function ChainedReg:__init(...)
  ChainedReg.super.__init(self)
  local list, opts = {...}, {}
  if base.is_options(list[#list]) then opts = base.options("nn.ChainedReg", table.remove(list), base.names "weight fit_hyper") end
  for i, r in ipairs(list) do
    if not class.isa(r, Regularization) then
      core.fail("TypeError", 2, "nn.ChainedReg: number %d is a %s, not a Regularization", i, class.typename(r))
    end
  end
  self.regularizations, self.weight = list, opts.weight or 1.0
end

function ChainedReg:loss(value)
  local sum = 0.0
  for _, r in ipairs(self.regularizations) do sum = r:loss(value) + sum end
  return sum * self.weight
end

function ChainedReg:sample_init(shape)
  local first = self.regularizations[1]
  return first and first:sample_init(shape) or A.zeros(sizes_of(shape))
end

function ChainedReg:reset_value()
  local first = self.regularizations[1]
  return first and first:reset_value() or 0.0
end

return M

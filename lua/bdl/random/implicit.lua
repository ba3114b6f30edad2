--- Derivatives of draws by a parameter of their shape.  For a draw x with the distribution function F(x; a) and density
--  f, dx/da = -(dF/da) / f,  whatever way the draw was made.
--  Source: Figurnov, Mohamed & Mnih (2018), Implicit reparameterization gradients.
local core = require "bdl.core"
local draws = require "bdl.random.draws"

local M = {}

local op, bind, NONE = draws.op, core.bind, {}

local function still(x) return bind("stop_gradient", NONE, x) end

--- s, which has no derivative by a: taking one is an error when it runs.
local function last(s, a)
  return require "bdl.augment".custom_jvp(function(x) return x end):defjvp(function(primals, tangents)
    require "bdl.debug".error_if(true, "draws by their shape have derivatives up to the second")
    return primals[1], tangents[1] + 0.0 * tangents[2]
  end)(s, a)
end

--- The draw x, whose derivative by a is s; that of s is not known.
local function line(a, x, s)
  return require "bdl.augment".custom_jvp(function(_, y) return y end):defjvp(function(primals, tangents)
    return primals[2], last(primals[3], primals[1]) * tangents[1]
  end)(a, x, s)
end

--- draw(a) with the derivative  slope(a, x) da,  to second order: in the rule x stands for its tangent line at a.
--  Errors: ValueError, a third derivative.
function M.differentiable(draw, slope)
  return require "bdl.augment".custom_jvp(draw):defjvp(function(primals, tangents)
    local a, at = primals[1], still(primals[1])
    local x = still(draw(at))
    x = line(a, x, still(slope(at, x)))
    return x, slope(a, x) * tangents[1]
  end)
end

-- ---- gamma ----------------------------------------------------------------------------------------------------------

--- Nodes and weights of the integral over v > 0 of what decays as e^-v:  v = exp(u - e^-u).
--  Source: Takahasi & Mori (1974), Double exponential formulas for numerical integration.
local function half_line()
  local nodes, weights, h = {}, {}, 1 / 5
  for i = -17, 55 do
    local u = i * h
    local v = math.exp(u - math.exp(-u))
    nodes[#nodes + 1], weights[#weights + 1] = v, h * v * (1 + math.exp(-u))
  end
  return core.tensor(nodes, "float64"), core.tensor(weights, "float64")
end

--- gamma_log_slope for x >= 1, an integral of one sign, g = digamma a - log x:  where g > 0 over t = x e^-w < x, of
--  (g + w) e^(x (1 - e^-w) - a w) dw,  else over t = x + y > x, of  (log(1 + y/x) - g) (1 + y/x)^(a - 1) e^-y dy / x.
local function slope_by_quadrature(a, x, g)
  local below = op.gt(g, 0.0)
  local scale = op.select(below, 1.0 / (op.max(a - x, 0.0) + op.sqrt(a)), 1.0 / (op.max(x - a, 0.0) + op.sqrt(x)))
  local sum = require "bdl.compile".scan(function(total, v, weight)
    local part = scale * v                                 -- w, or y / x
    local log_t = op.select(below, -part, op.log1p(part))
    local power = op.select(below, a * log_t - x * bind("expm1", NONE, -part), (a - 1.0) * log_t - x * part)
    return total + weight * op.abs(g - log_t) * op.exp(power), v
  end, draws.full(x.shape, "float64", 0.0), half_line())
  return scale * sum
end

--- gamma_log_slope for x < 1:  e^x (g S + T),  S = sum of (-x)^n / (n! (a + n)),  T of (-x)^n / (n! (a + n)^2).
local function slope_by_series(a, x, g)
  local term, sum = 1.0, 0.0
  for n = 0, 18 do
    local inverse = 1.0 / (a + n)
    sum = sum + term * inverse * (g + inverse)
    term = term * -x / (n + 1)
  end
  return op.exp(x) * sum
end

--- d log x / da of a draw x = e^log_x of Gamma(a, 1).
function M.gamma_log_slope(a, log_x)
  local dtype = log_x.dtype
  a, log_x = core.cast(a, "float64"), core.cast(log_x, "float64")
  local x, g = op.exp(log_x), op.digamma(a) - log_x
  local small = op.lt(x, 1.0)
  local by_series = slope_by_series(a, op.min(x, 1.0), g)
  return core.cast(op.select(small, by_series, slope_by_quadrature(a, op.max(x, 1.0),
                                                                   op.digamma(a) - op.max(log_x, 0.0))), dtype)
end

-- ---- von Mises ------------------------------------------------------------------------------------------------------

--- The mean of cos x of von Mises(kappa):  I1 / I0, by the trapezoidal rule, from 300 on by its expansion.
local function mean_cosine(kappa)
  local top, bottom, n = 0.0, 0.0, 96
  for k = 0, n - 1 do
    local c = math.cos(2 * math.pi * k / n)
    local e = op.exp(op.min(kappa, 300.0) * (c - 1.0))
    top, bottom = top + c * e, bottom + e
  end
  local inverse = 1.0 / kappa
  return op.select(op.lt(kappa, 300.0), top / bottom, 1.0 - inverse * (0.5 + inverse * (0.125 + inverse * 0.125)))
end

--- Nodes on (0, 1) and weights of Gauss and Legendre.
local function unit_interval(n)
  local nodes, weights = {}, {}
  for i = 1, n do
    local x = math.cos(math.pi * (i - 0.25) / (n + 0.5))
    local slope
    for _ = 1, 20 do
      local before, p = 1.0, x
      for k = 2, n do before, p = p, ((2*k - 1) * x * p - (k - 1) * before) / k end
      slope = n * (x * p - before) / (x * x - 1)
      x = x - p / slope
    end
    nodes[i], weights[i] = (1 + x) / 2, 1 / ((1 - x * x) * slope * slope)
  end
  return core.tensor(nodes, "float64"), core.tensor(weights, "float64")
end

--- dx / dkappa of a draw x of von Mises(kappa) around 0: minus the change of its distribution function over the
--  density, the integral from 0 to x of (mean of cos - cos t) e^(kappa (cos t - cos x)).
function M.vonmises_slope(kappa, x)
  local dtype = x.dtype
  kappa, x = core.cast(kappa, "float64"), core.cast(x, "float64")
  local mean, last = mean_cosine(kappa), op.cos(x)
  local sum = require "bdl.compile".scan(function(total, s, weight)
    local c = op.cos(x * s)
    return total + weight * ((mean - c) * op.exp(op.min(kappa * (c - last), 700.0))), s
  end, draws.full(x.shape, "float64", 0.0), unit_interval(40))
  return core.cast(x * sum, dtype)
end

return M

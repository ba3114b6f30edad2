--- Distributions by rejection, and those that are made of others.  Called with what defines one: random.lua.
local core = require "bdl.core"
local draws = require "bdl.random.draws"

local bind, op = core.bind, draws.op

local function rejection() return require "bdl.random.rejection" end

return function(random)
local define, need, standard, float_of, integer_of, placed =
  random.define, random.need, random.standard, random.float_of, random.integer_of, random.placed

--- name(parameters): draw(key, shape, dtype, parameters in the dtype..).
local function shaped(name, names, draw)
  define(name, names, function(a, key, shape)
    local values = {}
    for i, n in ipairs(names) do
      need(name, a, n)
      values[i] = a[n]
    end
    local dtype = float_of(a, table.unpack(values))
    local size = shape(table.unpack(values))
    for i, v in ipairs(values) do values[i] = draws.real(v, dtype) end
    return draw(key(), size, dtype, table.unpack(values))
  end)
end

local function gamma(key, shape, dtype, a) return rejection().gamma(key, shape, dtype, a) end

local function chisquare(key, shape, dtype, df) return gamma(key, shape, dtype, df / 2.0) * 2.0 end

--- Gamma:  density x^(shape - 1) e^-x / Gamma(shape).
--  Example:
--    print(bdl.random.standard_gamma(2.0))
shaped("standard_gamma", {"shape"}, gamma)
--- Chi-square:  the sum of df squares of N(0, 1).
--  Example:
--    print(bdl.random.chisquare(3.0))
shaped("chisquare", {"df"}, chisquare)

--- Gamma:  scale times a variable of density x^(shape - 1) e^-x / Gamma(shape).
--  Example:
--    print(bdl.random.gamma(2.0))
define("gamma", {"shape", "scale"}, function(a, key, shape)
  need("gamma", a, "shape")
  local dtype = float_of(a, a.shape, a.scale)
  return placed(gamma(key(), shape(a.shape, a.scale), dtype, a.shape), nil, a.scale)
end)

--- Beta:  density proportional to x^(a - 1) (1 - x)^(b - 1).
--  Example:
--    print(bdl.random.beta(2.0, 3.0))
shaped("beta", {"a", "b"}, function(key, shape, dtype, a, b)
  local k1, k2 = draws.halves(key)
  local x, y = gamma(k1, shape, dtype, a), gamma(k2, shape, dtype, b)
  return x / (x + y)
end)

--- log of Gamma(a, 1), which does not underflow where a is small.
--  Example:
--    print(bdl.random.loggamma(2.0))
shaped("loggamma", {"a"}, function(key, shape, dtype, a) return rejection().loggamma(key, shape, dtype, a) end)

--- standard_t, t: Student's t with df degrees of freedom:  z / sqrt(chisquare(df)/df), z of N(0, 1).
--  Example:
--    print(bdl.random.NAME(3.0))
for _, name in ipairs{"standard_t", "t"} do
  shaped(name, {"df"}, function(key, shape, dtype, df)
    local k1, k2 = draws.halves(key)
    return draws.normal(k1, shape, dtype) * op.sqrt(df / chisquare(k2, shape, dtype, df))
  end)
end

--- Fisher's F:  (chisquare(dfnum)/dfnum) / (chisquare(dfden)/dfden).
--  Example:
--    print(bdl.random.f(3.0, 5.0))
shaped("f", {"dfnum", "dfden"}, function(key, shape, dtype, m, n)
  local k1, k2 = draws.halves(key)
  return (chisquare(k1, shape, dtype, m) / m) / (chisquare(k2, shape, dtype, n) / n)
end)

local function poisson(key, shape, lam) return rejection().poisson(key, shape, lam) end

--- Chi-square of df with the sum of squared means nonc: for df > 1 a chi-square of df - 1 and a squared N(sqrt(nonc),
--  1), else a chi-square of df + 2 Poisson(nonc / 2).
local function noncentral_chisquare(key, shape, dtype, df, nonc)
  local keys = draws.split(key, 3)
  local more = core.cast(poisson(draws.row(keys, 0), shape, nonc * 0.5), dtype)
  local z = draws.normal(draws.row(keys, 1), shape, dtype) + op.sqrt(nonc)
  local wide = draws.broadcast(op.gt(df, 1.0), shape)
  local x = chisquare(draws.row(keys, 2), shape, dtype, op.select(wide, draws.broadcast(df, shape) - 1.0,
                                                                  df + 2.0 * more))
  return op.select(wide, x + z * z, x)
end

--- Noncentral chi-square:  the sum of df squares of N(m_i, 1), nonc = sum of m_i^2.
--  Example:
--    print(bdl.random.noncentral_chisquare(3.0, 1.0))
shaped("noncentral_chisquare", {"df", "nonc"}, noncentral_chisquare)

--- Noncentral F:  (noncentral_chisquare(dfnum, nonc)/dfnum) / (chisquare(dfden)/dfden).
--  Example:
--    print(bdl.random.noncentral_f(3.0, 5.0, 1.0))
shaped("noncentral_f", {"dfnum", "dfden", "nonc"}, function(key, shape, dtype, m, n, nonc)
  local k1, k2 = draws.halves(key)
  return (noncentral_chisquare(k1, shape, dtype, m, nonc) / m) / (chisquare(k2, shape, dtype, n) / n)
end)

--- Counts as integers of the precision, or of the dtype option.
local function counts(name, names, draw)
  define(name, names, function(a, key, shape)
    local values = {}
    for i, n in ipairs(names) do
      need(name, a, n)
      values[i] = a[n]
    end
    return core.cast(draw(key(), shape(table.unpack(values)), table.unpack(values)), integer_of(a))
  end)
end

--- Poisson:  P(k) = lam^k e^-lam / k!
--  Example:
--    print(bdl.random.poisson(4.0))
counts("poisson", {"lam"}, poisson)
--- Successes in n trials of probability p.
--  Example:
--    print(bdl.random.binomial(10, 0.3))
counts("binomial", {"n", "p"}, function(key, shape, n, p) return rejection().binomial(key, shape, n, p) end)

--- Trials up to the first success: 1, 2, ..
--  Example:
--    print(bdl.random.geometric(0.3))
counts("geometric", {"p"}, function(key, shape, p)
  p = draws.real(p, "float64")
  return op.max(op.ceil(op.log(draws.positive(key, shape, "float64")) / op.log1p(-p)), 1.0)
end)

--- Failures before the n-th success.
--  Example:
--    print(bdl.random.negative_binomial(3, 0.5))
counts("negative_binomial", {"n", "p"}, function(key, shape, n, p)
  local k1, k2 = draws.halves(key)
  p = draws.real(p, "float64")
  return poisson(k1, shape, gamma(k2, shape, "float64", draws.real(n, "float64")) * ((1.0 - p) / p))
end)

--- Logarithmic series:  P(k) = -p^k / (k log(1 - p)),  k = 1, 2, ..
--  Source: Kemp (1981), Efficient generation of logarithmically distributed pseudo-random variables. J R Stat Soc C 30.
--  Example:
--    print(bdl.random.logseries(0.5))
counts("logseries", {"p"}, function(key, shape, p)
  local k1, k2 = draws.halves(key)
  local q = -bind("expm1", {}, op.log1p(-draws.real(p, "float64")) * draws.positive(k1, shape, "float64"))
  return op.floor(1.0 + op.log(draws.positive(k2, shape, "float64")) / op.log(q))
end)

--- How many of nsample, drawn without putting back, are of the ngood among ngood + nbad; -1 where that cannot be.
--  Example:
--    print(bdl.random.hypergeometric(5, 3, 4))
counts("hypergeometric", {"ngood", "nbad", "nsample"}, function(key, shape, ngood, nbad, nsample)
  return rejection().hypergeometric(key, shape, ngood, nbad, nsample)
end)

--- Powers: n >= 1 with a probability of n^-a;  a > 1, else -1.
--  Example:
--    print(bdl.random.zipf(2.0))
counts("zipf", {"a"}, function(key, shape, a) return rejection().zipf(key, shape, a) end)

--- How often each of k outcomes comes in n trials: {.., k}.  pvals [.., k] : probabilities, the last one is what the
--  others leave.
--  Errors: ValueError, a probability is negative or those before the last exceed 1 together.
--  Example:
--    print(bdl.random.multinomial(10, bdl.tensor{0.2, 0.3, 0.5}))
define("multinomial", {"n", "pvals"}, function(a, key, shape)
  need("multinomial", a, "n", "pvals")
  local p = draws.real(a.pvals, "float64")
  if p.ndim == 0 then core.fail("ShapeError", 3, "random.multinomial: pvals are a list, not one number") end
  local k, axis = p.shape[-1], p.ndim - 1
  local start, stop, step = {}, {}, {}
  for i = 1, p.ndim do start[i], stop[i], step[i] = 0, p.shape[i], 1 end
  stop[p.ndim] = k - 1
  local before = bind("slice", {start = start, stop = stop, step = step}, p)
  local sums = bind("reduce_sum", {axes = {axis}}, before)
  local bad = op["or"](op.gt(sums, 1.0 + 1e-6), op.lt(bind("reduce_min", {axes = {axis}}, p), 0.0))
  local message = "random.multinomial: pvals are probabilities; those before the last are at most 1 together"
  require "bdl.debug".error_if(bad, message)
  local n = draws.real(a.n, "float64")
  local size = a.size or shape(n, sums)
  local order = {axis}
  for i = 1, axis do order[i + 1] = i - 1 end
  local first = bind("permute", {axes = order}, before)
  local start_key = key()
  local last, each = require "bdl.compile".scan(function(c, q)
    local x = rejection().binomial(draws.fold_in(start_key, c.i), size, c.n,
                                   op.min(op.max(q / op.max(c.p, 1e-300), 0.0), 1.0))
    return {n = c.n - x, p = c.p - q, i = c.i + 1}, x
  end, {n = draws.broadcast(n, size), p = draws.full(size, "float64", 1.0), i = core.tensor(0, "int32")}, first)
  local counts, back = bind("concatenate", {axis = 0}, each, last.n:reshape({1, table.unpack(size)})), {}
  for i = 1, #size do back[i] = i end
  back[#size + 1] = 0
  return core.cast(bind("permute", {axes = back}, counts), integer_of(a))
end)

--- A random orthogonal matrix [.., n, n], all alike likely.  Source: Mezzadri (2007), How to generate random matrices.
--  Example:
--    print(bdl.random.orthogonal(3))
define("orthogonal", {"n"}, function(a, key)
  need("orthogonal", a, "n")
  if math.type(a.n) ~= "integer" or a.n < 1 then
    core.fail("ValueError", 3, "random.orthogonal: n is a whole number >= 1, not %s", tostring(a.n))
  end
  local shape = a.size or {}
  shape[#shape + 1], shape[#shape + 2] = a.n, a.n
  local dtype = float_of(a)
  return core.cast(require "bdl.random.orthonormal"(core.cast(draws.normal(key(), shape, dtype), "float64")), dtype)
end)

--- Around mu, concentration kappa; in [-pi, pi].
--  Example:
--    print(bdl.random.vonmises(0.0, 2.0))
shaped("vonmises", {"mu", "kappa"}, function(key, shape, dtype, mu, kappa)
  local x = rejection().vonmises(key, shape, dtype, kappa) + mu
  return op.mod(x + math.pi, 2 * math.pi) - math.pi
end)

--- Pareto, from 0 on:  density a / (1 + x)^(a + 1).
--  Example:
--    print(bdl.random.pareto(3.0))
shaped("pareto", {"a"}, function(key, shape, dtype, a)
  return bind("expm1", {}, draws.exponential(key, shape, dtype) / a)
end)

local function weibull(key, shape, dtype, a) return op.pow(draws.exponential(key, shape, dtype), 1.0 / a) end

--- Weibull:  density a x^(a - 1) e^(-x^a).
--  Example:
--    print(bdl.random.weibull(2.0))
shaped("weibull", {"a"}, weibull)

--- Weibull:  scale times (-log U)^(1/a), U even in (0, 1).
--  Example:
--    print(bdl.random.weibull_min(2.0))
define("weibull_min", {"a", "scale"}, function(a, key, shape)
  need("weibull_min", a, "a")
  local dtype = float_of(a, a.a, a.scale)
  return placed(weibull(key(), shape(a.a, a.scale), dtype, draws.real(a.a, dtype)), nil, a.scale)
end)

--- Power:  density a x^(a - 1) in [0, 1].
--  Example:
--    print(bdl.random.power(2.0))
shaped("power", {"a"}, function(key, shape, dtype, a)
  return op.pow(-bind("expm1", {}, -draws.exponential(key, shape, dtype)), 1.0 / a)
end)

--- Inverse normal:  density sqrt(scale/(2 pi x^3)) exp(-scale (x - mean)^2/(2 mean^2 x)).
--  Source: Michael, Schucany & Haas (1976), Generating random variates using transformations with multiple roots. Am
--    Stat 30.
--  Example:
--    print(bdl.random.wald(1.0, 2.0))
shaped("wald", {"mean", "scale"}, function(key, shape, dtype, mean, scale)
  local k1, k2 = draws.halves(key)
  local y = draws.normal(k1, shape, dtype)^2
  local x = mean + mean^2 * y / (2.0 * scale) - mean / (2.0 * scale) * op.sqrt(4.0 * mean * scale * y + mean^2 * y^2)
  return op.select(op.le(draws.uniform(k2, shape, dtype), mean / (mean + x)), x, mean^2 / x)
end)

--- Triangular:  density rising from left to mode, falling to right.
--  Example:
--    print(bdl.random.triangular(0.0, 0.3, 1.0))
shaped("triangular", {"left", "mode", "right"}, function(key, shape, dtype, left, mode, right)
  local u, width = draws.uniform(key, shape, dtype), right - left
  local rising = left + op.sqrt(u * width * (mode - left))
  local falling = right - op.sqrt((1.0 - u) * width * (right - mode))
  return op.select(op.lt(u, (mode - left) / width), rising, falling)
end)

--- Length of a vector of three standard normals.
--  Example:
--    print(bdl.random.maxwell{size = 3})
standard("maxwell", draws.maxwell)

--- A random point of the simplex, along a last axis of the length of alpha.
--  Example:
--    print(bdl.random.dirichlet(bdl.tensor{1.0, 2.0}))
define("dirichlet", {"alpha"}, function(a, key)
  need("dirichlet", a, "alpha")
  local alpha, shape = a.alpha, a.size or {}
  local dtype = float_of(a, alpha)
  shape[#shape + 1] = alpha.shape[1]
  local x = gamma(key(), shape, dtype, alpha)
  local sum = bind("reshape", {shape = {table.unpack(shape, 1, #shape - 1)}},
                   bind("reduce_sum", {axes = {#shape - 1}}, x))
  local dims = {}
  for k = 1, #shape - 1 do dims[k] = k - 1 end
  return x / bind("broadcast", {shape = shape, dims = dims}, sum)
end)

--- Shape {.., n} : mean [n], cov [n,n].
--  Example:
--    print(bdl.random.multivariate_normal(bdl.zeros(2), bdl.eye(2)))
define("multivariate_normal", {"mean", "cov"}, function(a, key)
  need("multivariate_normal", a, "mean", "cov")
  local shape, n = a.size or {}, a.mean.shape[1]
  local dtype = float_of(a, a.mean, a.cov)
  shape[#shape + 1] = n
  local root = bind("cholesky", {}, draws.real(a.cov, dtype))
  local z = draws.normal(key(), shape, dtype)
  return bind("dot", {lhs_contract = {#shape - 1}, rhs_contract = {1}, lhs_batch = {}, rhs_batch = {}}, z,
              root) + a.mean
end)

end

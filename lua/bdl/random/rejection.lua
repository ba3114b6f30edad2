--- Draws that need a loop: gamma, Poisson, binomial, von Mises.  Every lane goes on until it was accepted; lanes draw
--  from keys folded with the number of the round, so the result depends on the key alone.  Lanes whose parameters make
--  no distribution end at once, as NaN or -1.

local core = require "bdl.core"
local draws = require "bdl.random.draws"
local implicit = require "bdl.random.implicit"

local rejection = {}

local op, bind, NONE = draws.op, core.bind, {}
local uniform, positive, full = draws.uniform, draws.positive, draws.full
local both, either = op["and"], op["or"]

--- Repeat step(key, carry) -> carry until every lane of carry.done is true.
local function rounds(key, shape, carry, step)
  local axes = {}
  for k = 1, #shape do axes[k] = k - 1 end
  local start = {round = core.tensor(0, "int32"), c = carry}
  local function open(s) return op["not"](bind("reduce_and", {axes = axes}, s.c.done)) end
  local function body(s) return {round = s.round + 1, c = step(draws.fold_in(key, s.round), s.c)} end
  return require "bdl.compile".while_loop(open, body, start).c
end

--- try(key) -> values, accepted.
local function until_accepted(key, shape, dtype, done, try)
  return rounds(key, shape, {x = full(shape, dtype, 0.0), done = done}, function(k, c)
    local x, ok = try(k)
    return {x = op.select(c.done, c.x, x), done = either(c.done, ok)}
  end).x
end

-- ---- gamma ----------------------------------------------------------------------------------------------------------

--- A draw of Gamma(a', 1), a' = a, or a + 1 where a < 1, and the uniform number whose power 1/a makes it one of a
--  there.
--  Source: Marsaglia & Tsang (2000), A simple method for generating gamma variables.
local function boosted_gamma(key, shape, dtype, a)
  local boost, loop = draws.halves(key)
  local valid = both(op.gt(a, 0.0), op.lt(a, math.huge))
  local small, one = op.lt(a, 1.0), full(shape, dtype, 1.0)
  local d = op.select(small, a + 1.0, a) - 1 / 3
  local c = 1.0 / op.sqrt(d * 9.0)
  local x = until_accepted(loop, shape, dtype, op["not"](valid), function(k)
    local k1, k2 = draws.halves(k)
    local z = draws.normal(k1, shape, dtype)
    local v = (1.0 + c * z)^3
    local inside = op.gt(v, 0.0)
    local bound = z^2 * 0.5 + d - d * v + d * op.log(op.select(inside, v, one))
    return d * v, both(inside, op.lt(op.log(positive(k2, shape, dtype)), bound))
  end)
  return x, positive(boost, shape, dtype), small, valid, op.select(small, a, one)
end

--- Gamma(a, 1); for a < 1, Gamma(a + 1) U^(1/a).
function rejection.gamma(key, shape, dtype, a)
  return implicit.differentiable(function(b)
    local x, u, small, valid, power = boosted_gamma(key, shape, dtype, b)
    return op.select(valid, op.select(small, x * op.pow(u, 1.0 / power), x), full(shape, dtype, 0 / 0))
  end, function(b, x)
    local some = op.gt(x, 0.0)
    local one = full(shape, dtype, 1.0)
    return op.select(some, x * implicit.gamma_log_slope(b, op.log(op.select(some, x, one))), full(shape, dtype, 0.0))
  end)(draws.broadcast(draws.real(a, dtype), shape))
end

--- log of Gamma(a, 1).
function rejection.loggamma(key, shape, dtype, a)
  return implicit.differentiable(function(b)
    local x, u, small, valid, power = boosted_gamma(key, shape, dtype, b)
    local logs = op.log(x)
    return op.select(valid, op.select(small, logs + op.log(u) / power, logs), full(shape, dtype, 0 / 0))
  end, implicit.gamma_log_slope)(draws.broadcast(draws.real(a, dtype), shape))
end

-- ---- counts ---------------------------------------------------------------------------------------------------------

--- Poisson(lam), float64.  Source: arrivals of exponential gaps below 10; PTRS (Hoermann 1993) from there.
function rejection.poisson(key, shape, lam)
  local dtype = "float64"
  lam = draws.broadcast(draws.real(lam, dtype), shape)
  local k1, k2 = draws.halves(key)
  local valid = both(op.ge(lam, 0.0), op.lt(lam, 2.0^53))
  local large = both(valid, op.ge(lam, 10.0))
  local done = either(large, op["not"](valid))
  local few = rounds(k1, shape, {n = full(shape, dtype, 0.0), t = full(shape, dtype, 0.0), done = done}, function(k, c)
    local t = c.t + draws.exponential(k, shape, dtype)
    local over = either(c.done, op.gt(t, lam))
    return {n = op.select(over, c.n, c.n + 1.0), t = t, done = over}
  end).n
  local mu = op.select(large, lam, full(shape, dtype, 10.0))
  local b = 0.931 + 2.53 * op.sqrt(mu)
  local a = -0.059 + 0.02483 * b
  local inverse_alpha, v_r, log_mu = 1.1239 + 1.1328 / (b - 3.4), 0.9277 - 3.6224 / (b - 2.0), op.log(mu)
  local many = until_accepted(k2, shape, dtype, op["not"](large), function(k)
    local ka, kb = draws.halves(k)
    local u, v = uniform(ka, shape, dtype) - 0.5, positive(kb, shape, dtype)
    local us = 0.5 - op.abs(u)
    local n = op.floor((2.0 * a / us + b) * u + mu + 0.43)
    local quick = both(op.ge(us, 0.07), op.le(v, v_r))
    local never = either(op.lt(n, 0.0), both(op.lt(us, 0.013), op.gt(v, us)))
    local left = op.log(v * inverse_alpha / (a / us^2 + b))
    local exact = op.le(left, n * log_mu - mu - op.lgamma(op.max(n, 0.0) + 1.0))
    return n, either(quick, both(exact, op["not"](never)))
  end)
  return op.select(valid, op.select(large, many, few), full(shape, dtype, -1.0))
end

--- Binomial(n, p), float64.  Source: geometric gaps between successes (Devroye 1986) while n p < 10; BTRS (Hoermann
--  1993) from there; p > 1/2 counts failures.
function rejection.binomial(key, shape, n, p)
  local dtype = "float64"
  n, p = draws.broadcast(draws.real(n, dtype), shape), draws.broadcast(draws.real(p, dtype), shape)
  local k1, k2 = draws.halves(key)
  local flip = op.gt(p, 0.5)
  local q = op.select(flip, 1.0 - p, p)
  local valid = both(both(op.ge(n, 0.0), op.lt(n, 2.0^53)), both(op.ge(p, 0.0), op.le(p, 1.0)))
  local large = both(valid, op.ge(n * q, 10.0))
  local log_fail = op.log1p(-q)
  local none = either(op["not"](valid), either(large, op.le(q, 0.0)))
  local few = rounds(k1, shape, {x = full(shape, dtype, 0.0), at = full(shape, dtype, 0.0), done = none}, function(k, c)
    local at = c.at + op.max(op.ceil(op.log(positive(k, shape, dtype)) / log_fail), 1.0)
    local over = either(c.done, op.gt(at, n))
    return {x = op.select(over, c.x, c.x + 1.0), at = at, done = over}
  end).x
  local m, s = op.select(large, n, full(shape, dtype, 40.0)), op.select(large, q, full(shape, dtype, 0.5))
  local deviation, odds = op.sqrt(m * s * (1.0 - s)), op.log(s / (1.0 - s))
  local b = 1.15 + 2.53 * deviation
  local a = -0.0873 + 0.0248 * b + 0.01 * s
  local v_r, alpha, mode = 0.92 - 4.2 / b, (2.83 + 5.1 / b) * deviation, op.floor((m + 1.0) * s)
  local h = op.lgamma(mode + 1.0) + op.lgamma(m - mode + 1.0)
  local many = until_accepted(k2, shape, dtype, op["not"](large), function(k)
    local ka, kb = draws.halves(k)
    local u, v = uniform(ka, shape, dtype) - 0.5, positive(kb, shape, dtype)
    local us = 0.5 - op.abs(u)
    local x = op.floor((2.0 * a / us + b) * u + m * s + 0.5)
    local quick = both(op.ge(us, 0.07), op.le(v, v_r))
    local inside = both(op.ge(x, 0.0), op.le(x, m))
    local y = op.min(op.max(x, 0.0), m)
    local right = h - op.lgamma(y + 1.0) - op.lgamma(m - y + 1.0) + (y - mode) * odds
    return x, both(inside, either(quick, op.le(op.log(v * alpha / (a / us^2 + b)), right)))
  end)
  local x = op.select(large, many, few)
  return op.select(valid, op.select(flip, n - x, x), full(shape, dtype, -1.0))
end

--- Hypergeometric, float64: one draw from the urn after the other, of the smaller of the sample and what it leaves.
function rejection.hypergeometric(key, shape, ngood, nbad, nsample)
  local dtype = "float64"
  local good, bad = draws.broadcast(draws.real(ngood, dtype), shape), draws.broadcast(draws.real(nbad, dtype), shape)
  local n = draws.broadcast(draws.real(nsample, dtype), shape)
  local all = good + bad
  local valid = both(both(op.ge(good, 0.0), op.ge(bad, 0.0)), both(op.ge(n, 0.0), op.le(n, all)))
  local flip = op.gt(n * 2.0, all)
  local few = op.select(valid, op.select(flip, all - n, n), full(shape, dtype, 0.0))
  local taken = rounds(key, shape, {x = full(shape, dtype, 0.0), i = full(shape, dtype, 0.0), done = op.le(few, 0.0)},
                       function(k, c)
    local hit = both(op.lt(uniform(k, shape, dtype) * (all - c.i), good - c.x), op["not"](c.done))
    local i = c.i + 1.0
    return {x = op.select(hit, c.x + 1.0, c.x), i = i, done = op.ge(i, few)}
  end).x
  return op.select(valid, op.select(flip, good - taken, taken), full(shape, dtype, -1.0))
end

--- Zipf(a), a > 1, float64.  Source: Devroye (1986), Non-Uniform Random Variate Generation, X.6.1.
function rejection.zipf(key, shape, a)
  local dtype = "float64"
  a = draws.broadcast(draws.real(a, dtype), shape)
  local valid = both(op.gt(a, 1.0), op.lt(a, math.huge))
  local excess = op.select(valid, a - 1.0, full(shape, dtype, 1.0))
  local b = op.pow(2.0, excess)
  local x = until_accepted(key, shape, dtype, op["not"](valid), function(k)
    local k1, k2 = draws.halves(k)
    local n = op.floor(op.pow(positive(k1, shape, dtype), -1.0 / excess))
    local t = op.pow(1.0 + 1.0 / n, excess)
    return n, both(op.lt(n, 2.0^53), op.le(uniform(k2, shape, dtype) * n * (t - 1.0) / (b - 1.0), t / b))
  end)
  return op.select(valid, x, full(shape, dtype, -1.0))
end

-- ---- angles ---------------------------------------------------------------------------------------------------------

--- Von Mises around 0, kappa > 0.  Source: Best & Fisher 1979.
local function vonmises(key, shape, dtype, kappa)
  local valid = both(op.gt(kappa, 0.0), op.lt(kappa, math.huge))
  local tau = 1.0 + op.sqrt(1.0 + 4.0 * kappa^2)
  local rho = (tau - op.sqrt(2.0 * tau)) / (2.0 * kappa)
  local r = (1.0 + rho^2) / (2.0 * rho)
  local side, loop = draws.halves(key)
  local cosine = until_accepted(loop, shape, dtype, op["not"](valid), function(k)
    local k1, k2 = draws.halves(k)
    local z, u = op.cos(math.pi * uniform(k1, shape, dtype)), positive(k2, shape, dtype)
    local f = (1.0 + r * z) / (r + z)
    local c = kappa * (r - f)
    return f, either(op.gt(c * (2.0 - c), u), op.ge(op.log(c / u) + 1.0, c))
  end)
  local angle = bind("acos", NONE, op.min(op.max(cosine, -1.0), 1.0))
  angle = op.select(op.lt(uniform(side, shape, dtype), 0.5), -angle, angle)
  return op.select(valid, angle, full(shape, dtype, 0 / 0))
end

function rejection.vonmises(key, shape, dtype, kappa)
  return implicit.differentiable(function(k) return vonmises(key, shape, dtype, k) end,
                                 implicit.vonmises_slope)(draws.broadcast(draws.real(kappa, dtype), shape))
end

return rejection

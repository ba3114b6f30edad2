-- Random numbers: the generator as a State, draws inside compiled functions, moments, bad arguments.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local core = require "bdl.core"
local random, u = bdl.random, bdl.units

local function list(x) return core.totable(x) end

local function moments(x)
  local v, sum, square = list(x), 0.0, 0.0
  for _, e in ipairs(v) do sum = sum + e end
  local mean = sum / #v
  for _, e in ipairs(v) do square = square + (e - mean)^2 end
  return mean, square / #v
end

t.test("the same seed gives the same draws", function()
  random.seed(5)
  local a, b = list(random.rand(3)), list(random.rand(3))
  random.seed(5)
  t.eq(list(random.rand(3)), a)
  t.eq(list(random.rand(3)), b)
  t.ok(a[1] ~= b[1])
end)

t.test("draws in a compiled function advance the generator as outside", function()
  random.seed(7)
  local a, b, after = list(random.rand(2)), list(random.randn(2)), list(random.rand(1))
  local f = bdl.jit(function() return random.rand(2), random.randn(2) end)
  random.seed(7)
  local x, y = f()
  t.eq(list(x), a)
  t.close(y, b)
  t.eq(list(random.rand(1)), after)
end)

t.test("a loop draws anew in every step", function()
  random.seed(3)
  local want = {}
  for i = 1, 4 do want[i] = list(random.rand(2)) end
  random.seed(3)
  t.eq(list(bdl.for_loop(function() return random.rand(2) end, core.tensor{0, 1, 2, 3})), want)
end)

t.test("a key leaves the generator alone", function()
  random.seed(1)
  local want = list(random.rand(2))
  random.seed(1)
  local a, b = random.rand{size = 2, key = 9}, random.rand{size = 2, key = random.key(9)}
  t.eq(list(a), list(b))
  t.eq(list(random.rand(2)), want)
end)

t.test("split_key gives n keys and checks n", function()
  t.eq({table.unpack(random.split_key(3).shape)}, {3, 2})
  t.eq({table.unpack(random.split_key().shape)}, {2})
  t.raises("ValueError", "at least 1", random.split_key, 0)
  t.raises("TypeError", "integer", random.split_key, 1.5)
  t.raises("TypeError", "key", random.set_key, core.tensor{1.0, 2.0})
end)

t.test("seed_context comes back, also after an error", function()
  random.seed(11)
  local want = list(random.rand(2))
  random.seed(11)
  local inside = random.seed_context(4, random.rand, 2)
  pcall(random.seed_context, 4, function() error "x" end)
  t.eq(list(random.rand(2)), want)
  random.seed(4)
  t.eq(list(inside), list(random.rand(2)))
end)

t.test("generators of their own", function()
  local a, b = random.RandomState(42), random.default_rng(42)
  t.eq(list(a:normal{size = 3}), list(b:normal{size = 3}))
  local before = list(random.DEFAULT:get_key())
  a:rand(3)
  t.eq(list(random.get_key()), before)
  t.ok(a:is(bdl.State))
end)

t.test("shapes, dtypes and units", function()
  t.eq({table.unpack(random.rand(2, 3).shape)}, {2, 3})
  t.eq({table.unpack(random.rand{2, 3}.shape)}, {2, 3})
  t.eq({table.unpack(random.random({size = {2, 3}}).shape)}, {2, 3})
  t.eq({table.unpack(random.random(4).shape)}, {4})
  t.eq({table.unpack(random.normal(core.tensor{1.0, 2.0}, 1.0).shape)}, {2})
  t.eq({table.unpack(random.rand{size = 0}.shape)}, {0})
  t.eq(random.rand().ndim, 0)
  t.eq(random.rand{size = 2, dtype = "float64"}.dtype, "float64")
  t.eq(random.randint(0, 5, 2).dtype, "int32")
  t.eq(tostring(random.normal(-60*u.mV, 5*u.mV, {size = 2}).unit), "mV")
  t.eq(tostring(random.uniform(1*u.mV, 2*u.mV, 3).unit), "mV")
  t.raises("UnitMismatchError", nil, random.normal, 1*u.mV, 1*u.ms, 3)
end)

t.test("bad arguments name what is wrong", function()
  t.raises("ValueError", "negative", random.rand, -1)
  t.raises("TypeError", "sizes are integers", random.rand, 1.5)
  t.raises("TypeError", "did you mean 'std'", random.normal, {sd = 1})
  t.raises("TypeError", "twice", random.normal, 1, {mean = 2})
  t.raises("ValueError", "without replacement", random.choice, 3, {size = 4, replace = false})
  t.raises("ShapeError", "p is", random.choice, 3, {p = {0.5, 0.5}})
end)

t.test("parameters without a distribution end", function()
  local bad = core.tensor{-1.0, 0 / 0, math.huge, 2.0}
  for _, x in ipairs{random.gamma(bad), random.vonmises(0.0, bad)} do
    local v = list(x)
    t.ok(v[1] ~= v[1] and v[2] ~= v[2] and v[3] ~= v[3] and v[4] == v[4])
  end
  local n, b = list(random.poisson(bad)), list(random.binomial(bad, 0.5))
  for i = 1, 3 do t.eq({n[i], b[i]}, {-1, -1}) end
  t.ok(n[4] >= 0 and b[4] >= 0)
  t.raises("ValueError", "'p' is 1.5", random.bernoulli, 1.5)
  t.raises("ValueError", "'lam' is %-1", random.poisson, -1)
end)

t.test("no whole number, no draw", function()
  t.raises("ValueError", "no whole number from 5 to below 2", random.randint, 5, 2, {size = 3})
  t.raises("ValueError", "no whole number from 0 to below 0", random.randint, 0)
end)

t.test("choices stay in range and follow p", function()
  random.seed(0)
  local counts = {0, 0, 0}
  for _, i in ipairs(list(random.choice(3, {size = 3000, p = {0.2, 0.0, 0.8}}))) do counts[i + 1] = counts[i + 1] + 1 end
  t.eq(counts[2], 0)
  t.ok(math.abs(counts[1] / 3000 - 0.2) < 0.04)
  local seen = {}
  for _, i in ipairs(list(random.permutation(50))) do seen[i] = true end
  for i = 0, 49 do t.ok(seen[i]) end
  t.eq(#list(random.choice(core.tensor{1.0, 2.0, 3.0}, {size = 2, replace = false, p = {0.5, 0.5, 0.0}})), 2)
end)

-- name, parameters, mean, variance; 20,000 draws: five standard errors are a tolerance of about 0.04 of the deviation
for _, case in ipairs{
  {"uniform", {-1.0, 3.0}, 1, 4 / 3}, {"normal", {2.0, 3.0}, 2, 9}, {"exponential", {2.0}, 2, 4}, {"gumbel", {}, 0.5772, math.pi^2 / 6},
  {"laplace", {1.0, 2.0}, 1, 8}, {"logistic", {}, 0, math.pi^2 / 3}, {"rayleigh", {1.0}, math.sqrt(math.pi / 2), 2 - math.pi / 2},
  {"lognormal", {0.0, 0.5}, math.exp(0.125), (math.exp(0.25) - 1) * math.exp(0.25)}, {"gamma", {0.5}, 0.5, 0.5}, {"gamma", {3.0, 2.0}, 6, 12},
  {"beta", {2.0, 3.0}, 0.4, 0.04}, {"chisquare", {3.0}, 3, 6}, {"poisson", {3.0}, 3, 3}, {"poisson", {40.0}, 40, 40},
  {"binomial", {10, 0.3}, 3, 2.1}, {"binomial", {200, 0.7}, 140, 42}, {"geometric", {0.25}, 4, 12}, {"negative_binomial", {5, 0.5}, 5, 10},
  {"triangular", {0.0, 1.0, 4.0}, 5 / 3, 13 / 18}, {"wald", {2.0, 3.0}, 2, 8 / 3}, {"weibull", {2.0}, 0.8862, 0.2146}, {"power", {3.0}, 0.75, 0.0375},
  {"standard_t", {10.0}, 0, 1.25}, {"vonmises", {0.0, 4.0}, 0, 0.2934}, {"bernoulli", {0.3}, 0.3, 0.21}, {"truncated_normal", {-1.0, 1.0}, 0, 0.2911},
} do
  t.test(case[1] .. " has its mean and variance", function()
    random.seed(2)
    local args = {table.unpack(case[2])}
    args[#args + 1] = {size = 20000}
    local mean, variance = moments(core.cast(random[case[1]](table.unpack(args)), "float32"))
    t.ok(math.abs(mean - case[3]) < 0.04 * math.sqrt(case[4]), ("mean %g, want %g"):format(mean, case[3]))
    t.ok(math.abs(variance / case[4] - 1) < 0.15, ("variance %g, want %g"):format(variance, case[4]))
  end)
end

t.test("several variables at once", function()
  random.seed(0)
  local cov = core.tensor{{2.0, 0.6}, {0.6, 1.0}}
  t.eq({table.unpack(random.multivariate_normal(core.tensor{1.0, 2.0}, cov, {size = 5}).shape)}, {5, 2})
  local rows = list(random.dirichlet(core.tensor{1.0, 2.0, 3.0}, {size = 4}))
  for _, row in ipairs(rows) do t.close(row[1] + row[2] + row[3], 1, 1e-5) end
  t.close(random.dirichlet(core.tensor{1.0, 2.0, 3.0}, {size = 20000}):mean{axis = 1}, {1/6, 1/3, 1/2}, 0.03)
end)

t.test("clone_rng: split off the default generator, or from a seed", function()
  random.seed(11)
  local a = random.clone_rng()
  local next_of_default = random.rand(3)
  t.ok(a ~= random.DEFAULT)
  local drawn = a:rand(3):totable()
  t.ok(drawn[1] ~= next_of_default:totable()[1], "the two go their own ways")
  random.seed(11)
  t.eq(random.clone_rng():rand(3), drawn)
  t.eq(random.rand(3), next_of_default)
  t.eq(random.clone_rng(5):rand(2), random.RandomState(5):rand(2))
  t.eq(random.clone_rng(random.key(5)):rand(2), random.RandomState(5):rand(2))
end)

t.test("further distributions: means and variances, supports, impossible parameters", function()
  local _ <close> = bdl.environ.context{precision = 64}
  for _, case in ipairs{
    {{"hypergeometric", 15, 10, 8}, 4.8, 1.36}, {{"hypergeometric", 15, 10, 20}, 12, 1.0}, {{"noncentral_chisquare", 3.0, 2.0}, 5, 14},
    {{"noncentral_chisquare", 0.7, 2.0}, 2.7, 9.4}, {{"loggamma", 4.0}, 1.2561176684318, 0.28382295573712},
    {{"t", 8.0}, 0, 8/6}, {{"weibull_min", 2.0, 3.0}, 3 * math.sqrt(math.pi) / 2, 9 * (1 - math.pi / 4)},
    {{"logseries", 0.6}, 1.637, 1.4127}, {{"f", 5.0, 20.0}, 10/9, 0.70988}, {{"standard_gamma", 2.5}, 2.5, 2.5},
  } do
    local args = {table.unpack(case[1], 2)}
    args[#args + 1] = {size = 20000, key = 12}
    local x = random[case[1][1]](table.unpack(args)):astype "float64"
    t.close(x:mean():item(), case[2], 0.03, 0.03, case[1][1])
    t.close(x:var():item(), case[3], 0.06, 0, case[1][1])
  end
  t.close(random.noncentral_f(5.0, 10.0, 1.5, {size = 20000, key = 3}):mean():item(), 1.625, 0.03)
  local z = random.zipf(3.0, {size = 20000, key = 4})
  t.close(z:eq(1):astype "float64":mean():item(), 1 / 1.2020569, 0.01)
  t.ok(z:min():item() == 1)
  t.eq(random.zipf(1.0):item(), -1)
  t.eq(random.hypergeometric(3, 2, 6):item(), -1)
  t.eq(random.hypergeometric(3, 0, 3):item(), 3)
  t.close(random.loggamma(1e-3, {size = 2000, key = 1}):mean():item(), -1000.57, 0.1)
end)

t.test("multinomial: counts add up, in the proportions; orthogonal matrices; like another tensor", function()
  local x = random.multinomial(50, {0.2, 0.3, 0.5}, {size = 4000, key = 1})
  t.eq({table.unpack(x.shape)}, {4000, 3})
  t.eq({x:sum{axis = 2}:min():item(), x:sum{axis = 2}:max():item()}, {50, 50})
  t.close(x:astype "float32":mean{axis = 1}, {10, 15, 25}, 0.02)
  t.close(x:astype "float32":var{axis = 1}, {8, 10.5, 12.5}, 0.08)
  t.eq({table.unpack(random.multinomial(5, bdl.tensor{{0.5, 0.5}, {1.0, 0.0}}).shape)}, {2, 2})
  t.eq(random.multinomial(5, {1.0, 0.0}), {5, 0})
  t.eq(bdl.jit(function() return random.multinomial(7, {0.0, 1.0}) end)(), {0, 7})
  t.raises("ValueError", "pvals are probabilities", random.multinomial, 5, {0.7, 0.7, 0.1})
  t.raises("ValueError", "pvals are probabilities", random.multinomial, 5, {-0.1, 0.6, 0.5})
  local q = random.orthogonal(3, {size = 2, key = 5})
  t.close(q:matmul(bdl.swapaxes(q, -1, -2)), bdl.broadcast_to(bdl.eye(3), 2, 3, 3), 1e-6, 1e-6)
  t.raises("ValueError", "n is a whole number >= 1", random.orthogonal, 0)
  local like = random.randint_like(bdl.tensor({{3, 9}, {5, 1}}, {dtype = "int32"}))
  t.eq({tostring(like.dtype), table.unpack(like.shape)}, {"int32", 2, 2})
  t.ok(like:max():item() < 9 and like:min():item() >= 0)
  t.eq(random.randint_like(bdl.zeros(3), 4, 5), {4, 4, 4})
  t.eq(random.ranf{size = 2, key = 1}, random.sample{size = 2, key = 1})
end)

t.test("a key is kept and put back once", function()
  random.seed(4)
  random.backup_key()
  local first = random.rand(2)
  t.raises("ValueError", "restore_key first", random.backup_key)
  random.restore_key()
  t.eq(random.rand(2), first)
  t.raises("ValueError", "no key was kept", random.restore_key)
end)

t.test("draws follow their shape parameter: gamma and von Mises by implicit derivatives", function()
  local _ <close> = bdl.environ.context{precision = 64}
  for _, case in ipairs{                             -- dx/da at draws x, to 30 digits by differences of the distribution function
    {0.05, {0.0062793413171630293, 0.00017014402352311992, 1.7025092087402379e-15}, {0.57842743243154349, 0.02784407085981604, 1.1409817729051773e-12}},
    {0.7, {0.46965854341854824, 1.1360343854251174}, {1.0068189520126143, 1.58069800198602}},
    {4.0, {2.2897469391329013, 4.880073278581456}, {0.77807689399750946, 1.1497058604678492}},
    {100.0, {91.56648046380775, 105.51118640611459}, {0.9581897564750844, 1.0287765721354714}},
  } do
    local x = bdl.tensor(case[2])
    local slopes = require "bdl.random.implicit".gamma_log_slope(bdl.full({#case[2]}, case[1]), bdl.log(x)) * x
    t.close(slopes, case[3], 1e-10, 0, "a = " .. case[1])
  end
  for _, a in ipairs{0.3, 2.0, 30.0} do
    local function mean(f) return bdl.grad(function(b) return f(random.gamma(b, {size = 8000, key = 6})):mean() end)(bdl.tensor(a)):item() end
    t.close(mean(function(x) return x end), 1, 0.05)
    t.close(mean(function(x) return x * x end), 2*a + 1, 0.08)
  end
  local tangent = select(2, bdl.jvp(function(b) return random.gamma(b, {key = 6}) end, {bdl.tensor(2.0)}, {bdl.tensor(1.0)}))
  t.close(tangent, bdl.grad(function(b) return random.gamma(b, {key = 6}) end)(bdl.tensor(2.0)), 1e-12)
  t.close(bdl.grad(function(b) return random.beta(b, 2.0, {size = 8000, key = 6}):mean() end)(bdl.tensor(3.0)), 2/25, 0.05)
  for kappa, want in pairs{[1.0] = 0.354346, [5.0] = 0.02319, [200.0] = 1.25315e-5} do
    local g = bdl.grad(function(k) return bdl.cos(random.vonmises(0.5, k, {size = 20000, key = 3}) - 0.5):mean() end)(bdl.tensor(kappa + 0.0))
    t.close(g:item(), want, 0.03)
  end
  local curve = bdl.grad(bdl.grad(function(b) return (random.gamma(b, {size = 20000, key = 2})^2):mean() end))(bdl.tensor(3.0))
  t.close(curve:item(), 2, 0.15, 0, "the second derivative of a (a + 1)")
  local function square(b) return (random.gamma(b, {size = 20, key = 2})^2):mean() end
  t.raises("ValueError", "draws by their shape have derivatives up to the second", bdl.grad(bdl.grad(bdl.grad(square))), bdl.tensor(3.0))
end)

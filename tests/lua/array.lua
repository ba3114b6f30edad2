-- Array functions against loops of Lua, eager and compiled.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local u = bdl.units

--- f eagerly and compiled: the same values, which are returned.
local function both(f, ...)
  local eager, compiled = table.pack(f(...)), table.pack(bdl.jit(f)(...))
  t.eq(compiled.n, eager.n, "results")
  for i = 1, eager.n do
    t.close(compiled[i], eager[i], 1e-6, 1e-7, "compiled")
    t.eq(compiled[i].dtype, eager[i].dtype, "dtype compiled")
    t.eq(tostring(compiled[i].unit), tostring(eager[i].unit), "unit compiled")
  end
  return table.unpack(eager, 1, eager.n)
end

local X = bdl.tensor{{3.0, -1.0, 2.5}, {0.5, 4.0, -2.0}}

-- ---- making ----------------------------------------------------------------------------------------------------------

t.test("shapes are given as numbers, a list, or a list with options", function()
  t.eq(bdl.zeros(2), {0, 0})
  t.eq(bdl.ones(1, 2), {{1, 1}})
  t.eq(bdl.ones{1, 2}, {{1, 1}})
  local z = bdl.zeros({2}, {dtype = "int32"})
  t.eq({z.dtype, z.size}, {"int32", 2})
  t.eq(bdl.zeros(2, 1, {dtype = "bool"}).dtype, "bool")
  t.eq(bdl.zeros().ndim, 0)
  t.eq(bdl.zeros(X.shape).shape[-1], 3)
  t.eq(tostring(bdl.full({2}, 1.5 * u.mV)), "[1.5 1.5] mV")
  t.eq(bdl.full(2, 3).dtype, "int32")
  t.raises("ValueError", "size %-1 of axis 2 is negative", bdl.zeros, 2, -1)
  t.raises("TypeError", "size 1 of the shape is an integer, not 2.5", bdl.zeros, 2.5)
  t.raises("TypeError", "did you mean 'dtype'", bdl.zeros, 2, {dtyp = "int32"})
end)

t.test("lists become tensors: numbers, booleans, tensors and quantities", function()
  t.eq(bdl.tensor{{1, 2}, {3, 4}}.dtype, "int32")
  t.eq(bdl.tensor{1, 2.0}.dtype, "float32")
  t.eq(bdl.tensor{true}.dtype, "bool")
  t.eq(bdl.tensor{X[1], X[2]}, X)
  t.eq(tostring(bdl.tensor{1.0 * u.mV, 1.0 * u.volt}), "[   1. 1000.] mV")
  t.raises("ShapeError", "ragged", bdl.tensor, {{1}, {1, 2}})
  t.raises("TypeError", "name .size.", bdl.tensor, {1, 2, size = 2})
  t.raises("TypeError", "name .a.", bdl.tensor, {a = 1})
end)

t.test("arange counts from 0 without the end; linspace has both ends", function()
  t.eq(bdl.arange(4), {0, 1, 2, 3})
  t.eq(bdl.arange(4).dtype, "int32")
  t.eq(bdl.arange(2, 11, 3), {2, 5, 8})
  t.eq(bdl.arange(5, 0, -2), {5, 3, 1})
  t.eq(bdl.arange(0, 1, 0.1).size, 10)
  t.eq(bdl.arange(3, 1).size, 0)
  local ts = bdl.arange(0 * u.ms, 1 * u.ms, 0.1 * u.ms)
  t.eq({ts.size, tostring(ts.unit)}, {10, "ms"})
  t.close(ts:to(u.us).mantissa[4], 300)
  t.close(bdl.linspace(0, 1, 5), {0, 0.25, 0.5, 0.75, 1})
  t.eq(bdl.linspace(0, 1, 3, {endpoint = false}).size, 3)
  t.close(bdl.linspace(0, 1, 4, {endpoint = false}), {0, 0.25, 0.5, 0.75})
  t.eq(tostring(bdl.linspace(0 * u.mV, 1 * u.volt, 2)), "[   0. 1000.] mV")
  t.close(bdl.logspace(0, 2, 3), {1, 10, 100})
  t.raises("ValueError", "step of 0", bdl.arange, 0, 1, 0)
  t.raises("ValueError", "too many", bdl.arange, 0, math.huge)
  t.raises("ValueError", "too many", bdl.arange, 1e30, 2e30, 1)
  t.raises("UnitMismatchError", nil, bdl.arange, 0 * u.ms, 1 * u.mV, 1 * u.ms)
end)

t.test("matrices of ones, triangles, grids", function()
  t.eq(bdl.eye(2), {{1, 0}, {0, 1}})
  t.eq(bdl.eye(2, 3, {k = 1}), {{0, 1, 0}, {0, 0, 1}})
  t.eq(bdl.tri(2, 3), {{1, 0, 0}, {1, 1, 0}})
  t.eq(X:tril(), {{3, 0, 0}, {0.5, 4, 0}})
  t.eq(X:triu(1), {{0, -1, 2.5}, {0, 0, -2}})
  t.eq(bdl.diag{1, 2}, {{1, 0}, {0, 2}})
  t.eq(bdl.diag({1, 2}, -1), {{0, 0, 0}, {1, 0, 0}, {0, 2, 0}})
  t.eq(X:diagonal(), {3, 4})
  t.eq(X:diagonal(-1), {0.5})
  t.eq(X:diagonal(1), {-1, -2})
  local a, b = bdl.meshgrid({1, 2}, {3, 4, 5})
  t.eq({a:totable(), b:totable()}, {{{1, 2}, {1, 2}, {1, 2}}, {{3, 3}, {4, 4}, {5, 5}}})
  local c = bdl.meshgrid({1, 2}, {3, 4, 5}, {indexing = "ij"})
  t.eq(c, {{1, 1, 1}, {2, 2, 2}})
  t.eq(bdl.zeros_like(X * u.mV).unit, u.mV)
  t.eq(bdl.full_like(X, 2, {dtype = "int32"}).dtype, "int32")
end)

-- ---- elementwise -----------------------------------------------------------------------------------------------------

t.test("functions of one operand agree with Lua's", function()
  for name, f in pairs{
    exp = math.exp, log = math.log, sin = math.sin, cos = math.cos, tan = math.tan, sqrt = math.sqrt, abs = math.abs,
    floor = math.floor,
    ceil = math.ceil, atan = math.atan, square = function(v) return v * v end, reciprocal = function(v) return 1 / v end,
    log2 = function(v) return math.log(v, 2) end, log1p = function(v) return math.log(1 + v) end, degrees = math.deg,
    radians = math.rad,
    sinc = function(v) return math.sin(math.pi * v) / (math.pi * v) end, negative = function(v) return -v end,
    logit = function(v) return math.log(v / (1 - v)) end, tanh = function(v) return 1 - 2 / (math.exp(2 * v) + 1) end,
  } do
    local values = {0.25, 0.5, 0.75}
    local want = {}
    for i, v in ipairs(values) do want[i] = f(v) end
    t.close(both(function(x) return bdl[name](x) end, bdl.tensor(values)), want, 2e-6, 1e-7, name)
  end
end)

t.test("functions of two operands agree with Lua's", function()
  for name, f in pairs{
    add = function(a, b) return a + b end, subtract = function(a, b) return a - b end,
    multiply = function(a, b) return a * b end,
    divide = function(a, b) return a / b end, floor_divide = function(a, b) return a // b end,
    mod = function(a, b) return a % b end,
    power = function(a, b) return a ^ b end, maximum = math.max, minimum = math.min, fmax = math.max, fmin = math.min,
    hypot = function(a, b) return math.sqrt(a * a + b * b) end, atan2 = math.atan, fmod = math.fmod,
    logaddexp = function(a, b) return math.log(math.exp(a) + math.exp(b)) end,
    copysign = function(a, b) return b < 0 and -math.abs(a) or math.abs(a) end,
  } do
    local a, b, want = {3.5, 1.25, 2.0}, {1.5, -0.5, 3.0}, {}
    if name == "power" then b[2] = 0.5 end
    for i = 1, 3 do want[i] = f(a[i], b[i]) end
    t.close(both(function(x, y) return bdl[name](x, y) end, bdl.tensor(a), bdl.tensor(b)), want, 2e-6, 1e-7, name)
  end
end)

t.test("special values", function()
  local s = bdl.tensor{0 / 0, math.huge, -math.huge, 0.0, -0.0}
  t.eq(s:isnan(), {true, false, false, false, false})
  t.eq(s:isinf(), {false, true, true, false, false})
  t.eq(s:isfinite(), {false, false, false, true, true})
  t.eq(s:signbit():totable()[5], true)
  t.eq(s:nan_to_num{nan = 7}:totable()[1], 7)
  t.ok(s:nan_to_num():isfinite():all():item())
  t.eq(bdl.fmax(0 / 0, bdl.tensor{1.0}), {1})
  t.eq(bdl.hypot(bdl.tensor(3e30), 4e30):isfinite():item(), true)
  t.eq(bdl.logaddexp(bdl.tensor(-math.huge), -math.huge):item(), -math.huge)
  t.close(bdl.logaddexp2(bdl.tensor{1.0, -3.0, 1000.0, -math.huge}, bdl.tensor{2.0, 4.0, 1001.0, -math.huge}), {2.584962500721156, 4.011227255423254, 1001.5849625007212, -math.huge})
  t.eq(bdl.heaviside({-1.0, 0.0, 2.0}, 0.5), {0, 0.5, 1})
  t.eq(bdl.sinc(bdl.tensor(0.0)):item(), 1)
  t.eq(bdl.round({0.5, 1.5, 2.5, -0.5}), {0, 2, 2, -0.0})
  t.close(bdl.round({1.234}, {decimals = 2}), {1.23})
end)

t.test("numbers of Lua are weak", function()
  local i = bdl.tensor{1, 2}
  t.eq({(i + 1).dtype, (i + 1.5).dtype, (i / 2).dtype, (i // 2).dtype, (i ^ 2).dtype},
       {"int32", "float32", "float32", "int32", "int32"})
  t.eq(bdl.maximum(i, 2).dtype, "int32")
  t.eq(bdl.where(i:gt(1), 1.5, i).dtype, "float32")
  t.eq((bdl.tensor({1.0}, {dtype = "float64"}) + bdl.tensor{1.0}).dtype, "float64")
  t.eq((bdl.exp(1) + bdl.tensor({0.0}, {dtype = "float64"})).dtype, "float64")
  t.eq((bdl.tensor{true} + 1).dtype, "int32")
  t.eq((bdl.tensor({1.0}, {dtype = "float64"}) * 0.1)[1]:item(), 0.1) -- with all its digits
end)

t.test("comparison, choice and logic", function()
  t.eq(X:gt(1), {{true, false, true}, {false, true, false}})
  t.eq(X:le(X), {{true, true, true}, {true, true, true}})
  t.eq(bdl.where(X:lt(0), 0, X), {{3, 0, 2.5}, {0.5, 4, 0}})
  t.eq(bdl.where(true, 1, 2):item(), 1)
  t.eq(bdl.clip(X, 0, 2), {{2, 0, 2}, {0.5, 2, 0}})
  t.eq(bdl.clip(X, bdl.none, 2), {{2, -1, 2}, {0.5, 2, -2}})
  t.eq(X:clip{min = 0}, {{3, 0, 2.5}, {0.5, 4, 0}})
  t.eq(bdl.logical_and({true, true}, {1, 0}), {true, false})
  t.eq(bdl.logical_or({true, false}, {0, 0}), {true, false})
  t.eq(bdl.logical_xor({true, true}, {true, false}), {false, true})
  t.eq(bdl.logical_not{0, 2}, {true, false})
  t.eq({bdl.allclose(X, X + 1e-9), bdl.allclose(X, X + 1)}, {true, false})
  t.eq(bdl.isclose({1.0, math.huge, 0 / 0}, {1.0, math.huge, 0 / 0}), {true, true, false})
  t.eq(bdl.isclose({0 / 0}, {0 / 0}, {equal_nan = true}), {true})
  t.eq({bdl.array_equal(X, X), bdl.array_equal(X, X[1])}, {true, false})
end)

-- ---- reductions ------------------------------------------------------------------------------------------------------

t.test("reductions over all, one and several axes", function()
  t.close(X:sum(), 7)
  t.close(both(function(x) return x:sum{axis = 1} end, X), {3.5, 3, 0.5})
  t.close(both(function(x) return x:mean{axis = -1, keepdims = true} end, X), {{1.5}, {2.5 / 3}})
  t.close(X:max{axis = {1, 2}}, 4)
  t.eq(X:min{axis = 2}, {-1, -2})
  t.close(X:prod{axis = 1}, {1.5, -4, -5})
  t.eq({X:argmax():item(), X:argmax():pos()}, {4, 5})
  t.eq(X:argmin{axis = 1}, {1, 0, 1})
  t.eq(X:argmax{axis = 2, keepdims = true}, {{0}, {1}})
  t.eq({X:gt(0):all():item(), X:gt(0):any():item()}, {false, true})
  t.eq(X:gt(0):sum():item(), 4)
  t.eq(X:count_nonzero{axis = 2}, {3, 3})
  t.close(X:ptp(), 6)
  t.eq(bdl.tensor{true, true}:mean():item(), 1)
  t.raises("IndexError", "axis 0: positions start at 1 in bdl %(Python's axis 0 is axis 1%)", X.sum, X, {axis = 0})
  t.raises("IndexError", "no axis 3 in float32%[2,3%]", X.sum, X, {axis = 3})
  t.raises("TypeError", "sum: options are a table, {axis = ..}, not 1", X.sum, X, 1)
  t.raises("TypeError", "no option 'axes' %(did you mean 'axis'%?%)", X.sum, X, {axes = 1})
  t.raises("ValueError", "no elements", bdl.max, bdl.zeros(0))
  t.raises("ValueError", "twice", bdl.sum, X, {axis = {1, -2}})
end)

t.test("variance divides by n - ddof", function()
  local v = bdl.tensor{1.0, 2.0, 4.0, 7.0}
  t.close(v:var(), (6.25 + 2.25 + 0.25 + 12.25) / 4)
  t.close(v:var{ddof = 1}, 7)
  t.close(v:std{ddof = 1}, math.sqrt(7))
  t.close(bdl.average(v, {weights = {1.0, 0.0, 0.0, 3.0}}), 22 / 4)
end)

t.test("running sums, differences, integrals", function()
  t.close(both(function(x) return x:cumsum{axis = 2} end, X), {{3, 2, 4.5}, {0.5, 4.5, 2.5}})
  t.close(X:cumsum(), {3, 2, 4.5, 5, 9, 7})
  t.eq(bdl.cumsum({1, 2, 3}, {reverse = true}), {6, 5, 3})
  t.eq(bdl.cumprod{1, 2, 3}, {1, 2, 6})
  t.eq(bdl.cummax{1, 3, 2}, {1, 3, 3})
  t.eq(bdl.diff{1, 4, 9, 16}, {3, 5, 7})
  t.eq(bdl.diff({1, 4, 9, 16}, {n = 2}), {2, 2})
  t.close(bdl.trapezoid({1.0, 2.0, 3.0}, {dx = 2}), 8)
  t.close(bdl.trapezoid({1.0, 2.0}, {x = {0.0, 4.0}}), 6)
end)

t.test("softmax and logsumexp do not overflow", function()
  local big = bdl.tensor{1000.0, 1001.0, -math.huge}
  local e = math.exp(-1)
  t.close(both(bdl.softmax, big), {e / (1 + e), 1 / (1 + e), 0})
  t.close(both(bdl.logsumexp, big), 1001 + math.log(1 + e))
  t.close(bdl.log_softmax(bdl.tensor{0.0, 0.0}), {-math.log(2), -math.log(2)})
  t.eq(bdl.logsumexp(bdl.tensor{-math.huge, -math.huge}):item(), -math.huge)
  t.close(bdl.softmax(X, {axis = 1}):sum{axis = 1}, {1, 1, 1})
end)

t.test("special functions", function()
  local x = bdl.tensor{0.3, 2.5}
  t.close(both(bdl.erfinv, bdl.erf(x)), x, 1e-4)
  t.close(both(bdl.lgamma, x), {1.0957980, 0.2846829}, 1e-5)
  t.close(both(bdl.digamma, x), {-3.5025242, 0.7031566}, 1e-5)
  t.close(both(function(v) return bdl.polygamma(1, v) end, x), {12.2453645, 0.4903578}, 1e-5)
  t.close(both(function(v) return bdl.polygamma(2, v) end, x), {-75.2725366, -0.2362041}, 1e-5)
  t.raises("ValueError", "n is %-1, not one of 0 .. 1000", bdl.polygamma, -1, x)
end)

t.test("norms", function()
  local v, m = bdl.tensor{3.0, -4.0}, bdl.tensor{{1.0, -2.0}, {3.0, 4.0}}
  t.close(v:norm(), 5)
  t.close(v:norm{ord = 1}, 7)
  t.close(v:norm{ord = math.huge}, 4)
  t.close(v:norm{ord = 3}, (27 + 64) ^ (1 / 3))
  t.close(m:norm(), math.sqrt(30))
  t.close(m:norm{ord = 1}, 6)
  t.close(m:norm{ord = math.huge}, 7)
  t.close(m:norm{axis = 1}, {math.sqrt(10), math.sqrt(20)})
end)

t.test("order statistics", function()
  local v = bdl.tensor{3.0, 1.0, 2.0, 10.0}
  t.eq(both(bdl.sort, v), {1, 2, 3, 10})
  t.eq(v:sort{descending = true}, {10, 3, 2, 1})
  t.eq(both(bdl.argsort, v), {1, 2, 0, 3})
  t.eq(X:sort{axis = 1}, {{0.5, -1, -2}, {3, 4, 2.5}})
  t.close(both(bdl.median, v), 2.5)
  t.close(bdl.quantile(v, {0, 0.25, 1}), {1, 1.75, 10})
  t.close(bdl.percentile(v, 50), 2.5)
  t.close(bdl.quantile(v, 0.4, {method = "lower"}), 2)
  t.close(X:median{axis = 2, keepdims = true}, {{2.5}, {0.5}})
  t.ok(bdl.median{1.0, 0 / 0}:isnan():item())
  local values, ids = bdl.top_k(v, 2)
  t.eq({values:totable(), ids:totable()}, {{10, 3}, {3, 0}})
  t.raises("ValueError", "k is 5", bdl.top_k, v, 5)
end)

t.test("search and count", function()
  local a = bdl.tensor{1.0, 2.0, 2.0, 5.0}
  t.eq(both(bdl.searchsorted, a, bdl.tensor{0.0, 2.0, 3.0, 9.0}), {0, 1, 3, 4})
  t.eq(a:searchsorted({2.0}, {side = "right"}), {3})
  for n = 1, 17 do -- every length of a binary search
    local edges, want, q = {}, {}, {}
    for i = 1, n do edges[i] = 2.0 * i end
    for i = 0, 2 * n + 2 do
      q[i + 1] = i + 0.0
      local k = 0
      while k < n and edges[k + 1] < i do k = k + 1 end
      want[i + 1] = k
    end
    t.eq(bdl.searchsorted(edges, q), want)
  end
  t.eq(bdl.digitize({0.5, 1.0, 6.0}, {1.0, 5.0}), {0, 1, 2})
  t.eq(bdl.bincount{1, 1, 3}, {0, 2, 0, 1})
  t.eq(bdl.bincount({1, 1, 3}, {weights = {0.5, 0.5, 2.0}}), {0, 1, 0, 2})
  t.eq(both(function(x) return bdl.bincount(x, {length = 3}) end, bdl.tensor{1, 1, 3}), {0, 2, 0})
  local counts, edges = bdl.histogram({1.0, 2.0, 3.0, 4.0}, 3)
  t.eq({counts:totable(), edges:totable()}, {{1, 1, 2}, {1, 2, 3, 4}})
  t.eq((bdl.histogram({0.5, 3.0, -1.0}, {0.0, 1.0, 2.0})), {1, 0})
  t.raises("ValueError", "one bin", bdl.histogram, X, 0)
  t.raises("ValueError", "quantiles are numbers", bdl.percentile, X, nil)
  t.raises("TraceContextError", "length", bdl.jit(bdl.bincount), bdl.tensor{1, 2})
end)

-- ---- shape -----------------------------------------------------------------------------------------------------------

t.test("reshape, squeeze, expand_dims", function()
  t.eq(both(function(x) return x:reshape(3, -1) end, X), {{3, -1}, {2.5, 0.5}, {4, -2}})
  t.eq(X:reshape{6}.shape[1], 6)
  t.eq(X:flatten(), {3, -1, 2.5, 0.5, 4, -2})
  local z = bdl.zeros(1, 2, 1)
  t.eq(z:squeeze().ndim, 1)
  t.eq(z:squeeze{axis = 3}.shape[2], 2)
  t.eq({z:expand_dims(1).shape[1], z:expand_dims(-1).ndim}, {1, 4})
  t.raises("ShapeError", "6 elements of float32%[2,3%] do not fit {4, %-1}", X.reshape, X, 4, -1)
  t.raises("ShapeError", "axis 2 of float32%[1,2,1%] has extent 2", z.squeeze, z, {axis = 2})
end)

t.test("axes change places", function()
  t.eq(X.T, {{3, 0.5}, {-1, 4}, {2.5, -2}})
  t.eq(X:transpose(2, 1), X.T)
  t.eq(X:swapaxes(1, -1), X.T)
  local z = bdl.zeros(2, 3, 4)
  t.eq(tostring(z:moveaxis(1, -1).shape), "{3, 4, 2}")
  t.eq(tostring(z:moveaxis({1, 2}, {3, 1}).shape), "{3, 4, 2}")
  t.raises("ShapeError", "2 axes for", z.transpose, z, 1, 2)
end)

t.test("repeats", function()
  t.eq(bdl.tile({1, 2}, 2), {1, 2, 1, 2})
  t.eq(bdl.tile({{1, 2}}, 2, 2), {{1, 2, 1, 2}, {1, 2, 1, 2}})
  t.eq(bdl.tile({1, 2}, 2, 1), {{1, 2}, {1, 2}})
  t.eq(bdl.repeat_each({1, 2}, 2), {1, 1, 2, 2})
  t.eq(bdl.repeat_each({{1, 2}, {3, 4}}, 2, {axis = 1}), {{1, 2}, {1, 2}, {3, 4}, {3, 4}})
  t.eq(bdl.broadcast_to({1, 2}, 2, 2), {{1, 2}, {1, 2}})
  local a, b = bdl.broadcast_arrays({{1}, {2}}, {3, 4})
  t.eq({a:totable(), b:totable()}, {{{1, 1}, {2, 2}}, {{3, 4}, {3, 4}}})
  t.raises("ShapeError", "int32%[2%] does not broadcast to the shape {3}", bdl.broadcast_to, {1, 2}, 3)
end)

t.test("joins and parts", function()
  t.eq(both(function(x, y) return bdl.concatenate({x, y}, {axis = 2}) end, X, X)[1], {3, -1, 2.5, 3, -1, 2.5})
  t.eq(bdl.stack({bdl.tensor{1, 2}, bdl.tensor{3, 4}}, {axis = 2}), {{1, 3}, {2, 4}})
  t.eq(bdl.vstack{{1, 2}, {3, 4}}, {{1, 2}, {3, 4}})
  t.eq(bdl.hstack{{1, 2}, {3}}, {1, 2, 3})
  t.eq(bdl.column_stack{{1, 2}, {3, 4}}, {{1, 3}, {2, 4}})
  t.eq(tostring(bdl.dstack{{1, 2}, {3, 4}}.shape), "{1, 2, 2}")
  t.eq(bdl.append({1}, {2, 3}), {1, 2, 3})
  t.eq((bdl.concatenate{bdl.tensor{1}, bdl.tensor{1.5}}).dtype, "float32")
  local many = {}
  for i = 1, 150 do many[i] = bdl.tensor{i} end
  t.eq(bdl.concatenate(many)[-1]:item(), 150)
  local parts = bdl.split(bdl.arange(6), 3)
  t.eq({#parts, parts[3]:totable()}, {3, {4, 5}})
  parts = bdl.split(bdl.arange(6), {1, 4})
  t.eq({parts[1]:totable(), parts[2]:totable(), parts[3]:totable()}, {{0}, {1, 2, 3}, {4, 5}})
  parts = bdl.array_split(bdl.arange(5), 2)
  t.eq({parts[1]:totable(), parts[2]:totable()}, {{0, 1, 2}, {3, 4}})
  t.raises("ShapeError", "concatenate: float32%[2,3%] and float32%[3%]", bdl.concatenate, {X, X[1]})
  t.raises("ShapeError", "equal parts", bdl.split, bdl.arange(5), 2)
  t.raises("TypeError", "list of tensors", bdl.concatenate, {})
end)

t.test("flip, roll, pad", function()
  t.eq(X:flip{axis = 2}[1], {2.5, -1, 3})
  t.eq(bdl.roll({1, 2, 3}, 1), {3, 1, 2})
  t.eq(X:roll(-1, {axis = 2})[1], {-1, 2.5, 3})
  t.eq(bdl.pad({1, 2}, {1, 2}), {0, 1, 2, 0, 0})
  t.eq(bdl.pad({1, 2}, 1, {value = 9}), {9, 1, 2, 9})
  t.eq(bdl.pad({1, 2, 3}, 2, {mode = "reflect"}), {3, 2, 1, 2, 3, 2, 1})
  t.eq(bdl.pad({1, 2, 3}, 2, {mode = "edge"}), {1, 1, 1, 2, 3, 3, 3})
  t.eq(bdl.pad({1, 2, 3}, 2, {mode = "wrap"}), {2, 3, 1, 2, 3, 1, 2})
  t.eq(bdl.pad({1, 2, 3}, 2, {mode = "symmetric"}), {2, 1, 1, 2, 3, 3, 2})
  t.eq(tostring(X:pad({{0, 1}, {2, 0}}).shape), "{3, 5}")
  t.raises("ValueError", "no mode", bdl.pad, {1}, 1, {mode = "x"})
end)

-- ---- linear algebra --------------------------------------------------------------------------------------------------

local function matmul(a, b)
  local z = {}
  for i = 1, #a do
    z[i] = {}
    for j = 1, #b[1] do
      local s = 0
      for k = 1, #b do s = s + a[i][k] * b[k][j] end
      z[i][j] = s
    end
  end
  return z
end

local function numbers(seed, ...)
  local x = bdl.arange(bdl.zeros(...).size) * 1.0
  return bdl.sin(x * (seed + 0.7) + seed):reshape(...)
end

t.test("matmul with vectors, matrices and batches", function()
  local a, b = numbers(1, 3, 4), numbers(2, 4, 2)
  local want = matmul(a:totable(), b:totable())
  t.close(both(bdl.matmul, a, b), want, 1e-5)
  t.close(a:matmul(b[{{}, 1}]), {want[1][1], want[2][1], want[3][1]}, 1e-5)
  t.close(a[1]:matmul(b), want[1], 1e-5)
  t.close(a[1]:matmul(b[{{}, 1}]), want[1][1], 1e-5)
  local batch = bdl.stack{b, b * 2}
  local z = both(bdl.matmul, a, batch)
  t.close(z[2], a:matmul(b * 2), 1e-5)
  t.close(a[1]:matmul(batch)[2], a[1]:matmul(b * 2), 1e-5)
  t.close(bdl.stack{a, a * 3}:matmul(b)[2], a:matmul(b) * 3, 1e-5)
  t.close(bdl.stack{a, a * 3}:matmul(batch)[2], a:matmul(b) * 6, 1e-5)
  t.eq(bdl.tensor{true, false, true}:matmul(bdl.tensor{{1.0, 2.0}, {3.0, 4.0}, {5.0, 6.0}}), {6, 8})
  t.eq(tostring((bdl.ones(2) * u.mS):matmul(bdl.ones(2) * u.mV)), "2. uA")
  t.raises("ShapeError", "matmul: inner sizes differ: x float32%[3,4%], w float32%[3,4%]", a.matmul, a, a)
  t.raises("ShapeError", "scalar", bdl.matmul, 2.0, a)
end)

t.test("other products", function()
  local a, b = bdl.tensor{1.0, 2.0, 3.0}, bdl.tensor{4.0, 5.0, 6.0}
  t.close(bdl.dot(a, b), 32)
  t.close(bdl.vdot(X, X), 9 + 1 + 6.25 + 0.25 + 16 + 4)
  t.close(bdl.inner(X, a), {8.5, 2.5})
  t.eq(bdl.outer(a, b)[3], {12, 15, 18})
  t.eq(bdl.cross(a, b), {-3, 6, -3})
  t.eq(bdl.kron({1, 2}, {1, 10}), {1, 10, 2, 20})
  t.eq(bdl.kron({{1, 2}}, {{1}, {3}}), {{1, 2}, {3, 6}})
  t.close(bdl.tensordot(X, X, 2), bdl.vdot(X, X))
  t.close(bdl.tensordot(X, X, {{1}, {1}}), X.T:matmul(X), 1e-6)
  t.close(bdl.trace(bdl.tensor{{1.0, 2.0}, {3.0, 4.0}}), 5)
end)

t.test("einsum: every kind of equation", function()
  local a, b, c = numbers(1, 2, 3), numbers(2, 3, 4), numbers(3, 4, 2)
  t.close(both(function(x, y) return bdl.einsum("ij,jk->ik", x, y) end, a, b), a:matmul(b), 1e-5)
  t.close(bdl.einsum("ij,jk,kl->il", a, b, c), a:matmul(b):matmul(c), 1e-4, 1e-6)
  t.close(bdl.einsum("ij->ji", a), a.T)
  t.close(bdl.einsum("ij->", a), a:sum(), 1e-5)
  t.close(bdl.einsum("ij->j", a), a:sum{axis = 1}, 1e-5)
  t.close(bdl.einsum("ij,ij->ij", a, a), a * a)
  t.close(bdl.einsum("i,j->ij", a[1], b[1]), bdl.outer(a[1], b[1]))
  local sq = numbers(4, 3, 3)
  t.close(bdl.einsum("ii", sq), bdl.trace(sq), 1e-5)
  t.close(bdl.einsum("ii->i", sq), sq:diagonal())
  t.close(bdl.einsum("ij,ji", a, a.T), bdl.trace(a:matmul(a.T)), 1e-5)
  local x, y = numbers(5, 2, 3, 4), numbers(6, 2, 4, 5)
  t.close(bdl.einsum("bij,bjk->bik", x, y), x:matmul(y), 1e-5, 1e-6)
  t.close(bdl.einsum("...ij,...jk->...ik", x, y), x:matmul(y), 1e-5, 1e-6)
  t.close(bdl.einsum("...ij,jk->...ik", x, y[1]), x:matmul(y[1]), 1e-5, 1e-6)
  t.close(bdl.einsum("bij,bjk->kib", x, y), x:matmul(y):transpose(3, 2, 1), 1e-5, 1e-6)
  t.close(bdl.einsum("...i,...i", x, x[{{1, 1}}]), (x * x[1]):sum{axis = -1}, 1e-5, 1e-6)
  t.eq(tostring(bdl.einsum("i,i->", bdl.ones(2) * u.mS, bdl.ones(2) * u.mV)), "2. uA")
  t.raises("ValueError", "2 operands are named, 1 are given", bdl.einsum, "ij,jk", a)
  t.raises("ValueError", "'z' of the result is in no operand", bdl.einsum, "ij->iz", a)
  t.raises("ShapeError", "label 'j' has size 2 in float32%[2,3%] and 3 before", bdl.einsum, "ij,jk", a, a)
  t.raises("ValueError", "does not fit float32%[2,3%]", bdl.einsum, "ijk", a)
end)

t.test("systems of equations", function()
  local a = bdl.tensor{{4.0, 1.0, 0.0}, {1.0, 3.0, 1.0}, {0.0, 1.0, 2.0}}
  local x = bdl.tensor{1.0, -2.0, 3.0}
  t.close(both(bdl.solve, a, a:matmul(x)), x, 1e-5)
  t.close(a:matmul(bdl.inv(a)), bdl.eye(3), 1e-5, 1e-6)
  t.close(bdl.det(a), 4 * 5 - 2, 1e-5)
  t.close(bdl.det{{0.0, 1.0}, {1.0, 0.0}}, -1)
  local sign, log = bdl.slogdet(a)
  t.close({sign:item(), log:item()}, {1, math.log(18)}, 1e-5)
  local l = bdl.cholesky(a)
  t.close(l:matmul(l.T), a, 1e-5, 1e-6)
  t.close(bdl.triangular_solve(l, l:matmul(x)), x, 1e-5)
  t.close(bdl.triangular_solve(l, l.T:matmul(x), {trans = true}), x, 1e-5)
  t.close(bdl.matrix_power(a, 3), a:matmul(a):matmul(a), 1e-5)
  t.eq(bdl.matrix_power(a, 0), bdl.eye(3))
  t.raises("ShapeError", "square", bdl.inv, X)
  t.raises("ShapeError", "do not fit", bdl.solve, a, {1.0, 2.0})
end)

-- ---- values ----------------------------------------------------------------------------------------------------------

t.test("values, dtypes, units", function()
  t.eq(bdl.tensor{{1, 2}}:totable(), {{1, 2}})
  t.eq(X:astype "int32", {{3, -1, 2}, {0, 4, -2}})
  t.eq((5.0 * u.mV):to(u.volt).mantissa:item() < 0.0051, true)
  t.raises("TypeError", "in mV", function() return (5.0 * u.mV):item() end)
  t.raises("ValueError", "one element", X.item, X)
  t.raises("KeyError", "did you mean 'sum'", function() return X:summ() end)
  t.raises("TypeError", "tensors do not change", function() X[1] = 2 end)
  t.raises("ValueError", "no dtype 'float12'", X.astype, X, "float12")
  t.eq(bdl.device_get({a = X}).a, X)
  t.eq(bdl.stop_gradient({a = X, b = {1}}).a, X)
end)

t.test("large reductions are exact for integers and close for floats", function()
  local n = 100000
  t.eq(bdl.arange(n):astype("int64"):sum():item(), n * (n - 1) // 2)
  t.close(bdl.ones(n):mean(), 1)
end)

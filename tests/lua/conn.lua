-- Builders of connectivity: counts, ranges, seeds, weights, bad arguments.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local core = require "bdl.core"
local conn, event, u = bdl.conn, bdl.event, bdl.units

local function list(x) return core.totable(x) end

--- Rows of post indices, from 1 by row.
local function rows(A)
  local pre, post = A:tocoo()
  local by_row = {}
  for i = 1, A.shape[1] do by_row[i] = {} end
  local p, q = list(pre), list(post)
  for e = 1, #p do table.insert(by_row[p[e] + 1], q[e]) end
  return by_row
end

t.test("fixed_prob has the probability and repeats with its seed", function()
  local A, B, C = conn.fixed_prob(200, 300, 0.1, {seed = 4}), conn.fixed_prob(200, 300, 0.1, {seed = 4}), conn.fixed_prob(200, 300, 0.1, {seed = 5})
  t.ok(math.abs(A.nnz / 60000 - 0.1) < 0.01)
  t.eq(list(A.indices), list(B.indices))
  t.ok(A.nnz ~= C.nnz or list(A.indices)[1] ~= list(C.indices)[1])
end)

t.test("populations are counted by their shapes", function()
  local pre, post = bdl.nn.LIF{{4, 5}}, bdl.nn.LIF(6)
  t.eq(list(conn.fixed_prob(pre.varshape, post.varshape, 0.3, {seed = 4}).indices), list(conn.fixed_prob(20, 6, 0.3, {seed = 4}).indices))
  t.raises("TypeError", "pre is a whole number, not LIF", conn.fixed_prob, pre, 6, 0.3)
end)

t.test("fixed_prob is the matrix that is regenerated from the same seed", function()
  local A = conn.fixed_prob(20, 30, 0.3, {seed = 9, weight = 2.0})
  t.eq(list(A:todense()), list(event.JITCScalarR{2.0, 0.3, 9, shape = {20, 30}}:todense()))
end)

t.test("probabilities 0 and 1", function()
  t.eq(conn.fixed_prob(5, 6, 0).nnz, 0)
  t.eq(conn.fixed_prob(5, 6, 1).nnz, 30)
  t.eq(conn.fixed_prob(5, 5, 1, {self_connections = false}).nnz, 20)
end)

t.test("without a seed builders draw from the default generator", function()
  bdl.random.seed(3)
  local a, b = list(conn.fixed_num_post(4, 50, 6).indices), list(conn.fixed_num_post(4, 50, 6).indices)
  bdl.random.seed(3)
  t.eq(list(conn.fixed_num_post(4, 50, 6).indices), a)
  local same = true
  for i = 1, #a do same = same and a[i] == b[i] end
  t.ok(not same)
end)

t.test("fixed_num_post has k targets in range, different ones on request, not itself", function()
  local n, k = 30, 12
  for i, row in ipairs(rows(conn.fixed_num_post(n, n, k, {seed = 1, replace = false, self_connections = false}))) do
    local seen = {}
    t.eq(#row, k)
    for _, j in ipairs(row) do
      t.ok(j >= 0 and j < n and j ~= i - 1 and not seen[j])
      seen[j] = true
    end
  end
  t.eq(#rows(conn.fixed_num_post(3, 4, 4, {replace = false}))[1], 4)
  t.raises("ValueError", "different", conn.fixed_num_post, 3, 4, 5, {replace = false})
end)

t.test("fixed_num_pre has k sources for each post neuron", function()
  local counts = {0, 0, 0, 0, 0}
  local _, post = conn.fixed_num_pre(7, 5, 3, {seed = 2}):tocoo()
  for _, j in ipairs(list(post)) do counts[j + 1] = counts[j + 1] + 1 end
  t.eq(counts, {3, 3, 3, 3, 3})
end)

t.test("rows do not depend on the number of threads", function()
  local want = list(conn.fixed_num_post(2000, 300, 20, {seed = 8, replace = false}).indices)
  t.eq(list(conn.fixed_num_post(1000, 300, 20, {seed = 8, replace = false}).indices), table.move(want, 1, 20000, 1, {}))
end)

t.test("distance decides", function()
  local x = core.tensor{0.0, 1.0, 2.0, 9.0}
  local near = rows(conn.disc(x, x, {max_distance = 1.5, self_connections = false}))
  t.eq(near, {{1}, {0, 2}, {1}, {}})
  t.eq(rows(conn.disc(x, x, {max_distance = 1.5, period = 10.0, self_connections = false})), {{1, 3}, {0, 2}, {1}, {0}})
  local places = core.tensor{{0.0, 0.0}, {0.3, 0.4}} * u.mm
  t.eq(conn.disc(places, places, {max_distance = 450 * u.um}).nnz, 2)
  t.eq(conn.disc(places, places, {max_distance = 550 * u.um}).nnz, 4)
  t.raises("UnitMismatchError", nil, conn.disc, places, places, {max_distance = 1.0})
  t.raises("ValueError", "positive", conn.gaussian, x, x, {scale = 0.0})
end)

t.test("gaussian and exponential have their probabilities", function()
  local n = 20000
  local origin, there = core.tensor{0.0}, core.bind("broadcast", {shape = {n}, dims = {}}, core.tensor(2.0))
  t.ok(math.abs(conn.gaussian(origin, there, {scale = 2.0, seed = 1}).nnz / n - math.exp(-0.5)) < 0.02)
  t.ok(math.abs(conn.exponential(origin, there, {scale = 1.0, prob = 0.5, seed = 1}).nnz / n - 0.5 * math.exp(-2)) < 0.01)
end)

t.test("small worlds keep k, scale-free graphs are symmetric", function()
  t.eq(rows(conn.small_world(6, 2, 0.0)), {{1, 5}, {2, 0}, {3, 1}, {4, 2}, {5, 3}, {0, 4}})
  local A = conn.small_world(50, 4, 1.0, {seed = 1})
  for i, row in ipairs(rows(A)) do
    t.eq(#row, 4)
    for _, j in ipairs(row) do t.ok(j ~= i - 1 and j < 50) end
  end
  local B = list(conn.scale_free(40, 3, {seed = 1}):todense())
  local edges = 0
  for i = 1, 40 do
    for j = 1, 40 do
      t.eq(B[i][j], B[j][i])
      t.ok(B[i][j] <= 1)
      edges = edges + B[i][j]
    end
  end
  t.eq(edges, 2 * 3 * 37)
end)

t.test("all to all and one to one are products without a matrix", function()
  local s = core.tensor{true, false, true}
  t.eq(list(event.BinaryArray(s):matmul(conn.all_to_all(3, 2, {weight = 0.5}))), {1.0, 1.0})
  t.eq(list(conn.all_to_all(3, 3, {weight = 1.0, self_connections = false}):rmatmul(s)), {1.0, 2.0, 1.0})
  t.eq(list(conn.all_to_all(2, 3, {weight = 2.0}):matmul(core.tensor{1.0, 2.0, 3.0})), {12.0, 12.0})
  t.eq(list(conn.all_to_all(2, 2, {weight = core.tensor{{1.0, 2.0}, {3.0, 4.0}}, self_connections = false}):todense()), {{0.0, 2.0}, {3.0, 0.0}})
  t.eq(list(conn.one_to_one(3, {weight = core.tensor{1.0, 2.0, 3.0}}):rmatmul(s)), {1.0, 0.0, 3.0})
  t.eq(list(conn.all_to_all(3, 2, {weight = 0.5}):todense()), {{0.5, 0.5}, {0.5, 0.5}, {0.5, 0.5}})
end)

t.test("pairs in any order keep their weights and delays", function()
  local A = conn.from_coo(core.tensor{2, 0, 2, 1}, core.tensor{0, 1, 1, 0}, {3, 2},
                          {weight = core.tensor{5.0, 6.0, 7.0, 8.0} * u.nS, delay = core.tensor{1.0, 2.0, 3.0, 4.0} * u.ms})
  t.eq(list(core.mantissa(A:todense())), {{0.0, 6.0}, {8.0, 0.0}, {5.0, 7.0}})
  t.eq(list(core.mantissa(A.delay)), {2.0, 4.0, 1.0, 3.0})
  t.eq(list(A.indptr), {0, 1, 2, 4})
  t.raises("IndexError", "count from 0 to 2", conn.from_coo, core.tensor{3}, core.tensor{0}, {3, 2})
  t.raises("ShapeError", "2 pre and 1 post", conn.from_coo, core.tensor{0, 1}, core.tensor{0}, {3, 2})
  t.eq(conn.from_dense(core.tensor{{0.0, 1.0}, {0.0, 0.0}}).nnz, 1)
end)

t.test("weights: one for all, one an entry, or a function", function()
  local A = conn.fixed_num_post(4, 10, 3, {weight = 0.6 * u.mS})
  t.eq(A.data.size, 1)
  t.eq(tostring(A:rmatmul(core.tensor{true, true, true, true}).unit), "mS")
  local B = conn.fixed_num_post(4, 10, 3, {weight = function(n) return bdl.random.rand(n) end})
  t.eq(B.data.size, 12)
  t.raises("ShapeError", "12 weights", conn.fixed_num_post, 4, 10, 3, {weight = core.tensor{1.0, 2.0}})
end)

--- Calls that must fail: {kind, pattern, builder, arguments ..}; every message names its builder.
local function refuses(calls)
  for _, call in ipairs(calls) do
    local e = t.raises(call[1], call[2], conn[call[3]], table.unpack(call, 4, call.n or #call))
    t.ok(e.message:find("conn." .. call[3] .. ":", 1, true), ("%s does not name conn.%s"):format(e.message, call[3]))
  end
end

local x = core.tensor{0.0, 1.0, 2.0}

t.test("counts are whole numbers in range", function()
  refuses{
    {"ValueError", "pre is %-1", "fixed_prob", -1, 3, 0.5}, {"ValueError", "post is %-2", "fixed_prob", 3, -2, 0.5},
    {"TypeError", "pre is a whole number, not 3.5", "fixed_prob", 3.5, 3, 0.5},
    {"TypeError", "pre .* not nil", "fixed_prob", nil, 3, 0.5, n = 6},
    {"ValueError", "post is 2147483648", "fixed_prob", 3, 1 << 31, 0.5},
    {"ValueError", "pre is %-2", "fixed_prob", {-2, -2}, 3, 0.5},
    {"TypeError", "pre is a whole number, not a", "fixed_prob", {2, "a"}, 3, 0.5},
    {"ValueError", "pre is %-3", "fixed_num_post", -3, 3, 2}, {"ValueError", "connections is %-1", "fixed_num_post", 3, 3, -1},
    {"TypeError", "whole number", "fixed_num_post", 3, 3, 1.5},
    {"ValueError", "2 different ones of 0", "fixed_num_post", 3, 0, 2},
    {"ValueError", "3 different ones of 2", "fixed_num_post", 3, 3, 3, {replace = false, self_connections = false}},
    {"ValueError", "post is %-1", "fixed_num_pre", 3, -1, 2}, {"ValueError", "connections is %-1", "fixed_num_pre", 3, 3, -1},
    {"ValueError", "4 different ones of 3", "fixed_num_pre", 3, 5, 4, {replace = false}},
    {"ValueError", "neurons is %-1", "small_world", -1, 2, 0.1},
    {"ValueError", "even and below 6, not 3", "small_world", 6, 3, 0.1},
    {"ValueError", "neurons is 3; it must be from 4", "scale_free", 3, 3}, {"ValueError", "connections is 0", "scale_free", 3, 0},
    {"ValueError", "pre is %-1", "all_to_all", -1, 2}, {"TypeError", "post .* not nil", "all_to_all", 3},
    {"ValueError", "neurons is %-1", "one_to_one", -1},
    {"ValueError", "pre is %-3", "from_coo", {0}, {0}, {-3, 3}}, {"TypeError", "shape", "from_coo", {0}, {0}},
    {"TypeError", "shape", "from_coo", {0}, {0}, {3}}, {"TypeError", "shape", "from_csr", {0}, {0, 1}},
  }
end)

t.test("probabilities are from 0 to 1", function()
  for _, p in ipairs{-0.1, 1.5, 0 / 0, "half"} do
    refuses{
      {"ValueError", "from 0 to 1", "fixed_prob", 3, 3, p}, {"ValueError", "from 0 to 1", "small_world", 6, 2, p},
      {"ValueError", "from 0 to 1", "gaussian", x, x, {scale = 1.0, prob = p}},
      {"ValueError", "from 0 to 1", "exponential", x, x, {scale = 1.0, prob = p}},
      {"ValueError", "from 0 to 1", "disc", x, x, {max_distance = 1.0, prob = p}},
    }
  end
end)

t.test("weights and delays fit the entries", function()
  local two, square = core.tensor{1.0, 2.0}, core.bind("broadcast", {shape = {3, 3}, dims = {}}, core.tensor(1.0))
  for what, bad in pairs{weight = two, delay = two * u.ms} do
    local o = {[what] = bad, seed = 1, scale = 1.0}
    local need = "entries need %d+ " .. what .. "s, or one for all, not %[2%]"
    local near = {[what] = bad, seed = 1, max_distance = 5.0}
    local only = {[what] = bad}
    refuses{
      {"ShapeError", need, "fixed_prob", 3, 3, 1.0, {[what] = bad}}, {"ShapeError", need, "fixed_num_post", 3, 4, 2, {[what] = bad}},
      {"ShapeError", need, "fixed_num_pre", 3, 4, 2, {[what] = bad}}, {"ShapeError", need, "gaussian", x, x, o},
      {"ShapeError", need, "exponential", x, x, o}, {"ShapeError", need, "disc", x, x, near}, {"ShapeError", need, "small_world", 6, 2, 0.1, only},
      {"ShapeError", need, "scale_free", 10, 2, only}, {"ShapeError", need, "one_to_one", 3, only},
      {"ShapeError", need, "from_coo", {0, 1, 2}, {0, 1, 2}, {3, 3}, only}, {"ShapeError", need, "from_csr", {0, 1, 2}, {0, 1, 2, 3}, {3, 3}, only},
    }
  end
  refuses{
    {"ShapeError", "6 entries need 6 delays", "all_to_all", 3, 2, {delay = two * u.ms}},
    {"ShapeError", "weights are %[2%]", "all_to_all", 3, 2, {weight = two}},
    {"ShapeError", "weights are %[1,2%]", "all_to_all", 3, 2, {weight = {{1.0, 2.0}}}},
    {"ShapeError", "not %[3,3%]", "fixed_prob", 3, 3, 1.0, {weight = square}},
    {"ShapeError", "not %[3,3%]", "fixed_num_post", 3, 4, 2, {weight = square}},
    {"ShapeError", "not %[3,3%]", "from_coo", {0, 1}, {0, 1}, {3, 3}, {weight = square}},
    {"TypeError", "weight: a number, .* not a string", "fixed_prob", 3, 3, 1.0, {weight = "a"}},
    {"TypeError", "weight: a number, .* not a nil", "all_to_all", 3, 3, {weight = function() end}},
    {"TypeError", "weight: a number, .* not a string", "one_to_one", 3, {weight = "a"}},
  }
  t.eq(list(conn.all_to_all(2, 1, {weight = {{1.0}, {2.0}}, delay = 2 * u.ms}):todense()), {{1.0}, {2.0}})
  t.eq(list(core.mantissa(conn.all_to_all(2, 1, {delay = 2 * u.ms}).delay)), 2)
  t.eq(list(conn.fixed_num_pre(3, 2, 1, {weight = {{1.0}, {2.0}}}).data), {1.0, 2.0})
end)

t.test("units of positions, delays and regenerated weights fit", function()
  local mm = x * u.mm
  refuses{
    {"UnitMismatchError", "scale in plain numbers, pre positions in mm", "gaussian", mm, mm, {scale = 1.0}},
    {"UnitMismatchError", "max_distance in ms, pre positions in mm", "disc", mm, mm, {max_distance = 1.0 * u.ms}},
    {"UnitMismatchError", "post positions in mV, pre positions in mm", "exponential", mm, x * u.mV, {scale = 1.0 * u.mm}},
    {"UnitMismatchError", "a delay is a time, not in mV", "fixed_prob", 3, 3, 0.5, {delay = 1.0 * u.mV}},
    {"UnitMismatchError", "a delay is a time, not in mV", "one_to_one", 3, {delay = 1.0 * u.mV}},
    {"UnitMismatchError", "a delay is a time, not in mV", "from_csr", {0}, {0, 1}, {1, 1}, {delay = 1.0 * u.mV}},
  }
  t.raises("UnitMismatchError", "mV", event.JITCUniformR, {1.0 * u.mV, 2.0, 0.5, 1, shape = {3, 4}})
  t.raises("ShapeError", "JITCScalarC: one number for all weights is needed, not %[3%]", event.JITCScalarC, {x, 0.5, 1, shape = {3, 4}})
  t.eq(conn.disc(mm, core.convert(mm, u.um), {max_distance = 1.5 * u.mm}).nnz, 7)
end)

t.test("lengths and positions are finite and fit", function()
  local bad = core.tensor{0.0, 0 / 0}
  refuses{
    {"TypeError", "argument 'scale' is missing", "gaussian", x, x},
    {"TypeError", "argument 'max_distance' is missing", "disc", x, x},
    {"TypeError", "no argument 'scale'", "disc", x, x, {max_distance = 1.0, scale = 1.0}},
    {"ValueError", "must be positive", "gaussian", x, x, {scale = -1.0}},
    {"ValueError", "scale must be finite", "exponential", x, x, {scale = 0 / 0}},
    {"ShapeError", "scale is one length, not %[3%]", "gaussian", x, x, {scale = x}},
    {"ValueError", "post positions must be finite", "disc", x, bad, {max_distance = 1.0}},
    {"ValueError", "period is negative", "disc", x, x, {max_distance = 1.0, period = -1.0}},
    {"ShapeError", "2 periods for 1", "disc", x, x, {max_distance = 1.0, period = {1.0, 2.0}}},
    {"ShapeError", "not of 0 axes", "gaussian", 1.0, x, {scale = 1.0}},
    {"TypeError", "pre positions: a number, a list", "gaussian", "a", x, {scale = 1.0}},
    {"ShapeError", "in 3 and 1 dimensions", "gaussian", {{0.0, 0.0, 0.0}}, x, {scale = 1.0}},
  }
end)

t.test("more connections than can be stored are refused at once", function()
  local many = core.bind("broadcast", {shape = {300000}, dims = {}}, core.tensor(1.0))
  refuses{
    {"MemoryError", "about 2e%+12", "fixed_prob", 2000000, 2000000, 0.5},
    {"MemoryError", "fewer than 2^36", "fixed_num_post", 1 << 30, 3, 1000},
    {"MemoryError", "about", "fixed_num_pre", 3, 1 << 30, 1000},
    {"MemoryError", "about 9e%+10", "gaussian", many, many, {scale = 1.0}},
    {"MemoryError", "about", "small_world", (1 << 31) - 1, 1000000, 0.1},
    {"MemoryError", "2147483656 connections; at most 2147483647", "scale_free", (1 << 30) + 5, 1},
  }
end)

t.test("bad options name what is wrong", function()
  refuses{
    {"TypeError", "did you mean 'weight'", "fixed_prob", 3, 3, 0.5, {wight = 1}},
    {"TypeError", "options are a table", "fixed_prob", 3, 3, 0.5, 5},
    {"ValueError", "same neurons", "fixed_prob", 3, 4, 0.5, {self_connections = false}},
    {"TypeError", "true or false, not a number", "small_world", 6, 2, 0.5, {self_connections = 1}},
    {"ValueError", "the pairs are given", "one_to_one", 3, {self_connections = false}},
    {"TypeError", "the seed is an integer, not 1.5", "fixed_prob", 3, 3, 0.5, {seed = 1.5}},
    {"IndexError", "pre reach from %-1 to 0", "from_coo", {0, -1}, {0, 1}, {3, 3}},
    {"TypeError", "vector of integers", "from_coo", {0.5}, {0}, {3, 3}},
    {"TypeError", "pre: a number, a list", "from_coo", "a", {0}, {3, 3}},
    {"TypeError", "indices: a number, a list", "from_csr", nil, {0, 1}, {1, 1}, n = 6},
    {"TypeError", "matrix: a number, a list", "from_dense", "a"},
  }
  t.raises("ShapeError", "indptr is int32%[3%]; 3 rows need 4", conn.from_csr, {0, 1}, {0, 1, 2}, {3, 3})
  t.raises("IndexError", "indices reach from 0 to 5", conn.from_csr, {0, 5}, {0, 1, 1, 2}, {3, 3})
  t.raises("KeyError", "did you mean 'fixed_prob'", function() return conn.fixed_probe end)
end)

--- braintools.conn 0.3.0: pre neurons on a grid of 4 by 3, post at (0.5, 0.5), (2.2, 1.1), (3, 0).
local KERNELS = {
  gaussian_kernel = {{sigma = 0.6}, {
    0.220762, 0, 0, 0.220762, 0, 0, 0.01372621, 0, 0, 0.220762, 0.01114481, 0, 0.220762, 0.05900608, 0, 0.01372621,
    0.01942439, 0, 0.01372621, 0.07789941, 0.1102379, 0.01372621, 0.4124376, 0.02748806, 0, 0.1357716, 0, 0, 0.03385494,
    0.4420971, 0, 0.1792447, 0.1102379, 0, 0.05900608, 0
  }},
  gabor_kernel = {{sigma = 0.8, frequency = 0.4, theta = 0.5, phase = 0.3}, {
    0.1114922, 0, 0, 0.6631006, 0, 0, 0.07608269, -0.01146711, 0, 0.4712508, -0.1088046, -0.02485136, -0.2848155,
    -0.2516121, -0.01956145, -0.1414965, 0.05235311, 0, -0.1405273, 0.03919157, -0.150439, -0.06818571, 0.9289679,
    0.1602281, 0.01922954, 0.3022176, 0.01761212, 0, 0.1741854, 0.9553365, 0, -0.2194157, 0.03013501, 0, -0.3221174,
    -0.03990529
  }},
  dog_kernel = {{sigma_center = 0.5, sigma_surround = 1.1}, {
    -0.282789, -0.06566244, -0.0194064, -0.282789, -0.1077605, -0.01283762, -0.2779956, -0.07745842, 0, -0.282789,
    -0.262629, -0.1528607, -0.282789, -0.3843891, -0.1012961, -0.2779956, -0.3046122, -0.02933622, -0.2779956, -0.3951852,
    -0.3938764, -0.2779956, 0.1211968, -0.3317657, -0.1244765, -0.3803685, -0.1012961, -0.05452285, -0.3477437, 0.2,
    -0.05452285, -0.3390304, -0.3938764, -0.02386024, -0.3843891, -0.1528607
  }},
  mexican_hat = {{sigma = 0.6}, {
    0.2920553, 0, 0, 0.2920553, -0.03208206, 0, -0.1141084, -0.0189879, 0, 0.2920553, -0.1083554, -0.05444468, 0.2920553,
    -0.09839633, -0.02912001, -0.1141084, -0.1217375, 0, -0.1141084, -0.06735835, -0.000647371, -0.1141084, 0.8999502,
    -0.1249992, -0.04007603, 0.06004282, -0.02912001, 0, -0.1235713, 1, 0, 0.1741406, -0.000647371, 0, -0.09839633,
    -0.05444468
  }},
  conv2d_kernel = {{kernel = {{1, 2, 3}, {4, 5, 6}}, kernel_size = 3.0, threshold = 1.5}, {
    2, 0, 0, 5, 0, 0, 0, 0, 0, 2, 0, 0, 5, 0, 0, 0, 4, 0, 3, 0, 0, 6, 2, 4, 0, 5, 0, 0, 0, 2, 0, 3, 5, 0, 6, 0
  }},
  sobel_kernel = {{direction = "vertical", kernel_size = 3.0}, {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1, 0, 0, -2, 0, 0, -1, 0, 2, 0, -2, 2, 0, -1, 1, 0, 0, 0, 1, 0, 0, 2, 0, 0, 1, 0
  }},
  laplacian_kernel = {{kernel_type = "8-connected", kernel_size = 3.0}, {
    -8, 0, 0, -8, 0, 0, 1, 0, 0, -8, 1, 0, -8, 1, 0, 1, 1, 0, 1, 1, 1, 1, -8, 1, 1, 1, 0, 0, 1, -8, 0, 1, 1, 0, 1, 0
  }},
  custom_kernel = {{f = function(x, y) return x*y + 1 end, kernel_size = 3.0, threshold = 0.2}, {
    1.25, 0, 0, 0.75, 0, 0, 0, 0, 0, 0.75, 0, 0, 1.25, 1.12, 0, 0, 0, 0, 0, 1.22, 1, 0, 1.02, 0, 0, 0.82, 0, 0, 0, 1, 0,
    0.92, 1, 0, 1.72, 0
  }},
}

t.test("kernels of the plane give the reference's weights", function()
  local pre = {}
  for x = 0, 3 do
    for y = 0, 2 do pre[#pre + 1] = {x + 0.0, y + 0.0} end
  end
  pre = bdl.tensor(pre)
  local post = bdl.tensor{{0.5, 0.5}, {2.2, 1.1}, {3.0, 0.0}}
  for name, case in pairs(KERNELS) do
    local A = conn[name](pre, post, case[1])
    t.close(A:todense():reshape(-1), case[2], 1e-5, 1e-6, name)
    local stored = 0
    for _, w in ipairs(case[2]) do stored = stored + (w ~= 0 and 1 or 0) end
    t.eq(A.nnz, stored, name .. " stores what is not 0")
  end
  local A = conn.gaussian_kernel(pre*u.mm, post*u.mm, {sigma = 600*u.um, weight = 2*u.mS, delay = 1*u.ms, normalize = false})
  local B = conn.gaussian_kernel(pre, post, {sigma = 0.6, normalize = false})
  t.close(A:todense() / u.mS, 2 * B:todense(), 1e-5, 1e-6)
  t.close(A.delay / u.ms, 1)
  t.close(conn.laplacian_kernel(pre, pre, {kernel_size = 3.0, self_connections = false}):todense():max():item(), 1)
  t.eq(conn.laplacian_kernel(pre, pre, {kernel_size = 3.0, self_connections = false}):todense():min():item(), 0)
  t.raises("TypeError", "argument 'sigma' is missing", conn.gaussian_kernel, pre, post, {})
  t.raises("ValueError", "sigma is %-1", conn.gaussian_kernel, pre, post, {sigma = -1})
  t.raises("UnitMismatchError", "sigma", conn.mexican_hat, pre*u.mm, post*u.mm, {sigma = 1.0})
  t.raises("ShapeError", "kernels are of the plane", conn.gaussian_kernel, bdl.ones(3), bdl.ones(3), {sigma = 1})
  t.raises("ValueError", "direction is one of 'horizontal', 'vertical', not 'up'", conn.sobel_kernel, pre, post, {kernel_size = 1, direction = "up"})
  t.raises("TypeError", "kernel is a matrix", conn.conv2d_kernel, pre, post, {kernel_size = 1})
  t.raises("TypeError", "f is a function", conn.custom_kernel, pre, post, {kernel_size = 1})
  t.raises("TypeError", "frequency is a number", conn.gabor_kernel, pre, post, {sigma = 1})
  t.raises("TypeError", "no argument 'sigm'", conn.gaussian_kernel, pre, post, {sigm = 1})
end)

t.test("rings, grids and modules", function()
  t.eq(conn.ring(5, 1):todense(), {{0, 1, 0, 0, 1}, {1, 0, 1, 0, 0}, {0, 1, 0, 1, 0}, {0, 0, 1, 0, 1}, {1, 0, 0, 1, 0}})
  t.eq(conn.ring(5, 2, {bidirectional = false, weight = 3}):todense()[1], {0, 3, 3, 0, 0})
  t.eq(conn.ring(9, 4).nnz, 72)
  t.eq(conn.grid2d{2, 3}:todense(), {{0, 1, 0, 1, 0, 0}, {1, 0, 1, 0, 1, 0}, {0, 1, 0, 0, 0, 1}, {1, 0, 0, 0, 1, 0}, {0, 1, 0, 1, 0, 1},
                                     {0, 0, 1, 0, 1, 0}})
  t.eq(conn.grid2d({4, 5}, {connectivity = "moore", periodic = true}).nnz, 160)
  t.eq(conn.grid2d({3, 3}, {connectivity = "moore"}):todense():sum{axis = 2}, {3, 5, 3, 5, 8, 5, 3, 5, 3})
  t.eq(conn.grid2d({1, 2}, {periodic = true}).nnz, 2)
  local A = conn.modular(100, 3, {intra_prob = 1.0, inter_prob = 0.0, self_connections = false, weight = 2*u.mS, delay = 1*u.ms})
  t.eq(A.nnz, 34*33 + 33*32*2)
  t.close(A:todense():sum() / u.mS, 2 * A.nnz)
  local B = conn.modular(200, 4, {seed = 1})
  t.eq(B.indices, conn.modular(200, 4, {seed = 1}).indices)
  local inside = B:todense()[{{1, 50}, {1, 50}}]:mean():item()
  local between = B:todense()[{{1, 50}, {51, 200}}]:mean():item()
  t.ok(math.abs(inside - 0.3) < 0.04 and math.abs(between - 0.01) < 0.008, inside .. " " .. between)
  t.raises("ValueError", "3 neighbours to a side of a ring of 6; at most 2", conn.ring, 6, 3)
  t.raises("TypeError", "bidirectional is true or false", conn.ring, 6, 1, {bidirectional = 1})
  t.raises("ValueError", "connectivity is 'von_neumann' or 'moore'", conn.grid2d, {2, 2}, {connectivity = "hex"})
  t.raises("TypeError", "size = {rows, columns}", conn.grid2d, 4)
  t.raises("ValueError", "5 modules of 4 neurons", conn.modular, 4, 5)
  t.raises("ValueError", "a probability is from 0 to 1, not 2", conn.modular, 4, 2, {intra_prob = 2})
  t.raises("ValueError", "the pairs are given", conn.ring, 6, 1, {self_connections = false})
end)

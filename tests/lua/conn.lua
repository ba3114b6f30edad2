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

t.test("bad arguments name what is wrong", function()
  t.raises("ValueError", "from 0 to 1", conn.fixed_prob, 3, 3, 1.5)
  t.raises("ValueError", "from 0 to 1", conn.fixed_prob, 3, 3, 0 / 0)
  t.raises("ValueError", "pre is %-1", conn.fixed_prob, -1, 3, 0.5)
  t.raises("TypeError", "whole number", conn.fixed_num_post, 3, 3, 1.5)
  t.raises("TypeError", "did you mean 'weight'", conn.fixed_prob, 3, 3, 0.5, {wight = 1})
  t.raises("ValueError", "same neurons", conn.fixed_prob, 3, 4, 0.5, {self_connections = false})
  t.raises("KeyError", "did you mean 'fixed_prob'", function() return conn.fixed_probe end)
end)

-- Indexing: typed numbers are positions from 1, tensors hold data from 0.  Eager and compiled.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local u = bdl.units

local X = bdl.arange(12):reshape(3, 4)           -- rows 0..3, 4..7, 8..11
local ROWS = X:totable()

local function both(f, ...)
  local eager, compiled = f(...), bdl.jit(f)(...)
  t.eq(compiled, eager, "compiled")
  t.eq(compiled.shape, eager.shape)
  return eager
end

t.test("a number is a position, from the end when negative", function()
  t.eq(both(function(x) return x[1] end, X), ROWS[1])
  t.eq(both(function(x) return x[-1] end, X), ROWS[3])
  t.eq(both(function(x) return x[{2, 3}] end, X), 6)
  t.eq(X[2][3], 6)
  t.eq(#X, 3)
end)

t.test("zero and what is out of range are errors, compiled ones too", function()
  local text = "index 0: positions start at 1 in bdl %(Python's index 0 is index 1%)"
  t.raises("IndexError", text, function() return X[0] end)
  t.raises("IndexError", text, function() return X[{1, {0, 2}}] end)
  t.raises("IndexError", text, bdl.jit(function(x) return x[0] end), X)
  t.raises("IndexError", "index 4 is out of range for axis 1 of int32%[3,4%]", function() return X[4] end)
  t.raises("IndexError", "index %-5 is out of range for axis 2", function() return X[{1, -5}] end)
  local three = bdl.tensor(3)
  t.raises("IndexError", "3 is out of range", function() return X[three] end)
  t.raises("IndexError", "3 is out of range", bdl.jit(function(x, i) return x[i] end), X, three)
  t.raises("IndexError", "%-1 is out of range", bdl.jit(function(x, i) return x[i] end), X, bdl.tensor{-1, 0})
  t.raises("IndexError", "out of range", bdl.jit(function(x, i) return x[{i, i}] end), X, bdl.tensor{0, 3})
  t.raises("IndexError", "out of range", bdl.jit(function(x, i) return x:set(i, 1) end), X, three)
  t.raises("IndexError", "3 indices for int32%[3,4%], which has 2 axes", function() return X[{1, 1, 1}] end)
  t.raises("TypeError", "indices are integers or booleans, not float32", function() return X[bdl.tensor{1.0}] end)
  t.raises("TypeError", "a position is an integer, not 1.5", function() return X[1.5] end)
  t.raises("TypeError", "range is x%[{{first, last}}%]", function() return X[{first = 1}] end)
end)

t.test("the error stands at the line of the model", function()
  local ok, e = pcall(function()
    local y = X[9]
    return y
  end)
  t.ok(not ok)
  t.ok(e.file:find "index.lua", e.file)
  t.eq(e.line, debug.getinfo(1, "l").currentline - 5)
end)

t.test("ranges hold both ends, are cut to the axis, and may step back", function()
  local v = bdl.arange(6)
  for _, case in ipairs{
    {{2, 4}, {1, 2, 3}}, {{3}, {2, 3, 4, 5}}, {{-2, -1}, {4, 5}}, {{1, 100}, {0, 1, 2, 3, 4, 5}}, {{-100, 2}, {0, 1}},
    {{4, 3}, {}}, {{1, 6, 2}, {0, 2, 4}}, {{2, 6, 3}, {1, 4}}, {{-1, 1, -1}, {5, 4, 3, 2, 1, 0}}, {{5, 2, -2}, {4, 2}},
    {{2, 4, -1}, {}}, {{}, {0, 1, 2, 3, 4, 5}}, {{last = 2}, {0, 1}}, {{first = 5}, {4, 5}}, {{bdl.none, 2}, {0, 1}},
    {{7, 9}, {}},
  } do
    t.eq(both(function(x) return x[{case[1]}] end, v), case[2])
  end
  t.eq(X[{{2, 3}, {1, 2}}], {{4, 5}, {8, 9}})
  t.eq(X[{{}, 1}], {0, 4, 8})
  t.raises("ValueError", "step of a range is an integer other than 0", function() return v[{{1, 2, 0}}] end)
  t.raises("IndexError", "a list of indices is bdl.tensor", function() return v[{{1, 2, 3, 4}}] end)
end)

t.test("bdl.none adds an axis, bdl.rest stands for those left out", function()
  t.eq(X[{bdl.none}].shape[1], 1)
  t.eq(tostring(X[{{}, bdl.none}].shape), "{3, 1, 4}")
  t.eq(tostring(X[{1, bdl.none, bdl.none}].shape), "{1, 1, 4}")
  t.eq(X[{bdl.rest, 1}], {0, 4, 8})
  t.eq(X[{1, bdl.rest}], ROWS[1])
  t.eq(X[{}], X)
end)

t.test("tensors gather from 0", function()
  local i = bdl.tensor{2, 0}
  t.eq(both(function(x, k) return x[k] end, X, i), {ROWS[3], ROWS[1]})
  t.eq(both(function(x, k) return x[{{}, k}] end, X, i), {{2, 0}, {6, 4}, {10, 8}})
  t.eq(both(function(x, k) return x[{k, 1}] end, X, i), {8, 0})
  t.eq(both(function(x, k) return x[{{2, 3}, k}] end, X, i), {{6, 4}, {10, 8}})
  t.eq(X[bdl.tensor(1)], ROWS[2])
  t.eq(X[X[{{}, 1}]:argmax()], ROWS[3])
  t.eq(tostring(X[bdl.zeros({2, 5}, {dtype = "int32"})].shape), "{2, 5, 4}")
  t.eq(X[bdl.tensor({1}, {dtype = "uint32"})], {ROWS[2]})
end)

t.test("several tensors broadcast together", function()
  local i, j = bdl.tensor{0, 1, 2}, bdl.tensor{3, 2, 1}
  t.eq(both(function(x, a, b) return x[{a, b}] end, X, i, j), {3, 6, 9})
  t.eq(X[{i[{{}, bdl.none}], j}], {{3, 2, 1}, {7, 6, 5}, {11, 10, 9}})
  local z = bdl.arange(24):reshape(2, 3, 4)
  t.eq(tostring(z[{{}, i, j}].shape), "{2, 3}")
  t.eq(z[{{}, i, j}], {{3, 6, 9}, {15, 18, 21}})
  local apart = z[{bdl.tensor{0, 1}, {}, bdl.tensor{1, 2}}] -- not neighbours: in front
  t.eq(apart, {{1, 5, 9}, {14, 18, 22}})
end)

t.test("masks select", function()
  t.eq(X[X:gt(8)], {9, 10, 11})
  t.eq(X[bdl.tensor{true, false, true}], {ROWS[1], ROWS[3]})
  t.eq(X[{{}, bdl.tensor{false, true, true, false}}], {{1, 2}, {5, 6}, {9, 10}})
  t.raises("IndexError", "mask bool%[2%] does not fit", function() return X[bdl.tensor{true, false}] end)
  t.raises("TraceContextError", "has no value yet", bdl.jit(function(x) return x[x:gt(8)] end), X)
end)

t.test("units stay with the elements", function()
  local q = X * u.mV
  t.eq(tostring(q[{1, 2}]), "1 mV")
  t.eq(tostring(q[bdl.tensor{1}][{1, {1, 2}}]), "[4 5] mV")
end)

-- ---- writing ---------------------------------------------------------------------------------------------------------

--- X as lists with f(row, column, value) for each element.
local function changed(f)
  local z = {}
  for i = 1, 3 do
    z[i] = {}
    for j = 1, 4 do z[i][j] = f(i, j, ROWS[i][j]) end
  end
  return z
end

t.test("set writes elements, rows, ranges, gathers and masks", function()
  t.eq(both(function(x) return x:set({2, 3}, -1) end, X), changed(function(i, j, v) return i == 2 and j == 3 and -1 or v end))
  t.eq(both(function(x) return x:set(1, 7) end, X), changed(function(i, _, v) return i == 1 and 7 or v end))
  t.eq(X:set({{}, -1}, bdl.tensor{1, 2, 3}), changed(function(i, j, v) return j == 4 and i or v end))
  t.eq(X:set({{2, 3}, {1, 2}}, {{1, 2}, {3, 4}})[3], {3, 4, 10, 11})
  t.eq(both(function(x) return x:set({{}, {1, 4, 2}}, 0) end, X), changed(function(_, j, v) return j % 2 == 1 and 0 or v end))
  t.eq(X:set({1, {-1, 1, -1}}, bdl.arange(4))[1], {3, 2, 1, 0})
  t.eq(both(function(x, k) return x:set(k, 5) end, X, bdl.tensor{0, 2}),
       changed(function(i, _, v) return i ~= 2 and 5 or v end))
  t.eq(both(function(x, k) return x:set(k, 5) end, X, bdl.tensor(1)), changed(function(i, _, v) return i == 2 and 5 or v end))
  t.eq(both(function(x, k) return x:set({{}, k}, 5) end, X, bdl.tensor(1)),
       changed(function(_, j, v) return j == 2 and 5 or v end))
  t.eq(both(function(x, k) return x:set({k, k}, 0) end, X, bdl.tensor{0, 1, 2}),
       changed(function(i, j, v) return i == j and 0 or v end))
  t.eq(both(function(x, k) return x:set({k, 2}, 0) end, X, bdl.tensor{0, 2}),
       changed(function(i, j, v) return j == 2 and i ~= 2 and 0 or v end))
  t.eq(both(function(x) return x:set(x:gt(5), 0) end, X), changed(function(_, _, v) return v > 5 and 0 or v end))
  t.eq(X:set(bdl.tensor{false, true, false}, 1)[2], {1, 1, 1, 1})
  t.eq(X:set(X:gt(9), bdl.tensor{-1, -2})[3], {8, 9, -1, -2})
  t.eq(X[2], ROWS[2])
end)

t.test("add_at and its kin act on what is there; repeated indices all count", function()
  t.eq(both(function(x, k) return x:add_at(k, 1) end, bdl.zeros(3), bdl.tensor{0, 0, 2}), {2, 0, 1})
  t.eq(both(function(x) return x:add_at({1, {1, 2}}, 10) end, X)[1], {10, 11, 2, 3})
  t.eq(X:add_at({{1, 3, 2}, 1}, 1)[{{}, 1}], {1, 4, 9})
  t.eq(X:mul_at(2, 10)[2], {40, 50, 60, 70})
  t.eq(X:max_at(1, 2)[1], {2, 2, 2, 3})
  t.eq(X:min_at(bdl.tensor{0}, 1)[1], {0, 1, 1, 1})
  t.eq(X:add_at(X:lt(2), 100)[1], {100, 101, 2, 3})
end)

t.test("what is written keeps dtype and unit", function()
  t.raises("TypeError", "float32%[%] does not go into int32%[3,4%]", X.set, X, 1, bdl.tensor(0.5))
  t.raises("TypeError", "the number 1.5 does not go into", X.set, X, 1, 1.5)
  t.eq(bdl.zeros(2):set(1, 3).dtype, "float32")
  local q = bdl.zeros(2) * u.mV
  t.eq(tostring(q:set(1, 1 * u.volt)), "[1000.    0.] mV")
  t.eq(tostring((bdl.ones(2) * u.mV):set(1, 0)), "[0. 1.] mV")
  t.eq(tostring(q:add_at(bdl.tensor{1}, 2 * u.mV)), "[0. 2.] mV")
  t.raises("UnitMismatchError", nil, q.set, q, 1, 1 * u.ms)
  t.raises("UnitMismatchError", nil, q.set, q, 1, 1)
  t.raises("ShapeError", "int32%[3%] does not broadcast to the shape {4}", X.set, X, 1, bdl.tensor{1, 2, 3})
end)

-- ---- along an axis, positions ----------------------------------------------------------------------------------------

t.test("take: typed lists are positions, tensors data", function()
  t.eq(X:take({1, -1}, {axis = 1}), {ROWS[1], ROWS[3]})
  t.eq(X:take(bdl.tensor{0, 2}, {axis = 1}), {ROWS[1], ROWS[3]})
  t.eq(X:take(bdl.tensor{5, 0}), {5, 0})
  t.eq(X:take(2, {axis = 2}), {1, 5, 9})
  t.raises("TypeError", "a position is an integer, not 1.5", X.take, X, 1.5)
  t.eq(both(function(x, k) return x:take_along_axis(k, {axis = 2}) end, X, bdl.tensor{{3}, {0}, {1}}), {{3}, {4}, {9}})
  t.eq(X:put_along_axis(bdl.tensor{{3}, {0}, {1}}, -1, {axis = 2}):min{axis = 2}, {-1, -1, -1})
  t.eq(bdl.put(X, bdl.tensor{0, 11}, {5, 6})[{3, 4}]:item(), 6)
end)

t.test("nonzero gives one tensor an axis", function()
  local i, j = bdl.nonzero(X:gt(8))
  t.eq({i:totable(), j:totable()}, {{2, 2, 2}, {1, 2, 3}})
  t.eq(bdl.argwhere(X:eq(6)), {{1, 2}})
  t.eq(bdl.flatnonzero{0, 3, 0, 1}, {1, 3})
  t.eq(bdl.nonzero(bdl.zeros(4)).size, 0)
  local a, b = bdl.unravel_index(bdl.tensor{5, 11}, {3, 4})
  t.eq({a:totable(), b:totable()}, {{1, 2}, {1, 3}})
  t.eq(bdl.ravel_multi_index({a, b}, {3, 4}), {5, 11})
end)

t.test("unique", function()
  local values, first, inverse, counts = bdl.unique({3, 1, 3, 2},
                                                    {return_index = true, return_inverse = true, return_counts = true})
  t.eq({values:totable(), first:totable(), inverse:totable(), counts:totable()},
       {{1, 2, 3}, {1, 3, 0}, {2, 0, 2, 1}, {1, 1, 2}})
  t.eq(bdl.unique(bdl.zeros(0)).size, 0)
end)

t.test("an index made while a loop is traced reads the right row", function()
  t.eq(bdl.for_loop(function(i) return X[i]:sum() end, bdl.arange(3)), {6, 22, 38})
end)

-- Products with events and connections: against dense products, units, gradients in compiled code, bad matrices.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local core = require "bdl.core"
local event, u = bdl.event, bdl.units

local function list(x) return core.totable(x) end

local function example()
  return event.CSR{core.tensor{1.0, 2.0, 3.0, 4.0}, core.tensor{0, 2, 1, 0}, core.tensor{0, 2, 2, 3, 4}, shape = {4, 3}}
end

t.test("a CSR product is the dense product", function()
  local A = example()
  t.eq(list(A:todense()), {{1.0, 0.0, 2.0}, {0.0, 0.0, 0.0}, {0.0, 3.0, 0.0}, {4.0, 0.0, 0.0}})
  t.eq(list(event.BinaryArray(core.tensor{true, true, false, true}):matmul(A)), {5.0, 0.0, 2.0})
  t.eq(list(event.BinaryArray(core.tensor{0.3, -1.0, 0.0, 7.0}):matmul(A)), {5.0, 0.0, 2.0})
  t.eq(list(A:rmatmul(core.tensor{1.0, 1.0, 2.0, 0.5})), {3.0, 6.0, 2.0})
  t.eq(list(A:matmul(core.tensor{1.0, 2.0, 3.0})), {7.0, 0.0, 6.0, 4.0})
  t.eq(list(A:matmul(event.BinaryArray(core.tensor{1.0, 0.0, 2.0}))), {3.0, 0.0, 0.0, 4.0})
  t.eq(list(core.tensor{1.0, 1.0, 2.0, 0.5}:matmul(A)), {3.0, 6.0, 2.0})
  t.eq(list(event.matmul(A, core.tensor{1.0, 2.0, 3.0})), {7.0, 0.0, 6.0, 4.0})
end)

t.test("batches of events", function()
  local s = core.tensor{{true, false, false, false}, {false, false, true, true}}
  t.eq(list(event.BinaryArray(s):matmul(example())), {{1.0, 0.0, 2.0}, {4.0, 3.0, 0.0}})
end)

t.test("transposes share their arrays", function()
  local A = example()
  local T = A:transpose()
  t.eq(bdl.typename(T), "CSC")
  t.eq({table.unpack(T.shape)}, {3, 4})
  t.eq(list(T:matmul(core.tensor{1.0, 1.0, 2.0, 0.5})), {3.0, 6.0, 2.0})
  t.eq(bdl.typename(T:transpose()), "CSR")
  local C = event.CSC(core.tensor{1.0, 2.0}, core.tensor{1, 0}, core.tensor{0, 1, 2}, {2, 2})
  t.eq(list(C:todense()), {{0.0, 2.0}, {1.0, 0.0}})
end)

t.test("the unit of a product is the product of units", function()
  local A = example():with_data(core.tensor{1.0, 2.0, 3.0, 4.0} * u.nS)
  t.eq(tostring(event.BinaryArray(core.tensor{true, false, false, false}):matmul(A).unit), "nS")
  t.eq(tostring(A:rmatmul(core.tensor{1.0, 0.0, 0.0, 0.0} * u.mV).unit), "pA")
  t.raises("TypeError", "no unit", event.BinaryArray, core.tensor{1.0} * u.mV)
end)

t.test("fixed numbers of connections need no pointers", function()
  local A = event.FixedPostNumConn{0.5, core.tensor{{0, 2}, {1, 1}}, shape = {2, 3}}
  t.eq(list(A:todense()), {{0.5, 0.0, 0.5}, {0.0, 1.0, 0.0}})
  local B = event.FixedPreNumConn{core.tensor{{1.0, 2.0}, {3.0, 4.0}}, core.tensor{{0, 2}, {1, 2}}, shape = {3, 2}}
  t.eq(list(B:todense()), {{1.0, 0.0}, {0.0, 3.0}, {2.0, 4.0}})
  t.eq(bdl.typename(B:transpose()), "FixedPostNumConn")
  t.eq(list(B:with_data(core.tensor{{2.0, 4.0}, {6.0, 8.0}}):todense()), {{2.0, 0.0}, {0.0, 6.0}, {4.0, 8.0}})
end)

t.test("procedural matrices are the same at each product and by rows or columns", function()
  local A = event.JITCNormalR{1.0, 0.5, 0.3, 7, shape = {12, 9}}
  local W = A:todense()
  local s, x = core.tensor{true, false, true, true, false, false, true, false, true, false, true, true}, core.tensor{1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0}
  t.close(event.BinaryArray(s):matmul(A), event.BinaryArray(s):matmul(W), 1e-5, 1e-5)
  t.close(A:matmul(x), W:matmul(x), 1e-5, 1e-5)
  t.eq(list(event.JITCScalarC{2.0, 0.4, 3, shape = {5, 6}}:todense()),
       list(bdl.transpose(event.JITCScalarR{2.0, 0.4, 3, shape = {6, 5}}:todense())))
  for _, row in ipairs(list(event.JITCUniformR{1.0, 2.0, 1.0, 3, shape = {4, 5}}:todense())) do
    for _, w in ipairs(row) do t.ok(w >= 1 and w < 2) end
  end
  t.eq(tostring(event.JITCScalarR{2.0 * u.nS, 0.4, 3, shape = {5, 6}}:rmatmul(core.tensor{1.0, 1.0, 1.0, 1.0, 1.0}).unit), "nS")
end)

t.test("products inside compiled functions, with weights of a State", function()
  local A, w = example(), bdl.ParamState(core.tensor{1.0, 2.0, 3.0, 4.0})
  local f = bdl.jit(function(s) return event.BinaryArray(s):matmul(A:with_data(w.value)) end)
  t.eq(list(f(core.tensor{true, true, true, false})), {1.0, 3.0, 2.0})
  w.value = w.value * 2
  t.eq(list(f(core.tensor{true, true, true, false})), {2.0, 6.0, 4.0})
end)

t.test("wrong matrices are refused when they are made", function()
  local data, indices, indptr, shape = core.tensor{1.0, 2.0}, core.tensor{0, 1}, core.tensor{0, 1, 2}, {2, 2}
  t.raises("IndexError", "count from 0 to 1", event.CSR, data, core.tensor{0, 2}, indptr, shape)
  t.raises("IndexError", nil, event.CSR, data, core.tensor{-1, 1}, indptr, shape)
  t.raises("ShapeError", "need 3 integers", event.CSR, data, indices, core.tensor{0, 2}, shape)
  t.raises("ValueError", "must run from 0 to 2", event.CSR, data, indices, core.tensor{0, 1, 3}, shape)
  t.raises("ValueError", "must not decrease", event.CSR, data, indices, core.tensor{0, 3, 2}, shape)
  t.raises("ShapeError", "2 weights", event.CSR, core.tensor{1.0, 2.0, 3.0}, indices, indptr, shape)
  t.raises("TypeError", "integers", event.CSR, data, core.tensor{0.0, 1.0}, indptr, shape)
  t.raises("ValueError", "extent", event.CSR, data, indices, indptr, {2, -2})
  t.raises("ValueError", "probability", event.JITCScalarR, {1.0, 1.5, 0, shape = {2, 2}})
  t.raises("ShapeError", nil, function() return example():rmatmul(core.tensor{1.0, 2.0}) end)
  t.raises("KeyError", "did you mean 'CSR'", function() return event.CSRR end)
end)

t.test("entries of dense matrices", function()
  local A = event.CSR.fromdense(core.tensor{{0.0, 1.5}, {0.0, 0.0}, {2.5, 3.5}} * u.mS)
  t.eq(list(A.indptr), {0, 1, 1, 3})
  t.eq(list(A.indices), {1, 0, 1})
  t.eq(tostring(A.data.unit), "mS")
  t.eq(event.CSR.fromdense(core.tensor{{0.0, 0.0}}).nnz, 0)
end)

t.test("spikes 32 a word along any axis, and back; lists of the active", function()
  bdl.random.seed(5)
  local s = bdl.random.rand(3, 70):lt(0.4)
  for axis, words in pairs{[1] = {1, 70}, [2] = {3, 3}} do
    local packed = event.bitpack(s, axis)
    t.eq({table.unpack(packed.shape)}, words)
    t.eq(packed.dtype, "uint32")
    t.eq(event.bitunpack(packed, s.shape[axis], axis), s)
  end
  local first = s[1]:totable()
  local word = 0
  for k = 0, 31 do word = word | (first[k + 1] and 1 << k or 0) end
  t.eq(event.bitpack(s, -1)[1][1]:item(), word)
  t.eq(event.bitpack(bdl.tensor{0.5, 0.0, -1.0, 2.0}), {9})
  t.eq(event.bitpack(bdl.zeros(0)):totable(), {})
  t.eq(bdl.jit(function(x) return event.bitunpack(event.bitpack(x), 70) end)(s[1]), s[1])
  local A = event.CSR.fromdense(bdl.random.rand(70, 4))
  local b, c = event.BitPackedBinary(s[1]), event.CompactBinary(s[1])
  t.eq(b.packed[1], event.bitpack(s[1]))
  t.close(b:matmul(A), event.BinaryArray(s[1]):matmul(A))
  t.close(event.matmul(c, A), event.BinaryArray(s[1]):matmul(A))
  local ids = {}
  for i, active in ipairs(first) do ids[#ids + 1] = active and i - 1 or nil end
  t.eq(c.n_active:item(), #ids)
  t.eq(c.active_ids[{{1, #ids}}], ids)
  local rows = event.CompactBinary.from_array(bdl.tensor{{0.0, 0.0}, {0.0, 1.0}, {1.0, 1.0}})
  t.eq({rows.n_active:item(), rows.active_ids[1]:item(), rows.active_ids[2]:item()}, {2, 1, 2})
  t.eq(rows.packed, {{0}, {2}, {3}})
  t.raises("TypeError", "words of bitpack are uint32, not float32", event.bitunpack, bdl.ones(2), 3)
  t.raises("ShapeError", "2 words hold at most 64 entries, not 65", event.bitunpack, bdl.zeros({2}, {dtype = "uint32"}), 65)
  t.raises("ShapeError", "not of 3 axes", event.CompactBinary, bdl.zeros(2, 2, 2))
  t.raises("TypeError", "BitPackedBinary: events have no unit", event.BitPackedBinary, bdl.ones(2)*u.mV)
end)

t.test("logic of spikes, of booleans and of floats", function()
  local x, y = bdl.tensor{0.0, 0.0, 1.0, 1.0}, bdl.tensor{0.0, 1.0, 0.0, 1.0}
  for op, want in pairs{["or"] = {0, 1, 1, 1}, ["and"] = {0, 0, 0, 1}, iand = {0, 1, 0, 0}, xor = {0, 1, 1, 0}, ixor = {0, 1, 1, 0}} do
    t.eq(event.spike_bitwise(x, y, op), want, op)
    t.eq(event["spike_bitwise_" .. op](x:gt(0), y), want, op)
    local logical = event.spike_bitwise(x:gt(0), y:gt(0), op)
    t.eq(logical.dtype, "bool")
    t.eq(logical:astype "float32", want, op)
    t.eq(bdl.nn.SpikeBitwise(op)(x, y), want, op)
  end
  t.eq(bdl.nn.SpikeBitwise()(x:gt(0), y:gt(0)), {0, 1, 1, 2})
  t.eq(event.spike_bitwise_not(x), {1, 1, 0, 0})
  t.eq(event.spike_bitwise_not(x:gt(0)), {true, true, false, false})
  t.close(bdl.grad(function(a) return event.spike_bitwise_or(a, y):sum() end)(x), {1, 0, 1, 0})
  t.raises("ValueError", "one of 'add', 'and'", event.spike_bitwise, x, y, "nand")
end)

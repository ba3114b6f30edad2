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

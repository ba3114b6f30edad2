--- Traceable operations: what they compute, their derivatives, units, errors; parameters and operations of users.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local online, u, random = bdl.online, bdl.units, bdl.random

local function double(f) return function() return bdl.environ.context({precision = 64}, f) end end
local function test(name, f) t.test(name, double(f)) end

local function csr(m, n)
  local dense = bdl.where(random.rand(m, n):lt(0.6), random.randn(m, n), 0.0)
  local data, indices, indptr = {}, {}, {0}
  for _, row in ipairs(dense:totable()) do
    for j, w in ipairs(row) do
      if w ~= 0 then data[#data + 1], indices[#indices + 1] = w, j - 1 end
    end
    indptr[#indptr + 1] = #indices
  end
  return bdl.event.CSR(bdl.tensor(data), bdl.tensor(indices, {dtype = "int32"}), bdl.tensor(indptr, {dtype = "int32"}), {m, n}), dense
end

--- name -> {operation of (x, w), the same without traces, x, w}
local function cases()
  local A = csr(4, 3)
  return {
    matmul = {function(x, w) return online.matmul(x, w) end, function(x, w) return x:matmul(w) end, random.randn(4), random.randn(4, 3)},
    batched = {function(x, w) return online.matmul(x, w, {weight_fn = bdl.tanh}) end, function(x, w) return x:matmul(bdl.tanh(w)) end,
               random.randn(5, 4), random.randn(4, 3)},
    deep = {function(x, w) return online.matmul(x, w) end, function(x, w) return x:matmul(w) end, random.randn(2, 5, 4), random.randn(4, 3)},
    grouped = {function(x, w) return online.grouped_matmul(x, w) end, function(x, w) return bdl.einsum("bgi,gij->bgj", x, w) end,
               random.randn(5, 2, 4), random.randn(2, 4, 3)},
    einsum = {function(x, w) return online.einsum("btk,kn->btn", x, w) end, function(x, w) return x:matmul(w) end,
              random.randn(2, 5, 4), random.randn(4, 3)},
    element_wise = {function(x, w) return x * online.element_wise(w, {weight_fn = bdl.exp}) end, function(x, w) return x * bdl.exp(w) end,
                    random.randn(4), random.randn(4)},
    conv = {function(x, w) return online.conv(x, w, {strides = 2, padding = "VALID"}) end,
            function(x, w)
              local layer = bdl.nn.Conv1d{{7, 2}, 3, 3, stride = 2, padding = "VALID", w_init = bdl.init.ZeroInit()}
              layer.weight.value = {weight = w}
              return layer(x)
            end, random.randn(2, 7, 2), random.randn(3, 2, 3)},
    unbatched_conv = {function(x, w) return online.conv(x, w) end, function(x, w) return online.conv(x:expand_dims(1), w)[1] end,
                      random.randn(7, 2), random.randn(3, 2, 3)},
    sparse = {function(x, w) return online.sparse_matmul(x, w, {sparse_mat = A}) end,
              function(x, w) return x:matmul(A:with_data(w):todense()) end, random.randn(5, 4), random.randn(#A.data)},
    lora = {function(x, w) return online.lora_matmul(x, w, 2 * w:transpose(), {alpha = 0.7}) end,
            function(x, w) return 1.4 * x:matmul(w):matmul(w:transpose()) end, random.randn(4), random.randn(4, 2)},
  }
end

test("operations and their gradients are those of the formula, compiled or not", function()
  for name, case in pairs(cases()) do
    local f, plain, x, w = table.unpack(case)
    t.close(f(x, w), plain(x, w), 1e-12, 1e-12, name)
    t.close(bdl.jit(f)(x, w), plain(x, w), 1e-12, 1e-12, name)
    local function gradient(g)
      return table.unpack(bdl.grad(function(a, b) return bdl.sum(bdl.sin(g(a, b))) end, nil, {argnums = {1, 2}})(x, w))
    end
    local dx, dw = gradient(f)
    local px, pw = gradient(plain)
    t.close(dx, px, 1e-10, 1e-12, name)
    t.close(dw, pw, 1e-10, 1e-12, name)
  end
end)

test("operations map over lanes", function()
  local w, x = random.randn(4, 3), random.randn(5, 4)
  t.close(bdl.vmap(function(z) return online.matmul(z, w) end)(x), x:matmul(w), 1e-12, 1e-12)
  t.close(bdl.vmap(function(z) return online.matmul(x[1], z) end)(bdl.stack{w, 2 * w})[2], 2 * x[1]:matmul(w), 1e-12, 1e-12)
end)

test("embedding gives rows and their gradients count", function()
  local w = random.randn(4, 3)
  local ids = bdl.tensor({2, 0, 2}, {dtype = "int32"})
  t.close(online.embedding(ids, w), w[ids], 0, 0)
  local g = bdl.grad(function(z) return bdl.sum(online.embedding(ids, z)) end, nil, {argnums = 1})(w)
  t.eq(g:totable(), {{1, 1, 1}, {0, 0, 0}, {2, 2, 2}, {0, 0, 0}})
end)

test("a weight may be a State, a bias too, and both have units", function()
  local w = bdl.ParamState(random.randn(4, 3) * u.mS)
  local b = bdl.ParamState(random.randn(3) * u.uA)
  local x = random.randn(4) * u.mV
  local y = online.matmul(x, w, {bias = b})
  t.close(y:to(u.uA).mantissa, (x:matmul(w.value)):to(u.uA).mantissa + b.value.mantissa, 1e-12, 1e-12)
  t.raises("UnitMismatchError", nil, online.matmul, x, w, {bias = random.randn(3) * u.ms})
  local B, A = random.randn(4, 2) * u.mS, random.randn(2, 3)
  t.close(online.lora_matmul(x, B, A, {alpha = 2}):to(u.uA).mantissa, 2 * x:matmul(B):matmul(A):to(u.uA).mantissa, 1e-12, 1e-12)
end)

test("spikes and counts are inputs", function()
  local w = random.randn(4, 3)
  local spikes = bdl.tensor{1, 0, 1, 1}:gt(0)
  t.close(online.matmul(spikes, w), (w[1] + w[3] + w[4]), 1e-12, 1e-12)
  t.close(online.matmul({1, 0, 2, 0}, w), (w[1] + 2 * w[3]), 1e-12, 1e-12)
  local A, dense = csr(4, 3)
  t.close(online.sparse_matmul(spikes, A.data, {sparse_mat = A}), bdl.tensor({1.0, 0, 1, 1}):matmul(dense), 1e-12, 1e-12)
end)

test("what does not fit says which operand and what it should be", function()
  local w, x = random.randn(4, 3), random.randn(4)
  local cases = {
    {"ShapeError", "online.matmul: the last size of the input float64%[5%] must be 4 of the weight float64%[4,3%]", online.matmul, random.randn(5), w},
    {"ShapeError", "online.matmul: the weight is %[in, out%], not float64%[4%]", online.matmul, x, x},
    {"ShapeError", "online.matmul: the bias is %[3%], not float64%[4%]", online.matmul, x, w, {bias = x}},
    {"ShapeError", "weight_fn must keep the shape", online.matmul, x, w, {weight_fn = bdl.sum}},
    {"TypeError", "no argument 'wieght_fn' %(did you mean 'weight_fn'%?%)", online.matmul, x, w, {wieght_fn = bdl.tanh}},
    {"TypeError", "online.matmul: the weight is a tensor of floats, not int64", online.matmul, x, bdl.tensor{{1, 2}}},
    {"TypeError", "online.matmul: the weight is a tensor, not a table", online.matmul, x, bdl.ParamState{weight = w}},
    {"TypeError", "argument 'weight' .* is missing", online.matmul, x},
    {"ShapeError", "must be 2, 4 of the weight", online.grouped_matmul, random.randn(2, 5), random.randn(2, 4, 3)},
    {"ValueError", "'j' of the weight is neither in the input nor in the result", online.einsum, "bi,ij->b", x, w},
    {"ValueError", "'i' stands twice in 'ii'", online.einsum, "ii,ij->j", x, w},
    {"TypeError", "the equation comes first", online.einsum, x, w},
    {"ShapeError", "online.einsum: the input is %[bi%], not float64%[4%]", online.einsum, "bi,ij->bj", x, w},
    {"TypeError", "online.embedding: ids are integers, not float64", online.embedding, x, w},
    {"ShapeError", "online.embedding: the weight is %[n, size..%]", online.embedding, 1, x},
    {"ShapeError", "online.conv: the kernel is %[k.., c_in / groups, c_out%]", online.conv, x, x},
    {"ShapeError", "2 groups of the kernel", online.conv, random.randn(1, 5, 2), random.randn(3, 2, 4), {groups = 2}},
    {"ShapeError", "a window of 9 on an axis of 5", online.conv, random.randn(1, 5, 2), random.randn(9, 2, 4), {padding = "VALID"}},
    {"TypeError", "sparse_mat is a connection, event.CSR%(..%), not a nil", online.sparse_matmul, x, w[1]},
    {"ShapeError", "must be the 5 rows of the connection", online.sparse_matmul, x, w[1], {sparse_mat = (csr(5, 3))}},
    {"ShapeError", "ranks differ", online.lora_matmul, x, w, w},
    {"TypeError", "alpha is a number", online.lora_matmul, x, w, w:transpose(), {alpha = "1"}},
  }
  for _, case in ipairs(cases) do t.raises(table.unpack(case)) end
end)

-- ---- parameters and operations of users ------------------------------------------------------------------------------------------

test("an operation of a user takes a parameter, a State's value or a tree", function()
  local mul = online.ETraceOp(function(x, w) return x:matmul(w.weight) + w.bias end)
  local p = online.ETraceParam{weight = random.randn(4, 3), bias = random.randn(3)}
  local x = random.randn(2, 4)
  local y = x:matmul(p.value.weight) + p.value.bias
  t.close(mul(x, p), y, 1e-12, 1e-12)
  t.close(mul(x, p.value), y, 1e-12, 1e-12)
  local leak = online.ETraceParam(random.rand(3))
  t.close(online.ETraceOp(function(w) return w^2 end)(leak), leak.value^2, 0, 0)
  t.eq(p:is(bdl.ParamState), true)
end)

test("a parameter holds its operation, copies keep it", function()
  local w, x = random.randn(4, 3), random.randn(4)
  local p = online.ETraceParamOp(w, function(a, b) return a:matmul(b) end)
  t.close(p:execute(x), x:matmul(w), 0, 0)
  t.close(p:copy():execute(x), x:matmul(w), 0, 0)
  local q = online.ETraceParam(w)
  t.eq(rawequal(online.ETraceParamOp(q, function(a, b) return a:matmul(b) end), q), true)
  t.close(q:execute(x), x:matmul(w), 0, 0)
  local alone = online.ETraceParam(x, online.ETraceOp(function(a) return 2 * a end), {name = "leak", grad = "full"})
  t.close(alone:execute(), 2 * x, 0, 0)
  t.eq(alone.name, "leak")
  t.eq(alone.grad, "full")
  t.eq(q.grad, "adaptive")
end)

test("misused parameters and operations say how they are used", function()
  local w, x = random.randn(4, 3), random.randn(4)
  local op = online.ETraceOp(function(a, b) return a:matmul(b) end, {name = "mine"})
  t.raises("TypeError", "ETraceOp: a function of x and w is needed, not a number", online.ETraceOp, 3)
  t.raises("TypeError", "ETraceOp 'mine': call it as op%(x, parameter%); there is no parameter", op, x)
  t.raises("TypeError", "the parameter is nil", op, x, nil)
  t.raises("TypeError", "there are 3 arguments", op, x, w, w)
  t.raises("ValueError", "ETraceParam 'w': it has no operation to execute", function() online.ETraceParam(w, {name = "w"}):execute(x) end)
  t.raises("ValueError", "grad is 'adaptive', 'full' or 'approx', not 'half'", online.ETraceParam, w, {grad = "half"})
  t.raises("TypeError", "an operation is needed", online.ETraceParamOp, w)
  t.raises("TypeError", "a value or an ETraceParam is needed, not a ParamState", online.ETraceParamOp, bdl.ParamState(w), op)
  t.raises("ValueError", "has the operation 'mine' already", online.ETraceParamOp, online.ETraceParam(w, op), function() end)
  t.raises("TypeError", "the value is one tensor or quantity", online.ETraceState, {a = x})
  t.raises("KeyError", "bdl.online has no 'matmull' %(did you mean 'matmul'%?%)", function() return online.matmull end)
end)

--- The cases of the area seeds on program augmentation: gradients of a linear model, mapped functions, training.
local bdl = require "bdl"
local nn, u = bdl.nn, bdl.units

local M = {}

local function scalar(v) return {shape = {}, dtype = "f64", data = {v}} end

--- The arrays <tag>.<path>.<leaf> of a case as path -> {leaf = array}.
local function arrays_of(case, tag)
  local paths = {}
  for name, array in pairs(case.arrays) do
    local path, leaf = name:match("^" .. tag .. "%.(.*)%.([^.]+)$")
    if path then
      paths[path] = paths[path] or {}
      paths[path][leaf] = array
    end
  end
  return paths
end

--- got[path][leaf] against every array <tag>.<path>.<leaf>.
local function compare_tree(case, t, tag, got)
  for path, leaves in pairs(arrays_of(case, tag)) do
    for leaf, array in pairs(leaves) do t.compare(("%s.%s.%s"):format(tag, path, leaf), got[path][leaf], array) end
  end
end

local function fill(case, t, tag, states)
  for path, leaves in pairs(arrays_of(case, tag)) do
    local value = {}
    for leaf, array in pairs(leaves) do value[leaf] = t.tensor(array) end
    states[path].value = value
  end
end

local function values(states)
  local out = {}
  for path, s in states:items() do out[path] = s.value end
  return out
end

-- ---- gradients -----------------------------------------------------------------------------------------------------------------

function M.gradients(case, t)
  local p, x, y = case.params, t.array(case, "x"), t.array(case, "y")
  local model = nn.Linear(p.n_in, p.n_out)
  local w = model:states()
  fill(case, t, "w", w)
  local function loss(a, b) return bdl.mean((b - model(a))^2) end
  local function by_output(a, b) return bdl.mean((b - model(a))^2, {axis = 1}) end
  compare_tree(case, t, "grad", bdl.grad(loss, w)(x, y))
  local _, l, aux = bdl.grad(function(a, b) return loss(a, b), model(a) end, w, {return_value = true, has_aux = true})(x, y)
  t.compare("loss", l, scalar(case.scalars.loss))
  t.compare("aux", aux, case.arrays.aux)
  compare_tree(case, t, "jacrev", bdl.jacrev(loss, w)(x, y))
  compare_tree(case, t, "jacfwd", bdl.jacfwd(loss, w)(x, y))
  compare_tree(case, t, "vector_grad", bdl.vector_grad(by_output, w)(x, y))
  compare_tree(case, t, "vec_jacrev", bdl.jacrev(by_output, w)(x, y))
  local h = bdl.hessian(loss, w)(x, y)
  for name, array in pairs(case.arrays) do
    local a, b = name:match "^hessian%.(%w+)%.(%w+)$"
    if a then t.compare(name, h.weight[a].weight[b], array) end
  end
  local by_states, by_arguments = bdl.grad(loss, w, {argnums = {1, 2}})(x, y)
  compare_tree(case, t, "grad_states", by_states)
  t.compare("grad_arg0", by_arguments[1], case.arrays.grad_arg0)
  t.compare("grad_arg1", by_arguments[2], case.arrays.grad_arg1)
  t.compare("grad_argnums_only", bdl.grad(loss, nil, {argnums = 1})(x, y), case.arrays.grad_argnums_only)
  local first = bdl.grad(loss, w)
  for name, f in pairs{composite_grad_of_dict_valued_grad = first, grad_of_vector_loss = by_output} do
    local err = t.raises(name, bdl.grad(f, w), x, y)
    if err then t.eq(name, err.kind, case.structure[name]) end
  end
  local norm = bdl.grad(function(a, b)
    local sum = 0.0
    for _, leaf in ipairs(bdl.tree.leaves(first(a, b))) do sum = sum + (leaf^2):sum() end
    return sum
  end, w)
  for path, g in first(x, y):items() do
    w[path].value = bdl.tree.map(function(old, d) return old - case.scalars.lr * d end, w[path].value, g)
  end
  compare_tree(case, t, "w_after_sgd", values(w))
  t.compare("loss_after_sgd", loss(x, y), scalar(case.scalars.loss_after_sgd))
  compare_tree(case, t, "grad_of_grad_norm2", norm(x, y))
end

function M.accumulate(case, t)
  local x, y = t.array(case, "x"), t.array(case, "y")
  local k, n_in, n_out = x.shape[1], x.shape[3], y.shape[3]
  local net = nn.Linear(n_in, n_out)
  local w = net:states(bdl.ParamState)
  fill(case, t, "w0", w)
  local gradient = bdl.grad(function(a, b) return bdl.mean((net(a):tanh() - b)^2) end, w)
  local total
  for i = 1, k do
    local g = gradient(x[i], y[i])
    compare_tree(case, t, "micro" .. i - 1, g)
    total = total and bdl.tree.map(function(a, b) return a + b end, total, g) or g
  end
  total = bdl.tree.map(function(a) return a / k end, total)
  compare_tree(case, t, "accumulated", total)
  compare_tree(case, t, "full", gradient(x:reshape(-1, n_in), y:reshape(-1, n_out)))
  local opt = bdl.optim.SGD(case.params.lr)
  opt:register_trainable_weights(w)
  opt:update(total)
  compare_tree(case, t, "w1", values(w))
end

-- ---- mapped functions ------------------------------------------------------------------------------------------------------------

local function lif(p, n)
  return nn.LIF{n, R = p.R, tau = p.tau, V_th = p.V_th, V_rest = p.V_rest, V_reset = p.V_reset, spk_reset = p.spk_reset}
end

function M.vmap_lif(case, t)
  local p = t.quantity(case.params)
  local model = lif(p, p.n)
  model:init_state(p.batch)
  local run = bdl.vmap(model, {in_states = model:states()})
  local _ <close> = bdl.environ.context{dt = p.dt}
  local spike, V = bdl.for_loop(function(x) return run(x), model.V.value end, t.array(case, "x"))
  t.compare("spike", spike, case.arrays.spike)
  t.compare("V", V, case.arrays.V)
end

function M.vmap_states(case, t)
  local a, want = case.arrays, case.structure
  local off, k = a.b_all_states.data[2] - 1, #a.b_all_states.data
  local Foo = nn.Module:extend "Foo"
  function Foo:__init()
    self.a = bdl.ParamState(bdl.arange(k) + off)
    self.b = bdl.ShortTermState(bdl.arange(k))
  end
  function Foo:update() self.b.value = self.a.value * self.b.value end

  local function kind(name, f, ...)
    local err = t.raises(name, f, ...)
    return err and err.kind
  end
  local foo = Foo()
  t.eq("in_states_a_only", kind("in_states_a_only", bdl.vmap(foo, {in_states = foo.a})), want.in_states_a_only)
  t.eq("untouched", foo.b.value:totable(), bdl.arange(k):totable())
  bdl.vmap(foo, {in_states = foo.a, out_states = foo.b})()
  t.compare("b_in_a_out_b", foo.b.value, a.b_in_a_out_b)
  foo = Foo()
  bdl.vmap(foo, {in_states = foo:states()})()
  t.compare("b_all_states", foo.b.value, a.b_all_states)
  foo = Foo()
  bdl.vmap(function() return foo.b.value end, {out_states = foo.b, axis_size = 2})() -- no error

  local A, v = t.array(case, "ia_A"), t.array(case, "ia_v")
  local function f(x, y) return x:matmul(y), x:sum(), y * 2 end
  for i, out in ipairs{bdl.vmap(f, {in_axes = {1, 2}, out_axes = {1, 1, 2}})(A, v)} do
    t.compare("ia_out" .. i - 1, out, a["ia_out" .. i - 1])
  end
  local swapped, column = A:transpose(2, 1, 3), v[{{}, 1}]
  for i, out in ipairs{bdl.vmap(f, {in_axes = {2, bdl.none}, out_axes = {2, 1, 1}})(swapped, column)} do
    t.compare("ib_out" .. i - 1, out, a["ib_out" .. i - 1])
  end
  t.eq("mismatched_axis_sizes", kind("mismatched_axis_sizes", bdl.vmap(f, {in_axes = {1, 1}}), A, v), "ValueError")

  local s = bdl.ShortTermState(bdl.zeros(4))
  local rows = A[{{}, 1}]
  t.eq("write", kind("write", bdl.vmap(function(x) s.value = s.value + x end), rows), want.write_batched_to_unlisted_state)
  t.compare("unbatched_write_out", bdl.vmap(function(x)
    s.value = s.value + 1.0
    return x * s.value
  end)(rows), a.unbatched_write_out)
  t.compare("unbatched_write_s", s.value, a.unbatched_write_s)
  local inner = bdl.vmap(function(x, y) return (x * y):sum() end, {in_axes = {1, bdl.none}})
  t.compare("nested", bdl.vmap(inner, {in_axes = {1, bdl.none}})(A, v[{{}, 2}]), a.nested)

  local s3 = bdl.ShortTermState(t.array(case, "axis1_before"))
  local along = bdl.vmap(function(x)
    s3.value = s3.value * x
    return s3.value:sum()
  end, {in_states = {[2] = {s = s3}}, out_states = {[2] = {s = s3}}})
  t.compare("axis1_out", along(bdl.tensor{1.0, 2.0, 3.0}), a.axis1_out)
  t.compare("axis1_after", s3.value, a.axis1_after)

  local w = bdl.ParamState(t.array(case, "vg_w"))
  local function loss(x) return x:matmul(w.value):tanh():sum() end
  t.compare("vmap_of_grad", bdl.vmap(bdl.grad(loss, w))(A), a.vmap_of_grad)
  t.compare("grad_of_vmap", bdl.grad(function(x) return bdl.vmap(loss)(x):sum() end, w)(A), a.grad_of_vmap)
end

function M.batched_linears(case, t)
  local x, y, weight = t.array(case, "x"), t.array(case, "y"), t.array(case, "weight")
  local model = nn.Linear(weight.shape[2], weight.shape[3])
  model.weight = bdl.ParamState{weight = weight, bias = t.array(case, "bias")}
  local by_states = bdl.vmap(model, {in_states = model:states()})
  local by_argument = bdl.vmap(function(m, v) return m(v) end)
  for name, f in pairs{by_states = by_states, by_argument = function(v) return by_argument(model, v) end} do
    t.compare(name, f(x), case.arrays.out)
    compare_tree(case, t, "grad", bdl.grad(function(a, b) return bdl.mean((b - f(a))^2) end, model:states(bdl.ParamState))(x, y))
  end
end

-- ---- training ----------------------------------------------------------------------------------------------------------------------

--- Losses before each step, weights (and gradients, V) after it.
local function train(case, t, net, loss, extra)
  local w = net:states(bdl.ParamState)
  local opt = bdl.optim.Adam(case.params.lr)
  opt:register_trainable_weights(w)
  local step = bdl.jit(function(x, y)
    local grads, l = bdl.grad(loss, w, {return_value = true})(x, y)
    opt:update(grads)
    return l, grads
  end)
  local x, y = t.array(case, "x"), t.array(case, "y")
  local rows = {losses = {}}
  for i = 1, case.arrays.losses.shape[1] do
    local l, grads = step(x, y)
    rows.losses[i] = l
    for path, s in w:items() do
      for leaf, value in pairs(s.value) do
        for name, row in pairs{["w." .. path .. "." .. leaf] = value, ["grad." .. path .. "." .. leaf] = grads[path][leaf]} do
          rows[name] = rows[name] or {}
          rows[name][i] = row
        end
      end
    end
    for name, value in pairs(extra and extra() or {}) do
      rows[name] = rows[name] or {}
      rows[name][i] = value
    end
  end
  for name, list in pairs(rows) do
    if case.arrays[name] then t.compare(name, bdl.stack(list), case.arrays[name]) end
  end
end

function M.train_linear(case, t)
  local first = arrays_of(case, "w0").weight.weight.shape
  local net = nn.Linear(first[1], first[2])
  fill(case, t, "w0", net:states())
  local run = bdl.vmap(function(x) return net(x) end)
  train(case, t, net, function(x, y) return bdl.mean((y - run(x))^2) end)
end

function M.train_lif(case, t)
  local p, x = t.quantity(case.params), t.array(case, "x")
  local Net = nn.Module:extend "Net"
  function Net:__init(n_in, n_out)
    self.i2r = nn.Linear(n_in, n_out)
    self.lif = lif(p, n_out)
  end
  function Net:update(v) return self.lif(self.i2r(v) * u.mA) end
  local net = Net(x.shape[2], case.arrays.y.shape[2])
  fill(case, t, "w0", net:states(bdl.ParamState))
  local axes = bdl.augment.StateAxes{new = 1, [bdl.rest] = bdl.none}
  bdl.vmap(function(lane)
    local _ <close> = bdl.catch_new_states "new"
    nn.init_all_states(net)
    return net
  end, {out_axes = axes})(bdl.arange(x.shape[1]))
  local run = bdl.vmap(function(m, v) return m(v) end, {in_axes = {axes, 1}})
  local _ <close> = bdl.environ.context{dt = p.dt}
  t.compare("first_spike", run(net, x), case.arrays.first_spike)
  t.compare("first_V", net.lif.V.value, case.arrays.first_V)
  train(case, t, net, function(v, y) return bdl.mean((y - run(net, v))^2) end, function() return {V = net.lif.V.value} end)
end

return M

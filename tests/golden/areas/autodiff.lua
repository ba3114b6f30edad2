--- Derivatives through States: elementary functions, reductions, loops, branches, products with vectors, higher orders, units.
local bdl = require "bdl"
local u = bdl.units

--- States w.<name> of the case, by name.
local function parameters(case, t)
  local states = {}
  for name in pairs(case.arrays) do
    local key = name:match "^w%.(.*)$"
    if key then states[key] = bdl.ParamState(t.array(case, name), {name = key}) end
  end
  return states
end

--- Every array <tag>.<name> of the case against got[name].
local function compare_tree(case, t, tag, got)
  for name, array in pairs(case.arrays) do
    local key = name:match("^" .. tag .. "%.(.*)$")
    if key then t.compare(name, got[key], array) end
  end
end

local function compare_hessian(case, t, tag, got)
  for name, array in pairs(case.arrays) do
    local a, b = name:match("^" .. tag .. "_hessian%.([^.]+)%.([^.]+)$")
    if a then t.compare(name, got[a][b], array) end
  end
end

local function scalar(v) return {shape = {}, dtype = "f64", data = {v}} end

-- ---- functions ---------------------------------------------------------------------------------------------------------------

local function positive(v) return v:abs() + 0.3 end

local ELEMENTARY = {
  exp = bdl.exp, log = function(v) return positive(v):log() end, sqrt = function(v) return positive(v):sqrt() end, sin = bdl.sin, cos = bdl.cos,
  tan = function(v) return (0.3*v):tan() end, tanh = bdl.tanh, sigmoid = bdl.functional.sigmoid, relu = bdl.functional.relu, abs = bdl.abs,
  square = bdl.square, cube = function(v) return v^3 end, power = function(v) return positive(v)^1.7 end, power2 = function(v) return 1.3^v end,
  reciprocal = function(v) return 1 / positive(v) end, arctan = bdl.atan, arcsin = function(v) return (0.3 * v:tanh()):asin() end,
  sinh = bdl.sinh, cosh = bdl.cosh, expm1 = bdl.expm1, log1p = function(v) return positive(v):log1p() end, erf = bdl.erf,
  exprel = bdl.exprel, softplus = bdl.functional.softplus,
  minimum = function(v) return bdl.minimum(v, 0.2) end, maximum = function(v) return bdl.maximum(v, -0.1) end,
  clip = function(v) return bdl.clip(v, -0.5, 0.5) end, where = function(v) return bdl.where(v:gt(0.1), v * v, -3 * v) end,
  sign = bdl.sign, floor = bdl.floor, round = bdl.round, heaviside_stop = function(v) return v * bdl.stop_gradient(v) end,
  atan2 = function(v) return bdl.atan2(v, 0.7) end, hypot = function(v) return bdl.hypot(v, 0.4) end, rem = function(v) return v % 0.6 end,
  lgamma = function(v) return bdl.lgamma(positive(v)) end,
}

local function elementary(case, t)
  local w = parameters(case, t).w
  for name, f in pairs(ELEMENTARY) do
    local function loss() return f(w.value):sum() end
    t.compare(name .. ".value", f(w.value), case.arrays[name .. ".value"])
    t.compare(name .. ".grad", bdl.grad(loss, w)(), case.arrays[name .. ".grad"])
    t.compare(name .. ".grad2", bdl.grad(function() return bdl.grad(loss, w)():sum() end, w)(), case.arrays[name .. ".grad2"])
  end
end

local function reductions(case, t)
  local states = parameters(case, t)
  local index = t.array(case, "gather_index")
  local a, b = states.W.value.shape[1], states.W.value.shape[2]
  local function of(f) return function() return f(states.W.value, states.V.value) end end
  local functions = {
    matmul = function(W, V) return W:matmul(V) end, matmul_t = function(W) return W:matmul(W.T) end, sum0 = function(W) return W:sum{axis = 1} end,
    mean1 = function(W) return W:mean{axis = 2} end, prod1 = function(W) return W:prod{axis = 2} end, max1 = function(W) return W:max{axis = 2} end,
    min0 = function(W) return W:min{axis = 1} end, var0 = function(W) return W:var{axis = 1} end, std1 = function(W) return W:std{axis = 2} end,
    norm = function(W) return (W^2):sum():sqrt() end, logsumexp1 = function(W) return bdl.logsumexp(W, {axis = 2}) end,
    softmax1 = function(W) return bdl.functional.softmax(W, {axis = 2}) end, log_softmax0 = function(W) return bdl.functional.log_softmax(W, {axis = 1}) end,
    cumsum0 = function(W) return W:cumsum{axis = 1} end, cumsum1_rev = function(W) return W:flip{axis = 2}:cumsum{axis = 2} end,
    cumprod1 = function(W) return W:cumprod{axis = 2} end, sort1 = function(W) return W:sort{axis = 2} end, transpose = function(W) return W.T end,
    slice = function(W) return W[{{2, a}, {1, b, 2}}] end, gather = function(W) return W[index] end,
    scatter_add = function(W) return bdl.zeros(a, b):add_at(index, W:tile(2, 1)) end,
    concat = function(W, V) return bdl.concatenate({W, V.T * 2}, {axis = 1}) end, stack = function(W, V) return bdl.stack({W, V.T}, {axis = 2}) end,
    reshape = function(W) return W:reshape(-1) end, broadcast = function(W, V) return W:reshape(a, 1, b) * V.T:reshape(1, a, b) end,
    outer = function(W, V) return bdl.outer(W[1], V[1]) end, einsum = function(W, V) return bdl.einsum("ij,ji->i", W, V) end,
    pad = function(W) return bdl.pad(W, {{1, 0}, {0, 2}}) end, flip = function(W) return W:flip{axis = 1} end,
    roll = function(W) return bdl.roll(W, 1, {axis = 2}) end, tile = function(W) return W:tile(2, 1) end,
    diag = function(W)
      local n = math.min(a, b)
      return bdl.diag(W[{{1, n}, {1, n}}])
    end,
    triu = function(W) return bdl.triu(W) end, where_rows = function(W, V) return bdl.where(W:gt(0), W, 0.1 * V.T) end,
    argmax_select = function(W) return bdl.take_along_axis(W, W:argmax{axis = 2}:reshape(a, 1), {axis = 2}):reshape(a) end,
    dot = function(W, V) return bdl.dot(W[1], V:transpose()[1]) end,
    swap = function(W) return bdl.moveaxis(W:reshape(1, a, b) * bdl.ones(2, 1, 1), 1, 3) end,
  }
  for name, f in pairs(functions) do
    local weight = t.array(case, name .. ".weight")
    t.compare(name .. ".value", of(f)(), case.arrays[name .. ".value"])
    local grads = bdl.grad(function() return (of(f)() * weight):sum() end, states, {check_states = false})()
    for _, key in ipairs{"W", "V"} do
      local want = case.arrays[name .. ".grad" .. key]
      if want then t.compare(name .. ".grad" .. key, grads[key], want) end
    end
  end
end

-- ---- networks ----------------------------------------------------------------------------------------------------------------

local function cross_entropy(case, t)
  local w = parameters(case, t)
  local x, label = t.array(case, "x"), t.array(case, "label")
  local function logits() return (x:matmul(w.w1.value) + w.b1.value):tanh():matmul(w.w2.value) + w.b2.value end
  local function loss()
    return -bdl.take_along_axis(bdl.functional.log_softmax(logits()), label:reshape(#label, 1), {axis = 2}):mean()
  end
  local function output() return bdl.functional.softmax(logits()[1]) end
  local grads, value = bdl.grad(loss, w, {return_value = true})()
  t.compare("loss", value, scalar(case.scalars.loss))
  compare_tree(case, t, "grad", grads)
  compare_tree(case, t, "grad_jacrev", bdl.jacrev(output, w)())
  compare_tree(case, t, "grad_jacfwd", bdl.jacfwd(output, w)())
  compare_tree(case, t, "grad_vector_grad", bdl.vector_grad(output, w)())
  t.compare("grad_value", output(), case.arrays.grad_value)
  compare_hessian(case, t, "grad", bdl.hessian(loss, w)())
end

local function scan_rnn(case, t)
  local w = parameters(case, t)
  local x, y, h0 = t.array(case, "x"), t.array(case, "y"), t.array(case, "h0")
  local h = bdl.ShortTermState(h0)
  local function run(first, xs)
    h.value = first or h0
    return bdl.for_loop(function(xt, yt)
      h.value = (h.value:matmul(w.w.value) + xt * w.u.value + w.b.value):tanh()
      return ((h.value - yt)^2):sum()
    end, xs or x, y):mean()
  end
  local function final()
    run()
    return h.value
  end
  local grads, loss = bdl.grad(run, w, {return_value = true})()
  t.compare("loss", loss, scalar(case.scalars.loss))
  compare_tree(case, t, "grad", grads)
  local g = bdl.grad(run, nil, {argnums = {1, 2}})(h0, x)
  t.compare("grad_h0", g[1], case.arrays.grad_h0)
  t.compare("grad_x", g[2], case.arrays.grad_x)
  compare_tree(case, t, "final_jacrev", bdl.jacrev(final, w)())
  compare_tree(case, t, "final_jacfwd", bdl.jacfwd(final, w)())
  local function norm()
    local sum = 0.0
    for _, leaf in ipairs(bdl.tree.leaves(bdl.grad(run, w)())) do sum = sum + (leaf^2):sum() end
    return sum
  end
  compare_tree(case, t, "nested", bdl.grad(norm, w)())
  local function along()
    local sum, inner = 0.0, bdl.grad(run, w)()
    for name, leaf in pairs(inner) do sum = sum + (leaf * t.array(case, "hvp_vector." .. name)):sum() end
    return sum
  end
  compare_tree(case, t, "hvp", bdl.grad(along, w)())
end

local function scan_where_clip(case, t)
  local w = parameters(case, t)
  local x = t.array(case, "x")
  local n = w.w.value.shape[2]
  local v, q = bdl.ShortTermState(bdl.zeros(n)), bdl.ShortTermState(bdl.zeros(n))
  local function run()
    v.value, q.value = bdl.zeros(n), bdl.zeros(n)
    local vs = bdl.for_loop(function(xt)
      v.value = bdl.where(v.value:gt(1), 0.2 * v.value, 0.9 * v.value + xt:matmul(w.w.value))
      q.value = bdl.clip(0.8 * q.value + v.value, -2, 2)
      return v.value
    end, x)
    return (q.value^2):sum() + 0.1 * (vs^2):sum()
  end
  local grads, loss = bdl.grad(run, w, {return_value = true})()
  t.compare("loss", loss, scalar(case.scalars.loss))
  compare_tree(case, t, "grad", grads)
  compare_hessian(case, t, "grad", bdl.hessian(run, w)())
end

-- ---- control flow ------------------------------------------------------------------------------------------------------------

local function control_flow(case, t)
  local p, w = case.params, parameters(case, t).w
  local function check(name, f)
    t.compare(name .. ".value", f(), case.arrays[name .. ".value"])
    t.compare(name .. ".grad", bdl.grad(f, w)(), case.arrays[name .. ".grad"])
  end
  local function sum() return w.value:sum() end
  for i, s in ipairs(p.switches) do
    check(("cond%d"):format(i - 1), function()
      return bdl.cond(bdl.tensor(s):gt(0), function() return (w.value^2):sum() end, function() return w.value:sin():sum() end)
    end)
    check(("switch%d"):format(i - 1), function()
      return bdl.switch(bdl.tensor((i - 1) % 3), {sum, function() return w.value:prod() end, function() return w.value:exp():sum() end})
    end)
  end
  check("cond_data", function()
    return bdl.cond(sum():gt(0), function() return (w.value^3):sum() end, function() return (w.value^2):sum() end)
  end)

  local function until_large(v)
    local s = bdl.ShortTermState(v)
    bdl.while_loop(function() return (s.value^2):sum():lt(p.wmax) end, function(i)
      s.value = s.value * 1.3 + 0.05
      return i + 1
    end, 0)
    return s.value
  end
  t.compare("while.value", bdl.jit(until_large)(w.value), case.arrays["while.value"])
  local _, tangent = bdl.jvp(until_large, {w.value}, {bdl.ones(3)})
  t.compare("while.jvp_ones", tangent, case.arrays["while.jvp_ones"])
  t.compare("while.jacfwd", bdl.jacfwd(until_large)(w.value), case.arrays["while.jacfwd"])
  local err = t.raises("reverse_mode_of_while_loop", bdl.grad(function(v) return until_large(v):sum() end), w.value)
  if err then t.eq("reverse_mode_of_while_loop", err.kind, "NotSupportedError") end
  t.compare("bounded_while.grad", bdl.grad(function()
    local s = bdl.ShortTermState(w.value)
    bdl.bounded_while_loop(function(i) return i:lt(6) end, function(i)
      s.value = (s.value * 1.3):sin()
      return i + 1
    end, 0, {max_steps = 20})
    return s.value:sum()
  end, w)(), case.arrays["bounded_while.grad"])
end

-- ---- products, orders, units ---------------------------------------------------------------------------------------------------

local function products(case, t)
  local w = parameters(case, t)
  local x, tangent, cotangent = t.array(case, "x"), t.array(case, "tangent"), t.array(case, "cotangent")
  local function f(v) return bdl.functional.softmax(v:matmul(w.A.value):tanh():matmul(w.B.value)) end
  local function loop(v)
    local s = bdl.ShortTermState(bdl.zeros(3))
    return bdl.for_loop(function(k)
      s.value = 0.8 * s.value + f(v * k)
      return s.value
    end, bdl.arange(1.0, 6.0)):sum{axis = 1}
  end
  for prefix, g in pairs{[""] = f, loop_ = loop} do
    local y, dy = bdl.jvp(g, {x}, {tangent})
    local _, pullback = bdl.vjp(g, x)
    t.compare(prefix .. "y", y, case.arrays[prefix .. "y"])
    t.compare(prefix .. "jvp", dy, case.arrays[prefix .. "jvp"])
    t.compare(prefix .. "vjp", pullback(cotangent), case.arrays[prefix .. "vjp"])
  end
  t.compare("jacobian", bdl.jacrev(f)(x), case.arrays.jacobian)
end

local function higher_order(case, t)
  local w = parameters(case, t).w.value
  local d = function(v) return v:sin() * (-v^2 / 3):exp() end
  for k = 0, 4 do
    t.compare("d" .. k, bdl.vmap(d)(w), case.arrays["d" .. k])
    d = bdl.grad(d)
  end
  local n = #w
  local function rosenbrock(v)
    local a, b = v[{{1, n - 1}}], v[{{2, n}}]
    return (100 * (b - a^2)^2 + (1 - a)^2):sum()
  end
  t.compare("grad_rosenbrock", bdl.grad(rosenbrock)(w), case.arrays.grad_rosenbrock)
  t.compare("hessian_rosenbrock", bdl.hessian(rosenbrock)(w), case.arrays.hessian_rosenbrock)
end

local function units(case, t)
  local V, g, E = t.array(case, "V"), t.array(case, "g"), t.quantity(case.params.E)
  local aware = {unit_aware = true}
  local function current(v, c) return (c * (E - v)):sum() end
  local function power(v) return (v^2 / (2.0 * u.ohm)):sum() end
  t.compare("value", current(V, g):reshape(1), case.arrays.value)
  t.compare("grad_V", bdl.grad(current, nil, aware)(V, g), case.arrays.grad_V)
  t.compare("grad_g", bdl.grad(current, nil, {unit_aware = true, argnums = 2})(V, g), case.arrays.grad_g)
  t.compare("power", power(V):reshape(1), case.arrays.power)
  t.compare("grad_power", bdl.grad(power, nil, aware)(V), case.arrays.grad_power)
  t.compare("hess_power", bdl.hessian(power, nil, aware)(V), case.arrays.hess_power)
  local p = bdl.ParamState(V)
  t.compare("state_grad", bdl.grad(function() return (p.value^2):sum() end, p, aware)(), case.arrays.state_grad)
end

return function(case, t)
  local a = case.arrays
  if a["exp.value"] then return elementary(case, t) end
  if a["matmul.value"] then return reductions(case, t) end
  if a.label then return cross_entropy(case, t) end
  if a.h0 then return scan_rnn(case, t) end
  if a["while.value"] then return control_flow(case, t) end
  if a.cotangent then return products(case, t) end
  if a.d0 then return higher_order(case, t) end
  if a.hess_power then return units(case, t) end
  if a["grad_hessian.w.w"] then return scan_where_clip(case, t) end
  t.skip "unknown kind of case"
end

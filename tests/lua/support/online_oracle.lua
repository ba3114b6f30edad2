--- Learning rules written out on dense Jacobians, slowly: for the models of `online_models`.
--  h of a layer is one vector, states after each other: index a P + p of state a at position p.
local bdl = require "bdl"
local models = require "tests.lua.support.online_models"

local M = {}

local function jacobian(f, x) return bdl.jacrev(f, nil, {argnums = 1})(x) end
local function matrix(x, rows, cols) return x:reshape(rows, cols) end

local function flat(list)
  local parts = {}
  for k, x in ipairs(list) do parts[k] = x:reshape(x.size) end
  return bdl.concatenate(parts)
end

--- The states of a layer from their vector.
local function parts(layer, v, lead)
  local list, P = {}, v.size // layer.states
  for a = 1, layer.states do
    local x = v[{{(a - 1) * P + 1, a * P}}]
    list[a] = #lead > 0 and x:reshape(lead[1], layer.n) or x:reshape(layer.n)
  end
  return list
end

local function values_of(spec)
  local values, readout = {}, {}
  for l, layer in ipairs(spec.layers) do
    values[l] = {}
    for j, op in ipairs(layer.ops) do
      values[l][j] = {}
      for k, p in ipairs(op.params) do values[l][j][k] = p.value end
    end
    readout[l] = spec.net.readout[l].value
  end
  return values, readout
end

local function products(layer, x, h, values)
  local X, y = {}, {}
  for j, op in ipairs(layer.ops) do
    X[j] = layer.input(x, h)
    y[j] = op.plain(X[j], values[j])
  end
  return X, y
end

--- A step whose new hidden values, as the others see them, have delta added.  Returns output and new hidden values.
local function forward(spec, x, hs, values, readout, delta)
  local out, below, new = 0, x, {}
  for l, layer in ipairs(spec.layers) do
    local _, y = products(layer, layer.chained and below or x, hs[l], values[l])
    new[l] = layer.dynamics(hs[l], y)
    local seen = delta and parts(layer, flat(new[l]) + delta[l], spec.lead) or new[l]
    below = seen[1]
    out = out + below:matmul(readout[l])
  end
  return out, new
end

--- What every rule is made of, at each step: of each layer D, whole (D with its interactions), L, and of each
--  operation X, f
--  (dh'/dy), w (dy/d leaf); readout: the direct gradients.
function M.record(spec, xs, ys)
  local values, readout = values_of(spec)
  local hs, steps = {}, {}
  for l, layer in ipairs(spec.layers) do hs[l] = layer.h0 end
  for t = 1, #xs do
    local step, x = {layers = {}, readout = {}}, xs[t]
    local zero = {}
    for l in ipairs(spec.layers) do zero[l] = flat(hs[l]) * 0 end
    local out, new = forward(spec, x, hs, values, readout)
    step.loss = models.loss(out, ys[t])
    local below = x
    for l, layer in ipairs(spec.layers) do
      local input, h = layer.chained and below or x, flat(hs[l])
      local X, y = products(layer, input, hs[l], values[l])
      local H = h.size
      local one = {ops = {}, H = H, P = H // layer.states}
      local function dynamics(v, z) return flat(layer.dynamics(parts(layer, v, spec.lead), z)) end
      one.D = matrix(jacobian(function(v) return dynamics(v, y) end, h), H, H)
      one.whole = matrix(jacobian(function(v)
        local _, z = products(layer, input, parts(layer, v, spec.lead), values[l])
        return dynamics(v, z)
      end, h), H, H)
      one.L = bdl.grad(function(d)
        local delta = table.move(zero, 1, #zero, 1, {})
        delta[l] = d
        return models.loss((forward(spec, x, hs, values, readout, delta)), ys[t])
      end, nil, {argnums = 1})(zero[l])
      for j, op in ipairs(layer.ops) do
        local o = {X = X[j], y = y[j], w = {}, op = op, values = values[l][j]}
        o.f = matrix(jacobian(function(z)
          local all = table.move(y, 1, #y, 1, {})
          all[j] = z
          return dynamics(h, all)
        end, y[j]), H, y[j].size)
        for k, w in ipairs(values[l][j]) do
          o.w[k] = matrix(jacobian(function(v)
            local all = table.move(values[l][j], 1, #values[l][j], 1, {})
            all[k] = v
            return op.plain(X[j], all)
          end, w), y[j].size, w.size)
        end
        one.ops[j] = o
      end
      step.readout[l] = bdl.grad(function(r)
        local all = table.move(readout, 1, #readout, 1, {})
        all[l] = r
        return models.loss((forward(spec, x, hs, values, all)), ys[t])
      end, nil, {argnums = 1})(readout[l])
      step.layers[l] = one
      below = new[l][1]
    end
    hs = new
    steps[t] = step
  end
  return steps
end

--- States of the model that are trained, and gradients in that order: all weights, then the readouts.
function M.weights(spec)
  local list = {}
  for _, layer in ipairs(spec.layers) do
    for _, op in ipairs(layer.ops) do table.move(op.params, 1, #op.params, #list + 1, list) end
  end
  for l in ipairs(spec.layers) do list[#list + 1] = spec.net.readout[l] end
  return list
end

--- of(l, j, k) for each leaf, then the sum over the steps of the readouts' gradients.
local function gradients(spec, steps, of)
  local list = {}
  for l, layer in ipairs(spec.layers) do
    for j, op in ipairs(layer.ops) do
      for k, p in ipairs(op.params) do list[#list + 1] = of(l, j, k):reshape(p.value.shape) end
    end
  end
  for l in ipairs(spec.layers) do
    local total = spec.net.readout[l].value * 0
    for _, step in ipairs(steps) do total = total + step.readout[l] end
    list[#list + 1] = total
  end
  return list
end

--- 1 where row and column are of the same position.
local function same_position(one)
  local eye = bdl.eye(one.P)
  local S = one.H // one.P
  return bdl.tile(eye, {S, S})
end

--- The transition of a rule.
local function transition(config, one)
  if config.temporal_recursion == "none" then return bdl.zeros(one.H, one.H) end
  if config.temporal_recursion == "scalar_leak" then return bdl.eye(one.H) * config.decay end
  if config.recurrence_scope == "diagonal" then return one.D end
  return one.whole * (config.recurrence_scope == "coupled" and same_position(one) or 1)
end

--- The traces of leaf k of operation j in layer l after each step.
local function traces(steps, config, l, j, k)
  local list, e = {}, nil
  for t, step in ipairs(steps) do
    local o = step.layers[l].ops[j]
    e = (e and transition(config, step.layers[l]):matmul(e) or 0) + o.f:matmul(o.w[k])
    list[t] = e
  end
  return list
end

--- signal(one, l) : what takes the place of L.
function M.per_param(spec, steps, config, signal)
  return gradients(spec, steps, function(l, j, k)
    local filtered, total = 0, 0
    for t, e in ipairs(traces(steps, config, l, j, k)) do
      local one = steps[t].layers[l]
      filtered = config.kappa and config.kappa * filtered + e or e
      total = total + signal(one, l, t):matmul(filtered)
    end
    return total
  end)
end

--- What the traces of before add to windows of `size` steps;  start[w][l] : the derivative of window w by the hidden
--  values before it.
function M.before_windows(spec, steps, config, size, start)
  return gradients(spec, {}, function(l, j, k)
    local total, all = steps[1].layers[l].ops[j].values[k] * 0, traces(steps, config, l, j, k)
    for w, by in ipairs(start) do
      local before = all[(w - 1) * size]
      if before then total = total + by[l]:matmul(before):reshape(total.shape) end
    end
    return total
  end)
end

--- SnAp: the influence through each element of y by itself, kept where that position reaches within n - 1 steps.
function M.snap(spec, steps, n, signal)
  return gradients(spec, steps, function(l, j, k)
    local first = steps[1].layers[l]
    local P, S = first.P, first.H // first.P
    local reach, next = bdl.eye(P), 0 -- reach[to, from]
    for _, step in ipairs(steps) do
      for a = 1, S do
        for c = 1, S do next = next + bdl.abs(step.layers[l].whole[{{(a - 1) * P + 1, a * P}, {(c - 1) * P + 1,
          c * P}}]) end
      end
    end
    for _ = 2, n do reach = reach + next:matmul(reach) end
    reach = bdl.tile(reach:gt(0):astype "float64", {S, 1})
    local total = 0
    for p = 1, P do
      local e = 0
      for t, step in ipairs(steps) do
        local one, o = step.layers[l], step.layers[l].ops[j]
        local kept = reach[{{1, first.H}, {p, p}}]
        e = kept * (t > 1 and one.whole:matmul(e) or 0) + o.f[{{1, first.H}, {p, p}}]:matmul(o.w[k][{{p, p}, {1,
          o.w[k].shape[2]}}])
        total = total + signal(one, l, t):matmul(e)
      end
    end
    return total
  end)
end

--- The two traces of operation j in layer l after each step: {ex, ef}.
local function factors(steps, config, l, j)
  local recursion, decay = config.temporal_recursion, config.decay
  local list, ex, ef = {}, 0, nil
  local turned = {temporal_recursion = recursion[2] == "scalar_leak" and "scalar_leak" or "jacobian", decay = 1,
    recurrence_scope = config.recurrence_scope}
  for t, step in ipairs(steps) do
    local one, o = step.layers[l], step.layers[l].ops[j]
    local carried = recursion[2] ~= "none" and ef and transition(turned, one):matmul(ef) or 0
    ex = (recursion[1] == "none" and 0 or decay[1] * ex) + o.X
    ef = decay[2] * carried + (1 - decay[2]) * bdl.sum(o.f, {axis = 2})
    list[t] = {ex, ef}
  end
  return list
end

--- The operation's gradients by its leaves at the traces of s steps.
local function pulled(one, o, trace, signal, decay, s)
  local ct = bdl.sum((signal * trace[2] / (1 - decay^s)):reshape(-1, o.y.size), {axis = 1}):reshape(o.y.shape)
  local list = {}
  for k, w in ipairs(o.values) do
    list[k] = bdl.grad(function(v)
      local all = table.move(o.values, 1, #o.values, 1, {})
      all[k] = v
      return bdl.sum(o.op.plain(trace[1], all) * ct)
    end, nil, {argnums = 1})(w)
  end
  return list
end

--- each(l, j, add) calls add with gradients of the leaves.
local function pulled_sums(spec, steps, each, readout)
  local of = {}
  for l, layer in ipairs(spec.layers) do
    of[l] = {}
    for j, op in ipairs(layer.ops) do
      local total = {}
      for k, p in ipairs(op.params) do total[k] = p.value * 0 end
      each(l, j, function(list)
        for k, g in ipairs(list) do total[k] = total[k] + g end
      end)
      of[l][j] = total
    end
  end
  return gradients(spec, readout and steps or {}, function(l, j, k) return of[l][j][k] end)
end

--- ES-D-RTRL.
function M.io_factorized(spec, steps, config, signal)
  return pulled_sums(spec, steps, function(l, j, add)
    for t, trace in ipairs(factors(steps, config, l, j)) do
      local one = steps[t].layers[l]
      add(pulled(one, one.ops[j], trace, signal(one, l, t), config.decay[2], t))
    end
  end, true)
end

--- As before_windows; the correction counts the steps before the window, and one.
function M.io_before_windows(spec, steps, config, size, start)
  return pulled_sums(spec, steps, function(l, j, add)
    local all = factors(steps, config, l, j)
    for w, by in ipairs(start) do
      local s = (w - 1) * size
      local one = steps[1].layers[l]
      if s > 0 then add(pulled(one, one.ops[j], all[s], by[l], config.decay[2], s + 1)) end
    end
  end, false)
end

local function norm(list)
  local total = 0
  for _, x in ipairs(list) do total = total + bdl.sum(x * x) end
  return bdl.sqrt(total)
end

--- UORO, learning at every step; nu : of each layer [T, H].
function M.uoro(spec, steps, nu, eps)
  local of = {}
  for l, layer in ipairs(spec.layers) do
    local s, theta, total, keys = 0, {}, {}, {}
    for j, op in ipairs(layer.ops) do
      for k in ipairs(op.params) do keys[#keys + 1] = {j, k} end
    end
    for t, step in ipairs(steps) do
      local one = step.layers[l]
      local ds, proj = t > 1 and one.whole:matmul(s) or bdl.zeros(one.H), {}
      for i, key in ipairs(keys) do
        local o = one.ops[key[1]]
        proj[i] = nu[l][t]:matmul(o.f):matmul(o.w[key[2]])
        theta[i] = theta[i] or proj[i] * 0
      end
      local rho0 = bdl.sqrt((norm(theta) + eps) / (norm{ds} + eps))
      local rho1 = bdl.sqrt((norm(proj) + eps) / (norm{nu[l][t]} + eps))
      s = rho0 * ds + rho1 * nu[l][t]
      for i in ipairs(keys) do
        theta[i] = theta[i] / rho0 + proj[i] / rho1
        total[i] = (total[i] or 0) + bdl.sum(one.L * s) * theta[i]
      end
    end
    of[l] = {}
    for i, key in ipairs(keys) do
      of[l][key[1]] = of[l][key[1]] or {}
      of[l][key[1]][key[2]] = total[i]
    end
  end
  return gradients(spec, steps, function(l, j, k) return of[l][j][k] end)
end

return M

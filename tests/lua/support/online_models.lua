--- Random models for tests of online learning, each in two forms: a Module with traced operations, and the same as
--  functions of
--  plain arrays, from which `online_oracle` takes dense Jacobians.
--
--   layer l:  X_j = x_l, or x_l beside h_l;  y_j = op_j(X_j, w_j);  h_l' = dynamics(h_l, y)
--   x_l     :  the input, or the first state of the layer before;  out = sum over l of first state R_l
local bdl = require "bdl"
local nn, online, random = bdl.nn, bdl.online, bdl.random

local M = {}

--- A source of choices from a seed.
local function chooser(seed)
  local x = seed * 2654435761 % 4294967296
  return function(n) -- 1 .. n
    x = (x * 6364136223846793005 + 1442695040888963407) & 0xffffffffffffffff
    return (x >> 33) % n + 1
  end
end

local function sparse(m, n)
  local dense = bdl.where(random.rand(m, n):lt(0.45), random.randn(m, n), 0.0)
  local data, indices, indptr = {}, {}, {0}
  for _, row in ipairs(dense:totable()) do
    for j, w in ipairs(row) do
      if w ~= 0 then data[#data + 1], indices[#indices + 1] = w, j - 1 end
    end
    indptr[#indptr + 1] = #indices
  end
  return bdl.event.CSR(bdl.tensor(data), bdl.tensor(indices, {dtype = "int32"}), bdl.tensor(indptr, {dtype = "int32"}),
    {m, n})
end

local function reshaped(x, lead, ...)
  local shape = table.move(lead, 1, #lead, 1, {})
  for _, n in ipairs{...} do shape[#shape + 1] = n end
  return x:reshape(shape)
end

local function param(...) return bdl.ParamState(random.randn(...) / 2) end

--- name -> make(lead, m, n): {params, traced(X, params), plain(X, values)}, from [lead.., m] to [lead.., n].
local OPS = {}

function OPS.matmul(_, m, n)
  local function f(x, w) return x:matmul(w) end
  return {params = {param(m, n)}, traced = function(x, p) return online.matmul(x, p[1]) end, plain = function(x,
    v) return f(x, v[1]) end}
end

function OPS.biased(_, m, n)
  return {params = {param(m, n), param(n)}, traced = function(x, p) return online.matmul(x, p[1], {bias = p[2],
    weight_fn = bdl.tanh}) end,
          plain = function(x, v) return x:matmul(bdl.tanh(v[1])) + v[2] end}
end

function OPS.grouped(lead, m, n)
  return {params = {param(2, m // 2, n // 2)},
          traced = function(x, p) return reshaped(online.grouped_matmul(reshaped(x, lead, 2, m // 2), p[1]), lead,
            n) end,
          plain = function(x, v) return reshaped(bdl.einsum("...gi,gij->...gj", reshaped(x, lead, 2, m // 2), v[1]),
            lead, n) end}
end

function OPS.einsum(lead, m, n)
  local equation = #lead > 0 and "bi,ij->bj" or "i,ij->j"
  return {params = {param(m, n)}, traced = function(x, p) return online.einsum(equation, x, p[1],
    {weight_fn = bdl.sin}) end,
          plain = function(x, v) return x:matmul(bdl.sin(v[1])) end}
end

--- Of [.., m, 1] with m = n.
function OPS.conv(lead, m)
  return {params = {param(3, 1, 1)},
          traced = function(x, p) return reshaped(online.conv(reshaped(x, lead, m, 1), p[1]), lead, m) end,
          plain = function(x, v)
            local edge = bdl.zeros_like(x[{bdl.rest, {1, 1}}])
            local rows, k = bdl.concatenate({edge, x, edge}, {axis = -1}), v[1]:reshape(3)
            return rows[{bdl.rest, {1, m}}] * k[1] + rows[{bdl.rest, {2, m + 1}}] * k[2] + rows[{bdl.rest, {3,
              m + 2}}] * k[3]
          end}
end

function OPS.sparse(_, m, n)
  local A = sparse(m, n)
  return {params = {bdl.ParamState(A.data)}, traced = function(x, p) return online.sparse_matmul(x, p[1],
    {sparse_mat = A}) end,
          plain = function(x, v) return x:matmul(A:with_data(v[1]):todense()) end}
end

function OPS.lora(_, m, n)
  return {params = {param(m, 2), param(2, n)}, traced = function(x, p) return online.lora_matmul(x, p[1], p[2],
    {alpha = 0.7}) end,
          plain = function(x, v) return 0.7 * x:matmul(v[1]):matmul(v[2]) end}
end

--- An operation without an input, at every position: a leak.
local function leak(n)
  return {params = {param(n)}, traced = function(_, p) return online.element_wise(p[1],
    {weight_fn = bdl.functional.sigmoid}) end,
          plain = function(_, v) return bdl.sigmoid(v[1]) end}
end

local spike = bdl.surrogate.Sigmoid(2.0)

--- name -> {number of states, needs a leak, f(h, y) -> h'}
local DYNAMICS = {
  leaky = {1, false, function(h, y) return {0.7 * h[1] + bdl.tanh(y[1])} end},
  mixed = {1, false, function(h, y) return {bdl.tanh(y[1] + 0.6 * h[1])} end},
  gated = {1, true, function(h, y) return {y[2] * h[1] + (1 - y[2]) * bdl.tanh(y[1])} end},
  adaptive = {2, false, function(h, y)
    local v = 0.8 * h[1] - 0.3 * h[2] + bdl.tanh(y[1])
    return {v, 0.6 * h[2] + 0.2 * v * v}
  end},
  spiking = {2, false, function(h, y)
    local s = spike(h[1] - 0.3)
    return {0.9 * h[1] - 0.5 * s + y[1], 0.8 * h[2] + s * 0.4}
  end},
}

local function sorted(t) return bdl.util.sorted_keys(t) end

local Net = nn.Module:extend "Net"

function Net:__init(spec)
  self.weights, self.readout = {}, {}
  self.shift = bdl.ParamState(bdl.zeros(spec.n_in)) -- a plain parameter before everything
  rawset(self, "spec", spec)
  for l, layer in ipairs(spec.layers) do
    self.weights[l] = {}
    for j, op in ipairs(layer.ops) do self.weights[l][j] = op.params end
    self.readout[l] = bdl.ParamState(random.randn(layer.n, 2) / 2)
  end
end

function Net:init_state()
  self.h = {}
  for l, layer in ipairs(self.spec.layers) do
    self.h[l] = {}
    for a = 1, layer.states do self.h[l][a] = bdl.HiddenState(layer.h0[a]) end
  end
end

function Net:reset_state()
  for l, layer in ipairs(self.spec.layers) do
    for a = 1, layer.states do self.h[l][a].value = layer.h0[a] end
  end
end

function Net:update(x)
  x = x + self.shift.value
  local out, below = 0, x
  for l, layer in ipairs(self.spec.layers) do
    local h, y = {}, {}
    for a, s in ipairs(self.h[l]) do h[a] = s.value end
    for j, op in ipairs(layer.ops) do y[j] = op.traced(layer.input(layer.chained and below or x, h),
      self.weights[l][j]) end
    for a, new in ipairs(layer.dynamics(h, y)) do self.h[l][a].value = new end
    below = self.h[l][1].value
    out = out + below:matmul(self.readout[l].value)
  end
  return out
end

--- opts : recurrent (nil: by chance; false: never), chained (the same), op, dynamics, batch, layers, n (4: units of a
--  layer).
function M.draw(seed, opts)
  opts = opts or {}
  random.seed(seed)
  local pick = chooser(seed)
  local function chance(wish) if wish == nil then return pick(2) == 1 end return wish end
  local lead = chance(opts.batch) and {2} or {}
  local spec = {seed = seed, lead = lead, n_in = 4, layers = {}}
  local below, text = spec.n_in, {}
  for l = 1, opts.layers or pick(2) do
    local kind = opts.dynamics or sorted(DYNAMICS)[pick(#sorted(DYNAMICS))]
    local op = opts.op or sorted(OPS)[pick(#sorted(OPS))]
    local d = DYNAMICS[kind]
    local layer = {n = opts.n or 4, states = d[1], dynamics = d[3], recurrent = chance(opts.recurrent), chained = l > 1
      and chance(opts.chained), h0 = {}}
    local added = op == "conv" -- h is added to x, not put beside it
    local m = (layer.chained and below or spec.n_in) + (layer.recurrent and not added and layer.n or 0)
    layer.ops = {OPS[op](lead, m, layer.n)}
    if d[2] then layer.ops[2] = leak(layer.n) end
    function layer.input(x, h)
      if not layer.recurrent then return x end
      return added and x + h[1] or bdl.concatenate({x, h[1]}, {axis = -1})
    end
    for a = 1, d[1] do layer.h0[a] = random.randn(#lead > 0 and {2, layer.n} or {layer.n}) / 2 end
    spec.layers[l] = layer
    below = layer.n
    text[l] = ("%s/%s%s%s"):format(op, kind, layer.recurrent and "/recurrent" or "", layer.chained and "/chained" or "")
  end
  spec.text = ("seed %d: %s%s"):format(seed, table.concat(text, " + "), #lead > 0 and " batch" or "")
  spec.net = Net(spec)
  nn.init_all_states(spec.net)
  return spec
end

--- Inputs and targets of T steps.
function M.sequences(spec, T)
  local lead = spec.lead[1]
  if lead then return random.randn(T, lead, spec.n_in), random.randn(T, lead, 2) end
  return random.randn(T, spec.n_in), random.randn(T, 2)
end

function M.loss(out, target) return bdl.sum((out - target)^2) end

return M

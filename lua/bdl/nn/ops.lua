--- What layers do with their parameters.  A class of layers holds such a table as `ops`; that of the layers of bdl.online does the
--  same with operations that online learning can trace.
--  x : an input   p : parameters by name   o : settings; weight_fn and bias_fn change a parameter before it acts
local core = require "bdl.core"
local base = require "bdl.array.base"
local state = require "bdl.state"

local M = {}

--- The class of parameters, and the field of a layer that holds them.
M.ParamState = state.ParamState
M.field = "weight"

local function changed(f, w) return f and f(w) or w end

local function plus_bias(y, p, o)
  return p.bias and y + changed(o.bias_fn, p.bias) or y
end

local function dot(x, w)
  return core.bind("dot", {lhs_contract = {x.ndim - 1}, rhs_contract = {0}, lhs_batch = {}, rhs_batch = {}}, x, w)
end

--- x W gain + b.  x [.., in], weight [in, out], gain [1, out] or none, bias [out]
function M.matmul(x, p, o)
  local y = dot(x, changed(o.weight_fn, p.weight))
  if p.gain then y = y * base.reshape(p.gain, {p.gain.size}) end
  return plus_bias(y, p, o)
end

--- x_g W_g + b_g.  x [.., g, in], weight [g, in, out], bias [g, out]
function M.grouped_matmul(x, p, o)
  local n = x.ndim
  local y = core.bind("dot", {lhs_contract = {n - 1}, rhs_contract = {1}, lhs_batch = {n - 2}, rhs_batch = {0}}, x,
                      changed(o.weight_fn, p.weight))
  local axes = {}
  for k = 1, n - 2 do axes[k] = k end
  axes[n - 1], axes[n] = 0, n - 1
  return plus_bias(base.permute(y, axes), p, o)
end

--- alpha x B A + b.  x [.., in], lora_b [in, rank], lora_a [rank, out], bias [out]; o: alpha (1), b_fn, a_fn
function M.lora_matmul(x, p, o)
  local y = dot(dot(x, changed(o.b_fn, p.lora_b)), changed(o.a_fn, p.lora_a))
  return plus_bias(o.alpha and o.alpha * y or y, p, o)
end

--- x A + b with weight as the stored entries of the connection o.sparse_mat.
function M.sparse_matmul(x, p, o)
  return plus_bias(o.sparse_mat:with_data(changed(o.weight_fn, p.weight)):rmatmul(x), p, o)
end

--- filter * x + b.  x [batch, space.., c_in], weight [k.., c_in / groups, c_out]; o.window: the parameters of the primitive,
--  o.axes: (optional) the order of the result's axes
function M.conv(x, p, o)
  local y = plus_bias(core.bind("conv", o.window, x, changed(o.weight_fn, p.weight)), p, o)
  return o.axes and base.permute(y, o.axes) or y
end

--- Rows of weight [n, size..] by ids [..].
function M.embedding(ids, p, o) return (core.bind("gather", {axis = 0}, changed(o.weight_fn, p.weight), ids)) end

--- f(w), for parameters that meet their units one by one.
function M.element_wise(p, o) return changed(o.weight_fn, p.weight) end

return M
